//! S3's SDK without a network.
//!
//! In: the response to give. Out: what the SDK makes of it, and the body of the request that it sent.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_bucket_replication::GetBucketReplicationError;
use aws_sdk_s3::types::ReplicationConfiguration;

use crate::connection::{Connection, Response};

/// A client whose every request gets the response that was set last.
pub struct S3 {
    client: Client,
    connection: Connection,
    runtime: tokio::runtime::Runtime,
}

impl S3 {
    pub fn new() -> S3 {
        let connection = Connection::default();
        let client = Client::new(&connection.config());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        S3 { client, connection, runtime }
    }

    /// The result of `GetBucketReplication` for a response.
    pub fn read(
        &self,
        response: Response,
    ) -> Result<Option<ReplicationConfiguration>, Box<SdkError<GetBucketReplicationError, HttpResponse>>>
    {
        self.connection.answer_with(response);
        let read = self.client.get_bucket_replication().bucket("source").send();
        self.runtime.block_on(read).map(|output| output.replication_configuration).map_err(Box::new)
    }

    /// The XML that `PutBucketReplication` sends.
    pub fn written(&self, configuration: ReplicationConfiguration) -> Vec<u8> {
        self.connection.answer_with(Response { status: 200, body: Vec::new() });
        let write = self.client.put_bucket_replication().bucket("source");
        self.runtime.block_on(write.replication_configuration(configuration).send()).expect("an empty 200");
        self.connection.sent()
    }
}
