//! The answers of CloudWatch that do not hold all points at once: pages, parts, refusals of single series.

use anyhow::{Context, Result};
use rig::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use super::breakage::break_versioning;
use super::{SOURCE_REGION, Scene, publish_metrics, replicating, scene_named};
use crate::support::NAME;

/// The status once `Replicating` is as wanted.
async fn wait(scene: &Scene, wanted: impl Fn(&Value) -> bool, what: &str) -> Result<Value> {
    let mut object = scene.world.wait(NAME, wanted, what).await?;
    Ok(object["status"].take())
}

fn two_rules(spec: &mut Value) {
    publish_metrics(spec);
    let mut second = spec["rules"][0].clone();
    (second["id"], second["priority"]) = (json!("Second"), json!(2));
    second["filter"] = json!({"prefix": "second/"});
    spec["rules"] = json!([spec["rules"][0], second]);
}

#[tokio::test]
async fn the_pages_of_an_answer_are_one_answer() -> Result<()> {
    let scene = scene_named("pages").ready().await?;
    scene.wait_verdict("NothingPending").await?;
    scene.manage("Observe").await?;
    // Nothing is read until three operations have failed in three minutes.
    let denied = Fault::always(Matcher::operation("GetMetricData"), Answer::access_denied());
    scene.world.proxy.inject(denied);
    scene.wait_verdict("AccessDenied").await?;
    break_versioning(&scene).await?;
    for key in ["one", "two", "three"] {
        scene.world.age_metrics(&scene.source, 60).await?;
        scene.write_object(key).await?;
    }
    scene.world.answer_metrics(&scene.source, json!({"page": 1})).await?;
    scene.world.proxy.clear();
    scene.world.proxy.remove_faults();
    let status = scene.wait_verdict("ObjectsFailing").await?;
    assert!(replicating(&status).2.contains("3 of 3 operations"), "{status:#}");
    let calls = scene.world.proxy.calls();
    let further = |call: &&rig::Call| call.operation == "GetMetricData" && call.body.contains("NextToken");
    assert!(calls.iter().filter(further).any(|call| call.region == SOURCE_REGION), "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_lacks_points_is_not_taken_for_a_whole_one() -> Result<()> {
    let scene = scene_named("parts").empty().await?;
    for (status, reported) in [
        ("PartialData", "(PartialData: the answer lacks some of the points)"),
        ("InternalError", "(InternalError: InternalError for the test)"),
        ("", "(the answer lacks a series that was requested)"),
    ] {
        scene.world.answer_metrics(&scene.source, json!({"status": status})).await?;
        scene.apply(publish_metrics).await?;
        let unread = |held: &Value| {
            let (verdict, reason, message) = replicating(held);
            (verdict, reason) == ("Unknown", "AwsUnavailable") && message.contains(reported)
        };
        wait(&scene, unread, reported).await.with_context(|| format!("{status:?}"))?;
    }
    scene.world.answer_metrics(&scene.source, Value::Null).await?;
    scene.wait_verdict("NothingPending").await.map(drop)
}

#[tokio::test]
async fn a_series_that_is_refused_is_unknown_and_the_other_rules_are_judged() -> Result<()> {
    let scene = scene_named("refused").empty().await?;
    let refused = json!({"status": "Forbidden", "rule": "Second"});
    scene.world.answer_metrics(&scene.source, refused).await?;
    scene.apply(two_rules).await?;
    scene.world.wait_ready(NAME).await?;
    let status = scene.wait_verdict("NothingPending").await?;
    let rules = &status["health"]["rules"];
    let of = |id: &str| rules.as_array().into_iter().flatten().find(|rule| rule["id"] == id);
    let second = of("Second").context("the second rule")?;
    assert_eq!(
        (&second["verdict"], &second["reason"]),
        (&json!("Unknown"), &json!("AccessDenied")),
        "{rules:#}"
    );
    let first = of("ReplicateToEU").context("the first rule")?;
    assert_eq!(first["verdict"], "Arriving", "{rules:#}");
    let message = replicating(&status).2;
    let reported =
        "not known: cloudwatch:GetMetricData on us-east-1 is denied (Forbidden: Forbidden for the test)";
    assert!(message.contains(reported), "{message}");

    scene.world.answer_metrics(&scene.source, Value::Null).await?;
    let all = |held: &Value| {
        let rules = held["health"]["rules"].as_array();
        rules.is_some_and(|rules| rules.iter().all(|rule| rule["verdict"] == "Arriving"))
    };
    wait(&scene, all, "to know both rules").await.map(drop)
}

#[tokio::test]
async fn throttling_is_reported_until_metrics_can_be_read() -> Result<()> {
    let scene = scene_named("throttled").fail_fast().empty().await?;
    let throttled = Answer::error(400, "ThrottlingException", "Rate exceeded");
    scene.world.proxy.inject(Fault::always(Matcher::operation("GetMetricData"), throttled));
    scene.apply(publish_metrics).await?;
    let status = scene.wait_verdict("Throttled").await?;
    let (verdict, _, message) = replicating(&status);
    assert_eq!(verdict, "Unknown");
    assert!(message.contains("AWS throttles cloudwatch:GetMetricData"), "{message}");
    scene.world.proxy.remove_faults();
    scene.wait_verdict("NothingPending").await.map(drop)
}
