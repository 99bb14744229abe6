//! The port to AWS, implemented by the AWS SDK.

use serde_json::Value;

use crate::api::AwsIdentity;
use crate::aws::connector::{AwsConnector, ResourceClients};
use crate::aws::read::observe::observe;
use crate::aws::read::observe_for_deletion::remains;
use crate::aws::write::apply::apply;
use crate::aws::write::bucket_policy::{read_bucket_policy, write_bucket_policy};
use crate::ports::Cloud;
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{
    Account, Accounts, BucketAddress, Caller, DeletionReadSet, Observed, ReadSet, ResourceId, Step,
};

impl Cloud for AwsConnector {
    type Clients = ResourceClients;

    async fn connect(&self, accounts: &Accounts, id: &ResourceId) -> Read<ResourceClients> {
        self.access(accounts, id).await
    }

    async fn connect_also(
        &self,
        clients: &mut ResourceClients,
        account: &Account,
        id: &ResourceId,
    ) -> Read<()> {
        let aws = self.in_account(account, id).await?;
        clients.also(account.name.clone(), aws);
        Ok(())
    }

    async fn caller(&self, clients: &ResourceClients) -> Read<Caller> {
        clients.source.caller().await
    }

    async fn observe(&self, clients: &ResourceClients, read_set: &ReadSet) -> Read<Observed> {
        observe(clients, read_set).await
    }

    async fn observe_for_deletion(
        &self,
        clients: &ResourceClients,
        read_set: &DeletionReadSet,
    ) -> Read<ObservedForDeletion> {
        let DeletionReadSet { source, roles, bucket_policies, id } = read_set;
        remains(clients, source.as_ref(), roles, bucket_policies, id).await
    }

    async fn execute(&self, clients: &ResourceClients, step: &Step) -> Read<()> {
        apply(clients, step).await
    }

    async fn read_bucket_policy(
        &self,
        clients: &ResourceClients,
        bucket: &BucketAddress,
    ) -> Read<Option<Value>> {
        let aws = clients.to(bucket.account_ref.as_deref());
        read_bucket_policy(aws, bucket).await
    }

    async fn write_bucket_policy(
        &self,
        clients: &ResourceClients,
        bucket: &BucketAddress,
        policy: Option<&Value>,
    ) -> Read<()> {
        let aws = clients.to(bucket.account_ref.as_deref());
        write_bucket_policy(aws, bucket, policy).await
    }

    async fn verify(&self, account: &Account) -> Read<AwsIdentity> {
        AwsConnector::verify(self, account).await
    }

    fn forget(&self, account_name: &str) {
        AwsConnector::forget(self, account_name);
    }
}
