//! The canaries that are still there, of this process or of one that was killed.
//!
//! In: the versions that S3 lists in the folders of a resource. Out: each canary with its version at the source and its
//! replicas. Delete markers are none of the operator's: it never makes one.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::mutants::{Mutant, is_on};
use crate::replication::health::canary::key;
use crate::replication::health::canary::object::{HeldVersion, VersionAt};
use crate::replication::health::canary::place::CanaryPlace;

/// A canary that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub folder: String,
    pub key: String,
    /// Its versions at the source, with the time of each. Empty: only replicas are left.
    pub at_source: Vec<(String, Timestamp)>,
    pub replicas: Vec<VersionAt>,
}

/// The canaries in what S3 lists, by key. `source`: the name of the source bucket.
pub fn leftovers(listed: &[(CanaryPlace, Vec<HeldVersion>)], source: &str) -> Vec<Leftover> {
    let mut found: BTreeMap<&str, Leftover> = BTreeMap::new();
    for (place, versions) in listed {
        let is_canary = |held: &&HeldVersion| {
            key::is_canary(&held.key, &place.folder) || is_on(Mutant::NeighboursDeleted)
        };
        for held in versions.iter().filter(is_canary) {
            let leftover = found.entry(&held.key).or_insert_with(|| Leftover {
                folder: place.folder.clone(),
                key: held.key.clone(),
                at_source: Vec::new(),
                replicas: Vec::new(),
            });
            if place.bucket.name == source {
                leftover.at_source.push((held.version.clone(), held.modified));
            } else {
                leftover.replicas.push(VersionAt {
                    bucket: place.bucket.clone(),
                    key: held.key.clone(),
                    version: held.version.clone(),
                });
            }
        }
    }
    found.into_values().collect()
}
