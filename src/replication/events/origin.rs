//! The origin of an event: an account, a Region and a service. The operator records coverage by origin.
//!
//! In: events, specs and statuses. Out: the origins that must send events before a resource need not be polled.

use std::fmt;

use crate::api::{AwsResource, BucketReplicationStatus, BucketStatus, DriftEntry};
use crate::iam::arn::account_of_arn;
use crate::replication::events::names::Service;

/// An account, a service, and its Region. IAM has no Regions: its events come from one for the whole account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub account: String,
    pub service: Service,
    /// Empty for IAM.
    pub region: String,
}

impl Origin {
    pub fn new(account: &str, service: Service, region: &str) -> Origin {
        let region = if service == Service::Iam { "" } else { region };
        Origin { account: account.to_owned(), service, region: region.to_owned() }
    }

    fn of_bucket(bucket: &BucketStatus) -> Option<Origin> {
        Some(Origin::new(bucket.account.as_deref()?, Service::S3, bucket.region.as_deref()?))
    }

    fn of_role(status: &BucketReplicationStatus) -> Option<Origin> {
        let account = account_of_arn(&status.role.as_ref()?.arn)?;
        Some(Origin::new(account, Service::Iam, ""))
    }

    /// The origin of a change that a check found: `None` where the status does not say where it is.
    pub fn of_drift(drift: &DriftEntry, status: &BucketReplicationStatus) -> Option<Origin> {
        match drift.resource {
            AwsResource::Role | AwsResource::RolePolicy => Origin::of_role(status),
            AwsResource::BucketVersioning
            | AwsResource::ReplicationConfiguration
            | AwsResource::DestinationBucketPolicy => {
                let buckets = status.source.iter().chain(&status.destinations);
                buckets.into_iter().find(|bucket| bucket.bucket == drift.name).and_then(Origin::of_bucket)
            }
        }
    }

    /// The origins on which a resource depends: its buckets' and its role's. `None` while its status does not name all
    /// of them. Keys are not among them: the operator reads a key at most once an hour, and writes to none, so that it
    /// could never prove that KMS sends events.
    pub fn of_resource(status: &BucketReplicationStatus) -> Option<Vec<Origin>> {
        let source = Origin::of_bucket(status.source.as_ref()?)?;
        let role = Origin::of_role(status)?;
        let mut origins = vec![source, role];
        for destination in &status.destinations {
            origins.push(Origin::of_bucket(destination)?);
        }
        origins.sort_unstable();
        origins.dedup();
        Some(origins)
    }
}

/// As messages name it: `s3 in eu-west-1`, `iam`. The account is named beside it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service.as_str())?;
        if self.region.is_empty() { Ok(()) } else { write!(f, " in {}", self.region) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RoleStatus;

    fn bucket(name: &str, region: &str) -> BucketStatus {
        BucketStatus {
            bucket: name.to_owned(),
            region: Some(region.to_owned()),
            account: Some("111122223333".to_owned()),
            ..BucketStatus::default()
        }
    }

    fn status() -> BucketReplicationStatus {
        BucketReplicationStatus {
            source: Some(bucket("orders", "us-east-1")),
            destinations: vec![bucket("copies", "eu-west-1"), bucket("more", "eu-west-1")],
            role: Some(RoleStatus {
                arn: "arn:aws:iam::111122223333:role/r".to_owned(),
                ..RoleStatus::default()
            }),
            ..BucketReplicationStatus::default()
        }
    }

    #[test]
    fn a_resource_depends_on_the_origins_of_its_buckets_and_its_role() {
        let origins = Origin::of_resource(&status()).unwrap();
        let names: Vec<String> = origins.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["s3 in eu-west-1", "s3 in us-east-1", "iam"]);
        let unknown = BucketReplicationStatus { role: None, ..status() };
        assert_eq!(Origin::of_resource(&unknown), None);
    }

    #[test]
    fn drift_is_attributed_to_the_origin_of_what_changed() {
        let drift = |resource, name: &str| DriftEntry {
            resource,
            name: name.to_owned(),
            path: String::new(),
            want: String::new(),
            got: String::new(),
        };
        let of = |resource, name| Origin::of_drift(&drift(resource, name), &status()).map(|o| o.to_string());
        assert_eq!(of(AwsResource::RolePolicy, "r").as_deref(), Some("iam"));
        assert_eq!(of(AwsResource::BucketVersioning, "more").as_deref(), Some("s3 in eu-west-1"));
        assert_eq!(of(AwsResource::ReplicationConfiguration, "orders").as_deref(), Some("s3 in us-east-1"));
        assert_eq!(of(AwsResource::BucketVersioning, "gone"), None);
    }
}
