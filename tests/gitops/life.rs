//! An Application from its creation to its deletion.

use anyhow::{Context, Result, ensure};
use rig::world::World;

use super::application::{self, OPERATOR, RESOURCES, health_of};
use super::environment::{ACCOUNT, on_shared};
use super::team::{NAME, Team};

pub fn of_the_file() -> Result<()> {
    on_shared(async |environment| {
        let operator = environment.application(OPERATOR);
        let app = operator.wait_healthy().await?;
        ensure!(health_of(&app, "Deployment", OPERATOR).0 == "Healthy", "{:#}", app["status"]["resources"]);
        // The definitions come with the same sync, so a hook makes the account. From the next comparison on it is an
        // object of the Application.
        operator.compare().await?;
        let verified = |app: &serde_json::Value| health_of(app, "AwsAccount", ACCOUNT).0 == "Healthy";
        operator.wait(verified, "to hold its account").await?;
        let resources = environment.application(RESOURCES);
        let app = resources.wait_healthy().await?;
        let object = environment.world.api_in("data").get("minimal").await?;
        let ready = rig::world::condition(&object.data["status"], "Ready").context("no Ready")?;
        assert_eq!(
            health_of(&app, "BucketReplication", "minimal"),
            ("Healthy", ready["message"].as_str().unwrap_or_default())
        );
        operator.check_stays_synced().await?;
        resources.check_stays_synced().await
    })
}

/// Waits until the team's resource is deleted, and checks that its configuration is too.
async fn wait_deleted(team: &Team<'_>) -> Result<()> {
    let world: &World = &team.environment.world;
    let resources = world.api_in(&team.namespace);
    world.wait_on(&resources, NAME, |object| object.is_none(), "to be gone").await?;
    ensure!(!team.is_configured().await?, "the configuration outlived its resource");
    Ok(())
}

pub fn pruned() -> Result<()> {
    on_shared(async |environment| {
        let team = Team::healthy(environment, "pruned").await?;
        ensure!(team.is_configured().await?, "there is nothing to remove");
        team.remove().await?;
        wait_deleted(&team).await?;
        team.application.wait(|app| application::is(app, "Synced"), "to be synced without it").await?;
        Ok(())
    })
}

pub fn deleted() -> Result<()> {
    on_shared(async |environment| {
        let team = Team::healthy(environment, "deleted").await?;
        ensure!(team.is_configured().await?, "there is nothing to remove");
        team.application.delete().await?;
        team.application.wait_gone().await?;
        // At this moment already: the Application waited for it.
        let object = environment.world.api_in(&team.namespace).get_opt(NAME).await?;
        ensure!(object.is_none(), "the resource outlived its Application");
        wait_deleted(&team).await
    })
}
