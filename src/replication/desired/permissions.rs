//! The permissions of the role.
//!
//! In: rules, and what is replicated along with an object. Out: statements, each action only on the resources that need
//! it (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html>).

use std::collections::{BTreeMap, BTreeSet};

use crate::iam::arn::bucket_of_arn;
use crate::iam::document::{PolicyDocument, Statement};
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::Rule;
use crate::replication::desired::discovered::{Discovered, READ_RETENTION};

/// The properties that S3 replicates along with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    pub tags: bool,
    pub acls: bool,
    /// Retention and legal holds.
    pub object_lock: bool,
    /// ARNs of the keys that source objects are encrypted with; empty: any key of the source's Region.
    pub source_keys: Vec<String>,
}

/// The permissions that these rules of a source bucket need.
pub fn permissions(
    source: &str,
    discovered: &Discovered,
    extent: &Extent,
    rules: &BTreeMap<String, Rule>,
) -> PolicyDocument {
    let Discovered { caller, .. } = discovered;
    let Extent { tags, acls, object_lock, .. } = *extent;
    let mut read = vec!["s3:GetObjectVersionForReplication"];
    let mut write = vec!["s3:ReplicateObject", "s3:ReplicateDelete"];
    if acls {
        read.push("s3:GetObjectVersionAcl");
        write.push("s3:PutObjectAcl");
    }
    if tags {
        read.push("s3:GetObjectVersionTagging");
        write.extend(["s3:ReplicateTags", "s3:PutObjectTagging"]);
    }
    if object_lock {
        read.extend([READ_RETENTION, "s3:GetObjectLegalHold"]);
    }
    let bucket = Statement::allow(
        "SourceBucket",
        ["s3:GetReplicationConfiguration", "s3:ListBucket"],
        [caller.partition.bucket_arn(source)],
    );
    let objects = Statement::allow("SourceObjects", read, [caller.partition.objects_arn(source)]);
    let mut statements: Vec<Statement> =
        [bucket, objects].map(|statement| in_account(statement, &caller.account)).into();
    statements.extend(by_account("DestinationObjects", &write, discovered, &mut rules.values()));
    let mut handed_over = rules.values().filter(|rule| rule.destination.ownership.is_some());
    let override_owner = ["s3:ObjectOwnerOverrideToBucketOwner"];
    statements.extend(by_account("DestinationOwner", &override_owner, discovered, &mut handed_over));
    statements.extend(kms_statements(source, discovered, extent, rules));
    PolicyDocument::new(statements)
}

/// A statement for the destinations of each account. A bucket's name may pass to another account: its id then no
/// longer matches, and nothing is copied there.
fn by_account(
    sid: &str,
    actions: &[&str],
    discovered: &Discovered,
    rules: &mut dyn Iterator<Item = &Rule>,
) -> Vec<Statement> {
    let own = &discovered.caller.account;
    let mut accounts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for to in rules.map(|rule| &rule.destination) {
        let account = to.account.as_ref().unwrap_or(own);
        accounts.entry(account).or_default().insert(format!("{}/*", to.bucket));
    }
    let statement = |(account, objects): (&str, BTreeSet<String>)| {
        let sid = if account == own { sid.to_owned() } else { format!("{sid}{account}") };
        in_account(Statement::allow(&sid, actions.iter().copied(), objects), account)
    };
    accounts.into_iter().map(statement).collect()
}

/// Only on buckets of this account, where its id is known
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html>). `IfExists`: S3 does not
/// document the key for every action of replication.
pub fn in_account(statement: Statement, account: &str) -> Statement {
    match account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) {
        true => statement.when("StringEqualsIfExists", "s3:ResourceAccount", vec![account.to_owned()]),
        false => statement,
    }
}

/// Decrypt with the source's keys and encrypt with each destination's, through S3 only and for these buckets
/// only. The encryption context is the object's ARN, or the bucket's where S3 Bucket Keys are on: both are
/// allowed, because the wrong one alone replicates nothing
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>).
fn kms_statements(
    source: &str,
    discovered: &Discovered,
    extent: &Extent,
    rules: &BTreeMap<String, Rule>,
) -> Vec<Statement> {
    let Discovered { caller, regions, .. } = discovered;
    let partition = caller.partition;
    let region_of = |bucket: &str| regions.get(bucket).map_or("*", String::as_str);
    let mut by_bucket: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in rules.values().filter(|rule| rule.kms_encrypted_objects.is_enabled()) {
        let keys = by_bucket.entry(bucket_of_arn(&rule.destination.bucket)).or_default();
        if is_on(Mutant::LastKeyGranted) {
            keys.clear();
        }
        keys.extend(rule.destination.kms_key.as_deref());
    }
    if by_bucket.is_empty() {
        return Vec::new();
    }
    let through_s3 = |statement: Statement, bucket: &str| {
        let service = partition.s3_via_service(region_of(bucket));
        let context = vec![partition.bucket_arn(bucket), partition.objects_arn(bucket)];
        let statement = statement.when("StringLike", "kms:ViaService", vec![service]);
        statement.when("StringLike", "kms:EncryptionContext:aws:s3:arn", context)
    };
    let keys = match extent.source_keys.as_slice() {
        [] => vec![format!("arn:{}:kms:{}:{}:key/*", partition.id(), region_of(source), caller.account)],
        keys => keys.to_vec(),
    };
    let decrypt = through_s3(Statement::allow("DecryptSource", ["kms:Decrypt"], keys), source);
    let encrypt = by_bucket.into_iter().enumerate().map(|(i, (bucket, keys))| {
        let sid = format!("EncryptDestination{i}");
        through_s3(Statement::allow(&sid, ["kms:Encrypt", "kms:GenerateDataKey"], keys), bucket)
    });
    std::iter::once(decrypt).chain(encrypt).collect()
}
