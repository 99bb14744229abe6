//! What each reason means in a sentence, and the commands that show more or mend it.
//!
//! In: the reason, and the names of the resource that has it. Out: [`Advice`]. The match is exhaustive: a new reason does
//! not compile until it has its advice. `docs/reasons.md` says the same at length.

use crate::api::Reason;

/// The names that commands need.
#[derive(Clone, Copy, Debug)]
pub struct CommandNames<'a> {
    /// The beginning of a command of this program, as the user types it.
    pub typed: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub source: &'a str,
    /// The bucket of the first rule.
    pub destination: &'a str,
    /// ARN of the role.
    pub role: Option<&'a str>,
    /// The `AwsAccount`s of its buckets.
    pub accounts: &'a [&'a str],
    /// The operator may correct what differs: `managementPolicy` is `Enforce`.
    pub is_enforced: bool,
}

/// What to make of a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// A sentence without its full stop.
    pub meaning: &'static str,
    /// At least one command.
    pub next: Vec<String>,
}

/// A name as a word for a shell. Names with other characters than these come from past admission, and must not become
/// commands.
fn word(name: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-/:+=@".contains(c);
    match name {
        "" => "NAME".to_owned(),
        name if name.chars().all(harmless) => name.to_owned(),
        name => format!("'{}'", name.replace('\'', "'\\''")),
    }
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
        Reason::NotAllowed => (
            "the AwsAccount does not allow what the spec asks for",
            vec!["kubectl get awsaccounts -o yaml".to_owned(), subject.kubectl("edit")],
        ),
        Reason::AccountNotFound => (
            "the spec refers to an AwsAccount that does not exist",
            vec!["kubectl get awsaccounts".to_owned(), subject.kubectl("edit")],
        ),
        Reason::AccountMismatch => (
            "the operator's AWS identity is in another account than the AwsAccount names",
            vec!["kubectl get awsaccounts -o wide".to_owned()],
        ),
        Reason::ForeignRole => (
            "the role exists and does not belong to this resource",
            vec![
                format!("aws iam list-role-tags --role-name {}", subject.role_name()),
                subject.patch(r#"{"spec":{"adoptionPolicy":"Adopt"}}"#),
            ],
        ),
        Reason::ForeignConfiguration => (
            "the source replicates already, by a configuration that this resource did not write",
            vec![format!("{} import --bucket {}", subject.typed, word(subject.source))],
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
                format!("aws iam list-attached-role-policies --role-name {}", subject.role_name()),
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
    /// The `AwsAccount` of the source.
    pub account: Option<&'a str>,
    /// `Ready` is false.
    pub is_refused: bool,
}

/// The commands that help a backfill on; none where nobody has to.
pub fn advise_on_backfill(reason: Option<Reason>, subject: &BackfillSubject<'_>) -> Vec<String> {
    let BackfillSubject { typed, namespace, name, replication, account, is_refused } = *subject;
    let (namespace, name, replication) = (word(namespace), word(name), word(replication));
    match reason {
        Some(Reason::AwaitingApproval) => vec![format!(
            "kubectl patch replicationbackfill {name} -n {namespace} --type merge -p '{{\"spec\":{{\"approved\":true}}}}'"
        )],
        Some(Reason::CompletedWithFailures | Reason::JobFailed | Reason::JobVanished | Reason::Cancelled) => {
            vec![format!("{typed} backfill {replication} -n {namespace} --wait")]
        }
        Some(Reason::ReplicationNotReady) => vec![format!("{typed} status {replication} -n {namespace}")],
        Some(Reason::NotAllowed | Reason::AccountNotFound) => vec![match account {
            Some(account) => format!("kubectl edit awsaccount {}", word(account)),
            None => "kubectl get awsaccounts -o yaml".to_owned(),
        }],
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

impl CommandNames<'_> {
    /// A subcommand of this program on the resource. Options come after the name.
    fn own(&self, subcommand: &str) -> String {
        let CommandNames { typed, namespace, name, .. } = self;
        let (namespace, name) = (word(namespace), word(name));
        let (subcommand, options) = subcommand.split_once(' ').unwrap_or((subcommand, ""));
        let options = if options.is_empty() { String::new() } else { format!(" {options}") };
        format!("{typed} {subcommand} {name} -n {namespace}{options}")
    }

    fn kubectl(&self, verb: &str) -> String {
        format!("kubectl {verb} bucketreplication {} -n {}", word(self.name), word(self.namespace))
    }

    fn describe(&self) -> String {
        self.kubectl("describe")
    }

    fn backfills(&self) -> String {
        format!("kubectl get replicationbackfills -n {}", word(self.namespace))
    }

    fn patch(&self, change: &str) -> String {
        format!("{} --type merge -p '{change}'", self.kubectl("patch"))
    }

    fn plan(&self) -> String {
        format!("{} -o yaml | {} plan -f -", self.get(), self.typed)
    }

    fn policy(&self) -> String {
        format!("{} -o yaml | {} policy -f -", self.get(), self.typed)
    }

    /// Reads the resource with the AwsAccounts that apply to it, one that it does not name too, and with the Namespace,
    /// whose labels an AwsAccount may ask for.
    fn get(&self) -> String {
        if self.accounts.is_empty() {
            return self.kubectl("get");
        }
        let (name, namespace) = (word(self.name), word(self.namespace));
        let accounts: String = self
            .accounts
            .iter()
            .map(|account| format!(" {}", word(&format!("awsaccount/{account}"))))
            .collect();
        format!("kubectl get bucketreplication/{name}{accounts} namespace/{namespace} -n {namespace}")
    }

    /// The name of the role: the last part of its ARN.
    fn role_name(&self) -> String {
        word(self.role.and_then(|arn| arn.rsplit('/').next()).unwrap_or("ROLE"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_a_command() {
        assert_eq!(word("orders-to-eu.2"), "orders-to-eu.2");
        assert_eq!(word("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(word("it's"), r"'it'\''s'");
        let subject = CommandNames {
            typed: "kubectl s3replication",
            namespace: "data",
            name: "orders",
            source: "$(reboot)",
            destination: "",
            role: None,
            accounts: &[],
            is_enforced: true,
        };
        let advice = advise(Some(Reason::ForeignConfiguration), &subject);
        assert_eq!(advice.next, ["kubectl s3replication import --bucket '$(reboot)'"]);
    }

    #[test]
    fn a_plan_needs_the_accounts_that_the_operator_uses() {
        let subject = CommandNames {
            typed: "kubectl s3replication",
            namespace: "data",
            name: "orders",
            source: "source",
            destination: "copy",
            role: None,
            accounts: &["default", "backup"],
            is_enforced: false,
        };
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
        let observed = CommandNames {
            typed: "kubectl s3replication",
            namespace: "data",
            name: "orders",
            source: "source",
            destination: "copy",
            role: None,
            accounts: &[],
            is_enforced: false,
        };
        let enforces = |subject: &CommandNames<'_>| {
            advise(Some(Reason::Drifted), subject).next.iter().any(|command| command.contains("Enforce"))
        };
        assert!(enforces(&observed));
        assert!(!enforces(&CommandNames { is_enforced: true, ..observed }));
    }
}
