//! The ownership of a role, a configuration and a source. The operator leaves alone or adopts what someone else made,
//! one resource owns a source, and deletion removes what the operator made and nothing else.

mod deletion;
mod foreign;
mod renaming;
mod sources;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_iam::types::Tag as RoleTag;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::Api;
use serde_json::{Value, json};

use crate::support::{NAME, POLICY, ROLE, Scene, message, reason};

const FINALIZER: &str = "s3replication.dev/finalizer";

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

const READ_ONLY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

impl Scene {
    /// Creates a role as someone else would, with these tags and a policy with the operator's policy name.
    async fn make_role(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<String> {
        let tags = tags
            .iter()
            .map(|(k, v)| RoleTag::builder().key(k).value(v).build())
            .collect::<Result<Vec<_>, _>>()?;
        let iam = self.world.iam();
        let request =
            iam.create_role().role_name(name).path("/s3-replication/").assume_role_policy_document(TRUST);
        let made = request.set_tags(Some(tags)).send().await?;
        let nothing =
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;
        iam.put_role_policy().role_name(name).policy_name(POLICY).policy_document(nothing).send().await?;
        Ok(made.role.context("no role")?.arn)
    }

    /// Gives the source a configuration as someone else would.
    async fn make_configuration(&self, role: &str, rule: &str) -> Result<()> {
        let s3 = self.world.s3("us-east-1");
        self.world.set_versioning("us-east-1", &self.source, BucketVersioningStatus::Enabled).await?;
        self.world.set_versioning("eu-west-1", &self.destination, BucketVersioningStatus::Enabled).await?;
        let markers =
            DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Disabled).build();
        let rule = ReplicationRule::builder()
            .id(rule)
            .priority(9)
            .status(ReplicationRuleStatus::Enabled)
            .filter(ReplicationRuleFilter::builder().prefix("theirs/").build())
            .delete_marker_replication(markers)
            .destination(Destination::builder().bucket(format!("arn:aws:s3:::{}", self.destination)).build()?)
            .build()?;
        let configuration = ReplicationConfiguration::builder().role(role).rules(rule).build()?;
        s3.put_bucket_replication()
            .bucket(&self.source)
            .replication_configuration(configuration)
            .send()
            .await?;
        Ok(())
    }

    /// The IDs of the rules and the name of the role that replicate the source.
    async fn rules_and_role(&self) -> Result<Option<(Vec<String>, String)>> {
        Ok(self.find_configuration().await?.map(|c| {
            let ids = c.rules.iter().filter_map(|r| r.id().map(str::to_owned)).collect();
            (ids, c.role.rsplit('/').next().unwrap_or_default().to_owned())
        }))
    }

    async fn role_exists(&self, name: &str) -> Result<bool> {
        match self.world.iam().get_role().role_name(name).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("NoSuchEntity") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn all_role_tags(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let held = self.world.iam().list_role_tags().role_name(name).send().await?;
        Ok(held.tags().iter().map(|t| (t.key().to_owned(), t.value().to_owned())).collect())
    }

    /// The tags of a role that belongs to this resource.
    async fn tags_of(&self, cluster: &str, uid: &str) -> BTreeMap<String, String> {
        let tag = |key: &str, value: &str| (format!("s3replication.dev/{key}"), value.to_owned());
        let namespace = &self.world.namespace;
        [tag("cluster", cluster), tag("namespace", namespace), tag("name", NAME), tag("uid", uid)].into()
    }

    async fn cluster(&self) -> Result<String> {
        let namespaces: Api<Namespace> = Api::all(self.world.kube.clone());
        namespaces.get("kube-system").await?.uid().context("kube-system has no UID")
    }

    /// Checks that the resource is refused for this reason and that nothing was written to AWS.
    async fn check_refused(&self, expected: &str, about: &str, parts: &[&str]) -> Result<()> {
        let status = self.check().await?;
        assert_eq!(reason(&status, "Ready"), expected, "{status:#}");
        assert_eq!(reason(&status, about), expected, "{status:#}");
        assert_eq!(reason(&status, "Stalled"), expected, "{status:#}");
        for part in parts {
            assert!(
                message(&status, "Ready").contains(part),
                "{part:?} is not in {:?}",
                message(&status, "Ready")
            );
        }
        assert_eq!(
            (&status["drift"], &status["driftCount"]),
            (&Value::Null, &json!(0)),
            "what is foreign is no drift"
        );
        self.check_nothing_written();
        Ok(())
    }

    fn check_nothing_written(&self) {
        assert!(self.world.proxy.writes().is_empty(), "{:?}", self.world.proxy.writes());
    }
}

fn by_operator() -> Option<(Vec<String>, String)> {
    Some((vec!["ReplicateToEU".to_owned()], ROLE.to_owned()))
}
