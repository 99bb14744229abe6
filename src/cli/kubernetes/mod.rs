//! The cluster, as the subcommands that a user runs reach it: flags, connection, requests, objects and errors.
//!
//! In: kubectl's own flags. Out: the objects of a cluster, or an error that says the way out. A new flag begins in
//! `args.rs`, and a new request in `requests.rs`.

mod args;
mod connect;
mod error;
mod found;
mod requests;
#[cfg(test)]
pub mod test_server;

pub use args::{ClusterArgs, FileKubeArgs, KubeArgs, Named, ScopeArgs, namespace_name, object_name};
pub use error::{KubernetesError, explained, may_pass, request};
pub use found::{FoundObject, Undecodable, found};
pub(super) use requests::backfill_kind;
pub use requests::{Kubernetes, PAGE};
