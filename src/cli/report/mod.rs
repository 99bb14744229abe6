//! `report`: writes a page for people without a terminal.
//!
//! In: the resources of a cluster and the buckets of its accounts, or an earlier report as JSON. Out: HTML, Markdown, JSON
//! or YAML: the verdict of the fleet, a map, tables, and the buckets that no resource covers.

mod chart;
mod data;
mod html;
mod markdown;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum, ValueHint};
use futures::future::join_all;

use crate::aws::{self, AwsConnector, Importable, ListedBucket};
use crate::cli::aws_args::AwsArgs;
use crate::cli::aws_failure::explain;
use crate::cli::counted::counted;
use crate::cli::fleet::{Pointers, ReplicationView, RunbookArgs, view_all};
use crate::cli::kubernetes::{ClusterArgs, KubeArgs, Kubernetes, KubernetesError, ScopeArgs, namespace_name};
use crate::cli::output::{Format, PrintError, complain, formatted, print};
use crate::cli::progress::ProgressLine;
use crate::cli::reach::{AccountsArgs, NoSuchAccount, Reached, reach};
use crate::cli::report::data::{Covered, FleetReport, ReadAccount, ReadBucket};
use crate::cli::shell::{about_cluster, word};
use crate::cli::status::WRONG;
use crate::iam::arn::bucket_of_arn;
use crate::runtime::clock::Clock;

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Format: one HTML page without a network, Markdown for a pull request, or JSON or YAML for a program
    #[arg(long, short, value_enum, default_value_t)]
    output: ReportFormat,
    /// File to write; absent: standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Print an earlier report, which was written with -o json, in another format; calls neither the cluster nor AWS
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["selector", "all_namespaces", "namespace", "without_aws"])]
    from: Option<PathBuf>,
    /// Report the resources alone, and call AWS for nothing: the buckets that do not replicate are then not reported
    #[arg(long)]
    without_aws: bool,
    #[command(flatten)]
    runbooks: RunbookArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    accounts: AccountsArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespace: only its resources are reported; absent: those of all namespaces
    #[arg(long, short, help_heading = "Kubernetes", value_parser = namespace_name)]
    namespace: Option<String>,
    #[command(flatten)]
    aws: AwsArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    #[default]
    Html,
    Markdown,
    Json,
    Yaml,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
    #[error(transparent)]
    Account(#[from] NoSuchAccount),
    #[error("{error}\n→ {command}")]
    AccountsDenied { error: KubernetesError, command: String },
    #[error("{file} is no report that this version can read: {why}")]
    From { file: String, why: String },
}

impl ReportArgs {
    /// A user who may read a namespace may lack the right to read the AwsAccounts, which are in none. The rest of the
    /// report needs no AwsAccount.
    fn without_accounts(&self, error: KubernetesError, typed: &str) -> ReportError {
        if !error.is_denied() {
            return error.into();
        }
        let namespace = self.namespace.as_ref().map(|name| format!(" -n {}", word(name)));
        let command = format!("{typed} report --without-aws{}", namespace.unwrap_or_default());
        ReportError::AccountsDenied { error, command: about_cluster(&command, &self.cluster.flags()) }
    }
}

pub async fn report(args: ReportArgs, typed: &'static str) -> Result<ExitCode, ReportError> {
    let report = match &args.from {
        Some(file) => earlier(file)?,
        None => present(&args, typed).await?,
    };
    let text = match args.output {
        ReportFormat::Html => html::page(&report),
        ReportFormat::Markdown => markdown::markdown(&report),
        ReportFormat::Json => formatted(&report, Format::Json)?,
        ReportFormat::Yaml => formatted(&report, Format::Yaml)?,
    };
    match &args.file {
        None => {
            print(&text)?;
            if args.output == ReportFormat::Html && std::io::stdout().is_terminal() {
                complain(&format!("{}\n→ {typed} report --file report.html", report.headline(str::to_owned)));
            }
        }
        Some(file) => {
            std::fs::write(file, text).map_err(|e| PrintError(format!("{}: {e}", file.display())))?;
            print(&format!("{}\n→ {}\n", report.headline(str::to_owned), file.display()))?;
        }
    }
    Ok(if report.is_wrong() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}

#[cfg(test)]
pub use tests::json_sample;

/// A report that was written with `-o json`.
fn earlier(file: &Path) -> Result<FleetReport, ReportError> {
    let unreadable = |why: String| ReportError::From { file: file.display().to_string(), why };
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

/// A report of the cluster and the accounts as they are now.
async fn present(args: &ReportArgs, typed: &'static str) -> Result<FleetReport, ReportError> {
    let flags = KubeArgs { cluster: args.cluster.clone(), namespace: args.namespace.clone() };
    let kubernetes = flags.connect().await?;
    // A report is about the fleet, unless a namespace was named.
    let scope = ScopeArgs {
        all_namespaces: args.scope.all_namespaces || flags.named_namespace().is_none(),
        selector: args.scope.selector.clone(),
    };
    let mut progress = ProgressLine::new();
    progress.show("reading the cluster", "reading the cluster …");
    let (found, _) = kubernetes.list(&scope).await?;
    let backfills = kubernetes.backfills(&scope).await?.unwrap_or_default();
    let views = view_all(found, &backfills, args.runbooks.pointers(typed, &kubernetes.flags));
    let covered =
        if args.without_aws { Ok(Covered::default()) } else { covered(&kubernetes, &scope, &views).await? };
    let accounts = if args.without_aws {
        Vec::new()
    } else {
        let connector = AwsConnector::from_env(args.aws.settings(), aws::AwsMetrics::default()).await;
        let held = kubernetes.accounts().await.map_err(|error| args.without_accounts(error, typed))?;
        let chosen = args.accounts.choose(held)?;
        let step = format!("reading the buckets of {}", counted(chosen.len().max(1), "account"));
        progress.show(&step, &format!("{step} …"));
        let reached = reach(&connector, &chosen).await;
        let tally = AccountCounts { progress: &mut progress, held: vec![(0, 0); reached.len()] };
        let tally = &RefCell::new(tally);
        let reads = reached.into_iter().enumerate();
        join_all(reads.map(|(index, reached)| {
            read(reached, move |done, all| tally.borrow_mut().count(index, (done, all)))
        }))
        .await
    };
    Ok(FleetReport::new(views, covered, accounts, Clock::System.timestamp()))
}

/// The buckets that the resources of the whole cluster cover: a bucket is not uncovered because the report is about
/// another namespace. The inner error: the user may not list them all, or this version cannot find the buckets of one.
async fn covered(
    kubernetes: &Kubernetes,
    scope: &ScopeArgs,
    listed: &[ReplicationView],
) -> Result<Result<Covered, String>, KubernetesError> {
    if scope.all_namespaces && scope.selector.is_none() {
        return Ok(Covered::by(listed));
    }
    match kubernetes.list(&ScopeArgs::everywhere()).await {
        Ok((all, _)) => {
            Ok(Covered::by(&view_all(all, &[], Pointers { typed: "", cluster: "", runbooks: None })))
        }
        Err(error) if error.is_denied() => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Counts the buckets of accounts that are read at the same time.
struct AccountCounts<'a> {
    progress: &'a mut ProgressLine,
    /// The number of buckets that were read, and of all, for each account.
    held: Vec<(usize, usize)>,
}

impl AccountCounts<'_> {
    fn count(&mut self, index: usize, (done, all): (usize, usize)) {
        if let Some(held) = self.held.get_mut(index) {
            *held = (done, all);
        }
        let (done, all) = self.held.iter().fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        let of_accounts = format!("{} of {}", counted(all, "bucket"), counted(self.held.len(), "account"));
        self.progress.count(done, all, |count| format!("read {count} of {of_accounts}"));
    }
}

/// Reads the buckets of an account, as far as it can be read.
async fn read(reached: Reached, count: impl FnMut(usize, usize)) -> ReadAccount {
    let buckets = match reached.client() {
        Ok(aws) => aws::list_buckets(aws, count).await.map_err(|failure| explain(&failure)),
        Err(why) => Err(why.to_owned()),
    };
    let buckets = buckets.map(|buckets| buckets.into_iter().map(bucket).collect());
    ReadAccount { account_id: reached.account_id, account_ref: reached.name, buckets }
}

/// A bucket as S3 holds it: a rule that is disabled replicates nothing, and S3 names a destination by its ARN.
fn bucket(held: ListedBucket) -> ReadBucket {
    let destinations = |held: Importable| -> Option<Vec<String>> {
        let rules = held.configuration.rules.values().filter(|rule| rule.status.is_enabled());
        let names: Vec<String> =
            rules.map(|rule| bucket_of_arn(&rule.destination.bucket).to_owned()).collect();
        (!names.is_empty()).then_some(names)
    };
    let read = held.configuration.map(|configuration| configuration.and_then(destinations));
    ReadBucket { name: held.name, destinations: read.map_err(|failure| explain(&failure)) }
}
