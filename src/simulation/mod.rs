//! AWS and an API server in memory, behind the two ports, so that tests and the exploration run the controllers that
//! ship without a process or a socket.
//!
//! In: a world of buckets and roles, objects, and what happens at each call. Out: the same answers and errors as AWS
//! and Kubernetes give, and states that can be cloned and compared as text.

#![allow(clippy::indexing_slicing, reason = "part of tests; it indexes JSON values, which answer null")]

mod api_server;
mod clients;
mod cloud;
mod cluster;
mod denials;
pub mod explore;
mod hook;
mod jobs;
mod object_calls;
mod objects;
mod observation;
mod operator;
mod steps;
mod world;
mod written_part;

pub use api_server::{ApiServer, ObjectName};
pub use clients::SimulatedClients;
pub use cloud::{Former, OWN_KEY, SimulatedCloud};
pub use cluster::SimulatedCluster;
pub use hook::{Call, Choice, Hook, Hooked};
pub use jobs::{Jobs, SimulatedJob};
pub use operator::SimulatedOperator;
pub use steps::DEAD_PRINCIPAL;
pub use world::{SimulatedBucket, SimulatedRole, World};
pub use written_part::WrittenPart;
