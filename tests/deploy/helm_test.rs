//! `helm test`: it runs no operator, and passes only where a pod of the Deployment is ready.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use rig::world::World;
use serde_json::{Value, json};

use crate::rbac::{Right, give, granted, without};
use crate::rendered::sets;
use crate::support::{
    NAMESPACE, RELEASE, documents, kubectl, of_kind, rendered, rendered_tests, rendered_text, the,
};

/// The arguments of the only container of the test.
fn arguments(objects: &[Value]) -> Result<Vec<String>> {
    let spec = &the(objects, "Pod")?["spec"];
    ensure!(spec["initContainers"].is_null(), "{spec}");
    let containers = spec["containers"].as_array().context("containers")?;
    let [container] = containers.as_slice() else { anyhow::bail!("{containers:?}") };
    Ok(serde_json::from_value(container["args"].clone())?)
}

#[test]
fn the_test_runs_no_operator_and_may_read_the_deployment_alone_whatever_the_values() -> Result<()> {
    for (what, values) in sets() {
        let objects = rendered_tests(RELEASE, NAMESPACE, &values)?;
        let started = arguments(&objects).with_context(|| what)?;
        assert_eq!(started.first().map(String::as_str), Some("ready"), "{what}");
        let installed = rendered(&values)?;
        let deployment = &the(&installed, "Deployment")?["metadata"]["name"];
        assert_eq!(json!(started.get(1)), *deployment, "{what}");

        let rights: Vec<String> = granted(&objects).iter().map(ToString::to_string).collect();
        let name = deployment.as_str().unwrap_or_default();
        let expected = match values["rbac"]["create"] == false {
            true => vec![],
            false => vec![format!("get deployments.apps {name}")],
        };
        assert_eq!(rights, expected, "{what}");
        for object in of_kind(&objects, "Role").into_iter().chain(of_kind(&objects, "RoleBinding")) {
            let policy = object["metadata"]["annotations"]["helm.sh/hook-delete-policy"].as_str();
            assert_eq!(policy, Some("before-hook-creation,hook-succeeded,hook-failed"), "{what}");
        }
        // The operator itself does not have the right.
        let own = granted(&installed);
        ensure!(own.iter().all(|right| right.resource != "deployments"), "{what}: {own:?}");
    }
    Ok(())
}

/// A release in a world, of which only the Deployment exists, and the program that tests it.
struct Tested<'a> {
    world: &'a World,
    arguments: Vec<String>,
}

impl Tested<'_> {
    /// Sets the number of replicas that the Deployment asks for, and what it reports of its pods.
    fn put(&self, replicas: u32, status: Value) -> Result<()> {
        let name = self.arguments.get(1).context("no Deployment")?;
        let patch = |part: &[&str], change: Value| {
            let change = change.to_string();
            let args =
                ["patch", "deployment", name, "-n", &self.world.namespace, "--type", "merge", "-p", &change];
            kubectl(self.world.cluster(), &[&args[..], part].concat(), "").map(drop)
        };
        patch(&[], json!({"spec": {"replicas": replicas}}))?;
        let generation = self.deployment()?["metadata"]["generation"].clone();
        let mut status = status;
        status["observedGeneration"] = generation;
        patch(&["--subresource", "status"], json!({"status": status}))
    }

    fn deployment(&self) -> Result<Value> {
        let name = self.arguments.get(1).context("no Deployment")?;
        let args = ["get", "deployment", name, "-n", &self.world.namespace, "-o", "json"];
        Ok(serde_json::from_str(&kubectl(self.world.cluster(), &args, "")?)?)
    }

    /// Runs the test's program with the rights in a kubeconfig file. It looks once.
    fn run(&self, kubeconfig: &Path) -> Result<Output> {
        let arguments = self.arguments.iter().filter(|argument| !argument.starts_with("--timeout="));
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"));
        Ok(command.args(arguments).arg("--timeout=0").env("KUBECONFIG", kubeconfig).output()?)
    }
}

#[tokio::test]
async fn the_test_passes_only_with_a_ready_pod_and_takes_no_lease() -> Result<()> {
    let world = World::new("helm-test").await?;
    let namespace = world.namespace.as_str();
    let values = json!({"rbac": {"aggregate": false}});
    let installed = documents(&rendered_text("tested", namespace, &values)?)?;
    let tests = rendered_tests("tested", namespace, &values)?;
    let tested = Tested { world: &world, arguments: arguments(&tests)? };
    // The rights of the test alone: it needs none of the operator's.
    let objects = [std::slice::from_ref(the(&installed, "ServiceAccount")?), &tests].concat();
    let (_, kubeconfig) = give(world.cluster(), &objects)?;
    let expect = |passes: bool, words: &str| -> Result<()> {
        let output = tested.run(&kubeconfig)?;
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success() == passes && printed.contains(words), "not {words}: {printed}");
        Ok(())
    };

    let all = ["get", "leases,deployments", "-n", namespace, "-o", "name"];
    expect(false, "has no Deployment tested-s3-replication-operator")?;
    kubectl(world.cluster(), &["apply", "-f", "-"], &the(&installed, "Deployment")?.to_string())?;
    expect(false, "has no ready pod of its present version")?;
    tested.put(2, json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 0}))?;
    expect(false, "has no ready pod of its present version")?;
    tested.put(2, json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}))?;
    expect(true, "1 of 2 pods are ready")?;
    // An upgrade whose new pod is not ready, beside the two pods of before.
    tested.put(2, json!({"replicas": 3, "updatedReplicas": 1, "readyReplicas": 2}))?;
    expect(false, "has no ready pod of its present version")?;
    // As docs/incident.md stops the operator.
    tested.put(0, json!({}))?;
    expect(false, "is scaled to 0, so that no operator runs")?;
    assert_eq!(kubectl(world.cluster(), &all, "")?, "deployment.apps/tested-s3-replication-operator\n");
    Ok(())
}

#[tokio::test]
async fn the_test_fails_without_its_right_and_names_it() -> Result<()> {
    let world = World::new("helm-test-right").await?;
    let namespace = world.namespace.as_str();
    let installed = documents(&rendered_text("tested", namespace, &json!({}))?)?;
    let tests = rendered_tests("tested", namespace, &json!({}))?;
    let rights: Vec<Right> = granted(&tests).into_iter().collect();
    let [right] = rights.as_slice() else { anyhow::bail!("{rights:?}") };
    let tested = Tested { world: &world, arguments: arguments(&tests)? };
    let objects =
        [std::slice::from_ref(the(&installed, "ServiceAccount")?), &without(&tests, right)].concat();
    let (_, kubeconfig) = give(world.cluster(), &objects)?;
    let output = tested.run(&kubeconfig)?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && printed.contains("cannot get resource \"deployments\""), "{printed}");
    Ok(())
}
