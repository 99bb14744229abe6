//! Every file in `deploy/samples`, applied as it is but for the names of buckets and accounts, works.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use futures::future::try_join_all;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{reason, world_with_accounts, world_with_operator};

/// The accounts of the samples: the source's, and another.
const OWN: &str = "111122223333";
const OTHER: &str = "444455556666";

/// The Regions that the names of the samples' buckets end with.
const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-southeast-2"];

fn samples() -> Result<Vec<PathBuf>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

/// The resources of a sample.
fn resources(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

/// Only the `BucketReplication`s.
fn replications(resources: &[Value]) -> impl Iterator<Item = &Value> {
    resources.iter().filter(|resource| resource["kind"] == "BucketReplication")
}

/// The buckets of a sample: for each name, whether another account owns it and whether someone else
/// enables versioning.
fn buckets(resources: &[Value]) -> BTreeMap<String, (bool, bool)> {
    let spec = |r: &Value| r["spec"].clone();
    let sources = replications(resources).map(|r| spec(r)["source"].clone());
    let rules =
        replications(resources).flat_map(|r| spec(r)["rules"].as_array().cloned().unwrap_or_default());
    let all = sources.chain(rules.map(|rule| rule["destination"].clone()));
    let reported = |b: Value| {
        let name = b["bucket"].as_str().unwrap_or_default().to_owned();
        let foreign = b["account"] == OTHER || b["accountRef"] == "dr";
        (name, (foreign, b["versioning"] == "Required"))
    };
    all.map(reported).collect()
}

/// Creates a bucket that a sample requires. Returns its name.
async fn prepare(world: &World, name: &str, other: Option<&str>, versioned: bool) -> Result<String> {
    let region = REGIONS.into_iter().find(|region| name.ends_with(region));
    let region = region.with_context(|| format!("the name of bucket {name} holds no Region"))?;
    let account = other.unwrap_or(&world.account);
    let bucket = world.bucket_of(account, region).await?;
    let s3 = world.as_account(account).s3(region);
    if versioned {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(&bucket).versioning_configuration(on).send().await?;
    }
    if other.is_some() {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{}:root", world.account)},
            "Action": ["s3:ListBucket", "s3:GetBucketVersioning"],
            "Resource": format!("arn:aws:s3:::{bucket}"),
        }]});
        s3.put_bucket_policy().bucket(&bucket).policy(policy.to_string()).send().await?;
    }
    Ok(bucket)
}

/// Creates a role that a sample requires.
async fn prepare_role(world: &World, path: &str, name: &str) -> Result<()> {
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let create = world.iam().create_role().path(path).role_name(name);
    create.assume_role_policy_document(trust.to_string()).send().await?;
    Ok(())
}

/// Creates each KMS key of the destinations, and replaces the sample's ARN by its own.
async fn with_keys(world: &World, mut text: String) -> Result<String> {
    let decoded = resources(&text)?;
    let rules = decoded.iter().flat_map(|r| r["spec"]["rules"].as_array().into_iter().flatten());
    for arn in rules.filter_map(|rule| rule["destination"]["kmsKeyArn"].as_str()) {
        let region = arn.split(':').nth(3).context("no Region in the ARN")?;
        let created = world.as_account(&world.account).kms(region).create_key().send().await?;
        let key = created.key_metadata().and_then(|key| key.arn()).context("no key")?;
        text = text.replace(arn, key);
    }
    Ok(text)
}

/// Gives the accounts of a sample unique names, lets them allow this world's namespace and buckets,
/// and creates the role that the operator assumes.
async fn with_accounts(world: &World, other: &str, mut text: String) -> Result<String> {
    for name in ["prod", "dr"] {
        let unique = world.unique(name);
        for field in ["name", "accountRef"] {
            text = text.replace(&format!("{field}: {name}\n"), &format!("{field}: {unique}\n"));
        }
    }
    text = text.replace("[default]", &format!("[{}]", world.namespace));
    for pattern in ["orders-*", "*-dr-eu-west-1"] {
        text = text.replace(pattern, &format!("{}-*", world.namespace));
    }
    let id = Some("disaster-recovery");
    let all =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    world.assumable_role(other, "s3-replication-operator", &world.account, id, &all.to_string()).await?;
    Ok(text)
}

/// Applies one sample in its own world and waits until it is Ready, or Drifted with Observe.
async fn applied(file: &PathBuf) -> Result<()> {
    let mut text = std::fs::read_to_string(file)?;
    let sample = file.file_stem().and_then(|stem| stem.to_str());
    let has_accounts = resources(&text)?.iter().any(|resource| resource["kind"] == "AwsAccount");
    let (world, _operator) = if has_accounts {
        world_with_accounts("samples").await?
    } else {
        world_with_operator("samples").await?
    };
    let other = world.another_account();
    for (name, (foreign, versioned)) in buckets(&resources(&text)?) {
        let bucket = prepare(&world, &name, foreign.then_some(other.as_str()), versioned).await?;
        text = text.replace(&name, &bucket);
    }
    text = with_keys(&world, text.replace(OWN, &world.account).replace(OTHER, &other)).await?;
    for boundary in ["boundary", "s3-replication-boundary"] {
        world.boundary(&world.account, boundary).await?;
    }
    match sample {
        Some("existing-role") => prepare_role(&world, "/platform/", "s3-replication").await?,
        Some("accounts") => text = with_accounts(&world, &other, text).await?,
        Some("adopt") => prepare_role(&world, "/s3-replication/", "made-by-hand").await?,
        _ => {}
    }

    let applied = world.apply(&text).await?;
    for resource in replications(&applied) {
        let name = resource["metadata"]["name"].as_str().context("no name")?;
        if resource["spec"]["managementPolicy"] == "Observe" {
            world.wait(name, |status| reason(status, "Ready") == "Drifted", "to be Drifted").await?;
            assert_eq!(world.proxy.writes().len(), 0, "{name} writes nothing");
        } else {
            world.wait_ready(name).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_sample_works() -> Result<()> {
    let files = samples()?;
    assert!(files.len() >= 14, "{files:?}");
    // A few at a time: each starts an operator.
    for some in files.chunks(4) {
        let runs =
            some.iter().map(async |file| applied(file).await.with_context(|| format!("{}", file.display())));
        try_join_all(runs).await?;
    }
    Ok(())
}

#[test]
fn the_quickstart_is_as_first_published() -> Result<()> {
    let text = include_str!("../../../deploy/samples/quickstart.yaml");
    let [quickstart] = resources(text)?.try_into().map_err(|_| anyhow::anyhow!("one resource"))?;
    assert_eq!(
        quickstart["spec"],
        json!({
            "source": {"bucket": "source-bucket-us-east-1"},
            "role": {"name": "s3-replication-role"},
            "rules": [{
                "id": "ReplicateToEU",
                "priority": 1,
                "filter": {"prefix": ""},
                "destination": {"bucket": "dest-bucket-eu-west-1", "storageClass": "STANDARD"},
            }],
        })
    );
    Ok(())
}

#[test]
fn every_sample_is_explained_and_named_after_what_it_shows() -> Result<()> {
    let mut names = BTreeSet::new();
    for file in samples()? {
        let text = std::fs::read_to_string(&file)?;
        assert!(text.starts_with("# "), "{} begins with what it is for", file.display());
        for resource in resources(&text)? {
            let name = resource["metadata"]["name"].as_str().context("no name")?.to_owned();
            assert!(
                names.insert((resource["kind"].to_string(), name.clone())),
                "{name} is there twice: applying the whole folder would lose one"
            );
        }
    }
    Ok(())
}
