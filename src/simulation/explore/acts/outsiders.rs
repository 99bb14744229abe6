//! The acts of people who change AWS beside the operator.
//!
//! In: the simulated AWS. Out: a constant for each act, which `scene.rs` lists for scenes.

use serde_json::{Value, json};

use crate::api::Switch;
use crate::replication::Rule;
use crate::replication::observed::VersioningStatus;
use crate::simulation::explore::act::{Act, HERE, THERE};
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::scene_beginnings::{
    KEY, first_policy, foreign_configuration, foreign_tags, their_statement,
};
use crate::simulation::world::World;

pub const SUSPEND_VERSIONING: Act = Act {
    name: "suspends-versioning",
    sentence: "Someone suspends versioning of bucket copies",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let enabled = world.buckets.get("copies").is_some_and(|b| b.versioning == VersioningStatus::Enabled);
        enabled && world.suspend_versioning("copies").is_ok()
    },
};

pub const REPLACE_CONFIGURATION: Act = Act {
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

pub const REMOVE_CONFIGURATION: Act = Act {
    name: "removes-configuration",
    sentence: "Someone removes the replication configuration of bucket orders",
    budget: Budget::Outsiders,
    effect: |world, _| {
        world.buckets.get_mut("orders").is_some_and(|bucket| bucket.configuration.take().is_some())
    },
};

pub const DELETE_ROLE: Act = Act {
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

pub const RETAG_ROLE: Act = Act {
    name: "retags-role",
    sentence: "Someone hands role orders-role to another cluster, by its tags",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.role_mut(HERE, "orders-role") else { return false };
        let theirs = foreign_tags();
        std::mem::replace(&mut role.tags, theirs.clone()) != theirs
    },
};

pub const ADD_TAG: Act = Act {
    name: "adds-tag",
    sentence: "Someone puts a tag cost-center on role orders-role",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(role) = world.role_mut(HERE, "orders-role") else { return false };
        role.tags.insert("cost-center".to_owned(), "7".to_owned()).is_none()
    },
};

pub const ADD_STATEMENT: Act = Act {
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

pub const REMOVE_STATEMENTS: Act = Act {
    name: "restores-policy",
    sentence: "Someone puts the policy of bucket replicas back as it was at first",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let first = first_policy();
        let Some(bucket) = world.buckets.get_mut("replicas") else { return false };
        bucket.policy.replace(first.clone()).as_ref() != Some(&first)
    },
};

pub const STOP_TRUSTING: Act = Act {
    name: "stops-trusting",
    sentence: "Someone takes the operator out of the trust policy in account 444455556666",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let before = world.trusting_accounts.len();
        world.trusting_accounts.retain(|id| id != THERE);
        world.trusting_accounts.len() < before
    },
};

pub const TRUST_AGAIN: Act = Act {
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

pub const EDIT_RULES: Act = Act {
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

pub const WEAKEN_ROLE: Act = Act {
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

pub const EDIT_STATEMENTS: Act = Act {
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

pub const DELETE_GIVEN_ROLE: Act = Act {
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

pub const TAKE_SOURCE: Act = Act {
    name: "takes-source",
    sentence: "Someone deletes bucket orders, and another account makes one of that name",
    budget: Budget::Outsiders,
    effect: |world, _| take_bucket(world, "orders", "us-east-1"),
};

pub const TAKE_DESTINATION: Act = Act {
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

pub const ADD_RULE: Act = Act {
    name: "adds-rule",
    sentence: "Someone adds a rule to the replication configuration of bucket orders",
    budget: Budget::Outsiders,
    effect: |world, _| {
        let Some(bucket) = world.buckets.get_mut("orders") else { return false };
        let Some(configuration) = &mut bucket.configuration else { return false };
        let theirs = foreign_configuration()
            .rules
            .into_iter()
            .map(|(id, rule)| (id, Rule { priority: Some(9), ..rule }));
        let before = configuration.rules.len();
        configuration.rules.extend(theirs);
        configuration.rules.len() > before
    },
};

pub const DISABLE_KEY: Act = Act {
    name: "disables-key",
    sentence: "Someone disables a key that encrypts replicas in bucket replicas",
    budget: Budget::Outsiders,
    effect: |world, _| world.keys.insert(KEY.to_owned(), "Disabled".to_owned()).as_deref() == Some("Enabled"),
};
