//! What checks do with the events that announced a change.

use futures::FutureExt;

use super::*;
use crate::replication::FailureClass;
use crate::simulation::OWN_KEY;
use crate::telemetry::EventOutcome;

/// A scene whose operator reads a queue, and whose resource was applied just now.
fn scene_with_events() -> Scene {
    let mut scene = Scene::with_settings(|settings| {
        let queue = "https://sqs.us-east-1.amazonaws.com/111122223333/events".parse().unwrap();
        settings.events.queues = vec![queue];
    });
    scene.clock.advance(Duration::from_secs(600));
    scene.apply(spec());
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    scene
}

fn dispatch(scene: &Scene, body: &str) {
    assert_eq!(scene.operator.dispatch(body).now_or_never(), Some(EventOutcome::Checked));
}

/// The body of an event that somebody deleted the configuration of the source, so many seconds ago.
fn deletion_event(scene: &Scene, seconds_ago: u64) -> String {
    let time = i64::try_from(scene.clock.elapsed().as_secs() - seconds_ago).unwrap();
    json!({
        "eventSource": "s3.amazonaws.com",
        "eventName": "DeleteBucketReplication",
        "awsRegion": "us-east-1",
        "recipientAccountId": HERE,
        "requestParameters": {"bucketName": "orders"},
        "userIdentity": {"accessKeyId": "ASIASOMEBODY"},
        "eventTime": jiff::Timestamp::from_second(time).unwrap().to_string(),
    })
    .to_string()
}

/// Somebody deletes the configuration seven seconds after the operator put it, and an event comes about a deletion so
/// many seconds before. Returns the seconds until the operator corrects that.
fn seconds_until_corrected(event: impl Fn(&Scene) -> Option<String>) -> u64 {
    let mut scene = scene_with_events();
    scene.clock.advance(Duration::from_secs(7));
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
    if let Some(body) = event(&scene) {
        dispatch(&scene, &body);
    }
    let start = scene.clock.elapsed();
    while scene.status()["lastCorrection"].is_null() {
        let again = scene.check().flatten().unwrap();
        assert!(scene.clock.elapsed() - start < Duration::from_secs(70), "{:#}", scene.status());
        if scene.status()["lastCorrection"].is_null() {
            scene.clock.advance(again);
        }
    }
    (scene.clock.elapsed() - start).as_secs()
}

#[test]
fn drift_right_after_a_write_is_corrected_within_seconds_of_its_event() {
    assert_eq!(seconds_until_corrected(|_| None), 53, "the minute is over then");
    assert_eq!(seconds_until_corrected(|scene| Some(deletion_event(scene, 0))), 10);
    let late = "of what was there before";
    assert_eq!(seconds_until_corrected(|scene| Some(deletion_event(scene, 60))), 53, "{late}");
    assert_eq!(
        seconds_until_corrected(|scene| Some(deletion_event(scene, 7))),
        53,
        "of the second of the write"
    );
    let own = |scene: &Scene| Some(deletion_event(scene, 0).replace("ASIASOMEBODY", OWN_KEY));
    assert_eq!(seconds_until_corrected(own), 53, "the operator's own key signed it");
}

#[test]
fn a_change_that_an_event_announced_is_found_by_it_also_where_both_checks_that_it_caused_failed() {
    type Failing = (&'static str, fn(&Scene));
    let failing: [Failing; 3] = [
        ("the account cannot be reached", |scene| {
            scene.at(|call| *call == Call::Connect, |_, _| Choice::FailBefore(FailureClass::Throttled));
        }),
        ("AWS does not answer", |scene| {
            scene.at(|call| *call == Call::Observe, |_, _| Choice::FailBefore(FailureClass::Unavailable));
        }),
        ("the account does not allow it", |scene| {
            scene.account("default", json!({"accountId": HERE, "namespaces": {"matchNames": ["others"]}}));
        }),
    ];
    for (what, fail) in failing {
        let mut scene = scene_with_events();
        scene.wait_a_minute();
        scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
        dispatch(&scene, &deletion_event(&scene, 0));
        for _ in 0..2 {
            fail(&scene);
            scene.check();
            assert_ne!(scene.reason(), "Applied", "{what}");
            scene.clock.advance(Duration::from_secs(60));
        }
        let allowed = json!({
            "accountId": HERE, "namespaces": {"matchNames": ["data"]},
            "sources": ["orders"], "destinations": ["copies"], "roles": {"allow": ["orders-role"]},
        });
        scene.account("default", allowed);
        scene.check();
        assert!(!scene.status()["lastCorrection"].is_null(), "{what}: {:#}", scene.status());
        let found = r#"drift_found_by_total{by="event"} 1"#;
        assert!(scene.operator.metrics().contains(found), "{what}: {}", scene.operator.metrics());
    }
}
