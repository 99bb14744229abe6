//! The files in `deploy/`: each is generated from the chart or compared with it, and the API server accepts it.
//!
//! The files in the chart's `files/` are links to those in `crds/` and `deploy/`.
//!
//! `UPDATE_DEPLOY=1 cargo test --test deploy` writes the generated files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::argocd;
use crate::support::{
    NAMESPACE, RELEASE, accepted, chart, container, documents, helm, kubectl, name, prepare_cluster, read,
    rendered, rendered_text, rendered_with, repository, the,
};

const CHART: &str = "charts/s3-replication-operator";
const HOW: &str = "UPDATE_DEPLOY=1 cargo test --test deploy";

/// A rendered text without what speaks of Helm, which these files do without.
fn plain(text: &str) -> String {
    let of_helm = ["# Source: ", "helm.sh/chart: ", "app.kubernetes.io/managed-by: Helm"];
    let kept = text.lines().filter(|line| !of_helm.iter().any(|words| line.trim_start().starts_with(words)));
    kept.map(|line| format!("{line}\n")).collect()
}

/// Everything for `kubectl apply`, the namespace first.
fn install() -> Result<String> {
    let rendered = rendered_text(RELEASE, NAMESPACE, &json!({}))?;
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

/// Each generated file, with its contents.
fn generated() -> Result<[(&'static str, String); 2]> {
    Ok([("deploy/install.yaml", install()?), ("deploy/argocd/argocd-cm.yaml", argocd_cm()?)])
}

#[test]
fn every_generated_file_is_up_to_date() -> Result<()> {
    let update = std::env::var_os("UPDATE_DEPLOY").is_some();
    for (path, text) in generated()? {
        if update {
            fs::write(repository(path), &text)?;
        }
        ensure!(read(path).unwrap_or_default() == text, "{path} is not up to date: run {HOW}");
    }
    Ok(())
}

/// The objects that `kubectl kustomize` builds from `deploy/`, with these components as a user adds them; the API
/// server accepts them.
async fn built(components: &[&str]) -> Result<Vec<Value>> {
    let copy = rig::paths::scratch_dir("kustomize")?;
    copy_tree(&repository("deploy"), &copy)?;
    let file = copy.join("kustomization.yaml");
    let mut text = fs::read_to_string(&file)?;
    for component in components {
        let line = format!("#  - kustomize/{component}\n");
        ensure!(text.contains(&line), "deploy/kustomization.yaml does not offer {component}");
        text = text.replace(&line, &format!("  - kustomize/{component}\n"));
    }
    fs::write(&file, text)?;
    let cluster = prepare_cluster().await?;
    let text = kubectl(cluster, &["kustomize", &copy.to_string_lossy()], "")?;
    accepted(cluster, &text)?;
    documents(&text)
}

/// Copies a folder, with the files that links lead to.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a file without a name")?);
        match path.is_dir() {
            true => copy_tree(&path, &target)?,
            false => fs::copy(&path, target).map(drop)?,
        }
    }
    Ok(())
}

/// Objects by kind and name, in an order of their own.
fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|o| format!("{} {}", o["kind"], name(o)));
    objects
}

#[tokio::test]
async fn install_yaml_is_what_the_chart_installs_and_is_accepted() -> Result<()> {
    let text = read("deploy/install.yaml")?;
    accepted(prepare_cluster().await?, &text)?;
    let mut charted = rendered(&json!({}))?;
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
async fn kustomize_builds_the_base_and_each_component_for_the_api_server() -> Result<()> {
    let base = built(&[]).await?;
    assert_eq!(sorted(base.clone()), sorted(documents(&read("deploy/install.yaml")?)?));

    let eks = built(&["eks"]).await?;
    assert_eq!(eks.len(), base.len());
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

    let both = built(&["eks", "monitoring"]).await?;
    assert_eq!(both.len(), eks.len() + MONITORING.len());
    Ok(())
}

/// The objects that the component for monitoring adds.
const MONITORING: [&str; 3] = ["ServiceMonitor", "PrometheusRule", "ConfigMap"];

#[tokio::test]
async fn the_component_for_monitoring_adds_what_the_chart_adds() -> Result<()> {
    let component = built(&["monitoring"]).await?;
    let on = json!({"enabled": true});
    let monitoring = json!({"serviceMonitor": on, "prometheusRule": on, "dashboard": on});
    let charted = rendered(&json!({"monitoring": monitoring}))?;
    for kind in MONITORING {
        let (own, theirs) = (the(&component, kind)?, the(&charted, kind)?);
        for part in ["/spec", "/data/s3-replication-operator.json", "/metadata/name", "/metadata/namespace"] {
            let trimmed = |object: &Value| match object.pointer(part) {
                Some(Value::String(text)) => json!(text.trim_end()),
                other => json!(other),
            };
            assert_eq!(trimmed(own), trimmed(theirs), "{kind} {part}");
        }
    }
    let label = json!({"grafana_dashboard": "1"});
    assert_eq!(the(&component, "ConfigMap")?["metadata"]["labels"], label);
    Ok(())
}

#[test]
fn the_packaged_chart_holds_what_its_links_lead_to() -> Result<()> {
    let dir = rig::paths::scratch_dir("package")?;
    let packed = helm(&["package", &chart().to_string_lossy(), "-d", &dir.to_string_lossy()], &Value::Null)?;
    ensure!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let archive = dir.join(format!("s3-replication-operator-{}.tgz", env!("CARGO_PKG_VERSION")));
    let on = json!({"enabled": true});
    let values =
        json!({"monitoring": {"serviceMonitor": on, "prometheusRule": on, "dashboard": on}}).to_string();
    let template = |chart: &Path| -> Result<Vec<Value>> {
        let args = ["template", RELEASE, &chart.to_string_lossy(), "-n", NAMESPACE, "-f", "-"];
        let output = helm(&args, &serde_json::from_str(&values)?)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        documents(&String::from_utf8(output.stdout)?)
    };
    assert_eq!(template(&archive)?, template(&chart())?);

    // A copy without its links must not install less.
    let copy = dir.join("unlinked");
    copy_tree(&chart(), &copy)?;
    for (file, switched_off) in [
        ("crds", json!({"crds": {"install": false}})),
        ("alerts.yaml", json!({"monitoring": {"prometheusRule": {"enabled": false}}})),
        ("dashboard.json", json!({"monitoring": {"dashboard": {"enabled": false}}})),
    ] {
        let (path, aside) = (copy.join("files").join(file), dir.join("aside"));
        fs::rename(&path, &aside)?;
        let printed = format!("{:#}", template(&copy).expect_err(file));
        ensure!(
            printed.contains(&format!("has no files/{file}")) && printed.contains("helm package"),
            "{printed}"
        );
        let chart = copy.to_string_lossy();
        let output = helm(&["template", RELEASE, &chart, "-f", "-"], &switched_off)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&aside, &path)?;
    }
    Ok(())
}

/// The values that a manifest hands to the chart install the operator where the manifest says.
async fn installs(values: &Value, release: &Value, namespace: &Value) -> Result<()> {
    assert_eq!((release, namespace), (&json!(RELEASE), &json!(NAMESPACE)));
    accepted(prepare_cluster().await?, &rendered_with(&[], RELEASE, NAMESPACE, values)?)?;
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
    let source = the(&objects, "OCIRepository")?;
    assert_eq!(source["spec"]["ref"]["tag"], env!("CARGO_PKG_VERSION"));
    let url = source["spec"]["url"].as_str().unwrap_or_default();
    assert!(url.starts_with("oci://") && url.ends_with("/s3-replication-operator"), "{url}");
    assert_eq!(release["spec"]["chartRef"], json!({"kind": "OCIRepository", "name": name(source)}));
    let spec = &release["spec"];
    installs(&spec["values"], &spec["releaseName"], &release["metadata"]["namespace"]).await
}

fn version_tag() -> Value {
    json!(format!("v{}", env!("CARGO_PKG_VERSION")))
}
