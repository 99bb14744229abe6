//! The command blocks of the pages: each says where it is run, or why it is not, and can be typed as it stands.
//!
//! In: the blocks in `sh` and `console`, each with the comment above it. Out: blocks without a comment, comments that
//! name a file that does not read the block from its page, commands that the shell or the operator's command line does
//! not take.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use rig::pages::{Block, block, blocks_of};
use s3_replication_operator::cli::Cli;
use syn::visit::Visit;

use crate::{pages, root};

fn all_blocks() -> Vec<Block> {
    let name = |page: &Path| page.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    pages().iter().flat_map(|page| blocks_of(&name(page)).unwrap()).collect()
}

/// The calls of a test in which words follow the name of a page: these are the blocks that it reads and types in.
#[derive(Default)]
struct Typed {
    constants: BTreeMap<String, String>,
    calls: Vec<(String, String)>,
}

impl Typed {
    fn in_file(text: &str) -> Typed {
        let file = syn::parse_file(text).unwrap();
        let mut typed = Typed::default();
        // Once for the constants, and once more for the calls that name them.
        typed.visit_file(&file);
        typed.calls.clear();
        typed.visit_file(&file);
        typed
    }

    fn text(&self, argument: &syn::Expr) -> Option<String> {
        match argument {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            syn::Expr::Path(path) => self.constants.get(&path.path.get_ident()?.to_string()).cloned(),
            _ => None,
        }
    }

    fn note<'a>(&mut self, arguments: impl Iterator<Item = &'a syn::Expr>) {
        let texts: Vec<Option<String>> = arguments.map(|argument| self.text(argument)).collect();
        for pair in texts.windows(2) {
            if let [Some(page), Some(words)] = pair
                && page.ends_with(".md")
            {
                self.calls.push((page.clone(), words.clone()));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Typed {
    fn visit_item_const(&mut self, constant: &'ast syn::ItemConst) {
        if let Some(text) = self.text(&constant.expr) {
            self.constants.insert(constant.ident.to_string(), text);
        }
        syn::visit::visit_item_const(self, constant);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        self.note(call.args.iter());
        syn::visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.note(call.args.iter());
        syn::visit::visit_expr_method_call(self, call);
    }
}

/// The locations of the blocks that a file reads from their pages and runs.
fn run_in(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    if file.ends_with(".rs") {
        let calls = Typed::in_file(&text).calls;
        return calls
            .iter()
            .filter_map(|(page, words)| block(page, words, file).ok())
            .map(|b| b.location())
            .collect();
    }
    // A script runs every block of a page that names it.
    let pages = text.lines().filter_map(|line| line.trim().strip_prefix("run_marked "));
    let blocks = pages.flat_map(|page| blocks_of(page).unwrap());
    blocks.filter(|block| block.run_by() == Some(file)).map(|block| block.location()).collect()
}

#[test]
fn each_block_of_commands_says_where_it_is_run_or_why_it_is_not() {
    let blocks = all_blocks();
    let mut run: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for block in &blocks {
        match (block.run_by(), block.not_run()) {
            (Some(file), None) => {
                let locations = run.entry(file).or_insert_with(|| run_in(file));
                assert!(
                    locations.contains(&block.location()),
                    "{}: {file} does not read and run it",
                    block.location()
                );
            }
            (None, Some(reason)) => assert!(reason.len() > 10, "{}: {reason} is no reason", block.location()),
            _ => panic!("{} has no comment `run: FILE` or `not run: REASON` above it", block.location()),
        }
    }
    let count: usize = run.values().map(BTreeSet::len).sum();
    assert!(count >= 25, "only {count} of {} blocks are run", blocks.len());
}

/// The languages of fenced blocks that hold no commands.
const NO_COMMANDS: [&str; 5] = ["", "hcl", "json", "text", "yaml"];

/// The beginning of a line that is a command.
const COMMANDS: [&str; 9] =
    ["$ ", "aws ", "cargo ", "curl ", "git ", "helm ", "kubectl ", "s3-replication-operator ", "terraform "];

#[test]
fn no_command_stands_in_a_block_or_on_a_page_that_is_not_read() {
    let tracked = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output().unwrap();
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    let known: BTreeSet<String> =
        pages().iter().map(|p| p.strip_prefix(root()).unwrap().to_string_lossy().into_owned()).collect();
    for page in tracked.lines().filter(|page| !known.contains(*page)) {
        let text = fs::read_to_string(root().join(page)).unwrap();
        assert!(!text.contains("```"), "{page} has blocks and is none of the pages that are read");
    }
    for page in known {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let mut language = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_start();
            match (line.strip_prefix("```"), language) {
                (Some(begun), None) => {
                    let is_known = matches!(begun, "sh" | "console") || NO_COMMANDS.contains(&begun);
                    assert!(is_known, "{page}:{number}: blocks in {begun} are not read");
                    language = Some(begun);
                }
                (Some(_), Some(_)) => language = None,
                (None, Some(held)) if NO_COMMANDS.contains(&held) => {
                    let is_command = COMMANDS.iter().any(|command| line.starts_with(command));
                    assert!(!is_command, "{page}:{number}: {line} stands in a block in {held:?}, not in sh");
                }
                (None, _) => {}
            }
        }
        assert_eq!(language, None, "{page}: a block does not end");
    }
}

#[test]
fn words_that_follow_the_name_of_a_page_in_a_call_are_read_from_it() {
    let text = r#"
        const FIRST: &str = "docs/a.md";
        fn test() {
            // type_in("docs/a.md", "in a comment");
            terminal.type_in(FIRST, "by a constant");
            apply(operator, "docs/b.md", "by a literal", &[]);
            println!("{}", "docs/a.md");
            type_in(page, "of a page that is not known");
        }
    "#;
    let pair = |page: &str, words: &str| (page.to_owned(), words.to_owned());
    let expected = [pair("docs/a.md", "by a constant"), pair("docs/b.md", "by a literal")];
    assert_eq!(Typed::in_file(text).calls, expected);
}

#[test]
fn the_shell_takes_each_block_of_commands() {
    for block in all_blocks().iter().filter(|block| block.language == "sh") {
        let output = Command::new("bash").args(["-n", "-c", &block.text]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", block.location());
    }
}

#[test]
fn the_command_line_takes_each_command_of_the_operator() {
    let mut seen = 0;
    for block in all_blocks().iter().filter(|block| block.language == "sh") {
        let joined = block.text.replace("\\\n", " ");
        for line in joined.lines() {
            let Some((_, arguments)) = line.split_once("s3-replication-operator ") else { continue };
            let is_command = line.trim_start().starts_with("s3-replication-operator ")
                || line.starts_with("./target")
                || line.contains("| s3-replication-operator ");
            // An address follows the option that only a build with the feature has.
            if !is_command || arguments.contains("--otlp-endpoint") {
                continue;
            }
            let words = std::iter::once("s3-replication-operator".to_owned()).chain(words(arguments));
            let parsed = Cli::try_parse_from(words);
            assert!(parsed.is_ok(), "{}: {line}: {}", block.location(), parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

/// The words of a command up to a comment, a pipe or a redirection; quotes hold words together.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = command.trim_start();
    while !rest.is_empty() && !rest.starts_with(['#', '|', '>']) {
        let (word, after) = match rest.strip_prefix('\'').and_then(|quoted| quoted.split_once('\'')) {
            Some((word, after)) => (word, after),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[test]
fn a_command_ends_before_its_comment_and_quotes_hold_words_together() {
    assert_eq!(
        words("run --selector 'shard notin (a)'  -f x # a comment"),
        ["run", "--selector", "shard notin (a)", "-f", "x"]
    );
    assert_eq!(words("import --bucket b > b.yaml"), ["import", "--bucket", "b"]);
}

/// The manifests in the pages that commands name as files begin with the file's name.
#[test]
fn each_file_that_a_command_names_stands_on_a_page_or_in_the_repository() {
    let named_by_user =
        ["hello.txt", "FILE", "orders-eu.yaml", "orders-to-eu.yaml", "invoices.yaml", "application.yaml"];
    let all: String = pages().iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    for block in all_blocks().iter().filter(|block| block.language == "sh") {
        let mut words = block.text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let Some(file) = words.peek().filter(|_| word == "-f") else { continue };
            let exists = *file == "-"
                || root().join(file).exists()
                || named_by_user.contains(file)
                || all.contains(&format!("```yaml\n# {file}\n"));
            assert!(exists, "{}: there is no {file}", block.location());
        }
    }
}
