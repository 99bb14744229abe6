//! Traces over OTLP (HTTP, protobuf).
//!
//! In: spans, one for each reconcile and in it one for each request to AWS, and the address of a collector. Out: the
//! spans at the collector, the last ones before the process exits.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;

use crate::telemetry::logs::BoxedLayer;

/// The service name in traces unless `OTEL_SERVICE_NAME` sets another.
const SERVICE: &str = env!("CARGO_PKG_NAME");

/// How long the program waits for the collector before it exits: supervisors often kill it after ten seconds.
const LAST_SPANS: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("cannot send traces to --otlp-endpoint {endpoint}: {source}")]
pub struct TraceError {
    endpoint: String,
    #[source]
    source: ExporterBuildError,
}

/// The exporter of spans, if there is one.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Exports to a collector, given by its address without a path, as in `OTEL_EXPORTER_OTLP_ENDPOINT`. The other
    /// variables of OpenTelemetry apply too.
    ///
    /// # Errors
    /// When the address is invalid.
    pub fn to(endpoint: Option<&str>) -> Result<Traces, TraceError> {
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(Traces(None));
        };
        let address = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(address).build();
        let exporter = exporter.map_err(|source| TraceError { endpoint: endpoint.to_owned(), source })?;
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Traces(Some(provider.with_resource(resource.build()).build())))
    }

    /// The layer that exports spans. The log level does not apply to it.
    pub fn layer(&self) -> Option<BoxedLayer> {
        let tracer = self.0.as_ref()?.tracer(SERVICE);
        // Only spans and events of this program: its libraries make very many.
        let own = filter_fn(|metadata| {
            metadata.target().starts_with("s3_replication_operator")
                && (metadata.is_span() || *metadata.level() <= Level::INFO)
        });
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_threads(false);
        Some(layer.with_filter(own.with_max_level_hint(LevelFilter::TRACE)).boxed())
    }

    /// Sends the spans that were not sent yet.
    pub async fn end(self) {
        if let Some(provider) = self.0 {
            // The call blocks its thread.
            let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS));
            if let Ok(Err(error)) = ended.await {
                tracing::warn!(%error, "the last spans were not sent");
            }
        }
    }
}
