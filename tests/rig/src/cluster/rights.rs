//! The operator's permissions in Kubernetes: exactly those that `deploy/install.yaml` grants its ServiceAccount.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::{Cluster, OPERATOR};
use crate::paths;

/// The API group of roles and bindings.
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Longer than any run. The token ends with the ServiceAccount, and with the cluster if the rig started it.
const VALID: &str = "--duration=24h";

/// The user of the command line. It may read objects in namespaces, as people with the role `view` may, and may write
/// nothing.
const PERSON: &str = "person";

/// The roles that Kubernetes aggregates into `view`. In a cluster without controllers nothing aggregates them.
const VIEW: &str = "system:aggregate-to-view";

/// The namespace of `deploy/install.yaml`, which is part of its names, and the namespace that replaces it here. A test,
/// or the owner of a given cluster, can then install the operator beside these objects.
const NAMESPACES: [&str; 2] = ["s3-replication-system", "rig"];

/// The objects of `deploy/install.yaml`, in a namespace of the rig's.
fn installed() -> Result<Vec<Value>> {
    let path = paths::repository().join("deploy/install.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let [installed, own] = NAMESPACES;
    let text = text.replace(installed, own);
    serde_saphyr::from_multiple(&text).with_context(|| format!("{} is not YAML", path.display()))
}

/// The namespace and the name of the only ServiceAccount.
fn service_account(objects: &[Value]) -> Result<[&str; 2]> {
    let account = objects.iter().find(|o| o["kind"] == "ServiceAccount").context("no ServiceAccount")?;
    let part = |key: &str| account["metadata"][key].as_str().context("metadata");
    Ok([part("namespace")?, part("name")?])
}

/// The rights of a person with the role `view` where the operator is installed.
fn person(objects: &[Value], namespace: &str) -> Vec<Value> {
    let label = "rbac.authorization.k8s.io/aggregate-to-view";
    let viewed = objects.iter().filter(|o| o["metadata"]["labels"][label] == "true");
    let roles = viewed.filter_map(|o| o["metadata"]["name"].as_str()).chain([VIEW]);
    let bind = |role: &str| {
        json!({
            "apiVersion": RBAC,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("{PERSON}:{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": PERSON}],
        })
    };
    let metadata = json!({"namespace": namespace, "name": PERSON});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    roles.map(bind).chain([account]).collect()
}

impl Cluster {
    /// Grants the operator's ServiceAccount and the user of the command line their rights, and waits until the API
    /// server knows them. From now on the kubeconfig files are those of these users.
    pub(crate) fn grant(mut self) -> Result<Self> {
        let mut objects = installed()?;
        objects
            .retain(|o| o["kind"] == "Namespace" || o["kind"] == "ServiceAccount" || o["apiVersion"] == RBAC);
        let [namespace, name] = service_account(&objects)?;
        ensure!(
            user(namespace, name) == OPERATOR,
            "deploy/install.yaml installs another user than {OPERATOR}"
        );
        self.apply_rights(objects.iter().chain(&person(&objects, namespace)))?;
        self.operator = self.kubeconfig_of(namespace, name)?;
        self.person = self.kubeconfig_of(namespace, PERSON)?;
        self.wait_allowed("patch", "bucketreplications.s3replication.dev")?;
        Ok(self)
    }

    /// Lets the operator hold a Lease in a namespace, by the rules that its release has for its own. Tests that run at
    /// the same time need one Lease each.
    pub fn allow_lease(&self, namespace: &str, lease: &str) -> Result<()> {
        let mut objects = installed()?;
        objects.retain(|o| o["kind"] == "Role" || o["kind"] == "RoleBinding");
        for object in &mut objects {
            object["metadata"] = json!({"name": lease, "namespace": namespace});
            if object["kind"] == "RoleBinding" {
                object["roleRef"]["name"] = json!(lease);
            }
            let rules = object.get_mut("rules").and_then(Value::as_array_mut);
            for rule in rules.into_iter().flatten().filter(|rule| rule["resourceNames"].is_array()) {
                rule["resourceNames"] = json!([lease]);
            }
        }
        self.apply_rights(&objects)
    }

    /// Applies objects that give rights, together.
    pub fn apply_rights<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> Result<()> {
        let items: Vec<&Value> = objects.into_iter().collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let output = self.kubectl_with_input(apply, &list.to_string())?;
        if !output.status.success() {
            bail!("cannot give rights: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Writes a kubeconfig file for a ServiceAccount, with a token as its pods have one.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let output = self.kubectl(["create", "token", account, "-n", namespace, VALID])?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("no token for {namespace}/{account}: {error}");
        }
        let token = String::from_utf8(output.stdout)?;
        let mut config = serde_json::to_value(Kubeconfig::read_from(&self.admin)?)?;
        for user in config["users"].as_array_mut().into_iter().flatten() {
            user["user"] = json!({"token": token.trim()});
        }
        let path = paths::scratch_dir("kubeconfig")?.join("config");
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// The API server's authorizer watches roles and learns of them shortly after they are created.
    fn wait_allowed(&self, verb: &str, resource: &str) -> Result<()> {
        let question = ["auth", "can-i", verb, resource, "--all-namespaces", "--as", OPERATOR];
        for _ in 0..100 {
            let answer = self.kubectl(question)?;
            if answer.status.success() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        bail!("{OPERATOR} may not {verb} {resource}, although deploy/install.yaml was applied")
    }
}

/// The name by which the API server knows a ServiceAccount.
pub fn user(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}
