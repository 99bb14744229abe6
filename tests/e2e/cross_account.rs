//! Replication between two accounts: versioning and policies on both sides, and real objects.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::BucketVersioningStatus;
use kube::api::DeleteParams;
use rig::operator::Operator;
use rig::world::{DEADLINE, World};
use rig::{Answer, Call, Clients, Fault, GateAt, Matcher};
use serde_json::{Value, json};

use crate::support::{
    check_now, drift, message, operator, patch, person, reason, replication, request_check,
};

const HOME: &str = "us-east-1";
const ABROAD: &str = "eu-west-1";

/// Two accounts: `home` is the operator's own, in `abroad` it assumes a role.
pub struct TwoAccounts {
    pub world: World,
    pub abroad_id: String,
    /// The names of the two `AwsAccount`s.
    pub home: String,
    pub abroad: String,
    pub source: String,
    pub destination: String,
    _operator: Operator,
}

/// What lets the operator do anything in an account: how little it needs has a test of its own.
const ALL: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

impl TwoAccounts {
    async fn new(name: &str) -> Result<TwoAccounts> {
        let world = World::new(name).await?;
        let abroad_id = world.another_account();
        let role = world.assumable_role(&abroad_id, "operator", &world.account, None, ALL).await?;
        let (home, abroad) = (world.unique("home"), world.unique("abroad"));
        world.apply(&account(&world, &home, &world.account, None).to_string()).await?;
        world.apply(&account(&world, &abroad, &abroad_id, Some(&role)).to_string()).await?;
        let (source, destination) = (world.bucket(HOME).await?, world.bucket_of(&abroad_id, ABROAD).await?);
        let _operator = operator(&world).start().await?;
        Ok(TwoAccounts { world, abroad_id, home, abroad, source, destination, _operator })
    }

    /// A resource that replicates from the one account into the other, the operator acting in both.
    fn resource(&self) -> Value {
        let mut resource = replication("orders", &self.source, &self.destination);
        resource["spec"]["source"]["accountRef"] = json!(self.home);
        resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(self.abroad);
        resource
    }

    async fn ready(name: &str) -> Result<TwoAccounts> {
        let two = TwoAccounts::new(name).await?;
        two.world.apply(&two.resource().to_string()).await?;
        two.world.wait_ready("orders").await?;
        Ok(two)
    }

    fn there(&self) -> Clients {
        self.world.as_account(&self.abroad_id)
    }

    async fn policy(&self) -> Result<Option<Value>> {
        policy_of(&self.there().s3(ABROAD), &self.destination).await
    }

    async fn put_policy(&self, policy: &Value) -> Result<()> {
        let s3 = self.there().s3(ABROAD);
        s3.put_bucket_policy().bucket(&self.destination).policy(policy.to_string()).send().await?;
        Ok(())
    }

    /// Someone who knows of no statements but their own writes the policy.
    async fn others_write(&self) -> Result<()> {
        let theirs = [statement_of_others(&self.destination)];
        self.put_policy(&json!({"Version": "2012-10-17", "Statement": theirs})).await
    }

    /// The policy holds the statement of others, and our own.
    async fn both_are_there(&self) -> Result<()> {
        let policy = self.policy().await?.context("no policy")?;
        let all = policy["Statement"].as_array().context("no list")?;
        ensure!(all.contains(&statement_of_others(&self.destination)), "theirs is lost: {policy:#}");
        ensure!(ours(&policy).len() == 2, "ours are lost: {policy:#}");
        Ok(())
    }

    /// Writes an object into the source and says what became of it: the status at the source, and whether it arrived.
    async fn sent(&self, key: &str) -> Result<(String, bool)> {
        let s3 = self.world.s3(HOME);
        let body = ByteStream::from_static(b"order");
        s3.put_object().bucket(&self.source).key(key).body(body).send().await?;
        let head = s3.head_object().bucket(&self.source).key(key).send().await?;
        let status = head.replication_status().map(|s| s.as_str().to_owned()).unwrap_or_default();
        let arrived =
            self.there().s3(ABROAD).head_object().bucket(&self.destination).key(key).send().await.is_ok();
        Ok((status, arrived))
    }
}

async fn policy_of(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<Option<Value>> {
    match s3.get_bucket_policy().bucket(bucket).send().await {
        Ok(answer) => Ok(Some(serde_json::from_str(answer.policy().context("no policy")?)?)),
        Err(error) if error.code() == Some("NoSuchBucketPolicy") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An account that allows the world's namespace all that its buckets are named for.
fn account(world: &World, name: &str, id: &str, role: Option<&str>) -> Value {
    let mut account = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": name},
        "spec": {
            "accountId": id,
            "namespaces": {"matchNames": [world.namespace]},
            "sources": [format!("{}-*", world.namespace)],
            "destinations": [format!("{}-*", world.namespace)],
        },
    });
    if let Some(arn) = role {
        account["spec"]["assumeRole"] = json!({"arn": arn});
    }
    account
}

/// Statements by Sid, ours told from others by how their Sids begin.
fn ours(policy: &Value) -> Vec<&Value> {
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_ours = |s: &&Value| s["Sid"].as_str().is_some_and(|sid| sid.starts_with("S3Replication"));
    statements.iter().filter(is_ours).collect()
}

fn statement_of_others(bucket: &str) -> Value {
    json!({"Sid": "OnlyTls", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": ["s3:PutObject"],
        "Resource": format!("arn:aws:s3:::{bucket}/*"),
        "Condition": {"Bool": {"aws:SecureTransport": ["false"]}, "StringEquals": {"aws:PrincipalTag/a": "b"}}})
}

#[tokio::test]
async fn one_resource_makes_both_accounts_do_their_part_and_objects_arrive() -> Result<()> {
    let two = TwoAccounts::new("both-sides").await?;
    assert!(two.policy().await?.is_none());
    two.world.apply(&two.resource().to_string()).await?;
    let ready = two.world.wait_ready("orders").await?;
    let role = ready["status"]["role"]["arn"].as_str().context("no role")?.to_owned();

    let there = two.there().s3(ABROAD);
    let versioning = there.get_bucket_versioning().bucket(&two.destination).send().await?;
    assert_eq!(versioning.status(), Some(&BucketVersioningStatus::Enabled));
    let policy = two.policy().await?.context("no policy")?;
    let principals: Vec<&Value> = ours(&policy).iter().map(|s| &s["Principal"]["AWS"]).collect();
    assert_eq!(principals, [&json!(role), &json!(role)]);
    let held = two.world.s3(HOME).get_bucket_replication().bucket(&two.source).send().await?;
    let rule = &held.replication_configuration().context("no configuration")?.rules()[0];
    let to = rule.destination().context("no destination")?;
    assert_eq!(to.account(), Some(two.abroad_id.as_str()), "S3 is told whose bucket it is");

    let status = &ready["status"];
    assert_eq!(status["source"]["account"], two.world.account.as_str());
    assert_eq!(status["source"]["accountRef"], two.home.as_str());
    assert_eq!(status["destinations"][0]["account"], two.abroad_id.as_str());
    assert_eq!(status["destinations"][0]["accountRef"], two.abroad.as_str());
    assert_eq!(status["bucketPolicies"][0]["bucket"], two.destination.as_str());
    assert!(message(status, "RoleReady").contains(&two.destination), "{}", message(status, "RoleReady"));
    assert_eq!(two.sent("with-policy").await?, ("COMPLETED".to_owned(), true));
    Ok(())
}

/// Without an `accountRef` the other side is theirs to do; what `policy` prints is what they need.
#[tokio::test]
async fn without_the_bucket_policy_objects_fail_and_with_the_printed_one_they_arrive() -> Result<()> {
    let two = TwoAccounts::new("their-side").await?;
    let world = &two.world;
    let there = two.there().s3(ABROAD);
    let enabled =
        aws_sdk_s3::types::VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = there.put_bucket_versioning().bucket(&two.destination);
    request.versioning_configuration(enabled).send().await?;
    patch_account(world, &two.home, json!({"spec": {"destinationAccounts": [two.abroad_id]}})).await?;

    let mut resource = two.resource();
    let destination = &mut resource["spec"]["rules"][0]["destination"];
    destination["accountRef"] = Value::Null;
    destination["account"] = json!(two.abroad_id);
    destination["region"] = json!(ABROAD);
    resource["metadata"]["namespace"] = json!(world.namespace);
    world.apply(&resource.to_string().replace("\"accountRef\":null,", "")).await?;
    let status = &world.wait_ready("orders").await?["status"];
    assert_eq!(reason(status, "VersioningReady"), "AccessDenied", "it may not be read: {status:#}");
    let told = message(status, "ReplicationReady");
    for part in [&two.abroad_id, &two.destination, "s3-replication-operator policy", "cannot be seen"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(two.sent("without-policy").await?, ("FAILED".to_owned(), false));
    assert_eq!(world.proxy.count("PutBucketPolicy"), 0);

    let files = [resource.to_string(), read_account(world, &two.home).await?.to_string()].join("\n---\n");
    let printed = printed(world, &files).await?;
    let policy = &printed[format!("bucket policy of destination {}", two.destination)];
    two.put_policy(policy).await?;
    assert_eq!(two.sent("with-policy").await?, ("COMPLETED".to_owned(), true));
    Ok(())
}

async fn patch_account(world: &World, name: &str, change: Value) -> Result<()> {
    let change = kube::api::Patch::Merge(change);
    world.accounts().patch(name, &kube::api::PatchParams::default(), &change).await?;
    Ok(())
}

async fn read_account(world: &World, name: &str) -> Result<Value> {
    let mut account = world.account(name).await?;
    account["apiVersion"] = json!("s3replication.dev/v1alpha1");
    account["kind"] = json!("AwsAccount");
    Ok(account)
}

/// What `policy -o json` prints for files.
async fn printed(world: &World, files: &str) -> Result<Value> {
    let output = person(world).run(["policy", "-f", "-", "-o", "json"], files).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn plan(world: &World, files: &str) -> Result<(Option<i32>, String)> {
    let output = person(world).run(["plan", "-f", "-"], files).await?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), text))
}

#[tokio::test]
async fn what_others_wrote_into_the_policy_is_kept_and_outlives_the_resource() -> Result<()> {
    let two = TwoAccounts::new("kept").await?;
    let theirs =
        json!({"Version": "2008-10-17", "Id": "theirs", "Statement": statement_of_others(&two.destination)});
    two.put_policy(&theirs).await?;
    two.world.apply(&two.resource().to_string()).await?;
    two.world.wait_ready("orders").await?;
    let policy = two.policy().await?.context("no policy")?;
    assert_eq!((&policy["Version"], &policy["Id"]), (&theirs["Version"], &theirs["Id"]));
    assert_eq!(policy["Statement"][0], theirs["Statement"]);
    assert_eq!(ours(&policy).len(), 2);

    two.world.api().delete("orders", &DeleteParams::default()).await?;
    two.world.wait_gone("orders").await?;
    let left = two.policy().await?.context("the policy of others is gone")?;
    assert_eq!(left["Statement"], json!([theirs["Statement"]]));
    assert_eq!((&left["Version"], &left["Id"]), (&theirs["Version"], &theirs["Id"]));
    Ok(())
}

#[tokio::test]
async fn a_policy_of_ours_alone_goes_with_the_resource() -> Result<()> {
    let two = TwoAccounts::ready("ours-alone").await?;
    two.world.api().delete("orders", &DeleteParams::default()).await?;
    two.world.wait_gone("orders").await?;
    assert!(two.policy().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn every_outside_change_of_our_statements_is_seen_and_put_right() -> Result<()> {
    let two = TwoAccounts::ready("policy-drift").await?;
    let good = two.policy().await?.context("no policy")?;
    let objects = |policy: &Value| {
        let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        statements.iter().position(|s| s["Sid"].as_str().is_some_and(|s| s.ends_with("Objects")))
    };
    let at = objects(&good).context("no statement for objects")?;
    let arn = format!("arn:aws:s3:::{}", two.destination);
    let role = good["Statement"][at]["Principal"]["AWS"].as_str().context("no principal")?.to_owned();
    let mut without_action = good.clone();
    without_action["Statement"][at]["Action"] = json!(["s3:ReplicateObject", "s3:ReplicateTags"]);
    let mut conditional = good.clone();
    conditional["Statement"][at]["Condition"] = json!({"Bool": {"aws:SecureTransport": "true"}});
    let mut without_statement = good.clone();
    without_statement["Statement"].as_array_mut().context("no list")?.remove(at);
    let deleted = format!("s3:ReplicateDelete on {arn}/* by AWS:{role}");
    for (changed, path, got) in [
        (&without_action, deleted.as_str(), "absent"),
        (&conditional, &deleted, r#"Allow if {"Bool":{"aws:securetransport":["true"]}}"#),
        (&without_statement, &deleted, "absent"),
    ] {
        patch(&two.world, "orders", json!({"spec": {"managementPolicy": "Observe"}})).await?;
        check_now(&two.world, "orders").await?;
        two.put_policy(changed).await?;
        two.world.proxy.clear();
        let status = &check_now(&two.world, "orders").await?["status"];
        let entry = drift(status, path)?;
        assert_eq!(entry["resource"], "DestinationBucketPolicy");
        assert_eq!(entry["name"], two.destination.as_str());
        assert_eq!((&entry["want"], &entry["got"]), (&json!("Allow"), &json!(got)));
        assert_eq!(reason(status, "RoleReady"), "Drifted", "{status:#}");
        assert_eq!(two.world.proxy.writes().len(), 0, "Observe writes nothing");

        patch(&two.world, "orders", json!({"spec": {"managementPolicy": "Enforce"}})).await?;
        let status = &check_now(&two.world, "orders").await?["status"];
        assert_eq!(reason(status, "Ready"), "Applied", "{status:#}");
        assert_eq!(status["lastCorrection"]["items"][0]["resource"], "DestinationBucketPolicy");
        let put_right = two.policy().await?.context("no policy")?;
        let sorted = |policy: &Value| {
            let mut all = policy["Statement"].as_array().cloned().unwrap_or_default();
            all.sort_by_key(ToString::to_string);
            all
        };
        assert_eq!(sorted(&put_right), sorted(&good));
    }
    Ok(())
}

#[tokio::test]
async fn the_same_policy_in_other_words_is_no_drift() -> Result<()> {
    let two = TwoAccounts::ready("policy-words").await?;
    let mut policy = two.policy().await?.context("no policy")?;
    let statements = policy["Statement"].as_array_mut().context("no list")?;
    statements.reverse();
    for statement in statements.iter_mut() {
        statement["Resource"] = statement["Resource"][0].clone();
        statement["Action"].as_array_mut().context("no actions")?.reverse();
        let role = statement["Principal"]["AWS"].clone();
        statement["Principal"]["AWS"] = json!([role]);
    }
    statements.push(statement_of_others(&two.destination));
    two.put_policy(&policy).await?;
    two.world.proxy.clear();
    let status = &check_now(&two.world, "orders").await?["status"];
    assert_eq!(reason(status, "InSync"), "Applied", "{status:#}");
    assert_eq!(two.world.proxy.writes().len(), 0);
    Ok(())
}

/// Someone writes after the check has read: the write reads anew.
#[tokio::test]
async fn an_edit_between_the_look_and_the_write_is_not_lost() -> Result<()> {
    let two = TwoAccounts::new("edit-between").await?;
    // The policy was read with all the rest, and is written after the role.
    let role_made = two.world.proxy.gate(Matcher::operation("CreateRole"), GateAt::AfterForward);
    two.world.apply(&two.resource().to_string()).await?;
    role_made.reached(DEADLINE).await?;
    two.others_write().await?;
    role_made.release();
    two.world.wait_ready("orders").await?;
    two.both_are_there().await
}

/// Someone who had read before our write writes after it: both end up there.
#[tokio::test]
async fn a_write_over_ours_is_noticed_at_once_and_both_are_kept() -> Result<()> {
    let two = TwoAccounts::new("write-over").await?;
    let gate = two.world.proxy.gate(Matcher::operation("PutBucketPolicy").nth(1), GateAt::AfterForward);
    two.world.apply(&two.resource().to_string()).await?;
    gate.reached(DEADLINE).await?;
    two.others_write().await?;
    gate.release();
    two.world.wait_ready("orders").await?;
    two.both_are_there().await
}

#[tokio::test]
async fn a_check_that_finds_nothing_costs_six_requests_across_accounts() -> Result<()> {
    let two = TwoAccounts::ready("six").await?;
    for account in [&two.home, &two.abroad] {
        let counted = |status: &Value| status["replications"] == 1 && reason(status, "Ready") == "Verified";
        two.world.wait_account(account, counted, "to be verified").await?;
    }
    check_now(&two.world, "orders").await?;
    two.world.proxy.clear();
    check_now(&two.world, "orders").await?;
    let mut calls: Vec<String> =
        two.world.proxy.calls().iter().map(|c| format!("{} {}", c.operation, c.subject)).collect();
    calls.sort();
    let (source, destination) = (&two.source, &two.destination);
    let mut six = vec![
        format!("GetBucketPolicy {destination}"),
        format!("GetBucketReplication {source}"),
        format!("GetBucketVersioning {destination}"),
        format!("GetBucketVersioning {source}"),
        "GetRole orders-role".to_owned(),
        "GetRolePolicy orders-role".to_owned(),
    ];
    six.sort();
    assert_eq!(calls, six);
    Ok(())
}

/// Each call acts in the account it should, and names the owner it expects.
#[tokio::test]
async fn each_bucket_is_acted_on_in_its_own_account() -> Result<()> {
    let two = TwoAccounts::ready("acting").await?;
    let calls: Vec<Call> = two.world.proxy.calls();
    for call in calls.iter().filter(|c| c.service == "s3" && c.operation != "HeadBucket") {
        let owner = if call.subject == two.destination { &two.abroad_id } else { &two.world.account };
        assert_eq!(&call.account, owner, "{call}");
        assert_eq!(call.expected_owner.as_ref(), Some(owner), "{call}");
    }
    assert!(calls.iter().filter(|c| c.service == "iam").all(|c| c.account == two.world.account));
    Ok(())
}

#[tokio::test]
async fn replicas_can_change_hands() -> Result<()> {
    let two = TwoAccounts::new("change-hands").await?;
    let mut resource = two.resource();
    resource["spec"]["rules"][0]["destination"]["ownership"] = json!("Destination");
    two.world.apply(&resource.to_string()).await?;
    let ready = two.world.wait_ready("orders").await?;
    let policy = two.policy().await?.context("no policy")?;
    let action = json!("s3:ObjectOwnerOverrideToBucketOwner");
    let allowed = |s: &&Value| s["Action"].as_array().is_some_and(|actions| actions.contains(&action));
    assert!(ours(&policy).iter().any(allowed), "{policy:#}");
    let role = ready["status"]["role"]["arn"].as_str().context("no role")?;
    let name = role.rsplit('/').next().context("no name")?;
    let held = two.world.iam().get_role_policy().role_name(name).policy_name("s3-replication").send().await?;
    assert!(held.policy_document().contains("ObjectOwnerOverrideToBucketOwner"));
    assert_eq!(two.sent("owned").await?, ("COMPLETED".to_owned(), true));

    // Within one account it is refused, however the account is named.
    resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(two.home);
    resource["spec"]["rules"][0]["destination"]["bucket"] = json!(two.world.bucket(ABROAD).await?);
    two.world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let status = &two.world.wait("orders", refused, "to be refused").await?["status"];
    assert!(message(status, "Ready").contains("ownership"), "{}", message(status, "Ready"));
    Ok(())
}

#[tokio::test]
async fn a_destination_that_is_given_up_gets_its_policy_back() -> Result<()> {
    let two = TwoAccounts::ready("given-up").await?;
    let next = two.world.bucket_of(&two.abroad_id, ABROAD).await?;
    let mut resource = two.resource();
    resource["spec"]["rules"][0]["destination"]["bucket"] = json!(next);
    two.world.apply(&resource.to_string()).await?;
    let status = &two.world.wait_ready("orders").await?["status"];
    assert!(two.policy().await?.is_none(), "statements of ours are left behind");
    assert!(policy_of(&two.there().s3(ABROAD), &next).await?.is_some());
    let remembered: Vec<&Value> =
        status["bucketPolicies"].as_array().into_iter().flatten().map(|p| &p["bucket"]).collect();
    assert_eq!(remembered, [&json!(next)]);
    Ok(())
}

/// The last rule that names the account goes: what is left there goes too, and while that account does not answer the
/// rest of the resource goes on.
#[tokio::test]
async fn an_account_that_is_given_up_gets_its_policy_back() -> Result<()> {
    let two = TwoAccounts::ready("account-given-up").await?;
    let refused = Fault::always(Matcher::operation("GetBucketPolicy"), Answer::access_denied());
    let fault = two.world.proxy.inject(refused);
    let mut resource = two.resource();
    let near = two.world.bucket(ABROAD).await?;
    resource["spec"]["rules"][0]["destination"] = json!({"bucket": near});
    two.world.apply(&resource.to_string()).await?;
    let status = &two.world.wait_ready("orders").await?["status"];
    assert_eq!(reason(status, "RoleReady"), "AccessDenied", "{status:#}");
    assert!(message(status, "RoleReady").contains(&two.destination), "{}", message(status, "RoleReady"));
    assert_eq!(status["bucketPolicies"][0]["bucket"], two.destination.as_str());
    two.world.proxy.remove(fault);
    let status = &check_now(&two.world, "orders").await?["status"];
    assert_eq!(reason(status, "RoleReady"), "Applied", "{status:#}");
    assert_eq!(status["bucketPolicies"], Value::Null);
    assert!(two.policy().await?.is_none(), "statements of ours are left behind");
    Ok(())
}

#[tokio::test]
async fn a_renamed_role_is_let_in_and_the_former_one_is_not() -> Result<()> {
    let two = TwoAccounts::ready("renamed").await?;
    let mut resource = two.resource();
    resource["spec"]["role"]["name"] = json!("another-role");
    two.world.apply(&resource.to_string()).await?;
    let ready = two.world.wait_ready("orders").await?;
    let policy = two.policy().await?.context("no policy")?;
    let principals: Vec<&Value> = ours(&policy).iter().map(|s| &s["Principal"]["AWS"]).collect();
    assert_eq!(principals, [&ready["status"]["role"]["arn"]; 2]);
    assert_eq!(two.sent("renamed").await?, ("COMPLETED".to_owned(), true));
    Ok(())
}

#[tokio::test]
async fn deletion_waits_for_the_other_account_and_says_what_for() -> Result<()> {
    let two = TwoAccounts::ready("deletion-abroad").await?;
    let denied = Fault::always(Matcher::operation("DeleteBucketPolicy"), Answer::access_denied());
    let fault = two.world.proxy.inject(denied);
    two.world.api().delete("orders", &DeleteParams::default()).await?;
    let waits = |status: &Value| reason(status, "Ready") == "AccessDenied";
    let status = &two.world.wait("orders", waits, "to wait").await?["status"];
    let told = message(status, "Ready");
    assert!(told.contains(&two.destination) && told.contains("s3:DeleteBucketPolicy"), "{told}");
    two.world.proxy.remove(fault);
    two.world.wait_gone("orders").await?;
    assert!(two.policy().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_denied_write_of_the_policy_names_action_bucket_and_fix() -> Result<()> {
    let two = TwoAccounts::new("denied-policy").await?;
    for (operation, action) in
        [("GetBucketPolicy", "s3:GetBucketPolicy"), ("PutBucketPolicy", "s3:PutBucketPolicy")]
    {
        let denied = Fault::always(Matcher::operation(operation), Answer::access_denied());
        let fault = two.world.proxy.inject(denied);
        two.world.apply(&two.resource().to_string()).await?;
        request_check(&two.world, "orders").await?;
        let told = |status: &Value| message(status, "Ready").contains(action);
        let status = &two.world.wait("orders", told, "to be denied").await?["status"];
        assert_eq!(reason(status, "Ready"), "AccessDenied");
        assert!(message(status, "Ready").contains(&two.destination), "{}", message(status, "Ready"));
        assert_eq!(two.world.proxy.count("PutBucketReplication"), 0, "nothing replicates before it may");
        two.world.proxy.remove(fault);
    }
    request_check(&two.world, "orders").await?;
    two.world.wait_ready("orders").await?;
    Ok(())
}

/// Each resource has one side's bucket as its source; replica modifications go both ways.
#[tokio::test]
async fn two_resources_replicate_both_ways_and_do_not_fight() -> Result<()> {
    let two = TwoAccounts::new("both-ways").await?;
    let mut there = two.resource();
    there["spec"]["rules"][0]["replicaModifications"] = json!("Enabled");
    let mut back = replication("back", &two.destination, &two.source);
    back["spec"]["source"]["accountRef"] = json!(two.abroad);
    back["spec"]["rules"][0]["destination"]["accountRef"] = json!(two.home);
    back["spec"]["rules"][0]["replicaModifications"] = json!("Enabled");
    two.world.apply(&there.to_string()).await?;
    two.world.apply(&back.to_string()).await?;
    two.world.wait_ready("orders").await?;
    two.world.wait_ready("back").await?;

    two.world.proxy.clear();
    for name in ["orders", "back", "orders", "back"] {
        let status = &check_now(&two.world, name).await?["status"];
        assert_eq!(reason(status, "InSync"), "Applied", "{name}: {status:#}");
    }
    assert_eq!(two.world.proxy.writes().len(), 0, "{:?}", two.world.proxy.writes());
    assert_eq!(two.sent("there").await?, ("COMPLETED".to_owned(), true));
    let s3 = two.there().s3(ABROAD);
    let body = ByteStream::from_static(b"order");
    s3.put_object().bucket(&two.destination).key("back").body(body).send().await?;
    assert!(two.world.s3(HOME).head_object().bucket(&two.source).key("back").send().await.is_ok());
    let again = s3.head_object().bucket(&two.destination).key("there").send().await?;
    assert_eq!(again.replication_status().map(|s| s.as_str()), Some("REPLICA"), "a replica does not go back");
    Ok(())
}

#[tokio::test]
async fn retention_goes_along_from_a_source_with_object_lock() -> Result<()> {
    let two = TwoAccounts::new("object-lock").await?;
    let name = two.world.bucket_name();
    let s3 = two.world.s3(HOME);
    s3.create_bucket().bucket(&name).object_lock_enabled_for_bucket(true).send().await?;
    for (resource, source, locked) in [("plain", &two.source, false), ("locked", &name, true)] {
        let mut spec = two.resource();
        spec["metadata"]["name"] = json!(resource);
        spec["spec"]["source"]["bucket"] = json!(source);
        spec["spec"]["role"]["name"] = json!(format!("{resource}-role"));
        two.world.apply(&spec.to_string()).await?;
        two.world.wait_ready(resource).await?;
        let role = format!("{resource}-role");
        let held =
            two.world.iam().get_role_policy().role_name(role).policy_name("s3-replication").send().await?;
        for action in ["GetObjectRetention", "GetObjectLegalHold"] {
            assert_eq!(held.policy_document().contains(action), locked, "{resource}: {action}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_before_anything_is_written() -> Result<()> {
    let two = TwoAccounts::new("keys").await?;
    let kms = two.there().kms(ABROAD);
    let key = kms.create_key().send().await?;
    let key = key.key_metadata().context("no key")?;
    let (id, arn) = (key.key_id().to_owned(), key.arn().context("no ARN")?.to_owned());
    kms.disable_key().key_id(&id).send().await?;
    let mut resource = two.resource();
    resource["spec"]["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
    resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(arn);
    let elsewhere = arn.replace(ABROAD, "eu-central-1");
    for (key, says) in [(&arn, "Disabled"), (&elsewhere, "is not in eu-west-1")] {
        resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(key);
        two.world.apply(&resource.to_string()).await?;
        let told = |status: &Value| message(status, "Ready").contains(says);
        let status = &two.world.wait("orders", told, "to be refused").await?["status"];
        assert_eq!(reason(status, "Ready"), "InvalidRequest");
        assert!(message(status, "Ready").contains("rules[ReplicateToEU].destination.kmsKeyArn"));
        assert_eq!(two.world.proxy.writes().len(), 0);
    }
    kms.enable_key().key_id(&id).send().await?;
    resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(arn);
    two.world.apply(&resource.to_string()).await?;
    two.world.wait_ready("orders").await?;
    // A key that can be used is not looked at in every check.
    two.world.proxy.clear();
    check_now(&two.world, "orders").await?;
    assert_eq!(two.world.proxy.count("DescribeKey"), 0);
    assert!(two.world.proxy.calls().len() <= 6, "{:?}", two.world.proxy.calls());
    Ok(())
}

#[tokio::test]
async fn plan_and_policy_understand_accounts() -> Result<()> {
    let two = TwoAccounts::new("plan-accounts").await?;
    let world = &two.world;
    let mut resource = two.resource();
    resource["metadata"]["namespace"] = json!(world.namespace);
    // Accounts in no file are looked up in the cluster.
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
    assert_eq!(world.proxy.calls().len(), 0);
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

/// The statements that `policy` prints for others are those that the operator writes itself.
#[tokio::test]
async fn the_printed_bucket_policy_is_the_one_that_is_written() -> Result<()> {
    let two = TwoAccounts::ready("printed-policy").await?;
    let world = &two.world;
    let mut resource = two.resource();
    resource["metadata"]["namespace"] = json!(world.namespace);
    let printed = printed(world, &resource.to_string()).await?;
    let held = two.policy().await?.context("no policy")?;
    assert_eq!(printed[format!("bucket policy of destination {}", two.destination)], held);
    Ok(())
}

#[tokio::test]
async fn the_key_policy_of_another_account_is_printed() -> Result<()> {
    let two = TwoAccounts::new("key-policy").await?;
    let arn = format!("arn:aws:kms:{ABROAD}:{}:key/1234abcd-12ab-34cd-56ef-1234567890ab", two.abroad_id);
    let mut resource = two.resource();
    resource["metadata"]["namespace"] = json!(two.world.namespace);
    resource["spec"]["source"]["region"] = json!(HOME);
    resource["spec"]["rules"][0]["destination"]["region"] = json!(ABROAD);
    resource["spec"]["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
    resource["spec"]["rules"][0]["destination"]["kmsKeyArn"] = json!(arn);
    let printed = printed(&two.world, &resource.to_string()).await?;
    let statements = &printed[format!("statements for the policy of key {arn}")];
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
                "kms:ViaService": [format!("s3.{ABROAD}.amazonaws.com")],
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
    patch_account(world, &two.abroad, json!({"spec": {"destinationAccounts": [world.account]}})).await?;
    for account in [&two.abroad, &two.abroad_id] {
        let output = person(world)
            .run(["import", "--bucket", &two.destination, "--account", account, "-n", &world.namespace], "")
            .await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(&format!("accountRef: {}", two.abroad)), "{text}");
        assert!(text.contains("role.arn") && text.contains(&world.account), "{text}");
        // Managed roles are their resources'; who imports has a role made by hand.
        let tags = two.there().iam().list_role_tags().role_name("back-role").send().await?;
        let keys: Vec<String> = tags.tags().iter().map(|t| t.key().to_owned()).collect();
        two.there().iam().untag_role().role_name("back-role").set_tag_keys(Some(keys)).send().await?;
        let (code, planned) = plan(world, &text).await?;
        assert_eq!(code, Some(0), "{planned}");
    }
    let output = person(world).run(["import", "--all", "--account", &two.abroad], "").await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sources: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# Bucket ")).collect();
    assert!(
        sources.len() == 1 && sources[0].starts_with(&two.destination),
        "buckets of that account alone: {text}"
    );
    Ok(())
}

/// The operator with exactly the policies that `policy` prints for its accounts, IAM enforced on both sides.
///
/// The roles have the path `/`, and PassRole is not looked at: the emulator leaves the path out of the resource it
/// looks for in a policy, and does not check `iam:PassRole`.
#[tokio::test]
async fn the_printed_policies_of_accounts_are_enough_for_a_whole_life() -> Result<()> {
    let world = World::with_auth("account-policies").await?;
    let abroad_id = world.another_account();
    let (home, abroad) = (world.unique("home"), world.unique("abroad"));
    let in_home = format!("arn:aws:iam::{}:role/operator", world.account);
    let in_abroad = format!("arn:aws:iam::{abroad_id}:role/operator");
    let accounts = BTreeMap::from([(&home, (&world.account, &in_home)), (&abroad, (&abroad_id, &in_abroad))]);
    let mut files = Vec::new();
    for (name, (id, role)) in &accounts {
        let mut account = account(&world, name, id, Some(role));
        account["spec"]["assumeRole"]["externalId"] = json!("replication-of-orders");
        account["spec"]["roles"] = json!({"path": "/"});
        world.apply(&account.to_string()).await?;
        files.push(account.to_string());
    }
    let printed = printed(&world, &files.join("\n---\n")).await?;
    let own = &printed["policy of the operator"];
    let (key, secret) = world.user("operator", &own.to_string()).await?;
    for (name, (id, _)) in &accounts {
        let policy = &printed[format!("policy of the operator in AwsAccount {name}")];
        let external_id = Some("replication-of-orders");
        world.assumable_role(id, "operator", &world.account, external_id, &policy.to_string()).await?;
    }
    let _operator = operator(&world).credentials(&key, &secret).start().await?;

    let (source, destination) = (world.bucket(HOME).await?, world.bucket_of(&abroad_id, ABROAD).await?);
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

    let there = world.as_account(&abroad_id).s3(ABROAD);
    there.delete_bucket_policy().bucket(&destination).send().await?;
    let role = "orders-role";
    world.iam().delete_role_policy().role_name(role).policy_name("s3-replication").send().await?;
    world.s3(HOME).delete_bucket_replication().bucket(&source).send().await?;
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
