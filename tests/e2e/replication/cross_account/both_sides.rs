//! One resource sets up both accounts, and objects arrive.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::BucketVersioningStatus;
use rig::Call;
use serde_json::{Value, json};

use crate::operations::cost::{SHARED, check_unrequested};
use crate::support::{
    DESTINATION_REGION, SOURCE_REGION, check_now, message, patch_account, reason, replication,
};

use super::{TwoAccounts, printed, read_account, statements_of_operator};

#[tokio::test]
async fn one_resource_sets_up_both_accounts_and_objects_arrive() -> Result<()> {
    let two = TwoAccounts::new("both-sides").await?;
    assert!(two.policy().await?.is_none());
    two.world.apply(&two.resource().to_string()).await?;
    let ready = two.world.wait_ready("orders").await?;
    let role = ready["status"]["role"]["arn"].as_str().context("no role")?.to_owned();

    let there = two.other_side().s3(DESTINATION_REGION);
    let versioning = there.get_bucket_versioning().bucket(&two.destination).send().await?;
    assert_eq!(versioning.status(), Some(&BucketVersioningStatus::Enabled));
    let policy = two.policy().await?.context("no policy")?;
    let principals: Vec<&Value> =
        statements_of_operator(&policy).iter().map(|s| &s["Principal"]["AWS"]).collect();
    assert_eq!(principals, [&json!(role), &json!(role)]);
    let held = two.world.s3(SOURCE_REGION).get_bucket_replication().bucket(&two.source).send().await?;
    let rule = &held.replication_configuration().context("no configuration")?.rules()[0];
    let to = rule.destination().context("no destination")?;
    assert_eq!(to.account(), Some(two.abroad_id.as_str()), "the configuration names the owner of the bucket");

    let status = &ready["status"];
    assert_eq!(status["source"]["account"], two.world.account.as_str());
    assert_eq!(status["source"]["accountRef"], two.home.as_str());
    assert_eq!(status["destinations"][0]["account"], two.abroad_id.as_str());
    assert_eq!(status["destinations"][0]["accountRef"], two.abroad.as_str());
    assert_eq!(status["bucketPolicies"][0]["bucket"], two.destination.as_str());
    assert!(message(status, "RoleReady").contains(&two.destination), "{}", message(status, "RoleReady"));
    assert_eq!(two.send_object("with-policy").await?, ("COMPLETED".to_owned(), true));
    Ok(())
}

/// Without an `accountRef` the owners of the destination set up their side, with what `policy` prints.
#[tokio::test]
async fn without_the_bucket_policy_objects_fail_and_with_the_printed_one_they_arrive() -> Result<()> {
    let two = TwoAccounts::new("their-side").await?;
    let world = &two.world;
    let there = two.other_side().s3(DESTINATION_REGION);
    let enabled =
        aws_sdk_s3::types::VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = there.put_bucket_versioning().bucket(&two.destination);
    request.versioning_configuration(enabled).send().await?;
    patch_account(world, &two.home, json!({"spec": {"destinationAccounts": [two.abroad_id]}})).await?;

    let mut resource = two.resource();
    let destination = &mut resource["spec"]["rules"][0]["destination"];
    destination["accountRef"] = Value::Null;
    destination["account"] = json!(two.abroad_id);
    destination["region"] = json!(DESTINATION_REGION);
    resource["metadata"]["namespace"] = json!(world.namespace);
    world.apply(&resource.to_string().replace("\"accountRef\":null,", "")).await?;
    let status = &world.wait_ready("orders").await?["status"];
    assert_eq!(reason(status, "VersioningReady"), "AccessDenied", "it may not be read: {status:#}");
    let reported = message(status, "ReplicationReady");
    for part in [&two.abroad_id, &two.destination, "s3-replication-operator policy", "cannot check"] {
        assert!(reported.contains(part), "{reported}");
    }
    assert_eq!(two.send_object("without-policy").await?, ("FAILED".to_owned(), false));
    assert_eq!(world.proxy.count("PutBucketPolicy"), 0);

    let files = [resource.to_string(), read_account(world, &two.home).await?.to_string()].join("\n---\n");
    let policies = printed(world, &files).await?;
    let policy = &policies[format!("bucket policy of destination {}", two.destination)];
    two.put_policy(policy).await?;
    assert_eq!(two.send_object("with-policy").await?, ("COMPLETED".to_owned(), true));
    Ok(())
}

#[tokio::test]
async fn a_check_that_finds_nothing_costs_six_requests_across_accounts() -> Result<()> {
    let two = TwoAccounts::ready("six").await?;
    for account in [&two.home, &two.abroad] {
        let counted = |status: &Value| status["replications"] == 1 && reason(status, "Ready") == "Verified";
        two.world.wait_account(account, counted, "to be verified").await?;
    }
    check_now(&two.world, "orders").await?;
    tokio::time::sleep(SHARED).await;
    // A check that was requested also reads Object Lock again.
    let calls = check_unrequested(&two.world, "orders").await?;
    let mut calls: Vec<String> = calls.iter().map(|c| format!("{} {}", c.operation, c.subject)).collect();
    calls.sort();
    let (source, destination) = (&two.source, &two.destination);
    let mut six = vec![
        format!("GetBucketPolicy {destination}"),
        format!("GetBucketReplication {source}"),
        format!("GetBucketVersioning {destination}"),
        format!("GetBucketVersioning {source}"),
        "GetRole orders-role".to_owned(),
        "GetRolePolicy orders-role".to_owned(),
    ];
    six.sort();
    assert_eq!(calls, six);
    Ok(())
}

/// Each call acts in the account of its bucket and sets `ExpectedBucketOwner`.
#[tokio::test]
async fn each_bucket_is_acted_on_in_its_own_account() -> Result<()> {
    let two = TwoAccounts::ready("acting").await?;
    let calls: Vec<Call> = two.world.proxy.calls();
    for call in calls.iter().filter(|c| c.service == "s3" && c.operation != "HeadBucket") {
        let owner = if call.subject == two.destination { &two.abroad_id } else { &two.world.account };
        assert_eq!(&call.account, owner, "{call}");
        assert_eq!(call.expected_owner.as_ref(), Some(owner), "{call}");
    }
    assert!(calls.iter().filter(|c| c.service == "iam").all(|c| c.account == two.world.account));
    Ok(())
}

#[tokio::test]
async fn replicas_can_belong_to_the_destination_account() -> Result<()> {
    let two = TwoAccounts::new("change-hands").await?;
    let mut resource = two.resource();
    resource["spec"]["rules"][0]["destination"]["ownership"] = json!("Destination");
    two.world.apply(&resource.to_string()).await?;
    let ready = two.world.wait_ready("orders").await?;
    let policy = two.policy().await?.context("no policy")?;
    let action = json!("s3:ObjectOwnerOverrideToBucketOwner");
    let allowed = |s: &&Value| s["Action"].as_array().is_some_and(|actions| actions.contains(&action));
    assert!(statements_of_operator(&policy).iter().any(allowed), "{policy:#}");
    let role = ready["status"]["role"]["arn"].as_str().context("no role")?;
    let name = role.rsplit('/').next().context("no name")?;
    let held = two.world.iam().get_role_policy().role_name(name).policy_name("s3-replication").send().await?;
    assert!(held.policy_document().contains("ObjectOwnerOverrideToBucketOwner"));
    assert_eq!(two.send_object("owned").await?, ("COMPLETED".to_owned(), true));

    // Within one account `ownership` is refused, however the account is named.
    resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(two.home);
    resource["spec"]["rules"][0]["destination"]["bucket"] =
        json!(two.world.bucket(DESTINATION_REGION).await?);
    two.world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let status = &two.world.wait("orders", refused, "to be refused").await?["status"];
    assert!(message(status, "Ready").contains("ownership"), "{}", message(status, "Ready"));
    Ok(())
}

/// Each resource has the bucket of one side as its source; replica modifications are on in both directions.
#[tokio::test]
async fn two_resources_replicate_both_ways_without_drift() -> Result<()> {
    let two = TwoAccounts::new("both-ways").await?;
    let mut there = two.resource();
    there["spec"]["rules"][0]["replicaModifications"] = json!("Enabled");
    let mut back = replication("back", &two.destination, &two.source);
    back["spec"]["source"]["accountRef"] = json!(two.abroad);
    back["spec"]["rules"][0]["destination"]["accountRef"] = json!(two.home);
    back["spec"]["rules"][0]["replicaModifications"] = json!("Enabled");
    two.world.apply(&there.to_string()).await?;
    two.world.apply(&back.to_string()).await?;
    two.world.wait_ready("orders").await?;
    two.world.wait_ready("back").await?;

    two.world.proxy.clear();
    for name in ["orders", "back", "orders", "back"] {
        let status = &check_now(&two.world, name).await?["status"];
        assert_eq!(reason(status, "InSync"), "Applied", "{name}: {status:#}");
    }
    assert_eq!(two.world.proxy.writes().len(), 0, "{:?}", two.world.proxy.writes());
    assert_eq!(two.send_object("there").await?, ("COMPLETED".to_owned(), true));
    let s3 = two.other_side().s3(DESTINATION_REGION);
    let body = ByteStream::from_static(b"order");
    s3.put_object().bucket(&two.destination).key("back").body(body).send().await?;
    assert!(two.world.s3(SOURCE_REGION).head_object().bucket(&two.source).key("back").send().await.is_ok());
    let again = s3.head_object().bucket(&two.destination).key("there").send().await?;
    assert_eq!(again.replication_status().map(|s| s.as_str()), Some("REPLICA"), "a replica does not go back");
    Ok(())
}

#[tokio::test]
async fn the_role_may_read_retention_if_the_source_has_object_lock() -> Result<()> {
    let two = TwoAccounts::new("object-lock").await?;
    let name = two.world.bucket_name();
    let s3 = two.world.s3(SOURCE_REGION);
    s3.create_bucket().bucket(&name).object_lock_enabled_for_bucket(true).send().await?;
    for (resource, source, locked) in [("plain", &two.source, false), ("locked", &name, true)] {
        let mut spec = two.resource();
        spec["metadata"]["name"] = json!(resource);
        spec["spec"]["source"]["bucket"] = json!(source);
        spec["spec"]["role"]["name"] = json!(format!("{resource}-role"));
        two.world.apply(&spec.to_string()).await?;
        two.world.wait_ready(resource).await?;
        let role = format!("{resource}-role");
        let held =
            two.world.iam().get_role_policy().role_name(role).policy_name("s3-replication").send().await?;
        for action in ["GetObjectRetention", "GetObjectLegalHold"] {
            assert_eq!(held.policy_document().contains(action), locked, "{resource}: {action}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_unusable_key_is_reported_before_anything_is_written() -> Result<()> {
    let two = TwoAccounts::new("keys").await?;
    let kms = two.other_side().kms(DESTINATION_REGION);
    let key = kms.create_key().send().await?;
    let key = key.key_metadata().context("no key")?;
    let (id, arn) = (key.key_id().to_owned(), key.arn().context("no ARN")?.to_owned());
    kms.disable_key().key_id(&id).send().await?;
    let mut resource = two.resource();
    resource["spec"]["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
    resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(arn);
    let elsewhere = arn.replace(DESTINATION_REGION, "eu-central-1");
    for (key, says) in [(&arn, "Disabled"), (&elsewhere, "is not in eu-west-1")] {
        resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(key);
        two.world.apply(&resource.to_string()).await?;
        let reported = |status: &Value| message(status, "Ready").contains(says);
        let status = &two.world.wait("orders", reported, "to be refused").await?["status"];
        assert_eq!(reason(status, "Ready"), "InvalidRequest");
        assert!(message(status, "Ready").contains("rules[ReplicateToEU].destination.kmsKeyArn"));
        assert_eq!(two.world.proxy.writes().len(), 0);
    }
    kms.enable_key().key_id(&id).send().await?;
    resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(arn);
    two.world.apply(&resource.to_string()).await?;
    two.world.wait_ready("orders").await?;
    // A requested check reads the key again, once.
    two.world.proxy.clear();
    check_now(&two.world, "orders").await?;
    assert_eq!(two.world.proxy.count("DescribeKey"), 1);
    assert!(two.world.proxy.calls().len() <= 8, "{:?}", two.world.proxy.calls());
    Ok(())
}
