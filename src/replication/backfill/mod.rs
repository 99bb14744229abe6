//! Backfills: one S3 Batch Replication job replicates the objects that a `BucketReplication` missed.
//!
//! In: a `ReplicationBackfill`, its replication, and what S3 reports of the job. Out: why nothing begins yet, the job
//! to ask for and its role, and what the status says. Pure, as everything in this folder's parent.

pub mod deleted_status;
pub mod job;
pub mod job_verdict;
pub mod least_privilege;
pub mod polling;
pub mod preconditions;
pub mod price;
pub mod proposal;
pub mod request;
pub mod role;
pub mod status;

pub use job::{Job, JobAddress, JobReport, JobRequest, JobState, JobUpdate};
pub use job_verdict::{JobVerdict, Wish};
pub use preconditions::{Hold, Parent};
pub use request::Intent;
pub use status::{BackfillContext, BackfillReported};

#[cfg(test)]
mod tests;
