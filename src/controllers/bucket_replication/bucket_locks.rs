//! Serializes the writes to one bucket's policy, which several resources share: S3 has no conditional write for it.
//!
//! In: the name of a bucket. Out: its lock, held while a policy is read, merged, written and read again, and the policy
//! that was written there a moment ago, in place of an answer from before that write. With leader election one process
//! writes, so that a lock in memory is enough.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::replication::observed::SHOWN_AFTER;

type Lock = tokio::sync::Mutex<()>;

/// The locks that are held or waited for, by the bucket's name, and what was written within the last minute.
#[derive(Debug, Default)]
pub struct BucketLocks {
    locks: Mutex<HashMap<String, Weak<Lock>>>,
    written: Mutex<HashMap<String, WrittenPolicy>>,
}

/// A policy that was written, or may have been: S3 did not answer. `None`: there is none.
#[derive(Clone, Debug)]
struct WrittenPolicy {
    /// The policies that S3 showed before writes of the last minute.
    before: Vec<Option<Value>>,
    after: Option<Value>,
    at: Instant,
    /// S3 answered the last write.
    is_answered: bool,
}

/// A lock, until it is dropped.
#[derive(Debug)]
pub struct Held {
    _guard: OwnedMutexGuard<()>,
    /// Someone else held it, so that an earlier finding may no longer be true.
    pub had_to_wait: bool,
}

impl BucketLocks {
    /// Waits for the lock of a bucket.
    pub async fn lock(&self, bucket: &str) -> Held {
        let lock = self.of(bucket);
        match lock.clone().try_lock_owned() {
            Ok(guard) => Held { _guard: guard, had_to_wait: false },
            Err(_) => Held { _guard: lock.lock_owned().await, had_to_wait: true },
        }
    }

    fn of(&self, bucket: &str) -> Arc<Lock> {
        let mut locks = self.locks.lock();
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(bucket).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(bucket.to_owned(), Arc::downgrade(&lock));
        lock
    }

    /// The policy of a bucket, where S3 shows this one: it may be from before the last write, and what is merged into it
    /// would lose that write.
    pub fn newest(&self, bucket: &str, shown: Option<Value>, now: Instant) -> Option<Value> {
        let mut written = self.written.lock();
        written.retain(|_, written| now.duration_since(written.at) < SHOWN_AFTER);
        match written.get(bucket) {
            Some(WrittenPolicy { before, after, .. }) if before.contains(&shown) => after.clone(),
            _ => shown,
        }
    }

    /// Whether this process wrote the policy of a bucket within the last minute, in this term. S3 need not have answered.
    pub fn has_written(&self, bucket: &str, now: Instant) -> bool {
        self.written.lock().get(bucket).is_some_and(|held| now.duration_since(held.at) < SHOWN_AFTER)
    }

    /// Remembers the writes that another process remembers. No lock is held.
    #[cfg(any(test, feature = "simulation"))]
    pub fn copy_from(&self, other: &BucketLocks) {
        *self.written.lock() = other.written.lock().clone();
    }

    /// Forgets what was written: another operator may have led, and written, since.
    pub fn forget_written(&self) {
        self.written.lock().clear();
    }

    /// Whether S3 did not answer the last write: the policy may be as before it or as after it, whatever S3 shows.
    pub fn is_unsure(&self, bucket: &str, now: Instant) -> bool {
        let written = self.written.lock();
        let recent = written.get(bucket).filter(|held| now.duration_since(held.at) < SHOWN_AFTER);
        recent.is_some_and(|held| !held.is_answered)
    }

    /// A policy was written where S3 showed another one.
    pub fn wrote(&self, bucket: &str, shown: Option<Value>, after: Option<Value>, now: Instant) {
        self.note(bucket, shown, WrittenPolicy { before: Vec::new(), after, at: now, is_answered: true });
    }

    /// The same, and S3 did not answer. If the policy was not written, the next write makes up for it: what one resource
    /// asked for is then done together with what another one asks for.
    pub fn may_have_written(&self, bucket: &str, shown: Option<Value>, after: Option<Value>, now: Instant) {
        self.note(bucket, shown, WrittenPolicy { before: Vec::new(), after, at: now, is_answered: false });
    }

    fn note(&self, bucket: &str, shown: Option<Value>, mut now: WrittenPolicy) {
        let mut written = self.written.lock();
        let held = written.remove(bucket).filter(|held| now.at.duration_since(held.at) < SHOWN_AFTER);
        let held = held.map(|held| [held.before, vec![held.after]].concat()).unwrap_or_default();
        // S3 may answer no write for hours, and each may be tried again and again.
        for former in held.into_iter().chain([shown]) {
            if former != now.after && !now.before.contains(&former) {
                now.before.push(former);
            }
        }
        written.insert(bucket.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn an_answer_from_before_a_write_stands_for_what_was_written_for_a_minute() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        let policy = |n: i32| Some(Value::from(n));
        locks.wrote("dr", None, policy(1), now);
        locks.wrote("dr", policy(1), policy(2), now);
        for old in [None, policy(1)] {
            assert_eq!(locks.newest("dr", old.clone(), now), policy(2));
            assert_eq!(locks.newest("other", old.clone(), now), old);
        }
        assert_eq!(locks.newest("dr", policy(3), now), policy(3), "someone else wrote it");
        locks.wrote("dr", policy(2), None, now);
        assert_eq!(locks.newest("dr", policy(1), now), None);
        assert_eq!(locks.newest("dr", policy(1), now + SHOWN_AFTER), policy(1), "it is true then");
    }

    #[test]
    fn writes_that_are_tried_again_and_again_take_the_memory_of_one() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        for _ in 0..10 {
            locks.may_have_written("dr", None, Some(Value::from(1)), now);
            locks.may_have_written("dr", None, Some(Value::from(2)), now);
        }
        assert_eq!(locks.written.lock()["dr"].before, [None, Some(Value::from(1))]);
    }

    #[test]
    fn a_policy_is_unsure_for_a_minute_after_a_write_that_s3_did_not_answer() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        let (before, after) = (Some(Value::from(1)), Some(Value::from(2)));
        assert!(!locks.is_unsure("dr", now));
        locks.may_have_written("dr", before.clone(), after.clone(), now);
        assert!(locks.is_unsure("dr", now) && !locks.is_unsure("dr", now + SHOWN_AFTER));
        assert_eq!(locks.newest("dr", before.clone(), now), after, "what was asked for is not lost");
        locks.wrote("dr", before, after, now);
        assert!(!locks.is_unsure("dr", now));
    }

    #[test]
    fn what_was_written_in_a_former_term_stands_for_nothing() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        locks.wrote("dr", None, Some(Value::from(1)), now);
        assert!(locks.has_written("dr", now) && !locks.has_written("other", now));
        assert!(!locks.has_written("dr", now + SHOWN_AFTER));
        locks.forget_written();
        assert!(!locks.has_written("dr", now));
        assert_eq!(locks.newest("dr", None, now), None, "another leader may have removed it again");
    }

    #[tokio::test]
    async fn one_bucket_is_written_once_at_a_time_and_no_lock_outlives_its_use() {
        let locks = BucketLocks::default();
        let held = locks.lock("dr").await;
        assert!(locks.lock("dr").now_or_never().is_none());
        assert!(locks.lock("other").now_or_never().is_some());
        drop(held);
        assert!(locks.lock("dr").now_or_never().is_some());
        assert!(locks.locks.lock().len() <= 1);
    }
}
