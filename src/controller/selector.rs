//! Whether the API server understands a label selector. A watch with one that it does not would only fail, again and
//! again.

use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use crate::api::BucketReplication;

#[derive(Debug, thiserror::Error)]
#[error("--selector {selector:?} is no label selector: {message}")]
pub struct InvalidSelector {
    selector: String,
    message: String,
}

/// Asks for one resource.
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
    let one = ListParams::default().labels(selector).limit(1);
    let listed: kube::Result<kube::core::ObjectList<PartialObjectMeta<_>>> = api.list_metadata(&one).await;
    match listed {
        Err(kube::Error::Api(status)) if status.code == 400 => {
            Err(InvalidSelector { selector: selector.to_owned(), message: status.message })
        }
        _ => Ok(()),
    }
}
