//! Every file in `deploy/samples`, in one Application: what the API server and the operator add is no difference.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::application::{Application, OPERATOR};
use super::ground::{Ground, on_shared, repository};
use super::team::of_repository;

/// Ways to apply and to compare, besides the one of the file that a user applies.
const WAYS: [&str; 3] = ["as-the-file-says", "client-side", "server-side-diff"];

pub fn stay_synced() -> Result<()> {
    on_shared(async |ground| {
        ground.application(OPERATOR).wait_healthy().await?;
        for way in WAYS {
            one_way(ground, way).await.with_context(|| way.to_owned())?;
        }
        Ok(())
    })
}

async fn one_way(ground: &Ground, way: &str) -> Result<()> {
    let samples = ground.argocd.git.repository(&format!("samples/{way}.git"))?;
    samples.copy(&repository("deploy/samples"), ".")?;
    samples.commit("The samples")?;
    let namespace = ground.world.namespace(&[]).await?;
    let mut manifest = of_repository(ground, &format!("samples-{way}"), &namespace, samples.url())?;
    match way {
        "client-side" => manifest["spec"]["syncPolicy"]["syncOptions"] = json!([]),
        "server-side-diff" => {
            manifest["metadata"]["annotations"]["argocd.argoproj.io/compare-options"] =
                json!("ServerSideDiff=true");
        }
        _ => {}
    }
    let application = Application::apply(ground, &manifest)?;
    let app = application.wait_synced().await?;
    ensure!(app["spec"]["ignoreDifferences"].is_null(), "differences are ignored");
    let resources = app["status"]["resources"].as_array().context("no resources")?;
    let replications: Vec<&str> = resources
        .iter()
        .filter(|resource| resource["kind"] == "BucketReplication")
        .filter_map(|resource| resource["name"].as_str())
        .collect();
    ensure!(!replications.is_empty(), "there are no samples");

    // The operator has been at each, with its finalizer and its status.
    let api = ground.world.api_in(&namespace);
    let written = |object: Option<&Value>| {
        object
            .is_some_and(|object| object["status"]["observedGeneration"] == object["metadata"]["generation"])
    };
    for name in replications {
        ground.world.wait_on(&api, name, written, "to have been seen by the operator").await?;
    }
    application.stays_synced().await?;
    application.delete().await?;
    application.wait_gone().await
}
