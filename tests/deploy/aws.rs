//! What is in `deploy/aws`: the policies allow what the operator says it needs and no more, and it lives under them.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kube::api::DeleteParams;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{NAMESPACE, name, read, rendered, repository, the};

fn policy(file: &str) -> Result<Value> {
    serde_json::from_str(&read(&format!("deploy/aws/{file}"))?).with_context(|| format!("{file} is not JSON"))
}

/// All actions that a policy allows.
fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let list = |value: &Value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        one => one.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    };
    statements.flat_map(|statement| list(&statement["Action"])).collect()
}

/// A resource that needs all that there is.
fn resource(policy: &str) -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": "orders", "namespace": "data"},
        "spec": {
            "source": {"bucket": "source-bucket-us-east-1"},
            "managementPolicy": policy,
            "role": {"permissionsBoundary": "arn:aws:iam::111122223333:policy/boundary"},
            "rules": [{"id": "all", "destination": {"bucket": "dest-bucket-eu-west-1"}}],
        },
    })
}

/// The actions that the program says it needs for a resource.
fn needed(resource: &Value) -> Result<BTreeSet<String>> {
    let file = rig::paths::scratch_dir("policy")?.join("resource.yaml");
    std::fs::write(&file, resource.to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"))
        .args(["policy", "-o", "json", "-f"])
        .arg(&file)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout)?;
    Ok(actions(&printed["policy of the operator"]))
}

#[test]
fn the_policies_allow_what_the_operator_needs_and_no_more() -> Result<()> {
    assert_eq!(actions(&policy("operator-policy.json")?), needed(&resource("Enforce"))?);
    assert_eq!(actions(&policy("observe-policy.json")?), needed(&resource("Observe"))?);
    Ok(())
}

/// A world that enforces policies, with an operator that has one of these. The emulator leaves the path of a role out
/// of the resource it looks for in a policy, so that the path is left out here too.
async fn operator(world: &World, file: &str) -> Result<rig::Operator> {
    let policy = read(&format!("deploy/aws/{file}"))?;
    assert!(policy.contains(":role/s3-replication/*"));
    let policy = policy.replace("ACCOUNT_ID", &world.account).replace(":role/s3-replication/*", ":role/*");
    let (key, secret) = world.user("operator", &policy).await?;
    let operator = world.operator().binary(env!("CARGO_BIN_EXE_s3-replication-operator"));
    operator.credentials(&key, &secret).start().await
}

#[tokio::test]
async fn the_operator_lives_under_its_policy() -> Result<()> {
    let world = World::with_auth("deploy-policy").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let _operator = operator(&world, "operator-policy.json").await?;
    let mut orders = resource("Enforce");
    orders["metadata"]["namespace"] = json!(world.namespace);
    orders["spec"]["source"]["bucket"] = json!(source);
    orders["spec"]["rules"][0]["destination"]["bucket"] = json!(destination);
    orders["spec"]["role"] = json!({"permissionsBoundary": "arn:aws:iam::aws:policy/AmazonS3FullAccess"});
    world.apply(&orders.to_string()).await?;
    world.wait_ready("orders").await?;
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await
}

#[tokio::test]
async fn an_operator_that_may_only_look_finds_what_differs() -> Result<()> {
    let world = World::with_auth("deploy-observe").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let _operator = operator(&world, "observe-policy.json").await?;
    let mut orders = resource("Observe");
    orders["metadata"]["namespace"] = json!(world.namespace);
    orders["spec"]["source"]["bucket"] = json!(source);
    orders["spec"]["rules"][0]["destination"]["bucket"] = json!(destination);
    world.apply(&orders.to_string()).await?;
    let drifted = |status: &Value| status["conditions"][0]["reason"] == "Drifted";
    world.wait("orders", drifted, "to be Drifted").await?;
    assert_eq!(world.proxy.writes().len(), 0);
    Ok(())
}

#[test]
fn the_trust_policies_are_for_the_service_account_of_the_chart() -> Result<()> {
    let objects = rendered(&json!({}))?;
    let account = name(the(&objects, "ServiceAccount")?);
    let condition = |file: &str| -> Result<Value> {
        Ok(policy(file)?["Statement"][0]["Condition"]["StringEquals"].clone())
    };
    assert_eq!(
        condition("trust-irsa.json")?["OIDC_PROVIDER:sub"],
        json!(format!("system:serviceaccount:{NAMESPACE}:{account}"))
    );
    assert_eq!(
        condition("trust-pod-identity.json")?,
        json!({
            "aws:RequestTag/kubernetes-namespace": NAMESPACE,
            "aws:RequestTag/kubernetes-service-account": account,
        })
    );
    for file in ["cli/pod-identity.sh", "terraform/pod-identity/main.tf"] {
        let text = read(&format!("deploy/aws/{file}"))?;
        assert!(text.contains(NAMESPACE) && text.contains(account), "{file}");
    }
    Ok(())
}

#[test]
fn scripts_and_modules_name_documents_that_there_are() -> Result<()> {
    for file in
        ["cli/irsa.sh", "cli/pod-identity.sh", "terraform/irsa/main.tf", "terraform/pod-identity/main.tf"]
    {
        let text = read(&format!("deploy/aws/{file}"))?;
        let names = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c));
        let named: BTreeSet<&str> =
            names.map(|word| word.trim_start_matches('-')).filter(|word| word.ends_with(".json")).collect();
        assert!(named.len() >= 2, "{file} names {named:?}");
        for document in named {
            policy(document).with_context(|| file)?;
        }
        if file.ends_with(".sh") {
            let path = repository(&format!("deploy/aws/{file}"));
            ensure!(Command::new("sh").arg("-n").arg(path).status()?.success(), "{file}");
        }
    }
    Ok(())
}
