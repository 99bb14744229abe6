//! The facts from AWS that the desired state depends on: the caller, Regions, Object Lock.
//!
//! In: what was observed. Out: [`Discovered`]. While Object Lock cannot be read, the role keeps the right that it may
//! need.

use std::collections::BTreeMap;

use crate::iam::compare::allows;
use crate::replication::observed::{Caller, Observed};

/// The role needs it where the source has Object Lock.
pub const READ_RETENTION: &str = "s3:GetObjectRetention";

/// What has to be known before the spec can be worked out.
#[derive(Clone, Debug)]
pub struct Discovered {
    pub caller: Caller,
    /// By bucket. A bucket that is not there has none; only KMS statements need it.
    pub regions: BTreeMap<String, String>,
    /// The source has Object Lock: its retention and legal holds go along.
    pub object_lock: bool,
}

impl Discovered {
    /// What was observed, for the source bucket of this name.
    pub fn of(source: &str, observed: &Observed) -> Discovered {
        let all = observed.destinations.iter().map(|(name, held)| (name.as_str(), held));
        let all = all.chain([(source, &observed.source)]);
        Discovered {
            caller: observed.caller.clone(),
            regions: all
                .filter_map(|(name, held)| Some((name.to_owned(), observed.region_of(held)?)))
                .collect(),
            object_lock: observed.has_object_lock().unwrap_or_else(|| may_read_locks(source, observed)),
        }
    }
}

/// Whether the role may read the locks of the source's objects now. While Object Lock cannot be read, it is unknown
/// whether the role needs to, and the operator takes away no right that may be needed.
fn may_read_locks(source: &str, observed: &Observed) -> bool {
    let role = observed.role.as_ref().ok().and_then(Option::as_ref);
    let policy = role.and_then(|role| role.policy.as_ref().ok()?.as_ref());
    let objects = observed.caller.partition.objects_arn(source);
    policy.is_some_and(|policy| allows(policy, READ_RETENTION, &objects))
}
