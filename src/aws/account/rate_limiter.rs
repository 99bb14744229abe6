//! Token buckets: one per service, with reads and writes apart, so that a burst of checks leaves room for writes and
//! a fleet of resources stays below AWS's own, undisclosed limits.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Requests per second, which is also the burst.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub s3_reads: NonZeroU32,
    pub s3_writes: NonZeroU32,
    pub iam_reads: NonZeroU32,
    pub iam_writes: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    S3Read,
    S3Write,
    IamRead,
    IamWrite,
    /// STS, once per session: not limited.
    Sts,
    /// `kms:DescribeKey`, once a day: not limited.
    Kms,
}

impl Lane {
    pub fn service(self) -> &'static str {
        match self {
            Lane::S3Read | Lane::S3Write => "s3",
            Lane::IamRead | Lane::IamWrite => "iam",
            Lane::Sts => "sts",
            Lane::Kms => "kms",
        }
    }
}

#[derive(Debug)]
pub struct RateLimits {
    s3_reads: DefaultDirectRateLimiter,
    s3_writes: DefaultDirectRateLimiter,
    iam_reads: DefaultDirectRateLimiter,
    iam_writes: DefaultDirectRateLimiter,
}

impl RateLimits {
    pub fn new(rates: Rates) -> RateLimits {
        let bucket = |rate| RateLimiter::direct(Quota::per_second(rate));
        RateLimits {
            s3_reads: bucket(rates.s3_reads),
            s3_writes: bucket(rates.s3_writes),
            iam_reads: bucket(rates.iam_reads),
            iam_writes: bucket(rates.iam_writes),
        }
    }

    /// Waits for a token.
    pub async fn wait(&self, lane: Lane) {
        match lane {
            Lane::S3Read => self.s3_reads.until_ready().await,
            Lane::S3Write => self.s3_writes.until_ready().await,
            Lane::IamRead => self.iam_reads.until_ready().await,
            Lane::IamWrite => self.iam_writes.until_ready().await,
            Lane::Sts | Lane::Kms => {}
        }
    }
}
