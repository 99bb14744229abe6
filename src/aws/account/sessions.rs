//! Sessions in the role of an `AwsAccount`: one per resource, named after it (`replication/resource_id.rs`), one for
//! the checks of the `AwsAccount` itself, and one for the readings of metrics.
//!
//! In: the role and the name of a session, and the failures of the calls that it signed. Out: temporary credentials
//! with the identity that STS gave them. They are cached, renewed before they expire, and begun again when AWS no
//! longer accepts them.

use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use moka::Expiry;
use moka::future::Cache;

use crate::api::{AssumeRole, CallerIdentity};
use crate::aws::account::clients::AccountClients;
use crate::aws::account::operation::Operation;
use crate::aws::account::session_doubts::SessionDoubts;
use crate::aws::error::ASSUME_ROLE;
use crate::iam::Partition;
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
    pub identity: CallerIdentity,
}

impl Session {
    /// Whether the session has not expired by the clock of this machine, which a suspended machine sets forward.
    fn is_current(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|expiry| expiry > now)
    }
}

/// The sessions in one role, by name.
#[derive(Clone, Debug)]
pub struct Sessions {
    held: Cache<String, Session>,
    /// By session name, action and subject.
    doubts: SessionDoubts<(String, String, String)>,
}

/// A session that serves one resource.
#[derive(Clone, Debug)]
pub struct HeldSession {
    pub session: Session,
    name: String,
    sessions: Sessions,
}

impl HeldSession {
    /// Reports the failure of a call that this session signed.
    pub async fn failed(&self, failure: &Failure) {
        self.failed_at(failure, Instant::now()).await;
    }

    /// Drops the session where AWS no longer accepts it, so that the next try begins a new one: it was revoked, or has
    /// expired by AWS's clock.
    async fn failed_at(&self, failure: &Failure, now: Instant) {
        let ends = match failure.class {
            FailureClass::Credentials => true,
            FailureClass::Denied => {
                let denied = (self.name.clone(), failure.action.to_string(), failure.subject.clone());
                self.sessions.doubts.arise(denied, failure, now).await
            }
            _ => false,
        };
        let held = &self.sessions.held;
        let current = held.get(&self.name).await;
        let key = |session: &Session| session.credentials.access_key_id().to_owned();
        if ends && current.is_some_and(|current| key(&current) == key(&self.session)) {
            held.invalidate(&self.name).await;
        }
    }
}

impl Sessions {
    pub fn new() -> Sessions {
        Sessions {
            held: Cache::builder().max_capacity(CAPACITY).expire_after(BeforeExpiry).build(),
            doubts: SessionDoubts::default(),
        }
    }

    /// The session of a name, begun now where there is none. Callers that ask at once share one call.
    pub async fn get(&self, name: &str, role: &AssumeRole, clients: &AccountClients) -> Read<HeldSession> {
        self.get_or(name, begin(name, role, clients)).await
    }

    pub(super) async fn get_or(
        &self,
        name: &str,
        begin: impl Future<Output = Read<Session>>,
    ) -> Read<HeldSession> {
        if self.held.get(name).await.is_some_and(|session| !session.is_current(SystemTime::now())) {
            self.held.invalidate(name).await;
        }
        let session = self.held.try_get_with_by_ref(name, begin).await;
        let session = session.map_err(|failure| (*failure).clone())?;
        Ok(HeldSession { session, name: name.to_owned(), sessions: self.clone() })
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
    let answer = clients.call(Operation::sts(ASSUME_ROLE, arn), request.send()).await;
    if let Err(failure) = &answer {
        clients.own_credentials_failed(failure).await;
    }
    let answer = answer.map_err(|failure| name_partition(failure, arn, clients.home()))?;
    let incomplete = |what: &str| {
        let detail = format!("the answer held no {what}");
        Failure::new(FailureClass::Unavailable, ASSUME_ROLE, arn, detail)
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
    clients.own_keys().note(credentials.access_key_id(), credentials.expiry());
    Ok(Session { credentials, identity: CallerIdentity { arn: assumed, account_id } })
}

/// Says that the role may be in another partition: STS knows the roles of its own alone, and of others it says only
/// that the request is wrong. `home`: the Region of the environment, whose STS was asked.
fn name_partition(failure: Failure, arn: &str, home: &str) -> Failure {
    let own = Partition::of_region(home);
    let is_refusal = matches!(failure.class, FailureClass::Invalid | FailureClass::Denied);
    if !is_refusal || Partition::of_arn(arn) == Some(own) {
        return failure;
    }
    let detail = failure.detail.trim_end_matches('.');
    let detail = format!(
        "{detail}; spec.assumeRole.arn is in another partition of AWS than {home}, the Region of the operator's environment, where ARNs begin with arn:{}:; correct the ARN, or run the operator with an AWS_REGION of its partition",
        own.id()
    );
    Failure { detail, ..failure }
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
    use crate::aws::account::session_doubts::FIRST_DOUBT;

    const MINUTE: Duration = Duration::from_secs(60);

    fn session(key: &str, expiry: SystemTime) -> Session {
        let credentials = Credentials::new(key, "secret", None, Some(expiry), "test");
        Session { credentials, identity: CallerIdentity::default() }
    }

    #[test]
    fn a_role_of_another_partition_is_named_by_its_field() {
        let refused = |class| Failure::new(class, ASSUME_ROLE, "r", "Request ARN is invalid.");
        let detail = |class, arn, home| name_partition(refused(class), arn, home).detail;
        let (own, china) = ("arn:aws:iam::111122223333:role/op", "arn:aws-cn:iam::111122223333:role/op");
        for (arn, home, partition) in
            [(china, "eu-west-1", "arn:aws:"), (own, "eusc-de-east-1", "arn:aws-eusc:")]
        {
            let text = detail(FailureClass::Invalid, arn, home);
            for part in ["Request ARN is invalid; ", "spec.assumeRole.arn", home, partition] {
                assert!(text.contains(part), "{text}");
            }
        }
        assert_eq!(detail(FailureClass::Invalid, own, "eu-west-1"), "Request ARN is invalid.");
        assert_eq!(detail(FailureClass::Invalid, china, "cn-north-1"), "Request ARN is invalid.");
        assert_eq!(detail(FailureClass::Unavailable, china, "eu-west-1"), "Request ARN is invalid.");
    }

    /// How long a session of this length serves.
    fn used(length: Duration) -> Duration {
        let created = session("key", SystemTime::now() + length);
        BeforeExpiry.expire_after_create(&String::new(), &created, Instant::now()).unwrap()
    }

    #[test]
    fn a_session_is_renewed_minutes_before_it_expires_and_a_short_one_when_half_of_it_is_over() {
        let near = |is: Duration, wanted: Duration| is <= wanted && wanted - is < MINUTE / 2;
        assert!(near(used(60 * MINUTE), 54 * MINUTE), "{:?}", used(60 * MINUTE));
        assert!(near(used(15 * MINUTE), 9 * MINUTE), "{:?}", used(15 * MINUTE));
        assert!(near(used(4 * MINUTE), 2 * MINUTE), "{:?}", used(4 * MINUTE));
        assert_eq!(used(Duration::ZERO), Duration::ZERO);
    }

    /// The key of the session that serves now; `next` is that of a session begun now.
    async fn serves(sessions: &Sessions, next: &str) -> HeldSession {
        let hour = SystemTime::now() + 60 * MINUTE;
        sessions.get_or("data.orders", async { Ok(session(next, hour)) }).await.unwrap()
    }

    fn key(held: &HeldSession) -> &str {
        held.session.credentials.access_key_id()
    }

    fn failure(class: FailureClass, action: &'static str, code: &str) -> Failure {
        Failure { code: code.to_owned(), ..Failure::new(class, action, "orders", "") }
    }

    #[tokio::test]
    async fn a_session_that_aws_no_longer_accepts_is_begun_again() {
        let sessions = Sessions::new();
        let first = serves(&sessions, "first").await;
        first.failed(&failure(FailureClass::Throttled, "s3:GetBucketVersioning", "SlowDown")).await;
        assert_eq!(key(&serves(&sessions, "second").await), "first");
        let expired = failure(FailureClass::Credentials, "s3:GetBucketVersioning", "ExpiredToken");
        first.failed(&expired).await;
        let second = serves(&sessions, "second").await;
        assert_eq!(key(&second), "second");
        // The answer to a call that the former session signed says nothing about the new one.
        first.failed(&expired).await;
        assert_eq!(key(&serves(&sessions, "third").await), "second");
    }

    #[tokio::test]
    async fn a_denied_action_ends_its_session_once_per_backoff() {
        let (sessions, now) = (Sessions::new(), Instant::now());
        let denied = failure(FailureClass::Denied, "s3:GetBucketVersioning", "AccessDenied");
        serves(&sessions, "first").await.failed_at(&denied, now).await;
        let second = serves(&sessions, "second").await;
        assert_eq!(key(&second), "second");
        second.failed_at(&denied, now).await;
        assert_eq!(key(&serves(&sessions, "third").await), "second", "a new session did not help");
        let other = failure(FailureClass::Denied, "s3:GetReplicationConfiguration", "AccessDenied");
        second.failed_at(&other, now).await;
        let third = serves(&sessions, "third").await;
        assert_eq!(key(&third), "third", "another action that is denied may be due to a revoked session");
        third.failed_at(&denied, now + FIRST_DOUBT).await;
        let fourth = serves(&sessions, "fourth").await;
        assert_eq!(key(&fourth), "fourth");
        fourth.failed_at(&denied, now + 2 * FIRST_DOUBT).await;
        assert_eq!(key(&serves(&sessions, "fifth").await), "fourth", "the pause doubles");
    }

    #[tokio::test]
    async fn a_bare_denial_ends_no_session() {
        let sessions = Sessions::new();
        let first = serves(&sessions, "first").await;
        first.failed(&failure(FailureClass::Denied, "s3:ListBucket", "HTTP 403")).await;
        assert_eq!(key(&serves(&sessions, "second").await), "first");
    }

    /// A suspended machine wakes with its clock set forward, while the cache has counted no time.
    #[tokio::test]
    async fn a_session_that_expired_by_the_clock_is_begun_again() {
        let sessions = Sessions::new();
        let past = SystemTime::now() - MINUTE;
        sessions.held.insert("data.orders".into(), session("first", past)).await;
        assert!(!session("first", past).is_current(SystemTime::now()));
        assert_eq!(key(&serves(&sessions, "second").await), "second");
    }
}
