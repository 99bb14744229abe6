//! Deletes the canaries of a resource that is being deleted.
//!
//! In: the places that its status names, and clients. Out: nothing of them is left, or why not.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::{ConditionType, Reason};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::require_same_removal;
use crate::controllers::bucket_replication::resource::ReplicationObject;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::health::canary::flight::{Flight, Move};
use crate::replication::health::canary::{CanaryPlace, HeldVersion, leftovers};
use crate::replication::observed::Read;
use crate::replication::{FailureClass, Refusal};

/// For so long a deletion waits for the final status of a canary: S3 reports a failure for each object that is deleted
/// before it is replicated.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The removal of the canaries of a resource.
pub struct CanaryRemoval<'a, C: Cloud, K> {
    pub target: &'a ReplicationObject<'a>,
    /// Where canaries may be.
    pub places: &'a BTreeSet<CanaryPlace>,
    /// The name of the source bucket.
    pub source: &'a str,
    pub clients: &'a C::Clients,
    pub cx: &'a Context<C, K>,
}

impl<C: Cloud, K: Cluster> CanaryRemoval<'_, C, K> {
    /// Deletes every canary in the places.
    ///
    /// # Errors
    /// AWS did not do it, a canary is still on its way, or the object has changed meanwhile.
    pub async fn run(&self) -> Result<(), Stop> {
        let CanaryRemoval { places, source, .. } = *self;
        if places.is_empty() || is_on(Mutant::CanaryLeftByDeletion) {
            return Ok(());
        }
        let at_source = places.iter().find(|place| place.bucket.name == source);
        let at_source = at_source.map(|place| place.bucket.clone());
        let listed = self.list(places, None).await.map_err(blocked)?;
        let found = leftovers(&listed, source);
        let flights = found.into_iter().flat_map(|leftover| match &at_source {
            Some(source) => Flight::of_leftover(leftover, source),
            None => Vec::new(),
        });
        for mut flight in flights {
            self.remove(&mut flight).await?;
        }
        Ok(())
    }

    async fn remove(&self, flight: &mut Flight) -> Result<(), Stop> {
        let CanaryRemoval { target, places, source, clients, cx } = *self;
        loop {
            match flight.next() {
                Move::Done => return Ok(()),
                Move::Read(version) => {
                    let now = cx.clock.timestamp();
                    let status =
                        cx.cloud.read_replication_status(clients, &version).await.map_err(blocked)?;
                    if !flight.read(status, now) {
                        if flight.age(now) < PATIENCE {
                            return Err(waiting(&version.bucket.name).into());
                        }
                        flight.abandon();
                    }
                }
                Move::List => {
                    let abroad = places.iter().filter(|place| place.folder == flight.folder);
                    let abroad = abroad.filter(|place| place.bucket.name != source).cloned().collect();
                    let listed = self.list(&abroad, Some(&flight.key)).await.map_err(blocked)?;
                    flight.listed(&listed);
                }
                Move::Delete(version) => {
                    require_same_removal(target, cx)?;
                    if !(cx.may_begin)() {
                        return Err(waiting(&version.bucket.name).into());
                    }
                    cx.cloud.delete_version(clients, &version).await.map_err(blocked)?;
                    flight.deleted(&version);
                }
            }
        }
    }

    /// A bucket that is gone holds nothing.
    async fn list(
        &self,
        places: &BTreeSet<CanaryPlace>,
        key: Option<&str>,
    ) -> Read<Vec<(CanaryPlace, Vec<HeldVersion>)>> {
        let mut listed = Vec::new();
        for place in places {
            let prefix = key.unwrap_or(&place.folder);
            match self.cx.cloud.list_versions(self.clients, &place.bucket, prefix).await {
                Ok(versions) => listed.push((place.clone(), versions)),
                Err(failure) if failure.class == FailureClass::NoSuchBucket => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(listed)
    }
}

fn blocked(failure: crate::replication::Failure) -> Refusal {
    let message = format!("cannot delete the canaries of this resource: {}", failure.message());
    Refusal::new(failure.class.reason(), ConditionType::Ready, message)
}

fn waiting(bucket: &str) -> Refusal {
    let message = format!(
        "a canary in bucket {bucket} is still being replicated; it is deleted as soon as S3 reports its end"
    );
    Refusal::new(Reason::Progressing, ConditionType::Ready, message)
}
