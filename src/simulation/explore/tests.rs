//! The bounded part of the exploration: every trace with one interference, and each mutant on the shortest trace that
//! finds it. `cargo rig explore` goes further, and `cargo rig explore --mutants` searches for these traces.

use std::time::Duration;

use super::*;
use crate::mutants::{self, Mutant};

/// No time limit decides what is explored: every run of the test explores the same.
const LIMITS: Limits = Limits { seed: 0, depth: 1, runs: u64::MAX, time: Duration::MAX };

/// The shortest trace that finds each mutant; the opening of its scene does not count.
const FOUND_BY: [(Mutant, &str); 24] = [
    (Mutant::NoLiveGet, "one-account; orders/EnableVersioning(copies).1 deletes"),
    (Mutant::NoFinalizer, "one-account"),
    (Mutant::FinalizerReplaced, "one-account; idle.1 adds-finalizer"),
    (Mutant::FinalizerGoesFirst, "one-account"),
    (Mutant::ExactPolicyFirst, "one-account; orders/AddFinalizer.1 edits-destination"),
    (Mutant::ConfigurationFirst, "one-account"),
    (Mutant::RoleGoesFirst, "one-account"),
    (Mutant::NoBucketLock, "shared; orders/WriteBucketPolicy(replicas).1 switches-to-1"),
    (Mutant::PolicyOverwritten, "shared"),
    (Mutant::StatementsDuplicated, "shared"),
    (Mutant::StatusForgetsRoles, "renamed; idle.2 renames-role; orders/DeleteRole(orders-role).1 fails"),
    (Mutant::DeletionByStatus, "foreign"),
    (Mutant::AnotherClustersRole, "foreign"),
    (Mutant::WriteInObserve, "one-account; idle.1 sets-observe"),
    (Mutant::WriteBeforeRefusal, "foreign"),
    (Mutant::LeaseIgnored, "lease; orders/Observe.1 moves-lease"),
    (Mutant::TighteningIgnored, "accounts; orders/NamespaceLabels.1 tightens-account"),
    (Mutant::AccountsForgotten, "accounts; idle.1 deletes-account"),
    (Mutant::SuspendIgnored, "one-account; idle.1 suspends"),
    (Mutant::ForeignConfigurationReplaced, "foreign; idle.1 renames-role"),
    (Mutant::CanaryPlaceForgotten, "canary; orders/PutCanary(orders).1 dies-after"),
    (Mutant::CanaryNotAwaited, "canary"),
    (Mutant::CanaryNotSwept, "canary; orders/PutCanary(orders).1 dies-after"),
    (Mutant::CanaryLeftByDeletion, "canary; orders/PutCanary(orders).1 deletes"),
];

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
fn every_mutant_breaks_a_property_that_holds_without_it() {
    assert!(Mutant::ALL.iter().all(|mutant| FOUND_BY.iter().any(|(found, _)| found == mutant)));
    for (mutant, trace) in FOUND_BY {
        let failure = mutants::with(mutant, || replay(trace)).unwrap();
        assert!(failure.is_some(), "{mutant:?} is not found by {trace}");
        assert_holds(trace);
    }
}

#[test]
fn the_search_finds_a_mutant_and_its_trace_is_replayed_from_its_text() {
    let found = find_mutant(Mutant::FinalizerReplaced, LIMITS).unwrap();
    let again = mutants::with(Mutant::FinalizerReplaced, || replay(&found.trace)).unwrap().unwrap();
    assert_eq!(again.story, found.story);
    assert_holds(&found.trace);
}

#[test]
fn an_account_that_is_tightened_while_labels_are_read_stops_the_stage() {
    assert_holds("accounts; orders/NamespaceLabels.2 tightens-account");
}

#[test]
fn a_resource_that_wrote_nothing_is_deleted_although_its_source_may_not_be_read() {
    assert_holds("accounts; idle.1 names-other-account");
}
