//! Shared by the tests: Helm, the chart as data, and the API server's validation.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use rig::{Cluster, Rig, Tools};
use serde_json::{Value, json};

/// The release and the namespace of rendered charts, unless a test names others.
pub const RELEASE: &str = "s3-replication-operator";
pub const NAMESPACE: &str = "s3-replication-system";

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn chart() -> PathBuf {
    repository("charts/s3-replication-operator")
}

pub fn read(path: &str) -> Result<String> {
    fs::read_to_string(repository(path)).with_context(|| format!("cannot read {path}"))
}

pub fn read_yaml(path: &str) -> Result<Value> {
    serde_saphyr::from_str(&read(path)?).with_context(|| format!("{path} is not YAML"))
}

/// The YAML block of a page that contains these words.
pub fn yaml_in_page(page: &str, words: &str) -> Result<Value> {
    let text = read(page)?;
    let mut blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block =
        blocks.find(|block| block.contains(words)).with_context(|| format!("{page} has no {words}"))?;
    serde_saphyr::from_str(block).with_context(|| format!("{words} in {page} is not YAML"))
}

/// The documents of a YAML text that are not empty.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// Runs Helm with values on its standard input, isolated from the user's settings on this machine.
pub fn helm(args: &[&str], values: &Value) -> Result<Output> {
    static HELM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = HELM.get_or_init(|| Tools::helm().map_err(|error| format!("{error:#}")));
    let mut command = Command::new(program.as_ref().map_err(|error| anyhow!("{error}"))?);
    let home = rig::paths::rig().join("helm-home");
    let mut child = command
        .args(args)
        .env("HELM_CACHE_HOME", &home)
        .env("HELM_CONFIG_HOME", &home)
        .env("HELM_DATA_HOME", &home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A Helm that refuses its arguments does not read its input. Its output shows the error.
        let _ = stdin.write_all(values.to_string().as_bytes());
    }
    Ok(child.wait_with_output()?)
}

/// The chart rendered as text, without what only `helm test` creates.
pub fn rendered_text(release: &str, namespace: &str, values: &Value) -> Result<String> {
    rendered_with(&["--skip-tests"], release, namespace, values)
}

/// The chart rendered as text, with additional arguments to Helm.
pub fn rendered_with(args: &[&str], release: &str, namespace: &str, values: &Value) -> Result<String> {
    let path = chart();
    let template = ["template", release, &path.to_string_lossy(), "--namespace", namespace, "-f", "-"];
    let output = helm(&[&template[..], args].concat(), values)?;
    if !output.status.success() {
        bail!("helm template fails with {values}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The chart rendered for the default release, as objects.
pub fn rendered(values: &Value) -> Result<Vec<Value>> {
    documents(&rendered_text(RELEASE, NAMESPACE, values)?)
}

/// The objects that `helm test` creates for a release.
pub fn rendered_tests(release: &str, namespace: &str, values: &Value) -> Result<Vec<Value>> {
    let mut objects = documents(&rendered_with(&[], release, namespace, values)?)?;
    objects.retain(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test");
    Ok(objects)
}

/// Helm's error message for refused values.
pub fn refusal(values: &Value) -> Result<String> {
    match rendered(values) {
        Ok(_) => bail!("{values} is not refused"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// The PATH with a stand-in for the AWS CLI before all else. The stand-ins are files of this repository: a test could not
/// always run a file at once that it has written, because a process that another test is just starting may hold it open
/// for writing.
pub fn path_with_aws_cli(name: &str) -> Result<String> {
    let directory = repository("tests/deploy/aws-cli").join(name);
    Ok(format!("{}:{}", directory.display(), std::env::var("PATH")?))
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The only object of a kind.
pub fn the<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    match of_kind(objects, kind).as_slice() {
        [one] => Ok(one),
        others => bail!("{} objects of kind {kind}", others.len()),
    }
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The arguments of the operator in a rendered Deployment.
pub fn arguments(objects: &[Value]) -> Result<Vec<String>> {
    Ok(serde_json::from_value(container(the(objects, "Deployment")?)["args"].clone())?)
}

/// The only container of a Deployment.
pub fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// Makes the namespaces of the rendered objects, which admit restricted pods only, and returns the API server.
pub async fn prepare_cluster() -> Result<&'static Cluster> {
    let cluster = &Rig::shared().await?.cluster;
    for name in [NAMESPACE, "data", "shop", "leases", "monitoring", "release", "flux-system"] {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        });
        kubectl(cluster, &["apply", "--server-side", "-f", "-"], &namespace.to_string())?;
    }
    // The definitions of Prometheus Operator, reduced to the fields used here: other fields are refused.
    let stand_ins = repository("tests/deploy/crds");
    cluster.apply_crds(&stand_ins)?;
    Ok(cluster)
}

/// Runs kubectl, which must succeed, and returns its output.
pub fn kubectl(cluster: &Cluster, args: &[&str], input: &str) -> Result<String> {
    let output = cluster.kubectl_with_input(args, input)?;
    if !output.status.success() {
        bail!("kubectl {} fails: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Checks that the API server would accept these objects with every field.
pub fn accepted(cluster: &Cluster, objects: &str) -> Result<()> {
    let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
    kubectl(cluster, &[&apply[..], &["-f", "-"]].concat(), objects).map(drop)
}
