//! Answers that do not say what they mean: an answer to HEAD, which has no body, and a success that cannot be read.

use anyhow::{Result, ensure};
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::DEADLINE;
use serde_json::Value;

use crate::support::{
    DESTINATION_REGION, NAME, ROLE, Scene, check_now, message, person, reason, replication,
};

use super::impatient;

/// An answer without a body.
fn bare(status: u16, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer::Custom { status, headers, body: String::new() }
}

fn success(body: &str) -> Answer {
    Answer::Custom { status: 200, headers: Vec::new(), body: body.to_owned() }
}

/// S3 answers 400 to a HEAD that went to a Region which was launched later than the one asked.
#[tokio::test]
async fn the_region_in_the_header_of_a_bare_400_is_believed() -> Result<()> {
    let scene = impatient("bare-region").empty().await?;
    let elsewhere = bare(400, &[("x-amz-bucket-region", DESTINATION_REGION)]);
    let head = Matcher::operation("HeadBucket").about(&scene.destination);
    scene.world.proxy.inject(Fault::always(head, elsewhere));
    scene.apply(|_| {}).await?;
    let ready = scene.world.wait_ready(NAME).await?;
    let destination = &ready["status"]["destinations"][0];
    assert_eq!(destination["region"], DESTINATION_REGION, "{destination}");
    Ok(())
}

/// The header counts for a source as for a destination, and whatever the status.
#[tokio::test]
async fn the_region_in_the_header_is_believed_for_every_bucket_with_any_status() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("bare-header").empty().await?;
    for status in [301, 307, 400, 403, 405] {
        let name = format!("bare-{status}");
        // Both are elsewhere than the Region of the environment.
        let (source, destination) =
            (world.bucket(DESTINATION_REGION).await?, world.bucket(DESTINATION_REGION).await?);
        for bucket in [&source, &destination] {
            let head = Matcher::operation("HeadBucket").about(bucket);
            let elsewhere = bare(status, &[("x-amz-bucket-region", DESTINATION_REGION)]);
            world.proxy.inject(Fault::always(head, elsewhere));
        }
        world.apply(&replication(&name, &source, &destination).to_string()).await?;
        let ready = world.wait_ready(&name).await?;
        for bucket in [&ready["status"]["source"], &ready["status"]["destinations"][0]] {
            assert_eq!(bucket["region"], DESTINATION_REGION, "{status}: {bucket}");
        }
    }
    Ok(())
}

/// S3 names the Region of a bucket also to someone whose credentials it does not know.
#[tokio::test]
async fn a_bare_refusal_of_the_credentials_is_reported_as_such_everywhere() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("bare-refusal").empty().await?;
    let region = [("x-amz-bucket-region", "us-east-1")];
    for (status, code, expected) in [
        (400, "ExpiredToken", "CredentialsUnavailable"),
        (400, "InvalidToken", "CredentialsUnavailable"),
        (403, "InvalidAccessKeyId", "CredentialsUnavailable"),
        (403, "SignatureDoesNotMatch", "CredentialsUnavailable"),
        (403, "RequestTimeTooSkewed", "AwsUnavailable"),
    ] {
        for (n, headers) in [&region[..], &[]].into_iter().enumerate() {
            let name = format!("{}-{n}", code.to_lowercase());
            let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("us-east-1").await?);
            let mut faults = Vec::new();
            for bucket in [&source, &destination] {
                let about = |operation| Matcher::operation(operation).about(bucket);
                faults.push(Fault::always(about("HeadBucket"), bare(status, headers)));
                for operation in ["GetBucketVersioning", "GetBucketReplication"] {
                    faults.push(Fault::always(about(operation), Answer::error(status, code, "Refused.")));
                }
            }
            let faults: Vec<_> = faults.into_iter().map(|fault| world.proxy.inject(fault)).collect();
            let resource = replication(&name, &source, &destination).to_string();
            world.apply(&resource).await?;
            let failing = |object: &Value| reason(object, "Ready") == expected;
            let status = world.wait(&name, failing, expected).await?["status"].clone();
            ensure!(message(&status, "Ready").contains(code), "{name}: {status:#}");
            assert_eq!(reason(&status, "Stalled"), "", "{name}: {status:#}");
            // The command line says the same.
            for args in [vec!["plan", "-f", "-"], vec!["import", "--bucket", &source]] {
                let output = person(&world).run(args.clone(), &resource).await?;
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text);
                assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
                ensure!(text.contains(code), "{args:?} does not say {code}: {text}");
            }
            faults.into_iter().for_each(|fault| world.proxy.remove(fault));
            world.wait_ready(&name).await?;
        }
    }
    Ok(())
}

/// Whose a bucket is, an answer that fails does not say.
#[tokio::test]
async fn a_head_bucket_that_fails_for_now_makes_no_bucket_foreign() -> Result<()> {
    let scene = impatient("bare-owner").ready().await?;
    let proxy = &scene.world.proxy;
    let about = |operation| Matcher::operation(operation).about(&scene.destination);
    let denied = proxy.inject(Fault::always(about("GetBucketVersioning"), Answer::access_denied()));
    // The call that names the owner fails, and one that names none would be answered.
    proxy.inject(Fault::times(1, about("HeadBucket"), bare(503, &[])));
    let status = check_now(&scene.world, NAME).await?["status"].clone();
    ensure!(!status.to_string().contains("WrongBucketOwner"), "{status:#}");
    ensure!(message(&status, "VersioningReady").contains("s3:GetBucketVersioning"), "{status:#}");
    proxy.remove(denied);
    check_now(&scene.world, NAME).await?;
    scene.world.wait_ready(NAME).await?;
    Ok(())
}

/// Where `HeadBucket` says nothing of use, `GetBucketVersioning` of the Region that was asked says where the bucket is.
#[tokio::test]
async fn a_bucket_is_found_whatever_bare_status_head_bucket_has() -> Result<()> {
    let constraint = format!(
        "The {DESTINATION_REGION} location constraint is incompatible for the region specific endpoint this request was sent to."
    );
    let illegal = Answer::error(400, "IllegalLocationConstraintException", &constraint);
    let moved = Answer::WrongRegion { region: DESTINATION_REGION.to_owned() };
    for status in [301, 307, 400, 403, 405, 503] {
        for (says, elsewhere) in [("redirect", &moved), ("constraint", &illegal)] {
            let scene = impatient(&format!("bare-{status}-{says}")).empty().await?;
            let proxy = &scene.world.proxy;
            let about = |operation| Matcher::operation(operation).about(&scene.destination);
            proxy.inject(Fault::always(about("HeadBucket"), bare(status, &[])));
            // The first one goes to the Region of the environment, and the next one to that of the bucket.
            proxy.inject(Fault::times(1, about("GetBucketVersioning"), elsewhere.clone()));
            scene.apply(|_| {}).await?;
            let ready = scene.world.wait_ready(NAME).await?;
            let destination = &ready["status"]["destinations"][0];
            assert_eq!(destination["region"], DESTINATION_REGION, "{status} {says}: {destination}");
        }
    }
    Ok(())
}

/// `HeadBucket` goes on naming a Region in which the bucket is not.
#[tokio::test]
async fn a_region_that_head_bucket_names_by_mistake_is_corrected_by_the_next_answer() -> Result<()> {
    let scene = impatient("bare-mistaken").empty().await?;
    let proxy = &scene.world.proxy;
    let about = |operation| Matcher::operation(operation).about(&scene.destination);
    let mistaken = bare(301, &[("x-amz-bucket-region", "ap-southeast-2")]);
    proxy.inject(Fault::always(about("HeadBucket"), mistaken));
    let moved = Answer::WrongRegion { region: DESTINATION_REGION.to_owned() };
    proxy.inject(Fault::times(1, about("GetBucketVersioning"), moved));
    scene.apply(|_| {}).await?;
    let ready = scene.world.wait_ready(NAME).await?;
    assert_eq!(ready["status"]["destinations"][0]["region"], DESTINATION_REGION);
    Ok(())
}

#[tokio::test]
async fn a_bare_400_of_expired_credentials_is_reported_as_such_and_passes_without_a_request() -> Result<()> {
    let scene = impatient("bare-expired").empty().await?;
    let proxy = &scene.world.proxy;
    let expired = || Answer::error(400, "ExpiredToken", "The provided token has expired.");
    let head = proxy.inject(Fault::always(Matcher::operation("HeadBucket"), bare(400, &[])));
    let others = ["GetBucketVersioning", "GetBucketReplication", "GetRole"]
        .map(|operation| proxy.inject(Fault::always(Matcher::operation(operation), expired())));
    scene.apply(|_| {}).await?;
    let failing = |status: &Value| reason(status, "Ready") == "CredentialsUnavailable";
    let status = scene.world.wait(NAME, failing, "to report the credentials").await?["status"].clone();
    let text = message(&status, "Ready");
    ensure!(text.contains("ExpiredToken"), "{text}");
    assert_eq!(reason(&status, "Stalled"), "", "{status:#}");
    proxy.remove(head);
    for fault in others {
        proxy.remove(fault);
    }
    scene.world.wait_ready(NAME).await?;
    Ok(())
}

#[tokio::test]
async fn a_success_that_cannot_be_read_says_what_was_expected() -> Result<()> {
    let scene = impatient("unreadable").ready().await?;
    let strange =
        success("<?xml version=\"1.0\"?><VersioningResult><Status>Enabled</Status></VersioningResult>");
    let matching = Matcher::operation("GetBucketVersioning").about(&scene.source);
    let fault = scene.world.proxy.inject(Fault::always(matching, strange));
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "AwsUnavailable", "{status:#}");
    let text = message(&status, "Ready");
    for part in ["s3:GetBucketVersioning", &scene.source, "cannot be read", "VersioningConfiguration"] {
        ensure!(text.contains(part), "{part} is not in: {text}");
    }
    ensure!(!text.contains("HTTP 200"), "{text}");
    scene.world.proxy.remove(fault);
    scene.world.wait_ready(NAME).await?;
    Ok(())
}

/// Neither a role that is missing, which would be created, nor one of someone else.
#[tokio::test]
async fn a_role_without_content_is_no_role() -> Result<()> {
    let scene = impatient("empty-role").ready().await?;
    let namespace = "https://iam.amazonaws.com/doc/2010-05-08/";
    let role = "<Role><Path/><RoleName/><RoleId/><Arn/><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>";
    for result in ["<GetRoleResult/>", &format!("<GetRoleResult>{role}</GetRoleResult>")] {
        let body =
            format!("<GetRoleResponse xmlns=\"{namespace}\">{result}<ResponseMetadata/></GetRoleResponse>");
        let matching = Matcher::operation("GetRole").about(ROLE);
        let fault = scene.world.proxy.inject(Fault::always(matching, success(&body)));
        scene.world.proxy.clear();
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "AwsUnavailable", "{result}: {status:#}");
        let text = message(&status, "Ready");
        ensure!(text.contains("iam:GetRole") && text.contains(ROLE), "{result}: {text}");
        assert_eq!(scene.world.proxy.writes().len(), 0, "{result}");
        scene.world.proxy.remove(fault);
        scene.world.wait_ready(NAME).await?;
    }
    Ok(())
}

/// S3 denies `PutBucketReplication` in the same words whichever of its two rights is missing.
#[tokio::test]
async fn a_denied_configuration_names_both_rights_that_it_needs() -> Result<()> {
    let scene = impatient("two-rights").empty().await?;
    let matching = Matcher::operation("PutBucketReplication");
    scene.world.proxy.inject(Fault::always(matching, Answer::access_denied()));
    scene.apply(|_| {}).await?;
    let denied = |status: &Value| reason(status, "Ready") == "AccessDenied";
    let status = scene.world.wait(NAME, denied, "to be denied").await?["status"].clone();
    let text = message(&status, "Ready");
    for part in ["s3:PutReplicationConfiguration", "iam:PassRole", &format!("/{ROLE}")] {
        ensure!(text.contains(part), "{part} is not in: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_permissions_boundary_that_does_not_exist_is_not_a_missing_role() -> Result<()> {
    let scene = impatient("no-boundary").empty().await?;
    let boundary = format!("arn:aws:iam::{}:policy/boundary", scene.world.account);
    scene.apply(|spec| spec["role"]["permissionsBoundary"] = boundary.clone().into()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let status = scene.world.wait(NAME, refused, "to be refused").await?["status"].clone();
    let text = message(&status, "Ready");
    for part in ["role.permissionsBoundary", &boundary, "names no policy"] {
        ensure!(text.contains(part), "{part} is not in: {text}");
    }
    scene.world.proxy.wait_for(|calls| calls.iter().any(|c| c.operation == "CreateRole"), DEADLINE).await?;
    Ok(())
}
