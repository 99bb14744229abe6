//! Git repositories on 127.0.0.1, as Argo CD reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Programs;
use crate::health;
use crate::paths;
use crate::process::{self, Process, Spec};

/// How long the start may take: far above the usual, for a busy machine.
const START: Duration = Duration::from_secs(30);

/// Repositories under one address.
#[derive(Debug)]
pub struct Git {
    program: PathBuf,
    base: PathBuf,
    port: u16,
    _process: Process,
}

impl Git {
    pub(super) fn start(programs: &Programs) -> Result<Self> {
        let program = programs.git.clone();
        let (process, (base, port)) = process::on_free_ports(|| launch(&program))?;
        Ok(Self { program, base, port, _process: process })
    }

    /// The address that the repositories are under, with a slash at its end.
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}/", self.port)
    }

    /// A new repository, by its path in the address.
    pub fn repository(&self, path: &str) -> Result<Repository> {
        let dir = self.base.join(path);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let repository =
            Repository { program: self.program.clone(), dir, url: format!("{}{path}", self.url()) };
        repository.git(&["init", "--quiet", "--initial-branch", "main"])?;
        Ok(repository)
    }
}

/// One repository, with its files as they will be committed.
#[derive(Debug)]
pub struct Repository {
    program: PathBuf,
    dir: PathBuf,
    url: String,
}

impl Repository {
    /// The value for `repoURL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes one file.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.dir.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Changes one file.
    pub fn edit(&self, path: &str, change: impl FnOnce(String) -> String) -> Result<()> {
        let file = self.dir.join(path);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        self.write(path, &change(text))
    }

    /// Copies a directory and all below it. Links stay links.
    pub fn copy(&self, from: &Path, path: &str) -> Result<()> {
        let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
        for entry in entries {
            let (entry, dir) = (entry?, self.dir.join(path));
            let (kind, below) =
                (entry.file_type()?, format!("{path}/{}", entry.file_name().to_string_lossy()));
            if kind.is_dir() {
                self.copy(&entry.path(), &below)?;
            } else if kind.is_symlink() {
                fs::create_dir_all(&dir)?;
                std::os::unix::fs::symlink(fs::read_link(entry.path())?, self.dir.join(&below))?;
            } else {
                self.write(&below, &fs::read_to_string(entry.path())?)?;
            }
        }
        Ok(())
    }

    /// Commits all files.
    pub fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])
    }

    /// Gives the last commit a name that stays.
    pub fn tag(&self, name: &str) -> Result<()> {
        self.git(&["tag", name])
    }

    fn git(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        let output = command
            .args(args)
            .current_dir(&self.dir)
            // Ignores the git settings of this machine's user.
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")])
            .envs([("GIT_AUTHOR_NAME", "rig"), ("GIT_AUTHOR_EMAIL", "rig@example.com")])
            .envs([("GIT_COMMITTER_NAME", "rig"), ("GIT_COMMITTER_EMAIL", "rig@example.com")])
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !output.status.success() {
            bail!("git {} fails: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

fn launch(program: &Path) -> Result<(Process, Result<(PathBuf, u16)>)> {
    let base = paths::data_dir("git")?;
    let port = process::free_port()?;
    let process = Spec::new("git-daemon", program)
        .without_env(&["GIT_"])
        .args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", base.display()))
        .grace(Duration::from_secs(1))
        .data(&base)
        .start()?;
    let ready = process.wait_ready(START, || health::listens(port)).map(|()| (base, port));
    Ok((process, ready))
}
