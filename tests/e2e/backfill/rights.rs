//! The rights of the operator and of the job's role, with policies enforced: they need no more than `policy` prints.

use anyhow::{Context, Result, ensure};
use rig::world::World;
use serde_json::{Value, json};

use super::{BACKFILL, backfill, finish, job_id, wait_reason};
use crate::support::{NAME, message, operator_of, person, reason, replication, strings};

/// The policy of the operator as `policy` prints it for a replication and a backfill.
async fn printed(world: &World, resource: &Value, backfill: &Value) -> Result<Value> {
    let args = ["policy", "-f", "-", "-o", "json", "--account-id", &world.account];
    let output = person(world).run(args, &format!("{resource}\n---\n{backfill}")).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn a_backfill_works_with_exactly_the_rights_that_policy_prints() -> Result<()> {
    let world = World::with_auth("backfill-rights").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let mut resource = replication(NAME, &source, &destination);
    resource["metadata"]["namespace"] = json!(world.namespace);
    // The emulator leaves the path out of the resource that it searches for in a policy.
    resource["spec"]["role"] = json!({"name": "orders-role", "path": "/"});
    let mut missed = backfill(BACKFILL, json!({}));
    missed["metadata"]["namespace"] = json!(world.namespace);
    let s3 = world.s3("us-east-1");
    s3.put_object().bucket(&source).key("one").body(Vec::new().into()).send().await?;

    let mut policies = printed(&world, &resource, &missed).await?;
    let own = policies["policy of the operator"].take();
    let of_job = &policies[format!("policy of role backfill+{}.{BACKFILL}", world.namespace)];
    let actions: Vec<String> = of_job["Statement"]
        .as_array()
        .context("no policy of the job")?
        .iter()
        .flat_map(|s| strings(&s["Action"]))
        .collect();
    assert_eq!(
        actions,
        ["s3:InitiateReplication", "s3:GetReplicationConfiguration", "s3:PutInventoryConfiguration"]
    );
    let (key, secret) = world.user("operator", &own.to_string()).await?;
    let settle = ["--backfill-settle", "0"];
    let _operator = operator_of(&world).credentials(&key, &secret).args(settle).start().await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready(NAME).await?;
    world.apply(&missed.to_string()).await?;
    let jobs = world.jobs();
    let id = job_id(&world).await?;
    let done = finish(&world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "Completed", "{done:#}");
    world.s3("eu-west-1").head_object().bucket(&destination).key("one").send().await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_right_is_named_and_the_backfill_begins_once_it_is_given() -> Result<()> {
    let world = World::with_auth("backfill-denied").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let mut resource = replication(NAME, &source, &destination);
    resource["metadata"]["namespace"] = json!(world.namespace);
    resource["spec"]["role"] = json!({"name": "orders-role", "path": "/"});
    let mut missed = backfill(BACKFILL, json!({}));
    missed["metadata"]["namespace"] = json!(world.namespace);
    let all = printed(&world, &resource, &missed).await?["policy of the operator"].take();
    let mut less = all.clone();
    for statement in less["Statement"].as_array_mut().into_iter().flatten() {
        let about_batch = statement["Condition"].to_string().contains("batchoperations");
        let mut actions = strings(&statement["Action"]);
        actions.retain(|action| !(about_batch && action == "iam:PassRole"));
        statement["Action"] = json!(actions);
    }
    less["Statement"].as_array_mut().context("statements")?.retain(|s| s["Action"] != json!([]));
    let (key, secret) = world.user("operator", &less.to_string()).await?;
    let settle = ["--backfill-settle", "0"];
    let _operator = operator_of(&world).credentials(&key, &secret).args(settle).start().await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready(NAME).await?;
    world.apply(&missed.to_string()).await?;
    let status = wait_reason(&world, "AccessDenied").await?;
    assert!(message(&status, "Ready").contains("iam:PassRole"), "{status:#}");
    let put = world.iam().put_user_policy().user_name("operator").policy_name("inline");
    put.policy_document(all.to_string()).send().await?;
    job_id(&world).await?;
    world.jobs().only().await?;
    Ok(())
}
