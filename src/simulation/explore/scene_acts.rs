//! The acts of people in the scenes, a constant for each act.
//!
//! In: nothing. Out: acts, which `scene.rs` lists for each scene. A new act begins here; acts on backfills are in
//! `backfills.rs`.

use serde_json::{Value, json};

use crate::api::Switch;
use crate::replication::observed::VersioningStatus;
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::act::{Act, HERE, THERE};
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::scene_beginnings::{
    default_account, first_policy, foreign_configuration, foreign_tags, spec_of, their_statement,
};
use crate::simulation::world::World;

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

pub(super) const EDIT_DESTINATION: Act = Act {
    name: "edits-destination",
    sentence: "The user sends the replicas of data/orders to bucket archive",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["rules"][0]["destination"]["bucket"] = json!("archive"))
    },
};

pub(super) const EDIT_DESTINATION_BACK: Act = Act {
    name: "edits-destination-back",
    sentence: "The user sends the replicas of data/orders to bucket copies again",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["rules"][0]["destination"]["bucket"] = json!("copies")),
};

pub(super) const RENAME_ROLE: Act = Act {
    name: "renames-role",
    sentence: "The user renames the role of data/orders to orders-role-2",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role-2")),
};

pub(super) const RENAME_ROLE_AGAIN: Act = Act {
    name: "renames-role-again",
    sentence: "The user renames the role of data/orders to orders-role-3",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role-3")),
};

pub(super) const RENAME_ROLE_BACK: Act = Act {
    name: "renames-role-back",
    sentence: "The user gives the role of data/orders its first name again",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role")),
};

pub(super) const OBSERVE: Act = Act {
    name: "sets-observe",
    sentence: "The user sets managementPolicy: Observe on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["managementPolicy"] = json!("Observe")),
};

pub(super) const SUSPEND: Act = Act {
    name: "suspends",
    sentence: "The user suspends data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["suspend"] = json!(true)),
};

pub(super) const RETAIN: Act = Act {
    name: "retains",
    sentence: "The user sets deletionPolicy: Retain on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["deletionPolicy"] = json!("Retain")),
};

pub(super) const RESUME: Act = Act {
    name: "resumes",
    sentence: "The user sets suspend: false on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["suspend"] = json!(false)),
};

pub(super) const REQUEST: Act = Act {
    name: "requests-check",
    sentence: "The user asks for a check of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        resource(server, |object| {
            object["metadata"]["annotations"][crate::api::REQUESTED_AT] = json!("2026-01-01T00:00:00Z");
        })
    },
};

pub(super) const MOVE_CANARIES: Act = Act {
    name: "moves-canaries",
    sentence: "The user gives the canaries of data/orders another prefix",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["health"]["canary"] = json!({"interval": "24h", "prefix": "new/"}))
    },
};

pub(super) const STOP_CANARIES: Act = Act {
    name: "stops-canaries",
    sentence: "The user asks for no canaries of data/orders any more",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["health"] = json!({})),
};

pub(super) const FORBID_CANARIES: Act = Act {
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

pub(super) const ADOPT: Act = Act {
    name: "sets-adopt",
    sentence: "The user sets adoptionPolicy: Adopt on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["adoptionPolicy"] = json!("Adopt")),
};

pub(super) const REFUSE: Act = Act {
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

pub(super) const NAME_OTHER_ACCOUNT: Act = Act {
    name: "names-other-account",
    sentence: "The user names AwsAccount other for the source of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["source"]["accountRef"] = json!("other")),
};

pub(super) const LEAVE_SHARED: Act = Act {
    name: "leaves-shared-bucket",
    sentence: "The user sends the replicas of data/orders to bucket copies instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_named(server, "orders", |object| leave_shared(&mut object["spec"])),
};

pub(super) const TWIN_LEAVES_SHARED: Act = Act {
    name: "twin-leaves-shared-bucket",
    sentence: "The user sends the replicas of data/invoices to bucket copies instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_named(server, "invoices", |object| leave_shared(&mut object["spec"])),
};

fn leave_shared(spec: &mut Value) {
    spec["rules"][0]["destination"] = json!({"bucket": "copies"});
}

pub(super) const ADD_FINALIZER: Act = Act {
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

pub(super) const DELETE: Act = Act {
    name: "deletes",
    sentence: "The user deletes data/orders",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "orders"),
};

pub(super) const TWIN_DELETE: Act = Act {
    name: "twin-deletes",
    sentence: "The user deletes data/invoices",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "invoices"),
};

pub(super) const DELETE_ELDER: Act = Act {
    name: "deletes-elder",
    sentence: "The user deletes data/elder",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "elder"),
};

/// The user then owns what is left of the first one in AWS.
pub(super) const REPLACE_RESOURCE: Act = Act {
    name: "replaces-resource",
    sentence: "The user strips the finalizers of data/orders, deletes it and creates it again",
    budget: Budget::Deletions,
    effect: |_, server| {
        let name = ObjectName::replication("data", "orders");
        let Some(spec) = server.objects.get(&name).map(|object| object["spec"].clone()) else { return false };
        server.edit(&name, |object| object["metadata"]["finalizers"] = Value::Null);
        server.delete(&name);
        server.create(&name, spec, 0);
        true
    },
};

pub(super) const CREATE_AGAIN: Act = Act {
    name: "creates-again",
    sentence: "The user creates data/orders again, after it is gone",
    budget: Budget::Deletions,
    effect: |_, server| {
        let name = ObjectName::replication("data", "orders");
        let gone = !server.objects.contains_key(&name);
        if gone {
            server.create(&name, spec_of("orders"), 0);
        }
        gone
    },
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

pub(super) const STRIP: Act = Act {
    name: "strips-finalizer",
    sentence: "The user strips the finalizers of data/orders",
    budget: Budget::Deletions,
    effect: |_, server| resource(server, |object| object["metadata"]["finalizers"] = Value::Null),
};

pub(super) const SUSPEND_VERSIONING: Act = Act {
    name: "suspends-versioning",
    sentence: "Someone suspends versioning of bucket copies",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let enabled = world.buckets.get("copies").is_some_and(|b| b.versioning == VersioningStatus::Enabled);
        enabled && world.suspend_versioning("copies").is_ok()
    },
};

pub(super) const REPLACE_CONFIGURATION: Act = Act {
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

pub(super) const REMOVE_CONFIGURATION: Act = Act {
    name: "removes-configuration",
    sentence: "Someone removes the replication configuration of bucket orders",
    budget: Budget::Outsiders,
    effect: |world, _| {
        world.buckets.get_mut("orders").is_some_and(|bucket| bucket.configuration.take().is_some())
    },
};

pub(super) const DELETE_ROLE: Act = Act {
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

pub(super) const RETAG_ROLE: Act = Act {
    name: "retags-role",
    sentence: "Someone hands role orders-role to another cluster, by its tags",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.role_mut(HERE, "orders-role") else { return false };
        let theirs = foreign_tags();
        std::mem::replace(&mut role.tags, theirs.clone()) != theirs
    },
};

pub(super) const ADD_TAG: Act = Act {
    name: "adds-tag",
    sentence: "Someone puts a tag cost-center on role orders-role",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.role_mut(HERE, "orders-role") else { return false };
        role.tags.insert("cost-center".to_owned(), "7".to_owned()).is_none()
    },
};

pub(super) const ADD_STATEMENT: Act = Act {
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

pub(super) const REMOVE_STATEMENTS: Act = Act {
    name: "restores-policy",
    sentence: "Someone puts the policy of bucket replicas back as it was at first",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let first = first_policy();
        let Some(bucket) = world.buckets.get_mut("replicas") else { return false };
        bucket.policy.replace(first.clone()).as_ref() != Some(&first)
    },
};

pub(super) const TIGHTEN_ACCOUNT: Act = Act {
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

pub(super) const ALLOW_AGAIN: Act = Act {
    name: "allows-again",
    sentence: "The administrator lets AwsAccount default take the source orders again",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let tightened =
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] == json!(["invoices"]));
        server.edit(&name, |object| object["spec"]["sources"] = json!(["orders"]));
        tightened
    },
};

pub(super) const TIGHTEN_DESTINATION: Act = Act {
    name: "tightens-destination",
    sentence: "The administrator takes the destination replicas out of AwsAccount dr",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("dr");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["destinations"] != json!([]));
        server.edit(&name, |object| object["spec"]["destinations"] = json!([]));
        allowed
    },
};

pub(super) const DELETE_DESTINATION_ACCOUNT: Act = Act {
    name: "deletes-destination-account",
    sentence: "The administrator deletes AwsAccount dr",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("dr");
        let there = server.objects.contains_key(&name);
        server.delete(&name);
        there
    },
};

pub(super) const ALLOW_ELDER: Act = Act {
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

pub(super) const DELETE_ACCOUNT: Act = Act {
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

pub(super) const RECREATE_ACCOUNT: Act = Act {
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

pub(super) const RELABEL_NAMESPACE: Act = Act {
    name: "relabels-namespace",
    sentence: "The administrator takes the label team=a from namespace data",
    budget: Budget::Administrators,
    effect: |_, server| {
        server.namespaces.insert("data".to_owned(), Default::default()) != Some(Default::default())
    },
};

pub(super) const STOP_TRUSTING: Act = Act {
    name: "stops-trusting",
    sentence: "Someone takes the operator out of the trust policy in account 444455556666",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let before = world.trusting_accounts.len();
        world.trusting_accounts.retain(|id| id != THERE);
        world.trusting_accounts.len() < before
    },
};

pub(super) const TRUST_AGAIN: Act = Act {
    name: "trusts-again",
    sentence: "Someone puts the operator back into the trust policy in account 444455556666",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let trusts = world.trusting_accounts.iter().any(|id| id == THERE);
        if !trusts {
            world.trusting_accounts.push(THERE.to_owned());
        }
        !trusts
    },
};

pub(super) const DISABLE_RULES: Act = Act {
    name: "disables-rules",
    sentence: "The user disables every rule of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| {
            for rule in spec["rules"].as_array_mut().into_iter().flatten() {
                rule["status"] = json!("Disabled");
            }
        })
    },
};

pub(super) const REWRITE_RULES: Act = Act {
    name: "rewrites-rules",
    sentence: "The user changes every field of the rules of data/orders, and of its role",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| {
            spec["role"]["tags"] = json!({"cost-center": "8"});
            spec["role"]["permissionsBoundary"] = Value::Null;
            spec["replicate"] = json!({"tags": false});
            spec["rules"] = json!([
                {"id": "abroad", "status": "Disabled", "priority": 4, "filter": {"prefix": "out/"},
                    "destination": {"bucket": "replicas", "accountRef": "dr", "storageClass": "GLACIER",
                        "metrics": "Enabled"}},
                {"id": "every", "priority": 3, "filter": {"tags": {"kind": "order"}},
                    "replicaModifications": "Enabled", "destination": {"bucket": "copies"}},
            ]);
        })
    },
};

pub(super) const EDIT_RULES: Act = Act {
    name: "edits-rules",
    sentence: "Someone changes fields of the rules of bucket orders in AWS",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(bucket) = world.buckets.get_mut("orders") else { return false };
        let Some(configuration) = &mut bucket.configuration else { return false };
        for rule in configuration.rules.values_mut() {
            rule.priority = rule.priority.map(|priority| priority + 10);
            rule.filter.prefix = "theirs/".to_owned();
            rule.delete_markers = Switch::Disabled;
            rule.destination.storage_class = Some("GLACIER".to_owned());
            rule.destination.ownership = None;
            rule.destination.metrics = Switch::Disabled;
            rule.destination.replication_time_control = Switch::Disabled;
        }
        true
    },
};

pub(super) const WEAKEN_ROLE: Act = Act {
    name: "weakens-role",
    sentence: "Someone takes from role orders-role its boundary, a tag and a right, and lets another service assume it too",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.role_mut(HERE, "orders-role") else { return false };
        role.permissions_boundary = None;
        role.tags.remove("cost-center");
        if let Some(statement) = role.policy.as_mut().and_then(|policy| policy.pointer_mut("/Statement/1")) {
            statement["Action"] = json!("s3:GetObjectVersionForReplication");
        }
        role.trust["Statement"][0]["Principal"]["Service"] = json!(["s3.amazonaws.com", "ec2.amazonaws.com"]);
        true
    },
};

pub(super) const EDIT_STATEMENTS: Act = Act {
    name: "edits-statements",
    sentence: "Someone takes a right out of the statements of data/orders in the policy of bucket replicas",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(bucket) = world.buckets.get_mut("replicas") else { return false };
        let all = bucket.policy.as_mut().and_then(|policy| policy["Statement"].as_array_mut());
        let own = |held: &&mut Value| held["Sid"].as_str().is_some_and(|sid| sid.ends_with("Objects"));
        let Some(held) = all.and_then(|all| all.iter_mut().find(own)) else { return false };
        held["Action"] = json!(["s3:ReplicateObject", "s3:ReplicateTags"]);
        true
    },
};

pub(super) const MOVE_HOME: Act = Act {
    name: "moves-home",
    sentence: "The user sends the replicas of data/orders to bucket archive instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["rules"][0]["destination"] = json!({"bucket": "archive"}))
    },
};

pub(super) const FORBID_CANARIES_ABROAD: Act = Act {
    name: "forbids-canaries-abroad",
    sentence: "The administrator allows no canaries under AwsAccount dr any more",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("dr");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["allow"] == json!(["Canary"]));
        server.edit(&name, |object| object["spec"]["allow"] = json!([]));
        allowed
    },
};

pub(super) const FORBID_ELDER: Act = Act {
    name: "forbids-elder",
    sentence: "The administrator takes the source orders out of AwsAccount other",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("other");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] == json!(["orders"]));
        server.edit(&name, |object| object["spec"]["sources"] = json!(["invoices"]));
        allowed
    },
};

pub(super) const NAME_OWN_ROLE: Act = Act {
    name: "names-own-role",
    sentence: "The user lets data/orders have its own role orders-role",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"] = json!({"name": "orders-role"})),
};

pub(super) const DELETE_GIVEN_ROLE: Act = Act {
    name: "deletes-given-role",
    sentence: "Someone deletes role given with its policy",
    budget: Budget::Outsiders,
    effect: |world, _| {
        if let Some(role) = world.role_mut(HERE, "given") {
            role.policy = None;
        }
        world.delete_role(HERE, "given").is_ok()
    },
};

pub(super) const IMPOSE_BOUNDARY: Act = Act {
    name: "imposes-boundary",
    sentence: "The administrator imposes a permissions boundary on roles under AwsAccount default",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let boundary = json!(format!("arn:aws:iam::{HERE}:policy/imposed"));
        let is_free = server
            .objects
            .get(&name)
            .is_some_and(|object| object["spec"]["roles"]["permissionsBoundary"] != boundary);
        server.edit(&name, |object| object["spec"]["roles"] = json!({"permissionsBoundary": boundary}));
        is_free
    },
};

pub(super) const TAKE_SOURCE: Act = Act {
    name: "takes-source",
    sentence: "Someone deletes bucket orders, and another account makes one of that name",
    budget: Budget::Outsiders,
    effect: |world, _| take_bucket(world, "orders", "us-east-1"),
};

pub(super) const TAKE_DESTINATION: Act = Act {
    name: "takes-destination",
    sentence: "Someone deletes bucket copies, and another account makes one of that name",
    budget: Budget::Outsiders,
    effect: |world, _| take_bucket(world, "copies", "eu-west-1"),
};

/// An account that nobody let the operator into.
const STRANGER: &str = "777788889999";

fn take_bucket(world: &mut World, name: &str, region: &str) -> bool {
    let is_free = world.buckets.get(name).is_some_and(|bucket| bucket.account_id != STRANGER);
    world.create_bucket(name, region, STRANGER);
    is_free
}

pub(super) const DROP_TAGS: Act = Act {
    name: "drops-tags",
    sentence: "The user takes the tags of the role out of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["tags"] = json!({})),
};
