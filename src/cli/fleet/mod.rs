//! The replications of a cluster as people read them: what is true of each, and what to do about it.
//!
//! In: resources as the API server holds them. Out: [`ReplicationView`]s, which `status`, `check`, `map` and `report`
//! print. Their JSON form is documented in `docs/command-line.md` and stable.

mod advice;
mod backfill;
mod commands;
mod condition;
mod runbook;
#[cfg(test)]
pub mod samples;
mod verdict;
mod view;

pub use backfill::BackfillView;
pub use condition::ConditionView;
pub use runbook::{Pointers, RunbookArgs};
pub use verdict::{FleetSummary, Verdict};
pub use view::{BucketView, ReplicationView, RuleView, view_all};
