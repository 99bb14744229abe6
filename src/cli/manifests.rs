//! Reads the files of `-f`.
//!
//! In: paths. A path is a file or standard input, with one or more YAML or JSON documents. Out: the resources,
//! accounts, backfills and labels of namespaces in them, or an error that names file, resource and field.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{AwsAccount, BucketReplication, ReplicationBackfill};
use crate::replication::{Account, ResourceId};

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not YAML: {message}")]
    Syntax { path: String, message: String },
    #[error("{path}: {kind} {name}: {message}")]
    Invalid { path: String, kind: &'static str, name: String, message: String },
    #[error("{0} contains no {1}")]
    Empty(String, &'static str),
}

/// The documents that the subcommands use; documents of other kinds are ignored.
#[derive(Debug, Default)]
pub struct Manifests {
    pub resources: Vec<BucketReplication>,
    pub accounts: Vec<Account>,
    pub backfills: Vec<ReplicationBackfill>,
    /// Labels of namespaces, by name.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    files: String,
}

impl Manifests {
    /// Reads files; `-` is standard input.
    pub fn read(paths: &[String]) -> Result<Manifests, ManifestError> {
        let files: Vec<&str> = paths.iter().map(|path| file_name(path)).collect();
        let mut manifests = Manifests { files: files.join(", "), ..Manifests::default() };
        for path in paths {
            manifests.add(path)?;
        }
        Ok(manifests)
    }

    /// Gives the resources without a namespace this one, as `kubectl apply -n` does.
    pub fn in_namespace(mut self, namespace: Option<&str>) -> Manifests {
        let resources = self.resources.iter_mut().map(|resource| &mut resource.metadata);
        let backfills = self.backfills.iter_mut().map(|backfill| &mut backfill.metadata);
        for metadata in resources.chain(backfills) {
            metadata.namespace = metadata.namespace.take().or_else(|| namespace.map(str::to_owned));
        }
        self
    }

    /// Fails if the files contain no `BucketReplication`.
    pub fn with_resources(self) -> Result<Manifests, ManifestError> {
        if self.resources.is_empty() {
            return Err(ManifestError::Empty(self.files, "BucketReplication"));
        }
        Ok(self)
    }

    /// Fails if the files contain neither a `BucketReplication` nor an `AwsAccount`.
    pub fn with_anything(self) -> Result<Manifests, ManifestError> {
        if self.resources.is_empty() && self.accounts.is_empty() {
            return Err(ManifestError::Empty(self.files, "BucketReplication and no AwsAccount"));
        }
        Ok(self)
    }

    fn add(&mut self, path: &str) -> Result<(), ManifestError> {
        let source = file_name(path);
        let text = match path {
            "-" => std::io::read_to_string(std::io::stdin()),
            path => std::fs::read_to_string(path),
        };
        let text = text.map_err(|error| ManifestError::Read { path: source.to_owned(), source: error })?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| {
            let message = error.to_string();
            let message = message.trim_start_matches("error: ").to_owned();
            ManifestError::Syntax { path: source.to_owned(), message }
        })?;
        let documents = documents.into_iter().flat_map(|document| match document.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![document],
        });
        for document in documents {
            match document.get("kind").and_then(Value::as_str) {
                Some("BucketReplication") => {
                    let resource: BucketReplication = decode(source, "BucketReplication", &document)?;
                    if let Some(message) = repeated(&resource) {
                        return Err(invalid(source, "BucketReplication", &document, message));
                    }
                    self.resources.push(resource);
                }
                Some("AwsAccount") => {
                    let account: AwsAccount = decode(source, "AwsAccount", &document)?;
                    self.accounts.push(Account { name: account.name_any(), spec: account.spec });
                }
                Some("ReplicationBackfill") => {
                    self.backfills.push(decode(source, "ReplicationBackfill", &document)?);
                }
                Some("Namespace") => {
                    let namespace: Namespace = decode(source, "Namespace", &document)?;
                    let labels = namespace.metadata.labels.clone().unwrap_or_default();
                    self.namespaces.insert(namespace.name_any(), labels);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn file_name(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

fn decode<T: DeserializeOwned>(path: &str, kind: &'static str, document: &Value) -> Result<T, ManifestError> {
    serde_path_to_error::deserialize(document)
        .map_err(|error| invalid(path, kind, document, format!("{}: {}", error.path(), error.inner())))
}

fn invalid(path: &str, kind: &'static str, document: &Value, message: String) -> ManifestError {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name");
    ManifestError::Invalid { path: path.to_owned(), kind, name: name.to_owned(), message }
}

/// A duplicate id or priority: the API server would reject it, and a plan would not show it.
fn repeated(resource: &BucketReplication) -> Option<String> {
    let (mut ids, mut priorities) = (BTreeSet::new(), BTreeSet::new());
    resource.spec.rules.iter().find_map(|rule| {
        let id = &rule.id;
        if !ids.insert(id) {
            return Some(format!("spec.rules[{id}]: the id occurs twice; each rule needs its own id"));
        }
        let priority = rule.priority.filter(|priority| !priorities.insert(*priority))?;
        Some(format!("spec.rules[{id}].priority: {priority} occurs twice; each rule needs its own priority"))
    })
}

/// The id of a resource as far as its file contains it. Only the operator knows the cluster.
pub fn resource_id(resource: &BucketReplication) -> ResourceId {
    resource_id_of(resource)
}

/// The same for a resource of any kind.
pub fn resource_id_of<K: ResourceExt>(resource: &K) -> ResourceId {
    ResourceId {
        cluster: None,
        former_clusters: Vec::new(),
        namespace: resource.namespace().unwrap_or_else(|| "default".to_owned()),
        name: resource.name_any(),
        uid: resource.uid(),
    }
}
