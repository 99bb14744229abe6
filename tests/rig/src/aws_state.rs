//! The contents of a few AWS accounts as data that fits a file. The rig reads them after a release has run, and
//! restores them for the next.
//!
//! In: an emulator that enforces no policies, and account ids. Out: buckets with their versioning, replication
//! configuration and policy, and roles with their tags, trust and policies.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::types::Tag;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clients::Clients;

/// The contents of these accounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsState {
    /// By account id.
    pub accounts: BTreeMap<String, Holdings>,
}

/// The contents of one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holdings {
    pub buckets: Vec<Bucket>,
    pub roles: Vec<Role>,
}

/// A bucket without its objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub name: String,
    pub region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<String>,
    /// The replication configuration, in the XML of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Value>,
}

/// A role with its inline policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    pub path: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<String>,
    pub trust: Value,
    pub tags: BTreeMap<String, String>,
    pub policies: BTreeMap<String, Value>,
}

impl AwsState {
    /// Reads what these accounts hold.
    pub async fn read(endpoint: &str, accounts: &[&str]) -> Result<Self> {
        let mut all = BTreeMap::new();
        for account in accounts {
            let emulated = Emulated { endpoint, account, clients: Clients::new(endpoint, account) };
            let holdings = Holdings { buckets: emulated.buckets().await?, roles: emulated.roles().await? };
            all.insert((*account).to_owned(), holdings);
        }
        Ok(Self { accounts: all })
    }

    /// Makes everything in accounts that hold nothing of it.
    pub async fn restore(&self, endpoint: &str) -> Result<()> {
        for (account, Holdings { buckets, roles }) in &self.accounts {
            let emulated = Emulated { endpoint, account, clients: Clients::new(endpoint, account) };
            for role in roles {
                emulated.restore_role(role).await.with_context(|| format!("role {}", role.name))?;
            }
            for bucket in buckets {
                emulated.restore_bucket(bucket).await.with_context(|| format!("bucket {}", bucket.name))?;
            }
        }
        // A configuration names buckets of other accounts, and S3 requires that both are versioned.
        for (account, Holdings { buckets, .. }) in &self.accounts {
            let emulated = Emulated { endpoint, account, clients: Clients::new(endpoint, account) };
            for bucket in buckets {
                if let Some(xml) = &bucket.replication {
                    emulated.replication(Method::PUT, bucket, xml).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes everything that it names and that is there.
    pub async fn remove(&self, endpoint: &str) -> Result<()> {
        for (account, Holdings { buckets, roles }) in &self.accounts {
            let clients = Clients::new(endpoint, account);
            for bucket in buckets {
                match clients.s3(&bucket.region).delete_bucket().bucket(&bucket.name).send().await {
                    Ok(_) => {}
                    Err(error) if error.code() == Some("NoSuchBucket") => {}
                    Err(error) => return Err(error.into()),
                }
            }
            for Role { name, policies, .. } in roles {
                let iam = clients.iam();
                if iam.get_role().role_name(name).send().await.is_err() {
                    continue;
                }
                for policy in policies.keys() {
                    // The operator may have removed it.
                    let _ = iam.delete_role_policy().role_name(name).policy_name(policy).send().await;
                }
                iam.delete_role().role_name(name).send().await?;
            }
        }
        Ok(())
    }

    /// A bucket of any account.
    pub fn bucket(&self, name: &str) -> Result<&Bucket> {
        let mut all = self.accounts.values().flat_map(|account| &account.buckets);
        all.find(|bucket| bucket.name == name).with_context(|| format!("no bucket {name}"))
    }

    /// All roles below a path.
    pub fn roles_at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Role> {
        self.accounts.values().flat_map(|account| &account.roles).filter(move |role| role.path == path)
    }
}

/// One account of an emulator.
struct Emulated<'a> {
    endpoint: &'a str,
    account: &'a str,
    clients: Clients,
}

impl Emulated<'_> {
    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let mut all = Vec::new();
        let listed = self.clients.s3("us-east-1").list_buckets().send().await?;
        for name in listed.buckets().iter().filter_map(|bucket| bucket.name()) {
            let located = self.clients.s3("us-east-1").get_bucket_location().bucket(name).send().await?;
            let region = located.location_constraint().map(|region| region.as_str().to_owned());
            let region = region.filter(|region| !region.is_empty()).unwrap_or("us-east-1".to_owned());
            let s3 = self.clients.s3(&region);
            let versioning = s3.get_bucket_versioning().bucket(name).send().await?.status;
            let policy = match s3.get_bucket_policy().bucket(name).send().await {
                Ok(answer) => answer.policy().map(serde_json::from_str).transpose()?,
                Err(error) if error.code() == Some("NoSuchBucketPolicy") => None,
                Err(error) => return Err(error.into()),
            };
            let mut bucket = Bucket {
                name: name.to_owned(),
                region,
                versioning: versioning.map(|status| status.as_str().to_owned()),
                replication: None,
                policy,
            };
            bucket.replication = self.replication(Method::GET, &bucket, "").await?;
            all.push(bucket);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    async fn roles(&self) -> Result<Vec<Role>> {
        let iam = self.clients.iam();
        let mut all = Vec::new();
        let listed = iam.list_roles().send().await?;
        for listed in listed.roles().iter().filter(|role| !role.path().starts_with("/aws-")) {
            let name = listed.role_name();
            let answer = iam.get_role().role_name(name).send().await?;
            let role = answer.role().with_context(|| format!("no role {name}"))?;
            let mut policies = BTreeMap::new();
            for policy in iam.list_role_policies().role_name(name).send().await?.policy_names() {
                let held = iam.get_role_policy().role_name(name).policy_name(policy).send().await?;
                policies.insert(policy.clone(), document(held.policy_document())?);
            }
            all.push(Role {
                path: role.path().to_owned(),
                name: name.to_owned(),
                description: role.description().filter(|text| !text.is_empty()).map(str::to_owned),
                permissions_boundary: role
                    .permissions_boundary()
                    .and_then(|boundary| boundary.permissions_boundary_arn())
                    .map(str::to_owned),
                trust: document(role.assume_role_policy_document().unwrap_or_default())?,
                tags: role.tags().iter().map(|t| (t.key().to_owned(), t.value().to_owned())).collect(),
                policies,
            });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    async fn restore_bucket(&self, bucket: &Bucket) -> Result<()> {
        let Bucket { name, region, versioning, replication: _, policy } = bucket;
        let s3 = self.clients.s3(region);
        let mut create = s3.create_bucket().bucket(name);
        // S3 rejects us-east-1 as an explicit location.
        if region != "us-east-1" {
            let location = BucketLocationConstraint::from(region.as_str());
            let configuration = CreateBucketConfiguration::builder().location_constraint(location).build();
            create = create.create_bucket_configuration(configuration);
        }
        create.send().await?;
        if let Some(status) = versioning {
            let status = BucketVersioningStatus::from(status.as_str());
            let configuration = VersioningConfiguration::builder().status(status).build();
            s3.put_bucket_versioning().bucket(name).versioning_configuration(configuration).send().await?;
        }
        if let Some(policy) = policy {
            s3.put_bucket_policy().bucket(name).policy(policy.to_string()).send().await?;
        }
        Ok(())
    }

    async fn restore_role(&self, role: &Role) -> Result<()> {
        let Role { path, name, description, permissions_boundary, trust, tags, policies } = role;
        let iam = self.clients.iam();
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        iam.create_role()
            .role_name(name)
            .path(path)
            .set_description(description.clone())
            .set_permissions_boundary(permissions_boundary.clone())
            .assume_role_policy_document(trust.to_string())
            .set_tags(Some(tags.collect::<Result<_, _>>()?))
            .send()
            .await?;
        for (policy, document) in policies {
            let put = iam.put_role_policy().role_name(name).policy_name(policy);
            put.policy_document(document.to_string()).send().await?;
        }
        Ok(())
    }

    /// Reads or writes a replication configuration in the XML of S3: the SDK's types fit no file.
    async fn replication(&self, method: Method, bucket: &Bucket, body: &str) -> Result<Option<String>> {
        let Bucket { name, region, .. } = bucket;
        let scope = format!("{}/20261123/{region}/s3/aws4_request", self.account);
        let request = Request::builder()
            .method(&method)
            .uri(format!("{}/{name}?replication", self.endpoint))
            // An emulator that enforces no policies takes the account from this and verifies nothing.
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
            )
            .body(Full::new(Bytes::from(body.to_owned())))?;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.context("the emulator does not answer")?;
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        if method == Method::GET && text.contains("ReplicationConfigurationNotFoundError") {
            return Ok(None);
        }
        ensure!(status.is_success(), "{method} replication of {name}: {status} {text}");
        Ok(Some(text))
    }
}

/// A policy document of IAM, which returns it percent-encoded.
fn document(text: &str) -> Result<Value> {
    let decoded = percent_decode_str(text).decode_utf8()?;
    serde_json::from_str(&decoded).with_context(|| format!("{decoded} is no policy document"))
}
