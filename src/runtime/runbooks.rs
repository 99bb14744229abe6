//! Links from events to the page of their reason.
//!
//! In: the address of the pages of reasons, and the note of an event. Out: the note, with the address of the page of its
//! reason at the end, no longer than the API server takes.

use std::str::FromStr;

use strum::VariantArray;

use crate::api::Reason;
use crate::replication::status::text::{MAX_NOTE, clip_to};

/// Longer addresses would leave no room for a note.
const LONGEST: usize = 300;

/// The address below which each reason has a page of its name, as the site of the documentation has them. Empty: none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runbooks(String);

impl FromStr for Runbooks {
    type Err = String;

    fn from_str(text: &str) -> Result<Runbooks, String> {
        let base = text.trim_end_matches('/');
        let is_address = base.starts_with("https://") || base.starts_with("http://");
        let is_address = is_address || base.is_empty();
        if is_address && base.len() <= LONGEST && !base.contains(char::is_whitespace) {
            Ok(Runbooks(base.to_owned()))
        } else {
            Err(format!("an address that begins with https:// or http:// and has at most {LONGEST} bytes"))
        }
    }
}

impl Runbooks {
    /// The note with the link of its reason; as it is, where the reason has no page.
    pub fn link(&self, reason: &str, note: &str) -> String {
        let page = match reason {
            "DriftDetected" | "DriftCorrected" => Some(Reason::Drifted),
            _ => Reason::VARIANTS.iter().copied().find(|known| known.as_str() == reason),
        };
        let Some(page) = page.filter(|_| !self.0.is_empty()) else { return note.to_owned() };
        let link = format!(" See {}/{}/", self.0, page.as_str());
        format!("{}{link}", clip_to(note, MAX_NOTE.saturating_sub(link.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_ends_with_the_page_of_its_reason_and_is_no_longer_than_the_api_server_takes() {
        let runbooks: Runbooks = "https://docs.example.com/reasons/".parse().unwrap();
        let link = " See https://docs.example.com/reasons/AccessDenied/";
        assert_eq!(runbooks.link("AccessDenied", "it is denied."), format!("it is denied.{link}"));
        let long = runbooks.link("AccessDenied", &"é".repeat(2000));
        assert!(long.len() <= 1000 && long.ends_with(link), "{long}");
        assert!(runbooks.link("DriftCorrected", "corrected").ends_with("/reasons/Drifted/"));
        assert_eq!(runbooks.link("ObjectsArriveAgain", "again"), "again", "it has no page");
        assert_eq!("".parse::<Runbooks>().unwrap().link("AccessDenied", "denied"), "denied");
    }

    #[test]
    fn only_an_address_of_pages_is_taken() {
        for text in ["docs.example.com", "ftp://docs", "https://a b", &format!("https://{}", "a".repeat(300))]
        {
            assert!(text.parse::<Runbooks>().is_err(), "{text}");
        }
    }
}
