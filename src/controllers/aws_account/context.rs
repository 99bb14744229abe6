//! Everything that the checks of all accounts share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::api::CallerIdentity;
use crate::controllers::events::Events;
use crate::controllers::index::Index;
use crate::controllers::settings::Settings;
use crate::runtime::requeue::RequeueBackoff;

/// The dependencies of a check, over the two ports.
pub struct Context<C, K> {
    pub cloud: Arc<C>,
    pub cluster: Arc<K>,
    pub index: Arc<Index>,
    pub settings: Settings,
    pub memory: Memory,
    pub events: Arc<Events>,
}

/// What is remembered of accounts, by UID, and only of those that exist.
#[derive(Debug, Default)]
pub struct Memory {
    pub verified: Mutex<HashMap<String, Verified>>,
    pub requeue: Mutex<HashMap<String, RequeueBackoff>>,
}

impl Memory {
    /// Forgets an account that is gone.
    pub fn forget(&self, uid: &str) {
        self.verified.lock().remove(uid);
        self.requeue.lock().remove(uid);
    }
}

/// What STS answered, when, and for which generation of the account.
#[derive(Clone, Debug)]
pub struct Verified {
    pub generation: Option<i64>,
    pub at: Instant,
    pub identity: CallerIdentity,
}
