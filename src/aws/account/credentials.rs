//! The operator's own credentials, by the standard chain of the SDK.
//!
//! In: the environment, its files and endpoints, and each call that AWS refused to these credentials. Out: credentials for
//! the SDK, loaded again before they expire, after a refusal, and after a denial that may be that of a revoked session;
//! and a version that changes with the access key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use tokio::sync::Mutex;

use crate::aws::account::own_keys::OwnKeys;
use crate::aws::account::session_doubts::SessionDoubts;
use crate::replication::{Failure, FailureClass};

/// How long credentials without an expiry serve before they are loaded again.
const STATIC_TTL: Duration = Duration::from_secs(15 * 60);

/// Credentials are renewed this long before they expire.
const MARGIN: Duration = Duration::from_secs(10);

/// Credentials that AWS refuses are loaded again, but not more often than this.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// The standard chain of credentials, built again for each renewal. The SDK's own chain reads a profile file once, so
/// that a Secret that is mounted or rotated later would need a restart; and its cache keeps refused credentials.
#[derive(Clone, Debug, Default)]
pub struct Environment(Arc<CredentialsState>);

#[derive(Debug, Default)]
struct CredentialsState {
    held: Mutex<Option<LoadedCredentials>>,
    refused: AtomicBool,
    version: AtomicU64,
    own_keys: OwnKeys,
    /// By action. All resources share these credentials, and their number must not decide how often they are loaded.
    doubts: SessionDoubts<String>,
}

#[derive(Debug)]
struct LoadedCredentials {
    credentials: Credentials,
    loaded: Instant,
}

impl LoadedCredentials {
    /// Whether these credentials still serve. `refused`: AWS has refused some since they were loaded.
    fn serve(&self, refused: bool, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.loaded);
        let expired = match self.credentials.expiry() {
            Some(expiry) => expiry <= SystemTime::now() + MARGIN,
            None => age >= STATIC_TTL,
        };
        let reload = refused && age >= RELOAD_PAUSE;
        !expired && !reload
    }
}

impl Environment {
    /// The number of changes of the access key. While it stays the same, so does the operator's identity.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// The keys that the operator signs with, those of sessions included.
    pub fn own_keys(&self) -> &OwnKeys {
        &self.0.own_keys
    }

    /// Reports the failure of a call that these credentials signed: they are loaded again before the next call where AWS
    /// refused them. New ones may be there already, of a rotated Secret for example. Those of IRSA, Pod Identity and a node
    /// are a session too, and an administrator may have revoked it.
    pub async fn failed(&self, failure: &Failure, now: Instant) {
        let are_refused = match failure.class {
            FailureClass::Credentials => true,
            FailureClass::Denied => self.0.doubts.arise(failure.action.to_string(), failure, now).await,
            _ => false,
        };
        if are_refused {
            self.0.refused.store(true, Ordering::Release);
        }
    }

    /// Whether the next call loads the credentials again.
    #[cfg(test)]
    pub fn are_refused(&self) -> bool {
        self.0.refused.load(Ordering::Acquire)
    }

    /// The credentials that are held, or those that `load` finds now. Callers that ask at once share one load.
    async fn get(&self, now: Instant, load: impl Future<Output = Result>) -> Result {
        let CredentialsState { held, refused, version, own_keys, doubts: _ } = self.0.as_ref();
        let mut held = held.lock().await;
        let is_refused = refused.load(Ordering::Acquire);
        if let Some(current) = held.as_ref().filter(|held| held.serve(is_refused, now)) {
            return Ok(current.credentials.clone());
        }
        refused.store(false, Ordering::Release);
        let credentials = load.await?;
        let before = held.as_ref().map(|held| held.credentials.access_key_id());
        if before != Some(credentials.access_key_id()) {
            version.fetch_add(1, Ordering::Release);
        }
        own_keys.note(credentials.access_key_id(), credentials.expiry());
        *held = Some(LoadedCredentials { credentials: credentials.clone(), loaded: now });
        Ok(credentials)
    }
}

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let load = async { DefaultCredentialsChain::builder().build().await.provide_credentials().await };
        future::ProvideCredentials::new(self.get(Instant::now(), load))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::account::session_doubts::FIRST_DOUBT;

    /// The key that serves now; `next` is what the chain would find.
    async fn serves(environment: &Environment, next: &str, now: Instant) -> String {
        let found = Credentials::new(next, "secret", None, None, "test");
        environment.get(now, async { Ok(found) }).await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn credentials_that_aws_refuses_are_loaded_again_within_a_second() {
        let (environment, start) = (Environment::default(), Instant::now());
        assert_eq!(serves(&environment, "first", start).await, "first");
        assert_eq!(serves(&environment, "second", start).await, "first");
        environment.failed(&failure(FailureClass::Credentials, "ExpiredToken"), start).await;
        assert_eq!(serves(&environment, "second", start).await, "first", "they were loaded a moment ago");
        let later = start + RELOAD_PAUSE;
        assert_eq!(serves(&environment, "second", later).await, "second");
        assert_eq!(environment.version(), 2);
        assert_eq!(serves(&environment, "third", later + RELOAD_PAUSE).await, "second");
    }

    fn failure(class: FailureClass, code: &str) -> Failure {
        Failure { code: code.to_owned(), ..Failure::new(class, "s3:GetBucketVersioning", "orders", "") }
    }

    fn denied(action: &'static str, code: &str) -> Failure {
        Failure { action: action.into(), ..failure(FailureClass::Denied, code) }
    }

    #[tokio::test]
    async fn credentials_whose_session_may_be_revoked_are_loaded_again_once_per_backoff() {
        let (environment, start) = (Environment::default(), Instant::now());
        serves(&environment, "first", start).await;
        let mut now = start + RELOAD_PAUSE;
        environment.failed(&denied("s3:ListBucket", "HTTP 403"), now).await;
        assert_eq!(serves(&environment, "second", now).await, "first", "a bare status names no reason");
        let read = denied("s3:GetBucketVersioning", "AccessDenied");
        environment.failed(&read, now).await;
        assert_eq!(serves(&environment, "second", now).await, "second");
        now += RELOAD_PAUSE;
        for bucket in ["orders", "copies", "invoices"] {
            let denied = Failure { subject: bucket.to_owned(), ..read.clone() };
            environment.failed(&denied, now).await;
            assert_eq!(serves(&environment, "third", now).await, "second", "new credentials did not help");
        }
        environment.failed(&denied("sts:AssumeRole", "AccessDenied"), now).await;
        assert_eq!(serves(&environment, "third", now).await, "third", "nothing denied it before");
        now += FIRST_DOUBT;
        environment.failed(&read, now).await;
        assert_eq!(serves(&environment, "fourth", now).await, "fourth");
        now += FIRST_DOUBT;
        environment.failed(&read, now).await;
        assert_eq!(serves(&environment, "fifth", now).await, "fourth", "the pause doubles");
    }

    #[tokio::test]
    async fn credentials_without_an_expiry_are_loaded_again_after_a_while() {
        let (environment, start) = (Environment::default(), Instant::now());
        serves(&environment, "first", start).await;
        assert_eq!(serves(&environment, "first", start + STATIC_TTL).await, "first");
        assert_eq!(environment.version(), 1, "the identity is the same");
        assert_eq!(serves(&environment, "second", start + 2 * STATIC_TTL).await, "second");
    }
}
