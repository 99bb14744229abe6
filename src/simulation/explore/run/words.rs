//! Names calls for replays, and describes in a sentence how a call ends.
//!
//! In: a call, and what became of it. Out: its name; the sentence, which is empty for a read that is answered.

use crate::replication::{FailureClass, Step};
use crate::simulation::cloud::Former;
use crate::simulation::hook::{Call, Choice};

/// The name of a call in a replay.
pub(super) fn call_name(call: &Call) -> String {
    match call {
        Call::Execute(step) => format!("{}({})", step_name(step), step.subject()),
        Call::ReadBucketPolicy(bucket) => format!("ReadBucketPolicy({})", bucket.name),
        Call::WriteBucketPolicy(bucket) => format!("WriteBucketPolicy({})", bucket.name),
        Call::PutCanary(object) => format!("PutCanary({})", object.bucket.name),
        Call::DeleteVersion(object) => format!("DeleteVersion({})", object.bucket.name),
        Call::ReadReplicationStatus(object) => format!("ReadReplicationStatus({})", object.bucket.name),
        Call::ListVersions(bucket) => format!("ListVersions({})", bucket.name),
        Call::Live(kind) if kind == "AwsAccount" => "LiveAccount".to_owned(),
        other => {
            let name = format!("{other:?}");
            name.split('(').next().unwrap_or_default().to_owned()
        }
    }
}

fn step_name(step: &Step) -> String {
    let name = format!("{step:?}");
    name.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

/// The operator that makes a call, and the object for which it does.
pub(super) struct Attribution {
    /// `The operator`, or `Operator 1` where there are two.
    pub(super) operator: String,
    /// `data/orders`, or `AwsAccount default`.
    pub(super) subject: String,
}

/// The outcome of a call, as a sentence; empty for a read that is answered.
pub(super) fn sentence(who: &Attribution, call: &Call, choice: Choice, old: Option<Former>) -> String {
    let Attribution { operator, subject } = who;
    let asks = format!("{operator} asks to {call} for {subject}");
    match choice {
        Choice::Answer => match old {
            Some(Former::BeforePart(part)) => {
                let shown = part.to_string().replace('-', " ");
                format!("{asks}, and AWS shows its {shown} from a former state.")
            }
            Some(_) => format!("{asks}, and AWS answers from a former state."),
            None if call.writes_to_aws() || call.is_write() => format!("{asks}, which is done."),
            None => String::new(),
        },
        Choice::FailBefore(FailureClass::Denied) => {
            let by = if call.right("").is_some() { "the API server" } else { "AWS" };
            format!("{asks}, which {by} denies.")
        }
        Choice::FailBefore(FailureClass::Invalid) if matches!(call, Call::WriteBucketPolicy(_)) => {
            format!("{asks}, which S3 refuses because it does not know a role in it yet.")
        }
        Choice::FailBefore(_) => format!("{asks}, which fails without effect."),
        Choice::FailAfter => format!("{asks}, which is done, and the answer is lost."),
        Choice::DieBefore => {
            format!("{operator} dies before it asks to {call} for {subject}, and starts again.")
        }
        Choice::DieAfter => {
            format!("{asks}, which is done; it dies before the answer, and starts again.")
        }
    }
}
