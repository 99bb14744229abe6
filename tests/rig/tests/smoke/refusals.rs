//! Requests that AWS refuses and the emulator accepts: the proxy refuses them.

use super::*;

#[tokio::test]
async fn requests_that_aws_refuses_are_refused() -> Result<()> {
    let world = World::new("smoke-refuse").await?;
    let source = world.versioned_bucket(REGION).await?;
    let s3 = world.through_proxy().s3(REGION);
    let put = |destination: &str| {
        s3.put_bucket_replication()
            .bucket(&source)
            .replication_configuration(configuration(destination))
            .send()
    };
    let refused = |message: &str| (400, "InvalidRequest".to_owned(), message.to_owned());
    assert_eq!(refusal(put("no-such-bucket-anywhere").await), refused("Destination bucket must exist."));
    assert_eq!(
        refusal(put(&source).await),
        refused("Destination bucket cannot be the same as the source bucket.")
    );

    // In another Region, and in another account: both exist.
    let other = world.another_account();
    let foreign = world.bucket_of(&other, "eu-west-1").await?;
    assert_eq!(refusal(put(&foreign).await), refused("Destination bucket must have versioning enabled."));
    let destination = world.bucket("eu-west-1").await?;
    world.set_versioning("eu-west-1", &destination, BucketVersioningStatus::Enabled).await?;
    put(&destination).await?;

    let suspend = |s3: &aws_sdk_s3::Client| {
        let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
        s3.put_bucket_versioning().bucket(&source).versioning_configuration(suspended)
    };
    let (status, code, _) = refusal(suspend(&s3).send().await);
    assert_eq!((status, code.as_str()), (409, "InvalidBucketState"));

    let expecting =
        |owner: &str| s3.get_bucket_versioning().bucket(&source).expected_bucket_owner(owner).send();
    expecting(&world.account).await?;
    let (status, code, _) = refusal(expecting(&other).await);
    assert_eq!((status, code.as_str()), (403, "AccessDenied"));

    world.proxy.set_mfa_delete(&source);
    let versioning = expecting(&world.account).await?;
    assert_eq!(versioning.mfa_delete().unwrap().as_str(), "Enabled");
    assert_eq!(versioning.status(), Some(&BucketVersioningStatus::Enabled));
    assert_eq!(refusal(suspend(&s3).send().await).0, 403);
    Ok(())
}

#[tokio::test]
async fn a_permissions_boundary_that_does_not_exist_is_refused() -> Result<()> {
    let world = World::new("smoke-boundary").await?;
    let iam = world.iam();
    let missing = format!("arn:aws:iam::{}:policy/missing", world.account);
    let create = |name: &str, boundary: &str| {
        let role = iam
            .create_role()
            .role_name(name)
            .assume_role_policy_document(trust("s3.amazonaws.com").to_string());
        role.permissions_boundary(boundary).send()
    };
    let words = format!("Scope ARN: {missing} does not exist or is not attachable.");
    let expected = (404, "NoSuchEntity".to_owned(), words);
    assert_eq!(refusal(create("one", &missing).await), expected);
    assert!(iam.get_role().role_name("one").send().await.is_err(), "it was created");

    create("two", "arn:aws:iam::aws:policy/AmazonS3FullAccess").await?;
    let put = iam.put_role_permissions_boundary().role_name("two").permissions_boundary(&missing);
    assert_eq!(refusal(put.send().await), expected);
    Ok(())
}

#[tokio::test]
async fn a_bucket_policy_that_s3_refuses_is_refused() -> Result<()> {
    let world = World::new("smoke-policy").await?;
    let other = world.another_account();
    let bucket = world.bucket_of(&other, REGION).await?;
    let role = world.assumable_role(&world.account, "there", &other, None, &allow(&["s3:*"], "*")).await?;
    let s3 = rig::Clients::new(&world.proxy.url(), &other).s3(REGION);
    let put = |policy: String| {
        s3.put_bucket_policy().bucket(&bucket).policy(policy).expected_bucket_owner(&other).send()
    };
    let for_role = |role: &str| {
        let resource = format!("arn:aws:s3:::{bucket}/*");
        let statement = json!({"Sid": "S3ReplicationObjects", "Effect": "Allow", "Principal": {"AWS": role},
            "Action": ["s3:ReplicateObject"], "Resource": resource});
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    };
    let malformed = |words: &str| (400, "MalformedPolicy".to_owned(), words.to_owned());

    let invalid = malformed("Invalid principal in policy");
    let gone = format!("arn:aws:iam::{}:role/gone", world.account);
    assert_eq!(refusal(put(for_role(&gone)).await), invalid);
    let elsewhere = format!("arn:aws:iam::{}:role/path/there", world.account);
    assert_eq!(refusal(put(for_role(&elsewhere)).await), invalid);
    let nothing = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    let words = "Could not parse the policy: Statement is empty!";
    assert_eq!(refusal(put(nothing).await), malformed(words));

    put(for_role(&role)).await?;
    // The emulator knows nothing about an account in which nothing was ever created.
    let unknown = format!("arn:aws:iam::{}:role/gone", world.another_account());
    put(for_role(&unknown)).await?;
    let held = s3.get_bucket_policy().bucket(&bucket).expected_bucket_owner(&other).send().await?;
    assert_eq!(held.policy(), Some(for_role(&unknown).as_str()));

    let mine = &world.account;
    let read = s3.get_bucket_policy().bucket(&bucket).expected_bucket_owner(mine).send().await;
    assert_eq!(refusal(read).1, "AccessDenied");
    let request = s3.put_bucket_policy().bucket(&bucket).policy(for_role(&role)).expected_bucket_owner(mine);
    assert_eq!(refusal(request.send().await).1, "AccessDenied");
    let delete = s3.delete_bucket_policy().bucket(&bucket).expected_bucket_owner(mine).send().await;
    assert_eq!(refusal(delete).1, "AccessDenied");
    let held = s3.get_bucket_policy().bucket(&bucket).send().await?;
    assert_eq!(held.policy(), Some(for_role(&unknown).as_str()), "a refused write changed it");
    s3.delete_bucket_policy().bucket(&bucket).expected_bucket_owner(&other).send().await?;
    let none = s3.get_bucket_policy().bucket(&bucket).send().await;
    assert_eq!(refusal(none).1, "NoSuchBucketPolicy");
    Ok(())
}
