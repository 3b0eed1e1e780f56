//! The limit on the cache.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use flush_engine::{EngineError, FlushEngine, LimitExceeded, OverflowPolicy};
use record_cache::{MemoryStore, NewRecord, RecordStore};

fn rig(max_bytes: u64) -> Rig {
    Rig::with(Service::accepting(), bounded(max_bytes))
}

fn dawdling(max_bytes: u64) -> Rig {
    let store = ScriptedStore::dawdling();
    Rig::on(store, Service::accepting(), bounded(max_bytes))
}

fn sized(bytes: usize) -> NewRecord {
    new("a", &"x".repeat(bytes))
}

#[tokio::test(start_paused = true)]
async fn the_cache_takes_records_to_the_last_byte_and_not_beyond() {
    let rig = rig(100);
    let mut keyed = sized(59);
    keyed.key = Some("k".to_owned());
    let recorded = rig.engine.record(vec![keyed]).await.unwrap();
    assert_eq!(recorded.records_stored, 1);
    let refused = rig.engine.record(vec![sized(41)]).await;
    let full = matches!(
        refused,
        Err(EngineError::LimitExceeded(LimitExceeded::Full {
            needed: 41,
            held: 60,
            max_bytes: 100,
            ..
        }))
    );
    assert!(full, "41 bytes do not fit beside 60: {refused:?}");
    rig.record_all(vec![sized(40)]).await;
    assert_eq!(rig.engine.cache_stats().bytes, 100);
    assert!(is_full(&rig.engine.record(vec![sized(1)]).await));
    assert_eq!(rig.cached(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_fit_is_told_so() {
    let rig = rig(100);
    rig.record_all(vec![sized(50)]).await;
    let all = [
        vec![sized(101)],
        vec![sized(50), sized(51)],
        vec![sized(0); 7],
    ];
    for records in all {
        let refused = rig.engine.record(records).await;
        assert!(never_fits(&refused), "{refused:?}");
    }
    assert_eq!(rig.cached(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sixteenth_as_many_records_as_bytes_are_held() {
    let rig = rig(16 * 10 + 15);
    for _ in 0..10 {
        rig.record_all(vec![sized(0)]).await;
    }
    assert!(is_full(&rig.engine.record(vec![sized(0)]).await));
    assert_eq!(rig.cached(), 10);
    rig.flush().await;
    rig.record_all(vec![sized(0); 10]).await;
}

#[tokio::test(start_paused = true)]
async fn all_records_of_a_call_are_stored_or_none() {
    let rig = rig(100);
    rig.record_all(vec![sized(60)]).await;
    let records = vec![sized(20), sized(20), sized(1)];
    assert!(is_full(&rig.engine.record(records).await));
    assert_eq!(rig.cached(), 1);
    rig.record_all(vec![sized(20), sized(20)]).await;
    assert_eq!(rig.cached(), 3);
}

#[tokio::test(start_paused = true)]
async fn recording_nothing_asks_nothing_of_the_store() {
    let rig = rig(100);
    rig.record_all(Vec::new()).await;
    assert_eq!(rig.store.call_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_tasks_exactly_as_many_get_in_as_there_is_room_for() {
    for round in 0..40 {
        let fits = 1 + round % 63;
        let store = ScriptedStore::dawdling_if(round % 2 == 0);
        let rig = Rig::on(store, Service::accepting(), bounded(fits * 100 + 99));
        let racing = (0..64)
            .map(|n| rig.recording(vec![new(&format!("stream-{}", n % 3), &"x".repeat(100))]));
        let mut stored = 0;
        for task in racing.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(_) => stored += 1,
                refused => assert!(is_full(&refused), "{refused:?}"),
            }
        }
        assert_eq!(stored, fits);
        assert_eq!(rig.engine.cache_stats().records as u64, fits);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bound_holds_while_records_come_and_go() {
    let max = 1000;
    let service =
        Service::replying(|call| call.send_back("InternalFailure", |_| call.number % 3 == 0));
    let mut options = bounded(max);
    options.max_retries = 1;
    let rig = Rig::on(ScriptedStore::dawdling(), service.limited(3, 1000), options);
    let done = Arc::new(AtomicBool::new(false));
    let stored = Arc::new(AtomicUsize::new(0));
    let recording = (0..8).map(|n| {
        let (engine, done, stored) = (rig.engine.clone(), Arc::clone(&done), Arc::clone(&stored));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let record = new("a", &"x".repeat(90 + n));
                if engine.record(vec![record]).await.is_ok() {
                    stored.fetch_add(1, Ordering::Relaxed);
                }
                assert!(engine.cache_stats().bytes <= max);
                tokio::task::yield_now().await;
            }
        })
    });
    let recording: Vec<_> = recording.collect();
    let mut gone = 0;
    while gone < 2000 {
        let pass = rig.flush().await;
        gone += pass.records_flushed + pass.records_discarded;
        gone += rig.clear().await;
    }
    done.store(true, Ordering::Relaxed);
    for task in recording {
        task.await.unwrap();
    }
    gone += rig.clear().await;
    assert_eq!(gone, stored.load(Ordering::Relaxed));
    rig.assert_all_room_is_free(max).await;
}

#[tokio::test(start_paused = true)]
async fn room_is_given_back_by_delivery_discard_and_clear() {
    let mut options = bounded(400);
    options.max_retries = 0;
    let rig = Rig::with(
        Service::replying(|call| call.send_back("InternalFailure", |data| data.starts_with('y'))),
        options,
    );
    for _ in 0..3 {
        rig.record("a", &"x".repeat(200)).await;
        rig.record("a", &"y".repeat(200)).await;
        let done = rig.flush().await;
        assert_eq!((done.records_flushed, done.records_discarded), (1, 1));
        rig.assert_all_room_is_free(400).await;
        rig.record_each("b", numbered(25)).await;
        assert_eq!(rig.clear().await, 25);
        rig.assert_all_room_is_free(400).await;
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_stay_keep_their_room() {
    let rig = Rig::with(
        Service::replying(|call| match call.number {
            0 => call.send_all_back(),
            1 => Reply::throttled(),
            _ => Reply::no_answer(),
        }),
        bounded(100),
    );
    rig.record_all(vec![sized(100)]).await;
    for _ in 0..3 {
        let _ = rig.engine.flush().await;
        assert!(is_full(&rig.engine.record(vec![sized(1)]).await));
    }
}

#[tokio::test(start_paused = true)]
async fn room_is_given_back_when_the_store_refuses() {
    let rig = rig(160);
    for failing in [Op::Append, Op::Clear, Op::Settle] {
        rig.store.now_fails_at(failing);
        let recorded = rig.engine.record(vec![sized(160)]).await;
        assert_eq!(recorded.is_err(), failing == Op::Append);
        assert_eq!(rig.engine.flush().await.is_err(), failing == Op::Settle);
        assert_eq!(rig.engine.clear().await.is_err(), failing == Op::Clear);
        rig.store.now_obeys();
        rig.clear().await;
        rig.assert_all_room_is_free(160).await;
    }
}

#[tokio::test(start_paused = true)]
async fn room_is_given_back_when_records_are_damaged() {
    let rig = rig(320);
    rig.record("a", &"x".repeat(200)).await;
    rig.record("a", &"y".repeat(120)).await;
    rig.store.now_does_at(Op::Oldest, || Step::Damage);
    let done = rig.flush().await;
    assert_eq!(done.records_flushed, 1);
    assert_eq!(rig.service.accepted("a"), ["y".repeat(120)]);
    rig.store.now_obeys();
    rig.assert_all_room_is_free(320).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_store_held_before_counts() {
    let store = MemoryStore::new();
    store.append(vec![sized(60), sized(30)]).await.unwrap();
    let service = Arc::new(Service::accepting());
    let engine = FlushEngine::start(Arc::new(store), service, bounded(100)).unwrap();
    assert!(is_full(&engine.record(vec![sized(11)]).await));
    engine.record(vec![sized(10)]).await.unwrap();
    engine.flush().await.unwrap();
    engine.record(vec![sized(100)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_may_hold_more_than_its_new_owner_allows() {
    let store = MemoryStore::new();
    store.append(vec![sized(60); 3]).await.unwrap();
    let service = Arc::new(Service::accepting().limited(1, 1000));
    let engine = FlushEngine::start(Arc::new(store), service, bounded(100)).unwrap();
    for _ in 0..2 {
        assert!(is_full(&engine.record(vec![sized(50)]).await));
        engine.flush().await.unwrap();
    }
    engine.record(vec![sized(40)]).await.unwrap();
    assert!(is_full(&engine.record(vec![sized(1)]).await));
}

#[tokio::test(start_paused = true)]
async fn room_is_taken_before_the_store_is_asked() {
    let gate = Gate::closed();
    let rig = rig(160);
    rig.store.now_waits_at(Op::Append, &gate);
    let first = rig.recording(vec![sized(100)]);
    until(|| rig.store.call_count() == 1).await;
    assert!(is_full(&rig.engine.record(vec![sized(61)]).await));
    gate.open();
    first.await.unwrap().unwrap();
    rig.record_all(vec![sized(60)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_cancelled_is_stored_whole_or_not_at_all() {
    let mut seen = HashSet::new();
    for failing in [false, true] {
        for polls in 0..12 {
            let rig = dawdling(320);
            if failing {
                rig.store.now_does(|_, _| Step::Fail);
            }
            let _ = cancel_after(polls, rig.engine.record(vec![sized(100), sized(200)])).await;
            tokio::time::sleep(SECOND).await;
            let cached = rig.cached();
            assert!(cached == 0 || cached == 2, "{cached} after {polls}");
            seen.insert((failing, cached));
            rig.store.now_obeys();
            let delivered = rig.drain(MINUTE).await;
            assert_eq!(delivered.records_flushed, cached);
            rig.assert_all_room_is_free(320).await;
        }
    }
    // Nothing and everything; with a failing store nothing.
    assert_eq!(seen.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_clear_that_is_cancelled_clears_everything_or_nothing() {
    let mut seen = HashSet::new();
    for polls in 0..12 {
        let rig = dawdling(320);
        rig.record_each("a", numbered(3)).await;
        rig.record_each("b", numbered(2)).await;
        let _ = cancel_after(polls, rig.engine.clear()).await;
        tokio::time::sleep(SECOND).await;
        let cached = rig.cached();
        assert!(cached == 0 || cached == 5, "{cached} after {polls}");
        seen.insert(cached);
        rig.drain(MINUTE).await;
        assert_eq!(rig.service.accepted_count(), cached);
        rig.assert_all_room_is_free(320).await;
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_polled_holds_nobody_up() {
    let policies = [
        OverflowPolicy::Reject,
        OverflowPolicy::DropOldest,
        OverflowPolicy::Wait { at_most: MINUTE },
    ];
    let cases = policies.map(|policy| [(policy, None), (policy, Some(320))]);
    for (policy, share) in cases.into_iter().flatten() {
        let mut options = bounded(320);
        options.overflow_policy = policy;
        options.max_stream_share = share;
        let rig = Rig::on(ScriptedStore::dawdling(), Service::accepting(), options);
        let mut forgotten = Box::pin(rig.engine.record(vec![sized(100)]));
        assert!(poll_once(forgotten.as_mut()).await.is_pending());
        let mut clear = Box::pin(rig.engine.clear());
        assert!(poll_once(clear.as_mut()).await.is_pending());
        tokio::task::yield_now().await;
        let others = async {
            rig.clear().await;
            rig.record("b", "x").await;
            rig.drain(MINUTE).await;
            rig.engine.close().await.unwrap();
        };
        let ended = tokio::time::timeout(SECOND, others).await;
        ended.unwrap_or_else(|_| panic!("{policy:?}, {share:?}: they wait forever"));
    }
}

#[tokio::test(start_paused = true)]
async fn clearing_during_a_drain_ends_it() {
    let mut options = bounded(1600);
    options.max_concurrent_streams = count(1);
    let service = Service::replying(|_| Reply::Accept.after(Duration::from_millis(10)));
    let rig = Rig::with(service.limited(1, 1000), options);
    rig.record_each("a", numbered(100)).await;
    let drain = rig.draining(MINUTE);
    rig.service.called(5).await;
    let cleared = rig.clear().await;
    let flushed = drain.await.unwrap().unwrap().records_flushed;
    assert_eq!((flushed, cleared), (4, 96));
    rig.assert_all_room_is_free(1600).await;
}
