//! The chapter on accounts: one resource, two AWS accounts, and the limits that an administrator sets for a team.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use rig::paths;
use serde_json::{Value, json};

use super::cloud::{DESTINATION_REGION, SOURCE_REGION};
use super::stage::{ACCOUNT, Stage};

/// The manifest that the story applies, and the names in it.
const MANIFEST: &str = "deploy/samples/accounts.yaml";
const BOUNDARY: &str = "deploy/aws/boundary-policy.json";
const DR_ACCOUNT: &str = "444455556666";
const ROLE: &str = "s3-replication-operator";
const EXTERNAL_ID: &str = "disaster-recovery";
const NAME: &str = "orders-to-dr";
const SOURCE: &str = "orders-us-east-1";
const DESTINATION: &str = "orders-dr-eu-west-1";

const STATUS_OF_DRIFT: &str = r#"jsonpath={range .status.drift[*]}{.resource} {.name}{"\n"}  {.path}: want {.want}, got {.got}{"\n"}{end}"#;
const MESSAGE: &str = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;

/// Plays the whole chapter, in order.
pub async fn play(stage: &mut Stage<'_>) -> Result<()> {
    prepare(stage).await?;
    apply(stage).await?;
    replicate(stage, "0001").await?;
    lose_the_policy(stage).await?;
    not_allowed(stage).await?;
    delete(stage).await
}

/// Creates what the chapter assumes: buckets in two accounts, and a role for the operator in the other one.
async fn prepare(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        &format!("Account {DR_ACCOUNT} creates a bucket, and a role that the operator may assume"),
        "The role requires an external id, so that nobody can make the operator assume it on their behalf.",
    );
    stage.clients(ACCOUNT).s3(SOURCE_REGION).create_bucket().bucket(SOURCE).send().await?;
    let there = stage.clients(DR_ACCOUNT);
    let location = BucketLocationConstraint::from(DESTINATION_REGION);
    let location = CreateBucketConfiguration::builder().location_constraint(location).build();
    let create = there.s3(DESTINATION_REGION).create_bucket().bucket(DESTINATION);
    create.create_bucket_configuration(location).send().await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }]});
    let create = there.iam().create_role().role_name(ROLE);
    create.assume_role_policy_document(trust.to_string()).send().await?;
    // The scripts in deploy/aws create the same boundary, and the AwsAccount prod requires it.
    let boundary = std::fs::read_to_string(paths::repository().join(BOUNDARY))?;
    let destinations = format!(r#"{ACCOUNT}", "{DR_ACCOUNT}"#);
    let boundary = boundary.replace("DESTINATION_ACCOUNT_IDS", &destinations).replace("ACCOUNT_ID", ACCOUNT);
    let create = stage.clients(ACCOUNT).iam().create_policy().policy_name("s3-replication-boundary");
    create.policy_document(boundary).send().await?;
    stage.see("the bucket has no policy yet", write_policy(stage).await?.is_none())
}

async fn apply(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Apply two accounts and one resource that refers to both",
        "An administrator lists the namespaces and buckets that may use an account. Nothing else is allowed.",
    );
    stage.kubectl(&["apply", "-f", MANIFEST]).await?;
    for name in ["prod", "dr"] {
        let account = format!("awsacct/{name}");
        stage.kubectl(&["wait", "--for=condition=Ready", &account, "--timeout=30s"]).await?;
    }
    stage.kubectl(&["wait", "--for=condition=Ready", &format!("br/{NAME}"), "--timeout=30s"]).await?;
    stage.kubectl(&["get", "awsacct"]).await?;
    let account = stage.object("awsacct", "dr").await?;
    let identity = account.pointer("/status/identity/arn").and_then(Value::as_str).unwrap_or_default();
    stage.show(&format!("in dr the operator is {identity}"));
    stage.see("the operator is in the account that the AwsAccount says", identity.contains(DR_ACCOUNT))?;
    let policy = write_policy(stage).await?.context("the bucket has no policy")?;
    stage.see("the other account's bucket lets the role in", policy.contains("s3:ReplicateObject"))
}

async fn replicate(stage: &mut Stage<'_>, key: &str) -> Result<()> {
    stage.step(
        "Write an object into the source",
        "S3 copies it into the other account only because all four parts and the bucket policy agree.",
    );
    let body = ByteStream::from_static(b"order");
    stage.clients(ACCOUNT).s3(SOURCE_REGION).put_object().bucket(SOURCE).key(key).body(body).send().await?;
    let there = stage.clients(DR_ACCOUNT).s3(DESTINATION_REGION);
    let arrived = stage.until("a replica in the other account", async || {
        Ok(there.head_object().bucket(DESTINATION).key(key).send().await.ok())
    });
    let status = arrived.await?.replication_status().map(|s| s.as_str().to_owned()).unwrap_or_default();
    stage.see(&format!("{DESTINATION} of account {DR_ACCOUNT} has it, as a {status}"), status == "REPLICA")
}

async fn lose_the_policy(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Someone in the other account deletes the bucket policy",
        "Nothing in the source's account shows it. Objects would fail to replicate from now on.",
    );
    stage.show(&format!("(as `aws s3api delete-bucket-policy --bucket {DESTINATION}` does)"));
    let observe = r#"{"spec":{"managementPolicy":"Observe"}}"#;
    stage.kubectl(&["patch", "br", NAME, "--type=merge", "-p", observe]).await?;
    // For a minute after its own write the operator takes what was there before for an old answer of S3, unless a check
    // has seen the write.
    stage.check_now(NAME, "before").await?;
    let there = stage.clients(DR_ACCOUNT).s3(DESTINATION_REGION);
    there.delete_bucket_policy().bucket(DESTINATION).send().await?;
    stage.check_now(NAME, "policy").await?;
    stage.kubectl(&["get", "br", NAME, "-o", STATUS_OF_DRIFT]).await?;
    let resource = stage.object("br", NAME).await?;
    let entries = resource.pointer("/status/drift").and_then(Value::as_array).cloned().unwrap_or_default();
    let of_policy = |entry: &Value| entry["resource"] == "DestinationBucketPolicy";
    stage.see("the status shows what is missing", !entries.is_empty() && entries.iter().all(of_policy))?;
    let enforce = r#"{"spec":{"managementPolicy":"Enforce"}}"#;
    stage.kubectl(&["patch", "br", NAME, "--type=merge", "-p", enforce]).await?;
    let resource = format!("br/{NAME}");
    stage.kubectl(&["wait", "--for=condition=InSync", &resource, "--timeout=30s"]).await?;
    stage.see(
        "the policy is back",
        write_policy(stage).await?.is_some_and(|p| p.contains("s3:ReplicateObject")),
    )?;
    replicate(stage, "0002").await
}

async fn not_allowed(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "The team tries to replicate into a bucket that it may not use",
        "The operator refuses it before it calls AWS, whatever admission accepted.",
    );
    stage.proxy.clear();
    let patch = r#"[{"op":"replace","path":"/spec/rules/0/destination/bucket","value":"orders-elsewhere"}]"#;
    stage.kubectl(&["patch", "br", NAME, "--type=json", "-p", patch]).await?;
    let refused = r#"--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=NotAllowed"#;
    stage.kubectl(&["wait", refused, &format!("br/{NAME}"), "--timeout=30s"]).await?;
    let message = stage.kubectl(&["get", "br", NAME, "-o", MESSAGE]).await?;
    stage.see("the message names the pattern", message.contains("*-dr-eu-west-1"))?;
    let asked = stage.proxy.calls().iter().any(|call| call.subject == "orders-elsewhere");
    stage.see("AWS was not asked about that bucket", !asked)?;
    stage.see("and nothing was written", stage.proxy.writes().is_empty())
}

async fn delete(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Delete the resource",
        "The operator deletes what it created in both accounts, although the resource is no longer allowed.",
    );
    stage.kubectl(&["delete", "br", NAME, "--timeout=30s"]).await?;
    stage.see(
        "the bucket of the other account has no policy any more",
        write_policy(stage).await?.is_none(),
    )?;
    stage.kubectl(&["delete", "awsacct", "prod", "dr"]).await.map(drop)
}

/// The policy of the destination.
async fn write_policy(stage: &Stage<'_>) -> Result<Option<String>> {
    let s3 = stage.clients(DR_ACCOUNT).s3(DESTINATION_REGION);
    match s3.get_bucket_policy().bucket(DESTINATION).send().await {
        Ok(answer) => Ok(answer.policy().map(str::to_owned)),
        Err(error) => match error.as_service_error().and_then(|e| e.meta().code()) {
            Some("NoSuchBucketPolicy") => Ok(None),
            _ => Err(error.into()),
        },
    }
}
