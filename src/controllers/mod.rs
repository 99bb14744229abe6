//! The only place that knows kube-runtime: watches `BucketReplication` resources and drives each through
//! observe, plan, apply and report; watches `AwsAccount` resources, which say what each may do.

pub mod aws_account;
pub mod bucket_replication;
pub mod index;
mod run;

pub use bucket_replication::context::Settings;
pub use run::run;

use kube::core::DeserializeGuard;

use crate::api::{AwsAccount, BucketReplication};

/// A resource as it comes from the API server. One that cannot be decoded must not stop the others.
pub type Guarded = DeserializeGuard<BucketReplication>;

/// An account as it comes from the API server.
pub type GuardedAccount = DeserializeGuard<AwsAccount>;
