//! The inventory in the status: the things in AWS that are this resource's, and where they are, so that deletion finds
//! them.
//!
//! In: the status before, what was observed and what was written. Out: the parts of the status that deletion relies on.
//! The status names a thing that exists, or may exist, until a check has seen that it is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::{
    AnnouncedConfiguration, BucketPolicyStatus, BucketStatus, CanaryPlaceStatus, ConfigurationOrigin,
    RoleStatus,
};
use crate::iam::arn::{account_of_arn, role_of_arn};
use crate::iam::bucket_policy;
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::Configuration;
use crate::replication::desired::DesiredRole;
use crate::replication::diff::configuration_differences;
use crate::replication::failure::FailureClass;
use crate::replication::health::canary::place;
use crate::replication::observed::SHOWN_AFTER;
use crate::replication::plan::PlanInput;
use crate::replication::resource::{left_traces, remembered_roles};
use crate::replication::status::builder::StatusBuilder;
use crate::replication::step::Step;

impl StatusBuilder<'_> {
    /// Whether this check read the account in which earlier ones acted: S3 confirmed that the source is in the account,
    /// or nothing was made anywhere yet. Otherwise a thing that is not found here may be there.
    fn reads_where_it_acted(&self) -> bool {
        self.input.observed.source.owner_confirmed || !left_traces(self.context.previous)
    }

    fn put_replication(&self) -> bool {
        self.outcome.done.iter().any(|step| matches!(step, Step::PutReplication { .. }))
    }

    /// The source bucket, with the account in which the operator acted on it.
    pub fn source(&self, seen: BucketStatus) -> BucketStatus {
        match &self.context.previous.source {
            Some(previous) if !self.reads_where_it_acted() => BucketStatus {
                region: seen.region.or_else(|| previous.region.clone()),
                account: previous.account.clone(),
                account_ref: previous.account_ref.clone(),
                ..seen
            },
            _ => seen,
        }
    }

    /// The buckets whose policies hold statements of this replication, or may. A destination that the operator no longer
    /// acts in keeps its statements while replicas go there. Nothing is written in an account that cannot be reached.
    pub fn bucket_policies(&self) -> Vec<BucketPolicyStatus> {
        let PlanInput { desired, observed, .. } = self.input;
        let reached = desired.destinations.iter().filter(|d| !self.input.is_unreached(&d.name));
        let current = reached.filter_map(|d| {
            Some(BucketPolicyStatus {
                bucket: d.name.clone(),
                region: observed.region_of(observed.destinations.get(&d.name)?)?,
                account: d.account_id.clone()?,
                account_ref: d.account_ref.clone()?,
            })
        });
        let current: Vec<BucketPolicyStatus> = current.collect();
        let elsewhere = |held: &&BucketPolicyStatus| !current.iter().any(|c| c.bucket == held.bucket);
        let remembered: Vec<BucketPolicyStatus> =
            self.context.previous.bucket_policies.iter().filter(elsewhere).cloned().collect();
        current
            .into_iter()
            .chain(remembered)
            .filter(|held| self.may_hold_own_statements(&held.bucket))
            .collect()
    }

    fn may_hold_own_statements(&self, bucket: &str) -> bool {
        let PlanInput { desired, observed, .. } = self.input;
        let about =
            |step: &&Step| matches!(step, Step::PutBucketPolicy { bucket: to, .. } if to.name == bucket);
        // A step that failed may have been done all the same. One that was left out is tried again: the next try would
        // otherwise name the bucket again before it writes, and each try would cost two writes of the status.
        let failed = self.outcome.failed.iter().map(|(step, _)| step);
        let mut unfinished = failed.chain(&self.outcome.skipped);
        if unfinished.any(|step| about(&step)) && !is_on(Mutant::FailedStatementsForgotten) {
            return true;
        }
        match (self.outcome.done.iter().rfind(about), observed.bucket_policies.get(bucket)) {
            (Some(Step::PutBucketPolicy { statements, .. }), _) => !statements.is_empty(),
            (_, Some(Ok(policy))) => {
                let may_show_later = self.context.follows_another_process && self.named_policy_of(bucket);
                bucket_policy::holds(policy.as_ref(), &desired.sid) || self.has_left(bucket) || may_show_later
            }
            _ => self.named_policy_of(bucket),
        }
    }

    fn named_policy_of(&self, bucket: &str) -> bool {
        self.context.previous.bucket_policies.iter().any(|held| held.bucket == bucket)
    }

    /// Whether the spec named a bucket as a destination until now. One answer without statements may be from before they
    /// were written: the next check decides.
    fn has_left(&self, bucket: &str) -> bool {
        let was = self.context.previous.destinations.iter().any(|held| held.bucket == bucket);
        was && !self.input.desired.destinations.iter().any(|d| d.name == bucket)
    }

    /// Where canaries may be once the plan is executed: S3 replicates one that is on its way by the configuration that it
    /// finds when it gets to it.
    pub fn canary_places(&self) -> Vec<CanaryPlaceStatus> {
        let PlanInput { desired, observed, replication, .. } = self.input;
        let uid = replication.id.uid.as_deref().unwrap_or_default();
        let held = place::remembered(&self.context.previous.canary_places, uid);
        let configures = self.plan.steps().any(|step| matches!(step, Step::PutReplication { .. }));
        if held.is_empty() || !configures {
            return self.context.previous.canary_places.clone();
        }
        let folders = held.iter().map(|place| place.folder.as_str()).collect();
        let source = self.input.address(&desired.source, &observed.source);
        let own = &observed.caller.account;
        let reached = desired.destinations.iter().filter(|d| !self.input.is_unreached(&d.name));
        let destinations = reached.filter_map(|d| {
            let is_open = d.account_id.as_ref().is_none_or(|id| id == own) || d.account_ref.is_some();
            let seen = observed.destinations.get(&d.name).filter(|_| is_open)?;
            observed.region_of(seen)?;
            Some((d.name.clone(), self.input.address(d, seen)))
        });
        let reachable = place::reachable(&folders, &source, &destinations.collect(), &replication.spec.rules);
        let abroad = reachable.into_iter().filter(|place| place.bucket.name != source.name);
        place::listed(&held.iter().cloned().chain(abroad).collect())
    }

    /// The former roles that still exist, or may.
    pub fn former_roles(&self) -> Vec<String> {
        if !self.reads_where_it_acted() {
            // The status goes on naming the role that it named. A role that is made beside it is named here.
            let previous = self.context.previous;
            let named = previous.role.as_ref().map(|role| &role.arn);
            let made = self.made_role().filter(|arn| named != Some(arn));
            let all: BTreeSet<String> = previous.former_roles.iter().cloned().chain(made).collect();
            return all.into_iter().collect();
        }
        let observed = self.input.observed;
        let id = self.input.replication.id;
        let deleted = |name: &str| {
            let mut done = self.outcome.done.iter();
            done.any(|step| matches!(step, Step::DeleteRole { role } if role == name))
        };
        let current = self.context.previous.role.as_ref().map(|role| role.arn.as_str());
        let left = |arn: &str| match observed.former_roles.get(role_of_arn(arn)) {
            // A role of an account that this check did not read.
            _ if account_of_arn(arn) != Some(observed.caller.account.as_str()) => true,
            // The role of the spec until now, or one of another process: an answer without it may be from before it was
            // created.
            Some(Ok(None)) => current == Some(arn) || self.context.follows_another_process,
            None => false,
            Some(Ok(Some(role))) => id.owns(&role.tags) && !deleted(&role.name),
            Some(Err(_)) => true,
        };
        let remembered = remembered_roles(self.context.previous).map(str::to_owned);
        let seen = observed.former_roles_of(id).map(|role| role.arn.clone());
        let all: BTreeSet<String> =
            remembered.chain(seen).filter(|arn| left(arn) && !is_on(Mutant::StatusForgetsRoles)).collect();
        all.into_iter().collect()
    }

    /// ARN of the role that this check made, or may have made.
    fn made_role(&self) -> Option<String> {
        let failed = self.outcome.failed.iter().map(|(step, _)| step);
        let mut tried = self.outcome.done.iter().chain(failed);
        let is_tried = tried.any(|step| matches!(step, Step::CreateRole { .. }));
        is_tried.then(|| self.input.desired.role.arn(&self.input.observed.caller))
    }

    /// The role as far as it exists, or may. One whose creation failed stays named: the next try would otherwise name it
    /// again before it writes, and each try would cost two writes of the status.
    pub fn role_status(&self) -> Option<RoleStatus> {
        let previous = &self.context.previous.role;
        if !self.reads_where_it_acted() {
            return previous.clone();
        }
        let observed = self.input.observed;
        let desired = &self.input.desired.role;
        let done = |is: fn(&Step) -> bool| self.outcome.done.iter().any(is);
        let may_be_done = |is: fn(&Step) -> bool| done(is) || self.may_be_done(is);
        let created = self.made_role().is_some();
        let (arn, is_own) = match &observed.role {
            Ok(Some(role)) => {
                // A role that was adopted has this resource's tags now; one that was only read may be anyone's.
                let tagged = may_be_done(|step| matches!(step, Step::TagRole { .. }));
                (role.arn.clone(), tagged || self.input.replication.id.owns(&role.tags))
            }
            Ok(None) if created => (desired.arn(&observed.caller), true),
            Ok(None) => return None,
            Err(_) => return previous.clone(),
        };
        let managed = is_own && matches!(desired, DesiredRole::Managed(_));
        Some(RoleStatus { tags: self.set_tags(&arn, managed, created), arn, managed })
    }

    /// Keys of the tags that the operator set on the role, which it removes when the spec no longer names them.
    fn set_tags(&self, arn: &str, managed: bool, created: bool) -> Vec<String> {
        let DesiredRole::Managed(role) = &self.input.desired.role else { return Vec::new() };
        if !managed {
            return Vec::new();
        }
        let own = self.input.replication.id.tags();
        let wanted = role.tags.keys().filter(|key| !own.contains_key(*key));
        let differs = |key: &&String| {
            let path = format!("tags.{key}");
            self.remaining.iter().any(|d| d.path == path)
        };
        let mut keys: BTreeSet<String> = match created {
            true => wanted.cloned().collect(),
            false => wanted.filter(|key| !differs(key)).cloned().collect(),
        };
        let previous = self.context.previous.role.as_ref().filter(|role| role.arn == arn);
        // A tag that could not be removed is still this resource's.
        keys.extend(previous.iter().flat_map(|role| &role.tags).filter(differs).cloned());
        keys.into_iter().collect()
    }

    /// How the configuration came to be this resource's own.
    pub fn configuration_origin(&self) -> Option<ConfigurationOrigin> {
        use ConfigurationOrigin::{Created, Found};
        let known = self.known_origin();
        match &self.input.observed.configuration {
            Ok(_) if self.put_replication() => Some(self.origin_once_written()),
            // The answer to the write was lost: it may have been done.
            Ok(None) if self.write_may_be_done() => Some(Created),
            Ok(None) if self.reads_where_it_acted() => None,
            Ok(Some(held)) if known.is_none() && self.is_as_desired() => {
                let written = self.context.previous.applied_hash.is_some() || self.names_own_role(&held.role);
                Some(if written { Created } else { Found })
            }
            _ => known,
        }
    }

    /// The known origin of the present configuration: by the status, or because the status announced it.
    fn known_origin(&self) -> Option<ConfigurationOrigin> {
        let announced = self.shown_as_announced().map(|(announced, _)| announced.origin);
        announced.or(self.context.previous.configuration)
    }

    /// How a configuration that is written now comes to be the resource's own.
    fn origin_once_written(&self) -> ConfigurationOrigin {
        use ConfigurationOrigin::{Adopted, Created};
        match (&self.input.observed.configuration, self.known_origin()) {
            (Ok(None), _) => Created,
            // Someone may have put their own in place of the one that the operator created.
            (Ok(Some(held)), None | Some(Created)) if self.input.owns_configuration(held) => Created,
            _ => Adopted,
        }
    }

    /// The announcement in the status with the configuration in AWS, if they agree: the operator then wrote it.
    pub fn shown_as_announced(&self) -> Option<(&AnnouncedConfiguration, &Configuration)> {
        let held = self.input.observed.configuration.as_ref().ok()?.as_ref()?;
        Some((self.input.announced(held)?, held))
    }

    /// The configuration that the operator is about to write, or may have written without an answer. The rest of the
    /// status describes a configuration that AWS shows. The announcement is withdrawn once the configuration was
    /// certainly not written: someone else may write an equal one, which would be theirs.
    pub fn announced_configuration(&self) -> Option<AnnouncedConfiguration> {
        if self.put_replication() || is_on(Mutant::ConfigurationNotAnnounced) {
            return None;
        }
        let configuration = |step: &Step| match step {
            Step::PutReplication { configuration, .. } => Some(self.announce(configuration)),
            _ => None,
        };
        let failed = self.outcome.failed.iter();
        let tried = failed.filter_map(|(step, failure)| Some((configuration(step)?, failure.class))).next();
        if let Some((announced, class)) = tried {
            let may_be_done = class == FailureClass::Unavailable;
            return (may_be_done || self.counts_so_anyway(&announced)).then_some(announced);
        }
        let previous = self.context.previous;
        let shown = self.input.observed.configuration.is_ok() && self.reads_where_it_acted();
        let written_ago = previous.configured_at.as_ref().map(|time| self.context.now.duration_since(time.0));
        let may_show_later =
            written_ago.is_some_and(|age| Duration::try_from(age).unwrap_or_default() < SHOWN_AFTER);
        let is_open = !shown || (may_show_later && self.shown_as_announced().is_none());
        previous.announced_configuration.clone().filter(|_| is_open)
    }

    fn announce(&self, configuration: &Configuration) -> AnnouncedConfiguration {
        let source = &self.input.desired.source.name;
        let replaced = self.input.observed.configuration.as_ref().ok().and_then(Option::as_ref);
        AnnouncedConfiguration {
            digest: configuration.digest(source),
            replaces: replaced.map(|held| held.digest(source)),
            origin: self.origin_once_written(),
        }
    }

    /// Whether a configuration counts the same with and without its announcement: it names the resource's managed role,
    /// or the configuration that it replaces has the same origin. Its announcement then stays when S3 refuses the
    /// write, so that the next try costs no write of the status.
    fn counts_so_anyway(&self, announced: &AnnouncedConfiguration) -> bool {
        let is_managed = matches!(self.input.desired.role, DesiredRole::Managed(_));
        is_managed || self.context.previous.configuration == Some(announced.origin)
    }

    /// ARN of the role in the configuration that is in place.
    pub fn applied_role(&self) -> Option<String> {
        let first_write = self.input.observed.configuration == Ok(None) && self.write_may_be_done();
        match self.shown_as_announced() {
            _ if self.put_replication() || first_write || self.is_as_desired() => {
                Some(self.input.desired.role.arn(&self.input.observed.caller))
            }
            Some((_, held)) => Some(held.role.clone()),
            None => self.context.previous.applied_role.clone(),
        }
    }

    fn write_may_be_done(&self) -> bool {
        self.may_be_done(|step| matches!(step, Step::PutReplication { .. }))
    }

    /// Whether a step got no answer, so that it may be done.
    fn may_be_done(&self, is: fn(&Step) -> bool) -> bool {
        self.outcome.unanswered().any(is)
    }

    fn is_as_desired(&self) -> bool {
        let PlanInput { desired, observed, .. } = self.input;
        match &observed.configuration {
            Ok(Some(held)) => configuration_differences(desired, &observed.caller, Some(held)).is_empty(),
            _ => false,
        }
    }

    /// Whether a role is a managed one of this resource, by the status or by its tags.
    fn names_own_role(&self, arn: &str) -> bool {
        if remembered_roles(self.context.previous).any(|remembered| remembered == arn) {
            return true;
        }
        let held = self.input.observed.role.as_ref().ok().and_then(Option::as_ref);
        held.is_some_and(|role| role.arn == arn && self.input.replication.id.owns(&role.tags))
    }

    /// After a change of the spec that was applied only in part, AWS holds neither the old state nor the new one: a mark
    /// that equals no hash keeps the rest from being called drift.
    pub fn applied_hash(&self) -> Option<String> {
        const INCOMPLETE: &str = "incomplete";
        if self.remaining.is_empty() && self.plan.refusals.is_empty() && self.outcome.is_complete() {
            return Some(self.input.desired.hash());
        }
        let put = self.put_replication();
        let began = !self.plan.drift && !self.outcome.done.is_empty();
        match &self.context.previous.applied_hash {
            Some(_) if began => Some(INCOMPLETE.to_owned()),
            None if put || self.shown_as_announced().is_some() => Some(INCOMPLETE.to_owned()),
            unchanged => unchanged.clone(),
        }
    }
}
