//! `import`: the resource of a bucket that replicates already, on which `plan` finds nothing.

use anyhow::{Context, Result};
use aws_sdk_s3::types as s3;
use rig::world::World;
use serde_json::json;

use crate::support::{operator_of, person, plan, reason, turn_of_a_busy_test};

const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;

/// Two versioned buckets and a role that S3 may assume; returns source, destination and the role's ARN.
pub async fn by_hand(world: &World) -> Result<(String, String, String)> {
    let (source, destination) =
        (world.versioned_bucket("us-east-1").await?, world.versioned_bucket("eu-west-1").await?);
    let role =
        world.iam().create_role().role_name("by-hand").assume_role_policy_document(TRUST).send().await?;
    Ok((source, destination, role.role().context("role")?.arn().to_owned()))
}

pub async fn put(world: &World, source: &str, role: &str, rules: Vec<s3::ReplicationRule>) -> Result<()> {
    let configuration = s3::ReplicationConfiguration::builder().role(role).set_rules(Some(rules)).build()?;
    let put = world.s3("us-east-1").put_bucket_replication().bucket(source);
    put.replication_configuration(configuration).send().await?;
    Ok(())
}

/// A rule of the second version of the schema with every field set.
fn full(id: &str, priority: i32, destination: &str) -> Result<s3::ReplicationRule> {
    let minutes = || s3::ReplicationTimeValue::builder().minutes(15).build();
    let tag = |key: &str| s3::Tag::builder().key(key).value("yes").build();
    let and = s3::ReplicationRuleAndOperator::builder()
        .prefix("logs/")
        .tags(tag("keep")?)
        .tags(tag("copy")?)
        .build();
    let time = s3::ReplicationTime::builder().status(s3::ReplicationTimeStatus::Enabled).time(minutes());
    let metrics = s3::Metrics::builder().status(s3::MetricsStatus::Enabled).event_threshold(minutes());
    let markers = s3::DeleteMarkerReplication::builder().status(s3::DeleteMarkerReplicationStatus::Disabled);
    let modifications = s3::ReplicaModifications::builder().status(s3::ReplicaModificationsStatus::Enabled);
    let criteria = s3::SourceSelectionCriteria::builder().replica_modifications(modifications.build()?);
    let to = s3::Destination::builder()
        .bucket(format!("arn:aws:s3:::{destination}"))
        .storage_class(s3::StorageClass::GlacierIr)
        .replication_time(time.build()?)
        .metrics(metrics.build()?);
    Ok(s3::ReplicationRule::builder()
        .id(id)
        .status(s3::ReplicationRuleStatus::Disabled)
        .priority(priority)
        .filter(s3::ReplicationRuleFilter::builder().and(and).build())
        .delete_marker_replication(markers.build())
        .source_selection_criteria(criteria.build())
        .destination(to.build()?)
        .build()?)
}

/// A rule of the first version of the schema.
#[expect(deprecated, reason = "the first version of the schema has its prefix in the rule")]
pub fn first_version(id: &str, prefix: &str, destination: &str) -> Result<s3::ReplicationRule> {
    let to = s3::Destination::builder().bucket(format!("arn:aws:s3:::{destination}")).build()?;
    let rule = s3::ReplicationRule::builder().id(id).prefix(prefix);
    Ok(rule.status(s3::ReplicationRuleStatus::Enabled).destination(to).build()?)
}

async fn import(world: &World, args: &[&str]) -> Result<(Option<i32>, String, String)> {
    let args: Vec<&str> =
        ["import", "--namespace", &world.namespace].into_iter().chain(args.iter().copied()).collect();
    let output = person(world).run(args, "").await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

#[tokio::test]
async fn an_imported_resource_changes_nothing_when_it_is_planned_or_applied() -> Result<()> {
    let world = World::new("import").await?;
    let (source, destination, role) = by_hand(&world).await?;
    let forms = [
        vec![full("everything", 7, &destination)?, full("more", 3, &destination)?],
        vec![first_version("old", "", &destination)?],
        vec![first_version("a", "a/", &destination)?, first_version("b", "b/", &destination)?],
    ];
    for rules in forms {
        put(&world, &source, &role, rules).await?;
        let (code, manifest, error) = import(&world, &["--bucket", &source]).await?;
        assert_eq!(code, Some(0), "{error}");
        assert!(manifest.contains(&role) && manifest.contains("adoptionPolicy: Adopt"), "{manifest}");
        let (code, text) = plan(&world, &manifest).await?;
        assert_eq!(code, Some(0), "{text}{manifest}");
    }

    let (_, manifest, _) = import(&world, &["--bucket", &source]).await?;
    world.proxy.clear();
    let _operator = operator_of(&world).start().await?;
    world.apply(&manifest).await?;
    let object = world.wait_ready(&source).await?;
    assert_eq!(reason(&object["status"], "InSync"), "Applied");
    assert_eq!(world.proxy.writes().len(), 0, "what was imported is as it should be");
    Ok(())
}

#[tokio::test]
async fn all_replicating_buckets_of_an_account_are_imported_at_once() -> Result<()> {
    let world = World::new("import-all").await?;
    let (source, destination, role) = by_hand(&world).await?;
    let second = world.versioned_bucket("us-east-1").await?;
    for bucket in [&source, &second] {
        put(&world, bucket, &role, vec![full("r", 1, &destination)?]).await?;
    }
    let (code, manifests, error) = import(&world, &["--all"]).await?;
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(manifests.matches("kind: BucketReplication").count(), 2, "{manifests}");
    let (code, text) = plan(&world, &manifests).await?;
    assert_eq!(code, Some(0), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_cannot_be_imported_is_reported() -> Result<()> {
    let world = World::new("import-odd").await?;
    let (source, destination, role) = by_hand(&world).await?;
    let (code, _, error) = import(&world, &["--bucket", &destination]).await?;
    assert_eq!(
        (code, error.trim()),
        (Some(1), format!("error: bucket {destination} has no replication configuration").as_str())
    );

    let mut odd = full("odd", 1, &destination)?;
    odd.destination.as_mut().context("destination")?.storage_class = Some("FUTURE_CLASS".into());
    put(&world, &source, &role, vec![odd]).await?;
    let (code, manifest, error) = import(&world, &["--bucket", &source]).await?;
    assert_eq!((code, manifest.as_str()), (Some(2), ""), "the command has done its work");
    assert!(
        error.contains(&source) && error.contains("rules[odd].destination.storageClass is \"FUTURE_CLASS\""),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_bucket_whose_versioning_the_operator_would_write_is_not_imported() -> Result<()> {
    use rig::proxy::{Answer, Fault, Matcher};
    let world = World::new("import-suspended").await?;
    let (source, destination, role) = by_hand(&world).await?;
    put(&world, &source, &role, vec![full("r", 1, &destination)?]).await?;
    let suspended =
        s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Suspended).build();
    let put_versioning = world.s3("eu-west-1").put_bucket_versioning().bucket(&destination);
    put_versioning.versioning_configuration(suspended).send().await?;
    let (code, manifests, error) = import(&world, &["--all"]).await?;
    assert_eq!((code, manifests.as_str()), (Some(2), ""), "{error}");
    let why = format!("bucket {source}: versioning of bucket {destination} is Suspended");
    assert!(error.contains(&why), "{error}");

    // Where the versioning may not be read, the operator only checks it.
    let denied = Answer::error(403, "AccessDenied", "Access Denied");
    world.proxy.inject(Fault::always(Matcher::operation("GetBucketVersioning").about(&destination), denied));
    let (code, manifest, error) = import(&world, &["--bucket", &source]).await?;
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(manifest.matches("versioning: Required\n").count(), 1, "{manifest}");
    Ok(())
}

/// A bucket or key that a configuration refers to may be gone, and S3 goes on showing the configuration.
#[tokio::test]
async fn a_configuration_that_the_operator_would_refuse_is_not_imported() -> Result<()> {
    let world = World::new("import-gone").await?;
    let (source, destination, role) = by_hand(&world).await?;
    let gone = world.versioned_bucket("eu-west-1").await?;
    put(&world, &source, &role, vec![full("kept", 1, &destination)?, full("lost", 2, &gone)?]).await?;
    world.s3("eu-west-1").delete_bucket().bucket(&gone).send().await?;
    let (code, manifest, error) = import(&world, &["--bucket", &source]).await?;
    assert_eq!((code, manifest.as_str()), (Some(2), ""), "{error}");
    for part in ["rules[lost]", "destination.bucket", &gone, &source] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("rules[kept]"), "{error}");

    put(&world, &source, &role, vec![full("kept", 1, &destination)?]).await?;
    let trust = TRUST.replace("s3.amazonaws.com", "ec2.amazonaws.com");
    let update = world.iam().update_assume_role_policy().role_name("by-hand").policy_document(trust);
    update.send().await?;
    let (code, _, error) = import(&world, &["--bucket", &source]).await?;
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains(&role) && error.contains("does not let s3.amazonaws.com assume it"), "{error}");
    let (code, _, error) = import(&world, &["--all"]).await?;
    assert_eq!(code, Some(2), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_a_resource_is_about_is_left_out_of_an_import() -> Result<()> {
    let world = World::new("import-managed").await?;
    let (free, destination, role) = by_hand(&world).await?;
    let managed = world.versioned_bucket("us-east-1").await?;
    for bucket in [&free, &managed] {
        put(&world, bucket, &role, vec![full("r", 1, &destination)?]).await?;
    }
    world.apply(&crate::support::replication("orders", &managed, &destination).to_string()).await?;
    let resource = format!("{}/orders", world.namespace);
    let (code, manifests, error) = import(&world, &["--all"]).await?;
    assert_eq!(code, Some(0), "{error}");
    assert!(manifests.contains(&format!("name: {free}\n")) && !manifests.contains(&managed), "{manifests}");
    let note = format!("note: bucket {managed} is left out: BucketReplication {resource} is about it\n");
    assert!(error.contains(&note), "{error}");

    let directory = rig::paths::scratch_dir("import-managed")?;
    let args = ["--all", "--output-dir", directory.to_str().context("path")?];
    let (code, text, error) = import(&world, &args).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    let first = files(&directory)?;
    let index = first.get(&format!("import-{}.md", world.account)).context("index")?;
    assert!(index.contains(&format!("| {managed} | {resource} |\n")), "{index}");
    assert!(!first.contains_key(&format!("{managed}.yaml")));
    // A resource that was made from a file is no reason to leave the file out.
    world.apply(first.get(&format!("{free}.yaml")).context("file")?).await?;
    let (code, text, error) = import(&world, &args).await?;
    assert_eq!((code, files(&directory)? == first), (Some(0), true), "{text}{error}");

    // Without a cluster, nobody knows.
    let nowhere = ["--kubeconfig", "/nowhere/kubeconfig"];
    let (code, text, error) = import(&world, &[&args[..], &nowhere[..]].concat()).await?;
    assert_eq!(code, Some(0), "{error}");
    assert!(text.contains("No cluster was asked"), "{text}");
    assert!(error.contains("No cluster was asked") && error.contains("/nowhere/kubeconfig"), "{error}");
    assert!(files(&directory)?.contains_key(&format!("{managed}.yaml")), "{text}");
    Ok(())
}

#[tokio::test]
async fn an_import_without_an_account_takes_what_the_default_account_of_the_cluster_allows() -> Result<()> {
    let world = World::alone("import-default").await?;
    let (allowed, destination, role) = by_hand(&world).await?;
    let refused = world.versioned_bucket("us-east-1").await?;
    for bucket in [&allowed, &refused] {
        put(&world, bucket, &role, vec![full("r", 1, &destination)?]).await?;
    }
    let account = |id: &str| {
        let spec = json!({
            "accountId": id, "namespaces": {"matchNames": [world.namespace]},
            "sources": [allowed], "destinations": [destination],
        });
        let metadata = json!({"name": "default"});
        json!({"apiVersion": "s3replication.dev/v1alpha1", "kind": "AwsAccount", "metadata": metadata, "spec": spec})
            .to_string()
    };
    let other_id = "999999999999";
    world.apply(&account(other_id)).await?;
    let (code, manifests, error) = import(&world, &["--all"]).await?;
    assert_eq!((code, manifests.as_str()), (Some(2), ""), "{error}");
    let why = format!("AwsAccount default is for account {other_id}, and the bucket is in account");
    assert_eq!(error.matches(&why).count(), 2, "{error}");

    world.accounts().delete("default", &Default::default()).await?;
    world.apply(&account(&world.account)).await?;
    let (code, manifests, error) = import(&world, &["--all"]).await?;
    assert_eq!(code, Some(2), "{error}");
    assert!(manifests.contains(&allowed) && !manifests.contains(&refused), "{manifests}");
    assert!(!manifests.contains("accountRef"), "the default one needs no name: {manifests}");
    for part in [&refused, "AwsAccount default", "sources"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let elsewhere = ["import", "--all", "-n", "elsewhere"];
    let output = person(&world).run(elsewhere, "").await?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("note: ") && error.contains("elsewhere"),
        "a namespace that it does not admit: {error}"
    );

    world.proxy.clear();
    let _operator = operator_of(&world).start().await?;
    world.apply(&manifests).await?;
    world.wait_ready(&allowed).await?;
    assert_eq!(world.proxy.writes().len(), 0, "what was imported is as it should be");
    Ok(())
}

/// The files of a directory, by name.
fn files(directory: &std::path::Path) -> Result<std::collections::BTreeMap<String, String>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        files
            .insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(entry.path())?);
    }
    Ok(files)
}

/// How many buckets an account has in the test of a whole account.
const BUCKETS: usize = 200;

#[tokio::test]
async fn a_whole_account_becomes_files_that_change_nothing_when_they_are_applied() -> Result<()> {
    use futures::{StreamExt, TryStreamExt};
    let _turn = turn_of_a_busy_test().await;
    let world = World::new("import-files").await?;
    let (odd, destination, role) = by_hand(&world).await?;
    let rule = full("r", 1, &destination)?;
    let buckets: Vec<String> = futures::stream::iter(0..BUCKETS)
        .map(|_| async {
            let bucket = world.versioned_bucket("us-east-1").await?;
            put(&world, &bucket, &role, vec![rule.clone()]).await?;
            anyhow::Ok(bucket)
        })
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let mut inexpressible = full("odd", 1, &destination)?;
    inexpressible.destination.as_mut().context("destination")?.storage_class = Some("FUTURE_CLASS".into());
    put(&world, &odd, &role, vec![inexpressible]).await?;

    let directory = rig::paths::scratch_dir("import")?;
    let args = ["--all", "--output-dir", directory.to_str().context("path")?];
    let (code, text, error) = import(&world, &args).await?;
    assert_eq!(code, Some(2), "one bucket cannot be taken: {text}{error}");
    assert!(text.contains(&format!("{BUCKETS} buckets are taken: {BUCKETS} files created")), "{text}");
    let progress: Vec<&str> = error.lines().filter(|line| line.starts_with("planned ")).collect();
    assert!((10..=12).contains(&progress.len()), "a line for each tenth: {error}");
    assert!(error.contains(&format!("of account {}\n", world.account)), "{error}");
    let first = files(&directory)?;
    let index = first.get(&format!("import-{}.md", world.account)).context("index")?;
    assert_eq!(first.len(), BUCKETS + 1);
    assert!(index.contains(&odd) && index.contains("FUTURE_CLASS"), "{index}");
    for bucket in &buckets {
        assert!(index.contains(&format!("| {bucket} | [")), "{bucket} is not in the index");
    }

    let (_, text, _) = import(&world, &args).await?;
    assert!(text.contains(&format!("0 files created, 0 replaced, {BUCKETS} unchanged")), "{text}");
    assert_eq!(files(&directory)?, first, "a second run changes no byte");

    world.proxy.clear();
    let _operator = operator_of(&world).start().await?;
    let manifests: Vec<&str> =
        first.iter().filter(|(name, _)| name.ends_with(".yaml")).map(|(_, text)| text.as_str()).collect();
    world.apply(&manifests.join("---\n")).await?;
    for bucket in &buckets {
        world.wait_ready(bucket).await?;
    }
    assert_eq!(world.proxy.writes().len(), 0, "what was imported is as it should be");

    let edited = directory.join(format!("{}.yaml", buckets[0]));
    std::fs::write(&edited, "# mine\n")?;
    let (code, text, _) = import(&world, &args).await?;
    assert_eq!((code, text.contains("--force")), (Some(2), true), "{text}");
    assert_eq!(std::fs::read_to_string(&edited)?, "# mine\n");
    import(&world, &[&args[..], &["--force"]].concat()).await?;
    assert_eq!(files(&directory)?, first);
    Ok(())
}
