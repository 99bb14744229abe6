//! `run`: the operator itself, with all of its flags.
//!
//! In: flags and environment. Out: nothing but logs and metrics, until SIGTERM; or the reason why the operator cannot
//! start. It sets up logs, metrics, clients and the election, and runs the controllers. A new flag begins here and
//! mostly continues in `controllers/settings.rs`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, ResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::Interval;
use crate::aws::{self, AwsConnector};
use crate::cli::aws_args::AwsArgs;
use crate::cli::leader_args::{LeaderArgs, LeaderArgsError};
use crate::controllers::bucket_replication::controller::BucketReplicationController;
use crate::controllers::events::EventSettings;
use crate::controllers::{self, Operator};
use crate::replication::events::EventQueue;
use crate::replication::status::runbooks::Runbooks;
use crate::runtime::controller::Controller;
use crate::runtime::object_writer::ObjectWriter;
use crate::runtime::{self, leader};
use crate::telemetry::{
    EventMetrics, LogError, LogFormat, Metrics, ProcessHealth, Registry, ServeError, follow_log_level,
    init_logs, serve,
};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Namespaces to watch, separated by commas; absent: all
    #[arg(long, env = "NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Label selector of the resources to reconcile, such as `shard=a` or `shard notin (a, b)`; absent: all. Several
    /// operators can share the work this way, each with its own --lease-name. An operator detects that two resources
    /// name the same source bucket only if it reconciles both
    #[arg(long, env = "SELECTOR")]
    selector: Option<String>,
    /// Number of resources to check at the same time, for each set of AWS accounts that they use
    // The rate limits of AWS decide how fast many resources become ready: more concurrency costs memory and saves no
    // time.
    #[arg(long, env = "CONCURRENCY", default_value = "8", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Time between two checks of AWS, for resources without spec.interval
    #[arg(long, env = "INTERVAL", default_value = "10m")]
    interval: Interval,
    /// Shortest time between two checks of AWS, two readings of metrics, and two canaries that a resource gets by
    /// spec.interval, spec.health.interval and spec.health.canary.interval; a shorter one is raised to it
    #[arg(long, env = "MIN_INTERVAL", value_name = "INTERVAL", default_value = "1m")]
    min_interval: Interval,
    /// Address of the site of this documentation, such as https://docs.example.com: each warning event, and each
    /// message of a condition that says that something is wrong, ends with the address of the page of its reason;
    /// absent: none
    #[arg(long, env = "RUNBOOK_URL", value_name = "URL")]
    runbook_url: Option<Runbooks>,
    /// Refuse resources that would act without an AwsAccount: those without accountRef, if no AwsAccount is named default
    #[arg(long, env = "REQUIRE_ACCOUNT")]
    require_account: bool,
    /// Write nothing to AWS, whatever managementPolicy says, and only report what differs; for the first start after etcd
    /// was restored or cloned
    #[arg(long, env = "READ_ONLY", value_parser = clap::builder::FalseyValueParser::new())]
    read_only: bool,
    /// UID of the kube-system namespace of a cluster that this one replaces: roles of its resources are taken over by
    /// resources of the same namespace and name. May be repeated
    #[arg(long, env = "FORMER_CLUSTER", value_name = "UID", value_delimiter = ',')]
    former_cluster: Vec<String>,
    /// Seconds between two checks of a resource that are requested by the annotation s3replication.dev/requestedAt; 0 for
    /// no limit. A change of the spec does not wait
    #[arg(long, env = "REQUEST_INTERVAL", value_name = "SECONDS", default_value = "10")]
    request_interval: u32,
    /// Time between two readings of the CloudWatch metrics of rules that publish some, for resources without
    /// spec.health.interval; 0 to read none
    #[arg(long, env = "HEALTH_INTERVAL", default_value = "5m", value_parser = health_interval)]
    health_interval: Pause,
    /// The shortest period whose evidence the verdict about arriving objects counts; three readings, where that is longer
    #[arg(long, env = "HEALTH_WINDOW", default_value = "15m", value_parser = health_window)]
    health_window: Pause,
    /// URL of an SQS queue that receives CloudTrail events, so that drift is found within seconds and resources need not
    /// be polled; see docs/events.md. May be repeated
    #[arg(long, env = "EVENT_QUEUE", value_name = "URL", value_delimiter = ',')]
    event_queue: Vec<EventQueue>,
    /// Time between two checks of AWS while events cover a resource, for resources without spec.interval
    #[arg(long, env = "INTERVAL_WITH_EVENTS", value_name = "INTERVAL", default_value = "24h")]
    interval_with_events: Interval,
    /// Time that a ReplicationBackfill waits after the operator's own last write of the replication configuration,
    /// because S3 may still list objects by the one before; 0 for none
    #[arg(long, env = "BACKFILL_SETTLE", value_name = "DURATION", default_value = "15m", value_parser = health_interval)]
    backfill_settle: Pause,
    /// Address on which to serve /livez, /readyz and /metrics
    #[arg(long, env = "HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    /// Export metrics per resource; high cardinality
    #[arg(long, env = "RESOURCE_METRICS", value_parser = clap::builder::FalseyValueParser::new())]
    resource_metrics: bool,
    /// Format of log lines
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// The level of log lines, or a list of target=level
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// File that overrides --log-level while it exists and is not empty; read every 2 seconds
    #[arg(long, env = "LOG_LEVEL_FILE")]
    log_level_file: Option<PathBuf>,
    /// Address of a collector that accepts traces by OTLP over HTTP, such as http://localhost:4318
    #[cfg(feature = "otlp")]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    #[command(flatten)]
    leader: LeaderArgs,
    #[command(flatten)]
    aws: AwsArgs,
}

/// A duration that a flag gives.
#[derive(Clone, Copy, Debug)]
struct Pause(Duration);

fn health_interval(text: &str) -> Result<Pause, String> {
    duration(text, Duration::ZERO).map_err(|error| format!("{error}, or 0"))
}

fn health_window(text: &str) -> Result<Pause, String> {
    duration(text, Duration::from_secs(60))
}

fn duration(text: &str, from: Duration) -> Result<Pause, String> {
    let is_zero = text == "0" && from.is_zero();
    let read = if is_zero { Ok(jiff::SignedDuration::ZERO) } else { text.parse() };
    let duration = read.map_err(|error| format!("not a duration such as 5m or 1h30m: {error}"))?;
    match Duration::try_from(duration) {
        Ok(duration) if (from..=Interval::MAX).contains(&duration) => Ok(Pause(duration)),
        _ => Err("must be at most 24h".to_owned()),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("--log-level: {0}")]
    LogLevel(#[from] LogError),
    #[error(transparent)]
    Leader(#[from] LeaderArgsError),
    #[error("cannot find a Kubernetes cluster: {0}; set KUBECONFIG or run in a pod")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot read namespace kube-system, whose UID identifies the cluster: {}", crate::ports::kube_error::describe(.0))]
    ClusterId(#[source] Box<kube::Error>),
    #[error(transparent)]
    Selector(#[from] runtime::selector::InvalidSelector),
    #[cfg(feature = "otlp")]
    #[error(transparent)]
    Traces(#[from] crate::telemetry::TraceError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
}

impl RunArgs {
    /// The settings of the controllers, from the flags.
    fn controller_settings(
        self,
        namespaces: Vec<String>,
        selector: Option<String>,
        cluster: String,
    ) -> controllers::Settings {
        controllers::Settings {
            namespaces,
            selector,
            cluster,
            longest_request: self.aws.settings().attempt_timeout,
            concurrency: self.concurrency,
            interval: self.interval,
            min_interval: self.min_interval,
            require_account: self.require_account,
            read_only: self.read_only,
            former_clusters: self.former_cluster,
            request_interval: Duration::from_secs(self.request_interval.into()),
            health: controllers::HealthSettings {
                interval: Some(self.health_interval.0).filter(|interval| !interval.is_zero()),
                window: self.health_window.0,
            },
            resource_metrics: self.resource_metrics,
            backfill_settle: self.backfill_settle.0,
            events: EventSettings { queues: self.event_queue, interval: self.interval_with_events },
            runbooks: self.runbook_url.unwrap_or_default(),
        }
    }
}

pub async fn run(args: RunArgs) -> Result<(), RunError> {
    #[cfg(feature = "otlp")]
    let traces = crate::telemetry::Traces::to(args.otlp_endpoint.as_deref())?;
    #[cfg(feature = "otlp")]
    let spans = traces.layer();
    #[cfg(not(feature = "otlp"))]
    let spans = None;
    let level = init_logs(args.log_format, &args.log_level, spans)?;
    if let Some(file) = args.log_level_file.clone().filter(|file| !file.as_os_str().is_empty()) {
        let otherwise = args.log_level.clone();
        tokio::spawn(async move { follow_log_level(&file, &otherwise, &level).await });
    }
    let (namespaces, selector) = (unique_namespaces(&args.namespaces), given_selector(args.selector.clone()));
    let longest_request = args.aws.settings().attempt_timeout;
    let election = args.leader.settings(&scope(&namespaces, selector.as_deref()), longest_request)?;
    let (mut registry, aws_metrics) = (Registry::default(), aws::AwsMetrics::default());
    aws_metrics.register(&mut registry);
    let event_metrics = EventMetrics::default();
    event_metrics.register(&mut registry);
    let (health, metrics) = (ProcessHealth::default(), Metrics::new(registry));
    let server = serve(args.http_address, health.clone(), metrics.clone()).await?;
    let server = tokio::spawn(server);
    let shutdown = shutdown_on_signals()?;

    let mut config = Config::infer().await.map_err(|e| RunError::Configuration(e.into()))?;
    // Gives up a connection that delivers nothing: the API server ends every watch sooner than that.
    config.read_timeout.get_or_insert(HEARTBEAT_TIMEOUT);
    let client = Client::try_from(config.clone()).map_err(|e| RunError::Configuration(e.into()))?;
    let election = build_election(election, config).map_err(|e| RunError::Configuration(e.into()))?;
    let cluster = cluster_id(&client).await.map_err(|e| RunError::ClusterId(e.into()))?;
    if let Some(selector) = &selector {
        let api = <BucketReplicationController<AwsConnector, ObjectWriter> as Controller>::api(
            client.clone(),
            namespaces.first().map(String::as_str),
        );
        runtime::selector::check_selector(&api, selector).await?;
    }
    let cloud = AwsConnector::from_env(args.aws.settings(), aws_metrics).await;
    match cloud.ambient().await {
        Ok(aws) => info!(account = aws.caller().account, cluster, "started"),
        // Each resource reports this in its status, and credentials may still arrive.
        Err(failure) => warn!(detail = failure.message(), "started without a working AWS identity"),
    }
    let settings = args.controller_settings(namespaces, selector, cluster);
    let shutdown_signal = shutdown.clone();
    let operator = Operator { client, cloud, settings, metrics, event_metrics, health, election, shutdown };
    tokio::select! {
        () = controllers::run(operator) => {}
        () = overdue(&shutdown_signal) => warn!("a call did not end in time; the next start checks its result"),
    }
    server.abort();
    #[cfg(feature = "otlp")]
    traces.end().await;
    info!("stopped");
    Ok(())
}

/// The election with its own client: it retries by its own rules and must not wait for other requests.
fn build_election(
    settings: Option<leader::LeaseSettings>,
    mut config: Config,
) -> kube::Result<leader::Election> {
    let Some(settings) = settings else { return Ok(leader::Election::disabled()) };
    config.default_retry = false;
    Ok(leader::Election::by_lease(Client::try_from(config)?, settings))
}

/// The namespaces without duplicates: two watches of one namespace would reconcile each resource twice at once. An
/// empty variable in a manifest means all namespaces.
fn unique_namespaces(given: &[String]) -> Vec<String> {
    let names: BTreeSet<&str> = given.iter().map(|n| n.trim()).filter(|n| !n.is_empty()).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn given_selector(given: Option<String>) -> Option<String> {
    given.map(|selector| selector.trim().to_owned()).filter(|selector| !selector.is_empty())
}

/// The resources of this operator as text for the Lease: operators for other resources must not wait for it.
fn scope(namespaces: &[String], selector: Option<&str>) -> String {
    let scope = if namespaces.is_empty() { "*".to_owned() } else { namespaces.join(",") };
    format!("namespaces: {scope}; selector: {}", selector.unwrap_or("*"))
}

/// A token that SIGTERM or Ctrl-C cancels. The operator then finishes the running steps and starts no other.
fn shutdown_on_signals() -> Result<CancellationToken, RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: finishing the running steps");
        cancelled.cancel();
    });
    Ok(token)
}

/// The read timeout of connections to the API server: longer than a watch, which kube-runtime limits to 290 seconds.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(300);

/// How long running calls may take after the signal. Kubernetes kills a pod 30 seconds after SIGTERM by default, other
/// supervisors after 10.
const GRACE: Duration = Duration::from_secs(8);

/// Ends when the grace period after the signal is over.
async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

async fn cluster_id(client: &Client) -> kube::Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    Ok(namespaces.get("kube-system").await?.uid().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_is_watched_once_and_an_empty_variable_means_all() {
        let read = |given: &str| unique_namespaces(&given.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(read("data, shop ,data"), ["data", "shop"]);
        assert!(read("").is_empty());
    }

    #[test]
    fn operators_for_different_resources_have_different_scopes() {
        let some = ["data".to_owned(), "shop".to_owned()];
        let scopes = [scope(&[], None), scope(&some, None), scope(&[], Some("shard=a"))];
        assert_eq!(scopes[1], "namespaces: data,shop; selector: *");
        assert_eq!(scopes.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(given_selector(Some(" ".to_owned())), None, "an empty variable in a manifest");
    }
}
