//! The parts that deletion removes, and those that it leaves.

use serde_json::json;

use crate::api::{
    AdoptionPolicy, AnnouncedConfiguration, BucketReplicationStatus, ConfigurationOrigin, Reason,
};
use crate::iam::bucket_policy;
use crate::replication::plan::teardown::{ObservedForDeletion, OwnershipFacts, Teardown, failed, teardown};
use crate::replication::resource_id::adopted_tag;
use crate::replication::step::ROLE_POLICY_NAME;
use crate::replication::tests::plans::{converged, foreign_role};
use crate::replication::tests::{caller, id, quickstart};
use crate::replication::{BucketAddress, Configuration, Failure, FailureClass, ObservedRole, Step};

const SOURCE: &str = "source-bucket-us-east-1";
const SID: &str = "S3Replication0123456789abcdef";
const THEIRS: &str = "arn:aws:iam::111122223333:role/theirs";

fn configuration() -> Configuration {
    converged(quickstart()).observed.configuration.unwrap().unwrap()
}

fn own_role() -> ObservedRole {
    ObservedRole { tags: id().tags(), ..foreign_role("s3-replication-role") }
}

fn observed(configuration: Configuration, roles: Vec<ObservedRole>) -> ObservedForDeletion {
    ObservedForDeletion {
        caller: caller(),
        bucket: SOURCE.into(),
        region: Some("us-east-1".into()),
        configuration: Ok(Some(configuration)),
        roles: roles.into_iter().map(|role| (role.name.clone(), Ok(Some(role)))).collect(),
        bucket_policies: Vec::new(),
    }
}

/// The status of a resource that applied a configuration with this role.
fn applied(role: &str, origin: Option<ConfigurationOrigin>) -> BucketReplicationStatus {
    BucketReplicationStatus {
        applied_hash: Some("hash".into()),
        applied_role: Some(role.into()),
        configuration: origin,
        ..BucketReplicationStatus::default()
    }
}

fn planned(
    observed: &ObservedForDeletion,
    status: &BucketReplicationStatus,
    adoption: AdoptionPolicy,
    disputed: bool,
) -> Teardown {
    let ownership =
        OwnershipFacts { id: &id(), sid: SID, status, adoption, disputed, named_elsewhere: false };
    teardown(observed, &ownership)
}

fn steps(teardown: &Teardown) -> Vec<String> {
    teardown.stages.iter().flatten().map(ToString::to_string).collect()
}

const REFUSE: AdoptionPolicy = AdoptionPolicy::Refuse;
const REMOVED: &str = "remove the replication configuration of bucket source-bucket-us-east-1";

#[test]
fn a_created_configuration_is_removed_and_the_role_after_it() {
    let ours = observed(configuration(), vec![own_role()]);
    let status = applied(&own_role().arn, Some(ConfigurationOrigin::Created));
    let plan = planned(&ours, &status, REFUSE, false);
    assert_eq!(steps(&plan), [REMOVED, "delete role s3-replication-role"]);
    assert_eq!(plan.blocked, None);
}

#[test]
fn nothing_is_removed_while_the_configuration_cannot_be_read() {
    let ours = observed(configuration(), vec![own_role()]);
    let status = applied(&own_role().arn, Some(ConfigurationOrigin::Created));
    for class in [FailureClass::Denied, FailureClass::Throttled, FailureClass::Unavailable] {
        let failure = Failure::new(class, "s3:GetReplicationConfiguration", SOURCE, "no answer");
        let plan = planned(
            &ObservedForDeletion { configuration: Err(failure), ..ours.clone() },
            &status,
            REFUSE,
            false,
        );
        assert_eq!(steps(&plan), Vec::<String>::new());
        assert!(plan.blocked.unwrap().message.contains("s3:GetReplicationConfiguration"));
    }
}

#[test]
fn every_role_that_cannot_be_read_is_named_and_keeps_no_other_from_going() {
    let mut ours = observed(configuration(), vec![own_role()]);
    for (name, class) in [("former", FailureClass::Denied), ("older", FailureClass::Throttled)] {
        ours.roles.insert(name.into(), Err(Failure::new(class, "iam:GetRole", name, "no")));
    }
    let held = ObservedRole { other_policies: vec!["theirs".into()], ..own_role() };
    let plan = planned(&ours, &applied(&own_role().arn, None), REFUSE, false);
    assert_eq!(steps(&plan), [REMOVED, "delete role s3-replication-role"]);
    ours.roles.insert("held".into(), Ok(Some(ObservedRole { name: "held".into(), ..held })));
    let message = planned(&ours, &applied(&own_role().arn, None), REFUSE, false).blocked.unwrap().message;
    for part in ["iam:GetRole on former", "iam:GetRole on older", "held: theirs"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn a_role_that_a_policy_in_an_account_that_cannot_be_reached_may_name_stays() {
    let role = ObservedRole { policy: Ok(Some(json!({}))), ..own_role() };
    let ours = observed(configuration(), vec![role]);
    let status = applied(&own_role().arn, Some(ConfigurationOrigin::Created));
    let ownership = OwnershipFacts {
        id: &id(),
        sid: SID,
        status: &status,
        adoption: REFUSE,
        disputed: false,
        named_elsewhere: true,
    };
    let delete_policy = format!("delete the policy {ROLE_POLICY_NAME} of role s3-replication-role");
    assert_eq!(steps(&teardown(&ours, &ownership)), [REMOVED, &delete_policy]);
}

#[test]
fn a_configuration_that_someone_put_in_place_of_the_operators_stays() {
    let theirs = Configuration { role: THEIRS.into(), ..configuration() };
    let status = applied(&own_role().arn, Some(ConfigurationOrigin::Created));
    let plan = planned(&observed(theirs, vec![own_role()]), &status, REFUSE, false);
    assert_eq!(steps(&plan), ["delete role s3-replication-role"]);
}

#[test]
fn an_announced_configuration_is_removed_without_its_role_and_nothing_that_only_resembles_it() {
    let announced = |configuration: &Configuration, bucket: &str, origin| BucketReplicationStatus {
        announced_configuration: Some(AnnouncedConfiguration {
            replaces: None,
            digest: configuration.digest(bucket),
            origin,
        }),
        ..BucketReplicationStatus::default()
    };
    let removes = |held: &Configuration, status: &BucketReplicationStatus, disputed| {
        !steps(&planned(&observed(held.clone(), vec![]), status, REFUSE, disputed)).is_empty()
    };
    let ours = configuration();
    let status = announced(&ours, SOURCE, ConfigurationOrigin::Created);
    assert!(removes(&ours, &status, false));
    assert!(!removes(&ours, &status, true), "another resource may own the source");
    assert!(!removes(&ours, &announced(&ours, "another", ConfigurationOrigin::Created), false));
    assert!(!removes(&ours, &announced(&ours, SOURCE, ConfigurationOrigin::Adopted), false));
    let mut others = vec![Configuration { role: THEIRS.into(), ..ours.clone() }];
    let mut other = ours.clone();
    other.rules.values_mut().for_each(|rule| rule.filter.prefix = "other/".into());
    others.push(other);
    for other in others {
        assert!(!removes(&other, &status, false));
    }
    let nothing = ObservedForDeletion { configuration: Ok(None), ..observed(ours, vec![]) };
    assert_eq!(steps(&planned(&nothing, &status, REFUSE, false)), Vec::<String>::new());
}

#[test]
fn a_configuration_that_was_found_stays_with_its_role_and_an_adopted_one_needs_the_word() {
    let with_theirs = || observed(Configuration { role: THEIRS.into(), ..configuration() }, vec![]);
    let found = applied(THEIRS, Some(ConfigurationOrigin::Found));
    assert_eq!(steps(&planned(&with_theirs(), &found, AdoptionPolicy::Adopt, false)), Vec::<String>::new());

    let adopted = applied(THEIRS, Some(ConfigurationOrigin::Adopted));
    assert_eq!(steps(&planned(&with_theirs(), &adopted, REFUSE, false)), Vec::<String>::new());
    assert_eq!(steps(&planned(&with_theirs(), &adopted, AdoptionPolicy::Adopt, false)), [REMOVED]);

    // A configuration that stays keeps the role that it replicates with.
    let adopted = applied(&own_role().arn, Some(ConfigurationOrigin::Adopted));
    let ours = observed(configuration(), vec![own_role()]);
    assert_eq!(steps(&planned(&ours, &adopted, REFUSE, false)), Vec::<String>::new());
}

#[test]
fn a_configuration_that_stays_keeps_its_statements_in_the_policy_of_its_destination() {
    let arn = own_role().arn;
    let statements = bucket_policy::statements(
        SID,
        std::slice::from_ref(&arn),
        "arn:aws:s3:::dest-bucket-eu-west-1",
        false,
    );
    let address = |name: &str| BucketAddress {
        name: name.into(),
        region: "eu-west-1".into(),
        account_id: "444455556666".into(),
        account_ref: Some("dr".into()),
    };
    let policy = Ok(bucket_policy::merged(None, SID, &statements));
    let mut ours = observed(configuration(), vec![own_role()]);
    ours.bucket_policies =
        vec![(address("dest-bucket-eu-west-1"), policy.clone()), (address("former"), policy)];
    let adopted = applied(&arn, Some(ConfigurationOrigin::Adopted));
    let plan = planned(&ours, &adopted, REFUSE, false);
    assert_eq!(steps(&plan), ["remove the statements of this replication from the policy of bucket former"]);
}

#[test]
fn a_status_alone_proves_nothing_where_the_source_is_disputed() {
    let theirs = || observed(Configuration { role: THEIRS.into(), ..configuration() }, vec![]);
    let status = applied(THEIRS, None);
    assert_eq!(steps(&planned(&theirs(), &status, REFUSE, true)), Vec::<String>::new());
    assert_eq!(steps(&planned(&theirs(), &status, REFUSE, false)), [REMOVED]);
    // The tags of a role are a proof that whoever writes the status cannot forge.
    let ours = observed(configuration(), vec![own_role()]);
    let plan = planned(&ours, &BucketReplicationStatus::default(), REFUSE, true);
    assert_eq!(steps(&plan)[0], REMOVED);
}

#[test]
fn a_role_of_another_cluster_stays() {
    let elsewhere = crate::replication::ResourceId { cluster: Some("other".into()), ..id() };
    let role = ObservedRole { tags: elsewhere.tags(), ..own_role() };
    let plan = planned(&observed(configuration(), vec![role]), &applied("", None), REFUSE, false);
    assert_eq!(steps(&plan), Vec::<String>::new());
}

#[test]
fn deleted_principals_that_keep_a_policy_from_being_written_are_named() {
    let bucket = BucketAddress {
        name: "dr".into(),
        region: "eu-west-1".into(),
        account_id: "444455556666".into(),
        account_ref: Some("dr".into()),
    };
    let policy = json!({"Statement": {"Sid": "Auditors", "Principal": {"AWS": "AIDAZQ3EXAMPLE7USER21"}}});
    let mut ours = observed(configuration(), vec![]);
    ours.bucket_policies = vec![(bucket.clone(), Ok(Some(policy)))];
    let step = Step::PutBucketPolicy { bucket, sid: SID.into(), statements: Vec::new(), expands: false };
    let failure = Failure {
        code: "MalformedPolicy".into(),
        ..Failure::new(FailureClass::Invalid, "s3:PutBucketPolicy", "dr", "Invalid principal in policy")
    };
    let message = failed(&step, &failure, &ours).message;
    assert!(message.starts_with("cannot delete: "), "{message}");
    assert!(message.contains("bucket dr") && message.contains("AIDAZQ3EXAMPLE7USER21"), "{message}");
}

#[test]
fn a_role_whose_policy_iam_still_shows_blames_nobody_for_what_is_attached() {
    let ours = observed(configuration(), vec![own_role()]);
    let step = Step::DeleteRole { role: "s3-replication-role".into() };
    let refusal = |detail: &str| {
        let failure = Failure {
            code: "DeleteConflict".into(),
            ..Failure::new(FailureClass::DeleteConflict, "iam:DeleteRole", "s3-replication-role", detail)
        };
        failed(&step, &failure, &ours)
    };
    let own = refusal("Cannot delete entity, must delete policies first.");
    assert_eq!(own.reason, Reason::Progressing);
    assert!(
        own.message.contains("s3-replication-role") && !own.message.contains("detach"),
        "{}",
        own.message
    );
    let profile = refusal("Cannot delete entity, must remove roles from instance profile first.");
    assert_eq!(profile.reason, Reason::DeletionBlocked);
}

/// A role that someone else made and that the resource took over.
fn adopted_role() -> ObservedRole {
    let mut role = own_role();
    role.tags.extend([adopted_tag()]);
    role
}

#[test]
fn an_adopted_role_is_deleted_only_while_the_resource_may_adopt() {
    let role = ObservedRole { policy: Ok(Some(json!({}))), ..adopted_role() };
    let status = applied(&role.arn, Some(ConfigurationOrigin::Created));
    let adopted = observed(configuration(), vec![role]);
    let plan = planned(&adopted, &status, AdoptionPolicy::Adopt, false);
    let delete_policy = format!("delete the policy {ROLE_POLICY_NAME} of role s3-replication-role");
    assert_eq!(steps(&plan), [REMOVED, &delete_policy, "delete role s3-replication-role"]);

    let plan = planned(&adopted, &status, REFUSE, false);
    let Some(Step::UntagRole { role, keys }) = plan.stages.iter().flatten().next_back() else {
        panic!("{:?}", steps(&plan));
    };
    assert_eq!((role.as_str(), keys.len()), ("s3-replication-role", 5), "{keys:?}");
    assert_eq!(steps(&plan)[..2], [REMOVED, &delete_policy]);
    assert_eq!(plan.blocked, None);
}

#[test]
fn an_adopted_role_with_policies_of_its_creator_is_given_back_and_blocks_nothing() {
    let role = ObservedRole { other_policies: vec!["theirs".into()], ..adopted_role() };
    let status = applied(&role.arn, Some(ConfigurationOrigin::Created));
    let plan = planned(&observed(configuration(), vec![role]), &status, REFUSE, false);
    assert!(matches!(plan.stages.iter().flatten().next_back(), Some(Step::UntagRole { .. })));
    assert_eq!(plan.blocked, None);
}
