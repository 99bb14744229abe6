//! `policy` in every partition of AWS: each ARN and each name of a service is that of the Region in the files.

use anyhow::{Result, ensure};
use rig::world::World;
use serde_json::{Value, json};

use crate::support::person;

/// A Region of each partition, with what its ARNs begin with and how its services are called.
const PARTITIONS: [(&str, &str, &str); 8] = [
    ("eu-west-1", "arn:aws:", "amazonaws.com"),
    ("cn-north-1", "arn:aws-cn:", "amazonaws.com.cn"),
    ("us-gov-west-1", "arn:aws-us-gov:", "amazonaws.com"),
    ("eusc-de-east-1", "arn:aws-eusc:", "amazonaws.eu"),
    ("us-iso-east-1", "arn:aws-iso:", "c2s.ic.gov"),
    ("us-isob-east-1", "arn:aws-iso-b:", "sc2s.sgov.gov"),
    ("eu-isoe-west-1", "arn:aws-iso-e:", "cloud.adc-e.uk"),
    ("us-isof-south-1", "arn:aws-iso-f:", "csp.hci.ic.gov"),
];

/// A replication with everything for which ARNs are made, its account, a backfill of it, and another without an
/// account.
fn manifests(region: &str, arn: &str) -> String {
    let kind = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "s3replication.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let rule = json!({
        "id": "all",
        "kmsEncryptedObjects": "Enabled",
        "destination": {
            "bucket": "copies", "region": region, "account": "444455556666", "metrics": "Enabled",
            "kmsKeyArn": format!("{arn}kms:{region}:444455556666:key/k"),
        },
    });
    let near = json!({
        "id": "near",
        "kmsEncryptedObjects": "Enabled",
        "destination": {"bucket": "near", "kmsKeyArn": format!("{arn}kms:{region}:111122223333:key/k")},
    });
    let canary = json!({"canary": {"interval": "15m"}});
    let documents = [
        kind(
            "AwsAccount",
            "prod",
            json!({
                "accountId": "111122223333", "namespaces": {"matchNames": ["default"]}, "sources": ["orders"],
                "destinations": ["copies"], "destinationAccounts": ["444455556666"], "allow": ["Backfill", "Canary"],
            }),
        ),
        kind(
            "BucketReplication",
            "orders",
            json!({
                "source": {"bucket": "orders", "region": region, "accountRef": "prod"}, "health": canary, "rules": [rule],
            }),
        ),
        kind(
            "ReplicationBackfill",
            "orders",
            json!({
                "replicationRef": {"name": "orders"},
                "report": {"bucket": "copies", "kmsKeyArn": format!("{arn}kms:{region}:111122223333:key/r")},
            }),
        ),
        kind(
            "BucketReplication",
            "free",
            json!({
                "source": {"bucket": "free", "region": region}, "health": canary, "rules": [near],
            }),
        ),
        kind("ReplicationBackfill", "free", json!({"replicationRef": {"name": "free"}})),
    ];
    documents.map(|document| document.to_string()).join("\n---\n")
}

#[tokio::test]
async fn every_policy_has_the_arns_and_the_services_of_the_partition_of_its_region() -> Result<()> {
    let world = World::new("partitions").await?;
    for (region, arn, suffix) in PARTITIONS {
        let queue = format!("https://sqs.{region}.{suffix}/111122223333/events");
        // The Region of the environment is another one.
        let args =
            ["policy", "-f", "-", "-o", "json", "--event-queue", &queue, "--account-id", "111122223333"];
        let output =
            person(&world).env("AWS_REGION", "ca-central-1").run(args, &manifests(region, arn)).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{region}: {}", String::from_utf8_lossy(&output.stderr));
        for found in text.split('"').filter(|word| word.starts_with("arn:")) {
            ensure!(found.starts_with(arn), "{region}: {found}\n{text}");
        }
        let printed: Value = serde_json::from_str(&text)?;
        let mut through = Vec::new();
        via_services(&printed, &mut through);
        ensure!(through.len() >= 6, "{region}: {through:?}");
        for service in &through {
            let is_s3 = *service == format!("s3.{region}.{suffix}") || *service == format!("s3.*.{suffix}");
            ensure!(is_s3, "{region}: kms:ViaService is {service}\n{text}");
        }
        let titles: Vec<&String> = printed.as_object().into_iter().flat_map(|all| all.keys()).collect();
        for title in [
            "policy of the operator in AwsAccount prod",
            "policy of role default.orders",
            "policy of role backfill+default.orders",
            "bucket policy of destination copies",
            "policy of event queue events",
            "to add to the notification configuration of bucket orders",
        ] {
            ensure!(titles.iter().any(|held| *held == title), "{region}: no {title}: {titles:?}");
        }
    }
    Ok(())
}

/// Every value of a condition on `kms:ViaService`.
fn via_services<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                if key == "kms:ViaService" {
                    let values = inner.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(inner));
                    found.extend(values.iter().filter_map(Value::as_str));
                } else {
                    via_services(inner, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| via_services(item, found)),
        _ => {}
    }
}
