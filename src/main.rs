//! The entry point: arguments in, exit code out, errors on standard error.

use std::process::ExitCode;

use s3_replication_operator::cli;

#[tokio::main]
async fn main() -> ExitCode {
    cli::main(std::env::args_os().collect()).await
}
