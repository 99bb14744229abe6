//! `status --watch`: prints again whenever a resource changes.
//!
//! In: the resources, and the changes of them that the API server reports. Out: on a terminal, pictures; elsewhere a
//! line for each resource whose verdict changes, or for a program each resource that changes. A picture is on the
//! alternate screen. It overwrites the last one in one write, line by line and without clearing the screen first, so
//! that nothing flickers. The last picture stays on the screen itself, to which Ctrl-Z leads back too.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::Serialize;

use crate::api::BucketReplication;
use crate::cli::counted::form;
use crate::cli::fleet::{ReplicationView, Verdict, view_all};
use crate::cli::following::News;
use crate::cli::interrupt::Interrupt;
use crate::cli::kubernetes::{FoundObject, Kubernetes, KubernetesError, found};
use crate::cli::output::{Format, complain, formatted, print, print_to_reader};
use crate::cli::screen::AlternateScreen;
use crate::cli::status::{StatusArgs, StatusError, exit_code, render, summary};
use crate::cli::terminal::{Layout, Tone, printable};
use crate::cli::wait::Wait;
use crate::runtime::clock::Clock;

/// Changes within this time are one picture.
const PAUSE: Duration = Duration::from_millis(200);
/// Where changes never cease, there is a picture after this time nevertheless.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Ages in the picture are this old at most.
const REFRESH: Duration = Duration::from_secs(10);

/// The state that the watch has shown so far.
#[derive(Default)]
struct Shown {
    /// Whether the API server has answered.
    is_known: bool,
    views: Vec<ReplicationView>,
    /// The verdict and the reason of each resource, by its name.
    known: BTreeMap<String, (Verdict, String)>,
    /// The view of each resource that was last printed for a program, by its name.
    printed: BTreeMap<String, ReplicationView>,
    /// Why the API server gave no answer, once that is printed.
    silence: Option<String>,
}

pub async fn watch(
    kubernetes: &Kubernetes,
    args: &StatusArgs,
    layout: Layout,
    typed: &'static str,
) -> Result<ExitCode, StatusError> {
    // A program gets objects, on a terminal too.
    let layout = Layout { height: layout.height.filter(|_| args.output.is_none()), ..layout };
    let mut interrupt = match layout.height {
        Some(_) => Interrupt::listen_on_terminal(),
        None => Interrupt::listen(),
    };
    let (mut shown, screen) = (Shown::default(), AlternateScreen::default());
    let stop_when_asked = async {
        match layout.height {
            Some(_) => screen.stop_when_asked().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = follow(kubernetes, (args, layout, typed), &mut shown, &screen) => ended,
        () = interrupt.pressed() => Ok(None),
        () = stop_when_asked => Ok(None),
    };
    if screen.leave() {
        print(&render(&shown.views, args, &Layout::of_stdout(args.color), typed))?;
    }
    match ended? {
        Some(why) => Err(StatusError::Timeout { why, again: args.command(typed, &kubernetes.namespace) }),
        None if !shown.is_known => Err(StatusError::InterruptedEarly),
        None => Ok(exit_code(&shown.views)),
    }
}

/// Follows the resources. Returns why the watch is over; `None`: nobody reads it any more.
async fn follow(
    kubernetes: &Kubernetes,
    (args, layout, typed): (&StatusArgs, Layout, &'static str),
    shown: &mut Shown,
    screen: &AlternateScreen,
) -> Result<Option<String>, StatusError> {
    let mut wait = Wait::begin(args.timeout, Clock::System);
    let mut held = HeldObjects::default();
    let replications = kubernetes.follow_replications(&args.scope, args.name.as_deref());
    let backfills = kubernetes.follow_backfills(&args.scope);
    let mut heard = std::pin::pin!(stream::select(
        replications.map(|news| (WatchedKind::Replication, news)),
        backfills.map(|news| (WatchedKind::Backfill, news)),
    ));
    // As long as it takes: a list of many pages over a slow connection is no failure.
    while !held.is_known() {
        let Some(news) = heard.next().await else { return Ok(None) };
        held.take(news, &mut wait)?;
        if let Some(why) = wait.silence().filter(|_| wait.is_silent()) {
            return Ok(Some(format!("stopped after {}: {}", wait.waited(), printable(why))));
        }
    }
    loop {
        if let (true, Some(name)) = (held.is_empty(), &args.name) {
            return Err(kubernetes.not_found(name, typed).into());
        }
        shown.is_known = true;
        shown.views = held.views(args, (typed, &kubernetes.flags));
        if !show((shown, screen), &wait, (args, layout, typed)).await? {
            return Ok(None);
        }
        if wait.is_over() {
            return Ok(Some(given_up(&wait, &shown.views)));
        }
        tokio::select! {
            next = next_picture(&mut heard, &mut held, &mut wait) => next?,
            () = screen.continued() => {}
        }
    }
}

/// Which of the two kinds news are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum WatchedKind {
    Replication,
    Backfill,
}

/// An answer of the API server about a kind.
type Heard = (WatchedKind, Result<News, KubernetesError>);

/// The objects of the cluster, by the namespace and the name; `None`: it has not answered yet.
#[derive(Default)]
struct HeldObjects {
    /// The kinds of which an answer has come.
    answered: BTreeSet<WatchedKind>,
    replications: Option<BTreeMap<(String, String), FoundObject<BucketReplication>>>,
    backfills: Option<BTreeMap<(String, String), DynamicObject>>,
}

impl HeldObjects {
    fn is_known(&self) -> bool {
        self.replications.is_some() && self.backfills.is_some()
    }

    fn is_empty(&self) -> bool {
        self.replications.as_ref().is_some_and(BTreeMap::is_empty)
    }

    fn views(&self, args: &StatusArgs, (typed, flags): (&str, &str)) -> Vec<ReplicationView> {
        let replications = self.replications.iter().flat_map(BTreeMap::values).cloned().collect();
        let backfills: Vec<DynamicObject> =
            self.backfills.iter().flat_map(BTreeMap::values).cloned().collect();
        view_all(replications, &backfills, args.runbooks.pointers(typed, flags))
    }

    /// Takes news. Returns whether there is something new to show.
    ///
    /// # Errors
    /// Where no other try would get another answer, and where the first one gets none.
    fn take(&mut self, (kind, news): Heard, wait: &mut Wait) -> Result<bool, KubernetesError> {
        let news = match news? {
            News::Silent(error) if !self.answered.contains(&kind) => return Err(error),
            // The state of the replications is what is watched.
            News::Silent(error) if kind == WatchedKind::Replication => {
                let is_new = wait.silence().is_none();
                wait.unheard(error.to_string());
                return Ok(is_new);
            }
            News::Silent(_) => return Ok(false),
            news => news,
        };
        self.answered.insert(kind);
        let is_heard_again = kind == WatchedKind::Replication && wait.silence().is_some();
        if kind == WatchedKind::Replication {
            wait.heard();
        }
        let is_changed = match kind {
            WatchedKind::Replication => apply(&mut self.replications, news, found),
            WatchedKind::Backfill => apply(&mut self.backfills, news, |object| object),
        };
        Ok(is_changed || is_heard_again)
    }
}

/// Applies news to what is held of a kind. Returns whether it changes that.
fn apply<T>(
    held: &mut Option<BTreeMap<(String, String), T>>,
    news: News,
    decoded: impl Fn(DynamicObject) -> T,
) -> bool {
    let key = |object: &DynamicObject| (object.namespace().unwrap_or_default(), object.name_any());
    match news {
        News::Listed(objects) => {
            *held = Some(objects.into_iter().map(|object| (key(&object), decoded(object))).collect());
        }
        News::Changed(object) => {
            held.get_or_insert_default().insert(key(&object), decoded(object));
        }
        News::Deleted(object) => drop(held.get_or_insert_default().remove(&key(&object))),
        News::Unavailable => drop(held.get_or_insert_default()),
        News::Answered | News::Silent(_) => return false,
    }
    true
}

/// Returns once there is something to show: a change, with those that follow at once; other ages; or the end of the wait.
async fn next_picture(
    heard: &mut (impl Stream<Item = Heard> + Unpin),
    held: &mut HeldObjects,
    wait: &mut Wait,
) -> Result<(), StatusError> {
    loop {
        let news = tokio::select! {
            news = heard.next() => news,
            () = wait.pause(REFRESH) => None,
        };
        let Some(news) = news else { return Ok(()) };
        if held.take(news, wait)? {
            break;
        }
    }
    let quiet = async {
        while let Ok(Some(news)) = tokio::time::timeout(PAUSE, heard.next()).await {
            held.take(news, wait)?;
        }
        Ok(())
    };
    tokio::time::timeout(LONGEST_PAUSE, quiet).await.unwrap_or(Ok(()))
}

/// Prints what is new: a picture on a terminal, and elsewhere a line for each change. Returns whether someone reads it.
async fn show(
    (shown, screen): (&mut Shown, &AlternateScreen),
    wait: &Wait,
    (args, layout, typed): (&StatusArgs, Layout, &'static str),
) -> Result<bool, StatusError> {
    if layout.height.is_some() {
        // The window may have another size by now.
        let layout = Layout::of_stdout(args.color);
        let text = format!("{}{}", note(wait, &layout), render(&shown.views, args, &layout, typed));
        return Ok(screen.show(&picture(&text, &layout)).await?);
    }
    let silence = wait.silence().map(str::to_owned);
    if let Some(why) = silence.as_ref().filter(|_| shown.silence.is_none()) {
        complain(&format!("{}; trying again", printable(why)));
    }
    shown.silence = silence;
    let text = match args.output {
        Some(format) => objects(&shown.views, &mut shown.printed, format)?,
        None => changes(&shown.views, &mut shown.known),
    };
    Ok(print_to_reader(&text)?)
}

/// The note above a picture that is no longer of the present.
fn note(wait: &Wait, layout: &Layout) -> String {
    let Some(why) = wait.silence() else { return String::new() };
    let seconds = wait.since_answer().as_secs();
    let text = format!("! The lines below are {seconds} s old: {why}; trying again");
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

const HIDE_CURSOR: &str = "\u{1b}[?25l";

/// The bytes that move a terminal from one picture to the next: from the top, each line with its rest deleted, then all
/// below. Terminals that know synchronized updates show the whole at once.
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

/// A resource that is no longer there, as it was last.
#[derive(Serialize)]
struct Gone<'a> {
    #[serde(flatten)]
    view: &'a ReplicationView,
    gone: bool,
}

/// Each resource that is not as it was printed last, as an object of its own.
fn objects(
    views: &[ReplicationView],
    printed: &mut BTreeMap<String, ReplicationView>,
    format: Format,
) -> Result<String, StatusError> {
    let before = if format == Format::Yaml { "---\n" } else { "" };
    let present: BTreeMap<String, ReplicationView> =
        views.iter().map(|view| (view.full_name(), view.clone())).collect();
    let mut text = String::new();
    for (_, view) in present.iter().filter(|(name, view)| printed.get(*name) != Some(view)) {
        text.push_str(&format!("{before}{}", formatted(view, format)?));
    }
    for (_, view) in printed.iter().filter(|(name, _)| !present.contains_key(*name)) {
        text.push_str(&format!("{before}{}", formatted(&Gone { view, gone: true }, format)?));
    }
    *printed = present;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::fleet::samples::{all, resource};
    use crate::cli::kubernetes::test_server::{answering, list};

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

    fn quiet() -> Response {
        answer(200, Body::from_stream(stream::pending::<Result<String, std::io::Error>>()))
    }

    const ELSEWHERE: Layout = Layout { width: None, height: None, color: false };

    /// Where there are ten thousand, each list is 20 requests.
    #[tokio::test]
    async fn changes_are_applied_to_what_is_held_and_nothing_is_listed_again() {
        let replication = |name: &str, version: usize, conditions: &[[&str; 4]]| {
            let mut object = resource(name, conditions);
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            object
        };
        let changes: Vec<String> = (0..20)
            .map(|number| {
                let object = replication("orders", 901 + number, &[["Ready", "False", "ForeignRole", "m"]]);
                format!("{}\n", json!({"type": "MODIFIED", "object": object}))
            })
            .collect();
        let well = replication("orders", 7, &[["Ready", "True", "Applied", "m"]]);
        let (kubernetes, asked) = answering(move |uri| {
            if !uri.contains("watch=true") {
                let items = if uri.contains("/bucketreplications") { vec![well.clone()] } else { Vec::new() };
                return answer(200, list("BucketReplicationList", &items).to_string());
            }
            if !uri.contains("/bucketreplications") || !uri.contains("resourceVersion=900") {
                return quiet();
            }
            let paused = changes.clone().into_iter().map(|change| async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, std::io::Error>(change)
            });
            answer(200, Body::from_stream(stream::iter(paused).buffered(1)))
        })
        .await;
        let args = StatusArgs { timeout: "15s".parse().unwrap(), ..watching() };
        let ended = watch(&kubernetes, &args, ELSEWHERE, "s3-replication-operator").await;
        let message = ended.unwrap_err().to_string();
        assert!(message.contains("The replication needs attention"), "{message}");
        let asked = asked.lock().unwrap();
        let lists = asked.iter().filter(|uri| !uri.contains("watch=true")).count();
        assert_eq!(lists, 2, "one for each kind: {asked:?}");
        let last = asked.iter().rfind(|uri| uri.contains("/bucketreplications")).unwrap();
        assert!(last.contains("resourceVersion=920"), "the watch goes on after the last change: {last}");
    }

    #[tokio::test]
    async fn a_resource_that_is_not_there_or_no_longer_ends_the_watch_of_it() {
        for items in [Vec::new(), vec![resource("orders", &[])]] {
            let deleted = format!("{}\n", json!({"type": "DELETED", "object": resource("orders", &[])}));
            let (kubernetes, asked) = answering(move |uri| match uri.contains("watch=true") {
                true if uri.contains("/bucketreplications") => answer(200, deleted.clone()),
                true => quiet(),
                false if uri.contains("/bucketreplications") => {
                    answer(200, list("BucketReplicationList", &items).to_string())
                }
                false => answer(200, list("ReplicationBackfillList", &[]).to_string()),
            })
            .await;
            let args = StatusArgs { name: Some("orders".to_owned()), ..watching() };
            let ended = watch(&kubernetes, &args, ELSEWHERE, "s3-replication-operator").await;
            assert!(matches!(ended, Err(StatusError::Kubernetes(KubernetesError::NotFound { .. }))));
            let asked = asked.lock().unwrap();
            let mut replications = asked.iter().filter(|uri| uri.contains("/bucketreplications"));
            assert!(
                replications.all(|uri| uri.contains("fieldSelector=metadata.name%3Dorders")),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn a_program_gets_each_resource_that_changes_and_once_more_if_it_is_gone() {
        let views = |reason: &str| all([resource("orders", &[["Ready", "False", reason, "m"]])]);
        let mut printed = BTreeMap::new();
        let mut next = |views: &[ReplicationView], format| objects(views, &mut printed, format).unwrap();
        let first: Value = serde_json::from_str(&next(&views("ForeignRole"), Format::Json)).unwrap();
        assert_eq!((&first["name"], &first["reason"]), (&json!("orders"), &json!("ForeignRole")));
        assert_eq!(next(&views("ForeignRole"), Format::Json), "", "nothing has changed");
        let changed = next(&views("Drifted"), Format::Yaml);
        assert!(changed.starts_with("---\n") && changed.contains("reason: Drifted\n"), "{changed}");
        let gone: Value = serde_json::from_str(&next(&[], Format::Json)).unwrap();
        assert_eq!((&gone["name"], &gone["gone"]), (&json!("orders"), &json!(true)));
        assert_eq!(next(&[], Format::Json), "");
    }

    #[tokio::test]
    async fn a_watch_goes_on_while_the_api_server_gives_no_answer_and_its_end_says_so() {
        let watches = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = watches.clone();
        let (kubernetes, _) = answering(move |uri| {
            if !uri.contains("watch=true") {
                return answer(200, list("BucketReplicationList", &[]).to_string());
            }
            if uri.contains("/bucketreplications") {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            let mut overloaded = gone();
            overloaded["code"] = json!(503);
            overloaded["message"] = json!("the server is overloaded");
            answer(503, overloaded.to_string())
        })
        .await;
        let args = StatusArgs { timeout: "6s".parse().unwrap(), ..watching() };
        let ended = watch(&kubernetes, &args, ELSEWHERE, "s3-replication-operator").await;
        let message = ended.unwrap_err().to_string();
        assert!(message.starts_with("stopped watching after 6s: cannot list"), "{message}");
        assert!(
            message.contains("the server is overloaded") && message.contains("There are no replications"),
            "{message}"
        );
        assert!(message.ends_with("\n→ s3-replication-operator status -w -n data"), "{message}");
        assert!(watches.load(Ordering::Relaxed) > 1, "it asks again");
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
