//! The effect of a resource on S3 and IAM: the quickstart, every sample, every field, and both sides of two accounts.
//! Also the resources that the API server accepts.

pub mod admission;

mod crd;
mod cross_account;
mod fields;
mod partitions;
mod quickstart;
mod samples;
mod walk;
