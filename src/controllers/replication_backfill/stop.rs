//! The reasons why the reconcile of a backfill stops early.
//!
//! In: a refusal, a failure of AWS, or an error of Kubernetes. Out: [`Stop`], by which the reconcile reports a refusal,
//! tries again, or begins again because the cache was behind.

use std::time::Duration;

use crate::controllers::bucket_replication::stop::Stop as ReplicationStop;
use crate::ports::ClusterError;
use crate::replication::backfill::Hold;
use crate::replication::{Failure, Refusal};
use crate::runtime::Error;

/// Ends a reconcile: with a refusal to report, with an error of Kubernetes to try again after, or with nothing to report.
#[derive(Debug)]
pub enum Stop {
    /// `until`: it is over after this time at the latest.
    Refused {
        refusal: Refusal,
        until: Option<Duration>,
    },
    Kubernetes(Error),
    /// The cache is behind: a reconcile that begins at once sees the object as it is.
    Outdated,
}

impl From<Hold> for Stop {
    fn from(Hold { refusal, until }: Hold) -> Stop {
        Stop::Refused { refusal, until }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused { refusal, until: None }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Refusal::failed(&failure, crate::api::ConditionType::Ready).into()
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

impl From<ReplicationStop> for Stop {
    fn from(stop: ReplicationStop) -> Stop {
        match stop {
            ReplicationStop::Refused(refusal) => refusal.into(),
            ReplicationStop::Kubernetes(error) => error.into(),
            ReplicationStop::Outdated | ReplicationStop::Unsettled(..) => Stop::Outdated,
        }
    }
}
