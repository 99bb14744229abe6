//! The operator's log: structured, a line a decision, nothing secret.

use anyhow::{Context, Result};
use rig::world::{DEADLINE, World};
use serde_json::Value;

use crate::support::{check_now, operator_of, replication};

/// The secret access key of the operator.
const SECRET: &str = "a-secret-that-must-not-be-logged";

#[tokio::test]
async fn each_decision_is_one_json_line_that_holds_no_secret() -> Result<()> {
    let world = World::new("logs").await?;
    let args = ["--log-format", "json", "--log-level", "debug"];
    let operator = operator_of(&world).credentials(&world.account, SECRET).args(args).start().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("good", &source, &destination).to_string()).await?;
    world.wait_ready("good").await?;
    world.apply(&replication("bad", &world.bucket_name(), &destination).to_string()).await?;
    world
        .wait(
            "bad",
            |status| crate::support::reason(status, "Ready") == "SourceBucketNotFound",
            "to be refused",
        )
        .await?;

    let log = operator.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
        .collect::<Result<_>>()?;
    for line in log.lines() {
        assert!(line.matches("\"message\":").count() <= 1, "a key stands twice: {line}");
        assert!(!line.contains(SECRET), "{line}");
    }
    let decisions = |name: &str| -> Vec<&Value> {
        let decided = |l: &&Value| {
            ["checked", "refused", "failed"].contains(&l["message"].as_str().unwrap_or_default())
        };
        lines.iter().filter(decided).filter(|l| l["name"] == name).collect()
    };
    let [good] = decisions("good")[..] else { anyhow::bail!("one check, one line: {log}") };
    assert_eq!(
        (good["namespace"].as_str(), good["source"].as_str()),
        (Some(world.namespace.as_str()), Some(source.as_str()))
    );
    assert_eq!((&good["reason"], &good["written"]), (&"Applied".into(), &5.into()));
    let bad = *decisions("bad").first().context("no line for the refusal")?;
    assert_eq!(bad["reason"], "SourceBucketNotFound");
    assert!(bad["detail"].as_str().is_some_and(|d| d.contains("does not exist; create it")), "{bad}");
    Ok(())
}

/// The level in the file applies without a restart; an invalid level changes nothing.
#[tokio::test]
async fn the_log_level_follows_a_file() -> Result<()> {
    let world = World::new("log-level").await?;
    let file = rig::paths::scratch_dir("log-level")?.join("level");
    let args = ["--log-level", "warn", "--log-level-file"];
    let operator = operator_of(&world).args(args).arg(&file).start().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    assert!(!operator.log().contains(" INFO "), "without the file the flag counts: {}", operator.log());

    std::fs::write(&file, "loud\n")?;
    let text = operator.logged("cannot use the log level in the file", DEADLINE).await?;
    assert!(
        text.contains("loud") && text.contains("is not off, error, warn, info, debug or trace"),
        "{text}"
    );
    std::fs::write(&file, "debug\n")?;
    operator.logged("the log level has changed level=\"debug\"", DEADLINE).await?;
    check_now(&world, "orders").await?;
    operator.logged("call to AWS", DEADLINE).await?;

    std::fs::remove_file(&file)?;
    // Neither the line that reports the change nor any later one passes the level.
    let quiet = async {
        loop {
            let before = operator.log();
            check_now(&world, "orders").await?;
            if operator.log() == before {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(DEADLINE, quiet).await?
}
