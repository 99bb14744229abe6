//! The preconditions on the spec alone.
//!
//! In: the planner's input. Out: refusals of filters, tags, ARNs and owners of buckets, each with its field. AWS would
//! refuse them only after the first writes, and would name no field.

use std::collections::BTreeMap;

use crate::api::{ConditionType, DriftEntry, Reason};
use crate::iam::Partition;
use crate::iam::arn::account_of_arn;
use crate::replication::configuration::RuleFilter;
use crate::replication::desired::DesiredRole;
use crate::replication::plan::input::PlanInput;
use crate::replication::refusal::Refusal;

/// The longest key of an object, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const MAX_KEY: usize = 1024;

/// The longest key and value of an object's tag, in units of UTF-16
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>).
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

fn refuse(about: ConditionType, message: String) -> Refusal {
    Refusal::new(Reason::InvalidRequest, about, message)
}

/// The filters are no longer than what they are compared with. Admission counts characters, and S3 counts bytes of a
/// key and units of UTF-16 of a tag.
pub(crate) fn require_filters_fit(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let too_long = input.desired.rules.iter().filter_map(|(id, rule)| {
        let RuleFilter { prefix, tags } = &rule.filter;
        if prefix.len() > MAX_KEY {
            let bytes = prefix.len();
            return Some(format!(
                "rules[{id}].filter.prefix has {bytes} bytes in UTF-8, and S3 allows {MAX_KEY}; shorten it"
            ));
        }
        let units = |text: &str| text.encode_utf16().count();
        let is_long = |(key, value): &(&String, &String)| {
            units(key) > MAX_TAG_KEY || units(value) > MAX_TAG_VALUE
        };
        let (key, _) = tags.iter().find(is_long)?;
        Some(format!(
            "rules[{id}].filter.tags: S3 allows {MAX_TAG_KEY} units of UTF-16 for a key and {MAX_TAG_VALUE} for a value, and an emoji takes two; shorten the tag {key}"
        ))
    });
    Refusal::all(too_long.map(|message| refuse(ConditionType::ReplicationReady, message)))
}

/// The role's tags hold only characters that IAM takes
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html>), and no key that AWS reserves, in any case.
pub(crate) fn require_role_tags_taken(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let about = ConditionType::RoleReady;
    let Some(role) = &input.replication.spec.role else { return Ok(()) };
    let is_taken =
        |c: char| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c);
    let refused = role.tags.iter().filter_map(|(key, value)| {
        if key.to_lowercase().starts_with("aws:") {
            let fix = "AWS reserves keys that begin with aws: in any case; name the tag otherwise";
            return Some(format!("role.tags: the key {key} cannot be set: {fix}"));
        }
        let character = key.chars().chain(value.chars()).find(|c| !is_taken(*c))?;
        Some(format!(
            "role.tags: the tag {key:?} holds the character {character:?}, and IAM takes letters, digits, spaces and _.:/=+-@ only; replace it"
        ))
    });
    Refusal::all(refused.map(|message| refuse(about, message)))
}

/// Every ARN in the spec is of the partition of the source's Region.
pub(crate) fn require_arns_of_partition(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let (spec, caller) = (input.replication.spec, &input.observed.caller);
    let key = |id: &str, arn: &String| (format!("rules[{id}].destination.kmsKeyArn"), arn.clone());
    let keys =
        spec.rules.iter().filter_map(|rule| Some(key(&rule.id, rule.destination.kms_key_arn.as_ref()?)));
    let source_keys =
        spec.source.kms_key_arns.iter().map(|arn| ("source.kmsKeyArns".to_owned(), arn.clone()));
    let role = match &input.desired.role {
        DesiredRole::Managed(role) => {
            role.permissions_boundary.as_ref().map(|arn| (boundary_field(input, arn), arn.clone()))
        }
        DesiredRole::Existing { arn } => Some(("role.arn".to_owned(), arn.clone())),
    };
    let all = keys.chain(source_keys).chain(role);
    let elsewhere = all.filter(|(_, arn)| Partition::of_arn(arn) != Some(caller.partition));
    let elsewhere = elsewhere.map(|(field, arn)| {
        format!(
            "{field}: {arn} is in another partition of AWS than bucket {}, whose ARNs begin with arn:{}:; correct the ARN",
            spec.source.bucket,
            caller.partition.id()
        )
    });
    Refusal::all(elsewhere.map(|message| refuse(ConditionType::RoleReady, message)))
}

/// The field that names the boundary of the role: that of the spec, or that of the `AwsAccount` which imposes it.
fn boundary_field(input: &PlanInput<'_>, boundary: &str) -> String {
    let roles = input.account().and_then(|account| Some((&account.name, account.spec.roles.as_ref()?)));
    match roles.filter(|(_, roles)| roles.permissions_boundary.as_deref() == Some(boundary)) {
        Some((name, _)) => format!("roles.permissionsBoundary of AwsAccount {name}"),
        None => "role.permissionsBoundary".to_owned(),
    }
}

/// A permissions boundary is of AWS or of the role's own account.
pub(crate) fn require_boundary_within_reach(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let own = input.observed.caller.account.as_str();
    let DesiredRole::Managed(role) = &input.desired.role else { return Ok(()) };
    let is_foreign = |arn: &&String| account_of_arn(arn).is_some_and(|id| id != own && id != "aws");
    let foreign = role.permissions_boundary.as_ref().filter(is_foreign).map(|arn| {
        format!(
            "{}: {arn} is a policy of another account than the role's, {own}, and IAM accepts none; name a policy of account {own} or one managed by AWS",
            boundary_field(input, arn)
        )
    });
    Refusal::all(foreign.map(|message| refuse(ConditionType::RoleReady, message)))
}

/// Rules into one bucket agree about its owner: a bucket has one.
pub(crate) fn require_one_owner_of_a_bucket(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let accounts = input.replication.accounts;
    let mut account_ids: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    let disagreeing = input.replication.spec.rules.iter().filter_map(|rule| {
        let to = &rule.destination;
        let account_id = accounts.account_id_of(to.account_ref.as_deref(), to.account.as_deref())?;
        let (first, held) = account_ids.entry(&to.bucket).or_insert_with(|| (&rule.id, account_id.clone())).clone();
        (held != account_id).then(|| {
            format!(
                "rules[{}].destination: bucket {} belongs to account {account_id} there and to {held} in rules[{first}], and a bucket has one owner; correct account or accountRef",
                rule.id, to.bucket
            )
        })
    });
    let disagreeing: Vec<String> = disagreeing.collect();
    Refusal::all(disagreeing.into_iter().map(|message| refuse(ConditionType::ReplicationReady, message)))
}
