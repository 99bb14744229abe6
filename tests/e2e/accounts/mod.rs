//! The effect of an `AwsAccount` on the operator: identities, sessions, and troubles that stay in their account.

mod definition;
mod deleted;
mod hostile;
mod identity;
mod isolation;
mod refused_sessions;
mod sessions;
mod tenancy;

use std::collections::BTreeSet;

use anyhow::Result;
use rig::proxy::Call;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{reason, replication, set};

/// The default number of concurrent reconciles in one set of accounts.
const PERMITS: usize = 8;

/// Another AWS account, with the operator's role there.
struct RemoteAccount {
    /// The name of its `AwsAccount`.
    name: String,
    id: String,
    role: String,
}

impl RemoteAccount {
    async fn new(world: &World, name: &str) -> Result<RemoteAccount> {
        RemoteAccount::trusting(world, name, None).await
    }

    /// An account whose role requires an external id.
    async fn trusting(world: &World, name: &str, external_id: Option<&str>) -> Result<RemoteAccount> {
        let id = world.another_account();
        let all = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
        ]});
        let all = all.to_string();
        let role = world.assumable_role(&id, "operator", &world.account, external_id, &all).await?;
        Ok(RemoteAccount { name: world.unique(name), id, role })
    }

    /// Its `AwsAccount`, which allows the world's namespace everything.
    fn manifest(&self, world: &World) -> Value {
        manifest(world, &self.name, &self.id, json!({"arn": self.role}))
    }

    /// Applies the `AwsAccount` and waits until it is Ready.
    async fn apply(&self, world: &World) -> Result<Value> {
        world.apply(&self.manifest(world).to_string()).await?;
        wait_for_account_reason(world, &self.name, "Verified").await
    }

    /// Whether a call acts in this account or assumes its role.
    fn concerns(&self, call: &Call) -> bool {
        call.account == self.id || call.subject == self.role
    }

    /// The calls that assume its role.
    fn sessions(&self, calls: &[Call]) -> Vec<Call> {
        let begun = |call: &&Call| call.operation == "AssumeRole" && call.subject == self.role;
        calls.iter().filter(begun).cloned().collect()
    }

    /// The names of all requested sessions, sorted, with repetitions.
    fn session_names(&self, calls: &[Call]) -> Vec<String> {
        let sessions = self.sessions(calls);
        let mut names: Vec<String> = sessions.iter().filter_map(|c| c.parameter("RoleSessionName")).collect();
        names.sort();
        names
    }
}

fn manifest(world: &World, name: &str, id: &str, assume_role: Value) -> Value {
    let mut account = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": name},
        "spec": {
            "accountId": id,
            "namespaces": {"matchNames": [world.namespace]},
            "sources": ["*"],
            "destinations": ["*"],
        },
    });
    if !assume_role.is_null() {
        account["spec"]["assumeRole"] = assume_role;
    }
    account
}

async fn wait_for_account_reason(world: &World, name: &str, wanted: &str) -> Result<Value> {
    world.wait_account(name, |status| reason(status, "Ready") == wanted, wanted).await
}

/// Sets the accounts of a resource; without one, the bucket is in the operator's own account.
fn referring(
    mut resource: Value,
    source: Option<&RemoteAccount>,
    destination: Option<&RemoteAccount>,
) -> Value {
    if let Some(account) = source {
        set(&mut resource, "spec.source.accountRef", json!(account.name));
    }
    if let Some(account) = destination {
        set(&mut resource, "spec.rules.0.destination.accountRef", json!(account.name));
    }
    resource
}

/// Creates two buckets in these accounts and applies a resource for them.
async fn replicate(
    world: &World,
    name: &str,
    from: Option<&RemoteAccount>,
    to: Option<&RemoteAccount>,
) -> Result<Value> {
    let owner = |account: Option<&RemoteAccount>| account.map_or(world.account.clone(), |a| a.id.clone());
    let source = world.bucket_of(&owner(from), "us-east-1").await?;
    let destination = world.bucket_of(&owner(to), "eu-west-1").await?;
    let resource = referring(replication(name, &source, &destination), from, to);
    world.apply(&resource.to_string()).await?;
    Ok(resource)
}

/// Waits until a resource's Ready has this reason.
async fn wait_for_reason(world: &World, name: &str, wanted: &str) -> Result<Value> {
    world.wait(name, |status| reason(status, "Ready") == wanted, wanted).await
}

/// The operations of these calls.
fn operations<'a>(calls: impl IntoIterator<Item = &'a Call>) -> BTreeSet<&'a str> {
    calls.into_iter().map(|call| call.operation.as_str()).collect()
}
