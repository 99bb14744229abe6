//! The values: each is explained, the schema knows all of them, and it refuses those that make no sense.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{NAMESPACE, RELEASE, chart, helm, read, read_yaml, refusal, rendered_text};

const VALUES: &str = "charts/s3-replication-operator/values.yaml";
const SCHEMA: &str = "charts/s3-replication-operator/values.schema.json";

#[test]
fn helm_finds_nothing_to_complain_of() -> Result<()> {
    let output = helm(&["lint", "--strict", &chart().to_string_lossy()], &Value::Null)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn the_chart_has_the_version_of_the_program() -> Result<()> {
    let chart = read_yaml("charts/s3-replication-operator/Chart.yaml")?;
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// People upgrade with the values that they have: `helm upgrade --reset-then-reuse-values`.
#[test]
fn every_value_of_the_former_release_is_accepted_as_it_was() -> Result<()> {
    let former = read_yaml("tests/upgrade/0.0.9/chart/values.yaml")?;
    let rendered = rendered_text(RELEASE, NAMESPACE, &former)?;
    ensure!(rendered.contains("kind: Deployment"), "{rendered}");
    Ok(())
}

/// A key in `values.yaml`: its name, and the text after it.
fn key(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.trim_start().split_once(':')?;
    let is_key = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    is_key.then_some((name, rest.trim()))
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[test]
fn every_value_is_explained() -> Result<()> {
    let text = read(VALUES)?;
    let mut explained = 0;
    // The comment on a list explains the fields of its entries.
    let mut entry = usize::MAX;
    let mut above = "";
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("- ") {
            entry = indentation(line);
        } else if indentation(line) <= entry {
            entry = usize::MAX;
        }
        let comment = above.trim_start().starts_with("# ");
        above = line;
        let Some((name, rest)) = key(line).filter(|_| entry == usize::MAX) else { continue };
        explained += usize::from(comment);
        // A group needs no comment if each of its values has one.
        let is_group =
            rest.is_empty() && lines.peek().is_some_and(|next| indentation(next) > indentation(line));
        ensure!(comment || is_group, "{name} has no comment above it");
    }
    assert!(explained > 90, "{explained}");
    Ok(())
}

/// Compares every path of `values.yaml` with the schema, as far as the schema has properties.
fn in_both(values: &Value, schema: &Value, path: &str, differences: &mut Vec<String>) {
    let Some(properties) =
        schema["properties"].as_object().filter(|_| schema["additionalProperties"] == false)
    else {
        return;
    };
    let known: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let given: BTreeSet<&str> = values.as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
    for key in known.symmetric_difference(&given) {
        differences.push(format!("{path}{key}"));
    }
    for key in known.intersection(&given) {
        in_both(&values[key], &properties[*key], &format!("{path}{key}."), differences);
    }
}

#[test]
fn the_schema_knows_exactly_the_values_that_there_are() -> Result<()> {
    let mut differences = Vec::new();
    in_both(&read_yaml(VALUES)?, &read_yaml(SCHEMA)?, "", &mut differences);
    // Helm itself passes `global` to a subchart; `claims` is seldom used.
    assert_eq!(differences, ["global", "resources.claims"]);
    Ok(())
}

#[test]
fn the_schema_refuses_what_makes_no_sense() -> Result<()> {
    let refused = [
        (json!({"replica": 2}), "'replica' not allowed"),
        (json!({"replicas": "two"}), "/replicas"),
        (json!({"replicas": -1}), "/replicas"),
        (json!({"image": {"repository": ""}}), "/image/repository"),
        (json!({"image": {"digest": "abc"}}), "/image/digest"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "/image/pullPolicy"),
        (json!({"imagePullSecrets": ["registry"]}), "/imagePullSecrets/0"),
        (json!({"leaderElection": {"enabled": "yes"}}), "/leaderElection/enabled"),
        (json!({"leaderElection": {"leaseDuration": 15}}), "/leaderElection/leaseDuration"),
        (json!({"namespaces": ["Data"]}), "/namespaces/0"),
        (json!({"namespaces": "data"}), "/namespaces"),
        (json!({"operator": {"concurrency": 0}}), "/operator/concurrency"),
        (json!({"operator": {"interval": "often"}}), "/operator/interval"),
        (json!({"operator": {"httpAddress": "8080"}}), "/operator/httpAddress"),
        (json!({"operator": {"logFormat": "xml"}}), "/operator/logFormat"),
        (json!({"accounts": [{"name": "default"}]}), "/accounts"),
        (json!({"accounts": {"default": {"sources": ["*"]}}}), "'accountId'"),
        (json!({"accounts": {"default": {"accountId": 123456789012_u64}}}), "/accounts/default/accountId"),
        (json!({"accounts": {"Default": {"accountId": "123456789012"}}}), "'Default'"),
        (json!({"aws": {"region": "Ireland"}}), "/aws/region"),
        (json!({"aws": {"endpointUrl": "localhost:4566"}}), "/aws/endpointUrl"),
        (json!({"aws": {"credentialsSecret": {"name": "aws"}}}), "/aws/credentialsSecret"),
        (json!({"aws": {"s3ReadRate": 0}}), "/aws/s3ReadRate"),
        (json!({"serviceAccount": {"annotations": {"a": 1}}}), "/serviceAccount/annotations/a"),
        (json!({"livenessProbe": {"httpGet": {"path": "/"}}}), "/livenessProbe"),
        (json!({"terminationGracePeriodSeconds": 1}), "/terminationGracePeriodSeconds"),
        (json!({"podDisruptionBudget": {"maxUnavailable": "half"}}), "/podDisruptionBudget/maxUnavailable"),
        (json!({"topologySpreadConstraints": [{"maxSkew": 1}]}), "/topologySpreadConstraints/0"),
        (
            json!({"monitoring": {"prometheusRule": {"runbookUrl": "docs"}}}),
            "/monitoring/prometheusRule/runbookUrl",
        ),
        (
            json!({"monitoring": {"serviceMonitor": {"interval": "often"}}}),
            "/monitoring/serviceMonitor/interval",
        ),
    ];
    for (values, words) in refused {
        let printed = refusal(&values)?;
        ensure!(printed.contains("don't meet the specifications of the schema"), "{values}: {printed}");
        ensure!(printed.contains(words), "{values}: {printed}");
    }
    Ok(())
}

#[test]
fn values_that_do_not_go_together_are_refused_with_the_fix() -> Result<()> {
    let two = refusal(&json!({"replicas": 2, "leaderElection": {"enabled": false}}))?;
    assert!(two.contains("Enable leader election or set replicas to 1"), "{two}");
    let monitor = json!({"service": {"enabled": false}, "monitoring": {"serviceMonitor": {"enabled": true}}});
    let unserved = refusal(&monitor)?;
    assert!(unserved.contains("set service.enabled to true"), "{unserved}");
    Ok(())
}

/// The notes, the rights and the probes are made from values: a release that got the flag in another way would print
/// commands that delete the resources of others.
#[test]
fn a_flag_that_decides_more_than_arguments_is_refused_where_it_is_not_a_value() -> Result<()> {
    for (flag, value) in [
        ("selector", "operator.selector"),
        ("namespaces", "namespaces"),
        ("read-only", "operator.readOnly"),
        ("require-account", "operator.requireAccount"),
        ("http-address", "operator.httpAddress"),
        ("otlp-endpoint", "operator.otlpEndpoint"),
        ("leader-elect", "leaderElection.enabled"),
        ("lease-name", "leaderElection.leaseName"),
        ("lease-namespace", "leaderElection.leaseNamespace"),
    ] {
        let variable = flag.replace('-', "_").to_uppercase();
        for (values, given) in [
            (json!({"extraArgs": [format!("--{flag}=a")]}), format!("extraArgs has --{flag}:")),
            (json!({"extraArgs": [format!("--{flag}"), "a"]}), format!("extraArgs has --{flag}:")),
            (json!({"extraEnv": [{"name": variable, "value": "a"}]}), format!("extraEnv has {variable}:")),
        ] {
            let printed = refusal(&values)?;
            ensure!(printed.contains(&format!("{given} set the value {value} instead")), "{printed}");
        }
    }
    let other =
        json!({"extraArgs": ["--selector-of-later=a"], "extraEnv": [{"name": "SELECTORS", "value": "a"}]});
    rendered_text(RELEASE, NAMESPACE, &other)?;
    Ok(())
}
