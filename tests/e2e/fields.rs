//! Every field of the spec, written through the API server and read back from S3 and IAM: set, changed, removed.
//! And the other way round: what S3 may hold that says the same in other words.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aws_sdk_s3::types as s3;
use kube::api::{DeleteParams, Patch, PatchParams};
use rig::operator::Operator;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{check_now, left_in_aws, reason, replication, set, world};

const KMS_SOURCE: &str = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555";
const KMS_REPLICAS: &str = "arn:aws:kms:eu-west-1:111122223333:key/66666666-7777-8888-9999-000000000000";
const SOURCE_REGION: &str = "us-east-1";
const DESTINATION_REGION: &str = "eu-west-1";

/// A world with one resource, `orders`, that is Ready.
struct Orders {
    world: World,
    _operator: Operator,
    source: String,
    destination: String,
}

impl Orders {
    async fn new(name: &str) -> Result<Orders> {
        Orders::with(name, |_, _| {}).await
    }

    /// With what the edit makes of the usual manifest.
    async fn with(name: &str, edit: impl FnOnce(&World, &mut Value)) -> Result<Orders> {
        let (world, operator) = world(name).await?;
        let source = world.bucket(SOURCE_REGION).await?;
        let destination = world.bucket(DESTINATION_REGION).await?;
        let mut manifest = replication("orders", &source, &destination);
        edit(&world, &mut manifest);
        world.apply(&manifest.to_string()).await?;
        world.wait_ready("orders").await?;
        Ok(Orders { world, _operator: operator, source, destination })
    }

    /// Edits the spec as `kubectl edit` does, without waiting for what comes of it.
    async fn edit(&self, edits: &[(&str, Value)]) -> Result<()> {
        let mut spec = json!({"spec": self.world.get("orders").await?["spec"]});
        for (path, value) in edits {
            set(&mut spec, &format!("spec.{path}"), value.clone());
        }
        let patch = json!([{"op": "replace", "path": "/spec", "value": spec["spec"]}]);
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch)?);
        self.world.api().patch("orders", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Edits the spec and waits until the resource, as it is then, is Ready.
    async fn change(&self, edits: &[(&str, Value)]) -> Result<Value> {
        self.edit(edits).await?;
        self.world.wait_ready("orders").await
    }

    async fn configuration(&self) -> Result<s3::ReplicationConfiguration> {
        let held = self.world.s3(SOURCE_REGION).get_bucket_replication().bucket(&self.source).send().await?;
        held.replication_configuration.context("S3 answers without a configuration")
    }

    /// The rules that S3 holds, by id, in the words of S3's API.
    async fn rules(&self) -> Result<BTreeMap<String, Value>> {
        let held = self.configuration().await?;
        Ok(held
            .rules()
            .iter()
            .map(|rule| (rule.id().unwrap_or_default().to_owned(), rule_as_data(rule)))
            .collect())
    }

    /// The only rule.
    async fn rule(&self) -> Result<Value> {
        let rules = self.rules().await?;
        assert_eq!(rules.len(), 1, "{rules:?}");
        rules.into_values().next().context("no rule")
    }

    async fn role(&self, name: &str) -> Result<aws_sdk_iam::types::Role> {
        let held = self.world.iam().get_role().role_name(name).send().await?;
        held.role.context("IAM answers without a role")
    }

    async fn role_tags(&self) -> Result<BTreeMap<String, String>> {
        let role = self.role("orders-role").await?;
        let own = |key: &str| key.starts_with("s3replication.dev/");
        let tags = role.tags().iter().filter(|tag| !own(tag.key()));
        Ok(tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
    }

    /// The role's policy, as data.
    async fn policy(&self) -> Result<Value> {
        let iam = self.world.iam();
        let names = iam.list_role_policies().role_name("orders-role").send().await?;
        let [name] = names.policy_names() else { anyhow::bail!("policies: {:?}", names.policy_names()) };
        let held = iam.get_role_policy().role_name("orders-role").policy_name(name).send().await?;
        document(held.policy_document())
    }

    async fn grants(&self) -> Result<BTreeSet<(String, String)>> {
        Ok(flat(&self.policy().await?))
    }

    /// The names of the operator's roles in this account.
    async fn roles(&self) -> Result<Vec<String>> {
        let held = self.world.iam().list_roles().send().await?;
        let ours = held.roles().iter().filter(|role| !role.path().starts_with("/aws-service-role/"));
        Ok(ours.map(|role| role.role_name().to_owned()).collect())
    }

    async fn versioning(&self, region: &str, bucket: &str) -> Result<Option<s3::BucketVersioningStatus>> {
        Ok(self.world.s3(region).get_bucket_versioning().bucket(bucket).send().await?.status)
    }
}

/// IAM gives documents percent-encoded.
fn document(encoded: &str) -> Result<Value> {
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8()?;
    Ok(serde_json::from_str(&text)?)
}

/// A string, or the strings of a list.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// A policy by its meaning: which action on which resource.
fn flat(policy: &Value) -> BTreeSet<(String, String)> {
    let mut grants = BTreeSet::new();
    for statement in policy["Statement"].as_array().into_iter().flatten() {
        assert_eq!(statement["Effect"], "Allow");
        for action in strings(&statement["Action"]) {
            grants.extend(
                strings(&statement["Resource"]).into_iter().map(|resource| (action.clone(), resource)),
            );
        }
    }
    grants
}

/// The grants in a list of actions and the one resource of each.
fn granted(list: &[(&str, &[&str])]) -> BTreeSet<(String, String)> {
    let pairs =
        list.iter().flat_map(|(resource, actions)| actions.iter().map(move |action| (*action, *resource)));
    pairs.map(|(action, resource)| (action.to_owned(), resource.to_owned())).collect()
}

/// A rule as S3 holds it, in the words of its API.
fn rule_as_data(rule: &s3::ReplicationRule) -> Value {
    let tag = |t: &s3::Tag| json!({t.key(): t.value()});
    let filter = rule.filter().map(|filter| match (filter.prefix(), filter.tag(), filter.and()) {
        (Some(prefix), None, None) => json!({"Prefix": prefix}),
        (None, Some(one), None) => json!({"Tag": tag(one)}),
        (None, None, Some(and)) => json!({"And": {
            "Prefix": and.prefix(),
            "Tags": and.tags().iter().map(|t| (t.key().to_owned(), json!(t.value()))).collect::<BTreeMap<_, _>>(),
        }}),
        (None, None, None) => json!({}),
        other => panic!("S3 allows one kind of filter: {other:?}"),
    });
    let criteria = rule.source_selection_criteria();
    let mut data = json!({
        "Status": rule.status().as_str(),
        "Priority": rule.priority(),
        "Filter": filter,
        "DeleteMarkerReplication": rule.delete_marker_replication().and_then(|m| m.status()).map(|s| s.as_str()),
        "ReplicaModifications": criteria.and_then(|c| c.replica_modifications()).map(|m| m.status().as_str()),
        "SseKmsEncryptedObjects": criteria.and_then(|c| c.sse_kms_encrypted_objects()).map(|k| k.status().as_str()),
    });
    if let Some(to) = rule.destination() {
        let time = to.replication_time();
        let metrics = to.metrics();
        data["Destination"] = json!({
            "Bucket": to.bucket(),
            "Account": to.account(),
            "StorageClass": to.storage_class().map(|c| c.as_str()),
            "Owner": to.access_control_translation().map(|t| t.owner().as_str()),
            "ReplicaKmsKeyID": to.encryption_configuration().and_then(|e| e.replica_kms_key_id()),
            "ReplicationTime": time.map(|t| json!([t.status().as_str(), t.time().and_then(|v| v.minutes())])),
            "Metrics": metrics.map(|m| json!([m.status().as_str(), m.event_threshold().and_then(|v| v.minutes())])),
        });
    }
    data
}

#[tokio::test]
async fn the_founding_example_grants_each_action_only_where_it_is_needed() -> Result<()> {
    let orders = Orders::new("founding-policy").await?;
    let bucket = format!("arn:aws:s3:::{}", orders.source);
    let objects = format!("arn:aws:s3:::{}/*", orders.source);
    let replicas = format!("arn:aws:s3:::{}/*", orders.destination);
    // The founding document's seven are those of AWS's first samples, some of which AWS no longer asks for.
    let expected = granted(&[
        (&bucket, &["s3:GetReplicationConfiguration", "s3:ListBucket"]),
        (
            &objects,
            &["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"],
        ),
        (
            &replicas,
            &[
                "s3:ReplicateObject",
                "s3:ReplicateDelete",
                "s3:ReplicateTags",
                "s3:PutObjectAcl",
                "s3:PutObjectTagging",
            ],
        ),
    ]);
    assert_eq!(orders.grants().await?, expected);

    let role = orders.role("orders-role").await?;
    let trust = document(role.assume_role_policy_document().unwrap())?;
    let [statement] = trust["Statement"].as_array().unwrap().as_slice() else { panic!("{trust}") };
    assert_eq!(statement["Effect"], "Allow");
    assert_eq!(statement["Principal"], json!({"Service": "s3.amazonaws.com"}));
    assert_eq!(strings(&statement["Action"]), ["sts:AssumeRole"]);
    assert_eq!(orders.configuration().await?.role(), role.arn());
    Ok(())
}

/// What is set in the spec (path and value), what of S3 is looked at, and what it must then be.
type Edit<'a> = (Vec<(&'a str, Value)>, &'a str, Value);

#[tokio::test]
async fn every_field_of_a_rule_reaches_s3_changes_and_goes() -> Result<()> {
    let orders = Orders::new("rule-fields").await?;
    let usual = orders.rule().await?;
    let class = |class| vec![("rules.0.destination.storageClass", json!(class))];
    let filter = |filter: Value| vec![("rules.0.filter", filter)];
    let metrics = "rules.0.destination.metrics";
    let rtc = "rules.0.destination.replicationTimeControl";
    let other_key = KMS_REPLICAS.replace("6666-7777", "aaaa-bbbb");
    let encrypted = |objects: Value, key: Value| {
        vec![("rules.0.kmsEncryptedObjects", objects), ("rules.0.destination.kmsKeyArn", key)]
    };
    // What is set in the spec, what S3 then shows, and what goes back to what it was with the last line of each.
    let mut table: Vec<Edit> = vec![
        (vec![("rules.0.status", json!("Disabled"))], "Status", json!("Disabled")),
        (vec![("rules.0.status", json!("Enabled"))], "Status", json!("Enabled")),
        (vec![("rules.0.status", json!(null))], "Status", json!("Enabled")),
        (vec![("rules.0.priority", json!(2_147_483_647))], "Priority", json!(2_147_483_647)),
        (vec![("rules.0.priority", json!(0))], "Priority", json!(0)),
        (vec![("rules.0.priority", json!(null))], "Priority", json!(0)),
        (vec![("rules.0.priority", json!(1))], "Priority", json!(1)),
        (filter(json!({"prefix": "logs/"})), "Filter", json!({"Prefix": "logs/"})),
        (filter(json!({"prefix": "a b/ü&<"})), "Filter", json!({"Prefix": "a b/ü&<"})),
        (filter(json!({"tags": {"k": "v"}})), "Filter", json!({"Tag": {"k": "v"}})),
        (filter(json!({"tags": {"k": ""}})), "Filter", json!({"Tag": {"k": ""}})),
        (
            filter(json!({"prefix": "logs/", "tags": {"k": "v"}})),
            "Filter",
            json!({"And": {"Prefix": "logs/", "Tags": {"k": "v"}}}),
        ),
        (
            filter(json!({"tags": {"k": "v", "l": "w"}})),
            "Filter",
            json!({"And": {"Prefix": null, "Tags": {"k": "v", "l": "w"}}}),
        ),
        (filter(json!({"tags": {}})), "Filter", json!({"Prefix": ""})),
        (filter(json!(null)), "Filter", json!({"Prefix": ""})),
        (vec![("rules.0.deleteMarkers", json!("Enabled"))], "DeleteMarkerReplication", json!("Enabled")),
        (vec![("rules.0.deleteMarkers", json!("Disabled"))], "DeleteMarkerReplication", json!("Disabled")),
        (vec![("rules.0.deleteMarkers", json!(null))], "DeleteMarkerReplication", json!("Disabled")),
        (vec![("rules.0.replicaModifications", json!("Enabled"))], "ReplicaModifications", json!("Enabled")),
        (vec![("rules.0.replicaModifications", json!("Disabled"))], "ReplicaModifications", json!(null)),
        (vec![("rules.0.replicaModifications", json!(null))], "ReplicaModifications", json!(null)),
        (encrypted(json!("Enabled"), json!(KMS_REPLICAS)), "SseKmsEncryptedObjects", json!("Enabled")),
        (vec![], "Destination/ReplicaKmsKeyID", json!(KMS_REPLICAS)),
        (encrypted(json!("Enabled"), json!(other_key)), "Destination/ReplicaKmsKeyID", json!(other_key)),
        (encrypted(json!("Disabled"), json!(null)), "SseKmsEncryptedObjects", json!(null)),
        (encrypted(json!(null), json!(null)), "Destination/ReplicaKmsKeyID", json!(null)),
        (vec![(metrics, json!("Enabled"))], "Destination/Metrics", json!(["Enabled", null])),
        (vec![], "Destination/ReplicationTime", json!(null)),
        (
            vec![(metrics, json!(null)), (rtc, json!("Enabled"))],
            "Destination/ReplicationTime",
            json!(["Enabled", 15]),
        ),
        (vec![], "Destination/Metrics", json!(["Enabled", 15])),
        (vec![(rtc, json!("Disabled"))], "Destination/ReplicationTime", json!(null)),
        (vec![(rtc, json!(null))], "Destination/Metrics", json!(null)),
    ];
    for name in [
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    ] {
        table.push((class(json!(name)), "Destination/StorageClass", json!(name)));
    }
    table.push((class(json!(null)), "Destination/StorageClass", json!(null)));
    table.push((class(json!("STANDARD")), "Destination/StorageClass", json!("STANDARD")));

    for (edits, field, shown) in &table {
        orders.change(edits).await.with_context(|| format!("{edits:?}"))?;
        let rule = orders.rule().await?;
        assert_eq!(rule.pointer(&format!("/{field}")), Some(shown), "{edits:?}");
    }
    assert_eq!(orders.rule().await?, usual, "what was set and taken back leaves nothing behind");
    Ok(())
}

#[tokio::test]
async fn several_rules_and_destinations_come_and_go() -> Result<()> {
    let orders = Orders::new("several").await?;
    let second = orders.world.bucket("ap-southeast-2").await?;
    let rule = |id: &str, priority: i32, bucket: &str| json!({"id": id, "priority": priority, "filter": {"prefix": id}, "destination": {"bucket": bucket}});
    let all = json!([
        rule("a", 10, &orders.destination),
        rule("b", 20, &second),
        rule("c", 30, &orders.destination),
    ]);
    let object = orders.change(&[("rules", all)]).await?;
    let held = orders.rules().await?;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(held["b"]["Destination"]["Bucket"], format!("arn:aws:s3:::{second}"));
    assert_eq!(held["c"]["Priority"], 30);
    assert_eq!(
        orders.versioning("ap-southeast-2", &second).await?,
        Some(s3::BucketVersioningStatus::Enabled)
    );
    assert_eq!(object["status"]["rules"], 3);
    assert_eq!(object["status"]["destinations"].as_array().map(Vec::len), Some(2));
    let replicas = |grants: &BTreeSet<(String, String)>| -> BTreeSet<String> {
        grants.iter().filter(|(a, _)| a == "s3:ReplicateObject").map(|(_, r)| r.clone()).collect()
    };
    let both = [&orders.destination, &second].map(|b| format!("arn:aws:s3:::{b}/*"));
    assert_eq!(replicas(&orders.grants().await?), BTreeSet::from(both));

    let object = orders.change(&[("rules", json!([rule("b", 5, &second)]))]).await?;
    let held = orders.rules().await?;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(object["status"]["rules"], 1);
    assert_eq!(replicas(&orders.grants().await?), BTreeSet::from([format!("arn:aws:s3:::{second}/*")]));

    let object = orders.change(&[("rules.0.destination.bucket", json!(orders.destination))]).await?;
    assert_eq!(orders.rule().await?["Destination"]["Bucket"], format!("arn:aws:s3:::{}", orders.destination));
    assert_eq!(object["status"]["destinations"][0]["bucket"], orders.destination);
    Ok(())
}

#[tokio::test]
async fn a_bucket_of_another_account_is_named_with_its_owner_and_may_own_the_replicas() -> Result<()> {
    let orders = Orders::new("accounts").await?;
    let other = orders.world.another_account();
    let theirs = orders.world.bucket_of(&other, DESTINATION_REGION).await?;
    let enabled = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Enabled).build();
    let their_s3 = orders.world.as_account(&other).s3(DESTINATION_REGION);
    their_s3.put_bucket_versioning().bucket(&theirs).versioning_configuration(enabled).send().await?;
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{}:root", orders.world.account)},
        "Action": ["s3:ListBucket", "s3:GetBucketVersioning"],
        "Resource": format!("arn:aws:s3:::{theirs}"),
    }]});
    their_s3.put_bucket_policy().bucket(&theirs).policy(policy.to_string()).send().await?;

    let destination = json!({"bucket": theirs, "account": other, "versioning": "Required"});
    orders.change(&[("rules.0.destination", destination)]).await?;
    let held = &orders.rule().await?["Destination"];
    assert_eq!((&held["Account"], &held["Owner"]), (&json!(other), &json!(null)));

    let object = orders.change(&[("rules.0.destination.ownership", json!("Destination"))]).await?;
    let held = &orders.rule().await?["Destination"];
    assert_eq!((&held["Account"], &held["Owner"]), (&json!(other), &json!("Destination")));
    assert_eq!(object["status"]["destinations"][0]["account"], other.as_str());
    let owner = ("s3:ObjectOwnerOverrideToBucketOwner".to_owned(), format!("arn:aws:s3:::{theirs}/*"));
    assert!(orders.grants().await?.contains(&owner));

    orders.change(&[("rules.0.destination.ownership", json!(null))]).await?;
    assert_eq!(orders.rule().await?["Destination"]["Owner"], json!(null));
    assert!(!orders.grants().await?.contains(&owner));

    orders.change(&[("rules.0.destination", json!({"bucket": orders.destination}))]).await?;
    assert_eq!(orders.rule().await?["Destination"]["Account"], json!(null));
    Ok(())
}

#[tokio::test]
async fn each_switch_of_replicate_takes_its_actions_away_and_gives_them_back() -> Result<()> {
    let orders = Orders::new("replicate").await?;
    let usual = orders.grants().await?;
    let objects = format!("arn:aws:s3:::{}/*", orders.source);
    let replicas = format!("arn:aws:s3:::{}/*", orders.destination);
    let tags = granted(&[
        (&objects, &["s3:GetObjectVersionTagging"]),
        (&replicas, &["s3:ReplicateTags", "s3:PutObjectTagging"]),
    ]);
    let acls = granted(&[(&objects, &["s3:GetObjectVersionAcl"]), (&replicas, &["s3:PutObjectAcl"])]);
    let gone = |now: &BTreeSet<(String, String)>| usual.difference(now).cloned().collect::<BTreeSet<_>>();

    orders.change(&[("replicate", json!({"tags": false}))]).await?;
    assert_eq!(gone(&orders.grants().await?), tags);
    orders.change(&[("replicate", json!({"tags": true, "acls": false}))]).await?;
    assert_eq!(gone(&orders.grants().await?), acls);
    orders.change(&[("replicate", json!({"tags": false, "acls": false}))]).await?;
    assert_eq!(gone(&orders.grants().await?), tags.union(&acls).cloned().collect());
    orders.change(&[("replicate", json!(null))]).await?;
    assert_eq!(orders.grants().await?, usual);
    Ok(())
}

#[tokio::test]
async fn keys_are_granted_through_s3_and_for_these_buckets_only() -> Result<()> {
    let orders = Orders::with("keys", |_, manifest| {
        set(manifest, "spec.rules.0.kmsEncryptedObjects", json!("Enabled"));
        set(manifest, "spec.rules.0.destination.kmsKeyArn", json!(KMS_REPLICAS));
    })
    .await?;
    let kms = |policy: &Value| -> BTreeSet<(String, String)> {
        flat(policy).into_iter().filter(|(action, _)| action.starts_with("kms:")).collect()
    };
    let policy = orders.policy().await?;
    let any = format!("arn:aws:kms:us-east-1:{}:key/*", orders.world.account);
    let encrypt: &[&str] = &["kms:Encrypt", "kms:GenerateDataKey"];
    assert_eq!(kms(&policy), granted(&[(&any, &["kms:Decrypt"]), (KMS_REPLICAS, encrypt)]));
    for statement in policy["Statement"].as_array().unwrap() {
        let (region, bucket) = match strings(&statement["Action"])[0].as_str() {
            "kms:Decrypt" => (SOURCE_REGION, &orders.source),
            action if action.starts_with("kms:") => (DESTINATION_REGION, &orders.destination),
            _ => continue,
        };
        let condition = &statement["Condition"]["StringLike"];
        assert_eq!(strings(&condition["kms:ViaService"]), [format!("s3.{region}.amazonaws.com")]);
        // Of the object, or of the bucket where S3 Bucket Keys are on.
        let context: BTreeSet<_> =
            strings(&condition["kms:EncryptionContext:aws:s3:arn"]).into_iter().collect();
        let either = [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")];
        assert_eq!(context, BTreeSet::from(either));
    }

    let another = KMS_SOURCE.replace("1111-2222", "aaaa-bbbb");
    orders.change(&[("source.kmsKeyArns", json!([KMS_SOURCE, another]))]).await?;
    let decrypt: &[&str] = &["kms:Decrypt"];
    let two = granted(&[(KMS_SOURCE, decrypt), (&another, decrypt), (KMS_REPLICAS, encrypt)]);
    assert_eq!(kms(&orders.policy().await?), two);
    orders.change(&[("source.kmsKeyArns", json!([another]))]).await?;
    assert_eq!(kms(&orders.policy().await?), granted(&[(&another, decrypt), (KMS_REPLICAS, encrypt)]));
    orders.change(&[("source.kmsKeyArns", json!(null))]).await?;
    assert_eq!(kms(&orders.policy().await?), kms(&policy));

    let off = [("rules.0.kmsEncryptedObjects", json!(null)), ("rules.0.destination.kmsKeyArn", json!(null))];
    orders.change(&off).await?;
    assert_eq!(kms(&orders.policy().await?), BTreeSet::new());
    Ok(())
}

#[tokio::test]
async fn boundary_and_tags_of_the_role_are_set_changed_and_removed() -> Result<()> {
    let orders = Orders::new("role-fields").await?;
    let boundary = async || -> Result<Option<String>> {
        let role = orders.role("orders-role").await?;
        Ok(role.permissions_boundary().and_then(|b| b.permissions_boundary_arn()).map(str::to_owned))
    };
    assert_eq!(orders.role("orders-role").await?.path(), "/s3-replication/");
    assert_eq!(boundary().await?, None);
    for name in ["one", "two"] {
        let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
        let create =
            orders.world.iam().create_policy().policy_name(name).policy_document(document.to_string());
        let arn = create.send().await?.policy.and_then(|p| p.arn).context("no policy")?;
        orders.change(&[("role.permissionsBoundary", json!(arn))]).await?;
        assert_eq!(boundary().await?, Some(arn));
    }
    orders.change(&[("role.permissionsBoundary", json!(null))]).await?;
    assert_eq!(boundary().await?, None);

    for tags in [
        json!({"team": "data"}),
        json!({"team": "data", "cost": "42"}),
        json!({"team": "web", "cost": "42"}),
        json!({"cost": ""}),
        json!(null),
    ] {
        orders.change(&[("role.tags", tags.clone())]).await?;
        let expected: BTreeMap<String, String> = serde_json::from_value(tags).unwrap_or_default();
        assert_eq!(orders.role_tags().await?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_role_lives_at_the_path_it_was_given() -> Result<()> {
    let orders = Orders::with("role-path", |_, manifest| {
        set(manifest, "spec.role.path", json!("/teams/data/"));
    })
    .await?;
    let role = orders.role("orders-role").await?;
    assert_eq!(role.path(), "/teams/data/");
    let arn = format!("arn:aws:iam::{}:role/teams/data/orders-role", orders.world.account);
    assert_eq!(role.arn(), arn);
    assert_eq!(orders.configuration().await?.role(), arn);
    Ok(())
}

#[tokio::test]
async fn a_role_gets_a_name_of_its_own_and_a_renamed_one_leaves_no_orphan() -> Result<()> {
    let orders = Orders::with("role-name", |_, manifest| set(manifest, "spec.role", json!(null))).await?;
    let default = format!("{}.orders", orders.world.namespace);
    assert_eq!(orders.roles().await?, [default.as_str()]);

    for name in ["first", "second"] {
        let object = orders.change(&[("role.name", json!(name))]).await?;
        assert_eq!(orders.roles().await?, [name]);
        let role = orders.role(name).await?;
        assert_eq!(orders.configuration().await?.role(), role.arn());
        assert_eq!(object["status"]["role"], json!({"arn": role.arn(), "managed": true}));
    }

    orders.change(&[("role", json!(null))]).await?;
    assert_eq!(orders.roles().await?, [default]);
    Ok(())
}

#[tokio::test]
async fn an_existing_role_is_used_and_never_written() -> Result<()> {
    let orders = Orders::new("role-arn").await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let create = orders.world.iam().create_role().role_name("existing").path("/theirs/");
    let created = create.assume_role_policy_document(trust.to_string()).send().await?;
    let arn = created.role().context("no role")?.arn().to_owned();

    let object = orders.change(&[("role", json!({"arn": arn}))]).await?;
    assert_eq!(object["status"]["role"], json!({"arn": arn, "managed": false}));
    assert_eq!(orders.configuration().await?.role(), arn);
    assert_eq!(orders.roles().await?, ["existing"], "the managed role is gone");

    // From here on nothing may be written to IAM.
    orders.world.proxy.clear();
    orders.change(&[("replicate", json!({"tags": false})), ("rules.0.priority", json!(7))]).await?;
    let to_iam = |world: &World| -> Vec<String> {
        world.proxy.writes().iter().filter(|c| c.service == "iam").map(ToString::to_string).collect()
    };
    assert_eq!(to_iam(&orders.world), Vec::<String>::new());

    orders.change(&[("role", json!({"name": "managed-again"}))]).await?;
    assert_eq!(
        orders.roles().await?.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["existing", "managed-again"].map(str::to_owned))
    );
    let managed = orders.role("managed-again").await?;
    assert_eq!(orders.configuration().await?.role(), managed.arn());

    orders.change(&[("role", json!({"arn": arn}))]).await?;
    orders.world.proxy.clear();
    orders.world.api().delete("orders", &DeleteParams::default()).await?;
    orders.world.wait_gone("orders").await?;
    assert_eq!(to_iam(&orders.world), Vec::<String>::new());
    let left = left_in_aws(&orders.world, SOURCE_REGION, &orders.source, "existing").await?;
    assert_eq!(left, ["role existing"]);
    Ok(())
}

#[tokio::test]
async fn versioning_is_turned_on_where_managed_and_only_looked_at_where_required() -> Result<()> {
    let enabled = Some(s3::BucketVersioningStatus::Enabled);
    let orders = Orders::new("managed-versioning").await?;
    assert_eq!(orders.versioning(SOURCE_REGION, &orders.source).await?, enabled);
    assert_eq!(orders.versioning(DESTINATION_REGION, &orders.destination).await?, enabled);

    let (world, _operator) = world("required").await?;
    let source = world.bucket(SOURCE_REGION).await?;
    let destination = world.bucket(DESTINATION_REGION).await?;
    let mut manifest = replication("orders", &source, &destination);
    set(&mut manifest, "spec.source.versioning", json!("Required"));
    set(&mut manifest, "spec.rules.0.destination.versioning", json!("Required"));
    world.apply(&manifest.to_string()).await?;
    let missing = |bucket: &str| {
        let bucket = bucket.to_owned();
        move |status: &Value| {
            let told = crate::support::message(status, "VersioningReady");
            reason(status, "Ready") == "VersioningNotEnabled" && told.contains(&bucket)
        }
    };
    let turn_on = async |region: &str, bucket: &str| -> Result<()> {
        world.set_versioning(region, bucket, s3::BucketVersioningStatus::Enabled).await?;
        crate::support::request_check(&world, "orders").await.map(drop)
    };
    world.wait("orders", missing(&destination), "to miss the destination's versioning").await?;
    assert_eq!(world.proxy.count("PutBucketVersioning"), 0);
    turn_on(DESTINATION_REGION, &destination).await?;
    world.wait("orders", missing(&source), "to miss the source's versioning").await?;
    turn_on(SOURCE_REGION, &source).await?;
    world.wait_ready("orders").await?;
    assert_eq!(world.proxy.count("PutBucketVersioning"), 0);

    // A destination that is let go of and managed again.
    let next = world.bucket(DESTINATION_REGION).await?;
    set(&mut manifest, "spec.rules.0.destination", json!({"bucket": next}));
    world.apply(&manifest.to_string()).await?;
    world.wait_ready("orders").await?;
    let held = world.s3(DESTINATION_REGION).get_bucket_versioning().bucket(&next).send().await?;
    assert_eq!(held.status, enabled);
    Ok(())
}

#[tokio::test]
async fn a_region_that_is_given_is_believed_and_one_that_is_not_is_found() -> Result<()> {
    let found = Orders::new("regions-found").await?;
    assert!(found.world.proxy.count("HeadBucket") + found.world.proxy.count("GetBucketLocation") > 0);

    let given = Orders::with("regions-given", |_, manifest| {
        set(manifest, "spec.source.region", json!(SOURCE_REGION));
        set(manifest, "spec.rules.0.destination.region", json!(DESTINATION_REGION));
    })
    .await?;
    for (orders, looked_for) in [(&found, true), (&given, false)] {
        let status = &orders.world.get("orders").await?["status"];
        assert_eq!(status["source"]["region"], SOURCE_REGION);
        assert_eq!(status["destinations"][0]["region"], DESTINATION_REGION);
        let looked = orders
            .world
            .proxy
            .calls()
            .iter()
            .any(|c| c.operation == "GetBucketLocation" || c.operation == "HeadBucket");
        assert_eq!(looked, looked_for);
        let regions: BTreeSet<(String, String)> = orders
            .world
            .proxy
            .calls()
            .into_iter()
            .filter(|c| c.operation == "GetBucketVersioning")
            .map(|c| (c.subject, c.region))
            .collect();
        assert_eq!(
            regions,
            BTreeSet::from([
                (orders.source.clone(), SOURCE_REGION.to_owned()),
                (orders.destination.clone(), DESTINATION_REGION.to_owned())
            ])
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_suspended_resource_asks_nothing_of_aws_and_can_still_be_deleted() -> Result<()> {
    let orders = Orders::new("suspend").await?;
    orders.edit(&[("suspend", json!(true))]).await?;
    let suspended = |status: &Value| reason(status, "Ready") == "Suspended";
    orders.world.wait("orders", suspended, "to be Suspended").await?;
    orders.world.proxy.clear();
    orders.edit(&[("rules.0.priority", json!(9))]).await?;
    let generation = orders.world.get("orders").await?["metadata"]["generation"].clone();
    let seen = |status: &Value| status["observedGeneration"] == generation && suspended(status);
    orders.world.wait("orders", seen, "to have seen the change and be Suspended").await?;
    let calls: Vec<String> = orders.world.proxy.calls().iter().map(ToString::to_string).collect();
    assert_eq!(calls, Vec::<String>::new());

    orders.change(&[("suspend", json!(false))]).await?;
    assert_eq!(orders.rule().await?["Priority"], 9);

    orders.edit(&[("suspend", json!(true))]).await?;
    orders.world.wait("orders", suspended, "to be Suspended").await?;
    orders.world.api().delete("orders", &DeleteParams::default()).await?;
    orders.world.wait_gone("orders").await?;
    let left = left_in_aws(&orders.world, SOURCE_REGION, &orders.source, "orders-role").await?;
    assert_eq!(left, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_is_retained_outlives_the_resource() -> Result<()> {
    for (policy, expected) in [("Retain", 2), ("Delete", 0)] {
        let orders = Orders::new("retain").await?;
        orders.change(&[("deletionPolicy", json!(policy))]).await?;
        orders.world.api().delete("orders", &DeleteParams::default()).await?;
        orders.world.wait_gone("orders").await?;
        let left = left_in_aws(&orders.world, SOURCE_REGION, &orders.source, "orders-role").await?;
        assert_eq!(left.len(), expected, "{policy}: {left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn observing_writes_nothing_until_it_is_told_to_enforce() -> Result<()> {
    let orders = Orders::new("observe").await?;
    orders.change(&[("managementPolicy", json!("Observe"))]).await?;
    orders.world.proxy.clear();
    orders.edit(&[("rules.0.priority", json!(3))]).await?;
    let drifted = |status: &Value| reason(status, "Ready") == "Drifted";
    let status = &orders.world.wait("orders", drifted, "to be Drifted").await?["status"];
    let entry = crate::support::drift(status, "rules[ReplicateToEU].priority")?;
    assert_eq!((&entry["want"], &entry["got"]), (&json!("3"), &json!("1")));
    assert!(orders.world.proxy.writes().is_empty());

    orders.change(&[("managementPolicy", json!("Enforce"))]).await?;
    assert_eq!(orders.rule().await?["Priority"], 3);
    Ok(())
}

#[tokio::test]
async fn what_someone_else_made_is_taken_over_only_by_adoption() -> Result<()> {
    let (world, _operator) = world("adopt").await?;
    let source = world.versioned_bucket(SOURCE_REGION).await?;
    let destination = world.versioned_bucket(DESTINATION_REGION).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": []});
    let create = world.iam().create_role().role_name("orders-role").path("/s3-replication/");
    create.assume_role_policy_document(trust.to_string()).send().await?;
    let mut manifest = replication("orders", &source, &destination);
    world.apply(&manifest.to_string()).await?;
    world.wait("orders", |s| reason(s, "Ready") == "ForeignRole", "to meet a foreign role").await?;
    assert!(world.proxy.writes().is_empty());

    set(&mut manifest, "spec.adoptionPolicy", json!("Adopt"));
    world.apply(&manifest.to_string()).await?;
    world.wait_ready("orders").await?;
    Ok(())
}

#[tokio::test]
async fn the_interval_can_be_set_and_removed_without_a_write_to_aws() -> Result<()> {
    let orders = Orders::new("interval").await?;
    orders.world.proxy.clear();
    for interval in [json!("1m"), json!("24h"), json!(null)] {
        orders.change(&[("interval", interval)]).await?;
    }
    assert!(orders.world.proxy.writes().is_empty());
    Ok(())
}

/// A way in which S3 may hold a configuration, and the edits that make the spec say the same.
struct Wording {
    what: &'static str,
    spec: Vec<(&'static str, Value)>,
    /// Makes the rules S3 shall hold of those the operator wrote.
    rules: fn(Vec<s3::ReplicationRule>) -> Vec<s3::ReplicationRule>,
}

fn each(
    rules: Vec<s3::ReplicationRule>,
    change: impl Fn(&mut s3::ReplicationRule),
) -> Vec<s3::ReplicationRule> {
    let changed = |mut rule: s3::ReplicationRule| {
        change(&mut rule);
        rule
    };
    rules.into_iter().map(changed).collect()
}

/// The first version of the schema: no filter, no priority, no word about delete markers.
#[expect(deprecated, reason = "the first version of the schema has its prefix in the rule")]
fn first_version(rule: &mut s3::ReplicationRule) {
    rule.prefix = rule.filter.take().and_then(|f| f.prefix).or(Some(String::new()));
    rule.priority = None;
    rule.delete_marker_replication = None;
}

fn and(prefix: Option<&str>, tags: &[(&str, &str)]) -> s3::ReplicationRuleFilter {
    let tag =
        |(key, value): &(&str, &str)| s3::Tag::builder().key(*key).value(*value).build().expect("a tag");
    let tags = (!tags.is_empty()).then(|| tags.iter().map(tag).collect());
    let and = s3::ReplicationRuleAndOperator::builder().set_prefix(prefix.map(str::to_owned)).set_tags(tags);
    s3::ReplicationRuleFilter::builder().and(and.build()).build()
}

fn wordings() -> Vec<Wording> {
    let markers = || ("rules.0.deleteMarkers", json!("Enabled"));
    vec![
        Wording {
            what: "the first version, for all objects",
            spec: vec![markers()],
            rules: |rules| each(rules, first_version),
        },
        Wording {
            what: "the first version, with a prefix",
            spec: vec![markers(), ("rules.0.filter", json!({"prefix": "logs/"}))],
            rules: |rules| each(rules, first_version),
        },
        Wording {
            what: "an empty filter",
            spec: vec![("rules.0.filter", json!(null)), ("rules.0.deleteMarkers", json!(null))],
            rules: |rules| each(rules, |r| r.filter = Some(s3::ReplicationRuleFilter::builder().build())),
        },
        Wording {
            what: "an empty prefix",
            spec: vec![("rules.0.filter", json!({"tags": {}}))],
            rules: |rules| {
                each(rules, |r| r.filter = Some(s3::ReplicationRuleFilter::builder().prefix("").build()))
            },
        },
        Wording {
            what: "a list of one condition, a prefix",
            spec: vec![("rules.0.filter", json!({"prefix": "logs/"}))],
            rules: |rules| each(rules, |r| r.filter = Some(and(Some("logs/"), &[]))),
        },
        Wording {
            what: "a list of one condition, a tag",
            spec: vec![("rules.0.filter", json!({"tags": {"k": "v"}}))],
            rules: |rules| each(rules, |r| r.filter = Some(and(None, &[("k", "v")]))),
        },
        Wording {
            what: "a list of an empty prefix and a tag",
            spec: vec![],
            rules: |rules| each(rules, |r| r.filter = Some(and(Some(""), &[("k", "v")]))),
        },
        Wording {
            what: "tags in another order",
            spec: vec![("rules.0.filter", json!({"tags": {"k": "v", "l": "w"}}))],
            rules: |rules| each(rules, |r| r.filter = Some(and(None, &[("l", "w"), ("k", "v")]))),
        },
        Wording {
            what: "a priority that S3 chose",
            spec: vec![("rules.0.priority", json!(null)), ("rules.0.filter", json!(null))],
            rules: |rules| each(rules, |r| r.priority = Some(0)),
        },
        Wording {
            what: "switches that say Disabled",
            spec: vec![],
            rules: |rules| {
                each(rules, |r| {
                    let off = s3::ReplicaModificationsStatus::Disabled;
                    let modifications =
                        s3::ReplicaModifications::builder().status(off).build().expect("a status");
                    let criteria =
                        s3::SourceSelectionCriteria::builder().replica_modifications(modifications);
                    r.source_selection_criteria = Some(criteria.build());
                    let off =
                        s3::Metrics::builder().status(s3::MetricsStatus::Disabled).build().expect("a status");
                    if let Some(to) = r.destination.as_mut() {
                        to.metrics = Some(off);
                    }
                })
            },
        },
        Wording {
            what: "rules in another order",
            spec: vec![(
                "rules",
                json!([
                    {"id": "a", "priority": 1, "destination": {"bucket": "DESTINATION"}},
                    {"id": "b", "priority": 2, "destination": {"bucket": "DESTINATION"}},
                ]),
            )],
            rules: |mut rules| {
                rules.reverse();
                rules
            },
        },
    ]
}

#[tokio::test]
async fn the_same_in_other_words_is_no_drift_and_causes_no_write() -> Result<()> {
    let orders = Orders::new("wordings").await?;
    for Wording { what, mut spec, rules } in wordings() {
        for (_, value) in &mut spec {
            let named = value.to_string().replace("DESTINATION", &orders.destination);
            *value = serde_json::from_str(&named)?;
        }
        orders.change(&spec).await.context(what)?;
        let held = orders.configuration().await?;
        let reworded = s3::ReplicationConfiguration::builder()
            .role(held.role())
            .set_rules(Some(rules(held.rules().to_vec())))
            .build()?;
        let put = orders.world.s3(SOURCE_REGION).put_bucket_replication().bucket(&orders.source);
        put.replication_configuration(reworded).send().await.context(what)?;
        orders.world.proxy.clear();
        let status = &check_now(&orders.world, "orders").await?["status"];
        assert_eq!(orders.world.proxy.count("GetBucketReplication"), 1, "{what}: was looked at");
        assert_eq!(status["drift"], Value::Null, "{what}");
        assert_eq!(reason(status, "Ready"), "Applied", "{what}");
        let writes: Vec<String> = orders.world.proxy.writes().iter().map(ToString::to_string).collect();
        assert_eq!(writes, Vec::<String>::new(), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn the_first_version_replicates_delete_markers_and_a_spec_that_does_not_differs() -> Result<()> {
    let orders = Orders::new("first-version").await?;
    let held = orders.configuration().await?;
    let reworded = s3::ReplicationConfiguration::builder()
        .role(held.role())
        .set_rules(Some(each(held.rules().to_vec(), first_version)))
        .build()?;
    let put = orders.world.s3(SOURCE_REGION).put_bucket_replication().bucket(&orders.source);
    put.replication_configuration(reworded).send().await?;
    let status = &check_now(&orders.world, "orders").await?["status"];
    let corrected = &status["lastCorrection"]["items"];
    assert_eq!(corrected.as_array().map(Vec::len), Some(1), "{corrected}");
    assert_eq!(corrected[0]["path"], "rules[ReplicateToEU].deleteMarkers");
    assert_eq!((&corrected[0]["want"], &corrected[0]["got"]), (&json!("Disabled"), &json!("Enabled")));
    assert_eq!(orders.rule().await?["DeleteMarkerReplication"], "Disabled");
    Ok(())
}

#[tokio::test]
async fn tags_that_read_alike_are_told_apart() -> Result<()> {
    let orders = Orders::new("tags-alike").await?;
    for (key, value) in [("a=b", "c"), ("a", "b=c")] {
        orders.change(&[("rules.0.filter", json!({"tags": {key: value}}))]).await?;
        let held = orders.configuration().await?;
        let tag = held.rules().first().and_then(|r| r.filter()?.tag()).context("no tag")?;
        assert_eq!((tag.key(), tag.value()), (key, value));
    }
    Ok(())
}

#[tokio::test]
async fn a_tag_of_the_role_may_say_absent() -> Result<()> {
    let orders = Orders::with("tag-absent", |_, resource| {
        set(resource, "spec.role.tags", json!({"state": "present"}));
    })
    .await?;
    orders.change(&[("role.tags", json!({"state": "absent"}))]).await?;
    assert_eq!(orders.role_tags().await?.get("state").map(String::as_str), Some("absent"));
    Ok(())
}
