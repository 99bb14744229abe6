//! The images of ours: the operator's and, for the tests, the emulator's. Each has a Containerfile that builds it
//! anywhere a registry is in reach. Elsewhere its last stage is built just the same, on files that are made here as
//! the stage before would make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::command;
use super::engine::Engine;
use super::rootfs;
use crate::operator;
use crate::paths;
use crate::process::Spec;
use crate::progress;
use crate::tools::{self, Tools};

/// The operator's image as the documentation names it, and as every cluster of ours has it.
pub const DOCUMENTED: &str =
    concat!("registry.example.com/s3-replication-operator:", env!("CARGO_PKG_VERSION"));

const OPERATOR: &str = "s3-replication-operator/operator";
const EMULATOR: &str = "s3-replication-operator/emulator";
const PYTHON: &str = "s3-replication-operator/python";

/// What of the emulator is ours.
const SCRIPTS: [&str; 2] = ["emulator.py", "recorder.py"];

/// How long a build may take that compiles the operator: far above the usual 10 minutes.
const BUILD: Duration = Duration::from_secs(3600);

/// How long it may take to copy files together.
const ASSEMBLE: Duration = Duration::from_secs(300);

/// Their names.
#[derive(Debug, Clone)]
pub struct Images {
    /// The operator's.
    pub operator: String,
    /// The emulator's.
    pub emulator: String,
}

/// What is needed of registries and compilers, at hand.
#[derive(Debug)]
pub(super) struct Sources {
    program: PathBuf,
    python: PathBuf,
    emulator: PathBuf,
}

impl Sources {
    /// Builds the operator and gathers what the emulator consists of.
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
            // An image of a development build would be four times as large.
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
        let places = [&self.python, &self.emulator].map(|path| path.as_os_str().as_encoded_bytes().to_vec());
        let scripts = SCRIPTS.map(|name| paths::sources().join("tools/aws").join(name));
        let mut inputs = vec![places[0].clone(), places[1].clone(), containerfile(file)?.into_bytes()];
        for script in &scripts {
            inputs.push(fs::read(script).with_context(|| format!("cannot read {}", script.display()))?);
        }
        let key = tools::key(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let base = format!("{PYTHON}:{}", tools::key(&[&places[0]]));
        if !engine.has_image(&base) {
            // What is made of it goes first.
            remove_older(engine, EMULATOR)?;
            remove_older(engine, PYTHON)?;
            engine.docker(&["import", &self.python.to_string_lossy(), &base], ASSEMBLE)?;
        }
        let stage = last_stage(file, Some(&base))?;
        build(engine, EMULATOR, &format!("{EMULATOR}:{key}"), &stage, |context| {
            let copy = Spec::new("cp", "cp").arg("-a").arg(&self.emulator).arg(context.join("rootfs"));
            command::run("cp", copy, ASSEMBLE)?;
            scripts.iter().zip(SCRIPTS).try_for_each(|(script, name)| {
                Ok(fs::copy(script, context.join("rootfs/emulator").join(name)).map(drop)?)
            })
        })
    }
}

/// Builds both with a Docker that reaches a registry, as a user does.
pub(super) fn build_with_docker() -> Result<Images> {
    let repository = paths::repository();
    let images = Images { operator: DOCUMENTED.to_owned(), emulator: format!("{EMULATOR}:rig") };
    let builds = [
        (&images.operator, "Containerfile", repository.clone()),
        (&images.emulator, "tests/kind/emulator.Containerfile", repository.join("tests/rig/tools/aws")),
    ];
    for (name, file, context) in builds {
        progress::step(&format!("building {file} with Docker"), || {
            let build = Spec::new("docker-build", "docker")
                .args(["build", "--tag", name, "--file"])
                .arg(repository.join(file))
                .arg(context)
                .env("DOCKER_BUILDKIT", "1");
            command::run("docker build", build, BUILD)
        })?;
    }
    Ok(images)
}

/// The emulator and what it needs, for the Python of its image.
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
            command::run("pip", pip, ASSEMBLE)
        })
        .map(drop)
    })
}

/// Builds an image unless the engine has it. `fill` makes what the stage copies into it.
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

/// Removes the images of a name, whatever their tags.
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

/// The last stage of a Containerfile, on another base where one is given, with the context in the place of the stage
/// before.
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
    fn the_last_stage_takes_its_files_from_the_context_and_keeps_the_rest() {
        let operator = last_stage("Containerfile", None).unwrap();
        assert!(operator.starts_with("FROM scratch\n"), "{operator}");
        assert!(operator.contains("COPY /rootfs/ /\n") && !operator.contains("--from"), "{operator}");
        assert!(operator.contains("USER 65532:65532\n"), "{operator}");
        let emulator = last_stage("tests/kind/emulator.Containerfile", Some("here:1")).unwrap();
        assert!(emulator.starts_with("FROM here:1\nCOPY /rootfs/ /\n"), "{emulator}");
    }
}
