//! The project's tests against a cluster: the end-to-end suite, whose operators are processes beside it, and what only
//! a real cluster can show.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rig::kind::Kind;
use rig::kind::install::Release;
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

    /// Runs them on a cluster that has the emulator and the usual release of the operator.
    pub async fn run(&self, kind: &Kind, nodes: Option<u8>) -> Result<()> {
        let (kubectl, release) = (&kind.kubectl, Release::usual());
        println!("\nThe end-to-end suite, whose operators are processes: the one in pods rests meanwhile.");
        release.scale(kubectl, 0).await?;
        let mut e2e = Command::new(&self.e2e);
        e2e.env("RIG_KUBECONFIG", kubectl.kubeconfig());
        // What fails here is no reason not to see the rest.
        let e2e = run("the end-to-end suite", e2e).await;
        release.scale(kubectl, 2).await?;

        println!("\nWhat only a real cluster can show.");
        let mut real = Command::new(&self.kind);
        real.env("RIG_KIND", "must")
            .env("RIG_KIND_KUBECONFIG", kubectl.kubeconfig())
            .env("RIG_KIND_OPERATOR_IMAGE", &kind.images.operator)
            .env("RIG_KIND_EMULATOR_IMAGE", &kind.images.emulator);
        if let Some(nodes) = nodes {
            real.env("RIG_KIND_NODES", nodes.to_string());
        }
        e2e.and(run("what only a real cluster can show", real).await)
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
