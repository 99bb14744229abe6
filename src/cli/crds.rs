//! `crds`: the definition as it is shipped in `crds/`.

use std::process::ExitCode;

use super::{CliError, write};
use crate::api::crd;

pub fn crds() -> Result<ExitCode, CliError> {
    let crd = crd::bucket_replication().map_err(|e| CliError::Print(e.to_string()))?;
    let yaml = serde_saphyr::to_string(&crd).map_err(|e| CliError::Print(e.to_string()))?;
    write(&yaml)?;
    Ok(ExitCode::SUCCESS)
}
