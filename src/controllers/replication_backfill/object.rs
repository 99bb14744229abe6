//! The backfill under reconcile: its object, its id, and its status as the operator last wrote it.
//!
//! In: the object as the watch saw it, decodable or not, and the memory of backfills. Out: whether it is to end, has
//! changed or was requested, and the circumstances of its report.

use kube::core::ObjectMeta;

use crate::api::{
    FINALIZER, REQUESTED_AT, ReplicationBackfill, ReplicationBackfillSpec, ReplicationBackfillStatus,
    handled_request,
};
use crate::controllers::replication_backfill::context::Context;
use crate::ports::{Finalizers, ObjectKey};
use crate::replication::ResourceId;
use crate::replication::backfill::BackfillContext;
use crate::replication::field_reader::Unreadable;

/// A backfill whose spec may not be readable.
pub struct BackfillObject<'a> {
    pub key: &'a ObjectKey,
    pub metadata: &'a ObjectMeta,
    /// `None`: it cannot be decoded.
    pub spec: Option<&'a ReplicationBackfillSpec>,
    pub status: ReplicationBackfillStatus,
    /// The fields of the status that cannot be read, of one that is being deleted.
    pub unreadable: Unreadable,
    pub id: ResourceId,
}

impl<'a> BackfillObject<'a> {
    pub fn new<C, K>(
        key: &'a ObjectKey,
        metadata: &'a ObjectMeta,
        object: Option<&'a ReplicationBackfill>,
        cached: Option<&ReplicationBackfillStatus>,
        cx: &Context<C, K>,
    ) -> BackfillObject<'a> {
        let status = cx.memory.status(&key.uid, cached, cx.shared.clock.now());
        let id = cx.shared.settings.resource_id(metadata);
        let (spec, unreadable) = (object.map(|object| &object.spec), Unreadable::default());
        BackfillObject { key, metadata, spec, status, unreadable, id }
    }

    pub fn has_finalizer(&self) -> bool {
        Finalizers::of(self.metadata).contains(FINALIZER)
    }

    pub fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The user cancelled the backfill or deletes it.
    pub fn is_to_end(&self) -> bool {
        self.is_deleted() || self.spec.is_some_and(|spec| spec.cancel)
    }

    /// The spec changed since the status was written: `approved` or `cancel` was set.
    pub fn is_changed(&self) -> bool {
        self.status.observed_generation != self.metadata.generation
    }

    /// The value of the annotation that asks for a check.
    pub fn requested(&self) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(REQUESTED_AT).map(String::as_str)
    }

    /// Someone asked for a check, and none has followed.
    pub fn is_requested(&self) -> bool {
        self.requested().map(handled_request) != self.status.last_handled_request
    }

    /// The circumstances of a report about this backfill.
    pub fn context<C, K>(&self, cx: &Context<C, K>) -> BackfillContext<'_> {
        BackfillContext {
            generation: self.metadata.generation,
            requested: self.requested(),
            now: cx.shared.clock.timestamp(),
        }
    }
}
