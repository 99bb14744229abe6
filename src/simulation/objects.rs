//! The objects of a simulated bucket: versions, with what S3 keeps of each.
//!
//! In: keys and tags. Out: versions with ids. The rights on them are in `object_calls`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::replication::health::canary::{ReplicationStatus, VersionAt};

/// The objects of one bucket, and the settings that new ones get.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Objects {
    /// Object Lock keeps new versions for a while.
    pub default_retention: bool,
    /// New objects are encrypted with a KMS key.
    pub encrypted: bool,
    /// Objects that are written stay pending.
    pub held: bool,
    #[serde(serialize_with = "versions_text")]
    pub versions: Vec<Version>,
    #[serde(skip)]
    written: u64,
}

/// A version of an object, or a delete marker.
#[derive(Clone, Debug)]
pub struct Version {
    pub key: String,
    pub id: String,
    pub is_marker: bool,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) status: Option<ReplicationStatus>,
    /// It was read since it was written.
    pub(super) read: bool,
    pub(super) retained: bool,
}

/// Without ids and the times in keys, because a mere count makes no other state.
fn versions_text<S: Serializer>(versions: &[Version], serializer: S) -> Result<S::Ok, S::Error> {
    let steady = |key: &str| key.rsplit_once('-').map_or(key, |(steady, _)| steady).to_owned();
    let texts = versions.iter().map(|held| format!("{} {:?} {}", steady(&held.key), held.status, held.read));
    serializer.collect_seq(texts)
}

impl Objects {
    pub(in crate::simulation) fn add(
        &mut self,
        key: &str,
        tags: BTreeMap<String, String>,
        status: Option<ReplicationStatus>,
    ) -> String {
        self.written += 1;
        let id = format!("version-{}", self.written);
        let version = Version {
            key: key.to_owned(),
            id: id.clone(),
            is_marker: false,
            tags,
            status,
            read: false,
            retained: self.default_retention,
        };
        self.versions.push(version);
        id
    }

    pub(super) fn find(&mut self, object: &VersionAt) -> Option<&mut Version> {
        self.versions.iter_mut().find(|held| held.key == object.key && held.id == object.version)
    }
}
