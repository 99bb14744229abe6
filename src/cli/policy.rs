//! `policy`: prints the IAM policies that resources need.
//!
//! In: files with resources and accounts, and the URLs of event queues. Out: trust policy and permissions of each role;
//! policies of destination buckets and keys in other accounts, and of event queues; the least privilege of the
//! operator's own AWS identity and of its identity in each account.
//!
//! Works without AWS: a value that the file does not contain becomes a wildcard.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::{BucketReplication, BucketReplicationSpec, ReplicationBackfill};
use crate::cli::account_lookup::AccountLookup;
use crate::cli::kubernetes::FileKubeArgs;
use crate::cli::manifests::{Manifests, resource_id};
use crate::cli::output::{Format, formatted};
use crate::cli::policy_backfills::needed;
use crate::cli::{CliError, Output, write};
use crate::iam::Partition;
use crate::iam::arn::role_of_arn;
use crate::iam::document::Statement;
use crate::replication::desired::Discovered;
use crate::replication::events::EventQueue;
use crate::replication::events::policies::{
    FailureSource, failure_notification, queue_policy, read_queues, receive_failures,
};
use crate::replication::health::canary::rights::CanaryRights;
use crate::replication::least_privilege::{
    Grantee, account_policy, account_trust_policy, assume_roles, destination_bucket_policies, key_policies,
    operator_policy, partition_of_account, read_metrics,
};
use crate::replication::{Account, Accounts, Caller, Desired, DesiredRole, Refusal, Replication};

#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// File with BucketReplication, ReplicationBackfill and AwsAccount resources; - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<String>,
    /// Output format: every policy with a heading, or one object for a program
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Account id of the source buckets that refer to no AwsAccount; absent: any
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,
    /// ARN of the operator's own AWS identity; with it, the trust policies of the roles that it assumes are printed too
    #[arg(long, value_name = "ARN")]
    operator_arn: Option<String>,
    /// URL of an SQS queue that the operator reads events from; the policy of the queue is printed too, and the
    /// notification configuration by which a source's bucket reports failures to it. May be repeated
    #[arg(long, env = "EVENT_QUEUE", value_name = "URL", value_delimiter = ',')]
    event_queue: Vec<EventQueue>,
    /// Region that decides the partition of ARNs, for resources that name no Region, and for AwsAccounts that name no ARN
    /// and that no resource with a Region refers to
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    kubernetes: FileKubeArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("BucketReplication {namespace}/{name}: {message}")]
    Refused { namespace: String, name: String, message: String },
}

fn account_id(text: &str) -> Result<String, String> {
    let id = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if id { Ok(text.to_owned()) } else { Err("an account id has 12 digits".to_owned()) }
}

/// The policy of each queue, and of each source the notification configuration by which S3 reports failures to the
/// queue of its Region.
fn of_queues(queues: &[EventQueue], home: &str, sources: &[FailureSource]) -> Vec<Section> {
    let reporting: Vec<(&FailureSource, &EventQueue)> =
        sources.iter().filter_map(|source| Some((source, source.queue(queues, home)?))).collect();
    let policies = queues.iter().map(|queue| {
        let to_queue = reporting.iter().filter(|(_, other)| *other == queue);
        let accounts = to_queue.map(|(source, _)| source.account_id.clone()).collect();
        let mut policy = queue_policy(queue, home);
        policy.statement.extend(receive_failures(queue, home, &accounts));
        (format!("policy of event queue {}", queue.name), policy.to_value())
    });
    let notifications: BTreeMap<String, Value> = reporting
        .iter()
        .map(|(source, queue)| {
            let title = format!("to add to the notification configuration of bucket {}", source.bucket);
            (title, failure_notification(queue, home))
        })
        .collect();
    policies.chain(notifications).collect()
}

/// A policy with its title.
type Section = (String, Value);

/// The permissions that the resources of the files need.
#[derive(Default)]
struct Collected {
    /// The policies of roles.
    sections: Vec<Section>,
    sources: Vec<FailureSource>,
    all: Vec<Grantee>,
    /// Those on whose source the operator's own identity acts.
    unrestricted: Vec<Grantee>,
    /// The others, by their `AwsAccount`.
    acting: BTreeMap<String, Vec<Grantee>>,
    /// The partition of each `AwsAccount` that a resource with a Region refers to.
    partitions: BTreeMap<String, Partition>,
    /// The statements that the operator's own identity needs for backfills, and for canaries in each account.
    of_backfills: Vec<Statement>,
    canaries: BTreeMap<(String, Partition), CanaryRights>,
}

impl Collected {
    fn add(
        &mut self,
        resource: &BucketReplication,
        accounts: &Accounts,
        backfills: &[ReplicationBackfill],
        args: &PolicyArgs,
    ) {
        let spec = &resource.spec;
        let own = accounts.source.as_ref().map(|account| account.spec.account_id.clone());
        let caller = Caller {
            account: own.or_else(|| args.account_id.clone()).unwrap_or_else(|| "*".to_owned()),
            partition: Partition::of_region(spec.source.region.as_deref().unwrap_or(&args.region)),
        };
        if spec.source.region.is_some() {
            let referred = accounts.source.iter().chain(accounts.destinations.values());
            self.partitions.extend(referred.map(|account| (account.name.clone(), caller.partition)));
        }
        self.sources.push(FailureSource {
            bucket: spec.source.bucket.clone(),
            region: spec.source.region.clone(),
            account_id: caller.account.clone(),
        });
        let grantee = build_grantee(resource, accounts, caller);
        if let DesiredRole::Managed(role) = &grantee.desired.role {
            self.sections.push((format!("trust policy of role {}", role.name), role.trust.to_value()));
            self.sections.push((format!("policy of role {}", role.name), role.permissions.to_value()));
        }
        let of_backfills = needed(resource, backfills, accounts, &grantee.caller, &args.region);
        self.sections.extend(of_backfills.sections);
        if !accounts.are_restricted() {
            self.of_backfills.extend(of_backfills.operator);
            let Caller { account, partition } = &grantee.caller;
            self.canaries.entry((account.clone(), *partition)).or_default().add(spec, account, *partition);
            self.unrestricted.push(grantee.clone());
        }
        if let Some(account) = &accounts.source {
            self.acting.entry(account.name.clone()).or_default().push(grantee.clone());
        }
        self.all.push(grantee);
    }

    /// The policies of destinations and keys in other accounts.
    fn of_other_accounts(&self) -> impl Iterator<Item = Section> {
        let buckets = destination_bucket_policies(&self.all)
            .into_iter()
            .map(|(bucket, policy)| (format!("bucket policy of destination {bucket}"), policy.to_value()));
        let keys = key_policies(&self.all).into_iter();
        buckets.chain(
            keys.map(|(key, statements)| {
                (format!("statements for the policy of key {key}"), json!(statements))
            }),
        )
    }

    /// The policy of the operator's own identity; `None`: it needs nothing.
    fn of_operator(&self, accounts: &[Account], args: &PolicyArgs) -> Option<Section> {
        let mut own = operator_policy(&self.unrestricted);
        own.statement.extend(self.of_backfills.iter().cloned());
        let of_canaries = |((account, partition), rights): (&(String, Partition), &CanaryRights)| {
            rights.clone().statements(account, *partition)
        };
        own.statement.extend(self.canaries.iter().flat_map(of_canaries));
        own.statement.extend(read_metrics(&self.unrestricted));
        own.statement.extend(assume_roles(accounts));
        own.statement.extend(read_queues(&args.event_queue, &args.region));
        (!own.statement.is_empty()).then(|| ("policy of the operator".to_owned(), own.to_value()))
    }

    /// The policies of the operator's identity in an account.
    fn of_account(&self, account: &Account, manifests: &Manifests, args: &PolicyArgs) -> Vec<Section> {
        let Account { name, spec } = account;
        let otherwise = Partition::of_region(&args.region);
        let partition = partition_of_account(account, self.partitions.get(name).copied(), otherwise);
        let mut policy = account_policy(account, &manifests.accounts, partition);
        policy.statement.extend(read_metrics(self.acting.get(name).into_iter().flatten()));
        let specs: Vec<&BucketReplicationSpec> = manifests.resources.iter().map(|r| &r.spec).collect();
        let rights = CanaryRights::of_account(spec, &specs, partition);
        policy.statement.extend(rights.statements(&spec.account_id, partition));
        let mut sections = vec![(format!("policy of the operator in AwsAccount {name}"), policy.to_value())];
        if let Some((role, operator)) = spec.assume_role.as_ref().zip(args.operator_arn.as_deref()) {
            let trust = account_trust_policy(role, operator);
            sections.push((format!("trust policy of role {}", role.arn), trust.to_value()));
        }
        sections
    }
}

/// The needs of a resource in AWS, as far as its file says them.
fn build_grantee(resource: &BucketReplication, accounts: &Accounts, caller: Caller) -> Grantee {
    let spec = &resource.spec;
    let regions = spec
        .rules
        .iter()
        .map(|r| (&r.destination.bucket, &r.destination.region))
        .chain([(&spec.source.bucket, &spec.source.region)])
        .filter_map(|(bucket, region)| Some((bucket.clone(), region.clone()?)))
        .collect();
    // A file does not say whether the source has Object Lock.
    let discovered = Discovered { caller: caller.clone(), regions, object_lock: false };
    let (id, status) = (resource_id(resource), resource.status.clone().unwrap_or_default());
    let replication = Replication { spec, status: &status, id: &id, accounts };
    let desired = Desired::new(&replication, &discovered);
    let former = |arn: &&str| role_of_arn(arn) != desired.role.name();
    let former_roles = replication.remembered_roles().filter(former).map(str::to_owned).collect();
    let (management, source_keys) = (spec.management_policy, spec.source.kms_key_arns.clone());
    Grantee { desired, caller, management, source_keys, former_roles }
}

fn refused(resource: &BucketReplication, refusals: Vec<Refusal>) -> PolicyError {
    PolicyError::Refused {
        namespace: resource.namespace().unwrap_or_else(|| "default".to_owned()),
        name: resource.name_any(),
        message: refusals.into_iter().map(|refusal| refusal.message).collect::<Vec<_>>().join("; also: "),
    }
}

pub async fn policy(args: PolicyArgs) -> Result<ExitCode, CliError> {
    let manifests = Manifests::read(&args.filenames)?
        .in_namespace(args.kubernetes.namespace.as_deref())
        .with_anything()?;
    let mut lookup = AccountLookup::new(&manifests, &args.kubernetes.cluster);
    let mut collected = Collected::default();
    for resource in &manifests.resources {
        let accounts = lookup.accounts_of(resource).await?;
        let accounts = accounts.map_err(|refusals| refused(resource, refusals))?;
        collected.add(resource, &accounts, &manifests.backfills, &args);
    }
    let mut sections = std::mem::take(&mut collected.sections);
    sections.extend(collected.of_other_accounts());
    sections.extend(of_queues(&args.event_queue, &args.region, &collected.sources));
    sections.extend(collected.of_operator(&manifests.accounts, &args));
    let in_accounts = manifests.accounts.iter();
    sections.extend(in_accounts.flat_map(|account| collected.of_account(account, &manifests, &args)));
    print(sections, args.output)?;
    Ok(ExitCode::SUCCESS)
}

fn print(sections: Vec<Section>, output: Output) -> Result<(), CliError> {
    match output.format() {
        // A policy is JSON for people too: AWS takes no other form.
        None => sections.iter().try_for_each(|(title, policy)| {
            write(&format!("# {title}\n{}\n", formatted(policy, Format::Json)?))
        }),
        Some(format) => write(&formatted(&value(sections), format)?),
    }
}

/// The policies for programs, by their titles.
fn value(sections: Vec<Section>) -> Value {
    let object: serde_json::Map<String, Value> = sections.into_iter().collect();
    json!(object)
}

/// The form for programs of policies of each kind.
#[cfg(test)]
pub fn json_sample() -> Value {
    let bucket = "orders".to_owned();
    let source = FailureSource { bucket, region: None, account_id: "111122223333".to_owned() };
    let queue = "https://sqs.us-east-1.amazonaws.com/111122223333/events".parse().unwrap();
    let mut sections = of_queues(&[queue], "us-east-1", &[source]);
    let trust = crate::iam::document::trust_policy("s3.amazonaws.com");
    sections.push(("trust policy of role orders".to_owned(), trust.to_value()));
    value(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_reports_its_failures_to_the_queue_of_its_region() {
        let source = |bucket: &str, region: &str, account: &str| FailureSource {
            bucket: bucket.to_owned(),
            region: Some(region.to_owned()),
            account_id: account.to_owned(),
        };
        let queue = "https://sqs.eu-west-1.amazonaws.com/111122223333/events".parse().unwrap();
        let sources = [
            source("orders", "eu-west-1", "111122223333"),
            source("bills", "eu-west-1", "444455556666"),
            source("abroad", "us-east-1", "777788889999"),
        ];
        let sections = of_queues(&[queue], "eu-west-1", &sources);
        let titles: Vec<&str> = sections.iter().map(|(title, _)| title.as_str()).collect();
        let expected = [
            "policy of event queue events",
            "to add to the notification configuration of bucket bills",
            "to add to the notification configuration of bucket orders",
        ];
        assert_eq!(titles, expected);
        let failures = &sections[0].1["Statement"][2];
        assert_eq!(failures["Principal"]["Service"], "s3.amazonaws.com");
        let accounts = json!(["111122223333", "444455556666"]);
        assert_eq!(failures["Condition"]["StringEquals"]["aws:SourceAccount"], accounts);
        assert!(of_queues(&[], "eu-west-1", &sources).is_empty(), "nothing without a queue");
    }
}
