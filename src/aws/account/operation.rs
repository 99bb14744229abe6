//! Names a call to AWS, for rate limits, the circuit breaker, the log and failures.
//!
//! In: the service, whether the call writes, the action, the subject and the Region. Out: an [`Operation`], whose
//! [`Lane`] is the rate limit that the call waits for. A new service begins here and continues in `clients.rs` and
//! `rate_limiter.rs`.

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    S3Read,
    S3Write,
    IamRead,
    IamWrite,
    Kms,
    CloudWatch,
    Sts,
    /// S3 Batch Operations.
    Jobs,
}

impl Lane {
    pub fn service(self) -> &'static str {
        match self {
            Lane::S3Read | Lane::S3Write => "s3",
            Lane::IamRead | Lane::IamWrite => "iam",
            Lane::Kms => "kms",
            Lane::CloudWatch => "cloudwatch",
            Lane::Sts => "sts",
            Lane::Jobs => "s3control",
        }
    }
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    pub lane: Lane,
    /// The IAM action that it needs, such as `s3:GetBucketVersioning`.
    pub action: &'static str,
    /// The bucket, role or key.
    pub subject: &'a str,
    /// The Region that it goes to; empty for services that have one endpoint for all.
    pub region: &'a str,
}

impl<'a> Operation<'a> {
    pub fn s3_read(region: &'a str, action: &'static str, bucket: &'a str) -> Operation<'a> {
        Operation { lane: Lane::S3Read, action, subject: bucket, region }
    }

    pub fn s3_write(region: &'a str, action: &'static str, bucket: &'a str) -> Operation<'a> {
        Operation { lane: Lane::S3Write, action, subject: bucket, region }
    }

    pub fn iam_read(action: &'static str, role: &'a str) -> Operation<'a> {
        Operation { lane: Lane::IamRead, action, subject: role, region: "" }
    }

    pub fn iam_write(action: &'static str, role: &'a str) -> Operation<'a> {
        Operation { lane: Lane::IamWrite, action, subject: role, region: "" }
    }

    pub fn kms(region: &'a str, action: &'static str, key: &'a str) -> Operation<'a> {
        Operation { lane: Lane::Kms, action, subject: key, region }
    }

    pub fn cloudwatch(region: &'a str, action: &'static str) -> Operation<'a> {
        Operation { lane: Lane::CloudWatch, action, subject: region, region }
    }

    /// A call about a job; `subject` is the job or the account.
    pub fn job(region: &'a str, action: &'static str, subject: &'a str) -> Operation<'a> {
        Operation { lane: Lane::Jobs, action, subject, region }
    }

    pub fn sts(action: &'static str, subject: &'a str) -> Operation<'a> {
        Operation { lane: Lane::Sts, action, subject, region: "" }
    }
}
