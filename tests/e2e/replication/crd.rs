//! The definition as it is shipped: what the program prints, and only what the API server and GitOps tools bear.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

const SHIPPED: &str = include_str!("../../../crds/s3replication.dev_bucketreplications.yaml");

fn shipped() -> Result<Value> {
    Ok(serde_saphyr::from_str(SHIPPED)?)
}

fn schema_of(crd: &Value) -> Result<&Value> {
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").context("no schema")
}

/// Calls `see` with every schema in a schema, its path, and whether it is inside a list.
fn walk(schema: &Value, path: &str, in_list: bool, see: &mut impl FnMut(&Value, &str, bool)) {
    see(schema, path, in_list);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(inner, &format!("{path}.{name}"), in_list, see);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), true, see);
    }
    if schema["additionalProperties"].is_object() {
        walk(&schema["additionalProperties"], &format!("{path}.*"), in_list, see);
    }
}

fn paths(schema: &Value, wanted: impl Fn(&Value, bool) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", false, &mut |inner, path, in_list| {
        if wanted(inner, in_list) {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn the_shipped_definitions_are_those_the_program_prints() -> Result<()> {
    let printed = Command::new(env!("CARGO_BIN_EXE_s3-replication-operator")).arg("crds").output()?;
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    let names = std::fs::read_dir(crds)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut shipped: Vec<String> =
        names.iter().map(std::fs::read_to_string).collect::<Result<_, std::io::Error>>()?;
    assert_eq!(shipped.len(), 3, "nothing else is in crds/");
    shipped.sort();
    let printed = String::from_utf8(printed.stdout)?;
    let printed: Vec<String> = printed.split("---\n").skip(1).map(|crd| format!("---\n{crd}")).collect();
    assert!(printed == shipped, "crds/ is out of date; run: cargo run -- crds --output-dir crds");
    Ok(())
}

#[test]
fn no_default_is_inside_a_list() -> Result<()> {
    let crd = shipped()?;
    assert_eq!(
        paths(schema_of(&crd)?, |s, in_list| in_list && s.get("default").is_some()),
        Vec::<String>::new()
    );
    let outside = paths(schema_of(&crd)?, |s, _| s.get("default").is_some());
    assert!(outside.contains(&".spec.suspend".to_owned()), "the walk sees defaults: {outside:?}");
    assert!(!paths(schema_of(&crd)?, |_, in_list| in_list).is_empty(), "the walk sees lists");
    Ok(())
}

#[test]
fn no_format_is_unknown_to_the_api_server() -> Result<()> {
    let crd = shipped()?;
    let known = [Value::Null, json!("int32"), json!("int64"), json!("date-time")];
    assert_eq!(paths(schema_of(&crd)?, |s, _| !known.contains(&s["format"])), Vec::<String>::new());
    Ok(())
}

#[test]
fn every_list_merges_by_key_and_every_field_is_described() -> Result<()> {
    let crd = shipped()?;
    let schema = schema_of(&crd)?;
    let merged = |path: &str| schema.pointer(path).context(path.to_owned());
    let rules = merged("/properties/spec/properties/rules")?;
    assert_eq!(
        (&rules["x-kubernetes-list-type"], &rules["x-kubernetes-list-map-keys"]),
        (&json!("map"), &json!(["id"]))
    );
    let conditions = merged("/properties/status/properties/conditions")?;
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    let keys = merged("/properties/spec/properties/source/properties/kmsKeyArns")?;
    assert_eq!(keys["x-kubernetes-list-type"], "set");

    let is_field = |s: &Value| s["type"].is_string() && s["description"].is_null();
    let bare = paths(schema, |s, _| is_field(s));
    let bare: Vec<_> = bare.iter().filter(|path| !path.ends_with("[]") && !path.ends_with(".*")).collect();
    assert_eq!(bare, Vec::<&String>::new());
    Ok(())
}

#[test]
fn every_validation_has_a_message() -> Result<()> {
    let crd = shipped()?;
    let silent = paths(schema_of(&crd)?, |s, _| {
        s["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|rule| !rule["message"].is_string())
    });
    assert_eq!(silent, Vec::<String>::new());
    Ok(())
}

#[test]
fn names_and_columns_are_as_documented() -> Result<()> {
    let crd = shipped()?;
    assert_eq!(
        crd["spec"]["names"],
        json!({
            "kind": "BucketReplication",
            "plural": "bucketreplications",
            "singular": "bucketreplication",
            "shortNames": ["br"],
            "categories": ["aws", "s3"],
        })
    );
    assert_eq!(
        (&crd["spec"]["group"], &crd["spec"]["scope"]),
        (&json!("s3replication.dev"), &json!("Namespaced"))
    );
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["name"], "v1alpha1");
    assert_eq!(version["subresources"], json!({"status": {}}));
    let columns = |wide: bool| -> Vec<&str> {
        let all = version["additionalPrinterColumns"].as_array().into_iter().flatten();
        all.filter(|c| (c["priority"] == 1) == wide).filter_map(|c| c["name"].as_str()).collect()
    };
    assert_eq!(columns(false), ["Source", "Destination", "Ready", "Status", "In sync", "Replicating", "Age"]);
    assert_eq!(columns(true), ["Objects", "Latency", "Rules", "Role", "Message", "Objects message"]);
    Ok(())
}
