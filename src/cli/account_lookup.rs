//! Finds the `AwsAccount`s of a resource for subcommands that read files.
//!
//! In: the manifests, and the flags that name a cluster. Out: the `AwsAccount`s of a resource, or a refusal. An
//! `AwsAccount` that a resource names and no file contains is read from the cluster.
//!
//! The one named `default` is read from the cluster only where a flag names a cluster, so that `plan` works without one and
//! does not depend on the current context of a kubeconfig.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};

use crate::api::{AwsAccount, BucketReplication, BucketReplicationSpec, DEFAULT_ACCOUNT};
use crate::cli::kubernetes::{ClusterArgs, explained};
use crate::cli::manifests::{Manifests, resource_id};
use crate::replication::authorize::accounts::WithoutAccount;
use crate::replication::authorize::{labels_matter, refusals, require_namespace};
use crate::replication::{Account, Accounts, Refusal, Replication};

#[derive(Debug, thiserror::Error)]
pub enum AccountLookupError {
    #[error(
        "AwsAccount {name} is in none of the files and cannot be read from a cluster: {message}; add it to the files (kubectl get awsaccount {name} -o yaml)"
    )]
    NoCluster { name: String, message: String },
    #[error("no AwsAccount has the name or the account id {0}; to list them: kubectl get awsaccounts")]
    NotFound(String),
    #[error("the AwsAccounts {1} all have the account id {0}; give the name of one")]
    Ambiguous(String, String),
}

/// The `AwsAccount`s and the labels of namespaces that are known so far.
#[derive(Default)]
pub struct AccountLookup {
    accounts: BTreeMap<String, Account>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    flags: ClusterArgs,
    cluster: Option<Client>,
    has_not_asked: bool,
}

impl AccountLookup {
    /// `flags`: the cluster to read what the manifests do not contain.
    pub fn new(manifests: &Manifests, flags: &ClusterArgs) -> AccountLookup {
        AccountLookup {
            accounts: manifests.accounts.iter().map(|a| (a.name.clone(), a.clone())).collect(),
            namespaces: manifests.namespaces.clone(),
            flags: flags.clone(),
            cluster: None,
            has_not_asked: false,
        }
    }

    /// The `AwsAccount`s of a resource, or every refusal if they do not allow it.
    pub async fn accounts_of(
        &mut self,
        resource: &BucketReplication,
    ) -> Result<Result<Accounts, Vec<Refusal>>, AccountLookupError> {
        for name in named(&resource.spec) {
            self.look_up(name).await?;
        }
        if resource.spec.source.account_ref.is_none() {
            self.look_up_default().await?;
        }
        let lookup = |name: &str| Ok(self.accounts.get(name).cloned());
        let accounts = match Accounts::resolve(&resource.spec, lookup, WithoutAccount::Unrestricted) {
            Ok(accounts) => accounts,
            Err(refusal) => return Ok(Err(vec![refusal])),
        };
        let id = resource_id(resource);
        if labels_matter(&accounts) {
            self.look_up_namespace(&id.namespace).await?;
        }
        let labels = self.namespaces.get(&id.namespace);
        let status = resource.status.clone().unwrap_or_default();
        let replication = Replication { spec: &resource.spec, status: &status, id: &id, accounts: &accounts };
        let refused = refusals(&replication, labels);
        Ok(if refused.is_empty() { Ok(accounts) } else { Err(refused) })
    }

    /// The `AwsAccount` with this name or account id.
    pub async fn account(&mut self, name: &str) -> Result<Account, AccountLookupError> {
        let is_id = name.len() == 12 && name.bytes().all(|b| b.is_ascii_digit());
        if !is_id {
            self.look_up(name).await?;
            return self
                .accounts
                .get(name)
                .cloned()
                .ok_or_else(|| AccountLookupError::NotFound(name.to_owned()));
        }
        if !self.accounts.values().any(|account| account.spec.account_id == name) {
            let accounts: Api<DeserializeGuard<AwsAccount>> = Api::all(self.client(name).await?);
            let listed =
                accounts.list(&Default::default()).await.map_err(|e| no_cluster(name, explained(&e)))?;
            // An account that cannot be read must not hide the others.
            let readable = listed.items.into_iter().filter_map(|guarded| guarded.0.ok());
            let listed = readable.map(|a| (a.name_any(), known(a)));
            self.accounts.extend(listed);
        }
        let mut found: Vec<&Account> = self.accounts.values().filter(|a| a.spec.account_id == name).collect();
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(AccountLookupError::NotFound(name.to_owned())),
            (Some(one), true) => Ok(one.clone()),
            (Some(one), false) => {
                let names: Vec<&str> =
                    found.iter().map(|a| a.name.as_str()).chain([one.name.as_str()]).collect();
                Err(AccountLookupError::Ambiguous(name.to_owned(), names.join(", ")))
            }
        }
    }

    /// Why a namespace may not use an account, as far as its labels are known.
    pub async fn namespace_refusal(&mut self, account: &Account, namespace: &str) -> Option<Refusal> {
        let accounts = Accounts { source: Some(account.clone()), ..Accounts::default() };
        if labels_matter(&accounts) {
            // Labels that cannot be read are unknown, which the refusal says.
            let _ = self.look_up_namespace(namespace).await;
        }
        require_namespace(namespace, self.namespaces.get(namespace), account).err()
    }

    /// Whether an `AwsAccount` of the cluster may apply to a resource so far, and nobody asked the cluster for it.
    pub fn has_not_asked(&self) -> bool {
        self.has_not_asked
    }

    async fn look_up_default(&mut self) -> Result<(), AccountLookupError> {
        if self.flags.is_given() {
            return self.look_up(DEFAULT_ACCOUNT).await;
        }
        self.has_not_asked |= !self.accounts.contains_key(DEFAULT_ACCOUNT);
        Ok(())
    }

    async fn look_up(&mut self, name: &str) -> Result<(), AccountLookupError> {
        if self.accounts.contains_key(name) {
            return Ok(());
        }
        let found = self.api(name).await?.get_opt(name).await.map_err(|e| no_cluster(name, explained(&e)))?;
        self.accounts.extend(found.map(|account| (name.to_owned(), known(account))));
        Ok(())
    }

    /// Reads the labels of a namespace, but only if an `AwsAccount` was read from the cluster too.
    async fn look_up_namespace(&mut self, name: &str) -> Result<(), AccountLookupError> {
        let Some(client) = self.cluster.clone().filter(|_| !self.namespaces.contains_key(name)) else {
            return Ok(());
        };
        let namespaces: Api<Namespace> = Api::all(client);
        let found = namespaces.get_metadata_opt(name).await.map_err(|e| no_cluster(name, explained(&e)))?;
        let labels = found.map(|namespace| namespace.metadata.labels.unwrap_or_default());
        self.namespaces.extend(labels.map(|labels| (name.to_owned(), labels)));
        Ok(())
    }

    async fn api(&mut self, name: &str) -> Result<Api<AwsAccount>, AccountLookupError> {
        Ok(Api::all(self.client(name).await?))
    }

    async fn client(&mut self, name: &str) -> Result<Client, AccountLookupError> {
        let client = match &self.cluster {
            Some(client) => client.clone(),
            None => self.flags.client().await.map_err(|e| no_cluster(name, e))?,
        };
        self.cluster = Some(client.clone());
        Ok(client)
    }
}

/// The `AwsAccount`s that a spec names.
fn named(spec: &BucketReplicationSpec) -> impl Iterator<Item = &str> {
    let destinations = spec.rules.iter().filter_map(|rule| rule.destination.account_ref.as_deref());
    destinations.chain(spec.source.account_ref.as_deref())
}

fn known(account: AwsAccount) -> Account {
    Account { name: account.name_any(), spec: account.spec }
}

fn no_cluster(name: &str, error: impl std::fmt::Display) -> AccountLookupError {
    AccountLookupError::NoCluster { name: name.to_owned(), message: error.to_string() }
}
