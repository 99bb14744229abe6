//! The keys by which an event that names a bucket, a role or a KMS key finds its resources.
//!
//! In: a spec and a status, or the subject of an event. Out: numbers that are equal where the event may concern the
//! resource. They are hashes, because ten thousand resources have thirty thousand of them: two names with one hash
//! cost a needless check and nothing else.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::api::{BucketReplicationSpec, BucketReplicationStatus};
use crate::iam::arn::{account_of_arn, role_of_arn};
use crate::replication::events::message::{ChangeEvent, ChangedResource};

/// A hash of a bucket, a bucket's policy, a role or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lookup(u64);

impl Lookup {
    fn of(kind: &str, parts: [&str; 2]) -> Lookup {
        let mut hasher = DefaultHasher::new();
        (kind, parts).hash(&mut hasher);
        Lookup(hasher.finish())
    }

    /// A bucket. Its name is unique in its partition.
    pub fn bucket(name: &str) -> Lookup {
        Lookup::of("bucket", [name, ""])
    }

    /// The policy of a bucket.
    pub fn bucket_policy(name: &str) -> Lookup {
        Lookup::of("bucket policy", [name, ""])
    }

    /// A role of an account. IAM distinguishes no two names by case.
    pub fn role(account: &str, name: &str) -> Lookup {
        Lookup::of("role", [account, &name.to_ascii_lowercase()])
    }

    /// A key, by its ARN or its id.
    pub fn key(key: &str) -> Lookup {
        let id = key.rsplit_once('/').map_or(key, |(_, id)| id);
        Lookup::of("key", [&id.to_ascii_lowercase(), ""])
    }

    /// The subject of an event.
    pub fn of_event(event: &ChangeEvent) -> Lookup {
        match &event.subject {
            ChangedResource::Bucket(name) if event.name.is_bucket_policy() => Lookup::bucket_policy(name),
            ChangedResource::Bucket(name) => Lookup::bucket(name),
            ChangedResource::Role(name) => Lookup::role(&event.origin.account, name),
            ChangedResource::Key(id) => Lookup::key(id),
        }
    }

    /// Everything by which events may concern a resource: its buckets, its roles and keys, and what belonged to it
    /// before.
    pub fn of_resource(
        spec: &BucketReplicationSpec,
        status: Option<&BucketReplicationStatus>,
    ) -> Vec<Lookup> {
        let mut found = BTreeSet::from([Lookup::bucket(&spec.source.bucket)]);
        found.extend(spec.source.kms_key_arns.iter().map(|arn| Lookup::key(arn)));
        for rule in &spec.rules {
            let destination = &rule.destination;
            found.insert(Lookup::bucket(&destination.bucket));
            found.extend(destination.kms_key_arn.as_deref().map(Lookup::key));
            if destination.account_ref.is_some() {
                found.insert(Lookup::bucket_policy(&destination.bucket));
            }
        }
        let role = spec.role.as_ref();
        let arns = role.and_then(|role| role.arn.as_deref());
        let Some(status) = status else {
            found.extend(arns.and_then(role_lookup));
            return found.into_iter().collect();
        };
        found.extend(status.destinations.iter().map(|bucket| Lookup::bucket(&bucket.bucket)));
        for held in &status.bucket_policies {
            found.extend([Lookup::bucket(&held.bucket), Lookup::bucket_policy(&held.bucket)]);
        }
        let arns = arns.into_iter().chain(status.role.as_ref().map(|role| role.arn.as_str()));
        found.extend(arns.filter_map(role_lookup));
        // A role that the spec names and that does not exist yet, and roles before a change of the name.
        let account = status.source.as_ref().and_then(|source| source.account.as_deref());
        let named = role.and_then(|role| role.name.as_deref());
        let former = status.former_roles.iter().map(|role| role_of_arn(role));
        if let Some(account) = account {
            found.extend(named.into_iter().chain(former).map(|name| Lookup::role(account, name)));
        }
        found.into_iter().collect()
    }
}

fn role_lookup(arn: &str) -> Option<Lookup> {
    Some(Lookup::role(account_of_arn(arn)?, role_of_arn(arn)))
}
