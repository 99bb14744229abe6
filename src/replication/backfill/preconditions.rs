//! Decides whether a backfill may begin, or why it does not begin yet.
//!
//! In: the backfill, its replication and the other backfills as the watches last saw them, and the accounts. Out: the
//! source bucket and where its job is to be made, or a refusal that says what to do. No call to AWS is made before all
//! of these hold, and they are asked for again just before the job.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    Activity, BackfillSource, BucketReplication, BucketReplicationStatus, ConditionType, ManagementPolicy,
    Reason, ReplicationBackfillSpec,
};
use crate::iam::Partition;
use crate::iam::arn::{account_of_arn, path_of_role_arn};
use crate::mutants::{Mutant, is_on};
use crate::replication::authorize::accounts::Account;
use crate::replication::authorize::require_report_bucket;
use crate::replication::configuration::unwritable_character;
use crate::replication::refusal::{Refusal, not_allowed};

/// A refusal, and when it may be over by the clock alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    pub refusal: Refusal,
    pub until: Option<Duration>,
}

impl From<Refusal> for Hold {
    fn from(refusal: Refusal) -> Hold {
        Hold { refusal, until: None }
    }
}

/// The replication that a backfill refers to, as the watch last saw it.
#[derive(Clone, Copy, Debug)]
pub enum Parent<'a> {
    Missing,
    /// It cannot be decoded.
    Unreadable,
    Found(&'a BucketReplication),
}

/// The replication is in a state in which S3 would replicate what the job names.
///
/// # Errors
/// `ReplicationNotReady`, with the state that it is in.
pub fn require_ready(parent: Parent<'_>, name: &str, read_only: bool) -> Result<BackfillSource, Refusal> {
    if read_only {
        return not_ready(
            "the operator runs with --read-only and starts nothing in AWS; restart it without the flag"
                .to_owned(),
        );
    }
    let resource = match parent {
        Parent::Found(resource) => resource,
        Parent::Missing => {
            return not_ready(format!(
                "BucketReplication {name} does not exist in this namespace; create it, or correct replicationRef in another ReplicationBackfill (kubectl get br lists them)"
            ));
        }
        Parent::Unreadable => {
            return not_ready(format!(
                "BucketReplication {name} cannot be read; correct it, as its own status says"
            ));
        }
    };
    if resource.metadata.deletion_timestamp.is_some() {
        return not_ready(format!(
            "BucketReplication {name} is being deleted; nothing is replicated for it any more"
        ));
    }
    if resource.spec.suspend {
        return not_ready(format!("BucketReplication {name} is suspended; set its suspend to false"));
    }
    if resource.spec.management_policy == ManagementPolicy::Observe {
        return not_ready(format!(
            "BucketReplication {name} is only observed, and the operator starts nothing in AWS for it; set its managementPolicy to Enforce"
        ));
    }
    let status = resource.status.as_ref();
    let ready = status.and_then(|status| {
        status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str())
    });
    let seen = status.and_then(|status| status.observed_generation) == resource.metadata.generation;
    match ready {
        Some(ready) if ready.status != "True" => {
            return not_ready(format!(
                "BucketReplication {name} is not Ready ({}): kubectl get br {name} -o wide shows why; the backfill begins once it is",
                ready.reason
            ));
        }
        Some(_) if seen => {}
        _ => {
            return not_ready(format!(
                "BucketReplication {name} has not been checked as it is now; the backfill begins once it is Ready"
            ));
        }
    }
    status.and_then(source_of).ok_or_else(|| {
        let message = format!("the status of BucketReplication {name} does not name the Region and the account of its source; request a check of it (kubectl annotate br {name} s3replication.dev/requestedAt=now)");
        Refusal::new(Reason::ReplicationNotReady, ConditionType::Ready, message)
    })
}

fn not_ready(message: String) -> Result<BackfillSource, Refusal> {
    Err(Refusal::new(Reason::ReplicationNotReady, ConditionType::Ready, message))
}

/// Where the source of a replication is, as its status has it.
pub fn source_of(status: &BucketReplicationStatus) -> Option<BackfillSource> {
    let source = status.source.as_ref()?;
    Some(BackfillSource {
        bucket: source.bucket.clone(),
        region: source.region.clone()?,
        account: source.account.clone()?,
        account_ref: source.account_ref.clone(),
    })
}

/// S3 has had time to take the last configuration in: it lists the objects by the rules that it knows.
///
/// # Errors
/// `Settling`, until the time has passed.
pub fn require_settled(
    status: &BucketReplicationStatus,
    bucket: &str,
    settle: Duration,
    now: Timestamp,
) -> Result<(), Hold> {
    let Some(written) = status.configured_at.as_ref().map(|time| time.0) else { return Ok(()) };
    let age = Duration::try_from(now.duration_since(written).max(SignedDuration::ZERO)).unwrap_or_default();
    let left = settle.saturating_sub(age);
    if left.is_zero() {
        return Ok(());
    }
    let settle = SignedDuration::try_from(settle).unwrap_or(SignedDuration::MAX);
    let message = format!(
        "the operator wrote the replication configuration of bucket {bucket} less than {settle:#} ago, and S3 may still list objects by the one before; the job starts once that time is over (--backfill-settle)"
    );
    let refusal = Refusal::new(Reason::Settling, ConditionType::Ready, message);
    Err(Hold { refusal, until: Some(left) })
}

/// The replication still has the source that the job was made for: a permission for another source is none for this
/// job.
///
/// # Errors
/// `ReplicationNotReady`, with both sources.
pub fn require_same_source(
    kept: &BackfillSource,
    now: &BackfillSource,
    replication: &str,
) -> Result<(), Refusal> {
    if kept == now || is_on(Mutant::OtherSourceApproved) {
        return Ok(());
    }
    let named = |source: &BackfillSource| {
        let BackfillSource { bucket, region, account, account_ref } = source;
        let under = account_ref.as_ref().map(|name| format!(", AwsAccount {name}")).unwrap_or_default();
        format!("bucket {bucket} in {region} (account {account}{under})")
    };
    let message = format!(
        "the job was made for {}, and BucketReplication {replication} replicates {} now; set cancel to true, and create another ReplicationBackfill",
        named(kept),
        named(now)
    );
    Err(Refusal::new(Reason::ReplicationNotReady, ConditionType::Ready, message))
}

/// An object can be created within the time that the spec names. S3 knows no part of a second.
///
/// # Errors
/// `InvalidRequest`, with both times.
pub fn require_period(spec: &ReplicationBackfillSpec, now: Timestamp) -> Result<(), Refusal> {
    let Some(after) = spec.created_after.as_ref().map(|time| time.0) else { return Ok(()) };
    let before = spec.created_before.as_ref().map_or(now, |time| time.0);
    if after.as_second() < before.as_second() {
        return Ok(());
    }
    let until = match &spec.created_before {
        Some(_) => format!("createdBefore {before}"),
        None => "the present, which createdBefore is where it is absent".to_owned(),
    };
    let message = format!(
        "no object can be both created after {after} (createdAfter) and before {until}: a job would list none, and costs money; create another ReplicationBackfill whose createdAfter is at least a second earlier"
    );
    Err(Refusal::new(Reason::InvalidRequest, ConditionType::Ready, message))
}

/// The prefixes hold only characters that a request to S3 can hold, although object keys may hold others.
///
/// # Errors
/// `InvalidRequest`, with the index of the prefix and the character.
pub fn require_prefixes_writable(spec: &ReplicationBackfillSpec) -> Result<(), Refusal> {
    let mut prefixes = spec.prefixes.iter().enumerate();
    let found = prefixes.find_map(|(index, prefix)| Some((index, unwritable_character(prefix)?)));
    let Some((index, character)) = found else { return Ok(()) };
    let message = format!(
        "prefixes[{index}] holds the character U+{:04X}, which a request to S3 cannot hold; create another ReplicationBackfill with a shorter prefix",
        u32::from(character)
    );
    Err(Refusal::new(Reason::InvalidRequest, ConditionType::Ready, message))
}

/// The ARNs of the spec are of the partition of the source's Region: IAM and S3 refuse others without naming the field.
///
/// # Errors
/// `InvalidRequest`, with the field and the ARN.
pub fn require_arns_of_partition(
    spec: &ReplicationBackfillSpec,
    source: &BackfillSource,
) -> Result<(), Refusal> {
    let own = Partition::of_region(&source.region);
    let role = spec.role.as_ref().map(|role| ("role.arn", &role.arn));
    let key =
        spec.report.as_ref().and_then(|report| Some(("report.kmsKeyArn", report.kms_key_arn.as_ref()?)));
    let mut arns = role.into_iter().chain(key);
    let Some((field, arn)) = arns.find(|(_, arn)| Partition::of_arn(arn) != Some(own)) else { return Ok(()) };
    let message = format!(
        "{field}: {arn} is in another partition of AWS than bucket {}, whose ARNs begin with arn:{}:; create another ReplicationBackfill with the ARN corrected",
        source.bucket,
        own.id()
    );
    Err(Refusal::new(Reason::InvalidRequest, ConditionType::Ready, message))
}

/// No other backfill of the replication is under way, and none is older.
///
/// # Errors
/// `Waiting`, with the name of the other one.
pub fn require_turn(other: Option<&str>, replication: &str) -> Result<(), Refusal> {
    let Some(other) = other else { return Ok(()) };
    let message = format!(
        "ReplicationBackfill {other} of BucketReplication {replication} comes first, and one runs at a time; this one begins once that one has ended, is cancelled (cancel: true) or deleted"
    );
    Err(Refusal::new(Reason::Waiting, ConditionType::Ready, message))
}

/// The administrators of the source's account allow backfills, and the report and the role that this one names. `None`:
/// no account restricts it.
///
/// # Errors
/// `NotAllowed`, with the field and the account.
pub fn require_allowed(spec: &ReplicationBackfillSpec, account: Option<&Account>) -> Result<(), Refusal> {
    let Some(account) = account else { return Ok(()) };
    let name = &account.name;
    if !account.spec.allow.contains(&Activity::Backfill) {
        return not_allowed(format!(
            "AwsAccount {name} does not allow backfills, which cost money; ask its administrator to add Backfill to spec.allow"
        ));
    }
    if let Some(report) = &spec.report {
        require_report_bucket(&report.bucket, account)?;
    }
    spec.role.as_ref().map_or(Ok(()), |role| require_role(&role.arn, account))
}

/// An existing role is as the account imposes, or it would be a way around it.
fn require_role(arn: &str, Account { name, spec }: &Account) -> Result<(), Refusal> {
    if account_of_arn(arn) != Some(spec.account_id.as_str()) {
        return not_allowed(format!(
            "role.arn: role {arn} is not in account {} of AwsAccount {name}; name a role of that account, or leave role out to have one made for the job",
            spec.account_id
        ));
    }
    match spec.roles.as_ref().and_then(|roles| roles.path.as_deref()) {
        Some(path) if path_of_role_arn(arn) != path => not_allowed(format!(
            "role.arn: role {arn} is not at the path {path} that AwsAccount {name} imposes on roles; name a role at that path, or leave role out to have one made for the job"
        )),
        _ => Ok(()),
    }
}
