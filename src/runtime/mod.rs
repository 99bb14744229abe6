//! Runs controllers, whatever their kinds: it knows no kind of this operator and no name of one.
//!
//! In: a [`controller::Controller`] for each kind. Out: watches, stores with indexes, a queue with bulkheads, leader
//! election, liveness, and writes to Kubernetes.

pub mod action;
pub mod clock;
pub mod controller;
pub mod error;
pub mod leader;
pub mod liveness;
pub mod manager;
pub mod object_writer;
pub mod packing;
pub mod queue;
pub mod requeue;
mod round_robin;
pub mod selector;
pub mod store;
pub mod tracker;
pub mod triggers;
pub mod turns;
pub mod watch_error;

pub use error::Error;
