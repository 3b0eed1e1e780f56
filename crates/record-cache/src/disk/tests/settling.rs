//! What a settlement waits for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::history::{in_memory, open, some};
use super::sim::SimDisk;
use super::slow::{Gate, open_slow};
use crate::disk::Settings;
use crate::log::catalog::lock;
use crate::log::format::SEGMENT_HEADER_BYTES;
use crate::log::frame::GroupBody;
use crate::{Amount, Durability, NewRecord, RecordStore, Settlement, StreamName};

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_does_not_wait_for_the_sync_of_those_who_append_beside_it() {
    let gate = Arc::new(Gate::default());
    let settings = Settings::new("nowhere".into());
    let store = open_slow(&SimDisk::default(), &gate, settings, in_memory).await;
    let store = Arc::new(store.unwrap());
    let stream = StreamName::new("a").unwrap();
    let append = |data: &'static str| {
        let (store, stream) = (Arc::clone(&store), stream.clone());
        tokio::spawn(async move { store.append(vec![NewRecord::new(stream, None, data)]).await })
    };
    append("first").await.unwrap().unwrap();
    let held = store.oldest(&stream, None, some(1)).await.unwrap().records;
    let first = held[0].id;

    let syncs = gate.syncs_begun();
    gate.allow_syncs(Some(syncs));
    let second = append("second");
    gate.wait_for_syncs(syncs + 1);
    let third = append("third");
    let settling = tokio::spawn({
        let (store, settlement) = (Arc::clone(&store), Settlement::new(stream.clone()));
        async move { store.settle(settlement.delete([first])).await }
    });
    while store.shared.requests.len() < 2 {
        tokio::task::yield_now().await;
    }
    gate.allow_syncs(Some(syncs + 1));
    second.await.unwrap().unwrap();
    let settled = timeout(Duration::from_secs(10), settling).await;
    let removed = settled.expect("answered without a sync").unwrap().unwrap();
    assert_eq!(removed, Amount::new(1, 5));
    assert!(!third.is_finished());
    gate.allow_syncs(None);
    third.await.unwrap().unwrap();
    assert_eq!(store.stats().records(), 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn all_bytes_of_a_record_are_live_until_it_is_settled_its_hash_key_too() {
    for hash_key in [None, Some(7)] {
        let disk = SimDisk::default();
        let store = open(&disk, Durability::PowerLoss).await.unwrap();
        let name = StreamName::new("a").unwrap();
        let record = NewRecord::new(name.clone(), None, "payload").with_explicit_hash_key(hash_key);
        store.append(vec![record.clone(), record]).await.unwrap();
        let (total, live) = lock(&store.0.shared.catalog).occupancy();
        let around = SEGMENT_HEADER_BYTES + GroupBody::FRAME_BYTES;
        assert_eq!(live, total - around, "{hash_key:?}");
        let held = store.oldest(&name, None, some(9)).await.unwrap().records;
        let ids = held.iter().map(|record| record.id);
        let settled = Settlement::new(name).delete(ids);
        store.settle(settled).await.unwrap();
        assert_eq!(lock(&store.0.shared.catalog).occupancy().1, 0);
        store.close().await.unwrap();
    }
}
