//! A change never breaks what replicates before the new configuration is in place, and a step that fails holds back
//! only the steps that need it.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::{BucketPolicyStatus, BucketReplicationSpec, BucketStatus};
use crate::iam::bucket_policy;
use crate::replication::set_aside::set_aside;
use crate::replication::tests::model::{bucket_in, execute};
use crate::replication::tests::plans::converged;
use crate::replication::tests::{Case, nothing_but, quickstart, spec};
use crate::replication::{
    Account, Configuration, Failure, FailureClass, Observed, Outcome, Plan, ReadSet, Rule, Step,
    VersioningStatus,
};

const OTHER: &str = "444455556666";
pub(super) const SOURCE: &str = "source";

/// A policy variable, which stands for `here` at every request.
const VARIABLE: &str = "${aws:PrincipalTag/where}";

/// Whether a policy allows an action on something that has no wildcards. This reads policies by itself: an oracle that shared
/// the reading of the planner would share its faults.
fn grants(policy: &Value, action: &str, on: &str) -> bool {
    fn texts(value: &Value) -> Vec<&str> {
        match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        }
    }
    fn is_match(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                is_match(rest, text) || text.split_first().is_some_and(|(_, text)| is_match(pattern, text))
            }
            ([b'?', rest @ ..], [_, text @ ..]) => is_match(rest, text),
            ([own, rest @ ..], [byte, text @ ..]) => own == byte && is_match(rest, text),
            _ => false,
        }
    }
    let action = action.to_lowercase();
    let is_action = |name: &&str| is_match(name.to_lowercase().as_bytes(), action.as_bytes());
    let is_resource = |name: &&str| is_match(name.replace(VARIABLE, "here").as_bytes(), on.as_bytes());
    let holds = |statement: &Value| {
        let has = |key: &str| !statement[key].is_null();
        let names_action = texts(&statement["Action"]).iter().any(is_action)
            || (has("NotAction") && !texts(&statement["NotAction"]).iter().any(is_action));
        let names_resource = texts(&statement["Resource"]).iter().any(is_resource)
            || (has("NotResource") && !texts(&statement["NotResource"]).iter().any(is_resource));
        statement["Effect"] == "Allow" && names_action && names_resource
    };
    policy["Statement"].as_array().is_some_and(|statements| statements.iter().any(holds))
}

/// Whether the operator's statements in the policy of a bucket let a role do something with its objects.
fn admits(policy: Option<&Value>, sid: &str, (role, action): (&str, &str), bucket: &str) -> bool {
    let ours = bucket_policy::policy_of_sid(policy, sid);
    let is_named = |statement: &&Value| match &statement["Principal"]["AWS"] {
        Value::Array(names) => names.iter().any(|name| name == role),
        name => name == role,
    };
    let statements = ours["Statement"].as_array().cloned().unwrap_or_default();
    let naming: Vec<&Value> = statements.iter().filter(is_named).collect();
    grants(&json!({"Statement": naming}), action, &format!("arn:aws:s3:::{bucket}/an/object"))
}

/// The permissions of the role without which S3 copies no objects for a rule.
pub(super) fn is_covered(observed: &Observed, sid: &str) -> Result<(), String> {
    let Ok(Some(Configuration { role: arn, rules })) = &observed.configuration else { return Ok(()) };
    let named = observed.role.iter().flatten().chain(observed.former_roles.values().flatten().flatten());
    let role = named.into_iter().find(|role| role.arn == *arn).ok_or(format!("{arn} does not exist"))?;
    let policy = role.policy.clone().unwrap().unwrap_or_default();
    for (id, Rule { destination: to, .. }) in rules {
        for action in ["s3:ReplicateObject", "s3:ReplicateDelete"] {
            if !grants(&policy, action, &format!("{}/an/object", to.bucket)) {
                return Err(format!("rule {id}: the role may not {action} in {}", to.bucket));
            }
        }
        if let Some(key) = &to.kms_key
            && !grants(&policy, "kms:Encrypt", key)
        {
            return Err(format!("rule {id}: the role may not use {key}"));
        }
        let bucket = crate::iam::arn::bucket_of_arn(&to.bucket);
        if let Some(Ok(held)) = observed.bucket_policies.get(bucket)
            && !admits(held.as_ref(), sid, (arn, "s3:ReplicateObject"), bucket)
        {
            return Err(format!("rule {id}: the policy of {bucket} does not let {arn} in"));
        }
    }
    Ok(())
}

/// How someone wrote, by wildcards or a policy variable, what a policy of the operator grants.
#[derive(Clone, Copy, Debug)]
enum Widened {
    Not,
    /// `s3:Replicate*`, in any case.
    Actions,
    /// `s3:*` and `kms:*`.
    Services,
    /// `arn:aws:s3:::*-0/*`, and any key.
    Resources,
    /// `arn:aws:s3:::here-?/*`.
    OneCharacter,
    /// `arn:aws:s3:::${aws:PrincipalTag/where}-0/*`.
    Variable,
    /// `"*"`.
    All,
    /// `NotAction` and `NotResource`.
    Negated,
}

fn widened() -> impl Strategy<Value = Widened> {
    use Widened::{Actions, All, Negated, Not, OneCharacter, Resources, Services, Variable};
    prop::sample::select(vec![Not, Actions, Services, Resources, OneCharacter, Variable, All, Negated])
}

/// Writes the statements of a policy in another way that grants at least the same.
fn widen(policy: &mut Value, how: Widened) {
    let each = |value: &mut Value, change: &dyn Fn(&str) -> String| match value {
        Value::Array(items) => {
            for item in items {
                *item = json!(change(item.as_str().unwrap()));
            }
        }
        one => *one = json!(change(one.as_str().unwrap())),
    };
    let actions = |name: &str| match name.split_once(":Replicate") {
        Some(_) => "S3:replicate*".to_owned(),
        None => name.to_owned(),
    };
    let service = |name: &str| format!("{}:*", name.split_once(':').unwrap().0);
    // Buckets are named `here-0` and keys `key/0`.
    let resources = |name: &str| match name {
        _ if name.contains(":kms:") => "arn:aws:kms:*:*:key/*".to_owned(),
        _ => name.replace("here-", "*-").replace("there-", "*-"),
    };
    let one_character = |name: &str| {
        let name = ["0", "1", "2"].iter().fold(name.to_owned(), |name, n| {
            name.replace(&format!("here-{n}"), "here-?").replace(&format!("key/{n}"), "key/?")
        });
        name.replace("there-", "??ere-")
    };
    for statement in policy["Statement"].as_array_mut().unwrap() {
        match how {
            Widened::Not => {}
            Widened::Actions => each(&mut statement["Action"], &actions),
            Widened::Services => each(&mut statement["Action"], &service),
            Widened::Resources => each(&mut statement["Resource"], &resources),
            Widened::OneCharacter => each(&mut statement["Resource"], &one_character),
            Widened::Variable => {
                each(&mut statement["Resource"], &|name| name.replace("here-", &format!("{VARIABLE}-")))
            }
            Widened::All => {
                statement["Action"] = json!("*");
                statement["Resource"] = json!("*");
            }
            Widened::Negated => {
                let statement = statement.as_object_mut().unwrap();
                statement.retain(|key, _| key != "Action" && key != "Resource");
                statement.insert("NotAction".into(), json!(["s3:DeleteBucket*", "ec2:*"]));
                statement.insert("NotResource".into(), json!("arn:aws:s3:::not-this-one/*"));
            }
        }
    }
}

/// Someone writes the policies of the role and of the buckets by wildcards or a policy variable.
fn widen_all(case: &mut Case, (of_role, of_buckets): (Widened, Widened)) {
    let role = case.observed.role.as_mut().unwrap().as_mut().unwrap();
    widen(role.policy.as_mut().unwrap().as_mut().unwrap(), of_role);
    for policy in case.observed.bucket_policies.values_mut().flatten().flatten() {
        widen(policy, of_buckets);
    }
}

/// The entry in the status for a policy in the other account.
fn written_policy(number: u8) -> BucketPolicyStatus {
    BucketPolicyStatus {
        bucket: format!("there-{number}"),
        region: "eu-west-1".into(),
        account: OTHER.into(),
        account_ref: "dr".into(),
    }
}

/// The roles that the operator's statements in policies of buckets name, and that do not exist.
fn names_of_deleted_roles(observed: &Observed, sid: &str) -> Vec<String> {
    let roles = observed.role.iter().flatten().chain(observed.former_roles.values().flatten().flatten());
    let exist: Vec<&str> = roles.map(|role| role.arn.as_str()).collect();
    let policies = observed.bucket_policies.values().flatten();
    let statements = policies.flat_map(|held| {
        let ours = bucket_policy::policy_of_sid(held.as_ref(), sid);
        ours["Statement"].as_array().cloned().unwrap_or_default()
    });
    let named = statements.flat_map(|statement| match &statement["Principal"]["AWS"] {
        Value::Array(names) => names.clone(),
        name => vec![name.clone()],
    });
    let named = named.filter_map(|name| name.as_str().map(str::to_owned));
    named.filter(|name| !exist.contains(&name.as_str())).collect()
}

/// Enables every step, and replaces the observed role by the one that the spec now names.
fn observe_again(case: &mut Case) {
    let name = case.replication().role_name();
    let held = case.observed.role.clone().unwrap();
    if held.as_ref().is_some_and(|role| role.name != name) {
        let role = held.unwrap();
        case.observed.former_roles.insert(role.name.clone(), Ok(Some(role)));
        case.observed.role = Ok(None);
    }
}

/// A resource across two accounts: buckets `here-…` are in the source's account, `there-…` in the other one.
pub(super) fn across(rules: &[(u8, bool, bool)], role: u8, tags: bool) -> BucketReplicationSpec {
    let rules: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(i, (bucket, there, encrypted))| {
            let to = match there {
                true => format!("bucket: there-{bucket}, accountRef: dr, ownership: Destination"),
                false => format!("bucket: here-{bucket}"),
            };
            let key = format!("arn:aws:kms:eu-west-1:111122223333:key/{bucket}");
            let key = if *encrypted { format!(", kmsKeyArn: '{key}'") } else { String::new() };
            let switch = if *encrypted { "Enabled" } else { "Disabled" };
            format!("{{id: r{i}, priority: {i}, kmsEncryptedObjects: {switch}, destination: {{{to}{key}}}}}")
        })
        .collect();
    spec(&format!(
        "{{source: {{bucket: {SOURCE}}}, role: {{name: role-{role}}}, replicate: {{tags: {tags}}}, rules: [{}]}}",
        rules.join(", ")
    ))
}

pub(super) fn case_of(spec: BucketReplicationSpec) -> Case {
    let bucket = || bucket_in("eu-west-1", VersioningStatus::Enabled);
    let names = (0..3u8).flat_map(|i| [format!("here-{i}"), format!("there-{i}")]);
    let mut case = Case::new(spec, nothing_but(bucket(), names.map(|name| (name, bucket())).collect()));
    for i in 0..3 {
        case.observed.bucket_policies.insert(format!("there-{i}"), Ok(None));
    }
    let dr = serde_saphyr::from_str(&format!("accountId: '{OTHER}'")).unwrap();
    case.accounts.destinations.insert("dr".into(), Account { name: "dr".into(), spec: dr });
    case
}

pub(super) fn rules() -> impl Strategy<Value = Vec<(u8, bool, bool)>> {
    prop::collection::vec((0..3u8, any::<bool>(), prop::bool::weighted(0.3)), 1..4)
}

/// Executes a plan step by step and checks what is covered after each.
fn check_every_prefix(case: &mut Case, plan: &Plan) -> Result<(), TestCaseError> {
    let sid = case.desired().sid;
    for step in plan.steps() {
        execute(&mut case.observed, SOURCE, step);
        let covered = is_covered(&case.observed, &sid);
        prop_assert!(covered.is_ok(), "after {step}: {}\n{plan}", covered.unwrap_err());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn after_every_step_of_a_change_each_rule_in_aws_is_covered(
        (old, new) in (rules(), rules()),
        (old_role, new_role) in (0..2u8, 0..2u8),
        (old_tags, new_tags) in (any::<bool>(), any::<bool>()),
        by_others in (widened(), widened()),
        crash in 0..8usize,
    ) {
        let mut case = case_of(across(&old, old_role, old_tags));
        let first = case.plan();
        prop_assert_eq!(&first.refusals, &vec![]);
        check_every_prefix(&mut case, &first)?;
        case = case.applied();
        prop_assert_eq!(case.plan().stages, Vec::<Vec<Step>>::new());
        widen_all(&mut case, by_others);
        prop_assert_eq!(is_covered(&case.observed, &case.desired().sid), Ok(()));

        case.spec = across(&new, new_role, new_tags);
        observe_again(&mut case);
        // The operator is stopped after some step, and plans again.
        let begun = case.plan();
        prop_assert_eq!(&begun.refusals, &vec![]);
        let part = Plan { stages: vec![begun.steps().take(crash).cloned().collect()], ..begun };
        check_every_prefix(&mut case, &part)?;
        observe_again(&mut case);
        let rest = case.plan();
        prop_assert_eq!(&rest.refusals, &vec![]);
        check_every_prefix(&mut case, &rest)?;
        let again = case.plan();
        prop_assert_eq!(&again.differences, &vec![]);
    }

    /// Whichever steps fail, no step that may still run takes away what the configuration in AWS needs.
    #[test]
    fn a_failure_of_any_step_leaves_what_replicates_whole(
        (old, new) in (rules(), rules()),
        (old_role, new_role) in (0..2u8, 0..2u8),
        by_others in (widened(), widened()),
        fails in prop::collection::vec(prop::bool::weighted(0.3), 16),
    ) {
        let mut case = case_of(across(&old, old_role, true));
        for step in case.plan().steps() {
            execute(&mut case.observed, SOURCE, step);
        }
        case = case.applied();
        case.status.bucket_policies = (0..3u8).map(written_policy).collect();
        widen_all(&mut case, by_others);
        case.spec = across(&new, new_role, true);
        observe_again(&mut case);
        let plan = case.plan();
        let sid = case.desired().sid;
        let mut outcome = Outcome::default();
        let mut fails = fails.into_iter().cycle();
        for stage in &plan.stages {
            for step in outcome.admit(stage) {
                let failure = Failure::new(FailureClass::Denied, step.action(), step.subject(), "");
                let result = if fails.next().unwrap() { Err(failure) } else { Ok(()) };
                if result.is_ok() {
                    execute(&mut case.observed, SOURCE, &step);
                }
                outcome.record(step, result);
                let covered = is_covered(&case.observed, &sid);
                prop_assert!(covered.is_ok(), "{}\n{plan}\n{outcome:?}", covered.unwrap_err());
                prop_assert_eq!(names_of_deleted_roles(&case.observed, &sid), Vec::<String>::new(), "{}\n{:?}", plan, outcome);
            }
        }
        prop_assert_eq!(outcome.is_complete(), outcome.failed.is_empty());
    }

    /// Nobody sees then what the policies there grant, but that the configuration in AWS relies on them.
    #[test]
    fn while_an_account_cannot_be_reached_a_change_writes_nothing_there_and_leaves_what_replicates_whole(
        (old, new) in (rules(), rules()),
        (old_tags, new_tags, renames, region_is_known) in any::<(bool, bool, bool, bool)>(),
        class in prop::sample::select(&[FailureClass::Denied, FailureClass::WrongAccount, FailureClass::Throttled][..]),
    ) {
        prop_assume!(new.iter().any(|(_, there, _)| *there));
        let mut case = case_of(across(&old, 0, old_tags));
        for step in case.plan().steps() {
            execute(&mut case.observed, SOURCE, step);
        }
        case = case.applied();
        case.status.applied_role = case.observed.role.iter().flatten().next().map(|role| role.arn.clone());
        case.status.bucket_policies = (0..3u8).map(written_policy).collect();
        if region_is_known {
            case.status.destinations = (0..3u8).map(seen_there).collect();
        }
        case.spec = across(&new, u8::from(renames), new_tags);
        observe_again(&mut case);
        let sid = case.desired().sid;
        for _ in 0..2 {
            let plan = without_other_account(&case, class).plan();
            prop_assert!(plan.refusals.iter().any(|refusal| refusal.reason == class.reason()), "{}", plan);
            let mut outcome = Outcome::default();
            for stage in &plan.stages {
                for step in outcome.admit(stage) {
                    prop_assert_eq!(step.account_ref(), None, "{}", step);
                    prop_assert!(!matches!(step, Step::DeleteRole { .. }), "a policy there may name it");
                    execute(&mut case.observed, SOURCE, &step);
                    let covered = is_covered(&case.observed, &sid);
                    prop_assert!(covered.is_ok(), "after {step}: {}\n{plan}", covered.unwrap_err());
                    prop_assert_eq!(names_of_deleted_roles(&case.observed, &sid), Vec::<String>::new(), "{}", plan);
                    outcome.record(step, Ok(()));
                }
            }
        }
        let rest = case.plan();
        check_every_prefix(&mut case, &rest)?;
        prop_assert_eq!(&case.plan().differences, &vec![]);
    }

    /// The desired policy of the role depends on Regions that the operator does not read then.
    #[test]
    fn an_account_that_cannot_be_reached_makes_nothing_of_what_was_applied_differ(rules in rules()) {
        let mut case = case_of(across(&rules, 0, true));
        for step in case.plan().steps() {
            execute(&mut case.observed, SOURCE, step);
        }
        case = case.applied();
        case.status.destinations = (0..3u8).map(seen_there).collect();
        let unreached = without_other_account(&case, FailureClass::Denied);
        prop_assert_eq!(unreached.desired().hash(), case.desired().hash());
        let plan = unreached.plan();
        prop_assert_eq!((plan.differences, plan.stages), (vec![], vec![]));
    }
}

/// The entry in the status for a bucket in the other account.
fn seen_there(number: u8) -> BucketStatus {
    BucketStatus {
        bucket: format!("there-{number}"),
        region: Some("eu-west-1".into()),
        account: Some(OTHER.into()),
        account_ref: Some("dr".into()),
        versioning: None,
    }
}

/// A case as the planner sees it while the other account cannot be reached.
fn without_other_account(case: &Case, class: FailureClass) -> Case {
    let failure = Failure::new(class, "sts:AssumeRole", "operator", "no");
    let mut shown = case.clone();
    for (_, held) in shown.observed.bucket_policies.iter_mut().filter(|(name, _)| name.starts_with("there")) {
        *held = Err(failure.clone());
    }
    let read_set = ReadSet::of(&case.replication(), false);
    set_aside(&mut shown.observed, &read_set, [("dr".to_owned(), failure)].into());
    shown
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps().map(ToString::to_string).collect()
}

#[test]
fn a_change_that_takes_permissions_away_has_one_step_more_than_one_that_does_not() {
    let settled = |spec| {
        let mut case = case_of(spec);
        for step in case.plan().steps() {
            execute(&mut case.observed, SOURCE, step);
        }
        case.applied()
    };
    let mut adds = settled(across(&[(0, false, false)], 0, true));
    adds.spec = across(&[(0, false, false), (1, false, false)], 0, true);
    let mut replaces = settled(across(&[(0, false, false)], 0, true));
    replaces.spec = across(&[(1, false, false)], 0, true);
    assert_eq!(adds.plan().steps().count() + 1, replaces.plan().steps().count());
    assert_eq!(
        steps(&replaces.plan()),
        [
            "set the policy s3-replication of role role-0, keeping what the present configuration needs",
            "set the replication configuration of bucket source: r0 to here-1",
            "set the policy s3-replication of role role-0",
        ]
    );
}

/// The policy of the role grants, by a pattern, a part of what the present configuration uses, or all of it.
#[test]
fn what_the_role_has_by_wildcards_stays_until_the_configuration_is_replaced() {
    for (held, kept) in [
        ("arn:aws:s3:::here-*/*", "arn:aws:s3:::here-0/*"),
        ("*", "arn:aws:s3:::here-0/*"),
        ("arn:aws:s3:::here-0/logs/*", "arn:aws:s3:::here-0/logs/*"),
        ("arn:aws:s3:::*/2026/*", "arn:aws:s3:::*/2026/*"),
        ("arn:aws:s3:::${aws:PrincipalTag/bucket}/*", "arn:aws:s3:::${aws:PrincipalTag/bucket}/*"),
        ("arn:aws:s3:::here-0/${aws:PrincipalTag/team}/*", "arn:aws:s3:::here-0/${aws:PrincipalTag/team}/*"),
    ] {
        let mut case = case_of(across(&[(0, false, false)], 0, true));
        for step in case.plan().steps() {
            execute(&mut case.observed, SOURCE, step);
        }
        case = case.applied();
        let role = case.observed.role.as_mut().unwrap().as_mut().unwrap();
        for statement in role.policy.as_mut().unwrap().as_mut().unwrap()["Statement"].as_array_mut().unwrap()
        {
            if statement["Sid"] == "DestinationObjects" {
                statement["Action"] = json!("s3:Repl*");
                statement["Resource"] = json!(held);
            }
        }
        case.spec = across(&[(1, false, false)], 0, true);
        let plan = case.plan();
        let first = plan.steps().next().unwrap();
        execute(&mut case.observed, SOURCE, first);
        let policy = case.observed.role.clone().unwrap().unwrap().policy.unwrap().unwrap();
        let former = policy["Statement"].as_array().unwrap().iter().find(|statement| {
            statement["Sid"].as_str().is_some_and(|sid| sid.starts_with("FormerDestinationObjects"))
        });
        let former = former.unwrap_or_else(|| panic!("{held}: {plan}"));
        assert_eq!(former["Resource"], json!([kept]), "{held}");
        for action in ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"] {
            assert!(former["Action"].as_array().unwrap().contains(&json!(action)), "{held}: {former}");
        }
        assert!(!former.to_string().contains("PutObjectTagging"), "the role did not have it: {former}");
    }
}

#[test]
fn a_renamed_role_is_let_in_beside_the_former_one_until_the_configuration_names_it() {
    let mut case = case_of(across(&[(0, true, false)], 0, true));
    for step in case.plan().steps() {
        execute(&mut case.observed, SOURCE, step);
    }
    case = case.applied();
    case.spec = across(&[(0, true, false)], 1, true);
    observe_again(&mut case);
    assert_eq!(
        steps(&case.plan()),
        [
            "create role /s3-replication/role-1",
            "set the policy s3-replication of role role-1",
            "allow the role in the policy of bucket there-0, keeping what the present configuration needs",
            "set the replication configuration of bucket source: r0 to there-0",
            "delete the policy s3-replication of role role-0",
            "allow the role in the policy of bucket there-0",
            "delete role role-0",
        ]
    );
}

#[test]
fn permissions_that_someone_else_wrote_into_the_configuration_are_not_added() {
    let mut case = case_of(across(&[(0, false, false)], 0, true));
    for step in case.plan().steps() {
        execute(&mut case.observed, SOURCE, step);
    }
    case = case.applied();
    let held = case.observed.configuration.as_mut().unwrap().as_mut().unwrap();
    held.rules.get_mut("r0").unwrap().destination.bucket = "arn:aws:s3:::outside".into();
    assert_eq!(steps(&case.plan()), ["set the replication configuration of bucket source: r0 to here-0"]);
}

#[test]
fn a_union_that_iam_would_not_take_is_refused_before_anything_is_written() {
    let many = |letter: char| {
        let mut spec = quickstart();
        spec.rules = (0..110)
            .map(|i| {
                let mut rule = spec.rules[0].clone();
                (rule.id, rule.priority) = (format!("rule-{i}"), Some(i));
                rule.destination.bucket = format!("a-destination-bucket-with-a-long-name-{letter}-{i:04}");
                rule
            })
            .collect();
        spec
    };
    let mut case = converged(many('a'));
    case.spec = many('b');
    for rule in &case.spec.rules {
        let bucket = bucket_in("eu-west-1", VersioningStatus::Enabled);
        case.observed.destinations.insert(rule.destination.bucket.clone(), bucket);
    }
    let plan = case.plan();
    assert_eq!(plan.stages, Vec::<Vec<Step>>::new());
    let refusal = plan.refusal().unwrap();
    assert!(refusal.message.contains("while the configuration is replaced"), "{}", refusal.message);
}

#[test]
fn a_denied_tag_or_boundary_holds_back_nothing_that_restores_the_configuration() {
    let mut case = converged(quickstart());
    case.spec.role.as_mut().unwrap().tags.insert("team".into(), "data".into());
    case.spec.role.as_mut().unwrap().permissions_boundary =
        Some("arn:aws:iam::111122223333:policy/boundary".into());
    case.observed.configuration = Ok(None);
    let plan = case.plan();
    let mut outcome = Outcome::default();
    for stage in &plan.stages {
        for step in outcome.admit(stage) {
            let denied = matches!(step, Step::TagRole { .. } | Step::PutPermissionsBoundary { .. });
            let failure = Failure::new(FailureClass::Denied, step.action(), step.subject(), "");
            outcome.record(step, if denied { Err(failure) } else { Ok(()) });
        }
    }
    assert_eq!(outcome.failed.len(), 2);
    assert!(outcome.done.iter().any(|step| matches!(step, Step::PutReplication { .. })), "{outcome:?}");
    assert_eq!(outcome.skipped, vec![]);
}

#[test]
fn a_role_gets_no_permissions_before_its_boundary() {
    let mut case = converged(quickstart());
    case.spec.role.as_mut().unwrap().permissions_boundary =
        Some("arn:aws:iam::111122223333:policy/boundary".into());
    case.observed.role.as_mut().unwrap().as_mut().unwrap().policy = Ok(None);
    let plan = case.plan();
    let mut outcome = Outcome::default();
    let bound = outcome.admit(&plan.stages[0]).pop().unwrap();
    let failure = Failure::new(FailureClass::Denied, bound.action(), bound.subject(), "");
    outcome.record(bound, Err(failure));
    assert_eq!(outcome.admit(&plan.stages[1]), vec![]);
    assert_eq!(outcome.skipped, plan.stages[1]);
}
