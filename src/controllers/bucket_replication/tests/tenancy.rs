//! The permissions of administrators, which hold at the moment of each write.

use futures::FutureExt as _;

use super::*;
use crate::replication::{Configuration, Step};
use crate::runtime::leader::Succession;

fn allows(destinations: &[&str]) -> Value {
    json!({
        "accountId": HERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{HERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "sources": ["orders"],
        "destinations": destinations,
    })
}

fn with_account() -> Value {
    let mut changed = spec();
    changed["source"]["accountRef"] = json!("red");
    changed
}

/// Two accounts: the source in one, the destination in the other.
fn across_accounts() -> (Scene, Value) {
    let scene = Scene::new();
    scene.cloud.with(|world| world.create_bucket("dr-copies", "eu-west-1", THERE));
    scene.account("red", allows(&["copies"]));
    let blue = json!({
        "accountId": THERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "destinations": ["dr-copies"],
    });
    scene.account("blue", blue);
    let mut spec = with_account();
    spec["rules"][0]["destination"] = json!({"bucket": "dr-copies", "accountRef": "blue"});
    (scene, spec)
}

fn tighten(
    scene: &Scene,
    at: impl Fn(&Call) -> bool + Send + 'static,
    server: impl FnOnce(&mut ApiServer) + Send + 'static,
) {
    scene.at(at, move |_, cluster| {
        cluster.with(server);
        Choice::Answer
    });
}

#[test]
fn an_account_in_which_the_operator_cannot_act_leads_to_its_runbook_and_is_written_once() {
    let scene = Scene::with_settings(|settings| {
        settings.runbooks = "https://docs.example.com".parse().unwrap();
    });
    let far = json!({
        "accountId": "777788889999",
        "assumeRole": {"arn": "arn:aws:iam::777788889999:role/trusts-nobody"},
        "namespaces": {"matchNames": ["data"]},
    });
    scene.account("far", far);
    let check = || {
        scene.operator.sync(&scene.cluster.server());
        scene.script.lock().calls.clear();
        let checked = scene.operator.reconcile_account("far").unwrap().now_or_never().unwrap();
        assert!(checked.is_ok(), "{:?}", checked.err());
    };
    check();
    let object = scene.cluster.server().objects[&ObjectName::account("far")].clone();
    let ready = condition(&object["status"], "Ready");
    let (reason, message) = (ready["reason"].as_str().unwrap(), ready["message"].as_str().unwrap());
    assert_eq!(ready["status"], "False");
    assert!(message.ends_with(&format!("; see https://docs.example.com/reasons/{reason}/")), "{message}");
    check();
    assert!(!scene.calls().iter().any(Call::is_write), "{:?}", scene.calls());
}

#[test]
fn an_operator_whose_cache_lags_after_a_failover_writes_nothing_under_an_account_that_was_tightened() {
    let name = ObjectName::account("red");
    for what in ["tightened", "deleted"] {
        let mut scene = Scene::new();
        scene.account("red", allows(&["copies"]));
        scene.apply(with_account());
        let stale = scene.standby();
        scene.cluster.with(|server| match what {
            "deleted" => server.delete(&name),
            _ => server.edit(&name, |object| object["spec"]["sources"] = json!(["invoices"])),
        });
        scene.operator = stale;
        scene.operator.begin_term(Succession::Takeover);
        let _ = scene.operator.reconcile_now("data", NAME);
        assert_eq!(scene.writes_to_aws(), Vec::<String>::new(), "{what}: {:?}", scene.calls());
    }
}

#[test]
fn an_operator_that_has_led_for_a_minute_asks_for_no_account_before_it_writes() {
    let mut scene = Scene::new();
    scene.account("red", allows(&["copies"]));
    scene.operator.begin_term(Succession::Takeover);
    scene.clock.advance(Duration::from_secs(60));
    scene.apply(with_account());
    scene.check();
    assert_eq!(scene.reason(), "Applied");
    let asks = |call: &Call| matches!(call, Call::Live(kind) if kind == "AwsAccount");
    assert!(!scene.calls().iter().any(asks), "{:?}", scene.calls());
}

#[test]
fn deleting_the_default_account_allows_no_more_than_before() {
    let mut scene = Scene::new();
    scene.account("default", json!({"accountId": HERE}));
    scene.apply(spec());
    scene.check();
    assert_eq!(scene.reason(), "NotAllowed");
    scene.cluster.with(|server| server.objects.remove(&ObjectName::account("default")));
    scene.check();
    assert_eq!(scene.reason(), "AccountNotFound");
    assert_eq!(scene.calls(), [Call::SetStatus, Call::PublishEvent]);
    scene.restart();
    scene.check();
    assert_eq!(scene.reason(), "AccountNotFound");
    assert_eq!(scene.writes_to_aws(), [""; 0]);
}

/// A Helm release that is installed again takes account and operator away together.
#[test]
fn an_account_that_goes_while_no_operator_runs_allows_no_more_than_before() {
    for account in [
        json!({"accountId": HERE}),
        json!({"accountId": 111_122_223_333_i64}),
        json!({"accountId": HERE, "namespaces": {"matchNames": ["shop"]}, "sources": ["*"], "destinations": ["*"]}),
    ] {
        let mut scene = Scene::new();
        scene.account("default", account.clone());
        scene.apply(spec());
        scene.check();
        let refused = scene.reason();
        scene.cluster.with(|server| server.objects.remove(&ObjectName::account("default")));
        scene.restart();
        scene.check();
        assert_eq!(scene.reason(), "AccountNotFound", "it was {refused} under {account}");
        assert_eq!(scene.writes_to_aws(), [""; 0]);
    }
}

#[test]
fn a_new_process_knows_from_a_status_that_accounts_are_used() {
    let mut scene = Scene::new();
    scene.account("default", allows(&["copies"]));
    scene.apply(spec());
    scene.check();
    assert_eq!(scene.reason(), "Applied");
    scene.cluster.with(|server| server.objects.remove(&ObjectName::account("default")));
    let mut other = spec();
    other["source"]["bucket"] = json!("other");
    scene.apply_as("hostile", other);
    scene.restart();
    scene.check_of("hostile");
    let status = scene.object_of("hostile").unwrap()["status"].clone();
    assert_eq!(condition(&status, "Ready")["reason"], "AccountNotFound");
}

#[test]
fn where_no_account_was_ever_seen_the_operator_acts_as_itself() {
    assert_eq!(Scene::ready().reason(), "Applied");
}

#[test]
fn an_account_that_is_tightened_during_a_check_stops_the_next_write() {
    let mut scene = Scene::new();
    scene.account("red", allows(&["copies"]));
    scene.apply(with_account());
    let index = scene.operator.index();
    let cluster = scene.cluster.clone();
    scene.at(writes("iam:CreateRole"), move |_, _| {
        cluster.with(|server| {
            server.edit(&ObjectName::account("red"), |object| object["spec"]["destinations"] = json!([]));
            let account = server.objects[&ObjectName::account("red")].clone();
            index.apply_account(serde_json::from_value(account).unwrap());
        });
        Choice::Answer
    });
    scene.check();
    assert_eq!(scene.reason(), "NotAllowed");
    assert!(scene.world().buckets["orders"].configuration.is_none());
    assert!(scene.role().is_some(), "it was made before, and the status remembers it");
    assert_eq!(scene.status()["role"]["managed"], json!(true), "{:#}", scene.status());
}

#[test]
fn a_namespace_that_is_relabelled_during_a_check_stops_the_next_write() {
    let mut scene = Scene::new();
    let mut account = allows(&["copies"]);
    account["namespaces"] = json!({"matchLabels": {"team": "red"}});
    scene.account("red", account);
    let label = |team: &str| [("team".to_owned(), team.to_owned())].into();
    scene.cluster.with(|server| server.namespaces.insert("data".into(), label("red")));
    scene.apply(with_account());
    tighten(&scene, writes("iam:CreateRole"), move |server| {
        server.namespaces.insert("data".into(), label("blue"));
    });
    scene.check();
    assert_eq!(scene.reason(), "NotAllowed");
    assert!(scene.world().buckets["orders"].configuration.is_none());
}

/// A check that waits for the lock of the bucket whose policy it is to write, while something happens.
fn check_that_waits(scene: &Scene, meanwhile: impl FnOnce(&mut ApiServer)) {
    scene.operator.sync(&scene.cluster.server());
    let held = scene.operator.hold_bucket("dr-copies").now_or_never().unwrap();
    let mut check = Box::pin(scene.operator.reconcile("data", NAME).unwrap());
    assert!(check.as_mut().now_or_never().is_none(), "it waits");
    scene.cluster.with(meanwhile);
    scene.operator.sync(&scene.cluster.server());
    drop(held);
    let ended = check.as_mut().now_or_never().expect("it has the lock");
    assert!(ended.is_ok(), "{:?}", ended.err());
}

#[test]
fn an_account_that_is_tightened_while_a_check_waits_for_a_bucket_stops_its_write() {
    let (scene, spec) = across_accounts();
    scene.apply(spec);
    check_that_waits(&scene, |server| {
        server.edit(&ObjectName::account("blue"), |object| object["spec"]["destinations"] = json!([]));
    });
    let bucket = scene.world().buckets["dr-copies"].clone();
    assert_eq!(bucket.policy, None, "{:#}", scene.status());
    assert!(scene.world().buckets["orders"].configuration.is_none());
    assert_eq!(scene.reason(), "NotAllowed");
}

#[test]
fn a_check_that_waited_for_a_bucket_goes_on_where_all_is_as_before() {
    let (scene, spec) = across_accounts();
    scene.apply(spec);
    check_that_waits(&scene, |_| {});
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
}

/// An older resource for the same source appears, as a restored backup or a lagging watch brings one.
fn older(server: &mut ApiServer) {
    server.create(&ObjectName::replication("data", "older"), with_account(), 0);
}

#[test]
fn an_older_resource_that_appears_during_a_check_stops_the_next_write() {
    let mut scene = Scene::new();
    scene.account("red", allows(&["copies"]));
    scene.clock.advance(Duration::from_secs(5));
    scene.apply(with_account());
    let (index, cluster) = (scene.operator.index(), scene.cluster.clone());
    scene.at(writes("iam:CreateRole"), move |_, _| {
        cluster.with(|server| {
            older(server);
            let object = server.objects[&ObjectName::replication("data", "older")].clone();
            index.apply(serde_json::from_value(object).unwrap());
        });
        Choice::Answer
    });
    scene.check();
    assert_eq!(scene.reason(), "SourceConflict", "{:#}", scene.status());
    assert!(scene.world().buckets["orders"].configuration.is_none());
    assert!(scene.role().is_some(), "it was made before, and the status remembers it");
    assert_eq!(scene.status()["role"]["managed"], json!(true), "{:#}", scene.status());
}

#[test]
fn an_older_resource_that_appears_while_a_check_waits_for_a_bucket_stops_its_write() {
    let (scene, spec) = across_accounts();
    scene.clock.advance(Duration::from_secs(5));
    scene.apply(spec);
    check_that_waits(&scene, older);
    assert_eq!(scene.reason(), "SourceConflict", "{:#}", scene.status());
    assert_eq!(scene.world().buckets["dr-copies"].policy, None);
}

#[test]
fn rivals_without_rights_cost_no_request_each() {
    let mut scene = Scene::new();
    let mut account = allows(&["copies"]);
    account["namespaces"] = json!({"matchLabels": {"team": "red"}});
    scene.account("red", account);
    scene.cluster.with(|server| {
        server.namespaces.insert("data".into(), [("team".to_owned(), "red".to_owned())].into());
        for n in 0..500 {
            server.create(&ObjectName::replication("poor", &format!("rival-{n}")), with_account(), 0);
        }
    });
    scene.clock.advance(Duration::from_secs(5));
    scene.apply(with_account());
    scene.check();
    assert_eq!(scene.reason(), "Applied");
    let asked = |namespace: &str| {
        let call = Call::NamespaceLabels(namespace.to_owned());
        scene.calls().iter().filter(|made| **made == call).count()
    };
    assert_eq!(asked("poor"), 1);
    assert!(asked("data") <= 5, "once to begin with, and once before each stage");
}

#[test]
fn the_oldest_authorized_resource_owns_a_source_and_the_next_one_follows_it() {
    let mut scene = Scene::ready();
    scene.clock.advance(Duration::from_secs(5));
    scene.apply_as("second", spec());
    scene.check_of("second");
    let status = scene.object_of("second").unwrap()["status"].clone();
    assert_eq!(condition(&status, "Ready")["reason"], "SourceConflict");
    scene.delete();
    scene.check();
    scene.check_of("second");
    let status = scene.object_of("second").unwrap()["status"].clone();
    assert_eq!(condition(&status, "Ready")["reason"], "Applied", "{status:#}");
}

#[test]
fn a_destination_of_another_account_is_let_in_by_its_policy_and_left_clean() {
    let (mut scene, spec) = across_accounts();
    let theirs = json!({"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": "arn:aws:s3:::dr-copies/*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
    let policy = json!({"Version": "2012-10-17", "Statement": [theirs]});
    scene.cloud.with(|world| world.buckets.get_mut("dr-copies").unwrap().policy = Some(policy.clone()));
    scene.apply(spec);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    let held = scene.world().buckets["dr-copies"].policy.clone().unwrap();
    assert_eq!(held["Statement"].as_array().unwrap().len(), 3);
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    assert_eq!(scene.world().buckets["dr-copies"].policy, Some(policy));
}

#[test]
fn a_statement_that_someone_adds_before_the_last_read_is_not_lost() {
    let (mut scene, spec) = across_accounts();
    scene.apply(spec);
    scene.check();
    scene.delete();
    let mut reads = VecDeque::from([false, true]);
    let deny = json!({"Sid": "Deny", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::dr-copies/*"});
    let added = deny.clone();
    // Before the second read of the policy, which held only the operator's statements until then.
    let reads = Arc::new(Mutex::new(std::mem::take(&mut reads)));
    scene.at(
        move |call| matches!(call, Call::ReadBucketPolicy(_)) && reads.lock().pop_front().unwrap_or(false),
        move |cloud, _| {
            cloud.with(|world| {
                let policy = world.buckets.get_mut("dr-copies").unwrap().policy.as_mut().unwrap();
                policy["Statement"].as_array_mut().unwrap().push(added);
            });
            Choice::Answer
        },
    );
    scene.check();
    assert_eq!(scene.object(), None);
    assert_eq!(scene.world().buckets["dr-copies"].policy.clone().unwrap()["Statement"], json!([deny]));
}

#[test]
fn a_changed_account_reference_is_cleaned_up_where_the_resource_acted() {
    let mut scene = Scene::new();
    scene.account("red", allows(&["copies"]));
    let mut other = allows(&["copies"]);
    other["accountId"] = json!(THERE);
    scene.account("wrong", other);
    scene.apply(with_account());
    scene.check();
    assert_eq!(scene.reason(), "Applied");
    let mut spec = with_account();
    spec["source"]["accountRef"] = json!("wrong");
    scene.apply(spec);
    scene.check();
    assert_ne!(scene.reason(), "Applied");
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None, "{:#}", scene.status());
    assert!(scene.role().is_none());
    assert!(scene.world().buckets["orders"].configuration.is_none());
}

#[test]
fn a_forged_status_deletes_nothing_of_another_team() {
    let mut scene = Scene::ready();
    scene.cloud.with(|world| {
        world.create_bucket("blue-source", "us-east-1", HERE);
        let held = world.buckets["orders"].configuration.clone().unwrap();
        let role = format!("arn:aws:iam::{HERE}:role/s3-replication/blue");
        world.buckets.get_mut("blue-source").unwrap().configuration = Some(Configuration { role, ..held });
    });
    scene.cluster.with(|server| {
        server.edit(&Scene::resource(), |object| {
            object["status"]["source"] =
                json!({"bucket": "blue-source", "region": "us-east-1", "account": HERE});
        });
        server.delete(&Scene::resource());
    });
    scene.check();
    assert!(scene.world().buckets["blue-source"].configuration.is_some());
    assert_eq!(scene.object(), None);
    let deleted = |call: &Call| matches!(call, Call::Execute(Step::DeleteReplication { bucket }) if bucket.name == "blue-source");
    assert!(!scene.calls().iter().any(deleted));
}

/// The bucket in the spec is immutable, so that only a change past admission makes the two differ.
#[test]
fn a_source_that_only_the_status_names_is_cleaned_up_where_the_configuration_names_a_role_of_the_resource() {
    let mut scene = Scene::ready();
    scene.cloud.with(|world| world.create_bucket("blue-source", "us-east-1", HERE));
    scene.cluster.with(|server| {
        server.edit(&Scene::resource(), |object| object["spec"]["source"]["bucket"] = json!("blue-source"));
        server.delete(&Scene::resource());
    });
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(scene.world().buckets["orders"].configuration.is_none());
    assert!(scene.world().roles.is_empty());
}

#[test]
fn things_made_under_an_account_that_is_gone_are_removed_under_another_for_the_same_account() {
    let mut scene = Scene::new();
    scene.account("red", allows(&["copies"]));
    scene.apply(with_account());
    scene.check();
    scene.cluster.with(|server| server.objects.remove(&ObjectName::account("red")));
    scene.delete();
    scene.check();
    assert_eq!(scene.reason(), "AccountNotFound");
    assert!(scene.message().contains("red"), "{}", scene.message());
    scene.account("new-red", allows(&["copies"]));
    let mut spec = with_account();
    spec["source"]["accountRef"] = json!("new-red");
    scene.apply(spec);
    scene.check();
    assert_eq!(scene.object(), None, "{:#}", scene.status());
    assert!(scene.role().is_none());
}

/// A resource that is being deleted, after the account of its destination went.
fn without_the_account_of_the_destination() -> Scene {
    let (mut scene, spec) = across_accounts();
    scene.apply(spec);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    scene.cluster.with(|server| server.objects.remove(&ObjectName::account("blue")));
    scene.delete();
    scene.check();
    assert_eq!(scene.reason(), "AccountNotFound");
    scene
}

#[test]
fn statements_under_an_account_that_is_gone_are_removed_under_another_that_allows_their_bucket() {
    let mut scene = without_the_account_of_the_destination();
    let other = json!({
        "accountId": THERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "destinations": ["dr-*"],
    });
    scene.account("new-blue", other);
    scene.check();
    assert_eq!(scene.object(), None, "{:#}", scene.status());
    assert_eq!(scene.world().buckets["dr-copies"].policy, None);
}

#[test]
fn no_account_stands_in_that_does_not_allow_namespace_and_bucket_or_is_for_another_account() {
    let fit = json!({
        "accountId": THERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "destinations": ["dr-*"],
    });
    for (field, value) in [
        ("namespaces", json!({"matchNames": ["shop"]})),
        ("namespaces", json!({"matchLabels": {"team": "blue"}})),
        ("destinations", json!(["others-*"])),
        ("accountId", json!(HERE)),
    ] {
        let mut scene = without_the_account_of_the_destination();
        let mut unfit = fit.clone();
        unfit[field] = value;
        scene.account("new-blue", unfit.clone());
        scene.check();
        assert_eq!(scene.reason(), "AccountNotFound", "{unfit}");
        assert!(scene.world().buckets["dr-copies"].policy.is_some(), "{unfit}");
    }
}
