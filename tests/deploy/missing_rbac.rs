//! Takes each permission of the chart away in turn, and checks what fails without it: none is granted in vain.
//! The operator's log names verb and resource, and the remedy.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::types::BucketVersioningStatus;
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use rig::Operator;
use rig::cluster::user;
use rig::world::{DEADLINE, World, condition};
use serde_json::{Value, json};

use crate::rbac::{Right, give, granted, without};
use crate::support::{documents, rendered_text};

const RELEASE: &str = "missing-rbac";
const RESOURCE: &str = "orders";
/// The name of the policy that the operator writes.
const POLICY: &str = "s3-replication";

/// The remedy that the log adds to the API server's message.
const REMEDY: &str = "give it this right, which the roles of this version's Helm chart and install.yaml hold";

/// Long enough for a busy machine to renew, with attempts so frequent that no test has to wait.
const PATIENT: [&str; 6] = ["--lease-duration", "1h", "--renew-deadline", "50m", "--retry-period", "500ms"];
const SHORT: [&str; 6] = ["--lease-duration", "14s", "--renew-deadline", "4s", "--retry-period", "500ms"];

/// The interval of polling.
const PAUSE: Duration = Duration::from_millis(100);

/// The events of an operator's and a resource's life, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    Started,
    Leads,
    KeepsLeading,
    AccountVerified,
    Ready,
    Corrected,
    Reported,
    CorrectedAgain,
    ReportedAgain,
    BackfillBegun,
    Gone,
    LetGoOfTheLease,
}

const LIFE: [Expectation; 12] = [
    Expectation::Started,
    Expectation::Leads,
    Expectation::KeepsLeading,
    Expectation::AccountVerified,
    Expectation::Ready,
    Expectation::Corrected,
    Expectation::Reported,
    Expectation::CorrectedAgain,
    Expectation::ReportedAgain,
    Expectation::BackfillBegun,
    Expectation::Gone,
    Expectation::LetGoOfTheLease,
];

/// The failure without a permission.
struct Missed {
    /// The event that does not happen.
    expected: Expectation,
    /// No later event happens either.
    ends: bool,
    /// The resource's own status gives the reason.
    reported: bool,
}

/// The event that fails without a permission; each permission has one.
fn missed(right: &Right, namespace: &str) -> Result<Missed> {
    let Right { group, resource, name, verb } = right;
    let end = |expected| Ok(Missed { expected, ends: true, reported: false });
    let reported = |expected| Ok(Missed { expected, ends: true, reported: true });
    let only = |expected| Ok(Missed { expected, ends: false, reported: false });
    match (group.as_str(), resource.as_str(), verb.as_str()) {
        ("", "namespaces", "get") if name.as_deref() == Some("kube-system") => end(Expectation::Started),
        ("", "namespaces", "get") if name.as_deref() == Some(namespace) => reported(Expectation::Ready),
        // The operator begins only after it knows everything, so it does not even request the Lease.
        ("s3replication.dev", "awsaccounts" | "bucketreplications" | "replicationbackfills", "watch") => {
            end(Expectation::Leads)
        }
        ("coordination.k8s.io", "leases", "create" | "get") => end(Expectation::Leads),
        ("coordination.k8s.io", "leases", "update") => end(Expectation::KeepsLeading),
        ("s3replication.dev", "awsaccounts/status", "patch") => only(Expectation::AccountVerified),
        // The operator asks for the account again before the first write of each check.
        ("s3replication.dev", "awsaccounts", "get") => reported(Expectation::Ready),
        // The finalizer.
        ("s3replication.dev", "bucketreplications", "patch") => reported(Expectation::Ready),
        // The operator reads the resource again before the first write of each check, but for the one that adds the
        // finalizer, and before it deletes anything.
        ("s3replication.dev", "bucketreplications", "get") => reported(Expectation::Corrected),
        ("s3replication.dev", "bucketreplications/status", "patch") => end(Expectation::Ready),
        // The finalizer, the resource again before the first write to AWS, and what is about to be written.
        ("s3replication.dev", "replicationbackfills", "patch" | "get")
        | ("s3replication.dev", "replicationbackfills/status", "patch") => only(Expectation::BackfillBegun),
        ("events.k8s.io", "events", "create") => only(Expectation::Reported),
        _ => bail!("{right} is given, and nobody says what would be missed without it"),
    }
}

/// One operator with the roles of its namespace, and the objects it works on.
struct Life {
    world: World,
    operator: Operator,
    /// The operator's user name for the API server.
    user: String,
    /// The name of the AwsAccount.
    account: String,
    source: String,
    destination: String,
}

impl Life {
    async fn begin(world: World, user: String, kubeconfig: &Path, times: [&str; 6]) -> Result<Life> {
        let (source, destination) =
            (world.bucket("us-east-1").await?, world.versioned_bucket("eu-west-1").await?);
        let operator = world
            .operator()
            .binary(env!("CARGO_BIN_EXE_s3-replication-operator"))
            .kubeconfig(kubeconfig)
            .args(["--leader-elect", "--lease-namespace", &world.namespace])
            .args(["--lease-name", &lease_name()])
            .args(["--backfill-settle", "0"])
            .args(times)
            .start()
            .await?;
        Ok(Life { account: world.unique(RELEASE), world, operator, user, source, destination })
    }

    /// Makes an event possible.
    async fn provoke(&self, expected: Expectation) -> Result<()> {
        let world = &self.world;
        let ask = async |request: &str| {
            let patch = json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": request}}});
            world.api().patch(RESOURCE, &PatchParams::default(), &Patch::Merge(patch)).await?;
            anyhow::Ok(())
        };
        match expected {
            Expectation::AccountVerified => world.apply(&self.account_resource().to_string()).await.map(drop),
            Expectation::Ready => world.apply(&self.resource().to_string()).await.map(drop),
            Expectation::Corrected => {
                let versioning = BucketVersioningStatus::Suspended;
                world.set_versioning("eu-west-1", &self.destination, versioning).await?;
                ask("once").await
            }
            // Something else than before: the same again could be an answer from before the correction.
            Expectation::CorrectedAgain => {
                let arn = world.get(RESOURCE).await?["status"]["role"]["arn"].clone();
                let role = arn.as_str().and_then(|arn| arn.rsplit('/').next()).context("no role")?;
                let other = json!({"Version": "2012-10-17", "Statement": [
                    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::other"}]});
                let write = world.iam().put_role_policy().role_name(role).policy_name(POLICY);
                write.policy_document(other.to_string()).send().await?;
                ask("again").await
            }
            Expectation::BackfillBegun => world.apply(&self.backfill().to_string()).await.map(drop),
            Expectation::Gone => {
                world.api().delete(RESOURCE, &DeleteParams::default()).await?;
                Ok(())
            }
            Expectation::LetGoOfTheLease => self.operator.terminate().await.map(drop),
            Expectation::Started
            | Expectation::Leads
            | Expectation::KeepsLeading
            | Expectation::Reported
            | Expectation::ReportedAgain => Ok(()),
        }
    }

    /// Whether an event has happened.
    async fn is_done(&self, expected: Expectation) -> Result<bool> {
        let world = &self.world;
        let ready = |object: &Value| {
            object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && condition(&object["status"], "Ready").is_some_and(|c| c["status"] == "True")
        };
        let corrected = async |request: &str| {
            let object = world.get(RESOURCE).await?;
            let handled = object["status"]["lastHandledRequest"] == request;
            anyhow::Ok(handled && ready(&object) && object["status"]["lastCorrection"].is_object())
        };
        Ok(match expected {
            Expectation::Started => self.operator.log().contains("started account="),
            Expectation::Leads => self.lease().await?.is_some(),
            Expectation::KeepsLeading => {
                let spec = self.lease().await?.and_then(|lease| lease.spec).context("no Lease")?;
                spec.renew_time > spec.acquire_time
            }
            Expectation::AccountVerified => ready(&world.account(&self.account).await?),
            Expectation::Ready => ready(&world.get(RESOURCE).await?),
            Expectation::Corrected => corrected("once").await?,
            Expectation::CorrectedAgain => corrected("again").await?,
            Expectation::Reported => self.corrections_reported().await? == 1,
            Expectation::ReportedAgain => self.corrections_reported().await? == 2,
            Expectation::BackfillBegun => world.backfill(RESOURCE).await?["status"]["source"].is_object(),
            Expectation::Gone => world.api().get_opt(RESOURCE).await?.is_none(),
            Expectation::LetGoOfTheLease => {
                let spec = self.lease().await?.and_then(|lease| lease.spec).context("no Lease")?;
                spec.holder_identity.unwrap_or_default().is_empty()
            }
        })
    }

    async fn wait(&self, expected: Expectation) -> Result<()> {
        let begun = Instant::now();
        while !self.is_done(expected).await? {
            ensure!(
                begun.elapsed() < DEADLINE,
                "{expected:?} is missed too; the log:\n{}",
                self.operator.log()
            );
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits until the log names the denied verb and resource, and the remedy.
    async fn wait_for_report(&self, right: &Right) -> Result<()> {
        let Right { resource, verb, .. } = right;
        let denied = format!("cannot {verb} resource");
        let says =
            |line: &str| line.contains(&denied) && line.contains(resource.as_str()) && line.contains(REMEDY);
        let begun = Instant::now();
        while !self.operator.log().lines().any(says) {
            ensure!(begun.elapsed() < DEADLINE, "the log does not say so:\n{}", self.operator.log());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Deletes the resource, and waits until its status says that the deletion lacks the right too.
    async fn delete_and_wait_reported(&self, right: &Right) -> Result<()> {
        self.provoke(Expectation::Gone).await?;
        let reported = |object: Option<&Value>| {
            let Some(object) = object else { return false };
            let ready = condition(&object["status"], "Ready");
            let message = ready.and_then(|ready| ready["message"].as_str()).unwrap_or_default();
            !object["metadata"]["deletionTimestamp"].is_null()
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && message.contains(&format!("cannot {} resource", right.verb))
        };
        let what = "to say at its deletion which right is missing";
        let object = self.world.wait_object(RESOURCE, reported, what).await?;
        ensure!(object.is_some(), "it is gone without the right");
        Ok(())
    }

    /// Waits until the API server has denied a second attempt: the event is not only late.
    async fn wait_denied_again(&self, right: &Right) -> Result<()> {
        let begun = Instant::now();
        loop {
            let (resource, part) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
            let requests = self.world.cluster().requests(&self.user, None)?;
            let denied = requests.iter().filter(|r| {
                r.code == 403 && r.verb == right.verb && r.resource == resource && r.subresource == part
            });
            if denied.count() > 1 {
                return Ok(());
            }
            ensure!(begun.elapsed() < DEADLINE, "it is not tried again:\n{}", self.operator.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn lease(&self) -> Result<Option<Lease>> {
        let leases: Api<Lease> = Api::namespaced(self.world.kube.clone(), &self.world.namespace);
        Ok(leases.get_opt(&lease_name()).await?)
    }

    /// The number of events about corrections. A repeated correction is a new event.
    async fn corrections_reported(&self) -> Result<usize> {
        let events: Api<Event> = Api::namespaced(self.world.kube.clone(), &self.world.namespace);
        let all = events.list(&ListParams::default()).await?;
        Ok(all.iter().filter(|event| event.reason.as_deref() == Some("DriftCorrected")).count())
    }

    fn account_resource(&self) -> Value {
        // By labels, which the operator must read; and by name, so that operators of other namespaces ignore it.
        let namespace = &self.world.namespace;
        let labels = json!({"kubernetes.io/metadata.name": namespace});
        json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "AwsAccount",
            "metadata": {"name": self.account},
            "spec": {
                "accountId": self.world.account,
                "namespaces": {"matchNames": [namespace], "matchLabels": labels},
                "sources": [self.source],
                "destinations": [self.destination],
                "allow": ["Backfill"],
            },
        })
    }

    fn backfill(&self) -> Value {
        json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "ReplicationBackfill",
            "metadata": {"name": RESOURCE},
            "spec": {"replicationRef": {"name": RESOURCE}},
        })
    }

    fn resource(&self) -> Value {
        json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": RESOURCE},
            "spec": {
                "source": {"bucket": self.source, "accountRef": self.account},
                "rules": [{"id": "all", "destination": {"bucket": self.destination}}],
            },
        })
    }
}

fn lease_name() -> String {
    format!("{RELEASE}-s3-replication-operator")
}

/// The roles of a release for one namespace.
fn roles(namespace: &str) -> Result<Vec<Value>> {
    let values = json!({"namespaces": [namespace], "crds": {"install": false}});
    documents(&rendered_text(RELEASE, namespace, &values)?)
}

/// A life without one permission, or with all of them.
async fn live(taken: Option<Right>) -> Result<()> {
    let world = World::with_accounts("missing-rbac").await?;
    let (cluster, namespace) = (world.cluster(), world.namespace.clone());
    // The permission named after a namespace is about this one.
    let taken = taken.map(|right| Right {
        name: right.name.map(|name| if name == NAMESPACE { namespace.clone() } else { name }),
        ..right
    });
    let missed = taken.as_ref().map(|right| missed(right, &namespace)).transpose()?;
    let less = taken.clone();
    let (account, kubeconfig) = tokio::task::spawn_blocking(move || {
        let objects = roles(&namespace)?;
        give(cluster, &less.map_or(objects.clone(), |right| without(&objects, &right)))
    })
    .await??;
    let keeps_the_lease = missed.as_ref().is_none_or(|m| m.expected != Expectation::KeepsLeading);
    let caller = user(&world.namespace, &account);
    let times = if keeps_the_lease { PATIENT } else { SHORT };
    let life = Life::begin(world, caller, &kubeconfig, times).await?;
    let mut done = Vec::new();
    for expected in LIFE {
        life.provoke(expected).await.with_context(|| format!("before {expected:?}"))?;
        let Some((right, missed)) =
            taken.as_ref().zip(missed.as_ref()).filter(|(_, m)| m.expected == expected)
        else {
            // Without the first event there is no second one to count.
            if missed
                .as_ref()
                .is_none_or(|m| m.expected != Expectation::Reported || expected != Expectation::ReportedAgain)
            {
                life.wait(expected).await.with_context(|| format!("after {done:?}"))?;
                done.push(expected);
            }
            continue;
        };
        life.wait_for_report(right).await?;
        // Without the namespace that identifies the cluster, the operator ends.
        if expected != Expectation::Started {
            life.wait_denied_again(right).await?;
        }
        ensure!(!life.is_done(expected).await?, "{expected:?} all the same");
        if missed.reported {
            let says = |status: &Value| {
                let message = condition(status, "Ready").and_then(|ready| ready["message"].as_str());
                message.is_some_and(|m| {
                    m.contains(&format!("cannot {} resource", right.verb)) && m.contains(REMEDY)
                })
            };
            life.world.wait(RESOURCE, says, "to say which right is missing").await?;
        }
        match expected {
            Expectation::Started => ensure!(life.operator.wait(DEADLINE).await? == 1, "it goes on"),
            Expectation::KeepsLeading => drop(life.operator.logged("no longer leading", DEADLINE).await?),
            _ => ensure!(life.operator.exit_code().is_none(), "it has ended:\n{}", life.operator.log()),
        }
        if missed.reported && expected == Expectation::Corrected {
            life.delete_and_wait_reported(right).await?;
        }
        if missed.ends {
            return Ok(());
        }
    }
    if let Some(Missed { expected, ends, .. }) = missed {
        ensure!(!ends && !life.is_done(expected).await?, "{expected:?} in the end");
    }
    Ok(())
}

/// A placeholder for the namespace of each life.
const NAMESPACE: &str = "the-namespace";

#[tokio::test]
async fn without_any_one_of_its_rights_something_is_missed_and_the_log_says_which() -> Result<()> {
    let rights = granted(&roles(NAMESPACE)?);
    let everywhere = granted(&documents(&rendered_text(RELEASE, NAMESPACE, &json!({}))?)?);
    let nameless = |r: &Right| (r.group.clone(), r.resource.clone(), r.verb.clone());
    assert_eq!(
        rights.iter().map(nameless).collect::<std::collections::BTreeSet<_>>(),
        everywhere.iter().map(nameless).collect(),
        "an operator of all namespaces has the same rights"
    );
    let lives = rights.iter().cloned().map(Some).chain([None]);
    let ends = join_all(lives.map(|taken| async {
        let rights =
            taken.as_ref().map_or("with all its rights".to_owned(), |right| format!("without {right}"));
        live(taken).await.err().map(|error| format!("{rights}: {error:#}\n"))
    }))
    .await;
    let wrong: String = ends.into_iter().flatten().collect();
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}
