//! The owner of a source, a bucket and a role. The operator does not use an owner that it has not checked, and deletes
//! nothing because of one.

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{check_now, message, reason, set, until_younger};

use super::{
    ACCOUNT, ADOPT, ALLOW_ALL, ATTACK, EAST, ORDERS_ROLE, RED_BY_HAND, RED_ROLE, ROLE, SOURCE, TO, Teams,
    WEST, configuration,
};

#[tokio::test]
async fn a_resource_that_is_not_allowed_a_source_does_not_own_it() -> Result<()> {
    let t = Teams::new("tenancy-first").await?;
    let source = t.name("blue-late");
    t.make_bucket(&t.world.account, EAST, &source).await?;
    // Red has another AWS account, in which everything is allowed.
    let role = t.world.assumable_role(&t.outside, "operator", &t.world.account, None, ALLOW_ALL).await?;
    let loose = json!({
        "assumeRole": {"arn": role},
        "namespaces": {"matchNames": [t.red]},
        "sources": ["*"],
        "destinations": ["*"],
    });
    t.account_for(&t.outside, "loose", &loose).await?;
    for (n, account, expected) in [(0, "red", "NotAllowed"), (1, "loose", "AccessDenied")] {
        let late = format!("late-{n}");
        // Retain, because at deletion the operator could not read the other team's bucket either.
        let edits = [
            (SOURCE, json!(source)),
            (ACCOUNT, json!(t.name(account))),
            ("spec.deletionPolicy", json!("Retain")),
        ];
        t.apply(&edits).await?;
        t.check_refused(account, expected, std::slice::from_ref(&source)).await?;
        until_younger(&t.attack().await?).await?;
        t.world.proxy.clear();
        t.world.apply(&t.blue(&late, "blue-late").to_string()).await?;
        t.world.wait_ready(&late).await?;
        let status = check_now(&t.world, &late).await?["status"].take();
        assert_eq!(reason(&status, "Ready"), "Applied", "{account}: {status:#}");
        t.check_refused(account, expected, std::slice::from_ref(&source)).await?;

        // Deleting red's resource changes nothing.
        let held = configuration(&t.world, &source).await?;
        t.delete().await?;
        check_now(&t.world, &late).await?;
        assert_eq!(configuration(&t.world, &source).await?, held, "{account}");
        t.world.api().delete(&late, &DeleteParams::default()).await?;
        t.world.wait_gone(&late).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bucket_name_that_passed_to_an_outside_account_is_refused() -> Result<()> {
    let t = Teams::new("tenancy-passed").await?;
    // In the operator's Region, where HeadBucket both finds the Region and confirms the owner.
    let (world, bucket) = (&t.world, t.name("red-given"));
    t.make_bucket(&world.account, EAST, &bucket).await?;
    t.apply(&[(TO, json!(bucket))]).await?;
    t.wait_ready().await?;
    // The name passes to an account that permits nothing.
    world.s3(EAST).delete_bucket().bucket(&bucket).send().await?;
    t.make_bucket(&t.outside, EAST, &bucket).await?;
    let source = t.name("red-second");
    t.make_bucket(&world.account, EAST, &source).await?;
    world.proxy.clear();
    let edits = [
        ("metadata.name", json!("second")),
        // A requested check does not use cached reads.
        ("metadata.annotations", json!({"s3replication.dev/requestedAt": "now"})),
        (SOURCE, json!(source)),
        (TO, json!(bucket)),
        (ROLE, json!({"name": "second-role"})),
    ];
    t.apply(&edits).await?;
    let reported = |status: &Value| reason(status, "Ready") == "AccessDenied";
    let reported = world.wait_in(&t.red, "second", reported, "to be AccessDenied").await?;
    let text = message(&reported["status"], "Ready");
    assert!(text.contains("does not confirm") && text.contains(&bucket), "{text}");
    t.check_wrote_only("second", &[]);
    assert_eq!(configuration(world, &source).await?, "none");
    Ok(())
}

#[tokio::test]
async fn a_destination_that_another_account_owns_than_the_spec_says_gets_no_configuration() -> Result<()> {
    let t = Teams::new("tenancy-partner").await?;
    let estate = t.everything_of_blue().await?;
    let mut rule = t.allowed()["spec"]["rules"][0].clone();
    set(
        &mut rule,
        "destination",
        json!({"bucket": t.name("red-outside"), "region": WEST, "versioning": "Required"}),
    );
    let mut text = rule.clone();
    set(&mut text, "destination.account", json!(t.partner));
    set(&mut text, "id", json!("Other"));
    set(&mut text, "priority", json!(2));
    // The account in one rule is checked, even if another rule omits it.
    for rules in [json!([text]), json!([text, rule]), json!([rule, text])] {
        t.apply(&[("spec.rules", rules)]).await?;
        let status = t.check().await?;
        assert_eq!(reason(&status, "Ready"), "InvalidRequest", "{status:#}");
        assert!(message(&status, "Ready").contains("owner of the destination bucket"), "{status:#}");
        assert_eq!(configuration(&t.world, &t.name("red-source")).await?, "none");
        t.delete().await?;
    }
    t.check_wrote_only("partner", &[t.name("red-source"), RED_ROLE.to_owned()]);
    t.check_blue_untouched("partner", &estate).await
}

#[tokio::test]
async fn a_resource_that_was_never_checked_deletes_nothing() -> Result<()> {
    let t = Teams::new("tenancy-unseen").await?;
    let estate = t.everything_of_blue().await?;
    for edits in [
        vec![("spec", t.invoices()["spec"].clone())],
        vec![(SOURCE, json!(t.name("blue-source"))), (ROLE, json!({"name": ORDERS_ROLE}))],
    ] {
        t.world.proxy.clear();
        let suspended = edits.into_iter().chain([("spec.suspend", json!(true))]).collect::<Vec<_>>();
        t.apply(&suspended).await?;
        let reported = |status: &Value| reason(status, "Ready") == "Suspended";
        t.world.wait_in(&t.red, ATTACK, reported, "to be Suspended").await?;
        t.delete().await?;
        t.check_blue_untouched("suspended", &estate).await?;
        t.check_wrote_only("suspended", &[]);
    }
    Ok(())
}

/// Red replicated a bucket. Then the bucket was given to blue, which replicates it in the same way.
async fn handed_over(name: &str) -> Result<Teams> {
    let t = Teams::new(name).await?;
    t.make_bucket(&t.world.account, EAST, &t.name("shared-source")).await?;
    t.make_role("shared-role", "/shared/").await?;
    let shared = json!([t.name("shared-*")]);
    for (name, namespace) in [("before", &t.red), ("after", &t.world.namespace)] {
        let spec = json!({
            "namespaces": {"matchNames": [namespace]},
            "sources": shared,
            "destinations": [t.name("blue-dest")],
        });
        t.account(name, &spec).await?;
    }
    let edits = |account: &str| {
        [
            (SOURCE, json!(t.name("shared-source"))),
            (ACCOUNT, json!(t.name(account))),
            (TO, json!(t.name("blue-dest"))),
            (ROLE, json!({"arn": t.role_arn("shared/shared-role")})),
        ]
    };
    t.apply(&edits("before")).await?;
    t.wait_ready().await?;
    t.patch_account("before", json!({"sources": []})).await?;
    t.check_refused("handed over", "NotAllowed", &[t.name("shared-source"), "(none)".to_owned()]).await?;
    let mut taken = t.edited(&edits("after"));
    set(&mut taken, "metadata", json!({"name": "taken"}));
    t.world.apply(&taken.to_string()).await?;
    t.world.wait_ready("taken").await?;
    Ok(t)
}

#[tokio::test]
async fn a_bucket_handed_to_another_team_stays_replicated_when_the_first_teams_resource_is_deleted()
-> Result<()> {
    let t = handed_over("tenancy-handed").await?;
    let held = configuration(&t.world, &t.name("shared-source")).await?;
    assert!(held.contains("shared-role"), "{held}");
    t.world.proxy.clear();
    t.delete().await?;
    let status = check_now(&t.world, "taken").await?["status"].take();
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    t.check_wrote_only("handed", &[]);
    assert_eq!(configuration(&t.world, &t.name("shared-source")).await?, held);
    Ok(())
}

#[tokio::test]
async fn an_unreadable_resource_deletes_nothing_that_another_may_own() -> Result<()> {
    let t = handed_over("tenancy-unread").await?;
    let held = configuration(&t.world, &t.name("shared-source")).await?;
    t.overwrite(&[("spec.rules.0.status", json!("Perhaps"))]).await?;
    let reported = |status: &Value| reason(status, "Ready") == "InvalidSpec";
    t.world.wait_in(&t.red, ATTACK, reported, "to be InvalidSpec").await?;
    t.world.proxy.clear();
    t.delete().await?;
    let status = check_now(&t.world, "taken").await?["status"].take();
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    t.check_wrote_only("unread", &[]);
    assert_eq!(configuration(&t.world, &t.name("shared-source")).await?, held);
    Ok(())
}

#[tokio::test]
async fn a_role_that_names_a_resource_by_its_tags_is_adopted_by_it() -> Result<()> {
    let t = Teams::new("tenancy-adopt").await?;
    t.world.iam().delete_role().role_name(RED_BY_HAND).send().await?;
    t.make_role(RED_BY_HAND, "/s3-replication/red/").await?;
    t.apply(&[(ROLE, json!({"name": RED_BY_HAND})), (ADOPT, json!("Adopt"))]).await?;
    t.check_refused(
        "untagged",
        "ForeignRole",
        &["allows adopting only roles tagged for this resource".to_owned()],
    )
    .await?;
    t.check_wrote_only("untagged", &[]);
    let tag = |key: &str, value: &str| {
        aws_sdk_iam::types::Tag::builder().key(format!("s3replication.dev/{key}")).value(value).build()
    };
    let tags = [tag("namespace", &t.red)?, tag("name", ATTACK)?];
    t.world.iam().tag_role().role_name(RED_BY_HAND).set_tags(Some(tags.into())).send().await?;
    let status = t.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    Ok(())
}
