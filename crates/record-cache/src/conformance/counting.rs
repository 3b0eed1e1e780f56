//! Checks the counters, and compares a store with a simple model.

use std::collections::{BTreeMap, VecDeque};

use super::reading::hash_key;
use super::support::{
    Numbers, append, delete, limits, numbered, read, read_all, record, settle, stream,
};
use crate::{QueueStats, Record, RecordStore, Settlement, StoreStats, StreamName};

pub(super) async fn counters_follow_every_call(store: &dyn RecordStore) {
    let (one, two) = (stream("b"), stream("a"));
    append(store, numbered(&one, 0..10)).await;
    append(store, vec![record(&two, vec![1; 97])]).await;
    let stats = store.stats();
    assert_eq!(stats.records(), 11, "records of all streams");
    assert_eq!(stats.bytes(), 10 * 7 + 100, "payloads and keys, no framing");
    let streams: Vec<_> = stats.streams.into_iter().collect();
    let expected = [
        (two.clone(), QueueStats::new(1, 100)),
        (one.clone(), QueueStats::new(10, 70)),
    ];
    assert_eq!(streams, expected, "each stream by name, in order");
    assert_eq!(stats.damaged_records, 0);

    let held = read_all(store, &one).await;
    let step = Settlement::new(one.clone())
        .delete([held[3].id, held[9].id])
        .count_attempt([held[4].id]);
    settle(store, step).await;
    assert_eq!(store.stats().streams[&one], QueueStats::new(8, 56));
    let last = read_all(store, &two).await[0].id;
    delete(store, &two, [last]).await;
    let stats = store.stats();
    let is_listed = stats.streams.contains_key(&two);
    assert!(!is_listed, "an empty stream is not listed");
    assert_eq!((stats.records(), stats.bytes()), (8, 56));
}

pub(super) async fn random_work_agrees_with_a_plain_queue(store: &dyn RecordStore) {
    let names = [stream("x"), stream("y"), stream("z")];
    let mut model: BTreeMap<StreamName, VecDeque<Record>> = BTreeMap::new();
    let mut numbers = Numbers::new(7);
    for step in 0..400 {
        let name = &names[numbers.below(3)];
        match numbers.below(20) {
            0..=9 => {
                let count = numbers.below(12);
                let new = |_| {
                    let large = numbers.below(40) == 0;
                    let bytes = numbers.below(if large { 40_000 } else { 900 });
                    let data = vec![u8::try_from(step % 256).unwrap_or(0); bytes];
                    let new = record(&names[numbers.below(3)], data);
                    new.with_explicit_hash_key(hash_key(step))
                };
                let new: Vec<_> = (0..count).map(new).collect();
                append(store, new.clone()).await;
                learn(store, &mut model, &new).await;
            }
            10..=17 => {
                let queue = model.entry(name.clone()).or_default();
                let reach = queue.len().min(numbers.below(60) + 1);
                let mut settlement = Settlement::new(name.clone());
                let mut kept = VecDeque::new();
                for mut record in queue.drain(..reach) {
                    match numbers.below(4) {
                        0 => kept.push_back(record),
                        1 => {
                            settlement.count_attempt.push(record.id);
                            record.attempts += 1;
                            kept.push_back(record);
                        }
                        _ => settlement.delete.push(record.id),
                    }
                }
                kept.append(queue);
                *queue = kept;
                settle(store, settlement).await;
            }
            18 => agree(store, name, model.get(name), numbers.below(30) + 1).await,
            _ if numbers.below(10) == 0 => {
                store.clear().await.expect("clear succeeds");
                model.values_mut().for_each(VecDeque::clear);
            }
            _ => {}
        }
        let expected = count(&model);
        assert_eq!(store.stats(), expected, "the counters agree with the model");
    }
    for name in &names {
        agree(store, name, model.get(name), usize::MAX).await;
    }
}

/// Reads the ids of newly appended records into the model.
async fn learn(
    store: &dyn RecordStore,
    model: &mut BTreeMap<StreamName, VecDeque<Record>>,
    new: &[crate::NewRecord],
) {
    for new in new {
        let queue = model.entry(new.stream.clone()).or_default();
        let after = queue.back().map(|last| last.id);
        let found = read(store, &new.stream, after, limits(1, u64::MAX)).await;
        let found = found.first().expect("an appended record is there");
        let (key, data) = (new.key.clone(), new.data.clone());
        let expected = Record::new(found.id, key, data, 0, new.recorded_at);
        let expected = expected.with_explicit_hash_key(new.explicit_hash_key);
        assert_eq!(*found, expected, "new records follow the old ones");
        queue.push_back(expected);
    }
}

async fn agree(
    store: &dyn RecordStore,
    name: &StreamName,
    queue: Option<&VecDeque<Record>>,
    most: usize,
) {
    let held = || queue.into_iter().flatten();
    let found = read(store, name, None, limits(most, u64::MAX)).await;
    let agrees = found.iter().eq(held().take(most));
    assert!(agrees, "the store agrees with the model");
    let after = found.first().map(|record| record.id);
    let found = read(store, name, after, limits(most, u64::MAX)).await;
    let skipped = usize::from(after.is_some());
    assert!(found.iter().eq(held().skip(skipped).take(most)));
}

fn count(model: &BTreeMap<StreamName, VecDeque<Record>>) -> StoreStats {
    let held = model.iter().filter(|(_, queue)| !queue.is_empty());
    let streams = held.map(|(name, queue)| {
        let bytes = queue.iter().map(Record::size).sum();
        (name.clone(), QueueStats::new(queue.len(), bytes))
    });
    StoreStats::new(streams.collect(), 0)
}
