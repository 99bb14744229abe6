//! How many checks events cause.

use std::time::{Duration, Instant};

use anyhow::Result;
use aws_sdk_iam::types::Tag;
use futures::future::try_join_all;
use rig::proxy::{Call, TrailFaults};
use rig::world::DEADLINE;
use serde_json::{Value, json};

use super::EventScene;
use crate::support::{DESTINATION_REGION, POLICY, SOURCE_REGION, replication};

fn checks(calls: &[Call], role: &str) -> usize {
    calls.iter().filter(|call| call.operation == "GetRole" && call.subject == role).count()
}

#[tokio::test]
async fn the_operators_own_writes_cause_no_check_also_when_their_events_come_twice() -> Result<()> {
    let scene = EventScene::new("event-own").await?;
    scene.world.proxy.set_trail_faults(TrailFaults { copies: 1, reorder: true, ..TrailFaults::default() });
    // No poll adds a check.
    scene.replicate_with("orders", |spec| spec["interval"] = json!("24h")).await?;
    // Versioning of two buckets, a role, its policy, and the configuration.
    scene.metric("events_received_total", &[("outcome", "own")], |n| n == 5.0, "to be 5 own events").await?;
    scene
        .metric("events_received_total", &[("outcome", "duplicate")], |n| n == 5.0, "to be 5 copies")
        .await?;
    scene.metric("events_received_total", &[("outcome", "checked")], |n| n == 0.0, "to be 0").await?;
    assert_eq!(checks(&scene.world.proxy.calls(), "orders-role"), 1, "{:?}", scene.world.proxy.calls());
    Ok(())
}

#[tokio::test]
async fn a_request_that_aws_refused_causes_no_check_though_its_event_comes() -> Result<()> {
    let scene = EventScene::new("event-refused").await?;
    let (source, _) = scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    scene.world.proxy.set_trail_faults(TrailFaults { with_failed: true, ..TrailFaults::default() });
    let somebody = scene.world.somebody().await?;
    scene.world.proxy.clear();
    // S3 refuses to suspend the versioning of a bucket that replicates.
    let suspended = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Suspended)
        .build();
    let s3 = somebody.s3(SOURCE_REGION);
    let refused = s3.put_bucket_versioning().bucket(&source).versioning_configuration(suspended).send().await;
    assert!(refused.is_err(), "{refused:?}");
    scene.metric("events_received_total", &[("outcome", "failed_call")], |n| n == 1.0, "to be 1").await?;
    // A check that it had caused would have begun by now, and this one would begin ten seconds after it.
    // It has never been like this, so that it is no answer from before the operator's own writes.
    let nothing =
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}"#;
    let put = somebody.iam().put_role_policy().role_name("orders-role").policy_name(POLICY);
    put.policy_document(nothing).send().await?;
    let corrected = |status: &Value| !status["lastCorrection"].is_null();
    scene.world.wait("orders", corrected, "to have its policy again").await?;
    assert_eq!(checks(&scene.world.proxy.calls(), "orders-role"), 1, "{:?}", scene.world.proxy.calls());
    Ok(())
}

#[tokio::test]
async fn an_event_that_comes_late_is_acted_on_and_its_delay_is_measured() -> Result<()> {
    const DELAY: Duration = Duration::from_secs(4);
    let scene = EventScene::new("event-late").await?;
    scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    let measured = |name: &str| format!("event_delay_seconds_{name}");
    let before = scene.metric(&measured("sum"), &[], |sum| sum >= 0.0, "to be there").await?;
    scene.world.proxy.set_trail_faults(TrailFaults { delay: DELAY, ..TrailFaults::default() });
    let somebody = scene.world.somebody().await?;
    // It has never been like this, so that it is no answer from before the operator's own writes.
    let nothing =
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}"#;
    let put = somebody.iam().put_role_policy().role_name("orders-role").policy_name(POLICY);
    put.policy_document(nothing).send().await?;
    let corrected = |status: &Value| !status["lastCorrection"].is_null();
    scene.world.wait("orders", corrected, "to have its policy again").await?;
    scene.metric("drift_found_by_total", &[("by", "event")], |n| n >= 1.0, "to be by the event").await?;
    // CloudTrail writes whole seconds.
    let (least, late) = (DELAY.as_secs_f64() - 1.0, "to count the time that the event was on its way");
    scene.metric(&measured("sum"), &[], |sum| sum - before >= least, late).await?;
    scene.metric("drift_latency_seconds_sum", &[], |sum| sum >= least, "to count it too").await?;
    Ok(())
}

#[tokio::test]
async fn a_burst_of_a_hundred_changes_causes_at_most_one_check_in_ten_seconds() -> Result<()> {
    let scene = EventScene::new("event-burst").await?;
    scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    let somebody = scene.world.somebody().await?;
    scene.world.proxy.clear();
    let begun = Instant::now();
    // A tag that is not the operator's business: a check finds nothing.
    let tag = |n: u32| {
        let iam = somebody.iam();
        async move {
            let tag = Tag::builder().key("theirs").value(n.to_string()).build()?;
            iam.tag_role().role_name("orders-role").tags(tag).send().await?;
            anyhow::Ok(())
        }
    };
    for ten in (0..100).step_by(10) {
        try_join_all((ten..ten + 10).map(tag)).await?;
    }
    scene
        .metric("events_received_total", &[("outcome", "checked")], |n| n == 100.0, "to be 100 events")
        .await?;
    let twice = |calls: &[Call]| checks(calls, "orders-role") >= 2;
    scene.world.proxy.wait_for(twice, DEADLINE).await?;
    // The burst lasts longer on a busy machine, and may then cause more than two.
    let calls = scene.world.proxy.calls();
    let most = 1 + usize::try_from(begun.elapsed().as_secs())? / 10;
    assert!(checks(&calls, "orders-role") <= most, "more than {most}: {calls:?}");
    Ok(())
}

#[tokio::test]
async fn an_event_whose_check_finds_nothing_causes_one_more_after_a_minute() -> Result<()> {
    let scene = EventScene::new("event-again").await?;
    scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    let somebody = scene.world.somebody().await?;
    scene.world.proxy.clear();
    let tag = Tag::builder().key("theirs").value("1").build()?;
    somebody.iam().tag_role().role_name("orders-role").tags(tag).send().await?;
    let twice = |calls: &[Call]| checks(calls, "orders-role") == 2;
    let calls = scene.world.proxy.wait_for(twice, 2 * DEADLINE).await?;
    let at: Vec<_> =
        calls.iter().filter(|call| call.operation == "GetRole").map(|call| call.started).collect();
    assert!(at[1].duration_since(at[0]).as_secs() >= 55, "AWS gets a minute to become consistent");
    Ok(())
}

#[tokio::test]
async fn of_many_resources_that_share_a_destination_one_is_checked_in_place_of_all() -> Result<()> {
    let scene = EventScene::new("event-shared").await?;
    let (world, count) = (&scene.world, 55);
    let shared = world.bucket(DESTINATION_REGION).await?;
    let names: Vec<String> = (0..count).map(|n| format!("r{n}")).collect();
    for name in &names {
        let source = world.bucket(crate::support::SOURCE_REGION).await?;
        world.apply(&replication(name, &source, &shared).to_string()).await?;
    }
    for name in &names {
        world.wait_ready(name).await?;
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.cover(&all).await?;
    let somebody = world.somebody().await?;
    world.proxy.clear();
    let versioning = |status| {
        let versioning = aws_sdk_s3::types::VersioningConfiguration::builder().status(status).build();
        let s3 = somebody.s3(DESTINATION_REGION);
        s3.put_bucket_versioning().bucket(&shared).versioning_configuration(versioning).send()
    };
    // A write that changes nothing.
    versioning(aws_sdk_s3::types::BucketVersioningStatus::Enabled).await?;
    scene.metric("events_received_total", &[("outcome", "checked")], |n| n == 1.0, "to be 1").await?;
    let one =
        |calls: &[Call]| calls.iter().any(|call| call.operation == "GetRolePolicy" && call.status.is_some());
    world.proxy.wait_for(one, DEADLINE).await?;
    let reads = world.proxy.count("GetRole");
    assert_eq!(reads, 1, "{:?}", world.proxy.calls());

    // One that matters: the first check corrects it, and all others are checked too.
    versioning(aws_sdk_s3::types::BucketVersioningStatus::Suspended).await?;
    let everyone = |calls: &[Call]| {
        let mut roles: Vec<&str> = calls
            .iter()
            .filter(|call| call.operation == "GetRole")
            .map(|call| call.subject.as_str())
            .collect();
        roles.sort_unstable();
        roles.dedup();
        roles.len() == count
    };
    world.proxy.wait_for(everyone, DEADLINE).await?;
    let corrected = |status: &Value| !status["lastCorrection"].is_null();
    let mut correcting = 0;
    for name in &names {
        correcting += usize::from(corrected(&world.get(name).await?["status"]));
    }
    assert_eq!(correcting, 1, "the one that was checked first");
    Ok(())
}
