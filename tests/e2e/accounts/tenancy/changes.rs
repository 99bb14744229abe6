//! Changes by administrators, which hold at once.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::{message, reason};

use super::{ACCOUNT, ATTACK, RED_ROLE, ROLE, Teams, configuration, role_in_aws};

#[tokio::test]
async fn a_stricter_account_takes_effect_immediately_and_deletes_nothing() -> Result<()> {
    let t = Teams::new("tenancy-tight").await?;
    let boundary =
        |name: &str| json!({"permissionsBoundary": t.policy_arn(name), "path": "/s3-replication/red/"});
    t.patch_account("red", json!({"roles": boundary("boundary")})).await?;
    // A check before that would make the role as the account was.
    t.wait_account_seen("red").await?;
    t.apply(&[(ROLE, json!({"name": RED_ROLE, "permissionsBoundary": t.policy_arn("boundary")}))]).await?;
    t.wait_ready().await?;
    let held =
        (configuration(&t.world, &t.name("red-source")).await?, role_in_aws(&t.world, RED_ROLE).await?);
    assert!(held.0.contains(RED_ROLE) && held.1.contains(&t.policy_arn("boundary")), "{held:?}");
    let patterns = json!([t.name("red-*")]);
    let path = json!({"path": "/s3-replication/tight/", "permissionsBoundary": t.policy_arn("boundary")});
    let cases = [
        ("sources", json!([t.name("red-s")]), patterns.clone(), t.name("red-source")),
        ("destinations", json!([]), patterns, t.name("red-dest")),
        ("namespaces", json!({"matchNames": ["another"]}), json!({"matchNames": null}), t.red.clone()),
        (
            "namespaces",
            json!({"matchLabels": {"team": "redder"}}),
            json!({"matchLabels": {"team": "red"}}),
            // A team reads what it lacks, and not which labels others have.
            "by their labels".to_owned(),
        ),
        ("roles", path, boundary("boundary"), "/s3-replication/tight/".to_owned()),
        ("roles", boundary("tighter"), boundary("boundary"), t.policy_arn("tighter")),
    ];
    for (field, tight, wide, part) in cases {
        t.world.proxy.clear();
        t.patch_account("red", json!({field: tight})).await?;
        // No check was requested.
        let reported = |status: &Value| reason(status, "Ready") == "NotAllowed";
        let reported = t.world.wait_in(&t.red, ATTACK, reported, "to be NotAllowed").await?;
        let text = message(&reported["status"], "Ready");
        assert!(text.contains(&part) && text.contains(&t.name("red")), "{field}: {text}");
        let status = t.check().await?;
        assert_eq!(reason(&status, "Ready"), "NotAllowed", "{field}: {status:#}");
        assert_eq!(reason(&status, "Stalled"), "NotAllowed", "{field}: {status:#}");
        assert!(t.calls().is_empty(), "{field}: {:?}", t.calls());

        t.patch_account("red", json!({field: wide})).await?;
        t.wait_ready().await?;
        t.check_wrote_only(field, &[]);
        let still =
            (configuration(&t.world, &t.name("red-source")).await?, role_in_aws(&t.world, RED_ROLE).await?);
        assert_eq!(still, held, "{field}");
    }
    Ok(())
}

#[tokio::test]
async fn a_role_created_before_a_path_was_imposed_is_reported_and_kept() -> Result<()> {
    let t = Teams::new("tenancy-moved").await?;
    t.apply(&[(ACCOUNT, json!(t.name("free")))]).await?;
    t.wait_ready().await?;
    let held = role_in_aws(&t.world, RED_ROLE).await?;
    t.world.proxy.clear();
    t.patch_account("free", json!({"roles": {"path": "/s3-replication/red/"}})).await?;
    let text = [t.role_arn(&format!("s3-replication/{RED_ROLE}")), "IAM cannot move a role".to_owned()];
    t.check_refused("moved", "NotAllowed", &text).await?;
    assert!(t.calls().is_empty(), "{:?}", t.calls());
    assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, held);

    // As the message says: a role with another name has the imposed path, and the former role is deleted.
    t.patch(json!({"spec": {"role": {"name": "renamed"}}})).await?;
    t.wait_ready().await?;
    let renamed = role_in_aws(&t.world, "renamed").await?;
    assert!(renamed.starts_with(&t.role_arn("s3-replication/red/renamed")), "{renamed}");
    assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, "none");
    Ok(())
}

#[tokio::test]
async fn a_resource_that_is_no_longer_allowed_removes_its_own_at_deletion() -> Result<()> {
    for (n, tight) in
        [json!({"sources": []}), json!({"namespaces": {"matchLabels": null}})].iter().enumerate()
    {
        let t = Teams::new(&format!("tenancy-leaves-{n}")).await?;
        let estate = t.everything_of_blue().await?;
        t.apply_allowed().await?;
        t.patch_account("red", tight.clone()).await?;
        t.check_refused("leaves", "NotAllowed", &[t.name("red")]).await?;
        t.delete().await?;
        assert_eq!(configuration(&t.world, &t.name("red-source")).await?, "none", "{tight}");
        assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, "none", "{tight}");
        t.check_blue_untouched("leaves", &estate).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_imposed_path_and_boundary_are_set_in_iam() -> Result<()> {
    let t = Teams::new("tenancy-imposed").await?;
    t.apply(&[(ACCOUNT, json!(t.name("bounded"))), (ROLE, Value::Null)]).await?;
    t.wait_ready().await?;
    let name = format!("{}.{ATTACK}", t.red);
    let held = t.world.iam().get_role().role_name(&name).send().await?.role.context("no role")?;
    assert_eq!(held.path(), "/s3-replication/red/");
    assert_eq!(held.arn(), t.role_arn(&format!("s3-replication/red/{name}")));
    let boundary = held.permissions_boundary().and_then(|held| held.permissions_boundary_arn());
    assert_eq!(boundary, Some(t.policy_arn("boundary").as_str()));
    let held = configuration(&t.world, &t.name("red-source")).await?;
    assert!(held.contains(&t.role_arn(&format!("s3-replication/red/{name}"))), "{held}");

    // The operator restores a boundary that is removed by hand.
    t.world.iam().delete_role_permissions_boundary().role_name(&name).send().await?;
    let status = t.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    let held = t.world.iam().get_role().role_name(&name).send().await?.role.context("no role")?;
    let boundary = held.permissions_boundary().and_then(|held| held.permissions_boundary_arn());
    assert_eq!(boundary, Some(t.policy_arn("boundary").as_str()));
    Ok(())
}
