//! The leader is deleted, killed, stopped, cut off or replaced while it works. Another pod finishes the work, and no
//! two pods write to AWS at the same time.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use rig::kind::install::chart;
use rig::kind::write_order;
use serde_json::json;

use super::cluster::Cluster;
use super::node;
use super::pod::OperatorPod;
use super::release::OperatorRelease;
use super::workload::Workload;

/// How long the leader stays stopped, in seconds: several times the duration of its Lease.
const FROZEN: u32 = 60;

/// Reads the address of the API server from the pod's environment.
const SERVER: &str = r#"
[server] = [w.split(b"=")[1].decode() for w in words(pid, "environ") if w.startswith(b"KUBERNETES_SERVICE_HOST=")]
"#;

pub fn deleted(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::own(cluster, "deleted", json!({})).await?;
        let leader = operator.leader().await?;
        let mut workload = Workload::begin(&operator, &leader).await?;
        let pods: Api<Pod> = Api::namespaced(cluster.kube.clone(), &operator.release.namespace);
        pods.delete(&leader.name, &DeleteParams::default()).await?;
        workload.add("meanwhile").await?;
        let next = operator.another_leads(&leader).await?;
        ensure!(next.uid != leader.uid, "it is the same pod: {next:?}");
        workload.wait_done().await?;
        workload.remove().await?;
        operator.check_writers(&[&leader, &next]).await?;
        operator.close().await
    })
}

pub fn killed(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::own(cluster, "killed", json!({})).await?;
        let leader = operator.leader().await?;
        let mut workload = Workload::begin(&operator, &leader).await?;
        node::signal(cluster, &leader, "KILL").await?;
        workload.add("meanwhile").await?;
        let next = operator.another_leads(&leader).await?;
        let again = operator.pod("the killed one is ready again", |pod| has_restarted(pod, &leader)).await?;
        ensure!(again.exit_code == Some(137), "it ended with {:?}", again.exit_code);
        workload.wait_done().await?;
        workload.remove().await?;
        operator.check_writers(&[&leader, &next]).await?;
        operator.close().await
    })
}

/// The operator's claim to the Lease expires by the kernel's boot clock, so the test measures the minute by the same
/// clock.
pub fn frozen(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        // Its liveness probe would restart it before it continues.
        let operator =
            OperatorRelease::own(cluster, "frozen", json!({"livenessProbe": {"failureThreshold": 100}}))
                .await?;
        let leader = operator.leader().await?;
        let mut workload = Workload::begin(&operator, &leader).await?;
        let stop = "os.kill(pid, signal.SIGSTOP)\nprint(time.clock_gettime(time.CLOCK_BOOTTIME))";
        let stopped = node::facts(cluster, &leader, stop).await?;

        let next = operator.another_leads(&leader).await?;
        ensure!(next.uid != leader.uid, "it is the same pod: {next:?}");
        workload.add("meanwhile").await?;
        workload.wait_done().await?;

        let wake = format!(
            "while time.clock_gettime(time.CLOCK_BOOTTIME) < {stopped} + {FROZEN}: time.sleep(0.05)\n\
             os.kill(pid, signal.SIGCONT)"
        );
        node::run(cluster, &leader, &wake).await?;
        operator.logged(&leader, &["no longer leading", "following"]).await?;
        workload.add("afterwards").await?;
        workload.wait_done().await?;
        let woken =
            operator.pod("the pod that woke up is ready", |pod| pod.uid == leader.uid && pod.ready).await?;
        ensure!(woken.restarts == leader.restarts, "it was restarted: {woken:?}");
        workload.remove().await?;
        operator.check_writers(&[&leader, &next]).await?;
        operator.close().await
    })
}

pub fn cut_off(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::own(cluster, "cut-off", json!({})).await?;
        let leader = operator.leader().await?;
        let mut workload = Workload::begin(&operator, &leader).await?;
        let route = |verb: &str| format!("{SERVER}network('ip', 'route', '{verb}', 'blackhole', server)");
        node::run(cluster, &leader, &route("add")).await?;
        // It still reaches AWS.
        operator.logged(&leader, &["no longer leading"]).await?;
        let next = operator.another_leads(&leader).await?;
        ensure!(next.uid != leader.uid, "it is the same pod: {next:?}");
        workload.add("meanwhile").await?;
        workload.wait_done().await?;

        node::run(cluster, &leader, &route("del")).await?;
        operator.logged(&leader, &["no longer leading", "following"]).await?;
        let back = operator
            .pod("the pod that was cut off is ready", |pod| pod.uid == leader.uid && pod.ready)
            .await?;
        ensure!(back.restarts == leader.restarts, "it was restarted: {back:?}");
        workload.remove().await?;
        operator.check_writers(&[&leader, &next]).await?;
        operator.close().await
    })
}

pub fn rolled_out(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let mut operator = OperatorRelease::own(cluster, "rolled-out", json!({})).await?;
        let before = operator.all_ready(2).await?;
        operator.set_value("podAnnotations", json!({"version": "next"}));
        let operator = operator;
        let leader = operator.leader().await?;
        let mut workload = Workload::begin(&operator, &leader).await?;
        let (new_chart, during) = (chart(), "meanwhile");
        let (upgraded, added) =
            tokio::join!(operator.release.upgrade(&cluster.kind, &new_chart), workload.add(during));
        upgraded?;
        added?;
        let after = operator.all_ready(2).await?;
        ensure!(
            after.iter().all(|new| before.iter().all(|old| old.uid != new.uid)),
            "some stayed: {after:?}"
        );
        workload.wait_done().await?;
        let last = operator.leader().await?;
        workload.remove().await?;
        let writes = operator.writes().await?;
        write_order::check_one_at_a_time(&writes)?;
        let order = write_order::order(&writes);
        ensure!(
            order.first() == Some(&leader.name.as_str()) && order.last() == Some(&last.name.as_str()),
            "not from {} to {}: {order:?}",
            leader.name,
            last.name
        );
        operator.close().await
    })
}

/// Whether a pod has restarted since, and is ready.
pub fn has_restarted(pod: &OperatorPod, before: &OperatorPod) -> bool {
    pod.uid == before.uid && pod.restarts > before.restarts && pod.ready
}
