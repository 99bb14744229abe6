//! Creates users, roles and buckets in AWS for a test, in the world's account and in others.

use anyhow::{Context, Result};
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};
use serde_json::json;

use super::{World, new_account, unique};
use crate::clients::Clients;
use crate::proxy::Trail;

const ALLOW_ALL: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

impl World {
    /// Creates an IAM user of this account with one inline policy, and returns its access key id and secret. For worlds
    /// whose emulator enforces policies.
    pub async fn user(&self, name: &str, policy: &str) -> Result<(String, String)> {
        let iam = self.iam();
        iam.create_user().user_name(name).send().await?;
        iam.put_user_policy()
            .user_name(name)
            .policy_name("inline")
            .policy_document(policy)
            .send()
            .await
            .with_context(|| format!("the policy of user {name} is not accepted"))?;
        let created = iam.create_access_key().user_name(name).send().await?;
        let key =
            created.access_key().with_context(|| format!("the emulator gave user {name} no access key"))?;
        Ok((key.access_key_id().to_owned(), key.secret_access_key().to_owned()))
    }

    /// Creates a role with one inline policy in an account, and returns its ARN. The account `trusted` may assume it,
    /// with this external id if there is one. If the emulator enforces no policies, anybody can assume it.
    pub async fn assumable_role(
        &self,
        account: &str,
        name: &str,
        trusted: &str,
        external_id: Option<&str>,
        policy: &str,
    ) -> Result<String> {
        let mut statement = json!({
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{trusted}:root")},
            "Action": "sts:AssumeRole",
        });
        if let Some(id) = external_id {
            statement["Condition"] = json!({"StringEquals": {"sts:ExternalId": id}});
        }
        let trust = json!({"Version": "2012-10-17", "Statement": [statement]});
        let iam = self.as_account(account).iam();
        let created =
            iam.create_role().role_name(name).assume_role_policy_document(trust.to_string()).send().await;
        let created = created.with_context(|| format!("cannot create the role {name} in {account}"))?;
        let put = iam.put_role_policy().role_name(name).policy_name("inline").policy_document(policy);
        put.send().await.with_context(|| format!("the policy of role {name} is not accepted"))?;
        let role = created.role().with_context(|| format!("the emulator shows no role {name}"))?;
        Ok(role.arn().to_owned())
    }

    /// Creates a policy that allows everything, for a permissions boundary. Returns its ARN.
    pub async fn boundary(&self, account: &str, name: &str) -> Result<String> {
        let create = self.as_account(account).iam().create_policy().policy_name(name);
        let created = create.policy_document(ALLOW_ALL).send().await?;
        created.policy.and_then(|policy| policy.arn).context("the emulator named no ARN of the policy")
    }

    /// Creates a queue, and has events sent to it of all changes that come through the proxy. Returns its URL.
    pub async fn event_queue(&self) -> Result<String> {
        let sqs = self.as_account(&self.account).sqs("us-east-1");
        let created = sqs.create_queue().queue_name(unique("events")).send().await?;
        let url = created.queue_url.context("the emulator named no URL of the queue")?;
        self.proxy.record_changes(Trail::to(sqs, &url));
        Ok(url)
    }

    /// Someone else in the world's account, whose calls go through the proxy: each change has an event. Once in a
    /// world.
    pub async fn somebody(&self) -> Result<Clients> {
        let role = self.assumable_role(&self.account, "somebody", &self.account, None, ALLOW_ALL).await?;
        let session = self.as_account(&self.account).assume(&role, "somebody", None).await?;
        Ok(session.through(&self.proxy.url()))
    }

    /// An account that no other test uses.
    pub fn another_account(&self) -> String {
        new_account()
    }

    /// A name for a bucket that no other test uses.
    pub fn bucket_name(&self) -> String {
        unique(&self.namespace)
    }

    /// Creates a bucket without versioning, and returns its name.
    pub async fn bucket(&self, region: &str) -> Result<String> {
        self.bucket_of(&self.account, region).await
    }

    /// Creates a bucket that belongs to another account.
    pub async fn bucket_of(&self, account: &str, region: &str) -> Result<String> {
        let name = self.bucket_name();
        self.create_bucket(account, region, &name).await?;
        Ok(name)
    }

    /// Creates a bucket and turns versioning on.
    pub async fn versioned_bucket(&self, region: &str) -> Result<String> {
        self.versioned_bucket_of(&self.account, region).await
    }

    /// Creates a bucket that belongs to another account and turns versioning on.
    pub async fn versioned_bucket_of(&self, account: &str, region: &str) -> Result<String> {
        let name = self.bucket_of(account, region).await?;
        let s3 = self.as_account(account).s3(region);
        put_versioning(&s3, &name, BucketVersioningStatus::Enabled).await?;
        Ok(name)
    }

    /// Creates a bucket of a given name.
    pub async fn create_bucket(&self, account: &str, region: &str, name: &str) -> Result<()> {
        let mut request = self.as_account(account).s3(region).create_bucket().bucket(name);
        // S3 rejects us-east-1 as an explicit location.
        if region != "us-east-1" {
            let location = BucketLocationConstraint::from(region);
            request = request.create_bucket_configuration(
                CreateBucketConfiguration::builder().location_constraint(location).build(),
            );
        }
        request.send().await.with_context(|| format!("cannot create the bucket {name} in {region}"))?;
        Ok(())
    }

    /// Enables or suspends the versioning of a bucket, as a person does.
    pub async fn set_versioning(
        &self,
        region: &str,
        bucket: &str,
        status: BucketVersioningStatus,
    ) -> Result<()> {
        put_versioning(&self.s3(region), bucket, status).await
    }
}

async fn put_versioning(s3: &aws_sdk_s3::Client, bucket: &str, status: BucketVersioningStatus) -> Result<()> {
    s3.put_bucket_versioning()
        .bucket(bucket)
        .versioning_configuration(VersioningConfiguration::builder().status(status).build())
        .send()
        .await
        .with_context(|| format!("cannot set the versioning of {bucket}"))?;
    Ok(())
}
