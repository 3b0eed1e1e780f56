//! A full cache that drops its oldest records.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::*;
use flush_engine::{
    DiscardHandler, DiscardReason, EngineError, EngineOptions, FlushEngine, OverflowPolicy,
};
use record_cache::{MemoryStore, NewRecord, RecordStore};

/// Options with a cache of `max_bytes`, and the records it discards.
fn dropping(max_bytes: u64) -> (EngineOptions, Discards) {
    let dropped = Discards::default();
    let mut options = bounded(max_bytes);
    options.overflow_policy = OverflowPolicy::DropOldest;
    options.on_discard = dropped.handler();
    (options, dropped)
}

fn rig(max_bytes: u64) -> (Rig, Discards) {
    let (options, dropped) = dropping(max_bytes);
    (Rig::with(Service::accepting(), options), dropped)
}

/// A record recorded `second` seconds after 1970.
fn recorded_at(second: u64, stream: &str, data: &str) -> NewRecord {
    let mut record = new(stream, data);
    record.recorded_at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    record
}

/// 20 bytes, so 16 of them fill 320 bytes.
fn sized(n: u64) -> String {
    format!("{n:020}")
}

#[tokio::test(start_paused = true)]
async fn the_oldest_make_room_and_not_more_of_them_than_it_takes() {
    let (rig, dropped) = rig(100);
    for n in 0..5 {
        rig.record("a", &sized(n)).await;
    }
    assert!(dropped.texts().is_empty());
    rig.record("a", &"x".repeat(21)).await;
    assert_eq!(dropped.texts(), [sized(0), sized(1)]);
    rig.record("a", &"y".repeat(19)).await;
    assert_eq!(dropped.texts(), [sized(0), sized(1)]);
    assert_eq!(rig.engine.cache_stats().bytes, 100);
    rig.record("b", "z").await;
    assert_eq!(dropped.texts(), [sized(0), sized(1), sized(2)]);
    let kept = [sized(3), sized(4), "x".repeat(21), "y".repeat(19)];
    assert_eq!(rig.cached_of("a").await, kept);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_handed_over_whole_and_still_cached_then() {
    let store = Arc::new(ScriptedStore::obedient());
    let (mut options, _) = dropping(100);
    let handed = Arc::new(Mutex::new(Vec::new()));
    options.on_discard = Some(DiscardHandler::new({
        let (store, handed) = (Arc::clone(&store), Arc::clone(&handed));
        move |record| {
            let held = store.stats().records();
            handed.lock().unwrap().push((record, held));
        }
    }));
    let service = Arc::new(Service::replying(Call::send_all_back));
    let rig = Rig::sharing(&store, &service, options);
    let record = NewRecord::new(stream("a"), Some("key".to_owned()), "data");
    rig.record_all(vec![record]).await;
    rig.flush().await;
    rig.record("b", &"x".repeat(100)).await;
    let handed = handed.lock().unwrap();
    let [(record, held)] = &handed[..] else {
        panic!("handed over once: {handed:?}");
    };
    assert_eq!(*held, 1);
    assert_eq!(record.stream_name, "a");
    assert_eq!(record.partition_key.as_deref(), Some("key"));
    assert_eq!(&record.data[..], b"data");
    assert_eq!((record.attempts, &record.code), (1, &None));
    assert_eq!(record.reason, DiscardReason::Overflow);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_all_streams_go_first() {
    let (rig, dropped) = rig(16 * 6);
    for (second, stream) in [(5, "a"), (9, "a"), (2, "b"), (6, "b"), (7, "b"), (3, "c")] {
        let record = recorded_at(second, stream, &second.to_string());
        rig.record_all(vec![record]).await;
    }
    for (second, oldest) in (20..).zip(["2", "3", "5", "6", "7", "9"]) {
        let record = recorded_at(second, "d", "new");
        rig.record_all(vec![record]).await;
        assert_eq!(dropped.texts().last().unwrap(), oldest);
        assert_eq!(rig.cached(), 6);
    }
    // From several streams in one call.
    dropped.forget();
    let (rig, dropped) = self::rig(16 * 6);
    for (second, stream) in [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a"), (6, "b")] {
        let record = recorded_at(second, stream, &second.to_string());
        rig.record_all(vec![record]).await;
    }
    rig.record_all(vec![new("c", ""); 4]).await;
    let mut gone = dropped.texts();
    gone.sort();
    assert_eq!(gone, ["1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn what_stayed_after_all_is_the_oldest_again() {
    // Kept because they could not be deleted.
    let (rig, dropped) = rig(20 * 4);
    for (second, stream) in [(1, "a"), (3, "a"), (2, "b"), (4, "b")] {
        let record = recorded_at(second, stream, &sized(second));
        rig.record_all(vec![record]).await;
    }
    let two = || vec![new("c", &sized(0)); 2];
    rig.store.now_fails_at(Op::Settle);
    rig.engine.record(two()).await.unwrap_err();
    rig.store.now_obeys();
    rig.record("c", &sized(0)).await;
    assert_eq!(dropped.texts(), [sized(1), sized(1)]);

    // Kept because they were in flight.
    let (gate, service) = Service::replying_behind(|_| Reply::throttled());
    let (options, dropped) = dropping(20 * 6);
    let rig = Rig::with(service.limited(1, 1000), options);
    for (second, stream) in [(1, "b"), (2, "a"), (3, "a"), (6, "a"), (4, "b"), (5, "b")] {
        let record = recorded_at(second, stream, &sized(second));
        rig.record_all(vec![record]).await;
    }
    let pass = rig.flushing();
    rig.service.called(2).await;
    rig.record_all(two()).await;
    assert_eq!(dropped.texts(), [sized(3), sized(4)]);
    gate.open();
    pass.await.unwrap().unwrap();
    rig.record("c", &sized(0)).await;
    rig.record("c", &sized(0)).await;
    assert_eq!(dropped.texts()[2..], [sized(1), sized(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_head_was_delivered_is_looked_at_again() {
    let service = Service::replying(|call| match call.stream.as_str() {
        "a" => Reply::Accept,
        _ => Reply::throttled(),
    });
    let (options, dropped) = dropping(16 * 4);
    let rig = Rig::with(service.limited(1, 1000), options);
    for (second, stream) in [(1, "a"), (2, "a"), (8, "a"), (3, "b"), (9, "b")] {
        let record = recorded_at(second, stream, &second.to_string());
        rig.record_all(vec![record]).await;
    }
    assert_eq!(dropped.texts(), ["1"]);
    rig.flush().await;
    rig.record_each("c", ["", ""]).await;
    assert_eq!(dropped.texts(), ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn what_passes_delivered_or_clears_deleted_is_not_handed_over() {
    let (rig, dropped) = rig(16 * 4);
    rig.record_each("a", ["0", "1", "2", "3"]).await;
    rig.record("a", "4").await;
    rig.flush().await;
    rig.record_each("a", ["5", "6", "7", "8", "9"]).await;
    rig.clear().await;
    rig.record_each("a", ["10", "11", "12", "13", "14"]).await;
    assert_eq!(dropped.texts(), ["0", "5", "10"]);
    assert_eq!(rig.service.accepted("a"), ["1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dropped_for_what_can_never_fit() {
    let (rig, dropped) = rig(100);
    rig.record("a", &"x".repeat(100)).await;
    for records in [
        vec![new("a", &"x".repeat(101))],
        vec![new("a", &"x".repeat(50)), new("b", &"x".repeat(51))],
        vec![new("a", ""); 7],
    ] {
        let refused = rig.engine.record(records).await;
        assert!(never_fits(&refused), "{refused:?}");
    }
    assert!(dropped.texts().is_empty());
    assert_eq!(rig.cached(), 1);
}

#[tokio::test(start_paused = true)]
async fn room_is_made_for_all_records_of_a_call_or_for_none() {
    let (rig, dropped) = rig(100);
    rig.record_each("a", (0..5).map(sized)).await;
    let both = vec![new("b", &sized(5)), new("c", &sized(6))];
    rig.record_all(both).await;
    assert_eq!(dropped.texts(), [sized(0), sized(1)]);
    assert_eq!(rig.engine.cache_stats().bytes, 100);
    assert_eq!(rig.engine.cache_stats().streams.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_records_is_bounded_too() {
    let (rig, dropped) = rig(16 * 10 + 15);
    rig.record_each("a", numbered(10)).await;
    rig.record_each("a", numbered(3)).await;
    assert_eq!(dropped.texts(), numbered(3));
    rig.record_all(vec![new("b", ""); 10]).await;
    assert_eq!((rig.cached(), dropped.count()), (10, 13));
}

#[tokio::test(start_paused = true)]
async fn records_of_a_request_under_way_are_not_dropped() {
    let (gate, service) = Service::replying_behind(|call| {
        call.send_back("InternalFailure", |data| data.starts_with('0'))
    });
    let (options, dropped) = dropping(16 * 6);
    let rig = Rig::with(service.limited(3, 1000), options);
    rig.record_each("a", ["0", "1", "2", "3", "4"]).await;
    let pass = rig.flushing();
    rig.service.called(1).await;
    rig.record("b", "5").await;
    // Three of the six records are in flight.
    rig.record("b", "6").await;
    assert_eq!(dropped.texts(), ["3"]);
    let four = rig.engine.record(vec![new("c", ""); 4]).await;
    assert!(is_full(&four), "{four:?}");
    assert_eq!((dropped.texts(), rig.cached()), (vec!["3".to_owned()], 6));
    rig.record_all(vec![new("c", ""); 3]).await;
    let mut gone = dropped.texts();
    gone.sort();
    assert_eq!(gone, ["3", "4", "5", "6"]);

    gate.open();
    let done = pass.await.unwrap().unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (2, 1));
    assert_eq!(rig.service.accepted("a"), ["1", "2"]);
    // The record that was sent back is the oldest again.
    rig.record_all(vec![new("d", ""); 3]).await;
    assert_eq!(dropped.texts().last().unwrap(), "0");
    assert_eq!(rig.cached(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_under_way_as_a_whole_is_full() {
    let (gate, service) = Service::gated();
    let (options, dropped) = dropping(100);
    let rig = Rig::with(service, options);
    rig.record_each("a", (0..5).map(sized)).await;
    let pass = rig.flushing();
    rig.service.called(1).await;
    let refused = rig.engine.record(vec![new("a", "x")]).await;
    assert!(is_full(&refused), "{refused:?}");
    gate.open();
    pass.await.unwrap().unwrap();
    assert!(dropped.texts().is_empty());
    rig.record("a", "x").await;
    assert_eq!(rig.service.accepted("a").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_those_that_are_being_stored_and_drops_them() {
    let gate = Gate::closed();
    let (rig, dropped) = rig(100);
    rig.store.now_waits_at(Op::Append, &gate);
    let first = rig.recording(vec![new("a", &"x".repeat(100))]);
    until(|| rig.store.call_count() == 1).await;
    let second = rig.recording(vec![new("a", &"y".repeat(100))]);
    tokio::time::sleep(SECOND).await;
    assert!(!second.is_finished());
    gate.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(dropped.texts(), ["x".repeat(100)]);
    assert_eq!(rig.cached_of("a").await, ["y".repeat(100)]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_polled_holds_nobody_up() {
    let (options, dropped) = dropping(100);
    let rig = Rig::on(ScriptedStore::dawdling(), Service::accepting(), options);
    let mut kept = Vec::new();
    for n in 0..10 {
        let engine = rig.engine.clone();
        let mut one = Box::pin(async move { engine.record(vec![new("a", &sized(n))]).await });
        for _ in 0..n % 4 {
            let _ = poll_once(one.as_mut()).await;
        }
        kept.push(one);
        rig.record("b", &"x".repeat(100)).await;
    }
    assert_eq!(rig.engine.cache_stats().bytes, 100);
    assert!(dropped.count() >= 9);
    drop(kept);
    rig.engine.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_dropped_at_any_point_is_stored_whole_or_not_and_no_room_is_lost() {
    for polls in 0..30 {
        let (options, dropped) = dropping(100);
        let rig = Rig::on(ScriptedStore::dawdling(), Service::accepting(), options);
        rig.record_each("a", (0..5).map(sized)).await;
        let both = vec![new("b", &sized(5)), new("b", &sized(6))];
        let _ = cancel_after(polls, rig.engine.record(both)).await;
        tokio::time::sleep(SECOND).await;
        let (stored, gone) = (rig.cached_of("b").await.len(), dropped.count());
        assert!((stored, gone) == (0, 0) || (stored, gone) == (2, 2));
        rig.clear().await;
        rig.record("room", &"x".repeat(100)).await;
        assert_eq!(dropped.count(), gone);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stored_and_no_room_is_lost_whichever_call_of_the_store_fails() {
    for failing in [Op::Append, Op::Oldest, Op::Settle] {
        let (rig, dropped) = rig(100);
        rig.record_each("a", (0..5).map(sized)).await;
        rig.store.now_fails_at(failing);
        let refused = rig.engine.record(vec![new("b", &sized(5))]).await;
        assert!(is_storage(&refused), "{failing:?}: {refused:?}");
        assert!(rig.cached_of("b").await.is_empty());
        rig.store.now_obeys();
        rig.record_each("b", (5..10).map(sized)).await;
        let expected: Vec<_> = (5..10).map(sized).collect();
        assert_eq!(rig.cached_of("b").await, expected);
        // Handed over before deletion, so possibly twice.
        let distinct: HashSet<_> = dropped.texts().into_iter().collect();
        assert_eq!(distinct, (0..5).map(sized).collect());
        rig.clear().await;
        rig.record("room", &"x".repeat(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_records_make_room_without_being_handed_over() {
    let (rig, dropped) = rig(100);
    rig.record_each("a", (0..5).map(sized)).await;
    let damage = AtomicUsize::new(1);
    rig.store.now_does(move |op, _| {
        let is_one = op == Op::Oldest && damage.swap(0, Ordering::SeqCst) == 1;
        if is_one { Step::Damage } else { Step::Obey }
    });
    rig.record("a", &sized(5)).await;
    assert!(dropped.texts().is_empty());
    rig.record("a", &sized(6)).await;
    assert_eq!(dropped.texts(), [sized(1)]);
    assert_eq!(rig.engine.cache_stats().bytes, 100);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_is_contained() {
    let (mut options, _) = dropping(100);
    options.on_discard = Some(DiscardHandler::new(|_| panic!("on purpose")));
    let rig = Rig::with(Service::accepting(), options);
    rig.record_each("a", (0..8).map(sized)).await;
    assert_eq!(rig.cached(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_clear_counts_what_was_not_dropped_and_only_that() {
    let gate = Gate::closed();
    let (rig, dropped) = rig(100);
    rig.record_each("a", (0..5).map(sized)).await;
    rig.store.now_waits_at(Op::Settle, &gate);
    let calls = rig.store.call_count();
    let record = rig.recording(vec![new("b", &sized(5))]);
    // Two reads and the settlement.
    until(|| rig.store.call_count() == calls + 3).await;
    let clear = rig.clearing();
    tokio::time::sleep(SECOND).await;
    gate.open();
    record.await.unwrap().unwrap();
    let cleared = clear.await.unwrap().unwrap().records_cleared;
    assert_eq!(dropped.count(), 1);
    assert_eq!(cleared + rig.cached(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_was_lowered_is_kept_from_the_next_record_on() {
    let store = Arc::new(MemoryStore::new());
    for n in 0..3000 {
        store.append(vec![new("a", &sized(n))]).await.unwrap();
    }
    let (options, dropped) = dropping(16 * 50);
    let service = Arc::new(Service::accepting());
    let engine = FlushEngine::start(store, service, options).unwrap();
    engine.record(vec![new("a", "x")]).await.unwrap();
    let stats = engine.cache_stats();
    assert_eq!((stats.records, stats.bytes), (39 + 1, 39 * 20 + 1));
    assert_eq!(dropped.texts(), (0..2961).map(sized).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_those_who_wait_for_room() {
    let gate = Gate::closed();
    let (rig, _) = rig(100);
    rig.store.now_waits_at(Op::Append, &gate);
    let records = [(); 3].map(|()| rig.recording(vec![new("a", &"x".repeat(100))]));
    until(|| rig.store.call_count() == 1).await;
    let close = rig.closing();
    until(|| rig.engine.is_closed()).await;
    gate.open();
    close.await.unwrap().unwrap();
    let mut stored = 0;
    for record in records {
        match record.await.unwrap() {
            Ok(_) => stored += 1,
            Err(error) => assert!(matches!(error, EngineError::Closed), "{error:?}"),
        }
    }
    assert_eq!(stored, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_the_bound_holds_nobody_is_refused_and_each_record_has_one_fate() {
    const MAX: u64 = 4000;
    let (options, dropped) = dropping(MAX);
    let service =
        Service::replying(|call| call.send_back("InternalFailure", |_| call.number % 3 == 0));
    let store = ScriptedStore::dawdling();
    // One request holds less than a tenth of the cache.
    let rig = Rig::on(store, service.limited(7, 300), options);
    let most = Arc::new(AtomicUsize::new(0));
    let recording = (0..8).map(|task| {
        let (engine, most) = (rig.engine.clone(), Arc::clone(&most));
        tokio::spawn(async move {
            for n in 0..150 {
                let stream = format!("stream-{}", (task + n) % 3);
                let padding = "x".repeat(n % 50);
                let record = new(&stream, &format!("{task}-{n}-{padding}"));
                engine.record(vec![record]).await.unwrap();
                let held = usize::try_from(engine.cache_stats().bytes).unwrap();
                most.fetch_max(held, Ordering::Relaxed);
            }
        })
    });
    let recording: Vec<_> = recording.collect();
    let flushing = rig.beside(|engine| async move {
        loop {
            engine.flush().await.unwrap();
        }
    });
    for task in recording {
        task.await.unwrap();
    }
    flushing.abort();
    let _ = flushing.await;
    rig.drain(SECOND).await;
    while rig.cached() > 0 {
        rig.flush().await;
    }
    assert!(most.load(Ordering::Relaxed) as u64 <= MAX);
    let streams = (0..3).map(|n| format!("stream-{n}"));
    let delivered: Vec<_> = streams
        .flat_map(|name| rig.service.accepted(&name))
        .collect();
    let overflow = DiscardReason::Overflow;
    assert!(dropped.all().iter().any(|record| record.reason == overflow));
    assert!(!delivered.is_empty());
    let fates: Vec<_> = dropped.texts().into_iter().chain(delivered).collect();
    assert_eq!(fates.len(), 8 * 150);
    let distinct: HashSet<_> = fates.into_iter().collect();
    assert_eq!(distinct.len(), 8 * 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_fight_for_a_little_room_all_get_it() {
    for round in 0..20 {
        let (options, dropped) = dropping(100);
        let store = ScriptedStore::dawdling_if(round % 2 == 0);
        let rig = Rig::on(store, Service::accepting(), options);
        let racing = (0..64).map(|n| {
            let data = "x".repeat(60 + n % 41);
            rig.recording(vec![new(&format!("stream-{}", n % 3), &data)])
        });
        for task in racing.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
        assert_eq!((rig.cached(), dropped.count()), (1, 63));
    }
}
