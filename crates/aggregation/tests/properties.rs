//! Whatever goes in comes out, in order, once, and within the limits.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use aggregation::kpl::{self, Encoder};
use aggregation::{
    Concatenation, Event, KplLimits, Method, Route, Shard, ShardMap, WireRecord, aggregate,
};
use md5::{Digest, Md5};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Owned {
    key: String,
    hash_key: Option<u128>,
    data: Vec<u8>,
}

impl Owned {
    fn event(&self) -> Event<'_> {
        Event {
            explicit_hash_key: self.hash_key,
            ..Event::new(&self.key, &self.data)
        }
    }
}

fn any_event() -> impl Strategy<Value = Owned> {
    let hash_key = prop_oneof![4 => Just(None), 1 => any::<u128>().prop_map(Some), 1 => (0..3_u128).prop_map(Some)];
    let key = prop_oneof!["[a-e]", "[ -~é😀]{1,40}"];
    let data = prop_oneof![
        vec(any::<u8>(), 0..20),
        vec(any::<u8>(), 100..400),
        Just(b"x\n".to_vec())
    ];
    (key, hash_key, data).prop_map(|(key, hash_key, data)| Owned {
        key,
        hash_key,
        data,
    })
}

fn any_map() -> impl Strategy<Value = ShardMap> {
    vec(any::<u128>(), 0..6).prop_map(|mut ends| {
        ends.push(u128::MAX);
        ends.sort_unstable();
        ends.dedup();
        let mut start = 0;
        let shard = |end: &u128| {
            let shard = Shard::new(format!("shard-{start}"), start, *end);
            start = end.saturating_add(1);
            shard
        };
        ShardMap::new(ends.iter().map(shard).collect::<Vec<_>>()).unwrap()
    })
}

/// What a consumer reads from a record.
fn read<'r>(record: &'r WireRecord<'_, '_>) -> Vec<Event<'r>> {
    kpl::decode(&record.data).unwrap().unwrap_or_else(|| {
        vec![Event {
            partition_key: record.partition_key,
            explicit_hash_key: record.explicit_hash_key,
            data: &record.data,
        }]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_encoded_is_decoded_and_its_size_was_known(
        events in vec(any_event(), 0..80),
        max_bytes in 100..3_000_usize,
        max_events in 1..60_usize,
    ) {
        let limits = KplLimits::default().max_bytes(max_bytes).max_events(max_events);
        let mut encoder = Encoder::new(limits);
        let mut taken = Vec::new();
        for event in events.iter().map(Owned::event) {
            let before = encoder.size();
            if encoder.push(event) {
                taken.push(event);
                prop_assert!(encoder.size() > before);
            } else {
                prop_assert_eq!(encoder.size(), before);
            }
        }
        let record = encoder.encode();
        prop_assert_eq!(record.len(), encoder.size());
        prop_assert!(taken.is_empty() || record.len() <= max_bytes);
        prop_assert!(taken.len() <= max_events);
        prop_assert_eq!(kpl::decode(&record).unwrap().unwrap(), taken);
    }

    #[test]
    fn rubbish_is_decoded_or_refused(message in vec(prop_oneof![any::<u8>(), 0..40_u8], 0..60)) {
        let mut record = b"\xf3\x89\x9a\xc2".to_vec();
        record.extend_from_slice(&message);
        record.extend_from_slice(&Md5::digest(&message));
        _ = kpl::decode(&record);
    }

    #[test]
    fn a_consumer_of_each_shard_reads_every_event_once_and_in_order(
        events in vec(any_event(), 0..80),
        map in any_map(),
        max_bytes in 100..2_000_usize,
        by_key: bool,
    ) {
        let route = if by_key { Route::ByKey } else { Route::ByShard(&map) };
        let method = Method::Kpl(KplLimits::default().max_bytes(max_bytes));
        let batch: Vec<Event<'_>> = events.iter().map(Owned::event).collect();
        let records = aggregate(batch.iter().copied(), route, &method);

        let mut places: Vec<usize> = records.iter().flat_map(|record| record.events.clone()).collect();
        let mut last_of_key = std::collections::HashMap::new();
        for record in &records {
            let there = Event { explicit_hash_key: record.explicit_hash_key, ..Event::new(record.partition_key, b"") };
            let shard = map.shard_of(there.hash_key()).unwrap();
            prop_assert!(by_key || record.shard == Some(shard));
            let read = read(record);
            prop_assert_eq!(read.len(), record.events.len());
            prop_assert!(read.len() == 1 || record.data.len() <= max_bytes);
            for (event, place) in read.iter().zip(&record.events) {
                prop_assert_eq!(*event, batch[*place]);
                // Otherwise a consumer would drop the event.
                prop_assert!(shard.contains(event.hash_key()));
                let key = (batch[*place].partition_key, event.explicit_hash_key);
                prop_assert!(last_of_key.insert(key, *place) < Some(*place));
            }
        }
        places.sort_unstable();
        prop_assert_eq!(places, (0..batch.len()).collect::<Vec<_>>());
    }

    #[test]
    fn joined_records_are_the_events_with_their_delimiters(
        events in vec(any_event(), 0..80),
        max_bytes in 500..2_000_usize,
        max_events in 1..40_usize,
    ) {
        let how = Concatenation::default().max_bytes(max_bytes).max_events(max_events);
        let batch: Vec<Event<'_>> = events.iter().map(Owned::event).collect();
        let records = aggregate(batch.iter().copied(), Route::ByKey, &Method::Concatenate(how));
        let mut count = 0;
        for record in &records {
            let mut expected = Vec::new();
            for event in record.events.iter().map(|place| batch[*place]) {
                prop_assert_eq!(event.partition_key, record.partition_key);
                prop_assert_eq!(event.explicit_hash_key, record.explicit_hash_key);
                expected.extend_from_slice(event.data);
                if !event.data.ends_with(b"\n") {
                    expected.push(b'\n');
                }
            }
            prop_assert_eq!(&*record.data, &*expected);
            prop_assert!(record.data.len() <= max_bytes && record.events.len() <= max_events);
            count += record.events.len();
        }
        prop_assert_eq!(count, batch.len());
    }
}

#[cfg(feature = "gzip")]
mod gzip {
    use super::*;
    use aggregation::{Compression, gzip};

    proptest! {
        #[test]
        fn a_compressed_record_keeps_to_its_bytes(
            events in vec(any_event(), 0..80),
            max_bytes in 600..2_000_usize,
        ) {
            let how = Concatenation::default().max_bytes(max_bytes).compression(Compression::Gzip);
            let plain = Concatenation::default();
            let batch: Vec<Event<'_>> = events.iter().map(Owned::event).collect();
            let records = aggregate(batch.iter().copied(), Route::ByKey, &Method::Concatenate(how));
            for record in &records {
                prop_assert!(record.data.len() <= max_bytes);
                let payloads: Vec<&[u8]> = record.events.iter().map(|place| batch[*place].data).collect();
                prop_assert_eq!(&*record.data, &*gzip::compress(&plain.join(&payloads)));
            }
        }
    }
}
