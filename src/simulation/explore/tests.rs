//! The bounded part of the exploration: every trace with one interference, and each mutant on the shortest trace that
//! finds it. `cargo rig explore` goes further, and `cargo rig explore --mutants` searches for these traces.

use std::time::Duration;

use super::*;
use crate::mutants::{self, Mutant};

/// No time limit decides what is explored: every run of the test explores the same.
const LIMITS: Limits = Limits { seed: 0, depth: 1, runs: u64::MAX, time: Duration::MAX };

/// The shortest trace that finds each mutant; the opening of its scene does not count.
const FOUND_BY: [(Mutant, &str); 25] = [
    (Mutant::NoLiveGet, "renamed; idle.2 renames-role; orders/CreateRole(orders-role-2).1 deletes"),
    (Mutant::NoFinalizer, "one-account"),
    (Mutant::FinalizerReplaced, "one-account; idle.1 adds-finalizer"),
    (Mutant::FinalizerGoesFirst, "one-account"),
    (Mutant::ExactPolicyFirst, "one-account; orders/SetStatus.1 edits-destination"),
    (Mutant::ConfigurationFirst, "one-account"),
    (Mutant::RoleGoesFirst, "one-account"),
    (Mutant::NoBucketLock, "shared; orders/WriteBucketPolicy(replicas).1 switches-to-1"),
    (Mutant::PolicyOverwritten, "shared"),
    (Mutant::StatementsDuplicated, "shared"),
    (Mutant::StatusForgetsRoles, "renamed; idle.2 renames-role; orders/DeleteRole(orders-role).1 fails"),
    (
        Mutant::StatusComesLast,
        "overtaken; orders/CreateRole(orders-role).1 renames-role; orders/CreateRole(orders-role).1 dies-after",
    ),
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
fn a_change_of_the_spec_and_an_old_answer_take_nothing_from_the_present_configuration() {
    assert_holds("one-account; orders/SetStatus.1 edits-destination; orders/Observe.2 answers-stale");
    assert_holds("renamed; idle.2 renames-role; idle.2 deletes; orders/ObserveForDeletion.1 answers-stale");
    assert_holds(
        "renamed; idle.2 renames-role; orders/Observe.2 deletes; orders/ObserveForDeletion.1 answers-stale",
    );
}

#[test]
fn what_a_lost_answer_may_have_made_is_deleted_after_the_spec_named_something_else() {
    assert_holds(
        "one-account; orders/SetStatus.1 renames-role; orders/CreateRole(orders-role).1 loses-answer",
    );
    assert_holds(
        "accounts; orders/SetStatus.1 names-other-account; orders/CreateRole(orders-role).1 loses-answer",
    );
    assert_holds(
        "shared; orders/SetStatus.1 leaves-shared-bucket; orders/WriteBucketPolicy(replicas).1 loses-answer",
    );
}

#[test]
fn what_a_process_made_before_it_died_is_deleted_after_the_spec_named_something_else() {
    assert_holds("one-account; orders/SetStatus.1 renames-role; orders/CreateRole(orders-role).1 dies-after");
    assert_holds(
        "accounts; orders/SetStatus.1 names-other-account; orders/CreateRole(orders-role).1 dies-after",
    );
    assert_holds(
        "shared; orders/SetStatus.1 leaves-shared-bucket; orders/WriteBucketPolicy(replicas).1 dies-after",
    );
}

#[test]
fn one_old_answer_makes_nobody_forget_what_a_lost_one_may_have_made() {
    let lost = "orders/CreateRole(orders-role).1 renames-role; orders/CreateRole(orders-role).1 loses-answer";
    assert_holds(&format!("overtaken; {lost}; orders/Observe.2 answers-stale"));
    let lost = "orders/SetStatus.1 leaves-shared-bucket; orders/WriteBucketPolicy(replicas).1 loses-answer";
    assert_holds(&format!("shared; {lost}; orders/Observe.2 answers-stale"));
}

#[test]
fn a_configuration_put_before_a_crash_is_known_although_someone_deletes_its_role() {
    assert_holds("one-account; orders/PutReplication(orders).1 dies-after; idle.2 deletes-role");
}

#[test]
fn an_old_answer_after_a_lost_one_makes_no_role_foreign() {
    assert_holds(
        "one-account; orders/CreateRole(orders-role).1 loses-answer; orders/Observe.2 answers-stale",
    );
}

#[test]
fn an_account_that_is_tightened_while_labels_are_read_stops_the_stage() {
    assert_holds("accounts; orders/NamespaceLabels.2 tightens-account");
}

#[test]
fn a_resource_that_wrote_nothing_is_deleted_although_its_source_may_not_be_read() {
    assert_holds("accounts; idle.1 names-other-account");
}
