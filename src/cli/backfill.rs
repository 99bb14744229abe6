//! `backfill`: creates a `ReplicationBackfill` for one resource.
//!
//! In: the name of the resource, or files with `-f`, and the objects to choose; or with `--follow` the name of a backfill
//! that exists. Out: the `ReplicationBackfill` in the cluster, and with `--wait` or `--follow` its progress and its end;
//! with `-f` only manifests, which are printed.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use crate::api::{Activity, BucketReplication, DEFAULT_ACCOUNT, ReplicationBackfillSpec};
use crate::cli::fleet::{BackfillView, Pointers};
use crate::cli::interrupt::Interrupt;
use crate::cli::kubernetes::{FoundObject, KubeArgs, Kubernetes, KubernetesError, object_name};
use crate::cli::manifests::{ManifestError, Manifests};
use crate::cli::output::{Format, PrintError, formatted, print};
use crate::cli::progress::{ProgressLine, bar};
use crate::cli::shell::{about_cluster, word};
use crate::cli::status::WRONG;
use crate::cli::terminal::printable;
use crate::cli::wait::{Timeout, Wait};
use crate::replication::Account;
use crate::replication::backfill::Parent;
use crate::replication::backfill::preconditions::{require_allowed, require_ready};
use crate::replication::backfill::proposal::{propose, remarks};
use crate::runtime::clock::Clock;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("waits").args(["wait", "follow"]).multiple(true)))]
pub struct BackfillArgs {
    /// Name of the BucketReplication
    #[arg(required_unless_present_any = ["filenames", "follow"], value_parser = object_name)]
    name: Option<String>,
    /// Print the ReplicationBackfill of each BucketReplication in this file and create none; - for standard input; may be
    /// repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["name", "wait"])]
    filenames: Vec<String>,
    /// Name of the ReplicationBackfill; absent: that of the BucketReplication and the time
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    backfill_name: Option<String>,
    /// Which objects, by their replication status; may be repeated; absent: NotReplicated and Failed
    #[arg(long = "status", value_enum, value_name = "STATUS")]
    statuses: Vec<ObjectStatus>,
    /// Only objects whose keys begin with this; may be repeated
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// Only objects that were created after this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_after: Option<Timestamp>,
    /// Count the objects and wait for approval before any of them is replicated
    #[arg(long)]
    manual_approval: bool,
    /// Wait until the backfill has ended
    #[arg(long)]
    wait: bool,
    /// Wait until this ReplicationBackfill has ended, which exists already, and create none
    #[arg(long, value_name = "BACKFILL", conflicts_with_all = [
        "name", "filenames", "backfill_name", "statuses", "prefixes", "created_after", "manual_approval",
    ])]
    follow: Option<String>,
    /// How long to wait for the end; 0 looks once, and a negative duration waits without limit, as for kubectl wait
    #[arg(
        long,
        default_value = "24h",
        value_name = "DURATION",
        allow_hyphen_values = true,
        requires = "waits"
    )]
    timeout: Timeout,
    #[command(flatten)]
    kubernetes: KubeArgs,
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "not a time such as 2026-01-31T00:00:00Z".to_owned())
}

/// The replication statuses by which a backfill chooses objects, as its spec names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum ObjectStatus {
    NotReplicated,
    Failed,
    Replicated,
    Replica,
}

#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("no backfill of {replication} is created: {why}\n→ {command}")]
    NotAllowed { replication: String, why: String, command: String },
    #[error(
        "namespace {namespace} has no ReplicationBackfill {name}\n→ kubectl get replicationbackfills -n {namespace}"
    )]
    NotFound { namespace: String, name: String },
    #[error("ReplicationBackfill {0} was deleted while the command waited for it, which cancels its job")]
    Deleted(String),
    #[error("{why}\n→ {follow}")]
    Timeout { why: String, follow: String },
    #[error("stopped waiting; backfill {name} goes on\n→ {follow}\n→ {cancel}   # cancels it")]
    Interrupted { name: String, follow: String, cancel: String },
    #[error(
        "stopped before the API server had answered, so that it is not known whether the backfill is created\n→ kubectl get replicationbackfill {name} -n {namespace}"
    )]
    InterruptedEarly { namespace: String, name: String },
}

/// How often the progress is read.
const POLL: Duration = Duration::from_secs(1);

pub async fn backfill(args: BackfillArgs, typed: &'static str) -> Result<ExitCode, BackfillError> {
    match (&args.follow, &args.name) {
        (Some(name), _) => {
            let kubernetes = args.kubernetes.connect().await?;
            let held = kubernetes.backfill(name).await?;
            let namespace = kubernetes.namespace.clone();
            let held = held.ok_or_else(|| BackfillError::NotFound { namespace, name: name.clone() })?;
            watch(&kubernetes, &held, args.timeout, (typed, Interrupt::listen())).await
        }
        (None, Some(replication)) => create(&args, replication, typed).await,
        (None, None) => print_manifests(&args).map(|()| ExitCode::SUCCESS),
    }
}

async fn create(
    args: &BackfillArgs,
    replication: &str,
    typed: &'static str,
) -> Result<ExitCode, BackfillError> {
    let kubernetes = args.kubernetes.connect().await?;
    let resource = kubernetes.decoded(replication, typed).await?;
    let allowed = ask_account(&kubernetes, args, &resource).await?;
    let now = Clock::System.timestamp();
    let name = args.backfill_name.clone().unwrap_or_else(|| default_name(replication, now));
    let namespace = kubernetes.namespace.clone();
    // From here on Ctrl-C may leave a backfill, and says so.
    let mut interrupt = Interrupt::listen();
    let created = tokio::select! {
        created = kubernetes.create_backfill(&name, spec(args, replication)) => created?,
        () = interrupt.pressed() => return Err(BackfillError::InterruptedEarly { namespace, name }),
    };
    let follow = following(&kubernetes, typed, &name);
    print(&format!(
        "backfill {namespace}/{name} of {} is created\n  → {follow}\n",
        resource.spec.source.bucket
    ))?;
    if let Allowed::Unknown { account, why } = allowed {
        print(&format!(
            "  it is not known whether AwsAccount {account} allows backfills: {}\n",
            printable(&why)
        ))?;
    }
    if args.wait {
        return watch(&kubernetes, &created, args.timeout, (typed, interrupt)).await;
    }
    let Err(refusal) = require_ready(Parent::Found(&resource), replication, false) else {
        return Ok(ExitCode::SUCCESS);
    };
    let status = format!("{typed} status {} -n {}", word(replication), word(&namespace));
    let status = kubernetes.command(&status);
    print(&format!("  it waits: {}\n  → {status}\n", printable(&refusal.message)))?;
    Ok(ExitCode::from(WRONG))
}

/// The command that follows a backfill.
fn following(kubernetes: &Kubernetes, typed: &str, name: &str) -> String {
    let namespace = word(&kubernetes.namespace);
    kubernetes.command(&format!("{typed} backfill --follow {} -n {namespace}", word(name)))
}

/// Follows a backfill until its end, until the time is up, or until Ctrl-C, which leave the job as it is.
async fn watch(
    kubernetes: &Kubernetes,
    held: &DynamicObject,
    timeout: Timeout,
    (typed, mut interrupt): (&'static str, Interrupt),
) -> Result<ExitCode, BackfillError> {
    let view = BackfillView::of(held, Pointers { typed, cluster: &kubernetes.flags, runbooks: None });
    let name = view.name.clone();
    let wait = Wait::begin(timeout, Clock::System);
    tokio::select! {
        ended = follow(kubernetes, view, wait, typed) => {
            let ended = ended?;
            print(&format!("{}\n", outcome(&ended)))?;
            Ok(if ended.ready == "True" { ExitCode::SUCCESS } else { ExitCode::from(WRONG) })
        }
        () = interrupt.pressed() => {
            let cancel = kubernetes.command(&format!(
                "kubectl patch replicationbackfill {} -n {} --type merge -p '{{\"spec\":{{\"cancel\":true}}}}'",
                word(&name),
                word(&kubernetes.namespace)
            ));
            Err(BackfillError::Interrupted { name: name.clone(), follow: following(kubernetes, typed, &name), cancel })
        }
    }
}

/// Whether an account allows a backfill, as far as this person may see.
#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    Yes,
    Unknown { account: String, why: String },
}

/// Asks the `AwsAccount` of the source, as the operator would. The operator decides in the end.
async fn ask_account(
    kubernetes: &Kubernetes,
    args: &BackfillArgs,
    resource: &BucketReplication,
) -> Result<Allowed, BackfillError> {
    let name = account_of(resource);
    match kubernetes.account(name).await {
        // A resource that refers to an AwsAccount that is not there, or to none, is the operator's to refuse.
        Ok(None) => Ok(Allowed::Yes),
        Ok(Some(FoundObject { object: Ok(account), .. })) => {
            let account = Account { name: name.to_owned(), spec: account.spec };
            require(&account, args, resource).map(|()| Allowed::Yes)
        }
        Ok(Some(FoundObject { object: Err(odd), .. })) => {
            Ok(Allowed::Unknown { account: name.to_owned(), why: odd.message })
        }
        Err(error) => Ok(Allowed::Unknown { account: name.to_owned(), why: error.to_string() }),
    }
}

/// The `AwsAccount` under which the operator would make the job.
fn account_of(resource: &BucketReplication) -> &str {
    let held = resource.status.as_ref().and_then(|status| status.source.as_ref());
    let held = held.and_then(|source| source.account_ref.as_deref());
    resource.spec.source.account_ref.as_deref().or(held).unwrap_or(DEFAULT_ACCOUNT)
}

/// Requires that the account allows the backfill. The command that allows it keeps what else is allowed.
fn require(
    account: &Account,
    args: &BackfillArgs,
    resource: &BucketReplication,
) -> Result<(), BackfillError> {
    let replication = resource.name_any();
    let spec: ReplicationBackfillSpec = serde_json::from_value(spec(args, &replication))
        .map_err(|error| BackfillError::Print(PrintError(error.to_string())))?;
    let Err(refusal) = require_allowed(&spec, Some(account)) else { return Ok(()) };
    let mut allow = account.spec.allow.clone();
    allow.push(Activity::Backfill);
    let patch = json!({"spec": {"allow": allow}});
    let command = format!("kubectl patch awsaccount {} --type merge -p '{patch}'", word(&account.name));
    let command = about_cluster(&command, &args.kubernetes.cluster.flags());
    Err(BackfillError::NotAllowed { replication, why: refusal.message, command })
}

/// Prints what would be created, for `kubectl apply -f -`.
fn print_manifests(args: &BackfillArgs) -> Result<(), BackfillError> {
    let namespace = args.kubernetes.namespace.as_deref();
    let manifests = Manifests::read(&args.filenames)?.in_namespace(namespace).with_resources()?;
    for resource in &manifests.resources {
        let manifest = propose(resource, args.backfill_name.as_deref(), &args.choices());
        let comments: String = remarks(resource).iter().map(|line| format!("# {line}\n")).collect();
        print(&format!("---\n{comments}{}", formatted(&manifest, Format::Yaml)?))?;
    }
    Ok(())
}

/// Follows a backfill to its end. Where it waits for a person, why and the command that helps it on are printed once for
/// each reason.
async fn follow(
    kubernetes: &Kubernetes,
    mut view: BackfillView,
    mut wait: Wait,
    typed: &str,
) -> Result<BackfillView, BackfillError> {
    let name = view.name.clone();
    let mut progress = ProgressLine::new();
    let mut first: Option<(u64, Duration)> = None;
    let mut explained = String::new();
    // The line of the present step, with the counts at its beginning.
    let mut lasting: Option<(ProgressStep, String)> = None;
    loop {
        let done = view.processed();
        let elapsed = wait.elapsed();
        // The rate is that of the time in which one watched: before, the job may have waited.
        let (begun_with, since) = *first.get_or_insert((done, elapsed));
        let seconds = elapsed.saturating_sub(since).as_secs_f64();
        let rate = (seconds >= 1.0).then(|| done.saturating_sub(begun_with) as f64 / seconds);
        match wait.silence() {
            None => {
                if lasting.as_ref().is_none_or(|(of, _)| *of != step(&view)) {
                    lasting = Some((step(&view), line(&view, rate)));
                }
                let line = lasting.as_ref().map_or("", |(_, line)| line.as_str());
                progress.show(line, &moment(&view, rate));
            }
            Some(why) => progress.show(why, &format!("{} s: {why}", wait.since_answer().as_secs())),
        }
        if view.has_ended() {
            return Ok(view);
        }
        if view.needs_someone() && view.reason != explained {
            progress.end();
            print(&explanation(&view))?;
        }
        explained.clone_from(&view.reason);
        wait.pause(POLL).await;
        if let Some(read) = wait.hear(kubernetes.backfill(&name)).await? {
            let read = read.ok_or_else(|| BackfillError::Deleted(name.clone()))?;
            view = BackfillView::of(&read, Pointers { typed, cluster: &kubernetes.flags, runbooks: None });
        }
        if wait.is_over() && !view.has_ended() {
            let follow = following(kubernetes, typed, &name);
            return Err(BackfillError::Timeout { why: given_up(&wait, &view), follow });
        }
    }
}

/// Why the command no longer waits.
fn given_up(wait: &Wait, view: &BackfillView) -> String {
    let (name, waited) = (&view.name, wait.waited());
    if let Some(why) = wait.silence() {
        return format!(
            "it is not known what has become of backfill {name}, which goes on, after {waited}: {}",
            printable(why)
        );
    }
    let counts = counted(view).map(|counts| format!(" ({counts})")).unwrap_or_default();
    let message = if view.message.is_empty() { "the operator has not begun it" } else { &view.message };
    let reason = if view.reason.is_empty() { String::new() } else { format!("{}{counts}: ", view.reason) };
    format!("backfill {name} has not ended within {waited}, and goes on: {reason}{}", printable(message))
}

/// The step of which each change is worth a new line where lines are not overwritten: the reason, and the tenth of the
/// objects.
type ProgressStep = (String, Option<u64>);

fn step(view: &BackfillView) -> ProgressStep {
    (view.reason.clone(), view.done().map(|done| (done * 10.0) as u64))
}

/// The line of a step that stays where lines are not overwritten.
fn line(view: &BackfillView, rate: Option<f64>) -> String {
    let reason = if view.reason.is_empty() { "created" } else { &view.reason };
    let rate = rate.filter(|_| view.done().is_some()).map(|rate| format!(", {rate:.0}/s"));
    match (view.done(), counted(view)) {
        (Some(done), Some(counts)) => {
            let percent = (done * 100.0).floor();
            format!("backfill {}: {reason}, {percent} %: {counts}{}", view.name, rate.unwrap_or_default())
        }
        _ if view.message.is_empty() => format!("backfill {}: {reason}", view.name),
        _ => format!("backfill {}: {reason}: {}", view.name, printable(&view.message)),
    }
}

/// The part that changes all the time: the bar, the counts and the rate. The name stands above it.
fn moment(view: &BackfillView, rate: Option<f64>) -> String {
    let reason = if view.reason.is_empty() { "created" } else { &view.reason };
    let (Some(done), Some(total)) = (view.done(), view.total) else { return format!("{reason} …") };
    let (succeeded, failed) = (view.succeeded.unwrap_or_default(), view.failed.unwrap_or_default());
    let rate = rate.map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
    let percent = (done * 100.0).floor();
    format!("{} {percent} % {succeeded} of {total}, {failed} failed{rate}, {reason}", bar(done))
}

/// Why it waits, and the commands that help it on.
fn explanation(view: &BackfillView) -> String {
    let commands: String = view.next.iter().map(|command| format!("  → {command}\n")).collect();
    format!("backfill {} waits: {}: {}\n{commands}", view.name, view.reason, printable(&view.message))
}

/// The end, in a line: verdict, counts, why.
fn outcome(view: &BackfillView) -> String {
    let sign = if view.ready == "True" { "✓" } else { "✗" };
    let counts = counted(view).map(|counts| format!(" ({counts})")).unwrap_or_default();
    let commands: String = view.next.iter().map(|command| format!("\n  → {command}")).collect();
    format!("{sign} backfill {}: {}{counts}: {}{commands}", view.name, view.reason, printable(&view.message))
}

/// The number of objects of the job that are done; `None`: S3 has not counted them.
fn counted(view: &BackfillView) -> Option<String> {
    let (succeeded, failed) = (view.succeeded.unwrap_or_default(), view.failed.unwrap_or_default());
    view.total.map(|total| format!("{succeeded} of {total} copied, {failed} failed"))
}

/// A name with the time in it: a backfill is a one-shot resource.
fn default_name(replication: &str, now: Timestamp) -> String {
    const LONGEST: usize = 200;
    let kept: String = replication.chars().take(LONGEST).collect();
    format!("{}-{}", kept.trim_end_matches(['-', '.']), now.strftime("%Y%m%d-%H%M%S"))
}

impl BackfillArgs {
    /// The fields of the spec that were given, without the replication.
    fn choices(&self) -> Map<String, Value> {
        let mut spec = Map::new();
        let statuses: Vec<String> = self
            .statuses
            .iter()
            .filter_map(|status| status.to_possible_value().map(|value| value.get_name().to_owned()))
            .collect();
        if !statuses.is_empty() {
            spec.insert("statuses".to_owned(), json!(statuses));
        }
        if !self.prefixes.is_empty() {
            spec.insert("prefixes".to_owned(), json!(self.prefixes));
        }
        if let Some(after) = self.created_after {
            spec.insert("createdAfter".to_owned(), json!(after.to_string()));
        }
        if self.manual_approval {
            spec.insert("approval".to_owned(), json!("Manual"));
        }
        spec
    }
}

fn spec(args: &BackfillArgs, replication: &str) -> Value {
    let mut spec = args.choices();
    spec.insert("replicationRef".to_owned(), json!({"name": replication}));
    Value::Object(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        args: BackfillArgs,
    }

    #[test]
    fn an_account_that_does_not_allow_backfills_is_named_with_the_command_that_allows_them() {
        let args = <Typed as clap::Parser>::parse_from(["backfill", "orders"]).args;
        let mut object = crate::cli::fleet::samples::resource("orders", &[]);
        object["status"]["source"]["accountRef"] = json!("prod");
        let resource: BucketReplication = serde_json::from_value(object).unwrap();
        assert_eq!(account_of(&resource), "prod");
        let account = |allow: Value| Account {
            name: "prod".to_owned(),
            spec: serde_json::from_value(json!({"accountId": "111111111111", "allow": allow})).unwrap(),
        };
        assert!(require(&account(json!(["Backfill"])), &args, &resource).is_ok());
        let error = require(&account(json!(["Canary"])), &args, &resource).unwrap_err().to_string();
        assert!(
            error.starts_with("no backfill of orders is created: AwsAccount prod does not allow"),
            "{error}"
        );
        assert!(error.contains("spec.allow"), "{error}");
        let command =
            r#"→ kubectl patch awsaccount prod --type merge -p '{"spec":{"allow":["Canary","Backfill"]}}'"#;
        assert!(error.ends_with(command), "{error}");
    }

    fn running(succeeded: u64, failed: u64) -> BackfillView {
        BackfillView {
            name: "orders-1".to_owned(),
            ready: "Unknown".to_owned(),
            reason: "Running".to_owned(),
            total: Some(3000),
            succeeded: Some(succeeded),
            failed: Some(failed),
            ..BackfillView::default()
        }
    }

    #[test]
    fn where_lines_stay_there_is_one_for_each_tenth_of_the_objects() {
        assert_eq!(step(&running(1200, 10)), step(&running(1400, 20)));
        assert_ne!(step(&running(1200, 10)), step(&running(1500, 0)));
        assert_eq!(
            line(&running(1200, 10), Some(41.4)),
            "backfill orders-1: Running, 40 %: 1200 of 3000 copied, 10 failed, 41/s"
        );
        let shown = moment(&running(1200, 10), Some(41.4));
        assert!(shown.ends_with("40 % 1200 of 3000, 10 failed, 41/s, Running"), "{shown}");
    }

    #[test]
    fn a_line_without_counts_says_what_the_backfill_waits_for() {
        let named = BackfillView { name: "orders-1".to_owned(), ..BackfillView::default() };
        assert_eq!(line(&named, None), "backfill orders-1: created");
        let (reason, message) = ("Preparing".to_owned(), "S3 has accepted\u{1b} the job".to_owned());
        let shown = line(&BackfillView { reason, message, ..named }, None);
        assert_eq!(shown, "backfill orders-1: Preparing: S3 has accepted  the job");
    }

    #[test]
    fn a_wait_that_is_over_says_what_is_known_of_the_job() {
        let wait = Wait::begin("0".parse().unwrap(), Clock::System);
        let message =
            given_up(&wait, &BackfillView { message: "S3 copies.".to_owned(), ..running(1200, 10) });
        assert_eq!(
            message,
            "backfill orders-1 has not ended within 0s, and goes on: Running (1200 of 3000 copied, 10 failed): S3 copies."
        );
        let message =
            given_up(&wait, &BackfillView { name: "orders-1".to_owned(), ..BackfillView::default() });
        assert!(message.ends_with("and goes on: the operator has not begun it"), "{message}");
    }

    #[test]
    fn a_backfill_is_named_after_its_replication_and_the_time() {
        let name = default_name("orders-to-eu", Timestamp::UNIX_EPOCH);
        assert_eq!(name, "orders-to-eu-19700101-000000");
        assert!(default_name(&"a".repeat(253), Timestamp::UNIX_EPOCH).len() <= 253);
    }
}
