//! CloudWatch is down, in each way that a service can be: no check notices.

use anyhow::Result;
use rig::{Answer, Call, Fault, Matcher, World};

use super::{DESTINATION_REGION, OFTEN, SOURCE_REGION, Scene, publish_metrics, replicating};
use crate::operations::cost::{SHARED, check_unrequested};
use crate::support::{NAME, operator_of, reason};

/// A port of this machine on which nothing listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// Longer than it takes to open the circuit breaker.
const MANY: usize = 12;

/// Checks cost what they always cost and find what they always find, and the verdict says why there is none.
async fn checks_go_on(scene: &Scene) -> Result<()> {
    let status = scene.wait_verdict("AwsUnavailable").await?;
    assert_eq!(replicating(&status).0, "Unknown");
    assert!(replicating(&status).2.contains("cloudwatch:GetMetricData"), "{status:#}");
    for _ in 0..3 {
        tokio::time::sleep(SHARED).await;
        let calls = check_unrequested(&scene.world, NAME).await?;
        assert_eq!(calls.len(), 5, "{calls:?}");
    }
    let checked = scene.check().await?;
    assert_eq!(reason(&checked, "Ready"), "Applied");
    assert_eq!(reason(&checked, "Replicating"), "AwsUnavailable");
    Ok(())
}

/// Starts an operator, and a resource whose metrics cannot be read.
async fn scene_with(name: &str, endpoint: Option<&str>, fault: Option<Answer>) -> Result<Scene> {
    let world = World::new(name).await?;
    // A request without an answer has to end soon, and no other may end before its answer comes.
    let longest = if matches!(fault, Some(Answer::Hang)) { "5" } else { "30" };
    let args = ["--aws-attempts", "1", "--aws-attempt-timeout", longest];
    let mut builder = operator_of(&world).args(OFTEN).args(args);
    if let Some(endpoint) = endpoint {
        builder = builder.env("AWS_ENDPOINT_URL_CLOUDWATCH", endpoint);
    }
    let operator = builder.start().await?;
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    if let Some(answer) = fault {
        world.proxy.inject(Fault::always(Matcher::operation("GetMetricData"), answer));
    }
    let scene = Scene { world, operator, source, destination };
    scene.apply(publish_metrics).await?;
    scene.world.wait_ready(NAME).await?;
    Ok(scene)
}

#[tokio::test]
async fn a_cloudwatch_that_refuses_connections_costs_no_check_anything() -> Result<()> {
    let scene = scene_with("cw-refused", Some(NOBODY), None).await?;
    checks_go_on(&scene).await?;
    assert_eq!(scene.readings(SOURCE_REGION), 0, "nothing of it went to the proxy");
    Ok(())
}

#[tokio::test]
async fn a_cloudwatch_that_fails_costs_no_check_anything_and_is_asked_less_often() -> Result<()> {
    let scene = scene_with("cw-fails", None, Some(Answer::error(500, "InternalFailure", "no luck"))).await?;
    let many = |calls: &[Call]| calls.iter().filter(|call| call.operation == "GetMetricData").count() >= MANY;
    scene.world.proxy.wait_for(many, rig::world::DEADLINE).await?;
    checks_go_on(&scene).await?;
    scene.world.proxy.remove_faults();
    scene.wait_verdict("NothingPending").await.map(drop)
}

#[tokio::test]
async fn a_cloudwatch_that_never_answers_costs_no_check_anything() -> Result<()> {
    let scene = scene_with("cw-hangs", None, Some(Answer::Hang)).await?;
    checks_go_on(&scene).await?;
    scene.world.proxy.remove_faults();
    scene.wait_verdict("NothingPending").await.map(drop)
}
