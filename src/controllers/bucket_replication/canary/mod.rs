//! The canaries of a resource, beside its checks: list leftovers → go on with canaries on their way → write the next.
//!
//! In: a resource that was checked, or whose canary is due between two checks. Out: evidence in the store, the places
//! in the status, and when to go on. `replication::health::canary` decides which canaries there are, and when one may
//! be deleted; here are the calls. Each of them is short: a canary that is pending waits in the queue.

mod deletion;
mod evidence;
pub mod memory;
mod permission;
mod round;
mod send;

pub use deletion::CanaryRemoval;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{
    Activity, BucketReplication, BucketReplicationStatus, Canary, ConditionType, ManagementPolicy, Reason,
};
use crate::controllers::bucket_replication::canary::memory::CanaryMemory;
use crate::controllers::bucket_replication::canary::permission::authorized;
use crate::controllers::bucket_replication::canary::round::Round;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::health::canary::CanaryPlace;
use crate::replication::health::canary::flight::pause;
use crate::replication::health::canary::place;
use crate::replication::health::{Evidence, Judged, Judging, judge};
use crate::runtime::Error;

/// The result of a round.
#[derive(Debug, Default)]
pub struct RoundResult {
    /// When to go on; `None`: when the resource is checked.
    pub wake: Option<Duration>,
    /// Whether the verdict, or a figure of it, is another one now.
    pub changed: bool,
}

/// Notes that the rules of a resource are about to have canaries, before it is checked.
pub fn expect<C, K>(resource: &BucketReplication, uid: &str, cx: &Context<C, K>) {
    let BucketReplication { spec, status, .. } = resource;
    let asks = spec.health.as_ref().is_some_and(|health| health.canary.is_some());
    let may_write = spec.management_policy == ManagementPolicy::Enforce && !cx.settings.read_only;
    match (asks, may_write) {
        (false, _) => {}
        (true, false) => evidence::forget(uid, true, &spec.rules, cx),
        (true, true) => {
            let status = status.clone().unwrap_or_default();
            let now = cx.clock.timestamp();
            cx.evidence.with(uid, |held| evidence::expected(held, &spec.rules, &status, now));
        }
    }
}

/// Goes on with the canaries of a resource. `status`: as it was last written. `fresh`: someone asked for this check, or
/// changed the spec, so that the next canaries are due at once.
///
/// # Errors
/// The API server did not do what was asked of it. A failure of AWS is tried again, or is evidence.
pub async fn run_round<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    status: &BucketReplicationStatus,
    fresh: bool,
    cx: &Context<C, K>,
) -> Result<RoundResult, Error> {
    let Resource { target, spec, .. } = resource;
    let uid = &target.key.uid;
    let may_write = spec.management_policy == ManagementPolicy::Enforce && !spec.suspend;
    let asked = spec.health.as_ref().and_then(|health| health.canary.as_ref());
    let wanted = asked.filter(|_| may_write);
    let places = place::remembered(&status.canary_places, uid);
    let mut canaries = target.memory.canaries().unwrap_or_default();
    let needs_nothing = asked.is_none() && canaries.flights.is_empty() && places.is_empty();
    let before = cx.evidence.get(uid);
    let judged_at = canaries.judged_at.replace(cx.clock.timestamp());
    if wanted.is_none() {
        evidence::forget(uid, asked.is_some(), &spec.rules, cx);
    }
    if needs_nothing {
        target.memory.set_canaries(None);
        return Ok(RoundResult::default());
    }
    if fresh || is_newly_allowed(&canaries, cx) {
        canaries.round_at = None;
    }
    let went_on = match may_write {
        true => go_on(resource, Beginning { status, wanted, places }, &mut canaries, cx).await,
        false => {
            canaries.pause();
            Ok(None)
        }
    };
    let wake = match went_on {
        Ok(wake) => wake,
        // The next check reports it, or sees the object as it is by then.
        Err(Stop::Refused(_) | Stop::Outdated | Stop::Unsettled(..)) => None,
        // The settings were checked all the same. To report the right in `Ready` as well would write two statuses at
        // each try.
        Err(Stop::Kubernetes(error)) if error.is_denied() => {
            let (namespace, name, why) = (&resource.id.namespace, &resource.id.name, error.to_string());
            tracing::warn!(namespace, name, detail = why, "cannot go on with canaries");
            if wanted.is_some() {
                cx.evidence.with(uid, |held| evidence::all_refused(held, &spec.rules, &why));
            }
            Some(canaries.failed())
        }
        Err(Stop::Kubernetes(error)) => {
            target.memory.set_canaries(Some(canaries));
            return Err(error);
        }
    };
    canaries.wake_at = wake.map(|wake| cx.clock.now() + wake);
    target.memory.set_canaries(Some(canaries));
    let now = cx.clock.timestamp();
    // Time alone makes a canary late.
    let then = verdict(resource, status, &before, judged_at.unwrap_or(now));
    Ok(RoundResult { wake, changed: then != verdict(resource, status, &cx.evidence.get(uid), now) })
}

/// Whether an account allows canaries by now for the lack of which some were refused.
fn is_newly_allowed<C, K>(canaries: &CanaryMemory, cx: &Context<C, K>) -> bool {
    canaries.not_allowed.iter().any(|name| {
        let account = cx.index.account(name).ok().flatten();
        account.is_some_and(|account| account.spec.allow.contains(&Activity::Canary))
    })
}

/// The verdict that the status shows of evidence at a time: the reason, the message, and the result of the canary.
fn verdict(
    resource: &Resource<'_>,
    status: &BucketReplicationStatus,
    evidence: &Evidence,
    now: Timestamp,
) -> (Reason, String, Option<String>) {
    let named = (resource.id.namespace.as_str(), resource.id.name.as_str());
    let correction = status.last_correction.as_ref();
    let spec = &resource.spec;
    let judging = Judging { resource: named, spec, previous: status, correction, now, after_event: false };
    let Judged { reason, message, health } = judge(&judging, evidence);
    (reason, message, health.and_then(|health| health.canary).and_then(|canary| canary.result))
}

/// The state in which a round begins.
struct Beginning<'a> {
    status: &'a BucketReplicationStatus,
    /// The canaries that the spec asks for, unless nothing may be written.
    wanted: Option<&'a Canary>,
    /// Where canaries may be.
    places: BTreeSet<CanaryPlace>,
}

/// One round with an identity in AWS. Returns when to go on.
async fn go_on<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    beginning: Beginning<'_>,
    canaries: &mut CanaryMemory,
    cx: &Context<C, K>,
) -> Result<Option<Duration>, Stop> {
    let Beginning { status, wanted, places } = beginning;
    let now = cx.clock.now();
    let ready = is_ready(status);
    let due = wanted.filter(|_| ready && canaries.round_is_due(now));
    let tidies = wanted.is_none();
    let is_swept = !canaries.must_sweep(tidies, now);
    let is_idle = is_swept && canaries.flights.is_empty() && due.is_none();
    // Without flights and places there is nothing to sweep.
    let is_new = canaries.flights.is_empty() && places.is_empty() && due.is_none();
    if is_idle || is_new {
        return Ok(next_round(wanted, canaries, cx).filter(|_| ready));
    }
    if !(cx.may_begin)() {
        return Ok(None);
    }
    let accounts = authorized(resource, status, cx).await?;
    let account = accounts.source.as_ref();
    let forbids = account.is_some_and(|account| !account.spec.allow.contains(&Activity::Canary));
    if forbids && is_on(Mutant::CanaryForbiddenStays) {
        return Ok(None);
    }
    let mut clients = match cx.cloud.connect(&accounts, &resource.id).await {
        Ok(clients) => clients,
        Err(_) => return Ok(Some(canaries.failed())),
    };
    let named = places.iter().filter_map(|place| place.bucket.account_ref.as_ref());
    let named = named.filter(|_| !is_on(Mutant::FormerDestinationUnreached));
    for name in named.filter(|name| !accounts.destinations.contains_key(*name)).collect::<BTreeSet<_>>() {
        if let Ok(Some(account)) = cx.index.account(name) {
            // A failure delays nothing: the status keeps the places that could not be cleaned.
            let _ = cx.cloud.connect_also(&mut clients, name, &account, &resource.id).await;
        }
    }
    let mut round = Round {
        resource,
        status: status.clone(),
        accounts: &accounts,
        clients: &clients,
        places,
        canaries,
        is_confirmed: false,
        cx,
    };
    round.extend().await?;
    let failed = round.sweep(due.is_some() || tidies).await? | round.advance().await?;
    // One that another process sent has to be gone before the next is written in its place.
    let waits = round.canaries.flights.iter().any(|flight| flight.arrivals.is_empty());
    let sent = match (due, wanted) {
        (Some(canary), _) if !failed && !waits => round.send(canary).await?,
        (None, None) => round.forget_places(&BTreeSet::new()).await.map(|()| true)?,
        (Some(_), _) => !failed,
        (None, Some(_)) => true,
    };
    if failed || !sent {
        return Ok(Some(canaries.failed()));
    }
    canaries.succeeded();
    if waits {
        return Ok(canaries.flights.iter().map(|flight| pause(flight.age(cx.clock.timestamp()))).min());
    }
    let pending = canaries.flights.iter().map(|flight| pause(flight.age(cx.clock.timestamp())));
    Ok(pending.chain(next_round(wanted, canaries, cx)).min())
}

/// How long until the next canaries are due.
fn next_round<C, K>(
    wanted: Option<&Canary>,
    canaries: &CanaryMemory,
    cx: &Context<C, K>,
) -> Option<Duration> {
    let at = wanted.and(canaries.round_at)?;
    Some(at.saturating_duration_since(cx.clock.now()))
}

fn is_ready(status: &BucketReplicationStatus) -> bool {
    let ready = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    ready.is_some_and(|ready| ready.status == "True")
}
