//! The subcommands of the `rig` program, a file each.

pub mod budget;
pub mod demo;
pub mod kind;
pub mod scale;
pub mod tools;
pub mod up;

mod measure;
mod program;
