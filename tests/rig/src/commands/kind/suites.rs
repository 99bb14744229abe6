//! Runs the test programs `kind` and `e2e` against a cluster. The operators of `e2e` are processes beside the cluster.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rig::kind::install::Release;
use rig::kind::{Kind, Kubectl};
use rig::paths;
use serde_json::Value;
use tokio::process::Command;

/// The paths of the test programs.
#[derive(Debug)]
pub struct Suites {
    e2e: PathBuf,
    kind: PathBuf,
}

impl Suites {
    /// Builds them. Call it before entering the network of a cluster, where Cargo reaches no registry.
    pub async fn build() -> Result<Self> {
        println!("Building the tests.");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(["test", "--test", "e2e", "--test", "kind", "--no-run"]);
        command.args(["--message-format", "json-render-diagnostics", "--target-dir"]).arg(paths::target());
        if env::current_exe().is_ok_and(|exe| exe.components().any(|part| part.as_os_str() == "release")) {
            command.arg("--release");
        }
        command.current_dir(paths::repository()).stderr(Stdio::inherit()).kill_on_drop(true);
        let output = command.output().await.context("cannot run cargo, which builds the tests")?;
        ensure!(output.status.success(), "the tests do not build: see above");
        let messages = String::from_utf8_lossy(&output.stdout);
        Ok(Self { e2e: program(&messages, "e2e")?, kind: program(&messages, "kind")? })
    }

    /// Runs them on a cluster that has the emulator and the documented release of the operator. If the cluster stays,
    /// removes what they leave.
    pub async fn run(&self, kind: &Kind, nodes: Option<u8>, stays: bool) -> Result<()> {
        println!("\nThe tests of the operator in pods.");
        let mut real = Command::new(&self.kind);
        real.env("RIG_KIND", "must")
            .env("RIG_KIND_KUBECONFIG", kind.kubectl.kubeconfig())
            .env("RIG_KIND_OPERATOR_IMAGE", &kind.images.operator)
            .env("RIG_KIND_EMULATOR_IMAGE", &kind.images.emulator);
        if let Some(nodes) = nodes {
            real.env("RIG_KIND_NODES", nodes.to_string());
        }
        let real = run("the tests of the operator in pods", real).await;
        // The end-to-end suite runs also after a failure.
        real.and(self.end_to_end(kind, stays).await)
    }

    async fn end_to_end(&self, kind: &Kind, stays: bool) -> Result<()> {
        println!(
            "\nThe end-to-end suite. Its operators are processes; the one in pods is scaled to zero meanwhile."
        );
        let (kubectl, release) = (&kind.kubectl, Release::documented());
        release.scale(kubectl, 0).await?;
        let before = Objects::list(kubectl).await?;
        let mut suite = Command::new(&self.e2e);
        suite.env("RIG_KUBECONFIG", kubectl.kubeconfig());
        let outcome = run("the end-to-end suite", suite).await;
        if stays {
            before.remove_newer(kubectl).await?;
            release.scale(kubectl, 2).await?;
        }
        outcome
    }
}

/// Reads the path of a test program from the messages of Cargo.
fn program(output: &str, test: &str) -> Result<PathBuf> {
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut named = messages
        .filter(|message| message["target"]["name"] == test && message["target"]["kind"][0] == "test");
    let path = named.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.filter(|path| Path::is_file(path))
        .with_context(|| format!("Cargo did not say where the test {test} is"))
}

async fn run(what: &str, mut suite: Command) -> Result<()> {
    suite.current_dir(paths::repository()).stdin(Stdio::null()).kill_on_drop(true);
    let status = suite.status().await.with_context(|| format!("cannot run {what}"))?;
    ensure!(status.success(), "{what}: {status}");
    Ok(())
}

/// How long deleting hundreds of namespaces may take; kubectl sends a few requests a second.
const REMOVE: Duration = Duration::from_secs(300);

/// Cluster objects that the end-to-end suite creates and does not delete.
struct Objects {
    namespaces: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

impl Objects {
    async fn list(kubectl: &Kubectl) -> Result<Self> {
        let names = async |kind: &str| {
            let names = kubectl.run(["get", kind, "-o", "name"]).await?;
            anyhow::Ok(names.lines().map(str::to_owned).collect())
        };
        Ok(Self { namespaces: names("namespaces").await?, accounts: names("awsaccounts").await? })
    }

    /// Removes the objects that were created since. The operators and AWS of the suite are gone, so finalizers are
    /// removed too.
    async fn remove_newer(&self, kubectl: &Kubectl) -> Result<()> {
        let now = Self::list(kubectl).await?;
        let namespaces: Vec<&str> = now.namespaces.difference(&self.namespaces).map(String::as_str).collect();
        let all = kubectl.get(&["bucketreplications", "--all-namespaces"]).await?;
        for object in all["items"].as_array().into_iter().flatten() {
            let metadata = &object["metadata"];
            let (Some(namespace), Some(name)) = (metadata["namespace"].as_str(), metadata["name"].as_str())
            else {
                continue;
            };
            if metadata["finalizers"].is_array()
                && namespaces.contains(&format!("namespace/{namespace}").as_str())
            {
                let patch = ["--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
                let object = ["-n", namespace, "patch", "bucketreplication", name];
                kubectl.run([&object[..], &patch].concat()).await?;
            }
        }
        let accounts = now.accounts.difference(&self.accounts).map(String::as_str);
        let newer: Vec<&str> = accounts.chain(namespaces).collect();
        if !newer.is_empty() {
            kubectl.run_within([&["delete", "--wait=false"], newer.as_slice()].concat(), REMOVE).await?;
        }
        Ok(())
    }
}
