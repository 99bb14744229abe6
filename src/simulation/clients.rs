//! The clients of one resource on a simulated AWS.
//!
//! In: the accounts that the operator reached for a resource. Out: the account in which a call acts, or a denial where there
//! is no client.

use std::collections::BTreeMap;

use crate::replication::observed::Read;
use crate::replication::{Caller, Failure, FailureClass};
use crate::simulation::world::partition;

/// The ids of the accounts in which one resource has clients.
#[derive(Clone, Debug)]
pub struct SimulatedClients {
    pub(super) source: String,
    /// By the name of the `AwsAccount`.
    pub(super) accounts: BTreeMap<String, String>,
}

impl SimulatedClients {
    pub(super) fn caller(&self) -> Caller {
        Caller { account: self.source.clone(), partition: partition() }
    }

    /// The account in which to act; `None`: there is no client for the `AwsAccount`.
    pub(super) fn to(&self, account_ref: Option<&str>) -> Option<&str> {
        match account_ref {
            None => Some(&self.source),
            Some(name) => self.accounts.get(name).map(String::as_str),
        }
    }

    pub(super) fn require(
        &self,
        account_ref: Option<&str>,
        action: &'static str,
        subject: &str,
    ) -> Read<&str> {
        let denied =
            || Failure::new(FailureClass::Denied, action, subject, "there is no identity to act with");
        self.to(account_ref).ok_or_else(denied)
    }
}
