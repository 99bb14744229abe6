//! Cuts the write of a configuration down to the rules that need no step that failed.
//!
//! In: the write of a configuration with what its rules lack, and the steps that were not done. Out: the write of its
//! other rules. A rule that waits stays as it is in AWS, or is left out: no rule is written that S3 could not follow
//! yet. While the spec changes, no rule is taken away either, so that what replicates to the former destination goes
//! on.

use std::collections::BTreeMap;

use crate::api::DriftEntry;
use crate::iam::arn::bucket_of_arn;
use crate::replication::configuration::{Configuration, Rule};
use crate::replication::diff::is_same_rule;
use crate::replication::lacking::Lacking;
use crate::replication::step::Step;

/// The write of the rules that need no unfinished step. Their destinations have the right owner, and their role and
/// destination are known to let objects through. `None`: there is no such rule, S3 would refuse the configuration,
/// something in AWS would break, or nothing would change.
pub fn part(step: &Step, unfinished: &[&Step]) -> Option<Step> {
    let Step::PutReplication { bucket, configuration: Configuration { role, rules: wanted }, lacking } = step
    else {
        return None;
    };
    let stops = |other: &&Step| match other {
        Step::CreateRole { .. } => true,
        Step::UpdateTrustPolicy { .. } => lacking.trust,
        Step::EnableVersioning { bucket: unversioned } => unversioned.name == bucket.name,
        _ => false,
    };
    if unfinished.iter().any(stops) {
        return None;
    }
    let is_refused = |rule: &Rule| {
        let to = bucket_of_arn(&rule.destination.bucket);
        lacking.unconfirmed.contains(to) || lacking.unseen.contains(to)
    };
    let waits =
        |rule: &Rule| is_refused(rule) || unfinished.iter().any(|other| waits_for(rule, other, lacking));
    let mut rules: BTreeMap<String, Rule> = wanted.clone();
    rules.retain(|_, rule| !waits(rule));
    if rules.is_empty() {
        return None;
    }
    if let Some(present) = &lacking.present {
        let unversioned = |rule: &Rule| unfinished.iter().any(|other| is_versioning_of(rule, other));
        // Until a change of the spec is complete, a rule that waits may be meant to replace any of these.
        let stays = |id: &String, rule: &Rule| waits(rule) || (lacking.is_change && !rules.contains_key(id));
        let stay: Vec<_> = present.rules.iter().filter(|(id, rule)| stays(id, rule)).collect();
        for (id, rule) in stay {
            // The rule would break with another role. S3 takes no rule to a bucket without versioning, and no ID twice.
            if present.role != *role || unversioned(rule) || rules.insert(id.clone(), rule.clone()).is_some()
            {
                return None;
            }
        }
    }
    let part = Configuration { role: role.clone(), rules };
    let changes = lacking.present.as_ref().is_none_or(|present| !is_same(&part, present, &bucket.account_id));
    (changes && has_distinct_priorities(&part.rules)).then(|| Step::PutReplication {
        bucket: bucket.clone(),
        configuration: part,
        lacking: lacking.clone(),
    })
}

/// Whether a difference is gone once only a part of a step was done.
pub fn part_settles(part: &Step, whole: &Step, difference: &DriftEntry) -> bool {
    let (
        Step::PutReplication { bucket: to, configuration: part, .. },
        Step::PutReplication { bucket, configuration: whole, .. },
    ) = (part, whole)
    else {
        return false;
    };
    let is_about = |id: &&String| {
        let rest = difference.path.strip_prefix("rules[").and_then(|path| path.strip_prefix(id.as_str()));
        rest.is_some_and(|rest| rest == "]" || rest.starts_with("]."))
    };
    let ids: Vec<&String> = part.rules.keys().chain(whole.rules.keys()).filter(is_about).collect();
    to == bucket && ids.into_iter().all(|id| part.rules.get(id) == whole.rules.get(id))
}

/// Whether a rule waits for an unfinished step.
fn waits_for(rule: &Rule, unfinished: &Step, lacking: &Lacking) -> bool {
    let to = bucket_of_arn(&rule.destination.bucket);
    match unfinished {
        Step::PutRolePolicy { .. } => lacking.role_policy.contains(to),
        Step::PutBucketPolicy { bucket, .. } => bucket.name == to && lacking.bucket_policies.contains(to),
        other => is_versioning_of(rule, other),
    }
}

fn is_versioning_of(rule: &Rule, step: &Step) -> bool {
    let to = bucket_of_arn(&rule.destination.bucket);
    matches!(step, Step::EnableVersioning { bucket } if bucket.name == to)
}

fn is_same(part: &Configuration, present: &Configuration, own_account: &str) -> bool {
    let same = |(id, rule): (&String, &Rule)| {
        present.rules.get(id).is_some_and(|held| is_same_rule(rule, held, own_account))
    };
    part.role == present.role && part.rules.len() == present.rules.len() && part.rules.iter().all(same)
}

/// S3 takes no two rules of one priority, and rules of the first version of the schema have none.
fn has_distinct_priorities(rules: &BTreeMap<String, Rule>) -> bool {
    let mut priorities: Vec<Option<i32>> = rules.values().map(|rule| rule.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    rules.len() == 1 || (priorities.len() == rules.len() && !priorities.contains(&None))
}
