//! The `rig` program: the demo, the clusters and the measurements, on the same parts as the tests use. Without a
//! subcommand it lists every task of this repository.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The test rig of s3-replication-operator
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Without one, every task of the repository is listed
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Build and install everything that the tests need
    Tools {
        /// Install only the Debian packages that some tests need; needs root
        #[arg(long)]
        system: bool,
    },
    /// Start a Kubernetes API, an AWS emulator and the operator, and keep them until Ctrl-C
    Up {
        /// Start no operator: you run one yourself
        #[arg(long)]
        without_operator: bool,
    },
    /// Show what the operator does, step by step, on a real API server and an AWS emulator, and check every step
    Demo {
        /// At the end, apply the example and stay up until Ctrl-C
        #[arg(long)]
        keep: bool,
    },
    /// Show and test the operator in pods of real clusters; kind makes them, and they are deleted at the end
    Kind(commands::kind::KindArgs),
    /// Count the requests of one resource and compare them with their limits
    Budget,
    /// Explore the controllers in every order of calls, faults and other people's acts, in memory
    Explore(commands::explore::ExploreArgs),
    /// Draw inputs for the fuzz targets by libFuzzer, guided by coverage
    Fuzz(commands::fuzz::FuzzArgs),
    /// Create many resources at once and measure time, requests, memory and CPU: `cargo scale`
    Scale {
        /// Number of resources
        #[arg(long, default_value = "1000")]
        count: usize,
        /// Put the destinations into another account, and assume a role in both
        #[arg(long)]
        across_accounts: bool,
        /// Let events of a queue stand in for polling: measure an idle minute and the reaction to changes. With
        /// --hostile, also during a flood of events about one resource
        #[arg(long, conflicts_with = "across_accounts")]
        events: bool,
        /// Measure six attacks of one tenant instead, with another tenant beside it
        #[arg(long, conflicts_with = "across_accounts")]
        hostile: bool,
        /// With --hostile: how many objects the attack by churn creates and deletes
        #[arg(long, default_value = "50000", requires = "hostile")]
        churn: usize,
        /// With --hostile: only the attacks whose name contains this
        #[arg(long, requires = "hostile")]
        attack: Option<String>,
    },
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Tools { system } => commands::tools::run(system),
            Self::Up { without_operator } => commands::up::run(without_operator),
            Self::Demo { keep } => commands::demo::run(keep),
            Self::Kind(args) => commands::kind::run(&args),
            Self::Explore(args) => commands::explore::run(&args),
            Self::Fuzz(args) => commands::fuzz::run(&args),
            Self::Budget => commands::budget::run(),
            Self::Scale { count, events: true, hostile, .. } => commands::events::run(count, hostile),
            Self::Scale { hostile: true, churn, attack, .. } => {
                commands::hostile::run(churn, attack.as_deref().unwrap_or_default())
            }
            Self::Scale { count, across_accounts, .. } => commands::scale::run(count, across_accounts),
        }
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Some(command) => command.run(),
        None => {
            commands::tasks::run();
            Ok(())
        }
    };
    rig::paths::remove_scratch();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Only the message: a backtrace would hide what to do about it.
            eprintln!("rig: {error:#}");
            ExitCode::FAILURE
        }
    }
}
