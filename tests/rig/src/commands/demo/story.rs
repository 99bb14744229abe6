//! The steps of the demo.

use anyhow::Result;
use serde_json::{Value, json};

use super::cloud::{Held, Object};
use super::example::{Example, MANIFEST};
use super::stage::{ACCOUNT, Stage};
use super::{arrival, backfill};

/// The values that the demo writes into the rule and into the policy as drift.
const WRONG_CLASS: &str = "GLACIER";
const ACTION: &str = "s3:ReplicateDelete";

const STATUS_OF_DRIFT: &str = r#"jsonpath={range .status.drift[*]}{.resource} {.name}{"\n"}  {.path}: want {.want}, got {.got}{"\n"}{end}"#;
const STATUS_OF_CORRECTION: &str = r#"jsonpath=corrected at {.status.lastCorrection.time}:{"\n"}{range .status.lastCorrection.items[*]}  {.resource} {.name} {.path}: {.got} -> {.want}{"\n"}{end}"#;

/// Runs all steps, in order.
pub async fn play(stage: &mut Stage<'_>) -> Result<()> {
    start(stage).await?;
    buckets(stage).await?;
    apply(stage).await?;
    read_resource(stage).await?;
    replicate(stage, "orders/2024/0001.json").await?;
    backfill::play(stage).await?;
    observe(stage).await?;
    let drifts = break_things(stage).await?;
    enforce(stage, &drifts).await?;
    arrival::play(stage).await?;
    delete(stage).await
}

async fn start(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Start the operator",
        "A process of its own, on a real Kubernetes API, and an emulator that refuses what AWS refuses.",
    );
    let line = stage.operator_started().await?;
    stage.show(&line);
    stage.see("the operator knows its cluster and its AWS account", true)
}

async fn buckets(stage: &mut Stage<'_>) -> Result<()> {
    let Example { source, destination, .. } = stage.example.clone();
    stage.step(
        &format!("Create the buckets {source} and {destination}"),
        "One object is there. Nothing else exists yet: no versioning, no role, no replication configuration.",
    );
    stage.cloud.create_buckets().await?;
    backfill::prepare(stage).await?;
    let held = stage.cloud.read().await?;
    stage.show(&held.to_string());
    let nothing = held.versioning_is("never enabled") && held.role.is_none() && held.configuration.is_none();
    stage.see("versioning was never enabled, and there is no role and no configuration", nothing)
}

async fn apply(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Apply the quickstart",
        "One resource describes the replication. The operator sets up the four parts that S3 needs for it.",
    );
    let name = stage.example.name.clone();
    if stage.example.namespace != "default" {
        stage.kubectl(&["create", "namespace", &stage.example.namespace]).await?;
    }
    stage.kubectl(&["apply", "-f", MANIFEST]).await?;
    let resource = format!("br/{name}");
    stage.kubectl(&["wait", "--for=condition=Ready", &resource, "--timeout=30s"]).await?;

    let held = stage.cloud.read().await?;
    stage.show(&held.to_string());
    see_in_order(stage, &held)
}

/// The four parts, as the example has them.
fn see_in_order(stage: &Stage<'_>, held: &Held) -> Result<()> {
    let Example { rule, storage_class, .. } = &stage.example;
    stage.see("versioning is enabled on both buckets", held.versioning_is("Enabled"))?;
    let role = held.role.as_ref();
    stage.see("the role is there for S3 to assume", role.is_some_and(|r| r.trusted == "s3.amazonaws.com"))?;
    stage.see("its policy allows to replicate objects, deletions and tags", allows_all(held))?;
    let points_at_it = held.configuration.as_ref().zip(role).is_some_and(|(c, role)| c.role() == role.arn);
    let fact = format!("the configuration names that role and has the rule {rule} with {storage_class}");
    stage.see(&fact, points_at_it && held.storage_class() == Some(storage_class))
}

fn allows_all(held: &Held) -> bool {
    ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"].iter().all(|action| held.allows(action))
}

async fn read_resource(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Read the resource",
        "The columns show people what is true in AWS, and the conditions show it to programs.",
    );
    stage.kubectl(&["get", "br", "-o", "wide"]).await?;
    stage.kubectl_status().await?;
    let resource = stage.resource().await?;
    let ready = condition_is(&resource, "Ready", "True") && condition_is(&resource, "InSync", "True");
    stage.see("Ready and InSync are True, for the generation that was applied", ready)
}

async fn replicate(stage: &mut Stage<'_>, key: &str) -> Result<()> {
    stage.step(
        "Write an object into the source",
        "The proof that replication works is a replica, with the object's metadata and tags.",
    );
    let object = Object {
        key: key.to_owned(),
        body: r#"{"order": 1}"#.to_owned(),
        metadata: [("written-by".to_owned(), "the demo".to_owned())].into(),
        tags: [("team".to_owned(), "data".to_owned())].into(),
    };
    stage.cloud.write(&object).await?;
    stage.show(&format!("source       {object}"));
    let (replica, status) =
        stage.until("a replica in the destination", async || stage.cloud.replica(key).await).await?;
    stage.show(&format!("destination  {replica}, {status}"));
    stage.see("the destination has the same object, metadata and tags", replica == object)?;
    stage.see("S3 calls it a REPLICA", status == "REPLICA")
}

async fn observe(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Switch to Observe",
        "In this mode the operator reports differences and writes nothing: a safe way to see what others change.",
    );
    let patch = r#"{"spec":{"managementPolicy":"Observe"}}"#;
    let name = stage.example.name.clone();
    stage.kubectl(&["patch", "br", &name, "--type=merge", "-p", patch]).await?;
    stage.check_now(&stage.example.name, "before").await?;
    let resource = stage.resource().await?;
    stage.see("nothing differs yet", condition_is(&resource, "InSync", "True"))?;
    stage.proxy.clear();
    Ok(())
}

/// A difference as the status must show it.
struct Drift {
    resource: &'static str,
    name: String,
    path: String,
    want: String,
    got: String,
}

/// Changes one thing after the other in AWS, and returns the drift that the status must then show.
async fn break_things(stage: &mut Stage<'_>) -> Result<Vec<Drift>> {
    let Example { source, destination, role, rule, storage_class, .. } = stage.example.clone();
    let mut drifts = Vec::new();

    stage.step(
        "Someone changes the storage class of the rule",
        "Replicas would get a storage class in which a read takes hours.",
    );
    stage.show(&format!(
        "(as `aws s3api put-bucket-replication` does, with StorageClass={WRONG_CLASS}, on {source})"
    ));
    stage.cloud.set_storage_class(WRONG_CLASS).await?;
    drifts.push(Drift {
        resource: "ReplicationConfiguration",
        name: source,
        path: format!("rules[{rule}].destination.storageClass"),
        want: storage_class,
        got: WRONG_CLASS.to_owned(),
    });
    see_drifts(stage, "storage-class", &drifts).await?;

    stage.step(
        &format!("Someone removes {ACTION} from the role's policy"),
        "The configuration is still correct, but S3 would no longer replicate deletions.",
    );
    stage.show(&format!("(as `aws iam put-role-policy` does, with one action less, on {role})"));
    stage.cloud.take_action_from_policy(ACTION).await?;
    drifts.push(Drift {
        resource: "RolePolicy",
        name: role,
        path: ACTION.to_owned(),
        want: "Allow".to_owned(),
        got: "absent".to_owned(),
    });
    see_drifts(stage, "policy", &drifts).await?;
    stage.step(
        "Someone suspends the destination's versioning",
        "S3 allows that and fails to replicate from then on, without an error.",
    );
    stage.show(&format!(
        "(as `aws s3api put-bucket-versioning` does, with Status=Suspended, on {destination})"
    ));
    stage.cloud.suspend_destination().await?;
    drifts.push(Drift {
        resource: "BucketVersioning",
        name: destination,
        path: "status".to_owned(),
        want: "Enabled".to_owned(),
        got: "Suspended".to_owned(),
    });
    see_drifts(stage, "versioning", &drifts).await?;

    let writes = stage.proxy.writes().len();
    stage.see("in all this time the operator wrote nothing to AWS", writes == 0)?;
    Ok(drifts)
}

async fn see_drifts(stage: &Stage<'_>, request: &str, drifts: &[Drift]) -> Result<()> {
    stage.check_now(&stage.example.name, request).await?;
    stage.kubectl(&["get", "br", &stage.example.name, "-o", STATUS_OF_DRIFT]).await?;
    let resource = stage.resource().await?;
    for drift in drifts.iter().rev().take(1) {
        let fact = format!("the status shows it: {} {}", drift.resource, drift.path);
        stage.see(&fact, has(&resource["status"]["drift"], drift))?;
    }
    let entries = resource["status"]["drift"].as_array().map_or(0, Vec::len);
    let only_these = entries == drifts.len() && drifts.iter().all(|d| has(&resource["status"]["drift"], d));
    stage.see("and shows nothing that is not so", only_these)?;
    stage.see("InSync is False", condition_is(&resource, "InSync", "False"))
}

fn has(entries: &Value, drift: &Drift) -> bool {
    let same = |entry: &Value| {
        let path = entry["path"].as_str().unwrap_or_default();
        // The path of an action ends with the resource that the action is for.
        entry["resource"] == drift.resource
            && entry["name"] == drift.name.as_str()
            && (path == drift.path || path.starts_with(&format!("{} ", drift.path)))
            // The permission may be wanted under a condition.
            && entry["want"].as_str().is_some_and(|want| want.starts_with(&drift.want))
            && entry["got"] == drift.got.as_str()
    };
    entries.as_array().is_some_and(|entries| entries.iter().any(same))
}

async fn enforce(stage: &mut Stage<'_>, drifts: &[Drift]) -> Result<()> {
    stage.step(
        "Switch to Enforce",
        "Now the operator corrects the differences, and records them in the status.",
    );
    let name = stage.example.name.clone();
    let patch = r#"{"spec":{"managementPolicy":"Enforce"}}"#;
    stage.kubectl(&["patch", "br", &name, "--type=merge", "-p", patch]).await?;
    let resource = format!("br/{name}");
    stage.kubectl(&["wait", "--for=condition=InSync", &resource, "--timeout=30s"]).await?;
    stage.kubectl(&["get", "br", &name, "-o", STATUS_OF_CORRECTION]).await?;
    stage.kubectl(&["get", "br", "-o", "wide"]).await?;
    let held = stage.cloud.read().await?;
    stage.show(&held.to_string());
    see_in_order(stage, &held)?;
    let resource = stage.resource().await?;
    let remembered = &resource["status"]["lastCorrection"];
    let all = drifts.iter().all(|drift| has(&remembered["items"], drift));
    let fact = format!("status.lastCorrection holds all {} corrections", drifts.len());
    stage.see(&fact, all && remembered["count"] == drifts.len())?;
    stage.see("status.drift is empty", resource["status"]["drift"].as_array().is_none_or(Vec::is_empty))?;
    replicate(stage, "orders/2024/0002.json").await
}

async fn delete(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Delete the resource",
        "The operator deletes what it created: the configuration and the role. Versioning and objects stay as they are.",
    );
    let name = stage.example.name.clone();
    stage.kubectl(&["delete", "br", &name, "--timeout=30s"]).await?;
    let held = stage.cloud.read().await?;
    stage.show(&held.to_string());
    stage
        .see("there is no configuration and no role", held.configuration.is_none() && held.role.is_none())?;
    stage.see("versioning is still enabled on both buckets", held.versioning_is("Enabled"))?;
    let kept = stage.cloud.replica("orders/2024/0001.json").await?;
    stage.see("the replicas are still there", kept.is_some())
}

/// Applies the example again for those who try commands while the demo stays up. The operator has seen `AwsAccount`s by
/// now and requires one, so the account named `default` comes first.
pub async fn apply_again(stage: &mut Stage<'_>) -> Result<()> {
    println!("\nThe example is applied once more, to play with:");
    let account = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": "default"},
        "spec": {
            "accountId": ACCOUNT,
            "namespaces": {"matchNames": [stage.example.namespace]},
            "sources": [stage.example.source],
            "destinations": [stage.example.destination],
        },
    });
    let file = rig::paths::scratch_dir("demo")?.join("default-account.json");
    std::fs::write(&file, account.to_string())?;
    stage.kubectl(&["apply", "-f", &file.to_string_lossy()]).await?;
    stage.kubectl(&["apply", "-f", MANIFEST]).await?;
    let resource = format!("br/{}", stage.example.name);
    stage.kubectl(&["wait", "--for=condition=Ready", &resource, "--timeout=30s"]).await.map(drop)
}

/// Whether a condition, for the resource's generation, has this status.
fn condition_is(resource: &Value, kind: &str, status: &str) -> bool {
    let generation = &resource["metadata"]["generation"];
    rig::world::condition(&resource["status"], kind)
        .is_some_and(|c| c["status"] == status && c["observedGeneration"] == *generation)
}
