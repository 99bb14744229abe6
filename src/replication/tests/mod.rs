//! Tests of the domain as data in, data out.

mod model;
mod plans;
mod properties;
mod reports;

use super::desired::Facts;
use super::plan::plan;
use super::{Caller, Desired, Identity, Observed, Partition, Plan, Situation};
use crate::api::{AdoptionPolicy, BucketReplicationSpec, ManagementPolicy};

/// A resource and all that is known of AWS about it: enough to plan.
#[derive(Clone, Debug)]
struct Case {
    spec: BucketReplicationSpec,
    identity: Identity,
    observed: Observed,
    applied_hash: Option<String>,
}

impl Case {
    fn desired(&self) -> Desired {
        desired(&self.spec, &self.observed)
    }

    fn with_situation<T>(&self, act: impl FnOnce(&Situation<'_>) -> T) -> T {
        let desired = self.desired();
        act(&Situation {
            desired: &desired,
            observed: &self.observed,
            identity: &self.identity,
            management: self.spec.management_policy,
            adoption: self.spec.adoption_policy,
            applied_hash: self.applied_hash.as_deref(),
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

fn identity() -> Identity {
    Identity {
        cluster: Some("cluster-uid".into()),
        namespace: "data".into(),
        name: "orders".into(),
        uid: Some("resource-uid".into()),
    }
}

fn caller() -> Caller {
    Caller { account: "111122223333".into(), partition: Partition::Aws }
}

fn desired(spec: &BucketReplicationSpec, observed: &Observed) -> Desired {
    let regions = observed
        .destinations
        .iter()
        .map(|(name, bucket)| (name.clone(), bucket))
        .chain([(spec.source.bucket.clone(), &observed.source)])
        .filter_map(|(name, bucket)| Some((name, observed.region_of(bucket)?)))
        .collect();
    Desired::new(spec, &identity(), &Facts { caller: observed.caller.clone(), regions })
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
