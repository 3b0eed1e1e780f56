//! Checks order and ids.

use std::collections::BTreeSet;
use std::pin::Pin;

use super::support::{append, delete, ids, join_all, numbered, payloads, read_all, record, stream};
use crate::RecordStore;

pub(super) async fn records_come_back_in_the_order_of_their_calls(store: &dyn RecordStore) {
    let name = stream("ordered");
    let written = numbered(&name, 0..300);
    let mut rest = &written[..];
    for length in (1..).take_while(|n| n * (n + 1) / 2 <= 300) {
        let (call, later) = rest.split_at(length);
        append(store, call.to_vec()).await;
        rest = later;
    }
    append(store, rest.to_vec()).await;
    let read = read_all(store, &name).await;
    let expected: Vec<_> = written.into_iter().map(|new| new.data).collect();
    assert_eq!(payloads(&read), expected, "first in, first out");
}

pub(super) async fn one_call_may_feed_many_streams(store: &dyn RecordStore) {
    let names: Vec<_> = (0..5).map(|n| stream(&format!("stream-{n}"))).collect();
    let mixed = (0..100_u32).map(|n| record(&names[n as usize % 5], n.to_be_bytes().to_vec()));
    append(store, mixed.collect()).await;
    for (at, name) in (0..).zip(&names) {
        let expected = (0..20_u32).map(|n| (n * 5 + at).to_be_bytes().to_vec());
        let expected: Vec<_> = expected.collect();
        let found = payloads(&read_all(store, name).await);
        assert_eq!(found, expected, "each stream in order");
    }
}

pub(super) async fn tasks_side_by_side_keep_their_own_order(store: &dyn RecordStore) {
    let name = stream("shared");
    let tasks = (0..16_u8).map(|task| {
        let name = name.clone();
        let work = async move {
            for n in 0..20_u8 {
                append(store, vec![record(&name, vec![task, n]); 2]).await;
            }
        };
        Box::pin(work) as Pin<Box<dyn Future<Output = ()> + '_>>
    });
    join_all(tasks.collect()).await;

    let read = read_all(store, &name).await;
    assert_eq!(read.len(), 16 * 20 * 2, "nothing is lost between tasks");
    for pair in read.chunks(2) {
        let [one, other] = [&pair[0].data, &pair[1].data];
        assert_eq!(one, other, "records of one call stay together");
    }
    for task in 0..16_u8 {
        let own = read.iter().filter(|record| record.data[0] == task);
        let is_in_order = own.is_sorted_by_key(|record| record.data[1]);
        assert!(is_in_order, "a task's records are in its order");
    }
}

pub(super) async fn ids_only_grow_and_are_never_used_again(store: &dyn RecordStore) {
    let name = stream("identified");
    let mut seen = BTreeSet::new();
    let mut highest = None;
    for round in 0..6_u32 {
        append(store, numbered(&name, 0..10)).await;
        append(store, numbered(&name, 0..1)).await;
        let read = read_all(store, &name).await;
        let mut new = ids(&read);
        new.retain(|id| seen.insert(*id));
        assert_eq!(new.len(), 11, "eleven ids that were never given out");
        assert!(new.is_sorted(), "ids grow with the order");
        let first = new.first().copied();
        assert!(first > highest, "and beyond all earlier ones");
        highest = new.last().copied();
        match round {
            0 | 3 => {
                store.clear().await.expect("clear succeeds");
            }
            1 => {
                delete(store, &name, ids(&read)).await;
            }
            // Deletes the newest and keeps the oldest.
            2 => {
                let newest = ids(&read).split_off(read.len() - 5);
                delete(store, &name, newest).await;
            }
            _ => {}
        }
    }
}
