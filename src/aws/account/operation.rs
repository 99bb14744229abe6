//! Names a call to AWS (service, Region, action, subject) for rate limits, the circuit breaker, the log and failures.

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
}

impl Lane {
    pub fn service(self) -> &'static str {
        match self {
            Lane::S3Read | Lane::S3Write => "s3",
            Lane::IamRead | Lane::IamWrite => "iam",
            Lane::Kms => "kms",
            Lane::CloudWatch => "cloudwatch",
            Lane::Sts => "sts",
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

    pub fn sts(action: &'static str, subject: &'a str) -> Operation<'a> {
        Operation { lane: Lane::Sts, action, subject, region: "" }
    }
}
