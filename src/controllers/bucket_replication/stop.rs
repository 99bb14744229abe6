//! The reasons why a check stops early.
//!
//! In: a refusal, a failure of AWS, an old answer of AWS, or an error of Kubernetes. Out: [`Stop`], by which the reconcile
//! reports a refusal, tries again, or leaves an object that changed meanwhile to its next reconcile.

use std::time::Duration;

use crate::api::ConditionType;
use crate::ports::ClusterError;
use crate::replication::status::RecentWrite;
use crate::replication::{Failure, Refusal};
use crate::runtime::Error;

/// Ends a check: with a refusal to report, with an error of Kubernetes to try again after, or with nothing to report.
#[derive(Debug)]
pub enum Stop {
    Refused(Refusal),
    Kubernetes(Error),
    /// The object is gone, is being deleted, or has another spec by now: a later reconcile sees it as it is.
    Outdated,
    /// AWS still answers, or may answer, from before a write of the operator: read it again after a pause.
    Unsettled(Duration, RecentWrite),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Refused(Refusal::failed(&failure, ConditionType::Ready))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Kubernetes(error)
    }
}

impl From<ClusterError> for Stop {
    fn from(error: ClusterError) -> Stop {
        Stop::Kubernetes(error.into())
    }
}
