//! Troubles of an account stay there: one that hangs, throttles or lets nobody in slows no other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::api::DeleteParams;
use rig::proxy::{Answer, Call, Fault, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator, reason, replication, set};

use super::{Abroad, PLACES, account_is, is, referring, replicate};

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
    let resource = told(world, name, from, (to, "eu-west-1")).await?;
    world.apply(&resource.to_string()).await.map(drop)
}

/// Two buckets, the destination in this Region, and a resource for them that is not applied yet.
async fn told(world: &World, name: &str, from: &Abroad, (to, region): (&Abroad, &str)) -> Result<Value> {
    let source = world.bucket_of(&from.id, "us-east-1").await?;
    let destination = world.bucket_of(&to.id, region).await?;
    let mut resource = referring(replication(name, &source, &destination), Some(from), Some(to));
    set(&mut resource, "spec.source.region", json!("us-east-1"));
    set(&mut resource, "spec.rules.0.destination.region", json!(region));
    Ok(resource)
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
    // All at once: those that come after the first have failed are stopped by the breaker. And all in one Region: the
    // budget is a client's, and holds 100 retries.
    let names: Vec<String> = (0..40).map(|i| format!("b-{i}")).collect();
    let resources = try_join_all(names.iter().map(|name| told(&world, name, &b, (&b, "us-east-1")))).await?;
    world.proxy.clear();
    for operation in operations {
        world.proxy.inject(Fault::always(calls_of(&b, operation), answer.clone()));
    }
    try_join_all(resources.iter().map(|resource| async { world.apply(&resource.to_string()).await })).await?;
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
