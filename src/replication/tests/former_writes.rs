//! No plan takes away what another process wrote a moment ago and AWS does not show yet.

use proptest::prelude::*;

use crate::api::{AnnouncedConfiguration, AwsResource, BucketReplicationSpec, ConfigurationOrigin};
use crate::replication::plan::former_writes::{granting_again, relies_on_old_answers};
use crate::replication::plan::plan;
use crate::replication::tests::Case;
use crate::replication::tests::model::execute;
use crate::replication::tests::transitions::{SOURCE, across, case_of, is_covered, rules};
use crate::replication::{Configuration, Failure, FailureClass, Observed, Outcome, Plan, Step};

/// This process wrote nothing.
fn wrote_nothing(_: AwsResource, _: &str) -> bool {
    false
}

/// Whether the check of a case waits, and the plan that it executes if it does not.
fn decide(case: &Case, configured: bool) -> Result<Plan, Plan> {
    case.with_input(|input| {
        let planned = plan(input);
        let planned = granting_again(input, &planned, &wrote_nothing).unwrap_or(planned);
        let waits = relies_on_old_answers(input, &planned, configured, &wrote_nothing);
        if waits { Err(planned) } else { Ok(planned) }
    })
}

/// A resource whose spec was applied to the end.
fn applied(spec: BucketReplicationSpec) -> Case {
    let mut case = case_of(spec);
    for step in case.plan().steps() {
        execute(&mut case.observed, SOURCE, step);
    }
    let mut case = case.applied();
    case.status.applied_role = case.observed.role.iter().flatten().next().map(|role| role.arn.clone());
    case
}

/// The status announces the configuration that the spec asks for. `replaced`: what it takes the place of.
fn announce(case: &mut Case, replaced: Option<&Configuration>) {
    let desired = case.desired();
    let configuration = Configuration { role: desired.role.arn(&case.observed.caller), rules: desired.rules };
    let digest = configuration.digest(SOURCE);
    let replaces = replaced.map(|held| held.digest(SOURCE));
    case.status.announced_configuration =
        Some(AnnouncedConfiguration { digest, replaces, origin: ConfigurationOrigin::Created });
}

fn puts(plan: &Plan) -> bool {
    plan.steps().any(|step| matches!(step, Step::PutReplication { .. }))
}

/// Whether AWS cannot do a step: AWS showed an old state.
fn is_impossible(observed: &Observed, step: &Step) -> bool {
    let exists = matches!(observed.role, Ok(Some(_)));
    match step {
        Step::CreateRole { .. } => exists,
        Step::PutRolePolicy { .. } | Step::UpdateTrustPolicy { .. } | Step::TagRole { .. } => !exists,
        _ => false,
    }
}

/// The state that a process left when it ended: AWS as it is, and the states that AWS may still show.
struct Left {
    case: Case,
    shown: Vec<Observed>,
    /// It put a configuration within the last minute, or announced one.
    configured: bool,
}

/// One process applies a spec, and then does `steps` of the change to another one. `reports`: it did all of them and reported
/// that. `recent`: it did everything within the last minute.
fn leave(specs: [BucketReplicationSpec; 2], steps: usize, (recent, reports): (bool, bool)) -> Left {
    let [first, second] = specs;
    let mut shown = Vec::new();
    let mut case = case_of(first.clone());
    if recent {
        shown.push(case.observed.clone());
        for step in case.plan().steps() {
            execute(&mut case.observed, SOURCE, step);
            shown.push(case.observed.clone());
        }
    }
    let mut case = applied(first);
    shown.push(case.observed.clone());
    let former = case.status.clone();
    let replaced = case.observed.configuration.clone().unwrap();
    case.spec = second;
    let change = case.plan();
    let all = change.steps().count();
    for step in change.steps().take(if reports { all } else { steps }) {
        execute(&mut case.observed, SOURCE, step);
        shown.push(case.observed.clone());
    }
    case.status = former;
    if reports {
        case = case.applied();
    } else if puts(&change) {
        announce(&mut case, replaced.as_ref());
    }
    Left { case, shown, configured: recent || puts(&change) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Each part of AWS may be shown as it was at another moment.
    #[test]
    fn after_every_step_each_rule_in_aws_is_covered_whatever_old_state_is_shown(
        (first, second, third) in (rules(), rules(), rules()),
        tags in any::<(bool, bool, bool)>(),
        goes_back in 0..4u8,
        done in 0..8usize,
        of_former in any::<(bool, bool)>(),
        (configuration, role, policies) in any::<(prop::sample::Index, prop::sample::Index, prop::sample::Index)>(),
    ) {
        let former = [across(&first, 0, tags.0), across(&second, 0, tags.1)];
        let spec = match goes_back {
            0 => former[0].clone(),
            1 => former[1].clone(),
            _ => across(&third, 0, tags.2),
        };
        let Left { case: mut truth, shown, configured } = leave(former, done, of_former);
        let sid = truth.desired().sid;
        prop_assert_eq!(is_covered(&truth.observed, &sid), Ok(()));
        truth.spec = spec;
        let mut seen = truth.clone();
        seen.observed.configuration = configuration.get(&shown).configuration.clone();
        seen.observed.role = role.get(&shown).role.clone();
        seen.observed.bucket_policies = policies.get(&shown).bucket_policies.clone();
        let Ok(plan) = decide(&seen, configured) else { return Ok(()) };
        let mut outcome = Outcome::default();
        for stage in &plan.stages {
            for step in outcome.admit(stage) {
                let failure = Failure::new(FailureClass::Conflict, step.action(), step.subject(), "");
                let result = if is_impossible(&truth.observed, &step) { Err(failure) } else { Ok(()) };
                if result.is_ok() {
                    execute(&mut truth.observed, SOURCE, &step);
                }
                let covered = is_covered(&truth.observed, &sid);
                prop_assert!(covered.is_ok(), "after {step}: {}\n{plan}", covered.unwrap_err());
                outcome.record(step, result);
            }
        }
    }

    /// AWS shows its present state, and nothing was written within the last minute.
    #[test]
    fn a_change_of_what_was_applied_long_ago_goes_on(
        (first, second) in (rules(), rules()),
        tags in any::<(bool, bool)>(),
    ) {
        let mut case = applied(across(&first, 0, tags.0));
        case.spec = across(&second, 0, tags.1);
        let planned = case.plan();
        prop_assert_eq!(decide(&case, false), Ok(planned));
    }
}

/// To a bucket of the own account.
fn to(bucket: u8) -> BucketReplicationSpec {
    across(&[(bucket, false, false)], 0, true)
}

#[test]
fn a_change_waits_while_the_configuration_of_another_process_need_not_show() {
    let mut case = applied(to(0));
    case.spec = to(1);
    let now = case.clone();
    case.observed.configuration = Ok(None);
    for case in [case, now] {
        assert!(decide(&case, true).is_err());
        assert!(decide(&case, false).is_ok());
    }
}

#[test]
fn what_another_process_began_goes_on_at_once_while_the_spec_stays() {
    for done in 0..6 {
        let mut case = case_of(to(0));
        let planned = case.plan();
        for step in planned.steps().take(done) {
            execute(&mut case.observed, SOURCE, step);
        }
        announce(&mut case, None);
        assert!(decide(&case, true).is_ok(), "after {done} steps");
    }
    let Left { case, configured, .. } = leave([to(0), to(1)], 1, (true, false));
    assert!(configured && decide(&case, configured).is_ok());
}

/// Its permissions are new whatever the configuration is, and the former role loses its own only afterwards.
#[test]
fn a_change_to_a_new_role_goes_on_at_once() {
    let mut case = applied(to(0));
    case.spec = across(&[(1, false, false)], 1, true);
    let held = case.observed.role.clone().unwrap().unwrap();
    case.observed.former_roles.insert(held.name.clone(), Ok(Some(held)));
    case.observed.role = Ok(None);
    assert!(decide(&case, true).is_ok());
}

#[test]
fn a_policy_that_grants_what_no_rule_needs_is_written_again_before_a_rule_relies_on_it() {
    let mut case = applied(to(0));
    let wide = applied(across(&[(0, false, false), (1, false, false)], 0, true)).observed.role;
    case.observed.role = wide;
    case.spec = across(&[(1, false, false)], 0, true);
    let planned = case.plan();
    let executed = decide(&case, false).unwrap();
    assert_eq!(executed.steps().count(), planned.steps().count() + 1);
    let written = executed.steps().next().unwrap();
    assert!(matches!(written, Step::PutRolePolicy { expands: true, .. }), "{executed}");
    // The role may be gone by now.
    let mut outcome = Outcome::default();
    let failure = Failure::new(FailureClass::Conflict, written.action(), written.subject(), "no such role");
    outcome.record(written.clone(), Err(failure));
    let later: Vec<Step> = executed.stages.iter().skip(1).flat_map(|stage| outcome.admit(stage)).collect();
    assert_eq!(later, [], "{executed}");
}

#[test]
fn a_policy_that_lacks_what_a_rule_needs_is_not_replaced_before_it_can_only_be_new() {
    let mut case = applied(to(0));
    case.observed.role = applied(to(2)).observed.role;
    case.spec = to(1);
    assert!(decide(&case, false).is_err());
    let again = case.with_input(|input| {
        relies_on_old_answers(input, &plan(input), false, &|resource, _| resource == AwsResource::RolePolicy)
    });
    assert!(!again, "this process wrote that policy itself");
}
