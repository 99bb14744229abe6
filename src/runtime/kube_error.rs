//! What is said of an error of Kubernetes: the API server's own words, and the remedy where the operator lacks a right.

use kube::core::Status;
use kube::runtime::watcher;

const REMEDY: &str = "give it this right, which the roles of this version's Helm chart and install.yaml hold";

/// Whether a right is missing. Admission forbids too, in other words.
pub fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if lacks_right(status))
}

fn lacks_right(status: &Status) -> bool {
    status.code == 403 && status.message.contains("is forbidden: User ")
}

/// An error, in one sentence.
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => describe_status(status),
        other => other.to_string(),
    }
}

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

fn describe_status(status: &Status) -> String {
    if lacks_right(status) {
        return format!("{}; {REMEDY}", status.message);
    }
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Forbidden").with_code(code).boxed())
    }

    #[test]
    fn a_missing_right_is_named_with_its_remedy() {
        let words = r#"leases.coordination.k8s.io is forbidden: User "a" cannot create resource "leases""#;
        let denied = api(403, words);
        assert!(is_denied(&denied));
        assert_eq!(describe(&denied), format!("{words}; {REMEDY}"));
        let of_a_watch = watcher::Error::WatchStartFailed(api(403, words));
        assert_eq!(describe_watch_error(&of_a_watch), describe(&denied));
    }

    #[test]
    fn what_admission_forbids_is_no_missing_right() {
        let ending = api(403, "leases \"a\" is forbidden: unable to create new content in namespace b");
        assert!(!is_denied(&ending));
        assert!(!describe(&ending).contains("give it"));
    }
}
