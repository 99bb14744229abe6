//! Changes in AWS that mean the same are no drift.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{POLICY, ROLE, decode_policy};

use super::{assert_in_sync, eu, scene_named, statement};

/// Rewrites a policy without changing its meaning.
type Rewrite = fn(&mut Value);

#[tokio::test]
async fn equivalent_changes_are_no_drift_and_cause_no_write() -> Result<()> {
    let scene = scene_named("drift-same")
        .edit(|spec| {
            let mut logs = spec["rules"][0].clone();
            logs["id"] = json!("Logs");
            logs["priority"] = json!(2);
            logs["filter"] = json!({"prefix": "logs/", "tags": {"a": "1", "b": "2"}});
            spec["rules"].as_array_mut().unwrap().push(logs);
        })
        .ready()
        .await?;
    scene.world.proxy.clear();
    let unchanged = async |what: &str| -> Result<()> {
        let status = scene.check().await?;
        assert_in_sync(&status, what);
        assert_eq!(status["lastCorrection"], Value::Null, "{what}");
        assert!(scene.world.proxy.writes().is_empty(), "{what}: {:?}", scene.world.proxy.writes());
        Ok(())
    };

    let rewrites: Vec<(&str, Rewrite)> = vec![
        ("the policy rewritten equally", |_| {}),
        ("the order of statements", |p| p["Statement"].as_array_mut().unwrap().reverse()),
        ("the order of actions", |p| {
            statement(p, "DestinationObjects")["Action"].as_array_mut().unwrap().reverse()
        }),
        ("the case of an action", |p| statement(p, "SourceBucket")["Action"][1] = json!("s3:listbucket")),
        ("a string for a list of one", |p| {
            let only = statement(p, "SourceBucket")["Resource"][0].clone();
            statement(p, "SourceBucket")["Resource"] = only;
        }),
        ("a statement in two", |p| {
            let mut half = statement(p, "SourceObjects").clone();
            half["Sid"] = json!("OtherHalf");
            half["Action"] =
                json!([statement(p, "SourceObjects")["Action"].as_array_mut().unwrap().remove(0)]);
            p["Statement"].as_array_mut().unwrap().push(half);
        }),
        ("the case of a condition key, and a string for a list of one", |p| {
            let condition = &mut statement(p, "SourceBucket")["Condition"];
            let account = condition["StringEqualsIfExists"]["s3:ResourceAccount"][0].clone();
            *condition = json!({"StringEqualsIfExists": {"S3:resourceAccount": account}});
        }),
        ("another Sid", |p| statement(p, "SourceBucket")["Sid"] = json!("Renamed")),
        ("no Sid", |p| {
            for statement in p["Statement"].as_array_mut().unwrap() {
                statement.as_object_mut().unwrap().remove("Sid");
            }
        }),
    ];
    for (what, rewrite) in rewrites {
        scene.edit_policy(rewrite).await?;
        unchanged(what).await?;
    }
    let held = scene.world.iam().get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    scene.put_policy(&format!("{:#}", decode_policy(held.policy_document())?)).await?;
    unchanged("white space").await?;

    let statement = json!({"Sid": "S3", "Effect": "Allow", "Principal": {"Service": ["s3.amazonaws.com"]}, "Action": "sts:AssumeRole"});
    scene.put_trust(&format!("{:#}", json!({"Version": "2012-10-17", "Statement": statement}))).await?;
    unchanged("a trust policy of one statement, with a Sid and a list of one").await?;

    let account = scene.world.account.clone();
    scene.edit_configuration(|c| c.rules.reverse()).await?;
    unchanged("the order of rules").await?;
    scene
        .edit_configuration(|c| {
            let logs = c.rules.iter_mut().find(|r| r.id() == Some("Logs")).unwrap();
            let and = logs.filter.as_mut().unwrap().and.as_mut().unwrap();
            and.tags.as_mut().unwrap().reverse();
        })
        .await?;
    unchanged("the order of a filter's tags").await?;
    scene.edit_configuration(|c| eu(c).destination.as_mut().unwrap().account = Some(account)).await?;
    unchanged("the own account, named").await?;
    Ok(())
}
