//! The changes that events report, by the names that CloudTrail gives them.
//!
//! In: the name and the source of an event, or a step of the operator. Out: [`EventName`] and [`Service`].
//! `controllers/events/dispatch.rs` decides which resources and accounts an event has checked.
//!
//! CloudTrail's names are those of the API for IAM and KMS. For S3 they are listed in
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html>.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::replication::step::Step;

/// A service of AWS that sends events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Service {
    S3,
    Iam,
    Kms,
}

impl Service {
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The service of a CloudTrail record's `eventSource`, such as `s3.amazonaws.com`.
    pub fn of_event_source(source: &str) -> Option<Service> {
        let name = source.split_once('.').map_or(source, |(name, _)| name);
        Service::VARIANTS.iter().copied().find(|service| service.as_str() == name)
    }
}

/// A change that a check may see.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
pub enum EventName {
    CreateBucket,
    DeleteBucket,
    PutBucketVersioning,
    PutBucketReplication,
    DeleteBucketReplication,
    PutBucketPolicy,
    DeleteBucketPolicy,
    // AWS's documentation leaves open which of the two CloudTrail writes.
    PutObjectLockConfiguration,
    PutBucketObjectLockConfiguration,
    CreateRole,
    DeleteRole,
    UpdateAssumeRolePolicy,
    PutRolePolicy,
    DeleteRolePolicy,
    TagRole,
    UntagRole,
    PutRolePermissionsBoundary,
    DeleteRolePermissionsBoundary,
    DisableKey,
    EnableKey,
    ScheduleKeyDeletion,
    CancelKeyDeletion,
    PutKeyPolicy,
    DeleteImportedKeyMaterial,
}

impl EventName {
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    pub fn service(self) -> Service {
        match self {
            EventName::CreateBucket
            | EventName::DeleteBucket
            | EventName::PutBucketVersioning
            | EventName::PutBucketReplication
            | EventName::DeleteBucketReplication
            | EventName::PutBucketPolicy
            | EventName::DeleteBucketPolicy
            | EventName::PutObjectLockConfiguration
            | EventName::PutBucketObjectLockConfiguration => Service::S3,
            EventName::CreateRole
            | EventName::DeleteRole
            | EventName::UpdateAssumeRolePolicy
            | EventName::PutRolePolicy
            | EventName::DeleteRolePolicy
            | EventName::TagRole
            | EventName::UntagRole
            | EventName::PutRolePermissionsBoundary
            | EventName::DeleteRolePermissionsBoundary => Service::Iam,
            EventName::DisableKey
            | EventName::EnableKey
            | EventName::ScheduleKeyDeletion
            | EventName::CancelKeyDeletion
            | EventName::PutKeyPolicy
            | EventName::DeleteImportedKeyMaterial => Service::Kms,
        }
    }

    /// Whether the change is about something that the operator remembers for longer than one check: whether a bucket has
    /// Object Lock, and the state of a key. A check that the change causes must read that again.
    pub fn is_of_remembered(self) -> bool {
        let locks = [EventName::PutObjectLockConfiguration, EventName::PutBucketObjectLockConfiguration];
        self.service() == Service::Kms || locks.contains(&self)
    }

    /// Whether the policy of a bucket changed. Only resources with statements in it compare it.
    pub fn is_bucket_policy(self) -> bool {
        matches!(self, EventName::PutBucketPolicy | EventName::DeleteBucketPolicy)
    }

    /// The event of a step that the operator executes.
    pub fn of_step(step: &Step) -> EventName {
        match step {
            Step::EnableVersioning { .. } => EventName::PutBucketVersioning,
            Step::CreateRole { .. } => EventName::CreateRole,
            Step::UpdateTrustPolicy { .. } => EventName::UpdateAssumeRolePolicy,
            Step::PutPermissionsBoundary { .. } => EventName::PutRolePermissionsBoundary,
            Step::DeletePermissionsBoundary { .. } => EventName::DeleteRolePermissionsBoundary,
            Step::TagRole { .. } => EventName::TagRole,
            Step::UntagRole { .. } => EventName::UntagRole,
            Step::PutRolePolicy { .. } => EventName::PutRolePolicy,
            Step::PutBucketPolicy { .. } => EventName::PutBucketPolicy,
            Step::PutReplication { .. } => EventName::PutBucketReplication,
            Step::DeleteReplication { .. } => EventName::DeleteBucketReplication,
            Step::DeleteRolePolicy { .. } => EventName::DeleteRolePolicy,
            Step::DeleteRole { .. } => EventName::DeleteRole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_event_source_in_every_partition() {
        assert_eq!(Service::of_event_source("s3.amazonaws.com"), Some(Service::S3));
        assert_eq!(Service::of_event_source("iam.amazonaws.com.cn"), Some(Service::Iam));
        assert_eq!(Service::of_event_source("ec2.amazonaws.com"), None);
    }

    #[test]
    fn names_are_read_as_cloudtrail_writes_them() {
        for name in EventName::VARIANTS {
            assert_eq!(name.as_str().parse(), Ok(*name));
        }
        assert_eq!("PutBucketVersioning".parse(), Ok(EventName::PutBucketVersioning));
        assert!("GetRole".parse::<EventName>().is_err());
    }
}
