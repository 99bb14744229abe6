//! The same beginning twice: buckets of two accounts, and a role to assume in the second one. Once simulated, once in
//! the emulator behind the rig's proxy, which refuses what AWS refuses.
//!
//! In: an act. Out: the answers of both.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_s3::config::{IdentityCache, SharedCredentialsProvider};
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, ObjectLockConfiguration,
    ObjectLockEnabled, VersioningConfiguration,
};
use rig::{Clients, Proxy};
use serde_json::{Value, json};

use crate::api::{AssumeRole, AwsAccountSpec};
use crate::aws::account::credentials::Environment;
use crate::aws::tests::answers;
use crate::aws::tests::canaries::Canaries;
use crate::aws::tests::jobs::MadeJobs;
use crate::aws::tests::program::{Act, Outside};
use crate::aws::{AwsConnector, AwsMetrics, CallSettings, Rates, ResourceClients};
use crate::ports::Cloud;
use crate::replication::{Account, Accounts, ResourceId, Step};
use crate::simulation::{DEAD_PRINCIPAL, SimulatedClients, SimulatedCloud, World};

pub const HOME: &str = "us-east-1";
pub const AWAY: &str = "eu-west-1";

/// A policy that someone else puts on a role.
const THEIRS: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}"#;

/// The `AwsAccount` of the second account.
pub const THERE: &str = "dr";

/// The names on a stage. No other stage has the same.
#[derive(Clone, Debug)]
pub struct Names {
    pub here: String,
    pub there: String,
    /// The source, in [`HOME`]; `copies` is in [`AWAY`], and so is `replicas`, which belongs to the second account.
    pub orders: String,
    pub copies: String,
    pub replicas: String,
    /// A bucket that is never there.
    pub missing: String,
    /// A KMS key in [`AWAY`].
    pub key: String,
}

impl Names {
    pub fn new(here: &str, there: &str, key: &str) -> Names {
        let named = |bucket: &str| format!("{bucket}-{here}");
        Names {
            here: here.to_owned(),
            there: there.to_owned(),
            orders: named("orders"),
            copies: named("copies"),
            replicas: named("replicas"),
            missing: named("missing"),
            key: key.to_owned(),
        }
    }

    /// The Region and the owner of a bucket.
    pub fn home_of(&self, bucket: &str) -> (&'static str, &str) {
        match bucket {
            orders if orders == self.orders => (HOME, &self.here),
            replicas if replicas == self.replicas => (AWAY, &self.there),
            _ => (AWAY, &self.here),
        }
    }
}

/// Both implementations, after the same acts.
pub struct Stage {
    pub names: Names,
    pub(super) proxy: Proxy,
    pub(super) endpoint: String,
    pub(super) simulated: SimulatedCloud,
    pub(super) simulated_clients: SimulatedClients,
    pub(super) real: AwsConnector,
    pub(super) real_clients: ResourceClients,
    pub(super) canaries: Canaries,
    pub(super) jobs: MadeJobs,
}

fn account() -> String {
    fastrand::u64(100_000_000_000..1_000_000_000_000).to_string()
}

impl Stage {
    pub async fn new(endpoint: &str, port: u16) -> Result<Stage> {
        let (here, there) = (account(), account());
        let created = Clients::new(endpoint, &here).kms(AWAY).create_key().send().await?;
        let key = created.key_metadata.and_then(|key| key.arn).context("no key")?;
        let names = Names::new(&here, &there, &key);
        create_operator_role(endpoint, &names).await?;
        let mut world = World::new(&here);
        world.trusting_accounts = vec![there.clone()];
        world.keys.insert(key, "Enabled".to_owned());
        let proxy = Proxy::start((Ipv4Addr::LOCALHOST, port).into()).await?;
        let (simulated, real) = (SimulatedCloud::new(world), connector(&proxy.url(), &here));
        let accounts = accounts_with(&there);
        let stage = Stage {
            simulated_clients: simulated.connect(&accounts, &id()).await?,
            real_clients: real.connect(&accounts, &id()).await?,
            names,
            proxy,
            endpoint: endpoint.to_owned(),
            simulated,
            real,
            canaries: Canaries::default(),
            jobs: MadeJobs::default(),
        };
        for bucket in [&stage.names.orders, &stage.names.copies, &stage.names.replicas] {
            stage.create_bucket(bucket).await?;
        }
        Ok(stage)
    }

    /// Performs an act on both, and returns what each answers.
    pub async fn perform(&self, act: &Act) -> (Value, Value) {
        let (simulated, real) = (&self.simulated, &self.real);
        let (of_simulated, of_real) = (&self.simulated_clients, &self.real_clients);
        match act {
            Act::Execute(step) => {
                let done = simulated.execute(of_simulated, step).await;
                let deleted = self.role_to_delete(step).await;
                let really = real.execute(of_real, step).await;
                if let (Some(arn), Ok(())) = (deleted, &really) {
                    self.show_deleted_principal(&arn).await;
                }
                (answers::written(&done), answers::written(&really))
            }
            Act::WritePolicy(bucket, policy) => (
                answers::written(&simulated.write_bucket_policy(of_simulated, bucket, policy.as_ref()).await),
                answers::written(&real.write_bucket_policy(of_real, bucket, policy.as_ref()).await),
            ),
            Act::ReadPolicy(bucket) => (
                answers::policy(&simulated.read_bucket_policy(of_simulated, bucket).await),
                answers::policy(&real.read_bucket_policy(of_real, bucket).await),
            ),
            Act::ReadRole { name, with_policy } => (
                answers::maybe_role(&simulated.read_role(of_simulated, name, *with_policy).await),
                answers::maybe_role(&real.read_role(of_real, name, *with_policy).await),
            ),
            Act::Canary(act) => self.perform_canary(act).await,
            Act::Job(act) => self.perform_job(act).await,
            Act::Connection(act) => self.perform_connection(act).await,
            Act::Observe(read_set) => (
                answers::observed(&simulated.observe(of_simulated, read_set).await),
                answers::observed(&real.observe(of_real, read_set).await),
            ),
            Act::ObserveForDeletion(read_set) => (
                answers::observed_for_deletion(&simulated.observe_for_deletion(of_simulated, read_set).await),
                answers::observed_for_deletion(&real.observe_for_deletion(of_real, read_set).await),
            ),
            Act::Outside(outside) => {
                let done = self.act_outside(outside).await;
                (json!(done.0), json!(done.1))
            }
        }
    }

    fn past_proxy(&self, bucket: &str) -> (aws_sdk_s3::Client, &'static str, &str) {
        let (region, owner) = self.names.home_of(bucket);
        (Clients::new(&self.endpoint, owner).s3(region), region, owner)
    }

    async fn create_bucket(&self, bucket: &str) -> Result<()> {
        let (s3, region, owner) = self.past_proxy(bucket);
        let location = BucketLocationConstraint::from(region);
        let location = CreateBucketConfiguration::builder().location_constraint(location).build();
        let location = (region != HOME).then_some(location);
        s3.create_bucket().bucket(bucket).set_create_bucket_configuration(location).send().await?;
        self.simulated.with(|world| world.create_bucket(bucket, region, owner));
        Ok(())
    }

    /// Performs an act of someone else. Returns whether it was possible, in each.
    async fn act_outside(&self, outside: &Outside) -> (bool, bool) {
        match outside {
            // Through the proxy: the emulator would suspend the versioning of a bucket that replicates.
            Outside::SuspendVersioning(bucket) => {
                let possible = self.simulated.with(|world| {
                    let versioned = world.buckets.get(bucket).map(|held| held.versioning);
                    versioned.is_some() && world.suspend_versioning(bucket).is_ok()
                });
                let (region, owner) = self.names.home_of(bucket);
                let suspended =
                    VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
                let s3 = Clients::new(&self.proxy.url(), owner).s3(region);
                let request = s3.put_bucket_versioning().bucket(bucket).versioning_configuration(suspended);
                (possible, request.send().await.is_ok())
            }
            Outside::DeleteBucket(bucket) => {
                let gone = self.simulated.with(|world| world.delete_bucket(bucket).is_ok());
                let (s3, ..) = self.past_proxy(bucket);
                let really = s3.delete_bucket().bucket(bucket).send().await.is_ok();
                self.proxy.clear();
                (gone, really)
            }
            Outside::CreateBucket(bucket) => {
                let there = self.simulated.with(|world| world.buckets.contains_key(bucket));
                (!there, !there && self.create_bucket(bucket).await.is_ok())
            }
            Outside::AddPolicyToRole(role) => {
                let here = &self.names.here;
                let there = self.simulated.with(|world| {
                    let held = world.role_mut(here, role)?;
                    if !held.other_policies.iter().any(|policy| policy == "theirs") {
                        held.other_policies.push("theirs".to_owned());
                    }
                    Some(())
                });
                let iam = Clients::new(&self.endpoint, here).iam();
                let put = iam.put_role_policy().role_name(role).policy_name("theirs");
                let put = put.policy_document(THEIRS);
                (there.is_some(), put.send().await.is_ok())
            }
            Outside::RemovePolicyFromRole(role) => {
                let here = &self.names.here;
                let there = self.simulated.with(|world| {
                    let held = world.role_mut(here, role)?;
                    let before = held.other_policies.len();
                    held.other_policies.retain(|policy| policy != "theirs");
                    (held.other_policies.len() < before).then_some(())
                });
                let iam = Clients::new(&self.endpoint, here).iam();
                let delete = iam.delete_role_policy().role_name(role).policy_name("theirs");
                (there.is_some(), delete.send().await.is_ok())
            }
            Outside::EnableObjectLock => {
                let bucket = &self.names.orders;
                let versioned = self.simulated.with(|world| {
                    let held = world.buckets.get_mut(bucket)?;
                    let versioned = held.versioning == crate::replication::VersioningStatus::Enabled;
                    held.object_lock |= versioned;
                    versioned.then_some(())
                });
                let lock = ObjectLockConfiguration::builder()
                    .object_lock_enabled(ObjectLockEnabled::Enabled)
                    .build();
                let (s3, ..) = self.past_proxy(bucket);
                let put = s3.put_object_lock_configuration().bucket(bucket).object_lock_configuration(lock);
                (versioned.is_some(), put.send().await.is_ok())
            }
            Outside::DisableKey => {
                let key = &self.names.key;
                self.simulated.with(|world| world.keys.insert(key.clone(), "Disabled".to_owned()));
                let kms = Clients::new(&self.endpoint, &self.names.here).kms(AWAY);
                (true, kms.disable_key().key_id(key).send().await.is_ok())
            }
        }
    }

    /// The ARN of the role that a step deletes.
    async fn role_to_delete(&self, step: &Step) -> Option<String> {
        let Step::DeleteRole { role } = step else { return None };
        let iam = Clients::new(&self.endpoint, &self.names.here).iam();
        Some(iam.get_role().role_name(role).send().await.ok()?.role?.arn)
    }

    /// Does what S3 does and the emulator does not: in bucket policies, the ARN of a role that was deleted becomes its
    /// unique id
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-bucket-user-policy-specifying-principal-intro.html>,
    /// <https://repost.aws/knowledge-center/iam-resource-policy-format>). Everything else in the emulator stays as it
    /// is.
    async fn show_deleted_principal(&self, arn: &str) {
        for bucket in [&self.names.orders, &self.names.copies, &self.names.replicas] {
            let (s3, ..) = self.past_proxy(bucket);
            // A bucket that is gone has no policy.
            let Ok(held) = s3.get_bucket_policy().bucket(bucket).send().await else { continue };
            let held: Value = serde_json::from_str(held.policy().unwrap_or_default()).unwrap();
            let shown = with_deleted_principal(&held, arn);
            if shown != held {
                s3.put_bucket_policy().bucket(bucket).policy(shown.to_string()).send().await.unwrap();
            }
        }
    }

    pub(super) async fn create_operator_role(&self) -> Result<()> {
        create_operator_role(&self.endpoint, &self.names).await
    }

    pub(super) async fn delete_operator_role(&self) -> Result<()> {
        let iam = Clients::new(&self.endpoint, &self.names.there).iam();
        iam.delete_role().role_name("operator").send().await?;
        Ok(())
    }
}

/// A policy with the id of a deleted role in place of its ARN, wherever a statement names it as a principal.
fn with_deleted_principal(policy: &Value, arn: &str) -> Value {
    let mut shown = policy.clone();
    let replace = |name: &mut Value| {
        if name == arn {
            *name = json!(DEAD_PRINCIPAL);
        }
    };
    for statement in shown["Statement"].as_array_mut().into_iter().flatten() {
        match statement.pointer_mut("/Principal/AWS") {
            Some(Value::Array(names)) => names.iter_mut().for_each(replace),
            Some(name) => replace(name),
            None => {}
        }
    }
    shown
}

/// Makes the role in the second account that the operator assumes.
async fn create_operator_role(endpoint: &str, Names { here, there, .. }: &Names) -> Result<()> {
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{here}:root")}, "Action": "sts:AssumeRole"}]});
    let iam = Clients::new(endpoint, there).iam();
    iam.create_role().role_name("operator").assume_role_policy_document(trust.to_string()).send().await?;
    Ok(())
}

/// The resource for which everything is done.
pub fn id() -> ResourceId {
    ResourceId {
        cluster: Some("cluster".to_owned()),
        former_clusters: Vec::new(),
        namespace: "data".to_owned(),
        name: "orders".to_owned(),
        uid: Some("uid".to_owned()),
    }
}

fn accounts_with(there: &str) -> Accounts {
    let role = AssumeRole { arn: format!("arn:aws:iam::{there}:role/operator"), ..AssumeRole::default() };
    let spec =
        AwsAccountSpec { account_id: there.to_owned(), assume_role: Some(role), ..AwsAccountSpec::default() };
    let account = Account { name: THERE.to_owned(), spec };
    Accounts { source: None, destinations: BTreeMap::from([(THERE.to_owned(), account)]) }
}

/// A connector as the root of an account, on an endpoint. One attempt: a fault would be hidden by more.
pub fn connector(endpoint: &str, account: &str) -> AwsConnector {
    let credentials = Credentials::new(account, rig::emulator::SECRET, None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(HOME))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .identity_cache(IdentityCache::no_cache())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        .build();
    let many = NonZeroU32::MAX;
    let rates = Rates { s3_reads: many, s3_writes: many, iam_reads: many, iam_writes: many };
    let settings = CallSettings { rates, attempt_timeout: Duration::from_secs(30), attempts: 1 };
    AwsConnector::new(config, Environment::default(), settings, AwsMetrics::default())
}
