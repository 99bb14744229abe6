//! The keys of canaries.
//!
//! In: the prefix of a rule, the prefix of canaries and the UID of the resource. Out: the folder that a canary is
//! written in, and its name there; and whether a key that S3 lists is a canary of this resource. Nothing else is ever
//! deleted.

use crate::iam::digest::sha256_prefix;

/// The longest key that S3 takes, in bytes (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
pub const LONGEST_KEY: usize = 1024;

const NAME: &str = "canary-";

/// Digits of the digest that distinguishes the canaries of two rules with the same prefix.
const DIGEST: usize = 16;

/// Room for a name: its beginning, the digest, a hyphen, and a time in seconds.
const LONGEST_NAME: usize = NAME.len() + DIGEST + 1 + 19;

/// Where the canaries of a rule are: `<rule prefix><canary prefix><uid>/`.
pub fn folder(rule_prefix: &str, canary_prefix: &str, uid: &str) -> String {
    format!("{rule_prefix}{canary_prefix}{uid}/")
}

/// Whether a key in this folder is short enough for S3.
pub fn has_room(folder: &str) -> bool {
    folder.len() + LONGEST_NAME <= LONGEST_KEY
}

/// The key of a canary. `second`: when it is sent, in seconds since 1970.
pub fn key(folder: &str, rule: &str, second: i64) -> String {
    format!("{}{second}", beginning(folder, rule))
}

/// Whether a key is that of a canary for this rule.
pub fn is_of_rule(key: &str, folder: &str, rule: &str) -> bool {
    key.starts_with(&beginning(folder, rule))
}

fn beginning(folder: &str, rule: &str) -> String {
    format!("{folder}{NAME}{}-", sha256_prefix(rule.as_bytes(), DIGEST))
}

/// Whether a folder is one of this resource: the last part of it is its UID.
pub fn is_folder_of(folder: &str, uid: &str) -> bool {
    !uid.is_empty() && folder.strip_suffix('/').is_some_and(|held| held.ends_with(uid))
}

/// Whether a key is that of a canary in this folder.
pub fn is_canary(key: &str, folder: &str) -> bool {
    let name = key.strip_prefix(folder).and_then(|rest| rest.strip_prefix(NAME));
    let parts = name.and_then(|name| name.split_once('-'));
    parts.is_some_and(|(digest, second)| {
        digest.len() == DIGEST
            && digest.bytes().all(|b| b.is_ascii_hexdigit())
            && !second.is_empty()
            && second.bytes().all(|b| b.is_ascii_digit())
    })
}
