//! What all that acts in one account shares: clients for every Region, made once, a limit, a breaker, and what is
//! remembered of its buckets. Nothing of it is shared with another account, so that one account's troubles are its
//! own.

pub mod cache;
pub mod circuit_breaker;
pub mod client;
pub mod credentials;
pub mod rate_limiter;
pub mod sessions;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;

use crate::aws::account::cache::{Buckets, Keys};
use crate::aws::account::circuit_breaker::CircuitBreaker;
use crate::aws::account::rate_limiter::{Lane, RateLimits};
use crate::aws::error::failure;
use crate::aws::interceptor::RequestMetrics;
use crate::aws::metrics::Metrics;
use crate::replication::Failure;

/// The Region of requests that belong to none, where the environment names none.
const DEFAULT_REGION: &str = "us-east-1";

/// Clients of one account.
#[derive(Debug)]
pub struct AccountClients {
    config: SdkConfig,
    /// Tells this account's retries from others': the SDK shares a budget of retries by name.
    name: String,
    home: String,
    path_style: bool,
    s3: RwLock<HashMap<String, aws_sdk_s3::Client>>,
    kms: RwLock<HashMap<String, aws_sdk_kms::Client>>,
    iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
    limits: Arc<RateLimits>,
    breaker: CircuitBreaker,
    metrics: Metrics,
    pub buckets: Buckets,
    pub keys: Keys,
}

impl AccountClients {
    pub fn new(config: &SdkConfig, name: &str, limits: Arc<RateLimits>, metrics: Metrics) -> AccountClients {
        let home = config.region().map_or_else(|| DEFAULT_REGION.to_owned(), |r| r.as_ref().to_owned());
        let config = config.clone().into_builder().region(Region::new(home.clone())).build();
        // Buckets are names under the host there, not hosts of their own.
        let path_style = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let meter = RequestMetrics::new(metrics.clone());
        let iam = aws_sdk_iam::config::Builder::from(&config).retry_partition(partition(name, "iam"));
        let sts = aws_sdk_sts::config::Builder::from(&config).retry_partition(partition(name, "sts"));
        let (iam, sts) = (iam.interceptor(meter.clone()), sts.interceptor(meter));
        AccountClients {
            iam: aws_sdk_iam::Client::from_conf(iam.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            name: name.to_owned(),
            home,
            path_style,
            s3: RwLock::default(),
            kms: RwLock::default(),
            config,
            limits,
            breaker: CircuitBreaker::default(),
            metrics,
            buckets: Buckets::new(),
            keys: Keys::new(),
        }
    }

    /// The Region requests go to while a bucket's is not known.
    pub fn home(&self) -> &str {
        &self.home
    }

    pub fn iam(&self) -> &aws_sdk_iam::Client {
        &self.iam
    }

    pub fn sts(&self) -> &aws_sdk_sts::Client {
        &self.sts
    }

    pub fn limits(&self) -> Arc<RateLimits> {
        self.limits.clone()
    }

    /// The S3 client of a Region.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        of_region(&self.s3, region, || {
            let config = aws_sdk_s3::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()))
                .retry_partition(partition(&self.name, &format!("s3-{region}")))
                .interceptor(RequestMetrics::new(self.metrics.clone()))
                .force_path_style(self.path_style);
            aws_sdk_s3::Client::from_conf(config.build())
        })
    }

    /// The KMS client of a Region.
    pub fn kms(&self, region: &str) -> aws_sdk_kms::Client {
        of_region(&self.kms, region, || {
            let config = aws_sdk_kms::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()))
                .retry_partition(partition(&self.name, &format!("kms-{region}")))
                .interceptor(RequestMetrics::new(self.metrics.clone()));
            aws_sdk_kms::Client::from_conf(config.build())
        })
    }

    /// Makes a call: waits for a token, logs, and classifies what went wrong. The request is boxed at once:
    /// the SDK's futures are large, and a check holds a dozen of them.
    pub fn call<'a, T, E>(
        &'a self,
        lane: Lane,
        action: &'static str,
        subject: &'a str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'a
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let request = Box::pin(request);
        async move {
            if let Some(failure) = self.breaker.refuses(action, subject, Instant::now()) {
                tracing::debug!(
                    action,
                    subject,
                    "call to AWS left out: the account failed too often just now"
                );
                return Err(failure);
            }
            let asked = Instant::now();
            self.limits.wait(lane).await;
            self.metrics.waited(lane.service(), asked.elapsed());
            let result = request.await.map_err(|error| failure(&error, action, subject));
            self.breaker.learns(action, result.as_ref().err(), Instant::now());
            let code = match &result {
                Ok(_) => "OK",
                Err(failure) if failure.code.is_empty() => "none",
                Err(failure) => &failure.code,
            };
            tracing::debug!(action, subject, code, "call to AWS");
            result
        }
    }
}

fn partition(account: &str, client: &str) -> RetryPartition {
    RetryPartition::new(format!("{account}/{client}"))
}

fn of_region<C: Clone>(clients: &RwLock<HashMap<String, C>>, region: &str, make: impl FnOnce() -> C) -> C {
    if let Some(client) = clients.read().unwrap_or_else(PoisonError::into_inner).get(region) {
        return client.clone();
    }
    let mut clients = clients.write().unwrap_or_else(PoisonError::into_inner);
    clients.entry(region.to_owned()).or_insert_with(make).clone()
}
