//! Principals of others in a destination's bucket policy that no longer exist: S3 refuses every policy with one.

use anyhow::{Context, Result, ensure};
use kube::api::DeleteParams;
use rig::proxy::{Answer, Fault, FaultId, Matcher};
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{
    DESTINATION_REGION, SOURCE_REGION, check_now, message, reason, replication, request_check,
};

use super::{TwoAccounts, policy_of};

const USER: &str = "AIDAZQ3EXAMPLE7USER21";
const ROLE: &str = "AROAZQ3EXAMPLE7ROLE21";

/// A statement of others about the objects of a bucket, with these principals.
fn statement(bucket: &str, principals: &Value) -> Value {
    let mut statement = json!({"Sid": "Auditors", "Effect": "Allow", "Action": "s3:GetObject",
        "Resource": format!("arn:aws:s3:::{bucket}/*")});
    for (key, value) in principals.as_object().into_iter().flatten() {
        statement[key] = value.clone();
    }
    statement
}

/// Has S3 show a policy. The operator's own policy then holds the deleted principal too, and the proxy refuses it as S3
/// does.
fn show(world: &World, bucket: &str, policy: &Value) -> FaultId {
    let answer = Answer::Custom { status: 200, headers: Vec::new(), body: policy.to_string() };
    world.proxy.inject(Fault::always(Matcher::operation("GetBucketPolicy").about(bucket), answer))
}

impl TwoAccounts {
    /// A replication from a new bucket into another new one abroad.
    async fn resource_of(&self, name: &str) -> Result<(Value, String)> {
        let source = self.world.bucket(SOURCE_REGION).await?;
        let destination = self.world.bucket_of(&self.abroad_id, DESTINATION_REGION).await?;
        let mut resource = replication(name, &source, &destination);
        resource["spec"]["source"]["accountRef"] = json!(self.home);
        resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(self.abroad);
        Ok((resource, destination))
    }

    /// The policy of the destination with a statement of someone who was deleted.
    async fn policy_with_deleted_principals(&self) -> Result<Value> {
        self.policy_with(&self.destination, USER).await
    }

    /// The policy of a bucket abroad with a statement of someone else.
    async fn policy_with(&self, bucket: &str, principal: &str) -> Result<Value> {
        let held = policy_of(&self.other_side().s3(DESTINATION_REGION), bucket).await?;
        let mut policy = held.context("no policy")?;
        let theirs = statement(bucket, &json!({"Principal": {"AWS": principal}}));
        policy["Statement"].as_array_mut().context("no list")?.push(theirs);
        Ok(policy)
    }

    /// How often the operator wrote the policy of a bucket.
    fn writes_of(&self, bucket: &str) -> usize {
        let calls = self.world.proxy.calls();
        calls.iter().filter(|call| call.operation == "PutBucketPolicy" && call.subject == bucket).count()
    }
}

#[tokio::test]
async fn deleted_principals_are_named_wherever_they_stand_in_the_policy() -> Result<()> {
    let two = TwoAccounts::new("principals").await?;
    let root = format!("arn:aws:iam::{}:root", two.abroad_id);
    let cases: [(Vec<Value>, &[&str]); 5] = [
        (vec![json!({"Principal": {"AWS": USER}})], &[USER]),
        (vec![json!({"Principal": {"AWS": [root, USER, "*"]}})], &[USER]),
        (vec![json!({"Principal": {"AWS": USER}}), json!({"Principal": {"AWS": [ROLE]}})], &[USER, ROLE]),
        (vec![json!({"Effect": "Deny", "NotPrincipal": {"AWS": [ROLE, root]}})], &[ROLE]),
        (vec![json!({"Principal": {"AWS": format!("{ROLE}:ci")}})], &["AROAZQ3EXAMPLE7ROLE21:ci"]),
    ];
    for (n, (principals, deleted)) in cases.iter().enumerate() {
        let name = format!("principals-{n}");
        let (resource, destination) = two.resource_of(&name).await?;
        let statements: Vec<Value> = principals.iter().map(|named| statement(&destination, named)).collect();
        let shown =
            show(&two.world, &destination, &json!({"Version": "2012-10-17", "Statement": statements}));
        two.world.apply(&resource.to_string()).await?;
        let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
        let status = two.world.wait(&name, refused, "to be refused").await?["status"].clone();
        for part in deleted.iter().copied().chain([destination.as_str(), "remove"]) {
            ensure!(message(&status, "Ready").contains(part), "{part} is not in: {status:#}");
        }
        check_now(&two.world, &name).await?;
        ensure!(two.writes_of(&destination) <= 4, "tried {} times", two.writes_of(&destination));
        let configured = |call: &rig::proxy::Call| {
            call.operation == "PutBucketReplication"
                && resource["spec"]["source"]["bucket"] == call.subject.as_str()
        };
        ensure!(!two.world.proxy.calls().iter().any(configured), "nothing replicates before it may");
        two.world.proxy.remove(shown);
        request_check(&two.world, &name).await?;
        two.world.wait_ready(&name).await?;
    }
    Ok(())
}

/// S3 shows a closed account as before, and may name it in its answer.
#[tokio::test]
async fn a_closed_account_in_the_policy_is_named() -> Result<()> {
    let two = TwoAccounts::new("closed").await?;
    let (resource, destination) = two.resource_of("closed").await?;
    let closed = "arn:aws:iam::777788889999:root";
    let theirs = statement(&destination, &json!({"Principal": {"AWS": [closed, two.abroad_id]}}));
    let shown = show(&two.world, &destination, &json!({"Version": "2012-10-17", "Statement": [theirs]}));
    let body = format!(
        "<Error><Code>MalformedPolicy</Code><Message>Invalid principal in policy</Message>\
         <Detail>\"AWS\" : \"{closed}\"</Detail></Error>"
    );
    let answer = Answer::Custom { status: 400, headers: Vec::new(), body };
    let matching = Matcher::operation("PutBucketPolicy").about(&destination);
    let fault = two.world.proxy.inject(Fault::always(matching, answer));
    two.world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let status = two.world.wait("closed", refused, "to be refused").await?["status"].clone();
    for part in [&destination, closed, &format!("remove {closed} from it")] {
        ensure!(message(&status, "Ready").contains(part), "{part} is not in: {status:#}");
    }
    two.world.proxy.remove(fault);
    two.world.proxy.remove(shown);
    request_check(&two.world, "closed").await?;
    two.world.wait_ready("closed").await?;
    Ok(())
}

#[tokio::test]
async fn a_former_destination_with_someone_dead_holds_back_no_new_one() -> Result<()> {
    let two = TwoAccounts::ready("principals-former").await?;
    let policy = two.policy_with_deleted_principals().await?;
    let shown = show(&two.world, &two.destination, &policy);
    let next = two.world.bucket_of(&two.abroad_id, DESTINATION_REGION).await?;
    let mut resource = two.resource();
    resource["spec"]["rules"][0]["destination"]["bucket"] = json!(next);
    two.world.apply(&resource.to_string()).await?;
    let named = |status: &Value| message(status, "RoleReady").contains(USER);
    let status = two.world.wait("orders", named, "to name the deleted principals").await?["status"].clone();
    ensure!(message(&status, "RoleReady").contains(&two.destination), "{status:#}");
    let held = two.world.s3(SOURCE_REGION).get_bucket_replication().bucket(&two.source).send().await?;
    let rules = held.replication_configuration().context("no configuration")?.rules().to_vec();
    let to = rules[0].destination().map(|to| to.bucket().to_owned());
    assert_eq!(to, Some(format!("arn:aws:s3:::{next}")), "{status:#}");
    two.world.proxy.remove(shown);
    check_now(&two.world, "orders").await?;
    two.world.wait_ready("orders").await?;
    ensure!(two.policy().await?.is_none(), "the operator's statements are left behind");
    Ok(())
}

#[tokio::test]
async fn of_two_resources_into_one_bucket_only_the_one_that_is_deleted_waits_and_names_all_of_its_buckets()
-> Result<()> {
    let two = TwoAccounts::new("principals-shared").await?;
    let more = two.world.bucket_of(&two.abroad_id, DESTINATION_REGION).await?;
    let mut orders = two.resource();
    let rule = json!({"id": "More", "priority": 2, "filter": {"prefix": ""},
        "destination": {"bucket": more, "accountRef": two.abroad}});
    orders["spec"]["rules"].as_array_mut().context("no rules")?.push(rule);
    two.world.apply(&orders.to_string()).await?;
    two.world.wait_ready("orders").await?;
    let other = two.world.bucket(SOURCE_REGION).await?;
    let mut bills = replication("bills", &other, &two.destination);
    bills["spec"]["source"]["accountRef"] = json!(two.home);
    bills["spec"]["rules"][0]["destination"]["accountRef"] = json!(two.abroad);
    two.world.apply(&bills.to_string()).await?;
    two.world.wait_ready("bills").await?;
    let policy = two.policy_with_deleted_principals().await?;
    let shown = show(&two.world, &two.destination, &policy);
    let also_shown = show(&two.world, &more, &two.policy_with(&more, ROLE).await?);
    two.world.api().delete("orders", &DeleteParams::default()).await?;
    let waits = |status: &Value| message(status, "Ready").contains("cannot delete");
    let status = two.world.wait("orders", waits, "to wait").await?["status"].clone();
    for part in [two.destination.as_str(), USER, &more, ROLE] {
        ensure!(message(&status, "Ready").contains(part), "{part} is not in: {status:#}");
    }
    let status = check_now(&two.world, "bills").await?["status"].clone();
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    two.world.proxy.remove(shown);
    two.world.proxy.remove(also_shown);
    request_check(&two.world, "orders").await?;
    two.world.wait_gone("orders").await?;
    let left = two.policy().await?.context("the other one's statements are gone")?;
    assert_eq!(super::statements_of_operator(&left).len(), 2, "{left:#}");
    Ok(())
}

/// The operator writes no policy of a source.
#[tokio::test]
async fn someone_dead_in_the_policy_of_the_source_changes_nothing() -> Result<()> {
    let two = TwoAccounts::new("principals-source").await?;
    let theirs = statement(&two.source, &json!({"Principal": {"AWS": [USER, ROLE]}}));
    show(&two.world, &two.source, &json!({"Version": "2012-10-17", "Statement": [theirs]}));
    two.world.apply(&two.resource().to_string()).await?;
    two.world.wait_ready("orders").await?;
    assert_eq!(two.writes_of(&two.source), 0);
    Ok(())
}

/// IAM shows the ids of deleted principals in a trust policy too.
#[tokio::test]
async fn someone_dead_in_the_trust_policy_of_the_role_is_removed_like_any_other_drift() -> Result<()> {
    let two = TwoAccounts::ready("principals-trust").await?;
    let iam = two.world.iam();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com", "AWS": [ROLE, USER]}, "Action": "sts:AssumeRole"}]});
    let update = iam.update_assume_role_policy().role_name("orders-role").policy_document(trust.to_string());
    update.send().await?;
    let status = check_now(&two.world, "orders").await?["status"].clone();
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    let role = iam.get_role().role_name("orders-role").send().await?;
    let held = role.role().and_then(|role| role.assume_role_policy_document()).unwrap_or_default().to_owned();
    ensure!(!held.contains("AROA") && !held.contains("AIDA"), "{held}");
    Ok(())
}
