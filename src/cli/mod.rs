//! The command line: what the user typed is parsed here, and each subcommand has a file.

mod account_lookup;
mod crds;
mod import;
mod leader_args;
mod manifests;
mod plan;
mod policy;
mod run;

use std::io::{ErrorKind, Write};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::aws::{Rates, Settings};

/// Keeps Amazon S3 replication switched on as BucketReplication resources say.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch BucketReplication resources and reconcile them with AWS
    Run(Box<run::RunArgs>),
    /// Print what would change in AWS: exit code 0 for nothing, 2 for changes, 1 for an error
    Plan(plan::PlanArgs),
    /// Print the IAM policies that BucketReplication and AwsAccount resources need
    Policy(policy::PolicyArgs),
    /// Print the BucketReplication resources of buckets that replicate already
    Import(import::ImportArgs),
    /// Print the CustomResourceDefinitions
    Crds(crds::CrdsArgs),
}

/// How a subcommand prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// How calls to AWS are made, rates for each account; the same for every subcommand that makes some.
#[derive(Debug, Args)]
#[command(next_help_heading = "AWS")]
struct AwsArgs {
    /// S3 reads a second
    #[arg(long, env = "S3_READ_RATE", default_value = "100")]
    s3_read_rate: NonZeroU32,
    /// S3 writes a second
    #[arg(long, env = "S3_WRITE_RATE", default_value = "50")]
    s3_write_rate: NonZeroU32,
    /// IAM reads a second
    #[arg(long, env = "IAM_READ_RATE", default_value = "40")]
    iam_read_rate: NonZeroU32,
    /// IAM writes a second
    #[arg(long, env = "IAM_WRITE_RATE", default_value = "20")]
    iam_write_rate: NonZeroU32,
    /// Seconds one try of a call to AWS may take
    #[arg(long, env = "AWS_ATTEMPT_TIMEOUT", default_value = "10", value_name = "SECONDS")]
    aws_attempt_timeout: NonZeroU32,
    /// Tries of one call to AWS before the check fails and is tried again later
    #[arg(long, env = "AWS_ATTEMPTS", default_value = "3", value_name = "COUNT")]
    aws_attempts: NonZeroU32,
}

impl AwsArgs {
    fn settings(&self) -> Settings {
        Settings {
            rates: Rates {
                s3_reads: self.s3_read_rate,
                s3_writes: self.s3_write_rate,
                iam_reads: self.iam_read_rate,
                iam_writes: self.iam_write_rate,
            },
            attempt_timeout: Duration::from_secs(self.aws_attempt_timeout.get().into()),
            attempts: self.aws_attempts.get(),
        }
    }
}

/// What ends a subcommand badly. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Manifests(#[from] manifests::ManifestError),
    #[error(transparent)]
    Accounts(#[from] account_lookup::AccountLookupError),
    #[error(transparent)]
    Run(#[from] run::RunError),
    #[error(transparent)]
    AwsClient(#[from] crate::replication::Failure),
    #[error("cannot print: {0}")]
    Print(String),
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    #[error(transparent)]
    Import(#[from] import::ImportError),
}

/// Writes to standard output. Who stops reading, as `head` does, has read enough: that is no error.
fn write(text: &str) -> Result<(), CliError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Print(error.to_string())),
        _ => Ok(()),
    }
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong, in a sentence for a person.
    pub async fn execute(self) -> Result<ExitCode, CliError> {
        match self.command {
            Command::Run(args) => run::run(*args).await.map(|()| ExitCode::SUCCESS).map_err(CliError::from),
            Command::Plan(args) => plan::plan(args).await,
            Command::Policy(args) => policy::policy(args).await,
            Command::Import(args) => import::import(args).await,
            Command::Crds(args) => crds::crds(args),
        }
    }
}
