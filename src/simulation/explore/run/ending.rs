//! The end of a run: what must be true once no check changes anything, and the deletion that follows.
//!
//! In: a run in which every resource is settled. Out: the properties that do not hold.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::{BucketReplication, ManagementPolicy};
use crate::iam::bucket_policy;
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::act::HERE;
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::properties::{
    Property, Violation, canary_left, has_sid, is_owned, refers_to, statements, violated,
};
use crate::simulation::explore::refusals::{PresentFacts, disabled_key};
use crate::simulation::explore::run::{NAMESPACE, Run, Writer};
use crate::simulation::explore::truth::{claim, untrue};
use crate::simulation::world::{SimulatedBucket, World};

fn has_finalizer(object: &BucketReplication) -> bool {
    object.metadata.finalizers.iter().flatten().any(|held| held == crate::api::FINALIZER)
}

impl Run {
    /// No check changes anything any more: what must be true then.
    pub fn settled(&mut self) {
        for (index, name) in self.scene.resources.iter().enumerate() {
            // Truth, convergence, and what is left after a deletion.
            self.judged += 3;
            if let Some(violation) = self.settled_as(index, name) {
                self.violate(violation);
            }
        }
        let before = self.scene.resources.len() + self.scene.accounts.len();
        for (index, name) in self.scene.backfills.iter().enumerate() {
            self.judged += 1;
            if let Some(violation) = self.backfill_settled_as(before + index, name) {
                self.violate(violation);
            }
        }
        for name in self.scene.accounts {
            self.judged += 1;
            if let Some(violation) = self.account_is_true(name) {
                self.violate(violation);
            }
        }
    }

    /// Whether the status of an account names the operator's identity there and the number of resources that refer to
    /// it.
    fn account_is_true(&self, name: &str) -> Option<Violation> {
        let server = self.cluster.server();
        let account = server.objects.get(&ObjectName::account(name))?;
        let world = self.cloud.snapshot();
        let (id, assumes) = (&account["spec"]["accountId"], !account["spec"]["assumeRole"].is_null());
        let reached = match assumes {
            true => world.trusting_accounts.iter().any(|trusting| id.as_str() == Some(trusting)),
            false => id.as_str() == Some(&world.own_account),
        };
        let status = &account["status"];
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let is_ready = conditions.any(|c| c["type"] == "Ready" && c["status"] == "True");
        let referring = server.objects.iter().filter(|(key, object)| refers_to(key, object, name)).count();
        let wrong = if is_ready != reached {
            format!("AwsAccount {name} has Ready={is_ready}, and the operator can act there: {reached}")
        } else if status["replications"] != referring {
            format!(
                "AwsAccount {name} counts {} resources, and there are {referring}",
                status["replications"]
            )
        } else {
            return None;
        };
        Some(violated(Property::Truth, wrong))
    }

    pub(super) fn settled_as(&self, index: usize, name: &str) -> Option<Violation> {
        if let Some(violation) = self.canary_remains(index, name) {
            return Some(violation);
        }
        let Some(object) = self.objects.get(index).and_then(Option::as_ref) else {
            return if self.ghost.left_by_word.contains(name) { None } else { self.remains(name) };
        };
        let (reason, message) = self.reason(index)?;
        let (is_justified, is_waiting_justified) = self.justified(object, &reason);
        if object.metadata.deletion_timestamp.is_some() {
            let others = object.metadata.finalizers.iter().flatten().any(|f| f != crate::api::FINALIZER);
            if is_waiting_justified || (others && !has_finalizer(object)) {
                return None;
            }
            let detail = format!("data/{name} stays: {reason} ({message})");
            return Some(violated(Property::Remembering, detail));
        }
        if let Some(violation) = self.untrue_claim(name) {
            return Some(violation);
        }
        if !is_justified {
            let detail =
                format!("data/{name} stays {reason}, and nothing there is a reason for it ({message})");
            return Some(violated(Property::Convergence, detail));
        }
        let generation = object.metadata.generation;
        if object.status.as_ref().and_then(|status| status.observed_generation) != generation {
            let detail = format!("the status of data/{name} stays one of a former generation");
            return Some(violated(Property::Convergence, detail));
        }
        let writes = object.spec.management_policy == ManagementPolicy::Enforce;
        (reason == "Applied" && writes && !has_finalizer(object)).then(|| {
            let detail = format!(
                "data/{name} is Ready without the finalizer, so that its deletion leaves what was made"
            );
            violated(Property::Remembering, detail)
        })
    }

    /// Whether a resource may stay with a reason, and whether its deletion may wait with it.
    fn justified(&self, object: &BucketReplication, reason: &str) -> (bool, bool) {
        let (metadata, world) = (&object.metadata, self.cloud.snapshot());
        let uid = metadata.uid.clone().unwrap_or_default();
        let writer = self.ghost.writers.get(&object.spec.source.bucket);
        let name = ObjectName::replication(NAMESPACE, metadata.name.as_deref().unwrap_or_default());
        self.cluster.with(|server| {
            let Some(json) = server.objects.get(&name) else { return (false, false) };
            let grounds = PresentFacts {
                server,
                world: &world,
                json,
                object,
                accounts_seen: self.ghost.accounts_seen,
                is_configurations_writer: writer == Some(&Writer::Resource(uid)),
            };
            (grounds.justify(reason), grounds.justify_waiting(reason))
        })
    }

    /// A claim of a resource about AWS that is not true.
    pub(super) fn untrue_claim(&self, name: &str) -> Option<Violation> {
        let key = ObjectName::replication(NAMESPACE, name);
        let world = self.cloud.snapshot();
        let detail = self.cluster.with(|server| {
            let object = server.objects.get(&key)?;
            let by_ghost = || self.tag_left(object, &world).or_else(|| self.key_ignored(object, &world));
            untrue(server, object, &world).or_else(by_ghost)
        });
        detail.map(|detail| violated(Property::Truth, detail))
    }

    /// A status, or a condition of it, that names a later generation of the spec than the one that a check began with.
    pub(super) fn status_ahead(&self, name: &str, checked: Option<i64>) -> Option<Violation> {
        let status = self.cluster.with(|server| {
            Some(server.objects.get(&ObjectName::replication(NAMESPACE, name))?["status"].clone())
        })?;
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let named = conditions.chain([&status]).filter_map(|part| part["observedGeneration"].as_i64());
        let (named, checked) = (named.max()?, checked?);
        let detail = || {
            format!(
                "the status of data/{name} names generation {named}, and generation {checked} was checked"
            )
        };
        (named > checked).then(|| violated(Property::Truth, detail()))
    }

    /// A key that encrypts nothing, beside a claim that all is as the spec says. The operator may be denied to read keys.
    fn key_ignored(&self, object: &Value, world: &World) -> Option<String> {
        let was_denied = self.left.get(&Budget::Denials) == Some(&0);
        let (kind, key) = (claim(object)?, disabled_key(object, world).filter(|_| !was_denied)?);
        Some(format!("the resource is {kind}, and key {key} encrypts nothing"))
    }

    /// A tag of a role that a former spec asked for, beside a claim that AWS is as the present one says.
    fn tag_left(&self, object: &Value, world: &World) -> Option<String> {
        let (name, kind) = (object["spec"]["role"]["name"].as_str()?, claim(object)?);
        let is_left = |(role, tag): &&(String, String)| {
            let held = world.role(HERE, role);
            role == name
                && object["spec"]["role"]["tags"][tag].is_null()
                && held.is_some_and(|held| held.tags.contains_key(tag))
        };
        let (_, tag) = self.ghost.set_tags.iter().find(is_left)?;
        Some(format!("the resource is {kind}, and role {name} still has the tag {tag}"))
    }

    /// Canaries that are left although the operator was allowed to delete them.
    fn canary_remains(&self, index: usize, name: &str) -> Option<Violation> {
        let forbidden = match self.objects.get(index).and_then(Option::as_ref) {
            Some(object) => {
                let observed = object.spec.management_policy == ManagementPolicy::Observe;
                let refused = self.reason(index).is_some_and(|(reason, _)| reason != "Applied");
                observed || object.spec.suspend || refused
            }
            None => self.ghost.left_by_word.contains(name),
        };
        let world = self.cloud.snapshot();
        let mut uids = self.uids_to_answer_for(name);
        let out_of_reach = self.out_of_reach(name, &world);
        let left = uids.find_map(|uid| canary_left(&world, uid, &out_of_reach)).filter(|_| !forbidden)?;
        Some(violated(Property::Canary, format!("{left} is left of data/{name}")))
    }

    /// The buckets in which the status of a resource remembers canaries, and in whose accounts no `AwsAccount` lets the
    /// operator act any more. A former destination in which AWS denied a call is listed again with the next canary.
    fn out_of_reach(&self, name: &str, world: &World) -> BTreeSet<String> {
        let was_denied = self.left.get(&Budget::Denials) == Some(&0);
        let is_remembered = |object: &Value, bucket: &str| {
            let held = object["status"]["canaryPlaces"].as_array();
            held.is_some_and(|held| held.iter().any(|held| held["bucket"] == bucket))
        };
        let is_former = |object: &Value, bucket: &str| {
            let rules = object["spec"]["rules"].as_array();
            !rules.is_some_and(|rules| rules.iter().any(|rule| rule["destination"]["bucket"] == bucket))
        };
        let is_open = |server: &ApiServer, account_id: &str| {
            let mut accounts = server.objects.iter().filter(|(name, _)| name.kind == "AwsAccount");
            account_id == HERE || accounts.any(|(_, account)| account["spec"]["accountId"] == account_id)
        };
        let buckets = world.buckets.iter();
        self.cluster.with(|server| {
            let object = server.objects.get(&ObjectName::replication(NAMESPACE, name));
            let Some(object) = object else { return BTreeSet::new() };
            let left = buckets.filter(|(name, bucket)| {
                let is_closed = !is_open(server, &bucket.account_id);
                is_remembered(object, name) && (is_closed || (was_denied && is_former(object, name)))
            });
            left.map(|(name, _)| name.clone()).collect()
        })
    }

    /// Remains in AWS of a resource that is gone, and of those that had its name before.
    fn remains(&self, name: &str) -> Option<Violation> {
        self.uids_to_answer_for(name).find_map(|uid| self.remains_of(uid, name))
    }

    /// The UIDs of the objects that ever had the name of a resource and took their finalizer with them: the user owns
    /// the remains of another one.
    fn uids_to_answer_for(&self, name: &str) -> impl Iterator<Item = &String> {
        let all = self.ghost.uids.get(name).into_iter().flatten();
        all.filter(|uid| !self.ghost.released.contains(*uid))
    }

    fn remains_of(&self, uid: &str, name: &str) -> Option<Violation> {
        let world = self.cloud.snapshot();
        let left = |what: String| {
            Some(violated(Property::Remembering, format!("data/{name} is gone, and {what} is left")))
        };
        let mut kept = self.roles_that_stay(name, &world);
        kept.extend(self.ghost.in_use.iter().map(String::as_str));
        let mut owned = world.roles.values().filter(|role| is_owned(role, uid));
        if let Some(role) = owned.find(|role| !kept.contains(role.arn.as_str())) {
            return left(format!("its role {}", role.name));
        }
        // Without its role nothing in AWS proves that it is the resource's.
        let is_unproven = |bucket: &String| {
            let held = world.buckets.get(bucket).and_then(|held| held.configuration.as_ref());
            let owner = held.and_then(|held| world.roles.values().find(|role| role.arn == held.role));
            self.ghost.unproven.contains(name) && owner.is_none_or(|role| !is_owned(role, uid))
        };
        let wrote = |(bucket, writer): &(&String, &Writer)| {
            **writer == Writer::Resource(uid.to_owned()) && !self.stays(bucket, name) && !is_unproven(bucket)
        };
        if let Some((bucket, _)) = self.ghost.writers.iter().find(wrote) {
            return left(format!("its configuration of bucket {bucket}"));
        }
        let sid = bucket_policy::sid(&[NAMESPACE, name, name]);
        // A statement names no UID: it may be one of an object that lost its finalizer.
        let is_one = self.ghost.uids.get(name).is_none_or(|uids| uids.is_disjoint(&self.ghost.released));
        let holds = |bucket: &SimulatedBucket| {
            statements(bucket.policy.as_ref()).iter().any(|statement| has_sid(statement, &sid))
        };
        let bucket = world.buckets.iter().find(|(_, bucket)| is_one && holds(bucket));
        bucket.and_then(|(bucket, _)| left(format!("a statement of it in the policy of bucket {bucket}")))
    }

    /// Whether the configuration of a bucket stays after the deletion of a resource: it equalled the spec before the operator
    /// wrote it; or it is the user's, or took the place of someone's, and `adoptionPolicy` is not, or no longer, `Adopt`.
    fn stays(&self, bucket: &String, name: &str) -> bool {
        let is_users = match self.ghost.writers.get(bucket) {
            Some(Writer::Resource(uid)) => self.ghost.released.contains(uid),
            Some(Writer::Someone) | None => false,
        };
        let was_found = self.ghost.found.contains_key(bucket) || self.ghost.once_found.contains(bucket);
        let is_given_up = is_users || self.ghost.adopted.contains(bucket);
        was_found || (is_given_up && !self.ghost.adopting.contains(name))
    }

    /// The ARNs of the roles that the configurations that stay name.
    fn roles_that_stay<'a>(&self, name: &str, world: &'a World) -> BTreeSet<&'a str> {
        let kept = world.buckets.iter().filter(|(bucket, _)| self.stays(bucket, name));
        kept.filter_map(|(_, bucket)| Some(bucket.configuration.as_ref()?.role.as_str())).collect()
    }

    /// The finalizer goes: the deletion has read AWS for the last time, and cannot know what someone changes from now on.
    pub(super) fn note_last_read(&mut self, seen: Option<&World>, name: &str) {
        let in_use = seen.map(|world| self.roles_that_stay(name, world)).unwrap_or_default();
        self.ghost.in_use = in_use.into_iter().map(str::to_owned).collect();
    }

    /// At the end of every trace the resources are deleted: nothing may be left. `false`: all are gone already.
    pub fn close(&mut self) -> bool {
        self.reflect(|mirror| mirror.close());
        self.closing = true;
        let resources = self.scene.resources.iter().map(|name| ObjectName::replication(NAMESPACE, name));
        let backfills = self.scene.backfills.iter().map(|name| ObjectName::backfill(NAMESPACE, name));
        let mut there: Vec<ObjectName> = resources.chain(backfills).collect();
        self.cluster.with(|server| there.retain(|name| server.objects.contains_key(name)));
        if there.is_empty() {
            return false;
        }
        for name in there {
            self.note(|_| format!("The user deletes data/{}.", name.name));
            self.cluster.with(|server| server.delete(&name));
        }
        self.refresh();
        self.wake();
        self.unsettle();
        self.changing.fill(0);
        true
    }
}
