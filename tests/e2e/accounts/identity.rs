//! The operator's identity in an account. The operator asks STS, and stops everything when STS names another account
//! than the `AwsAccount` does.

use anyhow::{Context, Result, ensure};
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::{World, condition};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator_of, patch_account, reason, world_with_accounts};

use super::{RemoteAccount, manifest, operations, replicate, wait_for_account_reason, wait_for_reason};

#[tokio::test]
async fn an_account_reports_the_operators_identity_in_it() -> Result<()> {
    let (world, _operator) = world_with_accounts("accounts-who").await?;
    let there = RemoteAccount::new(&world, "there").await?;
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
    let status = &wait_for_account_reason(&world, &own, "Verified").await?["status"];
    let arn = format!("arn:aws:iam::{}:root", world.account);
    assert_eq!(status["identity"], json!({"arn": arn, "accountId": world.account}));
    Ok(())
}

#[tokio::test]
async fn an_account_is_progressing_from_its_creation_until_it_is_verified() -> Result<()> {
    let world = World::with_accounts("accounts-first").await?;
    let there = RemoteAccount::new(&world, "there").await?;
    let created = world.apply(&there.manifest(&world).to_string()).await?;
    for object in [&created[0], &world.account(&there.name).await?] {
        assert_eq!(object["status"]["observedGeneration"], -1);
        let ready = condition(&object["status"], "Ready").context("no Ready")?;
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("Progressing")));
    }
    let _operator = operator_of(&world).start().await?;
    wait_for_account_reason(&world, &there.name, "Verified").await?;
    patch_account(&world, &there.name, json!({"spec": {"sources": ["orders-*"]}})).await?;
    let generation = world.account(&there.name).await?["metadata"]["generation"].clone();
    assert_eq!(generation, 2);
    let followed = |status: &Value| status["observedGeneration"] == generation;
    world.wait_account(&there.name, followed, "to speak of what it says now").await?;
    Ok(())
}

#[tokio::test]
async fn the_operator_verifies_its_identity_in_an_account_before_any_other_request() -> Result<()> {
    let world = World::with_accounts("accounts-asked").await?;
    let there = RemoteAccount::new(&world, "there").await?;
    let own = RemoteAccount { name: world.unique("own"), id: world.account.clone(), role: String::new() };
    world.apply(&there.manifest(&world).to_string()).await?;
    world.apply(&manifest(&world, &own.name, &own.id, Value::Null).to_string()).await?;
    for i in 0..5 {
        replicate(&world, &format!("there-{i}"), Some(&there), Some(&there)).await?;
        replicate(&world, &format!("own-{i}"), Some(&own), Some(&own)).await?;
    }
    // All of them at once.
    let _operator = operator_of(&world).start().await?;
    for i in 0..5 {
        world.wait_ready(&format!("there-{i}")).await?;
        world.wait_ready(&format!("own-{i}")).await?;
    }
    let calls = world.proxy.calls();
    for id in [&there.id, &own.id] {
        // The operator's own identity requests the sessions.
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

/// Why the operator acts in another account than the `AwsAccount` says.
#[derive(Clone, Copy, Debug)]
enum Mismatch {
    /// It acts with its own identity, which is in another account.
    Own,
    /// The role is in another account.
    Role,
    /// The role's ARN names the account, and STS returns another.
    Identity,
}

impl Mismatch {
    async fn check_stops_all(self, name: &str) -> Result<()> {
        let (world, _operator) = world_with_accounts(name).await?;
        let (good, there) =
            (RemoteAccount::new(&world, "good").await?, RemoteAccount::new(&world, "there").await?);
        let stranger = RemoteAccount::new(&world, "stranger").await?;
        good.apply(&world).await?;
        let (found, wrong) = match self {
            Mismatch::Own => (world.account.clone(), Value::Null),
            Mismatch::Role => (stranger.id.clone(), json!({"arn": stranger.role})),
            Mismatch::Identity => {
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
        let account = wait_for_account_reason(&world, &there.name, "AccountMismatch").await?;
        assert_eq!(account["status"]["identity"], Value::Null, "it is nobody there");
        for status in [
            &account["status"],
            &wait_for_reason(&world, "from", "AccountMismatch").await?["status"],
            &wait_for_reason(&world, "into", "AccountMismatch").await?["status"],
        ] {
            assert_eq!(condition(status, "Ready").context("no Ready")?["status"], "False");
            assert_eq!(reason(status, "Stalled"), "AccountMismatch", "someone has to correct it");
            let text = message(status, "Ready");
            for part in [&there.name, &there.id, &found, "assumeRole.arn", "Nothing is written"] {
                ensure!(text.contains(part), "{part} is not in: {text}");
            }
        }
        let calls = world.proxy.calls();
        assert_eq!(
            operations(&calls).difference(&["AssumeRole", "GetCallerIdentity"].into()).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "{calls:?}"
        );

        // The role is corrected, or added.
        world.proxy.remove_faults();
        let sources = json!(["*", "corrected-*"]);
        let right = json!({"spec": {"assumeRole": {"arn": there.role}, "sources": sources}});
        patch_account(&world, &there.name, right).await?;
        wait_for_account_reason(&world, &there.name, "Verified").await?;
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
async fn an_operator_identity_in_another_account_stops_all_resources_until_corrected() -> Result<()> {
    Mismatch::Own.check_stops_all("accounts-own").await
}

#[tokio::test]
async fn a_role_in_another_account_stops_all_resources_until_corrected() -> Result<()> {
    Mismatch::Role.check_stops_all("accounts-role").await
}

#[tokio::test]
async fn an_identity_in_another_account_according_to_sts_stops_all_resources_of_the_account() -> Result<()> {
    Mismatch::Identity.check_stops_all("accounts-identity").await
}

/// The credentials of a pod on EC2 come from the instance's metadata service, by a request within a request within the
/// check: whether the stack of a thread holds them all shows only here.
#[tokio::test]
async fn without_an_identity_from_the_instance_the_operator_goes_on_and_says_so() -> Result<()> {
    let world = World::with_accounts("accounts-instance").await?;
    let own = RemoteAccount { name: world.unique("own"), id: world.account.clone(), role: String::new() };
    world.apply(&manifest(&world, &own.name, &own.id, Value::Null).to_string()).await?;
    replicate(&world, "orders", Some(&own), Some(&own)).await?;
    let operator = operator_of(&world)
        .credentials("", "")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "false")
        // Nothing listens there.
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
        .start()
        .await?;
    for text in [
        message(&wait_for_reason(&world, "orders", "CredentialsUnavailable").await?["status"], "Ready"),
        message(
            &wait_for_account_reason(&world, &own.name, "CredentialsUnavailable").await?["status"],
            "Ready",
        ),
    ] {
        ensure!(text.contains("IRSA, Pod Identity or a Secret"), "{text}");
    }
    for _ in 0..3 {
        let status = &check_now(&world, "orders").await?["status"];
        assert_eq!(reason(status, "Ready"), "CredentialsUnavailable");
    }
    assert_eq!(operator.exit_code(), None, "it is the same operator");
    Ok(())
}
