//! The reads from the API server, and the few writes to it, of all subcommands that a user runs.
//!
//! In: kubectl's own flags. Out: the objects of a cluster. An object that cannot be decoded is returned as such: one odd
//! object must not hide the others.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{GroupVersionKind, ObjectList, ObjectMeta};
use kube::{Api, Client, Config, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{AwsAccount, BucketReplication, GROUP, REQUESTED_AT};
use crate::cli::shell::{about_cluster, word};
use crate::ports::kube_error::describe;

/// Objects that one answer of the API server holds at most.
pub const PAGE: u32 = 500;

/// How long the API server may be silent before and within an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// The manager of the fields that the command line writes.
const MANAGER: &str = "kubectl-s3replication";

/// Of what a word may be the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Replication,
    Backfill,
    Account,
    Namespace,
    Context,
}

/// Which cluster: the flags of kubectl.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct ClusterArgs {
    /// Path of the kubeconfig file; absent: KUBECONFIG, else ~/.kube/config
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file; absent: its current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Takes the name of a resource: one that cannot be a name is wrong usage, and not a resource that is missing.
pub fn object_name(text: &str) -> Result<String, String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    match text.chars().all(is_of_name) && (1..=253).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 253 characters: lowercase letters, digits, - and .".to_owned()),
    }
}

/// Takes the name of a namespace. An empty one names none, as for kubectl.
pub fn namespace_name(text: &str) -> Result<String, String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text.chars().all(is_of_name) && text.len() <= 63 {
        true => Ok(text.to_owned()),
        false => Err("a namespace has 1 to 63 characters: lowercase letters, digits and -".to_owned()),
    }
}

/// How to reach the resources of a cluster: the flags of kubectl.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubeArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Namespace; absent: that of the context
    #[arg(long, short, value_parser = namespace_name)]
    pub namespace: Option<String>,
}

/// The same flags for resources in files: the cluster is read only for what the files do not contain.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct FileKubeArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Namespace of the resources whose file names none; absent: default
    #[arg(long, short, value_parser = namespace_name)]
    pub namespace: Option<String>,
}

/// Which of the resources a subcommand is about, where it takes no name.
#[derive(Clone, Debug, Default, Args)]
pub struct ScopeArgs {
    /// The resources of all namespaces, also where a namespace is given
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Label selector, such as team=data
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
}

impl ScopeArgs {
    /// Every resource of the cluster.
    pub fn everywhere() -> ScopeArgs {
        ScopeArgs { all_namespaces: true, selector: None }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    #[error("cannot find a Kubernetes cluster: {0}; set KUBECONFIG, --kubeconfig or --context")]
    Configuration(String),
    #[error(
        "cannot log in to the Kubernetes cluster: {0}; check the user of the kubeconfig (kubectl auth whoami)"
    )]
    Login(String),
    #[error("cannot {what}: {message}")]
    Request { what: String, message: String, is_denied: bool, may_pass: bool },
    #[error("namespace {namespace} has no BucketReplication {name}\n→ {command}")]
    NotFound { namespace: String, name: String, command: String },
    #[error("BucketReplication {namespace}/{name} cannot be decoded by this version: {message}")]
    Undecodable { namespace: String, name: String, message: String },
}

impl KubernetesError {
    /// Whether the user lacks a right that the request needs.
    pub fn is_denied(&self) -> bool {
        matches!(self, KubernetesError::Request { is_denied: true, .. })
    }

    /// Whether the next try may get another answer, because the API server gave none, or one of an overloaded server.
    pub fn may_pass(&self) -> bool {
        matches!(self, KubernetesError::Request { may_pass: true, .. })
    }

    /// The API server has taken a request, and does not answer it.
    pub fn silent() -> KubernetesError {
        KubernetesError::Request {
            what: "reach the cluster".to_owned(),
            message: without_answer("it has taken the request and does not answer it"),
            is_denied: false,
            may_pass: true,
        }
    }
}

/// The message where nothing answers: the reason, and the command that checks the same.
fn without_answer(why: &str) -> String {
    format!(
        "the API server gives no answer: {why}; check the cluster of the kubeconfig (kubectl cluster-info)"
    )
}

/// An object, or why this version cannot decode it.
#[derive(Clone, Debug)]
pub struct FoundObject<K> {
    pub metadata: ObjectMeta,
    pub object: Result<K, Undecodable>,
}

/// An object of another version.
#[derive(Clone, Debug)]
pub struct Undecodable {
    pub message: String,
    /// Its spec as the API server holds it.
    pub spec: Value,
}

impl Undecodable {
    /// The source bucket, where the spec has it where this version expects it.
    pub fn source(&self) -> Option<&str> {
        self.spec.pointer("/source/bucket")?.as_str().filter(|name| !name.is_empty())
    }

    /// The id and the destination bucket of each rule, where the spec has all of them where this version expects them.
    pub fn rules(&self) -> Option<Vec<(&str, &str)>> {
        self.spec.get("rules")?.as_array()?.iter().map(id_and_destination).collect()
    }
}

fn id_and_destination(rule: &Value) -> Option<(&str, &str)> {
    let bucket = rule.pointer("/destination/bucket")?.as_str()?;
    Some((rule.get("id").and_then(Value::as_str).unwrap_or_default(), bucket))
}

/// A cluster, as the user may see it.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    /// The namespace of the flags or of the context.
    pub namespace: String,
    /// The flags that named the cluster, each after a blank.
    pub flags: String,
}

impl ClusterArgs {
    /// Whether a flag names a cluster.
    pub fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// The flags that were given, each after a blank, for a command that is to be about the same cluster.
    pub fn flags(&self) -> String {
        let ClusterArgs { kubeconfig, context } = self;
        let kubeconfig = kubeconfig.as_ref().map(|path| ("--kubeconfig", path.display().to_string()));
        let given = kubeconfig.into_iter().chain(context.iter().map(|name| ("--context", name.clone())));
        given.map(|(flag, value)| format!(" {flag} {}", word(&value))).collect()
    }

    /// The names of the contexts of the kubeconfig; none if there is no kubeconfig.
    pub fn contexts(&self) -> Vec<String> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let contexts = read.map(|file| file.contexts).unwrap_or_default();
        contexts.into_iter().map(|context| context.name).collect()
    }

    /// A client, as kubectl makes it with the same flags.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it lacks the context.
    pub async fn client(&self) -> Result<Client, KubernetesError> {
        let config = self.config().await?;
        client_of(config)
    }

    async fn config(&self) -> Result<Config, KubernetesError> {
        Ok(for_a_person(self.config_of_kubectl().await?))
    }

    async fn config_of_kubectl(&self) -> Result<Config, KubernetesError> {
        let unusable = |error: String| KubernetesError::Configuration(error);
        let known = self.contexts();
        if let Some(context) = self.context.as_ref().filter(|name| !known.is_empty() && !known.contains(name))
        {
            return Err(unusable(format!(
                "the kubeconfig has no context {}, but {}",
                word(context),
                known.join(", ")
            )));
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Ok(match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let file = Kubeconfig::read_from(path).map_err(|e| unusable(e.to_string()))?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(|e| unusable(e.to_string()))?
            }
            (None, Some(_)) => {
                Config::from_kubeconfig(&options).await.map_err(|e| unusable(e.to_string()))?
            }
            // In a pod without a kubeconfig, the pod's own ServiceAccount serves.
            (None, None) => match Config::from_kubeconfig(&options).await {
                Ok(config) => config,
                Err(why) => Config::incluster().map_err(|_| unusable(why.to_string()))?,
            },
        })
    }
}

/// A configuration whose requests end while a person waits.
fn for_a_person(mut config: Config) -> Config {
    // By default a request to an API server that takes it and does not answer has no end.
    config.read_timeout = Some(LONGEST_ANSWER);
    config.reset_reader_on_write = true;
    // By default the client tries again in silence for minutes.
    config.default_retry = false;
    config
}

/// A client; the plugin that logs in runs here, where the kubeconfig names one.
fn client_of(config: Config) -> Result<Client, KubernetesError> {
    Client::try_from(config).map_err(|error| match &error {
        kube::Error::Auth(why) => KubernetesError::Login(why.to_string()),
        _ => KubernetesError::Configuration(error.to_string()),
    })
}

impl KubeArgs {
    /// The namespace that the flag names. An empty one names none, as for kubectl.
    pub fn named_namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    /// Connects as kubectl does with the same flags.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it lacks the context.
    pub async fn connect(&self) -> Result<Kubernetes, KubernetesError> {
        let config = self.cluster.config().await?;
        let namespace = self.named_namespace().unwrap_or(&config.default_namespace).to_owned();
        let client = client_of(config)?;
        Ok(Kubernetes { client, namespace, flags: self.cluster.flags() })
    }
}

impl Kubernetes {
    /// A command that is to be about this cluster.
    pub fn command(&self, command: &str) -> String {
        about_cluster(command, &self.flags)
    }

    /// The objects of a kind as the API server holds them: some may be of another version.
    pub(super) fn scoped(&self, scope: &ScopeArgs, kind: &ApiResource) -> Api<DynamicObject> {
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

pub(super) fn backfill_kind() -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "ReplicationBackfill");
    ApiResource::from_gvk_with_plural(&kind, "replicationbackfills")
}

/// Decodes an object, if this version can.
pub fn found<K: DeserializeOwned>(held: DynamicObject) -> FoundObject<K> {
    let metadata = held.metadata.clone();
    let decoded = serde_json::to_value(&held).and_then(|value| K::deserialize(&value));
    let undecodable = |error: serde_json::Error| Undecodable {
        message: error.to_string(),
        spec: held.data.get("spec").cloned().unwrap_or_default(),
    };
    FoundObject { metadata, object: decoded.map_err(undecodable) }
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

/// The error of a request that failed.
pub fn request(what: &str) -> impl FnOnce(kube::Error) -> KubernetesError {
    let what = what.to_owned();
    move |error| KubernetesError::Request {
        what,
        message: explained(&error),
        is_denied: matches!(&error, kube::Error::Api(status) if status.code == 403),
        may_pass: may_pass(&error),
    }
}

/// Whether the next try may get another answer.
pub fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// Where a right comes from that a person lacks.
fn right_from(denied: &str) -> &'static str {
    let is_everywhere = denied.contains("at the cluster scope") && denied.contains("bucketreplications");
    match is_everywhere {
        true => "name a namespace with -n, or ask an administrator for the right in all of them",
        false => "ask an administrator for this right: the roles view, to read, and edit, to change, hold it",
    }
}

/// The API server's words, and the way out of the failures that a user meets first.
pub fn explained(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 && is_of_no_kind(&status.message) => {
            "the cluster has no such kind; install the operator, or its CustomResourceDefinitions (kubectl apply --server-side -f crds/)".to_owned()
        }
        kube::Error::Api(status) if status.code == 403 => {
            format!("{}; {}", status.message, right_from(&status.message))
        }
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not accept your credentials, which are wrong or have expired; log in again, and check the user of the kubeconfig (kubectl auth whoami)".to_owned()
        }
        kube::Error::Auth(why) => KubernetesError::Login(why.to_string()).to_string(),
        kube::Error::Api(_) => describe(error),
        // The innermost error says more than its wrapping: that nothing listens, or that a certificate is not trusted.
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
            without_answer(&innermost(error))
        }
        other => innermost(other),
    }
}

/// Whether the API server says that it has no such kind, or no such group of kinds, of which it does not answer in JSON.
fn is_of_no_kind(message: &str) -> bool {
    message.contains("the server could not find") || message.contains("404 page not found")
}

/// The cause of an error that has no further cause.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.to_string().as_str() {
        // The words of the timer.
        "deadline has elapsed" => format!("it takes longer than {} s", LONGEST_ANSWER.as_secs()),
        why => why.to_owned(),
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};

    use super::*;

    /// An API server with one answer to everything, and the requests it has got.
    async fn serving(code: u16, answer: Value) -> (Kubernetes, Arc<Mutex<Vec<String>>>) {
        answering(move |_| (StatusCode::from_u16(code).unwrap(), answer.to_string()).into_response()).await
    }

    /// An API server whose answers depend on the paths and queries, and the requests it has got.
    pub async fn answering(
        answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
    ) -> (Kubernetes, Arc<Mutex<Vec<String>>>) {
        answering_within(LONGEST_ANSWER, answer).await
    }

    /// The same, for a client that takes a longer silence for none.
    pub async fn answering_within(
        longest: Duration,
        answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
    ) -> (Kubernetes, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        let router = Router::new().fallback(move |request: Request| {
            let uri = request.uri().to_string();
            let answered = answer(&uri);
            kept.lock().unwrap().push(uri);
            async move { answered }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut config = for_a_person(Config::new(address.parse().unwrap()));
        config.read_timeout = Some(longest);
        let client = client_of(config).unwrap();
        (Kubernetes { client, namespace: "data".to_owned(), flags: String::new() }, asked)
    }

    pub fn list(kind: &str, items: &[Value]) -> Value {
        json!({
            "apiVersion": "s3replication.dev/v1alpha1", "kind": kind,
            "metadata": {"resourceVersion": "900"}, "items": items,
        })
    }

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

    #[tokio::test]
    async fn an_api_server_that_is_not_there_is_named_as_the_cause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
        let kubernetes = Kubernetes { client, namespace: "data".to_owned(), flags: String::new() };
        let message = kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err().to_string();
        assert!(message.contains("gives no answer: Connection refused"), "{message}");
        assert!(message.ends_with("(kubectl cluster-info)"), "{message}");
    }

    #[tokio::test]
    async fn a_refusal_says_where_the_right_or_the_login_comes_from() {
        let refused = async |code: u16, message: &str| {
            let answer = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "message": message, "reason": "r",
            });
            let (kubernetes, _) = serving(code, answer).await;
            kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err().to_string()
        };
        let denied = |scope: &str| format!("bucketreplications is forbidden: User \"a\" cannot list {scope}");
        let message = refused(403, &denied("at the cluster scope")).await;
        assert!(message.contains("; name a namespace with -n"), "{message}");
        let message = refused(403, &denied("in the namespace \"data\"")).await;
        assert!(message.contains("; ask an administrator for this right"), "{message}");
        let message = refused(401, "Unauthorized").await;
        assert!(
            message.contains("does not accept your credentials") && message.contains("whoami"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn a_cluster_without_the_definitions_is_recognized_whether_it_knows_the_group_or_not() {
        let unknown_kind = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
            "message": "the server could not find the requested resource", "reason": "NotFound",
        });
        for body in [unknown_kind.to_string(), "404 page not found\n".to_owned()] {
            let answer = move |_: &str| (StatusCode::NOT_FOUND, body.clone()).into_response();
            let (kubernetes, _) = answering(answer).await;
            let message = kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err().to_string();
            assert!(message.contains("the cluster has no such kind; install the operator"), "{message}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_wrong_usage() {
        assert_eq!(object_name("orders-to-eu.2").as_deref(), Ok("orders-to-eu.2"));
        for wrong in ["", "Orders", "a/../b", "a b", &"a".repeat(254)] {
            assert!(object_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_a_namespace_is_wrong_usage() {
        for right in ["", "data", "team-2"] {
            assert_eq!(namespace_name(right).as_deref(), Ok(right));
        }
        for wrong in ["Data", "a b", "a/../b", "a.b", &"a".repeat(64)] {
            assert!(namespace_name(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_context_that_the_kubeconfig_lacks_is_named_with_those_that_it_has() {
        let path = std::env::temp_dir().join(format!("kubeconfig-{}", std::process::id()));
        let file = json!({"apiVersion": "v1", "kind": "Config", "current-context": "east", "clusters": [],
            "users": [], "contexts": [{"name": "east", "context": {"cluster": "a", "user": "a"}}]});
        std::fs::write(&path, file.to_string()).unwrap();
        let args = ClusterArgs { kubeconfig: Some(path.clone()), context: Some("wets".to_owned()) };
        let message = args.config().await.unwrap_err().to_string();
        std::fs::remove_file(path).unwrap();
        assert!(message.contains("the kubeconfig has no context wets, but east"), "{message}");
    }

    #[test]
    fn an_empty_namespace_is_none() {
        let named = |namespace: Option<&str>| {
            let args = KubeArgs { namespace: namespace.map(str::to_owned), ..KubeArgs::default() };
            args.named_namespace().map(str::to_owned)
        };
        assert_eq!(
            (named(None), named(Some("")), named(Some("data"))),
            (None, None, Some("data".to_owned()))
        );
    }

    #[tokio::test]
    async fn a_denied_request_differs_from_one_that_failed() {
        for (code, is_denied) in [(403, true), (404, false)] {
            let answer = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "message": "m", "reason": "r",
            });
            let (kubernetes, _) = serving(code, answer).await;
            let error = kubernetes.list(&ScopeArgs::everywhere()).await.unwrap_err();
            assert_eq!(error.is_denied(), is_denied, "{error}");
        }
    }
}
