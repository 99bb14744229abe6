//! The port to AWS, implemented on a [`World`].
//!
//! In: the calls of the controllers. Out: what AWS would answer from that state, or from the one before the last write or
//! before someone else's last change; or that it denies the call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::api::CallerIdentity;
use crate::iam::arn::account_of_arn;
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
    Account, Accounts, BucketAddress, Caller, DeletionReadSet, Failure, FailureClass, Observed, ObservedRole,
    ReadSet, ResourceId, Step,
};
use crate::runtime::clock::SimulatedClock;
use crate::simulation::clients::SimulatedClients;
use crate::simulation::denials::Denials;
use crate::simulation::observation::Observation;
use crate::simulation::world::{SimulatedRole, World, access_denied};
use crate::simulation::written_part::WrittenPart;

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
    /// The state before the last write that changed a part.
    before_part: BTreeMap<WrittenPart, Arc<World>>,
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
    /// One part as it was before the last write of the operator that changed it, and all else as it is now.
    BeforePart(WrittenPart),
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
    /// The number of reads.
    reads: usize,
    /// Makes a part of a state what it is in a former one.
    show: fn(&mut World, &World),
}

impl CloudState {
    fn former(&self, former: Former) -> Arc<World> {
        match former {
            Former::BeforeWrite => self.before.clone(),
            Former::BeforeOthers => self.before_others.clone(),
            Former::BeforePart(part) => match self.before_part.get(&part) {
                Some(then) => Arc::new(part.of_former(&self.world, then)),
                None => self.world.clone(),
            },
        }
    }
}

impl std::fmt::Debug for OldAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "old answers until {:?}", self.until)
    }
}

impl SimulatedCloud {
    pub fn new(world: World) -> SimulatedCloud {
        let world = Arc::new(world);
        SimulatedCloud(Arc::new(Mutex::new(CloudState {
            before: world.clone(),
            before_part: BTreeMap::new(),
            before_others: world.clone(),
            world,
            stale: None,
            old_answers: None,
            denials: Denials::default(),
            version: 0,
            messages: BTreeMap::new(),
        })))
    }

    /// An AWS of its own in the same state. `clock`: its clock.
    pub fn copy(&self, clock: &SimulatedClock) -> SimulatedCloud {
        let state = self.0.lock();
        let old_answers = state.old_answers.as_ref();
        let old_answers =
            old_answers.map(|old| OldAnswers { clock: clock.clone(), then: old.then.clone(), ..*old });
        SimulatedCloud(Arc::new(Mutex::new(CloudState {
            world: state.world.clone(),
            before: state.before.clone(),
            before_part: state.before_part.clone(),
            before_others: state.before_others.clone(),
            stale: state.stale,
            old_answers,
            denials: state.denials.clone(),
            version: state.version,
            messages: state.messages.clone(),
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
        self.0.lock().former(former)
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

    /// The number of messages that were not deleted.
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
        match state.stale.take() {
            None => read(&state.world),
            Some(former) => read(&state.former(former)),
        }
    }

    fn write<T>(&self, write: impl FnOnce(&mut World) -> Read<T>) -> Read<T> {
        let mut state = self.0.lock();
        let before = state.world.clone();
        let result = write(Arc::make_mut(&mut state.world));
        if result.is_ok() {
            let CloudState { world, before_part, .. } = &mut *state;
            let written = WrittenPart::ALL.into_iter().filter(|part| part.differs(&before, world));
            before_part.extend(written.map(|part| (part, before.clone())));
            state.before = before;
            state.version += 1;
        }
        result
    }

    /// The account that the operator reaches under an `AwsAccount`.
    fn connect_to(&self, account: &Account) -> Read<String> {
        let id = &account.spec.account_id;
        self.read(|world| {
            let reached = match &account.spec.assume_role {
                // The account of a session is that of its role
                // (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
                Some(role) => account_of_arn(&role.arn)
                    .filter(|id| world.trusting_accounts.iter().any(|trusting| trusting == id))
                    .ok_or_else(|| access_denied("sts:AssumeRole", &role.arn))?,
                None => &world.own_account,
            };
            if reached == id {
                return Ok(id.clone());
            }
            let detail = format!("it is in account {reached}, and spec.accountId is {id}");
            let (class, action) = (FailureClass::WrongAccount, "sts:GetCallerIdentity");
            Err(Failure::new(class, action, account.name.clone(), detail))
        })
    }
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
        account_ref: &str,
        account: &Account,
        _id: &ResourceId,
    ) -> Read<()> {
        clients.accounts.insert(account_ref.to_owned(), self.connect_to(account)?);
        Ok(())
    }

    async fn caller(&self, clients: &SimulatedClients) -> Read<Caller> {
        Ok(clients.caller())
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
            let role = world.role_by_arn(&request.role);
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
            let action = "s3:GetEncryptionConfiguration";
            let caller = clients.require(source.account_ref.as_deref(), action, &source.name);
            let encrypted = caller.and_then(|caller| world.bucket(caller, source, action));
            let encrypted = encrypted.map(|held| held.objects.encrypted);
            let all = std::iter::once(source).chain(destinations);
            let buckets = all.map(|address| (address.name.clone(), facts(address))).collect();
            CanaryFacts { buckets, encrypted }
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
        // S3 goes on with pending objects when it is asked.
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
