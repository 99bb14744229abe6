//! Teams that want to reach each other's data: none gets one write to AWS.
//!
//! Blue and red share an AWS account and an operator, and each has an `AwsAccount` of its own. Blue's replications run;
//! red tries what it can think of. And what those who administer the accounts change holds at once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use rig::operator::Operator;
use rig::proxy::Call;
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{check_now, message, operator, reason, replication, set};

/// The name of every resource of red.
const ATTACK: &str = "attack";
/// Blue's replication with a managed role, and the role.
const ORDERS: &str = "orders";
const ORDERS_ROLE: &str = "orders-role";
/// Blue's replication with a role that blue made by hand, and the role.
const INVOICES: &str = "invoices";
const INVOICES_ROLE: &str = "invoices-by-hand";
/// Red's role for what it may replicate.
const RED_ROLE: &str = "attack-role";
/// A role that red made by hand, without a boundary.
const RED_BY_HAND: &str = "red-by-hand";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const ALLOW_ALL: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const EAST: &str = "us-east-1";
const WEST: &str = "eu-west-1";

/// The two teams, and all they have.
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
        let world = World::with_insight(name).await?;
        let red = world.namespace(&[("team", "red")]).await?;
        let operator = operator(&world).namespaces([&world.namespace, &red]).start().await?;
        let (partner, outside) = (world.another_account(), world.another_account());
        let teams = Teams { world, _operator: operator, red, partner, outside };
        let Teams { world, .. } = &teams;
        for bucket in ["blue-source", "blue-other", "red-source"] {
            teams.make_bucket(&world.account, EAST, &teams.name(bucket)).await?;
        }
        for bucket in ["blue-dest", "red-dest"] {
            teams.make_bucket(&world.account, WEST, &teams.name(bucket)).await?;
        }
        // What red gets outside is named as its own buckets are.
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

    /// A name of this test's own: of a bucket or of an `AwsAccount`.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.world.namespace)
    }

    fn policy_arn(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:policy/{name}", self.world.account)
    }

    fn role_arn(&self, path_and_name: &str) -> String {
        format!("arn:aws:iam::{}:role/{path_and_name}", self.world.account)
    }

    /// A resource of blue's, without a role of its own.
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

    /// What red may do.
    fn harmless(&self) -> Value {
        let mut resource = replication(ATTACK, &self.name("red-source"), &self.name("red-dest"));
        set(&mut resource, "metadata.namespace", json!(self.red));
        set(&mut resource, "spec.source.accountRef", json!(self.name("red")));
        set(&mut resource, "spec.role", json!({"name": RED_ROLE}));
        // By hand, so that the operator has its part in every deletion.
        set(&mut resource, "metadata.finalizers", json!([FINALIZER]));
        resource
    }

    /// What red may do, with these edits.
    fn edited(&self, edits: &[(&str, Value)]) -> Value {
        let mut resource = self.harmless();
        for (path, value) in edits {
            set(&mut resource, path, value.clone());
        }
        resource
    }

    /// Applies what red may do with these edits.
    async fn apply(&self, edits: &[(&str, Value)]) -> Result<()> {
        self.world.apply(&self.edited(edits).to_string()).await.map(drop)
    }

    /// Brings what red may do with these edits past admission, as a laxer definition would have let it pass.
    async fn smuggle(&self, edits: &[(&str, Value)]) -> Result<()> {
        self.apply(&[("spec.suspend", json!(true))]).await?;
        let stored = self.attack().await?;
        let mut resource = self.edited(edits);
        let version = stored["metadata"].clone();
        set(&mut resource, "metadata", version);
        set(&mut resource, "status", stored["status"].clone());
        self.store("bucketreplications", resource).await
    }

    /// Red's resource with these edits, past admission.
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

    /// Red's own replication is made, and Ready.
    async fn runs(&self) -> Result<()> {
        self.apply(&[]).await?;
        self.is_ready().await
    }

    async fn is_ready(&self) -> Result<()> {
        let generation = self.attack().await?["metadata"]["generation"].take();
        let ready = |status: &Value| {
            status["observedGeneration"] == generation && reason(status, "Ready") == "Applied"
        };
        self.world.wait_in(&self.red, ATTACK, ready, "to be Ready").await.map(drop)
    }

    /// Asks for a check of red's resource and waits until it was made.
    async fn check(&self) -> Result<Value> {
        let asked = self.world.bucket_name();
        self.patch(json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": asked}}})).await?;
        let handled = |status: &Value| status["lastHandledRequest"] == asked.as_str();
        Ok(self.world.wait_in(&self.red, ATTACK, handled, "to have been checked").await?["status"].take())
    }

    /// Red's resource is refused, now and at the next check, in words that hold these parts.
    async fn is_refused(&self, case: &str, expected: &str, parts: &[String]) -> Result<()> {
        let told = |status: &Value| reason(status, "Ready") == expected;
        self.world.wait_in(&self.red, ATTACK, told, &format!("to be {expected}")).await?;
        let status = self.check().await?;
        assert_eq!(reason(&status, "Ready"), expected, "{case}: {status:#}");
        let words = message(&status, "Ready");
        for part in parts {
            assert!(words.contains(part.as_str()), "{case}: {part:?} is not in {words:?}");
        }
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        let api = self.world.api_in(&self.red);
        api.delete(ATTACK, &DeleteParams::default()).await?;
        self.world.wait_on(&api, ATTACK, |object| object.is_none(), "to be gone").await.map(drop)
    }

    /// The operator has seen all that red did so far, and woken whom that concerns: it sees things in their order.
    async fn all_is_seen(&self) -> Result<()> {
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
        let change = Patch::Merge(json!({"spec": spec}));
        self.world.accounts().patch(&self.name(name), &PatchParams::default(), &change).await?;
        Ok(())
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

    /// All that blue has in AWS.
    async fn estate(&self) -> Result<Vec<String>> {
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

    /// Changes the labels of red's namespace, which no one watches: it holds from the next check on.
    async fn relabel(&self, labels: Value) -> Result<()> {
        self.labels(labels).await?;
        self.check().await.map(drop)
    }

    /// Deletes red's namespace, and makes it anew without labels. Nobody but this empties it here.
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
        let anew = Namespace { metadata, ..Namespace::default() };
        namespaces.create(&PostParams::default(), &anew).await?;
        Ok(())
    }

    /// Calls about data and roles; who the operator is may be asked at any time.
    fn calls(&self) -> Vec<Call> {
        let mut calls = self.world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    }

    /// No write, except to what is red's by right.
    #[track_caller]
    fn wrote_only(&self, case: &str, subjects: &[String]) {
        let writes = self.world.proxy.writes();
        let foreign: Vec<&Call> = writes.iter().filter(|call| !subjects.contains(&call.subject)).collect();
        assert!(foreign.is_empty(), "{case}: {foreign:?}");
    }

    /// The operator has come back to blue, and found all as it was.
    async fn blue_is_untouched(&self, case: &str, before: &[String]) -> Result<()> {
        for name in [ORDERS, INVOICES] {
            let status = check_now(&self.world, name).await?["status"].take();
            assert_eq!(reason(&status, "Ready"), "Applied", "{case}: {status:#}");
            assert_eq!(status["driftCount"], 0, "{case}: {status:#}");
            assert_eq!(status.get("lastCorrection"), None, "{case}: {status:#}");
        }
        assert_eq!(self.estate().await?, before, "{case}");
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

/// All there is of a role.
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

/// What red gets to see.
enum Seen {
    /// The API server refuses the object, with these words.
    Admission(&'static [&'static str]),
    /// The operator refuses before it asks AWS anything.
    Refused(&'static str, Vec<String>),
    /// The operator has to look at AWS to know, and refuses then.
    RefusedAfterReads(&'static str, Vec<String>),
}

type Step = for<'a> fn(&'a Teams) -> BoxFuture<'a, Result<()>>;

struct Case {
    /// What red tries.
    name: &'static str,
    /// What red does before, and may do.
    before: Option<Step>,
    attempt: Step,
    seen: fn(&Teams) -> Seen,
}

/// A step as a function: what is given, awaited.
macro_rules! step {
    (|$teams:ident| $future:expr) => {
        |$teams| async move { $future.await }.boxed()
    };
}

/// Red's own replication is Ready.
const READY: Option<Step> = Some(step!(|t| t.runs()));

const FINALIZER: &str = "s3replication.dev/finalizer";

fn not_allowed(parts: impl IntoIterator<Item = String>) -> Seen {
    Seen::Refused("NotAllowed", parts.into_iter().collect())
}

fn no_source(t: &Teams) -> Seen {
    not_allowed([format!("under AwsAccount {}", t.name("red")), t.name("red-*"), "spec.sources".to_owned()])
}

fn no_destination(t: &Teams) -> Seen {
    let account = format!("under AwsAccount {}", t.name("red"));
    not_allowed([account, "rules[ReplicateToEU].destination.bucket".to_owned(), t.name("red-*")])
}

fn no_outside(t: &Teams) -> Seen {
    let account = format!("account {} may not be replicated into", t.outside);
    not_allowed([account, format!("allows the accounts {}", t.partner)])
}

fn no_namespace(t: &Teams) -> Seen {
    let words = format!("namespace {} may not use AwsAccount {}", t.red, t.name("blue"));
    not_allowed([words, format!("allows the namespaces {}", t.world.namespace)])
}

fn no_labels(t: &Teams) -> Seen {
    let words = format!("namespace {} may not use AwsAccount {}", t.red, t.name("red"));
    not_allowed([words, "with the labels team=red".to_owned()])
}

fn no_path(t: &Teams) -> Seen {
    not_allowed([format!("AwsAccount {} imposes", t.name("red")), "/s3-replication/red/".to_owned()])
}

fn unconfirmed(t: &Teams) -> Seen {
    let words = ["does not confirm", &t.name("red-outside"), &t.world.account].map(str::to_owned);
    Seen::RefusedAfterReads("AccessDenied", words.into())
}

fn foreign(t: &Teams) -> Seen {
    let whose = format!("belongs to BucketReplication {}/{ORDERS}", t.world.namespace);
    Seen::RefusedAfterReads("ForeignRole", vec![ORDERS_ROLE.to_owned(), whose])
}

fn unseen(t: &Teams) -> Seen {
    let words = format!("if the bucket belongs to another account than {}", t.world.account);
    Seen::RefusedAfterReads("AccessDenied", vec![format!("{} is denied", t.name("red-outside")), words])
}

/// The fields that most attempts are about.
const SOURCE: &str = "spec.source.bucket";
const ACCOUNT: &str = "spec.source.accountRef";
const TO: &str = "spec.rules.0.destination.bucket";
const TO_REGION: &str = "spec.rules.0.destination.region";
const TO_ACCOUNT: &str = "spec.rules.0.destination.account";
const TO_REF: &str = "spec.rules.0.destination.accountRef";
const ROLE: &str = "spec.role";
const ADOPT: &str = "spec.adoptionPolicy";

fn cases() -> Vec<Case> {
    let attempt = |name, attempt, seen| Case { name, before: None, attempt, seen };
    let once_ready = |name, attempt, seen| Case { name, before: READY, attempt, seen };
    vec![
        // The source.
        attempt(
            "replicates from another team's bucket",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("blue-source")))])),
            no_source,
        ),
        attempt(
            "replicates from another team's bucket as that team's account",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("blue-source"))), (ACCOUNT, json!(t.name("blue")))])),
            no_namespace,
        ),
        attempt(
            "asks for all that another team's replication is",
            step!(|t| t.apply(&[("spec", t.invoices()["spec"].clone())])),
            no_namespace,
        ),
        attempt(
            "takes over another team's source",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("blue-source"))), (ADOPT, json!("Adopt"))])),
            no_source,
        ),
        attempt(
            "only looks at another team's source",
            step!(|t| t.apply(&[
                (SOURCE, json!(t.name("blue-source"))),
                ("spec.managementPolicy", json!("Observe"))
            ])),
            no_source,
        ),
        attempt(
            "replicates from a bucket whose name begins almost as the pattern does",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("reddish-source")))])),
            no_source,
        ),
        attempt(
            "writes a dot where the pattern has a hyphen",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("red.source")))])),
            no_source,
        ),
        attempt(
            "writes the name in capitals",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("red-SOURCE")))])),
            |_| Seen::Admission(&["spec.source.bucket", "lowercase letters"]),
        ),
        attempt(
            "writes the name in capitals, past admission",
            step!(|t| t.smuggle(&[(SOURCE, json!(t.name("red-SOURCE")))])),
            no_source,
        ),
        attempt(
            "gives the ARN of another team's bucket for its name",
            step!(|t| t.apply(&[(SOURCE, json!(format!("arn:aws:s3:::{}", t.name("blue-source"))))])),
            |_| Seen::Admission(&["spec.source.bucket", "not an ARN"]),
        ),
        attempt(
            "gives the ARN of another team's bucket for its name, past admission",
            step!(|t| t.smuggle(&[(SOURCE, json!(format!("arn:aws:s3:::{}", t.name("blue-source"))))])),
            no_source,
        ),
        attempt(
            "writes the pattern itself for the source",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("red-*")))])),
            |_| Seen::Admission(&["spec.source.bucket", "must be the name of an S3 bucket"]),
        ),
        attempt(
            "writes the pattern itself for the source, past admission",
            step!(|t| t.smuggle(&[(SOURCE, json!(t.name("red-*")))])),
            no_source,
        ),
        attempt(
            "walks from its own bucket to another team's, past admission",
            step!(|t| t.smuggle(&[(SOURCE, json!(t.name(&format!("red-x/../{}", t.name("blue-source")))))])),
            no_source,
        ),
        // The destination.
        attempt(
            "replicates into another team's bucket",
            step!(|t| t.apply(&[(TO, json!(t.name("blue-dest")))])),
            no_destination,
        ),
        attempt(
            "replicates into another team's bucket as that team's account",
            step!(|t| t.apply(&[(TO, json!(t.name("blue-dest"))), (TO_REF, json!(t.name("blue")))])),
            no_namespace,
        ),
        attempt(
            "replicates into another team's bucket, with the id of its own account",
            step!(|t| t.apply(&[(TO, json!(t.name("blue-dest"))), (TO_ACCOUNT, json!(t.world.account))])),
            no_destination,
        ),
        attempt(
            "replicates its own bucket to an outside account",
            step!(|t| t.apply(&[(TO, json!(t.name("red-outside"))), (TO_ACCOUNT, json!(t.outside))])),
            no_outside,
        ),
        attempt(
            "replicates into an outside bucket that nobody may look at, without saying whose it is",
            step!(|t| t.apply(&[(TO, json!(t.name("red-outside")))])),
            unseen,
        ),
        attempt(
            "replicates into an outside bucket that nobody may look at, and says where it is",
            step!(|t| t.apply(&[(TO, json!(t.name("red-outside"))), (TO_REGION, json!(WEST))])),
            unconfirmed,
        ),
        attempt(
            "replicates into an outside bucket with the id of its own account",
            step!(|t| t.apply(&[
                (TO, json!(t.name("red-outside"))),
                (TO_ACCOUNT, json!(t.world.account)),
                (TO_REGION, json!(WEST))
            ])),
            unconfirmed,
        ),
        attempt(
            "replicates into an outside bucket with its own AwsAccount",
            step!(|t| t.apply(&[
                (TO, json!(t.name("red-outside"))),
                (TO_REF, json!(t.name("red"))),
                (TO_REGION, json!(WEST))
            ])),
            unconfirmed,
        ),
        attempt(
            "hides another team's bucket in a second rule that is off",
            step!(|t| async move {
                let mut rule = t.harmless()["spec"]["rules"][0].clone();
                set(&mut rule, "id", json!("Second"));
                set(&mut rule, "priority", json!(2));
                set(&mut rule, "status", json!("Disabled"));
                set(&mut rule, "destination.bucket", json!(t.name("blue-dest")));
                t.apply(&[("spec.rules", json!([t.harmless()["spec"]["rules"][0], rule]))]).await
            }),
            |t| {
                not_allowed([
                    "rules[Second].destination.bucket".to_owned(),
                    t.name("blue-dest"),
                    t.name("red-*"),
                ])
            },
        ),
        attempt(
            "replicates into every bucket of an account that is allowed, past admission",
            step!(|t| t.smuggle(&[(TO, json!("*")), (TO_ACCOUNT, json!(t.partner))])),
            |t| not_allowed(["no name of a bucket".to_owned(), t.name("red")]),
        ),
        attempt(
            "gives the id of an outside account beside an AwsAccount of its own",
            step!(|t| t.apply(&[(TO_ACCOUNT, json!(t.outside)), (TO_REF, json!(t.name("free")))])),
            |t| {
                Seen::Refused(
                    "AccountMismatch",
                    vec![t.outside.clone(), t.name("free"), t.world.account.clone()],
                )
            },
        ),
        // The account.
        attempt(
            "refers to an account that nobody may use any more because it cannot be read",
            step!(|t| t.apply(&[(ACCOUNT, json!(t.name("broken")))])),
            |t| {
                Seen::Refused("InvalidSpec", vec![t.name("broken"), "nothing is allowed under it".to_owned()])
            },
        ),
        attempt(
            "refers to an account that is not there",
            step!(|t| t.apply(&[(ACCOUNT, json!(t.name("none")))])),
            |t| Seen::Refused("AccountNotFound", vec!["source.accountRef".to_owned(), t.name("none")]),
        ),
        // The role.
        attempt(
            "uses another team's role",
            step!(|t| t
                .apply(&[(ROLE, json!({"arn": t.role_arn(&format!("s3-replication/blue/{ORDERS_ROLE}"))}))])),
            no_path,
        ),
        attempt(
            "uses another team's role that was made by hand",
            step!(|t| t.apply(&[(
                ROLE,
                json!({"arn": t.role_arn(&format!("s3-replication/blue/{INVOICES_ROLE}"))})
            )])),
            no_path,
        ),
        attempt(
            "walks from its own path to another team's role",
            step!(|t| t.apply(&[(
                ROLE,
                json!({"arn": t.role_arn(&format!("s3-replication/red/../blue/{ORDERS_ROLE}"))})
            )])),
            no_path,
        ),
        attempt(
            "uses a role of an outside account",
            step!(|t| t.apply(&[(
                ROLE,
                json!({"arn": format!("arn:aws:iam::{}:role/s3-replication/red/x", t.outside)})
            )])),
            |t| not_allowed([format!("is not in account {}", t.world.account), t.name("red")]),
        ),
        attempt(
            "has its role made at another team's path",
            step!(|t| t.apply(&[(ROLE, json!({"path": "/s3-replication/blue/"}))])),
            no_path,
        ),
        attempt(
            "walks from its own path to another team's",
            step!(|t| t.apply(&[(ROLE, json!({"path": "/s3-replication/red/../blue/"}))])),
            |_| Seen::Admission(&["spec.role.path"]),
        ),
        attempt(
            "walks from its own path to another team's, past admission",
            step!(|t| t.smuggle(&[(ROLE, json!({"path": "/s3-replication/red/../blue/"}))])),
            no_path,
        ),
        attempt(
            "takes over another team's role by its name",
            step!(|t| t.apply(&[(ROLE, json!({"name": ORDERS_ROLE})), (ADOPT, json!("Adopt"))])),
            |_| {
                Seen::RefusedAfterReads(
                    "ForeignRole",
                    vec!["exists with the path /s3-replication/blue/".to_owned()],
                )
            },
        ),
        attempt(
            "takes over another team's role by its name and path, where no path is imposed",
            step!(|t| t.apply(&[
                (ACCOUNT, json!(t.name("free"))),
                (ROLE, json!({"name": ORDERS_ROLE, "path": "/s3-replication/blue/"})),
                (ADOPT, json!("Adopt")),
            ])),
            foreign,
        ),
        attempt(
            "takes over a role that another team made by hand, where no path is imposed",
            step!(|t| t.apply(&[
                (ACCOUNT, json!(t.name("free"))),
                (ROLE, json!({"name": INVOICES_ROLE, "path": "/s3-replication/blue/"})),
                (ADOPT, json!("Adopt")),
            ])),
            |t| {
                let tag = format!("s3replication.dev/namespace={}", t.red);
                Seen::RefusedAfterReads("ForeignRole", vec![INVOICES_ROLE.to_owned(), tag])
            },
        ),
        attempt(
            "uses another team's role, where no path is imposed",
            step!(|t| t.apply(&[
                (ACCOUNT, json!(t.name("free"))),
                (ROLE, json!({"arn": t.role_arn(&format!("s3-replication/blue/{ORDERS_ROLE}"))})),
            ])),
            foreign,
        ),
        attempt(
            "bounds its role by a wider policy than is imposed",
            step!(|t| t.apply(&[
                (ACCOUNT, json!(t.name("bounded"))),
                (ROLE, json!({"permissionsBoundary": t.policy_arn("wide")})),
            ])),
            |t| not_allowed([t.policy_arn("wide"), t.policy_arn("boundary"), t.name("bounded")]),
        ),
        attempt(
            "uses a role of its own that lacks the boundary",
            step!(|t| t.apply(&[
                (ACCOUNT, json!(t.name("bounded"))),
                (ROLE, json!({"arn": t.role_arn(&format!("s3-replication/red/{RED_BY_HAND}"))})),
            ])),
            |t| {
                let words = ["has the permissions boundary (none)".to_owned(), t.policy_arn("boundary")];
                Seen::RefusedAfterReads("NotAllowed", words.into())
            },
        ),
        // After admission, and after it was Ready.
        once_ready(
            "turns its own replication to another team's account",
            step!(|t| t.patch(json!({"spec": {"source": {"accountRef": t.name("blue")}}}))),
            no_namespace,
        ),
        once_ready(
            "turns its own replication into another team's bucket",
            step!(|t| async move {
                let mut rules = t.attack().await?["spec"]["rules"].take();
                set(&mut rules, "0.destination.bucket", json!(t.name("blue-dest")));
                t.patch(json!({"spec": {"rules": rules}})).await
            }),
            no_destination,
        ),
        once_ready(
            "turns its own replication to an outside account",
            step!(|t| async move {
                let mut rules = t.attack().await?["spec"]["rules"].take();
                set(
                    &mut rules,
                    "0.destination",
                    json!({"bucket": t.name("red-outside"), "account": t.outside}),
                );
                t.patch(json!({"spec": {"rules": rules}})).await
            }),
            no_outside,
        ),
        once_ready(
            "turns its own replication into an outside bucket that nobody may look at",
            step!(|t| async move {
                let mut rules = t.attack().await?["spec"]["rules"].take();
                set(&mut rules, "0.destination", json!({"bucket": t.name("red-outside"), "region": WEST}));
                t.patch(json!({"spec": {"rules": rules}})).await
            }),
            unconfirmed,
        ),
        once_ready(
            "gives its own replication another team's role",
            step!(|t| {
                let arn = t.role_arn(&format!("s3-replication/blue/{ORDERS_ROLE}"));
                t.patch(json!({"spec": {"role": {"name": null, "arn": arn}}}))
            }),
            no_path,
        ),
        once_ready(
            "renames its role to another team's, to take that over",
            step!(|t| t.patch(json!({"spec": {"role": {"name": ORDERS_ROLE}, "adoptionPolicy": "Adopt"}}))),
            |_| {
                Seen::RefusedAfterReads(
                    "ForeignRole",
                    vec!["exists with the path /s3-replication/blue/".to_owned()],
                )
            },
        ),
        once_ready(
            "moves its role to another team's path",
            step!(|t| t.patch(json!({"spec": {"role": {"path": "/s3-replication/blue/"}}}))),
            |_| Seen::Admission(&["spec.role", "cannot be changed"]),
        ),
        once_ready(
            "turns its own replication to another team's source",
            step!(|t| t.patch(json!({"spec": {"source": {"bucket": t.name("blue-source")}}}))),
            |_| Seen::Admission(&["spec.source.bucket", "cannot be changed"]),
        ),
        once_ready(
            "turns its own replication to another team's source, past admission",
            step!(|t| t.overwrite(&[(SOURCE, json!(t.name("blue-source")))])),
            no_source,
        ),
        once_ready(
            "turns its own replication to all that another team's is, past admission",
            step!(|t| t.overwrite(&[("spec", t.invoices()["spec"].clone())])),
            no_namespace,
        ),
        once_ready(
            "goes on in a namespace that lost its label",
            step!(|t| t.relabel(json!({"team": null}))),
            no_labels,
        ),
        once_ready(
            "goes on in a namespace with a label that is written otherwise",
            step!(|t| t.relabel(json!({"team": "Red"}))),
            no_labels,
        ),
        Case {
            name: "goes on in a namespace that was deleted and made again without its label",
            before: Some(step!(|t| async move {
                t.runs().await?;
                t.remake_namespace().await
            })),
            attempt: step!(|t| t.apply(&[])),
            seen: no_labels,
        },
    ]
}

/// Makes one attempt, and deletes what it made: that is one too.
async fn run(t: &Teams, case: &Case) -> Result<()> {
    let name = case.name;
    if let Some(before) = case.before {
        before(t).await?;
    }
    let estate = t.estate().await?;
    t.world.proxy.clear();
    let tried = (case.attempt)(t).await;
    match (case.seen)(t) {
        Seen::Admission(parts) => {
            let Err(refused) = tried else { bail!("it is admitted") };
            let words = format!("{refused:#}");
            assert!(parts.iter().all(|part| words.contains(part)), "{name}: {words}");
            assert!(t.calls().is_empty(), "{name}: {:?}", t.calls());
        }
        Seen::Refused(expected, parts) => {
            tried?;
            t.is_refused(name, expected, &parts).await?;
            assert!(t.calls().is_empty(), "{name}: {:?}", t.calls());
        }
        Seen::RefusedAfterReads(expected, parts) => {
            tried?;
            t.is_refused(name, expected, &parts).await?;
        }
    }
    t.wrote_only(name, &[]);

    if t.world.api_in(&t.red).get_metadata_opt(ATTACK).await?.is_some() {
        t.delete().await?;
    }
    let own = [t.name("red-source"), RED_ROLE.to_owned()];
    t.all_is_seen().await?;
    t.blue_is_untouched(name, &estate).await?;
    t.wrote_only(name, if case.before.is_some() { &own } else { &[] });
    // What was red's own went with its resource.
    assert_eq!(configuration(&t.world, &t.name("red-source")).await?, "none", "{name}");
    assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, "none", "{name}");
    t.labels(json!({"team": "red"})).await
}

#[tokio::test]
async fn nothing_that_a_team_tries_reaches_another_s_data() -> Result<()> {
    let teams = Teams::new("tenancy").await?;
    let cases = cases();
    assert!(cases.len() >= 24, "{} cases", cases.len());
    for case in &cases {
        run(&teams, case).await.context(case.name)?;
    }
    Ok(())
}

/// Age counts in whole seconds: waits until what is made now is younger than red's resource.
async fn until_younger(t: &Teams) -> Result<()> {
    let created = t.attack().await?["metadata"]["creationTimestamp"].take();
    let created: jiff::Timestamp = created.as_str().context("no creationTimestamp")?.parse()?;
    while jiff::Timestamp::now().as_second() <= created.as_second() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn who_names_a_source_first_and_may_not_use_it_does_not_own_it() -> Result<()> {
    let t = Teams::new("tenancy-first").await?;
    let source = t.name("blue-late");
    t.make_bucket(&t.world.account, EAST, &source).await?;
    // Red has an AWS account of its own, where it may use whatever it likes.
    let role = t.world.assumable_role(&t.outside, "operator", &t.world.account, None, ALLOW_ALL).await?;
    let loose = json!({
        "assumeRole": {"arn": role},
        "namespaces": {"matchNames": [t.red]},
        "sources": ["*"],
        "destinations": ["*"],
    });
    t.account_for(&t.outside, "loose", &loose).await?;
    for (n, account, expected) in [(0, "red", "NotAllowed"), (1, "loose", "AccessDenied")] {
        let late = format!("late-{n}");
        // Retain: what is someone else's bucket cannot be looked at when it is deleted either.
        let edits = [
            (SOURCE, json!(source)),
            (ACCOUNT, json!(t.name(account))),
            ("spec.deletionPolicy", json!("Retain")),
        ];
        t.apply(&edits).await?;
        t.is_refused(account, expected, std::slice::from_ref(&source)).await?;
        until_younger(&t).await?;
        t.world.proxy.clear();
        t.world.apply(&t.blue(&late, "blue-late").to_string()).await?;
        t.world.wait_ready(&late).await?;
        let status = check_now(&t.world, &late).await?["status"].take();
        assert_eq!(reason(&status, "Ready"), "Applied", "{account}: {status:#}");
        t.is_refused(account, expected, std::slice::from_ref(&source)).await?;

        // And it stays so when red's goes.
        let held = configuration(&t.world, &source).await?;
        t.delete().await?;
        check_now(&t.world, &late).await?;
        assert_eq!(configuration(&t.world, &source).await?, held, "{account}");
        t.world.api().delete(&late, &DeleteParams::default()).await?;
        t.world.wait_gone(&late).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_was_one_s_own_is_not_when_it_has_passed_to_an_outside_account() -> Result<()> {
    let t = Teams::new("tenancy-passed").await?;
    // In the operator's own Region, where S3 confirms the owner when it is asked where the bucket is.
    let (world, bucket) = (&t.world, t.name("red-given"));
    t.make_bucket(&world.account, EAST, &bucket).await?;
    t.apply(&[(TO, json!(bucket))]).await?;
    t.is_ready().await?;
    // Red gives the name away, where nobody may look at it.
    world.s3(EAST).delete_bucket().bucket(&bucket).send().await?;
    t.make_bucket(&t.outside, EAST, &bucket).await?;
    let source = t.name("red-second");
    t.make_bucket(&world.account, EAST, &source).await?;
    world.proxy.clear();
    let edits = [
        ("metadata.name", json!("second")),
        // Asked for, a check shares no read with those a moment before.
        ("metadata.annotations", json!({"s3replication.dev/requestedAt": "now"})),
        (SOURCE, json!(source)),
        (TO, json!(bucket)),
        (ROLE, json!({"name": "second-role"})),
    ];
    t.apply(&edits).await?;
    let told = |status: &Value| reason(status, "Ready") == "AccessDenied";
    let told = world.wait_in(&t.red, "second", told, "to be AccessDenied").await?;
    let words = message(&told["status"], "Ready");
    assert!(words.contains("does not confirm") && words.contains(&bucket), "{words}");
    t.wrote_only("second", &[]);
    assert_eq!(configuration(world, &source).await?, "none");
    Ok(())
}

#[tokio::test]
async fn a_bucket_said_to_be_a_partner_s_that_is_an_outsider_s_gets_no_configuration() -> Result<()> {
    let t = Teams::new("tenancy-partner").await?;
    let estate = t.estate().await?;
    let mut rule = t.harmless()["spec"]["rules"][0].clone();
    set(
        &mut rule,
        "destination",
        json!({"bucket": t.name("red-outside"), "region": WEST, "versioning": "Required"}),
    );
    let mut said = rule.clone();
    set(&mut said, "destination.account", json!(t.partner));
    set(&mut said, "id", json!("Said"));
    set(&mut said, "priority", json!(2));
    // The account that one rule names is checked for it, whatever another rule leaves out.
    for rules in [json!([said]), json!([said, rule]), json!([rule, said])] {
        t.apply(&[("spec.rules", rules)]).await?;
        let status = t.check().await?;
        assert_eq!(reason(&status, "Ready"), "InvalidRequest", "{status:#}");
        assert!(message(&status, "Ready").contains("owner of the destination bucket"), "{status:#}");
        assert_eq!(configuration(&t.world, &t.name("red-source")).await?, "none");
        t.delete().await?;
    }
    t.wrote_only("partner", &[t.name("red-source"), RED_ROLE.to_owned()]);
    t.blue_is_untouched("partner", &estate).await
}

#[tokio::test]
async fn what_was_never_checked_deletes_nothing() -> Result<()> {
    let t = Teams::new("tenancy-unseen").await?;
    let estate = t.estate().await?;
    for edits in [
        vec![("spec", t.invoices()["spec"].clone())],
        vec![(SOURCE, json!(t.name("blue-source"))), (ROLE, json!({"name": ORDERS_ROLE}))],
    ] {
        t.world.proxy.clear();
        let suspended = edits.into_iter().chain([("spec.suspend", json!(true))]).collect::<Vec<_>>();
        t.apply(&suspended).await?;
        let told = |status: &Value| reason(status, "Ready") == "Suspended";
        t.world.wait_in(&t.red, ATTACK, told, "to be Suspended").await?;
        t.delete().await?;
        t.blue_is_untouched("suspended", &estate).await?;
        t.wrote_only("suspended", &[]);
    }
    Ok(())
}

/// Red replicated a bucket, then blue was given it and replicates it in just the same way.
async fn handed_over(name: &str) -> Result<Teams> {
    let t = Teams::new(name).await?;
    t.make_bucket(&t.world.account, EAST, &t.name("shared-source")).await?;
    t.make_role("shared-role", "/shared/").await?;
    let shared = json!([t.name("shared-*")]);
    for (name, namespace) in [("before", &t.red), ("after", &t.world.namespace)] {
        let spec = json!({
            "namespaces": {"matchNames": [namespace]},
            "sources": shared,
            "destinations": [t.name("blue-dest")],
        });
        t.account(name, &spec).await?;
    }
    let edits = |account: &str| {
        [
            (SOURCE, json!(t.name("shared-source"))),
            (ACCOUNT, json!(t.name(account))),
            (TO, json!(t.name("blue-dest"))),
            (ROLE, json!({"arn": t.role_arn("shared/shared-role")})),
        ]
    };
    t.apply(&edits("before")).await?;
    t.is_ready().await?;
    t.patch_account("before", json!({"sources": []})).await?;
    t.is_refused("handed over", "NotAllowed", &[t.name("shared-source"), "(none)".to_owned()]).await?;
    let mut taken = t.edited(&edits("after"));
    set(&mut taken, "metadata", json!({"name": "taken"}));
    t.world.apply(&taken.to_string()).await?;
    t.world.wait_ready("taken").await?;
    Ok(t)
}

#[tokio::test]
async fn what_was_handed_to_another_team_stays_when_the_first_team_s_resource_goes() -> Result<()> {
    let t = handed_over("tenancy-handed").await?;
    let held = configuration(&t.world, &t.name("shared-source")).await?;
    assert!(held.contains("shared-role"), "{held}");
    t.world.proxy.clear();
    t.delete().await?;
    let status = check_now(&t.world, "taken").await?["status"].take();
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    t.wrote_only("handed", &[]);
    assert_eq!(configuration(&t.world, &t.name("shared-source")).await?, held);
    Ok(())
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_deletes_nothing_that_may_be_another_s() -> Result<()> {
    let t = handed_over("tenancy-unread").await?;
    let held = configuration(&t.world, &t.name("shared-source")).await?;
    t.overwrite(&[("spec.rules.0.status", json!("Perhaps"))]).await?;
    let told = |status: &Value| reason(status, "Ready") == "InvalidSpec";
    t.world.wait_in(&t.red, ATTACK, told, "to be InvalidSpec").await?;
    t.world.proxy.clear();
    t.delete().await?;
    let status = check_now(&t.world, "taken").await?["status"].take();
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    t.wrote_only("unread", &[]);
    assert_eq!(configuration(&t.world, &t.name("shared-source")).await?, held);
    Ok(())
}

#[tokio::test]
async fn what_is_tightened_holds_at_once_and_tears_nothing_down() -> Result<()> {
    let t = Teams::new("tenancy-tight").await?;
    let boundary =
        |name: &str| json!({"permissionsBoundary": t.policy_arn(name), "path": "/s3-replication/red/"});
    t.patch_account("red", json!({"roles": boundary("boundary")})).await?;
    t.apply(&[(ROLE, json!({"name": RED_ROLE, "permissionsBoundary": t.policy_arn("boundary")}))]).await?;
    t.is_ready().await?;
    let held =
        (configuration(&t.world, &t.name("red-source")).await?, role_in_aws(&t.world, RED_ROLE).await?);
    assert!(held.0.contains(RED_ROLE) && held.1.contains(&t.policy_arn("boundary")), "{held:?}");
    let patterns = json!([t.name("red-*")]);
    let path = json!({"path": "/s3-replication/tight/", "permissionsBoundary": t.policy_arn("boundary")});
    let cases = [
        ("sources", json!([t.name("red-s")]), patterns.clone(), t.name("red-source")),
        ("destinations", json!([]), patterns, t.name("red-dest")),
        ("namespaces", json!({"matchNames": ["another"]}), json!({"matchNames": null}), t.red.clone()),
        (
            "namespaces",
            json!({"matchLabels": {"team": "redder"}}),
            json!({"matchLabels": {"team": "red"}}),
            "team=redder".to_owned(),
        ),
        ("roles", path, boundary("boundary"), "/s3-replication/tight/".to_owned()),
        ("roles", boundary("tighter"), boundary("boundary"), t.policy_arn("tighter")),
    ];
    for (field, tight, wide, part) in cases {
        t.world.proxy.clear();
        t.patch_account("red", json!({field: tight})).await?;
        // Nobody asked for a check.
        let told = |status: &Value| reason(status, "Ready") == "NotAllowed";
        let told = t.world.wait_in(&t.red, ATTACK, told, "to be NotAllowed").await?;
        let words = message(&told["status"], "Ready");
        assert!(words.contains(&part) && words.contains(&t.name("red")), "{field}: {words}");
        let status = t.check().await?;
        assert_eq!(reason(&status, "Ready"), "NotAllowed", "{field}: {status:#}");
        assert_eq!(reason(&status, "Stalled"), "NotAllowed", "{field}: {status:#}");
        assert!(t.calls().is_empty(), "{field}: {:?}", t.calls());

        t.patch_account("red", json!({field: wide})).await?;
        t.is_ready().await?;
        t.wrote_only(field, &[]);
        let still =
            (configuration(&t.world, &t.name("red-source")).await?, role_in_aws(&t.world, RED_ROLE).await?);
        assert_eq!(still, held, "{field}");
    }
    Ok(())
}

#[tokio::test]
async fn a_role_made_before_a_path_was_imposed_is_told_of_and_left() -> Result<()> {
    let t = Teams::new("tenancy-moved").await?;
    t.apply(&[(ACCOUNT, json!(t.name("free")))]).await?;
    t.is_ready().await?;
    let held = role_in_aws(&t.world, RED_ROLE).await?;
    t.world.proxy.clear();
    t.patch_account("free", json!({"roles": {"path": "/s3-replication/red/"}})).await?;
    let words = [t.role_arn(&format!("s3-replication/{RED_ROLE}")), "IAM cannot move a role".to_owned()];
    t.is_refused("moved", "NotAllowed", &words).await?;
    assert!(t.calls().is_empty(), "{:?}", t.calls());
    assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, held);

    // As the message says: another name is at the imposed path, and the former role goes.
    t.patch(json!({"spec": {"role": {"name": "renamed"}}})).await?;
    t.is_ready().await?;
    let renamed = role_in_aws(&t.world, "renamed").await?;
    assert!(renamed.starts_with(&t.role_arn("s3-replication/red/renamed")), "{renamed}");
    assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, "none");
    Ok(())
}

#[tokio::test]
async fn what_is_no_longer_allowed_removes_its_own_when_it_goes() -> Result<()> {
    for (n, tight) in
        [json!({"sources": []}), json!({"namespaces": {"matchLabels": null}})].iter().enumerate()
    {
        let t = Teams::new(&format!("tenancy-leaves-{n}")).await?;
        let estate = t.estate().await?;
        t.runs().await?;
        t.patch_account("red", tight.clone()).await?;
        t.is_refused("leaves", "NotAllowed", &[t.name("red")]).await?;
        t.delete().await?;
        assert_eq!(configuration(&t.world, &t.name("red-source")).await?, "none", "{tight}");
        assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, "none", "{tight}");
        t.blue_is_untouched("leaves", &estate).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_path_and_a_boundary_that_are_imposed_reach_iam() -> Result<()> {
    let t = Teams::new("tenancy-imposed").await?;
    t.apply(&[(ACCOUNT, json!(t.name("bounded"))), (ROLE, Value::Null)]).await?;
    t.is_ready().await?;
    let name = format!("{}.{ATTACK}", t.red);
    let held = t.world.iam().get_role().role_name(&name).send().await?.role.context("no role")?;
    assert_eq!(held.path(), "/s3-replication/red/");
    assert_eq!(held.arn(), t.role_arn(&format!("s3-replication/red/{name}")));
    let boundary = held.permissions_boundary().and_then(|held| held.permissions_boundary_arn());
    assert_eq!(boundary, Some(t.policy_arn("boundary").as_str()));
    let held = configuration(&t.world, &t.name("red-source")).await?;
    assert!(held.contains(&t.role_arn(&format!("s3-replication/red/{name}"))), "{held}");

    // Taken off by hand, the boundary comes back.
    t.world.iam().delete_role_permissions_boundary().role_name(&name).send().await?;
    let status = t.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    let held = t.world.iam().get_role().role_name(&name).send().await?.role.context("no role")?;
    let boundary = held.permissions_boundary().and_then(|held| held.permissions_boundary_arn());
    assert_eq!(boundary, Some(t.policy_arn("boundary").as_str()));
    Ok(())
}

#[tokio::test]
async fn a_role_that_names_a_resource_by_its_tags_is_adopted_by_it() -> Result<()> {
    let t = Teams::new("tenancy-adopt").await?;
    t.world.iam().delete_role().role_name(RED_BY_HAND).send().await?;
    t.make_role(RED_BY_HAND, "/s3-replication/red/").await?;
    t.apply(&[(ROLE, json!({"name": RED_BY_HAND})), (ADOPT, json!("Adopt"))]).await?;
    t.is_refused("untagged", "ForeignRole", &["nobody adopts another's role".to_owned()]).await?;
    t.wrote_only("untagged", &[]);
    let tag = |key: &str, value: &str| {
        aws_sdk_iam::types::Tag::builder().key(format!("s3replication.dev/{key}")).value(value).build()
    };
    let tags = [tag("namespace", &t.red)?, tag("name", ATTACK)?];
    t.world.iam().tag_role().role_name(RED_BY_HAND).set_tags(Some(tags.into())).send().await?;
    let status = t.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    Ok(())
}

/// A resource of a world with a cluster of its own that refers to no account, and its buckets.
async fn unreferring(world: &World) -> Result<Value> {
    let (source, destination) = (world.bucket(EAST).await?, world.bucket(WEST).await?);
    Ok(replication(ORDERS, &source, &destination))
}

fn for_all_of(world: &World) -> Value {
    let pattern = json!([format!("{}-*", world.namespace)]);
    json!({
        "namespaces": {"matchNames": [world.namespace]},
        "sources": pattern,
        "destinations": pattern,
    })
}

async fn is_told(world: &World, expected: &str, part: &str) -> Result<()> {
    let told = |status: &Value| reason(status, "Ready") == expected;
    let told = world.wait(ORDERS, told, &format!("to be {expected}")).await?;
    let words = message(&told["status"], "Ready");
    assert!(words.contains(part), "{part:?} is not in {words:?}");
    Ok(())
}

#[tokio::test]
async fn the_account_named_default_is_everyone_s_where_it_exists() -> Result<()> {
    let world = World::alone("tenancy-default").await?;
    let _operator = operator(&world).start().await?;
    let resource = unreferring(&world).await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready(ORDERS).await?;

    // From now on it says what may be done, and what it does not say is not allowed.
    world.proxy.clear();
    apply_account(&world, "default", &world.account, &json!({})).await?;
    is_told(&world, "NotAllowed", "AwsAccount default, which allows no namespace").await?;
    let reads = || {
        let mut calls = world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    };
    assert!(reads().is_empty(), "{:?}", reads());
    apply_account(&world, "default", &world.account, &for_all_of(&world)).await?;
    is_told(&world, "Applied", "").await?;
    let status = check_now(&world, ORDERS).await?["status"].take();
    assert_eq!(status["source"]["accountRef"], "default", "{status:#}");

    // One that cannot be read is not one that is not there.
    let mut broken = world.account("default").await?;
    set(&mut broken, "spec.sources", json!({"all": true}));
    let generation = broken["metadata"]["generation"].as_i64().context("no generation")?;
    set(&mut broken, "metadata.generation", json!(generation + 1));
    world.proxy.clear();
    world.cluster().store("awsaccounts", &broken).await?;
    check_now(&world, ORDERS).await?;
    is_told(&world, "InvalidSpec", "AwsAccount default cannot be read").await?;
    assert!(reads().is_empty(), "{:?}", reads());

    // And where there is none, nothing is restricted.
    world.accounts().delete("default", &DeleteParams::default()).await?;
    is_told(&world, "Applied", "").await?;
    let status = check_now(&world, ORDERS).await?["status"].take();
    assert_eq!(status["source"].get("accountRef"), None, "{status:#}");
    assert!(world.proxy.writes().is_empty(), "{:?}", world.proxy.writes());
    Ok(())
}

#[tokio::test]
async fn an_operator_that_requires_accounts_refuses_who_names_none() -> Result<()> {
    let world = World::alone("tenancy-required").await?;
    let _operator = operator(&world).arg("--require-account").start().await?;
    let mut resource = unreferring(&world).await?;
    apply_account(&world, "dr", &world.account, &for_all_of(&world)).await?;
    let reads = || {
        let mut calls = world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    };
    world.apply(&resource.to_string()).await?;
    is_told(&world, "NotAllowed", "--require-account").await?;
    // The account of a destination is none of the source.
    set(&mut resource, TO_REF, json!("dr"));
    world.apply(&resource.to_string()).await?;
    let status = check_now(&world, ORDERS).await?["status"].take();
    assert_eq!(reason(&status, "Ready"), "NotAllowed", "{status:#}");
    assert!(reads().is_empty(), "{:?}", reads());

    set(&mut resource, ACCOUNT, json!("dr"));
    world.apply(&resource.to_string()).await?;
    world.wait_ready(ORDERS).await?;
    set(&mut resource, ACCOUNT, Value::Null);
    world.apply(&resource.to_string()).await?;
    is_told(&world, "NotAllowed", "--require-account").await?;
    apply_account(&world, "default", &world.account, &for_all_of(&world)).await?;
    is_told(&world, "Applied", "").await
}
