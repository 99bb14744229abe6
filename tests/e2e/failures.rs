//! When AWS fails: what the resource says, how soon the operator tries again, and that it goes on by itself once
//! the trouble is over. Every failure is injected between the operator and AWS.

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::types::BucketVersioningStatus;
use futures::TryStreamExt;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use rig::operator::Operator;
use rig::proxy::{Answer, Call, Fault, Matcher};
use rig::world::{DEADLINE, World, condition};
use serde_json::{Value, json};

use crate::support::{check_now, left_in_aws, message, operator, reason, replication, request_check};

/// An operator that reports a failure at its first sight, and does not wait long for an answer.
async fn hasty(name: &str) -> Result<(World, Operator)> {
    let world = World::new(name).await?;
    let operator =
        operator(&world).args(["--aws-attempts", "1", "--aws-attempt-timeout", "3"]).start().await?;
    Ok((world, operator))
}

/// What a call is about.
#[derive(Clone, Copy)]
enum On {
    Source,
    Destination,
    Role,
}

/// What the operator is doing when AWS begins to fail.
enum During {
    /// The resource has just been created; nothing is there yet.
    Creation,
    /// All was in order, and a check was asked for.
    Check,
    /// All was in order, and the spec is changed.
    Change(fn(&mut Value)),
    /// All was in order, and the resource is deleted.
    Deletion,
}

/// One thing that goes wrong, and what the resource then says.
struct Trouble {
    operation: &'static str,
    on: On,
    answer: Answer,
    during: During,
    reason: &'static str,
    /// Parts of the message; `SUBJECT` stands for the bucket or the role.
    says: Vec<&'static str>,
}

impl Trouble {
    /// A denial that names no action, as S3's often does.
    fn denied(operation: &'static str, on: On, during: During, action: &'static str) -> Trouble {
        Trouble {
            operation,
            on,
            answer: Answer::access_denied(),
            during,
            reason: "AccessDenied",
            says: vec![action, "SUBJECT", "to the operator's identity"],
        }
    }

    fn while_creating(operation: &'static str, on: On, answer: Answer, reason: &'static str) -> Trouble {
        Trouble { operation, on, answer, during: During::Creation, reason, says: vec!["SUBJECT"] }
    }

    fn saying(mut self, parts: &[&'static str]) -> Trouble {
        self.says.extend(parts);
        self
    }

    /// Lets it happen to a new resource: it must show, be tried again by itself without a word more, and pass
    /// without a restart.
    async fn strikes(self, world: &World, name: &str) -> Result<()> {
        let operation = self.operation;
        self.happen(world, name).await.with_context(|| format!("{operation} fails while {name}"))
    }

    async fn happen(self, world: &World, name: &str) -> Result<()> {
        let source = world.bucket("us-east-1").await?;
        let destination = world.bucket("eu-west-1").await?;
        let mut resource = replication(name, &source, &destination);
        resource["spec"]["role"]["tags"] = json!({"team": "data"});
        let subject = match self.on {
            On::Source => source,
            On::Destination => destination,
            On::Role => format!("{name}-role"),
        };
        let fault = Fault::always(Matcher::operation(self.operation).about(&subject), self.answer);
        let struck = |calls: &[Call]| {
            calls.iter().filter(|c| c.operation == self.operation && c.subject == subject).count()
        };
        if !matches!(self.during, During::Creation) {
            world.apply(&resource.to_string()).await?;
            world.wait_ready(name).await?;
        }
        let before = struck(&world.proxy.calls());
        let id = world.proxy.inject(fault);
        match self.during {
            During::Creation => drop(world.apply(&resource.to_string()).await?),
            During::Check => drop(request_check(world, name).await?),
            During::Change(change) => {
                change(&mut resource);
                world.apply(&resource.to_string()).await?;
            }
            During::Deletion => drop(world.api().delete(name, &DeleteParams::default()).await?),
        }

        let failing = |status: &Value| reason(status, "Ready") == self.reason;
        let first = world.wait(name, failing, self.reason).await?["status"].clone();
        let said = message(&first, "Ready");
        for part in &self.says {
            let part = part.replace("SUBJECT", &subject);
            ensure!(said.contains(&part), "the message does not say {part:?}: {said}");
        }
        ensure!(!said.to_lowercase().contains("request id"), "the message changes from try to try: {said}");

        // The next try comes by itself. A denied look at a bucket may be two requests of one try.
        let seen = struck(&world.proxy.calls());
        ensure!(seen - before <= 2, "tried {} times before it said so", seen - before);
        world.proxy.wait_for(|calls| struck(calls) > seen, DEADLINE).await?;
        let second = check_now(world, name).await?;
        ensure!(message(&second["status"], "Ready") == said, "two tries differ: {first:#} {second:#}");

        // From now on nothing at all is different from try to try: acknowledging the request to check, beside the
        // request itself, is the only write.
        let events = events(world, name).await?;
        let third = check_now(world, name).await?;
        let conditions = |object: &Value| object["status"]["conditions"].clone();
        ensure!(conditions(&third) == conditions(&second), "two tries differ: {second:#} {third:#}");
        ensure!(events == self::events(world, name).await?, "two tries tell an event each");
        let written = changes(world, name, &second, &third).await?;
        ensure!(written == 2, "written {} times in a try that had the same outcome", written - 1);

        let deleting = !world.get(name).await?["metadata"]["deletionTimestamp"].is_null();
        world.proxy.remove(id);
        request_check(world, name).await?;
        if deleting {
            return world.wait_gone(name).await;
        }
        let recovered = |status: &Value| reason(status, "Ready") == "Applied";
        world.wait(name, recovered, "to recover").await?;
        Ok(())
    }
}

/// How many times an object was written on its way from one state to a later one.
async fn changes(world: &World, name: &str, from: &Value, to: &Value) -> Result<usize> {
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let api = world.api();
    let events = api.watch(&only, &version(from)).await?;
    let mut events = std::pin::pin!(events);
    let mut count = 0;
    while let Some(WatchEvent::Modified(object)) = events.try_next().await? {
        count += 1;
        if object.metadata.resource_version == Some(version(to)) {
            return Ok(count);
        }
    }
    bail!("the watch of {name} ended before it showed the later state")
}

/// The events about one resource, with how often each was told.
async fn events(world: &World, name: &str) -> Result<Vec<(String, i32)>> {
    let api: Api<Event> = Api::namespaced(world.kube.clone(), &world.namespace);
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let told =
        |event: Event| (event.message.unwrap_or_default(), event.series.and_then(|s| s.count).unwrap_or(1));
    Ok(api.list(&about).await?.into_iter().map(told).collect())
}

/// Lets all these happen at once, each to a resource of its own, to one operator that never restarts.
async fn all_strike(name: &str, troubles: Vec<Trouble>) -> Result<()> {
    let (world, operator) = hasty(name).await?;
    let numbered = troubles.into_iter().enumerate();
    try_join_all(numbered.map(|(i, trouble)| {
        let name = format!("r{i}");
        let world = &world;
        async move { trouble.strikes(world, &name).await }
    }))
    .await?;
    ensure!(operator.exit_code().is_none(), "the operator has ended");
    Ok(())
}

#[tokio::test]
async fn a_denied_call_names_its_action_its_subject_and_the_fix() -> Result<()> {
    use During::{Change, Check, Creation, Deletion};
    use On::{Destination, Role, Source};
    fn bounded(resource: &mut Value) {
        resource["spec"]["role"]["permissionsBoundary"] = json!("arn:aws:iam::aws:policy/AmazonS3FullAccess");
    }
    fn retagged(resource: &mut Value) {
        resource["spec"]["role"]["tags"] = json!({"team": "platform"});
    }
    fn untagged(resource: &mut Value) {
        resource["spec"]["role"].as_object_mut().map(|role| role.remove("tags"));
    }
    all_strike(
        "denied",
        vec![
            Trouble::denied("HeadBucket", Source, Creation, "s3:ListBucket"),
            Trouble::denied("HeadBucket", Destination, Creation, "s3:ListBucket"),
            Trouble::denied("GetBucketReplication", Source, Creation, "s3:GetReplicationConfiguration"),
            Trouble::denied("GetBucketReplication", Source, Check, "s3:GetReplicationConfiguration"),
            Trouble::denied("GetRole", Role, Creation, "iam:GetRole"),
            Trouble::denied("GetRole", Role, Check, "iam:GetRole"),
            Trouble::denied("GetRolePolicy", Role, Check, "iam:GetRolePolicy"),
            Trouble::denied("PutBucketVersioning", Source, Creation, "s3:PutBucketVersioning"),
            Trouble::denied("PutBucketVersioning", Destination, Creation, "s3:PutBucketVersioning"),
            Trouble::denied("CreateRole", Role, Creation, "iam:CreateRole"),
            Trouble::denied("PutRolePolicy", Role, Creation, "iam:PutRolePolicy"),
            Trouble::denied("PutBucketReplication", Source, Creation, "s3:PutReplicationConfiguration"),
            Trouble::denied(
                "PutRolePermissionsBoundary",
                Role,
                Change(bounded),
                "iam:PutRolePermissionsBoundary",
            ),
            Trouble::denied("TagRole", Role, Change(retagged), "iam:TagRole"),
            Trouble::denied("UntagRole", Role, Change(untagged), "iam:UntagRole"),
            Trouble::denied("DeleteBucketReplication", Source, Deletion, "s3:PutReplicationConfiguration"),
            Trouble::denied("ListRolePolicies", Role, Deletion, "iam:ListRolePolicies"),
            Trouble::denied("ListAttachedRolePolicies", Role, Deletion, "iam:ListAttachedRolePolicies"),
            Trouble::denied("DeleteRolePolicy", Role, Deletion, "iam:DeleteRolePolicy"),
            Trouble::denied("DeleteRole", Role, Deletion, "iam:DeleteRole"),
        ],
    )
    .await
}

#[tokio::test]
async fn the_action_that_aws_names_is_the_one_told() -> Result<()> {
    let words = "User: arn:aws:iam::111122223333:user/operator is not authorized to perform: iam:PassRole on \
                 resource: arn:aws:iam::111122223333:role/r because no identity-based policy allows it";
    let answer = Answer::error(403, "AccessDenied", words);
    let trouble = Trouble::while_creating("PutBucketReplication", On::Source, answer, "AccessDenied")
        .saying(&["iam:PassRole", "arn:aws:iam::111122223333:role/r"]);
    all_strike("passrole", vec![trouble]).await
}

#[tokio::test]
async fn passing_troubles_are_told_alike_and_tried_again() -> Result<()> {
    use On::{Destination, Role, Source};
    let aborted =
        || Answer::error(409, "OperationAborted", "A conflicting conditional operation is in progress.");
    let concurrent = || Answer::error(409, "ConcurrentModification", "The request was rejected.");
    let broken =
        || Answer::error(500, "InternalError", "We encountered an internal error. Please try again.");
    all_strike(
        "passing",
        vec![
            Trouble::while_creating("CreateRole", Role, Answer::throttling(), "Throttled").saying(&[
                "iam:CreateRole",
                "Throttling: Rate exceeded",
                "more slowly",
            ]),
            Trouble::while_creating("GetBucketVersioning", Destination, Answer::slow_down(), "Throttled")
                .saying(&["s3:GetBucketVersioning", "SlowDown"]),
            Trouble::while_creating("PutBucketReplication", Source, aborted(), "AwsUnavailable").saying(&[
                "s3:PutReplicationConfiguration",
                "OperationAborted",
                "another write at the same time",
            ]),
            Trouble::while_creating("PutRolePolicy", Role, concurrent(), "AwsUnavailable").saying(&[
                "iam:PutRolePolicy",
                "ConcurrentModification",
                "another write at the same time",
            ]),
            Trouble::while_creating("PutBucketVersioning", Source, broken(), "AwsUnavailable").saying(&[
                "s3:PutBucketVersioning",
                "InternalError",
                "trying again",
            ]),
            Trouble::while_creating("HeadBucket", Source, Answer::error(503, "", ""), "AwsUnavailable")
                .saying(&["s3:ListBucket", "HTTP 503"]),
            Trouble::while_creating("GetRole", Role, Answer::Hang, "AwsUnavailable")
                .saying(&["iam:GetRole", "timeout"]),
            Trouble::while_creating("PutBucketReplication", Source, Answer::Hang, "AwsUnavailable")
                .saying(&["s3:PutReplicationConfiguration", "timeout"]),
            Trouble::while_creating("GetBucketReplication", Source, Answer::Drop, "AwsUnavailable")
                .saying(&["s3:GetReplicationConfiguration"]),
        ],
    )
    .await
}

#[tokio::test]
async fn credentials_that_have_expired_are_told_apart_from_denials() -> Result<()> {
    let expired = || Answer::error(400, "ExpiredToken", "The provided token has expired.");
    let invalid = || {
        Answer::error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    };
    all_strike(
        "expired",
        vec![
            Trouble {
                operation: "GetBucketReplication",
                on: On::Source,
                answer: expired(),
                during: During::Check,
                reason: "CredentialsUnavailable",
                says: vec!["no valid AWS credentials", "ExpiredToken", "give its pod an identity"],
            },
            Trouble {
                operation: "GetRole",
                on: On::Role,
                answer: invalid(),
                during: During::Creation,
                reason: "CredentialsUnavailable",
                says: vec!["InvalidClientTokenId"],
            },
        ],
    )
    .await
}

/// The whole of AWS is away: refused connections instead of answers.
#[tokio::test]
async fn refused_connections_are_survived() -> Result<()> {
    let (world, operator) = hasty("refused").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;

    world.proxy.go_down().await;
    let down = check_now(&world, "orders").await?;
    assert_eq!(reason(&down["status"], "Ready"), "AwsUnavailable");
    assert!(message(&down["status"], "Ready").to_lowercase().contains("connect"), "{down:#}");
    let again = check_now(&world, "orders").await?;
    assert_eq!(again["status"]["conditions"], down["status"]["conditions"]);

    world.proxy.come_up().await?;
    world.wait_ready("orders").await?;
    assert_eq!(operator.exit_code(), None);
    Ok(())
}

/// Nobody can tell the operator who it is: it starts all the same, says so in each resource, and goes on when
/// STS answers.
#[tokio::test]
async fn an_operator_that_cannot_learn_its_identity_starts_and_waits() -> Result<()> {
    let world = World::new("no-identity").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.proxy.inject(Fault::always(Matcher::operation("GetCallerIdentity"), Answer::Drop));
    let operator = operator(&world).args(["--aws-attempts", "1"]).start().await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;

    let unavailable = |status: &Value| reason(status, "Ready") == "AwsUnavailable";
    let waiting = world.wait("orders", unavailable, "to say that AWS is away").await?;
    assert!(message(&waiting["status"], "Ready").contains("sts:GetCallerIdentity"), "{waiting:#}");
    assert_eq!(world.proxy.writes().len(), 0);

    world.proxy.remove_faults();
    world.wait_ready("orders").await?;
    assert_eq!(operator.exit_code(), None);
    Ok(())
}

#[tokio::test]
async fn without_credentials_the_resource_says_how_to_give_them() -> Result<()> {
    let world = World::new("no-credentials").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let _operator = operator(&world)
        .credentials("", "")
        // No file of this machine may give them.
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .start()
        .await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let unavailable = |status: &Value| reason(status, "Ready") == "CredentialsUnavailable";
    let found = world.wait("orders", unavailable, "to miss credentials").await?;
    let said = message(&found["status"], "Ready");
    assert!(said.contains("IRSA, Pod Identity or a Secret"), "{said}");
    assert!(condition(&found["status"], "Reconciling").is_some(), "the operator goes on trying: {found:#}");
    assert_eq!(world.proxy.calls().len(), 0, "nothing is asked without credentials");
    Ok(())
}

/// A Secret is often mounted, or rotated, after the pod has started.
#[tokio::test]
async fn credentials_that_appear_later_are_found_without_a_restart() -> Result<()> {
    let world = World::new("late-credentials").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let directory = rig::paths::scratch_dir("credentials")?;
    let file = directory.join("credentials");
    let operator = operator(&world)
        .credentials("", "")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", &file)
        .start()
        .await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let unavailable = |status: &Value| reason(status, "Ready") == "CredentialsUnavailable";
    world.wait("orders", unavailable, "to miss credentials").await?;

    let profile = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = late\n", world.account);
    std::fs::write(&file, profile)?;
    world.wait_ready("orders").await?;
    assert_eq!(operator.exit_code(), None, "it is the same operator");
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

/// Each of these takes effect, but the answer is lost: the next try must find it done and do no more.
#[tokio::test]
async fn a_write_whose_answer_was_lost_is_not_made_twice() -> Result<()> {
    let (world, _operator) = hasty("lost").await?;
    let lost = ["PutBucketVersioning", "CreateRole", "PutRolePolicy", "PutBucketReplication"];
    try_join_all(lost.iter().enumerate().map(|(i, operation)| {
        let world = &world;
        async move {
            let name = format!("r{i}");
            let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
            let subject = if operation.contains("Role") { format!("{name}-role") } else { source.clone() };
            let about = Matcher::operation(operation).about(&subject);
            world.proxy.inject(Fault::times(1, about, Answer::DropAfter));
            world.apply(&replication(&name, &source, &destination).to_string()).await?;
            let status = &world.wait_ready(&name).await?["status"];
            ensure!(
                status["lastCorrection"].is_null(),
                "its own write was taken for someone else's: {status:#}"
            );
            let calls = world.proxy.calls();
            let made = calls.iter().filter(|c| &c.operation == operation && c.subject == subject).count();
            ensure!(made == 1, "{operation} was made {made} times");
            anyhow::Ok(())
        }
    }))
    .await
    .map(drop)
}

/// One try of each class fails, then AWS is well again: nobody needs to do anything.
#[tokio::test]
async fn after_a_passing_trouble_the_operator_goes_on_by_itself() -> Result<()> {
    let (world, operator) = hasty("by-itself").await?;
    let troubles = [
        ("CreateRole", Answer::throttling(), "Throttled"),
        ("CreateRole", Answer::access_denied(), "AccessDenied"),
        ("CreateRole", Answer::error(409, "ConcurrentModification", "Busy."), "AwsUnavailable"),
        ("GetRole", Answer::error(500, "ServiceFailure", "Oops."), "AwsUnavailable"),
    ];
    try_join_all(troubles.into_iter().enumerate().map(|(i, (operation, answer, expected))| {
        let world = &world;
        async move {
            let name = format!("r{i}");
            let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
            let about = Matcher::operation(operation).about(&format!("{name}-role"));
            world.proxy.inject(Fault::times(1, about, answer));
            world.apply(&replication(&name, &source, &destination).to_string()).await?;
            world.wait(&name, |status| reason(status, "Ready") == expected, expected).await?;
            world.wait_ready(&name).await
        }
    }))
    .await?;
    assert_eq!(operator.exit_code(), None);
    Ok(())
}

/// What trying again cannot mend waits for the interval, while what may pass is tried again and again.
#[tokio::test]
async fn lasting_troubles_are_not_tried_again_at_once() -> Result<()> {
    let (world, _operator) = hasty("lasting").await?;
    let words = "The specified destination does not support this storage class.";
    let troubles = [
        ("lasting", "PutBucketReplication", Answer::error(400, "InvalidRequest", words)),
        (
            "lasting-too",
            "CreateRole",
            Answer::error(409, "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000."),
        ),
        ("passing", "CreateRole", Answer::error(500, "ServiceFailure", "Oops.")),
    ];
    for (name, operation, answer) in troubles {
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        let subject = if operation == "CreateRole" { format!("{name}-role") } else { source.clone() };
        world.proxy.inject(Fault::always(Matcher::operation(operation).about(&subject), answer));
        world.apply(&replication(name, &source, &destination).to_string()).await?;
    }
    let invalid = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let lasting = world.wait("lasting", invalid, "to be refused").await?;
    assert!(message(&lasting["status"], "Ready").contains(words), "AWS's words are told: {lasting:#}");
    assert!(condition(&lasting["status"], "Stalled").is_some(), "{lasting:#}");
    let limited = world.wait("lasting-too", invalid, "to be refused").await?;
    assert!(message(&limited["status"], "Ready").contains("RolesPerAccount"), "{limited:#}");

    let tries = |calls: &[Call], name: &str| {
        let role = format!("{name}-role");
        calls.iter().filter(|c| c.operation == "GetRole" && c.subject == role).count()
    };
    let both = |calls: &[Call]| (tries(calls, "lasting"), tries(calls, "lasting-too"));
    let so_far = world.proxy.calls();
    let passing = tries(&so_far, "passing");
    let later = world.proxy.wait_for(|calls| tries(calls, "passing") >= passing + 2, DEADLINE).await?;
    assert_eq!(both(&later), both(&so_far));

    // Someone mends it and asks for a check: no restart.
    world.proxy.remove_faults();
    request_check(&world, "lasting").await?;
    world.wait_ready("lasting").await.map(drop)
}

#[tokio::test]
async fn a_missing_source_is_waited_for() -> Result<()> {
    let (world, _operator) = hasty("no-source").await?;
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
    let (world, _operator) = hasty("no-destination").await?;
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
    let (world, _operator) = hasty("deleted-later").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;

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
    let (world, _operator) = hasty("region-in-spec").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
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
    let (world, _operator) = hasty("moved").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;

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
    let (world, _operator) = hasty("foreign-bucket").await?;
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
    let (world, _operator) = hasty("mfa").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
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
    let (world, _operator) = hasty("unread").await?;
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

/// Each destination takes room in the role's policy, and IAM has 10,240 characters of it.
#[tokio::test]
async fn a_policy_that_would_not_fit_is_refused_before_it_is_sent() -> Result<()> {
    let (world, _operator) = hasty("too-large").await?;
    let source = world.bucket("us-east-1").await?;
    let long = format!("{}-{}", world.bucket_name(), "x".repeat(63));
    let names: Vec<String> = (0..130).map(|i| format!("{}{i:03}", &long[..60])).collect();
    try_join_all(names.iter().map(|name| world.create_bucket(&world.account, "eu-west-1", name))).await?;
    let mut resource = replication("orders", &source, &names[0]);
    let rule =
        |(i, name): (usize, &String)| json!({"id": name, "priority": i, "destination": {"bucket": name}});
    resource["spec"]["rules"] = names.iter().enumerate().map(rule).collect();
    world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "PolicyTooLarge";
    let found = world.wait("orders", refused, "to be refused").await?;
    let said = message(&found["status"], "Ready");
    let size: Option<u32> = said.split_whitespace().find_map(|word| word.parse().ok());
    assert!(size.is_some_and(|size| size > 10_240), "{said}");
    assert!(said.contains("10240") && said.contains("role.arn"), "{said}");
    assert_eq!(world.proxy.writes().len(), 0);

    resource["spec"]["rules"] = json!([resource["spec"]["rules"][0]]);
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn an_existing_role_must_be_there_and_trust_s3() -> Result<()> {
    let (world, _operator) = hasty("existing-role").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let mut resource = replication("orders", &source, &destination);
    let arn = format!("arn:aws:iam::{}:role/by-hand", world.account);
    resource["spec"]["role"] = json!({"arn": arn});
    world.apply(&resource.to_string()).await?;
    let missing = |status: &Value| reason(status, "Ready") == "RoleNotFound";
    let found = world.wait("orders", missing, "to miss its role").await?;
    assert!(message(&found["status"], "Ready").contains(&arn), "{found:#}");

    let trust = |service: &str| {
        json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole",
        }]})
        .to_string()
    };
    let iam = world.iam();
    let wrong = trust("ec2.amazonaws.com");
    iam.create_role().role_name("by-hand").assume_role_policy_document(wrong).send().await?;
    let untrusted = |status: &Value| reason(status, "Ready") == "RoleNotTrusted";
    let found = world.wait("orders", untrusted, "to find a role that does not trust S3").await?;
    let said = message(&found["status"], "Ready");
    assert!(said.contains("s3.amazonaws.com") && said.contains("sts:AssumeRole"), "{said}");
    assert_eq!(world.proxy.writes().len(), 0);

    let right = trust("s3.amazonaws.com");
    iam.update_assume_role_policy().role_name("by-hand").policy_document(right).send().await?;
    request_check(&world, "orders").await?;
    world.wait_ready("orders").await?;
    let written: Vec<String> = world.proxy.writes().into_iter().map(|c| c.operation).collect();
    if written.iter().any(|operation| operation.contains("Role")) {
        bail!("an existing role is never written: {written:?}");
    }
    Ok(())
}

/// The words of AWS may hold what is different in every answer.
#[tokio::test]
async fn ids_of_requests_and_times_in_the_words_of_aws_do_not_reach_the_status() -> Result<()> {
    let (world, _operator) = hasty("steady").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    for words in ["busy (Request ID: NUMBER; HostId: ab/NUMBER==)", "busy since 20261123T1011NUMBERZ"] {
        let mut said = Vec::new();
        for number in ["17", "42"] {
            let answer = Answer::error(500, "ServiceFailure", &words.replace("NUMBER", number));
            let fault = world.proxy.inject(Fault::always(Matcher::operation("GetRole"), answer));
            let object = check_now(&world, "orders").await?;
            said.push(object["status"]["conditions"].clone());
            world.proxy.remove(fault);
        }
        ensure!(said[0] == said[1], "{said:#?}");
        ensure!(said[0].to_string().contains("ServiceFailure: busy"), "{:#}", said[0]);
    }
    Ok(())
}

/// A proxy on the way, or half an answer: nothing that is not there in AWS's words is taken for gone.
#[tokio::test]
async fn a_page_that_is_not_from_aws_is_no_verdict() -> Result<()> {
    let (world, _operator) = hasty("page").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    world.proxy.clear();
    let page = |status, body: &str| Answer::Custom { status, headers: Vec::new(), body: body.to_owned() };
    let not_found = || page(404, "<html><title>404 Not Found</title></html>");
    for (operation, answer) in [
        ("GetRole", not_found()),
        ("GetRolePolicy", not_found()),
        ("GetBucketVersioning", not_found()),
        ("GetBucketReplication", not_found()),
        ("GetBucketReplication", page(404, "")),
        ("GetBucketReplication", page(200, "")),
        ("GetBucketReplication", page(200, "<html><title>Sign in</title></html>")),
    ] {
        let fault = world.proxy.inject(Fault::always(Matcher::operation(operation), answer));
        let status = check_now(&world, "orders").await?["status"].clone();
        ensure!(reason(&status, "Ready") == "AwsUnavailable", "{operation}: {status:#}");
        world.proxy.remove(fault);
    }
    ensure!(world.proxy.writes().is_empty(), "{:?}", world.proxy.writes());

    // Least of all at deletion, where what is gone is let go of.
    let fault = world.proxy.inject(Fault::always(Matcher::operation("GetBucketReplication"), not_found()));
    world.api().delete("orders", &DeleteParams::default()).await?;
    let waits = |status: &Value| message(status, "Ready").starts_with("cannot delete");
    world.wait("orders", waits, "to say why it waits").await?;
    ensure!(world.s3("us-east-1").get_bucket_replication().bucket(&source).send().await.is_ok());
    world.proxy.remove(fault);
    request_check(&world, "orders").await?;
    world.wait_gone("orders").await?;
    ensure!(left_in_aws(&world, "us-east-1", &source, "orders-role").await?.is_empty());
    Ok(())
}

/// What was written a moment ago is not seen by all of S3 at once.
#[tokio::test]
async fn versioning_that_s3_does_not_see_yet_is_waited_for() -> Result<()> {
    let (world, _operator) = hasty("unsettled").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let words = "Versioning must be 'Enabled' on the bucket to apply a replication configuration";
    let refused = Answer::error(400, "InvalidRequest", words);
    world.proxy.inject(Fault::times(3, Matcher::operation("PutBucketReplication"), refused));
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    assert_eq!(world.proxy.count("PutBucketReplication"), 4);
    Ok(())
}

/// A request that came late, or whose clock is wrong, was not judged.
#[tokio::test]
async fn the_clock_and_the_line_are_not_taken_for_a_denial() -> Result<()> {
    let skewed = Answer::error(403, "RequestTimeTooSkewed", "The difference between the times is too large.");
    let late = Answer::error(400, "RequestTimeout", "Your socket connection was not read from in time.");
    all_strike(
        "late",
        vec![
            Trouble::while_creating("GetBucketReplication", On::Source, skewed, "AwsUnavailable"),
            Trouble::while_creating("PutBucketReplication", On::Source, late, "AwsUnavailable"),
        ],
    )
    .await
}
