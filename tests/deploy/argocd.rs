//! Argo CD's health check, run in Lua as Argo CD runs it: over its test data, and over a resource from creation to
//! deletion.

use std::fs;

use anyhow::{Context, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use mlua::{Lua, LuaOptions, LuaSerdeExt, StdLib};
use rig::world::{World, condition};
use serde_json::{Value, json};

use crate::support::{read, read_yaml, repository};

pub const FOLDER: &str = "deploy/argocd/resource_customizations/s3replication.dev";

/// The kinds that have a health check, all with a condition Ready.
pub const KINDS: [&str; 2] = ["BucketReplication", "AwsAccount"];

/// The status and the message of the health check for an object. Argo CD gives scripts the table library only.
pub fn health(kind: &str, object: &Value) -> Result<(String, String)> {
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).map_err(lua_error)?;
    let result: Value = (|| {
        lua.globals().set("obj", lua.to_value(object)?)?;
        let result = lua.load(read(&format!("{FOLDER}/{kind}/health.lua")).unwrap_or_default()).eval()?;
        lua.from_value(result)
    })()
    .map_err(lua_error)?;
    let part =
        |key: &str| result[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {result}"));
    Ok((part("status")?, part("message")?))
}

/// A Lua error cannot always pass between threads.
fn lua_error(error: mlua::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

#[test]
fn the_health_check_passes_the_tests_in_argo_cd_s_own_layout() -> Result<()> {
    for kind in KINDS {
        let folder = format!("{FOLDER}/{kind}");
        let tests = read_yaml(&format!("{folder}/health_test.yaml"))?;
        let mut statuses = Vec::new();
        for test in tests["tests"].as_array().context("no tests")? {
            let input = test["inputPath"].as_str().context("inputPath")?;
            let object = read_yaml(&format!("{folder}/{input}"))?;
            assert_eq!(object["kind"], kind);
            let (status, message) = health(kind, &object).with_context(|| input.to_owned())?;
            let expected = &test["healthStatus"];
            assert_eq!(
                (json!(status), json!(message)),
                (expected["status"].clone(), expected["message"].clone())
            );
            statuses.push(status);
        }
        for status in ["Healthy", "Progressing", "Degraded", "Suspended"] {
            ensure!(
                kind == "AwsAccount" && status == "Suspended" || statuses.iter().any(|s| s == status),
                "{kind}: no test of {status}"
            );
        }
        let files = fs::read_dir(repository(&format!("{folder}/testdata")))?.count();
        assert_eq!(files, statuses.len(), "each file in {folder}/testdata is used once");
    }
    Ok(())
}

#[tokio::test]
async fn the_health_of_a_resource_follows_its_life() -> Result<()> {
    let world = World::new("health").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let resource = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": "orders"},
        "spec": {"source": {"bucket": source}, "rules": [{"id": "all", "destination": {"bucket": destination}}]},
    });
    let shown = |object: &Value| health("BucketReplication", object);
    let [fresh] =
        world.apply(&resource.to_string()).await?.try_into().map_err(|_| anyhow::anyhow!("one object"))?;
    assert_eq!(shown(&fresh)?.0, "Progressing");

    let operator = world.operator().binary(env!("CARGO_BIN_EXE_s3-replication-operator")).start().await?;
    let ready = world.wait_ready("orders").await?;
    assert_eq!(shown(&ready)?.0, "Healthy");

    let change = |spec: Value| Patch::Merge(json!({"spec": spec}));
    let seen = |object: Option<&Value>, status: &str| {
        object.is_some_and(|o| {
            o["status"]["observedGeneration"] == o["metadata"]["generation"]
                && condition(&o["status"], "Ready").is_some_and(|c| c["status"] == status)
        })
    };
    // Stopped, so that the state between a change and its observation lasts.
    operator.terminate().await?;
    let suspend = change(json!({"suspend": true}));
    world.api().patch("orders", &PatchParams::default(), &suspend).await?;
    let changed = world.get("orders").await?;
    assert_eq!(
        shown(&changed)?,
        ("Progressing".to_owned(), "Waiting for the operator to see generation 2".to_owned())
    );
    let _operator = world.operator().binary(env!("CARGO_BIN_EXE_s3-replication-operator")).start().await?;
    let suspended = world.wait_object("orders", |o| seen(o, "Unknown"), "to be suspended").await?;
    let suspended = suspended.context("gone")?;
    assert_eq!(shown(&suspended)?.0, "Suspended");

    let missing = json!([{"id": "all", "destination": {"bucket": world.bucket_name()}}]);
    let wrong = change(json!({"suspend": false, "rules": missing}));
    world.api().patch("orders", &PatchParams::default(), &wrong).await?;
    let failed = world.wait_object("orders", |o| seen(o, "False"), "to fail").await?.context("gone")?;
    let (status, message) = shown(&failed)?;
    assert_eq!(status, "Degraded");
    assert_eq!(json!(message), condition(&failed["status"], "Ready").context("Ready")?["message"]);
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await
}
