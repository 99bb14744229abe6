//! `status --watch`: prints again whenever a resource changes.
//!
//! In: the resources, and the changes of them that the API server reports. Out: on a terminal a picture that overwrites
//! the last one in one write, line by line and without clearing the screen first, so that nothing flickers; elsewhere a
//! line for each resource whose verdict changes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

use crate::api::BucketReplication;
use crate::cli::counted::form;
use crate::cli::fleet::{ReplicationView, Verdict};
use crate::cli::interrupt::Interrupt;
use crate::cli::kubernetes::Kubernetes;
use crate::cli::output::print;
use crate::cli::status::{ReadViews, StatusArgs, StatusError, exit_code, read, render};
use crate::cli::terminal::{Layout, printable};

/// Changes within this time are one picture.
const PAUSE: Duration = Duration::from_millis(200);
/// The code of a version that the API server keeps no longer.
const GONE: u16 = 410;
/// The pause before the next read after a watch that could not go on, such as one whose version is too old.
const RETRY: Duration = Duration::from_secs(1);
/// Ages in the picture are this old at most, and a backfill's progress too.
const REFRESH: Duration = Duration::from_secs(10);

pub async fn watch(
    kubernetes: &Kubernetes,
    args: &StatusArgs,
    layout: Layout,
    typed: &'static str,
) -> Result<ExitCode, StatusError> {
    let mut interrupt = Interrupt::listen();
    let mut known = BTreeMap::new();
    let _cursor = layout.height.map(|_| HiddenCursor);
    loop {
        let ReadViews { views, version } = read(kubernetes, args, typed).await?;
        match layout.height {
            Some(_) => {
                // The window may have another size by now.
                let layout = Layout::of_stdout(args.color);
                print(&picture(&render(&views, args, &layout, typed), layout.height))?;
            }
            None => print(&changes(&views, &mut known))?,
        }
        let changed = async {
            let pause = change(kubernetes.watched(&args.scope), args, &version).await?;
            tokio::time::sleep(pause).await;
            Ok::<(), StatusError>(())
        };
        let refreshed = async {
            match layout.height {
                Some(_) => tokio::time::sleep(REFRESH).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = interrupt.pressed() => return Ok(exit_code(&views)),
            result = changed => result?,
            () = refreshed => {}
        }
    }
}

/// Returns after the next change of a resource since a version, once the changes that follow at once are over, or when the
/// watch could not go on. Returns the pause before the next read, so that a watch that ends at once is not begun again and
/// again.
async fn change(
    api: Api<BucketReplication>,
    args: &StatusArgs,
    version: &str,
) -> Result<Duration, StatusError> {
    let params = WatchParams {
        field_selector: args.name.as_ref().map(|name| format!("metadata.name={name}")),
        label_selector: args.scope.selector.clone(),
        ..WatchParams::default()
    };
    let failed = |error: kube::Error| StatusError::Watch(error.to_string());
    let stream = match api.watch_metadata(&params, version).await {
        Err(kube::Error::Api(status)) if status.code == GONE => return Ok(RETRY),
        stream => stream.map_err(failed)?,
    };
    let mut stream = std::pin::pin!(stream);
    loop {
        match stream.next().await {
            // The API server ends every watch after some minutes, and a proxy may do so at once.
            None | Some(Ok(WatchEvent::Error(_))) => return Ok(RETRY),
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            Some(Ok(_)) => {
                settle(&mut stream).await?;
                return Ok(Duration::ZERO);
            }
        }
    }
}

/// Takes events until none comes for a moment.
async fn settle<T>(
    stream: &mut (impl Stream<Item = kube::Result<WatchEvent<T>>> + Unpin),
) -> Result<(), StatusError> {
    while let Ok(Some(event)) = tokio::time::timeout(PAUSE, stream.next()).await {
        event.map_err(|error| StatusError::Watch(error.to_string()))?;
    }
    Ok(())
}

const HIDE_CURSOR: &str = "\u{1b}[?25l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// The cursor, which pictures hide. It is visible again after the last picture, however the watch ends.
struct HiddenCursor;

impl Drop for HiddenCursor {
    fn drop(&mut self) {
        // A closed terminal has no cursor.
        drop(std::io::stdout().write_all(SHOW_CURSOR.as_bytes()));
    }
}

/// What moves a terminal from one picture to the next: from the top, each line with its rest deleted, then all below.
/// Terminals that know synchronized updates show the whole at once.
fn picture(text: &str, height: Option<usize>) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.unwrap_or(usize::MAX).saturating_sub(1).max(1);
    let (shown, left) = match lines.len() > room {
        true => (room.saturating_sub(1), lines.len() - room.saturating_sub(1)),
        false => (lines.len(), 0),
    };
    let mut picture = format!("\u{1b}[?2026h{HIDE_CURSOR}\u{1b}[H");
    for line in lines.iter().take(shown) {
        picture.push_str(line);
        picture.push_str("\u{1b}[K\n");
    }
    if left > 0 {
        picture.push_str(&format!("… and {left} more {}\u{1b}[K\n", form(left, "line", "lines")));
    }
    picture.push_str("\u{1b}[J\u{1b}[?2026l");
    picture
}

/// A line for each resource whose verdict is not the known one.
fn changes(views: &[ReplicationView], known: &mut BTreeMap<String, (Verdict, String)>) -> String {
    let present = views.iter().map(|view| (view.full_name(), (view.verdict, view.reason.clone())));
    let present: BTreeMap<String, (Verdict, String)> = present.collect();
    let mut text = String::new();
    for view in views {
        let name = view.full_name();
        if known.get(&name) != present.get(&name) {
            let why = if view.verdict.is_wrong() { &view.message } else { &view.meaning };
            let (sign, word) = (view.verdict.sign(), view.verdict.word());
            text.push_str(&format!("{sign} {name}: {word} ({}): {}\n", view.reason, printable(why)));
        }
    }
    for gone in known.keys().filter(|name| !present.contains_key(*name)) {
        text.push_str(&format!("- {gone}: deleted\n"));
    }
    *known = present;
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::kubernetes::tests::{answering, list};

    /// The flags of a watch of one namespace.
    fn watching() -> StatusArgs {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: StatusArgs,
        }
        Line::parse_from(["status", "-w", "-n", "data"]).args
    }

    fn gone() -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
            "reason": "Expired", "message": "too old resource version: 900 (1200)",
        })
    }

    fn answer(code: u16, body: impl Into<Body>) -> Response {
        (StatusCode::from_u16(code).unwrap(), body.into()).into_response()
    }

    fn event(kind: &str, object: Value) -> String {
        format!("{}\n", json!({"type": kind, "object": object}))
    }

    /// What becomes of a watch that is answered like this.
    async fn watched(code: u16, body: String) -> Result<Duration, StatusError> {
        let (kubernetes, _) = answering(move |_| answer(code, body.clone())).await;
        let args = watching();
        change(kubernetes.watched(&args.scope), &args, "900").await
    }

    #[tokio::test]
    async fn a_watch_that_cannot_go_on_is_begun_again_after_a_pause_and_a_change_is_read_at_once() {
        let object = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "orders", "namespace": "data", "resourceVersion": "901"},
        });
        let pauses = [
            ("its version is too old", 410, gone().to_string(), RETRY),
            ("its version becomes too old", 200, event("ERROR", gone()), RETRY),
            ("the API server ends it", 200, String::new(), RETRY),
            ("a resource changed", 200, event("MODIFIED", object), Duration::ZERO),
        ];
        for (what, code, body, pause) in pauses {
            assert_eq!(watched(code, body).await.unwrap(), pause, "{what}");
        }
        let mut denied = gone();
        denied["code"] = json!(403);
        assert!(watched(403, denied.to_string()).await.is_err(), "no pause helps");
    }

    #[tokio::test]
    async fn after_a_version_that_is_too_old_the_watch_goes_on_from_a_new_list() {
        let (lists, watches) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let state = std::sync::Arc::new((lists, watches));
        let seen = state.clone();
        let (kubernetes, _) = answering(move |uri| {
            let (lists, watches) = &*seen;
            if uri.contains("watch=true") {
                let version = uri.split("resourceVersion=").nth(1).unwrap_or_default();
                watches.lock().unwrap().push(version.split('&').next().unwrap_or_default().to_owned());
                return match watches.lock().unwrap().len() {
                    1 => answer(410, gone().to_string()),
                    // Nothing changes any more.
                    _ => answer(
                        200,
                        Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>()),
                    ),
                };
            }
            let mut listed = list("BucketReplicationList", &[]);
            if uri.contains("/bucketreplications") {
                let version = 900 + lists.fetch_add(1, Ordering::Relaxed);
                listed["metadata"]["resourceVersion"] = json!(version.to_string());
            }
            answer(200, listed.to_string())
        })
        .await;
        let layout = Layout { width: None, height: None, color: false };
        let args = watching();
        let second_watch = async {
            while state.1.lock().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            ended = watch(&kubernetes, &args, layout, "s3-replication-operator") => {
                panic!("the watch has ended: {:?}", ended.err());
            }
            () = second_watch => {}
        }
        assert_eq!(*state.1.lock().unwrap(), ["900", "901"], "each watch begins at the list before it");
    }

    #[test]
    fn a_picture_overwrites_the_last_one_and_never_clears_the_screen() {
        let drawn = picture("one\ntwo\n", Some(10));
        assert!(drawn.contains("\u{1b}[Hone\u{1b}[K\ntwo\u{1b}[K\n\u{1b}[J"), "{drawn:?}");
        assert!(!drawn.contains("\u{1b}[2J"));
    }

    #[test]
    fn a_picture_that_is_higher_than_the_terminal_ends_with_the_count_of_the_rest() {
        let drawn = picture("1\n2\n3\n4\n5\n", Some(4));
        assert!(drawn.contains("2\u{1b}[K\n… and 3 more lines"), "{drawn:?}");
        assert_eq!(drawn.matches('\n').count(), 3, "the last row stays free: a full one would scroll");
    }
}
