//! The images of the operator and of the emulator, made without a registry. The last stage of each Containerfile is
//! built as it is; the files that an earlier stage would make for it are made on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::engine::Engine;
use super::rootfs;
use crate::kind::command;
use crate::kind::images::{DOCUMENTED, EMULATOR, Images};
use crate::operator;
use crate::paths;
use crate::process::Spec;
use crate::progress;
use crate::tools::{self, Tools};

const OPERATOR: &str = "s3-replication-operator/operator";
const PYTHON: &str = "s3-replication-operator/python";

/// The emulator's scripts that this repository holds, in the order of their names.
fn find_scripts() -> Result<Vec<PathBuf>> {
    let folder = paths::sources().join("tools/aws");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let mut scripts: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "py"))
        .collect();
    scripts.sort();
    Ok(scripts)
}

/// How long copying files into an image may take.
const ASSEMBLE: Duration = Duration::from_secs(300);

/// The parts of the images: the operator is compiled, the rest is downloaded.
#[derive(Debug)]
pub(super) struct Sources {
    program: PathBuf,
    python: PathBuf,
    emulator: PathBuf,
}

impl Sources {
    /// Builds the operator and downloads the emulator and its Python.
    pub fn ensure(tools: &Tools) -> Result<Self> {
        Ok(Self {
            program: operator::build()?,
            python: rootfs::PYTHON.ensure()?,
            emulator: emulator(&tools.python)?,
        })
    }

    /// Makes the images in an engine without a registry, unless it has them.
    pub fn images(&self, engine: &Engine) -> Result<Images> {
        engine.docker(&["tag", &self.operator_image(engine)?, DOCUMENTED], ASSEMBLE)?;
        Ok(Images { operator: DOCUMENTED.to_owned(), emulator: self.emulator_image(engine)? })
    }

    fn operator_image(&self, engine: &Engine) -> Result<String> {
        let script = paths::repository().join("deploy/image/rootfs.sh");
        let inputs =
            [fs::read(&self.program)?, fs::read(&script)?, containerfile("Containerfile")?.into_bytes()];
        let name = format!("{OPERATOR}:{}", tools::key(&inputs.each_ref().map(Vec::as_slice)));
        build(engine, OPERATOR, &name, &last_stage("Containerfile", None)?, |context| {
            // The debug information would make the image four times as large.
            let program = context.join("s3-replication-operator");
            let strip = Spec::new("strip", "strip").arg("-o").arg(&program).arg(&self.program);
            command::run("strip", strip, ASSEMBLE)?;
            let assemble = Spec::new("rootfs", "sh").arg(&script).arg(&program).arg(context.join("rootfs"));
            command::run("deploy/image/rootfs.sh", assemble, ASSEMBLE)?;
            Ok(fs::remove_file(program)?)
        })
    }

    fn emulator_image(&self, engine: &Engine) -> Result<String> {
        let file = "tests/kind/emulator.Containerfile";
        let paths = [&self.python, &self.emulator].map(|path| path.as_os_str().as_encoded_bytes().to_vec());
        let scripts = find_scripts()?;
        let mut inputs = vec![paths[0].clone(), paths[1].clone(), containerfile(file)?.into_bytes()];
        for script in &scripts {
            inputs.push(fs::read(script).with_context(|| format!("cannot read {}", script.display()))?);
        }
        let key = tools::key(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let base = format!("{PYTHON}:{}", tools::key(&[&paths[0]]));
        if !engine.has_image(&base) {
            // First what is based on it.
            remove_older(engine, EMULATOR)?;
            remove_older(engine, PYTHON)?;
            engine.docker(&["import", &self.python.to_string_lossy(), &base], ASSEMBLE)?;
        }
        let stage = last_stage(file, Some(&base))?;
        build(engine, EMULATOR, &format!("{EMULATOR}:{key}"), &stage, |context| {
            let copy = Spec::new("cp", "cp").arg("-a").arg(&self.emulator).arg(context.join("rootfs"));
            command::run("cp", copy, ASSEMBLE)?;
            scripts.iter().try_for_each(|script| {
                let name = script.file_name().unwrap_or_default();
                Ok(fs::copy(script, context.join("rootfs/emulator").join(name)).map(drop)?)
            })
        })
    }
}

/// Installs the emulator and its packages for the Python of its image. Returns the directory.
fn emulator(python: &Path) -> Result<PathBuf> {
    let pins = paths::sources().join("tools/aws/requirements.txt");
    let pinned = fs::read(&pins).with_context(|| format!("cannot read {}", pins.display()))?;
    tools::once("emulator", &[&pinned], |dir| {
        let pip = Spec::new("pip", python)
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps"])
            .args(["--require-hashes", "--only-binary=:all:", "--python-version", "3.11"])
            .args([
                "--target".as_ref(),
                dir.join("emulator").as_os_str(),
                "--requirement".as_ref(),
                pins.as_os_str(),
            ]);
        progress::step("installing the AWS emulator for its image (once)", || {
            tools::fetch(|| command::run("pip", pip.clone(), ASSEMBLE))
        })
        .map(drop)
    })
}

/// Builds an image unless the engine has it. `fill` makes the files that the stage copies. Returns the name.
fn build(
    engine: &Engine,
    family: &str,
    name: &str,
    stage: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<String> {
    if !engine.has_image(name) {
        remove_older(engine, family)?;
        let context = paths::scratch_dir("image")?;
        let built = fill(&context).and_then(|()| {
            let file = context.join("Containerfile");
            fs::write(&file, stage)?;
            engine.docker(
                &["build", "--tag", name, "--file", &file.to_string_lossy(), &context.to_string_lossy()],
                ASSEMBLE,
            )
        });
        fs::remove_dir_all(&context).with_context(|| format!("cannot remove {}", context.display()))?;
        built?;
    }
    Ok(name.to_owned())
}

/// Removes all images of a repository.
pub(super) fn remove_older(engine: &Engine, name: &str) -> Result<()> {
    let ids = engine.docker(&["images", "--quiet", name], ASSEMBLE)?;
    for id in ids.split_whitespace() {
        engine.docker(&["rmi", "--force", id], ASSEMBLE)?;
    }
    Ok(())
}

fn containerfile(name: &str) -> Result<String> {
    fs::read_to_string(paths::repository().join(name)).with_context(|| format!("cannot read {name}"))
}

/// Returns the last stage of a Containerfile, on `base` if given. It copies from the build context where the original
/// copies from the stage before.
fn last_stage(name: &str, base: Option<&str>) -> Result<String> {
    let text = containerfile(name)?;
    let (_, stage) = text.rsplit_once("\nFROM ").with_context(|| format!("{name} has no second stage"))?;
    let (own_base, rest) =
        stage.split_once('\n').with_context(|| format!("the last stage of {name} is empty"))?;
    Ok(format!("FROM {}\n{}", base.unwrap_or(own_base), rest.replace("COPY --from=build ", "COPY ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_copies_from_the_context_and_is_unchanged_otherwise() {
        let operator = last_stage("Containerfile", None).unwrap();
        assert!(operator.starts_with("FROM scratch\n"), "{operator}");
        assert!(operator.contains("COPY /rootfs/ /\n") && !operator.contains("--from"), "{operator}");
        assert!(operator.contains("USER 65532:65532\n"), "{operator}");
        let emulator = last_stage("tests/kind/emulator.Containerfile", Some("here:1")).unwrap();
        assert!(emulator.starts_with("FROM here:1\nCOPY /rootfs/ /\n"), "{emulator}");
    }
}
