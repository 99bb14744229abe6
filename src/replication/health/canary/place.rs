//! Works out in which buckets and folders a canary of a resource may lie.
//!
//! In: canaries, and the addresses of buckets. Out: each bucket with a folder in it. The status names every place
//! before the first canary is written there, so that a crash, a change of the spec or a deletion leaves none behind.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{CanaryPlaceStatus, ReplicationRule};
use crate::replication::bucket::BucketAddress;
use crate::replication::health::canary::key;
use crate::replication::health::canary::matching::may_match;

/// A folder in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CanaryPlace {
    pub bucket: BucketAddress,
    /// The beginning of the keys; it ends with the resource's UID and `/`.
    pub folder: String,
}

impl From<&CanaryPlace> for CanaryPlaceStatus {
    fn from(place: &CanaryPlace) -> CanaryPlaceStatus {
        let CanaryPlace { bucket, folder } = place.clone();
        let BucketAddress { name, region, account_id, account_ref } = bucket;
        CanaryPlaceStatus { bucket: name, region, account: account_id, account_ref, prefix: folder }
    }
}

/// Where canaries in these folders can be: at the source, and at each destination whose rules match them by their
/// prefix. Tags are not compared: a rule may lose its tags while a canary is on its way.
pub fn reachable(
    folders: &BTreeSet<&str>,
    source: &BucketAddress,
    destinations: &BTreeMap<String, BucketAddress>,
    rules: &[ReplicationRule],
) -> BTreeSet<CanaryPlace> {
    let places = folders.iter().flat_map(|folder| {
        let place =
            |bucket: &BucketAddress| CanaryPlace { bucket: bucket.clone(), folder: (*folder).to_owned() };
        let matching = rules.iter().filter(|rule| may_match(rule, folder));
        let abroad = matching.filter_map(|rule| destinations.get(&rule.destination.bucket));
        std::iter::once(source).chain(abroad).map(place).collect::<Vec<_>>()
    });
    places.collect()
}

/// The places that a status names. Those that are not in a folder of the resource are left out, because a user who may
/// write the status could name any place there.
pub fn remembered(held: &[CanaryPlaceStatus], uid: &str) -> BTreeSet<CanaryPlace> {
    let own = held.iter().filter(|place| key::is_folder_of(&place.prefix, uid));
    own.map(|place| {
        let CanaryPlaceStatus { bucket, region, account, account_ref, prefix } = place.clone();
        let bucket = BucketAddress { name: bucket, region, account_id: account, account_ref };
        CanaryPlace { bucket, folder: prefix }
    })
    .collect()
}

/// Places as the status lists them.
pub fn listed(places: &BTreeSet<CanaryPlace>) -> Vec<CanaryPlaceStatus> {
    places.iter().map(CanaryPlaceStatus::from).collect()
}
