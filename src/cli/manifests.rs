//! `-f`: BucketReplication resources from a file or standard input, one or more YAML or JSON documents.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde_json::Value;

use crate::api::BucketReplication;
use crate::replication::Identity;

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
    #[error("{path}: BucketReplication {name}: {message}")]
    Invalid { path: String, name: String, message: String },
    #[error("{0} holds no BucketReplication")]
    Empty(String),
}

/// Reads all BucketReplication resources; documents of other kinds are passed over. `-` is standard input.
pub fn read(path: &str) -> Result<Vec<BucketReplication>, ManifestError> {
    let (source, text) = match path {
        "-" => ("standard input", std::io::read_to_string(std::io::stdin())),
        path => (path, std::fs::read_to_string(path)),
    };
    let path = || source.to_owned();
    let text = text.map_err(|source| ManifestError::Read { path: path(), source })?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| {
        let message = error.to_string();
        ManifestError::Syntax { path: path(), message: message.trim_start_matches("error: ").to_owned() }
    })?;
    let resources: Vec<BucketReplication> = documents
        .into_iter()
        .flat_map(|document| match document.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![document],
        })
        .filter(|document| document.get("kind").and_then(Value::as_str) == Some("BucketReplication"))
        .map(|document| {
            let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name");
            let invalid = |message| ManifestError::Invalid { path: path(), name: name.to_owned(), message };
            let resource: BucketReplication = serde_path_to_error::deserialize(&document)
                .map_err(|error| invalid(format!("{}: {}", error.path(), error.inner())))?;
            match repeated(&resource) {
                Some(message) => Err(invalid(message)),
                None => Ok(resource),
            }
        })
        .collect::<Result<_, _>>()?;
    if resources.is_empty() { Err(ManifestError::Empty(path())) } else { Ok(resources) }
}

/// What the API server would refuse and a plan would not show: rules that shadow one another.
fn repeated(resource: &BucketReplication) -> Option<String> {
    let (mut ids, mut priorities) = (BTreeSet::new(), BTreeSet::new());
    resource.spec.rules.iter().find_map(|rule| {
        let id = &rule.id;
        if !ids.insert(id) {
            return Some(format!("spec.rules[{id}]: the id stands twice; each rule needs an id of its own"));
        }
        let priority = rule.priority.filter(|priority| !priorities.insert(*priority))?;
        Some(format!(
            "spec.rules[{id}].priority: {priority} stands twice; each rule needs a priority of its own"
        ))
    })
}

/// Who a resource is as far as its file tells. The cluster is known only to the operator.
pub fn identity(resource: &BucketReplication) -> Identity {
    Identity {
        cluster: None,
        namespace: resource.namespace().unwrap_or_else(|| "default".to_owned()),
        name: resource.name_any(),
        uid: resource.uid(),
    }
}
