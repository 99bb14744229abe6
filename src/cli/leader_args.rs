//! The flags of leader election.
//!
//! In: arguments and environment; absent flags are derived from the pod. Out: the settings of the elector, or the
//! reason why they cannot be used.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::runtime::leader::{InvalidTimes, LeaseSettings, LeaseTimes};

/// The file in which a pod finds its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

#[derive(Debug, Args)]
#[command(next_help_heading = "Leader election")]
pub struct LeaderArgs {
    /// Let one of several operators with the same Lease work, while the others stand by to take over
    #[arg(long, env = "LEADER_ELECT", value_parser = clap::builder::FalseyValueParser::new())]
    pub leader_elect: bool,
    /// Name of the Lease; operators that share the work by --selector or --namespaces need different ones
    #[arg(long, env = "LEASE_NAME", default_value = "s3-replication-operator")]
    lease_name: String,
    /// Namespace of the Lease; absent: the namespace of the pod
    #[arg(long, env = "LEASE_NAMESPACE")]
    lease_namespace: Option<String>,
    /// How long the others wait after the leader's last renewal before they take over; longer than --renew-deadline by at
    /// least --aws-attempt-timeout
    #[arg(long, env = "LEASE_DURATION", default_value = "20s", value_parser = duration)]
    lease_duration: Duration,
    /// How long the leader works without a renewal of the Lease
    #[arg(long, env = "RENEW_DEADLINE", default_value = "10s", value_parser = duration)]
    renew_deadline: Duration,
    /// Time between two attempts to acquire or renew the Lease
    #[arg(long, env = "RETRY_PERIOD", default_value = "2s", value_parser = duration)]
    retry_period: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaderArgsError {
    #[error(
        "the namespace of the Lease is unknown: set --lease-namespace, or set POD_NAMESPACE to the namespace of the pod"
    )]
    NoNamespace,
    #[error(transparent)]
    Times(#[from] InvalidTimes),
}

impl LeaderArgs {
    /// The settings of the election among the operators of this scope; `None` without `--leader-elect`. `longest_request`:
    /// the longest that a request to AWS may take.
    ///
    /// # Errors
    /// If the times do not fit together, or the namespace is unknown.
    pub fn settings(
        &self,
        scope: &str,
        longest_request: Duration,
    ) -> Result<Option<LeaseSettings>, LeaderArgsError> {
        let times = LeaseTimes::new(self.lease_duration, self.renew_deadline, self.retry_period)?;
        if !self.leader_elect {
            return Ok(None);
        }
        let times = times.leave_time_for(longest_request)?;
        let given = [self.lease_namespace.clone(), std::env::var("POD_NAMESPACE").ok()];
        let namespace =
            find_namespace(given, Path::new(NAMESPACE_FILE)).ok_or(LeaderArgsError::NoNamespace)?;
        let (name, scope) = (self.lease_name.clone(), scope.to_owned());
        Ok(Some(LeaseSettings { namespace, name, holder: holder(), scope, times }))
    }
}

/// The first given name, else the content of the file. An empty variable in a manifest counts as not set.
fn find_namespace(given: [Option<String>; 2], file: &Path) -> Option<String> {
    let pod = std::fs::read_to_string(file).ok();
    let names = given.into_iter().chain([pod]).flatten();
    names.map(|name| name.trim().to_owned()).find(|name| !name.is_empty())
}

/// The pod's name, by which people recognize it, and a random suffix: a process that restarts under the same name must
/// not mistake the Lease of its predecessor for its own.
fn holder() -> String {
    let host = ["POD_NAME", "HOSTNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let end: String = std::iter::repeat_with(fastrand::alphanumeric).take(12).collect();
    format!("{}_{end}", host.as_deref().unwrap_or("s3-replication-operator"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed =
        text.parse::<jiff::SignedDuration>().map_err(|e| format!("not a duration such as 15s: {e}"))?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_the_given_one_or_the_pod_s() {
        let file = std::env::temp_dir().join(format!("namespace-{}", std::process::id()));
        std::fs::write(&file, "from-the-pod\n").unwrap();
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(find_namespace([some("flag"), some("pod")], &file).as_deref(), Some("flag"));
        assert_eq!(find_namespace([some(""), some("pod")], &file).as_deref(), Some("pod"));
        assert_eq!(find_namespace([None, some("")], &file).as_deref(), Some("from-the-pod"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(find_namespace([None, None], &file), None);
    }

    #[test]
    fn no_two_processes_are_one_candidate() {
        assert_ne!(holder(), holder());
    }
}
