//! Decides which roles, configurations and statements no resource owns any more.
//!
//! In: what the accounts hold and which resources the cluster holds. Out: [`Findings`]. Pure. In doubt something is
//! kept: a role is an orphan only if its tags name this cluster and no resource has its UID, its name, its ARN, or a
//! source bucket whose configuration names it. A role that still replicates is listed apart from the orphans: the user
//! who deleted its resource may have meant the replication to go on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::{BucketReplication, GROUP};
use crate::cli::kubernetes::FoundObject;
use crate::cli::orphans::findings::{Findings, Orphan, REPLICATION, Statements, Unclear, UnclearRole};
use crate::iam::bucket_policy::written_by_operators;
use crate::replication::backfill::role::KIND_TAG;
use crate::replication::resource_id::{is_adopted, value_of};
use crate::replication::{BucketAddress, ObservedRole, ResourceId};

/// A bucket, with what it holds of replication.
#[derive(Clone, Debug)]
pub struct HeldBucket {
    pub address: BucketAddress,
    /// ARN of the role in its replication configuration.
    pub role: Option<String>,
    /// Whether its replication configuration has an enabled rule.
    pub replicates: bool,
    pub policy: Option<Value>,
}

/// The roles and buckets of an account.
#[derive(Clone, Debug, Default)]
pub struct HeldAccount {
    pub account_id: String,
    pub roles: Vec<ObservedRole>,
    pub buckets: Vec<HeldBucket>,
}

const BACKFILL: &str = "ReplicationBackfill";

/// The resources of the cluster that may own something.
#[derive(Debug)]
pub struct ClusterObjects<'a> {
    /// The UID of this cluster.
    pub uid: &'a str,
    pub resources: &'a [FoundObject<BucketReplication>],
    /// The UIDs of the backfills; `None`: they are unknown, and everything of a backfill is kept.
    pub backfills: Option<BTreeSet<String>>,
}

/// The things that the cluster's resources use.
#[derive(Debug, Default)]
struct Used {
    uids: BTreeSet<String>,
    names: BTreeSet<(String, String)>,
    roles: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl Used {
    fn of(resources: &[FoundObject<BucketReplication>]) -> Used {
        let mut used = Used::default();
        for FoundObject { metadata, object } in resources {
            used.uids.extend(metadata.uid.clone());
            used.names.insert((
                metadata.namespace.clone().unwrap_or_default(),
                metadata.name.clone().unwrap_or_default(),
            ));
            let resource = match object {
                Ok(resource) => resource,
                Err(odd) => {
                    used.sources.extend(odd.source().map(str::to_owned));
                    continue;
                }
            };
            used.sources.insert(resource.spec.source.bucket.clone());
            used.roles.extend(resource.spec.role.iter().filter_map(|role| role.arn.clone()));
            let status = resource.status.iter();
            for status in status {
                used.roles.extend(status.role.iter().map(|role| role.arn.clone()));
                used.roles.extend(status.former_roles.iter().chain(&status.applied_role).cloned());
            }
        }
        used
    }

    fn holds(&self, role: &ObservedRole, id: &ResourceId) -> bool {
        let name = (id.namespace.clone(), id.name.clone());
        id.uid.as_ref().is_some_and(|uid| self.uids.contains(uid))
            || self.names.contains(&name)
            || self.roles.contains(&role.arn)
    }
}

/// Finds what is left over.
pub fn find(cluster: &ClusterObjects<'_>, accounts: &[HeldAccount]) -> Findings {
    let used = Used::of(cluster.resources);
    let mut by_role: BTreeMap<&str, Vec<&HeldBucket>> = BTreeMap::new();
    for bucket in accounts.iter().flat_map(|account| &account.buckets) {
        bucket.role.iter().for_each(|role| by_role.entry(role).or_default().push(bucket));
    }
    let mut findings = Findings::default();
    let mut unowned: Vec<Orphan> = Vec::new();
    for HeldAccount { account_id, roles, .. } in accounts {
        for role in roles {
            let named = by_role.get(role.arn.as_str()).map(Vec::as_slice).unwrap_or_default();
            match judge(role, named, &used, cluster) {
                Judgement::OfAnotherCluster => findings.of_other_clusters += 1,
                Judgement::Used => {}
                Judgement::Unclear { why, fix } => {
                    let (account_id, arn) = (account_id.clone(), role.arn.clone());
                    let namespace = value_of(&role.tags, &format!("{GROUP}/namespace")).cloned();
                    findings.unclear_roles.push(UnclearRole { account_id, arn, namespace, why, fix });
                }
                Judgement::LeftOver { kind, id } => unowned.push(Orphan {
                    account_id: account_id.clone(),
                    role: role.name.clone(),
                    arn: role.arn.clone(),
                    kind,
                    namespace: id.namespace.clone(),
                    name: id.name.clone(),
                    id,
                    replicates: named.iter().any(|bucket| bucket.replicates),
                    configurations: named.iter().map(|bucket| bucket.address.clone()).collect(),
                    statements: Vec::new(),
                    blocked_by: role.other_policies.clone(),
                    has_policy: role.policy.as_ref().is_ok_and(Option::is_some),
                }),
            }
        }
    }
    findings.unclear = add_statements(&mut unowned, accounts);
    (findings.still_replicating, findings.orphans) =
        unowned.into_iter().partition(|orphan| orphan.replicates);
    findings
}

/// The judgement of a role.
enum Judgement {
    OfAnotherCluster,
    /// A resource uses it: the operator restores its tags if they differ.
    Used,
    Unclear {
        why: String,
        fix: String,
    },
    LeftOver {
        kind: &'static str,
        id: ResourceId,
    },
}

/// `named`: the buckets whose configurations name the role.
fn judge(role: &ObservedRole, named: &[&HeldBucket], used: &Used, cluster: &ClusterObjects<'_>) -> Judgement {
    let unclear = |why: String, fix: &str| Judgement::Unclear { why, fix: fix.to_owned() };
    let Some(id) = ResourceId::of_tags(&role.tags) else {
        return judge_by_some_tags(role, used, cluster.uid);
    };
    if id.cluster.as_deref() != Some(cluster.uid) {
        return Judgement::OfAnotherCluster;
    }
    let kind = match (role.tags.get(KIND_TAG).map(String::as_str), &cluster.backfills) {
        (None, _) => REPLICATION,
        // A job may be running with the role: a backfill that is there removes it at its end.
        (Some(BACKFILL), Some(backfills)) if is_without_backfill(&id, backfills) => BACKFILL,
        (Some(BACKFILL), Some(_)) => return Judgement::Used,
        (Some(BACKFILL), None) => {
            return unclear(
                format!("the ReplicationBackfill {}/{} may be there", id.namespace, id.name),
                "allow yourself to list replicationbackfills in all namespaces, and run the command again",
            );
        }
        (Some(kind), _) => {
            return unclear(
                format!("this version knows no kind {kind}, which its tag {KIND_TAG} names"),
                "run orphans of the version that made the role",
            );
        }
    };
    let is_held = match kind {
        BACKFILL => used.roles.contains(&role.arn),
        _ => used.holds(role, &id),
    };
    if is_held || named.iter().any(|bucket| used.sources.contains(&bucket.address.name)) {
        return Judgement::Used;
    }
    if is_adopted(&role.tags) {
        return unclear(
            format!(
                "someone else made it, and BucketReplication {}/{}, which is gone, took it over",
                id.namespace, id.name
            ),
            "remove its tags s3replication.dev/… to keep it, or its tag s3replication.dev/adopted to have this command list it",
        );
    }
    Judgement::LeftOver { kind, id }
}

/// Adds to each orphan the statements in bucket policies that nobody else needs. Returns the statements of which that is
/// unclear.
fn add_statements(unowned: &mut [Orphan], accounts: &[HeldAccount]) -> Vec<Unclear> {
    let by_arn: BTreeMap<String, usize> =
        unowned.iter().enumerate().map(|(index, orphan)| (orphan.arn.clone(), index)).collect();
    let mut unclear = Vec::new();
    for HeldBucket { address, policy, .. } in accounts.iter().flat_map(|account| &account.buckets) {
        let Some(policy) = policy else { continue };
        for (sid, principals) in written_by_operators(policy) {
            let owners: BTreeSet<Option<usize>> =
                principals.iter().map(|principal| by_arn.get(principal).copied()).collect();
            match owners.into_iter().collect::<Vec<_>>().as_slice() {
                // All principals are one orphan: nobody else needs the statements.
                [Some(index)] => {
                    if let Some(orphan) = unowned.get_mut(*index) {
                        orphan.statements.push(Statements { bucket: address.clone(), sid });
                    }
                }
                _ if principals.iter().any(|principal| principal.starts_with("AROA")) => {
                    let (bucket, principals) = (address.name.clone(), principals.into_iter().collect());
                    unclear.push(Unclear { bucket, sid, principals });
                }
                _ => {}
            }
        }
    }
    unclear
}

/// Whether the backfill of a role is certainly gone.
fn is_without_backfill(id: &ResourceId, backfills: &BTreeSet<String>) -> bool {
    id.uid.as_ref().is_some_and(|uid| !backfills.contains(uid))
}

/// The same of a role whose tags do not name a resource.
fn judge_by_some_tags(role: &ObservedRole, used: &Used, cluster: &str) -> Judgement {
    let value = |key: &str| value_of(&role.tags, &format!("{GROUP}/{key}"));
    if value("cluster").is_some_and(|held| held != cluster) {
        return Judgement::OfAnotherCluster;
    }
    let name = value("namespace").cloned().zip(value("name").cloned());
    let is_used = value("uid").is_some_and(|uid| used.uids.contains(uid))
        || name.is_some_and(|name| used.names.contains(&name))
        || used.roles.contains(&role.arn);
    let missing = ResourceId::missing_tags(&role.tags).unwrap_or_default();
    if is_used || missing.is_empty() {
        return Judgement::Used;
    }
    let key = format!("{GROUP}/cluster");
    Judgement::Unclear {
        why: format!("it has tags of an operator, and lacks {}", missing.join(", ")),
        fix: format!(
            "set what is missing ({key} is {cluster} in this cluster), or delete the role yourself if nothing replicates with it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fleet::samples::{found, resource, undecodable};
    use crate::iam::bucket_policy::{merged, statements};
    use crate::replication::Step;
    use crate::replication::resource_id::adopted_tag;

    const ARN: &str = "arn:aws:iam::111111111111:role/s3-replication/gone";

    fn role(cluster: &str, name: &str, uid: &str) -> ObservedRole {
        let id = ResourceId {
            cluster: Some(cluster.to_owned()),
            namespace: "data".to_owned(),
            name: name.to_owned(),
            uid: Some(uid.to_owned()),
            ..ResourceId::default()
        };
        ObservedRole {
            arn: format!("arn:aws:iam::111111111111:role/s3-replication/{name}"),
            name: name.to_owned(),
            path: "/s3-replication/".to_owned(),
            trust: Value::Null,
            permissions_boundary: None,
            tags: id.tags(),
            policy: Ok(Some(Value::Null)),
            other_policies: Vec::new(),
        }
    }

    fn bucket(name: &str, role: Option<&str>, policy: Option<Value>) -> HeldBucket {
        let address = BucketAddress {
            name: name.to_owned(),
            region: "us-east-1".to_owned(),
            account_id: "111111111111".to_owned(),
            account_ref: None,
        };
        HeldBucket { address, role: role.map(str::to_owned), replicates: false, policy }
    }

    fn found_by(resources: &[FoundObject<BucketReplication>], accounts: &[HeldAccount]) -> Findings {
        find(&ClusterObjects { uid: "c", resources, backfills: Some(BTreeSet::new()) }, accounts)
    }

    fn account(roles: Vec<ObservedRole>, buckets: Vec<HeldBucket>) -> HeldAccount {
        HeldAccount { account_id: "111111111111".to_owned(), roles, buckets }
    }

    #[test]
    fn a_role_whose_resource_is_gone_is_found_with_what_names_it() {
        let sid = ResourceId { namespace: "data".into(), name: "gone".into(), ..ResourceId::default() };
        let sid = sid.policy_sid("source");
        let policy = merged(None, &sid, &statements(&sid, &[ARN.to_owned()], "arn:aws:s3:::copy", false));
        let held = account(
            vec![role("c", "gone", "u")],
            vec![bucket("source", Some(ARN), None), bucket("copy", None, policy)],
        );
        let findings = found_by(&[], &[held]);
        let [orphan] = findings.orphans.as_slice() else { panic!("{findings:?}") };
        let steps: Vec<String> = orphan.steps().iter().map(ToString::to_string).collect();
        assert_eq!(steps.len(), 4, "{steps:?}");
        assert!(
            matches!(orphan.steps()[0], Step::DeleteReplication { .. }),
            "what needs the role goes first"
        );
        assert!(matches!(orphan.steps()[3], Step::DeleteRole { .. }));
    }

    #[test]
    fn a_role_that_still_replicates_is_no_orphan_and_is_deleted_only_on_request() {
        let replicating = HeldBucket { replicates: true, ..bucket("source", Some(ARN), None) };
        let held = account(vec![role("c", "gone", "u"), role("c", "idle", "v")], vec![replicating]);
        let findings = found_by(&[], &[held]);
        let names = |orphans: &[&Orphan]| -> Vec<String> {
            orphans.iter().map(|orphan| orphan.role.clone()).collect()
        };
        assert_eq!(names(&findings.to_delete(false)), ["idle"]);
        assert_eq!(names(&findings.to_delete(true)), ["idle", "gone"]);
        assert_eq!(findings.still_replicating[0].configurations[0].name, "source");
        let only = Findings { orphans: Vec::new(), ..findings };
        assert!(!only.is_empty(), "it is listed all the same");
    }

    #[test]
    fn a_role_of_another_cluster_is_never_an_orphan() {
        let held = account(vec![role("elsewhere", "gone", "u")], vec![bucket("source", Some(ARN), None)]);
        let findings = found_by(&[], &[held]);
        assert_eq!((findings.orphans.len(), findings.of_other_clusters), (0, 1));
        let mut untagged = role("c", "gone", "u");
        untagged.tags.remove("s3replication.dev/cluster");
        let findings = found_by(&[], &[account(vec![untagged], Vec::new())]);
        assert!(findings.orphans.is_empty(), "nothing says that it is this cluster's: {findings:?}");
        let [unclear] = findings.unclear_roles.as_slice() else { panic!("{findings:?}") };
        assert!(unclear.why.ends_with("lacks s3replication.dev/cluster"), "{}", unclear.why);
        assert!(unclear.fix.contains("s3replication.dev/cluster is c in this cluster"), "{}", unclear.fix);
    }

    #[test]
    fn a_role_that_was_adopted_is_no_orphan_because_the_operator_did_not_make_it() {
        let mut adopted = role("c", "gone", "u");
        adopted.tags.extend([adopted_tag()]);
        let findings = found_by(&[], &[account(vec![adopted], Vec::new())]);
        assert!(findings.orphans.is_empty(), "{findings:?}");
        let [unclear] = findings.unclear_roles.as_slice() else { panic!("{findings:?}") };
        assert!(unclear.why.starts_with("someone else made it"), "{}", unclear.why);
    }

    #[test]
    fn a_role_that_lacks_tags_is_unclear_only_if_an_operator_made_it_and_no_resource_uses_it() {
        let mut untagged = role("c", "gone", "u");
        untagged.tags.remove("s3replication.dev/uid");
        let held = |role: &ObservedRole| [account(vec![role.clone()], Vec::new())];
        assert_eq!(found_by(&[], &held(&untagged)).unclear_roles.len(), 1);

        let mut by_status = found(resource("orders", &[]));
        by_status.object.as_mut().unwrap().status.as_mut().unwrap().former_roles = vec![ARN.to_owned()];
        let findings = found_by(&[by_status], &held(&untagged));
        assert!(findings.is_empty(), "the operator restores the tags: {findings:?}");

        let mut elsewhere = untagged.clone();
        elsewhere.tags.insert("s3replication.dev/cluster".to_owned(), "another".to_owned());
        let findings = found_by(&[], &held(&elsewhere));
        assert_eq!((findings.is_empty(), findings.of_other_clusters), (true, 1));

        let mut of_someone = untagged;
        of_someone.tags = BTreeMap::from([("team".to_owned(), "data".to_owned())]);
        assert!(found_by(&[], &held(&of_someone)).is_empty(), "no operator made it");
    }

    #[test]
    fn the_role_of_a_job_is_left_to_its_backfill_and_is_an_orphan_without_it() {
        let job = |kind: &str| {
            let mut job = role("c", "backfill+data.gone", "u");
            job.tags.insert(KIND_TAG.to_owned(), kind.to_owned());
            account(vec![job], Vec::new())
        };
        let found = |kind: &str, backfills: Option<&[&str]>| {
            let backfills = backfills.map(|uids| uids.iter().map(|uid| (*uid).to_owned()).collect());
            find(&ClusterObjects { uid: "c", resources: &[], backfills }, &[job(kind)])
        };
        assert!(found(BACKFILL, Some(&["u"])).is_empty(), "the backfill is there");
        for (unknown, why) in [
            (found(BACKFILL, None), "ReplicationBackfill data/backfill+data.gone may be there"),
            (found("BrandNew", Some(&[])), "knows no kind BrandNew"),
        ] {
            let [unclear] = unknown.unclear_roles.as_slice() else { panic!("{unknown:?}") };
            assert!(unclear.why.contains(why) && unknown.to_delete(true).is_empty(), "{unknown:?}");
        }
        let gone = found(BACKFILL, Some(&["another"]));
        let [orphan] = gone.orphans.as_slice() else { panic!("{gone:?}") };
        assert_eq!((orphan.kind, orphan.steps().len()), (BACKFILL, 2), "its policy and the role");
    }

    #[test]
    fn whatever_a_resource_may_still_need_is_kept() {
        let orders = || vec![found(resource("orders", &[]))];
        let by_uid = role("c", "former-name", "orders");
        let by_name = role("c", "orders", "an-earlier-uid");
        let mut by_status = orders();
        by_status[0].object.as_mut().unwrap().status.as_mut().unwrap().former_roles = vec![ARN.to_owned()];
        let mut by_spec = orders();
        by_spec[0].object.as_mut().unwrap().spec.role =
            Some(crate::api::Role { arn: Some(ARN.to_owned()), ..crate::api::Role::default() });
        let source = || vec![bucket("orders-source", Some(ARN), None)];
        for (resources, role, buckets) in [
            (orders(), by_uid, Vec::new()),
            (orders(), by_name, Vec::new()),
            (by_status, role("c", "gone", "u"), Vec::new()),
            (by_spec, role("c", "gone", "u"), Vec::new()),
            (orders(), role("c", "gone", "u"), source()),
        ] {
            let findings = found_by(&resources, &[account(vec![role], buckets)]);
            assert!(findings.is_empty(), "{findings:?}");
        }
    }

    #[test]
    fn an_undecodable_resource_keeps_its_role_by_its_uid_or_its_source() {
        let odd = || vec![undecodable("orders", json!({"source": {"bucket": "orders-source"}}))];
        let findings = found_by(&odd(), &[account(vec![role("c", "orders", "orders")], Vec::new())]);
        assert!(findings.is_empty(), "{findings:?}");
        let held = account(vec![role("c", "gone", "u")], vec![bucket("orders-source", Some(ARN), None)]);
        let findings = found_by(&odd(), &[held]);
        assert!(findings.is_empty(), "its source replicates with the role: {findings:?}");
    }

    #[test]
    fn statements_that_others_share_or_whose_role_is_gone_stay() {
        let sid = ResourceId::default().policy_sid("source");
        let statement = |principals: Value| {
            let statement = json!({"Sid": format!("{sid}Objects"), "Principal": {"AWS": principals}});
            Some(json!({"Statement": [statement]}))
        };
        let shared = bucket("shared", None, statement(json!([ARN, "arn:aws:iam::111111111111:role/other"])));
        let unclear = bucket("unclear", None, statement(json!("AROAEXAMPLEID")));
        let findings = found_by(&[], &[account(vec![role("c", "gone", "u")], vec![shared, unclear])]);
        assert!(findings.orphans[0].statements.is_empty(), "{findings:?}");
        assert_eq!(findings.unclear.len(), 1);
        assert_eq!(findings.unclear[0].bucket, "unclear");
    }

    #[test]
    fn a_role_with_policies_of_others_is_left_with_the_commands_that_take_them_off() {
        let mut attached = role("c", "gone", "u");
        attached.other_policies =
            vec!["by-hand".to_owned(), "arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned()];
        let findings = found_by(&[], &[account(vec![attached], Vec::new())]);
        let orphan = &findings.orphans[0];
        assert!(!orphan.steps().iter().any(|step| matches!(step, Step::DeleteRole { .. })));
        let commands = [
            "aws iam delete-role-policy --role-name gone --policy-name by-hand",
            "aws iam detach-role-policy --role-name gone --policy-arn arn:aws:iam::aws:policy/ReadOnlyAccess",
        ];
        assert_eq!(orphan.unblocking(), commands);
    }

    #[test]
    fn a_namespace_limits_what_is_found_to_its_resources_and_the_rest_is_counted() {
        let of = |namespace: &str, name: &str| {
            let mut tagged = role("c", name, name);
            tagged.tags.insert("s3replication.dev/namespace".to_owned(), namespace.to_owned());
            tagged
        };
        let mut unclear = of("other", "half");
        unclear.tags.remove("s3replication.dev/uid");
        let mut nameless = unclear.clone();
        nameless.tags.remove("s3replication.dev/namespace");
        let roles =
            vec![of("data", "mine"), of("other", "theirs"), of("other", "running"), unclear, nameless];
        let arn = roles[2].arn.clone();
        let replicating = HeldBucket { replicates: true, ..bucket("source", Some(&arn), None) };
        let unclear = json!({"Statement": [{
            "Sid": format!("{}Objects", ResourceId::default().policy_sid("s")), "Principal": {"AWS": "AROAEXAMPLEID"},
        }]});
        let held = account(roles, vec![replicating, bucket("unclear", None, Some(unclear))]);
        let all = found_by(&[], &[held]);
        assert_eq!((all.to_delete(true).len(), all.unclear_roles.len()), (3, 2), "{all:?}");
        assert_eq!(all.clone().within(None), all);

        let within = all.clone().within(Some("data"));
        let names: Vec<&str> = within.to_delete(true).iter().map(|orphan| orphan.role.as_str()).collect();
        assert_eq!((names, within.of_other_namespaces), (vec!["mine"], 3), "{within:?}");
        assert_eq!(within.unclear_roles.len(), 1, "whose it is nobody knows: {within:?}");
        assert_eq!(within.unclear.len(), 1, "nothing says of which namespace the statements are");
        let none = all.within(Some("empty"));
        assert_eq!((none.to_delete(true).len(), none.of_other_namespaces), (0, 4));
    }
}
