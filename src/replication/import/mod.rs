//! Imports a replication configuration that exists.
//!
//! In: the configuration as S3 holds it. Out: the spec that asks for exactly it and passes admission, or the field that
//! a spec cannot express.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    self, BucketReplicationSpec, DeletionPolicy, Destination, Ownership, ReplicationRule, Role, Source,
    StorageClass, Switch, VersioningPolicy,
};
use crate::iam::arn::{account_of_arn, bucket_of_arn, region_of_arn};
use crate::iam::digest::sha256_prefix;
use crate::replication::configuration::{Configuration, Rule, RuleDestination, RuleFilter};
use crate::replication::observed::VersioningStatus;

/// The longest ARN of a role, and the longest id of a rule.
const MAX_ROLE_ARN: usize = 640;
const MAX_RULE_ID: usize = 255;

/// The longest prefix, the most tags of a filter, and the longest key and value of one, in characters.
const MAX_PREFIX: usize = 1024;
const MAX_TAGS: usize = 10;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

/// The characters of a SHA-256: one more than the longest name of a bucket.
const HASH: usize = 64;

/// A field that a `BucketReplication` cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{field} is {value:?}, which a BucketReplication cannot express{why}", in_rule(id))]
pub struct Inexpressible {
    /// The rule; `None` for a field of the resource itself.
    pub id: Option<String>,
    pub field: &'static str,
    pub value: String,
    pub why: &'static str,
}

fn in_rule(id: &Option<String>) -> String {
    id.as_ref().map_or_else(String::new, |id| format!("rules[{id}]."))
}

/// Elements of a configuration that this version does not know: a spec without them would remove them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration holds elements that this version does not know and would remove: {}", .0.join(", "))]
pub struct UnknownElements(pub Vec<String>);

/// A bucket whose versioning the operator would enable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "versioning of bucket {bucket} is {} ({fields}), and a BucketReplication that is applied would enable it; enable it in S3 first",
    .status.as_str()
)]
pub struct NotVersioned {
    pub bucket: String,
    /// The fields that name the bucket.
    pub fields: String,
    pub status: VersioningStatus,
}

/// The fields of a spec that name a bucket: one for each rule that replicates into it.
pub fn fields_of(spec: &BucketReplicationSpec, bucket: &str) -> String {
    let source = (spec.source.bucket == bucket).then(|| "source.bucket".to_owned());
    let rules = spec.rules.iter().filter(|rule| rule.destination.bucket == bucket);
    let fields = rules.map(|rule| format!("rules[{}].destination.bucket", rule.id));
    source.into_iter().chain(fields).collect::<Vec<_>>().join(", ")
}

/// A bucket that replicates already.
#[derive(Clone, Copy, Debug)]
pub struct ReplicatingBucket<'a> {
    pub bucket: &'a str,
    pub region: Option<&'a str>,
    /// The id of the account that owns the bucket.
    pub account_id: &'a str,
    pub configuration: &'a Configuration,
}

/// The name of the resource for a bucket, which follows from the bucket's name alone. Two buckets never get the same: a
/// resource has the bucket's own name, unless Kubernetes takes no such name (`a.-b`). Then it has a hash, which makes
/// it longer than the name of any bucket.
pub fn resource_name(bucket: &str) -> String {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_end) && label.ends_with(is_end) && label.chars().all(|c| is_end(c) || c == '-')
    };
    if bucket.split('.').all(is_label) {
        return bucket.to_owned();
    }
    let plain: String = bucket.chars().map(|c| if is_end(c) { c } else { '-' }).collect();
    format!("{}.{}", plain.trim_matches('-'), sha256_prefix(bucket.as_bytes(), HASH))
}

/// The spec of a bucket that replicates already. The role is used as it is, by its ARN, and the configuration stays
/// when the resource is deleted: it was there before.
///
/// # Errors
/// The first field that cannot be expressed.
pub fn import(found: &ReplicatingBucket<'_>) -> Result<BucketReplicationSpec, Inexpressible> {
    let ReplicatingBucket { bucket, region, account_id, configuration: Configuration { role, rules } } =
        *found;
    require_admitted(found)?;
    // Rules of the first version of the schema have no priority, and a spec with several rules needs one for each. Any
    // will do, because such rules cannot overlap.
    let alone = rules.len() == 1;
    let taken: BTreeSet<i32> = rules.values().filter_map(|rule| rule.priority).collect();
    let mut free = (1..).filter(|priority| !taken.contains(priority));
    let rules = rules
        .iter()
        .map(|(id, rule)| {
            let priority = rule.priority.or_else(|| if alone { None } else { free.next() });
            import_rule(id, rule, priority, account_id)
        })
        .collect::<Result<_, _>>()?;
    Ok(BucketReplicationSpec {
        source: Source { bucket: bucket.to_owned(), region: region.map(str::to_owned), ..Source::default() },
        role: Some(Role { arn: Some(role.clone()), ..Role::default() }),
        rules,
        deletion_policy: DeletionPolicy::Retain,
        ..BucketReplicationSpec::default()
    })
}

/// Sets the versioning policies so that the operator writes the versioning of no bucket. A bucket that is not in `held`
/// could not be read: the operator only checks it.
///
/// # Errors
/// The first bucket whose versioning is known and not enabled. S3 lets anyone suspend it at a destination.
pub fn leave_versioning(
    spec: &mut BucketReplicationSpec,
    held: &BTreeMap<String, VersioningStatus>,
) -> Result<(), NotVersioned> {
    let buckets = spec.rules.iter().map(|rule| &rule.destination.bucket);
    for bucket in std::iter::once(&spec.source.bucket).chain(buckets) {
        if let Some(status) = held.get(bucket).filter(|status| **status != VersioningStatus::Enabled) {
            let fields = fields_of(spec, bucket);
            return Err(NotVersioned { bucket: bucket.clone(), fields, status: *status });
        }
    }
    let policy = |bucket: &String| match held.get(bucket) {
        Some(_) => VersioningPolicy::Managed,
        None => VersioningPolicy::Required,
    };
    spec.source.versioning = policy(&spec.source.bucket);
    for rule in &mut spec.rules {
        let chosen = policy(&rule.destination.bucket);
        rule.destination.versioning = (chosen == VersioningPolicy::Required).then_some(chosen);
    }
    Ok(())
}

/// Refuses names and ids from before today's rules, and rules that share a priority because they replicate into
/// different buckets: S3 holds them, and admission would refuse them.
fn require_admitted(found: &ReplicatingBucket<'_>) -> Result<(), Inexpressible> {
    let Configuration { role, rules } = found.configuration;
    if !is_bucket_name(found.bucket) {
        let why = ": a BucketReplication names buckets by today's rules for their names";
        return Err(not_taken("source.bucket", found.bucket, why));
    }
    let name =
        resource_in_account(role, "iam").and_then(|rest| rest.strip_prefix("role/")).unwrap_or_default();
    let is_named = |c: char| c.is_ascii_alphanumeric() || "+=,.@_/-".contains(c);
    if name.is_empty() || !name.chars().all(is_named) || role.len() > MAX_ROLE_ARN {
        let why = ": it is no ARN of a role that role.arn accepts";
        return Err(not_taken("role", role, why));
    }
    if account_of_arn(role) != Some(found.account_id) {
        let why = ": it is a role of another account than the bucket's, which S3 cannot assume; name a role of the bucket's account in S3";
        return Err(not_taken("role", role, why));
    }
    let mut taken: BTreeMap<i32, &str> = BTreeMap::new();
    for (id, rule) in rules {
        if id.is_empty() || id.len() > MAX_RULE_ID || !id.chars().all(|c| (' '..='~').contains(&c)) {
            let why = ": an id has 1 to 255 printable ASCII characters; give the rule one in S3";
            return Err(inexpressible(id, "id", id, why));
        }
        let bucket = bucket_of_arn(&rule.destination.bucket);
        if !is_bucket_name(bucket) {
            let why = ": a BucketReplication names buckets by today's rules for their names";
            return Err(inexpressible(id, "destination.bucket", bucket, why));
        }
        if bucket == found.bucket {
            let why = ": it is the source bucket, and S3 replicates only into another one";
            return Err(inexpressible(id, "destination.bucket", bucket, why));
        }
        require_filter_admitted(id, &rule.filter)?;
        let Some(priority) = rule.priority else { continue };
        if priority < 0 {
            let why = ": a priority is not negative";
            return Err(inexpressible(id, "priority", &priority.to_string(), why));
        }
        if taken.insert(priority, id).is_some() {
            let why = ", as in another rule: each rule of a BucketReplication has a priority of its own; change one of them in S3";
            return Err(inexpressible(id, "priority", &priority.to_string(), why));
        }
    }
    Ok(())
}

/// Refuses a filter that is longer than admission takes one.
fn require_filter_admitted(id: &str, RuleFilter { prefix, tags }: &RuleFilter) -> Result<(), Inexpressible> {
    let length = |text: &str| text.chars().count();
    if length(prefix) > MAX_PREFIX {
        let why = ": a prefix has at most 1024 characters; shorten it in S3";
        return Err(inexpressible(id, "filter.prefix", prefix, why));
    }
    if tags.len() > MAX_TAGS {
        let why = ": a filter has at most 10 tags, as an object has; remove the others in S3";
        return Err(inexpressible(id, "filter.tags", &tags.len().to_string(), why));
    }
    let is_long = |(key, value): &(&String, &String)| {
        key.is_empty() || length(key) > MAX_TAG_KEY || length(value) > MAX_TAG_VALUE
    };
    let Some((key, _)) = tags.iter().find(is_long) else { return Ok(()) };
    let why = ": the key of a tag has 1 to 128 characters, and its value at most 256; shorten the tag in S3";
    Err(inexpressible(id, "filter.tags", key, why))
}

fn inexpressible(id: &str, field: &'static str, value: &str, why: &'static str) -> Inexpressible {
    Inexpressible { id: Some(id.to_owned()), field, value: value.to_owned(), why }
}

/// The same for a field outside of rules.
fn not_taken(field: &'static str, value: &str, why: &'static str) -> Inexpressible {
    Inexpressible { id: None, field, value: value.to_owned(), why }
}

/// Whether admission takes a text for the name of a bucket that can replicate.
fn is_bucket_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_address = name.split('.').count() == 4 && name.chars().all(|c| c == '.' || c.is_ascii_digit());
    let reserved_ends = ["--x-s3", "--table-s3", "-s3alias", "--ol-s3", ".mrap"];
    let reserved_beginnings = ["xn--", "sthree-", "amzn-s3-demo-"];
    (3..=63).contains(&name.len())
        && name.chars().all(|c| is_inner(c) || c == '.' || c == '-')
        && name.starts_with(is_inner)
        && name.ends_with(is_inner)
        && !name.contains("..")
        && !is_address
        && !reserved_beginnings.iter().any(|beginning| name.starts_with(beginning))
        && !reserved_ends.iter().any(|end| name.ends_with(end))
}

fn import_rule(
    id: &str,
    rule: &Rule,
    priority: Option<i32>,
    own_account: &str,
) -> Result<ReplicationRule, Inexpressible> {
    let Rule {
        status,
        priority: _,
        filter: RuleFilter { prefix, tags },
        delete_markers,
        replica_modifications,
        kms_encrypted_objects,
        destination,
    } = rule;
    let RuleDestination {
        bucket,
        account,
        storage_class,
        ownership: _,
        kms_key,
        replication_time_control,
        metrics,
    } = destination;
    let storage_class = storage_class
        .as_deref()
        .map(|class| {
            let known = serde_json::from_value::<StorageClass>(class.into());
            let why = ": this version does not know the class; use a newer version, or another class in S3";
            known.map_err(|_| inexpressible(id, "destination.storageClass", class, why))
        })
        .transpose()?;
    let ownership = import_ownership(id, destination, own_account)?;
    require_together(id, rule)?;
    let enabled = |switch: &Switch| switch.is_enabled().then_some(Switch::Enabled);
    Ok(ReplicationRule {
        id: id.to_owned(),
        status: (!status.is_enabled()).then_some(Switch::Disabled),
        priority,
        filter: Some(api::Filter { prefix: Some(prefix.clone()), tags: tags.clone() }),
        destination: Destination {
            bucket: bucket_of_arn(bucket).to_owned(),
            account: account.clone(),
            storage_class,
            ownership,
            kms_key_arn: kms_key.clone(),
            replication_time_control: enabled(replication_time_control),
            metrics: if replication_time_control.is_enabled() { None } else { enabled(metrics) },
            ..Destination::default()
        },
        delete_markers: enabled(delete_markers),
        replica_modifications: enabled(replica_modifications),
        kms_encrypted_objects: enabled(kms_encrypted_objects),
    })
}

fn import_ownership(
    id: &str,
    destination: &RuleDestination,
    own_account: &str,
) -> Result<Option<Ownership>, Inexpressible> {
    let inexpressible = |value: &str, why| Err(inexpressible(id, "destination.ownership", value, why));
    let account = destination.account.as_deref();
    match destination.ownership.as_deref() {
        None => Ok(None),
        Some("Destination") if account == Some(own_account) => inexpressible(
            "Destination",
            ": the destination is in the source's own account, where replicas keep their owner; remove AccessControlTranslation",
        ),
        Some("Destination") if account.is_some() => Ok(Some(Ownership::Destination)),
        Some("Destination") => inexpressible(
            "Destination",
            " without the destination's account; name it by Account in S3, or remove AccessControlTranslation",
        ),
        Some(owner) => inexpressible(
            owner,
            ": this version knows the owner Destination alone; use a newer version, or remove AccessControlTranslation in S3",
        ),
    }
}

/// Fields of the rule that need each other are set together, and fields that exclude each other are not.
fn require_together(id: &str, rule: &Rule) -> Result<(), Inexpressible> {
    let inexpressible = |field, value: &str, why| Err(inexpressible(id, field, value, why));
    let Rule { filter, delete_markers, kms_encrypted_objects, destination, .. } = rule;
    let RuleDestination { account, kms_key, replication_time_control, metrics, .. } = destination;
    if let Some(id) = account.as_deref().filter(|id| !is_account_id(id)) {
        return inexpressible("destination.account", id, ": an account id has 12 digits");
    }
    if kms_encrypted_objects.is_enabled() != kms_key.is_some() {
        let value = kms_key.as_deref().unwrap_or("absent");
        return inexpressible("destination.kmsKeyArn", value, ": it goes with kmsEncryptedObjects");
    }
    if let Some(key) = kms_key.as_deref().filter(|key| !is_key_arn(key)) {
        let why = ": it is no ARN of a key; S3 accepts an alias and then fails object by object, because IAM does not resolve it in the role's policy. Name the key by its ARN";
        return inexpressible("destination.kmsKeyArn", key, why);
    }
    if replication_time_control.is_enabled() && !metrics.is_enabled() {
        let why = " with replicationTimeControl, which includes metrics; enable the rule's metrics in S3";
        return inexpressible("destination.metrics", metrics.as_str(), why);
    }
    if delete_markers.is_enabled() && !filter.tags.is_empty() {
        let why = " with a tag filter, for which S3 does not replicate delete markers; disable them in S3";
        return inexpressible("deleteMarkers", delete_markers.as_str(), why);
    }
    Ok(())
}

/// Whether a text is the ARN of a KMS key, as admission takes one, and not an id or the ARN of an alias.
fn is_key_arn(text: &str) -> bool {
    let key = resource_in_account(text, "kms").and_then(|rest| rest.strip_prefix("key/"));
    let in_region = region_of_arn(text).is_some();
    in_region
        && key
            .is_some_and(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
}

fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The part after the account id in an ARN of a service, if the ARN has the form that admission asks for.
fn resource_in_account<'a>(arn: &'a str, service: &str) -> Option<&'a str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, named, _, account, resource] = parts.as_slice() else { return None };
    let further = partition.strip_prefix("aws")?;
    let is_partition = further.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    (is_account_id(account) && is_partition && *named == service).then_some(resource)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "111122223333";

    fn rule(destination: RuleDestination) -> Configuration {
        let kms = if destination.kms_key.is_some() { Switch::Enabled } else { Switch::Disabled };
        let rule = Rule {
            status: Switch::Enabled,
            priority: Some(1),
            filter: RuleFilter::default(),
            delete_markers: Switch::Disabled,
            replica_modifications: Switch::Disabled,
            kms_encrypted_objects: kms,
            destination,
        };
        Configuration { role: format!("arn:aws:iam::{OWN}:role/r"), rules: [("r".to_owned(), rule)].into() }
    }

    fn destination() -> RuleDestination {
        RuleDestination {
            bucket: "arn:aws:s3:::copies".into(),
            account: None,
            storage_class: None,
            ownership: None,
            kms_key: None,
            replication_time_control: Switch::Disabled,
            metrics: Switch::Disabled,
        }
    }

    fn to(edit: impl FnOnce(&mut RuleDestination)) -> Result<BucketReplicationSpec, Inexpressible> {
        let mut edited = destination();
        edit(&mut edited);
        let configuration = rule(edited);
        import(&ReplicatingBucket {
            bucket: "orders",
            region: None,
            account_id: OWN,
            configuration: &configuration,
        })
    }

    #[test]
    fn a_configuration_from_before_stays_when_the_resource_is_deleted() {
        assert_eq!(to(|_| {}).map(|spec| spec.deletion_policy), Ok(DeletionPolicy::Retain));
    }

    #[test]
    fn the_versioning_of_no_bucket_is_written() {
        use VersioningStatus::{Disabled, Enabled, Suspended};
        let of = |held: &[(&str, VersioningStatus)]| {
            let held = held.iter().map(|(bucket, status)| ((*bucket).to_owned(), *status)).collect();
            let mut spec = to(|_| {}).unwrap();
            leave_versioning(&mut spec, &held)?;
            Ok((spec.source.versioning, spec.rules[0].destination.versioning))
        };
        assert_eq!(of(&[("orders", Enabled), ("copies", Enabled)]), Ok((VersioningPolicy::Managed, None)));
        let only_checked = Ok((VersioningPolicy::Managed, Some(VersioningPolicy::Required)));
        assert_eq!(of(&[("orders", Enabled)]), only_checked, "nobody knows what the destination has");
        for status in [Suspended, Disabled] {
            let (bucket, fields) = ("copies".to_owned(), "rules[r].destination.bucket".to_owned());
            let held = [("orders", Enabled), ("copies", status)];
            assert_eq!(of(&held), Err(NotVersioned { bucket, fields, status }));
        }
        let message = of(&[("orders", Suspended)]).unwrap_err().to_string();
        assert!(
            message.starts_with("versioning of bucket orders is Suspended (source.bucket), and"),
            "{message}"
        );
    }

    #[test]
    fn a_key_that_admission_would_refuse_is_named_with_its_rule() {
        let key = |key: &str| {
            let key = key.to_owned();
            to(|destination| destination.kms_key = Some(key))
        };
        assert!(key("arn:aws:kms:eu-west-1:111122223333:key/k").is_ok());
        assert!(key("arn:aws-cn:kms:cn-north-1:111122223333:key/k").is_ok());
        assert!(key("arn:aws-iso-b:kms:us-isob-east-1:011122223333:key/mrk-1").is_ok());
        for text in [
            "arn:aws:kms:eu-west-1:111122223333:alias/replicas",
            "alias/replicas",
            "1234abcd",
            "",
            "arn:aws:kms:eu-west-1:111122223333:key/",
            "arn:aws:kms:eu-west-1:11122223333:key/k",
            "arn:aws:kms::111122223333:key/k",
            "arn:aws:kms:eu-west-1:111122223333:key/a/b",
            "arn:aws:kms:eu-west-1:111122223333:key/a b",
            "arn:aws:kms:eu-west-1:12345678901:key/k",
        ] {
            let message = key(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("rules[r].destination.kmsKeyArn is {text:?}")), "{message}");
        }
    }

    #[test]
    fn a_field_that_a_plan_would_change_at_once_is_named_with_its_rule() {
        let timed = |metrics| {
            to(|destination| {
                (destination.replication_time_control, destination.metrics) = (Switch::Enabled, metrics)
            })
        };
        assert!(timed(Switch::Enabled).is_ok());
        let message = timed(Switch::Disabled).unwrap_err().to_string();
        assert!(message.starts_with("rules[r].destination.metrics is \"Disabled\""), "{message}");
        let edited = |edit: fn(&mut Configuration)| {
            let mut configuration = rule(destination());
            edit(&mut configuration);
            let found = ReplicatingBucket {
                bucket: "orders",
                region: None,
                account_id: OWN,
                configuration: &configuration,
            };
            import(&found).map(drop).map_err(|error| error.to_string())
        };
        let message = edited(|held| {
            let rule = held.rules.get_mut("r").unwrap();
            rule.filter.tags.insert("k".into(), "v".into());
            rule.delete_markers = Switch::Enabled;
        });
        assert!(message.as_ref().unwrap_err().starts_with("rules[r].deleteMarkers"), "{message:?}");
        let message = edited(|held| held.role = "arn:aws:iam::044455556666:role/r".into());
        assert!(message.as_ref().unwrap_err().contains("role of another account"), "{message:?}");
    }

    #[test]
    fn an_override_of_the_owner_within_one_account_is_named() {
        let owned = |account: &str| {
            let account = Some(account.to_owned());
            to(|destination| {
                (destination.account, destination.ownership) = (account, Some("Destination".into()))
            })
        };
        assert!(owned("444455556666").is_ok());
        let message = owned(OWN).unwrap_err().to_string();
        assert!(message.starts_with("rules[r].destination.ownership"), "{message}");
        let without = to(|destination| destination.ownership = Some("Destination".into()));
        let message = without.unwrap_err().to_string();
        assert!(message.contains("without the destination's account"), "{message}");
        let newer = to(|destination| {
            (destination.account, destination.ownership) =
                (Some("444455556666".into()), Some("Source".into()));
        });
        let message = newer.unwrap_err().to_string();
        assert!(message.starts_with("rules[r].destination.ownership is \"Source\""), "{message}");
        assert!(!message.contains("without the destination's account"), "it has one: {message}");
    }

    #[test]
    fn a_filter_or_a_destination_that_admission_would_refuse_is_named() {
        let filtered = |prefix: String, tags: &[(String, String)]| {
            let mut configuration = rule(destination());
            let filter = RuleFilter { prefix, tags: tags.iter().cloned().collect() };
            configuration.rules.get_mut("r").unwrap().filter = filter;
            let found = ReplicatingBucket {
                bucket: "orders",
                region: None,
                account_id: OWN,
                configuration: &configuration,
            };
            import(&found).map(drop).map_err(|error| error.to_string())
        };
        let tag = |key: usize, value: usize| ("é".repeat(key), "v".repeat(value));
        assert_eq!(filtered("é".repeat(1024), &[tag(128, 256), tag(1, 0)]), Ok(()));
        let many: Vec<(String, String)> = (1..=11).map(|length| tag(length, 1)).collect();
        assert_eq!(filtered(String::new(), &many[..10]), Ok(()));
        for (field, refused) in [
            ("filter.prefix", filtered("p".repeat(1025), &[])),
            ("filter.tags", filtered(String::new(), &many)),
            ("filter.tags", filtered(String::new(), &[tag(129, 1)])),
            ("filter.tags", filtered(String::new(), &[tag(0, 1)])),
            ("filter.tags", filtered(String::new(), &[tag(1, 257)])),
            (
                "destination.bucket",
                to(|to| to.bucket = "arn:aws:s3:::orders".into()).map(drop).map_err(|e| e.to_string()),
            ),
            (
                "destination.account",
                to(|to| to.account = Some("1234".into())).map(drop).map_err(|e| e.to_string()),
            ),
            (
                "destination.storageClass",
                to(|to| to.storage_class = Some("EXPRESS_ONEZONE".into()))
                    .map(drop)
                    .map_err(|e| e.to_string()),
            ),
        ] {
            let message = refused.unwrap_err();
            assert!(message.starts_with(&format!("rules[r].{field} is ")), "{message}");
        }
    }

    #[test]
    fn a_field_that_admission_would_refuse_is_named() {
        let two = |priorities: [i32; 2]| {
            let one = rule(destination());
            let Some(held) = one.rules.into_values().next() else { panic!("no rule") };
            let rule = |n: usize| (format!("r{n}"), Rule { priority: Some(priorities[n]), ..held.clone() });
            let configuration = Configuration { role: one.role, rules: [rule(0), rule(1)].into() };
            let found = ReplicatingBucket {
                bucket: "orders",
                region: None,
                account_id: OWN,
                configuration: &configuration,
            };
            import(&found).map(drop)
        };
        assert_eq!(two([1, 2]), Ok(()));
        let message = two([5, 5]).unwrap_err().to_string();
        assert!(message.starts_with("rules[r1].priority is \"5\""), "{message}");
        for bucket in ["Legacy_Bucket", "has..dots", "10.0.0.1", "orders-s3alias", "no"] {
            let message = to(|to| to.bucket = format!("arn:aws:s3:::{bucket}")).unwrap_err().to_string();
            assert!(message.starts_with("rules[r].destination.bucket"), "{message}");
        }
    }

    #[test]
    fn a_role_that_admission_would_refuse_is_named() {
        let under = |role: &str| {
            let configuration = Configuration { role: role.to_owned(), ..rule(destination()) };
            let found = ReplicatingBucket {
                bucket: "orders",
                region: None,
                account_id: OWN,
                configuration: &configuration,
            };
            import(&found).map(drop)
        };
        assert_eq!(under(&format!("arn:aws-us-gov:iam::{OWN}:role/a/b/r")), Ok(()));
        for role in [
            "arn:aws:iam::1234:role/r",
            "arn:aws:sts::111122223333:role/r",
            "arn:aws:iam::111122223333:user/r",
        ] {
            assert!(under(role).unwrap_err().to_string().contains("role"), "{role}");
        }
    }

    #[test]
    fn a_source_that_admission_would_refuse_is_named() {
        let configuration = rule(destination());
        for bucket in ["Legacy_Bucket", "10.0.0.1", "no"] {
            let found =
                ReplicatingBucket { bucket, region: None, account_id: OWN, configuration: &configuration };
            let message = import(&found).unwrap_err().to_string();
            assert!(message.starts_with(&format!("source.bucket is {bucket:?}")), "{message}");
        }
    }

    #[test]
    fn a_resource_has_the_name_of_its_bucket_where_kubernetes_takes_it() {
        for bucket in ["a-logs", "a.logs", "1.2.x", "a--b"] {
            assert_eq!(resource_name(bucket), bucket);
        }
        let name = resource_name("a.-b");
        assert!(name.starts_with("a--b.") && is_object_name(&name), "{name}");
    }

    /// Whether Kubernetes takes a text for the name of an object (RFC 1123, a subdomain).
    fn is_object_name(name: &str) -> bool {
        let subdomain = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
        name.len() <= 253 && regex_lite::Regex::new(subdomain).unwrap().is_match(name)
    }

    proptest! {
        /// One bucket may be named as the resource of another is.
        #[test]
        fn two_buckets_never_become_resources_of_one_name(one in "[ab][ab.-]{2,9}[ab]", other in "[ab][ab.-]{2,9}[ab]") {
            let buckets = [resource_name(&one), one.replace('.', "-"), other, one];
            let buckets: BTreeSet<&String> = buckets.iter().filter(|name| is_bucket_name(name)).collect();
            let names: BTreeSet<String> = buckets.iter().map(|name| resource_name(name)).collect();
            prop_assert_eq!(names.len(), buckets.len(), "{:?} become {:?}", buckets, names);
            prop_assert!(names.iter().all(|name| is_object_name(name)), "{:?}", names);
        }
    }
}
