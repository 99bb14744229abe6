//! AWS and the API server at the beginning of each scene.
//!
//! In: nothing. Out: both, as `scene.rs` names them for a scene. The beginnings of backfills are in `backfills.rs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{DEFAULT_CANARY_PREFIX, Switch};
use crate::replication::observed::VersioningStatus;
use crate::replication::{Configuration, Rule, RuleDestination, RuleFilter};
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::act::{HERE, THERE};
use crate::simulation::operator::CLUSTER;
use crate::simulation::world::{SimulatedRole, World};

const FOREIGN_ROLE: &str = "arn:aws:iam::111122223333:role/theirs";

pub(super) fn spec_of(bucket: &str) -> Value {
    json!({
        "source": {"bucket": bucket},
        "role": {"name": format!("{bucket}-role")},
        "rules": [{"id": "all", "destination": {"bucket": "copies"}}],
    })
}

pub(super) fn buckets() -> World {
    let mut world = World::new(HERE);
    world.trusting_accounts = vec![HERE.to_owned(), THERE.to_owned()];
    for (name, region) in [("orders", "us-east-1"), ("copies", "eu-west-1"), ("archive", "eu-west-1")] {
        world.create_bucket(name, region, HERE);
    }
    world
}

pub(super) fn data_namespace() -> ApiServer {
    let mut server = ApiServer::default();
    server.namespaces.insert("data".to_owned(), [("team".to_owned(), "a".to_owned())].into());
    server
}

pub(super) fn one_account() -> (World, ApiServer) {
    let mut server = data_namespace();
    server.create(&ObjectName::replication("data", "orders"), spec_of("orders"), 0);
    (buckets(), server)
}

/// A resource that is only observed, and whose bucket has no configuration.
pub(super) fn observed_first() -> (World, ApiServer) {
    let (world, mut server) = one_account();
    let resource = ObjectName::replication("data", "orders");
    server.edit(&resource, |object| object["spec"]["managementPolicy"] = json!("Observe"));
    (world, server)
}

pub(super) fn canary() -> (World, ApiServer) {
    let mut server = data_namespace();
    let mut account = default_account();
    account["allow"] = json!(["Canary"]);
    server.create(&ObjectName::account("default"), account, 0);
    let mut spec = spec_of("orders");
    // Longer than a trace lasts, so that a state that no check changes is at rest.
    spec["health"] = json!({"canary": {"interval": "24h"}});
    server.create(&ObjectName::replication("data", "orders"), spec, 0);
    (buckets(), server)
}

/// Canaries into two buckets, one of them in another account. In each folder of canaries there is an object of someone else.
pub(super) fn canary_abroad() -> (World, ApiServer) {
    let (mut world, mut server) = two_destinations();
    for name in ["default", "dr"] {
        server.edit(&ObjectName::account(name), |object| object["spec"]["allow"] = json!(["Canary"]));
    }
    let resource = ObjectName::replication("data", "orders");
    server.edit(&resource, |object| object["spec"]["health"] = json!({"canary": {"interval": "24h"}}));
    let uid = server.objects.get(&resource).and_then(|object| object["metadata"]["uid"].as_str());
    let theirs = format!("{DEFAULT_CANARY_PREFIX}{}/theirs", uid.unwrap_or_default());
    for bucket in world.buckets.values_mut() {
        bucket.objects.add(&theirs, BTreeMap::new(), None);
    }
    (world, server)
}

/// The same, where no version of the bucket in the other account can be deleted for a while.
pub(super) fn canary_retained() -> (World, ApiServer) {
    let (mut world, server) = canary_abroad();
    if let Some(bucket) = world.buckets.get_mut("replicas") {
        bucket.versioning = VersioningStatus::Enabled;
        bucket.object_lock = true;
        bucket.objects.default_retention = true;
    }
    (world, server)
}

/// The `AwsAccount` of a destination names the namespace, and asks for a label of it.
pub(super) fn labelled_destination() -> (World, ApiServer) {
    let (world, mut server) = two_destinations();
    let both = json!({"matchNames": ["data"], "matchLabels": {"team": "a"}});
    server.edit(&ObjectName::account("dr"), |object| object["spec"]["namespaces"] = both);
    (world, server)
}

/// A second `AwsAccount` of the account of a destination, which allows another namespace and other buckets.
pub(super) fn account_of_another_team() -> (World, ApiServer) {
    let (world, mut server) = two_destinations();
    let other = json!({"accountId": THERE, "namespaces": {"matchNames": ["shop"]}, "destinations": ["shop"],
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")}});
    server.create(&ObjectName::account("dr-of-shop"), other, 0);
    (world, server)
}

pub(super) fn foreign_tags() -> BTreeMap<String, String> {
    let tag = |key: &str, value: &str| (format!("s3replication.dev/{key}"), value.to_owned());
    [
        tag("cluster", "another-cluster"),
        tag("namespace", "data"),
        tag("name", "orders"),
        tag("uid", "uid-of-theirs"),
    ]
    .into()
}

pub(super) fn foreign_configuration() -> Configuration {
    let rule = Rule {
        status: Switch::Enabled,
        priority: Some(1),
        filter: RuleFilter::default(),
        delete_markers: Switch::Disabled,
        replica_modifications: Switch::Disabled,
        kms_encrypted_objects: Switch::Disabled,
        destination: RuleDestination {
            bucket: "arn:aws:s3:::archive".to_owned(),
            account: None,
            storage_class: None,
            ownership: None,
            kms_key: None,
            replication_time_control: Switch::Disabled,
            metrics: Switch::Disabled,
        },
    };
    Configuration { role: FOREIGN_ROLE.to_owned(), rules: [("theirs".to_owned(), rule)].into() }
}

pub(super) fn foreign() -> (World, ApiServer) {
    let (mut world, server) = one_account();
    let role = SimulatedRole {
        arn: format!("arn:aws:iam::{HERE}:role/s3-replication/orders-role"),
        name: "orders-role".to_owned(),
        path: "/s3-replication/".to_owned(),
        trust: crate::iam::document::trust_policy("s3.amazonaws.com").to_value(),
        permissions_boundary: None,
        tags: foreign_tags(),
        policy: Some(json!({"Version": "2012-10-17", "Statement": []})),
        other_policies: Vec::new(),
    };
    world.roles.insert((HERE.to_owned(), "orders-role".to_owned()), role);
    for name in ["orders", "archive"] {
        if let Some(bucket) = world.buckets.get_mut(name) {
            bucket.versioning = VersioningStatus::Enabled;
        }
    }
    if let Some(bucket) = world.buckets.get_mut("orders") {
        bucket.configuration = Some(foreign_configuration());
    }
    (world, server)
}

/// The ARN of a role that someone else made for replication, and that a spec may name.
pub(super) const GIVEN_ROLE: &str = "arn:aws:iam::111122223333:role/given";

/// A spec names a role that someone else made, with the permissions for two destinations.
pub(super) fn given_role() -> (World, ApiServer) {
    let (mut world, mut server) = one_account();
    let resource = ObjectName::replication("data", "orders");
    server.edit(&resource, |object| object["spec"]["role"] = json!({"arn": GIVEN_ROLE}));
    let allow = |actions: Value, on: Value| json!({"Effect": "Allow", "Action": actions, "Resource": on});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        allow(json!(["s3:GetReplicationConfiguration", "s3:ListBucket"]), json!("arn:aws:s3:::orders")),
        allow(json!(["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl",
            "s3:GetObjectVersionTagging"]), json!("arn:aws:s3:::orders/*")),
        allow(json!(["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags", "s3:PutObjectAcl",
            "s3:PutObjectTagging"]), json!(["arn:aws:s3:::copies/*", "arn:aws:s3:::archive/*"])),
    ]});
    let role = SimulatedRole {
        arn: GIVEN_ROLE.to_owned(),
        name: "given".to_owned(),
        path: "/".to_owned(),
        trust: crate::iam::document::trust_policy("s3.amazonaws.com").to_value(),
        permissions_boundary: None,
        tags: [("team".to_owned(), "storage".to_owned())].into(),
        policy: Some(policy),
        other_policies: Vec::new(),
    };
    world.roles.insert((HERE.to_owned(), "given".to_owned()), role);
    (world, server)
}

/// The same, under an `AwsAccount`.
pub(super) fn given_role_in_account() -> (World, ApiServer) {
    let (world, mut server) = given_role();
    server.create(&ObjectName::account("default"), default_account(), 0);
    (world, server)
}

/// A role that someone else made, and the bucket has the configuration that the spec asks for.
pub(super) fn found() -> (World, ApiServer) {
    let (mut world, server) = given_role();
    configure(&mut world, GIVEN_ROLE);
    (world, server)
}

/// The bucket has the rules that the spec asks for, with a role of someone else.
pub(super) fn equal_rules() -> (World, ApiServer) {
    let (mut world, server) = one_account();
    configure(&mut world, FOREIGN_ROLE);
    (world, server)
}

/// Puts the rule of [`spec_of`] on bucket orders.
fn configure(world: &mut World, role: &str) {
    for name in ["orders", "copies"] {
        if let Some(bucket) = world.buckets.get_mut(name) {
            bucket.versioning = VersioningStatus::Enabled;
        }
    }
    let Configuration { rules, .. } = foreign_configuration();
    let mut rules = rules.into_values();
    if let (Some(bucket), Some(mut rule)) = (world.buckets.get_mut("orders"), rules.next()) {
        rule.destination.bucket = "arn:aws:s3:::copies".to_owned();
        let rules = [("all".to_owned(), rule)].into();
        bucket.configuration = Some(Configuration { role: role.to_owned(), rules });
    }
}

pub(super) fn their_statement(sid: &str) -> Value {
    json!({"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject",
        "Resource": "arn:aws:s3:::replicas/*"})
}

/// With an Id, and with the version that a policy without `Version` has
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>).
pub(super) fn first_policy() -> Value {
    json!({"Version": "2008-10-17", "Id": "theirs", "Statement": [their_statement("First")]})
}

/// Buckets, and one of another account, with an `AwsAccount` for each account.
fn with_replicas() -> (World, ApiServer) {
    let mut world = buckets();
    world.create_bucket("replicas", "eu-west-1", THERE);
    if let Some(bucket) = world.buckets.get_mut("replicas") {
        bucket.policy = Some(first_policy());
    }
    let mut server = data_namespace();
    let here = json!({"accountId": HERE, "namespaces": {"matchNames": ["data"]},
        "sources": ["*"], "destinations": ["*"]});
    let there = json!({"accountId": THERE, "namespaces": {"matchNames": ["data"]}, "destinations": ["replicas"],
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")}});
    server.create(&ObjectName::account("default"), here, 0);
    server.create(&ObjectName::account("dr"), there, 0);
    (world, server)
}

/// The policy of the bucket in the other account has one statement, without a list
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_statement.html>).
pub(super) fn two_destinations() -> (World, ApiServer) {
    let (mut world, mut server) = with_replicas();
    if let Some(policy) = world.buckets.get_mut("replicas").and_then(|bucket| bucket.policy.as_mut()) {
        policy["Statement"] = their_statement("First");
    }
    let mut spec = spec_of("orders");
    spec["rules"] = json!([
        {"id": "abroad", "priority": 2, "destination": {"bucket": "replicas", "accountRef": "dr"}},
        {"id": "all", "priority": 1, "destination": {"bucket": "copies"}},
    ]);
    server.create(&ObjectName::replication("data", "orders"), spec, 0);
    (world, server)
}

/// The ARNs of the keys that encrypt the replicas of the scene with every field.
pub(super) const KEY: &str = "arn:aws:kms:eu-west-1:444455556666:key/replicas";
const OTHER_KEY: &str = "arn:aws:kms:eu-west-1:444455556666:key/other-replicas";

/// A spec that names every field of a rule and of a role.
pub(super) fn every_field() -> (World, ApiServer) {
    let (mut world, mut server) = with_replicas();
    world.keys.extend([KEY, OTHER_KEY].map(|key| (key.to_owned(), "Enabled".to_owned())));
    let mut spec = spec_of("orders");
    spec["role"]["path"] = json!("/teams/");
    spec["role"]["permissionsBoundary"] = json!(format!("arn:aws:iam::{HERE}:policy/boundary"));
    spec["role"]["tags"] = json!({"cost-center": "7"});
    spec["replicate"] = json!({"acls": false});
    spec["rules"] = json!([
        {"id": "abroad", "status": "Enabled", "priority": 2,
            "filter": {"prefix": "in/", "tags": {"kind": "invoice"}},
            "replicaModifications": "Enabled", "kmsEncryptedObjects": "Enabled",
            "destination": {"bucket": "replicas", "accountRef": "dr", "ownership": "Destination",
                "storageClass": "STANDARD_IA", "kmsKeyArn": KEY, "replicationTimeControl": "Enabled"}},
        {"id": "abroad-too", "priority": 3, "filter": {"prefix": "archived/"}, "kmsEncryptedObjects": "Enabled",
            "destination": {"bucket": "replicas", "accountRef": "dr", "kmsKeyArn": OTHER_KEY}},
        {"id": "all", "priority": 1, "deleteMarkers": "Enabled",
            "destination": {"bucket": "copies", "metrics": "Enabled"}},
    ]);
    server.create(&ObjectName::replication("data", "orders"), spec, 0);
    (world, server)
}

pub(super) fn shared() -> (World, ApiServer) {
    let (mut world, mut server) = with_replicas();
    world.create_bucket("invoices", "us-east-1", HERE);
    for name in ["orders", "invoices"] {
        let mut spec = spec_of(name);
        spec["rules"][0]["destination"] = json!({"bucket": "replicas", "accountRef": "dr"});
        server.create(&ObjectName::replication("data", name), spec, 0);
    }
    (world, server)
}

pub(super) fn default_account() -> Value {
    json!({"accountId": HERE, "namespaces": {"matchLabels": {"team": "a"}},
        "sources": ["orders"], "destinations": ["copies", "archive"]})
}

pub(super) fn accounts() -> (World, ApiServer) {
    let (world, mut server) = one_account();
    server.create(&ObjectName::account("default"), default_account(), 0);
    let other = json!({"accountId": THERE, "namespaces": {"matchLabels": {"team": "a"}}, "sources": ["*"],
        "destinations": ["*"], "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")}});
    server.create(&ObjectName::account("other"), other, 0);
    (world, server)
}

pub(super) fn rivals() -> (World, ApiServer) {
    rivals_created_at(0, 1)
}

/// Kubernetes counts in whole seconds.
pub(super) fn rivals_of_one_second() -> (World, ApiServer) {
    rivals_created_at(0, 0)
}

/// Two resources for one source, by the seconds of their creation.
fn rivals_created_at(elder_second: i64, second: i64) -> (World, ApiServer) {
    let mut server = data_namespace();
    let allowing = |sources: Value| {
        json!({"accountId": HERE, "namespaces": {"matchNames": ["data"]}, "sources": sources,
            "destinations": ["*"]})
    };
    server.create(&ObjectName::account("default"), allowing(json!(["orders"])), 0);
    server.create(&ObjectName::account("other"), allowing(json!(["invoices"])), 0);
    let mut elder = spec_of("orders");
    elder["source"]["accountRef"] = json!("other");
    elder["role"] = json!({"name": "elder-role"});
    server.create(&ObjectName::replication("data", "elder"), elder, elder_second);
    server.create(&ObjectName::replication("data", "orders"), spec_of("orders"), second);
    (buckets(), server)
}

/// The tag that names the cluster of a resource, and the one that names its UID.
pub(super) fn owner_tags(uid: &str) -> [(String, String); 2] {
    let tag = |key: &str, value: &str| (format!("s3replication.dev/{key}"), value.to_owned());
    [tag("cluster", CLUSTER), tag("uid", uid)]
}
