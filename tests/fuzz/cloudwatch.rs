//! CloudWatch's SDK without a network.
//!
//! In: the body of the response to give. Out: what the SDK makes of it.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::http::HttpResponse;
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
        let client = Client::new(&connection.config());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        CloudWatch { client, connection, runtime }
    }

    /// The result of `GetMetricData` for a body.
    pub fn read(
        &self,
        body: Vec<u8>,
    ) -> Result<GetMetricDataOutput, Box<SdkError<GetMetricDataError, HttpResponse>>> {
        self.connection.answer_with(Response { status: 200, body });
        self.runtime.block_on(self.client.get_metric_data().send()).map_err(Box::new)
    }
}
