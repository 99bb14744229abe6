//! The permissions that rendered roles grant, one by one.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rig::Cluster;
use rig::cluster::user;
use rig::world::DEADLINE;
use serde_json::{Value, json};

use crate::support::{name, the};

/// The interval of polling.
const PAUSE: Duration = Duration::from_millis(100);

/// One verb on one kind of resource, or on one object by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub group: String,
    pub resource: String,
    pub name: Option<String>,
    pub verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Right { group, resource, name, verb } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        name.iter().try_for_each(|name| write!(f, " {name}"))
    }
}

impl Right {
    /// Each permission of a role.
    fn all_of(role: &Value) -> Vec<Right> {
        let list = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut all = Vec::new();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let names = match rule["resourceNames"].is_array() {
                true => list(&rule["resourceNames"]).into_iter().map(Some).collect(),
                false => vec![None],
            };
            for (group, resource) in list(&rule["apiGroups"])
                .iter()
                .flat_map(|g| list(&rule["resources"]).into_iter().map(move |r| (g, r)))
            {
                for verb in list(&rule["verbs"]) {
                    all.extend(names.iter().cloned().map(|name| Right {
                        group: group.clone(),
                        resource: resource.clone(),
                        name,
                        verb: verb.clone(),
                    }));
                }
            }
        }
        all
    }

    /// The arguments by which `kubectl auth can-i` knows it.
    fn words(&self) -> [String; 3] {
        let (resource, part) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let mut object = match self.group.as_str() {
            "" => resource.to_owned(),
            group => format!("{resource}.{group}"),
        };
        object.extend(self.name.iter().map(|name| format!("/{name}")));
        [self.verb.clone(), object, format!("--subresource={part}")]
    }

    fn as_rule(&self) -> Value {
        let mut rule = json!({"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb]});
        if let Some(name) = &self.name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    }
}

/// Whether these objects bind a role.
fn is_bound(role: &Value, objects: &[Value]) -> bool {
    let mut bound = objects.iter().map(|o| &o["roleRef"]);
    role["rules"].is_array()
        && bound.any(|r| r["kind"] == role["kind"] && r["name"] == role["metadata"]["name"])
}

/// The permissions that these objects grant to the operator.
pub fn granted(objects: &[Value]) -> BTreeSet<Right> {
    objects.iter().filter(|o| is_bound(o, objects)).flat_map(Right::all_of).collect()
}

/// The objects without one permission.
pub fn without(objects: &[Value], taken: &Right) -> Vec<Value> {
    let mut objects = objects.to_vec();
    for role in objects.iter_mut().filter(|o| o["rules"].is_array()) {
        let rest = Right::all_of(role).into_iter().filter(|right| right != taken);
        role["rules"] = rest.map(|right| right.as_rule()).collect();
    }
    objects
}

/// Waits until the API server grants a user one permission of each role that these objects bind to it: the authorizer learns
/// of roles and bindings shortly after they are there.
fn wait_granted(cluster: &Cluster, objects: &[Value], caller: &str) -> Result<()> {
    for binding in objects.iter().filter(|o| is_for(o, caller)) {
        let namespace = binding["metadata"]["namespace"].as_str();
        let is_elsewhere =
            |role: &Value| role["kind"] == "Role" && role["metadata"]["namespace"] != json!(namespace);
        let role = objects.iter().find(|o| is_bound(o, std::slice::from_ref(binding)) && !is_elsewhere(o));
        let Some(right) = role.and_then(|role| Right::all_of(role).into_iter().next()) else { continue };
        let scope = namespace.map_or("--all-namespaces".to_owned(), |name| format!("--namespace={name}"));
        let (asks, right_words) = (["auth", "can-i", &scope, "--as", caller], right.words());
        let args: Vec<&str> = asks.into_iter().chain(right_words.iter().map(String::as_str)).collect();
        let start = Instant::now();
        // kubectl warns of a resource that is in no namespace, and answers nevertheless.
        while !String::from_utf8_lossy(&cluster.kubectl(&args)?.stdout).starts_with("yes") {
            ensure!(start.elapsed() < DEADLINE, "{caller} may not {right}");
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Whether this binds a role to a user.
fn is_for(binding: &Value, caller: &str) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut subjects = binding["subjects"].as_array().into_iter().flatten();
    subjects.any(|subject| user(&text(&subject["namespace"]), &text(&subject["name"])) == caller)
}

/// Applies the RBAC objects among these, and waits until they take effect. Returns the ServiceAccount's name and a
/// kubeconfig file for it.
pub fn give(cluster: &Cluster, objects: &[Value]) -> Result<(String, PathBuf)> {
    let rights =
        |o: &&Value| o["kind"] == "ServiceAccount" || o["apiVersion"] == "rbac.authorization.k8s.io/v1";
    cluster.apply_rights(objects.iter().filter(rights))?;
    let account = the(objects, "ServiceAccount")?;
    let namespace = account["metadata"]["namespace"].as_str().context("a namespace")?;
    wait_granted(cluster, objects, &user(namespace, name(account)))?;
    Ok((name(account).to_owned(), cluster.kubeconfig_of(namespace, name(account))?))
}
