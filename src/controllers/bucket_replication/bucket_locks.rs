//! Serializes the writes to one bucket's policy, which several resources share: S3 has no conditional write for it.
//!
//! In: the name of a bucket. Out: its lock, held while a policy is read, merged, written and read again. With leader
//! election one process writes, so that a lock in memory is enough.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// The locks that are held or waited for, by the bucket's name.
#[derive(Debug, Default)]
pub struct BucketLocks(Mutex<HashMap<String, Weak<Lock>>>);

impl BucketLocks {
    /// Waits for the lock of a bucket.
    pub async fn lock(&self, bucket: &str) -> OwnedMutexGuard<()> {
        let lock = self.of(bucket);
        lock.lock_owned().await
    }

    fn of(&self, bucket: &str) -> Arc<Lock> {
        let mut locks = self.0.lock();
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(bucket).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(bucket.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn one_bucket_is_written_once_at_a_time_and_no_lock_outlives_its_use() {
        let locks = BucketLocks::default();
        let held = locks.lock("dr").await;
        assert!(locks.lock("dr").now_or_never().is_none());
        assert!(locks.lock("other").now_or_never().is_some());
        drop(held);
        assert!(locks.lock("dr").now_or_never().is_some());
        assert!(locks.0.lock().len() <= 1);
    }
}
