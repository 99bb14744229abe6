//! How GitOps tools judge every status that the operator can report: kstatus, from the library that Flux uses, and the
//! health check for Argo CD.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use rig::Tools;
use rig::world::{World, condition};
use s3_replication_operator::api::Reason;
use serde_json::{Value, json};
use strum::VariantArray;

use crate::all_statuses::{self, State};
use crate::argocd::health;
use crate::support::{read, yaml_in_page};

/// The health of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// As requested: tools that wait for it continue.
    Current,
    /// In progress: tools wait for it.
    InProgress,
    /// Not as requested, but it may become so. kstatus has a deadline, and waits; Argo CD has none, so a denied action
    /// would look like progress forever.
    TriedAgain,
    /// It needs someone: tools stop waiting.
    Failed,
    /// Not checked, because it is suspended. Tools that wait for it keep waiting: it may not exist in AWS.
    Suspended,
    /// Being deleted.
    Terminating,
}

impl Health {
    fn kstatus(self) -> &'static str {
        match self {
            Health::Current => "Current",
            // kstatus has no status for suspended objects.
            Health::InProgress | Health::TriedAgain | Health::Suspended => "InProgress",
            Health::Failed => "Failed",
            Health::Terminating => "Terminating",
        }
    }

    fn argo_cd(self) -> &'static str {
        match self {
            Health::Current => "Healthy",
            Health::InProgress | Health::Terminating => "Progressing",
            Health::TriedAgain | Health::Failed => "Degraded",
            Health::Suspended => "Suspended",
        }
    }
}

/// The health that a reason stands for.
fn expected(reason: Reason) -> Health {
    match reason {
        Reason::Applied | Reason::Verified => Health::Current,
        Reason::Suspended => Health::Suspended,
        Reason::Progressing => Health::InProgress,
        // Someone may create or grant what is missing a moment later; AWS may recover.
        Reason::AccountNotFound
        | Reason::SourceBucketNotFound
        | Reason::DestinationBucketNotFound
        | Reason::RoleNotFound
        | Reason::AccessDenied
        | Reason::CredentialsUnavailable
        | Reason::Throttled
        | Reason::AwsUnavailable
        | Reason::DeletionBlocked => Health::TriedAgain,
        // Only a decision of a person changes it.
        Reason::Drifted
        | Reason::SourceConflict
        | Reason::NotAllowed
        | Reason::AccountMismatch
        | Reason::ForeignRole
        | Reason::ForeignConfiguration
        | Reason::RoleNotTrusted
        | Reason::VersioningNotEnabled
        | Reason::MfaDeleteEnabled
        | Reason::WrongBucketOwner
        | Reason::PolicyTooLarge
        | Reason::InvalidRequest
        | Reason::InvalidSpec => Health::Failed,
        // `Ready` never has these.
        Reason::ObjectsArriving
        | Reason::NothingPending
        | Reason::ObjectsFailing
        | Reason::ObjectsDelayed
        | Reason::NoEvidence
        | Reason::NotProven
        | Reason::NoData
        | Reason::CanaryRefused
        | Reason::EventsReceived
        | Reason::EventsNotSeen
        | Reason::EventMissed
        | Reason::QueueUnreachable => Health::Current,
    }
}

/// An object as the API server shows it at one moment.
struct Shown {
    how: String,
    expected: Health,
    object: Value,
}

/// Objects of one kind, in every state that the API server may show.
struct Shower {
    api: Api<DynamicObject>,
    kind: &'static str,
    spec: Value,
    /// A change of the generation without any effect here.
    change: Value,
}

impl Shower {
    async fn create(&self, name: &str) -> Result<Value> {
        let object = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": self.kind,
            // A foreign finalizer keeps the deleted object visible.
            "metadata": {"name": name, "finalizers": ["example.com/to-be-seen"]},
            "spec": self.spec,
        });
        let made = self.api.create(&Default::default(), &serde_json::from_value(object)?).await?;
        Ok(serde_json::to_value(made)?)
    }

    async fn patch(&self, name: &str, patch: Value) -> Result<Value> {
        let patched = self.api.patch(name, &PatchParams::default(), &Patch::<Value>::Merge(patch)).await?;
        Ok(serde_json::to_value(patched)?)
    }

    async fn delete(&self, name: &str) -> Result<Value> {
        self.api.delete(name, &DeleteParams::default()).await?;
        Ok(serde_json::to_value(self.api.get(name).await?)?)
    }

    /// The states before an operator has seen the object.
    async fn untouched(&self) -> Result<Vec<Shown>> {
        let (name, mut all) = ("untouched", Vec::new());
        let mut add = |how: &str, expected, object| {
            all.push(Shown { how: format!("{} {how}", self.kind), expected, object });
        };
        add("just created", Health::InProgress, self.create(name).await?);
        add("changed before it was seen", Health::InProgress, self.patch(name, self.change.clone()).await?);
        add("deleted before it was seen", Health::Terminating, self.delete(name).await?);
        Ok(all)
    }

    /// An object with this status; then with a changed spec that the operator has not seen; then during its deletion.
    async fn shown(&self, name: &str, state: &State) -> Result<Vec<Shown>> {
        self.create(name).await?;
        // As the operator writes it.
        let patch = serde_json::from_value(json!([{"op": "add", "path": "/status", "value": state.status}]))?;
        let patch = Patch::Json::<()>(patch);
        let object = self.api.patch_status(name, &PatchParams::default(), &patch).await;
        let object = serde_json::to_value(object.with_context(|| state.how.clone())?)?;
        ensure!(object["status"] == state.status, "{}: the API server cuts the status", state.how);

        let mut all = Vec::new();
        let mut add = |when: &str, expected, object| {
            all.push(Shown { how: format!("{} {}{when}", self.kind, state.how), expected, object });
        };
        add("", expected(state.reason), object);
        add(", changed and not yet seen", Health::InProgress, self.patch(name, self.change.clone()).await?);
        add(", being deleted", Health::Terminating, self.delete(name).await?);
        Ok(all)
    }
}

#[tokio::test]
async fn kstatus_and_argo_cd_say_of_every_status_what_it_means() -> Result<()> {
    // AwsAccounts are cluster-scoped, and another test's operator would write their status.
    let world = World::alone("states").await?;
    let ours = |kind| ApiResource::from_gvk(&GroupVersionKind::gvk("s3replication.dev", "v1alpha1", kind));
    let replications = Shower {
        api: world.api(),
        kind: "BucketReplication",
        spec: all_statuses::spec(),
        change: json!({"spec": {"interval": "1h"}}),
    };
    let accounts = Shower {
        api: Api::all_with(world.kube.clone(), &ours("AwsAccount")),
        kind: "AwsAccount",
        spec: json!({"accountId": "111122223333"}),
        change: json!({"spec": {"sources": ["*"]}}),
    };
    let mut all = Vec::new();
    let mut reasons = BTreeMap::new();
    for (shower, states) in
        [(&replications, all_statuses::replications()?), (&accounts, all_statuses::accounts()?)]
    {
        all.extend(shower.untouched().await?);
        for (number, state) in states.iter().enumerate() {
            *reasons.entry(state.reason).or_insert(0) += 1;
            all.extend(shower.shown(&format!("state-{number}"), state).await?);
        }
    }
    let of_ready = |reason: &&Reason| !reason.is_about_arrival() && !reason.is_about_events();
    for reason in Reason::VARIANTS.iter().filter(of_ready) {
        ensure!(reasons.contains_key(reason), "there is no status with the reason {reason}");
    }

    let objects: Vec<Value> = all.iter().map(|shown| shown.object.clone()).collect();
    let results = Tools::kstatus()?.assess(&objects)?;
    for (Shown { how, expected, object }, kstatus) in all.iter().zip(results) {
        let kind = object["kind"].as_str().context("kind")?;
        let (argo_cd, message) = match object["metadata"]["deletionTimestamp"].is_null() {
            true => health(kind, object)?,
            // Argo CD runs no health check on an object that is being deleted.
            false => ("Progressing".to_owned(), String::new()),
        };
        let (status, assessed) = (&object["status"], &kstatus.message);
        ensure!(
            (kstatus.status.as_str(), argo_cd.as_str()) == (expected.kstatus(), expected.argo_cd()),
            "{how}: kstatus says {} ({assessed}), Argo CD {argo_cd} ({message}), which were to say {expected:?}: {status:#}",
            kstatus.status
        );
        // The message gives the reason.
        if matches!(expected, Health::TriedAgain | Health::Failed | Health::Suspended) {
            assert_eq!(json!(message), condition(status, "Ready").context("Ready")?["message"], "{how}");
        }
        if *expected == Health::Failed {
            assert_eq!(*assessed, message, "{how}");
        }
    }
    // The documented expression lets suspended resources pass, and changes nothing else.
    let page = yaml_in_page("docs/gitops.md", "healthCheckExprs")?;
    let chosen = &page["spec"]["healthCheckExprs"][0];
    let there =
        |shown: &&Shown| shown.object["kind"] == chosen["kind"] && shown.expected != Health::Terminating;
    let chosen_from: Vec<&Shown> = all.iter().filter(there).collect();
    let objects: Vec<Value> = chosen_from.iter().map(|shown| shown.object.clone()).collect();
    for (Shown { how, expected, .. }, result) in
        chosen_from.iter().zip(Tools::kstatus()?.assess_by(chosen, &objects)?)
    {
        let wanted = if *expected == Health::Suspended { "Current" } else { expected.kstatus() };
        assert_eq!(result.status, wanted, "{how}");
    }
    Ok(())
}

#[test]
fn the_page_of_reasons_names_the_health_of_each() -> Result<()> {
    let page = read("docs/reasons.md")?;
    for reason in Reason::VARIANTS.iter().copied() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let cells: Vec<&str> = row.context("no row")?.split('|').map(str::trim).collect();
        let health = expected(reason);
        let words = match reason.is_about_arrival() || reason.is_about_events() {
            true => "unaffected".to_owned(),
            false => format!("{} / {}", health.argo_cd(), health.kstatus()),
        };
        assert_eq!(cells.get(4), Some(&words.as_str()), "{reason}");
    }
    Ok(())
}
