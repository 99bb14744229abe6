//! Writes the next canaries.
//!
//! In: a round in which they are due. Out: canaries on their way, and the reasons of those that are refused. Before the
//! first write the status names each place, the API server confirms the object, and the accounts are asked again.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Canary, DEFAULT_CANARY_PREFIX, FINALIZER};
use crate::controllers::bucket_replication::canary::evidence;
use crate::controllers::bucket_replication::canary::round::Round;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster, Finalizers};
use crate::replication::health::canary::flight::Flight;
use crate::replication::health::canary::probe::{ProbeContext, probes};
use crate::replication::health::canary::requirements::{
    Permissions, refuse, require_allowed, require_deletable,
};
use crate::replication::health::canary::{
    CanaryObject, CanaryPlace, Probe, Refused, VersionAt, interval, key, place,
};
use crate::replication::{BucketAddress, FailureClass};
use crate::runtime::requeue::jittered;

impl<C: Cloud, K: Cluster> Round<'_, C, K> {
    /// Writes a canary for each rule that has none on its way. Returns whether everything was answered.
    pub async fn send(&mut self, canary: &Canary) -> Result<bool, Stop> {
        let Some(source) = self.source() else { return Ok(false) };
        let destinations = self.destinations(&source);
        let reachable: Vec<BucketAddress> = destinations.values().cloned().collect();
        let facts = match self.cx.cloud.observe_for_canary(self.clients, &source, &reachable).await {
            Ok(facts) => facts,
            Err(failure) => {
                self.log("read what decides about canaries", &failure);
                return Ok(false);
            }
        };
        let spec = &self.resource.spec;
        let uid = &self.resource.target.key.uid;
        let context = ProbeContext {
            prefix: canary
                .prefix
                .as_deref()
                .filter(|prefix| !prefix.is_empty())
                .unwrap_or(DEFAULT_CANARY_PREFIX),
            uid,
            encrypted: *facts.encrypted.as_ref().unwrap_or(&false),
        };
        let permissions =
            Permissions { accounts: self.accounts, rules: &spec.rules, account_id: &source.account_id };
        let planned = refuse(probes(&spec.rules, context), |probe| {
            require_allowed(probe, permissions)?;
            require_deletable(probe, &source.name, &facts)
        });
        let closed = planned.refused.values().filter_map(|refused| match refused {
            Refused::NotAllowed { account } => Some(account.clone()),
            _ => None,
        });
        self.canaries.not_allowed = closed.collect();
        let now = self.cx.clock.timestamp();
        self.cx.evidence.with(uid, |held| evidence::planned(held, &planned, &self.status, now));
        let folders: BTreeSet<&str> = planned.probes.iter().map(|probe| probe.folder.as_str()).collect();
        let wanted = place::reachable(&folders, &source, &destinations, &spec.rules);
        let new: BTreeSet<CanaryPlace> = wanted.difference(&self.places).cloned().collect();
        self.write_ahead(&wanted).await?;
        self.canaries.known.extend(new);
        // Rules of one prefix share a folder, and each has canaries of its own.
        let is_under_way = |probe: &&Probe| {
            self.canaries
                .flights
                .iter()
                .any(|flight| key::is_of_rule(&flight.key, &probe.folder, &probe.rule))
        };
        let is_due = |probe: &&Probe| !is_under_way(probe) || is_on(Mutant::CanaryDoubled);
        let due: Vec<Probe> = planned.probes.iter().filter(is_due).cloned().collect();
        let mut answered = true;
        if !due.is_empty() {
            self.confirm_live().await?;
            for probe in due {
                answered &= self.put(&source, probe, permissions).await?;
            }
            answered &= !self.advance().await?;
        }
        if answered {
            self.canaries.round_at = Some(self.cx.clock.now() + jittered(interval(canary.interval.as_ref())));
        }
        self.forget_places(&wanted).await?;
        Ok(answered)
    }

    /// The destinations on which the operator may act.
    pub fn destinations(&self, source: &BucketAddress) -> BTreeMap<String, BucketAddress> {
        let mut found = BTreeMap::new();
        for to in self.resource.spec.rules.iter().map(|rule| &rule.destination) {
            let is_own = to.account.as_ref().is_none_or(|id| *id == source.account_id);
            let seen = self.status.destinations.iter().find(|seen| seen.bucket == to.bucket);
            let address = seen.and_then(|seen| {
                Some(BucketAddress {
                    name: to.bucket.clone(),
                    region: seen.region.clone()?,
                    account_id: seen.account.clone()?,
                    account_ref: to.account_ref.clone(),
                })
            });
            if let Some(address) = address.filter(|_| is_own || to.account_ref.is_some()) {
                found.entry(to.bucket.clone()).or_insert(address);
            }
        }
        found
    }

    /// The status names a place before anything is written there.
    pub async fn write_ahead(&mut self, wanted: &BTreeSet<CanaryPlace>) -> Result<(), Stop> {
        if wanted.is_subset(&self.places) {
            return Ok(());
        }
        let all = self.places.union(wanted).cloned().collect();
        if is_on(Mutant::CanaryPlaceForgotten) {
            self.places = all;
            return Ok(());
        }
        self.remember(all).await
    }

    /// Places of an earlier spec are forgotten once nothing is there.
    pub async fn forget_places(&mut self, wanted: &BTreeSet<CanaryPlace>) -> Result<(), Stop> {
        let in_use = |place: &CanaryPlace| {
            wanted.contains(place)
                || self.canaries.unlisted.contains(place)
                || self.canaries.flights.iter().any(|flight| flight.folder == place.folder)
        };
        let kept: BTreeSet<CanaryPlace> = self.places.iter().filter(|place| in_use(place)).cloned().collect();
        match kept == self.places {
            true => Ok(()),
            false => self.remember(kept).await,
        }
    }

    /// Confirms with the API server that the object is still the one that was checked, and has the finalizer: without
    /// the finalizer, a deletion of the object would leave a canary behind.
    async fn confirm_live(&self) -> Result<(), Stop> {
        let live = self.require_live().await?;
        match Finalizers::of(&live).contains(FINALIZER) || is_on(Mutant::CanaryWithoutFinalizer) {
            true => Ok(()),
            false => Err(Stop::Outdated),
        }
    }

    /// Writes one canary. Returns whether S3 answered.
    async fn put(
        &mut self,
        source: &BucketAddress,
        probe: Probe,
        permissions: Permissions<'_>,
    ) -> Result<bool, Stop> {
        self.confirm_allowed().await?;
        // Last: the lease may have moved while the API server answered.
        if !(self.cx.may_begin)() {
            return Ok(false);
        }
        if require_allowed(&probe, permissions).is_err() {
            return Ok(true);
        }
        let uid = &self.resource.target.key.uid;
        let sent_at = self.cx.clock.timestamp();
        let key = key::key(&probe.folder, &probe.rule, sent_at.as_second());
        let object = CanaryObject { bucket: source.clone(), key: key.clone(), tags: probe.tags.clone() };
        match self.cx.cloud.put_canary(self.clients, &object).await {
            Ok(written) => {
                let version = VersionAt { bucket: source.clone(), key, version: written.version };
                self.canaries.flights.push(Flight::sent(&probe, version, sent_at));
                self.cx.evidence.with(uid, |held| evidence::sent(held, &probe.arrivals, sent_at));
                Ok(true)
            }
            Err(failure) => {
                self.log("write a canary", &failure);
                // Without an answer it may be there all the same.
                if !is_on(Mutant::LostCanaryNotSearched) {
                    self.canaries.swept_at = None;
                }
                if matches!(failure.class, FailureClass::Denied | FailureClass::Invalid) {
                    let why = failure.message();
                    self.cx.evidence.with(uid, |held| evidence::refused(held, &probe.arrivals, &why));
                }
                Ok(false)
            }
        }
    }
}
