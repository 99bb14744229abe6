//! The test rig by hand: the same parts as the tests use.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The test rig of s3-replication-operator
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and install everything that the tests need
    Tools,
    /// Start a Kubernetes API and an AWS emulator and keep them until Ctrl-C
    Up,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Tools => commands::tools::run(),
        Command::Up => commands::up::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The sentence alone: a backtrace would hide what to do about it.
            eprintln!("rig: {error:#}");
            ExitCode::FAILURE
        }
    }
}
