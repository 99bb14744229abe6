//! Faults that tests inject: a matcher for requests, and the answer that they get.

use std::sync::Mutex;

use super::calls::Call;
use super::lock;

/// Chooses requests.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    operation: Option<String>,
    subject: Option<String>,
    account: Option<String>,
    writes_only: bool,
    nth: Option<usize>,
}

impl Matcher {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// The requests for an operation, for example `GetRole`.
    pub fn operation(name: &str) -> Self {
        Self { operation: Some(name.to_owned()), ..Self::default() }
    }

    /// The requests that change something.
    pub fn writes() -> Self {
        Self { writes_only: true, ..Self::default() }
    }

    /// The n-th request from now on that changes something, counted from 1.
    pub fn nth_write(n: usize) -> Self {
        Self::writes().nth(n)
    }

    /// Only those about this bucket or role.
    pub fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// Only those that act in this account. A call that assumes a role of this account does not act in it yet.
    pub fn in_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// Only the n-th of those from now on, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.nth = Some(n);
        self
    }

    fn fits(&self, call: &Call) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        same(&self.operation, &call.operation)
            && same(&self.subject, &call.subject)
            && same(&self.account, &call.account)
            && (!self.writes_only || call.is_write())
    }
}

/// A matcher that counts the requests that fit.
#[derive(Debug)]
pub(super) struct Counting {
    matcher: Matcher,
    seen: usize,
}

impl Counting {
    pub fn new(matcher: Matcher) -> Self {
        Self { matcher, seen: 0 }
    }

    pub fn matches(&mut self, call: &Call) -> bool {
        if !self.matcher.fits(call) {
            return false;
        }
        self.seen += 1;
        self.matcher.nth.is_none_or(|n| n == self.seen)
    }
}

/// The answer that the client gets instead of the emulator's.
#[derive(Debug, Clone)]
pub enum Answer {
    /// An error in the wire form of the service; nothing is forwarded.
    Error {
        /// The HTTP status.
        status: u16,
        /// AWS's code, for example `SlowDown`.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// The proxy cuts the connection without an answer; nothing is forwarded.
    Drop,
    /// No answer ever comes; nothing is forwarded.
    Hang,
    /// The request is forwarded and takes effect, but the proxy cuts the connection before the answer.
    DropAfter,
    /// S3's redirect to the Region of the bucket; nothing is forwarded.
    WrongRegion {
        /// The Region of the bucket.
        region: String,
    },
    /// Any other answer; nothing is forwarded.
    Custom {
        /// The HTTP status.
        status: u16,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
}

impl Answer {
    /// An error answer.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Error { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// S3's error for too many requests.
    pub fn slow_down() -> Self {
        Self::error(503, "SlowDown", "Please reduce your request rate.")
    }

    /// IAM's error for too many requests.
    pub fn throttling() -> Self {
        Self::error(400, "Throttling", "Rate exceeded")
    }

    /// A denial whose message names no action, as S3's often do.
    pub fn access_denied() -> Self {
        Self::error(403, "AccessDenied", "Access Denied")
    }
}

/// A fault to inject.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The requests that it answers.
    pub matching: Matcher,
    /// How many requests it answers. `None`: all until it is removed.
    pub times: Option<usize>,
    /// The answer.
    pub answer: Answer,
}

impl Fault {
    /// A fault until it is removed.
    pub fn always(matching: Matcher, answer: Answer) -> Self {
        Self { matching, times: None, answer }
    }

    /// A fault for the next `n` matching requests.
    pub fn times(n: usize, matching: Matcher, answer: Answer) -> Self {
        Self { matching, times: Some(n), answer }
    }
}

/// Identifies an injected fault, so that it can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(u64);

/// The faults of one proxy.
#[derive(Debug, Default)]
pub(super) struct Faults {
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    next: u64,
    list: Vec<(FaultId, Counting, Option<usize>, Answer)>,
}

impl Faults {
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut active = lock(&self.active);
        let id = FaultId(active.next);
        active.next += 1;
        let matcher = Counting::new(fault.matching);
        active.list.push((id, matcher, fault.times, fault.answer));
        id
    }

    pub fn remove(&self, id: FaultId) {
        lock(&self.active).list.retain(|(other, ..)| *other != id);
    }

    pub fn remove_all(&self) {
        lock(&self.active).list.clear();
    }

    /// The fault for this call, if there is one. It then has one time less.
    pub fn take(&self, call: &Call) -> Option<Answer> {
        let mut active = lock(&self.active);
        let (_, _, times, answer) = active
            .list
            .iter_mut()
            .filter(|(_, _, times, _)| *times != Some(0))
            .find_map(|fault| fault.1.matches(call).then_some(fault))?;
        if let Some(left) = times {
            *left -= 1;
        }
        Some(answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::call;
    use super::*;

    #[test]
    fn a_fault_is_used_up_after_its_times() {
        let faults = Faults::default();
        faults.add(Fault::times(2, Matcher::operation("GetRole"), Answer::Drop));
        assert!(faults.take(&call("GetBucketPolicy", "b")).is_none());
        assert!(faults.take(&call("GetRole", "r")).is_some());
        assert!(faults.take(&call("GetRole", "r")).is_some());
        assert!(faults.take(&call("GetRole", "r")).is_none());
    }

    #[test]
    fn a_removed_fault_is_over() {
        let faults = Faults::default();
        let id = faults.add(Fault::always(Matcher::any(), Answer::Hang));
        assert!(faults.take(&call("GetRole", "r")).is_some());
        faults.remove(id);
        assert!(faults.take(&call("GetRole", "r")).is_none());
    }

    #[test]
    fn matchers_choose_by_subject_account_kind_and_count() {
        let mut about = Counting::new(Matcher::operation("GetRole").about("mine"));
        assert!(about.matches(&call("GetRole", "mine")));
        assert!(!about.matches(&call("GetRole", "other")));
        let mut there = Counting::new(Matcher::any().in_account("111122223333"));
        assert!(!there.matches(&call("GetRole", "mine")));
        assert!(there.matches(&Call { account: "111122223333".to_owned(), ..call("GetRole", "mine") }));
        let mut second = Counting::new(Matcher::nth_write(2));
        assert!(!second.matches(&call("GetRole", "r")));
        assert!(!second.matches(&call("CreateRole", "r")));
        assert!(second.matches(&call("PutRolePolicy", "r")));
        assert!(!second.matches(&call("PutRolePolicy", "r")));
    }
}
