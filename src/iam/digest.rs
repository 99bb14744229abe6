//! Short digests, by which names and Sids stay apart where the text itself does not fit.
//!
//! In: bytes, and a length. Out: the first characters of their SHA-256 in hexadecimal.

use sha2::{Digest, Sha256};

/// The first characters of the SHA-256 of some bytes, in lowercase hexadecimal; at most 64.
pub fn sha256_prefix(bytes: &[u8], length: usize) -> String {
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .take(length)
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_as_long_as_asked_for_and_never_longer_than_the_digest() {
        assert_eq!(sha256_prefix(b"", 8), "e3b0c442");
        assert_eq!(sha256_prefix(b"", 100).len(), 64);
    }
}
