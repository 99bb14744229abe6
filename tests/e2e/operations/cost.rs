//! The number of requests that the operator sends to AWS and to Kubernetes. They count against the rate limits of the
//! users.

use std::time::Duration;

use anyhow::{Context, Result};
use rig::cluster::KubeRequest;
use rig::operator::Operator;
use rig::proxy::{Call, GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{Scene, check_now, operator_of, patch, reason, replication, request_check};

/// Long enough that requests made at once overlap beyond doubt.
const LATENCY: Duration = Duration::from_secs(1);

/// A read of versioning serves all checks for two seconds, and nothing but time ends that.
pub(crate) const SHARED: Duration = Duration::from_millis(2_500);

/// `operation subject` of each request, sorted.
fn operations(calls: &[Call]) -> Vec<String> {
    let mut operations: Vec<String> =
        calls.iter().map(|c| format!("{} {}", c.operation, c.subject)).collect();
    operations.sort();
    operations
}

/// Waits until the operator's identity is known, so that asking for it is in nobody's bill.
async fn wait_for_identity(world: &World) -> Result<()> {
    let asked =
        |calls: &[Call]| calls.iter().any(|c| c.operation == "GetCallerIdentity" && c.status.is_some());
    world.proxy.wait_for(asked, DEADLINE).await?;
    world.proxy.clear();
    Ok(())
}

/// The operator's requests to Kubernetes about resources and events, the watches apart.
fn kubernetes(world: &World) -> Result<Vec<KubeRequest>> {
    let mut requests = world.kube_requests()?;
    requests.retain(|r| !matches!(r.verb.as_str(), "list" | "watch"));
    Ok(requests)
}

#[tokio::test]
async fn a_check_that_finds_nothing_costs_five_requests_at_once_and_no_write() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        Scene::named("idle-cost").with_insight().ready().await?;
    // The operator acknowledges a requested check by a write. Such a check is unlike those that come by themselves.
    let before = check_now(&world, "orders").await?;
    let writes = || Ok::<_, anyhow::Error>(kubernetes(&world)?.iter().filter(|r| r.is_write()).count());
    world.proxy.set_latency(LATENCY);

    tokio::time::sleep(SHARED).await;
    let written = writes()?;
    let calls = check_unrequested(&world, "orders").await?;
    let mut five = [
        format!("GetBucketReplication {source}"),
        format!("GetBucketVersioning {destination}"),
        format!("GetBucketVersioning {source}"),
        "GetRole orders-role".to_owned(),
        "GetRolePolicy orders-role".to_owned(),
    ];
    five.sort();
    assert_eq!(operations(&calls), five);
    assert_eq!(rig::proxy::round_trips(&calls), 1);

    // When the next check begins, this one has made all its writes.
    check_unrequested(&world, "orders").await?;
    assert_eq!(writes()?, written, "a check that found nothing wrote to Kubernetes");
    assert_eq!(world.get("orders").await?["status"], before["status"]);
    Ok(())
}

/// The AWS requests of a check without a request annotation. A meaningless annotation triggers it. Reads of metrics are
/// no part of a check, and CloudWatch may never answer one.
pub(crate) async fn check_unrequested(world: &World, name: &str) -> Result<Vec<Call>> {
    world.proxy.clear();
    let touch = json!({"metadata": {"annotations": {"example.com/touched": world.bucket_name()}}});
    patch(world, name, touch).await?;
    // These are in every check; the other requests are sent at the same time.
    let always = ["GetBucketReplication", "GetRole", "GetRolePolicy"];
    let answered = |calls: &[Call], operation: &str| {
        calls.iter().any(|c| c.operation == operation && c.status.is_some())
    };
    world.proxy.wait_for(|calls| always.iter().all(|operation| answered(calls, operation)), DEADLINE).await?;
    let of_check = |call: &Call| call.operation != "GetMetricData";
    let all_answered = |calls: &[Call]| calls.iter().filter(|c| of_check(c)).all(|c| c.status.is_some());
    let mut calls = world.proxy.wait_for(all_answered, DEADLINE).await?;
    calls.retain(of_check);
    Ok(calls)
}

#[tokio::test]
async fn from_empty_to_ready_takes_five_round_trips_and_four_requests_to_kubernetes() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        Scene::named("convergence-cost").with_insight().empty().await?;
    wait_for_identity(&world).await?;
    world.proxy.set_latency(LATENCY);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    let calls = world.proxy.calls();
    assert_eq!(world.proxy.round_trips(), 5, "{:?}", operations(&calls));
    // Two HeadBucket, five reads (a missing role has no policy to read; Object Lock is read once an hour), five
    // writes.
    assert!(calls.len() <= 12, "{:?}", operations(&calls));
    assert_eq!(world.proxy.writes().len(), 5, "{:?}", operations(&calls));

    // The event is the last request, and the audit log may be behind.
    let logged = async {
        loop {
            let requests = kubernetes(&world)?;
            if requests.iter().any(|r| r.resource == "events") {
                return anyhow::Ok(requests);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let requests = tokio::time::timeout(DEADLINE, logged).await??;
    let what: Vec<(&str, &str)> =
        requests.iter().map(|r| (r.resource.as_str(), r.subresource.as_str())).collect();
    assert_eq!(
        what,
        [
            ("bucketreplications", ""),
            ("bucketreplications", "status"),
            ("bucketreplications", "status"),
            ("events", "")
        ],
        "the finalizer, which confirms the object; what the writes make; the status; the event"
    );
    Ok(())
}

#[tokio::test]
async fn the_first_check_after_a_restart_costs_no_more_than_any_other() -> Result<()> {
    let Scene { world, operator: first, .. } = Scene::named("restart-cost").with_insight().ready().await?;
    first.kill().await?;
    world.proxy.clear();
    let _second = operator_of(&world).start().await?;
    check_now(&world, "orders").await?;
    let looked = world.proxy.calls().iter().filter(|c| c.operation == "HeadBucket").count();
    assert_eq!(looked, 0, "status remembers where the buckets are: {:?}", operations(&world.proxy.calls()));
    Ok(())
}

#[tokio::test]
async fn a_suspended_resource_costs_nothing() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        Scene::named("suspended-cost").with_insight().empty().await?;
    wait_for_identity(&world).await?;
    let mut resource = replication("orders", &source, &destination);
    resource["spec"]["suspend"] = json!(true);
    world.apply(&resource.to_string()).await?;
    let suspended = |status: &Value| reason(status, "Ready") == "Suspended";
    world.wait("orders", suspended, "to be suspended").await?;

    // A request for a check changes nothing; another resource, applied later, is checked meanwhile.
    request_check(&world, "orders").await?;
    let (other, elsewhere) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("invoices", &other, &elsewhere).to_string()).await?;
    world.wait_ready("invoices").await?;
    let calls = operations(&world.proxy.calls());
    let about = [source.as_str(), destination.as_str(), "orders-role"];
    assert!(!calls.iter().any(|call| about.iter().any(|subject| call.ends_with(subject))), "{calls:?}");
    Ok(())
}

/// Starts the operator, and answers a read that two resources share once both have asked for it: each sends a request about
/// its source at the same time. The answer serves others for two seconds only.
async fn start_with_both_at(
    world: &World,
    shared: Matcher,
    beside: &str,
    sources: &[String; 2],
) -> Result<Operator> {
    let gate = world.proxy.gate(shared, GateAt::BeforeForward);
    let operator = operator_of(world).args(["--aws-attempt-timeout", "300"]).start().await?;
    let asks = |calls: &[Call], source: &String| {
        calls.iter().any(|call| call.operation == beside && call.subject == *source)
    };
    world.proxy.wait_for(|calls| sources.iter().all(|source| asks(calls, source)), DEADLINE).await?;
    gate.reached(DEADLINE).await?;
    Ok(operator)
}

#[tokio::test]
async fn resources_that_share_a_destination_share_its_read() -> Result<()> {
    let world = World::with_insight("shared-cost").await?;
    let (one, two) = (world.bucket("us-east-1").await?, world.bucket("us-east-1").await?);
    let shared = world.versioned_bucket("eu-west-1").await?;
    world.apply(&replication("one", &one, &shared).to_string()).await?;
    world.apply(&replication("two", &two, &shared).to_string()).await?;
    let read = Matcher::operation("GetBucketVersioning").about(&shared);
    let _operator = start_with_both_at(&world, read, "GetBucketVersioning", &[one, two]).await?;
    world.wait_ready("one").await?;
    world.wait_ready("two").await?;
    let calls = world.proxy.calls();
    let reads = calls.iter().filter(|c| c.operation == "GetBucketVersioning" && c.subject == shared).count();
    assert_eq!(reads, 1, "{:?}", operations(&calls));
    Ok(())
}

#[tokio::test]
async fn resources_that_share_an_existing_role_share_its_read() -> Result<()> {
    let world = World::with_insight("shared-role").await?;
    let role = role_by_hand(&world).await?;
    let sources = [world.bucket("us-east-1").await?, world.bucket("us-east-1").await?];
    for (name, source) in ["one", "two"].iter().zip(&sources) {
        let mut resource = replication(name, source, &world.bucket("eu-west-1").await?);
        resource["spec"]["role"] = json!({"arn": role});
        world.apply(&resource.to_string()).await?;
    }
    let _operator = start_with_both_at(&world, Matcher::operation("GetRole"), "HeadBucket", &sources).await?;
    world.wait_ready("one").await?;
    world.wait_ready("two").await?;
    assert_eq!(world.proxy.count("GetRole"), 1, "{:?}", operations(&world.proxy.calls()));
    Ok(())
}

/// A role that S3 may assume, and that nobody else than its maker manages. Returns its ARN.
async fn role_by_hand(world: &World) -> Result<String> {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole",
    }]});
    let create =
        world.iam().create_role().role_name("by-hand").assume_role_policy_document(trust.to_string());
    Ok(create.send().await?.role().context("no role")?.arn().to_owned())
}

#[tokio::test]
async fn the_policy_of_an_existing_role_is_not_read() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        Scene::named("existing-cost").with_insight().empty().await?;
    let mut resource = replication("orders", &source, &destination);
    resource["spec"]["role"] = json!({"arn": role_by_hand(&world).await?});
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    world.proxy.clear();
    check_now(&world, "orders").await?;
    assert_eq!(world.proxy.calls().len(), 4, "{:?}", operations(&world.proxy.calls()));
    assert_eq!(world.proxy.count("GetRolePolicy"), 0);
    Ok(())
}
