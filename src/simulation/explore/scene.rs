//! The scenes: what there is at first, and what people may do.
//!
//! In: nothing. Out: [`SCENES`]: for each its resources, the state of AWS and of the API server, and acts. A new scene
//! begins here; `acts` and `scene_beginnings.rs` have its parts.

use crate::replication::FailureClass;
use crate::simulation::api_server::ApiServer;
use crate::simulation::explore::act::Act;
use crate::simulation::explore::acts::administrators::{
    ALLOW_AGAIN, ALLOW_ELDER, DELETE_ACCOUNT, DELETE_DESTINATION_ACCOUNT, FORBID_CANARIES,
    FORBID_CANARIES_ABROAD, FORBID_ELDER, IMPOSE_BOUNDARY, RECREATE_ACCOUNT, RELABEL_NAMESPACE,
    TIGHTEN_ACCOUNT, TIGHTEN_DESTINATION,
};
use crate::simulation::explore::acts::outsiders::{
    ADD_RULE, ADD_STATEMENT, ADD_TAG, DELETE_GIVEN_ROLE, DELETE_ROLE, DISABLE_KEY, EDIT_RULES,
    EDIT_STATEMENTS, REMOVE_CONFIGURATION, REMOVE_STATEMENTS, REPLACE_CONFIGURATION, RETAG_ROLE,
    STOP_TRUSTING, SUSPEND_VERSIONING, TAKE_DESTINATION, TAKE_SOURCE, TRUST_AGAIN, WEAKEN_ROLE,
};
use crate::simulation::explore::acts::users::{
    ADD_FINALIZER, ADOPT, CREATE_AGAIN, DELETE, DELETE_ELDER, DISABLE_RULES, DROP_TAGS, EDIT_DESTINATION,
    EDIT_DESTINATION_BACK, ENFORCE, LEAVE_SHARED, MOVE_CANARIES, MOVE_HOME, NAME_OTHER_ACCOUNT,
    NAME_OWN_ROLE, OBSERVE, REFUSE, RENAME_ROLE, RENAME_ROLE_AGAIN, RENAME_ROLE_BACK, REPLACE_RESOURCE,
    REQUEST, RESUME, RETAIN, REWRITE_RULES, STOP_CANARIES, STRIP, SUSPEND, TWIN_DELETE, TWIN_LEAVES_SHARED,
};
use crate::simulation::explore::backfills;
use crate::simulation::explore::deviation::Deviation;
use crate::simulation::explore::scene_beginnings::{
    account_of_another_team, accounts, canary, canary_abroad, canary_retained, equal_rules, every_field,
    foreign, found, given_role, given_role_in_account, labelled_destination, observed_first, one_account,
    rivals, rivals_of_one_second, shared, two_destinations,
};
use crate::simulation::world::World;

/// A beginning, and the actors with their rights.
pub struct Scene {
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// The names of the resources, in the namespace `data`.
    pub resources: &'static [&'static str],
    /// The names of the accounts that the operator checks too. In the other scenes nothing depends on their status.
    pub accounts: &'static [&'static str],
    /// The names of the backfills, in the namespace `data`. Their replication is there, and nobody checks it.
    pub backfills: &'static [&'static str],
    /// Not empty: the first two resources are equal. Pairs of acts: what one of a pair is to the first resource, the
    /// other is to the second. Any other act is the same to both.
    pub twins: &'static [(&'static str, &'static str)],
    /// The most checks from any state to one that no check changes.
    pub enough: u8,
    /// Whether a second operator stands by.
    pub standby: bool,
    /// Whether the API server may deny calls too. In the other scenes the operator makes no calls of another kind.
    pub denies_kubernetes: bool,
    /// How a call to AWS fails that has no effect. The operator waits longer after `Throttled` than after `Unavailable`.
    pub failure: FailureClass,
    /// The events of every trace before anything else, in this order, each with its decision point. Its acts count
    /// against no budget.
    pub opening: &'static [(&'static str, Deviation)],
    pub acts: &'static [Act],
    pub begin: fn() -> (World, ApiServer),
}

impl Scene {
    /// Whether no other resource can ask for the same source.
    pub fn is_alone(&self) -> bool {
        self.resources.len() < 2 || !self.twins.is_empty()
    }
}

/// The common ground of most scenes: one resource and one operator.
const PLAIN: Scene = Scene {
    name: "",
    about: "",
    resources: &["orders"],
    accounts: &[],
    backfills: &[],
    twins: &[],
    enough: 4,
    standby: false,
    denies_kubernetes: false,
    failure: FailureClass::Unavailable,
    opening: &[],
    acts: &[],
    begin: one_account,
};

/// One backfill. A check begins its job, and then one follows each of the job's states.
const BACKFILL: Scene = Scene {
    resources: &[],
    backfills: &[backfills::FIRST],
    enough: 12,
    acts: &[
        backfills::CANCEL,
        backfills::DELETE,
        backfills::DELETE_PARENT,
        backfills::SUSPEND_PARENT,
        backfills::FORBID,
    ],
    begin: backfills::plain,
    ..PLAIN
};

/// Every scene.
pub const SCENES: [Scene; 52] = [
    Scene {
        name: "one-account",
        denies_kubernetes: true,
        about: "one resource, its buckets in the operator's own account, and no AwsAccount",
        acts: &[
            EDIT_DESTINATION,
            RENAME_ROLE,
            OBSERVE,
            SUSPEND,
            ADD_FINALIZER,
            DELETE,
            STRIP,
            REPLACE_RESOURCE,
            SUSPEND_VERSIONING,
            REPLACE_CONFIGURATION,
            DELETE_ROLE,
            RETAG_ROLE,
            ADD_TAG,
        ],
        ..PLAIN
    },
    Scene {
        name: "checked-early",
        about: "one resource that is checked once more before the watch brings what the last check wrote, and AWS does not answer then",
        opening: &[("idle.3", Deviation::CheckEarly), ("orders/Connect.3", Deviation::Fail)],
        acts: &[DELETE],
        ..PLAIN
    },
    Scene {
        name: "renamed",
        denies_kubernetes: true,
        about: "one resource whose role is renamed after it was applied",
        failure: FailureClass::Throttled,
        opening: &[("idle.2", Deviation::Act(&RENAME_ROLE))],
        acts: &[
            RENAME_ROLE,
            RENAME_ROLE_AGAIN,
            RENAME_ROLE_BACK,
            EDIT_DESTINATION,
            DELETE,
            DELETE_ROLE,
            RETAG_ROLE,
        ],
        ..PLAIN
    },
    Scene {
        name: "overtaken",
        about: "one resource whose role is renamed while the first one is created",
        opening: &[("orders/CreateRole(orders-role).1", Deviation::Act(&RENAME_ROLE))],
        acts: &[
            RENAME_ROLE,
            RENAME_ROLE_AGAIN,
            RENAME_ROLE_BACK,
            EDIT_DESTINATION,
            DELETE,
            DELETE_ROLE,
            RETAG_ROLE,
        ],
        ..PLAIN
    },
    Scene {
        name: "moved",
        about: "one resource that is sent to another destination after it was applied, and two operators, of which one leads",
        standby: true,
        failure: FailureClass::Throttled,
        opening: &[("idle.2", Deviation::Act(&EDIT_DESTINATION))],
        acts: &[EDIT_DESTINATION_BACK, RENAME_ROLE, DELETE, SUSPEND_VERSIONING, REPLACE_CONFIGURATION],
        ..PLAIN
    },
    Scene {
        name: "moved-back",
        about: "one resource that is sent to another destination and back after it was applied, and two operators, of which one leads",
        standby: true,
        failure: FailureClass::Throttled,
        opening: &[
            ("idle.2", Deviation::Act(&EDIT_DESTINATION)),
            ("idle.4", Deviation::Act(&EDIT_DESTINATION_BACK)),
        ],
        acts: &[EDIT_DESTINATION, DELETE],
        ..PLAIN
    },
    Scene {
        name: "role-unanswered",
        about: "one resource whose role is made without an answer, and which the user deletes then",
        opening: &[
            ("orders/CreateRole(orders-role).1", Deviation::LoseAnswer),
            ("idle.2", Deviation::Act(&DELETE)),
        ],
        acts: &[RETAIN],
        ..PLAIN
    },
    Scene {
        name: "configuration-unanswered",
        about: "one resource that is sent to another destination without an answer, and then back",
        opening: &[
            ("idle.2", Deviation::Act(&EDIT_DESTINATION)),
            ("orders/PutReplication(orders).2", Deviation::LoseAnswer),
            ("idle.3", Deviation::Act(&EDIT_DESTINATION_BACK)),
        ],
        acts: &[DELETE],
        ..PLAIN
    },
    Scene {
        name: "across-accounts",
        about: "one resource with two destinations, one of them in another account",
        acts: &[TIGHTEN_DESTINATION, DELETE_DESTINATION_ACCOUNT, LEAVE_SHARED, DELETE],
        begin: two_destinations,
        ..PLAIN
    },
    Scene {
        name: "policy-unanswered",
        about: "one resource that leaves a bucket of another account, whose policy was written without an answer",
        opening: &[
            ("orders/WriteBucketPolicy(replicas).1", Deviation::LoseAnswer),
            ("idle.2", Deviation::Act(&LEAVE_SHARED)),
        ],
        acts: &[DELETE],
        begin: two_destinations,
        ..PLAIN
    },
    Scene {
        name: "policy-unreported",
        about: "one resource whose process dies when it has written the policy of a bucket of another account",
        opening: &[("orders/WriteBucketPolicy(replicas).1", Deviation::DieAfter)],
        acts: &[LEAVE_SHARED, DELETE],
        begin: two_destinations,
        ..PLAIN
    },
    Scene {
        name: "every-field",
        about: "one resource whose spec names every field of its rules and of its role, with a destination in another account",
        acts: &[REWRITE_RULES, DROP_TAGS, EDIT_RULES, ADD_RULE, DISABLE_KEY, WEAKEN_ROLE, EDIT_STATEMENTS],
        begin: every_field,
        ..PLAIN
    },
    Scene {
        name: "in-part",
        about: "one resource with two destinations, whose process dies when it has put the rule to one of them, while AWS denies it to open the other",
        opening: &[
            ("orders/WriteBucketPolicy(replicas).1", Deviation::Deny { part: None, stays: true }),
            ("orders/PutReplication(orders).1", Deviation::DieAfter),
        ],
        acts: &[RENAME_ROLE, LEAVE_SHARED, DELETE, REPLACE_CONFIGURATION, DELETE_ROLE, RETAG_ROLE],
        begin: two_destinations,
        ..PLAIN
    },
    Scene {
        name: "foreign",
        about: "the role of another cluster's resource, and a configuration that someone else wrote",
        acts: &[RENAME_ROLE, ADOPT, REFUSE, DELETE, DELETE_ROLE, REMOVE_CONFIGURATION, SUSPEND_VERSIONING],
        begin: foreign,
        ..PLAIN
    },
    Scene {
        name: "given-back",
        about: "one resource that took over the role of another cluster's resource and a configuration, and may do so no longer",
        opening: &[("idle.1", Deviation::Act(&ADOPT)), ("idle.2", Deviation::Act(&REFUSE))],
        acts: &[RENAME_ROLE, ADOPT, DELETE, DELETE_ROLE, REPLACE_CONFIGURATION, REMOVE_CONFIGURATION],
        begin: foreign,
        ..PLAIN
    },
    Scene {
        name: "role-given",
        about: "one resource whose spec names a role that someone else made",
        acts: &[EDIT_DESTINATION, NAME_OWN_ROLE, DELETE, DELETE_GIVEN_ROLE, REPLACE_CONFIGURATION],
        begin: given_role,
        ..PLAIN
    },
    Scene {
        name: "role-bounded",
        about: "one resource whose spec names a role that someone else made, under an AwsAccount that may get a permissions boundary for roles",
        acts: &[IMPOSE_BOUNDARY, EDIT_DESTINATION],
        begin: given_role_in_account,
        ..PLAIN
    },
    Scene {
        name: "found",
        about: "one resource whose bucket has the configuration that it asks for, with a role that someone else made",
        acts: &[EDIT_DESTINATION, NAME_OWN_ROLE, ADOPT, DELETE, REPLACE_CONFIGURATION, REMOVE_CONFIGURATION],
        begin: found,
        ..PLAIN
    },
    Scene {
        name: "equal-rules",
        about: "one resource whose bucket has the rules that it asks for, with a role of someone else",
        acts: &[ADOPT, REFUSE, DELETE, REMOVE_CONFIGURATION],
        begin: equal_rules,
        ..PLAIN
    },
    Scene {
        name: "bucket-taken",
        about: "one resource whose buckets another account may take by their names",
        acts: &[TAKE_SOURCE, TAKE_DESTINATION, EDIT_DESTINATION, DELETE],
        ..PLAIN
    },
    Scene {
        name: "suspended",
        about: "one resource that the user suspends after it was applied",
        opening: &[("idle.2", Deviation::Act(&SUSPEND))],
        acts: &[RESUME, REQUEST, EDIT_DESTINATION, RENAME_ROLE, DELETE, DELETE_ROLE, SUSPEND_VERSIONING],
        ..PLAIN
    },
    Scene {
        name: "shared",
        about: "two resources replicate into one bucket of another account, whose policy others write too",
        resources: &["orders", "invoices"],
        twins: &[("leaves-shared-bucket", "twin-leaves-shared-bucket"), ("deletes", "twin-deletes")],
        acts: &[LEAVE_SHARED, TWIN_LEAVES_SHARED, DELETE, TWIN_DELETE, ADD_STATEMENT, REMOVE_STATEMENTS],
        begin: shared,
        ..PLAIN
    },
    Scene {
        name: "shared-unanswered",
        about: "two resources replicate into one bucket of another account, whose policy one of them wrote without an answer",
        resources: &["orders", "invoices"],
        opening: &[("orders/WriteBucketPolicy(replicas).1", Deviation::LoseAnswer)],
        acts: &[DELETE],
        begin: shared,
        ..PLAIN
    },
    Scene {
        name: "accounts",
        denies_kubernetes: true,
        about: "one resource under an AwsAccount that allows the namespaces of one team",
        accounts: &["default", "other"],
        acts: &[
            EDIT_DESTINATION,
            NAME_OTHER_ACCOUNT,
            DELETE,
            TIGHTEN_ACCOUNT,
            DELETE_ACCOUNT,
            RECREATE_ACCOUNT,
            RELABEL_NAMESPACE,
            STOP_TRUSTING,
        ],
        begin: accounts,
        ..PLAIN
    },
    Scene {
        name: "untrusted",
        about: "one resource with two destinations, whose account of one stops trusting the operator after it was applied",
        opening: &[("idle.2", Deviation::Act(&STOP_TRUSTING))],
        acts: &[
            DISABLE_RULES,
            LEAVE_SHARED,
            RENAME_ROLE,
            DELETE,
            DELETE_ROLE,
            REPLACE_CONFIGURATION,
            REMOVE_CONFIGURATION,
            TRUST_AGAIN,
        ],
        begin: two_destinations,
        ..PLAIN
    },
    Scene {
        name: "untrusted-deleted",
        about: "the same, and then the user deletes the resource",
        opening: &[("idle.2", Deviation::Act(&STOP_TRUSTING)), ("idle.2", Deviation::Act(&DELETE))],
        acts: &[DELETE_ROLE, REPLACE_CONFIGURATION, REMOVE_CONFIGURATION, TRUST_AGAIN],
        begin: two_destinations,
        ..PLAIN
    },
    Scene {
        name: "account-gone",
        about: "the AwsAccount of a destination is deleted just before another operator takes the Lease",
        standby: true,
        opening: &[("idle.1", Deviation::Act(&DELETE_DESTINATION_ACCOUNT)), ("idle.1", Deviation::MoveLease)],
        acts: &[LEAVE_SHARED],
        begin: two_destinations,
        ..PLAIN
    },
    Scene {
        name: "labels",
        about: "one resource with two destinations, whose account of one names the namespace and asks for a label of it",
        acts: &[RELABEL_NAMESPACE],
        begin: labelled_destination,
        ..PLAIN
    },
    Scene {
        name: "account-of-another-team",
        about: "the AwsAccount of a destination is deleted and then the resource, and another team has an AwsAccount for the same account",
        opening: &[
            ("idle.2", Deviation::Act(&DELETE_DESTINATION_ACCOUNT)),
            ("idle.2", Deviation::Act(&DELETE)),
        ],
        begin: account_of_another_team,
        ..PLAIN
    },
    Scene {
        name: "lease",
        about: "two operators, of which one leads",
        standby: true,
        acts: &[EDIT_DESTINATION, RENAME_ROLE, DELETE, DELETE_ROLE],
        ..PLAIN
    },
    Scene {
        name: "observed-first",
        about: "one resource that the operator only observes at first",
        acts: &[ENFORCE, DELETE, REPLACE_CONFIGURATION, SUSPEND_VERSIONING],
        begin: observed_first,
        ..PLAIN
    },
    Scene {
        name: "observed",
        about: "one resource that is only to be observed just before another operator takes the Lease, whose role someone deleted",
        standby: true,
        opening: &[
            ("idle.4", Deviation::Act(&DELETE_ROLE)),
            ("idle.4", Deviation::Act(&OBSERVE)),
            ("idle.4", Deviation::MoveLease),
        ],
        acts: &[DELETE],
        ..PLAIN
    },
    Scene {
        name: "deleted",
        denies_kubernetes: true,
        about: "one resource that the user deletes after it was applied",
        opening: &[("idle.2", Deviation::Act(&DELETE))],
        failure: FailureClass::Throttled,
        acts: &[RETAIN, OBSERVE, STRIP, CREATE_AGAIN, DELETE_ROLE, RETAG_ROLE, REPLACE_CONFIGURATION],
        ..PLAIN
    },
    Scene {
        name: "tightened",
        denies_kubernetes: true,
        about: "one resource whose AwsAccount is tightened before its first check, and two operators, of which one leads",
        standby: true,
        opening: &[("idle.1", Deviation::Act(&TIGHTEN_ACCOUNT))],
        acts: &[ALLOW_AGAIN, RECREATE_ACCOUNT, DELETE_ACCOUNT],
        begin: accounts,
        ..PLAIN
    },
    Scene {
        name: "boundary",
        about: "one resource under an AwsAccount that may get a permissions boundary for roles, and two operators, of which one leads",
        standby: true,
        acts: &[IMPOSE_BOUNDARY, RENAME_ROLE],
        begin: accounts,
        ..PLAIN
    },
    Scene {
        name: "rivals",
        about: "one resource, and an older one for the same source, which its AwsAccount does not allow at first",
        resources: &["elder", "orders"],
        acts: &[ALLOW_ELDER, DELETE],
        begin: rivals,
        ..PLAIN
    },
    Scene {
        name: "succeeded",
        about: "one resource, and an older one that owns the source of both",
        resources: &["elder", "orders"],
        opening: &[("idle.1", Deviation::Act(&ALLOW_ELDER))],
        acts: &[DELETE_ELDER, DELETE],
        begin: rivals,
        ..PLAIN
    },
    Scene {
        name: "elder-forbidden",
        about: "one resource, and an older one that owns the source of both until the administrator forbids it",
        resources: &["elder", "orders"],
        opening: &[("idle.1", Deviation::Act(&ALLOW_ELDER))],
        acts: &[FORBID_ELDER],
        begin: rivals,
        ..PLAIN
    },
    Scene {
        name: "one-second",
        about: "two resources of the same second for one source, of which the AwsAccount of the first does not allow it at first",
        resources: &["elder", "orders"],
        acts: &[ALLOW_ELDER, FORBID_ELDER, DELETE, DELETE_ELDER],
        begin: rivals_of_one_second,
        ..PLAIN
    },
    Scene {
        name: "canary",
        denies_kubernetes: true,
        about: "one resource that asks for canaries, under an AwsAccount that allows them, and two operators, of which one leads",
        standby: true,
        // A canary is sent by one check, and deleted by another.
        enough: 6,
        acts: &[
            EDIT_DESTINATION,
            MOVE_CANARIES,
            STOP_CANARIES,
            OBSERVE,
            SUSPEND,
            DELETE,
            DELETE_ROLE,
            FORBID_CANARIES,
            TIGHTEN_ACCOUNT,
        ],
        begin: canary,
        ..PLAIN
    },
    Scene {
        name: "canary-observed",
        about: "one resource that is to be observed once its first canary is on its way, and two operators, of which one leads",
        standby: true,
        enough: 6,
        opening: &[("orders/SetStatus.4", Deviation::Act(&OBSERVE))],
        acts: &[DELETE],
        begin: canary,
        ..PLAIN
    },
    Scene {
        name: "canary-moved",
        about: "one resource whose canaries get another prefix just before another operator takes the Lease",
        standby: true,
        enough: 6,
        opening: &[("idle.2", Deviation::Act(&MOVE_CANARIES)), ("idle.2", Deviation::MoveLease)],
        acts: &[DELETE],
        begin: canary,
        ..PLAIN
    },
    Scene {
        name: "canary-retained",
        about: "one resource that asks for canaries into two buckets, from one of which no version can be deleted",
        enough: 6,
        acts: &[MOVE_HOME, DELETE],
        begin: canary_retained,
        ..PLAIN
    },
    Scene {
        name: "canary-abroad",
        about: "one resource that sends canaries into two buckets, one of them in another account",
        enough: 6,
        acts: &[
            MOVE_HOME,
            FORBID_CANARIES_ABROAD,
            SUSPEND_VERSIONING,
            STRIP,
            DELETE,
            DELETE_DESTINATION_ACCOUNT,
        ],
        begin: canary_abroad,
        ..PLAIN
    },
    Scene {
        name: "backfill",
        denies_kubernetes: true,
        about: "one backfill, whose job S3 lists at once, and two operators, of which one leads",
        standby: true,
        ..BACKFILL
    },
    Scene {
        name: "backfill-listed-late",
        about: "one backfill, whose job S3 lists late, and two operators, of which one leads",
        standby: true,
        begin: backfills::listed_late,
        ..BACKFILL
    },
    Scene {
        name: "backfill-forbidden",
        about: "one backfill, which the administrator forbids before it begins, and two operators, of which one leads",
        standby: true,
        opening: &[("orders-november/ReadRole.1", Deviation::Act(&backfills::FORBID))],
        acts: &[],
        ..BACKFILL
    },
    // The other scenes show the time before the job waits.
    Scene {
        name: "backfill-approval",
        denies_kubernetes: true,
        about: "one backfill whose job waits for approval, which the user gives",
        opening: &[("idle.5", Deviation::Act(&backfills::APPROVE))],
        acts: &[
            backfills::APPROVE,
            backfills::CANCEL,
            backfills::DELETE,
            backfills::SUSPEND_PARENT,
            backfills::FORBID,
        ],
        begin: backfills::approval,
        ..BACKFILL
    },
    Scene {
        name: "backfill-moved",
        about: "one backfill whose job waits for approval, which the user gives after the replication has got another source",
        opening: &[
            ("idle.5", Deviation::Act(&backfills::MOVE_PARENT)),
            ("idle.5", Deviation::Act(&backfills::APPROVE)),
        ],
        acts: &[backfills::CANCEL],
        begin: backfills::approval,
        ..BACKFILL
    },
    Scene {
        name: "backfill-role",
        about: "one backfill whose role someone hands to another cluster, and on whose roles the administrator may impose a boundary",
        acts: &[backfills::RETAG_ROLE, IMPOSE_BOUNDARY],
        ..BACKFILL
    },
    // One operator: two at once are more than a search of jobs alone can distinguish.
    Scene {
        name: "backfill-token-forgotten",
        about: "one backfill, whose token S3 has forgotten when the request comes again",
        begin: backfills::token_forgotten,
        ..BACKFILL
    },
    Scene {
        name: "backfill-queue",
        about: "a replication with two backfills, and two operators, of which one leads",
        backfills: &[backfills::FIRST, backfills::SECOND],
        standby: true,
        begin: backfills::queue,
        ..BACKFILL
    },
];
