//! Judges each call when it is issued, and each write when it has taken effect.
//!
//! In: AWS and the API server before and after, and what the check knew. Out: the properties that do not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::api::{BucketReplication, ManagementPolicy};
use crate::replication::health::canary::CanaryObject;
use crate::replication::{BucketAddress, Step};
use crate::simulation::api_server::ObjectName;
use crate::simulation::explore::act::HERE;
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::properties::{
    CANARY, Need, Property, Violation, adopts, forbidden, forbids, has_sid, is_allowed_destination, is_owned,
    lacks, leaves_aws_alone, owner_before, statements, violated,
};
use crate::simulation::explore::run::{Check, Facts, Live, PolicyWrite, Run, Writer};
use crate::simulation::hook::Call;
use crate::simulation::world::World;

/// The finalizers of each object.
type FinalizersByObject = BTreeMap<ObjectName, Vec<Value>>;

impl Run {
    /// A call was issued: whether it may be made at this moment.
    pub(super) fn issued(&mut self, index: usize, call: &Call) {
        let Some(check) = self.checks.get(index) else { return };
        let leads = self.processes.get(check.process).is_some_and(|p| p.leads.load(Ordering::Relaxed));
        if self.backfill_at(check.resource).is_some() {
            return self.issued_for_backfill(index, leads, call);
        }
        let facts = &check.facts;
        let seen = self.ghost.accounts_seen;
        let refused = || self.cluster.with(|server| forbidden(server, &facts.object, seen));
        if let Call::ReadBucketPolicy(bucket) = call {
            let begun = PolicyWrite {
                permitted: facts.deletes || refused().is_none(),
                wanted: self.unwanted(check, &self.known(check)).is_none(),
            };
            if let Some(check) = self.checks.get_mut(index) {
                check.facts.policy_writes.insert(bucket.name.clone(), begun);
            }
            return;
        }
        if !call.writes_to_aws() {
            return;
        }
        // Existence, observation, permission, widening, the lease.
        self.judged += 5;
        let found = self.faults_of_write(check, leads, call);
        found.into_iter().for_each(|(property, detail)| self.violate(violated(property, detail)));
        if let Some(check) = self.checks.get_mut(index) {
            check.facts.wrote = true;
            if let Call::WriteBucketPolicy(bucket) = call {
                check.facts.policy_writes.remove(&bucket.name);
            }
        }
    }

    /// The properties that a write to AWS breaks because it is issued at this moment.
    fn faults_of_write(&self, check: &Check, leads: bool, call: &Call) -> Vec<(Property, String)> {
        let facts = &check.facts;
        let resource = self.scene.resources.get(check.resource).copied().unwrap_or_default();
        let mut found = Vec::new();
        found.extend(self.faults_about_canaries(facts, call));
        if facts.deletes
            && !facts.overtaken
            && let Call::WriteBucketPolicy(BucketAddress {
                name, account_id, account_ref: Some(account), ..
            }) = call
            && self.cluster.with(|server| {
                !server.objects.contains_key(&ObjectName::account(account))
                    && !is_allowed_destination(server, account_id, name)
            })
        {
            found.push((
                Property::Widening,
                format!("the operator wants to {call}, which no AwsAccount allows"),
            ));
        }
        let begun = match call {
            Call::WriteBucketPolicy(bucket) => facts.policy_writes.get(&bucket.name),
            _ => None,
        };
        if !begun.is_some_and(|begun| begun.wanted)
            && let Some((property, why)) = self.unwanted(check, &self.known(check))
        {
            found.push((property, format!("the operator wants to {call} for data/{resource}, which {why}")));
        }
        if !facts.deletes && !begun.is_some_and(|begun| begun.permitted) {
            found.extend(self.faults_of_permission(facts, call));
        }
        found.extend(self.fault_of_boundary(facts, call));
        if !leads && !matches!(call, Call::WriteBucketPolicy(_)) {
            found.push((Property::Lease, format!("the former leader wants to {call}")));
        }
        found
    }

    /// The properties that a write or a deletion of a canary breaks.
    fn faults_about_canaries(&self, facts: &Facts, call: &Call) -> Vec<(Property, String)> {
        let mut found = Vec::new();
        match call {
            Call::DeleteVersion(object) => {
                if !object.key.rsplit('/').next().is_some_and(|name| name.starts_with(CANARY)) {
                    found.push((
                        Property::Foreign,
                        format!("the operator wants to {call}, which is no canary: {}", object.key),
                    ));
                }
                if !facts.deletes && self.cloud.snapshot().is_pending(object) {
                    found.push((
                        Property::CanaryEnd,
                        format!("the operator wants to {call}, which is pending"),
                    ));
                }
            }
            Call::PutCanary(object) => {
                if let Some(why) = self.cluster.with(|server| forbids(server, &facts.object, "Canary")) {
                    found
                        .push((Property::Permission, format!("the operator wants to {call} although {why}")));
                }
                if self.is_on_its_way(object) {
                    found.push((
                        Property::Canary,
                        format!("the operator wants to {call} although one is on its way"),
                    ));
                }
                if facts.live.is_some_and(|live| !live.has_finalizer) {
                    found.push((
                        Property::Remembering,
                        format!("the operator wants to {call} for an object without the finalizer"),
                    ));
                }
            }
            _ => {}
        }
        found
    }

    /// Whether the source holds a canary of the same rule. Its key ends with the time.
    fn is_on_its_way(&self, canary: &CanaryObject) -> bool {
        let rule = canary.key.rsplit_once('-').map_or(canary.key.as_str(), |(rule, _)| rule);
        let world = self.cloud.snapshot();
        let held = world.buckets.get(&canary.bucket.name);
        held.is_some_and(|held| held.objects.versions.iter().any(|version| version.key.starts_with(rule)))
    }

    /// The state of the object of a check as the operator knows it, from the last answer of the API server and the
    /// watch since the check began.
    fn known(&self, check: &Check) -> Live {
        let facts = &check.facts;
        // An operator that has not asked must be right all the same.
        let now = || self.cluster.with(|server| Live::of(server.objects.get(&facts.name), &facts.uid));
        let asked = facts.live.unwrap_or_else(now);
        let shown = self.objects_in_cache(check.process, facts.name.name.as_str());
        let shown = shown.filter(|shown| shown.metadata.uid.as_deref() == Some(facts.uid.as_str()));
        let is_observed = |object: &BucketReplication| match facts.deletes {
            true => leaves_aws_alone(object),
            false => object.spec.management_policy == ManagementPolicy::Observe || object.spec.suspend,
        };
        Live {
            is_there: asked.is_there && shown.is_some(),
            is_deleted: asked.is_deleted
                || shown.as_ref().is_some_and(|shown| shown.metadata.deletion_timestamp.is_some()),
            has_finalizer: asked.has_finalizer,
            is_observed: (asked.is_observed && !facts.deletes) || shown.as_ref().is_some_and(is_observed),
        }
    }

    /// Why nothing is to be written for the object of a check.
    fn unwanted(&self, check: &Check, known: &Live) -> Option<(Property, &'static str)> {
        let facts = &check.facts;
        if !known.is_there || (known.is_deleted && !facts.deletes) {
            return Some((Property::Existence, "is gone or being deleted"));
        }
        may_only_observe(facts, known).then_some((Property::Observation, "may only be observed"))
    }

    /// Whether the accounts refuse the resource, and whether an older one owns its source.
    fn faults_of_permission(&self, facts: &Facts, call: &Call) -> Vec<(Property, String)> {
        let seen = self.ghost.accounts_seen;
        let mut found = Vec::new();
        if let Some(why) = self.cluster.with(|server| forbidden(server, &facts.object, seen)) {
            let property =
                if why.contains("does not exist") { Property::Widening } else { Property::Permission };
            found.push((property, format!("the operator wants to {call} although {why}")));
        }
        if !self.scene.is_alone()
            && let Some(owner) = self.cluster.with(|server| owner_before(server, &facts.object, seen))
        {
            let detail = format!("the operator wants to {call}, and data/{owner} owns the source");
            found.push((Property::Permission, detail));
        }
        found
    }

    /// Whether a role gets permissions, or rules name a role that someone else made, without the boundary that its
    /// `AwsAccount` imposes. A boundary that the operator cannot put on its own role keeps no configuration from being put.
    pub(super) fn fault_of_boundary(&self, facts: &Facts, call: &Call) -> Option<(Property, String)> {
        let Call::Execute(step) = call else { return None };
        let account = facts.object.spec.source.account_ref.as_deref().unwrap_or("default");
        let imposed = self.cluster.with(|server| {
            let account = server.objects.get(&ObjectName::account(account))?;
            account["spec"]["roles"]["permissionsBoundary"].as_str().map(str::to_owned)
        })?;
        let world = self.cloud.snapshot();
        let is_unsure = facts.disturbed || facts.misled;
        let is_given = facts.object.spec.role.as_ref().is_some_and(|role| role.arn.is_some());
        let boundary = match step {
            Step::CreateRole { documents, .. } => documents.permissions_boundary.clone(),
            Step::PutRolePolicy { role, .. } if !is_unsure => {
                world.role(HERE, role).and_then(|role| role.permissions_boundary.clone())
            }
            Step::PutReplication { configuration, .. } if !is_unsure && is_given => {
                world.role_by_arn(&configuration.role).and_then(|role| role.permissions_boundary.clone())
            }
            _ => return None,
        };
        let detail =
            || format!("the operator wants to {call} without the boundary that AwsAccount {account} imposes");
        (!facts.deletes && boundary.as_ref() != Some(&imposed)).then(|| (Property::Permission, detail()))
    }

    /// A write took effect: what it may not have changed.
    pub(super) fn wrote(
        &mut self,
        world: &Arc<World>,
        held: &FinalizersByObject,
        actor: &Actor<'_>,
        call: &Call,
        read: Option<&Option<Value>>,
    ) -> Vec<Violation> {
        // Foreign things, others' parts, coverage, and what is there twice.
        self.judged += 4;
        let mut found = Vec::new();
        let after = self.cloud.snapshot();
        // A write to Kubernetes leaves AWS as it was.
        let unchanged = Arc::ptr_eq(world, &after);
        if !unchanged {
            self.note_tags(call);
            found.extend(self.faults_in_roles(world, &after, actor));
            found.extend(self.faults_in_buckets(world, &after, actor, (call, read)));
        }
        let now = self.finalizers();
        for (name, held) in held {
            let is_lost =
                |f: &&Value| **f != crate::api::FINALIZER && !now.get(name).is_some_and(|n| n.contains(f));
            if let Some(lost) = held.iter().find(is_lost) {
                let detail = format!("the finalizer {lost} of {} is lost", name.name);
                found.push(violated(Property::Others, detail));
            }
        }
        found
    }

    /// Notes the tags that a spec had put on a role.
    fn note_tags(&mut self, call: &Call) {
        let Call::Execute(step) = call else { return };
        let (role, tags) = match step {
            Step::CreateRole { role, documents } => (role, &documents.tags),
            Step::TagRole { role, tags } => (role, tags),
            _ => return,
        };
        let asked = tags.keys().filter(|tag| !tag.starts_with("s3replication.dev/"));
        self.ghost.set_tags.extend(asked.map(|tag| (role.clone(), tag.clone())));
    }

    /// The changes in roles that a write may not make.
    fn faults_in_roles(&self, before: &World, after: &World, actor: &Actor<'_>) -> Vec<Violation> {
        let mut found = Vec::new();
        for (key, role) in &before.roles {
            let now = after.roles.get(key);
            let same = now.is_some_and(|now| {
                (&now.tags, &now.policy, &now.trust) == (&role.tags, &role.policy, &role.trust)
            });
            let seen = actor.seen.and_then(|seen| seen.roles.get(key));
            let was_owned = seen.is_some_and(|seen| is_owned(seen, actor.uid));
            if !is_owned(role, actor.uid) && !was_owned && !adopts(actor.object) && !same {
                let detail = format!("role {} was not made by this resource, and is changed", role.name);
                found.push(violated(Property::Foreign, detail));
            }
            let was_theirs = self.ghost.theirs.contains(key);
            if was_theirs && now.is_none() && !adopts(actor.object) {
                let detail = format!(
                    "role {} was taken over, and is deleted without adoptionPolicy: Adopt",
                    role.name
                );
                found.push(violated(Property::Foreign, detail));
            }
            let asked = actor.object.spec.role.iter().flat_map(|role| role.tags.keys());
            let status = actor.object.status.as_ref().and_then(|status| status.role.as_ref());
            let set = status.into_iter().flat_map(|role| &role.tags);
            let own: BTreeSet<&String> = asked.chain(set).collect();
            let is_theirs = |tag: &String| !tag.starts_with("s3replication.dev/") && !own.contains(tag);
            let theirs = role.tags.iter().filter(|(tag, _)| is_theirs(tag));
            if let Some(now) = now
                && let Some((tag, _)) =
                    theirs.into_iter().find(|(tag, value)| now.tags.get(*tag) != Some(*value))
            {
                let detail = format!("the tag {tag} of role {} is lost", role.name);
                found.push(violated(Property::Others, detail));
            }
        }
        found
    }

    /// The changes in buckets that a write may not make. `read`: the policy that the operator read before, where it
    /// did.
    fn faults_in_buckets(
        &mut self,
        before: &World,
        after: &World,
        actor: &Actor<'_>,
        (call, read): (&Call, Option<&Option<Value>>),
    ) -> Vec<Violation> {
        let mut found = Vec::new();
        for (name, bucket) in &before.buckets {
            let Some(now) = after.buckets.get(name) else { continue };
            if now.configuration != bucket.configuration {
                let theirs = self.ghost.writers.get(name) == Some(&Writer::Someone);
                let seen = actor.seen.and_then(|seen| seen.buckets.get(name));
                let known = seen.is_none_or(|seen| seen.configuration == bucket.configuration);
                let was_found = self.ghost.found.get(name).is_some_and(|uid| uid == actor.uid);
                if theirs && known && !was_found && !adopts(actor.object) {
                    let detail = format!(
                        "the configuration of bucket {name} was someone's, and is replaced or deleted"
                    );
                    found.push(violated(Property::Foreign, detail));
                }
                // One that the operator wrote since then has been adopted, where the user allows that.
                let is_adopted = !theirs && adopts(actor.object);
                if was_found && !is_adopted && now.configuration.is_none() {
                    let detail =
                        format!("the configuration of bucket {name} was there before, and is deleted");
                    found.push(violated(Property::Foreign, detail));
                }
                let was_adopted = self.ghost.adopted.contains(name);
                if was_adopted && now.configuration.is_none() && !adopts(actor.object) {
                    let detail = format!(
                        "the configuration of bucket {name} was adopted, and is deleted without adoptionPolicy: Adopt"
                    );
                    found.push(violated(Property::Foreign, detail));
                }
                let is_first = !known && !self.ghost.applied.contains(actor.uid);
                match now.configuration {
                    Some(_) => {
                        // The operator cannot know what someone put there since it was read.
                        let was_seen = seen.unwrap_or(bucket).configuration.is_some();
                        match was_seen {
                            // Someone may have removed theirs since it was read.
                            true if (theirs && known) || is_first => {
                                self.ghost.adopted.insert(name.clone());
                            }
                            true => {}
                            false => {
                                self.ghost.adopted.remove(name);
                            }
                        }
                        self.ghost.writers.insert(name.clone(), Writer::Resource(actor.uid.to_owned()));
                        self.ghost.applied.insert(actor.uid.to_owned());
                    }
                    None => {
                        self.ghost.writers.remove(name);
                        self.ghost.adopted.remove(name);
                    }
                }
            }
            if now.policy != bucket.policy {
                let (held, written) = (bucket.policy.as_ref(), now.policy.as_ref());
                found.extend(self.policy_changed(name, actor, held, written, read));
            }
            if !actor.disturbed {
                let lacked = lacks(before, name);
                let is_restored = |need: &Need| was_applied(actor.object) && need.is_out_of_reach(after);
                // A role of someone else may be one that the operator may not read.
                let is_given = actor.object.spec.role.as_ref().is_some_and(|role| role.arn.is_some());
                let was_denied = self.left.get(&Budget::Denials) == Some(&0);
                let is_unread = |need: &Need| need.is_of_role() && is_given && was_denied;
                let is_new =
                    |need: &Need| !lacked.contains_key(need) && !is_restored(need) && !is_unread(need);
                let lacking = lacks(after, name).into_iter().find(|(need, _)| is_new(need));
                found.extend(lacking.map(|(_, why)| {
                    violated(Property::Coverage, format!("after the operator's write ({call}), {why}"))
                }));
            }
        }
        found
    }

    /// The finalizers of all objects.
    pub(super) fn finalizers(&self) -> FinalizersByObject {
        let of = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        self.cluster
            .with(|server| server.objects.iter().map(|(name, object)| (name.clone(), of(object))).collect())
    }

    pub(super) fn policy_changed(
        &self,
        bucket: &str,
        actor: &Actor<'_>,
        before: Option<&Value>,
        after: Option<&Value>,
        read: Option<&Option<Value>>,
    ) -> Option<Violation> {
        let now = statements(after);
        let known = read.map(|read| statements(read.as_ref()));
        let is_own =
            |statement: &Value| statement["Sid"].as_str().is_some_and(|sid| sid.starts_with("S3Replication"));
        let theirs = statements(before).into_iter().filter(|statement| !has_sid(statement, actor.sid));
        for statement in theirs.filter(|statement| !now.contains(statement)) {
            // The operator cannot know what someone wrote between the read and the write. It knows its own statements.
            if is_own(&statement) || known.as_ref().is_none_or(|known| known.contains(&statement)) {
                let detail =
                    format!("the statement {} in the policy of bucket {bucket} is lost", statement["Sid"]);
                return Some(violated(Property::Others, detail));
            }
        }
        if let (Some(before), Some(after)) = (before, after) {
            let read = read.and_then(Option::as_ref);
            let is_lost = |field: &&&str| {
                let is_known = read.is_none_or(|read| read[**field] == before[**field]);
                is_known && before[**field] != after[**field]
            };
            if let Some(field) = ["Id", "Version"].iter().find(is_lost) {
                let detail = format!("the {field} of the policy of bucket {bucket} is another one");
                return Some(violated(Property::Others, detail));
            }
        }
        let twice = now.iter().filter(|statement| has_sid(statement, actor.sid)).count();
        (twice > 2).then(|| {
            let detail = format!("the policy of bucket {bucket} holds {twice} statements of one resource");
            violated(Property::Once, detail)
        })
    }
}

/// Whether the status says that the present spec was applied.
fn was_applied(object: &BucketReplication) -> bool {
    let status = object.status.as_ref().filter(|status| status.applied_hash.is_some());
    status.is_some_and(|status| status.observed_generation == object.metadata.generation)
}

/// Whether the spec, as the check, the API server or the watch has it, lets the operator write nothing.
fn may_only_observe(facts: &Facts, live: &Live) -> bool {
    let spec = &facts.object.spec;
    match facts.deletes {
        true => leaves_aws_alone(&facts.object) || live.is_observed,
        false => spec.management_policy == ManagementPolicy::Observe || spec.suspend || live.is_observed,
    }
}

/// The resource for which something is written.
pub(super) struct Actor<'a> {
    pub(super) uid: &'a str,
    pub(super) sid: &'a str,
    pub(super) object: &'a BucketReplication,
    /// AWS as the check read it: nobody can know what someone made since then.
    pub(super) seen: Option<&'a World>,
    pub(super) disturbed: bool,
}
