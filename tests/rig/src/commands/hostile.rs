//! `rig scale --hostile`: one tenant attacks, and another one changes its resource again and again meanwhile. Prints
//! what each attack takes of the operator's memory, and how long the second tenant waits for its check. The
//! attacks are in `rig/src/hostile.rs`.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use rig::cluster::OPERATOR;
use rig::hostile::{Attack, Attacker, simple};
use rig::usage::{MEMORY_NOTE, MemorySampler, Usage};
use rig::{Operator, World, operator, progress};
use serde_json::{Value, json};

use super::measure::start_built;

/// The resource of the second tenant.
const VICTIM: &str = "victim";

/// A check that takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// The pause of the second tenant between two changes.
const PAUSE: Duration = Duration::from_millis(200);

/// How many changes of the second tenant are measured after the attack, while the operator works on what it left.
const AFTERWARDS: usize = 3;

/// The effect of one attack.
struct Outcome {
    attack: String,
    before: f64,
    peak: f64,
    anonymous: f64,
    file_backed: f64,
    cpu: f64,
    aws: usize,
    kube: usize,
    /// The changes of the second tenant.
    changes: Vec<Change>,
}

/// How long one change of the second tenant took.
struct Change {
    /// Until the API server had taken it.
    taken: Duration,
    /// From then on, until the API server had shown it to those who watch.
    shown: Duration,
    /// From then on, until its check was in the status: the operator's part, and the API server's answers to it.
    checked: Duration,
}

/// The median and the longest, in milliseconds.
fn spread(times: impl Iterator<Item = Duration>) -> (u128, u128) {
    let mut times: Vec<u128> = times.map(|time| time.as_millis()).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    (median, times.last().copied().unwrap_or_default())
}

/// Runs the attacks whose name contains `filter`, each against an operator of its own, and prints a table.
///
/// # Errors
/// When the operator ends, or a check of the second tenant does not come.
pub fn run(churn: usize, filter: &str) -> Result<()> {
    let attacks: Vec<Attack> = Attack::ALL.into_iter().filter(|a| a.name().contains(filter)).collect();
    if attacks.is_empty() {
        bail!("no attack has {filter:?} in its name; there are {}", Attack::ALL.map(Attack::name).join(", "));
    }
    let program = operator::build()?;
    let outcomes = tokio::runtime::Runtime::new()?.block_on(async {
        let mut outcomes = Vec::new();
        for attack in attacks {
            let size = if attack == Attack::Churn { churn } else { attack.full_size() };
            progress::say(&attack.description(size));
            outcomes.push(measure(&program, attack, size).await.with_context(|| attack.name())?);
        }
        anyhow::Ok(outcomes)
    })?;
    print(&outcomes);
    Ok(())
}

fn print(outcomes: &[Outcome]) {
    println!(
        "{:<48} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>13} {:>15} {:>13}",
        "",
        "VmHWM",
        "anon",
        "file",
        "before",
        "CPU s",
        "AWS",
        "Kube",
        "changes",
        "taken ms",
        "shown ms",
        "checked ms"
    );
    for outcome in outcomes {
        let Outcome { attack, before, peak, anonymous, file_backed, cpu, aws, kube, changes } = outcome;
        let (taken, longest_taken) = spread(changes.iter().map(|change| change.taken));
        let (shown, longest_shown) = spread(changes.iter().map(|change| change.shown));
        let (checked, longest_checked) = spread(changes.iter().map(|change| change.checked));
        println!(
            "{attack:<48} {peak:>7.1} {anonymous:>7.1} {file_backed:>7.1} {before:>7.1} {cpu:>7.1} {aws:>7} {kube:>7} \
             {:>7} {:>13} {:>15} {:>13}",
            changes.len(),
            format!("{taken} ({longest_taken})"),
            format!("{shown} ({longest_shown})"),
            format!("{checked} ({longest_checked})")
        );
    }
    println!("In MiB: VmHWM, anon and file during the attack, and the anonymous memory before it.");
    println!(
        "AWS, Kube: the operator's requests. changes: of the second tenant. taken: until the API server had taken one; \
         shown: from then until it showed the change to a watch; checked: from then until its status. Each is the \
         median, and the longest in parentheses."
    );
    println!("{MEMORY_NOTE}");
}

async fn measure(program: &PathBuf, attack: Attack, size: usize) -> Result<Outcome> {
    let world = World::new("hostile").await?;
    world.proxy.keep_no_bodies();
    let attacker = Attacker::new(&world).await?;
    let builder = world.operator().binary(program).namespaces([&world.namespace, &attacker.namespace]);
    let operator = start_built(&world, builder).await?;
    let (source, destination) = attacker.buckets().await?;
    world.apply(&simple(VICTIM, &source, &destination).to_string()).await?;
    world.wait_ready(VICTIM).await?;

    let before = Usage::of(operator.pid())?;
    let sampler = MemorySampler::start(operator.pid());
    let over = AtomicBool::new(false);
    let attacks = async {
        let result = attacker.run(attack, size).await;
        over.store(true, Ordering::Relaxed);
        result
    };
    let (_, changes) = tokio::try_join!(attacks, checks(&world, &operator, &over))?;
    let after = Usage::of(operator.pid())?;
    let peak = sampler.stop()?;
    let (aws, kube) = (world.proxy.calls().len(), kube_requests(&world, &attacker)?);
    // Its work is of no use any more: nothing waits for the end of what the attack left.
    operator.kill().await?;
    Ok(Outcome {
        attack: attack.description(size),
        before: before.memory.anonymous,
        peak: after.peak,
        anonymous: peak.anonymous,
        file_backed: peak.file_backed,
        cpu: after.cpu.total() - before.cpu.total(),
        aws,
        kube,
        changes,
    })
}

/// How many requests the operator made about objects in the attacker's namespace.
fn kube_requests(world: &World, attacker: &Attacker<'_>) -> Result<usize> {
    let requests = world.cluster().requests(OPERATOR, Some(&attacker.namespace))?;
    Ok(requests.iter().filter(|r| !matches!(r.verb.as_str(), "list" | "watch")).count())
}

/// Changes the resource of the second tenant again and again and waits for each check.
async fn checks(world: &World, operator: &Operator, over: &AtomicBool) -> Result<Vec<Change>> {
    let config = watcher::Config::default().fields(&format!("metadata.name={VICTIM}")).streaming_lists();
    let watched = watcher(world.api(), config).default_backoff().applied_objects();
    let mut watched = pin!(watched.filter_map(async |shown| shown.ok()?.metadata.generation));
    let mut changes = Vec::new();
    let mut afterwards = 0;
    while afterwards < AFTERWARDS {
        afterwards += usize::from(over.load(Ordering::Relaxed));
        let begun = Instant::now();
        // Any change of the spec causes a check.
        let interval = format!("{}m", 10 + changes.len() % 2);
        let patch: Patch<Value> = Patch::Merge(json!({"spec": {"interval": interval}}));
        let changed: DynamicObject = world.api().patch(VICTIM, &PatchParams::default(), &patch).await?;
        let taken = begun.elapsed();
        let generation = json!(changed.metadata.generation);
        while watched.next().await < changed.metadata.generation {}
        let shown = begun.elapsed().saturating_sub(taken);
        while world.get(VICTIM).await?["status"]["observedGeneration"] != generation {
            if let Some(code) = operator.exit_code() {
                bail!("the operator has ended with {code}\n{}", world.operator_logs(20));
            }
            if begun.elapsed() > PATIENCE {
                bail!("the second tenant's check did not come\n{}", world.operator_logs(20));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        changes.push(Change { taken, shown, checked: begun.elapsed().saturating_sub(taken + shown) });
        tokio::time::sleep(PAUSE).await;
    }
    Ok(changes)
}
