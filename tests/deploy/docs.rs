//! The pages on installing name only values, files and alerts that exist.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::support::{NAMESPACE, RELEASE, read, read_yaml, repository};

const PAGES: [&str; 2] = ["docs/install.md", "docs/gitops.md"];

/// The text between backticks, and each word of the code blocks.
fn code(page: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (i, part) in page.split("```").enumerate() {
        if i % 2 == 1 {
            words.extend(part.split_whitespace());
        } else {
            words.extend(part.split('`').skip(1).step_by(2));
        }
    }
    words
}

/// Whether a dotted path leads to a value of the chart.
fn is_value(values: &Value, path: &str) -> bool {
    values.pointer(&format!("/{}", path.replace('.', "/"))).is_some()
}

#[test]
fn the_values_of_the_chart_that_the_pages_name_are_there() -> Result<()> {
    let values = read_yaml("charts/s3-replication-operator/values.yaml")?;
    let groups: BTreeSet<&str> = values.as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
    let mut named = BTreeSet::new();
    for page in PAGES {
        let text = read(page)?;
        for words in code(&text) {
            // `--set a.b=c`, `a.b: c` and `a.b`, where the first part is a group of the values.
            let path = words.split(['=', ':', ' ']).next().unwrap_or_default();
            let group = path.split('.').next().unwrap_or_default();
            if groups.contains(group) && (path.contains('.') || words.contains([':', '='])) {
                ensure!(is_value(&values, path), "{page}: {path} is no value of the chart");
                named.insert(path.to_owned());
            }
        }
    }
    assert!(named.len() >= 10, "{named:?}");
    Ok(())
}

#[test]
fn the_files_that_the_pages_name_are_there() -> Result<()> {
    let mut named = BTreeSet::new();
    for page in PAGES {
        let text = read(page)?;
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.map(|link| format!("docs/{link}"));
        let paths = code(&text).into_iter().flat_map(str::split_whitespace);
        let paths = paths.filter(|word| word.starts_with("deploy/") || word.starts_with("charts/"));
        for path in links.chain(paths.map(str::to_owned)) {
            let path = path.trim_end_matches(',').to_owned();
            ensure!(repository(&path).exists(), "{page}: there is no {path}");
            named.insert(path);
        }
    }
    assert!(named.len() >= 15, "{named:?}");
    Ok(())
}

#[test]
fn the_commands_are_for_the_names_that_the_chart_gives() -> Result<()> {
    let page = read(PAGES[0])?;
    for command in ["helm upgrade --install", "helm test", "helm uninstall"] {
        assert!(page.contains(&format!("{command} {RELEASE} ")), "{command}");
    }
    assert!(page.contains(&format!("--namespace {NAMESPACE}")));
    assert!(read("deploy/prometheus/alerts.yaml")?.contains("alert: S3ReplicationNoLeader"));
    Ok(())
}
