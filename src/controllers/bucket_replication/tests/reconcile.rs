//! Apply, drift, a refusal, and crashes on the way.

use super::*;
use crate::api::FINALIZER;
use crate::replication::{FailureClass, Step};

#[test]
fn a_resource_is_applied_and_a_second_check_writes_nothing() {
    let mut scene = Scene::ready();
    let world = scene.world();
    let held = world.buckets["orders"].configuration.clone().unwrap();
    assert_eq!(held.role, scene.role().unwrap().arn);
    assert_eq!(world.buckets["copies"].versioning, VersioningStatus::Enabled);
    let object = scene.object().unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!([FINALIZER]), "{object:#}");
    let requests = scene.calls().iter().filter(|call| !call.writes_to_aws()).cloned().collect::<Vec<_>>();
    assert_eq!(
        requests,
        [
            Call::Connect,
            Call::Observe,
            Call::AddFinalizer,
            Call::SetStatus,
            Call::SetStatus,
            Call::PublishEvent
        ],
        "before the first write the status names what the writes make"
    );

    scene.check();
    assert_eq!(scene.calls(), [Call::Connect, Call::Observe]);
    assert_eq!(scene.world().canonical(), world.canonical());
}

#[test]
fn drift_is_corrected_and_reported() {
    let mut scene = Scene::settled();
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
    scene.check();
    assert!(scene.world().buckets["orders"].configuration.is_some());
    assert_eq!(scene.status()["lastCorrection"]["items"][0]["resource"], "ReplicationConfiguration");
    assert_eq!(scene.reason(), "Applied");
}

#[test]
fn a_configuration_that_s3_refuses_at_each_try_costs_no_status_write_at_each() {
    let mut scene = Scene::ready();
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
    let written = |scene: &Scene| scene.calls().iter().filter(|call| **call == Call::SetStatus).count();
    for expected in [2, 0, 0] {
        scene.at(
            |call| matches!(call, Call::Execute(Step::PutReplication { .. })),
            |_, _| Choice::FailBefore(FailureClass::Denied),
        );
        scene.clock.advance(Duration::from_secs(601));
        scene.check();
        assert_eq!(scene.reason(), "AccessDenied");
        assert_eq!(written(&scene), expected, "ahead of the first try, and of what became of it");
    }
    scene.clock.advance(Duration::from_secs(601));
    let before = scene.status()["configuredAt"].clone();
    scene.check();
    assert_eq!((scene.reason().as_str(), written(&scene)), ("Applied", 1));
    assert_ne!(scene.status()["configuredAt"], before);
}

#[test]
fn while_a_destination_is_missing_nothing_is_written() {
    let mut scene = Scene::new();
    scene.cloud.with(|world| world.buckets.remove("copies"));
    scene.apply(spec());
    scene.check();
    assert_eq!(scene.reason(), "DestinationBucketNotFound");
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    scene.cloud.with(|world| world.create_bucket("copies", "eu-west-1", HERE));
    scene.check();
    assert_eq!(scene.reason(), "Applied");
}

#[test]
fn the_messages_of_what_is_wrong_lead_to_runbooks_and_another_site_is_one_write() {
    let site = |site: &str| {
        let site = site.parse().unwrap();
        move |settings: &mut Settings| settings.runbooks = site
    };
    let mut scene = Scene::with_settings(site("https://docs.example.com"));
    scene.cloud.with(|world| world.buckets.remove("copies"));
    scene.apply(spec());
    scene.check();
    let page = "/reasons/DestinationBucketNotFound/";
    let linked = |scene: &Scene, site: &str| {
        let conditions = scene.status()["conditions"].as_array().cloned().unwrap();
        let wrong = conditions.iter().filter(|condition| condition["reason"] == "DestinationBucketNotFound");
        let messages: Vec<&str> = wrong.map(|condition| condition["message"].as_str().unwrap()).collect();
        assert!(messages.len() > 1, "Ready, and what it follows from: {conditions:#?}");
        let link = format!("; see {site}{page}");
        for message in messages {
            assert!(message.ends_with(&link) && message.matches(page).count() == 1, "{message}");
        }
    };
    linked(&scene, "https://docs.example.com");
    let written =
        |scene: &Scene| scene.calls().iter().filter(|call| call.is_write()).cloned().collect::<Vec<_>>();
    scene.check();
    assert_eq!(written(&scene), [], "what has a link is the same at the next check");

    scene.restart_with(site("https://wiki.example.com/s3/"));
    scene.check();
    assert_eq!(written(&scene), [Call::SetStatus], "and no event: another link is no news");
    linked(&scene, "https://wiki.example.com/s3");
    scene.check();
    assert_eq!(written(&scene), []);

    scene.restart();
    scene.check();
    assert!(!scene.message().contains("https://"), "{}", scene.message());
    scene.cloud.with(|world| world.create_bucket("copies", "eu-west-1", HERE));
    scene.restart_with(site("https://docs.example.com"));
    scene.check();
    assert_eq!(scene.reason(), "Applied");
    assert!(!scene.status()["conditions"].to_string().contains("https://"), "{:#}", scene.status());
}

#[test]
fn after_a_crash_before_or_after_any_call_the_next_process_completes_the_work() {
    let calls = {
        let mut scene = Scene::new();
        scene.apply(spec());
        scene.check();
        scene.calls()
    };
    let applied = Scene::ready().world().canonical();
    for (index, call) in calls.iter().enumerate() {
        for choice in [Choice::DieBefore, Choice::DieAfter] {
            let mut scene = Scene::new();
            scene.apply(spec());
            let wanted = call.clone();
            scene.at(move |call| *call == wanted, move |_, _| choice);
            assert_eq!(scene.check(), None, "{choice:?} at call {index}, {call}");
            scene.restart();
            scene.check();
            scene.check();
            assert_eq!(scene.reason(), "Applied", "{choice:?} at call {index}, {call}: {:#}", scene.status());
            assert_eq!(scene.world().canonical(), applied, "{choice:?} at call {index}, {call}");
        }
    }
}

#[test]
fn a_step_whose_answer_is_lost_is_tried_again_and_reported() {
    let mut scene = Scene::new();
    scene.apply(spec());
    scene.at(writes("s3:PutReplicationConfiguration"), |_, _| Choice::FailAfter);
    scene.check();
    assert_eq!(scene.reason(), "AwsUnavailable");
    scene.check();
    assert_eq!(scene.reason(), "Applied");
}

#[test]
fn suspended_and_observed_resources_write_nothing_to_aws() {
    for (field, value) in [("suspend", json!(true)), ("managementPolicy", json!("Observe"))] {
        let mut scene = Scene::new();
        let mut changed = spec();
        changed[field] = value;
        scene.apply(changed);
        let before = scene.world().canonical();
        scene.check();
        assert_eq!(scene.world().canonical(), before, "{field}");
        assert_eq!(scene.object().unwrap()["metadata"]["finalizers"], Value::Null, "{field}");
    }
}

#[test]
fn an_operator_with_read_only_writes_nothing_to_aws_and_reports_what_differs() {
    let mut scene = Scene::with_settings(|settings| settings.read_only = true);
    scene.apply(spec());
    let before = scene.world().canonical();
    scene.check();
    assert_eq!(scene.reason(), "Drifted");
    assert_eq!(scene.world().canonical(), before);
    assert_eq!(scene.object().unwrap()["metadata"]["finalizers"], Value::Null);
}

#[test]
fn an_operator_with_read_only_keeps_a_resource_that_it_would_have_to_clean_up() {
    let mut scene = Scene::ready();
    let applied = scene.world().canonical();
    scene.delete();
    scene.restart_with(|settings| settings.read_only = true);
    scene.check();
    assert_eq!(scene.reason(), "DeletionBlocked");
    assert!(scene.message().contains("--read-only"), "{}", scene.message());
    assert_eq!(scene.world().canonical(), applied);
}

#[test]
fn an_answer_from_before_a_write_is_neither_drift_nor_a_correction() {
    let mut scene = Scene::ready();
    let status = scene.status();
    // S3 answers from before the write until a check later on.
    let held = scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration.take());
    for second in ["1", "2", "3"] {
        scene.clock.advance(Duration::from_secs(4));
        scene.annotate(second);
        let again = scene.check().unwrap().unwrap();
        assert!(again <= Duration::from_secs(15), "{again:?}");
        assert_eq!(scene.writes_to_aws(), [""; 0]);
        assert_eq!(scene.reason(), "Applied");
    }
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = held);
    scene.check();
    assert_eq!(scene.status()["conditions"], status["conditions"]);
    assert_eq!(scene.status()["lastCorrection"], Value::Null);
}

/// Each of the writes of a creation may be hidden by an answer from before it.
#[test]
fn an_answer_from_before_any_write_of_a_creation_is_neither_drift_nor_a_correction() {
    let hidden: [fn(&mut World); 5] = [
        |world| world.buckets.get_mut("orders").unwrap().configuration = None,
        |world| world.buckets.get_mut("orders").unwrap().versioning = VersioningStatus::Disabled,
        |world| world.buckets.get_mut("copies").unwrap().versioning = VersioningStatus::Disabled,
        |world| world.role_mut(HERE, "orders-role").unwrap().policy = None,
        |world| world.roles.clear(),
    ];
    for (number, hide) in hidden.into_iter().enumerate() {
        let mut scene = Scene::ready();
        let world = scene.world();
        scene.cloud.with(hide);
        for second in ["1", "2", "3"] {
            scene.clock.advance(Duration::from_secs(4));
            scene.annotate(second);
            scene.check();
            assert_eq!(scene.writes_to_aws(), [""; 0], "write {number}");
            assert_eq!(scene.reason(), "Applied", "write {number}");
        }
        scene.cloud.with(|held| *held = world);
        scene.check();
        assert_eq!(scene.status()["lastCorrection"], Value::Null, "write {number}");
    }
}

#[test]
fn an_answer_that_stays_the_same_for_a_minute_after_a_write_is_drift() {
    let mut scene = Scene::ready();
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    scene.clock.advance(Duration::from_secs(60));
    scene.check();
    assert_eq!(scene.writes_to_aws(), ["set the replication configuration of bucket orders: all to copies"]);
    assert_eq!(scene.status()["lastCorrection"]["count"], 1);
}

#[test]
fn neither_another_check_nor_a_restart_moves_the_periodic_checks_of_a_resource() {
    const INTERVAL: Duration = Duration::from_secs(600);
    // The clock of the simulation has milliseconds.
    let is_near = |a: Duration, b: Duration| a.abs_diff(b) <= Duration::from_millis(5);
    let mut scene = Scene::ready();
    let turn = scene.check().unwrap().unwrap();
    assert!(turn >= INTERVAL / 10 && turn <= INTERVAL + INTERVAL / 10, "{turn:?}");
    let next = scene.wait(turn).unwrap();
    assert!(is_near(next, INTERVAL), "{next:?}");
    scene.clock.advance(INTERVAL / 3);
    let next = scene.check().unwrap().unwrap();
    assert!(is_near(next, INTERVAL - INTERVAL / 3), "{next:?}");
    scene.restart();
    scene.operator.sync(&scene.cluster.server());
    let first = |fleet: usize| scene.operator.first_due("data", NAME, fleet).unwrap();
    assert!(is_near(first(10_000), next + INTERVAL / 10), "a tenth late: {:?}", first(10_000));
    assert!(first(1) <= Duration::from_secs(1), "it is the only one: {:?}", first(1));
}

#[test]
fn requests_for_a_check_in_a_loop_are_one_check_in_ten_seconds() {
    let mut scene = Scene::ready();
    let mut checks = 0;
    for tenth in 0..70 {
        scene.annotate(&tenth.to_string());
        scene.check();
        checks += scene.calls().iter().filter(|call| **call == Call::Observe).count();
        scene.clock.advance(Duration::from_millis(100));
    }
    assert_eq!(checks, 1);
    let wait = scene.check().unwrap().unwrap();
    scene.clock.advance(wait);
    scene.check();
    assert_eq!(scene.status()["lastHandledRequest"], "69");
}

#[test]
fn a_change_of_the_spec_does_not_wait_for_requests() {
    let mut scene = Scene::ready();
    scene.annotate("first");
    scene.check();
    let mut changed = spec();
    changed["rules"][0]["status"] = json!("Disabled");
    scene.annotate("second");
    scene.apply(changed);
    scene.check();
    assert_eq!(scene.writes_to_aws().len(), 1);
    assert_eq!(scene.status()["lastHandledRequest"], "second");
}

/// S3 shows the source as it was before the operator's first write.
fn with_answers_from_before_the_write() -> Scene {
    let mut scene = Scene::new();
    scene.apply(spec());
    scene.check();
    assert_eq!(scene.reason(), "Applied");
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
    scene
}

#[test]
fn a_request_stays_open_while_aws_answers_from_before_a_write() {
    let mut scene = with_answers_from_before_the_write();
    scene.annotate("asked");
    scene.check();
    assert_eq!((scene.reason().as_str(), &scene.status()["lastHandledRequest"]), ("Applied", &Value::Null));
    scene.clock.advance(Duration::from_secs(60));
    scene.check();
    assert_eq!(scene.status()["lastHandledRequest"], "asked");
    assert!(scene.world().buckets["orders"].configuration.is_some());
}

#[test]
fn a_changed_spec_is_not_called_ready_by_an_answer_from_before_a_write() {
    let mut scene = with_answers_from_before_the_write();
    let mut changed = spec();
    changed["rules"][0]["status"] = json!("Disabled");
    scene.apply(changed);
    scene.check();
    assert_eq!(
        (scene.reason().as_str(), scene.condition("Ready")["status"].as_str()),
        ("Progressing", Some("Unknown"))
    );
    assert!(scene.message().contains("orders"), "{}", scene.message());
    scene.clock.advance(Duration::from_secs(60));
    scene.check();
    assert_eq!(scene.reason(), "Applied");
}

#[test]
fn a_resumed_resource_is_not_called_suspended_by_an_answer_from_before_a_write() {
    let mut scene = with_answers_from_before_the_write();
    let mut suspended = spec();
    suspended["suspend"] = json!(true);
    scene.apply(suspended);
    scene.check();
    assert_eq!(scene.reason(), "Suspended");
    scene.apply(spec());
    scene.check();
    assert_eq!(scene.reason(), "Progressing");
    assert_eq!(scene.condition("Replicating")["reason"], "Progressing");
}

#[test]
fn a_throttled_step_is_tried_again_soon() {
    let mut scene = Scene::new();
    scene.apply(spec());
    scene.at(writes("iam:CreateRole"), |_, _| Choice::FailBefore(FailureClass::Throttled));
    let again = scene.check().unwrap().unwrap();
    assert!(again < Duration::from_secs(60));
    assert_eq!(scene.reason(), "Throttled");
}

#[test]
fn an_idle_resource_takes_no_memory() {
    let mut scene = Scene::ready();
    scene.clock.advance(Duration::from_secs(60));
    scene.check();
    assert_eq!(scene.operator.remembered(), 0);
}

#[test]
fn a_denied_tag_does_not_keep_the_configuration_from_being_restored() {
    let mut scene = Scene::new();
    let mut tagged = spec();
    tagged["role"]["tags"] = json!({"team": "data"});
    scene.apply(tagged);
    scene.check();
    scene.wait_a_minute();
    scene.cloud.with(|world| {
        world.buckets.get_mut("orders").unwrap().configuration = None;
        let role = world.role_mut(HERE, "orders-role").unwrap();
        role.tags.insert("team".to_owned(), "someone".to_owned());
    });
    scene.at(writes("iam:TagRole"), |_, _| Choice::FailBefore(FailureClass::Denied));
    scene.check();
    assert_eq!(scene.reason(), "AccessDenied", "{:#}", scene.status());
    assert!(scene.world().buckets["orders"].configuration.is_some());
}

#[test]
fn a_rebuilt_cluster_takes_over_a_role_only_of_the_cluster_that_a_flag_names() {
    let former = |settings: &mut Settings| settings.former_clusters = vec!["old-cluster".to_owned()];
    let unrelated = |settings: &mut Settings| settings.former_clusters = vec!["other".to_owned()];
    let run = |edit: fn(&mut Settings)| {
        let mut scene = Scene::ready();
        scene.cloud.with(|world| {
            let tags = &mut world.role_mut(HERE, "orders-role").unwrap().tags;
            tags.insert("s3replication.dev/cluster".to_owned(), "old-cluster".to_owned());
            tags.insert("s3replication.dev/uid".to_owned(), "old-uid".to_owned());
        });
        // Nothing of the status is left in the new cluster.
        scene.cluster.with(|server| server.edit(&Scene::resource(), |object| object["status"] = Value::Null));
        scene.restart_with(edit);
        scene.check();
        scene.reason()
    };
    assert_eq!(run(unrelated), "ForeignRole");
    assert_eq!(run(former), "Applied");
}

#[test]
fn an_interval_below_the_administrators_is_raised_and_the_status_says_so() {
    let interval_of = |asked: &str, shortest: &str| {
        let shortest = shortest.parse().unwrap();
        let mut scene = Scene::with_settings(|settings| settings.min_interval = shortest);
        let mut changed = spec();
        changed["interval"] = json!(asked);
        scene.apply(changed);
        scene.check();
        let next = scene.check().flatten().unwrap();
        (next, scene.message())
    };
    // The next turn of a resource is a tenth of its interval after a check at the earliest, and one tenth more than the
    // interval at the latest.
    let tenths = |next: Duration, interval: u64| next.as_secs_f64() / (6.0 * interval as f64);
    let (next, message) = interval_of("1m", "30m");
    assert!((1.0..=11.0).contains(&tenths(next, 30)), "{next:?}");
    assert!(message.contains("--min-interval is 30m"), "{message}");
    let (next, message) = interval_of("2h", "30m");
    assert!((1.0..=11.0).contains(&tenths(next, 120)), "{next:?}");
    assert!(!message.contains("--min-interval"), "{message}");
    let (next, _) = interval_of("1m", "1m");
    assert!(next < Duration::from_secs(120), "an operator without the flag: {next:?}");
}
