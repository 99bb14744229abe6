//! The patterns of an `AwsAccount` match a name as a second, naive implementation does.

use proptest::prelude::*;
use s3_replication_operator::api::{
    AwsAccountSpec, BucketReplicationSpec, BucketReplicationStatus, Namespaces, Source,
};
use s3_replication_operator::replication::authorize::authorize;
use s3_replication_operator::replication::{Account, Accounts, Replication, ResourceId};

use crate::choice::choose;
use crate::engine::check;

/// Whether a pattern matches a text, character by character; `*` stands for any characters.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        ([one, pattern @ ..], [other, text @ ..]) => one == other && matches(pattern, text),
        _ => false,
    }
}

/// Whether S3 could have given a bucket this name, as far as characters and length say.
pub fn is_name(text: &str) -> bool {
    let allowed = "abcdefghijklmnopqrstuvwxyz0123456789.-";
    text.len() >= 3 && text.len() <= 63 && text.chars().all(|character| allowed.contains(character))
}

fn allows(patterns: &[String], bucket: &str) -> bool {
    let spec = AwsAccountSpec {
        account_id: "111122223333".to_owned(),
        namespaces: Some(Namespaces { match_names: vec!["data".to_owned()], ..Namespaces::default() }),
        sources: patterns.to_vec(),
        ..AwsAccountSpec::default()
    };
    let source = Some(Account { name: "prod".to_owned(), spec });
    let accounts = Accounts { source, ..Accounts::default() };
    let source = Source { bucket: bucket.to_owned(), ..Source::default() };
    let spec = BucketReplicationSpec { source, ..BucketReplicationSpec::default() };
    let id = ResourceId {
        cluster: None,
        namespace: "data".to_owned(),
        name: "orders".to_owned(),
        uid: None,
        former_clusters: Vec::new(),
    };
    let status = BucketReplicationStatus::default();
    authorize(&Replication { spec: &spec, status: &status, id: &id, accounts: &accounts }, None).is_ok()
}

/// A few characters only, so that patterns match often; and some that neither names nor patterns may have.
fn pattern() -> impl Strategy<Value = String> {
    choose![6 => "[ab.*-]{0,7}", 1 => "[abA?\\[\\]/ *é]{0,6}", 1 => "\\PC{0,6}"]
}

fn bucket() -> impl Strategy<Value = String> {
    choose![6 => "[ab.-]{0,7}", 1 => "[abA?\\[\\]/ *é]{0,6}", 1 => "[ab]{60,66}", 1 => "\\PC{0,6}"]
}

#[test]
fn patterns_match_as_the_naive_implementation_says() {
    check(6000, (prop::collection::vec(pattern(), 0..3), bucket()), |(patterns, bucket)| {
        let expected =
            is_name(&bucket) && patterns.iter().any(|pattern| matches(pattern.as_bytes(), bucket.as_bytes()));
        prop_assert_eq!(allows(&patterns, &bucket), expected);
        Ok(())
    });
}

#[test]
fn a_pattern_made_of_a_name_matches_it() {
    let name = "[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]";
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..3);
    check(2000, (name, cuts), |(name, cuts)| {
        let mut pattern = name.clone();
        for (from, length) in cuts {
            let from = from.index(pattern.len() + 1);
            let to = from + length.index(pattern.len() - from + 1);
            pattern.replace_range(from..to, "*");
        }
        prop_assert!(allows(std::slice::from_ref(&pattern), &name), "{} and {}", pattern, name);
        Ok(())
    });
}
