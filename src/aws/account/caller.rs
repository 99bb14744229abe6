//! The identity behind credentials, as STS reports it (`sts:GetCallerIdentity`), and the one cache for it.
//!
//! In: a client, the version of its credentials, and the greatest age of an answer. Out: the ARN and the account id of
//! the caller, remembered for that age while the credentials stay the same; or STS's failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;

use crate::api::CallerIdentity;
use crate::aws::account::client::AwsClient;
use crate::aws::account::clients::AccountClients;
use crate::aws::account::credentials::Environment;
use crate::aws::account::operation::Operation;
use crate::iam::arn::account_of_arn;
use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass};

/// Answers of STS, by the version of the credentials that they are about. Callers that ask at once share one answer,
/// also a failure.
#[derive(Clone, Debug)]
pub struct CallerCache(Cache<u64, (Instant, CallerIdentity)>);

impl CallerCache {
    pub fn new() -> CallerCache {
        // Older versions of credentials are of no use.
        CallerCache(Cache::new(1))
    }

    /// The identity behind this version of the credentials: an answer younger than `max_age`, or `ask` now.
    pub async fn get(
        &self,
        version: u64,
        max_age: Duration,
        ask: impl Future<Output = Read<CallerIdentity>>,
    ) -> Read<CallerIdentity> {
        if self.0.get(&version).await.is_some_and(|(at, _)| at.elapsed() >= max_age) {
            self.0.invalidate(&version).await;
        }
        let answer =
            self.0.try_get_with(version, async { ask.await.map(|found| (Instant::now(), found)) }).await;
        answer.map(|(_, identity)| identity).map_err(|failure| (*failure).clone())
    }
}

/// The operator's own identity.
#[derive(Debug)]
pub struct AmbientIdentity {
    environment: Environment,
    clients: Arc<AccountClients>,
    callers: CallerCache,
}

impl AmbientIdentity {
    pub fn new(environment: Environment, clients: Arc<AccountClients>) -> AmbientIdentity {
        AmbientIdentity { environment, clients, callers: CallerCache::new() }
    }

    pub fn clients(&self) -> &Arc<AccountClients> {
        &self.clients
    }

    /// The identity, asked for once for each access key.
    ///
    /// # Errors
    /// When there are no valid credentials, or STS cannot be reached.
    pub async fn caller_identity(&self) -> Read<CallerIdentity> {
        // The first credentials are loaded by the call itself, and make the version 1.
        let version = self.environment.version().max(1);
        let unknown = AwsClient::ambient(self.clients.clone(), CallerIdentity::default());
        self.callers.get(version, Duration::MAX, get_caller_identity(&unknown)).await
    }
}

/// Asks STS for the identity behind a client.
///
/// # Errors
/// When STS does not answer, or names no account.
pub async fn get_caller_identity(aws: &AwsClient) -> Read<CallerIdentity> {
    let (action, subject) = ("sts:GetCallerIdentity", "the operator");
    let request = aws.sts().get_caller_identity().send();
    let answer = aws.call(Operation::sts(action, subject), request).await?;
    let arn = answer.arn().unwrap_or_default().to_owned();
    let account_id = answer.account().or_else(|| account_of_arn(&arn)).map(str::to_owned);
    let account_id = account_id
        .ok_or_else(|| Failure::new(FailureClass::Unavailable, action, subject, "STS named no account"))?;
    Ok(CallerIdentity { arn, account_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(arn: &str) -> CallerIdentity {
        CallerIdentity { arn: arn.to_owned(), account_id: "111122223333".to_owned() }
    }

    #[tokio::test]
    async fn an_answer_serves_until_it_is_too_old_or_the_credentials_change() {
        let cache = CallerCache::new();
        let answer = |arn: &'static str| async move { Ok(caller(arn)) };
        assert_eq!(cache.get(1, Duration::MAX, answer("first")).await.unwrap().arn, "first");
        assert_eq!(cache.get(1, Duration::MAX, answer("second")).await.unwrap().arn, "first");
        assert_eq!(cache.get(1, Duration::ZERO, answer("third")).await.unwrap().arn, "third");
        assert_eq!(cache.get(2, Duration::MAX, answer("fourth")).await.unwrap().arn, "fourth");
    }
}
