//! `max_stream_share`: one stream's share of the cache.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{
    Discards, Gate, Op, Reply, Rig, SECOND, ScriptedStore, Service, Step, bounded, new, until,
};
use flush_engine::{EngineError, EngineOptions, FlushEngine, LimitExceeded, OverflowPolicy};
use record_cache::{MemoryStore, RecordStore};

fn options(max_bytes: u64, share: u64) -> EngineOptions {
    let mut options = bounded(max_bytes);
    options.max_stream_share = Some(share);
    options
}

fn stream_in_the_way<T>(result: &Result<T, EngineError>) -> Option<&str> {
    match result {
        Err(EngineError::LimitExceeded(LimitExceeded::StreamFull { stream_name, .. })) => {
            Some(stream_name)
        }
        _ => None,
    }
}

async fn record(rig: &Rig, stream: &str, size: usize) -> Result<(), EngineError> {
    let data = "x".repeat(size);
    rig.engine.record(vec![new(stream, &data)]).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_for_ever_leaves_room_for_the_others() {
    let service = Service::answering("bad", |_| Reply::throttled());
    let rig = Rig::with(service, options(1600, 400));
    let mut refused = 0;
    for _ in 0..50 {
        match record(&rig, "bad", 20).await {
            Ok(()) => {}
            full => {
                assert_eq!(stream_in_the_way(&full), Some("bad"), "{full:?}");
                assert!(full.unwrap_err().to_string().contains("bad"));
                refused += 1;
            }
        }
        record(&rig, "good", 20).await.unwrap();
        rig.engine.flush().await.unwrap();
    }
    assert_eq!(refused, 50 - 400 / 20);
    assert_eq!(rig.service.accepted("good").len(), 50);
}

#[tokio::test(start_paused = true)]
async fn what_one_call_has_for_a_stream_is_one_sum() {
    let rig = Rig::with(Service::accepting(), options(1600, 100));
    let many = |stream: &str, n: usize| vec![new(stream, "0123456789"); n];
    match rig.engine.record(many("a", 11)).await {
        Err(EngineError::LimitExceeded(LimitExceeded::StreamNeverFits { needed, .. })) => {
            assert_eq!(needed, 110);
        }
        refused => panic!("{refused:?}"),
    }
    let mixed = [many("a", 10), many("b", 10)].concat();
    rig.engine.record(mixed).await.unwrap();
    // All or nothing across all streams.
    let mixed = [many("c", 1), many("b", 1)].concat();
    let refused = rig.engine.record(mixed).await;
    assert_eq!(stream_in_the_way(&refused), Some("b"));
    assert_eq!(rig.cached(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_at_the_start_counts() {
    let store = Arc::new(MemoryStore::new());
    store.append(vec![new("a", &"x".repeat(60))]).await.unwrap();
    let service = Arc::new(Service::accepting());
    let engine = FlushEngine::start(store, service, options(1600, 100)).unwrap();
    let refused = engine.record(vec![new("a", &"x".repeat(41))]).await;
    assert_eq!(stream_in_the_way(&refused), Some("a"));
    engine.flush().await.unwrap();
    let fits = engine.record(vec![new("a", &"x".repeat(100))]).await;
    fits.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_share_is_exact_under_concurrency() {
    let store = ScriptedStore::dawdling();
    let rig = Arc::new(Rig::on(store, Service::accepting(), options(16_000, 1000)));
    for _ in 0..20 {
        let recording = (0..120).map(|n| {
            let rig = Arc::clone(&rig);
            let stream = ["a", "b"][n % 2];
            tokio::spawn(async move { record(&rig, stream, 25).await.is_ok() })
        });
        // All of them at once.
        let recording: Vec<_> = recording.collect();
        let mut stored = 0;
        for recorded in recording {
            stored += usize::from(recorded.await.unwrap());
        }
        assert_eq!(stored, 2 * 1000 / 25);
        let stats = rig.engine.cache_stats();
        assert!(stats.streams.iter().all(|stream| stream.bytes == 1000));
        rig.engine.clear().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_share_stays_exact_whatever_clears_and_flushes_come_between() {
    let store = ScriptedStore::dawdling();
    let service = Service::replying(|call| match call.number % 5 {
        0 => Reply::throttled(),
        1 => call.send_all_back(),
        _ => Reply::Accept,
    });
    let mut options = options(16_000, 1000);
    options.max_retries = 0;
    let rig = Arc::new(Rig::on(store, service, options));
    let tasks = (0..8).map(|task| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            for n in 0..100 {
                match (task, n % 10) {
                    (0, 0) => drop(rig.engine.clear().await.unwrap()),
                    (1, _) => drop(rig.engine.flush().await.unwrap()),
                    _ => drop(record(&rig, "a", 25).await),
                }
                let stats = rig.engine.cache_stats();
                assert!(stats.bytes <= 1000, "{stats:?}");
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        task.await.unwrap();
    }
    rig.engine.clear().await.unwrap();
    // The share is exact to the byte.
    record(&rig, "a", 1000).await.unwrap();
    assert_eq!(stream_in_the_way(&record(&rig, "a", 1).await), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn an_append_that_overlaps_a_clear_keeps_its_share() {
    let gate = Gate::closed();
    let rig = Rig::with(Service::accepting(), options(1600, 100));
    rig.store.now_waits_at(Op::Clear, &gate);
    record(&rig, "a", 50).await.unwrap();
    let clearing = rig.clearing();
    until(|| rig.store.call_count() == 2).await;
    let recording = rig.recording(vec![new("a", &"x".repeat(30))]);
    tokio::time::sleep(SECOND).await;
    gate.open();
    clearing.await.unwrap().unwrap();
    recording.await.unwrap().unwrap();
    let left = 100 - usize::try_from(rig.engine.cache_stats().bytes).unwrap();
    record(&rig, "a", left).await.unwrap();
    assert_eq!(stream_in_the_way(&record(&rig, "a", 1).await), Some("a"));
}

/// Drops the oldest records where there is no room.
fn dropping(service: Service, max_bytes: u64, share: u64) -> (Rig, Discards) {
    let dropped = Discards::default();
    let mut options = options(max_bytes, share);
    options.overflow_policy = OverflowPolicy::DropOldest;
    options.on_discard = dropped.handler();
    (Rig::with(service, options), dropped)
}

#[tokio::test(start_paused = true)]
async fn where_the_oldest_make_room_a_stream_makes_its_own() {
    let (rig, dropped) = dropping(Service::accepting(), 1600, 100);
    record(&rig, "old", 50).await.unwrap();
    for _ in 0..10 {
        record(&rig, "a", 30).await.unwrap();
    }
    assert_eq!(dropped.streams(), ["a"; 7]);
    let stats = rig.engine.cache_stats();
    assert_eq!((stats.records, stats.bytes), (4, 140));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dropped_for_a_record_that_is_refused_all_the_same() {
    let (gate, service) = Service::gated();
    let (rig, dropped) = dropping(service, 160, 80);
    record(&rig, "busy", 70).await.unwrap();
    let flush = rig.flushing();
    rig.service.called(1).await;
    for _ in 0..4 {
        record(&rig, "a", 20).await.unwrap();
    }
    // Dropping records could make room in the stream's share, but not in the cache.
    let both = || vec![new("a", &"x".repeat(20)), new("b", &"x".repeat(79))];
    let refused = rig.engine.record(both()).await;
    assert_eq!(stream_in_the_way(&refused), Some("a"), "{refused:?}");
    assert!(dropped.streams().is_empty());
    assert_eq!(rig.cached(), 5);
    gate.open();
    flush.await.unwrap().unwrap();
    rig.engine.record(both()).await.unwrap();
    assert_eq!(dropped.streams(), ["a"]);
    assert_eq!(rig.engine.cache_stats().bytes, 3 * 20 + 20 + 79);
}

#[tokio::test(start_paused = true)]
async fn damage_in_a_full_share_makes_room_in_it_and_others_give_what_is_still_missing() {
    let (rig, dropped) = dropping(Service::accepting(), 100, 60);
    for (stream, bytes) in [("a", 30), ("b", 50), ("c", 20)] {
        rig.record(stream, &stream.repeat(bytes)).await;
    }
    let damage = AtomicUsize::new(1);
    rig.store.now_does(move |op, _| {
        let is_one = op == Op::Oldest && damage.swap(0, Ordering::SeqCst) == 1;
        if is_one { Step::Damage } else { Step::Obey }
    });
    rig.record("a", &"x".repeat(60)).await;
    assert_eq!(dropped.texts(), ["b".repeat(50)]);
    assert_eq!(rig.engine.cache_stats().bytes, 80);
}
