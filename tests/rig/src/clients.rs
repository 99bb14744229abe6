//! AWS clients for the tests' own use: the same SDK as the operator's, on a
//! given endpoint and as a given account.

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient};

use crate::emulator::SECRET;

/// Makes clients for one endpoint and one identity.
#[derive(Debug, Clone)]
pub struct Clients {
    endpoint: String,
    credentials: Credentials,
    http: SharedHttpClient,
}

impl Clients {
    /// As the root of an account.
    pub fn new(endpoint: &str, account: &str) -> Self {
        Self::with_credentials(endpoint, account, SECRET)
    }

    /// As whoever has this access key.
    pub fn with_credentials(endpoint: &str, access_key_id: &str, secret: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            credentials: Credentials::new(access_key_id, secret, None, None, "rig"),
            // Everything here is plain HTTP: loading the system's root
            // certificates would be the slowest part of many tests.
            http: aws_smithy_http_client::Builder::new().build_http(),
        }
    }

    /// S3 in a region.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .credentials_provider(self.provider())
            .http_client(self.http.clone())
            .region(Region::new(region.to_owned()))
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// IAM, which is global.
    pub fn iam(&self) -> aws_sdk_iam::Client {
        let config = aws_sdk_iam::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .credentials_provider(self.provider())
            .http_client(self.http.clone())
            .region(Region::new("us-east-1"))
            .build();
        aws_sdk_iam::Client::from_conf(config)
    }

    /// STS.
    pub fn sts(&self) -> aws_sdk_sts::Client {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .credentials_provider(self.provider())
            .http_client(self.http.clone())
            .region(Region::new("us-east-1"))
            .build();
        aws_sdk_sts::Client::from_conf(config)
    }

    fn provider(&self) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(self.credentials.clone())
    }
}
