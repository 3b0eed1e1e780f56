//! Builds and encodes an aggregate.

use std::collections::HashMap;
use std::hash::Hash;

use super::{CHECKSUM_BYTES, KplLimits, MAGIC, proto};
use crate::event::{Event, md5};

/// An aggregate under construction. Its size is known before encoding.
///
/// ```
/// use aggregation::kpl::{Encoder, decode};
/// use aggregation::{Event, KplLimits};
///
/// let mut encoder = Encoder::new(KplLimits::default());
/// assert!(encoder.is_empty());
/// for data in [&b"one"[..], b"two"] {
///     assert!(encoder.push(Event::new("customer-7", data)), "no room: begin another");
/// }
/// let record = encoder.encode();
/// assert_eq!((encoder.len(), encoder.size()), (2, record.len()));
/// // The keys that the record is sent with.
/// assert_eq!(encoder.first().map(|event| event.partition_key), Some("customer-7"));
/// assert_eq!(decode(&record)?.map(|events| events.len()), Some(2));
/// # Ok::<(), aggregation::kpl::Malformed>(())
/// ```
#[derive(Debug, Clone)]
pub struct Encoder<'a> {
    limits: KplLimits,
    events: Vec<Indexed<'a>>,
    keys: Table<&'a str>,
    hash_keys: Table<u128>,
    message_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Indexed<'a> {
    event: Event<'a>,
    key: usize,
    hash_key: Option<usize>,
}

impl Indexed<'_> {
    fn size(&self) -> usize {
        proto::number_size(self.key)
            + self.hash_key.map_or(0, proto::number_size)
            + proto::bytes_size(self.event.data.len())
    }
}

impl<'a> Encoder<'a> {
    /// An empty aggregate.
    #[must_use]
    pub fn new(limits: KplLimits) -> Self {
        Self {
            limits,
            events: Vec::new(),
            keys: Table::default(),
            hash_keys: Table::default(),
            message_bytes: 0,
        }
    }

    /// Adds an event. Returns `false` if there is no place for it: the aggregate would grow too
    /// large, or its events differ in whether they have an explicit hash key.
    pub fn push(&mut self, event: Event<'a>) -> bool {
        let has_hash_key = event.explicit_hash_key.is_some();
        let mixes = !self.events.is_empty() && has_hash_key == self.hash_keys.list.is_empty();
        if mixes || self.events.len() >= self.limits.max_events {
            return false;
        }
        let indexed = Indexed {
            event,
            key: self.keys.index(event.partition_key),
            hash_key: event.explicit_hash_key.map(|key| self.hash_keys.index(key)),
        };
        let message_bytes = self.message_bytes
            + self.keys.growth(event.partition_key, str::len)
            + event.explicit_hash_key.map_or(0, |key| {
                let digits = |key: &u128| key.checked_ilog10().map_or(1, |log| log as usize + 1);
                self.hash_keys.growth(key, |key| digits(&key))
            })
            + proto::bytes_size(indexed.size());
        if MAGIC.len() + message_bytes + CHECKSUM_BYTES > self.limits.max_bytes {
            return false;
        }
        self.keys.insert(event.partition_key);
        if let Some(key) = event.explicit_hash_key {
            self.hash_keys.insert(key);
        }
        self.events.push(indexed);
        self.message_bytes = message_bytes;
        true
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The first event, whose keys the record takes.
    #[must_use]
    pub fn first(&self) -> Option<Event<'a>> {
        self.events.first().map(|indexed| indexed.event)
    }

    /// The size of the output of [`encode`](Self::encode).
    #[must_use]
    pub const fn size(&self) -> usize {
        MAGIC.len() + self.message_bytes + CHECKSUM_BYTES
    }

    /// Encodes the aggregate.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        out.extend_from_slice(&MAGIC);
        for key in &self.keys.list {
            proto::bytes(&mut out, 1, key.as_bytes());
        }
        for key in &self.hash_keys.list {
            proto::bytes(&mut out, 2, key.to_string().as_bytes());
        }
        for indexed in &self.events {
            proto::head(&mut out, 3, indexed.size());
            proto::number(&mut out, 1, indexed.key);
            if let Some(hash_key) = indexed.hash_key {
                proto::number(&mut out, 2, hash_key);
            }
            proto::bytes(&mut out, 3, indexed.event.data);
        }
        let checksum = md5([&out[MAGIC.len()..]]);
        out.extend_from_slice(&checksum);
        debug_assert_eq!(out.len(), self.size());
        out
    }
}

/// Distinct keys, in order of first use.
#[derive(Debug, Clone)]
struct Table<K> {
    list: Vec<K>,
    places: HashMap<K, usize>,
}

impl<K: Copy + Eq + Hash> Table<K> {
    /// The index a key has or would get.
    fn index(&self, key: K) -> usize {
        self.places.get(&key).copied().unwrap_or(self.list.len())
    }

    /// How much the message grows with this key.
    fn growth(&self, key: K, length: impl Fn(K) -> usize) -> usize {
        if self.index(key) == self.list.len() {
            proto::bytes_size(length(key))
        } else {
            0
        }
    }

    fn insert(&mut self, key: K) {
        let next = self.list.len();
        if *self.places.entry(key).or_insert(next) == next {
            self.list.push(key);
        }
    }
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            places: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_has_these_bytes() {
        let mut encoder = Encoder::new(KplLimits::default());
        assert!(encoder.push(Event::new("a", b"one").with_explicit_hash_key(0)));
        assert!(encoder.push(Event::new("bc", b"").with_explicit_hash_key(10)));
        assert!(encoder.push(Event::new("a", b"three").with_explicit_hash_key(10)));
        let message = b"\x0a\x01a\x0a\x02bc\x12\x010\x12\x0210\
            \x1a\x09\x08\x00\x10\x00\x1a\x03one\
            \x1a\x06\x08\x01\x10\x01\x1a\x00\
            \x1a\x0b\x08\x00\x10\x01\x1a\x05three";
        let mut golden = b"\xf3\x89\x9a\xc2".to_vec();
        golden.extend_from_slice(message);
        golden
            .extend_from_slice(b"\x42\xc3\x98\xf2\x90\xbd\xb1\x68\x1e\xa4\xae\x63\x0b\x96\x59\x18");
        assert_eq!(encoder.encode(), golden);
        assert_eq!(encoder.size(), golden.len());
    }

    #[test]
    fn events_with_and_without_a_hash_key_do_not_mix() {
        let (plain, explicit) = (
            Event::new("a", b""),
            Event::new("a", b"").with_explicit_hash_key(1),
        );
        for (first, other) in [(plain, explicit), (explicit, plain)] {
            let mut encoder = Encoder::new(KplLimits::default());
            assert!(encoder.push(first));
            let size = encoder.size();
            assert!(!encoder.push(other));
            assert!(encoder.push(first));
            assert_eq!(encoder.len(), 2);
            assert!(encoder.size() > size);
        }
    }

    #[test]
    fn the_limits_are_kept_to_the_byte_and_to_the_event() {
        let event = Event::new("key", &[7; 100]);
        let mut encoder = Encoder::new(KplLimits::default().max_bytes(1_000));
        while encoder.push(event) {}
        assert!(encoder.size() <= 1_000);
        let size = encoder.size();
        let mut exact = Encoder::new(KplLimits::default().max_bytes(size));
        (0..encoder.len()).for_each(|_| assert!(exact.push(event)));
        let mut short = Encoder::new(KplLimits::default().max_bytes(size - 1));
        (1..encoder.len()).for_each(|_| assert!(short.push(event)));
        assert!(!short.push(event));
        let mut few = Encoder::new(KplLimits::default().max_events(2));
        assert!(few.push(event) && few.push(event) && !few.push(event));
    }
}
