//! The definition of an `AwsAccount`: what `kubectl get` shows, what is refused, and how many resources refer to it.

use anyhow::Result;
use kube::api::{DeleteParams, PostParams};
use kube::core::Request;
use rig::world::World;
use serde_json::{Value, json};

use crate::replication::admission::complains;
use crate::support::{operator_of, patch, patch_account, set, world_with_accounts};

use super::{RemoteAccount, manifest, replicate, wait_for_reason};

#[tokio::test]
async fn kubectl_get_shows_the_accounts() -> Result<()> {
    let (world, _operator) = world_with_accounts("accounts-columns").await?;
    let there = RemoteAccount::new(&world, "there").await?;
    there.apply(&world).await?;
    replicate(&world, "orders", Some(&there), Some(&there)).await?;
    world.wait_account(&there.name, |status| status["replications"] == 1, "to count one").await?;
    let shown = |args: &[&str]| -> Result<(Vec<String>, Vec<String>)> {
        let output = world.cluster().kubectl(["get", "awsacct", &there.name].iter().chain(args))?;
        let text = String::from_utf8(output.stdout)?;
        let cells =
            |line: Option<&str>| line.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let mut lines = text.lines();
        Ok((cells(lines.next()), cells(lines.next())))
    };
    let (header, row) = shown(&[])?;
    assert_eq!(header, ["NAME", "ACCOUNT", "READY", "STATUS", "REPLICATIONS", "AGE"]);
    assert_eq!(row[..5], [there.name.as_str(), &there.id, "True", "Verified", "1"]);
    let (header, row) = shown(&["-o", "wide"])?;
    assert_eq!(header[6..], ["IDENTITY", "MESSAGE"]);
    let arn = format!("arn:aws:sts::{}:assumed-role/operator/awsaccount.{}", there.id, there.name);
    assert_eq!(row[6], arn);
    assert_eq!(row[7..].join(" "), format!("the operator is {arn} in account {}", there.id));
    Ok(())
}

/// An edit of an otherwise valid account, the field that the error names, and the remedy in its message.
#[rustfmt::skip] // One line a case.
fn bad_inputs() -> Vec<(&'static str, &'static str, Value, &'static str, &'static str)> {
    const ID: &str = "spec.accountId";
    const ARN: &str = "spec.assumeRole.arn";
    const EXTERNAL: &str = "spec.assumeRole.externalId";
    const SESSION: &str = "spec.assumeRole.sessionName";
    const BOUNDARY: &str = "spec.roles.permissionsBoundary";
    vec![
        ("an id too short", ID, json!("12345678901"), ID, "12 digits of an AWS account id, in quotes"),
        ("an id too long", ID, json!("1234567890123"), ID, "may not be more than 12"),
        ("an id with hyphens", ID, json!("1111-2222-33"), ID, "12 digits"),
        ("an alias for an id", ID, json!("production"), ID, "12 digits"),
        ("an id without quotes", ID, json!(111_122_223_333_u64), ID, "must be of type string"),
        ("no id", ID, Value::Null, ID, "Required value"),
        ("a role by name", ARN, json!("operator"), ARN, "must be the ARN of an IAM role"),
        ("a user's ARN", ARN, json!("arn:aws:iam::111122223333:user/u"), ARN, "such as arn:aws:iam::111122223333:role/"),
        ("a session's ARN", ARN, json!("arn:aws:sts::111122223333:assumed-role/r/s"), ARN, "must be the ARN of an IAM role"),
        ("a role in no account", ARN, json!("arn:aws:iam::aws:role/r"), ARN, "must be the ARN of an IAM role"),
        ("no role", ARN, Value::Null, ARN, "Required value"),
        ("an external id with a space", EXTERNAL, json!("my id"), EXTERNAL, "letters, digits or any of +=,.@:/_-"),
        ("an external id of one character", EXTERNAL, json!("x"), EXTERNAL, "at least 2 chars long"),
        ("an external id of 1,225 characters", EXTERNAL, json!("x".repeat(1225)), EXTERNAL, "may not be more than 1224"),
        ("a session name with a slash", SESSION, json!("a/b"), SESSION, "letters, digits or any of +=,.@_-"),
        ("a session name of 33 characters", SESSION, json!("s".repeat(33)), SESSION, "may not be more than 32"),
        ("an empty session name", SESSION, json!(""), SESSION, "at least 1 chars long"),
        ("a source by ARN", "spec.sources", json!(["arn:aws:s3:::orders"]), "spec.sources", "no ARNs"),
        ("a source in capitals", "spec.sources", json!(["Orders-*"]), "spec.sources", "lowercase letters, digits, dots and hyphens"),
        ("an empty source", "spec.sources", json!([""]), "spec.sources", "must be names of S3 buckets"),
        ("a source with a question mark", "spec.sources", json!(["orders-?"]), "spec.sources", "with * for any characters"),
        ("a source of 64 characters", "spec.sources", json!(["s".repeat(64)]), "spec.sources[0]", "may not be more than 63"),
        ("a source twice", "spec.sources", json!(["a-*", "a-*"]), "spec.sources[1]", "Duplicate value"),
        ("101 sources", "spec.sources", json!((0..101).map(|i| format!("s{i}")).collect::<Vec<_>>()), "spec.sources", "must have at most 100 items"),
        ("a destination by ARN", "spec.destinations", json!(["arn:aws:s3:::dr"]), "spec.destinations", "no ARNs"),
        ("a destination in capitals", "spec.destinations", json!(["DR"]), "spec.destinations", "such as orders-*"),
        ("another account too short", "spec.destinationAccounts", json!(["1234"]), "spec.destinationAccounts", "of 12 digits, in quotes"),
        ("another account without quotes", "spec.destinationAccounts", json!([111_122_223_333_u64]), "spec.destinationAccounts[0]", "must be of type string"),
        ("a path without its last slash", "spec.roles.path", json!("/team"), "spec.roles.path", "begin and end with /"),
        ("a boundary by name", BOUNDARY, json!("boundary"), BOUNDARY, "must be the ARN of an IAM policy"),
        ("namespaces as a list", "spec.namespaces", json!(["data"]), "spec.namespaces", "must be of type object"),
        ("a label that is a number", "spec.namespaces.matchLabels", json!({"tier": 1}), "spec.namespaces.matchLabels.tier", "must be of type string"),
        ("an unknown field", "spec.regions", json!(["eu-west-1"]), "spec.regions", "unknown field"),
    ]
}

/// Returns the API server's error message for an account, or `None` if it accepts it: `kubectl create
/// --dry-run=server`.
async fn refusal(world: &World, object: &Value) -> Result<Option<String>> {
    let params = PostParams { dry_run: true, field_manager: None };
    let path = "/apis/s3replication.dev/v1alpha1/awsaccounts";
    let mut request = Request::new(path).create(&params, serde_json::to_vec(object)?)?;
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse()?;
    match world.kube.request::<Value>(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn bad_input_of_an_account_is_refused_with_the_field_and_the_remedy() -> Result<()> {
    let world = World::with_accounts("accounts-admission").await?;
    let role = "arn:aws:iam::111122223333:role/operator";
    let good = manifest(&world, &world.unique("bad"), "111122223333", json!({"arn": role}));
    assert_eq!(refusal(&world, &good).await?, None);
    let mut wrong = Vec::new();
    for (what, path, value, field, says) in bad_inputs() {
        let mut object = good.clone();
        set(&mut object, path, value);
        match refusal(&world, &object).await? {
            None => wrong.push(format!("{what}: was not refused")),
            Some(reported) if complains(&reported, field, says) => {}
            Some(reported) => wrong.push(format!("{what}: expected {field} and {says:?} in: {reported}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (path, value) in [
        ("spec.assumeRole.arn", json!("arn:aws-us-gov:iam::111122223333:role/path/to/operator")),
        ("spec.assumeRole.externalId", json!("Team:42/a=b+c,d.e@f_g-h")),
        ("spec.assumeRole.sessionName", json!("s3-replication")),
        ("spec.assumeRole", Value::Null),
        ("spec.sources", json!(["orders-*", "*", "my.bucket"])),
        ("spec.namespaces", json!({"matchLabels": {"team": "data"}})),
        ("spec.roles", json!({"path": "/", "permissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess"})),
    ] {
        let mut object = good.clone();
        set(&mut object, path, value);
        assert_eq!(refusal(&world, &object).await?, None, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_id_of_an_account_cannot_change_and_says_what_to_do_instead() -> Result<()> {
    let world = World::with_accounts("accounts-immutable").await?;
    let there = RemoteAccount::new(&world, "there").await?;
    world.apply(&there.manifest(&world).to_string()).await?;
    let reported = patch_account(&world, &there.name, json!({"spec": {"accountId": "111122223333"}})).await;
    let reported = reported.unwrap_err().to_string();
    assert!(
        complains(&reported, "spec.accountId", "create another AwsAccount for the other account"),
        "{reported}"
    );
    patch_account(&world, &there.name, json!({"spec": {"assumeRole": null}})).await
}

#[tokio::test]
async fn an_account_counts_the_resources_that_refer_to_it() -> Result<()> {
    let world = World::alone("accounts-count").await?;
    let _operator = operator_of(&world).start().await?;
    let (here, there) =
        (RemoteAccount::new(&world, "here").await?, RemoteAccount::new(&world, "there").await?);
    let default =
        RemoteAccount { name: "default".to_owned(), ..RemoteAccount::new(&world, "default").await? };
    let all = [&here, &there, &default];
    for account in all {
        let status = &account.apply(&world).await?["status"];
        assert_eq!(status["replications"], 0, "{status:#}");
    }
    let count = async |counts: [i64; 3]| -> Result<()> {
        for (account, n) in all.into_iter().zip(counts) {
            let counted = |status: &Value| status["replications"] == n;
            world.wait_account(&account.name, counted, &format!("to count {n}")).await?;
        }
        Ok(())
    };
    replicate(&world, "within", Some(&here), Some(&here)).await?;
    count([1, 0, 0]).await?;
    replicate(&world, "across", Some(&here), Some(&there)).await?;
    count([2, 1, 0]).await?;
    replicate(&world, "unsaid", None, Some(&there)).await?;
    count([2, 2, 1]).await?;

    // A resource counts even if nothing is allowed to it.
    patch_account(&world, "default", json!({"spec": {"sources": []}})).await?;
    wait_for_reason(&world, "unsaid", "NotAllowed").await?;
    let seen = |status: &Value| status["observedGeneration"] == 2;
    world.wait_account("default", seen, "to have been checked").await?;
    count([2, 2, 1]).await?;

    patch(&world, "unsaid", json!({"spec": {"source": {"accountRef": here.name}}})).await?;
    count([3, 2, 0]).await?;
    // A resource that names an account twice counts once, and the count follows its destination.
    let rule = &world.get("unsaid").await?["spec"]["rules"][0];
    let mut rule = rule.clone();
    set(&mut rule, "destination.accountRef", json!(here.name));
    patch(&world, "unsaid", json!({"spec": {"rules": [rule]}})).await?;
    count([3, 1, 0]).await?;
    world.api().delete("across", &DeleteParams::default()).await?;
    world.wait_gone("across").await?;
    count([2, 0, 0]).await?;
    patch(&world, "within", json!({"spec": {"source": {"accountRef": null}}})).await?;
    count([2, 0, 1]).await?;
    patch(&world, "unsaid", json!({"spec": {"suspend": true}})).await?;
    count([2, 0, 1]).await
}
