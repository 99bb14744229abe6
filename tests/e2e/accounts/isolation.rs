//! Troubles of an account stay there: one that hangs, throttles or lets nobody in slows no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::api::DeleteParams;
use rig::proxy::{Answer, Call, Fault, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator_of, reason, replication, set};

use super::{
    PERMITS, RemoteAccount, manifest, referring, replicate, wait_for_account_reason, wait_for_reason,
};

/// A fault of a whole account.
#[derive(Clone, Copy, Debug)]
enum AccountFault {
    /// Nothing is answered.
    Hangs,
    /// Every call is throttled.
    Throttles,
    /// The role's trust policy denies the operator.
    TrustExpired,
}

impl AccountFault {
    fn inject_into(self, world: &World, account: &RemoteAccount) {
        let inject = |matching, answer| {
            world.proxy.inject(Fault::always(matching, answer));
        };
        let there = || Matcher::any().in_account(&account.id);
        match self {
            AccountFault::Hangs => inject(there(), Answer::Hang),
            AccountFault::Throttles => {
                // S3's error for throttling is not IAM's.
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
            AccountFault::TrustExpired => {
                let text = format!(
                    "User: arn:aws:iam::{}:root is not authorized to perform: sts:AssumeRole on resource: {}",
                    world.account, account.role
                );
                let denied = Answer::error(403, "AccessDenied", &text);
                inject(Matcher::operation("AssumeRole").about(&account.role), denied);
            }
        }
    }

    /// The reason that its resources report. Those that hang stay at their first reason.
    fn reason(self) -> &'static str {
        match self {
            AccountFault::Hangs => "Progressing",
            AccountFault::Throttles => "Throttled",
            AccountFault::TrustExpired => "AccessDenied",
        }
    }

    /// A part of AWS's message that the resources must quote.
    fn message(self) -> &'static str {
        match self {
            AccountFault::Hangs => "",
            AccountFault::Throttles => "SlowDown: Please reduce your request rate.",
            AccountFault::TrustExpired => "not authorized to perform: sts:AssumeRole",
        }
    }

    /// Waits until these resources are affected.
    async fn wait_affected(self, world: &World, account: &RemoteAccount, names: &[String]) -> Result<()> {
        let AccountFault::Hangs = self else {
            try_join_all(names.iter().map(|name| wait_for_reason(world, name, self.reason()))).await?;
            return Ok(());
        };
        // Every permit is held by a reconcile that waits for a read of its destination, and of its source if that
        // is in this account too.
        let hanging = |calls: &[Call]| {
            let there = calls.iter().filter(|c| c.account == account.id && c.status.is_none());
            there.filter(|c| c.operation == "GetBucketVersioning").count() == 3 * PERMITS
        };
        world.proxy.wait_for(hanging, DEADLINE).await?;
        Ok(())
    }

    /// Ends the fault.
    async fn end(self, world: &World) -> Result<()> {
        world.proxy.remove_faults();
        if let AccountFault::Hangs = self {
            // Connections that hang are closed, as by a network that is back.
            world.proxy.go_down().await;
            world.proxy.come_up().await?;
        }
        Ok(())
    }

    async fn check_isolated(self, name: &str) -> Result<()> {
        let world = World::with_accounts(name).await?;
        // Longer than the test waits: a hanging call hangs until the end.
        let _operator = operator_of(&world).args(["--aws-attempt-timeout", "300"]).start().await?;
        let (a, b) = (RemoteAccount::new(&world, "a").await?, RemoteAccount::new(&world, "b").await?);
        a.apply(&world).await?;
        b.apply(&world).await?;
        replicate(&world, "before", Some(&a), Some(&b)).await?;
        world.wait_ready("before").await?;
        self.inject_into(&world, &b);
        let mut stuck = Vec::new();
        for i in 0..20 {
            stuck.push(format!("b-{i}"));
            replicate_with_regions(&world, &format!("b-{i}"), &b, &b).await?;
        }
        for i in 0..PERMITS + 2 {
            stuck.push(format!("a-to-b-{i}"));
            replicate_with_regions(&world, &format!("a-to-b-{i}"), &a, &b).await?;
        }
        self.wait_affected(&world, &b, &stuck).await?;

        replicate(&world, "a", Some(&a), Some(&a)).await?;
        let own = RemoteAccount { name: world.unique("own"), id: world.account.clone(), role: String::new() };
        world.apply(&manifest(&world, &own.name, &own.id, Value::Null).to_string()).await?;
        replicate(&world, "own", Some(&own), Some(&own)).await?;
        for name in ["a", "own"] {
            let something = |status: &Value| reason(status, "Ready") != "Progressing";
            let reported = &world.wait(name, something, "to report something").await?["status"];
            assert_eq!(reason(reported, "Ready"), "Applied", "{name} met the other's trouble: {reported:#}");
            let status = &check_now(&world, name).await?["status"];
            assert_eq!(reason(status, "Ready"), "Applied", "{status:#}");
        }
        world.api().delete("own", &DeleteParams::default()).await?;
        world.wait_gone("own").await?;
        for name in &stuck {
            let status = &world.get(name).await?["status"];
            assert_eq!(reason(status, "Ready"), self.reason(), "{name} was stuck all the time: {status:#}");
        }

        self.end(&world).await?;
        // Their pauses have grown meanwhile, on a slow machine to more than a test waits. A check while the circuit
        // breaker is still open fails at once.
        let recovers = async |name: &String| {
            while reason(&check_now(&world, name).await?["status"], "Ready") != "Applied" {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            anyhow::Ok(())
        };
        let all = try_join_all(stuck.iter().map(recovers));
        tokio::time::timeout(DEADLINE, all).await.context("they do not recover")??;
        Ok(())
    }
}

/// Like `replicate`, with the Regions in the spec: an error of HeadBucket has no message.
async fn replicate_with_regions(
    world: &World,
    name: &str,
    from: &RemoteAccount,
    to: &RemoteAccount,
) -> Result<()> {
    let resource = with_regions(world, name, from, (to, "eu-west-1")).await?;
    world.apply(&resource.to_string()).await.map(drop)
}

/// Creates two buckets, the destination in this Region. Returns a resource for them, not applied yet.
async fn with_regions(
    world: &World,
    name: &str,
    from: &RemoteAccount,
    (to, region): (&RemoteAccount, &str),
) -> Result<Value> {
    let source = world.bucket_of(&from.id, "us-east-1").await?;
    let destination = world.bucket_of(&to.id, region).await?;
    let mut resource = referring(replication(name, &source, &destination), Some(from), Some(to));
    set(&mut resource, "spec.source.region", json!("us-east-1"));
    set(&mut resource, "spec.rules.0.destination.region", json!(region));
    Ok(resource)
}

#[tokio::test]
async fn an_account_that_does_not_answer_delays_no_other() -> Result<()> {
    AccountFault::Hangs.check_isolated("accounts-hangs").await
}

#[tokio::test]
async fn an_account_that_throttles_delays_no_other() -> Result<()> {
    AccountFault::Throttles.check_isolated("accounts-throttles").await
}

#[tokio::test]
async fn an_account_that_denies_the_operator_delays_no_other() -> Result<()> {
    AccountFault::TrustExpired.check_isolated("accounts-trust").await
}

#[tokio::test]
async fn all_resources_of_an_account_that_never_answered_report_its_first_failure() -> Result<()> {
    let world = World::with_accounts("accounts-silent").await?;
    // One after the other they would wait longer than the test.
    let _operator =
        operator_of(&world).args(["--aws-attempt-timeout", "10", "--aws-attempts", "1"]).start().await?;
    let there = RemoteAccount::new(&world, "there").await?;
    world.proxy.inject(Fault::always(Matcher::any().in_account(&there.id), Answer::Hang));
    world.apply(&there.manifest(&world).to_string()).await?;
    let names: Vec<String> = (0..PERMITS).map(|i| format!("there-{i}")).collect();
    for name in &names {
        replicate_with_regions(&world, name, &there, &there).await?;
    }
    try_join_all(names.iter().map(|name| wait_for_reason(&world, name, "AwsUnavailable"))).await?;
    wait_for_account_reason(&world, &there.name, "AwsUnavailable").await?;
    Ok(())
}

/// Lets an account refuse all requests of many resources, and counts the requests of their retries.
async fn check_few_requests(fault: AccountFault, name: &str) -> Result<()> {
    const RESOURCES: usize = 30;
    const ROUNDS: usize = 5;
    let world = World::with_accounts(name).await?;
    let _operator = operator_of(&world).args(["--aws-attempts", "1"]).start().await?;
    let there = RemoteAccount::new(&world, "there").await?;
    there.apply(&world).await?;
    replicate_with_regions(&world, "before", &there, &there).await?;
    world.wait_ready("before").await?;
    fault.inject_into(&world, &there);
    world.proxy.clear();
    let names: Vec<String> = (0..RESOURCES).map(|i| format!("there-{i}")).collect();
    for name in &names {
        replicate_with_regions(&world, name, &there, &there).await?;
    }
    fault.wait_affected(&world, &there, &names).await?;
    let mut text: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (name, object) in
            names.iter().zip(try_join_all(names.iter().map(|n| check_now(&world, n))).await?)
        {
            assert_eq!(reason(&object["status"], "Ready"), fault.reason());
            text.entry(name).or_default().insert(message(&object["status"], "Ready").to_owned());
        }
    }
    let calls = world.proxy.calls();
    let asked = calls.iter().filter(|call| there.concerns(call)).count();
    for (name, messages) in text {
        assert_eq!(messages.len(), 1, "{name} says the same at each try: {messages:#?}");
        assert!(
            messages.iter().all(|m| m.contains(fault.message())),
            "AWS returned another message: {messages:#?}"
        );
    }
    // A session for each, the requests that were under way at the first failure, and one now and then, of which a slow
    // machine makes more. Without the circuit breaker each retry would make at least one.
    assert!(asked < RESOURCES * ROUNDS, "{asked} requests to an account that refuses everything");
    Ok(())
}

#[tokio::test]
async fn an_account_that_denies_the_operator_is_not_called_by_every_retry() -> Result<()> {
    check_few_requests(AccountFault::TrustExpired, "accounts-breaker-trust").await
}

#[tokio::test]
async fn an_account_that_throttles_is_not_called_by_every_retry() -> Result<()> {
    check_few_requests(AccountFault::Throttles, "accounts-breaker-throttled").await
}

/// Throttles these operations until the resources of one account have used up the SDK's retry budget there. Checks
/// that the last operation is still retried in another account.
async fn check_retry_budget(name: &str, operations: &[&str], answer: Answer) -> Result<()> {
    const ATTEMPTS: usize = 5;
    let world = World::with_accounts(name).await?;
    let attempts = ATTEMPTS.to_string();
    let _operator =
        operator_of(&world).args(["--aws-attempts", &attempts, "--concurrency", "40"]).start().await?;
    let (a, b) = (RemoteAccount::new(&world, "a").await?, RemoteAccount::new(&world, "b").await?);
    for account in [&a, &b] {
        account.apply(&world).await?;
        let before = format!("{}-before", account.name);
        replicate_with_regions(&world, &before, account, account).await?;
        world.wait_ready(&before).await?;
    }
    let calls_of = |account: &RemoteAccount, operation: &str| match operation {
        "AssumeRole" => Matcher::operation(operation).about(&account.role),
        _ => Matcher::operation(operation).in_account(&account.id),
    };
    // All at the same time, because the circuit breaker stops the later ones. All in one Region, because the
    // budget belongs to a client and has 100 retries.
    let names: Vec<String> = (0..40).map(|i| format!("b-{i}")).collect();
    let resources =
        try_join_all(names.iter().map(|name| with_regions(&world, name, &b, (&b, "us-east-1")))).await?;
    world.proxy.clear();
    for operation in operations {
        world.proxy.inject(Fault::always(calls_of(&b, operation), answer.clone()));
    }
    try_join_all(resources.iter().map(|resource| async { world.apply(&resource.to_string()).await })).await?;
    try_join_all(names.iter().map(|name| wait_for_reason(&world, name, "Throttled"))).await?;
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
    replicate_with_regions(&world, "a", &a, &a).await?;
    let reported =
        world.wait("a", |status| reason(status, "Ready") != "Progressing", "to report something").await?;
    let status = &reported["status"];
    assert_eq!(reason(status, "Ready"), "Applied", "it was not tried again: {status:#}");
    Ok(())
}

#[tokio::test]
async fn an_account_without_retries_left_for_s3_takes_none_from_another() -> Result<()> {
    let reads = ["GetBucketVersioning", "GetBucketReplication"];
    check_retry_budget("accounts-retry", &reads, Answer::slow_down()).await
}

#[tokio::test]
async fn an_account_without_retries_left_for_sts_takes_none_from_another() -> Result<()> {
    check_retry_budget("accounts-retry-sts", &["AssumeRole"], Answer::throttling()).await
}
