//! Connects to the accounts that a subcommand reads as a whole: those of the cluster's `AwsAccount`s, or that of the
//! environment where there is none.
//!
//! In: the `AwsAccount`s. Out: a client for each account id, or why there is none. An account that cannot be reached is
//! unknown, and is reported as such.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use futures::future::join_all;

use crate::api::AwsAccount;
use crate::aws::{AwsClient, AwsConnector, ResourceClients};
use crate::cli::aws_failure::explain;
use crate::cli::kubernetes::FoundObject;
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
    /// The accounts that were named.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().map(String::as_str)
    }

    /// Those of the cluster's accounts that are to be read.
    ///
    /// # Errors
    /// When one that was named is not there.
    pub fn choose(
        &self,
        mut all: Vec<FoundObject<AwsAccount>>,
    ) -> Result<Vec<FoundObject<AwsAccount>>, NoSuchAccount> {
        let is = |FoundObject { metadata, object }: &FoundObject<AwsAccount>, name: &String| {
            let has_id = object.as_ref().is_ok_and(|account| account.spec.account_id == *name);
            has_id || metadata.name.as_ref() == Some(name)
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
    /// The paths that its `AwsAccount`s impose on roles.
    pub role_paths: BTreeSet<String>,
    /// Why it cannot be reached.
    pub clients: Result<ResourceClients, String>,
}

impl Reached {
    /// The client for reads.
    pub fn client(&self) -> Result<&AwsClient, &str> {
        self.clients.as_ref().map(|clients| &clients.source).map_err(String::as_str)
    }
}

/// An account as a message names it. It may have no id that is known.
pub fn title(account_id: &str) -> String {
    let is_id = account_id.bytes().all(|byte| byte.is_ascii_digit());
    if is_id { format!("account {account_id}") } else { account_id.to_owned() }
}

/// A client for each account id. Where several `AwsAccount`s have the same, the first that can be reached serves. One that
/// cannot be decoded has no known account id, and is returned as one that cannot be reached.
pub async fn reach(connector: &AwsConnector, accounts: &[FoundObject<AwsAccount>]) -> Vec<Reached> {
    if accounts.is_empty() {
        let clients = connector.connect(&Accounts::default(), &ResourceId::of_account("environment")).await;
        let account_id = clients.as_ref().map(|clients| clients.source.caller().account);
        return vec![Reached {
            name: None,
            role_paths: BTreeSet::new(),
            account_id: account_id.unwrap_or_else(|_| "the account of the environment".to_owned()),
            clients: clients.map_err(|failure| explain(&failure)),
        }];
    }
    let connected = join_all(accounts.iter().map(async |FoundObject { metadata, object }| {
        let name = metadata.name.clone().unwrap_or_default();
        match object {
            Ok(account) => reach_one(connector, name, account).await,
            Err(odd) => undecodable(name, &odd.message),
        }
    }));
    let mut by_id: BTreeMap<String, Reached> = BTreeMap::new();
    for mut reached in connected.await {
        let held = by_id.remove(&reached.account_id);
        if let Some(mut held) = held {
            if held.clients.is_err() && reached.clients.is_ok() {
                std::mem::swap(&mut held, &mut reached);
            }
            held.role_paths.append(&mut reached.role_paths);
            reached = held;
        }
        by_id.insert(reached.account_id.clone(), reached);
    }
    by_id.into_values().collect()
}

async fn reach_one(connector: &AwsConnector, name: String, account: &AwsAccount) -> Reached {
    let account = Account { name, spec: account.spec.clone() };
    let id = ResourceId::of_account(&account.name);
    let (name, account_id) = (account.name.clone(), account.spec.account_id.clone());
    let role_paths = account.spec.roles.iter().filter_map(|roles| roles.path.clone()).collect();
    let accounts = Accounts { source: Some(account), ..Accounts::default() };
    let clients = connector.connect(&accounts, &id).await.map_err(|failure| explain(&failure));
    Reached { name: Some(name), account_id, role_paths, clients }
}

fn undecodable(name: String, message: &str) -> Reached {
    Reached {
        account_id: format!("the account of AwsAccount {name}"),
        clients: Err(format!("this version cannot decode AwsAccount {name}: {message}")),
        name: Some(name),
        role_paths: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::*;
    use crate::cli::kubernetes::Undecodable;

    fn odd(name: &str) -> FoundObject<AwsAccount> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let message = "spec: from another version".to_owned();
        FoundObject { metadata, object: Err(Undecodable { message, spec: serde_json::Value::Null }) }
    }

    #[tokio::test]
    async fn an_account_that_cannot_be_decoded_is_unknown_and_not_that_of_the_environment() {
        let settings = crate::aws::CallSettings {
            rates: crate::aws::Rates {
                s3_reads: std::num::NonZeroU32::MIN,
                s3_writes: std::num::NonZeroU32::MIN,
                iam_reads: std::num::NonZeroU32::MIN,
                iam_writes: std::num::NonZeroU32::MIN,
            },
            attempt_timeout: std::time::Duration::from_secs(1),
            attempts: 1,
        };
        let connector = AwsConnector::from_env(settings, crate::aws::AwsMetrics::default()).await;
        let chosen = AccountsArgs::default().choose(vec![odd("backup")]).unwrap();
        let reached = reach(&connector, &chosen).await;
        let [one] = reached.as_slice() else { panic!("{}", reached.len()) };
        assert_eq!(one.name.as_deref(), Some("backup"));
        let why = one.client().err().unwrap();
        assert!(why.contains("AwsAccount backup") && why.contains("another version"), "{why}");
    }

    #[test]
    fn an_account_that_cannot_be_decoded_is_chosen_by_its_name() {
        let args = AccountsArgs { accounts: vec!["backup".to_owned()] };
        assert_eq!(args.choose(vec![odd("backup"), odd("other")]).unwrap().len(), 1);
        assert!(args.choose(vec![odd("other")]).is_err());
    }
}
