//! How this machine can make a cluster: with Docker where it reaches a registry, or else offline.

use std::time::Duration;

use anyhow::Result;

use super::{command, offline};
use crate::process::Spec;
use crate::progress;

/// The image of kind's nodes by default: `pkg/apis/config/defaults/image.go` of its version in `tools/kind/go.mod`.
const NODE_IMAGE: &str =
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5";

/// How to make a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With the Docker that runs, as any user of kind does.
    Docker,
    /// With a Docker engine and images that the rig makes: no registry is in reach.
    Offline,
}

/// Chooses how to make a cluster, or says why none can be made and what to do about it. `install` lets it install
/// missing Debian packages.
///
/// # Errors
/// If installing packages fails.
pub fn choose_method(install: bool) -> Result<Result<Method, String>> {
    if docker_has_node_image() {
        return Ok(Ok(Method::Docker));
    }
    Ok(offline::obstacle(install)?.map_or(Ok(Method::Offline), Err))
}

/// Whether Docker runs here.
pub(super) fn docker_runs() -> bool {
    command::succeeds(docker(&["info"]), Duration::from_secs(20))
}

fn docker(args: &[&str]) -> Spec {
    Spec::new("docker", "docker").args(args)
}

/// Whether Docker runs here and has the image of a node, or can pull it.
fn docker_has_node_image() -> bool {
    if !docker_runs() {
        return false;
    }
    command::succeeds(docker(&["image", "inspect", NODE_IMAGE]), Duration::from_secs(20))
        || progress::step("pulling the image of kind's nodes (some minutes, once)", || {
            command::run("docker pull", docker(&["pull", NODE_IMAGE]), Duration::from_secs(900))
        })
        .is_ok()
}
