//! What is remembered of buckets: Regions for as long as nothing contradicts them, versioning for a moment, so
//! that resources that share a destination share its read.

use std::time::Duration;

use moka::future::Cache;

use crate::replication::{Failure, Versioning};

/// How long a read of versioning serves others. Checks that someone asked for do not use it.
const SHARED: Duration = Duration::from_secs(2);

/// More buckets than one operator serves; the least used are looked up again.
const CAPACITY: u64 = 100_000;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub region: String,
    pub owner: Owner,
}

/// Whether a bucket belongs to the account we expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// S3 said so.
    Confirmed,
    /// Not asked yet.
    Unasked,
    /// Asked, and denied an answer.
    Untold,
}

#[derive(Clone, Debug)]
pub struct Buckets {
    locations: Cache<String, Location>,
    versioning: Cache<String, Result<Versioning, Failure>>,
}

impl Buckets {
    pub fn new() -> Buckets {
        Buckets {
            locations: Cache::new(CAPACITY),
            versioning: Cache::builder().max_capacity(CAPACITY).time_to_live(SHARED).build(),
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

    pub async fn versioning_changed(&self, bucket: &str) {
        self.versioning.invalidate(bucket).await;
    }
}
