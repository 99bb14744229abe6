//! Authorization as a second, naive implementation decides it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use s3_replication_operator::api::{
    AwsAccountSpec, BucketReplicationSpec, BucketReplicationStatus, Destination, Namespaces, ReplicationRule,
    Role, RoleStatus, Roles, Source,
};
use s3_replication_operator::replication::authorize::authorize;
use s3_replication_operator::replication::{Account, Accounts, Replication, ResourceId};

use crate::bucket_names::{is_name, matches};
use crate::choice::{choose, optional};
use crate::engine::check;

const IDS: [&str; 3] = ["111122223333", "444455556666", "777788889999"];
const PATHS: [&str; 3] = ["/", "/s3-replication/", "/a/b/"];
const BOUNDARIES: [&str; 2] =
    ["arn:aws:iam::111122223333:policy/one", "arn:aws:iam::111122223333:policy/two"];

/// All that decides.
#[derive(Clone, Debug)]
struct Case {
    spec: BucketReplicationSpec,
    held_role: Option<RoleStatus>,
    source: Option<AwsAccountSpec>,
    destinations: BTreeMap<String, AwsAccountSpec>,
    labels: Option<BTreeMap<String, String>>,
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let few = subsequence(all, 0..=all.len());
    few.prop_map(|some| some.into_iter().map(str::to_owned).collect())
}

fn one_of(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(all).prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(one_of(&["team", "tier"]), one_of(&["data", "web"]), 0..3)
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    some_of(&["one", "t*", "*e", "*"])
}

prop_compose! {
    fn account()(
        account_id in one_of(&IDS),
        namespaces in optional(0.9, (some_of(&["data", "web"]), labels())),
        (sources, destinations) in (patterns(), patterns()),
        destination_accounts in some_of(&IDS),
        path in optional(0.3, one_of(&PATHS)),
        permissions_boundary in optional(0.3, one_of(&BOUNDARIES)),
    ) -> AwsAccountSpec {
        let namespaces = namespaces.map(|(match_names, match_labels)| Namespaces { match_names, match_labels });
        let roles = Some(Roles { path, permissions_boundary });
        AwsAccountSpec { account_id, namespaces, sources, destinations, destination_accounts, roles, ..AwsAccountSpec::default() }
    }
}

prop_compose! {
    fn destination()(
        bucket in one_of(&["one", "two", "three", "Two"]),
        account in optional(0.5, one_of(&IDS)),
        account_ref in optional(0.5, one_of(&["dr"])),
    ) -> Destination {
        Destination { bucket, account, account_ref, ..Destination::default() }
    }
}

fn role_arn() -> impl Strategy<Value = String> {
    (select(&IDS[..]), select(&PATHS[..])).prop_map(|(id, path)| format!("arn:aws:iam::{id}:role{path}r"))
}

fn role() -> impl Strategy<Value = Option<Role>> {
    let managed = (
        optional(0.5, one_of(&["r", "other"])),
        optional(0.5, one_of(&PATHS)),
        optional(0.5, one_of(&BOUNDARIES)),
    )
        .prop_map(|(name, path, permissions_boundary)| Role {
            name,
            path,
            permissions_boundary,
            ..Role::default()
        });
    let existing = role_arn().prop_map(|arn| Role { arn: Some(arn), ..Role::default() });
    optional(0.6, choose![2 => managed, 1 => existing])
}

prop_compose! {
    fn case()(
        bucket in one_of(&["one", "two", "ONE"]),
        role in role(),
        to in prop::collection::vec(destination(), 1..3),
        held_role in optional(0.5, (role_arn(), any::<bool>())),
        source in optional(0.9, account()),
        dr in account(),
        labels in optional(0.8, labels()),
    ) -> Case {
        let rules = to.into_iter().zip(["a", "b"]).map(|(destination, id)| {
            ReplicationRule { id: id.to_owned(), destination, ..ReplicationRule::default() }
        });
        let rules: Vec<ReplicationRule> = rules.collect();
        let refers = rules.iter().any(|rule| rule.destination.account_ref.is_some());
        let destinations = refers.then(|| ("dr".to_owned(), dr)).into_iter().collect();
        let source_bucket = Source { bucket, ..Source::default() };
        let spec = BucketReplicationSpec { source: source_bucket, role, rules, ..BucketReplicationSpec::default() };
        let held_role = held_role.map(|(arn, managed)| RoleStatus { arn, managed, tags: Vec::new() });
        Case { spec, held_role, source, destinations, labels }
    }
}

pub fn allowed_by(patterns: &[String], bucket: &str) -> bool {
    is_name(bucket) && patterns.iter().any(|pattern| matches(pattern.as_bytes(), bucket.as_bytes()))
}

/// Everything that an account asks of a namespace: at least one of names and labels, and each that is given.
fn admits_namespace(account: &AwsAccountSpec, labels: Option<&BTreeMap<String, String>>) -> bool {
    let Some(namespaces) = &account.namespaces else { return false };
    let by_name = namespaces.match_names.contains(&"data".to_owned());
    let empty = BTreeMap::new();
    let held = labels.unwrap_or(&empty);
    let by_labels = namespaces.match_labels.iter().all(|(key, value)| held.get(key) == Some(value));
    match (namespaces.match_names.is_empty(), namespaces.match_labels.is_empty()) {
        (true, true) => false,
        (false, true) => by_name,
        (true, false) => by_labels,
        (false, false) => by_name && by_labels,
    }
}

fn admits_destination(case: &Case, to: &Destination) -> bool {
    if to.account_ref.is_some() {
        let account = &case.destinations["dr"];
        return to.account.as_ref().is_none_or(|id| *id == account.account_id)
            && allowed_by(&account.destinations, &to.bucket);
    }
    let Some(source) = &case.source else { return true };
    match to.account.as_ref().filter(|id| **id != source.account_id) {
        Some(other) => is_name(&to.bucket) && source.destination_accounts.contains(other),
        None => allowed_by(&source.destinations, &to.bucket),
    }
}

fn admits_role(case: &Case, source: &AwsAccountSpec) -> bool {
    let role = case.spec.role.clone().unwrap_or_default();
    let imposed = source.roles.clone().unwrap_or_default();
    let parts = |arn: &str| {
        let id = arn.split(':').nth(4).unwrap().to_owned();
        let path_and_name = arn.split(":role").nth(1).unwrap();
        let slash = path_and_name.rfind('/').unwrap();
        (id, path_and_name[..=slash].to_owned(), path_and_name[slash + 1..].to_owned())
    };
    if let Some(arn) = &role.arn {
        let (id, path, _) = parts(arn);
        return id == source.account_id && imposed.path.is_none_or(|imposed| imposed == path);
    }
    let name = role.name.unwrap_or_else(|| "data.orders".to_owned());
    // IAM cannot move a role that was made elsewhere.
    let stuck = case.held_role.as_ref().filter(|held| held.managed).is_some_and(|held| {
        let (_, path, held_name) = parts(&held.arn);
        held_name == name && imposed.path.as_ref().is_some_and(|imposed| *imposed != path)
    });
    let agrees = |imposed: Option<String>, given: Option<String>| {
        imposed.is_none() || given.is_none() || imposed == given
    };
    !stuck
        && agrees(imposed.path, role.path)
        && agrees(imposed.permissions_boundary, role.permissions_boundary)
}

fn expected(case: &Case) -> bool {
    let accounts: Vec<&AwsAccountSpec> = case.source.iter().chain(case.destinations.values()).collect();
    accounts.iter().all(|account| admits_namespace(account, case.labels.as_ref()))
        && case.source.as_ref().is_none_or(|source| {
            allowed_by(&source.sources, &case.spec.source.bucket) && admits_role(case, source)
        })
        && case.spec.rules.iter().all(|rule| admits_destination(case, &rule.destination))
}

fn decided(case: &Case) -> bool {
    let named = |name: &str, spec: &AwsAccountSpec| Account { name: name.to_owned(), spec: spec.clone() };
    let accounts = Accounts {
        source: case.source.as_ref().map(|spec| named("prod", spec)),
        destinations: case
            .destinations
            .iter()
            .map(|(name, spec)| (name.clone(), named(name, spec)))
            .collect(),
    };
    let status =
        BucketReplicationStatus { role: case.held_role.clone(), ..BucketReplicationStatus::default() };
    let id = ResourceId {
        cluster: None,
        namespace: "data".to_owned(),
        name: "orders".to_owned(),
        uid: None,
        former_clusters: Vec::new(),
    };
    let replication = Replication { spec: &case.spec, status: &status, id: &id, accounts: &accounts };
    authorize(&replication, case.labels.as_ref()).is_ok()
}

#[test]
fn a_resource_is_allowed_exactly_if_every_account_allows_all_of_it() {
    let counts = std::cell::Cell::new((0, 0));
    check(6000, case(), |case| {
        let (allowed, refused) = counts.get();
        counts.set(if decided(&case) { (allowed + 1, refused) } else { (allowed, refused + 1) });
        prop_assert_eq!(decided(&case), expected(&case));
        Ok(())
    });
    let (allowed, refused) = counts.get();
    assert!(
        allowed >= 100 && refused >= 100,
        "{allowed} allowed, {refused} refused: one side is hardly tried"
    );
}
