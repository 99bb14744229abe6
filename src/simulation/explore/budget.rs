//! Bounds how often something may happen in one trace.
//!
//! In: nothing. Out: each [`Budget`] with its size.

/// A limit on how often something happens in one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Budget {
    /// The process dies.
    Crashes,
    /// A call fails without effect.
    Failures,
    /// AWS or the API server denies a call, or an action for the rest of the trace.
    Denials,
    /// A call takes effect, and its answer is lost.
    LostAnswers,
    /// AWS answers a read from a former state.
    StaleAnswers,
    /// Another call than the oldest is answered first, or another resource's check goes on.
    Switches,
    /// A check begins sooner than it is due.
    EarlyChecks,
    /// Another operator takes the lease.
    Leases,
    /// A user changes the spec or adds a finalizer.
    SpecChanges,
    /// A user deletes the resource or strips its finalizer.
    Deletions,
    /// Someone outside changes AWS.
    Outsiders,
    /// An administrator changes an account or a namespace.
    Administrators,
}

/// Every budget with its size.
pub const BUDGETS: [(Budget, u8); 12] = [
    (Budget::Crashes, 2),
    (Budget::Failures, 1),
    (Budget::Denials, 1),
    (Budget::LostAnswers, 1),
    (Budget::StaleAnswers, 1),
    (Budget::Switches, 2),
    (Budget::EarlyChecks, 1),
    (Budget::Leases, 1),
    (Budget::SpecChanges, 2),
    (Budget::Deletions, 2),
    (Budget::Outsiders, 2),
    (Budget::Administrators, 2),
];
