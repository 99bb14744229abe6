//! The surroundings of a test: namespaces, accounts, and the count of requests to Kubernetes.

use super::*;

#[tokio::test]
async fn more_namespaces_are_made_and_watched() -> Result<()> {
    let world = World::new("smoke-namespaces").await?;
    let other = world.namespace(&[("team", "data")]).await?;
    let label = world.cluster().kubectl(["get", "ns", &other, "-o", "jsonpath={.metadata.labels.team}"])?;
    assert_eq!(String::from_utf8_lossy(&label.stdout), "data");
    world
        .apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {other}}}\ndata: {{k: v}}\n"
        ))
        .await?;
    let kind = GroupVersionKind::gvk("", "v1", "ConfigMap");
    let api = Api::namespaced_with(world.kube.clone(), &other, &ApiResource::from_gvk(&kind));
    let found = world.wait_on(&api, "a", |o| o.is_some_and(|o| o["data"]["k"] == "v"), "to hold v").await?;
    assert_eq!(found.unwrap()["metadata"]["namespace"], other.as_str());

    let operator =
        world.operator().binary("/bin/echo").namespaces([&world.namespace, &other]).start().await?;
    assert_eq!(operator.wait(SOON).await?, 0);
    let expected = format!("--namespaces {},{other}\n", world.namespace);
    assert!(operator.log().ends_with(&expected), "{}", operator.log());
    Ok(())
}

#[tokio::test]
async fn an_account_is_applied_stored_read_and_waited_for() -> Result<()> {
    let world = World::new("smoke-account").await?;
    let name = world.unique("smoke-account");
    let manifest = json!({"apiVersion": "s3replication.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": name}, "spec": {"accountId": world.account}});
    world.apply(&manifest.to_string()).await?;
    let mut account = world.account(&name).await?;
    assert_eq!(account["spec"]["accountId"], world.account.as_str());

    let counted = world.wait_account(&name, |status| status["replications"] == 2, "to be referred to");
    let count = async {
        for replications in [1, 2] {
            let patch = Patch::Merge(json!({"status": {"replications": replications}}));
            world.accounts().patch_status(&name, &PatchParams::default(), &patch).await?;
        }
        anyhow::Ok(())
    };
    let (counted, written) = tokio::join!(counted, count);
    written?;
    assert_eq!(counted?["metadata"]["name"], name.as_str());

    // Admission rejects this change, because the field is immutable.
    account["spec"]["accountId"] = json!("999999999999");
    world.cluster().store("awsaccounts", &account).await?;
    let changed = |object: Option<&Value>| object.is_some_and(|o| o["spec"]["accountId"] == "999999999999");
    world.wait_on(&world.accounts(), &name, changed, "to be what the store holds").await?;
    Ok(())
}

#[tokio::test]
async fn a_world_alone_shares_no_object_with_others() -> Result<()> {
    let (alone, world) = (World::alone("smoke-alone").await?, World::new("smoke-shared").await?);
    assert!(alone.cluster().kubectl(["get", "ns", &alone.namespace])?.status.success());
    assert!(!alone.cluster().kubectl(["get", "ns", &world.namespace])?.status.success());
    assert!(alone.cluster().kubectl(["get", "br", "--all-namespaces"])?.status.success());
    let cluster = alone.cluster();
    drop(alone);
    for _ in 0..100 {
        if !cluster.kubectl(["get", "ns"])?.status.success() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("its cluster has not ended with it");
}

#[tokio::test]
async fn kubernetes_requests_are_counted_by_user_and_namespace() -> Result<()> {
    let world = World::with_insight("smoke-kube").await?;
    world
        .apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n")
        .await?;
    let refused = world.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nnonsense: 1\n").await;
    assert!(format!("{:#}", refused.unwrap_err()).contains("nonsense"));
    let requests = world.cluster().requests("admin", Some(&world.namespace))?;
    let writes = requests.iter().filter(|r| r.is_write() && r.code < 300);
    assert_eq!(writes.filter(|r| r.resource != "namespaces").count(), 2);
    assert!(world.kube_requests()?.is_empty());
    let output = world.cluster().kubectl(["get", "cm", "a", "-n", &world.namespace])?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}
