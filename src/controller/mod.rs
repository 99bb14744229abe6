//! The only place that knows kube-runtime: watches `BucketReplication` resources and drives each through
//! observe, plan, apply and report; watches `AwsAccount` resources, which say what each may do.

mod accounts;
mod action;
mod bulkheads;
mod census;
mod conflict;
mod context;
mod corrections;
mod deletion;
mod feed;
mod kube_writes;
pub mod leader;
mod listing;
mod pace;
mod reconcile;
mod said;
mod selector;
mod vitals;
mod watch;
mod work;

pub use context::Settings;
pub use said::said;
pub use selector::{InvalidSelector, check_selector};
pub use watch::run;

use kube::core::DeserializeGuard;

use crate::api::{AwsAccount, BucketReplication};

/// A resource as it comes from the API server. One that cannot be decoded must not stop the others.
pub type Guarded = DeserializeGuard<BucketReplication>;

/// An account as it comes from the API server.
pub type GuardedAccount = DeserializeGuard<AwsAccount>;

/// What goes wrong on the way to Kubernetes; what goes wrong in AWS is a [`crate::replication::Failure`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} in Kubernetes: {}", said(source))]
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
    fn name(&self) -> &'static str {
        match self {
            Error::Kubernetes { .. } => "Kubernetes",
            Error::TimedOut(_) => "TimedOut",
            Error::NotLeading => "NotLeading",
        }
    }

    /// Whether the operator lacks a right in Kubernetes.
    fn is_denied(&self) -> bool {
        matches!(self, Error::Kubernetes { source, .. } if said::is_denied(source))
    }

    fn kubernetes(what: &'static str) -> impl Fn(kube::Error) -> Error {
        move |source| Error::Kubernetes { what, source }
    }
}
