//! An upgrade from a former release: the operator takes over what that release left in Kubernetes and in AWS.
//!
//! `tests/upgrade` keeps what was recorded of it, and says how.

mod former;
mod record;
mod takeover;
mod without_accounts;
