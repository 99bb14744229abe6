//! Refuses to import a configuration whose spec admission would refuse.
//!
//! In: the configuration of a bucket as S3 holds it. Out: nothing, or the first field that no `BucketReplication` may hold.
//! Admission's own rules are in `api/validation.rs`.

use std::collections::BTreeMap;

use crate::iam::arn::{account_of_arn, bucket_of_arn, region_of_arn};
use crate::replication::configuration::{Configuration, Rule, RuleDestination, RuleFilter};
use crate::replication::import::bucket::ReplicatingBucket;
use crate::replication::import::inexpressible::{Inexpressible, inexpressible, not_taken};

/// The longest ARN of a role, and the longest id of a rule.
const MAX_ROLE_ARN: usize = 640;
const MAX_RULE_ID: usize = 255;

/// The longest prefix, the most tags of a filter, and the longest key and value of one, in characters.
const MAX_PREFIX: usize = 1024;
const MAX_TAGS: usize = 10;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

/// Refuses names and ids from before today's rules, and rules that share a priority because they replicate into
/// different buckets: S3 holds them, and admission would refuse them.
pub fn require_admitted(found: &ReplicatingBucket<'_>) -> Result<(), Inexpressible> {
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

/// Whether admission takes a text for the name of a bucket that can replicate.
pub fn is_bucket_name(name: &str) -> bool {
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

/// Fields of the rule that need each other are set together, and fields that exclude each other are not.
pub fn require_together(id: &str, rule: &Rule) -> Result<(), Inexpressible> {
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
