//! The reasons of conditions: a closed set. Each implies a status of `Ready`, and whether the operator tries again
//! soon.
//!
//! In: nothing. Out: [`Reason`], for conditions, events, metrics and pauses. A new reason begins here.
//! `cli/fleet/advice.rs` does not compile until it advises on the reason, and a test asks for its row and its paragraph
//! in `docs/reasons.md`.

use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};

/// The status of `Ready` that a reason implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum ReadyStatus {
    True,
    False,
    Unknown,
}

impl ReadyStatus {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The reason of a condition.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Display, IntoStaticStr, VariantArray,
)]
pub enum Reason {
    Applied,
    Verified,
    Progressing,
    Suspended,
    Drifted,
    SourceConflict,
    NotAllowed,
    AccountNotFound,
    AccountMismatch,
    ForeignRole,
    ForeignConfiguration,
    SourceBucketNotFound,
    DestinationBucketNotFound,
    RoleNotFound,
    RoleNotTrusted,
    VersioningNotEnabled,
    MfaDeleteEnabled,
    WrongBucketOwner,
    PolicyTooLarge,
    InvalidRequest,
    AccessDenied,
    CredentialsUnavailable,
    Throttled,
    AwsUnavailable,
    InvalidSpec,
    DeletionBlocked,
    ObjectsArriving,
    NothingPending,
    ObjectsFailing,
    ObjectsDelayed,
    NoEvidence,
    NotProven,
    NoData,
    CanaryRefused,
    EventsReceived,
    EventsNotSeen,
    EventMissed,
    QueueUnreachable,
    Waiting,
    Settling,
    Preparing,
    AwaitingApproval,
    Running,
    Cancelling,
    Completed,
    NothingToDo,
    CompletedWithFailures,
    JobFailed,
    JobVanished,
    Cancelled,
    ReplicationNotReady,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The status of `Ready` if this is its reason. The reasons that only `Replicating` has imply its status.
    pub fn ready(self) -> ReadyStatus {
        match self {
            Reason::Applied
            | Reason::Verified
            | Reason::ObjectsArriving
            | Reason::NothingPending
            | Reason::EventsReceived => ReadyStatus::True,
            Reason::Progressing
            | Reason::Suspended
            | Reason::NoEvidence
            | Reason::NotProven
            | Reason::NoData
            | Reason::CanaryRefused
            | Reason::EventsNotSeen => ReadyStatus::Unknown,
            Reason::Completed | Reason::NothingToDo => ReadyStatus::True,
            Reason::Waiting
            | Reason::Settling
            | Reason::Preparing
            | Reason::AwaitingApproval
            | Reason::Running
            | Reason::Cancelling => ReadyStatus::Unknown,
            _ => ReadyStatus::False,
        }
    }

    /// Whether only `Replicating` has this reason.
    pub fn is_about_arrival(self) -> bool {
        matches!(
            self,
            Reason::ObjectsArriving
                | Reason::NothingPending
                | Reason::ObjectsFailing
                | Reason::ObjectsDelayed
                | Reason::NoEvidence
                | Reason::NotProven
                | Reason::NoData
                | Reason::CanaryRefused
        )
    }

    /// Whether only `EventsReceived` of an `AwsAccount` has this reason.
    pub fn is_about_events(self) -> bool {
        matches!(
            self,
            Reason::EventsReceived | Reason::EventsNotSeen | Reason::EventMissed | Reason::QueueUnreachable
        )
    }

    /// Whether AWS gave no answer, or did not let the operator ask, so that the state of AWS is unknown.
    pub fn is_no_answer(self) -> bool {
        matches!(
            self,
            Reason::AccessDenied
                | Reason::CredentialsUnavailable
                | Reason::Throttled
                | Reason::AwsUnavailable
        )
    }

    /// Whether something in AWS is not the resource's own, as far as AWS shows. AWS may still show what was removed.
    pub fn is_foreign(self) -> bool {
        matches!(self, Reason::ForeignRole | Reason::ForeignConfiguration)
    }

    /// Whether the operator tries again automatically and soon (`Reconciling`), or waits for someone (`Stalled`). A
    /// missing bucket or role and a denied action are tried again soon, because they are often created or granted a
    /// moment after the resource.
    pub fn is_transient(self) -> bool {
        match self {
            Reason::Progressing
            | Reason::AccountNotFound
            | Reason::SourceBucketNotFound
            | Reason::DestinationBucketNotFound
            | Reason::RoleNotFound
            | Reason::AccessDenied
            | Reason::CredentialsUnavailable
            | Reason::Throttled
            | Reason::AwsUnavailable
            | Reason::DeletionBlocked
            | Reason::Waiting
            | Reason::Settling
            | Reason::Preparing
            | Reason::AwaitingApproval
            | Reason::Running
            | Reason::Cancelling
            | Reason::ReplicationNotReady => true,
            Reason::Applied
            | Reason::Verified
            | Reason::Suspended
            | Reason::Drifted
            | Reason::SourceConflict
            | Reason::NotAllowed
            | Reason::AccountMismatch
            | Reason::ForeignRole
            | Reason::ForeignConfiguration
            | Reason::RoleNotTrusted
            | Reason::VersioningNotEnabled
            | Reason::MfaDeleteEnabled
            | Reason::WrongBucketOwner
            | Reason::PolicyTooLarge
            | Reason::InvalidRequest
            | Reason::InvalidSpec
            | Reason::ObjectsArriving
            | Reason::NothingPending
            | Reason::ObjectsFailing
            | Reason::ObjectsDelayed
            | Reason::NoEvidence
            | Reason::NotProven
            | Reason::NoData
            | Reason::CanaryRefused
            | Reason::EventsReceived
            | Reason::EventsNotSeen
            | Reason::EventMissed
            | Reason::QueueUnreachable
            | Reason::Completed
            | Reason::NothingToDo
            | Reason::CompletedWithFailures
            | Reason::JobFailed
            | Reason::JobVanished
            | Reason::Cancelled => false,
        }
    }
}
