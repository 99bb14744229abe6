//! Coverage, probes and own writes, on stores that hold a few resources or ten thousand.

use futures::FutureExt;
use kube::core::DeserializeGuard;

use super::*;
use crate::api::{AwsAccount, AwsAccountSpec};
use crate::controllers::index::PACKING;
use crate::controllers::index::tests::resource;
use crate::replication::BucketAddress;
use crate::replication::events::Lookup;
use crate::runtime::clock::SimulatedClock;
use crate::simulation::{SimulatedCloud, World};

/// The state with one queue, which works, and these resources.
fn working(resources: Vec<Guarded>, metrics: &EventMetrics) -> Events {
    working_by(Clock::System, resources, metrics)
}

fn working_by(clock: Clock, resources: Vec<Guarded>, metrics: &EventMetrics) -> Events {
    let queue = "https://sqs.us-east-1.amazonaws.com/111122223333/events".parse().unwrap();
    let events = Events::new(Setup {
        settings: EventSettings { queues: vec![queue], ..EventSettings::default() },
        interval: Interval::default(),
        index: Arc::new(Index::with_events(&[], Some(PACKING))),
        replications: Triggers::new(1),
        accounts: Triggers::new(1),
        clock,
        metrics: metrics.clone(),
    });
    resources.into_iter().for_each(|resource| apply(&events, resource));
    events.queue_answered(0);
    events
}

/// The watch brings a resource, which is reconciled.
fn apply(events: &Events, resource: Guarded) {
    let (key, index) = (Key::of(resource.meta()), &events.inner().unwrap().setup.index);
    index.apply(resource).iter().for_each(|change| events.observe(change));
    events.pass_by(&index.replications.get(&key).unwrap());
}

/// A resource whose status names the account and the Region of everything.
fn applied(n: i64, account: &str, destination: &str) -> Guarded {
    let source = format!("bucket-{n}");
    let mut object = resource(&format!("r{n}"), &source, Some(&format!("account-{account}")), n);
    let resource = object.0.as_mut().unwrap();
    resource.status = serde_json::from_value(serde_json::json!({
        "source": {"bucket": source, "region": "us-east-1", "account": account},
        "destinations": [{"bucket": destination, "region": "eu-west-1", "account": account}],
        "role": {"arn": format!("arn:aws:iam::{account}:role/r{n}"), "managed": true},
    }))
    .unwrap();
    object
}

#[test]
fn among_ten_thousand_resources_drift_that_no_event_announced_visits_those_of_its_account_alone() {
    let account = |n: i64| format!("{:012}", n / 10);
    let resources: Vec<_> = (0..10_000).map(|n| applied(n, &account(n), "copies")).collect();
    let status = resources[70].0.as_ref().unwrap().status.clone().unwrap();
    let events = working(resources, &EventMetrics::default());
    let inner = events.inner().unwrap();
    let origin = Origin::new(&account(70), Service::S3, "us-east-1");
    inner.state.lock().coverage.received(&origin, None, inner.now());
    let drift = DriftEntry {
        resource: crate::api::AwsResource::ReplicationConfiguration,
        name: "bucket-70".to_owned(),
        path: String::new(),
        want: String::new(),
        got: String::new(),
    };
    let spec = AwsAccountSpec { account_id: account(70), ..AwsAccountSpec::default() };
    let aws_account = AwsAccount::new(&format!("account-{}", account(70)), spec);
    inner.setup.index.apply_account(DeserializeGuard(Ok(aws_account)));
    inner.setup.index.replications.take_visits();
    events.drift_found(&drift, FoundBy::Poll, &status, &CheckEvents::default());
    assert_eq!(inner.state.lock().coverage.evidence(&origin), Delivery::Unannounced);
    assert_eq!(inner.setup.index.replications.take_visits(), 20, "the key and the object of ten resources");
}

#[test]
fn a_check_in_place_of_those_of_two_buckets_has_all_of_them_checked_once_it_finds_something() {
    let resources = (0..6).map(|n| applied(n, "111122223333", ["copies", "more"][usize::from(n > 2)]));
    let events = working(resources.collect(), &EventMetrics::default());
    let inner = events.inner().unwrap();
    let key = Key::namespaced("data", "r0");
    let probes = ["copies", "more"].map(Lookup::bucket).into();
    inner.state.lock().pacing.event(&key, Cause { probes, ..Cause::default() }, inner.now());
    let first = events.begin_check(&key);
    events.end_check(&key, &first, Answer::Unchanged);
    // It has another reason, and comes before the second check.
    let other = events.begin_check(&key);
    events.end_check(&key, &other, Answer::Changed);
    let mut state = inner.state.lock();
    let waits =
        |n: i64| state.pacing.begin(&Key::namespaced("data", &format!("r{n}")), inner.now()).is_some();
    assert_eq!((0..6).map(waits).collect::<Vec<_>>(), [false, true, true, true, true, true]);
}

/// S3 may answer from before the change, and nothing else would have it read again before the long interval ends.
#[test]
fn what_is_remembered_for_longer_than_a_check_is_read_again_by_both_checks_that_an_event_causes() {
    let cloud = SimulatedCloud::new(World::new("111122223333"));
    for (name, is_remembered) in [
        ("PutObjectLockConfiguration", true),
        ("PutBucketObjectLockConfiguration", true),
        ("PutBucketVersioning", false),
        ("PutBucketReplication", false),
    ] {
        let (clock, resources) = (SimulatedClock::new(), vec![applied(0, "111122223333", "copies")]);
        let events = working_by(Clock::Simulated(clock.clone()), resources, &EventMetrics::default());
        let body = serde_json::json!({
            "eventSource": "s3.amazonaws.com", "eventName": name, "awsRegion": "us-east-1",
            "recipientAccountId": "111122223333", "requestParameters": {"bucketName": "bucket-0"},
        });
        let outcome = events.dispatch(&body.to_string(), &cloud).now_or_never();
        assert_eq!(outcome, Some(crate::telemetry::EventOutcome::Checked), "{name}");
        for check in ["the first", "the second"] {
            let begun = events.begin_check(&key_of(0));
            assert!(begun.are_cause, "{name}: {check}");
            assert_eq!(begun.need_fresh_reads, is_remembered, "{name}: {check}");
            events.end_check(&key_of(0), &begun, Answer::Unchanged);
            clock.advance(Duration::from_secs(60));
        }
    }
}

#[test]
fn drift_that_a_check_for_another_reason_finds_is_measured_from_the_change_that_an_event_announced() {
    let (metrics, mut registry) = (EventMetrics::default(), crate::telemetry::Registry::default());
    metrics.register(&mut registry);
    let all = crate::telemetry::Metrics::new(registry);
    let object = applied(0, "111122223333", "copies");
    let status = object.0.as_ref().unwrap().status.clone().unwrap();
    let events = working(vec![object], &metrics);
    let inner = events.inner().unwrap();
    let changed = Some(jiff::Timestamp::now());
    inner.state.lock().pacing.event(&key_of(0), Cause { changed, ..Cause::default() }, inner.now());
    let first = events.begin_check(&key_of(0));
    events.end_check(&key_of(0), &first, Answer::Unchanged);
    let other = events.begin_check(&key_of(0));
    assert!(!other.are_cause, "the second check because of the event is not due yet");
    let drift = DriftEntry {
        resource: crate::api::AwsResource::ReplicationConfiguration,
        name: "bucket-0".to_owned(),
        path: String::new(),
        want: String::new(),
        got: String::new(),
    };
    events.drift_found(&drift, FoundBy::Event, &status, &other);
    let text = all.render().unwrap();
    assert!(text.contains("drift_latency_seconds_count 1"), "{text}");
}

/// A resource with one destination, `copies`, whose `Ready` has this status.
fn shared(n: i64, ready: &str) -> Guarded {
    let mut object = applied(n, "111122223333", "copies");
    let resource = object.0.as_mut().unwrap();
    let condition = serde_json::json!({
        "type": "Ready", "status": ready, "reason": "", "message": "",
        "lastTransitionTime": "2026-11-23T10:00:00Z",
    });
    let status = resource.status.as_mut().unwrap();
    status.conditions = vec![serde_json::from_value(condition).unwrap()];
    object
}

fn key_of(n: i64) -> Key {
    Key::namespaced("data", &format!("r{n}"))
}

/// Has the first of these resources checked in place of all.
fn probing(resources: impl Iterator<Item = Guarded>) -> (Events, SimulatedClock) {
    let clock = SimulatedClock::new();
    let resources = resources.collect();
    let events = working_by(Clock::Simulated(clock.clone()), resources, &EventMetrics::default());
    let inner = events.inner().unwrap();
    let probes = [Lookup::bucket("copies")].into();
    inner.state.lock().pacing.event(&key_of(0), Cause { probes, ..Cause::default() }, inner.now());
    (events, clock)
}

/// Checks each of these resources for which an event waits. Returns their numbers.
fn checked(events: &Events, numbers: std::ops::Range<i64>, answer: Answer) -> Vec<i64> {
    let begun = numbers.map(|n| (n, events.begin_check(&key_of(n))));
    let caused: Vec<(i64, CheckEvents)> = begun.filter(|(_, check)| check.are_cause).collect();
    caused.iter().for_each(|(n, check)| events.end_check(&key_of(*n), check, answer));
    caused.into_iter().map(|(n, _)| n).collect()
}

#[test]
fn a_probe_whose_second_check_fails_is_made_by_another_resource_and_then_concerns_all() {
    let (events, clock) = probing((0..6).map(|n| shared(n, "True")));
    assert_eq!(checked(&events, 0..6, Answer::Unchanged), [0]);
    clock.advance(Duration::from_secs(60));
    assert_eq!(checked(&events, 0..6, Answer::Unanswered), [0]);
    apply(&events, shared(0, "False"));
    let mut tried = vec![0];
    for answer in [Answer::Unanswered, Answer::Unanswered, Answer::Changed] {
        clock.advance(Duration::from_secs(5));
        events.tick();
        let now = checked(&events, 0..6, answer);
        assert_eq!(now.len(), 1, "one at a time: {tried:?}, {now:?}");
        assert!(!tried.contains(&now[0]), "it is not Ready: {tried:?}, {now:?}");
        tried.extend(&now);
        apply(&events, shared(now[0], "False"));
    }
    let others: Vec<i64> = (0..6).filter(|n| Some(n) != tried.last()).collect();
    assert_eq!(checked(&events, 0..6, Answer::Unchanged), others);
}

#[test]
fn a_probe_of_a_resource_that_is_deleted_suspended_or_unreadable_passes_to_another() {
    let deleted = |events: &Events| {
        let change = events.inner().unwrap().setup.index.replications.remove(&key_of(0)).unwrap();
        events.observe(&change);
    };
    let being_deleted = |events: &Events| {
        let mut object = shared(0, "True");
        let resource = object.0.as_mut().unwrap();
        resource.metadata.deletion_timestamp = resource.metadata.creation_timestamp.clone();
        apply(events, object);
    };
    let suspended = |events: &Events| {
        let mut object = shared(0, "True");
        object.0.as_mut().unwrap().spec.suspend = true;
        apply(events, object);
    };
    let unreadable = |events: &Events| {
        let metadata = shared(0, "True").0.unwrap().metadata;
        let error = "unknown variant".to_owned();
        apply(events, DeserializeGuard(Err(kube::core::error_boundary::InvalidObject { error, metadata })));
    };
    let ends: [&dyn Fn(&Events); 4] = [&deleted, &being_deleted, &suspended, &unreadable];
    for (number, end) in ends.into_iter().enumerate() {
        let (events, _) = probing((0..2).map(|n| shared(n, "True")));
        end(&events);
        events.tick();
        assert_eq!(checked(&events, 0..2, Answer::Unchanged), [1], "{number}");
    }
}

#[test]
fn a_resource_that_goes_while_an_event_is_dispatched_is_passed_by() {
    let (events, _) = probing((0..2).map(|n| shared(n, "True")));
    let inner = events.inner().unwrap();
    let first = inner.setup.index.replications.get(&key_of(0)).unwrap();
    events.observe(&inner.setup.index.replications.remove(&key_of(0)).unwrap());
    inner.probe(&first, Lookup::bucket("copies"), Cause::default());
    events.tick();
    assert_eq!(checked(&events, 0..2, Answer::Unchanged), [1]);
    assert_eq!(inner.state.lock().pacing.len(), 1, "nothing is kept of the other");
}

#[test]
fn where_no_resource_is_ready_for_a_probe_all_of_them_are_checked() {
    let (events, _) = probing((0..4).map(|n| shared(n, if n == 0 { "True" } else { "False" })));
    let check = events.begin_check(&key_of(0));
    apply(&events, shared(0, "False"));
    events.end_check(&key_of(0), &check, Answer::Unanswered);
    events.tick();
    assert_eq!(checked(&events, 0..4, Answer::Changed), [0, 1, 2, 3]);
    events.tick();
    assert_eq!(checked(&events, 0..4, Answer::Changed), [0; 0], "the probe has ended");
}

#[test]
fn the_gauge_of_coverage_has_no_sample_until_something_is_known_and_none_after_the_term() {
    let (metrics, mut registry) = (EventMetrics::default(), crate::telemetry::Registry::default());
    metrics.register(&mut registry);
    let all = crate::telemetry::Metrics::new(registry);
    let events = working(vec![applied(0, "111122223333", "copies")], &metrics);
    let samples = || {
        events.tick();
        let text = all.render().unwrap();
        let of_coverage = |line: &&str| line.contains("event_coverage{");
        let values = text.lines().filter(of_coverage).filter_map(|line| line.rsplit_once(' '));
        values.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(samples(), [""; 0], "after a start nothing has stopped");
    let inner = events.inner().unwrap();
    let origin = Origin::new("111122223333", Service::Iam, "");
    inner.state.lock().coverage.received(&origin, None, inner.now());
    assert_eq!(samples(), ["1"]);
    inner.state.lock().coverage.unannounced(&origin);
    assert_eq!(samples(), ["0"]);
    events.begin_term();
    assert_eq!(samples(), [""; 0]);
    inner.state.lock().coverage.received(&origin, None, inner.now());
    assert_eq!(samples(), ["1"]);
    events.end_term();
    let text = all.render().unwrap();
    assert!(!text.contains("event_coverage{") && !text.contains("event_queue_up{"), "{text}");
}

#[test]
fn no_event_is_expected_of_a_write_to_a_role_in_an_account_that_is_not_known() {
    let events = working(Vec::new(), &EventMetrics::default());
    let outstanding = || events.inner().map(|inner| inner.state.lock().own_writes.len());
    let of_role = Step::DeleteRole { role: "orders-role".to_owned() };
    assert!(events.begin_step(&of_role, None).is_none());
    assert_eq!(outstanding(), Some(0));
    assert!(events.begin_step(&of_role, Some("111122223333")).is_some());
    let bucket = BucketAddress {
        name: "orders".to_owned(),
        region: "us-east-1".to_owned(),
        account_id: "111122223333".to_owned(),
        account_ref: None,
    };
    assert!(events.begin_step(&Step::DeleteReplication { bucket }, None).is_some());
    assert_eq!(outstanding(), Some(2));
}
