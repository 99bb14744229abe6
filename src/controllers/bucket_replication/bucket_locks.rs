//! Serializes the writes to one bucket's policy, which several resources share: S3 has no conditional write for it.
//!
//! In: the name of a bucket. Out: its lock, held while a policy is read, merged, written and read again, and the policy
//! that was written there a moment ago, in place of an answer from before that write. With leader election one process
//! writes, so that a lock in memory is enough.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::iam::Statement;
use crate::iam::bucket_policy::merged;
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
    /// The statements of each Sid, as they were written last.
    own: BTreeMap<String, Vec<Statement>>,
    at: Instant,
    /// S3 answered the last write.
    is_answered: bool,
}

/// A write of the statements of one Sid into the policy of a bucket.
#[derive(Debug)]
pub struct StatementsChange<'a> {
    pub sid: &'a str,
    pub statements: &'a [Statement],
    /// The policy that S3 showed before. `None`: there was none.
    pub shown: Option<Value>,
    /// The policy that was written. `None`: it was deleted.
    pub after: Option<Value>,
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
    /// would lose that write. Someone may have written between the read and that write, so that no read has shown the policy
    /// from just before it. The statements of the last minute are merged into a policy that is not known here.
    pub fn newest(&self, bucket: &str, shown: Option<Value>, now: Instant) -> Option<Value> {
        let mut written = self.written.lock();
        written.retain(|_, written| now.duration_since(written.at) < SHOWN_AFTER);
        match written.get(bucket) {
            Some(WrittenPolicy { before, after, .. }) if before.contains(&shown) => after.clone(),
            Some(WrittenPolicy { after, own, .. }) if *after != shown => {
                own.iter().fold(shown, |policy, (sid, statements)| merged(policy.as_ref(), sid, statements))
            }
            _ => shown,
        }
    }

    /// Whether this process has seen a policy just before a write of the last minute.
    pub fn is_from_before(&self, bucket: &str, shown: Option<&Value>, now: Instant) -> bool {
        let written = self.written.lock();
        let recent = written.get(bucket).filter(|held| now.duration_since(held.at) < SHOWN_AFTER);
        recent.is_some_and(|held| held.before.iter().any(|former| former.as_ref() == shown))
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
    pub fn wrote(&self, bucket: &str, change: StatementsChange<'_>, now: Instant) {
        self.note(bucket, change, (now, true));
    }

    /// The same, and S3 did not answer. If the policy was not written, the next write makes up for it: what one resource
    /// asked for is then done together with what another one asks for.
    pub fn may_have_written(&self, bucket: &str, change: StatementsChange<'_>, now: Instant) {
        self.note(bucket, change, (now, false));
    }

    fn note(&self, bucket: &str, change: StatementsChange<'_>, (at, is_answered): (Instant, bool)) {
        let StatementsChange { sid, statements, shown, after } = change;
        let mut written = self.written.lock();
        let held = written.remove(bucket).filter(|held| at.duration_since(held.at) < SHOWN_AFTER);
        let (held, mut own) = match held {
            Some(WrittenPolicy { before, after, own, .. }) => ([before, vec![after]].concat(), own),
            None => (Vec::new(), BTreeMap::new()),
        };
        own.insert(sid.to_owned(), statements.to_vec());
        let mut before = Vec::new();
        // S3 may answer no write for hours, and each may be tried again and again.
        for former in held.into_iter().chain([shown]) {
            if former != after && !before.contains(&former) {
                before.push(former);
            }
        }
        written.insert(bucket.to_owned(), WrittenPolicy { before, after, own, at, is_answered });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    /// A policy with one statement for each of these Sids.
    fn policy(sids: &[&str]) -> Option<Value> {
        let policy = |held: Option<Value>, sid: &&str| merged(held.as_ref(), sid, &allowing(sid));
        sids.iter().fold(None, policy)
    }

    fn allowing(sid: &str) -> Vec<Statement> {
        vec![Statement::allow(sid, ["s3:ReplicateObject"], ["arn:aws:s3:::dr/*"])]
    }

    /// Writes the statement of a Sid where S3 shows the policy of these Sids.
    fn add(locks: &BucketLocks, shown: &[&str], sid: &str, now: Instant) {
        let after = policy(&[shown, &[sid]].concat());
        let change = StatementsChange { sid, statements: &allowing(sid), shown: policy(shown), after };
        locks.wrote("dr", change, now);
    }

    #[test]
    fn an_answer_from_before_a_write_stands_for_what_was_written_for_a_minute() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        add(&locks, &[], "A", now);
        add(&locks, &["A"], "B", now);
        for old in [policy(&[]), policy(&["A"])] {
            assert_eq!(locks.newest("dr", old.clone(), now), policy(&["A", "B"]));
            assert!(
                locks.is_from_before("dr", old.as_ref(), now)
                    && !locks.is_from_before("other", old.as_ref(), now)
            );
            assert_eq!(locks.newest("other", old.clone(), now), old);
        }
        let removal =
            StatementsChange { sid: "A", statements: &[], shown: policy(&["A", "B"]), after: policy(&["B"]) };
        locks.wrote("dr", removal, now);
        assert_eq!(locks.newest("dr", policy(&["A"]), now), policy(&["B"]));
        let later = now + SHOWN_AFTER;
        assert_eq!(locks.newest("dr", policy(&["A"]), later), policy(&["A"]), "it is true then");
    }

    /// Someone may write between the operator's read and its write.
    #[test]
    fn a_policy_that_was_not_seen_before_a_write_is_taken_with_the_statements_of_the_last_minute() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        add(&locks, &[], "A", now);
        let theirs = policy(&["Theirs"]);
        assert_eq!(locks.newest("dr", theirs.clone(), now), policy(&["Theirs", "A"]));
        assert!(!locks.is_from_before("dr", theirs.as_ref(), now));
        assert_eq!(locks.newest("dr", theirs.clone(), now + SHOWN_AFTER), theirs);
        assert_eq!(locks.newest("dr", policy(&["A"]), now), policy(&["A"]), "it is what was written");
    }

    #[test]
    fn writes_that_are_tried_again_and_again_take_the_memory_of_one() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        for _ in 0..10 {
            for sid in ["A", "B"] {
                let (statements, after) = (allowing(sid), policy(&[sid]));
                let change = StatementsChange { sid, statements: &statements, shown: None, after };
                locks.may_have_written("dr", change, now);
            }
        }
        assert_eq!(locks.written.lock()["dr"].before, [None, policy(&["A"])]);
    }

    #[test]
    fn a_policy_is_unsure_for_a_minute_after_a_write_that_s3_did_not_answer() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        assert!(!locks.is_unsure("dr", now));
        let (statements, after) = (allowing("A"), policy(&["A"]));
        let change = StatementsChange { sid: "A", statements: &statements, shown: None, after };
        locks.may_have_written("dr", change, now);
        assert!(locks.is_unsure("dr", now) && !locks.is_unsure("dr", now + SHOWN_AFTER));
        assert_eq!(locks.newest("dr", None, now), policy(&["A"]), "what was asked for is not lost");
        add(&locks, &[], "A", now);
        assert!(!locks.is_unsure("dr", now));
    }

    #[test]
    fn what_was_written_in_a_former_term_stands_for_nothing() {
        let (locks, now) = (BucketLocks::default(), Instant::now());
        add(&locks, &[], "A", now);
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
