//! `suspend` and `resume`: set `spec.suspend` of resources.
//!
//! In: the names of the resources. Out: the field in the cluster, and a line for each resource that says what that
//! means, and which GitOps tool would change it back. One that fails does not keep the others from it.

use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;
use kube::core::ObjectMeta;

use crate::cli::kubernetes::{KubeArgs, Kubernetes, KubernetesError, object_name};
use crate::cli::output::{PrintError, complain, print};

#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// Names of BucketReplications
    #[arg(required = true, value_name = "NAME", value_parser = object_name)]
    names: Vec<String>,
    #[command(flatten)]
    kubernetes: KubeArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum SuspendError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Suspends the resources, or resumes them.
pub async fn suspend(
    args: &SuspendArgs,
    suspend: bool,
    typed: &'static str,
) -> Result<ExitCode, SuspendError> {
    let kubernetes = args.kubernetes.connect().await?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        match suspend_one(&kubernetes, name, suspend, typed).await {
            Ok(text) => print(&text)?,
            // As kubectl: in an incident the others are to be suspended nevertheless.
            Err(error) => {
                complain(&format!("error: {error}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Suspends a resource, or resumes it. Returns what that means.
async fn suspend_one(
    kubernetes: &Kubernetes,
    name: &str,
    suspend: bool,
    typed: &'static str,
) -> Result<String, KubernetesError> {
    let resource = kubernetes.decoded(name, typed).await?;
    let changes = resource.spec.suspend != suspend;
    if changes {
        kubernetes.set_suspended(name, suspend).await?;
    }
    let mut text = report(&kubernetes.namespace, name, suspend, changes);
    if let Some(tool) = applier(&resource.metadata).filter(|_| changes) {
        text.push_str(&format!(
            "  {tool} applies {}: set suspend: {suspend} in its manifest too, or {tool} changes it back\n",
            resource.name_any()
        ));
    }
    Ok(text)
}

fn report(namespace: &str, name: &str, suspend: bool, changes: bool) -> String {
    match (suspend, changes) {
        (true, true) => format!(
            "{namespace}/{name} is suspended: the operator checks nothing, and S3 goes on replicating as configured\n"
        ),
        (true, false) => format!("{namespace}/{name} was suspended already\n"),
        (false, true) => format!("{namespace}/{name} is resumed: the operator checks it now\n"),
        (false, false) => format!("{namespace}/{name} was not suspended\n"),
    }
}

/// The GitOps tool that applies an object, by the marks that it leaves.
fn applier(metadata: &ObjectMeta) -> Option<&'static str> {
    let labels = metadata.labels.iter().flatten().map(|(key, _)| key.as_str());
    let annotations = metadata.annotations.iter().flatten().map(|(key, _)| key.as_str());
    labels.chain(annotations).find_map(|key| match key {
        "kustomize.toolkit.fluxcd.io/name" | "helm.toolkit.fluxcd.io/name" => Some("Flux"),
        "argocd.argoproj.io/tracking-id" | "argocd.argoproj.io/instance" => Some("Argo CD"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_tool_that_would_change_it_back_is_named() {
        let marked = |key: &str| {
            let marks = Some(BTreeMap::from([(key.to_owned(), "a".to_owned())]));
            applier(&ObjectMeta { annotations: marks, ..ObjectMeta::default() })
        };
        assert_eq!(marked("argocd.argoproj.io/tracking-id"), Some("Argo CD"));
        assert_eq!(marked("kustomize.toolkit.fluxcd.io/name"), Some("Flux"));
        assert_eq!(marked("team"), None);
    }
}
