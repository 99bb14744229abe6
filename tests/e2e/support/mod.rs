//! The helpers that the tests share: the scene that most begin with, manifests, and functions that read a status.

mod scene;

use anyhow::{Context, Result};
use rig::operator::{Operator, OperatorBuilder};
use rig::world::{World, condition};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

pub use scene::{DESTINATION_REGION, NAME, POLICY, ROLE, SOURCE_REGION, Scene, SceneBuilder};

/// The turn of a test that keeps the processors busy for seconds: one such test at a time, so that the others, which
/// mostly wait, get their answers meanwhile.
pub async fn turn_of_a_busy_test() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// The operator of this world, ready to be started.
pub fn operator_of(world: &World) -> OperatorBuilder {
    // Tests ask for one check after another.
    world.operator().binary(env!("CARGO_BIN_EXE_s3-replication-operator")).env("REQUEST_INTERVAL", "0")
}

/// The command line as a person uses it: with the operator's AWS credentials and read-only access to Kubernetes.
pub fn person(world: &World) -> OperatorBuilder {
    operator_of(world).kubeconfig(world.cluster().person_kubeconfig())
}

/// A world with its operator running.
pub async fn world_with_operator(name: &str) -> Result<(World, Operator)> {
    let world = World::new(name).await?;
    let operator = operator_of(&world).start().await?;
    Ok((world, operator))
}

/// The same for a test with `AwsAccount`s.
pub async fn world_with_accounts(name: &str) -> Result<(World, Operator)> {
    let world = World::with_accounts(name).await?;
    let operator = operator_of(&world).start().await?;
    Ok((world, operator))
}

/// A world with its operator running. Its requests to Kubernetes can be counted, and objects can be stored past
/// admission.
pub async fn world_with_insight(name: &str) -> Result<(World, Operator)> {
    let world = World::with_insight(name).await?;
    let operator = operator_of(&world).start().await?;
    Ok((world, operator))
}

/// A resource that replicates `source` to `destination` with one rule, `ReplicateToEU`.
pub fn replication(name: &str, source: &str, destination: &str) -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": name},
        "spec": {
            "source": {"bucket": source},
            "role": {"name": format!("{name}-role")},
            "rules": [{
                "id": "ReplicateToEU",
                "priority": 1,
                "filter": {"prefix": ""},
                "destination": {"bucket": destination, "storageClass": "STANDARD"},
            }],
        },
    })
}

/// The reason of a condition; empty if there is none.
pub fn reason<'a>(status: &'a Value, condition_type: &str) -> &'a str {
    condition(status, condition_type).and_then(|c| c["reason"].as_str()).unwrap_or_default()
}

/// The message of a condition; empty if there is none.
pub fn message<'a>(status: &'a Value, condition_type: &str) -> &'a str {
    condition(status, condition_type).and_then(|c| c["message"].as_str()).unwrap_or_default()
}

/// The entry of `status.drift` with this path.
pub fn drift<'a>(status: &'a Value, path: &str) -> Result<&'a Value> {
    let entries = status["drift"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().find(|d| d["path"] == path).with_context(|| format!("no drift at {path}: {status:#}"))
}

/// Requests a check by the annotation, as a person does. Returns the value of the annotation.
pub async fn request_check(world: &World, name: &str) -> Result<String> {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let value = format!("request-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let patch = json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": value}}});
    world.api().patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await?;
    Ok(value)
}

/// Requests a check, waits for it, and returns the object after it.
pub async fn check_now(world: &World, name: &str) -> Result<Value> {
    let value = request_check(world, name).await?;
    world.wait(name, |status| status["lastHandledRequest"] == value.as_str(), "to have been checked").await
}

/// Has a check see what the operator wrote last. A change back to the state from before that write is no late answer of
/// AWS then: it is corrected within seconds. Without this it is corrected once a minute is over, which is as long as
/// tests wait.
pub async fn see_own_writes(world: &World, name: &str) -> Result<()> {
    check_now(world, name).await.map(drop)
}

/// Sets the value at a path such as `spec.rules.0.filter.prefix`, and creates the objects above it. Null removes the
/// value.
pub fn set(object: &mut Value, path: &str, value: Value) {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let inner = match key.parse::<usize>() {
        Ok(index) => &mut object[index],
        Err(_) if rest.is_none() && value.is_null() => {
            drop(object.as_object_mut().map(|fields| fields.remove(key)));
            return;
        }
        Err(_) => &mut object[key],
    };
    match rest {
        Some(rest) => set(inner, rest, value),
        None => *inner = value,
    }
}

/// Lists what exists in AWS of a resource: the replication configuration of its source, its role.
pub async fn left_in_aws(world: &World, region: &str, source: &str, role: &str) -> Result<Vec<String>> {
    use aws_sdk_s3::error::ProvideErrorMetadata;
    let mut left = Vec::new();
    match world.s3(region).get_bucket_replication().bucket(source).send().await {
        Ok(_) => left.push(format!("configuration of {source}")),
        Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => {}
        Err(error) => return Err(error.into()),
    }
    match world.iam().get_role().role_name(role).send().await {
        Ok(_) => left.push(format!("role {role}")),
        Err(error) if error.code() == Some("NoSuchEntity") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(left)
}

/// Changes an object by a merge patch, as `kubectl patch --type=merge` does.
pub async fn patch(world: &World, name: &str, change: Value) -> Result<()> {
    world.api().patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(change)).await?;
    Ok(())
}

/// Sends a GET request to a server on this machine. Returns the status code and the body.
pub async fn http_get(address: std::net::SocketAddr, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    let code = head.split(' ').nth(1).context("no status line")?.parse()?;
    Ok((code, body.to_owned()))
}

/// Changes an `AwsAccount` by a merge patch.
pub async fn patch_account(world: &World, name: &str, change: Value) -> Result<()> {
    let change = kube::api::Patch::Merge(change);
    world.accounts().patch(name, &kube::api::PatchParams::default(), &change).await?;
    Ok(())
}

/// Waits until a new object would be younger than this one: their age has whole seconds.
pub async fn until_younger(object: &Value) -> Result<()> {
    let created = object["metadata"]["creationTimestamp"].as_str().context("no creationTimestamp")?;
    let created: jiff::Timestamp = created.parse()?;
    while jiff::Timestamp::now().as_second() <= created.as_second() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Decodes a policy document: IAM returns it percent-encoded.
pub fn decode_policy(document: &str) -> Result<Value> {
    let text = percent_encoding::percent_decode_str(document).decode_utf8()?;
    Ok(serde_json::from_str(&text)?)
}

/// The strings of a JSON list, or the one string: policies may hold either.
pub fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// Runs `plan` with these manifests on its standard input. Returns its exit code and all that it prints.
pub async fn plan(world: &World, manifests: &str) -> Result<(Option<i32>, String)> {
    let output = person(world).run(["plan", "-f", "-"], manifests).await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}
