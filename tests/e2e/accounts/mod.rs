//! What an `AwsAccount` makes of the operator: identities, sessions, and troubles that stay in their account.

mod definition;
mod deleted;
mod identity;
mod isolation;
mod sessions;
mod tenancy;

use std::collections::BTreeSet;

use anyhow::Result;
use rig::proxy::Call;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{reason, replication, set};

/// As many reconciles as run at once in one set of accounts, by default.
const PLACES: usize = 12;

/// An account, and the operator's role there.
struct Abroad {
    /// Of its `AwsAccount`.
    name: String,
    id: String,
    role: String,
}

impl Abroad {
    async fn new(world: &World, name: &str) -> Result<Abroad> {
        Abroad::trusting(world, name, None).await
    }

    /// One whose role asks for an external id.
    async fn trusting(world: &World, name: &str, external_id: Option<&str>) -> Result<Abroad> {
        let id = world.another_account();
        let all = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
        ]});
        let all = all.to_string();
        let role = world.assumable_role(&id, "operator", &world.account, external_id, &all).await?;
        Ok(Abroad { name: world.unique(name), id, role })
    }

    /// Its `AwsAccount`, which lets the world's namespace do all.
    fn manifest(&self, world: &World) -> Value {
        manifest(world, &self.name, &self.id, json!({"arn": self.role}))
    }

    /// Applies the `AwsAccount` and waits until it is Ready.
    async fn apply(&self, world: &World) -> Result<Value> {
        world.apply(&self.manifest(world).to_string()).await?;
        account_is(world, &self.name, "Verified").await
    }

    /// Whether a call acts in this account, or is to let the operator in.
    fn concerns(&self, call: &Call) -> bool {
        call.account == self.id || call.subject == self.role
    }

    /// The calls that let the operator in.
    fn sessions(&self, calls: &[Call]) -> Vec<Call> {
        let begun = |call: &&Call| call.operation == "AssumeRole" && call.subject == self.role;
        calls.iter().filter(begun).cloned().collect()
    }

    /// The names of the sessions that were asked for, each as often as it was, sorted.
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

async fn account_is(world: &World, name: &str, wanted: &str) -> Result<Value> {
    world.wait_account(name, |status| reason(status, "Ready") == wanted, wanted).await
}

/// A resource whose buckets are in these accounts; in the operator's own where none is given.
fn referring(mut resource: Value, source: Option<&Abroad>, destination: Option<&Abroad>) -> Value {
    if let Some(account) = source {
        set(&mut resource, "spec.source.accountRef", json!(account.name));
    }
    if let Some(account) = destination {
        set(&mut resource, "spec.rules.0.destination.accountRef", json!(account.name));
    }
    resource
}

/// Applies a resource with a source and a destination of its own in these accounts.
async fn replicate(world: &World, name: &str, from: Option<&Abroad>, to: Option<&Abroad>) -> Result<Value> {
    let owner = |account: Option<&Abroad>| account.map_or(world.account.clone(), |a| a.id.clone());
    let source = world.bucket_of(&owner(from), "us-east-1").await?;
    let destination = world.bucket_of(&owner(to), "eu-west-1").await?;
    let resource = referring(replication(name, &source, &destination), from, to);
    world.apply(&resource.to_string()).await?;
    Ok(resource)
}

/// Waits until a resource's Ready has this reason.
async fn is(world: &World, name: &str, wanted: &str) -> Result<Value> {
    world.wait(name, |status| reason(status, "Ready") == wanted, wanted).await
}

/// Operations that were asked of AWS.
fn operations<'a>(calls: impl IntoIterator<Item = &'a Call>) -> BTreeSet<&'a str> {
    calls.into_iter().map(|call| call.operation.as_str()).collect()
}
