//! What is said of an `AwsAccount`.

use jiff::Timestamp;

use crate::api::{AwsAccountStatus, AwsIdentity, ConditionType, Reason};
use crate::replication::failure::Failure;
use crate::replication::status::conditions::{ConditionDraft, Since, conditions};

/// The status after STS was asked who the operator is there, and the reason of `Ready`.
pub fn account_status(
    asked: Result<&AwsIdentity, &Failure>,
    replications: i32,
    previous: &AwsAccountStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> (AwsAccountStatus, Reason) {
    let (reason, message) = match asked {
        Ok(AwsIdentity { arn, account_id }) => {
            (Reason::Verified, format!("the operator is {arn} in account {account_id}"))
        }
        Err(failure) => (failure.class.reason(), failure.message()),
    };
    let ready = ConditionDraft::new(ConditionType::Ready, reason.ready(), reason, message);
    let since = Since { previous: &previous.conditions, generation, now };
    let status = AwsAccountStatus {
        observed_generation: generation,
        conditions: conditions(vec![ready], reason, &since),
        identity: asked.ok().cloned(),
        replications: Some(replications),
    };
    (status, reason)
}
