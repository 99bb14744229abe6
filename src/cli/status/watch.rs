//! `status --watch`: prints again whenever a resource changes.
//!
//! On a terminal each picture overwrites the last one in one write, line by line and without clearing the screen first,
//! so that nothing flickers. Elsewhere a line is printed for each resource whose verdict changes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

use crate::api::BucketReplication;
use crate::cli::fleet::{ReplicationView, Verdict};
use crate::cli::interrupt::Interrupt;
use crate::cli::kubernetes::Kubernetes;
use crate::cli::output::print;
use crate::cli::status::{Read, StatusArgs, StatusError, exit_code, read, render};
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
        let Read { views, version } = read(kubernetes, args, typed).await?;
        match layout.height {
            Some(_) => {
                // The window may have another size by now.
                let layout = Layout::of_stdout(args.color);
                print(&picture(&render(&views, args, &layout, typed), layout.height))?;
            }
            None => print(&changes(&views, &mut known))?,
        }
        let changed = change(kubernetes.watched(&args.scope), args, &version);
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

/// Returns after the next change of a resource since a version, once the changes that follow at once are over.
async fn change(api: Api<BucketReplication>, args: &StatusArgs, version: &str) -> Result<(), StatusError> {
    let params = WatchParams {
        field_selector: args.name.as_ref().map(|name| format!("metadata.name={name}")),
        label_selector: args.scope.selector.clone(),
        ..WatchParams::default()
    };
    let failed = |error: kube::Error| StatusError::Watch(error.to_string());
    let stream = match api.watch_metadata(&params, version).await {
        Err(kube::Error::Api(status)) if status.code == GONE => return pause().await,
        stream => stream.map_err(failed)?,
    };
    let mut stream = std::pin::pin!(stream);
    loop {
        match stream.next().await {
            // The API server ends every watch after some minutes, and a proxy may do so at once.
            None | Some(Ok(WatchEvent::Error(_))) => return pause().await,
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            Some(Ok(_)) => return settle(&mut stream).await,
        }
    }
}

/// Waits a moment, so that a watch that ends at once is not begun again and again.
async fn pause() -> Result<(), StatusError> {
    tokio::time::sleep(RETRY).await;
    Ok(())
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
        picture.push_str(&format!("… and {left} more lines\u{1b}[K\n"));
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
    use super::*;

    #[test]
    fn a_picture_overwrites_the_last_one_and_never_clears_the_screen() {
        let picture = picture("one\ntwo\n", Some(10));
        assert!(picture.contains("\u{1b}[Hone\u{1b}[K\ntwo\u{1b}[K\n\u{1b}[J"), "{picture:?}");
        assert!(!picture.contains("\u{1b}[2J"));
    }

    #[test]
    fn a_picture_that_is_higher_than_the_terminal_ends_with_the_count_of_the_rest() {
        let picture = picture("1\n2\n3\n4\n5\n", Some(4));
        assert!(picture.contains("2\u{1b}[K\n… and 3 more lines"), "{picture:?}");
        assert_eq!(picture.matches('\n').count(), 3, "the last row stays free: a full one would scroll");
    }
}
