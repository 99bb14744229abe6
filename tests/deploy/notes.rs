//! The chart's notes: for every combination of values they name the next command, and their commands for uninstalling
//! delete the resources of the release and no others.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rig::Tools;
use rig::pages::block;
use rig::world::World;
use serde_json::{Value, json};

use crate::accounts::{account, release};
use crate::support::{NAMESPACE, RELEASE, chart, kubectl};

/// The notes of a release that is not really installed.
fn notes(world: &World, values: &Value) -> Result<String> {
    let path = chart();
    let install = ["install", RELEASE, &path.to_string_lossy(), "--dry-run", "--take-ownership", "-f", "-"];
    let text = release(world, &install, values)?;
    Ok(text.split_once("NOTES:").context("no notes")?.1.to_owned())
}

/// Values, and what the notes print because of them.
type Choice = (Value, &'static [&'static str]);

const CHECK: &str = "Check that it runs:";
const ACCOUNT: &str = "kubectl apply -f - <<EOF\napiVersion: s3replication.dev/v1alpha1\nkind: AwsAccount\n";
const NO_IDENTITY: &str =
    "CredentialsUnavailable: set serviceAccount.annotations (IRSA) or aws.credentialsSecret";
const KEEP: &str = "Keep the definitions";
const EVERYTHING: &str = "kubectl delete replicationbackfills,bucketreplications --all --all-namespaces\n";

/// The choices, which are independent of each other.
fn choices() -> [Vec<Choice>; 8] {
    let role =
        json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/s3-replication-operator"});
    let namespaces = json!(["data", "shop"]);
    let shard = json!({"selector": "shard=a"});
    [
        vec![
            (
                json!({}),
                &[
                    "docker push registry.example.com/s3-replication-operator:",
                    "--set image.repository=registry.example.com/s3-replication-operator\n",
                ],
            ),
            (json!({"image": {"repository": "registry.example.com/team/operator"}}), &[]),
        ],
        vec![
            (json!({}), &[]),
            (
                json!({"crds": {"install": false}}),
                &[
                    "came from elsewhere. Upgrade",
                    "  s3-replication-operator crds | kubectl apply --server-side -f -\n",
                ],
            ),
        ],
        vec![
            (json!({}), &[]),
            (
                json!({"rbac": {"create": false}}),
                &[
                    "--set rbac.create=true -s templates/rbac.yaml -s templates/tests/rbac.yaml |\n    kubectl apply -f -\n",
                ],
            ),
        ],
        vec![
            (json!({}), &[CHECK]),
            (
                json!({"replicas": 0}),
                &["--set replicas=2\n", "Then check that it runs:", "Start the operator before"],
            ),
            (
                json!({"replicas": 0, "leaderElection": {"enabled": false}}),
                &["--set replicas=1\n", "Then check that it runs:", "Start the operator before"],
            ),
            (json!({"replicas": 1, "leaderElection": {"enabled": false}}), &[CHECK]),
        ],
        vec![
            (json!({}), &[NO_IDENTITY]),
            (json!({"serviceAccount": {"annotations": role}}), &[]),
            (json!({"aws": {"credentialsSecret": "aws"}}), &[]),
            (json!({"extraEnvFrom": [{"secretRef": {"name": "aws"}}]}), &[]),
        ],
        vec![
            (json!({}), &[]),
            (
                json!({"operator": {"readOnly": true}}),
                &["set\noperator.readOnly to false:", "Set operator.readOnly to false before"],
            ),
        ],
        vec![
            (json!({}), &[ACCOUNT]),
            (json!({"accounts": {"default": null}}), &[ACCOUNT]),
            (
                json!({"accounts": {"default": account(&[]), "dr": account(&[])}}),
                &["kubectl wait --for=condition=Ready awsaccount default dr\n"],
            ),
            (json!({"operator": {"requireAccount": false}}), &["requires no AwsAccount"]),
        ],
        vec![
            (json!({}), &["is installed for all namespaces.", EVERYTHING]),
            (
                json!({"namespaces": namespaces}),
                &[
                    "is installed for the namespaces data, shop.",
                    "kubectl delete replicationbackfills,bucketreplications --all -n data\n",
                    "kubectl delete replicationbackfills,bucketreplications --all -n shop\n",
                    KEEP,
                ],
            ),
            (
                json!({"operator": shard}),
                &["kubectl delete bucketreplications --all-namespaces -l 'shard=a'\n", KEEP],
            ),
            (
                json!({"namespaces": namespaces, "operator": shard}),
                &[
                    "kubectl delete bucketreplications -n data -l 'shard=a'\n",
                    "kubectl delete bucketreplications -n shop -l 'shard=a'\n",
                    KEEP,
                ],
            ),
        ],
    ]
}

/// An orthogonal array of 7² rows: each pair of choices of two lists, which have 7 choices at most, occurs in a row.
fn rows(lists: &[Vec<Choice>; 8]) -> Vec<[usize; 8]> {
    let levels = (0..7).flat_map(|a| (0..7).map(move |b| (a, b)));
    let row = |(a, b): (usize, usize)| {
        std::array::from_fn(|list| {
            let level = if list == 7 { b } else { (a + list * b) % 7 };
            level % lists[list].len()
        })
    };
    levels.map(row).collect()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[test]
fn each_pair_of_choices_is_tried() {
    let lists = choices();
    let mut tried = BTreeSet::new();
    for row in rows(&lists) {
        for (a, b) in (0..8).flat_map(|a| (0..a).map(move |b| (a, b))) {
            tried.insert((a, row[a], b, row[b]));
        }
    }
    let sizes = lists.map(|list| list.len());
    let pairs: usize =
        (0..8).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| sizes[a] * sizes[b]).sum();
    assert_eq!(tried.len(), pairs);
}

#[tokio::test]
async fn the_notes_name_the_next_command_for_the_values_given() -> Result<()> {
    let world = World::new("notes").await?;
    let lists = choices();
    for row in rows(&lists) {
        let mut values = json!({});
        row.iter().zip(&lists).for_each(|(choice, list)| merge(&mut values, &list[*choice].0));
        let printed = notes(&world, &values)?;
        for (choice, list) in row.iter().zip(&lists) {
            let all: BTreeSet<&str> = list.iter().flat_map(|(_, words)| *words).copied().collect();
            for words in all {
                let expected = list[*choice].1.contains(&words);
                ensure!(printed.contains(words) == expected, "{values}: {words:?}: {expected}, in {printed}");
            }
        }
        let [_, definitions, .., accounts, scope] = row;
        let shared = scope != 0;
        let deletes_definitions = printed.contains("kubectl get crd -o name");
        ensure!(deletes_definitions == (!shared && definitions == 0), "{values}: {printed}");
        ensure!(
            printed.contains("takes its AwsAccounts with it") == (shared && accounts == 2),
            "{values}: {printed}"
        );
        ensure!(printed.contains("kubectl apply -f first.yaml"), "{printed}");
        ensure!(!printed.contains("arn:aws:"), "the account may be in another partition: {printed}");
    }
    let some = notes(&world, &json!({"namespaces": ["data", "shop", "data"]}))?;
    ensure!(some.contains("namespaces: {matchNames: [data, shop]}"), "{some}");
    Ok(())
}

#[tokio::test]
async fn without_definitions_the_notes_say_that_no_pod_becomes_ready() -> Result<()> {
    let world = World::bare("notes-bare").await?;
    let lacking = "no pod becomes ready\nwithout them. Install them first:\n\n  s3-replication-operator crds | kubectl apply";
    let printed = notes(&world, &json!({"crds": {"install": false}}))?;
    ensure!(printed.contains(lacking), "{printed}");
    ensure!(!notes(&world, &json!({}))?.contains("no pod becomes ready"));
    Ok(())
}

/// The commands of the notes for uninstalling.
fn commands_to_uninstall(notes: &str) -> Result<String> {
    let (_, rest) = notes.split_once("To uninstall").context("no word of it")?;
    let lines = rest.lines().filter_map(|line| line.strip_prefix("  "));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Types commands into a shell that finds kubectl and Helm.
fn type_in(world: &World, commands: &str) -> Result<()> {
    let helm = Tools::helm()?;
    let own = [world.cluster().kubectl_program(), &helm].map(|program| program.parent());
    let own = own.into_iter().flatten().map(Path::to_path_buf);
    let found = env::var_os("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell.args(["-euc", commands]).env("PATH", env::join_paths(own.chain(env::split_paths(&found)))?);
    shell.env("KUBECONFIG", world.cluster().admin_kubeconfig());
    shell.env("KUBECACHEDIR", rig::paths::rig().join("kubectl-cache"));
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        shell.env(variable, rig::paths::rig().join("helm-home"));
    }
    let output = shell.output()?;
    ensure!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Two replications in each of two namespaces, one of them of the shard `a`, and a backfill of each, which has no
/// labels.
fn resources() -> Value {
    let mut items = Vec::new();
    for (namespace, name, labels) in [
        ("data", "orders", json!({"shard": "a"})),
        ("data", "invoices", json!({})),
        ("team-b", "clicks", json!({"shard": "a"})),
        ("team-b", "views", json!({})),
    ] {
        items.push(json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"namespace": namespace, "name": name, "labels": labels},
            "spec": {
                "source": {"bucket": format!("{name}-source")},
                "rules": [{"id": "all", "destination": {"bucket": format!("{name}-copy")}}],
            },
        }));
        items.push(json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "ReplicationBackfill",
            "metadata": {"namespace": namespace, "name": format!("{name}-once")},
            "spec": {"replicationRef": {"name": name}},
        }));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

#[tokio::test]
async fn uninstalling_by_the_notes_deletes_the_resources_of_the_release_and_no_others() -> Result<()> {
    let world = World::alone("notes-uninstall").await?;
    let cluster = world.cluster();
    for namespace in ["data", "shop", "team-b"] {
        kubectl(cluster, &["create", "namespace", namespace], "")?;
    }
    let path = chart();
    let install =
        ["install", RELEASE, &path.to_string_lossy(), "--create-namespace", "--take-ownership", "-f", "-"];
    let own = json!({"namespaces": ["data", "shop"]});
    let shard = json!({"operator": {"selector": "shard=a"}});
    let both = json!({"namespaces": ["data", "shop"], "operator": {"selector": "shard=a"}});
    let rest = json!({"operator": {"selector": "shard notin (a)"}, "crds": {"install": false}});
    // The definitions go with the last one.
    for (values, left) in [
        (own, &["team-b/clicks", "team-b/views"][..]),
        (shard, &["data/invoices", "team-b/views"][..]),
        (both, &["data/invoices", "team-b/clicks", "team-b/views"][..]),
        (rest, &["data/orders", "team-b/clicks"][..]),
        (json!({}), &[][..]),
    ] {
        kubectl(cluster, &["apply", "-f", "-"], &resources().to_string())?;
        let printed = release(&world, &install, &values)?;
        type_in(&world, &commands_to_uninstall(&printed)?)?;
        let releases = release(&world, &["list", "--short"], &Value::Null)?;
        ensure!(releases.is_empty(), "{values}: {releases}");
        let definitions = kubectl(cluster, &["get", "crd", "-o", "name"], "")?;
        assert_eq!(definitions.contains("s3replication.dev"), !left.is_empty(), "{values}: {definitions}");
        if left.is_empty() {
            continue;
        }
        for (kind, end) in [("bucketreplications", ""), ("replicationbackfills", "-once")] {
            let names = "-o=jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
            let held = kubectl(cluster, &["get", kind, "-A", names], "")?;
            let expected: Vec<String> = left.iter().map(|name| format!("{name}{end}")).collect();
            assert_eq!(
                held.lines().collect::<BTreeSet<_>>(),
                expected.iter().map(String::as_str).collect(),
                "{values}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_page_on_uninstalling_one_of_several_releases_has_the_commands_of_the_notes() -> Result<()> {
    const PAGE: &str = "docs/install.md";
    let world = World::new("notes-page").await?;
    let by_namespace = block(PAGE, "--all -n data", file!())?;
    let by_selector = block(PAGE, "-l 'shard=a'", file!())?;
    for (values, block) in [
        (json!({"namespaces": ["data", "shop"]}), by_namespace),
        (json!({"operator": {"selector": "shard=a"}}), by_selector),
    ] {
        let commands = commands_to_uninstall(&notes(&world, &values)?)?;
        assert_eq!(commands, block.text, "{values}, and {}", block.location());
    }
    ensure!(
        commands_to_uninstall(&notes(&world, &json!({}))?)?
            .contains(&format!("helm uninstall {RELEASE} -n {NAMESPACE}"))
    );
    Ok(())
}
