//! What a resource costs while nothing is done with it.

use kube::core::DeserializeGuard;

use super::*;
use crate::api::BucketReplication;
use crate::controllers::Guarded;
use crate::controllers::index::PACKING;
use crate::runtime::packing::Packed;

/// A Ready resource as the API server returns it, and what it is packed into.
fn packed(spec: Value) -> (BucketReplication, Packed<Guarded>) {
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
    let (resource, packed) = packed(spec());
    let again = packed.unpack(Some(&PACKING)).unwrap();
    assert_eq!(again.0.as_ref().unwrap(), &resource);
}

#[test]
fn a_ready_resource_takes_less_than_seven_hundred_bytes_at_rest() {
    let (resource, packed) = packed(spec());
    let size = packed.size().expect("it is compressed");
    let text = serde_json::to_string(&resource).unwrap();
    assert!(size < 700, "{size} bytes for {} of text: {text}", text.len());
}
