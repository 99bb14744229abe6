//! Links from messages to the page of their reason.
//!
//! In: the address of the site of the documentation, and the note of an event or the conditions of a status. Out: the
//! same, with the address of the page of its reason at the end, no longer than the API server takes.

use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use strum::VariantArray;

use crate::api::{ReadyStatus, Reason};
use crate::replication::status::truncate::{MAX_MESSAGE, MAX_NOTE, clip_to};

/// Longer addresses would leave no room for a note.
const LONGEST: usize = 300;
/// The words between a message and its link: a message ends as a sentence, or as a list of clauses.
const AFTER_SENTENCE: &str = " See ";
const AFTER_CLAUSE: &str = "; see ";

/// The address of the site of the documentation, where `reasons/NAME/` is the page of each reason. Empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runbooks(String);

impl FromStr for Runbooks {
    type Err = String;

    fn from_str(text: &str) -> Result<Runbooks, String> {
        let base = text.trim_end_matches('/');
        if (is_address(base) || base.is_empty())
            && base.len() <= LONGEST
            && !base.contains(char::is_whitespace)
        {
            Ok(Runbooks(base.to_owned()))
        } else {
            Err(format!("an address that begins with https:// or http:// and has at most {LONGEST} bytes"))
        }
    }
}

impl Runbooks {
    /// The address of the page of a reason; `None`: no site is known.
    pub fn page(&self, reason: Reason) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("{}/reasons/{reason}/", self.0))
    }

    /// The note of an event with the link of its reason; as it is, where the reason has no page.
    pub fn link_note(&self, reason: &str, note: &str) -> String {
        let reason = match reason {
            "DriftDetected" | "DriftCorrected" => Some(Reason::Drifted),
            _ => reason_of(reason),
        };
        let page = reason.and_then(|reason| self.page(reason));
        page.map_or_else(|| note.to_owned(), |page| linked(note, &page, MAX_NOTE))
    }

    /// Puts the link of its reason at the end of each message that says that something is wrong. A former link is
    /// replaced, so that linking twice changes nothing.
    pub fn link(&self, conditions: &mut [Condition]) {
        for Condition { reason, message, .. } in conditions {
            let wrong = reason_of(reason).filter(|reason| reason.ready() == ReadyStatus::False);
            let page = wrong.and_then(|reason| self.page(reason));
            let bare = unlinked(message);
            *message = page.map_or_else(|| bare.to_owned(), |page| linked(bare, &page, MAX_MESSAGE));
        }
    }
}

/// A message without the link at its end.
pub fn unlinked(message: &str) -> &str {
    parts(message).map_or(message, |(bare, _)| bare)
}

/// The link at the end of a message.
pub fn link_of(message: &str) -> Option<&str> {
    parts(message).map(|(_, page)| page)
}

fn parts(message: &str) -> Option<(&str, &str)> {
    let (_, page) = message.rsplit_once(' ')?;
    let before = message.strip_suffix(page)?;
    let bare = before.strip_suffix(AFTER_CLAUSE).or_else(|| before.strip_suffix(AFTER_SENTENCE))?;
    let (site, name) = page.strip_suffix('/')?.rsplit_once("/reasons/")?;
    (is_address(site) && reason_of(name).is_some()).then_some((bare, page))
}

fn linked(message: &str, page: &str, max: usize) -> String {
    let room = max.saturating_sub(page.len() + AFTER_CLAUSE.len());
    let message = clip_to(message, room);
    let between = if message.ends_with(['.', '…']) { AFTER_SENTENCE } else { AFTER_CLAUSE };
    format!("{message}{between}{page}")
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn reason_of(name: &str) -> Option<Reason> {
    Reason::VARIANTS.iter().copied().find(|known| known.as_str() == name)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn site() -> Runbooks {
        "https://docs.example.com/".parse().unwrap()
    }

    fn condition(reason: &str, message: &str) -> Condition {
        Condition {
            type_: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    fn message(runbooks: &Runbooks, reason: &str, message: &str) -> String {
        let mut conditions = [condition(reason, message)];
        runbooks.link(&mut conditions);
        let [Condition { message, .. }] = conditions;
        message
    }

    #[test]
    fn a_note_ends_with_the_page_of_its_reason_and_is_no_longer_than_the_api_server_takes() {
        let page = "https://docs.example.com/reasons/AccessDenied/";
        assert_eq!(site().link_note("AccessDenied", "it is denied."), format!("it is denied. See {page}"));
        assert_eq!(site().link_note("AccessDenied", "it is denied"), format!("it is denied; see {page}"));
        let long = site().link_note("AccessDenied", &"é".repeat(2000));
        assert!(long.len() <= 1000 && long.ends_with(page), "{long}");
        assert!(site().link_note("DriftCorrected", "corrected").ends_with("/reasons/Drifted/"));
        assert_eq!(site().link_note("ObjectsArriveAgain", "again"), "again", "it has no page");
        assert_eq!(Runbooks::default().link_note("AccessDenied", "denied"), "denied");
    }

    #[test]
    fn the_message_of_a_condition_that_is_wrong_ends_with_the_page_of_its_reason() {
        for reason in Reason::VARIANTS {
            let linked = message(&site(), reason.as_str(), "so it is");
            let page = format!("; see https://docs.example.com/reasons/{reason}/");
            let wrong = reason.ready() == ReadyStatus::False;
            assert_eq!(linked, format!("so it is{}", if wrong { page.as_str() } else { "" }));
            assert_eq!(unlinked(&linked), "so it is");
        }
        assert_eq!(message(&site(), "BrandNew", "no page"), "no page");
        let long = message(&site(), "AccessDenied", &"é".repeat(4000));
        assert!(long.len() <= MAX_MESSAGE && long.ends_with("/reasons/AccessDenied/"), "{long}");
    }

    #[test]
    fn a_message_that_has_a_link_gets_no_second_one_and_another_site_replaces_it() {
        for text in ["denied", "denied.", &"é".repeat(4000)] {
            let once = message(&site(), "AccessDenied", text);
            assert_eq!(message(&site(), "AccessDenied", &once), once, "a second check writes nothing");
            let other: Runbooks = "http://wiki.example.com/s3".parse().unwrap();
            let moved = message(&other, "AccessDenied", &once);
            assert_eq!(link_of(&moved), Some("http://wiki.example.com/s3/reasons/AccessDenied/"));
            assert!(!moved.contains("docs.example.com"), "{moved}");
            assert_eq!(link_of(&message(&Runbooks::default(), "AccessDenied", &moved)), None);
        }
    }

    #[test]
    fn an_address_that_belongs_to_a_message_stays() {
        for text in
            ["see https://docs.aws.amazon.com/", "; see https://a/reasons/Nothing/", "a /reasons/Drifted/"]
        {
            assert_eq!(unlinked(text), text);
        }
    }

    #[test]
    fn only_an_address_of_a_site_is_taken() {
        for text in ["docs.example.com", "ftp://docs", "https://a b", &format!("https://{}", "a".repeat(300))]
        {
            assert!(text.parse::<Runbooks>().is_err(), "{text}");
        }
    }
}
