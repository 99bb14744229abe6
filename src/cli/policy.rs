//! `policy`: prints the IAM policies that resources need.
//!
//! In: files with resources and accounts, and the URLs of event queues. Out: trust policy and permissions of each role,
//! policies of destination buckets and keys in other accounts and of event queues, and the least privilege of the
//! operator's own AWS identity and of its identity in each account.
//!
//! Works without AWS: a value that the file does not contain becomes a wildcard.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::BucketReplicationSpec;
use crate::cli::account_lookup::AccountLookup;
use crate::cli::kubernetes::FileKubeArgs;
use crate::cli::manifests::{Manifests, resource_id};
use crate::cli::policy_backfills::needed;
use crate::cli::{CliError, Output, write};
use crate::iam::Partition;
use crate::iam::arn::role_of_arn;
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
use crate::replication::{Account, Caller, Desired, DesiredRole, Replication};

#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// File with BucketReplication, ReplicationBackfill and AwsAccount resources; - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<String>,
    /// Output format: every policy with a heading, or one JSON object
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Account id of the source buckets that refer to no AwsAccount; absent: any
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,
    /// ARN of the operator's own AWS identity; with it, the trust policies of the roles that it assumes are printed too
    #[arg(long, value_name = "ARN")]
    operator_arn: Option<String>,
    /// URL of an SQS queue that the operator reads events from; the policy of the queue is printed too, and the notification
    /// configuration by which a source's bucket reports failures to it. May be repeated
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

/// The policy of each queue, and of each source the notification configuration by which S3 reports failures to the queue of
/// its Region.
fn of_queues(queues: &[EventQueue], home: &str, sources: &[FailureSource]) -> Vec<(String, Value)> {
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

pub async fn policy(args: PolicyArgs) -> Result<ExitCode, CliError> {
    let manifests = Manifests::read(&args.filenames)?
        .in_namespace(args.kubernetes.namespace.as_deref())
        .with_anything()?;
    let mut directory = AccountLookup::new(&manifests, &args.kubernetes.cluster);
    let mut sections: Vec<(String, Value)> = Vec::new();
    let mut all = Vec::new();
    let mut sources = Vec::new();
    let mut unrestricted = Vec::new();
    let mut of_backfills = Vec::new();
    let mut canaries: BTreeMap<(String, Partition), CanaryRights> = BTreeMap::new();
    let mut partitions: BTreeMap<String, Partition> = BTreeMap::new();
    let mut acting: BTreeMap<String, Vec<Grantee>> = BTreeMap::new();
    for resource in &manifests.resources {
        let accounts = directory.accounts_of(resource).await?;
        let accounts = accounts.map_err(|refusals| PolicyError::Refused {
            namespace: resource.namespace().unwrap_or_else(|| "default".to_owned()),
            name: resource.name_any(),
            message: refusals.into_iter().map(|refusal| refusal.message).collect::<Vec<_>>().join("; also: "),
        })?;
        let id = resource_id(resource);
        let spec = &resource.spec;
        let own = accounts.source.as_ref().map(|account| account.spec.account_id.clone());
        let caller = Caller {
            account: own.or_else(|| args.account_id.clone()).unwrap_or_else(|| "*".to_owned()),
            partition: Partition::of_region(spec.source.region.as_deref().unwrap_or(&args.region)),
        };
        if spec.source.region.is_some() {
            let referred = accounts.source.iter().chain(accounts.destinations.values());
            partitions.extend(referred.map(|account| (account.name.clone(), caller.partition)));
        }
        sources.push(FailureSource {
            bucket: spec.source.bucket.clone(),
            region: spec.source.region.clone(),
            account_id: caller.account.clone(),
        });
        let regions = spec
            .rules
            .iter()
            .map(|r| (&r.destination.bucket, &r.destination.region))
            .chain([(&spec.source.bucket, &spec.source.region)])
            .filter_map(|(bucket, region)| Some((bucket.clone(), region.clone()?)))
            .collect();
        // A file does not say whether the source has Object Lock.
        let discovered = Discovered { caller: caller.clone(), regions, object_lock: false };
        let status = resource.status.clone().unwrap_or_default();
        let replication = Replication { spec, status: &status, id: &id, accounts: &accounts };
        let desired = Desired::new(&replication, &discovered);
        if let DesiredRole::Managed(role) = &desired.role {
            sections.push((format!("trust policy of role {}", role.name), role.trust.to_value()));
            sections.push((format!("policy of role {}", role.name), role.permissions.to_value()));
        }
        let backfills = needed(resource, &manifests.backfills, &accounts, &caller, &args.region);
        sections.extend(backfills.sections);
        if !accounts.are_restricted() {
            of_backfills.extend(backfills.operator);
        }
        let former = |arn: &&str| role_of_arn(arn) != desired.role.name();
        let former_roles = replication.remembered_roles().filter(former).map(str::to_owned).collect();
        let (management, source_keys) = (spec.management_policy, spec.source.kms_key_arns.clone());
        let grantee = Grantee { desired, caller, management, source_keys, former_roles };
        if !accounts.are_restricted() {
            let Caller { account, partition } = &grantee.caller;
            canaries.entry((account.clone(), *partition)).or_default().add(spec, account, *partition);
            unrestricted.push(grantee.clone());
        }
        if let Some(account) = &accounts.source {
            acting.entry(account.name.clone()).or_default().push(grantee.clone());
        }
        all.push(grantee);
    }
    for (bucket, policy) in destination_bucket_policies(&all) {
        sections.push((format!("bucket policy of destination {bucket}"), policy.to_value()));
    }
    for (key, statements) in key_policies(&all) {
        let title = format!("statements for the policy of key {key}");
        sections.push((title, json!(statements)));
    }
    sections.extend(of_queues(&args.event_queue, &args.region, &sources));
    let mut own = operator_policy(&unrestricted);
    own.statement.extend(of_backfills);
    let of_canaries = |((account, partition), rights): ((String, Partition), CanaryRights)| {
        rights.statements(&account, partition)
    };
    own.statement.extend(canaries.into_iter().flat_map(of_canaries));
    own.statement.extend(read_metrics(&unrestricted));
    own.statement.extend(assume_roles(&manifests.accounts));
    own.statement.extend(read_queues(&args.event_queue, &args.region));
    if !own.statement.is_empty() {
        sections.push(("policy of the operator".to_owned(), own.to_value()));
    }
    for account in &manifests.accounts {
        let Account { name, spec } = account;
        let otherwise = Partition::of_region(&args.region);
        let partition = partition_of_account(account, partitions.get(name).copied(), otherwise);
        let mut policy = account_policy(account, &manifests.accounts, partition);
        policy.statement.extend(read_metrics(acting.get(name).into_iter().flatten()));
        let specs: Vec<&BucketReplicationSpec> = manifests.resources.iter().map(|r| &r.spec).collect();
        let rights = CanaryRights::of_account(spec, &specs, partition);
        policy.statement.extend(rights.statements(&spec.account_id, partition));
        sections.push((format!("policy of the operator in AwsAccount {name}"), policy.to_value()));
        if let Some((role, operator)) = spec.assume_role.as_ref().zip(args.operator_arn.as_deref()) {
            let title = format!("trust policy of role {}", role.arn);
            sections.push((title, account_trust_policy(role, operator).to_value()));
        }
    }
    let print =
        |value: &Value| serde_json::to_string_pretty(value).map_err(|e| CliError::print(e.to_string()));
    match args.output {
        Output::Text => {
            for (title, policy) in &sections {
                write(&format!("# {title}\n{}\n\n", print(policy)?))?;
            }
        }
        Output::Json => {
            let object: serde_json::Map<String, Value> = sections.into_iter().collect();
            write(&format!("{}\n", print(&json!(object))?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
