//! Every field of the spec, written through the API server and read back from S3 and IAM: set, changed and removed.

mod policies;
mod role;
mod rules;
mod wordings;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aws_sdk_s3::types as s3;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Scene, decode_policy, set, strings};

const KMS_SOURCE: &str = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555";

const KMS_REPLICAS: &str = "arn:aws:kms:eu-west-1:111122223333:key/66666666-7777-8888-9999-000000000000";

impl Scene {
    /// Edits the spec as `kubectl edit` does, without waiting for the result.
    async fn edit_spec(&self, edits: &[(&str, Value)]) -> Result<()> {
        let mut spec = json!({"spec": self.world.get("orders").await?["spec"]});
        for (path, value) in edits {
            set(&mut spec, &format!("spec.{path}"), value.clone());
        }
        let patch = json!([{"op": "replace", "path": "/spec", "value": spec["spec"]}]);
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch)?);
        self.world.api().patch("orders", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Edits the spec and waits until the resource is Ready with it.
    async fn change_spec(&self, edits: &[(&str, Value)]) -> Result<Value> {
        self.edit_spec(edits).await?;
        self.world.wait_ready("orders").await
    }

    /// The rules in S3 by id, with the field names of S3's API.
    async fn rules(&self) -> Result<BTreeMap<String, Value>> {
        let held = self.configuration().await?;
        Ok(held
            .rules()
            .iter()
            .map(|rule| (rule.id().unwrap_or_default().to_owned(), rule_as_data(rule)))
            .collect())
    }

    /// The only rule.
    async fn rule(&self) -> Result<Value> {
        let rules = self.rules().await?;
        assert_eq!(rules.len(), 1, "{rules:?}");
        rules.into_values().next().context("no rule")
    }

    async fn role(&self, name: &str) -> Result<aws_sdk_iam::types::Role> {
        let held = self.world.iam().get_role().role_name(name).send().await?;
        held.role.context("IAM answers without a role")
    }

    async fn user_role_tags(&self) -> Result<BTreeMap<String, String>> {
        let role = self.role("orders-role").await?;
        let own = |key: &str| key.starts_with("s3replication.dev/");
        let tags = role.tags().iter().filter(|tag| !own(tag.key()));
        Ok(tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
    }

    /// The role's policy.
    async fn role_policy(&self) -> Result<Value> {
        let iam = self.world.iam();
        let names = iam.list_role_policies().role_name("orders-role").send().await?;
        let [name] = names.policy_names() else { anyhow::bail!("policies: {:?}", names.policy_names()) };
        let held = iam.get_role_policy().role_name("orders-role").policy_name(name).send().await?;
        decode_policy(held.policy_document())
    }

    async fn grants(&self) -> Result<BTreeSet<(String, String)>> {
        Ok(flat(&self.role_policy().await?))
    }

    /// The names of the operator's roles in this account.
    async fn roles(&self) -> Result<Vec<String>> {
        let held = self.world.iam().list_roles().send().await?;
        let ours = held.roles().iter().filter(|role| !role.path().starts_with("/aws-service-role/"));
        Ok(ours.map(|role| role.role_name().to_owned()).collect())
    }
}

/// The pairs of action and resource that a policy allows.
fn flat(policy: &Value) -> BTreeSet<(String, String)> {
    let mut grants = BTreeSet::new();
    for statement in policy["Statement"].as_array().into_iter().flatten() {
        assert_eq!(statement["Effect"], "Allow");
        for action in strings(&statement["Action"]) {
            grants.extend(
                strings(&statement["Resource"]).into_iter().map(|resource| (action.clone(), resource)),
            );
        }
    }
    grants
}

/// Pairs of action and resource, from a list of resources with their actions.
fn granted(list: &[(&str, &[&str])]) -> BTreeSet<(String, String)> {
    let pairs =
        list.iter().flat_map(|(resource, actions)| actions.iter().map(move |action| (*action, *resource)));
    pairs.map(|(action, resource)| (action.to_owned(), resource.to_owned())).collect()
}

/// A rule in S3, with the field names of S3's API.
fn rule_as_data(rule: &s3::ReplicationRule) -> Value {
    let tag = |t: &s3::Tag| json!({t.key(): t.value()});
    let filter = rule.filter().map(|filter| match (filter.prefix(), filter.tag(), filter.and()) {
        (Some(prefix), None, None) => json!({"Prefix": prefix}),
        (None, Some(one), None) => json!({"Tag": tag(one)}),
        (None, None, Some(and)) => json!({"And": {
            "Prefix": and.prefix(),
            "Tags": and.tags().iter().map(|t| (t.key().to_owned(), json!(t.value()))).collect::<BTreeMap<_, _>>(),
        }}),
        (None, None, None) => json!({}),
        other => panic!("S3 allows one kind of filter: {other:?}"),
    });
    let criteria = rule.source_selection_criteria();
    let mut data = json!({
        "Status": rule.status().as_str(),
        "Priority": rule.priority(),
        "Filter": filter,
        "DeleteMarkerReplication": rule.delete_marker_replication().and_then(|m| m.status()).map(|s| s.as_str()),
        "ReplicaModifications": criteria.and_then(|c| c.replica_modifications()).map(|m| m.status().as_str()),
        "SseKmsEncryptedObjects": criteria.and_then(|c| c.sse_kms_encrypted_objects()).map(|k| k.status().as_str()),
    });
    if let Some(to) = rule.destination() {
        let time = to.replication_time();
        let metrics = to.metrics();
        data["Destination"] = json!({
            "Bucket": to.bucket(),
            "Account": to.account(),
            "StorageClass": to.storage_class().map(|c| c.as_str()),
            "Owner": to.access_control_translation().map(|t| t.owner().as_str()),
            "ReplicaKmsKeyID": to.encryption_configuration().and_then(|e| e.replica_kms_key_id()),
            "ReplicationTime": time.map(|t| json!([t.status().as_str(), t.time().and_then(|v| v.minutes())])),
            "Metrics": metrics.map(|m| json!([m.status().as_str(), m.event_threshold().and_then(|v| v.minutes())])),
        });
    }
    data
}
