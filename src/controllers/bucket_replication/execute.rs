//! Executes a plan.
//!
//! In: stages of steps. Out: the steps that were done, those that failed, and why the rest was left out. The steps of a
//! stage run concurrently, one stage after the other. A configuration is announced in the status before it is put.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use kube::Resource as _;
use serde_json::Value;

use crate::api::{BucketReplicationStatus, FINALIZER};
use crate::backoff::doubling;
use crate::controllers::bucket_replication::announce::announce;
use crate::controllers::bucket_replication::authorize::{
    KnownLabels, NamespaceLabels, authorize, claim_source, resolve,
};
use crate::controllers::bucket_replication::bucket_locks::StatementsChange;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::memory::FormerProcess;
use crate::controllers::bucket_replication::resource::{ReplicationObject, Resource};
use crate::controllers::bucket_replication::stop::Stop;
use crate::iam::Statement;
use crate::iam::bucket_policy::{merged, policy_of_sid};
use crate::iam::compare::compare;
use crate::iam::document::PolicyDocument;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster, Finalizers};
use crate::replication::events::{EventName, Origin, Service};
use crate::replication::observed::Read;
use crate::replication::outcome::Outcome;
use crate::replication::status::{LastWriter, RecentWrite};
use crate::replication::{Accounts, Assessment, BucketAddress, Failure, FailureClass, Step};
use crate::runtime::store::Key;

/// The pause before a bucket policy is read again after a write, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often a bucket policy is read again that does not hold what was written.
const LATER_READS: u32 = 4;

/// The result of a plan's stages.
#[derive(Debug, Default)]
pub struct Executed {
    pub outcome: Outcome,
    /// Why stages were left out, where no step failed and the operator was not asked to stop.
    pub stopped: Option<Stop>,
    /// The status that was written before the configuration, because it announced another one or none.
    pub announced: Option<BucketReplicationStatus>,
}

/// For what a plan is executed.
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    Check(Grounds<'a>),
    /// A removal needs no permission, only the object for which it was planned.
    Deletion(&'a ReplicationObject<'a>),
}

impl<'a> Purpose<'a> {
    fn target(self) -> &'a ReplicationObject<'a> {
        match self {
            Purpose::Check(grounds) => &grounds.permission.resource.target,
            Purpose::Deletion(target) => target,
        }
    }

    /// A process that may have written for the object a moment ago.
    fn former_process<C, K>(self, cx: &Context<C, K>) -> Option<FormerProcess> {
        let target = self.target();
        target.former_process(cx).filter(|former| former.knew(target.metadata))
    }
}

/// The resource, the status and the permission with which a check executes its plan.
#[derive(Clone, Copy)]
pub struct Grounds<'a> {
    pub permission: Permission<'a>,
    pub assessment: &'a Assessment<'a>,
    /// The status that was written before the first write to AWS.
    pub written: Option<&'a BucketReplicationStatus>,
}

/// A resource, and the accounts that its plan was made with.
#[derive(Clone, Copy)]
pub struct Permission<'a> {
    pub resource: &'a Resource<'a>,
    pub accounts: &'a Accounts,
    /// The labels of namespaces that were read when the resource claimed its source.
    pub labels: &'a KnownLabels,
}

/// Why a write is not made.
enum Halt {
    /// The resource may not make it any more.
    Stopped(Stop),
    /// The operator no longer leads, or was asked to stop.
    Interrupted,
}

/// Executes stages until the operator no longer leads, is asked to stop, sees another object than the plan was made
/// for, or no longer authorizes the resource as it did then. A step that fails holds back only the steps that need it.
/// Object and permission are confirmed again before each stage, and after a wait for the lock of a bucket.
pub async fn execute<C: Cloud, K: Cluster>(
    stages: &[Vec<Step>],
    clients: &C::Clients,
    purpose: Purpose<'_>,
    cx: &Context<C, K>,
) -> Executed {
    let mut executed = Executed::default();
    for stage in stages {
        if let Err(halt) = require_permission(purpose, cx).await {
            executed.halt(halt);
            break;
        }
        let admitted = executed.outcome.admit(stage);
        if let Purpose::Check(grounds) = purpose
            && let Err(halt) = executed.announce(&admitted, grounds, cx).await
        {
            executed.halt(halt);
            break;
        }
        let results = join_all(admitted.iter().map(|step| execute_step(step, clients, purpose, cx))).await;
        let mut halted = None;
        for (step, result) in admitted.into_iter().zip(results) {
            match result {
                Ok(result) => executed.outcome.record(step, result),
                Err(halt) => halted = Some(halt),
            }
        }
        if let Some(halt) = halted {
            executed.halt(halt);
            break;
        }
    }
    executed
}

impl Executed {
    /// Announces the configuration that a stage puts. Meanwhile the permission to put it may have ended.
    async fn announce<C: Cloud, K: Cluster>(
        &mut self,
        stage: &[Step],
        grounds: Grounds<'_>,
        cx: &Context<C, K>,
    ) -> Result<(), Halt> {
        let Grounds { permission, assessment, written } = grounds;
        let announced = announce(stage, assessment, permission.resource, written, cx).await;
        let Some(status) = announced.map_err(Halt::Stopped)? else { return Ok(()) };
        self.announced = Some(status);
        require_permission(Purpose::Check(grounds), cx).await
    }

    fn halt(&mut self, halt: Halt) {
        match halt {
            Halt::Stopped(stop) => self.stopped = Some(stop),
            Halt::Interrupted => self.outcome.interrupted = true,
        }
    }
}

/// Whether the operator may write now.
async fn require_permission<C, K: Cluster>(purpose: Purpose<'_>, cx: &Context<C, K>) -> Result<(), Halt> {
    match purpose {
        Purpose::Check(grounds) => grounds.permission.confirm(cx).await.map_err(Halt::Stopped)?,
        Purpose::Deletion(target) => require_same_removal(target, cx).map_err(Halt::Stopped)?,
    }
    // Last: the operator may have been asked to stop while the API server answered.
    if (cx.may_begin)() || is_on(Mutant::LeaseIgnored) { Ok(()) } else { Err(Halt::Interrupted) }
}

/// Whether the watch has brought another object meanwhile: the user may have changed, suspended or deleted it. It costs
/// no request.
///
/// # Errors
/// It has.
pub fn require_unchanged<C, K>(target: &ReplicationObject<'_>, cx: &Context<C, K>) -> Result<(), Stop> {
    let is_outdated = !is_on(Mutant::ChangeIgnored) && cx.index.replications.is_outdated(target.metadata);
    if is_outdated { Err(Stop::Outdated) } else { Ok(()) }
}

/// The same for a deletion: the user may ask by now to keep what is in AWS. A user who removes the finalizer takes over
/// the rest there.
///
/// # Errors
/// The deletion is to be planned once more, or is over.
pub fn require_same_removal<C, K>(target: &ReplicationObject<'_>, cx: &Context<C, K>) -> Result<(), Stop> {
    require_unchanged(target, cx)?;
    let held = cx.index.replications.get(&Key::of(target.metadata));
    let has_finalizer = held.is_none_or(|held| Finalizers::of(held.meta()).contains(FINALIZER));
    if has_finalizer || is_on(Mutant::ChangeIgnored) { Ok(()) } else { Err(Stop::Outdated) }
}

impl Permission<'_> {
    /// Authorizes the resource again, by the accounts and labels as they are now, and claims its source again: an older
    /// resource may have appeared, or may be allowed by now. The object is still the one that was checked.
    async fn confirm<C, K: Cluster>(&self, cx: &Context<C, K>) -> Result<(), Stop> {
        if is_on(Mutant::TighteningIgnored) {
            return require_unchanged(&self.resource.target, cx);
        }
        let Resource { object, status, target, .. } = self.resource;
        let namespace = target.metadata.namespace.as_deref().unwrap_or_default();
        let labels = &mut NamespaceLabels::all_but(cx.cluster.as_ref(), self.labels, namespace);
        let accounts = authorize(object, status, labels, cx).await?;
        if !is_on(Mutant::SourceNotClaimedAgain) {
            claim_source(object, target.memory, labels, cx).await?;
        }
        // The object and an account may change while the labels are read.
        require_unchanged(target, cx)?;
        let now = resolve(object, cx)?;
        // The plan was made for other accounts than those of now.
        if accounts == *self.accounts && now == accounts { Ok(()) } else { Err(Stop::Outdated) }
    }
}

async fn execute_step<C: Cloud, K: Cluster>(
    step: &Step,
    clients: &C::Clients,
    purpose: Purpose<'_>,
    cx: &Context<C, K>,
) -> Result<Read<()>, Halt> {
    Ok(match step {
        Step::PutBucketPolicy { bucket, sid, statements, .. } => {
            let former = purpose.former_process(cx);
            let write = StatementsWrite { bucket, sid, statements, former, clients, cx };
            let lock = if is_on(Mutant::NoBucketLock) { sid } else { &bucket.name };
            let held = cx.bucket_locks.lock(lock).await;
            if held.had_to_wait {
                require_permission(purpose, cx).await?;
            }
            write.execute().await?
        }
        step => {
            let write = cx.events.begin_step(step, account_of_roles(clients, cx).await.as_deref());
            let result = cx.cloud.execute(clients, step).await;
            cx.events.write_failed(write.filter(|_| result.is_err()));
            result
        }
    })
}

/// The account in which the roles of a resource are. Only an operator with an event queue needs it. A failure delays no
/// step: the event of the write is then taken for someone else's, and causes one check.
async fn account_of_roles<C: Cloud, K>(clients: &C::Clients, cx: &Context<C, K>) -> Option<String> {
    if !cx.events.are_on() {
        return None;
    }
    cx.cloud.caller(clients).await.ok().map(|caller| caller.account)
}

/// Replaces the statements of one Sid in the policy of a bucket. Others write the policy too, and S3 has no conditional
/// write for it: the policy is read just before the write and again afterwards.
struct StatementsWrite<'a, C: Cloud, K> {
    bucket: &'a BucketAddress,
    sid: &'a str,
    statements: &'a [Statement],
    /// A process that may have written the policy a moment ago.
    former: Option<FormerProcess>,
    clients: &'a C::Clients,
    cx: &'a Context<C, K>,
}

impl<C: Cloud, K: Cluster> StatementsWrite<'_, C, K> {
    async fn execute(&self) -> Result<Read<()>, Halt> {
        let (shown, held) = match self.read().await {
            Ok(read) => read,
            Err(failure) => return Ok(Err(failure)),
        };
        let (name, now) = (&self.bucket.name, self.cx.clock.now());
        // One of the two may be from before a write, and so may both, if that write had no answer.
        let is_settled = self.is_settled(shown.as_ref()) && self.is_settled(held.as_ref());
        if !is_settled || self.cx.bucket_locks.is_unsure(name, now) {
            return Ok(self.replace(shown, held).await);
        }
        // The step was planned because S3 showed another policy. This one may be from before a write of a former process.
        // Something merged into it would lose that write.
        let is_known = self.cx.bucket_locks.has_written(name, now) || is_on(Mutant::FormerStatementsBelieved);
        match self.former.filter(|_| !is_known) {
            Some(former) => {
                let (writer, destinations) = (LastWriter::FormerProcess, BTreeSet::from([name.clone()]));
                Err(Halt::Stopped(Stop::Unsettled(former.pause(), RecentWrite { writer, destinations })))
            }
            None => Ok(Ok(())),
        }
    }

    /// Writes the statements into a policy, where S3 shows this one.
    async fn replace(&self, mut shown: Option<Value>, mut held: Option<Value>) -> Read<()> {
        let BucketAddress { name, .. } = self.bucket;
        let locks = &self.cx.bucket_locks;
        if self.merge(held.as_ref()).is_none() {
            // Only the operator's statements are there: a policy is deleted only after it was read twice.
            (shown, held) = self.read().await?;
        }
        let policy = self.merge(held.as_ref());
        let result = self.write(policy.as_ref()).await;
        let now = self.cx.clock.now();
        let change = StatementsChange { sid: self.sid, statements: self.statements, shown, after: policy };
        match &result {
            Ok(()) => locks.wrote(name, change, now),
            Err(failure)
                if failure.class == FailureClass::Unavailable
                    && !is_on(Mutant::UnansweredPolicyForgotten) =>
            {
                locks.may_have_written(name, change, now);
            }
            Err(_) => {}
        }
        result?;
        self.confirm().await
    }

    /// Reads the policy until it holds what was written. A read may lag behind writes: it shows a policy from before
    /// them then. Any other policy is one that someone else has written over it.
    async fn confirm(&self) -> Read<()> {
        let mut is_old = false;
        for reads in 0..=LATER_READS {
            let (shown, _) = self.read().await?;
            if self.is_settled(shown.as_ref()) {
                return Ok(());
            }
            is_old =
                self.cx.bucket_locks.is_from_before(&self.bucket.name, shown.as_ref(), self.cx.clock.now());
            if reads < LATER_READS {
                self.cx.clock.sleep(doubling(FIRST_PAUSE, reads, LONGEST_PAUSE)).await;
            }
        }
        // S3 took the policy, and the next checks read it again.
        if is_old { Ok(()) } else { Err(self.overwritten()) }
    }

    /// The policy as S3 shows it, and as it is to be merged into.
    async fn read(&self) -> Read<(Option<Value>, Option<Value>)> {
        let shown = self.cx.cloud.read_bucket_policy(self.clients, self.bucket).await?;
        let newest = self.cx.bucket_locks.newest(&self.bucket.name, shown.clone(), self.cx.clock.now());
        Ok((shown, newest))
    }

    async fn write(&self, policy: Option<&Value>) -> Read<()> {
        let BucketAddress { name, region, account_id, .. } = self.bucket;
        let origin = Origin::new(account_id, Service::S3, region);
        let event = policy.map_or(EventName::DeleteBucketPolicy, |_| EventName::PutBucketPolicy);
        let write = self.cx.events.begin_write(origin, event, name);
        let result = self.cx.cloud.write_bucket_policy(self.clients, self.bucket, policy).await;
        self.cx.events.write_failed(write.filter(|_| result.is_err()));
        result
    }

    fn merge(&self, held: Option<&Value>) -> Option<Value> {
        merged(held.filter(|_| !is_on(Mutant::PolicyOverwritten)), self.sid, self.statements)
    }

    /// Whether a policy holds these statements of the Sid and no others of it.
    fn is_settled(&self, policy: Option<&Value>) -> bool {
        let wanted = PolicyDocument::new(self.statements.to_vec()).to_value();
        compare(&wanted, &policy_of_sid(policy, self.sid)).is_empty()
    }

    fn overwritten(&self) -> Failure {
        let detail = "the policy does not hold what was written";
        Failure::new(FailureClass::Conflict, "s3:PutBucketPolicy", self.bucket.name.clone(), detail)
    }
}
