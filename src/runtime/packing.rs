//! Keeps an object in a few hundred bytes while nothing is done with it.
//!
//! In: an object of a kind, and how the kind is written as text. Out: the text, compressed, and the object again. A
//! decoded object takes several kilobytes, most of them allocations of single strings, and of ten thousand objects
//! only those under reconcile are needed.

use std::sync::Arc;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// How the objects of a kind are packed.
#[derive(Clone, Copy, Debug)]
pub struct Packing<K> {
    /// The object as text; `None` for one that cannot be written, which is kept as it is.
    pub write: fn(&K) -> Option<Vec<u8>>,
    /// The object of a text that `write` wrote.
    pub read: fn(&[u8]) -> Option<K>,
    /// A typical text. The parts that an object has in common with it take nearly no room.
    pub typical: &'static [u8],
}

/// An object at rest.
#[derive(Debug)]
pub enum Packed<K> {
    Compressed(Box<[u8]>),
    Whole(Arc<K>),
}

impl<K> Packed<K> {
    /// Packs an object. Without a packing, or where the text would not give the object back, it is kept as it is.
    pub fn new(object: &Arc<K>, packing: Option<&Packing<K>>) -> Packed<K> {
        let text = packing.and_then(|packing| Some((packing, (packing.write)(object)?)));
        match text {
            None => Packed::Whole(object.clone()),
            Some((packing, text)) => {
                Packed::Compressed(compress_prepend_size_with_dict(&text, packing.typical).into_boxed_slice())
            }
        }
    }

    /// The object; `None` never happens for what [`Packed::new`] made with the same packing.
    pub fn unpack(&self, packing: Option<&Packing<K>>) -> Option<Arc<K>> {
        match (self, packing) {
            (Packed::Whole(object), _) => Some(object.clone()),
            (Packed::Compressed(bytes), Some(packing)) => {
                let text = decompress_size_prepended_with_dict(bytes, packing.typical).ok()?;
                (packing.read)(&text).map(Arc::new)
            }
            (Packed::Compressed(_), None) => None,
        }
    }

    /// Bytes on the heap, where that is known.
    #[cfg(test)]
    pub fn size(&self) -> Option<usize> {
        match self {
            Packed::Compressed(bytes) => Some(bytes.len()),
            Packed::Whole(_) => None,
        }
    }
}
