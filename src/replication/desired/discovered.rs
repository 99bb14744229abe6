//! The facts from AWS that the desired state depends on: the caller, Regions, Object Lock.
//!
//! In: what was observed. Out: [`Discovered`]. While Object Lock cannot be read, the role keeps the right that it may
//! need, and a new role gets it.

use std::collections::BTreeMap;

use crate::iam::compare::allowed_part;
use crate::replication::observed::{Caller, Observed};

/// The role needs it where the source has Object Lock.
pub const READ_RETENTION: &str = "s3:GetObjectRetention";

/// The facts that must be known before the desired state can be derived.
#[derive(Clone, Debug)]
pub struct Discovered {
    pub caller: Caller,
    /// By bucket. A bucket that is not there has none; only KMS statements need it.
    pub regions: BTreeMap<String, String>,
    /// The source has Object Lock: its retention and legal holds go along.
    pub object_lock: bool,
}

impl Discovered {
    /// The facts in an observed state, for the source bucket of this name.
    pub fn of(source: &str, observed: &Observed) -> Discovered {
        let all = observed.destinations.iter().map(|(name, held)| (name.as_str(), held));
        let all = all.chain([(source, &observed.source)]);
        Discovered {
            caller: observed.caller.clone(),
            regions: all
                .filter_map(|(name, held)| Some((name.to_owned(), observed.region_of(held)?)))
                .collect(),
            object_lock: observed.has_object_lock().unwrap_or_else(|| may_need_locks(source, observed)),
        }
    }
}

/// Whether the role may read the locks of the source's objects now, or has no policy yet. While Object Lock cannot be
/// read, it is unknown whether the role needs this right. The operator takes away no right that may be needed. It
/// grants the right to a role that it makes, without which S3 would not replicate locked objects.
fn may_need_locks(source: &str, observed: &Observed) -> bool {
    let has_no_policy = match &observed.role {
        Ok(Some(role)) => role.policy == Ok(None),
        Ok(None) => true,
        Err(_) => false,
    };
    if observed.object_lock.is_err() && has_no_policy {
        return true;
    }
    let role = observed.role.as_ref().ok().and_then(Option::as_ref);
    let policy = role.and_then(|role| role.policy.as_ref().ok()?.as_ref());
    let objects = observed.caller.partition.objects_arn(source);
    policy.is_some_and(|policy| !allowed_part(policy, READ_RETENTION, &objects).is_empty())
}
