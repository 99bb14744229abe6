//! Metrics and health as a Prometheus and a kubelet meet them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::StorageClass;
use kube::api::DeleteParams;
use rig::forwarder::Forwarder;
use rig::proxy::{Answer, Fault, GateAt, Matcher};
use rig::world::{DEADLINE, World};
use s3_replication_operator::telemetry::{DESCRIPTIONS, Description, Kind, PREFIX};

use crate::support::{check_now, http_get, operator_of, reason, replication, request_check};

/// One line of `/metrics`: the name after the prefix, the labels, the value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Debug)]
struct Scrape {
    samples: Vec<Sample>,
    text: String,
}

impl Scrape {
    async fn of(address: SocketAddr) -> Result<Scrape> {
        let (code, text) = http_get(address, "/metrics").await?;
        ensure!(code == 200, "{code}: {text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(sample).collect::<Result<_>>()?;
        Ok(Scrape { samples, text })
    }

    /// The sum of the samples with this name and these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of_name(name, labels).map(|sample| sample.value).sum()
    }

    fn of_name(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|v| v == value);
            sample.name == name && labels.iter().all(has)
        })
    }
}

/// Reads a line such as `prefix_name{label="value"} 1.0`.
fn sample(line: &str) -> Result<Sample> {
    let (series, value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let name = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('_'));
    let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').with_context(|| format!("no label: {line}"))?;
        anyhow::Ok((key.to_owned(), value.trim_matches('"').to_owned()))
    };
    Ok(Sample {
        name: name.with_context(|| format!("another prefix: {line}"))?.to_owned(),
        labels: pairs.map(pair).collect::<Result<_>>()?,
        value: value.parse()?,
    })
}

/// Scrapes until the metrics are as wanted.
async fn scraped(address: SocketAddr, wanted: impl Fn(&Scrape) -> bool, what: &str) -> Result<Scrape> {
    let start = Instant::now();
    loop {
        let scrape = Scrape::of(address).await?;
        if wanted(&scrape) {
            return Ok(scrape);
        }
        ensure!(start.elapsed() < DEADLINE, "the metrics do not show {what}:\n{}", scrape.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Changes the storage class of the only rule in S3.
async fn change_storage_class(world: &World, source: &str) -> Result<()> {
    let s3 = world.s3("us-east-1");
    let held = s3.get_bucket_replication().bucket(source).send().await?;
    let mut configuration = held.replication_configuration.context("no configuration")?;
    let destination = configuration.rules[0].destination.as_mut().context("no destination")?;
    destination.storage_class = Some(StorageClass::Glacier);
    s3.put_bucket_replication()
        .bucket(source)
        .replication_configuration(configuration)
        .send()
        .await
        .map(drop)
        .map_err(Into::into)
}

/// Whether a metric may have no series: those of single events need an event, and those of what is pending or failed
/// need metrics of S3. tests/e2e/events and tests/e2e/health read their values.
fn may_be_empty(metric: &Description) -> bool {
    let of_events = metric.name.contains("event") || metric.name.contains("drift_found_by");
    let of_evidence = ["replication_latency", "pending_operations", "failed_operations", "metrics_requested"];
    of_events || of_evidence.iter().any(|part| metric.name.contains(part))
}

#[tokio::test]
async fn the_exported_metrics_are_exactly_the_described_ones() -> Result<()> {
    let world = World::new("metrics").await?;
    // The metrics about events are there once a queue is named; this one does not exist.
    let queue = "https://sqs.us-east-1.amazonaws.com/111122223333/none";
    let operator =
        operator_of(&world).arg("--resource-metrics").args(["--event-queue", queue]).start().await?;
    let address = operator.http_address().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let slow = Fault::times(1, Matcher::operation("GetBucketReplication"), Answer::slow_down());
    world.proxy.inject(slow);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    change_storage_class(&world, &source).await?;
    check_now(&world, "orders").await?;

    let scrape = scraped(address, |s| s.sum("drift_corrected_total", &[]) > 0.0, "of a correction").await?;
    let mut without_series = 0;
    for metric in DESCRIPTIONS {
        let stem = match metric.kind {
            Kind::Counter => metric.name.trim_end_matches("_total"),
            Kind::Info => metric.name.trim_end_matches("_info"),
            Kind::Gauge | Kind::Histogram => metric.name,
        };
        let head = format!("# TYPE {PREFIX}_{stem} {}\n", metric.kind.as_str());
        if may_be_empty(&metric) && !scrape.text.contains(&head) {
            without_series += 1;
            continue;
        }
        assert_eq!(scrape.text.matches(&head).count(), 1, "{head}\n{}", scrape.text);
        let name = match metric.kind {
            Kind::Histogram => format!("{}_count", metric.name),
            _ => metric.name.to_owned(),
        };
        let samples: Vec<&Sample> = scrape.of_name(&name, &[]).collect();
        assert!(!samples.is_empty() || may_be_empty(&metric), "nothing of {name}:\n{}", scrape.text);
        let mut labels = metric.labels.to_vec();
        labels.sort_unstable();
        for sample in samples {
            assert_eq!(sample.labels.keys().map(String::as_str).collect::<Vec<_>>(), labels, "{sample:?}");
        }
    }
    let types = scrape.text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(types + without_series, DESCRIPTIONS.len(), "something is not described:\n{}", scrape.text);
    assert!(scrape.text.ends_with("# EOF\n"));
    Ok(())
}

#[tokio::test]
async fn metrics_count_what_happened() -> Result<()> {
    let world = World::new("numbers").await?;
    let operator = operator_of(&world).start().await?;
    let address = operator.http_address().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    // The SDK retries these; AWS counts each attempt.
    world.proxy.inject(Fault::times(2, Matcher::operation("GetBucketReplication"), Answer::slow_down()));
    world.proxy.inject(Fault::times(1, Matcher::operation("CreateRole"), Answer::throttling()));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    change_storage_class(&world, &source).await?;
    check_now(&world, "orders").await?;
    world.apply(&replication("bad", &world.bucket_name(), &destination).to_string()).await?;
    world.wait("bad", |s| reason(s, "Ready") == "SourceBucketNotFound", "to be refused").await?;
    world.api().delete("bad", &DeleteParams::default()).await?;
    world.wait_gone("bad").await?;

    // The reconcile ends, and the watch reports the deletion, in either order.
    let deleted = |s: &Scrape| {
        s.sum("reconciles_total", &[("reason", "Deleted")]) > 0.0 && s.sum("resources", &[]) == 1.0
    };
    let scrape = scraped(address, deleted, "of the deletion").await?;
    let value = |name: &str, labels: &[(&str, &str)]| scrape.sum(name, labels);
    let calls = world.proxy.calls();
    for call in &calls {
        let labels = [("operation", call.operation.as_str())];
        let made = calls.iter().filter(|c| c.operation == call.operation).count() as f64;
        assert_eq!(value("aws_requests_total", &labels), made, "{call}\n{}", scrape.text);
        assert_eq!(value("aws_request_duration_seconds_count", &labels), made, "{call}");
    }
    assert_eq!(value("aws_requests_total", &[]), calls.len() as f64);
    assert_eq!(value("aws_requests_total", &[("code", "SlowDown"), ("service", "s3")]), 2.0);
    assert_eq!(value("aws_throttles_total", &[("service", "s3")]), 2.0);
    assert_eq!(value("aws_throttles_total", &[("service", "iam")]), 1.0);
    assert_eq!(value("drift_found_total", &[("resource", "ReplicationConfiguration")]), 1.0);
    assert_eq!(value("drift_corrected_total", &[("resource", "ReplicationConfiguration")]), 1.0);
    assert_eq!(value("resources", &[("reason", "Applied")]), 1.0);
    assert_eq!(value("resources", &[("reason", "SourceBucketNotFound")]), 0.0, "it is gone");
    assert_eq!(value("resources_in_sync", &[("status", "True")]), 1.0);
    assert_eq!(value("leader", &[]), 1.0);
    assert_eq!(value("build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(value("reconciles_total", &[("result", "retried"), ("reason", "SourceBucketNotFound")]) >= 1.0);
    assert!(value("reconciles_total", &[("result", "done"), ("reason", "Applied")]) >= 2.0);
    assert_eq!(value("reconciles_total", &[]), value("reconcile_duration_seconds_count", &[]));
    assert!(!scrape.text.contains("orders"), "no resource is named:\n{}", scrape.text);
    Ok(())
}

#[tokio::test]
async fn waiting_reconciles_count_as_the_depth_of_the_queue() -> Result<()> {
    let world = World::new("queue").await?;
    let operator = operator_of(&world).args(["--concurrency", "1"]).start().await?;
    let address = operator.http_address().await?;
    let gate = world.proxy.gate(Matcher::operation("CreateRole"), GateAt::BeforeForward);
    for name in ["one", "two", "three"] {
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        world.apply(&replication(name, &source, &destination).to_string()).await?;
    }
    gate.reached(DEADLINE).await?;
    scraped(address, |s| s.sum("queue_depth", &[]) == 2.0, "of two that wait").await?;
    gate.release();
    for name in ["one", "two", "three"] {
        world.wait_ready(name).await?;
    }
    let empty = scraped(address, |s| s.sum("queue_depth", &[]) == 0.0, "of an empty queue").await?;
    assert_eq!(empty.sum("queue_latency_seconds_count", &[]), 3.0, "{}", empty.text);
    assert!(empty.sum("queue_latency_seconds_sum", &[]) > 0.0);
    Ok(())
}

#[tokio::test]
async fn the_age_of_the_last_check_grows_while_checks_fail() -> Result<()> {
    let world = World::new("age").await?;
    let operator = operator_of(&world).arg("--resource-metrics").start().await?;
    let address = operator.http_address().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;

    const NAME: &str = "last_successful_check_age_seconds";
    world.proxy.inject(Fault::always(Matcher::any(), Answer::access_denied()));
    request_check(&world, "orders").await?;
    world.wait("orders", |s| reason(s, "Ready") == "AccessDenied", "to be denied").await?;
    let aged = scraped(address, |s| s.sum(NAME, &[]) > 2.0, "of a check two seconds ago").await?;
    let each = aged.sum("resource_last_successful_check_age_seconds", &[("name", "orders")]);
    assert!(each > 2.0, "{}", aged.text);
    assert_eq!(aged.sum("resource_ready", &[("name", "orders")]), 0.0);
    assert_eq!(aged.sum("resources", &[("reason", "AccessDenied")]), 1.0);

    world.proxy.remove_faults();
    let asked = Instant::now();
    check_now(&world, "orders").await?;
    // If the check did not reset the age, it would stay two seconds higher.
    let fresh = |s: &Scrape| {
        s.sum("resource_ready", &[("name", "orders")]) == 1.0
            && s.sum(NAME, &[]) <= asked.elapsed().as_secs_f64()
    };
    scraped(address, fresh, "of a check just now").await?;
    Ok(())
}

#[tokio::test]
async fn only_the_leader_exports_metrics_of_resources() -> Result<()> {
    let world = World::new("leader-metrics").await?;
    world.allow_lease("one").await?;
    let election = ["--leader-elect", "--lease-name", "one", "--lease-namespace", &world.namespace];
    let leader = operator_of(&world).args(election).start().await?;
    leader.logged("leading", DEADLINE).await?;
    let follower = operator_of(&world).args(election).start().await?;
    follower.logged("following", DEADLINE).await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;

    let address = follower.http_address().await?;
    let reported = scraped(leader.http_address().await?, |s| s.sum("resources", &[]) == 1.0, "of it").await?;
    assert_eq!(reported.sum("leader", &[]), 1.0);
    let waits = Scrape::of(address).await?;
    assert_eq!(waits.sum("leader", &[]), 0.0);
    assert_eq!(waits.of_name("leader", &[]).count(), 1);
    assert_eq!(waits.of_name("resources", &[]).count(), 0, "{}", waits.text);

    assert_eq!(leader.terminate().await?, 0);
    let leads =
        |s: &Scrape| s.sum("leader", &[]) == 1.0 && s.sum("resources", &[("reason", "Applied")]) == 1.0;
    scraped(address, leads, "of the new leader").await?;
    Ok(())
}

/// While the API server does not answer, the operator is alive and not ready: a restart would not help.
#[tokio::test]
async fn an_operator_waiting_for_the_api_server_is_alive_and_not_ready() -> Result<()> {
    let world = World::new("waiting").await?;
    let way = Forwarder::start(world.cluster().address().await?).await?;
    way.go_silent();
    let kubeconfig = world.cluster().operator_kubeconfig_via(way.address())?;
    let operator = operator_of(&world).kubeconfig(&kubeconfig).start().await?;
    let address = operator.http_address().await?;
    tokio::time::timeout(DEADLINE, way.connections(1)).await??;
    assert_eq!(http_get(address, "/livez").await?.0, 200);
    assert_eq!(http_get(address, "/readyz").await?.0, 503);
    way.come_up().await?;
    let start = Instant::now();
    while http_get(address, "/readyz").await?.0 != 200 {
        ensure!(start.elapsed() < DEADLINE, "it is not ready:\n{}", operator.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
