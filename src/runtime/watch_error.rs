//! Explains an error of a watch in one sentence.
//!
//! In: an error of a watch. Out: the sentence that [`describe`] has for the same error of a single request.

use kube::runtime::watcher;

use crate::ports::kube_error::{describe, describe_status};

/// An error of a watch, in one sentence.
pub fn describe_watch_error(error: &watcher::Error) -> String {
    match error {
        watcher::Error::WatchStartFailed(error)
        | watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchFailed(error) => describe(error),
        watcher::Error::WatchError(status) => describe_status(status),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn an_error_of_a_watch_reads_like_that_of_a_request() {
        let words = r#"leases is forbidden: User "a" cannot list resource "leases""#;
        let denied = || kube::Error::Api(Status::failure(words, "Forbidden").with_code(403).boxed());
        assert_eq!(describe_watch_error(&watcher::Error::WatchStartFailed(denied())), describe(&denied()));
    }
}
