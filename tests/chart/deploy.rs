//! What is in `deploy/`: generated from the chart, or held equal to it, and taken by the API server.
//!
//! `UPDATE_DEPLOY=1 cargo test --test chart` writes the generated files anew.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::argocd;
use crate::support::{
    NAMESPACE, RELEASE, accepted, cluster, container, documents, kubectl, name, read, rendered,
    rendered_with, repository, the,
};

const CHART: &str = "charts/s3-replication-operator";
const HOW: &str = "UPDATE_DEPLOY=1 cargo test --test chart";

/// A rendered text without what speaks of Helm, which these files do without.
fn plain(text: &str) -> String {
    let of_helm = ["# Source: ", "helm.sh/chart: ", "app.kubernetes.io/managed-by: Helm"];
    let kept = text.lines().filter(|line| !of_helm.iter().any(|words| line.trim_start().starts_with(words)));
    kept.map(|line| format!("{line}\n")).collect()
}

/// Everything for `kubectl apply`, the namespace first.
fn install() -> Result<String> {
    let rendered = rendered_with(&["--skip-tests"], RELEASE, NAMESPACE, &json!({}))?;
    Ok(format!(
        "# The operator with the chart's own values, for kubectl apply. Generated: {HOW}\n\
         apiVersion: v1\n\
         kind: Namespace\n\
         metadata:\n  \
           name: {NAMESPACE}\n  \
           labels:\n    \
             pod-security.kubernetes.io/enforce: restricted\n\
         {}",
        plain(&rendered)
    ))
}

/// What the overlay for monitoring adds.
fn monitoring() -> Result<String> {
    let on = json!({"enabled": true});
    let values = json!({
        "networkPolicy": on,
        "monitoring": {"serviceMonitor": on, "prometheusRule": on, "dashboard": on},
    });
    let only = ["-s", "templates/monitoring.yaml", "-s", "templates/networkpolicy.yaml"];
    Ok(format!("# Generated: {HOW}\n{}", plain(&rendered_with(&only, RELEASE, NAMESPACE, &values)?)))
}

/// The health check as part of the ConfigMap that Argo CD reads.
fn argocd_cm() -> Result<String> {
    let mut text = format!(
        "# To be merged into Argo CD's own ConfigMap: kubectl patch cm argocd-cm -n argocd --patch-file argocd-cm.yaml\n\
         # Generated: {HOW}\n\
         apiVersion: v1\n\
         kind: ConfigMap\n\
         metadata:\n  \
           name: argocd-cm\n  \
           namespace: argocd\n\
         data:\n"
    );
    for kind in argocd::KINDS {
        let script = read(&format!("{}/{kind}/health.lua", argocd::FOLDER))?;
        text += &format!("  resource.customizations.health.s3replication.dev_{kind}: |\n");
        text.extend(script.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n"));
    }
    Ok(text)
}

/// Each generated file, with what it is to hold.
fn generated() -> Result<Vec<(String, String)>> {
    let [first, second] = argocd::KINDS;
    let mut files = vec![
        ("deploy/install.yaml".to_owned(), install()?),
        ("deploy/kustomize/base/install.yaml".to_owned(), install()?),
        ("deploy/kustomize/overlays/monitoring/monitoring.yaml".to_owned(), monitoring()?),
        ("deploy/prometheus/alerts.yaml".to_owned(), read(&format!("{CHART}/files/alerts.yaml"))?),
        ("deploy/grafana/dashboard.json".to_owned(), read(&format!("{CHART}/files/dashboard.json"))?),
        // One script for both kinds; Argo CD looks for one a kind.
        (
            format!("{}/{second}/health.lua", argocd::FOLDER),
            read(&format!("{}/{first}/health.lua", argocd::FOLDER))?,
        ),
        ("deploy/argocd/argocd-cm.yaml".to_owned(), argocd_cm()?),
    ];
    for entry in fs::read_dir(repository("crds"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        files.push((format!("{CHART}/files/crds/{name}"), read(&format!("crds/{name}"))?));
    }
    Ok(files)
}

#[test]
fn every_generated_file_is_up_to_date() -> Result<()> {
    let update = std::env::var_os("UPDATE_DEPLOY").is_some();
    // Some are made of others: as often as needed until nothing changes.
    for _ in 0..3 {
        for (path, text) in generated()?.into_iter().filter(|_| update) {
            fs::write(repository(&path), text)?;
        }
    }
    for (path, text) in generated()? {
        ensure!(read(&path).unwrap_or_default() == text, "{path} is not up to date: run {HOW}");
    }
    Ok(())
}

/// What `kubectl kustomize` makes of a folder.
async fn built(folder: &str) -> Result<(String, Vec<Value>)> {
    let folder = repository(&format!("deploy/kustomize/{folder}"));
    let text = kubectl(cluster().await?, &["kustomize", &folder.to_string_lossy()], "")?;
    let objects = documents(&text)?;
    Ok((text, objects))
}

/// Objects by kind and name, in an order of their own.
fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|o| format!("{} {}", o["kind"], name(o)));
    objects
}

#[tokio::test]
async fn install_yaml_is_what_the_chart_installs_and_is_accepted() -> Result<()> {
    let text = read("deploy/install.yaml")?;
    accepted(cluster().await?, &text)?;
    let mut charted = rendered(&json!({}))?;
    charted.retain(|object| object["kind"] != "Pod");
    for object in &mut charted {
        let labels = object["metadata"]["labels"].as_object_mut().context("labels")?;
        labels.remove("helm.sh/chart");
        labels.remove("app.kubernetes.io/managed-by");
    }
    let mut installed = documents(&text)?;
    assert_eq!(installed.remove(0)["kind"], "Namespace");
    assert_eq!(sorted(installed), sorted(charted));
    assert!(!text.contains("Helm"), "nothing here is Helm's");
    Ok(())
}

#[tokio::test]
async fn kustomize_builds_the_base_and_each_overlay_for_the_api_server() -> Result<()> {
    let cluster = cluster().await?;
    let (text, base) = built("base").await?;
    accepted(cluster, &text)?;
    assert_eq!(sorted(base.clone()), sorted(documents(&read("deploy/install.yaml")?)?));

    let (text, eks) = built("overlays/eks").await?;
    accepted(cluster, &text)?;
    let operator = container(the(&eks, "Deployment")?);
    let image = operator["image"].as_str().unwrap_or_default();
    assert!(
        image.starts_with("111122223333.dkr.ecr.") && image.ends_with(env!("CARGO_PKG_VERSION")),
        "{image}"
    );
    let env = operator["env"].as_array().context("env")?;
    assert!(env.contains(&json!({"name": "AWS_REGION", "value": "eu-west-1"})), "{env:?}");
    assert_eq!(env.len(), container(the(&base, "Deployment")?)["env"].as_array().map_or(0, Vec::len) + 1);
    let account = the(&eks, "ServiceAccount")?;
    assert_eq!(
        account["metadata"]["annotations"],
        json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/s3-replication-operator"})
    );

    let (text, watched) = built("overlays/monitoring").await?;
    accepted(cluster, &text)?;
    for kind in ["NetworkPolicy", "ServiceMonitor", "PrometheusRule", "ConfigMap"] {
        the(&watched, kind)?;
    }
    assert_eq!(watched.len(), base.len() + 4);
    Ok(())
}

/// The values that a manifest hands to the chart install the operator where the manifest says.
async fn installs(values: &Value, release: &Value, namespace: &Value) -> Result<()> {
    assert_eq!((release, namespace), (&json!(RELEASE), &json!(NAMESPACE)));
    accepted(cluster().await?, &rendered_with(&[], RELEASE, NAMESPACE, values)?)?;
    let objects = rendered(values)?;
    // Two replicas of an image that is somewhere, with an identity.
    assert!(container(the(&objects, "Deployment")?)["image"].as_str().is_some_and(|i| i.contains('/')));
    assert!(the(&objects, "ServiceAccount")?["metadata"]["annotations"].is_object());
    Ok(())
}

#[tokio::test]
async fn the_application_of_argo_cd_installs_the_chart() -> Result<()> {
    let applications = documents(&read("deploy/argocd/application.yaml")?)?;
    let [operator, resources] = applications.as_slice() else { anyhow::bail!("two Applications") };
    let source = &operator["spec"]["source"];
    assert_eq!((&source["path"], &source["targetRevision"]), (&json!(CHART), &version_tag()));
    let namespace = &operator["spec"]["destination"]["namespace"];
    installs(&source["helm"]["valuesObject"], &source["helm"]["releaseName"], namespace).await?;
    // The resources come after the operator and go, with their finalizers, while it is there.
    let wave = |o: &Value| o["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"].clone();
    assert_eq!((wave(operator), wave(resources)), (json!("0"), json!("1")));
    assert_eq!(
        resources["metadata"]["finalizers"],
        json!(["resources-finalizer.argocd.argoproj.io/foreground"])
    );
    Ok(())
}

#[tokio::test]
async fn the_release_of_flux_installs_the_chart() -> Result<()> {
    let objects = documents(&read("deploy/flux/release.yaml")?)?;
    let release = the(&objects, "HelmRelease")?;
    let source = the(&objects, "GitRepository")?;
    assert_eq!(source["spec"]["ref"]["tag"], version_tag());
    let chart = &release["spec"]["chart"]["spec"];
    assert_eq!(chart["chart"], json!(format!("./{CHART}")));
    assert_eq!(chart["sourceRef"], json!({"kind": "GitRepository", "name": name(source)}));
    let spec = &release["spec"];
    installs(&spec["values"], &spec["releaseName"], &release["metadata"]["namespace"]).await?;
    Ok(())
}

fn version_tag() -> Value {
    json!(format!("v{}", env!("CARGO_PKG_VERSION")))
}
