//! The plugin of kubectl: the archives and the manifest of a release, checked by krew itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rig::Tools;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{read, repository};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn run(program: impl AsRef<Path>, args: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{}: {text}", program.display());
    Ok(text)
}

/// The archives of a release, as its workflow makes them, and the manifest. In place of the program they hold a small file:
/// krew looks at its name alone, and to pack a debug build takes six seconds of CPU time for each archive.
fn release(directory: &Path) -> Result<String> {
    let program = directory.join("program");
    fs::write(&program, "#!/bin/sh\n")?;
    let program = program.to_str().context("path")?;
    let (archive, manifest) = (repository("deploy/krew/archive.sh"), repository("deploy/krew/manifest.sh"));
    let dist = directory.to_str().context("path")?;
    for platform in ["linux_amd64", "linux_arm64", "darwin_arm64"] {
        run(&archive, &[program, VERSION, platform, dist])?;
    }
    run(&manifest, &["https://git.example.com/team/s3-replication-operator", VERSION, dist])
}

#[test]
fn krew_takes_the_manifest_of_a_release() -> Result<()> {
    let directory = rig::paths::scratch_dir("krew")?;
    let manifest = release(&directory)?;
    let path = directory.join("s3replication.yaml");
    fs::write(&path, &manifest)?;
    let path = path.to_str().context("path")?;
    run(Tools::krew()?, &["-manifest", path, "-skip-install"])?;

    // Every hash is that of its archive, and every archive holds the program under the name in the manifest.
    let manifest: Value = serde_saphyr::from_str(&manifest)?;
    let platforms = manifest["spec"]["platforms"].as_array().context("platforms")?;
    ensure!(platforms.len() == 3, "{platforms:?}");
    for platform in platforms {
        let uri = platform["uri"].as_str().context("uri")?;
        let archive = directory.join(uri.rsplit('/').next().context("file")?);
        let hash: String =
            Sha256::digest(fs::read(&archive)?).iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(platform["sha256"] == hash.as_str(), "{uri}");
        let listed = run("tar", &["-tzf", archive.to_str().context("path")?])?;
        ensure!(listed.lines().any(|file| platform["bin"] == file), "{uri}: {listed}");
    }
    fs::remove_dir_all(&directory)?;
    Ok(())
}

#[test]
fn krew_refuses_a_manifest_with_a_fault() -> Result<()> {
    let directory = rig::paths::scratch_dir("krew-fault")?;
    let manifest = release(&directory)?;
    let path = directory.join("s3replication.yaml");
    let check = Tools::krew()?;
    for (part, fault) in [("version: v", "version: "), ("os: darwin", "os: linux"), ("bin: k", "binary: k")] {
        ensure!(manifest.contains(part), "{part}");
        fs::write(&path, manifest.replace(part, fault))?;
        ensure!(
            run(&check, &["-manifest", path.to_str().context("path")?, "-skip-install"]).is_err(),
            "{fault}"
        );
    }
    fs::remove_dir_all(&directory)?;
    Ok(())
}

#[test]
fn a_release_builds_the_archive_of_every_platform_of_the_manifest() -> Result<()> {
    let (workflow, template) =
        (read(".github/workflows/release.yaml")?, read("deploy/krew/s3replication.yaml.in")?);
    let platforms: Vec<&str> =
        template.split("@SHA256_").skip(1).filter_map(|rest| rest.split('@').next()).collect();
    ensure!(platforms.len() == 3, "{platforms:?}");
    for platform in platforms {
        ensure!(workflow.contains(&format!("{{platform: {platform}, ")), "no job builds {platform}");
    }
    Ok(())
}
