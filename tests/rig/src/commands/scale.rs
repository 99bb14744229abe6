//! `rig scale`: many resources created at once; what that costs and how long it takes.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DynamicObject, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use rig::world::condition;
use rig::{Operator, World, progress};
use serde_json::{Value, json};

use super::measure::{check, kube_operations, object_requests, operations, replication, start};
use super::program;

/// The emulator has no limits of its own, so that the operator is given none that would count.
const RATES: [&str; 8] = [
    "--s3-read-rate",
    "100000",
    "--s3-write-rate",
    "100000",
    "--iam-read-rate",
    "100000",
    "--iam-write-rate",
    "100000",
];

const REGIONS: (&str, &str) = ("us-east-1", "eu-west-1");

/// Requests under way at the same time while buckets and resources are created.
const AT_ONCE: usize = 32;

/// How long all of it may take before something is stuck, for one resource and beside that.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_EACH: Duration = Duration::from_millis(500);

/// Creates the buckets, then the resources, and measures until the last is Ready.
///
/// # Errors
/// When not all become Ready.
pub fn run(count: usize, across_accounts: bool) -> Result<()> {
    let program = program::build()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let world = World::new("scale").await?;
        world.proxy.keep_no_bodies();
        let accounts = if across_accounts { Some(TwoAccounts::new(&world).await?) } else { None };
        let pairs = buckets(&world, count, accounts.as_ref()).await?;
        let operator = start(&world, &program, &RATES).await?;
        let idle = Usage::of(&operator)?;
        progress::say(&format!(
            "the operator runs with {}; its defaults are far lower, for the real AWS has limits",
            RATES.join(" ")
        ));

        progress::say(&format!("creating {count} resources and waiting until all are Ready"));
        let begun = Instant::now();
        let patience = PATIENCE + PATIENCE_EACH * u32::try_from(count)?;
        let (created, ready) = tokio::try_join!(
            create(&world, &pairs, accounts.as_ref(), begun),
            within(patience, &world, all_ready(&world, count, begun)),
        )?;
        let (usage, calls) = (Usage::of(&operator)?, world.proxy.calls());
        let later = check(&world, &operator, &[&name_of(0)]).await?;
        // Now, because the events of the last resources follow their status.
        let kube = object_requests(&world)?;

        let each = |total: usize| total as f64 / count.max(1) as f64;
        let seconds = |time: Duration| time.as_secs_f64();
        println!("{count} resources, created within {:.1} s", seconds(created));
        println!("{:<46} {:>9} {:>9}", "", "measured", "aim");
        let row = |what: &str, measured: f64, unit: &str, aim: &str| {
            println!("{what:<46} {measured:>9.1} {aim:>9} {unit}");
        };
        row("from the first create to the last Ready", seconds(ready), "s", "25");
        row("AWS requests for a resource", each(calls.len()), "", "11");
        row("Kubernetes requests for a resource", each(kube.len()), "", "3");
        row("the operator's memory at its peak", usage.peak_megabytes, "MB", "40");
        row("the operator's CPU time", usage.cpu_seconds, "s", "12");
        row("AWS requests for a later check of one", later.len() as f64, "", "5");
        println!("before the first resource: {:.1} MB, {:.2} CPU s", idle.peak_megabytes, idle.cpu_seconds);
        println!("AWS: {}", operations(&calls));
        println!("Kubernetes: {}", kube_operations(&kube));
        println!("later check: {}", operations(&later));
        operator.terminate().await.map(drop)
    })
}

async fn within<T>(patience: Duration, world: &World, ready: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(patience, ready).await {
        Ok(result) => result,
        Err(_) => bail!("not all resources are Ready after {patience:?}\n{}", world.operator_logs(20)),
    }
}

/// A pair of buckets a resource, past the proxy.
async fn buckets(
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

fn name_of(number: usize) -> String {
    format!("replication-{number}")
}

/// Both accounts of a replication, in each of which the operator assumes a role.
struct TwoAccounts {
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

async fn create(
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

/// How long it took until as many resources were Ready.
async fn all_ready(world: &World, count: usize, begun: Instant) -> Result<Duration> {
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

/// What the system says of a process.
struct Usage {
    peak_megabytes: f64,
    cpu_seconds: f64,
}

impl Usage {
    fn of(operator: &Operator) -> Result<Self> {
        // Linux counts these in hundredths of a second for programs, whatever the kernel's own tick is.
        const TICKS: f64 = 100.0;
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", operator.pid());
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}; this needs Linux"))
        };
        let (status, stat) = (read("status")?, read("stat")?);
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: f64 = peak.and_then(|p| p.split_whitespace().next()).context("no VmHWM")?.parse()?;
        // The program's name, in brackets, may hold spaces. After it the state is the third field of all.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        Ok(Self { peak_megabytes: kilobytes / 1000.0, cpu_seconds: ticks.iter().sum::<f64>() / TICKS })
    }
}
