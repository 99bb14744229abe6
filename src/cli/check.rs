//! `check`: asks the operator to check one resource now.
//!
//! In: the name of the resource. Out: the annotation that requests the check and, once the operator has answered it,
//! what is true of the resource, printed as `status` does.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::Resource;

use crate::api::{BucketReplication, handled_request};
use crate::cli::fleet::{RunbookArgs, view_all};
use crate::cli::interrupt::Interrupt;
use crate::cli::kubernetes::{FoundObject, KubeArgs, Kubernetes, KubernetesError};
use crate::cli::output::{PrintError, print};
use crate::cli::progress::ProgressLine;
use crate::cli::status::{exit_code, tree};
use crate::cli::terminal::{Color, Layout};
use crate::runtime::clock::Clock;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Name of the BucketReplication
    name: String,
    /// How long to wait for the operator
    #[arg(long, default_value = "2m", value_name = "DURATION", value_parser = duration)]
    timeout: SignedDuration,
    /// When to use colour
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    #[command(flatten)]
    runbooks: RunbookArgs,
    #[command(flatten)]
    kubernetes: KubeArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
    #[error(
        "BucketReplication {name} is suspended, and the operator does not check it; run {typed} resume {name} -n {namespace} first"
    )]
    Suspended { name: String, namespace: String, typed: &'static str },
    #[error(
        "the operator did not answer within {timeout}; check that it runs and that its --namespaces and --selector include {namespace}/{name}: kubectl get pods,leases -n s3-replication-system"
    )]
    Timeout { timeout: String, namespace: String, name: String },
    #[error("BucketReplication {0} was deleted while the command waited for the check")]
    Deleted(String),
    #[error(
        "stopped waiting; the operator checks {name} nevertheless, and {typed} status {name} -n {namespace} shows the result"
    )]
    Interrupted { name: String, namespace: String, typed: &'static str },
}

/// After this time without an answer the command prints what it may wait for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often the answer is read.
const POLL: Duration = Duration::from_millis(250);

pub async fn check(args: CheckArgs, typed: &'static str) -> Result<ExitCode, CheckError> {
    let kubernetes = args.kubernetes.connect().await?;
    let name = args.name.as_str();
    let resource = kubernetes.decoded(name, typed).await?;
    let namespace = kubernetes.namespace.clone();
    if resource.spec.suspend {
        return Err(CheckError::Suspended { name: name.to_owned(), namespace, typed });
    }
    let mut interrupt = Interrupt::listen();
    let request = request_value(Clock::System.timestamp());
    kubernetes.request_check(name, &request).await?;
    let wanted = Wanted { name, request: &request, timeout: args.timeout };
    let answered = tokio::select! {
        answered = tokio::time::timeout(args.timeout.unsigned_abs(), answer(&kubernetes, &wanted, typed)) => answered,
        () = interrupt.pressed() => {
            return Err(CheckError::Interrupted { name: name.to_owned(), namespace, typed });
        }
    };
    let timeout = format!("{:#}", args.timeout);
    let found = answered.map_err(|_| CheckError::Timeout { timeout, namespace, name: name.to_owned() })??;
    let views = view_all(vec![found], &[], args.runbooks.pointers(typed));
    let layout = Layout::of_stdout(args.color);
    for view in &views {
        print(&tree(view, &layout, Clock::System.timestamp()))?;
    }
    Ok(exit_code(&views))
}

/// The check that was asked for.
struct Wanted<'a> {
    name: &'a str,
    request: &'a str,
    /// How long the command waits for it at most.
    timeout: SignedDuration,
}

/// The resource once the operator has answered the request.
async fn answer(
    kubernetes: &Kubernetes,
    wanted: &Wanted<'_>,
    typed: &'static str,
) -> Result<FoundObject<BucketReplication>, CheckError> {
    let Wanted { name, request, timeout } = *wanted;
    let mut progress = ProgressLine::new();
    let started = Clock::System.now();
    let full_name = format!("{}/{name}", kubernetes.namespace);
    let mut is_explained = false;
    loop {
        let elapsed = started.elapsed();
        let moment = format!(" … {} s of at most {timeout:#}", elapsed.as_secs());
        progress.show(&format!("the operator checks {full_name}"), &moment);
        if elapsed >= PATIENCE && !is_explained {
            progress.note(&explanation(timeout));
            is_explained = true;
        }
        match kubernetes.get(name, typed).await {
            Err(KubernetesError::NotFound { .. }) => return Err(CheckError::Deleted(full_name)),
            Err(error) => return Err(error.into()),
            Ok(found) if is_answered(&found, request) => return Ok(found),
            Ok(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// What the operator may be doing before it answers, and how long the command waits.
fn explanation(timeout: SignedDuration) -> String {
    format!(
        "no answer yet, which is normal while other checks come first, within a minute of a write of the operator (AWS may still answer from before it), and within a minute after the operator has started; this command waits {timeout:#} at most (--timeout)"
    )
}

/// Whether the status describes a check for this request and the present spec.
fn is_answered(found: &FoundObject<BucketReplication>, request: &str) -> bool {
    let Ok(resource) = &found.object else { return true };
    let Some(status) = &resource.status else { return false };
    let handled = status.last_handled_request.as_deref() == Some(handled_request(request).as_str());
    handled && status.observed_generation >= resource.meta().generation
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    text.parse().map_err(|error| format!("not a duration such as 30s or 2m: {error}"))
}

/// A value that no other request has: two requests of one second differ in a random part of it.
fn request_value(now: Timestamp) -> String {
    let part = SignedDuration::from_nanos(fastrand::i64(0..1_000_000_000));
    now.saturating_add(part).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(generation: i64, status: Value) -> FoundObject<BucketReplication> {
        let resource: BucketReplication = serde_json::from_value(json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": "orders", "generation": generation},
            "spec": {"source": {"bucket": "source-a"}, "rules": []},
            "status": status,
        }))
        .unwrap();
        FoundObject { metadata: resource.metadata.clone(), object: Ok(resource) }
    }

    #[test]
    fn an_answer_is_to_this_request_and_to_the_present_spec() {
        let status = |request: &str| json!({"observedGeneration": 2, "lastHandledRequest": request});
        assert!(is_answered(&found(2, status("r1")), "r1"));
        assert!(!is_answered(&found(3, status("r1")), "r1"), "the spec has changed meanwhile");
        assert!(!is_answered(&found(2, status("r0")), "r1"));
        assert!(!is_answered(&found(2, Value::Null), "r1"));
    }

    #[test]
    fn two_requests_of_one_second_differ() {
        let now = Timestamp::UNIX_EPOCH;
        let values: std::collections::BTreeSet<String> = (0..10).map(|_| request_value(now)).collect();
        assert!(values.len() > 8, "{values:?}");
    }
}
