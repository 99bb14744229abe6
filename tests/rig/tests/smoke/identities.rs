//! Signatures, policies and sessions, on an emulator that enforces them.

use super::*;

#[tokio::test]
async fn under_auth_signatures_stay_valid_and_policies_decide() -> Result<()> {
    let world = World::with_auth("smoke-auth").await?;
    let bucket = world.versioned_bucket(REGION).await?;
    // The emulator accepts a root key as it is, and verifies the signature of a user.
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*",
        "Action": ["s3:GetBucketVersioning", "s3:PutObject", "s3:PutReplicationConfiguration",
                   "iam:ListRoles", "iam:PassRole"]}]}"#;
    let (key, secret) = world.user("limited", policy).await?;
    let good = rig::Clients::with_credentials(&world.proxy.url(), &key, &secret);
    let s3 = good.s3(REGION);
    s3.get_bucket_versioning().bucket(&bucket).expected_bucket_owner(&world.account).send().await?;
    let body = b"v".to_vec().into();
    s3.put_object().bucket(&bucket).key("k").body(body).send().await?;
    good.iam().list_roles().send().await?;

    let denied = s3.get_bucket_replication().bucket(&bucket).send().await;
    assert_eq!(refusal(denied).1, "AccessDenied");
    let put = s3
        .put_bucket_replication()
        .bucket(&bucket)
        .replication_configuration(configuration("no-such-bucket-anywhere"))
        .send()
        .await;
    assert_eq!(refusal(put).2, "Destination bucket must exist.");

    let bad = rig::Clients::with_credentials(&world.proxy.url(), &key, "wrong");
    let denied = bad.s3(REGION).get_bucket_versioning().bucket(&bucket).send().await;
    assert_eq!(refusal(denied).1, "SignatureDoesNotMatch");
    Ok(())
}

#[tokio::test]
async fn a_session_acts_in_the_role_s_account_and_is_recorded_so() -> Result<()> {
    let world = World::new("smoke-session").await?;
    let other = world.another_account();
    let bucket = world.bucket_of(&other, REGION).await?;
    let policy = allow(&["s3:*"], "*");
    let role = world.assumable_role(&other, "operator", &world.account, Some("secret-1"), &policy).await?;

    let session = world.through_proxy().assume(&role, "data.orders", Some("secret-1")).await?;
    let who = session.sts().get_caller_identity().send().await?;
    let arn = format!("arn:aws:sts::{other}:assumed-role/operator/data.orders");
    assert_eq!((who.account(), who.arn()), (Some(other.as_str()), Some(arn.as_str())));
    let s3 = session.s3(REGION);
    s3.get_bucket_versioning().bucket(&bucket).expected_bucket_owner(&other).send().await?;
    let owner = &world.account;
    let refused = s3.get_bucket_versioning().bucket(&bucket).expected_bucket_owner(owner).send().await;
    assert_eq!(refusal(refused).1, "AccessDenied");

    let calls = world.proxy.calls();
    let [assumed, asked, ..] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((assumed.operation.as_str(), &assumed.subject), ("AssumeRole", &role));
    assert_eq!((&assumed.account, &assumed.access_key), (&world.account, &world.account));
    assert!(!assumed.is_write());
    for (name, value) in
        [("RoleArn", role.as_str()), ("RoleSessionName", "data.orders"), ("ExternalId", "secret-1")]
    {
        assert_eq!(assumed.parameter(name).as_deref(), Some(value));
    }
    assert_eq!(asked.account, other);
    assert!(asked.access_key.starts_with("ASIA"), "{}", asked.access_key);
    assert!(calls[1..].iter().all(|call| call.account == other));
    Ok(())
}

#[tokio::test]
async fn a_session_that_aws_would_not_give_is_refused() -> Result<()> {
    let world = World::new("smoke-no-session").await?;
    let other = world.another_account();
    world.assumable_role(&other, "operator", &world.account, None, &allow(&["s3:*"], "*")).await?;
    let sts = world.through_proxy().sts();
    let assume = |name: &str, session: &str| {
        let role = format!("arn:aws:iam::{other}:role/{name}");
        sts.assume_role().role_arn(role).role_session_name(session)
    };
    assume("operator", "data.orders").send().await?;

    let missing = assume("nobody", "data.orders").send().await.unwrap_err();
    assert_eq!(missing.code(), Some("AccessDenied"));
    let words = format!(
        "User: arn:aws:iam::{}:root is not authorized to perform: sts:AssumeRole on resource: \
         arn:aws:iam::{other}:role/nobody",
        world.account
    );
    assert_eq!(missing.message(), Some(words.as_str()));
    let elsewhere = assume("path/operator", "data.orders").send().await.unwrap_err();
    assert_eq!(elsewhere.code(), Some("AccessDenied"));

    let long = assume("operator", &"x".repeat(65)).send().await.unwrap_err();
    assert_eq!(long.code(), Some("ValidationError"));
    assert!(long.message().unwrap().contains("at 'roleSessionName'"));
    Ok(())
}

#[tokio::test]
async fn under_auth_trust_and_policy_of_the_role_decide_in_its_account() -> Result<()> {
    let world = World::with_auth("smoke-trust").await?;
    let other = world.another_account();
    let bucket = world.versioned_bucket_of(&other, REGION).await?;
    let mine = world.bucket(REGION).await?;
    let policy = allow(&["s3:GetBucketVersioning"], &format!("arn:aws:s3:::{}-*", world.namespace));
    let role = world.assumable_role(&other, "operator", &world.account, Some("secret-1"), &policy).await?;
    let operator = world.through_proxy();
    for wrong in [None, Some("secret-2")] {
        let error = operator.assume(&role, "data.orders", wrong).await.unwrap_err();
        assert!(format!("{error:?}").contains("not authorized to perform: sts:AssumeRole"), "{error:?}");
    }
    let stranger = rig::Clients::new(&world.proxy.url(), &world.another_account());
    assert!(stranger.assume(&role, "data.orders", Some("secret-1")).await.is_err());

    let session = operator.assume(&role, "data.orders", Some("secret-1")).await?;
    let s3 = session.s3(REGION);
    let versioning = s3.get_bucket_versioning().bucket(&bucket).expected_bucket_owner(&other).send().await?;
    assert_eq!(versioning.status(), Some(&BucketVersioningStatus::Enabled));
    let denied = s3.get_bucket_policy().bucket(&bucket).send().await;
    assert!(refusal(denied).2.contains("assumed-role/operator/data.orders is not authorized"));
    let foreign = s3.get_bucket_versioning().bucket(&mine).send().await;
    assert_eq!(refusal(foreign).1, "AccessDenied");
    assert_eq!(world.proxy.calls().last().unwrap().account, other);
    Ok(())
}
