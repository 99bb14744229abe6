//! Alerts and dashboard: Prometheus accepts them, alerts fire when they should, and both use only existing metrics.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use rig::promtool::promtool;
use s3_replication_operator::telemetry::DESCRIPTIONS;
use serde_json::{Value, json};

use crate::support::{of_kind, read, read_yaml, rendered};

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const DASHBOARD: &str = "deploy/grafana/dashboard.json";

/// Every `expr` in a document, wherever it is.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("expr").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(expressions)).collect()
        }
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

/// The operator's metrics that an expression names.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter_map(|word| word.strip_prefix("s3_replication_operator_"));
    ours.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned()).collect()
}

/// The alerts as Prometheus alone reads them: the spec of the PrometheusRule.
fn read_alerts() -> Result<Value> {
    Ok(read_yaml(ALERTS)?["spec"].clone())
}

fn dashboard() -> Result<Value> {
    serde_json::from_str(&read(DASHBOARD)?).context("the dashboard is not JSON")
}

#[test]
fn prometheus_takes_the_alerts() -> Result<()> {
    promtool(&["check", "rules", "alerts.yaml"], &[("alerts.yaml", &read_alerts()?.to_string())])
}

#[test]
fn each_alert_fires_when_it_should_and_not_when_all_is_well() -> Result<()> {
    let cases = read("tests/deploy/alerts.yaml")?;
    let alerts = read_alerts()?;
    for rule in alerts["groups"][0]["rules"].as_array().context("rules")? {
        let name = rule["alert"].as_str().context("a rule that is no alert")?;
        assert!(cases.contains(&format!("alertname: {name}\n")), "{name} has no test");
    }
    promtool(
        &["test", "rules", "cases.yaml"],
        &[("alerts.rules.yaml", &alerts.to_string()), ("cases.yaml", &cases)],
    )
}

#[test]
fn prometheus_understands_every_panel_of_the_dashboard() -> Result<()> {
    let rules: Vec<Value> = expressions(&dashboard()?)
        .iter()
        .enumerate()
        .map(|(i, expression)| {
            let expression = expression.replace("$__rate_interval", "5m");
            json!({"record": format!("panel:{i}"), "expr": expression})
        })
        .collect();
    assert!(rules.len() > 15, "{}", rules.len());
    let file = json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    promtool(&["check", "rules", "dashboard.yaml"], &[("dashboard.yaml", &file)])
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_there_are() -> Result<()> {
    let mut used = BTreeSet::new();
    for document in [read_alerts()?, dashboard()?] {
        for expression in expressions(&document) {
            let named = metrics(&expression);
            ensure!(!named.is_empty(), "{expression} names no metric of the operator");
            used.extend(named);
        }
    }
    let names = |optional: bool| -> BTreeSet<String> {
        let metrics = DESCRIPTIONS.iter().filter(|metric| metric.optional == optional);
        metrics.map(|metric| metric.name.to_owned()).collect()
    };
    let (always, with_a_flag) = (names(false), names(true));
    assert!(used.is_superset(&always), "each metric is shown: {used:?}");
    let of_each: BTreeSet<String> = used.difference(&always).cloned().collect();
    assert!(of_each.is_subset(&with_a_flag), "{of_each:?} are no metrics of the operator");
    // Alerts must not depend on a flag.
    let alerted: BTreeSet<String> = expressions(&read_alerts()?).iter().flat_map(|e| metrics(e)).collect();
    assert!(alerted.is_subset(&always), "{alerted:?}");
    Ok(())
}

#[test]
fn every_alert_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let alerts = read_alerts()?;
    for rule in alerts["groups"][0]["rules"].as_array().context("rules")? {
        for annotation in ["summary", "description", "runbook"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            ensure!(!text.is_empty(), "{} has no {annotation}", rule["alert"]);
        }
        ensure!(rule["labels"]["severity"].is_string() && rule["for"].is_string(), "{}", rule["alert"]);
    }
    Ok(())
}

#[test]
fn the_chart_installs_alerts_and_dashboard_as_they_are() -> Result<()> {
    let on = json!({"enabled": true});
    let objects =
        rendered(&json!({"monitoring": {"serviceMonitor": on, "prometheusRule": on, "dashboard": on}}))?;
    let rule = of_kind(&objects, "PrometheusRule");
    assert_eq!(rule.iter().map(|r| &r["spec"]).collect::<Vec<_>>(), [&read_alerts()?]);
    let maps = of_kind(&objects, "ConfigMap");
    let held: Vec<Value> = maps
        .iter()
        .filter_map(|map| serde_json::from_str(map["data"]["s3-replication-operator.json"].as_str()?).ok())
        .collect();
    assert_eq!(held, [dashboard()?]);
    Ok(())
}

/// The labels that Prometheus Operator puts on every target of a ServiceMonitor
/// (<https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.ServiceMonitor>).
const OF_THE_TARGET: [&str; 7] = ["namespace", "service", "pod", "container", "endpoint", "job", "instance"];

#[test]
fn a_label_of_a_metric_is_not_replaced_by_one_of_the_target() -> Result<()> {
    let labels: BTreeSet<&str> = DESCRIPTIONS.iter().flat_map(|metric| metric.labels).copied().collect();
    let shared: Vec<&str> = labels.into_iter().filter(|label| OF_THE_TARGET.contains(label)).collect();
    assert_eq!(shared, ["namespace", "service"], "these are the metrics' own, and the others the target's");
    let objects = rendered(&json!({"monitoring": {"serviceMonitor": {"enabled": true}}}))?;
    let of_chart = of_kind(&objects, "ServiceMonitor");
    let for_kustomize = read_yaml("deploy/prometheus/servicemonitor.yaml")?;
    for monitor in of_chart.into_iter().chain([&for_kustomize]) {
        assert_eq!(monitor["spec"]["endpoints"][0]["honorLabels"], true, "{monitor:#}");
    }
    for document in [read_alerts()?, dashboard()?] {
        ensure!(!document.to_string().contains("exported_"), "a label that was replaced is read");
    }
    Ok(())
}

#[test]
fn a_panel_of_resources_shows_those_of_the_chosen_operator_by_their_own_namespaces() -> Result<()> {
    let all = expressions(&dashboard()?);
    let of_each: Vec<&String> =
        all.iter().filter(|expression| expression.contains("operator_resource_")).collect();
    assert_eq!(of_each.len(), 3, "{of_each:?}");
    let tests = of_each.iter().map(|expression| {
        let metric = metrics(expression).into_iter().find(|name| name.starts_with("resource_"));
        let metric = format!("s3_replication_operator_{}", metric.unwrap_or_default());
        let chosen = expression.replace("$namespace", "operators").replace("$job", "operator");
        let resource = |instance: &str| {
            format!("{metric}{{namespace=\"data\", name=\"orders\", job=\"operator\", instance=\"{instance}\", pod=\"{instance}\"}}")
        };
        let operator = |namespace: &str, instance: &str| {
            format!("s3_replication_operator_build_info{{namespace=\"{namespace}\", job=\"operator\", instance=\"{instance}\", pod=\"{instance}\"}}")
        };
        json!({
            "interval": "1m",
            "input_series": [
                {"series": resource("a"), "values": "3x5"},
                {"series": resource("b"), "values": "8x5"},
                {"series": operator("operators", "a"), "values": "1x5"},
                {"series": operator("elsewhere", "b"), "values": "1x5"},
            ],
            "promql_expr_test": [{
                "expr": chosen,
                "eval_time": "3m",
                "exp_samples": [{"labels": "{namespace=\"data\", name=\"orders\", job=\"operator\"}", "value": 3}],
            }],
        })
    });
    let file = json!({"evaluation_interval": "1m", "tests": tests.collect::<Vec<_>>()}).to_string();
    promtool(&["test", "rules", "panels.yaml"], &[("panels.yaml", &file)])
}

#[test]
fn each_alert_leads_to_its_runbook_on_the_site() -> Result<()> {
    // The site of the operator's own links counts, unless the alerts have another one, or none.
    for (of_operator, of_alerts, site) in [
        (json!("https://docs.example.com/"), Value::Null, Some("https://docs.example.com")),
        (
            json!("https://docs.example.com"),
            json!("https://wiki.example.com/s3/"),
            Some("https://wiki.example.com/s3"),
        ),
        (Value::Null, json!("https://docs.example.com"), Some("https://docs.example.com")),
        (json!("https://docs.example.com"), json!(""), None),
        (Value::Null, Value::Null, None),
    ] {
        let rule = json!({"enabled": true, "runbookUrl": of_alerts});
        let values = json!({"operator": {"runbookUrl": of_operator}, "monitoring": {"prometheusRule": rule}});
        let objects = rendered(&values)?;
        let [rule] = of_kind(&objects, "PrometheusRule")[..] else { bail!("one PrometheusRule") };
        for rule in rule["spec"]["groups"][0]["rules"].as_array().context("rules")? {
            let alert = rule["alert"].as_str().context("alert")?;
            let page = site.map(|site| format!("{site}/alerts/{alert}/"));
            assert_eq!(rule["annotations"]["runbook_url"].as_str(), page.as_deref(), "{values}");
        }
    }
    Ok(())
}

#[test]
fn the_panels_do_not_overlap() -> Result<()> {
    let mut taken = BTreeSet::new();
    for panel in dashboard()?["panels"].as_array().context("panels")? {
        let at = |key: &str| panel["gridPos"][key].as_u64().context("gridPos");
        let (x, y, w, h) = (at("x")?, at("y")?, at("w")?, at("h")?);
        ensure!(x + w <= 24, "{} is too wide", panel["title"]);
        for cell in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
            ensure!(taken.insert(cell), "{} overlaps", panel["title"]);
        }
    }
    Ok(())
}
