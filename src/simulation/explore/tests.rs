//! A bounded part of the exploration, and the traces that once broke a property.

use std::time::Duration;

use super::*;

const LIMITS: Limits = Limits { seed: 0, depth: 1, runs: u64::MAX, time: Duration::from_secs(600) };

#[test]
fn every_trace_with_one_interference_holds_every_property() {
    for scene in &SCENES {
        let found = explore(scene, LIMITS, true);
        eprintln!(
            "{}: {} states, {} transitions, {} runs, {:?}, complete {}",
            found.scene, found.states, found.transitions, found.runs, found.elapsed, found.complete
        );
        eprintln!("{:?}", found.taken);
        for failure in &found.failures {
            eprintln!("{failure}");
        }
    }
}
