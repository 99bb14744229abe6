//! The rig itself: it starts, counts, rejects what AWS rejects, injects faults, and leaves nothing behind.

mod identities;
mod processes;
mod proxy;
mod refusals;
mod replication;
mod worlds;

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus,
    ReplicationStatus, VersioningConfiguration,
};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use rig::process::Spec;
use rig::{Answer, Fault, GateAt, Matcher, Rig, World};
use serde_json::{Value, json};

const REGION: &str = "us-east-1";
const SOON: Duration = Duration::from_secs(10);

fn configuration(destination: &str) -> ReplicationConfiguration {
    configuration_of("arn:aws:iam::111122223333:role/r", destination)
}

fn configuration_of(role: &str, destination: &str) -> ReplicationConfiguration {
    let rule = ReplicationRule::builder()
        .id("one")
        .priority(1)
        .status(ReplicationRuleStatus::Enabled)
        .filter(ReplicationRuleFilter::builder().prefix("").build())
        .delete_marker_replication(
            DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Disabled).build(),
        )
        .destination(Destination::builder().bucket(format!("arn:aws:s3:::{destination}")).build().unwrap())
        .build()
        .unwrap();
    ReplicationConfiguration::builder().role(role).rules(rule).build().unwrap()
}

fn refusal<T: std::fmt::Debug, E>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> (u16, String, String)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    let code = error.code().unwrap_or_default().to_owned();
    let message = error.message().unwrap_or_default().to_owned();
    (status, code, message)
}

/// A policy with one statement that allows.
fn allow(actions: &[&str], resource: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]})
        .to_string()
}

fn trust(service: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})
}
