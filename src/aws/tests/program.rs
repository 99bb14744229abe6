//! Random programs: what the controllers may ask of AWS, and what others do there.
//!
//! In: a seed, and the names on a stage. Out: acts. The same seed gives the same acts on every stage, but for the
//! names. Most acts make sense one after the other; the others name a bucket that is missing, another Region or owner.
//! Acts about canaries, jobs and connections are drawn in `program_parts.rs`.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::api::Switch;
use crate::aws::tests::canaries::CanaryAct;
use crate::aws::tests::connections::ConnectionAct;
use crate::aws::tests::jobs::JobAct;
use crate::aws::tests::stage::{AWAY, HOME, Names, THERE, id};
use crate::iam::bucket_policy::{self, MAX_BUCKET_POLICY};
use crate::iam::document::{PolicyDocument, trust_policy};
use crate::replication::{
    BucketAddress, BucketRef, Configuration, DeletionReadSet, ReadSet, RoleDocuments, Rule, RuleDestination,
    RuleFilter, Step,
};

/// The acts of a program.
pub const LENGTH: usize = 36;

pub(super) const ROLES: [&str; 2] = ["orders-role", "second-role"];
const BOUNDARY: &str = "arn:aws:iam::aws:policy/AmazonS3FullAccess";

/// How each kind of act is written.
pub const KINDS: [&str; 39] = [
    "Execute(EnableVersioning",
    "Execute(CreateRole",
    "Execute(UpdateTrustPolicy",
    "Execute(PutPermissionsBoundary",
    "Execute(DeletePermissionsBoundary",
    "Execute(TagRole",
    "Execute(UntagRole",
    "Execute(PutRolePolicy",
    "Execute(PutReplication",
    "Execute(DeleteReplication",
    "Execute(DeleteRolePolicy",
    "Execute(DeleteRole ",
    "WritePolicy",
    "ReadPolicy",
    "ReadRole",
    "Observe(",
    "ObserveForDeletion(",
    "Canary(Facts",
    "Canary(Put",
    "Canary(ReadStatus",
    "Canary(List",
    "Canary(Delete ",
    "Canary(DeleteListed",
    "Job(Create",
    "Job(Describe",
    "Job(Find",
    "Job(Update",
    "Job(Put",
    "Job(Advance",
    "Job(Forget",
    "Connection(Connect",
    "Connection(Verify",
    "Connection(Trust",
    "Outside(SuspendVersioning",
    "Outside(DeleteBucket",
    "Outside(CreateBucket",
    "Outside(AddPolicyToRole",
    "Outside(EnableObjectLock",
    "Outside(DisableKey",
];

/// One act.
#[derive(Clone, Debug)]
pub enum Act {
    Execute(Step),
    WritePolicy(BucketAddress, Option<Value>),
    ReadPolicy(BucketAddress),
    ReadRole { name: String, with_policy: bool },
    Observe(ReadSet),
    ObserveForDeletion(DeletionReadSet),
    Canary(CanaryAct),
    Job(JobAct),
    Connection(ConnectionAct),
    Outside(Outside),
}

/// The acts of someone else in AWS.
#[derive(Clone, Debug)]
pub enum Outside {
    SuspendVersioning(String),
    DeleteBucket(String),
    CreateBucket(String),
    AddPolicyToRole(String),
    RemovePolicyFromRole(String),
    EnableObjectLock,
    DisableKey,
}

/// The program of a seed. It begins as a first check does, so that the rest finds something; it ends with all reads.
pub fn draw(seed: u64, names: &Names) -> Vec<Act> {
    let mut draw = Draw { rng: Rng::with_seed(seed), names };
    let mut acts: Vec<Act> = match draw.rng.u8(0..4) {
        0 => Vec::new(),
        _ => draw.beginning(),
    };
    while acts.len() < LENGTH - 2 {
        let act = draw.act();
        acts.push(act);
    }
    acts.push(Act::Observe(draw.read_set(false)));
    acts.push(Act::ObserveForDeletion(draw.deletion_read_set()));
    acts
}

pub(super) struct Draw<'a> {
    pub(super) rng: Rng,
    pub(super) names: &'a Names,
}

impl Draw<'_> {
    /// Whether something happens that does so once in `times`.
    pub(super) fn once_in(&mut self, times: u8) -> bool {
        self.rng.u8(0..times) == 0
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.rng.usize(0..all.len())].clone()
    }

    fn beginning(&mut self) -> Vec<Act> {
        let Names { orders, copies, replicas, .. } = self.names.clone();
        let versioned = [&orders, &copies, &replicas]
            .map(|bucket| Act::Execute(Step::EnableVersioning { bucket: self.right_address(bucket) }));
        let role = ROLES[0].to_owned();
        let documents = self.role_documents();
        let arn = format!("arn:aws:iam::{}:role{}{role}", self.names.here, documents.path);
        let create = Step::CreateRole { role: role.clone(), documents };
        let put =
            Step::PutRolePolicy { role, document: policy_of(&orders, &[&copies, &replicas]), expands: false };
        let steps = [Act::Execute(create), Act::Execute(put)];
        let replicating = if self.once_in(3) { Vec::new() } else { self.replicating(&arn) };
        versioned.into_iter().chain(steps).chain(replicating).collect()
    }

    /// The policy of the destination in the other account, and a configuration with this role.
    fn replicating(&mut self, role: &str) -> Vec<Act> {
        let Names { orders, replicas, .. } = self.names.clone();
        let arn = format!("arn:aws:s3:::{replicas}");
        let statements = bucket_policy::statements("S3Replication1", &[role.to_owned()], &arn, false);
        let policy = PolicyDocument::new(statements).to_value();
        let to = self.one_of(&[replicas, self.names.copies.clone()]);
        let owner = self.names.home_of(&to).1.to_owned();
        let mut rule = self.rule(1);
        rule.status = Switch::Enabled;
        rule.filter = RuleFilter::default();
        rule.kms_encrypted_objects = Switch::Disabled;
        (rule.destination.bucket, rule.destination.kms_key) = (format!("arn:aws:s3:::{to}"), None);
        (rule.destination.account, rule.destination.ownership) = (Some(owner), None);
        let rules = BTreeMap::from([("rule-1".to_owned(), rule)]);
        let configuration = Configuration { role: role.to_owned(), rules };
        let put = Step::PutReplication {
            bucket: self.right_address(&orders),
            configuration,
            lacking: Default::default(),
        };
        let replicas = self.names.replicas.clone();
        let canary = CanaryAct::Put(self.canary_object());
        let mut acts = vec![Act::WritePolicy(self.right_address(&replicas), Some(policy)), Act::Execute(put)];
        if self.once_in(4) {
            // Then nothing arrives.
            acts.push(Act::Execute(Step::DeleteRolePolicy { role: ROLES[0].to_owned() }));
        }
        acts.extend([Act::Canary(canary), Act::Canary(CanaryAct::ReadStatus { back: 0 })]);
        acts
    }

    fn act(&mut self) -> Act {
        match self.rng.u8(0..150) {
            100..116 => Act::Canary(self.canary()),
            116..136 => Act::Job(self.job()),
            136..144 => Act::Connection(self.connection()),
            144..150 => Act::ReadRole { name: self.role(), with_policy: self.once_in(2) },
            0..52 => Act::Execute(self.step()),
            52..62 => {
                let bucket = self.address();
                let policy = if self.once_in(5) { None } else { Some(self.bucket_policy(&bucket.name)) };
                Act::WritePolicy(bucket, policy)
            }
            62..66 => Act::ReadPolicy(self.address()),
            66..76 => Act::Observe(self.read_set(true)),
            76..82 => Act::ObserveForDeletion(self.deletion_read_set()),
            _ => Act::Outside(self.outside()),
        }
    }

    pub(super) fn bucket(&mut self) -> String {
        let Names { orders, copies, replicas, .. } = self.names;
        let all = [orders, copies, replicas].map(String::clone);
        self.one_of(&all)
    }

    pub(super) fn right_address(&mut self, bucket: &str) -> BucketAddress {
        let (region, owner) = self.names.home_of(bucket);
        BucketAddress {
            name: bucket.to_owned(),
            region: region.to_owned(),
            account_id: owner.to_owned(),
            account_ref: (owner != self.names.here).then(|| THERE.to_owned()),
        }
    }

    /// An address, which is wrong now and then in one way.
    pub(super) fn address(&mut self) -> BucketAddress {
        let bucket = self.bucket();
        let right = self.right_address(&bucket);
        match self.rng.u8(0..16) {
            0 => BucketAddress { name: self.names.missing.clone(), ..right },
            1 => {
                let region = if right.region == HOME { AWAY } else { HOME };
                BucketAddress { region: region.to_owned(), ..right }
            }
            2 => BucketAddress { account_id: "123456789012".to_owned(), ..right },
            3 => BucketAddress { account_ref: Some("nobody".to_owned()), ..right },
            4 => BucketAddress { account_ref: None, ..right },
            _ => right,
        }
    }

    fn role(&mut self) -> String {
        self.one_of(&ROLES).to_owned()
    }

    fn role_documents(&mut self) -> RoleDocuments {
        let mut tags = if self.once_in(4) { BTreeMap::new() } else { id().tags() };
        if self.once_in(2) {
            tags.insert("team".to_owned(), "data".to_owned());
        }
        RoleDocuments {
            path: self.one_of(&["/s3-replication/", "/"]).to_owned(),
            trust: trust_policy("s3.amazonaws.com").to_json(),
            permissions_boundary: self.once_in(3).then(|| BOUNDARY.to_owned()),
            tags,
            description: "S3 replication".to_owned(),
        }
    }

    pub(super) fn role_arn(&mut self) -> String {
        let role = self.role();
        let path = self.one_of(&["/s3-replication/", "/"]);
        format!("arn:aws:iam::{}:role{path}{role}", self.names.here)
    }

    fn step(&mut self) -> Step {
        match self.rng.u8(0..24) {
            0..2 => Step::EnableVersioning { bucket: self.address() },
            2..4 => Step::CreateRole { role: self.role(), documents: self.role_documents() },
            4 => {
                let service = self.one_of(&["s3.amazonaws.com", "ec2.amazonaws.com"]);
                Step::UpdateTrustPolicy {
                    role: self.role(),
                    document: trust_policy(service).to_json(),
                    expands: false,
                }
            }
            5 => Step::PutPermissionsBoundary { role: self.role(), boundary: BOUNDARY.to_owned() },
            6 => Step::DeletePermissionsBoundary { role: self.role() },
            7..9 => {
                let tag = self.one_of(&["team", "owner", "s3replication.dev/uid"]).to_owned();
                let tags = BTreeMap::from([(tag, self.one_of(&["a", "b", "uid", ""]).to_owned())]);
                Step::TagRole { role: self.role(), tags }
            }
            9 => {
                let keys = vec![self.one_of(&["team", "owner", "s3replication.dev/uid"]).to_owned()];
                Step::UntagRole { role: self.role(), keys }
            }
            10..12 => {
                let to = self.bucket();
                let document = policy_of(&self.names.orders, &[&to]);
                Step::PutRolePolicy { role: self.role(), document, expands: false }
            }
            12..18 => {
                let bucket = if self.once_in(4) {
                    self.address()
                } else {
                    let orders = self.names.orders.clone();
                    self.right_address(&orders)
                };
                Step::PutReplication {
                    bucket,
                    configuration: self.configuration(),
                    lacking: Default::default(),
                }
            }
            18 => Step::DeleteReplication { bucket: self.address() },
            19..21 => Step::DeleteRolePolicy { role: self.role() },
            _ => Step::DeleteRole { role: self.role() },
        }
    }

    fn switch(&mut self) -> Switch {
        if self.once_in(3) { Switch::Enabled } else { Switch::Disabled }
    }

    fn configuration(&mut self) -> Configuration {
        let number = self.rng.usize(1..4);
        let mut rules: BTreeMap<String, Rule> =
            (1..=number).map(|n| (format!("rule-{n}"), self.rule(n))).collect();
        if number == 1 && self.once_in(2) {
            rules.values_mut().for_each(|rule| rule.priority = None);
        }
        Configuration { role: self.role_arn(), rules }
    }

    fn rule(&mut self, n: usize) -> Rule {
        let destination = match self.rng.u8(0..12) {
            0 => self.names.missing.clone(),
            1 => self.names.orders.clone(),
            2..6 => self.names.replicas.clone(),
            _ => self.names.copies.clone(),
        };
        let owner = self.names.home_of(&destination).1.to_owned();
        let abroad = owner != self.names.here;
        let account = match self.rng.u8(0..8) {
            0 => Some("123456789012".to_owned()),
            _ => abroad.then_some(owner),
        };
        let tagged = self.once_in(4);
        let tags = if tagged { BTreeMap::from([("a".to_owned(), "1".to_owned())]) } else { BTreeMap::new() };
        let kms = self.switch();
        Rule {
            status: if self.once_in(5) { Switch::Disabled } else { Switch::Enabled },
            priority: i32::try_from(n).ok(),
            filter: RuleFilter { prefix: self.one_of(&["", "logs/", "a&<b"]).to_owned(), tags },
            delete_markers: if tagged { Switch::Disabled } else { self.switch() },
            replica_modifications: self.switch(),
            kms_encrypted_objects: kms,
            destination: RuleDestination {
                bucket: format!("arn:aws:s3:::{destination}"),
                ownership: (account.is_some() && self.once_in(2)).then(|| "Destination".to_owned()),
                account,
                storage_class: self.once_in(3).then(|| "STANDARD_IA".to_owned()),
                kms_key: kms.is_enabled().then(|| self.names.key.clone()),
                replication_time_control: self.switch(),
                metrics: Switch::Enabled,
            },
        }
    }

    /// A policy of a bucket: statements of the operator and of others, for roles that exist and for some that do not.
    fn bucket_policy(&mut self, bucket: &str) -> Value {
        let arn = format!("arn:aws:s3:::{bucket}");
        let theirs = json!({"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject",
            "Resource": format!("{arn}/*")});
        let roles = [self.role_arn()];
        let ours = PolicyDocument::new(bucket_policy::statements("S3Replication1", &roles, &arn, false));
        let ours = ours.to_value()["Statement"].clone();
        let ours = ours.as_array().cloned().unwrap_or_default();
        let statements: Vec<Value> = match self.rng.u8(0..10) {
            0 => vec![json!({"Effect": "Allow", "Principal": {"AWS": "AROAUNKNOWNROLE000000"},
                "Action": "s3:GetObject", "Resource": format!("{arn}/*")})],
            1 => vec![json!({"Effect": "Allow", "Principal": {"AWS": self.names.here.clone()},
                "Action": "s3:GetObject", "Resource": format!("{arn}/{}", "x".repeat(MAX_BUCKET_POLICY))})],
            2 => vec![theirs],
            3..6 => ours.into_iter().chain([theirs]).collect(),
            _ => ours,
        };
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    fn bucket_ref(&mut self, bucket: &str, vary: bool) -> BucketRef {
        let (region, owner) = self.names.home_of(bucket);
        let abroad = owner != self.names.here;
        let mut reference = BucketRef {
            name: bucket.to_owned(),
            region: None,
            account_id: abroad.then(|| owner.to_owned()),
            account_ref: abroad.then(|| THERE.to_owned()),
            last_seen: None,
        };
        if vary {
            match self.rng.u8(0..8) {
                0 => reference.region = Some(region.to_owned()),
                1 => reference.account_id = Some("123456789012".to_owned()),
                2 => reference.account_ref = None,
                3 => reference.account_ref = Some("nobody".to_owned()),
                4 if !abroad => {
                    reference.region = Some(if region == HOME { AWAY } else { HOME }.to_owned());
                }
                _ => {}
            }
        }
        reference
    }

    fn read_set(&mut self, vary: bool) -> ReadSet {
        let source = match self.rng.u8(0..8) {
            0 if vary => self.names.missing.clone(),
            1 if vary => self.names.replicas.clone(),
            _ => self.names.orders.clone(),
        };
        let mut destinations = vec![self.names.copies.clone(), self.names.replicas.clone()];
        if vary && self.once_in(4) {
            destinations.push(self.names.missing.clone());
        }
        let destinations = destinations.iter().map(|bucket| self.bucket_ref(bucket, vary)).collect();
        let unknown = self.names.key.rsplit_once('/').map(|(start, _)| format!("{start}/{}", UNKNOWN_KEY));
        let elsewhere = self.names.key.replace(AWAY, "ap-south-1");
        let keys = [Some(self.names.key.clone()), unknown, Some(elsewhere)];
        ReadSet {
            // Only the name of a source is known: its account is the caller's.
            source: BucketRef::named(&source),
            destinations,
            former_destinations: Vec::new(),
            keys: keys.into_iter().flatten().map(|key| (key, None)).collect(),
            role: self.role(),
            role_policy: !self.once_in(4),
            former_roles: BTreeSet::from([ROLES[0].to_owned(), "never-made".to_owned()]),
            id: id(),
            fresh: true,
        }
    }

    fn deletion_read_set(&mut self) -> DeletionReadSet {
        let source = match self.rng.u8(0..6) {
            0 => None,
            1 => Some(self.names.missing.clone()),
            _ => Some(self.names.orders.clone()),
        };
        let replicas = self.names.replicas.clone();
        DeletionReadSet {
            source: source.map(|bucket| BucketRef::named(&bucket)),
            roles: ROLES.iter().map(|role| (*role).to_owned()).collect(),
            bucket_policies: vec![self.right_address(&replicas)],
            id: id(),
        }
    }

    fn outside(&mut self) -> Outside {
        match self.rng.u8(0..12) {
            0..2 => Outside::SuspendVersioning(self.bucket()),
            2 => Outside::DeleteBucket(self.bucket()),
            3..5 => Outside::CreateBucket(self.bucket()),
            5..7 => Outside::AddPolicyToRole(self.role()),
            7..9 => Outside::RemovePolicyFromRole(self.role()),
            9..11 => Outside::EnableObjectLock,
            _ => Outside::DisableKey,
        }
    }
}

const UNKNOWN_KEY: &str = "00000000-0000-0000-0000-000000000000";

fn policy_of(source: &str, destinations: &[&str]) -> String {
    let destinations: Vec<String> =
        destinations.iter().map(|bucket| format!("arn:aws:s3:::{bucket}/*")).collect();
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObjectVersionForReplication",
            "Resource": format!("arn:aws:s3:::{source}/*")},
        {"Effect": "Allow", "Action": "s3:ReplicateObject", "Resource": destinations},
    ]})
    .to_string()
}
