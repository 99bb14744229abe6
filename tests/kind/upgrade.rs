//! Upgrades: of pods at work, and of what a former release left behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use rig::aws_state::AwsState;
use rig::former_release::{self, FormerState, without_bookkeeping};
use rig::kind::install::chart;
use rig::kind::write_order;
use rig::paths;
use serde_json::{Value, json};

use super::cluster::{Cluster, DEADLINE};
use super::release::OperatorRelease;
use super::replication::Replication;

/// The version of the stand-in for the previous release.
const BEFORE: &str = "0.0.9";

const DEFINITION: &str = "bucketreplications.s3replication.dev";

/// An optional field of the spec that the CRD of the previous release lacks.
const NEWER: &str = "replicate";

/// The resources of the former release, their namespace, and the account in which it acted.
const NAMES: [&str; 2] = ["orders", "clicks"];
const LEFT_IN: &str = "data";
const OWN: &str = "111122223333";

/// The former program is not in this tree. Its stand-in is the chart of this tree, packaged as another version, with a
/// CRD that lacks an optional field, and the same image in pods that differ by an annotation. The test shows what the
/// upgrade does to the CRDs, the pods, the leader and AWS while pods are at work. `of_what_the_former_release_left` and
/// `tests/e2e/upgrade` show that the program reads what an earlier one wrote.
pub fn from_the_release_before(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let mut operator = OperatorRelease::shared(cluster, "upgrade").await?;
        operator.set_value("podAnnotations", json!({"version": BEFORE}));
        let before = package(cluster).await?;
        operator.uninstall().await?;
        operator.release.upgrade(&cluster.kind, &before).await?;
        operator.set_value("podAnnotations", json!({}));
        let operator = operator;
        ensure!(!has_newer_field(cluster).await?, "the definition is not that of the release before");

        let names = ["left-alone", "left-alone-too", "drifted"];
        let replications = try_join_all(names.iter().map(|name| Replication::ready(&operator, name))).await?;
        let objects = try_join_all(replications.iter().map(Replication::object)).await?;
        let old = operator.all_ready(2).await?;
        let earlier = operator.writes().await?.len();
        let [.., drifted] = replications.as_slice() else { unreachable!("there are three") };
        drifted.change_in_aws().await?;

        let new_chart = chart();
        let upgraded = operator.release.upgrade(&cluster.kind, &new_chart);
        let (least, added) =
            tokio::join!(least_ready(&operator, upgraded), Replication::apply(&operator, "meanwhile"));
        let (least, added) = (least?, added?);
        ensure!(least >= 2, "only {least} pods were ready at a time");
        ensure!(has_newer_field(cluster).await?, "the definition was not upgraded");
        let new = operator.all_ready(2).await?;
        ensure!(new.iter().all(|pod| old.iter().all(|before| before.uid != pod.uid)), "some stayed: {new:?}");
        drifted.wait_corrected().await?;
        added.wait_ready().await?;

        for (replication, before) in replications.iter().zip(&objects) {
            let now = replication.object().await?;
            for part in ["uid", "generation", "creationTimestamp"] {
                let (was, is) = (&before["metadata"][part], &now["metadata"][part]);
                ensure!(was == is, "{part} of {} was {was} and is {is}", replication.name());
            }
        }
        let writes = operator.writes().await?;
        let writes = writes.get(earlier..).context("the record was cleared")?;
        let without_reason = writes.iter().find(|write| {
            let for_new = write.subject.contains(added.name());
            let for_drift =
                write.operation == "PutBucketReplication" && write.subject.starts_with(drifted.name());
            !for_new && !for_drift
        });
        ensure!(without_reason.is_none(), "written without a reason: {without_reason:?}");
        write_order::check_one_at_a_time(writes)?;
        try_join_all(replications.into_iter().chain([added]).map(Replication::delete)).await?;
        operator.check_no_role_is_left().await
    })
}

/// The chart and the definitions are those of the former release, and so are the objects and what they stand for in
/// AWS, which its program has made (`tests/upgrade`). The program itself is not in this tree: its release has no pods.
/// The API server gives the objects new UIDs, so that these are replaced in the tags of the roles. The test shows that
/// one `helm upgrade` replaces the definitions under the objects, starts pods that take them over, and takes nothing
/// away in AWS.
pub fn of_what_the_former_release_left(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let state = FormerState::read("without-accounts")?;
        let mut operator = OperatorRelease::shared(cluster, "left").await?;
        ensure!(operator.release.account == OWN, "the default release acts in {}", operator.release.account);
        operator.uninstall().await?;
        operator.set_value("replicas", json!(0));
        operator.release.upgrade(&cluster.kind, &former_release::chart()).await?;
        ensure!(!has_field(cluster, "health").await?, "the definition is not that of the former release");

        let url = cluster.cloud.url();
        state.aws.remove(&url).await?;
        let uids = restore_objects(cluster, &state).await?;
        let aws = state.aws_with(&uids)?;
        aws.restore(&url).await?;
        let created = try_join_all(NAMES.map(|name| read(cluster, name))).await?;

        operator.set_value("replicas", json!(2));
        operator.release.upgrade(&cluster.kind, &chart()).await?;
        ensure!(has_field(cluster, "health").await?, "the definition was not upgraded");
        operator.all_ready(2).await?;
        for (name, before) in NAMES.iter().zip(&created) {
            // The former release wrote no such field.
            let ask = async || {
                let now = read(cluster, name).await?;
                Ok(now["status"]["configuration"].is_string().then_some(now))
            };
            let now = cluster.until("the operator has taken it over", ask).await?;
            let conditions = now["status"]["conditions"].as_array().into_iter().flatten();
            let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
            ensure!(conditions.into_iter().any(is_ready), "{name}: {:#}", now["status"]);
            for part in ["uid", "generation", "creationTimestamp"] {
                let (was, is) = (&before["metadata"][part], &now["metadata"][part]);
                ensure!(was == is, "{part} of {name} was {was} and is {is}");
            }
        }
        let held = AwsState::read(&url, &[OWN]).await?;
        for bucket in aws.accounts.values().flat_map(|account| &account.buckets) {
            ensure!(held.bucket(&bucket.name)? == bucket, "{bucket:#?} became {held:#?}");
        }

        let kubectl = &cluster.kind.kubectl;
        kubectl.wait(&["delete", "br", "--all", "-n", LEFT_IN], DEADLINE).await?;
        let left = AwsState::read(&url, &[OWN]).await?;
        for name in NAMES {
            let source = left.bucket(&format!("former-{name}-source"))?;
            ensure!(source.replication.is_none(), "{source:#?}");
        }
        ensure!(!left.roles_at("/s3-replication/").any(|role| role.name.starts_with(LEFT_IN)), "{left:#?}");
        aws.remove(&url).await?;
        kubectl.wait(&["delete", "namespace", LEFT_IN], DEADLINE).await
    })
}

/// Creates the objects of the former release with their status. Returns the recorded UIDs, each with the one that
/// replaces it.
async fn restore_objects(cluster: &Cluster, state: &FormerState) -> Result<Vec<(String, String)>> {
    let kubectl = &cluster.kind.kubectl;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEFT_IN}});
    kubectl.apply(&namespace.to_string()).await?;
    let uid = |object: &Value| {
        object["metadata"]["uid"].as_str().map(str::to_owned).context("an object without a UID")
    };
    let system = kubectl.get(&["namespace", "kube-system"]).await?;
    let mut uids = vec![(state.left.cluster_uid.clone(), uid(&system)?)];
    for recorded in state.replications() {
        kubectl.apply(&without_bookkeeping(recorded).to_string()).await?;
        let name = recorded["metadata"]["name"].as_str().context("an object without a name")?;
        let status = json!({"status": recorded["status"]}).to_string();
        let patch =
            ["patch", "br", name, "-n", LEFT_IN, "--subresource=status", "--type=merge", "-p", &status];
        kubectl.run(patch).await?;
        uids.push((uid(recorded)?, uid(&read(cluster, name).await?)?));
    }
    Ok(uids)
}

/// A resource of the former release.
async fn read(cluster: &Cluster, name: &str) -> Result<Value> {
    cluster.kind.kubectl.get(&["br", name, "-n", LEFT_IN]).await
}

/// Packages the chart as the previous release. Returns the path of the package.
async fn package(cluster: &Cluster) -> Result<PathBuf> {
    let dir = paths::scratch_dir("release-before")?;
    let copy = dir.join("chart");
    copy_tree(&chart(), &copy)?;
    let file = copy.join("files/crds/s3replication.dev_bucketreplications.yaml");
    let mut definition: Value = serde_saphyr::from_str(&fs::read_to_string(&file)?)?;
    let spec = definition
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
        .and_then(Value::as_object_mut)
        .context("the definition has no spec")?;
    spec.remove(NEWER).with_context(|| format!("the spec has no {NEWER}"))?;
    // JSON is YAML.
    fs::write(&file, definition.to_string())?;
    let (from, to) = (copy.to_string_lossy(), dir.to_string_lossy());
    let versions = ["--version", BEFORE, "--app-version", BEFORE];
    cluster.kind.helm.run(&[&["package", &from, "--destination", &to][..], &versions].concat()).await?;
    Ok(dir.join(format!("s3-replication-operator-{BEFORE}.tgz")))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_tree(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(drop)?,
        }
    }
    Ok(())
}

async fn has_newer_field(cluster: &Cluster) -> Result<bool> {
    has_field(cluster, NEWER).await
}

/// Whether the definition knows a field of the spec.
async fn has_field(cluster: &Cluster, field: &str) -> Result<bool> {
    let definition = cluster.kind.kubectl.get(&["crd", DEFINITION]).await?;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    Ok(schema["properties"]["spec"]["properties"][field].is_object())
}

/// The lowest number of ready, not terminating pods while a future runs.
async fn least_ready(
    operator: &OperatorRelease<'_>,
    during: impl Future<Output = Result<String>>,
) -> Result<usize> {
    let mut during = std::pin::pin!(during);
    let mut least = usize::MAX;
    loop {
        let pods = operator.pods().await?;
        least = least.min(pods.iter().filter(|pod| pod.ready && !pod.ending).count());
        // Often enough to notice each pod that ends.
        let pause = std::time::Duration::from_millis(100);
        match tokio::time::timeout(pause, &mut during).await {
            Ok(done) => return done.map(|_| least),
            Err(_) => continue,
        }
    }
}
