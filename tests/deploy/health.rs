//! What GitOps tools make of every status that the operator can report: kstatus, of the library that Flux has, and the
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

use crate::all_statuses::{self, State};
use crate::argocd::health;
use crate::support::{read, yaml_in_page};

/// What is to be made of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// As asked for: whoever waits for it goes on.
    Current,
    /// It is on its way: it is waited for.
    InProgress,
    /// It is not as asked for, and may come by itself. kstatus has a deadline, and waits; Argo CD has none, so that a
    /// denied action would look like progress for ever.
    TriedAgain,
    /// It will not come without someone: nobody waits any longer.
    Failed,
    /// Nobody looks whether it is there, because it was asked for so. Who waits for it waits on: it may well not be.
    Suspended,
    /// On its way out.
    Terminating,
}

impl Health {
    fn kstatus(self) -> &'static str {
        match self {
            Health::Current => "Current",
            // kstatus has no word of its own for what is suspended.
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

/// What a reason means to those who wait.
fn expected(reason: Reason) -> Health {
    match reason {
        Reason::Applied | Reason::Verified => Health::Current,
        Reason::Suspended => Health::Suspended,
        Reason::Progressing => Health::InProgress,
        // Another may create or grant what is missing a moment later; AWS may come back.
        Reason::AccountNotFound
        | Reason::SourceBucketNotFound
        | Reason::DestinationBucketNotFound
        | Reason::RoleNotFound
        | Reason::AccessDenied
        | Reason::CredentialsUnavailable
        | Reason::Throttled
        | Reason::AwsUnavailable
        | Reason::DeletionBlocked => Health::TriedAgain,
        // Only someone's decision changes it.
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
    }
}

/// An object as the API server shows it at one moment.
struct Shown {
    how: String,
    expected: Health,
    object: Value,
}

/// Objects of one kind, taken through everything that the API server may show of them.
struct Shower {
    api: Api<DynamicObject>,
    kind: &'static str,
    spec: Value,
    /// Changes the generation and nothing that matters here.
    change: Value,
}

impl Shower {
    async fn create(&self, name: &str) -> Result<Value> {
        let object = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": self.kind,
            // Someone's finalizer keeps what is being deleted where it can be seen.
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

    /// What is seen before an operator has seen the object.
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

    /// An object with this status, then with another spec that was not seen yet, then while it is deleted.
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
    // The accounts are in no namespace, and another test's operator would answer for them.
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
    for reason in Reason::ALL {
        ensure!(reasons.contains_key(&reason), "there is no status with the reason {reason}");
    }

    let objects: Vec<Value> = all.iter().map(|shown| shown.object.clone()).collect();
    let told = Tools::kstatus()?.tell(&objects)?;
    for (Shown { how, expected, object }, kstatus) in all.iter().zip(told) {
        let kind = object["kind"].as_str().context("kind")?;
        let (argo_cd, message) = match object["metadata"]["deletionTimestamp"].is_null() {
            true => health(kind, object)?,
            // Argo CD asks no health check of what is being deleted.
            false => ("Progressing".to_owned(), String::new()),
        };
        let (status, said) = (&object["status"], &kstatus.message);
        ensure!(
            (kstatus.status.as_str(), argo_cd.as_str()) == (expected.kstatus(), expected.argo_cd()),
            "{how}: kstatus says {} ({said}), Argo CD {argo_cd} ({message}), which were to say {expected:?}: {status:#}",
            kstatus.status
        );
        // Who waits in vain is told why.
        if matches!(expected, Health::TriedAgain | Health::Failed | Health::Suspended) {
            assert_eq!(json!(message), condition(status, "Ready").context("Ready")?["message"], "{how}");
        }
        if *expected == Health::Failed {
            assert_eq!(*said, message, "{how}");
        }
    }
    // For those who want it, what is suspended passes, and all else stays as it is.
    let page = yaml_in_page("docs/gitops.md", "healthCheckExprs")?;
    let chosen = &page["spec"]["healthCheckExprs"][0];
    let there =
        |shown: &&Shown| shown.object["kind"] == chosen["kind"] && shown.expected != Health::Terminating;
    let chosen_from: Vec<&Shown> = all.iter().filter(there).collect();
    let objects: Vec<Value> = chosen_from.iter().map(|shown| shown.object.clone()).collect();
    for (Shown { how, expected, .. }, told) in
        chosen_from.iter().zip(Tools::kstatus()?.tell_by(chosen, &objects)?)
    {
        let wanted = if *expected == Health::Suspended { "Current" } else { expected.kstatus() };
        assert_eq!(told.status, wanted, "{how}");
    }
    Ok(())
}

#[test]
fn the_page_of_reasons_says_what_each_means_to_those_who_wait() -> Result<()> {
    let page = read("docs/reasons.md")?;
    for reason in Reason::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let cells: Vec<&str> = row.context("no row")?.split('|').map(str::trim).collect();
        let health = expected(reason);
        let words = format!("{} / {}", health.argo_cd(), health.kstatus());
        assert_eq!(cells.get(4), Some(&words.as_str()), "{reason}");
    }
    Ok(())
}
