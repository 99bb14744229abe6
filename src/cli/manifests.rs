//! `-f`: BucketReplication resources from a file or standard input, one or more YAML or JSON documents.

use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use crate::api::BucketReplication;

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
    Invalid {
        path: String,
        name: String,
        message: String,
    },
    #[error("{0} holds no BucketReplication")]
    Empty(String),
}

/// Reads all BucketReplication resources; documents of other kinds are passed over. `-` is standard input.
pub fn read(path: &str) -> Result<Vec<BucketReplication>, ManifestError> {
    let text = match path {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        path => std::fs::read_to_string(path),
    };
    let text = text.map_err(|source| ManifestError::Read {
        path: path.to_owned(),
        source,
    })?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|e| ManifestError::Syntax {
        path: path.to_owned(),
        message: e.to_string(),
    })?;
    let resources: Vec<BucketReplication> = documents
        .into_iter()
        .flat_map(|document| match document.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![document],
        })
        .filter(|d| d.get("kind").and_then(Value::as_str) == Some("BucketReplication"))
        .map(|d| {
            let name = d
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or("without a name")
                .to_owned();
            BucketReplication::deserialize(d).map_err(|e| ManifestError::Invalid {
                path: path.to_owned(),
                name,
                message: e.to_string(),
            })
        })
        .collect::<Result<_, _>>()?;
    if resources.is_empty() {
        Err(ManifestError::Empty(path.to_owned()))
    } else {
        Ok(resources)
    }
}
