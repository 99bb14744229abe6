//! `rig tools`: makes everything that the tests need, ahead of the tests.

use anyhow::Result;
use rig::{Tools, system};

/// Builds and installs what is missing, and says where all of it is; or, for `system`, installs packages of the
/// system alone.
pub fn run(of_system: bool) -> Result<()> {
    if of_system {
        return system::ensure_all();
    }
    let (tools, helm, kstatus, flux) =
        (Tools::ensure()?, Tools::helm()?, Tools::kstatus()?, Tools::flux_crds()?);
    for path in
        [&tools.etcd, &tools.kube_apiserver, &tools.kubectl, &tools.python, &helm, kstatus.path(), &flux]
    {
        println!("{}", path.display());
    }
    Ok(())
}
