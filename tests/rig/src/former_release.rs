//! The remains of a former release, as `tests/upgrade` keeps them.
//!
//! In: the name of a scenario. Out: its objects in Kubernetes and what it made in AWS, as data.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::aws_state::AwsState;
use crate::paths;

/// The objects that a release left in Kubernetes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeftObjects {
    /// The UID of the namespace `kube-system`.
    pub cluster_uid: String,
    /// As the API server returned them.
    pub objects: Vec<Value>,
}

/// The remains of a release in Kubernetes and in AWS.
#[derive(Debug, Clone)]
pub struct FormerState {
    pub left: LeftObjects,
    pub aws: AwsState,
}

/// The folder of the former release.
pub fn folder() -> PathBuf {
    paths::repository().join("tests/upgrade/0.0.9")
}

/// The chart of the former release.
pub fn chart() -> PathBuf {
    folder().join("chart")
}

/// The folder with the definitions of the former release.
pub fn crds() -> PathBuf {
    chart().join("files/crds")
}

/// An object as a user would apply it, with its finalizers.
pub fn without_bookkeeping(object: &Value) -> Value {
    let mut applied = object.clone();
    if let Some(metadata) = applied["metadata"].as_object_mut() {
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            metadata.remove(field);
        }
    }
    if let Some(fields) = applied.as_object_mut() {
        fields.remove("status");
    }
    applied
}

impl FormerState {
    /// Reads a scenario.
    pub fn read(scenario: &str) -> Result<Self> {
        let read = |name: &str| {
            let path = folder().join(scenario).join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let left = serde_json::from_str(&read("kubernetes.json")?)?;
        Ok(Self { left, aws: serde_json::from_str(&read("aws.json")?)? })
    }

    /// Writes a scenario.
    pub fn write(&self, scenario: &str) -> Result<()> {
        let to = folder().join(scenario);
        fs::create_dir_all(&to)?;
        let pretty = |value: Value| serde_json::to_string_pretty(&value).map(|text| text + "\n");
        fs::write(to.join("kubernetes.json"), pretty(json!(self.left))?)?;
        fs::write(to.join("aws.json"), pretty(json!(self.aws))?)?;
        Ok(())
    }

    /// The `BucketReplication`s.
    pub fn replications(&self) -> impl Iterator<Item = &Value> {
        self.left.objects.iter().filter(|object| object["kind"] == "BucketReplication")
    }

    /// A `BucketReplication` by its name.
    pub fn replication(&self, name: &str) -> Result<&Value> {
        let mut all = self.replications();
        all.find(|object| object["metadata"]["name"] == name)
            .with_context(|| format!("{name} was not recorded"))
    }

    /// The same AWS with other UIDs, for objects that were created again.
    pub fn aws_with(&self, uids: &[(String, String)]) -> Result<AwsState> {
        let text = serde_json::to_string(&self.aws)?;
        let replaced = uids.iter().fold(text, |text, (from, to)| text.replace(from, to));
        Ok(serde_json::from_str(&replaced)?)
    }
}
