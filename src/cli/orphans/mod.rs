//! `orphans`: finds what resources that are gone have left behind in AWS, and deletes it on request.
//!
//! In: the resources of the cluster, and the roles, replication configurations and bucket policies of its accounts.
//! Out: a list of what is left, with the steps that delete it; with `--delete`, after a confirmation, these steps
//! executed. A role that still replicates is deleted only with `--including-replicating`. The decision is in `find.rs`.

mod find;

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
use crate::cli::kubernetes::{KubeArgs, Kubernetes, KubernetesError, ScopeArgs};
use crate::cli::orphans::find::{
    ClusterObjects, Findings, HeldAccount, HeldBucket, Orphan, REPLICATION, Statements, UnclearRole,
    UnreadAccount, find,
};
use crate::cli::output::{Format, PrintError, complain, formatted, print};
use crate::cli::progress::ProgressLine;
use crate::cli::reach::{AccountsArgs, NoSuchAccount, Reached, reach, title};
use crate::cli::shell::word;
use crate::cli::status::WRONG;
use crate::cli::terminal::printable;
use crate::iam::bucket_policy::merged;
use crate::ports::Cloud;
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Step};

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
    /// Accepted as by kubectl: what is left over is always searched for in all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Path below which to search for roles, besides the path that an AwsAccount imposes
    #[arg(long, default_value = DEFAULT_ROLE_PATH, value_name = "PATH")]
    role_path: String,
    /// Print for a program instead of a person
    #[arg(long, short, value_enum)]
    output: Option<Format>,
    #[command(flatten)]
    accounts: AccountsArgs,
    #[command(flatten)]
    kubernetes: KubeArgs,
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
    #[error("nothing is deleted: what is left over has changed since it was shown; run the command again")]
    Changed,
    #[error("{} failed: see above; run the command again once that is fixed", counted(*.0, "step"))]
    Failed(usize),
    #[error("stopped after {done} of {}; run the command again to delete the rest", counted(*.all, "step"))]
    Stopped { done: usize, all: usize },
}

/// Calls that are under way at the same time. The rate limits of the account apply besides.
const CONCURRENCY: usize = 16;

pub async fn orphans(args: OrphansArgs, typed: &'static str) -> Result<ExitCode, OrphansError> {
    let kubernetes = args.kubernetes.connect().await?;
    let connector = AwsConnector::from_env(args.aws.settings(), aws::AwsMetrics::default()).await;
    let accounts = reach(&connector, &args.accounts.choose(kubernetes.accounts().await?)?).await;
    let findings = read(&kubernetes, &accounts, &args.role_path).await?;
    match args.output {
        Some(format) => print(&formatted(&findings, format)?)?,
        None => print(&text(&findings, &Mode::of(&args, typed)))?,
    }
    let unknown = &findings.unknown;
    for UnreadAccount { account_id, why } in unknown {
        complain(&format!("unknown: {}: {why}", title(account_id)));
    }
    if !unknown.is_empty() && (args.delete || unknown.len() == accounts.len()) {
        return Err(OrphansError::Unknown(unknown.len()));
    }
    let chosen = findings.to_delete(args.including_replicating);
    if !args.delete || chosen.is_empty() {
        return Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) });
    }
    if !args.yes {
        confirm()?;
    }
    // A resource may have been created, or a role taken over, while the question was on the screen.
    let again = read(&kubernetes, &accounts, &args.role_path).await?;
    if !again.unknown.is_empty() || again.to_delete(args.including_replicating) != chosen {
        return Err(OrphansError::Changed);
    }
    delete(&chosen, &connector, &accounts).await?;
    let is_kept = !findings.still_replicating.is_empty() && !args.including_replicating;
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
            Ok(aws) => read_account(aws, id, &paths).await.map_err(|failure| explain(&failure)),
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

async fn read_account(aws: &AwsClient, account_id: &str, paths: &[&str]) -> Read<HeldAccount> {
    let mut roles = Vec::new();
    for path in paths {
        roles.extend(aws::managed_roles(aws, path).await?);
    }
    let buckets = aws::list_buckets(aws).await?;
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
        Err(failure) if failure.class == crate::replication::FailureClass::NoSuchBucket => Ok(None),
        Err(failure) => Err(failure.clone()),
    }
}

/// What the command is asked to delete.
struct Mode {
    delete: bool,
    including_replicating: bool,
    /// The command without what it deletes, as a user types it.
    typed: String,
}

impl Mode {
    fn of(args: &OrphansArgs, typed: &str) -> Mode {
        let OrphansArgs { accounts, kubernetes, role_path, .. } = args;
        let path = (role_path != DEFAULT_ROLE_PATH).then_some(("--role-path", role_path.as_str()));
        let flags = accounts.named().map(|name| ("--account", name)).chain(path);
        let flags: String = flags.map(|(flag, value)| format!(" {flag} {}", word(value))).collect();
        let flags = format!("{flags}{}", kubernetes.cluster.flags());
        Mode {
            delete: args.delete,
            including_replicating: args.including_replicating,
            typed: format!("{typed} orphans{flags}"),
        }
    }
}

/// What is left over, and the steps that would delete it.
fn text(findings: &Findings, mode: &Mode) -> String {
    let Findings { orphans, still_replicating, of_other_clusters, unclear, unclear_roles, unknown } =
        findings;
    let unread: Vec<String> = unknown.iter().map(|one| printable(&title(&one.account_id))).collect();
    let unread = unread.join(", ");
    let mut text = match orphans.len() {
        0 if !unknown.is_empty() => {
            format!(
                "It is unknown whether anything is left over of resources that are gone: {unread} could not be read.\n"
            )
        }
        0 if findings.has_unclear() => {
            "No role, configuration or statement is certainly left over of resources that are gone.\n"
                .to_owned()
        }
        0 => "Nothing is left over of resources that are gone.\n".to_owned(),
        1 => "1 role is left over of a resource that is gone:\n".to_owned(),
        count => format!("{} are left over of resources that are gone:\n", counted(count, "role")),
    };
    if orphans.is_empty() && !still_replicating.is_empty() {
        text.clear();
    }
    for orphan in orphans {
        text.push_str(&format!("\n{}", listed(orphan, true)));
    }
    if !still_replicating.is_empty() {
        let gap = if orphans.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}{}", replicating_text(still_replicating, mode)));
    }
    for unclear in unclear {
        text.push_str(&format!(
            "\nUnclear: the policy of bucket {} holds statements {}… for {}, a role that was deleted. Nothing shows to which cluster they belong.\n→ remove them yourself if no cluster replicates into the bucket\n",
            printable(&unclear.bucket),
            unclear.sid,
            printable(&unclear.principals.join(", ")),
        ));
    }
    for UnclearRole { account_id, arn, why, fix } in unclear_roles {
        let (arn, why) = (printable(arn), printable(why));
        text.push_str(&format!("\nUnclear: {arn}, account {account_id}: {why}.\n→ {fix}\n"));
    }
    if !unknown.is_empty() && (!orphans.is_empty() || !still_replicating.is_empty()) {
        text.push_str(&format!("\nUnknown: {unread} could not be read, and may hold more.\n"));
    }
    if *of_other_clusters > 0 {
        text.push_str(&format!("\nNot touched: roles of other clusters ({of_other_clusters}).\n"));
    }
    if !orphans.is_empty() && !mode.delete {
        let typed = &mode.typed;
        text.push_str(&format!("\nTo delete what is left over, after a confirmation:\n→ {typed} --delete\n"));
    }
    text
}

/// The roles that still replicate, why they may be there, and how to delete them.
fn replicating_text(roles: &[Orphan], mode: &Mode) -> String {
    let fate = match (mode.including_replicating, roles.len()) {
        (true, _) => "--including-replicating ends that",
        (false, 1) => "it is kept",
        (false, _) => "they are kept",
    };
    let mut text = match roles.len() {
        1 => format!("1 role of a resource that is gone still replicates; {fate}:\n"),
        count => format!("{} of resources that are gone still replicate; {fate}:\n", counted(count, "role")),
    };
    for role in roles {
        text.push_str(&format!("\n{}", listed(role, mode.including_replicating)));
        for bucket in &role.configurations {
            let name = printable(&bucket.name);
            text.push_str(&format!("  the replication configuration of bucket {name} names it\n"));
        }
        for Statements { bucket, .. } in &role.statements {
            let name = printable(&bucket.name);
            text.push_str(&format!("  the policy of bucket {name} holds statements for it\n"));
        }
    }
    text.push_str(
        "\nA resource with deletionPolicy: Retain or managementPolicy: Observe leaves its replication so on purpose. Otherwise its deletion was not finished.\n",
    );
    if !mode.including_replicating {
        text.push_str(&format!(
            "To end the replication and delete what belongs to it:\n→ {} --delete --including-replicating\n",
            mode.typed
        ));
    }
    text
}

/// A role, and the steps that delete it where it is to be deleted.
fn listed(orphan: &Orphan, with_steps: bool) -> String {
    let Orphan { account_id, arn, kind, namespace, name, blocked_by, .. } = orphan;
    let kind = if *kind == REPLICATION { String::new() } else { format!("{kind} ") };
    let mut text = format!("{arn} of {kind}{namespace}/{name}, account {account_id}\n");
    if !with_steps {
        return text;
    }
    for (index, step) in orphan.steps().iter().enumerate() {
        text.push_str(&format!("  {}. {}\n", index + 1, printable(&step.to_string())));
    }
    if !blocked_by.is_empty() {
        text.push_str(&format!("  the role stays: someone attached {}\n", blocked_by.join(", ")));
    }
    text
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

/// Executes the steps of each orphan in their order. A failure leaves the rest of that orphan and goes on with the next.
async fn delete(
    orphans: &[&Orphan],
    connector: &AwsConnector,
    accounts: &[Reached],
) -> Result<(), OrphansError> {
    // A step is never cut short, because its effect on AWS would be unknown.
    let mut interrupt = Interrupt::listen();
    let all = orphans.iter().map(|orphan| orphan.steps().len()).sum();
    let (mut done, mut failed) = (0, 0);
    for orphan in orphans {
        for step in orphan.steps() {
            if interrupt.was_pressed() {
                return Err(OrphansError::Stopped { done, all });
            }
            // A destination's policy is in the account of its bucket.
            let id = step_account(&step).unwrap_or(&orphan.account_id);
            let reached = accounts.iter().find(|account| account.account_id == id);
            let Some(Ok(clients)) = reached.map(|reached| reached.clients.as_ref()) else { continue };
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
    }
    if failed > 0 { Err(OrphansError::Failed(failed)) } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::orphans::find::sample;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: OrphansArgs,
    }

    fn mode(words: &[&str]) -> Mode {
        let words = ["orphans"].iter().chain(words);
        Mode::of(&Typed::parse_from(words).args, "kubectl s3replication")
    }

    #[test]
    fn nothing_is_called_clear_while_an_account_could_not_be_read() {
        let clear = "Nothing is left over";
        assert!(text(&Findings::default(), &mode(&[])).starts_with(clear));
        let unread = |id: &str| UnreadAccount { account_id: id.to_owned(), why: "no session".to_owned() };
        let unknown = vec![unread("222222222222"), unread("the account of AwsAccount odd")];
        let findings = Findings { unknown, ..Findings::default() };
        assert!(!findings.is_empty());
        let printed = text(&findings, &mode(&[]));
        assert!(!printed.contains(clear), "{printed}");
        assert!(
            printed.contains("unknown")
                && printed.contains("account 222222222222, the account of AwsAccount odd"),
            "{printed}"
        );
        let for_programs = serde_json::to_value(&findings).unwrap();
        assert_eq!(
            for_programs["unknown"][0],
            serde_json::json!({"accountId": "222222222222", "why": "no session"})
        );
        let also = Findings { still_replicating: vec![sample()], ..findings };
        let printed = text(&also, &mode(&[]));
        assert!(printed.contains("Unknown: account 222222222222"), "{printed}");
    }

    #[test]
    fn the_command_that_deletes_is_whole() {
        let kept = Findings { still_replicating: vec![sample()], ..Findings::default() };
        let last = |findings: &Findings, words: &[&str]| {
            text(findings, &mode(words)).lines().last().unwrap_or_default().to_owned()
        };
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
