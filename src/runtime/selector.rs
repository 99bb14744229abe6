//! Whether the API server understands a label selector. A watch with one that it does not would only fail, again and
//! again.

use kube::api::WatchParams;
use kube::{Api, Client};

use crate::api::BucketReplication;

#[derive(Debug, thiserror::Error)]
#[error("--selector {selector:?} is no label selector: {message}")]
pub struct InvalidSelector {
    selector: String,
    message: String,
}

/// Begins a watch, which needs no right that the operator has no other use for.
///
/// # Errors
/// When the API server says that the selector is none. All else that goes wrong is for the watch to tell.
pub async fn check_selector(
    client: &Client,
    namespaces: &[String],
    selector: &str,
) -> Result<(), InvalidSelector> {
    let api: Api<BucketReplication> = match namespaces.first() {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    };
    match api.watch_metadata(&WatchParams::default().labels(selector), "0").await {
        Err(kube::Error::Api(status)) if status.code == 400 => {
            Err(InvalidSelector { selector: selector.to_owned(), message: status.message })
        }
        _ => Ok(()),
    }
}
