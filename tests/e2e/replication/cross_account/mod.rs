//! Replication between two accounts: versioning and policies on both sides, and real objects.

mod both_sides;
mod bucket_policy;
mod command_line;
mod deleted_principals;
mod orphans;
mod unreached;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use rig::Clients;
use rig::operator::Operator;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, SOURCE_REGION, operator_of, person, replication};

/// Two accounts: `home` is that of the operator's identity; in `abroad` the operator assumes a role.
pub struct TwoAccounts {
    pub world: World,
    pub abroad_id: String,
    /// The names of the two `AwsAccount`s.
    pub home: String,
    pub abroad: String,
    pub source: String,
    pub destination: String,
    pub operator: Operator,
}

/// Permits everything in an account. Another test shows the least privilege.
const ALL: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

impl TwoAccounts {
    async fn new(name: &str) -> Result<TwoAccounts> {
        let world = World::with_accounts(name).await?;
        let abroad_id = world.another_account();
        let role = world.assumable_role(&abroad_id, "operator", &world.account, None, ALL).await?;
        let (home, abroad) = (world.unique("home"), world.unique("abroad"));
        world.apply(&account(&world, &home, &world.account, None).to_string()).await?;
        world.apply(&account(&world, &abroad, &abroad_id, Some(&role)).to_string()).await?;
        let (source, destination) =
            (world.bucket(SOURCE_REGION).await?, world.bucket_of(&abroad_id, DESTINATION_REGION).await?);
        let operator = operator_of(&world).start().await?;
        Ok(TwoAccounts { world, abroad_id, home, abroad, source, destination, operator })
    }

    /// A resource that replicates from one account into the other, with an `accountRef` on both sides.
    fn resource(&self) -> Value {
        let mut resource = replication("orders", &self.source, &self.destination);
        resource["spec"]["source"]["accountRef"] = json!(self.home);
        resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(self.abroad);
        resource
    }

    async fn ready(name: &str) -> Result<TwoAccounts> {
        let two = TwoAccounts::new(name).await?;
        two.world.apply(&two.resource().to_string()).await?;
        two.world.wait_ready("orders").await?;
        Ok(two)
    }

    fn other_side(&self) -> Clients {
        self.world.as_account(&self.abroad_id)
    }

    async fn policy(&self) -> Result<Option<Value>> {
        policy_of(&self.other_side().s3(DESTINATION_REGION), &self.destination).await
    }

    async fn put_policy(&self, policy: &Value) -> Result<()> {
        let s3 = self.other_side().s3(DESTINATION_REGION);
        s3.put_bucket_policy().bucket(&self.destination).policy(policy.to_string()).send().await?;
        Ok(())
    }

    /// Writes the bucket policy as another tool would, without the operator's statements.
    async fn write_policy_of_others(&self) -> Result<()> {
        let theirs = [statement_of_others(&self.destination)];
        self.put_policy(&json!({"Version": "2012-10-17", "Statement": theirs})).await
    }

    /// Checks that the policy holds the statement of others and those of the operator.
    async fn check_both_kept(&self) -> Result<()> {
        let policy = self.policy().await?.context("no policy")?;
        let all = policy["Statement"].as_array().context("no list")?;
        ensure!(all.contains(&statement_of_others(&self.destination)), "theirs is lost: {policy:#}");
        ensure!(statements_of_operator(&policy).len() == 2, "the operator's are lost: {policy:#}");
        Ok(())
    }

    /// Writes an object into the source. Returns its replication status there, and whether it arrived.
    async fn send_object(&self, key: &str) -> Result<(String, bool)> {
        let s3 = self.world.s3(SOURCE_REGION);
        let body = ByteStream::from_static(b"order");
        s3.put_object().bucket(&self.source).key(key).body(body).send().await?;
        let head = s3.head_object().bucket(&self.source).key(key).send().await?;
        let status = head.replication_status().map(|s| s.as_str().to_owned()).unwrap_or_default();
        let arrived = self
            .other_side()
            .s3(DESTINATION_REGION)
            .head_object()
            .bucket(&self.destination)
            .key(key)
            .send()
            .await
            .is_ok();
        Ok((status, arrived))
    }
}

async fn policy_of(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<Option<Value>> {
    match s3.get_bucket_policy().bucket(bucket).send().await {
        Ok(answer) => Ok(Some(serde_json::from_str(answer.policy().context("no policy")?)?)),
        Err(error) if error.code() == Some("NoSuchBucketPolicy") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An `AwsAccount` that allows the world's namespace the buckets whose names begin with it.
fn account(world: &World, name: &str, id: &str, role: Option<&str>) -> Value {
    let mut account = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": name},
        "spec": {
            "accountId": id,
            "namespaces": {"matchNames": [world.namespace]},
            "sources": [format!("{}-*", world.namespace)],
            "destinations": [format!("{}-*", world.namespace)],
        },
    });
    if let Some(arn) = role {
        account["spec"]["assumeRole"] = json!({"arn": arn});
    }
    account
}

/// The operator's statements: their Sids begin with `S3Replication`.
fn statements_of_operator(policy: &Value) -> Vec<&Value> {
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_operator = |s: &&Value| s["Sid"].as_str().is_some_and(|sid| sid.starts_with("S3Replication"));
    statements.iter().filter(of_operator).collect()
}

fn statement_of_others(bucket: &str) -> Value {
    json!({"Sid": "OnlyTls", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": ["s3:PutObject"],
        "Resource": format!("arn:aws:s3:::{bucket}/*"),
        "Condition": {"Bool": {"aws:SecureTransport": ["false"]}, "StringEquals": {"aws:PrincipalTag/a": "b"}}})
}

async fn read_account(world: &World, name: &str) -> Result<Value> {
    let mut account = world.account(name).await?;
    account["apiVersion"] = json!("s3replication.dev/v1alpha1");
    account["kind"] = json!("AwsAccount");
    Ok(account)
}

/// The output of `policy -o json` for files.
async fn printed(world: &World, files: &str) -> Result<Value> {
    let output = person(world).run(["policy", "-f", "-", "-o", "json"], files).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
