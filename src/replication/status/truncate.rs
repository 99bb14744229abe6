//! Fits texts into the room that messages of conditions and notes of events have.
//!
//! In: items, or a text. Out: a list of which only the beginning is shown, or the text cut short.

use crate::replication::refusal::LONGEST_LIST;

/// The API server takes notes of at most 1 kB
/// (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>) and messages of conditions of at
/// most 32 kB.
pub(crate) const MAX_NOTE: usize = 1000;
pub(crate) const MAX_MESSAGE: usize = 4000;

pub(crate) fn note(what: &str, items: impl Iterator<Item = String>) -> String {
    clip(&format!("{what}: {}", summary(items)))
}

/// The items, for a condition: all buckets concerned are named, as far as a message has room, and then how many more
/// there are.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    let (mut listed, mut more) = (String::new(), 0);
    for item in items {
        if listed.is_empty() {
            listed = item;
        } else if listed.len() + item.len() > LONGEST_LIST {
            more += 1;
        } else {
            listed.push_str("; ");
            listed.push_str(&item);
        }
    }
    if more > 0 { format!("{listed}; and {more} more") } else { listed }
}

/// The first items and how many more there are, for an event: its note is short.
fn summary(items: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(SHOWN);
    let shown = items.into_iter().take(SHOWN).collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

pub(crate) fn clip(text: &str) -> String {
    clip_to(text, MAX_NOTE)
}

pub(crate) fn clip_to(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.char_indices().map(|(i, _)| i).take_while(|i| *i <= max - 3).last().unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_names_every_bucket_that_it_has_room_for_and_counts_the_others() {
        let buckets =
            |count: usize| (0..count).map(|n| format!("the versioning of bucket copies-{n} is Suspended"));
        let six = list(buckets(6));
        assert!((0..6).all(|n| six.contains(&format!("copies-{n} "))), "{six}");
        let many = list(buckets(1000));
        assert!(many.len() < MAX_MESSAGE && many.ends_with(" more"), "{many}");
        let named = many.matches("copies-").count();
        assert!(named > 50 && many.ends_with(&format!("; and {} more", 1000 - named)), "{many}");
        assert!(summary(buckets(6)).ends_with("; and 1 more"), "an event is short");
    }
}
