//! The life of a release: its own test, and its end, with and without resources that are left.

use std::fs;

use anyhow::{Result, ensure};
use rig::kind::install::RELEASE;
use rig::paths;
use serde_json::Value;

use super::case::Case;
use super::ground::Ground;
use super::site::Site;

const DEFINITIONS: [&str; 2] = ["awsaccounts.s3replication.dev", "bucketreplications.s3replication.dev"];

pub fn tested(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::usual(ground, "tested").await?;
        let namespace = &site.release.namespace;
        let said = ground.kind.helm.test(namespace, RELEASE).await?;
        ensure!(said.contains("Succeeded"), "{said}");
        // Its pod is not one of those at work, and does not stay.
        site.all_ready(2).await?;
        let pods = ground.kind.kubectl.get(&["-n", namespace, "pods"]).await?;
        let count = pods["items"].as_array().map_or(0, Vec::len);
        ensure!(count == 2, "{count} pods are left");
        Ok(())
    })
}

/// As the notes of the chart say: resources first.
pub fn uninstalled_in_order(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::usual(ground, "in-order").await?;
        let notes = site.release.install(&ground.kind).await?;
        let at = |words: &str| notes.find(words).unwrap_or(notes.len());
        ensure!(
            at("kubectl delete bucketreplications") < at(&format!("helm uninstall {RELEASE}"))
                && at("helm uninstall") < notes.len(),
            "the notes do not name the order: {notes}"
        );
        let case = Case::ready(&site, "there").await?;
        let namespace = site.release.namespace.as_str();
        let manifest = ground.kind.helm.run(&["get", "manifest", RELEASE, "--namespace", namespace]).await?;
        let file = paths::scratch_dir("manifest")?.join("manifest.yaml");
        fs::write(&file, manifest)?;

        case.delete().await?;
        site.uninstall().await?;
        let file = file.to_string_lossy();
        let left = ground.kind.kubectl.run(["get", "--ignore-not-found", "-o", "name", "-f", &file]).await?;
        let mut left: Vec<&str> = left.lines().collect();
        left.sort_unstable();
        let definitions =
            DEFINITIONS.map(|name| format!("customresourcedefinition.apiextensions.k8s.io/{name}"));
        ensure!(left == definitions, "of what was installed this is left: {left:?}");
        site.release.delete_namespace(&ground.kind.kubectl).await?;
        site.no_role_is_left().await?;
        Site::install_usual(&ground.kind).await.map(drop)
    })
}

pub fn left_behind(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::usual(ground, "left").await?;
        let notes = site.release.install(&ground.kind).await?;
        ensure!(
            notes.contains("what stays behind can be deleted only after installing again"),
            "not told: {notes}"
        );
        let case = Case::ready(&site, "there").await?;
        site.uninstall().await?;

        // It waits for an operator that is not there.
        case.begin_deletion().await?;
        let object = case.object().await?;
        ensure!(object["metadata"]["deletionTimestamp"].is_string(), "it is not being deleted: {object}");
        let finalizer = Value::from("s3replication.dev/finalizer");
        let waits = object["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&finalizer));
        ensure!(waits, "it waits for nobody: {object}");
        ensure!(case.is_configured().await?, "its configuration went without an operator");

        Site::install_usual(&ground.kind).await?;
        case.gone().await?;
        site.no_role_is_left().await
    })
}
