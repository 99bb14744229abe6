//! The bounded part of the exploration: every trace with one interference, and each mutant on the shortest trace that
//! finds it. `cargo rig explore` goes further, and `cargo rig explore --mutants` searches for these traces.

use std::num::NonZero;
use std::time::Duration;

use parking_lot::Mutex;

use super::search::states;
use super::*;
use crate::mutants::{self, Mutant};

/// No time limit decides what is explored: every run of the test explores the same.
const LIMITS: SearchLimits = SearchLimits { seed: 0, depth: 1, runs: u64::MAX, time: Duration::MAX };

/// The shortest trace that finds each mutant; the opening of its scene does not count.
const FOUND_BY: [(Mutant, &str); 89] = [
    (
        Mutant::NoLiveGet,
        "moved-back; idle.2 edits-destination; idle.4 edits-destination-back; orders/PutReplication(orders).3 deletes; orders/PutReplication(orders).3 moves-lease",
    ),
    (Mutant::NoFinalizer, "one-account"),
    (Mutant::FinalizerReplaced, "one-account; idle.1 adds-finalizer"),
    (Mutant::FinalizerGoesFirst, "one-account"),
    (Mutant::ExactPolicyFirst, "moved; idle.2 edits-destination"),
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
    (
        Mutant::ConfigurationNotAnnounced,
        "one-account; orders/PutRolePolicy(orders-role).1 retags-role; orders/PutReplication(orders).1 loses-answer",
    ),
    (
        Mutant::PartNotAnnounced,
        "in-part; orders/WriteBucketPolicy(replicas).1 stays-denied; orders/PutReplication(orders).1 dies-after; idle.2 deletes-role",
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
    (
        Mutant::NoLiveGetForCanary,
        "canary-observed; orders/SetStatus.4 sets-observe; orders/SetStatus.4 moves-lease; orders/SetStatus.4 fails",
    ),
    (Mutant::NoLiveGetOfAccounts, "tightened; idle.1 tightens-account; idle.1 moves-lease"),
    (Mutant::SourceNotClaimedAgain, "rivals; orders/Observe.1 allows-elder"),
    (
        Mutant::EndOverwritten,
        "backfill; orders-november/ReadRole.1 cancels; orders-november/SetStatus.1 takes-over",
    ),
    (Mutant::AdoptedRoleDeleted, "given-back; idle.1 sets-adopt; idle.2 sets-refuse; idle.2 renames-role"),
    (Mutant::NotCheckedAgain, "foreign"),
    (Mutant::RefusalForgets, "renamed; idle.2 renames-role; idle.2 deletes-role"),
    (Mutant::RequestHandledUnread, "suspended; idle.2 suspends; idle.2 requests-check"),
    (Mutant::CanaryForbiddenStays, "canary; orders/PutCanary(orders).1 forbids-canaries"),
    (Mutant::OldAnswersBelieved, "moved; idle.2 edits-destination; orders/Observe.2 answers-stale"),
    (
        Mutant::FormerProcessIgnored,
        "moved; idle.2 edits-destination; idle.2 restarts; orders/Observe.2 answers-stale",
    ),
    (Mutant::ChangeIgnored, "one-account; orders/CreateRole(orders-role).1 sets-observe"),
    (Mutant::SpecChangeIgnored, "moved; idle.2 edits-destination"),
    (Mutant::VersioningNotRepaired, "one-account; idle.2 suspends-versioning"),
    (Mutant::AllowanceNotNoticed, "tightened; idle.1 tightens-account; idle.2 allows-again"),
    (Mutant::HandoverNotNoticed, "succeeded; idle.1 allows-elder; idle.2 deletes-elder"),
    (Mutant::FinalizerNotRestored, "one-account; idle.2 strips-finalizer"),
    (Mutant::IntentNotKept, "backfill"),
    (Mutant::JobNotSearched, "backfill-token-forgotten; orders-november/CreateJob.1 dies-after"),
    (Mutant::TokenByChance, "backfill-listed-late; orders-november/CreateJob.1 takes-over"),
    (
        Mutant::ApprovalNotAuthorized,
        "backfill-approval; idle.5 approves; orders-november/DescribeJob.3 forbids-backfills",
    ),
    (Mutant::LostCanaryNotSearched, "canary-abroad; orders/PutCanary(orders).1 loses-answer"),
    (Mutant::CanaryDoubled, "canary-abroad; orders/ReadReplicationStatus(orders).1 fails"),
    (Mutant::CanaryWithoutFinalizer, "canary-abroad; orders/SetStatus.1 strips-finalizer"),
    (Mutant::NeighboursDeleted, "canary-abroad"),
    (Mutant::FailedCanaryNotListed, "canary-abroad; orders/Live.2 suspends-versioning"),
    (Mutant::FormerDestinationUnreached, "canary-abroad; orders/Observe.2 moves-home"),
    (Mutant::DestinationNotAsked, "canary-abroad; idle.1 forbids-canaries-abroad"),
    (Mutant::GoneAccountBelieved, "account-gone; idle.1 deletes-destination-account; idle.1 moves-lease"),
    (Mutant::NoLiveGetOfDestinations, "account-gone; idle.1 deletes-destination-account; idle.1 moves-lease"),
    (Mutant::DestinationLabelsIgnored, "labels; idle.1 relabels-namespace"),
    (Mutant::StandInNotAsked, "account-of-another-team; idle.2 deletes-destination-account; idle.2 deletes"),
    (Mutant::SuccessorNotNoticed, "elder-forbidden; idle.1 allows-elder; idle.1 forbids-elder"),
    (Mutant::TurnIgnored, "backfill-queue; orders-november/Connect.2 switches-to-1"),
    (Mutant::CancelledJobStarted, "backfill-moved; idle.5 moves-replication; idle.5 approves"),
    (Mutant::OtherSourceApproved, "backfill-moved; idle.5 moves-replication; idle.5 approves"),
    (Mutant::ForeignJobRoleDeleted, "backfill-role; orders-november/Live.3 retags-job-role"),
    (
        Mutant::LostAnswerForgotten,
        "role-unanswered; orders/CreateRole(orders-role).1 loses-answer; idle.2 deletes; orders/ObserveForDeletion.1 answers-stale",
    ),
    (Mutant::HolderNotAsked, "one-second; orders/PutReplication(orders).1 allows-elder"),
    (Mutant::EqualRulesOwned, "equal-rules"),
    (Mutant::FoundDeleted, "found"),
    (Mutant::BoundaryNotImposed, "boundary; idle.1 imposes-boundary"),
    (Mutant::BoundaryComesLast, "every-field"),
    (Mutant::TagsKept, "every-field; idle.2 drops-tags"),
    (Mutant::PolicyRewritten, "across-accounts"),
    (
        Mutant::FormerPoliciesBelieved,
        "configuration-unanswered; idle.2 edits-destination; orders/PutReplication(orders).2 loses-answer; idle.3 edits-destination-back; orders/SetStatus.5 dies-after; orders/Observe.4 answers-old-roles",
    ),
    (Mutant::LoneStatementLost, "across-accounts"),
    (Mutant::OwnershipOfEveryRule, "every-field"),
    (Mutant::LastKeyGranted, "every-field"),
    (Mutant::NamesInPlaceOfLabels, "labels; idle.1 relabels-namespace"),
    (Mutant::AddedRuleIgnored, "every-field; idle.2 adds-rule"),
    (Mutant::RetentionAbroadIgnored, "canary-retained"),
    (
        Mutant::FailedStatementsForgotten,
        "policy-unanswered; orders/WriteBucketPolicy(replicas).1 loses-answer; idle.2 leaves-shared-bucket",
    ),
    (Mutant::LiveGenerationIgnored, "observed; idle.4 deletes-role; idle.4 sets-observe; idle.4 moves-lease"),
    (
        Mutant::UnseenStatusOverwritten,
        "canary-moved; idle.2 moves-canaries; idle.2 moves-lease; orders/Connect.3 fails",
    ),
    (
        Mutant::FormerStatementsBelieved,
        "policy-unanswered; orders/WriteBucketPolicy(replicas).1 loses-answer; idle.2 leaves-shared-bucket; orders/SetStatus.4 dies-after; orders/ReadBucketPolicy(replicas).2 answers-old-bucket-policies",
    ),
    (
        Mutant::UnansweredPolicyForgotten,
        "shared-unanswered; orders/WriteBucketPolicy(replicas).1 loses-answer; invoices/ReadBucketPolicy(replicas).1 answers-old-bucket-policies",
    ),
    (Mutant::GivenRoleUnbounded, "role-bounded; idle.1 imposes-boundary"),
    (Mutant::JobRoleUnbounded, "backfill-role; idle.1 imposes-boundary"),
    (
        Mutant::LostStatusForgotten,
        "checked-early; idle.3 checks-early; orders/Connect.3 fails; orders/SetStatus.4 loses-answer",
    ),
    (Mutant::DisabledKeyIgnored, "every-field; idle.1 disables-key"),
    (Mutant::GenerationAhead, "overtaken; orders/CreateRole(orders-role).1 renames-role"),
];

#[track_caller]
fn assert_holds(trace: &str) {
    if let Some(failure) = replay(trace).unwrap() {
        panic!("\n{failure}");
    }
}

#[test]
fn every_trace_with_one_interference_holds_every_property() {
    holds_with_one_interference(|scene| scene.backfills.is_empty());
}

#[test]
fn every_trace_of_a_backfill_with_one_interference_holds_every_property() {
    holds_with_one_interference(|scene| scene.backfills.len() == 1);
}

#[test]
fn every_trace_of_two_backfills_with_one_interference_holds_every_property() {
    holds_with_one_interference(|scene| scene.backfills.len() > 1);
}

#[track_caller]
fn holds_with_one_interference(chosen: fn(&Scene) -> bool) {
    // Each thread takes the next scene, so that all processors explore until none is left.
    let scenes = Mutex::new(SCENES.iter().filter(|scene| chosen(scene)).collect::<Vec<_>>());
    let found = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(scene) = { scenes.lock().pop() } {
                    let result = explore(scene, LIMITS, true);
                    found.lock().push(result);
                }
            });
        }
    });
    let found = found.into_inner();
    assert_eq!(found.len(), SCENES.iter().filter(|scene| chosen(scene)).count());
    let mut stories: Vec<String> = Vec::new();
    for found in found {
        println!(
            "{}: {} states, {} transitions, {} runs, a property judged {} times, at most {} steps in a run",
            found.scene, found.states, found.transitions, found.runs, found.judged, found.longest
        );
        stories.extend(found.failures.iter().map(ToString::to_string));
        assert!(found.complete && found.states > 50, "{} has only {} states", found.scene, found.states);
    }
    assert!(stories.is_empty(), "\n{}", stories.join("\n\n"));
}

#[test]
fn every_mutant_breaks_a_property_that_holds_without_it() {
    assert!(Mutant::ALL.iter().all(|mutant| FOUND_BY.iter().any(|(found, _)| found == mutant)));
    for (mutant, trace) in FOUND_BY {
        let failure = mutants::with(mutant, || replay(trace)).unwrap();
        assert!(failure.is_some(), "{mutant:?} is not found by {trace}");
        // A fault may make possible what is not possible without it.
        let without = replay(trace).ok().flatten();
        assert!(without.is_none(), "{}", without.map(|found| found.to_string()).unwrap_or_default());
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
    assert_holds(
        "one-account; orders/PutRolePolicy(orders-role).1 edits-destination; orders/Observe.2 answers-stale",
    );
    assert_holds("renamed; idle.2 renames-role; idle.2 deletes; orders/ObserveForDeletion.1 answers-stale");
    assert_holds(
        "renamed; idle.2 renames-role; orders/Observe.2 deletes; orders/ObserveForDeletion.1 answers-stale",
    );
}

/// IAM and S3 show their last writes independently of each other.
#[test]
fn an_old_answer_of_one_service_beside_a_new_one_of_the_other_takes_nothing_away() {
    for part in ["roles", "versioning"] {
        for next in ["edits-destination", "renames-role", "restarts"] {
            assert_holds(&format!("one-account; idle.2 {next}; orders/Observe.2 answers-old-{part}"));
        }
    }
    assert_holds("one-account; idle.2 deletes; orders/ObserveForDeletion.1 answers-old-roles");
}

/// The answer is from before the last write of a process that is gone, and the spec changed since.
#[test]
fn an_old_answer_after_a_crash_or_a_takeover_takes_nothing_from_the_present_configuration() {
    for next in ["restarts", "moves-lease"] {
        assert_holds(&format!(
            "moved; idle.2 edits-destination; idle.2 {next}; orders/Observe.2 answers-stale"
        ));
    }
    assert_holds("moved; idle.2 edits-destination; orders/Observe.2 moves-lease");
    let put = "orders/PutReplication(orders).1";
    assert_holds(&format!(
        "one-account; {put} edits-destination; {put} dies-after; orders/Observe.2 answers-stale"
    ));
    let put = "orders/PutReplication(orders).2";
    let back = format!("moved; idle.2 edits-destination; {put} edits-destination-back; {put} dies-after");
    assert_holds(&format!("{back}; orders/Observe.3 answers-stale"));
}

#[test]
fn an_old_answer_after_a_crash_makes_nobody_forget_a_role() {
    for scene in
        ["one-account; orders/EnableVersioning(copies).1", "overtaken; orders/CreateRole(orders-role).1"]
    {
        assert_holds(&format!(
            "{scene} renames-role; orders/SetStatus.3 dies-after; orders/Observe.3 answers-stale"
        ));
    }
    let created = "orders/CreateRole(orders-role).1";
    assert_holds(&format!(
        "one-account; {created} deletes; {created} dies-after; orders/ObserveForDeletion.1 answers-stale"
    ));
}

/// A former process may have written the statements of another resource there a moment ago.
#[test]
fn after_a_crash_a_bucket_policy_that_is_shared_loses_no_statement_by_an_old_answer() {
    let written = "shared; orders/WriteBucketPolicy(replicas).1";
    for lost in ["dies-after", "loses-answer"] {
        for at in ["invoices/ReadBucketPolicy(replicas).2", "invoices/Observe.4"] {
            assert_holds(&format!("{written} {lost}; {at} answers-stale"));
        }
    }
    let old = "invoices/ReadBucketPolicy(replicas).1 answers-old-bucket-policies";
    assert_holds(&format!("{written} loses-answer; {old}"));
    // Someone else writes between the read and the write of the operator.
    assert_holds(
        "shared; orders/WriteBucketPolicy(replicas).1 adds-statement; invoices/ReadBucketPolicy(replicas).1 answers-old-bucket-policies",
    );
    assert_holds("shared; idle.5 restarts");
    assert_holds("shared; orders/PutRolePolicy(orders-role).1 deletes; invoices/SetStatus.2 dies-after");
}

#[test]
fn roles_and_statements_that_a_lost_answer_may_have_made_are_deleted_after_the_spec_named_others() {
    assert_holds(
        "one-account; orders/CreateRole(orders-role).1 renames-role; orders/CreateRole(orders-role).1 loses-answer",
    );
    assert_holds(
        "accounts; orders/CreateRole(orders-role).1 names-other-account; orders/CreateRole(orders-role).1 loses-answer",
    );
    assert_holds(
        "shared; orders/WriteBucketPolicy(replicas).1 leaves-shared-bucket; orders/WriteBucketPolicy(replicas).1 loses-answer",
    );
}

#[test]
fn roles_and_statements_that_a_process_made_before_it_died_are_deleted_after_the_spec_named_others() {
    assert_holds(
        "one-account; orders/CreateRole(orders-role).1 renames-role; orders/CreateRole(orders-role).1 dies-after",
    );
    assert_holds(
        "accounts; orders/CreateRole(orders-role).1 names-other-account; orders/CreateRole(orders-role).1 dies-after",
    );
    assert_holds(
        "shared; orders/WriteBucketPolicy(replicas).1 leaves-shared-bucket; orders/WriteBucketPolicy(replicas).1 dies-after",
    );
}

#[test]
fn one_old_answer_makes_nobody_forget_what_a_lost_one_may_have_made() {
    let lost = "orders/CreateRole(orders-role).1 renames-role; orders/CreateRole(orders-role).1 loses-answer";
    assert_holds(&format!("overtaken; {lost}; orders/Observe.2 answers-stale"));
    let lost = "orders/WriteBucketPolicy(replicas).1 leaves-shared-bucket; orders/WriteBucketPolicy(replicas).1 loses-answer";
    assert_holds(&format!("shared; {lost}; orders/Observe.5 answers-stale"));
}

#[test]
fn a_configuration_put_before_a_crash_is_known_although_someone_deletes_its_role() {
    assert_holds("one-account; orders/PutReplication(orders).1 dies-after; idle.2 deletes-role");
}

#[test]
fn a_configuration_whose_answer_was_lost_is_known_without_the_role_that_it_names() {
    assert_holds(
        "one-account; orders/PutRolePolicy(orders-role).1 retags-role; orders/PutReplication(orders).1 loses-answer",
    );
    assert_holds(
        "one-account; orders/PutRolePolicy(orders-role).1 retags-role; orders/PutReplication(orders).1 dies-after",
    );
    for lost in ["loses-answer", "dies-after"] {
        let put = format!("orders/PutReplication(orders).1 {lost}");
        assert_holds(&format!("one-account; {put}; idle.2 retags-role"));
        assert_holds(&format!("one-account; {put}; idle.2 deletes-role; idle.2 renames-role"));
    }
    let put = "orders/PutReplication(orders).1";
    let renamed = format!("one-account; {put} renames-role");
    assert_holds(&format!("{renamed}; {put} loses-answer; orders/SetStatus.2 deletes-role"));
    assert_holds(&format!("{renamed}; {put} dies-after; idle.2 deletes-role"));
}

#[test]
fn a_part_of_a_configuration_put_before_a_crash_is_known_without_its_role() {
    let denied = "in-part; orders/WriteBucketPolicy(replicas).1 stays-denied";
    for lost in ["loses-answer", "dies-after"] {
        for gone in ["deletes-role", "retags-role"] {
            let trace = format!("{denied}; orders/PutReplication(orders).1 {lost}; idle.2 {gone}");
            assert_holds(&trace);
            assert_holds(&format!("{trace}; idle.2 deletes"));
        }
    }
}

#[test]
fn a_report_that_the_api_server_denies_takes_back_nothing_that_was_named_before() {
    assert_holds(
        "one-account; orders/PutRolePolicy(orders-role).1 retags-role; orders/SetStatus.2 is-denied",
    );
    assert_holds("accounts; orders/SetStatus.1 names-other-account; orders/SetStatus.2 is-denied");
    assert_holds("canary; orders/EnableVersioning(copies).1 tightens-account; orders/SetStatus.2 is-denied");
}

#[test]
fn a_canary_that_a_changed_configuration_replicates_elsewhere_is_deleted_there() {
    assert_holds(
        "canary; orders/NamespaceLabels.6 edits-destination; orders/PutReplication(orders).2 tightens-account",
    );
}

/// Anyone who may write the status could name any configuration there.
#[test]
fn a_status_alone_entitles_no_resource_that_is_not_allowed_any_more_to_delete_a_configuration() {
    let lost =
        "canary; orders/NamespaceLabels.4 deletes-role; orders/PutReplication(orders).1 tightens-account";
    assert_holds(lost);
    let sentences = story(lost).unwrap();
    assert!(sentences.iter().any(|sentence| sentence.contains("NotAllowed")), "{sentences:?}");
    assert!(
        !sentences.iter().any(|sentence| sentence.contains("remove the replication configuration")),
        "{sentences:?}"
    );
}

#[test]
fn a_right_that_the_operator_lacks_once_hides_no_result_of_a_backfill() {
    assert_holds("backfill; orders-november/Connect.8 fails; orders-november/SetStatus.14 is-denied");
    assert_holds(
        "backfill-approval; idle.5 approves; orders-november/Connect.9 fails; orders-november/SetStatus.15 is-denied",
    );
}

/// The announcement alone: S3 never got the request.
#[test]
fn a_configuration_that_someone_else_wrote_meanwhile_stays_although_one_was_announced() {
    for lost in ["fails", "loses-answer"] {
        let put = format!("one-account; orders/PutReplication(orders).1 {lost}");
        assert_holds(&format!("{put}; idle.2 replaces-configuration; idle.2 deletes"));
        assert_holds(&format!("{put}; idle.2 replaces-configuration; idle.2 deletes-role"));
    }
}

#[test]
fn an_old_answer_after_a_lost_one_makes_no_role_foreign() {
    assert_holds(
        "one-account; orders/CreateRole(orders-role).1 loses-answer; orders/Observe.2 answers-stale",
    );
}

#[test]
fn a_change_that_the_watch_brings_during_a_check_or_a_deletion_ends_it() {
    for act in ["suspends", "sets-observe", "deletes", "replaces-resource"] {
        for at in ["CreateRole(orders-role).1", "PutRolePolicy(orders-role).1", "EnableVersioning(copies).1"]
        {
            assert_holds(&format!("one-account; orders/{at} {act}"));
        }
    }
    for act in ["retains", "sets-observe", "strips-finalizer"] {
        for at in ["DeleteReplication(orders).1", "DeleteRolePolicy(orders-role).1"] {
            assert_holds(&format!("deleted; idle.2 deletes; orders/{at} {act}"));
        }
    }
    for act in ["suspends", "sets-observe", "deletes"] {
        assert_holds(&format!("canary; orders/PutCanary(orders).1 {act}"));
    }
    for act in ["cancels", "deletes-backfill"] {
        let at = "orders-november/CreateRole(backfill+data.orders-november).1";
        assert_holds(&format!("backfill; {at} {act}"));
    }
}

#[test]
fn an_account_that_is_tightened_while_labels_are_read_stops_the_stage() {
    assert_holds("accounts; orders/NamespaceLabels.2 tightens-account");
}

#[test]
fn an_object_that_goes_while_its_status_is_written_has_nothing_made() {
    assert_holds("one-account; orders/SetStatus.1 strips-finalizer; orders/SetStatus.1 deletes");
}

#[test]
fn a_canary_is_deleted_only_for_a_resource_that_is_still_the_one_that_was_checked() {
    for act in ["deletes", "suspends", "sets-observe"] {
        for at in ["NamespaceLabels.7", "Observe.2", "ReadReplicationStatus(orders).2", "Live.2"] {
            assert_holds(&format!("canary; orders/{at} {act}"));
        }
    }
}

/// AWS may have made what it did not answer, and may not show it yet.
#[test]
fn after_a_write_without_an_answer_no_state_from_before_it_is_believed() {
    for lost in ["orders/CreateRole(orders-role).1", "orders/PutReplication(orders).1"] {
        assert_holds(&format!(
            "one-account; {lost} loses-answer; idle.2 deletes; orders/ObserveForDeletion.1 answers-stale"
        ));
    }
    for lost in ["orders/PutReplication(orders).2", "orders/PutRolePolicy(orders-role).3"] {
        assert_holds(&format!(
            "moved; idle.2 edits-destination; {lost} loses-answer; idle.3 edits-destination-back; orders/Observe.3 answers-stale"
        ));
    }
    assert_holds(
        "renamed; idle.2 renames-role; orders/DeleteRolePolicy(orders-role).1 loses-answer; idle.3 renames-role-back; orders/Observe.3 answers-stale",
    );
}

/// Of a destination that the spec no longer names, the administrators may have taken the `AwsAccount` away.
#[test]
fn a_former_destination_that_cannot_be_listed_keeps_no_canary_in_the_present_one() {
    assert_holds("canary-abroad; orders/Observe.2 moves-home; orders/Connect.4 deletes-destination-account");
    let gone = "canary-abroad; idle.2 deletes-destination-account";
    for moved in ["idle.2", "idle.3", "idle.4"] {
        assert_holds(&format!("{gone}; {moved} moves-home"));
    }
}

/// The one that was checked first put its configuration, and its process died before the status had that.
#[test]
fn of_two_resources_of_one_second_the_one_that_put_its_configuration_keeps_the_source_after_a_crash() {
    assert_holds("one-second; orders/Connect.1 allows-elder; orders/PutReplication(orders).1 dies-after");
}

/// The spec left the destination meanwhile, and S3 shows its policy as it was before the write.
#[test]
fn a_statement_that_a_lost_answer_may_have_made_is_removed_although_an_old_answer_hides_it() {
    let lost = "orders/WriteBucketPolicy(replicas).1 loses-answer; idle.2 leaves-shared-bucket";
    for old in ["2 answers-old-bucket-policies", "3 answers-stale"] {
        assert_holds(&format!("across-accounts; {lost}; orders/ReadBucketPolicy(replicas).{old}"));
    }
    let failed = "orders/WriteBucketPolicy(replicas).2 fails";
    let old = "orders/ReadBucketPolicy(replicas).3 answers-old-bucket-policies";
    assert_holds(&format!("policy-unanswered; {lost}; {failed}; {old}"));
}

/// The operator may not get into the account of that destination just when the canary ends.
#[test]
fn a_former_destination_that_was_out_of_reach_for_a_moment_keeps_no_canary() {
    for connection in 1..=3 {
        assert_holds(&format!(
            "canary-abroad; orders/Observe.2 moves-home; orders/ConnectAlso.{connection} fails"
        ));
    }
}

#[test]
fn a_boundary_that_cannot_be_put_keeps_no_configuration_from_being_put() {
    assert_holds(
        "boundary; orders/PutRolePolicy(orders-role).1 imposes-boundary; orders/PutPermissionsBoundary(orders-role).1 fails",
    );
}

/// Nobody can know what someone does between the read and the write.
#[test]
fn a_configuration_that_someone_removes_while_it_is_adopted_counts_as_adopted() {
    let removed = "orders/AddFinalizer.1 removes-configuration";
    assert_holds(&format!(
        "equal-rules; idle.1 sets-adopt; {removed}; orders/PutReplication(orders).1 sets-refuse"
    ));
    let create = "orders/CreateRole(orders-role).1";
    assert_holds(&format!("equal-rules; {removed}; {create} sets-adopt; {create} fails"));
}

#[test]
fn a_right_that_only_canaries_lack_changes_no_status_at_each_try() {
    assert_holds("canary; orders/Live.1 stays-denied");
}

#[test]
fn a_try_that_ends_as_the_last_one_did_writes_no_status() {
    assert_holds("shared; orders/CreateRole(orders-role).1 stays-denied");
    assert_holds(
        "given-back; idle.1 sets-adopt; idle.2 sets-refuse; idle.2 renames-role; orders/PutReplication(orders).2 stays-denied",
    );
}

/// The operator reads AWS for the last time before it removes the finalizer.
#[test]
fn a_role_that_was_in_use_stays_when_someone_replaces_the_configuration_as_the_finalizer_goes() {
    let deleted = "given-back; idle.1 sets-adopt; idle.2 sets-refuse; idle.2 deletes";
    assert_holds(&format!("{deleted}; orders/RemoveFinalizer.1 replaces-configuration"));
}

#[test]
fn a_leader_that_loses_the_lease_while_it_writes_its_intent_asks_for_no_job() {
    assert_holds("backfill; orders-november/SetStatus.3 takes-over");
    assert_holds("backfill; orders-november/SetStatus.3 moves-lease");
}

#[test]
fn a_late_call_of_a_former_leader_hides_no_end_and_leaves_no_role() {
    assert_holds("backfill; orders-november/ReadRole.1 cancels; orders-november/SetStatus.1 takes-over");
    assert_holds(
        "backfill-queue; orders-november/SetStatus.1 takes-over; orders-november/Live.8 switches-to-1",
    );
    let created = "orders-november/CreateRole(backfill+data.orders-november).1";
    assert_holds(&format!("backfill-queue; {created} cancels; {created} takes-over"));
    assert_holds(&format!("backfill; {created} deletes-backfill; {created} takes-over"));
}

#[test]
fn a_leader_that_loses_the_lease_while_it_reads_the_job_deletes_no_role() {
    assert_holds("backfill; orders-november/DescribeJob.4 moves-lease");
}

#[test]
fn a_backfill_that_may_not_go_on_makes_no_role_and_asks_for_no_job() {
    for act in ["forbids-backfills", "suspends-replication", "deletes-replication"] {
        assert_holds(&format!("backfill; orders-november/ReadRole.1 {act}"));
        assert_holds(&format!("backfill; orders-november/SetStatus.1 {act}"));
        assert_holds(&format!("backfill; orders-november/SetStatus.3 {act}"));
    }
}

/// Two traces that differ only in which of two equal resources is concerned go through the same states.
#[test]
fn a_state_and_the_one_with_two_equal_resources_swapped_count_as_one() {
    let of_one = "shared; idle.1 switches-to-0; orders/SetStatus.1 leaves-shared-bucket";
    let of_other = "shared; idle.1 switches-to-1; invoices/SetStatus.1 twin-leaves-shared-bucket";
    let (one, other) = (states(of_one).unwrap(), states(of_other).unwrap());
    assert!(one.len() > 30, "{} states", one.len());
    assert_eq!(
        one.iter().map(|state| state.0).collect::<Vec<_>>(),
        other.iter().map(|s| s.0).collect::<Vec<_>>()
    );
    let by_name = one.iter().zip(&other).filter(|(one, other)| one.1 == other.1).count();
    assert!(by_name < one.len() / 2, "by their names they differ");
    // Not each state is that of the other: one of the two leaves the shared bucket.
    let neither = "shared; idle.1 switches-to-0; orders/SetStatus.1 twin-leaves-shared-bucket";
    assert_ne!(states(neither).unwrap().last(), one.last());
}

#[test]
fn a_job_that_s3_does_not_show_yet_is_not_taken_for_gone() {
    assert_holds("backfill; orders-november/DescribeJob.1 answers-stale");
    assert_holds("backfill-queue; orders-november/DescribeJob.1 answers-stale");
}

#[test]
fn a_deletion_that_may_not_read_the_configuration_leaves_what_it_replicates_with() {
    for denied in ["is-denied", "stays-denied"] {
        let part = format!("{denied}-s3:GetReplicationConfiguration");
        assert_holds(&format!("deleted; idle.2 deletes; orders/ObserveForDeletion.1 {part}"));
    }
}

#[test]
fn a_resource_that_wrote_nothing_is_deleted_although_its_source_may_not_be_read() {
    assert_holds("accounts; idle.1 names-other-account");
}

#[test]
fn a_role_that_was_made_without_its_policy_is_not_in_sync() {
    for trace in [
        "one-account; orders/PutReplication(orders).1 deletes-role; orders/PutRolePolicy(orders-role).2 fails",
        "lease; orders/PutReplication(orders).1 deletes-role; orders/CreateRole(orders-role).2 moves-lease",
    ] {
        assert_holds(trace);
    }
}

#[test]
fn a_role_that_was_made_while_the_sources_owner_was_not_confirmed_is_deleted_too() {
    assert_holds(
        "renamed; idle.2 renames-role; orders/Observe.2 is-denied-s3:GetBucketVersioning; orders/CreateRole(orders-role-2).1 renames-role-again",
    );
}

#[test]
fn a_role_whose_policy_was_taken_away_a_moment_ago_is_not_put_into_the_configuration_again() {
    assert_holds(
        "renamed; idle.2 renames-role; orders/DeleteRolePolicy(orders-role).1 renames-role-back; orders/Observe.3 answers-stale",
    );
}

#[test]
fn a_leader_does_not_forget_what_the_former_one_made_in_the_second_in_which_the_resource_was_created() {
    assert_holds(
        "lease; orders/PutReplication(orders).1 moves-lease; orders/PutReplication(orders).1 deletes-role",
    );
}

#[test]
fn what_the_user_released_is_no_remainder_of_a_resource_of_the_same_name() {
    for trace in [
        "deleted; idle.2 deletes; idle.2 retains; idle.3 creates-again",
        "one-account; orders/PutReplication(orders).1 replaces-resource; orders/PutReplication(orders).1 deletes-role",
    ] {
        assert_holds(trace);
    }
}

#[test]
fn a_write_that_was_announced_and_not_made_is_made_within_a_minute() {
    for trace in [
        "every-field; orders/SetStatus.2 edits-rules; orders/SetStatus.3 loses-answer",
        "untrusted; idle.2 stops-trusting; idle.2 removes-configuration; orders/SetStatus.3 loses-answer",
    ] {
        assert_holds(trace);
    }
}

#[test]
fn a_rule_that_was_applied_is_restored_while_nobody_in_its_account_trusts_the_operator() {
    assert_holds("untrusted; idle.2 stops-trusting; idle.2 deletes-role; idle.2 removes-configuration");
}

#[test]
fn versioning_that_could_not_be_read_is_unknown_beside_ready_and_never_in_sync() {
    assert_holds(
        "one-account; orders/SetStatus.2 suspends-versioning; orders/Observe.2 is-denied-s3:GetBucketVersioning",
    );
}

#[test]
fn a_canary_on_its_way_is_deleted_by_the_leader_that_takes_over() {
    assert_holds("canary; orders/NamespaceLabels.1 fails; orders/NamespaceLabels.8 moves-lease");
}

#[test]
fn a_canary_is_deleted_after_a_check_that_could_not_connect() {
    assert_holds("canary; orders/Live.2 stays-denied; orders/Connect.16 fails");
}

#[test]
fn a_new_process_may_call_a_resource_ready_whose_shared_policy_it_may_not_correct_yet() {
    assert_holds("shared; idle.10 restarts; idle.10 restores-policy");
}

#[test]
fn a_canary_whose_source_could_not_be_listed_is_taken_up_once_it_is_listed() {
    assert_holds("canary; orders/NamespaceLabels.8 moves-lease; orders/ListVersions(orders).1 stays-denied");
}

#[test]
fn a_status_that_a_former_leader_wrote_late_is_replaced() {
    assert_holds(
        "moved-back; idle.2 edits-destination; idle.4 edits-destination-back; orders/Observe.4 moves-lease; orders/Live.3 switches-to-0",
    );
}
