//! All `BucketReplication`, `AwsAccount` and `ReplicationBackfill` resources as the watches last saw them.
//!
//! In: changes, from the watches or by hand. Out: which resources name this source bucket or this account, the object
//! of a key, an account by name. Each answer costs as much as it is long; nothing scans all resources.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};

use crate::api::{ConditionType, DEFAULT_ACCOUNT, Namespaces, ObjectReplicationStatus};
use crate::controllers::status_summary::StatusSummary;
use crate::controllers::{Guarded, GuardedAwsAccount, GuardedBackfill};
use crate::mutants::{Mutant, is_on};
use crate::replication::authorize::accounts::{references, shows_account, unreadable};
use crate::replication::events::Lookup;
use crate::replication::health::RetriedFailures;
use crate::replication::{Account, Refusal};
use crate::runtime::packing::Packing;
use crate::runtime::store::{Change, Keeping, Key, Store};

/// The longest that `AwsAccount` resources are relied on while their watch only fails.
const MAX_UNSEEN: Duration = Duration::from_secs(60);

/// A key by which a `BucketReplication` is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReplicationKey {
    /// The source bucket.
    Source(String),
    /// An `AwsAccount` that the spec refers to, the default one included.
    Account(String),
    /// A bucket, role or key that events may name.
    Event(Lookup),
}

pub type Replications = Store<Guarded, ReplicationKey, StatusSummary>;
pub type AwsAccounts = Store<GuardedAwsAccount>;
/// By the key of the replication that a backfill refers to.
pub type Backfills = Store<GuardedBackfill, Key>;

/// All kinds. The watches write to the stores; controllers only read.
#[derive(Debug)]
pub struct Index {
    pub replications: Arc<Replications>,
    pub accounts: Arc<AwsAccounts>,
    pub backfills: Arc<Backfills>,
    /// The namespaces that are watched; empty for all.
    namespaces: Vec<String>,
    /// An `AwsAccount` for one of these namespaces exists, or once existed.
    seen_accounts: AtomicBool,
}

impl Index {
    /// An empty index. `namespaces`: those that are watched; empty for all. `packing`: how it keeps resources; absent: as
    /// they are.
    pub fn new(namespaces: &[String], packing: Option<Packing<Guarded>>) -> Index {
        Index::by(namespaces, packing, replication_keys)
    }

    /// An empty index that also finds resources by what events name. Without a queue that would take memory for
    /// nothing.
    pub fn with_events(namespaces: &[String], packing: Option<Packing<Guarded>>) -> Index {
        Index::by(namespaces, packing, |object| {
            let resource = object.0.as_ref().ok();
            let lookups = resource.map(|r| Lookup::of_resource(&r.spec, r.status.as_ref()));
            let lookups = lookups.into_iter().flatten().map(ReplicationKey::Event);
            replication_keys(object).into_iter().chain(lookups).collect()
        })
    }

    fn by(
        namespaces: &[String],
        packing: Option<Packing<Guarded>>,
        keys: fn(&Guarded) -> Vec<ReplicationKey>,
    ) -> Index {
        Index {
            namespaces: namespaces.to_vec(),
            replications: Arc::new(Store::new(Keeping {
                index_by: keys,
                summarize: StatusSummary::of,
                packing,
            })),
            accounts: Arc::new(Store::unindexed()),
            backfills: Arc::new(Store::new(Keeping {
                index_by: backfill_keys,
                summarize: |_| (),
                packing: None,
            })),
            seen_accounts: AtomicBool::new(false),
        }
    }

    /// Holds what another index holds.
    #[cfg(any(test, feature = "simulation"))]
    pub fn copy_from(&self, other: &Index) {
        self.replications.copy_from(&other.replications);
        self.accounts.copy_from(&other.accounts);
        self.backfills.copy_from(&other.backfills);
        self.seen_accounts.store(other.seen_accounts.load(Ordering::Acquire), Ordering::Release);
    }

    /// Takes in a resource, as its watch does.
    pub fn apply(&self, resource: Guarded) -> Vec<Change<Guarded>> {
        let changes = self.replications.apply(resource);
        changes.iter().for_each(|change| self.observe(change));
        changes
    }

    /// Takes in an account, as its watch does.
    pub fn apply_account(&self, account: GuardedAwsAccount) -> Vec<Change<GuardedAwsAccount>> {
        let changes = self.accounts.apply(account);
        changes.iter().for_each(|change| self.observe_account(change));
        changes
    }

    /// Notes whether the status of a changed resource shows that there is an account, or was one. The watch calls it after
    /// the store has the change.
    pub fn observe(&self, change: &Change<Guarded>) {
        let Change::Applied { after, .. } = change else { return };
        if after.0.as_ref().is_ok_and(shows_account) {
            self.seen_accounts.store(true, Ordering::Release);
        }
    }

    /// Notes that there is an account. The watch calls it after the store has the change.
    pub fn observe_account(&self, change: &Change<GuardedAwsAccount>) {
        let (Change::Applied { after: account, .. } | Change::Deleted(account)) = change;
        if self.concerns(account) {
            self.seen_accounts.store(true, Ordering::Release);
        }
    }

    /// Whether an account restricts resources of the watched namespaces: the default one restricts all, and another one
    /// those whose namespace it names. An account that selects namespaces by labels alone, and one that cannot be read,
    /// may be for a watched namespace: labels change, and breaking an account must not allow more than before.
    fn concerns(&self, account: &GuardedAwsAccount) -> bool {
        if self.namespaces.is_empty() || account.name_any() == DEFAULT_ACCOUNT {
            return true;
        }
        let Ok(readable) = &account.0 else { return true };
        let Some(Namespaces { match_names, match_labels }) = &readable.spec.namespaces else { return false };
        match match_names.as_slice() {
            [] => !match_labels.is_empty(),
            names => names.iter().any(|name| self.namespaces.contains(name)),
        }
    }

    /// Whether an `AwsAccount` for the watched namespaces exists, was seen by this process, or allowed or refused something
    /// by what the status of a resource says. Deleting the last account must not allow more than before.
    pub fn has_seen_accounts(&self) -> bool {
        self.seen_accounts.load(Ordering::Acquire) && !is_on(Mutant::AccountsForgotten)
    }

    /// The resource as it is now, unless it is gone or another has its name.
    pub fn current(&self, object: &Guarded) -> Option<Arc<Guarded>> {
        let found = self.replications.get(&Key::of(object.meta()));
        found.filter(|found| found.uid() == object.uid())
    }

    /// The resources whose source is this bucket, oldest first.
    pub fn by_source(&self, bucket: &str) -> Vec<Arc<Guarded>> {
        self.replications.by_index(&ReplicationKey::Source(bucket.to_owned()))
    }

    /// The resources whose source is this bucket, oldest first, up to and with the first for which `last` is true.
    pub fn by_source_until(&self, bucket: &str, last: impl FnMut(&Guarded) -> bool) -> Vec<Arc<Guarded>> {
        self.replications.by_index_until(&ReplicationKey::Source(bucket.to_owned()), last)
    }

    /// The backfills of a replication, oldest first.
    pub fn backfills_of(&self, replication: &Key) -> Vec<Arc<GuardedBackfill>> {
        self.backfills.by_index(replication)
    }

    /// When the last backfill of a replication completed without a failure.
    pub fn backfilled(&self, replication: &Key) -> Option<Timestamp> {
        self.backfills_of(replication).iter().filter_map(|backfill| completed_at(backfill)).max()
    }

    /// The failures that the completed backfills of a replication retried, oldest first.
    pub fn retried_failures(&self, replication: &Key) -> Vec<RetriedFailures> {
        self.backfills_of(replication).iter().filter_map(|backfill| retried_failures_of(backfill)).collect()
    }

    /// The keys of the resources that refer to this `AwsAccount`, oldest first.
    pub fn by_account(&self, account: &str) -> Vec<Key> {
        self.replications.keys_by_index(&ReplicationKey::Account(account.to_owned()))
    }

    /// The resources that an event about this may concern, oldest first.
    pub fn by_event(&self, lookup: Lookup) -> Vec<Arc<Guarded>> {
        self.replications.by_index(&ReplicationKey::Event(lookup))
    }

    /// The keys of the resources that an event about this may concern, oldest first.
    pub fn keys_by_event(&self, lookup: Lookup) -> Vec<Key> {
        self.replications.keys_by_index(&ReplicationKey::Event(lookup))
    }

    /// The keys of the resources that may act in this account: those of its `AwsAccount`s, and while there is no
    /// default one, those that refer to none.
    pub fn by_account_id(&self, account_id: &str) -> BTreeSet<Key> {
        let mut names: Vec<String> =
            self.accounts_of(account_id).into_iter().map(|account| account.name).collect();
        if !self.has_account(DEFAULT_ACCOUNT) {
            names.push(DEFAULT_ACCOUNT.to_owned());
        }
        names.iter().flat_map(|name| self.by_account(name)).collect()
    }

    /// The number of resources that refer to this `AwsAccount`.
    pub fn count_by_account(&self, account: &str) -> usize {
        self.replications.count(&ReplicationKey::Account(account.to_owned()))
    }

    /// Whether the watch of `AwsAccount` resources has only failed for so long that an administrator's change may have
    /// been missed.
    pub fn accounts_are_unseen(&self, now: Instant) -> bool {
        self.accounts.unseen_for(now) > MAX_UNSEEN
    }

    /// Whether there is an `AwsAccount` of this name, readable or not.
    pub fn has_account(&self, name: &str) -> bool {
        self.accounts.contains(&Key::cluster(name))
    }

    /// An `AwsAccount` by its name; `None` when there is none.
    ///
    /// # Errors
    /// A refusal, when the account cannot be decoded: it then allows nothing.
    pub fn account(&self, name: &str) -> Result<Option<Account>, Refusal> {
        match self.accounts.get(&Key::cluster(name)).as_deref() {
            None => Ok(None),
            Some(DeserializeGuard(Ok(account))) => {
                Ok(Some(Account { name: name.to_owned(), spec: account.spec.clone() }))
            }
            Some(DeserializeGuard(Err(invalid))) => Err(unreadable(name, &invalid.error)),
        }
    }
}

impl Index {
    /// The readable `AwsAccount`s for an account, by name.
    pub fn accounts_of(&self, account_id: &str) -> Vec<Account> {
        let account = |object: Arc<GuardedAwsAccount>| {
            let readable = object.0.as_ref().ok().filter(|account| account.spec.account_id == account_id)?;
            Some(Account { name: readable.name_any(), spec: readable.spec.clone() })
        };
        let mut found: Vec<Account> = self.accounts.objects().filter_map(account).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }
}

impl Default for Index {
    fn default() -> Self {
        Index::new(&[], Some(PACKING))
    }
}

/// A resource that cannot be decoded is rare, and has no text to be kept as.
pub(crate) const PACKING: Packing<Guarded> = Packing {
    write: |object| object.0.as_ref().ok().and_then(|resource| serde_json::to_vec(resource).ok()),
    read: |text| serde_json::from_slice(text).ok().map(|resource| DeserializeGuard(Ok(resource))),
    typical: include_bytes!("typical_resource.json"),
};

fn replication_keys(object: &Guarded) -> Vec<ReplicationKey> {
    let Ok(resource) = &object.0 else { return Vec::new() };
    let source = ReplicationKey::Source(resource.spec.source.bucket.clone());
    let accounts =
        references(&resource.spec).into_iter().map(|name| ReplicationKey::Account(name.to_owned()));
    accounts.chain([source]).collect()
}

/// When a backfill completed without a failure, if it did.
pub fn completed_at(object: &GuardedBackfill) -> Option<Timestamp> {
    let status = object.0.as_ref().ok()?.status.as_ref()?;
    let ready = status.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str())?;
    // A later refusal, to delete its role for example, does not change how it ended.
    (ready.status == "True").then(|| status.finished_at.as_ref().map(|time| time.0)).flatten()
}

/// The failures that a backfill retried, if it completed without a failure.
pub fn retried_failures_of(object: &GuardedBackfill) -> Option<RetriedFailures> {
    let completed = completed_at(object)?;
    let backfill = object.0.as_ref().ok()?;
    let spec = &backfill.spec;
    let before = backfill.status.as_ref().and_then(|status| status.created_before.as_ref());
    spec.statuses.contains(&ObjectReplicationStatus::Failed).then(|| RetriedFailures {
        prefixes: spec.prefixes.clone(),
        created_after: spec.created_after.as_ref().map(|after| after.0),
        to: before.map_or(completed, |before| before.0.min(completed)),
    })
}

fn backfill_keys(object: &GuardedBackfill) -> Vec<Key> {
    let Ok(backfill) = &object.0 else { return Vec::new() };
    let namespace = backfill.namespace().unwrap_or_default();
    vec![Key::namespaced(&namespace, &backfill.spec.replication_ref.name)]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::api::BucketReplicationStatus;
    use crate::api::{
        AwsAccount, AwsAccountSpec, BucketPolicyStatus, BucketReplication, BucketReplicationSpec,
        BucketStatus, Source,
    };

    /// A resource for a source bucket under an account, created at a second.
    pub(crate) fn resource(name: &str, bucket: &str, account: Option<&str>, second: i64) -> Guarded {
        let source = Source {
            bucket: bucket.to_owned(),
            account_ref: account.map(str::to_owned),
            ..Source::default()
        };
        let spec = BucketReplicationSpec { source, ..BucketReplicationSpec::default() };
        let mut resource = BucketReplication::new(name, spec);
        resource.metadata.namespace = Some("data".into());
        resource.metadata.uid = Some(format!("uid-of-{name}"));
        resource.metadata.creation_timestamp = jiff::Timestamp::from_second(second)
            .ok()
            .map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        DeserializeGuard(Ok(resource))
    }

    #[test]
    fn among_ten_thousand_resources_an_answer_visits_only_itself() {
        let index = Index::default();
        for n in 0..10_000 {
            let (source, account) = (format!("bucket-{}", n / 2), format!("account-{}", n / 10));
            index.replications.apply(resource(&format!("r{n}"), &source, Some(&account), n));
        }
        let visits = |answer: usize| (answer, index.replications.take_visits());
        visits(0);
        assert_eq!(visits(index.by_source("bucket-7").len()), (2, 2));
        assert_eq!(visits(index.by_account("account-7").len()), (10, 10));
        assert_eq!(visits(index.count_by_account("account-7")), (10, 0));
        assert_eq!(visits(index.by_source_until("bucket-7", |_| true).len()), (1, 1));
        let changed = resource("r70", "bucket-35", Some("account-8"), 70);
        assert_eq!(
            visits(index.replications.apply(changed).len()),
            (1, 0),
            "a watch event visits nothing else"
        );
        assert_eq!(visits(index.by_account("account-7").len()), (9, 9));
        assert_eq!(
            visits(index.replications.remove(&Key::namespaced("data", "r71")).into_iter().count()).0,
            1
        );
        assert_eq!(visits(index.by_source("bucket-35").len()), (1, 1));
    }

    #[test]
    fn events_find_a_resource_by_its_buckets_roles_and_keys_and_by_the_former_ones() {
        let mut replication = resource("a", "orders", Some("prod"), 1);
        if let Ok(resource) = &mut replication.0 {
            resource.spec = serde_json::from_value(serde_json::json!({
                "source": {"bucket": "orders", "accountRef": "prod", "kmsKeyArns": ["arn:aws:kms:us-east-1:1:key/Source"]},
                "role": {"name": "New-Role"},
                "rules": [
                    {"id": "a", "destination": {"bucket": "copies", "kmsKeyArn": "arn:aws:kms:eu-west-1:1:key/target"}},
                    {"id": "b", "destination": {"bucket": "abroad", "accountRef": "dr"}},
                ],
            }))
            .unwrap();
            resource.status = serde_json::from_value(serde_json::json!({
                "source": {"bucket": "orders", "region": "us-east-1", "account": "111122223333"},
                "role": {"arn": "arn:aws:iam::111122223333:role/s3-replication/Orders-Role", "managed": true},
                "formerRoles": ["older-role"],
                "bucketPolicies": [
                    {"bucket": "former", "region": "eu-west-1", "account": "444455556666", "accountRef": "dr"},
                ],
            }))
            .unwrap();
        }
        let index = Index::with_events(&[], Some(PACKING));
        index.apply(replication);
        let found = |lookup: Lookup| index.by_event(lookup).len();
        for lookup in [
            Lookup::bucket("orders"),
            Lookup::bucket("copies"),
            Lookup::bucket("abroad"),
            Lookup::bucket("former"),
            Lookup::bucket_policy("abroad"),
            Lookup::bucket_policy("former"),
            Lookup::role("111122223333", "ORDERS-role"),
            Lookup::role("111122223333", "new-role"),
            Lookup::role("111122223333", "older-role"),
            Lookup::key("arn:aws:kms:us-east-1:1:key/source"),
            Lookup::key("TARGET"),
        ] {
            assert_eq!(found(lookup), 1, "{lookup:?}");
        }
        assert_eq!(found(Lookup::bucket_policy("copies")), 0, "no statement of the operator is in it");
        assert_eq!(found(Lookup::role("444455556666", "orders-role")), 0, "a role of another account");
        index.replications.remove(&Key::namespaced("data", "a"));
        assert_eq!(found(Lookup::bucket("orders")), 0);
    }

    #[test]
    fn an_account_that_was_deleted_and_one_that_only_a_status_names_have_been_seen() {
        let account = || DeserializeGuard(Ok(AwsAccount::new("prod", AwsAccountSpec::default())));
        let (index, by_status) = (Index::default(), Index::default());
        assert!(!index.has_seen_accounts());
        index.apply_account(account());
        index.accounts.remove(&Key::cluster("prod"));
        assert!(index.has_seen_accounts() && !index.has_account("prod"));
        let mut acted = resource("a", "bucket", None, 1);
        if let Ok(resource) = &mut acted.0 {
            let source = BucketStatus { account_ref: Some("prod".into()), ..BucketStatus::default() };
            resource.status = Some(BucketReplicationStatus { source: Some(source), ..Default::default() });
        }
        by_status.apply(acted);
        assert!(by_status.has_seen_accounts());
    }

    /// Whether an index counts an account after it has taken in a resource with this spec whose `Ready` says this.
    fn is_seen_by(spec: serde_json::Value, reason: &str, message: &str) -> bool {
        let object = serde_json::json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": "parked", "namespace": "data", "uid": "u"},
            "spec": spec,
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": reason, "message": message,
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }]},
        });
        let index = Index::default();
        index.apply(serde_json::from_value(object).unwrap());
        index.has_seen_accounts()
    }

    #[test]
    fn an_account_that_refused_a_resource_by_its_status_has_been_seen_and_one_that_a_spec_makes_up_has_not() {
        use serde_json::json;
        let rule = json!([{"id": "all", "destination": {"bucket": "copies"}}]);
        let spec = || json!({"source": {"bucket": "orders"}, "rules": rule});
        let by_default = "namespace data may not use AwsAccount default";
        let broken = unreadable(DEFAULT_ACCOUNT, "spec.accountId: invalid type").message;
        for (reason, message, is_seen) in [
            ("NotAllowed", by_default, true),
            ("NotAllowed", "this operator requires an AwsAccount (--require-account): set it", false),
            ("AccountNotFound", "there is no AwsAccount named default", true),
            ("AccountMismatch", "in the wrong account", true),
            ("InvalidSpec", broken.as_str(), true),
            ("InvalidSpec", "spec.rules: missing", false),
            ("AccessDenied", by_default, false),
        ] {
            assert_eq!(is_seen_by(spec(), reason, message), is_seen, "{reason}: {message}");
            let mut named = spec();
            named["source"]["accountRef"] = json!("made-up");
            assert!(!is_seen_by(named, reason, message), "{reason}: {message}");
            let mut named = spec();
            named["rules"][0]["destination"]["accountRef"] = json!("made-up");
            assert!(!is_seen_by(named, reason, message), "{reason}: {message}");
        }
    }

    #[test]
    fn an_account_that_a_status_names_for_a_destination_alone_has_been_seen() {
        let account_ref = Some("dr".to_owned());
        let destination = BucketStatus { account_ref, ..BucketStatus::default() };
        let policy = BucketPolicyStatus { account_ref: "dr".into(), ..BucketPolicyStatus::default() };
        let statuses = [
            BucketReplicationStatus { destinations: vec![destination], ..Default::default() },
            BucketReplicationStatus { bucket_policies: vec![policy], ..Default::default() },
        ];
        for status in statuses {
            let (index, mut acted) = (Index::default(), resource("a", "bucket", None, 1));
            if let Ok(resource) = &mut acted.0 {
                resource.status = Some(status);
            }
            index.apply(acted);
            assert!(index.has_seen_accounts());
        }
    }

    /// When the backfill of a spec completed, and up to when it retried failures, in seconds.
    fn times(spec: serde_json::Value, status: serde_json::Value) -> (Option<i64>, Option<i64>) {
        let mut object = serde_json::json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "ReplicationBackfill",
            "metadata": {"name": "missed", "namespace": "data", "uid": "u"},
            "spec": {"replicationRef": {"name": "orders"}},
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "Completed", "message": "",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }]},
        });
        for (part, fields) in [("spec", spec), ("status", status)] {
            for (key, value) in fields.as_object().into_iter().flatten() {
                object[part][key] = value.clone();
            }
        }
        let index = Index::default();
        index.backfills.apply(DeserializeGuard(Ok(serde_json::from_value(object).unwrap())));
        let replication = Key::namespaced("data", "orders");
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
        let retried = index.retried_failures(&replication).first().map(|one| one.to);
        (seconds(index.backfilled(&replication)), seconds(retried))
    }

    #[test]
    fn only_a_backfill_of_failed_objects_retries_failures_and_only_those_before_its_objects_were_chosen() {
        use serde_json::json;
        let ended = json!({"createdBefore": "1970-01-01T00:00:10Z", "finishedAt": "1970-01-01T00:01:00Z"});
        assert_eq!(times(json!({}), ended.clone()), (Some(60), Some(10)));
        assert_eq!(times(json!({"statuses": ["Failed"]}), ended.clone()), (Some(60), Some(10)));
        assert_eq!(times(json!({"statuses": ["NotReplicated"]}), ended.clone()), (Some(60), None));
        assert_eq!(times(json!({}), json!({"finishedAt": "1970-01-01T00:01:00Z"})), (Some(60), Some(60)));
        let future = json!({"createdBefore": "1970-01-01T01:00:00Z", "finishedAt": "1970-01-01T00:01:00Z"});
        assert_eq!(times(json!({}), future), (Some(60), Some(60)), "nothing is known of later failures");
        assert_eq!(times(json!({}), json!({"createdBefore": "1970-01-01T00:00:10Z"})), (None, None));
    }

    #[test]
    fn accounts_are_relied_on_for_a_minute_while_their_watch_fails() {
        let (index, start) = (Index::new(&[], Some(PACKING)), Instant::now());
        index.accounts.watch_failed(start);
        index.accounts.watch_failed(start + MAX_UNSEEN);
        assert!(!index.accounts_are_unseen(start + MAX_UNSEEN));
        assert!(index.accounts_are_unseen(start + MAX_UNSEEN + Duration::from_secs(1)));
        index.accounts.watch_works();
        assert!(!index.accounts_are_unseen(start + 10 * MAX_UNSEEN));
    }

    #[test]
    fn an_account_for_other_namespaces_restricts_nobody_here_and_the_default_one_always_does() {
        assert!(!is_seen_in_data("shop", Some(&["shop"]), None));
        assert!(is_seen_in_data("data", Some(&["shop", "data"]), None));
        assert!(is_seen_in_data("default", Some(&["shop"]), None));
    }

    /// Whether an operator of the namespace `data` counts an account for these namespaces.
    fn is_seen_in_data(name: &str, names: Option<&[&str]>, label: Option<&str>) -> bool {
        let namespaces = (names.is_some() || label.is_some()).then(|| Namespaces {
            match_names: names.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect(),
            match_labels: label.map(|key| (key.to_owned(), "yes".to_owned())).into_iter().collect(),
        });
        let spec = AwsAccountSpec { namespaces, ..AwsAccountSpec::default() };
        let index = Index::new(&["data".to_owned()], Some(PACKING));
        index.apply_account(DeserializeGuard(Ok(AwsAccount::new(name, spec))));
        index.has_seen_accounts()
    }

    #[test]
    fn an_account_that_may_be_for_a_watched_namespace_restricts_it() {
        assert!(is_seen_in_data("labelled", None, Some("team")));
        assert!(is_seen_in_data("both", Some(&["data"]), Some("team")));
        assert!(
            !is_seen_in_data("others", Some(&["shop"]), Some("team")),
            "a namespace needs name and labels"
        );
        assert!(!is_seen_in_data("nobody", None, None));
        let index = Index::new(&["data".to_owned()], Some(PACKING));
        let broken = serde_json::from_value(serde_json::json!({
            "apiVersion": "s3replication.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": "broken"}, "spec": {"accountId": 111_122_223_333_i64},
        }));
        index.apply_account(broken.unwrap());
        assert!(index.has_seen_accounts(), "no one can know for which namespaces it was");
    }

    #[test]
    fn a_resource_that_names_no_account_refers_to_the_default_one() {
        let index = Index::default();
        index.replications.apply(resource("a", "bucket", None, 1));
        assert_eq!(index.count_by_account("default"), 1);
    }
}
