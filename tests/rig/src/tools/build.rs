//! Builds a directory of programs once for its inputs. A lock keeps other processes from building it at the same time,
//! and the directory gets its final name only when it is complete.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::paths;
use crate::process::Spec;
use crate::progress;

/// Returns the directory `NAME-HASH` under the rig's tools. `fill` fills it unless an earlier run did with the same
/// inputs.
pub fn once(name: &str, inputs: &[&[u8]], fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let tools = paths::rig().join("tools");
    fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let finished = tools.join(format!("{name}-{}", key(inputs)));
    if finished.is_dir() {
        return Ok(finished);
    }
    let _lock = lock(&tools.join(format!("{name}.lock")), &format!("the {name} tools"))?;
    // The process that held the lock before has probably built it.
    if finished.is_dir() {
        return Ok(finished);
    }
    let unfinished = finished.with_extension("partial");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    fs::create_dir_all(&unfinished)?;
    fill(&unfinished)?;
    fs::rename(&unfinished, &finished)
        .with_context(|| format!("cannot put {} into place", finished.display()))?;
    Ok(finished)
}

/// Runs one command of a build. Its output goes to a log, which the error of a failure quotes.
pub fn run(what: &str, spec: Spec) -> Result<()> {
    let process = spec.start()?;
    let code = process.wait_blocking();
    if code != 0 {
        bail!(
            "{what} failed with code {code}:\n{}\n(all of it: {})",
            process.log_tail(25),
            process.log_path().display()
        );
    }
    Ok(())
}

/// The pauses before a command that fetches is run again.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];

/// Runs a command that fetches from a registry, and runs it again where it fails: neither Go nor pip fetches a file again
/// whose transfer was cut off.
pub fn fetch<T>(mut run: impl FnMut() -> Result<T>) -> Result<T> {
    for pause in PAUSES {
        match run() {
            Ok(fetched) => return Ok(fetched),
            Err(error) => progress::say(&format!("trying again in {} s: {error:#}", pause.as_secs())),
        }
        thread::sleep(pause);
    }
    run()
}

/// A lock between processes, held until the file is closed. The system releases it also if its holder is killed.
pub fn lock(path: &Path, what: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress::step(&format!("another process is preparing {what}; waiting for it"), || file.lock())
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

/// A short hash of the inputs. Each is hashed with its length, so that two of them do not read as one.
pub fn key(inputs: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update((input.len() as u64).to_le_bytes());
        hash.update(input);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_every_input_and_on_where_each_ends() {
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }

    #[test]
    fn an_interrupted_build_is_not_taken_for_a_finished_one() {
        let inputs: &[&[u8]] = &[b"interrupted", &std::process::id().to_le_bytes()];
        let failed = once("test", inputs, |dir| {
            fs::write(dir.join("half"), "")?;
            bail!("interrupted")
        });
        assert!(failed.is_err());
        let built = once("test", inputs, |dir| {
            assert!(!dir.join("half").exists());
            fs::write(dir.join("whole"), "").map_err(Into::into)
        })
        .unwrap();
        assert!(built.join("whole").is_file());
        let again = once("test", inputs, |_| bail!("must not be built twice")).unwrap();
        assert_eq!(again, built);
        fs::remove_dir_all(built).unwrap();
    }
}
