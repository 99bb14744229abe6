//! `Chart.yaml`: what Artifact Hub shows of the chart is true.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::support::{accepted, container, prepare_cluster, read, read_yaml, rendered, repository, the};

const CHART: &str = "charts/s3-replication-operator/Chart.yaml";

/// An annotation of Artifact Hub that holds a list as YAML.
fn list(name: &str) -> Result<Vec<Value>> {
    let chart = read_yaml(CHART)?;
    let text =
        chart["annotations"][format!("artifacthub.io/{name}")].as_str().context("no such annotation")?;
    serde_saphyr::from_str(text).with_context(|| format!("{name} is not a list in YAML"))
}

#[test]
fn the_icon_is_the_picture_of_the_repository() -> Result<()> {
    let chart = read_yaml(CHART)?;
    let icon = chart["icon"].as_str().context("no icon")?;
    let encoded = icon.strip_prefix("data:image/svg+xml,").context("no picture")?;
    let picture = read("charts/s3-replication-operator/icon.svg")?;
    assert_eq!(percent_decode_str(encoded).decode_utf8()?, picture.trim_end());
    Ok(())
}

#[test]
fn the_definitions_are_those_that_the_chart_installs() -> Result<()> {
    let mut installed = BTreeSet::new();
    for file in fs::read_dir(repository("crds"))? {
        let crd = read_yaml(&format!("crds/{}", file?.file_name().to_string_lossy()))?;
        let text =
            |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        installed.insert((text("/spec/names/kind"), text("/spec/versions/0/name"), text("/metadata/name")));
    }
    let mut listed = BTreeSet::new();
    for crd in list("crds")? {
        let text = |key: &str| crd[key].as_str().unwrap_or_default().to_owned();
        ensure!(!text("displayName").is_empty() && !text("description").is_empty(), "{crd}");
        listed.insert((text("kind"), text("version"), text("name")));
    }
    assert_eq!(listed, installed, "{CHART}: artifacthub.io/crds");
    let examples: BTreeSet<String> = list("crdsExamples")?
        .iter()
        .filter_map(|example| Some(example["kind"].as_str()?.to_owned()))
        .collect();
    assert_eq!(examples, installed.into_iter().map(|(kind, ..)| kind).collect(), "an example for each");
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_the_examples() -> Result<()> {
    let cluster = prepare_cluster().await?;
    for example in list("crdsExamples")? {
        accepted(cluster, &example.to_string())?;
    }
    Ok(())
}

#[test]
fn the_image_is_the_one_that_the_chart_runs() -> Result<()> {
    let objects = rendered(&json!({}))?;
    let image = &container(the(&objects, "Deployment")?)["image"];
    let images: Vec<Value> = list("images")?.iter().map(|listed| listed["image"].clone()).collect();
    assert_eq!(images, std::slice::from_ref(image));
    Ok(())
}

#[test]
fn each_change_is_of_a_kind_that_artifact_hub_knows() -> Result<()> {
    let changes = list("changes")?;
    assert!(!changes.is_empty());
    for change in changes {
        let kinds = ["added", "changed", "deprecated", "removed", "fixed", "security"];
        ensure!(change["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)), "{change}");
        ensure!(change["description"].as_str().is_some_and(|text| !text.is_empty()), "{change}");
    }
    Ok(())
}
