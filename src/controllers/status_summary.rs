//! Keeps the values of every `BucketReplication` that each scrape of the metrics needs.
//!
//! In: a resource as the watch brought it. Out: the few values that its status shows, in a few bytes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use strum::VariantArray;

use crate::api::{BucketReplicationStatus, ConditionType, Reason, RuleHealth};
use crate::controllers::Guarded;
use crate::telemetry::ArrivalSample;

/// The summary of a resource's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSummary {
    /// The reason of Ready.
    pub reason: Reason,
    pub ready: bool,
    /// The status of InSync.
    pub in_sync: &'static str,
    pub drift: i64,
    pub arrival: ArrivalSample,
    /// The operator reads AWS for it.
    pub is_to_be_read: bool,
}

impl StatusSummary {
    pub fn of(object: &Guarded) -> StatusSummary {
        let known = object.0.as_ref().ok();
        let status = known.and_then(|resource| resource.status.as_ref());
        let condition = |wanted: ConditionType| {
            status.and_then(|status| status.conditions.iter().find(|c| c.type_ == wanted.as_str()))
        };
        let ready = condition(ConditionType::Ready);
        // Of an object that cannot be decoded nothing but that is known here.
        let otherwise = if known.is_some() { Reason::Progressing } else { Reason::InvalidSpec };
        let reason = ready.and_then(known_reason).unwrap_or(otherwise);
        StatusSummary {
            reason,
            ready: ready.is_some_and(|c| c.status == "True"),
            in_sync: match condition(ConditionType::InSync).map(|c| c.status.as_str()) {
                Some("True") => "True",
                Some("False") => "False",
                _ => "Unknown",
            },
            drift: status.and_then(|status| status.drift_count).unwrap_or_default().into(),
            arrival: arrival(condition(ConditionType::Replicating), status),
            is_to_be_read: is_to_be_read(reason) && object.meta().deletion_timestamp.is_none(),
        }
    }
}

/// Whether the operator reads AWS for a `BucketReplication` whose `Ready` has this reason.
fn is_to_be_read(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Suspended
            | Reason::SourceConflict
            | Reason::NotAllowed
            | Reason::AccountNotFound
            | Reason::InvalidSpec
    )
}

/// Whether a check of a `BucketReplication` that ended with this reason read AWS. After a transient failure the check
/// is repeated until AWS can be read.
pub fn has_read_aws(reason: Reason) -> bool {
    !reason.is_transient() && is_to_be_read(reason)
}

/// The reason of `Ready` in a status.
pub fn ready_reason(status: &BucketReplicationStatus) -> Reason {
    let ready = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    ready.and_then(known_reason).unwrap_or(Reason::Progressing)
}

/// The reason of a condition; `None`: another version of the operator gave it.
fn known_reason(condition: &Condition) -> Option<Reason> {
    Reason::VARIANTS.iter().copied().find(|reason| reason.as_str() == condition.reason)
}

fn arrival(replicating: Option<&Condition>, status: Option<&BucketReplicationStatus>) -> ArrivalSample {
    let health = status.and_then(|status| status.health.as_ref());
    let sum = |figure: fn(&RuleHealth) -> Option<i64>| {
        let rules = health.into_iter().flat_map(|health| &health.rules);
        rules.filter_map(figure).reduce(i64::saturating_add)
    };
    ArrivalSample {
        reason: replicating.and_then(known_reason).unwrap_or(Reason::Progressing),
        replicating: replicating.is_some_and(|c| c.status == "True"),
        latency_seconds: health.and_then(|health| health.latency_seconds),
        pending: sum(|rule| rule.pending),
        failed: sum(|rule| rule.failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_was_read_where_the_check_got_as_far_and_did_not_fail_for_a_while() {
        for reason in [Reason::Applied, Reason::Drifted, Reason::ForeignRole] {
            assert!(has_read_aws(reason), "{reason:?}");
        }
        for reason in [Reason::Suspended, Reason::NotAllowed, Reason::InvalidSpec, Reason::AwsUnavailable] {
            assert!(!has_read_aws(reason), "{reason:?}");
        }
    }
}
