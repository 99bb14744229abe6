//! The operator's pod: what it may do, whom it finds, what it answers.

use anyhow::{Context, Result, ensure};
use rig::kind::Kubectl;
use rig::kind::install::OPERATOR_NAMESPACE;
use serde_json::Value;

use super::case::{Case, DEADLINE};
use super::ground::Ground;
use super::node;

/// The pod of the operator, as it is now.
#[derive(Debug, PartialEq, Eq)]
pub struct OperatorPod {
    pub name: String,
    pub uid: String,
    pub node: String,
    pub restarts: u64,
    /// How its container ended the last time, if it has.
    pub exit_code: Option<i64>,
}

impl OperatorPod {
    /// The one pod that is ready; nothing while there is none, or two.
    pub async fn ready(kubectl: &Kubectl) -> Result<Option<Self>> {
        let pods = kubectl.get(&["-n", OPERATOR_NAMESPACE, "pods"]).await?;
        let pods = pods["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let [pod] = pods else {
            return Ok(None);
        };
        let text =
            |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let container = &pod["status"]["containerStatuses"][0];
        if container["ready"] != true || !pod["metadata"]["deletionTimestamp"].is_null() {
            return Ok(None);
        }
        Ok(Some(Self {
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            node: text("/spec/nodeName"),
            restarts: container["restartCount"].as_u64().unwrap_or_default(),
            exit_code: container["lastState"]["terminated"]["exitCode"].as_i64(),
        }))
    }

    /// Waits for the ready pod that is as wanted.
    pub async fn wait(ground: &Ground, what: &str, wanted: impl Fn(&Self) -> bool) -> Result<Self> {
        let look = async |kubectl: &Kubectl| Ok(Self::ready(kubectl).await?.filter(|pod| wanted(pod)));
        ground.kubectl.until(what, DEADLINE, look).await
    }

    /// The pod that is ready, whichever it is.
    pub async fn current(ground: &Ground) -> Result<Self> {
        Self::wait(ground, "the operator's pod is ready", |_| true).await
    }
}

pub fn has_no_rights(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let pod = OperatorPod::current(ground).await?;
        let facts = node::facts(
            ground,
            &pod,
            r#"
status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
mounts = [line.split() for line in open(f"/proc/{pid}/mountinfo")]
root = f"/proc/{pid}/root"
print(json.dumps({
    "uid": status["Uid"].split(), "gid": status["Gid"].split(), "capabilities": int(status["CapEff"], 16),
    "no_new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "root": [m[5].split(",") for m in mounts if m[4] == "/"],
    "programs": sorted(f for d in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin")
        if os.path.isdir(f"{root}/{d}") for f in os.listdir(f"{root}/{d}")),
}))"#,
        )
        .await?;
        let all = |value: &str| Value::from(vec![value; 4]);
        ensure!(facts["uid"] == all("65532") && facts["gid"] == all("65532"), "its user: {facts}");
        ensure!(facts["capabilities"] == 0, "its capabilities: {facts}");
        ensure!(facts["no_new_privileges"] == "1" && facts["seccomp"] == "2", "its confinement: {facts}");
        let root = facts["root"][0].as_array().context("it has no root")?;
        ensure!(root.iter().any(|option| option == "ro"), "its root can be written: {facts}");
        ensure!(facts["programs"] == Value::from(vec!["s3-replication-operator"]), "its programs: {facts}");
        Ok(())
    })
}

pub fn resolves_names(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let deployment = ["-n", OPERATOR_NAMESPACE, "deployment", "s3-replication-operator"];
        let deployment = ground.kubectl.get(&deployment).await?;
        let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
        let endpoint =
            variables.into_iter().flatten().find(|variable| variable["name"] == "AWS_ENDPOINT_URL");
        let endpoint = endpoint.context("the operator has no endpoint")?;
        ensure!(
            endpoint["value"] == "http://emulator.aws",
            "not a name that has to be completed: {endpoint}"
        );
        let case = Case::ready(ground, "names").await?;
        // Written with the rights of its service account.
        let by_operator = async |kubectl: &Kubectl| {
            let events = kubectl.get(&["events.events.k8s.io"]).await?;
            let all = events["items"].as_array().cloned().unwrap_or_default();
            Ok(all.into_iter().find(|event| event["regarding"]["name"] == case.name()))
        };
        ground.kubectl.until("the operator's event", DEADLINE, by_operator).await?;
        case.delete().await
    })
}

pub fn answers_probes(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let pod = OperatorPod::current(ground).await?;
        for (path, expected) in [("livez", "ok"), ("readyz", "ok"), ("metrics", "# EOF")] {
            let url = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{}:8080/proxy/{path}", pod.name);
            let answer = ground.kubectl.run(["get", "--raw", &url]).await?;
            ensure!(answer.trim_end().ends_with(expected), "/{path} answers {answer}");
        }
        Ok(())
    })
}
