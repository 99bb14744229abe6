//! The image of a node, made on this machine from Debian and the programs that `tools/node` builds. containerd's store
//! in it holds the images that kubeadm runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::engine::Engine;
use super::image::{Image, Layer, pack};
use super::offline_images::remove_older;
use super::rootfs;
use crate::kind::command;
use crate::paths;
use crate::process::{Process, Spec};
use crate::progress;
use crate::system;
use crate::tools::{self, NodeTools};

/// The repository of the image; its tag is a hash of what it was made from.
const NAME: &str = "s3-replication-operator/node";

/// How long one step may take; each usually takes seconds.
const DEADLINE: Duration = Duration::from_secs(180);

/// Units of systemd that manage a machine and fail in a container.
const MASKED: [&str; 24] = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "getty.target",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-logind.service",
    "systemd-modules-load.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-setup.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
];

/// The parts of a node image.
#[derive(Debug)]
pub(super) struct Node {
    tools: NodeTools,
    base: PathBuf,
    proxy_base: PathBuf,
}

impl Node {
    /// Builds and downloads the parts. Call it before entering an engine's network, which reaches no registry.
    pub fn ensure() -> Result<Self> {
        Ok(Self {
            tools: tools::Tools::node()?,
            base: rootfs::NODE.ensure()?,
            proxy_base: rootfs::PROXY.ensure()?,
        })
    }

    /// Returns the name of the image in the engine, and makes the image if it is missing.
    pub fn image(&self, engine: &Engine) -> Result<String> {
        let name = format!("{NAME}:{}", self.key()?);
        if !engine.has_image(&name) {
            remove_older(engine, NAME)?;
            progress::step("making the image of a node (about 30 seconds, once)", || {
                self.make(&name, engine)
            })?;
        }
        Ok(name)
    }

    /// A hash of everything that goes into the image.
    fn key(&self) -> Result<String> {
        let mut inputs: Vec<Vec<u8>> = Vec::new();
        for path in self.tools.paths().into_iter().chain([self.base.as_path(), &self.proxy_base]) {
            inputs.push(path.as_os_str().as_encoded_bytes().to_vec());
        }
        for file in files(&sources())? {
            inputs.push(file.as_os_str().as_encoded_bytes().to_vec());
            inputs.push(fs::read(&file)?);
        }
        inputs.push(include_bytes!("node.rs").to_vec());
        Ok(tools::key(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }

    fn make(&self, name: &str, engine: &Engine) -> Result<()> {
        let scratch = paths::scratch_dir("node")?;
        let made = self.make_in(&scratch, name, engine);
        // It is large, and nothing reads it again.
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
        made
    }

    fn make_in(&self, scratch: &Path, name: &str, engine: &Engine) -> Result<()> {
        let root = scratch.join("root");
        fs::create_dir(&root)?;
        let images = self.images(scratch)?;
        self.install(&root, &images)?;
        preload(&images, &root, scratch)?;
        let layer = scratch.join("node-layer.tar");
        pack(&root, &layer)?;
        let image = Image {
            name,
            config: json!({
                "Entrypoint": ["/usr/local/bin/entrypoint", "/lib/systemd/systemd"],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=docker"],
                "StopSignal": "SIGRTMIN+3",
            }),
            layers: vec![Layer::Tar(self.base.clone()), Layer::Tar(layer)],
        };
        let archive = scratch.join("node.tar");
        image.write(&archive, &work_dir(scratch, "node")?)?;
        engine.docker(&["load", "--input", &archive.to_string_lossy()], DEADLINE).map(drop)
    }

    /// Makes the images that kubeadm expects, each as a file.
    fn images(&self, scratch: &Path) -> Result<Vec<ControlPlaneImage>> {
        let kubeadm = Spec::new("kubeadm", self.tools.program("kubeadm")).args([
            "config",
            "images",
            "list",
            "--kubernetes-version",
            &NodeTools::version(),
        ]);
        let names = command::run("kubeadm config images list", kubeadm, DEADLINE)?;
        // Warnings (there is no network, for example) are sentences.
        let names: Vec<&str> =
            names.lines().filter(|line| line.contains('/') && !line.contains(char::is_whitespace)).collect();
        if names.is_empty() {
            bail!("kubeadm names no image");
        }
        names.into_iter().map(|name| self.control_plane_image(name, scratch)).collect()
    }

    fn control_plane_image(&self, name: &str, scratch: &Path) -> Result<ControlPlaneImage> {
        let program = name.rsplit('/').next().and_then(|last| last.split(':').next()).unwrap_or_default();
        let root = work_dir(scratch, &format!("{program}-root"))?;
        fs::copy(self.tools.program(program), root.join(program))
            .with_context(|| format!("kubeadm expects {name}, and there is no {program} to make it of"))?;
        let mut layers = vec![Layer::Dir(root.clone())];
        if program == "kube-proxy" {
            // It calls iptables; its base has the nft variants.
            let sbin = root.join("usr/sbin");
            fs::create_dir_all(&sbin)?;
            for family in ["iptables", "ip6tables"] {
                for suffix in ["", "-save", "-restore"] {
                    symlink(format!("{family}-nft{suffix}"), sbin.join(format!("{family}{suffix}")))?;
                }
            }
            // The path in its DaemonSet.
            fs::create_dir_all(root.join("usr/local/bin"))?;
            fs::rename(root.join(program), root.join("usr/local/bin").join(program))?;
            layers.insert(0, Layer::Tar(self.proxy_base.clone()));
        }
        let image = Image { name, config: config(program), layers };
        let archive = scratch.join(format!("{program}.tar"));
        image.write(&archive, &work_dir(scratch, program)?)?;
        Ok(ControlPlaneImage { name: name.to_owned(), program: program.to_owned(), archive })
    }

    /// Copies the files of a node into its root directory.
    fn install(&self, root: &Path, images: &[ControlPlaneImage]) -> Result<()> {
        let copy = Spec::new("cp", "cp").arg("-a").arg(sources().join(".")).arg(root);
        command::run("cp", copy, DEADLINE)?;
        let bin = root.join("usr/bin");
        fs::create_dir_all(&bin)?;
        for program in ["kubelet", "kubeadm", "kubectl", "crictl"] {
            let from = self.tools.program(program);
            fs::copy(&from, bin.join(program)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let pause =
            images.iter().find(|image| image.program == "pause").context("kubeadm names no pause image")?;
        let containerd = root.join("etc/containerd/config.toml");
        let text = fs::read_to_string(&containerd)?.replace("@PAUSE@", &pause.name);
        fs::write(&containerd, text)?;
        // kind reads the version of Kubernetes from this file.
        fs::write(root.join("kind/version"), NodeTools::version())?;
        let units = root.join("etc/systemd/system");
        let wanted = units.join("multi-user.target.wants");
        fs::create_dir_all(&wanted)?;
        symlink("/lib/systemd/system/containerd.service", wanted.join("containerd.service"))?;
        symlink("/etc/systemd/system/kubelet.service", wanted.join("kubelet.service"))?;
        symlink("/lib/systemd/system/multi-user.target", units.join("default.target"))?;
        for unit in MASKED {
            symlink("/dev/null", units.join(unit))?;
        }
        for dir in ["etc/kubernetes/manifests", "etc/cni/net.d", "var/lib/kubelet", "var/lib/containerd"] {
            fs::create_dir_all(root.join(dir))?;
        }
        Ok(())
    }
}

/// An image that kubeadm expects, as a file.
#[derive(Debug)]
struct ControlPlaneImage {
    name: String,
    program: String,
    archive: PathBuf,
}

fn config(program: &str) -> Value {
    let user = match program {
        "coredns" => "65532:65532",
        "pause" => "65535:65535",
        _ => "0:0",
    };
    match program {
        "kube-proxy" => json!({"Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}),
        _ => json!({"Entrypoint": [format!("/{program}")], "Env": ["PATH=/"], "User": user}),
    }
}

/// Imports images into the store of containerd in a root directory, without unpacking them: a node unpacks an image
/// when it first runs it.
fn preload(images: &[ControlPlaneImage], root: &Path, scratch: &Path) -> Result<()> {
    // The path of a socket has at most 107 characters, and the target directory may be longer.
    let run = std::env::temp_dir().join(format!("rig-containerd-{}", std::process::id()));
    fs::create_dir_all(&run)?;
    let socket = run.join("socket");
    let settings = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
        root.join("var/lib/containerd"),
        run.join("state"),
        socket
    );
    let file = scratch.join("containerd.toml");
    fs::write(&file, settings)?;
    let containerd = Spec::new("containerd", "containerd")
        .arg("--config")
        .arg(&file)
        .env("PATH", system::path())
        .data(&run)
        .start()?;
    let ctr = |args: &[&str]| Spec::new("ctr", "ctr").arg("--address").arg(&socket).args(args);
    let imported = containerd
        .wait_ready(DEADLINE, || command::succeeds(ctr(&["version"]), Duration::from_secs(5)))
        .and_then(|()| import(images, ctr));
    // Also after an error: containerd works in directories that are removed next.
    end(&containerd)?;
    imported?;
    // containerd mounts images here while it reads them.
    let mounts = root.join("var/lib/containerd/tmpmounts");
    if mounts.is_dir() {
        fs::remove_dir(&mounts).with_context(|| format!("cannot remove {}", mounts.display()))?;
    }
    Ok(())
}

fn import(images: &[ControlPlaneImage], ctr: impl Fn(&[&str]) -> Spec) -> Result<()> {
    images.iter().try_for_each(|image| {
        let archive = image.archive.to_string_lossy();
        let spec = ctr(&["--namespace", "k8s.io", "images", "import", "--no-unpack", &archive]);
        command::run("ctr images import", spec, DEADLINE).map(drop)
    })
}

fn end(process: &Process) -> Result<()> {
    process.close();
    process.wait_ended(DEADLINE).map(drop)
}

fn work_dir(scratch: &Path, name: &str) -> Result<PathBuf> {
    let dir = scratch.join(format!("work-{name}"));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// The directory of the text files of a node.
fn sources() -> PathBuf {
    paths::sources().join("src/kind/offline/node/rootfs")
}

/// All files below a directory, sorted.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}
