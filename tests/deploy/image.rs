//! The Containerfile: which toolchain and base the image is built on.

use anyhow::{Context, Result, ensure};

use crate::support::read;

/// The images that the stages of a Containerfile begin with.
fn base_images(name: &str) -> Result<Vec<String>> {
    let text = read(name)?;
    let bases = text.lines().filter_map(|line| line.strip_prefix("FROM "));
    Ok(bases.filter_map(|base| base.split(' ').next()).map(str::to_owned).collect())
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_package_and_has_no_base() -> Result<()> {
    let bases = base_images("Containerfile")?;
    let base = bases.first().context("no FROM")?;
    let tag = concat!("rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
    ensure!(base.starts_with(tag), "{base} is not the toolchain of Cargo.toml");
    assert_eq!(bases.get(1..), Some(&["scratch".to_owned()][..]), "the image itself has no base");
    Ok(())
}

#[test]
fn every_base_image_is_pinned_by_its_digest() -> Result<()> {
    for file in ["Containerfile", "tests/kind/emulator.Containerfile"] {
        let bases = base_images(file)?;
        ensure!(!bases.is_empty(), "{file} has no FROM");
        for base in bases.iter().filter(|base| *base != "scratch") {
            let digest = base.split_once("@sha256:").map(|(_, digest)| digest).unwrap_or_default();
            let is_digest = digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit());
            ensure!(is_digest, "{file}: {base} has no digest");
        }
    }
    Ok(())
}

#[test]
fn the_crates_are_listed_in_the_binary_for_scanners() -> Result<()> {
    let text = read("Containerfile")?;
    ensure!(text.contains("cargo auditable build --release --locked"), "not built with cargo auditable");
    Ok(())
}

/// One of the features that a person on a machine of their own needs runs a command that a profile names.
#[test]
fn the_image_is_built_without_what_only_people_need() -> Result<()> {
    let text = read("Containerfile")?;
    let build = text.lines().find(|line| line.contains("cargo auditable build")).context("no build")?;
    ensure!(build.contains(" --no-default-features "), "the default features are in the image: {build}");
    let manifest = read("Cargo.toml")?;
    let default = manifest.lines().find(|line| line.starts_with("default = ")).context("no default")?;
    assert_eq!(default, "default = [\"cli\"]", "another default feature would be missing in the image");
    Ok(())
}
