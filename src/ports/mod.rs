//! The two ports through which the controllers reach the outside: [`Cloud`] is AWS, [`Cluster`] is the API server.
//!
//! In: requests in the domain's own types. Out: answers and failures in these types too. `aws` and `runtime` implement
//! the ports for the real services, `simulation` implements both in memory. They are the only traits of this crate that
//! have one implementation in the shipped program: the controllers are generic over them, so that tests and the
//! exploration run the code that ships.

mod cloud;
mod cluster;
pub mod kube_error;

pub use cloud::{Cloud, QueueMessage};
pub use cluster::{Cluster, ClusterError, Finalizers, ObjectKey, StatusField};
