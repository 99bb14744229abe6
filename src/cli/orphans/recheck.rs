//! Decides which steps of an orphan are still right just before they are executed.
//!
//! In: an orphan as it was shown, and what AWS holds of it now. Out: [`StillDue`]: its steps without those on what is
//! another's by now, and why each of these is left. Pure. A part that is gone already needs no step.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cli::orphans::findings::{Orphan, Statements};
use crate::iam::bucket_policy::written_by_operators;
use crate::replication::{BucketAddress, Configuration, ObservedRole, Step};

/// The parts of an orphan that AWS holds now.
#[derive(Clone, Debug, Default)]
pub struct HeldNow {
    /// `None`: there is no such role any more.
    pub role: Option<ObservedRole>,
    /// The configuration of each bucket whose configuration named the role; `None`: it has none any more.
    pub configurations: Vec<(BucketAddress, Option<Configuration>)>,
    /// The policy of the bucket of each of its statements; `None`: it has none any more.
    pub policies: Vec<(Statements, Option<Value>)>,
}

/// The decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StillDue {
    pub steps: Vec<Step>,
    /// The things that are left although they were shown, each with the reason, and commands that let them go.
    pub left: Vec<LeftPart>,
}

/// Something that is left.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftPart {
    pub why: String,
    pub commands: Vec<String>,
}

impl LeftPart {
    fn another_s(why: String) -> LeftPart {
        LeftPart { why, commands: Vec::new() }
    }
}

/// Decides what is to be done of an orphan.
pub fn recheck(orphan: &Orphan, held: &HeldNow) -> StillDue {
    if let Some(why) = all_is_left(orphan, held) {
        return StillDue { steps: Vec::new(), left: vec![LeftPart::another_s(why)] };
    }
    let mut left = Vec::new();
    let mut now = Orphan { configurations: Vec::new(), statements: Vec::new(), ..orphan.clone() };
    for (bucket, configuration) in &held.configurations {
        match configuration {
            None => {}
            Some(configuration) if configuration.role == orphan.arn => {
                now.configurations.push(bucket.clone())
            }
            Some(Configuration { role, .. }) => left.push(LeftPart::another_s(format!(
                "the replication configuration of bucket {} names {role} by now",
                bucket.name
            ))),
        }
    }
    for (statements, policy) in &held.policies {
        let Statements { bucket, sid } = statements;
        let principals = policy.as_ref().and_then(|policy| written_by_operators(policy).remove(sid));
        match principals {
            None => {}
            Some(principals) if principals == BTreeSet::from([orphan.arn.clone()]) => {
                now.statements.push(statements.clone());
            }
            Some(principals) => left.push(LeftPart::another_s(format!(
                "the statements {sid}… in the policy of bucket {} are for {} by now",
                bucket.name,
                principals.into_iter().collect::<Vec<String>>().join(", ")
            ))),
        }
    }
    now.has_policy = held.role.as_ref().is_some_and(|role| role.policy.as_ref().is_ok_and(Option::is_some));
    now.blocked_by = held.role.as_ref().map(|role| role.other_policies.clone()).unwrap_or_default();
    left.extend(blocked(&now));
    let mut steps = now.steps();
    steps.retain(|step| held.role.is_some() || !matches!(step, Step::DeleteRole { .. }));
    StillDue { steps, left }
}

/// Why nothing of an orphan is deleted; `None`: something may be.
fn all_is_left(orphan: &Orphan, held: &HeldNow) -> Option<String> {
    let Orphan { arn, .. } = orphan;
    if held.role.as_ref().is_some_and(|role| !orphan.is_of_same_resource(role)) {
        return Some(format!("{arn} is another's by now: its tags have changed"));
    }
    let replicates = |configuration: &Configuration| {
        configuration.role == *arn && configuration.rules.values().any(|rule| rule.status.is_enabled())
    };
    let mut began = held.configurations.iter().filter(|_| !orphan.replicates);
    let (bucket, _) = began.find(|(_, configuration)| configuration.as_ref().is_some_and(replicates))?;
    Some(format!("{arn} and what is for it: bucket {} replicates with it by now", bucket.name))
}

/// A role that stays because IAM deletes none with policies of others.
pub fn blocked(orphan: &Orphan) -> Option<LeftPart> {
    let Orphan { arn, blocked_by, .. } = orphan;
    (!blocked_by.is_empty()).then(|| LeftPart {
        why: format!(
            "{arn}: someone attached {} to it; take that off, and run the command again",
            blocked_by.join(", ")
        ),
        commands: orphan.unblocking(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::Switch;
    use crate::cli::orphans::findings::sample;
    use crate::iam::bucket_policy::{merged, statements};
    use crate::replication::backfill::role::KIND_TAG;
    use crate::replication::configuration::{Rule, RuleDestination, RuleFilter};
    use crate::replication::resource_id::adopted_tag;

    const SID: &str = "S3Replication0123456789abcdef";
    const OTHER: &str = "arn:aws:iam::111111111111:role/other";

    fn bucket(name: &str) -> BucketAddress {
        BucketAddress {
            name: name.to_owned(),
            region: "us-east-1".to_owned(),
            account_id: "111111111111".to_owned(),
            account_ref: None,
        }
    }

    fn orphan() -> Orphan {
        let of_policy = Statements { bucket: bucket("copy"), sid: SID.to_owned() };
        Orphan {
            configurations: vec![bucket("source")],
            statements: vec![of_policy],
            has_policy: true,
            ..sample()
        }
    }

    fn configuration(role: &str, status: Switch) -> Configuration {
        let destination = RuleDestination {
            bucket: "arn:aws:s3:::copy".to_owned(),
            account: None,
            storage_class: None,
            ownership: None,
            kms_key: None,
            replication_time_control: Switch::Disabled,
            metrics: Switch::Disabled,
        };
        let rule = Rule {
            status,
            priority: Some(1),
            filter: RuleFilter::default(),
            delete_markers: Switch::Disabled,
            replica_modifications: Switch::Disabled,
            kms_encrypted_objects: Switch::Disabled,
            destination,
        };
        Configuration { role: role.to_owned(), rules: BTreeMap::from([("all".to_owned(), rule)]) }
    }

    fn policy(principals: &[&str]) -> Option<Value> {
        let principals: Vec<String> = principals.iter().map(|name| (*name).to_owned()).collect();
        merged(None, SID, &statements(SID, &principals, "arn:aws:s3:::copy", false))
    }

    /// The state that was shown, unchanged.
    fn unchanged() -> HeldNow {
        let Orphan { arn, role, id, configurations, statements, .. } = orphan();
        let disabled = configuration(&arn, Switch::Disabled);
        HeldNow {
            configurations: configurations
                .into_iter()
                .map(|bucket| (bucket, Some(disabled.clone())))
                .collect(),
            policies: statements.into_iter().map(|one| (one, policy(&[&arn]))).collect(),
            role: Some(ObservedRole {
                arn,
                name: role,
                path: "/s3-replication/".to_owned(),
                trust: Value::Null,
                permissions_boundary: None,
                tags: id.tags(),
                policy: Ok(Some(Value::Null)),
                other_policies: Vec::new(),
            }),
        }
    }

    /// The actions of the steps, and what is left.
    fn decided(held: &HeldNow) -> (Vec<&'static str>, Vec<String>) {
        let StillDue { steps, left } = recheck(&orphan(), held);
        (steps.iter().map(Step::action).collect(), left.into_iter().map(|part| part.why).collect())
    }

    const ALL: [&str; 4] =
        ["s3:PutReplicationConfiguration", "s3:PutBucketPolicy", "iam:DeleteRolePolicy", "iam:DeleteRole"];

    #[test]
    fn what_is_as_it_was_shown_is_deleted() {
        assert_eq!(decided(&unchanged()), (ALL.to_vec(), Vec::new()));
        assert_eq!(recheck(&orphan(), &unchanged()).steps, orphan().steps());
    }

    #[test]
    fn nothing_of_a_role_that_another_took_over_is_deleted() {
        let changed = |key: &str, value: &str| {
            let mut held = unchanged();
            held.role.as_mut().unwrap().tags.insert(key.to_owned(), value.to_owned());
            held
        };
        let mut elsewhere = unchanged();
        elsewhere.role.as_mut().unwrap().arn = OTHER.to_owned();
        let mut untagged = unchanged();
        untagged.role.as_mut().unwrap().tags.clear();
        let adopted = adopted_tag();
        for held in [
            changed("s3replication.dev/uid", "new"),
            changed("s3replication.dev/name", "new"),
            changed("s3replication.dev/namespace", "new"),
            changed("s3replication.dev/cluster", "new"),
            changed(KIND_TAG, "ReplicationBackfill"),
            changed(&adopted.0, &adopted.1),
            elsewhere,
            untagged,
        ] {
            let (steps, left) = decided(&held);
            assert!(steps.is_empty(), "{steps:?} of {held:?}");
            assert!(left[0].contains("is another's by now"), "{left:?}");
        }
    }

    #[test]
    fn a_configuration_that_names_another_role_by_now_stays() {
        let mut held = unchanged();
        held.configurations[0].1 = Some(configuration(OTHER, Switch::Enabled));
        let (steps, left) = decided(&held);
        assert_eq!(steps, ALL[1..]);
        assert_eq!(left, [format!("the replication configuration of bucket source names {OTHER} by now")]);
    }

    #[test]
    fn a_role_with_which_a_bucket_began_to_replicate_stays_with_what_is_for_it() {
        let mut held = unchanged();
        held.configurations[0].1 = Some(configuration(&orphan().arn, Switch::Enabled));
        let (steps, left) = decided(&held);
        assert!(steps.is_empty() && left[0].contains("bucket source replicates with it by now"), "{left:?}");
        let confirmed = Orphan { replicates: true, ..orphan() };
        assert_eq!(
            recheck(&confirmed, &held).steps.len(),
            4,
            "the user asked for the end of the replication"
        );
    }

    #[test]
    fn statements_that_admit_another_by_now_stay() {
        let arn = orphan().arn;
        for principals in [vec![OTHER], vec![&*arn, OTHER], vec!["AROAEXAMPLEID"]] {
            let mut held = unchanged();
            held.policies[0].1 = policy(&principals);
            let (steps, left) = decided(&held);
            assert_eq!(steps, [ALL[0], ALL[2], ALL[3]], "{principals:?}");
            assert!(left[0].contains("policy of bucket copy are for"), "{left:?}");
        }
    }

    #[test]
    fn what_is_gone_already_needs_no_step_and_is_not_left() {
        let gone = HeldNow {
            role: None,
            configurations: vec![(bucket("source"), None)],
            policies: vec![(orphan().statements.remove(0), None)],
        };
        assert_eq!(decided(&gone), (Vec::new(), Vec::new()));
        let only_the_role = HeldNow { role: None, ..unchanged() };
        assert_eq!(decided(&only_the_role), (ALL[..2].to_vec(), Vec::new()));
    }

    #[test]
    fn a_role_that_got_a_policy_of_others_meanwhile_stays_with_the_command_that_takes_it_off() {
        let mut held = unchanged();
        held.role.as_mut().unwrap().other_policies = vec!["by-hand".to_owned()];
        let StillDue { steps, left } = recheck(&orphan(), &held);
        assert!(!steps.iter().any(|step| matches!(step, Step::DeleteRole { .. })), "{steps:?}");
        assert!(left[0].why.contains("someone attached by-hand"), "{left:?}");
        assert_eq!(left[0].commands, ["aws iam delete-role-policy --role-name gone --policy-name by-hand"]);
    }
}
