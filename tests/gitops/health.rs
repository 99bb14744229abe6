//! The health of a resource, as its Application shows it.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::StorageClass;
use rig::world::World;
use serde_json::json;

use super::environment::on_shared;
use super::team::{DESTINATION_REGION, NAME, SOURCE_REGION, Team};

pub fn broken() -> Result<()> {
    on_shared(async |environment| {
        let (source, missing) =
            (environment.world.bucket(SOURCE_REGION).await?, environment.world.bucket_name());
        let team = Team::new(environment, "broken", &source, &missing).await?;
        let message = team.wait_health("Degraded").await?;
        ensure!(message.contains(&format!("destination bucket {missing} does not exist")), "{message}");
        assert_eq!(message, team.message().await?);
        // The resource is still equal to the repository.
        team.application.check_stays_synced().await?;

        environment.world.create_bucket(&environment.world.account, DESTINATION_REGION, &missing).await?;
        check(&team, "the bucket is there").await?;
        team.wait_health("Healthy").await.map(drop)
    })
}

pub fn drifted() -> Result<()> {
    on_shared(async |environment| {
        let mut team = Team::healthy(environment, "drifted").await?;
        team.commit(|spec| spec["managementPolicy"] = json!("Observe")).await?;
        team.wait_health("Healthy").await?;

        set_storage_class(&environment.world, &team.source, StorageClass::Glacier).await?;
        check(&team, "somebody changed it").await?;
        let message = team.wait_health("Degraded").await?;
        ensure!(message.contains("storageClass"), "the message does not say what has drifted: {message}");
        assert_eq!(message, team.message().await?);
        team.application.check_stays_synced().await?;

        set_storage_class(&environment.world, &team.source, StorageClass::Standard).await?;
        check(&team, "it is corrected").await?;
        team.wait_health("Healthy").await.map(drop)
    })
}

pub fn suspended() -> Result<()> {
    on_shared(async |environment| {
        let mut team = Team::healthy(environment, "suspended").await?;
        team.commit(|spec| spec["suspend"] = json!(true)).await?;
        let message = team.wait_health("Suspended").await?;
        ensure!(message.starts_with("suspend is true"), "{message}");
        team.commit(|spec| spec["suspend"] = json!(false)).await?;
        team.wait_health("Healthy").await.map(drop)
    })
}

/// Requests a check by the annotation, as a person does.
async fn check(team: &Team<'_>, why: &str) -> Result<()> {
    let annotation = format!("s3replication.dev/requestedAt={why}");
    let annotate = ["annotate", "--overwrite", "-n", &team.namespace, &format!("br/{NAME}"), &annotation];
    team.environment.kubectl(&annotate, "").map(drop)
}

/// Changes the configuration in AWS behind the operator's back.
async fn set_storage_class(world: &World, source: &str, class: StorageClass) -> Result<()> {
    let s3 = world.s3(SOURCE_REGION);
    let held = s3.get_bucket_replication().bucket(source).send().await?;
    let mut configuration = held.replication_configuration().context("there is no configuration")?.clone();
    for destination in configuration.rules.iter_mut().filter_map(|rule| rule.destination.as_mut()) {
        destination.storage_class = Some(class.clone());
    }
    s3.put_bucket_replication().bucket(source).replication_configuration(configuration).send().await?;
    Ok(())
}
