//! Installs everything into an empty cluster and removes it again. Each test has its own Argo CD and API server.

use anyhow::{Result, ensure};
use serde_json::json;

use super::application::{Application, OPERATOR, RESOURCES, is};
use super::environment::{Environment, block_on};
use super::team::of_repository;

const WAVE: &str = "argocd.argoproj.io/sync-wave";

pub fn of_applications() -> Result<()> {
    block_on(async {
        let environment = Environment::start("of-applications").await?;
        environment.replications().await?;
        let apps = environment.argocd.git.repository("platform/apps.git")?;
        apps.write("application.yaml", &environment.application_file()?)?;
        apps.commit("The operator and its resources")?;
        let root = Application::apply(
            &environment,
            &of_repository(&environment, "platform", "argocd", apps.url())?,
        )?;
        let (operator, resources) = (environment.application(OPERATOR), environment.application(RESOURCES));
        operator.wait_healthy().await?;
        resources.wait_healthy().await?;

        root.delete().await?;
        // The operator must outlive the resources: it cleans up after them.
        resources.wait_gone().await?;
        root.wait_gone().await?;
        check_is_empty(&environment)
    })
}

pub fn in_one() -> Result<()> {
    block_on(async {
        let environment = Environment::start("in-one").await?;
        // The one Application puts the resource beside the operator.
        environment.create_namespace("s3-replication-system")?;
        let replications = environment.replications().await?;
        let [mut both, resources] = environment.applications()?;
        let sources = json!([both["spec"]["source"], resources["spec"]["source"]]);
        both["spec"]["sources"] = sources;
        both["spec"]["source"] = json!(null);
        let app = Application::apply(&environment, &both)?;
        app.wait_healthy().await?;
        app.check_stays_synced().await?;

        // Argo CD deletes a later wave first, while the operator still runs.
        replications.edit("minimal.yaml", |text| {
            text.replace("name: minimal\n", &format!("name: minimal\n  annotations: {{{WAVE}: \"1\"}}\n"))
        })?;
        replications.commit("Sync the resource last, delete it first")?;
        app.compare().await?;
        app.wait(|app| is(app, "Synced"), "to be synced with the wave").await?;
        app.delete().await?;
        app.wait_gone().await?;
        check_is_empty(&environment)
    })
}

fn check_is_empty(environment: &Environment) -> Result<()> {
    for (kind, what) in [("br", "resources are left"), ("deploy", "the operator is left")] {
        ensure!(environment.kubectl(&["get", kind, "-A", "-o", "name"], "")?.is_empty(), "{what}");
    }
    Ok(())
}
