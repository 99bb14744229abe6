//! The panels of the dashboard over what a running operator exports: Prometheus evaluates each of their expressions.
//!
//! Two scrapes of one operator are the data, the first from its start. Between them objects fail, drift is found by an
//! event and corrected, and AWS throttles. The test covers that each expression selects something, and the values of
//! the panels about objects; it does not draw them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rig::promtool::promtool;
use rig::world::DEADLINE;
use rig::{Answer, Fault, Matcher, World};
use s3_replication_operator::telemetry::PREFIX;
use serde_json::{Value, json};

use super::breakage::{break_versioning, send_failures};
use super::{DESTINATION_REGION, OFTEN, SOURCE_REGION, Scene, publish_metrics};
use crate::support::{http_get, operator_of};

const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboard.json");

/// The labels that Prometheus adds to what it scrapes of a pod.
const TARGET: &str =
    r#"namespace="operators",job="s3-replication-operator",instance="10.0.0.1:8080",pod="operator-0""#;

/// Values by series, in the words of the exposition format.
type Scrape = BTreeMap<String, String>;

async fn scrape(address: SocketAddr) -> Result<Scrape> {
    let (code, text) = http_get(address, "/metrics").await?;
    ensure!(code == 200, "{code}: {text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    Ok(series.map(|(series, value)| (with_target(series), value.to_owned())).collect())
}

/// A series as Prometheus stores it. It renames a label of the operator that its own have.
fn with_target(series: &str) -> String {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.trim_end_matches('}').replace("namespace=", "exported_namespace=");
    let comma = if labels.is_empty() { "" } else { "," };
    format!("{name}{{{labels}{comma}{TARGET}}}")
}

/// Scrapes until series of all these names have a value above zero.
async fn scraped(address: SocketAddr, names: &[&str]) -> Result<Scrape> {
    let start = Instant::now();
    loop {
        let found = scrape(address).await?;
        let has = |name: &&str| {
            let start = format!("{PREFIX}_{name}{{");
            found.iter().any(|(series, value)| series.starts_with(&start) && value != "0" && value != "0.0")
        };
        if names.iter().all(has) {
            return Ok(found);
        }
        ensure!(start.elapsed() < DEADLINE, "not all of {names:?} count something: {found:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The panels of the dashboard: their titles, and their expressions in the words of a query.
fn panels() -> Result<Vec<(String, Vec<String>)>> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("panels")?.iter().map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let expressions = targets.filter_map(|target| target["expr"].as_str()).map(|expression| {
            let expression = expression.replace("$__rate_interval", "5m");
            expression.replace("$namespace", "operators").replace("$job", "s3-replication-operator")
        });
        (panel["title"].as_str().unwrap_or_default().to_owned(), expressions.collect())
    });
    Ok(panels.collect())
}

/// The samples that a panel has to show: queries over its expressions, with the one sample that each yields.
fn expected(title: &str, expressions: &[String]) -> Vec<Value> {
    let case = |query: String, labels: &str, value: f64| json!({"expr": query, "eval_time": "1m", "exp_samples": [{"labels": labels, "value": value}]});
    let selects = expressions.iter().map(|of| case(format!("clamp_max(count({of}), 1)"), "{}", 1.0));
    let mut cases: Vec<Value> = selects.collect();
    match (title, expressions) {
        ("Whether objects arrive", [of]) => {
            cases.push(case(format!("sum by (reason) ({of})"), r#"{reason="ObjectsFailing"}"#, 1.0));
        }
        ("Metrics requested from CloudWatch in an hour", [of]) => {
            cases.push(case(format!("({of}) > bool 0"), "{}", 1.0));
        }
        ("Latency by resource", [of]) => {
            cases.push(case(format!("sum by (name) ({of})"), r#"{name="orders"}"#, 0.0));
        }
        ("Pending and failed operations by resource", [pending, failed]) => {
            cases.push(case(format!("sum by (name) ({pending})"), r#"{name="orders"}"#, 0.0));
            cases.push(case(format!("sum by (name) ({failed})"), r#"{name="orders"}"#, 1.0));
        }
        _ => {}
    }
    cases
}

#[tokio::test]
async fn every_panel_of_the_dashboard_shows_what_a_running_operator_exports() -> Result<()> {
    let world = World::new("dashboard").await?;
    let queue = world.event_queue().await?;
    let args = ["--resource-metrics", "--event-queue", queue.as_str()];
    let operator = operator_of(&world).args(OFTEN).args(args).start().await?;
    let address = operator.http_address().await?;
    let before = scrape(address).await?;
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    let scene = Scene { world, operator, source, destination };
    send_failures(&scene, &queue).await?;
    let slow = Fault::times(1, Matcher::operation("GetBucketReplication"), Answer::slow_down());
    scene.world.proxy.inject(slow);
    scene.apply(publish_metrics).await?;
    scene.world.wait_ready(crate::support::NAME).await?;
    scene.see_own_writes().await?;
    let somebody = scene.world.somebody().await?.s3(SOURCE_REGION);
    somebody.delete_bucket_replication().bucket(&scene.source).send().await?;
    scraped(address, &["drift_corrected_total", "drift_found_by_total"]).await?;
    scene.wait_verdict("NothingPending").await?;
    scene.manage("Observe").await?;
    break_versioning(&scene).await?;
    scene.write_object("lost").await?;
    scene.wait_verdict("ObjectsFailing").await?;
    let counted = ["resource_failed_operations", "cloudwatch_metrics_requested_total", "aws_throttles_total"];
    let after = scraped(address, &counted).await?;

    // A counter that was not there yet was zero.
    let series = after.iter().map(|(series, value)| {
        let first = before.get(series).map_or("0", String::as_str);
        json!({"series": series, "values": format!("{first} {value}")})
    });
    let cases: Vec<Value> =
        panels()?.iter().flat_map(|(title, expressions)| expected(title, expressions)).collect();
    ensure!(cases.len() > 30, "only {} expressions were found", cases.len());
    let test =
        json!({"interval": "1m", "input_series": series.collect::<Vec<_>>(), "promql_expr_test": cases});
    let file = json!({"rule_files": [], "evaluation_interval": "1m", "tests": [test]});
    promtool(&["test", "rules", "cases.yaml"], &[("cases.yaml", &file.to_string())])
}
