//! What is seen and done on a node, past Kubernetes: a pod with all rights that runs a few lines of Python.

use anyhow::{Context, Result, ensure};
use rig::kind::Kubectl;
use serde_json::{Value, json};

use super::case::DEADLINE;
use super::ground::Ground;
use super::pod::OperatorPod;

const NAMESPACE: &str = "kube-system";

/// Finds the operator's process, as the node numbers it.
const FIND: &str = r#"
import os, signal, sys
def command(pid):
    try:
        return open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")[0]
    except OSError:
        return b""
found = [p for p in os.listdir("/proc") if p.isdigit() and command(p) == b"/usr/local/bin/s3-replication-operator"]
if len(found) != 1:
    sys.exit(f"{len(found)} operators on this node: {found}")
pid = int(found[0])
"#;

/// Runs a script on the node of the operator's pod, with the number of its process in `pid`, and returns what it
/// prints.
pub async fn run(ground: &Ground, operator: &OperatorPod, script: &str) -> Result<String> {
    let kubectl = &ground.kubectl;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "on-node", "namespace": NAMESPACE},
        "spec": {
            "nodeName": operator.node,
            "hostPID": true,
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "python",
                "image": ground.images.emulator,
                "command": ["python3", "-c", format!("{FIND}{script}")],
                "securityContext": {"privileged": true, "runAsUser": 0, "runAsNonRoot": false},
            }],
        },
    });
    kubectl.apply(&pod.to_string()).await?;
    let ended = async |kubectl: &Kubectl| {
        let pod = kubectl.get(&["-n", NAMESPACE, "pod", "on-node"]).await?;
        let phase = pod["status"]["phase"].as_str().map(str::to_owned);
        Ok(phase.filter(|phase| phase == "Succeeded" || phase == "Failed"))
    };
    let phase = kubectl.until("a script on a node has ended", DEADLINE, ended).await;
    let output = kubectl.run(["-n", NAMESPACE, "logs", "on-node"]).await;
    kubectl
        .wait(&["-n", NAMESPACE, "delete", "pod", "on-node", "--grace-period=0", "--force"], DEADLINE)
        .await?;
    let output = output?;
    ensure!(phase? == "Succeeded", "a script on a node failed:\n{output}");
    Ok(output)
}

/// Sends the operator's process a signal, as only its node can.
pub async fn signal(ground: &Ground, operator: &OperatorPod, name: &str) -> Result<()> {
    run(ground, operator, &format!("os.kill(pid, signal.SIG{name})")).await.map(drop)
}

/// What a script printed as JSON.
pub async fn facts(ground: &Ground, operator: &OperatorPod, script: &str) -> Result<Value> {
    let output = run(ground, operator, &format!("import json\n{script}")).await?;
    serde_json::from_str(&output).with_context(|| format!("no JSON: {output}"))
}
