//! Acts on a node directly: a privileged pod on each node runs short Python scripts.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use rig::kind::Kind;
use serde_json::{Value, json};

use super::cluster::{Cluster, DEADLINE};
use super::pod::OperatorPod;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "on-node";

/// Finds the process of an operator's pod in the node's process ids: its environment has the pod's name.
const FIND: &str = r#"
import json, os, signal, subprocess, sys, time
def words(pid, file):
    try:
        return open(f"/proc/{pid}/{file}", "rb").read().split(b"\0")
    except OSError:
        return []
found = [
    p for p in os.listdir("/proc")
    if p.isdigit() and words(p, "cmdline")[:1] == [b"/usr/local/bin/s3-replication-operator"]
    and f"POD_NAME={pod}".encode() in words(p, "environ")
]
if len(found) != 1:
    sys.exit(f"{len(found)} processes of {pod} on this node: {found}")
pid = int(found[0])
def network(*command):
    # With the node's own programs, in the network of the pod.
    enter = ["/usr/bin/nsenter", f"--net=/proc/{pid}/ns/net", "--wd=/", "--"]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    at_home = lambda: os.chroot("/proc/1/root")
    subprocess.run([*enter, *command], check=True, preexec_fn=at_home, env={"PATH": path})
"#;

/// Starts the pods on the nodes.
pub async fn prepare(kind: &Kind) -> Result<()> {
    let pods = json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {
                    "hostPID": true,
                    "terminationGracePeriodSeconds": 0,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{
                        "name": "python",
                        "image": kind.images.emulator,
                        "command": ["python3", "-c", "import signal; signal.pause()"],
                        "securityContext": {"privileged": true, "runAsUser": 0, "runAsNonRoot": false},
                    }],
                },
            },
        },
    });
    kind.kubectl.apply(&pods.to_string()).await
}

/// Runs a script on the node of an operator's pod, with its process id in `pid`. Returns what the script
/// prints.
pub async fn run(cluster: &Cluster, operator: &OperatorPod, script: &str) -> Result<String> {
    let all: Api<Pod> = Api::namespaced(cluster.kube.clone(), NAMESPACE);
    let here = ListParams::default()
        .labels(&format!("app={NAME}"))
        .fields(&format!("spec.nodeName={}", operator.node));
    let ready = async || {
        let pods = all.list(&here).await?;
        let ready = |pod: &Pod| {
            let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
            if status.ready { pod.metadata.name.clone() } else { None }
        };
        Ok(pods.iter().find_map(ready))
    };
    let pod = cluster.until("the pod on a node is ready", ready).await?;
    let script = format!("pod = {:?}\n{FIND}{script}", operator.name);
    let exec = ["-n", NAMESPACE, "exec", &pod, "--", "python3", "-c", &script];
    cluster.kind.kubectl.run_within(exec, DEADLINE).await
}

/// Sends a signal to an operator's process from its node.
pub async fn signal(cluster: &Cluster, operator: &OperatorPod, name: &str) -> Result<()> {
    run(cluster, operator, &format!("os.kill(pid, signal.SIG{name})")).await.map(drop)
}

/// Runs a script that prints JSON. Returns the value.
pub async fn facts(cluster: &Cluster, operator: &OperatorPod, script: &str) -> Result<Value> {
    let output = run(cluster, operator, script).await?;
    serde_json::from_str(&output).with_context(|| format!("no JSON: {output}"))
}
