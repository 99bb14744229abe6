//! `orphans` across accounts: statements that a resource left in the bucket policy of another account.

use anyhow::{Context, Result};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cli::orphans::{orphans, role_at};
use crate::support::patch;

use super::{TwoAccounts, statements_of_operator};

/// The Sids of the statements that operators wrote, without the part that says which of the two one is.
fn sids(policy: &Value) -> Vec<String> {
    let sids = statements_of_operator(policy).into_iter().filter_map(|statement| statement["Sid"].as_str());
    let mut sids: Vec<String> =
        sids.map(|sid| sid.trim_end_matches("Objects").trim_end_matches("Bucket").to_owned()).collect();
    sids.sort();
    sids.dedup();
    sids
}

#[tokio::test]
async fn statements_left_in_a_bucket_of_another_account_are_deleted_and_those_of_another_cluster_stay()
-> Result<()> {
    let two = TwoAccounts::ready("orphans-abroad").await?;
    let world = &two.world;
    two.operator.kill().await?;
    patch(world, "orders", json!({"metadata": {"finalizers": null}})).await?;
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await?;

    // Another cluster replicates into the same bucket, with a role beside ours.
    let mut policy = two.policy().await?.context("the statements are left")?;
    let [ours] = &sids(&policy)[..] else { anyhow::bail!("one resource: {policy:#}") };
    role_at(world, "/s3-replication/", "theirs", &[("cluster", "another-cluster")]).await?;
    let their_role = format!("arn:aws:iam::{}:role/s3-replication/theirs", world.account);
    let theirs = format!("S3Replication{}", "0".repeat(ours.len() - "S3Replication".len()));
    let copies = statements_of_operator(&policy).into_iter().map(|statement| {
        let mut copy = statement.clone();
        copy["Sid"] = json!(copy["Sid"].as_str().unwrap_or_default().replace(ours, &theirs));
        copy["Principal"] = json!({"AWS": their_role});
        copy
    });
    let copies: Vec<Value> = copies.collect();
    policy["Statement"].as_array_mut().context("statements")?.extend(copies.clone());
    two.put_policy(&policy).await?;

    let accounts = ["--account", &two.home, "--account", &two.abroad];
    let (code, text, error) = orphans(world, &accounts).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(text.starts_with("1 role of a resource that is gone still replicates; it is kept:"), "{text}");
    assert!(text.contains(&two.destination), "the bucket whose policy has the statements: {text}");
    assert!(text.contains("Not touched: roles of other clusters (1)."), "{text}");
    let (_, json, _) = orphans(world, &[&["-o", "json"], &accounts[..]].concat()).await?;
    let found: Value = serde_json::from_str(&json)?;
    let statements = &found["stillReplicating"][0]["statements"];
    assert_eq!(statements.as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(statements[0]["bucket"]["accountId"], json!(two.abroad_id), "{json}");
    assert_eq!((&statements[0]["sid"], &found["unclear"]), (&json!(ours), &json!([])), "{json}");
    assert_eq!(sids(&two.policy().await?.context("policy")?).len(), 2, "reading deletes nothing");

    // Without the account of the destination its statements are not found, and go with no role.
    let (_, text, _) = orphans(world, &["--account", &two.home]).await?;
    assert!(!text.contains(&two.destination), "{text}");

    let delete = [&["--delete", "--including-replicating", "--yes"], &accounts[..]].concat();
    let (code, text, error) = orphans(world, &delete).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    let left = two.policy().await?.context("the statements of the other cluster")?;
    assert_eq!(statements_of_operator(&left), copies.iter().collect::<Vec<_>>(), "{left:#}");
    let roles = world.iam().list_roles().path_prefix("/s3-replication/").send().await?;
    let roles: Vec<&str> = roles.roles().iter().map(|role| role.role_name()).collect();
    assert_eq!(roles, ["theirs"], "{text}");
    let (code, text, _) = orphans(world, &accounts).await?;
    assert_eq!(code, Some(0), "{text}");
    Ok(())
}
