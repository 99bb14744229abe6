//! Everything that the checks of all `AwsAccount`s share.
//!
//! In: the ports, the stores, the settings and the clock, put together by `controllers/assemble.rs`. Out: one value
//! that every check borrows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::controllers::events::Events;
use crate::controllers::index::Index;
use crate::controllers::settings::Settings;
use crate::runtime::clock::Clock;
use crate::runtime::requeue::RequeueBackoff;

/// The dependencies of a check, over the two ports.
pub struct Context<C, K> {
    pub cloud: Arc<C>,
    pub cluster: Arc<K>,
    pub index: Arc<Index>,
    pub settings: Settings,
    pub clock: Clock,
    /// By UID, and only of accounts that exist.
    pub requeue: Mutex<HashMap<String, RequeueBackoff>>,
    pub events: Arc<Events>,
}
