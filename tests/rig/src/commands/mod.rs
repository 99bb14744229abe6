//! The subcommands of the `rig` program, a file or a folder each.

pub mod budget;
pub mod demo;
pub mod events;
pub mod explore;
pub mod fuzz;
pub mod hostile;
pub mod kind;
pub mod scale;
pub mod tasks;
pub mod tools;
pub mod up;

mod by_hand;
mod measure;
mod relist_and_restart;
