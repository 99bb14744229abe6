//! `plan`: prints what the operator would change in AWS.
//!
//! In: files with resources, and what AWS holds; nothing of a cluster, unless a flag names one, or the files lack an
//! `AwsAccount` that they name or the labels of a `Namespace` that decide. Out: the differences and the steps of each resource, or its refusal, as text,
//! JSON or YAML. The decision is in `replication/assess.rs`. An account that cannot be reached hides nothing of the others:
//! it is one more refusal of the resources that name it.
//!
//! The UID of the cluster is unknown here, and the UID of a resource too unless its file was read from a cluster
//! (`kubectl get … -o yaml | … plan -f -`). An unknown UID matches the tags of any role.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::{BucketReplication, ConditionType, Reason};
use crate::aws::{self, AwsConnector};
use crate::cli::account_lookup::AccountLookup;
use crate::cli::aws_args::AwsArgs;
use crate::cli::aws_failure::explain;
use crate::cli::counted::counted;
use crate::cli::kubernetes::FileKubeArgs;
use crate::cli::manifests::{Manifests, resource_id};
use crate::cli::output::{complain, formatted};
use crate::cli::{CliError, Output, write};
use crate::controllers::bucket_replication::connect::{Connected, connect};
use crate::replication::plan::require_reached;
use crate::replication::set_aside::set_aside;
use crate::replication::{Account, Accounts, Failure, Plan, ReadSet, Refusal, Replication, assess};

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// File with BucketReplication resources, and with the AwsAccounts and Namespaces that they need; - for standard
    /// input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    kubernetes: FileKubeArgs,
    #[command(flatten)]
    aws: AwsArgs,
}

/// Exit code for changes, the same as that of `terraform plan -detailed-exitcode`.
const CHANGES: u8 = 2;

/// The note about what a plan without the `AwsAccount` of the cluster leaves open.
const NOT_ASKED: &str = "note: no file contains an AwsAccount named default, and no cluster was asked for it: if yours has one, it may refuse this, and its roles.path and roles.permissionsBoundary apply\n→ add it to the files (kubectl get awsaccount default -o yaml), or have it read: pass --context or --kubeconfig";

pub async fn plan(args: PlanArgs) -> Result<ExitCode, CliError> {
    let manifests = Manifests::read(&args.filenames)?
        .in_namespace(args.kubernetes.namespace.as_deref())
        .with_resources()?;
    let mut directory = AccountLookup::new(&manifests, &args.kubernetes.cluster);
    let connector = AwsConnector::from_env(args.aws.settings(), aws::AwsMetrics::default()).await;
    let mut plans = Vec::new();
    for resource in &manifests.resources {
        let plan = match directory.accounts_of(resource).await? {
            Ok(accounts) => plan_one(resource, &accounts, &connector).await?,
            Err(refusals) => Plan::refused(refusals),
        };
        plans.push((resource, plan));
    }
    match args.output.format() {
        None => {
            for (resource, plan) in &plans {
                write(&text(resource, plan))?;
            }
        }
        Some(format) => {
            let all: Vec<Value> = plans.iter().map(|(resource, plan)| value(resource, plan)).collect();
            write(&formatted(&all, format)?)?;
        }
    }
    if directory.has_not_asked() {
        complain(NOT_ASKED);
    }
    let refused = plans.iter().any(|(_, plan)| plan.refusal().is_some());
    let changes = plans.iter().any(|(_, plan)| !plan.differences.is_empty() || !plan.stages.is_empty());
    Ok(match (refused, changes) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(CHANGES),
        (false, false) => ExitCode::SUCCESS,
    })
}

async fn plan_one(
    resource: &BucketReplication,
    accounts: &Accounts,
    connector: &AwsConnector,
) -> Result<Plan, CliError> {
    let id = resource_id(resource);
    let status = resource.status.clone().unwrap_or_default();
    let replication = Replication { spec: &resource.spec, status: &status, id: &id, accounts };
    let read_set = ReadSet::of(&replication, true);
    let connected = match (connect(accounts, &id, connector).await, &accounts.source) {
        (Ok(connected), _) => connected,
        // The resources of other accounts have plans of their own.
        (Err(failure), Some(account)) => {
            return Ok(Plan::refused(vec![unreached_refusal(account, &failure)]));
        }
        (Err(failure), None) => return Err(failure.into()),
    };
    let Connected { clients, unreached } = connected;
    let mut observed = aws::observe(&clients, &read_set).await;
    set_aside(&mut observed, &read_set, unreached.clone());
    let id = match &observed.role {
        Ok(Some(role)) => id.clone().completed_from(&role.tags),
        _ => id.clone(),
    };
    let plan = assess(Replication { id: &id, ..replication }, read_set, observed).plan;
    Ok(name_unreached(plan, accounts, &unreached))
}

/// A plan with a refusal for each account of destinations that cannot be reached, in place of the one for all of them.
fn name_unreached(mut plan: Plan, accounts: &Accounts, unreached: &BTreeMap<String, Failure>) -> Plan {
    let for_all = require_reached(unreached).err();
    plan.refusals.retain(|refusal| Some(refusal) != for_all.as_ref());
    let failures =
        unreached.iter().filter_map(|(name, failure)| Some((accounts.destinations.get(name)?, failure)));
    plan.refusals.extend(failures.map(|(account, failure)| unreached_refusal(account, failure)));
    plan
}

fn unreached_refusal(account: &Account, failure: &Failure) -> Refusal {
    let Account { name, spec } = account;
    let message = format!(
        "AwsAccount {name}, account {}, cannot be reached, so that the plan leaves out what is there: {}",
        spec.account_id,
        explain(failure)
    );
    Refusal::new(failure.class.reason(), ConditionType::Ready, message)
}

/// A plan for programs.
fn value(resource: &BucketReplication, plan: &Plan) -> Value {
    json!({"namespace": resource.namespace(), "name": resource.name_any(), "plan": plan})
}

fn text(resource: &BucketReplication, plan: &Plan) -> String {
    let name = format!("{}/{}", resource.namespace().as_deref().unwrap_or("default"), resource.name_any());
    let summary = match (plan.refusal(), plan.differences.len(), plan.steps().count()) {
        (Some(refusal), ..) => format!("refused: {}", Reason::as_str(refusal.reason)),
        (None, 0, 0) => "nothing to change".to_owned(),
        (None, differences, 0) => {
            format!(
                "{differences} to report, nothing to write (managementPolicy: Observe); with managementPolicy: Enforce the operator corrects what differs"
            )
        }
        (None, differences, steps) => format!("{differences} to change in {}", counted(steps, "write")),
    };
    format!("BucketReplication {name}: {summary}\n{plan}")
}

/// The form for programs of everything that a plan may hold.
#[cfg(test)]
pub fn json_sample() -> Value {
    use crate::cli::fleet::samples::{found, full, resource};
    use crate::replication::configuration::{Rule, RuleDestination, RuleFilter};
    use crate::replication::{BucketAddress, Configuration, RoleDocuments, Step};

    let bucket = || BucketAddress {
        name: "orders-copy".to_owned(),
        region: "eu-west-1".to_owned(),
        account_id: "222222222222".to_owned(),
        account_ref: Some("backup".to_owned()),
    };
    let role = || "data.orders".to_owned();
    let documents = RoleDocuments {
        path: "/s3-replication/".to_owned(),
        trust: "{}".to_owned(),
        permissions_boundary: Some("arn:aws:iam::111111111111:policy/boundary".to_owned()),
        tags: [("team".to_owned(), "data".to_owned())].into(),
        description: "S3 replication".to_owned(),
    };
    let destination = RuleDestination {
        bucket: "arn:aws:s3:::orders-copy".to_owned(),
        account: Some("222222222222".to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        ownership: Some("Destination".to_owned()),
        kms_key: Some("arn:aws:kms:eu-west-1:222222222222:key/k".to_owned()),
        replication_time_control: crate::api::Switch::Enabled,
        metrics: crate::api::Switch::Enabled,
    };
    let rule = Rule {
        status: crate::api::Switch::Enabled,
        priority: Some(1),
        filter: RuleFilter {
            prefix: "in/".to_owned(),
            tags: [("team".to_owned(), "data".to_owned())].into(),
        },
        delete_markers: crate::api::Switch::Enabled,
        replica_modifications: crate::api::Switch::Enabled,
        kms_encrypted_objects: crate::api::Switch::Enabled,
        destination,
    };
    let rules = [("all".to_owned(), rule)].into();
    let statements = crate::iam::bucket_policy::statements(
        "S3Replication0123456789abcdef",
        &[role()],
        "arn:aws:s3:::c",
        true,
    );
    let sid = "S3Replication0123456789abcdef".to_owned();
    let steps = vec![
        Step::EnableVersioning { bucket: bucket() },
        Step::CreateRole { role: role(), documents },
        Step::UpdateTrustPolicy { role: role(), document: "{}".to_owned(), expands: false },
        Step::PutPermissionsBoundary { role: role(), boundary: "b".to_owned() },
        Step::DeletePermissionsBoundary { role: role() },
        Step::TagRole { role: role(), tags: [("team".to_owned(), "data".to_owned())].into() },
        Step::UntagRole { role: role(), keys: vec!["team".to_owned()] },
        Step::PutRolePolicy { role: role(), document: "{}".to_owned(), expands: true },
        Step::PutBucketPolicy { bucket: bucket(), sid, statements, expands: true },
        Step::PutReplication {
            bucket: bucket(),
            configuration: Configuration { role: "arn:aws:iam::111111111111:role/r".to_owned(), rules },
            lacking: Default::default(),
        },
        Step::DeleteReplication { bucket: bucket() },
        Step::DeleteRolePolicy { role: role() },
        Step::DeleteRole { role: role() },
    ];
    let about = crate::api::ConditionType::RoleReady;
    let refusal = Refusal { reason: Reason::ForeignRole, message: "m".to_owned(), about };
    let plan = Plan {
        differences: full().drift,
        drift: true,
        stages: vec![steps],
        refusals: vec![refusal],
        removed_elements: vec!["Rule.New".to_owned()],
    };
    value(&found(resource("orders", &[])).object.unwrap(), &plan)
}
