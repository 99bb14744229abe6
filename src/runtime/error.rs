//! What ends a reconcile early on the side of Kubernetes.
//!
//! In: an error of the API server, a deadline, a lost term. Out: one sentence for the log and a kind for metrics.

use crate::runtime::kube_error;

/// What goes wrong on the way to Kubernetes; what goes wrong in AWS is a [`crate::replication::Failure`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} in Kubernetes: {}", kube_error::describe(source))]
    Kubernetes {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("the check took longer than {0:?}")]
    TimedOut(std::time::Duration),
    #[error("this operator no longer leads")]
    NotLeading,
}

impl Error {
    /// The kind, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Error::Kubernetes { .. } => "Kubernetes",
            Error::TimedOut(_) => "TimedOut",
            Error::NotLeading => "NotLeading",
        }
    }

    /// Whether the operator lacks a right in Kubernetes.
    pub fn is_denied(&self) -> bool {
        matches!(self, Error::Kubernetes { source, .. } if kube_error::is_denied(source))
    }

    pub fn kubernetes(what: &'static str) -> impl Fn(kube::Error) -> Error {
        move |source| Error::Kubernetes { what, source }
    }
}
