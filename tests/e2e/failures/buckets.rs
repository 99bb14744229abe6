//! Buckets that are missing, elsewhere, of another account, or cannot be versioned.

use anyhow::{Context, Result};
use aws_sdk_s3::types::BucketVersioningStatus;
use rig::proxy::{Answer, Fault, GateAt, Matcher};
use rig::world::condition;
use serde_json::{Value, json};

use crate::support::{Scene, check_now, message, reason, replication, request_check};

use super::impatient;

#[tokio::test]
async fn the_operator_waits_for_a_missing_source() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("no-source").empty().await?;
    let (source, destination) = (world.bucket_name(), world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let missing = |status: &Value| reason(status, "Ready") == "SourceBucketNotFound";
    let found = world.wait("orders", missing, "to miss its source").await?;
    let text = message(&found["status"], "Ready");
    assert!(text.contains(&source) && text.contains("create it or correct source.bucket"), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);

    world.create_bucket(&world.account, "us-east-1", &source).await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn nothing_is_written_while_one_of_two_destinations_is_missing() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("no-destination").empty().await?;
    let (source, there) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let missing = world.bucket_name();
    let mut resource = replication("orders", &source, &there);
    let second = json!({"id": "Second", "priority": 2, "destination": {"bucket": missing}});
    resource["spec"]["rules"].as_array_mut().context("rules")?.push(second);
    world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "DestinationBucketNotFound";
    let found = world.wait("orders", refused, "to miss a destination").await?;
    let text = message(&found["status"], "Ready");
    assert!(text.contains(&missing) && text.contains("Nothing is written until it is there"), "{text}");
    // Another check finds the same.
    check_now(&world, "orders").await?;
    assert_eq!(world.proxy.writes().len(), 0);

    world.create_bucket(&world.account, "eu-central-1", &missing).await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn deleted_buckets_are_reported_until_they_exist_again() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        impatient("deleted-later").ready().await?;

    world.s3("eu-west-1").delete_bucket().bucket(&destination).send().await?;
    let gone = check_now(&world, "orders").await?;
    assert_eq!(reason(&gone["status"], "Ready"), "DestinationBucketNotFound");
    assert!(message(&gone["status"], "Ready").contains(&destination));

    // It is created again in another Region, without versioning.
    world.create_bucket(&world.account, "eu-central-1", &destination).await?;
    let back = world.wait_ready("orders").await?;
    assert_eq!(back["status"]["destinations"][0]["region"], "eu-central-1");
    assert_eq!(back["status"]["destinations"][0]["versioning"], "Enabled");

    world.s3("us-east-1").delete_bucket().bucket(&source).send().await?;
    let gone = check_now(&world, "orders").await?;
    assert_eq!(reason(&gone["status"], "Ready"), "SourceBucketNotFound");
    Ok(())
}

#[tokio::test]
async fn a_wrong_region_in_the_spec_is_reported_with_the_right_one() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        impatient("region-in-spec").empty().await?;
    // The emulator answers in every Region; S3 redirects to the bucket's Region.
    let elsewhere = Matcher::operation("GetBucketVersioning").about(&destination);
    world.proxy.inject(Fault::always(elsewhere, Answer::WrongRegion { region: "eu-west-1".to_owned() }));
    let mut resource = replication("orders", &source, &destination);
    resource["spec"]["rules"][0]["destination"]["region"] = json!("eu-north-1");
    world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let found = world.wait("orders", refused, "to be refused").await?;
    let text = message(&found["status"], "Ready");
    let parts =
        [destination.as_str(), "the bucket is in eu-west-1", "the spec says eu-north-1", "correct region"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);

    world.proxy.remove_faults();
    resource["spec"]["rules"][0]["destination"]["region"] = json!("eu-west-1");
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await.map(drop)
}

/// A bucket was deleted and created again in another Region: the Region that the operator remembers is stale.
#[tokio::test]
async fn a_bucket_that_moved_is_found_again() -> Result<()> {
    let Scene { world, operator: _operator, destination, .. } = impatient("moved").ready().await?;

    world.s3("eu-west-1").delete_bucket().bucket(&destination).send().await?;
    world.create_bucket(&world.account, "eu-central-1", &destination).await?;
    let about = Matcher::operation("GetBucketVersioning").about(&destination);
    world.proxy.inject(Fault::times(1, about, Answer::WrongRegion { region: "eu-central-1".to_owned() }));
    let heads = world.proxy.count("HeadBucket");
    // The next check would locate the bucket before the status of this one is seen.
    let locating =
        world.proxy.gate(Matcher::operation("HeadBucket").about(&destination), GateAt::BeforeForward);
    let stale = check_now(&world, "orders").await?;
    assert_eq!(reason(&stale["status"], "Ready"), "AwsUnavailable");
    let text = message(&stale["status"], "Ready");
    assert!(
        text.contains("the bucket is in eu-central-1") && text.contains("locates the bucket again"),
        "{text}"
    );

    locating.release();
    let found = world.wait_ready("orders").await?;
    assert_eq!(found["status"]["destinations"][0]["region"], "eu-central-1");
    assert_eq!(world.proxy.count("HeadBucket"), heads + 1, "it was located once");
    Ok(())
}

#[tokio::test]
async fn a_bucket_of_another_account_is_refused() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("foreign-bucket").empty().await?;
    let other = world.another_account();
    let (source, destination) =
        (world.bucket("us-east-1").await?, world.bucket_of(&other, "eu-west-1").await?);
    // Its owner permits HeadBucket to everyone, so it is found without ExpectedBucketOwner.
    let answer = Answer::Custom {
        status: 200,
        headers: vec![("x-amz-bucket-region".to_owned(), "eu-west-1".to_owned())],
        body: String::new(),
    };
    let second_head = Matcher::operation("HeadBucket").about(&destination).nth(2);
    world.proxy.inject(Fault::always(second_head, answer));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "WrongBucketOwner";
    let found = world.wait("orders", refused, "to be refused").await?;
    let text = message(&found["status"], "Ready");
    let parts = [destination.as_str(), world.account.as_str(), "set destination.account"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);

    // S3 does not distinguish a wrong owner from a denial: the message has both remedies.
    let found = check_now(&world, "orders").await?;
    assert_eq!(reason(&found["status"], "Ready"), "AccessDenied");
    let text = message(&found["status"], "Ready");
    assert!(text.contains("s3:ListBucket") && text.contains("set destination.account"), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);
    Ok(())
}

#[tokio::test]
async fn mfa_delete_keeps_the_operator_from_enabling_versioning() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } = impatient("mfa").empty().await?;
    world.proxy.set_mfa_delete(&destination);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "MfaDeleteEnabled";
    let found = world.wait("orders", refused, "to be refused").await?;
    let status = &found["status"];
    assert_eq!(reason(status, "VersioningReady"), "MfaDeleteEnabled");
    let text = message(status, "Ready");
    assert!(text.contains(&destination) && text.contains("by hand"), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);

    // The owner enables it by hand.
    world.set_versioning("eu-west-1", &destination, BucketVersioningStatus::Enabled).await?;
    request_check(&world, "orders").await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn versioning_that_may_not_be_read_is_unknown_and_so_is_whether_all_is_in_sync() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("unread").empty().await?;
    let (source, destination) =
        (world.bucket("us-east-1").await?, world.versioned_bucket("eu-west-1").await?);
    let about = Matcher::operation("GetBucketVersioning").about(&destination);
    world.proxy.inject(Fault::always(about, Answer::access_denied()));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let status = &world.wait_ready("orders").await?["status"];
    assert_eq!(condition(status, "VersioningReady").context("VersioningReady")?["status"], "Unknown");
    assert_eq!(reason(status, "VersioningReady"), "AccessDenied");
    let text = message(status, "VersioningReady");
    assert!(text.contains("s3:GetBucketVersioning") && text.contains(&destination), "{text}");
    assert_eq!(status["destinations"][0]["versioning"], "Unknown");
    assert_eq!(condition(status, "InSync").context("InSync")?["status"], "Unknown", "it may be suspended");
    assert!(message(status, "InSync").contains(&destination));

    world.proxy.remove_faults();
    let found = check_now(&world, "orders").await?;
    for about in ["VersioningReady", "InSync"] {
        assert_eq!(condition(&found["status"], about).context(about)?["status"], "True");
    }
    Ok(())
}

/// S3 is eventually consistent: not all of S3 sees a recent write.
#[tokio::test]
async fn the_operator_waits_until_s3_sees_the_versioning() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } = impatient("unsettled").empty().await?;
    let text = "Versioning must be 'Enabled' on the bucket to apply a replication configuration";
    let refused = Answer::error(400, "InvalidRequest", text);
    world.proxy.inject(Fault::times(3, Matcher::operation("PutBucketReplication"), refused));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    assert_eq!(world.proxy.count("PutBucketReplication"), 4);
    Ok(())
}
