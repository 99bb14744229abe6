//! s3-replication-operator keeps Amazon S3 replication switched on as `BucketReplication` resources say, and reports in
//! their status what AWS holds.
//!
//! In: the resources of a cluster, or those in files. Out: AWS as they ask for it, their statuses, and what the command
//! line prints.
//!
//! Data goes one way: authorize → connect → observe → plan → apply → report. [`api`] has the kinds that users write.
//! [`replication`] decides, without any I/O: whether a resource is authorized, what to read, which steps lead from
//! observed to desired, and what the status says; [`iam`] knows ARNs and policy documents for it. [`ports`] names what
//! the stages need of AWS and of Kubernetes. [`aws`] reads and writes AWS. [`controllers`] has a folder per kind that
//! drives these stages for every resource in a cluster, on top of [`runtime`], the machinery of any controller. [`cli`]
//! drives them for files. [`telemetry`] has logs, metrics, traces and health. `docs/architecture.md` has the drawing
//! and a glossary.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod api;
pub mod aws;
pub mod backoff;
pub mod cli;
pub mod controllers;
pub mod iam;
pub mod mutants;
pub mod ports;
pub mod replication;
pub mod runtime;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod telemetry;
