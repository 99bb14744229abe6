//! `ReplicationBackfill`: objects that were missed arrive by exactly one job, whatever happens on the way.

mod admission;
mod arrival;
mod ending;
pub mod guards;
mod leaders;
mod many;
mod once;
mod rights;
mod statuses;

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use kube::api::{DeleteParams, Patch, PatchParams};
use rig::jobs::Jobs;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, NAME, SOURCE_REGION, Scene, operator_of, reason};

/// The name of the backfill in most tests.
pub const BACKFILL: &str = "missed";

/// The name of the role that the operator makes for it.
fn role_of(world: &World) -> String {
    format!("backfill+{}.{BACKFILL}", world.namespace)
}

/// An operator that does not wait after its own writes, and objects that were there before the rule.
pub async fn scene_with_objects(name: &str, keys: &[&str]) -> Result<Scene> {
    let scene = Scene::named(name).args(&["--backfill-settle", "0"]).empty().await?;
    for key in keys {
        put(&scene, key).await?;
    }
    scene.apply(|_| {}).await?;
    scene.world.wait_ready(NAME).await?;
    Ok(scene)
}

/// Writes an object with a tag and metadata into the source.
async fn put(scene: &Scene, key: &str) -> Result<()> {
    let s3 = scene.world.s3(SOURCE_REGION);
    let request =
        s3.put_object().bucket(&scene.source).key(key).tagging("team=data").metadata("origin", "before");
    request.body(ByteStream::from(format!("body of {key}").into_bytes())).send().await?;
    Ok(())
}

/// The keys at the destination, sorted.
async fn arrived(scene: &Scene) -> Result<Vec<String>> {
    let s3 = scene.world.s3(DESTINATION_REGION);
    let listed = s3.list_objects_v2().bucket(&scene.destination).send().await?;
    Ok(listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect())
}

/// A backfill of the scene's replication.
fn backfill(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "ReplicationBackfill",
        "metadata": {"name": name},
        "spec": {"replicationRef": {"name": NAME}},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

pub async fn apply(world: &World, name: &str, spec: Value) -> Result<()> {
    world.apply(&backfill(name, spec).to_string()).await.map(drop)
}

pub async fn patch(world: &World, change: Value) -> Result<()> {
    world.backfills().patch(BACKFILL, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

async fn delete(world: &World) -> Result<()> {
    world.backfills().delete(BACKFILL, &DeleteParams::default()).await?;
    Ok(())
}

async fn wait_gone(world: &World) -> Result<()> {
    world.wait_on(&world.backfills(), BACKFILL, |object| object.is_none(), "to be gone").await.map(drop)
}

/// Waits until Ready has this reason, and returns the status.
pub async fn wait_reason(world: &World, wanted: &str) -> Result<Value> {
    let object = world.wait_backfill(BACKFILL, |status| reason(status, "Ready") == wanted, wanted).await?;
    Ok(object["status"].clone())
}

/// Has the operator check the job now, and returns the status after it.
pub async fn check_job(world: &World) -> Result<Value> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let value = format!("check-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    patch(world, json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": value}}})).await?;
    let checked = |status: &Value| status["lastHandledRequest"] == value.as_str();
    Ok(world.wait_backfill(BACKFILL, checked, "to have been checked").await?["status"].clone())
}

/// The id of the job, once the status has it.
pub async fn job_id(world: &World) -> Result<String> {
    let object = world.wait_backfill(BACKFILL, |status| status["jobId"].is_string(), "to have a job").await?;
    Ok(object["status"]["jobId"].as_str().context("jobId")?.to_owned())
}

/// Lets the job run to its end, and returns the status after it.
pub async fn finish(world: &World, jobs: &Jobs, id: &str) -> Result<Value> {
    jobs.advance_to(id, "Complete").await?;
    check_job(world).await
}

/// Starts an operator after another one was killed, and lets the backfill end: there is one job, everything has
/// arrived, and no role is left. `has_ended`: the job had, before the operator was killed.
async fn complete_by_another_operator(scene: &Scene, has_ended: bool) -> Result<()> {
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let _second = operator_of(world).args(["--backfill-settle", "0"]).start().await?;
    if !has_ended {
        let id = job_id(world).await?;
        finish(world, &jobs, &id).await?;
    }
    let status = wait_reason(world, "Completed").await?;
    let job = jobs.only().await?;
    ensure!(status["jobId"] == job["id"], "{status:#}");
    ensure!(arrived(scene).await? == ["one", "two"]);
    world.wait_backfill(BACKFILL, |status| status["role"].is_null(), "to have no role").await?;
    ensure!(roles_left(world).await?.is_empty(), "a role is left");
    Ok(())
}

/// The names of the roles of jobs that are left in AWS.
async fn roles_left(world: &World) -> Result<Vec<String>> {
    let roles = world.iam().list_roles().send().await?;
    let names = roles.roles().iter().map(|role| role.role_name().to_owned());
    Ok(names.filter(|name| name.starts_with("backfill+")).collect())
}
