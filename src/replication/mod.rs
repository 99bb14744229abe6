//! The domain: the desired state, the observed state, their differences, the plan, and its report.
//!
//! In: resources, the accounts that they refer to, and what AWS holds. Out: what to read, what to write, and what to
//! report. Pure and synchronous: no clients, no clocks, no tokio. Everything here is data in, data out, and tested so.

pub mod assess;
pub mod authorize;
pub mod backfill;
pub mod bucket;
pub mod configuration;
pub mod deletion_read_set;
pub mod desired;
pub mod diff;
pub mod events;
pub mod failure;
pub mod field_reader;
pub mod health;
pub mod import;
pub mod lacking;
pub mod least_privilege;
pub mod left_behind;
pub mod observed;
pub mod outcome;
pub mod part;
pub mod plan;
pub mod read_set;
pub mod readable_status;
pub mod refusal;
pub mod refused_role_write;
pub mod resource;
pub mod resource_id;
pub mod set_aside;
pub mod setting_hash;
pub mod settling_role;
pub mod status;
pub mod step;

pub use assess::{Assessment, assess};
pub use authorize::accounts::{Account, Accounts};
pub use bucket::BucketAddress;
pub use configuration::{Configuration, Rule, RuleDestination, RuleFilter};
pub use deletion_read_set::DeletionReadSet;
pub use desired::{Desired, DesiredRole, ManagedRole};
pub use failure::{Failure, FailureClass};
pub use observed::{
    Caller, Observed, ObservedBucket, ObservedKey, ObservedRole, Versioning, VersioningStatus,
};
pub use outcome::{Contested, Outcome};
pub use plan::{Plan, PlanInput};
pub use read_set::{BucketRef, ReadSet};
pub use refusal::Refusal;
pub use resource::Replication;
pub use resource_id::ResourceId;
pub use step::{RoleDocuments, Step};

#[cfg(test)]
mod tests;
