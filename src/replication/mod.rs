//! The domain: what is desired, what is observed, what differs, what to do about it, and how to tell.
//!
//! Pure and synchronous: no clients, no clocks, no tokio. Everything here is data in, data out, and tested so.

pub mod access;
pub mod accounts;
pub mod bucket_policy;
pub mod configuration;
pub mod desired;
pub mod diff;
pub mod failure;
pub mod identity;
pub mod import;
pub mod observed;
pub mod partition;
pub mod plan;
pub mod policy;
pub mod refusal;
pub mod report;
pub mod step;
pub mod subject;
pub mod teardown;
pub mod tenancy;

pub use accounts::{Account, Accounts};
pub use configuration::{Configuration, Filter, Rule, RuleDestination};
pub use desired::{Desired, DesiredRole, ManagedRole};
pub use failure::{Failure, FailureClass};
pub use identity::Identity;
pub use observed::{
    Caller, Observed, ObservedBucket, ObservedKey, ObservedRole, Versioning, VersioningStatus,
};
pub use partition::Partition;
pub use plan::{Plan, Situation};
pub use policy::{PolicyDocument, Statement};
pub use refusal::Refusal;
pub use step::{Place, RoleDocuments, Step};
pub use subject::{BucketRef, Subject};

#[cfg(test)]
mod tests;
