//! Begins a backfill: authorize → connect → confirm → role → intent → job.
//!
//! In: a backfill without a job. Out: the job's id in the status, or what it waits for. There is at most one job,
//! whichever call fails. The status holds the request before the operator sends it, and the operator sends the same
//! request each time. After a request without an answer it searches for the job.

use crate::api::{
    BackfillSource, ConditionType, FINALIZER, Reason, ReplicationBackfillSpec, ReplicationBackfillStatus,
    RoleStatus,
};
use crate::controllers::replication_backfill::authorize::{
    AuthorizedJob, authorize, authorize_again, parent_key,
};
use crate::controllers::replication_backfill::confirm::{
    require_current, require_leading, require_unchanged,
};
use crate::controllers::replication_backfill::connect::{address, connect};
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::end::end;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::status::{go_on, save};
use crate::controllers::replication_backfill::stop::Stop;
use crate::iam::Partition;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster, Finalizers};
use crate::replication::backfill::preconditions::source_of;
use crate::replication::backfill::request::{description, job_request, token};
use crate::replication::backfill::status::{with_intent, with_job_id, with_source_and_role};
use crate::replication::backfill::{Intent, job_verdict, polling, role};
use crate::replication::refused_role_write::refused_role_write;
use crate::replication::settling_role::awaits_new_role;
use crate::replication::{Caller, Failure, FailureClass, Refusal};
use crate::runtime::action::Action;

/// Another request had the same token.
const IDEMPOTENCY: &str = "IdempotencyException";

/// Begins a backfill, or goes on beginning it.
///
/// # Errors
/// Why it does not begin now.
pub async fn begin<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<Action, Stop> {
    if subject.is_to_end() {
        return give_up(subject, spec, cx).await;
    }
    // A request may have been sent before: its job is searched for before anything else is decided.
    if may_have_asked(subject) && find(subject, spec, cx).await? {
        return Ok(
            go_on(subject, Reason::Preparing, "S3 has accepted the job", polling::FIRST_PAUSE, cx).await?
        );
    }
    let authorized = authorize(subject, spec, cx).await?;
    let clients = cx.shared.cloud.connect(&authorized.accounts(), &subject.id).await?;
    confirm(subject, cx).await?;
    let arn = match prepare_role(subject, spec, &authorized, &clients, cx).await? {
        Prepared::Role(arn) => arn,
        Prepared::Made(pause) => {
            let message =
                "the operator has created the role of the job, which IAM has to make known everywhere";
            return Ok(go_on(subject, Reason::Preparing, message, pause, cx).await?);
        }
    };
    require_permission(subject, spec, &authorized, cx).await?;
    let intent = keep_intent(subject, spec, cx).await?;
    // The lease may have moved while the role and the status were written, a permission may have gone, and the user may
    // have cancelled or deleted the backfill.
    require_current(subject, cx).await?;
    require_permission(subject, spec, &authorized, cx).await?;
    let mut request = job_request(spec, &authorized.source, &arn, &intent);
    if is_on(Mutant::TokenByChance) {
        request.token = format!("{:x}", fastrand::u64(..));
    }
    match cx.shared.cloud.create_job(&clients, &request).await {
        Ok(id) => record(subject, &id, cx).await?,
        // The same token with another body: a former leader asked for the job, and its status was lost.
        Err(failure) if failure.code == IDEMPOTENCY => {
            if !find(subject, spec, cx).await? {
                return Err(not_listed_yet(&request.source, &failure).into());
            }
        }
        Err(failure) => return Err(failure.into()),
    }
    let message = format!("S3 has accepted job {}", subject.status.job_id.as_deref().unwrap_or_default());
    Ok(go_on(subject, Reason::Preparing, &message, polling::FIRST_PAUSE, cx).await?)
}

fn not_listed_yet(source: &str, failure: &Failure) -> Failure {
    let detail = format!("a job was requested before, and S3 does not list it yet ({})", failure.answer());
    Failure::new(FailureClass::Unavailable, "s3:ListJobs", source, detail)
}

/// Ends a backfill that is cancelled or deleted before its job is known. A request whose answer was lost may still have
/// made one.
async fn give_up<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<Action, Stop> {
    if may_have_asked(subject) {
        if find(subject, spec, cx).await? {
            return Ok(go_on(
                subject,
                Reason::Cancelling,
                "the job is found and will be ended",
                polling::ENDING_PAUSE,
                cx,
            )
            .await?);
        }
        let now = cx.shared.clock.timestamp();
        let sent = subject.status.requested_at.as_ref().map(|time| now.duration_since(time.0));
        let listed = jiff::SignedDuration::try_from(polling::LISTED_AFTER).unwrap_or_default();
        if sent.is_some_and(|age| age < listed) {
            let message = "the answer to the request for the job was lost; the operator waits until S3 would list a job";
            return Ok(go_on(subject, Reason::Cancelling, message, polling::ENDING_PAUSE, cx).await?);
        }
    }
    // The status may already hold the request of a former leader. A deletion has read the live status.
    if !subject.is_deleted() {
        require_current(subject, cx).await?;
    }
    end(subject, &job_verdict::never_begun(), None, cx).await
}

/// Whether a job may have been asked for. The finalizer comes before the first write to AWS, and it remains when a
/// former leader writes a status too late.
fn may_have_asked(subject: &BackfillObject<'_>) -> bool {
    subject.status.token.is_some() || subject.has_finalizer()
}

/// Searches for a job by its description, and records it.
async fn find<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<bool, Stop> {
    let source = subject.status.source.clone().or_else(|| source_of_parent(subject, spec, cx));
    let Some(source) = source.filter(|_| !is_on(Mutant::JobNotSearched)) else { return Ok(false) };
    let clients = connect(subject, &source, cx).await?;
    let text = description(&subject.id);
    let Some(id) = cx.shared.cloud.find_job(&clients, &address(&source), &text).await? else {
        return Ok(false);
    };
    if subject.status.source.is_none() {
        // The former status was lost, and the role that was made for the job must still be removed after it.
        let held = cx.shared.cloud.read_role(&clients, &subject.id.backfill_role_name(), false).await?;
        let role = held.filter(|role| subject.id.owns(&role.tags));
        let role = role.map(|role| RoleStatus { arn: role.arn, managed: true, tags: Vec::new() });
        let token = Some(token(&subject.id));
        let known = ReplicationBackfillStatus { source: Some(source), role, token, ..subject.status.clone() };
        save(subject, known, cx).await?;
    }
    record(subject, &id, cx).await.map(|()| true)
}

/// Where the source of the replication is, in any state of the replication.
pub fn source_of_parent<C, K>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Option<BackfillSource> {
    let parent = cx.shared.index.replications.get(&parent_key(subject, spec))?;
    parent.0.as_ref().ok()?.status.as_ref().and_then(source_of)
}

async fn record<C, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    id: &str,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    let status = with_job_id(&subject.status, id, cx.shared.clock.timestamp());
    save(subject, status, cx).await
}

/// Authorizes again before a write: minutes may have passed since the reconcile began, and administrators and users may
/// have changed their minds.
async fn require_permission<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    authorized: &AuthorizedJob,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    if authorize_again(subject, spec, cx).await? != *authorized {
        return Err(Stop::Outdated);
    }
    require_unchanged(subject, cx)?;
    Ok(require_leading(cx)?)
}

/// Before the first write to AWS: confirms with the API server that the object is still the one that was read. Adds the
/// finalizer.
async fn confirm<C, K: Cluster>(subject: &BackfillObject<'_>, cx: &Context<C, K>) -> Result<(), Stop> {
    let metadata = require_current(subject, cx).await?;
    let held = Finalizers::of(&metadata);
    if !held.contains(FINALIZER) {
        let generation = metadata.generation;
        let added = cx.shared.cluster.add_finalizer(subject.key, generation, &held, FINALIZER).await;
        added.map_err(|error| if error.is_outdated() { Stop::Outdated } else { error.into() })?;
    }
    Ok(())
}

/// The role of the job.
enum Prepared {
    /// It is as it should be: its ARN.
    Role(String),
    /// It was written just now: the pause until IAM knows it.
    Made(std::time::Duration),
}

async fn prepare_role<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    authorized: &AuthorizedJob,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> Result<Prepared, Stop> {
    let (source, account) = (&authorized.source, authorized.account.as_ref());
    if let Some(existing) = &spec.role {
        let name = crate::iam::arn::role_of_arn(&existing.arn);
        let held = cx.shared.cloud.read_role(clients, name, false).await?;
        role::require_existing(&existing.arn, held.as_ref(), account)?;
        let known = RoleStatus { arn: existing.arn.clone(), managed: false, tags: Vec::new() };
        save(subject, with_source_and_role(&subject.status, source, known), cx).await?;
        return Ok(Prepared::Role(existing.arn.clone()));
    }
    let desired = role::desired_role(&subject.id, spec, source, account, authorized.parent_role.as_ref());
    let caller = Caller { account: source.account.clone(), partition: Partition::of_region(&source.region) };
    let arn = caller.partition.role_arn(&caller.account, &desired.path, &desired.name);
    let held = cx.shared.cloud.read_role(clients, &desired.name, true).await?;
    let stages = role::steps(&desired, held.as_ref(), &subject.id)?;
    let known = RoleStatus { arn: arn.clone(), managed: true, tags: Vec::new() };
    // Deletion finds the role by what the status says, so that the status comes first.
    save(subject, with_source_and_role(&subject.status, source, known), cx).await?;
    if stages.is_empty() {
        return Ok(Prepared::Role(arn));
    }
    for stage in &stages {
        require_permission(subject, spec, authorized, cx).await?;
        for step in stage {
            require_leading(cx)?;
            let done = cx.shared.cloud.execute(clients, step).await;
            let boundary = desired.permissions_boundary.as_deref();
            done.map_err(|failure| {
                let refused = refused_role_write(step, &failure, boundary, account);
                let settling = || {
                    let message = awaits_new_role(step, &failure)?;
                    Some(Refusal::new(Reason::Preparing, ConditionType::Ready, message))
                };
                refused.or_else(settling).map_or_else(|| failure.into(), Stop::from)
            })?;
        }
    }
    let pause = polling::ROLE_SETTLE.min(cx.shared.settings.backfill_settle);
    Ok(if pause.is_zero() { Prepared::Role(arn) } else { Prepared::Made(pause) })
}

/// Writes what is about to be asked for into the status. An intent that is there is kept as it is.
async fn keep_intent<C, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<Intent, Stop> {
    let now = cx.shared.clock.timestamp();
    let intent = Intent::kept(&subject.status).unwrap_or_else(|| Intent::new(&subject.id, spec, now));
    if is_on(Mutant::IntentNotKept) {
        return Ok(intent);
    }
    let status = with_intent(&subject.status, &intent, now);
    save(subject, status, cx).await?;
    Ok(intent)
}
