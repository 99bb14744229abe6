//! The resource under reconcile: its object, and its status as the operator last wrote it.
//!
//! In: the object as the watch saw it, and what memory and settings say of it. Out: the spec as the operator acts on
//! it, whether someone requested this check, whether its reads must be fresh, and the circumstances of its report.

use std::borrow::Cow;
use std::time::Duration;

use kube::Resource as _;
use kube::core::ObjectMeta;

use crate::api::{
    BucketReplication, BucketReplicationSpec, BucketReplicationStatus, FINALIZER, REQUESTED_AT,
    handled_request,
};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::memory::{FormerProcess, ResourceMemory};
use crate::controllers::events::CheckEvents;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Finalizers, ObjectKey};
use crate::replication::health::Evidence;
use crate::replication::status::StatusContext;
use crate::replication::{Accounts, Replication, ResourceId};
use crate::runtime::store::Key;
use crate::telemetry::FoundBy;

/// An object of the kind, decoded or not.
#[derive(Clone, Copy)]
pub struct ReplicationObject<'a> {
    pub metadata: &'a ObjectMeta,
    pub key: &'a ObjectKey,
    pub memory: &'a ResourceMemory<'a>,
    /// The evidence about the objects at the beginning of the reconcile.
    pub evidence: &'a Evidence,
}

impl ReplicationObject<'_> {
    pub fn has_finalizer(&self) -> bool {
        Finalizers::of(self.metadata).contains(FINALIZER)
    }

    /// The time of the annotation that asks for a check.
    pub fn requested(&self) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(REQUESTED_AT).map(String::as_str)
    }

    /// The process whose writes AWS need not show yet, in the first minute of a term.
    pub fn former_process<C, K>(&self, cx: &Context<C, K>) -> Option<FormerProcess> {
        let former = self.memory.former_process(cx.clock.now());
        former.filter(|_| !is_on(Mutant::FormerProcessIgnored))
    }

    /// The generation of the spec that was checked. The watch may have brought a newer one meanwhile.
    fn generation<C, K>(&self, cx: &Context<C, K>) -> Option<i64> {
        let newest = || cx.index.replications.get(&Key::of(self.metadata))?.meta().generation;
        if is_on(Mutant::GenerationAhead) { newest() } else { self.metadata.generation }
    }

    /// The circumstances of a report about this object.
    pub fn status_context<'a, C, K>(
        &'a self,
        previous: &'a BucketReplicationStatus,
        cx: &Context<C, K>,
    ) -> StatusContext<'a> {
        StatusContext {
            generation: self.generation(cx),
            requested: self.requested(),
            previous,
            now: cx.clock.timestamp(),
            evidence: self.evidence,
            raised_interval: None,
            follows_another_process: self.former_process(cx).is_some_and(|former| former.knew(self.metadata)),
        }
    }
}

/// A resource that could be decoded.
pub struct Resource<'a> {
    pub target: ReplicationObject<'a>,
    pub object: &'a BucketReplication,
    /// As the operator acts on it, by its own settings.
    pub spec: Cow<'a, BucketReplicationSpec>,
    pub status: BucketReplicationStatus,
    pub id: ResourceId,
    /// The events that this check answers.
    pub events: CheckEvents,
}

impl<'a> Resource<'a> {
    pub fn new<C, K>(
        object: &'a BucketReplication,
        target: ReplicationObject<'a>,
        cx: &Context<C, K>,
    ) -> Resource<'a> {
        let status = target.memory.status(object.status.as_ref(), cx.clock.now());
        let spec = cx.settings.acted_on(&object.spec);
        let (id, events) = (cx.settings.resource_id(&object.metadata), CheckEvents::default());
        Resource { target, object, spec, status, id, events }
    }

    /// The resource with its accounts, as the domain takes it.
    pub fn replication<'r>(&'r self, accounts: &'r Accounts) -> Replication<'r> {
        Replication { spec: &self.spec, status: &self.status, id: &self.id, accounts }
    }

    /// The circumstances of a report about this resource.
    pub fn status_context<'r, C, K>(&'r self, cx: &'r Context<C, K>) -> StatusContext<'r> {
        let raised_interval = cx.settings.raised_interval(self.spec.interval.as_ref());
        StatusContext { raised_interval, ..self.target.status_context(&self.status, cx) }
    }

    /// Someone asked for this check, or changed the spec, or an event named what is seldom read: no answer that another
    /// check got is good enough.
    pub fn wants_fresh_reads(&self) -> bool {
        self.is_asked_for() || self.events.need_fresh_reads
    }

    /// Someone asked for this check, or changed the spec.
    pub fn is_asked_for(&self) -> bool {
        let generation = self.target.metadata.generation;
        let changed = self.status.observed_generation.is_some_and(|g| g >= 0 && Some(g) != generation);
        changed || self.is_requested()
    }

    /// The cause of this check. Drift that the check finds is counted under it.
    pub fn found_by(&self) -> FoundBy {
        if self.events.announced.is_some() {
            FoundBy::Event
        } else if self.is_requested() {
            FoundBy::Request
        } else if self.status.observed_generation != self.target.metadata.generation {
            FoundBy::Change
        } else {
            FoundBy::Poll
        }
    }

    /// How long a check that someone asked for has to wait. A change of the spec does not wait.
    pub fn delay_request<C, K>(&self, cx: &Context<C, K>) -> Option<Duration> {
        let changed = self.status.observed_generation != self.target.metadata.generation;
        if changed || !self.is_requested() {
            return None;
        }
        self.target.memory.delay_request(cx.clock.now(), cx.settings.request_interval)
    }

    /// Someone asked for this check.
    pub fn is_requested(&self) -> bool {
        self.target.requested().map(handled_request) != self.status.last_handled_request
    }
}
