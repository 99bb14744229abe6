//! Writes to AWS.
//!
//! In: a [`crate::replication::Step`]. Out: success, or a failure in its class.

pub mod apply;
pub mod bucket_policy;
pub mod canary;
pub mod jobs;
