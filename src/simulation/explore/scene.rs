//! The scenes: what there is at first, and what people may do.
//!
//! In: nothing. Out: [`SCENES`]: for each its resources, the state of AWS and of the API server, and acts. A new scene
//! begins here.

use serde_json::{Value, json};

use crate::api::Switch;
use crate::replication::observed::VersioningStatus;
use crate::replication::{Configuration, Rule, RuleDestination, RuleFilter};
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::act::{Act, HERE, THERE};
use crate::simulation::explore::backfills;
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::deviation::Deviation;
use crate::simulation::operator::CLUSTER;
use crate::simulation::world::{SimulatedRole, World};

const FOREIGN_ROLE: &str = "arn:aws:iam::111122223333:role/theirs";

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
    /// Whether something keeps the operator from the start from what the spec asks for, so that a refusal is a good end.
    pub hinders: bool,
    /// Whether the API server may deny calls too. In the other scenes the operator makes no calls of another kind.
    pub denies_kubernetes: bool,
    /// What happens in every trace before anything else, in this order, each with its decision point. Its acts count
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

/// What most scenes have in common: one resource and one operator.
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
    hinders: false,
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
pub const SCENES: [Scene; 20] = [
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
            SUSPEND_VERSIONING,
            REPLACE_CONFIGURATION,
            DELETE_ROLE,
            RETAG_ROLE,
            ADD_TAG,
        ],
        ..PLAIN
    },
    Scene {
        name: "renamed",
        denies_kubernetes: true,
        about: "one resource whose role is renamed after it was applied",
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
        hinders: true,
        about: "the role of another cluster's resource, and a configuration that someone else wrote",
        acts: &[RENAME_ROLE, ADOPT, REFUSE, DELETE, DELETE_ROLE, REMOVE_CONFIGURATION, SUSPEND_VERSIONING],
        begin: foreign,
        ..PLAIN
    },
    Scene {
        name: "given-back",
        hinders: true,
        about: "one resource that took over the role of another cluster's resource and a configuration, and may do so no longer",
        opening: &[("idle.1", Deviation::Act(&ADOPT)), ("idle.2", Deviation::Act(&REFUSE))],
        acts: &[RENAME_ROLE, ADOPT, DELETE, DELETE_ROLE, REPLACE_CONFIGURATION, REMOVE_CONFIGURATION],
        begin: foreign,
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
        name: "lease",
        about: "two operators, of which one leads",
        standby: true,
        acts: &[EDIT_DESTINATION, RENAME_ROLE, DELETE, DELETE_ROLE],
        ..PLAIN
    },
    Scene {
        name: "deleted",
        denies_kubernetes: true,
        about: "one resource that the user deletes after it was applied",
        opening: &[("idle.2", Deviation::Act(&DELETE))],
        acts: &[DELETE_ROLE, RETAG_ROLE, REPLACE_CONFIGURATION],
        ..PLAIN
    },
    Scene {
        name: "tightened",
        denies_kubernetes: true,
        about: "one resource whose AwsAccount is tightened before its first check, and two operators, of which one leads",
        standby: true,
        opening: &[("idle.1", Deviation::Act(&TIGHTEN_ACCOUNT))],
        acts: &[RECREATE_ACCOUNT, DELETE_ACCOUNT],
        begin: accounts,
        ..PLAIN
    },
    Scene {
        name: "rivals",
        hinders: true,
        about: "one resource, and an older one for the same source, which its AwsAccount does not allow at first",
        resources: &["elder", "orders"],
        acts: &[ALLOW_ELDER, DELETE],
        begin: rivals,
        ..PLAIN
    },
    Scene {
        name: "canary",
        denies_kubernetes: true,
        about: "one resource that asks for canaries, under an AwsAccount that allows them",
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
    // What happens before the job waits is in the other scenes.
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

fn resource(server: &mut ApiServer, edit: impl FnOnce(&mut Value)) -> bool {
    edit_named(server, "orders", edit)
}

fn edit_named(server: &mut ApiServer, name: &str, edit: impl FnOnce(&mut Value)) -> bool {
    let name = ObjectName::replication("data", name);
    let Some(before) = server.objects.get(&name).cloned() else { return false };
    server.edit(&name, edit);
    let asked = |object: &Value| {
        let metadata = &object["metadata"];
        [&object["spec"], &metadata["finalizers"], &metadata["annotations"]].map(Value::clone)
    };
    server.objects.get(&name).map(asked) != Some(asked(&before))
}

fn edit_spec(server: &mut ApiServer, edit: impl FnOnce(&mut Value)) -> bool {
    resource(server, |object| edit(&mut object["spec"]))
}

const EDIT_DESTINATION: Act = Act {
    name: "edits-destination",
    sentence: "The user sends the replicas of data/orders to bucket archive",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["rules"][0]["destination"]["bucket"] = json!("archive"))
    },
};

const RENAME_ROLE: Act = Act {
    name: "renames-role",
    sentence: "The user renames the role of data/orders to orders-role-2",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role-2")),
};

const RENAME_ROLE_AGAIN: Act = Act {
    name: "renames-role-again",
    sentence: "The user renames the role of data/orders to orders-role-3",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role-3")),
};

const RENAME_ROLE_BACK: Act = Act {
    name: "renames-role-back",
    sentence: "The user gives the role of data/orders its first name again",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role")),
};

const OBSERVE: Act = Act {
    name: "sets-observe",
    sentence: "The user sets managementPolicy: Observe on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["managementPolicy"] = json!("Observe")),
};

const SUSPEND: Act = Act {
    name: "suspends",
    sentence: "The user suspends data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["suspend"] = json!(true)),
};

const RESUME: Act = Act {
    name: "resumes",
    sentence: "The user sets suspend: false on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["suspend"] = json!(false)),
};

const REQUEST: Act = Act {
    name: "requests-check",
    sentence: "The user asks for a check of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        resource(server, |object| {
            object["metadata"]["annotations"][crate::api::REQUESTED_AT] = json!("2026-01-01T00:00:00Z");
        })
    },
};

const MOVE_CANARIES: Act = Act {
    name: "moves-canaries",
    sentence: "The user gives the canaries of data/orders another prefix",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["health"]["canary"] = json!({"interval": "24h", "prefix": "new/"}))
    },
};

const STOP_CANARIES: Act = Act {
    name: "stops-canaries",
    sentence: "The user asks for no canaries of data/orders any more",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["health"] = json!({})),
};

const FORBID_CANARIES: Act = Act {
    name: "forbids-canaries",
    sentence: "The administrator allows no canaries under AwsAccount default any more",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["allow"] == json!(["Canary"]));
        server.edit(&name, |object| object["spec"]["allow"] = json!([]));
        allowed
    },
};

const ADOPT: Act = Act {
    name: "sets-adopt",
    sentence: "The user sets adoptionPolicy: Adopt on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["adoptionPolicy"] = json!("Adopt")),
};

const REFUSE: Act = Act {
    name: "sets-refuse",
    sentence: "The user sets adoptionPolicy: Refuse on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| {
            if spec["adoptionPolicy"] == "Adopt" {
                spec["adoptionPolicy"] = json!("Refuse");
            }
        })
    },
};

const NAME_OTHER_ACCOUNT: Act = Act {
    name: "names-other-account",
    sentence: "The user names AwsAccount other for the source of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["source"]["accountRef"] = json!("other")),
};

const LEAVE_SHARED: Act = Act {
    name: "leaves-shared-bucket",
    sentence: "The user sends the replicas of data/orders to bucket copies instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_named(server, "orders", |object| leave_shared(&mut object["spec"])),
};

const TWIN_LEAVES_SHARED: Act = Act {
    name: "twin-leaves-shared-bucket",
    sentence: "The user sends the replicas of data/invoices to bucket copies instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_named(server, "invoices", |object| leave_shared(&mut object["spec"])),
};

fn leave_shared(spec: &mut Value) {
    spec["rules"][0]["destination"] = json!({"bucket": "copies"});
}

const ADD_FINALIZER: Act = Act {
    name: "adds-finalizer",
    sentence: "Another controller adds its finalizer to data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        resource(server, |object| {
            if !object["metadata"]["deletionTimestamp"].is_null() {
                return;
            }
            let held = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            let theirs = json!("example.com/backup");
            if !held.contains(&theirs) {
                object["metadata"]["finalizers"] = held.into_iter().chain([theirs]).collect();
            }
        })
    },
};

const DELETE: Act = Act {
    name: "deletes",
    sentence: "The user deletes data/orders",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "orders"),
};

const TWIN_DELETE: Act = Act {
    name: "twin-deletes",
    sentence: "The user deletes data/invoices",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "invoices"),
};

fn delete(server: &mut ApiServer, name: &str) -> bool {
    let name = ObjectName::replication("data", name);
    let deleted =
        server.objects.get(&name).is_none_or(|object| !object["metadata"]["deletionTimestamp"].is_null());
    if !deleted {
        server.delete(&name);
    }
    !deleted
}

const STRIP: Act = Act {
    name: "strips-finalizer",
    sentence: "The user strips the finalizers of data/orders",
    budget: Budget::Deletions,
    effect: |_, server| resource(server, |object| object["metadata"]["finalizers"] = Value::Null),
};

const SUSPEND_VERSIONING: Act = Act {
    name: "suspends-versioning",
    sentence: "Someone suspends versioning of bucket copies",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let enabled = world.buckets.get("copies").is_some_and(|b| b.versioning == VersioningStatus::Enabled);
        enabled && world.suspend_versioning("copies").is_ok()
    },
};

const REPLACE_CONFIGURATION: Act = Act {
    name: "replaces-configuration",
    sentence: "Someone replaces the replication configuration of bucket orders with their own",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(bucket) = world.buckets.get_mut("orders") else { return false };
        let theirs = foreign_configuration();
        bucket.versioning == VersioningStatus::Enabled
            && bucket.configuration.replace(theirs.clone()).as_ref() != Some(&theirs)
    },
};

const REMOVE_CONFIGURATION: Act = Act {
    name: "removes-configuration",
    sentence: "Someone removes the replication configuration of bucket orders",
    budget: Budget::Outsiders,
    effect: |world, _| {
        world.buckets.get_mut("orders").is_some_and(|bucket| bucket.configuration.take().is_some())
    },
};

const DELETE_ROLE: Act = Act {
    name: "deletes-role",
    sentence: "Someone deletes role orders-role with its policy",
    budget: Budget::Outsiders,
    effect: |world, _| {
        if let Some(role) = world.role_mut(HERE, "orders-role") {
            role.policy = None;
        }
        world.delete_role(HERE, "orders-role").is_ok()
    },
};

const RETAG_ROLE: Act = Act {
    name: "retags-role",
    sentence: "Someone hands role orders-role to another cluster, by its tags",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.role_mut(HERE, "orders-role") else { return false };
        let theirs = foreign_tags();
        std::mem::replace(&mut role.tags, theirs.clone()) != theirs
    },
};

const ADD_TAG: Act = Act {
    name: "adds-tag",
    sentence: "Someone puts a tag cost-center on role orders-role",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.role_mut(HERE, "orders-role") else { return false };
        role.tags.insert("cost-center".to_owned(), "7".to_owned()).is_none()
    },
};

const ADD_STATEMENT: Act = Act {
    name: "adds-statement",
    sentence: "Someone adds a statement to the policy of bucket replicas",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(bucket) = world.buckets.get_mut("replicas") else { return false };
        let policy = bucket.policy.get_or_insert_with(|| json!({"Version": "2012-10-17", "Statement": []}));
        let Some(statements) = policy["Statement"].as_array_mut() else { return false };
        let theirs = their_statement("Added");
        let added = !statements.contains(&theirs);
        if added {
            statements.push(theirs);
        }
        added
    },
};

const REMOVE_STATEMENTS: Act = Act {
    name: "restores-policy",
    sentence: "Someone puts the policy of bucket replicas back as it was at first",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let first = first_policy();
        let Some(bucket) = world.buckets.get_mut("replicas") else { return false };
        bucket.policy.replace(first.clone()).as_ref() != Some(&first)
    },
};

const TIGHTEN_ACCOUNT: Act = Act {
    name: "tightens-account",
    sentence: "The administrator takes the source orders out of AwsAccount default",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let allowed = |server: &ApiServer| {
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] != json!(["invoices"]))
        };
        allowed(server) && {
            server.edit(&name, |object| object["spec"]["sources"] = json!(["invoices"]));
            true
        }
    },
};

const ALLOW_ELDER: Act = Act {
    name: "allows-elder",
    sentence: "The administrator lets AwsAccount other take the source orders, for which data/elder asks",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("other");
        let forbidden =
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] != json!(["orders"]));
        server.edit(&name, |object| object["spec"]["sources"] = json!(["orders"]));
        forbidden
    },
};

const DELETE_ACCOUNT: Act = Act {
    name: "deletes-account",
    sentence: "The administrator deletes AwsAccount default",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let there = server.objects.contains_key(&name);
        server.delete(&name);
        there
    },
};

const RECREATE_ACCOUNT: Act = Act {
    name: "recreates-account",
    sentence: "The administrator creates AwsAccount default again, as it was",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let gone = !server.objects.contains_key(&name);
        if gone {
            server.create(&name, default_account(), 0);
        }
        gone
    },
};

const RELABEL_NAMESPACE: Act = Act {
    name: "relabels-namespace",
    sentence: "The administrator takes the label team=a from namespace data",
    budget: Budget::Administrators,
    effect: |_, server| {
        server.namespaces.insert("data".to_owned(), Default::default()) != Some(Default::default())
    },
};

const STOP_TRUSTING: Act = Act {
    name: "stops-trusting",
    sentence: "Someone takes the operator out of the trust policy in account 444455556666",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let before = world.trusting_accounts.len();
        world.trusting_accounts.retain(|id| id != THERE);
        world.trusting_accounts.len() < before
    },
};

fn spec_of(bucket: &str) -> Value {
    json!({
        "source": {"bucket": bucket},
        "role": {"name": format!("{bucket}-role")},
        "rules": [{"id": "all", "destination": {"bucket": "copies"}}],
    })
}

fn buckets() -> World {
    let mut world = World::new(HERE);
    world.trusting_accounts = vec![HERE.to_owned(), THERE.to_owned()];
    for (name, region) in [("orders", "us-east-1"), ("copies", "eu-west-1"), ("archive", "eu-west-1")] {
        world.create_bucket(name, region, HERE);
    }
    world
}

fn data_namespace() -> ApiServer {
    let mut server = ApiServer::default();
    server.namespaces.insert("data".to_owned(), [("team".to_owned(), "a".to_owned())].into());
    server
}

fn one_account() -> (World, ApiServer) {
    let mut server = data_namespace();
    server.create(&ObjectName::replication("data", "orders"), spec_of("orders"), 0);
    (buckets(), server)
}

fn canary() -> (World, ApiServer) {
    let mut server = data_namespace();
    let mut account = default_account();
    account["allow"] = json!(["Canary"]);
    server.create(&ObjectName::account("default"), account, 0);
    let mut spec = spec_of("orders");
    // Longer than a trace lasts: what no check changes is at rest.
    spec["health"] = json!({"canary": {"interval": "24h"}});
    server.create(&ObjectName::replication("data", "orders"), spec, 0);
    (buckets(), server)
}

fn foreign_tags() -> std::collections::BTreeMap<String, String> {
    let tag = |key: &str, value: &str| (format!("s3replication.dev/{key}"), value.to_owned());
    [
        tag("cluster", "another-cluster"),
        tag("namespace", "data"),
        tag("name", "orders"),
        tag("uid", "uid-of-theirs"),
    ]
    .into()
}

fn foreign_configuration() -> Configuration {
    let rule = Rule {
        status: Switch::Enabled,
        priority: Some(1),
        filter: RuleFilter::default(),
        delete_markers: Switch::Disabled,
        replica_modifications: Switch::Disabled,
        kms_encrypted_objects: Switch::Disabled,
        destination: RuleDestination {
            bucket: "arn:aws:s3:::archive".to_owned(),
            account: None,
            storage_class: None,
            ownership: None,
            kms_key: None,
            replication_time_control: Switch::Disabled,
            metrics: Switch::Disabled,
        },
    };
    Configuration { role: FOREIGN_ROLE.to_owned(), rules: [("theirs".to_owned(), rule)].into() }
}

fn foreign() -> (World, ApiServer) {
    let (mut world, server) = one_account();
    let role = SimulatedRole {
        arn: format!("arn:aws:iam::{HERE}:role/s3-replication/orders-role"),
        name: "orders-role".to_owned(),
        path: "/s3-replication/".to_owned(),
        trust: crate::iam::document::trust_policy("s3.amazonaws.com").to_value(),
        permissions_boundary: None,
        tags: foreign_tags(),
        policy: Some(json!({"Version": "2012-10-17", "Statement": []})),
        other_policies: Vec::new(),
    };
    world.roles.insert((HERE.to_owned(), "orders-role".to_owned()), role);
    for name in ["orders", "archive"] {
        if let Some(bucket) = world.buckets.get_mut(name) {
            bucket.versioning = VersioningStatus::Enabled;
        }
    }
    if let Some(bucket) = world.buckets.get_mut("orders") {
        bucket.configuration = Some(foreign_configuration());
    }
    (world, server)
}

fn their_statement(sid: &str) -> Value {
    json!({"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject",
        "Resource": "arn:aws:s3:::replicas/*"})
}

fn first_policy() -> Value {
    json!({"Version": "2012-10-17", "Statement": [their_statement("First")]})
}

/// Buckets, and one of another account, with an `AwsAccount` for each account.
fn with_replicas() -> (World, ApiServer) {
    let mut world = buckets();
    world.create_bucket("replicas", "eu-west-1", THERE);
    if let Some(bucket) = world.buckets.get_mut("replicas") {
        bucket.policy = Some(first_policy());
    }
    let mut server = data_namespace();
    let here = json!({"accountId": HERE, "namespaces": {"matchNames": ["data"]},
        "sources": ["*"], "destinations": ["*"]});
    let there = json!({"accountId": THERE, "namespaces": {"matchNames": ["data"]}, "destinations": ["replicas"],
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")}});
    server.create(&ObjectName::account("default"), here, 0);
    server.create(&ObjectName::account("dr"), there, 0);
    (world, server)
}

fn two_destinations() -> (World, ApiServer) {
    let (world, mut server) = with_replicas();
    let mut spec = spec_of("orders");
    spec["rules"] = json!([
        {"id": "abroad", "priority": 2, "destination": {"bucket": "replicas", "accountRef": "dr"}},
        {"id": "all", "priority": 1, "destination": {"bucket": "copies"}},
    ]);
    server.create(&ObjectName::replication("data", "orders"), spec, 0);
    (world, server)
}

fn shared() -> (World, ApiServer) {
    let (mut world, mut server) = with_replicas();
    world.create_bucket("invoices", "us-east-1", HERE);
    for name in ["orders", "invoices"] {
        let mut spec = spec_of(name);
        spec["rules"][0]["destination"] = json!({"bucket": "replicas", "accountRef": "dr"});
        server.create(&ObjectName::replication("data", name), spec, 0);
    }
    (world, server)
}

fn default_account() -> Value {
    json!({"accountId": HERE, "namespaces": {"matchLabels": {"team": "a"}},
        "sources": ["orders"], "destinations": ["copies", "archive"]})
}

fn accounts() -> (World, ApiServer) {
    let (world, mut server) = one_account();
    server.create(&ObjectName::account("default"), default_account(), 0);
    let other = json!({"accountId": THERE, "namespaces": {"matchLabels": {"team": "a"}}, "sources": ["*"],
        "destinations": ["*"], "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")}});
    server.create(&ObjectName::account("other"), other, 0);
    (world, server)
}

fn rivals() -> (World, ApiServer) {
    let mut server = data_namespace();
    let allowing = |sources: Value| {
        json!({"accountId": HERE, "namespaces": {"matchNames": ["data"]}, "sources": sources,
            "destinations": ["*"]})
    };
    server.create(&ObjectName::account("default"), allowing(json!(["orders"])), 0);
    server.create(&ObjectName::account("other"), allowing(json!(["invoices"])), 0);
    let mut elder = spec_of("orders");
    elder["source"]["accountRef"] = json!("other");
    elder["role"] = json!({"name": "elder-role"});
    server.create(&ObjectName::replication("data", "elder"), elder, 0);
    server.create(&ObjectName::replication("data", "orders"), spec_of("orders"), 1);
    (buckets(), server)
}

/// The tag that names the cluster of a resource, and the one that names its UID.
pub fn owner_tags(uid: &str) -> [(String, String); 2] {
    let tag = |key: &str, value: &str| (format!("s3replication.dev/{key}"), value.to_owned());
    [tag("cluster", CLUSTER), tag("uid", uid)]
}
