//! Imports a replication configuration that exists.
//!
//! In: the configuration as S3 holds it. Out: the spec that asks for exactly it and passes admission, or the field that
//! a spec cannot express.

mod admission;
mod bucket;
mod inexpressible;

pub use bucket::{ReplicatingBucket, resource_name};
pub use inexpressible::Inexpressible;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    self, BucketReplicationSpec, DeletionPolicy, Destination, Ownership, ReplicationRule, Role, Source,
    StorageClass, Switch, VersioningPolicy,
};
use crate::iam::arn::bucket_of_arn;
use crate::replication::configuration::{Configuration, Rule, RuleDestination, RuleFilter};
use crate::replication::import::admission::{require_admitted, require_together};
use crate::replication::import::inexpressible::inexpressible;
use crate::replication::observed::VersioningStatus;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::replication::import::admission::is_bucket_name;

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
