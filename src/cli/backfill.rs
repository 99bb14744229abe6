//! `backfill`: BucketReplication resources in, the ReplicationBackfill resources that replicate what they missed out.
//!
//! It prints and starts nothing: `kubectl apply -f -` does.

use std::process::ExitCode;

use clap::Args;

use crate::cli::manifests::Manifests;
use crate::cli::{CliError, write};
use crate::replication::backfill::proposal::{propose, remarks};

#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// File with BucketReplication resources; - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<String>,
    /// Name of the ReplicationBackfill; absent: that of the BucketReplication with -backfill
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Let the job wait for approval: the status then shows the number of objects and the price
    #[arg(long)]
    manual: bool,
}

pub async fn backfill(args: BackfillArgs) -> Result<ExitCode, CliError> {
    let manifests = Manifests::read(&args.filenames)?.with_resources()?;
    for resource in &manifests.resources {
        let manifest = propose(resource, args.name.as_deref(), args.manual);
        let yaml = serde_saphyr::to_string(&manifest).map_err(|error| CliError::Print(error.to_string()))?;
        let remarks: String = remarks(resource).iter().map(|line| format!("# {line}\n")).collect();
        write(&format!("---\n{remarks}{yaml}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
