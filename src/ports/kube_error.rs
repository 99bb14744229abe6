//! Explains an error of the API server in one sentence.
//!
//! In: an error of a request, or the API server's status. Out: the API server's own message, and the remedy where the
//! operator lacks a right.

use kube::core::Status;

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

/// The answer of the API server, in one sentence.
pub fn describe_status(status: &Status) -> String {
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
    }

    #[test]
    fn a_refusal_by_admission_is_no_missing_right() {
        let ending = api(403, "leases \"a\" is forbidden: unable to create new content in namespace b");
        assert!(!is_denied(&ending));
        assert!(!describe(&ending).contains("give it"));
    }
}
