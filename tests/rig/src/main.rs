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
    Tools {
        /// Only the packages of the system that some tests would be left out without: as root on Debian
        #[arg(long)]
        system: bool,
    },
    /// Start a Kubernetes API and an AWS emulator and keep them until Ctrl-C
    Up,
    /// Show the operator's main job on real parts, step by step, and check every step
    Demo {
        /// Stay up at the end, with the example applied, until Ctrl-C
        #[arg(long)]
        keep: bool,
    },
    /// Show and test the operator on real clusters, which kind makes and which are deleted at the end
    Kind(commands::kind::KindArgs),
    /// Measure what a check and a convergence cost, against the budget
    Budget,
    /// Measure many resources created at once (give --release before `--`)
    Scale {
        /// How many resources
        #[arg(long, default_value = "1000")]
        count: usize,
        /// Destinations in another account, and a role to assume in both
        #[arg(long)]
        across_accounts: bool,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Tools { system } => commands::tools::run(system),
        Command::Up => commands::up::run(),
        Command::Demo { keep } => commands::demo::run(keep),
        Command::Kind(args) => commands::kind::run(&args),
        Command::Budget => commands::budget::run(),
        Command::Scale { count, across_accounts } => commands::scale::run(count, across_accounts),
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
