//! IAM, without replication: ARNs, policy documents, their meaning, and the merge of statements into a bucket's policy.
//!
//! In: names, actions, resources, JSON. Out: documents and their differences. Pure. Of replication it knows
//! the actions that a destination allows, in `bucket_policy.rs`.

pub mod arn;
pub mod bucket_policy;
pub mod compare;
pub mod digest;
pub mod document;
pub mod expand;
pub mod key_policy;
pub mod partition;
pub mod pattern;

pub use document::{PolicyDocument, Statement};
pub use partition::Partition;
