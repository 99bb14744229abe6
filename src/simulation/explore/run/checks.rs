//! Begins checks, answers their calls, and notes how they end.
//!
//! In: a run, and which check goes on. Out: the run at the next decision point.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde_json::Value;

use crate::api::{BucketReplication, ConfigurationOrigin};
use crate::iam::bucket_policy;
use crate::replication::FailureClass;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::simulation::api_server::ObjectName;
use crate::simulation::cloud::{Former, SimulatedCloud};
use crate::simulation::cluster::SimulatedCluster;
use crate::simulation::explore::properties::{Property, adopts, canary_left, forbidden, violated};
use crate::simulation::explore::run::judge::Actor;
use crate::simulation::explore::run::pauses::{INTERVAL, WATCH};
use crate::simulation::explore::run::words::{Attribution, sentence};
use crate::simulation::explore::run::{
    Check, Facts, Live, NAMESPACE, Reconcile, Run, RunPoint, Writer, hash,
};
use crate::simulation::explore::truth::has_configuration;
use crate::simulation::hook::{Call, Choice};

impl Run {
    /// Begins a check of a resource by the leader. `early`: before the watch brought what the last check wrote.
    pub(super) fn begin(&mut self, resource: usize, early: bool) -> bool {
        let leader = self.leader;
        let stale = early || std::mem::take(&mut self.lags);
        if !early {
            self.await_due(resource);
            if self.backfill_at(resource).is_some() {
                self.advance_jobs();
            }
        }
        if !stale {
            self.sync_those(|_| true);
        }
        let Some((object, future)) = self.reconcile(leader, resource) else {
            self.settled.iter_mut().skip(resource).take(1).for_each(|settled| *settled = true);
            return false;
        };
        let (name, uid) = (
            object.metadata.name.clone().unwrap_or_default(),
            object.metadata.uid.clone().unwrap_or_default(),
        );
        let Some(process) = self.processes.get(leader) else { return false };
        let facts = Facts {
            sid: bucket_policy::sid(&[NAMESPACE, &name, &object.spec.source.bucket]),
            deletes: object.metadata.deletion_timestamp.is_some(),
            name: match (self.backfill_at(resource), self.account_at(resource)) {
                (Some(backfill), _) => ObjectName::backfill(NAMESPACE, backfill),
                (None, Some(account)) => ObjectName::account(account),
                (None, None) => ObjectName::replication(NAMESPACE, &name),
            },
            object,
            uid,
            handled: self.handled(resource),
            live: None,
            policies: BTreeMap::new(),
            seen: None,
            policy_writes: BTreeMap::new(),
            wrote: false,
            reported: false,
            overtaken: false,
            disturbed: false,
            misled: false,
            interrupted: false,
        };
        self.begun += 1;
        let number = self.begun;
        self.last_begun.iter_mut().skip(resource).take(1).for_each(|last| *last = number);
        let fingerprint = process.operator.fingerprint(self.now());
        let history = hash((process.cache, fingerprint, leader, resource));
        let before = self.hashes;
        self.note(|run| {
            let how = if early { " at once, before the watch brings what it wrote" } else { "" };
            let Attribution { operator, subject } = run.attribution(leader, resource);
            format!("{operator} checks {subject}{how}.")
        });
        self.checks.push(Check { number, process: leader, resource, future, history, before, stale, facts });
        self.active = number;
        self.poll(number);
        true
    }

    /// The request that the status of a resource shows as handled.
    fn handled(&self, work: usize) -> Value {
        let Some(name) = self.scene.resources.get(work) else { return Value::Null };
        let name = ObjectName::replication(NAMESPACE, name);
        let object = self.cluster.with(|server| server.objects.get(&name).cloned());
        object.map(|object| object["status"]["lastHandledRequest"].clone()).unwrap_or_default()
    }

    /// The object of a resource, an account or a backfill as the cache of a process holds it, and its reconcile. Only a
    /// resource has a spec that a property is about.
    fn reconcile(&self, process: usize, work: usize) -> Option<(BucketReplication, Reconcile)> {
        let operator = self.processes.get(process)?.operator.clone();
        let bare = |metadata| BucketReplication { metadata, spec: Default::default(), status: None };
        if let Some(name) = self.backfill_at(work) {
            let object = bare(operator.cached_backfill(NAMESPACE, name)?);
            let reconcile = async move {
                match operator.reconcile_backfill(NAMESPACE, name) {
                    Some(reconcile) => reconcile.await,
                    None => Ok(Action::await_change()),
                }
            };
            return Some((object, Box::pin(reconcile)));
        }
        let Some(account) = self.account_at(work) else {
            let name = self.scene.resources.get(work).copied()?;
            let object = self.objects_in_cache(process, name)?;
            let reconcile = async move {
                match operator.reconcile(NAMESPACE, name) {
                    Some(reconcile) => reconcile.await,
                    None => Ok(Action::await_change()),
                }
            };
            return Some((object, Box::pin(reconcile)));
        };
        let object = bare(operator.cached_account(account)?);
        let reconcile = async move {
            match operator.reconcile_account(account) {
                Some(reconcile) => reconcile.await,
                None => Ok(Action::await_change()),
            }
        };
        Some((object, Box::pin(reconcile)))
    }

    /// Polls a check, and those that wait for a lock it may have released.
    pub(super) fn poll(&mut self, number: usize) {
        self.poll_one(number);
        let waiting: HashSet<usize> = self.wire.lock().waiting.iter().map(|waiting| waiting.check).collect();
        let blocked: Vec<usize> =
            self.checks.iter().map(|check| check.number).filter(|n| !waiting.contains(n)).collect();
        for other in blocked {
            self.poll_one(other);
        }
    }

    pub(super) fn poll_one(&mut self, number: usize) {
        let Some(index) = self.checks.iter().position(|check| check.number == number) else { return };
        let held = {
            let mut wire = self.wire.lock();
            wire.polled = number;
            wire.waiting.len()
        };
        let Some(check) = self.checks.get_mut(index) else { return };
        let polled = check.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let issued: Vec<Call> = self.wire.lock().waiting.iter().skip(held).map(|w| w.call.clone()).collect();
        for call in issued {
            self.issued(index, &call);
        }
        if let Poll::Ready(result) = polled {
            let check = self.checks.remove(index);
            self.finished(&check, result);
        }
    }

    pub(super) fn finished(&mut self, check: &Check, result: Result<Action, Error>) {
        self.refresh();
        if let Some((number, left)) = self.held.filter(|(number, _)| *number != check.number) {
            self.held = (left > 1).then(|| (number, left - 1));
        }
        let is_resource = check.resource < self.scene.resources.len();
        // A role that may not be taken over is named before each try, and not after it. A configuration with a role of
        // someone else is announced before each try, and withdrawn where S3 refuses it: an equal one could be theirs.
        let has_given_role = check.facts.object.spec.role.as_ref().is_some_and(|role| role.arn.is_some());
        let is_refused = self.reason(check.resource).is_some_and(|(reason, _)| reason != "Applied");
        let is_named = self.denied.contains("iam:TagRole") || (has_given_role && is_refused);
        let reported = is_resource && check.facts.reported && !is_named;
        let changed = check.before != self.hashes || reported;
        let after = result.as_ref().ok().and_then(|next| next.after());
        let unchanged = self.unchanged.get(check.resource).copied().unwrap_or_default();
        let is_whole = !check.stale && !check.facts.interrupted;
        let unchanged = if changed || !is_whole { 0 } else { unchanged.saturating_add(1).min(2) };
        self.unchanged.iter_mut().skip(check.resource).take(1).for_each(|held| *held = unchanged);
        let pause = if result.is_err() { WATCH } else { after.unwrap_or(INTERVAL) };
        let (soon, was_late) = self.schedule_next(check.resource, pause, unchanged);
        if check.process != self.leader {
            // The runtime of a new leader checks everything again once no request of the former one can be under way.
            self.wake();
        }
        // A check that comes back soon waits for something that may be over then; one that comes after a minute and
        // finds the same would only be repeated. The operator trusts its identity in an account for an interval.
        let soon = soon || self.account_at(check.resource).is_some();
        let is_leaders = check.process == self.leader;
        let overwritten = self.overwritten.get(check.resource).copied().unwrap_or_default();
        let overwritten = overwritten || (!is_leaders && check.facts.reported);
        let repeats = if soon || overwritten { unchanged > 1 && was_late } else { unchanged > 0 };
        if let Some(held) = self.overwritten.get_mut(check.resource) {
            // A check of the leader after a minute reads what is there.
            *held = overwritten && !(is_leaders && was_late);
        }
        let waits = result.is_ok() && after.is_none() && !check.stale;
        // A canary in place of an equal one changes no state, and is on its way all the same.
        let sent = check.facts.wrote
            && canary_left(&self.cloud.snapshot(), &check.facts.uid, &BTreeSet::new()).is_some();
        // The operator tries a denied read again and again.
        let sent = sent && self.denied.is_empty();
        let sent = sent || (self.backfill_at(check.resource).is_some() && self.jobs_go_on());
        let sent = sent || self.awaits_listing(check.resource);
        // A new leader checks everything itself.
        if let Some(settled) = self.settled.get_mut(check.resource) {
            *settled = is_leaders && !check.facts.overtaken && !sent && (waits || repeats);
        }
        if changed {
            // The writes of one check may concern another resource.
            let others = self.settled.iter_mut().enumerate().filter(|(index, _)| *index != check.resource);
            others.for_each(|(_, settled)| *settled = false);
            if let Some(count) = self.changing.get_mut(check.resource) {
                *count += 1;
            }
        }
        self.note(|run| {
            let Attribution { operator, subject } = run.attribution(check.process, check.resource);
            let ends = format!("The check of {subject} by {} ends", operator.replace("The o", "the o"));
            match (&result, run.reason(check.resource)) {
                (Err(error), _) => format!("{ends}: {error}."),
                (Ok(_), Some((reason, message))) if !reason.is_empty() => {
                    format!("{ends}: {reason} ({message}).")
                }
                (Ok(_), None) if run.account_at(check.resource).is_none() => {
                    format!("{ends}: the object is gone.")
                }
                (Ok(_), _) => format!("{ends}."),
            }
        });
        // The refusals, the convergence, the next check, and the request.
        self.judged += 4;
        if let Some(name) = self.scene.resources.get(check.resource) {
            let object = &check.facts.object;
            let is_due = !object.spec.suspend && self.is_there_for(check);
            // The watch brings what someone changed since it began.
            if waits && is_due && !check.facts.overtaken {
                let detail = format!("data/{name} is checked again only when someone changes it");
                self.violate(violated(Property::Attention, detail));
            }
            self.ghost.found.extend(self.found_by(check));
            let seen = self.ghost.accounts_seen;
            let is_forbidden = || self.cluster.with(|server| forbidden(server, object, seen).is_some());
            if check.facts.deletes && !self.is_there_for(check) {
                if is_forbidden() {
                    self.ghost.unproven.insert((*name).to_owned());
                }
                // A word that is given after the operator read the object for the last time comes too late.
                if !adopts(object) {
                    self.ghost.adopting.remove(*name);
                }
                if self.ghost.left_by_word.contains(*name) {
                    self.ghost.released.insert(check.facts.uid.clone());
                }
            }
            if result.is_ok() && self.knows(check) {
                self.judged += 1;
                self.untrue_claim(name).into_iter().for_each(|violation| self.violate(violation));
            }
            // A deletion answers it.
            if object.spec.suspend
                && !check.facts.deletes
                && self.handled(check.resource) != check.facts.handled
            {
                let detail = format!("a request counts as handled, and data/{name} is suspended");
                self.violate(violated(Property::Request, detail));
            }
        }
        // A check that a change overtook leaves the status of a former one.
        if check.facts.wrote
            && !check.facts.deletes
            && !check.facts.overtaken
            && result.is_ok()
            && let Some((reason, message)) = self.reason(check.resource)
            && ["ForeignRole", "ForeignConfiguration", "VersioningNotEnabled"].contains(&reason.as_str())
        {
            self.violate(violated(Property::Refusal, format!("the check wrote and then refused: {message}")));
        }
        if !self.is_enough(self.changing()) {
            let detail = format!("check {} in a row still changes something", self.changing());
            self.violate(violated(Property::Convergence, detail));
        }
    }

    /// Whether a check that has just ended can know that AWS is as it says. Within a minute after a write of the operator it
    /// may take what someone else changed for an old answer, unless it has corrected it. A write that was announced may have
    /// been made. A policy that resources share is not corrected in the first minute of a leader.
    fn knows(&self, check: &Check) -> bool {
        let Facts { seen, wrote, overtaken, disturbed, misled, deletes, .. } = &check.facts;
        let is_unsure = self.may_answer_stale()
            || self.may_show_later(check.resource)
            || self.awaits_former_writes(check.process, check.resource);
        let is_sure = *wrote || !is_unsure;
        let is_undisturbed = !(check.stale || *overtaken || *disturbed || *misled || *deletes);
        seen.is_some() && is_sure && is_undisturbed
    }

    /// The source whose configuration is someone's, if a check read that it is as the spec asks for, and has reported that.
    /// With the UID of the resource.
    fn found_by(&self, check: &Check) -> Option<(String, String)> {
        let Facts { seen, object, uid, deletes, .. } = &check.facts;
        let bucket = &object.spec.source.bucket;
        let held = self.objects.get(check.resource)?.as_ref()?;
        let is_reported = held.status.as_ref()?.configuration == Some(ConfigurationOrigin::Found);
        if *deletes || !is_reported || self.ghost.writers.get(bucket) != Some(&Writer::Someone) {
            return None;
        }
        let asked = serde_json::to_value(object).ok()?;
        let now = self.cloud.snapshot();
        // Someone may have put another one since then.
        let is_asked_in = |world| self.cluster.with(|server| has_configuration(server, &asked, world));
        (is_asked_in(seen.as_ref()?) && is_asked_in(&now)).then(|| (bucket.clone(), uid.clone()))
    }

    /// Whether the object of a check is still there, and has work left for the operator.
    fn is_there_for(&self, check: &Check) -> bool {
        let object = self.cluster.with(|server| server.objects.get(&check.facts.name).cloned());
        let object = object.filter(|object| object["metadata"]["uid"] == check.facts.uid.as_str());
        object.is_some_and(|object| {
            let finalizers = object["metadata"]["finalizers"].as_array();
            let held = finalizers.is_some_and(|held| held.contains(&Value::from(crate::api::FINALIZER)));
            held || object["metadata"]["deletionTimestamp"].is_null()
        })
    }

    pub(super) fn reason(&self, resource: usize) -> Option<(String, String)> {
        if let Some(name) = self.backfill_at(resource) {
            return self.backfill_reason(name);
        }
        let object = self.objects.get(resource)?.as_ref()?;
        let conditions =
            object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        Some(ready.map_or_else(
            || ("unknown".to_owned(), "no condition yet".to_owned()),
            |ready| (ready.reason.clone(), ready.message.clone()),
        ))
    }

    /// Answers a call that waits.
    pub(super) fn answer(&mut self, index: usize, choice: Choice, old: Option<Former>) {
        let name = self.name(RunPoint::Call(index));
        self.count(name.clone());
        let waiting = self.wire.lock().waiting.remove(index);
        let interfered = old.is_some() || choice != Choice::Answer;
        let choice = match choice {
            Choice::Answer if self.is_denied(&waiting) => Choice::FailBefore(FailureClass::Denied),
            choice => choice,
        };
        let Some(index) = self.checks.iter().position(|check| check.number == waiting.check) else { return };
        let (number, call) = (waiting.check, waiting.call);
        self.active = number;
        if interfered {
            // A check that fails or is misled shows nothing of what others would change.
            self.unchanged.fill(0);
        }
        let writes = call.is_write() && !matches!(choice, Choice::FailBefore(_));
        let before = writes.then(|| (self.cloud.snapshot(), self.finalizers()));
        if let Some(check) = self.checks.get_mut(index) {
            check.facts.misled |= old.is_some();
            check.facts.interrupted |= interfered;
        }
        if call.writes_to_aws() && writes {
            let others = self.checks.iter_mut().filter(|check| check.number != number);
            others.for_each(|check| check.facts.misled = true);
        }
        if let Some(former) = old {
            self.cloud.answer_stale(former);
        }
        self.note(|run| match run.checks.get(index) {
            Some(check) => sentence(&run.attribution(check.process, check.resource), &call, choice, old),
            None => String::new(),
        });
        if let Some(check) = self.checks.get_mut(index) {
            note_answer(check, &call, (choice, old), &self.cluster, &self.cloud);
        }
        if writes && call == Call::SetStatus {
            self.checks.iter_mut().skip(index).take(1).for_each(|check| check.facts.reported = true);
        }
        *waiting.slot.lock() = Some(choice);
        let process = self.checks.get(index).map(|check| check.process).unwrap_or_default();
        let writer = self.checks.get(index).filter(|_| writes).map(|check| &check.facts);
        let facts = writer.map(|facts| (facts.uid.clone(), facts.sid.clone()));
        let object = writer.map(|facts| facts.object.clone());
        let seen = self.checks.get(index).and_then(|check| check.facts.seen.clone());
        if let (Call::RemoveFinalizer, Some(object)) = (&call, &object) {
            self.note_last_read(seen.as_deref(), object.metadata.name.as_deref().unwrap_or_default());
        }
        let disturbed = self.checks.get(index).is_some_and(|check| check.facts.disturbed);
        let read = match &call {
            Call::WriteBucketPolicy(bucket) => {
                self.checks.get(index).and_then(|check| check.facts.policies.get(&bucket.name).cloned())
            }
            _ => None,
        };
        let hash_before = self.hashes.0;
        self.poll(number);
        self.refresh();
        let hashes = self.hashes;
        if call == Call::SetStatus && writes {
            let found = self.checks.iter().find(|check| check.number == number);
            self.ghost.found.extend(found.and_then(|check| self.found_by(check)));
            let metadata = object.as_ref().map(|object| &object.metadata);
            let ahead = metadata.and_then(|of| self.status_ahead(of.name.as_deref()?, of.generation));
            ahead.into_iter().for_each(|violation| self.violate(violation));
        }
        if let Some(check) = self.checks.iter_mut().find(|check| check.number == number) {
            check.history = hash((check.history, &name, format!("{choice:?}"), format!("{old:?}"), hashes));
        }
        if let (Some((world, held)), Some((uid, sid)), Some(object)) = (before, facts, object) {
            let now = self.cloud.snapshot();
            if hashes.0 != hash_before {
                self.before_last_write = hash_before;
                self.last_write = Some(self.clock.elapsed());
                self.note_parts(&world, &now);
            }
            let check = self.checks.iter_mut().find(|check| check.number == number);
            if let Some(seen) = check.and_then(|check| check.facts.seen.as_mut()) {
                // The check knows the roles that it made itself.
                let made = now.roles.iter().filter(|(key, _)| !world.roles.contains_key(*key));
                let made: Vec<_> = made.map(|(key, role)| (key.clone(), role.clone())).collect();
                if !made.is_empty() {
                    Arc::make_mut(seen).roles.extend(made);
                }
            }
            let actor = Actor { uid: &uid, sid: &sid, object: &object, seen: seen.as_deref(), disturbed };
            let found = self.wrote(&world, &held, &actor, &call, read.as_ref());
            let found = found.into_iter().chain(self.second_job(&uid)).collect::<Vec<_>>();
            found.into_iter().for_each(|violation| self.violate(violation));
        }
        if choice == Choice::DieAfter {
            self.replace(process);
        }
    }
}

/// Records what a check learns from an answer.
fn note_answer(
    check: &mut Check,
    call: &Call,
    (choice, old): (Choice, Option<Former>),
    cluster: &SimulatedCluster,
    cloud: &SimulatedCloud,
) {
    if choice != Choice::Answer {
        return;
    }
    match call {
        // A backfill also asks for its replication.
        Call::Live(kind) if *kind != check.facts.name.kind => {}
        // The API server adds a finalizer only to the object that the check began with.
        Call::Live(_) | Call::AddFinalizer => {
            let facts = &mut check.facts;
            let object = cluster.with(|server| server.objects.get(&facts.name).cloned());
            let object = object.filter(|object| object["metadata"]["uid"] == facts.uid.as_str());
            facts.live = Some(Live::of(object.as_ref(), &facts.uid));
            if facts.deletes
                && facts.name.kind == "BucketReplication"
                && let Some(Ok(object)) = object.map(serde_json::from_value)
            {
                facts.object = object;
            }
        }
        // The API server writes no status of an object that is gone.
        Call::SetStatus => {
            let facts = &mut check.facts;
            let now = cluster.with(|server| Live::of(server.objects.get(&facts.name), &facts.uid));
            if !now.is_there {
                facts.live = Some(now);
            }
        }
        Call::ReadRole(_) if check.facts.name.kind == "ReplicationBackfill" => {
            check.facts.seen = Some(cloud.snapshot());
        }
        // The operator cannot know what an answer from before the last write hides.
        Call::Observe | Call::ObserveForDeletion => {
            check.facts.seen = Some(old.map_or_else(|| cloud.snapshot(), |former| cloud.former(former)));
            check.facts.disturbed &= old.is_some();
        }
        Call::ReadBucketPolicy(bucket) if old.is_none() => {
            let held = cloud.snapshot().buckets.get(&bucket.name).and_then(|b| b.policy.clone());
            check.facts.policies.insert(bucket.name.clone(), held);
        }
        Call::ReadBucketPolicy(bucket) => {
            // The operator can keep no more than an old answer holds.
            check.facts.policies.insert(bucket.name.clone(), None);
        }
        _ => {}
    }
}
