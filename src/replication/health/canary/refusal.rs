//! Why a rule has no canary, in words.
//!
//! In: the requirement that is not met. Out: the message, with what to do. An object that could not be deleted
//! everywhere, or that the rule would not replicate, is not written.

use crate::replication::failure::Failure;

/// Why the operator writes no canary for a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// S3 would apply another rule to it. `always`: as to every other object of the rule.
    UnderAnotherRule { rule: String, always: bool },
    /// The source encrypts with a KMS key, and the rule leaves such objects out.
    NotEligible,
    /// The key would be longer than S3 takes.
    KeyTooLong,
    /// The resource has more rules than there are canaries.
    TooMany,
    /// An `AwsAccount` does not allow canaries.
    NotAllowed { account: String },
    /// The operator has no identity in the account of a destination.
    NoIdentity { bucket: String, account: String },
    /// Versions can be deleted only with an MFA device.
    MfaDelete { bucket: String },
    /// Object Lock keeps new versions.
    Retention { bucket: String },
    /// Whether a version could be deleted is not known.
    Unread(Failure),
    /// The operator writes nothing to AWS for this resource.
    NotWriting,
}

impl Refused {
    /// Why, and what to do.
    pub fn message(&self) -> String {
        match self {
            Refused::UnderAnotherRule { rule, always: true } => format!(
                "rule {rule} has the same destination and a higher priority, and matches every object of this rule; give this rule a higher priority, or delete it"
            ),
            Refused::UnderAnotherRule { rule, always: false } => format!(
                "S3 would apply rule {rule} to the canary, which has the same destination and a higher priority; set spec.health.canary.prefix to a prefix that rule {rule} does not match"
            ),
            Refused::NotEligible => "the source bucket encrypts new objects with a KMS key, and S3 replicates no such object by this rule; set kmsEncryptedObjects: Enabled and destination.kmsKeyArn in the rule".to_owned(),
            Refused::KeyTooLong => "the key of a canary would be longer than 1,024 bytes; shorten spec.health.canary.prefix".to_owned(),
            Refused::TooMany => "a resource has at most 100 canaries, for the first rules of its list; set destination.metrics: Enabled in this rule".to_owned(),
            Refused::NotAllowed { account } => format!(
                "AwsAccount {account} does not allow canaries; ask its administrator to add Canary to spec.allow"
            ),
            Refused::NoIdentity { bucket, account } => format!(
                "the replica in bucket {bucket} could not be deleted, because the operator has no identity in account {account}; set destination.accountRef to an AwsAccount of {account}"
            ),
            Refused::MfaDelete { bucket } => format!(
                "bucket {bucket} has MFA delete, so that the operator cannot delete a version from it; remove spec.health.canary and set destination.metrics: Enabled"
            ),
            Refused::Retention { bucket } => format!(
                "bucket {bucket} has Object Lock with a default retention, so that no version can be deleted from it before the retention ends; remove spec.health.canary and set destination.metrics: Enabled"
            ),
            Refused::NotWriting => "managementPolicy is Observe, or the operator runs with --read-only, so that it writes nothing to AWS; set managementPolicy: Enforce, or set destination.metrics: Enabled".to_owned(),
            Refused::Unread(failure) => format!(
                "whether a canary could be deleted again is not known: {}",
                failure.message()
            ),
        }
    }
}
