//! AWS in a cluster: the emulator in a pod, which records each request (`recorder.py`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::json;

use super::kubectl::Forward;
use crate::clients::Clients;
use crate::proxy::classify;

/// The operator's default account.
pub const ACCOUNT: &str = "111122223333";

/// The emulator in a cluster, in reach of this machine.
#[derive(Debug)]
pub struct CloudInCluster {
    forward: Forward,
}

/// One request that the emulator had.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// AWS's name of the operation.
    pub operation: String,
    /// The bucket or the role.
    pub subject: String,
    /// The access key id that signed it: for an account's root the account itself.
    pub access_key: String,
    /// The app in its `User-Agent`: for an operator, the name of its pod.
    pub app: String,
    /// When it came, in seconds by the emulator's clock.
    pub begun: f64,
    /// When it was answered or given up; none while it is under way.
    pub ended: Option<f64>,
    /// The answer's HTTP status.
    pub status: Option<u16>,
}

/// A request as the recorder returns it.
#[derive(Debug, Deserialize)]
struct Raw {
    method: String,
    uri: String,
    headers: BTreeMap<String, String>,
    body: String,
    begun: f64,
    ended: Option<f64>,
    status: Option<u16>,
}

impl CloudInCluster {
    pub(super) fn new(forward: Forward) -> Self {
        Self { forward }
    }

    /// Clients as the root of the operator's account.
    pub fn clients(&self) -> Clients {
        self.clients_of(ACCOUNT)
    }

    /// Clients as the root of an account.
    pub fn clients_of(&self, account: &str) -> Clients {
        Clients::new(&self.forward.url(), account)
    }

    /// The address for `AWS_ENDPOINT_URL`, on this machine.
    pub fn url(&self) -> String {
        self.forward.url()
    }

    /// Every request that this account's root has signed, in order of arrival.
    pub async fn calls(&self, account: &str) -> Result<Vec<Recorded>> {
        let answer = self.ask(Method::GET, &format!("/_rig/calls/{account}"), String::new()).await?;
        let all: Vec<Raw> = serde_json::from_slice(&answer).context("the recorder's answer is no list")?;
        all.into_iter().map(Recorded::try_from).collect()
    }

    /// From now on, answers to this account's root come so many seconds late.
    pub async fn set_latency(&self, account: &str, seconds: f64) -> Result<()> {
        self.ask(Method::PUT, "/_rig/latency", json!({account: seconds}).to_string()).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<Bytes> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let uri = format!("{}{path}", self.forward.url());
        let request = Request::builder().method(method).uri(uri).body(Full::new(Bytes::from(body)))?;
        let answer = client.request(request).await.with_context(|| format!("no answer to {path}"))?;
        ensure!(answer.status().is_success(), "{path} is answered with {}", answer.status());
        Ok(answer.into_body().collect().await?.to_bytes())
    }
}

impl Recorded {
    /// Whether it is a write.
    pub fn is_write(&self) -> bool {
        classify::is_write(&self.operation)
    }

    /// Whether both were under way at one time.
    pub fn overlaps(&self, other: &Self) -> bool {
        let begins_before_end = |one: &Self, two: &Self| two.ended.is_none_or(|ended| one.begun < ended);
        begins_before_end(self, other) && begins_before_end(other, self)
    }
}

impl TryFrom<Raw> for Recorded {
    type Error = anyhow::Error;

    fn try_from(raw: Raw) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &raw.headers {
            headers.insert(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
        }
        let asked =
            classify::operation(&raw.method.parse()?, &raw.uri.parse()?, &headers, raw.body.as_bytes());
        let agent = raw.headers.get("user-agent").map(String::as_str).unwrap_or_default();
        let app = agent.split(' ').find_map(|part| part.strip_prefix("app/")).unwrap_or_default();
        Ok(Self {
            operation: asked.name,
            subject: asked.subject,
            access_key: classify::scope(&headers).access_key,
            app: app.to_owned(),
            begun: raw.begun,
            ended: raw.ended,
            status: raw.status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(begun: f64, ended: Option<f64>) -> Recorded {
        let raw = json!({
            "method": "PUT",
            "uri": "/orders?replication",
            "headers": {
                "host": "emulator.aws",
                "authorization": "AWS4-HMAC-SHA256 Credential=111122223333/20261123/us-east-1/s3/aws4_request, x",
                "user-agent": "aws-sdk-rust/1 ua/2.1 app/operator-7d4b-q0zkw lang/rust",
            },
            "body": "",
            "begun": begun,
            "ended": ended,
            "status": 200,
        });
        serde_json::from_value::<Raw>(raw).unwrap().try_into().unwrap()
    }

    #[test]
    fn a_recorded_call_is_read_as_the_proxy_reads_it() {
        let call = recorded(1.0, Some(2.0));
        assert_eq!((call.operation.as_str(), call.subject.as_str()), ("PutBucketReplication", "orders"));
        assert_eq!((call.access_key.as_str(), call.app.as_str()), ("111122223333", "operator-7d4b-q0zkw"));
        assert!(call.is_write());
    }

    #[test]
    fn one_that_begins_before_the_other_has_ended_overlaps_it() {
        let (first, later) = (recorded(1.0, Some(2.0)), recorded(1.5, Some(3.0)));
        assert!(first.overlaps(&later) && later.overlaps(&first));
        let after = recorded(2.0, Some(3.0));
        assert!(!first.overlaps(&after) && !after.overlaps(&first));
        let endless = recorded(0.5, None);
        assert!(endless.overlaps(&after) && after.overlaps(&endless));
    }
}
