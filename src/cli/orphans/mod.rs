//! `orphans`: finds what resources that are gone have left behind in AWS, and deletes it on request.
//!
//! In: the resources of the cluster, and the roles, replication configurations and bucket policies of its accounts.
//! Out: a list of what is left, with the steps that delete it; with `--delete`, after a confirmation, these steps
//! executed. A role that still replicates is deleted only with `--including-replicating`. The decisions are in `find.rs`
//! and `recheck.rs`, and the words in `text.rs`.

mod find;
mod findings;
mod recheck;
mod text;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use futures::{StreamExt, stream};

use crate::api::DEFAULT_ROLE_PATH;
use crate::aws::{self, AwsClient, AwsConnector, ResourceClients};
use crate::cli::aws_args::AwsArgs;
use crate::cli::aws_failure::explain;
use crate::cli::counted::{counted, form};
use crate::cli::interrupt::Interrupt;
use crate::cli::kubernetes::{ClusterArgs, KubeArgs, Kubernetes, KubernetesError, ScopeArgs, namespace_name};
use crate::cli::orphans::find::{ClusterObjects, HeldAccount, HeldBucket, find};
use crate::cli::orphans::findings::{Findings, Orphan, UnreadAccount};
use crate::cli::orphans::recheck::{HeldNow, StillDue, recheck};
use crate::cli::orphans::text::{Mode, left_text, text};
use crate::cli::output::{Format, PrintError, complain, formatted, print};
use crate::cli::progress::ProgressLine;
use crate::cli::reach::{AccountsArgs, NoSuchAccount, Reached, reach, title};
use crate::cli::shell::word;
use crate::cli::status::WRONG;
use crate::cli::terminal::{Color, Layout, printable};
use crate::iam::bucket_policy::merged;
use crate::ports::Cloud;
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, FailureClass, Step};

#[derive(Debug, Args)]
pub struct OrphansArgs {
    /// Delete what is found, after a plan and a confirmation
    #[arg(long, conflicts_with = "output")]
    delete: bool,
    /// Delete without a confirmation
    #[arg(long, requires = "delete")]
    yes: bool,
    /// Delete also the roles with which a bucket still replicates, and the configurations of these buckets: their
    /// replication ends
    #[arg(long, requires = "delete")]
    including_replicating: bool,
    /// Of the resources of all namespaces, also where a namespace is given
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Path below which to search for roles, besides the path that an AwsAccount imposes
    #[arg(long, default_value = DEFAULT_ROLE_PATH, value_name = "PATH")]
    role_path: String,
    /// Print for a program instead of a person
    #[arg(long, short, value_enum)]
    output: Option<Format>,
    /// When to use colour
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    #[command(flatten)]
    accounts: AccountsArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespace: print and delete only what is left over of its resources; absent: of all namespaces
    #[arg(long, short, help_heading = "Kubernetes", value_parser = namespace_name)]
    namespace: Option<String>,
    #[command(flatten)]
    aws: AwsArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum OrphansError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
    #[error(transparent)]
    Account(#[from] NoSuchAccount),
    #[error(
        "{} cannot be read: see above; what {} unknown, and nothing is deleted",
        counted(*.0, "account"), form(*.0, "it holds is", "they hold is")
    )]
    Unknown(usize),
    #[error("there is no terminal to ask on: pass --yes to delete without a confirmation")]
    NoTerminal,
    #[error("nothing is deleted: the answer was not yes")]
    NotConfirmed,
    #[error("nothing is deleted: the list has changed since it was shown; run the command again")]
    Changed,
    #[error("{} failed: see above; run the command again once that is fixed", counted(*.0, "step"))]
    Failed(usize),
    #[error("stopped after {done} of {}; run the command again to delete the rest", counted(*.all, "step"))]
    Stopped { done: usize, all: usize },
}

/// Calls that are under way at the same time. The rate limits of the account apply besides.
const CONCURRENCY: usize = 16;

pub async fn orphans(args: OrphansArgs, typed: &'static str) -> Result<ExitCode, OrphansError> {
    let kubernetes = args.kubernetes().connect().await?;
    let connector = AwsConnector::from_env(args.aws.settings(), aws::AwsMetrics::default()).await;
    let accounts = reach(&connector, &args.accounts.choose(kubernetes.accounts().await?)?).await;
    let limit = args.limit();
    let read_all = async || -> Result<Findings, OrphansError> {
        Ok(read(&kubernetes, &accounts, &args.role_path).await?.within(limit.as_deref()))
    };
    let findings = read_all().await?;
    let layout = Layout::of_stdout(args.color);
    match args.output {
        Some(format) => print(&formatted(&findings, format)?)?,
        None => print(&text(&findings, &args.mode(typed), &layout))?,
    }
    let unknown = &findings.unknown;
    for UnreadAccount { account_id, why } in unknown {
        complain(&format!("unknown: {}: {why}", title(account_id)));
    }
    if !unknown.is_empty() && (args.delete || unknown.len() == accounts.len()) {
        return Err(OrphansError::Unknown(unknown.len()));
    }
    let chosen = findings.to_delete(args.including_replicating);
    let has_steps = chosen.iter().any(|orphan| !orphan.steps().is_empty());
    if !args.delete || !has_steps {
        return Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) });
    }
    if !args.yes {
        confirm()?;
    }
    // A resource may have been created, or a role taken over, while the question was on the screen.
    let again = read_all().await?;
    if !again.unknown.is_empty() || again.to_delete(args.including_replicating) != chosen {
        return Err(OrphansError::Changed);
    }
    let left = delete(&chosen, &connector, &accounts, &layout).await?;
    let is_kept = left > 0 || !findings.still_replicating.is_empty() && !args.including_replicating;
    Ok(if is_kept || findings.has_unclear() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}

/// Reads the accounts, then the resources: one that is created meanwhile is seen, and keeps what it uses.
async fn read(kubernetes: &Kubernetes, accounts: &[Reached], path: &str) -> Result<Findings, OrphansError> {
    let mut progress = ProgressLine::new();
    let (mut held, mut unknown) = (Vec::new(), Vec::new());
    for account in accounts {
        let id = &account.account_id;
        let step = format!("reading {}", title(id));
        progress.show(&step, &format!("{step} …"));
        let paths = role_paths(path, &account.role_paths);
        let read = match account.client() {
            Ok(aws) => {
                let read = read_account(aws, id, &paths, &mut progress).await;
                read.map_err(|failure| explain(&failure))
            }
            Err(why) => Err(why.to_owned()),
        };
        match read {
            Ok(read) => held.push(read),
            Err(why) => unknown.push(UnreadAccount { account_id: id.clone(), why }),
        }
    }
    progress.end();
    let cluster = kubernetes.cluster_id().await?;
    let (resources, _) = kubernetes.list(&ScopeArgs::everywhere()).await?;
    let backfills = kubernetes.backfills(&ScopeArgs::everywhere()).await?;
    let backfills =
        backfills.map(|all| all.into_iter().filter_map(|backfill| backfill.metadata.uid).collect());
    let objects = ClusterObjects { uid: &cluster, resources: &resources, backfills };
    Ok(Findings { unknown, ..find(&objects, &held) })
}

/// The paths below which to search for roles, without those below another.
fn role_paths<'a>(path: &'a str, imposed: &'a BTreeSet<String>) -> Vec<&'a str> {
    let all: BTreeSet<&str> = imposed.iter().map(String::as_str).chain([path]).collect();
    let is_covered = |path: &str| all.iter().any(|other| *other != path && path.starts_with(other));
    all.iter().copied().filter(|path| !is_covered(path)).collect()
}

async fn read_account(
    aws: &AwsClient,
    account_id: &str,
    paths: &[&str],
    progress: &mut ProgressLine,
) -> Read<HeldAccount> {
    let mut roles = Vec::new();
    for path in paths {
        roles.extend(aws::managed_roles(aws, path).await?);
    }
    let buckets = aws::list_buckets(aws, |done, all| {
        let of_account = format!("{} of {}", counted(all, "bucket"), title(account_id));
        progress.count(done, all, |count| format!("read {count} of {of_account}"));
    });
    let buckets = buckets.await?;
    let of_account = format!("{} of {}", counted(buckets.len(), "bucket"), title(account_id));
    progress.count(buckets.len(), buckets.len(), |_| format!("reading the policies of {of_account}"));
    let reads = stream::iter(buckets).map(|bucket| async move {
        let Some(region) = region_of(aws, &bucket).await? else { return Ok(None) };
        let held = bucket.configuration.ok().flatten().map(|held| held.configuration);
        let replicates =
            held.iter().flat_map(|held| held.rules.values()).any(|rule| rule.status.is_enabled());
        let address =
            BucketAddress { name: bucket.name, region, account_id: account_id.to_owned(), account_ref: None };
        let policy = aws::read_bucket_policy(aws, &address).await?;
        Ok(Some(HeldBucket { address, role: held.map(|held| held.role), replicates, policy }))
    });
    let read: Vec<Read<Option<HeldBucket>>> = reads.buffered(CONCURRENCY).collect().await;
    let buckets = read.into_iter().filter_map(Result::transpose).collect::<Read<_>>()?;
    Ok(HeldAccount { account_id: account_id.to_owned(), roles, buckets })
}

/// The Region of a bucket; `None`: it was deleted meanwhile.
async fn region_of(aws: &AwsClient, bucket: &aws::ListedBucket) -> Read<Option<String>> {
    match &bucket.configuration {
        Ok(Some(held)) => Ok(Some(held.region.clone())),
        Ok(None) => aws::bucket_region(aws, &bucket.name).await,
        Err(failure) if failure.class == FailureClass::NoSuchBucket => Ok(None),
        Err(failure) => Err(failure.clone()),
    }
}

impl OrphansArgs {
    /// The flags of kubectl.
    fn kubernetes(&self) -> KubeArgs {
        KubeArgs { cluster: self.cluster.clone(), namespace: self.namespace.clone() }
    }

    /// The namespace to whose resources the command is limited. With both flags, `-A` counts.
    fn limit(&self) -> Option<String> {
        let kubernetes = self.kubernetes();
        kubernetes.named_namespace().filter(|_| !self.all_namespaces).map(str::to_owned)
    }

    fn mode(&self, typed: &str) -> Mode {
        let OrphansArgs { accounts, cluster, role_path, .. } = self;
        let path = (role_path != DEFAULT_ROLE_PATH).then_some(("--role-path", role_path.as_str()));
        let flags = accounts.named().map(|name| ("--account", name)).chain(path);
        let flags: String = flags.map(|(flag, value)| format!(" {flag} {}", word(value))).collect();
        let namespace = self.limit();
        Mode {
            delete: self.delete,
            including_replicating: self.including_replicating,
            scope: namespace.as_ref().map(|name| format!(" -n {}", word(name))).unwrap_or_default(),
            namespace,
            typed: format!("{typed} orphans{flags}{}", cluster.flags()),
        }
    }
}

/// Asks for `yes`.
fn confirm() -> Result<(), OrphansError> {
    if !std::io::stdin().is_terminal() {
        return Err(OrphansError::NoTerminal);
    }
    drop(std::io::stderr().write_all(b"\nDelete all of this? Only yes is taken for it: "));
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(OrphansError::NotConfirmed),
    }
}

/// Executes the steps of each orphan in their order, as far as nothing of it is another's by now. A failure leaves the rest
/// of that orphan and goes on with the next. Returns how many things are left.
async fn delete(
    orphans: &[&Orphan],
    connector: &AwsConnector,
    accounts: &[Reached],
    layout: &Layout,
) -> Result<usize, OrphansError> {
    // A step is never cut short, because its effect on AWS would be unknown.
    let mut interrupt = Interrupt::listen();
    let all = orphans.iter().map(|orphan| orphan.steps().len()).sum();
    let (mut done, mut failed, mut kept) = (0, 0, 0);
    for orphan in orphans {
        if interrupt.was_pressed() {
            return Err(OrphansError::Stopped { done, all });
        }
        let held = match read_again(orphan, accounts).await {
            Ok(held) => held,
            Err(why) => {
                failed += 1;
                complain(&format!("error: {} is left, because it cannot be read again: {why}", orphan.arn));
                continue;
            }
        };
        let StillDue { steps, left } = recheck(orphan, &held);
        for step in steps {
            if interrupt.was_pressed() {
                return Err(OrphansError::Stopped { done, all });
            }
            // A destination's policy is in the account of its bucket.
            let id = step_account(&step).unwrap_or(&orphan.account_id);
            let Ok(clients) = clients_of(accounts, id) else { continue };
            match execute(connector, clients, &step).await {
                Ok(()) => {
                    done += 1;
                    print(&format!("done: {}\n", printable(&step.to_string())))?;
                }
                Err(failure) => {
                    failed += 1;
                    complain(&format!("error: {}", explain(&failure)));
                    break;
                }
            }
        }
        kept += left.len();
        left.iter().try_for_each(|part| print(&left_text(part, layout)))?;
    }
    if failed > 0 { Err(OrphansError::Failed(failed)) } else { Ok(kept) }
}

/// The clients of an account that was read before.
fn clients_of<'a>(accounts: &'a [Reached], id: &str) -> Result<&'a ResourceClients, String> {
    let reached = accounts.iter().find(|account| account.account_id == id);
    let reached = reached.ok_or_else(|| format!("{} is not reached", title(id)))?;
    reached.clients.as_ref().map_err(Clone::clone)
}

/// Reads from AWS what is left of an orphan. A bucket that is gone holds nothing.
async fn read_again(orphan: &Orphan, accounts: &[Reached]) -> Result<HeldNow, String> {
    let aws_of = |id: &str| clients_of(accounts, id).map(|clients| &clients.source);
    let role = aws::read_role_to_delete(aws_of(&orphan.account_id)?, &orphan.role, &orphan.id).await;
    let mut held = HeldNow { role: role.map_err(|failure| explain(&failure))?, ..HeldNow::default() };
    for bucket in &orphan.configurations {
        let read = aws::importable(aws_of(&bucket.account_id)?, &bucket.name).await;
        let read = if_there(read).map_err(|failure| explain(&failure))?;
        held.configurations.push((bucket.clone(), read.map(|read| read.configuration)));
    }
    for statements in &orphan.statements {
        let bucket = &statements.bucket;
        let read = aws::read_bucket_policy(aws_of(&bucket.account_id)?, bucket).await;
        let read = if_there(read).map_err(|failure| explain(&failure))?;
        held.policies.push((statements.clone(), read));
    }
    Ok(held)
}

fn if_there<T>(read: Read<Option<T>>) -> Read<Option<T>> {
    match read {
        Err(failure) if failure.class == FailureClass::NoSuchBucket => Ok(None),
        read => read,
    }
}

fn step_account(step: &Step) -> Option<&str> {
    match step {
        Step::DeleteReplication { bucket } | Step::PutBucketPolicy { bucket, .. } => Some(&bucket.account_id),
        _ => None,
    }
}

async fn execute(connector: &AwsConnector, clients: &ResourceClients, step: &Step) -> Read<()> {
    match step {
        Step::PutBucketPolicy { bucket, sid, statements, .. } => {
            // Others write the policy too: it is read just before the write.
            let held = connector.read_bucket_policy(clients, bucket).await?;
            let policy = merged(held.as_ref(), sid, statements);
            connector.write_bucket_policy(clients, bucket, policy.as_ref()).await
        }
        step => connector.execute(clients, step).await,
    }
}

/// The form for programs of everything that may be found.
#[cfg(test)]
pub fn json_sample() -> serde_json::Value {
    serde_json::to_value(findings::full_sample("orders")).unwrap()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::orphans::findings::sample;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: OrphansArgs,
    }

    fn parsed(words: &[&str]) -> OrphansArgs {
        let words = ["orphans"].iter().chain(words);
        Typed::parse_from(words).args
    }

    /// The last line of what is printed.
    fn last(findings: &Findings, words: &[&str]) -> String {
        let layout = Layout { width: None, height: None, color: false };
        let shown = text(findings, &parsed(words).mode("kubectl s3replication"), &layout);
        shown.lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_command_that_deletes_is_whole() {
        let kept = Findings { still_replicating: vec![sample()], ..Findings::default() };
        assert_eq!(last(&kept, &[]), "→ kubectl s3replication orphans --delete --including-replicating");
        assert_eq!(
            last(&kept, &["--account", "prod", "--role-path", "/team/", "--context", "my east"]),
            "→ kubectl s3replication orphans --account prod --role-path /team/ --context 'my east' --delete \
             --including-replicating"
        );
        let left = Findings { orphans: vec![sample()], ..Findings::default() };
        assert_eq!(last(&left, &[]), "→ kubectl s3replication orphans --delete");
    }

    #[test]
    fn the_command_that_deletes_reaches_no_further_than_what_was_listed() {
        let left = Findings { orphans: vec![sample()], ..Findings::default() };
        for (words, namespace, command) in [
            (&["-n", "data"][..], Some("data"), "orphans -n data --delete"),
            (&["-n", "data", "-A"], None, "orphans --delete"),
            (&["-A"], None, "orphans --delete"),
            (&["-n", ""], None, "orphans --delete"),
            (&[], None, "orphans --delete"),
        ] {
            assert_eq!(parsed(words).limit().as_deref(), namespace, "{words:?}");
            assert_eq!(last(&left, words), format!("→ kubectl s3replication {command}"), "{words:?}");
        }
    }

    #[test]
    fn roles_are_looked_for_below_each_path_once() {
        let paths = |path: &'static str, imposed: &[&str]| -> Vec<String> {
            let imposed = imposed.iter().map(|path| (*path).to_owned()).collect();
            role_paths(path, &imposed).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(paths("/s3-replication/", &[]), ["/s3-replication/"]);
        assert_eq!(paths("/s3-replication/", &["/team/"]), ["/s3-replication/", "/team/"]);
        assert_eq!(paths("/", &["/team/", "/s3-replication/"]), ["/"]);
        assert_eq!(paths("/team/", &["/team/"]), ["/team/"]);
    }
}
