//! The owners of buckets. The emulator does not report them, but it answers a request of an account about a bucket as
//! AWS does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use anyhow::{Result, bail};
use aws_sdk_s3::error::SdkError;
use sha2::{Digest, Sha256};

use super::lock;
use crate::clients::Clients;

/// An account for requests whose answer does not depend on the caller.
const ANYBODY: &str = "000000000000";

/// The relation of an account to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// This account owns the bucket.
    Own,
    /// Another account owns the bucket.
    Foreign,
    /// There is no such bucket.
    Missing,
}

/// Asks the emulator, and remembers the owners that it found.
#[derive(Debug)]
pub(super) struct Owners {
    endpoint: String,
    known: Mutex<HashMap<String, String>>,
    accounts: Mutex<HashMap<String, String>>,
}

impl Owners {
    pub fn new(upstream: SocketAddr) -> Self {
        Self { endpoint: format!("http://{upstream}"), known: Mutex::default(), accounts: Mutex::default() }
    }

    /// The account that an access key belongs to; for a session's key the role's account. The emulator is asked once
    /// for each key: it forgets sessions that have expired, and their keys still belong to the same account.
    pub async fn account_of(&self, access_key: &str) -> String {
        if access_key.is_empty() || is_account(access_key) {
            return access_key.to_owned();
        }
        if let Some(account) = lock(&self.accounts).get(access_key) {
            return account.clone();
        }
        let sts = Clients::new(&self.endpoint, ANYBODY).sts();
        let asked = sts.get_access_key_info().access_key_id(access_key).send();
        // The emulator rejects an unknown key itself.
        let Ok(answer) = asked.await else {
            return ANYBODY.to_owned();
        };
        let account = answer.account().unwrap_or(ANYBODY).to_owned();
        lock(&self.accounts).insert(access_key.to_owned(), account.clone());
        account
    }

    /// The relation of `account` to `bucket`.
    pub async fn ask(&self, bucket: &str, account: &str) -> Result<Ownership> {
        if lock(&self.known).get(bucket).is_some_and(|o| o == account) {
            return Ok(Ownership::Own);
        }
        let found = self.acl(bucket, account, "us-east-1").await?;
        if found == Ownership::Own {
            lock(&self.known).insert(bucket.to_owned(), account.to_owned());
        }
        Ok(found)
    }

    /// Whether a bucket is in a Region and answers this account there.
    pub async fn answers(&self, bucket: &str, account: &str, region: &str) -> bool {
        let s3 = Clients::new(&self.endpoint, account).s3(region);
        s3.get_bucket_acl().bucket(bucket).send().await.is_ok()
    }

    /// Forgets all owners: another account may have created a deleted bucket again.
    pub fn forget(&self) {
        lock(&self.known).clear();
    }

    /// Whether a bucket has a replication configuration.
    pub async fn replicates(&self, bucket: &str, account: &str, region: &str) -> bool {
        let s3 = Clients::new(&self.endpoint, account).s3(region);
        s3.get_bucket_replication().bucket(bucket).send().await.is_ok()
    }

    /// Whether a bucket has Object Lock.
    pub async fn locks(&self, bucket: &str, account: &str, region: &str) -> bool {
        let s3 = Clients::new(&self.endpoint, account).s3(region);
        s3.get_object_lock_configuration().bucket(bucket).send().await.is_ok()
    }

    /// The owner that a bucket's ACL names is a hash of the account.
    async fn acl(&self, bucket: &str, account: &str, region: &str) -> Result<Ownership> {
        let s3 = Clients::new(&self.endpoint, account).s3(region);
        let error = match s3.get_bucket_acl().bucket(bucket).send().await {
            Ok(acl) => {
                let owner = acl.owner().and_then(|owner| owner.id()).unwrap_or_default();
                return Ok(match owner == canonical_id(account) {
                    true => Ownership::Own,
                    false => Ownership::Foreign,
                });
            }
            Err(SdkError::ServiceError(error)) => error,
            Err(error) => bail!("the emulator cannot be asked about {bucket}: {error:?}"),
        };
        let answer = error.raw();
        let home = answer.headers().get("x-amz-bucket-region");
        match (answer.status().as_u16(), home) {
            (404, _) => Ok(Ownership::Missing),
            (403, _) => Ok(Ownership::Foreign),
            (301, Some(home)) if home != region => Box::pin(self.acl(bucket, account, home)).await,
            (status, _) => bail!("the emulator answered {status} to the ACL of {bucket}"),
        }
    }
}

/// The root key of an account is the account itself.
fn is_account(access_key: &str) -> bool {
    access_key.len() == 12 && access_key.bytes().all(|byte| byte.is_ascii_digit())
}

fn canonical_id(account: &str) -> String {
    Sha256::digest(account.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
