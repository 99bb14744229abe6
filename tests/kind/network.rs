//! The operator in the cluster's network: it resolves names, and a NetworkPolicy limits what it reaches.

use anyhow::{Context, Result, ensure};

use rig::kind::install::{AWS_NAMESPACE, RELEASE};
use serde_json::{Value, json};

use super::cluster::{Cluster, DEADLINE};
use super::release::OperatorRelease;
use super::replication::Replication;

/// Tries two ports of the cluster's DNS until three tries in a row fail, or the time is over: a policy may take effect only
/// after its pod has started, and a busy machine may let one try fail.
const TRY: &str = r#"
import json, socket, time
from concurrent.futures import ThreadPoolExecutor
def fails(port):
    end, failures = time.monotonic() + 20, 0
    while failures < 3 and time.monotonic() < end:
        try:
            socket.create_connection(("kube-dns.kube-system", port), 2).close()
            failures = 0
        except OSError:
            failures += 1
        time.sleep(0.5)
    return failures == 3
with ThreadPoolExecutor() as pool:
    metrics, dns = pool.map(fails, (9153, 53))
print(json.dumps({"metrics": metrics, "dns": dns}))
"#;

pub fn resolves_names(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "names").await?;
        let deployment = ["-n", &operator.release.namespace, "deployment", RELEASE];
        let deployment = cluster.kind.kubectl.get(&deployment).await?;
        let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
        let endpoint =
            variables.into_iter().flatten().find(|variable| variable["name"] == "AWS_ENDPOINT_URL");
        let endpoint = endpoint.context("the operator has no endpoint")?;
        ensure!(
            endpoint["value"] == format!("http://emulator.{AWS_NAMESPACE}"),
            "not a name that has to be completed: {endpoint}"
        );
        let replication = Replication::ready(&operator, "case").await?;
        // Written with the permissions of its service account.
        let by_operator = async || {
            let events = cluster.kind.kubectl.get(&["events.events.k8s.io"]).await?;
            let all = events["items"].as_array().cloned().unwrap_or_default();
            Ok(all.into_iter().find(|event| event["regarding"]["name"] == replication.name()))
        };
        cluster.until("the operator's event", by_operator).await?;
        replication.delete().await
    })
}

/// Whether the network enforces policies is found out with a policy that allows nothing. Only then the test checks that
/// the chart's policy refuses the rest.
pub fn policy(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let emulator = json!([{
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": AWS_NAMESPACE}}}],
            "ports": [{"port": 4566, "protocol": "TCP"}],
        }]);
        let values = json!({"networkPolicy": {"enabled": true, "extraEgress": emulator}});
        let operator = OperatorRelease::own(cluster, "policy", values).await?;
        Replication::ready(&operator, "case").await?.delete().await?;

        let kubectl = &cluster.kind.kubectl;
        let namespace = operator.release.namespace.as_str();
        let nothing = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "nothing", "namespace": namespace},
            "spec": {
                "podSelector": {"matchLabels": {"may": "nothing"}},
                "policyTypes": ["Egress"],
                "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
            },
        });
        kubectl.apply(&nothing.to_string()).await?;
        // The labels that the chart's policy selects.
        let as_operator =
            json!({"app.kubernetes.io/name": "s3-replication-operator", "app.kubernetes.io/instance": RELEASE});
        let (free, denied, like_operator) = tokio::try_join!(
            attempt(cluster, namespace, "free", json!({})),
            attempt(cluster, namespace, "denied", json!({"may": "nothing"})),
            attempt(cluster, namespace, "like-operator", as_operator),
        )?;
        ensure!(free["metrics"] == false && free["dns"] == false, "what no policy is about failed: {free}");
        if denied["metrics"] == false {
            // Shown in the output of the test.
            eprintln!("the network of this cluster enforces no policies: that the chart's denies was not seen");
        } else {
            ensure!(like_operator["metrics"] == true, "the policy let through what it does not name");
        }
        ensure!(like_operator["dns"] == false, "the policy denied DNS");
        operator.close().await
    })
}

/// Starts a pod with these labels. Returns what it could reach.
async fn attempt(cluster: &Cluster, namespace: &str, name: &str, labels: Value) -> Result<Value> {
    let kubectl = &cluster.kind.kubectl;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "python",
                "image": cluster.kind.images.emulator,
                "command": ["python3", "-c", TRY],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    kubectl.apply(&pod.to_string()).await?;
    let pod = format!("pod/{name}");
    let ended = ["-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", &pod];
    kubectl.wait(&ended, DEADLINE).await?;
    let printed = kubectl.run(["-n", namespace, "logs", name]).await?;
    serde_json::from_str(&printed).with_context(|| format!("no JSON: {printed}"))
}
