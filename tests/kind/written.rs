//! The ways to install that the pages show, as they are written there, on a cluster without the operator.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rig::emulator::SECRET;
use rig::kind::DOCUMENTED;
use rig::kind::install::{AWS_NAMESPACE, AWS_PORT, OPERATOR_NAMESPACE, RELEASE};
use rig::paths;

use super::case::Case;
use super::ground::Ground;
use super::site::Site;

const README: &str = "README.md";
const INSTALL: &str = "docs/install.md";

/// The first block of commands under a heading.
fn commands(page: &str, heading: &str) -> Result<String> {
    let text = fs::read_to_string(paths::repository().join(page))?;
    let (_, section) = text.split_once(heading).with_context(|| format!("{page} has no {heading}"))?;
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    Ok(block.with_context(|| format!("{page}: no commands under {heading}"))?.to_owned())
}

/// The one command between backticks that begins with these words.
fn command_in(page: &str, words: &str) -> Result<String> {
    let text = fs::read_to_string(paths::repository().join(page))?;
    let found = text.split('`').skip(1).step_by(2).find(|code| code.starts_with(words));
    Ok(found.with_context(|| format!("{page} has no command {words}"))?.to_owned())
}

/// Takes away the release that other tests share, and all that it has made.
async fn from_nothing(site: &Site<'_>) -> Result<()> {
    site.uninstall().await?;
    let Ground { kind, .. } = site.ground;
    site.release.delete_namespace(&kind.kubectl).await?;
    let definitions =
        ["delete", "crd", "bucketreplications.s3replication.dev", "awsaccounts.s3replication.dev"];
    kind.kubectl.run(definitions).await.map(drop)
}

/// Gives the operator the Secret of the page, in the place of an identity that a cluster on AWS would give.
async fn make_secret(site: &Site<'_>) -> Result<()> {
    let create = command_in(INSTALL, "kubectl create secret generic aws")?;
    let create = create.replacen('…', &site.release.account, 1).replacen('…', SECRET, 1);
    site.ground.kind.shell(&create, &paths::repository()).await.map(drop)
}

/// Applies the first account of the page, for this site's namespace, buckets and account id.
async fn apply_first_account(site: &Site<'_>) -> Result<()> {
    let mut apply = commands(INSTALL, "## The first account")?;
    for (theirs, ours) in [
        ("123456789012", site.release.account.as_str()),
        ("[data]", &format!("[{}]", site.namespace)),
        ("orders-*", "*"),
        ("*-copy", "*"),
    ] {
        ensure!(apply.contains(theirs), "{INSTALL} has no {theirs} in: {apply}");
        apply = apply.replace(theirs, ours);
    }
    // The scripts that make the boundary need a cluster on AWS.
    let without = |line: &&str| !line.contains("permissionsBoundary");
    let apply: String = apply.lines().filter(without).map(|line| format!("{line}\n")).collect();
    site.ground.kind.shell(&apply, &paths::repository()).await.map(drop)
}

pub fn with_helm(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let (site, root) = (Site::usual(ground, "by-helm").await?, paths::repository());
        let type_in = async |commands: &str| ground.kind.shell(commands, &root).await;
        from_nothing(&site).await?;

        // The image is what `docker build` makes of it elsewhere, and was pushed.
        let readme = commands(README, "## Installing it")?;
        let (build, install) = readme.split_once('\n').context("one command")?;
        ensure!(build.starts_with("docker build ") && build.contains(DOCUMENTED), "not the image: {build}");
        type_in(install).await?;
        site.all_ready(2).await?;
        let again = commands(INSTALL, "## With Helm")?;
        let said = type_in(&again).await?;
        ensure!(said.contains("REVISION: 2") && said.contains("Succeeded"), "{said}");

        let case = Case::apply(&site, "written").await?;
        case.says("NotAllowed").await?;
        apply_first_account(&site).await?;
        case.says("CredentialsUnavailable").await?;
        make_secret(&site).await?;
        let identity = "--set aws.credentialsSecret=aws";
        let emulator = format!(
            "--set aws.endpointUrl=http://emulator.{AWS_NAMESPACE} \
             --set 'networkPolicy.extraEgress[0].ports[0].port={AWS_PORT}'"
        );
        type_in(&format!("{} {identity} {emulator}", install.trim_end())).await?;
        case.wait_ready().await?;

        type_in(&commands(INSTALL, "## Uninstalling")?).await?;
        ensure!(!case.is_configured().await?, "the configuration outlived its resource");
        site.no_role_is_left().await?;
        back_to_usual(&site).await
    })
}

pub fn with_kubectl(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::usual(ground, "by-kubectl").await?;
        from_nothing(&site).await?;
        let copy = with_own_image(ground).await?;
        ground.kind.shell(&commands(INSTALL, "## With kubectl")?, &copy).await?;
        site.all_ready(2).await?;

        let case = Case::apply(&site, "written").await?;
        case.says("NotAllowed").await?;
        apply_first_account(&site).await?;
        case.says("CredentialsUnavailable").await?;
        make_secret(&site).await?;
        let deployment = format!("deployment/{RELEASE} -n {OPERATOR_NAMESPACE}");
        let emulator = format!("AWS_ENDPOINT_URL=http://emulator.{AWS_NAMESPACE}");
        let identity = format!(
            "kubectl set env {deployment} --from=secret/aws\nkubectl set env {deployment} {emulator}"
        );
        ground.kind.shell(&identity, &copy).await?;
        let egress = format!(
            r#"kubectl patch networkpolicy {RELEASE} -n {OPERATOR_NAMESPACE} --type json \
            -p '[{{"op": "add", "path": "/spec/egress/-", "value": {{"ports": [{{"port": {AWS_PORT}}}]}}}}]'"#
        );
        ground.kind.shell(&egress, &copy).await?;
        case.wait_ready().await?;

        let resources = commands(INSTALL, "## Uninstalling")?;
        let resources = resources.lines().next().context("no commands")?;
        let rest = command_in(INSTALL, "kubectl delete -f deploy/install.yaml")?;
        ground.kind.shell(&format!("{resources}\n{rest}"), &paths::repository()).await?;
        ensure!(!case.is_configured().await?, "the configuration outlived its resource");
        site.no_role_is_left().await?;
        let left = "kubectl get --ignore-not-found -o name -f deploy/install.yaml";
        let left = ground.kind.shell(left, &paths::repository()).await?;
        ensure!(left.is_empty(), "this is left: {left}");
        back_to_usual(&site).await
    })
}

/// The kustomization, in a copy, with the component for EKS and an image of one's own: the page asks for both.
async fn with_own_image(ground: &Ground) -> Result<PathBuf> {
    let (copy, repository) = (paths::scratch_dir("written")?, paths::repository());
    let (image, _) = DOCUMENTED.rsplit_once(':').context("no tag")?;
    let edit = format!(
        "cp -rL '{}/deploy' .\n\
         sed -i 's|^#  - kustomize/eks$|  - kustomize/eks|' deploy/kustomization.yaml\n\
         sed -i 's|newName: .*|newName: {image}|' deploy/kustomize/eks/kustomization.yaml",
        repository.display()
    );
    ground.kind.shell(&edit, &copy).await?;
    Ok(copy)
}

async fn back_to_usual(site: &Site<'_>) -> Result<()> {
    let look = async || Ok(site.pods().await?.is_empty().then_some(()));
    site.ground.until("the pods are gone", look).await?;
    site.release.delete_namespace(&site.ground.kind.kubectl).await?;
    Site::install_usual(&site.ground.kind).await.map(drop)
}
