//! The entry point: arguments in, exit code out, errors on standard error.

use std::process::ExitCode;

use clap::Parser;
use s3_replication_operator::cli::Cli;

// Two threads carry ten thousand resources. One for each core of a large node would cost a stack and a heap arena each.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match Cli::parse().execute().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
