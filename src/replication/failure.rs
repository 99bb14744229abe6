//! A call to AWS that failed.
//!
//! In: the class, the action and AWS's answer. Out: the reason and the message of a condition, such as the text of a
//! denied permission. The class decides what to do next. `status/failed_step.rs` explains a failed step where this text
//! alone would mislead.

use std::borrow::Cow;

use crate::api::Reason;

/// The meaning of a failed call for the operator.
#[cfg_attr(test, derive(strum::EnumIter))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Too many requests: IAM `Throttling`, S3 `SlowDown`.
    Throttled,
    /// Someone else is writing the same thing: S3 409 `OperationAborted`, IAM 409 `ConcurrentModification`.
    Conflict,
    /// The operator's identity may not do this.
    Denied,
    /// The bucket belongs to another account than the one expected.
    WrongOwner,
    /// The operator's identity is in another account than an `AwsAccount` says.
    WrongAccount,
    /// The bucket does not exist.
    NoSuchBucket,
    /// The role or its policy does not exist.
    NoSuchRole,
    /// The bucket is in another Region than the request went to.
    WrongRegion,
    /// AWS refuses the request as it is; trying again changes nothing.
    Invalid,
    /// IAM does not delete a role while something is attached to it.
    DeleteConflict,
    /// There are no credentials, or they have expired.
    Credentials,
    /// The time of the request is too far from AWS's: the clock of the machine is wrong.
    WrongClock,
    /// No answer, or a 5xx.
    Unavailable,
}

/// The words between which a message names the account of an identity, and that of the `AwsAccount`. The command line
/// reads both ids from it.
pub const OF_ACCOUNT: &str = ", in account ";
pub const AND_ACCOUNT_ID: &str = ", and spec.accountId is ";

/// The detail of [`FailureClass::WrongAccount`].
pub fn identity_elsewhere(arn: &str, actual: &str, stated: &str) -> String {
    format!("it is {arn}{OF_ACCOUNT}{actual}{AND_ACCOUNT_ID}{stated}")
}

impl FailureClass {
    /// The reason a condition gives for this class.
    pub fn reason(self) -> Reason {
        match self {
            FailureClass::Throttled => Reason::Throttled,
            FailureClass::Conflict
            | FailureClass::Unavailable
            | FailureClass::WrongClock
            | FailureClass::WrongRegion => Reason::AwsUnavailable,
            FailureClass::Denied => Reason::AccessDenied,
            FailureClass::WrongOwner => Reason::WrongBucketOwner,
            FailureClass::WrongAccount => Reason::AccountMismatch,
            FailureClass::NoSuchBucket => Reason::SourceBucketNotFound,
            FailureClass::NoSuchRole => Reason::RoleNotFound,
            FailureClass::Invalid => Reason::InvalidRequest,
            FailureClass::DeleteConflict => Reason::DeletionBlocked,
            FailureClass::Credentials => Reason::CredentialsUnavailable,
        }
    }
}

/// The kinds of policies that AWS names where it denies, with what helps
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>). A permission for the
/// operator's identity does not help against any of them.
const CULPRITS: [(&str, &str); 9] = [
    (
        "service control policy",
        "a service control policy of the organization denies it to the account; ask the person who manages the organization to change it",
    ),
    (
        "resource control policy",
        "a resource control policy of the organization denies it to everyone; ask the person who manages the organization to change it",
    ),
    (
        "permissions boundary",
        "the permissions boundary of the operator's identity does not allow it; allow it there",
    ),
    (
        "session policy",
        "the policy of the session in which the operator acts does not allow it; allow it where the session is begun",
    ),
    ("VPC endpoint policy", "the policy of the VPC endpoint does not allow it; allow it there"),
    (
        "explicit deny in a resource-based policy",
        "the policy of the bucket, key, queue or role itself denies it; remove the Deny there",
    ),
    (
        "no resource-based policy allows",
        "the policy of the bucket, key, queue or role itself does not allow it to the operator's identity; allow it there",
    ),
    (
        "explicit deny in an identity-based policy",
        "a policy of the operator's identity denies it explicitly; remove the Deny there",
    ),
    (
        "BlockPublicPolicy",
        "S3 Block Public Access refuses public policies; remove the public statement from the bucket's policy, or change Block Public Access there",
    ),
];

/// Codes with which AWS refuses an account, and not an identity: no policy helps
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>,
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>).
const REFUSED_ACCOUNTS: [(&str, &str); 6] = [
    ("AccountProblem", CONTACT_SUPPORT),
    ("AllAccessDisabled", CONTACT_SUPPORT),
    ("Blocked", CONTACT_SUPPORT),
    ("NotSignedUp", SIGN_UP),
    ("OptInRequired", SIGN_UP),
    ("SubscriptionRequiredException", SIGN_UP),
];

const CONTACT_SUPPORT: &str = "AWS refuses the account, whatever its policies say: it may be suspended or closed; its owner has to contact AWS Support";
const SIGN_UP: &str = "the account is not signed up for this service of AWS, or no longer is; its owner has to complete that in the AWS console";

/// Whether AWS refuses the account by this code, and not the identity.
pub fn refuses_account(code: &str) -> bool {
    REFUSED_ACCOUNTS.iter().any(|(refusing, _)| *refusing == code)
}

/// A failed call: the action, its subject and AWS's answer, without request ids or anything else that changes from one
/// try to the next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Failure {
    pub class: FailureClass,
    /// The IAM action, such as `s3:GetBucketVersioning`.
    pub action: Cow<'static, str>,
    /// The bucket or the role.
    pub subject: String,
    /// AWS's error code; empty when there was no answer.
    pub code: String,
    /// AWS's message, or the error of the connection.
    pub detail: String,
}

impl Failure {
    /// A failure without a code of AWS's: there was no answer, or its content is at fault.
    pub fn new(
        class: FailureClass,
        action: impl Into<Cow<'static, str>>,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Failure {
        let (action, subject, detail) = (action.into(), subject.into(), detail.into());
        Failure { class, action, subject, code: String::new(), detail }
    }

    /// AWS's answer: its code and its message.
    pub fn answer(&self) -> String {
        let Failure { code, detail, .. } = self;
        match (code.is_empty(), detail.is_empty()) {
            (true, _) => detail.clone(),
            (false, true) => code.clone(),
            (false, false) => format!("{code}: {detail}"),
        }
    }

    /// Whether AWS's message names the action that was denied.
    pub fn names_action(&self) -> bool {
        self.detail.contains(self.action.as_ref())
    }

    /// Whether STS refuses the token of a ServiceAccount, in one of the ways that it documents
    /// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).
    fn is_about_web_identity(&self) -> bool {
        const WORDS: [&str; 4] =
            ["AssumeRoleWithWebIdentity", "InvalidIdentityToken", "IDPRejectedClaim", "OpenIDConnect"];
        WORDS.iter().any(|words| self.code == *words || self.detail.contains(words))
    }

    /// Whether S3 refuses a bucket policy because it does not know a principal in it.
    pub fn is_about_principals(&self) -> bool {
        self.code == "MalformedPolicy" && self.detail.to_lowercase().contains("principal")
    }

    /// The remedy for the kind of policy that AWS names as the one that denies, or for an account that AWS refuses.
    pub fn culprit(&self) -> Option<&'static str> {
        let is_refused = |(code, _): &&(&str, &str)| self.code == *code;
        let is_named = |(kind, _): &&(&str, &str)| self.detail.contains(*kind);
        let found = REFUSED_ACCOUNTS.iter().find(is_refused);
        found.or_else(|| CULPRITS.iter().find(is_named)).map(|(_, remedy)| *remedy)
    }

    /// The reason that a condition gives, where a missing bucket is the source or a destination.
    pub fn reason_for(&self, source: &str) -> Reason {
        match self.class {
            FailureClass::NoSuchBucket if self.subject != source => Reason::DestinationBucketNotFound,
            class => class.reason(),
        }
    }

    /// A sentence for a condition: the action, the bucket or role, AWS's answer, and the remedy.
    pub fn message(&self) -> String {
        let Failure { class, action, subject, detail, .. } = self;
        let answer = self.answer();
        match class {
            FailureClass::Throttled => {
                format!("AWS throttles {action} on {subject} ({answer}); trying again more slowly")
            }
            FailureClass::Conflict => {
                format!("{action} on {subject} met another write at the same time ({answer}); trying again")
            }
            FailureClass::Denied if self.code == "RegionDisabledException" => format!(
                "{action} on {subject} is refused because the account has not activated STS in the Region of the operator's environment ({answer}); activate it in the account settings of IAM, or run the operator with another AWS_REGION"
            ),
            FailureClass::Denied if self.culprit().is_some() => {
                format!("{action} on {subject} is denied ({answer}): {}", self.culprit().unwrap_or_default())
            }
            FailureClass::Denied if action == "sts:AssumeRole" => format!(
                "{action} on {subject} is denied ({answer}); allow {action} on {subject} to the operator's own identity, and let the trust policy of {subject} allow it to that identity, with the external id of the AwsAccount where it asks for one"
            ),
            FailureClass::Denied => format!(
                "{action} on {subject} is denied ({answer}); allow {action} on {subject} to the operator's identity, and check that no bucket policy, permissions boundary or service control policy denies it"
            ),
            FailureClass::WrongOwner => format!(
                "{action} on {subject} is refused because the bucket belongs to another account than expected ({answer}); correct the bucket's name or account"
            ),
            FailureClass::WrongAccount => format!(
                "the operator's identity under AwsAccount {subject} is in the wrong account: {detail}; if spec.accountId is wrong, delete AwsAccount {subject} and create it again with the right one, because accountId cannot be changed; otherwise correct spec.assumeRole.arn or, where there is none, the identity of the operator's pods. Nothing is written under it until they agree"
            ),
            FailureClass::NoSuchBucket => {
                format!("bucket {subject} does not exist ({action}: {answer}); create it or correct the name")
            }
            FailureClass::NoSuchRole => {
                format!("role {subject} does not exist ({action}: {answer}); trying again")
            }
            FailureClass::WrongRegion => format!(
                "{action} on {subject} went to the wrong Region ({answer}); the operator locates the bucket again"
            ),
            FailureClass::Invalid if self.code.starts_with("LimitExceeded") => {
                let remedy = match action.as_ref() {
                    "iam:PutRolePolicy" => {
                        "the inline policies of a role count together: shorten or remove its others"
                    }
                    // This quota cannot be raised (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
                    "iam:TagRole" => {
                        "the tags of a role count together, and the number cannot be raised: remove tags that others set on it, or shorten role.tags"
                    }
                    _ => "have the quota raised (Service Quotas), or delete what is not needed any more",
                };
                format!("AWS refuses {action} on {subject}: {answer}; {remedy}")
            }
            FailureClass::Invalid => format!("AWS refuses {action} on {subject}: {answer}"),
            FailureClass::DeleteConflict => format!(
                "{action} on {subject} is refused because something is still attached to the role ({answer}); detach it"
            ),
            // IRSA: the pod has a token, and STS gives nothing for it.
            FailureClass::Credentials if self.is_about_web_identity() => format!(
                "STS gives the operator no credentials for the token of its ServiceAccount ({answer}); let the trust policy of the role in AWS_ROLE_ARN name the cluster's OIDC provider, which has to exist in the role's account, and the namespace and the name of the ServiceAccount"
            ),
            FailureClass::Credentials => format!(
                "the operator has no valid AWS credentials ({answer}); give its pod an identity (IRSA, Pod Identity or a Secret)"
            ),
            FailureClass::WrongClock => format!(
                "AWS refuses {action} on {subject} because of the time of the request ({answer}): the clock of the operator's node is wrong; correct it (chronyd, systemd-timesyncd); trying again"
            ),
            FailureClass::Unavailable => {
                format!("{action} on {subject} got no usable answer from AWS ({answer}); trying again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(detail: &str) -> String {
        let failure = Failure::new(FailureClass::Denied, "iam:CreateRole", "orders-role", detail);
        Failure { code: "AccessDenied".into(), ..failure }.message()
    }

    #[test]
    fn the_kind_of_policy_that_aws_names_is_the_one_to_change() {
        let user = "User: arn:aws:sts::111122223333:assumed-role/op/… is not authorized to perform: iam:CreateRole on resource: arn:aws:iam::111122223333:role/orders-role";
        for (words, helps) in [
            ("with an explicit deny in a service control policy", "manages the organization"),
            (
                "with an explicit deny in a service control policy: arn:aws:organizations::444455556666:policy/o-1/service_control_policy/p-1",
                "manages the organization",
            ),
            (
                "because no service control policy allows the iam:CreateRole action",
                "manages the organization",
            ),
            (
                "with an explicit deny in a resource control policy",
                "resource control policy of the organization",
            ),
            (
                "because no permissions boundary allows the iam:CreateRole action",
                "boundary of the operator's identity",
            ),
            ("with an explicit deny in a permissions boundary", "boundary of the operator's identity"),
            ("because no session policy allows the iam:CreateRole action", "policy of the session"),
            ("because no VPC endpoint policy allows the iam:CreateRole action", "policy of the VPC endpoint"),
            ("with an explicit deny in a resource-based policy", "remove the Deny there"),
            ("with an explicit deny in an identity-based policy", "remove the Deny there"),
            ("because no resource-based policy allows the iam:CreateRole action", "allow it there"),
        ] {
            let message = denied(&format!("{user} {words}"));
            assert!(message.contains(helps), "{words}: {message}");
            assert!(
                !message.contains("allow iam:CreateRole on orders-role to"),
                "it does not help: {message}"
            );
            assert!(
                message.starts_with("iam:CreateRole on orders-role is denied (AccessDenied: User"),
                "{message}"
            );
        }
        for words in ["because no identity-based policy allows the iam:CreateRole action", ""] {
            let message = denied(&format!("{user} {words}"));
            assert!(
                message.contains("; allow iam:CreateRole on orders-role to the operator's identity"),
                "{message}"
            );
        }
    }

    #[test]
    fn sts_that_is_not_active_in_a_region_asks_for_no_permission() {
        let failure = Failure::new(
            FailureClass::Denied,
            "sts:AssumeRole",
            "arn:aws:iam::111122223333:role/op",
            "STS is not activated in this region for account:111122223333.",
        );
        let message = Failure { code: "RegionDisabledException".into(), ..failure }.message();
        assert!(message.contains("not activated STS") && message.contains("AWS_REGION"), "{message}");
        assert!(!message.contains("allow sts:AssumeRole"), "{message}");
    }

    #[test]
    fn an_account_that_aws_refuses_is_asked_for_no_permission() {
        for (code, helps) in [
            ("AccountProblem", "contact AWS Support"),
            ("AllAccessDisabled", "contact AWS Support"),
            ("Blocked", "contact AWS Support"),
            ("NotSignedUp", "complete that in the AWS console"),
            ("OptInRequired", "complete that in the AWS console"),
            ("SubscriptionRequiredException", "complete that in the AWS console"),
        ] {
            for action in ["s3:GetReplicationConfiguration", "sts:AssumeRole"] {
                let failure = Failure::new(FailureClass::Denied, action, "orders", "No.");
                let message = Failure { code: code.into(), ..failure }.message();
                assert!(message.contains(helps) && message.contains(code), "{message}");
                assert!(!message.contains("; allow"), "it does not help: {message}");
            }
        }
    }

    #[test]
    fn a_token_that_sts_refuses_is_not_called_a_missing_identity() {
        let message_for = |detail: &str| {
            Failure::new(FailureClass::Credentials, "sts:GetCallerIdentity", "the operator", detail).message()
        };
        for refused in [
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            "InvalidIdentityTokenException: No OpenIDConnect provider found in your account for https://oidc.example",
            "IDPRejectedClaimException: the claim is rejected",
        ] {
            let message = message_for(refused);
            assert!(message.contains("trust policy of the role in AWS_ROLE_ARN"), "{message}");
            assert!(message.contains(refused) && !message.contains("give its pod"), "{message}");
        }
        assert!(
            message_for("no providers in chain provided credentials").contains("give its pod an identity")
        );
    }

    #[test]
    fn a_quota_that_is_used_up_has_a_remedy() {
        let refused = |action: &'static str, detail: &str| {
            let failure = Failure::new(FailureClass::Invalid, action, "orders-role", detail);
            Failure { code: "LimitExceeded".to_owned(), ..failure }.message()
        };
        let roles = refused("iam:CreateRole", "Cannot exceed quota for RolesPerAccount: 1000");
        assert!(roles.contains("RolesPerAccount: 1000") && roles.contains("Service Quotas"), "{roles}");
        let size =
            refused("iam:PutRolePolicy", "Maximum policy size of 10240 bytes exceeded for role orders-role");
        assert!(size.contains("inline policies of a role count together"), "{size}");
        let tags = refused("iam:TagRole", "Cannot exceed quota for TagsPerRole: 50");
        assert!(tags.contains("remove tags") && !tags.contains("Service Quotas"), "{tags}");
    }
}
