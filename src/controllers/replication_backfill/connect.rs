//! Connects to the account in which a job is.
//!
//! In: what the status keeps. Out: clients, or why there are none. The operator finds, follows and ends a job even if
//! the accounts no longer allow it. It authorizes the start of a job elsewhere, just before the request.

use crate::api::{BackfillSource, ConditionType, Reason};
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::stop::Stop;
use crate::ports::Cloud;
use crate::replication::backfill::JobAddress;
use crate::replication::{Accounts, Refusal};

/// Clients for the account and Region of a job.
///
/// # Errors
/// When its `AwsAccount` is gone, or AWS does not let the operator in.
pub async fn connect<C: Cloud, K>(
    subject: &BackfillObject<'_>,
    source: &BackfillSource,
    cx: &Context<C, K>,
) -> Result<C::Clients, Stop> {
    let account = match &source.account_ref {
        None => None,
        Some(name) => Some(cx.shared.index.account(name)?.ok_or_else(|| account_is_gone(subject, name))?),
    };
    let accounts = Accounts { source: account, ..Accounts::default() };
    Ok(cx.shared.cloud.connect(&accounts, &subject.id).await?)
}

fn account_is_gone(subject: &BackfillObject<'_>, name: &str) -> Refusal {
    let job = subject.status.job_id.as_deref().unwrap_or("of this backfill");
    Refusal::new(
        Reason::AccountNotFound,
        ConditionType::Ready,
        format!(
            "job {job} is in AwsAccount {name}, which does not exist any more; create it again. The job goes on meanwhile"
        ),
    )
}

pub fn address(source: &BackfillSource) -> JobAddress {
    JobAddress { account: source.account.clone(), region: source.region.clone() }
}
