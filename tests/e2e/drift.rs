//! What someone else changes in AWS: seen field by field in Observe mode, put right and remembered in Enforce
//! mode, and told apart from changes of the spec and from changes that mean the same.

use anyhow::{Context, Result};
use aws_sdk_iam::types::Tag as RoleTag;
use aws_sdk_s3::types::{
    AccessControlTranslation, BucketVersioningStatus, DeleteMarkerReplicationStatus, EncryptionConfiguration,
    Metrics, MetricsStatus, OwnerOverride, ReplicaModifications, ReplicaModificationsStatus,
    ReplicationConfiguration, ReplicationRuleAndOperator, ReplicationRuleFilter, ReplicationRuleStatus,
    ReplicationTime, ReplicationTimeStatus, ReplicationTimeValue, SourceSelectionCriteria,
    SseKmsEncryptedObjects, SseKmsEncryptedObjectsStatus, StorageClass, Tag,
};
use rig::operator::Operator;
use rig::world::{World, condition};
use rig::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator, patch, reason, replication};

const NAME: &str = "orders";
const ROLE: &str = "orders-role";
const POLICY: &str = "s3-replication";
const SOURCE_REGION: &str = "us-east-1";
const DESTINATION_REGION: &str = "eu-west-1";

/// A resource that was applied, and hands that reach AWS past the proxy.
struct Scene {
    world: World,
    _operator: Operator,
    source: String,
    destination: String,
}

impl Scene {
    /// Applies the resource, changed first by `edit`, and waits until it is Ready.
    async fn new(name: &str, edit: impl FnOnce(&mut Value)) -> Result<Scene> {
        let scene = Scene::empty(name).await?;
        let mut resource = replication(NAME, &scene.source, &scene.destination);
        edit(&mut resource["spec"]);
        scene.world.apply(&resource.to_string()).await?;
        scene.world.wait_ready(NAME).await?;
        Ok(scene)
    }

    /// Two buckets and an operator that gives up on a call at the first failure.
    async fn empty(name: &str) -> Result<Scene> {
        let world = World::new(name).await?;
        let operator =
            operator(&world).args(["--aws-attempt-timeout", "5", "--aws-attempts", "1"]).start().await?;
        let source = world.bucket(SOURCE_REGION).await?;
        let destination = world.bucket(DESTINATION_REGION).await?;
        Ok(Scene { world, _operator: operator, source, destination })
    }

    async fn check(&self) -> Result<Value> {
        Ok(check_now(&self.world, NAME).await?["status"].take())
    }

    /// Switches the mode, and returns the status of a check in it.
    async fn manage(&self, policy: &str) -> Result<Value> {
        patch(&self.world, NAME, json!({"spec": {"managementPolicy": policy}})).await?;
        self.check().await
    }

    async fn configuration(&self) -> Result<ReplicationConfiguration> {
        let held = self.world.s3(SOURCE_REGION).get_bucket_replication().bucket(&self.source).send().await?;
        held.replication_configuration.context("the source has no replication configuration")
    }

    async fn edit_configuration(&self, edit: impl FnOnce(&mut ReplicationConfiguration)) -> Result<()> {
        let mut held = self.configuration().await?;
        edit(&mut held);
        let s3 = self.world.s3(SOURCE_REGION);
        s3.put_bucket_replication().bucket(&self.source).replication_configuration(held).send().await?;
        Ok(())
    }

    async fn edit_policy(&self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let iam = self.world.iam();
        let held = iam.get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
        let mut document = decoded(held.policy_document())?;
        edit(&mut document);
        self.put_policy(&document.to_string()).await
    }

    async fn put_policy(&self, document: &str) -> Result<()> {
        let iam = self.world.iam();
        iam.put_role_policy().role_name(ROLE).policy_name(POLICY).policy_document(document).send().await?;
        Ok(())
    }

    async fn put_trust(&self, document: &str) -> Result<()> {
        let iam = self.world.iam();
        iam.update_assume_role_policy().role_name(ROLE).policy_document(document).send().await?;
        Ok(())
    }

    async fn tag(&self, key: &str, value: &str) -> Result<()> {
        let tag = RoleTag::builder().key(key).value(value).build()?;
        self.world.iam().tag_role().role_name(ROLE).tags(tag).send().await?;
        Ok(())
    }

    async fn untag(&self, key: &str) -> Result<()> {
        self.world.iam().untag_role().role_name(ROLE).tag_keys(key).send().await?;
        Ok(())
    }

    async fn delete_policy(&self) -> Result<()> {
        self.world.iam().delete_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
        Ok(())
    }

    async fn suspend(&self, region: &str, bucket: &str) -> Result<()> {
        self.world.set_versioning(region, bucket, BucketVersioningStatus::Suspended).await
    }

    /// An outside change that was just made is told in Observe mode, all of it and without a write; in Enforce
    /// mode it is put right and remembered. Leaves the resource in Observe mode.
    async fn is_seen_and_put_right(&self, what: &str, about: &str, expected: Vec<Value>) -> Result<()> {
        let expected = Value::Array(expected);
        let count = expected.as_array().map_or(0, Vec::len);
        self.world.proxy.clear();
        let seen = self.check().await?;
        assert_eq!(seen["drift"], expected, "{what}");
        assert_eq!(seen["driftCount"], count, "{what}");
        for condition_type in ["Ready", about, "InSync"] {
            let found = condition(&seen, condition_type).with_context(|| format!("no {condition_type}"))?;
            assert_eq!(
                (&found["status"], &found["reason"]),
                (&json!("False"), &json!("Drifted")),
                "{what}: {found}"
            );
        }
        assert!(
            self.world.proxy.writes().is_empty(),
            "{what}: written in Observe mode: {:?}",
            self.world.proxy.writes()
        );

        let corrected = self.manage("Enforce").await?;
        assert_eq!(corrected["drift"], Value::Null, "{what}");
        assert_eq!(corrected["driftCount"], 0, "{what}");
        assert_eq!(corrected["lastCorrection"]["items"], expected, "{what}");
        assert_eq!(corrected["lastCorrection"]["count"], count, "{what}");
        assert!(!self.world.proxy.writes().is_empty(), "{what}: nothing was written in Enforce mode");

        let after = self.manage("Observe").await?;
        assert_in_sync(&after, what);
        assert_eq!(after["lastCorrection"], corrected["lastCorrection"], "{what}: it stays to be seen");
        Ok(())
    }
}

fn assert_in_sync(status: &Value, what: &str) {
    assert_eq!(reason(status, "Ready"), "Applied", "{what}: {status:#}");
    assert_eq!(reason(status, "InSync"), "Applied", "{what}: {status:#}");
    assert_eq!((&status["drift"], &status["driftCount"]), (&Value::Null, &json!(0)), "{what}");
}

/// IAM gives policy documents percent-encoded.
fn decoded(document: &str) -> Result<Value> {
    let text = percent_encoding::percent_decode_str(document).decode_utf8()?;
    Ok(serde_json::from_str(&text)?)
}

/// An entry of `status.drift`.
fn differs(resource: &str, name: &str, path: impl Into<String>, want: &str, got: &str) -> Value {
    json!({"resource": resource, "name": name, "path": path.into(), "want": want, "got": got})
}

/// A statement of a policy by its Sid.
fn statement<'a>(policy: &'a mut Value, sid: &str) -> &'a mut Value {
    policy["Statement"].as_array_mut().unwrap().iter_mut().find(|s| s["Sid"] == sid).unwrap()
}

/// An edit of something, with the differences it makes.
struct Edit<T> {
    what: &'static str,
    make: Box<dyn FnOnce(&mut T)>,
    expected: Vec<Value>,
}

fn edit<T>(what: &'static str, expected: Vec<Value>, make: impl FnOnce(&mut T) + 'static) -> Edit<T> {
    Edit { what, make: Box::new(make), expected }
}

#[tokio::test]
async fn suspended_versioning_is_drift_of_source_and_destination() -> Result<()> {
    let scene = Scene::new("drift-versioning", |_| {}).await?;
    let (source, destination) = (scene.source.as_str(), scene.destination.as_str());
    scene.manage("Observe").await?;
    let suspended = |bucket: &str| differs("BucketVersioning", bucket, "status", "Enabled", "Suspended");

    scene.suspend(DESTINATION_REGION, destination).await?;
    scene.is_seen_and_put_right("destination", "VersioningReady", vec![suspended(destination)]).await?;
    scene.suspend(SOURCE_REGION, source).await?;
    scene.is_seen_and_put_right("source", "VersioningReady", vec![suspended(source)]).await?;
    scene.suspend(DESTINATION_REGION, destination).await?;
    scene.suspend(SOURCE_REGION, source).await?;
    let both = vec![suspended(destination), suspended(source)];
    scene.is_seen_and_put_right("both", "VersioningReady", both).await?;

    let status = scene.check().await?;
    assert_eq!(status["source"]["versioning"], "Enabled");
    assert_eq!(status["destinations"][0]["versioning"], "Enabled");
    Ok(())
}

#[tokio::test]
async fn every_outside_change_of_the_role_is_seen_and_put_right() -> Result<()> {
    let scene = Scene::new("drift-role", |spec| {
        spec["role"]["tags"] = json!({"team": "data"});
        spec["role"]["permissionsBoundary"] = json!("arn:aws:iam::aws:policy/AmazonS3FullAccess");
    })
    .await?;
    let (iam, boundary) = (scene.world.iam(), "arn:aws:iam::aws:policy/AmazonS3FullAccess");
    let role = |path: &str, want: &str, got: &str| vec![differs("Role", ROLE, path, want, got)];
    scene.manage("Observe").await?;

    let s3_assumes =
        json!({"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"});
    let ec2_assumes =
        json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"});
    let trust = |statements: &[&Value]| json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let wanted = {
        let held = iam.get_role().role_name(ROLE).send().await?;
        decoded(held.role().and_then(|r| r.assume_role_policy_document()).unwrap_or_default())?.to_string()
    };
    for (what, document) in [
        ("another principal", trust(&[&ec2_assumes])),
        ("a statement more", trust(&[&s3_assumes, &ec2_assumes])),
    ] {
        scene.put_trust(&document).await?;
        let got = serde_json::from_str::<Value>(&document)?.to_string();
        scene.is_seen_and_put_right(what, "RoleReady", role("trustPolicy", &wanted, &got)).await?;
    }

    let other = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    iam.put_role_permissions_boundary().role_name(ROLE).permissions_boundary(other).send().await?;
    let expected = role("permissionsBoundary", boundary, other);
    scene.is_seen_and_put_right("another boundary", "RoleReady", expected).await?;
    iam.delete_role_permissions_boundary().role_name(ROLE).send().await?;
    let expected = role("permissionsBoundary", boundary, "absent");
    scene.is_seen_and_put_right("no boundary", "RoleReady", expected).await?;

    scene.tag("team", "sales").await?;
    scene.is_seen_and_put_right("another tag value", "RoleReady", role("tags.team", "data", "sales")).await?;
    scene.untag("team").await?;
    scene.is_seen_and_put_right("a tag less", "RoleReady", role("tags.team", "data", "absent")).await?;
    scene.tag("cost-center", "42").await?;
    scene.is_seen_and_put_right("a tag more", "RoleReady", role("tags.cost-center", "absent", "42")).await?;
    for key in ["cluster", "namespace", "name", "uid"].map(|key| format!("s3replication.dev/{key}")) {
        let held = iam.list_role_tags().role_name(ROLE).send().await?;
        let value =
            held.tags().iter().find(|t| t.key() == key).context("no identity tag")?.value().to_owned();
        scene.untag(&key).await?;
        let expected = role(&format!("tags.{key}"), &value, "absent");
        scene.is_seen_and_put_right(&format!("without {key}"), "RoleReady", expected).await?;
    }

    let arn = iam.get_role().role_name(ROLE).send().await?.role.context("no role")?.arn;
    scene.delete_policy().await?;
    iam.delete_role().role_name(ROLE).send().await?;
    scene.is_seen_and_put_right("no role", "RoleReady", role("arn", &arn, "absent")).await?;
    Ok(())
}

#[tokio::test]
async fn a_permissions_boundary_that_nobody_asked_for_is_removed() -> Result<()> {
    let scene = Scene::new("drift-boundary", |_| {}).await?;
    scene.manage("Observe").await?;
    let boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    scene
        .world
        .iam()
        .put_role_permissions_boundary()
        .role_name(ROLE)
        .permissions_boundary(boundary)
        .send()
        .await?;
    let expected = vec![differs("Role", ROLE, "permissionsBoundary", "absent", boundary)];
    scene.is_seen_and_put_right("a boundary", "RoleReady", expected).await
}

#[tokio::test]
async fn every_outside_change_of_the_role_policy_is_seen_and_put_right() -> Result<()> {
    let scene = Scene::new("drift-policy", |_| {}).await?;
    scene.manage("Observe").await?;
    let source = format!("arn:aws:s3:::{}", scene.source);
    let objects = format!("arn:aws:s3:::{}/*", scene.destination);
    let policy = |action: &str, on: &str, want: &str, got: &str| {
        differs("RolePolicy", ROLE, format!("{action} on {on}"), want, got)
    };
    let tls = json!({"Bool": {"aws:SecureTransport": "true"}});
    let if_tls = r#"Allow if {"Bool":{"aws:securetransport":["true"]}}"#;

    let edits: Vec<Edit<Value>> = vec![
        edit(
            "an action less",
            vec![policy("s3:ReplicateDelete", &objects, "Allow", "absent")],
            |p: &mut Value| {
                let actions = statement(p, "DestinationObjects")["Action"].as_array_mut().unwrap();
                actions.retain(|a| a != "s3:ReplicateDelete");
            },
        ),
        edit("an action more", vec![policy("s3:PutObject", &objects, "absent", "Allow")], |p| {
            statement(p, "DestinationObjects")["Action"].as_array_mut().unwrap().push(json!("s3:PutObject"));
        }),
        edit(
            "another resource",
            vec![
                policy("s3:GetReplicationConfiguration", "arn:aws:s3:::another", "absent", "Allow"),
                policy("s3:GetReplicationConfiguration", &source, "Allow", "absent"),
                policy("s3:ListBucket", "arn:aws:s3:::another", "absent", "Allow"),
                policy("s3:ListBucket", &source, "Allow", "absent"),
            ],
            |p| statement(p, "SourceBucket")["Resource"] = json!("arn:aws:s3:::another"),
        ),
        edit(
            "a condition",
            vec![
                policy("s3:GetReplicationConfiguration", &source, "Allow", if_tls),
                policy("s3:ListBucket", &source, "Allow", if_tls),
            ],
            move |p| statement(p, "SourceBucket")["Condition"] = tls,
        ),
        edit("a denial", vec![policy("s3:ReplicateTags", &objects, "Allow", "Allow; Deny")], {
            let objects = objects.clone();
            move |p: &mut Value| {
                let denial = json!({"Effect": "Deny", "Action": "s3:ReplicateTags", "Resource": objects});
                p["Statement"].as_array_mut().unwrap().push(denial);
            }
        }),
        edit(
            "a statement less",
            vec![
                policy("s3:GetObjectVersionAcl", &format!("{source}/*"), "Allow", "absent"),
                policy("s3:GetObjectVersionForReplication", &format!("{source}/*"), "Allow", "absent"),
                policy("s3:GetObjectVersionTagging", &format!("{source}/*"), "Allow", "absent"),
            ],
            |p: &mut Value| {
                p["Statement"].as_array_mut().unwrap().retain(|s| s["Sid"] != "SourceObjects");
            },
        ),
    ];
    for Edit { what, make, mut expected } in edits {
        scene.edit_policy(make).await?;
        expected.sort_by_key(|d| d["path"].as_str().map(str::to_lowercase));
        scene.is_seen_and_put_right(what, "RoleReady", expected).await?;
    }

    scene.delete_policy().await?;
    let mut all = Vec::new();
    for action in ["s3:GetReplicationConfiguration", "s3:ListBucket"] {
        all.push(policy(action, &source, "Allow", "absent"));
    }
    for action in
        ["s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"]
    {
        all.push(policy(action, &format!("{source}/*"), "Allow", "absent"));
    }
    for action in [
        "s3:PutObjectAcl",
        "s3:PutObjectTagging",
        "s3:ReplicateDelete",
        "s3:ReplicateObject",
        "s3:ReplicateTags",
    ] {
        all.push(policy(action, &objects, "Allow", "absent"));
    }
    all.sort_by_key(|d| d["path"].as_str().map(str::to_lowercase));
    scene.is_seen_and_put_right("no policy", "RoleReady", all).await
}

#[tokio::test]
async fn every_outside_change_of_the_configuration_is_seen_and_put_right() -> Result<()> {
    let scene = Scene::new("drift-rules", |spec| {
        let mut logs = spec["rules"][0].clone();
        logs["id"] = json!("Logs");
        logs["priority"] = json!(2);
        logs["filter"]["prefix"] = json!("logs/");
        spec["rules"].as_array_mut().unwrap().push(logs);
    })
    .await?;
    scene.manage("Observe").await?;
    let another = scene.world.versioned_bucket(DESTINATION_REGION).await?;
    let source = scene.source.clone();
    let to = format!("arn:aws:s3:::{}", scene.destination);
    let account = scene.world.account.clone();
    let key = format!("arn:aws:kms:eu-west-1:{account}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let other_role = format!("arn:aws:iam::{account}:role/another");
    let role = scene.configuration().await?.role;

    let config =
        |path: &str, want: &str, got: &str| differs("ReplicationConfiguration", &source, path, want, got);
    let rule = |field: &str, want: &str, got: &str| {
        vec![config(&format!("rules[ReplicateToEU].{field}"), want, got)]
    };
    let to_eu = format!("Enabled, prefix \"\", to {to}");
    let logs = format!("Enabled, prefix \"logs/\", to {to}");

    let edits: Vec<Edit<ReplicationConfiguration>> = vec![
        edit("status", rule("status", "Enabled", "Disabled"), |c| {
            eu(c).status = ReplicationRuleStatus::Disabled;
        }),
        edit("priority", rule("priority", "1", "7"), |c| eu(c).priority = Some(7)),
        edit("prefix", rule("filter.prefix", "", "images/"), |c| {
            eu(c).filter = Some(ReplicationRuleFilter::builder().prefix("images/").build());
        }),
        edit("tags", rule("filter.tags", "absent", "class=hot, team=data"), |c| {
            let and =
                ReplicationRuleAndOperator::builder().tags(tag("team", "data")).tags(tag("class", "hot"));
            eu(c).filter = Some(ReplicationRuleFilter::builder().and(and.build()).build());
        }),
        edit("delete markers", rule("deleteMarkers", "Disabled", "Enabled"), |c| {
            eu(c).delete_marker_replication.as_mut().unwrap().status =
                Some(DeleteMarkerReplicationStatus::Enabled);
        }),
        edit("replica modifications", rule("replicaModifications", "Disabled", "Enabled"), |c| {
            let on =
                ReplicaModifications::builder().status(ReplicaModificationsStatus::Enabled).build().unwrap();
            eu(c).source_selection_criteria =
                Some(SourceSelectionCriteria::builder().replica_modifications(on).build());
        }),
        edit("another storage class", rule("destination.storageClass", "STANDARD", "GLACIER"), |c| {
            eu(c).destination.as_mut().unwrap().storage_class = Some(StorageClass::Glacier);
        }),
        edit("no storage class", rule("destination.storageClass", "STANDARD", "absent"), |c| {
            eu(c).destination.as_mut().unwrap().storage_class = None;
        }),
        edit("destination bucket", rule("destination.bucket", &scene.destination, &another), {
            let another = format!("arn:aws:s3:::{another}");
            move |c| eu(c).destination.as_mut().unwrap().bucket = another
        }),
        edit("ownership", rule("destination.ownership", "absent", "Destination"), {
            let account = account.clone();
            move |c| {
                let to = eu(c).destination.as_mut().unwrap();
                to.account = Some(account);
                let owner = AccessControlTranslation::builder().owner(OwnerOverride::Destination);
                to.access_control_translation = Some(owner.build().unwrap());
            }
        }),
        edit(
            "encryption",
            [
                rule("kmsEncryptedObjects", "Disabled", "Enabled"),
                rule("destination.kmsKeyArn", "absent", &key),
            ]
            .concat(),
            {
                let key = key.clone();
                move |c| {
                    let on = SseKmsEncryptedObjects::builder().status(SseKmsEncryptedObjectsStatus::Enabled);
                    let criteria =
                        SourceSelectionCriteria::builder().sse_kms_encrypted_objects(on.build().unwrap());
                    eu(c).source_selection_criteria = Some(criteria.build());
                    let to = eu(c).destination.as_mut().unwrap();
                    to.encryption_configuration =
                        Some(EncryptionConfiguration::builder().replica_kms_key_id(key).build());
                }
            },
        ),
        edit("metrics", rule("destination.metrics", "Disabled", "Enabled"), |c| {
            let metrics = Metrics::builder().status(MetricsStatus::Enabled).build().unwrap();
            eu(c).destination.as_mut().unwrap().metrics = Some(metrics);
        }),
        edit(
            "replication time",
            [
                rule("destination.replicationTimeControl", "Disabled", "Enabled"),
                rule("destination.metrics", "Disabled", "Enabled"),
            ]
            .concat(),
            |c| {
                let minutes = || ReplicationTimeValue::builder().minutes(15).build();
                let time = ReplicationTime::builder().status(ReplicationTimeStatus::Enabled).time(minutes());
                let metrics = Metrics::builder().status(MetricsStatus::Enabled).event_threshold(minutes());
                let to = eu(c).destination.as_mut().unwrap();
                to.replication_time = Some(time.build().unwrap());
                to.metrics = Some(metrics.build().unwrap());
            },
        ),
        edit(
            "a rule less",
            vec![config("rules[Logs]", &logs, "absent")],
            |c: &mut ReplicationConfiguration| {
                c.rules.retain(|r| r.id() != Some("Logs"));
            },
        ),
        edit("a rule more", vec![config("rules[Sneaky]", "absent", &to_eu)], |c| {
            let mut sneaky = eu(c).clone();
            sneaky.id = Some("Sneaky".to_owned());
            sneaky.priority = Some(9);
            c.rules.push(sneaky);
        }),
        edit("another role", vec![config("role", &role, &other_role)], {
            let other_role = other_role.clone();
            move |c: &mut ReplicationConfiguration| c.role = other_role
        }),
    ];
    for Edit { what, make, expected } in edits {
        scene.edit_configuration(make).await?;
        scene.is_seen_and_put_right(what, "ReplicationReady", expected).await?;
    }

    scene.world.s3(SOURCE_REGION).delete_bucket_replication().bucket(&scene.source).send().await?;
    let gone = vec![config("rules[Logs]", &logs, "absent"), config("rules[ReplicateToEU]", &to_eu, "absent")];
    scene.is_seen_and_put_right("no configuration", "ReplicationReady", gone).await
}

fn eu(configuration: &mut ReplicationConfiguration) -> &mut aws_sdk_s3::types::ReplicationRule {
    configuration.rules.iter_mut().find(|r| r.id() == Some("ReplicateToEU")).unwrap()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

/// Says the same of a policy in other words.
type Rewrite = fn(&mut Value);

#[tokio::test]
async fn changes_that_mean_the_same_are_no_drift_and_cause_no_write() -> Result<()> {
    let scene = Scene::new("drift-same", |spec| {
        let mut logs = spec["rules"][0].clone();
        logs["id"] = json!("Logs");
        logs["priority"] = json!(2);
        logs["filter"] = json!({"prefix": "logs/", "tags": {"a": "1", "b": "2"}});
        spec["rules"].as_array_mut().unwrap().push(logs);
    })
    .await?;
    scene.world.proxy.clear();
    let unchanged = async |what: &str| -> Result<()> {
        let status = scene.check().await?;
        assert_in_sync(&status, what);
        assert_eq!(status["lastCorrection"], Value::Null, "{what}");
        assert!(scene.world.proxy.writes().is_empty(), "{what}: {:?}", scene.world.proxy.writes());
        Ok(())
    };

    let rewrites: Vec<(&str, Rewrite)> = vec![
        ("the policy rewritten equally", |_| {}),
        ("the order of statements", |p| p["Statement"].as_array_mut().unwrap().reverse()),
        ("the order of actions", |p| {
            statement(p, "DestinationObjects")["Action"].as_array_mut().unwrap().reverse()
        }),
        ("the case of an action", |p| statement(p, "SourceBucket")["Action"][1] = json!("s3:listbucket")),
        ("a string for a list of one", |p| {
            let only = statement(p, "SourceBucket")["Resource"][0].clone();
            statement(p, "SourceBucket")["Resource"] = only;
        }),
        ("a statement in two", |p| {
            let mut half = statement(p, "SourceObjects").clone();
            half["Sid"] = json!("OtherHalf");
            half["Action"] =
                json!([statement(p, "SourceObjects")["Action"].as_array_mut().unwrap().remove(0)]);
            p["Statement"].as_array_mut().unwrap().push(half);
        }),
        ("an empty condition", |p| statement(p, "SourceBucket")["Condition"] = json!({})),
        ("another Sid", |p| statement(p, "SourceBucket")["Sid"] = json!("Renamed")),
        ("no Sid", |p| {
            for statement in p["Statement"].as_array_mut().unwrap() {
                statement.as_object_mut().unwrap().remove("Sid");
            }
        }),
    ];
    for (what, rewrite) in rewrites {
        scene.edit_policy(rewrite).await?;
        unchanged(what).await?;
    }
    let held = scene.world.iam().get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    scene.put_policy(&format!("{:#}", decoded(held.policy_document())?)).await?;
    unchanged("white space").await?;

    let statement = json!({"Sid": "S3", "Effect": "Allow", "Principal": {"Service": ["s3.amazonaws.com"]}, "Action": "sts:AssumeRole"});
    scene.put_trust(&format!("{:#}", json!({"Version": "2012-10-17", "Statement": statement}))).await?;
    unchanged("a trust policy of one statement, with a Sid and a list of one").await?;

    let account = scene.world.account.clone();
    scene.edit_configuration(|c| c.rules.reverse()).await?;
    unchanged("the order of rules").await?;
    scene
        .edit_configuration(|c| {
            let logs = c.rules.iter_mut().find(|r| r.id() == Some("Logs")).unwrap();
            let and = logs.filter.as_mut().unwrap().and.as_mut().unwrap();
            and.tags.as_mut().unwrap().reverse();
        })
        .await?;
    unchanged("the order of a filter's tags").await?;
    scene.edit_configuration(|c| eu(c).destination.as_mut().unwrap().account = Some(account)).await?;
    unchanged("the own account, named").await?;
    Ok(())
}

#[tokio::test]
async fn a_change_of_the_spec_is_never_called_drift() -> Result<()> {
    let scene = Scene::new("drift-pending", |_| {}).await?;
    let proxy = &scene.world.proxy;
    let before = scene.check().await?["appliedHash"].clone();
    proxy.inject(Fault::always(Matcher::operation("PutBucketReplication"), Answer::access_denied()));

    // Of the two writes this asks for, the policy's succeeds and the configuration's does not.
    let another = scene.world.versioned_bucket(DESTINATION_REGION).await?;
    let change = |bucket: &str| {
        let rule = json!({"id": "ReplicateToEU", "priority": 1, "destination": {"bucket": bucket, "storageClass": "GLACIER"}});
        json!({"spec": {"rules": [rule]}})
    };
    patch(&scene.world, NAME, change(&another)).await?;
    for what in ["at first", "again"] {
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "AccessDenied", "{what}");
        assert_eq!((&status["drift"], &status["driftCount"]), (&Value::Null, &json!(0)), "{what}");
        assert_eq!(condition(&status, "InSync").unwrap()["status"], "False", "{what}");
        assert_ne!(reason(&status, "InSync"), "Drifted", "{what}");
        assert_ne!(status["appliedHash"], before, "{what}: neither the old nor the new is applied");
    }
    assert_eq!(proxy.count("PutRolePolicy"), 2, "once to begin with, and once for the change");

    // Taken back before it was applied in full: the way back is no drift either.
    let back = change(&scene.destination);
    patch(&scene.world, NAME, back).await?;
    let status = scene.check().await?;
    assert_eq!((&status["drift"], &status["driftCount"]), (&Value::Null, &json!(0)));

    proxy.remove_faults();
    let status = scene.check().await?;
    assert_in_sync(&status, "once it may be written");
    assert_eq!(status["lastCorrection"], Value::Null);
    assert_eq!(
        scene.configuration().await?.rules[0].destination.as_ref().unwrap().storage_class,
        Some(StorageClass::Glacier)
    );
    Ok(())
}

#[tokio::test]
async fn drift_stays_listed_while_its_correction_fails() -> Result<()> {
    let scene = Scene::new("drift-failing", |_| {}).await?;
    scene
        .world
        .proxy
        .inject(Fault::always(Matcher::operation("PutBucketReplication"), Answer::access_denied()));
    scene.edit_configuration(|c| eu(c).priority = Some(5)).await?;
    let expected = json!([differs(
        "ReplicationConfiguration",
        &scene.source,
        "rules[ReplicateToEU].priority",
        "1",
        "5"
    )]);
    for _ in 0..2 {
        let status = scene.check().await?;
        assert_eq!(status["drift"], expected);
        assert_eq!(reason(&status, "Ready"), "AccessDenied");
        assert!(
            message(&status, "Ready").contains("s3:PutReplicationConfiguration"),
            "{}",
            message(&status, "Ready")
        );
        assert_eq!(reason(&status, "InSync"), "Drifted");
        assert_eq!(status["lastCorrection"], Value::Null);
    }
    scene.world.proxy.remove_faults();
    let status = scene.check().await?;
    assert_in_sync(&status, "once it may be written");
    assert_eq!(status["lastCorrection"]["items"], expected);
    Ok(())
}

#[tokio::test]
async fn observing_from_the_start_lists_everything_and_enforcing_applies_it() -> Result<()> {
    let scene = Scene::empty("drift-modes").await?;
    let mut resource = replication(NAME, &scene.source, &scene.destination);
    resource["spec"]["managementPolicy"] = json!("Observe");
    scene.world.apply(&resource.to_string()).await?;
    let status = scene.check().await?;
    let listed: Vec<(&str, &str)> = status["drift"]
        .as_array()
        .context("nothing is listed")?
        .iter()
        .map(|d| (d["resource"].as_str().unwrap_or_default(), d["path"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        listed,
        [
            ("BucketVersioning", "status"),
            ("BucketVersioning", "status"),
            ("Role", "arn"),
            ("ReplicationConfiguration", "rules[ReplicateToEU]"),
        ]
    );
    assert_eq!(reason(&status, "Ready"), "Drifted");
    assert!(scene.world.proxy.writes().is_empty());

    let status = scene.manage("Enforce").await?;
    assert_in_sync(&status, "enforced");
    assert_eq!(status["lastCorrection"], Value::Null, "what was never applied is not corrected");

    // In Observe mode a change of the spec counts as a difference; in Enforce mode it is only to be applied.
    let rule = |class: &str| {
        let to = json!({"bucket": scene.destination, "storageClass": class});
        json!({"spec": {"rules": [{"id": "ReplicateToEU", "priority": 1, "destination": to}]}})
    };
    scene.manage("Observe").await?;
    patch(&scene.world, NAME, rule("GLACIER")).await?;
    let status = scene.check().await?;
    let path = "rules[ReplicateToEU].destination.storageClass";
    assert_eq!(
        status["drift"],
        json!([differs("ReplicationConfiguration", &scene.source, path, "GLACIER", "STANDARD")])
    );
    let status = scene.manage("Enforce").await?;
    assert_in_sync(&status, "the new storage class");
    assert_eq!(status["lastCorrection"], Value::Null, "a change of the spec is not a correction");
    Ok(())
}

#[tokio::test]
async fn the_annotation_asks_for_a_check_at_once_and_is_acknowledged() -> Result<()> {
    let scene = Scene::new("drift-request", |spec| spec["interval"] = json!("24h")).await?;
    scene.edit_configuration(|c| eu(c).priority = Some(5)).await?;
    scene.world.proxy.clear();
    let request =
        json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": "2026-01-02T03:04:05Z"}}});
    patch(&scene.world, NAME, request.clone()).await?;
    let acknowledged = |status: &Value| status["lastHandledRequest"] == "2026-01-02T03:04:05Z";
    let object = scene.world.wait(NAME, acknowledged, "to acknowledge the request").await?;
    assert_eq!(object["status"]["lastCorrection"]["count"], 1);
    assert_eq!(scene.world.proxy.count("PutBucketReplication"), 1);

    // A request that was made before asks for nothing: the next check is the one of the next request.
    let checks = scene.world.proxy.count("GetRole");
    patch(&scene.world, NAME, request).await?;
    scene.check().await?;
    assert_eq!(scene.world.proxy.count("GetRole"), checks + 1);
    Ok(())
}

#[tokio::test]
async fn more_than_a_hundred_differences_are_counted_and_the_first_hundred_shown() -> Result<()> {
    let scene = Scene::empty("drift-many").await?;
    let mut resource = replication(NAME, &scene.source, &scene.destination);
    resource["spec"]["managementPolicy"] = json!("Observe");
    let template = resource["spec"]["rules"][0].take();
    let rules = (0..150).map(|n| {
        let mut rule = template.clone();
        rule["id"] = json!(format!("rule-{n:03}"));
        rule["priority"] = json!(n);
        rule["filter"]["prefix"] = json!(format!("{n}/"));
        rule
    });
    resource["spec"]["rules"] = rules.collect();
    scene.world.apply(&resource.to_string()).await?;

    // Two buckets without versioning, no role, and 150 rules.
    let status = scene.check().await?;
    assert_eq!(status["drift"].as_array().map(Vec::len), Some(100));
    assert_eq!(status["driftCount"], 153);
    assert!(message(&status, "Ready").ends_with("and 148 more"), "{}", message(&status, "Ready"));

    scene.manage("Enforce").await?;
    scene.world.s3(SOURCE_REGION).delete_bucket_replication().bucket(&scene.source).send().await?;
    let status = scene.check().await?;
    assert_in_sync(&status, "put right");
    assert_eq!(status["lastCorrection"]["count"], 150);
    assert_eq!(status["lastCorrection"]["items"].as_array().map(Vec::len), Some(100));
    Ok(())
}

#[tokio::test]
async fn two_tools_that_fight_over_a_field_are_seen_and_the_operator_backs_off() -> Result<()> {
    let scene = Scene::new("drift-fight", |_| {}).await?;
    let world = &scene.world;
    let (other_source, other_destination) =
        (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    world.apply(&replication("invoices", &other_source, &other_destination).to_string()).await?;
    world.wait_ready("invoices").await?;

    let set_priority = |priority: i32| scene.edit_configuration(move |c| eu(c).priority = Some(priority));
    for round in 1..=3 {
        set_priority(50).await?;
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "Applied", "round {round}");
        assert_eq!(scene.configuration().await?.rules[0].priority, Some(1), "round {round}");
    }

    set_priority(50).await?;
    world.proxy.clear();
    for _ in 0..2 {
        let status = scene.check().await?;
        let ready = condition(&status, "Ready").context("no Ready")?;
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Drifted")));
        let words = message(&status, "Ready");
        assert!(words.contains("another tool keeps changing rules[ReplicateToEU].priority"), "{words}");
        assert!(words.contains(&scene.source) && words.contains("managementPolicy: Observe"), "{words}");
        assert_eq!(reason(&status, "InSync"), "Drifted");
        assert_eq!(status["driftCount"], 1);
    }
    assert!(world.proxy.writes().is_empty(), "{:?}", world.proxy.writes());

    // Another resource is corrected as ever.
    world.iam().delete_role_policy().role_name("invoices-role").policy_name(POLICY).send().await?;
    let other = check_now(world, "invoices").await?;
    assert_in_sync(&other["status"], "the other resource");
    assert_eq!(world.proxy.writes().len(), 1);

    // The other tool gives in.
    set_priority(1).await?;
    assert_in_sync(&scene.check().await?, "at peace");
    Ok(())
}
