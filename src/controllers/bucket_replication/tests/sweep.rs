//! The sweep of metrics: what it reports, and that it writes nothing to AWS.

use std::time::Instant;

use futures::FutureExt as _;
use jiff::Timestamp;

use super::*;
use crate::replication::health::metrics::{Series, Statistic};

/// A spec whose rule publishes metrics.
fn publishing() -> Value {
    let mut with_metrics = spec();
    with_metrics["rules"][0]["destination"]["metrics"] = json!("Enabled");
    with_metrics
}

/// A resource that was applied, at a time when its metrics can be read.
fn scene_with_metrics() -> Scene {
    let mut scene = Scene::new();
    scene.clock.advance(Duration::from_secs(3_600));
    scene.apply(publishing());
    scene.check();
    assert_eq!(scene.condition("Replicating")["reason"], "Progressing", "{:#}", scene.status());
    scene
}

impl Scene {
    /// S3 publishes how many of how many operations failed three minutes ago.
    fn publish(&self, failed: f64, ended: f64) {
        let second = i64::try_from(self.clock.elapsed().as_secs()).unwrap() - 180;
        let minute = Timestamp::from_second(second - second % 60).unwrap();
        self.cloud.with(|world| {
            let region = world.metrics.entry((HERE.to_owned(), "us-east-1".to_owned())).or_default();
            for (statistic, value) in [(Statistic::Failed, failed), (Statistic::Ended, ended)] {
                let (source, destination, rule) = ("orders".into(), "copies".into(), "all".into());
                let series = Series { source, destination, rule, statistic };
                region.entry(series).or_default().insert(minute, value);
            }
        });
    }

    /// A sweep in which everything is due.
    fn sweep(&mut self) {
        self.script.lock().calls.clear();
        self.operator.sync(&self.cluster.server());
        self.clock.advance(Duration::from_secs(300));
        self.operator.sweep(Instant::now()).now_or_never();
        self.operator.sync(&self.cluster.server());
    }
}

#[test]
fn a_sweep_reports_what_fails_and_writes_nothing_to_aws() {
    let mut scene = scene_with_metrics();
    scene.publish(2.0, 2.0);
    let before = scene.world().canonical();
    scene.sweep();
    let condition = scene.condition("Replicating");
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("ObjectsFailing")));
    assert_eq!(scene.reason(), "Applied", "the settings are right all the same");
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    assert_eq!(scene.world().canonical(), before);

    scene.sweep();
    assert!(!scene.calls().iter().any(Call::is_write), "nothing new is known: {:?}", scene.calls());
}

/// The condition `Replicating`.
fn message(scene: &Scene) -> String {
    scene.condition("Replicating")["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_sweep_names_what_the_operator_corrected_since_objects_failed() {
    let mut scene = scene_with_metrics();
    scene.wait_a_minute();
    scene
        .cloud
        .with(|world| world.buckets.get_mut("copies").unwrap().versioning = VersioningStatus::Suspended);
    scene.publish(2.0, 2.0);
    scene.check();
    assert_eq!(scene.status()["lastCorrection"]["count"], 1, "{:#}", scene.status());
    scene.sweep();
    assert_eq!(scene.condition("Replicating")["reason"], "ObjectsFailing", "{:#}", scene.status());
    let cause = "the likely cause: AWS differed from the spec in BucketVersioning copies status, which the operator has corrected";
    assert!(message(&scene).contains(cause), "{}", message(&scene));

    let before = scene.condition("Replicating");
    scene.sweep();
    assert!(!scene.calls().iter().any(Call::is_write), "{:?}", scene.calls());
    scene.restart();
    scene.check();
    assert_eq!(scene.condition("Replicating"), before, "a process that starts says the same");
}

#[test]
fn the_check_that_corrects_what_made_objects_fail_names_it_at_once() {
    let mut scene = scene_with_metrics();
    scene.publish(2.0, 2.0);
    scene.sweep();
    assert!(message(&scene).contains("head-object"), "nothing explains it: {}", message(&scene));
    scene.cloud.with(|world| world.role_mut(HERE, "orders-role").unwrap().policy = None);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    let cause = "AWS differed from the spec in RolePolicy orders-role s3:";
    assert!(message(&scene).contains(cause), "{}", message(&scene));
}

#[test]
fn the_policies_of_keys_are_read_only_while_objects_fail_and_one_of_the_source_may_be_the_cause() {
    let mut scene = Scene::new();
    scene.clock.advance(Duration::from_secs(3_600));
    let replicas = format!("arn:aws:kms:eu-west-1:{HERE}:key/replicas");
    let source = format!("arn:aws:kms:us-east-1:{HERE}:key/source");
    let someone = json!({"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{HERE}:user/administrator")},
         "Action": "kms:*", "Resource": "*"}]});
    scene.cloud.with(|world| {
        world.keys.extend([&replicas, &source].map(|key| (key.clone(), "Enabled".to_owned())));
        world.key_policies.insert(source.clone(), someone);
    });
    let mut encrypted = publishing();
    encrypted["source"]["kmsKeyArns"] = json!([source]);
    encrypted["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
    encrypted["rules"][0]["destination"]["kmsKeyArn"] = json!(replicas);
    scene.apply(encrypted);
    let asked = |scene: &Scene| -> Vec<String> {
        let calls = scene.calls().into_iter();
        let keys = calls.filter_map(|call| match call {
            Call::ReadKeyPolicy(key) => Some(key),
            _ => None,
        });
        keys.collect()
    };
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    assert_eq!(asked(&scene), [""; 0]);

    scene.publish(2.0, 2.0);
    scene.sweep();
    scene.check();
    assert_eq!(asked(&scene), [replicas, source.clone()]);
    let cause = format!(
        "the likely cause: role arn:aws:iam::{HERE}:role/s3-replication/orders-role may not decrypt objects of the source with key {source}"
    );
    assert!(message(&scene).contains(&cause), "{}", message(&scene));
}

#[test]
fn a_verdict_of_a_sweep_leads_to_its_runbook_and_the_next_sweep_writes_nothing() {
    let mut scene = Scene::with_settings(|settings| {
        settings.runbooks = "https://docs.example.com".parse().unwrap();
    });
    scene.clock.advance(Duration::from_secs(3_600));
    scene.apply(publishing());
    scene.check();
    scene.publish(2.0, 2.0);
    scene.sweep();
    let message = scene.condition("Replicating")["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("see https://docs.example.com/reasons/ObjectsFailing/"), "{message}");
    scene.sweep();
    assert!(!scene.calls().iter().any(Call::is_write), "{:?}", scene.calls());
}

#[test]
fn a_resource_that_may_no_longer_be_observed_is_not_read() {
    let mut scene = scene_with_metrics();
    let mut suspended = publishing();
    suspended["suspend"] = json!(true);
    scene.apply(suspended);
    scene.check();
    scene.sweep();
    assert_eq!(scene.calls(), []);
    assert_eq!(scene.condition("Replicating")["reason"], "Suspended");
}

#[test]
fn a_verdict_for_an_object_that_another_has_replaced_is_dropped() {
    let mut scene = scene_with_metrics();
    scene.publish(1.0, 1.0);
    scene.at(
        |call| *call == Call::SetCondition,
        |_, cluster| {
            cluster.with(|server| {
                server.edit(&Scene::resource(), |object| object["metadata"]["finalizers"] = Value::Null);
                server.delete(&Scene::resource());
                server.create(&Scene::resource(), publishing(), 7_200);
            });
            Choice::Answer
        },
    );
    scene.sweep();
    assert_eq!(scene.status(), Value::Null, "the new object has nothing of the old one");
}

#[test]
fn metrics_are_read_no_more_often_than_the_administrator_allows() {
    let readings = |shortest: &str| {
        let mut scene = Scene::with_settings(|settings| settings.min_interval = shortest.parse().unwrap());
        scene.clock.advance(Duration::from_secs(3_600));
        let mut asked = publishing();
        asked["health"] = json!({"interval": "5m"});
        scene.apply(asked);
        scene.check();
        let start = Instant::now();
        let mut readings = 0;
        for _ in 0..12 {
            scene.script.lock().calls.clear();
            scene.clock.advance(Duration::from_secs(300));
            scene.operator.sweep(start).now_or_never();
            readings += usize::from(scene.calls().iter().any(|call| matches!(call, Call::ReadMetrics(_))));
        }
        readings
    };
    assert!(readings("1m") >= 10);
    assert!(readings("1h") <= 2);
}
