//! The operator's rights for canaries.
//!
//! In: resources that ask for canaries, or an `AwsAccount` that allows them. Out: statements for the policy of the
//! operator's identity; none where no resource asks. Objects are named by the prefix of the rule and that of canaries:
//! no other object can be written or deleted.

use std::collections::BTreeSet;

use crate::api::{
    Activity, AwsAccountSpec, BucketReplicationSpec, DEFAULT_CANARY_PREFIX, ManagementPolicy, Switch,
};
use crate::iam::Partition;
use crate::iam::document::Statement;
use crate::replication::desired::permissions::in_account;

/// The rights that canaries need, by the resources in S3 and KMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryRights {
    /// ARNs of buckets that hold canaries.
    buckets: BTreeSet<String>,
    sources: BTreeSet<String>,
    /// ARNs of the canaries of the sources, and of all.
    written: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Whether a canary has tags.
    tagged: bool,
    keys: BTreeSet<String>,
}

/// The prefix of canaries of a resource that asks for them, and may write.
fn prefix(spec: &BucketReplicationSpec) -> Option<&str> {
    let canary = spec.health.as_ref()?.canary.as_ref()?;
    let prefix = canary.prefix.as_deref().unwrap_or(DEFAULT_CANARY_PREFIX);
    (spec.management_policy == ManagementPolicy::Enforce).then_some(prefix)
}

impl CanaryRights {
    /// Adds a resource that acts with the operator's own identity. `account_id`: that of its source.
    pub fn add(&mut self, spec: &BucketReplicationSpec, account_id: &str, partition: Partition) {
        let Some(canaries) = prefix(spec) else { return };
        let source = partition.bucket_arn(&spec.source.bucket);
        for rule in spec.rules.iter().filter(|rule| rule.status != Some(Switch::Disabled)) {
            let filter = rule.filter.clone().unwrap_or_default();
            let objects = format!("/{}{canaries}*", filter.prefix.unwrap_or_default());
            self.tagged |= !filter.tags.is_empty();
            self.sources.insert(source.clone());
            self.buckets.insert(source.clone());
            self.written.insert(format!("{source}{objects}"));
            self.deleted.insert(format!("{source}{objects}"));
            let to = &rule.destination;
            if to.account_ref.is_none() && to.account.as_ref().is_none_or(|id| id == account_id) {
                let destination = partition.bucket_arn(&to.bucket);
                self.deleted.insert(format!("{destination}{objects}"));
                self.buckets.insert(destination);
            }
            if rule.kms_encrypted_objects.unwrap_or_default().is_enabled() {
                let any = format!("arn:{}:kms:*:{account_id}:key/*", partition.id());
                let keys = spec.source.kms_key_arns.iter().cloned();
                self.keys.extend(if spec.source.kms_key_arns.is_empty() {
                    vec![any]
                } else {
                    keys.collect()
                });
            }
        }
    }

    /// The rights that the identity of an `AwsAccount` with canaries needs. `specs`: the resources that may refer to
    /// it.
    pub fn of_account(
        account: &AwsAccountSpec,
        specs: &[&BucketReplicationSpec],
        partition: Partition,
    ) -> CanaryRights {
        let mut rights = CanaryRights::default();
        if !account.allow.contains(&Activity::Canary) {
            return rights;
        }
        let AwsAccountSpec { account_id, sources, destinations, .. } = account;
        let mut prefixes: BTreeSet<&str> = specs.iter().filter_map(|spec| prefix(spec)).collect();
        if prefixes.is_empty() {
            prefixes.insert(DEFAULT_CANARY_PREFIX);
        }
        for prefix in prefixes {
            for source in sources {
                rights.written.insert(format!("{}/*{prefix}*", partition.bucket_arn(source)));
            }
            for bucket in sources.iter().chain(destinations) {
                rights.deleted.insert(format!("{}/*{prefix}*", partition.bucket_arn(bucket)));
            }
        }
        rights.sources = sources.iter().map(|source| partition.bucket_arn(source)).collect();
        rights.buckets = sources.iter().chain(destinations).map(|b| partition.bucket_arn(b)).collect();
        let has_canary = |spec: &&&BucketReplicationSpec| prefix(spec).is_some();
        let mut rules = specs.iter().filter(has_canary).flat_map(|spec| &spec.rules);
        rights.tagged = !sources.is_empty()
            && rules.clone().any(|rule| rule.filter.as_ref().is_some_and(|filter| !filter.tags.is_empty()));
        if !sources.is_empty()
            && rules.any(|rule| rule.kms_encrypted_objects.unwrap_or_default().is_enabled())
        {
            rights.keys.insert(format!("arn:{}:kms:*:{account_id}:key/*", partition.id()));
        }
        rights
    }

    /// The statements. `account_id`: only on buckets of this account, where it is known.
    pub fn statements(self, account_id: &str, partition: Partition) -> Vec<Statement> {
        let CanaryRights { buckets, sources, written, deleted, tagged, keys } = self;
        let mut write = vec!["s3:PutObject", "s3:GetObjectVersion"];
        if tagged {
            write.push("s3:PutObjectTagging");
        }
        let check =
            ["s3:ListBucketVersions", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"];
        let on_buckets = [
            Statement::allow("FindCanaries", check, buckets),
            Statement::allow("ReadDefaultEncryption", ["s3:GetEncryptionConfiguration"], sources),
            Statement::allow("WriteCanaries", write, written),
            Statement::allow("DeleteCanaries", ["s3:DeleteObjectVersion"], deleted),
        ];
        let through_s3 = vec![partition.s3_via_service("*")];
        let encrypt = Statement::allow("EncryptCanaries", ["kms:GenerateDataKey"], keys);
        let encrypt = encrypt.when("StringLike", "kms:ViaService", through_s3);
        let on_buckets = on_buckets.into_iter().map(|statement| in_account(statement, account_id));
        on_buckets.chain([encrypt]).filter(|statement| !statement.resource.is_empty()).collect()
    }
}
