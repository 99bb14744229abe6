//! AWS out of reach, and an operator without credentials.

use anyhow::Result;
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::{World, condition};
use serde_json::Value;

use crate::support::{Scene, check_now, message, operator_of, reason, replication};

use super::impatient;

/// All of AWS is unreachable: connections are refused.
#[tokio::test]
async fn refused_connections_are_survived() -> Result<()> {
    let Scene { world, operator, .. } = impatient("refused").ready().await?;

    world.proxy.go_down().await;
    let down = check_now(&world, "orders").await?;
    assert_eq!(reason(&down["status"], "Ready"), "AwsUnavailable");
    assert!(message(&down["status"], "Ready").to_lowercase().contains("connect"), "{down:#}");
    let again = check_now(&world, "orders").await?;
    assert_eq!(again["status"]["conditions"], down["status"]["conditions"]);

    world.proxy.come_up().await?;
    world.wait_ready("orders").await?;
    assert_eq!(operator.exit_code(), None);
    Ok(())
}

/// The operator cannot get its caller identity: it starts, reports that in each resource, and continues when
/// STS answers.
#[tokio::test]
async fn an_operator_that_cannot_get_its_identity_starts_and_waits() -> Result<()> {
    let world = World::new("no-identity").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.proxy.inject(Fault::always(Matcher::operation("GetCallerIdentity"), Answer::Drop));
    let operator = operator_of(&world).args(["--aws-attempts", "1"]).start().await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;

    let unavailable = |status: &Value| reason(status, "Ready") == "AwsUnavailable";
    let waiting = world.wait("orders", unavailable, "to say that AWS is away").await?;
    assert!(message(&waiting["status"], "Ready").contains("sts:GetCallerIdentity"), "{waiting:#}");
    assert_eq!(world.proxy.writes().len(), 0);

    world.proxy.remove_faults();
    world.wait_ready("orders").await?;
    assert_eq!(operator.exit_code(), None);
    Ok(())
}

#[tokio::test]
async fn without_credentials_the_resource_reports_the_remedy() -> Result<()> {
    let world = World::new("no-credentials").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let _operator = operator_of(&world)
        .credentials("", "")
        // Exclude the credentials of this machine.
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .start()
        .await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let unavailable = |status: &Value| reason(status, "Ready") == "CredentialsUnavailable";
    let found = world.wait("orders", unavailable, "to miss credentials").await?;
    let text = message(&found["status"], "Ready");
    assert!(text.contains("IRSA, Pod Identity or a Secret"), "{text}");
    assert!(condition(&found["status"], "Reconciling").is_some(), "the operator goes on trying: {found:#}");
    assert_eq!(world.proxy.calls().len(), 0, "nothing is asked without credentials");
    Ok(())
}

/// A Secret is often mounted, or rotated, after the pod has started.
#[tokio::test]
async fn credentials_that_appear_later_are_found_without_a_restart() -> Result<()> {
    let world = World::new("late-credentials").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let directory = rig::paths::scratch_dir("credentials")?;
    let file = directory.join("credentials");
    let operator = operator_of(&world)
        .credentials("", "")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", &file)
        .start()
        .await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let unavailable = |status: &Value| reason(status, "Ready") == "CredentialsUnavailable";
    world.wait("orders", unavailable, "to miss credentials").await?;

    let profile = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = late\n", world.account);
    std::fs::write(&file, profile)?;
    world.wait_ready("orders").await?;
    assert_eq!(operator.exit_code(), None, "it is the same operator");
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
