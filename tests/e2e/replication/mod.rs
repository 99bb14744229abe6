//! What a resource makes of S3 and IAM: the quickstart, every sample, every field, and both sides of two accounts. And what
//! the API server accepts as a resource.

pub mod admission;

mod crd;
mod cross_account;
mod fields;
mod partitions;
mod quickstart;
mod samples;
mod walk;
