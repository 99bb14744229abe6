//! Decides how often a job is checked.
//!
//! In: how long ago the job was started. Out: the pause before its next check. The longest waits for S3 and IAM on the
//! way to a job are here too.

use std::time::Duration;

/// The first pause; a job takes minutes at least.
pub const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause: some jobs run for days.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The pause while someone waits for the end: a cancelled job ends within seconds.
pub const ENDING_PAUSE: Duration = Duration::from_secs(5);

/// How long S3 may take to list a job that it has accepted. Until then a job that is not listed may still be there.
pub const LISTED_AFTER: Duration = Duration::from_secs(60);

/// The longest wait for a new role to be known everywhere in IAM
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>).
pub const ROLE_SETTLE: Duration = Duration::from_secs(15);

/// The pause before the next check of a job that was started this long ago: a tenth of its age, within bounds.
pub fn pause(age: Duration) -> Duration {
    (age / 10).clamp(FIRST_PAUSE, LONGEST_PAUSE)
}
