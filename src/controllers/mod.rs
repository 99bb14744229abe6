//! The controllers: one folder for each kind, and what they share.
//!
//! In: changes that the watches report, and time. Out: writes to AWS and to the status of resources, through the ports.
//! The types of a new kind are a folder of `api/`; its controller is a folder here, with a line in
//! `assemble.rs` and in `run.rs`.

pub mod assemble;
pub mod aws_account;
pub mod bucket_replication;
pub mod events;
pub mod index;
pub mod replication_backfill;
mod run;
pub mod settings;
mod status_summary;

pub use run::{Operator, run};
pub use settings::{HealthSettings, Settings};

use kube::core::DeserializeGuard;

use crate::api::{AwsAccount, BucketReplication, ReplicationBackfill};

/// A resource as it comes from the API server. One that cannot be decoded must not stop the others.
pub type Guarded = DeserializeGuard<BucketReplication>;

/// An account as it comes from the API server.
pub type GuardedAwsAccount = DeserializeGuard<AwsAccount>;

/// A backfill as it comes from the API server.
pub type GuardedBackfill = DeserializeGuard<ReplicationBackfill>;
