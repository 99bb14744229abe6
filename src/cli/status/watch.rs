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
use crate::cli::kubernetes::{Kubernetes, may_pass};
use crate::cli::output::{complain, print_to_reader};
use crate::cli::status::{ReadViews, StatusArgs, StatusError, exit_code, read, render, summary};
use crate::cli::terminal::{Layout, Tone, printable};
use crate::cli::wait::Wait;
use crate::runtime::clock::Clock;

/// Changes within this time are one picture.
const PAUSE: Duration = Duration::from_millis(200);
/// The code of a version that the API server keeps no longer.
const GONE: u16 = 410;
/// The pause before the next read after a watch that could not go on, such as one whose version is too old.
const RETRY: Duration = Duration::from_secs(1);
/// Ages in the picture are this old at most, and a backfill's progress too.
const REFRESH: Duration = Duration::from_secs(10);
/// Without a picture, a connection that is dead is found out after this time at most.
const RELIST: Duration = Duration::from_secs(60);

/// What the watch has shown so far.
#[derive(Default)]
struct Shown {
    views: Vec<ReplicationView>,
    /// The verdict and the reason of each resource, by its name.
    known: BTreeMap<String, (Verdict, String)>,
    /// Why the API server gave no answer, once that is printed.
    silence: Option<String>,
}

pub async fn watch(
    kubernetes: &Kubernetes,
    args: &StatusArgs,
    layout: Layout,
    typed: &'static str,
) -> Result<ExitCode, StatusError> {
    let mut interrupt = Interrupt::listen();
    let mut shown = Shown::default();
    let _cursor = layout.height.map(|_| HiddenCursor);
    let given_up = tokio::select! {
        given_up = follow(kubernetes, args, layout, (typed, &mut shown)) => given_up?,
        () = interrupt.pressed() => None,
    };
    match given_up {
        Some(why) => Err(StatusError::Timeout { why, again: args.command(typed, &kubernetes.namespace) }),
        None => Ok(exit_code(&shown.views)),
    }
}

/// Follows the resources. Returns why the watch is over; `None`: nobody reads it any more.
async fn follow(
    kubernetes: &Kubernetes,
    args: &StatusArgs,
    layout: Layout,
    (typed, shown): (&'static str, &mut Shown),
) -> Result<Option<String>, StatusError> {
    let mut wait = Wait::begin(args.timeout, Clock::System);
    // What cannot be read at first is an error at once.
    let mut first = Some(read(kubernetes, args, typed).await?);
    loop {
        let heard = match first.take() {
            Some(views) => Some(views),
            None if wait.is_over() => return Ok(Some(given_up(&wait, &shown.views))),
            None => wait.hear(read(kubernetes, args, typed)).await?,
        };
        let version = heard.map(|ReadViews { views, version }| {
            shown.views = views;
            version
        });
        if !show(shown, &wait, (args, layout, typed))? {
            return Ok(None);
        }
        if wait.is_over() {
            return Ok(Some(given_up(&wait, &shown.views)));
        }
        let Some(version) = version else {
            wait.pause(RETRY).await;
            continue;
        };
        let changed = async {
            let pause = change(kubernetes.watched(&args.scope), args, &version).await?;
            wait.pause(pause).await;
            Ok::<(), StatusError>(())
        };
        tokio::select! {
            result = changed => result?,
            () = wait.pause(if layout.height.is_some() { REFRESH } else { RELIST }) => {}
        }
    }
}

/// Prints what is new: a picture on a terminal, and elsewhere a line for each change. Returns whether someone reads it.
fn show(
    shown: &mut Shown,
    wait: &Wait,
    (args, layout, typed): (&StatusArgs, Layout, &'static str),
) -> Result<bool, StatusError> {
    if layout.height.is_some() {
        // The window may have another size by now.
        let layout = Layout::of_stdout(args.color);
        let text = format!("{}{}", note(wait, &layout), render(&shown.views, args, &layout, typed));
        return Ok(print_to_reader(&picture(&text, &layout))?);
    }
    let silence = wait.silence().map(str::to_owned);
    if let Some(why) = silence.as_ref().filter(|_| shown.silence.is_none()) {
        complain(&format!("{}; trying again", printable(why)));
    }
    shown.silence = silence;
    Ok(print_to_reader(&changes(&shown.views, &mut shown.known))?)
}

/// What stands above a picture that is no longer of the present.
fn note(wait: &Wait, layout: &Layout) -> String {
    let Some(why) = wait.silence() else { return String::new() };
    let seconds = wait.since_answer().as_secs();
    let text = format!("! What is below is {seconds} s old: {why}; trying again");
    format!("{}\n\n", layout.paint(Tone::Warning, &layout.wrap(&text, "")))
}

/// Why the watch is over, with the last verdict.
fn given_up(wait: &Wait, views: &[ReplicationView]) -> String {
    let (waited, sentence) = (wait.waited(), summary(views).sentence());
    match wait.silence() {
        Some(why) => format!("stopped watching after {waited}: {}; before: {sentence}", printable(why)),
        None => format!("stopped watching after {waited} (--timeout): {sentence}"),
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
        // The next read gets the same answer, or none, and says so.
        Err(error) if may_pass(&error) => return Ok(RETRY),
        stream => stream.map_err(failed)?,
    };
    let mut stream = std::pin::pin!(stream);
    loop {
        match stream.next().await {
            // The API server ends every watch after some minutes, and a proxy may do so at once.
            None | Some(Ok(WatchEvent::Error(_))) => return Ok(RETRY),
            Some(Err(error)) if may_pass(&error) => return Ok(RETRY),
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            Some(Ok(_)) => {
                settle(&mut stream).await;
                return Ok(Duration::ZERO);
            }
        }
    }
}

/// Takes events until none comes for a moment.
async fn settle<T>(stream: &mut (impl Stream<Item = kube::Result<WatchEvent<T>>> + Unpin)) {
    let quiet = async { while let Ok(Some(Ok(_))) = tokio::time::timeout(PAUSE, stream.next()).await {} };
    // Where changes never cease, there is a picture nevertheless.
    drop(tokio::time::timeout(RETRY, quiet).await);
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
///
/// A line that is longer than the terminal is wide takes several of its rows. The last row stays free: a full one would
/// scroll.
fn picture(text: &str, layout: &Layout) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = layout.height.unwrap_or(usize::MAX).saturating_sub(1).max(1);
    let rows = |line: &str| {
        let columns = textwrap::core::display_width(line);
        layout.width.map_or(1, |width| columns.div_ceil(width).max(1))
    };
    let fitting = |room: usize| {
        let mut used = 0;
        let fits = |line: &&&str| {
            used += rows(line);
            used <= room
        };
        lines.iter().take_while(fits).count()
    };
    let all = fitting(room);
    // The count of the rest needs a row.
    let shown = if all == lines.len() { all } else { fitting(room.saturating_sub(1)) };
    let left = lines.len() - shown;
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

    #[tokio::test]
    async fn a_watch_goes_on_while_the_api_server_gives_no_answer_and_its_end_says_so() {
        let lists = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = lists.clone();
        let (kubernetes, _) = answering(move |uri| {
            if uri.contains("/bucketreplications") && counted.fetch_add(1, Ordering::Relaxed) > 0 {
                let mut overloaded = gone();
                overloaded["code"] = json!(503);
                overloaded["message"] = json!("the server is overloaded");
                return answer(503, overloaded.to_string());
            }
            answer(200, list("BucketReplicationList", &[]).to_string())
        })
        .await;
        let layout = Layout { width: None, height: None, color: false };
        let args = StatusArgs { timeout: "2500ms".parse().unwrap(), ..watching() };
        let ended = watch(&kubernetes, &args, layout, "s3-replication-operator").await;
        let said = ended.unwrap_err().to_string();
        assert!(said.starts_with("stopped watching after 2s 500ms: cannot list"), "{said}");
        assert!(
            said.contains("the server is overloaded") && said.contains("There are no replications"),
            "{said}"
        );
        assert!(said.ends_with("\n→ s3-replication-operator status -w -n data"), "{said}");
        assert!(lists.load(Ordering::Relaxed) > 2, "it asks again");
    }

    fn of_size(width: usize, height: usize) -> Layout {
        Layout { width: Some(width), height: Some(height), color: false }
    }

    #[test]
    fn a_picture_overwrites_the_last_one_and_never_clears_the_screen() {
        let drawn = picture("one\ntwo\n", &of_size(80, 10));
        assert!(drawn.contains("\u{1b}[Hone\u{1b}[K\ntwo\u{1b}[K\n\u{1b}[J"), "{drawn:?}");
        assert!(!drawn.contains("\u{1b}[2J"));
    }

    #[test]
    fn a_picture_that_is_higher_than_the_terminal_ends_with_the_count_of_the_rest() {
        let drawn = picture("1\n2\n3\n4\n5\n", &of_size(80, 4));
        assert!(drawn.contains("2\u{1b}[K\n… and 3 more lines"), "{drawn:?}");
        assert_eq!(drawn.matches('\n').count(), 3, "the last row stays free: a full one would scroll");
    }

    #[test]
    fn a_line_that_is_longer_than_the_terminal_is_wide_takes_several_rows_of_a_picture() {
        let command = format!("\u{1b}[1m→ kubectl {}\u{1b}[0m", "x".repeat(70));
        let text = format!("one\n{command}\nthree\n");
        let all = picture(&text, &of_size(40, 5));
        assert!(all.contains("three") && !all.contains("more line"), "1 + 2 + 1 rows: {all:?}");
        let cut = picture(&text, &of_size(40, 4));
        assert!(cut.contains("one\u{1b}[K\n… and 2 more lines"), "{cut:?}");
    }
}
