//! Resources of an operator without any `AwsAccount`: what the former chart installed, and what the present one refuses
//! by default.

use anyhow::{Result, ensure};
use rig::world::{DEADLINE, World};
use rig::{Call, pages};
use serde_json::{Value, json};

use super::former::{Former, NAMESPACE, OWN, is_ready, type_in};
use crate::support::{message, reason};

const NAMES: [&str; 2] = ["orders", "clicks"];

/// The value `operator.requireAccount: false` of the chart.
#[tokio::test]
async fn resources_without_an_account_go_on_where_none_is_required() -> Result<()> {
    let former = Former::restored("without-accounts").await?;
    former.upgrade_definitions()?;
    let _operator = former.operator().start().await?;
    for name in NAMES {
        let object = former.check(name).await?;
        ensure!(is_ready(&object), "{:#}", object["status"]);
    }
    check_untouched(&former).await?;
    for name in NAMES {
        former.delete(name).await?;
    }
    check_nothing_is_left(&former).await
}

/// The default of the present chart: the resources are refused until an account allows them, and are replicated all the
/// while.
#[tokio::test]
async fn resources_without_an_account_are_left_as_they_are_until_one_allows_them() -> Result<()> {
    let former = Former::restored("without-accounts").await?;
    let world = &former.world;
    former.upgrade_definitions()?;
    let listed = type_in(world, &pages::block("docs/upgrade.md", "kubectl get br -A", file!())?)?;
    for name in NAMES {
        let is_of = |line: &str| line.split_whitespace().eq([NAMESPACE, name, "<none>"]);
        ensure!(listed.lines().any(is_of), "{name} is not in {listed}");
    }
    let _operator = former.operator().arg("--require-account").start().await?;
    for name in NAMES {
        let status = former.check(name).await?["status"].take();
        ensure!(reason(&status, "Ready") == "NotAllowed", "{status:#}");
        let text = message(&status, "Ready");
        ensure!(text.contains("AwsAccount"), "{text}");
    }
    ensure!(world.proxy.writes().is_empty(), "{:?}", world.proxy.writes());
    check_untouched(&former).await?;

    world.apply(&account().to_string()).await?;
    for name in NAMES {
        wait_ready(world, name).await?;
    }
    check_untouched(&former).await?;
    for name in NAMES {
        former.delete(name).await?;
    }
    check_nothing_is_left(&former).await
}

/// Two operators at the time of an upgrade: the present one waits until the former one has not renewed its Lease.
#[tokio::test]
async fn the_lease_of_a_former_operator_is_respected_until_it_is_over() -> Result<()> {
    let former = Former::restored("without-accounts").await?;
    former.upgrade_definitions()?;
    let operator = former.operator().start().await?;
    operator.logged("following", DEADLINE).await?;
    let is_about_itself = |call: &Call| call.operation == "GetCallerIdentity";
    let calls = former.world.proxy.calls();
    ensure!(calls.iter().all(is_about_itself), "{calls:?}");
    let works = |calls: &[Call]| !calls.iter().all(is_about_itself);
    former.world.proxy.wait_for(works, DEADLINE).await?;
    Ok(())
}

async fn wait_ready(world: &World, name: &str) -> Result<()> {
    let api = world.api_in(NAMESPACE);
    let is_wanted = |object: Option<&Value>| object.is_some_and(is_ready);
    world.wait_on(&api, name, is_wanted, "to be Ready").await.map(drop)
}

/// Checks that the buckets are as the former release left them, and that no role lost a right.
async fn check_untouched(former: &Former) -> Result<()> {
    let now = former.aws_now().await?;
    for (id, account) in &former.state.aws.accounts {
        let buckets = now.accounts.get(id).map(|account| &account.buckets);
        ensure!(buckets == Some(&account.buckets), "{account:#?}\nbecame\n{buckets:#?}");
    }
    for write in former.world.proxy.writes() {
        ensure!(write.operation == "PutRolePolicy", "written without a reason: {write}");
        former.check_takes_nothing_away(&write)?;
    }
    Ok(())
}

async fn check_nothing_is_left(former: &Former) -> Result<()> {
    let left = former.aws_now().await?;
    ensure!(left.roles_at("/s3-replication/").next().is_none(), "{left:#?}");
    for bucket in left.accounts.values().flat_map(|account| &account.buckets) {
        ensure!(bucket.replication.is_none(), "{bucket:?}");
    }
    let existing = left.roles_at("/").any(|role| role.name == "replicator");
    ensure!(existing, "the role that was only named is gone: {left:#?}");
    Ok(())
}

/// The account that `docs/upgrade.md` asks for.
fn account() -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": "default"},
        "spec": {
            "accountId": OWN,
            "namespaces": {"matchNames": [NAMESPACE]},
            "sources": ["former-*"],
            "destinations": ["former-*"],
        },
    })
}
