//! `rig scale`: creates many resources at once and prints how long they take to become Ready, and what that costs in
//! requests, memory and CPU time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DynamicObject, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use rig::usage::{MEMORY_NOTE, MemorySampler, Usage};
use rig::world::condition;
use rig::{World, operator, progress};
use serde_json::{Value, json};

use super::measure::{check, kube_operations, object_requests, operations, replication, start};
use super::relist_and_restart::{self, Afterwards};

/// Rates so high that the operator never waits: the emulator throttles nobody.
pub(super) const RATES: [&str; 8] = [
    "--s3-read-rate",
    "100000",
    "--s3-write-rate",
    "100000",
    "--iam-read-rate",
    "100000",
    "--iam-write-rate",
    "100000",
];

pub(super) const REGIONS: (&str, &str) = ("us-east-1", "eu-west-1");

/// How many requests create buckets and resources at the same time.
pub(super) const AT_ONCE: usize = 32;

/// How long until something must be stuck: a fixed part, and a part for each resource.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_EACH: Duration = Duration::from_millis(500);

/// Creates the buckets, then the resources, and measures until the last is Ready.
///
/// # Errors
/// If not all become Ready.
pub fn run(count: usize, across_accounts: bool) -> Result<()> {
    let program = operator::build()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let world = World::new("scale").await?;
        world.proxy.keep_no_bodies();
        let accounts = if across_accounts { Some(TwoAccounts::new(&world).await?) } else { None };
        let pairs = buckets(&world, count, accounts.as_ref()).await?;
        let operator = start(&world, &program, &RATES).await?;
        let idle = Usage::of(operator.pid())?;
        progress::say(&format!(
            "the operator runs with {}; its defaults are far lower, because the real AWS throttles",
            RATES.join(" ")
        ));

        progress::say(&format!("creating {count} resources and waiting until all are Ready"));
        let sampler = MemorySampler::start(operator.pid());
        let begun = Instant::now();
        let patience = PATIENCE + PATIENCE_EACH * u32::try_from(count)?;
        let (created, ready) = tokio::try_join!(
            create(&world, &pairs, accounts.as_ref(), begun),
            within(patience, &world, all_ready(&world, count, begun)),
        )?;
        let (usage, calls) = (Usage::of(operator.pid())?, world.proxy.calls());
        let peak = sampler.stop()?;
        let mut later = check(&world, &operator, &[&name_of(0)]).await?;
        // In a large fleet periodic checks of other resources go on meanwhile.
        later.retain(|call| pairs.first().is_some_and(|pair| concerns_first(&call.subject, pair)));
        // Only now: the events of the last resources follow their status.
        let kube = object_requests(&world)?;

        let each = |total: usize| total as f64 / count.max(1) as f64;
        let seconds = |time: Duration| time.as_secs_f64();
        println!("{count} resources, created within {:.1} s", seconds(created));
        println!("{:<46} {:>9} {:>9}", "", "measured", "aim");
        let row = |what: &str, measured: f64, unit: &str, aim: &str| {
            println!("{what:<46} {measured:>9.1} {aim:>9} {unit}");
        };
        row("from the first create to the last Ready", seconds(ready), "s", "");
        row("AWS requests for a resource", each(calls.len()), "", "11");
        row("Kubernetes requests for a resource", each(kube.len()), "", "4");
        row("the operator's memory at its peak (VmHWM)", usage.peak, "MiB", memory_aim(count));
        row("  anonymous, the highest sample (RssAnon)", peak.anonymous, "MiB", "");
        row("  file-backed, the highest sample (RssFile)", peak.file_backed, "MiB", "");
        row("the operator's CPU time", usage.cpu.total(), "s", "");
        row("  user", usage.cpu.user, "s", "");
        row("  system", usage.cpu.system, "s", "");
        row("AWS requests for a later check of one", later.len() as f64, "", "5");
        println!(
            "before the first resource: {:.1} MiB at its peak ({:.1} anonymous and {:.1} file-backed now), {:.2} CPU s",
            idle.peak,
            idle.memory.anonymous,
            idle.memory.file_backed,
            idle.cpu.total()
        );
        println!("{MEMORY_NOTE}");
        println!("AWS: {}", operations(&calls));
        println!("Kubernetes: {}", kube_operations(&kube));
        println!("later check: {}", operations(&later));
        print("after a change of the definition", &relist_and_restart::relist(&world, &operator).await?);
        operator.terminate().await?;
        print("after a restart", &relist_and_restart::restart(&world, &program).await?);
        Ok(())
    })
}

fn print(when: &str, after: &Afterwards) {
    println!(
        "{when}: {:.1} MiB at the peak since its start, {:.1} anonymous and {:.1} file-backed at the highest sample, {:.2} CPU s",
        after.usage.peak,
        after.peak.anonymous,
        after.peak.file_backed,
        after.usage.cpu.total()
    );
    println!("  {} requests that list or watch, and to AWS: {}", after.reads, after.calls);
}

/// The most that the operator may take for so many resources, in MiB. The default pod has 128 MiB.
fn memory_aim(count: usize) -> &'static str {
    match count {
        0..=1 => "28",
        2..=1000 => "32",
        _ => "64",
    }
}

pub(super) async fn within<T>(
    patience: Duration,
    world: &World,
    ready: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(patience, ready).await {
        Ok(result) => result,
        Err(_) => bail!("not all resources are Ready after {patience:?}\n{}", world.operator_logs(20)),
    }
}

/// Creates a pair of buckets for each resource, not through the proxy.
pub(super) async fn buckets(
    world: &World,
    count: usize,
    accounts: Option<&TwoAccounts>,
) -> Result<Vec<(String, String)>> {
    progress::say(&format!("creating {count} pairs of buckets"));
    let pair = |number| async move {
        let name = |side| format!("{}-{number}-{side}", world.namespace);
        let pair = (name("source"), name("destination"));
        let abroad = accounts.map_or(&world.account, |accounts| &accounts.abroad_id);
        let source = world.create_bucket(&world.account, REGIONS.0, &pair.0);
        tokio::try_join!(source, world.create_bucket(abroad, REGIONS.1, &pair.1))?;
        anyhow::Ok(pair)
    };
    stream::iter(0..count).map(pair).buffered(AT_ONCE).try_collect().await
}

/// Whether a bucket or a role belongs to the first resource, which has these buckets.
fn concerns_first(subject: &str, (source, destination): &(String, String)) -> bool {
    let (name, is_digit) = (name_of(0), |c: char| c.is_ascii_digit());
    let mut roles = subject.split(&name).skip(1);
    subject == source || subject == destination || roles.any(|rest| !rest.starts_with(is_digit))
}

pub(super) fn name_of(number: usize) -> String {
    format!("replication-{number}")
}

/// The two accounts of a replication. The operator assumes a role in each.
pub(super) struct TwoAccounts {
    abroad_id: String,
    home: String,
    abroad: String,
}

impl TwoAccounts {
    async fn new(world: &World) -> Result<Self> {
        const ALL: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
        let abroad_id = world.another_account();
        let (home, abroad) = (world.unique("home"), world.unique("abroad"));
        for (name, id) in [(&home, &world.account), (&abroad, &abroad_id)] {
            let role = world.assumable_role(id, "operator", &world.account, None, ALL).await?;
            let patterns = [format!("{}-*", world.namespace)];
            let account = json!({
                "apiVersion": "s3replication.dev/v1alpha1",
                "kind": "AwsAccount",
                "metadata": {"name": name},
                "spec": {
                    "accountId": id,
                    "assumeRole": {"arn": role},
                    "namespaces": {"matchNames": [world.namespace]},
                    "sources": patterns,
                    "destinations": patterns,
                },
            });
            world.apply(&account.to_string()).await?;
        }
        Ok(Self { abroad_id, home, abroad })
    }
}

pub(super) async fn create(
    world: &World,
    pairs: &[(String, String)],
    accounts: Option<&TwoAccounts>,
    begun: Instant,
) -> Result<Duration> {
    let api = world.api();
    let create = |(number, (source, destination)): (usize, &(String, String))| {
        let mut resource = replication(&name_of(number), source, destination, Some(REGIONS));
        if let Some(TwoAccounts { home, abroad, .. }) = accounts {
            resource["spec"]["source"]["accountRef"] = json!(home);
            resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(abroad);
        }
        let api = &api;
        async move {
            let object: DynamicObject = serde_json::from_value(resource)?;
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        }
    };
    let creations: Vec<_> = pairs.iter().enumerate().map(create).collect();
    stream::iter(creations).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(begun.elapsed())
}

/// Waits until `count` resources are Ready. Returns how long that took.
pub(super) async fn all_ready(world: &World, count: usize, begun: Instant) -> Result<Duration> {
    let mut ready = BTreeSet::new();
    let mut events = std::pin::pin!(watcher(world.api(), watcher::Config::default()));
    while ready.len() < count {
        let event = events.try_next().await?.context("the watch has ended")?;
        let (Event::Apply(object) | Event::InitApply(object)) = event else {
            continue;
        };
        let status: &Value = &object.data["status"];
        if condition(status, "Ready").is_some_and(|c| c["status"] == "True") {
            ready.extend(object.metadata.name);
        }
    }
    Ok(begun.elapsed())
}
