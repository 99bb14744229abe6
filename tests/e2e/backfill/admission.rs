//! The backfills that the API server refuses by the definition alone, each with a message that says what to do.

use anyhow::{Result, ensure};
use rig::world::World;
use serde_json::{Value, json};

use super::{BACKFILL, backfill};

async fn refused(world: &World, object: &Value, says: &str) -> Result<()> {
    let error = match world.apply(&object.to_string()).await {
        Ok(_) => anyhow::bail!("this is let through: {object}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(error.contains(says), "{object}: {error}");
    Ok(())
}

#[tokio::test]
async fn a_backfill_is_fixed_when_it_is_created_but_for_approved_and_cancel() -> Result<()> {
    let world = World::new("backfill-fixed").await?;
    let spec = json!({"approval": "Manual", "prefixes": ["a/"]});
    world.apply(&backfill(BACKFILL, spec.clone()).to_string()).await?;
    let with = |more: Value| {
        let mut changed = spec.clone();
        for (key, value) in more.as_object().into_iter().flatten() {
            changed[key] = value.clone();
        }
        backfill(BACKFILL, changed)
    };
    let fixed = "create another ReplicationBackfill";
    for change in [
        json!({"replicationRef": {"name": "other"}}),
        json!({"statuses": ["Failed"]}),
        json!({"prefixes": ["b/"]}),
        json!({"createdAfter": "2026-01-01T00:00:00Z"}),
        json!({"createdBefore": "2026-01-01T00:00:00Z"}),
        json!({"report": {"bucket": "reports"}}),
        json!({"role": {"arn": "arn:aws:iam::111122223333:role/r"}}),
        json!({"priority": 5}),
        json!({"approval": "Automatic"}),
    ] {
        refused(&world, &with(change), fixed).await?;
    }
    world.apply(&with(json!({"approved": true})).to_string()).await?;
    refused(&world, &with(json!({"approved": false})), "approved cannot be taken back").await?;
    world.apply(&with(json!({"approved": true, "cancel": true})).to_string()).await?;
    refused(&world, &with(json!({"approved": true, "cancel": false})), "cancel cannot be taken back").await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_field_is_refused_with_the_remedy() -> Result<()> {
    let world = World::new("backfill-wrong").await?;
    for (spec, says) in [
        (json!({"replicationRef": {"name": "Orders"}}), "kubectl get br lists them"),
        (json!({"replicationRef": {"name": ""}}), "replicationRef.name"),
        (json!({"statuses": []}), "statuses"),
        (json!({"statuses": ["Pending"]}), "Unsupported value"),
        (json!({"statuses": ["Failed", "Failed"]}), "names each status once"),
        (
            json!({"createdAfter": "2026-02-01T00:00:00Z", "createdBefore": "2026-01-01T00:00:00Z"}),
            "createdAfter must be earlier",
        ),
        (json!({"createdAfter": "yesterday"}), "createdAfter"),
        (json!({"prefixes": [""]}), "prefixes"),
        (json!({"report": {"bucket": "s3://reports"}}), "not an ARN or a URL"),
        (json!({"report": {"bucket": "reports", "prefix": "/a"}}), "without a / at its beginning"),
        (json!({"role": {"arn": "batch"}}), "must be the ARN of an IAM role"),
        (json!({"role": {}}), "arn"),
        (json!({"priority": -1}), "priority"),
    ] {
        refused(&world, &backfill(BACKFILL, spec), says).await?;
    }
    let stored = world.apply(&backfill(BACKFILL, json!({})).to_string()).await?;
    let spec = &stored[0]["spec"];
    assert_eq!(spec["statuses"], json!(["NotReplicated", "Failed"]));
    assert_eq!((&spec["priority"], &spec["approval"]), (&json!(10), &json!("Automatic")));
    assert_eq!(stored[0]["status"]["conditions"][0]["status"], "Unknown", "kubectl wait is right at once");
    Ok(())
}
