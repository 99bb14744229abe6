//! AWS as a person at its console uses it: reads, objects, and changes that the operator does not know of. The calls go
//! past the proxy, so that the proxy counts only the operator's.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, ReplicationConfiguration,
    StorageClass, VersioningConfiguration,
};
use percent_encoding::percent_decode_str;
use rig::Clients;
use serde_json::Value;

use super::example::Example;

pub const SOURCE_REGION: &str = "us-east-1";
pub const DESTINATION_REGION: &str = "eu-west-1";

pub struct Cloud {
    example: Example,
    source: aws_sdk_s3::Client,
    destination: aws_sdk_s3::Client,
    iam: aws_sdk_iam::Client,
}

impl Cloud {
    pub fn new(clients: &Clients, example: Example) -> Self {
        Self {
            example,
            source: clients.s3(SOURCE_REGION),
            destination: clients.s3(DESTINATION_REGION),
            iam: clients.iam(),
        }
    }

    pub async fn create_buckets(&self) -> Result<()> {
        self.source.create_bucket().bucket(&self.example.source).send().await?;
        let location = BucketLocationConstraint::from(DESTINATION_REGION);
        let location = CreateBucketConfiguration::builder().location_constraint(location).build();
        let create = self.destination.create_bucket().bucket(&self.example.destination);
        create.create_bucket_configuration(location).send().await?;
        Ok(())
    }

    /// Everything that the operator manages, as AWS holds it now.
    pub async fn read(&self) -> Result<Held> {
        let Example { source, destination, .. } = &self.example;
        Ok(Held {
            versioning: [
                (source.clone(), versioning(&self.source, source).await?),
                (destination.clone(), versioning(&self.destination, destination).await?),
            ],
            role: self.role().await?,
            configuration: self.configuration().await?,
        })
    }

    async fn role(&self) -> Result<Option<HeldRole>> {
        let name = &self.example.role;
        let role = match self.iam.get_role().role_name(name).send().await {
            Ok(answer) => answer.role().context("GetRole answered without a role")?.clone(),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_entity_exception()) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let trust = document(role.assume_role_policy_document().unwrap_or_default())?;
        let trusted = trust.pointer("/Statement/0/Principal/Service").and_then(Value::as_str);
        let policy = self.policy().await?;
        Ok(Some(HeldRole {
            arn: role.arn().to_owned(),
            trusted: trusted.unwrap_or("nobody").to_owned(),
            actions: policy.map(|(_, policy)| actions(&policy)).unwrap_or_default(),
        }))
    }

    /// The name and the document of the role's policy.
    async fn policy(&self) -> Result<Option<(String, Value)>> {
        let role = &self.example.role;
        let names = self.iam.list_role_policies().role_name(role).send().await?;
        let Some(name) = names.policy_names().first() else {
            return Ok(None);
        };
        let policy = self.iam.get_role_policy().role_name(role).policy_name(name).send().await?;
        Ok(Some((name.clone(), document(policy.policy_document())?)))
    }

    async fn configuration(&self) -> Result<Option<ReplicationConfiguration>> {
        match self.source.get_bucket_replication().bucket(&self.example.source).send().await {
            Ok(answer) => Ok(answer.replication_configuration().cloned()),
            Err(error) => {
                let code = error.as_service_error().and_then(|e| e.meta().code());
                match code {
                    Some("ReplicationConfigurationNotFoundError") => Ok(None),
                    _ => Err(error.into()),
                }
            }
        }
    }

    pub async fn write(&self, object: &Object) -> Result<()> {
        let tags = object.tags.iter().map(|(key, value)| format!("{key}={value}"));
        let put = self.source.put_object().bucket(&self.example.source).key(&object.key);
        put.set_metadata(Some(object.metadata.clone().into_iter().collect()))
            .tagging(tags.collect::<Vec<_>>().join("&"))
            .body(object.body.clone().into_bytes().into())
            .send()
            .await?;
        Ok(())
    }

    /// The object with this key in the destination, and its replication status there.
    pub async fn replica(&self, key: &str) -> Result<Option<(Object, String)>> {
        let bucket = &self.example.destination;
        let got = match self.destination.get_object().bucket(bucket).key(key).send().await {
            Ok(got) => got,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let tags = self.destination.get_object_tagging().bucket(bucket).key(key).send().await?;
        let status = got.replication_status().map(|s| s.as_str().to_owned()).unwrap_or_default();
        let metadata = got.metadata().cloned().unwrap_or_default().into_iter().collect();
        let body = String::from_utf8(got.body.collect().await?.to_vec())?;
        let tags = tags.tag_set().iter().map(|t| (t.key().to_owned(), t.value().to_owned())).collect();
        Ok(Some((Object { key: key.to_owned(), body, metadata, tags }, status)))
    }

    pub async fn suspend_destination(&self) -> Result<()> {
        let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
        let put = self.destination.put_bucket_versioning().bucket(&self.example.destination);
        put.versioning_configuration(suspended).send().await?;
        Ok(())
    }

    pub async fn set_storage_class(&self, class: &str) -> Result<()> {
        let mut configuration = self.configuration().await?.context("there is no configuration to change")?;
        for rule in &mut configuration.rules {
            if let Some(destination) = &mut rule.destination {
                destination.storage_class = Some(StorageClass::from(class));
            }
        }
        let put = self.source.put_bucket_replication().bucket(&self.example.source);
        put.replication_configuration(configuration).send().await?;
        Ok(())
    }

    pub async fn take_action_from_policy(&self, action: &str) -> Result<()> {
        let (name, mut policy) = self.policy().await?.context("there is no policy to change")?;
        let statements = policy.pointer_mut("/Statement").and_then(Value::as_array_mut);
        for statement in statements.into_iter().flatten() {
            if let Some(actions) = statement["Action"].as_array_mut() {
                actions.retain(|held| held != action);
            }
        }
        let put = self.iam.put_role_policy().role_name(&self.example.role).policy_name(name);
        put.policy_document(policy.to_string()).send().await?;
        Ok(())
    }
}

async fn versioning(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<String> {
    let answer = s3.get_bucket_versioning().bucket(bucket).send().await?;
    Ok(answer.status().map_or("never enabled", |status| status.as_str()).to_owned())
}

/// IAM returns documents percent-encoded.
fn document(text: &str) -> Result<Value> {
    let decoded = percent_decode_str(text).decode_utf8()?;
    serde_json::from_str(&decoded).context("IAM answered a document that is no JSON")
}

fn actions(policy: &Value) -> Vec<String> {
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = statements.iter().flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.iter().filter_map(Value::as_str).collect(),
        one => Vec::from_iter(one.as_str()),
    });
    all.map(str::to_owned).collect()
}

/// An object with everything that S3 replicates along with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    pub body: String,
    pub metadata: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, body, metadata, tags } = self;
        write!(f, "{key}: {body:?}, metadata {metadata:?}, tags {tags:?}")
    }
}

/// The state of AWS.
pub struct Held {
    /// Of the source and of the destination.
    pub versioning: [(String, String); 2],
    pub role: Option<HeldRole>,
    pub configuration: Option<ReplicationConfiguration>,
}

pub struct HeldRole {
    pub arn: String,
    /// The service that may assume the role.
    pub trusted: String,
    pub actions: Vec<String>,
}

impl Held {
    /// Whether versioning of both buckets is as given.
    pub fn versioning_is(&self, status: &str) -> bool {
        self.versioning.iter().all(|(_, held)| held == status)
    }

    /// The storage class of the one rule.
    pub fn storage_class(&self) -> Option<&str> {
        let [rule] = self.configuration.as_ref()?.rules() else {
            return None;
        };
        Some(rule.destination()?.storage_class()?.as_str())
    }

    pub fn allows(&self, action: &str) -> bool {
        self.role.iter().flat_map(|role| &role.actions).any(|held| held == action)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bucket, versioning) in &self.versioning {
            writeln!(f, "versioning     {bucket}: {versioning}")?;
        }
        match &self.role {
            None => writeln!(f, "role           none")?,
            Some(HeldRole { arn, trusted, actions }) => {
                writeln!(f, "role           {arn}, trusted: {trusted}")?;
                writeln!(f, "role's policy  {}", actions.join(" "))?;
            }
        }
        let Some(configuration) = &self.configuration else {
            return write!(f, "configuration  none");
        };
        write!(f, "configuration  role {}", configuration.role())?;
        for rule in configuration.rules() {
            let to = rule.destination();
            write!(
                f,
                "\n               rule {} {}, priority {}, prefix {:?} -> {} {}",
                rule.id().unwrap_or_default(),
                rule.status().as_str(),
                rule.priority().map(|p| p.to_string()).unwrap_or_default(),
                rule.filter().and_then(|filter| filter.prefix()).unwrap_or_default(),
                to.map(|to| to.bucket()).unwrap_or_default(),
                to.and_then(|to| to.storage_class()).map(|class| class.as_str()).unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}
