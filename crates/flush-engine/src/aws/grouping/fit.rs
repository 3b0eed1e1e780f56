//! Computes how many events of a batch fit into one request: a safe estimate, without building
//! records.
//!
//! First by arithmetic alone. Of two successive records that may share events, the first one and
//! the second one's first event are too large together. So there are at most about twice as many
//! records as the bytes would fill, plus a few per shard. Only if that is inconclusive is each
//! event assigned to its record.

use std::collections::HashMap;

use aggregation::{Concatenation, KplLimits, Method, ShardMap, kpl};
use batcher::BatchLimits;
use record_cache::Record;

use super::event;

pub(super) fn fit(
    method: &Method,
    batch: &[Record],
    request: BatchLimits,
    shards: Option<&ShardMap>,
) -> usize {
    let Some(sizes) = Sizes::of(method) else {
        return batch.len().min(request.max_items.get());
    };
    let by_arithmetic = lanes(method, batch, shards)
        .map_or(0, |lanes| by_arithmetic(&sizes, batch, request, lanes));
    if by_arithmetic == batch.len() {
        return by_arithmetic;
    }
    by_place(&sizes, batch, request, shards).max(by_arithmetic)
}

/// Upper bounds for the sizes of events and records.
struct Sizes<'a> {
    method: &'a Method,
    /// Bytes available for the events of one record.
    room: usize,
    max_events: usize,
    /// Bytes of a record besides its events and its key.
    record: usize,
}

impl<'a> Sizes<'a> {
    fn of(method: &'a Method) -> Option<Self> {
        match method {
            Method::Kpl(limits) => Some(Self::of_kpl(method, *limits)),
            Method::Concatenate(joined) => Some(Self::of_joined(method, joined)),
            _ => None,
        }
    }

    fn of_kpl(method: &'a Method, limits: KplLimits) -> Self {
        const MAGIC_AND_CHECKSUM: usize = 4 + 16;
        Self {
            method,
            room: limits.max_bytes.saturating_sub(MAGIC_AND_CHECKSUM),
            max_events: limits.max_events.max(1),
            record: MAGIC_AND_CHECKSUM,
        }
    }

    fn of_joined(method: &'a Method, joined: &Concatenation) -> Self {
        let room = joined.max_joined_bytes();
        Self {
            method,
            room,
            max_events: joined.max_events.max(1),
            record: joined.max_bytes - room,
        }
    }

    /// Maximum bytes that an event adds to a record.
    fn event(&self, record: &Record) -> usize {
        /// Tags, lengths and indexes of an event and its keys; and the digits of a hash key.
        const KPL: usize = 17;
        const KPL_HASH_KEY: usize = 45;
        match self.method {
            Method::Concatenate(joined) => joined.joined_size(&record.data),
            _ => {
                let event = event(record);
                let hash_key = event.explicit_hash_key.map_or(0, |_| KPL_HASH_KEY);
                event.data.len() + event.partition_key.len() + KPL + hash_key
            }
        }
    }

    /// Whether an event can share a record.
    fn is_shared(&self, record: &Record) -> bool {
        !matches!(self.method, Method::Kpl(_)) || !kpl::is_aggregate(&record.data)
    }
}

/// How many lanes there can be, if known. Events of different lanes share no record.
fn lanes(method: &Method, batch: &[Record], shards: Option<&ShardMap>) -> Option<usize> {
    const WITH_AND_WITHOUT_HASH_KEY: usize = 2;
    match (method, shards) {
        (Method::Kpl(_), Some(map)) => {
            let covers_all = covers_all(map);
            covers_all.then(|| map.shards().len() * WITH_AND_WITHOUT_HASH_KEY)
        }
        _ => batch.iter().all(|record| record.key.is_none()).then_some(1),
    }
}

/// Whether the shards cover every hash.
fn covers_all(map: &ShardMap) -> bool {
    let mut next = Some(0);
    for shard in map.shards() {
        if next != Some(shard.start) {
            return false;
        }
        next = shard.end.checked_add(1);
    }
    next.is_none() && !map.shards().is_empty()
}

fn by_arithmetic(sizes: &Sizes<'_>, batch: &[Record], request: BatchLimits, lanes: usize) -> usize {
    let (mut bytes, mut longest_key, mut unshared) = (0_u64, 0, 0);
    for (place, record) in batch.iter().enumerate() {
        bytes += sizes.event(record) as u64;
        longest_key = longest_key.max(record.key.as_ref().map_or(0, String::len));
        unshared += usize::from(!sizes.is_shared(record));
        let by_bytes = 2 * bytes / sizes.room.max(1) as u64;
        let by_count = (place + 1) / sizes.max_events;
        let records = usize::try_from(by_bytes).unwrap_or(usize::MAX);
        let records = records
            .saturating_add(lanes + by_count + 2 * unshared)
            .min(place + 1);
        let beside = records.saturating_mul(sizes.record + longest_key) as u64;
        let is_within = records <= request.max_items.get()
            && bytes.saturating_add(beside) <= request.max_bytes.get();
        if !is_within {
            return place;
        }
    }
    batch.len()
}

/// Events that can share a record: by shard, or by their keys.
#[derive(PartialEq, Eq, Hash)]
enum Lane<'a> {
    Shard(&'a str, bool),
    Keys(&'a str, Option<u128>),
}

fn by_place(
    sizes: &Sizes<'_>,
    batch: &[Record],
    request: BatchLimits,
    shards: Option<&ShardMap>,
) -> usize {
    let mut open: HashMap<Lane<'_>, (usize, usize)> = HashMap::new();
    let (mut records, mut bytes) = (0, 0_u64);
    for (place, record) in batch.iter().enumerate() {
        let event = event(record);
        let shard = shards.and_then(|map| map.shard_of(event.hash_key()));
        let lane = match shard {
            Some(shard) => Lane::Shard(&shard.id, event.explicit_hash_key.is_some()),
            None => Lane::Keys(event.partition_key, event.explicit_hash_key),
        };
        let size = sizes.event(record);
        let (room, left) = open.entry(lane).or_default();
        let is_shared = sizes.is_shared(record);
        if is_shared && size <= *room && *left > 0 {
            *room -= size;
            *left -= 1;
        } else {
            records += 1;
            bytes += (sizes.record + event.partition_key.len()) as u64;
            *room = match is_shared {
                true => sizes.room.saturating_sub(size),
                false => 0,
            };
            *left = sizes.max_events - 1;
        }
        bytes += size as u64;
        if records > request.max_items.get() || bytes > request.max_bytes.get() {
            return place;
        }
    }
    batch.len()
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU64, NonZeroUsize};
    use std::time::SystemTime;

    use aggregation::Shard;
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use record_cache::RecordId;

    use super::super::{Grouping, within_request};
    use super::*;

    fn record(key: Option<&str>, data: Vec<u8>) -> Record {
        let key = key.map(str::to_owned);
        let (id, data) = (RecordId::new(1), Bytes::from(data));
        Record::new(id, key, data, 0, SystemTime::UNIX_EPOCH)
    }

    fn limits(items: usize, bytes: u64) -> BatchLimits {
        let items = NonZeroUsize::new(items).unwrap();
        BatchLimits::new(items, NonZeroU64::new(bytes).unwrap())
    }

    fn shards(count: u128) -> ShardMap {
        let width = u128::MAX / count;
        let shard = |n: u128| {
            let end = if n + 1 == count {
                u128::MAX
            } else {
                (n + 1) * width - 1
            };
            Shard::new(format!("s{n}"), n * width, end)
        };
        ShardMap::new((0..count).map(shard)).unwrap()
    }

    fn any_method() -> impl Strategy<Value = Method> {
        let limit = (40..4_000_usize, 1..40_usize);
        let kpl = limit.clone().prop_map(|(bytes, events)| {
            Method::Kpl(KplLimits::default().max_bytes(bytes).max_events(events))
        });
        let joined = limit.prop_map(|(bytes, events)| {
            let joined = Concatenation::default().max_bytes(bytes).max_events(events);
            Method::Concatenate(joined)
        });
        prop_oneof![kpl, joined]
    }

    fn any_batch() -> impl Strategy<Value = Vec<Record>> {
        let data = prop_oneof![
            8 => vec(any::<u8>(), 0..200),
            1 => vec(any::<u8>(), 0..5_000),
            1 => vec(any::<u8>(), 0..20).prop_map(|data| [b"\xf3\x89\x9a\xc2", &data[..]].concat()),
        ];
        let one = (0..40_usize, data);
        vec(one, 1..300).prop_map(|events| {
            let key = |n: usize| format!("{n}{}", "k".repeat(n));
            let events = events.into_iter();
            events
                .map(|(n, data)| record(Some(&key(n)), data))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_fits_is_never_too_much_for_a_request(
            method in any_method(),
            batch in any_batch(),
            items in 1..100_usize,
            bytes in 100..40_000_u64,
            count in prop::option::of(1..9_u128),
        ) {
            let request = limits(items, bytes);
            let map = count.map(shards).filter(|_| matches!(method, Method::Kpl(_)));
            let fitted = fit(&method, &batch, request, map.as_ref());
            let grouping = Grouping { method };
            let records = grouping.records(&batch[..fitted], map.as_ref(), u64::MAX);
            prop_assert!(records.len() <= items);
            if fitted > 0 {
                prop_assert_eq!(within_request(&records, request), records.len());
            }
        }
    }

    #[test]
    fn a_request_takes_most_of_what_it_has_room_for() {
        let batch: Vec<_> = (0..16_384)
            .map(|n| record(Some(&n.to_string()), vec![7; 1000]))
            .collect();
        let request = limits(500, 10 << 20);
        let method = Method::Kpl(KplLimits::default());
        for map in [Some(shards(1)), Some(shards(40)), Some(shards(200))] {
            let fitted = fit(&method, &batch, request, map.as_ref());
            assert!((9_900..10_400).contains(&fitted), "{fitted}");
        }
        assert_eq!(fit(&method, &batch, request, None), 500);
        let lines = Method::Concatenate(Concatenation::default());
        let batch: Vec<_> = (0..16_384).map(|_| record(None, vec![7; 100])).collect();
        assert_eq!(fit(&lines, &batch, limits(500, 4 << 20), None), 16_384);
    }

    #[test]
    fn a_map_with_a_gap_says_nothing_of_how_many_records_there_are() {
        assert!(covers_all(&shards(3)));
        assert!(!covers_all(&ShardMap::default()));
        let gap = [Shard::new("a", 0, 10), Shard::new("b", 12, u128::MAX)];
        assert!(!covers_all(&ShardMap::new(gap).unwrap()));
    }
}
