//! Drift of versioning, of the role and of its policy.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, ROLE, SOURCE_REGION, reason};

use super::{Edit, differs, edit, scene_named, statement};

#[tokio::test]
async fn suspended_versioning_is_drift_of_source_and_destination() -> Result<()> {
    let scene = scene_named("drift-versioning").ready().await?;
    let (source, destination) = (scene.source.as_str(), scene.destination.as_str());
    scene.manage("Observe").await?;
    let suspended = |bucket: &str| differs("BucketVersioning", bucket, "status", "Enabled", "Suspended");

    scene.suspend(DESTINATION_REGION, destination).await?;
    scene
        .check_reported_and_corrected("destination", "VersioningReady", vec![suspended(destination)])
        .await?;
    scene.suspend(SOURCE_REGION, source).await?;
    scene.check_reported_and_corrected("source", "VersioningReady", vec![suspended(source)]).await?;
    scene.suspend(DESTINATION_REGION, destination).await?;
    scene.suspend(SOURCE_REGION, source).await?;
    let both = vec![suspended(destination), suspended(source)];
    scene.check_reported_and_corrected("both", "VersioningReady", both).await?;

    let status = scene.check().await?;
    assert_eq!(status["source"]["versioning"], "Enabled");
    assert_eq!(status["destinations"][0]["versioning"], "Enabled");
    Ok(())
}

#[tokio::test]
async fn every_outside_change_of_the_role_is_reported_and_corrected() -> Result<()> {
    let scene = scene_named("drift-role")
        .edit(|spec| {
            spec["role"]["tags"] = json!({"team": "data"});
            spec["role"]["permissionsBoundary"] = json!("arn:aws:iam::aws:policy/AmazonS3FullAccess");
        })
        .ready()
        .await?;
    let (iam, boundary) = (scene.world.iam(), "arn:aws:iam::aws:policy/AmazonS3FullAccess");
    let differs_in = |path: &str, want: &str, got: &str| differs("Role", ROLE, path, want, got);
    let role = |path: &str, want: &str, got: &str| vec![differs_in(path, want, got)];
    scene.manage("Observe").await?;

    let s3_assumes =
        json!({"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"});
    let ec2_assumes =
        json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"});
    let trust = |statements: &[&Value]| json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let by = |service: &str| format!("trustPolicy sts:AssumeRole by Service:{service}.amazonaws.com");
    let one_more = || differs_in(&by("ec2"), "absent", "Allow");
    for (what, document, expected) in [
        (
            "another principal",
            trust(&[&ec2_assumes]),
            vec![one_more(), differs_in(&by("s3"), "Allow", "absent")],
        ),
        ("a statement more", trust(&[&s3_assumes, &ec2_assumes]), vec![one_more()]),
    ] {
        scene.put_trust(&document).await?;
        scene.check_reported_and_corrected(what, "RoleReady", expected).await?;
    }

    let other = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    iam.put_role_permissions_boundary().role_name(ROLE).permissions_boundary(other).send().await?;
    let expected = role("permissionsBoundary", boundary, other);
    scene.check_reported_and_corrected("another boundary", "RoleReady", expected).await?;
    iam.delete_role_permissions_boundary().role_name(ROLE).send().await?;
    let expected = role("permissionsBoundary", boundary, "absent");
    scene.check_reported_and_corrected("no boundary", "RoleReady", expected).await?;

    scene.tag("team", "sales").await?;
    scene
        .check_reported_and_corrected("another tag value", "RoleReady", role("tags.team", "data", "sales"))
        .await?;
    scene.untag("team").await?;
    scene
        .check_reported_and_corrected("a tag less", "RoleReady", role("tags.team", "data", "absent"))
        .await?;
    scene.tag("cost-center", "42").await?;
    let status = scene.check().await?;
    assert_eq!((reason(&status, "Ready"), &status["driftCount"]), ("Applied", &json!(0)), "it is theirs");
    for key in ["cluster", "namespace", "name", "uid"].map(|key| format!("s3replication.dev/{key}")) {
        let held = iam.list_role_tags().role_name(ROLE).send().await?;
        let value =
            held.tags().iter().find(|t| t.key() == key).context("no identity tag")?.value().to_owned();
        scene.untag(&key).await?;
        let expected = role(&format!("tags.{key}"), &value, "absent");
        scene.check_reported_and_corrected(&format!("without {key}"), "RoleReady", expected).await?;
    }

    let arn = iam.get_role().role_name(ROLE).send().await?.role.context("no role")?.arn;
    scene.delete_policy().await?;
    iam.delete_role().role_name(ROLE).send().await?;
    scene.check_reported_and_corrected("no role", "RoleReady", role("arn", &arn, "absent")).await?;
    Ok(())
}

#[tokio::test]
async fn a_permissions_boundary_that_nobody_asked_for_is_removed() -> Result<()> {
    let scene = scene_named("drift-boundary").ready().await?;
    scene.manage("Observe").await?;
    let boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    scene
        .world
        .iam()
        .put_role_permissions_boundary()
        .role_name(ROLE)
        .permissions_boundary(boundary)
        .send()
        .await?;
    let expected = vec![differs("Role", ROLE, "permissionsBoundary", "absent", boundary)];
    scene.check_reported_and_corrected("a boundary", "RoleReady", expected).await
}

#[tokio::test]
async fn every_outside_change_of_the_role_policy_is_reported_and_corrected() -> Result<()> {
    let scene = scene_named("drift-policy").ready().await?;
    scene.manage("Observe").await?;
    let source = format!("arn:aws:s3:::{}", scene.source);
    let objects = format!("arn:aws:s3:::{}/*", scene.destination);
    // Every statement of the operator holds for buckets of the account only.
    let own = scene.world.account.to_string();
    let policy = |action: &str, on: &str, want: &str, got: &str| {
        let allow = format!(r#"Allow if {{"StringEqualsIfExists":{{"s3:ResourceAccount":["{own}"]}}}}"#);
        let text = |text: &str| match text {
            "Allow" => allow.clone(),
            "Allow; Deny" => format!("{allow}; Deny"),
            other => other.to_owned(),
        };
        differs("RolePolicy", ROLE, format!("{action} on {on}"), &text(want), &text(got))
    };
    let tls = json!({"Bool": {"aws:SecureTransport": "true"}});
    let if_tls = r#"Allow if {"Bool":{"aws:SecureTransport":"true"}}"#;

    let edits: Vec<Edit<Value>> = vec![
        edit(
            "an action less",
            vec![policy("s3:ReplicateDelete", &objects, "Allow", "absent")],
            |p: &mut Value| {
                let actions = statement(p, "DestinationObjects")["Action"].as_array_mut().unwrap();
                actions.retain(|a| a != "s3:ReplicateDelete");
            },
        ),
        edit("an action more", vec![policy("s3:PutObject", &objects, "absent", "Allow")], |p| {
            statement(p, "DestinationObjects")["Action"].as_array_mut().unwrap().push(json!("s3:PutObject"));
        }),
        edit(
            "another resource",
            vec![
                policy("s3:GetReplicationConfiguration", "arn:aws:s3:::another", "absent", "Allow"),
                policy("s3:GetReplicationConfiguration", &source, "Allow", "absent"),
                policy("s3:ListBucket", "arn:aws:s3:::another", "absent", "Allow"),
                policy("s3:ListBucket", &source, "Allow", "absent"),
            ],
            |p| statement(p, "SourceBucket")["Resource"] = json!("arn:aws:s3:::another"),
        ),
        edit(
            "a condition",
            vec![
                policy("s3:GetReplicationConfiguration", &source, "Allow", if_tls),
                policy("s3:ListBucket", &source, "Allow", if_tls),
            ],
            move |p| statement(p, "SourceBucket")["Condition"] = tls,
        ),
        edit("a denial", vec![policy("s3:ReplicateTags", &objects, "Allow", "Allow; Deny")], {
            let objects = objects.clone();
            move |p: &mut Value| {
                let denial = json!({"Effect": "Deny", "Action": "s3:ReplicateTags", "Resource": objects});
                p["Statement"].as_array_mut().unwrap().push(denial);
            }
        }),
        edit(
            "a statement less",
            vec![
                policy("s3:GetObjectVersionAcl", &format!("{source}/*"), "Allow", "absent"),
                policy("s3:GetObjectVersionForReplication", &format!("{source}/*"), "Allow", "absent"),
                policy("s3:GetObjectVersionTagging", &format!("{source}/*"), "Allow", "absent"),
            ],
            |p: &mut Value| {
                p["Statement"].as_array_mut().unwrap().retain(|s| s["Sid"] != "SourceObjects");
            },
        ),
    ];
    for Edit { what, make, mut expected } in edits {
        scene.edit_policy(make).await?;
        expected.sort_by_key(|d| d["path"].as_str().map(str::to_lowercase));
        scene.check_reported_and_corrected(what, "RoleReady", expected).await?;
    }

    scene.delete_policy().await?;
    let mut all = Vec::new();
    for action in ["s3:GetReplicationConfiguration", "s3:ListBucket"] {
        all.push(policy(action, &source, "Allow", "absent"));
    }
    for action in
        ["s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"]
    {
        all.push(policy(action, &format!("{source}/*"), "Allow", "absent"));
    }
    for action in [
        "s3:PutObjectAcl",
        "s3:PutObjectTagging",
        "s3:ReplicateDelete",
        "s3:ReplicateObject",
        "s3:ReplicateTags",
    ] {
        all.push(policy(action, &objects, "Allow", "absent"));
    }
    all.sort_by_key(|d| d["path"].as_str().map(str::to_lowercase));
    scene.check_reported_and_corrected("no policy", "RoleReady", all).await
}
