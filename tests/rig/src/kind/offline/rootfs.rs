//! Root file systems made of Debian packages: the base of images where no image can be pulled.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::kind::command;
use crate::process::Spec;
use crate::progress;
use crate::system;
use crate::tools;

/// The release of Debian.
const SUITE: &str = "bookworm";

/// Directories below /usr/share that no program reads.
const LEFT_OUT: [&str; 4] = ["doc", "man", "locale", "i18n"];

/// How long making one may take: far above the usual minute or two, for a slow mirror.
const MAKE: Duration = Duration::from_secs(1200);

/// A root file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rootfs {
    name: &'static str,
    /// mmdebstrap's `--variant`: how much of Debian there is besides the packages.
    variant: &'static str,
    packages: &'static str,
}

/// A node: systemd, and the programs that containerd, kubelet and kubeadm call.
pub(super) const NODE: Rootfs = Rootfs {
    name: "node-base",
    variant: "essential",
    packages: "systemd,dbus,containerd,runc,containernetworking-plugins,iptables,conntrack,iproute2,ethtool,kmod,\
               mount,procps,ca-certificates",
};

/// The programs that kube-proxy calls. The packages are unpacked, not configured.
pub(super) const PROXY: Rootfs =
    Rootfs { name: "proxy-base", variant: "extract", packages: "iptables,conntrack,kmod,libc-bin" };

/// Python, for the emulator.
pub(super) const PYTHON: Rootfs =
    Rootfs { name: "python-base", variant: "extract", packages: "python3,libpython3-stdlib,libc-bin" };

impl Rootfs {
    /// Returns the path of its tar file; the first call makes it.
    pub fn ensure(self) -> Result<PathBuf> {
        let Self { name, variant, packages } = self;
        let inputs = [SUITE, variant, packages].map(str::as_bytes);
        let dir = tools::once(name, &inputs, |dir| {
            let what = format!("making {name} from Debian packages (about a minute, once)");
            progress::step(&what, || {
                let options = LEFT_OUT.map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*"));
                let spec = Spec::new("mmdebstrap", "mmdebstrap")
                    .args(["--quiet", &format!("--variant={variant}"), &format!("--include={packages}")])
                    .args(options)
                    .arg(SUITE)
                    .arg(dir.join("rootfs.tar"))
                    .env("PATH", system::path());
                command::run("mmdebstrap", spec, MAKE)
            })
            .map(drop)
        })?;
        Ok(dir.join("rootfs.tar"))
    }
}
