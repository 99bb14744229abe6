//! What users and their tools read of a resource: conditions, kstatus, `kubectl wait`, columns, events and
//! messages, from the first moment on.

use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::BucketVersioningStatus;
use futures::TryStreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use rig::Tools;
use rig::operator::Operator;
use rig::world::{DEADLINE, World, condition};
use rig::{Answer, Fault, GateAt, Matcher};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator, patch, reason, replication};

const NAME: &str = "orders";
const ROLE: &str = "orders-role";
const POLICY: &str = "s3-replication";

/// The conditions that are always there once the operator has seen a resource.
const ALWAYS: [&str; 5] = ["Ready", "VersioningReady", "RoleReady", "ReplicationReady", "InSync"];

/// A world with two buckets, `NAME` applied and Ready.
struct Scene {
    world: World,
    operator: Operator,
    source: String,
    destination: String,
}

impl Scene {
    async fn new(name: &str) -> Result<Scene> {
        Self::of(World::new(name).await?).await
    }

    async fn of(world: World) -> Result<Scene> {
        let operator = start(&world).await?;
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        world.apply(&replication(NAME, &source, &destination).to_string()).await?;
        world.wait_ready(NAME).await?;
        Ok(Scene { world, operator, source, destination })
    }

    async fn check(&self) -> Result<Value> {
        check_now(&self.world, NAME).await
    }

    async fn manage(&self, policy: &str) -> Result<Value> {
        patch(&self.world, NAME, json!({"spec": {"managementPolicy": policy}})).await?;
        self.check().await
    }

    async fn drift(&self) -> Result<()> {
        self.world.set_versioning("eu-west-1", &self.destination, BucketVersioningStatus::Suspended).await
    }
}

/// An operator that gives up on a call at the first failure.
async fn start(world: &World) -> Result<Operator> {
    operator(world).args(["--aws-attempt-timeout", "5", "--aws-attempts", "1"]).start().await
}

fn types(status: &Value) -> Vec<&str> {
    status["conditions"].as_array().into_iter().flatten().filter_map(|c| c["type"].as_str()).collect()
}

/// What kstatus, and with it Flux, makes of a resource.
fn kstatus(object: &Value) -> String {
    let told = Tools::kstatus().and_then(|kstatus| kstatus.tell(std::slice::from_ref(object)));
    told.unwrap().remove(0).status
}

/// Every version of a resource that the API server shows while this lives.
struct Seen {
    versions: Arc<Mutex<Vec<Value>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Seen {
    fn of(world: &World, name: &str) -> Seen {
        let versions = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&versions);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let stream = watcher(world.api(), config).applied_objects();
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Ok(Some(object)) = stream.try_next().await {
                seen.lock().unwrap().extend(serde_json::to_value(&object));
            }
        });
        Seen { versions, task }
    }

    /// All versions up to this one.
    async fn up_to(&self, last: &Value) -> Result<Vec<Value>> {
        let version = &last["metadata"]["resourceVersion"];
        let arrived = async {
            while !self.versions.lock().unwrap().iter().any(|v| v["metadata"]["resourceVersion"] == *version)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, arrived)
            .await
            .context("the watch shows fewer versions than there are")?;
        Ok(self.versions.lock().unwrap().clone())
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What must hold of every version of a resource that anyone can ever see.
fn assert_sound(object: &Value) {
    let status = &object["status"];
    let types = types(status);
    let untouched = status["observedGeneration"] == -1;
    let expected: &[&str] = if untouched { &ALWAYS[..1] } else { &ALWAYS };
    assert!(types.starts_with(expected), "{types:?}");
    let rest = &types[expected.len()..];
    assert!(matches!(rest, [] | ["Reconciling"] | ["Stalled"]), "{types:?}");
    for c in status["conditions"].as_array().unwrap() {
        if rest.contains(&c["type"].as_str().unwrap()) {
            assert_eq!(c["status"], "True", "present only while true: {c}");
        }
        if !untouched {
            assert_eq!(c["observedGeneration"], status["observedGeneration"], "{c}");
        }
        assert!(
            c["lastTransitionTime"].is_string() && c["reason"].is_string() && c["message"].is_string(),
            "{c}"
        );
    }
    let ready = condition(status, "Ready").is_some_and(|c| c["status"] == "True");
    let current = status["observedGeneration"] == object["metadata"]["generation"];
    if object["metadata"]["deletionTimestamp"].is_null() {
        assert_eq!(kstatus(object) == "Current", ready && current, "{object:#}");
    }
}

fn kubectl(world: &World, args: &[&str]) -> Result<Output> {
    world.cluster().kubectl(args.iter().copied().chain(["--namespace", &world.namespace]))
}

/// Whether `kubectl wait --for=condition=Ready` ends well within a time.
fn kubectl_wait(world: &World, timeout: &str) -> Result<bool> {
    let output = kubectl(world, &["wait", "--for=condition=Ready", "--timeout", timeout, "br", NAME])?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() || error.contains("timed out"), "kubectl wait: {error}");
    Ok(output.status.success())
}

#[tokio::test]
async fn a_resource_is_waiting_from_its_first_moment_until_it_is_ready() -> Result<()> {
    let world = World::new("conditions-first").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let seen = Seen::of(&world, NAME);
    let created = world.apply(&replication(NAME, &source, &destination).to_string()).await?;
    for object in [&created[0], &world.get(NAME).await?] {
        let status = &object["status"];
        assert_eq!(status["observedGeneration"], -1);
        assert_eq!(types(status), ["Ready"]);
        let ready = condition(status, "Ready").context("no Ready")?;
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("Progressing")));
        assert_eq!(kstatus(object), "InProgress");
    }
    assert!(!kubectl_wait(&world, "1s")?, "nobody has made it Ready");

    let waiting = {
        let (cluster, namespace) = (world.cluster(), world.namespace.clone());
        let args = ["wait", "--for=condition=Ready", "--timeout=60s", "br", NAME, "--namespace"];
        tokio::task::spawn_blocking(move || cluster.kubectl(args.into_iter().chain([namespace.as_str()])))
    };
    let _operator = start(&world).await?;
    assert!(waiting.await??.status.success());
    let object = world.get(NAME).await?;
    assert_eq!(condition(&object["status"], "Ready").context("no Ready")?["status"], "True");
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
    assert_eq!(kstatus(&object), "Current");

    let versions = seen.up_to(&object).await?;
    assert!(versions.len() >= 2, "at least the first and the last");
    versions.iter().for_each(assert_sound);
    Ok(())
}

#[tokio::test]
async fn ready_of_an_older_spec_is_not_taken_for_ready() -> Result<()> {
    let scene = Scene::new("conditions-stale").await?;
    assert!(kubectl_wait(&scene.world, "1s")?);
    let gate = scene.world.proxy.gate(Matcher::operation("PutBucketReplication"), GateAt::BeforeForward);
    let rule = json!({"id": "ReplicateToEU", "priority": 2, "destination": {"bucket": scene.destination}});
    patch(&scene.world, NAME, json!({"spec": {"rules": [rule]}})).await?;
    gate.reached(DEADLINE).await?;
    let object = scene.world.get(NAME).await?;
    assert_eq!(reason(&object["status"], "Ready"), "Applied", "it speaks of the generation before");
    assert_eq!(kstatus(&object), "InProgress");
    assert!(!kubectl_wait(&scene.world, "1s")?);
    gate.release();
    assert!(kubectl_wait(&scene.world, "60s")?);
    assert_eq!(kstatus(&scene.world.get(NAME).await?), "Current");
    Ok(())
}

#[tokio::test]
async fn kstatus_is_right_in_every_state() -> Result<()> {
    let scene = Scene::new("conditions-kstatus").await?;
    let world = &scene.world;
    let seen = Seen::of(world, NAME);
    let types_with = |last: &'static str| [&ALWAYS[..], &[last]].concat();
    let applied = scene.check().await?;
    assert_eq!((kstatus(&applied).as_str(), types(&applied["status"])), ("Current", ALWAYS.to_vec()));

    world.proxy.inject(Fault::always(Matcher::operation("GetBucketReplication"), Answer::access_denied()));
    let denied = scene.check().await?;
    assert_eq!(reason(&denied["status"], "Ready"), "AccessDenied");
    assert_eq!(
        (kstatus(&denied).as_str(), types(&denied["status"])),
        ("InProgress", types_with("Reconciling"))
    );
    world.proxy.remove_faults();
    assert_eq!(kstatus(&scene.check().await?), "Current");

    scene.manage("Observe").await?;
    scene.drift().await?;
    let drifted = scene.check().await?;
    assert_eq!(reason(&drifted["status"], "Ready"), "Drifted");
    assert_eq!((kstatus(&drifted).as_str(), types(&drifted["status"])), ("Failed", types_with("Stalled")));
    assert_eq!(kstatus(&scene.manage("Enforce").await?), "Current");

    world
        .iam()
        .create_role()
        .role_name("by-hand")
        .path("/s3-replication/")
        .assume_role_policy_document("{}")
        .send()
        .await?;
    patch(world, NAME, json!({"spec": {"role": {"name": "by-hand"}}})).await?;
    let refused = scene.check().await?;
    assert_eq!(reason(&refused["status"], "Ready"), "ForeignRole");
    assert_eq!((kstatus(&refused).as_str(), types(&refused["status"])), ("Failed", types_with("Stalled")));
    patch(world, NAME, json!({"spec": {"role": {"name": ROLE}}})).await?;
    assert_eq!(kstatus(&scene.check().await?), "Current");

    patch(world, NAME, json!({"spec": {"suspend": true}})).await?;
    let is_suspended = |status: &Value| reason(status, "Ready") == "Suspended";
    let suspended = world.wait(NAME, is_suspended, "to be suspended").await?;
    assert_eq!(condition(&suspended["status"], "Ready").context("no Ready")?["status"], "Unknown");
    assert_eq!((kstatus(&suspended).as_str(), types(&suspended["status"])), ("InProgress", ALWAYS.to_vec()));
    patch(world, NAME, json!({"spec": {"suspend": false}})).await?;
    assert_eq!(kstatus(&scene.check().await?), "Current");

    let policy = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    world.iam().attach_role_policy().role_name(ROLE).policy_arn(policy).send().await?;
    world.api().delete(NAME, &DeleteParams::default()).await?;
    let blocked = |status: &Value| reason(status, "Ready") == "DeletionBlocked";
    let terminating = world.wait(NAME, blocked, "to wait with its deletion").await?;
    assert_eq!(
        (kstatus(&terminating).as_str(), types(&terminating["status"])),
        ("Terminating", types_with("Reconciling"))
    );

    let versions = seen.up_to(&terminating).await?;
    versions.iter().for_each(assert_sound);
    Ok(())
}

/// The table that kubectl prints of one object, as pairs of column and cell.
fn columns(output: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let (header, row) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    // A column begins where its name does: names are separated by at least three spaces.
    let names: Vec<&str> = header.split("   ").map(str::trim).filter(|name| !name.is_empty()).collect();
    let starts: Vec<usize> =
        names.iter().map(|name| header.find(&format!("{name}  ")).or(header.find(name)).unwrap()).collect();
    let ends = starts.iter().skip(1).copied().chain([row.len()]);
    let cells = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| row.get(*start..end).unwrap_or_default().trim().to_owned());
    names.into_iter().map(str::to_owned).zip(cells).collect()
}

#[tokio::test]
async fn kubectl_get_shows_what_matters() -> Result<()> {
    let scene = Scene::new("conditions-columns").await?;
    let role = format!("arn:aws:iam::{}:role/s3-replication/{ROLE}", scene.world.account);
    let said = format!("bucket {} replicates to {} (1 rule)", scene.source, scene.destination);
    let narrow = [
        ("NAME", NAME),
        ("SOURCE", scene.source.as_str()),
        ("DESTINATION", scene.destination.as_str()),
        ("READY", "True"),
        ("STATUS", "Applied"),
        ("IN SYNC", "True"),
    ];
    let wide = [("RULES", "1"), ("ROLE", role.as_str()), ("MESSAGE", said.as_str())];
    let shown = |args: &[&str]| -> Result<Vec<(String, String)>> {
        let mut columns = columns(&kubectl(&scene.world, args)?);
        let age = columns.iter().position(|(name, _)| name == "AGE").context("no AGE")?;
        let (_, age) = columns.remove(age);
        assert!(age.ends_with('s'), "{age}");
        Ok(columns)
    };
    let pairs = |table: &[(&str, &str)]| {
        table.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["get", "br"])?, pairs(&narrow));
    assert_eq!(shown(&["get", "br", "-o", "wide"])?, pairs(&[&narrow[..], &wide[..]].concat()));
    for category in ["aws", "s3"] {
        assert!(
            String::from_utf8_lossy(&kubectl(&scene.world, &["get", category])?.stdout).contains(NAME),
            "{category}"
        );
    }

    scene.manage("Observe").await?;
    scene.drift().await?;
    scene.check().await?;
    let drifted = shown(&["get", "br"])?;
    let cell = |name: &str| drifted.iter().find(|(n, _)| n == name).map(|(_, cell)| cell.as_str());
    assert_eq!(
        (cell("READY"), cell("STATUS"), cell("IN SYNC")),
        (Some("False"), Some("Drifted"), Some("False"))
    );
    Ok(())
}

/// Reason, type and note of the events about `NAME`, oldest first.
async fn events(world: &World) -> Result<Vec<(String, String, String)>> {
    let api: Api<Event> = Api::namespaced(world.kube.clone(), &world.namespace);
    let mut events = api.list(&ListParams::default()).await?.items;
    events.retain(|e| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(NAME));
    events.sort_by_key(|e| e.event_time.as_ref().map(|t| t.0));
    let text = |field: Option<String>| field.unwrap_or_default();
    Ok(events.into_iter().map(|e| (text(e.reason), text(e.type_), text(e.note))).collect())
}

#[tokio::test]
async fn events_tell_each_write_and_each_drift_once() -> Result<()> {
    let scene = Scene::new("conditions-events").await?;
    let (source, destination) = (scene.source.as_str(), scene.destination.as_str());
    // The events of a check come after its status: those of a check are all there when the next has ended.
    let expect = async |what: &str, kind: &str, reason: &str, note: &[&str], count: usize| -> Result<()> {
        for _ in 0..4 {
            scene.check().await?;
        }
        let events = events(&scene.world).await?;
        assert_eq!(events.len(), count, "{what}, and three more checks: {events:#?}");
        let (said, is, words) = events.last().context("no event")?;
        assert_eq!((said.as_str(), is.as_str()), (reason, kind), "{what}");
        for part in note {
            assert!(words.contains(part), "{what}: {part:?} is not in {words:?}");
        }
        Ok(())
    };
    let writes = [
        format!("enable versioning of bucket {source} in us-east-1"),
        format!("enable versioning of bucket {destination} in eu-west-1"),
        format!("create role /s3-replication/{ROLE}"),
        format!("set the policy {POLICY} of role {ROLE}"),
        format!("set the replication configuration of bucket {source}: ReplicateToEU to {destination}"),
    ];
    assert_eq!(scene.world.proxy.writes().len(), writes.len());
    expect("applied", "Normal", "Applied", &writes.each_ref().map(String::as_str), 1).await?;

    scene.manage("Observe").await?;
    scene.drift().await?;
    let difference = format!("BucketVersioning {destination} status: want \"Enabled\", got \"Suspended\"");
    expect("drift", "Warning", "DriftDetected", &[&difference], 2).await?;

    scene.manage("Enforce").await?;
    expect("correction", "Warning", "DriftCorrected", &[&difference, &writes[1]], 3).await?;

    scene.world.proxy.inject(Fault::always(Matcher::operation("GetRole"), Answer::access_denied()));
    expect("denial", "Warning", "AccessDenied", &["iam:GetRole", ROLE], 4).await?;
    scene.world.proxy.remove_faults();
    scene.check().await?;

    scene.world.api().delete(NAME, &DeleteParams::default()).await?;
    scene.world.wait_gone(NAME).await?;
    let events = events(&scene.world).await?;
    let (said, is, words) = events.last().context("no event")?;
    assert_eq!((events.len(), said.as_str(), is.as_str()), (5, "Deleted", "Normal"), "{events:#?}");
    for part in ["remove the replication configuration", "delete the policy", "delete role"] {
        assert!(words.contains(part), "{words}");
    }
    Ok(())
}

/// Waits until the audit log, which a watch can be ahead of, shows as many writes of the operator as these, and
/// sees that they are these.
async fn wrote_to_kubernetes(world: &World, expected: &[&str]) -> Result<()> {
    let writes = || -> Result<Vec<String>> {
        let requests = world.kube_requests()?.into_iter().filter(|r| r.is_write());
        Ok(requests.map(|r| format!("{} {}/{}", r.verb, r.resource, r.subresource)).collect())
    };
    let logged = async {
        while writes()?.len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        writes()
    };
    let mut found =
        tokio::time::timeout(DEADLINE, logged).await.context("the operator wrote less than this")??;
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    Ok(())
}

#[tokio::test]
async fn a_check_that_finds_nothing_writes_nothing_to_kubernetes() -> Result<()> {
    let scene = Scene::of(World::with_insight("conditions-quiet").await?).await?;
    let world = &scene.world;
    let answer = "patch bucketreplications/status";
    let mut expected = vec!["patch bucketreplications/", answer, "create events/"];
    wrote_to_kubernetes(world, &expected).await?;

    // Any annotation makes the operator look; only one of them wants an answer.
    // Versioning that was read a moment ago is not read again.
    let checked = |calls: &[rig::Call]| {
        let answered = |operation: &str| calls.iter().any(|c| c.operation == operation && c.status.is_some());
        answered("GetRolePolicy") && answered("GetBucketReplication")
    };
    for n in 0..3 {
        world.proxy.clear();
        patch(world, NAME, json!({"metadata": {"annotations": {"example.com/touched": n.to_string()}}}))
            .await?;
        world.proxy.wait_for(checked, DEADLINE).await?;
    }
    scene.check().await?;
    expected.push(answer);
    wrote_to_kubernetes(world, &expected).await?;

    // Nor does a new operator that finds all as the one before left it.
    scene.operator.kill().await?;
    world.proxy.clear();
    let _operator = start(world).await?;
    world.proxy.wait_for(checked, DEADLINE).await?;
    scene.check().await?;
    expected.push(answer);
    wrote_to_kubernetes(world, &expected).await
}

#[tokio::test]
async fn messages_name_the_bucket_the_action_and_the_remedy_and_do_not_change() -> Result<()> {
    let scene = Scene::new("conditions-messages").await?;
    let (world, source, destination) = (&scene.world, scene.source.as_str(), scene.destination.as_str());
    let says = async |expected: &str, about: &str, parts: &[&str]| -> Result<()> {
        let first = scene.check().await?["status"].take();
        assert_eq!(reason(&first, "Ready"), expected);
        assert_eq!(reason(&first, about), expected, "{first:#}");
        for part in parts {
            assert!(
                message(&first, "Ready").contains(part),
                "{part:?} is not in {:?}",
                message(&first, "Ready")
            );
        }
        let second = scene.check().await?["status"].take();
        assert_eq!(first["conditions"], second["conditions"], "two identical tries say the same");
        Ok(())
    };
    let denials = [
        ("GetBucketReplication", "ReplicationReady", "s3:GetReplicationConfiguration", source),
        ("GetRole", "RoleReady", "iam:GetRole", ROLE),
        ("GetRolePolicy", "RoleReady", "iam:GetRolePolicy", ROLE),
    ];
    for (operation, about, action, subject) in denials {
        world.proxy.inject(Fault::always(Matcher::operation(operation), Answer::access_denied()));
        says("AccessDenied", about, &[action, subject, &format!("allow {action} on {subject}")]).await?;
        world.proxy.remove_faults();
    }

    let write = Fault::always(Matcher::operation("PutBucketVersioning"), Answer::access_denied());
    scene.drift().await?;
    world.proxy.inject(write);
    let action = "s3:PutBucketVersioning";
    says(
        "AccessDenied",
        "VersioningReady",
        &[action, destination, &format!("allow {action} on {destination}")],
    )
    .await?;
    world.proxy.remove_faults();

    scene.manage("Observe").await?;
    says("Drifted", "VersioningReady", &[destination, "want \"Enabled\", got \"Suspended\""]).await?;
    scene.manage("Enforce").await?;

    let rule = |bucket: &str, versioning: &str| {
        let to = json!({"bucket": bucket, "storageClass": "STANDARD", "versioning": versioning});
        json!({"spec": {"rules": [{"id": "ReplicateToEU", "priority": 1, "destination": to}]}})
    };
    let missing = world.bucket_name();
    patch(world, NAME, rule(&missing, "Managed")).await?;
    says(
        "DestinationBucketNotFound",
        "ReplicationReady",
        &[&missing, "create it or correct destination.bucket"],
    )
    .await?;

    patch(world, NAME, rule(destination, "Required")).await?;
    scene.drift().await?;
    says("VersioningNotEnabled", "VersioningReady", &[destination, "enable it, or set versioning: Managed"])
        .await?;

    patch(world, NAME, rule(destination, "Managed")).await?;
    world.set_versioning("eu-west-1", destination, BucketVersioningStatus::Enabled).await?;
    scene.check().await?;
    world.proxy.set_mfa_delete(destination);
    scene.drift().await?;
    says("MfaDeleteEnabled", "VersioningReady", &[destination, "enable versioning there by hand"]).await
}

#[tokio::test]
async fn a_condition_keeps_its_time_while_its_status_stays() -> Result<()> {
    let scene = Scene::new("conditions-times").await?;
    let world = &scene.world;
    scene.manage("Observe").await?;
    // Long ago, so that a time that is kept and one that is new cannot be taken for each other. The operator is
    // not there meanwhile: it trusts what it wrote itself a moment ago more than what it reads.
    scene.operator.kill().await?;
    let long_ago = "2020-01-01T00:00:00Z";
    let mut conditions = world.get(NAME).await?["status"]["conditions"].take();
    for c in conditions.as_array_mut().context("no conditions")? {
        c["lastTransitionTime"] = json!(long_ago);
    }
    let aged = json!({"status": {"conditions": conditions}});
    world.api().patch_status(NAME, &PatchParams::default(), &Patch::Merge(aged)).await?;
    let _operator = start(world).await?;

    scene.drift().await?;
    let status = scene.check().await?["status"].take();
    let time = |kind: &str| {
        condition(&status, kind).and_then(|c| c["lastTransitionTime"].as_str()).unwrap_or_default()
    };
    for (kind, kept) in [
        ("Ready", false),
        ("VersioningReady", false),
        ("RoleReady", true),
        ("ReplicationReady", true),
        ("InSync", false),
    ] {
        assert_eq!(time(kind) == long_ago, kept, "{kind}: {status:#}");
    }
    Ok(())
}
