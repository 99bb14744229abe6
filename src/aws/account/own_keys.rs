//! The access keys that the operator signs with, so that it recognizes the events of its own writes.
//!
//! In: each key when it is loaded or a session begins. Out: whether a key is the operator's own. Only hashes are kept.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

/// How long a key is recognized after it has expired: events come late. Keys without an expiry are noted again each
/// time that they are loaded.
const KEPT: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Clone, Debug, Default)]
pub struct OwnKeys(Arc<Mutex<HeldKeys>>);

#[derive(Debug, Default)]
struct HeldKeys {
    /// By hash: until when a key is recognized.
    until: HashMap<u64, Instant>,
    /// The size at which keys that are over are dropped.
    limit: usize,
}

impl OwnKeys {
    /// The operator signs with this key until `expiry`.
    pub fn note(&self, access_key: &str, expiry: Option<SystemTime>) {
        self.note_at(access_key, expiry, Instant::now());
    }

    fn note_at(&self, access_key: &str, expiry: Option<SystemTime>, now: Instant) {
        let left = expiry.and_then(|expiry| expiry.duration_since(SystemTime::now()).ok());
        let mut held = self.0.lock();
        held.until.insert(hash(access_key), now + left.unwrap_or_default() + KEPT);
        if held.until.len() > held.limit {
            held.until.retain(|_, until| *until > now);
            held.limit = (2 * held.until.len()).max(64);
        }
    }

    pub fn contains(&self, access_key: &str) -> bool {
        self.0.lock().until.contains_key(&hash(access_key))
    }
}

fn hash(access_key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    access_key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognized_until_they_are_over_and_take_bounded_memory() {
        let (keys, start) = (OwnKeys::default(), Instant::now());
        keys.note_at("AKIAFIRST", None, start);
        assert!(keys.contains("AKIAFIRST") && !keys.contains("AKIAOTHER"));
        for n in 0..10_000 {
            keys.note_at(&format!("ASIA{n}"), None, start + Duration::from_secs(60 * n));
        }
        assert!(!keys.contains("AKIAFIRST") && keys.contains("ASIA9999"));
        assert!(keys.0.lock().until.len() < 1_000, "a key a minute, recognized for two hours");
    }
}
