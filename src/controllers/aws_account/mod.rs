//! The controller of `AwsAccount` resources.
//!
//! In: changes of accounts. Out: a status that says as whom the operator acts in the account and how many resources
//! refer to it, and a reconcile of every resource that a change of an account concerns.

mod check;
pub mod context;
pub mod controller;
