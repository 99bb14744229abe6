//! Reads from AWS into the domain's own types.
//!
//! In: clients, and what to read. Out: [`crate::replication::Observed`] and its parts, each with its failure; and
//! beside the checks, what canaries, backfills, metrics and the command line read. A new read of a check begins in
//! `calls.rs`.

pub mod bucket_policy;
pub mod calls;
pub mod canary;
pub mod import;
pub mod jobs;
pub mod list;
pub mod locate;
pub mod metrics;
pub mod observe;
pub mod observe_for_deletion;
pub mod owner;
pub mod unknown_elements;
