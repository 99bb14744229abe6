//! A process that starts, or begins to lead, comes to the verdict of the one before it: whether objects arrive, since
//! when, and by which counts.

use std::time::Instant;

use futures::FutureExt as _;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::replication::health::metrics::{Series, Statistic};

const READ_EVERY: Duration = Duration::from_secs(300);

fn publishing() -> Value {
    let mut published = spec();
    published["rules"][0]["destination"]["metrics"] = json!("Enabled");
    published
}

/// The acts between two readings of the metrics.
#[derive(Clone, Debug, Default)]
struct Step {
    /// Operations that failed and that succeeded.
    ended: Option<(u32, u32)>,
    /// Operations that are pending, and how many seconds the destination is behind.
    backlog: Option<(u32, u32)>,
    /// The reason of a failure event.
    event: Option<&'static str>,
    /// A backfill of everything completes, and is deleted.
    backfill: bool,
    /// Readings after it.
    readings: u32,
    restart: bool,
}

fn fails(failed: u32, succeeded: u32) -> Step {
    Step { ended: Some((failed, succeeded)), readings: 1, ..Step::default() }
}

fn restarts() -> Step {
    Step { restart: true, readings: 1, ..Step::default() }
}

/// A scene of a rule with metrics.
fn begin() -> Scene {
    let mut scene = Scene::with_settings(|settings| settings.backfill_settle = Duration::ZERO);
    scene.clock.advance(Duration::from_secs(3_600));
    scene.apply(publishing());
    scene.check();
    scene.read_metrics();
    scene
}

impl Scene {
    fn second(&self) -> i64 {
        i64::try_from(self.clock.elapsed().as_secs()).unwrap()
    }

    /// S3 publishes a value for the present minute.
    fn measure(&self, region: &str, statistic: Statistic, value: u32) {
        let second = self.second();
        let minute = Timestamp::from_second(second - second % 60).unwrap();
        let (source, destination, rule) = ("orders".into(), "copies".into(), "all".into());
        let series = Series { source, destination, rule, statistic };
        self.cloud.with(|world| {
            let region = world.metrics.entry((HERE.to_owned(), region.to_owned())).or_default();
            region.entry(series).or_default().insert(minute, f64::from(value));
        });
    }

    /// S3 sends a failure event.
    fn send_event(&mut self, reason: &str) {
        let at = Timestamp::from_second(self.second()).unwrap();
        let body = json!({"Records": [{
            "eventTime": at.to_string(), "eventName": "Replication:OperationFailedReplication",
            "s3": {"bucket": {"name": "orders"}, "object": {"key": format!("key-{at}"), "versionId": "v"}},
            "replicationEventData": {"replicationRuleId": "all", "destinationBucket": "arn:aws:s3:::copies",
                "failureReason": reason}}]});
        let known = self.operator.take_failures(&body.to_string()).now_or_never();
        assert_eq!(known, Some(1), "the event is about the resource");
        self.operator.sync(&self.cluster.server());
    }

    /// A backfill of everything that failed completes, and is deleted.
    fn backfill(&mut self) {
        let name = ObjectName::backfill("data", "all-of-it");
        let second = self.second();
        let at = Timestamp::from_second(second).unwrap().to_string();
        let ready = json!({"type": "Ready", "status": "True", "reason": "Completed", "message": "", "lastTransitionTime": at});
        self.cluster.with(|server| {
            server.create(&name, json!({"replicationRef": {"name": NAME}}), second);
            let status = json!({"conditions": [ready], "finishedAt": at, "createdBefore": at});
            server.edit(&name, |object| object["status"] = status);
        });
        self.check();
        self.cluster.with(|server| server.objects.remove(&name));
        self.check();
    }

    fn read_metrics(&mut self) {
        self.clock.advance(READ_EVERY);
        self.operator.sync(&self.cluster.server());
        self.operator.sweep(Instant::now()).now_or_never();
        self.operator.sync(&self.cluster.server());
    }

    /// Takes a step, after which the process restarts or not.
    fn take(&mut self, step: &Step, restarts: bool) {
        if let Some((failed, succeeded)) = step.ended {
            self.measure("us-east-1", Statistic::Failed, failed);
            self.measure("us-east-1", Statistic::Ended, failed + succeeded);
        }
        if let Some((pending, latency)) = step.backlog {
            self.measure("eu-west-1", Statistic::Pending, pending);
            self.measure("eu-west-1", Statistic::Latency, latency);
        }
        if let Some(reason) = step.event {
            self.send_event(reason);
        }
        self.check();
        if step.backfill {
            self.backfill();
        }
        for reading in 0..step.readings.max(1) {
            if restarts && (step.restart || reading > 0) {
                self.restart_with(|settings| settings.backfill_settle = Duration::ZERO);
            }
            self.check();
            self.read_metrics();
        }
    }
}

/// The status without the time of the last arrival: it is that of the last write, and objects that flow cause none.
fn verdict(scene: &Scene) -> Value {
    let mut status = scene.status();
    if let Some(rules) = status["health"]["rules"].as_array_mut() {
        rules.iter_mut().filter_map(Value::as_object_mut).for_each(|rule| {
            rule.remove("lastArrival");
        });
    }
    status
}

/// Takes the same steps with and without restarts, and compares the statuses after each.
fn compare(steps: &[Step]) -> Result<(), String> {
    let (mut steady, mut restarting) = (begin(), begin());
    for (number, step) in steps.iter().enumerate() {
        steady.take(step, false);
        restarting.take(step, true);
        let (one, other) = (verdict(&steady), verdict(&restarting));
        if one != other {
            let differs = |key: &str| {
                (one[key] != other[key]).then(|| format!("{key}: {:#}\n{:#}", one[key], other[key]))
            };
            let all = ["conditions", "health"].into_iter().filter_map(differs).collect::<Vec<_>>().join("\n");
            return Err(format!("after step {number} of {steps:#?}:\nsteady and restarted {all}"));
        }
    }
    Ok(())
}

const NOISE: &str = "SrcKeyNotFound";

#[test]
fn failures_that_did_not_count_do_not_count_after_a_restart() {
    let noise = Step { event: Some(NOISE), ..fails(1, 0) };
    let mut scene = begin();
    scene.take(&noise, false);
    assert_ne!(scene.condition("Replicating")["reason"], "ObjectsFailing", "{:#}", scene.status());
    let held = scene.status()["health"]["rules"][0]["notCounted"].clone();
    assert_eq!(held[0]["operations"], 1, "{:#}", scene.status());
    compare(&[noise.clone(), restarts(), restarts(), noise, fails(1, 1), restarts()]).unwrap();
}

#[test]
fn operations_that_were_counted_are_not_counted_again_after_a_restart() {
    let mut scene = begin();
    for step in [fails(1, 0), fails(0, 5), restarts()] {
        scene.take(&step, true);
    }
    let rule = scene.status()["health"]["rules"][0].clone();
    assert_eq!((&rule["failed"], &rule["operations"]), (&json!(1), &json!(6)), "{rule:#}");
    compare(&[fails(1, 0), fails(0, 5), restarts()]).unwrap();
}

#[test]
fn a_backfill_that_was_deleted_has_retried_its_objects_after_a_restart_too() {
    compare(&[Step { backfill: true, ..fails(3, 0) }, restarts(), restarts()]).unwrap();
}

#[test]
fn the_reason_of_an_event_that_came_before_its_metric_outlives_a_restart() {
    let mut scene = begin();
    scene.take(&Step { event: Some("DstBucketNotFound"), readings: 1, ..Step::default() }, false);
    for step in [restarts(), fails(2, 0)] {
        scene.take(&step, true);
    }
    let message = scene.condition("Replicating")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("S3 reports DstBucketNotFound"), "{message}");
}

#[test]
fn an_event_that_comes_before_the_first_check_of_a_process_is_not_lost() {
    let mut scene = begin();
    scene.take(&fails(0, 1), false);
    scene.restart();
    scene.operator.sync(&scene.cluster.server());
    scene.send_event("DstBucketNotFound");
    scene.take(&fails(2, 0), false);
    let message = scene.condition("Replicating")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("S3 reports DstBucketNotFound"), "{message}");
}

#[test]
fn an_event_explains_no_failure_that_is_later_by_a_window_with_a_restart_or_without() {
    let event = Step { event: Some("DstBucketNotFound"), readings: 4, ..Step::default() };
    compare(&[event, Step { restart: true, ..fails(1, 0) }]).unwrap();
}

fn step() -> impl Strategy<Value = Step> {
    let ended = prop::option::weighted(0.6, (0_u32..3, 0_u32..3));
    let backlog = prop::option::of((0_u32..3, prop_oneof![Just(5_u32), Just(2_000)]));
    let event = prop::option::weighted(0.4, prop_oneof![Just(NOISE), Just("DstBucketNotFound")]);
    let rest = (prop::bool::weighted(0.1), 1_u32..5, any::<bool>());
    (ended, backlog, event, rest).prop_map(|(ended, backlog, event, (backfill, readings, restart))| Step {
        ended,
        backlog,
        event,
        backfill,
        readings,
        restart,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_at_any_point_changes_nothing_of_the_status(steps in prop::collection::vec(step(), 1..12)) {
        if let Err(differs) = compare(&steps) {
            prop_assert!(false, "{}", differs);
        }
    }
}
