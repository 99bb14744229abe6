//! Events in place of polling: CloudTrail's events come from the rig's proxy, by a queue of the emulator.

mod coverage;
mod drift;
mod every_change;
mod failures;
mod messages;
mod pacing;
mod patterns;
mod rights;

use anyhow::{Result, ensure};
use rig::operator::{Operator, OperatorBuilder};
use rig::world::{DEADLINE, World};
use s3_replication_operator::telemetry::PREFIX;
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, SOURCE_REGION, http_get, operator_of, replication, see_own_writes};

/// A world whose changes have events, and an operator that reads them.
struct EventScene {
    world: World,
    operator: Operator,
    /// The URL of the queue.
    queue: String,
}

/// Two accounts with an `AwsAccount` each: `home` is that of the operator's identity; in `abroad` it assumes a role.
struct TwoAccounts {
    home: String,
    abroad: String,
    abroad_id: String,
    /// The ARN of the role that the operator assumes.
    role: String,
}

impl TwoAccounts {
    async fn new(world: &World) -> Result<TwoAccounts> {
        const ALL: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
        let abroad_id = world.another_account();
        let role = world.assumable_role(&abroad_id, "operator", &world.account, None, ALL).await?;
        let (home, abroad) = (world.unique("home"), world.unique("abroad"));
        for (name, id, role) in [(&home, &world.account, None), (&abroad, &abroad_id, Some(&role))] {
            let buckets = [format!("{}-*", world.namespace)];
            let mut account = json!({
                "apiVersion": "s3replication.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": name},
                "spec": {
                    "accountId": id, "namespaces": {"matchNames": [world.namespace]},
                    "sources": buckets, "destinations": buckets,
                },
            });
            if let Some(arn) = role {
                account["spec"]["assumeRole"] = json!({"arn": arn});
            }
            world.apply(&account.to_string()).await?;
        }
        Ok(TwoAccounts { home, abroad, abroad_id, role })
    }

    /// A source at home, and a destination abroad.
    async fn buckets(&self, world: &World) -> Result<(String, String)> {
        Ok((world.bucket(SOURCE_REGION).await?, world.bucket_of(&self.abroad_id, DESTINATION_REGION).await?))
    }

    /// A resource that replicates from one account into the other.
    fn replication(&self, name: &str, source: &str, destination: &str) -> Value {
        let mut resource = replication(name, source, destination);
        resource["spec"]["source"]["accountRef"] = json!(self.home);
        resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(self.abroad);
        resource
    }
}

/// The operator, with a queue, and polling as often as it may.
fn with_queue(world: &World, queue: &str) -> OperatorBuilder {
    operator_of(world).args(["--event-queue", queue, "--interval", "1m"])
}

impl EventScene {
    async fn new(name: &str) -> Result<EventScene> {
        EventScene::with(name, &[]).await
    }

    /// With more arguments of `run`.
    async fn with(name: &str, args: &[&str]) -> Result<EventScene> {
        let world = World::new(name).await?;
        let queue = world.event_queue().await?;
        let operator = with_queue(&world, &queue).args(args).start().await?;
        Ok(EventScene { world, operator, queue })
    }

    /// Applies a resource with two buckets of its own, and waits until it is Ready. Returns their names.
    async fn replicate(&self, name: &str) -> Result<(String, String)> {
        self.replicate_with(name, |_| {}).await
    }

    async fn replicate_with(&self, name: &str, edit: impl FnOnce(&mut Value)) -> Result<(String, String)> {
        let (source, destination) =
            (self.world.bucket(SOURCE_REGION).await?, self.world.bucket(DESTINATION_REGION).await?);
        let mut resource = replication(name, &source, &destination);
        edit(&mut resource["spec"]);
        self.world.apply(&resource.to_string()).await?;
        self.world.wait_ready(name).await?;
        Ok((source, destination))
    }

    /// Waits until events cover every origin: the operator's own first writes have proved them. Then has each resource
    /// checked once, so that none is due for a day.
    async fn cover(&self, names: &[&str]) -> Result<()> {
        self.metric("event_coverage", &[], |covered| covered == 3.0, "to cover both Regions and IAM").await?;
        for name in names {
            see_own_writes(&self.world, name).await?;
        }
        Ok(())
    }

    /// Waits until the sum of a metric is as wanted, and returns it.
    async fn metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
        what: &str,
    ) -> Result<f64> {
        metric(&self.operator, name, labels, wanted, what).await
    }
}

/// Waits until the sum of an operator's metric is as wanted, and returns it.
async fn metric(
    operator: &Operator,
    name: &str,
    labels: &[(&str, &str)],
    wanted: impl Fn(f64) -> bool,
    what: &str,
) -> Result<f64> {
    let (address, start) = (operator.http_address().await?, std::time::Instant::now());
    loop {
        let (_, text) = http_get(address, "/metrics").await?;
        let total = sum(&text, name, labels);
        if wanted(total) {
            return Ok(total);
        }
        ensure!(
            start.elapsed() < DEADLINE,
            "the metric {name} was {what}, and is {total}:\n{text}\n{}",
            operator.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let name = format!("{PREFIX}_{name}");
    let of_metric = |line: &&str| {
        line.strip_prefix(&name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    let has_labels =
        |line: &&str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
    text.lines().filter(of_metric).filter(has_labels).filter_map(value).sum()
}
