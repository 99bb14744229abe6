//! The commands that show more of a resource or fix it.
//!
//! In: the names of the resource, and the operator's message. Out: commands for a shell. `advice.rs` chooses those of each
//! reason.

use std::collections::BTreeSet;

use crate::api::{DEFAULT_ACCOUNT, GROUP};
use crate::cli::shell::word;
use crate::replication::failure::{AND_ACCOUNT_ID, OF_ACCOUNT};
use crate::replication::resource_id::{ADOPT_IT, OF_ANOTHER_CLUSTER, ONLY_TAGGED, UNOWNED};

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
    /// ARN of the role that the status names.
    pub role: Option<&'a str>,
    /// Name or ARN of the role that the spec asks for.
    pub wanted_role: &'a str,
    /// The `AwsAccount`s of its buckets.
    pub accounts: &'a [&'a str],
    /// The `AwsAccount` of the source; `None`: it names none, and the operator has used none.
    pub source_account: Option<&'a str>,
    /// The operator's message for the reason.
    pub message: &'a str,
    /// The operator may correct what differs: `managementPolicy` is `Enforce`.
    pub is_enforced: bool,
    /// `adoptionPolicy` is `Adopt`.
    pub adopts: bool,
}

impl CommandNames<'_> {
    /// A subcommand of this program on the resource. Options come after the name.
    pub(super) fn own(&self, subcommand: &str) -> String {
        let CommandNames { typed, namespace, name, .. } = self;
        let (namespace, name) = (word(namespace), word(name));
        let (subcommand, options) = subcommand.split_once(' ').unwrap_or((subcommand, ""));
        let options = if options.is_empty() { String::new() } else { format!(" {options}") };
        format!("{typed} {subcommand} {name} -n {namespace}{options}")
    }

    pub(super) fn kubectl(&self, verb: &str) -> String {
        format!("kubectl {verb} bucketreplication {} -n {}", word(self.name), word(self.namespace))
    }

    pub(super) fn describe(&self) -> String {
        self.kubectl("describe")
    }

    pub(super) fn backfills(&self) -> String {
        format!("kubectl get replicationbackfills -n {}", word(self.namespace))
    }

    pub(super) fn patch(&self, change: &str) -> String {
        format!("{} --type merge -p '{change}'", self.kubectl("patch"))
    }

    pub(super) fn plan(&self) -> String {
        format!("{} -o yaml | {} plan -f -", self.get(), self.typed)
    }

    pub(super) fn policy(&self) -> String {
        format!("{} -o yaml | {} policy -f -", self.get(), self.typed)
    }

    /// Reads the resource with the AwsAccounts that apply to it, one that it does not name too, and with the Namespace,
    /// whose labels an AwsAccount may ask for.
    pub(super) fn get(&self) -> String {
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

    /// Adopts a configuration or a role that someone else made.
    pub(super) fn adopt(&self) -> String {
        self.patch(r#"{"spec":{"adoptionPolicy":"Adopt"}}"#)
    }

    /// Prints the configuration of the source as a resource of this namespace.
    pub(super) fn import(&self) -> String {
        let CommandNames { typed, source, namespace, .. } = self;
        let account = self.source_account.map(|name| format!(" --account {}", word(name)));
        let account = account.unwrap_or_default();
        format!("{typed} import --bucket {} -n {}{account}", word(source), word(namespace))
    }

    /// The commands where an `AwsAccount` does not allow what is asked for: those that the message names are to allow
    /// more, or the spec is to ask for less.
    pub(super) fn next_where_not_allowed(&self) -> Vec<String> {
        if self.message.contains("--require-account") {
            return vec!["kubectl get awsaccounts".to_owned(), self.kubectl("edit")];
        }
        let source = self.source_account.unwrap_or(DEFAULT_ACCOUNT);
        let used: BTreeSet<&str> = self.accounts.iter().copied().chain([source]).collect();
        let named: BTreeSet<&str> = named_accounts(self.message).filter(|name| used.contains(name)).collect();
        let accounts = if named.is_empty() { used } else { named };
        let edit = accounts.into_iter().map(|name| format!("kubectl edit awsaccount {}", word(name)));
        edit.chain([self.kubectl("edit")]).collect()
    }

    /// The commands where the role is someone else's. A role that may be another resource's is never to be adopted: this
    /// resource names another one.
    pub(super) fn next_for_foreign_role(&self) -> Vec<String> {
        let CommandNames { namespace, name, message, adopts, .. } = *self;
        let role = self.role_name();
        let mut next = vec![format!("aws iam list-role-tags --role-name {role}")];
        let own = format!("belongs to BucketReplication {namespace}/{name} (");
        let is_free = message.contains(UNOWNED) || message.contains(&own);
        let has_to_be_tagged = message.contains(ONLY_TAGGED);
        let may_be_adopted = has_to_be_tagged || message.contains(ADOPT_IT);
        if !is_free || !may_be_adopted || message.contains(OF_ANOTHER_CLUSTER) {
            next.push(self.kubectl("edit"));
            return next;
        }
        if has_to_be_tagged {
            next.push(format!(
                "aws iam tag-role --role-name {role} --tags Key={GROUP}/namespace,Value={} Key={GROUP}/name,Value={}",
                word(namespace),
                word(name)
            ));
        }
        if !adopts {
            next.push(self.adopt());
        }
        next
    }

    /// The name of the role that the spec asks for.
    pub(super) fn role_name(&self) -> String {
        name_of_role(self.wanted_role)
    }

    /// The name of the role that there is.
    pub(super) fn present_role_name(&self) -> String {
        name_of_role(self.role.unwrap_or(self.wanted_role))
    }
}

/// The `AwsAccount`s that a message names.
pub(super) fn named_accounts(message: &str) -> impl Iterator<Item = &str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let named = message.split("AwsAccount ").skip(1);
    let named = named.filter_map(move |rest| rest.split(|c: char| !is_of_name(c)).next());
    named.map(|name| name.trim_end_matches('.')).filter(|name| !name.is_empty())
}

/// The commands where the operator's identity is in another account than the `AwsAccount` names. Whether the id or the
/// identity is wrong, only the administrator knows: each command says for which of the two it is.
pub(super) fn next_for_other_account(subject: &CommandNames<'_>) -> Vec<String> {
    let source = subject.source_account.unwrap_or(DEFAULT_ACCOUNT);
    let name = word(named_accounts(subject.message).next().unwrap_or(source));
    let show = format!("kubectl get awsaccount {name} -o wide");
    let edit = format!("kubectl edit awsaccount {name} # if spec.assumeRole.arn is wrong");
    let ids = subject.message.split_once(OF_ACCOUNT).and_then(|(_, rest)| {
        let (actual, rest) = rest.split_once(AND_ACCOUNT_ID)?;
        let stated = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        let is_id = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        (is_id(actual) && is_id(stated)).then_some((actual, stated))
    });
    let Some((actual, stated)) = ids else { return vec![show, edit] };
    let replace = format!(
        "kubectl get awsaccount {name} -o yaml | sed s/{stated}/{actual}/g | kubectl replace --force -f - # if {actual} is the right account"
    );
    vec![show, replace, edit]
}

/// The name of a role: the last part of its ARN.
fn name_of_role(role: &str) -> String {
    word(role.rsplit('/').next().unwrap_or(role))
}
