//! Notes in what was observed the accounts of destinations that cannot be reached.
//!
//! In: what was read without them, and why each cannot be reached. Out: the same, with that failure in place of all
//! that is there. A bucket never leaves its Region, so that the one where it was last seen still counts: what is
//! desired of the role depends on it.

use std::collections::BTreeMap;

use crate::replication::failure::Failure;
use crate::replication::observed::{Observed, ObservedBucket};
use crate::replication::read_set::ReadSet;

/// Sets accounts aside, by the names of their `AwsAccount`s.
pub fn set_aside(observed: &mut Observed, read_set: &ReadSet, unreached: BTreeMap<String, Failure>) {
    let why = |account_ref: &Option<String>| account_ref.as_ref().and_then(|name| unreached.get(name));
    for bucket in &read_set.destinations {
        let Some(failure) = why(&bucket.account_ref) else { continue };
        let region = bucket.last_seen.clone().or_else(|| bucket.region.clone());
        let region = region.map_or_else(|| Err(failure.clone()), |region| Ok(Some(region)));
        observed.destinations.insert(bucket.name.clone(), ObservedBucket::unseen(region, failure.clone()));
        if bucket.account_id.as_ref().is_some_and(|id| *id != observed.caller.account) {
            observed.bucket_policies.insert(bucket.name.clone(), Err(failure.clone()));
        }
    }
    // A key that may not be read is not judged.
    observed
        .keys
        .retain(|arn, _| read_set.keys.get(arn).is_none_or(|account_ref| why(account_ref).is_none()));
    observed.unreached = unreached;
}
