//! Which canaries a resource needs, and which rules have none.
//!
//! In: the rules of a spec, the prefix of canaries and the resource's UID. Out: one object for each key prefix with its
//! tags, the rule that S3 applies to it at each destination, and why a rule has none. Of the rules with one destination
//! that match an object, S3 applies the one with the highest priority
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html>).

use std::collections::BTreeMap;

use crate::api::ReplicationRule;
use crate::replication::health::canary::key;
use crate::replication::health::canary::matching::{is_eligible, is_enabled, may_match, prefix_of, tags_of};
use crate::replication::health::canary::refusal::Refused;

/// The most canaries of one resource.
pub const MOST: usize = 100;

/// The most replicas that all of them together can have. The status names the place of each.
const MOST_REPLICAS: usize = 400;

/// One object to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The first rule that it proves, which its key is made from.
    pub rule: String,
    /// Where it is written; its key begins with it.
    pub folder: String,
    /// The tags of the object: those that the rule asks for.
    pub tags: BTreeMap<String, String>,
    /// The rule that S3 applies to it at each destination, by bucket.
    pub arrivals: BTreeMap<String, String>,
}

/// The canaries of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    pub probes: Vec<Probe>,
    /// Enabled rules without a canary, by their IDs.
    pub refused: BTreeMap<String, Refused>,
}

/// The facts besides the rules that decide about canaries.
#[derive(Clone, Copy, Debug)]
pub struct ProbeContext<'a> {
    /// The beginning of keys after the prefix of the rule.
    pub prefix: &'a str,
    pub uid: &'a str,
    /// Whether the source encrypts new objects with a KMS key, unless the request asks for another encryption.
    pub encrypted: bool,
}

/// Works out the canaries of a resource.
pub fn probes(rules: &[ReplicationRule], context: ProbeContext<'_>) -> Probes {
    let mut found = Probes::default();
    let mut replicas = 0;
    for rule in rules.iter().filter(|rule| is_enabled(rule)) {
        match probe(rule, rules, context) {
            Err(refused) => drop(found.refused.insert(rule.id.clone(), refused)),
            Ok(probe) => {
                let covered = |held: &Probe| held.folder == probe.folder && held.tags == probe.tags;
                if found.probes.iter().any(covered) {
                    continue;
                }
                replicas += rules.iter().filter(|rule| may_match(rule, &probe.folder)).count();
                match found.probes.len() < MOST && replicas <= MOST_REPLICAS {
                    true => found.probes.push(probe),
                    false => drop(found.refused.insert(rule.id.clone(), Refused::TooMany)),
                }
            }
        }
    }
    found
}

fn probe(
    rule: &ReplicationRule,
    rules: &[ReplicationRule],
    ProbeContext { prefix, uid, encrypted }: ProbeContext<'_>,
) -> Result<Probe, Refused> {
    let folder = key::folder(prefix_of(rule), prefix, uid);
    if !key::has_room(&folder) {
        return Err(Refused::KeyTooLong);
    }
    if encrypted && !is_eligible(rule) {
        return Err(Refused::NotEligible);
    }
    let tags = tags_of(rule);
    let winners = winners_of(rules, &folder, &tags);
    if let Some(winner) = winners.get(rule.destination.bucket.as_str()).filter(|winner| winner.id != rule.id)
    {
        let always = prefix_of(rule).starts_with(prefix_of(winner));
        return Err(Refused::UnderAnotherRule { rule: winner.id.clone(), always });
    }
    let arrivals = winners.into_iter().filter(|(_, winner)| !encrypted || is_eligible(winner));
    let arrivals = arrivals.map(|(bucket, winner)| (bucket.to_owned(), winner.id.clone())).collect();
    Ok(Probe { rule: rule.id.clone(), folder, tags, arrivals })
}

/// The rule that S3 applies to an object at each destination. Every key in the folder is treated alike: a rule's prefix
/// that reaches into the name of a canary matches none of them.
fn winners_of<'r>(
    rules: &'r [ReplicationRule],
    folder: &str,
    tags: &BTreeMap<String, String>,
) -> BTreeMap<&'r str, &'r ReplicationRule> {
    let matches = |rule: &&ReplicationRule| {
        is_enabled(rule)
            && folder.starts_with(prefix_of(rule))
            && tags_of(rule).iter().all(|(key, value)| tags.get(key) == Some(value))
    };
    let mut winners: BTreeMap<&str, &ReplicationRule> = BTreeMap::new();
    for rule in rules.iter().filter(matches) {
        let held = winners.entry(&rule.destination.bucket).or_insert(rule);
        if rule.priority > held.priority {
            *held = rule;
        }
    }
    winners
}
