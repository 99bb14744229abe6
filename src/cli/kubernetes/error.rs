//! The errors of the cluster, each with the way out for the person at the terminal.
//!
//! In: an error of a request, and what the request was for. Out: [`KubernetesError`], which also knows whether the user
//! lacks a right, and whether another try may get an answer.

use std::time::Duration;

use crate::ports::kube_error::describe;

/// How long the API server may be silent before and within an answer.
pub(super) const LONGEST_ANSWER: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    #[error("cannot find a Kubernetes cluster: {0}; set KUBECONFIG, --kubeconfig or --context")]
    Configuration(String),
    #[error(
        "cannot log in to the Kubernetes cluster: {0}; check the user of the kubeconfig (kubectl auth whoami)"
    )]
    Login(String),
    #[error("cannot {what}: {message}")]
    Request { what: String, message: String, is_denied: bool, may_pass: bool },
    #[error("namespace {namespace} has no BucketReplication {name}\n→ {command}")]
    NotFound { namespace: String, name: String, command: String },
    #[error("BucketReplication {namespace}/{name} cannot be decoded by this version: {message}")]
    Undecodable { namespace: String, name: String, message: String },
}

impl KubernetesError {
    /// Whether the user lacks a right that the request needs.
    pub fn is_denied(&self) -> bool {
        matches!(self, KubernetesError::Request { is_denied: true, .. })
    }

    /// Whether the next try may get another answer, because the API server gave none, or one of an overloaded server.
    pub fn may_pass(&self) -> bool {
        matches!(self, KubernetesError::Request { may_pass: true, .. })
    }

    /// The API server has taken a request, and does not answer it.
    pub fn silent() -> KubernetesError {
        KubernetesError::Request {
            what: "reach the cluster".to_owned(),
            message: without_answer("it has taken the request and does not answer it"),
            is_denied: false,
            may_pass: true,
        }
    }
}

/// The message where nothing answers: the reason, and the command that checks the same.
fn without_answer(why: &str) -> String {
    format!(
        "the API server gives no answer: {why}; check the cluster of the kubeconfig (kubectl cluster-info)"
    )
}

/// The error of a request that failed.
pub fn request(what: &str) -> impl FnOnce(kube::Error) -> KubernetesError {
    let what = what.to_owned();
    move |error| KubernetesError::Request {
        what,
        message: explained(&error),
        is_denied: matches!(&error, kube::Error::Api(status) if status.code == 403),
        may_pass: may_pass(&error),
    }
}

/// Whether the next try may get another answer.
pub fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// Where a right comes from that a person lacks.
fn right_from(denied: &str) -> &'static str {
    let is_everywhere = denied.contains("at the cluster scope") && denied.contains("bucketreplications");
    match is_everywhere {
        true => "name a namespace with -n, or ask an administrator for the right in all of them",
        false => "ask an administrator for this right: the roles view, to read, and edit, to change, hold it",
    }
}

/// The API server's words, and the way out of the failures that a user meets first.
pub fn explained(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 && is_of_no_kind(&status.message) => {
            "the cluster has no such kind; install the operator, or its CustomResourceDefinitions (kubectl apply --server-side -f crds/)".to_owned()
        }
        kube::Error::Api(status) if status.code == 403 => {
            format!("{}; {}", status.message, right_from(&status.message))
        }
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not accept your credentials, which are wrong or have expired; log in again, and check the user of the kubeconfig (kubectl auth whoami)".to_owned()
        }
        kube::Error::Auth(why) => KubernetesError::Login(why.to_string()).to_string(),
        kube::Error::Api(_) => describe(error),
        // The innermost error says more than its wrapping: that nothing listens, or that a certificate is not trusted.
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
            without_answer(&innermost(error))
        }
        other => innermost(other),
    }
}

/// Whether the API server says that it has no such kind, or no such group of kinds, of which it does not answer in JSON.
fn is_of_no_kind(message: &str) -> bool {
    message.contains("the server could not find") || message.contains("404 page not found")
}

/// The cause of an error that has no further cause.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.to_string().as_str() {
        // The words of the timer.
        "deadline has elapsed" => format!("it takes longer than {} s", LONGEST_ANSWER.as_secs()),
        why => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use kube::{Client, Config};
    use serde_json::json;

    use crate::cli::kubernetes::args::ScopeArgs;
    use crate::cli::kubernetes::requests::Kubernetes;
    use crate::cli::kubernetes::test_server::{answering, serving};

    #[tokio::test]
    async fn an_api_server_that_is_not_there_is_named_as_the_cause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
        let kubernetes = Kubernetes { client, namespace: "data".to_owned(), flags: String::new() };
        let message = kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err().to_string();
        assert!(message.contains("gives no answer: Connection refused"), "{message}");
        assert!(message.ends_with("(kubectl cluster-info)"), "{message}");
    }

    #[tokio::test]
    async fn a_refusal_says_where_the_right_or_the_login_comes_from() {
        let refused = async |code: u16, message: &str| {
            let answer = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "message": message, "reason": "r",
            });
            let (kubernetes, _) = serving(code, answer).await;
            kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err().to_string()
        };
        let denied = |scope: &str| format!("bucketreplications is forbidden: User \"a\" cannot list {scope}");
        let message = refused(403, &denied("at the cluster scope")).await;
        assert!(message.contains("; name a namespace with -n"), "{message}");
        let message = refused(403, &denied("in the namespace \"data\"")).await;
        assert!(message.contains("; ask an administrator for this right"), "{message}");
        let message = refused(401, "Unauthorized").await;
        assert!(
            message.contains("does not accept your credentials") && message.contains("whoami"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn a_cluster_without_the_definitions_is_recognized_whether_it_knows_the_group_or_not() {
        let unknown_kind = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
            "message": "the server could not find the requested resource", "reason": "NotFound",
        });
        for body in [unknown_kind.to_string(), "404 page not found\n".to_owned()] {
            let answer = move |_: &str| (StatusCode::NOT_FOUND, body.clone()).into_response();
            let (kubernetes, _) = answering(answer).await;
            let message = kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err().to_string();
            assert!(message.contains("the cluster has no such kind; install the operator"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_denied_request_differs_from_one_that_failed() {
        for (code, is_denied) in [(403, true), (404, false)] {
            let answer = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "message": "m", "reason": "r",
            });
            let (kubernetes, _) = serving(code, answer).await;
            let error = kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err();
            assert_eq!(error.is_denied(), is_denied, "{error}");
        }
    }
}
