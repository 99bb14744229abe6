//! The schema of the values: it refuses an unknown key in every object, as far down as the types of Kubernetes go, and
//! takes a value of every field.
//!
//! Its definitions are Kubernetes' own types and the spec of an AwsAccount. Without them Helm would pass an unknown key
//! on, and the API server would drop it silently. `UPDATE_DEPLOY=1 cargo test --test deploy` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use regex_lite::Regex;
use rig::Rig;
use serde_json::{Map, Value, json};

use crate::support::{NAMESPACE, RELEASE, kubectl, read, read_yaml, refusal, rendered_text, repository};

const SCHEMA: &str = "charts/s3-replication-operator/values.schema.json";

/// The documents in which the API server describes its types.
const TYPES: [&str; 2] = ["/openapi/v3/api/v1", "/openapi/v3/apis/networking.k8s.io/v1"];

/// The types that values hold.
const USED: [&str; 14] = [
    "io.k8s.api.core.v1.Affinity",
    "io.k8s.api.core.v1.EnvFromSource",
    "io.k8s.api.core.v1.EnvVar",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.PodSecurityContext",
    "io.k8s.api.core.v1.Probe",
    "io.k8s.api.core.v1.ResourceClaim",
    "io.k8s.api.core.v1.SecurityContext",
    "io.k8s.api.core.v1.Toleration",
    "io.k8s.api.core.v1.TopologySpreadConstraint",
    "io.k8s.api.core.v1.Volume",
    "io.k8s.api.core.v1.VolumeMount",
    "io.k8s.api.networking.v1.NetworkPolicyEgressRule",
    "io.k8s.api.networking.v1.NetworkPolicyPeer",
];

/// The action of a probe, which the chart decides.
const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];

/// The types of an API server, and the names of those that are still to be defined.
struct Types {
    known: Map<String, Value>,
    pending: Vec<String>,
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

impl Types {
    /// A type as the schema has it: without unknown keys, and with null, which Kubernetes takes as absent. The API
    /// server itself refuses wrong values, with a better message.
    fn schema(&mut self, node: &Value) -> Value {
        let reference = node["$ref"].as_str().or_else(|| node.pointer("/allOf/0/$ref")?.as_str());
        if let Some(name) = reference.and_then(|reference| reference.rsplit('/').next()) {
            let target = self.known.get(name).cloned().unwrap_or_default();
            if !target["properties"].is_object() {
                return self.schema(&target);
            }
            self.pending.push(name.to_owned());
            return json!({"$ref": format!("#/definitions/{}", short(name))});
        }
        if let Some(alternatives) = node["oneOf"].as_array() {
            let kinds = alternatives.iter().map(|alternative| alternative["type"].clone());
            return json!({"type": kinds.chain([json!("null")]).collect::<Vec<_>>()});
        }
        let mut schema = json!({"type": [node["type"], "null"]});
        if let Some(properties) = node["properties"].as_object() {
            let fields = properties.iter().map(|(name, field)| (name.clone(), self.schema(field)));
            schema["properties"] = Value::Object(fields.collect());
            schema["additionalProperties"] = json!(false);
        } else if node["additionalProperties"].is_object() {
            schema["additionalProperties"] = self.schema(&node["additionalProperties"]);
        } else if node["items"].is_object() {
            schema["items"] = self.schema(&node["items"]);
        }
        schema
    }

    fn definitions(mut self) -> Result<BTreeMap<String, Value>> {
        let mut definitions = BTreeMap::new();
        while let Some(name) = self.pending.pop() {
            if definitions.contains_key(short(&name)) {
                continue;
            }
            let mut node = self.known.get(&name).with_context(|| format!("no type {name}"))?.clone();
            if let Some(fields) = node["properties"].as_object_mut().filter(|_| short(&name) == "Probe") {
                fields.retain(|field, _| !HANDLERS.contains(&field.as_str()));
            }
            definitions.insert(short(&name).to_owned(), self.schema(&node));
        }
        Ok(definitions)
    }
}

/// The definitions of the schema that are generated: their names begin with a capital letter.
async fn definitions() -> Result<BTreeMap<String, Value>> {
    let cluster = Rig::own_cluster().await?;
    let mut types = Types { known: Map::new(), pending: USED.map(str::to_owned).to_vec() };
    for path in TYPES {
        let document: Value = serde_json::from_str(&kubectl(cluster, &["get", "--raw", path], "")?)?;
        let described = document["components"]["schemas"].as_object().context("no schemas")?;
        types.known.extend(described.clone());
    }
    let accounts = read_yaml("crds/s3replication.dev_awsaccounts.yaml")?;
    let spec =
        accounts.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").context("no spec")?;
    types.known.insert("AwsAccountSpec".to_owned(), spec.clone());
    types.pending.push("AwsAccountSpec".to_owned());
    types.definitions()
}

/// The schema's text with these definitions, one in a line.
fn with_definitions(text: &str, definitions: &BTreeMap<String, Value>) -> Result<String> {
    let is_generated = |line: &str| {
        let name = line.strip_prefix("    \"");
        name.is_some_and(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))
    };
    let kept: String =
        text.lines().filter(|line| !is_generated(line)).map(|line| format!("{line}\n")).collect();
    let start = kept.strip_suffix("  }\n}\n").context("definitions are not the schema's end")?;
    let lines: Vec<String> =
        definitions.iter().map(|(name, schema)| format!("    \"{name}\": {schema}")).collect();
    Ok(format!("{start}{}\n  }}\n}}\n", lines.join(",\n")))
}

#[tokio::test]
async fn the_definitions_are_the_types_of_kubernetes_and_of_accounts() -> Result<()> {
    let held = read(SCHEMA)?;
    let generated = with_definitions(&held, &definitions().await?)?;
    if std::env::var_os("UPDATE_DEPLOY").is_some() {
        fs::write(repository(SCHEMA), &generated)?;
    }
    let is_current = read(SCHEMA)? == generated;
    ensure!(is_current, "{SCHEMA} is not up to date: run UPDATE_DEPLOY=1 cargo test --test deploy");
    Ok(())
}

/// Texts of which each pattern of the schema matches one.
const TEXTS: [&str; 9] = [
    "a",
    "1",
    "5m",
    "123456789012",
    "eu-west-1",
    "0.0.0.0:8080",
    "https://sqs.eu-west-1.amazonaws.com/111122223333/events",
    "0b8e6d53-5c1f-4f3d-9c58-0c1b5e9f6a10",
    "",
];

/// Makes values in which every field of the schema has one.
struct Sample<'a> {
    schema: &'a Value,
    /// Whether to add an unknown key to each object that knows its keys.
    has_typos: bool,
    /// Those objects.
    closed: BTreeSet<String>,
    /// The objects that take any key with any value.
    open: BTreeSet<String>,
}

impl<'a> Sample<'a> {
    fn of(schema: &'a Value, has_typos: bool) -> Result<(Value, Self)> {
        let mut sample = Sample { schema, has_typos, closed: BTreeSet::new(), open: BTreeSet::new() };
        let values = sample.value(&[schema], "")?;
        Ok((values, sample))
    }

    /// The schemas that hold together with these: what they refer to.
    fn parts(&self, nodes: &[&'a Value]) -> Result<Vec<&'a Value>> {
        let mut parts = Vec::new();
        let mut rest = nodes.to_vec();
        while let Some(node) = rest.pop() {
            if let Some(reference) = node["$ref"].as_str() {
                let pointer = reference.trim_start_matches('#');
                rest.push(self.schema.pointer(pointer).with_context(|| format!("no {reference}"))?);
            }
            rest.extend(node["allOf"].as_array().into_iter().flatten());
            rest.extend(node["anyOf"].as_array().into_iter().flatten().take(1));
            parts.push(node);
        }
        Ok(parts)
    }

    fn value(&mut self, nodes: &[&'a Value], path: &str) -> Result<Value> {
        let parts = self.parts(nodes)?;
        let all = |key: &str| parts.iter().filter_map(|part| part.get(key)).collect::<Vec<&'a Value>>();
        if let Some(first) = all("enum").first() {
            return Ok(first[0].clone());
        }
        let kind = all("type").into_iter().find_map(|kind| kind.as_str().or_else(|| kind[0].as_str()));
        match kind.with_context(|| format!("{path} has no type"))? {
            "object" => self.object(&parts, path),
            "array" => Ok(json!([self.value(&all("items"), &format!("{path}/0"))?])),
            "string" => {
                let patterns = all("pattern").into_iter().filter_map(Value::as_str).map(Regex::new);
                let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
                let shortest =
                    all("minLength").iter().filter_map(|length| length.as_u64()).max().unwrap_or(0);
                let fits = |text: &&&str| {
                    text.len() as u64 >= shortest && patterns.iter().all(|pattern| pattern.is_match(text))
                };
                let text = TEXTS.iter().find(fits).with_context(|| format!("no text for {path}"))?;
                Ok(json!(text))
            }
            "integer" | "number" => Ok(all("minimum").first().map_or(json!(1), |least| (*least).clone())),
            "boolean" => Ok(json!(true)),
            other => anyhow::bail!("{path} has the type {other}"),
        }
    }

    fn object(&mut self, parts: &[&'a Value], path: &str) -> Result<Value> {
        let mut fields: BTreeMap<&str, Vec<&'a Value>> = BTreeMap::new();
        for part in parts {
            for (name, field) in part["properties"].as_object().into_iter().flatten() {
                fields.entry(name).or_default().push(field);
            }
            // A name that the pattern for amounts of resources takes, and one that is free.
            let patterns = part["patternProperties"].as_object().into_iter().flatten();
            fields.extend(patterns.map(|(_, field)| ("memory", vec![field])));
            if let Some(free) = part.get("additionalProperties").filter(|free| free.is_object()) {
                fields.insert("a", vec![free]);
            }
        }
        let mut object = Map::new();
        for (name, nodes) in &fields {
            object.insert((*name).to_owned(), self.value(nodes, &format!("{path}/{name}"))?);
        }
        if parts.iter().any(|part| part["additionalProperties"] == false) {
            self.closed.insert(path.to_owned());
            if self.has_typos {
                object.insert("typo".to_owned(), json!("a"));
            }
        } else if fields.is_empty() {
            self.open.insert(path.to_owned());
        }
        Ok(Value::Object(object))
    }
}

#[test]
fn a_value_of_every_field_is_taken() -> Result<()> {
    let schema = read_yaml(SCHEMA)?;
    let (values, sample) = Sample::of(&schema, false)?;
    rendered_text(RELEASE, NAMESPACE, &values)?;
    // The values that Helm passes to every chart, and a field that the API server writes itself.
    let open = ["/extraVolumes/0/ephemeral/volumeClaimTemplate/metadata/managedFields/0/fieldsV1", "/global"];
    assert_eq!(sample.open.iter().map(String::as_str).collect::<Vec<_>>(), open);
    Ok(())
}

#[test]
fn a_typo_in_any_object_is_refused() -> Result<()> {
    let schema = read_yaml(SCHEMA)?;
    let (values, sample) = Sample::of(&schema, true)?;
    let printed = refusal(&values)?;
    let refused = |line: &str| -> Option<String> {
        let (path, why) = line.trim_start().strip_prefix("- at '")?.split_once("': ")?;
        (why == "additional properties 'typo' not allowed").then(|| path.to_owned())
    };
    let refused: BTreeSet<String> = printed.lines().filter_map(refused).collect();
    let missed: Vec<&String> = sample.closed.difference(&refused).collect();
    ensure!(missed.is_empty(), "a typo is taken in {missed:?}: {printed}");
    for path in ["", "/livenessProbe", "/resources/limits", "/securityContext/capabilities", "/accounts/a"] {
        ensure!(refused.contains(path), "{path}: {printed}");
    }
    assert!(refused.len() > 100, "{}", refused.len());
    Ok(())
}
