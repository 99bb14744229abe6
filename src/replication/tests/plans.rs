//! Plans as text, for the cases a person thinks of.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde_json::json;

use crate::api::{
    AdoptionPolicy, BucketReplicationSpec, Filter, ManagementPolicy, Reason, RoleStatus, Switch,
    VersioningPolicy,
};
use crate::replication::tests::model::{bucket_in, execute};
use crate::replication::tests::{Case, nothing_but, quickstart, spec};
use crate::replication::{
    Configuration, Failure, FailureClass, ObservedKey, ObservedRole, Outcome, Plan, Step, VersioningStatus,
};

/// Two fresh buckets and nothing else.
pub(super) fn empty(spec: BucketReplicationSpec) -> Case {
    let destinations: BTreeMap<_, _> = spec
        .rules
        .iter()
        .map(|r| (r.destination.bucket.clone(), bucket_in("eu-west-1", VersioningStatus::Disabled)))
        .collect();
    let source = bucket_in("us-east-1", VersioningStatus::Disabled);
    Case::new(spec, nothing_but(source, destinations))
}

/// AWS as the plan leaves it.
pub(super) fn converged(spec: BucketReplicationSpec) -> Case {
    let mut case = empty(spec);
    for step in case.plan().steps() {
        execute(&mut case.observed, &case.spec.source.bucket, step);
    }
    case.applied()
}

pub(super) fn foreign_role(name: &str) -> ObservedRole {
    ObservedRole {
        arn: format!("arn:aws:iam::111122223333:role/s3-replication/{name}"),
        name: name.into(),
        path: "/s3-replication/".into(),
        trust: json!({}),
        permissions_boundary: None,
        tags: BTreeMap::new(),
        policy: Ok(None),
        other_policies: vec![],
    }
}

#[test]
fn from_nothing_versioning_and_role_come_first_and_the_configuration_last() {
    let plan = empty(quickstart()).plan();
    assert_eq!(plan.stages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 1]);
    assert!(!plan.drift, "a new spec is a pending change");
    assert_snapshot!(plan);
}

#[test]
fn a_converged_state_leaves_nothing_to_do() {
    let plan = converged(quickstart()).plan();
    assert_eq!((plan.differences, plan.stages, plan.refusals), (vec![], vec![], vec![]));
}

#[test]
fn a_change_by_others_is_drift_and_is_corrected() {
    let mut case = converged(quickstart());
    case.observed
        .destinations
        .values_mut()
        .for_each(|b| *b = bucket_in("eu-west-1", VersioningStatus::Suspended));
    let configuration = case.observed.configuration.as_mut().unwrap().as_mut().unwrap();
    configuration.rules.get_mut("ReplicateToEU").unwrap().destination.storage_class = Some("GLACIER".into());
    let plan = case.plan();
    assert!(plan.drift);
    assert_snapshot!(plan);
}

#[test]
fn a_configuration_with_another_role_is_drift_with_our_rules_and_someone_elses_with_others() {
    let mut case = converged(quickstart());
    case.status.applied_role = Some(case.desired().role.arn(&case.observed.caller));
    let configuration = case.observed.configuration.as_mut().unwrap().as_mut().unwrap();
    configuration.role = "arn:aws:iam::111122223333:role/elsewhere".into();
    let plan = case.plan();
    assert_eq!(plan.refusals, vec![]);
    assert!(plan.drift && plan.steps().count() == 1, "{plan}");
    // A status from an old backup must not take over what someone else set up since.
    let configuration = case.observed.configuration.as_mut().unwrap().as_mut().unwrap();
    configuration.rules.get_mut("ReplicateToEU").unwrap().filter.prefix = "theirs/".into();
    assert_eq!(case.plan().refusal().unwrap().reason, Reason::ForeignConfiguration);
}

#[test]
fn tags_of_others_are_left_alone_and_tags_that_the_spec_no_longer_names_are_removed() {
    let mut case = converged(quickstart());
    fn tags(case: &mut Case) -> &mut BTreeMap<String, String> {
        &mut case.observed.role.as_mut().unwrap().as_mut().unwrap().tags
    }
    tags(&mut case).insert("cost-center".into(), "42".into());
    assert_eq!(case.plan().differences, vec![]);

    tags(&mut case).insert("Team".into(), "data".into());
    case.status.role = Some(RoleStatus { tags: vec!["team".into()], ..RoleStatus::default() });
    let plan = case.plan();
    let steps: Vec<String> = plan.steps().map(ToString::to_string).collect();
    assert_eq!(steps, ["remove from role s3-replication-role the tags team"]);

    case.spec.role.as_mut().unwrap().tags.insert("TEAM".into(), "data".into());
    assert_eq!(case.plan().differences, vec![], "IAM does not distinguish keys by case");
}

#[test]
fn tags_that_iam_takes_for_one_are_refused() {
    for keys in [["team", "Team"], ["S3Replication.dev/uid", "x"]] {
        let mut case = empty(quickstart());
        case.spec.role.as_mut().unwrap().tags =
            keys.iter().map(|key| ((*key).to_owned(), String::new())).collect();
        let plan = case.plan();
        let refusal = plan.refusal().unwrap();
        assert_eq!(refusal.reason, Reason::InvalidRequest);
        assert!(refusal.message.contains(keys[0]), "{}", refusal.message);
    }
}

/// The message with which a spec is refused before the first write.
fn refused(edit: impl FnOnce(&mut BucketReplicationSpec)) -> Option<String> {
    let mut asked = quickstart();
    edit(&mut asked);
    let plan = empty(asked).plan();
    let refusal = plan.refusal()?;
    assert_eq!((refusal.reason, plan.steps().count()), (Reason::InvalidRequest, 0));
    Some(refusal.message.clone())
}

#[test]
fn a_filter_that_is_too_long_for_s3_is_refused_with_its_rule() {
    let prefix = |prefix: String| {
        refused(|asked| asked.rules[0].filter = Some(Filter { prefix: Some(prefix), ..Filter::default() }))
    };
    for fits in ["a*b ?/&<\">'".to_owned(), "é".repeat(512), "a".repeat(1024)] {
        assert_eq!(prefix(fits), None);
    }
    let message = prefix("é".repeat(513)).unwrap();
    assert!(message.starts_with("rules[ReplicateToEU].filter.prefix has 1026 bytes"), "{message}");
    let tag = |key: String, value: String| {
        refused(|asked| {
            asked.rules[0].filter = Some(Filter { tags: [(key, value)].into(), ..Filter::default() })
        })
    };
    assert_eq!(tag("k".repeat(128), "é".repeat(256)), None);
    for (key, value) in [("😀".repeat(65), String::new()), ("k".to_owned(), "😀".repeat(129))] {
        let message = tag(key, value).unwrap();
        assert!(message.starts_with("rules[ReplicateToEU].filter.tags"), "{message}");
    }
}

#[test]
fn a_tag_that_iam_does_not_take_is_refused_by_its_key() {
    let tag = |key: &str, value: &str| {
        refused(|asked| {
            asked.role.as_mut().unwrap().tags = [(key.to_owned(), value.to_owned())].into();
        })
    };
    for (key, value) in [("équipe", "données 1/2"), ("a_.:/=+-@", ""), ("awsome", "x y")] {
        assert_eq!(tag(key, value), None, "{key}");
    }
    for (key, value) in [("team", "a&b"), ("team", "a\tb"), ("té(am)", ""), ("😀", ""), ("AWS:team", "x")]
    {
        let message = tag(key, value).unwrap();
        assert!(message.starts_with("role.tags: the ") && message.contains(key), "{message}");
    }
}

#[test]
fn an_arn_of_another_partition_or_account_is_refused_by_its_field() {
    let boundary =
        |arn: &str| refused(|asked| asked.role.as_mut().unwrap().permissions_boundary = Some(arn.to_owned()));
    assert_eq!(boundary("arn:aws:iam::111122223333:policy/b"), None);
    assert_eq!(boundary("arn:aws:iam::aws:policy/ReadOnlyAccess"), None);
    for arn in ["arn:aws-cn:iam::111122223333:policy/b", "arn:aws:iam::044455556666:policy/b"] {
        let message = boundary(arn).unwrap();
        assert!(message.starts_with("role.permissionsBoundary: ") && message.contains(arn), "{message}");
    }
    let message = refused(|asked| {
        asked.source.kms_key_arns = vec!["arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/k".into()];
    })
    .unwrap();
    assert!(
        message.starts_with("source.kmsKeyArns: ") && message.contains("begin with arn:aws:;"),
        "{message}"
    );
    let key = "arn:aws-cn:kms:eu-west-1:111122223333:key/k";
    let message = refused(|asked| {
        asked.rules[0].kms_encrypted_objects = Some(Switch::Enabled);
        asked.rules[0].destination.kms_key_arn = Some(key.into());
    })
    .unwrap();
    assert!(
        message.starts_with("rules[ReplicateToEU].destination.kmsKeyArn: ")
            && message.contains("begin with arn:aws:;"),
        "{message}"
    );
}

/// This holds for every role of that name, and also where the operator only observes.
#[test]
fn an_existing_role_of_another_partition_is_not_called_missing() {
    for policy in [ManagementPolicy::Enforce, ManagementPolicy::Observe] {
        let mut case = converged(quickstart());
        let arn = "arn:aws-eusc:iam::111122223333:role/s3-replication-role".to_owned();
        case.spec.role = Some(crate::api::Role { arn: Some(arn.clone()), ..Default::default() });
        case.spec.management_policy = policy;
        let plan = case.plan();
        let messages: Vec<&str> = plan.refusals.iter().map(|refusal| refusal.message.as_str()).collect();
        let [message] = messages.as_slice() else { panic!("{messages:?}") };
        assert!(message.starts_with(&format!("role.arn: {arn} is in another partition")), "{message}");
    }
}

#[test]
fn a_boundary_that_an_account_imposes_is_named_by_the_field_of_the_account() {
    let mut case = converged(quickstart());
    let boundary = "arn:aws-iso:iam::111122223333:policy/b";
    let yaml = format!("{{accountId: '111122223333', roles: {{permissionsBoundary: '{boundary}'}}}}");
    let account =
        crate::replication::Account { name: "prod".into(), spec: serde_saphyr::from_str(&yaml).unwrap() };
    case.accounts.source = Some(account);
    let plan = case.plan();
    let named = format!("roles.permissionsBoundary of AwsAccount prod: {boundary} is in another partition");
    let messages: Vec<&str> = plan.refusals.iter().map(|refusal| refusal.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.starts_with(&named)), "{messages:?}");
}

#[test]
fn keys_of_another_region_than_their_bucket_are_refused_before_a_write() {
    let key = |region: &str, name: &str| format!("arn:aws:kms:{region}:111122223333:key/{name}");
    let of_source = |keys: &[String]| refused(|asked| asked.source.kms_key_arns = keys.to_vec());
    assert_eq!(of_source(&[key("us-east-1", "a"), key("us-east-1", "b")]), None);
    let message = of_source(&[key("us-east-1", "a"), key("eu-west-1", "b")]).unwrap();
    let expected = format!("source.kmsKeyArns: key {} is not in us-east-1", key("eu-west-1", "b"));
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.contains("name keys of us-east-1"), "{message}");
    let message = of_source(&[key("eu-west-1", "a"), key("eu-west-2", "b")]).unwrap();
    assert!(
        message.contains(&key("eu-west-1", "a")) && message.contains(&key("eu-west-2", "b")),
        "{message}"
    );

    let of_replicas = |region: &str| {
        refused(|asked| {
            asked.rules[0].kms_encrypted_objects = Some(Switch::Enabled);
            asked.rules[0].destination.kms_key_arn = Some(key(region, "k"));
        })
    };
    assert_eq!(of_replicas("eu-west-1"), None);
    let message = of_replicas("us-east-1").unwrap();
    assert!(message.starts_with("rules[ReplicateToEU].destination.kmsKeyArn: key"), "{message}");
    assert!(message.contains("not in eu-west-1"), "{message}");
}

#[test]
fn a_key_that_is_not_symmetric_is_refused_with_its_rule() {
    let arn = "arn:aws:kms:eu-west-1:111122223333:key/k";
    let mut asked = quickstart();
    asked.rules[0].kms_encrypted_objects = Some(Switch::Enabled);
    asked.rules[0].destination.kms_key_arn = Some(arn.to_owned());
    let refusal = |spec: Option<&str>| {
        let unusable_spec = spec.map(str::to_owned);
        let key = ObservedKey { state: "Enabled".to_owned(), aws_managed: false, unusable_spec };
        let mut case = empty(asked.clone());
        case.observed.keys.insert(arn.to_owned(), Ok(Some(key)));
        case.plan().refusal().map(|refusal| refusal.message.clone())
    };
    assert_eq!(refusal(None), None);
    for spec in ["RSA_2048", "HMAC_256"] {
        let message = refusal(Some(spec)).unwrap();
        assert!(message.starts_with("rules[ReplicateToEU].destination.kmsKeyArn"), "{message}");
        assert!(message.contains(spec), "{message}");
    }
}

#[test]
fn rules_that_name_two_owners_of_one_bucket_are_refused() {
    let owners = |first: &str, second: &str| {
        refused(|asked| {
            asked.rules[0].destination.account = Some(first.to_owned());
            let mut rule = asked.rules[0].clone();
            (rule.id, rule.priority) = ("Second".to_owned(), Some(2));
            rule.destination.account = Some(second.to_owned());
            asked.rules.push(rule);
        })
    };
    assert_eq!(owners("044455556666", "044455556666"), None);
    let message = owners("044455556666", "111122223333").unwrap();
    assert!(message.starts_with("rules[Second].destination: bucket dest-bucket-eu-west-1"), "{message}");
    assert!(message.contains("044455556666 in rules[ReplicateToEU]"), "{message}");
}

#[test]
fn every_tag_that_iam_takes_for_another_is_named() {
    let mut case = empty(quickstart());
    let keys = ["team", "Team", "TEAM", "cost", "Cost", "S3Replication.dev/uid", "S3replication.dev/name"];
    case.spec.role.as_mut().unwrap().tags =
        keys.iter().map(|key| ((*key).to_owned(), String::new())).collect();
    let message = case.plan().refusal().unwrap().message.clone();
    for key in keys {
        assert!(message.contains(key), "{key} is not in: {message}");
    }
}

#[test]
fn a_value_that_iam_or_s3_would_refuse_is_refused_with_its_field() {
    let plan = |prefix: &str, tags: &[(&str, &str)]| {
        let mut case = empty(quickstart());
        case.spec.rules[0].filter =
            Some(crate::api::Filter { prefix: Some(prefix.into()), ..Default::default() });
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        case.spec.role.as_mut().unwrap().tags = tags.collect();
        case.plan().refusals.iter().map(|refusal| refusal.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(plan(&"é".repeat(512), &[("Größe", "ｅｘ 1_.:/=+-@"), ("部門", "")]), [""; 0]);
    let messages = plan(&"é".repeat(513), &[("team", "a&b"), ("owner!", ""), ("fine", "x")]);
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert!(messages[0].contains("filter.prefix has 1026 bytes"), "{messages:#?}");
    for part in ["the tag \"team\" holds the character '&'", "the tag \"owner!\" holds the character '!'"] {
        assert!(messages[1].contains(part), "{messages:#?}");
    }
}

#[test]
fn a_role_is_not_the_one_that_is_named_when_its_path_is_another() {
    let wanted = "arn:aws:iam::111122223333:role/b/theirs";
    let mut case = empty(spec(&format!(
        "{{source: {{bucket: s}}, role: {{arn: '{wanted}'}}, rules: [{{id: r, destination: {{bucket: d}}}}]}}"
    )));
    let trust = crate::iam::document::trust_policy("s3.amazonaws.com").to_value();
    let held = ObservedRole { arn: wanted.replace("/b/", "/a/"), trust, ..foreign_role("theirs") };
    case.observed.role = Ok(Some(held.clone()));
    let plan = case.plan();
    let refusal = plan.refusal().unwrap();
    assert_eq!(refusal.reason, Reason::RoleNotFound);
    assert!(refusal.message.contains("role/a/theirs"), "{}", refusal.message);
    case.observed.role = Ok(Some(ObservedRole { arn: wanted.into(), ..held }));
    assert_eq!(case.plan().refusals, vec![]);
}

#[test]
fn every_bucket_concerned_is_named_and_every_refusal_is_listed() {
    let mut two = quickstart();
    let mut second = two.rules[0].clone();
    (second.id, second.priority) = ("Second".into(), Some(2));
    second.destination.bucket = "second".into();
    two.rules.push(second);
    two.source.versioning = VersioningPolicy::Required;
    let mut case = empty(two);
    case.observed.destinations.values_mut().for_each(|held| held.region = Ok(None));
    let plan = case.plan();
    let reasons: Vec<Reason> = plan.refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::DestinationBucketNotFound, Reason::VersioningNotEnabled]);
    let message = &plan.refusals[0].message;
    assert!(message.contains("dest-bucket-eu-west-1, second do not exist"), "{message}");

    let failure =
        |bucket: &str| Failure::new(FailureClass::Throttled, "s3:GetBucketVersioning", bucket, "slow");
    for (name, held) in &mut case.observed.destinations {
        (held.region, held.versioning) = (Ok(Some("eu-west-1".into())), Err(failure(name)));
    }
    let plan = case.plan();
    let message = &plan.refusal().unwrap().message;
    assert!(message.contains("on dest-bucket-eu-west-1 ") && message.contains("on second "), "{message}");
}

#[test]
fn elements_that_are_not_known_cause_no_write_and_are_named_before_a_write_removes_them() {
    let mut case = converged(quickstart());
    case.observed.unknown_elements = ["Rule[ReplicateToEU]/Destination/Tier".to_owned()].into();
    assert_eq!(case.plan(), Plan { drift: true, ..Plan::default() });
    case.spec.rules[0].destination.storage_class = None;
    let plan = case.plan();
    assert_eq!(plan.removed_elements, ["Rule[ReplicateToEU]/Destination/Tier"]);
    assert!(plan.to_string().contains("note: the replication configuration loses"), "{plan}");
}

#[test]
fn a_changed_spec_is_pending_and_not_drift() {
    let mut case = converged(quickstart());
    case.spec.rules[0].destination.storage_class = None;
    let plan = case.plan();
    assert!(!plan.drift);
    assert_snapshot!(plan);
}

#[test]
fn a_renamed_role_is_made_first_and_the_former_one_deleted_last() {
    let mut case = converged(quickstart());
    let former = case.observed.role.clone().unwrap().unwrap();
    case.spec.role.as_mut().unwrap().name = Some("another".into());
    case.observed.role = Ok(None);
    case.observed.former_roles = [(former.name.clone(), Ok(Some(former)))].into();
    assert_snapshot!(case.plan());
}

#[test]
fn a_role_or_configuration_of_someone_else_is_refused_unless_adopted() {
    let mut case = empty(quickstart());
    case.observed.role = Ok(Some(foreign_role("s3-replication-role")));
    assert_eq!(case.plan().refusal().cloned().unwrap().reason, Reason::ForeignRole);
    assert!(case.clone().adoption(AdoptionPolicy::Adopt).plan().refusals.is_empty());

    let mut case = converged(quickstart());
    case.status.applied_hash = None;
    let held = case.observed.configuration.clone().unwrap().unwrap();
    case.observed.configuration =
        Ok(Some(Configuration { role: "arn:aws:iam::111122223333:role/other".into(), ..held }));
    let refusal = case.plan().refusal().cloned().unwrap();
    assert_eq!(refusal.reason, Reason::ForeignConfiguration);
    assert_snapshot!(refusal.message);
    assert!(case.clone().adoption(AdoptionPolicy::Adopt).plan().refusals.is_empty());
    assert!(
        case.management(ManagementPolicy::Observe).plan().refusals.is_empty(),
        "observing takes nothing over"
    );
}

#[test]
fn a_missing_destination_stops_every_write() {
    let mut two = quickstart();
    let mut second = two.rules[0].clone();
    (second.id, second.priority) = ("Second".into(), Some(2));
    second.destination.bucket = "second".into();
    two.rules.push(second);
    let mut case = empty(two);
    case.observed.destinations.get_mut("second").unwrap().region = Ok(None);
    let plan = case.plan();
    assert_eq!(plan.stages, Vec::<Vec<_>>::new());
    assert_eq!(plan.refusal().unwrap().reason, Reason::DestinationBucketNotFound);
}

#[test]
fn a_denied_read_of_versioning_stops_nothing() {
    let mut case = empty(quickstart());
    let denied = Failure {
        class: FailureClass::Denied,
        action: "s3:GetBucketVersioning".into(),
        subject: "dest-bucket-eu-west-1".into(),
        code: "AccessDenied".into(),
        detail: "Access Denied".into(),
    };
    case.observed.destinations.get_mut("dest-bucket-eu-west-1").unwrap().versioning = Err(denied);
    let plan = case.plan();
    assert!(plan.refusals.is_empty());
    assert_eq!(plan.steps().count(), 4, "all but the destination's versioning");
}

#[test]
fn a_policy_that_iam_would_not_take_is_refused_with_its_size() {
    let mut many = quickstart();
    many.rules = (0..150)
        .map(|i| {
            let mut rule = many.rules[0].clone();
            (rule.id, rule.priority) = (format!("rule-{i}"), Some(i));
            rule.destination.bucket = format!("a-destination-bucket-with-a-rather-long-name-{i:04}");
            rule
        })
        .collect();
    let refusal = empty(many).plan().refusal().cloned().unwrap();
    assert_eq!(refusal.reason, Reason::PolicyTooLarge);
    assert!(refusal.message.contains("10240"), "{}", refusal.message);
}

#[test]
fn a_filter_that_a_request_to_s3_cannot_hold_is_refused_before_the_role_is_made() {
    let mut spec = quickstart();
    for (prefix, tag, written) in [("a\u{1}", "v", "U+0001"), ("a\t\r\n", "\u{ffff}", "U+FFFF")] {
        let tags = BTreeMap::from([("key".to_owned(), tag.to_owned())]);
        spec.rules[0].filter = Some(Filter { prefix: Some(prefix.to_owned()), tags });
        let plan = empty(spec.clone()).plan();
        let refusal = plan.refusal().expect("a refusal");
        assert_eq!((refusal.reason, plan.stages.len()), (Reason::InvalidRequest, 0));
        assert!(refusal.message.starts_with("rules[ReplicateToEU].filter"), "{}", refusal.message);
        assert!(refusal.message.contains(written), "{}", refusal.message);
    }
}

#[test]
fn the_role_of_the_quickstart_may_do_what_aws_asks_for_and_no_more() {
    let case = empty(quickstart());
    let crate::replication::DesiredRole::Managed(role) = case.desired().role else { panic!("managed") };
    assert_snapshot!(serde_json::to_string_pretty(&role.permissions).unwrap());
}

#[test]
fn kms_permissions_go_through_s3_and_name_both_buckets() {
    let encrypted = spec(
        r#"
source: {bucket: source, kmsKeyArns: ["arn:aws:kms:us-east-1:111122223333:key/s"]}
replicate: {tags: false, acls: false}
rules:
  - id: r
    kmsEncryptedObjects: Enabled
    destination:
      bucket: destination
      account: "444455556666"
      ownership: Destination
      kmsKeyArn: arn:aws:kms:eu-west-1:444455556666:key/d
"#,
    );
    let crate::replication::DesiredRole::Managed(role) = empty(encrypted).desired().role else {
        panic!("managed")
    };
    assert_snapshot!(serde_json::to_string_pretty(&role.permissions).unwrap());
}

#[test]
fn contested_fields_are_left_and_the_rest_is_corrected() {
    let mut case = converged(quickstart());
    case.observed
        .destinations
        .values_mut()
        .for_each(|b| *b = bucket_in("eu-west-1", VersioningStatus::Suspended));
    let configuration = case.observed.configuration.as_mut().unwrap().as_mut().unwrap();
    configuration.rules.get_mut("ReplicateToEU").unwrap().destination.storage_class = Some("GLACIER".into());
    let plan = case.plan();
    let contested: Vec<_> =
        plan.differences.iter().filter(|d| d.path.contains("storageClass")).cloned().collect();
    let steps: Vec<_> = plan.without(&contested).concat().iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["enable versioning of bucket dest-bucket-eu-west-1 in eu-west-1"]);
}

#[test]
fn a_tag_that_is_held_back_or_denied_keeps_neither_the_owners_name_nor_the_configuration_back() {
    let mut case = converged(quickstart());
    case.spec.role.as_mut().unwrap().tags.insert("team".into(), "data".into());
    let role = case.observed.role.as_mut().unwrap().as_mut().unwrap();
    role.tags.remove("s3replication.dev/namespace");
    role.tags.remove("s3replication.dev/name");
    role.policy = Ok(None);
    case.observed.configuration = Ok(None);
    let plan = case.plan();
    let contested: Vec<_> = plan.differences.iter().filter(|d| d.path == "tags.team").cloned().collect();
    assert_eq!(contested.len(), 1, "{plan}");
    let steps: Vec<_> = plan.without(&contested).concat();
    assert!(
        steps.iter().any(|step| matches!(step, Step::TagRole { tags, .. } if !tags.contains_key("team")))
    );
    assert!(steps.iter().any(|step| matches!(step, Step::PutReplication { .. })), "{steps:#?}");

    let mut outcome = Outcome::default();
    for stage in &plan.stages {
        for step in outcome.admit(stage) {
            let denied = matches!(&step, Step::TagRole { tags, .. } if tags.contains_key("team"));
            let failure = Failure::new(FailureClass::Denied, step.action(), step.subject(), "");
            outcome.record(step, if denied { Err(failure) } else { Ok(()) });
        }
    }
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(outcome.skipped, vec![], "{outcome:?}");
}

#[test]
fn long_values_are_shown_from_where_they_part() {
    let mut case = converged(quickstart());
    let long = |end: &str| format!("{}{end}", "a".repeat(600));
    case.spec.rules[0].filter.as_mut().unwrap().prefix = Some(long("wanted"));
    let configuration = case.observed.configuration.as_mut().unwrap().as_mut().unwrap();
    configuration.rules.get_mut("ReplicateToEU").unwrap().filter.prefix = long("held");
    let plan = case.plan();
    assert_eq!((plan.differences[0].want.as_str(), plan.differences[0].got.as_str()), ("…wanted", "…held"));
}
