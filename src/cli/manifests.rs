//! `-f`: BucketReplication resources from a file or standard input, one or more YAML or JSON documents.

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
            let name = name.to_owned();
            serde_path_to_error::deserialize(document).map_err(|error| ManifestError::Invalid {
                path: path(),
                name,
                message: format!("{}: {}", error.path(), error.inner()),
            })
        })
        .collect::<Result<_, _>>()?;
    if resources.is_empty() { Err(ManifestError::Empty(path())) } else { Ok(resources) }
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
