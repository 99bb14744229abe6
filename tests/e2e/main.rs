//! The operator as users meet it: a real API server, the operator as its own process, S3 and IAM over HTTP.
//! A folder for each feature. Each test has its own namespace, AWS account and proxy.

mod accounts;
mod backfill;
mod cli;
mod drift;
mod events;
mod failures;
mod health;
mod operations;
mod ownership;
mod replication;
mod support;
mod upgrade;
