//! Admission rules of `ReplicationBackfill`: CEL expressions, each with a message that says what to do.
//!
//! In: nothing; `spec.rs` attaches each rule to a field. Out: rules in the CRD, which the API server enforces.

use kube::core::Rule;

use crate::api::validation::rule;

/// The fields that make the job. An optional one may neither appear nor vanish.
const FIXED: [&str; 9] = [
    "replicationRef",
    "statuses",
    "createdAfter",
    "createdBefore",
    "prefixes",
    "report",
    "role",
    "priority",
    "approval",
];

pub fn spec_is_immutable() -> Rule {
    let unchanged = |field: &&str| {
        format!(
            "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
        )
    };
    rule(
        &FIXED.iter().map(unchanged).collect::<Vec<_>>().join(" && "),
        "a backfill is one job and cannot be changed, but for approved and cancel: create another ReplicationBackfill",
    )
}

pub fn approved_is_final() -> Rule {
    rule(
        "!(has(oldSelf.approved) && oldSelf.approved) || (has(self.approved) && self.approved)",
        "approved cannot be taken back, because the job may be running: set cancel to true to end it",
    )
}

pub fn cancel_is_final() -> Rule {
    rule(
        "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
        "cancel cannot be taken back: create another ReplicationBackfill",
    )
}

pub fn created_after_comes_first() -> Rule {
    rule(
        "!has(self.createdAfter) || !has(self.createdBefore) || self.createdAfter < self.createdBefore",
        "createdAfter must be earlier than createdBefore: no object is created before the one and after the other",
    )
}

pub fn statuses_are_distinct() -> Rule {
    rule(
        "self.all(s, self.exists_one(o, o == s))",
        "statuses names each status once: remove the one that is repeated",
    )
}

pub fn replication_name() -> Rule {
    rule(
        "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
        "replicationRef.name must be the name of a BucketReplication of the same namespace: kubectl get br lists them",
    )
}

pub fn report_prefix() -> Rule {
    rule(
        "!self.startsWith('/') && self.matches('^[ -~]*$')",
        "report.prefix must be the beginning of a key in printable ASCII characters, without a / at its beginning",
    )
}
