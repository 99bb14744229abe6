//! The role, its policy, its boundary and its tags.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use kube::api::DeleteParams;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, SOURCE_REGION, Scene, decode_policy, left_in_aws, set, strings};

use super::{KMS_REPLICAS, KMS_SOURCE, flat, granted};

#[tokio::test]
async fn the_quickstart_grants_each_action_only_where_it_is_needed() -> Result<()> {
    let orders = Scene::named("quickstart-policy").ready().await?;
    let bucket = format!("arn:aws:s3:::{}", orders.source);
    let objects = format!("arn:aws:s3:::{}/*", orders.source);
    let replicas = format!("arn:aws:s3:::{}/*", orders.destination);
    // The actions of AWS's first samples, without those that AWS no longer requires.
    let expected = granted(&[
        (&bucket, &["s3:GetReplicationConfiguration", "s3:ListBucket"]),
        (
            &objects,
            &["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"],
        ),
        (
            &replicas,
            &[
                "s3:ReplicateObject",
                "s3:ReplicateDelete",
                "s3:ReplicateTags",
                "s3:PutObjectAcl",
                "s3:PutObjectTagging",
            ],
        ),
    ]);
    assert_eq!(orders.grants().await?, expected);

    let role = orders.role("orders-role").await?;
    let trust = decode_policy(role.assume_role_policy_document().unwrap())?;
    let [statement] = trust["Statement"].as_array().unwrap().as_slice() else { panic!("{trust}") };
    assert_eq!(statement["Effect"], "Allow");
    assert_eq!(statement["Principal"], json!({"Service": "s3.amazonaws.com"}));
    assert_eq!(strings(&statement["Action"]), ["sts:AssumeRole"]);
    assert_eq!(orders.configuration().await?.role(), role.arn());
    Ok(())
}

#[tokio::test]
async fn each_switch_of_replicate_removes_its_actions_and_restores_them() -> Result<()> {
    let orders = Scene::named("replicate").ready().await?;
    let usual = orders.grants().await?;
    let objects = format!("arn:aws:s3:::{}/*", orders.source);
    let replicas = format!("arn:aws:s3:::{}/*", orders.destination);
    let tags = granted(&[
        (&objects, &["s3:GetObjectVersionTagging"]),
        (&replicas, &["s3:ReplicateTags", "s3:PutObjectTagging"]),
    ]);
    let acls = granted(&[(&objects, &["s3:GetObjectVersionAcl"]), (&replicas, &["s3:PutObjectAcl"])]);
    let gone = |now: &BTreeSet<(String, String)>| usual.difference(now).cloned().collect::<BTreeSet<_>>();

    orders.change_spec(&[("replicate", json!({"tags": false}))]).await?;
    assert_eq!(gone(&orders.grants().await?), tags);
    orders.change_spec(&[("replicate", json!({"tags": true, "acls": false}))]).await?;
    assert_eq!(gone(&orders.grants().await?), acls);
    orders.change_spec(&[("replicate", json!({"tags": false, "acls": false}))]).await?;
    assert_eq!(gone(&orders.grants().await?), tags.union(&acls).cloned().collect());
    orders.change_spec(&[("replicate", json!(null))]).await?;
    assert_eq!(orders.grants().await?, usual);
    Ok(())
}

#[tokio::test]
async fn the_role_may_use_keys_through_s3_and_for_its_buckets_only() -> Result<()> {
    let orders = Scene::named("keys")
        .edit(|spec| {
            set(spec, "rules.0.kmsEncryptedObjects", json!("Enabled"));
            set(spec, "rules.0.destination.kmsKeyArn", json!(KMS_REPLICAS));
        })
        .ready()
        .await?;
    let kms = |policy: &Value| -> BTreeSet<(String, String)> {
        flat(policy).into_iter().filter(|(action, _)| action.starts_with("kms:")).collect()
    };
    let policy = orders.role_policy().await?;
    let any = format!("arn:aws:kms:us-east-1:{}:key/*", orders.world.account);
    let encrypt: &[&str] = &["kms:Encrypt", "kms:GenerateDataKey"];
    assert_eq!(kms(&policy), granted(&[(&any, &["kms:Decrypt"]), (KMS_REPLICAS, encrypt)]));
    for statement in policy["Statement"].as_array().unwrap() {
        let (region, bucket) = match strings(&statement["Action"])[0].as_str() {
            "kms:Decrypt" => (SOURCE_REGION, &orders.source),
            action if action.starts_with("kms:") => (DESTINATION_REGION, &orders.destination),
            _ => continue,
        };
        let condition = &statement["Condition"]["StringLike"];
        assert_eq!(strings(&condition["kms:ViaService"]), [format!("s3.{region}.amazonaws.com")]);
        // The context is the object's ARN, or the bucket's with S3 Bucket Keys.
        let context: BTreeSet<_> =
            strings(&condition["kms:EncryptionContext:aws:s3:arn"]).into_iter().collect();
        let either = [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")];
        assert_eq!(context, BTreeSet::from(either));
    }

    let another = KMS_SOURCE.replace("1111-2222", "aaaa-bbbb");
    orders.change_spec(&[("source.kmsKeyArns", json!([KMS_SOURCE, another]))]).await?;
    let decrypt: &[&str] = &["kms:Decrypt"];
    let two = granted(&[(KMS_SOURCE, decrypt), (&another, decrypt), (KMS_REPLICAS, encrypt)]);
    assert_eq!(kms(&orders.role_policy().await?), two);
    orders.change_spec(&[("source.kmsKeyArns", json!([another]))]).await?;
    assert_eq!(kms(&orders.role_policy().await?), granted(&[(&another, decrypt), (KMS_REPLICAS, encrypt)]));
    orders.change_spec(&[("source.kmsKeyArns", json!(null))]).await?;
    assert_eq!(kms(&orders.role_policy().await?), kms(&policy));

    let off = [("rules.0.kmsEncryptedObjects", json!(null)), ("rules.0.destination.kmsKeyArn", json!(null))];
    orders.change_spec(&off).await?;
    assert_eq!(kms(&orders.role_policy().await?), BTreeSet::new());
    Ok(())
}

#[tokio::test]
async fn boundary_and_tags_of_the_role_are_set_changed_and_removed() -> Result<()> {
    let orders = Scene::named("role-fields").ready().await?;
    let boundary = async || -> Result<Option<String>> {
        let role = orders.role("orders-role").await?;
        Ok(role.permissions_boundary().and_then(|b| b.permissions_boundary_arn()).map(str::to_owned))
    };
    assert_eq!(orders.role("orders-role").await?.path(), "/s3-replication/");
    assert_eq!(boundary().await?, None);
    for name in ["one", "two"] {
        let arn = orders.world.boundary(&orders.world.account, name).await?;
        orders.change_spec(&[("role.permissionsBoundary", json!(arn))]).await?;
        assert_eq!(boundary().await?, Some(arn));
    }
    orders.change_spec(&[("role.permissionsBoundary", json!(null))]).await?;
    assert_eq!(boundary().await?, None);

    for tags in [
        json!({"team": "data"}),
        json!({"team": "data", "cost": "42"}),
        json!({"team": "web", "cost": "42"}),
        json!({"cost": ""}),
        json!(null),
    ] {
        orders.change_spec(&[("role.tags", tags.clone())]).await?;
        let expected: BTreeMap<String, String> = serde_json::from_value(tags).unwrap_or_default();
        assert_eq!(orders.user_role_tags().await?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_role_is_created_at_the_path_in_the_spec() -> Result<()> {
    let orders = Scene::named("role-path")
        .edit(|spec| {
            set(spec, "role.path", json!("/teams/data/"));
        })
        .ready()
        .await?;
    let role = orders.role("orders-role").await?;
    assert_eq!(role.path(), "/teams/data/");
    let arn = format!("arn:aws:iam::{}:role/teams/data/orders-role", orders.world.account);
    assert_eq!(role.arn(), arn);
    assert_eq!(orders.configuration().await?.role(), arn);
    Ok(())
}

#[tokio::test]
async fn the_default_role_name_is_unique_and_a_renamed_role_leaves_no_orphan() -> Result<()> {
    let orders = Scene::named("role-name").edit(|spec| set(spec, "role", json!(null))).ready().await?;
    let default = format!("{}.orders", orders.world.namespace);
    assert_eq!(orders.roles().await?, [default.as_str()]);

    for name in ["first", "second"] {
        let object = orders.change_spec(&[("role.name", json!(name))]).await?;
        assert_eq!(orders.roles().await?, [name]);
        let role = orders.role(name).await?;
        assert_eq!(orders.configuration().await?.role(), role.arn());
        assert_eq!(object["status"]["role"], json!({"arn": role.arn(), "managed": true}));
    }

    orders.change_spec(&[("role", json!(null))]).await?;
    assert_eq!(orders.roles().await?, [default]);
    Ok(())
}

#[tokio::test]
async fn an_existing_role_is_used_and_never_written() -> Result<()> {
    let orders = Scene::named("role-arn").ready().await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let create = orders.world.iam().create_role().role_name("existing").path("/theirs/");
    let created = create.assume_role_policy_document(trust.to_string()).send().await?;
    let arn = created.role().context("no role")?.arn().to_owned();

    let object = orders.change_spec(&[("role", json!({"arn": arn}))]).await?;
    assert_eq!(object["status"]["role"], json!({"arn": arn, "managed": false}));
    assert_eq!(orders.configuration().await?.role(), arn);
    assert_eq!(orders.roles().await?, ["existing"], "the managed role is gone");

    // From here on nothing is written to IAM.
    orders.world.proxy.clear();
    orders.change_spec(&[("replicate", json!({"tags": false})), ("rules.0.priority", json!(7))]).await?;
    let to_iam = |world: &World| -> Vec<String> {
        world.proxy.writes().iter().filter(|c| c.service == "iam").map(ToString::to_string).collect()
    };
    assert_eq!(to_iam(&orders.world), Vec::<String>::new());

    orders.change_spec(&[("role", json!({"name": "managed-again"}))]).await?;
    assert_eq!(
        orders.roles().await?.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["existing", "managed-again"].map(str::to_owned))
    );
    let managed = orders.role("managed-again").await?;
    assert_eq!(orders.configuration().await?.role(), managed.arn());

    orders.change_spec(&[("role", json!({"arn": arn}))]).await?;
    orders.world.proxy.clear();
    orders.world.api().delete("orders", &DeleteParams::default()).await?;
    orders.world.wait_gone("orders").await?;
    assert_eq!(to_iam(&orders.world), Vec::<String>::new());
    let left = left_in_aws(&orders.world, SOURCE_REGION, &orders.source, "existing").await?;
    assert_eq!(left, ["role existing"]);
    Ok(())
}

#[tokio::test]
async fn a_role_tag_may_have_the_value_absent() -> Result<()> {
    let orders = Scene::named("tag-absent")
        .edit(|spec| {
            set(spec, "role.tags", json!({"state": "present"}));
        })
        .ready()
        .await?;
    orders.change_spec(&[("role.tags", json!({"state": "absent"}))]).await?;
    assert_eq!(orders.user_role_tags().await?.get("state").map(String::as_str), Some("absent"));
    Ok(())
}
