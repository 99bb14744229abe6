//! Works out the likely cause why S3 fails to replicate objects, from what a check found.
//!
//! In: the report of a check, and, where objects fail and nothing explains it, the policies of the keys of replicas and
//! of the source's objects. Out: the likely cause, for the condition `Replicating`.

use tracing::debug;

use crate::api::ConditionType;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::resource::Resource;
use crate::ports::Cloud;
use crate::replication::Assessment;
use crate::replication::FailureClass;
use crate::replication::health::key_cause::{key_cause, keys_to_ask, unread_key_policy};
use crate::replication::status::StatusReport;

/// Remembers the likely cause for the verdicts until the next check. Returns whether it is another one than before.
pub async fn find_likely_cause<C: Cloud, K>(
    resource: &Resource<'_>,
    assessment: &Assessment<'_>,
    report: &StatusReport,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> bool {
    let cause = match of_conditions(report) {
        Some(cause) => Some(cause),
        None => of_keys(resource, assessment, clients, cx).await,
    };
    let changed = cx.evidence.update(&resource.target.key.uid, |evidence| {
        let changed = evidence.likely_cause != cause;
        evidence.likely_cause = cause;
        changed
    });
    changed.unwrap_or_default()
}

/// The conditions of a check that are not true: they would make operations fail.
fn of_conditions(report: &StatusReport) -> Option<String> {
    let concerned =
        [ConditionType::RoleReady, ConditionType::VersioningReady, ConditionType::ReplicationReady];
    let conditions = report.status.conditions.iter();
    let broken = conditions
        .filter(|c| c.status == "False" && concerned.iter().any(|about| about.as_str() == c.type_))
        .map(|c| c.message.clone());
    broken.reduce(|one, other| if one == other { one } else { format!("{one}; {other}") })
}

/// The causes in the policies of the keys of rules that fail. A policy that may not be read names none, and the denial
/// is shown where no other policy explains the failures.
async fn of_keys<C: Cloud, K>(
    resource: &Resource<'_>,
    assessment: &Assessment<'_>,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> Option<String> {
    let role = assessment.observed.role.as_ref().ok()?.as_ref()?;
    let evidence = cx.evidence.get(&resource.target.key.uid);
    let mut denied = None;
    for key in keys_to_ask(&resource.spec, &evidence) {
        match cx.cloud.read_key_policy(clients, key.account_ref, key.arn).await {
            Ok(Some(policy)) => {
                if let Some(cause) = key_cause(&key, &policy, &role.arn) {
                    return Some(cause);
                }
            }
            Ok(None) => {}
            Err(failure) => {
                debug!(key = key.arn, detail = failure.message(), "cannot read the policy of a key");
                denied = denied.or((failure.class == FailureClass::Denied).then_some(failure));
            }
        }
    }
    denied.map(|failure| unread_key_policy(&failure))
}
