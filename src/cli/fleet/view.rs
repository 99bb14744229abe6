//! One resource as people read it.
//!
//! In: the resource and the backfills that refer to it. Out: [`ReplicationView`]: the verdict, why, what to do, and what
//! is true in AWS as the status reports it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{DynamicObject, ObjectMeta};
use serde::{Deserialize, Serialize};

use crate::api::{
    AdoptionPolicy, BucketReplication, BucketReplicationSpec, BucketReplicationStatus, BucketStatus,
    Correction, DriftEntry, HealthStatus, ManagementPolicy, Reason, ReplicationRule, RoleStatus, Switch,
};
use crate::cli::counted::{counted, form};
use crate::cli::fleet::advice::{advise, advise_on_deletion, advise_on_disabled, advise_on_objects};
use crate::cli::fleet::backfill::BackfillView;
use crate::cli::fleet::commands::CommandNames;
use crate::cli::fleet::condition::ConditionView;
use crate::cli::fleet::runbook::{Pointers, runbook, web_address};
use crate::cli::fleet::verdict::{Verdict, decide, reason};
use crate::cli::kubernetes::{FoundObject, Undecodable};
use crate::cli::shell::{about_cluster, word};
use crate::replication::ResourceId;
use crate::replication::status::runbooks::unlinked;

/// A resource, with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationView {
    pub namespace: String,
    pub name: String,
    pub verdict: Verdict,
    /// The reason and the message of the condition that decides the verdict.
    pub reason: String,
    pub message: String,
    /// The meaning of the reason, in a sentence.
    pub meaning: String,
    /// Where the runbook of the reason is; absent where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Commands that show more or fix it.
    pub next: Vec<String>,
    pub conditions: Vec<ConditionView>,
    pub suspended: bool,
    /// `Enforce` or `Observe`.
    pub management_policy: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When someone asked for its deletion, which the operator has not finished; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
    pub source: BucketView,
    pub rules: Vec<RuleView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,
    pub drift: Vec<DriftEntry>,
    pub drift_count: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_correction: Option<Correction>,
    pub backfills: Vec<BackfillView>,
    /// Whether objects arrive, as the status reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
}

/// A bucket, as far as it is known. The account of a source without `AwsAccount` is known once the operator has acted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketView {
    pub bucket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<String>,
}

/// A rule of the spec with its destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    pub id: String,
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub tags: std::collections::BTreeMap<String, String>,
    pub metrics: bool,
    pub destination: BucketView,
}

impl ReplicationView {
    /// Whether it is known which buckets it is about. Not so for a resource of another version that has them elsewhere.
    pub fn is_about_known_buckets(&self) -> bool {
        !self.source.bucket.is_empty() && !self.rules.is_empty()
    }

    /// `NAMESPACE/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The command that shows it. `program`: as it was typed, and the flags that named the cluster.
    pub fn status_command(&self, (typed, cluster): (&str, &str)) -> String {
        let command = format!("{typed} status {} -n {}", word(&self.name), word(&self.namespace));
        about_cluster(&command, cluster)
    }

    /// The address of the runbook, where a page can link to it.
    pub fn link(&self) -> Option<&str> {
        web_address(self.runbook.as_deref()?)
    }

    /// The message for a page that links to the runbook: without the same link at its end.
    pub fn message_beside_link(&self) -> &str {
        if self.link().is_some() { unlinked(&self.message) } else { &self.message }
    }
}

/// Resources as people read them, the ones that need someone first.
pub fn view_all(
    found: Vec<FoundObject<BucketReplication>>,
    backfills: &[DynamicObject],
    pointers: Pointers<'_>,
) -> Vec<ReplicationView> {
    let backfills: Vec<BackfillView> =
        backfills.iter().map(|backfill| BackfillView::of(backfill, pointers)).collect();
    let known = known_buckets(&found);
    let mut views: Vec<ReplicationView> = found
        .into_iter()
        .map(|FoundObject { metadata, object }| match object {
            Ok(resource) => view(resource, &backfills, pointers),
            Err(odd) => undecodable(&metadata, odd, pointers),
        })
        .map(|view| completed(view, &known))
        .collect();
    for command in views.iter_mut().flat_map(|view| &mut view.next) {
        *command = about_cluster(command, pointers.cluster);
    }
    views.sort_by(|a, b| (a.verdict, &a.namespace, &a.name).cmp(&(b.verdict, &b.namespace, &b.name)));
    views
}

/// The facts that the operator has found out about each bucket, by its name.
fn known_buckets(found: &[FoundObject<BucketReplication>]) -> BTreeMap<String, BucketStatus> {
    let statuses = found.iter().filter_map(|one| one.object.as_ref().ok()?.status.as_ref());
    let buckets = statuses.flat_map(|status| status.source.iter().chain(&status.destinations));
    let read = buckets.filter(|bucket| bucket.account.is_some() && bucket.region.is_some());
    read.map(|bucket| (bucket.bucket.clone(), bucket.clone())).collect()
}

/// Completes the account and the Region of buckets by what the statuses of other resources say: a bucket has one of each,
/// whatever refers to it. A resource in conflict has no such status of its own.
fn completed(mut view: ReplicationView, known: &BTreeMap<String, BucketStatus>) -> ReplicationView {
    let destinations = view.rules.iter_mut().map(|rule| &mut rule.destination);
    for bucket in destinations.chain([&mut view.source]) {
        let Some(BucketStatus { region, account, .. }) = known.get(&bucket.bucket) else { continue };
        bucket.account = bucket.account.take().or_else(|| account.clone());
        bucket.region = bucket.region.take().or_else(|| region.clone());
    }
    view
}

fn view(resource: BucketReplication, backfills: &[BackfillView], pointers: Pointers<'_>) -> ReplicationView {
    let BucketReplication { metadata, spec, status } = resource;
    let status = status.unwrap_or_default();
    let (namespace, name) = names(&metadata);
    let conditions: Vec<ConditionView> = status.conditions.iter().map(condition).collect();
    let of_type = |kind: &str| conditions.iter().find(|condition| condition.r#type == kind);
    let ready = of_type("Ready").cloned().unwrap_or_else(unseen);
    let current = status.observed_generation >= metadata.generation;
    let (verdict, why) = decide(&ready, of_type("Replicating"), current);
    let (source, rules) = (source_view(&spec, &status), rule_views(&spec, &status));
    let is_disabled = !rules.is_empty() && rules.iter().all(|rule| !rule.enabled);
    let (verdict, why) = match verdict {
        // Nothing is to arrive, and nothing can prove that it does.
        Verdict::Unproven | Verdict::Applied | Verdict::Arriving if is_disabled => (Verdict::Disabled, ready),
        verdict => (verdict, why),
    };
    // A failure also keeps the resource from being deleted.
    let is_going = metadata.deletion_timestamp.is_some() && !verdict.is_wrong();
    let verdict = if is_going { Verdict::Deleting } else { verdict };
    let wanted_role = derive_role(&spec, &namespace, &name);
    let accounts: BTreeSet<&str> = rules
        .iter()
        .map(|rule| &rule.destination)
        .chain([&source])
        .filter_map(|bucket| bucket.account_ref.as_deref())
        .collect();
    let accounts: Vec<&str> = accounts.into_iter().collect();
    let subject = CommandNames {
        typed: pointers.typed,
        namespace: &namespace,
        name: &name,
        source: &source.bucket,
        destination: rules.first().map_or("", |rule| rule.destination.bucket.as_str()),
        role: status.role.as_ref().map(|role| role.arn.as_str()),
        wanted_role: &wanted_role,
        accounts: &accounts,
        source_account: source.account_ref.as_deref(),
        message: &why.message,
        is_enforced: spec.management_policy == ManagementPolicy::Enforce,
        adopts: spec.adoption_policy == AdoptionPolicy::Adopt,
    };
    let advice = match why.r#type.as_str() {
        _ if verdict == Verdict::Deleting => advise_on_deletion(&subject),
        _ if verdict == Verdict::Disabled => advise_on_disabled(&subject),
        "Replicating" => advise_on_objects(reason(&why.reason), &subject),
        _ => advise(reason(&why.reason), &subject),
    };
    let of_this = |backfill: &&BackfillView| backfill.namespace == namespace && backfill.replication == name;
    let backfills = backfills.iter().filter(of_this).cloned().collect();
    ReplicationView {
        verdict,
        runbook: (!verdict.is_well() && verdict != Verdict::Deleting)
            .then(|| runbook(&why.reason, &why.message, pointers.runbooks))
            .flatten(),
        reason: why.reason,
        message: why.message,
        meaning: explain(advice.meaning, verdict, &source, &rules),
        next: advice.next,
        conditions,
        suspended: spec.suspend,
        management_policy: match spec.management_policy {
            ManagementPolicy::Enforce => "Enforce".to_owned(),
            ManagementPolicy::Observe => "Observe".to_owned(),
        },
        deleted: metadata.deletion_timestamp.map(|time| time.0.to_string()),
        created: metadata.creation_timestamp.map(|time| time.0.to_string()),
        source,
        rules,
        role: status.role,
        drift_count: status.drift_count.unwrap_or_default(),
        drift: status.drift,
        last_correction: status.last_correction,
        health: status.health,
        backfills,
        namespace,
        name,
    }
}

/// A resource that this version cannot decode: all that is known is its name, and its buckets where this version
/// expects them. Else the source has no name, and there are no rules.
fn undecodable(metadata: &ObjectMeta, odd: Undecodable, pointers: Pointers<'_>) -> ReplicationView {
    let (namespace, name) = names(metadata);
    let bucket = |name: &str| BucketView { bucket: name.to_owned(), ..BucketView::default() };
    let (source, rules) = odd.source().zip(odd.rules()).unwrap_or_default();
    let source = bucket(source);
    let rule = |(id, destination): (&str, &str)| RuleView {
        id: id.to_owned(),
        enabled: true,
        prefix: None,
        tags: std::collections::BTreeMap::new(),
        metrics: false,
        destination: bucket(destination),
    };
    let rules = rules.into_iter().map(rule).collect();
    let message = odd.message;
    let subject = CommandNames {
        typed: pointers.typed,
        namespace: &namespace,
        name: &name,
        source: "",
        destination: "",
        role: None,
        wanted_role: "",
        accounts: &[],
        source_account: None,
        message: &message,
        is_enforced: false,
        adopts: false,
    };
    let advice = advise(Some(Reason::InvalidSpec), &subject);
    ReplicationView {
        verdict: Verdict::Failing,
        runbook: runbook(Reason::InvalidSpec.as_str(), &message, pointers.runbooks),
        reason: Reason::InvalidSpec.as_str().to_owned(),
        message,
        meaning: advice.meaning.to_owned(),
        next: advice.next,
        conditions: Vec::new(),
        suspended: false,
        management_policy: String::new(),
        deleted: metadata.deletion_timestamp.as_ref().map(|time| time.0.to_string()),
        created: metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        source,
        rules,
        role: None,
        drift: Vec::new(),
        drift_count: 0,
        last_correction: None,
        health: None,
        backfills: Vec::new(),
        namespace,
        name,
    }
}

/// The meaning of a reason, with the rules by which S3 replicates nothing.
fn explain(of_reason: &str, verdict: Verdict, source: &BucketView, rules: &[RuleView]) -> String {
    let disabled = rules.iter().filter(|rule| !rule.enabled).count();
    match (verdict, disabled) {
        (Verdict::Disabled, _) => format!("{of_reason} from bucket {}", source.bucket),
        (verdict, 1..) if verdict.is_well() => {
            let (rules, verb) = (counted(rules.len(), "rule"), form(disabled, "is", "are"));
            format!("{of_reason}; {disabled} of {rules} {verb} disabled")
        }
        _ => of_reason.to_owned(),
    }
}

/// The name or the ARN of the role that the spec asks for.
fn derive_role(spec: &BucketReplicationSpec, namespace: &str, name: &str) -> String {
    let role = spec.role.as_ref();
    role.and_then(|role| role.arn.clone().or_else(|| role.name.clone())).unwrap_or_else(|| {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        ResourceId { namespace, name, ..ResourceId::default() }.default_role_name()
    })
}

fn names(metadata: &ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// `Ready` of a resource without conditions: the operator has not seen it.
fn unseen() -> ConditionView {
    ConditionView {
        r#type: "Ready".to_owned(),
        status: "Unknown".to_owned(),
        reason: Reason::Progressing.as_str().to_owned(),
        message: "The operator has not seen this resource yet.".to_owned(),
        since: None,
    }
}

fn condition(condition: &Condition) -> ConditionView {
    let Condition { type_, status, reason, message, last_transition_time, .. } = condition;
    ConditionView {
        r#type: type_.clone(),
        status: status.clone(),
        reason: reason.clone(),
        message: message.clone(),
        since: Some(last_transition_time.0.to_string()),
    }
}

fn source_view(spec: &BucketReplicationSpec, status: &BucketReplicationStatus) -> BucketView {
    let held = status.source.as_ref().filter(|held| held.bucket == spec.source.bucket);
    let known = BucketView {
        bucket: spec.source.bucket.clone(),
        region: spec.source.region.clone(),
        account: None,
        account_ref: spec.source.account_ref.clone(),
        versioning: None,
    };
    merged(known, held)
}

fn rule_views(spec: &BucketReplicationSpec, status: &BucketReplicationStatus) -> Vec<RuleView> {
    let rule = |rule: &ReplicationRule| {
        let destination = &rule.destination;
        let held = status.destinations.iter().find(|held| held.bucket == destination.bucket);
        let known = BucketView {
            bucket: destination.bucket.clone(),
            region: destination.region.clone(),
            account: destination.account.clone(),
            account_ref: destination.account_ref.clone(),
            versioning: None,
        };
        let enabled = |switch: Option<Switch>| switch.is_some_and(Switch::is_enabled);
        RuleView {
            id: rule.id.clone(),
            enabled: rule.status.is_none_or(Switch::is_enabled),
            prefix: rule.filter.as_ref().and_then(|filter| filter.prefix.clone()),
            tags: rule.filter.as_ref().map(|filter| filter.tags.clone()).unwrap_or_default(),
            metrics: enabled(destination.metrics) || enabled(destination.replication_time_control),
            destination: merged(known, held),
        }
    };
    spec.rules.iter().map(rule).collect()
}

/// A bucket of the spec, completed by what the operator has found out.
fn merged(known: BucketView, held: Option<&BucketStatus>) -> BucketView {
    let Some(BucketStatus { bucket: _, region, account, account_ref, versioning }) = held.cloned() else {
        return known;
    };
    BucketView {
        bucket: known.bucket,
        region: region.or(known.region),
        account: account.or(known.account),
        account_ref: account_ref.or(known.account_ref),
        versioning,
    }
}
