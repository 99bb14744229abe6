//! The content of a report, the same in each format.
//!
//! In: the resources of a cluster, and what the accounts hold. Out: [`FleetReport`]. Its JSON form is documented in
//! `docs/command-line.md` and stable. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{Correction, DriftEntry};
use crate::cli::counted::{counted, form};
use crate::cli::fleet::{FleetSummary, ReplicationView};

/// Prints a resource for a bucket that replicates without one.
pub const IMPORT: &str = "s3-replication-operator import --bucket BUCKET";

/// Accounts that the first line names.
const NAMED: usize = 10;

/// An account's bucket, as it was read. A failure holds why nothing is known.
#[derive(Clone, Debug)]
pub struct ReadBucket {
    pub name: String,
    /// The names of the buckets into which its enabled rules replicate; `None` where it has no enabled rule.
    pub destinations: Result<Option<Vec<String>>, String>,
}

/// An account, as it was read.
#[derive(Clone, Debug)]
pub struct ReadAccount {
    pub account_id: String,
    /// The `AwsAccount` through which it was read; `None`: the AWS identity of the environment.
    pub account_ref: Option<String>,
    /// Why nothing is known.
    pub buckets: Result<Vec<ReadBucket>, String>,
}

/// The buckets that the resources of a cluster are about.
#[derive(Clone, Debug, Default)]
pub struct Covered {
    sources: BTreeSet<String>,
    destinations: BTreeSet<String>,
}

impl Covered {
    /// The buckets of these resources.
    ///
    /// # Errors
    /// Why they are unknown: a resource has them where this version does not find them.
    pub fn by(replications: &[ReplicationView]) -> Result<Covered, String> {
        if let Some(odd) = replications.iter().find(|view| !view.is_about_known_buckets()) {
            let (name, why) = (odd.full_name(), odd.message.trim_end_matches('.'));
            return Err(format!(
                "this version cannot decode BucketReplication {name} ({why}) or find its buckets"
            ));
        }
        let destinations = replications.iter().flat_map(|view| &view.rules);
        Ok(Covered {
            sources: replications.iter().map(|view| view.source.bucket.clone()).collect(),
            destinations: destinations.map(|rule| rule.destination.bucket.clone()).collect(),
        })
    }
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetReport {
    /// When the cluster was read; RFC 3339.
    pub generated: String,
    pub summary: FleetSummary,
    pub replications: Vec<ReplicationView>,
    /// The accounts that were asked for their buckets. Empty: none was, and the lists below say nothing.
    pub accounts: Vec<AccountReport>,
    /// Buckets that replicate nowhere, and into which nothing replicates.
    pub not_replicated: Vec<BucketReport>,
    /// Buckets that replicate, and that no resource of the cluster is about: `import` prints one.
    pub not_managed: Vec<BucketReport>,
    /// The accounts and buckets that could not be read, so that nothing is known of them.
    pub unknown: Vec<UnknownReport>,
    /// Why it is unknown which buckets a resource covers, so that the lists of buckets are empty. Absent: it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage_unknown: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountReport {
    pub account_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
    /// The number of its buckets; absent: they are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketReport {
    pub account_id: String,
    pub bucket: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnknownReport {
    pub account_id: String,
    /// Absent: no bucket of the account is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    pub why: String,
}

/// The differences from the spec of a resource, or the operator's last correction there.
#[derive(Clone, Copy, Debug)]
pub struct ChangeReport<'a> {
    pub view: &'a ReplicationView,
    /// When it was corrected; `None`: it differs now.
    pub corrected: Option<Timestamp>,
    pub entries: &'a [DriftEntry],
    /// The number of all; `entries` may be the first of them.
    pub count: usize,
}

impl FleetReport {
    /// `covered`: by the resources of the whole cluster, of which `replications` may be a part; or why it is unknown.
    pub fn new(
        replications: Vec<ReplicationView>,
        covered: Result<Covered, String>,
        accounts: Vec<ReadAccount>,
        now: Timestamp,
    ) -> FleetReport {
        let (covered, coverage_unknown) = match covered {
            Ok(covered) => (covered, None),
            Err(why) => (Covered::default(), Some(why)),
        };
        let Covered { sources, mut destinations } = covered;
        for bucket in accounts.iter().flat_map(|account| account.buckets.iter().flatten()) {
            destinations.extend(bucket.destinations.iter().flatten().flatten().cloned());
        }
        let mut report = FleetReport {
            generated: now.to_string(),
            summary: FleetSummary::of(replications.iter().map(|view| view.verdict)),
            replications,
            accounts: Vec::new(),
            not_replicated: Vec::new(),
            not_managed: Vec::new(),
            unknown: Vec::new(),
            coverage_unknown,
        };
        for ReadAccount { account_id, account_ref, buckets } in accounts {
            let count = buckets.as_ref().ok().map(Vec::len);
            report.accounts.push(AccountReport {
                account_id: account_id.clone(),
                account_ref,
                buckets: count,
            });
            match buckets {
                Err(why) => report.unknown.push(UnknownReport { account_id, bucket: None, why }),
                Ok(buckets) => {
                    for ReadBucket { name, destinations: held } in buckets {
                        let entry = BucketReport { account_id: account_id.clone(), bucket: name.clone() };
                        match held {
                            Err(why) if !sources.contains(&name) => {
                                let (account_id, bucket) = (account_id.clone(), Some(name));
                                report.unknown.push(UnknownReport { account_id, bucket, why });
                            }
                            // The resource says more than this read could.
                            Err(_) => {}
                            Ok(_) if report.coverage_unknown.is_some() => {}
                            Ok(Some(_)) if !sources.contains(&name) => report.not_managed.push(entry),
                            Ok(None) if !sources.contains(&name) && !destinations.contains(&name) => {
                                report.not_replicated.push(entry);
                            }
                            Ok(_) => {}
                        }
                    }
                }
            }
        }
        report.not_replicated.sort();
        report.not_managed.sort();
        report.unknown.sort();
        report
    }

    /// Whether something needs attention: exit code 2. A bucket that does not replicate may be meant so.
    pub fn is_wrong(&self) -> bool {
        self.summary.wrong > 0 || !self.unknown.is_empty() || self.coverage_unknown.is_some()
    }

    /// The verdict of the fleet. While something is unknown, not all is well. `text`: how a name from elsewhere is
    /// written.
    pub fn headline(&self, text: impl Fn(&str) -> String) -> String {
        let unread: Vec<&UnknownReport> = self.unknown.iter().filter(|one| one.bucket.is_none()).collect();
        let buckets = self.unknown.len() - unread.len();
        let of_accounts = (!unread.is_empty()).then(|| {
            let mut named: Vec<String> = unread.iter().take(NAMED).map(|one| text(&one.account_id)).collect();
            let more = unread.len() - named.len();
            named.extend((more > 0).then(|| format!("and {more} more")));
            format!("{} could not be read ({})", counted(unread.len(), "account"), named.join(", "))
        });
        let of_buckets = (buckets > 0).then(|| format!("{} could not be read", counted(buckets, "bucket")));
        let uncovered = "which buckets no replication covers is not known".to_owned();
        let of_coverage = self.coverage_unknown.as_ref().map(|_| uncovered);
        let unknown: Vec<String> = [of_accounts, of_buckets, of_coverage].into_iter().flatten().collect();
        if unknown.is_empty() {
            return self.summary.sentence();
        }
        let unknown = format!("Unknown: {}.", unknown.join("; "));
        match self.summary.total {
            1.. if self.summary.is_well() => format!("{unknown} Replications: {}.", self.summary.counts()),
            _ if self.summary.wrong > 0 => format!("{} {unknown}", self.summary.sentence()),
            _ => format!("{unknown} {}", self.summary.sentence()),
        }
    }

    /// The present differences, in the order of urgency, and then the corrections, the newest first.
    pub fn changes(&self) -> Vec<ChangeReport<'_>> {
        let change = |view, corrected, entries, count: i32| {
            let count = usize::try_from(count).unwrap_or_default();
            ChangeReport { view, corrected, entries, count }
        };
        let differing = self.replications.iter().filter(|view| view.drift_count > 0);
        let mut changes: Vec<ChangeReport<'_>> =
            differing.map(|view| change(view, None, &view.drift, view.drift_count)).collect();
        let corrected = self.replications.iter().filter_map(|view| {
            let Correction { time, count, items } = view.last_correction.as_ref()?;
            Some(change(view, Some(time.0), items, *count))
        });
        changes.extend(corrected);
        changes.sort_by_key(|change| change.corrected.map(Reverse));
        changes
    }

    /// The coverage of the accounts' buckets, in a sentence for the verdict. `text`: how a text from elsewhere is
    /// written.
    pub fn coverage(&self, text: impl Fn(&str) -> String) -> String {
        if self.accounts.is_empty() {
            return "No account was asked for its buckets.".to_owned();
        }
        if let Some(why) = &self.coverage_unknown {
            return format!("It is unknown which buckets no replication covers: {}.", text(why));
        }
        if self.accounts.iter().all(|account| account.buckets.is_none()) {
            return "No account could be read, so that it is unknown which buckets replicate.".to_owned();
        }
        let buckets: usize = self.accounts.iter().filter_map(|account| account.buckets).sum();
        if buckets == 0 && self.unknown.is_empty() {
            let has = form(self.accounts.len(), "The account has", "The accounts have");
            return format!("{has} no buckets.");
        }
        let unknown = match self.unknown.len() {
            0 => String::new(),
            count => format!(
                "; {} {} missing, so that nothing is known there",
                counted(count, "answer"),
                form(count, "is", "are")
            ),
        };
        let verb = |count: usize, one: &str, many: &str| format!("{count} {}", form(count, one, many));
        format!(
            "Of {}, {} and {} without a resource in this cluster{unknown}.",
            counted(buckets, "bucket"),
            verb(self.not_replicated.len(), "does not replicate", "do not replicate"),
            verb(self.not_managed.len(), "replicates", "replicate"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fleet::samples::{POINTERS, all, resource, undecodable};
    use crate::cli::fleet::view_all;
    use serde_json::json;

    fn bucket(name: &str, destinations: Result<Option<Vec<&str>>, &str>) -> ReadBucket {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let destinations = destinations.map(|held| held.map(owned)).map_err(str::to_owned);
        ReadBucket { name: name.to_owned(), destinations }
    }

    fn account(id: &str, buckets: Result<Vec<ReadBucket>, &str>) -> ReadAccount {
        let buckets = buckets.map_err(str::to_owned);
        ReadAccount { account_id: id.to_owned(), account_ref: None, buckets }
    }

    #[test]
    fn a_bucket_is_covered_as_a_source_or_as_a_destination_and_unknown_is_never_fine() {
        let views = all([resource("orders", &[["Ready", "True", "Applied", "m"]])]);
        let buckets = vec![
            bucket("orders-source", Ok(Some(vec!["orders-copy"]))),
            bucket("orders-copy", Ok(None)),
            bucket("lonely", Ok(None)),
            bucket("by-hand", Ok(Some(vec!["by-hand-copy"]))),
            bucket("by-hand-copy", Ok(None)),
            bucket("denied", Err("access denied")),
        ];
        let accounts = vec![account("111111111111", Ok(buckets)), account("222222222222", Err("no session"))];
        let covered = Covered::by(&views);
        let report = FleetReport::new(views, covered, accounts, Timestamp::UNIX_EPOCH);
        let names = |buckets: &[BucketReport]| -> Vec<String> {
            buckets.iter().map(|bucket| bucket.bucket.clone()).collect()
        };
        assert_eq!(names(&report.not_replicated), ["lonely"]);
        assert_eq!(names(&report.not_managed), ["by-hand"]);
        let unknown: Vec<(&str, Option<&str>)> =
            report.unknown.iter().map(|u| (u.account_id.as_str(), u.bucket.as_deref())).collect();
        assert_eq!(unknown, [("111111111111", Some("denied")), ("222222222222", None)]);
        assert!(report.is_wrong(), "what is unknown needs attention");
        assert!(
            report.coverage(str::to_owned).contains("2 answers are missing"),
            "{}",
            report.coverage(str::to_owned)
        );
    }

    #[test]
    fn a_fleet_whose_accounts_could_not_be_read_is_not_called_well() {
        let report = |accounts: Vec<ReadAccount>, ready: [&str; 4]| {
            let views = all([resource("orders", &[ready])]);
            let covered = Covered::by(&views);
            FleetReport::new(views, covered, accounts, Timestamp::UNIX_EPOCH)
        };
        let first = |report: &FleetReport| report.headline(str::to_owned);
        let well = ["Ready", "True", "Applied", "m"];
        let read = || account("111111111111", Ok(vec![bucket("lonely", Ok(None))]));
        assert_eq!(first(&report(vec![read()], well)), "The replication is well: 1 applied.");

        let none = report(vec![account("222222222222", Err("no session"))], well);
        assert_eq!(
            first(&none),
            "Unknown: 1 account could not be read (222222222222). Replications: 1 applied."
        );
        assert_eq!(
            none.coverage(str::to_owned),
            "No account could be read, so that it is unknown which buckets replicate."
        );
        let unread = || account("222222222222", Err("no session"));
        let two = report(vec![read(), unread(), account("333333333333", Err("no session"))], well);
        assert!(
            first(&two).starts_with("Unknown: 2 accounts could not be read (222222222222, 333333333333).")
        );
        assert!(
            two.coverage(str::to_owned).starts_with("Of 1 bucket, 1 does not replicate"),
            "{}",
            two.coverage(str::to_owned)
        );

        let wrong = report(vec![unread()], ["Ready", "False", "ForeignRole", "m"]);
        assert_eq!(
            first(&wrong),
            "The replication needs attention: 1 failing. Unknown: 1 account could not be read (222222222222)."
        );
        let denied = account("111111111111", Ok(vec![bucket("secret", Err("denied"))]));
        assert_eq!(
            first(&report(vec![denied], well)),
            "Unknown: 1 bucket could not be read. Replications: 1 applied."
        );
    }

    #[test]
    fn what_differs_now_comes_before_corrections_of_which_the_newest_is_first() {
        let corrected = |name: &str, reason: &str, time: &str| {
            let mut object = resource(name, &[["Ready", "True", reason, "m"]]);
            object["status"]["lastCorrection"] = json!({"time": time, "count": 1, "items": []});
            object
        };
        let mut differs = resource("differs", &[["Ready", "True", "Applied", "m"]]);
        differs["status"]["driftCount"] = json!(3);
        let views = all([
            corrected("a", "Applied", "2026-01-01T00:00:00Z"),
            corrected("b", "Applied", "2026-03-01T00:00:00.5Z"),
            corrected("c", "Applied", "2026-03-01T00:00:00Z"),
            differs,
        ]);
        let report = FleetReport::new(views, Ok(Covered::default()), Vec::new(), Timestamp::UNIX_EPOCH);
        let names: Vec<&str> = report.changes().iter().map(|change| change.view.name.as_str()).collect();
        assert_eq!(names, ["differs", "b", "c", "a"]);
    }

    #[test]
    fn a_first_line_names_few_accounts_and_counts_the_others() {
        let unread = (0..5000).map(|n| account(&format!("{n:012}"), Err("no session"))).collect();
        let report = FleetReport::new(Vec::new(), Ok(Covered::default()), unread, Timestamp::UNIX_EPOCH);
        let first = report.headline(str::to_owned);
        assert!(first.contains("5000 accounts could not be read (000000000000, "), "{first}");
        assert!(first.contains(", and 4990 more)") && first.len() < 400, "{first}");
    }

    #[test]
    fn a_bucket_that_a_resource_of_another_namespace_covers_is_covered() {
        let everywhere = all([
            resource("orders", &[["Ready", "True", "Applied", "m"]]),
            resource("bills", &[["Ready", "True", "Applied", "m"]]),
        ]);
        let of_scope: Vec<ReplicationView> =
            everywhere.iter().filter(|view| view.name == "orders").cloned().collect();
        let buckets = || {
            let replicates = bucket("bills-source", Ok(Some(vec!["bills-copy"])));
            vec![account("111111111111", Ok(vec![replicates, bucket("lonely", Ok(None))]))]
        };
        let covered = Covered::by(&everywhere);
        let report = FleetReport::new(of_scope.clone(), covered, buckets(), Timestamp::UNIX_EPOCH);
        assert_eq!(report.replications.len(), 1);
        assert!(report.not_managed.is_empty(), "{:?}", report.not_managed);
        assert_eq!(report.not_replicated.len(), 1);

        let unknown = Err("cannot list BucketReplications".to_owned());
        let report = FleetReport::new(of_scope, unknown, buckets(), Timestamp::UNIX_EPOCH);
        assert!(report.not_managed.is_empty() && report.not_replicated.is_empty());
        assert!(
            report.is_wrong() && report.coverage(str::to_owned).contains("unknown"),
            "{}",
            report.coverage(str::to_owned)
        );
    }

    #[test]
    fn a_resource_of_another_version_covers_its_buckets_or_coverage_is_unknown() {
        let of = |spec: serde_json::Value| {
            let views = view_all(vec![undecodable("orders", spec)], &[], POINTERS);
            let buckets = vec![
                bucket("orders-source", Ok(Some(vec!["orders-copy"]))),
                bucket("orders-copy", Ok(None)),
                bucket("second-copy", Ok(None)),
                bucket("lonely", Ok(None)),
            ];
            let covered = Covered::by(&views);
            FleetReport::new(views, covered, vec![account("1", Ok(buckets))], Timestamp::UNIX_EPOCH)
        };
        let rule = |bucket: serde_json::Value| json!({"id": "all", "destination": {"bucket": bucket}});
        let source = json!({"bucket": "orders-source"});
        let near = of(json!({"source": source, "rules": [rule(json!("second-copy"))]}));
        assert!(near.not_managed.is_empty() && near.coverage_unknown.is_none(), "{near:?}");
        let lonely = [BucketReport { account_id: "1".to_owned(), bucket: "lonely".to_owned() }];
        assert_eq!(near.not_replicated, lonely);

        for far in [
            json!({"source": "orders-source", "rules": [rule(json!("second-copy"))]}),
            json!({"source": source, "rules": [rule(json!({"name": "second-copy"}))]}),
        ] {
            let far = of(far);
            assert!(far.not_managed.is_empty() && far.not_replicated.is_empty(), "{far:?}");
            let why = far.coverage_unknown.as_deref().unwrap_or_default();
            assert!(why.contains("BucketReplication data/orders"), "{why}");
        }
    }
}
