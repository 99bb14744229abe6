//! The rig itself: it starts, counts, rejects what AWS rejects, injects faults, and leaves nothing behind.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus,
    ReplicationStatus, VersioningConfiguration,
};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use rig::process::Spec;
use rig::{Answer, Fault, GateAt, Matcher, Rig, World};
use serde_json::{Value, json};

const REGION: &str = "us-east-1";
const SOON: Duration = Duration::from_secs(10);

fn configuration(destination: &str) -> ReplicationConfiguration {
    configuration_of("arn:aws:iam::111122223333:role/r", destination)
}

fn configuration_of(role: &str, destination: &str) -> ReplicationConfiguration {
    let rule = ReplicationRule::builder()
        .id("one")
        .priority(1)
        .status(ReplicationRuleStatus::Enabled)
        .filter(ReplicationRuleFilter::builder().prefix("").build())
        .delete_marker_replication(
            DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Disabled).build(),
        )
        .destination(Destination::builder().bucket(format!("arn:aws:s3:::{destination}")).build().unwrap())
        .build()
        .unwrap();
    ReplicationConfiguration::builder().role(role).rules(rule).build().unwrap()
}

fn refusal<T: std::fmt::Debug, E>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> (u16, String, String)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    let code = error.code().unwrap_or_default().to_owned();
    let message = error.message().unwrap_or_default().to_owned();
    (status, code, message)
}

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
    world.proxy.set_latency(Duration::from_millis(150));
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
    let waited = tokio::time::timeout(Duration::from_millis(300), read()).await;
    assert!(waited.is_err());
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

/// A policy with one statement that allows.
fn allow(actions: &[&str], resource: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]})
        .to_string()
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

/// A source, and the role that replicates it into a destination.
struct Replicating {
    world: World,
    source: String,
    destination: String,
    owner: String,
    role: String,
}

impl Replicating {
    /// Into a bucket of this account or of another. Only the destination's policy is missing.
    async fn new(name: &str, across: bool) -> Result<Self> {
        let world = World::new(name).await?;
        let owner = if across { world.another_account() } else { world.account.clone() };
        let source = world.versioned_bucket(REGION).await?;
        let destination = world.versioned_bucket_of(&owner, "eu-west-1").await?;
        let document = trust("s3.amazonaws.com").to_string();
        world
            .iam()
            .create_role()
            .role_name("r")
            .path("/p/")
            .assume_role_policy_document(document)
            .send()
            .await?;
        let role = format!("arn:aws:iam::{}:role/p/r", world.account);
        let this = Self { world, source, destination, owner, role };
        this.allow_role(&this.permissions()).await?;
        let s3 = this.world.through_proxy().s3(REGION);
        s3.put_bucket_replication()
            .bucket(&this.source)
            .replication_configuration(configuration_of(&this.role, &this.destination))
            .send()
            .await?;
        Ok(this)
    }

    /// The permissions that the role needs: an action on the objects of each side.
    fn permissions(&self) -> Vec<(&'static str, String)> {
        vec![
            ("s3:GetObjectVersionForReplication", format!("arn:aws:s3:::{}/*", self.source)),
            ("s3:ReplicateObject", format!("arn:aws:s3:::{}/*", self.destination)),
        ]
    }

    async fn allow_role(&self, permissions: &[(&str, String)]) -> Result<()> {
        let allow = |(action, resource): &(&str, String)| json!({"Effect": "Allow", "Action": action, "Resource": resource});
        self.set_role_policy(permissions.iter().map(allow).collect()).await
    }

    async fn set_role_policy(&self, statements: Vec<Value>) -> Result<()> {
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let put = self.world.iam().put_role_policy().role_name("r").policy_name("p").policy_document(policy);
        put.send().await?;
        Ok(())
    }

    /// Writes a policy of the destination that allows a role to replicate into it.
    async fn allow_in_destination(&self, role: &str) -> Result<()> {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": role},
            "Action": ["s3:ReplicateObject"], "Resource": format!("arn:aws:s3:::{}/*", self.destination)});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        self.there().put_bucket_policy().bucket(&self.destination).policy(policy).send().await?;
        Ok(())
    }

    fn there(&self) -> aws_sdk_s3::Client {
        rig::Clients::new(&self.world.proxy.url(), &self.owner).s3("eu-west-1")
    }

    /// Writes an object, and returns its replication status in the source and in the destination.
    async fn write(&self, key: &str) -> Result<(Option<ReplicationStatus>, Option<ReplicationStatus>)> {
        let s3 = self.world.through_proxy().s3(REGION);
        s3.put_object().bucket(&self.source).key(key).body(b"v".to_vec().into()).send().await?;
        let status = s3.head_object().bucket(&self.source).key(key).send().await?.replication_status;
        let arrived = self.there().head_object().bucket(&self.destination).key(key).send().await;
        Ok((status, arrived.ok().and_then(|replica| replica.replication_status)))
    }
}

const ARRIVED: (Option<ReplicationStatus>, Option<ReplicationStatus>) =
    (Some(ReplicationStatus::Completed), Some(ReplicationStatus::Replica));
const FAILED: (Option<ReplicationStatus>, Option<ReplicationStatus>) =
    (Some(ReplicationStatus::Failed), None);

fn trust(service: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})
}

#[tokio::test]
async fn an_object_replicates_into_another_account_only_if_the_bucket_s_policy_allows_the_role() -> Result<()>
{
    let across = Replicating::new("smoke-across", true).await?;
    assert_eq!(across.write("without-policy").await?, FAILED);
    let (world, mine) = (&across.world, &across.world.account);
    let another = world.assumable_role(mine, "another", mine, None, &allow(&["s3:*"], "*")).await?;
    across.allow_in_destination(&another).await?;
    assert_eq!(across.write("for-another-role").await?, FAILED);
    across.allow_in_destination(&across.role).await?;
    assert_eq!(across.write("for-this-role").await?, ARRIVED);
    across.there().delete_bucket_policy().bucket(&across.destination).send().await?;
    assert_eq!(across.write("policy-removed").await?, FAILED);
    Ok(())
}

#[tokio::test]
async fn an_object_replicates_only_if_s3_may_assume_the_role_and_the_role_may_replicate() -> Result<()> {
    let within = Replicating::new("smoke-role", false).await?;
    assert_eq!(within.write("all-there").await?, ARRIVED);
    let needed = within.permissions();
    for missing in 0..needed.len() {
        let mut rest = needed.clone();
        let (action, resource) = rest.remove(missing);
        within.allow_role(&rest).await?;
        assert_eq!(within.write(action).await?, FAILED, "without {action}");
        rest.push((action, resource.replace("/*", "/elsewhere/*")));
        within.allow_role(&rest).await?;
        assert_eq!(within.write("not-elsewhere").await?, FAILED, "{action} elsewhere");
    }
    within.allow_role(&needed).await?;
    assert_eq!(within.write("allowed-again").await?, ARRIVED);

    let iam = within.world.iam();
    let set_trust = async |document: Value| {
        let update = iam.update_assume_role_policy().role_name("r").policy_document(document.to_string());
        update.send().await
    };
    set_trust(trust("lambda.amazonaws.com")).await?;
    assert_eq!(within.write("trusts-another").await?, FAILED);
    let mut conditional = trust("s3.amazonaws.com");
    conditional["Statement"][0]["Condition"] =
        json!({"StringEquals": {"aws:SourceAccount": within.world.account}});
    set_trust(conditional.clone()).await?;
    assert_eq!(within.write("for-this-account").await?, ARRIVED);
    conditional["Statement"][0]["Condition"] = json!({"StringEquals": {"aws:SourceAccount": "999999999999"}});
    set_trust(conditional).await?;
    assert_eq!(within.write("for-another-account").await?, FAILED);
    set_trust(trust("s3.amazonaws.com")).await?;
    assert_eq!(within.write("trusts-again").await?, ARRIVED);

    iam.delete_role_policy().role_name("r").policy_name("p").send().await?;
    iam.delete_role().role_name("r").send().await?;
    assert_eq!(within.write("role-deleted").await?, FAILED);
    Ok(())
}

#[tokio::test]
async fn the_resource_account_of_a_bucket_is_its_owner() -> Result<()> {
    let across = Replicating::new("smoke-owner", true).await?;
    across.allow_in_destination(&across.role).await?;
    for (key, id) in [("aws:ResourceAccount", "aws"), ("s3:ResourceAccount", "s3")] {
        for (owner, expected) in [(&across.owner, ARRIVED), (&across.world.account, FAILED)] {
            let mut statements = Vec::new();
            for (action, resource) in across.permissions() {
                statements.push(json!({"Effect": "Allow", "Action": action, "Resource": resource}));
            }
            statements[1]["Condition"] = json!({"StringEqualsIfExists": {key: owner}});
            across.set_role_policy(statements).await?;
            assert_eq!(across.write(&format!("{id}-{owner}")).await?, expected, "{key} {owner}");
        }
    }
    Ok(())
}

/// The condition holds for requests as it holds for replicas: a caller whose policy asks for the owner of the bucket
/// may read it, and one whose policy asks for another account may not.
#[tokio::test]
async fn under_auth_the_resource_account_of_a_bucket_decides() -> Result<()> {
    let world = World::with_auth("smoke-auth-owner").await?;
    let owner = world.another_account();
    let theirs = world.bucket_of(&owner, REGION).await?;
    let everybody = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{}:root", world.account)},
        "Action": "s3:GetBucketVersioning", "Resource": format!("arn:aws:s3:::{theirs}")}]});
    let there = world.as_account(&owner).s3(REGION);
    there.put_bucket_policy().bucket(&theirs).policy(everybody.to_string()).send().await?;
    for (name, account, allowed) in [("right", &owner, true), ("wrong", &world.account, false)] {
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Action": "s3:GetBucketVersioning", "Resource": "*",
            "Condition": {"StringEquals": {"s3:ResourceAccount": account}}}]});
        let (id, secret) = world.user(name, &policy.to_string()).await?;
        let s3 = rig::Clients::with_credentials(&world.proxy.url(), &id, &secret).s3(REGION);
        let read = s3.get_bucket_versioning().bucket(&theirs).send().await;
        assert_eq!(read.is_ok(), allowed, "{name}: {read:?}");
    }
    Ok(())
}

#[tokio::test]
async fn more_namespaces_are_made_and_watched() -> Result<()> {
    let world = World::new("smoke-namespaces").await?;
    let other = world.namespace(&[("team", "data")]).await?;
    let label = world.cluster().kubectl(["get", "ns", &other, "-o", "jsonpath={.metadata.labels.team}"])?;
    assert_eq!(String::from_utf8_lossy(&label.stdout), "data");
    world
        .apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {other}}}\ndata: {{k: v}}\n"
        ))
        .await?;
    let kind = GroupVersionKind::gvk("", "v1", "ConfigMap");
    let api = Api::namespaced_with(world.kube.clone(), &other, &ApiResource::from_gvk(&kind));
    let found = world.wait_on(&api, "a", |o| o.is_some_and(|o| o["data"]["k"] == "v"), "to hold v").await?;
    assert_eq!(found.unwrap()["metadata"]["namespace"], other.as_str());

    let operator =
        world.operator().binary("/bin/echo").namespaces([&world.namespace, &other]).start().await?;
    assert_eq!(operator.wait(SOON).await?, 0);
    let expected = format!("--namespaces {},{other}\n", world.namespace);
    assert!(operator.log().ends_with(&expected), "{}", operator.log());
    Ok(())
}

#[tokio::test]
async fn an_account_is_applied_stored_read_and_waited_for() -> Result<()> {
    let world = World::new("smoke-account").await?;
    let name = world.unique("smoke-account");
    let manifest = json!({"apiVersion": "s3replication.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": name}, "spec": {"accountId": world.account}});
    world.apply(&manifest.to_string()).await?;
    let mut account = world.account(&name).await?;
    assert_eq!(account["spec"]["accountId"], world.account.as_str());

    let counted = world.wait_account(&name, |status| status["replications"] == 2, "to be referred to");
    let count = async {
        for replications in [1, 2] {
            let patch = Patch::Merge(json!({"status": {"replications": replications}}));
            world.accounts().patch_status(&name, &PatchParams::default(), &patch).await?;
        }
        anyhow::Ok(())
    };
    let (counted, written) = tokio::join!(counted, count);
    written?;
    assert_eq!(counted?["metadata"]["name"], name.as_str());

    // Admission rejects this change, because the field is immutable.
    account["spec"]["accountId"] = json!("999999999999");
    world.cluster().store("awsaccounts", &account).await?;
    let changed = |object: Option<&Value>| object.is_some_and(|o| o["spec"]["accountId"] == "999999999999");
    world.wait_on(&world.accounts(), &name, changed, "to be what the store holds").await?;
    Ok(())
}

#[tokio::test]
async fn a_world_alone_shares_no_object_with_others() -> Result<()> {
    let (alone, world) = (World::alone("smoke-alone").await?, World::new("smoke-shared").await?);
    assert!(alone.cluster().kubectl(["get", "ns", &alone.namespace])?.status.success());
    assert!(!alone.cluster().kubectl(["get", "ns", &world.namespace])?.status.success());
    assert!(alone.cluster().kubectl(["get", "br", "--all-namespaces"])?.status.success());
    let cluster = alone.cluster();
    drop(alone);
    for _ in 0..100 {
        if !cluster.kubectl(["get", "ns"])?.status.success() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("its cluster has not ended with it");
}

#[tokio::test]
async fn kubernetes_requests_are_counted_by_user_and_namespace() -> Result<()> {
    let world = World::with_insight("smoke-kube").await?;
    world
        .apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n")
        .await?;
    let refused = world.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nnonsense: 1\n").await;
    assert!(format!("{:#}", refused.unwrap_err()).contains("nonsense"));
    let requests = world.cluster().requests("admin", Some(&world.namespace))?;
    let writes = requests.iter().filter(|r| r.is_write() && r.code < 300);
    assert_eq!(writes.filter(|r| r.resource != "namespaces").count(), 2);
    assert!(world.kube_requests()?.is_empty());
    let output = world.cluster().kubectl(["get", "cm", "a", "-n", &world.namespace])?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

/// A stand-in that ends on SIGTERM as the operator does.
const STAND_IN: &str = r#"#!/bin/sh
echo "$@" "$KUBECONFIG" "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "$AWS_PROFILE"
trap 'echo stopping; exit 0' TERM
[ "$1" = run ] || { cat; exit 2; }
while :; do sleep 0.05; done
"#;

#[tokio::test]
async fn the_operator_is_started_asked_to_end_and_killed() -> Result<()> {
    let world = World::new("smoke-operator").await?;
    let dir = rig::paths::scratch_dir("stand-in")?;
    let binary = dir.join("operator");
    std::fs::write(&binary, STAND_IN)?;
    std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;

    let operator = world.operator().binary(&binary).arg("--extra").start().await?;
    while operator.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = operator.log();
    let expected = format!("run --http-address 127.0.0.1:0 --namespaces {} --extra", world.namespace);
    assert!(log.starts_with(&expected), "{log}");
    assert!(log.contains(&world.proxy.url()) && log.contains(&world.account), "{log}");
    assert_eq!(operator.terminate().await?, 0);
    assert!(operator.log().ends_with("stopping\n"));

    let operator = world.operator().binary(&binary).start().await?;
    operator.kill().await?;
    assert_eq!(operator.exit_code(), Some(128 + 9));

    let output = world.operator().binary(&binary).run(["plan", "-f", "-"], "input").await?;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("plan -f -") && text.ends_with("input"), "{text}");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// The only test that starts a rig of its own, in a program that it then kills.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_the_program_was_killed() -> Result<()> {
    // Without the tools the test would kill the program while it builds them.
    Rig::shared().await?;
    let up = Spec::new("up", env!("CARGO_BIN_EXE_rig")).arg("up").start()?;
    let started = tokio::task::block_in_place(|| {
        up.wait_ready(Duration::from_secs(120), || up.log().contains("Ctrl-C"))
    });
    started?;
    let config =
        up.log().lines().find_map(|line| line.strip_prefix("export KUBECONFIG=").map(str::to_owned)).unwrap();
    let data = std::path::PathBuf::from(&config);
    let data = data.parent().unwrap();
    let children = processes_of(up.pid());
    // etcd, the API server, the emulator and the operator.
    assert_eq!(children.len(), 4, "{children:?}");

    up.signal("KILL");
    assert_eq!(up.wait(SOON).await?, 128 + 9);
    for _ in 0..100 {
        let left = children.iter().any(|pid| alive(pid));
        if !left && !data.exists() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("still there: {children:?} or {}", data.display());
}

/// The programs under the guards of a process.
fn processes_of(pid: u32) -> Vec<String> {
    let output = Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    let children = |parent: &str| -> Vec<String> {
        rows.iter()
            .filter(|row| row[1] == parent && !row[2].ends_with("sh"))
            .map(|row| row[0].to_owned())
            .collect()
    };
    let guards = rows.iter().filter(|row| row[1] == pid.to_string()).map(|row| row[0]);
    guards.flat_map(children).collect()
}

fn alive(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
