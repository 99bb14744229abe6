//! The leader goes, in each of the ways that one can go, in the middle of its work. Another finishes it, and no two
//! ever write to AWS.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use rig::kind::install::chart;
use rig::kind::writers;
use serde_json::json;

use super::ground::Ground;
use super::node;
use super::pod::OperatorPod;
use super::site::Site;
use super::work::Work;

/// How long the leader stays stopped: several times as long as its Lease.
const FROZEN: u32 = 60;

/// The API server, as the pod finds it.
const SERVER: &str = r#"
[server] = [w.split(b"=")[1].decode() for w in words(pid, "environ") if w.startswith(b"KUBERNETES_SERVICE_HOST=")]
"#;

pub fn deleted(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::own(ground, "deleted", json!({})).await?;
        let leader = site.leader().await?;
        let mut work = Work::begin(&site, &leader).await?;
        let pods: Api<Pod> = Api::namespaced(ground.kube.clone(), &site.release.namespace);
        pods.delete(&leader.name, &DeleteParams::default()).await?;
        work.add("meanwhile").await?;
        let next = site.another_leads(&leader).await?;
        ensure!(next.uid != leader.uid, "it is the same pod: {next:?}");
        work.is_done().await?;
        work.remove().await?;
        site.wrote_one_after_the_other(&[&leader, &next]).await?;
        site.close().await
    })
}

pub fn killed(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::own(ground, "killed", json!({})).await?;
        let leader = site.leader().await?;
        let mut work = Work::begin(&site, &leader).await?;
        node::signal(ground, &leader, "KILL").await?;
        work.add("meanwhile").await?;
        let next = site.another_leads(&leader).await?;
        let again = site.pod("the killed one is ready again", |pod| lives_again(pod, &leader)).await?;
        ensure!(again.exit_code == Some(137), "it ended with {:?}", again.exit_code);
        work.is_done().await?;
        work.remove().await?;
        site.wrote_one_after_the_other(&[&leader, &next]).await?;
        site.close().await
    })
}

/// The minute that it is stopped for is over when the kernel's clock says so, which the operator's claim goes by too;
/// nothing here waits for less or more.
pub fn frozen(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        // Its probe would have it restarted before it wakes up.
        let site = Site::own(ground, "frozen", json!({"livenessProbe": {"failureThreshold": 100}})).await?;
        let leader = site.leader().await?;
        let mut work = Work::begin(&site, &leader).await?;
        let stop = "os.kill(pid, signal.SIGSTOP)\nprint(time.clock_gettime(time.CLOCK_BOOTTIME))";
        let stopped = node::facts(ground, &leader, stop).await?;

        let next = site.another_leads(&leader).await?;
        ensure!(next.uid != leader.uid, "it is the same pod: {next:?}");
        work.add("meanwhile").await?;
        work.is_done().await?;

        let wake = format!(
            "while time.clock_gettime(time.CLOCK_BOOTTIME) < {stopped} + {FROZEN}: time.sleep(0.05)\n\
             os.kill(pid, signal.SIGCONT)"
        );
        node::run(ground, &leader, &wake).await?;
        site.logged(&leader, &["no longer leading", "following"]).await?;
        work.add("afterwards").await?;
        work.is_done().await?;
        let woken =
            site.pod("the pod that woke up is ready", |pod| pod.uid == leader.uid && pod.ready).await?;
        ensure!(woken.restarts == leader.restarts, "it was restarted: {woken:?}");
        work.remove().await?;
        site.wrote_one_after_the_other(&[&leader, &next]).await?;
        site.close().await
    })
}

pub fn cut_off(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::own(ground, "cut-off", json!({})).await?;
        let leader = site.leader().await?;
        let mut work = Work::begin(&site, &leader).await?;
        let route = |verb: &str| format!("{SERVER}network('ip', 'route', '{verb}', 'blackhole', server)");
        node::run(ground, &leader, &route("add")).await?;
        // AWS it still reaches.
        site.logged(&leader, &["no longer leading"]).await?;
        let next = site.another_leads(&leader).await?;
        ensure!(next.uid != leader.uid, "it is the same pod: {next:?}");
        work.add("meanwhile").await?;
        work.is_done().await?;

        node::run(ground, &leader, &route("del")).await?;
        site.logged(&leader, &["no longer leading", "following"]).await?;
        let back =
            site.pod("the pod that was cut off is ready", |pod| pod.uid == leader.uid && pod.ready).await?;
        ensure!(back.restarts == leader.restarts, "it was restarted: {back:?}");
        work.remove().await?;
        site.wrote_one_after_the_other(&[&leader, &next]).await?;
        site.close().await
    })
}

pub fn rolled_out(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let mut site = Site::own(ground, "rolled-out", json!({})).await?;
        let before = site.all_ready(2).await?;
        site.tell("podAnnotations", json!({"version": "next"}));
        let site = site;
        let leader = site.leader().await?;
        let mut work = Work::begin(&site, &leader).await?;
        let (chart, during) = (chart(), "meanwhile");
        let (upgraded, added) = tokio::join!(site.release.upgrade(&ground.kind, &chart), work.add(during));
        upgraded?;
        added?;
        let after = site.all_ready(2).await?;
        ensure!(
            after.iter().all(|new| before.iter().all(|old| old.uid != new.uid)),
            "some stayed: {after:?}"
        );
        work.is_done().await?;
        let last = site.leader().await?;
        work.remove().await?;
        let writes = site.writes().await?;
        writers::never_two(&writes)?;
        let order = writers::in_order(&writes);
        ensure!(
            order.first() == Some(&leader.name.as_str()) && order.last() == Some(&last.name.as_str()),
            "not from {} to {}: {order:?}",
            leader.name,
            last.name
        );
        site.close().await
    })
}

/// Whether a pod is another life of one that was there before, and ready.
pub fn lives_again(pod: &OperatorPod, before: &OperatorPod) -> bool {
    pod.uid == before.uid && pod.restarts > before.restarts && pod.ready
}
