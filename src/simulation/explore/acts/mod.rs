//! The acts of people in the scenes, by who acts.
//!
//! In: the simulated AWS and API server. Out: a constant for each act. A new act begins in the file of its actor.

pub mod administrators;
pub mod outsiders;
pub mod users;
