//! The entry point: arguments in, exit code out, errors on standard error.

use std::process::ExitCode;

use s3_replication_operator::cli;

// Two threads carry ten thousand resources. One for each core of a large node would cost a stack and a heap arena each.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    cli::main(std::env::args_os().collect()).await
}
