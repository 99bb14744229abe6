//! `rig budget`: counts the requests of a check and of a convergence, at the proxy and in the API server's audit log,
//! and compares them with their limits.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use rig::proxy::round_trips;
use rig::world::condition;
use rig::{World, operator};
use serde_json::{Value, json};

use super::measure::{
    check, check_on_request, kube_operations, object_requests, operations, replication, start,
};

/// Long enough for requests that are sent at once to overlap.
const LATENCY: Duration = Duration::from_millis(300);

/// Longer than the operator lets resources share a read.
const READS_ARE_SHARED: Duration = Duration::from_millis(2500);

const REGIONS: (&str, &str) = ("us-east-1", "eu-west-1");

/// One line of the table.
struct Line {
    what: &'static str,
    limit: usize,
    measured: usize,
    detail: String,
}

/// Measures all of the budget and prints it.
///
/// # Errors
/// When something costs more than it may.
pub fn run() -> Result<()> {
    let program = operator::build()?;
    let lines = tokio::runtime::Runtime::new()?.block_on(async {
        let (one, shared, suspended) =
            tokio::join!(one_resource(&program), shared_destination(&program), suspended(&program));
        let named = regions_named(&program).await?;
        anyhow::Ok([one?, named, shared?, suspended?].into_iter().flatten().collect::<Vec<Line>>())
    })?;
    println!("{:<72} {:>8} {:>6}", "", "measured", "limit");
    for Line { what, limit, measured, detail } in &lines {
        let mark = if measured > limit { "  EXCEEDED" } else { "" };
        println!("{what:<72} {measured:>8} {limit:>6}{mark}");
        if !detail.is_empty() {
            println!("    {detail}");
        }
    }
    let exceeded = lines.iter().filter(|line| line.measured > line.limit).count();
    if exceeded > 0 {
        bail!("{exceeded} of {} limits are exceeded", lines.len());
    }
    Ok(())
}

async fn one_resource(program: &PathBuf) -> Result<Vec<Line>> {
    let world = World::new("budget").await?;
    world.proxy.set_latency(LATENCY);
    let operator = start(&world, program, &[]).await?;
    let (source, destination) = (world.bucket(REGIONS.0).await?, world.bucket(REGIONS.1).await?);
    world.apply(&replication("one", &source, &destination, None).to_string()).await?;
    world.wait_ready("one").await?;
    let converging = world.proxy.calls();
    // The event follows the status.
    check_on_request(&world, "one").await?;
    let mut kube = object_requests(&world)?;
    // The acknowledgement of that request.
    kube.pop();

    // The first check is over when the second begins: one resource is never checked twice at a time.
    tokio::time::sleep(READS_ARE_SHARED).await;
    let before = object_requests(&world)?.len();
    let calls = check(&world, &operator, &["one"]).await?;
    check(&world, &operator, &["one"]).await?;
    let after = object_requests(&world)?;
    let writes: Vec<_> = after.into_iter().skip(before).filter(|r| r.is_write()).collect();

    Ok(vec![
        Line {
            what: "AWS requests in a check that finds nothing",
            limit: 5,
            measured: calls.len(),
            detail: operations(&calls),
        },
        Line {
            what: "round trips to AWS, one after the other, in that check",
            limit: 1,
            measured: round_trips(&calls),
            detail: String::new(),
        },
        Line {
            what: "writes to Kubernetes in that check",
            limit: 0,
            measured: writes.len(),
            detail: kube_operations(&writes),
        },
        Line {
            what: "round trips to AWS from empty to Ready, the Regions unknown",
            limit: 5,
            measured: round_trips(&converging),
            detail: String::new(),
        },
        Line {
            what: "AWS requests from empty to Ready, the Regions unknown",
            limit: 12,
            measured: converging.len(),
            detail: operations(&converging),
        },
        Line {
            what: "Kubernetes requests from empty to Ready, one of them the live read before the first write",
            limit: 4,
            measured: kube.len(),
            detail: kube_operations(&kube),
        },
    ])
}

async fn regions_named(program: &PathBuf) -> Result<Vec<Line>> {
    let world = World::new("budget-regions").await?;
    let _operator = start(&world, program, &[]).await?;
    let (source, destination) = (world.bucket(REGIONS.0).await?, world.bucket(REGIONS.1).await?);
    world.apply(&replication("named", &source, &destination, Some(REGIONS)).to_string()).await?;
    world.wait_ready("named").await?;
    let calls = world.proxy.calls();
    Ok(vec![Line {
        what: "AWS requests from empty to Ready, the Regions named in the spec",
        limit: 11,
        measured: calls.len(),
        detail: operations(&calls),
    }])
}

async fn shared_destination(program: &PathBuf) -> Result<Vec<Line>> {
    let world = World::new("budget-shared").await?;
    world.proxy.set_latency(LATENCY);
    let operator = start(&world, program, &[]).await?;
    let destination = world.bucket(REGIONS.1).await?;
    for name in ["one", "two"] {
        let source = world.bucket(REGIONS.0).await?;
        world.apply(&replication(name, &source, &destination, None).to_string()).await?;
        world.wait_ready(name).await?;
    }
    tokio::time::sleep(READS_ARE_SHARED).await;
    let mut calls = check(&world, &operator, &["one", "two"]).await?;
    calls.retain(|call| call.subject == destination);
    Ok(vec![Line {
        what: "AWS requests about a destination that two resources share, both checked",
        limit: 1,
        measured: calls.len(),
        detail: operations(&calls),
    }])
}

async fn suspended(program: &PathBuf) -> Result<Vec<Line>> {
    let world = World::new("budget-suspended").await?;
    let _operator = start(&world, program, &[]).await?;
    let (source, destination) = (world.bucket(REGIONS.0).await?, world.bucket(REGIONS.1).await?);
    let mut resource = replication("suspended", &source, &destination, None);
    resource["spec"]["suspend"] = json!(true);
    world.apply(&resource.to_string()).await?;
    let is_suspended =
        |status: &Value| condition(status, "Ready").is_some_and(|c| c["reason"] == "Suspended");
    world.wait("suspended", is_suspended, "to say that it is suspended").await?;
    // A change of the spec still updates the status.
    resource["spec"]["interval"] = json!("1h");
    world.apply(&resource.to_string()).await?;
    let seen = |status: &Value| status["observedGeneration"] == 2;
    world.wait("suspended", seen, "to be seen as it is now").await?;
    let calls = world.proxy.calls();
    Ok(vec![Line {
        what: "AWS requests for a resource that is suspended, also when its spec changes",
        limit: 0,
        measured: calls.len(),
        detail: operations(&calls),
    }])
}
