//! Runs the commands of the documentation as they are written, on a cluster without the operator.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rig::emulator::SECRET;
use rig::kind::DOCUMENTED;
use rig::kind::install::{AWS_NAMESPACE, AWS_PORT, OPERATOR_NAMESPACE, RELEASE};
use rig::{pages, paths};

use super::cluster::Cluster;
use super::release::OperatorRelease;
use super::replication::{Replication, create_buckets};

const README: &str = "README.md";
const INSTALL: &str = "docs/install.md";
const LOCAL: &str = "docs/local-cluster.md";

/// The block of a page that contains these words.
fn commands(page: &str, words: &str) -> Result<String> {
    Ok(format!("{}\n", pages::block(page, words, file!())?.text))
}

/// The one command between backticks that begins with these words.
fn command_in(page: &str, words: &str) -> Result<String> {
    let text = fs::read_to_string(paths::repository().join(page))?;
    let found = text.split('`').skip(1).step_by(2).find(|code| code.starts_with(words));
    Ok(found.with_context(|| format!("{page} has no command {words}"))?.to_owned())
}

/// Removes the default release, its namespace and the CRDs.
async fn remove_everything(operator: &OperatorRelease<'_>) -> Result<()> {
    operator.uninstall().await?;
    let Cluster { kind, .. } = operator.cluster;
    operator.release.delete_namespace(&kind.kubectl).await?;
    let definitions = [
        "delete",
        "crd",
        "replicationbackfills.s3replication.dev",
        "bucketreplications.s3replication.dev",
        "awsaccounts.s3replication.dev",
    ];
    kind.kubectl.run(definitions).await.map(drop)
}

/// Creates the Secret of the page. A cluster on AWS would give the pods an identity instead.
async fn make_secret(operator: &OperatorRelease<'_>) -> Result<()> {
    let create = command_in(INSTALL, "kubectl create secret generic aws")?;
    let create = create.replacen('…', &operator.release.account, 1).replacen('…', SECRET, 1);
    operator.cluster.kind.shell(&create, &paths::repository()).await.map(drop)
}

/// Applies the first account of the page, for the namespace, buckets and account id of this release.
async fn apply_first_account(operator: &OperatorRelease<'_>) -> Result<()> {
    let namespaces = format!("[{}]", operator.namespace);
    apply_documented(operator, INSTALL, "kind: AwsAccount", &[("[data]", &namespaces)]).await
}

/// Applies the account and the resource of the README, which end with the resource Ready.
async fn apply_first_resource(operator: &OperatorRelease<'_>) -> Result<()> {
    let (source, destination) = (format!("{}-source", operator.name), format!("{}-dest", operator.name));
    create_buckets(operator, &source, &destination).await?;
    // The namespace of the other resource stays allowed.
    let namespaces = format!("[data, {}]", operator.namespace);
    let ours = [
        ("[data]", namespaces.as_str()),
        ("source-bucket-us-east-1", &source),
        ("dest-bucket-eu-west-1", &destination),
    ];
    apply_documented(operator, README, "kind: BucketReplication", &ours).await
}

/// Runs commands of a page that apply manifests, with the account id of this release and these texts replaced.
async fn apply_documented(
    operator: &OperatorRelease<'_>,
    page: &str,
    words: &str,
    replaced: &[(&str, &str)],
) -> Result<()> {
    let mut apply = commands(page, words)?;
    let patterns = [("source-bucket-*", "*"), ("dest-bucket-*", "*")];
    let account = [("123456789012", operator.release.account.as_str())];
    for (theirs, ours) in account.iter().chain(&patterns).chain(replaced) {
        ensure!(apply.contains(theirs), "{page} has no {theirs} in: {apply}");
        apply = apply.replace(theirs, ours);
    }
    // The scripts that make the boundary need a cluster on AWS.
    let without = |line: &&str| !line.contains("permissionsBoundary");
    let apply: String = apply.lines().filter(without).map(|line| format!("{line}\n")).collect();
    operator.cluster.kind.shell(&apply, &paths::repository()).await.map(drop)
}

pub fn with_helm(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let (operator, root) = (OperatorRelease::shared(cluster, "by-helm").await?, paths::repository());
        let type_in = async |commands: &str| cluster.kind.shell(commands, &root).await;
        remove_everything(&operator).await?;

        let local = commands(LOCAL, "helm upgrade")?.replace("123456789012", &operator.release.account);
        type_in(&local).await?;
        operator.all_ready(2).await?;
        remove_everything(&operator).await?;

        // The nodes already have the image that `docker build` would make.
        let readme = commands(README, "docker build")?;
        let (build, install) = readme.split_once('\n').context("one command")?;
        ensure!(build.starts_with("docker build ") && build.contains(DOCUMENTED), "not the image: {build}");
        type_in(install).await?;
        operator.all_ready(2).await?;
        let again = commands(INSTALL, "helm test")?;
        let output = type_in(&again).await?;
        ensure!(output.contains("REVISION: 2") && output.contains("Succeeded"), "{output}");

        let replication = Replication::apply(&operator, "written").await?;
        replication.wait_for_reason("NotAllowed").await?;
        apply_first_account(&operator).await?;
        replication.wait_for_reason("CredentialsUnavailable").await?;
        make_secret(&operator).await?;
        let identity = "--set aws.credentialsSecret=aws";
        let emulator = format!(
            "--set aws.endpointUrl=http://emulator.{AWS_NAMESPACE} \
             --set 'networkPolicy.extraEgress[0].ports[0].port={AWS_PORT}'"
        );
        type_in(&format!("{} {identity} {emulator}", install.trim_end())).await?;
        replication.wait_ready().await?;
        apply_first_resource(&operator).await?;

        type_in(&commands(INSTALL, "helm uninstall")?).await?;
        ensure!(!replication.is_configured().await?, "the configuration outlived its resource");
        operator.check_no_role_is_left().await?;
        type_in("kubectl delete namespace data").await?;
        restore_default_release(&operator).await
    })
}

pub fn with_kubectl(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "by-kubectl").await?;
        remove_everything(&operator).await?;
        let copy = with_own_image(cluster).await?;
        cluster.kind.shell(&commands(INSTALL, "kubectl apply --server-side")?, &copy).await?;
        operator.all_ready(2).await?;

        let replication = Replication::apply(&operator, "written").await?;
        replication.wait_for_reason("NotAllowed").await?;
        apply_first_account(&operator).await?;
        replication.wait_for_reason("CredentialsUnavailable").await?;
        make_secret(&operator).await?;
        let deployment = format!("deployment/{RELEASE} -n {OPERATOR_NAMESPACE}");
        let emulator = format!("AWS_ENDPOINT_URL=http://emulator.{AWS_NAMESPACE}");
        let identity = format!(
            "kubectl set env {deployment} --from=secret/aws\nkubectl set env {deployment} {emulator}"
        );
        cluster.kind.shell(&identity, &copy).await?;
        let egress = format!(
            r#"kubectl patch networkpolicy {RELEASE} -n {OPERATOR_NAMESPACE} --type json \
            -p '[{{"op": "add", "path": "/spec/egress/-", "value": {{"ports": [{{"port": {AWS_PORT}}}]}}}}]'"#
        );
        cluster.kind.shell(&egress, &copy).await?;
        replication.wait_ready().await?;

        let resources = commands(INSTALL, "helm uninstall")?;
        let (resources, _) = resources.split_once("helm ").context("no command of Helm")?;
        let rest = command_in(INSTALL, "kubectl delete -f deploy/install.yaml")?;
        cluster.kind.shell(&format!("{resources}{rest}"), &paths::repository()).await?;
        ensure!(!replication.is_configured().await?, "the configuration outlived its resource");
        operator.check_no_role_is_left().await?;
        let left = "kubectl get --ignore-not-found -o name -f deploy/install.yaml";
        let left = cluster.kind.shell(left, &paths::repository()).await?;
        ensure!(left.is_empty(), "this is left: {left}");
        restore_default_release(&operator).await
    })
}

/// The kustomization in a copy, with the component for EKS and an image of one's own, as the page asks for.
async fn with_own_image(cluster: &Cluster) -> Result<PathBuf> {
    let (copy, repository) = (paths::scratch_dir("written")?, paths::repository());
    let (image, _) = DOCUMENTED.rsplit_once(':').context("no tag")?;
    let edit = format!(
        "cp -rL '{}/deploy' .\n\
         sed -i 's|^#  - kustomize/eks$|  - kustomize/eks|' deploy/kustomization.yaml\n\
         sed -i 's|newName: .*|newName: {image}|' deploy/kustomize/eks/kustomization.yaml",
        repository.display()
    );
    cluster.kind.shell(&edit, &copy).await?;
    Ok(copy)
}

async fn restore_default_release(operator: &OperatorRelease<'_>) -> Result<()> {
    let ask = async || Ok(operator.pods().await?.is_empty().then_some(()));
    operator.cluster.until("the pods are gone", ask).await?;
    operator.release.delete_namespace(&operator.cluster.kind.kubectl).await?;
    OperatorRelease::install_default(&operator.cluster.kind).await.map(drop)
}
