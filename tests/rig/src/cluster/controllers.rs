//! The controllers of Kubernetes, for tests that need them: Deployments create pods, deletions wait for owned objects,
//! and deleted namespaces are emptied. Without them the rig's cluster does none of this.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Cluster;
use crate::process::{Process, Spec};

/// No other controllers: nothing here runs pods, and a controller for nodes would report them as lost.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,deployment-controller,\
                           replicaset-controller,disruption-controller";

/// The controllers of one cluster. Dropping this ends them.
#[derive(Debug)]
pub struct Controllers {
    _process: Process,
}

impl Controllers {
    /// Starts them. Tests wait for their effects in the cluster.
    pub fn start(program: &Path, cluster: &Cluster) -> Result<Self> {
        let config = cluster.admin_kubeconfig();
        let process = Spec::new("kube-controller-manager", program)
            .arg("--kubeconfig")
            .arg(config)
            .arg(format!("--controllers={CONTROLLERS}"))
            .args(["--leader-elect=false", "--use-service-account-credentials=false"])
            // It serves no requests.
            .arg("--secure-port=0")
            .grace(Duration::from_secs(1))
            .start()?;
        Ok(Self { _process: process })
    }
}
