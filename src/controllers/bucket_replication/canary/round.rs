//! The calls of one round: lists what is there, and goes on with the canaries that are on their way.
//!
//! In: a resource with its clients, the places of its canaries, and what is remembered of them. Out: the same, one step
//! further. Nothing here waits for S3 to replicate.

use std::collections::BTreeSet;

use futures::future::join_all;
use kube::core::ObjectMeta;
use tracing::warn;

use crate::api::BucketReplicationStatus;
use crate::controllers::bucket_replication::authorize::require_current_accounts;
use crate::controllers::bucket_replication::canary::evidence;
use crate::controllers::bucket_replication::canary::memory::CanaryMemory;
use crate::controllers::bucket_replication::canary::permission::authorized;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::require_unchanged;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::status;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::health::canary::flight::{Flight, Move};
use crate::replication::health::canary::{CanaryPlace, HeldVersion, VersionAt, leftovers, place};
use crate::replication::observed::Read;
use crate::replication::{Accounts, BucketAddress, Failure, FailureClass};

/// One round.
pub struct Round<'a, C: Cloud, K> {
    pub resource: &'a Resource<'a>,
    /// As it was last written.
    pub status: BucketReplicationStatus,
    pub accounts: &'a Accounts,
    pub clients: &'a C::Clients,
    /// Where canaries may be: those that the status names.
    pub places: BTreeSet<CanaryPlace>,
    pub canaries: &'a mut CanaryMemory,
    /// Whether the API server has confirmed the object since the round last began to go on with canaries.
    pub is_confirmed: bool,
    pub cx: &'a Context<C, K>,
}

impl<C: Cloud, K: Cluster> Round<'_, C, K> {
    /// The address of the source, as far as it is known where that is.
    pub fn source(&self) -> Option<BucketAddress> {
        let seen = self.status.source.as_ref()?;
        Some(BucketAddress {
            name: seen.bucket.clone(),
            region: seen.region.clone()?,
            account_id: seen.account.clone()?,
            account_ref: None,
        })
    }

    /// Adds the destinations of the spec of now to the places of canaries that may be on their way: S3 replicates an
    /// object by the configuration that it finds when it gets to it.
    pub async fn extend(&mut self) -> Result<(), Stop> {
        let Some(source) = self.source() else { return Ok(()) };
        let destinations = self.destinations(&source);
        let held = self.places.clone();
        let folders = held.iter().map(|place| place.folder.as_str()).collect();
        let reachable = place::reachable(&folders, &source, &destinations, &self.resource.spec.rules);
        // A check that put the configuration may have named them.
        if !reachable.is_subset(&self.canaries.known) {
            self.canaries.swept_at = None;
        }
        self.write_ahead(&reachable).await
    }

    /// Lists every place, if this process did not yet or new canaries are due, and takes up what others left. Returns
    /// whether a place could not be listed that canaries are written to.
    pub async fn sweep(&mut self, due: bool) -> Result<bool, Stop> {
        let now = self.cx.clock.now();
        if !self.canaries.must_sweep(due, now) || is_on(Mutant::CanaryNotSwept) {
            return Ok(false);
        }
        let Some(source) = self.source() else { return Ok(true) };
        let (mut found, mut unlisted) = (Vec::new(), BTreeSet::new());
        for (place, versions) in self.list(self.places.iter().cloned().collect(), None).await {
            match versions {
                Ok(versions) => found.push((place, versions)),
                Err(failure) => {
                    self.log("list the canaries", &failure);
                    let spec = &self.resource.spec;
                    let is_wanted = spec.health.as_ref().is_some_and(|health| health.canary.is_some());
                    if is_wanted
                        && failure.class == FailureClass::Denied
                        && self.is_current(&place.bucket.name)
                    {
                        let (uid, why) = (&self.resource.target.key.uid, failure.message());
                        self.cx.evidence.with(uid, |held| evidence::all_refused(held, &spec.rules, &why));
                    }
                    unlisted.insert(place);
                }
            }
        }
        let is_unlisted = |folder: &str| {
            unlisted.iter().any(|place| place.folder == folder && place.bucket.name == source.name)
        };
        for leftover in leftovers(&found, &source.name) {
            // Replicas of a source that could not be listed do not show whether the canary is still there.
            let is_known = !leftover.at_source.is_empty() || !is_unlisted(&leftover.folder);
            if is_known && !self.canaries.flights.iter().any(|flight| flight.is_of(&leftover.key)) {
                self.canaries.flights.extend(Flight::of_leftover(leftover, &source));
            }
        }
        // A former destination that the operator no longer reaches stays in the status, and holds nothing up. That may be
        // for a moment only, so that the next check lists it once more.
        let failed = unlisted.iter().any(|place| self.is_current(&place.bucket.name));
        let is_new = !unlisted.is_subset(&self.canaries.unlisted);
        self.canaries.known = self.places.difference(&unlisted).cloned().collect();
        self.canaries.unlisted = unlisted;
        self.canaries.swept_at = (!failed && !is_new).then_some(now);
        Ok(failed)
    }

    /// Whether the spec names a bucket.
    fn is_current(&self, bucket: &str) -> bool {
        let spec = &self.resource.spec;
        spec.source.bucket == bucket || spec.rules.iter().any(|rule| rule.destination.bucket == bucket)
    }

    /// Goes on with each canary that is on its way until it waits for S3. Returns whether a call failed.
    pub async fn advance(&mut self) -> Result<bool, Stop> {
        self.is_confirmed = false;
        let mut failed = false;
        let flights = std::mem::take(&mut self.canaries.flights);
        let mut stopped = None;
        for mut flight in flights {
            let kept = match stopped {
                Some(_) => true,
                None => match self.advance_one(&mut flight).await {
                    Ok((kept, call_failed)) => {
                        failed |= call_failed;
                        kept
                    }
                    Err(stop) => {
                        stopped = Some(stop);
                        true
                    }
                },
            };
            if kept {
                self.canaries.flights.push(flight);
            }
        }
        stopped.map_or(Ok(failed), Err)
    }

    /// The accounts still allow what they allowed when this round began, and the watch has brought no other object
    /// since.
    pub async fn confirm_allowed(&self) -> Result<(), Stop> {
        match authorized(self.resource, &self.status, self.cx).await? == *self.accounts {
            true => require_unchanged(&self.resource.target, self.cx),
            false => Err(Stop::Outdated),
        }
    }

    /// Confirms with the API server that the object and its accounts are still those that were checked, and returns the
    /// metadata of the object. The cache may be behind: the user may have deleted the object meanwhile, or forbidden
    /// the operator to write.
    pub async fn require_live(&self) -> Result<ObjectMeta, Stop> {
        let target = &self.resource.target;
        let live = self.cx.cluster.live(target.key).await?.ok_or(Stop::Outdated)?.metadata;
        if live.deletion_timestamp.is_some() || live.generation != target.metadata.generation {
            return Err(Stop::Outdated);
        }
        require_current_accounts(self.accounts, self.cx).await?;
        Ok(live)
    }

    /// Before a deletion. The API server is asked before the first one, as before the first write of a check; the
    /// accounts are asked before each.
    async fn confirm_deletion(&mut self) -> Result<(), Stop> {
        if !self.is_confirmed && !is_on(Mutant::NoLiveGetForCanary) {
            self.require_live().await?;
            self.is_confirmed = true;
        }
        self.confirm_allowed().await
    }

    /// Returns whether the canary is still there, and whether a call failed.
    async fn advance_one(&mut self, flight: &mut Flight) -> Result<(bool, bool), Stop> {
        loop {
            let result = match flight.next() {
                Move::Done => return Ok((false, false)),
                Move::Read(version) => {
                    match self.cx.cloud.read_replication_status(self.clients, &version).await {
                        Ok(status) => {
                            if !flight.read(status, self.cx.clock.timestamp()) {
                                return Ok((true, false));
                            }
                            Ok(())
                        }
                        Err(failure) if failure.class == FailureClass::NoSuchBucket => {
                            flight.read(None, self.cx.clock.timestamp());
                            Ok(())
                        }
                        Err(failure) => Err(failure),
                    }
                }
                Move::List => self.list_replicas(flight).await,
                Move::Delete(version) => {
                    self.confirm_deletion().await?;
                    if !(self.cx.may_begin)() {
                        return Ok((true, false));
                    }
                    match self.cx.cloud.delete_version(self.clients, &version).await {
                        Ok(()) => {
                            flight.deleted(&version);
                            Ok(())
                        }
                        Err(failure) if self.is_out_of_reach(&version.bucket.name, &failure) => {
                            self.leave(flight, &version, &failure);
                            Ok(())
                        }
                        Err(failure) => Err(failure),
                    }
                }
            };
            if let Err(failure) = result {
                self.log("go on with a canary", &failure);
                if failure.class == FailureClass::Denied {
                    let uid = &self.resource.target.key.uid;
                    let why = failure.message();
                    self.cx.evidence.with(uid, |held| evidence::refused(held, &flight.arrivals, &why));
                }
                return Ok((true, true));
            }
        }
    }

    /// Whether the operator may no longer act in a bucket that the spec no longer names. It holds nothing up: the status
    /// keeps the place, and the next check lists it once more.
    fn is_out_of_reach(&self, bucket: &str, failure: &Failure) -> bool {
        failure.class == FailureClass::Denied && !self.is_current(bucket)
    }

    /// Leaves a replica in a bucket that is out of reach.
    fn leave(&mut self, flight: &mut Flight, version: &VersionAt, failure: &Failure) {
        self.log("delete a canary", failure);
        let is_there =
            |place: &&CanaryPlace| place.folder == flight.folder && place.bucket.name == version.bucket.name;
        let left: Vec<CanaryPlace> = self.places.iter().filter(is_there).cloned().collect();
        left.into_iter().for_each(|place| self.list_again(place));
        flight.deleted(version);
    }

    /// The next check lists a place that was out of reach.
    fn list_again(&mut self, place: CanaryPlace) {
        self.canaries.known.remove(&place);
        self.canaries.unlisted.insert(place);
        self.canaries.swept_at = None;
    }

    /// Lists the replicas of a canary that ended, which shows what it proves.
    async fn list_replicas(&mut self, flight: &mut Flight) -> Read<()> {
        let source = self.source().map(|source| source.name);
        let folder = self.places.iter().filter(|place| place.folder == flight.folder);
        let abroad = folder.filter(|place| Some(&place.bucket.name) != source.as_ref()).cloned().collect();
        let mut found = Vec::new();
        for (place, versions) in self.list(abroad, Some(&flight.key)).await {
            match versions {
                Ok(versions) => found.push((place, versions)),
                Err(failure) if self.is_out_of_reach(&place.bucket.name, &failure) => {
                    self.log("list the replicas of a canary", &failure);
                    self.list_again(place);
                }
                Err(failure) => return Err(failure),
            }
        }
        flight.listed(&found);
        self.cx.evidence.with(&self.resource.target.key.uid, |held| evidence::ended(held, flight));
        Ok(())
    }

    /// The versions in these places, or of one key there. A bucket that is gone holds none.
    async fn list(
        &self,
        places: Vec<CanaryPlace>,
        key: Option<&str>,
    ) -> Vec<(CanaryPlace, Read<Vec<HeldVersion>>)> {
        let lists = places.into_iter().map(async |place| {
            let prefix = key.unwrap_or(&place.folder);
            let versions = match self.cx.cloud.list_versions(self.clients, &place.bucket, prefix).await {
                Err(failure) if failure.class == FailureClass::NoSuchBucket => Ok(Vec::new()),
                result => result,
            };
            (place, versions)
        });
        join_all(lists).await
    }

    /// Writes the places into the status, where they are others than before.
    pub async fn remember(&mut self, places: BTreeSet<CanaryPlace>) -> Result<(), Stop> {
        let mut status = self.status.clone();
        status.canary_places = place::listed(&places);
        status::write_ahead(&self.resource.target, &self.status, &status, self.cx).await?;
        self.status = status;
        self.places = places;
        Ok(())
    }

    pub fn log(&self, what: &str, failure: &Failure) {
        let (namespace, name) = (&self.resource.id.namespace, &self.resource.id.name);
        warn!(namespace, name, detail = failure.message(), "cannot {what}");
    }
}
