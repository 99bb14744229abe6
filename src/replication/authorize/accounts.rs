//! The accounts that one resource refers to.
//!
//! In: a spec, and a lookup by name. Out: the accounts, or why it cannot act.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    AwsAccountSpec, BucketReplication, BucketReplicationSpec, BucketReplicationStatus, ConditionType,
    DEFAULT_ACCOUNT, Reason,
};
use crate::replication::refusal::Refusal;

/// How the message begins of a refusal that needs no `AwsAccount` to have existed.
const REQUIRED: &str = "this operator requires an AwsAccount (--require-account)";

/// The words of a refusal for an `AwsAccount` that nobody can decode.
const UNREADABLE: &str = "cannot be read";

/// An `AwsAccount`, as the domain uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub name: String,
    pub spec: AwsAccountSpec,
}

/// The rights of a resource without an account, if none is named `default` either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutAccount {
    /// Everything, with the operator's own identity.
    Unrestricted,
    /// Nothing: an account is required.
    Refused,
    /// Nothing, because an `AwsAccount` was seen before. Deleting the default one must never allow more than before.
    AccountsExisted,
}

impl WithoutAccount {
    /// `required`: by `--require-account`. `accounts_seen`: this process ever saw an `AwsAccount`, or the status of any
    /// resource names one.
    pub fn of(required: bool, accounts_seen: bool) -> WithoutAccount {
        match (required, accounts_seen) {
            (true, _) => WithoutAccount::Refused,
            (false, true) => WithoutAccount::AccountsExisted,
            (false, false) => WithoutAccount::Unrestricted,
        }
    }
}

/// The accounts of one resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accounts {
    /// The source's. `None`: the operator's own identity acts, without restriction.
    pub source: Option<Account>,
    /// Those that destinations name, by `accountRef`.
    pub destinations: BTreeMap<String, Account>,
}

impl Accounts {
    /// Looks up the accounts that a spec refers to.
    ///
    /// # Errors
    /// A refusal, when an account does not exist or cannot be read, or when the spec needs one and has none.
    pub fn resolve(
        spec: &BucketReplicationSpec,
        lookup: impl Fn(&str) -> Result<Option<Account>, Refusal>,
        without_account: WithoutAccount,
    ) -> Result<Accounts, Refusal> {
        let named = |name: &str, field: &str| {
            lookup(name)?.ok_or_else(|| {
                refuse(
                    Reason::AccountNotFound,
                    format!("{field} names the AwsAccount {name}, which does not exist; create it or correct {field} (kubectl get awsaccounts lists them)"),
                )
            })
        };
        let source = match &spec.source.account_ref {
            Some(name) => Some(named(name, "source.accountRef")?),
            None => lookup(DEFAULT_ACCOUNT)?,
        };
        match without_account {
            _ if source.is_some() => {}
            WithoutAccount::Unrestricted => {}
            WithoutAccount::Refused => {
                return Err(refuse(
                    Reason::NotAllowed,
                    format!(
                        "{REQUIRED}: set source.accountRef, or ask an administrator to create an AwsAccount named {DEFAULT_ACCOUNT}"
                    ),
                ));
            }
            WithoutAccount::AccountsExisted => {
                return Err(refuse(
                    Reason::AccountNotFound,
                    format!(
                        "source.accountRef is not set and there is no AwsAccount named {DEFAULT_ACCOUNT}; where AwsAccounts exist, or existed, no resource acts without one. Set source.accountRef, or ask an administrator to create the AwsAccount {DEFAULT_ACCOUNT} again"
                    ),
                ));
            }
        }
        let (mut destinations, mut unresolved) = (BTreeMap::new(), BTreeMap::new());
        for rule in &spec.rules {
            let Some(name) = &rule.destination.account_ref else { continue };
            if destinations.contains_key(name) || unresolved.contains_key(name) {
                continue;
            }
            match named(name, &format!("rules[{}].destination.accountRef", rule.id)) {
                Ok(account) => drop(destinations.insert(name.clone(), account)),
                Err(refusal) => drop(unresolved.insert(name.clone(), refusal)),
            }
        }
        Refusal::all(unresolved.into_values())?;
        Ok(Accounts { source, destinations })
    }

    /// Whether an `AwsAccount` restricts this resource.
    pub fn are_restricted(&self) -> bool {
        self.source.is_some()
    }

    /// The id of the account that a destination is in: by `accountRef`, else by `account`. `None`: the source's.
    pub fn account_id_of(&self, account_ref: Option<&str>, account: Option<&str>) -> Option<String> {
        let referred = account_ref.and_then(|name| self.destinations.get(name));
        referred.map(|a| a.spec.account_id.clone()).or_else(|| account.map(str::to_owned))
    }
}

/// The names of the accounts that a spec refers to; the default one where it names none for its source.
pub fn references(spec: &BucketReplicationSpec) -> BTreeSet<&str> {
    let source = spec.source.account_ref.as_deref().unwrap_or(DEFAULT_ACCOUNT);
    spec.rules.iter().filter_map(|r| r.destination.account_ref.as_deref()).chain([source]).collect()
}

/// Whether the status of a resource shows that there is an `AwsAccount`, or was one: the resource acted under it, or was
/// refused because of it. What a spec names need never have existed.
pub fn shows_account(resource: &BucketReplication) -> bool {
    let Some(status) = &resource.status else { return false };
    let mut buckets = status.source.iter().chain(&status.destinations);
    let acted = buckets.any(|bucket| bucket.account_ref.is_some()) || !status.bucket_policies.is_empty();
    acted || was_refused_by_default_account(&resource.spec, status)
}

/// Whether a resource that names no account was refused by the default one, or because that was gone.
fn was_refused_by_default_account(spec: &BucketReplicationSpec, status: &BucketReplicationStatus) -> bool {
    let names_one = spec.source.account_ref.is_some()
        || spec.rules.iter().any(|rule| rule.destination.account_ref.is_some());
    let ready = status.conditions.iter().find(|held| held.type_ == ConditionType::Ready.as_str());
    !names_one
        && ready.is_some_and(|ready| {
            let has = |reason: Reason| ready.reason == reason.as_str();
            has(Reason::AccountNotFound)
                || has(Reason::AccountMismatch)
                || (has(Reason::NotAllowed) && !ready.message.starts_with(REQUIRED))
                || ready.message.starts_with(&format!("AwsAccount {DEFAULT_ACCOUNT} {UNREADABLE}"))
        })
}

/// An account that cannot be read allows nothing.
pub fn unreadable(name: &str, error: &str) -> Refusal {
    refuse(
        Reason::InvalidSpec,
        format!(
            "AwsAccount {name} {UNREADABLE}, so that nothing is allowed under it: {error}; correct it or apply it again"
        ),
    )
}

fn refuse(reason: Reason, message: String) -> Refusal {
    Refusal::new(reason, ConditionType::Ready, message)
}
