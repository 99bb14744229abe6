//! Connects `BucketReplication` resources to the runtime.
//!
//! In: changes of resources. Out: which of them to reconcile, which others a change concerns, and the permits they share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, Resource, ResourceExt};

use crate::api::{
    BucketReplication, ConditionType, Interval, ManagementPolicy, REQUESTED_AT, handled_request,
};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::successors::successors;
use crate::controllers::bucket_replication::{DEADLINE, reconcile};
use crate::controllers::index::{ReplicationKey, Replications};
use crate::controllers::settings::SETTLE;
use crate::controllers::status_summary::StatusSummary;
use crate::controllers::{Guarded, GuardedAwsAccount, GuardedBackfill};
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::authorize::accounts::references;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::controller::Controller;
use crate::runtime::leader::{Succession, Term};
use crate::runtime::queue::{BulkheadKey, Urgency};
use crate::runtime::store::{Change, Key};
use crate::runtime::triggers::Triggers;
use crate::runtime::turns;

/// The controller.
pub struct BucketReplicationController<C, K> {
    pub context: Arc<Context<C, K>>,
    /// The queue of this kind.
    pub replications: Triggers<Guarded>,
    /// The queue of `AwsAccount` resources.
    pub accounts: Triggers<GuardedAwsAccount>,
    /// The queue of `ReplicationBackfill` resources.
    pub backfills: Triggers<GuardedBackfill>,
}

impl<C: Cloud, K: Cluster> Controller for BucketReplicationController<C, K> {
    type Kind = Guarded;
    type IndexKey = ReplicationKey;
    type Summary = StatusSummary;

    const DEADLINE: Duration = DEADLINE;

    fn api(client: Client, namespace: Option<&str>) -> Api<Guarded> {
        match namespace {
            None => Api::all(client),
            Some(namespace) => Api::namespaced(client, namespace),
        }
    }

    fn store(&self) -> &Arc<Replications> {
        &self.context.index.replications
    }

    fn observe(&self, change: &Change<Guarded>) -> Option<Urgency> {
        let Context { index, settings, memory, evidence, clock, events, .. } = &*self.context;
        index.observe(change);
        events.observe(change);
        match change {
            Change::Applied { before, after } => {
                let status = after.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
                memory.cached(&after.uid().unwrap_or_default(), status, clock.now());
                let before = before.as_deref();
                self.recount(before.map(accounts_of).unwrap_or_default(), accounts_of(after));
                if before.is_none_or(|before| readiness(before) != readiness(after)) {
                    self.wake_backfills(after);
                }
                // Not finalizers: adding the operator's own is part of a reconcile that goes on.
                let asked = |o: &Guarded| (o.meta().generation, o.meta().annotations.clone());
                let unchanged = before.is_some_and(|before| asked(before) == asked(after));
                (!unchanged).then_some(Urgency::Change)
            }
            Change::Deleted(gone) => {
                memory.forget(&gone.uid().unwrap_or_default());
                evidence.forget(&gone.uid().unwrap_or_default());
                self.recount(accounts_of(gone), BTreeSet::new());
                self.wake_backfills(gone);
                if let Ok(resource) = &gone.0
                    && !is_on(Mutant::HandoverNotNoticed)
                {
                    for successor in successors(&resource.spec.source.bucket, index, settings) {
                        self.replications.trigger(successor, Urgency::Change);
                    }
                }
                None
            }
        }
    }

    fn begin_term(&self, term: &Term) {
        let Context { memory, evidence, bucket_locks, clock, settings, .. } = &*self.context;
        memory.begin_term(clock.now(), clock.timestamp());
        evidence.forget_all();
        bucket_locks.forget_written();
        if term.succession() == Succession::Takeover {
            memory.expect_late_requests(clock.now() + settings.longest_request);
        }
    }

    fn first_due(&self, object: &Guarded, fleet: usize) -> (Urgency, Duration) {
        let Context { settings, clock, .. } = &*self.context;
        match progress(object) {
            Progress::Changed => (Urgency::Change, Duration::ZERO),
            Progress::Incomplete => (Urgency::Periodic, Duration::ZERO),
            Progress::Complete(interval) => {
                let interval = settings.own_interval(interval).unwrap_or(&settings.interval);
                let (uid, now) = (object.uid().unwrap_or_default(), clock.since_epoch());
                (Urgency::Periodic, turns::after_start(&uid, interval.duration(), now, fleet))
            }
        }
    }

    fn longest_request(&self) -> Duration {
        self.context.settings.longest_request
    }

    fn bulkhead(&self, object: &Guarded) -> BulkheadKey {
        // Only accounts that exist: a name that someone made up gives no permits of its own.
        let mut accounts = accounts_of(object);
        accounts.retain(|name| self.context.index.has_account(name));
        // No name of an object holds a space.
        accounts.into_iter().collect::<Vec<_>>().join(" ").into()
    }

    async fn reconcile(&self, object: Arc<Guarded>) -> Result<Action, Error> {
        reconcile(&object, Urgency::Change, &self.context).await
    }

    async fn reconcile_because(&self, object: Arc<Guarded>, urgency: Urgency) -> Result<Action, Error> {
        reconcile(&object, urgency, &self.context).await
    }
}

impl<C, K> BucketReplicationController<C, K> {
    /// A backfill may begin now, or may no longer.
    fn wake_backfills(&self, object: &Guarded) {
        for backfill in self.context.index.backfills_of(&Key::of(object.meta())) {
            self.backfills.trigger(Key::of(backfill.meta()), Urgency::Change);
        }
    }

    /// Has the resources counted again of the accounts that a resource began or ceased to refer to.
    fn recount(&self, before: BTreeSet<&str>, after: BTreeSet<&str>) {
        for name in before.symmetric_difference(&after) {
            self.accounts.trigger_in(Key::cluster(name), Urgency::Change, SETTLE);
        }
    }
}

/// The facts that decide whether a backfill of a resource may begin.
#[derive(Debug, PartialEq, Eq)]
struct Readiness<'a> {
    deleted: bool,
    suspend: bool,
    policy: ManagementPolicy,
    observed: Option<i64>,
    reason: Option<&'a str>,
}

fn readiness(object: &Guarded) -> Option<Readiness<'_>> {
    let BucketReplication { metadata, spec, status } = object.0.as_ref().ok()?;
    let ready = |condition: &&Condition| condition.type_ == ConditionType::Ready.as_str();
    let status = status.as_ref();
    let ready = status.and_then(|status| status.conditions.iter().find(ready));
    let observed = status.and_then(|status| status.observed_generation);
    Some(Readiness {
        deleted: metadata.deletion_timestamp.is_some(),
        suspend: spec.suspend,
        policy: spec.management_policy,
        observed,
        reason: ready.map(|ready| ready.reason.as_str()),
    })
}

/// How far a resource has got, by its status.
#[derive(Debug)]
enum Progress<'a> {
    /// Someone changed it, and no check has seen that yet.
    Changed,
    /// The last check did not end with what the resource asks for.
    Incomplete,
    /// The last check found or made everything as the resource asks, which has this interval.
    Complete(Option<&'a Interval>),
}

fn progress(object: &Guarded) -> Progress<'_> {
    let metadata = object.meta();
    let Ok(BucketReplication { spec, status: Some(status), .. }) = &object.0 else {
        return Progress::Changed;
    };
    let requested = metadata.annotations.as_ref().and_then(|annotations| annotations.get(REQUESTED_AT));
    let seen = status.observed_generation == metadata.generation
        && status.last_handled_request == requested.map(|value| handled_request(value))
        && metadata.deletion_timestamp.is_none();
    let ready = |condition: &&Condition| condition.type_ == ConditionType::Ready.as_str();
    let ready = status.conditions.iter().find(ready).is_some_and(|ready| ready.status == "True");
    match (seen, ready) {
        (false, _) => Progress::Changed,
        (true, false) => Progress::Incomplete,
        (true, true) => Progress::Complete(spec.interval.as_ref()),
    }
}

/// The names of the accounts that a resource refers to.
fn accounts_of(object: &Guarded) -> BTreeSet<&str> {
    object.0.as_ref().map(|resource| references(&resource.spec)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Instant;

    use super::*;
    use crate::api::BucketReplicationStatus;
    use crate::controllers::index::tests::resource;
    use crate::runtime::queue::WorkQueue;

    /// A resource of generation 2 with a status of this generation.
    fn object(observed: i64, ready: &str) -> BucketReplication {
        let mut object = resource("a", "bucket", None, 1).0.unwrap();
        object.metadata.generation = Some(2);
        let condition = serde_json::json!({
            "type": "Ready", "status": ready, "reason": "Applied", "message": "",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        });
        object.status = Some(BucketReplicationStatus {
            observed_generation: Some(observed),
            conditions: vec![serde_json::from_value(condition).unwrap()],
            ..BucketReplicationStatus::default()
        });
        object
    }

    #[test]
    fn after_a_start_only_resources_that_are_as_they_should_be_can_wait() {
        let of =
            |object: BucketReplication| format!("{:?}", progress(&kube::core::DeserializeGuard(Ok(object))));
        assert_eq!(of(object(2, "True")), "Complete(None)");
        assert_eq!(of(object(2, "False")), "Incomplete");
        assert_eq!(of(object(1, "True")), "Changed");
        assert_eq!(of(BucketReplication { status: None, ..object(2, "True") }), "Changed");
        let mut requested = object(2, "True");
        requested.annotations_mut().insert(REQUESTED_AT.to_owned(), "now".to_owned());
        assert_eq!(of(requested), "Changed");
        let mut deleted = object(2, "True");
        deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
        assert_eq!(of(deleted), "Changed");
    }

    /// Checks in each ten seconds, and the longest time between two checks of a resource, of a fleet whose operator
    /// restarts after a while.
    fn checks_around_a_restart(fleet: u32, interval: Duration, restart: u32) -> (Vec<usize>, Duration) {
        const SLICE: Duration = Duration::from_secs(10);
        let (start, epoch) = (Instant::now(), Duration::from_secs(1_795_000_000));
        let uid = |key: &Key| format!("uid-of-{key}");
        let keys: Vec<Key> = (0..fleet).map(|n| Key::namespaced("data", &format!("r{n}"))).collect();
        let mut last: HashMap<Key, Duration> = HashMap::new();
        let (mut counts, mut longest) = (Vec::new(), Duration::ZERO);
        let mut queue = WorkQueue::new(12);
        for slice in 0..3 * u32::try_from(interval.as_secs() / SLICE.as_secs()).unwrap() {
            let now = slice * SLICE;
            if slice == 0 || slice == restart {
                queue.clear();
                for key in &keys {
                    let wait = turns::after_start(&uid(key), interval, epoch + now, keys.len());
                    queue.add(key.clone(), start + now + wait, Urgency::Periodic);
                }
            }
            let mut count = 0;
            while let Some(begun) = queue.begin(start + now, |_| Some("one".into())) {
                let wait = turns::after_check(&uid(&begun.key), interval, epoch + now);
                queue.end(&begun.key, Some(start + now + wait));
                longest = longest.max(last.get(&begun.key).map_or(Duration::ZERO, |last| now - *last));
                last.insert(begun.key, now);
                count += 1;
            }
            counts.push(count);
        }
        assert_eq!(last.len(), keys.len());
        (counts, longest)
    }

    #[test]
    fn a_restart_of_a_thousand_unchanged_resources_causes_no_burst_and_delays_no_check() {
        let interval = Duration::from_secs(600);
        for restart in [1, 7, 65, 90, 119] {
            let (counts, longest) = checks_around_a_restart(1_000, interval, restart);
            // Evenly spread they were 17 in ten seconds.
            let most = counts.iter().max().copied().unwrap_or_default();
            assert!(most <= 40, "{most} checks in ten seconds: {counts:?}");
            assert!(longest <= interval.mul_f64(1.1) + Duration::from_secs(20), "{longest:?}");
        }
    }
}
