//! Remembers answers of AWS about the buckets, the existing roles and the KMS keys of one account.
//!
//! In: the name of a bucket, role or key, and a way to read it. Out: the answer that is remembered while it still
//! serves, else the one that is read now.
//!
//! A bucket's Region is remembered until an answer contradicts it. Versioning and existing roles are remembered for a
//! moment, so that resources that share a destination or a role share its read. Object Lock and the state of keys are
//! remembered for [`STABLE_TTL`]. Answers about a bucket are kept by its name and by the account that it was expected
//! to belong to: S3 judges the owner in each of them. A requested check reads everything but the Region again.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use parking_lot::Mutex;
use tracing::warn;

use crate::replication::observed::Read;
use crate::replication::{FailureClass, ObservedKey, ObservedRole, Versioning};

/// How long a read of versioning or of a role serves other checks.
const SHARED_TTL: Duration = Duration::from_secs(2);

/// How long an answer that hardly ever changes is used. It is not part of every check.
const STABLE_TTL: Duration = Duration::from_secs(60 * 60);

/// How long such a read is not tried again after a denial: less, because someone may be granting the right just now.
const DENIED_TTL: Duration = Duration::from_secs(10 * 60);

/// More buckets or keys than one operator serves at a time; the least used are read again.
const CAPACITY: u64 = 50_000;

/// More buckets than one operator serves. When there are more, the operator locates all of them again.
const LOCATIONS: usize = 200_000;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub region: String,
    pub owner_check: OwnerCheck,
}

/// Whether a bucket belongs to the account that it should belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerCheck {
    /// S3 confirmed it.
    Confirmed,
    /// S3 was not asked yet.
    NotChecked,
    /// S3 was asked, and denied an answer.
    Denied,
}

/// A bucket, and the account id that it is expected to belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketKey {
    name: Box<str>,
    /// An account id has twelve digits.
    account_id: Box<str>,
}

impl BucketKey {
    pub fn new(name: &str, account_id: &str) -> BucketKey {
        BucketKey { name: name.into(), account_id: account_id.into() }
    }
}

/// The locations of all buckets. Twenty thousand of them stay for as long as the operator runs, so that each takes
/// little and has neither an age nor a rank.
#[derive(Debug, Default)]
struct Locations {
    by_bucket: HashMap<BucketKey, (Arc<str>, OwnerCheck)>,
    /// Buckets of a Region share its name.
    regions: HashSet<Arc<str>>,
}

impl Locations {
    fn insert(&mut self, bucket: BucketKey, Location { region, owner_check }: Location) {
        if self.by_bucket.len() >= LOCATIONS {
            *self = Locations::default();
        }
        let region = match self.regions.get(region.as_str()) {
            Some(region) => region.clone(),
            None => {
                let region: Arc<str> = region.into();
                self.regions.insert(region.clone());
                region
            }
        };
        self.by_bucket.insert(bucket, (region, owner_check));
    }
}

/// Answers about buckets.
#[derive(Clone, Debug)]
pub struct Buckets {
    locations: Arc<Mutex<Locations>>,
    versioning: Cache<BucketKey, Read<Versioning>>,
    object_lock: Stable<BucketKey, bool>,
    /// Buckets whose owner S3 refused to confirm not long ago.
    denied_owners: Cache<BucketKey, ()>,
    contradictions: Cache<BucketKey, Contradiction>,
}

/// A Region in which a bucket is not, although it was remembered or named, and the Region that S3 named there.
#[derive(Clone, Debug)]
struct Contradiction {
    wrong: String,
    named: String,
}

impl Buckets {
    pub fn new() -> Buckets {
        Buckets {
            locations: Arc::default(),
            versioning: Cache::builder().max_capacity(CAPACITY).time_to_live(SHARED_TTL).build(),
            object_lock: Stable::new(|_| true),
            denied_owners: Cache::builder().max_capacity(CAPACITY).time_to_live(STABLE_TTL).build(),
            contradictions: Cache::builder().max_capacity(CAPACITY).time_to_live(DENIED_TTL).build(),
        }
    }

    pub fn location(&self, bucket: &BucketKey) -> Option<Location> {
        let locations = self.locations.lock();
        locations
            .by_bucket
            .get(bucket)
            .map(|(region, owner_check)| Location { region: region.to_string(), owner_check: *owner_check })
    }

    pub fn set_location(&self, bucket: BucketKey, location: Location) {
        self.locations.lock().insert(bucket, location);
    }

    /// Forgets a bucket whose Region or owner may have changed.
    pub async fn forget(&self, bucket: &BucketKey) {
        self.locations.lock().by_bucket.remove(bucket);
        self.versioning.invalidate(bucket).await;
        self.object_lock.0.invalidate(bucket).await;
    }

    /// Whether to ask S3 again for the owner of a bucket, after it denied an answer. The right may have been granted
    /// meanwhile. A question at each check would cost a call at each check.
    pub async fn asks_owner_again(&self, bucket: &BucketKey, fresh: bool) -> bool {
        let asks = fresh || !self.denied_owners.contains_key(bucket);
        if asks {
            self.denied_owners.insert(bucket.clone(), ()).await;
        }
        asks
    }

    /// Notes that a bucket is not in a Region, and which Region S3 named there instead.
    pub async fn contradict(&self, bucket: BucketKey, wrong: &str, named: &str) {
        let contradiction = Contradiction { wrong: wrong.to_owned(), named: named.to_owned() };
        self.contradictions.insert(bucket, contradiction).await;
    }

    /// The Region to believe where `HeadBucket` goes on naming one in which the bucket is not.
    pub async fn contradiction(&self, bucket: &BucketKey, wrong: &str) -> Option<String> {
        let held = self.contradictions.get(bucket).await?;
        (held.wrong == wrong).then_some(held.named)
    }

    /// Versioning as any check read it within the last moments, or by `read` now. Concurrent readers share one read.
    /// `fresh`: by `read` now, whatever is remembered.
    pub async fn versioning(
        &self,
        bucket: &BucketKey,
        fresh: bool,
        read: impl Future<Output = Read<Versioning>>,
    ) -> Read<Versioning> {
        if fresh {
            self.versioning.invalidate(bucket).await;
        }
        let held = self.versioning.get_with_by_ref(bucket, read).await;
        if held.is_err() {
            // A failure must not outlive its cause.
            self.versioning.invalidate(bucket).await;
        }
        held
    }

    /// Whether a bucket has Object Lock, as remembered or by `read` now; `fresh`: by `read` now. A failure stops
    /// nothing: the role keeps the rights that it has, and the condition of the role names the failure.
    pub async fn object_lock(
        &self,
        bucket: &BucketKey,
        fresh: bool,
        read: impl Future<Output = Read<bool>>,
    ) -> Read<bool> {
        let held = self.object_lock.get(bucket, fresh, read).await;
        if let Err(failure) = &held
            && failure.class != FailureClass::Denied
        {
            warn!(bucket = %bucket.name, detail = failure.message(), "cannot read whether the bucket has Object Lock");
        }
        held
    }

    pub async fn versioning_changed(&self, bucket: &BucketKey) {
        self.versioning.invalidate(bucket).await;
    }
}

/// Roles that the operator does not write, by name. Those that it writes belong to one resource.
#[derive(Clone, Debug)]
pub struct RoleCache(Cache<String, Read<Option<ObservedRole>>>);

impl RoleCache {
    pub fn new() -> RoleCache {
        RoleCache(Cache::builder().max_capacity(CAPACITY).time_to_live(SHARED_TTL).build())
    }

    /// A role as any check read it within the last moments, or by `read` now. Concurrent readers share one read.
    /// `fresh`: by `read` now, whatever is remembered.
    pub async fn role(
        &self,
        name: &str,
        fresh: bool,
        read: impl Future<Output = Read<Option<ObservedRole>>>,
    ) -> Read<Option<ObservedRole>> {
        // IAM does not distinguish names by case.
        let name = name.to_ascii_lowercase();
        if fresh {
            self.0.invalidate(&name).await;
        }
        let held = self.0.get_with_by_ref(&name, read).await;
        if !matches!(held, Ok(Some(_))) {
            // A failure must not outlive its cause, and a missing role is read again until it is there.
            self.0.invalidate(&name).await;
        }
        held
    }

    /// Forgets a role that may have changed.
    pub async fn forget(&self, name: &str) {
        self.0.invalidate(&name.to_ascii_lowercase()).await;
    }
}

/// KMS keys, by ARN. `None`: there is no such key.
#[derive(Clone, Debug)]
pub struct Keys(Stable<String, Option<ObservedKey>>);

impl Keys {
    pub fn new() -> Keys {
        Keys(Stable::new(|key| key.as_ref().is_some_and(ObservedKey::is_enabled)))
    }

    /// A key as remembered, or by `read` now; `fresh`: by `read` now. A key that cannot be used is read each time.
    pub async fn key(
        &self,
        arn: &str,
        fresh: bool,
        read: impl Future<Output = Read<Option<ObservedKey>>>,
    ) -> Read<Option<ObservedKey>> {
        self.0.get(&arn.to_owned(), fresh, read).await
    }
}

/// Answers that hardly ever change, and denials to give one.
#[derive(Clone, Debug)]
struct Stable<K, T>(Cache<K, Read<T>>, fn(&T) -> bool)
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static;

impl<K, T> Stable<K, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// `lasts`: whether an answer is remembered.
    fn new(lasts: fn(&T) -> bool) -> Stable<K, T> {
        Stable(Cache::builder().max_capacity(CAPACITY).expire_after(ByOutcome).build(), lasts)
    }

    /// The answer that is remembered, or the one that `read` gives now. Where that is denied, the remembered answer
    /// still serves. Where a fresh read gets no answer, the remembered answer may be out of date: it is forgotten, so
    /// that the failure shows until there is an answer.
    async fn get(&self, key: &K, fresh: bool, read: impl Future<Output = Read<T>>) -> Read<T> {
        let Stable(cache, lasts) = self;
        let known = cache.get(key).await;
        if let Some(known) = known.as_ref().filter(|_| !fresh) {
            return known.clone();
        }
        let read = read.await;
        match &read {
            Ok(answer) if lasts(answer) => cache.insert(key.clone(), read.clone()).await,
            Ok(_) => cache.invalidate(key).await,
            Err(failure) if failure.class == FailureClass::Denied => match known {
                Some(Ok(_)) => return known.unwrap_or(read),
                _ => cache.insert(key.clone(), read.clone()).await,
            },
            Err(_) => cache.invalidate(key).await,
        }
        read
    }
}

struct ByOutcome;

impl ByOutcome {
    fn ttl<T>(held: &Read<T>) -> Option<Duration> {
        Some(if held.is_ok() { STABLE_TTL } else { DENIED_TTL })
    }
}

impl<K, T> Expiry<K, Read<T>> for ByOutcome {
    fn expire_after_create(&self, _: &K, held: &Read<T>, _: Instant) -> Option<Duration> {
        ByOutcome::ttl(held)
    }

    fn expire_after_update(
        &self,
        _: &K,
        held: &Read<T>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        ByOutcome::ttl(held)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::replication::{Failure, VersioningStatus};

    fn orders_of(account_id: &str) -> BucketKey {
        BucketKey::new("orders", account_id)
    }

    fn failure<T>(class: FailureClass) -> Read<T> {
        Err(Failure::new(class, "s3:GetBucketObjectLockConfiguration", "orders", ""))
    }

    #[tokio::test]
    async fn a_requested_check_reads_object_lock_and_keys_again() {
        let (buckets, bucket) = (Buckets::new(), orders_of("111122223333"));
        let ask = async |fresh, answer| buckets.object_lock(&bucket, fresh, async { Ok(answer) }).await;
        assert_eq!(ask(false, false).await, Ok(false));
        assert_eq!(ask(false, true).await, Ok(false), "it is remembered");
        assert_eq!(ask(true, true).await, Ok(true));
        assert_eq!(ask(false, false).await, Ok(true), "it is remembered");

        let keys = Keys::new();
        let key = |state: &str| {
            Ok(Some(ObservedKey { state: state.to_owned(), aws_managed: false, unusable_spec: None }))
        };
        let (enabled, pending) = (key("Enabled"), key("PendingDeletion"));
        let read = async |fresh, answer: &Read<Option<ObservedKey>>| {
            let answer = answer.clone();
            keys.key("arn:aws:kms:eu-west-1:111122223333:key/k", fresh, async { answer }).await
        };
        assert_eq!(read(false, &enabled).await, enabled);
        assert_eq!(read(false, &pending).await, enabled, "it is remembered");
        assert_eq!(read(true, &pending).await, pending);
        assert_eq!(read(false, &enabled).await, enabled, "a key that cannot be used is read each time");
    }

    #[tokio::test]
    async fn whose_a_bucket_is_is_asked_again_by_a_requested_check_and_after_a_while() {
        let (buckets, bucket) = (Buckets::new(), orders_of("111122223333"));
        assert!(buckets.asks_owner_again(&bucket, false).await);
        assert!(!buckets.asks_owner_again(&bucket, false).await, "the denial is remembered");
        assert!(buckets.asks_owner_again(&bucket, true).await);
        assert!(buckets.asks_owner_again(&orders_of("444455556666"), false).await);
    }

    #[tokio::test]
    async fn a_denial_leaves_what_is_remembered_and_a_fresh_read_without_an_answer_does_not() {
        let (buckets, bucket) = (Buckets::new(), orders_of("111122223333"));
        for class in [FailureClass::Denied, FailureClass::Unavailable] {
            assert_eq!(
                buckets.object_lock(&bucket, false, async { failure(class) }).await,
                failure(class),
                "{class:?}"
            );
            buckets.forget(&bucket).await;
        }
        assert_eq!(buckets.object_lock(&bucket, false, async { Ok(true) }).await, Ok(true));
        let denied = async { failure(FailureClass::Denied) };
        assert_eq!(buckets.object_lock(&bucket, true, denied).await, Ok(true));
        for class in [FailureClass::Unavailable, FailureClass::Throttled] {
            let read = async { failure(class) };
            assert_eq!(buckets.object_lock(&bucket, true, read).await, failure(class), "it may have changed");
            let again = async { failure(class) };
            assert_eq!(buckets.object_lock(&bucket, false, again).await, failure(class), "it is read again");
        }
    }

    #[tokio::test]
    async fn a_role_is_read_once_for_all_who_ask_at_once_and_a_missing_one_each_time() {
        let roles = RoleCache::new();
        let role = |path: &str| {
            Ok(Some(ObservedRole {
                arn: "arn:aws:iam::111122223333:role/copy".to_owned(),
                name: "copy".to_owned(),
                path: path.to_owned(),
                trust: Value::Null,
                permissions_boundary: None,
                tags: BTreeMap::new(),
                policy: Ok(None),
                other_policies: Vec::new(),
            }))
        };
        assert_eq!(roles.role("copy", false, async { Ok(None) }).await, Ok(None));
        assert_eq!(roles.role("copy", false, async { role("/a/") }).await, role("/a/"));
        assert_eq!(roles.role("Copy", false, async { role("/b/") }).await, role("/a/"));
        assert_eq!(roles.role("copy", true, async { role("/b/") }).await, role("/b/"));
        roles.forget("COPY").await;
        assert_eq!(roles.role("copy", false, async { role("/c/") }).await, role("/c/"));
    }

    #[test]
    fn denials_are_forgotten_sooner_than_answers() {
        let denied: Read<bool> = failure(FailureClass::Denied);
        assert_eq!(ByOutcome::ttl(&denied), Some(DENIED_TTL));
        assert_eq!(ByOutcome::ttl(&Ok(true)), Some(STABLE_TTL));
        assert!(DENIED_TTL < STABLE_TTL);
    }

    /// S3's answer to a call that names one owner does not confirm another.
    #[tokio::test]
    async fn an_answer_serves_only_those_who_expect_the_same_owner() {
        let buckets = Buckets::new();
        let enabled = Versioning { status: VersioningStatus::Enabled, mfa_delete: false };
        let partners = buckets.versioning(&orders_of("444455556666"), false, async { Ok(enabled) }).await;
        assert_eq!(partners, Ok(enabled));
        let own = async { failure(FailureClass::Denied) };
        assert!(buckets.versioning(&orders_of("111122223333"), false, own).await.is_err());

        let location = Location { region: "eu-west-1".into(), owner_check: OwnerCheck::Confirmed };
        buckets.set_location(orders_of("444455556666"), location);
        assert_eq!(buckets.location(&orders_of("111122223333")), None);
    }
}
