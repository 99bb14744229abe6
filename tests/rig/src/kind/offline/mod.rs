//! A cluster on a machine that reaches no container registry: a Docker engine in its own namespaces, a node image and
//! the images of this project, all made from Debian packages and Go modules. Needs Linux, root and some packages.
//!
//! Nothing else in the rig depends on how this works: `Offline::prepare` returns an engine that has all images.

mod engine;
mod image;
mod node;
mod offline_images;
mod rootfs;

use std::time::Duration;

use anyhow::Result;

use super::command;
use super::images::Images;
use crate::paths;
use crate::process::Spec;
use crate::progress;
use crate::system;
use crate::tools::Tools;

pub(super) use engine::Engine;

/// An engine, and the images that kind and the tests need in it.
#[derive(Debug)]
pub(super) struct Offline {
    pub engine: Engine,
    /// The name of the image of a node.
    pub node: String,
    pub images: Images,
}

impl Offline {
    /// Downloads and builds everything, then starts an engine. From then on this thread is in the engine's network.
    pub fn prepare(tools: &Tools) -> Result<Self> {
        let (node, sources) = (node::Node::ensure()?, offline_images::Sources::ensure(tools)?);
        let engine = progress::step("starting a Docker engine in its own namespaces", Engine::start)?;
        let node = node.image(&engine)?;
        let images =
            progress::step("making the images of the operator and the emulator", || sources.images(&engine))?;
        Ok(Self { engine, node, images })
    }
}

/// Why this machine cannot do it; `None` if it can. The text says what to do.
///
/// # Errors
/// If missing packages have to be installed, and that fails.
pub(super) fn obstacle(install: bool) -> Result<Option<String>> {
    if !cfg!(target_os = "linux") {
        return Ok(Some("a cluster needs Docker with a registry in reach: start Docker".to_owned()));
    }
    if !system::is_root() {
        let why = "a cluster needs Docker with a registry in reach; without it, only root can make a cluster";
        return Ok(Some(why.to_owned()));
    }
    let missing = system::missing(&system::FOR_KIND);
    if missing.is_empty() {
        return Ok(denied());
    }
    if !install || !system::may_install() {
        return Ok(Some(format!(
            "a cluster needs Docker with a registry in reach, or these packages: {}; `{}` installs them",
            missing.join(", "),
            system::command(&missing)
        )));
    }
    system::install(&missing)?;
    Ok(denied())
}

/// Tries what an engine and its nodes do (`probe.sh`): some machines do not permit it even to root.
fn denied() -> Option<String> {
    let probe = Spec::new("probe", "unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
        .arg(paths::sources().join("src/kind/offline/probe.sh"))
        .env("PATH", system::path());
    let error = command::run("probe.sh", probe, Duration::from_secs(20)).err()?;
    // The error ends with the path of the log. The line before is what the probe printed last.
    let text = format!("{error:#}");
    let last = text.lines().rev().nth(1).unwrap_or_default();
    Some(format!("a cluster needs mounts, networks and cgroups, which root may not make here: {last}"))
}
