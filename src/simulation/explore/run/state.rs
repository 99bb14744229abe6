//! The state of a run, by which the search knows that it has been there.
//!
//! In: a run. Out: a hash of everything on which its further course depends: AWS, the API server, the memory of each
//! process, and when checks are due. Equal states go on in the same way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize as _;
use serde_json::Value;

use crate::api::{BucketReplication, FINALIZER};
use crate::simulation::api_server::ObjectName;
use crate::simulation::explore::deviation::Budget;
use crate::simulation::explore::properties::{adopts, leaves_aws_alone};
use crate::simulation::explore::run::time_numbers::TimeNumbers;
use crate::simulation::explore::run::{NAMESPACE, Process, Run, ShownObject, hash};

impl Run {
    /// Works out again what depends on AWS and Kubernetes.
    pub(super) fn refresh(&mut self) {
        let versions = (self.cloud.version(), self.cluster.with(|server| server.version()));
        if self.versions.replace(versions) == Some(versions) {
            return;
        }
        let server = self.show_objects();
        let times_count = self.scene.backfills.is_empty();
        let world = self.show_world();
        let (world, server) = match times_count {
            true => (hash(world), hash(server)),
            false => {
                let mut times = TimeNumbers::default();
                (hash(times.ranked(world)), hash(times.ranked(&server)))
            }
        };
        if self.hashes.1 != server {
            for (name, object) in self.scene.resources.iter().zip(&self.objects) {
                if let Some(metadata) = object.as_ref().map(|object| &object.metadata) {
                    let uid = metadata.uid.clone().unwrap_or_default();
                    if metadata.finalizers.iter().flatten().any(|held| held == FINALIZER) {
                        self.ghost.released.remove(&uid);
                    }
                    self.ghost.uids.entry((*name).to_owned()).or_default().insert(uid);
                }
                match object {
                    Some(object) if leaves_aws_alone(object) => {
                        self.ghost.left_by_word.insert((*name).to_owned())
                    }
                    Some(_) => self.ghost.left_by_word.remove(*name),
                    None => false,
                };
                match object {
                    Some(object) if adopts(object) => self.ghost.adopting.insert((*name).to_owned()),
                    Some(_) => self.ghost.adopting.remove(*name),
                    None => false,
                };
            }
        }
        self.hashes = (world, server);
    }

    /// AWS as text, which is worked out again only if AWS changed: a text stays true while its state is kept.
    fn show_world(&mut self) -> &str {
        let now = self.cloud.snapshot();
        let held = self.world.take().filter(|(world, _)| Arc::ptr_eq(world, &now));
        let (_, text) = self.world.insert(held.unwrap_or_else(|| {
            let text = now.canonical().into();
            (now, text)
        }));
        text
    }

    /// All objects and namespaces of the API server as text. An object that was changed is decoded again.
    fn show_objects(&mut self) -> String {
        let cluster = self.cluster.clone();
        cluster.with(|server| {
            for (name, object) in &server.objects {
                let version = &object["metadata"]["resourceVersion"];
                if self.shown.get(name).is_none_or(|shown| shown.version != *version) {
                    self.shown.insert(name.clone(), Arc::new(ShownObject::new(object)));
                    self.decode(name, Some(object));
                }
            }
            let gone = self.shown.extract_if(.., |name, _| !server.objects.contains_key(name));
            let gone: Vec<ObjectName> = gone.map(|(name, _)| name).collect();
            gone.iter().for_each(|name| self.decode(name, None));
            let mut text = serde_json::to_string(&server.namespaces).unwrap_or_default();
            self.shown.values().for_each(|shown| text.push_str(&shown.text));
            text
        })
    }

    fn decode(&mut self, name: &ObjectName, object: Option<&Value>) {
        let found = self
            .scene
            .resources
            .iter()
            .position(|resource| *name == ObjectName::replication(NAMESPACE, resource));
        if let Some(held) = found.and_then(|index| self.objects.get_mut(index)) {
            *held = object.and_then(|object| BucketReplication::deserialize(object).ok()).map(Arc::new);
        }
    }

    /// The state, as a hash: equal states go on in the same way, and so do a state and the one in which two equal
    /// resources are exchanged.
    pub fn state(&self) -> u64 {
        let own = self.own_state();
        self.mirror.as_ref().map_or(own, |mirror| own.min(mirror.own_state()))
    }

    /// The state by the names in it, as a hash.
    pub(in crate::simulation::explore) fn own_state(&self) -> u64 {
        let now = self.now();
        let mut hasher = DefaultHasher::new();
        self.hashes.hash(&mut hasher);
        if self.left.get(&Budget::StaleAnswers) != Some(&0) && self.may_answer_stale() {
            self.before_last_write.hash(&mut hasher);
        }
        if self.left.get(&Budget::StaleAnswers) != Some(&0) {
            self.parts_that_may_be_old().for_each(|part| part.hash(&mut hasher));
        }
        (
            &self.ghost,
            &self.left,
            &self.denied,
            &self.settled,
            &self.unchanged,
            &self.overwritten,
            self.lags,
            self.leader,
            self.held.map(|(_, checks)| checks),
            self.begun > 0,
        )
            .hash(&mut hasher);
        for process in &self.processes {
            (process.cache, process.leads.load(Ordering::Relaxed)).hash(&mut hasher);
            self.remembered(process, now).hash(&mut hasher);
        }
        if !self.scene.twins.is_empty() {
            self.order().hash(&mut hasher);
        }
        self.schedule.iter().for_each(|due| due.left(self.clock.elapsed()).hash(&mut hasher));
        if !self.scene.backfills.is_empty() {
            self.ages().hash(&mut hasher);
        }
        for check in &self.checks {
            (check.process, check.resource, check.history, check.number == self.active).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The memory of a process, as text.
    fn remembered(&self, process: &Process, now: std::time::Instant) -> String {
        let text = process.operator.fingerprint(now);
        if self.scene.backfills.is_empty() { text } else { TimeNumbers::default().ranked(&text) }
    }
}
