//! Admission rules of the CRDs, and the schemas of maps. The rules are CEL expressions, each with a message that says
//! what to do.
//!
//! In: nothing; the types of the kinds attach each rule to a field. Out: rules in the CRDs, which the API server
//! enforces.
//!
//! Each expression is linear in the number of replication rules, because the API server has a cost budget for them.
//! None can raise an error on a stored object, because an erroring expression would block even the removal of a
//! finalizer. Bucket names follow <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>, role
//! names and paths <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>.

use kube::core::{Reason, Rule};
use schemars::{Schema, SchemaGenerator, json_schema};

/// A rule with its message.
pub(crate) fn rule(cel: &str, message: &str) -> Rule {
    Rule::new(cel).message(message).reason(Reason::FieldValueInvalid)
}

pub fn bucket_name() -> Rule {
    rule(
        r"self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$') && !self.contains('..') && !self.matches('^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$') && !self.startsWith('xn--') && !self.startsWith('sthree-') && !self.startsWith('amzn-s3-demo-')",
        "bucket must be the name of an S3 bucket, not an ARN or a URL: 3 to 63 lowercase letters, digits, dots and hyphens, beginning and ending with a letter or digit, and not in the form of an IP address",
    )
}

pub fn not_a_directory_bucket() -> Rule {
    rule(
        "!self.endsWith('--x-s3') && !self.endsWith('--table-s3')",
        "bucket is a directory or table bucket, which S3 cannot replicate: use a general purpose bucket",
    )
}

pub fn not_an_access_point() -> Rule {
    rule(
        "!self.endsWith('-s3alias') && !self.endsWith('--ol-s3') && !self.endsWith('.mrap')",
        "bucket is an access point alias: give the name of the bucket behind it",
    )
}

pub fn source_bucket_is_immutable() -> Rule {
    rule(
        "self == oldSelf",
        "source.bucket cannot be changed: create another BucketReplication for the other bucket and delete this one",
    )
}

pub fn region() -> Rule {
    rule(
        "self.matches('^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$')",
        "region must be a Region code such as eu-west-1; leave it out to have it discovered",
    )
}

pub fn account_id() -> Rule {
    rule(
        "self.matches('^[0-9]{12}$')",
        "account must be the 12 digits of an AWS account id, in quotes so that YAML keeps it a string",
    )
}

pub fn aws_account_id() -> Rule {
    rule(
        "self.matches('^[0-9]{12}$')",
        "accountId must be the 12 digits of an AWS account id, in quotes so that YAML keeps it a string",
    )
}

pub fn account_id_is_immutable() -> Rule {
    rule(
        "self == oldSelf",
        "accountId cannot be changed: create another AwsAccount for the other account and delete this one",
    )
}

pub fn account_ids() -> Rule {
    rule(
        "self.all(a, a.matches('^[0-9]{12}$'))",
        "destinationAccounts must be AWS account ids of 12 digits, in quotes so that YAML keeps them strings",
    )
}

pub fn account_ref() -> Rule {
    rule(
        "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
        "accountRef must be the name of an AwsAccount, in lowercase letters, digits, dots and hyphens: kubectl get awsaccounts lists them",
    )
}

pub fn bucket_patterns(field: &str) -> Rule {
    rule(
        "self.all(p, p.matches('^[a-z0-9.*-]+$'))",
        &format!(
            "{field} must be names of S3 buckets, with * for any characters, such as orders-*: lowercase letters, digits, dots and hyphens, no ARNs"
        ),
    )
}

pub fn assumed_role_arn() -> Rule {
    rule(
        "self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$')",
        "assumeRole.arn must be the ARN of an IAM role, such as arn:aws:iam::111122223333:role/s3-replication-operator",
    )
}

pub fn external_id() -> Rule {
    rule(
        "self.matches('^[A-Za-z0-9+=,.@:/_-]+$')",
        "assumeRole.externalId must be 2 to 1224 letters, digits or any of +=,.@:/_-",
    )
}

pub fn session_name() -> Rule {
    rule(
        "self.matches('^[A-Za-z0-9+=,.@_-]+$')",
        "assumeRole.sessionName must be 1 to 32 letters, digits or any of +=,.@_-",
    )
}

/// Keys, not aliases: IAM does not resolve an alias in a policy's resource.
const KMS_KEY: &str = "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$";

pub fn kms_key_arn() -> Rule {
    rule(
        &format!("self.matches('{KMS_KEY}')"),
        "kmsKeyArn must be the ARN of a KMS key (not of an alias), such as arn:aws:kms:eu-west-1:111122223333:key/1234abcd-…",
    )
}

pub fn kms_key_arns() -> Rule {
    rule(
        &format!("self.all(k, k.matches('{KMS_KEY}'))"),
        "kmsKeyArns must be ARNs of KMS keys (not of aliases), such as arn:aws:kms:eu-west-1:111122223333:key/1234abcd-…",
    )
}

pub fn policy_arn() -> Rule {
    rule(
        "self.matches('^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+$')",
        "permissionsBoundary must be the ARN of an IAM policy, such as arn:aws:iam::111122223333:policy/boundary",
    )
}

pub fn role_name() -> Rule {
    rule(
        "self.matches('^[A-Za-z0-9+=,.@_-]{1,64}$')",
        "role.name must be 1 to 64 letters, digits or any of +=,.@_- ; the path goes into role.path",
    )
}

pub fn role_path() -> Rule {
    rule(
        "self.matches('^/([A-Za-z0-9+=,.@_-]+/)*$') && !self.contains('/../') && !self.contains('/./')",
        "role.path must begin and end with / and hold letters, digits or any of +=,.@_- between, such as /s3-replication/",
    )
}

pub fn role_arn() -> Rule {
    rule(
        "self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$')",
        "role.arn must be the ARN of an IAM role, such as arn:aws:iam::111122223333:role/s3-replication-role",
    )
}

pub fn role_arn_excludes_the_rest() -> Rule {
    rule(
        "!has(self.arn) || !(has(self.name) || has(self.path) || has(self.permissionsBoundary) || has(self.tags))",
        "role.arn names an existing role that is never written: remove name, path, permissionsBoundary and tags, or remove arn to have a managed role",
    )
}

/// IAM cannot move a role to another path, and administrators limit the operator's permissions by the path.
pub fn role_path_is_immutable() -> Rule {
    let managed = |s: &str| format!("(has({s}.role) && has({s}.role.arn))");
    let path =
        |s: &str| format!("(has({s}.role) && has({s}.role.path) ? {s}.role.path : '/s3-replication/')");
    rule(
        &format!(
            "{} || {} || {} == {}",
            managed("self"),
            managed("oldSelf"),
            path("self"),
            path("oldSelf")
        ),
        "role.path cannot be changed: IAM cannot move a role. Create another BucketReplication, or use role.arn",
    )
    .field_path(".role")
}

pub fn role_tags() -> Rule {
    rule(
        "self.all(k, k.size() >= 1 && k.size() <= 128 && !k.startsWith('aws:') && !k.startsWith('s3replication.dev/'))",
        "role.tags: keys have 1 to 128 characters and do not begin with aws: (reserved by AWS) or s3replication.dev/ (reserved by this operator)",
    )
}

pub fn role_tags_schema(_: &mut SchemaGenerator) -> Schema {
    // IAM allows 50 tags per role; the operator needs four.
    json_schema!({"type": "object", "maxProperties": 46, "additionalProperties": {"type": "string", "maxLength": 256}})
}

pub fn filter_tags() -> Rule {
    rule("self.all(k, k.size() >= 1 && k.size() <= 128)", "filter.tags: keys have 1 to 128 characters")
}

pub fn filter_tags_schema(_: &mut SchemaGenerator) -> Schema {
    // S3 allows 10 tags per object.
    json_schema!({"type": "object", "maxProperties": 10, "additionalProperties": {"type": "string", "maxLength": 256}})
}

pub fn rule_id() -> Rule {
    rule(
        "self.matches('^[ -~]+$')",
        "id must be printable ASCII characters: S3 refuses others in a rule's ID",
    )
}

pub fn priorities_are_present() -> Rule {
    rule(
        "self.size() <= 1 || self.all(r, has(r.priority))",
        "with more than one rule each needs a priority: add priority to every rule (the higher number wins)",
    )
}

/// The longest list in which the rule compares all pairs. For a longer list that would exceed the API server's budget.
const PAIRWISE: usize = 64;

pub fn priorities_are_unique() -> Rule {
    rule(
        &format!(
            "self.size() > {PAIRWISE} || self.all(r, !has(r.priority) || self.exists_one(o, has(o.priority) && o.priority == r.priority))"
        ),
        "each rule needs its own priority: two rules have the same",
    )
}

/// Building a map from priorities fails on a duplicate, in linear time. This failure is an error, which on a stored
/// object would block every later write, so an unchanged list always passes.
pub fn priorities_are_unique_in_long_lists() -> Rule {
    rule(
        &format!(
            "oldSelf.hasValue() && oldSelf.value() == self || self.size() <= {PAIRWISE} || !self.all(r, has(r.priority)) || self.transformMapEntry(i, r, {{r.priority: i}}).size() == self.size()"
        ),
        "each rule needs its own priority: two rules have the same",
    )
    .optional_old_self(true)
}

pub fn no_delete_markers_with_tags() -> Rule {
    rule(
        "!(has(self.deleteMarkers) && self.deleteMarkers == 'Enabled' && has(self.filter) && has(self.filter.tags) && self.filter.tags.size() > 0)",
        "S3 does not replicate delete markers of a rule with a tag filter: remove filter.tags or set deleteMarkers to Disabled",
    )
}

pub fn kms_fields_come_together() -> Rule {
    rule(
        "!has(self.destination) || (has(self.kmsEncryptedObjects) && self.kmsEncryptedObjects == 'Enabled') == has(self.destination.kmsKeyArn)",
        "kmsEncryptedObjects: Enabled and destination.kmsKeyArn (the key that encrypts the replicas) go together: set both or neither",
    )
}

pub fn ownership_needs_account() -> Rule {
    rule(
        "!has(self.ownership) || has(self.account) || has(self.accountRef)",
        "ownership: Destination is for a bucket of another account: set account to the id of its owner or accountRef to its AwsAccount, or remove ownership",
    )
}

pub fn replication_time_brings_metrics() -> Rule {
    rule(
        "!(has(self.replicationTimeControl) && self.replicationTimeControl == 'Enabled' && has(self.metrics) && self.metrics == 'Disabled')",
        "replicationTimeControl: Enabled needs metrics: remove metrics or set it to Enabled",
    )
}

pub fn destination_is_not_the_source() -> Rule {
    rule(
        "!has(self.rules) || !has(self.source) || !has(self.source.bucket) || self.rules.all(r, !has(r.destination) || !has(r.destination.bucket) || r.destination.bucket != self.source.bucket)",
        "a destination is the source bucket: S3 replicates only into another bucket",
    )
    .field_path(".rules")
}

/// The limits on digits keep `duration` from overflowing, which would be an error.
fn duration(field: &str, from: &str, example: &str) -> Rule {
    rule(
        &format!(
            "self.matches('^([0-9]{{1,4}}h)?([0-9]{{1,6}}m)?([0-9]{{1,6}}s)?$') && self.size() > 1 && duration(self) >= duration('{from}') && duration(self) <= duration('24h')"
        ),
        &format!("{field} must be hours, minutes and seconds from {from} to 24h, such as {example} or 1h30m"),
    )
}

pub fn interval() -> Rule {
    duration("interval", "1m", "10m")
}

pub fn health_interval() -> Rule {
    duration("health.interval", "1m", "5m")
}

pub fn max_latency() -> Rule {
    duration("health.maxLatency", "1m", "15m")
}

pub fn canary_interval() -> Rule {
    duration("health.canary.interval", "5m", "15m")
}

/// An empty prefix would put canaries among the user's own objects, and `/` at the beginning makes a nameless folder.
pub fn canary_prefix() -> Rule {
    rule(
        "self.size() > 0 && !self.startsWith('/')",
        "health.canary.prefix must be the beginning of a key that no other object has, and must not begin with /, such as .s3replication.dev/",
    )
}
