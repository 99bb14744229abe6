//! The limits of accounts, tried by a team that wants more.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::api::{
    AwsAccountSpec, BucketReplicationSpec, BucketReplicationStatus, DEFAULT_ACCOUNT, Reason, Roles,
};
use crate::replication::authorize::accounts::WithoutAccount;
use crate::replication::authorize::{Labels, authorize, labels_matter, refusals};
use crate::replication::tests::{id, spec};
use crate::replication::{Account, Accounts, Refusal, Replication};

const OWN: &str = "111122223333";
const OTHER: &str = "444455556666";
const PARTNER: &str = "777788889999";

fn account(name: &str, yaml: &str) -> Account {
    let spec: AwsAccountSpec = serde_saphyr::from_str(yaml).unwrap();
    Account { name: name.to_owned(), spec }
}

/// The account of the team whose namespace `data` is.
fn own() -> Account {
    account(
        "own",
        r#"
accountId: "111122223333"
namespaces: {matchNames: [data]}
sources: [orders-*]
destinations: [replica-*, exact]
destinationAccounts: ["777788889999"]
"#,
    )
}

/// Another one, that this team may replicate into.
fn dr() -> Account {
    account("dr", r#"{accountId: "444455556666", namespaces: {matchNames: [data]}, destinations: ["dr-*"]}"#)
}

/// A spec that the team is allowed.
fn allowed() -> BucketReplicationSpec {
    spec("{source: {bucket: orders-eu}, rules: [{id: r, destination: {bucket: replica-eu}}]}")
}

fn accounts_with(source: Account) -> Accounts {
    Accounts { source: Some(source), destinations: [("dr".to_owned(), dr())].into() }
}

fn refusal_of(spec: &BucketReplicationSpec, accounts: &Accounts) -> Option<Refusal> {
    refusal_with(spec, &BucketReplicationStatus::default(), None, accounts)
}

fn refusal_with(
    spec: &BucketReplicationSpec,
    status: &BucketReplicationStatus,
    labels: Labels<'_>,
    accounts: &Accounts,
) -> Option<Refusal> {
    authorize(&Replication { spec, status, id: &id(), accounts }, labels).err()
}

/// Changes what is allowed, and finds it refused with words that say why.
#[track_caller]
fn refused(edit: impl FnOnce(&mut BucketReplicationSpec), reason: Reason, parts: &[&str]) {
    refused_under(own(), edit, reason, parts);
}

#[track_caller]
fn refused_under(
    account: Account,
    edit: impl FnOnce(&mut BucketReplicationSpec),
    reason: Reason,
    parts: &[&str],
) {
    let mut spec = allowed();
    edit(&mut spec);
    let found = refusal_of(&spec, &accounts_with(account)).expect("it is allowed");
    assert_eq!(found.reason, reason, "{}", found.message);
    for part in parts {
        assert!(found.message.contains(part), "{part:?} is not in {:?}", found.message);
    }
}

fn role(yaml: &str) -> impl FnOnce(&mut BucketReplicationSpec) + use<> {
    let role = serde_saphyr::from_str(yaml).unwrap();
    move |spec| spec.role = Some(role)
}

#[test]
fn buckets_that_the_patterns_match_are_allowed() {
    assert_eq!(refusal_of(&allowed(), &accounts_with(own())), None);
    let mut spec = allowed();
    for (bucket, account, account_ref) in [
        ("exact", None, None),
        ("replica-", Some(OWN), None),
        ("dr-eu", None, Some("dr")),
        ("dr-eu", Some(OTHER), Some("dr")),
        ("anything", Some(PARTNER), None),
    ] {
        let to = &mut spec.rules[0].destination;
        to.bucket = bucket.to_owned();
        (to.account, to.account_ref) = (account.map(str::to_owned), account_ref.map(str::to_owned));
        assert_eq!(refusal_of(&spec, &accounts_with(own())), None, "{bucket} {account:?} {account_ref:?}");
    }
}

#[test]
fn an_account_that_says_nothing_allows_nothing() {
    let silent = |more: &str| account("own", &format!("{{accountId: '{OWN}'{more}}}"));
    let namespaces = ", namespaces: {matchNames: [data]}";
    refused_under(silent(""), |_| {}, Reason::NotAllowed, &["namespace data", "allows no namespace"]);
    refused_under(silent(", namespaces: {}"), |_| {}, Reason::NotAllowed, &["allows no namespace"]);
    refused_under(
        silent(namespaces),
        |_| {},
        Reason::NotAllowed,
        &[
            "source.bucket: AwsAccount own does not allow replicating from bucket orders-eu",
            "the sources (none)",
            "spec.sources",
        ],
    );
    let sources = format!("{namespaces}, sources: ['*']");
    refused_under(
        silent(&sources),
        |_| {},
        Reason::NotAllowed,
        &[
            "rules[r].destination.bucket: AwsAccount own does not allow replicating into bucket replica-eu",
            "the destinations (none)",
            "spec.destinations",
        ],
    );
    let all = format!("{sources}, destinations: ['*']");
    refused_under(
        silent(&all),
        |spec| spec.rules[0].destination.account = Some(PARTNER.to_owned()),
        Reason::NotAllowed,
        &["rules[r].destination.account", PARTNER, "the accounts (none)", "spec.destinationAccounts"],
    );
    assert_eq!(refusal_of(&allowed(), &accounts_with(silent(&all))), None);
}

#[test]
fn a_pattern_matches_letter_by_letter_and_names_only() {
    let other_names = ["orders", "orders.eu", "ordersx-eu", "my-orders-eu", "secret"];
    let no_names = [
        "Orders-eu",
        "ORDERS-EU",
        "orders-*",
        "*",
        "orders-?",
        "orders-eu/../secret",
        "orders-eu secret",
        "orders-eu\n",
        "orders-ė",
        "arn:aws:s3:::orders-eu",
        "arn:aws:s3:::secret",
        "orders-eu:::secret",
        "",
        "o",
        "orders-0123456789-0123456789-0123456789-0123456789-0123456789-01",
    ];
    for bucket in other_names.into_iter().chain(no_names) {
        refused(
            |spec| spec.source.bucket = bucket.to_owned(),
            Reason::NotAllowed,
            &["source.bucket", "orders-*"],
        );
        refused(
            |spec| spec.rules[0].destination.bucket = bucket.replace("orders", "replica"),
            Reason::NotAllowed,
            &["rules[r].destination.bucket", "replica-*, exact"],
        );
    }
    // In an account that is allowed as a whole there is no pattern, and yet no other thing than a bucket.
    for bucket in no_names {
        refused(
            |spec| {
                let to = &mut spec.rules[0].destination;
                (to.bucket, to.account) = (bucket.to_owned(), Some(PARTNER.to_owned()));
            },
            Reason::NotAllowed,
            &["rules[r].destination.bucket", "no name of a bucket"],
        );
    }
}

#[test]
fn a_question_mark_in_a_pattern_is_no_wildcard() {
    let pattern =
        format!("{{accountId: '{OWN}', namespaces: {{matchNames: [data]}}, sources: ['order?-*']}}");
    refused_under(
        account("own", &pattern),
        |_| {},
        Reason::NotAllowed,
        &["replicating from bucket orders-eu"],
    );
}

#[test]
fn every_rule_is_held_against_the_account() {
    refused(
        |spec| {
            let mut second = spec.rules[0].clone();
            second.id = "second".to_owned();
            second.status = Some(crate::api::Switch::Disabled);
            second.destination.bucket = "secret".to_owned();
            spec.rules.push(second);
        },
        Reason::NotAllowed,
        &["rules[second].destination.bucket: AwsAccount own does not allow replicating into bucket secret"],
    );
}

#[test]
fn everything_that_is_not_allowed_is_named_and_not_the_first_only() {
    let yaml = "{source: {bucket: others}, role: {path: /mine/}, rules: [
        {id: a, priority: 1, destination: {bucket: first}},
        {id: b, priority: 2, destination: {bucket: replica-eu}},
        {id: c, priority: 3, destination: {bucket: second}}]}";
    let mut account = own();
    account.spec.roles = Some(Roles { path: Some("/s3-replication/".to_owned()), ..Roles::default() });
    let (wanted, accounts) = (spec(yaml), accounts_with(account));
    let found = refusal_of(&wanted, &accounts).unwrap();
    for part in ["others", "/mine/", "first", "second"] {
        assert!(found.message.contains(part), "{part}: {}", found.message);
    }
    assert!(!found.message.contains("replica-eu"), "{}", found.message);
    let status = BucketReplicationStatus::default();
    let replication = Replication { spec: &wanted, status: &status, id: &id(), accounts: &accounts };
    assert_eq!(refusals(&replication, None).len(), 3, "the two buckets are one refusal");
}

#[test]
fn a_thousand_rules_that_are_not_allowed_make_one_message_that_a_condition_can_show() {
    let mut wanted = allowed();
    let rule = wanted.rules[0].clone();
    wanted.rules = (0..1000)
        .map(|n| {
            let mut rule = rule.clone();
            (rule.id, rule.destination.bucket) = (format!("r{n}"), format!("elsewhere-{n}"));
            rule
        })
        .collect();
    let found = refusal_of(&wanted, &accounts_with(own())).unwrap();
    assert!(found.message.len() < 4000, "{}", found.message.len());
    assert!(found.message.contains("elsewhere-1") && found.message.contains(" more"), "{}", found.message);
}

#[test]
fn another_account_is_allowed_by_its_id_or_by_its_own_patterns() {
    let to = |bucket: &str, account: Option<&str>, account_ref: Option<&str>| {
        let (bucket, account) = (bucket.to_owned(), account.map(str::to_owned));
        let account_ref = account_ref.map(str::to_owned);
        move |spec: &mut BucketReplicationSpec| {
            let to = &mut spec.rules[0].destination;
            (to.bucket, to.account, to.account_ref) = (bucket, account, account_ref);
        }
    };
    let words = [
        "rules[r].destination.account: AwsAccount own does not allow replicating into account 444455556666",
        "the accounts 777788889999",
    ];
    refused(to("replica-eu", Some(OTHER), None), Reason::NotAllowed, &words);
    // The own id is no other account: the own patterns hold.
    refused(to("secret", Some(OWN), None), Reason::NotAllowed, &["bucket secret", "AwsAccount own"]);
    // The list of the source's account does not count in another one, and an id beside it changes nothing.
    refused(to("replica-eu", None, Some("dr")), Reason::NotAllowed, &["AwsAccount dr", "dr-*"]);
    refused(to("replica-eu", Some(OTHER), Some("dr")), Reason::NotAllowed, &["AwsAccount dr", "dr-*"]);
    let words = ["rules[r].destination.account is 777788889999", "AwsAccount dr", OTHER];
    refused(to("dr-eu", Some(PARTNER), Some("dr")), Reason::AccountMismatch, &words);
}

#[test]
fn a_namespace_is_allowed_by_name_and_by_all_labels_by_every_account() {
    let by = |namespaces: &str| {
        let mut account = own();
        account.spec.namespaces = Some(serde_saphyr::from_str(namespaces).unwrap());
        account
    };
    let found = |account: Account, labels: Option<&[(&str, &str)]>| {
        let labels: Option<BTreeMap<String, String>> =
            labels.map(|l| l.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let status = BucketReplicationStatus::default();
        refusal_with(&allowed(), &status, labels.as_ref(), &accounts_with(account))
    };
    let both = || by("{matchNames: [data], matchLabels: {team: red, tier: gold}}");
    assert_eq!(found(both(), Some(&[("team", "red"), ("tier", "gold"), ("x", "y")])), None);
    for labels in [
        None,
        Some(&[][..]),
        Some(&[("team", "red")][..]),
        Some(&[("team", "red"), ("tier", "Gold")][..]),
        Some(&[("Team", "red"), ("tier", "gold")][..]),
    ] {
        let refusal = found(both(), labels).unwrap();
        assert_eq!(refusal.reason, Reason::NotAllowed);
        assert!(refusal.message.contains("by their labels"), "{}", refusal.message);
    }
    for names in ["{matchNames: [dat]}", "{matchNames: ['data*', '*', Data, data-2]}"] {
        let refusal = found(by(names), None).unwrap();
        assert!(refusal.message.contains("namespace data may not use AwsAccount own"), "{}", refusal.message);
    }
    // The right name does not make up for the wrong labels, nor the other way round.
    let other = by("{matchNames: [shop], matchLabels: {team: red}}");
    assert!(found(other, Some(&[("team", "red")])).unwrap().message.contains("which does not name it"));

    let mut closed = accounts_with(own());
    closed.destinations.values_mut().for_each(|dr| dr.spec.namespaces = None);
    assert!(refusal_of(&allowed(), &closed).unwrap().message.contains("AwsAccount dr"));
}

#[test]
fn labels_are_asked_for_only_where_they_decide() {
    assert!(!labels_matter(&accounts_with(own())));
    assert!(!labels_matter(&Accounts::default()));
    let mut accounts = accounts_with(own());
    for dr in accounts.destinations.values_mut() {
        dr.spec.namespaces = Some(serde_saphyr::from_str("{matchLabels: {team: red}}").unwrap());
    }
    assert!(labels_matter(&accounts), "a destination's account counts too");
}

#[test]
fn an_imposed_path_holds_for_managed_and_existing_roles() {
    let imposed = || {
        let mut account = own();
        account.spec.roles = Some(serde_saphyr::from_str("{path: /team/red/}").unwrap());
        account
    };
    for path in ["/", "/team/", "/team/red", "team/red/", "/team/Red/", "/team/red/../blue/", "/team/red/x/"]
    {
        let words = [&*format!("role.path is {path}"), "imposes the path /team/red/", "leave role.path out"];
        refused_under(imposed(), role(&format!("{{path: '{path}'}}")), Reason::NotAllowed, &words);
    }
    for role_path in [
        "blue-role",
        "team/blue/role",
        "team/red/../blue/role",
        "team/red/sub/role",
        "team/red",
        "Team/Red/role",
        "x:role/team/red/role",
    ] {
        let arn = format!("arn:aws:iam::{OWN}:role/{role_path}");
        let words = ["role.arn", arn.as_str(), "not at the path /team/red/"];
        refused_under(imposed(), role(&format!("{{arn: '{arn}'}}")), Reason::NotAllowed, &words);
    }
    for good in ["{path: /team/red/}", "{name: x}", "{arn: 'arn:aws:iam::111122223333:role/team/red/x'}"] {
        let mut spec = allowed();
        role(good)(&mut spec);
        assert_eq!(refusal_of(&spec, &accounts_with(imposed())), None, "{good}");
    }
}

#[test]
fn a_role_is_named_only_in_the_source_s_own_account() {
    let words = ["is not in account 111122223333 of AwsAccount own"];
    for arn in [
        "arn:aws:iam::444455556666:role/x",
        "arn:aws:iam:::role/x",
        "arn:aws:iam::111122223333x:role/x",
        "111122223333:role/x",
        "x",
        "",
    ] {
        refused(role(&format!("{{arn: '{arn}'}}")), Reason::NotAllowed, &words);
    }
}

#[test]
fn a_role_made_before_a_path_was_imposed_is_distinguished_by_its_name() {
    let mut account = own();
    account.spec.roles = Some(serde_saphyr::from_str("{path: /team/red/}").unwrap());
    let accounts = accounts_with(account);
    let arn = format!("arn:aws:iam::{OWN}:role/s3-replication/data.orders");
    let status: BucketReplicationStatus =
        serde_json::from_value(serde_json::json!({"role": {"arn": arn, "managed": true}})).unwrap();
    let found = |spec: &BucketReplicationSpec| {
        refusal_with(spec, &status, None, &accounts).map(|refusal| refusal.message)
    };
    let words = found(&allowed()).unwrap();
    assert!(words.contains(&arn) && words.contains("IAM cannot move a role"), "{words}");
    let mut renamed = allowed();
    role("{name: another}")(&mut renamed);
    assert_eq!(found(&renamed), None);
}

#[test]
fn an_imposed_boundary_is_not_to_be_replaced() {
    let boundary = |name: &str| format!("arn:aws:iam::{OWN}:policy/{name}");
    let mut account = own();
    account.spec.roles =
        Some(serde_saphyr::from_str(&format!("{{permissionsBoundary: '{}'}}", boundary("b"))).unwrap());
    let words = [&*format!("role.permissionsBoundary is {}", boundary("wide")), &*boundary("b")];
    let wide = role(&format!("{{permissionsBoundary: '{}'}}", boundary("wide")));
    refused_under(account.clone(), wide, Reason::NotAllowed, &words);
    for good in [format!("{{permissionsBoundary: '{}'}}", boundary("b")), "{name: x}".to_owned()] {
        let mut spec = allowed();
        role(&good)(&mut spec);
        assert_eq!(refusal_of(&spec, &accounts_with(account.clone())), None);
    }
}

#[test]
fn without_an_account_nothing_is_restricted() {
    let mut spec = allowed();
    spec.rules[0].destination.account = Some(OTHER.to_owned());
    role("{arn: 'arn:aws:iam::444455556666:role/x'}")(&mut spec);
    assert_eq!(refusal_of(&spec, &Accounts::default()), None);
}

#[test]
fn the_default_account_is_used_where_there_is_one_and_needed_where_one_must_be_named() {
    let nothing = |_: &str| Ok(None);
    let default =
        |name: &str| Ok((name == DEFAULT_ACCOUNT).then(|| account(DEFAULT_ACCOUNT, "accountId: ''")));
    let source = |accounts: Accounts| accounts.source.map(|account| account.name);
    let resolve =
        |spec: &BucketReplicationSpec, found: &dyn Fn(&str) -> Result<Option<Account>, Refusal>, required| {
            Accounts::resolve(spec, found, WithoutAccount::of(required, false)).map(source)
        };
    let mut spec = allowed();
    assert_eq!(resolve(&spec, &nothing, false), Ok(None));
    let refusal = resolve(&spec, &nothing, true).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    assert!(refusal.message.contains("--require-account"), "{}", refusal.message);
    for required in [false, true] {
        assert_eq!(resolve(&spec, &default, required), Ok(Some(DEFAULT_ACCOUNT.to_owned())));
    }
    // A destination's account says nothing of the source.
    spec.rules[0].destination.account_ref = Some("dr".to_owned());
    let only_dr = |name: &str| Ok((name == "dr").then(dr));
    assert_eq!(resolve(&spec, &only_dr, true).unwrap_err().reason, Reason::NotAllowed);
    let refusal = resolve(&spec, &default, true).unwrap_err();
    assert_eq!(refusal.reason, Reason::AccountNotFound);
    assert!(refusal.message.contains("rules[r].destination.accountRef"), "{}", refusal.message);
    // One that cannot be read is not one that is not there.
    let unreadable = |name: &str| Err(crate::replication::authorize::accounts::unreadable(name, "broken"));
    let refusal = resolve(&allowed(), &unreadable, false).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidSpec);
}

proptest! {
    /// Of all texts in the field for a bucket, the operator allows only names of buckets that begin as the pattern
    /// does.
    #[test]
    fn nothing_but_a_name_that_begins_as_the_pattern_is_allowed(
        bucket in prop_oneof!["\\PC{0,70}", "orders-[a-z0-9.*?/:A-Z-]{0,60}", "[a-zA-Z*.-]{1,8}orders-[a-z]{0,5}"]
    ) {
        let mut spec = allowed();
        spec.source.bucket = bucket.clone();
        let is_name = bucket.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        let expected = bucket.starts_with("orders-") && is_name && bucket.len() <= 63;
        prop_assert_eq!(refusal_of(&spec, &accounts_with(own())).is_none(), expected);
    }
}

#[test]
fn deleting_the_default_account_allows_nothing_more() {
    let nothing = |_: &str| Ok(None);
    let resolve = |seen| Accounts::resolve(&allowed(), nothing, WithoutAccount::of(false, seen));
    assert_eq!(resolve(false).map(|accounts| accounts.source), Ok(None));
    let refusal = resolve(true).unwrap_err();
    assert_eq!(refusal.reason, Reason::AccountNotFound);
    assert!(refusal.message.contains("create the AwsAccount default again"), "{}", refusal.message);
    // A spec that names its account is not concerned.
    let mut named = allowed();
    named.source.account_ref = Some("own".to_owned());
    let found = Accounts::resolve(&named, |_| Ok(Some(own())), WithoutAccount::AccountsExisted);
    assert!(found.is_ok_and(|accounts| accounts.source.is_some()));
}

#[test]
fn the_refusal_of_a_namespace_names_no_other_namespace() {
    let mut account = own();
    account.spec.namespaces =
        Some(serde_saphyr::from_str("{matchNames: [payroll], matchLabels: {team: finance}}").unwrap());
    let message = refusal_of(&allowed(), &accounts_with(account)).unwrap().message;
    assert!(!message.contains("payroll") && !message.contains("finance"), "{message}");
}

#[test]
fn everything_that_is_not_allowed_is_named_at_once() {
    let wanted = spec(
        r#"
source: {bucket: payroll}
role: {arn: "arn:aws:iam::444455556666:role/theirs"}
rules:
- {id: a, priority: 1, destination: {bucket: theirs-a}}
- {id: b, priority: 2, destination: {bucket: replica-b}}
- {id: c, priority: 3, destination: {bucket: theirs-c}}
- {id: d, priority: 4, destination: {bucket: private, accountRef: dr}}
- {id: e, priority: 5, destination: {bucket: abroad, account: "444455556666"}}
"#,
    );
    let refusal = refusal_of(&wanted, &accounts_with(own())).unwrap();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    for part in [
        "source.bucket: AwsAccount own does not allow replicating from bucket payroll",
        "role.arn",
        "rules[a].destination.bucket, rules[c].destination.bucket: AwsAccount own does not allow replicating into buckets theirs-a, theirs-c;",
        "rules[d].destination.bucket: AwsAccount dr does not allow replicating into bucket private;",
        "rules[e].destination.account: AwsAccount own does not allow replicating into account 444455556666;",
    ] {
        assert!(refusal.message.contains(part), "{part} is not in: {}", refusal.message);
    }
    assert!(!refusal.message.contains("replica-b"), "{}", refusal.message);
}

#[test]
fn an_account_that_a_namespace_may_not_use_shows_it_no_pattern() {
    let mut hidden = dr();
    hidden.spec.namespaces = None;
    let accounts = Accounts { source: Some(own()), destinations: [("dr".to_owned(), hidden)].into() };
    let wanted =
        spec("{source: {bucket: payroll}, rules: [{id: r, destination: {bucket: theirs, accountRef: dr}}]}");
    let message = refusal_of(&wanted, &accounts).unwrap().message;
    assert!(message.contains("may not use AwsAccount dr") && message.contains("payroll"), "{message}");
    assert!(!message.contains("dr-*"), "{message}");
}

#[test]
fn every_account_that_does_not_exist_is_named() {
    let wanted = spec(
        r#"
source: {bucket: orders-eu, accountRef: own}
rules:
- {id: a, priority: 1, destination: {bucket: x-a, accountRef: gone}}
- {id: b, priority: 2, destination: {bucket: x-b, accountRef: lost}}
"#,
    );
    let lookup = |name: &str| Ok((name == "own").then(own));
    let refusal = Accounts::resolve(&wanted, lookup, WithoutAccount::Refused).unwrap_err();
    assert_eq!(refusal.reason, Reason::AccountNotFound);
    assert!(refusal.message.contains("gone") && refusal.message.contains("lost"), "{}", refusal.message);
}
