//! Writes to AWS: the steps of a plan, bucket policies, canaries, and jobs of S3 Batch Operations.
//!
//! In: a [`crate::replication::Step`], a policy, an object or a job. Out: success or S3's answer, or a failure in its
//! class.

pub mod apply;
pub mod bucket_policy;
pub mod canary;
pub mod jobs;
