//! Every field of both kinds, from the definitions: it is changed from a Ready state and changed back, and it is
//! corrected from a state of error. AWS is afterwards as it was before.
//!
//! A new field fails these tests until `values` or `account_values` has a value for it. Each field has a namespace and
//! AWS accounts of its own, and all are walked at once.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use futures::{StreamExt, TryStreamExt, stream};
use rig::world::{World, condition};
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, SOURCE_REGION, decode_policy, operator_of, reason, set};

const REPLICATION: &str = include_str!("../../../crds/s3replication.dev_bucketreplications.yaml");
const ACCOUNT: &str = include_str!("../../../crds/s3replication.dev_awsaccounts.yaml");

/// Fields that the API server lets nobody change.
const IMMUTABLE: [&str; 3] = ["source.bucket", "role.path", "accountId"];

/// Fields whose other value ends in another state than Ready.
const NOT_READY: [&str; 1] = ["suspend"];

/// How many fields are walked at the same time.
const AT_ONCE: usize = 8;

const NAME: &str = "orders";
const BOUNDARY: &str = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
const ALL: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

/// A field of a spec: its path, with `[]` for a list of objects, and its schema.
struct Field {
    path: String,
    schema: Value,
}

/// The fields of the spec in a definition that hold no fields of their own.
fn fields_of(definition: &str) -> Result<Vec<Field>> {
    fn collect(schema: &Value, path: &str, found: &mut Vec<Field>) {
        let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Some(properties) = schema["properties"].as_object() {
            properties.iter().for_each(|(name, schema)| collect(schema, &inner(name), found));
        } else if schema["items"]["properties"].is_object() {
            collect(&schema["items"], &format!("{path}[]"), found);
        } else {
            found.push(Field { path: path.to_owned(), schema: schema.clone() });
        }
    }
    let definition: Value = serde_saphyr::from_str(definition)?;
    let spec = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    let mut found = Vec::new();
    collect(spec.context("no spec")?, "", &mut found);
    Ok(found)
}

/// The place of a walk over one field: a namespace, the account of the source, and the account of the destination.
struct Stage<'a> {
    world: &'a World,
    namespace: String,
    home: Side,
    away: Side,
    source: String,
    destination: String,
    other_destination: String,
}

/// An AWS account and the `AwsAccount` for it.
#[derive(Clone)]
struct Side {
    id: String,
    name: String,
    role: String,
}

impl Side {
    async fn new(world: &World, name: &str) -> Result<Self> {
        let id = world.another_account();
        let role = world.assumable_role(&id, "operator", &world.account, None, ALL).await?;
        Ok(Self { id, name: world.unique(name), role })
    }
}

impl<'a> Stage<'a> {
    /// The destination is in another account than the source if `across`.
    async fn new(world: &'a World, across: bool) -> Result<Self> {
        let home = Side::new(world, "home").await?;
        let away = if across { Side::new(world, "away").await? } else { home.clone() };
        let (source, destination, other_destination) = tokio::try_join!(
            world.bucket_of(&home.id, SOURCE_REGION),
            world.bucket_of(&away.id, DESTINATION_REGION),
            world.bucket_of(&away.id, DESTINATION_REGION),
        )?;
        let namespace = world.namespace(&[]).await?;
        Ok(Self { world, namespace, home, away, source, destination, other_destination })
    }

    /// The manifest of an `AwsAccount` of this stage, which allows the namespace everything.
    fn account(&self, name: &str, account: &Side) -> Value {
        json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "AwsAccount",
            "metadata": {"name": name},
            "spec": {
                "accountId": account.id,
                "assumeRole": {"arn": account.role},
                "namespaces": {"matchNames": [self.namespace]},
                "sources": ["*"],
                "destinations": ["*"],
                "destinationAccounts": [self.away.id],
            },
        })
    }

    /// Applies the accounts: two for each AWS account, so that a reference can change.
    async fn apply_accounts(&self) -> Result<()> {
        for account in [&self.home, &self.away] {
            for name in [account.name.clone(), second(account)] {
                self.world.apply(&self.account(&name, account).to_string()).await?;
            }
        }
        Ok(())
    }

    /// The resource in its first state.
    fn resource(&self) -> Value {
        json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {
                "source": {"bucket": self.source, "accountRef": self.home.name},
                "role": {"name": "replication", "tags": {"team": "a"}},
                "rules": [{
                    "id": "all",
                    "priority": 1,
                    "destination": {"bucket": self.destination, "accountRef": self.away.name},
                }],
            },
        })
    }

    /// Applies the resource. Returns its generation.
    async fn apply(&self, resource: &Value) -> Result<Value> {
        Ok(self.world.apply(&resource.to_string()).await?[0]["metadata"]["generation"].take())
    }

    /// Waits until the operator has reported on this generation. Returns the status.
    async fn wait_reported(&self, generation: &Value) -> Result<Value> {
        let reported = |status: &Value| {
            status["observedGeneration"] == *generation && reason(status, "Ready") != "Progressing"
        };
        let found = self.world.wait_in(&self.namespace, NAME, reported, "to be reported on").await?;
        Ok(found["status"].clone())
    }

    async fn wait_ready(&self, generation: &Value) -> Result<()> {
        let ready = |status: &Value| {
            status["observedGeneration"] == *generation
                && condition(status, "Ready").is_some_and(|ready| ready["status"] == "True")
        };
        self.world.wait_in(&self.namespace, NAME, ready, "to be Ready").await.map(drop)
    }

    /// The contents of AWS: the configuration and policy of each bucket, versioning as far as the first state asks for
    /// it, and the roles of both accounts.
    async fn in_aws(&self) -> Result<BTreeMap<String, String>> {
        let mut held = BTreeMap::new();
        let buckets = [
            (&self.home, SOURCE_REGION, &self.source),
            (&self.away, DESTINATION_REGION, &self.destination),
            (&self.away, DESTINATION_REGION, &self.other_destination),
        ];
        for (account, region, bucket) in buckets {
            let s3 = self.world.as_account(&account.id).s3(region);
            let configuration = s3.get_bucket_replication().bucket(bucket).send().await;
            let configuration = absent_if(configuration, "ReplicationConfigurationNotFoundError")?;
            let configuration = configuration.and_then(|held| held.replication_configuration);
            held.insert(format!("configuration of {bucket}"), format!("{configuration:#?}"));
            let policy = absent_if(s3.get_bucket_policy().bucket(bucket).send().await, "NoSuchBucketPolicy")?;
            let policy: Option<Value> =
                policy.and_then(|held| held.policy).map(|text| serde_json::from_str(&text)).transpose()?;
            held.insert(format!("policy of {bucket}"), format!("{policy:#?}"));
            if bucket != &self.other_destination {
                let versioning = s3.get_bucket_versioning().bucket(bucket).send().await?.status;
                held.insert(format!("versioning of {bucket}"), format!("{versioning:?}"));
            }
        }
        for id in [&self.home.id, &self.away.id] {
            let iam = self.world.as_account(id).iam();
            for role in iam.list_roles().send().await?.roles {
                let name = role.role_name();
                let role = iam.get_role().role_name(name).send().await?.role.context("no role")?;
                let mut facts = vec![role.path().to_owned()];
                facts
                    .push(decode_policy(role.assume_role_policy_document().unwrap_or_default())?.to_string());
                facts.push(format!("{:?}", role.permissions_boundary()));
                let mut tags: Vec<String> =
                    role.tags().iter().map(|tag| format!("{}={}", tag.key(), tag.value())).collect();
                tags.sort();
                facts.extend(tags);
                for policy in iam.list_role_policies().role_name(name).send().await?.policy_names {
                    let read = iam.get_role_policy().role_name(name).policy_name(&policy).send().await?;
                    facts.push(format!("{policy}: {:#}", decode_policy(&read.policy_document)?));
                }
                held.insert(format!("role {name} in {id}"), facts.join("\n"));
            }
        }
        Ok(held)
    }

    async fn ensure_as_before(&self, before: &BTreeMap<String, String>, after_what: &str) -> Result<()> {
        let after = self.in_aws().await?;
        let keys = before.keys().chain(after.keys());
        for key in keys {
            let (was, is) = (before.get(key), after.get(key));
            ensure!(was == is, "after {after_what}, {key} was\n{was:#?}\nand is\n{is:#?}");
        }
        Ok(())
    }
}

/// The name of the second `AwsAccount` of an AWS account.
fn second(account: &Side) -> String {
    format!("{}-again", account.name)
}

/// The answer, or none if AWS answered with this code.
fn absent_if<T, E: ProvideErrorMetadata + Send + Sync + std::error::Error + 'static>(
    answer: Result<T, E>,
    code: &str,
) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some(code) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The other values that a field takes, one after the other; an enum and a boolean take all that they have.
async fn other_values(field: &Field, stage: &Stage<'_>) -> Result<Vec<Value>> {
    if let Some(all) = field.schema["enum"].as_array() {
        return Ok(all.iter().filter(|value| !value.is_null()).cloned().collect());
    }
    if field.schema["type"] == "boolean" {
        return Ok(vec![json!(true), json!(false)]);
    }
    let key = async |account: &Side, region: &str| {
        let created = stage.world.as_account(&account.id).kms(region).create_key().send().await?;
        anyhow::Ok(json!(created.key_metadata.and_then(|key| key.arn).context("no key")?))
    };
    Ok(match field.path.as_str() {
        "interval" => vec![json!("1h")],
        "health.interval" => vec![json!("10m")],
        "health.maxLatency" => vec![json!("30m")],
        "health.canary.interval" => vec![json!("1h")],
        "health.canary.prefix" => vec![json!("canaries/")],
        "role.arn" => {
            let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
            let iam = stage.world.as_account(&stage.home.id).iam();
            let create =
                iam.create_role().role_name("by-hand").assume_role_policy_document(trust.to_string());
            let role = create.send().await?.role.context("no role")?;
            iam.put_role_policy().role_name("by-hand").policy_name("all").policy_document(ALL).send().await?;
            vec![json!(role.arn)]
        }
        "role.name" => vec![json!("renamed")],
        "role.path" => vec![json!("/elsewhere/")],
        "role.permissionsBoundary" => vec![json!(BOUNDARY)],
        "role.tags" => vec![json!({"team": "b"}), json!({"owner": "c"})],
        "rules[].destination.account" => vec![json!(stage.away.id)],
        "rules[].destination.accountRef" => vec![json!(second(&stage.away))],
        "rules[].destination.bucket" => vec![json!(stage.other_destination)],
        "rules[].destination.kmsKeyArn" => {
            vec![key(&stage.away, DESTINATION_REGION).await?, key(&stage.away, DESTINATION_REGION).await?]
        }
        "rules[].destination.region" => vec![json!(DESTINATION_REGION)],
        "rules[].filter.prefix" => vec![json!("logs/")],
        "rules[].filter.tags" => vec![json!({"a": "1"}), json!({"a": "1", "b": "2"})],
        "rules[].id" => vec![json!("another")],
        "rules[].priority" => vec![json!(7)],
        "source.accountRef" => vec![json!(second(&stage.home))],
        "source.bucket" => vec![json!(stage.other_destination)],
        "source.kmsKeyArns" => vec![json!([key(&stage.home, SOURCE_REGION).await?])],
        "source.region" => vec![json!(SOURCE_REGION)],
        path => bail!("{path} is new: give the walk a value for it"),
    })
}

/// The resource with another value in one field, and with what that value needs.
async fn changed(stage: &Stage<'_>, path: &str, value: &Value) -> Result<Value> {
    let mut resource = stage.resource();
    let spec = &mut resource["spec"];
    match path {
        "role.arn" => spec["role"] = json!({}),
        "rules[].destination.account" => set(spec, "rules.0.destination.accountRef", Value::Null),
        "rules[].destination.kmsKeyArn" => set(spec, "rules.0.kmsEncryptedObjects", json!("Enabled")),
        "rules[].kmsEncryptedObjects" if value == "Enabled" => {
            let kms = stage.world.as_account(&stage.away.id).kms(DESTINATION_REGION);
            let key = kms.create_key().send().await?.key_metadata.and_then(|key| key.arn);
            set(spec, "rules.0.destination.kmsKeyArn", json!(key));
        }
        _ => {}
    }
    set(spec, &path.replace("[]", ".0"), value.clone());
    Ok(resource)
}

async fn walk(field: &Field, stage: &Stage<'_>) -> Result<()> {
    let path = field.path.as_str();
    stage.apply_accounts().await?;
    let values = other_values(field, stage).await?;
    let first = stage.resource();
    let mut generation = stage.apply(&first).await?;
    stage.wait_ready(&generation).await?;
    let before = stage.in_aws().await?;

    if IMMUTABLE.contains(&path) {
        let refused = stage.apply(&changed(stage, path, &values[0]).await?).await;
        ensure!(refused.is_err(), "{path} was changed to {}", values[0]);
        return Ok(());
    }
    let mut changes = 0;
    for value in &values {
        let another = stage.apply(&changed(stage, path, value).await?).await?;
        if another == generation {
            continue;
        }
        (generation, changes) = (another, changes + 1);
        if NOT_READY.contains(&path) {
            stage.wait_reported(&generation).await?;
        } else {
            stage.wait_ready(&generation).await.with_context(|| format!("{path}: {value}"))?;
        }
    }
    ensure!(changes > 0, "no value of {path} is another one");
    stage.wait_ready(&stage.apply(&first).await?).await?;
    stage.ensure_as_before(&before, &format!("{path} was changed and changed back")).await?;

    let value = values.last().context("no value")?;
    let mut wrong = changed(stage, path, value).await?;
    set(&mut wrong["spec"], "rules.0.destination.bucket", json!(stage.world.bucket_name()));
    let status = stage.wait_reported(&stage.apply(&wrong).await?).await?;
    let ready = condition(&status, "Ready").context("no Ready")?;
    ensure!(ready["status"] != "True", "{path}: replicates into a bucket that does not exist: {status:#}");
    stage.wait_ready(&stage.apply(&first).await?).await?;
    stage.ensure_as_before(&before, &format!("{path} was in error and corrected")).await
}

/// Walks all fields, and reports every one that fails.
async fn walk_all<'a>(
    fields: &'a [Field],
    stages: &'a [Stage<'a>],
    walk: impl AsyncFn(&'a Field, &'a Stage<'a>) -> Result<()>,
) -> Result<()> {
    let walks = fields.iter().zip(stages).map(async |(field, stage)| {
        walk(field, stage).await.err().map(|error| format!("{}: {error:#}", field.path))
    });
    let failed: Vec<String> =
        stream::iter(walks).buffer_unordered(AT_ONCE).filter_map(async |f| f).collect().await;
    ensure!(failed.is_empty(), "{} of {} fields:\n{}", failed.len(), fields.len(), failed.join("\n\n"));
    Ok(())
}

async fn make_stages<'a>(world: &'a World, count: usize, across: bool) -> Result<Vec<Stage<'a>>> {
    stream::iter(0..count).map(|_| Stage::new(world, across)).buffered(AT_ONCE).try_collect().await
}

#[tokio::test]
async fn every_field_of_a_replication_can_be_changed_and_changed_back() -> Result<()> {
    let world = World::with_accounts("walk").await?;
    let fields = fields_of(REPLICATION)?;
    let stages = make_stages(&world, fields.len(), true).await?;
    let namespaces = stages.iter().map(|stage| &stage.namespace);
    let _operator = operator_of(&world).namespaces(namespaces).start().await?;
    walk_all(&fields, &stages, walk).await
}

/// The other values of a field of an `AwsAccount`: values that still allow the resource, and values that do not.
async fn account_values(path: &str, stage: &Stage<'_>) -> Result<Vec<Value>> {
    let role = async |name: &str| {
        stage.world.assumable_role(&stage.home.id, name, &stage.world.account, None, ALL).await
    };
    Ok(match path {
        "accountId" => vec![json!(stage.world.account)],
        "allow" => vec![json!(["Canary"]), json!(["Canary", "Backfill"])],
        "assumeRole.arn" => vec![json!(role("operator-too").await?)],
        "assumeRole.externalId" => vec![json!("secret")],
        "assumeRole.sessionName" => vec![json!("team")],
        "destinationAccounts" => vec![json!([stage.world.account])],
        "destinations" => vec![json!([stage.destination]), json!(["nobodys-*"])],
        "namespaces.matchLabels" => vec![json!({"team": "nobody"})],
        "namespaces.matchNames" => vec![json!([stage.namespace, "another"]), json!(["another"])],
        "roles.path" => vec![json!("/s3-replication/"), json!("/elsewhere/")],
        "roles.permissionsBoundary" => vec![json!(BOUNDARY)],
        "sources" => vec![json!([stage.source]), json!(["nobodys-*"])],
        path => bail!("{path} is new: give the walk a value for it"),
    })
}

/// Applies an `AwsAccount`, waits until the operator has reported on it, and changes the interval of the resource so
/// that the operator checks it with the account as it is now. Returns the generation of the resource.
async fn apply_account(stage: &Stage<'_>, account: &Value, interval: &str) -> Result<Value> {
    let mut applied = stage.world.apply(&account.to_string()).await?;
    let generation = applied[0]["metadata"]["generation"].take();
    let reported = |status: &Value| {
        status["observedGeneration"] == generation && reason(status, "Ready") != "Progressing"
    };
    stage.world.wait_account(&stage.home.name, reported, "to be reported on").await?;
    let mut resource = stage.resource();
    resource["spec"]["interval"] = json!(interval);
    stage.apply(&resource).await
}

async fn walk_account(field: &Field, stage: &Stage<'_>) -> Result<()> {
    let path = field.path.as_str();
    let first = stage.account(&stage.home.name, &stage.home);
    let values = account_values(path, stage).await?;
    stage.wait_ready(&apply_account(stage, &first, "1h").await?).await?;
    let before = stage.in_aws().await?;
    let changed = |value: &Value| {
        let mut account = first.clone();
        set(&mut account["spec"], path, value.clone());
        account
    };
    if IMMUTABLE.contains(&path) {
        let refused = stage.world.apply(&changed(&values[0]).to_string()).await;
        ensure!(refused.is_err(), "{path} was changed to {}", values[0]);
        return Ok(());
    }
    for (number, value) in values.iter().enumerate() {
        let generation = apply_account(stage, &changed(value), &format!("{}m", 10 + number)).await?;
        stage.wait_reported(&generation).await?;
    }
    stage.wait_ready(&apply_account(stage, &first, "2h").await?).await?;
    stage.ensure_as_before(&before, &format!("{path} was changed and changed back")).await?;

    let mut wrong = changed(values.last().context("no value")?);
    wrong["spec"]["assumeRole"]["arn"] = json!(format!("arn:aws:iam::{}:role/nobody", stage.home.id));
    let generation = apply_account(stage, &wrong, "20m").await?;
    let status = stage.wait_reported(&generation).await?;
    let ready = condition(&status, "Ready").context("no Ready")?;
    ensure!(ready["status"] != "True", "{path}: Ready with a role that does not exist: {status:#}");
    stage.wait_ready(&apply_account(stage, &first, "3h").await?).await?;
    stage.ensure_as_before(&before, &format!("{path} was in error and corrected")).await
}

#[tokio::test]
async fn every_field_of_an_account_can_be_changed_and_changed_back() -> Result<()> {
    let world = World::with_accounts("walk-account").await?;
    let fields = fields_of(ACCOUNT)?;
    let stages = make_stages(&world, fields.len(), false).await?;
    let namespaces = stages.iter().map(|stage| &stage.namespace);
    let _operator = operator_of(&world).namespaces(namespaces).start().await?;
    walk_all(&fields, &stages, walk_account).await
}
