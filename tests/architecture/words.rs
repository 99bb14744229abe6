//! Words that STYLE.md replaces, a word that has one meaning, and comments that begin with a clause.

use std::path::{Path, PathBuf};

/// Words, and what to write instead. Identifiers count: `is_told` and `ToldAgain` hold *told*.
const REPLACED: [(&str, &str); 14] = [
    ("told", "reported, noted, shown or asked"),
    ("tell", "report, note or distinguish"),
    ("tells", "reports, names or distinguishes"),
    ("telling", "reporting or naming"),
    ("anew", "again"),
    ("put right", "corrected or fixed"),
    ("puts right", "corrects or fixes"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("mending", "fixing"),
    ("deed", "act"),
    ("said", "answered, reported or named"),
    ("courtesy", "a sentence without a metaphor"),
];

/// A place is a folder in a bucket that may hold canaries, and nothing else. In English something may be in place, or
/// take the place of another.
const PLACE: [&str; 2] = ["place", "places"];
const IDIOMS: [&str; 5] = ["in place", "the place of", "its place", "their place", "the place in"];

/// The beginnings of a clause that is no name for a thing.
const CLAUSES: [&str; 4] = ["What ", "Whatever ", "Who ", "Whoever "];

/// A word that is to be another one.
#[derive(Debug, PartialEq)]
pub struct Replaceable {
    pub line: usize,
    pub word: &'static str,
    pub instead: &'static str,
}

/// The words of a text that are to be others.
pub fn replaceable(text: &str) -> Vec<Replaceable> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = split(line);
        let held = REPLACED.iter().filter(|(word, _)| words.contains(&format!(" {word} ")));
        found.extend(held.map(|(word, instead)| Replaceable { line: number + 1, word, instead }));
    }
    found
}

/// The lines of code that use the word of canaries for something else.
pub fn misplaced(code: &str) -> Vec<usize> {
    let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let about_others = lines.filter(|(_, line)| {
        let words = IDIOMS.iter().fold(split(line), |words, idiom| words.replace(&format!(" {idiom} "), " "));
        PLACE.iter().any(|word| words.contains(&format!(" {word} "))) && !words.contains(" canary ")
    });
    about_others.map(|(number, _)| number + 1).collect()
}

/// The lines at which a comment, or a paragraph of one, begins with a clause instead of the thing that it describes.
pub fn clauses(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut goes_on = false;
    for (number, line) in code.lines().enumerate() {
        let comment =
            line.trim_start().strip_prefix("//").map(|text| text.trim_start_matches(['/', '!']).trim());
        let text = comment.unwrap_or_default();
        if !goes_on && CLAUSES.iter().any(|clause| text.starts_with(clause)) {
            found.push(number + 1);
        }
        goes_on = !text.is_empty();
    }
    found
}

/// The words of a line in lower case, also those within identifiers, with a space around each.
fn split(line: &str) -> String {
    let mut words = String::from(" ");
    let mut was_lower = false;
    for c in line.chars() {
        if c.is_uppercase() && was_lower {
            words.push(' ');
        }
        was_lower = c.is_lowercase() || c.is_ascii_digit();
        match c.is_alphanumeric() {
            true => words.extend(c.to_lowercase()),
            false if words.ends_with(' ') => {}
            false => words.push(' '),
        }
    }
    words.push(' ');
    words
}

/// The texts that people read, and code: everything but files that were recorded, that are others', or that name these
/// words.
pub fn readable_files(root: &Path) -> Vec<PathBuf> {
    const FOLDERS: [&str; 6] = ["src", "docs", "charts", "crds", "deploy", "tests"];
    const LEFT_OUT: [&str; 6] = [
        "tests/upgrade",
        "tests/rig/tools",
        "tests/rig/src/kind/offline/node",
        "tests/fuzz/corpus",
        "tests/architecture/words.rs",
        "target",
    ];
    const ENDS: [&str; 7] = ["rs", "md", "yaml", "yml", "json", "in", "snap"];
    let mut waiting: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let is_left_out = LEFT_OUT.iter().any(|left_out| path.ends_with(left_out));
            let is_text = path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known));
            match (is_left_out, path.is_dir()) {
                (true, _) => {}
                (false, true) => waiting.push(path),
                (false, false) if is_text => files.push(path),
                (false, false) => {}
            }
        }
    }
    files
}

#[test]
fn a_word_is_found_in_a_sentence_in_an_identifier_and_in_a_type() {
    let found =
        |text: &str| replaceable(text).into_iter().map(|one| (one.line, one.word)).collect::<Vec<_>>();
    assert_eq!(found("/// Read\n/// anew."), [(2, "anew")]);
    assert_eq!(found("fn is_told() {}"), [(1, "told")]);
    assert_eq!(found("enum Step { ToldAgain }"), [(1, "told")]);
    assert_eq!(found("What differs is put right."), [(1, "put right")]);
    assert_eq!(found("the foretold recommended intelligent indeed"), []);
}

#[test]
fn a_place_is_one_of_canaries_or_an_idiom() {
    let others = ["let place = 1;", "fn place_of() {}", "struct JobPlace;"];
    for code in others {
        assert_eq!(misplaced(code), [1], "{code}");
    }
    for code in ["struct CanaryPlace;", "fn policy_in_place_of() {}", "// the first place", "replace(places)"]
    {
        assert_eq!(misplaced(code).is_empty(), code != "replace(places)", "{code}");
    }
}

#[test]
fn a_comment_that_begins_with_a_clause_is_found_and_a_sentence_that_goes_on_is_not() {
    for comment in [
        "/// What differs.",
        "    // Who wrote it.",
        "//! Role.\n//!\n//! Whatever is left.",
        "//! What it is.",
    ] {
        assert_eq!(clauses(comment), [comment.lines().count()], "{comment}");
    }
    for comment in [
        "/// The differences.",
        "/// Whether it is there.",
        "/// The rules.\n/// What follows.",
        "\"What is it\"",
    ] {
        assert_eq!(clauses(comment), [], "{comment}");
    }
}
