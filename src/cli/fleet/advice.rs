//! Explains each reason in a sentence, and gives the commands that show more or fix it.
//!
//! In: the reason, and the names of the resource that has it. Out: [`Advice`]. The match is exhaustive: a new reason does
//! not compile until it has its advice. `docs/reasons.md` says the same at length.

use crate::api::{DEFAULT_ACCOUNT, Reason};
use crate::cli::fleet::commands::{CommandNames, named_accounts, next_for_other_account};
use crate::cli::shell::word;

/// The meaning of a reason, and the commands to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// A sentence without its full stop.
    pub meaning: &'static str,
    /// At least one command.
    pub next: Vec<String>,
}

/// The advice for a reason; `None`: a newer operator gave a reason that this version does not know.
pub fn advise(reason: Option<Reason>, subject: &CommandNames<'_>) -> Advice {
    let Some(reason) = reason else {
        let meaning = "a newer operator gives this reason, which this version of the command does not know";
        return Advice { meaning, next: vec![subject.describe()] };
    };
    let (meaning, next) = match reason {
        Reason::Applied => ("AWS matches the spec", vec![subject.own("check")]),
        Reason::Verified => (
            "the operator's AWS identity is in the account that the AwsAccount names",
            vec!["kubectl get awsaccounts -o wide".to_owned()],
        ),
        Reason::Progressing => (
            "the operator has not checked this spec yet",
            vec![subject.own("status -w"), "kubectl get pods,leases -n s3-replication-system".to_owned()],
        ),
        Reason::Suspended => (
            "the operator checks nothing, and S3 replicates as it was last configured",
            vec![subject.own("resume")],
        ),
        Reason::Drifted if subject.is_enforced => {
            ("AWS differs from the spec", vec![subject.own("check"), subject.plan()])
        }
        Reason::Drifted => (
            "AWS differs from the spec, and the operator leaves it so",
            vec![subject.plan(), subject.patch(r#"{"spec":{"managementPolicy":"Enforce"}}"#)],
        ),
        Reason::SourceConflict => (
            "another resource owns the source bucket, which has one replication configuration",
            vec![format!("{} map -A", subject.typed), subject.kubectl("delete")],
        ),
        Reason::NotAllowed => {
            ("the AwsAccount does not allow what the spec asks for", subject.next_where_not_allowed())
        }
        Reason::AccountNotFound => (
            "the spec refers to an AwsAccount that does not exist",
            vec!["kubectl get awsaccounts".to_owned(), subject.kubectl("edit")],
        ),
        Reason::AccountMismatch if subject.message.contains(".accountRef names AwsAccount ") => (
            "a destination names two accounts that differ: leave its account out, or correct its accountRef",
            vec![subject.kubectl("edit")],
        ),
        Reason::AccountMismatch => (
            "the operator's AWS identity is in another account than the AwsAccount names: where spec.accountId is wrong, replace the AwsAccount, because accountId cannot be changed; where the identity is wrong, correct spec.assumeRole.arn, or the identity of the operator's pods",
            next_for_other_account(subject),
        ),
        Reason::ForeignRole => {
            ("the role exists and does not belong to this resource", subject.next_for_foreign_role())
        }
        Reason::ForeignConfiguration => (
            "the source replicates already, by a configuration that this resource did not write: copy its role and rules, which import prints, into this resource, or set adoptionPolicy: Adopt, which replaces these rules by those of the spec",
            vec![subject.import(), subject.kubectl("edit"), subject.adopt()],
        ),
        Reason::SourceBucketNotFound => (
            "the source bucket does not exist",
            vec![format!("aws s3api head-bucket --bucket {}", word(subject.source)), subject.own("check")],
        ),
        Reason::DestinationBucketNotFound => (
            "a destination bucket does not exist, and nothing is written until it does",
            vec![
                format!("aws s3api head-bucket --bucket {}", word(subject.destination)),
                subject.own("check"),
            ],
        ),
        Reason::RoleNotFound => (
            "the role does not exist",
            vec![format!("aws iam get-role --role-name {}", subject.role_name()), subject.own("check")],
        ),
        Reason::RoleNotTrusted => (
            "the role does not let S3 assume it",
            vec![format!(
                "aws iam get-role --role-name {} --query Role.AssumeRolePolicyDocument",
                subject.role_name()
            )],
        ),
        Reason::VersioningNotEnabled => (
            "a bucket has no versioning, and the spec lets the operator only check it",
            vec![
                "aws s3api put-bucket-versioning --bucket BUCKET --versioning-configuration Status=Enabled"
                    .to_owned(),
                subject.own("check"),
            ],
        ),
        Reason::MfaDeleteEnabled => (
            "versioning must be enabled by the root user, because the bucket has MFA delete",
            vec![
                "aws s3api put-bucket-versioning --bucket BUCKET --versioning-configuration \
                 Status=Enabled,MFADelete=Enabled --mfa \"SERIAL CODE\""
                    .to_owned(),
            ],
        ),
        Reason::WrongBucketOwner => {
            ("a bucket belongs to another account than the spec says", vec![subject.kubectl("edit")])
        }
        Reason::PolicyTooLarge => ("the rules need a larger policy than AWS accepts", vec![subject.policy()]),
        Reason::InvalidRequest => {
            ("AWS rejects what the spec asks for", vec![subject.plan(), subject.kubectl("edit")])
        }
        Reason::AccessDenied => {
            ("AWS or Kubernetes denies the operator an action", vec![subject.policy(), subject.own("check")])
        }
        Reason::CredentialsUnavailable => (
            "the operator has no AWS credentials, or they have expired",
            vec!["kubectl rollout restart deployment -n s3-replication-system".to_owned()],
        ),
        Reason::Throttled => (
            "AWS throttles the operator, which has slowed down and tries again",
            vec![subject.own("status -w")],
        ),
        Reason::AwsUnavailable => {
            ("AWS did not answer or failed, and the operator tries again", vec![subject.own("check")])
        }
        Reason::InvalidSpec => (
            "this version of the operator cannot decode the object",
            vec![subject.kubectl("edit"), "kubectl apply --server-side -f crds/".to_owned()],
        ),
        Reason::DeletionBlocked => (
            "IAM does not delete the role, because someone attached policies to it",
            vec![
                format!("aws iam list-attached-role-policies --role-name {}", subject.present_role_name()),
                subject.patch(r#"{"spec":{"deletionPolicy":"Retain"}}"#),
            ],
        ),
        Reason::ObjectsArriving => ("the settings are right, and objects arrive", vec![subject.own("check")]),
        Reason::NothingPending => {
            ("the settings are right, and no object waits to be replicated", vec![subject.own("check")])
        }
        Reason::ObjectsFailing => (
            "the settings are as the spec says, and objects do not arrive",
            vec![subject.own("check"), subject.own("backfill --wait")],
        ),
        Reason::ObjectsDelayed => (
            "the settings are right, and objects arrive later than spec.health.maxLatency allows",
            vec![subject.own("status -w"), subject.kubectl("edit")],
        ),
        Reason::NoEvidence => (
            "the settings are right; to know whether objects arrive, set spec.health.canary, or metrics on a rule's destination",
            vec![subject.kubectl("edit")],
        ),
        Reason::NotProven => (
            "objects failed to arrive before, and nothing has proved since that they do",
            vec![subject.own("backfill --wait")],
        ),
        Reason::NoData => (
            "CloudWatch has no data for the rules that publish metrics",
            vec![subject.own("status -w"), subject.plan()],
        ),
        Reason::CanaryRefused => (
            "the canary is the only evidence asked for, and it may not be written",
            vec![subject.kubectl("edit")],
        ),
        Reason::EventsReceived => (
            "events arrive from every Region and service of the account",
            vec!["kubectl get awsaccounts -o wide".to_owned()],
        ),
        Reason::EventsNotSeen => (
            "from some Region or service of the account no event has arrived yet",
            vec!["kubectl describe awsaccounts".to_owned()],
        ),
        Reason::EventMissed => {
            ("a change was made that no event announced", vec!["kubectl describe awsaccounts".to_owned()])
        }
        Reason::QueueUnreachable => (
            "the operator cannot read an event queue, and polls all resources",
            vec!["kubectl describe awsaccounts".to_owned()],
        ),
        Reason::Waiting
        | Reason::Settling
        | Reason::Preparing
        | Reason::AwaitingApproval
        | Reason::Running
        | Reason::Cancelling
        | Reason::Completed
        | Reason::NothingToDo
        | Reason::CompletedWithFailures
        | Reason::JobFailed
        | Reason::JobVanished
        | Reason::Cancelled
        | Reason::ReplicationNotReady => (of_backfill(reason), vec![subject.backfills()]),
    };
    Advice { meaning, next }
}

/// The advice for a resource whose deletion is not finished, and that has no failure.
pub fn advise_on_deletion(subject: &CommandNames<'_>) -> Advice {
    Advice {
        meaning: "someone deleted the resource, and the operator has not yet removed from AWS what it made",
        next: vec![subject.own("status -w"), "kubectl get pods,leases -n s3-replication-system".to_owned()],
    }
}

/// The advice for a resource that is as its spec says, with no rule by which S3 replicates.
pub fn advise_on_disabled(subject: &CommandNames<'_>) -> Advice {
    Advice {
        meaning: "AWS matches the spec, and every rule is disabled: S3 replicates nothing",
        next: vec![subject.kubectl("edit")],
    }
}

/// The meaning of a reason that only a backfill has.
fn of_backfill(reason: Reason) -> &'static str {
    match reason {
        Reason::Waiting => "another backfill of the replication comes first",
        Reason::Settling => "S3 may still list objects by the configuration before the last one",
        Reason::Preparing => "the job is not asked for yet, or S3 prepares it",
        Reason::AwaitingApproval => "the objects are counted, and the job waits for spec.approved",
        Reason::Running => "the job runs",
        Reason::Cancelling => "S3 has been asked to end the job",
        Reason::Completed => "the job has replicated every object that it found",
        Reason::NothingToDo => "no object was left to replicate",
        Reason::CompletedWithFailures => "the job has ended, and some objects could not be replicated",
        Reason::JobFailed => "S3 gave the job up",
        Reason::JobVanished => "S3 does not know the job any more",
        Reason::Cancelled => "the job was cancelled",
        _ => "the replication is not in a state in which a job could replicate anything",
    }
}

/// The names that commands on a backfill need.
#[derive(Clone, Copy, Debug)]
pub struct BackfillSubject<'a> {
    /// The beginning of a command of this program, as the user types it.
    pub typed: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub replication: &'a str,
    /// The `AwsAccount` of the source; `None`: the status does not name it yet.
    pub account: Option<&'a str>,
    /// The operator's message for the reason.
    pub message: &'a str,
    /// `Ready` is false.
    pub is_refused: bool,
}

/// The commands that help a backfill on; none where nobody has to.
pub fn advise_on_backfill(reason: Option<Reason>, subject: &BackfillSubject<'_>) -> Vec<String> {
    let BackfillSubject { typed, namespace, name, replication, account, message, is_refused } = *subject;
    let (namespace, name, replication) = (word(namespace), word(name), word(replication));
    match reason {
        Some(Reason::AwaitingApproval) => vec![format!(
            "kubectl patch replicationbackfill {name} -n {namespace} --type merge -p '{{\"spec\":{{\"approved\":true}}}}'"
        )],
        Some(Reason::CompletedWithFailures | Reason::JobFailed | Reason::JobVanished | Reason::Cancelled) => {
            vec![format!("{typed} backfill {replication} -n {namespace} --wait")]
        }
        Some(Reason::ReplicationNotReady) => vec![format!("{typed} status {replication} -n {namespace}")],
        Some(Reason::NotAllowed) => {
            let account = account.or_else(|| named_accounts(message).next()).unwrap_or(DEFAULT_ACCOUNT);
            vec![format!("kubectl edit awsaccount {}", word(account))]
        }
        Some(Reason::AccountNotFound) => vec!["kubectl get awsaccounts".to_owned()],
        _ if is_refused => vec![format!("kubectl describe replicationbackfill {name} -n {namespace}")],
        _ => Vec::new(),
    }
}

/// The advice for a reason of `Replicating`, where a reason that other conditions have too means something else.
pub fn advise_on_objects(reason: Option<Reason>, subject: &CommandNames<'_>) -> Advice {
    let meaning = match reason {
        Some(Reason::Progressing) => "the settings are right, and whether objects arrive is not known yet",
        Some(
            Reason::AccessDenied
            | Reason::CredentialsUnavailable
            | Reason::Throttled
            | Reason::AwsUnavailable,
        ) => "the settings are right, and the operator could not find out whether objects arrive",
        reason => return advise(reason, subject),
    };
    let next = match reason {
        Some(Reason::Progressing) => vec![subject.own("status -w")],
        reason => advise(reason, subject).next,
    };
    Advice { meaning, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fleet::samples::{all, resource};
    use crate::replication::failure::identity_elsewhere;
    use crate::replication::resource_id::{ADOPT_IT, OF_ANOTHER_CLUSTER, ONLY_TAGGED, UNOWNED};
    use crate::replication::{Failure, FailureClass};

    const SUBJECT: CommandNames<'static> = CommandNames {
        typed: "kubectl s3replication",
        namespace: "data",
        name: "orders",
        source: "source",
        destination: "copy",
        role: None,
        wanted_role: "data.orders",
        accounts: &[],
        source_account: None,
        message: "",
        is_enforced: true,
        adopts: false,
    };
    const EDIT: &str = "kubectl edit bucketreplication orders -n data";
    const ADOPT: &str = r#"kubectl patch bucketreplication orders -n data --type merge -p '{"spec":{"adoptionPolicy":"Adopt"}}'"#;

    #[test]
    fn a_name_cannot_become_a_command() {
        let subject = CommandNames { source: "$(reboot)", ..SUBJECT };
        let advice = advise(Some(Reason::ForeignConfiguration), &subject);
        assert_eq!(advice.next[0], "kubectl s3replication import --bucket '$(reboot)' -n data");
    }

    #[test]
    fn a_configuration_of_someone_else_is_copied_into_this_resource_or_replaced() {
        let subject = CommandNames { source_account: Some("prod"), ..SUBJECT };
        let Advice { meaning, next } = advise(Some(Reason::ForeignConfiguration), &subject);
        assert_eq!(
            next,
            ["kubectl s3replication import --bucket source -n data --account prod", EDIT, ADOPT]
        );
        assert!(
            meaning.contains("into this resource") && meaning.contains("replaces these rules"),
            "{meaning}"
        );
    }

    #[test]
    fn a_plan_needs_the_accounts_that_the_operator_uses() {
        let subject = CommandNames { accounts: &["default", "backup"], is_enforced: false, ..SUBJECT };
        assert_eq!(
            subject.plan(),
            "kubectl get bucketreplication/orders awsaccount/default awsaccount/backup namespace/data -n data \
             -o yaml | kubectl s3replication plan -f -"
        );
        let alone = CommandNames { accounts: &[], ..subject };
        assert_eq!(
            alone.plan(),
            "kubectl get bucketreplication orders -n data -o yaml | kubectl s3replication plan -f -"
        );
    }

    #[test]
    fn only_a_resource_that_observes_is_to_be_enforced() {
        let observed = CommandNames { is_enforced: false, ..SUBJECT };
        let enforces = |subject: &CommandNames<'_>| {
            advise(Some(Reason::Drifted), subject).next.iter().any(|command| command.contains("Enforce"))
        };
        assert!(enforces(&observed));
        assert!(!enforces(&CommandNames { is_enforced: true, ..observed }));
    }

    #[test]
    fn a_role_is_named_as_the_spec_names_it_also_before_the_status_does() {
        let next = |role: serde_json::Value| {
            let mut object = resource("orders", &[["Ready", "False", "RoleNotFound", "It does not exist."]]);
            object["spec"]["role"] = role;
            object["status"]["role"] = serde_json::Value::Null;
            all([object])[0].next[0].clone()
        };
        let arn = serde_json::json!({"arn": "arn:aws:iam::111111111111:role/team/missing"});
        assert_eq!(next(arn), "aws iam get-role --role-name missing");
        assert_eq!(next(serde_json::json!({"name": "own"})), "aws iam get-role --role-name own");
        assert_eq!(next(serde_json::Value::Null), "aws iam get-role --role-name data.orders");
    }

    #[test]
    fn a_refusal_by_an_account_is_fixed_in_the_account_that_the_message_names() {
        let next = |accounts: &[&str], source: Option<&str>, message: &str| {
            let subject = CommandNames { accounts, source_account: source, message, ..SUBJECT };
            advise(Some(Reason::NotAllowed), &subject).next
        };
        let default = "kubectl edit awsaccount default";
        assert_eq!(next(&[], None, "namespace data may not use it"), [default, EDIT]);
        assert_eq!(next(&[], None, "namespace data may not use AwsAccount default, which"), [default, EDIT]);
        let both = ["backup", "prod"];
        assert_eq!(
            next(&both, Some("prod"), "AwsAccount backup does not allow replicating into bucket b."),
            ["kubectl edit awsaccount backup", EDIT]
        );
        assert_eq!(
            next(&both, Some("prod"), "it is not allowed under AwsAccount backup-2"),
            ["kubectl edit awsaccount backup", "kubectl edit awsaccount prod", EDIT]
        );
        let none = "this operator requires an AwsAccount (--require-account): set source.accountRef, or ask an \
                    administrator to create an AwsAccount named default";
        assert_eq!(next(&[], None, none), ["kubectl get awsaccounts", EDIT]);
    }

    #[test]
    fn a_wrong_account_id_ends_in_the_command_that_replaces_the_account() {
        let next = |message: &str| {
            let subject = CommandNames { message, accounts: &["default"], ..SUBJECT };
            advise(Some(Reason::AccountMismatch), &subject).next
        };
        let failure = Failure::new(
            FailureClass::WrongAccount,
            "sts:GetCallerIdentity",
            "default",
            identity_elsewhere("arn:aws:iam::111122223333:user/o", "111122223333", "123456789012"),
        );
        assert_eq!(
            next(&failure.message()),
            [
                "kubectl get awsaccount default -o wide",
                "kubectl get awsaccount default -o yaml | sed s/123456789012/111122223333/g | kubectl replace --force -f - # if 111122223333 is the right account",
                "kubectl edit awsaccount default # if spec.assumeRole.arn is wrong",
            ]
        );
        let two = "rules[r].destination.account is 2, and rules[r].destination.accountRef names AwsAccount dr with the id 1";
        assert_eq!(next(two), [EDIT], "the accounts are right");
    }

    #[test]
    fn a_foreign_role_is_adopted_only_where_that_fixes_it() {
        let next = |message: &str, adopts: bool| {
            let subject = CommandNames { message, adopts, ..SUBJECT };
            advise(Some(Reason::ForeignRole), &subject).next
        };
        let look = "aws iam list-role-tags --role-name data.orders";
        let tag = "aws iam tag-role --role-name data.orders --tags Key=s3replication.dev/namespace,Value=data \
                   Key=s3replication.dev/name,Value=orders";
        let free = format!("role r exists and {UNOWNED}; choose another role.name, or {ADOPT_IT}");
        assert_eq!(next(&free, false), [look, ADOPT]);
        let former =
            format!("role r exists and belongs to BucketReplication data/orders (uid 1); or {ADOPT_IT}");
        assert_eq!(next(&former, false), [look, ADOPT]);

        let untagged = format!("role r exists and {UNOWNED}, and AwsAccount default {ONLY_TAGGED}; choose");
        assert_eq!(next(&untagged, false), [look, tag, ADOPT]);
        assert_eq!(next(&untagged, true), [look, tag], "what is set is not asked for again");

        let of_another =
            format!("role r exists and belongs to BucketReplication data/bills (uid 1); or {ADOPT_IT}");
        let elsewhere = format!(
            "role r exists and belongs to BucketReplication data/orders (uid 1) of cluster c{OF_ANOTHER_CLUSTER}: \
             while cluster c exists, do not adopt it; or {ADOPT_IT}"
        );
        let named = "role r belongs to BucketReplication data/bills (uid 1); name another role, or leave role.arn out";
        let path = "role r exists with the path / and not /team/; choose another role.name";
        for message in [&of_another, &elsewhere, named, path] {
            assert_eq!(next(message, false), [look, EDIT], "{message}");
        }
    }

    #[test]
    fn a_resource_whose_rules_are_all_disabled_is_not_called_well() {
        let view = |statuses: &[&str], replicating: [&str; 4]| {
            let mut object = resource("orders", &[["Ready", "True", "Applied", "m"], replicating]);
            let rule = |(n, status): (usize, &&str)| {
                serde_json::json!({"id": format!("r{n}"), "priority": n, "status": status,
                    "destination": {"bucket": "copy"}})
            };
            object["spec"]["rules"] = statuses.iter().enumerate().map(rule).collect();
            all([object]).pop().unwrap()
        };
        let no_evidence = ["Replicating", "Unknown", "NoEvidence", "m"];
        for replicating in [no_evidence, ["Replicating", "True", "NothingPending", "m"]] {
            let none = view(&["Disabled", "Disabled"], replicating);
            assert_eq!((none.verdict.word(), none.reason.as_str()), ("disabled", "Applied"));
            assert!(!none.verdict.is_well() && !none.verdict.is_wrong());
            assert!(
                none.meaning.contains("S3 replicates nothing from bucket orders-source"),
                "{}",
                none.meaning
            );
        }
        let some = view(&["Disabled", "Enabled", "Enabled"], no_evidence);
        assert!(
            some.verdict.is_well() && some.meaning.ends_with("; 1 of 3 rules is disabled"),
            "{}",
            some.meaning
        );
        let failing = view(&["Disabled"], ["Replicating", "False", "ObjectsFailing", "m"]);
        assert!(failing.verdict.is_wrong());
    }
}
