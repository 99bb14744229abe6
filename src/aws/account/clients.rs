//! Shared by all calls in one account: SDK clients for every Region, made once, rate limits, a circuit breaker, and the
//! caches of its buckets, roles and keys.
//!
//! In: an [`Operation`] and a request of the SDK. Out: its answer, or a [`Failure`] in its class. A service that the
//! operator did not call before gets its client here.

use std::collections::HashMap;
use std::sync::Arc;

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::aws::account::cache::{Buckets, Keys, RoleCache};
use crate::aws::account::circuit_breaker::CircuitBreaker;
use crate::aws::account::control_endpoint::ControlEndpoint;
use crate::aws::account::credentials::Environment;
use crate::aws::account::operation::Operation;
use crate::aws::account::own_keys::OwnKeys;
use crate::aws::account::rate_limiter::RateLimits;
use crate::aws::error::{failure, name_region, names_an_absence};
use crate::aws::interceptor::RequestMetrics;
use crate::aws::metrics::AwsMetrics;
use crate::replication::Failure;

/// The Region of requests that belong to none, where the environment names none.
const DEFAULT_REGION: &str = "us-east-1";

/// More Regions than AWS has. Specs may name Regions that do not exist, and those must not stay in memory.
const REGIONS: usize = 64;

/// Clients of one account.
#[derive(Debug)]
pub struct AccountClients {
    config: SdkConfig,
    environment: Environment,
    /// Keeps this account's budget of retries apart from others': the SDK shares it by name.
    name: String,
    home: String,
    path_style: bool,
    s3: RwLock<HashMap<String, aws_sdk_s3::Client>>,
    kms: RwLock<HashMap<String, aws_sdk_kms::Client>>,
    cloudwatch: RwLock<HashMap<String, aws_sdk_cloudwatch::Client>>,
    s3control: RwLock<HashMap<String, aws_sdk_s3control::Client>>,
    iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
    limits: Arc<RateLimits>,
    breaker: CircuitBreaker,
    metrics: AwsMetrics,
    pub buckets: Buckets,
    pub keys: Keys,
    pub roles: RoleCache,
}

impl AccountClients {
    /// `name` keeps the account's budget of retries apart; `environment` has the operator's own credentials, which
    /// `config` signs with.
    pub fn new(
        config: &SdkConfig,
        environment: Environment,
        name: &str,
        limits: Arc<RateLimits>,
        metrics: AwsMetrics,
    ) -> AccountClients {
        let home = config.region().map_or_else(|| DEFAULT_REGION.to_owned(), |r| r.as_ref().to_owned());
        let config = config.clone().into_builder().region(Region::new(home.clone())).build();
        // Behind one endpoint a bucket is part of the path, not a host of its own.
        let path_style = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let interceptor = RequestMetrics::new(metrics.clone());
        let iam = aws_sdk_iam::config::Builder::from(&config).retry_partition(partition(name, "iam"));
        let sts = aws_sdk_sts::config::Builder::from(&config).retry_partition(partition(name, "sts"));
        let (iam, sts) = (iam.interceptor(interceptor.clone()), sts.interceptor(interceptor));
        AccountClients {
            iam: aws_sdk_iam::Client::from_conf(iam.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            name: name.to_owned(),
            home,
            path_style,
            s3: RwLock::default(),
            kms: RwLock::default(),
            cloudwatch: RwLock::default(),
            s3control: RwLock::default(),
            config,
            environment,
            limits,
            breaker: CircuitBreaker::default(),
            metrics,
            buckets: Buckets::new(),
            keys: Keys::new(),
            roles: RoleCache::new(),
        }
    }

    /// The Region to which requests go while a bucket's is not known.
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

    /// The keys that the operator signs with.
    pub fn own_keys(&self) -> &OwnKeys {
        self.environment.own_keys()
    }

    /// The S3 client of a Region.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        of_region(&self.s3, region, |retries| {
            let config = aws_sdk_s3::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()))
                .retry_partition(partition(&self.name, &format!("s3{retries}")))
                .interceptor(RequestMetrics::new(self.metrics.clone()))
                .force_path_style(self.path_style);
            aws_sdk_s3::Client::from_conf(config.build())
        })
    }

    /// The KMS client of a Region.
    pub fn kms(&self, region: &str) -> aws_sdk_kms::Client {
        of_region(&self.kms, region, |retries| {
            let config = aws_sdk_kms::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()))
                .retry_partition(partition(&self.name, &format!("kms{retries}")))
                .interceptor(RequestMetrics::new(self.metrics.clone()));
            aws_sdk_kms::Client::from_conf(config.build())
        })
    }

    /// The CloudWatch client of a Region.
    pub fn cloudwatch(&self, region: &str) -> aws_sdk_cloudwatch::Client {
        of_region(&self.cloudwatch, region, |retries| {
            let config = aws_sdk_cloudwatch::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()))
                .retry_partition(partition(&self.name, &format!("cloudwatch{retries}")))
                .interceptor(RequestMetrics::new(self.metrics.clone()));
            aws_sdk_cloudwatch::Client::from_conf(config.build())
        })
    }

    /// The S3 Control client of a Region.
    pub fn s3control(&self, region: &str) -> aws_sdk_s3control::Client {
        of_region(&self.s3control, region, |retries| {
            let config = aws_sdk_s3control::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()))
                .retry_partition(partition(&self.name, &format!("s3control{retries}")))
                .interceptor(RequestMetrics::new(self.metrics.clone()))
                .endpoint_resolver(ControlEndpoint::default());
            aws_sdk_s3control::Client::from_conf(config.build())
        })
    }

    /// Makes a call: waits for a token, logs, and classifies a failure. The request is boxed at once, because the
    /// SDK's futures are large and a check holds a dozen of them.
    pub fn call<'a, T, E>(
        &'a self,
        operation: Operation<'a>,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'a
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let request = Box::pin(request);
        async move {
            let Operation { lane, action, subject, region } = operation;
            if let Some(failure) = self.breaker.check(&operation, Instant::now()) {
                tracing::debug!(action, subject, region, "call to AWS skipped: the circuit breaker is open");
                return Err(failure);
            }
            let queued = Instant::now();
            self.limits.wait(lane).await;
            self.metrics.waited(lane.service(), queued.elapsed());
            let result = request.await;
            let absent = result.as_ref().is_err_and(names_an_absence);
            let result = result.map_err(|error| failure(&error, action, subject));
            let result = result.map_err(|failure| name_region(failure, region, self.home()));
            let outage = result.as_ref().err().filter(|_| !absent);
            self.breaker.record(&operation, outage, Instant::now());
            let code = match &result {
                Ok(_) => "OK",
                Err(failure) if failure.code.is_empty() => "none",
                Err(failure) => &failure.code,
            };
            tracing::debug!(action, subject, code, "call to AWS");
            result
        }
    }

    /// Reports the failure of a call that the operator's own credentials signed.
    pub async fn own_credentials_failed(&self, failure: &Failure) {
        self.environment.failed(failure, std::time::Instant::now()).await;
    }
}

fn partition(account: &str, client: &str) -> RetryPartition {
    RetryPartition::new(format!("{account}/{client}"))
}

/// The client of a Region. `make` takes the suffix of its budget of retries: the SDK never forgets one, so that beyond
/// the bound clients share a budget and are not kept.
fn of_region<C: Clone>(
    clients: &RwLock<HashMap<String, C>>,
    region: &str,
    make: impl FnOnce(&str) -> C,
) -> C {
    if let Some(client) = clients.read().get(region) {
        return client.clone();
    }
    let mut clients = clients.write();
    if clients.len() >= REGIONS && !clients.contains_key(region) {
        return make("");
    }
    clients.entry(region.to_owned()).or_insert_with(|| make(&format!("-{region}"))).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_that_specs_make_up_take_bounded_memory() {
        let clients = RwLock::default();
        let mut shared = 0;
        for n in 0..10 * REGIONS {
            of_region(&clients, &format!("zz-fake-{n}"), |retries| shared += usize::from(retries.is_empty()));
        }
        assert_eq!(clients.read().len(), REGIONS);
        assert_eq!(shared, 9 * REGIONS, "clients that are not kept share one budget of retries");
    }
}
