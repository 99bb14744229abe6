//! Acts about identities: clients in accounts, by the operator's own identity or by a role that it assumes.
//!
//! In: an act. Out: the answers of both implementations.

use serde_json::{Value, json};

use crate::aws::tests::answers;
use crate::aws::tests::stage::{Stage, connector, id};
use crate::ports::Cloud;
use crate::replication::observed::Read;
use crate::replication::{Account, Accounts, Caller};

use std::time::Duration;

/// One act.
#[derive(Clone, Debug)]
pub enum ConnectionAct {
    Connect(Accounts),
    Verify(Account),
    /// Whether there is a role in the second account that the operator may assume, from now on.
    Trust(bool),
}

async fn caller<C: Cloud>(cloud: &C, accounts: &Accounts) -> Read<Caller> {
    let clients = cloud.connect(accounts, &id()).await?;
    cloud.caller(&clients).await
}

impl Stage {
    pub async fn perform_connection(&self, act: &ConnectionAct) -> (Value, Value) {
        // A connector keeps its sessions, and AWS lets a session go on whose role is gone: each act has one of its own.
        let real = connector(&self.proxy.url(), &self.names.here);
        let account = |caller: &Caller| json!(caller.account);
        match act {
            ConnectionAct::Connect(accounts) => (
                answers::coded(&caller(&self.simulated, accounts).await, account),
                answers::coded(&caller(&real, accounts).await, account),
            ),
            ConnectionAct::Verify(checked) => {
                let verified = self.simulated.verify(checked, Duration::ZERO).await;
                let really = Cloud::verify(&real, checked, Duration::ZERO).await;
                let content = |identity: &crate::api::CallerIdentity| json!(identity.account_id);
                (answers::coded(&verified, content), answers::coded(&really, content))
            }
            ConnectionAct::Trust(wanted) => {
                let there = &self.names.there;
                let changed = self.simulated.with(|world| {
                    let trusts = world.trusting_accounts.contains(there);
                    world.trusting_accounts = if *wanted { vec![there.clone()] } else { Vec::new() };
                    trusts != *wanted
                });
                let really = if *wanted {
                    self.create_operator_role().await.is_ok()
                } else {
                    self.delete_operator_role().await.is_ok()
                };
                (json!(changed), json!(really))
            }
        }
    }
}
