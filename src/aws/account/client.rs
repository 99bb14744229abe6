//! The client with which one resource calls AWS in one account, as one identity.
//!
//! In: the SDK clients of the account, and the session that signs; without a session the operator's own credentials
//! sign. Out: an SDK client of a service and Region for that identity, and the answers of its calls. A session that AWS
//! no longer accepts is dropped.

use std::sync::Arc;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{IdentityCache, SharedCredentialsProvider};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::api::CallerIdentity;
use crate::aws::account::cache::{Buckets, Keys, RoleCache};
use crate::aws::account::clients::AccountClients;
use crate::aws::account::operation::Operation;
use crate::aws::account::sessions::HeldSession;
use crate::iam::Partition;
use crate::replication::{Caller, Failure};

/// A handle on one account as one identity, for as long as a check takes.
#[derive(Clone, Debug)]
pub struct AwsClient {
    clients: Arc<AccountClients>,
    identity: CallerIdentity,
    /// The session that signs; `None`: the operator's own credentials do.
    session: Option<SigningSession>,
}

/// A session, and where to report that AWS no longer accepts it.
#[derive(Clone, Debug)]
struct SigningSession {
    credentials: SharedCredentialsProvider,
    held: HeldSession,
}

/// A client of the account that signs with the credentials of a session: it shares connections, retries and settings.
/// It has no cache of identities, which would keep every session forever.
macro_rules! signed_as {
    ($session:expr, $client:expr, $service:ident) => {
        match ($session, $client) {
            (None, client) => client,
            (Some(session), client) => {
                let config = client.config().to_builder();
                let config = config
                    .credentials_provider(session.credentials.clone())
                    .identity_cache(IdentityCache::no_cache());
                $service::Client::from_conf(config.build())
            }
        }
    };
}

impl AwsClient {
    /// A client that signs with the operator's own credentials.
    pub(crate) fn ambient(clients: Arc<AccountClients>, identity: CallerIdentity) -> AwsClient {
        AwsClient { clients, identity, session: None }
    }

    /// A client that signs with the credentials of a session.
    pub(crate) fn session(clients: Arc<AccountClients>, held: HeldSession) -> AwsClient {
        let credentials = SharedCredentialsProvider::new(held.session.credentials.clone());
        let identity = held.session.identity.clone();
        AwsClient { clients, identity, session: Some(SigningSession { credentials, held }) }
    }

    /// The account that the calls are made in, and the partition of the environment's Region.
    pub fn caller(&self) -> Caller {
        let partition = Partition::of_region(self.home());
        Caller { account: self.identity.account_id.clone(), partition }
    }

    pub(crate) fn home(&self) -> &str {
        self.clients.home()
    }

    pub(crate) fn buckets(&self) -> &Buckets {
        &self.clients.buckets
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.clients.keys
    }

    pub(crate) fn roles(&self) -> &RoleCache {
        &self.clients.roles
    }

    pub(crate) fn iam(&self) -> aws_sdk_iam::Client {
        signed_as!(&self.session, self.clients.iam().clone(), aws_sdk_iam)
    }

    pub(crate) fn sts(&self) -> aws_sdk_sts::Client {
        signed_as!(&self.session, self.clients.sts().clone(), aws_sdk_sts)
    }

    /// The S3 client of a Region.
    pub(crate) fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        signed_as!(&self.session, self.clients.s3(region), aws_sdk_s3)
    }

    /// The KMS client of a Region.
    pub(crate) fn kms(&self, region: &str) -> aws_sdk_kms::Client {
        signed_as!(&self.session, self.clients.kms(region), aws_sdk_kms)
    }

    /// The CloudWatch client of a Region.
    pub(crate) fn cloudwatch(&self, region: &str) -> aws_sdk_cloudwatch::Client {
        signed_as!(&self.session, self.clients.cloudwatch(region), aws_sdk_cloudwatch)
    }

    /// The S3 Control client of a Region.
    pub(crate) fn s3control(&self, region: &str) -> aws_sdk_s3control::Client {
        signed_as!(&self.session, self.clients.s3control(region), aws_sdk_s3control)
    }

    /// Makes a call, as [`AccountClients::call`] does, and drops the session, or loads the operator's own credentials again,
    /// where AWS no longer accepts them.
    pub(crate) fn call<'a, T, E>(
        &'a self,
        operation: Operation<'a>,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'a
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let call = self.clients.call(operation, request);
        async move {
            let result = call.await;
            if let Err(failure) = &result {
                // In a box, because it is rare: otherwise the future of each call would have room for it.
                Box::pin(self.failed(failure)).await;
            }
            result
        }
    }

    /// Reports the failure of a call to the session, or to the operator's own credentials, that signed it.
    async fn failed(&self, failure: &Failure) {
        match &self.session {
            Some(session) => session.held.failed(failure).await,
            None => self.clients.own_credentials_failed(failure).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use aws_config::{BehaviorVersion, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::get_bucket_versioning::GetBucketVersioningError;
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;
    use crate::aws::account::credentials::Environment;
    use crate::aws::account::rate_limiter::{RateLimits, Rates, StsLimit};
    use crate::aws::account::sessions::{Session, Sessions};
    use crate::aws::metrics::AwsMetrics;

    async fn call_that_fails(client: &AwsClient, (status, code): (u16, &str)) {
        let answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        let refusal = GetBucketVersioningError::generic(ErrorMetadata::builder().code(code).build());
        let answer = Err::<(), _>(SdkError::service_error(refusal, answer));
        let operation = Operation::s3_read("us-east-1", "s3:GetBucketVersioning", "orders");
        client.call(operation, std::future::ready(answer)).await.unwrap_err();
    }

    /// A client with a session of its own would have the credentials of the whole operator loaded again for nothing.
    #[tokio::test]
    async fn only_calls_that_the_own_credentials_sign_have_them_loaded_again() {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        let rate = NonZeroU32::MIN.saturating_add(99);
        let rates = Rates { s3_reads: rate, s3_writes: rate, iam_reads: rate, iam_writes: rate };
        for (answer, are_refused) in [
            ((403, "AccessDenied"), true),
            ((400, "ExpiredToken"), true),
            ((403, ""), false),
            ((404, "NoSuchBucket"), false),
            ((503, "SlowDown"), false),
        ] {
            let environment = Environment::default();
            let limits = Arc::new(RateLimits::new(rates, StsLimit::new()));
            let metrics = AwsMetrics::default();
            let clients = Arc::new(AccountClients::new(&config, environment.clone(), "own", limits, metrics));
            let session = Session {
                credentials: Credentials::new("session", "secret", None, None, "test"),
                identity: CallerIdentity::default(),
            };
            let held = Sessions::new().get_or("data.orders", async { Ok(session) }).await.unwrap();
            call_that_fails(&AwsClient::session(clients.clone(), held), answer).await;
            assert!(!environment.are_refused(), "{answer:?} to a session");
            call_that_fails(&AwsClient::ambient(clients, CallerIdentity::default()), answer).await;
            assert_eq!(environment.are_refused(), are_refused, "{answer:?}");
        }
    }
}
