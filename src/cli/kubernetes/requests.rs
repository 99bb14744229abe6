//! The reads from the API server, and the few writes to it, of all subcommands that a user runs.
//!
//! In: a client, and the names or the scope of a subcommand. Out: the objects of a cluster. An object that cannot be
//! decoded is returned as such. A new request begins here.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, ObjectList};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{AwsAccount, BucketReplication, GROUP, REQUESTED_AT};
use crate::cli::kubernetes::args::{Named, ScopeArgs};
use crate::cli::kubernetes::error::{KubernetesError, request};
use crate::cli::kubernetes::found::{FoundObject, found};
use crate::cli::shell::{about_cluster, word};

/// Objects that one answer of the API server holds at most.
pub const PAGE: u32 = 500;

/// The manager of the fields that the command line writes.
const MANAGER: &str = "kubectl-s3replication";

/// A cluster, as the user may see it.
#[derive(Clone)]
pub struct Kubernetes {
    pub(super) client: Client,
    /// The namespace of the flags or of the context.
    pub namespace: String,
    /// The flags that named the cluster, each after a blank.
    pub flags: String,
}

impl Kubernetes {
    /// A command that is to be about this cluster.
    pub fn command(&self, command: &str) -> String {
        about_cluster(command, &self.flags)
    }

    /// The objects of a kind as the API server holds them: some may be of another version.
    pub(in crate::cli) fn scoped(&self, scope: &ScopeArgs, kind: &ApiResource) -> Api<DynamicObject> {
        match scope.all_namespaces {
            true => Api::all_with(self.client.clone(), kind),
            false => Api::namespaced_with(self.client.clone(), &self.namespace, kind),
        }
    }

    fn replications(&self) -> Api<BucketReplication> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The resources of the namespace as the API server holds them: some may be of another version.
    fn undecoded(&self) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<BucketReplication>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// All resources of a scope, and the version of the list, from which a watch continues.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn list(
        &self,
        scope: &ScopeArgs,
    ) -> Result<(Vec<FoundObject<BucketReplication>>, String), KubernetesError> {
        let api = self.scoped(scope, &ApiResource::erase::<BucketReplication>(&()));
        let params = ListParams { label_selector: scope.selector.clone(), ..ListParams::default() };
        let selected = scope.selector.as_ref().map(|selector| format!(" with the labels {}", word(selector)));
        let what = format!("list BucketReplications{}", selected.unwrap_or_default());
        let listed = pages(&api, params).await.map_err(request(&what))?;
        let version = listed.metadata.resource_version.unwrap_or_default();
        Ok((listed.items.into_iter().map(found).collect(), version))
    }

    /// The text for a scope without resources: it may be the wrong namespace.
    pub fn nothing(&self, scope: &ScopeArgs, typed: &str) -> String {
        let selected = scope.selector.as_ref().map_or("", |_| " that the selector matches");
        match scope.all_namespaces {
            true => format!("There are no replications{selected}.\n"),
            false => format!(
                "There are no replications{selected} in namespace {}.\n→ {}\n",
                self.namespace,
                self.command(&format!("{typed} status -A"))
            ),
        }
    }

    /// The error that there is no such resource.
    pub fn not_found(&self, name: &str, typed: &'static str) -> KubernetesError {
        let command = self.command(&format!("{typed} status -A"));
        KubernetesError::NotFound { namespace: self.namespace.clone(), name: name.to_owned(), command }
    }

    /// One resource.
    ///
    /// # Errors
    /// What the API server answered; [`KubernetesError::NotFound`] if there is no such resource.
    pub async fn get(
        &self,
        name: &str,
        typed: &'static str,
    ) -> Result<FoundObject<BucketReplication>, KubernetesError> {
        let api = self.undecoded();
        let found_one = api.get_opt(name).await;
        let found_one = found_one.map_err(request(&format!("read BucketReplication {name}")))?;
        found_one.map(found).ok_or_else(|| self.not_found(name, typed))
    }

    /// The names of the objects that a word may name.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn names(&self, named: Named) -> Result<Vec<String>, KubernetesError> {
        let namespace = ScopeArgs::default();
        let api = match named {
            Named::Replication => self.scoped(&namespace, &ApiResource::erase::<BucketReplication>(&())),
            Named::Backfill => self.scoped(&namespace, &backfill_kind()),
            Named::Account => Api::all_with(self.client.clone(), &ApiResource::erase::<AwsAccount>(&())),
            Named::Namespace => Api::all_with(self.client.clone(), &ApiResource::erase::<Namespace>(&())),
            Named::Context => return Ok(Vec::new()),
        };
        let listed = pages(&api, ListParams::default()).await.map_err(request("list names"))?;
        Ok(listed.items.into_iter().map(|object| object.name_any()).collect())
    }

    /// One resource that must be decodable.
    ///
    /// # Errors
    /// As [`Kubernetes::get`], and [`KubernetesError::Undecodable`].
    pub async fn decoded(
        &self,
        name: &str,
        typed: &'static str,
    ) -> Result<BucketReplication, KubernetesError> {
        let FoundObject { object, .. } = self.get(name, typed).await?;
        object.map_err(|undecodable| KubernetesError::Undecodable {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            message: undecodable.message,
        })
    }

    /// One `AwsAccount`; `None` if there is none of this name.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn account(&self, name: &str) -> Result<Option<FoundObject<AwsAccount>>, KubernetesError> {
        let kind = ApiResource::erase::<AwsAccount>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let held = api.get_opt(name).await.map_err(request(&format!("read AwsAccount {name}")))?;
        Ok(held.map(found))
    }

    /// Every `AwsAccount`.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn accounts(&self) -> Result<Vec<FoundObject<AwsAccount>>, KubernetesError> {
        let kind = ApiResource::erase::<AwsAccount>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let listed = pages(&api, ListParams::default()).await.map_err(request("list AwsAccounts"))?;
        Ok(listed.items.into_iter().map(found).collect())
    }

    /// The backfills of a scope, undecoded. `None`: the cluster does not have the kind, or the user may not list it.
    ///
    /// # Errors
    /// What else the API server answered.
    pub async fn backfills(&self, scope: &ScopeArgs) -> Result<Option<Vec<DynamicObject>>, KubernetesError> {
        let api = self.scoped(scope, &backfill_kind());
        match pages(&api, ListParams::default()).await {
            Ok(listed) => Ok(Some(listed.items)),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
            Err(error) => Err(request("list ReplicationBackfills")(error)),
        }
    }

    /// One backfill; `None` if there is none of this name.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn backfill(&self, name: &str) -> Result<Option<DynamicObject>, KubernetesError> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &backfill_kind());
        api.get_opt(name).await.map_err(request(&format!("read ReplicationBackfill {name}")))
    }

    /// Creates a backfill of a resource.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn create_backfill(&self, name: &str, spec: Value) -> Result<DynamicObject, KubernetesError> {
        let kind = backfill_kind();
        let object = DynamicObject::new(name, &kind).within(&self.namespace).data(json!({"spec": spec}));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        api.create(&params, &object).await.map_err(request(&format!("create ReplicationBackfill {name}")))
    }

    /// Asks for a check, under a value that no other request has.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn request_check(&self, name: &str, value: &str) -> Result<(), KubernetesError> {
        self.patch(name, &json!({"metadata": {"annotations": {REQUESTED_AT: value}}}), "request a check of")
            .await
    }

    /// Sets `spec.suspend`.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn set_suspended(&self, name: &str, suspend: bool) -> Result<(), KubernetesError> {
        let what = if suspend { "suspend" } else { "resume" };
        self.patch(name, &json!({"spec": {"suspend": suspend}}), what).await
    }

    async fn patch(&self, name: &str, change: &Value, what: &str) -> Result<(), KubernetesError> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.replications().patch(name, &params, &Patch::Merge(change)).await;
        patched.map(drop).map_err(request(&format!("{what} BucketReplication {}/{name}", self.namespace)))
    }

    /// A Deployment of the namespace; `None` if there is none of this name.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn deployment(&self, name: &str) -> Result<Option<Deployment>, KubernetesError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        api.get_opt(name).await.map_err(request(&format!("read Deployment {name}")))
    }

    /// The UID of the cluster: that of its namespace kube-system, which the tags of managed roles hold.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn cluster_id(&self) -> Result<String, KubernetesError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let read = namespaces.get_metadata("kube-system").await;
        let read = read.map_err(request("read namespace kube-system, whose UID identifies the cluster"))?;
        Ok(read.uid().unwrap_or_default())
    }
}

pub(in crate::cli) fn backfill_kind() -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "ReplicationBackfill");
    ApiResource::from_gvk_with_plural(&kind, "replicationbackfills")
}

/// All pages of a list.
async fn pages<K>(api: &Api<K>, params: ListParams) -> kube::Result<ObjectList<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = params.limit(PAGE);
    let mut all = api.list(&params).await?;
    while let Some(token) = all.metadata.continue_.take().filter(|token| !token.is_empty()) {
        params = params.continue_token(&token);
        let page = api.list(&params).await?;
        all.metadata = page.metadata;
        all.items.extend(page.items);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::kubernetes::test_server::{list, serving};

    #[tokio::test]
    async fn an_account_that_cannot_be_decoded_is_listed_as_such() {
        let account = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let accounts = [
            account("well", json!({"accountId": "111111111111"})),
            account("odd", json!({"accountId": ["111111111111"]})),
        ];
        let (kubernetes, _) = serving(200, list("AwsAccountList", &accounts)).await;
        let found = kubernetes.accounts().await.unwrap();
        let odd = found[1].object.as_ref().unwrap_err();
        assert!(odd.message.contains("invalid type"), "{}", odd.message);
        let are_decoded: Vec<bool> = found.iter().map(|account| account.object.is_ok()).collect();
        assert_eq!(are_decoded, [true, false]);
    }

    #[tokio::test]
    async fn the_buckets_of_a_resource_of_another_version_are_read_as_far_as_they_are_where_they_were() {
        let of = |spec: Value| json!({"metadata": {"namespace": "data", "name": "odd"}, "spec": spec});
        let rule = |bucket: Value| json!({"id": "all", "status": {"of": "tomorrow"}, "destination": {"bucket": bucket}});
        let resources = [
            of(json!({"source": {"bucket": "orders"}, "rules": [rule(json!("copy"))]})),
            of(
                json!({"source": {"bucket": {"name": "orders"}}, "rules": [rule(json!("copy")), rule(json!(1))]}),
            ),
        ];
        let (kubernetes, _) = serving(200, list("BucketReplicationList", &resources)).await;
        let (found, _) = kubernetes.list(&ScopeArgs::everywhere()).await.unwrap();
        let [near, far] = found.as_slice() else { panic!("{found:?}") };
        let (near, far) = (near.object.as_ref().unwrap_err(), far.object.as_ref().unwrap_err());
        assert_eq!((near.source(), near.rules()), (Some("orders"), Some(vec![("all", "copy")])));
        assert_eq!((far.source(), far.rules()), (None, None));
    }
}
