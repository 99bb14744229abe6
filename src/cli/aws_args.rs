//! The flags of the limits of calls to AWS: rates of S3 and IAM, the timeout, and the attempts of one call.
//!
//! In: arguments and environment. Out: the settings of the clients. The rates of other services, such as KMS, have no
//! flag: they are constants in `aws/account/rate_limiter.rs`.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use crate::aws::{CallSettings, Rates};

/// Limits of calls to AWS, per account; the same for every subcommand that calls AWS.
#[derive(Debug, Args)]
#[command(next_help_heading = "AWS")]
pub struct AwsArgs {
    /// S3 reads per second, for each account
    #[arg(long, env = "S3_READ_RATE", default_value = "100")]
    s3_read_rate: NonZeroU32,
    /// S3 writes per second, for each account
    #[arg(long, env = "S3_WRITE_RATE", default_value = "50")]
    s3_write_rate: NonZeroU32,
    /// IAM reads per second, for each account
    #[arg(long, env = "IAM_READ_RATE", default_value = "40")]
    iam_read_rate: NonZeroU32,
    /// IAM writes per second, for each account
    #[arg(long, env = "IAM_WRITE_RATE", default_value = "20")]
    iam_write_rate: NonZeroU32,
    /// Timeout of one attempt of a call to AWS, in seconds
    #[arg(long, env = "AWS_ATTEMPT_TIMEOUT", default_value = "10", value_name = "SECONDS")]
    aws_attempt_timeout: NonZeroU32,
    /// Attempts of one call to AWS before the check fails and is tried again later
    #[arg(long, env = "AWS_ATTEMPTS", default_value = "3", value_name = "COUNT")]
    aws_attempts: NonZeroU32,
}

impl AwsArgs {
    pub fn settings(&self) -> CallSettings {
        CallSettings {
            rates: Rates {
                s3_reads: self.s3_read_rate,
                s3_writes: self.s3_write_rate,
                iam_reads: self.iam_read_rate,
                iam_writes: self.iam_write_rate,
            },
            attempt_timeout: Duration::from_secs(self.aws_attempt_timeout.get().into()),
            attempts: self.aws_attempts.get(),
        }
    }
}
