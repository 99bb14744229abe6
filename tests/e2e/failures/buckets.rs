//! Buckets that are missing, elsewhere, of another account, or cannot be versioned.

use anyhow::{Context, Result};
use aws_sdk_s3::types::BucketVersioningStatus;
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::condition;
use serde_json::{Value, json};

use crate::support::{Scene, check_now, message, reason, replication, request_check};

use super::impatient;

#[tokio::test]
async fn a_missing_source_is_waited_for() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("no-source").empty().await?;
    let (source, destination) = (world.bucket_name(), world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let missing = |status: &Value| reason(status, "Ready") == "SourceBucketNotFound";
    let found = world.wait("orders", missing, "to miss its source").await?;
    let said = message(&found["status"], "Ready");
    assert!(said.contains(&source) && said.contains("create it or correct source.bucket"), "{said}");
    assert_eq!(world.proxy.writes().len(), 0);

    world.create_bucket(&world.account, "us-east-1", &source).await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn while_one_destination_of_two_is_missing_nothing_is_written() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("no-destination").empty().await?;
    let (source, there) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let missing = world.bucket_name();
    let mut resource = replication("orders", &source, &there);
    let second = json!({"id": "Second", "priority": 2, "destination": {"bucket": missing}});
    resource["spec"]["rules"].as_array_mut().context("rules")?.push(second);
    world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "DestinationBucketNotFound";
    let found = world.wait("orders", refused, "to miss a destination").await?;
    let said = message(&found["status"], "Ready");
    assert!(said.contains(&missing) && said.contains("Nothing is written until it is there"), "{said}");
    // Another try changes nothing about that.
    check_now(&world, "orders").await?;
    assert_eq!(world.proxy.writes().len(), 0);

    world.create_bucket(&world.account, "eu-central-1", &missing).await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn buckets_deleted_later_are_noticed_and_awaited() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        impatient("deleted-later").ready().await?;

    world.s3("eu-west-1").delete_bucket().bucket(&destination).send().await?;
    let gone = check_now(&world, "orders").await?;
    assert_eq!(reason(&gone["status"], "Ready"), "DestinationBucketNotFound");
    assert!(message(&gone["status"], "Ready").contains(&destination));

    // Made again, elsewhere and not versioned.
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
async fn a_wrong_region_in_the_spec_is_told_with_the_right_one() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        impatient("region-in-spec").empty().await?;
    // The emulator answers for a bucket anywhere; S3 sends one to its Region.
    let elsewhere = Matcher::operation("GetBucketVersioning").about(&destination);
    world.proxy.inject(Fault::always(elsewhere, Answer::WrongRegion { region: "eu-west-1".to_owned() }));
    let mut resource = replication("orders", &source, &destination);
    resource["spec"]["rules"][0]["destination"]["region"] = json!("eu-north-1");
    world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let found = world.wait("orders", refused, "to be refused").await?;
    let said = message(&found["status"], "Ready");
    let parts =
        [destination.as_str(), "the bucket is in eu-west-1", "the spec says eu-north-1", "correct region"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    assert_eq!(world.proxy.writes().len(), 0);

    world.proxy.remove_faults();
    resource["spec"]["rules"][0]["destination"]["region"] = json!("eu-west-1");
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await.map(drop)
}

/// A bucket was deleted and made again in another Region: what the operator remembers is stale.
#[tokio::test]
async fn a_bucket_that_moved_is_found_again() -> Result<()> {
    let Scene { world, operator: _operator, destination, .. } = impatient("moved").ready().await?;

    world.s3("eu-west-1").delete_bucket().bucket(&destination).send().await?;
    world.create_bucket(&world.account, "eu-central-1", &destination).await?;
    let about = Matcher::operation("GetBucketVersioning").about(&destination);
    world.proxy.inject(Fault::times(1, about, Answer::WrongRegion { region: "eu-central-1".to_owned() }));
    let heads = world.proxy.count("HeadBucket");
    let stale = check_now(&world, "orders").await?;
    assert_eq!(reason(&stale["status"], "Ready"), "AwsUnavailable");
    let said = message(&stale["status"], "Ready");
    assert!(said.contains("the bucket is in eu-central-1") && said.contains("looked up again"), "{said}");

    let found = world.wait_ready("orders").await?;
    assert_eq!(found["status"]["destinations"][0]["region"], "eu-central-1");
    assert_eq!(world.proxy.count("HeadBucket"), heads + 1, "it was looked up once");
    Ok(())
}

#[tokio::test]
async fn a_bucket_of_another_account_is_refused() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("foreign-bucket").empty().await?;
    let other = world.another_account();
    let (source, destination) =
        (world.bucket("us-east-1").await?, world.bucket_of(&other, "eu-west-1").await?);
    // Its owner lets everybody look, so that it is found when no owner is expected of it.
    let answer = Answer::Custom {
        status: 200,
        headers: vec![("x-amz-bucket-region".to_owned(), "eu-west-1".to_owned())],
        body: String::new(),
    };
    let second_look = Matcher::operation("HeadBucket").about(&destination).nth(2);
    world.proxy.inject(Fault::always(second_look, answer));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "WrongBucketOwner";
    let found = world.wait("orders", refused, "to be refused").await?;
    let said = message(&found["status"], "Ready");
    let parts = [destination.as_str(), world.account.as_str(), "set destination.account"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    assert_eq!(world.proxy.writes().len(), 0);

    // To S3 a bucket that may not be looked at is the same, whoever owns it: the message has both remedies.
    let found = check_now(&world, "orders").await?;
    assert_eq!(reason(&found["status"], "Ready"), "AccessDenied");
    let said = message(&found["status"], "Ready");
    assert!(said.contains("s3:ListBucket") && said.contains("set destination.account"), "{said}");
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
    let said = message(status, "Ready");
    assert!(said.contains(&destination) && said.contains("by hand"), "{said}");
    assert_eq!(world.proxy.writes().len(), 0);

    // The owner enables it by hand.
    world.set_versioning("eu-west-1", &destination, BucketVersioningStatus::Enabled).await?;
    request_check(&world, "orders").await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn versioning_that_may_not_be_read_leaves_one_condition_unknown() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("unread").empty().await?;
    let (source, destination) =
        (world.bucket("us-east-1").await?, world.versioned_bucket("eu-west-1").await?);
    let about = Matcher::operation("GetBucketVersioning").about(&destination);
    world.proxy.inject(Fault::always(about, Answer::access_denied()));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let status = &world.wait_ready("orders").await?["status"];
    assert_eq!(condition(status, "VersioningReady").context("VersioningReady")?["status"], "Unknown");
    assert_eq!(reason(status, "VersioningReady"), "AccessDenied");
    let said = message(status, "VersioningReady");
    assert!(said.contains("s3:GetBucketVersioning") && said.contains(&destination), "{said}");
    assert_eq!(status["destinations"][0]["versioning"], "Unknown");

    world.proxy.remove_faults();
    let found = check_now(&world, "orders").await?;
    assert_eq!(condition(&found["status"], "VersioningReady").context("VersioningReady")?["status"], "True");
    Ok(())
}

/// What was written a moment ago is not seen by all of S3 at once.
#[tokio::test]
async fn versioning_that_s3_does_not_see_yet_is_waited_for() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } = impatient("unsettled").empty().await?;
    let words = "Versioning must be 'Enabled' on the bucket to apply a replication configuration";
    let refused = Answer::error(400, "InvalidRequest", words);
    world.proxy.inject(Fault::times(3, Matcher::operation("PutBucketReplication"), refused));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    assert_eq!(world.proxy.count("PutBucketReplication"), 4);
    Ok(())
}
