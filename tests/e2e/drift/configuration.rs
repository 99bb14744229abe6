//! Drift of the replication configuration, field by field.

use anyhow::Result;
use aws_sdk_s3::types::{
    AccessControlTranslation, DeleteMarkerReplicationStatus, EncryptionConfiguration, Metrics, MetricsStatus,
    OwnerOverride, ReplicaModifications, ReplicaModificationsStatus, ReplicationConfiguration,
    ReplicationRuleAndOperator, ReplicationRuleFilter, ReplicationRuleStatus, ReplicationTime,
    ReplicationTimeStatus, ReplicationTimeValue, SourceSelectionCriteria, SseKmsEncryptedObjects,
    SseKmsEncryptedObjectsStatus, StorageClass,
};
use serde_json::json;

use crate::support::{DESTINATION_REGION, SOURCE_REGION};

use super::{Edit, differs, edit, eu, scene_named, tag};

#[tokio::test]
async fn every_outside_change_of_the_configuration_is_reported_and_corrected() -> Result<()> {
    let scene = scene_named("drift-rules")
        .edit(|spec| {
            let mut logs = spec["rules"][0].clone();
            logs["id"] = json!("Logs");
            logs["priority"] = json!(2);
            logs["filter"]["prefix"] = json!("logs/");
            spec["rules"].as_array_mut().unwrap().push(logs);
        })
        .ready()
        .await?;
    scene.manage("Observe").await?;
    let another = scene.world.versioned_bucket(DESTINATION_REGION).await?;
    let source = scene.source.clone();
    let to = format!("arn:aws:s3:::{}", scene.destination);
    let account = scene.world.account.clone();
    let key = format!("arn:aws:kms:eu-west-1:{account}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let other_role = format!("arn:aws:iam::{account}:role/another");
    let role = scene.configuration().await?.role;

    let config =
        |path: &str, want: &str, got: &str| differs("ReplicationConfiguration", &source, path, want, got);
    let rule = |field: &str, want: &str, got: &str| {
        vec![config(&format!("rules[ReplicateToEU].{field}"), want, got)]
    };
    let to_eu = format!("Enabled, prefix \"\", to {to}");
    let logs = format!("Enabled, prefix \"logs/\", to {to}");

    let edits: Vec<Edit<ReplicationConfiguration>> = vec![
        edit("status", rule("status", "Enabled", "Disabled"), |c| {
            eu(c).status = ReplicationRuleStatus::Disabled;
        }),
        edit("priority", rule("priority", "1", "7"), |c| eu(c).priority = Some(7)),
        edit("prefix", rule("filter.prefix", "", "images/"), |c| {
            eu(c).filter = Some(ReplicationRuleFilter::builder().prefix("images/").build());
        }),
        edit("tags", rule("filter.tags", "absent", "class=hot, team=data"), |c| {
            let and =
                ReplicationRuleAndOperator::builder().tags(tag("team", "data")).tags(tag("class", "hot"));
            eu(c).filter = Some(ReplicationRuleFilter::builder().and(and.build()).build());
        }),
        edit("delete markers", rule("deleteMarkers", "Disabled", "Enabled"), |c| {
            eu(c).delete_marker_replication.as_mut().unwrap().status =
                Some(DeleteMarkerReplicationStatus::Enabled);
        }),
        edit("replica modifications", rule("replicaModifications", "Disabled", "Enabled"), |c| {
            let on =
                ReplicaModifications::builder().status(ReplicaModificationsStatus::Enabled).build().unwrap();
            eu(c).source_selection_criteria =
                Some(SourceSelectionCriteria::builder().replica_modifications(on).build());
        }),
        edit("another storage class", rule("destination.storageClass", "STANDARD", "GLACIER"), |c| {
            eu(c).destination.as_mut().unwrap().storage_class = Some(StorageClass::Glacier);
        }),
        edit("no storage class", rule("destination.storageClass", "STANDARD", "absent"), |c| {
            eu(c).destination.as_mut().unwrap().storage_class = None;
        }),
        edit("destination bucket", rule("destination.bucket", &scene.destination, &another), {
            let another = format!("arn:aws:s3:::{another}");
            move |c| eu(c).destination.as_mut().unwrap().bucket = another
        }),
        edit("ownership", rule("destination.ownership", "absent", "Destination"), {
            let account = account.clone();
            move |c| {
                let to = eu(c).destination.as_mut().unwrap();
                to.account = Some(account);
                let owner = AccessControlTranslation::builder().owner(OwnerOverride::Destination);
                to.access_control_translation = Some(owner.build().unwrap());
            }
        }),
        edit(
            "encryption",
            [
                rule("kmsEncryptedObjects", "Disabled", "Enabled"),
                rule("destination.kmsKeyArn", "absent", &key),
            ]
            .concat(),
            {
                let key = key.clone();
                move |c| {
                    let on = SseKmsEncryptedObjects::builder().status(SseKmsEncryptedObjectsStatus::Enabled);
                    let criteria =
                        SourceSelectionCriteria::builder().sse_kms_encrypted_objects(on.build().unwrap());
                    eu(c).source_selection_criteria = Some(criteria.build());
                    let to = eu(c).destination.as_mut().unwrap();
                    to.encryption_configuration =
                        Some(EncryptionConfiguration::builder().replica_kms_key_id(key).build());
                }
            },
        ),
        edit("metrics", rule("destination.metrics", "Disabled", "Enabled"), |c| {
            let metrics = Metrics::builder().status(MetricsStatus::Enabled).build().unwrap();
            eu(c).destination.as_mut().unwrap().metrics = Some(metrics);
        }),
        edit(
            "replication time",
            [
                rule("destination.replicationTimeControl", "Disabled", "Enabled"),
                rule("destination.metrics", "Disabled", "Enabled"),
            ]
            .concat(),
            |c| {
                let minutes = || ReplicationTimeValue::builder().minutes(15).build();
                let time = ReplicationTime::builder().status(ReplicationTimeStatus::Enabled).time(minutes());
                let metrics = Metrics::builder().status(MetricsStatus::Enabled).event_threshold(minutes());
                let to = eu(c).destination.as_mut().unwrap();
                to.replication_time = Some(time.build().unwrap());
                to.metrics = Some(metrics.build().unwrap());
            },
        ),
        edit(
            "a rule less",
            vec![config("rules[Logs]", &logs, "absent")],
            |c: &mut ReplicationConfiguration| {
                c.rules.retain(|r| r.id() != Some("Logs"));
            },
        ),
        edit("a rule more", vec![config("rules[Sneaky]", "absent", &to_eu)], |c| {
            let mut sneaky = eu(c).clone();
            sneaky.id = Some("Sneaky".to_owned());
            sneaky.priority = Some(9);
            c.rules.push(sneaky);
        }),
        edit("another role", vec![config("role", &role, &other_role)], {
            let other_role = other_role.clone();
            move |c: &mut ReplicationConfiguration| c.role = other_role
        }),
    ];
    for Edit { what, make, expected } in edits {
        scene.edit_configuration(make).await?;
        scene.check_reported_and_corrected(what, "ReplicationReady", expected).await?;
    }

    scene.world.s3(SOURCE_REGION).delete_bucket_replication().bucket(&scene.source).send().await?;
    let gone = vec![config("rules[Logs]", &logs, "absent"), config("rules[ReplicateToEU]", &to_eu, "absent")];
    scene.check_reported_and_corrected("no configuration", "ReplicationReady", gone).await
}
