//! Objects that the emulator replicates, and the policies that decide whether they arrive.

use super::*;

/// A source, and the role that replicates it into a destination.
struct Replicating {
    world: World,
    source: String,
    destination: String,
    owner: String,
    role: String,
}

impl Replicating {
    /// Into a bucket of this account or of another. Only the destination's policy is missing.
    async fn new(name: &str, across: bool) -> Result<Self> {
        let world = World::new(name).await?;
        let owner = if across { world.another_account() } else { world.account.clone() };
        let source = world.versioned_bucket(REGION).await?;
        let destination = world.versioned_bucket_of(&owner, "eu-west-1").await?;
        let document = trust("s3.amazonaws.com").to_string();
        world
            .iam()
            .create_role()
            .role_name("r")
            .path("/p/")
            .assume_role_policy_document(document)
            .send()
            .await?;
        let role = format!("arn:aws:iam::{}:role/p/r", world.account);
        let this = Self { world, source, destination, owner, role };
        this.allow_role(&this.permissions()).await?;
        let s3 = this.world.through_proxy().s3(REGION);
        s3.put_bucket_replication()
            .bucket(&this.source)
            .replication_configuration(configuration_of(&this.role, &this.destination))
            .send()
            .await?;
        Ok(this)
    }

    /// The permissions that the role needs: an action on the objects of each side.
    fn permissions(&self) -> Vec<(&'static str, String)> {
        vec![
            ("s3:GetObjectVersionForReplication", format!("arn:aws:s3:::{}/*", self.source)),
            ("s3:ReplicateObject", format!("arn:aws:s3:::{}/*", self.destination)),
        ]
    }

    async fn allow_role(&self, permissions: &[(&str, String)]) -> Result<()> {
        let allow = |(action, resource): &(&str, String)| json!({"Effect": "Allow", "Action": action, "Resource": resource});
        self.set_role_policy(permissions.iter().map(allow).collect()).await
    }

    async fn set_role_policy(&self, statements: Vec<Value>) -> Result<()> {
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let put = self.world.iam().put_role_policy().role_name("r").policy_name("p").policy_document(policy);
        put.send().await?;
        Ok(())
    }

    /// Writes a policy of the destination that allows a role to replicate into it.
    async fn allow_in_destination(&self, role: &str) -> Result<()> {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": role},
            "Action": ["s3:ReplicateObject"], "Resource": format!("arn:aws:s3:::{}/*", self.destination)});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        self.there().put_bucket_policy().bucket(&self.destination).policy(policy).send().await?;
        Ok(())
    }

    fn there(&self) -> aws_sdk_s3::Client {
        rig::Clients::new(&self.world.proxy.url(), &self.owner).s3("eu-west-1")
    }

    /// Writes an object, and returns its replication status in the source and in the destination.
    async fn write(&self, key: &str) -> Result<(Option<ReplicationStatus>, Option<ReplicationStatus>)> {
        let s3 = self.world.through_proxy().s3(REGION);
        s3.put_object().bucket(&self.source).key(key).body(b"v".to_vec().into()).send().await?;
        let status = s3.head_object().bucket(&self.source).key(key).send().await?.replication_status;
        let arrived = self.there().head_object().bucket(&self.destination).key(key).send().await;
        Ok((status, arrived.ok().and_then(|replica| replica.replication_status)))
    }
}

const ARRIVED: (Option<ReplicationStatus>, Option<ReplicationStatus>) =
    (Some(ReplicationStatus::Completed), Some(ReplicationStatus::Replica));
const FAILED: (Option<ReplicationStatus>, Option<ReplicationStatus>) =
    (Some(ReplicationStatus::Failed), None);

#[tokio::test]
async fn an_object_replicates_into_another_account_only_if_the_bucket_s_policy_allows_the_role() -> Result<()>
{
    let across = Replicating::new("smoke-across", true).await?;
    assert_eq!(across.write("without-policy").await?, FAILED);
    let (world, mine) = (&across.world, &across.world.account);
    let another = world.assumable_role(mine, "another", mine, None, &allow(&["s3:*"], "*")).await?;
    across.allow_in_destination(&another).await?;
    assert_eq!(across.write("for-another-role").await?, FAILED);
    across.allow_in_destination(&across.role).await?;
    assert_eq!(across.write("for-this-role").await?, ARRIVED);
    across.there().delete_bucket_policy().bucket(&across.destination).send().await?;
    assert_eq!(across.write("policy-removed").await?, FAILED);
    Ok(())
}

#[tokio::test]
async fn an_object_replicates_only_if_s3_may_assume_the_role_and_the_role_may_replicate() -> Result<()> {
    let within = Replicating::new("smoke-role", false).await?;
    assert_eq!(within.write("all-there").await?, ARRIVED);
    let needed = within.permissions();
    for missing in 0..needed.len() {
        let mut rest = needed.clone();
        let (action, resource) = rest.remove(missing);
        within.allow_role(&rest).await?;
        assert_eq!(within.write(action).await?, FAILED, "without {action}");
        rest.push((action, resource.replace("/*", "/elsewhere/*")));
        within.allow_role(&rest).await?;
        assert_eq!(within.write("not-elsewhere").await?, FAILED, "{action} elsewhere");
    }
    within.allow_role(&needed).await?;
    assert_eq!(within.write("allowed-again").await?, ARRIVED);

    let iam = within.world.iam();
    let set_trust = async |document: Value| {
        let update = iam.update_assume_role_policy().role_name("r").policy_document(document.to_string());
        update.send().await
    };
    set_trust(trust("lambda.amazonaws.com")).await?;
    assert_eq!(within.write("trusts-another").await?, FAILED);
    let mut conditional = trust("s3.amazonaws.com");
    conditional["Statement"][0]["Condition"] =
        json!({"StringEquals": {"aws:SourceAccount": within.world.account}});
    set_trust(conditional.clone()).await?;
    assert_eq!(within.write("for-this-account").await?, ARRIVED);
    conditional["Statement"][0]["Condition"] = json!({"StringEquals": {"aws:SourceAccount": "999999999999"}});
    set_trust(conditional).await?;
    assert_eq!(within.write("for-another-account").await?, FAILED);
    set_trust(trust("s3.amazonaws.com")).await?;
    assert_eq!(within.write("trusts-again").await?, ARRIVED);

    iam.delete_role_policy().role_name("r").policy_name("p").send().await?;
    iam.delete_role().role_name("r").send().await?;
    assert_eq!(within.write("role-deleted").await?, FAILED);
    Ok(())
}

#[tokio::test]
async fn the_resource_account_of_a_bucket_is_its_owner() -> Result<()> {
    let across = Replicating::new("smoke-owner", true).await?;
    across.allow_in_destination(&across.role).await?;
    for (key, id) in [("aws:ResourceAccount", "aws"), ("s3:ResourceAccount", "s3")] {
        for (owner, expected) in [(&across.owner, ARRIVED), (&across.world.account, FAILED)] {
            let mut statements = Vec::new();
            for (action, resource) in across.permissions() {
                statements.push(json!({"Effect": "Allow", "Action": action, "Resource": resource}));
            }
            statements[1]["Condition"] = json!({"StringEqualsIfExists": {key: owner}});
            across.set_role_policy(statements).await?;
            assert_eq!(across.write(&format!("{id}-{owner}")).await?, expected, "{key} {owner}");
        }
    }
    Ok(())
}

/// The condition holds for requests as it holds for replicas: a caller whose policy asks for the owner of the bucket
/// may read it, and one whose policy asks for another account may not.
#[tokio::test]
async fn under_auth_the_resource_account_of_a_bucket_decides() -> Result<()> {
    let world = World::with_auth("smoke-auth-owner").await?;
    let owner = world.another_account();
    let theirs = world.bucket_of(&owner, REGION).await?;
    let everybody = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{}:root", world.account)},
        "Action": "s3:GetBucketVersioning", "Resource": format!("arn:aws:s3:::{theirs}")}]});
    let there = world.as_account(&owner).s3(REGION);
    there.put_bucket_policy().bucket(&theirs).policy(everybody.to_string()).send().await?;
    for (name, account, allowed) in [("right", &owner, true), ("wrong", &world.account, false)] {
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Action": "s3:GetBucketVersioning", "Resource": "*",
            "Condition": {"StringEquals": {"s3:ResourceAccount": account}}}]});
        let (id, secret) = world.user(name, &policy.to_string()).await?;
        let s3 = rig::Clients::with_credentials(&world.proxy.url(), &id, &secret).s3(REGION);
        let read = s3.get_bucket_versioning().bucket(&theirs).send().await;
        assert_eq!(read.is_ok(), allowed, "{name}: {read:?}");
    }
    Ok(())
}
