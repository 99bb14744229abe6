//! `Chart.yaml`: Artifact Hub shows the truth about the chart.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

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

/// The annotations that Artifact Hub knows (<https://artifacthub.io/docs/topics/annotations/helm>).
const ANNOTATIONS: [&str; 16] = [
    "alternativeName",
    "category",
    "changes",
    "containsSecurityUpdates",
    "crds",
    "crdsExamples",
    "images",
    "license",
    "links",
    "maintainers",
    "operator",
    "operatorCapabilities",
    "prerelease",
    "recommendations",
    "screenshots",
    "signKey",
];

/// The address of the repository in this clone, as `deploy/argocd` has it.
const REPOSITORY: &str = "https://git.example.com/platform/s3-replication-operator";

#[test]
fn each_annotation_is_one_of_artifact_hub_with_a_value_that_it_takes() -> Result<()> {
    let chart = read_yaml(CHART)?;
    let annotations = chart["annotations"].as_object().context("annotations")?;
    for name in annotations.keys() {
        let known = name.strip_prefix("artifacthub.io/").is_some_and(|name| ANNOTATIONS.contains(&name));
        ensure!(known, "Artifact Hub does not know {name}");
    }
    let value = |name: &str| annotations[&format!("artifacthub.io/{name}")].as_str().unwrap_or_default();
    assert_eq!(value("category"), "storage");
    assert_eq!(value("license"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(value("operator"), "true");
    let capabilities =
        ["basic install", "seamless upgrades", "full lifecycle", "deep insights", "auto pilot"];
    ensure!(capabilities.contains(&value("operatorCapabilities").to_lowercase().as_str()));
    assert_eq!(value("prerelease"), env!("CARGO_PKG_VERSION").contains('-').to_string());
    let is_of_security = list("changes")?.iter().any(|change| change["kind"] == "security");
    assert_eq!(value("containsSecurityUpdates"), is_of_security.to_string());
    for link in list("links")?.iter().chain(&list("recommendations")?) {
        ensure!(link["url"].as_str().is_some_and(|url| url.starts_with("https://")), "{link}");
    }
    // Artifact Hub shows the one of this name as the address for reports.
    ensure!(list("links")?.iter().any(|link| link["name"] == "support"), "no link for support");
    // A key is for a provenance file. The release makes none, and signs with cosign, which has no key here.
    let release = read(".github/workflows/release.yaml")?;
    assert!(!annotations.contains_key("artifacthub.io/signKey"));
    assert!(release.contains("cosign sign --yes \"${charts#oci://}/") && !release.contains(" --sign "));
    Ok(())
}

#[test]
fn the_chart_names_its_repository_and_files_that_are_in_it() -> Result<()> {
    let chart = read_yaml(CHART)?;
    ensure!(read("deploy/argocd/application.yaml")?.contains(&format!("repoURL: {REPOSITORY}.git")));
    assert_eq!((&chart["home"], &chart["sources"]), (&json!(REPOSITORY), &json!([REPOSITORY])));
    ensure!(chart["maintainers"][0]["name"].is_string(), "{}", chart["maintainers"]);
    let files = format!("{REPOSITORY}/blob/v{}/", env!("CARGO_PKG_VERSION"));
    let mut named = 0;
    for link in list("links")? {
        let url = link["url"].as_str().unwrap_or_default();
        ensure!(url.starts_with(REPOSITORY), "{url}");
        if url.contains("/blob/") {
            let file = url.strip_prefix(&files).with_context(|| format!("{url} is not of this version"))?;
            ensure!(repository(file).exists(), "there is no {file}");
            named += 1;
        }
    }
    assert_eq!(named, 2);
    Ok(())
}

/// The release writes into `Chart.yaml` what only it knows.
#[test]
fn the_release_names_the_real_image_and_repository() -> Result<()> {
    let workflow = read(".github/workflows/release.yaml")?;
    let edits: Vec<&str> = workflow
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("sed -i ") && line.ends_with(CHART))
        .collect();
    let directory = rig::paths::scratch_dir("released-chart")?;
    let file = directory.join(CHART);
    fs::create_dir_all(file.parent().context("a folder")?)?;
    fs::copy(repository(CHART), &file)?;
    let image = format!("registry.example.com/team/operator@sha256:{}", "0".repeat(64));
    // The sed of macOS takes -i only with an ending.
    let script = edits.join("\n").replace("sed -i ", "sed -i.before ");
    let status = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(&directory)
        .envs([
            ("IMAGE_BY_DIGEST", image.as_str()),
            ("REPOSITORY", "https://forge.example.com/team/operator"),
        ])
        .status()?;
    ensure!(status.success(), "{script}");
    let text = fs::read_to_string(&file)?;
    ensure!(!text.contains("git.example.com") && text.contains(&format!("image: {image}\n")), "{text}");
    let chart: Value = serde_saphyr::from_str(&text)?;
    assert_eq!(chart["home"], "https://forge.example.com/team/operator");
    Ok(())
}
