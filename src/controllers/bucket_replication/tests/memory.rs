//! The memory that a resource takes while nothing is done with it.

use std::time::Instant;

use kube::Resource as _;
use kube::core::DeserializeGuard;

use super::*;
use crate::api::BucketReplication;
use crate::controllers::Guarded;
use crate::controllers::bucket_replication::memory::Memory;
use crate::controllers::index::{Index, PACKING};
use crate::runtime::packing::Packed;
use crate::runtime::queue::Urgency;
use crate::runtime::store::Key;
use crate::runtime::tracker::ReconcileTracker;
use crate::runtime::triggers::Triggers;

/// A Ready resource as the API server returns it, and what it is packed into.
fn pack(spec: Value) -> (BucketReplication, Packed<Guarded>) {
    let mut scene = Scene::new();
    scene.apply(spec);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    let resource: BucketReplication = serde_json::from_value(scene.object().unwrap()).unwrap();
    let object: Arc<Guarded> = Arc::new(DeserializeGuard(Ok(resource.clone())));
    (resource, Packed::new(&object, Some(&PACKING)))
}

#[test]
fn a_packed_resource_is_the_same_resource() {
    let (resource, packed) = pack(spec());
    let again = packed.unpack(Some(&PACKING)).unwrap();
    assert_eq!(again.0.as_ref().unwrap(), &resource);
}

#[test]
fn a_ready_resource_takes_less_than_seven_hundred_bytes_at_rest() {
    let (resource, packed) = pack(spec());
    let size = packed.size().expect("it is compressed");
    let text = serde_json::to_string(&resource).unwrap();
    assert!(size < 700, "{size} bytes for {} of text: {text}", text.len());
}

#[test]
fn a_resource_takes_less_than_two_kilobytes_in_everything_that_is_kept_of_it() {
    const COUNT: u32 = 1_000;
    let (resource, _) = pack(spec());
    let uid = resource.metadata.uid.clone().unwrap();
    let text = serde_json::to_string(&resource).unwrap();
    let decoded = |number: u32| -> Guarded {
        let own = text.replace(&uid, &format!("5f0c2e1a-93b7-4d20-8000-{number:012x}"));
        let own = own.replace(NAME, &format!("{NAME}-{number:04}"));
        DeserializeGuard(Ok(serde_json::from_str(&own).unwrap()))
    };
    let mut held = None;
    // Decoded within, so that the parts of an object that are dropped again do not count.
    let allocated = allocation_counter::measure(|| {
        let (index, memory, tracker) =
            (Index::with_events(&[], Some(PACKING)), Memory::default(), ReconcileTracker::default());
        let queue: Triggers<Guarded> = Triggers::new(12);
        queue.open();
        for number in 0..COUNT {
            let object = decoded(number);
            let (key, uid) = (Key::of(object.meta()), object.meta().uid.clone().unwrap());
            let status = object.0.as_ref().unwrap().status.clone();
            index.apply(object);
            memory.cached(&uid, status.as_ref(), Instant::now());
            tracker.add(&uid, Instant::now());
            queue.trigger_in(key, Urgency::Periodic, Duration::from_secs(600));
        }
        held = Some((index, memory, tracker, queue));
    });
    let (index, ..) = held.unwrap();
    assert_eq!(index.replications.len(), COUNT as usize);
    let each = allocated.bytes_current / i64::from(COUNT);
    // Nothing at all were a measurement gone wrong.
    assert!((700..2_000).contains(&each), "{each} bytes");
}

#[test]
fn a_write_is_forgotten_after_a_minute_although_nothing_happens_to_its_resource() {
    let scene = Scene::ready();
    assert_eq!(scene.operator.remembered(), 1, "AWS may still answer from before the writes");
    scene.clock.advance(Duration::from_secs(60));
    scene.apply_as("other", spec());
    scene.operator.sync(&scene.cluster.server());
    assert_eq!(scene.operator.remembered(), 0);
}
