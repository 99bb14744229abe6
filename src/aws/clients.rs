//! Clients: one a Region, made once, sharing one connection pool and one credentials cache, all rate-limited.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::OnceCell;

use super::cache::Buckets;
use super::error::failure;
use super::limits::{Lane, Limits, Rates};
use super::meter::Meter;
use super::metrics::Metrics;
use crate::replication::partition::account_of_arn;
use crate::replication::{Caller, Failure, FailureClass, Partition};

/// The Region of requests that belong to none, where the environment names none.
const DEFAULT_REGION: &str = "us-east-1";

/// How calls to AWS are made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub rates: Rates,
    /// How long one try of a call may take.
    pub attempt_timeout: Duration,
    /// Tries of one call; waiting in between is the SDK's.
    pub attempts: u32,
}

/// The standard chain of credentials, looked through anew each time they are to be renewed: the SDK's own reads
/// a profile file once, so that a Secret mounted or rotated later would need a restart.
#[derive(Debug)]
struct Environment;

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            DefaultCredentialsChain::builder().build().await.provide_credentials().await
        })
    }
}

/// AWS as one identity sees it.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    home: String,
    path_style: bool,
    s3: RwLock<HashMap<String, aws_sdk_s3::Client>>,
    iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
    caller: OnceCell<Caller>,
    limits: Limits,
    pub(super) buckets: Buckets,
    metrics: Metrics,
}

impl Aws {
    /// Clients from the standard AWS environment: variables, profiles, IRSA, Pod Identity, instance metadata.
    pub async fn from_env(settings: Settings, metrics: Metrics) -> Arc<Aws> {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .credentials_provider(Environment)
            .retry_config(RetryConfig::standard().with_max_attempts(settings.attempts))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(settings.attempt_timeout)
                    .operation_attempt_timeout(settings.attempt_timeout)
                    .build(),
            )
            .load()
            .await;
        Arc::new(Aws::new(config, settings.rates, metrics))
    }

    fn new(config: SdkConfig, rates: Rates, metrics: Metrics) -> Aws {
        let home = config.region().map_or_else(|| DEFAULT_REGION.to_owned(), |r| r.as_ref().to_owned());
        let config = config.into_builder().region(Region::new(home.clone())).build();
        // Buckets are names under the host there, not hosts of their own.
        let path_style = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let meter = Meter::new(metrics.clone());
        let iam = aws_sdk_iam::config::Builder::from(&config).interceptor(meter.clone()).build();
        let sts = aws_sdk_sts::config::Builder::from(&config).interceptor(meter).build();
        Aws {
            iam: aws_sdk_iam::Client::from_conf(iam),
            sts: aws_sdk_sts::Client::from_conf(sts),
            home,
            path_style,
            s3: RwLock::default(),
            config,
            caller: OnceCell::new(),
            limits: Limits::new(rates),
            buckets: Buckets::new(),
            metrics,
        }
    }

    /// The Region requests go to while a bucket's is not known.
    pub(super) fn home(&self) -> &str {
        &self.home
    }

    pub(super) fn iam(&self) -> &aws_sdk_iam::Client {
        &self.iam
    }

    /// The S3 client of a Region.
    pub(super) fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        if let Some(client) = self.s3.read().unwrap_or_else(PoisonError::into_inner).get(region) {
            return client.clone();
        }
        let mut clients = self.s3.write().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(region.to_owned()).or_insert_with(|| {
            let config = aws_sdk_s3::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()))
                .force_path_style(self.path_style)
                .interceptor(Meter::new(self.metrics.clone()))
                .build();
            aws_sdk_s3::Client::from_conf(config)
        });
        client.clone()
    }

    /// Who the operator is. Asked once.
    ///
    /// # Errors
    /// When there are no valid credentials or STS cannot be reached.
    pub async fn caller(&self) -> Result<Caller, Failure> {
        let ask = || async {
            let action = "sts:GetCallerIdentity";
            let answer = self
                .call(Lane::Identity, action, "the operator", self.sts.get_caller_identity().send())
                .await?;
            let arn = answer.arn().unwrap_or_default();
            let account = answer.account().or_else(|| account_of_arn(arn)).map(str::to_owned);
            let account = account.ok_or_else(|| Failure {
                class: FailureClass::Unavailable,
                action: action.into(),
                subject: "the operator".to_owned(),
                code: String::new(),
                detail: "STS named no account".to_owned(),
            })?;
            Ok(Caller { account, partition: Partition::of_region(&self.home) })
        };
        self.caller.get_or_try_init(ask).await.cloned()
    }

    /// Makes a call: waits for a token, logs, and classifies what went wrong.
    pub(super) async fn call<T, E>(
        &self,
        lane: Lane,
        action: &'static str,
        subject: &str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let asked = Instant::now();
        self.limits.wait(lane).await;
        self.metrics.waited(lane.service(), asked.elapsed());
        let result = request.await.map_err(|error| failure(&error, action, subject));
        let code = match &result {
            Ok(_) => "OK",
            Err(failure) if failure.code.is_empty() => "none",
            Err(failure) => &failure.code,
        };
        tracing::debug!(action, subject, code, "call to AWS");
        result
    }
}
