//! The record of the requests that went through the proxy.

use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::watch;

use super::{classify, lock};

/// One request to AWS.
#[derive(Debug, Clone)]
pub struct Call {
    /// AWS's name of the operation, for example `PutBucketReplication`.
    pub operation: String,
    /// The bucket or the role.
    pub subject: String,
    /// The account that the call acts in. For a call that a session signed, it is the role's account.
    pub account: String,
    /// The access key id that signed the call. That of a session begins with `ASIA`, and that of a root is the account
    /// id.
    pub access_key: String,
    /// The Region that the call was signed for.
    pub region: String,
    /// The service that the call was signed for: `s3`, `iam`, `sts`.
    pub service: String,
    /// The HTTP status of the answer. `None`: there is no answer yet, or there was none.
    pub status: Option<u16>,
    /// The error code of the answer.
    pub error_code: Option<String>,
    /// When it arrived.
    pub started: Instant,
    /// When the call was answered or its client went away. Now, if the call is under way.
    pub ended: Instant,
    /// The path and query.
    pub path: String,
    /// The body, as far as it is text.
    pub body: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The `x-amz-expected-bucket-owner` header.
    pub expected_owner: Option<String>,
}

impl Call {
    /// Whether it is a write.
    pub fn is_write(&self) -> bool {
        classify::is_write(&self.operation)
    }

    /// A parameter of a request to IAM or STS, for example `RoleSessionName`. It is in the body, so `None` if the proxy
    /// records no bodies.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.path.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let find = |text: &str| {
            let found = form_urlencoded::parse(text.as_bytes()).find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned())
        };
        find(&self.body).or_else(|| find(query))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.subject)?;
        match self.status {
            Some(status) => write!(f, " → {status}")?,
            None => write!(f, " → no answer")?,
        }
        match &self.error_code {
            Some(code) => write!(f, " {code}"),
            None => Ok(()),
        }
    }
}

/// The length of the longest chain of calls in which each started after the one before had ended.
pub fn round_trips(calls: &[Call]) -> usize {
    let mut spans: Vec<_> = calls.iter().map(|c| (c.ended, c.started)).collect();
    spans.sort_unstable();
    let mut trips = 0;
    let mut free_from = None;
    for (ended, started) in spans {
        if free_from.is_none_or(|at| started >= at) {
            trips += 1;
            free_from = Some(ended);
        }
    }
    trips
}

/// The calls of one proxy.
#[derive(Debug)]
pub(super) struct Log {
    entries: Mutex<Entries>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    list: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    call: Call,
    under_way: bool,
}

impl Log {
    pub fn new() -> Self {
        Self { entries: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Records the arrival of a call. The returned value records its end.
    pub fn begin(&self, call: Call) -> Recording<'_> {
        let mut entries = lock(&self.entries);
        let id = entries.next;
        entries.next += 1;
        entries.list.push(Entry { id, call, under_way: true });
        drop(entries);
        self.notify();
        Recording { log: self, id }
    }

    pub fn calls(&self) -> Vec<Call> {
        let entries = lock(&self.entries);
        let now = Instant::now();
        let call = |entry: &Entry| {
            let mut call = entry.call.clone();
            if entry.under_way {
                call.ended = now;
            }
            call
        };
        entries.list.iter().map(call).collect()
    }

    pub fn clear(&self) {
        lock(&self.entries).list.clear();
        self.notify();
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn notify(&self) {
        self.changed.send_modify(|revision| *revision += 1);
    }

    fn update(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        let mut entries = lock(&self.entries);
        // A test may have cleared the log meanwhile.
        if let Some(entry) = entries.list.iter_mut().rev().find(|entry| entry.id == id) {
            change(entry);
        }
        drop(entries);
        self.notify();
    }
}

/// A call under way. Dropping this records its end, also if the client went away and nobody waits for the answer.
pub(super) struct Recording<'a> {
    log: &'a Log,
    id: u64,
}

impl Recording<'_> {
    pub fn answered(&self, status: u16, error_code: Option<String>) {
        self.log.update(self.id, |entry| {
            entry.call.status = Some(status);
            entry.call.error_code = error_code;
        });
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.log.update(self.id, |entry| {
            entry.under_way = false;
            entry.call.ended = Instant::now();
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;

    pub fn call(operation: &str, subject: &str) -> Call {
        let now = Instant::now();
        Call {
            operation: operation.to_owned(),
            subject: subject.to_owned(),
            account: String::new(),
            access_key: String::new(),
            region: String::new(),
            service: String::new(),
            status: None,
            error_code: None,
            started: now,
            ended: now,
            path: String::new(),
            body: String::new(),
            user_agent: String::new(),
            expected_owner: None,
        }
    }

    fn spans(list: &[(u64, u64)]) -> Vec<Call> {
        let zero = Instant::now();
        list.iter()
            .map(|(from, to)| Call {
                started: zero + Duration::from_millis(*from),
                ended: zero + Duration::from_millis(*to),
                ..call("GetRole", "x")
            })
            .collect()
    }

    #[test]
    fn requests_at_once_are_one_round_trip() {
        assert_eq!(round_trips(&spans(&[(0, 10), (1, 12), (2, 11)])), 1);
    }

    #[test]
    fn requests_one_after_the_other_are_as_many_round_trips() {
        assert_eq!(round_trips(&spans(&[(0, 10), (10, 20), (25, 30)])), 3);
    }

    #[test]
    fn one_slow_request_beside_a_chain_does_not_hide_the_chain() {
        assert_eq!(round_trips(&spans(&[(0, 100), (0, 10), (11, 20)])), 2);
        assert_eq!(round_trips(&[]), 0);
    }

    #[test]
    fn parameters_are_read_from_the_body_and_the_query() {
        let mut request = call("AssumeRole", "r");
        request.path = "/?Action=AssumeRole".to_owned();
        request.body = "Version=2011-06-15&RoleSessionName=data.orders%40x".to_owned();
        assert_eq!(request.parameter("RoleSessionName").as_deref(), Some("data.orders@x"));
        assert_eq!(request.parameter("Action").as_deref(), Some("AssumeRole"));
        assert_eq!(request.parameter("ExternalId"), None);
    }

    #[test]
    fn a_call_given_up_has_an_end_and_no_status() {
        let log = Log::new();
        drop(log.begin(call("GetRole", "x")));
        let calls = log.calls();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].status, None);
        assert!(!calls[0].is_write());
    }
}
