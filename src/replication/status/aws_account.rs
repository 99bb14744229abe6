//! The status of an `AwsAccount`.
//!
//! In: what STS answered, and what is known of the account's events. Out: the status, and the reason of `Ready`.

use jiff::Timestamp;

use crate::api::{AwsAccountStatus, CallerIdentity, ConditionType, ReadyStatus, Reason};
use crate::replication::events::coverage::AccountEvents;
use crate::replication::events::{Delivery, Origin};
use crate::replication::failure::Failure;
use crate::replication::status::conditions::{ConditionDraft, Transition, conditions};

/// The most origins that a message names.
const MAX_NAMED: usize = 10;

/// The result of a check of an account.
pub struct ObservedAccount<'a> {
    /// As whom the operator acts there, as STS answered.
    pub identity: Result<&'a CallerIdentity, &'a Failure>,
    /// The number of resources that refer to the account.
    pub replications: i32,
    /// `None`: the operator reads no event queue.
    pub events: Option<AccountEvents>,
}

/// The status after a check, and the reason of `Ready`.
pub fn account_status(
    observed: &ObservedAccount<'_>,
    previous: &AwsAccountStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> (AwsAccountStatus, Reason) {
    let ObservedAccount { identity, replications, events } = observed;
    let (reason, message) = match identity {
        Ok(CallerIdentity { arn, account_id }) => {
            (Reason::Verified, format!("the operator is {arn} in account {account_id}"))
        }
        Err(failure) => (failure.class.reason(), failure.message()),
    };
    let ready = ConditionDraft::new(ConditionType::Ready, reason.ready(), reason, message);
    let transition = Transition { previous: &previous.conditions, generation, now };
    let drafts = [ready].into_iter().chain(events.as_ref().map(events_received)).collect();
    let status = AwsAccountStatus {
        observed_generation: generation,
        conditions: conditions(drafts, reason, &transition),
        identity: identity.ok().cloned(),
        replications: Some(*replications),
    };
    (status, reason)
}

/// Whether events stand in for polling in an account, and if not, which are missing and why.
fn events_received(events: &AccountEvents) -> ConditionDraft {
    let draft = |status, reason, message: String| {
        ConditionDraft::new(ConditionType::EventsReceived, status, reason, message)
    };
    let AccountEvents { outage, origins } = events;
    if let Some(outage) = outage {
        let message = format!(
            "an event queue cannot be read, so that every resource is polled: {outage}; check that the queue exists and that the operator may call sqs:ReceiveMessage and sqs:DeleteMessage on it"
        );
        return draft(ReadyStatus::False, Reason::QueueUnreachable, message);
    }
    let of = |wanted: fn(&Delivery) -> bool| -> Vec<&Origin> {
        origins.iter().filter(|(_, evidence)| wanted(evidence)).map(|(origin, _)| origin).collect()
    };
    let unseen = of(|evidence| matches!(evidence, Delivery::NotSeen));
    let doubted = of(|evidence| matches!(evidence, Delivery::EchoMissed(_) | Delivery::Unannounced));
    let received = of(|evidence| matches!(evidence, Delivery::Received));
    let echo = origins.iter().find_map(|(origin, evidence)| match evidence {
        Delivery::EchoMissed(name) => {
            Some(format!("the operator called {name} ({origin}), and no event reported it"))
        }
        _ => None,
    });
    let polled = "the resources that depend on it are polled";
    match (doubted.as_slice(), unseen.as_slice(), received.as_slice()) {
        ([], [], []) => draft(
            ReadyStatus::Unknown,
            Reason::EventsNotSeen,
            "no resource acts in this account, so that no event of it is expected".to_owned(),
        ),
        ([], [], received) => {
            draft(ReadyStatus::True, Reason::EventsReceived, format!("events arrive from {}", list(received)))
        }
        ([], unseen, _) => draft(
            ReadyStatus::Unknown,
            Reason::EventsNotSeen,
            format!(
                "no event has arrived from {} yet, and {polled}; check that a trail logs management events there and that the rule forwards them, or make one harmless change there to prove it",
                list(unseen)
            ),
        ),
        (doubted, unseen, _) => draft(
            ReadyStatus::False,
            Reason::EventMissed,
            format!(
                "{}, and {polled} ({}){}; check that the trail logs, that the rule has the event pattern of this version, and that it is enabled",
                echo.unwrap_or_else(|| "a check found a change that no event had reported".to_owned()),
                list(doubted),
                match unseen {
                    [] => String::new(),
                    unseen => format!("; no event has arrived from {} yet either", list(unseen)),
                }
            ),
        ),
    }
}

/// The first origins, and how many more there are.
fn list(origins: &[&Origin]) -> String {
    let named: Vec<String> = origins.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    match origins.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::events::{EventName, Service};

    fn condition(origins: &[(&str, Delivery)], outage: Option<&str>) -> (&'static str, &'static str, String) {
        let origin = |region: &str| {
            let service = if region.is_empty() { Service::Iam } else { Service::S3 };
            Origin::new("111122223333", service, region)
        };
        let origins = origins.iter().map(|(region, evidence)| (origin(region), *evidence)).collect();
        let draft = events_received(&AccountEvents { outage: outage.map(str::to_owned), origins });
        (draft.status.as_str(), draft.reason.as_str(), draft.message)
    }

    #[test]
    fn the_condition_names_what_is_missing_and_why() {
        use Delivery::{EchoMissed, NotSeen, Received, Unannounced};
        let (status, reason, message) = condition(&[("eu-west-1", Received), ("", Received)], None);
        assert_eq!((status, reason), ("True", "EventsReceived"));
        assert_eq!(message, "events arrive from s3 in eu-west-1, iam");
        let (status, reason, message) = condition(&[("eu-west-1", Received), ("", NotSeen)], None);
        assert_eq!((status, reason), ("Unknown", "EventsNotSeen"));
        assert!(message.starts_with("no event has arrived from iam yet"), "{message}");
        let missed = EchoMissed(EventName::PutBucketReplication);
        let (status, reason, message) = condition(&[("eu-west-1", missed), ("", NotSeen)], None);
        assert_eq!((status, reason), ("False", "EventMissed"));
        assert!(message.contains("PutBucketReplication (s3 in eu-west-1)"), "{message}");
        assert!(message.contains("no event has arrived from iam yet either"), "{message}");
        let (_, reason, message) = condition(&[("eu-west-1", Unannounced)], None);
        assert_eq!(reason, "EventMissed");
        assert!(
            message.contains("no event had reported (") || message.contains("(s3 in eu-west-1)"),
            "{message}"
        );
        let (status, reason, message) = condition(&[("eu-west-1", Received)], Some("timed out"));
        assert_eq!((status, reason), ("False", "QueueUnreachable"));
        assert!(message.contains("timed out") && message.contains("sqs:ReceiveMessage"), "{message}");
        assert_eq!(condition(&[], None).1, "EventsNotSeen");
    }

    #[test]
    fn a_message_names_ten_origins_and_counts_the_others() {
        let regions: Vec<String> = (0..12).map(|n| format!("xx-y-{n:02}")).collect();
        let origins: Vec<(&str, Delivery)> =
            regions.iter().map(|region| (region.as_str(), Delivery::NotSeen)).collect();
        let (_, _, message) = condition(&origins, None);
        assert!(message.contains("s3 in xx-y-09 and 2 more"), "{message}");
        assert!(!message.contains("xx-y-10"), "{message}");
    }
}
