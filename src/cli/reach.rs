//! Connects to the accounts that a subcommand reads as a whole: those of the cluster's `AwsAccount`s, or that of the
//! environment where there is none.
//!
//! In: the `AwsAccount`s. Out: a client for each account id, or why there is none. An account that cannot be reached is
//! unknown, and is reported as such.

use std::collections::BTreeMap;

use clap::Args;
use futures::future::join_all;
use kube::ResourceExt;

use crate::api::AwsAccount;
use crate::aws::{AwsClient, AwsConnector, ResourceClients};
use crate::replication::{Account, Accounts, ResourceId};

/// Which accounts to read.
#[derive(Clone, Debug, Default, Args)]
pub struct AccountsArgs {
    /// AwsAccount to read, by its name or account id; may be repeated; absent: all of the cluster, or the AWS identity of
    /// the environment if there is none
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("no AwsAccount has the name or the account id {0}; to list them: kubectl get awsaccounts")]
pub struct NoSuchAccount(String);

impl AccountsArgs {
    /// Those of the cluster's accounts that are to be read.
    ///
    /// # Errors
    /// When one that was named is not there.
    pub fn choose(&self, mut all: Vec<AwsAccount>) -> Result<Vec<AwsAccount>, NoSuchAccount> {
        let is = |account: &AwsAccount, name: &String| {
            account.name_any() == *name || account.spec.account_id == *name
        };
        if let Some(missing) = self.accounts.iter().find(|name| !all.iter().any(|account| is(account, name)))
        {
            return Err(NoSuchAccount(missing.clone()));
        }
        all.retain(|account| self.accounts.is_empty() || self.accounts.iter().any(|name| is(account, name)));
        Ok(all)
    }
}

/// An account, and how it is reached.
pub struct Reached {
    /// The name of the `AwsAccount`; `None`: the AWS identity of the environment.
    pub name: Option<String>,
    pub account_id: String,
    /// Why it cannot be reached.
    pub clients: Result<ResourceClients, String>,
}

impl Reached {
    /// The client for reads.
    pub fn client(&self) -> Result<&AwsClient, &str> {
        self.clients.as_ref().map(|clients| &clients.source).map_err(String::as_str)
    }
}

/// A client for each account id. Where several `AwsAccount`s have the same, the first that can be reached serves.
pub async fn reach(connector: &AwsConnector, accounts: &[AwsAccount]) -> Vec<Reached> {
    if accounts.is_empty() {
        let clients = connector.connect(&Accounts::default(), &ResourceId::of_account("environment")).await;
        let account_id = clients.as_ref().map(|clients| clients.source.caller().account);
        return vec![Reached {
            name: None,
            account_id: account_id.unwrap_or_else(|_| "the account of the environment".to_owned()),
            clients: clients.map_err(|failure| failure.message()),
        }];
    }
    let connected = join_all(accounts.iter().map(async |account| {
        let account = Account { name: account.name_any(), spec: account.spec.clone() };
        let id = ResourceId::of_account(&account.name);
        let (name, account_id) = (account.name.clone(), account.spec.account_id.clone());
        let accounts = Accounts { source: Some(account), ..Accounts::default() };
        let clients = connector.connect(&accounts, &id).await.map_err(|failure| failure.message());
        Reached { name: Some(name), account_id, clients }
    }));
    let mut by_id: BTreeMap<String, Reached> = BTreeMap::new();
    for reached in connected.await {
        let held = by_id.get(&reached.account_id);
        if held.is_none_or(|held| held.clients.is_err() && reached.clients.is_ok()) {
            by_id.insert(reached.account_id.clone(), reached);
        }
    }
    by_id.into_values().collect()
}
