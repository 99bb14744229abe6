//! Every identity of the operator: its own, and one for each `AwsAccount`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpClientBuilder, ConnectorBuilder, proxy::ProxyConfig};
use futures::future::try_join_all;
use moka::future::Cache;

use crate::api::{AssumeRole, AwsIdentity};
use crate::aws::account::AccountClients;
use crate::aws::account::client::{AmbientIdentity, AwsClient, who};
use crate::aws::account::credentials::Environment;
use crate::aws::account::rate_limiter::{RateLimits, Rates};
use crate::aws::account::sessions::Sessions;
use crate::aws::metrics::Metrics;
use crate::replication::observed::Read;
use crate::replication::{Account, Accounts, Failure, FailureClass, ResourceId};

/// How calls to AWS are made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For each account.
    pub rates: Rates,
    /// How long one try of a call may take.
    pub attempt_timeout: Duration,
    /// Tries of one call; waiting in between is the SDK's.
    pub attempts: u32,
}

/// AWS as one resource sees it: each account it refers to, as the identity the operator has there for it.
#[derive(Clone, Debug)]
pub struct ResourceClients {
    pub source: AwsClient,
    /// By `accountRef`.
    destinations: BTreeMap<String, AwsClient>,
}

impl ResourceClients {
    /// One more identity, for what a resource left in an account that it refers to no longer.
    pub fn also(&mut self, account_ref: String, aws: AwsClient) {
        self.destinations.insert(account_ref, aws);
    }

    /// Whether there is an identity for an `accountRef`.
    pub(crate) fn reaches(&self, account_ref: Option<&str>) -> bool {
        account_ref.is_none_or(|name| self.destinations.contains_key(name))
    }

    /// The identity to act as on a bucket: the one its `accountRef` names, else the source's.
    pub(crate) fn to(&self, account_ref: Option<&str>) -> &AwsClient {
        account_ref.and_then(|name| self.destinations.get(name)).unwrap_or(&self.source)
    }
}

/// All identities. Clients, limits and sessions live here for as long as the operator runs.
#[derive(Debug)]
pub struct AwsConnector {
    config: SdkConfig,
    settings: Settings,
    metrics: Metrics,
    own: Arc<AmbientIdentity>,
    own_clients: Arc<AccountClients>,
    /// By the name of the `AwsAccount`.
    assumed: Mutex<HashMap<String, Arc<AccountEntry>>>,
    /// By account id: AWS counts by account, however many `AwsAccount`s there are for one.
    limits: Mutex<HashMap<String, Arc<RateLimits>>>,
}

/// What the operator is in the account of one `AwsAccount`.
#[derive(Debug)]
struct AccountEntry {
    account_id: String,
    role: Option<AssumeRole>,
    clients: Arc<AccountClients>,
    sessions: Sessions,
    /// STS said once that this identity is in the right account. Those who ask at once wait for one answer, whatever
    /// it is.
    verified: Cache<(), AwsIdentity>,
}

impl AwsConnector {
    /// From the standard AWS environment: variables, profiles, IRSA, Pod Identity, instance metadata.
    pub async fn from_env(settings: Settings, metrics: Metrics) -> Arc<AwsConnector> {
        let environment = Environment::default();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .credentials_provider(environment.clone())
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
        let limits = Arc::new(RateLimits::new(settings.rates));
        let own_clients = Arc::new(AccountClients::new(&config, "own", limits, metrics.clone()));
        let own = Arc::new(AmbientIdentity::new(environment));
        let (assumed, limits) = (Mutex::default(), Mutex::default());
        Arc::new(AwsConnector { config, settings, metrics, own, own_clients, assumed, limits })
    }

    /// The operator by itself.
    pub fn own(&self) -> AwsClient {
        AwsClient::own(self.own_clients.clone(), self.own.clone())
    }

    /// The identities for a resource. Each is found to be in the account it should be in before it is given out.
    ///
    /// # Errors
    /// When a role cannot be assumed, or an identity is in another account than its `AwsAccount` says.
    pub async fn access(&self, accounts: &Accounts, identity: &ResourceId) -> Read<ResourceClients> {
        let source = async {
            match &accounts.source {
                Some(account) => self.in_account(account, identity).await,
                None => Ok(self.own()),
            }
        };
        let destinations = try_join_all(
            accounts
                .destinations
                .iter()
                .map(async |(name, account)| Ok((name.clone(), self.in_account(account, identity).await?))),
        );
        let (source, destinations) = futures::try_join!(source, destinations)?;
        Ok(ResourceClients { source, destinations: destinations.into_iter().collect() })
    }

    /// The identity in one account, in a session named after a resource.
    pub async fn in_account(&self, account: &Account, identity: &ResourceId) -> Read<AwsClient> {
        let assumed = self.assumed(account);
        self.first_verification(account, &assumed).await?;
        let Some(role) = &assumed.role else {
            // Cached, unless the operator's own credentials have changed.
            let (arn, caller) = self.own().identity().await?;
            check(account, &caller.account, &arn)?;
            return Ok(AwsClient::verified(assumed.clients.clone(), caller));
        };
        let name = identity.session_name(role.session_name.as_deref());
        let session = assumed.sessions.get(&name, role, &assumed.clients).await?;
        check(account, &session.account, &session.arn)?;
        Ok(AwsClient::session(assumed.clients.clone(), &session))
    }

    /// Asks STS who the operator is in an account, now.
    ///
    /// # Errors
    /// When that cannot be told, or it is another account than the `AwsAccount` says.
    pub async fn verify(&self, account: &Account) -> Read<AwsIdentity> {
        self.ask(account, &self.assumed(account)).await
    }

    /// Forgets what is no longer there: an `AwsAccount` made anew under the same name begins anew.
    pub fn forget(&self, name: &str) {
        self.assumed.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    async fn first_verification(&self, account: &Account, assumed: &AccountEntry) -> Read<()> {
        let asked = assumed.verified.try_get_with((), self.ask(account, assumed)).await;
        asked.map(drop).map_err(|failure| (*failure).clone())
    }

    async fn ask(&self, account: &Account, assumed: &AccountEntry) -> Read<AwsIdentity> {
        let (arn, caller) = match &assumed.role {
            None => self.own().identity().await?,
            Some(role) => {
                let name = ResourceId::of_account(&account.name).session_name(role.session_name.as_deref());
                let session = assumed.sessions.get(&name, role, &assumed.clients).await?;
                let aws = AwsClient::session(assumed.clients.clone(), &session);
                who(&assumed.clients, aws.sts()).await?
            }
        };
        check(account, &caller.account, &arn)?;
        Ok(AwsIdentity { arn, account_id: caller.account })
    }

    /// Made anew when who the operator is to be there has changed.
    fn assumed(&self, account: &Account) -> Arc<AccountEntry> {
        let spec = &account.spec;
        let mut all = self.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |a: &&Arc<AccountEntry>| a.account_id == spec.account_id && a.role == spec.assume_role;
        if let Some(assumed) = all.get(&account.name).filter(same) {
            return assumed.clone();
        }
        let limits = match &spec.assume_role {
            Some(_) => self.limits_of(&spec.account_id),
            None => self.own_clients.limits(),
        };
        let clients = AccountClients::new(&self.config, &account.name, limits, self.metrics.clone());
        let assumed = Arc::new(AccountEntry {
            account_id: spec.account_id.clone(),
            role: spec.assume_role.clone(),
            clients: Arc::new(clients),
            sessions: Sessions::new(),
            verified: Cache::new(1),
        });
        all.insert(account.name.clone(), assumed.clone());
        assumed
    }

    fn limits_of(&self, account_id: &str) -> Arc<RateLimits> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RateLimits::new(self.settings.rates));
        limits.entry(account_id.to_owned()).or_insert_with(new).clone()
    }
}

/// Another account than an administrator wrote down is not the one that its rules were made for.
fn check(account: &Account, found: &str, arn: &str) -> Read<()> {
    let Account { name, spec } = account;
    if found == spec.account_id {
        return Ok(());
    }
    Err(Failure {
        class: FailureClass::WrongAccount,
        action: "sts:GetCallerIdentity".into(),
        subject: name.clone(),
        code: String::new(),
        detail: format!("it is {arn}, in account {found}, and spec.accountId is {}", spec.account_id),
    })
}

/// As the SDK makes its own, but one for all clients: they share connections and root certificates.
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
    use crate::api::AwsAccountSpec;

    fn identities() -> AwsConnector {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .build();
        let one = NonZeroU32::MIN;
        let rates = Rates { s3_reads: one, s3_writes: one, iam_reads: one, iam_writes: one };
        let settings = Settings { rates, attempt_timeout: Duration::from_secs(1), attempts: 1 };
        let clients =
            AccountClients::new(&config, "own", Arc::new(RateLimits::new(rates)), Metrics::default());
        AwsConnector {
            config,
            settings,
            metrics: Metrics::default(),
            own: Arc::new(AmbientIdentity::new(Environment::default())),
            own_clients: Arc::new(clients),
            assumed: Mutex::default(),
            limits: Mutex::default(),
        }
    }

    fn account(name: &str, id: &str, role: Option<&str>) -> Account {
        let role = role.map(|role| format!("arn:aws:iam::{id}:role/{role}"));
        let assume_role = role.map(|arn| AssumeRole { arn, ..AssumeRole::default() });
        let spec = AwsAccountSpec { account_id: id.to_owned(), assume_role, ..AwsAccountSpec::default() };
        Account { name: name.to_owned(), spec }
    }

    /// AWS counts requests by account: one that has used up its rate holds up no other.
    #[test]
    fn accounts_share_their_rate_limits_by_id_and_with_no_other() {
        let identities = identities();
        let limits =
            |name: &str, id: &str, role| identities.assumed(&account(name, id, role)).clients.limits();
        let prod = limits("prod", "111111111111", Some("operator"));
        assert!(Arc::ptr_eq(&prod, &limits("prod-too", "111111111111", Some("another"))));
        assert!(!Arc::ptr_eq(&prod, &limits("test", "222222222222", Some("operator"))));

        let own = identities.own_clients.limits();
        assert!(!Arc::ptr_eq(&prod, &own));
        assert!(Arc::ptr_eq(&own, &limits("own", "333333333333", None)));
    }
}
