//! The operator's own credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use parking_lot::Mutex;

/// The standard chain of credentials, built again for each renewal. The SDK's own chain reads a profile file once, so
/// that a Secret that is mounted or rotated later would need a restart.
#[derive(Clone, Debug, Default)]
pub struct Environment(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    access_key: Mutex<Option<String>>,
    version: AtomicU64,
}

impl Environment {
    /// How many times the access key has changed. While this stays the same, so does the operator's identity.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    async fn load(&self) -> Result {
        let found = DefaultCredentialsChain::builder().build().await.provide_credentials().await?;
        self.note(&found);
        Ok(found)
    }

    fn note(&self, found: &Credentials) {
        let mut held = self.0.access_key.lock();
        if held.as_deref() != Some(found.access_key_id()) {
            *held = Some(found.access_key_id().to_owned());
            self.0.version.fetch_add(1, Ordering::Release);
        }
    }
}

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
