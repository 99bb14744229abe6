//! The port to AWS.
//!
//! In: accounts, read sets, steps, jobs, canaries and queues. Out: what AWS holds, or a classified failure. An
//! implementation takes no decisions: which reads and writes are needed is worked out before, in `replication`. A call
//! that the controllers make besides the reads and the steps of a check begins here; `aws/cloud.rs` and
//! `simulation/cloud.rs` implement it.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;

use crate::api::CallerIdentity;
use crate::replication::backfill::{Job, JobAddress, JobRequest, JobUpdate};
use crate::replication::events::{ChangeEvent, EventQueue};
use crate::replication::health::canary::{
    CanaryFacts, CanaryObject, HeldVersion, ReplicationStatus, VersionAt, WrittenCanary,
};
use crate::replication::health::metrics::{MetricsRequest, SeriesAnswer};
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{
    Account, Accounts, BucketAddress, Caller, DeletionReadSet, Observed, ObservedRole, ReadSet, ResourceId,
    Step,
};

/// A message of an event queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMessage {
    pub body: String,
    /// The handle with which it is deleted.
    pub receipt: String,
}

/// AWS, as the controllers use it.
pub trait Cloud: Send + Sync + 'static {
    /// Clients for the accounts of one resource.
    type Clients: Send + Sync;

    /// Makes clients for every account of a resource. Each is verified to be in the account that its `AwsAccount`
    /// names.
    ///
    /// # Errors
    /// When a role cannot be assumed, or leads into another account than its `AwsAccount` names.
    fn connect(
        &self,
        accounts: &Accounts,
        id: &ResourceId,
    ) -> impl Future<Output = Read<Self::Clients>> + Send;

    /// Adds a client for one more account, under the name by which buckets refer to it. The name is that of the
    /// `AwsAccount`, or that of a deleted `AwsAccount` in whose place this one serves.
    ///
    /// # Errors
    /// As [`Cloud::connect`]; the clients are then as they were.
    fn connect_also(
        &self,
        clients: &mut Self::Clients,
        account_ref: &str,
        account: &Account,
        id: &ResourceId,
    ) -> impl Future<Output = Read<()>> + Send;

    /// The account and partition of the source (`sts:GetCallerIdentity`).
    ///
    /// # Errors
    /// When STS does not answer, or rejects the credentials.
    fn caller(&self, clients: &Self::Clients) -> impl Future<Output = Read<Caller>> + Send;

    /// Reads everything that a check compares.
    ///
    /// # Errors
    /// When not even the caller is known. Every other failed read is kept in [`Observed`] beside those that succeeded.
    fn observe(
        &self,
        clients: &Self::Clients,
        read_set: &ReadSet,
    ) -> impl Future<Output = Read<Observed>> + Send;

    /// Reads everything that deletion may have to remove.
    ///
    /// # Errors
    /// As [`Cloud::observe`].
    fn observe_for_deletion(
        &self,
        clients: &Self::Clients,
        read_set: &DeletionReadSet,
    ) -> impl Future<Output = Read<ObservedForDeletion>> + Send;

    /// Executes a step by one call. [`Step::PutBucketPolicy`] is none of these: the executor reads, merges and writes.
    ///
    /// # Errors
    /// AWS's error, classified. A role or configuration that is already gone counts as deleted.
    fn execute(&self, clients: &Self::Clients, step: &Step) -> impl Future<Output = Read<()>> + Send;

    /// The policy of a bucket; `None` where it has none.
    ///
    /// # Errors
    /// AWS's error, classified.
    fn read_bucket_policy(
        &self,
        clients: &Self::Clients,
        bucket: &BucketAddress,
    ) -> impl Future<Output = Read<Option<Value>>> + Send;

    /// Replaces the policy of a bucket; `None` deletes it.
    ///
    /// # Errors
    /// AWS's error, classified.
    fn write_bucket_policy(
        &self,
        clients: &Self::Clients,
        bucket: &BucketAddress,
        policy: Option<&Value>,
    ) -> impl Future<Output = Read<()>> + Send;

    /// The policy of a KMS key, with the credentials of the source or of the `AwsAccount` of a destination; `None`
    /// where there is no such key.
    ///
    /// # Errors
    /// KMS's error, classified.
    fn read_key_policy(
        &self,
        clients: &Self::Clients,
        account_ref: Option<&str>,
        key: &str,
    ) -> impl Future<Output = Read<Option<Value>>> + Send;

    /// A role of the source's account; `None` where there is none. `with_policy`: with the operator's inline policy.
    ///
    /// # Errors
    /// IAM's error, classified. A policy that cannot be read is a failure of its own in the role.
    fn read_role(
        &self,
        clients: &Self::Clients,
        name: &str,
        with_policy: bool,
    ) -> impl Future<Output = Read<Option<ObservedRole>>> + Send;

    /// Asks S3 Batch Operations for a job, and returns its id. The same request returns the same job.
    ///
    /// # Errors
    /// S3's error, classified; the code is `IdempotencyException` where another request had the same token.
    fn create_job(
        &self,
        clients: &Self::Clients,
        request: &JobRequest,
    ) -> impl Future<Output = Read<String>> + Send;

    /// A job as it is now; `None` where S3 knows none of that id.
    ///
    /// # Errors
    /// S3's error, classified.
    fn describe_job(
        &self,
        clients: &Self::Clients,
        address: &JobAddress,
        id: &str,
    ) -> impl Future<Output = Read<Option<Job>>> + Send;

    /// The id of the job with this description; `None` where S3 lists none.
    ///
    /// # Errors
    /// S3's error, classified.
    fn find_job(
        &self,
        clients: &Self::Clients,
        address: &JobAddress,
        description: &str,
    ) -> impl Future<Output = Read<Option<String>>> + Send;

    /// Asks for another state of a job. That the job is in no state for it any more is no error: the next check shows
    /// it.
    ///
    /// # Errors
    /// S3's error, classified.
    fn update_job(
        &self,
        clients: &Self::Clients,
        address: &JobAddress,
        id: &str,
        update: JobUpdate,
    ) -> impl Future<Output = Read<()>> + Send;

    /// Reads what decides whether a canary may be written. `destinations`: those that the operator may act on.
    ///
    /// # Errors
    /// When nothing could be read. A read that failed is kept in [`CanaryFacts`] beside those that succeeded.
    fn observe_for_canary(
        &self,
        clients: &Self::Clients,
        source: &BucketAddress,
        destinations: &[BucketAddress],
    ) -> impl Future<Output = Read<CanaryFacts>> + Send;

    /// Writes a canary.
    ///
    /// # Errors
    /// AWS's error, classified. The object may be there even without an answer.
    fn put_canary(
        &self,
        clients: &Self::Clients,
        object: &CanaryObject,
    ) -> impl Future<Output = Read<WrittenCanary>> + Send;

    /// The replication status of a version; `None`: there is no such version.
    ///
    /// # Errors
    /// AWS's error, classified.
    fn read_replication_status(
        &self,
        clients: &Self::Clients,
        object: &VersionAt,
    ) -> impl Future<Output = Read<Option<ReplicationStatus>>> + Send;

    /// The versions of objects whose keys begin with a prefix, without delete markers; at most the first thousand.
    ///
    /// # Errors
    /// AWS's error, classified.
    fn list_versions(
        &self,
        clients: &Self::Clients,
        bucket: &BucketAddress,
        prefix: &str,
    ) -> impl Future<Output = Read<Vec<HeldVersion>>> + Send;

    /// Deletes one version for good. One that is gone already counts as deleted.
    ///
    /// # Errors
    /// AWS's error, classified.
    fn delete_version(
        &self,
        clients: &Self::Clients,
        object: &VersionAt,
    ) -> impl Future<Output = Read<()>> + Send;

    /// The identity under which the operator acts in an `AwsAccount`, as STS reports it. An answer younger than
    /// `max_age` serves again.
    ///
    /// # Errors
    /// When STS does not answer, or the identity is in another account than the `AwsAccount` names.
    fn verify(
        &self,
        account: &Account,
        max_age: Duration,
    ) -> impl Future<Output = Read<CallerIdentity>> + Send;

    /// Reads metrics in one account, or in the operator's own, and one Region, all pages of them. The answers are in
    /// the order of the series.
    ///
    /// # Errors
    /// AWS's error, classified, where it returned nothing of use for any series.
    fn read_metrics(
        &self,
        account: Option<&Account>,
        region: &str,
        request: &MetricsRequest,
    ) -> impl Future<Output = Read<Vec<SeriesAnswer>>> + Send;

    /// Drops the clients and sessions of an `AwsAccount` that is gone.
    fn forget(&self, account_name: &str);

    /// Receives up to ten messages of a queue. Waits up to `wait`, in whole seconds, while there are none.
    ///
    /// # Errors
    /// SQS's error, classified.
    fn receive_events(
        &self,
        queue: &EventQueue,
        wait: Duration,
    ) -> impl Future<Output = Read<Vec<QueueMessage>>> + Send;

    /// Deletes up to ten messages, by their receipts. A message that is already gone counts as deleted.
    ///
    /// # Errors
    /// SQS's error, classified; also where it deleted none of them. The messages come again.
    fn delete_events(
        &self,
        queue: &EventQueue,
        receipts: Vec<String>,
    ) -> impl Future<Output = Read<()>> + Send;

    /// Whether the operator signed requests with this access key within the last hours.
    fn is_own_access_key(&self, access_key: &str) -> bool;

    /// Drops the answers that an event may have made untrue.
    fn forget_answers(&self, event: &ChangeEvent) -> impl Future<Output = ()> + Send;
}
