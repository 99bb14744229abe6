//! The resources that the API server refuses by the definition alone, before the operator sees them: each with a
//! message that names the field and says what to do. Also those that it must accept.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use rig::world::{World, condition};
use serde_json::{Value, json};

use crate::support::{Scene, left_in_aws, message, reason, replication, set, world_with_insight};

/// An invalid input, the field that the error names, and the remedy in its message.
struct Bad {
    what: &'static str,
    /// Edits of an otherwise valid resource.
    edits: Vec<(&'static str, Value)>,
    field: &'static str,
    says: &'static str,
}

fn bad(what: &'static str, path: &'static str, value: Value, field: &'static str, says: &'static str) -> Bad {
    Bad { what, edits: vec![(path, value)], field, says }
}

/// `n` rules with unique ids and priorities.
fn rules(n: usize) -> Vec<Value> {
    let rule = |i| json!({"id": format!("r{i}"), "priority": i, "destination": {"bucket": "destination"}});
    (0..n).map(rule).collect()
}

/// `n` rules; the last has this value at the path.
fn rules_with(n: usize, path: &str, value: Value) -> Value {
    let mut changed = rules(n);
    set(changed.last_mut().expect("there is a rule"), path, value);
    json!(changed)
}

/// `n` tags.
fn tags(n: usize) -> Value {
    json!((0..n).map(|i| (format!("k{i}"), "v".to_owned())).collect::<BTreeMap<_, _>>())
}

#[rustfmt::skip] // One line a case.
fn bad_inputs() -> Vec<Bad> {
    const SOURCE: &str = "spec.source.bucket";
    const TO: &str = "spec.rules.0.destination.bucket";
    const TO_FIELD: &str = "spec.rules[0].destination.bucket";
    const NAME_SAYS: &str = "3 to 63 lowercase letters, digits, dots and hyphens";
    const KMS: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let dup_says = "each rule needs its own priority";
    let together = "kmsEncryptedObjects: Enabled and destination.kmsKeyArn (the key that encrypts the replicas) go together";
    let mut all = vec![
        bad("a bucket in capitals", SOURCE, json!("Source"), SOURCE, NAME_SAYS),
        bad("a bucket with an underscore", SOURCE, json!("my_source"), SOURCE, NAME_SAYS),
        bad("a bucket of two characters", SOURCE, json!("ab"), SOURCE, NAME_SAYS),
        bad("a bucket of 64 characters", SOURCE, json!("b".repeat(64)), SOURCE, "may not be more than 63"),
        bad("a bucket like an IP address", SOURCE, json!("192.168.5.4"), SOURCE, "not in the form of an IP address"),
        bad("a bucket's ARN", SOURCE, json!("arn:aws:s3:::source"), SOURCE, "not an ARN or a URL"),
        bad("a bucket's URL", SOURCE, json!("s3://source"), SOURCE, "not an ARN or a URL"),
        bad("a bucket with two dots in a row", SOURCE, json!("my..source"), SOURCE, NAME_SAYS),
        bad("a bucket that ends with a hyphen", SOURCE, json!("source-"), SOURCE, "beginning and ending with a letter or digit"),
        bad("a directory bucket", SOURCE, json!("source--use1-az4--x-s3"), SOURCE, "use a general purpose bucket"),
        bad("an access point alias", SOURCE, json!("my-point-abcdef-s3alias"), SOURCE, "give the name of the bucket behind it"),
        bad("no bucket", SOURCE, json!(""), SOURCE, NAME_SAYS),
        bad("a destination in capitals", TO, json!("Destination"), TO_FIELD, NAME_SAYS),
        bad("a destination's ARN", TO, json!("arn:aws:s3:::destination"), TO_FIELD, "not an ARN or a URL"),
        bad("a destination that is a directory bucket", TO, json!("d--use1-az4--x-s3"), TO_FIELD, "use a general purpose bucket"),
        bad("the source as the destination", TO, json!("source"), "spec.rules", "S3 replicates only into another bucket"),
        bad("a region of the console", "spec.source.region", json!("US East"), "spec.source.region", "leave it out to have it discovered"),
        bad("an availability zone", "spec.rules.0.destination.region", json!("eu-west-1a"), "spec.rules[0].destination.region", "such as eu-west-1"),
        bad("an account id too short", "spec.rules.0.destination.account", json!("12345"), "spec.rules[0].destination.account", "12 digits"),
        bad("an account id with hyphens", "spec.rules.0.destination.account", json!("1111-2222-33"), "spec.rules[0].destination.account", "12 digits"),
        bad("an account id without quotes", "spec.rules.0.destination.account", json!(111_122_223_333_u64), "spec.rules[0].destination.account", "must be of type string"),
        bad("a key that is no ARN", "spec.source.kmsKeyArns", json!(["alias/aws/s3"]), "spec.source.kmsKeyArns", "must be ARNs of KMS keys"),
        bad("an alias for the source's key", "spec.source.kmsKeyArns", json!(["arn:aws:kms:us-east-1:111122223333:alias/a"]), "spec.source.kmsKeyArns", "not of aliases"),
        bad("a boundary by name", "spec.role.permissionsBoundary", json!("boundary"), "spec.role.permissionsBoundary", "must be the ARN of an IAM policy"),
        bad("a path without its last slash", "spec.role.path", json!("/team"), "spec.role.path", "begin and end with /"),
        bad("a path with a space", "spec.role.path", json!("/my team/"), "spec.role.path", "such as /s3-replication/"),
        bad("a role's name with its path", "spec.role.name", json!("team/role"), "spec.role.name", "the path goes into role.path"),
        bad("a role's name of 65 characters", "spec.role.name", json!("r".repeat(65)), "spec.role.name", "may not be more than 64"),
        bad("a role's ARN that is none", "spec.role", json!({"arn": "s3-replication-role"}), "spec.role.arn", "must be the ARN of an IAM role"),
        bad("a user's ARN", "spec.role", json!({"arn": "arn:aws:iam::111122223333:user/u"}), "spec.role.arn", "must be the ARN of an IAM role"),
        bad("a role by name and by ARN", "spec.role.arn", json!("arn:aws:iam::111122223333:role/r"), "spec.role", "remove name, path, permissionsBoundary and tags"),
        bad("47 role tags", "spec.role.tags", tags(47), "spec.role.tags", "must have at most 46 items"),
        bad("a role tag of AWS", "spec.role.tags", json!({"aws:team": "a"}), "spec.role.tags", "reserved by AWS"),
        bad("a role tag of the operator", "spec.role.tags", json!({"s3replication.dev/uid": "a"}), "spec.role.tags", "reserved by this operator"),
        bad("a role tag without a key", "spec.role.tags", json!({"": "a"}), "spec.role.tags", "keys have 1 to 128 characters"),
        bad("a role tag that is a number", "spec.role.tags", json!({"cost": 1}), "spec.role.tags.cost", "must be of type string"),
        bad("no rules", "spec.rules", json!([]), "spec.rules", "at least 1 items"),
        bad("rules left out", "spec.rules", Value::Null, "spec.rules", "Required value"),
        bad("1,001 rules", "spec.rules", json!(rules(1001)), "spec.rules", "must have at most 1000 items"),
        bad("two rules of one id", "spec.rules", rules_with(2, "id", json!("r0")), "spec.rules[1]", "Duplicate value"),
        bad("two rules and one priority", "spec.rules", rules_with(2, "priority", Value::Null), "spec.rules", "add priority to every rule"),
        bad("a priority twice", "spec.rules", rules_with(2, "priority", json!(0)), "spec.rules", dup_says),
        bad("a priority twice among 1,000", "spec.rules", rules_with(1000, "priority", json!(998)), "spec.rules", dup_says),
        bad("a negative priority", "spec.rules.0.priority", json!(-1), "spec.rules[0].priority", "greater than or equal to 0"),
        bad("a priority that no integer holds", "spec.rules.0.priority", json!(2_147_483_648_u64), "spec.rules[0].priority", "less than or equal to 2147483647"),
        bad("a priority in quotes", "spec.rules.0.priority", json!("1"), "spec.rules[0].priority", "must be of type integer"),
        bad("an id of 256 characters", "spec.rules.0.id", json!("i".repeat(256)), "spec.rules[0].id", "may not be more than 255"),
        bad("an id with an umlaut", "spec.rules.0.id", json!("zurück"), "spec.rules[0].id", "printable ASCII characters"),
        bad("an empty id", "spec.rules.0.id", json!(""), "spec.rules[0].id", "at least 1 chars long"),
        bad("a status that is none", "spec.rules.0.status", json!("On"), "spec.rules[0].status", "supported values: \"Enabled\", \"Disabled\""),
        bad("a prefix of 1,025 characters", "spec.rules.0.filter.prefix", json!("p".repeat(1025)), "spec.rules[0].filter.prefix", "may not be more than 1024"),
        bad("11 filter tags", "spec.rules.0.filter.tags", tags(11), "spec.rules[0].filter.tags", "must have at most 10 items"),
        bad("a filter tag without a key", "spec.rules.0.filter.tags", json!({"": "a"}), "spec.rules[0].filter.tags", "keys have 1 to 128 characters"),
        bad("an unknown storage class", "spec.rules.0.destination.storageClass", json!("COLD"), "spec.rules[0].destination.storageClass", "supported values: \"STANDARD\""),
        bad("an owner within the account", "spec.rules.0.destination.ownership", json!("Destination"), "spec.rules[0].destination", "set account to the id of its owner"),
        bad("encrypted objects without a key", "spec.rules.0.kmsEncryptedObjects", json!("Enabled"), "spec.rules[0]", together),
        bad("a key without encrypted objects", "spec.rules.0.destination.kmsKeyArn", json!(KMS), "spec.rules[0]", together),
        bad("an unknown field", "spec.rules.0.destination.storageclass", json!("STANDARD"), "spec.rules[0].destination.storageclass", "unknown field"),
        bad("an unknown policy", "spec.deletionPolicy", json!("Orphan"), "spec.deletionPolicy", "supported values: \"Delete\", \"Retain\""),
        bad("a switch that is text", "spec.suspend", json!("true"), "spec.suspend", "must be of type boolean"),
    ];
    for (what, interval) in [
        ("an interval too short", "59s"), ("an interval too long", "24h1s"), ("an interval that is no duration", "often"),
        ("an interval with a unit too large", "1d"), ("an interval without a unit", "60"), ("an empty interval", ""),
        ("an interval of more digits than a number has", "99999999999999h"), ("a negative interval", "-5m"),
    ] {
        all.push(bad(what, "spec.interval", json!(interval), "spec.interval", "from 1m to 24h, such as 10m or 1h30m"));
    }
    const HEALTH: &str = "spec.health.interval";
    const CANARY: &str = "spec.health.canary.interval";
    const PREFIX: &str = "spec.health.canary.prefix";
    for (what, field, value, says) in [
        ("metrics read too often", HEALTH, "30s", "health.interval must be hours, minutes and seconds from 1m to 24h"),
        ("metrics read too rarely", HEALTH, "25h", "health.interval must be hours, minutes and seconds from 1m to 24h"),
        ("canaries too often", CANARY, "4m", "health.canary.interval must be hours, minutes and seconds from 5m to 24h"),
        ("canaries among the objects of the user", PREFIX, "", "must be the beginning of a key that no other object has"),
        ("canaries in a folder without a name", PREFIX, "/x", "must not begin with /, such as .s3replication.dev/"),
    ] {
        all.push(bad(what, field, json!(value), field, says));
    }
    all.push(Bad {
        what: "an encryption key that is no ARN",
        edits: vec![("spec.rules.0.kmsEncryptedObjects", json!("Enabled")), ("spec.rules.0.destination.kmsKeyArn", json!("1234abcd"))],
        field: "spec.rules[0].destination.kmsKeyArn",
        says: "must be the ARN of a KMS key",
    });
    all.push(Bad {
        what: "delete markers of a rule with a tag filter",
        edits: vec![("spec.rules.0.deleteMarkers", json!("Enabled")), ("spec.rules.0.filter.tags", json!({"a": "b"}))],
        field: "spec.rules[0]",
        says: "remove filter.tags or set deleteMarkers to Disabled",
    });
    all.push(Bad {
        what: "replication time without metrics",
        edits: vec![("spec.rules.0.destination.replicationTimeControl", json!("Enabled")), ("spec.rules.0.destination.metrics", json!("Disabled"))],
        field: "spec.rules[0].destination",
        says: "remove metrics or set it to Enabled",
    });
    all
}

/// Returns the API server's error message for an object, or `None` if it accepts it: `kubectl create --dry-run=server`.
async fn refusal(world: &World, object: &Value) -> Result<Option<String>> {
    let path = format!("/apis/s3replication.dev/v1alpha1/namespaces/{}/bucketreplications", world.namespace);
    let params = PostParams { dry_run: true, field_manager: None };
    let mut request = Request::new(path).create(&params, serde_json::to_vec(object)?)?;
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse()?;
    match world.kube.request::<Value>(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// Whether one of the errors in a message is about the field and contains this text.
pub fn complains(refusal: &str, field: &str, says: &str) -> bool {
    let (_, complaints) = refusal.split_once(" is invalid: ").unwrap_or(("", refusal));
    let complaints = complaints.trim_start_matches('[').replace(", spec.", "\0spec.");
    let about = |complaint: &&str| {
        let named = complaint.strip_prefix(field).is_some_and(|rest| rest.starts_with(':'));
        named || complaint.contains(&format!("unknown field \"{field}\""))
    };
    complaints.split('\0').filter(about).any(|complaint| complaint.contains(says))
}

#[tokio::test]
async fn bad_input_is_refused_with_the_field_and_the_remedy() -> Result<()> {
    let world = World::new("admission").await?;
    let mut wrong = Vec::new();
    for Bad { what, edits, field, says } in bad_inputs() {
        let mut object = replication("bad", "source", "destination");
        for (path, value) in edits {
            set(&mut object, path, value);
        }
        match refusal(&world, &object).await? {
            None => wrong.push(format!("{what}: was not refused")),
            Some(reported) if complains(&reported, field, says) => {}
            Some(reported) => wrong.push(format!("{what}: expected {field} and {says:?} in: {reported}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn input_that_aws_accepts_is_accepted() -> Result<()> {
    let world = World::new("accepted").await?;
    let good = |path: &str, value: Value| {
        let mut object = replication("good", "source", "destination");
        set(&mut object, path, value);
        object
    };
    let objects = [
        replication("quickstart", "source-bucket-us-east-1", "dest-bucket-eu-west-1"),
        good("spec.rules", json!(rules(1000))),
        good("spec.rules.0.priority", Value::Null),
        good("spec.rules.0.id", json!("i".repeat(255))),
        good("spec.rules.0.filter.prefix", json!("p".repeat(1024))),
        good("spec.rules.0.filter.tags", tags(10)),
        good("spec.role.tags", tags(46)),
        good("spec.role.path", json!("/")),
        good("spec.source.bucket", json!("my.bucket.with.dots")),
        good("spec.source.region", json!("us-gov-west-1")),
        good("spec.source.region", json!("ap-southeast-2")),
        good("spec.interval", json!("1m")),
        good("spec.interval", json!("24h")),
    ];
    for object in objects {
        assert_eq!(refusal(&world, &object).await?, None, "{}", object["spec"]);
    }
    Ok(())
}

#[tokio::test]
async fn an_immutable_field_is_refused_with_the_remedy() -> Result<()> {
    let world = World::new("immutable").await?;
    world.apply(&replication("orders", "source", "destination").to_string()).await?;
    let change = async |spec: Value| {
        let patch = Patch::Merge(json!({"spec": spec}));
        match world.api().patch("orders", &PatchParams::default(), &patch).await {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };

    let reported = change(json!({"source": {"bucket": "other"}})).await;
    assert!(
        complains(&reported, "spec.source.bucket", "create another BucketReplication for the other bucket"),
        "{reported}"
    );
    let reported = change(json!({"role": {"path": "/other/"}})).await;
    assert!(complains(&reported, "spec.role", "IAM cannot move a role"), "{reported}");
    let reported = change(json!({"role": {"path": "/s3-replication/"}})).await;
    assert_eq!(reported, "", "the explicit default is no change");
    let reported = change(json!({"role": {"name": "another"}})).await;
    assert_eq!(reported, "", "a name may change");
    let arn = "arn:aws:iam::111122223333:role/existing";
    let reported = change(json!({"role": {"name": null, "path": null, "arn": arn}})).await;
    assert_eq!(reported, "", "a managed role may give way to an existing one");
    let reported = change(json!({"role": null})).await;
    assert_eq!(reported, "", "and the other way round");
    Ok(())
}

/// Stores an object past admission, as if it had been created before today's rules.
async fn store(world: &World, name: &str, edits: &[(&str, Value)]) -> Result<()> {
    let mut object = world.get(name).await?;
    for (path, value) in edits {
        set(&mut object, path, value.clone());
    }
    let generation = object["metadata"]["generation"].as_i64().context("no generation")?;
    set(&mut object, "metadata.generation", json!(generation + 1));
    world.cluster().store("bucketreplications", &object).await
}

#[tokio::test]
async fn an_unreadable_resource_reports_it_and_blocks_no_other() -> Result<()> {
    let (world, _operator) = world_with_insight("unreadable").await?;
    let destination = world.bucket("eu-west-1").await?;
    let unreadable = [
        ("text-for-a-switch", "spec.suspend", json!("no"), "expected a boolean"),
        ("unknown-word", "spec.rules.0.destination.storageClass", json!("COLD"), "unknown variant cold"),
        ("nothing", "spec.rules.0.destination.bucket", Value::Null, "missing field bucket"),
    ];
    let mut sources = Vec::new();
    for (name, path, value, says) in &unreadable {
        let source = world.bucket("us-east-1").await?;
        world.apply(&replication(name, &source, &destination).to_string()).await?;
        world.wait_ready(name).await?;
        store(&world, name, &[(path, value.clone())]).await?;
        let invalid = |status: &Value| reason(status, "Ready") == "InvalidSpec";
        let status = &world.wait(name, invalid, "to be InvalidSpec").await?["status"];
        assert_eq!(condition(status, "Ready").unwrap()["status"], "False", "{name}");
        assert_eq!(reason(status, "Stalled"), "InvalidSpec", "{name}");
        let reported = message(status, "Ready").to_lowercase().replace('`', "");
        assert!(reported.contains(says) && reported.contains("correct the field"), "{name}: {reported}");
        sources.push(source);
    }

    let good = world.bucket("us-east-1").await?;
    world.apply(&replication("good", &good, &destination).to_string()).await?;
    world.wait_ready("good").await?;

    for ((name, ..), source) in unreadable.iter().zip(&sources) {
        world.api().delete(name, &DeleteParams::default()).await?;
        world.wait_gone(name).await?;
        assert_eq!(
            left_in_aws(&world, "us-east-1", source, &format!("{name}-role")).await?,
            Vec::<String>::new()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_stored_resource_that_todays_validation_refuses_can_still_be_deleted() -> Result<()> {
    let (world, _operator) = world_with_insight("outdated").await?;
    let destination = world.bucket("eu-west-1").await?;
    let priority_twice = |n| {
        let mut rules = rules_with(n, "priority", json!(0));
        rules
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|r| set(r, "destination.bucket", json!(destination)));
        rules
    };
    let outdated = [
        ("priority-twice", "spec.rules", priority_twice(2)),
        ("priority-twice-among-many", "spec.rules", priority_twice(100)),
        ("interval", "spec.interval", json!("99999999999999h")),
        ("prefix", "spec.rules.0.filter.prefix", json!("p".repeat(1025))),
        (
            "metrics",
            "spec.rules.0.destination",
            json!({"bucket": destination, "replicationTimeControl": "Enabled", "metrics": "Disabled"}),
        ),
    ];
    for (name, path, value) in &outdated {
        let source = world.bucket("us-east-1").await?;
        world.apply(&replication(name, &source, &destination).to_string()).await?;
        world.wait_ready(name).await?;
        store(&world, name, &[(path, value.clone())]).await?;
        // The API server keeps invalid values that were stored before, so the status and the finalizer can be changed.
        let generation = world.get(name).await?["metadata"]["generation"].clone();
        let seen = |status: &Value| status["observedGeneration"] == generation;
        world.wait(name, seen, "to have been checked").await.with_context(|| *name)?;
        world.api().delete(name, &DeleteParams::default()).await?;
        world.wait_gone(name).await?;
        assert_eq!(
            left_in_aws(&world, "us-east-1", &source, &format!("{name}-role")).await?,
            Vec::<String>::new()
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_unreadable_status_is_replaced() -> Result<()> {
    let Scene { world, operator: _operator, .. } =
        Scene::named("unreadable-status").with_insight().ready().await?;
    let drift = json!([{"resource": "Moon", "name": "x", "path": "p", "want": "a", "got": "b"}]);
    store(&world, "orders", &[("status.drift", drift)]).await?;
    world.wait_ready("orders").await?;
    Ok(())
}
