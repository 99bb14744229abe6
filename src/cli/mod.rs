//! The command line: arguments in, output and exit code out. Each subcommand has a file.

mod account_lookup;
mod backfill;
mod crds;
mod import;
mod leader_args;
mod manifests;
mod plan;
mod policy;
mod policy_backfills;
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
    /// Print what the operator would change in AWS; exit code 0: nothing, 2: changes, 1: error or refused
    Plan(plan::PlanArgs),
    /// Print the IAM policies that BucketReplication and AwsAccount resources need
    Policy(policy::PolicyArgs),
    /// Print BucketReplication resources for buckets that replicate already
    Import(import::ImportArgs),
    /// Print ReplicationBackfill resources that replicate what BucketReplication resources missed
    Backfill(backfill::BackfillArgs),
    /// Print the CustomResourceDefinitions
    Crds(crds::CrdsArgs),
}

/// The output format of a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// Limits of calls to AWS, per account; the same for every subcommand that calls AWS.
#[derive(Debug, Args)]
#[command(next_help_heading = "AWS")]
struct AwsArgs {
    /// S3 reads per second, for each account
    #[arg(long, env = "S3_READ_RATE", default_value = "100")]
    s3_read_rate: NonZeroU32,
    /// S3 writes per second, for each account
    #[arg(long, env = "S3_WRITE_RATE", default_value = "50")]
    s3_write_rate: NonZeroU32,
    /// IAM reads per second, for each account
    #[arg(long, env = "IAM_READ_RATE", default_value = "40")]
    iam_read_rate: NonZeroU32,
    /// IAM writes per second, for each account
    #[arg(long, env = "IAM_WRITE_RATE", default_value = "20")]
    iam_write_rate: NonZeroU32,
    /// Timeout of one attempt of a call to AWS, in seconds
    #[arg(long, env = "AWS_ATTEMPT_TIMEOUT", default_value = "10", value_name = "SECONDS")]
    aws_attempt_timeout: NonZeroU32,
    /// Attempts of one call to AWS before the check fails and is tried again later
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

/// Why a subcommand failed. Each message says what to do.
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
    #[error("cannot write the output: {0}")]
    Print(String),
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    #[error(transparent)]
    Import(#[from] import::ImportError),
}

/// Writes to standard output. It is no error if the reader closes the pipe early, as `head` does.
fn write(text: &str) -> Result<(), CliError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Print(error.to_string())),
        _ => Ok(()),
    }
}

impl Cli {
    /// Runs the subcommand and returns its exit code.
    ///
    /// # Errors
    /// The failure as a sentence for the user, with what to do about it.
    pub async fn execute(self) -> Result<ExitCode, CliError> {
        match self.command {
            Command::Run(args) => run::run(*args).await.map(|()| ExitCode::SUCCESS).map_err(CliError::from),
            Command::Plan(args) => plan::plan(args).await,
            Command::Policy(args) => policy::policy(args).await,
            Command::Import(args) => import::import(args).await,
            Command::Backfill(args) => backfill::backfill(args).await,
            Command::Crds(args) => crds::crds(args),
        }
    }
}
