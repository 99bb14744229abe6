//! Whose a bucket is. The emulator does not say so outright, but it answers an
//! account's question about a bucket as AWS would.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use anyhow::{Result, bail};
use aws_sdk_s3::error::SdkError;
use sha2::{Digest, Sha256};

use super::lock;
use crate::clients::Clients;

/// An account for questions whose answer does not depend on who asks.
const ANYBODY: &str = "000000000000";

/// What an account is to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The bucket is this account's.
    Own,
    /// The bucket is another account's.
    Foreign,
    /// There is no such bucket.
    Missing,
}

/// Asks, and remembers owners once found.
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

    /// The account that an access key belongs to; for a session's key that of
    /// the role. It is asked for once: the emulator forgets sessions that have
    /// ended, and their keys are still the same account's.
    pub async fn account_of(&self, access_key: &str) -> String {
        if access_key.is_empty() || is_account(access_key) {
            return access_key.to_owned();
        }
        if let Some(account) = lock(&self.accounts).get(access_key) {
            return account.clone();
        }
        let sts = Clients::new(&self.endpoint, ANYBODY).sts();
        let asked = sts.get_access_key_info().access_key_id(access_key).send();
        // An unknown key is for the emulator to refuse.
        let Ok(answer) = asked.await else {
            return ANYBODY.to_owned();
        };
        let account = answer.account().unwrap_or(ANYBODY).to_owned();
        lock(&self.accounts).insert(access_key.to_owned(), account.clone());
        account
    }

    /// What `account` is to `bucket`.
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

    /// Forgets all: buckets may have been deleted and made again by others.
    pub fn forget(&self) {
        lock(&self.known).clear();
    }

    /// Whether a bucket has a replication configuration.
    pub async fn replicates(&self, bucket: &str, account: &str, region: &str) -> bool {
        let s3 = Clients::new(&self.endpoint, account).s3(region);
        s3.get_bucket_replication().bucket(bucket).send().await.is_ok()
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
