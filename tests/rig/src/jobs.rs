//! The jobs of the stand-in for S3 Batch Operations (`tools/aws/jobs.py`), as a test sees and drives them.
//!
//! In: an account, a job, and what shall become of it. Out: the job as data. A job goes on only when a test says so, or
//! while there is a [`Worker`].

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::task::JoinHandle;

/// How often a worker has each job go on: often enough for a person, and a job is seen in each of its states.
const TURN: Duration = Duration::from_millis(250);

/// How many objects a job replicates in one turn.
const OBJECTS: usize = 10;

/// Works on the jobs of every account, as S3 does, where people and not tests run them. Dropping it ends it.
#[derive(Debug)]
pub struct Worker(JoinHandle<()>);

impl Worker {
    /// Starts one for an emulator at this address.
    pub fn start(endpoint: &str) -> Self {
        let jobs = Jobs::new(endpoint, "");
        Self(tokio::spawn(async move {
            loop {
                // An emulator that does not answer is ending, or is busy: the next turn asks it again.
                let _ = jobs.ask("POST", &format!("?tasks={OBJECTS}")).await;
                tokio::time::sleep(TURN).await;
            }
        }))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The jobs of one account.
#[derive(Debug, Clone)]
pub struct Jobs {
    endpoint: String,
    account: String,
}

impl Jobs {
    /// Of an emulator at this address.
    pub fn new(endpoint: &str, account: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), account: account.to_owned() }
    }

    /// All jobs, in the order in which they were made.
    pub async fn all(&self) -> Result<Vec<Value>> {
        let jobs = self.ask("GET", "").await?;
        jobs.as_array().cloned().context("the emulator lists no jobs")
    }

    /// The only job.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn only(&self) -> Result<Value> {
        let mut jobs = self.all().await?;
        ensure!(jobs.len() == 1, "there are {} jobs: {jobs:#?}", jobs.len());
        jobs.pop().context("no job")
    }

    /// A job goes on to its next state; while it is Active, to its end.
    pub async fn advance(&self, job: &str) -> Result<Value> {
        self.ask("POST", &format!("/{job}")).await
    }

    /// A job that is Active replicates this many more objects.
    pub async fn work(&self, job: &str, objects: usize) -> Result<Value> {
        self.ask("POST", &format!("/{job}?tasks={objects}")).await
    }

    /// A job goes on until it is in a state.
    pub async fn advance_to(&self, job: &str, state: &str) -> Result<Value> {
        for _ in 0..10 {
            let now = self.advance(job).await?;
            if now["status"] == state {
                return Ok(now);
            }
        }
        anyhow::bail!("job {job} does not become {state}: {:#}", self.ask("GET", "").await?)
    }

    /// Someone else puts a job into a state.
    pub async fn put(&self, job: &str, state: &str, reason: &str) -> Result<Value> {
        self.ask("POST", &format!("/{job}?to={state}&reason={reason}")).await
    }

    /// S3 forgets a job.
    pub async fn forget(&self, job: &str) -> Result<()> {
        self.ask("DELETE", &format!("/{job}")).await.map(drop)
    }

    async fn ask(&self, method: &str, path: &str) -> Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v20180820/_rig/jobs{path}", self.endpoint))
            .header("x-amz-account-id", &self.account)
            .body(Full::<Bytes>::default())?;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.context("the emulator does not answer")?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }
}
