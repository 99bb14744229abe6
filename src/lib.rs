//! s3-replication-operator keeps Amazon S3 replication switched on as `BucketReplication` resources say, and
//! reports in their status what is true in AWS.
//!
//! Data goes one way: a resource ([`api`]) is observed in AWS ([`aws`]), turned into what is desired, compared
//! and planned ([`replication`], pure), applied ([`aws`] again) and reported in its status. [`controllers`]
//! drives this for every resource in a cluster, [`cli`] for one file; [`telemetry`] holds logs, metrics and
//! health.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod api;
pub mod aws;
pub mod cli;
pub mod controllers;
pub mod iam;
pub mod ports;
pub mod replication;
pub mod runtime;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod telemetry;
