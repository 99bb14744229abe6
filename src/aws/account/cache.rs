//! What is remembered: of buckets their Regions for as long as nothing contradicts them, versioning for a moment, so
//! that resources that share a destination share its read, and Object Lock for a day; of KMS keys that they can be
//! used.

use std::time::Duration;

use moka::future::Cache;

use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass, ObservedKey, Versioning};

/// How long a read of versioning serves others. Checks that someone asked for do not use it.
const SHARED: Duration = Duration::from_secs(2);

/// How long what hardly ever changes, and is no part of every check, is believed.
const SELDOM: Duration = Duration::from_secs(24 * 60 * 60);

/// More buckets than one operator serves; the least used are looked up again.
const CAPACITY: u64 = 100_000;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub region: String,
    pub owner: OwnerCheck,
}

/// Whether a bucket belongs to the account we expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerCheck {
    /// S3 said so.
    Confirmed,
    /// Not asked yet.
    NotChecked,
    /// Asked, and denied an answer.
    Denied,
}

#[derive(Clone, Debug)]
pub struct Buckets {
    locations: Cache<String, Location>,
    versioning: Cache<String, Result<Versioning, Failure>>,
    object_lock: Cache<String, bool>,
}

impl Buckets {
    pub fn new() -> Buckets {
        Buckets {
            locations: Cache::new(CAPACITY),
            versioning: Cache::builder().max_capacity(CAPACITY).time_to_live(SHARED).build(),
            object_lock: Cache::builder().max_capacity(CAPACITY).time_to_live(SELDOM).build(),
        }
    }

    pub async fn location(&self, bucket: &str) -> Option<Location> {
        self.locations.get(bucket).await
    }

    pub async fn locate(&self, bucket: &str, location: Location) {
        self.locations.insert(bucket.to_owned(), location).await;
    }

    /// Forgets a bucket whose Region or owner may have changed.
    pub async fn forget(&self, bucket: &str) {
        self.locations.invalidate(bucket).await;
        self.versioning.invalidate(bucket).await;
        self.object_lock.invalidate(bucket).await;
    }

    /// Versioning as read within the last moments by anyone, or by `read` now; concurrent readers wait for one.
    pub async fn versioning(
        &self,
        bucket: &str,
        fresh: bool,
        read: impl Future<Output = Result<Versioning, Failure>>,
    ) -> Result<Versioning, Failure> {
        if fresh {
            self.versioning.invalidate(bucket).await;
        }
        let held = self.versioning.get_with_by_ref(bucket, read).await;
        if held.is_err() {
            // A failure is not to outlive its cause.
            self.versioning.invalidate(bucket).await;
        }
        held
    }

    /// Whether a bucket has Object Lock, as read within the last day or by `read` now. What may not be read counts as
    /// no; a read that only failed is tried again.
    pub async fn object_lock(&self, bucket: &str, read: impl Future<Output = Result<bool, Failure>>) -> bool {
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

/// KMS keys that can be used, or that may not be looked at.
#[derive(Clone, Debug)]
pub struct Keys(Cache<String, Read<Option<ObservedKey>>>);

impl Keys {
    pub fn new() -> Keys {
        Keys(Cache::builder().max_capacity(CAPACITY).time_to_live(SELDOM).build())
    }

    /// A key as read within the last day or by `read` now. One that cannot be used is looked at again each time.
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
