//! AWS as one identity sees it.

use std::sync::Arc;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{IdentityCache, SharedCredentialsProvider};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::Mutex;

use crate::aws::account::AccountClients;
use crate::aws::account::cache::{Buckets, Keys};
use crate::aws::account::credentials::Environment;
use crate::aws::account::rate_limiter::Lane;
use crate::aws::account::sessions::Session;
use crate::iam::Partition;
use crate::iam::arn::account_of_arn;
use crate::replication::{Caller, Failure, FailureClass};

/// A handle on one account as one identity, for as long as a check takes.
#[derive(Clone, Debug)]
pub struct AwsClient {
    account: Arc<AccountClients>,
    identity: CallerIdentity,
}

#[derive(Clone, Debug)]
enum CallerIdentity {
    /// The operator's own, whoever that is just now.
    AmbientIdentity(Arc<AmbientIdentity>),
    /// One that was found to be in the right account.
    Verified { caller: Caller, session: Option<SharedCredentialsProvider> },
}

/// Who the operator is by itself.
#[derive(Debug)]
pub struct AmbientIdentity {
    pub environment: Environment,
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    changes: u64,
    arn: String,
    caller: Caller,
}

impl AmbientIdentity {
    pub fn new(environment: Environment) -> AmbientIdentity {
        AmbientIdentity { environment, known: Mutex::default() }
    }

    /// Who the operator is: asked once for each access key it gets.
    async fn caller(&self, account: &AccountClients) -> Result<(String, Caller), Failure> {
        let mut known = self.known.lock().await;
        let before = self.environment.changes();
        if let Some(Known { arn, caller, .. }) = known.as_ref().filter(|known| known.changes == before) {
            return Ok((arn.clone(), caller.clone()));
        }
        let (arn, caller) = who(account, account.sts().clone()).await?;
        *known = Some(Known { changes: before.max(1), arn: arn.clone(), caller: caller.clone() });
        Ok((arn, caller))
    }
}

/// Asks STS who a client is: the ARN, and the account.
pub async fn who(account: &AccountClients, sts: aws_sdk_sts::Client) -> Result<(String, Caller), Failure> {
    let action = "sts:GetCallerIdentity";
    let request = sts.get_caller_identity().send();
    let answer = account.call(Lane::Sts, action, "the operator", request).await?;
    let arn = answer.arn().unwrap_or_default();
    let id = answer.account().or_else(|| account_of_arn(arn)).map(str::to_owned);
    let id = id.ok_or_else(|| Failure {
        class: FailureClass::Unavailable,
        action: action.into(),
        subject: "the operator".to_owned(),
        code: String::new(),
        detail: "STS named no account".to_owned(),
    })?;
    let partition = Partition::of_region(account.home());
    Ok((arn.to_owned(), Caller { account: id, partition }))
}

/// A client of the account with the credentials of a session in place of its own: the same connections, retries and
/// settings. The cache of identities is left out, which would keep every session for ever.
macro_rules! signed_as {
    ($credentials:expr, $client:expr, $service:ident) => {
        match ($credentials, $client) {
            (None, client) => client,
            (Some(credentials), client) => {
                let config = client.config().to_builder();
                let config =
                    config.credentials_provider(credentials).identity_cache(IdentityCache::no_cache());
                $service::Client::from_conf(config.build())
            }
        }
    };
}

impl AwsClient {
    /// The operator's own identity.
    pub(crate) fn own(account: Arc<AccountClients>, own: Arc<AmbientIdentity>) -> AwsClient {
        AwsClient { account, identity: CallerIdentity::AmbientIdentity(own) }
    }

    /// The operator's own identity, found to be in the right account.
    pub(crate) fn verified(account: Arc<AccountClients>, caller: Caller) -> AwsClient {
        AwsClient { account, identity: CallerIdentity::Verified { caller, session: None } }
    }

    /// A session in a role.
    pub(crate) fn session(account: Arc<AccountClients>, session: &Session) -> AwsClient {
        let partition = Partition::of_region(account.home());
        let caller = Caller { account: session.account.clone(), partition };
        let session = Some(SharedCredentialsProvider::new(session.credentials.clone()));
        AwsClient { account, identity: CallerIdentity::Verified { caller, session } }
    }

    /// Who calls.
    ///
    /// # Errors
    /// When there are no valid credentials or STS cannot be reached.
    pub async fn caller(&self) -> Result<Caller, Failure> {
        self.identity().await.map(|(_, caller)| caller)
    }

    /// Who calls, with the ARN where the identity is the operator's own.
    pub(crate) async fn identity(&self) -> Result<(String, Caller), Failure> {
        match &self.identity {
            CallerIdentity::AmbientIdentity(own) => own.caller(&self.account).await,
            CallerIdentity::Verified { caller, .. } => Ok((String::new(), caller.clone())),
        }
    }

    pub(crate) fn home(&self) -> &str {
        self.account.home()
    }

    pub(crate) fn buckets(&self) -> &Buckets {
        &self.account.buckets
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.account.keys
    }

    pub(crate) fn iam(&self) -> aws_sdk_iam::Client {
        signed_as!(self.credentials(), self.account.iam().clone(), aws_sdk_iam)
    }

    pub(crate) fn sts(&self) -> aws_sdk_sts::Client {
        signed_as!(self.credentials(), self.account.sts().clone(), aws_sdk_sts)
    }

    /// The S3 client of a Region.
    pub(crate) fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        signed_as!(self.credentials(), self.account.s3(region), aws_sdk_s3)
    }

    /// The KMS client of a Region.
    pub(crate) fn kms(&self, region: &str) -> aws_sdk_kms::Client {
        signed_as!(self.credentials(), self.account.kms(region), aws_sdk_kms)
    }

    fn credentials(&self) -> Option<SharedCredentialsProvider> {
        match &self.identity {
            CallerIdentity::AmbientIdentity(_) | CallerIdentity::Verified { session: None, .. } => None,
            CallerIdentity::Verified { session: Some(credentials), .. } => Some(credentials.clone()),
        }
    }

    /// Makes a call.
    pub(crate) fn call<'a, T, E>(
        &'a self,
        lane: Lane,
        action: &'static str,
        subject: &'a str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'a
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.account.call(lane, action, subject, request)
    }
}
