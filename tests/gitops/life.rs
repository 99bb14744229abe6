//! An Application from beginning to end.

use anyhow::{Context, Result, ensure};
use rig::world::World;

use super::application::{self, OPERATOR, RESOURCES, health_of};
use super::ground::{ACCOUNT, on_shared};
use super::team::{NAME, Team};

pub fn of_the_file() -> Result<()> {
    on_shared(async |ground| {
        let operator = ground.application(OPERATOR);
        let app = operator.wait_healthy().await?;
        ensure!(health_of(&app, "Deployment", OPERATOR).0 == "Healthy", "{:#}", app["status"]["resources"]);
        // A hook makes the account, for the definitions come with the same sync; then it is an object like the others.
        let verified = |app: &serde_json::Value| health_of(app, "AwsAccount", ACCOUNT).0 == "Healthy";
        operator.compare().await?;
        operator.wait(verified, "to hold its account").await?;
        let resources = ground.application(RESOURCES);
        let app = resources.wait_healthy().await?;
        let object = ground.world.api_in("data").get("minimal").await?;
        let ready = rig::world::condition(&object.data["status"], "Ready").context("no Ready")?;
        assert_eq!(
            health_of(&app, "BucketReplication", "minimal"),
            ("Healthy", ready["message"].as_str().unwrap_or_default())
        );
        operator.stays_synced().await?;
        resources.stays_synced().await
    })
}

/// Waits until nothing of the team's resource is left.
async fn is_gone(team: &Team<'_>) -> Result<()> {
    let world: &World = &team.ground.world;
    let resources = world.api_in(&team.namespace);
    world.wait_on(&resources, NAME, |object| object.is_none(), "to be gone").await?;
    ensure!(!team.is_configured().await?, "the configuration outlived its resource");
    Ok(())
}

pub fn pruned() -> Result<()> {
    on_shared(async |ground| {
        let team = Team::healthy(ground, "pruned").await?;
        ensure!(team.is_configured().await?, "there is nothing to remove");
        team.remove().await?;
        is_gone(&team).await?;
        team.application.wait(|app| application::is(app, "Synced"), "to be synced without it").await?;
        Ok(())
    })
}

pub fn deleted() -> Result<()> {
    on_shared(async |ground| {
        let team = Team::healthy(ground, "deleted").await?;
        ensure!(team.is_configured().await?, "there is nothing to remove");
        team.application.delete().await?;
        team.application.wait_gone().await?;
        // Already, and not only soon: the Application has waited for it.
        let object = ground.world.api_in(&team.namespace).get_opt(NAME).await?;
        ensure!(object.is_none(), "the resource outlived its Application");
        is_gone(&team).await
    })
}
