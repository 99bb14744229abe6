//! Teams that want to reach each other's data: none gets one write to AWS.
//!
//! Blue and red share an AWS account and an operator, and each has an `AwsAccount` of its own. Blue's replications run;
//! red tries what it can think of. A change by the administrators of the accounts holds at once.

mod attempts;
mod changes;
mod default_account;
mod owners;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use rig::operator::Operator;
use rig::proxy::Call;
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator_of, patch_account, reason, replication, set};

/// The name of every resource of red.
const ATTACK: &str = "attack";
/// Blue's replication with a managed role, and the role.
const ORDERS: &str = "orders";
const ORDERS_ROLE: &str = "orders-role";
/// Blue's replication with a role that blue made by hand, and the role.
const INVOICES: &str = "invoices";
const INVOICES_ROLE: &str = "invoices-by-hand";
/// The role of red's allowed replication.
const RED_ROLE: &str = "attack-role";
/// A role that red made by hand, without a boundary.
const RED_BY_HAND: &str = "red-by-hand";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const ALLOW_ALL: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const EAST: &str = "us-east-1";
const WEST: &str = "eu-west-1";

/// The fields that most attempts change.
const SOURCE: &str = "spec.source.bucket";
const ACCOUNT: &str = "spec.source.accountRef";
const TO: &str = "spec.rules.0.destination.bucket";
const TO_REGION: &str = "spec.rules.0.destination.region";
const TO_ACCOUNT: &str = "spec.rules.0.destination.account";
const TO_REF: &str = "spec.rules.0.destination.accountRef";
const ROLE: &str = "spec.role";
const ADOPT: &str = "spec.adoptionPolicy";
const FINALIZER: &str = "s3replication.dev/finalizer";

/// The two teams.
struct Teams {
    world: World,
    _operator: Operator,
    /// Red's namespace; blue's is the world's.
    red: String,
    /// An account that red may replicate into, and one that it may not.
    partner: String,
    outside: String,
}

impl Teams {
    /// Blue replicates, red has two buckets.
    async fn new(name: &str) -> Result<Teams> {
        let world = World::with_accounts(name).await?;
        let red = world.namespace(&[("team", "red")]).await?;
        let operator = operator_of(&world).namespaces([&world.namespace, &red]).start().await?;
        let (partner, outside) = (world.another_account(), world.another_account());
        let teams = Teams { world, _operator: operator, red, partner, outside };
        let Teams { world, .. } = &teams;
        for bucket in ["blue-source", "blue-other", "red-source"] {
            teams.make_bucket(&world.account, EAST, &teams.name(bucket)).await?;
        }
        for bucket in ["blue-dest", "red-dest"] {
            teams.make_bucket(&world.account, WEST, &teams.name(bucket)).await?;
        }
        // Red's bucket outside has a name that red's patterns match.
        teams.make_bucket(&teams.outside, WEST, &teams.name("red-outside")).await?;
        teams.make_role(INVOICES_ROLE, "/s3-replication/blue/").await?;
        teams.make_role(RED_BY_HAND, "/s3-replication/red/").await?;

        let patterns = |team: &str| json!([teams.name(&format!("{team}-*"))]);
        let blue = json!({
            "namespaces": {"matchNames": [world.namespace]},
            "sources": patterns("blue"),
            "destinations": patterns("blue"),
            "roles": {"path": "/s3-replication/blue/"},
        });
        let red = json!({
            "namespaces": {"matchLabels": {"team": "red"}},
            "sources": patterns("red"),
            "destinations": patterns("red"),
            "destinationAccounts": [teams.partner],
            "roles": {"path": "/s3-replication/red/"},
        });
        teams.account("blue", &blue).await?;
        teams.account("red", &red).await?;
        for name in ["boundary", "tighter"] {
            world.boundary(&world.account, name).await?;
        }
        // The same with no path imposed, and with a boundary.
        let mut free = red.clone();
        set(&mut free, "roles", Value::Null);
        teams.account("free", &free).await?;
        let mut bounded = red.clone();
        set(&mut bounded, "roles.permissionsBoundary", json!(teams.policy_arn("boundary")));
        teams.account("bounded", &bounded).await?;
        teams.account("broken", &red).await?;
        let mut broken = world.account(&teams.name("broken")).await?;
        set(&mut broken, "spec.sources", json!({"all": true}));
        teams.store("awsaccounts", broken).await?;

        let mut orders = teams.blue(ORDERS, "blue-source");
        set(&mut orders, "spec.role.name", json!(ORDERS_ROLE));
        world.apply(&orders.to_string()).await?;
        world.apply(&teams.invoices().to_string()).await?;
        for name in [ORDERS, INVOICES] {
            world.wait_ready(name).await?;
        }
        world.proxy.clear();
        Ok(teams)
    }

    /// A name that is unique to this test, for a bucket or an `AwsAccount`.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.world.namespace)
    }

    fn policy_arn(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:policy/{name}", self.world.account)
    }

    fn role_arn(&self, path_and_name: &str) -> String {
        format!("arn:aws:iam::{}:role/{path_and_name}", self.world.account)
    }

    /// A resource of blue, without a role.
    fn blue(&self, name: &str, source: &str) -> Value {
        let mut resource = replication(name, &self.name(source), &self.name("blue-dest"));
        set(&mut resource, "spec.source.accountRef", json!(self.name("blue")));
        set(&mut resource, "spec.role", json!({}));
        resource
    }

    /// Blue's replication with a role made by hand.
    fn invoices(&self) -> Value {
        let mut invoices = self.blue(INVOICES, "blue-other");
        let arn = self.role_arn(&format!("s3-replication/blue/{INVOICES_ROLE}"));
        set(&mut invoices, "spec.role.arn", json!(arn));
        invoices
    }

    /// A resource that red is allowed to create.
    fn allowed(&self) -> Value {
        let mut resource = replication(ATTACK, &self.name("red-source"), &self.name("red-dest"));
        set(&mut resource, "metadata.namespace", json!(self.red));
        set(&mut resource, "spec.source.accountRef", json!(self.name("red")));
        set(&mut resource, "spec.role", json!({"name": RED_ROLE}));
        // Set by hand, so that the operator handles every deletion.
        set(&mut resource, "metadata.finalizers", json!([FINALIZER]));
        resource
    }

    /// The same with these edits.
    fn edited(&self, edits: &[(&str, Value)]) -> Value {
        let mut resource = self.allowed();
        for (path, value) in edits {
            set(&mut resource, path, value.clone());
        }
        resource
    }

    /// Applies the same with these edits.
    async fn apply(&self, edits: &[(&str, Value)]) -> Result<()> {
        self.world.apply(&self.edited(edits).to_string()).await.map(drop)
    }

    /// Stores red's resource with these edits past admission, as if the CRD had been laxer.
    async fn smuggle(&self, edits: &[(&str, Value)]) -> Result<()> {
        self.apply(&[("spec.suspend", json!(true))]).await?;
        let stored = self.attack().await?;
        let mut resource = self.edited(edits);
        let version = stored["metadata"].clone();
        set(&mut resource, "metadata", version);
        set(&mut resource, "status", stored["status"].clone());
        self.store("bucketreplications", resource).await
    }

    /// Stores these edits of red's existing resource past admission.
    async fn overwrite(&self, edits: &[(&str, Value)]) -> Result<()> {
        let mut stored = self.attack().await?;
        for (path, value) in edits {
            set(&mut stored, path, value.clone());
        }
        self.store("bucketreplications", stored).await
    }

    async fn store(&self, plural: &str, mut object: Value) -> Result<()> {
        let generation = object["metadata"]["generation"].as_i64().context("no generation")?;
        set(&mut object, "metadata.generation", json!(generation + 1));
        self.world.cluster().store(plural, &object).await
    }

    async fn attack(&self) -> Result<Value> {
        Ok(serde_json::to_value(self.world.api_in(&self.red).get(ATTACK).await?)?)
    }

    async fn patch(&self, change: Value) -> Result<()> {
        let api = self.world.api_in(&self.red);
        api.patch(ATTACK, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }

    /// Applies red's allowed replication and waits until it is Ready.
    async fn apply_allowed(&self) -> Result<()> {
        self.apply(&[]).await?;
        self.wait_ready().await
    }

    async fn wait_ready(&self) -> Result<()> {
        let generation = self.attack().await?["metadata"]["generation"].take();
        let ready = |status: &Value| {
            status["observedGeneration"] == generation && reason(status, "Ready") == "Applied"
        };
        self.world.wait_in(&self.red, ATTACK, ready, "to be Ready").await.map(drop)
    }

    /// Requests a check of red's resource and waits for it. Returns the status.
    async fn check(&self) -> Result<Value> {
        let asked = self.world.bucket_name();
        self.patch(json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": asked}}})).await?;
        let handled = |status: &Value| status["lastHandledRequest"] == asked.as_str();
        Ok(self.world.wait_in(&self.red, ATTACK, handled, "to have been checked").await?["status"].take())
    }

    /// Checks that red's resource is refused, now and at the next check, with a message that contains these parts.
    async fn check_refused(&self, case: &str, expected: &str, parts: &[String]) -> Result<()> {
        let reported = |status: &Value| reason(status, "Ready") == expected;
        self.world.wait_in(&self.red, ATTACK, reported, &format!("to be {expected}")).await?;
        let status = self.check().await?;
        assert_eq!(reason(&status, "Ready"), expected, "{case}: {status:#}");
        let text = message(&status, "Ready");
        for part in parts {
            assert!(text.contains(part.as_str()), "{case}: {part:?} is not in {text:?}");
        }
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        let api = self.world.api_in(&self.red);
        api.delete(ATTACK, &DeleteParams::default()).await?;
        self.world.wait_on(&api, ATTACK, |object| object.is_none(), "to be gone").await.map(drop)
    }

    /// Waits until the operator has handled all events of red's so far: it handles a later resource.
    async fn wait_for_all_events(&self) -> Result<()> {
        let fence = [
            ("metadata", json!({"name": "fence", "namespace": self.red})),
            (SOURCE, json!(self.name("red-fence"))),
            ("spec.suspend", json!(true)),
        ];
        self.apply(&fence).await?;
        let seen = |status: &Value| reason(status, "Ready") == "Suspended";
        self.world.wait_in(&self.red, "fence", seen, "to be Suspended").await?;
        self.world.api_in(&self.red).delete("fence", &DeleteParams::default()).await?;
        Ok(())
    }

    /// An `AwsAccount` for this world's AWS account.
    async fn account(&self, name: &str, spec: &Value) -> Result<()> {
        self.account_for(&self.world.account, name, spec).await
    }

    async fn account_for(&self, id: &str, name: &str, spec: &Value) -> Result<()> {
        apply_account(&self.world, &self.name(name), id, spec).await
    }

    async fn patch_account(&self, name: &str, spec: Value) -> Result<()> {
        patch_account(&self.world, &self.name(name), json!({"spec": spec})).await
    }

    /// Waits until the operator has seen the last change of an `AwsAccount`.
    async fn wait_account_seen(&self, name: &str) -> Result<()> {
        let name = self.name(name);
        let generation = self.world.account(&name).await?["metadata"]["generation"].take();
        let seen = |status: &Value| status["observedGeneration"] == generation;
        self.world.wait_account(&name, seen, "to be seen").await.map(drop)
    }

    async fn make_bucket(&self, account: &str, region: &str, name: &str) -> Result<()> {
        self.world.create_bucket(account, region, name).await?;
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let s3 = self.world.as_account(account).s3(region);
        s3.put_bucket_versioning().bucket(name).versioning_configuration(on).send().await?;
        Ok(())
    }

    async fn make_role(&self, name: &str, path: &str) -> Result<()> {
        let iam = self.world.iam();
        iam.create_role().role_name(name).path(path).assume_role_policy_document(TRUST).send().await?;
        Ok(())
    }

    /// Everything that blue has in AWS.
    async fn everything_of_blue(&self) -> Result<Vec<String>> {
        let mut estate = Vec::new();
        for source in ["blue-source", "blue-other"] {
            estate.push(format!("{source}: {}", configuration(&self.world, &self.name(source)).await?));
        }
        for role in [ORDERS_ROLE, INVOICES_ROLE] {
            estate.push(format!("{role}: {}", role_in_aws(&self.world, role).await?));
        }
        for (region, bucket) in [(EAST, "blue-source"), (EAST, "blue-other"), (WEST, "blue-dest")] {
            let bucket = self.name(bucket);
            let held = self.world.s3(region).get_bucket_versioning().bucket(&bucket).send().await?;
            estate.push(format!("{bucket}: {:?}", held.status()));
        }
        Ok(estate)
    }

    async fn labels(&self, labels: Value) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.world.kube.clone());
        let change = Patch::Merge(json!({"metadata": {"labels": labels}}));
        namespaces.patch(&self.red, &PatchParams::default(), &change).await?;
        Ok(())
    }

    /// Changes the labels of red's namespace. The operator does not watch namespaces: the change takes effect at the
    /// next check.
    async fn relabel(&self, labels: Value) -> Result<()> {
        self.labels(labels).await?;
        self.check().await.map(drop)
    }

    /// Deletes red's namespace and creates it again without labels. No controller runs here, so this also empties it.
    async fn remake_namespace(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.world.kube.clone());
        namespaces.delete(&self.red, &DeleteParams::default()).await?;
        self.delete().await?;
        let mut emptied = namespaces.get(&self.red).await?;
        emptied.spec.get_or_insert_default().finalizers = None;
        let request = kube::core::Request::new("/api/v1/namespaces").replace_subresource(
            "finalize",
            &self.red,
            &PostParams::default(),
            serde_json::to_vec(&emptied)?,
        )?;
        self.world.kube.request_text(request).await?;
        let gone = async {
            while namespaces.get_metadata_opt(&self.red).await?.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(DEADLINE, gone).await.context("the namespace stays")??;
        let metadata = ObjectMeta { name: Some(self.red.clone()), ..ObjectMeta::default() };
        let again = Namespace { metadata, ..Namespace::default() };
        namespaces.create(&PostParams::default(), &again).await?;
        Ok(())
    }

    /// All calls but those to STS, which the operator may make at any time.
    fn calls(&self) -> Vec<Call> {
        let mut calls = self.world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    }

    /// Checks that nothing was written but to these subjects.
    #[track_caller]
    fn check_wrote_only(&self, case: &str, subjects: &[String]) {
        let writes = self.world.proxy.writes();
        let foreign: Vec<&Call> = writes.iter().filter(|call| !subjects.contains(&call.subject)).collect();
        assert!(foreign.is_empty(), "{case}: {foreign:?}");
    }

    /// Checks blue's resources again, and that nothing of blue changed in AWS.
    async fn check_blue_untouched(&self, case: &str, before: &[String]) -> Result<()> {
        for name in [ORDERS, INVOICES] {
            let status = check_now(&self.world, name).await?["status"].take();
            assert_eq!(reason(&status, "Ready"), "Applied", "{case}: {status:#}");
            assert_eq!(status["driftCount"], 0, "{case}: {status:#}");
            assert_eq!(status.get("lastCorrection"), None, "{case}: {status:#}");
        }
        assert_eq!(self.everything_of_blue().await?, before, "{case}");
        Ok(())
    }
}

async fn apply_account(world: &World, name: &str, id: &str, spec: &Value) -> Result<()> {
    let mut account = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": name},
        "spec": spec,
    });
    set(&mut account, "spec.accountId", json!(id));
    world.apply(&account.to_string()).await.map(drop)
}

async fn configuration(world: &World, bucket: &str) -> Result<String> {
    match world.s3(EAST).get_bucket_replication().bucket(bucket).send().await {
        Ok(held) => Ok(format!("{:?}", held.replication_configuration())),
        Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok("none".to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// A role with its policies, tags and boundary, as text.
async fn role_in_aws(world: &World, name: &str) -> Result<String> {
    let iam = world.iam();
    let held = match iam.get_role().role_name(name).send().await {
        Ok(held) => held.role.context("no role")?,
        Err(error) if error.code() == Some("NoSuchEntity") => return Ok("none".to_owned()),
        Err(error) => return Err(error.into()),
    };
    let tags = iam.list_role_tags().role_name(name).send().await?;
    let tags: BTreeMap<&str, &str> = tags.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    let policies = iam.list_role_policies().role_name(name).send().await?;
    let mut documents = Vec::new();
    for policy in policies.policy_names() {
        let held = iam.get_role_policy().role_name(name).policy_name(policy).send().await?;
        documents.push(format!("{policy}: {}", held.policy_document()));
    }
    let boundary = held.permissions_boundary().and_then(|b| b.permissions_boundary_arn());
    let trust = held.assume_role_policy_document();
    Ok(format!("{} {trust:?} {boundary:?} {tags:?} {documents:?}", held.arn()))
}
