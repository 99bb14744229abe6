//! The reasons of conditions: a closed set. `docs/reasons.md` documents each, and a test compares the two.

/// The status of `Ready` that a reason implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyStatus {
    True,
    False,
    Unknown,
}

/// The reason of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
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
}

impl Reason {
    pub const ALL: [Reason; 26] = [
        Reason::Applied,
        Reason::Verified,
        Reason::Progressing,
        Reason::Suspended,
        Reason::Drifted,
        Reason::SourceConflict,
        Reason::NotAllowed,
        Reason::AccountNotFound,
        Reason::AccountMismatch,
        Reason::ForeignRole,
        Reason::ForeignConfiguration,
        Reason::SourceBucketNotFound,
        Reason::DestinationBucketNotFound,
        Reason::RoleNotFound,
        Reason::RoleNotTrusted,
        Reason::VersioningNotEnabled,
        Reason::MfaDeleteEnabled,
        Reason::WrongBucketOwner,
        Reason::PolicyTooLarge,
        Reason::InvalidRequest,
        Reason::AccessDenied,
        Reason::CredentialsUnavailable,
        Reason::Throttled,
        Reason::AwsUnavailable,
        Reason::InvalidSpec,
        Reason::DeletionBlocked,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Applied => "Applied",
            Reason::Verified => "Verified",
            Reason::Progressing => "Progressing",
            Reason::Suspended => "Suspended",
            Reason::Drifted => "Drifted",
            Reason::SourceConflict => "SourceConflict",
            Reason::NotAllowed => "NotAllowed",
            Reason::AccountNotFound => "AccountNotFound",
            Reason::AccountMismatch => "AccountMismatch",
            Reason::ForeignRole => "ForeignRole",
            Reason::ForeignConfiguration => "ForeignConfiguration",
            Reason::SourceBucketNotFound => "SourceBucketNotFound",
            Reason::DestinationBucketNotFound => "DestinationBucketNotFound",
            Reason::RoleNotFound => "RoleNotFound",
            Reason::RoleNotTrusted => "RoleNotTrusted",
            Reason::VersioningNotEnabled => "VersioningNotEnabled",
            Reason::MfaDeleteEnabled => "MfaDeleteEnabled",
            Reason::WrongBucketOwner => "WrongBucketOwner",
            Reason::PolicyTooLarge => "PolicyTooLarge",
            Reason::InvalidRequest => "InvalidRequest",
            Reason::AccessDenied => "AccessDenied",
            Reason::CredentialsUnavailable => "CredentialsUnavailable",
            Reason::Throttled => "Throttled",
            Reason::AwsUnavailable => "AwsUnavailable",
            Reason::InvalidSpec => "InvalidSpec",
            Reason::DeletionBlocked => "DeletionBlocked",
        }
    }

    /// The status of `Ready` if this is its reason.
    pub fn ready(self) -> ReadyStatus {
        match self {
            Reason::Applied | Reason::Verified => ReadyStatus::True,
            Reason::Progressing | Reason::Suspended => ReadyStatus::Unknown,
            _ => ReadyStatus::False,
        }
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
            | Reason::DeletionBlocked => true,
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
            | Reason::InvalidSpec => false,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
