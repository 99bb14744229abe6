//! The commands that developers run one after the other compile each dependency once.
//!
//! In: the packages and features that `cargo tree` resolves for each command. Out: the packages that one command would
//! compile again after another, because it resolves other features for them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The packages that a command builds, as arguments of `cargo tree`, each a superset of the one before.
const COMMANDS: [(&str, &[&str]); 3] = [
    ("cargo demo", &["--edges", "normal,build"]),
    ("cargo test", &["--edges", "normal,build,dev"]),
    ("cargo test --features otlp", &["--edges", "normal,build,dev", "--features", "otlp"]),
];

/// The features that each package is compiled with. A package that runs on the host and on the target may have two
/// lists.
type Packages = BTreeMap<String, BTreeSet<String>>;

#[test]
fn each_dependency_is_compiled_once_for_all_commands() -> Result<()> {
    for pair in COMMANDS.windows(2) {
        let [(smaller, smaller_args), (larger, larger_args)] = pair else { unreachable!("windows of two") };
        // Without procedural macros and build scripts, every crate that is left is compiled for the target alone.
        for only_target in [true, false] {
            let again = compiled_again(
                &resolve(smaller_args, only_target)?,
                &resolve(larger_args, only_target)?,
                only_target,
            );
            ensure!(
                again.is_empty(),
                "`{larger}` after `{smaller}` compiles packages again; enable the features that differ in \
                 tests/rig/Cargo.toml:\n{}",
                again.join("\n")
            );
        }
    }
    Ok(())
}

#[test]
fn another_list_of_features_is_found() {
    let one = parse("tokio v1.0.0 net\nserde v1.0.0 std\nserde v1.0.0 alloc\n");
    assert!(compiled_again(&one, &one, true).is_empty());
    let added = parse("tokio v1.0.0 fs,net\nserde v1.0.0 std\nserde v1.0.0 alloc\nmlua v1.0.0 lua51\n");
    assert_eq!(compiled_again(&one, &added, true), ["tokio v1.0.0: {\"net\"} and {\"fs,net\"}"]);
    // A tool that only the larger command runs on the host may need a package with features of its own.
    let on_host = parse("tokio v1.0.0 net\ntokio v1.0.0 fs\nserde v1.0.0 std\nserde v1.0.0 alloc\n");
    assert!(compiled_again(&one, &on_host, false).is_empty());
    assert_eq!(compiled_again(&on_host, &one, false).len(), 1);
}

/// The packages of `smaller` that `larger` does not build with the same features.
fn compiled_again(smaller: &Packages, larger: &Packages, only_target: bool) -> Vec<String> {
    let same = |ours: &BTreeSet<String>, theirs: &BTreeSet<String>| match only_target {
        true => ours == theirs,
        false => ours.is_subset(theirs),
    };
    let none = BTreeSet::new();
    smaller
        .iter()
        .map(|(package, features)| (package, features, larger.get(package).unwrap_or(&none)))
        .filter(|(_, ours, theirs)| !same(ours, theirs))
        .map(|(package, ours, theirs)| format!("{package}: {ours:?} and {theirs:?}"))
        .collect()
}

/// Asks Cargo which packages it would compile with which features. The workspace's own are left out: `otlp` is a
/// feature of one of them.
fn resolve(args: &[&str], only_target: bool) -> Result<Packages> {
    let mut args: Vec<String> = args.iter().map(ToString::to_string).collect();
    if only_target {
        args[1] = format!("{},no-proc-macro", args[1].replace(",build", ""));
    }
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--prefix", "none", "--no-dedupe", "--format", "{p} {f}"])
        .args(&args)
        .output()
        .context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let packages = parse(std::str::from_utf8(&output.stdout)?);
    ensure!(packages.len() > 100, "cargo tree {args:?} lists {} packages only", packages.len());
    Ok(packages)
}

/// Reads lines such as `tokio v1.54.1 fs,net` and `serde_derive v1.0.229 (proc-macro) default`.
fn parse(tree: &str) -> Packages {
    let mut packages = Packages::new();
    for line in tree.lines().filter(|line| !line.contains(env!("CARGO_MANIFEST_DIR"))) {
        let mut words = line.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let features = words.filter(|word| *word != "(proc-macro)").collect();
        packages.entry(format!("{name} {version}")).or_default().insert(features);
    }
    packages
}
