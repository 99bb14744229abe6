//! `rig tools`: makes everything that the tests need, ahead of the tests.

use anyhow::Result;
use rig::Tools;

/// Builds and installs what is missing, and says where all of it is.
pub fn run() -> Result<()> {
    let (tools, helm, kstatus, flux) =
        (Tools::ensure()?, Tools::helm()?, Tools::kstatus()?, Tools::flux_crds()?);
    for path in
        [&tools.etcd, &tools.kube_apiserver, &tools.kubectl, &tools.python, &helm, kstatus.path(), &flux]
    {
        println!("{}", path.display());
    }
    Ok(())
}
