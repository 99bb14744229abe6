//! Kubernetes' controllers, which the rig's cluster lacks otherwise, for tests that need them: a Deployment that makes
//! pods, a deletion that waits for owned objects, a namespace that is emptied.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Cluster;
use crate::process::{Process, Spec};

/// No others: nothing here runs pods, and one that waited for nodes would take them for lost.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,deployment-controller,\
                           replicaset-controller,disruption-controller";

/// Controllers at work on a cluster. Dropping this ends them.
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
