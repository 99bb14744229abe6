//! The deviations that are possible at a decision point, and their effects.
//!
//! In: a run at a decision point, and a deviation. Out: the run after it.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::api::BucketReplication;
use crate::replication::FailureClass;
use crate::runtime::leader::Succession;
use crate::simulation::api_server::ObjectName;
use crate::simulation::cloud::Former;
use crate::simulation::explore::act::Act;
use crate::simulation::explore::deviation::{Budget, Deviation};
use crate::simulation::explore::run::old_answers::former;
use crate::simulation::explore::run::{NAMESPACE, Run, RunPoint, Writer};
use crate::simulation::hook::{Call, Choice};

/// The number of checks of a new leader before the last call of the former one takes effect: the first one may only
/// find that its cache is old.
const CHECKS_MEANWHILE: u8 = 2;

/// Which acts may happen just before a call is answered. An act that is left out at a call happens at the next one, and
/// nothing between the two depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ActsHere {
    All,
    /// The API server answers with an `AwsAccount`.
    OfAccount,
    /// STS answers by a trust policy, and then the operator reads `AwsAccount`s in its cache.
    OfIdentity,
    None,
}

impl ActsHere {
    fn holds(self, act: &Act) -> bool {
        let is_administrators = act.budget == Budget::Administrators;
        match self {
            ActsHere::All => true,
            ActsHere::OfAccount => is_administrators,
            ActsHere::OfIdentity => is_administrators || act.name == "stops-trusting",
            ActsHere::None => false,
        }
    }
}

fn acts_at(call: &Call) -> ActsHere {
    match call {
        Call::Live(kind) if kind == "AwsAccount" => ActsHere::OfAccount,
        Call::Connect | Call::ConnectAlso(_) => ActsHere::OfIdentity,
        // The answers are the same whatever people do, and the operator asks for permission again before it writes.
        Call::Caller
        | Call::ObserveForCanary
        | Call::ListVersions(_)
        | Call::ReadKeyPolicy(_)
        | Call::ReadMetrics(_)
        | Call::DeleteMessages => ActsHere::None,
        _ => ActsHere::All,
    }
}

impl Run {
    /// The deviations that are possible here from what happens when nobody interferes.
    pub fn alternatives(&self) -> Vec<Deviation> {
        let mut found = Vec::new();
        let point = self.run_point();
        let wire = self.wire.lock();
        let mut acts_here = ActsHere::All;
        match point {
            RunPoint::Call(index) => {
                let Some(waiting) = wire.waiting.get(index) else { return found };
                let call = &waiting.call;
                found.push(Deviation::Fail);
                if matches!(call, Call::WriteBucketPolicy(_)) {
                    found.push(Deviation::UnknownRole);
                }
                found.extend(self.denials(waiting));
                if call.is_write() && !self.is_denied(waiting) {
                    found.extend([Deviation::LoseAnswer, Deviation::DieAfter]);
                }
                if self.may_answer_old(call) {
                    found.push(Deviation::AnswerStale);
                }
                found.extend(self.old_parts(call).into_iter().map(Deviation::AnswerOldPart));
                // The call of a former leader is late.
                let late = |other: usize| {
                    let waiting = wire.waiting.get(other);
                    self.held.is_some_and(|(check, _)| waiting.is_some_and(|waiting| waiting.check == check))
                };
                let others = (0..wire.waiting.len()).filter(|other| *other != index && !late(*other));
                found.extend(others.map(Deviation::AnswerOther));
                acts_here = acts_at(call);
                // That a call of a replication ends before another operator takes the lease is believed.
                let may_be_late = self.scene.standby && !self.scene.backfills.is_empty();
                if may_be_late && call.is_write() && self.is_leaders(waiting.check) {
                    found.push(Deviation::TakeOver);
                }
            }
            RunPoint::Idle => {
                if self.begun > 0 {
                    found.push(Deviation::Restart);
                    if self.last_work().is_some() {
                        found.push(Deviation::CheckEarly);
                    }
                }
            }
        }
        drop(wire);
        if point != RunPoint::Idle {
            let idle = |resource: &usize| {
                !self.checks.iter().any(|c| c.resource == *resource && c.process == self.leader)
            };
            let due = (0..self.settled.len()).filter(idle);
            let due = due.filter(|resource| self.settled.get(*resource) == Some(&false));
            found.extend(due.map(Deviation::Switch));
        }
        if self.scene.standby && matches!(acts_here, ActsHere::All | ActsHere::OfAccount) {
            found.push(Deviation::MoveLease);
        }
        let acts = self.scene.acts.iter().filter(|act| acts_here.holds(act));
        found.extend(acts.map(Deviation::Act));
        found.retain(|deviation| self.left.get(&deviation.budget()).is_some_and(|left| *left > 0));
        found
    }

    pub(super) fn objects_in_cache(&self, process: usize, name: &str) -> Option<BucketReplication> {
        self.processes.get(process)?.operator.cached(NAMESPACE, name)
    }

    /// Whether the cache of a process holds a resource or a backfill. A check of an account comes of itself.
    pub(super) fn is_cached(&self, process: usize, work: usize) -> bool {
        let Some(held) = self.processes.get(process) else { return false };
        match (self.scene.resources.get(work), self.backfill_at(work)) {
            (Some(name), _) => held.operator.holds(NAMESPACE, name),
            (None, Some(name)) => held.operator.cached_backfill(NAMESPACE, name).is_some(),
            (None, None) => false,
        }
    }

    /// Whether the leader runs a check.
    fn is_leaders(&self, number: usize) -> bool {
        self.checks.iter().any(|check| check.number == number && check.process == self.leader)
    }

    /// Does something other than what happens when nobody interferes; `false`: there is nothing to do it to.
    pub fn interfere(&mut self, deviation: Deviation) -> bool {
        let mirrored = self.mirrored(deviation);
        self.reflect(|mirror| mirror.interfere(mirrored));
        if let Some(left) = self.left.get_mut(&deviation.budget()) {
            *left = left.saturating_sub(1);
        }
        self.transitions += 1;
        self.changing.fill(0);
        let point = self.run_point();
        match (deviation, point) {
            (Deviation::Act(act), _) => return self.act(act),
            (Deviation::MoveLease, _) => self.move_lease(),
            (Deviation::TakeOver, RunPoint::Call(index)) => self.take_over(index),
            (Deviation::Switch(resource), _) => return self.begin(resource, false),
            (Deviation::AnswerOther(index), RunPoint::Call(_)) => self.answer(index, Choice::Answer, None),
            (Deviation::Fail, RunPoint::Call(i)) => {
                self.answer(i, Choice::FailBefore(self.scene.failure), None)
            }
            (Deviation::UnknownRole, RunPoint::Call(i)) => {
                self.answer(i, Choice::FailBefore(FailureClass::Invalid), None)
            }
            (Deviation::Deny { part, stays }, RunPoint::Call(i)) => return self.deny(i, part, stays),
            (Deviation::LoseAnswer, RunPoint::Call(i)) => self.answer(i, Choice::FailAfter, None),
            (Deviation::AnswerStale, RunPoint::Call(i)) => {
                let former = self.wire.lock().waiting.get(i).map(|waiting| former(&waiting.call));
                self.answer(i, Choice::Answer, former);
            }
            (Deviation::AnswerOldPart(part), RunPoint::Call(i)) => {
                self.answer(i, Choice::Answer, Some(Former::BeforePart(part)));
            }
            (Deviation::DieAfter, RunPoint::Call(i)) => self.answer(i, Choice::DieAfter, None),
            (Deviation::Restart, RunPoint::Idle) => self.restart(),
            (Deviation::CheckEarly, RunPoint::Idle) => {
                let Some(resource) = self.last_work() else { return false };
                self.unsettle();
                return self.begin(resource, true);
            }
            _ => return false,
        }
        true
    }

    pub(super) fn act(&mut self, act: &Act) -> bool {
        let (mut world, mut server) = (self.cloud.world(), self.cluster.server());
        let orders = server.objects.get(&ObjectName::replication(NAMESPACE, "orders"));
        let uid = orders.and_then(|object| object["metadata"]["uid"].as_str()).map(str::to_owned);
        if !(act.effect)(&mut world, &mut server) {
            return false;
        }
        self.note(|_| format!("{}.", act.sentence));
        self.ghost.theirs.retain(|key| world.roles.contains_key(key));
        self.cloud.change(world);
        self.cluster.with(|held| *held = server);
        match act.name {
            "replaces-configuration" => {
                self.forget_found();
                self.ghost.writers.insert("orders".to_owned(), Writer::Someone);
            }
            "removes-configuration" | "takes-source" => {
                self.forget_found();
                self.ghost.writers.remove("orders");
            }
            "strips-finalizer" | "replaces-resource" => self.ghost.released.extend(uid),
            _ => {}
        }
        let before = self.hashes;
        // A change of a namespace is none of an object.
        self.versions = None;
        self.refresh();
        if before.0 != self.hashes.0 {
            self.checks.iter_mut().for_each(|check| check.facts.disturbed = true);
        }
        if before.1 != self.hashes.1 {
            self.checks.iter_mut().for_each(|check| check.facts.overtaken = true);
        }
        self.unsettle();
        if before.1 != self.hashes.1 || act.budget == Budget::Administrators {
            self.wake();
            // The cache of an operator that stands by lags until it has led for a while.
            self.sync_those(|process| process.leads.load(Ordering::Relaxed));
        }
        true
    }

    /// Someone replaced the configuration of the source, or took it away.
    fn forget_found(&mut self) {
        self.ghost.once_found.extend(self.ghost.found.remove("orders").map(|_| "orders".to_owned()));
    }

    pub(super) fn move_lease(&mut self) {
        let old = self.leader;
        self.note(|run| {
            let [from, to] = [old, 1 - old].map(|process| run.operator(process).to_lowercase());
            format!("The lease moves from {from} to {to}, whose cache lags.")
        });
        self.leader = 1 - old;
        self.lags = true;
        // Its first checks begin at once.
        self.wake();
        self.unsettle();
        for (index, process) in self.processes.iter().enumerate() {
            process.leads.store(index != old, Ordering::Relaxed);
        }
        if let Some(process) = self.processes.get_mut(self.leader) {
            process.began = self.clock.elapsed();
            process.operator.begin_term(Succession::Takeover);
        }
    }

    /// The lease moves, and its new holder checks the same, first by its old cache, before the call that waits is
    /// answered.
    fn take_over(&mut self, index: usize) {
        let number = self.wire.lock().waiting.get(index).map(|waiting| waiting.check);
        let of = self.checks.iter().find(|check| Some(check.number) == number).map(|check| check.resource);
        self.move_lease();
        self.held = number.map(|number| (number, CHECKS_MEANWHILE));
        if let Some(work) = of {
            self.begin(work, false);
        }
    }

    /// The process of the leader ends and another one starts.
    pub(super) fn restart(&mut self) {
        self.note(|run| format!("{} dies between two checks, and starts again.", run.operator(run.leader)));
        self.replace(self.leader);
    }

    pub(super) fn replace(&mut self, index: usize) {
        let gone: HashSet<usize> =
            self.checks.iter().filter(|check| check.process == index).map(|check| check.number).collect();
        self.checks.retain(|check| check.process != index);
        self.wire.lock().waiting.retain(|waiting| !gone.contains(&waiting.check));
        self.held.take_if(|(check, _)| gone.contains(check));
        self.unsettle();
        let leads = self.processes.get(index).is_some_and(|p| p.leads.load(Ordering::Relaxed));
        let process = self.start(leads, Succession::Takeover);
        if let Some(held) = self.processes.get_mut(index) {
            *held = process;
        }
        if leads {
            self.wake();
        }
    }

    /// Goes on as when nobody interferes; `false`: no check would change anything.
    pub fn go_on(&mut self) -> bool {
        self.reflect(|mirror| mirror.go_on());
        self.transitions += 1;
        match self.run_point() {
            RunPoint::Call(index) => self.answer(index, Choice::Answer, None),
            RunPoint::Idle => {
                let Some(resource) = self.next_work() else {
                    return self.held.take().is_some() || self.allow_again();
                };
                self.count("idle".to_owned());
                self.begin(resource, false);
            }
        }
        true
    }

    /// Something changed that every resource has to be checked for.
    pub(super) fn unsettle(&mut self) {
        self.settled.fill(false);
        self.unchanged.fill(0);
    }

    pub(super) fn count(&mut self, name: String) {
        *self.counts.entry(name).or_default() += 1;
    }
}
