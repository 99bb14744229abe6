//! Checks one `AwsAccount`.
//!
//! In: the account, and how many resources refer to it. Out: its status, which is written
//! only if it differs, and when to check it again.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::json;
use tracing::warn;

use crate::api::{AwsAccount, CallerIdentity, Namespaces};
use crate::controllers::aws_account::context::Context;
use crate::ports::{Cloud, Cluster, ObjectKey};
use crate::replication::events::Answer;
use crate::replication::observed::Read;
use crate::replication::status::{ObservedAccount, account_status};
use crate::replication::{Account, Failure, FailureClass};
use crate::runtime::Error;
use crate::runtime::action::Action;

/// Checks an account, writes its status when that changed, and returns when to check it again.
pub async fn check<C: Cloud, K: Cluster>(account: &AwsAccount, cx: &Context<C, K>) -> Result<Action, Error> {
    let replications = cx.index.count_by_account(&account.name_any());
    if replications == 0 && !concerns(account, &cx.settings.namespaces) {
        // Another operator answers for it.
        return Ok(Action::await_change());
    }
    let replications = i32::try_from(replications).unwrap_or(i32::MAX);
    let name = account.name_any();
    let fresh = cx.events.begin_account_check(&name);
    let verified = verify(account, fresh, cx).await;
    let previous = account.status.clone().unwrap_or_default();
    cx.events.end_account_check(&name, answer_events(verified.as_ref(), previous.identity.as_ref()));
    let observed = ObservedAccount {
        identity: verified.as_ref(),
        replications,
        events: cx.events.of_account(&account.spec.account_id),
    };
    let (generation, now) = (account.metadata.generation, cx.clock.timestamp());
    let (mut status, reason) = account_status(&observed, &previous, generation, now);
    cx.settings.runbooks.link(&mut status.conditions);
    if let Err(failure) = &verified {
        let detail = failure.message();
        warn!(account = name, reason = reason.as_str(), detail, "cannot act in the account");
    }
    if status != previous {
        let key = ObjectKey::new::<AwsAccount>(&account.metadata);
        match cx.cluster.set_status(&key, &json!(status), &[]).await {
            // There is nothing left to report on.
            Err(error) if error.is_gone() => {}
            written => written?,
        }
    }
    let interval = cx.events.account_interval(&account.spec.account_id, &cx.settings.interval);
    let mut requeue = cx.requeue.lock();
    let pause = requeue.entry(account.uid().unwrap_or_default()).or_default().after(reason, interval);
    requeue.retain(|_, backoff| !backoff.is_empty());
    Ok(Action::requeue(pause))
}

/// Whether the operator's identity in the account, or the failure to have one, is another than before.
fn answer_events(verified: Result<&CallerIdentity, &Failure>, previous: Option<&CallerIdentity>) -> Answer {
    match verified {
        // It is tried again, until STS answers.
        Err(failure) if failure.class != FailureClass::Denied && failure.class.reason().is_no_answer() => {
            Answer::Postponed
        }
        verified if verified.ok() == previous => Answer::Unchanged,
        _ => Answer::Changed,
    }
}

/// The identity under which the operator acts in the account. STS is asked once an interval, and not when resources
/// come or go. `fresh`: STS is asked now.
async fn verify<C: Cloud, K>(account: &AwsAccount, fresh: bool, cx: &Context<C, K>) -> Read<CallerIdentity> {
    let interval = cx.events.account_interval(&account.spec.account_id, &cx.settings.interval);
    let max_age = if fresh { Duration::ZERO } else { interval };
    let account = Account { name: account.name_any(), spec: account.spec.clone() };
    cx.cloud.verify(&account, max_age).await
}

/// Whether an operator that watches these namespaces (none: all) answers for an account that no resource refers to yet:
/// it does where one of its namespaces may use the account.
fn concerns(account: &AwsAccount, watched: &[String]) -> bool {
    let Some(Namespaces { match_names, match_labels }) = &account.spec.namespaces else {
        return watched.is_empty();
    };
    let by_labels = match_names.is_empty() && !match_labels.is_empty();
    watched.is_empty() || by_labels || match_names.iter().any(|name| watched.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AwsAccountSpec;

    fn account(namespaces: Option<Namespaces>) -> AwsAccount {
        AwsAccount::new("dr", AwsAccountSpec { namespaces, ..AwsAccountSpec::default() })
    }

    #[test]
    fn an_operator_of_some_namespaces_answers_for_accounts_that_one_of_them_may_use() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let of = |allowed: &[&str]| {
            account(Some(Namespaces { match_names: names(allowed), ..Namespaces::default() }))
        };
        assert!(concerns(&of(&["data"]), &names(&["data", "shop"])));
        assert!(!concerns(&of(&["data"]), &names(&["shop"])));
        assert!(concerns(&of(&["data"]), &[]), "an operator of all namespaces answers for all accounts");
        assert!(!concerns(&account(None), &names(&["shop"])), "the account allows nobody");
        let labels = [("team".to_owned(), "a".to_owned())].into();
        let by_label = account(Some(Namespaces { match_labels: labels, ..Namespaces::default() }));
        assert!(concerns(&by_label, &names(&["shop"])));
    }
}
