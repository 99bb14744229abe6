//! The wording of messages: a list of which only the beginning is shown, a text cut to the room there is.

/// The API server takes notes of at most 1 kB (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>)
/// and messages of conditions of at most 32 kB.
pub(crate) const MAX_NOTE: usize = 1000;
pub(crate) const MAX_MESSAGE: usize = 4000;

pub(crate) fn note(what: &str, items: impl Iterator<Item = String>) -> String {
    clip(&format!("{what}: {}", summary(items)))
}

/// The first items and how many more there are.
pub(crate) fn summary(items: impl Iterator<Item = String>) -> String {
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
