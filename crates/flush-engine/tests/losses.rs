//! Records that a store on disk loses. Once it says so, their room is free again.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use common::*;
use flush_engine::{EngineError, EngineOptions, FlushEngine, FlushStrategy, OverflowPolicy};
use record_cache::{
    Durability, JournalStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName,
};
use tempfile::TempDir;

const MAX_BYTES: usize = 4096;
const LOST: &str = "lost";

/// An engine with a full cache, in whose store a compaction has just dropped everything.
async fn after_a_loss(place: &TempDir, change: impl FnOnce(&mut EngineOptions)) -> FlushEngine {
    let path = place.path().join("records");
    let store = JournalStore::builder(&path).durability(Durability::ProcessCrash);
    let store = Arc::new(store.open().await.unwrap());
    let mut options = bounded(MAX_BYTES as u64);
    change(&mut options);
    let service = Arc::new(Service::accepting());
    let engine = FlushEngine::start(Arc::clone(&store) as _, service, options).unwrap();
    engine.record(vec![whole(LOST)]).await.unwrap();

    let segment = path.join("0000000000.journal");
    let data = whole(LOST).data;
    let file = fs::read(&segment).unwrap();
    let at = file.windows(data.len()).position(|part| *part == data[..]);
    let mut file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.seek(SeekFrom::Start(at.unwrap() as u64)).unwrap();
    file.write_all(b"damaged").unwrap();
    drop(file);
    // The engine knows nothing of this stream.
    let busy = stream("busy");
    while segment.exists() {
        let record = NewRecord::new(busy.clone(), None, vec![0; 1 << 20]);
        store.append(vec![record]).await.unwrap();
        delete_all(&store, &busy).await;
    }
    assert_eq!(store.stats().damaged_records, 1);
    engine
}

async fn delete_all(store: &JournalStore, stream: &StreamName) {
    let all = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
    let held = store.oldest(stream, None, all).await.unwrap().records;
    let ids = held.iter().map(|record| record.id);
    let settlement = Settlement::new(stream.clone()).delete(ids);
    store.settle(settlement).await.unwrap();
}

/// A record that takes up the whole cache.
fn whole(stream: &str) -> NewRecord {
    new(stream, &"x".repeat(MAX_BYTES))
}

/// Checks that the whole cache is free, and no more than that.
async fn assert_is_free(engine: &FlushEngine) {
    assert_eq!(engine.cache_stats().records, 0);
    engine.record(vec![whole("room")]).await.unwrap();
    let refused = engine.record(vec![new("room", "x")]).await;
    let is_refused = matches!(refused, Err(EngineError::LimitExceeded(_)));
    assert!(is_refused, "{refused:?}");
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_pass_frees_the_room_of_what_is_lost() {
    let place = TempDir::new().unwrap();
    let engine = after_a_loss(&place, |_| {}).await;
    let stats = engine.cache_stats();
    assert_eq!(stats.bytes, MAX_BYTES as u64, "the stats say it is full");
    assert!(is_full(&engine.record(vec![new("room", "x")]).await));
    assert_eq!(engine.flush().await.unwrap().records_flushed, 0);
    assert_is_free(&engine).await;
}

#[tokio::test]
async fn adaptive_flushing_frees_the_room_of_what_is_lost() {
    let place = TempDir::new().unwrap();
    let engine = after_a_loss(&place, |options| {
        options.flush_strategy = FlushStrategy::Adaptive {
            max_delay: 2 * SECOND,
            max_records: 500,
            max_bytes: 4 << 20,
        };
    })
    .await;
    until(|| engine.cache_stats().records == 0).await;
    assert_is_free(&engine).await;
}

#[tokio::test]
async fn a_drain_frees_the_room_of_what_is_lost() {
    let place = TempDir::new().unwrap();
    let engine = after_a_loss(&place, |_| {}).await;
    engine.drain(MINUTE).await.unwrap();
    assert_is_free(&engine).await;
}

#[tokio::test]
async fn a_clear_frees_the_room_of_what_is_lost() {
    for share in [None, Some(MAX_BYTES as u64)] {
        let place = TempDir::new().unwrap();
        let engine = after_a_loss(&place, |options| options.max_stream_share = share).await;
        assert_eq!(engine.clear().await.unwrap().records_cleared, 1);
        engine.record(vec![whole(LOST)]).await.unwrap();
        engine.clear().await.unwrap();
        assert_is_free(&engine).await;
    }
}

#[tokio::test]
async fn what_is_lost_makes_room_before_anything_is_dropped() {
    let place = TempDir::new().unwrap();
    let dropped = Discards::default();
    let engine = after_a_loss(&place, |options| {
        options.overflow_policy = OverflowPolicy::DropOldest;
        options.on_discard = dropped.handler();
    })
    .await;
    engine.record(vec![whole("room")]).await.unwrap();
    assert_eq!(engine.cache_stats().records, 1);
    assert_eq!(dropped.count(), 0);
    engine.close().await.unwrap();
}
