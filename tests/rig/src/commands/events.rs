//! `rig scale --events`: many resources whose events come by a queue. Prints the cost of an idle minute, and the time
//! from the receipt of an event to the beginning of the check. With `--hostile` it prints the effect of a flood of
//! events about one tenant's resource on the events of another's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use futures::{StreamExt, TryStreamExt, stream};
use rig::proxy::{Call, event};
use rig::usage::{MEMORY_NOTE, MemorySampler, Usage};
use rig::world::DEADLINE;
use rig::{Clients, Operator, World, operator, progress};

use super::measure::{check_on_request, operations, start};
use super::scale::{AT_ONCE, RATES, REGIONS, all_ready, buckets, create, name_of, within};

/// Longer than the shortest interval of polling with its jitter.
const IDLE: Duration = Duration::from_secs(70);

/// How many changes are measured.
const CHANGES: usize = 20;

/// Messages of the flood, and how many of them are sent at once.
const FLOOD: usize = 20_000;
const BATCH: usize = 10;

/// Creates the resources, waits until events cover them, and measures.
///
/// # Errors
/// If not all become Ready, or a change is not seen.
pub fn run(count: usize, hostile: bool) -> Result<()> {
    if count <= 2 * CHANGES {
        bail!("{} resources are needed: each is changed once", 2 * CHANGES + 1);
    }
    let program = operator::build()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let world = World::new("scale-events").await?;
        world.proxy.keep_no_bodies();
        let queue = world.event_queue().await?;
        let pairs = buckets(&world, count, None).await?;
        let args = [&RATES[..], &["--event-queue", &queue, "--interval", "1m", "--request-interval", "0"]];
        let operator = start(&world, &program, &args.concat()).await?;
        let sampler = MemorySampler::start(operator.pid());
        let begun = Instant::now();
        progress::say(&format!("creating {count} resources and waiting until all are Ready"));
        let patience = Duration::from_secs(120) + Duration::from_millis(500) * u32::try_from(count)?;
        tokio::try_join!(
            create(&world, &pairs, None, begun),
            within(patience, &world, all_ready(&world, count, begun))
        )?;
        println!("{count} resources Ready after {:.1} s", begun.elapsed().as_secs_f64());
        let somebody = world.somebody().await?;

        // A check that began before the last origin was known to send events counts for nothing: one more of each.
        progress::say("waiting until each was checked under the cover of events");
        let checks = (0..count).map(|n| check(&world, n));
        stream::iter(checks).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let before = Usage::of(operator.pid())?;
        let receives = world.proxy.queue_requests();
        world.proxy.clear();
        progress::say(&format!("idle for {} s", IDLE.as_secs()));
        tokio::time::sleep(IDLE).await;
        let calls = world.proxy.calls();
        let after = Usage::of(operator.pid())?;
        let names = if calls.is_empty() { "none".to_owned() } else { operations(&calls) };
        println!("in {} idle s: {} calls to S3, IAM, STS and KMS ({names})", IDLE.as_secs(), calls.len());
        println!(
            "  {} requests to SQS, {:.2} CPU s",
            world.proxy.queue_requests() - receives,
            after.cpu.total() - before.cpu.total()
        );

        let (waits, _) = reactions(&world, &somebody, &pairs[1..=CHANGES], &operator).await?;
        print("from the change in AWS to the first read of its check", waits);
        if hostile {
            flood(&world, &somebody, &queue, &pairs, &operator).await?;
        }
        let (usage, peak) = (Usage::of(operator.pid())?, sampler.stop()?);
        println!(
            "memory: {:.1} MiB at the peak (VmHWM), {:.1} anonymous and {:.1} file-backed at the highest sample",
            usage.peak, peak.anonymous, peak.file_backed
        );
        println!("{MEMORY_NOTE}");
        operator.terminate().await.map(drop)
    })
}

async fn check(world: &World, number: usize) -> Result<()> {
    check_on_request(world, &name_of(number)).await
}

fn print(what: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |part: usize| waits.get(part).map_or(0, Duration::as_millis);
    let (middle, last) = (at(waits.len() / 2), at(waits.len().saturating_sub(1)));
    println!("{what}: median {middle} ms, longest {last} ms, of {}", waits.len());
}

/// Suspends versioning of destinations, one after the other, and measures until the operator reads the bucket. Returns
/// these times, and all calls meanwhile.
async fn reactions(
    world: &World,
    somebody: &Clients,
    pairs: &[(String, String)],
    operator: &Operator,
) -> Result<(Vec<Duration>, Vec<Call>)> {
    let (mut waits, mut all) = (Vec::new(), Vec::new());
    for (_, destination) in pairs {
        all.extend(world.proxy.calls());
        world.proxy.clear();
        let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
        let s3 = somebody.s3(REGIONS.1);
        s3.put_bucket_versioning().bucket(destination).versioning_configuration(suspended).send().await?;
        let find = |calls: &[Call], operation: &str| {
            calls.iter().find(|c| c.operation == operation && c.subject == *destination).map(|c| c.started)
        };
        let seen = |calls: &[Call]| find(calls, "GetBucketVersioning").is_some();
        let calls = world.proxy.wait_for(seen, DEADLINE).await.with_context(|| operator.log())?;
        let times = find(&calls, "PutBucketVersioning").zip(find(&calls, "GetBucketVersioning"));
        let (changed, read) = times.context("the change is not recorded")?;
        waits.push(read.saturating_duration_since(changed));
    }
    all.extend(world.proxy.calls());
    Ok((waits, all))
}

/// Sends events about the first resource, as many as the queue takes, while the others change.
async fn flood(
    world: &World,
    somebody: &Clients,
    queue: &str,
    pairs: &[(String, String)],
    operator: &Operator,
) -> Result<()> {
    let sqs = world.as_account(&world.account).sqs(REGIONS.0);
    let target = world.proxy.calls().into_iter().find(|call| call.operation == "PutBucketVersioning");
    let target = target.context("no change to forge events from")?;
    progress::say(&format!("a flood of {FLOOD} events about one resource, while another changes"));
    world.proxy.clear();
    let batch = |_| {
        let entries = (0..BATCH).map(|number| {
            let mut call = target.clone();
            call.subject.clone_from(&pairs[0].1);
            let body = event(&call, None).to_string();
            let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder();
            entry.id(number.to_string()).message_body(body).build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        let request = sqs.send_message_batch().queue_url(queue);
        async move { request.set_entries(Some(entries?)).send().await.map(drop).map_err(anyhow::Error::from) }
    };
    let begun = Instant::now();
    let sent = stream::iter(0..FLOOD / BATCH).map(batch).buffer_unordered(8).try_collect::<()>();
    let others = &pairs[CHANGES + 1..=2 * CHANGES];
    let (flooded, reacted) = tokio::join!(sent, reactions(world, somebody, others, operator));
    flooded?;
    let (waits, calls) = reacted?;
    print("beside the flood, from another's change to the first read of its check", waits);
    let caused = calls.iter().filter(|c| c.operation == "GetBucketVersioning" && c.subject == pairs[0].1);
    println!("  checks that the flood caused: {} in {:.0} s", caused.count(), begun.elapsed().as_secs_f64());
    Ok(())
}
