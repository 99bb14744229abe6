//! `ready`: waits until a pod of the operator's Deployment is ready. `helm test` runs it, because the image holds neither a
//! shell nor kubectl.
//!
//! In: the name of the Deployment. Out: a line with the number of its ready pods; or the reason why there is none, and the
//! command that shows more. Standard error has what it waits for. It reads one object, and runs no operator.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;

use crate::cli::kubernetes::{KubeArgs, Kubernetes, KubernetesError, object_name};
use crate::cli::output::{PrintError, print};
use crate::cli::progress::ProgressLine;
use crate::cli::shell::word;
use crate::cli::wait::{Timeout, Wait};
use crate::runtime::clock::Clock;

#[derive(Debug, Args)]
pub struct ReadyArgs {
    /// Name of the operator's Deployment
    #[arg(value_name = "DEPLOYMENT", default_value = "s3-replication-operator", value_parser = object_name)]
    deployment: String,
    /// How long to wait for a ready pod; 0 looks once, and a negative duration waits without limit, as for kubectl wait
    #[arg(long, default_value = "2m", value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Timeout,
    #[command(flatten)]
    kubernetes: KubeArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
    #[error("namespace {namespace} has no Deployment {name}\n→ {command}")]
    NoDeployment { namespace: String, name: String, command: String },
    #[error("Deployment {name} is scaled to 0, so that no operator runs\n→ {command}")]
    ScaledToZero { name: String, command: String },
    #[error("{why}\n→ {command}")]
    NotReady { why: String, command: String },
}

/// How often the Deployment is read.
const POLL: Duration = Duration::from_secs(1);

pub async fn ready(args: ReadyArgs) -> Result<ExitCode, ReadyError> {
    let kubernetes = args.kubernetes.connect().await?;
    let wait = Wait::begin(args.timeout, Clock::System);
    print(&wait_for_ready_pod(&kubernetes, &args.deployment, wait).await?)?;
    Ok(ExitCode::SUCCESS)
}

/// The line to print once a pod is ready.
async fn wait_for_ready_pod(
    kubernetes: &Kubernetes,
    name: &str,
    mut wait: Wait,
) -> Result<String, ReadyError> {
    let full_name = format!("{}/{name}", kubernetes.namespace);
    let in_namespace = format!("-n {}", word(&kubernetes.namespace));
    let mut line = ProgressLine::new();
    let mut more = kubernetes.command(&format!("kubectl describe deployment {name} {in_namespace}"));
    loop {
        if let Some(held) = wait.hear(kubernetes.deployment(name)).await? {
            let Some(deployment) = held else {
                let command = "kubectl get deployments -A -l app.kubernetes.io/name=s3-replication-operator";
                return Err(ReadyError::NoDeployment {
                    namespace: kubernetes.namespace.clone(),
                    name: name.to_owned(),
                    command: kubernetes.command(command),
                });
            };
            match progress(&deployment) {
                RolloutProgress::ScaledToZero => {
                    let scale = format!("kubectl scale deployment {name} {in_namespace} --replicas 1");
                    let command = kubernetes.command(&scale);
                    return Err(ReadyError::ScaledToZero { name: full_name, command });
                }
                RolloutProgress::Ready { ready, wanted } => {
                    return Ok(format!("Deployment {full_name}: {ready} of {wanted} pods are ready\n"));
                }
                RolloutProgress::Waiting => {}
            }
            let labels = word(&selector(&deployment));
            more = kubernetes.command(&format!("kubectl describe pods {in_namespace} -l {labels}"));
        }
        if wait.is_over() {
            let why = match wait.silence() {
                None => format!("Deployment {full_name} has no ready pod of its present version"),
                Some(why) => {
                    format!("it is not known whether a pod of Deployment {full_name} is ready: {why}")
                }
            };
            return Err(ReadyError::NotReady {
                why: format!("{why}, after {}", wait.waited()),
                command: more,
            });
        }
        let why = match wait.silence() {
            None => format!("waiting for a ready pod of Deployment {full_name}"),
            Some(why) => format!("{why}; trying again"),
        };
        line.show(&why, &format!("{} s{}: {why}", wait.elapsed().as_secs(), wait.of_at_most()));
        wait.pause(POLL).await;
    }
}

/// The progress that a Deployment reports of the pods of its present template.
#[derive(Debug, PartialEq, Eq)]
enum RolloutProgress {
    ScaledToZero,
    Waiting,
    Ready { ready: i32, wanted: i32 },
}

fn progress(deployment: &Deployment) -> RolloutProgress {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    if wanted == 0 {
        return RolloutProgress::ScaledToZero;
    }
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return RolloutProgress::Waiting;
    }
    let count = |field: Option<i32>| field.unwrap_or_default();
    let former = count(status.replicas).saturating_sub(count(status.updated_replicas));
    // The status does not count them apart. Even if every former pod is ready, so many of the present template are.
    let ready = count(status.ready_replicas).saturating_sub(former);
    if ready > 0 { RolloutProgress::Ready { ready, wanted } } else { RolloutProgress::Waiting }
}

/// The selector of the Deployment's pods, as kubectl takes it.
fn selector(deployment: &Deployment) -> String {
    let labels = &deployment.spec.selector.match_labels;
    let labels = labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::kubernetes::test_server::answering;
    use crate::runtime::clock::SimulatedClock;

    const NAME: &str = "s3-replication-operator";

    fn deployment(replicas: Value, status: Value) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": "data", "generation": 4},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app.kubernetes.io/component": "operator"}},
                "template": {},
            },
            "status": status,
        })
    }

    fn progress_of(replicas: Value, status: Value) -> RolloutProgress {
        progress(&serde_json::from_value(deployment(replicas, status)).unwrap())
    }

    /// A status that describes the present spec.
    fn current(replicas: i32, updated: i32, ready: i32) -> Value {
        json!({"observedGeneration": 4, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready})
    }

    #[test]
    fn one_ready_pod_of_the_present_template_is_enough() {
        for (status, ready) in [(current(2, 2, 2), 2), (current(2, 2, 1), 1), (current(3, 1, 3), 1)] {
            assert_eq!(progress_of(json!(2), status), RolloutProgress::Ready { ready, wanted: 2 });
        }
    }

    #[test]
    fn pods_of_a_former_template_do_not_count() {
        // Kubernetes keeps both of them until a new pod is ready.
        assert_eq!(progress_of(json!(2), current(3, 1, 2)), RolloutProgress::Waiting);
        let before =
            json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2});
        assert_eq!(progress_of(json!(2), before), RolloutProgress::Waiting);
    }

    #[test]
    fn a_deployment_without_ready_pods_is_waited_for() {
        for status in [json!({}), current(0, 0, 0), current(2, 2, 0)] {
            assert_eq!(progress_of(json!(2), status), RolloutProgress::Waiting);
        }
        assert_eq!(progress_of(json!(0), current(0, 0, 0)), RolloutProgress::ScaledToZero);
    }

    /// The output of `ready`, or its error, where the API server gives this answer.
    async fn printed(code: u16, answer: Value) -> Result<String, String> {
        let answer = move |_: &str| (StatusCode::from_u16(code).unwrap(), answer.to_string()).into_response();
        let (kubernetes, _) = answering(answer).await;
        let clock = Clock::Simulated(SimulatedClock::new());
        let wait = Wait::begin("10s".parse().unwrap(), clock);
        wait_for_ready_pod(&kubernetes, NAME, wait).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn each_answer_has_a_line_or_a_reason_with_the_next_command() {
        let line = printed(200, deployment(json!(2), current(2, 2, 1))).await.unwrap();
        assert_eq!(line, "Deployment data/s3-replication-operator: 1 of 2 pods are ready\n");
        let none = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "deployments.apps \"s3-replication-operator\" not found"});
        let denied = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "deployments.apps is forbidden: User \"a\" cannot get resource \"deployments\""});
        for (code, answer, words) in [
            (
                200,
                deployment(json!(0), current(0, 0, 0)),
                "→ kubectl scale deployment s3-replication-operator -n data",
            ),
            (
                200,
                deployment(json!(2), current(2, 2, 0)),
                "→ kubectl describe pods -n data -l app.kubernetes.io/component=",
            ),
            (404, none, "→ kubectl get deployments -A"),
            (403, denied, "cannot get resource"),
        ] {
            let error = printed(code, answer).await.unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
