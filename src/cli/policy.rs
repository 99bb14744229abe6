//! `policy`: the IAM policies that BucketReplication resources need: each role's trust and permissions, the
//! destination's bucket policy across accounts, and the operator's own least privilege.
//!
//! Works without AWS: what the file does not tell is a wildcard in its place.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::manifests::identity;
use super::{CliError, Output, manifests, write};
use crate::replication::access::{Grantee, destination_bucket_policies, operator_policy};
use crate::replication::desired::Facts;
use crate::replication::partition::role_of_arn;
use crate::replication::{Caller, Desired, DesiredRole, Partition};

#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// File with BucketReplication resources; - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filename: String,
    /// How to print: every policy with a heading, or one JSON object
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The id of the account the source buckets are in; any when absent
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,
    /// The Region whose partition ARNs are written for where a resource names none
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
}

fn account_id(text: &str) -> Result<String, String> {
    let id = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if id { Ok(text.to_owned()) } else { Err("an account id has 12 digits".to_owned()) }
}

pub fn policy(args: PolicyArgs) -> Result<ExitCode, CliError> {
    let resources = manifests::read(&args.filename)?;
    let mut sections: Vec<(String, Value)> = Vec::new();
    let mut all = Vec::new();
    for resource in &resources {
        let identity = identity(resource);
        let spec = &resource.spec;
        let caller = Caller {
            account: args.account_id.clone().unwrap_or_else(|| "*".to_owned()),
            partition: Partition::of_region(spec.source.region.as_deref().unwrap_or(&args.region)),
        };
        let regions = spec
            .rules
            .iter()
            .map(|r| (&r.destination.bucket, &r.destination.region))
            .chain([(&spec.source.bucket, &spec.source.region)])
            .filter_map(|(bucket, region)| Some((bucket.clone(), region.clone()?)))
            .collect();
        let desired = Desired::new(spec, &identity, &Facts { caller: caller.clone(), regions });
        if let DesiredRole::Managed(role) = &desired.role {
            sections.push((format!("trust policy of role {}", role.name), role.trust.to_value()));
            sections.push((format!("policy of role {}", role.name), role.permissions.to_value()));
        }
        let status = resource.status.as_ref();
        let current = desired.role.arn(&caller);
        let managed = status.and_then(|s| s.role.as_ref()).filter(|role| role.managed).map(|role| &role.arn);
        let remembered = managed.into_iter().chain(status.into_iter().flat_map(|s| &s.former_roles));
        let former_roles =
            remembered.filter(|arn| role_of_arn(arn) != role_of_arn(&current)).cloned().collect();
        all.push(Grantee { desired, caller, management: spec.management_policy, former_roles });
    }
    for (bucket, policy) in destination_bucket_policies(&all) {
        sections.push((format!("bucket policy of destination {bucket}"), policy.to_value()));
    }
    sections.push(("policy of the operator".to_owned(), operator_policy(&all).to_value()));
    let print =
        |value: &Value| serde_json::to_string_pretty(value).map_err(|e| CliError::Print(e.to_string()));
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
