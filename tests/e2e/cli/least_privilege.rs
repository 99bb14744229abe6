//! The operator under exactly the policy that `policy` prints, against an AWS that enforces it: it needs no more,
//! and each action it names is needed.
//!
//! The role of these tests has the path `/`. The emulator leaves the path out of the resource that it searches for in a
//! policy, so that a policy for a role with a path allows nothing there. It does not look at `iam:PassRole`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_iam::types::Tag;
use aws_sdk_s3::types::BucketVersioningStatus;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::DeleteParams;
use rig::operator::Operator;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{
    check_now, operator_of, person, reason, replication, request_check, see_own_writes, strings,
    turn_of_a_busy_test,
};

const ROLE: &str = "orders-role";
const BOUNDARY: &str = "arn:aws:iam::aws:policy/AmazonS3FullAccess";

/// Actions in the policy that a life cycle in these tests does not miss.
const NOT_NEEDED_HERE: [&str; 3] = [
    // The emulator does not check it.
    "iam:PassRole",
    // Needed only if the source has Object Lock; another test shows that.
    "s3:GetBucketObjectLockConfiguration",
    // S3 returns a bucket's Region even when it denies the request, and so does the emulator. Only a missing
    // bucket cannot be distinguished from a denied one.
    "s3:ListBucket",
];

/// A world that enforces policies, two buckets, and a resource whose role has a tag and a boundary.
async fn scene(name: &str) -> Result<(World, Value)> {
    let world = World::with_auth(name).await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let mut resource = replication("orders", &source, &destination);
    resource["metadata"]["namespace"] = json!(world.namespace);
    resource["spec"]["role"] =
        json!({"name": ROLE, "path": "/", "tags": {"team": "data"}, "permissionsBoundary": BOUNDARY});
    Ok((world, resource))
}

/// The operator's own policy as `policy` prints it for these resources.
async fn printed(world: &World, resources: &[&Value]) -> Result<Value> {
    let file: Vec<String> = resources.iter().map(ToString::to_string).collect();
    let args = ["policy", "-f", "-", "-o", "json", "--account-id", &world.account];
    let output = person(world).run(args, &file.join("\n---\n")).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut policies: Value = serde_json::from_slice(&output.stdout)?;
    Ok(policies["policy of the operator"].take())
}

/// An operator with this policy and no other permission.
async fn operator_with(world: &World, policy: &Value) -> Result<Operator> {
    let (key, secret) = world.user("operator", &policy.to_string()).await?;
    operator_of(world).credentials(&key, &secret).start().await
}

/// All actions that a policy allows.
fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    statements.iter().flat_map(|statement| strings(&statement["Action"])).collect()
}

/// The policy without one action.
fn without(policy: &Value, action: &str) -> Value {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().into_iter().flatten() {
        let mut rest = strings(&statement["Action"]);
        rest.retain(|a| a != action);
        statement["Action"] = json!(rest);
    }
    let statements = policy["Statement"].as_array_mut();
    if let Some(statements) = statements {
        statements.retain(|statement| statement["Action"] != json!([]));
    }
    policy
}

/// Changes that someone else makes in AWS.
#[derive(Clone, Copy, Debug)]
enum Drift {
    SourceVersioning,
    Trust,
    TagChanged,
    BoundaryRemoved,
    BoundaryChanged,
    Policy,
    PolicyRemoved,
    Configuration,
}

impl Drift {
    const ALL: [Drift; 8] = [
        Drift::SourceVersioning,
        Drift::Trust,
        Drift::TagChanged,
        Drift::BoundaryRemoved,
        Drift::BoundaryChanged,
        Drift::Policy,
        Drift::PolicyRemoved,
        Drift::Configuration,
    ];

    async fn make(self, world: &World, source: &str, destination: &str) -> Result<()> {
        let iam = world.iam();
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole",
        }]});
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        match self {
            // S3 refuses to suspend the versioning of a replicating source, so this suspends the destination's.
            Drift::SourceVersioning => {
                world.set_versioning("eu-west-1", destination, BucketVersioningStatus::Suspended).await?;
            }
            Drift::Trust => {
                let request =
                    iam.update_assume_role_policy().role_name(ROLE).policy_document(trust.to_string());
                request.send().await?;
            }
            Drift::TagChanged => {
                drop(iam.tag_role().role_name(ROLE).tags(tag("team", "other")?).send().await?)
            }
            Drift::BoundaryRemoved => {
                iam.delete_role_permissions_boundary().role_name(ROLE).send().await?;
            }
            Drift::BoundaryChanged => {
                let other = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
                iam.put_role_permissions_boundary()
                    .role_name(ROLE)
                    .permissions_boundary(other)
                    .send()
                    .await?;
            }
            Drift::Policy => {
                let nothing = json!({"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow", "Action": "s3:ListBucket", "Resource": format!("arn:aws:s3:::{source}"),
                }]});
                let request = iam.put_role_policy().role_name(ROLE).policy_name("s3-replication");
                request.policy_document(nothing.to_string()).send().await?;
            }
            Drift::PolicyRemoved => {
                iam.delete_role_policy().role_name(ROLE).policy_name("s3-replication").send().await?;
            }
            Drift::Configuration => {
                world.s3("us-east-1").delete_bucket_replication().bucket(source).send().await?;
            }
        }
        Ok(())
    }
}

fn buckets(resource: &Value) -> Result<(&str, &str)> {
    let spec = &resource["spec"];
    let source = spec["source"]["bucket"].as_str().context("source")?;
    Ok((source, spec["rules"][0]["destination"]["bucket"].as_str().context("destination")?))
}

#[tokio::test]
async fn the_printed_policy_suffices_for_a_whole_life_cycle() -> Result<()> {
    let (world, mut resource) = scene("enough").await?;
    let mut unbounded = resource.clone();
    unbounded["spec"]["role"].as_object_mut().context("role")?.remove("permissionsBoundary");
    let mut renamed = unbounded.clone();
    renamed["spec"]["role"]["name"] = json!("renamed-role");
    // Taking the boundary off needs permissions without it, and renaming the role needs permissions for both names.
    let policy = printed(&world, &[&resource, &unbounded, &renamed]).await?;
    let _operator = operator_with(&world, &policy).await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;

    let (source, destination) = buckets(&resource)?;
    for drift in Drift::ALL {
        see_own_writes(&world, "orders").await?;
        drift.make(&world, source, destination).await?;
        let before = world.get("orders").await?["status"]["lastCorrection"].clone();
        let status = &check_now(&world, "orders").await?["status"];
        ensure!(reason(status, "Ready") == "Applied", "{drift:?} is not corrected: {status:#}");
        ensure!(status["lastCorrection"]["items"] != before["items"], "{drift:?} was not seen: {status:#}");
    }

    resource["spec"]["role"]["tags"] = json!({"owner": "platform"});
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    resource["spec"]["role"].as_object_mut().context("role")?.remove("permissionsBoundary");
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    resource["spec"]["role"]["name"] = json!("renamed-role");
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    ensure!(world.iam().get_role().role_name(ROLE).send().await.is_err(), "the old role is still there");

    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await?;
    assert!(world.iam().get_role().role_name("renamed-role").send().await.is_err());
    Ok(())
}

/// The operator removes a boundary that someone else adds to a role, although the spec names none.
#[tokio::test]
async fn the_printed_policy_suffices_to_remove_an_unexpected_boundary() -> Result<()> {
    let (world, mut resource) = scene("stray").await?;
    resource["spec"]["role"].as_object_mut().context("role")?.remove("permissionsBoundary");
    let policy = printed(&world, &[&resource]).await?;
    assert!(!actions(&policy).contains("iam:PutRolePermissionsBoundary"), "{policy:#}");
    let _operator = operator_with(&world, &policy).await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    let (source, destination) = buckets(&resource)?;
    Drift::BoundaryChanged.make(&world, source, destination).await?;
    let status = &check_now(&world, "orders").await?["status"];
    assert_eq!(reason(status, "Ready"), "Applied", "{status:#}");
    assert_eq!(status["lastCorrection"]["items"][0]["path"], "permissionsBoundary");
    Ok(())
}

/// The operator only reads an existing role and passes it to S3.
#[tokio::test]
async fn an_existing_role_needs_two_iam_actions() -> Result<()> {
    let (world, mut resource) = scene("existing").await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole",
    }]});
    let trust = trust.to_string();
    world.iam().create_role().role_name("by-hand").assume_role_policy_document(trust).send().await?;
    resource["spec"]["role"] = json!({"arn": format!("arn:aws:iam::{}:role/by-hand", world.account)});
    let policy = printed(&world, &[&resource]).await?;
    let mut iam = actions(&policy);
    iam.retain(|action| action.starts_with("iam:"));
    assert_eq!(iam.into_iter().collect::<Vec<_>>(), ["iam:GetRole", "iam:PassRole"]);
    let _operator = operator_with(&world, &policy).await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await
}

/// Whether a condition names an action.
fn names(object: Option<&Value>, action: &str) -> bool {
    let conditions = object.and_then(|object| object["status"]["conditions"].as_array());
    let message = |condition: &Value| condition["message"].as_str().unwrap_or_default().to_owned();
    // `iam:GetRole` is not `iam:GetRolePolicy`.
    let reported =
        |text: String| text.split(|c: char| !c.is_alphanumeric() && c != ':').any(|word| word == action);
    conditions.into_iter().flatten().any(|condition| reported(message(condition)))
}

/// Takes a resource from creation to deletion, through each kind of drift and a change. Ends when a condition names
/// the action.
async fn live_until_named(world: &World, resource: &Value, action: &str) -> Result<()> {
    let named = |object: Option<&Value>| names(object, action);
    let ready = |object: Option<&Value>| object.is_some_and(|o| reason(&o["status"], "Ready") == "Applied");
    let (source, destination) = buckets(resource)?;
    world.apply(&resource.to_string()).await?;
    let seen = world.wait_object("orders", |o| named(o) || ready(o), "to be Ready or denied").await?;
    if named(seen.as_ref()) {
        return Ok(());
    }
    for drift in Drift::ALL {
        drift.make(world, source, destination).await?;
        let asked = request_check(world, "orders").await?;
        let checked =
            |o: Option<&Value>| o.is_some_and(|o| o["status"]["lastHandledRequest"] == asked.as_str());
        let seen = world.wait_object("orders", |o| named(o) || checked(o), "to have been checked").await?;
        if named(seen.as_ref()) {
            return Ok(());
        }
    }
    let mut unbounded = resource.clone();
    let role = unbounded["spec"]["role"].as_object_mut().context("role")?;
    role.retain(|field, _| field != "permissionsBoundary" && field != "tags");
    let applied = world.apply(&unbounded.to_string()).await?;
    let generation = applied[0]["metadata"]["generation"].clone();
    let handled = |o: Option<&Value>| o.is_some_and(|o| o["status"]["observedGeneration"] == generation);
    let seen = world.wait_object("orders", |o| named(o) || handled(o), "to have lost its boundary").await?;
    if named(seen.as_ref()) {
        return Ok(());
    }
    world.api().delete("orders", &DeleteParams::default()).await?;
    match world.wait_object("orders", |o| named(o) || o.is_none(), "to be gone or denied").await? {
        Some(_) => Ok(()),
        None => bail!("a whole life went well without it"),
    }
}

#[tokio::test]
async fn each_action_of_the_printed_policy_is_needed_and_named_when_it_is_missing() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    let (world, resource) = scene("needed").await?;
    let all = actions(&printed(&world, &[&resource]).await?);
    assert!(NOT_NEEDED_HERE.iter().all(|action| all.contains(*action)), "{all:?}");
    stream::iter(all.into_iter().filter(|action| !NOT_NEEDED_HERE.contains(&action.as_str())))
        .map(|action| async move {
            let life = async {
                let (world, resource) = scene("needed").await?;
                let policy = without(&printed(&world, &[&resource]).await?, &action);
                let _operator = operator_with(&world, &policy).await?;
                live_until_named(&world, &resource, &action).await
            };
            life.await.with_context(|| format!("without {action}"))
        })
        .buffer_unordered(6)
        .try_collect()
        .await
}
