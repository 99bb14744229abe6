//! Finds the runbook of a reason, and takes the flag that names the site of the runbooks.
//!
//! In: the reason, the operator's message, and the site that the user gave. Out: an address: on that site, else where
//! the message links to, else in the repository.

use clap::Args;

use crate::api::Reason;
use crate::cli::fleet::verdict;
use crate::replication::status::runbooks::{Runbooks, link_of};

/// The beginnings of the commands and the links of a view.
#[derive(Clone, Copy, Debug)]
pub struct Pointers<'a> {
    /// The program as the user typed it.
    pub typed: &'a str,
    /// The flags that named the cluster, each after a blank.
    pub cluster: &'a str,
    /// The site that the user gave.
    pub runbooks: Option<&'a Runbooks>,
}

/// The flag of the subcommands that lead to runbooks.
#[derive(Debug, Args)]
pub struct RunbookArgs {
    /// Address of the site of this documentation, such as https://docs.example.com: reasons/REASON/ below it is the runbook
    /// of a reason; absent: where the operator's own links lead, else the paragraph of the reason in docs/reasons.md, to
    /// which a report has no link
    #[arg(long, env = "RUNBOOK_URL", value_name = "URL")]
    runbook_url: Option<Runbooks>,
}

impl RunbookArgs {
    pub fn pointers<'a>(&'a self, typed: &'a str, cluster: &'a str) -> Pointers<'a> {
        Pointers { typed, cluster, runbooks: self.runbook_url.as_ref() }
    }
}

/// Where the runbook of a reason is: on the site that the user gave, else where the message of the operator leads, else in
/// the repository. `None`: this version does not know the reason.
pub fn runbook(reason: &str, message: &str, given: Option<&Runbooks>) -> Option<String> {
    let reason = verdict::reason(reason)?;
    let page = given.and_then(|site| site.page(reason));
    let page = page.or_else(|| link_of(message).map(str::to_owned));
    Some(page.unwrap_or_else(|| in_repository(env!("CARGO_PKG_REPOSITORY"), reason)))
}

/// The address in a text that a page may link to: nothing but an address of the web, without a character that ends a link in
/// HTML or Markdown. A path in the repository leads nowhere from a page.
pub fn web_address(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#@!$&*+,;=%".contains(c);
    (!rest.is_empty() && rest.chars().all(harmless)).then_some(text)
}

/// The paragraph of a reason in the repository of this version; its path, where the address of the repository is unknown.
fn in_repository(repository: &str, reason: Reason) -> String {
    let paragraph = format!("docs/reasons.md#{}", reason.as_str().to_lowercase());
    match repository.trim_end_matches('/') {
        "" => paragraph,
        repository => format!("{repository}/blob/v{}/{paragraph}", env!("CARGO_PKG_VERSION")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_of_the_user_comes_before_that_of_the_operator_and_the_repository_comes_last() {
        let given = "https://docs.example.com".parse().unwrap();
        let linked = "it is denied; see https://wiki.example.com/reasons/AccessDenied/";
        let page = |message, given| runbook("AccessDenied", message, given).unwrap();
        assert_eq!(page(linked, Some(&given)), "https://docs.example.com/reasons/AccessDenied/");
        assert_eq!(page(linked, None), "https://wiki.example.com/reasons/AccessDenied/");
        assert_eq!(page("it is denied", None), "docs/reasons.md#accessdenied");
        assert_eq!(page("it is denied", Some(&Runbooks::default())), "docs/reasons.md#accessdenied");
        assert_eq!(runbook("BrandNew", "m", None), None);
    }

    #[test]
    fn a_page_links_only_to_an_address_of_the_web() {
        let address = "https://docs.example.com/reasons/AccessDenied/";
        assert_eq!(web_address(address), Some(address));
        for text in [
            "docs/reasons.md#accessdenied",
            "",
            "https://",
            "javascript:alert(1)",
            "https://a b",
            "https://a/)[",
            "https://a\"b",
        ] {
            assert_eq!(web_address(text), None, "{text}");
        }
    }

    #[test]
    fn a_page_in_the_repository_is_that_of_this_version() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            in_repository("https://git.example.com/o/r/", Reason::JobFailed),
            format!("https://git.example.com/o/r/blob/v{version}/docs/reasons.md#jobfailed")
        );
    }
}
