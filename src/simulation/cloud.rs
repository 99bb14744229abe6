//! The port to AWS, implemented on a [`World`].
//!
//! In: the calls of the controllers. Out: what AWS would answer from that state, or from the one before the last write or
//! before someone else's last change; or that it denies the call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::api::CallerIdentity;
use crate::iam::arn::{account_of_arn, region_of_arn, role_of_arn};
use crate::iam::compare::trusts_service;
use crate::ports::{Cloud, QueueMessage};
use crate::replication::backfill::role::BATCH_OPERATIONS;
use crate::replication::backfill::{Job, JobAddress, JobRequest, JobUpdate};
use crate::replication::events::{ChangeEvent, EventQueue};
use crate::replication::health::canary::{
    BucketFacts, CanaryFacts, CanaryObject, HeldVersion, ReplicationStatus, VersionAt, WrittenCanary,
};
use crate::replication::health::key_cause::GET_KEY_POLICY;
use crate::replication::health::metrics::{MetricsRequest, SeriesAnswer};
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{
    Account, Accounts, BucketAddress, BucketRef, Caller, Configuration, DeletionReadSet, Failure,
    FailureClass, Observed, ObservedBucket, ObservedKey, ObservedRole, ReadSet, ResourceId, Step,
};
use crate::runtime::clock::SimulatedClock;
use crate::simulation::denials::Denials;
use crate::simulation::world::{SimulatedRole, World, access_denied, fail, partition};

/// The access key that the operator signs with.
pub const OWN_KEY: &str = "ASIAOPERATOR";

/// AWS in memory.
#[derive(Clone, Debug)]
pub struct SimulatedCloud(Arc<Mutex<CloudState>>);

#[derive(Debug)]
struct CloudState {
    /// Shared with its readers: a write then changes a copy.
    world: Arc<World>,
    /// The state before the last write, from which AWS may still answer.
    before: Arc<World>,
    /// The state before someone else changed it last.
    before_others: Arc<World>,
    /// Answer the next read from a former state.
    stale: Option<Former>,
    old_answers: Option<OldAnswers>,
    denials: Denials,
    /// Counts the changes.
    version: u64,
    /// The messages of every event queue, by the receipts that delete them.
    messages: BTreeMap<String, String>,
}

/// A former state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// Before the last write of the operator.
    BeforeWrite,
    /// Before someone else changed AWS last.
    BeforeOthers,
}

/// Reads that are answered from a former state for a span of time.
struct OldAnswers {
    then: World,
    clock: SimulatedClock,
    /// Since the clock began.
    until: Duration,
    /// Old and new answers alternate.
    alternate: bool,
    /// How many reads there were.
    reads: usize,
    /// Makes a part of a state what it is in a former one.
    show: fn(&mut World, &World),
}

impl std::fmt::Debug for OldAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "old answers until {:?}", self.until)
    }
}

/// The ids of the accounts in which one resource has clients.
#[derive(Clone, Debug)]
pub struct SimulatedClients {
    source: String,
    /// By the name of the `AwsAccount`.
    accounts: BTreeMap<String, String>,
}

impl SimulatedClients {
    /// The account in which to act; `None`: there is no client for the `AwsAccount`.
    fn to(&self, account_ref: Option<&str>) -> Option<&str> {
        match account_ref {
            None => Some(&self.source),
            Some(name) => self.accounts.get(name).map(String::as_str),
        }
    }

    fn require(&self, account_ref: Option<&str>, action: &'static str, subject: &str) -> Read<&str> {
        let denied =
            || Failure::new(FailureClass::Denied, action, subject, "there is no identity to act with");
        self.to(account_ref).ok_or_else(denied)
    }
}

impl SimulatedCloud {
    pub fn new(world: World) -> SimulatedCloud {
        let world = Arc::new(world);
        SimulatedCloud(Arc::new(Mutex::new(CloudState {
            before: world.clone(),
            before_others: world.clone(),
            world,
            stale: None,
            old_answers: None,
            denials: Denials::default(),
            version: 0,
            messages: BTreeMap::new(),
        })))
    }

    /// A copy of the state.
    pub fn world(&self) -> World {
        self.snapshot().as_ref().clone()
    }

    /// The state as it is now, which later changes leave as it is.
    pub fn snapshot(&self) -> Arc<World> {
        self.0.lock().world.clone()
    }

    /// Changes the state as someone outside does.
    pub fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut state = self.0.lock();
        state.version += 1;
        act(Arc::make_mut(&mut state.world))
    }

    /// Replaces the state by what someone outside made of it.
    pub fn change(&self, world: World) {
        let mut state = self.0.lock();
        state.version += 1;
        state.before_others = std::mem::replace(&mut state.world, Arc::new(world));
    }

    /// A former state.
    pub fn former(&self, former: Former) -> Arc<World> {
        let state = self.0.lock();
        match former {
            Former::BeforeWrite => state.before.clone(),
            Former::BeforeOthers => state.before_others.clone(),
        }
    }

    /// While this stays the same, so does the state.
    pub fn version(&self) -> u64 {
        self.0.lock().version
    }

    /// Sends a message to the event queues.
    pub fn send_event(&self, body: &str) {
        let messages = &mut self.0.lock().messages;
        messages.insert(format!("{:06}", messages.len()), body.to_owned());
    }

    /// How many messages were not deleted.
    pub fn waiting_events(&self) -> usize {
        self.0.lock().messages.len()
    }

    /// Answers the next read from a former state.
    pub fn answer_stale(&self, former: Former) {
        self.0.lock().stale = Some(former);
    }

    /// Changes what AWS denies to calls that make several reads.
    pub fn denials<T>(&self, act: impl FnOnce(&mut Denials) -> T) -> T {
        act(&mut self.0.lock().denials)
    }

    /// Answers reads for this long with a part of the state as it is now, whatever is written meanwhile. `alternate`:
    /// every other read is answered with the newest state.
    pub fn answer_old(
        &self,
        clock: &SimulatedClock,
        span: Duration,
        alternate: bool,
        show: fn(&mut World, &World),
    ) {
        let mut state = self.0.lock();
        let (then, until) = (state.world.as_ref().clone(), clock.elapsed() + span);
        state.old_answers = Some(OldAnswers { then, clock: clock.clone(), until, alternate, reads: 0, show });
    }

    fn read<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        let mut state = self.0.lock();
        let CloudState { world, old_answers, .. } = &mut *state;
        old_answers.take_if(|old| old.clock.elapsed() >= old.until);
        if let Some(old) = old_answers {
            old.reads += 1;
            if !old.alternate || old.reads % 2 == 0 {
                let mut shown = world.as_ref().clone();
                (old.show)(&mut shown, &old.then);
                return read(&shown);
            }
        }
        read(match state.stale.take() {
            None => &state.world,
            Some(Former::BeforeWrite) => &state.before,
            Some(Former::BeforeOthers) => &state.before_others,
        })
    }

    fn write<T>(&self, write: impl FnOnce(&mut World) -> Read<T>) -> Read<T> {
        let mut state = self.0.lock();
        let before = state.world.clone();
        let result = write(Arc::make_mut(&mut state.world));
        if result.is_ok() {
            state.before = before;
            state.version += 1;
        }
        result
    }

    /// The account that the operator reaches under an `AwsAccount`.
    fn connect_to(&self, account: &Account) -> Read<String> {
        let id = &account.spec.account_id;
        self.read(|world| match &account.spec.assume_role {
            Some(role) if !world.trusting_accounts.contains(id) => {
                Err(access_denied("sts:AssumeRole", &role.arn))
            }
            Some(_) => Ok(id.clone()),
            None if world.own_account == *id => Ok(id.clone()),
            None => {
                let detail = format!("it is in account {}, and spec.accountId is {id}", world.own_account);
                Err(Failure::new(
                    FailureClass::WrongAccount,
                    "sts:GetCallerIdentity",
                    account.name.clone(),
                    detail,
                ))
            }
        })
    }
}

fn caller(clients: &SimulatedClients) -> Caller {
    Caller { account: clients.source.clone(), partition: partition() }
}

impl Cloud for SimulatedCloud {
    type Clients = SimulatedClients;

    async fn connect(&self, accounts: &Accounts, _id: &ResourceId) -> Read<SimulatedClients> {
        let source = match &accounts.source {
            Some(account) => self.connect_to(account)?,
            None => self.read(|world| world.own_account.clone()),
        };
        let mut clients = SimulatedClients { source, accounts: BTreeMap::new() };
        for (name, account) in &accounts.destinations {
            clients.accounts.insert(name.clone(), self.connect_to(account)?);
        }
        Ok(clients)
    }

    async fn connect_also(
        &self,
        clients: &mut SimulatedClients,
        account: &Account,
        _id: &ResourceId,
    ) -> Read<()> {
        clients.accounts.insert(account.name.clone(), self.connect_to(account)?);
        Ok(())
    }

    async fn caller(&self, clients: &SimulatedClients) -> Read<Caller> {
        Ok(caller(clients))
    }

    async fn observe(&self, clients: &SimulatedClients, read_set: &ReadSet) -> Read<Observed> {
        let denied = self.denials(Denials::take);
        let mut observed = self.read(|world| Observation { world, clients }.all(read_set));
        denied.of_check(&read_set.source.name, &read_set.role, &mut observed);
        Ok(observed)
    }

    async fn observe_for_deletion(
        &self,
        clients: &SimulatedClients,
        read_set: &DeletionReadSet,
    ) -> Read<ObservedForDeletion> {
        let denied = self.denials(Denials::take);
        let mut observed = self.read(|world| Observation { world, clients }.for_deletion(read_set));
        let source = read_set.source.as_ref().map(|source| source.name.as_str());
        denied.of_deletion(source.unwrap_or_default(), &mut observed);
        Ok(observed)
    }

    async fn execute(&self, clients: &SimulatedClients, step: &Step) -> Read<()> {
        let caller = clients.require(step.account_ref(), step.action(), step.subject())?;
        let result = self.write(|world| world.execute(caller, step));
        match (step, result) {
            (
                Step::DeleteReplication { .. } | Step::DeleteRolePolicy { .. } | Step::DeleteRole { .. },
                Err(Failure { class: FailureClass::NoSuchBucket | FailureClass::NoSuchRole, .. }),
            ) => Ok(()),
            (_, result) => result,
        }
    }

    async fn read_bucket_policy(
        &self,
        clients: &SimulatedClients,
        bucket: &BucketAddress,
    ) -> Read<Option<Value>> {
        let action = "s3:GetBucketPolicy";
        let caller = clients.require(bucket.account_ref.as_deref(), action, &bucket.name)?;
        self.read(|world| world.bucket_policy(caller, bucket))
    }

    async fn write_bucket_policy(
        &self,
        clients: &SimulatedClients,
        bucket: &BucketAddress,
        policy: Option<&Value>,
    ) -> Read<()> {
        let action = "s3:PutBucketPolicy";
        let caller = clients.require(bucket.account_ref.as_deref(), action, &bucket.name)?;
        self.write(|world| world.put_bucket_policy(caller, bucket, policy))
    }

    async fn read_key_policy(
        &self,
        clients: &SimulatedClients,
        account_ref: Option<&str>,
        key: &str,
    ) -> Read<Option<Value>> {
        clients.require(account_ref, GET_KEY_POLICY, key)?;
        Ok(self.read(|world| world.key_policy(key)))
    }

    async fn read_role(
        &self,
        clients: &SimulatedClients,
        name: &str,
        with_policy: bool,
    ) -> Read<Option<ObservedRole>> {
        let denied = self.denials(Denials::take);
        let mut role = Ok(self.read(|world| world.observed_role(&clients.source, name, with_policy)));
        denied.of_role(name, &mut role);
        role
    }

    async fn create_job(&self, clients: &SimulatedClients, request: &JobRequest) -> Read<String> {
        self.write(|world| {
            let role =
                account_of_arn(&request.role).and_then(|id| world.role(id, role_of_arn(&request.role)));
            let trusts =
                |role: &SimulatedRole| trusts_service(&role.trust, BATCH_OPERATIONS) && role.policy.is_some();
            let assumable = role.is_some_and(trusts);
            world.jobs.create(&clients.source, assumable, request)
        })
    }

    async fn describe_job(
        &self,
        clients: &SimulatedClients,
        address: &JobAddress,
        id: &str,
    ) -> Read<Option<Job>> {
        self.read(|world| world.jobs.describe(&clients.source, address, id))
    }

    async fn find_job(
        &self,
        clients: &SimulatedClients,
        address: &JobAddress,
        description: &str,
    ) -> Read<Option<String>> {
        self.read(|world| world.jobs.find(&clients.source, address, description))
    }

    async fn update_job(
        &self,
        clients: &SimulatedClients,
        address: &JobAddress,
        id: &str,
        update: JobUpdate,
    ) -> Read<()> {
        self.write(|world| world.jobs.update(&clients.source, address, id, update))
    }

    async fn observe_for_canary(
        &self,
        clients: &SimulatedClients,
        source: &BucketAddress,
        destinations: &[BucketAddress],
    ) -> Read<CanaryFacts> {
        let action = "s3:GetBucketVersioning";
        let denied = self.denials(Denials::take);
        let mut found = self.read(|world| {
            let facts = |address: &BucketAddress| {
                let caller = clients.require(address.account_ref.as_deref(), action, &address.name);
                let held = caller.and_then(|caller| world.bucket(caller, address, action));
                BucketFacts {
                    mfa_delete: held.clone().map(|held| held.mfa_delete),
                    default_retention: held.map(|held| held.objects.default_retention),
                }
            };
            let encrypted = world.buckets.get(&source.name).is_some_and(|held| held.objects.encrypted);
            let all = std::iter::once(source).chain(destinations);
            let buckets = all.map(|address| (address.name.clone(), facts(address))).collect();
            CanaryFacts { buckets, encrypted: Ok(encrypted) }
        });
        denied.of_canary(&mut found);
        Ok(found)
    }

    async fn put_canary(&self, clients: &SimulatedClients, object: &CanaryObject) -> Read<WrittenCanary> {
        let caller =
            clients.require(object.bucket.account_ref.as_deref(), "s3:PutObject", &object.bucket.name)?;
        self.write(|world| world.put_object(caller, object))
    }

    async fn read_replication_status(
        &self,
        clients: &SimulatedClients,
        object: &VersionAt,
    ) -> Read<Option<ReplicationStatus>> {
        let action = "s3:GetObjectVersion";
        let caller = clients.require(object.bucket.account_ref.as_deref(), action, &object.bucket.name)?;
        let mut state = self.0.lock();
        if state.stale.take().is_some() && state.world.has_ended(object) {
            return Ok(Some(ReplicationStatus::Pending));
        }
        // S3 goes on with what is pending when it is asked.
        state.version += 1;
        Arc::make_mut(&mut state.world).head_version(caller, object)
    }

    async fn list_versions(
        &self,
        clients: &SimulatedClients,
        bucket: &BucketAddress,
        prefix: &str,
    ) -> Read<Vec<HeldVersion>> {
        let caller = clients.require(bucket.account_ref.as_deref(), "s3:ListBucketVersions", &bucket.name)?;
        // S3 lists what was written before (<https://aws.amazon.com/s3/consistency/>): no answer is stale.
        self.0.lock().world.list_versions(caller, bucket, prefix)
    }

    async fn delete_version(&self, clients: &SimulatedClients, object: &VersionAt) -> Read<()> {
        let action = "s3:DeleteObjectVersion";
        let caller = clients.require(object.bucket.account_ref.as_deref(), action, &object.bucket.name)?;
        self.write(|world| world.delete_version(caller, object))
    }

    async fn verify(&self, account: &Account, _max_age: Duration) -> Read<CallerIdentity> {
        let account_id = self.connect_to(account)?;
        Ok(CallerIdentity { arn: format!("arn:aws:sts::{account_id}:assumed-role/operator/s"), account_id })
    }

    async fn read_metrics(
        &self,
        account: Option<&Account>,
        region: &str,
        request: &MetricsRequest,
    ) -> Read<Vec<SeriesAnswer>> {
        let account_id = match account {
            Some(account) => self.connect_to(account)?,
            None => self.read(|world| world.own_account.clone()),
        };
        self.read(|world| {
            let held = world.metrics.get(&(account_id, region.to_owned()));
            let answer = |series| {
                let points = held.and_then(|held| held.get(series));
                let within = points.into_iter().flat_map(|points| points.range(request.start..request.end));
                SeriesAnswer { points: within.map(|(at, value)| (*at, *value)).collect(), problem: None }
            };
            Ok(request.series.iter().map(answer).collect())
        })
    }

    fn forget(&self, _account_name: &str) {}

    async fn receive_events(&self, _queue: &EventQueue, _wait: Duration) -> Read<Vec<QueueMessage>> {
        let state = self.0.lock();
        let messages = state.messages.iter().take(10);
        Ok(messages
            .map(|(receipt, body)| QueueMessage { body: body.clone(), receipt: receipt.clone() })
            .collect())
    }

    async fn delete_events(&self, _queue: &EventQueue, receipts: Vec<String>) -> Read<()> {
        self.0.lock().messages.retain(|receipt, _| !receipts.contains(receipt));
        Ok(())
    }

    fn is_own_access_key(&self, access_key: &str) -> bool {
        access_key == OWN_KEY
    }

    async fn forget_answers(&self, _event: &ChangeEvent) {}
}

/// The reads of one check, all from one state.
struct Observation<'a> {
    world: &'a World,
    clients: &'a SimulatedClients,
}

impl Observation<'_> {
    fn all(&self, read_set: &ReadSet) -> Observed {
        let source = &read_set.source;
        let configuration = self.configuration(source).1;
        let named = configuration.as_ref().ok().and_then(Option::as_ref);
        let named = named.map(|held| role_of_arn(&held.role).to_owned());
        let former: BTreeSet<String> = read_set.former_roles.iter().cloned().chain(named).collect();
        let former = former.into_iter().filter(|name| *name != read_set.role && !name.is_empty());
        let destinations = read_set.destinations.iter();
        Observed {
            caller: caller(self.clients),
            source: self.bucket(source),
            destinations: destinations.map(|d| (d.name.clone(), self.bucket(d))).collect(),
            configuration,
            role: self.role(&read_set.role, read_set.role_policy),
            former_roles: former
                .map(|name| (name.clone(), self.role_to_delete(&name, &read_set.id)))
                .collect(),
            bucket_policies: self.bucket_policies(read_set),
            keys: self.keys(read_set),
            object_lock: if read_set.role_policy { self.has_object_lock(source).map(Some) } else { Ok(None) },
            unknown_elements: BTreeSet::new(),
        }
    }

    fn for_deletion(&self, read_set: &DeletionReadSet) -> ObservedForDeletion {
        let (region, configuration) = match &read_set.source {
            Some(source) => match self.configuration(source) {
                (_, Err(failure)) if failure.class == FailureClass::NoSuchBucket => (None, Ok(None)),
                found => found,
            },
            None => (None, Ok(None)),
        };
        let named = configuration.as_ref().ok().and_then(Option::as_ref);
        let named = named.map(|held| role_of_arn(&held.role).to_owned());
        let names: BTreeSet<String> = read_set.roles.iter().cloned().chain(named).collect();
        let policies = read_set.bucket_policies.iter().map(|bucket| {
            let read = match self.bucket_policy(bucket) {
                Err(failure) if failure.class == FailureClass::NoSuchBucket => Ok(None),
                read => read,
            };
            (bucket.clone(), read)
        });
        ObservedForDeletion {
            bucket: read_set.source.as_ref().map(|source| source.name.clone()).unwrap_or_default(),
            caller: caller(self.clients),
            region,
            configuration,
            roles: names
                .iter()
                .filter_map(|name| self.role_to_delete(name, &read_set.id).transpose())
                .collect(),
            bucket_policies: policies.collect(),
        }
    }

    /// The id of the account that must own a bucket.
    fn account_id<'b>(&'b self, bucket: &'b BucketRef) -> &'b str {
        bucket.account_id.as_deref().unwrap_or(&self.clients.source)
    }

    fn bucket(&self, bucket: &BucketRef) -> ObservedBucket {
        let action = "s3:GetBucketVersioning";
        let denied = access_denied(action, &bucket.name);
        let Some(caller) = self.clients.to(bucket.account_ref.as_deref()) else {
            return ObservedBucket::unseen(Err(denied.clone()), denied);
        };
        let Some(held) = self.world.buckets.get(&bucket.name) else {
            let code = ("NoSuchBucket", "The specified bucket does not exist");
            return ObservedBucket::unseen(
                Ok(None),
                fail(FailureClass::NoSuchBucket, action, &bucket.name, code),
            );
        };
        // S3 names the Region even to those it denies.
        let here = |versioning, owner_confirmed| ObservedBucket {
            region: Ok(Some(held.region.clone())),
            versioning,
            owner_confirmed,
        };
        match &bucket.region {
            _ if caller != held.account_id => here(Err(denied), false),
            _ if self.account_id(bucket) != held.account_id => {
                let failure = Failure { class: FailureClass::WrongOwner, ..denied };
                ObservedBucket::unseen(Err(failure.clone()), failure)
            }
            Some(named) if *named != held.region => {
                let code = ("PermanentRedirect", "the bucket is elsewhere, and the spec names its Region");
                let failure = fail(FailureClass::Invalid, action, &bucket.name, code);
                ObservedBucket::unseen(Err(failure.clone()), failure)
            }
            _ => match self.world.require_readable(action, &bucket.name) {
                Ok(()) => here(Ok(held.observed_versioning()), true),
                // HeadBucket confirms the owner where it is allowed.
                Err(denied) => {
                    here(Err(denied), self.world.require_readable("s3:ListBucket", &bucket.name).is_ok())
                }
            },
        }
    }

    /// The Region of the source and its configuration.
    fn configuration(&self, source: &BucketRef) -> (Option<String>, Read<Option<Configuration>>) {
        let action = "s3:GetReplicationConfiguration";
        match self.world.buckets.get(&source.name) {
            None => {
                let code = ("NoSuchBucket", "The specified bucket does not exist");
                (None, Err(fail(FailureClass::NoSuchBucket, action, &source.name, code)))
            }
            Some(held) if held.account_id != self.clients.source => {
                (Some(held.region.clone()), Err(access_denied(action, &source.name)))
            }
            Some(held) => {
                let readable = self.world.require_readable(action, &source.name);
                (Some(held.region.clone()), readable.map(|()| held.configuration.clone()))
            }
        }
    }

    /// The keys of Regions that a destination is in: no others are read.
    fn keys(&self, read_set: &ReadSet) -> BTreeMap<String, Read<Option<ObservedKey>>> {
        let destinations = read_set.destinations.iter();
        let regions: BTreeSet<&str> = destinations
            .filter_map(|bucket| match &bucket.region {
                Some(region) => Some(region.as_str()),
                None => self.seen_region(bucket),
            })
            .collect();
        let read = read_set
            .keys
            .iter()
            .filter(|(arn, _)| region_of_arn(arn).is_some_and(|region| regions.contains(region)));
        read.map(|(arn, _)| (arn.clone(), Ok(self.world.observed_key(arn)))).collect()
    }

    /// The Region of a bucket, as far as S3 reports it: not to an account under which there is no client, and not of a
    /// bucket that answers only where another owner is expected.
    fn seen_region(&self, bucket: &BucketRef) -> Option<&str> {
        let held = self.world.buckets.get(&bucket.name)?;
        let caller = self.clients.to(bucket.account_ref.as_deref())?;
        let foreign = caller == held.account_id && self.account_id(bucket) != held.account_id;
        (!foreign).then_some(held.region.as_str())
    }

    fn has_object_lock(&self, source: &BucketRef) -> Read<bool> {
        self.world.require_readable("s3:GetBucketObjectLockConfiguration", &source.name)?;
        let held = self.world.buckets.get(&source.name);
        Ok(held.is_some_and(|held| held.object_lock && held.account_id == self.clients.source))
    }

    fn bucket_policies(&self, read_set: &ReadSet) -> BTreeMap<String, Read<Option<Value>>> {
        let current = read_set.destinations.iter().filter_map(|bucket| {
            let abroad = bucket.account_ref.is_some() && self.account_id(bucket) != self.clients.source;
            self.clients.to(bucket.account_ref.as_deref()).filter(|_| abroad)?;
            let region = bucket.region.as_deref().or_else(|| self.seen_region(bucket))?;
            Some(BucketAddress {
                name: bucket.name.clone(),
                region: region.to_owned(),
                account_id: self.account_id(bucket).to_owned(),
                account_ref: bucket.account_ref.clone(),
            })
        });
        let former = read_set.former_destinations.iter().cloned();
        current.chain(former).map(|bucket| (bucket.name.clone(), self.bucket_policy(&bucket))).collect()
    }

    fn bucket_policy(&self, bucket: &BucketAddress) -> Read<Option<Value>> {
        let action = "s3:GetBucketPolicy";
        let caller = self.clients.require(bucket.account_ref.as_deref(), action, &bucket.name)?;
        self.world.bucket_policy(caller, bucket)
    }

    fn role(&self, name: &str, with_policy: bool) -> Read<Option<ObservedRole>> {
        self.world.require_readable("iam:GetRole", name)?;
        Ok(self.world.observed_role(&self.clients.source, name, with_policy))
    }

    /// A role with everything that stands against its deletion; only for the resource's own role is that read.
    fn role_to_delete(&self, name: &str, id: &ResourceId) -> Read<Option<ObservedRole>> {
        let Some(role) = self.role(name, false)? else { return Ok(None) };
        if !id.owns(&role.tags) {
            return Ok(Some(role));
        }
        let held = self.world.role(&self.clients.source, name);
        Ok(held.map(|held| ObservedRole {
            policy: Ok(held.policy.as_ref().map(|_| Value::Null)),
            other_policies: held.other_policies.clone(),
            ..role
        }))
    }
}
