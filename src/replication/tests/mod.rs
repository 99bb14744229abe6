//! Tests of the domain as data in, data out.

mod deletions;
mod former_writes;
mod inventory;
mod model;
mod plans;
mod properties;
mod reports;
mod tenancy;
mod transitions;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{AdoptionPolicy, BucketReplicationSpec, BucketReplicationStatus, ManagementPolicy};
use crate::iam::Partition;
use crate::replication::plan::plan;
use crate::replication::{
    Accounts, Caller, Desired, Observed, ObservedBucket, Plan, PlanInput, ReadSet, Replication, ResourceId,
};

/// A resource and all that is known of AWS about it: enough to plan.
#[derive(Clone, Debug)]
struct Case {
    spec: BucketReplicationSpec,
    status: BucketReplicationStatus,
    id: ResourceId,
    observed: Observed,
    accounts: Accounts,
}

impl Case {
    /// A resource that refers to no account.
    fn new(spec: BucketReplicationSpec, observed: Observed) -> Case {
        Case {
            spec,
            status: BucketReplicationStatus::default(),
            id: id(),
            observed,
            accounts: Accounts::default(),
        }
    }

    fn replication(&self) -> Replication<'_> {
        let Case { spec, status, id, accounts, .. } = self;
        Replication { spec, status, id, accounts }
    }

    fn desired(&self) -> Desired {
        desired(&self.replication(), &self.observed)
    }

    fn with_input<T>(&self, act: impl FnOnce(&PlanInput<'_>) -> T) -> T {
        let replication = self.replication();
        let read_set = ReadSet::of(&replication, false);
        act(&PlanInput::new(&replication, &read_set, &self.observed, &self.desired()))
    }

    fn plan(&self) -> Plan {
        self.with_input(plan)
    }

    fn management(mut self, management: ManagementPolicy) -> Case {
        self.spec.management_policy = management;
        self
    }

    fn adoption(mut self, adoption: AdoptionPolicy) -> Case {
        self.spec.adoption_policy = adoption;
        self
    }

    /// As if another spec had been fully applied before, with the same role.
    fn changed(mut self) -> Case {
        self.status.applied_hash = Some("of the former spec".to_owned());
        self.status.applied_role = Some(self.desired().role.arn(&caller()));
        self
    }

    /// As if the spec had been fully applied before.
    fn applied(mut self) -> Case {
        self.status.applied_hash = Some(self.desired().hash());
        self
    }
}

fn id() -> ResourceId {
    ResourceId {
        cluster: Some("cluster-uid".into()),
        former_clusters: Vec::new(),
        namespace: "data".into(),
        name: "orders".into(),
        uid: Some("resource-uid".into()),
    }
}

fn caller() -> Caller {
    Caller { account: "111122223333".into(), partition: Partition::AWS }
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
        unknown_elements: BTreeSet::new(),
        object_lock: Ok(Some(false)),
        unreached: BTreeMap::new(),
    }
}

fn desired(replication: &Replication<'_>, observed: &Observed) -> Desired {
    Desired::new(replication, &ReadSet::of(replication, false).discovered(observed))
}

fn spec(yaml: &str) -> BucketReplicationSpec {
    serde_saphyr::from_str(yaml).unwrap()
}

/// The example every page begins with.
fn quickstart() -> BucketReplicationSpec {
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
