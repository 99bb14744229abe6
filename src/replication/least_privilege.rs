//! The policies that people attach in AWS.
//!
//! In: resources and accounts. Out: the bucket policies of destinations and the key policies of other accounts, and the
//! operator's own least privilege, for itself and in each account. `cli/policy.rs` joins it with the rights for
//! canaries, backfills and event queues.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    Activity, AssumeRole, AwsAccountSpec, DEFAULT_ROLE_PATH, ManagementPolicy, VersioningPolicy,
};
use crate::iam::Partition;
use crate::iam::arn::{account_of_arn, bucket_of_arn};
use crate::iam::bucket_policy;
use crate::iam::document::{PolicyDocument, Statement};
use crate::replication::authorize::accounts::Account;
use crate::replication::backfill::least_privilege::{jobs, pass_job_roles};
use crate::replication::configuration::Rule;
use crate::replication::desired::permissions::in_account;
use crate::replication::desired::{Desired, DesiredBucket, DesiredRole, ManagedRole, S3};
use crate::replication::health::key_cause::GET_KEY_POLICY;
use crate::replication::health::metrics::GET_METRIC_DATA;
use crate::replication::observed::Caller;

/// The policies with which the owners of destination buckets in other accounts admit the roles, by bucket: a bucket has
/// one policy, however many resources replicate into it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-walkthrough-2.html>).
pub fn destination_bucket_policies(resources: &[Grantee]) -> BTreeMap<String, PolicyDocument> {
    let mut buckets: BTreeMap<&str, Vec<Statement>> = BTreeMap::new();
    for Grantee { desired, caller, .. } in resources {
        let role = desired.role.arn(caller);
        let mut abroad: BTreeMap<&str, bool> = BTreeMap::new();
        for to in desired.rules.values().map(|rule| &rule.destination) {
            if to.account.as_ref().is_some_and(|account| *account != caller.account) {
                *abroad.entry(&to.bucket).or_default() |= to.ownership.is_some();
            }
        }
        for (arn, override_owner) in abroad {
            let roles = std::slice::from_ref(&role);
            let statements = bucket_policy::statements(&desired.sid, roles, arn, override_owner);
            buckets.entry(arn).or_default().extend(statements);
        }
    }
    let document = |(arn, statements)| (bucket_of_arn(arn).to_owned(), PolicyDocument::new(statements));
    buckets.into_iter().map(document).collect()
}

/// The statement that the operator needs, as the identity that acts on the sources, where a rule of these resources
/// publishes metrics. CloudWatch knows no permission for some metrics alone
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html>).
pub fn read_metrics<'a>(resources: impl IntoIterator<Item = &'a Grantee>) -> Option<Statement> {
    let publishes =
        |grantee: &Grantee| grantee.desired.rules.values().any(|rule| rule.destination.metrics.is_enabled());
    let any = resources.into_iter().any(publishes);
    any.then(|| Statement::allow("ReadMetrics", [GET_METRIC_DATA], ["*"]))
}

/// A resource the operator is to have permissions for.
#[derive(Clone, Debug)]
pub struct Grantee {
    pub desired: Desired,
    pub caller: Caller,
    pub management: ManagementPolicy,
    /// Keys that the source's objects may be encrypted with; empty: any of its Region.
    pub source_keys: Vec<String>,
    /// ARNs of managed roles from before a rename that are still to be deleted.
    pub former_roles: Vec<String>,
}

/// The ARN of a bucket, with the id of the account that is to own it.
type OwnedBucket = (String, String);

/// The resources in AWS that each statement of the operator's policy names. A statement about writes names none where
/// the spec lets the operator write nothing.
impl Grantee {
    fn writes(&self) -> bool {
        self.management == ManagementPolicy::Enforce
    }

    fn owned(&self, bucket: &DesiredBucket) -> OwnedBucket {
        let account_id = bucket.account_id.as_ref().unwrap_or(&self.caller.account);
        (account_id.clone(), self.caller.partition.bucket_arn(&bucket.name))
    }

    /// The destinations on which the identity of the source acts.
    fn destinations(&self) -> impl Iterator<Item = &DesiredBucket> {
        self.desired.destinations.iter().filter(|bucket| bucket.account_ref.is_none())
    }

    fn buckets(&self) -> impl Iterator<Item = &DesiredBucket> {
        self.destinations().chain([&self.desired.source])
    }

    fn checked_buckets(&self) -> Vec<OwnedBucket> {
        self.buckets().map(|bucket| self.owned(bucket)).collect()
    }

    fn versioned_buckets(&self) -> Vec<OwnedBucket> {
        let is_managed = |bucket: &&DesiredBucket| bucket.versioning == VersioningPolicy::Managed;
        let buckets = self.buckets().filter(|bucket| self.writes() && is_managed(bucket));
        buckets.map(|bucket| self.owned(bucket)).collect()
    }

    fn source(&self) -> Vec<OwnedBucket> {
        let Grantee { desired, caller, .. } = self;
        vec![(caller.account.clone(), caller.partition.bucket_arn(&desired.source.name))]
    }

    fn written_source(&self) -> Vec<OwnedBucket> {
        if self.writes() { self.source() } else { Vec::new() }
    }

    /// The source whose Object Lock decides what its managed role may do.
    fn source_of_managed_role(&self) -> Vec<OwnedBucket> {
        if self.managed_role().is_some() { self.source() } else { Vec::new() }
    }

    fn managed_role(&self) -> Option<&ManagedRole> {
        match &self.desired.role {
            DesiredRole::Managed(role) => Some(role),
            DesiredRole::Existing { .. } => None,
        }
    }

    /// The role, if it is a managed one of which `is_meant` holds and that the operator writes.
    fn written_role(&self, is_meant: impl Fn(&ManagedRole) -> bool) -> Option<String> {
        let role = self.managed_role().filter(|role| self.writes() && is_meant(role));
        role.map(|_| self.desired.role.arn(&self.caller))
    }

    fn read_roles(&self) -> Vec<String> {
        let former = self.former_roles.iter().filter(|_| self.writes()).cloned();
        former.chain([self.desired.role.arn(&self.caller)]).collect()
    }

    fn roles_with_read_policy(&self) -> Vec<String> {
        self.managed_role().map(|_| self.desired.role.arn(&self.caller)).into_iter().collect()
    }

    fn kept_roles(&self) -> Vec<String> {
        self.written_role(|_| true).into_iter().collect()
    }

    fn unbounded_roles(&self) -> Vec<String> {
        self.written_role(|role| role.permissions_boundary.is_none()).into_iter().collect()
    }

    /// With any `deletionPolicy`, because a renamed role leaves no orphan behind.
    fn deleted_roles(&self) -> Vec<String> {
        let former = self.former_roles.iter().filter(|_| self.writes()).cloned();
        former.chain(self.written_role(|_| true)).collect()
    }

    fn passed_role(&self) -> Vec<String> {
        if self.writes() { vec![self.desired.role.arn(&self.caller)] } else { Vec::new() }
    }

    /// The rules to these destinations.
    fn checked_rules(&self) -> impl Iterator<Item = &Rule> {
        let arn = |bucket: &DesiredBucket| self.caller.partition.bucket_arn(&bucket.name);
        let arns: BTreeSet<String> = self.destinations().map(arn).collect();
        self.desired.rules.values().filter(move |rule| arns.contains(&rule.destination.bucket))
    }

    fn keys(&self) -> Vec<String> {
        self.checked_rules().filter_map(|rule| rule.destination.kms_key.clone()).collect()
    }

    /// Only failures that metrics count are a reason to read the policy of a key.
    fn keys_of_watched_rules(&self) -> Vec<String> {
        let is_watched = |rule: &&Rule| rule.destination.metrics.is_enabled();
        let decrypts = |rule: &Rule| is_watched(&rule) && rule.kms_encrypted_objects.is_enabled();
        let of_source = self.source_keys.iter().filter(|_| self.desired.rules.values().any(decrypts));
        let watched = self.checked_rules().filter(is_watched);
        watched.filter_map(|rule| rule.destination.kms_key.clone()).chain(of_source.cloned()).collect()
    }
}

/// The least the operator itself needs for these resources, as the identity that acts on their sources: reads for
/// all, writes only where the spec lets it write. On destinations with an `accountRef` another identity acts.
pub fn operator_policy(resources: &[Grantee]) -> PolicyDocument {
    let on_buckets = |sid, action, buckets: fn(&Grantee) -> Vec<OwnedBucket>| {
        ByAccountId::of(resources.iter().flat_map(buckets)).statements(sid, action)
    };
    let on = |sid, actions: &[&'static str], arns: fn(&Grantee) -> Vec<String>| {
        let arns: BTreeSet<String> = resources.iter().flat_map(arns).collect();
        Statement::allow(sid, actions.iter().copied(), arns)
    };
    let deletion =
        ["iam:ListRolePolicies", "iam:ListAttachedRolePolicies", "iam:DeleteRolePolicy", "iam:DeleteRole"];
    let of_buckets = [
        on_buckets("LocateBuckets", "s3:ListBucket", Grantee::checked_buckets),
        on_buckets("ReadVersioning", "s3:GetBucketVersioning", Grantee::checked_buckets),
        on_buckets("EnableVersioning", "s3:PutBucketVersioning", Grantee::versioned_buckets),
        on_buckets("ReadReplication", "s3:GetReplicationConfiguration", Grantee::source),
        on_buckets("ReadObjectLock", "s3:GetBucketObjectLockConfiguration", Grantee::source_of_managed_role),
        on_buckets("WriteReplication", "s3:PutReplicationConfiguration", Grantee::written_source),
    ];
    let of_roles_and_keys = [
        on("ReadRoles", &["iam:GetRole"], Grantee::read_roles),
        on("ReadRolePolicies", &["iam:GetRolePolicy"], Grantee::roles_with_read_policy),
        on("KeepRoles", &["iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy"], Grantee::kept_roles),
        // Anyone may put a boundary on a role: the operator removes it from one whose resource names none.
        on(
            "WriteRoles",
            &["iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePermissionsBoundary"],
            Grantee::unbounded_roles,
        ),
        on("DeleteRoles", &deletion, Grantee::deleted_roles),
        passed_to_s3(on("PassRoles", &["iam:PassRole"], Grantee::passed_role)),
        on("ReadKeys", &["kms:DescribeKey"], Grantee::keys),
        on("ReadKeyPolicies", &[GET_KEY_POLICY], Grantee::keys_of_watched_rules),
    ];
    let in_boundaries = bounded(bounded_roles(resources));
    let statements = of_buckets.into_iter().flatten().chain(of_roles_and_keys).chain(in_boundaries);
    PolicyDocument::new(statements.filter(|s| !s.resource.is_empty()).collect())
}

/// A statement about passing roles, only to S3.
fn passed_to_s3(statement: Statement) -> Statement {
    statement.when("StringEquals", "iam:PassedToService", vec![S3.to_owned()])
}

/// The roles that the operator writes, by the boundary that the resource of each names.
fn bounded_roles(resources: &[Grantee]) -> BTreeMap<String, BTreeSet<String>> {
    let mut roles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for grantee in resources {
        let boundary = grantee.managed_role().and_then(|role| role.permissions_boundary.clone());
        if let Some((boundary, role)) = boundary.zip(grantee.written_role(|_| true)) {
            roles.entry(boundary).or_default().insert(role);
        }
    }
    roles
}

/// The actions that give a role permissions.
const BOUNDED_WRITES: [&str; 3] = ["iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"];

/// Statements about the actions that give a role permissions, only inside the boundary that its resource names.
fn bounded(roles: BTreeMap<String, BTreeSet<String>>) -> impl Iterator<Item = Statement> {
    roles.into_iter().enumerate().map(|(n, (boundary, roles))| {
        let sid = if n == 0 { "BoundRoles".to_owned() } else { format!("BoundRoles{n}") };
        let statement = Statement::allow(&sid, BOUNDED_WRITES, roles);
        statement.when("StringEquals", "iam:PermissionsBoundary", vec![boundary])
    })
}

/// ARNs of buckets, by the id of the account that is to own them.
#[derive(Debug, Default)]
struct ByAccountId(BTreeMap<String, BTreeSet<String>>);

impl ByAccountId {
    fn of(buckets: impl Iterator<Item = OwnedBucket>) -> ByAccountId {
        let mut all = ByAccountId::default();
        for (account_id, arn) in buckets {
            all.0.entry(account_id).or_default().insert(arn);
        }
        all
    }

    /// A statement for the buckets of each account, only while they belong to that account: a name may pass to someone
    /// else.
    fn statements(self, sid: &str, action: &str) -> Vec<Statement> {
        let several = self.0.len() > 1;
        let statement = |(account_id, buckets): (String, BTreeSet<String>)| {
            let known = account_id.bytes().all(|byte| byte.is_ascii_digit());
            let sid = if several && known { format!("{sid}{account_id}") } else { sid.to_owned() };
            in_account(Statement::allow(&sid, [action], buckets), &account_id)
        };
        self.0.into_iter().map(statement).collect()
    }
}

/// The partition that an account is in: its own ARNs name it, else the Regions of the resources that refer to it do.
/// `of_resources`: theirs, where they name one; `otherwise`: that of the environment.
pub fn partition_of_account(
    account: &Account,
    of_resources: Option<Partition>,
    otherwise: Partition,
) -> Partition {
    let AwsAccountSpec { assume_role, roles, .. } = &account.spec;
    let role = assume_role.as_ref().map(|role| role.arn.as_str());
    let boundary = roles.as_ref().and_then(|roles| roles.permissions_boundary.as_deref());
    let named = role.into_iter().chain(boundary).find_map(Partition::of_arn);
    named.or(of_resources).unwrap_or(otherwise)
}

/// The least that the identity of an `AwsAccount` needs for all that the account allows: its patterns, and roles at the
/// path it imposes, else at the default one. To attach to the role that is assumed there. `all`: the accounts that may
/// refer to it; only a destination of another account has statements in its bucket policy.
pub fn account_policy(account: &Account, all: &[Account], partition: Partition) -> PolicyDocument {
    let AwsAccountSpec { account_id, sources, destinations, roles, allow, .. } = &account.spec;
    let arns =
        |patterns: &[String]| patterns.iter().map(|p| partition.bucket_arn(p)).collect::<BTreeSet<_>>();
    let (sources, destinations) = (arns(sources), arns(destinations));
    let buckets: BTreeSet<String> = sources.union(&destinations).cloned().collect();
    // An account without sources is there to be replicated into.
    let others_refer = sources.is_empty() || all.iter().any(|other| other.spec.account_id != *account_id);
    let imposed = roles.clone().unwrap_or_default();
    let path = imposed.path.as_deref().unwrap_or(DEFAULT_ROLE_PATH);
    // Roles are for sources: an account that is only replicated into has none.
    let roles: Vec<String> =
        sources.iter().take(1).map(|_| partition.role_arn(account_id, path, "*")).collect();
    let [kept, bounded] = kept_roles(imposed.permissions_boundary.as_ref(), &roles);
    let keys = format!("arn:{}:kms:*:{account_id}:key/*", partition.id());
    let keys: Vec<String> = buckets.iter().take(1).map(|_| keys.clone()).collect();
    // Before a write, only keys of replicas are checked.
    let of_keys = match destinations.is_empty() {
        true => vec![GET_KEY_POLICY],
        false => vec!["kms:DescribeKey", GET_KEY_POLICY],
    };
    let statements = [
        Statement::allow("LocateBuckets", ["s3:ListBucket"], buckets.clone()),
        Statement::allow("Versioning", ["s3:GetBucketVersioning", "s3:PutBucketVersioning"], buckets),
        Statement::allow(
            "Replication",
            [
                "s3:GetReplicationConfiguration",
                "s3:PutReplicationConfiguration",
                "s3:GetBucketObjectLockConfiguration",
            ],
            sources,
        ),
        Statement::allow(
            "DestinationPolicies",
            ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"],
            destinations.iter().filter(|_| others_refer).cloned(),
        ),
        Statement::allow(
            "ReadRoles",
            ["iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies"],
            roles.clone(),
        ),
        kept,
        bounded,
        Statement::allow("DeleteRoles", ["iam:DeleteRolePolicy", "iam:DeleteRole"], roles.clone()),
        passed_to_s3(Statement::allow("PassRoles", ["iam:PassRole"], roles.clone())),
        Statement::allow("ReadKeys", of_keys, keys),
    ];
    let statements = statements.into_iter().filter(|s| !s.resource.is_empty());
    let mut statements: Vec<Statement> =
        statements.map(|statement| on_own_buckets(statement, account_id)).collect();
    if allow.contains(&Activity::Backfill) && !roles.is_empty() {
        statements.extend(jobs(partition, account_id, "*"));
        statements.push(pass_job_roles(roles));
    }
    PolicyDocument::new(statements)
}

/// The statements about roles that the account imposes. With a boundary no statement leads out of it: no role is
/// created or given a policy without it, and none loses it.
fn kept_roles(boundary: Option<&String>, roles: &[String]) -> [Statement; 2] {
    let roles = || roles.iter().cloned();
    let kept = ["iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy"];
    match boundary {
        Some(boundary) => [
            Statement::allow("KeepRoles", kept, roles()),
            Statement::allow("BoundRoles", BOUNDED_WRITES, roles()).when(
                "StringEquals",
                "iam:PermissionsBoundary",
                vec![boundary.clone()],
            ),
        ],
        None => {
            let bounded = ["iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"];
            [
                Statement::allow(
                    "KeepRoles",
                    ["iam:CreateRole", "iam:PutRolePolicy"].into_iter().chain(kept),
                    roles(),
                ),
                Statement::allow("BoundRoles", bounded, roles()),
            ]
        }
    }
}

/// A statement on buckets by pattern, only for buckets of this account: a name may pass to someone else.
fn on_own_buckets(statement: Statement, account_id: &str) -> Statement {
    match statement.action.iter().all(|action| action.starts_with("s3:")) {
        true => in_account(statement, account_id),
        false => statement,
    }
}

/// The statement that the operator's own identity needs to act in these accounts; `None` where it assumes no role.
pub fn assume_roles(accounts: &[Account]) -> Option<Statement> {
    let roles: BTreeSet<String> =
        accounts.iter().filter_map(|a| Some(a.spec.assume_role.as_ref()?.arn.clone())).collect();
    (!roles.is_empty()).then(|| Statement::allow("AssumeRoles", ["sts:AssumeRole"], roles))
}

/// The trust policy of the role that is assumed in an account, by the operator only.
pub fn account_trust_policy(assume_role: &AssumeRole, operator: &str) -> PolicyDocument {
    let trust = Statement::allow::<_, String>("", ["sts:AssumeRole"], []).principal("AWS", operator);
    let trust = match &assume_role.external_id {
        Some(id) => trust.when("StringEquals", "sts:ExternalId", vec![id.clone()]),
        None => trust,
    };
    PolicyDocument::new(vec![trust])
}

/// The statements with which the policies of KMS keys in other accounts than the source's must admit the roles, by key
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>).
pub fn key_policies(resources: &[Grantee]) -> BTreeMap<String, Vec<Statement>> {
    let mut keys: BTreeMap<String, Vec<Statement>> = BTreeMap::new();
    for Grantee { desired, caller, .. } in resources {
        let DesiredRole::Managed(role) = &desired.role else { continue };
        for statement in &role.permissions.statement {
            for key in statement.resource.iter().filter(|arn| arn.contains(":key/")) {
                if account_of_arn(key) == Some(caller.account.as_str()) {
                    continue;
                }
                let arn = desired.role.arn(caller);
                // In a key's policy the resource is the key itself.
                let statement = Statement { resource: vec!["*".to_owned()], ..statement.clone() };
                keys.entry(key.clone()).or_default().push(statement.principal("AWS", arn));
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::BucketReplicationSpec;

    fn account(name: &str, yaml: &str) -> Account {
        Account { name: name.to_owned(), spec: serde_saphyr::from_str(yaml).unwrap() }
    }

    fn policy(account: &Account, all: &[Account]) -> Vec<Statement> {
        account_policy(account, all, Partition::AWS).statement
    }

    #[test]
    fn the_partition_of_an_account_is_that_of_its_arns_or_of_the_resources_that_refer_to_it() {
        let account = |yaml: &str| Account {
            name: "prod".to_owned(),
            spec: serde_saphyr::from_str(&format!("{{accountId: '111122223333', {yaml}}}")).unwrap(),
        };
        let of = |yaml: &str, of_resources: Option<&str>| {
            let of_resources = of_resources.map(Partition::of_region);
            partition_of_account(&account(yaml), of_resources, Partition::AWS).id()
        };
        assert_eq!(of("assumeRole: {arn: 'arn:aws-iso-e:iam::111122223333:role/r'}", None), "aws-iso-e");
        assert_eq!(of("roles: {permissionsBoundary: 'arn:aws-cn:iam::aws:policy/b'}", None), "aws-cn");
        assert_eq!(of("roles: {path: /p/}", Some("eusc-de-east-1")), "aws-eusc");
        assert_eq!(of("roles: {path: /p/}", None), "aws");
    }

    #[test]
    fn an_imposed_boundary_bounds_whatever_gives_a_role_permissions() {
        let bounded = account(
            "own",
            "{accountId: '111122223333', sources: ['*'], roles: {permissionsBoundary: 'arn:aws:iam::111122223333:policy/b'}}",
        );
        for action in ["iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"] {
            let statements = policy(&bounded, &[]);
            let allowing: Vec<&Statement> =
                statements.iter().filter(|s| s.action.iter().any(|held| held == action)).collect();
            assert_eq!(allowing.len(), 1, "{action}");
            assert!(
                allowing[0].condition["StringEquals"].contains_key("iam:PermissionsBoundary"),
                "{action}"
            );
        }
    }

    /// A resource whose role has this boundary, with a destination of another account.
    fn grantee(boundary: Option<&str>) -> Grantee {
        let mut spec: BucketReplicationSpec = serde_saphyr::from_str(
            "{source: {bucket: s}, role: {name: r}, rules: [{id: a, destination: {bucket: d, account: '444455556666'}}]}",
        )
        .unwrap();
        if let Some(role) = &mut spec.role {
            role.permissions_boundary = boundary.map(str::to_owned);
        }
        grantee_of(&spec)
    }

    fn grantee_of(spec: &BucketReplicationSpec) -> Grantee {
        use crate::api::BucketReplicationStatus;
        use crate::replication::desired::Discovered;
        use crate::replication::{Accounts, Replication, ResourceId};
        let caller = Caller { account: "111122223333".to_owned(), partition: Partition::AWS };
        let discovered = Discovered { caller: caller.clone(), regions: BTreeMap::new(), object_lock: false };
        let (status, id) = (BucketReplicationStatus::default(), ResourceId::of_account("x"));
        let accounts = Accounts::default();
        let replication = Replication { spec, status: &status, id: &id, accounts: &accounts };
        let desired = Desired::new(&replication, &discovered);
        let (management, source_keys) = (ManagementPolicy::Enforce, spec.source.kms_key_arns.clone());
        Grantee { desired, caller, management, source_keys, former_roles: Vec::new() }
    }

    #[test]
    fn the_operator_s_own_policy_holds_for_buckets_of_their_owners_and_roles_inside_their_boundary() {
        let statements = operator_policy(&[grantee(Some("arn:aws:iam::111122223333:policy/b"))]).statement;
        let sids: BTreeSet<&str> = statements.iter().map(|statement| statement.sid.as_str()).collect();
        assert_eq!(sids.len(), statements.len(), "each Sid is there once: {sids:?}");
        for statement in statements.iter().filter(|s| s.action[0].starts_with("s3:")) {
            let account_id = &statement.condition["StringEqualsIfExists"]["s3:ResourceAccount"][0];
            let expected =
                if statement.resource == ["arn:aws:s3:::d"] { "444455556666" } else { "111122223333" };
            assert_eq!(account_id, expected, "{}", statement.sid);
        }
        for action in ["iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"] {
            let allowing = statements.iter().filter(|s| s.action.iter().any(|held| held == action));
            for statement in allowing {
                assert!(
                    statement.condition["StringEquals"].contains_key("iam:PermissionsBoundary"),
                    "{action}"
                );
            }
        }
        let unbounded = operator_policy(&[grantee(None)]).statement;
        assert!(unbounded.iter().all(|s| !s.action.iter().any(|a| a == "iam:PutRolePermissionsBoundary")));
        assert!(unbounded.iter().any(|s| s.action.iter().any(|a| a == "iam:DeleteRolePermissionsBoundary")));
    }

    #[test]
    fn the_policy_of_a_key_may_be_read_only_where_metrics_can_show_that_objects_fail() {
        let reads = |metrics: &str| {
            let spec = format!(
                "{{source: {{bucket: s}}, rules: [{{id: a, kmsEncryptedObjects: Enabled, destination: {{bucket: d, metrics: {metrics}, kmsKeyArn: 'arn:aws:kms:eu-west-1:111122223333:key/k'}}}}]}}"
            );
            let statements =
                operator_policy(&[grantee_of(&serde_saphyr::from_str(&spec).unwrap())]).statement;
            let reading = statements.into_iter().filter(|s| s.action == [GET_KEY_POLICY]);
            reading.flat_map(|statement| statement.resource).collect::<Vec<_>>()
        };
        assert_eq!(reads("Enabled"), ["arn:aws:kms:eu-west-1:111122223333:key/k"]);
        assert!(reads("Disabled").is_empty());
    }

    #[test]
    fn the_policies_of_the_source_s_keys_may_be_read_where_a_rule_with_metrics_replicates_encrypted_objects()
    {
        let reads = |rule: &str| {
            let spec = format!(
                "{{source: {{bucket: s, kmsKeyArns: ['arn:aws:kms:us-east-1:111122223333:key/s']}}, rules: [{rule}]}}"
            );
            let statements =
                operator_policy(&[grantee_of(&serde_saphyr::from_str(&spec).unwrap())]).statement;
            let reading = statements.into_iter().filter(|s| s.action == [GET_KEY_POLICY]);
            reading.flat_map(|statement| statement.resource).collect::<Vec<_>>()
        };
        let rule = |encrypted: &str, metrics: &str| {
            format!(
                "{{id: a, kmsEncryptedObjects: {encrypted}, destination: {{bucket: d, metrics: {metrics}}}}}"
            )
        };
        let key = ["arn:aws:kms:us-east-1:111122223333:key/s"];
        assert_eq!(reads(&rule("Enabled", "Enabled")), key);
        assert!(reads(&rule("Enabled", "Disabled")).is_empty());
        assert!(reads(&rule("Disabled", "Enabled")).is_empty());
    }

    #[test]
    fn an_account_that_is_only_replicated_from_has_the_policies_of_its_keys_read_and_nothing_else_of_them() {
        let of_keys = |yaml: &str| {
            let statements = policy(&account("own", yaml), &[]);
            let of_keys = statements.into_iter().filter(|statement| statement.sid == "ReadKeys");
            of_keys.flat_map(|statement| statement.action).collect::<Vec<_>>()
        };
        assert_eq!(of_keys("{accountId: '111122223333', sources: ['*']}"), [GET_KEY_POLICY]);
        let both = ["kms:DescribeKey", GET_KEY_POLICY];
        assert_eq!(of_keys("{accountId: '111122223333', destinations: ['*']}"), both);
        assert!(of_keys("{accountId: '111122223333'}").is_empty());
    }

    #[test]
    fn the_policies_of_destinations_are_only_for_accounts_that_others_replicate_into() {
        let names_policies = |account: &Account, all: &[Account]| {
            policy(account, all).iter().any(|statement| statement.sid == "DestinationPolicies")
        };
        let own = account("own", "{accountId: '111122223333', sources: ['*'], destinations: ['*']}");
        let again = account("again", "{accountId: '111122223333', sources: ['*']}");
        let other = account("other", "{accountId: '444455556666', sources: ['*'], destinations: ['*']}");
        let only_replicas = account("dr", "{accountId: '444455556666', destinations: ['*']}");
        assert!(!names_policies(&own, &[own.clone(), again]));
        assert!(names_policies(&own, &[own.clone(), other]));
        assert!(names_policies(&only_replicas, &[]));
    }

    #[test]
    fn patterns_match_buckets_of_the_account_only() {
        let own = account("own", "{accountId: '111122223333', sources: ['*'], destinations: ['*']}");
        for statement in policy(&own, &[]).iter().filter(|s| s.action[0].starts_with("s3:")) {
            let condition = &statement.condition["StringEqualsIfExists"]["s3:ResourceAccount"];
            assert_eq!(condition, &["111122223333"], "{}", statement.sid);
        }
    }
}
