//! Deletes the canaries of a resource that is being deleted.
//!
//! In: the places that its status names, and clients. Out: nothing of them is left, or why not.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::{ConditionType, Reason};
use crate::controllers::bucket_replication::context::Context;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::health::canary::flight::{Flight, Move};
use crate::replication::health::canary::{CanaryPlace, HeldVersion, leftovers};
use crate::replication::observed::Read;
use crate::replication::{FailureClass, Refusal};

/// For so long a deletion waits for the final status of a canary: S3 reports a failure for each object that is deleted
/// before it is replicated.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Deletes every canary in these places. `source`: the name of the source bucket.
///
/// # Errors
/// AWS did not do it, or a canary is still on its way.
pub async fn remove_canaries<C: Cloud, K: Cluster>(
    places: &BTreeSet<CanaryPlace>,
    source: &str,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> Result<(), Refusal> {
    if places.is_empty() || is_on(Mutant::CanaryLeftByDeletion) {
        return Ok(());
    }
    let at_source = places.iter().find(|place| place.bucket.name == source).map(|place| place.bucket.clone());
    let listed = list(places, None, clients, cx).await.map_err(blocked)?;
    let found = leftovers(&listed, source);
    let flights = found.into_iter().flat_map(|leftover| match &at_source {
        Some(source) => Flight::of_leftover(leftover, source),
        None => Vec::new(),
    });
    for mut flight in flights {
        remove(&mut flight, places, source, clients, cx).await?;
    }
    Ok(())
}

async fn remove<C: Cloud, K: Cluster>(
    flight: &mut Flight,
    places: &BTreeSet<CanaryPlace>,
    source: &str,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> Result<(), Refusal> {
    loop {
        match flight.next() {
            Move::Done => return Ok(()),
            Move::Read(version) => {
                let now = cx.clock.timestamp();
                let status = cx.cloud.read_replication_status(clients, &version).await.map_err(blocked)?;
                if !flight.read(status, now) {
                    if flight.age(now) < PATIENCE {
                        return Err(waiting(&version.bucket.name));
                    }
                    flight.abandon();
                }
            }
            Move::List => {
                let abroad = places.iter().filter(|place| place.folder == flight.folder);
                let abroad = abroad.filter(|place| place.bucket.name != source).cloned().collect();
                let listed = list(&abroad, Some(&flight.key), clients, cx).await.map_err(blocked)?;
                flight.listed(&listed);
            }
            Move::Delete(version) => {
                if !(cx.may_begin)() {
                    return Err(waiting(&version.bucket.name));
                }
                cx.cloud.delete_version(clients, &version).await.map_err(blocked)?;
                flight.deleted(&version);
            }
        }
    }
}

/// A bucket that is gone holds nothing.
async fn list<C: Cloud, K: Cluster>(
    places: &BTreeSet<CanaryPlace>,
    key: Option<&str>,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> Read<Vec<(CanaryPlace, Vec<HeldVersion>)>> {
    let mut listed = Vec::new();
    for place in places {
        let prefix = key.unwrap_or(&place.folder);
        match cx.cloud.list_versions(clients, &place.bucket, prefix).await {
            Ok(versions) => listed.push((place.clone(), versions)),
            Err(failure) if failure.class == FailureClass::NoSuchBucket => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(listed)
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
