//! Records what a former release leaves behind. It checks nothing: `tests/upgrade/0.0.9/README.md` says how to run it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aws_sdk_s3::types::StorageClass;
use futures::future::try_join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rig::aws_state::AwsState;
use rig::former_release::{FormerState, LeftObjects};
use rig::operator::Operator;
use rig::world::{DEADLINE, World};
use rig::{Answer, Fault, GateAt, Matcher};
use serde_json::{Value, json};

use super::former::{
    LEASE, NAMESPACE, OTHER, OWN, create_namespace, is_ready, leading, use_former_definitions,
};
use crate::support::reason;

const SOURCE_REGION: &str = "us-east-1";
const DESTINATION_REGION: &str = "eu-west-1";

/// A running former release, and what it left when it was stopped.
struct Recording {
    world: World,
    operator: Operator,
}

#[tokio::test]
#[ignore = "records tests/upgrade again: see its README"]
async fn record_the_former_release() -> Result<()> {
    let program = std::env::var_os("FORMER_PROGRAM").context("FORMER_PROGRAM names no program")?;
    let program = PathBuf::from(program);
    record_with_accounts(&program).await?;
    record_without_accounts(&program).await
}

/// Resources under two `AwsAccount`s, in every state in which an upgrade may find one.
async fn record_with_accounts(program: &Path) -> Result<()> {
    let recording = Recording::start(program).await?;
    let world = &recording.world;
    let all =
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    let role = world.assumable_role(OTHER, "operator", OWN, None, all).await?;
    recording.apply(&account("default", OWN, Value::Null)).await?;
    recording.apply(&account("dr", OTHER, json!({"arn": role}))).await?;

    for name in ["orders", "archive", "audit", "logs", "renamed", "leaving"] {
        recording.create_buckets(name, OWN).await?;
    }
    recording.create_buckets("invoices", OTHER).await?;
    let mut orders = replication("orders");
    orders["spec"]["role"] = json!({"tags": {"team": "data"}});
    let to = &mut orders["spec"]["rules"][0]["destination"];
    to["replicationTimeControl"] = json!("Enabled");
    to["metrics"] = json!("Enabled");
    let mut invoices = replication("invoices");
    invoices["spec"]["rules"][0]["destination"]["accountRef"] = json!("dr");
    invoices["spec"]["rules"][0]["destination"]["ownership"] = json!("Destination");
    let (mut renamed, mut leaving) = (replication("renamed"), replication("leaving"));
    renamed["spec"]["role"] = json!({"name": "renamed-before"});
    leaving["spec"]["role"] = json!({"name": "leaving-role"});
    let plain = ["archive", "audit", "logs"].map(replication);
    for resource in [orders, invoices, renamed, leaving].iter().chain(&plain) {
        recording.apply(resource).await?;
    }
    let names = ["orders", "invoices", "renamed", "leaving", "archive", "audit", "logs"];
    try_join_all(names.map(|name| recording.wait(name, is_ready, "is Ready"))).await?;

    // A drift that was corrected, and one that is only observed.
    recording.change_in_aws("orders").await?;
    recording.request_check("orders").await?;
    recording.wait("orders", |o| o["status"]["lastCorrection"].is_object(), "was corrected").await?;
    recording.patch("audit", json!({"spec": {"managementPolicy": "Observe"}})).await?;
    recording.wait("audit", |o| o["status"]["observedGeneration"] == 2, "is observed").await?;
    recording.change_in_aws("audit").await?;
    recording.request_check("audit").await?;
    recording.wait("audit", |o| o["status"]["driftCount"] == 1, "drifts").await?;

    recording.patch("archive", json!({"spec": {"suspend": true}})).await?;
    let is_suspended = |o: &Value| reason(&o["status"], "Ready") == "Suspended";
    recording.wait("archive", is_suspended, "is suspended").await?;

    // A role of before a rename that could not be deleted yet, and a deletion that has begun.
    let deletion = Matcher::operation("DeleteRole").about("renamed-before");
    world.proxy.inject(Fault::always(deletion, Answer::access_denied()));
    recording.patch("renamed", json!({"spec": {"role": {"name": "renamed-after"}}})).await?;
    let remembers = |o: &Value| o["status"]["formerRoles"].as_array().is_some_and(|roles| roles.len() == 1);
    recording.wait("renamed", remembers, "remembers its former role").await?;
    let held = Matcher::operation("DeleteRolePolicy").about("leaving-role");
    let gate = world.proxy.gate(held, GateAt::BeforeForward);
    world.api_in(NAMESPACE).delete("leaving", &Default::default()).await?;
    gate.reached(DEADLINE).await?;

    recording.operator.kill().await?;
    // Nobody has seen this one yet.
    recording.change_in_aws("logs").await?;
    recording.save("with-accounts").await
}

/// Resources of an operator that knows no `AwsAccount`, as the chart of the former release installs it.
async fn record_without_accounts(program: &Path) -> Result<()> {
    let recording = Recording::start(program).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]});
    let iam = recording.world.as_account(OWN).iam();
    iam.create_role().role_name("replicator").assume_role_policy_document(trust.to_string()).send().await?;
    let mut clicks = replication("clicks");
    clicks["spec"]["role"] = json!({"arn": format!("arn:aws:iam::{OWN}:role/replicator")});
    for resource in [&replication("orders"), &clicks] {
        let name = resource["metadata"]["name"].as_str().unwrap_or_default();
        recording.create_buckets(name, OWN).await?;
        recording.apply(resource).await?;
        recording.wait(name, is_ready, "is Ready").await?;
    }
    recording.operator.kill().await?;
    recording.save("without-accounts").await
}

impl Recording {
    async fn start(program: &Path) -> Result<Self> {
        let world = World::sealed("recorded").await?;
        use_former_definitions(&world)?;
        create_namespace(&world).await?;
        // Its rights are not those of the present release.
        let builder = world.operator().binary(program).kubeconfig(world.cluster().admin_kubeconfig());
        let operator = leading(builder).start().await?;
        Ok(Self { world, operator })
    }

    async fn create_buckets(&self, name: &str, destination: &str) -> Result<()> {
        let [from, to] = buckets(name);
        self.world.create_bucket(OWN, SOURCE_REGION, &from).await?;
        self.world.create_bucket(destination, DESTINATION_REGION, &to).await
    }

    async fn apply(&self, object: &Value) -> Result<()> {
        self.world.apply(&object.to_string()).await.map(drop)
    }

    async fn patch(&self, name: &str, change: Value) -> Result<()> {
        let api = self.world.api_in(NAMESPACE);
        api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }

    async fn request_check(&self, name: &str) -> Result<()> {
        let annotation = json!({"s3replication.dev/requestedAt": format!("{name}-was-changed")});
        self.patch(name, json!({"metadata": {"annotations": annotation}})).await
    }

    async fn wait(&self, name: &str, wanted: impl Fn(&Value) -> bool, what: &str) -> Result<()> {
        let api = self.world.api_in(NAMESPACE);
        let is_wanted = |object: Option<&Value>| object.is_some_and(&wanted);
        self.world.wait_on(&api, name, is_wanted, what).await.map(drop)
    }

    /// Changes the storage class of the replicas, as another tool would.
    async fn change_in_aws(&self, name: &str) -> Result<()> {
        let [source, _] = buckets(name);
        let s3 = self.world.as_account(OWN).s3(SOURCE_REGION);
        let held = s3.get_bucket_replication().bucket(&source).send().await?;
        let mut configuration = held.replication_configuration().context("no configuration")?.clone();
        for destination in configuration.rules.iter_mut().filter_map(|rule| rule.destination.as_mut()) {
            destination.storage_class = Some(StorageClass::Glacier);
        }
        s3.put_bucket_replication().bucket(&source).replication_configuration(configuration).send().await?;
        Ok(())
    }

    async fn save(self, scenario: &str) -> Result<()> {
        let world = &self.world;
        let namespaces: Api<Namespace> = Api::all(world.kube.clone());
        let cluster_uid = namespaces.get("kube-system").await?.metadata.uid.context("no UID")?;
        let leases: Api<Lease> = Api::namespaced(world.kube.clone(), NAMESPACE);
        let mut objects = vec![serde_json::to_value(leases.get(LEASE).await?)?];
        for api in [world.accounts(), world.api_in(NAMESPACE)] {
            for object in api.list(&Default::default()).await? {
                objects.push(serde_json::to_value(object)?);
            }
        }
        let aws = AwsState::read(&world.emulator_url(), &[OWN, OTHER]).await?;
        FormerState { left: LeftObjects { cluster_uid, objects }, aws }.write(scenario)
    }
}

fn buckets(name: &str) -> [String; 2] {
    [format!("former-{name}-source"), format!("former-{name}-destination")]
}

fn replication(name: &str) -> Value {
    let [source, destination] = buckets(name);
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "source": {"bucket": source},
            "rules": [{
                "id": "all",
                "priority": 1,
                "filter": {"prefix": ""},
                "destination": {"bucket": destination, "storageClass": "STANDARD"},
            }],
        },
    })
}

fn account(name: &str, id: &str, assume_role: Value) -> Value {
    let mut spec = json!({
        "accountId": id,
        "namespaces": {"matchNames": [NAMESPACE]},
        "sources": ["former-*"],
        "destinations": ["former-*"],
    });
    if assume_role.is_object() {
        spec["assumeRole"] = assume_role;
    }
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": name},
        "spec": spec,
    })
}
