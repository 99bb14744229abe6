//! The operator with exactly the permissions that the chart grants: it needs no more, and uses each.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kube::api::DeleteParams;
use rig::KubeRequest;
use rig::cluster::user;
use rig::world::World;
use serde_json::{Value, json};

use crate::rbac::{give, granted};
use crate::support::{documents, rendered_text};

/// The resource and verb of a request, as a role writes them.
fn asked(request: &KubeRequest) -> (String, String) {
    let resource = match request.subresource.as_str() {
        "" => request.resource.clone(),
        part => format!("{}/{part}", request.resource),
    };
    (resource, request.verb.clone())
}

/// Creates and deletes a resource, with an operator that has the permissions of the chart with these values, and
/// compares them with the permissions that it used.
async fn live(world: &World, mut values: Value, all_namespaces: bool) -> Result<()> {
    let cluster = world.cluster();
    // The permissions for the Lease have a test of their own.
    values["leaderElection"] = json!({"enabled": false});
    values["replicas"] = json!(1);
    values["crds"] = json!({"install": false});
    let objects = documents(&rendered_text("rights", &world.namespace, &values)?)?;
    let (account, kubeconfig) = give(cluster, &objects)?;
    let namespaces: &[&str] = if all_namespaces { &[] } else { &[&world.namespace] };
    let operator = world
        .operator()
        .namespaces(namespaces.iter().copied())
        .kubeconfig(&kubeconfig)
        .args(["--backfill-settle", "0"])
        .binary(env!("CARGO_BIN_EXE_s3-replication-operator"))
        .start()
        .await?;
    let (source, destination) =
        (world.bucket("us-east-1").await?, world.versioned_bucket("eu-west-1").await?);
    let account_name = world.unique("rights");
    // By labels and by name: operators of other namespaces leave the account alone.
    let labels = json!({"kubernetes.io/metadata.name": world.namespace});
    let account_resource = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": account_name},
        "spec": {
            "accountId": world.account,
            "namespaces": {"matchNames": [world.namespace], "matchLabels": labels},
            "sources": [source],
            "destinations": [destination],
            "allow": ["Backfill"],
        },
    });
    world.apply(&account_resource.to_string()).await?;
    let resource = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": "orders"},
        "spec": {
            "source": {"bucket": source, "accountRef": account_name},
            "rules": [{"id": "all", "destination": {"bucket": destination}}],
        },
    });
    world.apply(&resource.to_string()).await?;
    let verified = |status: &Value| {
        rig::world::condition(status, "Ready").is_some_and(|ready| ready["status"] == "True")
    };
    world.wait_account(&account_name, verified, "to be verified").await?;
    world.wait_ready("orders").await.with_context(|| operator.log())?;
    let backfill = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "ReplicationBackfill",
        "metadata": {"name": "orders"},
        "spec": {"replicationRef": {"name": "orders"}},
    });
    world.apply(&backfill.to_string()).await?;
    let begun = |status: &Value| status["jobId"].is_string();
    let begun = world.wait_backfill("orders", begun, "to begin").await.with_context(|| operator.log())?;
    let id = begun["status"]["jobId"].as_str().context("no job")?;
    // The bucket is empty, so S3 finds nothing to replicate.
    world.jobs().advance_to(id, "Failed").await?;
    world.backfills().delete("orders", &DeleteParams::default()).await?;
    world.wait_on(&world.backfills(), "orders", |object| object.is_none(), "to be gone").await?;
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await?;
    operator.terminate().await?;

    let requests = cluster.requests(&user(&world.namespace, &account), None)?;
    let denied: Vec<&KubeRequest> = requests.iter().filter(|r| r.code == 403).collect();
    ensure!(denied.is_empty(), "denied: {denied:#?}");
    let used: BTreeSet<(String, String)> = requests.iter().map(asked).collect();
    let needless: Vec<_> = granted(&objects)
        .into_iter()
        .filter(|g| !used.contains(&(g.resource.clone(), g.verb.clone())))
        .collect();
    ensure!(needless.is_empty(), "granted and never used: {needless:?}\nused: {used:?}");
    Ok(())
}

/// In a world of its own: this operator would work on the resources of other tests.
#[tokio::test]
async fn the_cluster_role_is_enough_for_a_whole_life_and_each_right_is_used() -> Result<()> {
    let world = World::alone("rights-all").await?;
    live(&world, json!({}), true).await
}

#[tokio::test]
async fn the_roles_of_a_namespace_are_enough_for_a_whole_life_and_each_right_is_used() -> Result<()> {
    let world = World::with_accounts("rights-one").await?;
    live(&world, json!({"namespaces": [world.namespace]}), false).await
}

#[tokio::test]
async fn the_lease_of_the_release_may_be_made_and_kept_and_no_other() -> Result<()> {
    let world = World::new("rights-lease").await?;
    let cluster = world.cluster();
    let objects = documents(&rendered_text("rights", &world.namespace, &json!({}))?)?;
    let (account, _) = give(cluster, &objects)?;
    let caller = user(&world.namespace, &account);
    let may = |verb: &str, lease: &str, namespace: &str| -> Result<bool> {
        let resource = format!("leases.coordination.k8s.io{lease}");
        let output =
            cluster.kubectl(["auth", "can-i", verb, &resource, "-n", namespace, "--as", caller.as_str()])?;
        Ok(String::from_utf8_lossy(&output.stdout).trim() == "yes")
    };
    let own = "/rights-s3-replication-operator";
    for (verb, lease) in [("create", ""), ("get", own), ("update", own)] {
        ensure!(may(verb, lease, &world.namespace)?, "{verb} {lease}");
    }
    for verb in ["get", "update", "delete", "list"] {
        ensure!(!may(verb, "/another", &world.namespace)?, "{verb} another");
        ensure!(!may(verb, own, "default")?, "{verb} elsewhere");
    }
    Ok(())
}
