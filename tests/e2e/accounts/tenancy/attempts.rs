//! The attempts of the tenant red, one after the other, and the answers that it sees.

use anyhow::{Context, Result, bail};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;

use crate::support::set;

use super::{
    ACCOUNT, ADOPT, ATTACK, INVOICES_ROLE, ORDERS, ORDERS_ROLE, RED_BY_HAND, RED_ROLE, ROLE, SOURCE, TO,
    TO_ACCOUNT, TO_REF, TO_REGION, Teams, WEST, configuration, role_in_aws,
};

/// The expected result of an attempt.
enum Outcome {
    /// The API server refuses the object, with a message that contains these.
    Admission(&'static [&'static str]),
    /// The operator refuses without any request to AWS.
    Refused(&'static str, Vec<String>),
    /// The operator refuses after reading from AWS.
    RefusedAfterReads(&'static str, Vec<String>),
}

type Step = for<'a> fn(&'a Teams) -> BoxFuture<'a, Result<()>>;

struct Attempt {
    /// The attempt of red.
    name: &'static str,
    /// The acts of red before it, which are allowed.
    before: Option<Step>,
    attempt: Step,
    outcome: fn(&Teams) -> Outcome,
}

/// Makes a function of a future.
macro_rules! step {
    (|$teams:ident| $future:expr) => {
        |$teams| async move { $future.await }.boxed()
    };
}

/// Red's own replication is Ready.
const READY: Option<Step> = Some(step!(|t| t.apply_allowed()));

fn not_allowed(parts: impl IntoIterator<Item = String>) -> Outcome {
    Outcome::Refused("NotAllowed", parts.into_iter().collect())
}

fn no_source(t: &Teams) -> Outcome {
    let account = format!("AwsAccount {} does not allow replicating from", t.name("red"));
    not_allowed([account, t.name("red-*"), "spec.sources".to_owned()])
}

fn no_destination(t: &Teams) -> Outcome {
    let account = format!("AwsAccount {} does not allow replicating into", t.name("red"));
    not_allowed([account, "rules[ReplicateToEU].destination.bucket".to_owned(), t.name("red-*")])
}

fn no_outside(t: &Teams) -> Outcome {
    let account = format!("does not allow replicating into account {}", t.outside);
    not_allowed([account, format!("allows the accounts {}", t.partner)])
}

fn no_namespace(t: &Teams) -> Outcome {
    let text = format!("namespace {} may not use AwsAccount {}", t.red, t.name("blue"));
    not_allowed([text, "does not name it".to_owned()])
}

fn no_labels(t: &Teams) -> Outcome {
    let text = format!("namespace {} may not use AwsAccount {}", t.red, t.name("red"));
    not_allowed([text, "allows namespaces by their labels".to_owned()])
}

fn no_path(t: &Teams) -> Outcome {
    not_allowed([format!("AwsAccount {} imposes", t.name("red")), "/s3-replication/red/".to_owned()])
}

fn unconfirmed(t: &Teams) -> Outcome {
    let text = ["does not confirm", &t.name("red-outside"), &t.world.account].map(str::to_owned);
    Outcome::RefusedAfterReads("AccessDenied", text.into())
}

fn foreign(t: &Teams) -> Outcome {
    let whose = format!("belongs to BucketReplication {}/{ORDERS}", t.world.namespace);
    Outcome::RefusedAfterReads("ForeignRole", vec![ORDERS_ROLE.to_owned(), whose])
}

fn unseen(t: &Teams) -> Outcome {
    let text = format!("if the bucket belongs to another account than {}", t.world.account);
    Outcome::RefusedAfterReads("AccessDenied", vec![format!("{} is denied", t.name("red-outside")), text])
}

/// An attempt, with nothing before it.
fn attempt(name: &'static str, attempt: Step, outcome: fn(&Teams) -> Outcome) -> Attempt {
    Attempt { name, before: None, attempt, outcome }
}

/// An attempt after red's own replication was Ready.
fn once_ready(name: &'static str, attempt: Step, outcome: fn(&Teams) -> Outcome) -> Attempt {
    Attempt { name, before: READY, attempt, outcome }
}

fn cases() -> Vec<Attempt> {
    [on_the_source(), on_the_destination(), on_the_account(), on_the_role(), once_ready_and_past_admission()]
        .into_iter()
        .flatten()
        .collect()
}

/// About the source.
fn on_the_source() -> Vec<Attempt> {
    vec![
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
            "only reads another team's source",
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
            |_| Outcome::Admission(&["spec.source.bucket", "lowercase letters"]),
        ),
        attempt(
            "writes the name in capitals, past admission",
            step!(|t| t.smuggle(&[(SOURCE, json!(t.name("red-SOURCE")))])),
            no_source,
        ),
        attempt(
            "gives the ARN of another team's bucket for its name",
            step!(|t| t.apply(&[(SOURCE, json!(format!("arn:aws:s3:::{}", t.name("blue-source"))))])),
            |_| Outcome::Admission(&["spec.source.bucket", "not an ARN"]),
        ),
        attempt(
            "gives the ARN of another team's bucket for its name, past admission",
            step!(|t| t.smuggle(&[(SOURCE, json!(format!("arn:aws:s3:::{}", t.name("blue-source"))))])),
            no_source,
        ),
        attempt(
            "writes the pattern itself for the source",
            step!(|t| t.apply(&[(SOURCE, json!(t.name("red-*")))])),
            |_| Outcome::Admission(&["spec.source.bucket", "must be the name of an S3 bucket"]),
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
    ]
}

/// About the destination.
fn on_the_destination() -> Vec<Attempt> {
    vec![
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
            "replicates into an outside bucket that nobody may read, without saying whose it is",
            step!(|t| t.apply(&[(TO, json!(t.name("red-outside")))])),
            unseen,
        ),
        attempt(
            "replicates into an outside bucket that nobody may read, and says where it is",
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
                let mut rule = t.allowed()["spec"]["rules"][0].clone();
                set(&mut rule, "id", json!("Second"));
                set(&mut rule, "priority", json!(2));
                set(&mut rule, "status", json!("Disabled"));
                set(&mut rule, "destination.bucket", json!(t.name("blue-dest")));
                t.apply(&[("spec.rules", json!([t.allowed()["spec"]["rules"][0], rule]))]).await
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
                Outcome::Refused(
                    "AccountMismatch",
                    vec![t.outside.clone(), t.name("free"), t.world.account.clone()],
                )
            },
        ),
    ]
}

/// About the account.
fn on_the_account() -> Vec<Attempt> {
    vec![
        attempt(
            "refers to an account that nobody may use any more because it cannot be read",
            step!(|t| t.apply(&[(ACCOUNT, json!(t.name("broken")))])),
            |t| {
                Outcome::Refused(
                    "InvalidSpec",
                    vec![t.name("broken"), "nothing is allowed under it".to_owned()],
                )
            },
        ),
        attempt(
            "refers to an account that is not there",
            step!(|t| t.apply(&[(ACCOUNT, json!(t.name("none")))])),
            |t| Outcome::Refused("AccountNotFound", vec!["source.accountRef".to_owned(), t.name("none")]),
        ),
    ]
}

/// About the role.
fn on_the_role() -> Vec<Attempt> {
    vec![
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
            |_| Outcome::Admission(&["spec.role.path"]),
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
                Outcome::RefusedAfterReads(
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
                Outcome::RefusedAfterReads("ForeignRole", vec![INVOICES_ROLE.to_owned(), tag])
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
                let text = ["has the permissions boundary (none)".to_owned(), t.policy_arn("boundary")];
                Outcome::RefusedAfterReads("NotAllowed", text.into())
            },
        ),
    ]
}

/// After admission, and after it was Ready.
fn once_ready_and_past_admission() -> Vec<Attempt> {
    vec![
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
            "turns its own replication into an outside bucket that nobody may read",
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
                Outcome::RefusedAfterReads(
                    "ForeignRole",
                    vec!["exists with the path /s3-replication/blue/".to_owned()],
                )
            },
        ),
        once_ready(
            "moves its role to another team's path",
            step!(|t| t.patch(json!({"spec": {"role": {"path": "/s3-replication/blue/"}}}))),
            |_| Outcome::Admission(&["spec.role", "cannot be changed"]),
        ),
        once_ready(
            "turns its own replication to another team's source",
            step!(|t| t.patch(json!({"spec": {"source": {"bucket": t.name("blue-source")}}}))),
            |_| Outcome::Admission(&["spec.source.bucket", "cannot be changed"]),
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
        Attempt {
            name: "goes on in a namespace that was deleted and made again without its label",
            before: Some(step!(|t| async move {
                t.apply_allowed().await?;
                t.remake_namespace().await
            })),
            attempt: step!(|t| t.apply(&[])),
            outcome: no_labels,
        },
    ]
}

/// Makes one attempt, and deletes its resource: the deletion is an attempt too.
async fn run(t: &Teams, case: &Attempt) -> Result<()> {
    let name = case.name;
    if let Some(before) = case.before {
        before(t).await?;
    }
    let estate = t.everything_of_blue().await?;
    t.world.proxy.clear();
    let tried = (case.attempt)(t).await;
    match (case.outcome)(t) {
        Outcome::Admission(parts) => {
            let Err(refused) = tried else { bail!("it is admitted") };
            let text = format!("{refused:#}");
            assert!(parts.iter().all(|part| text.contains(part)), "{name}: {text}");
            assert!(t.calls().is_empty(), "{name}: {:?}", t.calls());
        }
        Outcome::Refused(expected, parts) => {
            tried?;
            t.check_refused(name, expected, &parts).await?;
            assert!(t.calls().is_empty(), "{name}: {:?}", t.calls());
        }
        Outcome::RefusedAfterReads(expected, parts) => {
            tried?;
            t.check_refused(name, expected, &parts).await?;
        }
    }
    t.check_wrote_only(name, &[]);

    if t.world.api_in(&t.red).get_metadata_opt(ATTACK).await?.is_some() {
        t.delete().await?;
    }
    let own = [t.name("red-source"), RED_ROLE.to_owned()];
    t.wait_for_all_events().await?;
    t.check_blue_untouched(name, &estate).await?;
    t.check_wrote_only(name, if case.before.is_some() { &own } else { &[] });
    // Red's own replication was deleted with its resource.
    assert_eq!(configuration(&t.world, &t.name("red-source")).await?, "none", "{name}");
    assert_eq!(role_in_aws(&t.world, RED_ROLE).await?, "none", "{name}");
    t.labels(json!({"team": "red"})).await
}

#[tokio::test]
async fn no_attempt_of_a_team_reaches_another_teams_data() -> Result<()> {
    let teams = Teams::new("tenancy").await?;
    let all = cases();
    assert!(all.len() >= 24, "{} cases", all.len());
    for case in &all {
        run(&teams, case).await.context(case.name)?;
    }
    Ok(())
}
