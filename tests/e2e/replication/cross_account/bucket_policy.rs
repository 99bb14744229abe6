//! The operator's statements in the destination's bucket policy, beside those of others.

use anyhow::{Context, Result, ensure};
use kube::api::DeleteParams;
use rig::world::DEADLINE;
use rig::{Answer, Fault, GateAt, Matcher};
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, check_now, drift, message, patch, reason, request_check};

use super::{TwoAccounts, policy_of, statement_of_others, statements_of_operator};

#[tokio::test]
async fn statements_of_others_are_kept_and_outlive_the_resource() -> Result<()> {
    let two = TwoAccounts::new("kept").await?;
    let theirs =
        json!({"Version": "2008-10-17", "Id": "theirs", "Statement": statement_of_others(&two.destination)});
    two.put_policy(&theirs).await?;
    two.world.apply(&two.resource().to_string()).await?;
    two.world.wait_ready("orders").await?;
    let policy = two.policy().await?.context("no policy")?;
    assert_eq!((&policy["Version"], &policy["Id"]), (&theirs["Version"], &theirs["Id"]));
    assert_eq!(policy["Statement"][0], theirs["Statement"]);
    assert_eq!(statements_of_operator(&policy).len(), 2);

    two.world.api().delete("orders", &DeleteParams::default()).await?;
    two.world.wait_gone("orders").await?;
    let left = two.policy().await?.context("the policy of others is gone")?;
    assert_eq!(left["Statement"], json!([theirs["Statement"]]));
    assert_eq!((&left["Version"], &left["Id"]), (&theirs["Version"], &theirs["Id"]));
    Ok(())
}

#[tokio::test]
async fn a_policy_with_the_operators_statements_alone_is_deleted_with_the_resource() -> Result<()> {
    let two = TwoAccounts::ready("ours-alone").await?;
    two.world.api().delete("orders", &DeleteParams::default()).await?;
    two.world.wait_gone("orders").await?;
    assert!(two.policy().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn every_outside_change_of_the_statements_is_reported_and_corrected() -> Result<()> {
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
        (&conditional, &deleted, r#"Allow if {"Bool":{"aws:SecureTransport":"true"}}"#),
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
        let corrected = two.policy().await?.context("no policy")?;
        let sorted = |policy: &Value| {
            let mut all = policy["Statement"].as_array().cloned().unwrap_or_default();
            all.sort_by_key(ToString::to_string);
            all
        };
        assert_eq!(sorted(&corrected), sorted(&good));
    }
    Ok(())
}

#[tokio::test]
async fn an_equivalent_bucket_policy_is_no_drift() -> Result<()> {
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

/// Someone writes after the check has read the policy: the operator reads it again before it writes.
#[tokio::test]
async fn an_edit_between_the_read_and_the_write_is_not_lost() -> Result<()> {
    let two = TwoAccounts::new("edit-between").await?;
    // The policy is read with everything else, and written after the role.
    let role_made = two.world.proxy.gate(Matcher::operation("CreateRole"), GateAt::AfterForward);
    two.world.apply(&two.resource().to_string()).await?;
    role_made.reached(DEADLINE).await?;
    two.write_policy_of_others().await?;
    role_made.release();
    two.world.wait_ready("orders").await?;
    two.check_both_kept().await
}

/// Someone reads before the operator writes, and writes after it: in the end the policy has both.
#[tokio::test]
async fn a_concurrent_write_over_the_operators_is_noticed_and_both_are_kept() -> Result<()> {
    let two = TwoAccounts::new("write-over").await?;
    let gate = two.world.proxy.gate(Matcher::operation("PutBucketPolicy").nth(1), GateAt::AfterForward);
    two.world.apply(&two.resource().to_string()).await?;
    gate.reached(DEADLINE).await?;
    two.write_policy_of_others().await?;
    gate.release();
    two.world.wait_ready("orders").await?;
    two.check_both_kept().await
}

#[tokio::test]
async fn statements_are_removed_from_a_destination_that_is_no_longer_used() -> Result<()> {
    let two = TwoAccounts::ready("given-up").await?;
    let next = two.world.bucket_of(&two.abroad_id, DESTINATION_REGION).await?;
    let mut resource = two.resource();
    resource["spec"]["rules"][0]["destination"]["bucket"] = json!(next);
    two.world.apply(&resource.to_string()).await?;
    let status = &two.world.wait_ready("orders").await?["status"];
    assert!(two.policy().await?.is_none(), "the operator's statements are left behind");
    assert!(policy_of(&two.other_side().s3(DESTINATION_REGION), &next).await?.is_some());
    let remembered: Vec<&Value> =
        status["bucketPolicies"].as_array().into_iter().flatten().map(|p| &p["bucket"]).collect();
    assert_eq!(remembered, [&json!(next)]);
    Ok(())
}

/// The last rule that refers to the account is removed: the statements there are removed too. While that account does
/// not answer, the rest of the resource is reconciled.
#[tokio::test]
async fn statements_are_removed_from_an_account_that_is_no_longer_used() -> Result<()> {
    let two = TwoAccounts::ready("account-given-up").await?;
    let refused = Fault::always(Matcher::operation("GetBucketPolicy"), Answer::access_denied());
    let fault = two.world.proxy.inject(refused);
    let mut resource = two.resource();
    let near = two.world.bucket(DESTINATION_REGION).await?;
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
    assert!(two.policy().await?.is_none(), "the operator's statements are left behind");
    Ok(())
}

#[tokio::test]
async fn the_bucket_policy_follows_a_renamed_role() -> Result<()> {
    let two = TwoAccounts::ready("renamed").await?;
    let mut resource = two.resource();
    resource["spec"]["role"]["name"] = json!("another-role");
    two.world.apply(&resource.to_string()).await?;
    let ready = two.world.wait_ready("orders").await?;
    let policy = two.policy().await?.context("no policy")?;
    let principals: Vec<&Value> =
        statements_of_operator(&policy).iter().map(|s| &s["Principal"]["AWS"]).collect();
    assert_eq!(principals, [&ready["status"]["role"]["arn"]; 2]);
    assert_eq!(two.send_object("renamed").await?, ("COMPLETED".to_owned(), true));
    Ok(())
}

#[tokio::test]
async fn the_former_role_is_let_in_while_s3_refuses_the_configuration_with_the_new_one() -> Result<()> {
    let two = TwoAccounts::ready("renamed-refused").await?;
    let refused = Answer::error(400, "InvalidRequest", "This configuration is refused.");
    let matching = Matcher::operation("PutBucketReplication");
    let fault = two.world.proxy.inject(Fault::always(matching, refused));
    let former = two.world.get("orders").await?["status"]["role"]["arn"].clone();
    let mut resource = two.resource();
    resource["spec"]["role"]["name"] = json!("another-role");
    two.world.apply(&resource.to_string()).await?;
    let is_refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    two.world.wait("orders", is_refused, "to be refused").await?;
    let policy = two.policy().await?.context("no policy")?;
    for statement in statements_of_operator(&policy) {
        ensure!(
            statement["Principal"]["AWS"].to_string().contains(former.as_str().unwrap_or("?")),
            "{policy:#}"
        );
    }
    assert_eq!(two.send_object("while-refused").await?, ("COMPLETED".to_owned(), true));
    two.world.proxy.remove(fault);
    check_now(&two.world, "orders").await?;
    two.world.wait_ready("orders").await?;
    assert_eq!(two.send_object("after").await?, ("COMPLETED".to_owned(), true));
    Ok(())
}

#[tokio::test]
async fn deletion_waits_for_the_other_account_and_reports_why() -> Result<()> {
    let two = TwoAccounts::ready("deletion-abroad").await?;
    let denied = Fault::always(Matcher::operation("DeleteBucketPolicy"), Answer::access_denied());
    let fault = two.world.proxy.inject(denied);
    two.world.api().delete("orders", &DeleteParams::default()).await?;
    let waits = |status: &Value| reason(status, "Ready") == "AccessDenied";
    let status = &two.world.wait("orders", waits, "to wait").await?["status"];
    let reported = message(status, "Ready");
    assert!(reported.contains(&two.destination) && reported.contains("s3:DeleteBucketPolicy"), "{reported}");
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
        let reported = |status: &Value| message(status, "Ready").contains(action);
        let status = &two.world.wait("orders", reported, "to be denied").await?["status"];
        assert_eq!(reason(status, "Ready"), "AccessDenied");
        assert!(message(status, "Ready").contains(&two.destination), "{}", message(status, "Ready"));
        assert_eq!(two.world.proxy.count("PutBucketReplication"), 0, "nothing replicates before it may");
        two.world.proxy.remove(fault);
    }
    request_check(&two.world, "orders").await?;
    two.world.wait_ready("orders").await?;
    Ok(())
}
