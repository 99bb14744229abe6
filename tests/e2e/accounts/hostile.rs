//! Attacks of one tenant, in a small size: the operator's memory and requests have bounds, and another tenant's changes
//! are checked meanwhile. `cargo scale --hostile` runs them in full size.

use std::time::Instant;

use anyhow::{Result, ensure};
use rig::hostile::{Attack, Attacker, simple};
use rig::operator::Operator;
use rig::usage::{MemorySampler, Usage};
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{operator_of, patch, reason, turn_of_a_busy_test};

/// The resource of the second tenant.
const VICTIM: &str = "victim";

/// How many names of accounts one object has, and their size in MiB.
const NAMES: usize = 150;
const SIZE_OF_NAMES: f64 = 253.0 * NAMES as f64 / 1024.0 / 1024.0;

/// Two tenants and an operator that watches the namespaces of both.
struct Tenants<'a> {
    world: &'a World,
    attacker: Attacker<'a>,
    operator: Operator,
}

impl<'a> Tenants<'a> {
    async fn new(world: &'a World) -> Result<Self> {
        let mut attacker = Attacker::new(world).await?;
        attacker.rules = NAMES;
        let namespaces = [&world.namespace, &attacker.namespace];
        // Other tests request checks without a limit.
        let operator =
            operator_of(world).env("REQUEST_INTERVAL", "10").namespaces(namespaces).start().await?;
        let (source, destination) = attacker.buckets().await?;
        world.apply(&simple(VICTIM, &source, &destination).to_string()).await?;
        world.wait_ready(VICTIM).await?;
        Ok(Self { world, attacker, operator })
    }

    /// Runs an attack, changes the second tenant's resource after it, and waits until the operator has checked that.
    async fn attack(&self, attack: Attack, size: usize) -> Result<()> {
        let (attacked, checked) =
            tokio::join!(self.attacker.run(attack, size), self.victim_is_checked("20m"));
        attacked?;
        checked?;
        self.victim_is_checked("30m").await
    }

    async fn victim_is_checked(&self, interval: &str) -> Result<()> {
        patch(self.world, VICTIM, json!({"spec": {"interval": interval}})).await?;
        self.world.wait_ready(VICTIM).await.map(drop)
    }

    /// Waits until the status of a resource of the attacker has this reason.
    async fn wait_for_reason(&self, name: &str, wanted: &str) -> Result<Value> {
        let namespace = &self.attacker.namespace;
        self.world.wait_in(namespace, name, |status| reason(status, "Ready") == wanted, wanted).await
    }

    /// The operator's requests to Kubernetes about objects in the attacker's namespace.
    fn kube_requests(&self) -> Result<usize> {
        let requests =
            self.world.cluster().requests(rig::cluster::OPERATOR, Some(&self.attacker.namespace))?;
        Ok(requests.iter().filter(|r| !matches!(r.verb.as_str(), "list" | "watch")).count())
    }
}

/// The operator must not keep the names of before: 120 changes would leave four mebibytes.
#[tokio::test]
async fn names_of_accounts_that_do_not_exist_are_not_kept() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    const CHANGES: usize = 120;
    let world = World::new("hostile-names").await?;
    let tenants = Tenants::new(&world).await?;
    // The allocator keeps what the first checks of such an object take, and gives it to the next ones.
    tenants.attack(Attack::AccountNames, 15).await?;
    let stored = tenants.wait_for_reason("account-names", "AccountNotFound").await?;
    let before = Usage::of(tenants.operator.pid())?.memory.anonymous;
    tenants.attacker.change_account_names(100..100 + CHANGES).await?;
    let changed = stored["metadata"]["generation"].as_u64().unwrap_or_default() + CHANGES as u64;
    let seen = |status: &Value| status["observedGeneration"] == changed;
    world.wait_in(&tenants.attacker.namespace, "account-names", seen, "to report the last change").await?;
    tenants.victim_is_checked("40m").await?;
    let grown = Usage::of(tenants.operator.pid())?.memory.anonymous - before;
    let kept = CHANGES as f64 * SIZE_OF_NAMES;
    ensure!(grown < kept / 2.0, "{grown:.1} MiB more after {CHANGES} changes of {kept:.1} MiB");
    Ok(())
}

#[tokio::test]
async fn objects_as_large_as_etcd_stores_take_a_bounded_multiple_of_their_size() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    const OBJECTS: usize = 6;
    let world = World::new("hostile-large").await?;
    let tenants = Tenants::new(&world).await?;
    let before = Usage::of(tenants.operator.pid())?.memory.anonymous;
    let sampler = MemorySampler::start(tenants.operator.pid());
    tenants.attack(Attack::LargeObjects, OBJECTS).await?;
    for number in 0..OBJECTS {
        tenants.wait_for_reason(&format!("large-{number}"), "SourceBucketNotFound").await?;
    }
    let grown = sampler.stop()?.anonymous - before;
    let stored = OBJECTS as f64 * 1.4;
    ensure!(grown < 12.0 * stored, "{grown:.1} MiB more for {stored:.1} MiB of objects");
    Ok(())
}

#[tokio::test]
async fn objects_that_are_created_and_deleted_cost_no_request_to_aws_and_leave_nothing() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    const OBJECTS: usize = 300;
    let world = World::with_insight("hostile-churn").await?;
    let tenants = Tenants::new(&world).await?;
    world.proxy.clear();
    tenants.attack(Attack::Churn, OBJECTS).await?;
    let calls = world.proxy.calls();
    let about_others: Vec<_> = calls.iter().filter(|call| call.subject.starts_with("nobodys-")).collect();
    ensure!(about_others.is_empty(), "asked AWS for a resource without an account: {about_others:?}");
    let requests = tenants.kube_requests()?;
    // Its status and an event.
    ensure!(requests <= 3 * OBJECTS, "{requests} requests to Kubernetes for {OBJECTS} objects");
    let address = tenants.operator.http_address().await?;
    let resources = "s3_replication_operator_resources{";
    loop {
        let (_, text) = crate::support::http_get(address, "/metrics").await?;
        let counts = text.lines().filter(|line| line.starts_with(resources));
        let counts = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        if counts.sum::<f64>() == 1.0 {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_in_regions_that_do_not_exist_are_never_asked_for() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    let world = World::new("hostile-regions").await?;
    let tenants = Tenants::new(&world).await?;
    tenants.attack(Attack::InventedRegions, 1000).await?;
    let refused =
        |status: &Value| status["observedGeneration"] == 1 && reason(status, "Ready") != "Progressing";
    let namespace = &tenants.attacker.namespace;
    let object = world.wait_in(namespace, "invented-regions", refused, "to be refused").await?;
    assert_eq!(reason(&object["status"], "Stalled"), reason(&object["status"], "Ready"), "{object:#}");
    let calls = world.proxy.calls();
    let invented: Vec<_> = calls.iter().filter(|call| call.region.starts_with("zz-")).take(5).collect();
    ensure!(invented.is_empty(), "asked in a Region that does not exist: {invented:?}");
    Ok(())
}

/// Each deletion frees the source for the others: the operator considers the next owner, and not all of them each time.
#[tokio::test]
async fn the_deletion_of_all_resources_of_a_source_costs_each_of_them_a_few_requests() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    const RESOURCES: usize = 150;
    let world = World::with_insight("hostile-source").await?;
    let tenants = Tenants::new(&world).await?;
    world.proxy.clear();
    tenants.attack(Attack::OneSource, RESOURCES).await?;
    let api = world.api_in(&tenants.attacker.namespace);
    for number in 0..RESOURCES {
        world.wait_on(&api, &format!("resource-{number}"), |o| o.is_none(), "to be gone").await?;
    }
    let requests = tenants.kube_requests()?;
    ensure!(requests <= 8 * RESOURCES, "{requests} requests to Kubernetes for {RESOURCES} resources");
    let calls = world.proxy.calls().len();
    // Every one of them may have owned the source for a moment.
    ensure!(calls <= 30 * RESOURCES, "{calls} requests to AWS for {RESOURCES} resources");
    Ok(())
}

#[tokio::test]
async fn requests_for_checks_in_a_loop_cost_one_check_in_ten_seconds() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    const REQUESTS: usize = 100;
    let world = World::new("hostile-loop").await?;
    let tenants = Tenants::new(&world).await?;
    let (source, destination) = tenants.attacker.buckets().await?;
    tenants.attacker.create(simple("loop", &source, &destination)).await?;
    tenants.wait_for_reason("loop", "Applied").await?;
    world.proxy.clear();
    let begun = Instant::now();
    tenants.attacker.request_checks("loop", REQUESTS).await?;
    tenants.victim_is_checked("20m").await?;
    let last = format!("request-{REQUESTS}");
    let answered = |status: &Value| status["lastHandledRequest"] == last.as_str();
    world.wait_in(&tenants.attacker.namespace, "loop", answered, "to answer the last request").await?;
    let calls = world.proxy.calls();
    let checks =
        calls.iter().filter(|c| c.operation == "GetBucketReplication" && c.subject == source).count();
    // One at once, and one each time that ten seconds have passed.
    let most = 2 + begun.elapsed().as_secs() as usize / 10;
    ensure!((1..=most).contains(&checks), "{checks} checks, and {most} at most");
    Ok(())
}
