//! The errors of Kubernetes that end a reconcile early.
//!
//! In: an error of the API server, a deadline, a lost term. Out: one sentence for the log and a kind for metrics.

use crate::ports::ClusterError;

/// A reconcile that could not be finished; a failure of AWS is a [`crate::replication::Failure`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kubernetes(#[from] ClusterError),
    #[error("the check took longer than {0:?}")]
    TimedOut(std::time::Duration),
    #[error("this operator no longer leads")]
    NotLeading,
    #[error("the watch of {0} resources fails, so that the operator does not know what they allow now")]
    Unseen(&'static str),
    #[error("the reconcile panicked, which is a fault of this operator: {0}")]
    Panicked(String),
}

impl Error {
    /// The kind, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Error::Kubernetes(_) => "Kubernetes",
            Error::TimedOut(_) => "TimedOut",
            Error::NotLeading => "NotLeading",
            Error::Unseen(_) => "Unseen",
            Error::Panicked(_) => "Panicked",
        }
    }

    /// Whether someone else wrote first what a write was decided on.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Error::Kubernetes(error) if error.is_overtaken())
    }

    /// Whether the operator lacks a right in Kubernetes.
    pub fn is_denied(&self) -> bool {
        matches!(self, Error::Kubernetes(error) if error.is_denied())
    }
}
