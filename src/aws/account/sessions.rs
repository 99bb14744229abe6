//! Sessions in the role of an `AwsAccount`: one per resource, named after it, cached, and renewed before it expires.

use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use moka::Expiry;
use moka::future::Cache;

use crate::api::{AssumeRole, AwsIdentity};
use crate::aws::account::clients::AccountClients;
use crate::aws::account::rate_limiter::Lane;
use crate::aws::error::ASSUME_ROLE;
use crate::iam::arn::account_of_arn;
use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass};

/// A session is renewed this long before it expires: longer than any check takes.
const MARGIN: Duration = Duration::from_secs(6 * 60);

/// More resources than one account has in a cluster.
const CAPACITY: u64 = 100_000;

/// Temporary credentials, and the identity that STS gave them.
#[derive(Clone, Debug)]
pub struct Session {
    pub credentials: Credentials,
    pub identity: AwsIdentity,
}

/// The sessions in one role, by name.
#[derive(Debug)]
pub struct Sessions(Cache<String, Session>);

impl Sessions {
    pub fn new() -> Sessions {
        Sessions(Cache::builder().max_capacity(CAPACITY).expire_after(BeforeExpiry).build())
    }

    /// The session of a name, begun now where there is none. Callers that ask at once share one call.
    pub async fn get(&self, name: &str, role: &AssumeRole, clients: &AccountClients) -> Read<Session> {
        let begin = begin(name, role, clients);
        self.0.try_get_with_by_ref(name, begin).await.map_err(|failure| (*failure).clone())
    }
}

/// Assumes the role as the operator itself. Limits, retries and the circuit breaker are those of the role's account.
async fn begin(name: &str, role: &AssumeRole, clients: &AccountClients) -> Read<Session> {
    let AssumeRole { arn, external_id, session_name: _ } = role;
    // The account's clients are the operator's own until a session signs for them.
    let request = clients
        .sts()
        .assume_role()
        .role_arn(arn)
        .role_session_name(name)
        .set_external_id(external_id.clone());
    let answer = clients.call(Lane::Sts, ASSUME_ROLE, arn, request.send()).await?;
    let incomplete = |what: &str| {
        Failure::new(FailureClass::Unavailable, ASSUME_ROLE, arn, format!("the answer held no {what}"))
    };
    let given = answer.credentials().ok_or_else(|| incomplete("credentials"))?;
    let assumed = answer.assumed_role_user().ok_or_else(|| incomplete("role"))?.arn().to_owned();
    let account_id = account_of_arn(&assumed).ok_or_else(|| incomplete("account"))?.to_owned();
    let credentials = Credentials::new(
        given.access_key_id(),
        given.secret_access_key(),
        Some(given.session_token().to_owned()),
        SystemTime::try_from(*given.expiration()).ok(),
        "AssumeRole",
    );
    Ok(Session { credentials, identity: AwsIdentity { arn: assumed, account_id } })
}

struct BeforeExpiry;

impl Expiry<String, Session> for BeforeExpiry {
    fn expire_after_create(&self, _: &String, session: &Session, _: Instant) -> Option<Duration> {
        let left = session.credentials.expiry().and_then(|e| e.duration_since(SystemTime::now()).ok());
        let left = left.unwrap_or_default();
        // A role may allow sessions that are shorter than the margin.
        Some(left.saturating_sub(MARGIN).max(left / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// How long a session of this length serves.
    fn used(length: Duration) -> Duration {
        let end = SystemTime::now() + length;
        let credentials = Credentials::new("key", "secret", None, Some(end), "test");
        let session = Session { credentials, identity: AwsIdentity::default() };
        BeforeExpiry.expire_after_create(&String::new(), &session, Instant::now()).unwrap()
    }

    #[test]
    fn a_session_is_renewed_minutes_before_it_expires_and_a_short_one_when_half_of_it_is_over() {
        let near = |is: Duration, wanted: Duration| is <= wanted && wanted - is < MINUTE / 2;
        assert!(near(used(60 * MINUTE), 54 * MINUTE), "{:?}", used(60 * MINUTE));
        assert!(near(used(15 * MINUTE), 9 * MINUTE), "{:?}", used(15 * MINUTE));
        assert!(near(used(4 * MINUTE), 2 * MINUTE), "{:?}", used(4 * MINUTE));
        assert_eq!(used(Duration::ZERO), Duration::ZERO);
    }
}
