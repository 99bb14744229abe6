//! The operator's process in its pod: its privileges, and its HTTP endpoints.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cluster::Cluster;
use super::node;
use super::release::OperatorRelease;

/// Reads the privileges of the process from /proc.
const FACTS: &str = r#"
status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
mounts = [line.split() for line in open(f"/proc/{pid}/mountinfo")]
root = f"/proc/{pid}/root"
print(json.dumps({
    "uid": status["Uid"].split(), "gid": status["Gid"].split(), "capabilities": int(status["CapEff"], 16),
    "no_new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "root": [m[5].split(",") for m in mounts if m[4] == "/"],
    "programs": sorted(f for d in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin")
        if os.path.isdir(f"{root}/{d}") for f in os.listdir(f"{root}/{d}")),
}))"#;

pub fn has_no_rights(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "rights").await?;
        for pod in operator.all_ready(2).await? {
            let facts = node::facts(cluster, &pod, FACTS).await?;
            let all = |value: &str| Value::from(vec![value; 4]);
            ensure!(facts["uid"] == all("65532") && facts["gid"] == all("65532"), "its user: {facts}");
            ensure!(facts["capabilities"] == 0, "its capabilities: {facts}");
            ensure!(facts["no_new_privileges"] == "1" && facts["seccomp"] == "2", "its confinement: {facts}");
            let root = facts["root"][0].as_array().context("it has no root")?;
            ensure!(root.iter().any(|option| option == "ro"), "its root can be written: {facts}");
            let only = Value::from(vec!["s3-replication-operator"]);
            ensure!(facts["programs"] == only, "its programs: {facts}");
        }
        Ok(())
    })
}

pub fn answers_probes(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "probes").await?;
        for pod in operator.all_ready(2).await? {
            for (path, expected) in [("livez", "ok"), ("readyz", "ok"), ("metrics", "# EOF")] {
                let namespace = &operator.release.namespace;
                let url = format!("/api/v1/namespaces/{namespace}/pods/{}:8080/proxy/{path}", pod.name);
                let answer = cluster.kind.kubectl.run(["get", "--raw", &url]).await?;
                ensure!(answer.trim_end().ends_with(expected), "/{path} answers {answer}");
            }
        }
        Ok(())
    })
}
