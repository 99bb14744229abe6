//! Several operators with one Lease: one works, the others wait with warm caches, and no two ever write to AWS at
//! the same time. Each operator names itself in the `User-Agent` of its requests, by which the proxy tells who wrote.

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

use crate::support::{operator, reason, replication, world_with_insight};

/// Short enough to be waited for, long enough that a busy machine renews in time.
const TIMES: [&str; 6] = ["--lease-duration", "6s", "--renew-deadline", "4s", "--retry-period", "500ms"];

/// So long that nobody who waits for its end is heard of in a test.
const FOR_EVER: [&str; 6] = ["--lease-duration", "1h", "--renew-deadline", "50m", "--retry-period", "500ms"];

const LEASE: &str = "the-lease";

/// One of several operators.
struct Candidate {
    name: &'static str,
    operator: Operator,
}

/// Starts an operator that takes part in the election.
async fn candidate(
    world: &World,
    name: &'static str,
    times: [&str; 6],
    kubeconfig: Option<&Path>,
) -> Result<Candidate> {
    let mut builder = operator(world)
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
    /// Waits until it has logged this, by itself or anew since `before` of its lines.
    async fn logs(&self, text: &str) -> Result<()> {
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
    async fn start(world: World, times: [&str; 6]) -> Result<Pair> {
        let one = candidate(&world, "one", times, None).await?;
        leads(&world, "one").await?;
        let two = candidate(&world, "two", times, None).await?;
        two.logs("following").await?;
        Ok(Pair { world, one, two })
    }
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.kube.clone(), &world.namespace)
}

fn holder(spec: &LeaseSpec) -> &str {
    let identity = spec.holder_identity.as_deref().unwrap_or_default();
    // The name, without the end that is unique to the process.
    identity.rsplit_once('_').map_or(identity, |(name, _)| name)
}

/// Waits until the Lease is held by this candidate, and returns what the Lease says then.
async fn leads(world: &World, name: &str) -> Result<LeaseSpec> {
    let held = |lease: Option<&Lease>| lease.and_then(|l| l.spec.as_ref()).is_some_and(|s| holder(s) == name);
    let found = tokio::time::timeout(DEADLINE, await_condition(leases(world), LEASE, held)).await;
    let lease = found.with_context(|| format!("{name} does not lead\n{}", world.operator_logs(20)))??;
    lease.and_then(|lease| lease.spec).context("a Lease without a spec")
}

/// Whose writes there were, one entry for each time that another began to write.
fn writers(world: &World, candidates: &[&Candidate]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for call in world.proxy.writes() {
        let name = candidates.iter().find(|c| c.made(&call)).map_or("nobody we know", |c| c.name);
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names
}

/// Adds a resource with buckets of its own.
async fn add(world: &World, name: &str) -> Result<()> {
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication(name, &source, &destination).to_string()).await.map(drop)
}

async fn status_of(address: std::net::SocketAddr, path: &str) -> Result<u16> {
    let (code, _) = crate::support::http_get(address, path).await?;
    Ok(code)
}

#[tokio::test]
async fn one_works_and_the_other_waits_ready_to_take_over() -> Result<()> {
    let world = World::new("leader").await?;
    let one = candidate(&world, "one", FOR_EVER, None).await?;
    let spec = leads(&world, "one").await?;
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(3600), Some(0)));
    let two = candidate(&world, "two", FOR_EVER, None).await?;
    two.logs("following").await?;
    add(&world, "orders").await?;
    world.wait_ready("orders").await?;

    let address = two.operator.http_address().await?;
    assert_eq!(status_of(address, "/livez").await?, 200);
    assert_eq!(status_of(address, "/readyz").await?, 200);
    assert_eq!(status_of(address, "/metrics").await?, 200);
    assert_eq!(writers(&world, &[&one, &two]), ["one"]);
    let calls = world.proxy.calls();
    assert!(calls.iter().any(|c| two.made(c)), "it asks who it is, and no more");
    let asked: Vec<&Call> =
        calls.iter().filter(|c| two.made(c) && c.operation != "GetCallerIdentity").collect();
    assert!(asked.is_empty(), "a follower asks AWS nothing: {asked:?}");
    Ok(())
}

#[tokio::test]
async fn who_is_asked_to_end_lets_go_of_the_lease_and_the_other_goes_on_at_once() -> Result<()> {
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

    // The last one lets go too, though nobody waits.
    assert_eq!(two.operator.terminate().await?, 0);
    let spec = leases(&world).get(LEASE).await?.spec.context("no spec")?;
    assert_eq!(spec.holder_identity.unwrap_or_default(), "");
    Ok(())
}

/// The step under way is finished while the Lease is still held, and only then another may begin.
#[tokio::test]
async fn the_lease_is_held_until_the_step_under_way_is_finished() -> Result<()> {
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
async fn what_a_killed_leader_left_half_done_the_other_finishes() -> Result<()> {
    let Pair { world, one, two } = Pair::start(World::new("killed-leader").await?, TIMES).await?;
    let gate = world.proxy.gate(Matcher::nth_write(3), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;
    one.operator.kill().await?;
    gate.release();

    let spec = leads(&world, "two").await?;
    assert_eq!(spec.lease_transitions, Some(1));
    let object = world.wait_ready("orders").await?;
    assert!(object["status"]["lastCorrection"].is_null(), "it was taken for drift: {object:#}");
    assert_eq!(writers(&world, &[&one, &two]), ["one", "two"]);
    Ok(())
}

/// A leader that was stopped does not know that time has passed. Its claim does.
#[tokio::test]
async fn a_stopped_leader_that_wakes_up_begins_nothing() -> Result<()> {
    let Pair { world, one, two } = Pair::start(World::new("stopped").await?, TIMES).await?;
    // Its third write is done, and it has not heard of it yet: next would come two more.
    let gate = world.proxy.gate(Matcher::nth_write(3), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;
    one.operator.stop().await?;

    leads(&world, "two").await?;
    world.wait_ready("orders").await?;
    // The answer lies there when it wakes up.
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

/// Nor does it write to Kubernetes: between its last write to AWS and the status lies the stop.
#[tokio::test]
async fn a_stopped_leader_that_wakes_up_writes_no_status() -> Result<()> {
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
    assert_eq!(written, 1, "{requests:?}");
    assert_eq!(writers(&world, &[&one, &two]), ["one"], "all was there already");
    Ok(())
}

/// Cuts a leader off from the API server, and connects it again once another leads.
async fn cut_off(name: &str, silently: bool) -> Result<()> {
    let world = World::new(name).await?;
    let way = Forwarder::start(world.cluster().address().await?).await?;
    let kubeconfig = world.cluster().operator_kubeconfig_via(way.address())?;
    let one = candidate(&world, "one", TIMES, Some(&kubeconfig)).await?;
    leads(&world, "one").await?;
    let two = candidate(&world, "two", TIMES, None).await?;
    two.logs("following").await?;
    let gate = world.proxy.gate(Matcher::nth_write(3), GateAt::AfterForward);
    add(&world, "orders").await?;
    gate.reached(DEADLINE).await?;

    if silently {
        way.go_silent();
    } else {
        way.go_down().await;
    }
    // It stops by itself: that it no longer leads nobody could tell it.
    one.logs("no longer leading: the Lease could not be renewed in time").await?;
    leads(&world, "two").await?;
    gate.release();
    world.wait_ready("orders").await?;

    // Without a restart it is a candidate again, and what was made meanwhile is known to it.
    way.come_up().await?;
    one.logs("following").await?;
    assert_eq!(two.operator.terminate().await?, 0);
    let spec = leads(&world, "one").await?;
    assert_eq!(spec.lease_transitions, Some(2));
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

/// The Lease is compared and swapped: a record that someone wrote meanwhile is not written over unread.
#[tokio::test]
async fn a_lease_that_passed_to_someone_else_ends_the_leadership() -> Result<()> {
    let world = World::new("usurped").await?;
    let one = candidate(&world, "one", TIMES, None).await?;
    leads(&world, "one").await?;
    let usurped = json!({"spec": {"holderIdentity": "someone", "leaseDurationSeconds": 1}});
    leases(&world).patch(LEASE, &PatchParams::default(), &Patch::Merge(usurped)).await?;
    one.logs("no longer leading: another operator holds the Lease").await?;
    // Someone gives no sign of life.
    let spec = leads(&world, "one").await?;
    assert_eq!(spec.lease_transitions, Some(1));
    add(&world, "orders").await?;
    world.wait_ready("orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_lease_is_made_again() -> Result<()> {
    let world = World::new("deleted-lease").await?;
    let _one = candidate(&world, "one", TIMES, None).await?;
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
async fn senseless_settings_are_told_at_the_start() -> Result<()> {
    let world = World::new("senseless").await?;
    let run = async |args: &[&str]| {
        let all = ["run", "--http-address", "127.0.0.1:0"].iter().chain(args);
        let output = operator(&world).env("POD_NAMESPACE", "").run(all.copied(), "").await?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        anyhow::Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = run(&["--leader-elect", "--lease-duration", "10s"]).await?;
    assert!(said.contains("--lease-duration (10s) must be longer than --renew-deadline (10s)"), "{said}");
    let said = run(&["--leader-elect"]).await?;
    assert!(said.contains("give it by --lease-namespace, or set POD_NAMESPACE"), "{said}");
    Ok(())
}
