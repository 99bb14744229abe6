//! AWS clients for the tests' own use: the same SDK as the operator's, on a
//! given endpoint and as a given account.

use anyhow::{Context, Result};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_sts::types::Credentials as Session;
use aws_types::SdkConfig;

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
        Self::with(endpoint, Credentials::new(access_key_id, secret, None, None, "rig"))
    }

    /// As the session that STS gave these credentials.
    pub fn with_session(endpoint: &str, session: &Session) -> Self {
        let (key, secret, token) =
            (session.access_key_id(), session.secret_access_key(), session.session_token());
        Self::with(endpoint, Credentials::new(key, secret, Some(token.to_owned()), None, "rig"))
    }

    /// Assumes a role, and returns clients as its session on the same endpoint.
    pub async fn assume(
        &self,
        role_arn: &str,
        session_name: &str,
        external_id: Option<&str>,
    ) -> Result<Self> {
        let request = self.sts().assume_role().role_arn(role_arn).role_session_name(session_name);
        let answer = request.set_external_id(external_id.map(str::to_owned)).send().await;
        let answer = answer.with_context(|| format!("cannot assume {role_arn}"))?;
        let session = answer.credentials().with_context(|| format!("no credentials for {role_arn}"))?;
        Ok(Self::with_session(&self.endpoint, session))
    }

    /// The same identity at another endpoint.
    pub fn through(&self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..self.clone() }
    }

    fn with(endpoint: &str, credentials: Credentials) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            credentials,
            // Everything here is plain HTTP: loading the system's root
            // certificates would be the slowest part of many tests.
            http: aws_smithy_http_client::Builder::new().build_http(),
        }
    }

    /// S3 in a region.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config(region)).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// IAM, which is global.
    pub fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config("us-east-1"))
    }

    /// KMS in a region.
    pub fn kms(&self, region: &str) -> aws_sdk_kms::Client {
        aws_sdk_kms::Client::new(&self.config(region))
    }

    /// SQS in a region.
    pub fn sqs(&self, region: &str) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config(region))
    }

    /// STS.
    pub fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config("us-east-1"))
    }

    fn config(&self, region: &str) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.http.clone())
            .region(Region::new(region.to_owned()))
            .build()
    }
}
