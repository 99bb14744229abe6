//! A call to AWS that failed.
//!
//! In: the class, the action and AWS's answer. Out: the reason and the message of a condition. The class decides what to
//! do next.

use std::borrow::Cow;

use crate::api::Reason;

/// What a failed call means for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Too many requests: IAM `Throttling`, S3 `SlowDown`.
    Throttled,
    /// Someone else is writing the same thing: S3 409 `OperationAborted`, IAM 409 `ConcurrentModification`.
    Conflict,
    /// The operator's identity may not do this.
    Denied,
    /// The bucket belongs to another account than the one expected.
    WrongOwner,
    /// The operator's identity is in another account than an `AwsAccount` says.
    WrongAccount,
    /// The bucket does not exist.
    NoSuchBucket,
    /// The role or its policy does not exist.
    NoSuchRole,
    /// The bucket is in another Region than the request went to.
    WrongRegion,
    /// AWS refuses the request as it is; trying again changes nothing.
    Invalid,
    /// IAM does not delete a role while something is attached to it.
    DeleteConflict,
    /// There are no credentials, or they have expired.
    Credentials,
    /// No answer, or a 5xx.
    Unavailable,
}

impl FailureClass {
    /// The reason a condition gives for this class.
    pub fn reason(self) -> Reason {
        match self {
            FailureClass::Throttled => Reason::Throttled,
            FailureClass::Conflict | FailureClass::Unavailable | FailureClass::WrongRegion => {
                Reason::AwsUnavailable
            }
            FailureClass::Denied => Reason::AccessDenied,
            FailureClass::WrongOwner => Reason::WrongBucketOwner,
            FailureClass::WrongAccount => Reason::AccountMismatch,
            FailureClass::NoSuchBucket => Reason::SourceBucketNotFound,
            FailureClass::NoSuchRole => Reason::RoleNotFound,
            FailureClass::Invalid => Reason::InvalidRequest,
            FailureClass::DeleteConflict => Reason::DeletionBlocked,
            FailureClass::Credentials => Reason::CredentialsUnavailable,
        }
    }
}

/// A failed call: the action, its subject and AWS's answer, without request ids or anything else that changes from one
/// try to the next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Failure {
    pub class: FailureClass,
    /// The IAM action, such as `s3:GetBucketVersioning`.
    pub action: Cow<'static, str>,
    /// The bucket or the role.
    pub subject: String,
    /// AWS's error code; empty when there was no answer.
    pub code: String,
    /// AWS's message, or the error of the connection.
    pub detail: String,
}

impl Failure {
    /// A failure without a code of AWS's: there was no answer, or its content is at fault.
    pub fn new(
        class: FailureClass,
        action: impl Into<Cow<'static, str>>,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Failure {
        let (action, subject, detail) = (action.into(), subject.into(), detail.into());
        Failure { class, action, subject, code: String::new(), detail }
    }

    /// AWS's answer: its code and its message.
    pub fn answer(&self) -> String {
        let Failure { code, detail, .. } = self;
        match (code.is_empty(), detail.is_empty()) {
            (true, _) => detail.clone(),
            (false, true) => code.clone(),
            (false, false) => format!("{code}: {detail}"),
        }
    }

    /// Whether AWS's message names the action that was denied.
    pub fn names_action(&self) -> bool {
        self.detail.contains(self.action.as_ref())
    }

    /// The reason that a condition gives, where a missing bucket is the source or a destination.
    pub fn reason_for(&self, source: &str) -> Reason {
        match self.class {
            FailureClass::NoSuchBucket if self.subject != source => Reason::DestinationBucketNotFound,
            class => class.reason(),
        }
    }

    /// A sentence for a condition: the action, the bucket or role, AWS's answer, and the remedy.
    pub fn message(&self) -> String {
        let Failure { class, action, subject, detail, .. } = self;
        let answer = self.answer();
        match class {
            FailureClass::Throttled => {
                format!("AWS throttles {action} on {subject} ({answer}); trying again more slowly")
            }
            FailureClass::Conflict => {
                format!("{action} on {subject} met another write at the same time ({answer}); trying again")
            }
            FailureClass::Denied if action == "sts:AssumeRole" => format!(
                "{action} on {subject} is denied ({answer}); allow {action} on {subject} to the operator's own identity, and let the trust policy of {subject} allow it to that identity, with the external id of the AwsAccount where it asks for one"
            ),
            FailureClass::Denied => format!(
                "{action} on {subject} is denied ({answer}); allow {action} on {subject} to the operator's identity, and check that no bucket policy, permissions boundary or service control policy denies it"
            ),
            FailureClass::WrongOwner => format!(
                "{action} on {subject} is refused because the bucket belongs to another account than expected ({answer}); correct the bucket's name or account"
            ),
            FailureClass::WrongAccount => format!(
                "the operator's identity under AwsAccount {subject} is in the wrong account: {detail}; correct spec.accountId (in a new AwsAccount) or spec.assumeRole.arn. Nothing is written until they agree"
            ),
            FailureClass::NoSuchBucket => {
                format!("bucket {subject} does not exist ({action}: {answer}); create it or correct the name")
            }
            FailureClass::NoSuchRole => {
                format!("role {subject} does not exist ({action}: {answer}); trying again")
            }
            FailureClass::WrongRegion => format!(
                "{action} on {subject} went to the wrong Region ({answer}); its Region is looked up again"
            ),
            FailureClass::Invalid => format!("AWS refuses {action} on {subject}: {answer}"),
            FailureClass::DeleteConflict => format!(
                "{action} on {subject} is refused because something is still attached to the role ({answer}); detach it"
            ),
            FailureClass::Credentials => format!(
                "the operator has no valid AWS credentials ({answer}); give its pod an identity (IRSA, Pod Identity or a Secret)"
            ),
            FailureClass::Unavailable => {
                format!("{action} on {subject} got no usable answer from AWS ({answer}); trying again")
            }
        }
    }
}
