//! Old answers: which reads AWS may answer from a former state, and from which.
//!
//! In: a run at a call. Out: the state before the last write of the operator, or before someone else's last change; nothing
//! where the answer would be that of now, or where AWS promises that it is.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::clock::Clock;
use crate::simulation::cloud::Former;
use crate::simulation::explore::run::{PartWrite, Run, hash};
use crate::simulation::hook::Call;
use crate::simulation::world::World;
use crate::simulation::written_part::WrittenPart;

/// How long AWS may answer from before a write.
const STALE: Duration = Duration::from_secs(60);

/// The state that an old answer to a call is from.
pub(super) fn former(call: &Call) -> Former {
    match call {
        // The operator writes nothing that these depend on: the trust policies of its roles are someone else's.
        Call::Connect | Call::ConnectAlso(_) | Call::Verify(_) => Former::BeforeOthers,
        _ => Former::BeforeWrite,
    }
}

impl Run {
    /// The operator changed AWS.
    pub(super) fn note_parts(&mut self, before: &World, after: &World) {
        let at = self.clock.elapsed();
        self.part_writes.values_mut().for_each(|write| write.is_last = false);
        for part in WrittenPart::ALL.into_iter().filter(|part| part.differs(before, after)) {
            let before = hash(part.text(before));
            self.part_writes.insert(part, PartWrite { at, before, is_last: true });
        }
    }

    /// The parts that were written before the last write of all, and so recently that AWS may still show what was there
    /// before. The answers of one check may be of several moments.
    pub(super) fn parts_that_may_be_old(&self) -> impl Iterator<Item = (WrittenPart, u64)> {
        let recent = self
            .part_writes
            .iter()
            .filter(|(_, write)| !write.is_last && self.clock.elapsed().saturating_sub(write.at) < STALE);
        recent.map(|(part, write)| (*part, write.before))
    }

    /// The parts of which AWS may answer a call as they were before, and would answer something else.
    pub(super) fn old_parts(&self, call: &Call) -> Vec<WrittenPart> {
        let now = self.cloud.snapshot();
        let is_other = |part: &WrittenPart| {
            let then: Arc<World> = self.cloud.former(Former::BeforePart(*part));
            differs(call, &then, &now)
        };
        self.parts_that_may_be_old().map(|(part, _)| part).filter(is_other).collect()
    }

    /// Whether AWS may answer a call from a former state, in which the answer would be another one.
    pub(super) fn may_answer_old(&self, call: &Call) -> bool {
        let (now, then) = (self.cloud.snapshot(), self.cloud.former(former(call)));
        match call {
            Call::Connect | Call::ConnectAlso(_) | Call::Verify(_) => {
                then.trusting_accounts != now.trusting_accounts
            }
            // S3 promises that whoever reads or lists objects sees the last write
            // (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel>). The replication
            // status is S3's own.
            Call::ReadReplicationStatus(object) => now.has_ended(object),
            call => self.may_answer_stale() && differs(call, &then, &now),
        }
    }

    /// Whether AWS may still answer from before the last write: for a minute, and where that changed something.
    pub(super) fn may_answer_stale(&self) -> bool {
        let is_recent = |at| self.clock.elapsed().saturating_sub(at) < STALE;
        self.before_last_write != self.hashes.0 && self.last_write.is_some_and(is_recent)
    }

    /// Whether the status of a resource says that its configuration was put within the last minute, or was to be.
    pub(super) fn may_show_later(&self, resource: usize) -> bool {
        let object = self.objects.get(resource).and_then(Option::as_ref);
        let status = object.and_then(|object| object.status.as_ref());
        let Some(configured) = status.and_then(|status| status.configured_at.as_ref()) else { return false };
        let age = Clock::Simulated(self.clock.clone()).timestamp().duration_since(configured.0);
        Duration::try_from(age).is_ok_and(|age| age < STALE)
    }

    /// Whether a process may take the policy of a destination of a resource for older than what the leader before it wrote:
    /// another resource may have statements there too.
    pub(super) fn awaits_former_writes(&self, process: usize, resource: usize) -> bool {
        let began = self.processes.get(process).map(|process| process.began).unwrap_or_default();
        let rules = self.objects.get(resource).and_then(Option::as_ref).map(|object| &object.spec.rules);
        let is_abroad = rules.is_some_and(|rules| rules.iter().any(|r| r.destination.account_ref.is_some()));
        let is_new = self.clock.elapsed().saturating_sub(began) < STALE;
        is_new && is_abroad && self.scene.resources.len() > 1
    }
}

/// Whether the answer to a read differs between two states.
fn differs(call: &Call, then: &World, now: &World) -> bool {
    match call {
        Call::Observe | Call::ObserveForDeletion => {
            let settings = |world: &World| {
                let buckets = world.buckets.values();
                let buckets = buckets.map(|b| (b.versioning, b.configuration.clone(), b.policy.clone()));
                (
                    buckets.collect::<Vec<_>>(),
                    serde_json::to_value(world.roles.values().collect::<Vec<_>>()).ok(),
                )
            };
            settings(then) != settings(now)
        }
        Call::ReadBucketPolicy(bucket) => {
            let policy = |world: &World| world.buckets.get(&bucket.name).and_then(|held| held.policy.clone());
            policy(then) != policy(now)
        }
        Call::ReadRole(name) => {
            let held = |world: &World| {
                let held = world.roles.iter().filter(|((_, held), _)| held.eq_ignore_ascii_case(name));
                serde_json::to_value(held.map(|(_, role)| role).collect::<Vec<_>>()).ok()
            };
            held(then) != held(now)
        }
        Call::DescribeJob(id) => then.jobs.held.get(id) != now.jobs.held.get(id),
        // S3 that forgets tokens lists every job: nobody could distinguish what it forgot from what it did not list.
        Call::FindJob => {
            let known = |world: &World| world.jobs.held.keys().cloned().collect::<Vec<_>>();
            !now.jobs.forgets_tokens && known(then) != known(now)
        }
        _ => false,
    }
}
