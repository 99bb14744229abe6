//! Finds the resources that a message concerns, and has them checked.
//!
//! In: the body of a message. Out: triggers; and an outcome, which is counted. A message is never an error. A writer to
//! the queue can do three things by these messages: cause checks, at their pace; make an origin count as one that sends
//! events; and make the operator believe sooner that someone has undone its last write. S3's notifications are left to
//! the caller: the failures in them are part of the verdict on `Replicating`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use crate::api::ConditionType;
use crate::controllers::Guarded;
use crate::controllers::events::state::{ActiveEvents, Events, is_checked, labels, since};
use crate::iam::arn::{account_of_arn, role_of_arn};
use crate::ports::Cloud;
use crate::replication::events::{
    Cause, ChangeEvent, ChangedResource, EventName, Lookup, Message, Origin, parse,
};
use crate::replication::setting_hash::SettingHash;
use crate::runtime::queue::Urgency;
use crate::runtime::store::Key;
use crate::telemetry::EventOutcome;

/// Where more resources than this share a bucket or a role, one is checked first, and the others only if it finds
/// anything. A write that changes nothing must not cost five reads for each of them.
const PROBE_ABOVE: usize = 50;

/// Resources that are checked in a second where one change concerns many.
const CHECKS_PER_SECOND: u32 = 10;

impl Events {
    /// Acts on the body of a message. Returns what became of it; a notification of S3 is left to the caller.
    pub async fn dispatch<C: Cloud>(&self, body: &str, cloud: &C) -> EventOutcome {
        let Some(inner) = self.inner() else { return EventOutcome::Unknown };
        let metrics = &inner.setup.metrics;
        let (origin, outcome) = match parse(body) {
            Message::Change(event) => {
                metrics_of_delay(inner, &event);
                let outcome = inner.change(&event, cloud).await;
                (Some(event.origin), outcome)
            }
            Message::Failed(origin) => {
                inner.received(&origin, None);
                (Some(origin), EventOutcome::FailedCall)
            }
            Message::Unattributed(origin) => {
                inner.received(&origin, None);
                (Some(origin), EventOutcome::Unattributed)
            }
            Message::Unknown(origin) => {
                origin.iter().for_each(|origin| inner.received(origin, None));
                (origin, EventOutcome::Unknown)
            }
            Message::Notification => (None, EventOutcome::Notification),
            Message::Unreadable => (None, EventOutcome::Unreadable),
        };
        let service = origin.map(|origin| labels(&origin).service);
        metrics.received(service.unwrap_or("none"), outcome);
        outcome
    }
}

fn metrics_of_delay(inner: &ActiveEvents, event: &ChangeEvent) {
    if let Some(time) = event.time {
        inner.setup.metrics.event_delay(since(time, &inner.setup.clock));
    }
}

impl ActiveEvents {
    /// An event came from an origin. Accounts report the first one.
    fn received(&self, origin: &Origin, name: Option<EventName>) {
        let begins = self.state.lock().coverage.received(origin, name, self.now());
        if begins {
            self.recount(Some(&origin.account));
        }
    }

    async fn change<C: Cloud>(&self, event: &ChangeEvent, cloud: &C) -> EventOutcome {
        if self.state.lock().own_writes.is_duplicate(event.id.as_deref()) {
            return EventOutcome::Duplicate;
        }
        self.received(&event.origin, Some(event.name));
        let own = event.access_key.as_deref().is_some_and(|key| cloud.is_own_access_key(key));
        if own && self.state.lock().own_writes.is_echo(event) {
            return EventOutcome::Own;
        }
        let accounts = self.check_accounts(event);
        let concerned = self.concerned(event);
        if concerned.is_empty() {
            return if accounts { EventOutcome::Checked } else { EventOutcome::Unknown };
        }
        cloud.forget_answers(event).await;
        let fresh = event.name.is_of_remembered();
        let cause = Cause { changed: event.time, fresh, foreign: foreign(event, own), ..Cause::default() };
        let everyone = concerned.len() <= PROBE_ABOVE || event.name.is_bucket_policy();
        match concerned.iter().find(|object| is_ready(object)).filter(|_| !everyone) {
            Some(one) => self.probe(one, Lookup::of_event(event), cause),
            None => self.check_all(&concerned, &cause),
        }
        EventOutcome::Checked
    }

    /// Has a resource checked in place of all that a change concerns.
    pub(super) fn probe(&self, one: &Guarded, lookup: Lookup, cause: Cause) {
        self.check(one, Cause { probes: [lookup].into(), ..cause }, Duration::ZERO);
    }

    /// Has another resource checked in place of all that a change concerns, because the one before did not answer. Any
    /// of them may answer, so that one account that does not delays the rest only for a few tries.
    pub(super) fn probe_again(&self, lookup: Lookup, cause: Cause) {
        let index = &self.setup.index;
        let mut keys = index.keys_by_event(lookup);
        fastrand::shuffle(&mut keys);
        let mut objects = keys.iter().filter_map(|key| index.replications.get(key));
        match objects.find(|object| is_ready(object)) {
            Some(one) => self.probe(&one, lookup, cause),
            None => self.check_all(&index.by_event(lookup), &cause),
        }
    }

    /// The resources that may see a change. Only the source of a resource has a configuration that it compares.
    fn concerned(&self, event: &ChangeEvent) -> Vec<Arc<Guarded>> {
        match (&event.subject, event.name) {
            (
                ChangedResource::Bucket(bucket),
                EventName::PutBucketReplication | EventName::DeleteBucketReplication,
            ) => self.setup.index.by_source(bucket),
            _ => self.setup.index.by_event(Lookup::of_event(event)),
        }
    }

    /// Checks `AwsAccount`s whose role changed.
    fn check_accounts(&self, event: &ChangeEvent) -> bool {
        let ChangedResource::Role(role) = &event.subject else { return false };
        let mut found = false;
        for account in self.setup.index.accounts.objects() {
            let assumed = account.0.as_ref().ok().and_then(|account| account.spec.assume_role.as_ref());
            let is_same = assumed.is_some_and(|assumed| {
                role_of_arn(&assumed.arn).eq_ignore_ascii_case(role)
                    && account_of_arn(&assumed.arn) == Some(event.origin.account.as_str())
            });
            if is_same {
                let (name, cause) = (account.name_any(), Cause { changed: event.time, ..Cause::default() });
                let pause = self.state.lock().account_pacing.event(&name, cause, self.now());
                self.setup.accounts.trigger_in(Key::cluster(&name), Urgency::Change, pause);
                found = true;
            }
        }
        found
    }

    /// A check in place of many found something: the others are checked too.
    pub(super) fn check_beside(&self, probed: &Key, lookup: Lookup, cause: &Cause) {
        let mut others = self.setup.index.by_event(lookup);
        others.retain(|object| Key::of(object.meta()) != *probed);
        self.check_all(&others, cause);
    }

    fn check_all(&self, objects: &[Arc<Guarded>], cause: &Cause) {
        for (number, object) in (0u32..).zip(objects) {
            let spread = if objects.len() > PROBE_ABOVE { number } else { 0 };
            self.check(object, cause.clone(), Duration::from_secs(1) * spread / CHECKS_PER_SECOND);
        }
    }

    fn check(&self, object: &Guarded, cause: Cause, delay: Duration) {
        if !is_checked(object) {
            return;
        }
        let key = Key::of(object.meta());
        let pause = self.state.lock().pacing.event(&key, cause, self.now());
        // The resource may be gone by now, and no other would take over its probes.
        if !self.setup.index.replications.contains(&key) {
            self.state.lock().pacing.forget(&key);
        }
        self.setup.replications.trigger_in(key, Urgency::Change, pause.max(delay));
    }
}

/// Where somebody else made a change, and when. An event that the operator's own key signed may be late news of its own
/// write.
fn foreign(event: &ChangeEvent, own: bool) -> BTreeMap<SettingHash, Timestamp> {
    let time = event.time.filter(|_| !own);
    time.into_iter().flat_map(|time| event.settings().map(move |setting| (setting, time))).collect()
}

/// Whether a check of the resource reads AWS and finds, as a rule, nothing.
fn is_ready(object: &Guarded) -> bool {
    let Ok(resource) = &object.0 else { return false };
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    is_checked(object) && ready.is_some_and(|ready| ready.status == "True")
}
