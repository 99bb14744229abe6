//! The entry point: starts the threads of the process, and runs the command line.
//!
//! In: the arguments of the process. Out: its exit code, and errors on standard error. The subcommands are in
//! `cli/mod.rs`.

use std::process::ExitCode;

use s3_replication_operator::cli;
use tokio::runtime::Builder;

/// Two threads carry ten thousand resources. One for each core of a large node would cost a stack and a heap arena
/// each.
const WORKERS: usize = 2;

/// The bytes that each thread's stack may grow to; the system takes memory only for what is used. Tokio's 2 MiB are too
/// few for an unoptimized build. A check calls STS, whose client asks the metadata service of EC2 for credentials,
/// whose client asks it for a token. The stack holds the frames of all of them.
const STACK: usize = 16 * 1024 * 1024;

fn main() -> ExitCode {
    let runtime =
        Builder::new_multi_thread().worker_threads(WORKERS).thread_stack_size(STACK).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli::main(std::env::args_os().collect())),
        Err(error) => {
            eprintln!("error: cannot start the threads of the process: {error}");
            ExitCode::FAILURE
        }
    }
}
