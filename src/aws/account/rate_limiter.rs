//! The rate limits of calls to S3, IAM, KMS, CloudWatch, STS and S3 Batch Operations: a token bucket for each service,
//! with reads and writes of S3 and IAM apart. A burst of checks leaves room for writes, and a fleet of resources stays
//! below AWS's own, undisclosed limits.
//!
//! In: the rates of S3 and IAM, which flags set (`cli/aws_args.rs`), and the [`Lane`] of each call. Out: a wait until
//! the call may be sent. The rates of the other services, such as KMS, are constants here. Each account has limits of
//! its own, but for STS, which counts all calls against the caller's account.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::aws::account::operation::Lane;

/// Requests per second, which is also the burst.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub s3_reads: NonZeroU32,
    pub s3_writes: NonZeroU32,
    pub iam_reads: NonZeroU32,
    pub iam_writes: NonZeroU32,
}

/// KMS shares its quota with everything in the account that encrypts, so that the operator takes little of it. A key is
/// read about once an hour.
const KMS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// CloudWatch answers 50 calls to `GetMetricData` a second in an account and Region
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html>); a sweep is in no hurry.
const CLOUDWATCH_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// AWS publishes no quota of S3 Batch Operations. Jobs run for minutes and are checked seldom, however many there are.
const JOBS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// STS counts `AssumeRole` against the caller's account, which is the same for every `AwsAccount`.
const STS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

/// The limit of calls to STS, shared by all accounts.
#[derive(Clone, Debug)]
pub struct StsLimit(Arc<DefaultDirectRateLimiter>);

impl StsLimit {
    pub fn new() -> StsLimit {
        StsLimit(Arc::new(bucket(STS_PER_SECOND)))
    }
}

/// The limits of one account.
#[derive(Debug)]
pub struct RateLimits {
    s3_reads: DefaultDirectRateLimiter,
    s3_writes: DefaultDirectRateLimiter,
    iam_reads: DefaultDirectRateLimiter,
    iam_writes: DefaultDirectRateLimiter,
    kms: DefaultDirectRateLimiter,
    cloudwatch: DefaultDirectRateLimiter,
    jobs: DefaultDirectRateLimiter,
    sts: StsLimit,
}

impl RateLimits {
    pub fn new(rates: Rates, sts: StsLimit) -> RateLimits {
        RateLimits {
            s3_reads: bucket(rates.s3_reads),
            s3_writes: bucket(rates.s3_writes),
            iam_reads: bucket(rates.iam_reads),
            iam_writes: bucket(rates.iam_writes),
            kms: bucket(KMS_PER_SECOND),
            cloudwatch: bucket(CLOUDWATCH_PER_SECOND),
            jobs: bucket(JOBS_PER_SECOND),
            sts,
        }
    }

    /// Waits for a token.
    pub async fn wait(&self, lane: Lane) {
        self.of(lane).until_ready().await;
    }

    fn of(&self, lane: Lane) -> &DefaultDirectRateLimiter {
        match lane {
            Lane::S3Read => &self.s3_reads,
            Lane::S3Write => &self.s3_writes,
            Lane::IamRead => &self.iam_reads,
            Lane::IamWrite => &self.iam_writes,
            Lane::Kms => &self.kms,
            Lane::CloudWatch => &self.cloudwatch,
            Lane::Jobs => &self.jobs,
            Lane::Sts => &self.sts.0,
        }
    }
}

fn bucket(rate: NonZeroU32) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(sts: &StsLimit) -> RateLimits {
        let one = NonZeroU32::MIN;
        let rates = Rates { s3_reads: one, s3_writes: one, iam_reads: one, iam_writes: one };
        RateLimits::new(rates, sts.clone())
    }

    /// The number of calls that a lane lets through at once.
    fn burst(limits: &RateLimits, lane: Lane) -> u32 {
        (0..1000).take_while(|_| limits.of(lane).check().is_ok()).count().try_into().unwrap()
    }

    #[test]
    fn every_lane_is_limited_and_only_sts_is_shared_by_accounts() {
        let sts = StsLimit::new();
        let (one, other) = (limits(&sts), limits(&sts));
        let lanes = [
            Lane::S3Read,
            Lane::S3Write,
            Lane::IamRead,
            Lane::IamWrite,
            Lane::Kms,
            Lane::CloudWatch,
            Lane::Jobs,
        ];
        for lane in lanes {
            let first = burst(&one, lane);
            assert!(first <= KMS_PER_SECOND.get(), "{lane:?}: {first}");
            assert_eq!(burst(&other, lane), first, "{lane:?} of another account");
        }
        assert!(burst(&one, Lane::Sts) >= STS_PER_SECOND.get());
        assert!(burst(&other, Lane::Sts) < STS_PER_SECOND.get(), "all accounts share the limit");
    }
}
