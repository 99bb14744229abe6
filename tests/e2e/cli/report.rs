//! `report`: the fleet of a real cluster with the buckets of a real account, in each format.

use anyhow::{Context, Result, ensure};
use rig::proxy::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use super::import::{by_hand, first_version, put};
use super::{stderr, stdout};
use crate::support::{Scene, person};

#[tokio::test]
async fn a_report_has_the_verdict_the_map_and_the_buckets_that_do_not_replicate() -> Result<()> {
    const ID: &str = "<script>alert(1)</script>";
    let hostile = |spec: &mut Value| spec["rules"][0]["id"] = json!(ID);
    let scene = Scene::named("report").edit(hostile).ready().await?;
    let world = &scene.world;
    let lonely = world.bucket("us-east-1").await?;
    // Someone replicates by hand, and S3 names the destination by its ARN.
    let (manual, copy, role) = by_hand(world).await?;
    put(world, &manual, &role, vec![first_version("all", "", &copy)?]).await?;
    let run = async |args: &[&str]| -> Result<(Option<i32>, String)> {
        let args = [&["report", "-n", &world.namespace], args].concat();
        let output = person(world).run(args, "").await?;
        ensure!(output.status.code() != Some(1), "{}", stderr(&output));
        Ok((output.status.code(), stdout(&output)))
    };
    let (code, json) = run(&["-o", "json"]).await?;
    let report: Value = serde_json::from_str(&json)?;
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(report["summary"]["total"], 1);
    let buckets: Vec<&str> = report["notReplicated"]
        .as_array()
        .context("list")?
        .iter()
        .filter_map(|b| b["bucket"].as_str())
        .collect();
    assert_eq!(buckets, [lonely.as_str()], "neither a source nor a destination");
    assert_eq!(report["notManaged"], json!([{"accountId": world.account, "bucket": manual}]));
    assert_eq!(report["accounts"], json!([{"accountId": world.account, "buckets": 5}]));

    let (_, page) = run(&["-o", "html"]).await?;
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("The replication is well: 1 applied."),
        "{page}"
    );
    assert!(page.contains(&lonely) && page.contains("<svg"), "{page}");
    let (_, markdown) = run(&["-o", "markdown"]).await?;
    assert!(markdown.contains("✓ **The replication is well: 1 applied.**"), "{markdown}");
    for text in [&page, &markdown] {
        assert!(!text.contains(ID), "the id of a rule becomes markup");
    }

    // The same report in another format, without a cluster.
    let path = rig::paths::scratch_dir("report")?.join("report.json");
    std::fs::write(&path, &json)?;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"))
        .args(["report", "-o", "markdown", "--from"])
        .arg(&path)
        .env_remove("KUBECONFIG")
        .output()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("The replication is well"));

    // Where the report is about some of the resources, a bucket of another one is covered all the same.
    let (code, of_none) = run(&["-o", "json", "-l", "team=nobody"]).await?;
    let of_none: Value = serde_json::from_str(&of_none)?;
    assert_eq!((code, &of_none["summary"]["total"]), (Some(0), &json!(0)));
    assert_eq!(
        (&of_none["notManaged"], &of_none["notReplicated"]),
        (&report["notManaged"], &report["notReplicated"])
    );

    let (_, without) = run(&["-o", "json", "--without-aws"]).await?;
    let without: Value = serde_json::from_str(&without)?;
    assert_eq!((&without["accounts"], &without["notReplicated"]), (&json!([]), &json!([])));
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_may_not_be_read_is_unknown_and_never_fine() -> Result<()> {
    let scene = Scene::named("report-denied").ready().await?;
    let world = &scene.world;
    let secret = world.bucket("us-east-1").await?;
    let denied = || Answer::error(403, "AccessDenied", "Access Denied");
    let matcher = Matcher::operation("GetBucketReplication").about(&secret);
    world.proxy.inject(Fault::always(matcher, denied()));
    let args = ["report", "-n", &world.namespace, "-o", "json"];
    let output = person(world).run(args, "").await?;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output))?;
    assert_eq!(report["notReplicated"], json!([]));
    assert_eq!(report["unknown"][0]["bucket"], secret.as_str());
    let why = report["unknown"][0]["why"].as_str().context("why")?;
    assert!(why.contains("s3:GetReplicationConfiguration"), "the action is named: {why}");

    world.proxy.inject(Fault::always(Matcher::operation("ListBuckets"), denied()));
    let output = person(world).run(args, "").await?;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output))?;
    assert_eq!(report["unknown"][0]["accountId"], world.account.as_str());
    assert_eq!(report["accounts"], json!([{"accountId": world.account}]), "no count is made up");
    Ok(())
}
