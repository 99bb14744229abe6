//! The steps that `rig up` prints, typed in as they stand: from two buckets to the end of a backfill, and to its own
//! end.
//!
//! The page calls the AWS CLI. Without one the test is ignored and a line says so.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use rig::pages::block;
use rig::process::Spec;
use rig::{Rig, paths};
use tokio::runtime::Runtime;

const PAGE: &str = "docs/first-replication.md";

/// Long enough for a build of the operator.
const START: Duration = Duration::from_secs(600);
const END: Duration = Duration::from_secs(60);

/// A plan that has changes exits with 2, which is a result and no failure.
const PERSON: &str = r#"
s3-replication-operator() { env s3-replication-operator "$@" || [ $? = 2 ]; }
"#;

/// The prefix of each command that `rig up` prints.
const STEP: &str = "#   ";

const NAME: &str = "the_printed_steps_are_those_of_the_page_and_lead_to_the_end_of_a_backfill";

fn main() -> ExitCode {
    let is_there = Command::new("aws").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!(
            "the test of the printed steps is ignored: the page needs the AWS CLI, and there is no `aws` on the PATH"
        );
    }
    let run = || {
        let runtime = Runtime::new().map_err(|error| Failed::from(error.to_string()))?;
        runtime.block_on(lead_to_the_end()).map_err(|error| Failed::from(format!("{error:#}")))
    };
    let trial = Trial::test(NAME, run).with_ignored_flag(!is_there);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

async fn lead_to_the_end() -> Result<()> {
    // Without the tools the wait would be for their build.
    Rig::shared().await?;
    let up = Spec::new("up", env!("CARGO_BIN_EXE_rig")).arg("up").start()?;
    tokio::task::block_in_place(|| up.wait_ready(START, || up.log().contains("Ctrl-C ends it")))?;
    let printed = up.log();
    let is_for_the_shell = |line: &&str| line.starts_with("export ") || line.starts_with("cd ");
    let environment: Vec<&str> = printed.lines().filter(is_for_the_shell).collect();
    let steps: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix(STEP)).collect();
    let (environment, steps) = (environment.join("\n"), steps.join("\n"));
    let blocks = [
        block(PAGE, "create-bucket", file!())?,
        block(PAGE, "hello.txt", file!())?,
        block(PAGE, "delete-bucket-replication", file!())?,
        block(PAGE, "backfill orders-to-eu", file!())?,
    ];
    for block in blocks {
        ensure!(steps.contains(&block.text), "{} is not among the steps:\n{steps}", block.location());
    }

    let script = format!("set -eu\n{environment}\n{PERSON}\n{steps}\n");
    let output = tokio::task::block_in_place(|| Command::new("bash").args(["-c", &script]).output())?;
    let (shown, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{script}\n{shown}{errors}\n{}", up.log_tail(20));
    for part in ["Applied", "hello.txt", "DriftCorrected", "(1 of 1 copied, 0 failed)", "before.txt"] {
        ensure!(shown.contains(part), "{part} is not in:\n{shown}{errors}");
    }

    let pid = up.pid();
    up.signal("TERM");
    ensure!(up.wait(END).await? == 0, "{}", up.log_tail(20));
    let mark = format!("-{pid}-");
    let left: Vec<_> = fs::read_dir(paths::rig().join("data"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.contains(&mark))
        .collect();
    ensure!(left.is_empty(), "this is left: {left:?}");
    Ok(())
}
