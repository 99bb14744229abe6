//! From an empty cluster, and back: an Argo CD, a cluster and an operator of each test's own.

use anyhow::{Result, ensure};
use serde_json::json;

use super::application::{Application, OPERATOR, RESOURCES, is};
use super::ground::{Ground, block_on};
use super::team::of_repository;

const WAVE: &str = "argocd.argoproj.io/sync-wave";

pub fn of_applications() -> Result<()> {
    block_on(async {
        let ground = Ground::start("of-applications").await?;
        ground.replications().await?;
        let apps = ground.argocd.git.repository("platform/apps.git")?;
        apps.write("application.yaml", &ground.application_file()?)?;
        apps.commit("The operator and its resources")?;
        let root = Application::apply(&ground, &of_repository(&ground, "platform", "argocd", apps.url())?)?;
        let (operator, resources) = (ground.application(OPERATOR), ground.application(RESOURCES));
        operator.wait_healthy().await?;
        resources.wait_healthy().await?;

        root.delete().await?;
        // The operator cleans up after the resources, for which it has to outlive them.
        resources.wait_gone().await?;
        root.wait_gone().await?;
        ensure!(ground.kubectl(&["get", "br", "-A", "-o", "name"], "")?.is_empty(), "resources are left");
        ensure!(
            ground.kubectl(&["get", "deploy", "-A", "-o", "name"], "")?.is_empty(),
            "the operator is left"
        );
        Ok(())
    })
}

pub fn in_one() -> Result<()> {
    block_on(async {
        let ground = Ground::start("in-one").await?;
        let replications = ground.replications().await?;
        let [mut both, resources] = ground.applications()?;
        let sources = json!([both["spec"]["source"], resources["spec"]["source"]]);
        both["spec"]["sources"] = sources;
        both["spec"]["source"] = json!(null);
        let app = Application::apply(&ground, &both)?;
        app.wait_healthy().await?;
        app.stays_synced().await?;

        // What is of a later wave goes first, while the operator is still there.
        replications.edit("minimal.yaml", |text| {
            text.replace("name: minimal\n", &format!("name: minimal\n  annotations: {{{WAVE}: \"1\"}}\n"))
        })?;
        replications.commit("The resource comes last, and goes first")?;
        app.compare().await?;
        app.wait(|app| is(app, "Synced"), "to be synced with the wave").await?;
        app.delete().await?;
        app.wait_gone().await?;
        is_empty(&ground)
    })
}

fn is_empty(ground: &Ground) -> Result<()> {
    for (kind, what) in [("br", "resources are left"), ("deploy", "the operator is left")] {
        ensure!(ground.kubectl(&["get", kind, "-A", "-o", "name"], "")?.is_empty(), "{what}");
    }
    Ok(())
}
