//! Decides what to write to the Lease, purely.
//!
//! In: the Lease as it was just read, and the time. Out: create it, replace it, or wait. A holder counts as gone when
//! its record has not changed for the duration of the lease, by this process' own clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::ObjectMeta;

use crate::api::GROUP;
use crate::runtime::leader::boot_instant::BootInstant;
use crate::runtime::leader::claim::Succession;
use crate::runtime::leader::settings::LeaseSettings;

/// The annotation that says what the holder works on.
fn scope_key() -> String {
    format!("{GROUP}/scope")
}

/// The decision about the Lease as it is.
#[derive(Debug)]
pub enum Decision {
    /// There is none: create it.
    Create(Box<Lease>),
    /// This process holds it, or it has no holder, or its holder is gone: write this over the version that was read.
    Replace(Box<Lease>, Succession),
    /// Another process holds it.
    Wait {
        holder: String,
        /// The scope of the holder, if it works on something else.
        other_scope: Option<String>,
    },
}

/// A record, and since when it has not changed, by this process' own clock.
#[derive(Debug)]
struct Seen {
    spec: LeaseSpec,
    since: BootInstant,
}

#[derive(Debug)]
pub struct Candidate {
    settings: LeaseSettings,
    seen: Option<Seen>,
}

impl Candidate {
    pub fn new(settings: LeaseSettings) -> Candidate {
        Candidate { settings, seen: None }
    }

    pub fn settings(&self) -> &LeaseSettings {
        &self.settings
    }

    /// Decides on the Lease as it was just read. `wall` is the time that people read in it; no decision depends on it.
    pub fn decide(&mut self, held: Option<&Lease>, now: BootInstant, wall: jiff::Timestamp) -> Decision {
        let Some(lease) = held else {
            let metadata = ObjectMeta {
                namespace: Some(self.settings.namespace.clone()),
                name: Some(self.settings.name.clone()),
                annotations: Some([(scope_key(), self.settings.scope.clone())].into()),
                ..ObjectMeta::default()
            };
            return Decision::Create(Box::new(Lease { metadata, spec: Some(self.claim(wall, wall, 0)) }));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let since = self.seen(&spec, now);
        let transitions = spec.lease_transitions.unwrap_or_default();
        let wall_time = MicroTime(wall);
        let (claim, succession) = match spec.holder_identity.as_deref() {
            // A renewal; or this process' own claim expired, and it leads again.
            Some(holder) if holder == self.settings.holder => {
                let acquired = spec.acquire_time.unwrap_or(wall_time).0;
                (self.claim(wall, acquired, transitions), Succession::Takeover)
            }
            Some(holder) if !holder.is_empty() && now < since.after(self.duration(&spec)) => {
                let scope = lease.metadata.annotations.as_ref().and_then(|a| a.get(&scope_key()));
                let other_scope = scope.filter(|scope| **scope != self.settings.scope).cloned();
                return Decision::Wait { holder: holder.to_owned(), other_scope };
            }
            holder => {
                let released = holder.is_none_or(str::is_empty);
                let succession = if released { Succession::Orderly } else { Succession::Takeover };
                (self.claim(wall, wall, transitions.saturating_add(1)), succession)
            }
        };
        let mut claimed = with_spec(lease, claim);
        let annotations = claimed.metadata.annotations.get_or_insert_default();
        annotations.insert(scope_key(), self.settings.scope.clone());
        Decision::Replace(Box::new(claimed), succession)
    }

    /// Whether the record names this process.
    pub fn holds(&self, lease: &Lease) -> bool {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
        holder == Some(&self.settings.holder)
    }

    /// The Lease without a holder, so that the next leader need not wait.
    pub fn release(&self, lease: &Lease, wall: jiff::Timestamp) -> Lease {
        let held = lease.spec.clone().unwrap_or_default();
        let released = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(wall)),
            ..held
        };
        with_spec(lease, released)
    }

    /// Since when the record has not changed.
    fn seen(&mut self, spec: &LeaseSpec, now: BootInstant) -> BootInstant {
        match &self.seen {
            Some(seen) if seen.spec == *spec => seen.since,
            _ => {
                self.seen = Some(Seen { spec: spec.clone(), since: now });
                now
            }
        }
    }

    /// How long the holder may be silent, by its own record.
    fn duration(&self, spec: &LeaseSpec) -> Duration {
        let given = spec.lease_duration_seconds.filter(|s| *s > 0);
        let seconds = given.unwrap_or_else(|| self.settings.times.lease_seconds());
        Duration::from_secs(seconds.unsigned_abs().into())
    }

    fn claim(&self, renewed: jiff::Timestamp, acquired: jiff::Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.settings.holder.clone()),
            lease_duration_seconds: Some(self.settings.times.lease_seconds()),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// Keeps the version that was read, so that the API server refuses the write when another came first.
fn with_spec(lease: &Lease, spec: LeaseSpec) -> Lease {
    Lease { spec: Some(spec), ..lease.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::leader::settings::LeaseTimes;

    const SECOND: Duration = Duration::from_secs(1);

    fn candidate(holder: &str) -> Candidate {
        Candidate::new(LeaseSettings {
            namespace: "ns".into(),
            name: "lease".into(),
            holder: holder.into(),
            scope: "all".into(),
            times: LeaseTimes::new(15 * SECOND, 10 * SECOND, 2 * SECOND).unwrap(),
        })
    }

    fn wall(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn start() -> BootInstant {
        BootInstant::from_bits(0)
    }

    fn made_by(holder: &str) -> Lease {
        let Decision::Create(lease) = candidate(holder).decide(None, start(), wall(100)) else {
            panic!("there is none");
        };
        Lease {
            metadata: ObjectMeta { resource_version: Some("7".into()), ..lease.metadata.clone() },
            ..*lease
        }
    }

    fn replaced(decision: Decision) -> LeaseSpec {
        match decision {
            Decision::Replace(lease, _) => {
                assert_eq!(
                    lease.metadata.resource_version.as_deref(),
                    Some("7"),
                    "it is a comparison and a swap"
                );
                lease.spec.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn waits(decision: &Decision) -> bool {
        matches!(decision, Decision::Wait { holder, .. } if holder == "a")
    }

    #[test]
    fn a_missing_lease_is_created() {
        let spec = made_by("a").spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
        assert_eq!(spec.acquire_time, spec.renew_time);
    }

    #[test]
    fn a_renewal_changes_the_time_of_renewal_alone() {
        let lease = made_by("a");
        let renewed = replaced(candidate("a").decide(Some(&lease), start(), wall(102)));
        let held = lease.spec.unwrap();
        assert_eq!(renewed, LeaseSpec { renew_time: Some(MicroTime(wall(102))), ..held });
    }

    #[test]
    fn a_silent_holder_is_followed_after_its_duration_by_our_own_clock() {
        let mut b = candidate("b");
        let lease = made_by("a");
        // Its times are from long ago, or from the future: they count for nothing.
        for clock in [wall(100), wall(1_000_000), wall(-1_000_000)] {
            assert!(waits(&b.decide(Some(&lease), start(), clock)));
        }
        assert!(waits(&b.decide(Some(&lease), start().after(15 * SECOND - SECOND / 1000), wall(100))));
        let taken = replaced(b.decide(Some(&lease), start().after(15 * SECOND), wall(120)));
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
        assert_eq!(taken.lease_transitions, Some(1));
        assert_eq!(taken.acquire_time, Some(MicroTime(wall(120))));
    }

    #[test]
    fn any_change_of_the_record_is_a_sign_of_life() {
        let mut b = candidate("b");
        let mut lease = made_by("a");
        assert!(waits(&b.decide(Some(&lease), start(), wall(0))));
        // A holder whose clock goes backwards is alive too.
        lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(wall(50)));
        assert!(waits(&b.decide(Some(&lease), start().after(14 * SECOND), wall(0))));
        assert!(waits(&b.decide(Some(&lease), start().after(28 * SECOND), wall(0))));
        let taken = replaced(b.decide(Some(&lease), start().after(29 * SECOND), wall(0)));
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
    }

    #[test]
    fn the_holder_s_own_duration_counts_and_a_senseless_one_does_not() {
        let mut lease = made_by("a");
        lease.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
        let mut b = candidate("b");
        assert!(waits(&b.decide(Some(&lease), start(), wall(0))));
        assert!(waits(&b.decide(Some(&lease), start().after(59 * SECOND), wall(0))));
        for senseless in [None, Some(0), Some(-5)] {
            lease.spec.as_mut().unwrap().lease_duration_seconds = senseless;
            let mut b = candidate("b");
            assert!(waits(&b.decide(Some(&lease), start(), wall(0))));
            assert!(waits(&b.decide(Some(&lease), start().after(14 * SECOND), wall(0))));
            replaced(b.decide(Some(&lease), start().after(15 * SECOND), wall(0)));
        }
    }

    #[test]
    fn only_a_released_lease_is_an_orderly_succession() {
        let succession = |decision| match decision {
            Decision::Replace(_, succession) => succession,
            other => panic!("{other:?}"),
        };
        let lease = made_by("a");
        let released = candidate("a").release(&lease, wall(110));
        assert_eq!(
            succession(candidate("b").decide(Some(&released), start(), wall(111))),
            Succession::Orderly
        );
        let mut b = candidate("b");
        assert!(waits(&b.decide(Some(&lease), start(), wall(0))));
        let expired = b.decide(Some(&lease), start().after(15 * SECOND), wall(0));
        assert_eq!(succession(expired), Succession::Takeover);
        let own = candidate("a").decide(Some(&lease), start(), wall(0));
        assert_eq!(succession(own), Succession::Takeover, "its own former term may have a request under way");
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let lease = made_by("a");
        let released = candidate("a").release(&lease, wall(110));
        assert_eq!(released.metadata.resource_version.as_deref(), Some("7"));
        let spec = released.spec.clone().unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some(""));
        assert_eq!(spec.lease_transitions, Some(0));
        let taken = replaced(candidate("b").decide(Some(&released), start(), wall(111)));
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
        assert_eq!(taken.lease_transitions, Some(1));
        let empty = Lease { spec: None, ..released };
        assert_eq!(
            replaced(candidate("b").decide(Some(&empty), start(), wall(0))).lease_transitions,
            Some(1)
        );
    }

    #[test]
    fn the_scope_of_a_holder_is_reported_and_its_lease_is_taken_once_it_is_free() {
        let lease = made_by("a");
        let mut b = candidate("b");
        b.settings.scope = "some".into();
        let scope = |decision| match decision {
            Decision::Wait { other_scope, .. } => other_scope,
            other => panic!("{other:?}"),
        };
        assert_eq!(scope(b.decide(Some(&lease), start(), wall(0))).as_deref(), Some("all"));
        assert_eq!(scope(candidate("c").decide(Some(&lease), start(), wall(0))), None);
        let Decision::Replace(taken, _) = b.decide(Some(&lease), start().after(15 * SECOND), wall(0)) else {
            panic!("it has expired");
        };
        assert_eq!(taken.metadata.annotations.unwrap().get("s3replication.dev/scope").unwrap(), "some");
    }
}
