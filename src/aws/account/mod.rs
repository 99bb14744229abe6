//! The life of one AWS account: the operator's identity there, its sessions, and the clients that all resources of
//! the account share.
//!
//! In: an `AwsAccount`, or nothing for the operator's own identity. Out: an [`AwsClient`] per resource, verified to
//! be in the right account. Accounts share nothing but the rate limits of one account id, so that one account's
//! troubles are its own.

pub mod cache;
pub mod caller;
pub mod circuit_breaker;
pub mod client;
pub mod clients;
pub mod control_endpoint;
pub mod credentials;
pub mod operation;
pub mod own_keys;
pub mod rate_limiter;
pub mod session_doubts;
pub mod sessions;

use std::sync::Arc;
use std::time::Duration;

use crate::api::{AssumeRole, CallerIdentity};
use crate::aws::account::caller::{AmbientIdentity, CallerCache, get_caller_identity};
use crate::aws::account::client::AwsClient;
use crate::aws::account::clients::AccountClients;
use crate::aws::account::sessions::Sessions;
use crate::replication::failure::identity_elsewhere;
use crate::replication::observed::Read;
use crate::replication::{Account, Failure, FailureClass, ResourceId};

/// One account that the operator acts in.
#[derive(Debug)]
pub struct AccountEntry {
    /// The name of the `AwsAccount`.
    name: String,
    /// The account id that an administrator wrote down.
    account_id: String,
    identity: Identity,
    clients: Arc<AccountClients>,
}

/// As whom the operator acts in the account.
#[derive(Debug)]
enum Identity {
    /// As itself.
    Ambient(Arc<AmbientIdentity>),
    /// In sessions of a role.
    Role(Box<RoleIdentity>),
}

/// A role, its sessions, and the identity that STS reports for them.
#[derive(Debug)]
struct RoleIdentity {
    role: AssumeRole,
    sessions: Sessions,
    callers: CallerCache,
}

impl AccountEntry {
    /// An account as its `AwsAccount` describes it; `ambient` is the identity where it names no role.
    pub fn new(account: &Account, ambient: &Arc<AmbientIdentity>, clients: AccountClients) -> AccountEntry {
        let identity = match &account.spec.assume_role {
            None => Identity::Ambient(ambient.clone()),
            Some(role) => Identity::Role(Box::new(RoleIdentity {
                role: role.clone(),
                sessions: Sessions::new(),
                callers: CallerCache::new(),
            })),
        };
        let (name, account_id) = (account.name.clone(), account.spec.account_id.clone());
        AccountEntry { name, account_id, identity, clients: Arc::new(clients) }
    }

    /// Whether this is still what the `AwsAccount` says.
    pub fn is_current(&self, account: &Account) -> bool {
        let role = match &self.identity {
            Identity::Ambient(_) => None,
            Identity::Role(held) => Some(&held.role),
        };
        self.account_id == account.spec.account_id && role == account.spec.assume_role.as_ref()
    }

    pub fn clients(&self) -> &AccountClients {
        &self.clients
    }

    /// A client for one resource: the operator itself, or a session named after the resource.
    ///
    /// # Errors
    /// When the role cannot be assumed, or the identity is in another account than the `AwsAccount` says.
    pub async fn client(&self, id: &ResourceId) -> Read<AwsClient> {
        let verified = self.verify(Duration::MAX).await?;
        let Identity::Role(held) = &self.identity else {
            return Ok(AwsClient::ambient(self.clients.clone(), verified));
        };
        let RoleIdentity { role, sessions, .. } = held.as_ref();
        let name = id.session_name(role.session_name.as_deref());
        let held = sessions.get(&name, role, &self.clients).await?;
        self.require_account(held.session.identity.clone())?;
        Ok(AwsClient::session(self.clients.clone(), held))
    }

    /// The operator's identity in the account as STS reports it; an answer younger than `max_age` is not asked for
    /// again. The operator's own identity is asked for once for each access key that it gets.
    ///
    /// # Errors
    /// When STS does not answer, or names another account than the `AwsAccount` says.
    pub async fn verify(&self, max_age: Duration) -> Read<CallerIdentity> {
        match &self.identity {
            Identity::Ambient(ambient) => self.require_account(ambient.caller_identity().await?),
            Identity::Role(held) => {
                let RoleIdentity { role, sessions, callers } = held.as_ref();
                let name = ResourceId::of_account(&self.name).session_name(role.session_name.as_deref());
                let ask = async {
                    let held = sessions.get(&name, role, &self.clients).await?;
                    let client = AwsClient::session(self.clients.clone(), held);
                    // An identity in another account is a failure, and the cache holds no failures: every check
                    // asks again until an administrator has corrected the account.
                    self.require_account(get_caller_identity(&client).await?)
                };
                callers.get(0, max_age, ask).await
            }
        }
    }

    /// An administrator's rules were made for the account that the `AwsAccount` names, and for no other.
    fn require_account(&self, identity: CallerIdentity) -> Read<CallerIdentity> {
        if identity.account_id == self.account_id {
            return Ok(identity);
        }
        let CallerIdentity { arn, account_id } = identity;
        Err(Failure::new(
            FailureClass::WrongAccount,
            "sts:GetCallerIdentity",
            &self.name,
            identity_elsewhere(&arn, &account_id, &self.account_id),
        ))
    }
}
