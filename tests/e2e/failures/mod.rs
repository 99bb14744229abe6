//! Failures of AWS: what the resource reports, when the operator tries again, and that it continues automatically once
//! AWS answers. Every failure is injected between the operator and AWS.

mod buckets;
mod connection;
mod denied_reads;
mod refused_changes;
mod regions;
mod responses;
mod restart;
mod roles;
mod unclear_answers;

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use rig::proxy::{Answer, Call, Fault, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{Scene, SceneBuilder, check_now, message, reason, replication, request_check};

/// A scene whose operator reports the first failure. It waits longer for an answer than a busy machine takes.
fn impatient(name: &str) -> SceneBuilder<'_> {
    waiting_for_answers(name, "30")
}

/// A scene whose operator reports the first failure and waits this many seconds for an answer.
fn waiting_for_answers<'a>(name: &'a str, seconds: &'a str) -> SceneBuilder<'a> {
    Scene::named(name).args(&["--aws-attempts", "1", "--aws-attempt-timeout", seconds])
}

/// The subject of a call.
#[derive(Clone, Copy)]
enum On {
    Source,
    Destination,
    Role,
}

/// The act of the operator during which AWS begins to fail.
enum During {
    /// The resource was just created; AWS has nothing of it.
    Creation,
    /// The resource is Ready, and a check is requested.
    Check,
    /// The resource is Ready, and the spec is changed.
    Change(fn(&mut Value)),
    /// The resource is Ready, and is deleted.
    Deletion,
}

/// A call that fails, and what the resource reports.
struct Failure {
    operation: &'static str,
    on: On,
    answer: Answer,
    during: During,
    reason: &'static str,
    /// Parts of the message; `SUBJECT` stands for the bucket or the role.
    reports: Vec<&'static str>,
}

impl Failure {
    /// A denial whose message names no action: S3's often do not.
    fn denied(operation: &'static str, on: On, during: During, action: &'static str) -> Failure {
        Failure {
            operation,
            on,
            answer: Answer::access_denied(),
            during,
            reason: "AccessDenied",
            reports: vec![action, "SUBJECT", "to the operator's identity"],
        }
    }

    fn at_creation(operation: &'static str, on: On, answer: Answer, reason: &'static str) -> Failure {
        Failure { operation, on, answer, during: During::Creation, reason, reports: vec!["SUBJECT"] }
    }

    fn reporting(mut self, parts: &[&'static str]) -> Failure {
        self.reports.extend(parts);
        self
    }

    /// Injects the failure for a new resource. The resource must report it, the operator must retry without further
    /// writes or events, and recover without a restart.
    async fn check(self, world: &World, name: &str) -> Result<()> {
        let operation = self.operation;
        self.report_and_recover(world, name).await.with_context(|| format!("{operation} fails while {name}"))
    }

    async fn report_and_recover(self, world: &World, name: &str) -> Result<()> {
        let source = world.bucket("us-east-1").await?;
        let destination = world.bucket("eu-west-1").await?;
        let mut resource = replication(name, &source, &destination);
        resource["spec"]["role"]["tags"] = json!({"team": "data"});
        let subject = match self.on {
            On::Source => source,
            On::Destination => destination,
            On::Role => format!("{name}-role"),
        };
        let fault = Fault::always(Matcher::operation(self.operation).about(&subject), self.answer);
        let struck = |calls: &[Call]| {
            calls.iter().filter(|c| c.operation == self.operation && c.subject == subject).count()
        };
        if !matches!(self.during, During::Creation) {
            world.apply(&resource.to_string()).await?;
            world.wait_ready(name).await?;
        }
        let (before, begun) = (struck(&world.proxy.calls()), Instant::now());
        let id = world.proxy.inject(fault);
        match self.during {
            During::Creation => drop(world.apply(&resource.to_string()).await?),
            During::Check => drop(request_check(world, name).await?),
            During::Change(change) => {
                change(&mut resource);
                world.apply(&resource.to_string()).await?;
            }
            During::Deletion => drop(world.api().delete(name, &DeleteParams::default()).await?),
        }

        let failing = |status: &Value| reason(status, "Ready") == self.reason;
        let first = world.wait(name, failing, self.reason).await?["status"].clone();
        let text = message(&first, "Ready");
        for part in &self.reports {
            let part = part.replace("SUBJECT", &subject);
            ensure!(text.contains(&part), "the message does not say {part:?}: {text}");
        }
        ensure!(!text.to_lowercase().contains("request id"), "the message changes from try to try: {text}");

        // The next try comes automatically. A denied HeadBucket may be two requests of one try, and on a busy machine the
        // status is seen after some more tries: the operator makes at most one each second.
        let seen = struck(&world.proxy.calls());
        let most = 2 + usize::try_from(begun.elapsed().as_secs())?;
        ensure!(seen - before <= most, "tried {} times before it reported it", seen - before);
        world.proxy.wait_for(|calls| struck(calls) > seen, DEADLINE).await?;
        let second = check_now(world, name).await?;
        ensure!(message(&second["status"], "Ready") == text, "two tries differ: {first:#} {second:#}");

        // From now on every try has the same outcome: the only writes are the request for a check and its
        // acknowledgement.
        let reported = events(world, name).await?;
        let third = check_now(world, name).await?;
        let conditions = |object: &Value| object["status"]["conditions"].clone();
        ensure!(conditions(&third) == conditions(&second), "two tries differ: {second:#} {third:#}");
        ensure!(reported == events(world, name).await?, "two tries publish an event each");
        let written = changes(world, name, &second, &third).await?;
        ensure!(written == 2, "written {} times in a try that had the same outcome", written - 1);

        let deleting = !world.get(name).await?["metadata"]["deletionTimestamp"].is_null();
        world.proxy.remove(id);
        request_check(world, name).await?;
        if deleting {
            return world.wait_gone(name).await;
        }
        let recovered = |status: &Value| reason(status, "Ready") == "Applied";
        world.wait(name, recovered, "to recover").await?;
        Ok(())
    }
}

/// Counts the writes of an object between two of its versions.
async fn changes(world: &World, name: &str, from: &Value, to: &Value) -> Result<usize> {
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let only = WatchParams::default().fields(&format!("metadata.name={name}")).disable_bookmarks();
    let api = world.api();
    let events = api.watch(&only, &version(from)).await?;
    let mut events = std::pin::pin!(events);
    let mut count = 0;
    while let Some(WatchEvent::Modified(object)) = events.try_next().await? {
        count += 1;
        if object.metadata.resource_version == Some(version(to)) {
            return Ok(count);
        }
    }
    bail!("the watch of {name} ended before it showed the later state")
}

/// The events about one resource, with the count of each.
async fn events(world: &World, name: &str) -> Result<Vec<(String, i32)>> {
    let api: Api<Event> = Api::namespaced(world.kube.clone(), &world.namespace);
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let reported =
        |event: Event| (event.message.unwrap_or_default(), event.series.and_then(|s| s.count).unwrap_or(1));
    Ok(api.list(&about).await?.into_iter().map(reported).collect())
}

/// Checks all these failures at the same time, each with its own resource, against one operator.
async fn check_all(name: &str, failures: Vec<Failure>) -> Result<()> {
    check_all_in(impatient(name), failures).await
}

/// The same in a scene with another operator.
async fn check_all_in(scene: SceneBuilder<'_>, failures: Vec<Failure>) -> Result<()> {
    let Scene { world, operator, .. } = scene.empty().await?;
    let numbered = failures.into_iter().enumerate();
    try_join_all(numbered.map(|(i, trouble)| {
        let name = format!("r{i}");
        let world = &world;
        async move { trouble.check(world, &name).await }
    }))
    .await?;
    ensure!(operator.exit_code().is_none(), "the operator has ended");
    Ok(())
}
