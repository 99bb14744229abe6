//! An Argo CD Application: applies it, waits for a state, and reads its health.

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use rig::argocd::NAMESPACE;
use serde_json::{Value, json};

use super::environment::Environment;

pub const CHART: &str = "charts/s3-replication-operator";

/// The names of the two Applications in the file that a user applies.
pub const OPERATOR: &str = "s3-replication-operator";
pub const RESOURCES: &str = "replications";

/// The annotation that requests a comparison now. Argo CD removes it when it has compared.
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// An Application by its name; it need not exist.
pub struct Application<'a> {
    environment: &'a Environment,
    name: String,
}

impl<'a> Application<'a> {
    pub fn new(environment: &'a Environment, name: &str) -> Self {
        Self { environment, name: name.to_owned() }
    }

    /// Applies an Application.
    pub fn apply(environment: &'a Environment, manifest: &Value) -> Result<Self> {
        let name = manifest["metadata"]["name"].as_str().context("an Application without a name")?;
        environment.kubectl(&["apply", "-f", "-"], &manifest.to_string())?;
        Ok(Self::new(environment, name))
    }

    /// Waits until it is as wanted. Returns it.
    pub async fn wait(&self, wanted: impl Fn(&Value) -> bool, what: &str) -> Result<Value> {
        let found = self.wait_or_gone(|app| app.is_some_and(&wanted), what).await?;
        found.context("the Application does not exist")
    }

    pub async fn wait_synced(&self) -> Result<Value> {
        // Another sync may be about to begin: `operation` holds it.
        let idle = |app: &Value| operation(app) == "Succeeded" && app["operation"].is_null();
        self.wait(|app| is(app, "Synced") && idle(app), "to be synced").await
    }

    pub async fn wait_healthy(&self) -> Result<Value> {
        self.wait(|app| is(app, "Synced") && health(app) == "Healthy", "to be synced and healthy").await
    }

    pub async fn wait_gone(&self) -> Result<()> {
        self.wait_or_gone(|app| app.is_none(), "to be gone").await.map(drop)
    }

    /// Makes Argo CD read and compare everything again, without caches. Returns the Application after that.
    pub async fn compare(&self) -> Result<Value> {
        let api = self.api();
        let at = |app: &Value| app["status"]["reconciledAt"].clone();
        let before = at(&serde_json::to_value(api.get(&self.name).await?)?);
        let refresh = json!({"metadata": {"annotations": {REFRESH: "hard"}}});
        loop {
            api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&refresh)).await?;
            let answered = |app: &Value| app["metadata"]["annotations"][REFRESH].is_null();
            let app = self.wait(answered, "to have been compared").await?;
            // The time has whole seconds: a second comparison within one would look like none.
            if at(&app) != before {
                return Ok(app);
            }
        }
    }

    /// Checks that a new comparison finds no difference and applies nothing.
    pub async fn check_stays_synced(&self) -> Result<()> {
        let before = self.wait_synced().await?;
        let after = self.compare().await?;
        ensure!(
            is(&after, "Synced"),
            "{} is no longer Synced: {:#}",
            self.name,
            after["status"]["resources"]
        );
        let applied = |app: &Value| app["status"]["operationState"]["startedAt"].clone();
        ensure!(
            applied(&before) == applied(&after),
            "{} was applied again: {:#}",
            self.name,
            after["status"]["operationState"]
        );
        Ok(())
    }

    /// Requests its deletion.
    pub async fn delete(&self) -> Result<()> {
        self.api().delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    async fn wait_or_gone(
        &self,
        wanted: impl Fn(Option<&Value>) -> bool,
        what: &str,
    ) -> Result<Option<Value>> {
        let found = self.environment.world.wait_on(&self.api(), &self.name, wanted, what).await;
        found.with_context(|| self.environment.argocd.log_tails(5))
    }

    fn api(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
        let kind = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.environment.world.kube.clone(), NAMESPACE, &kind)
    }
}

/// Whether an Application has this sync status, such as `Synced`.
pub fn is(app: &Value, sync: &str) -> bool {
    app["status"]["sync"]["status"] == sync
}

/// The health of an Application as a whole.
pub fn health(app: &Value) -> &str {
    app["status"]["health"]["status"].as_str().unwrap_or_default()
}

/// The phase of the last sync: `Succeeded` if it ended well.
pub fn operation(app: &Value) -> &str {
    app["status"]["operationState"]["phase"].as_str().unwrap_or_default()
}

/// The health of one of its resources: status and message.
pub fn health_of<'a>(app: &'a Value, kind: &str, name: &str) -> (&'a str, &'a str) {
    let all = app["status"]["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().find(|resource| resource["kind"] == kind && resource["name"] == name);
    let part = |key: &str| found.and_then(|resource| resource["health"][key].as_str()).unwrap_or_default();
    (part("status"), part("message"))
}
