//! The status of an `AwsAccount`.
//!
//! In: what STS answered. Out: the status, and the reason of `Ready`.

use jiff::Timestamp;

use crate::api::{AwsAccountStatus, CallerIdentity, ConditionType, Reason};
use crate::replication::failure::Failure;
use crate::replication::status::conditions::{ConditionDraft, Transition, conditions};

/// The status after STS was asked for the caller identity there, and the reason of `Ready`.
pub fn account_status(
    asked: Result<&CallerIdentity, &Failure>,
    replications: i32,
    previous: &AwsAccountStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> (AwsAccountStatus, Reason) {
    let (reason, message) = match asked {
        Ok(CallerIdentity { arn, account_id }) => {
            (Reason::Verified, format!("the operator is {arn} in account {account_id}"))
        }
        Err(failure) => (failure.class.reason(), failure.message()),
    };
    let ready = ConditionDraft::new(ConditionType::Ready, reason.ready(), reason, message);
    let transition = Transition { previous: &previous.conditions, generation, now };
    let status = AwsAccountStatus {
        observed_generation: generation,
        conditions: conditions(vec![ready], reason, &transition),
        identity: asked.ok().cloned(),
        replications: Some(replications),
    };
    (status, reason)
}
