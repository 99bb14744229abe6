//! The scenes of backfills: what there is at first, and what people may do.
//!
//! In: nothing. Out: beginnings and acts, which `scene.rs` lists. A replication is there and Ready, as its controller
//! would have left it. The choices that AWS leaves open differ between the scenes: whether S3 still knows a token, and
//! whether it lists a new job at once.

use serde_json::{Value, json};

use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::act::{Act, HERE};
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::scene_beginnings::foreign_tags;
use crate::simulation::world::World;

/// The names of the backfills.
pub const FIRST: &str = "orders-november";
pub const SECOND: &str = "orders-december";

/// The name of their replication.
pub const PARENT: &str = "orders-to-eu";

const NAMESPACE: &str = "data";

pub const CANCEL: Act = Act {
    name: "cancels",
    sentence: "The user cancels the backfill data/orders-november",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        let name = ObjectName::backfill(NAMESPACE, FIRST);
        set(server, &name, "cancel", json!(true))
    },
};

pub const APPROVE: Act = Act {
    name: "approves",
    sentence: "The user approves the job of the backfill data/orders-november",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        let name = ObjectName::backfill(NAMESPACE, FIRST);
        set(server, &name, "approved", json!(true))
    },
};

pub const DELETE: Act = Act {
    name: "deletes-backfill",
    sentence: "The user deletes the backfill data/orders-november",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, &ObjectName::backfill(NAMESPACE, FIRST)),
};

pub const DELETE_PARENT: Act = Act {
    name: "deletes-replication",
    sentence: "The user deletes the replication data/orders-to-eu",
    budget: Budget::Deletions,
    effect: |_, server| delete(server, &ObjectName::replication(NAMESPACE, PARENT)),
};

pub const SUSPEND_PARENT: Act = Act {
    name: "suspends-replication",
    sentence: "The user suspends the replication data/orders-to-eu",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        let name = ObjectName::replication(NAMESPACE, PARENT);
        set(server, &name, "suspend", json!(true))
    },
};

pub const FORBID: Act = Act {
    name: "forbids-backfills",
    sentence: "The administrator allows no backfills under AwsAccount default any more",
    budget: Budget::Administrators,
    effect: |_, server| set(server, &ObjectName::account("default"), "allow", json!([])),
};

/// The replication is Ready with its new source at once: nobody checks it in these scenes.
pub const MOVE_PARENT: Act = Act {
    name: "moves-replication",
    sentence: "The user makes data/orders-to-eu replicate bucket invoices, and it is Ready again",
    budget: Budget::SpecChanges,
    effect: |_, server| {
        let name = ObjectName::replication(NAMESPACE, PARENT);
        let changes = set(server, &name, "source", json!({"bucket": "invoices"}));
        server.edit(&name, |object| {
            object["status"]["observedGeneration"] = object["metadata"]["generation"].clone();
            object["status"]["source"]["bucket"] = json!("invoices");
        });
        changes
    },
};

pub const RETAG_ROLE: Act = Act {
    name: "retags-job-role",
    sentence: "Someone hands the role of the job to another cluster, by its tags",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.roles.values_mut().next() else { return false };
        std::mem::replace(&mut role.tags, foreign_tags()) != foreign_tags()
    },
};

/// Sets a field of a spec; `false`: it has this value already, or the object is gone.
fn set(server: &mut ApiServer, name: &ObjectName, field: &str, value: Value) -> bool {
    let held = server.objects.get(name).map(|object| object["spec"][field].clone());
    let changes = held.is_some_and(|held| held != value);
    if changes {
        server.edit(name, |object| object["spec"][field] = value);
    }
    changes
}

fn delete(server: &mut ApiServer, name: &ObjectName) -> bool {
    let there =
        server.objects.get(name).is_some_and(|object| object["metadata"]["deletionTimestamp"].is_null());
    if there {
        server.delete(name);
    }
    there
}

pub fn plain() -> (World, ApiServer) {
    let mut world = World::new(HERE);
    world.trusting_accounts = vec![HERE.to_owned()];
    world.create_bucket("orders", "us-east-1", HERE);
    world.jobs.objects = 3;
    let mut server = ApiServer::default();
    server.namespaces.insert(NAMESPACE.to_owned(), Default::default());
    let account = json!({"accountId": HERE, "namespaces": {"matchNames": [NAMESPACE]}, "sources": ["*"],
        "destinations": ["*"], "allow": ["Backfill"]});
    server.create(&ObjectName::account("default"), account, 0);
    let parent = ObjectName::replication(NAMESPACE, PARENT);
    let spec = json!({"source": {"bucket": "orders"}, "rules": [{"id": "all", "destination": {"bucket": "copies"}}]});
    server.create(&parent, spec, 0);
    server.edit(&parent, |object| {
        object["status"] = json!({
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Applied", "message": "",
                "lastTransitionTime": "1970-01-01T00:00:00Z"}],
            "source": {"bucket": "orders", "region": "us-east-1", "account": HERE, "accountRef": "default"},
        });
    });
    create(&mut server, FIRST);
    (world, server)
}

fn create(server: &mut ApiServer, name: &str) {
    server.create(&ObjectName::backfill(NAMESPACE, name), json!({"replicationRef": {"name": PARENT}}), 0);
}

/// The job waits until the user approves it.
pub fn approval() -> (World, ApiServer) {
    let (world, mut server) = plain();
    set(&mut server, &ObjectName::backfill(NAMESPACE, FIRST), "approval", json!("Manual"));
    (world, server)
}

pub fn listed_late() -> (World, ApiServer) {
    let (mut world, server) = plain();
    world.jobs.lists_late = true;
    (world, server)
}

pub fn token_forgotten() -> (World, ApiServer) {
    let (mut world, server) = plain();
    world.jobs.forgets_tokens = true;
    (world, server)
}

pub fn queue() -> (World, ApiServer) {
    let (world, mut server) = plain();
    create(&mut server, SECOND);
    (world, server)
}
