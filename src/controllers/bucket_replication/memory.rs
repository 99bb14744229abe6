//! Remembers, between reconciles, facts that neither the cache nor the status of a resource shows.
//!
//! In: the beginning and the end of each reconcile, the statuses it writes, and those that the watch brings. Out: the
//! status as last written, pauses between tries, corrections that are held back, and claims to a source. An idle
//! resource takes no memory here. Entries are keyed by UID.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use parking_lot::Mutex;

use crate::api::{AwsResource, BucketReplication, BucketReplicationStatus, DriftEntry, Reason};
use crate::controllers::bucket_replication::canary::memory::CanaryMemory;
use crate::controllers::bucket_replication::contents::{Contents, contents, replaced, written};
use crate::controllers::bucket_replication::flapping::CorrectionHistory;
use crate::controllers::bucket_replication::old_answers::{RecentWrites, ShownState};
use crate::controllers::bucket_replication::request_limit::RequestLimit;
use crate::controllers::bucket_replication::source_ownership;
use crate::mutants::{Mutant, is_on};
use crate::replication::desired::DesiredBucket;
use crate::replication::diff::missing_policy;
use crate::replication::observed::SHOWN_AFTER;
use crate::replication::outcome::{Contested, Outcome};
use crate::replication::setting_hash::{SettingHash, setting};
use crate::replication::{Plan, PlanInput, Step};
use crate::runtime::requeue::RequeueBackoff;

/// The longest that the cache may lag behind what this operator or a former leader wrote, and that its own status is
/// preferred to the cache's. An API server that takes a hundred objects of 1.4 MB shows a write a minute later.
const CACHE_LAG: Duration = Duration::from_secs(60);

/// The memory of all resources.
#[derive(Debug, Default)]
pub struct Memory(Mutex<MemoryEntries>);

#[derive(Clone, Debug, Default)]
struct MemoryEntries {
    by_uid: HashMap<String, MemoryEntry>,
    /// The resources that were written for, each with the time at which that write is old. The first is over first.
    written: VecDeque<(Instant, String)>,
    /// The number of the last reconcile that began.
    last: u64,
    /// Until then, a request of a former leader may still change what a check has found.
    late_until: Option<Instant>,
    /// When the term began, by the clock of this process and by the second of the day.
    term_began: Option<(Instant, i64)>,
}

#[derive(Clone, Debug, Default)]
struct MemoryEntry {
    requeue: RequeueBackoff,
    corrections: CorrectionHistory,
    recent_writes: RecentWrites,
    requests: RequestLimit,
    /// Boxed: it is there for a moment, and an entry may stay for an interval.
    written: Option<Box<WrittenStatus>>,
    /// The resource owns its source, and the cache does not show yet that it applied anything.
    claims: bool,
    /// The number of the reconcile that runs.
    running: Option<u64>,
    /// `None`: the resource has no canaries.
    canaries: Option<Box<CanaryMemory>>,
}

/// A status that the operator wrote and the cache did not show when it was last needed.
#[derive(Clone, Debug)]
pub struct WrittenStatus {
    at: Instant,
    status: BucketReplicationStatus,
    /// The cache shows it by now. A reconcile that runs began with the object as it was before.
    cached: bool,
    /// A later status was written without an answer: the API server may have that one.
    is_unsure: bool,
}

impl MemoryEntry {
    fn is_empty(&self) -> bool {
        let MemoryEntry { requeue, corrections, recent_writes, requests, written, claims, running, canaries } =
            self;
        requeue.is_empty()
            && corrections.is_empty()
            && recent_writes.is_empty()
            && requests.is_empty()
            && written.is_none()
            && !claims
            && running.is_none()
            && canaries.is_none()
    }
}

impl MemoryEntries {
    /// Acts on the entry of a resource, and drops it when it holds nothing any more.
    fn with<T>(&mut self, uid: &str, act: impl FnOnce(&mut MemoryEntry) -> T) -> T {
        let mut entry = self.by_uid.remove(uid).unwrap_or_default();
        let result = act(&mut entry);
        if !entry.is_empty() {
            self.by_uid.insert(uid.to_owned(), entry);
        }
        result
    }

    /// How long AWS may still answer from before the writes of the process that led before this term. No status need name
    /// the last of them: the process may have ended before its report. A request of it may take effect after the term began.
    fn former_writes_show_in(&self, now: Instant) -> Option<Duration> {
        let (began, _) = self.term_began?;
        let last = self.late_until.map_or(began, |late| late.max(began));
        let left = (last + SHOWN_AFTER).saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Whether an object is older than the term, so that a former process may have written for it. The API server gives the
    /// second in which it was created, and a process may have led before in that second.
    fn is_older_than_term(&self, metadata: &ObjectMeta) -> bool {
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
        self.term_began.is_some_and(|(_, second)| created.is_none_or(|created| created <= second))
    }

    /// Forgets the writes of more than a minute ago, also of resources that nothing happens to: the next check of one
    /// may be an interval away.
    fn expire(&mut self, now: Instant) {
        while self.written.front().is_some_and(|(over, _)| *over <= now) {
            let Some((_, uid)) = self.written.pop_front() else { break };
            self.with(&uid, |entry| entry.recent_writes.expire(now));
        }
    }
}

impl Memory {
    /// Begins a reconcile, which ends when the answer is dropped.
    pub fn begin(&self, uid: &str) -> ResourceMemory<'_> {
        let mut entries = self.0.lock();
        entries.last += 1;
        let number = entries.last;
        entries.with(uid, |entry| entry.running = Some(number));
        ResourceMemory { memory: self, uid: uid.to_owned(), number }
    }

    /// The watch shows this status: the operator's own need no longer be remembered.
    pub fn cached(&self, uid: &str, status: Option<&BucketReplicationStatus>, now: Instant) {
        let mut entries = self.0.lock();
        entries.expire(now);
        entries.with(uid, |entry| {
            if let Some(written) = &mut entry.written {
                written.cached |= Some(&written.status) == status;
                if entry.running.is_none() && (written.cached || now.duration_since(written.at) > CACHE_LAG) {
                    entry.written = None;
                }
            }
            entry.claims &= !source_ownership::has_applied(status);
            entry.requests.expire(now);
            entry.recent_writes.expire(now);
        });
    }

    /// The pause after a try that ended in this reason.
    pub fn requeue_after(&self, uid: &str, reason: Reason, interval: Duration) -> Duration {
        self.0.lock().with(uid, |entry| entry.requeue.after(reason, interval))
    }

    /// Forgets a resource that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().by_uid.remove(uid);
    }

    /// Forgets everything: another operator may have led meanwhile.
    pub fn forget_all(&self) {
        let mut entries = self.0.lock();
        entries.by_uid.clear();
        entries.written.clear();
        entries.late_until = None;
        entries.term_began = None;
    }

    /// A term begins, of which nothing is remembered yet.
    pub fn begin_term(&self, now: Instant, time: Timestamp) {
        self.forget_all();
        self.0.lock().term_began = Some((now, time.as_second()));
    }

    /// A former leader's requests may take effect until this time: AWS is checked once more then.
    pub fn expect_late_requests(&self, until: Instant) {
        self.0.lock().late_until = Some(until);
    }

    /// Whether the cache may lack what happened just before this term began.
    pub fn is_term_new(&self, now: Instant) -> bool {
        let began = self.0.lock().term_began;
        began.is_some_and(|(began, _)| now.duration_since(began) < CACHE_LAG)
    }

    /// Everything that is remembered and that decisions depend on, as text, with ages in place of times: equal memories
    /// have equal texts.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fingerprint(&self, now: Instant) -> String {
        use std::fmt::Write as _;
        let entries = self.0.lock();
        let mut uids: Vec<&String> = entries.by_uid.keys().collect();
        uids.sort_unstable();
        let is_new = entries.term_began.is_some_and(|(began, _)| now.duration_since(began) < CACHE_LAG);
        let late = entries.late_until.is_some_and(|until| now < until);
        let former = entries.former_writes_show_in(now).is_some();
        let phases = [(is_new, "new term; "), (late, "late; "), (former, "former process; ")];
        let mut text: String = phases.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
        for uid in uids {
            let Some(entry) = entries.by_uid.get(uid) else { continue };
            // The pause before the next try is part of the state of the exploration, and the one after that decides nothing
            // but the time. Requests are not among what is explored.
            let MemoryEntry {
                requeue: _,
                corrections,
                recent_writes,
                requests: _,
                written,
                claims,
                running,
                canaries,
            } = entry;
            let canaries = canaries.as_ref().map(|canaries| canaries.fingerprint(now));
            let written = written.as_ref().map(|w| {
                let fresh = now.duration_since(w.at) <= CACHE_LAG;
                (
                    fresh,
                    w.cached,
                    w.is_unsure,
                    serde_json::to_value(&w.status)
                        .map(|mut status| {
                            let conditions =
                                status.pointer_mut("/conditions").and_then(serde_json::Value::as_array_mut);
                            conditions.into_iter().flatten().for_each(|c| {
                                c.pointer_mut("/lastTransitionTime").map(serde_json::Value::take);
                            });
                            for time in ["/lastCorrection/time", "/configuredAt"] {
                                status.pointer_mut(time).map(serde_json::Value::take);
                            }
                            status.to_string()
                        })
                        .unwrap_or_default(),
                )
            });
            let (corrections, writes) = (corrections.fingerprint(now), recent_writes.fingerprint(now));
            let running = running.is_some();
            let _ = write!(text, "{uid} {corrections} {writes} {written:?} {claims} {running} {canaries:?}");
        }
        text
    }

    /// Remembers what another process remembers.
    #[cfg(any(test, feature = "simulation"))]
    pub fn copy_from(&self, other: &Memory) {
        *self.0.lock() = other.0.lock().clone();
    }

    /// The number of resources of which something is remembered.
    pub fn len(&self) -> usize {
        self.0.lock().by_uid.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Another process that led until this term began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerProcess {
    /// How long AWS may still answer from before its writes.
    pub shows_in: Duration,
    /// The second in which it led last, at the latest.
    pub ended: i64,
}

impl FormerProcess {
    /// When AWS is read again: an answer may show before the minute is over that nothing old is relied on.
    pub fn pause(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(30);
        self.shows_in.min(LONGEST)
    }

    /// Whether it may have written for an object. That may have been created in the second in which the process ended.
    pub fn knew(&self, metadata: &ObjectMeta) -> bool {
        metadata.creation_timestamp.as_ref().is_none_or(|created| created.0.as_second() <= self.ended)
    }
}

/// The memory of a resource whose reconcile runs.
#[derive(Debug)]
pub struct ResourceMemory<'a> {
    memory: &'a Memory,
    uid: String,
    number: u64,
}

impl ResourceMemory<'_> {
    fn with<T>(&self, act: impl FnOnce(&mut MemoryEntry) -> T) -> T {
        self.memory.0.lock().with(&self.uid, act)
    }

    /// The status as it was last written: the cache's, unless the cache lags behind a write of the operator.
    pub fn status(&self, cached: Option<&BucketReplicationStatus>, now: Instant) -> BucketReplicationStatus {
        self.with(|entry| {
            entry.written.take_if(|written| now.duration_since(written.at) > CACHE_LAG);
            let written = entry.written.as_ref().map(|written| &written.status);
            written.or(cached).cloned().unwrap_or_default()
        })
    }

    /// Whether the cache does not show yet what the operator wrote. A check of what it shows would write that once more, and
    /// fail, because its object is outdated.
    pub fn awaits_watch(&self, now: Instant) -> bool {
        let is_awaited =
            |written: &WrittenStatus| !written.cached && now.duration_since(written.at) <= CACHE_LAG;
        self.with(|entry| entry.written.as_deref().is_some_and(is_awaited))
    }

    /// Whether a former leader may have written a status that the cache does not show yet: soon after the term began, where
    /// the object is older than it and this process has written no status.
    pub fn may_be_behind(&self, metadata: &ObjectMeta, now: Instant) -> bool {
        let entries = self.memory.0.lock();
        let Some((began, _)) = entries.term_began else { return false };
        let unwritten = entries.by_uid.get(&self.uid).is_none_or(|entry| entry.written.is_none());
        unwritten && now.duration_since(began) < CACHE_LAG && entries.is_older_than_term(metadata)
    }

    /// The first minute of a term, in which AWS may still answer from before what a former process wrote.
    pub fn former_process(&self, now: Instant) -> Option<FormerProcess> {
        let entries = self.memory.0.lock();
        let (_, ended) = entries.term_began?;
        Some(FormerProcess { shows_in: entries.former_writes_show_in(now)?, ended })
    }

    /// A status is about to be written. The watch may show it before the API server's answer is here. Returns what was
    /// remembered of an earlier write.
    pub fn begin_write(&self, status: &BucketReplicationStatus, now: Instant) -> Option<Box<WrittenStatus>> {
        let written = WrittenStatus { at: now, status: status.clone(), cached: false, is_unsure: false };
        self.with(|entry| entry.written.replace(Box::new(written)))
    }

    /// The status was not written, or there was no answer: the earlier one is the last again. It may name what this reconcile
    /// has made since.
    pub fn abandon_write(&self, earlier: Option<Box<WrittenStatus>>, is_unanswered: bool) {
        let earlier = earlier.map(|mut earlier| {
            earlier.is_unsure |= is_unanswered;
            earlier
        });
        self.with(|entry| entry.written = earlier);
    }

    /// Whether the API server may have another status than the one that was written last.
    pub fn is_status_unsure(&self) -> bool {
        self.with(|entry| entry.written.as_ref().is_some_and(|written| written.is_unsure))
    }

    /// The pause after a try that ended in this reason.
    pub fn requeue_after(&self, reason: Reason, interval: Duration) -> Duration {
        self.with(|entry| entry.requeue.after(reason, interval))
    }

    /// The same after a check, where the next periodic one is due after `turn`.
    pub fn after_check(&self, reason: Reason, interval: Duration, turn: Duration) -> Duration {
        self.with(|entry| entry.requeue.after_or(reason, interval, turn))
    }

    /// The memory of the canaries of the resource; `None`: it has none.
    pub fn canaries(&self) -> Option<CanaryMemory> {
        self.with(|entry| entry.canaries.as_deref().cloned())
    }

    pub fn set_canaries(&self, canaries: Option<CanaryMemory>) {
        self.with(|entry| entry.canaries = canaries.map(Box::new));
    }

    /// Whether canaries of the resource are due, and no check of AWS is.
    pub fn only_canaries_are_due(&self, now: Instant) -> bool {
        self.with(|entry| entry.canaries.as_ref().is_some_and(|canaries| canaries.is_due_alone(now)))
    }

    /// A check of AWS begins.
    pub fn check_begins(&self) {
        self.with(|entry| entry.canaries.as_mut().map(|canaries| canaries.check_at = None));
    }

    /// Remembers when AWS is to be checked, and returns when to reconcile next: then, or when a canary is due before.
    /// `check`: how long until the check; `None`: when the resource changes.
    pub fn next(
        &self,
        check: Option<Duration>,
        canaries: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        let mut entries = self.memory.0.lock();
        entries.expire(now);
        let late = entries.late_until.and_then(|until| until.checked_duration_since(now));
        let check = entries.with(&self.uid, |entry| {
            let Some(held) = &mut entry.canaries else { return check };
            // The trigger for a canary may have taken the place of that check in the queue.
            let check = check.map(|check| late.map_or(check, |late| check.min(late)));
            held.check_at = check.map(|check| now + check);
            check
        });
        [check, canaries].into_iter().flatten().min()
    }

    /// How long until AWS is to be checked, where canaries alone were due.
    pub fn until_check(&self, now: Instant) -> Option<Duration> {
        let at = self.with(|entry| entry.canaries.as_ref().and_then(|canaries| canaries.check_at));
        at.map(|at| at.saturating_duration_since(now))
    }

    /// How long a check that someone asked for has to wait; `None`: it may run, and counts as one.
    pub fn delay_request(&self, now: Instant, interval: Duration) -> Option<Duration> {
        self.with(|entry| entry.requests.delay(now, interval))
    }

    /// How long to wait before AWS is read again, where it still answers from before the operator's own last writes, and
    /// the destinations that it shows as before. `written_ago`: how long ago the status says that something was written.
    pub fn unsettled(
        &self,
        plan: &Plan,
        input: &PlanInput<'_>,
        written_ago: Option<Duration>,
        now: Instant,
    ) -> Option<(Duration, BTreeSet<String>)> {
        let wait = self.with(|entry| {
            let contents = if entry.recent_writes.is_empty() { Contents::new() } else { contents(input) };
            let mut planned: HashMap<SettingHash, Vec<Option<u64>>> = HashMap::new();
            for (setting, content) in plan.steps().flat_map(written) {
                planned.entry(setting).or_default().push(content);
            }
            let (differences, drift) = (&plan.differences, plan.drift);
            let shown = ShownState { differences, contents, planned, drift, written_ago };
            entry.recent_writes.unsettled(&shown, now)
        })?;
        let is_shown = |bucket: &&DesiredBucket| {
            let parts = [AwsResource::BucketVersioning, AwsResource::DestinationBucketPolicy];
            parts.iter().any(|part| wait.settings.contains(&setting(*part, &bucket.name)))
        };
        let destinations = input.desired.destinations.iter().filter(is_shown);
        Some((wait.pause, destinations.map(|bucket| bucket.name.clone()).collect()))
    }

    /// Whether this process wrote a setting within the last minute: it knows then which answers are old.
    pub fn has_written(&self, setting: SettingHash) -> bool {
        self.with(|entry| entry.recent_writes.has_written(setting))
    }

    /// Events say that someone else changed these settings so long ago.
    pub fn changed_by_another(&self, ages: impl Iterator<Item = (SettingHash, Duration)>, now: Instant) {
        self.with(|entry| {
            for (setting, age) in ages {
                let at = now.checked_sub(age);
                at.into_iter().for_each(|at| entry.recent_writes.changed_by_another(setting, at));
            }
        });
    }

    /// How long to wait before AWS is read again, where one of these settings holds what the operator replaced.
    pub fn shows_replaced(&self, contents: &Contents, now: Instant) -> Option<Duration> {
        self.with(|entry| entry.recent_writes.shows_replaced(contents, now))
    }

    /// How long to wait before AWS is read again, where what another process wrote so long ago does not show.
    pub fn awaits_another_process(&self, written_ago: Option<Duration>, now: Instant) -> Option<Duration> {
        self.with(|entry| entry.recent_writes.awaits_another_process(written_ago, now))
    }

    /// The operator removed what was made: that it is gone is no old answer.
    pub fn forget_written(&self, removed: &[Step]) {
        self.with(|entry| {
            for (setting, _) in removed.iter().flat_map(written) {
                entry.recent_writes.forget(setting);
            }
        });
    }

    /// The corrections of a plan that have to wait because they were made too often, and how long.
    pub fn contested(&self, plan: &Plan, now: Instant) -> Option<(Contested, Duration)> {
        if !plan.drift || plan.stages.is_empty() {
            return None;
        }
        self.with(|entry| entry.corrections.contested(&plan.differences, now))
    }

    /// Remembers the writes of a plan: as corrections where they corrected drift, and as states that AWS is to show
    /// from now on. A write that AWS did not answer may be such a state.
    pub fn record(&self, plan: &Plan, input: &PlanInput<'_>, outcome: &Outcome, now: Instant) {
        let settled = |d: &&DriftEntry| plan.is_settled(d, outcome);
        let writes = replaced(input, outcome);
        let mut entries = self.memory.0.lock();
        entries.with(&self.uid, |entry| {
            let first_policies = first_policies_in(outcome);
            let settled_now = plan.differences.iter().filter(settled).chain(&first_policies);
            entry.recent_writes.record(settled_now, &writes.done, now);
            if !is_on(Mutant::LostAnswerForgotten) {
                entry.recent_writes.record_unanswered(&writes.unanswered, now);
            }
            if plan.drift {
                entry.corrections.record(plan.differences.iter().filter(settled), now);
            }
        });
        entries.written.push_back((now + SHOWN_AFTER, self.uid.clone()));
    }

    /// Claims the source for the resource, unless one of its rivals of the same age owns it.
    ///
    /// # Errors
    /// The owner.
    pub fn claim<'r>(
        &self,
        resource: &'r BucketReplication,
        rivals: &[&'r BucketReplication],
    ) -> Result<(), &'r BucketReplication> {
        // Locked from the question to the claim: of two that ask at once one is answered first.
        let mut entries = self.memory.0.lock();
        let holds = |r: &BucketReplication| {
            source_ownership::may_have_put(r.status.as_ref())
                || r.uid().and_then(|uid| entries.by_uid.get(&uid)).is_some_and(|entry| entry.claims)
        };
        let all = rivals.iter().copied().chain([resource]);
        match source_ownership::owner(all, holds) {
            Some(owner) if owner.uid() != resource.uid() => Err(owner),
            _ => {
                let applied = source_ownership::has_applied(resource.status.as_ref());
                entries.with(&self.uid, |entry| entry.claims |= !applied);
                Ok(())
            }
        }
    }
}

impl Drop for ResourceMemory<'_> {
    fn drop(&mut self) {
        self.with(|entry| {
            // A later reconcile of the resource, of another term, has memory of its own.
            if entry.running == Some(self.number) {
                entry.running = None;
                entry.written.take_if(|written| written.cached);
            }
        });
    }
}

/// The differences that IAM may show for a moment after one check created a role and wrote its policy.
fn first_policies_in(outcome: &Outcome) -> Vec<DriftEntry> {
    let is_new = |name: &String| {
        let mut done = outcome.done.iter();
        done.any(|step| matches!(step, Step::CreateRole { role, .. } if role == name))
    };
    let policies = outcome.done.iter().filter_map(|step| match step {
        Step::PutRolePolicy { role, document, .. } if is_new(role) => Some(missing_policy(role, document)),
        _ => None,
    });
    policies.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "uid";

    fn status(generation: i64) -> BucketReplicationStatus {
        BucketReplicationStatus { observed_generation: Some(generation), ..Default::default() }
    }

    #[test]
    fn a_status_just_written_is_preferred_to_a_cache_that_lags_for_a_minute() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.begin(UID).begin_write(&status(2), now);
        let read = |after: u64| memory.begin(UID).status(Some(&status(1)), now + Duration::from_secs(after));
        assert_eq!(read(0), status(2));
        assert_eq!(read(60), status(2));
        assert_eq!(read(61), status(1), "the cache has caught up, or the write was lost");
        assert!(memory.is_empty());
    }

    #[test]
    fn the_watch_is_awaited_until_it_shows_what_was_written_and_for_a_minute_at_most() {
        let (memory, now) = (Memory::default(), Instant::now());
        let awaits = |after: u64| memory.begin(UID).awaits_watch(now + Duration::from_secs(after));
        assert!(!awaits(0), "nothing was written");
        memory.begin(UID).begin_write(&status(2), now);
        memory.cached(UID, Some(&status(1)), now);
        assert!(awaits(60), "the watch shows something older");
        assert!(!awaits(61));
        memory.cached(UID, Some(&status(2)), now);
        assert!(!awaits(1));
    }

    #[test]
    fn a_status_that_the_cache_shows_is_kept_until_the_reconcile_that_wrote_it_ends() {
        let (memory, now) = (Memory::default(), Instant::now());
        let reconcile = memory.begin(UID);
        reconcile.begin_write(&status(2), now);
        memory.cached(UID, Some(&status(2)), now);
        assert_eq!(reconcile.status(Some(&status(1)), now), status(2), "it began with the object as it was");
        drop(reconcile);
        assert!(memory.is_empty());
    }

    #[test]
    fn a_status_that_was_not_written_is_not_remembered() {
        let (memory, now) = (Memory::default(), Instant::now());
        let reconcile = memory.begin(UID);
        let earlier = reconcile.begin_write(&status(2), now);
        reconcile.abandon_write(earlier, false);
        assert_eq!(reconcile.status(Some(&status(1)), now), status(1));
    }

    #[test]
    fn a_status_that_was_not_written_leaves_the_one_that_was_written_before_it() {
        let (memory, now) = (Memory::default(), Instant::now());
        let reconcile = memory.begin(UID);
        reconcile.begin_write(&status(2), now);
        let earlier = reconcile.begin_write(&status(3), now);
        reconcile.abandon_write(earlier, false);
        assert_eq!(reconcile.status(Some(&status(1)), now), status(2));
    }

    #[test]
    fn the_end_of_a_reconcile_from_before_a_new_term_takes_nothing_from_the_one_that_runs() {
        let (memory, now) = (Memory::default(), Instant::now());
        let old = memory.begin(UID);
        memory.forget_all();
        let new = memory.begin(UID);
        new.begin_write(&status(2), now);
        memory.cached(UID, Some(&status(2)), now);
        drop(old);
        assert_eq!(new.status(Some(&status(1)), now), status(2));
    }

    #[test]
    fn of_two_resources_of_the_same_age_the_first_that_claims_the_source_keeps_it() {
        let memory = Memory::default();
        let resource = |uid: &str| {
            let mut resource = BucketReplication::new(uid, Default::default());
            resource.metadata.uid = Some(uid.to_owned());
            resource
        };
        let (a, b) = (resource("a"), resource("b"));
        assert!(memory.begin("b").claim(&b, &[]).is_ok());
        assert_eq!(
            memory.begin("a").claim(&a, &[&b]).unwrap_err().uid(),
            b.uid(),
            "though its UID is smaller"
        );
        assert!(memory.begin("b").claim(&b, &[&a]).is_ok());
        memory.forget("b");
        assert!(memory.begin("a").claim(&a, &[]).is_ok());
    }
}
