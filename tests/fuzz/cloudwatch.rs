//! CloudWatch's SDK without a network.
//!
//! In: the body of the response to give. Out: what the SDK makes of it.

use aws_credential_types::Credentials;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::http::HttpResponse;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_sdk_cloudwatch::error::SdkError;
use aws_sdk_cloudwatch::operation::get_metric_data::{GetMetricDataError, GetMetricDataOutput};

use crate::connection::{Connection, Response};

/// A client whose every request gets the body that was set last.
pub struct CloudWatch {
    client: Client,
    connection: Connection,
    runtime: tokio::runtime::Runtime,
}

impl CloudWatch {
    pub fn new() -> CloudWatch {
        let connection = Connection::default();
        let config = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("AKIAEXAMPLE", "secret", None, None, "fuzz"))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(connection.client())
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        CloudWatch { client: Client::from_conf(config), connection, runtime }
    }

    /// What `GetMetricData` returns for a body.
    pub fn read(
        &self,
        body: Vec<u8>,
    ) -> Result<GetMetricDataOutput, Box<SdkError<GetMetricDataError, HttpResponse>>> {
        self.connection.answer_with(Response { status: 200, body });
        self.runtime.block_on(self.client.get_metric_data().send()).map_err(Box::new)
    }
}
