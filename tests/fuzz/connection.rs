//! A connection of the SDK without a network.
//!
//! In: the response to give. Out: the body of the request that was sent last. Every request gets the response that was
//! set last.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region, SharedCredentialsProvider, StalledStreamProtectionConfig};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_types::SdkConfig;

/// A response of AWS.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Connection {
    response: Arc<Mutex<Response>>,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Connection {
    /// The configuration of a client.
    pub fn config(&self) -> SdkConfig {
        let shared = SharedHttpConnector::new(self.clone());
        let credentials = Credentials::new("AKIAEXAMPLE", "secret", None, None, "fuzz");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(http_client_fn(move |_, _| shared.clone()))
            .build()
    }

    pub fn answer_with(&self, response: Response) {
        *self.response.lock().unwrap() = response;
    }

    /// The body of the last request.
    pub fn sent(&self) -> Vec<u8> {
        self.sent.lock().unwrap().clone()
    }
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        *self.sent.lock().unwrap() = request.body().bytes().unwrap_or_default().to_vec();
        let Response { status, body } = self.response.lock().unwrap().clone();
        let status = status.try_into().expect("a status between 100 and 999");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}
