//! The pages in `docs/` agree with the code: reasons, fields, metrics, commands, and links between pages.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` regenerates the generated pages.

mod commands;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, CommandFactory};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use s3_replication_operator::api::{Reason, crd};
use s3_replication_operator::cli::Cli;
use s3_replication_operator::telemetry::{DESCRIPTIONS, PREFIX};
use serde_json::Value;
use strum::VariantArray;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_default()
}

/// Every page for readers, in `docs/` and beside the code.
fn pages() -> Vec<PathBuf> {
    let of_docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "STYLE.md",
        "SECURITY.md",
        "tests/gitops/README.md",
        "tests/kind/README.md",
        "tests/upgrade/0.0.9/README.md",
    ];
    let mut pages: Vec<PathBuf> = of_docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain(others.map(|page| root().join(page)))
        .collect();
    pages.sort();
    pages
}

#[test]
fn the_table_of_reasons_is_complete_and_in_the_order_of_the_code() {
    let text = page("docs/reasons.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let documented: Vec<(&str, &str)> = rows.iter().map(|r| (r[0].trim_matches('`'), r[1])).collect();
    let coded: Vec<(&str, &str)> =
        Reason::VARIANTS.iter().map(|reason| (reason.as_str(), reason.ready().as_str())).collect();
    assert_eq!(documented, coded);
    for row in &rows {
        assert_eq!(row.len(), 5, "{row:?}");
        let reason = Reason::VARIANTS.iter().find(|r| r.as_str() == row[0].trim_matches('`')).unwrap();
        assert_eq!(row[2] == "soon", reason.is_transient(), "{} is checked again {}", row[0], row[2]);
    }
}

#[test]
fn each_reason_has_a_paragraph_that_says_how_to_see_it_and_what_to_do() {
    let text = page("docs/reasons.md");
    let paragraphs: Vec<(&str, &str)> =
        text.split("\n## ").skip(1).filter_map(|part| part.split_once("\n\n")).collect();
    let headings: Vec<&str> = paragraphs.iter().map(|(heading, _)| *heading).collect();
    assert_eq!(headings, Reason::VARIANTS.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    for (heading, paragraph) in paragraphs {
        let (means, rest) = paragraph.split_once("**See:**").unwrap_or_default();
        let (see, act) = rest.split_once("**Do:**").unwrap_or_default();
        for part in [means, see, act] {
            assert!(!part.trim().is_empty(), "{heading}: {paragraph}");
        }
    }
}

#[test]
fn troubleshooting_has_a_row_for_each_alert() {
    let rules = page("charts/s3-replication-operator/files/alerts.yaml");
    let text = page("docs/troubleshooting.md");
    let alerts: Vec<&str> = rules.lines().filter_map(|l| l.trim_start().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(text.contains(&format!("| `{alert}` |")), "docs/troubleshooting.md has no row for {alert}");
    }
}

/// Pages refer to each other by file and heading.
#[test]
fn no_link_between_pages_leads_nowhere() {
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                assert!(anchors(&target).any(|anchor| anchor == heading), "{}: {link}", path.display());
            }
        }
    }
}

/// GitHub's renderer and that of the site agree on code in a list only if it is indented by four spaces.
#[test]
fn code_in_lists_is_indented_by_four() {
    for path in pages() {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let indentation = line.len() - line.trim_start().len();
            let is_fence = line.trim_start().starts_with("```");
            assert!(!is_fence || indentation % 4 == 0, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn the_files_and_folders_that_the_architecture_page_names_exist() {
    let text = page("docs/architecture.md");
    let code = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> =
        code.filter(|word| word.contains('/') && !word.contains(char::is_whitespace)).collect();
    assert!(paths.len() >= 15, "{paths:?}");
    for path in paths {
        assert!(root().join("src").join(path).exists() || root().join(path).exists(), "there is no {path}");
    }
}

/// The targets in the parentheses of `[text](link)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

/// The anchors of the headings, as GitHub forms them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    })
}

#[test]
fn the_field_reference_is_generated_from_the_types() {
    let path = root().join("docs/fields.md");
    let generated = field_reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    assert!(held == generated, "docs/fields.md is not up to date: run UPDATE_DOCS=1 cargo test --test docs");
}

fn field_reference() -> String {
    let mut text = String::from(
        "# Fields\n\nGenerated from the types; `kubectl explain br.spec` and `kubectl explain awsacct.spec` print the \
         same.\n",
    );
    kind_reference(&mut text, crd::bucket_replication().unwrap());
    kind_reference(&mut text, crd::aws_account().unwrap());
    kind_reference(&mut text, crd::replication_backfill().unwrap());
    text
}

fn kind_reference(text: &mut String, crd: CustomResourceDefinition) {
    let kind = crd.spec.names.kind.clone();
    let crd = serde_json::to_value(crd).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for part in ["spec", "status"] {
        let node = &schema["properties"][part];
        writeln!(text, "\n## {kind}: {part}\n\n| Field | Type | Meaning |\n| --- | --- | --- |").unwrap();
        fields(text, part, node);
        let rules = validations(node);
        if !rules.is_empty() {
            writeln!(text, "\nThe API server rejects a spec with these messages:\n").unwrap();
        }
        for (path, message) in rules {
            let path = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
            writeln!(text, "- {path}{message}").unwrap();
        }
    }
}

fn fields(text: &mut String, path: &str, node: &Value) {
    let required: Vec<&str> =
        node["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in node["properties"].as_object().into_iter().flatten() {
        let (suffix, inner) = match field["type"].as_str() {
            Some("array") => ("[]", &field["items"]),
            _ => ("", field),
        };
        let path = format!("{path}.{name}{suffix}");
        let mark = if required.contains(&name.as_str()) { ", required" } else { "" };
        let meaning =
            field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        writeln!(text, "| `{path}` | {}{mark} | {meaning} |", kind(field)).unwrap();
        fields(text, &path, inner);
    }
}

fn kind(field: &Value) -> String {
    let mut kind = match field["type"].as_str().unwrap_or("object") {
        "array" => format!("list of {}", field["items"]["type"].as_str().unwrap_or("object")),
        "object" if field["additionalProperties"].is_object() => "map of string".to_owned(),
        other => other.to_owned(),
    };
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(|v| Some(format!("`{}`", v.as_str()?))).collect();
        kind = values.join(", ");
    }
    if let Some(default) = field.get("default").filter(|d| !d.is_object()) {
        write!(kind, "; default `{}`", default.as_str().map_or(default.to_string(), str::to_owned)).unwrap();
    }
    kind
}

/// Every rule's message, with the path of its field.
fn validations(node: &Value) -> Vec<(String, String)> {
    let own = node["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut all: Vec<(String, String)> =
        own.filter_map(|rule| Some((String::new(), rule["message"].as_str()?.to_owned()))).collect();
    for (name, field) in node["properties"].as_object().into_iter().flatten() {
        let inner = validations(field).into_iter().chain(validations(&field["items"]));
        all.extend(inner.map(|(path, message)| {
            let path = if path.is_empty() { name.clone() } else { format!("{name}.{path}") };
            (path, message)
        }));
    }
    all
}

#[test]
fn the_page_of_flags_is_generated_from_the_command_line() {
    let path = root().join("docs/flags.md");
    let generated = flags_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    assert!(held == generated, "docs/flags.md is not up to date: run UPDATE_DOCS=1 cargo test --test docs");
}

fn flags_page() -> String {
    let mut text = "# Flags\n\n\
         Every subcommand of `s3-replication-operator`, which is `kubectl s3replication` too, with its arguments. An\n\
         environment variable stands in for a flag that is absent. What the subcommands print, and their exit codes, is in\n\
         [The command line](command-line.md); the chart's values for the flags of `run` are in its\n\
         [values.yaml](../charts/s3-replication-operator/values.yaml).\n"
        .to_owned();
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        write!(text, "\n## {}\n\n{about}.\n", command.get_name()).unwrap();
        let rows: Vec<String> =
            command.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(flag_row).collect();
        if !rows.is_empty() {
            text.push_str("\n| Flag | Environment | Default | Meaning |\n| --- | --- | --- | --- |\n");
            text.extend(rows);
        }
    }
    text
}

fn flag_row(argument: &Arg) -> Option<String> {
    let takes_value = argument.get_action().takes_values();
    let names = argument.get_value_names().unwrap_or_default().join(" ");
    let flag = match (argument.get_short(), argument.get_long()) {
        (_, Some("help" | "version")) => return None,
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => String::new(),
    };
    let flag = if takes_value { format!("{flag} {names}").trim().to_owned() } else { flag };
    let environment = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
    let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
    let defaults = defaults.collect::<Vec<_>>().join(",");
    let default = if takes_value && !defaults.is_empty() { format!("`{defaults}`") } else { String::new() };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    let possible = argument.get_possible_values();
    let possible: Vec<_> =
        possible.iter().filter(|_| takes_value).map(|value| format!("`{}`", value.get_name())).collect();
    let possible =
        if possible.is_empty() { String::new() } else { format!("; one of {}", possible.join(", ")) };
    Some(format!("| `{flag}` | {} | {default} | {help}{possible} |\n", environment.unwrap_or_default()))
}

#[test]
fn the_page_of_metrics_is_generated_from_the_descriptions() {
    let path = root().join("docs/metrics.md");
    let generated = metrics_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    assert!(held == generated, "docs/metrics.md is not up to date: run UPDATE_DOCS=1 cargo test --test docs");
}

fn metrics_page() -> String {
    let mut text = format!(
        "# Metrics\n\n\
         Every process serves them at `/metrics` in the OpenMetrics text format: the leader and the processes that\n\
         stand by. Names begin with `{PREFIX}_`.\n\n\
         The labels `namespace` and `service` are the operator's own, and not those of the pod that is scraped. A scrape\n\
         without the chart's ServiceMonitor therefore needs `honor_labels: true`.\n",
    );
    let table = |text: &mut String, optional: bool| {
        text.push_str("\n| Name | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n");
        for metric in DESCRIPTIONS.iter().filter(|m| m.optional == optional) {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, meaning) = (metric.name, metric.kind.as_str(), metric.meaning);
            writeln!(text, "| `{name}` | {kind} | {} | {meaning} |", labels.join(", ")).unwrap();
        }
    };
    table(&mut text, false);
    text.push_str("\nOne series per resource, only with `--resource-metrics`:\n");
    table(&mut text, true);
    text
}
