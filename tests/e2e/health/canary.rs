//! Canaries: real objects in real buckets, which are gone again whatever happens.
//!
//! The emulator replicates at once, so that the first reading of a canary shows its end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
};
use futures::future::try_join_all;
use kube::api::DeleteParams;
use rig::proxy::{Answer, Call, Fault, GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{
    DESTINATION_REGION, NAME, ROLE, SOURCE_REGION, Scene, check_now, message, operator_of, patch, person,
    reason, replication, set,
};

/// Versions and delete markers in a bucket.
async fn held(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<Vec<String>> {
    let listed = s3.list_object_versions().bucket(bucket).send().await?;
    let versions = listed.versions().iter().map(|held| held.key().unwrap_or_default().to_owned());
    let markers =
        listed.delete_markers().iter().map(|held| format!("marker of {}", held.key().unwrap_or_default()));
    Ok(versions.chain(markers).collect())
}

/// Waits until buckets hold neither a version nor a delete marker.
async fn wait_empty(buckets: &[(aws_sdk_s3::Client, &str)]) -> Result<()> {
    let start = Instant::now();
    loop {
        let mut left = Vec::new();
        for (s3, bucket) in buckets {
            left.extend(held(s3, bucket).await?);
        }
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > DEADLINE {
            bail!("these are left: {left:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn result(status: &Value) -> &str {
    status["health"]["canary"]["result"].as_str().unwrap_or_default()
}

/// Waits until the status has the result of a canary.
async fn wait_result(world: &World, wanted: &str) -> Result<Value> {
    let found = world.wait(NAME, |status| result(status).starts_with(wanted), wanted).await?;
    Ok(found["status"].clone())
}

/// The requests that write or delete objects.
fn object_writes(world: &World) -> Vec<Call> {
    let mut calls = world.proxy.calls();
    calls.retain(|call| {
        ["PutObject", "DeleteObject", "DeleteObjects", "CopyObject"].contains(&call.operation.as_str())
    });
    calls
}

fn count(calls: &[Call], operation: &str) -> usize {
    calls.iter().filter(|call| call.operation == operation).count()
}

fn asks_for_canaries(spec: &mut Value) {
    spec["health"] = json!({"canary": {}});
}

impl Scene {
    fn both_buckets(&self) -> [(aws_sdk_s3::Client, &str); 2] {
        [
            (self.world.s3(SOURCE_REGION), self.source.as_str()),
            (self.world.s3(DESTINATION_REGION), self.destination.as_str()),
        ]
    }
}

#[tokio::test]
async fn a_canary_proves_that_objects_arrive_and_is_deleted_by_version_everywhere() -> Result<()> {
    let scene = Scene::named("canary").edit(asks_for_canaries).ready().await?;
    let status = wait_result(&scene.world, "Arrived").await?;
    assert_eq!(reason(&status, "Replicating"), "ObjectsArriving", "{status:#}");
    wait_empty(&scene.both_buckets()).await?;
    let calls = object_writes(&scene.world);
    assert_eq!((count(&calls, "PutObject"), count(&calls, "DeleteObject")), (1, 2), "{calls:?}");
    let uid = scene.world.get(NAME).await?["metadata"]["uid"].as_str().context("uid")?.to_owned();
    for call in &calls {
        assert!(call.path.contains(&format!(".s3replication.dev/{uid}/canary-")), "{}", call.path);
        assert!(call.operation == "PutObject" || call.path.contains("versionId="), "{}", call.path);
    }
    let places: Vec<&str> = status["canaryPlaces"]
        .as_array()
        .context("places")?
        .iter()
        .filter_map(|place| place["bucket"].as_str())
        .collect();
    assert_eq!(places.len(), 2, "{places:?}");
    assert!(places.contains(&scene.source.as_str()) && places.contains(&scene.destination.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_requested_check_sends_a_canary_and_an_idle_one_writes_no_status() -> Result<()> {
    let scene = Scene::named("again").edit(asks_for_canaries).ready().await?;
    wait_result(&scene.world, "Arrived").await?;
    let before = scene.check_object().await?;
    scene.check_object().await?;
    scene.world.proxy.wait_for(|calls| count(calls, "PutObject") == 3, DEADLINE).await?;
    wait_empty(&scene.both_buckets()).await?;
    let after = scene.world.get(NAME).await?;
    assert_eq!(before["status"]["health"], after["status"]["health"], "the verdict is the same");
    Ok(())
}

#[tokio::test]
async fn without_a_canary_in_the_spec_no_object_is_ever_written_or_listed() -> Result<()> {
    let scene = Scene::named("nocanary").ready().await?;
    scene.check().await?;
    assert!(object_writes(&scene.world).is_empty());
    assert_eq!(scene.world.proxy.count("ListObjectVersions"), 0);
    Ok(())
}

#[tokio::test]
async fn a_canary_has_the_tags_of_its_rule() -> Result<()> {
    let scene = Scene::named("tagged").edit(|spec| {
        asks_for_canaries(spec);
        spec["rules"][0]["filter"] = json!({"prefix": "orders/", "tags": {"team": "data & more"}});
    });
    let scene = scene.ready().await?;
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&scene.both_buckets()).await?;
    let calls = object_writes(&scene.world);
    assert!(calls[0].path.contains("/orders/.s3replication.dev/"), "{}", calls[0].path);
    Ok(())
}

/// The source encrypts what is written to it with a KMS key unless the request asks for something else.
async fn encrypt_by_default(world: &World, bucket: &str) -> Result<()> {
    let default =
        ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).build()?;
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
    let configuration = ServerSideEncryptionConfiguration::builder().rules(rule).build()?;
    let request = world.s3(SOURCE_REGION).put_bucket_encryption().bucket(bucket);
    request.server_side_encryption_configuration(configuration).send().await?;
    Ok(())
}

#[tokio::test]
async fn a_canary_that_is_encrypted_with_a_kms_key_arrives_by_a_rule_for_such_objects() -> Result<()> {
    let scene = Scene::named("kms").empty().await?;
    encrypt_by_default(&scene.world, &scene.source).await?;
    let kms = scene.world.as_account(&scene.world.account).kms(DESTINATION_REGION);
    let key = kms.create_key().send().await?.key_metadata().and_then(|key| key.arn().map(str::to_owned));
    let key = key.context("no key")?;
    scene
        .apply(|spec| {
            asks_for_canaries(spec);
            set(spec, "rules.0.kmsEncryptedObjects", json!("Enabled"));
            set(spec, "rules.0.destination.kmsKeyArn", json!(key));
        })
        .await?;
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&scene.both_buckets()).await
}

#[tokio::test]
async fn a_canary_that_the_rule_would_leave_out_is_refused_and_is_no_failure() -> Result<()> {
    let scene = Scene::named("kmsleftout").empty().await?;
    encrypt_by_default(&scene.world, &scene.source).await?;
    scene.apply(asks_for_canaries).await?;
    let status = wait_result(&scene.world, "Refused").await?;
    assert_eq!(reason(&status, "Replicating"), "CanaryRefused");
    assert!(message(&status, "Replicating").contains("kmsEncryptedObjects: Enabled"), "{status:#}");
    assert_eq!(reason(&status, "Ready"), "Applied");
    assert!(object_writes(&scene.world).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_bucket_whose_versions_cannot_be_deleted_gets_no_canary() -> Result<()> {
    let scene = Scene::named("locked").empty().await?;
    let s3 = scene.world.s3(SOURCE_REGION);
    let locked = scene.world.bucket_name();
    s3.create_bucket().bucket(&locked).object_lock_enabled_for_bucket(true).send().await?;
    let retention = DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(1).build();
    let configuration = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(ObjectLockRule::builder().default_retention(retention).build())
        .build();
    s3.put_object_lock_configuration()
        .bucket(&locked)
        .object_lock_configuration(configuration)
        .send()
        .await?;
    scene
        .apply(|spec| {
            asks_for_canaries(spec);
            spec["source"]["bucket"] = json!(locked);
        })
        .await?;
    let status = wait_result(&scene.world, "Refused").await?;
    assert_eq!(reason(&status, "Replicating"), "CanaryRefused");
    for part in [locked.as_str(), "Object Lock", "destination.metrics: Enabled"] {
        assert!(message(&status, "Replicating").contains(part), "{part}: {status:#}");
    }
    assert!(object_writes(&scene.world).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_bucket_with_mfa_delete_gets_no_canary() -> Result<()> {
    let scene = Scene::named("mfa").ready().await?;
    scene.world.proxy.set_mfa_delete(&scene.destination);
    scene.patch_spec(json!({"health": {"canary": {}}})).await?;
    let status = wait_result(&scene.world, "Refused").await?;
    assert!(message(&status, "Replicating").contains("MFA delete"), "{status:#}");
    assert!(object_writes(&scene.world).is_empty());
    Ok(())
}

#[tokio::test]
async fn observe_and_suspend_write_no_canary() -> Result<()> {
    let scene = Scene::named("observed").ready().await?;
    scene.patch_spec(json!({"managementPolicy": "Observe", "health": {"canary": {}}})).await?;
    scene.check().await?;
    scene.patch_spec(json!({"managementPolicy": "Enforce", "suspend": true})).await?;
    scene.world.wait(NAME, |status| reason(status, "Ready") == "Suspended", "suspended").await?;
    assert!(object_writes(&scene.world).is_empty());
    scene.patch_spec(json!({"suspend": false})).await?;
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&scene.both_buckets()).await
}

#[tokio::test]
async fn a_denied_write_is_reported_with_its_action_and_tried_again() -> Result<()> {
    let scene = Scene::named("denied").fail_fast().empty().await?;
    let denied = Answer::Error { status: 403, code: "AccessDenied".into(), message: "Access Denied".into() };
    let fault = scene.world.proxy.inject(Fault::always(Matcher::operation("PutObject"), denied));
    scene.apply(asks_for_canaries).await?;
    let status = wait_result(&scene.world, "Refused").await?;
    assert!(message(&status, "Replicating").contains("s3:PutObject"), "{status:#}");
    scene.world.proxy.remove(fault);
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&scene.both_buckets()).await
}

/// A policy that the operator does not manage denies the role one destination of two.
#[tokio::test]
async fn of_two_destinations_the_one_that_gets_nothing_is_named() -> Result<()> {
    let scene = Scene::named("two").empty().await?;
    let second = scene.world.bucket(DESTINATION_REGION).await?;
    scene
        .apply(|spec| {
            asks_for_canaries(spec);
            spec["rules"] = json!([
                {"id": "first", "priority": 1, "destination": {"bucket": scene.destination}},
                {"id": "second", "priority": 2, "destination": {"bucket": second}},
            ]);
        })
        .await?;
    wait_result(&scene.world, "Arrived").await?;
    let calls = object_writes(&scene.world);
    assert_eq!(count(&calls, "PutObject"), 1, "one object proves both rules: {calls:?}");
    let denied = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": "s3:ReplicateObject", "Resource": format!("arn:aws:s3:::{second}/*"),
    }]});
    let iam = scene.world.iam();
    iam.put_role_policy()
        .role_name(ROLE)
        .policy_name("theirs")
        .policy_document(denied.to_string())
        .send()
        .await?;
    check_now(&scene.world, NAME).await?;
    let status = wait_result(&scene.world, "Failed").await?;
    let failing = message(&status, "Replicating");
    assert_eq!(reason(&status, "Replicating"), "ObjectsFailing", "{status:#}");
    assert!(failing.contains("second") && failing.contains(&second), "{failing}");
    let mut buckets = scene.both_buckets().to_vec();
    buckets.push((scene.world.s3(DESTINATION_REGION), &second));
    wait_empty(&buckets).await?;
    iam.delete_role_policy().role_name(ROLE).policy_name("theirs").send().await?;
    check_now(&scene.world, NAME).await?;
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&buckets).await
}

#[tokio::test]
async fn each_rule_that_wins_for_a_key_has_a_canary_and_the_others_say_why_not() -> Result<()> {
    let scene = Scene::named("overlap").empty().await?;
    scene
        .apply(|spec| {
            asks_for_canaries(spec);
            spec["rules"] = json!([
                {"id": "outranked", "priority": 1, "filter": {"prefix": "logs/"}, "destination": {"bucket": scene.destination}},
                {"id": "all", "priority": 2, "destination": {"bucket": scene.destination}},
                {"id": "images", "priority": 3, "filter": {"prefix": "images/"},
                    "destination": {"bucket": scene.destination}},
            ]);
        })
        .await?;
    let status = wait_result(&scene.world, "Refused").await?;
    assert!(result(&status).contains("rule all"), "{status:#}");
    let calls = scene.world.proxy.wait_for(|calls| count(calls, "PutObject") == 2, DEADLINE).await?;
    let keys: Vec<&str> =
        calls.iter().filter(|c| c.operation == "PutObject").map(|c| c.path.as_str()).collect();
    assert!(keys.iter().any(|key| key.contains("/images/.s3replication.dev/")), "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("/logs/")), "{keys:?}");
    wait_empty(&scene.both_buckets()).await
}

/// The check in which the canary is listed goes on with the resource as it was.
#[tokio::test]
async fn a_canary_is_not_deleted_for_a_resource_that_is_suspended_in_the_middle_of_a_check() -> Result<()> {
    let scene = Scene::named("midcheck").empty().await?;
    // The replicas are listed just before the first of them is deleted.
    let gate = scene.world.proxy.gate(Matcher::operation("ListObjectVersions"), GateAt::BeforeForward);
    scene.apply(asks_for_canaries).await?;
    gate.reached(DEADLINE).await?;
    scene.patch_spec(json!({"suspend": true})).await?;
    gate.release();
    scene.world.wait(NAME, |status| reason(status, "Ready") == "Suspended", "suspended").await?;
    let calls = object_writes(&scene.world);
    assert_eq!((calls.len(), count(&calls, "PutObject")), (1, 1), "{calls:?}");
    scene.patch_spec(json!({"suspend": false})).await?;
    wait_empty(&scene.both_buckets()).await
}

/// The step of a canary that the operator is about to take when the test kills it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put,
    Read,
    ListReplicas,
    DeleteFirst,
    DeleteSecond,
}

impl Step {
    const ALL: [Step; 5] = [Step::Put, Step::Read, Step::ListReplicas, Step::DeleteFirst, Step::DeleteSecond];

    fn matcher(self) -> Matcher {
        match self {
            Step::Put => Matcher::operation("PutObject"),
            Step::Read => Matcher::operation("HeadObject"),
            // Nothing is listed before the first canary: there are no places yet.
            Step::ListReplicas => Matcher::operation("ListObjectVersions"),
            Step::DeleteFirst => Matcher::operation("DeleteObject").nth(1),
            Step::DeleteSecond => Matcher::operation("DeleteObject").nth(2),
        }
    }

    async fn kill(self, at: GateAt) -> Result<()> {
        let world = World::new("canarykill").await?;
        let (source, destination) =
            (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
        let first = operator_of(&world).start().await?;
        let gate = world.proxy.gate(self.matcher(), at);
        let mut resource = replication(NAME, &source, &destination);
        asks_for_canaries(&mut resource["spec"]);
        world.apply(&resource.to_string()).await?;
        gate.reached(DEADLINE).await?;
        first.kill().await?;
        gate.release();

        let _second = operator_of(&world).start().await?;
        wait_result(&world, "Arrived").await?;
        let buckets = [
            (world.s3(SOURCE_REGION), source.as_str()),
            (world.s3(DESTINATION_REGION), destination.as_str()),
        ];
        wait_empty(&buckets).await
    }

    async fn kill_each(at: GateAt) -> Result<()> {
        try_join_all(Step::ALL.map(|step| async move {
            step.kill(at).await.with_context(|| format!("killed at {step:?}, {at:?}"))
        }))
        .await
        .map(drop)
    }
}

#[tokio::test]
async fn an_operator_killed_before_any_step_of_a_canary_leaves_nothing() -> Result<()> {
    Step::kill_each(GateAt::BeforeForward).await
}

#[tokio::test]
async fn an_operator_killed_after_any_step_of_a_canary_leaves_nothing() -> Result<()> {
    Step::kill_each(GateAt::AfterForward).await
}

/// S3 takes its time, and the operator is killed meanwhile.
#[tokio::test]
async fn a_pending_canary_is_not_deleted_before_its_end_by_the_next_operator_either() -> Result<()> {
    let mut scene = Scene::named("pending").empty().await?;
    scene.world.hold_replication(&scene.source, 60).await?;
    scene.apply(asks_for_canaries).await?;
    scene.world.proxy.wait_for(|calls| count(calls, "HeadObject") >= 2, DEADLINE).await?;
    let status = scene.world.get(NAME).await?["status"].clone();
    assert_eq!(reason(&status, "Replicating"), "Progressing", "{status:#}");
    scene.operator.kill().await?;
    scene.world.proxy.clear();
    scene.operator = operator_of(&scene.world).start().await?;
    scene.world.proxy.wait_for(|calls| count(calls, "HeadObject") >= 2, DEADLINE).await?;
    assert!(object_writes(&scene.world).is_empty(), "neither is it deleted nor another one written");
    scene.world.release_replication(&scene.source).await?;
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&scene.both_buckets()).await
}

#[tokio::test]
async fn a_bare_status_about_a_canary_causes_a_call_whose_answer_has_a_body() -> Result<()> {
    let scene = Scene::named("bare").fail_fast().empty().await?;
    scene.world.hold_replication(&scene.source, 60).await?;
    scene.apply(asks_for_canaries).await?;
    scene.world.proxy.wait_for(|calls| count(calls, "HeadObject") >= 1, DEADLINE).await?;
    for operation in ["HeadObject", "ListObjectVersions"] {
        let expired = Answer::error(400, "ExpiredToken", "The provided token has expired.");
        scene.world.proxy.inject(Fault::always(Matcher::operation(operation), expired));
    }
    scene.operator.logged("ExpiredToken: The provided token has expired", DEADLINE).await?;
    scene.world.proxy.remove_faults();
    scene.world.release_replication(&scene.source).await?;
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&scene.both_buckets()).await
}

/// Makes a canary that nobody deletes: the operator is killed once it is written.
async fn left_canary(name: &str, edit: impl FnOnce(&mut Value) + Send) -> Result<Scene> {
    let mut scene = Scene::named(name).empty().await?;
    let gate = scene.world.proxy.gate(Matcher::operation("PutObject"), GateAt::AfterForward);
    scene
        .apply(|spec| {
            asks_for_canaries(spec);
            edit(spec);
        })
        .await?;
    gate.reached(DEADLINE).await?;
    scene.operator.kill().await?;
    gate.release();
    ensure!(held(&scene.world.s3(SOURCE_REGION), &scene.source).await?.len() == 1, "there is no canary");
    scene.operator = operator_of(&scene.world).start().await?;
    Ok(scene)
}

#[tokio::test]
async fn a_deleted_resource_leaves_no_canary() -> Result<()> {
    for policy in ["Delete", "Retain"] {
        let scene = left_canary("deleted", |spec| spec["deletionPolicy"] = json!(policy)).await?;
        scene.world.api().delete(NAME, &DeleteParams::default()).await?;
        scene.world.wait_gone(NAME).await?;
        wait_empty(&scene.both_buckets()).await.context(policy)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_canary_of_a_former_prefix_is_found_by_the_place_that_the_status_names() -> Result<()> {
    let scene = left_canary("moved", |_| {}).await?;
    scene.patch_spec(json!({"health": {"canary": {"prefix": "probes/"}}})).await?;
    wait_result(&scene.world, "Arrived").await?;
    wait_empty(&scene.both_buckets()).await?;
    let moved = |status: &Value| {
        let places = status["canaryPlaces"].as_array().map(Vec::as_slice).unwrap_or_default();
        places.len() == 2
            && places.iter().all(|p| p["prefix"].as_str().is_some_and(|p| p.starts_with("probes/")))
    };
    scene.world.wait(NAME, moved, "to have forgotten the former places").await?;
    Ok(())
}

#[tokio::test]
async fn a_resource_that_asks_for_no_canary_any_more_leaves_none() -> Result<()> {
    let scene = left_canary("stopped", |_| {}).await?;
    patch(&scene.world, NAME, json!({"spec": {"health": null}})).await?;
    scene.world.wait(NAME, |status| status["canaryPlaces"].is_null(), "to have forgotten its places").await?;
    wait_empty(&scene.both_buckets()).await
}

/// Two accounts of which `allowing` allow canaries.
async fn two_accounts(
    name: &str,
    allowing: [bool; 2],
) -> Result<(World, rig::operator::Operator, [String; 4])> {
    let world = World::with_accounts(name).await?;
    let abroad_id = world.another_account();
    let all =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let role = world.assumable_role(&abroad_id, "operator", &world.account, None, &all.to_string()).await?;
    let (home, abroad) = (world.unique("home"), world.unique("abroad"));
    for (account, id, role, allows) in
        [(&home, &world.account, None, allowing[0]), (&abroad, &abroad_id, Some(role), allowing[1])]
    {
        let mut manifest = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "AwsAccount",
            "metadata": {"name": account},
            "spec": {
                "accountId": id,
                "namespaces": {"matchNames": [world.namespace]},
                "sources": ["*"],
                "destinations": ["*"],
            },
        });
        if let Some(arn) = role {
            manifest["spec"]["assumeRole"] = json!({"arn": arn});
        }
        if allows {
            manifest["spec"]["allow"] = json!(["Canary"]);
        }
        world.apply(&manifest.to_string()).await?;
    }
    let (source, destination) =
        (world.bucket(SOURCE_REGION).await?, world.bucket_of(&abroad_id, DESTINATION_REGION).await?);
    let running = operator_of(&world).start().await?;
    let mut resource = replication(NAME, &source, &destination);
    asks_for_canaries(&mut resource["spec"]);
    resource["spec"]["source"]["accountRef"] = json!(home);
    resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(abroad);
    world.apply(&resource.to_string()).await?;
    Ok((world, running, [abroad_id, abroad, source, destination]))
}

#[tokio::test]
async fn a_canary_crosses_accounts_and_is_deleted_in_both() -> Result<()> {
    let (world, _operator, [abroad_id, _, source, destination]) =
        two_accounts("abroad", [true, true]).await?;
    let status = wait_result(&world, "Arrived").await?;
    assert_eq!(reason(&status, "Replicating"), "ObjectsArriving");
    let abroad = world.as_account(&abroad_id).s3(DESTINATION_REGION);
    wait_empty(&[(world.s3(SOURCE_REGION), &source), (abroad, &destination)]).await?;
    let deleted = object_writes(&world);
    let abroad = deleted.iter().filter(|call| call.operation == "DeleteObject" && call.account == abroad_id);
    assert_eq!(abroad.count(), 1, "{deleted:?}");
    assert!(deleted.iter().all(|call| call.expected_owner.is_some()), "{deleted:?}");
    Ok(())
}

#[tokio::test]
async fn an_account_that_does_not_allow_canaries_gets_none_until_it_does() -> Result<()> {
    let (world, _operator, [_, abroad, ..]) = two_accounts("unallowed", [true, false]).await?;
    let status = wait_result(&world, "Refused").await?;
    assert!(message(&status, "Replicating").contains(&format!("AwsAccount {abroad}")), "{status:#}");
    assert!(message(&status, "Replicating").contains("add Canary to spec.allow"), "{status:#}");
    assert!(object_writes(&world).is_empty());
    crate::support::patch_account(&world, &abroad, json!({"spec": {"allow": ["Canary"]}})).await?;
    check_now(&world, NAME).await?;
    wait_result(&world, "Arrived").await?;
    Ok(())
}

/// The statements of the operator's own policy that are about canaries.
async fn printed(world: &World, resource: &Value) -> Result<Value> {
    let args = ["policy", "-f", "-", "-o", "json", "--account-id", &world.account];
    let output = person(world).run(args, &resource.to_string()).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut policies: Value = serde_json::from_slice(&output.stdout)?;
    Ok(policies["policy of the operator"].take())
}

#[tokio::test]
async fn the_printed_policy_has_rights_for_objects_only_where_a_canary_is_asked_for_and_they_suffice()
-> Result<()> {
    let world = World::with_auth("canaryrights").await?;
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    let mut resource = replication(NAME, &source, &destination);
    resource["metadata"]["namespace"] = json!(world.namespace);
    resource["spec"]["role"]["path"] = json!("/");
    let without = printed(&world, &resource).await?.to_string();
    assert!(!without.contains("Object\"") && !without.contains("ObjectVersion"), "{without}");
    asks_for_canaries(&mut resource["spec"]);
    resource["spec"]["rules"][0]["filter"] = json!({"prefix": "", "tags": {"team": "data"}});
    let policy = printed(&world, &resource).await?;
    let objects = format!("arn:aws:s3:::{source}/.s3replication.dev/*");
    assert!(policy.to_string().contains(&objects), "{policy:#}");
    let (key, secret) = world.user("operator", &policy.to_string()).await?;
    let _operator = operator_of(&world).credentials(&key, &secret).start().await?;
    world.apply(&resource.to_string()).await?;
    wait_result(&world, "Arrived").await?;
    let buckets =
        [(world.s3(SOURCE_REGION), source.as_str()), (world.s3(DESTINATION_REGION), destination.as_str())];
    wait_empty(&buckets).await
}
