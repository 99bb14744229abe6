//! How long a command waits, and what it does while the API server gives no answer.
//!
//! In: the flag `--timeout`, and the reads of a command. Out: the answer of each read, or nothing where the next try may
//! get one; and whether the wait is over. A wait is over after its timeout, and whatever that is, once the API server has
//! given no answer for [`LONGEST_SILENCE`].

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::cli::kubernetes::KubernetesError;
use crate::runtime::clock::Clock;

/// How long a command waits, as `kubectl wait` takes it: zero looks once, and a negative duration sets no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(SignedDuration);

impl Timeout {
    /// `None`: without limit.
    fn limit(self) -> Option<Duration> {
        Duration::try_from(self.0).ok()
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Timeout, String> {
        // Go, and therefore kubectl, takes a zero without a unit.
        if text == "0" {
            return Ok(Timeout(SignedDuration::ZERO));
        }
        let wrong = |_| {
            "not a duration such as 30s or 2m; 0 looks once, and a negative one such as -1s waits without limit"
                .to_owned()
        };
        text.parse().map(Timeout).map_err(wrong)
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#}", self.0)
    }
}

/// A wait ends once the API server has given no answer for this time.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(5 * 60);

/// How long one request for one object may take.
const READ: Duration = Duration::from_secs(15);

/// A read that the end of the wait cuts off after less than this says nothing about the API server: a server that is busy
/// takes as long.
const SHORTEST_SILENCE: Duration = Duration::from_secs(3);

/// A wait that has begun.
pub struct Wait {
    timeout: Timeout,
    clock: Clock,
    begun: Instant,
    /// When the API server last answered; at first, when the wait began.
    answered: Instant,
    /// Why the last read has got no answer.
    silence: Option<String>,
    has_looked: bool,
    has_heard: bool,
}

impl Wait {
    pub fn begin(timeout: Timeout, clock: Clock) -> Wait {
        let now = clock.now();
        Wait { timeout, clock, begun: now, answered: now, silence: None, has_looked: false, has_heard: false }
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.begun)
    }

    /// ` of at most TIME`, where the wait has a limit.
    pub fn of_at_most(&self) -> String {
        self.timeout.limit().map(|_| format!(" of at most {}", self.timeout)).unwrap_or_default()
    }

    /// The API server has answered.
    pub fn heard(&mut self) {
        self.answered = self.clock.now();
        self.silence = None;
        self.has_heard = true;
    }

    /// The API server has given no answer, and the next try may get one.
    pub fn unheard(&mut self, why: String) {
        self.silence = Some(why);
    }

    /// The answer of one request. `None`: the API server gives none, and may give one at the next try; or the time is up.
    ///
    /// # Errors
    /// The API server's error, where the next try would get the same.
    pub async fn hear<T>(
        &mut self,
        read: impl Future<Output = Result<T, KubernetesError>>,
    ) -> Result<Option<T>, KubernetesError> {
        // Also a wait without time looks once.
        let left = match self.left() {
            Some(left) if left.is_zero() && self.has_looked => return Ok(None),
            Some(left) if !left.is_zero() => left.min(READ),
            _ => READ,
        };
        self.has_looked = true;
        let why = match tokio::time::timeout(left, read).await {
            Ok(Ok(answer)) => {
                self.heard();
                return Ok(Some(answer));
            }
            Ok(Err(error)) if !error.may_pass() => return Err(error),
            Ok(Err(error)) => error.to_string(),
            // The last answer remains valid.
            Err(_) if left < SHORTEST_SILENCE && self.has_heard => return Ok(None),
            Err(_) => KubernetesError::silent().to_string(),
        };
        self.unheard(why);
        Ok(None)
    }

    /// Whether to give up. To be asked after a read: a wait with a timeout of zero has one.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero()) || self.is_silent()
    }

    /// Whether the API server has given no answer for so long that it is no use to ask again.
    pub fn is_silent(&self) -> bool {
        self.silence.is_some() && self.since_answer() >= LONGEST_SILENCE
    }

    /// Pauses before the next read, and not beyond the end of the wait.
    pub async fn pause(&self, pause: Duration) {
        self.clock.sleep(self.left().map_or(pause, |left| left.min(pause))).await;
    }

    /// The rest of the timeout; `None`: there is no limit.
    pub fn left(&self) -> Option<Duration> {
        self.timeout.limit().map(|limit| limit.saturating_sub(self.elapsed()))
    }

    /// Why the last read has got no answer.
    pub fn silence(&self) -> Option<&str> {
        self.silence.as_deref()
    }

    /// How old the last answer is.
    pub fn since_answer(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.answered)
    }

    /// The time that has passed, in words for the message at the end.
    pub fn waited(&self) -> String {
        match self.timeout.limit() {
            Some(limit) if self.elapsed() >= limit => self.timeout.to_string(),
            _ => {
                let seconds = i64::try_from(self.elapsed().as_secs()).unwrap_or(i64::MAX);
                format!("{:#}", SignedDuration::from_secs(seconds))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::SimulatedClock;

    fn timeout(text: &str) -> Timeout {
        text.parse().unwrap()
    }

    fn begun(text: &str) -> (Wait, SimulatedClock) {
        let clock = SimulatedClock::new();
        (Wait::begin(timeout(text), Clock::Simulated(clock.clone())), clock)
    }

    async fn silent() -> Result<(), KubernetesError> {
        Err(KubernetesError::silent())
    }

    #[test]
    fn a_timeout_is_written_as_for_kubectl() {
        assert_eq!(timeout("1m30s").limit(), Some(Duration::from_secs(90)));
        for zero in ["0", "0s"] {
            assert_eq!(timeout(zero).limit(), Some(Duration::ZERO));
        }
        for negative in ["-1s", "-2h"] {
            assert_eq!(timeout(negative).limit(), None);
        }
        for wrong in ["", "5", "soon", "1x"] {
            let message = wrong.parse::<Timeout>().unwrap_err();
            assert!(message.starts_with("not a duration such as 30s"), "{wrong}: {message}");
        }
    }

    #[tokio::test]
    async fn a_wait_without_time_looks_once() {
        let (mut wait, _) = begun("0");
        assert_eq!(wait.hear(async { Ok(7) }).await.unwrap(), Some(7));
        assert!(wait.is_over());
        assert_eq!(wait.hear(async { Ok(7) }).await.unwrap(), None, "and not again");
    }

    #[tokio::test]
    async fn a_wait_is_over_after_its_timeout_and_never_by_a_negative_one() {
        for (text, is_over) in [("2m", true), ("3m", false), ("-1s", false)] {
            let (mut wait, clock) = begun(text);
            clock.advance(Duration::from_secs(120));
            wait.hear(async { Ok(()) }).await.unwrap();
            assert_eq!(wait.is_over(), is_over, "{text}");
        }
    }

    #[tokio::test]
    async fn a_pause_does_not_outlast_the_wait() {
        let (wait, clock) = begun("10s");
        wait.pause(Duration::from_secs(60)).await;
        assert_eq!(clock.elapsed(), Duration::from_secs(10));
        assert_eq!(wait.waited(), "10s");
    }

    #[tokio::test]
    async fn an_api_server_that_gives_no_answer_is_asked_again_and_given_up_after_five_minutes() {
        let (mut wait, clock) = begun("-1s");
        assert_eq!(wait.hear(silent()).await.unwrap(), None);
        clock.advance(LONGEST_SILENCE - Duration::from_secs(1));
        assert_eq!(wait.hear(silent()).await.unwrap(), None);
        assert!(!wait.is_over() && wait.silence().unwrap().contains("gives no answer"));
        clock.advance(Duration::from_secs(1));
        assert!(wait.is_over(), "the API server has been silent for {:?}", wait.since_answer());
        wait.hear(async { Ok(()) }).await.unwrap();
        assert!(!wait.is_over() && wait.silence().is_none(), "it answers again");
    }

    #[tokio::test]
    async fn a_read_that_hangs_ends_with_the_wait() {
        let mut wait = Wait::begin(timeout("10ms"), Clock::System);
        let hanging = std::future::pending::<Result<(), KubernetesError>>();
        assert_eq!(wait.hear(hanging).await.unwrap(), None);
        assert!(wait.is_over() && wait.silence().is_some());
    }

    #[tokio::test]
    async fn a_read_that_the_end_of_the_wait_cuts_off_says_nothing_about_an_api_server_that_has_answered() {
        let mut wait = Wait::begin(timeout("20ms"), Clock::System);
        wait.hear(async { Ok(()) }).await.unwrap();
        let hanging = std::future::pending::<Result<(), KubernetesError>>();
        assert_eq!(wait.hear(hanging).await.unwrap(), None);
        assert!(wait.is_over() && wait.silence().is_none(), "{:?}", wait.silence());

        // A silence that has begun before goes on.
        let mut wait = Wait::begin(timeout("1s"), Clock::System);
        wait.hear(async { Ok(()) }).await.unwrap();
        wait.hear(silent()).await.unwrap();
        let hanging = std::future::pending::<Result<(), KubernetesError>>();
        wait.hear(hanging).await.unwrap();
        assert!(wait.is_over() && wait.silence().is_some());
    }

    #[tokio::test]
    async fn an_answer_that_stays_as_it_is_ends_the_wait() {
        let (mut wait, _) = begun("2m");
        let denied = KubernetesError::Request {
            what: "read BucketReplication orders".to_owned(),
            message: "forbidden".to_owned(),
            is_denied: true,
            may_pass: false,
        };
        assert!(wait.hear(async { Err::<(), _>(denied) }).await.is_err());
    }
}
