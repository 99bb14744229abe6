//! `rig tools`: makes everything that the tests need, ahead of the tests.

use anyhow::Result;
use rig::{Tools, system};

/// Builds and installs what is missing, and says where all of it is; or, for `system`, installs packages of the
/// system alone.
pub fn run(of_system: bool) -> Result<()> {
    if of_system {
        return system::ensure_all();
    }
    let tools = Tools::ensure()?;
    let (helm, krew, kstatus, flux) =
        (Tools::helm()?, Tools::krew()?, Tools::kstatus()?, Tools::flux_crds()?);
    let of_deploy = [helm.as_path(), &krew, kstatus.path(), &flux];
    for path in [tools.etcd.as_path(), &tools.kube_apiserver, &tools.kubectl, &tools.python]
        .into_iter()
        .chain(of_deploy)
    {
        println!("{}", path.display());
    }
    Ok(())
}
