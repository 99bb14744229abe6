//! What an `AwsAccount` makes of the operator: identities, sessions, and troubles that stay in their account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use futures::future::try_join_all;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use rig::operator::Operator;
use rig::proxy::{Answer, Call, Fault, Matcher};
use rig::world::{DEADLINE, World, condition};
use serde_json::{Value, json};

use crate::admission::complains;
use crate::support::{check_now, message, operator, patch, reason, replication, set, world};

/// As many reconciles as run at once in one set of accounts, by default.
const PLACES: usize = 12;

/// An account, and the operator's role there.
struct Abroad {
    /// Of its `AwsAccount`.
    name: String,
    id: String,
    role: String,
}

impl Abroad {
    async fn new(world: &World, name: &str) -> Result<Abroad> {
        Abroad::trusting(world, name, None).await
    }

    /// One whose role asks for an external id.
    async fn trusting(world: &World, name: &str, external_id: Option<&str>) -> Result<Abroad> {
        let id = world.another_account();
        let all = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
        ]});
        let all = all.to_string();
        let role = world.assumable_role(&id, "operator", &world.account, external_id, &all).await?;
        Ok(Abroad { name: world.unique(name), id, role })
    }

    /// Its `AwsAccount`, which lets the world's namespace do all.
    fn manifest(&self, world: &World) -> Value {
        manifest(world, &self.name, &self.id, json!({"arn": self.role}))
    }

    /// Applies the `AwsAccount` and waits until it is Ready.
    async fn apply(&self, world: &World) -> Result<Value> {
        world.apply(&self.manifest(world).to_string()).await?;
        account_is(world, &self.name, "Verified").await
    }

    /// Whether a call acts in this account, or is to let the operator in.
    fn concerns(&self, call: &Call) -> bool {
        call.account == self.id || call.subject == self.role
    }

    /// The calls that let the operator in.
    fn sessions(&self, calls: &[Call]) -> Vec<Call> {
        let begun = |call: &&Call| call.operation == "AssumeRole" && call.subject == self.role;
        calls.iter().filter(begun).cloned().collect()
    }

    /// The names of the sessions that were asked for, each as often as it was, sorted.
    fn session_names(&self, calls: &[Call]) -> Vec<String> {
        let sessions = self.sessions(calls);
        let mut names: Vec<String> = sessions.iter().filter_map(|c| c.parameter("RoleSessionName")).collect();
        names.sort();
        names
    }
}

fn manifest(world: &World, name: &str, id: &str, assume_role: Value) -> Value {
    let mut account = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": name},
        "spec": {
            "accountId": id,
            "namespaces": {"matchNames": [world.namespace]},
            "sources": ["*"],
            "destinations": ["*"],
        },
    });
    if !assume_role.is_null() {
        account["spec"]["assumeRole"] = assume_role;
    }
    account
}

async fn account_is(world: &World, name: &str, wanted: &str) -> Result<Value> {
    world.wait_account(name, |status| reason(status, "Ready") == wanted, wanted).await
}

async fn patch_account(world: &World, name: &str, change: Value) -> Result<()> {
    world.accounts().patch(name, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

/// A resource whose buckets are in these accounts; in the operator's own where none is given.
fn referring(mut resource: Value, source: Option<&Abroad>, destination: Option<&Abroad>) -> Value {
    if let Some(account) = source {
        set(&mut resource, "spec.source.accountRef", json!(account.name));
    }
    if let Some(account) = destination {
        set(&mut resource, "spec.rules.0.destination.accountRef", json!(account.name));
    }
    resource
}

/// Applies a resource with a source and a destination of its own in these accounts.
async fn replicate(world: &World, name: &str, from: Option<&Abroad>, to: Option<&Abroad>) -> Result<Value> {
    let owner = |account: Option<&Abroad>| account.map_or(world.account.clone(), |a| a.id.clone());
    let source = world.bucket_of(&owner(from), "us-east-1").await?;
    let destination = world.bucket_of(&owner(to), "eu-west-1").await?;
    let resource = referring(replication(name, &source, &destination), from, to);
    world.apply(&resource.to_string()).await?;
    Ok(resource)
}

/// Waits until a resource's Ready has this reason.
async fn is(world: &World, name: &str, wanted: &str) -> Result<Value> {
    world.wait(name, |status| reason(status, "Ready") == wanted, wanted).await
}

/// Operations that were asked of AWS.
fn operations<'a>(calls: impl IntoIterator<Item = &'a Call>) -> BTreeSet<&'a str> {
    calls.into_iter().map(|call| call.operation.as_str()).collect()
}

#[tokio::test]
async fn an_account_says_who_the_operator_is_there() -> Result<()> {
    let (world, _operator) = world("accounts-who").await?;
    let there = Abroad::new(&world, "there").await?;
    let account = there.apply(&world).await?;
    let session = world.as_account(&world.account);
    let session = session.assume(&there.role, &format!("awsaccount.{}", there.name), None).await?;
    let who = session.sts().get_caller_identity().send().await?;
    let status = &account["status"];
    assert_eq!(status["identity"], json!({"arn": who.arn(), "accountId": who.account()}));
    assert_eq!(status["identity"]["accountId"], json!(there.id));
    assert_eq!(status["observedGeneration"], account["metadata"]["generation"]);
    assert_eq!(status["conditions"].as_array().map(Vec::len), Some(1), "nothing but Ready: {status:#}");
    let ready = condition(status, "Ready").context("no Ready")?;
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("True"), &json!("Verified")));
    assert_eq!(
        ready["message"],
        json!(format!("the operator is {} in account {}", who.arn().unwrap(), there.id))
    );

    let own = world.unique("own");
    world.apply(&manifest(&world, &own, &world.account, Value::Null).to_string()).await?;
    let status = &account_is(&world, &own, "Verified").await?["status"];
    let arn = format!("arn:aws:iam::{}:root", world.account);
    assert_eq!(status["identity"], json!({"arn": arn, "accountId": world.account}));
    Ok(())
}

#[tokio::test]
async fn an_account_is_waiting_from_its_first_moment_until_it_was_asked() -> Result<()> {
    let world = World::new("accounts-first").await?;
    let there = Abroad::new(&world, "there").await?;
    let created = world.apply(&there.manifest(&world).to_string()).await?;
    for object in [&created[0], &world.account(&there.name).await?] {
        assert_eq!(object["status"]["observedGeneration"], -1);
        let ready = condition(&object["status"], "Ready").context("no Ready")?;
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("Progressing")));
    }
    let _operator = operator(&world).start().await?;
    account_is(&world, &there.name, "Verified").await?;
    patch_account(&world, &there.name, json!({"spec": {"sources": ["orders-*"]}})).await?;
    let generation = world.account(&there.name).await?["metadata"]["generation"].clone();
    assert_eq!(generation, 2);
    let followed = |status: &Value| status["observedGeneration"] == generation;
    world.wait_account(&there.name, followed, "to speak of what it says now").await?;
    Ok(())
}

#[tokio::test]
async fn kubectl_get_shows_the_accounts() -> Result<()> {
    let (world, _operator) = world("accounts-columns").await?;
    let there = Abroad::new(&world, "there").await?;
    there.apply(&world).await?;
    replicate(&world, "orders", Some(&there), Some(&there)).await?;
    world.wait_account(&there.name, |status| status["replications"] == 1, "to count one").await?;
    let shown = |args: &[&str]| -> Result<(Vec<String>, Vec<String>)> {
        let output = world.cluster().kubectl(["get", "awsacct", &there.name].iter().chain(args))?;
        let text = String::from_utf8(output.stdout)?;
        let words =
            |line: Option<&str>| line.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let mut lines = text.lines();
        Ok((words(lines.next()), words(lines.next())))
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

/// What is set in an otherwise good account, the field that the refusal names, and what it says to do.
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

/// What the API server would say, as `kubectl create --dry-run=server` asks: `None` when it takes it.
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
    let world = World::new("accounts-admission").await?;
    let role = "arn:aws:iam::111122223333:role/operator";
    let good = manifest(&world, &world.unique("bad"), "111122223333", json!({"arn": role}));
    assert_eq!(refusal(&world, &good).await?, None);
    let mut wrong = Vec::new();
    for (what, path, value, field, says) in bad_inputs() {
        let mut object = good.clone();
        set(&mut object, path, value);
        match refusal(&world, &object).await? {
            None => wrong.push(format!("{what}: was not refused")),
            Some(told) if complains(&told, field, says) => {}
            Some(told) => wrong.push(format!("{what}: expected {field} and {says:?} in: {told}")),
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
    let world = World::new("accounts-immutable").await?;
    let there = Abroad::new(&world, "there").await?;
    world.apply(&there.manifest(&world).to_string()).await?;
    let told = patch_account(&world, &there.name, json!({"spec": {"accountId": "111122223333"}})).await;
    let told = told.unwrap_err().to_string();
    assert!(complains(&told, "spec.accountId", "create another AwsAccount for the other account"), "{told}");
    patch_account(&world, &there.name, json!({"spec": {"assumeRole": null}})).await
}

#[tokio::test]
async fn an_account_counts_the_resources_that_refer_to_it() -> Result<()> {
    let world = World::alone("accounts-count").await?;
    let _operator = operator(&world).start().await?;
    let (here, there) = (Abroad::new(&world, "here").await?, Abroad::new(&world, "there").await?);
    let default = Abroad { name: "default".to_owned(), ..Abroad::new(&world, "default").await? };
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

    // It need not be allowed anything to be counted.
    patch_account(&world, "default", json!({"spec": {"sources": []}})).await?;
    is(&world, "unsaid", "NotAllowed").await?;
    let seen = |status: &Value| status["observedGeneration"] == 2;
    world.wait_account("default", seen, "to have been looked at").await?;
    count([2, 2, 1]).await?;

    patch(&world, "unsaid", json!({"spec": {"source": {"accountRef": here.name}}})).await?;
    count([3, 2, 0]).await?;
    // It is counted once where it names an account twice, and moves on with its destination.
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

#[tokio::test]
async fn sts_is_asked_who_the_operator_is_before_anything_else_is_asked_in_an_account() -> Result<()> {
    let world = World::new("accounts-asked").await?;
    let there = Abroad::new(&world, "there").await?;
    let own = Abroad { name: world.unique("own"), id: world.account.clone(), role: String::new() };
    world.apply(&there.manifest(&world).to_string()).await?;
    world.apply(&manifest(&world, &own.name, &own.id, Value::Null).to_string()).await?;
    for i in 0..5 {
        replicate(&world, &format!("there-{i}"), Some(&there), Some(&there)).await?;
        replicate(&world, &format!("own-{i}"), Some(&own), Some(&own)).await?;
    }
    // All of them at once.
    let _operator = operator(&world).start().await?;
    for i in 0..5 {
        world.wait_ready(&format!("there-{i}")).await?;
        world.wait_ready(&format!("own-{i}")).await?;
    }
    let calls = world.proxy.calls();
    for id in [&there.id, &own.id] {
        // A session is asked for by who the operator is itself.
        let mut calls = calls.iter().filter(|c| c.account == *id && c.operation != "AssumeRole");
        let first = calls.next().context("nothing was asked")?;
        assert_eq!((first.operation.as_str(), first.status), ("GetCallerIdentity", Some(200)));
        assert_eq!(first.access_key.starts_with("ASIA"), *id == there.id);
        let early: Vec<_> =
            calls.filter(|c| c.started < first.ended && c.operation != "GetCallerIdentity").collect();
        assert!(early.is_empty(), "asked before STS had answered: {early:?}");
    }
    Ok(())
}

/// How the operator comes to be in another account than an `AwsAccount` says.
#[derive(Clone, Copy, Debug)]
enum Elsewhere {
    /// It acts as itself, and its own account is another.
    Own,
    /// The role is in another account.
    Role,
    /// The role's ARN names the account, and STS says that it is another.
    Identity,
}

impl Elsewhere {
    async fn stops_all(self, name: &str) -> Result<()> {
        let (world, _operator) = world(name).await?;
        let (good, there) = (Abroad::new(&world, "good").await?, Abroad::new(&world, "there").await?);
        let stranger = Abroad::new(&world, "stranger").await?;
        good.apply(&world).await?;
        let (found, wrong) = match self {
            Elsewhere::Own => (world.account.clone(), Value::Null),
            Elsewhere::Role => (stranger.id.clone(), json!({"arn": stranger.role})),
            Elsewhere::Identity => {
                let body = format!(
                    "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                     <GetCallerIdentityResult><Arn>arn:aws:sts::{0}:assumed-role/operator/x</Arn>\
                     <UserId>AROAX:x</UserId><Account>{0}</Account></GetCallerIdentityResult>\
                     <ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></GetCallerIdentityResponse>",
                    stranger.id
                );
                let answer = Answer::Custom { status: 200, headers: Vec::new(), body };
                let asked = Matcher::operation("GetCallerIdentity").in_account(&there.id);
                world.proxy.inject(Fault::always(asked, answer));
                (stranger.id.clone(), json!({"arn": there.role}))
            }
        };
        world.proxy.clear();
        world.apply(&manifest(&world, &there.name, &there.id, wrong).to_string()).await?;
        replicate(&world, "from", Some(&there), Some(&good)).await?;
        replicate(&world, "into", Some(&good), Some(&there)).await?;
        let account = account_is(&world, &there.name, "AccountMismatch").await?;
        assert_eq!(account["status"]["identity"], Value::Null, "it is nobody there");
        for status in [
            &account["status"],
            &is(&world, "from", "AccountMismatch").await?["status"],
            &is(&world, "into", "AccountMismatch").await?["status"],
        ] {
            assert_eq!(condition(status, "Ready").context("no Ready")?["status"], "False");
            assert_eq!(reason(status, "Stalled"), "AccountMismatch", "someone has to correct it");
            let said = message(status, "Ready");
            for part in [&there.name, &there.id, &found, "assumeRole.arn", "Nothing is written"] {
                ensure!(said.contains(part), "{part} is not in: {said}");
            }
        }
        let calls = world.proxy.calls();
        assert_eq!(
            operations(&calls).difference(&["AssumeRole", "GetCallerIdentity"].into()).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "{calls:?}"
        );

        // What was wrong about the role, or about its absence, is corrected.
        world.proxy.remove_faults();
        let sources = json!(["*", "corrected-*"]);
        let right = json!({"spec": {"assumeRole": {"arn": there.role}, "sources": sources}});
        patch_account(&world, &there.name, right).await?;
        account_is(&world, &there.name, "Verified").await?;
        world.wait_ready("from").await?;
        world.wait_ready("into").await?;
        let calls = world.proxy.calls();
        let strange = calls.iter().filter(|c| c.account == found && c.account != there.id);
        let strange = operations(strange);
        assert!(strange.is_subset(&["AssumeRole", "GetCallerIdentity"].into()), "{strange:?}");
        Ok(())
    }
}

#[tokio::test]
async fn an_own_identity_in_another_account_stops_all_that_refers_to_it_until_corrected() -> Result<()> {
    Elsewhere::Own.stops_all("accounts-own").await
}

#[tokio::test]
async fn a_role_in_another_account_stops_all_that_refers_to_it_until_corrected() -> Result<()> {
    Elsewhere::Role.stops_all("accounts-role").await
}

#[tokio::test]
async fn an_identity_that_sts_places_in_another_account_stops_all_that_refers_to_it() -> Result<()> {
    Elsewhere::Identity.stops_all("accounts-identity").await
}

#[tokio::test]
async fn a_session_is_named_after_its_resource_and_carries_the_external_id() -> Result<()> {
    let world = World::with_auth("accounts-sessions").await?;
    let _operator = operator(&world).start().await?;
    let (here, there) = (
        Abroad::trusting(&world, "here", Some("tenant:42/a")).await?,
        Abroad::trusting(&world, "there", None).await?,
    );
    let mut account = here.manifest(&world);
    set(&mut account, "spec.assumeRole.externalId", json!("tenant:42/a"));
    set(&mut account, "spec.assumeRole.sessionName", json!("s3-replication"));
    world.apply(&account.to_string()).await?;
    account_is(&world, &here.name, "Verified").await?;
    there.apply(&world).await?;
    // They differ where no session's name has room.
    let long = "a-long-name-of-a-resource-as-generators-make-them-".repeat(2);
    let names = ["orders".to_owned(), format!("{long}1"), format!("{long}2")];
    for (i, name) in names.iter().enumerate() {
        let source = world.bucket_of(&here.id, "us-east-1").await?;
        let destination = world.bucket_of(&there.id, "eu-west-1").await?;
        let mut resource = referring(replication(name, &source, &destination), Some(&here), Some(&there));
        set(&mut resource, "spec.role", json!({"name": format!("role-{i}"), "path": "/"}));
        world.apply(&resource.to_string()).await?;
    }
    for name in &names {
        world.wait_ready(name).await?;
    }
    let calls = world.proxy.calls();
    for call in here.sessions(&calls) {
        assert_eq!(call.parameter("ExternalId").as_deref(), Some("tenant:42/a"));
    }
    assert!(there.sessions(&calls).iter().all(|call| call.parameter("ExternalId").is_none()));
    for (account, beginning) in [(&here, "s3-replication@"), (&there, "")] {
        let sessions = account.session_names(&calls);
        let of_account = format!("{beginning}awsaccount.{}", account.name);
        let of_resource = format!("{beginning}{}.", world.namespace);
        let (account, resources): (Vec<&String>, Vec<_>) =
            sessions.iter().partition(|name| **name == of_account);
        assert_eq!((account.len(), resources.len()), (1, 3), "{sessions:?}");
        assert!(resources.iter().all(|name| name.starts_with(&of_resource)), "{sessions:?}");
        assert!(resources.contains(&&format!("{of_resource}orders")), "{sessions:?}");
        let shortened: BTreeSet<&String> = resources.into_iter().filter(|name| name.len() == 64).collect();
        assert_eq!(shortened.len(), 2, "long names fit and stay apart: {sessions:?}");
    }
    // All that is done there is done in these sessions.
    let acting = calls.iter().filter(|call| call.account == here.id || call.account == there.id);
    assert!(acting.clone().all(|call| call.access_key.starts_with("ASIA")));
    assert_eq!(acting.map(|call| &call.access_key).collect::<BTreeSet<_>>().len(), 8);
    Ok(())
}

#[tokio::test]
async fn a_wrong_external_id_says_what_to_allow_on_which_role() -> Result<()> {
    let world = World::with_auth("accounts-external").await?;
    let _operator = operator(&world).start().await?;
    let (good, there) =
        (Abroad::new(&world, "good").await?, Abroad::trusting(&world, "there", Some("right")).await?);
    good.apply(&world).await?;
    let mut account = there.manifest(&world);
    set(&mut account, "spec.assumeRole.externalId", json!("wrong"));
    world.apply(&account.to_string()).await?;
    for (name, from, to) in [("from", &there, &good), ("into", &good, &there)] {
        let source = world.bucket_of(&from.id, "us-east-1").await?;
        let destination = world.bucket_of(&to.id, "eu-west-1").await?;
        let mut resource = referring(replication(name, &source, &destination), Some(from), Some(to));
        set(&mut resource, "spec.role.path", json!("/"));
        world.apply(&resource.to_string()).await?;
    }
    for status in [
        &account_is(&world, &there.name, "AccessDenied").await?["status"],
        &is(&world, "from", "AccessDenied").await?["status"],
        &is(&world, "into", "AccessDenied").await?["status"],
    ] {
        assert_eq!(reason(status, "Reconciling"), "AccessDenied", "it is tried again");
        let said = message(status, "Ready");
        let on = format!("sts:AssumeRole on {} is denied", there.role);
        let trust = format!("let the trust policy of {} allow it", there.role);
        for part in [on.as_str(), &trust, "with the external id", "not authorized"] {
            ensure!(said.contains(part), "{part} is not in: {said}");
        }
    }
    assert_eq!(world.proxy.writes().len(), 0);
    patch_account(&world, &there.name, json!({"spec": {"assumeRole": {"externalId": "right"}}})).await?;
    account_is(&world, &there.name, "Verified").await?;
    world.wait_ready("from").await?;
    world.wait_ready("into").await?;
    Ok(())
}

#[tokio::test]
async fn a_session_serves_many_checks() -> Result<()> {
    let (world, _operator) = world("accounts-cached").await?;
    let (here, there) = (Abroad::new(&world, "here").await?, Abroad::new(&world, "there").await?);
    here.apply(&world).await?;
    there.apply(&world).await?;
    for name in ["orders", "invoices"] {
        replicate(&world, name, Some(&here), Some(&there)).await?;
        world.wait_ready(name).await?;
    }
    let before = world.proxy.calls().len();
    for _ in 0..10 {
        for name in ["orders", "invoices"] {
            check_now(&world, name).await?;
        }
    }
    let calls = world.proxy.calls();
    assert!(calls.len() >= before + 100, "20 checks are more than {} calls", calls.len() - before);
    for account in [&here, &there] {
        let once = ["invoices", "orders"].map(|name| format!("{}.{name}", world.namespace));
        let once = [&once[..], &[format!("awsaccount.{}", account.name)]].concat();
        assert_eq!(account.session_names(&calls), once);
    }
    Ok(())
}

/// A real session of this length, the answer to an AssumeRole that gives it, and when it ends.
struct Given {
    access_key: String,
    answer: Answer,
    ends: Instant,
}

/// Begins a session as the operator would: past the proxy, where one may be shorter than AWS allows.
async fn given(world: &World, role: &str, name: &str, seconds: i32) -> Result<Given> {
    let sts = world.as_account(&world.account).sts();
    let request = sts.assume_role().role_arn(role).role_session_name(name).duration_seconds(seconds);
    let answer = request.send().await?;
    let session = answer.credentials().context("no credentials")?;
    let user = answer.assumed_role_user().context("no role")?;
    let expiration = SystemTime::try_from(*session.expiration())?;
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>{}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser></AssumeRoleResult>\
         <ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></AssumeRoleResponse>",
        session.access_key_id(),
        session.secret_access_key(),
        session.session_token(),
        session.expiration(),
        user.assumed_role_id(),
        user.arn(),
    );
    Ok(Given {
        access_key: session.access_key_id().to_owned(),
        answer: Answer::Custom { status: 200, headers: Vec::new(), body },
        ends: Instant::now() + expiration.duration_since(SystemTime::now())?,
    })
}

#[tokio::test]
async fn a_session_is_renewed_before_it_expires_and_none_is_used_after() -> Result<()> {
    let world = World::with_auth("accounts-renewed").await?;
    let _operator = operator(&world).start().await?;
    let there = Abroad::new(&world, "there").await?;
    there.apply(&world).await?;
    let source = world.bucket_of(&there.id, "us-east-1").await?;
    let destination = world.bucket_of(&there.id, "eu-west-1").await?;
    let mut resource = referring(replication("orders", &source, &destination), Some(&there), Some(&there));
    set(&mut resource, "spec.role.path", json!("/"));
    world.proxy.clear();
    let session_name = format!("{}.orders", world.namespace);
    let mut sessions = Vec::new();
    for seconds in [8, 20] {
        let given = given(&world, &there.role, &session_name, seconds).await?;
        let asked = Matcher::operation("AssumeRole").about(&there.role);
        world.proxy.inject(Fault::times(1, asked, given.answer.clone()));
        sessions.push(given);
    }
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    let all_replaced = async {
        while there.sessions(&world.proxy.calls()).len() <= sessions.len() {
            let status = &check_now(&world, "orders").await?["status"];
            ensure!(reason(status, "Ready") == "Applied", "{status:#}");
        }
        Ok(())
    };
    tokio::time::timeout(DEADLINE, all_replaced).await.context("they are not renewed")??;
    let status = &check_now(&world, "orders").await?["status"];
    assert_eq!(reason(status, "Ready"), "Applied", "{status:#}");

    let calls = world.proxy.calls();
    let begun = there.sessions(&calls);
    assert_eq!(there.session_names(&calls), vec![session_name; sessions.len() + 1]);
    for (session, next) in sessions.iter().zip(&begun[1..]) {
        assert!(next.started < session.ends, "renewed when it had ended");
        let used: Vec<_> = calls.iter().filter(|call| call.access_key == session.access_key).collect();
        assert!(!used.is_empty(), "it was never used");
        assert!(used.iter().all(|call| call.started < session.ends), "used when it had ended");
    }
    let expired: Vec<_> = calls.iter().filter(|c| c.error_code.as_deref() == Some("ExpiredToken")).collect();
    assert!(expired.is_empty(), "{expired:?}");
    Ok(())
}

/// What is wrong with one account.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Nothing is answered.
    Hangs,
    /// All is throttled.
    Throttles,
    /// The role is no longer to be assumed.
    TrustExpired,
}

impl Trouble {
    fn begins(self, world: &World, account: &Abroad) {
        let inject = |matching, answer| {
            world.proxy.inject(Fault::always(matching, answer));
        };
        let there = || Matcher::any().in_account(&account.id);
        match self {
            Trouble::Hangs => inject(there(), Answer::Hang),
            Trouble::Throttles => {
                // S3's words for it are not IAM's.
                let s3 = [
                    "GetBucketVersioning",
                    "GetBucketReplication",
                    "GetObjectLockConfiguration",
                    "GetBucketPolicy",
                ];
                for read in s3 {
                    inject(Matcher::operation(read).in_account(&account.id), Answer::slow_down());
                }
                inject(there(), Answer::throttling());
            }
            Trouble::TrustExpired => {
                let words = format!(
                    "User: arn:aws:iam::{}:root is not authorized to perform: sts:AssumeRole on resource: {}",
                    world.account, account.role
                );
                let denied = Answer::error(403, "AccessDenied", &words);
                inject(Matcher::operation("AssumeRole").about(&account.role), denied);
            }
        }
    }

    /// What its resources say. Those that hang say nothing while they wait.
    fn reason(self) -> &'static str {
        match self {
            Trouble::Hangs => "Progressing",
            Trouble::Throttles => "Throttled",
            Trouble::TrustExpired => "AccessDenied",
        }
    }

    /// What AWS says of what a resource tells.
    fn words(self) -> &'static str {
        match self {
            Trouble::Hangs => "",
            Trouble::Throttles => "SlowDown: Please reduce your request rate.",
            Trouble::TrustExpired => "not authorized to perform: sts:AssumeRole",
        }
    }

    /// Waits until it has struck these resources.
    async fn has_struck(self, world: &World, account: &Abroad, names: &[String]) -> Result<()> {
        let Trouble::Hangs = self else {
            try_join_all(names.iter().map(|name| is(world, name, self.reason()))).await?;
            return Ok(());
        };
        // Every place is taken by one that waits for what it asked of its destination, and of its source where that
        // is there too.
        let hanging = |calls: &[Call]| {
            let there = calls.iter().filter(|c| c.account == account.id && c.status.is_none());
            there.filter(|c| c.operation == "GetBucketVersioning").count() == 3 * PLACES
        };
        world.proxy.wait_for(hanging, DEADLINE).await?;
        Ok(())
    }

    /// It is over: from now on all is answered.
    async fn ends(self, world: &World) -> Result<()> {
        world.proxy.remove_faults();
        if let Trouble::Hangs = self {
            // The network is back, and tells of the connections that were lost.
            world.proxy.go_down().await;
            world.proxy.come_up().await?;
        }
        Ok(())
    }

    async fn stays_in_its_account(self, name: &str) -> Result<()> {
        let world = World::new(name).await?;
        // Longer than the test waits for anything: what hangs hangs until the end.
        let _operator = operator(&world).args(["--aws-attempt-timeout", "300"]).start().await?;
        let (a, b) = (Abroad::new(&world, "a").await?, Abroad::new(&world, "b").await?);
        a.apply(&world).await?;
        b.apply(&world).await?;
        replicate(&world, "before", Some(&a), Some(&b)).await?;
        world.wait_ready("before").await?;
        self.begins(&world, &b);
        let mut stuck = Vec::new();
        for i in 0..20 {
            stuck.push(format!("b-{i}"));
            replicate_told(&world, &format!("b-{i}"), &b, &b).await?;
        }
        for i in 0..PLACES + 2 {
            stuck.push(format!("a-to-b-{i}"));
            replicate_told(&world, &format!("a-to-b-{i}"), &a, &b).await?;
        }
        self.has_struck(&world, &b, &stuck).await?;

        replicate(&world, "a", Some(&a), Some(&a)).await?;
        replicate(&world, "own", None, None).await?;
        for name in ["a", "own"] {
            let something = |status: &Value| reason(status, "Ready") != "Progressing";
            let told = &world.wait(name, something, "to tell something").await?["status"];
            assert_eq!(reason(told, "Ready"), "Applied", "{name} met the other's trouble: {told:#}");
            let status = &check_now(&world, name).await?["status"];
            assert_eq!(reason(status, "Ready"), "Applied", "{status:#}");
        }
        world.api().delete("own", &DeleteParams::default()).await?;
        world.wait_gone("own").await?;
        for name in &stuck {
            let status = &world.get(name).await?["status"];
            assert_eq!(reason(status, "Ready"), self.reason(), "{name} was stuck all the time: {status:#}");
        }

        self.ends(&world).await?;
        try_join_all(stuck.iter().map(|name| world.wait_ready(name))).await?;
        Ok(())
    }
}

/// As `replicate`, with the Regions in the spec: S3's answer to the question for one has no words.
async fn replicate_told(world: &World, name: &str, from: &Abroad, to: &Abroad) -> Result<()> {
    let source = world.bucket_of(&from.id, "us-east-1").await?;
    let destination = world.bucket_of(&to.id, "eu-west-1").await?;
    let mut resource = referring(replication(name, &source, &destination), Some(from), Some(to));
    set(&mut resource, "spec.source.region", json!("us-east-1"));
    set(&mut resource, "spec.rules.0.destination.region", json!("eu-west-1"));
    world.apply(&resource.to_string()).await?;
    Ok(())
}

#[tokio::test]
async fn an_account_that_does_not_answer_keeps_no_other_waiting() -> Result<()> {
    Trouble::Hangs.stays_in_its_account("accounts-hangs").await
}

#[tokio::test]
async fn an_account_that_throttles_slows_no_other() -> Result<()> {
    Trouble::Throttles.stays_in_its_account("accounts-throttles").await
}

#[tokio::test]
async fn an_account_that_lets_the_operator_in_no_more_slows_no_other() -> Result<()> {
    Trouble::TrustExpired.stays_in_its_account("accounts-trust").await
}

#[tokio::test]
async fn resources_of_an_account_that_never_answered_are_all_told_at_its_first_failure() -> Result<()> {
    let world = World::new("accounts-silent").await?;
    // One after the other they would wait longer than a test does.
    let _operator =
        operator(&world).args(["--aws-attempt-timeout", "10", "--aws-attempts", "1"]).start().await?;
    let there = Abroad::new(&world, "there").await?;
    world.proxy.inject(Fault::always(Matcher::any().in_account(&there.id), Answer::Hang));
    world.apply(&there.manifest(&world).to_string()).await?;
    let names: Vec<String> = (0..PLACES).map(|i| format!("there-{i}")).collect();
    for name in &names {
        replicate_told(&world, name, &there, &there).await?;
    }
    try_join_all(names.iter().map(|name| is(&world, name, "AwsUnavailable"))).await?;
    account_is(&world, &there.name, "AwsUnavailable").await?;
    Ok(())
}

/// Lets an account refuse everything to many resources, which try again and again.
async fn is_left_alone(trouble: Trouble, name: &str) -> Result<()> {
    const RESOURCES: usize = 30;
    const ROUNDS: usize = 5;
    let world = World::new(name).await?;
    let _operator = operator(&world).args(["--aws-attempts", "1"]).start().await?;
    let there = Abroad::new(&world, "there").await?;
    there.apply(&world).await?;
    replicate_told(&world, "before", &there, &there).await?;
    world.wait_ready("before").await?;
    trouble.begins(&world, &there);
    world.proxy.clear();
    let names: Vec<String> = (0..RESOURCES).map(|i| format!("there-{i}")).collect();
    for name in &names {
        replicate_told(&world, name, &there, &there).await?;
    }
    trouble.has_struck(&world, &there, &names).await?;
    let mut said: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (name, object) in
            names.iter().zip(try_join_all(names.iter().map(|n| check_now(&world, n))).await?)
        {
            assert_eq!(reason(&object["status"], "Ready"), trouble.reason());
            said.entry(name).or_default().insert(message(&object["status"], "Ready").to_owned());
        }
    }
    let calls = world.proxy.calls();
    let asked = calls.iter().filter(|call| there.concerns(call)).count();
    for (name, messages) in said {
        assert_eq!(messages.len(), 1, "{name} says the same at each try: {messages:#?}");
        assert!(
            messages.iter().all(|m| m.contains(trouble.words())),
            "that is not what AWS said: {messages:#?}"
        );
    }
    // A session for each, and what was under way when it was first seen: not what each try would ask.
    assert!(asked <= RESOURCES + 6 * PLACES, "{asked} requests to an account that refuses everything");
    Ok(())
}

#[tokio::test]
async fn an_account_that_lets_the_operator_in_no_more_is_not_asked_again_and_again() -> Result<()> {
    is_left_alone(Trouble::TrustExpired, "accounts-breaker-trust").await
}

#[tokio::test]
async fn an_account_that_throttles_is_not_asked_again_and_again() -> Result<()> {
    is_left_alone(Trouble::Throttles, "accounts-breaker-throttled").await
}

/// Has the resources of an account use up the SDK's budget of retries there, by throttling these operations, and sees
/// that the last of them is still tried again in another account.
async fn retries_are_an_account_s_own(name: &str, operations: &[&str], answer: Answer) -> Result<()> {
    const ATTEMPTS: usize = 5;
    let world = World::new(name).await?;
    let attempts = ATTEMPTS.to_string();
    let _operator =
        operator(&world).args(["--aws-attempts", &attempts, "--concurrency", "40"]).start().await?;
    let (a, b) = (Abroad::new(&world, "a").await?, Abroad::new(&world, "b").await?);
    for account in [&a, &b] {
        account.apply(&world).await?;
        let before = format!("{}-before", account.name);
        replicate_told(&world, &before, account, account).await?;
        world.wait_ready(&before).await?;
    }
    let calls_of = |account: &Abroad, operation: &str| match operation {
        "AssumeRole" => Matcher::operation(operation).about(&account.role),
        _ => Matcher::operation(operation).in_account(&account.id),
    };
    world.proxy.clear();
    for operation in operations {
        world.proxy.inject(Fault::always(calls_of(&b, operation), answer.clone()));
    }
    let names: Vec<String> = (0..40).map(|i| format!("b-{i}")).collect();
    try_join_all(names.iter().map(|name| replicate_told(&world, name, &b, &b))).await?;
    try_join_all(names.iter().map(|name| is(&world, name, "Throttled"))).await?;
    let calls = world.proxy.calls();
    let tries: Vec<_> =
        calls.iter().filter(|c| operations.contains(&c.operation.as_str()) && b.concerns(c)).collect();
    let wanted: BTreeSet<_> =
        tries.iter().map(|c| (&c.operation, &c.subject, c.parameter("RoleSessionName"))).collect();
    let (tries, wanted) = (tries.len(), wanted.len());
    assert!(tries > wanted, "{wanted} calls were tried {tries} times: none was tried again");
    assert!(tries < wanted * ATTEMPTS, "{wanted} calls were tried {tries} times: the budget was not used up");

    let last = operations.last().context("no operation")?;
    world.proxy.inject(Fault::times(3, calls_of(&a, last), answer));
    replicate_told(&world, "a", &a, &a).await?;
    let told =
        world.wait("a", |status| reason(status, "Ready") != "Progressing", "to tell something").await?;
    let status = &told["status"];
    assert_eq!(reason(status, "Ready"), "Applied", "it was not tried again: {status:#}");
    Ok(())
}

#[tokio::test]
async fn an_account_that_has_used_up_its_retries_of_s3_takes_none_from_another() -> Result<()> {
    let reads = ["GetBucketVersioning", "GetBucketReplication"];
    retries_are_an_account_s_own("accounts-retry", &reads, Answer::slow_down()).await
}

#[tokio::test]
async fn an_account_that_has_used_up_its_retries_of_sts_takes_none_from_another() -> Result<()> {
    retries_are_an_account_s_own("accounts-retry-sts", &["AssumeRole"], Answer::throttling()).await
}

/// Two accounts, and resources Ready in both, of which one replicates across.
async fn settled(name: &str) -> Result<(World, Operator, Abroad, Abroad)> {
    let (world, operator) = world(name).await?;
    let (here, there) = (Abroad::new(&world, "here").await?, Abroad::new(&world, "there").await?);
    here.apply(&world).await?;
    there.apply(&world).await?;
    for (name, from, to) in [("within", &there, &there), ("across", &here, &there), ("from", &there, &here)] {
        replicate(&world, name, Some(from), Some(to)).await?;
        world.wait_ready(name).await?;
    }
    Ok((world, operator, here, there))
}

/// What is in AWS of a resource: its configuration, its role, and the policy of its destination.
async fn held(
    world: &World,
    name: &str,
    from: &Abroad,
    to: &Abroad,
    resource: &Value,
) -> Result<Vec<String>> {
    let spec = &resource["spec"];
    let source = spec["source"]["bucket"].as_str().context("no source")?;
    let destination = spec["rules"][0]["destination"]["bucket"].as_str().context("no destination")?;
    let (at_source, at_destination) = (world.as_account(&from.id), world.as_account(&to.id));
    let mut held = Vec::new();
    let configuration = at_source.s3("us-east-1").get_bucket_replication().bucket(source).send().await;
    match configuration {
        Ok(found) => held.push(format!("{:?}", found.replication_configuration())),
        Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => {}
        Err(error) => return Err(error.into()),
    }
    match at_source.iam().get_role().role_name(format!("{name}-role")).send().await {
        Ok(found) => held.push(format!("{:?}", found.role().map(|role| role.arn()))),
        Err(error) if error.code() == Some("NoSuchEntity") => {}
        Err(error) => return Err(error.into()),
    }
    match at_destination.s3("eu-west-1").get_bucket_policy().bucket(destination).send().await {
        Ok(found) => held.push(format!("{:?}", found.policy())),
        Err(error) if error.code() == Some("NoSuchBucketPolicy") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(held)
}

#[tokio::test]
async fn resources_of_a_deleted_account_leave_all_as_it_is_and_go_on_when_it_is_back() -> Result<()> {
    let (world, _operator, here, there) = settled("accounts-deleted").await?;
    let resources = [("within", &there, &there, 2), ("across", &here, &there, 3), ("from", &there, &here, 3)];
    let mut before = Vec::new();
    for (name, from, to, parts) in resources {
        let held = held(&world, name, from, to, &world.get(name).await?).await?;
        assert_eq!(held.len(), parts, "{name}: {held:#?}");
        before.push(held);
    }
    world.proxy.clear();
    world.accounts().delete(&there.name, &DeleteParams::default()).await?;
    for (name, field) in [
        ("within", "source.accountRef"),
        ("across", "rules[ReplicateToEU].destination.accountRef"),
        ("from", "source.accountRef"),
    ] {
        let status = &is(&world, name, "AccountNotFound").await?["status"];
        assert_eq!(reason(status, "Reconciling"), "AccountNotFound", "it comes back by itself");
        let says = format!(
            "{field} names the AwsAccount {}, which does not exist; create it or correct {field}",
            there.name
        );
        ensure!(message(status, "Ready").starts_with(&says), "{says} is not in: {status:#}");
    }
    for name in ["within", "across", "from"] {
        let status = &check_now(&world, name).await?["status"];
        assert_eq!(reason(status, "Ready"), "AccountNotFound");
    }
    for ((name, from, to, _), before) in resources.into_iter().zip(&before) {
        assert_eq!(held(&world, name, from, to, &world.get(name).await?).await?, *before, "{name}");
    }
    let calls = world.proxy.calls();
    let asked = calls.iter().filter(|call| call.operation != "GetCallerIdentity");
    assert_eq!(operations(asked), BTreeSet::new(), "AWS is not asked anything of them");

    there.apply(&world).await?;
    for name in ["within", "across", "from"] {
        world.wait_ready(name).await?;
    }
    let writes = world.proxy.writes();
    assert!(writes.is_empty(), "all was still there: {writes:?}");
    Ok(())
}

#[tokio::test]
async fn a_resource_deleted_after_its_account_waits_for_it_and_then_leaves_nothing_behind() -> Result<()> {
    let (world, _operator, here, there) = settled("accounts-deleting").await?;
    let resources = [("within", &there, &there), ("across", &here, &there), ("from", &there, &here)];
    let mut objects = Vec::new();
    for (name, ..) in resources {
        objects.push(world.get(name).await?);
    }
    world.accounts().delete(&there.name, &DeleteParams::default()).await?;
    world.proxy.clear();
    for (name, ..) in resources {
        world.api().delete(name, &DeleteParams::default()).await?;
    }
    for (name, from, to) in resources {
        let waits = |status: &Value| message(status, "Ready").starts_with("cannot delete: ");
        let object = world.wait(name, waits, "to wait with its deletion").await?;
        assert_eq!(reason(&object["status"], "Ready"), "AccountNotFound");
        let said = message(&object["status"], "Ready");
        for part in [&format!("AwsAccount {}", there.name), "create it again", "deletionPolicy: Retain"] {
            ensure!(said.contains(part), "{part} is not in: {said}");
        }
        assert!(!held(&world, name, from, to, &object).await?.is_empty(), "{name}: nothing is torn down");
    }
    assert!(world.proxy.writes().is_empty());

    // Who does not want to wait may leave it all behind.
    patch(&world, "from", json!({"spec": {"deletionPolicy": "Retain"}})).await?;
    world.wait_gone("from").await?;
    assert_eq!(held(&world, "from", &there, &here, &objects[2]).await?.len(), 3);

    there.apply(&world).await?;
    for ((name, from, to), object) in resources.into_iter().zip(&objects).take(2) {
        world.wait_gone(name).await?;
        assert_eq!(held(&world, name, from, to, object).await?, Vec::<String>::new(), "{name}");
    }
    world.wait_account(&there.name, |status| status["replications"] == 0, "to count none").await?;
    Ok(())
}
