//! The health of a resource as an Application shows it.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::StorageClass;
use rig::world::World;
use serde_json::json;

use super::ground::on_shared;
use super::team::{HERE, NAME, THERE, Team};

pub fn broken() -> Result<()> {
    on_shared(async |ground| {
        let (source, missing) = (ground.world.bucket(HERE).await?, ground.world.bucket_name());
        let team = Team::new(ground, "broken", &source, &missing).await?;
        let message = team.wait_health("Degraded").await?;
        ensure!(message.contains(&format!("destination bucket {missing} does not exist")), "{message}");
        assert_eq!(message, team.message().await?);
        // It is still what the repository says.
        team.application.stays_synced().await?;

        ground.world.create_bucket(&ground.world.account, THERE, &missing).await?;
        check(&team, "the bucket is there").await?;
        team.wait_health("Healthy").await.map(drop)
    })
}

pub fn drifted() -> Result<()> {
    on_shared(async |ground| {
        let mut team = Team::healthy(ground, "drifted").await?;
        team.commit(|spec| spec["managementPolicy"] = json!("Observe")).await?;
        team.wait_health("Healthy").await?;

        set_storage_class(&ground.world, &team.source, StorageClass::Glacier).await?;
        check(&team, "somebody has been here").await?;
        let message = team.wait_health("Degraded").await?;
        ensure!(message.contains("storageClass"), "the message does not say what has drifted: {message}");
        assert_eq!(message, team.message().await?);
        team.application.stays_synced().await?;

        set_storage_class(&ground.world, &team.source, StorageClass::Standard).await?;
        check(&team, "it is mended").await?;
        team.wait_health("Healthy").await.map(drop)
    })
}

pub fn suspended() -> Result<()> {
    on_shared(async |ground| {
        let mut team = Team::healthy(ground, "suspended").await?;
        team.commit(|spec| spec["suspend"] = json!(true)).await?;
        let message = team.wait_health("Suspended").await?;
        ensure!(message.starts_with("suspend is true"), "{message}");
        team.commit(|spec| spec["suspend"] = json!(false)).await?;
        team.wait_health("Healthy").await.map(drop)
    })
}

/// Asks the operator to look now, as a person does by annotation.
async fn check(team: &Team<'_>, why: &str) -> Result<()> {
    let annotation = format!("s3replication.dev/requestedAt={why}");
    let annotate = ["annotate", "--overwrite", "-n", &team.namespace, &format!("br/{NAME}"), &annotation];
    team.ground.kubectl(&annotate, "").map(drop)
}

/// Changes the configuration in AWS behind the operator's back.
async fn set_storage_class(world: &World, source: &str, class: StorageClass) -> Result<()> {
    let s3 = world.s3(HERE);
    let held = s3.get_bucket_replication().bucket(source).send().await?;
    let mut configuration = held.replication_configuration().context("there is no configuration")?.clone();
    for destination in configuration.rules.iter_mut().filter_map(|rule| rule.destination.as_mut()) {
        destination.storage_class = Some(class.clone());
    }
    s3.put_bucket_replication().bucket(source).replication_configuration(configuration).send().await?;
    Ok(())
}
