//! A Docker engine of our own, in namespaces of its own (`engine.sh`): it touches nothing of the machine's network,
//! and ends with us.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::command;
use crate::health;
use crate::paths;
use crate::process::{Process, Spec};
use crate::system;
use crate::tools;

/// Where the engine listens, in its own network.
const PORT: u16 = 2375;

/// How long a start may take: far above the usual 2 seconds, and one that is ending is waited for.
const START: Duration = Duration::from_secs(90);

/// How long an end may take: containers that still run are stopped first.
const GRACE: Duration = Duration::from_secs(30);

/// A running engine. Its images are kept for the next one.
#[derive(Debug)]
pub struct Engine {
    process: Process,
    init: String,
    home: Option<File>,
    // One at a time: they share the store of images. Released when this is dropped.
    _lock: File,
}

impl Engine {
    /// Starts one and enters its network: this thread, and all threads and programs that it starts from now on,
    /// reach what runs in there and nothing else. What needs a registry has to be done before.
    pub fn start() -> Result<Self> {
        let dir = Self::directory();
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock = tools::lock(&dir.join("user.lock"), "a cluster")?;
        let init_file = dir.join("init.pid");
        // One that was killed has not removed its own.
        let _ = fs::remove_file(&init_file);
        let process = Spec::new("engine", "sh")
            .arg(paths::sources().join("src/kind/engine.sh"))
            .arg(&dir)
            .env("PATH", system::path())
            .without_env(&["DOCKER_"])
            .grace(GRACE)
            .start()?;
        let mut init = String::new();
        process.wait_ready(START, || {
            init = fs::read_to_string(&init_file).unwrap_or_default().trim().to_owned();
            !init.is_empty()
        })?;
        let home = network::of("self")?;
        network::enter(&network::of(&init)?)?;
        let engine = Self { process, init, home: Some(home), _lock: lock };
        engine.process.wait_ready(START, || health::is_ok(PORT, "/_ping"))?;
        engine.remove_leftovers()?;
        Ok(engine)
    }

    /// What makes Docker's and kind's programs speak to this engine.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let host = format!("tcp://127.0.0.1:{PORT}");
        // The newer builder needs a part that this Docker may not have.
        [("DOCKER_HOST", host), ("DOCKER_BUILDKIT", "0".to_owned()), ("PATH", system::path())]
    }

    /// A command of Docker's.
    pub fn docker(&self, args: &[&str], deadline: Duration) -> Result<String> {
        command::run(&format!("docker {}", args.join(" ")), self.docker_spec(args), deadline)
    }

    /// Whether there is an image of that name.
    pub fn has_image(&self, name: &str) -> bool {
        let spec = self.docker_spec(&["image", "inspect", name]);
        command::succeeds(spec, Duration::from_secs(30))
    }

    fn docker_spec(&self, args: &[&str]) -> Spec {
        let spec = Spec::new("docker", "docker").args(args);
        self.environment().iter().fold(spec, |spec, (name, value)| spec.env(name, value))
    }

    /// A line for a shell that goes on in the engine's network, where a person can speak to it too.
    pub fn how_to_enter(&self) -> String {
        let environment = self.environment().map(|(name, value)| format!("{name}={value}"));
        format!("nsenter --net=/proc/{}/ns/net env {} $SHELL", self.init, environment.join(" "))
    }

    /// Where the engine keeps its images.
    fn directory() -> PathBuf {
        paths::rig().join("engine")
    }

    /// Leaves its network and ends it.
    pub fn stop(mut self) -> Result<()> {
        self.leave()?;
        self.process.close();
        self.process.wait_ready(GRACE * 2, || self.process.exit_code().is_some())
    }

    fn leave(&mut self) -> Result<()> {
        self.home.take().map_or(Ok(()), |home| network::enter(&home))
    }

    /// An engine that was killed has left its containers and volumes behind, which no one can mean to keep.
    fn remove_leftovers(&self) -> Result<()> {
        let containers = self.docker(&["ps", "--all", "--quiet"], Duration::from_secs(30))?;
        let containers: Vec<&str> = containers.split_whitespace().collect();
        if !containers.is_empty() {
            let args = [&["rm", "--force", "--volumes"], containers.as_slice()].concat();
            self.docker(&args, Duration::from_secs(60))?;
        }
        // Their data too, also where a container was gone before its volume was.
        self.docker(&["volume", "prune", "--force"], Duration::from_secs(60)).map(drop)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A thread that stays in there has a network without a way out.
        let _ = self.leave();
    }
}

#[cfg(target_os = "linux")]
mod network {
    use std::fs::File;
    use std::os::fd::AsFd;

    use anyhow::{Context, Result};
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    /// The network namespace of a process.
    pub fn of(pid: &str) -> Result<File> {
        let path = format!("/proc/{pid}/ns/net");
        File::open(&path).with_context(|| format!("cannot open {path}"))
    }

    /// Moves this thread into one.
    pub fn enter(network: &File) -> Result<()> {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter the engine's network")
    }
}

#[cfg(not(target_os = "linux"))]
mod network {
    use std::fs::File;

    use anyhow::{Result, bail};

    pub fn of(_pid: &str) -> Result<File> {
        bail!("only Linux has network namespaces")
    }

    pub fn enter(_network: &File) -> Result<()> {
        bail!("only Linux has network namespaces")
    }
}
