//! Whether AWS is as a status says: the whole spec of a resource against AWS, field by field.
//!
//! In: a resource and its `AwsAccount`s as the API server has them, and AWS. Out: the first thing that is not as `Ready` or
//! `InSync` says, in a sentence. The spec is read as JSON and compared naively: nothing of the operator's own comparison is
//! used, so that a fault in that one shows. A new field of a rule goes into [`asked`] and [`held`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::iam::bucket_policy;
use crate::replication::{Rule, VersioningStatus};
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::properties::{has_sid, statements, texts};
use crate::simulation::explore::scene_beginnings::owner_tags;
use crate::simulation::world::{SimulatedBucket, SimulatedRole, World};

/// One action that a statement allows: the principal (empty in a role's policy), the action, and the resource.
type AllowedAction = (String, String, String);

/// The condition of a resource that says that AWS is as its present spec asks for.
pub fn claim(object: &Value) -> Option<&str> {
    let is_of_now = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut claims = conditions.filter(|held| held["status"] == "True" && is_of_now);
    claims.find_map(|held| held["type"].as_str().filter(|kind| ["Ready", "InSync"].contains(kind)))
}

/// A claim of a resource that is untrue; `None`: it claims nothing, or all of it is true.
pub fn untrue(server: &ApiServer, object: &Value, world: &World) -> Option<String> {
    let kind = claim(object).filter(|_| object["metadata"]["deletionTimestamp"].is_null())?;
    let found = fault(server, object, world)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Some(format!("data/{name} is {kind}, and {found}"))
}

/// The first thing in AWS that is not as a resource asks for.
pub fn fault(server: &ApiServer, object: &Value, world: &World) -> Option<String> {
    let asking = Asking { server, object, spec: &object["spec"], world };
    asking
        .fault_of_buckets()
        .or_else(|| asking.fault_of_role())
        .or_else(|| asking.fault_of_configuration())
        .or_else(|| asking.fault_of_bucket_policies())
}

/// Whether the configuration of the source is as a resource asks for.
pub fn has_configuration(server: &ApiServer, object: &Value, world: &World) -> bool {
    let asking = Asking { server, object, spec: &object["spec"], world };
    asking.fault_of_configuration().is_none()
}

/// A resource, and what there is.
struct Asking<'a> {
    server: &'a ApiServer,
    object: &'a Value,
    spec: &'a Value,
    world: &'a World,
}

impl Asking<'_> {
    fn source(&self) -> &str {
        self.spec["source"]["bucket"].as_str().unwrap_or_default()
    }

    /// The spec of the `AwsAccount` that the source is in.
    fn account(&self) -> Option<&Value> {
        self.account_of(self.spec["source"]["accountRef"].as_str().unwrap_or("default"))
    }

    fn account_of(&self, name: &str) -> Option<&Value> {
        self.server.objects.get(&ObjectName::account(name)).map(|account| &account["spec"])
    }

    /// The id of the account that the source and the role are in.
    fn own_id(&self) -> &str {
        self.account().and_then(|account| account["accountId"].as_str()).unwrap_or(&self.world.own_account)
    }

    /// The id of the account that a destination is in.
    fn id_of<'b>(&'b self, to: &'b Value) -> &'b str {
        let by_account = to["accountRef"].as_str().and_then(|name| self.account_of(name));
        let by_account = by_account.and_then(|account| account["accountId"].as_str());
        by_account.or_else(|| to["account"].as_str()).unwrap_or_else(|| self.own_id())
    }

    /// Whether the operator may act on a destination.
    fn reaches(&self, to: &Value) -> bool {
        !to["accountRef"].is_null() || self.id_of(to) == self.own_id()
    }

    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.spec["rules"].as_array().into_iter().flatten()
    }

    fn destinations(&self) -> impl Iterator<Item = &Value> {
        self.rules().map(|rule| &rule["destination"]).filter(|to| self.reaches(to))
    }

    fn fault_of_buckets(&self) -> Option<String> {
        let source = (self.source(), self.own_id());
        let destinations =
            self.destinations().map(|to| (to["bucket"].as_str().unwrap_or_default(), self.id_of(to)));
        std::iter::once(source).chain(destinations).find_map(|(name, owner)| {
            let Some(bucket) = self.world.buckets.get(name) else {
                return Some(format!("bucket {name} does not exist"));
            };
            let SimulatedBucket { account_id, versioning, .. } = bucket;
            // A bucket whose name another account took looks like one whose versioning may not be read.
            if account_id != owner && !self.leaves_open("VersioningReady") {
                return Some(format!("bucket {name} belongs to account {account_id} and not to {owner}"));
            }
            let is_versioned =
                *versioning == VersioningStatus::Enabled || self.leaves_open("VersioningReady");
            (!is_versioned).then(|| format!("versioning of bucket {name} is {}", versioning.as_str()))
        })
    }

    /// Whether the status says, by a condition, that a part could not be read. `Ready` may go on beside that, because all was
    /// applied before, and `InSync` may not.
    fn leaves_open(&self, condition: &str) -> bool {
        let conditions = self.object["status"]["conditions"].as_array().into_iter().flatten();
        let says = |kind: &str, status: &str| {
            conditions.clone().any(|held| held["type"] == kind && held["status"] == status)
        };
        says(condition, "Unknown") && !says("InSync", "True")
    }

    /// The ARN of the role that the spec names.
    fn role_arn(&self) -> String {
        let (role, metadata) = (&self.spec["role"], &self.object["metadata"]);
        if let Some(arn) = role["arn"].as_str() {
            return arn.to_owned();
        }
        let imposed = self.account().and_then(|account| account["roles"]["path"].as_str());
        let path = role["path"].as_str().or(imposed).unwrap_or("/s3-replication/");
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let default = format!("{}.{}", text("namespace"), text("name"));
        let name = role["name"].as_str().unwrap_or(&default);
        format!("arn:aws:iam::{}:role{path}{name}", self.own_id())
    }

    fn fault_of_role(&self) -> Option<String> {
        let arn = self.role_arn();
        // A role of someone else may be one that the operator may not read.
        let is_given = !self.spec["role"]["arn"].is_null();
        if is_given && self.leaves_open("RoleReady") {
            return None;
        }
        let Some(role) = self.world.role_by_arn(&arn) else {
            return Some(format!("role {arn} does not exist"));
        };
        let name = &role.name;
        let trusting: Vec<Value> = statements(Some(&role.trust));
        let is_s3s = |statement: &Value| {
            texts(&statement["Principal"]["Service"]) == ["s3.amazonaws.com"]
                && texts(&statement["Action"]) == ["sts:AssumeRole"]
                && statement["Effect"] == "Allow"
        };
        let is_managed = !is_given;
        let is_trusted = match is_managed {
            true => trusting.len() == 1 && trusting.iter().all(is_s3s),
            false => trusting.iter().any(is_s3s),
        };
        if !is_trusted {
            return Some(format!("role {name} is not trusted to S3 alone"));
        }
        is_managed.then(|| self.fault_of_managed_role(role)).flatten()
    }

    fn fault_of_managed_role(&self, role: &SimulatedRole) -> Option<String> {
        let (name, asked) = (&role.name, &self.spec["role"]);
        let imposed = self.account().and_then(|account| account["roles"]["permissionsBoundary"].as_str());
        let boundary = asked["permissionsBoundary"].as_str().or(imposed);
        if role.permissions_boundary.as_deref() != boundary {
            return Some(format!("the boundary of role {name} is {:?}", role.permissions_boundary));
        }
        let text = |field: &str| self.object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let own = ["namespace", "name"].map(|field| (format!("s3replication.dev/{field}"), text(field)));
        let theirs = asked["tags"].as_object().into_iter().flatten();
        let theirs = theirs.map(|(tag, value)| (tag.clone(), value.as_str().unwrap_or_default().to_owned()));
        let mut tags = owner_tags(&text("uid")).into_iter().chain(own).chain(theirs);
        if let Some((tag, value)) = tags.find(|(tag, value)| role.tags.get(tag) != Some(value)) {
            return Some(format!("role {name} has no tag {tag}={value}"));
        }
        let policy = statements(role.policy.as_ref());
        let of_policy = differing(&self.grants_of_role(), &grants(&policy));
        of_policy.map(|(grant, is_missing)| match is_missing {
            true => format!("role {name} may not {} on {}", grant.1, grant.2),
            false => format!("role {name} may {} on {}, which no rule needs", grant.1, grant.2),
        })
    }

    /// All that the role is to be allowed.
    fn grants_of_role(&self) -> BTreeSet<AllowedAction> {
        let (source, replicate) = (self.source(), &self.spec["replicate"]);
        let goes = |what: &str| replicate[what] != false;
        let mut read = vec!["s3:GetObjectVersionForReplication"];
        let mut write = vec!["s3:ReplicateObject", "s3:ReplicateDelete"];
        if goes("acls") {
            read.push("s3:GetObjectVersionAcl");
            write.push("s3:PutObjectAcl");
        }
        if goes("tags") {
            read.push("s3:GetObjectVersionTagging");
            write.extend(["s3:ReplicateTags", "s3:PutObjectTagging"]);
        }
        let mut all = BTreeSet::new();
        let mut allow = |actions: &[&str], on: &str| {
            all.extend(actions.iter().map(|action| (String::new(), (*action).to_owned(), on.to_owned())));
        };
        allow(&["s3:GetReplicationConfiguration", "s3:ListBucket"], &format!("arn:aws:s3:::{source}"));
        allow(&read, &format!("arn:aws:s3:::{source}/*"));
        let (mut encrypts, region) =
            (false, self.world.buckets.get(source).map(|bucket| bucket.region.as_str()));
        for rule in self.rules() {
            let to = &rule["destination"];
            let objects = format!("arn:aws:s3:::{}/*", to["bucket"].as_str().unwrap_or_default());
            allow(&write, &objects);
            if to["ownership"] == "Destination" {
                allow(&["s3:ObjectOwnerOverrideToBucketOwner"], &objects);
            }
            if rule["kmsEncryptedObjects"] == "Enabled" {
                encrypts = true;
                allow(&["kms:Encrypt", "kms:GenerateDataKey"], to["kmsKeyArn"].as_str().unwrap_or_default());
            }
        }
        if encrypts {
            let keys = texts(&self.spec["source"]["kmsKeyArns"]);
            let any = format!("arn:aws:kms:{}:{}:key/*", region.unwrap_or_default(), self.own_id());
            let keys = if keys.is_empty() { vec![any.as_str()] } else { keys };
            keys.into_iter().for_each(|key| allow(&["kms:Decrypt"], key));
        }
        all
    }

    fn fault_of_configuration(&self) -> Option<String> {
        let source = self.source();
        let bucket = self.world.buckets.get(source);
        let Some(configuration) = bucket.and_then(|bucket| bucket.configuration.as_ref()) else {
            return Some(format!("bucket {source} has no configuration"));
        };
        if configuration.role != self.role_arn() {
            return Some(format!("the configuration of bucket {source} names role {}", configuration.role));
        }
        let mut rules: BTreeMap<String, &Rule> =
            configuration.rules.iter().map(|(id, rule)| (id.clone(), rule)).collect();
        for rule in self.rules() {
            let id = rule["id"].as_str().unwrap_or_default();
            let Some(found) = rules.remove(id) else {
                return Some(format!("bucket {source} has no rule {id}"));
            };
            let is = held(found, self.own_id());
            let differs = self.asked(rule).into_iter().find(|(field, asked)| is.get(field) != Some(asked));
            if let Some((field, asked)) = differs {
                let is = is.get(field).map(String::as_str).unwrap_or_default();
                return Some(format!("{field} of rule {id} is \"{is}\" and not \"{asked}\""));
            }
        }
        rules.keys().next().map(|id| format!("bucket {source} has a rule {id}, which the spec does not"))
    }

    /// The fields of a rule as the spec asks for them, with what holds where it says nothing. A rule without a priority
    /// may have any.
    fn asked(&self, rule: &Value) -> BTreeMap<&'static str, String> {
        let (to, filter) = (&rule["destination"], &rule["filter"]);
        let or = |value: &Value, otherwise: &str| value.as_str().unwrap_or(otherwise).to_owned();
        let metrics = if to["replicationTimeControl"] == "Enabled" { "Enabled" } else { "Disabled" };
        let owner = self.id_of(to);
        let mut fields = BTreeMap::from([
            ("status", or(&rule["status"], "Enabled")),
            ("filter.prefix", or(&filter["prefix"], "")),
            ("filter.tags", if filter["tags"].is_null() { "{}".into() } else { filter["tags"].to_string() }),
            ("deleteMarkers", or(&rule["deleteMarkers"], "Disabled")),
            ("replicaModifications", or(&rule["replicaModifications"], "Disabled")),
            ("kmsEncryptedObjects", or(&rule["kmsEncryptedObjects"], "Disabled")),
            ("destination.bucket", format!("arn:aws:s3:::{}", or(&to["bucket"], ""))),
            ("destination.account", if owner == self.own_id() { String::new() } else { owner.to_owned() }),
            ("destination.storageClass", or(&to["storageClass"], "")),
            ("destination.ownership", or(&to["ownership"], "")),
            ("destination.kmsKeyArn", or(&to["kmsKeyArn"], "")),
            ("destination.replicationTimeControl", or(&to["replicationTimeControl"], "Disabled")),
            ("destination.metrics", or(&to["metrics"], metrics)),
        ]);
        if let Some(priority) = rule["priority"].as_i64() {
            fields.insert("priority", priority.to_string());
        }
        fields
    }

    /// A fault in what the buckets of other accounts allow the role.
    fn fault_of_bucket_policies(&self) -> Option<String> {
        let text = |field: &str| self.object["metadata"][field].as_str().unwrap_or_default();
        let sid = bucket_policy::sid(&[text("namespace"), text("name"), self.source()]);
        let arn = self.role_arn();
        let abroad = self.destinations().filter(|to| self.id_of(to) != self.own_id());
        let mut asked: BTreeMap<&str, BTreeSet<AllowedAction>> = BTreeMap::new();
        for to in abroad {
            let bucket = to["bucket"].as_str().unwrap_or_default();
            let mut actions = vec!["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"];
            if to["ownership"] == "Destination" {
                actions.push("s3:ObjectOwnerOverrideToBucketOwner");
            }
            let on = format!("arn:aws:s3:::{bucket}");
            let of_objects = actions.into_iter().map(|action| (action, format!("{on}/*")));
            let of_bucket = ["s3:List*", "s3:GetBucketVersioning"].map(|action| (action, on.clone()));
            let all = of_objects.chain(of_bucket).map(|(action, on)| (arn.clone(), action.to_owned(), on));
            asked.entry(bucket).or_default().extend(all);
        }
        asked.into_iter().find_map(|(name, asked)| {
            let policy = self.world.buckets.get(name).and_then(|bucket| bucket.policy.as_ref());
            let own: Vec<Value> = statements(policy).into_iter().filter(|held| has_sid(held, &sid)).collect();
            let ((principal, action, on), is_missing) = differing(&asked, &grants(&own))?;
            Some(match is_missing {
                true => format!("the policy of bucket {name} does not let {principal} {action} on {on}"),
                false => format!("the policy of bucket {name} lets {principal} {action} on {on}"),
            })
        })
    }
}

/// The fields of a rule as S3 holds them.
fn held(rule: &Rule, own_id: &str) -> BTreeMap<&'static str, String> {
    let to = &rule.destination;
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    BTreeMap::from([
        ("status", rule.status.as_str().to_owned()),
        ("priority", rule.priority.map(|priority| priority.to_string()).unwrap_or_default()),
        ("filter.prefix", rule.filter.prefix.clone()),
        ("filter.tags", serde_json::json!(rule.filter.tags).to_string()),
        ("deleteMarkers", rule.delete_markers.as_str().to_owned()),
        ("replicaModifications", rule.replica_modifications.as_str().to_owned()),
        ("kmsEncryptedObjects", rule.kms_encrypted_objects.as_str().to_owned()),
        ("destination.bucket", to.bucket.clone()),
        ("destination.account", to.account.clone().filter(|id| id != own_id).unwrap_or_default()),
        ("destination.storageClass", or_empty(&to.storage_class)),
        ("destination.ownership", or_empty(&to.ownership)),
        ("destination.kmsKeyArn", or_empty(&to.kms_key)),
        ("destination.replicationTimeControl", to.replication_time_control.as_str().to_owned()),
        ("destination.metrics", to.metrics.as_str().to_owned()),
    ])
}

/// The actions that these statements allow.
fn grants(statements: &[Value]) -> BTreeSet<AllowedAction> {
    let mut all = BTreeSet::new();
    for statement in statements.iter().filter(|statement| statement["Effect"] == "Allow") {
        let named = texts(&statement["Principal"]["AWS"]);
        let principals = if named.is_empty() { vec![""] } else { named };
        for principal in principals {
            for action in texts(&statement["Action"]) {
                let on = texts(&statement["Resource"]).into_iter();
                all.extend(on.map(|on| (principal.to_owned(), action.to_owned(), on.to_owned())));
            }
        }
    }
    all
}

/// A grant that only one of two has, and whether it is the first one's.
fn differing(asked: &BTreeSet<AllowedAction>, is: &BTreeSet<AllowedAction>) -> Option<(AllowedAction, bool)> {
    let missing = asked.difference(is).map(|grant| (grant.clone(), true));
    missing.chain(is.difference(asked).map(|grant| (grant.clone(), false))).next()
}
