//! Acts about canaries, on both implementations.
//!
//! In: an act. Out: the answers of both. Each names versions by ids of its own: an answer names a version by the number
//! of the canary that it is of, or as a replica.

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::aws::tests::answers;
use crate::aws::tests::stage::Stage;
use crate::ports::Cloud;
use crate::replication::health::canary::{
    CanaryObject, HeldVersion, ReplicationStatus, VersionAt, WrittenCanary,
};
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, VersioningStatus};

/// One act. `back`: the canary that was put so many before the last one.
#[derive(Clone, Debug)]
pub enum CanaryAct {
    Facts(BucketAddress, Vec<BucketAddress>),
    Put(CanaryObject),
    ReadStatus {
        back: usize,
    },
    List(BucketAddress, String),
    Delete {
        back: usize,
    },
    /// Every version that is listed, replicas among them.
    DeleteListed(BucketAddress),
}

/// A canary that both have taken.
#[derive(Clone, Debug)]
struct PutCanary {
    object: CanaryObject,
    simulated: String,
    real: String,
}

/// The canaries that were put.
#[derive(Debug, Default)]
pub struct Canaries(Mutex<Vec<PutCanary>>);

impl Canaries {
    fn last(&self, back: usize) -> Option<PutCanary> {
        let all = self.0.lock();
        // Of fewer it is one of those that there are.
        all.iter().rev().cycle().nth(back).cloned()
    }

    /// Versions of a bucket. An id is one of its bucket and its key.
    fn listed(&self, bucket: &str, held: &[HeldVersion], id: fn(&PutCanary) -> &str) -> Value {
        let all = self.0.lock();
        let is = |put: &PutCanary, held: &HeldVersion| {
            put.object.bucket.name == bucket && put.object.key == held.key && id(put) == held.version
        };
        let number = |held: &HeldVersion| all.iter().position(|put| is(put, held));
        let mut listed: Vec<(String, Option<usize>)> =
            held.iter().map(|held| (held.key.clone(), number(held))).collect();
        listed.sort();
        json!(listed)
    }
}

fn at(object: &CanaryObject, version: &str) -> VersionAt {
    VersionAt { bucket: object.bucket.clone(), key: object.key.clone(), version: version.to_owned() }
}

impl Stage {
    pub async fn perform_canary(&self, act: &CanaryAct) -> (Value, Value) {
        let (simulated, real) = (&self.simulated, &self.real);
        let (of_simulated, of_real) = (&self.simulated_clients, &self.real_clients);
        match act {
            CanaryAct::Facts(source, destinations) => (
                answers::facts(&simulated.observe_for_canary(of_simulated, source, destinations).await),
                answers::facts(&real.observe_for_canary(of_real, source, destinations).await),
            ),
            CanaryAct::Put(object) => self.put_canary(object).await,
            CanaryAct::ReadStatus { back } => {
                let Some(PutCanary { object, simulated: one, real: other }) = self.canaries.last(*back)
                else {
                    return (json!("none"), json!("none"));
                };
                let status = simulated.read_replication_status(of_simulated, &at(&object, &one)).await;
                let really = real.read_replication_status(of_real, &at(&object, &other)).await;
                let content =
                    |held: &Option<ReplicationStatus>| json!(held.map(|status| format!("{status:?}")));
                (answers::read(&status, content), answers::read(&really, content))
            }
            CanaryAct::List(bucket, prefix) => {
                let held = simulated.list_versions(of_simulated, bucket, prefix).await;
                let really = real.list_versions(of_real, bucket, prefix).await;
                self.listed(&bucket.name, &held, &really)
            }
            CanaryAct::Delete { back } => {
                let Some(PutCanary { object, simulated: one, real: other }) = self.canaries.last(*back)
                else {
                    return (json!("none"), json!("none"));
                };
                let done = simulated.delete_version(of_simulated, &at(&object, &one)).await;
                let really = real.delete_version(of_real, &at(&object, &other)).await;
                (answers::written(&done), answers::written(&really))
            }
            CanaryAct::DeleteListed(bucket) => self.delete_listed(bucket).await,
        }
    }

    fn listed(
        &self,
        bucket: &str,
        held: &Read<Vec<HeldVersion>>,
        really: &Read<Vec<HeldVersion>>,
    ) -> (Value, Value) {
        (
            answers::read(held, |held| self.canaries.listed(bucket, held, |put| &put.simulated)),
            answers::read(really, |held| self.canaries.listed(bucket, held, |put| &put.real)),
        )
    }

    async fn put_canary(&self, object: &CanaryObject) -> (Value, Value) {
        if self.differs_from_aws(&object.bucket.name) {
            return (json!("not put"), json!("not put"));
        }
        let put = self.simulated.put_canary(&self.simulated_clients, object).await;
        let really = self.real.put_canary(&self.real_clients, object).await;
        if let (Ok(put), Ok(really)) = (&put, &really) {
            // The emulator replicates at once: a pending object comes to its end by two reads.
            for _ in 0..2 {
                let put = at(object, &put.version);
                let _ = self.simulated.read_replication_status(&self.simulated_clients, &put).await;
            }
            let object = object.clone();
            let (simulated, real) = (put.version.clone(), really.version.clone());
            self.canaries.0.lock().push(PutCanary { object, simulated, real });
        }
        let content = |put: &WrittenCanary| json!({"encrypted": put.encrypted});
        (answers::read(&put, content), answers::read(&really, content))
    }

    /// Whether the emulator would do something else with an object than AWS, which the simulated AWS follows.
    ///
    /// S3 gives a version an id where versioning is enabled alone
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-objects-versioned-bucket.html>): the operator
    /// puts canaries nowhere else, and the simulated AWS has versions with ids alone. S3 uses the key of a rule for
    /// objects that are encrypted with a KMS key
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>), the emulator
    /// for every object. From a bucket with Object Lock S3 replicates to buckets with Object Lock alone
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-failure-codes.html>), the emulator to each.
    fn differs_from_aws(&self, bucket: &str) -> bool {
        self.simulated.with(|world| {
            let Some(held) = world.buckets.get(bucket) else { return false };
            let rules = held.configuration.iter().flat_map(|held| held.rules.values());
            let mut keys = rules.filter_map(|rule| rule.destination.kms_key.as_ref());
            let unusable = keys.any(|key| world.keys.get(key).is_none_or(|state| state != "Enabled"));
            held.versioning != VersioningStatus::Enabled || held.object_lock || unusable
        })
    }

    async fn delete_listed(&self, bucket: &BucketAddress) -> (Value, Value) {
        let held = self.simulated.list_versions(&self.simulated_clients, bucket, "").await;
        let really = self.real.list_versions(&self.real_clients, bucket, "").await;
        let (listed, really_listed) = self.listed(&bucket.name, &held, &really);
        let (mut done, mut really_done) = (Vec::new(), Vec::new());
        let version =
            |held: HeldVersion| VersionAt { bucket: bucket.clone(), key: held.key, version: held.version };
        for held in held.into_iter().flatten().map(version) {
            done.push(answers::written(&self.simulated.delete_version(&self.simulated_clients, &held).await));
        }
        for held in really.into_iter().flatten().map(version) {
            really_done.push(answers::written(&self.real.delete_version(&self.real_clients, &held).await));
        }
        (json!([listed, done]), json!([really_listed, really_done]))
    }
}
