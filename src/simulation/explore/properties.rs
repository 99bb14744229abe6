//! The properties that must hold, each with a name and one sentence.
//!
//! In: the simulated AWS and API server. Out: each violation of a property, in one sentence. A new property begins
//! here; `run/` judges it. Properties are worked out from the simulated state alone, by other means than the
//! controllers' own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

use crate::api::{AdoptionPolicy, BucketReplication, DeletionPolicy, ManagementPolicy, Switch};
use crate::iam::arn::{bucket_of_arn, role_of_arn};
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::scene_beginnings::owner_tags;
use crate::simulation::world::{SimulatedBucket, SimulatedRole, World};

/// A property that must hold in every state, or from every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    Foreign,
    Coverage,
    Others,
    Existence,
    Permission,
    Lease,
    Refusal,
    Observation,
    Remembering,
    Convergence,
    Truth,
    Once,
    Widening,
    Canary,
    CanaryEnd,
    OneJob,
    JobKnown,
    Turn,
    BackfillEnd,
    Attention,
    Notice,
    Request,
}

/// Every property.
pub const PROPERTIES: [Property; 22] = [
    Property::Foreign,
    Property::Coverage,
    Property::Others,
    Property::Existence,
    Property::Permission,
    Property::Lease,
    Property::Refusal,
    Property::Observation,
    Property::Remembering,
    Property::Convergence,
    Property::Truth,
    Property::Once,
    Property::Widening,
    Property::Canary,
    Property::CanaryEnd,
    Property::OneJob,
    Property::JobKnown,
    Property::Turn,
    Property::BackfillEnd,
    Property::Attention,
    Property::Notice,
    Property::Request,
];

impl Property {
    /// The name, with the invariant it belongs to.
    pub fn name(self) -> &'static str {
        match self {
            Property::Foreign => "I1 foreign things stay",
            Property::Coverage => "I2 expand, switch, contract",
            Property::Others => "I3 others' parts survive",
            Property::Existence => "I4 no write for what is gone",
            Property::Permission => "I4 no write without permission",
            Property::Lease => "I4 no write without the lease",
            Property::Refusal => "I4 a refusal writes nothing",
            Property::Observation => "I5 Observe and suspend write nothing",
            Property::Remembering => "I6 deletion leaves nothing",
            Property::Convergence => "I7 four checks are enough",
            Property::Truth => "I7 Ready is true",
            Property::Once => "I7 nothing is there twice",
            Property::Widening => "I8 permissions widen only on request",
            Property::Canary => "no canary is left",
            Property::CanaryEnd => "a canary is deleted at its end",
            Property::OneJob => "one job for one backfill",
            Property::JobKnown => "no job before its token is kept",
            Property::Turn => "one backfill of a replication at a time",
            Property::BackfillEnd => "a backfill ends and leaves nothing",
            Property::Attention => "I7 each resource is checked again",
            Property::Notice => "I7 a permission is noticed",
            Property::Request => "a request is answered by a check",
        }
    }

    pub fn sentence(self) -> &'static str {
        match self {
            Property::Foreign => {
                "A role or configuration that someone else made is not written, replaced or deleted without adoptionPolicy: Adopt, and one that was adopted is deleted only while that is set."
            }
            Property::Coverage => {
                "No write of the operator takes from a rule in AWS a permission of its role or of its destination, and none puts a rule in place before them. Each rule is judged by itself. A rule that was applied before is restored also while nobody in its destination's account trusts the operator, so that the policy there is not known."
            }
            Property::Others => {
                "Statements, tags and finalizers of others survive every write, where the operator had read them before it."
            }
            Property::Existence => {
                "No stage is written for an object that was gone, or was being deleted, when the API server was last asked, or as the watch had brought it when the stage began. Nothing is made or started for a backfill that the watch has brought as cancelled."
            }
            Property::Permission => {
                "No stage is written that the AwsAccounts and the labels of the namespace do not allow when it begins, and none for a resource whose source another one owns by then."
            }
            Property::Lease => "No stage is begun by an operator that does not hold the lease.",
            Property::Refusal => "A check that finds a refusal has written nothing.",
            Property::Observation => {
                "No stage is written to AWS for a resource that is suspended or has managementPolicy: Observe when its check begins, when the API server was last asked, or as the watch had brought it when the stage began. A deletion stops likewise once everything is to stay."
            }
            Property::Remembering => {
                "Deletion ends from every state, and leaves no configuration, statement or role of the resource. An adopted configuration stays without adoptionPolicy: Adopt, with the role that it names when the operator reads AWS for the last time."
            }
            Property::Convergence => {
                "From every state, one operator without faults ends in at most four checks in a state that it does not change; with canaries, which come and go, in at most six; with a backfill, whose job goes on between two checks, in at most twelve."
            }
            Property::Truth => {
                "Where a status says Ready or InSync of the present spec, and nothing has changed since, AWS is as the whole spec asks for: versioning, the role with its trust, policy, boundary and tags, every field of every rule, and the policies of destinations in other accounts."
            }
            Property::Once => "The statements of a resource are in a bucket policy once.",
            Property::Widening => {
                "Where AwsAccounts were ever used, deleting one never allows a write that none of those left allows."
            }
            Property::Canary => {
                "Where nothing changes any more, no bucket holds a version or a delete marker of a canary, unless the user forbade the operator to write."
            }
            Property::CanaryEnd => {
                "No canary is deleted from its source before S3 has replicated it or has failed to, unless its resource is being deleted."
            }
            Property::OneJob => "There is never more than one job for one backfill.",
            Property::JobKnown => "No job is asked for whose token is not in the status.",
            Property::Turn => {
                "No job is asked for while one of another backfill of the same replication goes on."
            }
            Property::BackfillEnd => {
                "A backfill that may begin ends: Completed, or cancelled where someone cancelled it. Then, and after its deletion, no job of it goes on and no role of it is left."
            }
            Property::Attention => {
                "A resource that is not suspended is checked again although nobody changes it."
            }
            Property::Notice => {
                "A resource that AwsAccounts allow from now on, or that owns its source from now on, is due at once."
            }
            Property::Request => "No request to check counts as handled while the resource is suspended.",
        }
    }
}

/// A property does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub property: Property,
    /// The evidence, in one sentence.
    pub detail: String,
}

pub fn violated(property: Property, detail: impl Into<String>) -> Violation {
    Violation { property, detail: detail.into() }
}

/// Whether a role is the resource's by its tags.
pub fn is_owned(role: &SimulatedRole, uid: &str) -> bool {
    owner_tags(uid).iter().all(|(key, value)| role.tags.get(key) == Some(value))
}

/// The statements of a policy.
pub fn statements(policy: Option<&Value>) -> Vec<Value> {
    match policy.and_then(|policy| policy.get("Statement")) {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

/// Whether a statement has the Sid of a resource.
pub fn has_sid(statement: &Value, sid: &str) -> bool {
    statement["Sid"].as_str().is_some_and(|held| held.starts_with(sid))
}

/// A text or a list of texts.
pub fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// Stands for the keys of the objects of a source, which a configuration does not name.
const ANY_KEY: &str = "a key";

/// Whether a policy allows an action on a resource, to a principal where it names any.
fn allows(policy: Option<&Value>, principal: Option<&str>, action: &str, resource: &str) -> bool {
    statements(policy).iter().any(|statement| {
        let to = principal.is_none_or(|principal| texts(&statement["Principal"]["AWS"]).contains(&principal));
        to && statement["Effect"] == "Allow"
            && texts(&statement["Action"]).contains(&action)
            && (resource == ANY_KEY || texts(&statement["Resource"]).contains(&resource))
    })
}

/// A permission that a rule of a bucket's configuration needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    pub rule: String,
    /// The policy that is to allow it: of the role, or of a bucket.
    by: Option<String>,
    action: &'static str,
    on: String,
}

impl Need {
    /// Whether the role is to be allowed it by its own policy.
    pub fn is_of_role(&self) -> bool {
        self.by.is_none()
    }

    /// Whether a policy is to allow it that the operator can neither read nor write: nobody there trusts the operator.
    pub fn is_out_of_reach(&self, world: &World) -> bool {
        let bucket = self.by.as_ref().and_then(|bucket| world.buckets.get(bucket));
        bucket.is_some_and(|bucket| {
            bucket.account_id != world.own_account && !world.trusting_accounts.contains(&bucket.account_id)
        })
    }
}

/// The permissions that the rules of a bucket's configuration need and lack, with what shows it.
pub fn lacks(world: &World, bucket: &str) -> BTreeMap<Need, String> {
    let mut lacking = BTreeMap::new();
    let Some(source) = world.buckets.get(bucket) else { return lacking };
    let Some(configuration) = &source.configuration else { return lacking };
    let role = world.role_by_arn(&configuration.role);
    let name = role_of_arn(&configuration.role);
    for (id, rule) in &configuration.rules {
        let need = |by: Option<&str>, action: &'static str, on: &str| Need {
            rule: id.clone(),
            by: by.map(str::to_owned),
            action,
            on: on.to_owned(),
        };
        let (here, to) = (format!("arn:aws:s3:::{bucket}"), format!("{}/*", rule.destination.bucket));
        let (from, any_key) = (format!("{here}/*"), ANY_KEY.to_owned());
        let mut needed = vec![
            ("s3:GetReplicationConfiguration", &here),
            ("s3:ListBucket", &here),
            ("s3:GetObjectVersionForReplication", &from),
            ("s3:ReplicateObject", &to),
            ("s3:ReplicateDelete", &to),
        ];
        let hands_over = rule.destination.ownership.is_some();
        if hands_over {
            needed.push(("s3:ObjectOwnerOverrideToBucketOwner", &to));
        }
        if let Some(key) = &rule.destination.kms_key {
            needed.push(("kms:Encrypt", key));
        }
        if rule.kms_encrypted_objects == Switch::Enabled {
            needed.push(("kms:Decrypt", &any_key));
        }
        for (action, on) in needed {
            let why = match role {
                None => format!("role {} of bucket {bucket} does not exist", configuration.role),
                Some(role) if !allows(role.policy.as_ref(), None, action, on) => {
                    format!("role {name} may not {action} on {on}, which rule {id} needs")
                }
                Some(_) => continue,
            };
            lacking.insert(need(None, action, on), why);
        }
        let abroad = bucket_of_arn(&rule.destination.bucket);
        let held = world.buckets.get(abroad).filter(|held| held.account_id != source.account_id);
        let override_owner = hands_over.then_some("s3:ObjectOwnerOverrideToBucketOwner");
        for action in ["s3:ReplicateObject", "s3:ReplicateDelete"].into_iter().chain(override_owner) {
            let is_admitted =
                |held: &SimulatedBucket| allows(held.policy.as_ref(), Some(&configuration.role), action, &to);
            if held.is_some_and(|held| !is_admitted(held)) {
                let why = format!(
                    "the policy of bucket {abroad} does not let role {name} {action}, which rule {id} needs"
                );
                lacking.insert(need(Some(abroad), action, &to), why);
            }
        }
    }
    lacking
}

/// Whether a resource asks to leave AWS as it is when it is deleted.
pub fn leaves_aws_alone(object: &BucketReplication) -> bool {
    object.spec.management_policy == ManagementPolicy::Observe
        || object.spec.deletion_policy == DeletionPolicy::Retain
}

pub fn adopts(object: &BucketReplication) -> bool {
    object.spec.adoption_policy == AdoptionPolicy::Adopt
}

/// Whether an object is a resource that refers to an account.
pub fn refers_to(key: &ObjectName, object: &Value, account: &str) -> bool {
    let named = |reference: &Value| reference.as_str().map(str::to_owned);
    let spec = &object["spec"];
    let source = named(&spec["source"]["accountRef"]).unwrap_or_else(|| "default".to_owned());
    let mut destinations = spec["rules"].as_array().into_iter().flatten();
    let by_rule = destinations.any(|rule| rule["destination"]["accountRef"] == account);
    key.kind == "BucketReplication" && (source == account || by_rule)
}

/// Why the accounts that exist now do not allow a resource what its spec asks for. `seen`: one existed once.
pub fn forbidden(server: &ApiServer, object: &BucketReplication, seen: bool) -> Option<String> {
    let spec = &object.spec;
    let named = spec.source.account_ref.as_deref().unwrap_or("default");
    let account =
        |name: &str| server.objects.get(&ObjectName::account(name)).map(|object| object["spec"].clone());
    let Some(source) = account(named) else {
        return (seen || spec.source.account_ref.is_some())
            .then(|| format!("AwsAccount {named} does not exist"));
    };
    if !admits(&source, server) {
        return Some(format!("AwsAccount {named} does not allow the namespace"));
    }
    if !names(&source["sources"], &spec.source.bucket) {
        return Some(format!("AwsAccount {named} does not allow the source {}", spec.source.bucket));
    }
    for to in spec.rules.iter().map(|rule| &rule.destination) {
        let name = to.account_ref.as_deref().unwrap_or(named);
        let Some(destination) = account(name) else {
            return Some(format!("AwsAccount {name} does not exist"));
        };
        if !admits(&destination, server) || !names(&destination["destinations"], &to.bucket) {
            return Some(format!("AwsAccount {name} does not allow the destination {}", to.bucket));
        }
    }
    None
}

/// The name of another resource that is allowed to replicate from the same source and owns it: an older one, or one of the
/// same second that has applied its spec, or has announced to. Of two of the same second that have not, none owns it yet.
pub fn owner_before(server: &ApiServer, object: &BucketReplication, seen: bool) -> Option<String> {
    older(server, object, seen).or_else(|| {
        let holds = |object: &BucketReplication| {
            let status = object.status.as_ref();
            status.is_some_and(|held| held.applied_hash.is_some() || held.announced_configuration.is_some())
        };
        let is_held_by =
            |other: &BucketReplication| created(other) == created(object) && holds(other) && !holds(object);
        rival(server, object, seen, is_held_by)
    })
}

/// The name of an older resource that is allowed to replicate from the same source.
pub fn older(server: &ApiServer, object: &BucketReplication, seen: bool) -> Option<String> {
    rival(server, object, seen, |other| created(other) < created(object))
}

fn created(object: &BucketReplication) -> Option<Timestamp> {
    object.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// The name of another resource that is allowed to replicate from the same source, and of which this holds.
fn rival(
    server: &ApiServer,
    object: &BucketReplication,
    seen: bool,
    is_wanted: impl Fn(&BucketReplication) -> bool,
) -> Option<String> {
    let others = server.objects.iter().filter(|(name, _)| name.kind == "BucketReplication");
    others.filter_map(|(name, other)| Some((name, BucketReplication::deserialize(other).ok()?))).find_map(
        |(name, other)| {
            let is_other = other.metadata.uid != object.metadata.uid;
            let is_same = other.spec.source.bucket == object.spec.source.bucket;
            (is_other && is_same && is_wanted(&other) && forbidden(server, &other, seen).is_none())
                .then(|| name.name.clone())
        },
    )
}

/// Why an account does not allow an activity, such as `Canary`, for a resource. Canaries arrive in destinations, whose accounts
/// count too.
pub fn forbids(server: &ApiServer, object: &BucketReplication, activity: &str) -> Option<String> {
    let source = object.spec.source.account_ref.as_deref().unwrap_or("default");
    let destinations = object.spec.rules.iter().filter_map(|rule| rule.destination.account_ref.as_deref());
    let destinations = destinations.filter(|_| activity == "Canary");
    [source].into_iter().chain(destinations).find_map(|name| {
        let account = server.objects.get(&ObjectName::account(name))?;
        let allows = texts(&account["spec"]["allow"]).contains(&activity);
        (!allows).then(|| format!("AwsAccount {name} does not allow {activity}"))
    })
}

/// Whether some `AwsAccount` of an account allows the namespace `data` to replicate into a bucket.
pub fn is_allowed_destination(server: &ApiServer, account_id: &str, bucket: &str) -> bool {
    let accounts = server.objects.iter().filter(|(name, _)| name.kind == "AwsAccount");
    let mut specs = accounts.map(|(_, account)| &account["spec"]);
    specs.any(|spec| {
        spec["accountId"] == account_id && admits(spec, server) && names(&spec["destinations"], bucket)
    })
}

/// How the name of a canary in its folder begins.
pub const CANARY: &str = "canary-";

/// A version of a canary of a resource in any bucket but these.
pub fn canary_left(world: &World, uid: &str, out_of_reach: &BTreeSet<String>) -> Option<String> {
    let folder = format!("{uid}/{CANARY}");
    let mut reached = world.buckets.iter().filter(|(name, _)| !out_of_reach.contains(*name));
    reached.find_map(|(name, bucket)| {
        let held = bucket.objects.versions.iter().find(|held| held.key.contains(&folder))?;
        let what = if held.is_marker { "a delete marker" } else { "a canary" };
        Some(format!("{what} in bucket {name}"))
    })
}

/// Whether an account allows the namespace `data`.
fn admits(account: &Value, server: &ApiServer) -> bool {
    let namespaces = &account["namespaces"];
    let by_name =
        namespaces["matchNames"].as_array().is_none_or(|names| names.contains(&Value::from("data")));
    let labels = server.namespaces.get("data").cloned().unwrap_or_default();
    let wanted = namespaces["matchLabels"].as_object();
    let by_labels = wanted.is_none_or(|wanted| {
        wanted.iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
    });
    !namespaces.is_null() && by_name && by_labels
}

fn names(patterns: &Value, bucket: &str) -> bool {
    texts(patterns).iter().any(|pattern| *pattern == "*" || *pattern == bucket)
}
