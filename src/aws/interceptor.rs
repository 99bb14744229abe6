//! Interceptors of the SDK: one counts every request to AWS and traces it as a span, one keeps the body of an answer.
//!
//! In: each request of a client, and its answer. Out: the metrics and the span of the request; the body as text, for
//! elements that the SDK does not read. The SDK's retries are counted too, because AWS limits requests.

use std::sync::Arc;
use std::time::Instant;

use aws_sdk_s3::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use parking_lot::Mutex;
use tracing::field::Empty;
use tracing::{Span, trace_span};

use crate::aws::error::{is_code, is_throttling};
use crate::aws::metrics::{AwsMetrics, RequestLabels};

/// The interceptor of every client.
#[derive(Clone, Debug)]
pub struct RequestMetrics(AwsMetrics);

/// The time at which the current request was sent, and its span.
#[derive(Debug)]
struct Sent(Instant, Span);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl RequestMetrics {
    pub fn new(metrics: AwsMetrics) -> RequestMetrics {
        RequestMetrics(metrics)
    }
}

impl Intercept for RequestMetrics {
    fn name(&self) -> &'static str {
        "RequestMetrics"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (service, method) = bag.load::<Metadata>().map(|m| (m.service(), m.name())).unwrap_or_default();
        let span = trace_span!(
            "request",
            otel.name = format!("{service}/{method}"),
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system = "aws-api",
            rpc.service = service,
            rpc.method = method,
            aws.code = Empty,
        );
        bag.interceptor_state().store_put(Sent(Instant::now(), span));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // An attempt may end without a request: without credentials, for example.
        let (Some(Sent(at, span)), Some(metadata)) = (bag.load::<Sent>(), bag.load::<Metadata>()) else {
            return Ok(());
        };
        let answer = context.response().map(|r| (r.status().as_u16(), r.body().bytes().unwrap_or_default()));
        let code = code_of(answer);
        let throttled = is_throttling(&code) || answer.is_some_and(|(status, _)| status == 429);
        span.record("aws.code", code.as_str());
        if code != "OK" {
            span.record("otel.status_code", "ERROR");
        }
        let (service, operation) = (metadata.service().to_lowercase(), metadata.name().to_owned());
        self.0.requested(RequestLabels { service, operation, code }, at.elapsed(), throttled);
        bag.interceptor_state().unset::<Sent>();
        Ok(())
    }
}

/// Keeps the body of an answer, for what the SDK does not read of it.
#[derive(Clone, Debug, Default)]
pub struct ResponseBody(Arc<Mutex<String>>);

impl ResponseBody {
    /// The body of the answer that came last.
    pub fn take(&self) -> String {
        std::mem::take(&mut self.0.lock())
    }
}

impl Intercept for ResponseBody {
    fn name(&self) -> &'static str {
        "ResponseBody"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().unwrap_or_default();
        *self.0.lock() = String::from_utf8_lossy(body).into_owned();
        Ok(())
    }
}

/// The code of an answer, by its status and its body: S3, IAM and STS answer in XML, KMS in JSON.
fn code_of(answer: Option<(u16, &[u8])>) -> String {
    let Some((status, body)) = answer else { return "none".to_owned() };
    if status < 300 {
        return "OK".to_owned();
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    let inside = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let json =
        || serde_json::from_str::<serde_json::Value>(text).ok()?.get("__type")?.as_str().map(str::to_owned);
    match inside.map(|(code, _)| code.to_owned()).or_else(json) {
        // A page written by a proxy must not become the value of a label.
        Some(code) if is_code(&code) => code,
        _ => format!("HTTP {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_one_of_aws_or_the_status() {
        assert_eq!(code_of(None), "none");
        assert_eq!(code_of(Some((200, b""))), "OK");
        assert_eq!(code_of(Some((503, b"<Error><Code>SlowDown</Code></Error>"))), "SlowDown");
        assert_eq!(code_of(Some((400, br#"{"__type": "NotFoundException"}"#))), "NotFoundException");
        assert_eq!(code_of(Some((404, b""))), "HTTP 404");
        assert_eq!(code_of(Some((502, b"<html><Code>have a look at <b>this</b></Code></html>"))), "HTTP 502");
        assert_eq!(code_of(Some((400, b"<Code></Code>"))), "HTTP 400");
    }
}
