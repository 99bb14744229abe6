//! Texts in which times do not count.
//!
//! In: the text of a state. Out: the same with a number in the place of each time, in the order in which times are met.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex_lite::Regex;

static TIME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").ok());

/// Numbers times in the order in which they are met: texts that differ by the time at which all happened are equal.
#[derive(Default)]
pub(super) struct Times(BTreeMap<String, usize>);

impl Times {
    pub(super) fn ranked(&mut self, text: &str) -> String {
        let Some(time) = TIME.as_ref() else { return text.to_owned() };
        let replaced = time.replace_all(text, |found: &regex_lite::Captures<'_>| {
            let next = self.0.len();
            let found = found.get(0).map(|found| found.as_str()).unwrap_or_default();
            format!("t{}", self.0.entry(found.to_owned()).or_insert(next))
        });
        replaced.into_owned()
    }
}
