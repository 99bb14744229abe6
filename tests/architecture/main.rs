//! The direction of dependencies, as the architecture page draws it: data goes one way, between folders and between
//! files, and nothing goes in a circle. And the rules of the style page that a program can check.

mod functions;
mod headers;
mod hidden;
mod sources;
mod types;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use functions::{Broken, broken};
use headers::{Part, lacking};
use hidden::{Form, hidden};
use sources::{Edge, Sources, circles};
use types::collisions;
use words::{clauses, misplaced, readable_files, replaceable};

/// Which of the crate's modules each one may use. A module may always use itself.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("api", &[]),
    ("backoff", &[]),
    ("mutants", &[]),
    ("iam", &["mutants"]),
    ("replication", &["api", "iam", "mutants"]),
    ("ports", &["api", "iam", "mutants", "replication"]),
    ("telemetry", &["api"]),
    ("aws", &["api", "backoff", "iam", "replication", "ports", "telemetry"]),
    ("runtime", &["api", "backoff", "replication", "ports", "telemetry"]),
    (
        "controllers",
        &["api", "backoff", "iam", "mutants", "replication", "ports", "aws", "runtime", "telemetry"],
    ),
    ("cli", &["api", "iam", "replication", "ports", "aws", "runtime", "telemetry", "controllers"]),
    (
        "simulation",
        &["api", "iam", "mutants", "replication", "ports", "aws", "runtime", "telemetry", "controllers"],
    ),
];

/// The outside names that only these modules may know.
const ONLY_IN: [(&str, &[&str]); 10] = [
    ("aws_sdk_", &["aws"]),
    ("aws_config", &["aws"]),
    ("kube::runtime", &["controllers", "runtime"]),
    ("opentelemetry", &["telemetry"]),
    ("tokio", &["aws", "telemetry", "controllers", "runtime", "cli"]),
    ("std::time::Instant", &["aws", "telemetry", "controllers", "runtime", "simulation"]),
    ("Timestamp::now", &["controllers", "runtime"]),
    ("SystemTime::now", &["aws", "telemetry", "runtime"]),
    ("kube::Client", &["controllers", "runtime", "cli"]),
    ("kube::Api", &["controllers", "runtime", "cli"]),
];

/// The names that a type in the folder of each kind may have, because they are the same idea for each kind.
const ONE_FOR_EACH_KIND: [(&str, &str); 3] = [
    ("Context", "the dependencies of a reconcile of the kind"),
    ("Memory", "what is remembered of the kind's resources between reconciles"),
    ("Stop", "why a reconcile of the kind ends early"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The folder that a file is in, directly below the root.
fn folder(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

/// Uses of a folder by one that may not use it.
fn wrong_ways(edges: &BTreeSet<Edge>, may_use: &[(&str, &[&str])]) -> Vec<String> {
    let allowed = |from: &str, to: &str| {
        from == to || may_use.iter().any(|(folder, used)| *folder == from && used.contains(&to))
    };
    // The simulated world stands behind the ports, so that tests on this side of them need it.
    let simulated = |edge: &Edge| edge.test && folder(&edge.to) == "simulation";
    let wrong =
        edges.iter().filter(|edge| !allowed(folder(&edge.from), folder(&edge.to)) && !simulated(edge));
    wrong.map(|edge| format!("{} uses {}", edge.from, edge.to)).collect()
}

#[test]
fn every_folder_has_its_row() {
    let sources = Sources::read(&root());
    let folders: BTreeSet<&str> = sources.names().map(folder).filter(|folder| *folder != "lib").collect();
    assert_eq!(folders, MAY_USE.iter().map(|(folder, _)| *folder).collect());
}

#[test]
fn folders_use_only_what_comes_before_them() {
    let wrong = wrong_ways(&Sources::read(&root()).edges(), &MAY_USE);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let found = circles(&Sources::read(&root()).edges());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_outside_library_is_known_in_its_place_only() {
    for (library, allowed) in ONLY_IN {
        for (module, _) in MAY_USE.iter().filter(|(module, _)| !allowed.contains(module)) {
            for path in files_of(module) {
                let text = fs::read_to_string(&path).unwrap();
                // In comments, a link to a page of another module is no use.
                let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let line = code.find(|line| line.contains(library));
                assert_eq!(line, None, "{}: {library} belongs in {allowed:?}", path.display());
            }
        }
    }
}

/// The files of a module, which is a folder or a single file.
fn files_of(module: &str) -> Vec<PathBuf> {
    let folder = root().join(module);
    if folder.is_dir() { files(&folder) } else { vec![folder.with_extension("rs")] }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The breaches of a made-up crate of two folders in which `b` may use `a`.
fn wrong_in(text: &str) -> Vec<String> {
    let files =
        [("lib.rs", "pub mod a; pub mod b;"), ("a.rs", text), ("b/mod.rs", "pub mod inner; pub struct B;")];
    let sources =
        Sources::parse(files.into_iter().chain(iter::once(("b/inner.rs", "pub fn f() {} pub struct I;"))));
    wrong_ways(&sources.edges(), &[("a", &[]), ("b", &["a"])])
}

#[test]
fn a_use_against_the_direction_is_found_in_whatever_form_it_is_written() {
    for form in [
        "use crate::b::B;",
        "use crate::b::*; fn f() {}",
        "use crate::{b::{inner::{f as g}}};",
        "use super::b::B;",
        "use crate::b as other; fn f() { other::inner::f() }",
        "use crate::b as other; use other::inner::f;",
        "use crate::b; pub use b::inner::{f as g};",
        "fn f() { crate::b::inner::f() }",
        "fn f() -> crate::b::B { todo!() }",
        "fn f(b: &dyn Into<crate::b::B>) {}",
        "mod inside { use super::super::b::B; }",
        "mod inside { fn f() { super::super::b::inner::f() } }",
        "fn f() { assert!(g(crate::b::inner::f())) }",
        "pub use crate::b::B;",
        "#[cfg(test)] mod tests { use crate::b::B; }",
    ] {
        assert!(!wrong_in(form).is_empty(), "{form}");
    }
    for form in ["use std::b::B;", "//! [`crate::b::B`]\nfn f() {}", "fn f() { let b = 1; b.inner() }"] {
        assert_eq!(wrong_in(form), Vec::<String>::new(), "{form}");
    }
}

fn circles_in(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    circles(&Sources::parse(files.iter().copied()).edges())
}

#[test]
fn a_circle_of_three_files_is_found() {
    let files = [
        ("lib.rs", "pub mod a;"),
        ("a/mod.rs", "pub mod one; pub mod two; pub mod three;"),
        ("a/one.rs", "use super::two::Two; pub struct One;"),
        ("a/two.rs", "pub struct Two; fn f() { crate::a::three::f() }"),
        ("a/three.rs", "use crate::a::{one::One}; pub fn f() {}"),
    ];
    assert_eq!(circles_in(&files), [["a/one.rs", "a/three.rs", "a/two.rs"]]);
}

#[test]
fn a_circle_through_a_re_export_is_found_and_one_of_tests_is_none() {
    let with = |one: &str| {
        circles_in(&[
            ("lib.rs", "pub mod a;"),
            ("a/mod.rs", "mod one; mod two; pub use one::One; pub use two::*;"),
            ("a/one.rs", one),
            ("a/two.rs", "use crate::a::One; pub struct Two;"),
        ])
    };
    assert_eq!(with("use crate::a::Two; pub struct One;"), [["a/one.rs", "a/two.rs"]]);
    assert!(with("pub struct One; #[cfg(test)] mod tests { use crate::a::Two; }").is_empty());
    assert!(with("pub struct One;").is_empty(), "a module that gathers names is in no circle");
    let of_tests = [
        ("lib.rs", "pub mod a; pub mod b;"),
        ("a/mod.rs", "#[cfg(test)] mod tests; pub struct A;"),
        ("a/tests/mod.rs", "mod more;"),
        ("a/tests/more.rs", "use crate::b::B;"),
        ("b.rs", "use crate::a::A; pub struct B;"),
    ];
    let edges = Sources::parse(of_tests).edges();
    assert!(edges.iter().any(|edge| edge.from == "a/tests/more.rs" && edge.test), "{edges:?}");
}

#[test]
fn a_circle_through_a_private_import_of_the_module_above_is_found() {
    let files = [
        ("lib.rs", "pub mod a;"),
        ("a/mod.rs", "mod one; mod two; use two::Two;"),
        ("a/one.rs", "use super::Two; pub struct One;"),
        ("a/two.rs", "use crate::a::one::One; pub struct Two;"),
    ];
    assert_eq!(circles_in(&files), [["a/one.rs", "a/two.rs"]]);
}

/// The forms in the sources of a crate that hide which file uses which other, each with its file.
fn hidden_in<'a>(sources: &Sources, files: &[(&'a str, &str)]) -> Vec<(&'a str, Form)> {
    let outside_tests: BTreeSet<&str> = sources.outside_tests().chain(["main.rs"]).collect();
    let in_file = |(file, text): &(&'a str, &str)| {
        let file = *file;
        hidden(text, !outside_tests.contains(file)).into_iter().map(move |form| (file, form))
    };
    files.iter().flat_map(in_file).collect()
}

/// The sources of the program, by name and text.
fn texts() -> Vec<(String, String)> {
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let sources = files(&root()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    sources.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn lent(texts: &[(String, String)]) -> Vec<(&str, &str)> {
    texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

#[test]
fn nothing_hides_which_file_uses_which_other() {
    let all = texts();
    let found = hidden_in(&Sources::read(&root()), &lent(&all));
    assert!(
        found.is_empty(),
        "name each item in its `use`, and keep each module in its own file: {found:#?}"
    );
}

#[test]
fn a_use_against_the_direction_in_a_form_that_hides_it_is_found() {
    let two_files = |text: &str| {
        let files = [("lib.rs", "pub mod a; pub mod b;"), ("a.rs", text), ("b.rs", "pub struct B;")];
        hidden_in(&Sources::parse(files), &files)
    };
    for (form, found) in [
        ("use crate::b::*;", Form::Glob),
        ("use super::b::*;", Form::Glob),
        ("use super::*; fn f() -> b::B { b::B }", Form::Glob),
        ("use crate::*;", Form::Glob),
        ("pub use crate::b::*;", Form::Glob),
        ("use crate::{b::{self, *}};", Form::Glob),
        ("use crate::b as c; use c::*;", Form::Glob),
        ("mod inside { use super::super::b::*; }", Form::Glob),
        ("fn f() { use crate::b::*; }", Form::Glob),
        ("macro_rules! m { () => { use crate::b::*; } }", Form::Glob),
        ("#[cfg(any(test, feature = \"a\"))] mod inside { use crate::b::*; }", Form::Glob),
        ("#[path = \"b.rs\"] mod c;", Form::Path),
        ("#[path = \"b.rs\"] pub mod c;", Form::Path),
        ("mod inside { #[path = \"../b.rs\"] mod c; }", Form::Path),
        ("#[cfg_attr(unix, path = \"b.rs\")] mod c;", Form::Path),
        ("#[cfg_attr(unix, allow(dead_code), path = \"b.rs\")] mod c;", Form::Path),
        ("#[cfg(test)] #[path = \"b.rs\"] mod c;", Form::Path),
        ("macro_rules! m { () => { #[path = \"b.rs\"] mod c; } }", Form::Path),
        ("include!(\"b.rs\");", Form::Include),
        ("fn f() { std::include!(\"b.rs\") }", Form::Include),
        ("#[cfg(test)] mod tests { include!(\"b.rs\"); }", Form::Include),
    ] {
        assert_eq!(two_files(form), [("a.rs", found)], "{form}");
    }
    for form in [
        "#[cfg(test)] mod tests { use super::*; use crate::b::*; }",
        "use std::path::Path; fn f(path: &Path) -> usize { 2 * path.len() }",
        "#[serde(path = \"a\")] struct A;",
        "fn f() { g!(a::b * c); include_str!(\"b.rs\"); }",
    ] {
        assert_eq!(two_files(form), [], "{form}");
    }
    let of_tests = [("lib.rs", "#[cfg(test)] mod tests;"), ("tests.rs", "use super::*; include!(\"x.rs\");")];
    assert_eq!(hidden_in(&Sources::parse(of_tests), &of_tests), [("tests.rs", Form::Include)]);
}

#[test]
fn no_two_types_have_one_name() {
    let (sources, all) = (Sources::read(&root()), texts());
    let outside_tests: BTreeSet<&str> = sources.outside_tests().chain(["main.rs"]).collect();
    let files = || lent(&all).into_iter().filter(|(file, _)| outside_tests.contains(file));
    let shared = ONE_FOR_EACH_KIND.map(|(name, _)| name);
    let found = collisions(files(), "controllers", &shared);
    assert!(found.is_empty(), "one word for one thing: {found:#?}");
    let without_list = collisions(files(), "controllers", &[]);
    let needed: Vec<&str> = without_list.keys().map(String::as_str).collect();
    assert_eq!(needed, shared, "names of ONE_FOR_EACH_KIND that one type has are in it for nothing");
}

#[test]
fn a_second_type_of_a_name_is_found_in_whatever_form_it_is_written() {
    let found = |text: &str, shared: &[&str]| {
        let files = [("a/one/x.rs", "pub struct A; fn f() {}"), ("a/two/x.rs", text)];
        collisions(files, "a", shared).into_keys().collect::<Vec<_>>()
    };
    for form in [
        "struct A;",
        "pub(super) enum A<T> { B(T) }",
        "pub type A = u8;",
        "trait A { type B; }",
        "union A { b: u8 }",
        "mod inside { pub struct A; }",
        "fn f() { struct A; }",
        "impl B { fn f() { enum A {} } }",
        "macro_rules! m { () => { pub struct A(u8); } }",
        "b! { #[derive(Debug)] pub enum A { B } }",
    ] {
        assert_eq!(found(form, &[]), ["A"], "{form}");
        assert_eq!(found(form, &["A"]), [""; 0], "{form} is in a folder of its own");
    }
    for form in [
        "enum B { A }",
        "use b::A;",
        "impl B for C { type A = u8; }",
        "trait B { type A; }",
        "const A: u8 = 1;",
        "#[cfg(test)] mod tests { struct A; }",
        "#[cfg(test)] struct A;",
        "#[cfg(test)] fn f() { struct A; }",
    ] {
        assert_eq!(found(form, &[]), [""; 0], "{form}");
    }
    for second in ["a/one/y.rs", "a/one/x/y.rs", "a/x.rs", "b/two/x.rs", "ab/two/x.rs", "x.rs"] {
        let files = [("a/one/x.rs", "struct A;"), (second, "struct A;")];
        assert_eq!(collisions(files, "a", &["A"]).into_keys().collect::<Vec<_>>(), ["A"], "{second}");
    }
    let in_one_file = [("a/one/x.rs", "struct A; mod inside { struct A; }")];
    assert_eq!(collisions(in_one_file, "a", &["A"])["A"], ["a/one/x.rs", "a/one/x.rs"]);
}

/// The source files of the program and of the rig that are not tests as a whole.
fn written() -> Vec<PathBuf> {
    let roots = [root(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/src")];
    let is_test = |path: &Path| path.iter().any(|part| part == "tests" || part == "tests.rs");
    let of_root = |root: &PathBuf| {
        let is_written = |path: &PathBuf| !path.strip_prefix(root).is_ok_and(is_test);
        let sources = files(root).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
        sources.filter(is_written).collect::<Vec<_>>()
    };
    roots.iter().flat_map(of_root).collect()
}

/// All source files of this repository, those of tests as well.
fn all_sources() -> Vec<PathBuf> {
    let roots = [root(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    let all = roots.iter().flat_map(|root| files(root));
    all.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// The breaches of a rule, each with its file.
fn all_broken(sources: Vec<PathBuf>, rule: fn(Broken) -> Vec<String>) -> Vec<String> {
    let in_file = |path: PathBuf| {
        let names = rule(broken(&fs::read_to_string(&path).unwrap()));
        names.into_iter().map(move |name| format!("{}: {name}", path.display()))
    };
    sources.into_iter().flat_map(in_file).collect()
}

#[test]
fn no_local_has_the_name_of_the_function_that_made_it() {
    let found = all_broken(all_sources(), |broken| broken.shadows);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_function_takes_more_than_five_parameters() {
    let found = all_broken(written(), |broken| broken.long);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_local_with_the_name_of_its_function_is_found_in_whatever_form_it_is_written() {
    for form in [
        "let a = a(1);",
        "let a: u8 = a().await?.len();",
        "let a = &a(1)?;",
        "let mut a = a(2).x;",
        "let a = self::a(1);",
        "let (a, b) = a(1);",
        "let (b, mut a) = (1, a(1));",
        "let (b, a): (B, A) = (1, a(1));",
        "let Some(a) = a(1) else { return };",
        "let B { c, d: a } = a(1);",
        "if let Ok(&a) = a(1) { b(); }",
        "while b && let Some(a) = a(1) { b(); }",
        "if b { loop { let a = a(1); } }",
        "b(|| { let a = a(1); });",
        "b!({ let a = a(1); });",
    ] {
        assert_eq!(broken(&format!("fn f() {{ {form} }}")).shadows, ["a"], "{form}");
    }
    for form in ["let a = m::a(1);", "let a = self.a();", "let a = b(a(1));", "let (b, a) = (a(1), 1);"] {
        assert_eq!(broken(&format!("fn f() {{ {form} }}")).shadows, [""; 0], "{form}");
    }
}

#[test]
fn a_local_with_the_name_of_its_function_is_found_in_tests_as_well() {
    for code in [
        "#[cfg(test)] mod tests { #[test] fn f() { let a = a(1); } }",
        "#[test] fn f() { let a = a(1); }",
        "proptest! { #[test] fn f(b in 0..9, c: bool) { let a = a(1); } }",
        "prop_compose! { fn f()(b in g())(c in h(b)) -> T { let a = a(1); a } }",
    ] {
        assert_eq!(broken(code).shadows, ["a"], "{code}");
    }
    let sources = all_sources();
    for file in
        ["src/replication/tests/plans.rs", "tests/e2e/main.rs", "tests/rig/src/lib.rs", "tests/fuzz/fuzz.rs"]
    {
        assert!(sources.iter().any(|path| path.ends_with(file)), "{file} is not read");
    }
}

#[test]
fn a_function_with_too_many_parameters_is_found_outside_of_tests() {
    let long = "trait T { fn g(&self, a: A, b: B, c: C, d: D, e: E, f: F); fn h(&self, a: A, b: B, c: C, d: D, e: E); }";
    assert_eq!(broken(long).long, ["g"]);
    let of_tests = "#[cfg(test)] mod tests { fn g(a: A, b: B, c: C, d: D, e: E, f: F) {} }";
    assert_eq!(broken(of_tests).long, [""; 0]);
}

#[test]
fn each_file_header_says_the_role_and_what_goes_in_and_out() {
    let sources = Sources::read(&root());
    let lacks = |file: &str| (file.to_owned(), lacking(&fs::read_to_string(root().join(file)).unwrap()));
    let found = sources.outside_tests().chain(["main.rs"]).map(lacks).filter(|(_, parts)| !parts.is_empty());
    let found: Vec<String> = found.map(|(file, parts)| format!("src/{file} lacks {parts:?}")).collect();
    assert!(found.is_empty(), "headers without the form that STYLE.md has:\n{}", found.join("\n"));
}

#[test]
fn a_file_header_without_one_of_its_parts_is_found() {
    use Part::{In, Out, Role};
    for (header, lacks) in [
        ("//! Reads a.\n//!\n//! In: a. Out: b.\nuse a::b;", vec![]),
        ("//! Reads a, which\n//! is long.\n//!\n//! In: a, and\n//! b. Out:\n//! c.\n//!\n//! Why.", vec![]),
        ("//! Reads a.\n//!\n//! Why.\n//!\n//! In: a. Out: b.", vec![]),
        ("//! Reads a.\n//!\n//! In: a.", vec![Out]),
        ("//! Reads a.\n//!\n//! Out: b.", vec![In, Out]),
        ("//! Reads a. In: a. Out: b.", vec![In, Out]),
        ("//! Reads a.\n\n//! In: a. Out: b.", vec![In, Out]),
        ("//! In: a. Out: b.", vec![Role]),
        ("//! A is in, b is out.", vec![In, Out]),
        ("// Reads a.\n//\n// In: a. Out: b.", vec![Role, In, Out]),
        ("/// Reads a.\nfn a() {}", vec![Role, In, Out]),
        ("", vec![Role, In, Out]),
    ] {
        assert_eq!(lacking(header), lacks, "{header}");
    }
}

#[test]
fn the_header_of_a_file_of_tests_needs_no_in_and_out() {
    let files = [
        ("lib.rs", "pub mod a; #[cfg(any(test, feature = \"simulation\"))] pub mod simulated;"),
        ("a/mod.rs", "#[cfg(test)] mod samples; #[cfg(test)] mod tests; mod b;"),
        ("a/samples.rs", ""),
        ("a/b.rs", "#[cfg(test)] mod tests {}"),
        ("a/tests/mod.rs", "mod more;"),
        ("a/tests/more.rs", ""),
        ("simulated.rs", ""),
    ];
    let held_to_it: BTreeSet<String> = Sources::parse(files).outside_tests().map(str::to_owned).collect();
    assert_eq!(held_to_it, ["lib.rs", "a/mod.rs", "a/b.rs", "simulated.rs"].map(str::to_owned).into());
}

/// The words between backticks.
fn names(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_architecture_page_says_the_same() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| folder of `src` |").expect("a table of folders");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [folders, _, uses] = cells[..] else { panic!("{row}") };
        for folder in names(folders) {
            listed.insert(folder);
            // "all of these" is every folder above the row.
            if uses.starts_with("all") {
                continue;
            }
            let may_use = MAY_USE.iter().find(|(name, _)| *name == folder).expect(folder).1;
            assert_eq!(names(uses), may_use.iter().copied().collect(), "{folder}: docs/architecture.md");
        }
    }
    assert_eq!(listed, MAY_USE.iter().map(|(folder, _)| *folder).collect());
}

#[test]
fn no_text_has_a_word_that_the_style_page_replaces() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for path in readable_files(root) {
        for one in replaceable(&fs::read_to_string(&path).unwrap()) {
            found.push(format!("{}:{}: {}: write {}", path.display(), one.line, one.word, one.instead));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_comment_begins_with_the_thing_that_it_describes() {
    let mut found = Vec::new();
    for path in readable_files(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        if path.extension().is_some_and(|end| end == "rs") {
            let lines = clauses(&fs::read_to_string(&path).unwrap());
            found.extend(lines.into_iter().map(|line| format!("{}:{line}", path.display())));
        }
    }
    assert!(found.is_empty(), "name the thing before a clause about it:\n{}", found.join("\n"));
}

#[test]
fn a_place_is_a_folder_of_canaries_and_nothing_else() {
    let mut found = Vec::new();
    for path in files(&root()) {
        let about_canaries = ["canary", "deletion.rs", "deletion_view.rs", "inventory.rs"];
        let name = path.to_string_lossy().into_owned();
        if path.extension().is_some_and(|end| end == "rs")
            && !about_canaries.iter().any(|part| name.contains(part))
        {
            let lines = misplaced(&fs::read_to_string(&path).unwrap());
            found.extend(lines.into_iter().map(|line| format!("{name}:{line}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
