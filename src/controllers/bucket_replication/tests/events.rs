//! Checks after an event announced a change.

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

/// The next check after one that finds nothing, once events have come from everywhere that the resource depends on.
fn next_check_once_covered(namespaces: &Value) -> Duration {
    let mut scene = scene_with_events();
    let mut account = account_for(&["copies"]);
    account["namespaces"] = namespaces.clone();
    scene.account("default", account);
    scene.cluster.with(|server| {
        server.namespaces.insert("data".to_owned(), [("team".to_owned(), "data".to_owned())].into());
    });
    scene.operator.queue_answers();
    scene.clock.advance(Duration::from_secs(120));
    let of_s3 = deletion_event(&scene, 0);
    let of_role = of_s3
        .replace("s3.amazonaws.com", "iam.amazonaws.com")
        .replace("DeleteBucketReplication", "DeleteRolePolicy")
        .replace("bucketName", "roleName")
        .replace("\"orders\"", "\"orders-role\"");
    let elsewhere = of_s3
        .replace("us-east-1", "eu-west-1")
        .replace("DeleteBucketReplication", "PutBucketVersioning")
        .replace("\"orders\"", "\"copies\"");
    for body in [of_s3, of_role, elsewhere] {
        dispatch(&scene, &body);
    }
    // One check because of the events, and another one a minute later.
    for pause in [20, 70, 600] {
        scene.clock.advance(Duration::from_secs(pause));
        scene.operator.queue_answers();
        scene.check();
        assert_eq!(scene.reason(), "Applied", "{namespaces}: {:#}", scene.status());
    }
    scene.check().flatten().unwrap()
}

#[test]
fn events_stretch_no_interval_where_the_labels_of_the_namespace_decide_what_is_allowed() {
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    let by_name = next_check_once_covered(&json!({"matchNames": ["data"]}));
    assert!(by_name > hour && by_name < day * 2, "{by_name:?}");
    for by_label in [
        json!({"matchLabels": {"team": "data"}}),
        json!({"matchNames": ["data"], "matchLabels": {"team": "data"}}),
    ] {
        let next = next_check_once_covered(&by_label);
        assert!(next <= Duration::from_secs(20 * 60), "{by_label}: {next:?}");
    }
}

#[test]
fn a_change_of_a_namespaces_labels_shows_at_the_next_check() {
    let mut scene = scene_with_events();
    let mut account = account_for(&["copies"]);
    account["namespaces"] = json!({"matchLabels": {"team": "data"}});
    scene.account("default", account);
    let label = |scene: &Scene, team: &str| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        scene.cluster.with(|server| server.namespaces.insert("data".to_owned(), labels));
    };
    label(&scene, "data");
    scene.wait_a_minute();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    label(&scene, "other");
    scene.wait(Duration::from_secs(600));
    assert_eq!(scene.reason(), "NotAllowed", "{:#}", scene.status());
    label(&scene, "data");
    scene.wait(Duration::from_secs(660));
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
}
