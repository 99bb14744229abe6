//! Executes steps on the simulated AWS, as S3 and IAM do.
//!
//! In: a step or a bucket policy, as an account. Out: the state after it, or the failure that AWS answers with, which leaves
//! the state as it was.

use serde_json::Value;

use crate::iam::arn::{bucket_of_arn, region_of_arn};
use crate::iam::bucket_policy::MAX_BUCKET_POLICY;
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Configuration, FailureClass, RoleDocuments, Step, VersioningStatus};
use crate::simulation::world::{SimulatedRole, World, fail, key, partition, principals};

/// The principal that S3 shows in place of a role that was deleted.
pub const DEAD_PRINCIPAL: &str = "AROADELETEDROLE000000";

impl World {
    /// Executes a step as an account. A step that fails changes nothing.
    ///
    /// # Errors
    /// What AWS answers.
    pub fn execute(&mut self, caller: &str, step: &Step) -> Read<()> {
        let action = step.action();
        match step {
            Step::EnableVersioning { bucket } => {
                let held = self.bucket_mut(caller, bucket, action)?;
                if held.mfa_delete {
                    let detail = "Mfa Authentication must be used for this request";
                    return Err(fail(FailureClass::Denied, action, &bucket.name, ("AccessDenied", detail)));
                }
                held.versioning = VersioningStatus::Enabled;
            }
            Step::CreateRole { role, documents } => self.create_role(caller, role, documents)?,
            Step::UpdateTrustPolicy { role, document, .. } => {
                self.existing_role(caller, role, action)?.trust = parse(document);
            }
            Step::PutPermissionsBoundary { role, boundary } => {
                self.existing_role(caller, role, action)?.permissions_boundary = Some(boundary.clone());
            }
            Step::DeletePermissionsBoundary { role } => {
                self.existing_role(caller, role, action)?.permissions_boundary = None;
            }
            Step::TagRole { role, tags } => {
                let held = self.existing_role(caller, role, action)?;
                for (tag, value) in tags {
                    // Keys of tags are unique without regard to case: the new spelling replaces the old one.
                    held.tags.retain(|held, _| !held.eq_ignore_ascii_case(tag));
                    held.tags.insert(tag.clone(), value.clone());
                }
            }
            Step::UntagRole { role, keys } => {
                self.existing_role(caller, role, action)?.tags.retain(|tag, _| !keys.contains(tag));
            }
            Step::PutRolePolicy { role, document, expands: _ } => {
                self.existing_role(caller, role, action)?.policy = Some(parse(document));
            }
            Step::PutBucketPolicy { bucket, .. } => {
                let detail = "the executor reads, merges and writes a bucket policy";
                return Err(fail(FailureClass::Invalid, action, &bucket.name, ("", detail)));
            }
            Step::PutReplication { bucket, configuration, lacking: _ } => {
                self.put_replication(caller, bucket, configuration)?;
            }
            Step::DeleteReplication { bucket } => {
                self.bucket_mut(caller, bucket, action)?.configuration = None;
            }
            Step::DeleteRolePolicy { role } => {
                self.existing_role(caller, role, action)?.policy = None;
            }
            Step::DeleteRole { role } => self.delete_role(caller, role)?,
        }
        Ok(())
    }

    fn create_role(&mut self, account_id: &str, name: &str, documents: &RoleDocuments) -> Read<()> {
        if self.role(account_id, name).is_some() {
            let detail = format!("Role with name {name} already exists.");
            let code = ("EntityAlreadyExists", detail.as_str());
            return Err(fail(FailureClass::Conflict, "iam:CreateRole", name, code));
        }
        let RoleDocuments { path, trust, permissions_boundary, tags, description: _ } = documents;
        let role = SimulatedRole {
            arn: partition().role_arn(account_id, path, name),
            name: name.to_owned(),
            path: path.clone(),
            trust: parse(trust),
            permissions_boundary: permissions_boundary.clone(),
            tags: tags.clone(),
            policy: None,
            other_policies: Vec::new(),
        };
        self.roles.insert(key(account_id, name), role);
        Ok(())
    }

    /// IAM deletes no role that has policies. In bucket policies S3 then shows an id in its place.
    pub fn delete_role(&mut self, account_id: &str, name: &str) -> Read<()> {
        let role = self.existing_role(account_id, name, "iam:DeleteRole")?;
        if role.policy.is_some() || !role.other_policies.is_empty() {
            let detail = "Cannot delete entity, must delete policies first.";
            return Err(fail(
                FailureClass::DeleteConflict,
                "iam:DeleteRole",
                name,
                ("DeleteConflict", detail),
            ));
        }
        let arn = role.arn.clone();
        self.roles.remove(&key(account_id, name));
        for policy in self.buckets.values_mut().filter_map(|bucket| bucket.policy.as_mut()) {
            replace_principal(policy, &arn, DEAD_PRINCIPAL);
        }
        Ok(())
    }

    fn put_replication(
        &mut self,
        caller: &str,
        source: &BucketAddress,
        configuration: &Configuration,
    ) -> Read<()> {
        let action = "s3:PutReplicationConfiguration";
        let refuse =
            |code: &str, detail: &str| Err(fail(FailureClass::Invalid, action, &source.name, (code, detail)));
        if self.bucket(caller, source, action)?.versioning != VersioningStatus::Enabled {
            return refuse(
                "InvalidRequest",
                "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
            );
        }
        for rule in configuration.rules.values() {
            let to = &rule.destination;
            if bucket_of_arn(&to.bucket) == source.name {
                return refuse(
                    "InvalidRequest",
                    "Destination bucket cannot be the same as the source bucket.",
                );
            }
            match self.buckets.get(bucket_of_arn(&to.bucket)) {
                None => return refuse("InvalidRequest", "Destination bucket must exist."),
                Some(bucket) if to.account.as_ref().is_some_and(|id| *id != bucket.account_id) => {
                    return refuse("InvalidArgument", "Account must be the owner of the destination bucket.");
                }
                Some(bucket) if bucket.versioning != VersioningStatus::Enabled => {
                    return refuse("InvalidRequest", "Destination bucket must have versioning enabled.");
                }
                // The key has to be where the replicas are
                // (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>).
                Some(bucket) if to.kms_key.as_deref().is_some_and(|key| !is_in(key, &bucket.region)) => {
                    return refuse(
                        "InvalidArgument",
                        "The key is not in the Region of the destination bucket.",
                    );
                }
                Some(_) => {}
            }
        }
        self.bucket_mut(caller, source, action)?.configuration = Some(configuration.as_held());
        Ok(())
    }

    /// Replaces the policy of a bucket, as an account; `None` deletes it.
    ///
    /// # Errors
    /// What S3 answers: `MalformedPolicy` for a principal that does not exist.
    pub fn put_bucket_policy(
        &mut self,
        caller: &str,
        address: &BucketAddress,
        policy: Option<&Value>,
    ) -> Read<()> {
        let action = if policy.is_some() { "s3:PutBucketPolicy" } else { "s3:DeleteBucketPolicy" };
        self.bucket(caller, address, action)?;
        let malformed =
            |detail| Err(fail(FailureClass::Invalid, action, &address.name, ("MalformedPolicy", detail)));
        if policy.is_some_and(|policy| policy.to_string().len() > MAX_BUCKET_POLICY) {
            return malformed("Policy exceeds the maximum allowed document size.");
        }
        if !principals(policy).iter().all(|principal| self.is_principal(principal)) {
            return malformed("Invalid principal in policy");
        }
        self.bucket_mut(caller, address, action)?.policy = policy.cloned();
        Ok(())
    }

    /// S3 looks up roles and users; accounts and `*` are always good.
    fn is_principal(&self, principal: &str) -> bool {
        let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        if principal == "*" || is_account(principal) || principal.ends_with(":root") {
            return true;
        }
        self.role_by_arn(principal).is_some()
    }
}

fn is_in(key: &str, region: &str) -> bool {
    region_of_arn(key) == Some(region)
}

fn parse(document: &str) -> Value {
    serde_json::from_str(document).unwrap_or_else(|_| Value::String(document.to_owned()))
}

fn replace_principal(policy: &mut Value, from: &str, to: &str) {
    match policy {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| replace_principal(item, from, to)),
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(name, _)| matches!(name.as_str(), "Statement" | "Principal" | "AWS"))
            .for_each(|(_, value)| replace_principal(value, from, to)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::bucket_policy::statements as policy_statements;
    use crate::iam::document::PolicyDocument;
    use crate::simulation::world::tests::{address, code, create, world_with_buckets};

    const HERE: &str = "111122223333";

    #[test]
    fn a_role_is_unique_without_regard_to_case_and_is_not_deleted_with_a_policy() {
        let mut world = world_with_buckets();
        world.execute(HERE, &create("orders")).unwrap();
        assert_eq!(code(world.execute(HERE, &create("Orders"))), "EntityAlreadyExists");
        let put = Step::PutRolePolicy { role: "orders".into(), document: "{}".into(), expands: false };
        world.execute(HERE, &put).unwrap();
        let delete = Step::DeleteRole { role: "orders".into() };
        assert_eq!(code(world.execute(HERE, &delete)), "DeleteConflict");
        world.execute(HERE, &Step::DeleteRolePolicy { role: "orders".into() }).unwrap();
        world.execute(HERE, &delete).unwrap();
        assert_eq!(code(world.execute(HERE, &put)), "NoSuchEntity");
    }

    #[test]
    fn s3_refuses_a_policy_that_names_a_role_that_is_not_there_or_is_gone() {
        let mut world = world_with_buckets();
        let copies = address("copies", "eu-west-1");
        let roles = ["arn:aws:iam::111122223333:role/s3-replication/orders".to_owned()];
        let policy = PolicyDocument::new(policy_statements("Sid", &roles, "arn:aws:s3:::copies", false));
        let policy = policy.to_value();
        assert_eq!(code(world.put_bucket_policy(HERE, &copies, Some(&policy))), "MalformedPolicy");
        world.execute(HERE, &create("orders")).unwrap();
        world.put_bucket_policy(HERE, &copies, Some(&policy)).unwrap();
        world.execute(HERE, &Step::DeleteRole { role: "orders".into() }).unwrap();
        let held = world.bucket_policy(HERE, &copies).unwrap().unwrap();
        assert_eq!(held["Statement"][0]["Principal"]["AWS"], DEAD_PRINCIPAL);
        assert_eq!(code(world.put_bucket_policy(HERE, &copies, Some(&held))), "MalformedPolicy");
    }

    #[test]
    fn requests_name_the_region_and_the_owner() {
        let mut world = world_with_buckets();
        let enable = |bucket| Step::EnableVersioning { bucket };
        assert_eq!(code(world.execute(HERE, &enable(address("orders", "eu-west-1")))), "PermanentRedirect");
        assert_eq!(code(world.execute(HERE, &enable(address("none", "us-east-1")))), "NoSuchBucket");
        let other = BucketAddress { account_id: "999900001111".into(), ..address("orders", "us-east-1") };
        assert_eq!(code(world.execute(HERE, &enable(other))), "AccessDenied");
        let orders = enable(address("orders", "us-east-1"));
        assert_eq!(code(world.execute("999900001111", &orders)), "AccessDenied");
        world.execute(HERE, &orders).unwrap();
        assert_eq!(world.buckets["orders"].versioning, VersioningStatus::Enabled);
    }
}
