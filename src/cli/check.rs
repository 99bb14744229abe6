//! `check`: asks the operator to check one resource now.
//!
//! In: the name of the resource. Out: the annotation that requests the check and, once the operator has answered it,
//! what is true of the resource, printed as `status` does, for a person or for a program.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::Resource;

use crate::api::{BucketReplication, handled_request};
use crate::cli::fleet::{RunbookArgs, view_all};
use crate::cli::interrupt::Interrupt;
use crate::cli::kubernetes::{FoundObject, KubeArgs, Kubernetes, KubernetesError, object_name};
use crate::cli::output::{Format, PrintError, formatted, print};
use crate::cli::progress::ProgressLine;
use crate::cli::shell::word;
use crate::cli::status::{exit_code, tree};
use crate::cli::terminal::{Color, Layout};
use crate::cli::wait::{Timeout, Wait};
use crate::runtime::clock::Clock;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Name of the BucketReplication
    #[arg(value_parser = object_name)]
    name: String,
    /// How long to wait for the operator; 0 looks once, and a negative duration waits without limit, as for kubectl wait
    #[arg(long, default_value = "2m", value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Timeout,
    /// Print for a program instead of a person
    #[arg(long, short, value_enum)]
    output: Option<Format>,
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
    #[error("BucketReplication {name} is suspended, and the operator does not check it\n→ {resume}")]
    Suspended { name: String, resume: String },
    #[error("BucketReplication {name} is being deleted, and the operator checks it no longer\n→ {watch}")]
    BeingDeleted { name: String, watch: String },
    #[error("{why}\n→ {watch}\n→ {pods}")]
    Timeout { why: String, watch: String, pods: String },
    #[error("BucketReplication {0} was deleted while the command waited for the check")]
    Deleted(String),
    #[error("stopped waiting; the operator checks {name} nevertheless\n→ {watch}")]
    Interrupted { name: String, watch: String },
    #[error(
        "stopped before the API server had answered, so that it is not known whether a check of {name} is requested\n→ {watch}"
    )]
    InterruptedEarly { name: String, watch: String },
}

/// After this time without an answer the command prints what it may wait for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often the answer is read.
const POLL: Duration = Duration::from_millis(250);

pub async fn check(args: CheckArgs, typed: &'static str) -> Result<ExitCode, CheckError> {
    let kubernetes = args.kubernetes.connect().await?;
    let name = args.name.as_str();
    let resource = kubernetes.decoded(name, typed).await?;
    let (word_of_name, namespace) = (word(name), word(&kubernetes.namespace));
    let watch = kubernetes.command(&format!("{typed} status {word_of_name} -n {namespace} -w"));
    if resource.metadata.deletion_timestamp.is_some() {
        return Err(CheckError::BeingDeleted { name: name.to_owned(), watch });
    }
    if resource.spec.suspend {
        let resume = kubernetes.command(&format!("{typed} resume {word_of_name} -n {namespace}"));
        return Err(CheckError::Suspended { name: name.to_owned(), resume });
    }
    let mut interrupt = Interrupt::listen();
    let request = request_value(Clock::System.timestamp());
    tokio::select! {
        requested = kubernetes.request_check(name, &request) => requested?,
        () = interrupt.pressed() => {
            return Err(CheckError::InterruptedEarly { name: name.to_owned(), watch });
        }
    }
    let wanted = Wanted { name, request: &request, watch: &watch };
    let wait = Wait::begin(args.timeout, Clock::System);
    let found = tokio::select! {
        answered = answer(&kubernetes, &wanted, wait, typed) => answered?,
        () = interrupt.pressed() => {
            return Err(CheckError::Interrupted { name: name.to_owned(), watch });
        }
    };
    let views = view_all(vec![found], &[], args.runbooks.pointers(typed, &kubernetes.flags));
    let layout = Layout::of_stdout(args.color);
    for view in &views {
        print(&match args.output {
            Some(format) => formatted(view, format)?,
            None => tree(view, &layout, Clock::System.timestamp()),
        })?;
    }
    Ok(exit_code(&views))
}

/// The form for programs.
#[cfg(test)]
pub fn json_sample() -> serde_json::Value {
    serde_json::to_value(crate::cli::fleet::samples::full()).unwrap()
}

/// The check that was asked for.
struct Wanted<'a> {
    name: &'a str,
    request: &'a str,
    /// The command that shows what comes of it.
    watch: &'a str,
}

/// The resource once the operator has answered the request.
async fn answer(
    kubernetes: &Kubernetes,
    wanted: &Wanted<'_>,
    mut wait: Wait,
    typed: &'static str,
) -> Result<FoundObject<BucketReplication>, CheckError> {
    let Wanted { name, request, watch } = *wanted;
    let mut progress = ProgressLine::new();
    let full_name = format!("{}/{name}", kubernetes.namespace);
    let of_at_most = wait.of_at_most();
    let mut is_explained = false;
    loop {
        let seconds = wait.elapsed().as_secs();
        let step = match wait.silence() {
            None => format!("the operator checks {full_name}"),
            Some(why) => why.to_owned(),
        };
        progress.show(&step, &format!("{seconds} s{of_at_most}: {step}"));
        if wait.elapsed() >= PATIENCE && !is_explained && wait.silence().is_none() {
            progress.note(&explanation(&of_at_most));
            is_explained = true;
        }
        match wait.hear(kubernetes.get(name, typed)).await {
            Err(KubernetesError::NotFound { .. }) => return Err(CheckError::Deleted(full_name)),
            Err(error) => return Err(error.into()),
            Ok(Some(found)) if is_answered(&found, request) => return Ok(found),
            Ok(_) if wait.is_over() => {
                let (why, watch) = (given_up(&wait, &full_name), watch.to_owned());
                let pods = kubernetes.command("kubectl get pods,leases -n s3-replication-system");
                return Err(CheckError::Timeout { why, watch, pods });
            }
            Ok(_) => wait.pause(POLL).await,
        }
    }
}

/// Why the command no longer waits.
fn given_up(wait: &Wait, full_name: &str) -> String {
    let waited = wait.waited();
    match wait.silence() {
        Some(why) => format!(
            "it is not known what came of the check of {full_name}, which is requested, after {waited}: {why}"
        ),
        None => format!(
            "the operator did not answer within {waited}; the check of {full_name} stays requested; see that the operator runs, and that its --namespaces and --selector include the resource"
        ),
    }
}

/// Explains what the operator may be doing before it answers, and how long the command waits.
fn explanation(of_at_most: &str) -> String {
    let limit = match of_at_most {
        "" => "without limit".to_owned(),
        limit => format!("{} at most", limit.trim_start_matches(" of at most ")),
    };
    format!(
        "no answer yet, which is normal while other checks come first, within ten seconds of another request, within a minute of a write of the operator (AWS may still answer from before it), and within a minute after the operator has started; this command waits {limit} (--timeout)"
    )
}

/// Whether the status describes a check for this request and the present spec.
fn is_answered(found: &FoundObject<BucketReplication>, request: &str) -> bool {
    let Ok(resource) = &found.object else { return true };
    let Some(status) = &resource.status else { return false };
    let handled = status.last_handled_request.as_deref() == Some(handled_request(request).as_str());
    handled && status.observed_generation >= resource.meta().generation
}

/// A value that no other request has: two requests of one second differ in a random part of it.
fn request_value(now: Timestamp) -> String {
    let part = SignedDuration::from_nanos(fastrand::i64(0..1_000_000_000));
    now.saturating_add(part).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::kubernetes::test_server::answering;
    use crate::runtime::clock::SimulatedClock;

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

    /// The result of a wait for a check of `orders` while the API server gives these answers in turn, and the last one
    /// for ever.
    async fn waited(timeout: &str, answers: &[(u16, Value)]) -> Result<(), CheckError> {
        let (answers, asked) =
            (answers.to_vec(), std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let (kubernetes, _) = answering(move |_| {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (code, body) = answers.get(number).or(answers.last()).unwrap();
            (StatusCode::from_u16(*code).unwrap(), body.to_string()).into_response()
        })
        .await;
        let wanted = Wanted { name: "orders", request: "r1", watch: "status orders -w" };
        let wait = Wait::begin(timeout.parse().unwrap(), Clock::Simulated(SimulatedClock::new()));
        answer(&kubernetes, &wanted, wait, "s3-replication-operator").await.map(drop)
    }

    fn held(request: &str) -> (u16, Value) {
        let FoundObject { object, .. } =
            found(1, json!({"observedGeneration": 1, "lastHandledRequest": request}));
        (200, json!(object.unwrap()))
    }

    fn overloaded() -> (u16, Value) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 503,
            "reason": "ServiceUnavailable", "message": "the server is currently unable to handle the request",
        });
        (503, status)
    }

    #[tokio::test]
    async fn an_api_server_that_fails_for_a_moment_does_not_end_the_wait() {
        waited("-1s", &[held("r0"), overloaded(), held("r1")]).await.unwrap();
    }

    #[tokio::test]
    async fn a_wait_that_is_over_says_why_and_how_to_go_on() {
        let silent = waited("0", &[overloaded()]).await.unwrap_err().to_string();
        assert!(silent.starts_with("it is not known what came of the check of data/orders"), "{silent}");
        assert!(silent.contains("unable to handle the request"), "{silent}");
        assert!(silent.contains("\n→ status orders -w\n→ kubectl get pods,leases"), "{silent}");
        let unanswered = waited("10s", &[held("r0")]).await.unwrap_err().to_string();
        assert!(unanswered.starts_with("the operator did not answer within 10s"), "{unanswered}");
    }

    #[test]
    fn two_requests_of_one_second_differ() {
        let now = Timestamp::UNIX_EPOCH;
        let values: std::collections::BTreeSet<String> = (0..10).map(|_| request_value(now)).collect();
        assert!(values.len() > 8, "{values:?}");
    }
}
