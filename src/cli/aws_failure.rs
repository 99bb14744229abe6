//! Explains to a person why a call to AWS failed.
//!
//! In: the failure, as the operator would report it. Out: a sentence about the credentials of their environment, without
//! the promise of another try: a subcommand tries once.

use crate::replication::{Failure, FailureClass};

/// A failed call as it concerns a person: the credentials are those of their environment, and nothing is tried again.
pub fn explain(failure: &Failure) -> String {
    match failure.class {
        FailureClass::Credentials => format!(
            "there are no valid AWS credentials in this environment; log in (aws sso login, or aws configure), or set AWS_PROFILE ({})",
            failure.answer()
        ),
        FailureClass::WrongClock => format!(
            "AWS refuses the time of the request: the clock of this machine is wrong; correct it ({})",
            failure.answer()
        ),
        _ => {
            let message = failure.message();
            // Its caller is this person.
            let message = message.replacen(" on the operator ", " ", 1);
            message.trim_end_matches("; trying again").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_without_credentials_is_sent_to_their_own_environment() {
        let failure = |class| Failure::new(class, "sts:GetCallerIdentity", "s", "no answer");
        let message = explain(&failure(FailureClass::Credentials));
        assert!(message.contains("AWS_PROFILE") && !message.contains("pod"), "{message}");
        let message = explain(&failure(FailureClass::WrongClock));
        assert!(message.contains("clock of this machine") && !message.contains("node"), "{message}");
        let message = explain(&failure(FailureClass::Unavailable));
        assert!(message.contains("no answer") && !message.contains("trying again"), "{message}");
    }
}
