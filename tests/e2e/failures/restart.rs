//! An operator that is killed or stopped at any moment, and started again, ends in the same state.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::api::DeleteParams;
use rig::proxy::{GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator, person, reason, replication};

/// How long the operator may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// What the operator is at when it is killed.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// From empty to Ready.
    Convergence,
    /// The role gets another name.
    Rename,
    /// The resource is deleted.
    Deletion,
}

impl Work {
    /// How many writes to AWS it takes.
    fn writes(self) -> usize {
        match self {
            // Two buckets, the role, its policy, the configuration.
            Work::Convergence => 5,
            // Role, policy and configuration, then the old policy and the old role.
            Work::Rename => 5,
            // Configuration, policy, role.
            Work::Deletion => 3,
        }
    }

    /// Lets an operator begin, kills it at its n-th write, and lets another one finish.
    async fn killed_at(self, n: usize, at: GateAt) -> Result<()> {
        let world = World::new("killed").await?;
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        let mut resource = replication("orders", &source, &destination);
        let first = operator(&world).start().await?;
        if !matches!(self, Work::Convergence) {
            world.apply(&resource.to_string()).await?;
            world.wait_ready("orders").await?;
        }
        let gate = world.proxy.gate(Matcher::nth_write(n), at);
        match self {
            Work::Convergence => drop(world.apply(&resource.to_string()).await?),
            Work::Rename => {
                resource["spec"]["role"]["name"] = json!("renamed-role");
                world.apply(&resource.to_string()).await?;
            }
            Work::Deletion => drop(world.api().delete("orders", &DeleteParams::default()).await?),
        }
        gate.reached(DEADLINE).await?;
        first.kill().await?;
        gate.release();

        let _second = operator(&world).start().await?;
        match self {
            Work::Convergence => is_in_order(&world, "orders", "orders-role", &source).await,
            Work::Rename => is_in_order(&world, "orders", "renamed-role", &source).await,
            Work::Deletion => {
                world.wait_gone("orders").await?;
                is_clean(&world, &source).await
            }
        }
    }

    /// Kills an operator at each of the writes in turn.
    async fn killed_at_each(self, at: GateAt) -> Result<()> {
        try_join_all((1..=self.writes()).map(|n| async move {
            self.killed_at(n, at).await.with_context(|| format!("{self:?}, killed at write {n}, {at:?}"))
        }))
        .await
        .map(drop)
    }
}

/// The end state: one role, the configuration that names it, nothing different, nothing taken for drift.
async fn is_in_order(world: &World, name: &str, role: &str, source: &str) -> Result<()> {
    world.wait_ready(name).await?;
    let object = check_now(world, name).await?;
    let status = &object["status"];
    ensure!(reason(status, "Ready") == "Applied" && reason(status, "InSync") == "Applied", "{status:#}");
    ensure!(status["lastCorrection"].is_null(), "its own half-done work was taken for drift: {status:#}");
    ensure!(roles(world).await? == [role], "roles: {:?}", roles(world).await?);

    let arn = format!("arn:aws:iam::{}:role/s3-replication/{role}", world.account);
    ensure!(status["role"] == json!({"arn": arn, "managed": true}), "{status:#}");
    let held = world.s3("us-east-1").get_bucket_replication().bucket(source).send().await?;
    let held = held.replication_configuration().context("no configuration")?;
    ensure!(held.role() == arn && held.rules().len() == 1, "{held:?}");
    let policies = world.iam().list_role_policies().role_name(role).send().await?;
    ensure!(policies.policy_names() == ["s3-replication"], "{policies:?}");

    // A second opinion, of the same program without its memory.
    let plan = person(world).run(["plan", "-f", "-"], &object.to_string()).await?;
    ensure!(plan.status.code() == Some(0), "plan finds something: {}", String::from_utf8_lossy(&plan.stdout));
    Ok(())
}

/// The names of all roles of the account.
async fn roles(world: &World) -> Result<Vec<String>> {
    let roles = world.iam().list_roles().send().await?;
    let ours = roles.roles().iter().filter(|role| !role.path().starts_with("/aws-"));
    Ok(ours.map(|role| role.role_name().to_owned()).collect())
}

/// Nothing that the operator made is left.
async fn is_clean(world: &World, source: &str) -> Result<()> {
    ensure!(roles(world).await?.is_empty(), "roles: {:?}", roles(world).await?);
    let held = world.s3("us-east-1").get_bucket_replication().bucket(source).send().await;
    ensure!(held.is_err(), "the configuration is still there");
    Ok(())
}

#[tokio::test]
async fn killed_after_each_write_of_a_convergence_it_ends_in_the_same_state() -> Result<()> {
    Work::Convergence.killed_at_each(GateAt::AfterForward).await
}

#[tokio::test]
async fn killed_before_each_write_of_a_convergence_it_ends_in_the_same_state() -> Result<()> {
    Work::Convergence.killed_at_each(GateAt::BeforeForward).await
}

#[tokio::test]
async fn killed_after_each_write_of_a_renaming_it_leaves_one_role() -> Result<()> {
    Work::Rename.killed_at_each(GateAt::AfterForward).await
}

#[tokio::test]
async fn killed_before_each_write_of_a_renaming_it_leaves_one_role() -> Result<()> {
    Work::Rename.killed_at_each(GateAt::BeforeForward).await
}

#[tokio::test]
async fn killed_after_each_write_of_a_deletion_it_leaves_nothing() -> Result<()> {
    Work::Deletion.killed_at_each(GateAt::AfterForward).await
}

#[tokio::test]
async fn killed_before_each_write_of_a_deletion_it_leaves_nothing() -> Result<()> {
    Work::Deletion.killed_at_each(GateAt::BeforeForward).await
}

/// Between the last write to AWS and the status there is a moment too.
#[tokio::test]
async fn a_convergence_that_was_never_reported_is_not_done_again() -> Result<()> {
    let world = World::new("unreported").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator(&world).start().await?;
    let gate = world.proxy.gate(Matcher::nth_write(5), GateAt::AfterForward);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    gate.reached(DEADLINE).await?;
    first.kill().await?;
    gate.release();
    world.proxy.clear();

    let _second = operator(&world).start().await?;
    is_in_order(&world, "orders", "orders-role", &source).await?;
    assert_eq!(world.proxy.writes().len(), 0, "all was there already");
    Ok(())
}

#[tokio::test]
async fn asked_to_end_it_finishes_the_step_under_way_and_begins_no_other() -> Result<()> {
    let world = World::new("terminated").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator(&world).start().await?;
    let gate = world.proxy.gate(Matcher::operation("CreateRole"), GateAt::AfterForward);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    gate.reached(DEADLINE).await?;

    let release = async {
        while !first.log().contains("stopping") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.release();
    };
    let (code, ()) = tokio::time::timeout(GRACE, async { tokio::join!(first.terminate(), release) })
        .await
        .context("it did not end in time")?;
    assert_eq!(code?, 0);
    let written: Vec<String> = world.proxy.writes().into_iter().map(|call| call.operation).collect();
    assert_eq!(world.proxy.count("CreateRole"), 1);
    let later = ["PutRolePolicy", "PutBucketReplication"];
    assert!(!written.iter().any(|operation| later.contains(&operation.as_str())), "{written:?}");
    let status = world.get("orders").await?["status"].clone();
    assert_eq!(reason(&status, "Ready"), "Progressing");
    assert!(message(&status, "Ready").contains("it goes on when it is back"), "{status:#}");

    let _second = operator(&world).start().await?;
    is_in_order(&world, "orders", "orders-role", &source).await
}

/// AWS does not answer, and nobody waits for it longer than a pod is given to end.
#[tokio::test]
async fn asked_to_end_it_does_not_wait_for_an_answer_that_never_comes() -> Result<()> {
    let world = World::new("unanswered").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator(&world).start().await?;
    let gate = world.proxy.gate(Matcher::operation("PutRolePolicy"), GateAt::AfterForward);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    gate.reached(DEADLINE).await?;
    let code = tokio::time::timeout(GRACE, first.terminate()).await.context("it did not end in time")?;
    assert_eq!(code?, 0);
    gate.release();

    let _second = operator(&world).start().await?;
    is_in_order(&world, "orders", "orders-role", &source).await
}

#[tokio::test]
async fn asked_to_end_while_idle_it_ends_at_once() -> Result<()> {
    let world = World::new("idle").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator(&world).start().await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let before: Value = world.wait_ready("orders").await?;
    assert_eq!(tokio::time::timeout(GRACE, first.terminate()).await??, 0);
    assert!(first.log().contains("stopped"), "{}", first.log());
    let after = world.get("orders").await?;
    assert_eq!(before["status"], after["status"], "ending is not told in any resource");
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_told_and_ends_it() -> Result<()> {
    let world = World::new("port").await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = operator(&world).run(["run", "--http-address", &address], "").await?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(said.contains("choose another with --http-address"), "{said}");
    Ok(())
}
