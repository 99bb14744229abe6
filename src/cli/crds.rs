//! `crds`: prints the CustomResourceDefinitions.
//!
//! In: the definitions of `api/crd.rs`, and a directory or none. Out: YAML on standard output, or one file per kind in
//! the directory, as shipped in `crds/`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;

use crate::api::{GROUP, crd};
use crate::cli::{CliError, write};

#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// Write one file per kind into this directory instead of printing
    #[arg(long, value_name = "DIRECTORY")]
    output_dir: Option<PathBuf>,
}

pub fn crds(args: CrdsArgs) -> Result<ExitCode, CliError> {
    for crd in crd::all().map_err(|e| CliError::print(e.to_string()))? {
        let yaml = serde_saphyr::to_string(&crd).map_err(|e| CliError::print(e.to_string()))?;
        let yaml = format!("---\n{yaml}");
        match &args.output_dir {
            None => write(&yaml)?,
            Some(directory) => {
                // The name is `awsaccounts.s3replication.dev`; the file has the name that controller-gen gives it.
                let name = crd.name_any();
                let plural = name.split('.').next().unwrap_or(&name);
                let file = directory.join(format!("{GROUP}_{plural}.yaml"));
                std::fs::write(&file, yaml)
                    .map_err(|e| CliError::print(format!("{}: {e}", file.display())))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
