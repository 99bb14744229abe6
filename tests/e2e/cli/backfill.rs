//! `backfill --wait`: what a person sees of a job until its end, and how to go on where it waits for them.
//! The commands are those of docs/command-line.md.

use anyhow::Result;
use rig::world::World;
use serde_json::json;

use super::run;
use super::steer::Screen;
use crate::backfill::guards::under_account;
use crate::backfill::{BACKFILL, check_job, finish, job_id, patch, scene_with_objects, wait_reason};
use crate::support::{NAME, operator_of};

/// `backfill NAME --wait`, with these arguments, by a person who may create backfills.
fn waiting(world: &World, args: &[&str]) -> Result<Screen> {
    // Both streams, as a terminal shows them.
    let mut command = std::process::Command::new("bash");
    command.args(["-c", r#"exec "$0" "$@" 2>&1"#, env!("CARGO_BIN_EXE_s3-replication-operator")]);
    command.args(["backfill", NAME, "--wait", "--backfill-name", BACKFILL, "-n", &world.namespace]);
    command.args(args).arg("--kubeconfig").arg(world.cluster().admin_kubeconfig());
    Screen::of(command)
}

#[tokio::test]
async fn a_backfill_is_followed_to_its_end() -> Result<()> {
    let scene = scene_with_objects("cli-backfill", &["one", "two"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let mut screen = waiting(world, &[])?;
    let created = screen.until(" is created\n").await?;
    assert!(
        created.contains(&format!("backfill {}/{BACKFILL} of {}", world.namespace, scene.source)),
        "{created}"
    );
    let id = job_id(world).await?;
    finish(world, &jobs, &id).await?;
    // A line of progress may name the same state before.
    screen.until(&format!("✓ backfill {BACKFILL}: Completed (2 of 2 copied, 0 failed): ")).await?;
    assert_eq!(screen.ended()?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_backfill_that_awaits_approval_names_the_command_that_approves_it() -> Result<()> {
    let scene = scene_with_objects("cli-backfill-approval", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let mut screen = waiting(world, &["--manual-approval"])?;
    let id = job_id(world).await?;
    jobs.advance_to(&id, "Suspended").await?;
    check_job(world).await?;
    let approve = format!(
        " patch replicationbackfill {BACKFILL} -n {} --type merge -p '{{\"spec\":{{\"approved\":true}}}}'\n",
        world.namespace
    );
    let shown = screen.until(&approve).await?;
    assert!(shown.contains("waits: AwaitingApproval: ") && shown.contains("1 object"), "{shown}");
    patch(world, json!({"spec": {"approved": true}})).await?;
    wait_reason(world, "Running").await?;
    finish(world, &jobs, &id).await?;
    let end = screen.until("✓ backfill").await?;
    assert!(!end.contains(&approve), "it is printed once: {end}");
    assert_eq!(screen.ended()?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_replication_that_is_not_ready_does_not_end_the_wait() -> Result<()> {
    let scene = scene_with_objects("cli-backfill-denied", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    scene.patch_spec(json!({"suspend": true})).await?;
    let suspended = |status: &serde_json::Value| crate::support::reason(status, "Ready") == "Suspended";
    world.wait(NAME, suspended, "to be suspended").await?;
    let editor = operator_of(world).kubeconfig(world.cluster().admin_kubeconfig());
    let at_once =
        editor.run(["backfill", NAME, "-n", &world.namespace, "--backfill-name", "other"], "").await?;
    let text = String::from_utf8_lossy(&at_once.stdout);
    assert_eq!(at_once.status.code(), Some(2), "{text}");
    assert!(text.contains("  it waits: BucketReplication orders is suspended"), "{text}");
    world.cluster().kubectl(["delete", "rbf", "other", "-n", &world.namespace])?;
    let mut screen = waiting(world, &[])?;
    let shown = screen.until(&format!(" {NAME} -n {}\n", world.namespace)).await?;
    assert!(shown.contains("waits: ReplicationNotReady: "), "{shown}");
    assert!(shown.contains("\n  → s3-replication-operator status --kubeconfig "), "{shown}");
    scene.patch_spec(json!({"suspend": false})).await?;
    let id = job_id(world).await?;
    finish(world, &jobs, &id).await?;
    screen.until(&format!("✓ backfill {BACKFILL}: Completed")).await?;
    assert_eq!(screen.ended()?, Some(0));
    Ok(())
}

#[tokio::test]
async fn an_account_that_forbids_backfills_is_named_and_nothing_is_created() -> Result<()> {
    let (world, account, _operator) = under_account("cli-backfill-forbidden").await?;
    for wait in [&[][..], &["--wait"]] {
        let args = ["backfill", NAME, "--backfill-name", BACKFILL, "-n", &world.namespace];
        let editor = operator_of(&world).kubeconfig(world.cluster().admin_kubeconfig());
        let output = editor.run([&args[..], wait].concat(), "").await?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{error}");
        assert!(error.contains(&format!("AwsAccount {account} does not allow backfills")), "{error}");
        let allow = format!(
            r#"→ kubectl patch awsaccount {account} --type merge -p '{{"spec":{{"allow":["Backfill"]}}}}'"#
        );
        assert!(error.trim_end().ends_with(&allow), "{error}");
    }
    let listed = world.cluster().kubectl(["get", "rbf", "-n", &world.namespace, "-o", "name"])?;
    assert_eq!(listed.stdout, b"", "nothing is created");
    Ok(())
}

#[tokio::test]
async fn an_interrupted_wait_leaves_the_backfill_and_says_how_to_go_on() -> Result<()> {
    let scene = scene_with_objects("cli-backfill-interrupt", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let mut screen = waiting(world, &[])?;
    screen.until(" is created\n").await?;
    let id = job_id(world).await?;
    screen.press()?;
    let text = screen.until("# cancels it").await?;
    for part in
        ["error: stopped waiting", &format!(" {BACKFILL} -n {}\n", world.namespace), "backfill --kubeconfig "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(screen.ended()?, Some(1), "the end is not known, as after a --timeout");

    // A wait whose time is up leaves it too, and another one goes on.
    let follow = ["backfill", "--follow", BACKFILL, "-n", &world.namespace];
    let editor = || operator_of(world).kubeconfig(world.cluster().admin_kubeconfig());
    let over = editor().run([&follow[..], &["--timeout", "0"]].concat(), "").await?;
    let error = String::from_utf8_lossy(&over.stderr);
    assert_eq!(over.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("error: backfill {BACKFILL} has not ended within 0s")), "{error}");
    assert!(error.contains("→ s3-replication-operator backfill --follow "), "{error}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"));
    command.args(follow).arg("--kubeconfig").arg(world.cluster().admin_kubeconfig());
    let mut screen = Screen::of(command)?;
    let done = finish(world, &jobs, &id).await?;
    assert_eq!(crate::support::reason(&done, "Ready"), "Completed");
    screen.until(&format!("✓ backfill {BACKFILL}: Completed")).await?;
    assert_eq!(screen.ended()?, Some(0));

    let missing = editor().run(["backfill", "--follow", "nothing", "-n", &world.namespace], "").await?;
    let error = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(missing.status.code(), Some(1), "{error}");
    assert!(error.contains("has no ReplicationBackfill nothing\n→ kubectl "), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_resource_whose_status_reports_failures_is_printed_for_what_failed() -> Result<()> {
    let scene = scene_with_objects("cli-backfill-failed", &[]).await?;
    let mut file = scene.world.get(NAME).await?;
    file["spec"]["rules"][0]["filter"] = json!({"prefix": "invoices/"});
    let id = file["spec"]["rules"][0]["id"].clone();
    let failing = json!({"id": id, "destination": scene.destination, "verdict": "Failing", "failed": 3});
    file["status"]["health"] = json!({"failedSince": "2026-03-02T10:00:00Z", "rules": [failing]});
    let (code, text) = run(&scene.world, &["backfill", "-f", "-"], &file.to_string()).await?;
    assert_eq!(code, Some(0), "{text}");
    let remark = format!(
        "# Failed since 2026-03-02T10:00:00Z: 3 operations of rule {}",
        id.as_str().unwrap_or_default()
    );
    for part in [
        &remark,
        "statuses:\n  - Failed\n",
        "prefixes:\n  - invoices/\n",
        "createdAfter: ",
        "2026-03-01T09:00:00Z",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("- NotReplicated"), "{text}");
    // It is what admission takes.
    scene.world.apply(&text).await?;
    Ok(())
}
