//! An API server for tests: it answers as a test says, and notes what was asked.
//!
//! In: the answers. Out: a [`Kubernetes`] that asks it, and the requests it has got.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kube::Config;
use serde_json::{Value, json};

use crate::cli::kubernetes::connect::{client_of, for_a_person};
use crate::cli::kubernetes::error::LONGEST_ANSWER;
use crate::cli::kubernetes::requests::Kubernetes;

/// An API server with one answer to everything, and the requests it has got.
pub async fn serving(code: u16, answer: Value) -> (Kubernetes, Arc<Mutex<Vec<String>>>) {
    answering(move |_| (StatusCode::from_u16(code).unwrap(), answer.to_string()).into_response()).await
}

/// An API server whose answers depend on the paths and queries, and the requests it has got.
pub async fn answering(
    answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
) -> (Kubernetes, Arc<Mutex<Vec<String>>>) {
    answering_within(LONGEST_ANSWER, answer).await
}

/// The same, for a client that takes a longer silence for none.
pub async fn answering_within(
    longest: Duration,
    answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
) -> (Kubernetes, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    let router = Router::new().fallback(move |request: Request| {
        let uri = request.uri().to_string();
        let answered = answer(&uri);
        kept.lock().unwrap().push(uri);
        async move { answered }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let mut config = for_a_person(Config::new(address.parse().unwrap()));
    config.read_timeout = Some(longest);
    let client = client_of(config).unwrap();
    (Kubernetes { client, namespace: "data".to_owned(), flags: String::new() }, asked)
}

pub fn list(kind: &str, items: &[Value]) -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1", "kind": kind,
        "metadata": {"resourceVersion": "900"}, "items": items,
    })
}
