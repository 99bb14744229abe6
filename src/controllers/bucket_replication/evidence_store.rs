//! Keeps what AWS said about the objects of each resource, between reconciles.
//!
//! In: evidence from whoever reads AWS: the sweep of metrics, canaries, failure events. Out: the evidence of one
//! resource for its status. A resource without evidence takes no memory. Entries are keyed by UID.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::replication::health::Evidence;

/// The evidence of all resources.
#[derive(Debug, Default)]
pub struct EvidenceStore(Mutex<HashMap<String, Evidence>>);

impl EvidenceStore {
    /// The evidence of a resource.
    pub fn get(&self, uid: &str) -> Evidence {
        self.0.lock().get(uid).cloned().unwrap_or_default()
    }

    /// Adds to the evidence of a resource.
    pub fn with<T>(&self, uid: &str, add: impl FnOnce(&mut Evidence) -> T) -> T {
        add(self.0.lock().entry(uid.to_owned()).or_default())
    }

    /// Forgets a resource: it is gone, or may no longer be observed.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// Forgets everything: another operator may have led meanwhile.
    pub fn forget_all(&self) {
        self.0.lock().clear();
    }
}
