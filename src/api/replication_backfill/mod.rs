//! The kind `ReplicationBackfill`: which missed objects a user wants replicated once ([`spec`]), and what became of the
//! job that does it ([`status`]).
//!
//! In: the types of the files of this folder. Out: their names, for the rest of the crate.

mod spec;
mod status;
mod validation;

pub use spec::{
    Approval, BackfillReport, BackfillRole, DEFAULT_JOB_PRIORITY, ObjectReplicationStatus,
    ReplicationBackfill, ReplicationBackfillSpec, ReplicationRef, ReportScope,
};
pub use status::{BackfillProgress, BackfillSource, ReplicationBackfillStatus};
