//! `rig` without a subcommand: prints every task of this repository with the command that runs it.

/// A heading, and the commands under it with what each does.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

const TASKS: [Section; 5] = [
    (
        "See it work",
        &[
            (
                "cargo demo",
                "the operator on a real API server and an AWS emulator, step by step (--keep: stays up)",
            ),
            (
                "cargo kind",
                "the operator in pods of real clusters, with both suites (--help: nodes, own cluster)",
            ),
            ("cargo rig up", "a Kubernetes API, an AWS emulator and the operator to play with, until Ctrl-C"),
        ],
    ),
    (
        "Check a change",
        &[
            (".ci/run", "everything a change must pass: format, lints, generated files, tests, demo"),
            ("cargo test", "all tests"),
            (
                "cargo test --lib",
                "the unit tests, without a server (-- NAME: the tests whose name contains NAME)",
            ),
            (
                "cargo test --test architecture",
                "which module may use which, without circles, and what a function may look like",
            ),
            (
                "cargo test --test docs",
                "the pages: links, generated tables, and what runs the commands in them",
            ),
            (
                "cargo test --test e2e",
                "the operator against a real API server and the AWS emulator (-- NAME)",
            ),
            ("cargo test --test deploy", "the chart and the manifests in deploy/"),
            (
                "cargo test --test fuzz",
                "generated and mutated inputs (FUZZ_MINUTES=10: each property for ten minutes)",
            ),
            ("cargo test --test kind", "the operator in pods of a cluster with three nodes"),
            ("cargo test --test browser", "the page of `report` in a headless Chromium"),
            ("cargo test --test gitops", "the operator with a real Argo CD"),
            ("cargo test --test traces --features otlp", "the traces that a collector gets"),
            (
                "cargo rig explore",
                "the controllers in every order of calls, faults and acts, in memory (--depth, --minutes, --mutants)",
            ),
            (
                "cargo rig fuzz",
                "the inputs of cargo test --test fuzz from libFuzzer, guided by coverage (TARGET, --minutes; needs a C++ compiler)",
            ),
            (
                ".ci/supply-chain",
                "the licences, sources and advisories of the crates, and the hosted workflows (needs Python 3 and PyPI)",
            ),
            ("cargo fmt --all", "format"),
            ("cargo clippy --workspace --all-targets -- -D warnings", "lint"),
        ],
    ),
    (
        "Write the generated files",
        &[
            ("cargo run -- crds --output-dir crds", "the CRDs, from the types in src/api"),
            ("UPDATE_DOCS=1 cargo test --test docs", "the tables in docs/"),
            (".ci/site", "the pages of docs/ as a site in target/site, links checked (.ci/site serve)"),
            ("UPDATE_DEPLOY=1 cargo test --test deploy", "the manifests in deploy/, from the chart"),
        ],
    ),
    (
        "Measure",
        &[
            ("cargo rig budget", "the requests that one resource costs, against their limits"),
            (
                "cargo scale",
                "many resources at once: time, requests, memory, CPU (--count N, --across-accounts)",
            ),
            (
                "cargo scale --hostile",
                "six attacks of one tenant: the operator's memory, and how long another tenant waits (--churn N)",
            ),
        ],
    ),
    (
        "Set up a machine",
        &[
            ("cargo rig tools", "build and install everything that the tests need, before the first test"),
            ("cargo rig tools --system", "install the Debian packages that some tests need (as root)"),
        ],
    ),
];

/// Prints the tasks.
pub fn run() {
    print!("{}", text());
}

fn text() -> String {
    let mut text = String::from(
        "The tasks of this repository. `cargo rig --help` lists the options of the rig alone.\n",
    );
    for (heading, tasks) in TASKS {
        text += &format!("\n{heading}:\n");
        for (command, what) in tasks {
            text += &format!("  {command:<53}  {what}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::*;
    use crate::Arguments;

    fn is_listed(command: &str) -> bool {
        TASKS.iter().flat_map(|(_, tasks)| *tasks).any(|(listed, _)| {
            listed.strip_prefix(command).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }

    #[test]
    fn every_alias_and_every_subcommand_of_the_rig_is_listed() {
        let config = fs::read_to_string(rig::paths::repository().join(".cargo/config.toml")).unwrap();
        let aliases: Vec<(&str, &str)> =
            config.lines().filter_map(|line| line.split_once(" = \"run ")).collect();
        assert!(!aliases.is_empty(), "no alias in {config}");
        for (alias, _) in &aliases {
            assert!(is_listed(&format!("cargo {alias}")), "cargo {alias}");
        }
        for subcommand in Arguments::command().get_subcommands() {
            let name = subcommand.get_name();
            let aliased = aliases.iter().any(|(_, command)| command.ends_with(&format!("-- {name}\"")));
            assert!(aliased || is_listed(&format!("cargo rig {name}")), "cargo rig {name}");
        }
    }

    #[test]
    fn every_test_program_is_listed_or_runs_without_servers() {
        for entry in fs::read_dir(rig::paths::repository().join("tests")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.join("main.rs").is_file() {
                assert!(is_listed(&format!("cargo test --test {name}")), "{name}");
            }
        }
    }
}
