//! A Docker engine in namespaces of its own (`engine.sh`). It does not touch the machine's network, and it ends with
//! the process that started it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::health;
use crate::kind::command;
use crate::paths;
use crate::process::{Process, Spec};
use crate::system;
use crate::tools;

/// The port that the engine listens on, in its own network.
const PORT: u16 = 2375;

/// How long a start may take: far above the usual 2 seconds, because an engine that is still ending has to go first.
const START: Duration = Duration::from_secs(90);

/// How long the engine may take to end: it stops running containers first.
const GRACE: Duration = Duration::from_secs(30);

/// A running engine. The next engine finds the images of this one.
#[derive(Debug)]
pub struct Engine {
    process: Process,
    init: String,
    home: Option<File>,
    // Engines share the store of images, so only one may run. Dropping the file releases the lock.
    _lock: File,
}

impl Engine {
    /// Starts an engine and enters its network. From then on this thread, and every thread and program that it starts,
    /// reaches that network only; download everything before.
    pub fn start() -> Result<Self> {
        let dir = Self::directory();
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock = tools::lock(&dir.join("user.lock"), "a cluster")?;
        let init_file = dir.join("init.pid");
        // An engine that was killed has left its file.
        let _ = fs::remove_file(&init_file);
        let process = Spec::new("engine", "sh")
            .arg(paths::sources().join("src/kind/offline/engine.sh"))
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

    /// Variables with which docker and kind use this engine.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let host = format!("tcp://127.0.0.1:{PORT}");
        // BuildKit needs a plugin that this Docker may not have.
        [("DOCKER_HOST", host), ("DOCKER_BUILDKIT", "0".to_owned()), ("PATH", system::path())]
    }

    /// Runs a docker command and returns what it prints.
    pub fn docker(&self, args: &[&str], deadline: Duration) -> Result<String> {
        command::run(&format!("docker {}", args.join(" ")), self.docker_spec(args), deadline)
    }

    /// Whether the engine has an image.
    pub fn has_image(&self, name: &str) -> bool {
        let spec = self.docker_spec(&["image", "inspect", name]);
        command::succeeds(spec, Duration::from_secs(30))
    }

    fn docker_spec(&self, args: &[&str]) -> Spec {
        let spec = Spec::new("docker", "docker").args(args);
        self.environment().iter().fold(spec, |spec, (name, value)| spec.env(name, value))
    }

    /// Returns a command that opens a shell in the engine's network, for a person.
    pub fn how_to_enter(&self) -> String {
        let environment = self.environment().map(|(name, value)| match name {
            // The shell there has the rest already.
            "PATH" => format!("{name}={}", system::path_after("$PATH")),
            _ => format!("{name}={value}"),
        });
        format!("nsenter --net=/proc/{}/ns/net env {} $SHELL", self.init, environment.join(" "))
    }

    /// The directory of the engine's images.
    fn directory() -> PathBuf {
        paths::rig().join("engine")
    }

    /// Leaves the engine's network, ends the engine, and waits for that.
    pub fn stop(mut self) -> Result<()> {
        self.leave()?;
        self.process.close();
        self.process.wait_ended(GRACE * 2).map(drop)
    }

    fn leave(&mut self) -> Result<()> {
        self.home.take().map_or(Ok(()), |home| network::enter(&home))
    }

    /// Removes the containers and volumes of an engine that was killed: nobody can reach them any more.
    fn remove_leftovers(&self) -> Result<()> {
        let containers = self.docker(&["ps", "--all", "--quiet"], Duration::from_secs(30))?;
        let containers: Vec<&str> = containers.split_whitespace().collect();
        if !containers.is_empty() {
            let args = [&["rm", "--force", "--volumes"], containers.as_slice()].concat();
            self.docker(&args, Duration::from_secs(60))?;
        }
        // Also volumes whose container is gone.
        self.docker(&["volume", "prune", "--force"], Duration::from_secs(60)).map(drop)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // This thread would be left in a network without a route to the outside.
        let _ = self.leave();
    }
}

#[cfg(target_os = "linux")]
mod network {
    use std::fs::File;
    use std::os::fd::AsFd;

    use anyhow::{Context, Result};
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    /// Opens the network namespace of a process.
    pub fn of(pid: &str) -> Result<File> {
        let path = format!("/proc/{pid}/ns/net");
        File::open(&path).with_context(|| format!("cannot open {path}"))
    }

    /// Moves this thread into a network namespace.
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
