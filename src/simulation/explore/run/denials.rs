//! Denied calls: what AWS and the API server may deny, and the end of a denial.
//!
//! In: a run at a call. Out: what may be denied there; the run with a denial, or after it.

use crate::replication::FailureClass;
use crate::simulation::api_server::ObjectName;
use crate::simulation::denials::{Denials, GET_BUCKET_POLICY};
use crate::simulation::explore::act::HERE;
use crate::simulation::explore::deviation::Deviation;
use crate::simulation::explore::properties::refers_to;
use crate::simulation::explore::run::{Run, WaitingCall};
use crate::simulation::hook::{Call, Choice};

impl Run {
    /// The denials that are possible at a call, once or from then on.
    pub(super) fn denials(&self, waiting: &WaitingCall) -> Vec<Deviation> {
        let call = &waiting.call;
        let whole = self.action_of(waiting).map(|_| None);
        let abroad = || self.cloud.snapshot().buckets.values().any(|bucket| bucket.account_id != HERE);
        // Only policies in other accounts are read.
        let parts = call.parts().iter().copied().filter(|part| *part != GET_BUCKET_POLICY || abroad());
        let all = whole.into_iter().chain(parts.map(Some));
        all.flat_map(|part| [false, true].map(|stays| Deviation::Deny { part, stays })).collect()
    }

    /// The action that a call needs as a whole, or its right in Kubernetes. The operator as itself assumes no role,
    /// which nobody can deny it.
    fn action_of(&self, waiting: &WaitingCall) -> Option<&'static str> {
        if self.scene.denies_kubernetes {
            let check = self.checks.iter().find(|check| check.number == waiting.check)?;
            if let Some(right) = waiting.call.right(&check.facts.name.kind) {
                return Some(right);
            }
        }
        let assumes = |account: &str| {
            self.cluster.with(|server| {
                let account = server.objects.get(&ObjectName::account(account));
                account.is_some_and(|account| !account["spec"]["assumeRole"].is_null())
            })
        };
        let can_be_denied = match &waiting.call {
            Call::ConnectAlso(account) | Call::Verify(account) => assumes(account),
            Call::Connect => {
                let check = self.checks.iter().find(|check| check.number == waiting.check)?;
                let name = &check.facts.name;
                let named = self.cluster.with(|server| {
                    let object = server.objects.get(name)?.clone();
                    let accounts = server.objects.keys().filter(|key| key.kind == "AwsAccount");
                    let named = accounts.filter(|account| refers_to(name, &object, &account.name));
                    Some(named.map(|account| account.name.clone()).collect::<Vec<_>>())
                });
                named?.iter().any(|account| assumes(account))
            }
            _ => true,
        };
        waiting.call.action().filter(|_| can_be_denied)
    }

    /// Whether a call is denied by what was denied before.
    pub(super) fn is_denied(&self, waiting: &WaitingCall) -> bool {
        !self.denied.is_empty() && self.action_of(waiting).is_some_and(|action| self.denied.contains(action))
    }

    /// Answers a call with a denial, or denies one of its reads.
    pub(super) fn deny(&mut self, index: usize, part: Option<&'static str>, stays: bool) -> bool {
        let action = {
            let wire = self.wire.lock();
            let Some(waiting) = wire.waiting.get(index) else { return false };
            part.filter(|part| waiting.call.parts().contains(part)).or_else(|| self.action_of(waiting))
        };
        let Some(action) = action else { return false };
        if stays {
            self.denied.insert(action);
            self.cloud.denials(|denials| denials.deny(action));
            let by = if action.contains(' ') { "The API server" } else { "AWS" };
            self.note(|_| format!("{by} denies the operator {action} from now on."));
        } else if part.is_some() {
            self.cloud.denials(|denials| denials.deny_once(action));
            self.note(|_| format!("AWS denies the operator {action} once."));
        }
        let choice = match part {
            Some(_) => Choice::Answer,
            None => Choice::FailBefore(FailureClass::Denied),
        };
        self.answer(index, choice, None);
        true
    }

    /// No check changes anything any more while something is denied: someone allows it again. `false`: nothing was
    /// denied.
    pub(super) fn allow_again(&mut self) -> bool {
        if self.denied.is_empty() {
            return false;
        }
        let allowed = std::mem::take(&mut self.denied);
        self.cloud.denials(Denials::allow_all);
        self.note(|_| {
            let actions: Vec<&str> = allowed.iter().copied().collect();
            format!("Someone allows the operator {} again.", actions.join(", "))
        });
        self.unsettle();
        self.changing.fill(0);
        true
    }
}
