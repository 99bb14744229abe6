//! The acts of users on their resources, and of other controllers on the same objects.
//!
//! In: the API server. Out: a constant for each act, which `scene.rs` lists for scenes. Acts on backfills are in
//! `backfills.rs`.

use serde_json::{Value, json};

use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::act::Act;
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::scene_beginnings::spec_of;

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

pub const EDIT_DESTINATION: Act = Act {
    name: "edits-destination",
    sentence: "The user sends the replicas of data/orders to bucket archive",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["rules"][0]["destination"]["bucket"] = json!("archive"))
    },
};

pub const EDIT_DESTINATION_BACK: Act = Act {
    name: "edits-destination-back",
    sentence: "The user sends the replicas of data/orders to bucket copies again",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["rules"][0]["destination"]["bucket"] = json!("copies")),
};

pub const RENAME_ROLE: Act = Act {
    name: "renames-role",
    sentence: "The user renames the role of data/orders to orders-role-2",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role-2")),
};

pub const RENAME_ROLE_AGAIN: Act = Act {
    name: "renames-role-again",
    sentence: "The user renames the role of data/orders to orders-role-3",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role-3")),
};

pub const RENAME_ROLE_BACK: Act = Act {
    name: "renames-role-back",
    sentence: "The user gives the role of data/orders its first name again",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["name"] = json!("orders-role")),
};

pub const OBSERVE: Act = Act {
    name: "sets-observe",
    sentence: "The user sets managementPolicy: Observe on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["managementPolicy"] = json!("Observe")),
};

pub const ENFORCE: Act = Act {
    name: "sets-enforce",
    sentence: "The user sets managementPolicy: Enforce on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["managementPolicy"] = json!("Enforce")),
};

pub const SUSPEND: Act = Act {
    name: "suspends",
    sentence: "The user suspends data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["suspend"] = json!(true)),
};

pub const RETAIN: Act = Act {
    name: "retains",
    sentence: "The user sets deletionPolicy: Retain on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["deletionPolicy"] = json!("Retain")),
};

pub const RESUME: Act = Act {
    name: "resumes",
    sentence: "The user sets suspend: false on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["suspend"] = json!(false)),
};

pub const REQUEST: Act = Act {
    name: "requests-check",
    sentence: "The user asks for a check of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        resource(server, |object| {
            object["metadata"]["annotations"][crate::api::REQUESTED_AT] = json!("2026-01-01T00:00:00Z");
        })
    },
};

pub const MOVE_CANARIES: Act = Act {
    name: "moves-canaries",
    sentence: "The user gives the canaries of data/orders another prefix",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["health"]["canary"] = json!({"interval": "24h", "prefix": "new/"}))
    },
};

pub const STOP_CANARIES: Act = Act {
    name: "stops-canaries",
    sentence: "The user asks for no canaries of data/orders any more",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["health"] = json!({})),
};

pub const ADOPT: Act = Act {
    name: "sets-adopt",
    sentence: "The user sets adoptionPolicy: Adopt on data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["adoptionPolicy"] = json!("Adopt")),
};

pub const REFUSE: Act = Act {
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

pub const NAME_OTHER_ACCOUNT: Act = Act {
    name: "names-other-account",
    sentence: "The user names AwsAccount other for the source of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["source"]["accountRef"] = json!("other")),
};

pub const LEAVE_SHARED: Act = Act {
    name: "leaves-shared-bucket",
    sentence: "The user sends the replicas of data/orders to bucket copies instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_named(server, "orders", |object| leave_shared(&mut object["spec"])),
};

pub const TWIN_LEAVES_SHARED: Act = Act {
    name: "twin-leaves-shared-bucket",
    sentence: "The user sends the replicas of data/invoices to bucket copies instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_named(server, "invoices", |object| leave_shared(&mut object["spec"])),
};

fn leave_shared(spec: &mut Value) {
    spec["rules"][0]["destination"] = json!({"bucket": "copies"});
}

pub const ADD_FINALIZER: Act = Act {
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

pub const DELETE: Act = Act {
    name: "deletes",
    sentence: "The user deletes data/orders",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "orders"),
};

pub const TWIN_DELETE: Act = Act {
    name: "twin-deletes",
    sentence: "The user deletes data/invoices",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "invoices"),
};

pub const DELETE_ELDER: Act = Act {
    name: "deletes-elder",
    sentence: "The user deletes data/elder",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, "elder"),
};

/// The user then owns what is left of the first one in AWS.
pub const REPLACE_RESOURCE: Act = Act {
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

pub const CREATE_AGAIN: Act = Act {
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

pub const STRIP: Act = Act {
    name: "strips-finalizer",
    sentence: "The user strips the finalizers of data/orders",
    budget: Budget::Deletions,
    effect: |_, server| resource(server, |object| object["metadata"]["finalizers"] = Value::Null),
};

pub const DISABLE_RULES: Act = Act {
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

pub const REWRITE_RULES: Act = Act {
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

pub const MOVE_HOME: Act = Act {
    name: "moves-home",
    sentence: "The user sends the replicas of data/orders to bucket archive instead of bucket replicas",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        edit_spec(server, |spec| spec["rules"][0]["destination"] = json!({"bucket": "archive"}))
    },
};

pub const NAME_OWN_ROLE: Act = Act {
    name: "names-own-role",
    sentence: "The user lets data/orders have its own role orders-role",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"] = json!({"name": "orders-role"})),
};

pub const DROP_TAGS: Act = Act {
    name: "drops-tags",
    sentence: "The user takes the tags of the role out of data/orders",
    budget: Budget::SpecChanges,
    effect: |_, server| edit_spec(server, |spec| spec["role"]["tags"] = json!({})),
};
