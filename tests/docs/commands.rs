//! The command blocks of the pages: each says where it is run, or why it is not, and can be typed as it stands.
//!
//! In: the blocks in `sh` and `console`, each with the comment above it. Out: blocks without a comment, comments that
//! name a file that does not run the block, commands that the shell or the operator's command line does not take.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use s3_replication_operator::cli::Cli;

use crate::{pages, root};

/// A fenced block of commands.
struct Block {
    page: String,
    line: usize,
    language: String,
    /// The line above the fence.
    above: String,
    text: String,
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// The first two words of the first command.
    fn first_words(&self) -> String {
        self.text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }
}

fn blocks() -> Vec<Block> {
    pages().iter().flat_map(|page| blocks_of(page)).collect()
}

fn blocks_of(path: &Path) -> Vec<Block> {
    let text = fs::read_to_string(path).unwrap();
    let page = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            at += 1;
            continue;
        };
        let body: Vec<&str> = lines[at + 1..].iter().copied().take_while(|l| l.trim() != "```").collect();
        blocks.push(Block {
            page: page.clone(),
            line: at + 1,
            language: language.to_owned(),
            above: at.checked_sub(1).map_or("", |above| lines[above]).trim().to_owned(),
            text: body.join("\n"),
        });
        at += body.len() + 2;
    }
    blocks.retain(|block| matches!(block.language.as_str(), "sh" | "console"));
    blocks
}

/// The text of `<!-- KEY: TEXT -->`.
fn comment<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.strip_prefix(key)?.strip_prefix(": ")
}

#[test]
fn each_block_of_commands_says_where_it_is_run_or_why_it_is_not() {
    let blocks = blocks();
    let mut run = 0;
    for block in &blocks {
        match (comment(&block.above, "run"), comment(&block.above, "not run")) {
            (Some(file), None) => {
                let text = fs::read_to_string(root().join(file)).unwrap_or_default();
                let is_run = text.contains(&block.page) || text.contains(&block.first_words());
                assert!(is_run, "{}: {file} does not run it", block.place());
                run += 1;
            }
            (None, Some(reason)) => assert!(reason.len() > 10, "{}: {reason} is no reason", block.place()),
            _ => panic!("{} has no comment `run: FILE` or `not run: REASON` above it", block.place()),
        }
    }
    assert!(run >= 12, "only {run} of {} blocks are run", blocks.len());
}

#[test]
fn the_shell_takes_each_block_of_commands() {
    for block in blocks().iter().filter(|block| block.language == "sh") {
        let output = Command::new("bash").args(["-n", "-c", &block.text]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", block.place());
    }
}

#[test]
fn the_command_line_takes_each_command_of_the_operator() {
    let mut seen = 0;
    for block in blocks().iter().filter(|block| block.language == "sh") {
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
            assert!(parsed.is_ok(), "{}: {line}: {}", block.place(), parsed.unwrap_err());
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
    assert_eq!(comment("<!-- not run: output -->", "not run"), Some("output"));
    assert_eq!(comment("<!-- not run: output -->", "run"), None);
}

/// The manifests in the pages that commands name as files begin with the file's name.
#[test]
fn each_file_that_a_command_names_stands_on_a_page_or_in_the_repository() {
    let named_by_user =
        ["hello.txt", "FILE", "orders-eu.yaml", "orders-to-eu.yaml", "invoices.yaml", "application.yaml"];
    let all: String = pages().iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    for block in blocks().iter().filter(|block| block.language == "sh") {
        let mut words = block.text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let Some(file) = words.peek().filter(|_| word == "-f") else { continue };
            let exists = *file == "-"
                || root().join(file).exists()
                || named_by_user.contains(file)
                || all.contains(&format!("```yaml\n# {file}\n"));
            assert!(exists, "{}: there is no {file}", block.place());
        }
    }
}
