//! A value sets every flag of `run`, and the chart sets only flags that exist.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::{arguments, read, rendered};

/// Values that set every flag, and the argument each becomes.
fn every_flag() -> (Value, BTreeMap<&'static str, Option<&'static str>>) {
    let values = json!({
        "leaderElection": {
            "enabled": true,
            "leaseName": "lease",
            "leaseNamespace": "leases",
            "leaseDuration": "30s",
            "renewDeadline": "20s",
            "retryPeriod": "4s",
        },
        "namespaces": ["data", "shop"],
        "operator": {
            "selector": "shard in (a, b),team=data",
            "concurrency": 3,
            "interval": "1h30m",
            "minInterval": "10m",
            "runbookUrl": "https://docs.example.com",
            "events": {
                "queues": ["https://sqs.eu-west-1.amazonaws.com/111122223333/events"],
                "interval": "12h",
            },
            "requireAccount": true,
            "readOnly": true,
            "formerClusters": ["0b8e6d53-5c1f-4f3d-9c58-0c1b5e9f6a10"],
            "requestInterval": 20,
            "backfillSettle": "5m",
            "healthInterval": "10m",
            "healthWindow": "30m",
            "httpAddress": "[::]:9090",
            "resourceMetrics": true,
            "otlpEndpoint": "http://collector:4318",
            "logFormat": "text",
            "logLevel": "info,kube=debug",
            "logLevelFile": "/etc/operator/log-level",
        },
        "aws": {
            "s3ReadRate": 1000000,
            "s3WriteRate": 2,
            "iamReadRate": 3,
            "iamWriteRate": 4,
            "attemptTimeout": 5,
            "attempts": 6,
        },
    });
    let flags = [
        ("leader-elect", None),
        ("lease-name", Some("lease")),
        ("lease-namespace", Some("leases")),
        ("lease-duration", Some("30s")),
        ("renew-deadline", Some("20s")),
        ("retry-period", Some("4s")),
        ("namespaces", Some("data,shop")),
        ("selector", Some("shard in (a, b),team=data")),
        ("concurrency", Some("3")),
        ("interval", Some("1h30m")),
        ("min-interval", Some("10m")),
        ("runbook-url", Some("https://docs.example.com")),
        ("event-queue", Some("https://sqs.eu-west-1.amazonaws.com/111122223333/events")),
        ("interval-with-events", Some("12h")),
        ("require-account", None),
        ("read-only", None),
        ("former-cluster", Some("0b8e6d53-5c1f-4f3d-9c58-0c1b5e9f6a10")),
        ("request-interval", Some("20")),
        ("backfill-settle", Some("5m")),
        ("health-interval", Some("10m")),
        ("health-window", Some("30m")),
        ("http-address", Some("[::]:9090")),
        ("resource-metrics", None),
        ("otlp-endpoint", Some("http://collector:4318")),
        ("log-format", Some("text")),
        ("log-level", Some("info,kube=debug")),
        ("log-level-file", Some("/etc/operator/log-level")),
        ("s3-read-rate", Some("1000000")),
        ("s3-write-rate", Some("2")),
        ("iam-read-rate", Some("3")),
        ("iam-write-rate", Some("4")),
        ("aws-attempt-timeout", Some("5")),
        ("aws-attempts", Some("6")),
    ];
    (values, flags.into())
}

/// Whether the tested program was built with the feature of a flag.
fn built_in(flag: &str) -> bool {
    flag != "otlp-endpoint" || cfg!(feature = "otlp")
}

/// The flags that `run --help` lists, each with its default.
fn flags_of_run() -> Result<BTreeMap<String, Option<String>>> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_s3-replication-operator")).args(["run", "--help"]).output()?;
    let help = String::from_utf8(output.stdout)?;
    let mut flags: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut current = None;
    for line in help.lines() {
        let start = line.trim_start();
        // A flag, after its short form if it has one. Explanations may mention flags, but do not begin with one.
        let long = start.strip_prefix("--").or_else(|| start.split_once(", --").map(|(_, long)| long));
        if let Some(long) = long.filter(|_| start.starts_with('-')) {
            let name = long.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
            flags.insert(name.clone(), None);
            current = Some(name);
        }
        if let (Some((_, default)), Some(name)) = (line.split_once("[default: "), &current) {
            flags.insert(name.clone(), default.split_once(']').map(|(value, _)| value.to_owned()));
        }
    }
    flags.remove("help");
    flags.remove("version");
    Ok(flags)
}

#[test]
fn every_flag_of_run_is_reachable_by_a_value() -> Result<()> {
    let (values, expected) = every_flag();
    let given = arguments(&rendered(&values)?)?;
    assert_eq!(given.first().map(String::as_str), Some("run"));
    let set: BTreeMap<&str, Option<&str>> = given
        .iter()
        .skip(1)
        .map(|argument| {
            let flag = argument.strip_prefix("--").with_context(|| format!("{argument} is no flag"))?;
            Ok(flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value))))
        })
        .collect::<Result<_>>()?;
    assert_eq!(set, expected);

    let known = flags_of_run()?;
    assert!(known.contains_key("concurrency"), "{known:?}");
    let unreachable: Vec<&String> = known.keys().filter(|flag| !set.contains_key(flag.as_str())).collect();
    assert!(unreachable.is_empty(), "no value sets {unreachable:?}");
    let unknown: Vec<&&str> =
        set.keys().filter(|flag| !known.contains_key(**flag) && built_in(flag)).collect();
    assert!(unknown.is_empty(), "`run` has no {unknown:?}");
    Ok(())
}

#[test]
fn a_value_that_is_left_alone_leaves_the_operator_its_default() -> Result<()> {
    let given = arguments(&rendered(&json!({"leaderElection": {"enabled": false}, "replicas": 1}))?)?;
    let own = ["run", "--http-address=0.0.0.0:8080", "--log-format=json", "--require-account"];
    assert_eq!(given, own);
    Ok(())
}

#[test]
fn the_defaults_that_the_values_speak_of_are_those_of_the_program() -> Result<()> {
    let text = read("charts/s3-replication-operator/values.yaml")?;
    let documented: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| {
            let (_, words) = line.split_once("# Flag --")?;
            let (_, default) = words.split_once("Default: ")?;
            Some((words.split([':', '.', ' ']).next()?, default))
        })
        .collect();
    // Where the chart leaves the default to the program, it names it.
    let own = ["http-address", "log-format", "lease-name"];
    for (flag, default) in flags_of_run()? {
        let Some(default) = default.filter(|_| !own.contains(&flag.as_str())) else { continue };
        let documented_default = documented.get(flag.as_str()).copied();
        ensure!(
            documented_default == Some(default.as_str()),
            "--{flag} defaults to {default}; values.yaml says {documented_default:?}"
        );
    }
    Ok(())
}
