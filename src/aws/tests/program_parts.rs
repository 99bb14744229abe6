//! The parts of random programs that are about canaries, jobs and connections.
//!
//! In: a generator, and the names on a stage. Out: acts.

use jiff::Timestamp;
use std::collections::BTreeMap;

use crate::api::{AssumeRole, AwsAccountSpec, ObjectReplicationStatus, ReportScope};
use crate::aws::tests::canaries::CanaryAct;
use crate::aws::tests::connections::ConnectionAct;
use crate::aws::tests::jobs::JobAct;
use crate::aws::tests::program::Draw;
use crate::aws::tests::stage::{AWAY, HOME, THERE};
use crate::replication::backfill::{JobAddress, JobReport, JobRequest, JobUpdate};
use crate::replication::health::canary::CanaryObject;
use crate::replication::{Account, Accounts};

/// The number of the last canaries and jobs that an act may be about.
const RECENT: usize = 3;

impl Draw<'_> {
    pub(super) fn canary(&mut self) -> CanaryAct {
        match self.rng.u8(0..20) {
            0..2 => {
                let (source, destination) = (self.address(), self.address());
                CanaryAct::Facts(source, vec![destination])
            }
            2..10 => CanaryAct::Put(self.canary_object()),
            10..13 => CanaryAct::ReadStatus { back: self.rng.usize(0..RECENT) },
            13..16 => {
                let bucket = self.address();
                CanaryAct::List(bucket, self.one_of(&["", "logs/", "none/"]).to_owned())
            }
            16..19 => CanaryAct::Delete { back: self.rng.usize(0..RECENT) },
            _ => CanaryAct::DeleteListed(self.address()),
        }
    }

    pub(super) fn canary_object(&mut self) -> CanaryObject {
        let orders = self.names.orders.clone();
        let bucket = if self.once_in(4) { self.address() } else { self.right_address(&orders) };
        let prefix = self.one_of(&["", "logs/", "a&<b", "other/"]);
        let tags = if self.once_in(2) {
            BTreeMap::from([("a".to_owned(), "1".to_owned())])
        } else {
            BTreeMap::new()
        };
        CanaryObject { bucket, key: format!("{prefix}canary-{}", self.rng.u8(0..4)), tags }
    }

    /// Where jobs are; now and then in another Region, and in an account that is not the caller's.
    fn job_address(&mut self) -> JobAddress {
        let region = if self.once_in(5) { AWAY } else { HOME };
        let account = if self.once_in(8) { &self.names.there } else { &self.names.here };
        JobAddress { account: account.clone(), region: region.to_owned() }
    }

    pub(super) fn job(&mut self) -> JobAct {
        let back = self.rng.usize(0..RECENT);
        match self.rng.u8(0..24) {
            0..7 => JobAct::Create(Box::new(self.job_request())),
            7..11 => JobAct::Describe { back, address: self.job_address() },
            11..14 => {
                let address = self.job_address();
                JobAct::Find(address, format!("backfill-{}", self.rng.u8(0..2)))
            }
            14..18 => {
                let update = self.one_of(&[JobUpdate::Confirm, JobUpdate::Cancel]);
                JobAct::Update { back, address: self.job_address(), update }
            }
            18..21 => JobAct::Put { back, state: self.one_of(&STATES).to_owned() },
            21..23 => JobAct::Advance { back },
            _ => JobAct::Forget { back },
        }
    }

    fn job_request(&mut self) -> JobRequest {
        let number = self.rng.u8(0..2);
        let source = format!("arn:aws:s3:::{}", self.names.orders);
        let report =
            JobReport { bucket: source.clone(), prefix: "reports".to_owned(), scope: ReportScope::All };
        JobRequest {
            address: self.job_address(),
            source,
            statuses: vec![ObjectReplicationStatus::NotReplicated, ObjectReplicationStatus::Failed],
            created_after: None,
            created_before: Timestamp::from_second(1_800_000_000).unwrap(),
            prefixes: if self.once_in(3) { vec!["logs/".to_owned()] } else { Vec::new() },
            report: self.once_in(3).then_some(report),
            role: self.role_arn(),
            priority: self.one_of(&[10, 10, 10, 20]),
            confirmation_required: self.once_in(2),
            token: format!("token-{number}"),
            description: format!("backfill-{number}"),
        }
    }

    pub(super) fn connection(&mut self) -> ConnectionAct {
        match self.rng.u8(0..8) {
            // One account alone may be refused: nothing says which refusal comes first.
            0..2 => ConnectionAct::Connect(Accounts {
                source: Some(self.account("source")),
                destinations: BTreeMap::new(),
            }),
            2..4 => {
                let destinations = BTreeMap::from([(THERE.to_owned(), self.account(THERE))]);
                ConnectionAct::Connect(Accounts { source: None, destinations })
            }
            4..6 => ConnectionAct::Verify(self.account("checked")),
            _ => ConnectionAct::Trust(self.once_in(2)),
        }
    }

    /// An `AwsAccount`, which may name another account than its identity is in.
    fn account(&mut self, name: &str) -> Account {
        let (here, there) = (self.names.here.clone(), self.names.there.clone());
        let in_role = self.one_of(&[
            there.clone(),
            there.clone(),
            there.clone(),
            here.clone(),
            "123456789012".to_owned(),
        ]);
        let role = (!self.once_in(4)).then(|| format!("arn:aws:iam::{in_role}:role/operator"));
        let right = if role.is_some() { in_role } else { here };
        let account_id = if self.once_in(5) { there } else { right };
        let assume_role = role.map(|arn| AssumeRole { arn, ..AssumeRole::default() });
        Account {
            name: name.to_owned(),
            spec: AwsAccountSpec { account_id, assume_role, ..AwsAccountSpec::default() },
        }
    }
}

/// The states of a job, by S3's names.
const STATES: [&str; 13] = [
    "New",
    "Preparing",
    "Suspended",
    "Suspended",
    "Ready",
    "Active",
    "Pausing",
    "Paused",
    "Completing",
    "Complete",
    "Cancelling",
    "Failing",
    "Failed",
];
