//! Intercepts every call on a port.
//!
//! In: a port, and a hook that decides what becomes of each call. Out: a port of the same kind. The hook may take its
//! time: the driver of the controllers lets others act meanwhile.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{DynamicObject, Status};
use serde_json::Value;

use crate::api::CallerIdentity;
use crate::ports::{Cloud, Cluster, ClusterError, Finalizers, ObjectKey, QueueMessage, StatusField};
use crate::replication::backfill::{Job, JobAddress, JobRequest, JobUpdate};
use crate::replication::events::{self, EventQueue};
use crate::replication::health::canary::{
    CanaryFacts, CanaryObject, HeldVersion, ReplicationStatus, VersionAt, WrittenCanary,
};
use crate::replication::health::metrics::{MetricsRequest, SeriesAnswer};
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::status::Event;
use crate::replication::{
    Account, Accounts, BucketAddress, Caller, DeletionReadSet, Failure, FailureClass, Observed, ObservedRole,
    ReadSet, ResourceId, Step,
};
use crate::simulation::denials::{
    GET_BUCKET_POLICY, GET_BUCKET_VERSIONING, GET_REPLICATION, GET_ROLE, GET_ROLE_POLICY,
};
use crate::simulation::world::{access_denied, fail};

/// A call that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Connect,
    ConnectAlso(String),
    Caller,
    Observe,
    ObserveForDeletion,
    Execute(Step),
    ReadBucketPolicy(BucketAddress),
    WriteBucketPolicy(BucketAddress),
    ObserveForCanary,
    PutCanary(CanaryObject),
    ReadReplicationStatus(VersionAt),
    ListVersions(BucketAddress),
    DeleteVersion(VersionAt),
    Verify(String),
    ReadKeyPolicy(String),
    ReadRole(String),
    CreateJob,
    DescribeJob(String),
    FindJob,
    UpdateJob(JobUpdate),
    /// Of an object of this kind.
    Live(String),
    AddFinalizer,
    RemoveFinalizer,
    SetStatus,
    SetCondition,
    ReadMetrics(String),
    DeleteMessages,
    PublishEvent,
    NamespaceLabels(String),
}

impl Call {
    /// Whether the call changes AWS or Kubernetes.
    pub fn is_write(&self) -> bool {
        self.writes_to_aws()
            || matches!(
                self,
                Call::AddFinalizer
                    | Call::RemoveFinalizer
                    | Call::SetStatus
                    | Call::SetCondition
                    | Call::PublishEvent
            )
    }

    /// Whether the call changes AWS.
    pub fn writes_to_aws(&self) -> bool {
        matches!(
            self,
            Call::Execute(_)
                | Call::WriteBucketPolicy(_)
                | Call::CreateJob
                | Call::UpdateJob(_)
                | Call::PutCanary(_)
                | Call::DeleteVersion(_)
        )
    }
}

impl Call {
    /// The action that the call needs as a whole; `None`: it makes several reads, none in AWS, or one that AWS never
    /// denies.
    pub fn action(&self) -> Option<&'static str> {
        Some(match self {
            Call::Connect | Call::ConnectAlso(_) | Call::Verify(_) => "sts:AssumeRole",
            Call::Execute(step) => step.action(),
            Call::ReadBucketPolicy(_) => GET_BUCKET_POLICY,
            Call::WriteBucketPolicy(_) => "s3:PutBucketPolicy",
            Call::PutCanary(_) => "s3:PutObject",
            Call::ReadReplicationStatus(_) => "s3:GetObjectVersion",
            Call::ListVersions(_) => "s3:ListBucketVersions",
            Call::DeleteVersion(_) => "s3:DeleteObjectVersion",
            Call::ReadKeyPolicy(_) => "kms:GetKeyPolicy",
            Call::ReadRole(_) => GET_ROLE,
            Call::CreateJob => "s3:CreateJob",
            Call::DescribeJob(_) => "s3:DescribeJob",
            Call::FindJob => "s3:ListJobs",
            Call::UpdateJob(_) => "s3:UpdateJobStatus",
            _ => return None,
        })
    }

    /// The right in Kubernetes that the call needs, where it is made for an object of a kind; `None`: it is a call to
    /// AWS, or an event, on which nothing depends.
    pub fn right(&self, kind: &str) -> Option<&'static str> {
        let named = match self {
            Call::Live(kind) => kind.as_str(),
            _ => kind,
        };
        let [get, patch, patch_status] = match named {
            "BucketReplication" => {
                ["get bucketreplications", "patch bucketreplications", "patch bucketreplications/status"]
            }
            "ReplicationBackfill" => [
                "get replicationbackfills",
                "patch replicationbackfills",
                "patch replicationbackfills/status",
            ],
            _ => ["get awsaccounts", "patch awsaccounts", "patch awsaccounts/status"],
        };
        match self {
            Call::Live(_) => Some(get),
            Call::AddFinalizer | Call::RemoveFinalizer => Some(patch),
            Call::SetStatus | Call::SetCondition => Some(patch_status),
            Call::NamespaceLabels(_) => Some("get namespaces"),
            _ => None,
        }
    }

    /// The actions of the reads that the call makes together. AWS may deny each.
    pub fn parts(&self) -> &'static [&'static str] {
        match self {
            Call::Observe => {
                &[GET_BUCKET_VERSIONING, GET_REPLICATION, GET_ROLE, GET_ROLE_POLICY, GET_BUCKET_POLICY]
            }
            Call::ObserveForDeletion => &[GET_REPLICATION, GET_ROLE, GET_BUCKET_POLICY],
            Call::ObserveForCanary => &[GET_BUCKET_VERSIONING],
            Call::ReadRole(_) => &[GET_ROLE_POLICY],
            _ => &[],
        }
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Call::Connect => f.write_str("connect to AWS"),
            Call::ConnectAlso(account) => write!(f, "connect to AwsAccount {account}"),
            Call::Caller => f.write_str("ask STS for the caller"),
            Call::Observe | Call::ObserveForDeletion => f.write_str("read AWS"),
            Call::Execute(step) => write!(f, "{step}"),
            Call::ReadBucketPolicy(bucket) => write!(f, "read the policy of bucket {}", bucket.name),
            Call::ReadKeyPolicy(key) => write!(f, "read the policy of key {key}"),
            Call::WriteBucketPolicy(bucket) => write!(f, "write the policy of bucket {}", bucket.name),
            Call::ObserveForCanary => f.write_str("read what decides about canaries"),
            Call::PutCanary(object) => write!(f, "write a canary to bucket {}", object.bucket.name),
            Call::ReadReplicationStatus(object) => {
                write!(f, "read the replication status of a canary in bucket {}", object.bucket.name)
            }
            Call::ListVersions(bucket) => write!(f, "list the canaries of bucket {}", bucket.name),
            Call::DeleteVersion(object) => write!(f, "delete a canary from bucket {}", object.bucket.name),
            Call::Verify(account) => write!(f, "verify AwsAccount {account}"),
            Call::ReadRole(role) => write!(f, "read role {role}"),
            Call::CreateJob => f.write_str("create a job"),
            Call::DescribeJob(job) => write!(f, "describe {job}"),
            Call::FindJob => f.write_str("find the job among those of the account"),
            Call::UpdateJob(update) => write!(f, "set the job to {}", update.requested()),
            Call::Live(kind) => write!(f, "read the live {kind}"),
            Call::AddFinalizer => f.write_str("add the finalizer"),
            Call::RemoveFinalizer => f.write_str("remove the finalizer"),
            Call::SetStatus => f.write_str("write the status"),
            Call::SetCondition => f.write_str("write the condition Replicating"),
            Call::ReadMetrics(region) => write!(f, "read metrics in {region}"),
            Call::DeleteMessages => f.write_str("delete messages of an event queue"),
            Call::PublishEvent => f.write_str("publish an event"),
            Call::NamespaceLabels(namespace) => write!(f, "read the labels of namespace {namespace}"),
        }
    }
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is made and answered.
    Answer,
    /// It fails and has no effect. `Invalid` where a bucket policy is written: S3 does not know a role in it yet.
    FailBefore(FailureClass),
    /// It takes effect, and its answer is lost.
    FailAfter,
    /// The process dies before the call: nothing after it happens.
    DieBefore,
    /// The process dies after the call took effect.
    DieAfter,
}

type PendingChoice = Pin<Box<dyn Future<Output = Choice> + Send>>;

/// Decides what becomes of each call.
pub type Hook = Arc<dyn Fn(Call) -> PendingChoice + Send + Sync>;

/// A port whose calls go through a hook.
#[derive(Clone)]
pub struct Hooked<P> {
    port: P,
    hook: Hook,
}

/// A call that goes on.
enum Go {
    Answer,
    LoseAnswer,
    DieAfter,
}

impl<P> Hooked<P> {
    pub fn new(port: P, hook: Hook) -> Hooked<P> {
        Hooked { port, hook }
    }

    /// Whether a call is made.
    ///
    /// # Errors
    /// It fails without effect, in this class.
    async fn decide(&self, call: Call) -> Result<Go, FailureClass> {
        match (self.hook)(call).await {
            Choice::Answer => Ok(Go::Answer),
            Choice::FailBefore(class) => Err(class),
            Choice::FailAfter => Ok(Go::LoseAnswer),
            Choice::DieAfter => Ok(Go::DieAfter),
            Choice::DieBefore => std::future::pending().await,
        }
    }

    async fn aws<T>(&self, call: Call, answer: impl Future<Output = Read<T>>) -> Read<T> {
        let (words, action) = (call.to_string(), call.action().unwrap_or("simulated"));
        let names_roles = matches!(call, Call::WriteBucketPolicy(_));
        let lost = |class| match class {
            FailureClass::Denied => Err(access_denied(action, &words)),
            // IAM may take a moment to show a new role everywhere
            // (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html>), and S3 refuses a policy with a role
            // that it does not find (<https://repost.aws/knowledge-center/s3-invalid-principal-in-policy-error>).
            FailureClass::Invalid if names_roles => {
                let answer = ("MalformedPolicy", "Invalid principal in policy");
                Err(fail(FailureClass::Invalid, action, &words, answer))
            }
            class => Err(Failure::new(class, "simulated", words.clone(), "the call failed")),
        };
        match self.decide(call).await {
            Err(class) => lost(class),
            Ok(Go::Answer) => answer.await,
            Ok(Go::LoseAnswer) => {
                answer.await?;
                lost(FailureClass::Unavailable)
            }
            Ok(Go::DieAfter) => {
                let _ = answer.await;
                std::future::pending().await
            }
        }
    }

    async fn kubernetes<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let failed = |status: Status| {
            Err(ClusterError::new("make a simulated call")(kube::Error::Api(status.boxed())))
        };
        let lost = || failed(Status::failure("the call failed", "ServiceUnavailable").with_code(503));
        let words = call.to_string();
        match self.decide(call).await {
            Err(FailureClass::Denied) => {
                let words = format!("\"it\" is forbidden: User \"operator\" cannot {words}");
                failed(Status::failure(&words, "Forbidden").with_code(403))
            }
            Err(_) => lost(),
            Ok(Go::Answer) => answer.await,
            Ok(Go::LoseAnswer) => {
                answer.await?;
                lost()
            }
            Ok(Go::DieAfter) => {
                let _ = answer.await;
                std::future::pending().await
            }
        }
    }
}

impl<P: Cloud> Cloud for Hooked<P> {
    type Clients = P::Clients;

    async fn connect(&self, accounts: &Accounts, id: &ResourceId) -> Read<P::Clients> {
        self.aws(Call::Connect, self.port.connect(accounts, id)).await
    }

    async fn connect_also(
        &self,
        clients: &mut P::Clients,
        account_ref: &str,
        account: &Account,
        id: &ResourceId,
    ) -> Read<()> {
        let call = Call::ConnectAlso(account.name.clone());
        self.aws(call, self.port.connect_also(clients, account_ref, account, id)).await
    }

    async fn caller(&self, clients: &P::Clients) -> Read<Caller> {
        self.aws(Call::Caller, self.port.caller(clients)).await
    }

    async fn observe(&self, clients: &P::Clients, read_set: &ReadSet) -> Read<Observed> {
        self.aws(Call::Observe, self.port.observe(clients, read_set)).await
    }

    async fn observe_for_deletion(
        &self,
        clients: &P::Clients,
        read_set: &DeletionReadSet,
    ) -> Read<ObservedForDeletion> {
        let answer = self.port.observe_for_deletion(clients, read_set);
        self.aws(Call::ObserveForDeletion, answer).await
    }

    async fn execute(&self, clients: &P::Clients, step: &Step) -> Read<()> {
        self.aws(Call::Execute(step.clone()), self.port.execute(clients, step)).await
    }

    async fn read_bucket_policy(&self, clients: &P::Clients, bucket: &BucketAddress) -> Read<Option<Value>> {
        let answer = self.port.read_bucket_policy(clients, bucket);
        self.aws(Call::ReadBucketPolicy(bucket.clone()), answer).await
    }

    async fn write_bucket_policy(
        &self,
        clients: &P::Clients,
        bucket: &BucketAddress,
        policy: Option<&Value>,
    ) -> Read<()> {
        let answer = self.port.write_bucket_policy(clients, bucket, policy);
        self.aws(Call::WriteBucketPolicy(bucket.clone()), answer).await
    }

    async fn read_key_policy(
        &self,
        clients: &P::Clients,
        account_ref: Option<&str>,
        key: &str,
    ) -> Read<Option<Value>> {
        let answer = self.port.read_key_policy(clients, account_ref, key);
        self.aws(Call::ReadKeyPolicy(key.to_owned()), answer).await
    }

    async fn read_role(
        &self,
        clients: &P::Clients,
        name: &str,
        with_policy: bool,
    ) -> Read<Option<ObservedRole>> {
        let answer = self.port.read_role(clients, name, with_policy);
        self.aws(Call::ReadRole(name.to_owned()), answer).await
    }

    async fn create_job(&self, clients: &P::Clients, request: &JobRequest) -> Read<String> {
        self.aws(Call::CreateJob, self.port.create_job(clients, request)).await
    }

    async fn describe_job(&self, clients: &P::Clients, address: &JobAddress, id: &str) -> Read<Option<Job>> {
        self.aws(Call::DescribeJob(id.to_owned()), self.port.describe_job(clients, address, id)).await
    }

    async fn find_job(
        &self,
        clients: &P::Clients,
        address: &JobAddress,
        description: &str,
    ) -> Read<Option<String>> {
        self.aws(Call::FindJob, self.port.find_job(clients, address, description)).await
    }

    async fn update_job(
        &self,
        clients: &P::Clients,
        address: &JobAddress,
        id: &str,
        update: JobUpdate,
    ) -> Read<()> {
        self.aws(Call::UpdateJob(update), self.port.update_job(clients, address, id, update)).await
    }

    async fn observe_for_canary(
        &self,
        clients: &P::Clients,
        source: &BucketAddress,
        destinations: &[BucketAddress],
    ) -> Read<CanaryFacts> {
        let answer = self.port.observe_for_canary(clients, source, destinations);
        self.aws(Call::ObserveForCanary, answer).await
    }

    async fn put_canary(&self, clients: &P::Clients, object: &CanaryObject) -> Read<WrittenCanary> {
        self.aws(Call::PutCanary(object.clone()), self.port.put_canary(clients, object)).await
    }

    async fn read_replication_status(
        &self,
        clients: &P::Clients,
        object: &VersionAt,
    ) -> Read<Option<ReplicationStatus>> {
        let answer = self.port.read_replication_status(clients, object);
        self.aws(Call::ReadReplicationStatus(object.clone()), answer).await
    }

    async fn list_versions(
        &self,
        clients: &P::Clients,
        bucket: &BucketAddress,
        prefix: &str,
    ) -> Read<Vec<HeldVersion>> {
        let answer = self.port.list_versions(clients, bucket, prefix);
        self.aws(Call::ListVersions(bucket.clone()), answer).await
    }

    async fn delete_version(&self, clients: &P::Clients, object: &VersionAt) -> Read<()> {
        self.aws(Call::DeleteVersion(object.clone()), self.port.delete_version(clients, object)).await
    }

    async fn verify(&self, account: &Account, max_age: Duration) -> Read<CallerIdentity> {
        self.aws(Call::Verify(account.name.clone()), self.port.verify(account, max_age)).await
    }

    async fn read_metrics(
        &self,
        account: Option<&Account>,
        region: &str,
        request: &MetricsRequest,
    ) -> Read<Vec<SeriesAnswer>> {
        let answer = self.port.read_metrics(account, region, request);
        self.aws(Call::ReadMetrics(region.to_owned()), answer).await
    }

    fn forget(&self, account_name: &str) {
        self.port.forget(account_name);
    }

    async fn receive_events(&self, queue: &EventQueue, wait: Duration) -> Read<Vec<QueueMessage>> {
        self.port.receive_events(queue, wait).await
    }

    async fn delete_events(&self, queue: &EventQueue, receipts: Vec<String>) -> Read<()> {
        self.aws(Call::DeleteMessages, self.port.delete_events(queue, receipts)).await
    }

    fn is_own_access_key(&self, access_key: &str) -> bool {
        self.port.is_own_access_key(access_key)
    }

    async fn forget_answers(&self, event: &events::ChangeEvent) {
        self.port.forget_answers(event).await;
    }
}

impl<P: Cluster> Cluster for Hooked<P> {
    async fn live(&self, object: &ObjectKey) -> Result<Option<DynamicObject>, ClusterError> {
        self.kubernetes(Call::Live(object.kind.kind.clone()), self.port.live(object)).await
    }

    async fn exists(&self, object: &ObjectKey) -> Result<bool, ClusterError> {
        self.kubernetes(Call::Live(object.kind.kind.clone()), self.port.exists(object)).await
    }

    async fn add_finalizer(
        &self,
        object: &ObjectKey,
        generation: Option<i64>,
        held: &Finalizers,
        finalizer: &str,
    ) -> Result<(), ClusterError> {
        let added = self.port.add_finalizer(object, generation, held, finalizer);
        self.kubernetes(Call::AddFinalizer, added).await
    }

    async fn remove_finalizer(
        &self,
        object: &ObjectKey,
        held: &Finalizers,
        finalizer: &str,
    ) -> Result<(), ClusterError> {
        self.kubernetes(Call::RemoveFinalizer, self.port.remove_finalizer(object, held, finalizer)).await
    }

    async fn set_status(
        &self,
        object: &ObjectKey,
        status: &Value,
        read: &[StatusField],
    ) -> Result<(), ClusterError> {
        self.kubernetes(Call::SetStatus, self.port.set_status(object, status, read)).await
    }

    async fn set_condition(
        &self,
        object: &ObjectKey,
        index: usize,
        condition: &Condition,
        field: (&str, &Value),
    ) -> Result<(), ClusterError> {
        let answer = self.port.set_condition(object, index, condition, field);
        self.kubernetes(Call::SetCondition, answer).await
    }

    async fn publish_event(&self, object: &ObjectKey, event: &Event) {
        let publish = async {
            self.port.publish_event(object, event).await;
            Ok(())
        };
        // A failure is no matter of the controller's.
        let _ = self.kubernetes(Call::PublishEvent, publish).await;
    }

    async fn namespace_labels(
        &self,
        namespace: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ClusterError> {
        let call = Call::NamespaceLabels(namespace.to_owned());
        self.kubernetes(call, self.port.namespace_labels(namespace)).await
    }
}
