//! The operator under exactly the rights that the chart gives it: it needs no more, and uses each.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kube::api::DeleteParams;
use rig::world::World;
use rig::{Cluster, KubeRequest, Rig};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::support::{documents, kubectl, name, rendered_text, the};

/// Rights that a whole life does not show.
const NOT_SHOWN: [(&str, &str); 3] = [
    // Lists are streamed, which the API server counts as watching.
    ("bucketreplications", "list"),
    ("awsaccounts", "list"),
    // An event that repeats is patched.
    ("events", "patch"),
];

/// An operator for all namespaces would also see the resources of the other test.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What a user may do, as resource and verb.
fn granted(objects: &[Value]) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    let bound: BTreeSet<&str> = objects.iter().filter_map(|o| o["roleRef"]["name"].as_str()).collect();
    for role in objects.iter().filter(|o| bound.contains(name(o)) && o["rules"].is_array()) {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for resource in rule["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let verbs = rule["verbs"].as_array().into_iter().flatten().filter_map(Value::as_str);
                all.extend(verbs.map(|verb| (resource.to_owned(), verb.to_owned())));
            }
        }
    }
    all
}

/// What a request asks for, in the words of a role.
fn asked(request: &KubeRequest) -> (String, String) {
    let resource = match request.subresource.as_str() {
        "" => request.resource.clone(),
        part => format!("{}/{part}", request.resource),
    };
    (resource, request.verb.clone())
}

/// Gives the rendered rights and returns the name of the ServiceAccount that has them.
fn apply_rights(cluster: &Cluster, objects: &[Value]) -> Result<String> {
    let rights: Vec<&Value> = objects
        .iter()
        .filter(|o| o["kind"] == "ServiceAccount" || o["apiVersion"] == "rbac.authorization.k8s.io/v1")
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": rights});
    kubectl(cluster, &["apply", "--server-side", "-f", "-"], &list.to_string())?;
    Ok(name(the(objects, "ServiceAccount")?).to_owned())
}

/// Lets a resource live from creation to deletion, with an operator that has the rights of the chart with these
/// values, and compares them with what it used.
async fn live(world: &World, mut values: Value, all_namespaces: bool) -> Result<()> {
    let cluster = world.cluster();
    // The rights to the Lease have a test of their own.
    values["leaderElection"] = json!({"enabled": false});
    values["replicas"] = json!(1);
    values["crds"] = json!({"install": false});
    let objects = documents(&rendered_text("rights", &world.namespace, &values)?)?;
    let account = &apply_rights(cluster, &objects)?;
    let token = kubectl(cluster, &["create", "token", account, "-n", &world.namespace], "")?;
    let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(cluster.admin_kubeconfig())?)?;
    kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
    let file = rig::paths::scratch_dir("rights")?.join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string())?;

    let endpoint = world.proxy.url();
    let operator = if all_namespaces {
        Rig::shared().await?.operator(&world.account, &endpoint)
    } else {
        world.operator()
    };
    let operator = operator
        .binary(env!("CARGO_BIN_EXE_s3-replication-operator"))
        .env("KUBECONFIG", &file)
        .start()
        .await?;
    let (source, destination) =
        (world.bucket("us-east-1").await?, world.versioned_bucket("eu-west-1").await?);
    let account_name = world.unique("rights");
    let chosen = json!({"kubernetes.io/metadata.name": world.namespace});
    let account_resource = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": account_name},
        "spec": {
            "accountId": world.account,
            "namespaces": {"matchLabels": chosen},
            "sources": [source],
            "destinations": [destination],
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
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await?;
    operator.terminate().await?;

    let user = format!("system:serviceaccount:{}:{account}", world.namespace);
    let requests = cluster.requests(&user, None)?;
    let denied: Vec<&KubeRequest> = requests.iter().filter(|r| r.code == 403).collect();
    ensure!(denied.is_empty(), "denied: {denied:#?}");
    let used: BTreeSet<(String, String)> = requests.iter().map(asked).collect();
    let not_shown: BTreeSet<(String, String)> =
        NOT_SHOWN.iter().map(|(resource, verb)| ((*resource).to_owned(), (*verb).to_owned())).collect();
    let needless: Vec<_> =
        granted(&objects).into_iter().filter(|g| !used.contains(g) && !not_shown.contains(g)).collect();
    ensure!(needless.is_empty(), "granted and never used: {needless:?}\nused: {used:?}");
    Ok(())
}

#[tokio::test]
async fn the_cluster_role_is_enough_for_a_whole_life_and_each_right_is_used() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::new("rights-all").await?;
    live(&world, json!({}), true).await
}

#[tokio::test]
async fn the_roles_of_a_namespace_are_enough_for_a_whole_life_and_each_right_is_used() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::new("rights-one").await?;
    live(&world, json!({"namespaces": [world.namespace]}), false).await
}

/// This version has no election yet; what it will ask for is asked of the API server's authorizer.
#[tokio::test]
async fn the_lease_of_the_release_may_be_made_and_kept_and_no_other() -> Result<()> {
    let world = World::new("rights-lease").await?;
    let cluster = world.cluster();
    let objects = documents(&rendered_text("rights", &world.namespace, &json!({}))?)?;
    let account = apply_rights(cluster, &objects)?;
    let user = format!("system:serviceaccount:{}:{account}", world.namespace);
    let may = |verb: &str, lease: &str, namespace: &str| -> Result<bool> {
        let resource = format!("leases.coordination.k8s.io{lease}");
        let output =
            cluster.kubectl(["auth", "can-i", verb, &resource, "-n", namespace, "--as", user.as_str()])?;
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
