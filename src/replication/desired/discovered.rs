//! The facts from AWS that the desired state depends on: the caller, Regions, Object Lock.

use std::collections::BTreeMap;

use crate::replication::observed::{Caller, Observed};

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
            object_lock: observed.object_lock,
        }
    }
}
