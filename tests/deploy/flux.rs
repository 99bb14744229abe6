//! The manifests for Flux, applied to an API server with Flux's own definitions.

use anyhow::{Context, Result, bail};
use rig::{Cluster, Tools};
use serde_json::{Value, json};

use crate::support::{accepted, documents, name, of_kind, prepare_cluster, read, the, yaml_in_page};

const FILES: [&str; 2] = ["deploy/flux/release.yaml", "deploy/flux/kustomizations.yaml"];

/// The API server, which knows the kinds of Flux.
async fn flux() -> Result<&'static Cluster> {
    let cluster = prepare_cluster().await?;
    cluster.apply_crds(&Tools::flux_crds()?)?;
    Ok(cluster)
}

#[tokio::test]
async fn flux_s_own_definitions_take_the_manifests_and_refuse_what_is_misspelt() -> Result<()> {
    let cluster = flux().await?;
    for file in FILES {
        accepted(cluster, &read(file)?).with_context(|| file.to_owned())?;
    }
    let all = documents(&read(FILES[1])?)?;
    let mut suspending = (*of_kind(&all, "Kustomization").last().context("no Kustomization")?).clone();
    let page = yaml_in_page("docs/gitops.md", "healthCheckExprs")?;
    for (field, value) in page["spec"].as_object().context("spec")? {
        suspending["spec"][field] = value.clone();
    }
    accepted(cluster, &suspending.to_string()).context("docs/gitops.md")?;

    // These definitions do refuse mistakes.
    let mistakes: [(&str, &str, Value); 5] = [
        ("Kustomization", "/spec/deletionPolicy", json!("Wait")),
        ("Kustomization", "/spec/healthChecks/0/kynd", json!("BucketReplication")),
        ("Kustomization", "/spec/timeout", json!("five minutes")),
        ("HelmRelease", "/spec/driftDetection/mode", json!("on")),
        ("OCIRepository", "/spec/ref/tags", json!("v1")),
    ];
    for (kind, path, wrong) in mistakes {
        let all = documents(&(read(FILES[0])? + "\n---\n" + &read(FILES[1])?))?;
        let mut object = (*of_kind(&all, kind).last().context("no such kind")?).clone();
        let (parent, field) = path.rsplit_once('/').context("a path")?;
        object.pointer_mut(parent).context(path)?[field] = wrong;
        let Err(error) = accepted(cluster, &object.to_string()) else {
            bail!("{path} is accepted: {object:#}")
        };
        let refusal = format!("{error:#}");
        assert!(refusal.contains(field), "{path}: {refusal}");
    }
    Ok(())
}

#[test]
fn the_resources_are_waited_for_and_wait_for_the_release() -> Result<()> {
    let release = documents(&read(FILES[0])?)?;
    let all = documents(&read(FILES[1])?)?;
    let [operator, resources] = of_kind(&all, "Kustomization")[..] else { bail!("two") };
    let check = |object: &Value| object["spec"]["healthChecks"][0].clone();
    let release = the(&release, "HelmRelease")?;
    assert_eq!(
        check(operator),
        json!({
            "apiVersion": release["apiVersion"],
            "kind": "HelmRelease",
            "name": name(release),
            "namespace": release["metadata"]["namespace"],
        })
    );
    assert_eq!(resources["spec"]["dependsOn"], json!([{"name": name(operator)}]));
    let kind = &check(resources);
    assert_eq!(
        (&kind["apiVersion"], &kind["kind"]),
        (&json!("s3replication.dev/v1alpha1"), &json!("BucketReplication"))
    );
    for object in [operator, resources] {
        // With `wait` Flux would ignore the list.
        assert!(object["spec"]["wait"].is_null(), "{object:#}");
    }
    Ok(())
}
