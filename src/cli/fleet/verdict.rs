//! One word for the state of a whole resource, ordered by how urgently it needs a person.
//!
//! In: the conditions `Ready` and `Replicating`. Out: the verdict, the condition that decides it, and whether it makes
//! a command exit with 2.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::api::Reason;
use crate::cli::counted::form;
use crate::cli::fleet::condition::ConditionView;

/// The state of a resource, in the order in which it needs someone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, VariantArray)]
pub enum Verdict {
    /// Replication is not as the spec says, or objects do not arrive, until someone helps.
    Failing,
    /// Objects arrive later than `maxLatency`.
    Delayed,
    /// Replication is not as the spec says. The operator tries again automatically.
    Retrying,
    /// The resource is being deleted: the operator removes from AWS what it made, and then the finalizer.
    Deleting,
    /// The operator has not checked this generation of the resource yet.
    Waiting,
    /// The settings are right, and whether objects arrive could not be found out.
    Unproven,
    /// The resource is suspended: the operator checks nothing.
    Suspended,
    /// The settings are right, and every rule is disabled: S3 replicates nothing.
    Disabled,
    /// The settings are right. Nobody asked whether objects arrive.
    Applied,
    /// The settings are right, and objects arrive.
    Arriving,
}

impl Verdict {
    /// Whether something about the replication is wrong: exit code 2.
    pub fn is_wrong(self) -> bool {
        self <= Verdict::Retrying
    }

    /// Whether the operator has found the settings right, S3 replicates by them, and nothing is left open.
    pub fn is_well(self) -> bool {
        self >= Verdict::Applied
    }

    /// The sign before a name. It says the same as the colour.
    pub fn sign(self) -> &'static str {
        match self {
            Verdict::Failing => "✗",
            Verdict::Delayed | Verdict::Retrying => "!",
            Verdict::Deleting => "-",
            Verdict::Waiting => "…",
            Verdict::Unproven => "?",
            Verdict::Suspended => "‖",
            Verdict::Disabled => "○",
            Verdict::Applied | Verdict::Arriving => "✓",
        }
    }

    /// The verdict as a word for people.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Failing => "failing",
            Verdict::Delayed => "delayed",
            Verdict::Retrying => "retrying",
            Verdict::Deleting => "being deleted",
            Verdict::Waiting => "waiting for the operator",
            Verdict::Unproven => "not proven",
            Verdict::Suspended => "suspended",
            Verdict::Disabled => "disabled",
            Verdict::Applied => "applied",
            Verdict::Arriving => "arriving",
        }
    }
}

/// The verdict of a resource, and the condition that decides it. `current`: the status describes the present generation.
pub fn decide(
    ready: &ConditionView,
    replicating: Option<&ConditionView>,
    current: bool,
) -> (Verdict, ConditionView) {
    let is = |condition: &ConditionView, status: &str| condition.status == status;
    if is(ready, "False") {
        let transient = reason(&ready.reason).is_some_and(Reason::is_transient);
        let verdict = if transient { Verdict::Retrying } else { Verdict::Failing };
        return (verdict, ready.clone());
    }
    if ready.reason == Reason::Suspended.as_str() {
        return (Verdict::Suspended, ready.clone());
    }
    if let Some(replicating) = replicating.filter(|replicating| is(replicating, "False")) {
        let delayed = replicating.reason == Reason::ObjectsDelayed.as_str();
        return (if delayed { Verdict::Delayed } else { Verdict::Failing }, replicating.clone());
    }
    if !is(ready, "True") || !current {
        let waiting = if is(ready, "True") { waiting() } else { ready.clone() };
        return (Verdict::Waiting, waiting);
    }
    match replicating {
        Some(replicating) if is(replicating, "True") => (Verdict::Arriving, replicating.clone()),
        // Nobody asked for evidence: the settings are all there is to say.
        Some(replicating) if replicating.reason == Reason::NoEvidence.as_str() => {
            (Verdict::Applied, replicating.clone())
        }
        Some(replicating) => (Verdict::Unproven, replicating.clone()),
        None => (Verdict::Applied, ready.clone()),
    }
}

/// The condition of a resource whose spec changed after the last check.
fn waiting() -> ConditionView {
    ConditionView {
        r#type: "Ready".to_owned(),
        status: "Unknown".to_owned(),
        reason: Reason::Progressing.as_str().to_owned(),
        message: "The operator has not checked the present spec yet.".to_owned(),
        since: None,
    }
}

/// The reason of this name; `None`: this version does not know it.
pub fn reason(name: &str) -> Option<Reason> {
    Reason::VARIANTS.iter().copied().find(|reason| reason.as_str() == name)
}

/// The number of resources with each verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetSummary {
    pub total: usize,
    /// The resources about which something is wrong.
    pub wrong: usize,
    /// The count of each verdict that occurs, by its name, in the order of verdicts.
    pub verdicts: Vec<VerdictCount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictCount {
    pub verdict: Verdict,
    pub count: usize,
}

fn counts_of<'a>(verdicts: impl IntoIterator<Item = &'a VerdictCount>) -> String {
    let counts = verdicts.into_iter().map(|counted| format!("{} {}", counted.count, counted.verdict.word()));
    counts.collect::<Vec<String>>().join(", ")
}

impl FleetSummary {
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> FleetSummary {
        let all: Vec<Verdict> = verdicts.into_iter().collect();
        let count = |verdict: Verdict| all.iter().filter(|held| **held == verdict).count();
        let counts = Verdict::VARIANTS
            .iter()
            .map(|verdict| VerdictCount { verdict: *verdict, count: count(*verdict) });
        FleetSummary {
            total: all.len(),
            wrong: all.iter().filter(|verdict| verdict.is_wrong()).count(),
            verdicts: counts.filter(|counted| counted.count > 0).collect(),
        }
    }

    /// Whether every resource is known to be well.
    pub fn is_well(&self) -> bool {
        self.verdicts.iter().all(|counted| counted.verdict.is_well())
    }

    /// The count of each verdict that occurs, in words.
    pub fn counts(&self) -> String {
        counts_of(&self.verdicts)
    }

    /// The replications that need nobody, beside those that do, in a sentence.
    fn others(&self) -> String {
        let others = counts_of(self.verdicts.iter().filter(|counted| !counted.verdict.is_wrong()));
        if others.is_empty() {
            return String::new();
        }
        format!(" The {}: {others}.", form(self.total.saturating_sub(self.wrong), "other", "others"))
    }

    /// The summary as a sentence: the verdict of the fleet.
    pub fn sentence(&self) -> String {
        let counts = self.counts();
        match (self.total, self.wrong) {
            (0, _) => "There are no replications.".to_owned(),
            (1, 0) if self.is_well() => format!("The replication is well: {counts}."),
            (1, 0) => {
                let word = self.verdicts.first().map_or("", |counted| counted.verdict.word());
                format!("The replication is {word}.")
            }
            (1, _) => format!("The replication needs attention: {counts}."),
            (total, 0) if self.is_well() => format!("All {total} replications are well: {counts}."),
            (total, 0) => format!("None of {total} replications is failing: {counts}."),
            (total, wrong) => {
                let counts = counts_of(self.verdicts.iter().filter(|counted| counted.verdict.is_wrong()));
                let needs = form(wrong, "needs", "need");
                format!("{wrong} of {total} replications {needs} attention: {counts}.{}", self.others())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(status: &str, reason: &str) -> ConditionView {
        let text = str::to_owned;
        ConditionView {
            r#type: text("Ready"),
            status: text(status),
            reason: text(reason),
            message: text("m"),
            since: None,
        }
    }

    fn verdict(ready: (&str, &str), replicating: Option<(&str, &str)>) -> Verdict {
        let replicating = replicating.map(|(status, reason)| condition(status, reason));
        decide(&condition(ready.0, ready.1), replicating.as_ref(), true).0
    }

    #[test]
    fn wrong_settings_come_before_objects_that_fail() {
        let applied = ("True", "Applied");
        for (ready, replicating, wanted) in [
            (("False", "ForeignRole"), Some(("True", "ObjectsArriving")), Verdict::Failing),
            (("False", "Throttled"), Some(("False", "ObjectsFailing")), Verdict::Retrying),
            (("Unknown", "Suspended"), Some(("Unknown", "Suspended")), Verdict::Suspended),
            (applied, Some(("False", "ObjectsFailing")), Verdict::Failing),
            (applied, Some(("False", "ObjectsDelayed")), Verdict::Delayed),
            (("Unknown", "Progressing"), None, Verdict::Waiting),
            (applied, Some(("Unknown", "NoEvidence")), Verdict::Applied),
            (applied, Some(("Unknown", "NotProven")), Verdict::Unproven),
            (applied, Some(("True", "NothingPending")), Verdict::Arriving),
            (applied, None, Verdict::Applied),
        ] {
            assert_eq!(verdict(ready, replicating), wanted, "{ready:?} {replicating:?}");
        }
    }

    #[test]
    fn a_status_of_an_earlier_spec_is_no_verdict_on_the_present_one() {
        let (verdict, why) = decide(&condition("True", "Applied"), None, false);
        assert_eq!((verdict, why.reason.as_str()), (Verdict::Waiting, "Progressing"));
    }

    #[test]
    fn the_sentence_begins_with_the_verdict() {
        let sentence = |verdicts: &[Verdict]| FleetSummary::of(verdicts.iter().copied()).sentence();
        assert_eq!(sentence(&[]), "There are no replications.");
        assert_eq!(sentence(&[Verdict::Arriving]), "The replication is well: 1 arriving.");
        assert_eq!(
            sentence(&[Verdict::Applied, Verdict::Unproven, Verdict::Unproven]),
            "None of 3 replications is failing: 2 not proven, 1 applied."
        );
        assert_eq!(sentence(&[Verdict::Suspended]), "The replication is suspended.");
        assert_eq!(sentence(&[Verdict::Disabled]), "The replication is disabled.");
        assert_eq!(sentence(&[Verdict::Applied; 2]), "All 2 replications are well: 2 applied.");
        assert_eq!(
            sentence(&[Verdict::Applied, Verdict::Failing, Verdict::Failing]),
            "2 of 3 replications need attention: 2 failing. The other: 1 applied."
        );
        assert_eq!(
            sentence(&[Verdict::Retrying, Verdict::Suspended, Verdict::Applied, Verdict::Applied]),
            "1 of 4 replications needs attention: 1 retrying. The others: 1 suspended, 2 applied."
        );
        assert_eq!(sentence(&[Verdict::Failing; 2]), "2 of 2 replications need attention: 2 failing.");
    }
}
