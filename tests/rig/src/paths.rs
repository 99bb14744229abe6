//! The paths of the rig's files. All are in one directory under Cargo's target directory, so that `cargo clean` removes
//! them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

/// How long the logs and leftovers of earlier runs are kept.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The directories of this process that no guard removes.
static SCRATCH: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The rig's own source directory, where the pinned tool versions are.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target directory.
///
/// The running program is inside it, whatever set its location (environment,
/// configuration or flag): Cargo marks the directory with `CACHEDIR.TAG`.
pub fn target() -> PathBuf {
    let beside_us = env::current_exe().ok().and_then(|exe| {
        exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf)
    });
    beside_us
        .or_else(|| env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
        .unwrap_or_else(|| repository().join("target"))
}

/// The rig's directory under the target directory.
pub fn rig() -> PathBuf {
    target().join("rig")
}

/// A new, empty directory for the data of one child process; its guard removes it.
pub fn data_dir(name: &str) -> Result<PathBuf> {
    fresh("data", name)
}

/// A new, empty log file. Logs outlive the run, to be read after a failure.
pub fn log_file(name: &str) -> Result<PathBuf> {
    let dir = rig().join("logs").join(format!("run-{}", process::id()));
    create(&dir)?;
    let path = dir.join(format!("{name}-{}.log", next()));
    // A process id can come again: never begin with the lines of another program.
    fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// A new, empty directory of this run, for files that are not a child's data. [`remove_scratch`] removes it, or a later
/// run does ([`prune`]).
pub fn scratch_dir(name: &str) -> Result<PathBuf> {
    let dir = fresh("data", name)?;
    scratch().push(dir.clone());
    Ok(dir)
}

/// Removes the directories of this run, at its end.
pub fn remove_scratch() {
    for dir in scratch().drain(..) {
        // A later run removes a directory that this one cannot remove.
        let _ = fs::remove_dir_all(dir);
    }
}

fn scratch() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    match SCRATCH.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Removes what earlier runs left behind: old logs, and the data of processes that are gone.
pub fn prune() {
    remove_data_of_dead_processes(&rig().join("data"));
    for kind in ["logs", "data"] {
        let Ok(entries) = fs::read_dir(rig().join(kind)) else {
            continue;
        };
        for entry in entries.flatten() {
            let age = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .ok()
                .and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > KEEP) {
                // Another run may be removing the same directory: either is fine.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A test program ends without a chance to remove its directories, and so does everything that is killed.
fn remove_data_of_dead_processes(data: &Path) {
    let Ok(entries) = fs::read_dir(data) else { return };
    for entry in entries.flatten() {
        let process = owner(&entry.file_name().to_string_lossy());
        if process.is_some_and(|process| !is_alive(process)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process whose directory it is, by its name: `NAME-PROCESS-NUMBER`.
fn owner(directory: &str) -> Option<u32> {
    directory.rsplit('-').nth(1)?.parse().ok()
}

/// Whether a process is there. One that cannot be asked about is taken to be.
fn is_alive(process: u32) -> bool {
    if cfg!(target_os = "linux") {
        return Path::new("/proc").join(process.to_string()).exists();
    }
    let asked = process::Command::new("ps").args(["-p", &process.to_string()]).output();
    asked.map_or(true, |output| output.status.success())
}

fn fresh(kind: &str, name: &str) -> Result<PathBuf> {
    let dir = rig().join(kind).join(format!("{name}-{}-{}", process::id(), next()));
    // A process id can come again: never start on someone's old data.
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    create(&dir)?;
    Ok(dir)
}

fn create(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

fn next() -> usize {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_live_one_has_stays() -> Result<()> {
        let data = scratch_dir("sweep")?;
        let mut child = process::Command::new("true").spawn()?;
        child.wait()?;
        let left = data.join(format!("kubeconfig-{}-17", child.id()));
        let kept = data.join(format!("kube-config-{}-1", process::id()));
        let foreign = data.join("something-else");
        for dir in [&left, &kept, &foreign] {
            create(dir)?;
        }
        remove_data_of_dead_processes(&data);
        assert_eq!([left.exists(), kept.exists(), foreign.exists()], [false, true, true]);
        Ok(())
    }
}
