//! Imports a replication configuration that exists.
//!
//! In: the configuration as S3 holds it. Out: the spec that asks for exactly it and passes admission, or the field that
//! a spec cannot express.

use crate::api::{
    self, BucketReplicationSpec, DeletionPolicy, Destination, Ownership, ReplicationRule, Role, Source,
    StorageClass, Switch,
};
use crate::iam::arn::bucket_of_arn;
use crate::iam::digest::sha256_prefix;
use crate::replication::configuration::{Configuration, Filter, Rule, RuleDestination};

/// What a `BucketReplication` cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rules[{id}].{field} is {value:?}, which a BucketReplication cannot express{why}")]
pub struct Inexpressible {
    pub id: String,
    pub field: &'static str,
    pub value: String,
    pub why: &'static str,
}

/// Elements of a configuration that this version does not know: a spec without them would remove them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration holds what this version does not know, and would remove: {}", .0.join(", "))]
pub struct UnknownElements(pub Vec<String>);

/// A bucket that replicates already.
#[derive(Clone, Copy, Debug)]
pub struct Replicating<'a> {
    pub bucket: &'a str,
    pub region: Option<&'a str>,
    /// The id of the account that owns the bucket.
    pub account_id: &'a str,
    pub configuration: &'a Configuration,
}

/// The name of the resource for a bucket. Two buckets never get the same: a dot becomes a hyphen, and a hash keeps the
/// name apart from that of the bucket that has the hyphen.
pub fn resource_name(bucket: &str) -> String {
    match bucket.contains('.') {
        true => format!("{}-{}", bucket.replace('.', "-"), sha256_prefix(bucket.as_bytes(), 6)),
        false => bucket.to_owned(),
    }
}

/// The spec of a bucket that replicates already. The role is used as it is, by its ARN, and the configuration stays when
/// the resource is deleted: it was there before.
///
/// # Errors
/// The first field that cannot be expressed.
pub fn import(found: &Replicating<'_>) -> Result<BucketReplicationSpec, Inexpressible> {
    let Replicating { bucket, region, account_id, configuration: Configuration { role, rules } } = *found;
    // Rules of the first version of the schema have no priority; with more than one the spec needs some, and
    // which they are has no meaning there: such rules cannot overlap.
    let alone = rules.len() == 1;
    let rules = rules
        .iter()
        .zip(1..)
        .map(|((id, rule), n)| {
            let priority = rule.priority.or((!alone).then_some(n));
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

fn import_rule(
    id: &str,
    rule: &Rule,
    priority: Option<i32>,
    own_account: &str,
) -> Result<ReplicationRule, Inexpressible> {
    let Rule {
        status,
        priority: _,
        filter: Filter { prefix, tags },
        delete_markers,
        replica_modifications,
        kms_encrypted_objects,
        destination,
    } = rule;
    let inexpressible =
        |field, value: &str, why| Inexpressible { id: id.to_owned(), field, value: value.to_owned(), why };
    let RuleDestination {
        bucket,
        account,
        storage_class,
        ownership,
        kms_key,
        replication_time_control,
        metrics,
    } = destination;
    let storage_class = storage_class
        .as_deref()
        .map(|class| {
            let known = serde_json::from_value::<StorageClass>(class.into());
            known.map_err(|_| inexpressible("destination.storageClass", class, ""))
        })
        .transpose()?;
    let ownership = match ownership.as_deref() {
        None => None,
        Some("Destination") if account.as_deref() == Some(own_account) => {
            let why = ": the destination is in the source's own account, where replicas keep their owner; remove AccessControlTranslation";
            return Err(inexpressible("destination.ownership", "Destination", why));
        }
        Some("Destination") if account.is_some() => Some(Ownership::Destination),
        Some(owner) => {
            return Err(inexpressible("destination.ownership", owner, " without the destination's account"));
        }
    };
    if kms_encrypted_objects.is_enabled() != kms_key.is_some() {
        let value = kms_key.as_deref().unwrap_or("absent");
        return Err(inexpressible("destination.kmsKeyArn", value, ": it goes with kmsEncryptedObjects"));
    }
    if let Some(key) = kms_key.as_deref().filter(|key| !is_key_arn(key)) {
        let why = ": it is no ARN of a key; S3 accepts an alias and then fails object by object, because IAM does not resolve it in the role's policy. Name the key by its ARN";
        return Err(inexpressible("destination.kmsKeyArn", key, why));
    }
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

/// Whether a text is the ARN of a KMS key, and not an id or the ARN of an alias.
fn is_key_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':').skip(2);
    text.starts_with("arn:aws")
        && parts.next() == Some("kms")
        && parts.nth(2).is_some_and(|key| key.starts_with("key/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "111122223333";

    fn rule(destination: RuleDestination) -> Configuration {
        let kms = if destination.kms_key.is_some() { Switch::Enabled } else { Switch::Disabled };
        let rule = Rule {
            status: Switch::Enabled,
            priority: Some(1),
            filter: Filter::default(),
            delete_markers: Switch::Disabled,
            replica_modifications: Switch::Disabled,
            kms_encrypted_objects: kms,
            destination,
        };
        Configuration { role: format!("arn:aws:iam::{OWN}:role/r"), rules: [("r".to_owned(), rule)].into() }
    }

    fn to(edit: impl FnOnce(&mut RuleDestination)) -> Result<BucketReplicationSpec, Inexpressible> {
        let mut destination = RuleDestination {
            bucket: "arn:aws:s3:::d".into(),
            account: None,
            storage_class: None,
            ownership: None,
            kms_key: None,
            replication_time_control: Switch::Disabled,
            metrics: Switch::Disabled,
        };
        edit(&mut destination);
        let configuration = rule(destination);
        import(&Replicating { bucket: "s", region: None, account_id: OWN, configuration: &configuration })
    }

    #[test]
    fn what_was_there_before_stays_when_the_resource_is_deleted() {
        assert_eq!(to(|_| {}).map(|spec| spec.deletion_policy), Ok(DeletionPolicy::Retain));
    }

    #[test]
    fn a_key_that_admission_would_refuse_is_named_with_its_rule() {
        let key = |key: &str| {
            let key = key.to_owned();
            to(|destination| destination.kms_key = Some(key))
        };
        assert!(key("arn:aws:kms:eu-west-1:111122223333:key/k").is_ok());
        assert!(key("arn:aws-cn:kms:cn-north-1:111122223333:key/k").is_ok());
        for text in ["arn:aws:kms:eu-west-1:111122223333:alias/replicas", "alias/replicas", "1234abcd", ""] {
            let message = key(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("rules[r].destination.kmsKeyArn is {text:?}")), "{message}");
        }
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
    }

    #[test]
    fn two_buckets_never_become_resources_of_one_name() {
        assert_eq!(resource_name("a-logs"), "a-logs");
        assert_ne!(resource_name("a.logs"), resource_name("a-logs"));
        assert_ne!(resource_name("a.b-c"), resource_name("a-b.c"));
        assert!(resource_name("a.logs").starts_with("a-logs-"));
    }
}
