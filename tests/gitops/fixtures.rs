//! Runs the health check of deploy/argocd over its test data with Argo CD's command line, as Argo CD's own repository
//! does.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rig::Tools;
use serde_json::Value;

use super::environment::{read, repository};

const FOLDER: &str = "deploy/argocd/resource_customizations/s3replication.dev";

pub fn are_as_expected() -> Result<()> {
    let argocd = Tools::argocd()?.argocd();
    let config = repository("deploy/argocd/argocd-cm.yaml");
    let mut seen = 0;
    for entry in fs::read_dir(repository(FOLDER))? {
        let kind = entry?.file_name().to_string_lossy().into_owned();
        let tests: Value = serde_saphyr::from_str(&read(&format!("{FOLDER}/{kind}/health_test.yaml"))?)?;
        for test in tests["tests"].as_array().context("no tests")? {
            let input = test["inputPath"].as_str().context("inputPath")?;
            let output = Command::new(&argocd)
                .args(["admin", "settings", "resource-overrides", "health"])
                .arg(repository(&format!("{FOLDER}/{kind}/{input}")))
                .arg("--argocd-cm-path")
                .arg(&config)
                .output()?;
            if !output.status.success() {
                bail!("{kind}/{input}: {}", String::from_utf8_lossy(&output.stderr));
            }
            let expected = &test["healthStatus"];
            let part =
                |key: &str| expected[key].as_str().with_context(|| format!("{kind}/{input}: no {key}"));
            let expected = format!("STATUS: {}\nMESSAGE: {}\n", part("status")?, part("message")?);
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{kind}/{input}");
            seen += 1;
        }
    }
    ensure!(seen > 0, "there are no fixtures");
    Ok(())
}
