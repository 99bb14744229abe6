//! Metrics in the OpenMetrics text format.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::api::Reason;
use crate::aws;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Every metric of the operator.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ReasonLabels, Counter>,
    errors: Counter,
    pub aws: aws::Metrics,
}

impl Metrics {
    pub fn new() -> Metrics {
        let (reconciles, errors) = (Family::default(), Counter::default());
        let aws = aws::Metrics::default();
        let mut registry = Registry::with_prefix("s3_replication_operator");
        registry.register("reconciles", "Reconciles by the resulting reason of Ready", reconciles.clone());
        registry.register("reconcile_errors", "Reconciles that Kubernetes itself made fail", errors.clone());
        registry.register(
            "aws_requests",
            "Calls to AWS by service, action and error code",
            aws.requests.clone(),
        );
        Metrics { registry: Arc::new(registry), reconciles, errors, aws }
    }

    pub fn reconciled(&self, reason: Reason) {
        self.reconciles.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    pub fn errored(&self) {
        self.errors.inc();
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}
