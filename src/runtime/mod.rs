//! What every controller needs, and no kind of ours: watches, triggers, the queue, leader election, liveness, and
//! writes to Kubernetes.

pub mod action;
pub mod bulkhead;
pub mod error;
pub mod kube_error;
pub mod leader;
pub mod liveness;
pub mod object_writer;
pub mod relist_buffer;
pub mod requeue;
pub mod selector;
pub mod store;
pub mod tracker;
pub mod triggers;

pub use error::Error;
