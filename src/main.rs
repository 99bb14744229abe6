//! The entry point: arguments in, exit code out, errors on standard error.

use std::process::ExitCode;

use clap::Parser;
use s3_replication_operator::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().execute().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
