//! Failures of AWS: what the resource reports, when the operator tries again, and that it continues automatically once AWS
//! answers. Every failure is injected between the operator and AWS.

mod buckets;
mod connection;
mod responses;
mod restart;
mod roles;

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

/// An operator that reports a failure at its first sight, and does not wait long for an answer.
fn impatient(name: &str) -> SceneBuilder<'_> {
    Scene::named(name).args(&["--aws-attempts", "1", "--aws-attempt-timeout", "3"])
}

/// What a call is about.
#[derive(Clone, Copy)]
enum On {
    Source,
    Destination,
    Role,
}

/// What the operator is doing when AWS begins to fail.
enum During {
    /// The resource has just been created; nothing is there yet.
    Creation,
    /// All was in order, and a check was asked for.
    Check,
    /// All was in order, and the spec is changed.
    Change(fn(&mut Value)),
    /// All was in order, and the resource is deleted.
    Deletion,
}

/// One thing that goes wrong, and what the resource then says.
struct Failure {
    operation: &'static str,
    on: On,
    answer: Answer,
    during: During,
    reason: &'static str,
    /// Parts of the message; `SUBJECT` stands for the bucket or the role.
    says: Vec<&'static str>,
}

impl Failure {
    /// A denial that names no action, as S3's often does.
    fn denied(operation: &'static str, on: On, during: During, action: &'static str) -> Failure {
        Failure {
            operation,
            on,
            answer: Answer::access_denied(),
            during,
            reason: "AccessDenied",
            says: vec![action, "SUBJECT", "to the operator's identity"],
        }
    }

    fn at_creation(operation: &'static str, on: On, answer: Answer, reason: &'static str) -> Failure {
        Failure { operation, on, answer, during: During::Creation, reason, says: vec!["SUBJECT"] }
    }

    fn saying(mut self, parts: &[&'static str]) -> Failure {
        self.says.extend(parts);
        self
    }

    /// Lets it happen to a new resource: it must show, be tried again by itself without a word more, and pass
    /// without a restart.
    async fn check(self, world: &World, name: &str) -> Result<()> {
        let operation = self.operation;
        self.happen(world, name).await.with_context(|| format!("{operation} fails while {name}"))
    }

    async fn happen(self, world: &World, name: &str) -> Result<()> {
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
        let before = struck(&world.proxy.calls());
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
        let said = message(&first, "Ready");
        for part in &self.says {
            let part = part.replace("SUBJECT", &subject);
            ensure!(said.contains(&part), "the message does not say {part:?}: {said}");
        }
        ensure!(!said.to_lowercase().contains("request id"), "the message changes from try to try: {said}");

        // The next try comes by itself. A denied look at a bucket may be two requests of one try.
        let seen = struck(&world.proxy.calls());
        ensure!(seen - before <= 2, "tried {} times before it said so", seen - before);
        world.proxy.wait_for(|calls| struck(calls) > seen, DEADLINE).await?;
        let second = check_now(world, name).await?;
        ensure!(message(&second["status"], "Ready") == said, "two tries differ: {first:#} {second:#}");

        // From now on nothing at all is different from try to try: acknowledging the request to check, beside the
        // request itself, is the only write.
        let events = events(world, name).await?;
        let third = check_now(world, name).await?;
        let conditions = |object: &Value| object["status"]["conditions"].clone();
        ensure!(conditions(&third) == conditions(&second), "two tries differ: {second:#} {third:#}");
        ensure!(events == self::events(world, name).await?, "two tries tell an event each");
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

/// How many times an object was written on its way from one state to a later one.
async fn changes(world: &World, name: &str, from: &Value, to: &Value) -> Result<usize> {
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
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

/// The events about one resource, with how often each was told.
async fn events(world: &World, name: &str) -> Result<Vec<(String, i32)>> {
    let api: Api<Event> = Api::namespaced(world.kube.clone(), &world.namespace);
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let told =
        |event: Event| (event.message.unwrap_or_default(), event.series.and_then(|s| s.count).unwrap_or(1));
    Ok(api.list(&about).await?.into_iter().map(told).collect())
}

/// Lets all these happen at once, each to a resource of its own, to one operator that never restarts.
async fn check_all(name: &str, failures: Vec<Failure>) -> Result<()> {
    let Scene { world, operator, .. } = impatient(name).empty().await?;
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
