//! `plan`, `policy` and `import` with accounts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::api::{DeleteParams, Patch, PatchParams};
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{
    DESTINATION_REGION, SOURCE_REGION, check_now, operator_of, patch_account, person, plan, reason,
    replication, see_own_writes,
};

use super::{TwoAccounts, account, policy_of, printed, read_account};

#[tokio::test]
async fn plan_reads_accounts_from_files_or_the_cluster() -> Result<()> {
    let two = TwoAccounts::new("plan-accounts").await?;
    let world = &two.world;
    let mut resource = two.resource();
    resource["metadata"]["namespace"] = json!(world.namespace);
    // An account that is in no file is read from the cluster.
    let (code, text) = plan(world, &resource.to_string()).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&format!("allow the role in the policy of bucket {}", two.destination)), "{text}");
    assert_eq!(world.proxy.writes().len(), 0, "a plan writes nothing");

    let mut strict = read_account(world, &two.home).await?;
    strict["spec"]["sources"] = json!(["other-*"]);
    let files = [strict.to_string(), resource.to_string()].join("\n---\n");
    world.proxy.clear();
    let (code, text) = plan(world, &files).await?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("NotAllowed") && text.contains("other-*"), "{text}");
    // The operator may just be asking who it is in the accounts.
    let calls = world.proxy.calls().into_iter().map(|call| call.operation);
    let calls: Vec<String> =
        calls.filter(|name| !["AssumeRole", "GetCallerIdentity"].contains(&name.as_str())).collect();
    assert!(calls.is_empty(), "{calls:?}");
    resource["spec"]["source"]["accountRef"] = json!("nobody");
    let (code, text) = plan(world, &resource.to_string()).await?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("AccountNotFound") && text.contains("nobody"), "{text}");

    world.apply(&two.resource().to_string()).await?;
    world.wait_ready("orders").await?;
    let mut live = world.get("orders").await?;
    live["apiVersion"] = json!("s3replication.dev/v1alpha1");
    live["kind"] = json!("BucketReplication");
    let (code, text) = plan(world, &live.to_string()).await?;
    assert_eq!(code, Some(0), "{text}");
    Ok(())
}

/// Two accounts of destinations do not let the caller in: the plan shows the rest of the resource, and the other resources.
#[tokio::test]
async fn plan_shows_what_it_can_and_names_each_account_that_it_cannot_reach() -> Result<()> {
    let two = TwoAccounts::ready("plan-unreached").await?;
    let world = &two.world;
    let mut files = Vec::new();
    let mut live = world.get("orders").await?;
    live["apiVersion"] = json!("s3replication.dev/v1alpha1");
    live["kind"] = json!("BucketReplication");
    let mut distrusting = Vec::new();
    for rule in ["third", "fourth"] {
        let (name, id) = (world.unique(rule), world.another_account());
        let role = format!("arn:aws:iam::{id}:role/distrusting");
        let denied = Answer::error(403, "AccessDenied", "not authorized to perform: sts:AssumeRole");
        world.proxy.inject(Fault::always(Matcher::operation("AssumeRole").about(&role), denied));
        files.push(account(world, &name, &id, Some(&role)).to_string());
        let bucket = format!("{}-{rule}", world.namespace);
        let destination = json!({"bucket": bucket, "accountRef": name, "region": DESTINATION_REGION});
        let priority = live["spec"]["rules"].as_array().context("no rules")?.len() + 1;
        let added =
            json!({"id": rule, "priority": priority, "filter": {"prefix": ""}, "destination": destination});
        live["spec"]["rules"].as_array_mut().context("no rules")?.push(added);
        distrusting.push((name, id));
    }
    // The source is in an account that does not let the caller in either.
    let mut from_there = live.clone();
    from_there["metadata"]["name"] = json!("from-there");
    from_there["spec"]["source"]["accountRef"] = json!(distrusting[0].0);
    let mut other = two.resource();
    (other["metadata"]["name"], other["metadata"]["namespace"]) = (json!("other"), json!(world.namespace));
    other["spec"]["role"]["name"] = json!(world.unique("other"));
    files.extend([live, from_there, other].map(|resource| resource.to_string()));

    let args = ["plan", "-f", "-", "-o", "json"];
    let output = person(world).run(args, &files.join("\n---\n")).await?;
    assert_eq!(output.status.code(), Some(1));
    let plans: Value = serde_json::from_slice(&output.stdout)?;
    let plan = |name: &str| {
        let found = plans.as_array().and_then(|all| all.iter().find(|plan| plan["name"] == name));
        found.map(|found| found["plan"].clone()).with_context(|| format!("{name} is not in {plans:#}"))
    };
    let refusals = |plan: &Value| plan["refusals"].as_array().cloned().unwrap_or_default();
    let orders = plan("orders")?;
    let changes: Vec<&str> =
        orders["differences"].as_array().context("none")?.iter().filter_map(|d| d["path"].as_str()).collect();
    assert!(changes.iter().any(|path| path.starts_with("rules[third]")), "{orders:#}");
    assert_eq!(refusals(&orders).len(), 2, "{orders:#}");
    for (name, id) in &distrusting {
        let of_account = refusals(&orders).into_iter().filter(|refusal| {
            let message = refusal["message"].as_str().unwrap_or_default();
            refusal["reason"] == "AccessDenied"
                && message.starts_with(&format!("AwsAccount {name}, account {id},"))
        });
        assert_eq!(of_account.count(), 1, "{orders:#}");
    }
    let from_there = plan("from-there")?;
    assert_eq!(refusals(&from_there)[0]["reason"], "AccessDenied", "{from_there:#}");
    let other = plan("other")?;
    assert!(other["differences"].as_array().is_some_and(|all| !all.is_empty()), "{other:#}");
    let (code, text) = self::plan(world, &files.join("\n---\n")).await?;
    assert_eq!(code, Some(1), "{text}");
    for (name, _) in &distrusting {
        assert!(text.contains(&format!("AwsAccount {name}")), "{text}");
    }
    assert_eq!(text.matches("BucketReplication ").count(), 3, "{text}");
    Ok(())
}

/// `policy` prints the same statements that the operator writes.
#[tokio::test]
async fn the_printed_bucket_policy_is_the_one_that_is_written() -> Result<()> {
    let two = TwoAccounts::ready("printed-policy").await?;
    let world = &two.world;
    let mut resource = two.resource();
    resource["metadata"]["namespace"] = json!(world.namespace);
    let policies = printed(world, &resource.to_string()).await?;
    let held = two.policy().await?.context("no policy")?;
    assert_eq!(policies[format!("bucket policy of destination {}", two.destination)], held);
    Ok(())
}

#[tokio::test]
async fn the_key_policy_of_another_account_is_printed() -> Result<()> {
    let two = TwoAccounts::new("key-policy").await?;
    let arn = format!(
        "arn:aws:kms:{DESTINATION_REGION}:{}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        two.abroad_id
    );
    let mut resource = two.resource();
    resource["metadata"]["namespace"] = json!(two.world.namespace);
    resource["spec"]["source"]["region"] = json!(SOURCE_REGION);
    resource["spec"]["rules"][0]["destination"]["region"] = json!(DESTINATION_REGION);
    resource["spec"]["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
    resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(arn);
    let policies = printed(&two.world, &resource.to_string()).await?;
    let statements = &policies[format!("statements for the policy of key {arn}")];
    let role = format!("arn:aws:iam::{}:role/s3-replication/orders-role", two.world.account);
    assert_eq!(
        statements[0],
        json!({
            "Sid": "EncryptDestination0",
            "Effect": "Allow",
            "Principal": {"AWS": role},
            "Action": ["kms:Encrypt", "kms:GenerateDataKey"],
            "Resource": ["*"],
            "Condition": {"StringLike": {
                "kms:ViaService": [format!("s3.{DESTINATION_REGION}.amazonaws.com")],
                "kms:EncryptionContext:aws:s3:arn": [
                    format!("arn:aws:s3:::{}", two.destination),
                    format!("arn:aws:s3:::{}/*", two.destination),
                ],
            }},
        })
    );
    Ok(())
}

#[tokio::test]
async fn a_bucket_of_an_account_is_imported_as_its_identity_and_changes_nothing() -> Result<()> {
    let two = TwoAccounts::ready("import-account").await?;
    let world = &two.world;
    let mut back = replication("back", &two.destination, &two.source);
    back["spec"]["source"]["accountRef"] = json!(two.abroad);
    back["spec"]["rules"][0]["destination"]["accountRef"] = json!(two.home);
    world.apply(&back.to_string()).await?;
    world.wait_ready("back").await?;
    let import = async |account: &str, namespace: &str| {
        let args = ["import", "--bucket", &two.destination, "--account", account, "-n", namespace];
        let output = person(world).run(args, "").await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        anyhow::Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    };
    // The operator would refuse a bucket that the AwsAccount does not allow once the manifest is applied.
    let (code, printed, error) = import(&two.abroad, &world.namespace).await?;
    assert_eq!((code, printed.as_str()), (Some(2), ""), "{error}");
    let refused = [&two.destination, "rules[ReplicateToEU].destination.account", &two.abroad, &world.account];
    assert!(refused.iter().all(|part| error.contains(*part)), "{error}");
    patch_account(world, &two.abroad, json!({"spec": {"destinationAccounts": [world.account]}})).await?;
    // A managed role belongs to its resource.
    let (code, printed, error) = import(&two.abroad, &world.namespace).await?;
    assert_eq!((code, printed.as_str()), (Some(2), ""), "{error}");
    assert!(error.contains("back-role") && error.contains("BucketReplication"), "{error}");
    // An imported one was created by hand, without tags.
    let untag = async || {
        let tags = two.other_side().iam().list_role_tags().role_name("back-role").send().await?;
        let keys: Vec<String> = tags.tags().iter().map(|t| t.key().to_owned()).collect();
        two.other_side().iam().untag_role().role_name("back-role").set_tag_keys(Some(keys)).send().await?;
        anyhow::Ok(())
    };
    untag().await?;
    let (code, _, error) = import(&two.abroad, "another").await?;
    let note = format!("note: namespace another may not use AwsAccount {}", two.abroad);
    assert!(code == Some(0) && error.starts_with(&note) && error.contains("by -n"), "{code:?} {error}");
    for account in [&two.abroad, &two.abroad_id] {
        untag().await?;
        let (code, text, error) = import(account, &world.namespace).await?;
        assert_eq!((code, error.as_str()), (Some(0), ""), "{error}");
        assert!(text.contains(&format!("accountRef: {}", two.abroad)), "{text}");
        assert!(text.contains("role.arn") && text.contains(&world.account), "{text}");
        let (code, planned) = plan(world, &text).await?;
        assert_eq!(code, Some(0), "{planned}");
    }
    // Buckets that have a resource are left out.
    let retain = Patch::Merge(json!({"spec": {"deletionPolicy": "Retain"}}));
    world.api().patch("back", &PatchParams::default(), &retain).await?;
    world.api().delete("back", &DeleteParams::default()).await?;
    world.wait_gone("back").await?;
    let output = person(world).run(["import", "--all", "--account", &two.abroad], "").await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sources: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# Bucket ")).collect();
    assert!(
        sources.len() == 1 && sources[0].starts_with(&two.destination),
        "buckets of that account alone: {text}"
    );
    Ok(())
}

/// An id is looked up among all accounts of the cluster.
#[tokio::test]
async fn an_account_is_found_by_its_id_although_another_cannot_be_read() -> Result<()> {
    let world = World::alone("import-unreadable").await?;
    let (bucket, another) = (world.bucket(SOURCE_REGION).await?, world.another_account());
    world.apply(&account(&world, "prod", &world.account, None).to_string()).await?;
    world.apply(&account(&world, "broken", &another, None).to_string()).await?;
    let mut broken = world.account("broken").await?;
    broken["spec"]["sources"] = json!({"all": true});
    world.cluster().store("awsaccounts", &broken).await?;
    for (id, expected) in
        [(&world.account, "has no replication configuration"), (&another, "no AwsAccount has")]
    {
        let output = person(&world).run(["import", "--bucket", &bucket, "--account", id], "").await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    Ok(())
}

/// The operator has exactly the policies that `policy` prints for its accounts; both sides enforce IAM.
///
/// The roles have the path `/`, because the emulator omits the path from the resource that it evaluates in a
/// policy. It does not check `iam:PassRole`.
#[tokio::test]
async fn the_printed_policies_of_accounts_suffice_for_a_whole_life_cycle() -> Result<()> {
    let world = World::with_accounts_and_auth("account-policies").await?;
    let abroad_id = world.another_account();
    let (home, abroad) = (world.unique("home"), world.unique("abroad"));
    let in_home = format!("arn:aws:iam::{}:role/operator", world.account);
    let in_abroad = format!("arn:aws:iam::{abroad_id}:role/operator");
    let accounts = BTreeMap::from([(&home, (&world.account, &in_home)), (&abroad, (&abroad_id, &in_abroad))]);
    let mut files = Vec::new();
    for (name, (id, role)) in &accounts {
        let mut resource = account(&world, name, id, Some(role));
        resource["spec"]["assumeRole"]["externalId"] = json!("replication-of-orders");
        resource["spec"]["roles"] = json!({"path": "/"});
        world.apply(&resource.to_string()).await?;
        files.push(resource.to_string());
    }
    let policies = printed(&world, &files.join("\n---\n")).await?;
    let own = &policies["policy of the operator"];
    let (key, secret) = world.user("operator", &own.to_string()).await?;
    for (name, (id, _)) in &accounts {
        let policy = &policies[format!("policy of the operator in AwsAccount {name}")];
        let external_id = Some("replication-of-orders");
        world.assumable_role(id, "operator", &world.account, external_id, &policy.to_string()).await?;
    }
    let _operator = operator_of(&world).credentials(&key, &secret).start().await?;

    let (source, destination) =
        (world.bucket(SOURCE_REGION).await?, world.bucket_of(&abroad_id, DESTINATION_REGION).await?);
    let mut resource = replication("orders", &source, &destination);
    resource["spec"]["source"]["accountRef"] = json!(home);
    resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(abroad);
    resource["spec"]["role"]["tags"] = json!({"team": "data"});
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    for name in [&home, &abroad] {
        let verified = |status: &Value| reason(status, "Ready") == "Verified";
        world.wait_account(name, verified, "to be verified").await?;
    }

    see_own_writes(&world, "orders").await?;
    let there = world.as_account(&abroad_id).s3(DESTINATION_REGION);
    there.delete_bucket_policy().bucket(&destination).send().await?;
    let role = "orders-role";
    world.iam().delete_role_policy().role_name(role).policy_name("s3-replication").send().await?;
    world.s3(SOURCE_REGION).delete_bucket_replication().bucket(&source).send().await?;
    let status = &check_now(&world, "orders").await?["status"];
    assert_eq!(reason(status, "Ready"), "Applied", "{status:#}");
    assert!(policy_of(&there, &destination).await?.is_some());

    resource["spec"]["role"] = json!({"name": "renamed-role"});
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await?;
    assert!(policy_of(&there, &destination).await?.is_none());
    assert!(world.iam().get_role().role_name("renamed-role").send().await.is_err());
    Ok(())
}

#[tokio::test]
async fn statements_for_a_role_that_is_left_over_are_deleted_in_the_other_account() -> Result<()> {
    let two = TwoAccounts::new("orphans-abroad").await?;
    let theirs =
        json!({"Version": "2012-10-17", "Statement": [super::statement_of_others(&two.destination)]});
    two.put_policy(&theirs).await?;
    let world = &two.world;
    world.apply(&two.resource().to_string()).await?;
    world.wait_ready("orders").await?;
    assert_eq!(statements(&two).await?, 3);
    two.operator.kill().await?;
    crate::support::patch(world, "orders", json!({"metadata": {"finalizers": null}})).await?;
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await?;

    let administrator = || operator_of(world).kubeconfig(world.cluster().admin_kubeconfig());
    // Other tests have AwsAccounts in this cluster too.
    let accounts = ["orphans", "--account", &two.home, "--account", &two.abroad];
    let found = administrator().run(accounts, "").await?;
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(2), "{text}{}", String::from_utf8_lossy(&found.stderr));
    assert!(text.contains(&two.destination) && text.contains(&two.source), "{text}");
    assert_eq!(statements(&two).await?, 3, "reading deletes nothing");

    let delete = [&accounts[..], &["--delete", "--including-replicating", "--yes"]].concat();
    let deleted = administrator().run(delete, "").await?;
    let text = String::from_utf8_lossy(&deleted.stdout).into_owned();
    assert_eq!(deleted.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&deleted.stderr));
    assert_eq!(text.matches("done: ").count(), 4, "{text}");
    let left = two.policy().await?.context("the policy of others is gone")?;
    assert_eq!(left["Statement"].as_array().map(Vec::len), Some(1), "{left:#}");
    Ok(())
}

/// The number of statements in the policy of the destination.
async fn statements(two: &TwoAccounts) -> Result<usize> {
    let policy = two.policy().await?.context("no policy")?;
    Ok(policy["Statement"].as_array().map_or(1, Vec::len))
}
