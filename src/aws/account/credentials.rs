//! The operator's own credentials.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, Result, future};

/// The standard chain of credentials, looked through anew each time they are to be renewed: the SDK's own reads
/// a profile file once, so that a Secret mounted or rotated later would need a restart.
#[derive(Clone, Debug, Default)]
pub struct Environment(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    access_key: Mutex<Option<String>>,
    identities: AtomicU64,
}

impl Environment {
    /// How many times the access key has changed: while this stays the same, so does who the operator is.
    pub fn changes(&self) -> u64 {
        self.0.identities.load(Ordering::Acquire)
    }

    async fn look(&self) -> Result {
        let found = DefaultCredentialsChain::builder().build().await.provide_credentials().await?;
        self.note(&found);
        Ok(found)
    }

    fn note(&self, found: &Credentials) {
        let mut held = self.0.access_key.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_deref() != Some(found.access_key_id()) {
            *held = Some(found.access_key_id().to_owned());
            self.0.identities.fetch_add(1, Ordering::Release);
        }
    }
}

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.look())
    }
}
