//! The settings of the controllers, and the limits that they set on resources.
//!
//! In: the flags of `run`, which `cli/run.rs` reads. Out: intervals that are not below the administrator's shortest, a
//! spec as the operator acts on it (`--read-only` included), and the id of an object in this cluster.

use std::borrow::Cow;
use std::time::Duration;

use kube::core::ObjectMeta;

use crate::api::{BucketReplicationSpec, Canary, Health, Interval, ManagementPolicy};
use crate::controllers::events::settings::EventSettings;
use crate::replication::ResourceId;
use crate::replication::health::canary;
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
    /// A resource that asks for a shorter interval has this one: of checks, of readings of metrics, and of canaries.
    pub min_interval: Interval,
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// Refuse resources that act without an `AwsAccount`.
    pub require_account: bool,
    /// Write nothing to AWS, under any `managementPolicy`.
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
    /// The shortest period whose evidence a verdict counts.
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

    /// A spec as the operator acts on it: no interval is below the administrator's shortest, the default of canaries
    /// included, and what the operator as a whole may not write, no resource writes.
    pub fn acted_on<'a>(&self, spec: &'a BucketReplicationSpec) -> Cow<'a, BucketReplicationSpec> {
        let mut acted_on = Cow::Borrowed(spec);
        if self.read_only {
            acted_on.to_mut().management_policy = ManagementPolicy::Observe;
        }
        let Some(health) = &spec.health else { return acted_on };
        let raised = Health {
            interval: self.own_interval(health.interval.as_ref()).cloned(),
            canary: health
                .canary
                .clone()
                .map(|canary| Canary { interval: self.canary_interval(canary.interval), ..canary }),
            ..health.clone()
        };
        if raised != *health {
            acted_on.to_mut().health = Some(raised);
        }
        acted_on
    }

    fn canary_interval(&self, asked: Option<Interval>) -> Option<Interval> {
        let is_short = canary::interval(asked.as_ref()) < self.min_interval.duration();
        if is_short { Some(self.min_interval.clone()) } else { asked }
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

#[cfg(any(test, feature = "simulation"))]
impl Settings {
    /// Settings as `run` without flags has them.
    pub fn without_flags(cluster: &str) -> Settings {
        Settings {
            namespaces: Vec::new(),
            selector: None,
            concurrency: 8,
            interval: Interval::default(),
            min_interval: Interval("1m".to_owned()),
            cluster: cluster.to_owned(),
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings() -> Settings {
        Settings::without_flags("cluster")
    }

    #[test]
    fn the_administrators_shortest_interval_holds_for_metrics_and_canaries_too() {
        let acted_on = |shortest: &str, health: Health| {
            let settings = Settings { min_interval: shortest.parse().unwrap(), ..settings() };
            let spec = BucketReplicationSpec { health: Some(health), ..BucketReplicationSpec::default() };
            let health = settings.acted_on(&spec).health.clone().unwrap();
            let canary = health.canary.map(|canary| canary::interval(canary.interval.as_ref()));
            (health.interval.map(|interval| interval.duration()), canary)
        };
        let minutes = |minutes: u64| Some(Duration::from_secs(minutes * 60));
        let asked = |interval: Option<&str>, canary: Option<&str>| Health {
            interval: interval.map(|text| text.parse().unwrap()),
            canary: Some(Canary { interval: canary.map(|text| text.parse().unwrap()), ..Canary::default() }),
            ..Health::default()
        };
        assert_eq!(acted_on("30m", asked(Some("1m"), Some("5m"))), (minutes(30), minutes(30)));
        assert_eq!(acted_on("30m", asked(Some("1h"), Some("2h"))), (minutes(60), minutes(120)));
        assert_eq!(acted_on("30m", asked(None, None)), (None, minutes(30)), "by default too");
        assert_eq!(acted_on("1m", asked(Some("2m"), None)), (minutes(2), minutes(15)));
        assert_eq!(acted_on("30m", Health::default()), (None, None), "nobody asked for a canary");
    }
}
