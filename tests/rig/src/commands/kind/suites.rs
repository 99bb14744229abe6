//! The project's tests against a cluster: the end-to-end suite, whose operators are processes beside it, and what only
//! a real cluster can show.

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

/// The programs of the suites.
#[derive(Debug)]
pub struct Suites {
    e2e: PathBuf,
    kind: PathBuf,
}

impl Suites {
    /// Builds them, which has to be done before the network of a cluster is entered.
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
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(Self { e2e: program(&said, "e2e")?, kind: program(&said, "kind")? })
    }

    /// Runs them on a cluster that has the emulator and the usual release of the operator. Of one that stays, what they
    /// leave is removed.
    pub async fn run(&self, kind: &Kind, nodes: Option<u8>, stays: bool) -> Result<()> {
        println!("\nWhat only a real cluster can show.");
        let mut real = Command::new(&self.kind);
        real.env("RIG_KIND", "must")
            .env("RIG_KIND_KUBECONFIG", kind.kubectl.kubeconfig())
            .env("RIG_KIND_OPERATOR_IMAGE", &kind.images.operator)
            .env("RIG_KIND_EMULATOR_IMAGE", &kind.images.emulator);
        if let Some(nodes) = nodes {
            real.env("RIG_KIND_NODES", nodes.to_string());
        }
        let real = run("what only a real cluster can show", real).await;
        // What fails there is no reason not to see the rest.
        real.and(self.end_to_end(kind, stays).await)
    }

    async fn end_to_end(&self, kind: &Kind, stays: bool) -> Result<()> {
        println!("\nThe end-to-end suite, whose operators are processes: the one in pods rests meanwhile.");
        let (kubectl, release) = (&kind.kubectl, Release::usual());
        release.scale(kubectl, 0).await?;
        let before = Made::list(kubectl).await?;
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

/// The program of a test, in the words of Cargo.
fn program(said: &str, test: &str) -> Result<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
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

/// How long it may take to ask for the removal of hundreds of namespaces, which kubectl does a few a second.
const REMOVE: Duration = Duration::from_secs(300);

/// What the end-to-end suite makes and leaves: on its own API server it is gone with that.
struct Made {
    namespaces: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

impl Made {
    async fn list(kubectl: &Kubectl) -> Result<Self> {
        let names = async |kind: &str| {
            let names = kubectl.run(["get", kind, "-o", "name"]).await?;
            anyhow::Ok(names.lines().map(str::to_owned).collect())
        };
        Ok(Self { namespaces: names("namespaces").await?, accounts: names("awsaccounts").await? })
    }

    /// Removes what has come since. Its operators are gone, and so is its AWS: no finalizer has anything to wait for.
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
