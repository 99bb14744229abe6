//! Root file systems of Debian, put together of its packages: what images are based on where none can be pulled.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::command;
use crate::process::Spec;
use crate::progress;
use crate::system;
use crate::tools;

/// The release of Debian.
const SUITE: &str = "bookworm";

/// What no program reads.
const LEFT_OUT: [&str; 4] = ["doc", "man", "locale", "i18n"];

/// How long one may take: far above the usual minute or two, for a slow mirror.
const MAKE: Duration = Duration::from_secs(1200);

/// A root file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rootfs {
    name: &'static str,
    /// How much of Debian there is beside the packages, in mmdebstrap's word for it.
    variant: &'static str,
    packages: &'static str,
}

/// What a node has: systemd, and what containerd, kubelet and kubeadm call.
pub(super) const NODE: Rootfs = Rootfs {
    name: "node-base",
    variant: "essential",
    packages: "systemd,dbus,containerd,runc,containernetworking-plugins,iptables,conntrack,iproute2,ethtool,kmod,\
               mount,procps,ca-certificates",
};

/// What kube-proxy calls. Its packages are unpacked and no more.
pub(super) const PROXY: Rootfs =
    Rootfs { name: "proxy-base", variant: "extract", packages: "iptables,conntrack,kmod,libc-bin" };

/// A Python, for the emulator.
pub(super) const PYTHON: Rootfs =
    Rootfs { name: "python-base", variant: "extract", packages: "python3,libpython3-stdlib,libc-bin" };

impl Rootfs {
    /// The tar file that holds it, made by whoever asks first.
    pub fn ensure(self) -> Result<PathBuf> {
        let Self { name, variant, packages } = self;
        let inputs = [SUITE, variant, packages].map(str::as_bytes);
        let dir = tools::once(name, &inputs, |dir| {
            let what = format!("putting {name} together of Debian's packages (about a minute, once)");
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
