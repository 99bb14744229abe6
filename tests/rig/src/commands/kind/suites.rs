//! The project's tests against a cluster: the end-to-end suite, whose operators are processes beside it, and what only
//! a real cluster can show.

use std::env;
use std::ffi::OsString;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rig::kind::Kind;
use rig::kind::install::Release;
use rig::paths;
use tokio::process::Command;

/// Builds the tests, which has to be done before the network of a cluster is entered.
pub async fn build() -> Result<()> {
    println!("Building the tests.");
    let mut cargo = cargo();
    cargo.args(["--test", "e2e", "--test", "kind", "--no-run"]);
    run("cargo test --no-run", cargo).await
}

/// Runs them on a cluster that has the emulator and the usual release of the operator.
pub async fn test(kind: &Kind, nodes: Option<u8>) -> Result<()> {
    let kubectl = &kind.kubectl;
    let release = Release::usual();
    println!(
        "\nThe end-to-end suite, on this cluster. Its operators are processes: the one in pods rests meanwhile."
    );
    release.scale(kubectl, 0).await?;
    let mut e2e = cargo();
    e2e.args(["--test", "e2e"]).env("RIG_KUBECONFIG", kubectl.kubeconfig());
    run("cargo test --test e2e", e2e).await?;
    release.scale(kubectl, 2).await?;

    println!("\nWhat only a real cluster can show.");
    let mut real = cargo();
    real.args(["--test", "kind"])
        .env("RIG_KIND", "must")
        .env("RIG_KIND_KUBECONFIG", kubectl.kubeconfig())
        .env("RIG_KIND_OPERATOR_IMAGE", &kind.images.operator)
        .env("RIG_KIND_EMULATOR_IMAGE", &kind.images.emulator);
    if let Some(nodes) = nodes {
        real.env("RIG_KIND_NODES", nodes.to_string());
    }
    run("cargo test --test kind", real).await
}

/// `cargo test` in the profile that this program was built in. From within the network of a cluster no registry is in
/// reach, and none is needed.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.arg("test").arg("--target-dir").arg(paths::target()).current_dir(paths::repository());
    if env::current_exe().is_ok_and(|exe| exe.components().any(|part| part.as_os_str() == "release")) {
        cargo.arg("--release");
    }
    cargo.stdin(Stdio::null()).kill_on_drop(true);
    cargo
}

async fn run(what: &str, mut command: Command) -> Result<()> {
    let status = command.status().await.with_context(|| format!("cannot run {what}"))?;
    ensure!(status.success(), "{what} failed: {status}");
    Ok(())
}
