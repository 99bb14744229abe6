//! Fuzz targets: generated and mutated inputs for everything that the operator reads and did not write itself.
//!
//! In: the seeds in `corpus/`, a folder per target, and generated inputs. Out: the smallest input that breaks a
//! property. `cargo test --test fuzz` runs the same bounded number of inputs each time, so that a failure is due to the
//! change at hand. With `FUZZ_MINUTES=10` each property draws other inputs for ten minutes, and `cargo rig fuzz` lets
//! libFuzzer draw them, guided by coverage. docs/verification.md describes all three.

mod admitted_backfills;
mod admitted_specs;
mod authorization;
mod bucket_names;
mod bucket_policies;
mod choice;
mod cloudwatch;
mod connection;
mod control;
mod crd_schema;
mod deleted_backfills;
mod deletion_views;
mod documents;
mod engine;
mod error_responses;
mod event_bodies;
#[cfg(feature = "guided")]
mod guided;
mod imports;
mod job_answers;
mod leases;
mod metric_answers;
mod policies;
mod replication_xml;
mod s3;
