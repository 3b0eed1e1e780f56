//! One event, and the hash that decides its shard.

use std::fmt;

use md5::{Digest, Md5};

/// A user's event: a payload and its destination.
///
/// ```
/// use aggregation::{Event, hash_key};
///
/// let event = Event::new("customer-7", b"an order");
/// assert_eq!(event.hash_key(), hash_key("customer-7"));
/// // To the shard with this hash, whatever the key.
/// let event = event.with_explicit_hash_key(0);
/// assert_eq!(event.hash_key(), 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The partition key. Empty for services without partition keys.
    pub partition_key: &'a str,
    /// A hash that overrides the partition key's hash.
    pub explicit_hash_key: Option<u128>,
    /// The payload.
    pub data: &'a [u8],
}

impl<'a> Event<'a> {
    /// An event routed by its partition key.
    #[must_use]
    pub const fn new(partition_key: &'a str, data: &'a [u8]) -> Self {
        Self {
            partition_key,
            explicit_hash_key: None,
            data,
        }
    }

    /// The same event with an explicit hash.
    #[must_use]
    pub const fn with_explicit_hash_key(mut self, hash_key: u128) -> Self {
        self.explicit_hash_key = Some(hash_key);
        self
    }

    /// The hash that decides the shard.
    #[must_use]
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key
            .unwrap_or_else(|| hash_key(self.partition_key))
    }
}

// Leaves out the payload and the key.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// The hash of a partition key: its MD5 as a number.
///
/// ```
/// use aggregation::hash_key;
///
/// // Which half of the hashes, and so which of two equal shards.
/// let is_in_first_half = |key: &str| hash_key(key) <= u128::MAX / 2;
/// assert!(!is_in_first_half(""));
/// ```
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(md5([partition_key.as_bytes()]))
}

/// The MD5 of the concatenated pieces.
pub(crate) fn md5<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut md5 = Md5::new();
    for piece in pieces {
        md5.update(piece);
    }
    md5.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_key_hashes_to_its_md5() {
        assert_eq!(hash_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
        assert_eq!(hash_key("abc"), 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72);
    }

    #[test]
    fn an_explicit_hash_key_goes_first() {
        let event = Event::new("abc", b"");
        assert_eq!(event.hash_key(), hash_key("abc"));
        assert_eq!(event.with_explicit_hash_key(7).hash_key(), 7);
    }
}
