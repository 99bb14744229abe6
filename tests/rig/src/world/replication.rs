//! The questions of a test to the emulator about replication (`tools/aws/replication_metrics.py`).

use anyhow::{Context, Result, ensure};
use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::World;

impl World {
    /// Keeps objects of a bucket PENDING from now on. Their destinations are so many seconds behind.
    pub async fn hold_replication(&self, bucket: &str, behind: u32) -> Result<()> {
        self.ask_emulator(bucket, json!({"hold": true, "behind": behind})).await
    }

    /// Replicates the objects that were held, and those to come.
    pub async fn release_replication(&self, bucket: &str) -> Result<()> {
        self.ask_emulator(bucket, json!({"hold": false})).await
    }

    /// Makes what is published about a bucket older.
    pub async fn age_metrics(&self, bucket: &str, seconds: u32) -> Result<()> {
        self.ask_emulator(bucket, json!({"age": seconds})).await
    }

    /// How CloudWatch answers about a bucket, in the words of the emulator. Null: as it does.
    pub async fn answer_metrics(&self, bucket: &str, how: Value) -> Result<()> {
        self.ask_emulator(bucket, json!({"answers": how})).await
    }

    async fn ask_emulator(&self, bucket: &str, asked: Value) -> Result<()> {
        let uri = format!("{}/_rig/replication/{bucket}", self.emulator.url());
        let request =
            Request::builder().method("PUT").uri(uri).body(Full::new(Bytes::from(asked.to_string())))?;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.context("the emulator does not answer")?;
        ensure!(answer.status().is_success(), "the emulator answers {}", answer.status());
        Ok(())
    }
}
