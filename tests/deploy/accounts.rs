//! The value `accounts`: a release makes AwsAccounts at its first installation, changes them and removes them.

use anyhow::{Context, Result, ensure};
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{NAMESPACE, RELEASE, chart, helm, rendered};

/// Runs Helm against the cluster of a world.
pub fn release(world: &World, args: &[&str], values: &Value) -> Result<String> {
    let kubeconfig = world.cluster().admin_kubeconfig().to_string_lossy().into_owned();
    let common = ["--kubeconfig", &kubeconfig, "--namespace", NAMESPACE];
    let output = helm(&[args, &common[..]].concat(), values)?;
    ensure!(output.status.success(), "helm {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The AwsAccounts that exist, by name, with the UID and the patterns for sources of each.
fn accounts(world: &World) -> Result<Vec<(String, String, Value)>> {
    let output = world.cluster().kubectl(["get", "awsaccounts", "-o", "json"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
    let items = list["items"].as_array().context("items")?;
    items
        .iter()
        .map(|item| {
            let metadata = &item["metadata"];
            Ok((text(&metadata["name"])?, text(&metadata["uid"])?, item["spec"]["sources"].clone()))
        })
        .collect()
}

pub fn account(sources: &[&str]) -> Value {
    json!({"accountId": "111122223333", "namespaces": {"matchNames": ["data"]}, "sources": sources})
}

#[tokio::test]
async fn accounts_come_with_the_definitions_and_then_follow_the_values() -> Result<()> {
    // The API server does not know the kind before the release is installed.
    let world = World::bare("accounts").await?;
    let path = chart();
    let path = path.to_string_lossy();
    let install = ["install", RELEASE, &path, "--create-namespace", "-f", "-"];
    let notes = release(&world, &install, &json!({"accounts": {"default": account(&["orders-*"])}}))?;
    ensure!(notes.contains("kubectl wait --for=condition=Ready awsaccount default"), "{notes}");
    let made = accounts(&world)?;
    let [(name, _, sources)] = made.as_slice() else { anyhow::bail!("{made:?}") };
    assert_eq!((name.as_str(), sources), ("default", &json!(["orders-*"])));

    // The first change of an account that came with the definitions, beside a new one.
    let upgrade = ["upgrade", RELEASE, &path, "-f", "-"];
    let both = |sources: &[&str]| json!({"accounts": {"default": account(sources), "dr": account(&[])}});
    release(&world, &upgrade, &both(&["invoices-*"]))?;
    let changed = accounts(&world)?;
    let [(name, uid, sources), (other, ..)] = changed.as_slice() else { anyhow::bail!("{changed:?}") };
    assert_eq!((name.as_str(), other.as_str(), sources), ("default", "dr", &json!(["invoices-*"])));

    // From then on it stays the same object: it is never absent.
    release(&world, &upgrade, &both(&["bills-*"]))?;
    let again = accounts(&world)?;
    let first = again.first().context("no account")?;
    assert_eq!((&first.1, &first.2), (uid, &json!(["bills-*"])));

    release(&world, &upgrade, &json!({"accounts": {"dr": account(&[])}}))?;
    assert_eq!(accounts(&world)?.len(), 1);
    release(&world, &["uninstall", RELEASE], &Value::Null)?;
    assert_eq!(accounts(&world)?, []);
    Ok(())
}

#[tokio::test]
async fn an_upgrade_that_does_not_change_an_account_leaves_it_as_it_is() -> Result<()> {
    let world = World::bare("account-kept").await?;
    let path = chart();
    let path = path.to_string_lossy();
    let values = |sources: &[&str]| json!({"accounts": {"default": account(sources)}});
    let install = ["install", RELEASE, &path, "--create-namespace", "-f", "-"];
    release(&world, &install, &values(&["orders-*"]))?;
    let made = accounts(&world)?;
    let upgrade = ["upgrade", RELEASE, &path, "-f", "-"];
    release(&world, &upgrade, &values(&["orders-*"]))?;
    assert_eq!(accounts(&world)?, made);

    // Taken into the release unchanged, it still follows the values.
    release(&world, &upgrade, &values(&["bills-*"]))?;
    assert_eq!(accounts(&world)?.first().map(|(_, _, sources)| sources.clone()), Some(json!(["bills-*"])));
    Ok(())
}

#[test]
fn a_null_in_place_of_a_spec_removes_the_account_of_other_values() -> Result<()> {
    let objects = rendered(&json!({"accounts": {"default": null, "dr": account(&[])}}))?;
    let made = objects.iter().filter(|object| object["kind"] == "AwsAccount");
    assert_eq!(made.map(|object| &object["metadata"]["name"]).collect::<Vec<_>>(), ["dr"]);
    Ok(())
}
