//! Checks once, at the start, that the API server understands a label selector.
//!
//! In: the selector, and the API of a kind. Out: nothing, or the API server's message. A watch with a selector that it
//! does not understand would only fail, again and again.

use kube::Api;
use kube::api::WatchParams;

#[derive(Debug, thiserror::Error)]
#[error("--selector {selector:?} is not a label selector: {message}")]
pub struct InvalidSelector {
    selector: String,
    message: String,
}

/// Begins a watch, which needs no further right.
///
/// # Errors
/// When the API server refuses the selector. Every other failure is left to the watch, which tries again.
pub async fn check_selector<K>(api: &Api<K>, selector: &str) -> Result<(), InvalidSelector>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.watch_metadata(&WatchParams::default().labels(selector), "0").await {
        Err(kube::Error::Api(status)) if status.code == 400 => {
            Err(InvalidSelector { selector: selector.to_owned(), message: status.message })
        }
        _ => Ok(()),
    }
}
