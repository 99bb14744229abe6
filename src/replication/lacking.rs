//! Describes what the rules of a configuration lack in AWS until other steps are done.
//!
//! In: what the planner found. Out: data by which a step that fails holds back only the rules that need it.

use std::collections::BTreeSet;

use crate::replication::configuration::Configuration;

/// The permissions and settings that rules lack. Destinations are named by their buckets: rules of one bucket are
/// decided together, because objects that one of them no longer takes would go by another one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lacking {
    /// The role does not trust S3.
    pub trust: bool,
    /// Destinations that the role's policy does not open.
    pub role_policy: BTreeSet<String>,
    /// Destinations whose policies do not admit the role.
    pub bucket_policies: BTreeSet<String>,
    /// Destinations that may belong to another account than they should.
    pub unconfirmed: BTreeSet<String>,
    /// Destinations for which nothing shows that objects go through: the role's policy cannot be read, or their account
    /// cannot be reached, and no rule in AWS needs the same.
    pub unseen: BTreeSet<String>,
    /// The spec asks for something else than what was applied; otherwise someone else made the difference.
    pub is_change: bool,
    /// The configuration in AWS.
    pub present: Option<Configuration>,
}
