//! Compares the desired with the observed state.
//!
//! In: what is desired, and what was observed. Out: the differences, in the order in which they would be corrected,
//! each with its path in the words of the spec and its two values. A part that could not be read has no differences.
//! The sentence for a difference is in `api/bucket_replication/status.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::{AwsResource, DriftEntry};
use crate::iam::arn::bucket_of_arn;
use crate::iam::bucket_policy;
use crate::iam::compare::compare;
use crate::iam::document::{PolicyDocument, Statement};
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::{Configuration, Rule, RuleDestination, RuleFilter};
use crate::replication::desired::{Desired, DesiredBucket, DesiredRole, ManagedRole};
use crate::replication::observed::{Caller, Observed, ObservedBucket, ObservedRole, VersioningStatus};
use crate::replication::resource_id::value_of;
use crate::replication::step::{ABSENT, MISSING_ROLE, TRUST_POLICY};

/// Every field in which AWS differs from the desired state, in the order in which it would be corrected. A part that
/// could not be read has no differences.
///
/// `set_tags`: keys of the tags that the operator set on the role before. Of the role's other tags only the
/// desired ones are compared: tags that someone else adds are left alone.
pub fn differences(desired: &Desired, observed: &Observed, set_tags: &[String]) -> Vec<DriftEntry> {
    let mut found = Vec::new();
    for destination in &desired.destinations {
        found.extend(observed.destinations.get(&destination.name).and_then(|b| versioning(destination, b)));
    }
    found.extend(versioning(&desired.source, &observed.source));
    if let (DesiredRole::Managed(role), Ok(held)) = (&desired.role, &observed.role) {
        let arn = desired.role.arn(&observed.caller);
        found.extend(role_differences(role, &arn, held.as_ref(), set_tags));
    }
    for (bucket, statements) in &desired.bucket_policies {
        if let Some(Ok(held)) = observed.bucket_policies.get(bucket) {
            found.extend(bucket_policy_differences(desired, bucket, statements, held.as_ref()));
        }
    }
    if let Ok(held) = &observed.configuration {
        found.extend(configuration_differences(desired, &observed.caller, held.as_ref()));
    }
    found
}

fn versioning(desired: &DesiredBucket, observed: &ObservedBucket) -> Option<DriftEntry> {
    let held = observed.versioning.as_ref().ok()?;
    (!held.status.is_enabled()).then(|| {
        entry(
            AwsResource::BucketVersioning,
            &desired.name,
            "status".to_owned(),
            Some(VersioningStatus::Enabled.as_str()),
            Some(held.status.as_str()),
        )
    })
}

fn role_differences(
    role: &ManagedRole,
    arn: &str,
    held: Option<&ObservedRole>,
    set_tags: &[String],
) -> Vec<DriftEntry> {
    let ManagedRole { name, path: _, permissions_boundary, tags, trust, permissions } = role;
    let Some(held) = held else {
        return vec![entry(AwsResource::Role, name, MISSING_ROLE.to_owned(), Some(arn), None)];
    };
    let mut found = Vec::new();
    found.extend(compare(&trust.to_value(), &held.trust).into_iter().map(|d| {
        let path = format!("{TRUST_POLICY} {}", d.path);
        entry(AwsResource::Role, name, path, d.want.as_deref(), d.got.as_deref())
    }));
    let (want, got) = (permissions_boundary.as_deref(), held.permissions_boundary.as_deref());
    if want != got {
        found.push(entry(AwsResource::Role, name, "permissionsBoundary".to_owned(), want, got));
    }
    let removed = set_tags.iter().filter(|key| value_of(tags, key).is_none());
    for key in tags.keys().chain(removed).collect::<BTreeSet<&String>>() {
        let (want, got) = (value_of(tags, key), value_of(&held.tags, key));
        let (want, got) = (want.map(String::as_str), got.map(String::as_str));
        if want != got {
            found.push(entry(AwsResource::Role, name, format!("tags.{key}"), want, got));
        }
    }
    if let Ok(policy) = &held.policy {
        let held = policy.clone().unwrap_or_else(no_policy);
        found.extend(policy_differences(name, &permissions.to_value(), &held));
    }
    found
}

fn no_policy() -> Value {
    serde_json::json!({"Statement": []})
}

/// The differences of a role that has no policy yet. A role that is only now created has none of its own: they show once
/// the role does.
pub fn missing_policy(role: &str, document: &str) -> Vec<DriftEntry> {
    let want = serde_json::from_str(document).unwrap_or_else(|_| no_policy());
    policy_differences(role, &want, &no_policy())
}

fn policy_differences(role: &str, want: &Value, got: &Value) -> Vec<DriftEntry> {
    compare(want, got)
        .into_iter()
        .map(|d| entry(AwsResource::RolePolicy, role, d.path, d.want.as_deref(), d.got.as_deref()))
        .collect()
}

/// Compares the operator's own statements, which it recognizes by their Sids. The statements of others are left alone.
fn bucket_policy_differences(
    desired: &Desired,
    bucket: &str,
    statements: &[Statement],
    held: Option<&Value>,
) -> Vec<DriftEntry> {
    let want = PolicyDocument::new(statements.to_vec()).to_value();
    let got = bucket_policy::policy_of_sid(held, &desired.sid);
    compare(&want, &got)
        .into_iter()
        .map(|d| {
            let (want, got) = (d.want.as_deref(), d.got.as_deref());
            entry(AwsResource::DestinationBucketPolicy, bucket, d.path, want, got)
        })
        .collect()
}

/// The differences of a source's replication configuration; a rule that is on one side only is one difference.
pub fn configuration_differences(
    desired: &Desired,
    caller: &Caller,
    held: Option<&Configuration>,
) -> Vec<DriftEntry> {
    let source = &desired.source.name;
    let report = |path: String, want: Option<&str>, got: Option<&str>| {
        entry(AwsResource::ReplicationConfiguration, source, path, want, got)
    };
    let none = BTreeMap::new();
    let rules = held.map_or(&none, |c| &c.rules);
    let mut found = Vec::new();
    if let Some(held) = held {
        let role = desired.role.arn(caller);
        if role != held.role {
            found.push(report("role".to_owned(), Some(&role), Some(&held.role)));
        }
    }
    for id in keys(&desired.rules, rules) {
        match (desired.rules.get(id), rules.get(id)) {
            (Some(want), Some(got)) => {
                let fields = rule_differences(want, got, &caller.account);
                found.extend(
                    fields.into_iter().map(|f| {
                        report(format!("rules[{id}].{}", f.path), f.want.as_deref(), f.got.as_deref())
                    }),
                );
            }
            (None, Some(_)) if is_on(Mutant::AddedRuleIgnored) => {}
            (want, got) => {
                let (want, got) = (want.map(Rule::to_string), got.map(Rule::to_string));
                found.push(report(format!("rules[{id}]"), want.as_deref(), got.as_deref()));
            }
        }
    }
    found
}

struct Field {
    path: String,
    want: Option<String>,
    got: Option<String>,
}

/// Whether two rules mean the same to S3.
pub fn is_same_rule(want: &Rule, got: &Rule, own_account: &str) -> bool {
    rule_differences(want, got, own_account).is_empty()
}

/// The fields in which two rules of one ID differ.
fn rule_differences(want: &Rule, got: &Rule, own_account: &str) -> Vec<Field> {
    // Exhaustive on both levels: a new field must be compared or left out on purpose.
    let Rule {
        status,
        priority,
        filter: RuleFilter { prefix, tags },
        delete_markers,
        replica_modifications,
        kms_encrypted_objects,
        destination:
            RuleDestination {
                bucket,
                account,
                storage_class,
                ownership,
                kms_key,
                replication_time_control,
                metrics,
            },
    } = want;
    let mut fields = Fields(Vec::new());
    fields.compare("status", Some(status.as_str()), Some(got.status.as_str()));
    if priority_differs(*priority, got.priority) {
        let text = |p: Option<i32>| p.map(|p| p.to_string());
        fields.compare("priority", text(*priority).as_deref(), text(got.priority).as_deref());
    }
    fields.compare("filter.prefix", Some(prefix), Some(&got.filter.prefix));
    // Not as text: `a=b` to `c` reads like `a` to `b=c`.
    if *tags != got.filter.tags {
        fields.differ("filter.tags", listed(tags), listed(&got.filter.tags));
    }
    fields.compare("deleteMarkers", Some(delete_markers.as_str()), Some(got.delete_markers.as_str()));
    fields.compare(
        "replicaModifications",
        Some(replica_modifications.as_str()),
        Some(got.replica_modifications.as_str()),
    );
    fields.compare(
        "kmsEncryptedObjects",
        Some(kms_encrypted_objects.as_str()),
        Some(got.kms_encrypted_objects.as_str()),
    );
    let to = &got.destination;
    fields.compare("destination.bucket", Some(bucket_of_arn(bucket)), Some(bucket_of_arn(&to.bucket)));
    // Naming the source's own account says nothing that S3 does not assume.
    let foreign = |account: &Option<String>| account.clone().filter(|a| a != own_account);
    fields.compare("destination.account", foreign(account).as_deref(), foreign(&to.account).as_deref());
    fields.compare("destination.storageClass", storage_class.as_deref(), to.storage_class.as_deref());
    fields.compare("destination.ownership", ownership.as_deref(), to.ownership.as_deref());
    fields.compare("destination.kmsKeyArn", kms_key.as_deref(), to.kms_key.as_deref());
    fields.compare(
        "destination.replicationTimeControl",
        Some(replication_time_control.as_str()),
        Some(to.replication_time_control.as_str()),
    );
    fields.compare("destination.metrics", Some(metrics.as_str()), Some(to.metrics.as_str()));
    fields.0
}

/// If the spec leaves out the priority, any that the rule has in AWS is right. A rule of the first version of the schema
/// has none, which is equal to any, because such rules cannot overlap.
fn priority_differs(want: Option<i32>, got: Option<i32>) -> bool {
    matches!((want, got), (Some(want), Some(got)) if want != got)
}

struct Fields(Vec<Field>);

impl Fields {
    fn compare(&mut self, path: &str, want: Option<&str>, got: Option<&str>) {
        if want != got {
            self.differ(path, want.map(str::to_owned), got.map(str::to_owned));
        }
    }

    fn differ(&mut self, path: &str, want: Option<String>, got: Option<String>) {
        self.0.push(Field { path: path.to_owned(), want, got });
    }
}

fn keys<'a, A, B>(a: &'a BTreeMap<String, A>, b: &'a BTreeMap<String, B>) -> BTreeSet<&'a String> {
    a.keys().chain(b.keys()).collect()
}

fn entry(
    resource: AwsResource,
    name: &str,
    path: String,
    want: Option<&str>,
    got: Option<&str>,
) -> DriftEntry {
    let (want, got) = (want.unwrap_or(ABSENT), got.unwrap_or(ABSENT));
    let (mut shown_want, mut shown_got) = (bounded(want), bounded(got));
    if shown_want == shown_got {
        // Alike as far as there is room: shown from where they part.
        let alike = want.chars().zip(got.chars()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| bounded(&text.chars().skip(alike).collect::<String>());
        (shown_want, shown_got) = (format!("…{}", from(want)), format!("…{}", from(got)));
    }
    DriftEntry { resource, name: name.to_owned(), path, want: shown_want, got: shown_got }
}

fn listed(tags: &BTreeMap<String, String>) -> Option<String> {
    let quoted =
        |text: &str| if text.contains(['=', ',', '"']) { format!("{text:?}") } else { text.to_owned() };
    let pairs: Vec<String> =
        tags.iter().map(|(key, value)| format!("{}={}", quoted(key), quoted(value))).collect();
    (!pairs.is_empty()).then(|| pairs.join(", "))
}

/// A status has no room for a whole policy document.
fn bounded(text: &str) -> String {
    const MAX: usize = 512;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
