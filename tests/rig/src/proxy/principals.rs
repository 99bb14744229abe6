//! Whether the users and roles that a policy or a call names exist, according to the emulator's IAM.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use aws_sdk_s3::error::SdkError;

use crate::clients::Clients;

/// Asks each time, because tests create and delete users and roles all the time.
#[derive(Debug)]
pub(super) struct Principals {
    endpoint: String,
}

impl Principals {
    pub fn new(upstream: SocketAddr) -> Self {
        Self { endpoint: format!("http://{upstream}") }
    }

    /// Whether a user or role with exactly this ARN exists, its path included.
    pub async fn exists(&self, arn: &str) -> Result<bool> {
        let (Some(account), Some((_, who))) = (account_of_arn(arn), arn.rsplit_once(':')) else {
            return Ok(false);
        };
        let name = who.rsplit('/').next().unwrap_or(who);
        let iam = Clients::new(&self.endpoint, account).iam();
        let found = if who.starts_with("user/") {
            let asked = iam.get_user().user_name(name).send().await;
            found(asked.map(|answer| answer.user.map(|user| user.arn)))?
        } else {
            let asked = iam.get_role().role_name(name).send().await;
            found(asked.map(|answer| answer.role.map(|role| role.arn)))?
        };
        // The emulator writes every ARN in the partition `aws`.
        Ok(found.is_some_and(|found| found.rsplit_once(':').is_some_and(|(_, there)| there == who)))
    }

    /// Whether something was created in the account of an ARN. The emulator treats all accounts alike and knows nothing
    /// about others.
    pub async fn knows_account(&self, arn: &str) -> Result<bool> {
        let Some(account) = account_of_arn(arn) else {
            return Ok(false);
        };
        let clients = Clients::new(&self.endpoint, account);
        let iam = clients.iam();
        Ok(!iam.list_roles().send().await?.roles().is_empty()
            || !iam.list_users().send().await?.users().is_empty()
            || !clients.s3("us-east-1").list_buckets().send().await?.buckets().is_empty())
    }

    /// The ARN of the principal that an access key belongs to. `None` if the emulator requires the key's secret too.
    pub async fn arn_of(&self, access_key: &str) -> Option<String> {
        let sts = Clients::new(&self.endpoint, access_key).sts();
        sts.get_caller_identity().send().await.ok()?.arn
    }
}

fn found<E, R: std::fmt::Debug>(asked: Result<Option<String>, SdkError<E, R>>) -> Result<Option<String>>
where
    E: std::fmt::Debug,
{
    match asked {
        Ok(arn) => Ok(arn),
        // For the root's requests IAM has only one error: the entity does not exist.
        Err(SdkError::ServiceError(_)) => Ok(None),
        Err(error) => bail!("the emulator's IAM cannot be asked: {error:?}"),
    }
}

fn account_of_arn(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}
