//! The quickstart as its manifest has it. The story uses only the names in it.

use std::fs;

use anyhow::{Context, Result};
use rig::paths;
use serde_json::Value;

/// The path of the manifest from the root of the repository.
pub const MANIFEST: &str = "deploy/samples/quickstart.yaml";

/// The resource and the names that the story is about.
#[derive(Debug, Clone)]
pub struct Example {
    pub name: String,
    /// `default` if the manifest names none.
    pub namespace: String,
    pub source: String,
    pub destination: String,
    pub role: String,
    /// The id of its one rule.
    pub rule: String,
    pub storage_class: String,
}

impl Example {
    pub fn read() -> Result<Self> {
        let path = paths::repository().join(MANIFEST);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {MANIFEST}"))?;
        let manifest: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{MANIFEST} is no YAML"))?;
        let at = |pointer: &str| {
            let text = manifest.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            text.with_context(|| format!("{MANIFEST} has no {pointer}"))
        };
        Ok(Self {
            name: at("/metadata/name")?,
            namespace: at("/metadata/namespace").unwrap_or_else(|_| "default".to_owned()),
            source: at("/spec/source/bucket")?,
            destination: at("/spec/rules/0/destination/bucket")?,
            role: at("/spec/role/name")?,
            rule: at("/spec/rules/0/id")?,
            storage_class: at("/spec/rules/0/destination/storageClass")?,
        })
    }
}
