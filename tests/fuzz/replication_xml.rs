//! The replication configuration on its way through S3's XML and the SDK's types.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use s3_replication_operator::api::Switch;
use s3_replication_operator::aws::convert::{from_sdk, to_sdk};
use s3_replication_operator::aws::unknown_elements;
use s3_replication_operator::replication::{Configuration, Rule, RuleDestination, RuleFilter};

use crate::choice::{choose, optional};
use crate::connection::Response;
use crate::engine::{check, check_documents, corpus};
use crate::s3::S3;

const TOKENS: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "&",
    "&amp;",
    "&#x0;",
    "<Rule>",
    "</Rule>",
    "<Filter>",
    "</Filter>",
    "<And>",
    "</And>",
    "<Prefix>",
    "</Prefix>",
    "<Prefix/>",
    "<Status>Enabled</Status>",
    "<Priority>2147483648</Priority>",
    "<Priority>-1</Priority>",
    "<Tag><Key>k</Key></Tag>",
    "<Destination/>",
    "<ID></ID>",
    "<Unknown>x</Unknown>",
    "<!--",
    "<![CDATA[",
    "]]>",
    "xsi:type=\"x\"",
    "<?xml version=\"1.0\"?>",
];

fn switch() -> impl Strategy<Value = Switch> {
    choose![Just(Switch::Enabled), Just(Switch::Disabled)]
}

/// Text with what XML escapes, normalises or replaces.
pub fn text() -> impl Strategy<Value = String> {
    let part = choose![
        4 => "[ -~]{1,6}",
        2 => prop::sample::select(vec!["<", ">", "&", "\"", "'", "\r", "\n", "\r\n", "\t", "]]>", "&amp;", " ", "\u{85}", "\u{2028}", "é", "\u{1F4E6}"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

prop_compose! {
    fn destination()(
        bucket in "[a-z0-9.-]{3,8}",
        account in optional(0.5, "[0-9]{12}"),
        storage_class in optional(0.5, choose!["STANDARD|GLACIER_IR", "[A-Z_]{1,8}"]),
        owner in any::<bool>(),
        kms_key in optional(0.5, "arn:aws:kms:eu-west-1:[0-9]{12}:key/[a-f0-9-]{1,8}"),
        replication_time_control in switch(),
        metrics in switch(),
    ) -> RuleDestination {
        RuleDestination {
            bucket: format!("arn:aws:s3:::{bucket}"),
            account,
            storage_class,
            ownership: owner.then(|| "Destination".to_owned()),
            kms_key,
            replication_time_control,
            // S3 takes replication time only with metrics.
            metrics: if replication_time_control.is_enabled() { Switch::Enabled } else { metrics },
        }
    }
}

prop_compose! {
    fn rule()(
        status in switch(),
        priority in optional(0.5, 0..i32::MAX),
        prefix in text(),
        tags in prop::collection::btree_map(text(), text(), 0..4),
        delete_markers in switch(),
        replica_modifications in switch(),
        kms_encrypted_objects in switch(),
        destination in destination(),
    ) -> Rule {
        let filter = RuleFilter { prefix, tags };
        Rule { status, priority, filter, delete_markers, replica_modifications, kms_encrypted_objects, destination }
    }
}

pub fn configuration() -> impl Strategy<Value = Configuration> {
    let rules = prop::collection::btree_map("[ -~]{1,12}", rule(), 1..4);
    ("arn:aws:iam::[0-9]{12}:role/[a-z/]{1,8}", rules).prop_map(|(role, rules)| Configuration { role, rules })
}

#[test]
fn a_configuration_is_the_same_after_the_way_to_s3_and_back() {
    let s3 = S3::new();
    check(400, configuration(), |mut configuration| {
        let body = s3.written(to_sdk(&configuration).unwrap());
        let unknown = unknown_elements(std::str::from_utf8(&body).expect("UTF-8"));
        prop_assert_eq!(unknown, BTreeSet::new(), "the operator models all that it writes");
        let read = s3.read(Response { status: 200, body: body.clone() });
        let read =
            read.map_err(|error| TestCaseError::fail(format!("{error:?}: {}", body.escape_ascii())))?;
        // S3 requires a priority; the operator sends one where the spec has none.
        configuration.rules.values_mut().for_each(|rule| rule.priority = rule.priority.or(Some(1)));
        prop_assert_eq!(read.map(|read| from_sdk(&read)), Some(configuration), "{}", body.escape_ascii());
        Ok(())
    });
}

#[test]
fn whatever_s3_returns_is_read_or_is_an_error_and_what_was_read_stays_the_same() {
    let s3 = S3::new();
    check_documents(1500, "replication-xml", TOKENS, |body| {
        unknown_elements(&String::from_utf8_lossy(&body));
        let Ok(Some(read)) = s3.read(Response { status: 200, body: body.clone() }) else { return Ok(()) };
        let first = from_sdk(&read);
        // A document that lacks a part that S3 always sends cannot be sent again.
        let Ok(sent) = to_sdk(&first) else { return Ok(()) };
        let body = s3.written(sent);
        let again = s3.read(Response { status: 200, body: body.clone() });
        let Ok(Some(again)) = again else {
            return Err(TestCaseError::fail(format!("{}", body.escape_ascii())));
        };
        let mut first = first;
        for rule in first.rules.values_mut() {
            rule.priority = rule.priority.or(Some(1));
            let to = &mut rule.destination;
            to.metrics = if to.replication_time_control.is_enabled() { Switch::Enabled } else { to.metrics };
        }
        prop_assert_eq!(from_sdk(&again), first, "{}", body.escape_ascii());
        Ok(())
    });
}

/// The first seed is a configuration of the first version of the schema, the second one of the second version that uses
/// every element.
#[test]
fn both_versions_of_the_schema_are_read() {
    let s3 = S3::new();
    let read: Vec<Configuration> = corpus("replication-xml")
        .into_iter()
        .filter_map(|body| s3.read(Response { status: 200, body }).ok().flatten())
        .map(|read| from_sdk(&read))
        .collect();
    let rules: Vec<&Rule> = read.iter().flat_map(|configuration| configuration.rules.values()).collect();
    let [first, second, ..] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!((first.priority, first.filter.prefix.as_str()), (None, "logs/"));
    assert_eq!(first.delete_markers, Switch::Enabled, "the first version always replicates them");
    assert_eq!(second.priority, Some(7));
    let tags = BTreeMap::from([("a&b".to_owned(), "<1>".to_owned()), ("team".to_owned(), "data".to_owned())]);
    assert_eq!(second.filter, RuleFilter { prefix: "logs/".to_owned(), tags });
    assert_eq!(second.destination.storage_class.as_deref(), Some("GLACIER_IR"));
    assert_eq!(second.destination.ownership.as_deref(), Some("Destination"));
    let switches = [second.replica_modifications, second.kms_encrypted_objects, second.destination.metrics];
    assert_eq!(switches, [Switch::Enabled; 3]);
}
