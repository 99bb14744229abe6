//! Whether objects arrive: replication is broken as people break it, and the status says so.
//!
//! The operator reads metrics each second here, and a verdict looks back two minutes: a point has one, and would leave
//! a shorter window as soon as the next minute begins. The emulator publishes as S3 does
//! (`tests/rig/tools/aws/replication_metrics.py`).

mod answers;
mod breakage;
mod canary;
mod dashboard;
mod events_alone;
mod outage;
mod retried_failures;
mod sweep;

use anyhow::Result;
use rig::world::condition;
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, NAME, SOURCE_REGION, Scene, SceneBuilder};

/// Readings as often as a test wants them.
const OFTEN: [&str; 4] = ["--health-interval", "1s", "--health-window", "2m"];

/// A scene whose rule publishes metrics.
fn scene_named(name: &str) -> SceneBuilder<'_> {
    Scene::named(name).args(&OFTEN).edit(publish_metrics)
}

fn publish_metrics(spec: &mut Value) {
    spec["rules"][0]["destination"]["metrics"] = json!("Enabled");
}

/// The status, the reason and the message of `Replicating`.
fn replicating(status: &Value) -> (&str, &str, &str) {
    let found = condition(status, "Replicating");
    let part = |name: &str| found.and_then(|c| c[name].as_str()).unwrap_or_default();
    (part("status"), part("reason"), part("message"))
}

impl Scene {
    /// Writes an object to the source.
    async fn write_object(&self, key: &str) -> Result<()> {
        let s3 = self.world.s3(SOURCE_REGION);
        s3.put_object().bucket(&self.source).key(key).body(b"an order".to_vec().into()).send().await?;
        Ok(())
    }

    /// Waits until `Replicating` has this reason, and returns the status.
    async fn wait_verdict(&self, reason: &str) -> Result<Value> {
        let to = format!("to have the verdict {reason}");
        let mut object = self.world.wait(NAME, |status| replicating(status).1 == reason, &to).await?;
        Ok(object["status"].take())
    }

    /// Writes objects until `Replicating` has this reason: a whole window must pass without a failure.
    async fn write_until(&self, reason: &str) -> Result<Value> {
        for n in 0..200 {
            self.write_object(&format!("again-{n}")).await?;
            let held = self.world.get(NAME).await?;
            if replicating(&held["status"]).1 == reason {
                return Ok(held["status"].clone());
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        anyhow::bail!("the verdict did not become {reason}: {:#}", self.world.get(NAME).await?["status"])
    }

    /// How many times metrics were read in a Region.
    fn readings(&self, region: &str) -> usize {
        let calls = self.world.proxy.calls();
        calls.iter().filter(|call| call.operation == "GetMetricData" && call.region == region).count()
    }
}
