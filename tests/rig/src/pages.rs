//! The blocks of commands of the pages, with the comment above each that says where it is run, or why it is not.
//!
//! In: the name of a page. Out: its blocks in `sh` and `console`. A test that runs a block reads it from the page by
//! [`block`], and `tests/docs` finds these calls, so that no block is claimed that no test reads.

use std::fs;

use anyhow::{Result, bail};

use crate::paths;

/// A fenced block of commands.
#[derive(Clone, Debug)]
pub struct Block {
    /// Below the root of the repository.
    pub page: String,
    pub line: usize,
    pub language: String,
    /// The line above the fence.
    above: String,
    pub text: String,
}

impl Block {
    pub fn location(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// The file that runs it.
    pub fn run_by(&self) -> Option<&str> {
        comment(&self.above, "run")
    }

    /// Why no file runs it.
    pub fn not_run(&self) -> Option<&str> {
        comment(&self.above, "not run")
    }
}

/// The text of `<!-- KEY: TEXT -->`.
fn comment<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.strip_prefix(key)?.strip_prefix(": ")
}

/// The blocks of a page.
///
/// # Errors
/// There is no such page.
pub fn blocks_of(page: &str) -> Result<Vec<Block>> {
    let text = fs::read_to_string(paths::repository().join(page))?;
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
            page: page.to_owned(),
            line: at + 1,
            language: language.to_owned(),
            above: at.checked_sub(1).map_or("", |above| lines[above]).trim().to_owned(),
            text: body.join("\n"),
        });
        at += body.len() + 2;
    }
    blocks.retain(|block| matches!(block.language.as_str(), "sh" | "console"));
    Ok(blocks)
}

/// The manifests of a page whose first line is a comment with the name of a file, by that name.
///
/// # Errors
/// There is no such page.
pub fn files_of(page: &str) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(paths::repository().join(page))?;
    let manifests = text.split("```yaml\n# ").skip(1).filter_map(|rest| rest.split_once('\n'));
    let until_the_end = |text: &str| text.split("```").next().unwrap_or_default().to_owned();
    Ok(manifests.map(|(file, text)| (file.to_owned(), until_the_end(text))).collect())
}

/// The one block of a page that a file says to run and that contains these words. `by`: `file!()` of that file.
///
/// # Errors
/// The page has no such block, or several.
pub fn block(page: &str, words: &str, by: &str) -> Result<Block> {
    let mut blocks = blocks_of(page)?;
    blocks.retain(|block| block.run_by() == Some(by) && block.text.contains(words));
    match (blocks.pop(), blocks.len()) {
        (Some(block), 0) => Ok(block),
        (_, others) => bail!("{page} has {others} other blocks with {words:?} above which is: run: {by}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_above_a_block_says_what_becomes_of_it() {
        assert_eq!(comment("<!-- not run: output -->", "not run"), Some("output"));
        assert_eq!(comment("<!-- not run: output -->", "run"), None);
    }

    #[test]
    fn a_block_is_found_by_its_words_and_not_where_several_have_them() -> Result<()> {
        let by = "tests/e2e/cli/documented.rs";
        let found = block("docs/reasons.md", "kubectl get br -A", by)?;
        assert!(found.location().starts_with("docs/reasons.md:") && found.text.contains("kubectl events"));
        assert!(block("docs/first-replication.md", "kubectl", by).is_err(), "several");
        assert!(
            block("docs/reasons.md", "kubectl get br -A", "tests/e2e/main.rs").is_err(),
            "of another file"
        );
        Ok(())
    }
}
