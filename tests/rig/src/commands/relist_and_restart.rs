//! Two measurements of `rig scale` once all resources are Ready: a watch that has to list everything again, and a
//! restart of the operator. In: a world with Ready resources, and the operator. Out: requests and memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rig::usage::{Memory, MemorySampler, Usage};
use rig::world::DEADLINE;
use rig::{KubeRequest, Operator, World, progress};
use serde_json::json;

use super::measure::{check_on_request, operations, start};
use super::scale::{RATES, name_of};

/// How often the audit log is read, which is large.
const POLL: Duration = Duration::from_millis(200);

const DEFINITION: &str = "bucketreplications.s3replication.dev";

/// The resources that an operator used, and the requests that it sent meanwhile.
pub struct Afterwards {
    pub usage: Usage,
    pub peak: Memory,
    /// The requests that list or watch the resources.
    pub reads: usize,
    /// The calls to AWS, counted by name.
    pub calls: String,
}

/// Changes the definition of the kind, as an upgrade does: the API server ends each watch of it, and answers 410 to one
/// that goes on from a version of before. Returns once the operator has read all resources again and acts on a change.
///
/// # Errors
/// If the operator does not come back, or did not read again.
pub async fn relist(world: &World, operator: &Operator) -> Result<Afterwards> {
    progress::say("changing the definition, so that the operator must list all resources again");
    let (before, watched) = (reads(world)?, watches(world)?);
    world.proxy.clear();
    let sampler = MemorySampler::start(operator.pid());
    let description = "/spec/versions/0/schema/openAPIV3Schema/description";
    let patch =
        json!([{"op": "add", "path": description, "value": "The definition was changed by cargo scale."}]);
    let patch = patch.to_string();
    let output = world.cluster().kubectl(["patch", "crd", DEFINITION, "--type=json", "--patch", &patch])?;
    ensure!(output.status.success(), "kubectl patch crd: {}", String::from_utf8_lossy(&output.stderr));
    // The API server ends the watch a moment later. Then comes one from the old version, which it refuses, and one from
    // the end of the list.
    let begun = Instant::now();
    while watches(world)? - watched < 2 {
        ensure!(begun.elapsed() < DEADLINE, "the operator listed nothing again:\n{}", operator.log());
        tokio::time::sleep(POLL).await;
    }
    check_on_request(world, &name_of(0)).await.with_context(|| operator.log())?;
    afterwards(world, operator, sampler, reads(world)? - before)
}

/// Starts another operator after the first has ended. Returns once it acts on a change.
///
/// # Errors
/// If it does not start, or does not act on the change.
pub async fn restart(world: &World, program: &PathBuf) -> Result<Afterwards> {
    progress::say("starting the operator again");
    let before = reads(world)?;
    let operator = start(world, program, &RATES).await?;
    let sampler = MemorySampler::start(operator.pid());
    check_on_request(world, &name_of(0)).await.with_context(|| operator.log())?;
    let result = afterwards(world, &operator, sampler, reads(world)? - before);
    operator.terminate().await?;
    result
}

fn afterwards(
    world: &World,
    operator: &Operator,
    sampler: MemorySampler,
    reads: usize,
) -> Result<Afterwards> {
    Ok(Afterwards {
        usage: Usage::of(operator.pid())?,
        peak: sampler.stop()?,
        reads,
        calls: operations(&world.proxy.calls()),
    })
}

fn reads(world: &World) -> Result<usize> {
    Ok(requests(world, "list")? + watches(world)?)
}

fn watches(world: &World) -> Result<usize> {
    requests(world, "watch")
}

fn requests(world: &World, verb: &str) -> Result<usize> {
    let requests = world.kube_requests()?;
    let about = |request: &&KubeRequest| request.resource == "bucketreplications" && request.verb == verb;
    Ok(requests.iter().filter(about).count())
}
