//! AWS as data: accounts with roles, and buckets with their versioning, configuration and policy.
//!
//! In: reads and changes, each as an account. Out: the state after them, or the failure that AWS answers with. Steps of
//! a plan are executed in `steps.rs`. Codes and words are those of S3 and IAM
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>,
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::iam::Partition;
use crate::iam::arn::{account_of_arn, role_of_arn};
use crate::replication::health::metrics::Series;
use crate::replication::observed::Read;
use crate::replication::{
    BucketAddress, Configuration, Failure, FailureClass, ObservedKey, ObservedRole, Versioning,
    VersioningStatus,
};
use crate::simulation::jobs::Jobs;
use crate::simulation::objects::Objects;

/// All of AWS, as far as replication touches it.
#[derive(Clone, Debug, Serialize)]
pub struct World {
    /// The id of the account of the operator's own identity.
    pub own_account: String,
    /// By account id and lowercase name: IAM's names are unique without regard to case.
    pub roles: BTreeMap<(String, String), SimulatedRole>,
    /// By name, which is unique among all accounts.
    pub buckets: BTreeMap<String, SimulatedBucket>,
    /// The state of KMS keys, by ARN: `Enabled`, `Disabled`, `PendingDeletion`.
    pub keys: BTreeMap<String, String>,
    /// The policies of keys that have another one than KMS gives a new key.
    #[serde(skip)]
    pub key_policies: BTreeMap<String, Value>,
    /// The points of metrics, by account id and Region.
    #[serde(skip)]
    pub metrics: BTreeMap<(String, String), BTreeMap<Series, BTreeMap<Timestamp, f64>>>,
    /// Accounts in which the operator may assume its role.
    pub trusting_accounts: Vec<String>,
    /// S3 Batch Operations.
    pub jobs: Jobs,
    /// The reads that are denied to the operator: the action, and the bucket or role.
    #[serde(skip)]
    pub denied_reads: BTreeSet<(&'static str, String)>,
    /// Reads that fail otherwise: the action, and the bucket, role or key.
    #[serde(skip)]
    pub failing_reads: BTreeMap<(&'static str, String), FailureClass>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SimulatedBucket {
    pub account_id: String,
    pub region: String,
    #[serde(serialize_with = "versioning_text")]
    pub versioning: VersioningStatus,
    pub mfa_delete: bool,
    pub object_lock: bool,
    pub configuration: Option<Configuration>,
    pub policy: Option<Value>,
    pub objects: Objects,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulatedRole {
    pub arn: String,
    pub name: String,
    pub path: String,
    pub trust: Value,
    pub permissions_boundary: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// The operator's inline policy.
    pub policy: Option<Value>,
    /// Policies that someone else put on the role.
    pub other_policies: Vec<String>,
}

fn versioning_text<S: Serializer>(status: &VersioningStatus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

impl World {
    /// An empty AWS.
    pub fn new(own_account: &str) -> World {
        World {
            own_account: own_account.to_owned(),
            roles: BTreeMap::new(),
            buckets: BTreeMap::new(),
            keys: BTreeMap::new(),
            key_policies: BTreeMap::new(),
            metrics: BTreeMap::new(),
            trusting_accounts: Vec::new(),
            jobs: Jobs::default(),
            denied_reads: BTreeSet::new(),
            failing_reads: BTreeMap::new(),
        }
    }

    /// Makes an unversioned bucket.
    pub fn create_bucket(&mut self, name: &str, region: &str, account_id: &str) {
        let bucket = SimulatedBucket {
            account_id: account_id.to_owned(),
            region: region.to_owned(),
            versioning: VersioningStatus::Disabled,
            mfa_delete: false,
            object_lock: false,
            configuration: None,
            policy: None,
            objects: Objects::default(),
        };
        self.buckets.insert(name.to_owned(), bucket);
    }

    /// The state as text: equal states have equal texts.
    pub fn canonical(&self) -> String {
        let roles: BTreeMap<String, &SimulatedRole> =
            self.roles.iter().map(|((account, name), role)| (format!("{account}/{name}"), role)).collect();
        // Metrics decide no write to AWS, so that states that differ by them alone are explored once.
        let World {
            own_account,
            roles: _,
            buckets,
            keys,
            metrics: _,
            trusting_accounts,
            jobs,
            denied_reads: _,
            failing_reads: _,
            key_policies: _,
        } = self;
        serde_json::to_string(&(own_account, roles, buckets, keys, trusting_accounts, jobs))
            .unwrap_or_default()
    }

    pub fn role(&self, account_id: &str, name: &str) -> Option<&SimulatedRole> {
        self.roles.get(&key(account_id, name))
    }

    pub fn role_mut(&mut self, account_id: &str, name: &str) -> Option<&mut SimulatedRole> {
        self.roles.get_mut(&key(account_id, name))
    }

    /// The role with exactly this ARN, its path included.
    pub fn role_by_arn(&self, arn: &str) -> Option<&SimulatedRole> {
        self.role(account_of_arn(arn)?, role_of_arn(arn)).filter(|role| role.arn == arn)
    }

    /// Deletes a bucket, as its owner may: all versions in it have to be deleted before
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>).
    ///
    /// # Errors
    /// What S3 answers.
    pub fn delete_bucket(&mut self, name: &str) -> Read<()> {
        let action = "s3:DeleteBucket";
        let Some(bucket) = self.buckets.get(name) else {
            let code = ("NoSuchBucket", "The specified bucket does not exist");
            return Err(fail(FailureClass::NoSuchBucket, action, name, code));
        };
        if !bucket.objects.versions.is_empty() {
            let code = ("BucketNotEmpty", "The bucket you tried to delete is not empty");
            return Err(fail(FailureClass::Conflict, action, name, code));
        }
        self.buckets.remove(name);
        Ok(())
    }

    /// A bucket, as one account asks for it under the owner and the Region that the request names.
    pub(super) fn bucket(
        &self,
        caller: &str,
        address: &BucketAddress,
        action: &'static str,
    ) -> Read<&SimulatedBucket> {
        let name = &address.name;
        let Some(bucket) = self.buckets.get(name) else {
            return Err(fail(
                FailureClass::NoSuchBucket,
                action,
                name,
                ("NoSuchBucket", "The specified bucket does not exist"),
            ));
        };
        if bucket.account_id != caller || bucket.account_id != address.account_id {
            return Err(access_denied(action, name));
        }
        if bucket.region != address.region {
            let detail = format!("the bucket is in {}", bucket.region);
            return Err(fail(FailureClass::WrongRegion, action, name, ("PermanentRedirect", &detail)));
        }
        Ok(bucket)
    }

    pub(super) fn bucket_mut(
        &mut self,
        caller: &str,
        address: &BucketAddress,
        action: &'static str,
    ) -> Read<&mut SimulatedBucket> {
        self.bucket(caller, address, action)?;
        self.buckets.get_mut(&address.name).ok_or_else(|| access_denied(action, &address.name))
    }

    pub(super) fn existing_role(
        &mut self,
        account_id: &str,
        name: &str,
        action: &'static str,
    ) -> Read<&mut SimulatedRole> {
        let detail = format!("The role with name {name} cannot be found.");
        let missing = || fail(FailureClass::NoSuchRole, action, name, ("NoSuchEntity", &detail));
        self.roles.get_mut(&key(account_id, name)).ok_or_else(missing)
    }

    /// Suspends versioning, as its owner may: not of a bucket that replicates
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-and-other-bucket-configs.html>) or has Object
    /// Lock (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html>).
    ///
    /// # Errors
    /// `InvalidBucketState`, which S3 documents as "not valid with the current state of the bucket"
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>). The words are those of public reports
    /// (<https://github.com/nozaq/terraform-aws-remote-state-s3-backend/issues/59>,
    /// <https://github.com/versity/versitygw/issues/838>).
    pub fn suspend_versioning(&mut self, name: &str) -> Read<()> {
        let Some(bucket) = self.buckets.get_mut(name) else { return Ok(()) };
        let reason = match bucket {
            SimulatedBucket { configuration: Some(_), .. } => Some(
                "A replication configuration is present on this bucket, so you cannot change the versioning state. To change the versioning state, first delete the replication configuration.",
            ),
            SimulatedBucket { object_lock: true, .. } => Some(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            ),
            _ => None,
        };
        if let Some(detail) = reason {
            return Err(fail(
                FailureClass::Invalid,
                "s3:PutBucketVersioning",
                name,
                ("InvalidBucketState", detail),
            ));
        }
        bucket.versioning = VersioningStatus::Suspended;
        Ok(())
    }

    /// The policy of a bucket, as an account reads it.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn bucket_policy(&self, caller: &str, address: &BucketAddress) -> Read<Option<Value>> {
        let action = "s3:GetBucketPolicy";
        let held = self.bucket(caller, address, action)?;
        self.require_readable(action, &address.name)?;
        Ok(held.policy.clone())
    }

    /// Whether the operator can read something.
    ///
    /// # Errors
    /// What AWS answers where it cannot.
    pub fn require_readable(&self, action: &'static str, subject: &str) -> Read<()> {
        let read = (action, subject.to_owned());
        if let Some(class) = self.failing_reads.get(&read) {
            return Err(fail(*class, action, subject, ("", &format!("{action} of {subject} fails"))));
        }
        match self.denied_reads.contains(&read) {
            true => Err(access_denied(action, subject)),
            false => Ok(()),
        }
    }

    /// A role as `GetRole` and `GetRolePolicy` show it.
    pub fn observed_role(&self, account_id: &str, name: &str, with_policy: bool) -> Option<ObservedRole> {
        let role = self.role(account_id, name)?;
        Some(ObservedRole {
            arn: role.arn.clone(),
            name: role.name.clone(),
            path: role.path.clone(),
            trust: role.trust.clone(),
            permissions_boundary: role.permissions_boundary.clone(),
            tags: role.tags.clone(),
            policy: match with_policy {
                true => self.require_readable("iam:GetRolePolicy", name).map(|()| role.policy.clone()),
                false => Ok(None),
            },
            other_policies: Vec::new(),
        })
    }

    /// The policy of a key as `GetKeyPolicy` shows it.
    pub fn key_policy(&self, arn: &str) -> Option<Value> {
        let account = account_of_arn(arn).unwrap_or_default();
        let root = format!("arn:aws:iam::{account}:root");
        self.keys.get(arn)?;
        let of_new_key = || {
            json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}]})
        };
        Some(self.key_policies.get(arn).cloned().unwrap_or_else(of_new_key))
    }

    /// A key as `DescribeKey` shows it.
    pub fn observed_key(&self, arn: &str) -> Option<ObservedKey> {
        self.keys.get(arn).map(|state| ObservedKey {
            state: state.clone(),
            aws_managed: false,
            unusable_spec: None,
        })
    }
}

impl SimulatedBucket {
    pub fn observed_versioning(&self) -> Versioning {
        Versioning { status: self.versioning, mfa_delete: self.mfa_delete }
    }
}

/// The partition of all simulated Regions.
pub fn partition() -> Partition {
    Partition::of_region("us-east-1")
}

pub(super) fn key(account_id: &str, role: &str) -> (String, String) {
    (account_id.to_owned(), role.to_ascii_lowercase())
}

/// A failure with AWS's code and words.
pub fn fail(
    class: FailureClass,
    action: &'static str,
    subject: &str,
    (code, detail): (&str, &str),
) -> Failure {
    Failure { code: code.to_owned(), ..Failure::new(class, action, subject, detail) }
}

pub fn access_denied(action: &'static str, subject: &str) -> Failure {
    fail(FailureClass::Denied, action, subject, ("AccessDenied", "Access Denied"))
}

/// The statements of a policy, which may hold one without a list around it.
pub(super) fn statements(policy: Option<&Value>) -> Vec<&Value> {
    match policy.and_then(|policy| policy.get("Statement")) {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

/// The AWS principals that a policy names.
pub(super) fn principals(policy: Option<&Value>) -> Vec<String> {
    let named = statements(policy).into_iter().filter_map(|s| match s.get("Principal")? {
        Value::Object(kinds) => kinds.get("AWS"),
        any => Some(any),
    });
    let each = named.flat_map(|named| match named {
        Value::Array(many) => many.iter().collect(),
        one => vec![one],
    });
    each.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::replication::health::canary::{CanaryObject, VersionAt, WrittenCanary};
    use crate::replication::{RoleDocuments, Step};

    const HERE: &str = "111122223333";

    pub fn world_with_buckets() -> World {
        let mut world = World::new(HERE);
        world.create_bucket("orders", "us-east-1", HERE);
        world.create_bucket("copies", "eu-west-1", HERE);
        world
    }

    pub fn address(name: &str, region: &str) -> BucketAddress {
        BucketAddress { name: name.into(), region: region.into(), account_id: HERE.into(), account_ref: None }
    }

    pub fn code(result: Read<()>) -> String {
        result.unwrap_err().code
    }

    pub fn create(role: &str) -> Step {
        let documents = RoleDocuments {
            path: "/s3-replication/".into(),
            trust: "{}".into(),
            permissions_boundary: None,
            tags: BTreeMap::new(),
            description: String::new(),
        };
        Step::CreateRole { role: role.into(), documents }
    }

    #[test]
    fn equal_states_have_equal_texts() {
        let (mut one, other) = (world_with_buckets(), world_with_buckets());
        assert_eq!(one.canonical(), other.canonical());
        one.execute(HERE, &create("orders")).unwrap();
        assert_ne!(one.canonical(), other.canonical());
        one.execute(HERE, &Step::DeleteRole { role: "orders".into() }).unwrap();
        assert_eq!(one.canonical(), other.canonical());
    }

    #[test]
    fn versioning_is_not_suspended_where_objects_replicate_or_are_locked_and_a_bucket_with_versions_stays() {
        let mut world = world_with_buckets();
        let orders = || address("orders", "us-east-1");
        world.execute(HERE, &Step::EnableVersioning { bucket: orders() }).unwrap();
        let bucket = world.buckets.get_mut("orders").unwrap();
        bucket.object_lock = true;
        assert_eq!(code(world.suspend_versioning("orders")), "InvalidBucketState");
        let bucket = world.buckets.get_mut("orders").unwrap();
        bucket.object_lock = false;
        bucket.configuration = Some(Configuration { role: String::new(), rules: BTreeMap::new() });
        assert_eq!(code(world.suspend_versioning("orders")), "InvalidBucketState");
        let canary = CanaryObject { bucket: orders(), key: "canary".into(), tags: BTreeMap::new() };
        let WrittenCanary { version, .. } = world.put_object(HERE, &canary).unwrap();
        assert_eq!(code(world.delete_bucket("orders")), "BucketNotEmpty");
        world.delete_version(HERE, &VersionAt { bucket: orders(), key: "canary".into(), version }).unwrap();
        world.delete_bucket("orders").unwrap();
        assert_eq!(code(world.delete_bucket("orders")), "NoSuchBucket");
    }
}
