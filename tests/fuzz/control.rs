//! S3 Control's SDK without a network.
//!
//! In: the response to give. Out: what the SDK makes of it, and the body of the request that it sent.

use aws_sdk_s3control::Client;
use aws_sdk_s3control::config::http::HttpResponse;
use aws_sdk_s3control::error::SdkError;
use aws_sdk_s3control::operation::create_job::builders::CreateJobInputBuilder;
use aws_sdk_s3control::operation::create_job::{CreateJobError, CreateJobOutput};
use aws_sdk_s3control::operation::describe_job::{DescribeJobError, DescribeJobOutput};
use aws_sdk_s3control::operation::list_jobs::{ListJobsError, ListJobsOutput};

use crate::connection::{Connection, Response};

pub const ACCOUNT: &str = "111122223333";

type Answer<T, E> = Result<T, Box<SdkError<E, HttpResponse>>>;

/// A client whose every request gets the response that was set last.
pub struct S3Control {
    client: Client,
    connection: Connection,
    runtime: tokio::runtime::Runtime,
}

impl S3Control {
    pub fn new() -> S3Control {
        let connection = Connection::default();
        let client = Client::new(&connection.config());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        S3Control { client, connection, runtime }
    }

    pub fn describe(&self, response: Response) -> Answer<DescribeJobOutput, DescribeJobError> {
        self.connection.answer_with(response);
        let read = self.client.describe_job().account_id(ACCOUNT).job_id("job-1").send();
        self.runtime.block_on(read).map_err(Box::new)
    }

    pub fn list(&self, body: Vec<u8>) -> Answer<ListJobsOutput, ListJobsError> {
        self.connection.answer_with(Response { status: 200, body });
        self.runtime.block_on(self.client.list_jobs().account_id(ACCOUNT).send()).map_err(Box::new)
    }

    pub fn create(
        &self,
        input: CreateJobInputBuilder,
        body: Vec<u8>,
    ) -> Answer<CreateJobOutput, CreateJobError> {
        self.connection.answer_with(Response { status: 200, body });
        self.runtime.block_on(input.send_with(&self.client)).map_err(Box::new)
    }

    /// The body of the last request.
    pub fn sent(&self) -> Vec<u8> {
        self.connection.sent()
    }
}
