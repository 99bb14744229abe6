//! The help for a person who goes through a page by hand: the environment of a shell, a directory with the manifests of
//! the page, the programs that it calls, and its commands.
//!
//! The pages are the only source of the commands and the manifests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rig::{Clients, emulator, pages, paths};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// The account of the pages, so that their manifests can be applied as they are.
pub const ACCOUNT: &str = "123456789012";

/// The page that leads from two buckets to a replication and its end.
pub const FIRST: &str = "docs/first-replication.md";

/// The policy of the permissions boundary, and its name in AWS: as `deploy/aws/cli/operator-role.sh` makes it.
const BOUNDARY: &str = "deploy/aws/boundary-policy.json";
const BOUNDARY_NAME: &str = "s3-replication-boundary";

/// The names under which a shell finds the operator: its own, and those by which kubectl finds a plugin.
const NAMES: [&str; 3] =
    ["s3-replication-operator", "kubectl-s3replication", "kubectl_complete-s3replication"];

/// Creates the boundary that the account of the pages imposes. IAM refuses a role whose boundary does not exist.
pub async fn create_boundary(endpoint: &str) -> Result<()> {
    let path = paths::repository().join(BOUNDARY);
    let policy = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let policy = policy.replace("DESTINATION_ACCOUNT_IDS", ACCOUNT).replace("ACCOUNT_ID", ACCOUNT);
    let iam = Clients::new(endpoint, ACCOUNT).iam();
    iam.create_policy().policy_name(BOUNDARY_NAME).policy_document(policy).send().await?;
    Ok(())
}

/// Makes the directory of a person, and returns the lines that set up a shell. `tools`: the programs beside the
/// operator.
pub fn environment(endpoint: &str, operator: &Path, tools: &[&Path]) -> Result<Vec<String>> {
    let (directory, bin) = (fill_directory()?, link_programs(operator, tools)?);
    Ok(vec![
        format!("export AWS_ENDPOINT_URL={endpoint}"),
        format!("export AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY={}", emulator::SECRET),
        "export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1".to_owned(),
        format!("export PATH={}:$PATH", bin.display()),
        format!("cd {}", directory.display()),
    ])
}

/// The commands of pages, as comments, so that the whole output can be pasted.
pub fn steps(pages: &[&str]) -> Result<String> {
    let through = pages.join(" and ");
    let mut steps = format!("# In another terminal: paste these lines, and then go through {through}.\n");
    steps
        .push_str("# The manifests are in the directory, and these are the commands (aws is the AWS CLI):\n");
    for page in pages {
        // Cargo has started what prints this.
        let is_step = |block: &pages::Block| block.language == "sh" && !block.text.starts_with("cargo ");
        for block in pages::blocks_of(page)?.into_iter().filter(is_step) {
            steps.push_str("#\n");
            block.text.lines().for_each(|line| steps.push_str(&format!("#   {line}\n")));
        }
    }
    Ok(steps.trim_end().to_owned())
}

/// Ctrl-C, the end of the terminal, or a polite kill.
pub async fn until_asked_to_end() -> Result<()> {
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        interrupt = ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// A directory with the manifests of the page, and with the folders of the repository that commands name.
fn fill_directory() -> Result<PathBuf> {
    let directory = paths::scratch_dir("first-replication")?;
    for (file, text) in pages::files_of(FIRST)? {
        fs::write(directory.join(file), text)?;
    }
    for folder in ["charts", "deploy"] {
        symlink(paths::repository().join(folder), directory.join(folder))?;
    }
    Ok(directory)
}

/// A directory for the PATH, with the programs that the pages call.
fn link_programs(operator: &Path, tools: &[&Path]) -> Result<PathBuf> {
    let bin = paths::scratch_dir("bin")?;
    for tool in tools {
        symlink(tool, bin.join(tool.file_name().context("a tool without a name")?))?;
    }
    for name in NAMES {
        symlink(operator, bin.join(name))?;
    }
    Ok(bin)
}
