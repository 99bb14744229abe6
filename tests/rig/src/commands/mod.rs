//! The subcommands of the `rig` program, a file each.

pub mod tools;
pub mod up;
