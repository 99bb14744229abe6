//! The operator as a process: started, asked to end and killed, and nothing is left behind.

use std::time::Instant;

use super::*;

/// A stand-in that ends on SIGTERM as the operator does. A test that wrote the file could not always run it at once: a
/// process that another test is just starting may hold it open for writing.
const STAND_IN: &str = "tests/smoke/stand-in";

#[tokio::test]
async fn the_operator_is_started_asked_to_end_and_killed() -> Result<()> {
    let world = World::new("smoke-operator").await?;
    let binary = rig::paths::sources().join(STAND_IN);

    let operator = world.operator().binary(&binary).arg("--extra").start().await?;
    while operator.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = operator.log();
    let expected = format!("run --http-address 127.0.0.1:0 --namespaces {} --extra", world.namespace);
    assert!(log.starts_with(&expected), "{log}");
    assert!(log.contains(&world.proxy.url()) && log.contains(&world.account), "{log}");
    assert_eq!(operator.terminate().await?, 0);
    assert!(operator.log().ends_with("stopping\n"));

    let operator = world.operator().binary(&binary).start().await?;
    operator.kill().await?;
    assert_eq!(operator.exit_code(), Some(128 + 9));

    let output = world.operator().binary(&binary).run(["plan", "-f", "-"], "input").await?;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("plan -f -") && text.ends_with("input"), "{text}");
    Ok(())
}

/// The only test that starts a rig of its own, in a program that it then kills.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_the_program_was_killed() -> Result<()> {
    // Without the tools the test would kill the program while it builds them.
    Rig::shared().await?;
    let up = Spec::new("up", env!("CARGO_BIN_EXE_rig")).arg("up").start()?;
    let started = tokio::task::block_in_place(|| {
        // It may first have to build the operator.
        up.wait_ready(Duration::from_secs(600), || up.log().contains("Ctrl-C"))
    });
    started?;
    let config =
        up.log().lines().find_map(|line| line.strip_prefix("export KUBECONFIG=").map(str::to_owned)).unwrap();
    let data = std::path::PathBuf::from(&config);
    let data = data.parent().unwrap();
    // etcd, the API server, the emulator and the operator. A program has its own name shortly after its guard started it.
    let start = Instant::now();
    let mut children = processes_of(up.pid());
    while children.len() != 4 && start.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(50)).await;
        children = processes_of(up.pid());
    }
    assert_eq!(children.len(), 4, "{children:?}");

    up.signal("KILL");
    assert_eq!(up.wait(SOON).await?, 128 + 9);
    for _ in 0..100 {
        let left = children.iter().any(|pid| alive(pid));
        if !left && !data.exists() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("still there: {children:?} or {}", data.display());
}

/// The programs under the guards of a process.
fn processes_of(pid: u32) -> Vec<String> {
    let output = Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    let children = |parent: &str| -> Vec<String> {
        rows.iter()
            .filter(|row| row[1] == parent && !row[2].ends_with("sh"))
            .map(|row| row[0].to_owned())
            .collect()
    };
    let guards = rows.iter().filter(|row| row[1] == pid.to_string()).map(|row| row[0]);
    guards.flat_map(children).collect()
}

fn alive(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
