//! The settings of the controllers.

use std::time::Duration;

use kube::core::ObjectMeta;

use crate::api::Interval;
use crate::controllers::events::settings::EventSettings;
use crate::replication::ResourceId;
use crate::replication::status::runbooks::Runbooks;

/// Resources that are created together are counted together for their accounts, after this pause.
pub const SETTLE: Duration = Duration::from_secs(1);

/// The settings that the flags of `run` give.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; empty for all.
    pub namespaces: Vec<String>,
    /// Labels of the resources to work on; all when absent.
    pub selector: Option<String>,
    /// Reconciles at the same time, for each set of accounts they act in.
    pub concurrency: u16,
    /// How often AWS is checked where the resource does not say.
    pub interval: Interval,
    /// A resource that asks for a shorter interval has this one.
    pub min_interval: Interval,
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// Refuse resources that act without an `AwsAccount`.
    pub require_account: bool,
    /// Write nothing to AWS, whatever a resource's `managementPolicy` says.
    pub read_only: bool,
    /// UIDs of the `kube-system` namespaces of clusters that this one replaces.
    pub former_clusters: Vec<String>,
    /// The shortest time between two checks of a resource that its annotation requests.
    pub request_interval: Duration,
    /// The longest that a request to AWS may take.
    pub longest_request: Duration,
    /// How the operator finds out whether objects arrive.
    pub health: HealthSettings,
    /// Whether metrics name each resource.
    pub resource_metrics: bool,
    /// How long a backfill waits after the operator's own last write of the replication configuration.
    pub backfill_settle: Duration,
    pub events: EventSettings,
    /// Where the pages of the reasons are.
    pub runbooks: Runbooks,
}

/// How the operator finds out whether objects arrive.
#[derive(Clone, Copy, Debug)]
pub struct HealthSettings {
    /// The time between two readings of metrics where a resource does not say; `None`: none are read.
    pub interval: Option<Duration>,
    /// How far a verdict looks back at least.
    pub window: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        HealthSettings { interval: Some(Duration::from_secs(5 * 60)), window: Duration::from_secs(15 * 60) }
    }
}

impl Settings {
    /// The interval of a resource that asks for one.
    pub fn own_interval<'a>(&'a self, asked: Option<&'a Interval>) -> Option<&'a Interval> {
        asked.map(|asked| self.raised_interval(Some(asked)).unwrap_or(asked))
    }

    /// The interval that takes the place of one that is too short.
    pub fn raised_interval(&self, asked: Option<&Interval>) -> Option<&Interval> {
        let is_short = |asked: &Interval| asked.duration() < self.min_interval.duration();
        asked.is_some_and(is_short).then_some(&self.min_interval)
    }

    /// The id of an object of this cluster.
    pub fn resource_id(&self, metadata: &ObjectMeta) -> ResourceId {
        ResourceId {
            cluster: Some(self.cluster.clone()),
            former_clusters: self.former_clusters.clone(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings as `run` without flags has them.
    pub(crate) fn settings() -> Settings {
        Settings {
            namespaces: Vec::new(),
            selector: None,
            concurrency: 8,
            interval: "10m".parse().unwrap(),
            min_interval: "1m".parse().unwrap(),
            cluster: "cluster".to_owned(),
            require_account: false,
            read_only: false,
            former_clusters: Vec::new(),
            request_interval: Duration::from_secs(10),
            longest_request: Duration::from_secs(10),
            health: HealthSettings::default(),
            resource_metrics: false,
            backfill_settle: Duration::from_secs(15 * 60),
            events: EventSettings::default(),
            runbooks: Runbooks::default(),
        }
    }
}
