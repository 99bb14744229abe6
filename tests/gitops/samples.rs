//! Every file in `deploy/samples`, in one Application: Argo CD ignores what the API server and the operator add.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::application::{Application, OPERATOR};
use super::environment::{Environment, on_shared, repository};
use super::team::of_repository;

/// Ways to apply and compare; the first is that of the file that a user applies.
const WAYS: [&str; 3] = ["as-the-file-says", "client-side", "server-side-diff"];

/// The Regions with which the names of the samples' buckets end.
const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-southeast-2"];

pub fn stay_synced() -> Result<()> {
    on_shared(async |environment| {
        environment.application(OPERATOR).wait_healthy().await?;
        for way in WAYS {
            one_way(environment, way).await.with_context(|| way.to_owned())?;
        }
        Ok(())
    })
}

async fn one_way(environment: &Environment, way: &str) -> Result<()> {
    let samples = environment.argocd.git.repository(&format!("samples/{way}.git"))?;
    for entry in fs::read_dir(repository("deploy/samples"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        samples.write(&name, &with_buckets(environment, fs::read_to_string(&path)?).await?)?;
    }
    samples.commit("The samples")?;
    let namespace = environment.world.namespace(&[]).await?;
    let mut manifest = of_repository(environment, &format!("samples-{way}"), &namespace, samples.url())?;
    match way {
        "client-side" => manifest["spec"]["syncPolicy"]["syncOptions"] = json!([]),
        "server-side-diff" => {
            manifest["metadata"]["annotations"]["argocd.argoproj.io/compare-options"] =
                json!("ServerSideDiff=true");
        }
        _ => {}
    }
    let application = Application::apply(environment, &manifest)?;
    let app = application.wait_synced().await?;
    ensure!(app["spec"]["ignoreDifferences"].is_null(), "differences are ignored");
    let resources = app["status"]["resources"].as_array().context("no resources")?;
    let replications: Vec<&str> = resources
        .iter()
        .filter(|resource| resource["kind"] == "BucketReplication")
        .filter_map(|resource| resource["name"].as_str())
        .collect();
    ensure!(!replications.is_empty(), "there are no samples");

    // The operator has checked each. Those that it may act on have its finalizer.
    let api = environment.world.api_in(&namespace);
    let seen = |object: Option<&Value>| {
        object
            .is_some_and(|object| object["status"]["observedGeneration"] == object["metadata"]["generation"])
    };
    let mut held = 0;
    for name in &replications {
        let object = environment.world.wait_on(&api, name, seen, "to have been seen by the operator").await?;
        held += usize::from(object.is_some_and(|object| object["metadata"]["finalizers"].is_array()));
    }
    ensure!(held > replications.len() / 2, "only {held} have a finalizer");
    application.check_stays_synced().await?;
    application.delete().await?;
    application.wait_gone().await
}

/// Replaces the buckets of a sample by existing ones.
async fn with_buckets(environment: &Environment, mut text: String) -> Result<String> {
    let resources: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let mut buckets = BTreeSet::new();
    for spec in resources.iter().map(|resource| &resource["spec"]) {
        let rules = spec["rules"].as_array().into_iter().flatten();
        let all = rules.map(|rule| &rule["destination"]).chain([&spec["source"]]);
        buckets.extend(all.filter_map(|side| side["bucket"].as_str().map(str::to_owned)));
    }
    for bucket in buckets {
        let region = REGIONS.into_iter().find(|region| bucket.ends_with(region));
        let region = region.with_context(|| format!("the name of bucket {bucket} holds no Region"))?;
        text = text.replace(&bucket, &environment.world.bucket(region).await?);
    }
    Ok(text)
}
