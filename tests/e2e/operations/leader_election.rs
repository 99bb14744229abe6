//! Several operators with one Lease: one works, the others wait with warm caches, and no two ever write to AWS at the
//! same time. Each operator names itself in the `User-Agent` of its requests, by which the proxy records the writer.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use rig::forwarder::Forwarder;
use rig::operator::Operator;
use rig::proxy::{Call, GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{operator_of, reason, replication, world_with_insight};

/// Short enough to wait for, long enough that a busy machine renews in time. A request that the proxy holds outlasts
/// the leadership of an operator that cannot renew: it is not tried again before.
pub(crate) const TIMES: [&str; 8] = [
    "--lease-duration",
    "22s",
    "--renew-deadline",
    "10s",
    "--retry-period",
    "500ms",
    "--aws-attempt-timeout",
    "12",
];

/// So long that the Lease never expires during a test, nor a request that the proxy holds.
const FOR_EVER: [&str; 8] = [
    "--lease-duration",
    "1h",
    "--renew-deadline",
    "50m",
    "--retry-period",
    "500ms",
    "--aws-attempt-timeout",
    "60",
];

const LEASE: &str = "the-lease";

/// One of several operators.
pub(crate) struct Candidate {
    name: &'static str,
    pub(crate) operator: Operator,
}

/// Starts an operator that takes part in the election.
pub(crate) async fn candidate(
    world: &World,
    name: &'static str,
    times: &[&str],
    kubeconfig: Option<&Path>,
) -> Result<Candidate> {
    let mut builder = operator_of(world)
        .env("AWS_SDK_UA_APP_ID", name)
        .env("POD_NAME", name)
        .env("POD_NAMESPACE", &world.namespace)
        .args(["--leader-elect", "--lease-name", LEASE])
        .args(times);
    if let Some(kubeconfig) = kubeconfig {
        builder = builder.kubeconfig(kubeconfig);
    }
    world.allow_lease(LEASE).await?;
    Ok(Candidate { name, operator: builder.start().await? })
}

impl Candidate {
    /// Waits until its log contains this text.
    pub(crate) async fn logs(&self, text: &str) -> Result<()> {
        self.operator.logged(text, DEADLINE).await.map(drop)
    }

    fn made(&self, call: &Call) -> bool {
        let app = format!("app/{}", self.name);
        call.user_agent.split(' ').any(|part| part == app)
    }

    fn writes(&self, world: &World) -> Vec<Call> {
        world.proxy.writes().into_iter().filter(|call| self.made(call)).collect()
    }
}

/// A world with two operators: `one` leads and `two` follows.
struct Pair {
    world: World,
    one: Candidate,
    two: Candidate,
}

impl Pair {
    async fn start(world: World, times: [&str; 8]) -> Result<Pair> {
        let one = candidate(&world, "one", &times, None).await?;
        leads(&world, "one").await?;
        let two = candidate(&world, "two", &times, None).await?;
        two.logs("following").await?;
        Ok(Pair { world, one, two })
    }
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.kube.clone(), &world.namespace)
}

fn holder(spec: &LeaseSpec) -> &str {
    let identity = spec.holder_identity.as_deref().unwrap_or_default();
    // The name without the suffix that is unique to the process.
    identity.rsplit_once('_').map_or(identity, |(name, _)| name)
}

/// Waits until this candidate holds the Lease. Returns the Lease's spec.
pub(crate) async fn leads(world: &World, name: &str) -> Result<LeaseSpec> {
    let held = |lease: Option<&Lease>| lease.and_then(|l| l.spec.as_ref()).is_some_and(|s| holder(s) == name);
    let found = tokio::time::timeout(DEADLINE, await_condition(leases(world), LEASE, held)).await;
    let lease = found.with_context(|| format!("{name} does not lead\n{}", world.operator_logs(20)))??;
    lease.and_then(|lease| lease.spec).context("a Lease without a spec")
}

/// The names of the candidates that wrote, in order, without consecutive repetitions.
fn writers(world: &World, candidates: &[&Candidate]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for call in world.proxy.writes() {
        let name = candidates.iter().find(|c| c.made(&call)).map_or("an unknown process", |c| c.name);
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names
}

/// How many times the Lease has passed to another holder. It also does so where its holder is slow.
async fn transitions(world: &World) -> Result<i32> {
    let spec = leases(world).get(LEASE).await?.spec.context("no spec")?;
    Ok(spec.lease_transitions.unwrap_or_default())
}

/// Applies a resource with new buckets.
async fn add(world: &World, name: &str) -> Result<()> {
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication(name, &source, &destination).to_string()).await.map(drop)
}

async fn status_of(address: std::net::SocketAddr, path: &str) -> Result<u16> {
    let (code, _) = crate::support::http_get(address, path).await?;
    Ok(code)
}

#[tokio::test]
async fn one_operator_leads_and_the_other_stands_by() -> Result<()> {
    let world = World::new("leader").await?;
    let one = candidate(&world, "one", &FOR_EVER, None).await?;
    let spec = leads(&world, "one").await?;
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(3600), Some(0)));
    let two = candidate(&world, "two", &FOR_EVER, None).await?;
    two.logs("following").await?;
    add(&world, "orders").await?;
    world.wait_ready("orders").await?;

    let address = two.operator.http_address().await?;
    assert_eq!(status_of(address, "/livez").await?, 200);
    assert_eq!(status_of(address, "/readyz").await?, 200);
    assert_eq!(status_of(address, "/metrics").await?, 200);
    assert_eq!(writers(&world, &[&one, &two]), ["one"]);
    let calls = world.proxy.calls();
    assert!(calls.iter().any(|c| two.made(c)), "it asks for its caller identity, and no more");
    let asked: Vec<&Call> =
        calls.iter().filter(|c| two.made(c) && c.operation != "GetCallerIdentity").collect();
    assert!(asked.is_empty(), "a follower asks AWS nothing: {asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_terminated_leader_releases_the_lease_and_the_other_continues_immediately() -> Result<()> {
    let Pair { world, one, two } = Pair::start(World::new("released").await?, FOR_EVER).await?;
    add(&world, "orders").await?;
    world.wait_ready("orders").await?;

    assert_eq!(one.operator.terminate().await?, 0);
    one.logs("released the Lease").await?;
    // The Lease would have lasted for an hour.
    let spec = leads(&world, "two").await?;
    assert_eq!(spec.lease_transitions, Some(1));
    add(&world, "invoices").await?;
    world.wait_ready("invoices").await?;
    assert_eq!(writers(&world, &[&one, &two]), ["one", "two"]);

    // The last operator releases the Lease too, although no other waits.
    assert_eq!(two.operator.terminate().await?, 0);
    let spec = leases(&world).get(LEASE).await?.spec.context("no spec")?;
    assert_eq!(spec.holder_identity.unwrap_or_default(), "");
    Ok(())
}

/// The leader finishes the step under way while it holds the Lease; only then another operator may begin.
#[tokio::test]
async fn the_leader_holds_the_lease_until_the_step_under_way_is_finished() -> Result<()> {
    let Pair { world, one, two } = Pair::start(World::new("held").await?, FOR_EVER).await?;
    let gate = world.proxy.gate(Matcher::operation("PutRolePolicy"), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;

    let release = async {
        one.logs("stopping").await?;
        let spec = leases(&world).get(LEASE).await?.spec.context("no spec")?;
        assert_eq!(holder(&spec), "one");
        gate.release();
        anyhow::Ok(())
    };
    let (code, released) = tokio::join!(one.operator.terminate(), release);
    released?;
    assert_eq!(code?, 0);
    world.wait_ready("orders").await?;
    assert_eq!(writers(&world, &[&one, &two]), ["one", "two"]);
    let ended = one.writes(&world).iter().map(|call| call.ended).max().context("it wrote nothing")?;
    assert!(two.writes(&world).iter().all(|call| call.started > ended), "two wrote before one was done");
    assert_eq!(world.proxy.count("PutRolePolicy"), 1, "what one finished is not done again");
    Ok(())
}

#[tokio::test]
async fn the_next_leader_finishes_the_work_of_a_killed_one() -> Result<()> {
    let Pair { world, one, two } = Pair::start(World::new("killed-leader").await?, TIMES).await?;
    let gate = world.proxy.gate(Matcher::nth_write(3), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;
    let before = transitions(&world).await?;
    one.operator.kill().await?;
    gate.release();

    let spec = leads(&world, "two").await?;
    assert_eq!(spec.lease_transitions, Some(before + 1));
    let object = world.wait_ready("orders").await?;
    assert!(object["status"]["lastCorrection"].is_null(), "it was taken for drift: {object:#}");
    assert_eq!(writers(&world, &[&one, &two]), ["one", "two"]);
    Ok(())
}

/// A stopped process does not notice that time passes; its claim to the Lease expires nevertheless.
#[tokio::test]
async fn a_stopped_leader_that_continues_begins_nothing() -> Result<()> {
    let Pair { world, one, two } = Pair::start(World::new("stopped").await?, TIMES).await?;
    // AWS has made its third write and has not answered yet; two more would follow.
    let gate = world.proxy.gate(Matcher::nth_write(3), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;
    one.operator.stop().await?;

    leads(&world, "two").await?;
    world.wait_ready("orders").await?;
    // The answer arrives while it is stopped.
    gate.release();
    one.operator.go_on().await?;
    one.logs("no longer leading").await?;
    one.logs("following").await?;
    add(&world, "invoices").await?;
    world.wait_ready("invoices").await?;
    assert_eq!(writers(&world, &[&one, &two]), ["one", "two"]);
    assert_eq!(one.writes(&world).len(), 3);
    Ok(())
}

/// It is stopped between its last write to AWS and the status, and does not write the status either.
#[tokio::test]
async fn a_stopped_leader_that_continues_writes_no_status() -> Result<()> {
    let Pair { world, one, two } = Pair::start(World::with_insight("stopped-status").await?, TIMES).await?;
    let gate = world.proxy.gate(Matcher::nth_write(5), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;
    one.operator.stop().await?;

    leads(&world, "two").await?;
    world.wait_ready("orders").await?;
    gate.release();
    one.operator.go_on().await?;
    one.logs("following").await?;
    let requests = world.kube_requests()?;
    let written = requests.iter().filter(|r| r.is_write() && r.subresource == "status").count();
    assert_eq!(written, 2, "one before its first write to AWS, and one of the new leader: {requests:?}");
    assert_eq!(writers(&world, &[&one, &two]), ["one"], "all was there already");
    Ok(())
}

/// Cuts a leader off from the API server, and reconnects it when another operator leads.
async fn cut_off(name: &str, silently: bool) -> Result<()> {
    let world = World::new(name).await?;
    let way = Forwarder::start(world.cluster().address().await?).await?;
    let kubeconfig = world.cluster().operator_kubeconfig_via(way.address())?;
    let one = candidate(&world, "one", &TIMES, Some(&kubeconfig)).await?;
    leads(&world, "one").await?;
    let two = candidate(&world, "two", &TIMES, None).await?;
    two.logs("following").await?;
    let gate = world.proxy.gate(Matcher::nth_write(3), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;

    if silently {
        way.go_silent();
    } else {
        way.go_down().await;
    }
    // It stops leading without an answer from the API server.
    one.logs("no longer leading: the Lease could not be renewed in time").await?;
    leads(&world, "two").await?;
    gate.release();
    world.wait_ready("orders").await?;

    // It becomes a candidate again without a restart, and its watches catch up.
    way.come_up().await?;
    one.logs("following").await?;
    let before = transitions(&world).await?;
    assert_eq!(two.operator.terminate().await?, 0);
    let spec = leads(&world, "one").await?;
    assert_eq!(spec.lease_transitions, Some(before + 1));
    add(&world, "invoices").await?;
    world.wait_ready("invoices").await?;
    assert_eq!(writers(&world, &[&one, &two]), ["one", "two", "one"]);
    Ok(())
}

#[tokio::test]
async fn a_leader_cut_off_from_the_api_server_stops_and_leads_again_later() -> Result<()> {
    cut_off("cut-off", false).await
}

#[tokio::test]
async fn a_leader_that_gets_no_answer_from_the_api_server_stops_and_leads_again_later() -> Result<()> {
    cut_off("unheard", true).await
}

/// The Lease is written with its resourceVersion: a change by someone else is not overwritten.
#[tokio::test]
async fn a_lease_taken_by_another_holder_ends_the_leadership() -> Result<()> {
    let world = World::new("usurped").await?;
    let one = candidate(&world, "one", &TIMES, None).await?;
    leads(&world, "one").await?;
    let before = transitions(&world).await?;
    let usurped = json!({"spec": {"holderIdentity": "someone", "leaseDurationSeconds": 1}});
    leases(&world).patch(LEASE, &PatchParams::default(), &Patch::Merge(usurped)).await?;
    one.logs("no longer leading: another operator holds the Lease").await?;
    // The other holder does not renew.
    let spec = leads(&world, "one").await?;
    assert_eq!(spec.lease_transitions, Some(before + 1));
    add(&world, "orders").await?;
    world.wait_ready("orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_lease_is_created_again() -> Result<()> {
    let world = World::new("deleted-lease").await?;
    let _one = candidate(&world, "one", &TIMES, None).await?;
    leads(&world, "one").await?;
    leases(&world).delete(LEASE, &kube::api::DeleteParams::default()).await?;
    leads(&world, "one").await?;
    add(&world, "orders").await?;
    world.wait_ready("orders").await?;
    Ok(())
}

#[tokio::test]
async fn without_an_election_there_is_no_lease() -> Result<()> {
    let (world, _operator) = world_with_insight("no-election").await?;
    add(&world, "orders").await?;
    let object: Value = world.wait_ready("orders").await?;
    assert_eq!(reason(&object["status"], "Ready"), "Applied");
    assert!(!world.kube_requests()?.iter().any(|r| r.resource == "leases"));
    Ok(())
}

#[tokio::test]
async fn contradictory_settings_are_reported_at_startup() -> Result<()> {
    let world = World::new("senseless").await?;
    let run = async |args: &[&str]| {
        let all = ["run", "--http-address", "127.0.0.1:0"].iter().chain(args);
        let output = operator_of(&world).env("POD_NAMESPACE", "").run(all.copied(), "").await?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        anyhow::Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let text = run(&["--leader-elect", "--lease-duration", "10s"]).await?;
    assert!(text.contains("--lease-duration (10s) must be longer than --renew-deadline (10s)"), "{text}");
    let text = run(&["--leader-elect"]).await?;
    assert!(text.contains("set --lease-namespace, or set POD_NAMESPACE"), "{text}");
    Ok(())
}
