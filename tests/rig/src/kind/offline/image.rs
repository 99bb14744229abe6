//! Makes container images of files, with `tar` alone, in the format that `docker load` reads.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kind::command;
use crate::process::Spec;

/// How long packing may take: the largest layer has hundreds of megabytes.
const PACK: Duration = Duration::from_secs(300);

/// An image to make.
#[derive(Debug)]
pub(super) struct Image<'a> {
    /// Its name and tag.
    pub name: &'a str,
    /// The `config` object of the image specification: entrypoint, user, environment.
    pub config: Value,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

#[derive(Debug)]
pub(super) enum Layer {
    /// A tar file.
    Tar(PathBuf),
    /// A directory; in the image its files belong to root.
    Dir(PathBuf),
}

impl Image<'_> {
    /// Writes the image to `output`. `scratch` is an empty directory for intermediate files.
    pub fn write(&self, output: &Path, scratch: &Path) -> Result<()> {
        let mut names = Vec::new();
        let mut digests = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = format!("layer{number}.tar");
            let path = scratch.join(&name);
            match layer {
                // The layer may be on another file system.
                Layer::Tar(tar) => fs::hard_link(tar, &path).or_else(|_| fs::copy(tar, &path).map(drop))?,
                Layer::Dir(dir) => pack(dir, &path)?,
            }
            digests.push(digest(&path)?);
            names.push(name);
        }
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": digests},
            "history": digests.iter().map(|_| json!({"created_by": "rig"})).collect::<Vec<_>>(),
        });
        let config = serde_json::to_vec(&config)?;
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let manifest = json!([{"Config": config_name, "RepoTags": [self.name], "Layers": names}]);
        fs::write(scratch.join(&config_name), config)?;
        fs::write(scratch.join("manifest.json"), serde_json::to_vec(&manifest)?)?;
        let tar = tar_of(scratch, output).args([&config_name, "manifest.json"]).args(&names);
        command::run("tar", tar, PACK)?;
        for name in names.iter().chain([&config_name, &"manifest.json".to_owned()]) {
            fs::remove_file(scratch.join(name))?;
        }
        Ok(())
    }
}

/// Packs a directory. Owner and date of its files are fixed, so that equal files make an equal layer.
pub(super) fn pack(dir: &Path, output: &Path) -> Result<()> {
    let spec = tar_of(dir, output)
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=u-w"])
        .arg(".");
    command::run("tar", spec, PACK).map(drop)
}

fn tar_of(dir: &Path, output: &Path) -> Spec {
    Spec::new("tar", "tar").arg("-C").arg(dir).arg("-cf").arg(output)
}

fn digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hash = Hash(Sha256::new());
    io::copy(&mut file, &mut hash)?;
    Ok(format!("sha256:{}", hex(&hash.0.finalize())))
}

struct Hash(Sha256);

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// This machine's architecture, as the image specification names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
