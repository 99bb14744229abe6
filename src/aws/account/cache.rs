//! What is remembered about buckets and KMS keys.
//!
//! A bucket's Region is remembered until an answer contradicts it; versioning for a moment, so that resources that
//! share a destination share its read; Object Lock and the state of keys for [`STABLE_TTL`].

use std::time::Duration;

use moka::future::Cache;

use crate::replication::observed::Read;
use crate::replication::{FailureClass, ObservedKey, Versioning};

/// How long a read of versioning serves other checks. Requested checks do not use it.
const VERSIONING_TTL: Duration = Duration::from_secs(2);

/// How long an answer serves that hardly ever changes and is not part of every check.
const STABLE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// More buckets than one operator serves; the least used are looked up again.
const CAPACITY: u64 = 100_000;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub region: String,
    pub owner: OwnerCheck,
}

/// Whether a bucket belongs to the account that it should belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerCheck {
    /// S3 confirmed it.
    Confirmed,
    /// S3 was not asked yet.
    NotChecked,
    /// S3 was asked, and denied an answer.
    Denied,
}

/// Answers about buckets.
#[derive(Clone, Debug)]
pub struct Buckets {
    locations: Cache<String, Location>,
    versioning: Cache<String, Read<Versioning>>,
    object_lock: Cache<String, bool>,
}

impl Buckets {
    pub fn new() -> Buckets {
        Buckets {
            locations: Cache::new(CAPACITY),
            versioning: Cache::builder().max_capacity(CAPACITY).time_to_live(VERSIONING_TTL).build(),
            object_lock: Cache::builder().max_capacity(CAPACITY).time_to_live(STABLE_TTL).build(),
        }
    }

    pub async fn location(&self, bucket: &str) -> Option<Location> {
        self.locations.get(bucket).await
    }

    pub async fn set_location(&self, bucket: &str, location: Location) {
        self.locations.insert(bucket.to_owned(), location).await;
    }

    /// Forgets a bucket whose Region or owner may have changed.
    pub async fn forget(&self, bucket: &str) {
        self.locations.invalidate(bucket).await;
        self.versioning.invalidate(bucket).await;
        self.object_lock.invalidate(bucket).await;
    }

    /// Versioning as any check read it within the last moments, or by `read` now. Concurrent readers share one read.
    pub async fn versioning(
        &self,
        bucket: &str,
        fresh: bool,
        read: impl Future<Output = Read<Versioning>>,
    ) -> Read<Versioning> {
        if fresh {
            self.versioning.invalidate(bucket).await;
        }
        let held = self.versioning.get_with_by_ref(bucket, read).await;
        if held.is_err() {
            // A failure must not outlive its cause.
            self.versioning.invalidate(bucket).await;
        }
        held
    }

    /// Whether a bucket has Object Lock, as remembered or by `read` now. A denied read counts as no; a read that
    /// failed otherwise is not remembered.
    pub async fn object_lock(&self, bucket: &str, read: impl Future<Output = Read<bool>>) -> bool {
        if let Some(known) = self.object_lock.get(bucket).await {
            return known;
        }
        let known = match read.await {
            Ok(known) => known,
            Err(failure) if failure.class == FailureClass::Denied => false,
            Err(_) => return false,
        };
        self.object_lock.insert(bucket.to_owned(), known).await;
        known
    }

    pub async fn versioning_changed(&self, bucket: &str) {
        self.versioning.invalidate(bucket).await;
    }
}

/// KMS keys that can be used, or that the operator may not read.
#[derive(Clone, Debug)]
pub struct Keys(Cache<String, Read<Option<ObservedKey>>>);

impl Keys {
    pub fn new() -> Keys {
        Keys(Cache::builder().max_capacity(CAPACITY).time_to_live(STABLE_TTL).build())
    }

    /// A key as remembered, or by `read` now. A key that cannot be used is read each time.
    pub async fn key(
        &self,
        arn: &str,
        read: impl Future<Output = Read<Option<ObservedKey>>>,
    ) -> Read<Option<ObservedKey>> {
        if let Some(known) = self.0.get(arn).await {
            return known;
        }
        let held = read.await;
        let lasting = match &held {
            Ok(Some(key)) => key.is_enabled(),
            Ok(None) => false,
            Err(failure) => failure.class == FailureClass::Denied,
        };
        if lasting {
            self.0.insert(arn.to_owned(), held.clone()).await;
        }
        held
    }
}
