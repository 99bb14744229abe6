//! The direction of dependencies, as the architecture page draws it: data goes one way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of the crate's modules each one may use. A module may always use itself.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("api", &[]),
    ("backoff", &[]),
    ("iam", &["replication"]),
    ("replication", &["api", "iam"]),
    ("ports", &["api", "replication"]),
    ("aws", &["api", "backoff", "iam", "ports", "replication", "telemetry"]),
    ("telemetry", &["api"]),
    ("runtime", &["api", "backoff", "ports", "replication", "aws", "telemetry", "controllers"]),
    ("controllers", &["api", "backoff", "iam", "ports", "replication", "aws", "telemetry", "runtime"]),
    ("cli", &["api", "iam", "ports", "replication", "aws", "telemetry", "runtime", "controllers"]),
];

/// What only these modules may know of the outside.
const ONLY_IN: [(&str, &[&str]); 7] = [
    ("aws_sdk_", &["aws"]),
    ("aws_config", &["aws"]),
    ("kube::runtime", &["controllers", "runtime"]),
    ("opentelemetry", &["telemetry"]),
    ("tokio", &["aws", "telemetry", "controllers", "runtime", "cli"]),
    ("std::time::Instant", &["aws", "telemetry", "controllers", "runtime"]),
    ("Timestamp::now", &["controllers", "runtime"]),
];

fn sources(module: &str) -> BTreeMap<PathBuf, String> {
    fn walk(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module);
    match fs::read_to_string(folder.with_extension("rs")) {
        Ok(text) => drop(found.insert(folder.with_extension("rs"), text)),
        Err(_) => walk(&folder, &mut found),
    }
    assert!(!found.is_empty(), "src/{module} holds no source");
    found
}

/// The code without comments, where a link to another module's page is no dependency.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_module_of_the_crate_has_its_place() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: Vec<&str> =
        lib.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut known: Vec<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    known.sort_unstable();
    assert_eq!(declared, known);
}

#[test]
fn modules_use_only_what_comes_before_them() {
    for (module, allowed) in MAY_USE {
        for (path, text) in sources(module) {
            for line in code(&text) {
                for (other, _) in MAY_USE.iter().filter(|(o, _)| *o != module && !allowed.contains(o)) {
                    let used = line.contains(&format!("crate::{other}"));
                    assert!(!used, "{}: {module} must not use {other}: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn each_outside_library_is_known_in_its_place_only() {
    for (library, allowed) in ONLY_IN {
        for (module, _) in MAY_USE.iter().filter(|(m, _)| !allowed.contains(m)) {
            for (path, text) in sources(module) {
                let line = code(&text).find(|line| line.contains(library));
                assert_eq!(line, None, "{}: {library} belongs in {allowed:?}", path.display());
            }
        }
    }
}
