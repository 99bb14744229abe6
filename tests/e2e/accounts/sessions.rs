//! Sessions: what they are named, how long they serve, and when they are renewed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::json;

use crate::support::{
    check_now, message, operator_of, patch_account, reason, replication, set, world_with_accounts,
};

use super::{RemoteAccount, referring, replicate, wait_for_account_reason, wait_for_reason};

#[tokio::test]
async fn a_session_is_named_after_its_resource_and_carries_the_external_id() -> Result<()> {
    let world = World::with_accounts_and_auth("accounts-sessions").await?;
    let _operator = operator_of(&world).start().await?;
    let (here, there) = (
        RemoteAccount::trusting(&world, "here", Some("tenant:42/a")).await?,
        RemoteAccount::trusting(&world, "there", None).await?,
    );
    let mut account = here.manifest(&world);
    set(&mut account, "spec.assumeRole.externalId", json!("tenant:42/a"));
    set(&mut account, "spec.assumeRole.sessionName", json!("s3-replication"));
    world.apply(&account.to_string()).await?;
    wait_for_account_reason(&world, &here.name, "Verified").await?;
    there.apply(&world).await?;
    // They differ after the part that fits into a session name.
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
    // Every request in these accounts uses one of these sessions.
    let acting = calls.iter().filter(|call| call.account == here.id || call.account == there.id);
    assert!(acting.clone().all(|call| call.access_key.starts_with("ASIA")));
    assert_eq!(acting.map(|call| &call.access_key).collect::<BTreeSet<_>>().len(), 8);
    Ok(())
}

#[tokio::test]
async fn a_wrong_external_id_is_reported_with_the_role_and_the_remedy() -> Result<()> {
    let world = World::with_accounts_and_auth("accounts-external").await?;
    let _operator = operator_of(&world).start().await?;
    let (good, there) = (
        RemoteAccount::new(&world, "good").await?,
        RemoteAccount::trusting(&world, "there", Some("right")).await?,
    );
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
        &wait_for_account_reason(&world, &there.name, "AccessDenied").await?["status"],
        &wait_for_reason(&world, "from", "AccessDenied").await?["status"],
        &wait_for_reason(&world, "into", "AccessDenied").await?["status"],
    ] {
        assert_eq!(reason(status, "Reconciling"), "AccessDenied", "it is tried again");
        let text = message(status, "Ready");
        let on = format!("sts:AssumeRole on {} is denied", there.role);
        let trust = format!("let the trust policy of {} allow it", there.role);
        for part in [on.as_str(), &trust, "with the external id", "not authorized"] {
            ensure!(text.contains(part), "{part} is not in: {text}");
        }
    }
    assert_eq!(world.proxy.writes().len(), 0);
    patch_account(&world, &there.name, json!({"spec": {"assumeRole": {"externalId": "right"}}})).await?;
    wait_for_account_reason(&world, &there.name, "Verified").await?;
    world.wait_ready("from").await?;
    world.wait_ready("into").await?;
    Ok(())
}

#[tokio::test]
async fn a_session_serves_many_checks() -> Result<()> {
    let (world, _operator) = world_with_accounts("accounts-cached").await?;
    let (here, there) =
        (RemoteAccount::new(&world, "here").await?, RemoteAccount::new(&world, "there").await?);
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

/// A real session, an AssumeRole response with it, and its end.
struct ShortSession {
    access_key: String,
    answer: Answer,
    ends: Instant,
}

/// Begins a session as the operator would, but not through the proxy: there it may be shorter than AWS permits.
async fn begin_session(world: &World, role: &str, name: &str, seconds: i32) -> Result<ShortSession> {
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
    Ok(ShortSession {
        access_key: session.access_key_id().to_owned(),
        answer: Answer::Custom { status: 200, headers: Vec::new(), body },
        ends: Instant::now() + expiration.duration_since(SystemTime::now())?,
    })
}

#[tokio::test]
async fn a_session_is_renewed_before_it_expires_and_none_is_used_after() -> Result<()> {
    let world = World::with_accounts_and_auth("accounts-renewed").await?;
    let _operator = operator_of(&world).start().await?;
    let there = RemoteAccount::new(&world, "there").await?;
    there.apply(&world).await?;
    let source = world.bucket_of(&there.id, "us-east-1").await?;
    let destination = world.bucket_of(&there.id, "eu-west-1").await?;
    let mut resource = referring(replication("orders", &source, &destination), Some(&there), Some(&there));
    set(&mut resource, "spec.role.path", json!("/"));
    world.proxy.clear();
    let session_name = format!("{}.orders", world.namespace);
    let mut sessions = Vec::new();
    // Short ones are renewed after half of their time. The other half is enough for one check, however busy the machine is.
    for seconds in [20, 40] {
        let given = begin_session(&world, &there.role, &session_name, seconds).await?;
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
            tokio::time::sleep(Duration::from_millis(200)).await;
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
