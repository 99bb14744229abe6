//! The bounded part of the exploration: every trace with one interference, and the mutants.

use std::time::Duration;

use super::*;
use crate::mutants::Mutant;

/// No time limit decides what is explored: every run of the test explores the same.
const LIMITS: Limits = Limits { seed: 0, depth: 1, runs: u64::MAX, time: Duration::MAX };

#[track_caller]
fn assert_holds(trace: &str) {
    if let Some(failure) = replay(trace).unwrap() {
        panic!("\n{failure}");
    }
}

#[test]
fn every_trace_with_one_interference_holds_every_property() {
    for scene in &SCENES {
        let found = explore(scene, LIMITS, true);
        let stories: Vec<String> = found.failures.iter().map(ToString::to_string).collect();
        assert!(stories.is_empty(), "\n{}", stories.join("\n\n"));
        assert!(found.complete && found.states > 50, "{} has only {} states", scene.name, found.states);
    }
}

#[test]
fn the_exploration_finds_every_mutant() {
    let missed: Vec<Mutant> = Mutant::ALL
        .into_iter()
        .filter(|mutant| find_mutant(*mutant, Limits { depth: 2, runs: 2000, ..LIMITS }).is_none())
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn a_trace_is_replayed_from_its_text() {
    let limits = Limits { depth: 2, runs: 2000, ..LIMITS };
    let found = find_mutant(Mutant::NoLiveGet, limits).unwrap();
    let again = crate::mutants::with(Mutant::NoLiveGet, || replay(&found.trace)).unwrap().unwrap();
    assert_eq!(again.story, found.story);
    assert_holds(&found.trace);
}

#[test]
fn an_account_that_is_tightened_while_labels_are_read_stops_the_stage() {
    assert_holds("accounts; orders/NamespaceLabels.2 tightens-account");
}
