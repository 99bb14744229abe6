//! Tests of the domain as data in, data out.

mod model;
mod plans;
mod properties;
mod reports;
mod tenancy;

use std::collections::BTreeMap;

use crate::api::{AdoptionPolicy, BucketReplicationSpec, ManagementPolicy};
use crate::iam::Partition;
use crate::replication::desired::Discovered;
use crate::replication::plan::plan;
use crate::replication::{
    Accounts, BucketRef, Caller, Desired, Observed, ObservedBucket, Plan, PlanInput, ResourceId,
};

/// A resource and all that is known of AWS about it: enough to plan.
#[derive(Clone, Debug)]
struct Case {
    spec: BucketReplicationSpec,
    identity: ResourceId,
    observed: Observed,
    applied_hash: Option<String>,
    accounts: Accounts,
    former_destinations: Vec<BucketRef>,
}

impl Case {
    /// Of a resource that refers to no account.
    fn new(spec: BucketReplicationSpec, observed: Observed) -> Case {
        let (accounts, former_destinations) = Default::default();
        Case { spec, identity: identity(), observed, applied_hash: None, accounts, former_destinations }
    }

    fn desired(&self) -> Desired {
        desired(&self.spec, &self.observed, &self.accounts)
    }

    fn with_situation<T>(&self, act: impl FnOnce(&PlanInput<'_>) -> T) -> T {
        let desired = self.desired();
        act(&PlanInput {
            desired: &desired,
            observed: &self.observed,
            identity: &self.identity,
            management: self.spec.management_policy,
            adoption: self.spec.adoption_policy,
            applied_hash: self.applied_hash.as_deref(),
            account: self.accounts.source.as_ref(),
            former_destinations: &self.former_destinations,
        })
    }

    fn plan(&self) -> Plan {
        self.with_situation(plan)
    }

    fn management(mut self, management: ManagementPolicy) -> Case {
        self.spec.management_policy = management;
        self
    }

    fn adoption(mut self, adoption: AdoptionPolicy) -> Case {
        self.spec.adoption_policy = adoption;
        self
    }

    /// As if the spec had been fully applied before.
    fn applied(mut self) -> Case {
        self.applied_hash = Some(self.desired().hash());
        self
    }
}

fn identity() -> ResourceId {
    ResourceId {
        cluster: Some("cluster-uid".into()),
        namespace: "data".into(),
        name: "orders".into(),
        uid: Some("resource-uid".into()),
    }
}

fn caller() -> Caller {
    Caller { account: "111122223333".into(), partition: Partition::Aws }
}

/// Two buckets that answer, and nothing else.
fn nothing_but(source: ObservedBucket, destinations: BTreeMap<String, ObservedBucket>) -> Observed {
    Observed {
        caller: caller(),
        source,
        destinations,
        configuration: Ok(None),
        role: Ok(None),
        former_roles: BTreeMap::new(),
        bucket_policies: BTreeMap::new(),
        keys: BTreeMap::new(),
        object_lock: false,
    }
}

fn desired(spec: &BucketReplicationSpec, observed: &Observed, accounts: &Accounts) -> Desired {
    let regions = observed
        .destinations
        .iter()
        .map(|(name, bucket)| (name.clone(), bucket))
        .chain([(spec.source.bucket.clone(), &observed.source)])
        .filter_map(|(name, bucket)| Some((name, observed.region_of(bucket)?)))
        .collect();
    let object_lock = observed.object_lock;
    Desired::new(
        spec,
        &identity(),
        &Discovered { caller: observed.caller.clone(), regions, accounts, object_lock },
    )
}

fn spec(yaml: &str) -> BucketReplicationSpec {
    serde_saphyr::from_str(yaml).unwrap()
}

/// The example every page begins with.
fn founding() -> BucketReplicationSpec {
    spec(
        r#"
source: {bucket: source-bucket-us-east-1}
role: {name: s3-replication-role}
rules:
  - id: ReplicateToEU
    priority: 1
    filter: {prefix: ""}
    destination: {bucket: dest-bucket-eu-west-1, storageClass: STANDARD}
"#,
    )
}
