//! Kubernetes objects of any kind, as data.

use anyhow::{Context, Result, bail};
use kube::api::{Api, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{Scope, pinned_kind};
use serde_json::Value;

/// The field manager of objects that tests apply.
const MANAGER: &str = "rig";

/// The resource under test.
pub(crate) fn bucket_replication() -> ApiResource {
    of_operator("BucketReplication", "bucketreplications")
}

/// The cluster-scoped account that it refers to.
pub(crate) fn aws_account() -> ApiResource {
    of_operator("AwsAccount", "awsaccounts")
}

/// The backfill of what a resource missed.
pub(crate) fn replication_backfill() -> ApiResource {
    of_operator("ReplicationBackfill", "replicationbackfills")
}

fn of_operator(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("s3replication.dev", "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

/// Applies the documents of a YAML text server-side, as `kubectl apply --server-side` does: the API server rejects
/// unknown fields. Objects without a namespace go into `namespace`.
pub(crate) async fn apply(client: &kube::Client, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).context("the manifest is not valid YAML")?;
    let mut applied = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let object: DynamicObject =
            serde_json::from_value(document).context("the manifest is not a Kubernetes object")?;
        let api = api_for(client, namespace, &object).await?;
        let Some(name) = object.metadata.name.clone() else {
            bail!("the manifest has no metadata.name");
        };
        let mut params = PatchParams::apply(MANAGER).force();
        params.field_validation = Some(ValidationDirective::Strict);
        applied.push(api.patch(&name, &params, &Patch::Apply(&object)).await?);
    }
    Ok(applied)
}

async fn api_for(
    client: &kube::Client,
    namespace: &str,
    object: &DynamicObject,
) -> Result<Api<DynamicObject>> {
    let types = object.types.as_ref().context("the manifest has no apiVersion and kind")?;
    let kind = GroupVersionKind::try_from(types)?;
    let own = [
        (bucket_replication(), Scope::Namespaced),
        (aws_account(), Scope::Cluster),
        (replication_backfill(), Scope::Namespaced),
    ];
    let known = own.into_iter().find(|(r, _)| kind.group == r.group && kind.kind == r.kind);
    let (resource, scope) = match known {
        // Saves the discovery that anything else needs.
        Some((own, scope)) => (ApiResource::from_gvk_with_plural(&kind, &own.plural), scope),
        None => {
            let (resource, capabilities) = pinned_kind(client, &kind).await?;
            (resource, capabilities.scope)
        }
    };
    Ok(match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or(namespace);
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    })
}
