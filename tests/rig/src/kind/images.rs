//! The images of this project on a cluster: the operator's and, for tests, the emulator's. Builds both from their
//! Containerfiles with a Docker that reaches a registry; `offline` builds them where none is in reach.

use std::time::Duration;

use anyhow::Result;

use super::command;
use crate::paths;
use crate::process::Spec;
use crate::progress;

/// The operator's image as the documentation names it, and as every cluster of the rig has it.
pub const DOCUMENTED: &str =
    concat!("registry.example.com/s3-replication-operator:", env!("CARGO_PKG_VERSION"));

/// The repository of the emulator's image.
pub(super) const EMULATOR: &str = "s3-replication-operator/emulator";

/// How long a build may take that compiles the operator: far above the usual 10 minutes.
const BUILD: Duration = Duration::from_secs(3600);

/// The names of both images.
#[derive(Debug, Clone)]
pub struct Images {
    /// The operator's.
    pub operator: String,
    /// The emulator's.
    pub emulator: String,
}

/// Builds both with a Docker that reaches a registry, as a user does.
pub(super) fn build_with_docker() -> Result<Images> {
    let repository = paths::repository();
    let images = Images { operator: DOCUMENTED.to_owned(), emulator: format!("{EMULATOR}:rig") };
    let builds = [
        (&images.operator, "Containerfile", repository.clone()),
        (&images.emulator, "tests/kind/emulator.Containerfile", repository.join("tests/rig/tools/aws")),
    ];
    for (name, file, context) in builds {
        progress::step(&format!("building {file} with Docker"), || {
            let build = Spec::new("docker-build", "docker")
                .args(["build", "--tag", name, "--file"])
                .arg(repository.join(file))
                .arg(context)
                .env("DOCKER_BUILDKIT", "1");
            command::run("docker build", build, BUILD)
        })?;
    }
    Ok(images)
}
