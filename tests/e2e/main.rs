//! The operator as users meet it: a real API server, the operator as its own process, S3 and IAM over HTTP.
//! One module a feature; each test has a namespace, an AWS account and a proxy of its own.

mod access;
mod accounts;
mod admission;
mod cli;
mod conditions;
mod cost;
mod crd;
mod cross_account;
mod drift;
mod failures;
mod fields;
mod import;
mod leader;
mod logs;
mod metrics;
mod ownership;
mod quickstart;
mod restart;
mod samples;
mod sharding;
mod support;
mod tenancy;
#[cfg(feature = "otlp")]
mod traces;
