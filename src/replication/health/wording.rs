//! Words the message of the condition `Replicating`: the verdict, why, and what to do.
//!
//! In: the findings, the worst first. Out: one message that holds no time, so that it stays while the verdict does.

use crate::api::{Reason, ReplicationRule};
use crate::replication::health::evidence::{Backlog, Evidence, FailureRun, Unread};
use crate::replication::health::failure_event::remedy;
use crate::replication::health::figures::rounded;
use crate::replication::health::rule::{Finding, RuleJudged};

/// The most rules that a message names.
const NAMED: usize = 3;

/// The fields that would give evidence, and what they cost
/// (<https://aws.amazon.com/cloudwatch/pricing/>, <https://aws.amazon.com/s3/pricing/>).
const HOW_TO_KNOW: &str = "set rules[].destination.metrics: Enabled (CloudWatch bills about 1.20 USD a rule and month, and 0.26 USD for reading them every 5 minutes) or spec.health.canary (S3 bills about 0.07 USD a rule and month)";

/// The sentence that names how to replicate the missing objects. `resource`: its namespace and name.
fn backfill((namespace, name): (&str, &str)) -> String {
    format!(
        "a ReplicationBackfill replicates the objects that are missing (kubectl s3replication backfill {name} -n {namespace} --wait, or docs/backfill.md)"
    )
}

/// A rule with its verdict.
#[derive(Debug)]
pub(crate) struct JudgedRule<'a> {
    pub rule: &'a ReplicationRule,
    pub judged: RuleJudged,
    pub failure_reason: Option<String>,
    /// The fields that the operator corrected and that may have made its operations fail.
    pub corrected: Vec<String>,
}

impl JudgedRule<'_> {
    fn name(&self) -> String {
        format!("rule {} to {}", self.rule.id, self.rule.destination.bucket)
    }

    fn sentence(&self) -> String {
        let name = self.name();
        match &self.judged.finding {
            Finding::Failing { run } => format!("{} of {name} failed", operations(run)),
            Finding::CanaryFailed { why } => format!("the canary of {name} failed: {why}"),
            Finding::Delayed { backlog } => format!("{name} is behind{}", figures(backlog)),
            Finding::CanaryDelayed => format!("the canary of {name} has not arrived"),
            Finding::Arriving => format!("{name} replicates"),
            Finding::NothingPending => format!("nothing is pending for {name}"),
            Finding::NotProven { run } if run.operations == 0 => {
                format!("{} of {name} failed, and nothing shows that others arrived since", operations(run))
            }
            Finding::NotProven { run } => {
                format!("{} of {name} failed, and nothing ended since", operations(run))
            }
            Finding::CanaryRefused { why } => format!("the canary of {name} cannot be written: {why}"),
            Finding::Unread(Unread { message, .. }) => message.clone(),
            Finding::Pending { backlog } => format!("objects of {name} are pending{}", figures(backlog)),
            Finding::CanaryPending => format!("a canary of {name} is on its way"),
            Finding::NotRead => format!("the metrics of {name} have not been read yet"),
            Finding::TooEarly => format!("{name} has published metrics for less than 15 minutes"),
            Finding::NoCanarySent => {
                format!("the operator sent no canary of {name} since the last one arrived")
            }
            Finding::NoData => format!("{name} publishes metrics, and CloudWatch has none"),
            Finding::NoEvidence => format!("{name} has no evidence"),
        }
    }
}

fn operations(run: &FailureRun) -> String {
    let failed = rounded(run.failed);
    if run.operations == 0 {
        return format!("{failed} operation{}", if run.failed == 1 { "" } else { "s" });
    }
    let plural = if run.operations == 1 { "" } else { "s" };
    format!("{failed} of {} operation{plural}", rounded(run.operations))
}

fn figures(backlog: &Backlog) -> String {
    let pending = backlog.pending.map(|n| format!("{} pending", rounded(n)));
    let latency = backlog.latency_seconds.map(|s| format!("{} seconds behind", rounded(s)));
    let known: Vec<String> = [pending, latency].into_iter().flatten().collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

/// The message of the condition. `resource`: its namespace and name.
pub(crate) fn message(resource: (&str, &str), rules: &[JudgedRule<'_>], evidence: &Evidence) -> String {
    let Some(worst) = rules.first() else {
        return "every rule is disabled: S3 replicates nothing".to_owned();
    };
    let reason = worst.judged.finding.reason();
    let alike: Vec<&JudgedRule<'_>> =
        rules.iter().filter(|one| one.judged.finding.reason() == reason).collect();
    match reason {
        Reason::ObjectsArriving => positive("objects arrive", &alike, rules, evidence),
        Reason::NothingPending => {
            positive("nothing is pending, and no object is missing", &alike, rules, evidence)
        }
        Reason::ObjectsFailing => {
            let why = match corrected_cause(&alike, evidence) {
                Some(cause) => format!("{cause}:"),
                None => {
                    format!("{}. Once that is corrected,", explain(worst, evidence.likely_cause.as_deref()))
                }
            };
            format!("objects do not arrive: {}{why} {}", sentences(&alike), backfill(resource))
        }
        Reason::ObjectsDelayed => format!(
            "objects arrive late: {}; check the size of the objects and the AWS Health Dashboard of both Regions, or raise spec.health.maxLatency",
            sentences(&alike)
        ),
        Reason::NotProven => format!(
            "objects are missing: {}{}; a new object would prove that objects arrive again, and {}",
            sentences(&alike),
            corrected_cause(&alike, evidence).unwrap_or_default(),
            backfill(resource)
        ),
        Reason::NoEvidence if !evidence.reads_metrics => format!(
            "nothing shows whether objects arrive: the operator reads no metrics (--health-interval 0), and no canary was asked for; {HOW_TO_KNOW}"
        ),
        Reason::NoEvidence => format!(
            "nothing shows whether objects arrive: no rule publishes metrics, and no canary was asked for; {HOW_TO_KNOW}"
        ),
        Reason::NoData if worst.judged.finding == Finding::NoCanarySent => format!(
            "nothing shows whether objects arrive: {}; it sends canaries only while the condition Ready is True, and logs the requests that fail",
            sentences(&alike)
        ),
        Reason::NoData => format!(
            "nothing shows whether objects arrive: {}; write an object to the source, and check that the destination exists",
            sentences(&alike)
        ),
        _ => sentences(&alike),
    }
}

fn positive(
    verdict: &str,
    alike: &[&JudgedRule<'_>],
    rules: &[JudgedRule<'_>],
    evidence: &Evidence,
) -> String {
    let names: Vec<String> = alike.iter().map(|one| one.name()).collect();
    let mut text = format!("{verdict}: {}", list(&names));
    let is_unknown = |one: &&JudgedRule<'_>| {
        evidence.rules.contains_key(&one.rule.id)
            && one.judged.finding.verdict() == crate::api::RuleVerdict::Unknown
    };
    let unknown: Vec<String> = rules.iter().filter(is_unknown).map(JudgedRule::sentence).collect();
    if !unknown.is_empty() {
        text.push_str(&format!("; not known: {}", list(&unknown)));
    }
    let blind = rules.iter().filter(|one| matches!(one.judged.finding, Finding::NoEvidence)).count();
    if blind > 0 {
        text.push_str(&format!("; nothing shows it of {blind} more, which publish no metrics"));
    }
    text
}

fn sentences(alike: &[&JudgedRule<'_>]) -> String {
    let mut sentences: Vec<String> = alike.iter().map(|one| one.sentence()).collect();
    // A Region that does not answer is one fact, however many rules it concerns.
    sentences.dedup();
    list(&sentences)
}

fn list(items: &[String]) -> String {
    let more = items.len().saturating_sub(NAMED);
    let shown = items.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

/// Names the fields that the operator has corrected since operations failed, where neither S3 nor a check names a
/// cause.
fn corrected_cause(alike: &[&JudgedRule<'_>], evidence: &Evidence) -> Option<String> {
    let is_named = |one: &&JudgedRule<'_>| one.failure_reason.is_some();
    let is_corrected = |one: &&&JudgedRule<'_>| !is_named(one) && !one.corrected.is_empty();
    let explained: Vec<&&JudgedRule<'_>> = alike.iter().filter(is_corrected).collect();
    if evidence.likely_cause.is_some() || alike.first().is_some_and(is_named) || explained.is_empty() {
        return None;
    }
    let mut fields: Vec<String> = Vec::new();
    for field in explained.iter().flat_map(|one| &one.corrected) {
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    }
    let names: Vec<String> = explained.iter().map(|one| one.name()).collect();
    let about = if names.len() == alike.len() { String::new() } else { format!(" for {}", list(&names)) };
    Some(format!(
        "; the likely cause{about}: AWS differed from the spec in {}, which the operator has corrected (status.lastCorrection has the time and the values); S3 does not replicate again the objects that failed before",
        list(&fields)
    ))
}

/// Why operations fail: the reason of S3 in a failure event, or what the operator's own checks suggest.
fn explain(worst: &JudgedRule<'_>, likely_cause: Option<&str>) -> String {
    match (&worst.failure_reason, likely_cause) {
        (Some(reason), _) => match remedy(reason) {
            Some(remedy) => format!("; S3 reports {reason}: {remedy}"),
            None => format!("; S3 reports {reason}"),
        },
        (None, Some(cause)) => format!("; the likely cause: {cause}"),
        (None, None) => "; read the replication status of an object at the source (aws s3api head-object), and send s3:Replication:OperationFailedReplication to the event queue to learn why".to_owned(),
    }
}
