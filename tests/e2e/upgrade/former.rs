//! The former release: its definitions, and the objects and the AWS state that it left behind.

use std::collections::BTreeSet;
use std::env::{join_paths, split_paths, var_os};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use rig::aws_state::AwsState;
use rig::emulator::SECRET;
use rig::former_release::{self, FormerState, without_bookkeeping};
use rig::operator::OperatorBuilder;
use rig::pages::Block;
use rig::world::{World, condition};
use rig::{Call, paths};
use serde_json::{Value, json};

use crate::support::operator_of;

/// The namespace of the recorded resources.
pub const NAMESPACE: &str = "data";

/// The account of the operator that was recorded, and another one.
pub const OWN: &str = "111122223333";
pub const OTHER: &str = "444455556666";

/// The Lease of the former release, in the namespace of the resources.
pub const LEASE: &str = "s3-replication-operator";

/// A world in the state in which the former release was stopped.
pub struct Former {
    pub world: World,
    pub state: FormerState,
}

/// Replaces the definitions of a world by those of the former release.
pub fn use_former_definitions(world: &World) -> Result<()> {
    let newer = ["delete", "crd", "replicationbackfills.s3replication.dev"];
    let deleted = world.cluster().kubectl(newer)?;
    ensure!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    world.cluster().apply_crds(&former_release::crds())
}

/// Creates the namespace of the resources.
pub async fn create_namespace(world: &World) -> Result<()> {
    let metadata = ObjectMeta { name: Some(NAMESPACE.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let namespaces: Api<Namespace> = Api::all(world.kube.clone());
    namespaces.create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// An operator for the recorded namespace and account, which leads by the recorded Lease.
pub fn leading(operator: OperatorBuilder) -> OperatorBuilder {
    operator.namespaces([NAMESPACE]).credentials(OWN, SECRET).arg("--leader-elect").args([
        "--lease-name",
        LEASE,
        "--lease-namespace",
        NAMESPACE,
    ])
}

/// Whether an object is Ready for its current generation.
pub fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && condition(&object["status"], "Ready").is_some_and(|ready| {
            ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
        })
}

/// Types in the block of a page. Returns what it prints.
pub fn type_in(world: &World, block: &Block) -> Result<String> {
    let kubectl = world.cluster().kubectl_program().parent().context("kubectl is in no folder")?;
    let rest = var_os("PATH").unwrap_or_default();
    let typed = Command::new("bash")
        .args(["-c", &block.text])
        .env("PATH", join_paths([kubectl.to_path_buf()].into_iter().chain(split_paths(&rest)))?)
        .env("KUBECONFIG", world.cluster().admin_kubeconfig())
        .env("KUBECACHEDIR", paths::rig().join("kubectl-cache"))
        .output()?;
    ensure!(typed.status.success(), "{}: {}", block.location(), String::from_utf8_lossy(&typed.stderr));
    Ok(String::from_utf8_lossy(&typed.stdout).into_owned())
}

impl Former {
    /// Restores a recorded state, with the definitions of the former release.
    pub async fn restored(scenario: &str) -> Result<Self> {
        let state = FormerState::read(scenario)?;
        let world = World::sealed("upgrade").await?;
        state.aws.restore(&world.emulator_url()).await?;
        use_former_definitions(&world)?;
        create_namespace(&world).await?;
        world.cluster().set_uid(&state.left.cluster_uid).await?;
        world.cluster().allow_lease(NAMESPACE, LEASE)?;
        for object in &state.left.objects {
            match object["kind"].as_str() {
                Some("BucketReplication") => world.cluster().store("bucketreplications", object).await?,
                Some("AwsAccount") => world.cluster().store("awsaccounts", object).await?,
                _ => drop(world.apply(&without_bookkeeping(object).to_string()).await?),
            }
        }
        Ok(Self { world, state })
    }

    /// Replaces the definitions by the present ones, as the chart does before it replaces the pods.
    pub fn upgrade_definitions(&self) -> Result<()> {
        self.world.cluster().apply_crds(&paths::repository().join("crds"))
    }

    /// The operator of this tree, ready to be started.
    pub fn operator(&self) -> OperatorBuilder {
        leading(operator_of(&self.world))
    }

    /// A resource as it is now.
    pub async fn object(&self, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.world.api_in(NAMESPACE).get(name).await?)?)
    }

    /// Requests a check, waits for it, and returns the object after it.
    pub async fn check(&self, name: &str) -> Result<Value> {
        let value = format!("after-the-upgrade-of-{name}");
        let change = json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": value}}});
        let api = self.world.api_in(NAMESPACE);
        api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await?;
        let is_handled = |status: &Value| status["lastHandledRequest"] == value.as_str();
        self.world.wait_in(NAMESPACE, name, is_handled, "to have been checked").await
    }

    /// The present contents of AWS.
    pub async fn aws_now(&self) -> Result<AwsState> {
        let accounts: Vec<&str> = self.state.aws.accounts.keys().map(String::as_str).collect();
        AwsState::read(&self.world.emulator_url(), &accounts).await
    }

    /// Deletes a resource and waits until it is gone.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let api = self.world.api_in(NAMESPACE);
        api.delete(name, &Default::default()).await?;
        self.world.wait_on(&api, name, |object| object.is_none(), "to be gone").await.map(drop)
    }

    /// Checks that a write to AWS leaves everything allowed that the recorded role or bucket policy allowed.
    pub fn check_takes_nothing_away(&self, write: &Call) -> Result<()> {
        let (held, put): (BTreeSet<_>, BTreeSet<_>) = match write.operation.as_str() {
            "PutRolePolicy" => {
                let text = write.parameter("PolicyDocument").context("no document")?;
                let roles = self.state.aws.accounts.values().flat_map(|account| &account.roles);
                let held = roles.filter(|role| role.name == write.subject).flat_map(|r| r.policies.values());
                (held.flat_map(grants).collect(), grants(&serde_json::from_str(&text)?))
            }
            "PutBucketPolicy" => {
                let held = self.state.aws.bucket(&write.subject)?.policy.iter().flat_map(grants);
                (held.collect(), grants(&serde_json::from_str(&write.body)?))
            }
            _ => return Ok(()),
        };
        let missing: Vec<_> = BTreeSet::difference(&held, &put).collect();
        ensure!(missing.is_empty(), "{write} takes away {missing:?}");
        Ok(())
    }
}

/// Each principal, action and resource that a policy allows.
fn grants(policy: &Value) -> BTreeSet<[String; 3]> {
    let list = |value: &Value| match value {
        Value::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    };
    let allowed = policy["Statement"].as_array().into_iter().flatten().filter(|s| s["Effect"] == "Allow");
    let mut all = BTreeSet::new();
    for statement in allowed {
        for principal in list(&statement["Principal"]["AWS"]) {
            for action in list(&statement["Action"]) {
                for resource in list(&statement["Resource"]) {
                    all.insert([principal.clone(), action.clone(), resource]);
                }
            }
        }
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
