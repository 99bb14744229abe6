//! Whether the operator is right to refuse a resource: worked out from what there is now, and not from what happened.
//!
//! In: a resource, its `AwsAccount`s, AWS, and who wrote the configuration of its source. Out: whether a reason of `Ready`
//! is one that the resource may stay with. A resource that could get what it asks for, and does not, converges wrongly.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::{BucketReplication, ManagementPolicy};
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::properties::{adopts, forbidden, is_owned, owner_before};
use crate::simulation::explore::truth::fault;
use crate::simulation::world::World;

/// The facts that decide whether a resource is refused.
pub struct PresentFacts<'a> {
    pub server: &'a ApiServer,
    pub world: &'a World,
    /// The resource, as the API server has it and decoded.
    pub json: &'a Value,
    pub object: &'a BucketReplication,
    /// There was an `AwsAccount` once.
    pub accounts_seen: bool,
    /// The configuration on the source, if there is one, was written for this resource last.
    pub is_configurations_writer: bool,
}

impl PresentFacts<'_> {
    /// Whether a resource that asks for something may stay with a reason.
    pub fn justify(&self, reason: &str) -> bool {
        let PresentFacts { server, object, accounts_seen, .. } = *self;
        let not_allowed = || forbidden(server, object, accounts_seen);
        match reason {
            "Applied" => true,
            "Suspended" => object.spec.suspend,
            "NotAllowed" => {
                not_allowed().is_some_and(|why| !is_of_account(&why)) || self.is_given_role_unbounded()
            }
            "AccountNotFound" => not_allowed().is_some_and(|why| is_of_account(&why)),
            "SourceConflict" => owner_before(server, object, accounts_seen).is_some(),
            "AccessDenied" => self.is_shut_out(&self.accounts_of_spec()),
            // S3 finds no versioning in a bucket of another account.
            "InvalidRequest" => self.is_shut_out(&self.accounts_of_spec()) || self.is_key_disabled(),
            "RoleNotFound" => self.is_given_role_gone(),
            "ForeignRole" => !adopts(object) && self.is_role_foreign(),
            "ForeignConfiguration" => !adopts(object) && self.is_configuration_foreign(),
            "Drifted" => {
                let observes = object.spec.management_policy == ManagementPolicy::Observe;
                observes && fault(server, self.json, self.world).is_some()
            }
            _ => false,
        }
    }

    /// Whether a deletion may wait with a reason: for an `AwsAccount` that is gone, or one in which the operator may not
    /// act.
    pub fn justify_waiting(&self, reason: &str) -> bool {
        let mut names = self.accounts_of_spec();
        collect_accounts(&self.json["status"], &mut names);
        let is_gone = |name: &String| !self.server.objects.contains_key(&ObjectName::account(name));
        match reason {
            "AccessDenied" => self.is_shut_out(&names),
            _ => self.accounts_seen && names.iter().any(is_gone),
        }
    }

    fn accounts_of_spec(&self) -> BTreeSet<String> {
        let spec = &self.json["spec"];
        let source = spec["source"]["accountRef"].as_str().unwrap_or("default");
        let mut names = BTreeSet::from([source.to_owned()]);
        collect_accounts(spec, &mut names);
        names
    }

    /// Whether the operator may not act in one of these accounts, or another account owns the source or a destination.
    fn is_shut_out(&self, names: &BTreeSet<String>) -> bool {
        let PresentFacts { server, world, json, .. } = *self;
        let account = |name: &str| server.objects.get(&ObjectName::account(name)).map(|held| &held["spec"]);
        let id = |name: &str| account(name).and_then(|account| account["accountId"].as_str());
        let distrusts = |name: &String| {
            let assumes = account(name).is_some_and(|account| !account["assumeRole"].is_null());
            assumes && id(name).is_some_and(|id| !world.trusting_accounts.iter().any(|held| held == id))
        };
        let source = &json["spec"]["source"];
        let own = source["accountRef"].as_str().unwrap_or("default");
        let own_id = id(own).unwrap_or(&world.own_account);
        let is_anothers = |bucket: &Value, owner: &str| {
            let held = bucket.as_str().and_then(|name| world.buckets.get(name));
            held.is_some_and(|held| held.account_id != owner)
        };
        let mut to = json["spec"]["rules"].as_array().into_iter().flatten().map(|rule| &rule["destination"]);
        let owner_of = |to: &Value| to["accountRef"].as_str().and_then(id).unwrap_or(own_id).to_owned();
        names.iter().any(distrusts)
            || is_anothers(&source["bucket"], own_id)
            || to.any(|to| is_anothers(&to["bucket"], &owner_of(to)))
    }

    fn own_id(&self) -> &str {
        let name = self.object.spec.source.account_ref.as_deref().unwrap_or("default");
        let account = self.server.objects.get(&ObjectName::account(name));
        account.and_then(|held| held["spec"]["accountId"].as_str()).unwrap_or(&self.world.own_account)
    }

    /// Whether the spec names a role that someone else is to make, and there is none.
    fn is_given_role_gone(&self) -> bool {
        let arn = self.json["spec"]["role"]["arn"].as_str();
        arn.is_some_and(|arn| self.world.role_by_arn(arn).is_none())
    }

    /// Whether a key that a rule names encrypts nothing.
    fn is_key_disabled(&self) -> bool {
        disabled_key(self.json, self.world).is_some()
    }

    /// Whether the spec names a role without the boundary that the account of the source imposes.
    fn is_given_role_unbounded(&self) -> bool {
        let source = self.object.spec.source.account_ref.as_deref().unwrap_or("default");
        let account = self.server.objects.get(&ObjectName::account(source));
        let imposed = account.and_then(|account| account["spec"]["roles"]["permissionsBoundary"].as_str());
        let role = self.json["spec"]["role"]["arn"].as_str().and_then(|arn| self.world.role_by_arn(arn));
        imposed.is_some() && role.is_some_and(|role| role.permissions_boundary.as_deref() != imposed)
    }

    /// Whether the role that the spec names is someone else's, by its tags.
    fn is_role_foreign(&self) -> bool {
        let metadata = &self.object.metadata;
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        let default = format!("{}.{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        let named = self.object.spec.role.as_ref().and_then(|role| role.name.as_ref()).unwrap_or(&default);
        let uid = metadata.uid.as_deref().unwrap_or_default();
        self.world.role(self.own_id(), named).is_some_and(|role| !is_owned(role, uid))
    }

    fn is_configuration_foreign(&self) -> bool {
        let held = self.world.buckets.get(&self.object.spec.source.bucket);
        held.is_some_and(|held| held.configuration.is_some()) && !self.is_configurations_writer
    }
}

/// The first key that a rule names and that encrypts nothing, by its ARN.
pub fn disabled_key<'a>(object: &'a Value, world: &World) -> Option<&'a str> {
    let rules = object["spec"]["rules"].as_array().into_iter().flatten();
    let mut keys = rules.filter_map(|rule| rule["destination"]["kmsKeyArn"].as_str());
    keys.find(|key| world.keys.get(*key).is_none_or(|state| state != "Enabled"))
}

/// Whether the accounts forbid something because one of them is not there.
fn is_of_account(why: &str) -> bool {
    why.contains("does not exist")
}

/// The names of all `AwsAccount`s in a part of an object.
fn collect_accounts(part: &Value, names: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            names.extend(fields.get("accountRef").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect_accounts(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_accounts(item, names)),
        _ => {}
    }
}
