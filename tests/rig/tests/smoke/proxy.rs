//! The proxy: it counts requests, passes them on unchanged, injects faults and holds requests.

use super::*;

#[tokio::test]
async fn requests_are_counted_with_account_region_and_status() -> Result<()> {
    let world = World::new("smoke-count").await?;
    let bucket = world.bucket("eu-west-1").await?;
    assert!(world.proxy.calls().is_empty(), "a test's own calls count");

    let clients = world.through_proxy();
    clients.s3("eu-west-1").get_bucket_versioning().bucket(&bucket).send().await?;
    let missing = clients.iam().get_role().role_name("nobody").send().await;
    assert!(missing.is_err());
    clients.sts().get_caller_identity().send().await?;

    let calls = world.proxy.calls();
    let names: Vec<_> = calls.iter().map(|c| c.operation.as_str()).collect();
    assert_eq!(names, ["GetBucketVersioning", "GetRole", "GetCallerIdentity"]);
    assert_eq!(calls[0].subject, bucket);
    assert_eq!(calls[0].account, world.account);
    assert_eq!(calls[0].region, "eu-west-1");
    assert_eq!(calls[0].status, Some(200));
    assert_eq!(calls[1].subject, "nobody");
    assert_eq!(calls[1].error_code.as_deref(), Some("NoSuchEntity"));
    assert_eq!(world.proxy.count("GetRole"), 1);
    assert_eq!(world.proxy.writes().len(), 0);
    assert_eq!(world.proxy.round_trips(), 3);
    world.proxy.clear();
    assert_eq!(world.proxy.calls().len(), 0);
    Ok(())
}

#[tokio::test]
async fn requests_at_once_are_one_round_trip() -> Result<()> {
    let world = World::new("smoke-trips").await?;
    let bucket = world.bucket(REGION).await?;
    world.proxy.set_latency(Duration::from_secs(2));
    let s3 = world.through_proxy().s3(REGION);
    let (one, two) = tokio::join!(
        s3.get_bucket_versioning().bucket(&bucket).send(),
        s3.head_bucket().bucket(&bucket).send(),
    );
    one?;
    two?;
    s3.get_bucket_location().bucket(&bucket).send().await?;
    assert_eq!(world.proxy.round_trips(), 2);
    Ok(())
}

#[tokio::test]
async fn objects_pass_through_unchanged() -> Result<()> {
    let world = World::new("smoke-object").await?;
    let bucket = world.bucket(REGION).await?;
    let s3 = world.through_proxy().s3(REGION);
    let body = "x".repeat(100_000);
    s3.put_object()
        .bucket(&bucket)
        .key("a/b c")
        .metadata("k", "v")
        .body(body.clone().into_bytes().into())
        .send()
        .await?;
    let back = s3.get_object().bucket(&bucket).key("a/b c").send().await?;
    assert_eq!(back.metadata().unwrap()["k"], "v");
    assert_eq!(back.body.collect().await?.into_bytes(), body.as_bytes());
    let head = s3.head_object().bucket(&bucket).key("a/b c").send().await?;
    assert_eq!(head.content_length(), Some(100_000));
    Ok(())
}

#[tokio::test]
async fn faults_come_as_often_as_asked_and_in_aws_s_form() -> Result<()> {
    let world = World::new("smoke-fault").await?;
    let bucket = world.bucket(REGION).await?;
    let clients = world.through_proxy();
    let s3 = clients.s3(REGION);
    let read = || s3.get_bucket_versioning().bucket(&bucket).send();

    let matching = Matcher::operation("GetBucketVersioning").about(&bucket);
    world.proxy.inject(Fault::times(1, matching.clone(), Answer::access_denied()));
    let (status, code, _) = refusal(read().await);
    assert_eq!((status, code.as_str()), (403, "AccessDenied"));
    read().await?;

    // The SDK retries these automatically.
    world.proxy.clear();
    world.proxy.inject(Fault::times(1, matching.clone(), Answer::slow_down()));
    world.proxy.inject(Fault::times(1, matching.clone(), Answer::Drop));
    read().await?;
    assert_eq!(world.proxy.count("GetBucketVersioning"), 3);

    let denied = Answer::error(403, "AccessDenied", "not authorized to perform: iam:GetRole");
    let id = world.proxy.inject(Fault::always(Matcher::operation("GetRole"), denied));
    let iam = clients.iam();
    let error = iam.get_role().role_name("r").send().await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDenied"));
    assert_eq!(error.message(), Some("not authorized to perform: iam:GetRole"));
    world.proxy.remove(id);
    let error = iam.get_role().role_name("r").send().await.unwrap_err();
    assert_eq!(error.code(), Some("NoSuchEntity"));

    let away = Answer::WrongRegion { region: "eu-west-1".to_owned() };
    world.proxy.inject(Fault::times(1, Matcher::any(), away));
    let error = read().await.unwrap_err();
    let raw = error.raw_response().unwrap();
    assert_eq!(raw.status().as_u16(), 301);
    assert_eq!(raw.headers().get("x-amz-bucket-region"), Some("eu-west-1"));

    world.proxy.inject(Fault::times(1, Matcher::any(), Answer::Hang));
    let before = world.proxy.calls().len();
    let mut hanging = std::pin::pin!(read());
    tokio::select! {
        answer = &mut hanging => panic!("{answer:?}"),
        arrived = world.proxy.wait_for(|calls| calls.len() > before, SOON) => drop(arrived?),
    }
    let waited = tokio::time::timeout(Duration::from_millis(300), hanging).await;
    assert!(waited.is_err(), "{waited:?}");
    let calls = world.proxy.calls();
    assert_eq!(calls.last().unwrap().status, None);

    world.proxy.go_down().await;
    assert!(matches!(read().await, Err(SdkError::DispatchFailure(_))));
    world.proxy.come_up().await?;
    read().await?;
    Ok(())
}

#[tokio::test]
async fn a_write_can_happen_without_its_answer_or_be_held() -> Result<()> {
    let world = World::new("smoke-gate").await?;
    let bucket = world.bucket(REGION).await?;
    let s3 = world.through_proxy().s3(REGION);
    let enabled = || VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let gate = world.proxy.gate(Matcher::nth_write(1), GateAt::BeforeForward);
    let write =
        tokio::spawn(s3.put_bucket_versioning().bucket(&bucket).versioning_configuration(enabled()).send());
    assert_eq!(gate.reached(SOON).await?.operation, "PutBucketVersioning");
    let versioning = || world.s3(REGION).get_bucket_versioning().bucket(&bucket).send();
    assert_eq!(versioning().await?.status(), None);
    gate.release();
    write.await??;
    assert_eq!(versioning().await?.status(), Some(&BucketVersioningStatus::Enabled));

    let clients = world.through_proxy();
    let gate = world.proxy.gate(Matcher::nth_write(1), GateAt::AfterForward);
    let iam = clients.iam();
    let write = tokio::spawn(iam.create_role().role_name("held").assume_role_policy_document("{}").send());
    gate.reached(SOON).await?;
    world.iam().get_role().role_name("held").send().await?;
    write.abort();
    gate.release();

    world.proxy.inject(Fault::times(1, Matcher::writes(), Answer::DropAfter));
    let second = iam.create_role().role_name("cut").assume_role_policy_document("{}").send().await;
    // The SDK retries, and finds that the first attempt has taken effect.
    assert_eq!(second.unwrap_err().code(), Some("EntityAlreadyExists"));
    world.proxy.wait_for(|calls| calls.iter().filter(|c| c.subject == "cut").count() == 2, SOON).await?;
    Ok(())
}
