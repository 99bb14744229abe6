//! An operator that is killed or stopped at any moment, and started again, ends in the same state.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::api::DeleteParams;
use rig::proxy::{GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator_of, person, reason, replication};

/// Kubernetes kills a pod so long after SIGTERM by default (terminationGracePeriodSeconds of the chart too).
const GRACE: Duration = Duration::from_secs(30);

/// The act of the operator during which the test kills it.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// From empty to Ready.
    Convergence,
    /// The role gets another name.
    Rename,
    /// The resource is deleted.
    Deletion,
}

impl Operation {
    /// The number of writes to AWS.
    fn writes(self) -> usize {
        match self {
            // Two buckets, the role, its policy, the configuration.
            Operation::Convergence => 5,
            // Role, policy and configuration, then the old policy and the old role.
            Operation::Rename => 5,
            // Configuration, policy, role.
            Operation::Deletion => 3,
        }
    }

    /// Lets one operator begin, kills it at its n-th write, and lets another finish.
    async fn kill_at(self, n: usize, at: GateAt) -> Result<()> {
        let world = World::new("killed").await?;
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        let mut resource = replication("orders", &source, &destination);
        let first = operator_of(&world).start().await?;
        if !matches!(self, Operation::Convergence) {
            world.apply(&resource.to_string()).await?;
            world.wait_ready("orders").await?;
        }
        let gate = world.proxy.gate(Matcher::nth_write(n), at);
        match self {
            Operation::Convergence => drop(world.apply(&resource.to_string()).await?),
            Operation::Rename => {
                resource["spec"]["role"]["name"] = json!("renamed-role");
                world.apply(&resource.to_string()).await?;
            }
            Operation::Deletion => drop(world.api().delete("orders", &DeleteParams::default()).await?),
        }
        gate.reached(DEADLINE).await?;
        first.kill().await?;
        gate.release();

        let _second = operator_of(&world).start().await?;
        match self {
            Operation::Convergence => check_converged(&world, "orders", "orders-role", &source).await,
            Operation::Rename => check_converged(&world, "orders", "renamed-role", &source).await,
            Operation::Deletion => {
                world.wait_gone("orders").await?;
                check_clean(&world, &source).await
            }
        }
    }

    /// Kills an operator at each of the writes in turn.
    async fn kill_at_each(self, at: GateAt) -> Result<()> {
        try_join_all((1..=self.writes()).map(|n| async move {
            self.kill_at(n, at).await.with_context(|| format!("{self:?}, killed at write {n}, {at:?}"))
        }))
        .await
        .map(drop)
    }
}

/// Checks the end state: one role, a configuration that names it, no difference, no recorded correction.
async fn check_converged(world: &World, name: &str, role: &str, source: &str) -> Result<()> {
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

    // `plan` starts without the operator's memory.
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

/// Checks that nothing of the operator is left in AWS.
async fn check_clean(world: &World, source: &str) -> Result<()> {
    ensure!(roles(world).await?.is_empty(), "roles: {:?}", roles(world).await?);
    let held = world.s3("us-east-1").get_bucket_replication().bucket(source).send().await;
    ensure!(held.is_err(), "the configuration is still there");
    Ok(())
}

#[tokio::test]
async fn an_operator_killed_after_any_write_of_a_creation_ends_in_the_same_state() -> Result<()> {
    Operation::Convergence.kill_at_each(GateAt::AfterForward).await
}

#[tokio::test]
async fn an_operator_killed_before_any_write_of_a_creation_ends_in_the_same_state() -> Result<()> {
    Operation::Convergence.kill_at_each(GateAt::BeforeForward).await
}

#[tokio::test]
async fn an_operator_killed_after_any_write_of_a_renaming_leaves_one_role() -> Result<()> {
    Operation::Rename.kill_at_each(GateAt::AfterForward).await
}

#[tokio::test]
async fn an_operator_killed_before_any_write_of_a_renaming_leaves_one_role() -> Result<()> {
    Operation::Rename.kill_at_each(GateAt::BeforeForward).await
}

#[tokio::test]
async fn an_operator_killed_after_any_write_of_a_deletion_leaves_nothing() -> Result<()> {
    Operation::Deletion.kill_at_each(GateAt::AfterForward).await
}

#[tokio::test]
async fn an_operator_killed_before_any_write_of_a_deletion_leaves_nothing() -> Result<()> {
    Operation::Deletion.kill_at_each(GateAt::BeforeForward).await
}

/// The operator is killed between its last write to AWS and the status.
#[tokio::test]
async fn writes_whose_status_was_never_written_are_not_repeated() -> Result<()> {
    let world = World::new("unreported").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator_of(&world).start().await?;
    let gate = world.proxy.gate(Matcher::nth_write(5), GateAt::AfterForward);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    gate.reached(DEADLINE).await?;
    first.kill().await?;
    gate.release();
    world.proxy.clear();

    let _second = operator_of(&world).start().await?;
    check_converged(&world, "orders", "orders-role", &source).await?;
    assert_eq!(world.proxy.writes().len(), 0, "all was there already");
    Ok(())
}

#[tokio::test]
async fn a_terminated_operator_finishes_the_step_under_way_and_begins_no_other() -> Result<()> {
    let world = World::new("terminated").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator_of(&world).start().await?;
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
    assert!(message(&status, "Ready").contains("it continues when it is back"), "{status:#}");

    let _second = operator_of(&world).start().await?;
    check_converged(&world, "orders", "orders-role", &source).await
}

/// AWS does not answer: the operator ends within the grace period of a pod.
#[tokio::test]
async fn a_terminated_operator_does_not_wait_for_an_answer_that_never_comes() -> Result<()> {
    let world = World::new("unanswered").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator_of(&world).start().await?;
    let gate = world.proxy.gate(Matcher::operation("PutRolePolicy"), GateAt::AfterForward);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    gate.reached(DEADLINE).await?;
    let code = tokio::time::timeout(GRACE, first.terminate()).await.context("it did not end in time")?;
    assert_eq!(code?, 0);
    gate.release();

    let _second = operator_of(&world).start().await?;
    check_converged(&world, "orders", "orders-role", &source).await
}

#[tokio::test]
async fn a_terminated_idle_operator_ends_immediately() -> Result<()> {
    let world = World::new("idle").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let first = operator_of(&world).start().await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let before: Value = world.wait_ready("orders").await?;
    assert_eq!(tokio::time::timeout(GRACE, first.terminate()).await??, 0);
    assert!(first.log().contains("stopped"), "{}", first.log());
    let after = world.get("orders").await?;
    assert_eq!(before["status"], after["status"], "ending changes no status");
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_reported_and_ends_the_operator() -> Result<()> {
    let world = World::new("port").await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = operator_of(&world).run(["run", "--http-address", &address], "").await?;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
    assert!(text.contains("choose another with --http-address"), "{text}");
    Ok(())
}
