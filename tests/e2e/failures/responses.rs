//! Errors that AWS returns: how each is reported, and when it is retried.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use kube::api::DeleteParams;
use rig::proxy::{Answer, Call, Fault, Matcher};
use rig::world::{DEADLINE, condition};
use serde_json::{Value, json};

use crate::support::{Scene, check_now, left_in_aws, message, reason, replication, request_check};

use super::{During, Failure, On, check_all, check_all_in, impatient, waiting_for_answers};

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
    check_all(
        "denied",
        vec![
            Failure::denied("GetBucketReplication", Source, Creation, "s3:GetReplicationConfiguration"),
            Failure::denied("GetBucketReplication", Source, Check, "s3:GetReplicationConfiguration"),
            Failure::denied("GetRole", Role, Creation, "iam:GetRole"),
            Failure::denied("GetRole", Role, Check, "iam:GetRole"),
            Failure::denied("GetRolePolicy", Role, Check, "iam:GetRolePolicy"),
            Failure::denied("PutBucketVersioning", Source, Creation, "s3:PutBucketVersioning"),
            Failure::denied("PutBucketVersioning", Destination, Creation, "s3:PutBucketVersioning"),
            Failure::denied("CreateRole", Role, Creation, "iam:CreateRole"),
            Failure::denied("PutRolePolicy", Role, Creation, "iam:PutRolePolicy"),
            Failure::denied("PutBucketReplication", Source, Creation, "s3:PutReplicationConfiguration"),
            Failure::denied(
                "PutRolePermissionsBoundary",
                Role,
                Change(bounded),
                "iam:PutRolePermissionsBoundary",
            ),
            Failure::denied("TagRole", Role, Change(retagged), "iam:TagRole"),
            Failure::denied("UntagRole", Role, Change(untagged), "iam:UntagRole"),
            Failure::denied("DeleteBucketReplication", Source, Deletion, "s3:PutReplicationConfiguration"),
            Failure::denied("ListRolePolicies", Role, Deletion, "iam:ListRolePolicies"),
            Failure::denied("ListAttachedRolePolicies", Role, Deletion, "iam:ListAttachedRolePolicies"),
            Failure::denied("DeleteRolePolicy", Role, Deletion, "iam:DeleteRolePolicy"),
            Failure::denied("DeleteRole", Role, Deletion, "iam:DeleteRole"),
        ],
    )
    .await
}

#[tokio::test]
async fn the_reported_action_is_the_one_that_aws_names() -> Result<()> {
    let text = "User: arn:aws:iam::111122223333:user/operator is not authorized to perform: iam:PassRole on \
                 resource: arn:aws:iam::111122223333:role/r because no identity-based policy allows it";
    let answer = Answer::error(403, "AccessDenied", text);
    let trouble = Failure {
        operation: "PutBucketReplication",
        on: On::Source,
        answer,
        during: During::Creation,
        reason: "AccessDenied",
        reports: vec![
            "iam:PassRole on arn:aws:iam::111122223333:role/r is denied",
            "allow iam:PassRole on arn:aws:iam::111122223333:role/r to the operator's identity",
        ],
    };
    check_all("passrole", vec![trouble]).await
}

#[tokio::test]
async fn transient_errors_are_reported_alike_and_retried() -> Result<()> {
    use On::{Destination, Role, Source};
    let aborted =
        || Answer::error(409, "OperationAborted", "A conflicting conditional operation is in progress.");
    let concurrent = || Answer::error(409, "ConcurrentModification", "The request was rejected.");
    let broken =
        || Answer::error(500, "InternalError", "We encountered an internal error. Please try again.");
    check_all(
        "passing",
        vec![
            Failure::at_creation("CreateRole", Role, Answer::throttling(), "Throttled").reporting(&[
                "iam:CreateRole",
                "Throttling: Rate exceeded",
                "more slowly",
            ]),
            Failure::at_creation("GetBucketVersioning", Destination, Answer::slow_down(), "Throttled")
                .reporting(&["s3:GetBucketVersioning", "SlowDown"]),
            Failure::at_creation("PutBucketReplication", Source, aborted(), "AwsUnavailable").reporting(&[
                "s3:PutReplicationConfiguration",
                "OperationAborted",
                "another write at the same time",
            ]),
            Failure::at_creation("PutRolePolicy", Role, concurrent(), "AwsUnavailable").reporting(&[
                "iam:PutRolePolicy",
                "ConcurrentModification",
                "another write at the same time",
            ]),
            Failure::at_creation("PutBucketVersioning", Source, broken(), "AwsUnavailable").reporting(&[
                "s3:PutBucketVersioning",
                "InternalError",
                "trying again",
            ]),
            Failure::at_creation("GetBucketReplication", Source, Answer::Drop, "AwsUnavailable")
                .reporting(&["s3:GetReplicationConfiguration"]),
        ],
    )
    .await
}

#[tokio::test]
async fn a_request_that_gets_no_answer_is_reported_and_retried() -> Result<()> {
    check_all_in(
        waiting_for_answers("silent", "10"),
        vec![
            Failure::at_creation("GetRole", On::Role, Answer::Hang, "AwsUnavailable")
                .reporting(&["iam:GetRole", "timeout"]),
            Failure::at_creation("PutBucketReplication", On::Source, Answer::Hang, "AwsUnavailable")
                .reporting(&["s3:PutReplicationConfiguration", "timeout"]),
        ],
    )
    .await
}

/// A HEAD has no body: the operator asks by another call what a bare status means, and goes on where that one succeeds.
#[tokio::test]
async fn a_head_bucket_that_is_denied_or_fails_holds_up_nothing_that_other_calls_can_read() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("bare-head").empty().await?;
    for (name, answer) in [("denied", Answer::access_denied()), ("failing", Answer::error(503, "", ""))] {
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        world.proxy.inject(Fault::always(Matcher::operation("HeadBucket").about(&source), answer));
        world.apply(&replication(name, &source, &destination).to_string()).await?;
        world.wait_ready(name).await?;
        let heads = |c: &&Call| c.operation == "HeadBucket" && c.subject == source;
        ensure!(world.proxy.calls().iter().filter(heads).count() > 0, "{name}: HeadBucket was not asked");
    }
    Ok(())
}

#[tokio::test]
async fn expired_credentials_are_distinguished_from_denials() -> Result<()> {
    let expired = || Answer::error(400, "ExpiredToken", "The provided token has expired.");
    let invalid = || {
        Answer::error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    };
    check_all(
        "expired",
        vec![
            Failure {
                operation: "GetBucketReplication",
                on: On::Source,
                answer: expired(),
                during: During::Check,
                reason: "CredentialsUnavailable",
                reports: vec!["no valid AWS credentials", "ExpiredToken", "give its pod an identity"],
            },
            Failure {
                operation: "GetRole",
                on: On::Role,
                answer: invalid(),
                during: During::Creation,
                reason: "CredentialsUnavailable",
                reports: vec!["InvalidClientTokenId"],
            },
        ],
    )
    .await
}

/// AWS does not evaluate permissions of a request that is late or has a wrong time.
#[tokio::test]
async fn a_late_request_and_a_wrong_clock_are_not_reported_as_denials() -> Result<()> {
    let skewed = Answer::error(403, "RequestTimeTooSkewed", "The difference between the times is too large.");
    let expired = "Signature expired: 20261123T101112Z is now earlier than 20261123T101612Z (20261123T102112Z - 5 min.)";
    let expired = Answer::error(403, "SignatureDoesNotMatch", expired);
    let early = "Signature not yet current: 20261123T103112Z is still later than 20261123T102112Z (20261123T101612Z + 5 min.)";
    let early = Answer::error(403, "SignatureDoesNotMatch", early);
    let late = Answer::error(400, "RequestTimeout", "Your socket connection was not read from in time.");
    let clock = &["the clock of the operator's node is wrong"];
    check_all(
        "late",
        vec![
            Failure::at_creation("GetBucketReplication", On::Source, skewed, "AwsUnavailable")
                .reporting(clock),
            Failure::at_creation("GetRole", On::Role, expired, "AwsUnavailable").reporting(clock),
            Failure::at_creation("CreateRole", On::Role, early, "AwsUnavailable").reporting(clock),
            Failure::at_creation("PutBucketReplication", On::Source, late, "AwsUnavailable"),
        ],
    )
    .await
}

/// S3 answers with 409 both where two writes meet and where the state of the bucket does not allow the call.
#[tokio::test]
async fn a_bucket_whose_state_does_not_allow_a_configuration_met_no_other_write() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("state").empty().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let words = "The request is not valid for the current state of the bucket.";
    let answer = Answer::error(409, "InvalidBucketState", words);
    let about = Matcher::operation("PutBucketReplication").about(&source);
    let fault = world.proxy.inject(Fault::always(about, answer));
    world.apply(&replication("state", &source, &destination).to_string()).await?;
    let refused = |status: &Value| message(status, "Ready").contains("InvalidBucketState");
    let status = world.wait("state", refused, "to be refused").await?["status"].clone();
    assert_eq!(reason(&status, "Ready"), "Progressing", "versioning may not have settled: {status:#}");
    ensure!(!message(&status, "Ready").contains("another write"), "{status:#}");
    world.proxy.remove(fault);
    world.wait_ready("state").await.map(drop)
}

/// An error that a retry cannot fix is retried after the interval; a transient one soon.
#[tokio::test]
async fn permanent_errors_are_not_retried_soon() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("lasting").empty().await?;
    let text = "The specified destination does not support this storage class.";
    let failures = [
        ("lasting", "PutBucketReplication", Answer::error(400, "InvalidRequest", text)),
        (
            "lasting-too",
            "CreateRole",
            Answer::error(409, "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000."),
        ),
        ("passing", "CreateRole", Answer::error(500, "ServiceFailure", "Oops.")),
    ];
    for (name, operation, answer) in failures {
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        let subject = if operation == "CreateRole" { format!("{name}-role") } else { source.clone() };
        world.proxy.inject(Fault::always(Matcher::operation(operation).about(&subject), answer));
        world.apply(&replication(name, &source, &destination).to_string()).await?;
    }
    let invalid = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let lasting = world.wait("lasting", invalid, "to be refused").await?;
    assert!(message(&lasting["status"], "Ready").contains(text), "AWS's message is reported: {lasting:#}");
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

    // Someone fixes it and requests a check; no restart is needed.
    world.proxy.remove_faults();
    request_check(&world, "lasting").await?;
    world.wait_ready("lasting").await.map(drop)
}

/// One call of each class fails for a time; the operator recovers automatically.
#[tokio::test]
async fn the_operator_recovers_automatically_from_a_transient_error() -> Result<()> {
    let Scene { world, operator, .. } = impatient("by-itself").empty().await?;
    let failures = [
        ("CreateRole", Answer::throttling(), "Throttled"),
        ("CreateRole", Answer::access_denied(), "AccessDenied"),
        ("CreateRole", Answer::error(409, "ConcurrentModification", "Busy."), "AwsUnavailable"),
        ("GetRole", Answer::error(500, "ServiceFailure", "Oops."), "AwsUnavailable"),
    ];
    try_join_all(failures.into_iter().enumerate().map(|(i, (operation, answer, expected))| {
        let world = &world;
        async move {
            let name = format!("r{i}");
            let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
            let about = Matcher::operation(operation).about(&format!("{name}-role"));
            let fault = world.proxy.inject(Fault::always(about, answer));
            world.apply(&replication(&name, &source, &destination).to_string()).await?;
            world.wait(&name, |status| reason(status, "Ready") == expected, expected).await?;
            world.proxy.remove(fault);
            world.wait_ready(&name).await
        }
    }))
    .await?;
    assert_eq!(operator.exit_code(), None);
    Ok(())
}

/// Each of these writes takes effect and its answer is lost: the next reconcile must find it done.
#[tokio::test]
async fn a_write_whose_answer_was_lost_is_not_made_twice() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("lost").empty().await?;
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

/// AWS's messages may contain text that differs in every response.
#[tokio::test]
async fn request_ids_and_times_in_messages_of_aws_do_not_reach_the_status() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("steady").ready().await?;
    for text in ["busy (Request ID: NUMBER; HostId: ab/NUMBER==)", "busy since 20261123T1011NUMBERZ"] {
        let mut conditions = Vec::new();
        for number in ["17", "42"] {
            let answer = Answer::error(500, "ServiceFailure", &text.replace("NUMBER", number));
            let fault = world.proxy.inject(Fault::always(Matcher::operation("GetRole"), answer));
            let object = check_now(&world, "orders").await?;
            conditions.push(object["status"]["conditions"].clone());
            world.proxy.remove(fault);
        }
        ensure!(conditions[0] == conditions[1], "{conditions:#?}");
        ensure!(conditions[0].to_string().contains("ServiceFailure: busy"), "{:#}", conditions[0]);
    }
    Ok(())
}

/// A proxy answers instead of AWS, or the answer is cut off: the operator concludes nothing from it.
#[tokio::test]
async fn an_answer_that_is_not_from_aws_changes_nothing() -> Result<()> {
    let Scene { world, operator: _operator, source, .. } = impatient("page").ready().await?;
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

    // Above all at deletion, which ends when everything is gone.
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
