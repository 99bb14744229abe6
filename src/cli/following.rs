//! Follows the objects of one kind: lists them once, and then takes each change that the API server reports.
//!
//! In: an API, and which of its objects. Out: a stream of [`News`], which ends with an error that no other try would
//! avoid. All are listed again only where the API server does not keep the changes since the last answer any longer. The
//! limit of time is that of the client, for each request: a list of many pages may take as long as it needs.
//!
//! kube's own watcher lists and watches too. It yields nothing for a bookmark or for a watch that begins again, so that a
//! command could not say that the API server answers again while nothing changes.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};

use crate::api::BucketReplication;
use crate::cli::kubernetes::{
    Kubernetes, KubernetesError, PAGE, ScopeArgs, backfill_kind, may_pass, request,
};
use crate::runtime::clock::Clock;

/// The code of a version that the API server keeps no longer.
const GONE: u16 = 410;
/// The pause before the next request after one that failed, and after a watch that has ended: a proxy may end each at once.
const RETRY: Duration = Duration::from_secs(1);
/// The seconds after which the API server ends a watch. The client closes a connection that is silent for longer.
const WATCH_SECONDS: u32 = 25;

/// The objects of a cluster, and the changes.
pub enum News {
    /// All objects, in exchange for those that were known.
    Listed(Vec<DynamicObject>),
    Changed(DynamicObject),
    Deleted(DynamicObject),
    /// The API server has answered, and nothing has changed.
    Answered,
    /// The API server gives no answer, and is asked again.
    Silent(KubernetesError),
    /// The kind is not there, or may not be read. Nothing follows.
    Unavailable,
}

/// The objects to follow.
pub struct Followed {
    pub api: Api<DynamicObject>,
    pub fields: Option<String>,
    pub labels: Option<String>,
    /// The kind as messages name it.
    pub plural: &'static str,
    /// Whether it is no error that the kind is not there, or may not be read.
    pub is_optional: bool,
}

impl Kubernetes {
    /// The resources of a scope, or one of them, and each change of them.
    pub fn follow_replications(
        &self,
        scope: &ScopeArgs,
        name: Option<&str>,
    ) -> impl Stream<Item = Result<News, KubernetesError>> + use<> {
        let api = self.scoped(scope, &ApiResource::erase::<BucketReplication>(&()));
        let fields = name.map(|name| format!("metadata.name={name}"));
        let labels = scope.selector.clone();
        follow(Followed { api, fields, labels, plural: "BucketReplications", is_optional: false })
    }

    /// The backfills of a scope, and each change of them. There are none where the cluster does not have the kind, or the
    /// user may not list it.
    pub fn follow_backfills(
        &self,
        scope: &ScopeArgs,
    ) -> impl Stream<Item = Result<News, KubernetesError>> + use<> {
        let api = self.scoped(scope, &backfill_kind());
        let plural = "ReplicationBackfills";
        follow(Followed { api, fields: None, labels: None, plural, is_optional: true })
    }
}

/// Follows objects.
fn follow(followed: Followed) -> impl Stream<Item = Result<News, KubernetesError>> {
    let clock = Clock::System;
    let follower = Follower { followed, clock, next: Next::begin(), pause: Duration::ZERO };
    stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        let heard = follower.news().await;
        let has_more = !matches!(heard, Err(_) | Ok(News::Unavailable));
        Some((heard, has_more.then_some(follower)))
    })
}

/// The next request.
enum Next {
    /// A page of the list, after those that have come.
    Page { before: Vec<DynamicObject>, token: Option<String>, took: Duration },
    /// A watch of what changes after this version.
    Watch { version: String, listing: Duration },
    /// An event of a watch.
    Event {
        version: String,
        listing: Duration,
        events: BoxStream<'static, kube::Result<WatchEvent<DynamicObject>>>,
    },
}

impl Next {
    fn begin() -> Next {
        Next::Page { before: Vec::new(), token: None, took: Duration::ZERO }
    }
}

struct Follower {
    followed: Followed,
    clock: Clock,
    next: Next,
    /// The pause before the next request.
    pause: Duration,
}

impl Follower {
    /// The next news, after as many requests as they need.
    async fn news(&mut self) -> Result<News, KubernetesError> {
        loop {
            self.clock.sleep(std::mem::take(&mut self.pause)).await;
            let next = std::mem::replace(&mut self.next, Next::begin());
            let news = match next {
                Next::Page { before, token, took } => self.page(before, token, took).await,
                Next::Watch { version, listing } => self.watch(version, listing).await,
                Next::Event { version, listing, mut events } => match events.next().await {
                    Some(Ok(event)) => Ok(self.take(event, (version, listing), events)),
                    // The API server ends every watch, which then goes on from what has come.
                    ended => {
                        self.next = Next::Watch { version, listing };
                        match ended {
                            Some(Err(error)) if !may_pass(&error) => Err(error),
                            _ => {
                                self.pause = RETRY;
                                Ok(None)
                            }
                        }
                    }
                },
            };
            match news {
                Ok(Some(news)) => return Ok(news),
                Ok(None) => {}
                Err(error) => return self.failed(error),
            }
        }
    }

    /// Reads a page of the list.
    async fn page(
        &mut self,
        mut before: Vec<DynamicObject>,
        token: Option<String>,
        took: Duration,
    ) -> kube::Result<Option<News>> {
        let Followed { api, fields, labels, .. } = &self.followed;
        let params = ListParams {
            field_selector: fields.clone(),
            label_selector: labels.clone(),
            limit: Some(PAGE),
            continue_token: token.clone(),
            ..ListParams::default()
        };
        let begun = self.clock.now();
        let page = api.list(&params).await;
        let took = took + self.clock.now().saturating_duration_since(begun);
        let page = match page {
            Ok(page) => page,
            // The rest of the list is not kept any longer.
            Err(kube::Error::Api(status)) if status.code == GONE && token.is_some() => {
                self.list_again(took);
                return Ok(None);
            }
            Err(error) => {
                self.next = Next::Page { before, token, took };
                return Err(error);
            }
        };
        before.extend(page.items);
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        if token.is_some() {
            self.next = Next::Page { before, token, took };
            return Ok(Some(News::Answered));
        }
        let version = page.metadata.resource_version.unwrap_or_default();
        self.next = Next::Watch { version, listing: took };
        Ok(Some(News::Listed(before)))
    }

    /// Begins a watch.
    async fn watch(&mut self, version: String, listing: Duration) -> kube::Result<Option<News>> {
        let Followed { api, fields, labels, .. } = &self.followed;
        let params = WatchParams {
            field_selector: fields.clone(),
            label_selector: labels.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let watched = api.watch(&params, &version).await.map(StreamExt::boxed);
        match watched {
            Ok(events) => {
                self.next = Next::Event { version, listing, events };
                Ok(Some(News::Answered))
            }
            Err(kube::Error::Api(status)) if status.code == GONE => {
                self.list_again(listing);
                Ok(None)
            }
            Err(error) => {
                self.next = Next::Watch { version, listing };
                Err(error)
            }
        }
    }

    /// Takes an event of a watch, and goes on with the watch unless it cannot.
    fn take(
        &mut self,
        event: WatchEvent<DynamicObject>,
        (version, listing): (String, Duration),
        events: BoxStream<'static, kube::Result<WatchEvent<DynamicObject>>>,
    ) -> Option<News> {
        let (version, news) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                (object.resource_version().unwrap_or(version), News::Changed(object))
            }
            WatchEvent::Deleted(object) => {
                (object.resource_version().unwrap_or(version), News::Deleted(object))
            }
            WatchEvent::Bookmark(bookmark) => (bookmark.metadata.resource_version, News::Answered),
            WatchEvent::Error(_) => {
                self.list_again(listing);
                return None;
            }
        };
        self.next = Next::Event { version, listing, events };
        Some(news)
    }

    /// Lists all again, after a pause as long as the last list took: where a list takes longer than the API server keeps
    /// changes, it would otherwise be read all the time.
    fn list_again(&mut self, listing: Duration) {
        self.pause = listing.max(RETRY);
        self.next = Next::begin();
    }

    /// Decides by a failure whether to go on.
    fn failed(&mut self, error: kube::Error) -> Result<News, KubernetesError> {
        let is_unavailable = matches!(&error, kube::Error::Api(status) if matches!(status.code, 403 | 404));
        if self.followed.is_optional && is_unavailable {
            return Ok(News::Unavailable);
        }
        let passes = may_pass(&error);
        let error = request(&format!("list {}", self.followed.plural))(error);
        if !passes {
            return Err(error);
        }
        self.pause = RETRY;
        Ok(News::Silent(error))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::kubernetes::test_server::{answering, answering_within, list};

    fn gone() -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
            "reason": "Expired", "message": "too old resource version: 900 (1200)",
        })
    }

    fn object(name: &str, version: &str) -> Value {
        json!({
            "apiVersion": "s3replication.dev/v1alpha1", "kind": "BucketReplication",
            "metadata": {"name": name, "namespace": "data", "resourceVersion": version},
            "spec": {"source": {"bucket": "source"}, "rules": []},
        })
    }

    fn event(kind: &str, object: &Value) -> String {
        format!("{}\n", json!({"type": kind, "object": object}))
    }

    fn answer(code: u16, body: impl Into<Body>) -> Response {
        (StatusCode::from_u16(code).unwrap(), body.into()).into_response()
    }

    /// An answer of which nothing comes for a time.
    fn late(pause: Duration, body: String) -> Response {
        answer(
            200,
            Body::from_stream(stream::once(async move {
                tokio::time::sleep(pause).await;
                Ok::<_, std::io::Error>(body)
            })),
        )
    }

    fn quiet() -> Response {
        answer(200, Body::from_stream(stream::pending::<Result<String, std::io::Error>>()))
    }

    /// A request in short: `list`, or `watch` and the version after which it begins.
    fn short(uri: &str) -> String {
        let value = |key: &str| {
            let rest = uri.split(&format!("{key}=")).nth(1).unwrap_or_default();
            rest.split('&').next().unwrap_or_default().to_owned()
        };
        let page = value("continue");
        match uri.contains("watch=true") {
            true => format!("watch {}", value("resourceVersion")),
            false if page.is_empty() => "list".to_owned(),
            false => format!("list {page}"),
        }
    }

    /// News in short; of what is only an answer, nothing.
    fn named(news: Option<Result<News, KubernetesError>>) -> Option<String> {
        Some(match news? {
            Ok(News::Listed(objects)) => format!("{} listed", objects.len()),
            Ok(News::Changed(object)) => format!("{} changed", object.name_any()),
            Ok(News::Deleted(object)) => format!("{} deleted", object.name_any()),
            Ok(News::Silent(_)) => "silent".to_owned(),
            Ok(News::Unavailable) => "unavailable".to_owned(),
            Ok(News::Answered) => return None,
            Err(error) => error.to_string(),
        })
    }

    fn requests(asked: &Mutex<Vec<String>>) -> Vec<String> {
        asked.lock().unwrap().iter().map(|uri| short(uri)).collect()
    }

    #[tokio::test]
    async fn a_watch_goes_on_where_it_ended_and_lists_again_only_where_its_version_is_too_old() {
        let changed = event("MODIFIED", &object("orders", "901"));
        let deleted = event("DELETED", &object("orders", "902"));
        let bookmark = json!({
            "apiVersion": "s3replication.dev/v1alpha1", "kind": "BucketReplication",
            "metadata": {"resourceVersion": "950"},
        });
        let overloaded = gone().to_string().replace("410", "503");
        let two = format!("{changed}{deleted}");
        let again = &["list", "watch 900", "list", "watch 900"][..];
        let cases = [
            ("it is too old", 410, gone().to_string(), again, &["1 listed", "1 listed"][..]),
            ("it becomes too old", 200, event("ERROR", &gone()), again, &["1 listed", "1 listed"]),
            ("it ends", 200, String::new(), &["list", "watch 900", "watch 900"], &["1 listed"]),
            ("no answer", 503, overloaded, &["list", "watch 900", "watch 900"], &["1 listed", "silent"]),
            ("a change", 200, changed, &["list", "watch 900", "watch 901"], &["1 listed", "orders changed"]),
            (
                "two",
                200,
                two,
                &["list", "watch 900", "watch 902"],
                &["1 listed", "orders changed", "orders deleted"],
            ),
            (
                "a bookmark",
                200,
                event("BOOKMARK", &bookmark),
                &["list", "watch 900", "watch 950"],
                &["1 listed"],
            ),
        ];
        for (what, code, body, wanted, news) in cases {
            let watches = Arc::new(AtomicUsize::new(0));
            let (kubernetes, asked) = answering(move |uri| {
                if !uri.contains("watch=true") {
                    return answer(200, list("BucketReplicationList", &[object("orders", "7")]).to_string());
                }
                match watches.fetch_add(1, Ordering::Relaxed) {
                    0 => answer(code, body.clone()),
                    _ => quiet(),
                }
            })
            .await;
            let mut followed = pin!(kubernetes.follow_replications(&ScopeArgs::default(), None));
            let mut heard = Vec::new();
            while requests(&asked).len() < wanted.len() {
                heard.extend(named(followed.next().await));
            }
            assert_eq!(requests(&asked), wanted, "{what}");
            assert_eq!(heard, news, "{what}");
        }
    }

    #[tokio::test]
    async fn what_no_other_try_would_change_ends_it_and_a_kind_that_may_be_missing_is_no_error() {
        let denied = gone().to_string().replace("410", "403");
        let (kubernetes, asked) = answering(move |_| answer(403, denied.clone())).await;
        let mut followed = pin!(kubernetes.follow_replications(&ScopeArgs::default(), None));
        let error = named(followed.next().await).unwrap();
        assert!(error.starts_with("cannot list BucketReplications: "), "{error}");
        assert!(followed.next().await.is_none());
        let mut backfills = pin!(kubernetes.follow_backfills(&ScopeArgs::default()));
        assert_eq!(named(backfills.next().await).as_deref(), Some("unavailable"));
        assert!(backfills.next().await.is_none());
        assert_eq!(requests(&asked), ["list", "list"]);
    }

    /// A list of ten thousand over a slow connection takes minutes.
    #[tokio::test]
    async fn the_limit_of_time_is_that_of_a_page_and_a_page_that_does_not_come_is_asked_for_again() {
        let lost = Arc::new(AtomicUsize::new(0));
        let (kubernetes, asked) = answering_within(LIMIT, move |uri| {
            let number = short(uri).strip_prefix("list p").map_or(1, |number| number.parse().unwrap());
            if number == 3 && lost.fetch_add(1, Ordering::Relaxed) == 0 {
                return quiet();
            }
            let mut page = list("BucketReplicationList", &[object(&format!("orders-{number}"), "7")]);
            if number < PAGES {
                page["metadata"]["continue"] = json!(format!("p{}", number + 1));
            }
            late(LIMIT / 4, page.to_string())
        })
        .await;
        let mut followed = pin!(kubernetes.follow_replications(&ScopeArgs::default(), None));
        let mut heard = Vec::new();
        while !heard.iter().any(|news: &String| news.ends_with("listed")) {
            heard.extend(named(followed.next().await));
        }
        assert_eq!(heard, ["silent", "6 listed"]);
        assert_eq!(
            requests(&asked),
            ["list", "list p2", "list p3", "list p3", "list p4", "list p5", "list p6"]
        );
    }

    /// The silence that the client takes for no answer here, and the pages: all of them take longer, and each a fraction.
    const LIMIT: Duration = Duration::from_secs(3);
    const PAGES: usize = 6;

    #[tokio::test]
    async fn a_list_whose_rest_is_no_longer_kept_is_begun_again() {
        let pages = Arc::new(AtomicUsize::new(0));
        let (kubernetes, asked) = answering(move |uri| {
            let mut page = list("BucketReplicationList", &[object("orders", "7")]);
            match (short(uri).as_str(), pages.fetch_add(1, Ordering::Relaxed)) {
                ("list p2", _) => return answer(410, gone().to_string()),
                (_, 0) => page["metadata"]["continue"] = json!("p2"),
                _ => {}
            }
            answer(200, page.to_string())
        })
        .await;
        let mut followed = pin!(kubernetes.follow_replications(&ScopeArgs::default(), None));
        while named(followed.next().await).is_none() {}
        assert_eq!(requests(&asked), ["list", "list p2", "list"]);
    }
}
