//! Connects resources to AWS: the operator's own identity, and one entry for each `AwsAccount`.
//!
//! In: the accounts that a resource refers to; the rates, the timeout and the attempts of calls. Out:
//! [`ResourceClients`], each verified to be in its account. The SDK's own retries are set here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::IdentityCache;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpClientBuilder, ConnectorBuilder, proxy::ProxyConfig};
use futures::future::try_join_all;
use parking_lot::Mutex;

use crate::api::CallerIdentity;
use crate::aws::account::AccountEntry;
use crate::aws::account::cache::{Buckets, RoleCache};
use crate::aws::account::caller::AmbientIdentity;
use crate::aws::account::client::AwsClient;
use crate::aws::account::clients::AccountClients;
use crate::aws::account::credentials::Environment;
use crate::aws::account::rate_limiter::{RateLimits, Rates, StsLimit};
use crate::aws::metrics::AwsMetrics;
use crate::aws::queue::Queues;
use crate::replication::observed::Read;
use crate::replication::{Account, Accounts, Failure, FailureClass, ResourceId};

/// How calls to AWS are made.
#[derive(Clone, Copy, Debug)]
pub struct CallSettings {
    /// Of each account.
    pub rates: Rates,
    /// How long one attempt of a call may take.
    pub attempt_timeout: Duration,
    /// Attempts of one call; the SDK waits in between.
    pub attempts: u32,
}

/// AWS as one resource sees it: a client for each account that it refers to.
#[derive(Clone, Debug)]
pub struct ResourceClients {
    pub source: AwsClient,
    /// By `accountRef`.
    destinations: BTreeMap<String, AwsClient>,
}

impl ResourceClients {
    /// Adds a client, for what a resource left in an account that it no longer refers to.
    pub fn add(&mut self, account_ref: String, client: AwsClient) {
        self.destinations.insert(account_ref, client);
    }

    /// The client for a bucket: that of its `accountRef`, or of the source where it has none.
    ///
    /// # Errors
    /// [`FailureClass::Denied`] on `action` and `subject` where the operator has no identity in that account. Another
    /// account's identity never takes its place.
    pub(crate) fn client(
        &self,
        account_ref: Option<&str>,
        action: &'static str,
        subject: &str,
    ) -> Read<&AwsClient> {
        let Some(name) = account_ref else { return Ok(&self.source) };
        self.destinations.get(name).ok_or_else(|| {
            let detail = format!(
                "the operator has no identity under AwsAccount {name}, which is gone or no longer trusts it"
            );
            Failure::new(FailureClass::Denied, action, subject, detail)
        })
    }
}

/// Every account that the operator acts in. It keeps clients, limits and sessions for as long as the operator runs.
#[derive(Debug)]
pub struct AwsConnector {
    config: SdkConfig,
    environment: Environment,
    settings: CallSettings,
    metrics: AwsMetrics,
    ambient: Arc<AmbientIdentity>,
    /// By the name of the `AwsAccount`.
    accounts: Mutex<HashMap<String, Arc<AccountEntry>>>,
    /// By account id: AWS limits by account, however many `AwsAccount`s name it.
    limits: Mutex<HashMap<String, Arc<RateLimits>>>,
    sts: StsLimit,
    pub(super) queues: Queues,
}

impl AwsConnector {
    /// From the standard AWS environment: variables, profiles, IRSA, EKS Pod Identity, instance metadata.
    pub async fn from_env(settings: CallSettings, metrics: AwsMetrics) -> Arc<AwsConnector> {
        let environment = Environment::default();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .credentials_provider(environment.clone())
            // The environment has a cache of its own.
            .identity_cache(IdentityCache::no_cache())
            .http_client(http_client())
            .retry_config(RetryConfig::standard().with_max_attempts(settings.attempts))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(settings.attempt_timeout)
                    .operation_attempt_timeout(settings.attempt_timeout)
                    .build(),
            )
            .load()
            .await;
        Arc::new(AwsConnector::new(config, environment, settings, metrics))
    }

    pub(in crate::aws) fn new(
        config: SdkConfig,
        environment: Environment,
        settings: CallSettings,
        metrics: AwsMetrics,
    ) -> AwsConnector {
        let sts = StsLimit::new();
        let limits = Arc::new(RateLimits::new(settings.rates, sts.clone()));
        let clients = AccountClients::new(&config, environment.clone(), "own", limits, metrics.clone());
        let ambient = Arc::new(AmbientIdentity::new(environment.clone(), Arc::new(clients)));
        let (accounts, limits) = (Mutex::default(), Mutex::default());
        let queues = Queues::new(config.clone(), metrics.clone());
        AwsConnector { queues, config, environment, settings, metrics, ambient, accounts, limits, sts }
    }

    /// A client that acts as the operator itself.
    ///
    /// # Errors
    /// When there are no valid credentials, or STS cannot be reached.
    pub async fn ambient(&self) -> Read<AwsClient> {
        let identity = self.ambient.caller_identity().await?;
        Ok(AwsClient::ambient(self.ambient.clients().clone(), identity))
    }

    /// A client for each account that a resource refers to.
    ///
    /// # Errors
    /// When a role cannot be assumed, or an identity is in another account than its `AwsAccount` says.
    pub async fn connect(&self, accounts: &Accounts, id: &ResourceId) -> Read<ResourceClients> {
        let source = async {
            match &accounts.source {
                Some(account) => self.client_in(account, id).await,
                None => self.ambient().await,
            }
        };
        let destinations = try_join_all(
            accounts
                .destinations
                .iter()
                .map(async |(name, account)| Ok((name.clone(), self.client_in(account, id).await?))),
        );
        let (source, destinations) = futures::try_join!(source, destinations)?;
        Ok(ResourceClients { source, destinations: destinations.into_iter().collect() })
    }

    /// A client in one account, in a session named after a resource.
    ///
    /// # Errors
    /// As for [`AwsConnector::connect`].
    pub async fn client_in(&self, account: &Account, id: &ResourceId) -> Read<AwsClient> {
        self.entry(account).client(id).await
    }

    /// The operator's identity in an account, as STS reports it; an answer younger than `max_age` serves again.
    ///
    /// # Errors
    /// When STS does not answer, or names another account than the `AwsAccount` says.
    pub async fn verify(&self, account: &Account, max_age: Duration) -> Read<CallerIdentity> {
        self.entry(account).verify(max_age).await
    }

    /// Whether the operator signs with this key.
    pub fn is_own_access_key(&self, access_key: &str) -> bool {
        self.environment.own_keys().contains(access_key)
    }

    /// The caches of all accounts.
    pub(super) fn caches(&self) -> Vec<(Buckets, RoleCache)> {
        let accounts = self.accounts.lock();
        let of = |clients: &AccountClients| (clients.buckets.clone(), clients.roles.clone());
        let of_accounts = accounts.values().map(|entry| of(entry.clients()));
        of_accounts.chain([of(self.ambient.clients())]).collect()
    }

    /// Forgets an `AwsAccount` that was deleted: a new one of the same name shares nothing with it.
    pub fn forget(&self, name: &str) {
        self.accounts.lock().remove(name);
    }

    /// The entry of an account; a new one when its id or its role has changed.
    fn entry(&self, account: &Account) -> Arc<AccountEntry> {
        let mut accounts = self.accounts.lock();
        if let Some(entry) = accounts.get(&account.name).filter(|entry| entry.is_current(account)) {
            return entry.clone();
        }
        let limits = match &account.spec.assume_role {
            Some(_) => self.limits_of(&account.spec.account_id),
            None => self.ambient.clients().limits(),
        };
        let (environment, metrics) = (self.environment.clone(), self.metrics.clone());
        let clients = AccountClients::new(&self.config, environment, &account.name, limits, metrics);
        let entry = Arc::new(AccountEntry::new(account, &self.ambient, clients));
        accounts.insert(account.name.clone(), entry.clone());
        entry
    }

    fn limits_of(&self, account_id: &str) -> Arc<RateLimits> {
        let new = || Arc::new(RateLimits::new(self.settings.rates, self.sts.clone()));
        self.limits.lock().entry(account_id.to_owned()).or_insert_with(new).clone()
    }
}

/// One HTTP client for all clients of the SDK, so that they share connections and root certificates.
fn http_client() -> impl aws_sdk_s3::config::HttpClient + 'static {
    HttpClientBuilder::new().build_with_connector_fn(|settings, components| {
        let mut connector =
            ConnectorBuilder::default().tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use aws_config::Region;

    use super::*;
    use crate::api::{AssumeRole, AwsAccountSpec};

    fn build_connector() -> AwsConnector {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .build();
        let one = NonZeroU32::MIN;
        let rates = Rates { s3_reads: one, s3_writes: one, iam_reads: one, iam_writes: one };
        let settings = CallSettings { rates, attempt_timeout: Duration::from_secs(1), attempts: 1 };
        AwsConnector::new(config, Environment::default(), settings, AwsMetrics::default())
    }

    fn account(name: &str, id: &str, role: Option<&str>) -> Account {
        let role = role.map(|role| format!("arn:aws:iam::{id}:role/{role}"));
        let assume_role = role.map(|arn| AssumeRole { arn, ..AssumeRole::default() });
        let spec = AwsAccountSpec { account_id: id.to_owned(), assume_role, ..AwsAccountSpec::default() };
        Account { name: name.to_owned(), spec }
    }

    /// AWS counts requests by account: one that has used up its rate holds up no other.
    #[test]
    fn accounts_of_one_id_share_their_rate_limits_and_no_others_do() {
        let connector = build_connector();
        let limits =
            |name: &str, id: &str, role| connector.entry(&account(name, id, role)).clients().limits();
        let prod = limits("prod", "111111111111", Some("operator"));
        assert!(Arc::ptr_eq(&prod, &limits("prod-too", "111111111111", Some("another"))));
        assert!(!Arc::ptr_eq(&prod, &limits("test", "222222222222", Some("operator"))));

        let own = connector.ambient.clients().limits();
        assert!(!Arc::ptr_eq(&prod, &own));
        assert!(Arc::ptr_eq(&own, &limits("own", "333333333333", None)));
    }

    #[test]
    fn no_identity_takes_the_place_of_one_that_is_missing() {
        let connector = build_connector();
        let source = AwsClient::ambient(connector.ambient.clients().clone(), CallerIdentity::default());
        let mut clients = ResourceClients { source: source.clone(), destinations: BTreeMap::new() };
        let client = |clients: &ResourceClients, account| {
            clients.client(account, "s3:GetBucketPolicy", "dr").map(drop).map_err(|failure| failure.class)
        };
        assert_eq!(client(&clients, None), Ok(()));
        assert_eq!(client(&clients, Some("dr")), Err(FailureClass::Denied));
        clients.add("dr".to_owned(), source);
        assert_eq!(client(&clients, Some("dr")), Ok(()));
    }

    #[test]
    fn an_account_with_another_role_or_of_a_deleted_one_begins_again() {
        let connector = build_connector();
        let prod = account("prod", "111111111111", Some("operator"));
        let first = connector.entry(&prod);
        assert!(Arc::ptr_eq(&first, &connector.entry(&prod)));
        let second = connector.entry(&account("prod", "111111111111", Some("another")));
        assert!(!Arc::ptr_eq(&first, &second));
        connector.forget("prod");
        let third = connector.entry(&account("prod", "111111111111", Some("another")));
        assert!(!Arc::ptr_eq(&second, &third));
    }
}
