//! Implements the port to AWS by the AWS SDK.
//!
//! In: the port's arguments. Out: its answers; the work is done in `read/`, `write/` and the connector.

use std::time::Duration;

use serde_json::Value;

use crate::api::CallerIdentity;
use crate::aws::account::cache::BucketKey;
use crate::aws::connector::{AwsConnector, ResourceClients};
use crate::aws::read::bucket_policy::{GET_BUCKET_POLICY, read_bucket_policy};
use crate::aws::read::calls;
use crate::aws::read::canary::{
    GET_OBJECT_VERSION, LIST_VERSIONS, list_versions, observe_for_canary, read_replication_status,
};
use crate::aws::read::jobs::{describe_job, find_job};
use crate::aws::read::metrics::read_metrics;
use crate::aws::read::observe::observe;
use crate::aws::read::observe_for_deletion::observe_for_deletion;
use crate::aws::write::apply::apply;
use crate::aws::write::bucket_policy::{PUT_BUCKET_POLICY, write_bucket_policy};
use crate::aws::write::canary::{DELETE_VERSION, PUT_OBJECT, delete_version, put_canary};
use crate::aws::write::jobs::{create_job, update_job};
use crate::ports::{Cloud, QueueMessage};
use crate::replication::backfill::{Job, JobAddress, JobRequest, JobUpdate};
use crate::replication::events::{ChangeEvent, ChangedResource, EventName, EventQueue};
use crate::replication::health::canary::{
    CanaryFacts, CanaryObject, HeldVersion, ReplicationStatus, VersionAt, WrittenCanary,
};
use crate::replication::health::key_cause::GET_KEY_POLICY;
use crate::replication::health::metrics::{MetricsRequest, SeriesAnswer};
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{
    Account, Accounts, BucketAddress, Caller, DeletionReadSet, Observed, ObservedRole, ReadSet, ResourceId,
    Step,
};

impl Cloud for AwsConnector {
    type Clients = ResourceClients;

    async fn connect(&self, accounts: &Accounts, id: &ResourceId) -> Read<ResourceClients> {
        AwsConnector::connect(self, accounts, id).await
    }

    async fn connect_also(
        &self,
        clients: &mut ResourceClients,
        account_ref: &str,
        account: &Account,
        id: &ResourceId,
    ) -> Read<()> {
        let client = self.client_in(account, id).await?;
        clients.add(account_ref.to_owned(), client);
        Ok(())
    }

    async fn caller(&self, clients: &ResourceClients) -> Read<Caller> {
        Ok(clients.source.caller())
    }

    async fn observe(&self, clients: &ResourceClients, read_set: &ReadSet) -> Read<Observed> {
        Ok(observe(clients, read_set).await)
    }

    async fn observe_for_deletion(
        &self,
        clients: &ResourceClients,
        read_set: &DeletionReadSet,
    ) -> Read<ObservedForDeletion> {
        let DeletionReadSet { source, roles, bucket_policies, id } = read_set;
        Ok(observe_for_deletion(clients, source.as_ref(), roles, bucket_policies, id).await)
    }

    async fn execute(&self, clients: &ResourceClients, step: &Step) -> Read<()> {
        apply(clients, step).await
    }

    async fn read_bucket_policy(
        &self,
        clients: &ResourceClients,
        bucket: &BucketAddress,
    ) -> Read<Option<Value>> {
        let aws = clients.client(bucket.account_ref.as_deref(), GET_BUCKET_POLICY, &bucket.name)?;
        read_bucket_policy(aws, bucket).await
    }

    async fn write_bucket_policy(
        &self,
        clients: &ResourceClients,
        bucket: &BucketAddress,
        policy: Option<&Value>,
    ) -> Read<()> {
        let aws = clients.client(bucket.account_ref.as_deref(), PUT_BUCKET_POLICY, &bucket.name)?;
        write_bucket_policy(aws, bucket, policy).await
    }

    async fn read_key_policy(
        &self,
        clients: &ResourceClients,
        account_ref: Option<&str>,
        key: &str,
    ) -> Read<Option<Value>> {
        calls::read_key_policy(clients.client(account_ref, GET_KEY_POLICY, key)?, key).await
    }

    async fn read_role(
        &self,
        clients: &ResourceClients,
        name: &str,
        with_policy: bool,
    ) -> Read<Option<ObservedRole>> {
        match calls::read_role(&clients.source, name).await? {
            Some(role) if with_policy => Ok(Some(calls::with_policy(&clients.source, role).await)),
            role => Ok(role),
        }
    }

    async fn create_job(&self, clients: &ResourceClients, request: &JobRequest) -> Read<String> {
        create_job(&clients.source, request).await
    }

    async fn describe_job(
        &self,
        clients: &ResourceClients,
        address: &JobAddress,
        id: &str,
    ) -> Read<Option<Job>> {
        describe_job(&clients.source, address, id).await
    }

    async fn find_job(
        &self,
        clients: &ResourceClients,
        address: &JobAddress,
        description: &str,
    ) -> Read<Option<String>> {
        find_job(&clients.source, address, description).await
    }

    async fn update_job(
        &self,
        clients: &ResourceClients,
        address: &JobAddress,
        id: &str,
        update: JobUpdate,
    ) -> Read<()> {
        update_job(&clients.source, address, id, update).await
    }

    async fn observe_for_canary(
        &self,
        clients: &ResourceClients,
        source: &BucketAddress,
        destinations: &[BucketAddress],
    ) -> Read<CanaryFacts> {
        Ok(observe_for_canary(clients, source, destinations).await)
    }

    async fn put_canary(&self, clients: &ResourceClients, object: &CanaryObject) -> Read<WrittenCanary> {
        let bucket = &object.bucket;
        put_canary(clients.client(bucket.account_ref.as_deref(), PUT_OBJECT, &bucket.name)?, object).await
    }

    async fn read_replication_status(
        &self,
        clients: &ResourceClients,
        object: &VersionAt,
    ) -> Read<Option<ReplicationStatus>> {
        let bucket = &object.bucket;
        let aws = clients.client(bucket.account_ref.as_deref(), GET_OBJECT_VERSION, &bucket.name)?;
        read_replication_status(aws, object).await
    }

    async fn list_versions(
        &self,
        clients: &ResourceClients,
        bucket: &BucketAddress,
        prefix: &str,
    ) -> Read<Vec<HeldVersion>> {
        let aws = clients.client(bucket.account_ref.as_deref(), LIST_VERSIONS, &bucket.name)?;
        list_versions(aws, bucket, prefix).await
    }

    async fn delete_version(&self, clients: &ResourceClients, object: &VersionAt) -> Read<()> {
        let bucket = &object.bucket;
        let aws = clients.client(bucket.account_ref.as_deref(), DELETE_VERSION, &bucket.name)?;
        delete_version(aws, object).await
    }

    async fn verify(&self, account: &Account, max_age: Duration) -> Read<CallerIdentity> {
        AwsConnector::verify(self, account, max_age).await
    }

    async fn read_metrics(
        &self,
        account: Option<&Account>,
        region: &str,
        request: &MetricsRequest,
    ) -> Read<Vec<SeriesAnswer>> {
        let client = match account {
            Some(account) => self.client_in(account, &ResourceId::of_sweep()).await?,
            None => self.ambient().await?,
        };
        read_metrics(&client, region, request).await
    }

    fn forget(&self, account_name: &str) {
        AwsConnector::forget(self, account_name);
    }

    async fn receive_events(&self, queue: &EventQueue, wait: Duration) -> Read<Vec<QueueMessage>> {
        self.queues.receive(queue, wait).await
    }

    async fn delete_events(&self, queue: &EventQueue, receipts: Vec<String>) -> Read<()> {
        self.queues.delete(queue, receipts).await
    }

    fn is_own_access_key(&self, access_key: &str) -> bool {
        AwsConnector::is_own_access_key(self, access_key)
    }

    async fn forget_answers(&self, event: &ChangeEvent) {
        let name = match &event.subject {
            ChangedResource::Bucket(name) => name,
            ChangedResource::Role(role) => {
                for (_, roles) in self.caches() {
                    roles.forget(role).await;
                }
                return;
            }
            ChangedResource::Key(_) => return,
        };
        let bucket = BucketKey::new(name, &event.origin.account);
        for (buckets, _) in self.caches() {
            match event.name {
                EventName::PutBucketVersioning => buckets.versioning_changed(&bucket).await,
                // It may be another bucket by now.
                _ => buckets.forget(&bucket).await,
            }
        }
    }
}
