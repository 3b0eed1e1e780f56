//! The retry budget, and discarded records.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use flush_engine::{DiscardHandler, DiscardReason, EngineOptions};
use record_cache::{NewRecord, RecordStore};

/// Options with this budget, and the records passed to on_discard.
fn budget(max_retries: u32) -> (EngineOptions, Discards) {
    let discarded = Discards::default();
    let mut options = options();
    options.max_retries = max_retries;
    options.on_discard = discarded.handler();
    (options, discarded)
}

#[tokio::test(start_paused = true)]
async fn a_record_is_charged_one_attempt_more_than_it_has_retries() {
    for max_retries in [0, 1, 2, 5] {
        let scripts: [fn(&Call) -> Reply; 3] = [
            Call::send_all_back,
            |_| Reply::Refuse(Some("ResourceNotFoundException"), 400),
            |_| Reply::Refuse(Some("ValidationException"), 400),
        ];
        for script in scripts {
            let (options, discarded) = budget(max_retries);
            let rig = Rig::with(Service::replying(script), options);
            rig.record("a", "x").await;
            for attempt in 1..=max_retries {
                let done = rig.flush().await;
                assert_eq!((done.records_retried, done.records_discarded), (1, 0));
                assert_eq!(rig.attempts("a").await, [attempt]);
                assert_eq!(discarded.count(), 0);
            }
            let done = rig.flush().await;
            assert_eq!((done.records_retried, done.records_discarded), (0, 1));
            assert_eq!(discarded.all()[0].attempts, max_retries + 1);
            assert_eq!(rig.service.call_count(), max_retries as usize + 1);
            assert_eq!(rig.cached(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_handed_over_whole_with_its_last_code() {
    let (options, discarded) = budget(1);
    let rig = Rig::with(
        Service::replying(|call| call.send_back(["First", "Last"][call.number], |_| true)),
        options,
    );
    let record = NewRecord::new(stream("a"), Some("key".to_owned()), "data");
    rig.record_all(vec![record]).await;
    rig.flush().await;
    rig.flush().await;
    let discarded = discarded.all();
    let [record] = &discarded[..] else {
        panic!("handed over once: {discarded:?}");
    };
    assert_eq!(record.stream_name, "a");
    assert_eq!(record.partition_key.as_deref(), Some("key"));
    assert_eq!(&record.data[..], b"data");
    assert_eq!(record.attempts, 2);
    assert_eq!(record.reason, DiscardReason::RetriesExhausted);
    assert_eq!(record.code.as_deref(), Some("Last"));
    let shown = format!("{record:?}");
    assert!(!shown.contains("key") && !shown.contains("data"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn the_code_of_a_refused_request_is_handed_over_too_if_it_had_one() {
    for (code, status) in [(Some("ResourceNotFoundException"), 400), (None, 413)] {
        let (options, discarded) = budget(0);
        let service = Service::replying(move |_| Reply::Refuse(code, status));
        let rig = Rig::with(service, options);
        rig.record("a", "x").await;
        rig.flush().await;
        assert_eq!(discarded.all()[0].code.as_deref(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_handed_over_before_it_is_deleted() {
    let store = Arc::new(ScriptedStore::obedient());
    let held = Arc::new(Mutex::new(Vec::new()));
    let (mut options, _) = budget(0);
    options.on_discard = Some(DiscardHandler::new({
        let (store, held) = (Arc::clone(&store), Arc::clone(&held));
        move |_| held.lock().unwrap().push(store.stats().records())
    }));
    let service = Arc::new(Service::replying(Call::send_all_back));
    let rig = Rig::sharing(&store, &service, options);
    rig.record_each("a", numbered(2)).await;
    rig.flush().await;
    assert_eq!(*held.lock().unwrap(), [2, 2]);
    assert_eq!(rig.cached(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_deletion_failed_is_handed_over_again() {
    let (options, discarded) = budget(0);
    let rig = Rig::with(Service::replying(Call::send_all_back), options);
    rig.record("a", "x").await;
    rig.store.now_fails_at(Op::Settle);
    assert!(is_storage(&rig.engine.flush().await));
    rig.store.now_obeys();
    assert_eq!(rig.flush().await.records_discarded, 1);
    assert_eq!(discarded.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_on_discard_is_contained() {
    let (mut options, _) = budget(0);
    let called = Arc::new(Mutex::new(0));
    options.on_discard = Some(DiscardHandler::new({
        let called = Arc::clone(&called);
        move |_| {
            *called.lock().unwrap() += 1;
            panic!("the handler was told to panic")
        }
    }));
    let rig = Rig::with(Service::replying(Call::send_all_back), options);
    rig.record_each("a", numbered(3)).await;
    // The first call poisons the lock; later calls panic on it.
    assert_eq!(rig.flush().await.records_discarded, 3);
    assert_eq!(rig.cached(), 0);
    rig.service.now_replies(|_| Reply::Accept);
    rig.record("a", "x").await;
    assert_eq!(rig.flush().await.records_flushed, 1);
}

#[tokio::test(start_paused = true)]
async fn records_are_given_up_without_a_handler_too() {
    let rig = Rig::tuned(Service::replying(Call::send_all_back), |options| {
        options.max_retries = 0
    });
    rig.record("a", "x").await;
    assert_eq!(rig.flush().await.records_discarded, 1);
    assert_eq!(rig.cached(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_passes_offline_discard_nothing_and_lose_nothing() {
    let (options, discarded) = budget(0);
    let offline: [fn() -> Reply; 7] = [
        Reply::no_answer,
        Reply::timed_out,
        || Reply::Hang,
        Reply::throttled,
        || Reply::Refuse(None, 503),
        || Reply::Refuse(Some("ExpiredTokenException"), 400),
        || Reply::Refuse(None, 302),
    ];
    let rig = Rig::with(
        Service::replying(move |call| offline[call.number % offline.len()]()),
        options,
    );
    rig.record_each("a", numbered(50)).await;
    rig.record_each("b", numbered(50)).await;
    for _ in 0..1000 {
        let _ = rig.engine.flush().await;
    }
    assert!(rig.service.call_count() >= 1000);
    assert_eq!(rig.cached(), 100);
    assert_eq!(discarded.count(), 0);
    assert_eq!(rig.attempts("a").await, [0; 50]);

    rig.service.now_replies(|_| Reply::Accept);
    let done = rig.drain(MINUTE).await;
    assert_eq!(done.records_flushed, 100);
    assert_eq!(rig.service.accepted("a"), numbered(50));
    assert_eq!(rig.service.accepted("b"), numbered(50));
}

#[tokio::test(start_paused = true)]
async fn the_count_survives_a_restart() {
    let store = Arc::new(ScriptedStore::obedient().surviving_close());
    let service = Arc::new(Service::replying(Call::send_all_back));
    let mut discarded = 0;
    for restart in 0..3 {
        let (options, _) = budget(2);
        let rig = Rig::sharing(&store, &service, options);
        if restart == 0 {
            rig.record("a", "x").await;
        }
        discarded += rig.flush().await.records_discarded;
        rig.engine.close().await.unwrap();
    }
    assert_eq!((discarded, service.call_count()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn records_cleared_while_their_request_is_under_way_count_as_cleared_only() {
    for (max_retries, accept) in [(0, true), (5, true), (0, false), (5, false)] {
        let (mut options, discarded) = budget(max_retries);
        options.cache_max_bytes = bytes(64);
        let reply = move |call: &Call| call.send_back("InternalFailure", |_| !accept);
        let (gate, service) = Service::replying_behind(reply);
        let rig = Rig::with(service, options);
        rig.record_each("a", numbered(3)).await;
        let pass = rig.flushing();
        rig.service.called(1).await;
        assert_eq!(rig.clear().await, 3);
        rig.record("a", "later").await;
        gate.open();
        let done = pass.await.unwrap().unwrap();
        assert_eq!(done, flush_engine::FlushData::default());
        assert_eq!(discarded.count(), 0);
        assert_eq!(rig.attempts("a").await, [0]);
        rig.clear().await;
        rig.assert_all_room_is_free(64).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_more_of_a_cleared_batch_is_sent() {
    let bad = "InvalidArgumentException";
    let (gate, service) = Service::replying_behind(move |_| Reply::Refuse(Some(bad), 400));
    let rig = Rig::new(service);
    rig.record_each("a", numbered(8)).await;
    let pass = rig.flushing();
    rig.service.called(1).await;
    rig.clear().await;
    gate.open();
    let done = pass.await.unwrap().unwrap();
    assert_eq!((done.records_retried, done.records_flushed), (0, 0));
    assert_eq!(rig.service.call_count(), 1);
}
