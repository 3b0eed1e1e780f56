//! Draining before closing.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::time::Duration;

use common::*;
use flush_engine::{CloseOptions, EngineError, FlushData};
use record_cache::RecordStore;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const FOR_TEN: CloseOptions = CloseOptions {
    drain: Duration::from_secs(10),
};

fn close_with(rig: &Rig, options: CloseOptions) -> Beside<FlushData> {
    rig.beside(|engine| async move { engine.close_with(options).await })
}

fn one_by_one(service: Service) -> Rig {
    Rig::with(service.limited(1, 1000), options())
}

#[tokio::test(start_paused = true)]
async fn everything_is_delivered_before_the_store_is_closed() {
    let rig = one_by_one(Service::accepting());
    rig.record_each("a", numbered(5)).await;
    let done = rig.engine.close_with(FOR_TEN).await.unwrap();
    assert_eq!(done.records_flushed, 5);
    assert_eq!(rig.service.accepted("a"), numbered(5));
    assert!(rig.store.is_closed());
    assert!(is_closed(&rig.engine.flush().await));
}

#[tokio::test(start_paused = true)]
async fn with_no_time_to_drain_it_is_close() {
    let rig = one_by_one(Service::accepting());
    rig.record_each("a", numbered(5)).await;
    let done = rig.engine.close_with(CloseOptions::default()).await;
    assert_eq!(done.unwrap(), FlushData::default());
    assert_eq!(rig.service.call_count(), 0);
    assert!(rig.store.is_closed());
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_done_once_it_has_begun() {
    let (gate, service) = Service::gated();
    let rig = one_by_one(service);
    rig.record_each("a", numbered(2)).await;
    let closing = close_with(&rig, FOR_TEN);
    rig.service.called(1).await;
    assert!(rig.engine.is_closed() && !rig.store.is_closed());
    assert!(is_closed(&rig.engine.record(vec![new("a", "late")]).await));
    assert!(is_closed(&rig.engine.flush().await));
    assert!(is_closed(&rig.engine.drain(SECOND).await));
    assert!(is_closed(&rig.engine.clear().await));
    rig.engine.disable();
    assert!(rig.engine.is_enabled());
    gate.open();
    assert_eq!(closing.await.unwrap().unwrap().records_flushed, 2);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_the_request_under_way_is_finished_and_no_other_starts() {
    let rig = one_by_one(Service::replying(|_| Reply::Accept.after(SECOND * 4)));
    rig.record_each("a", numbered(9)).await;
    let begin = Instant::now();
    let done = rig.engine.close_with(FOR_TEN).await.unwrap();
    assert_eq!((done.records_flushed, rig.service.call_count()), (3, 3));
    assert_eq!(begin.elapsed(), SECOND * 12);
    assert_eq!(rig.cached(), 6);
    assert!(rig.store.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_backoff_is_delivered_though_another_one_fails() {
    // Repeated, because a single wait may be close to zero.
    for _ in 0..20 {
        let rig = Rig::new(Service::replying(|call| match call.stream.as_str() {
            "b" if call.number >= 3 => Reply::Accept,
            _ => Reply::throttled(),
        }));
        rig.record("b", "x").await;
        for _ in 0..3 {
            rig.flush().await;
        }
        rig.record("a", "x").await;
        let done = rig.engine.close_with(FOR_TEN).await.unwrap();
        assert_eq!(done.records_flushed, 1);
        assert_eq!(rig.service.accepted("b"), ["x"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_fails_closes_all_the_same_and_tells_the_sums() {
    let rig = one_by_one(Service::replying(|call| match call.number {
        0 => Reply::Accept,
        _ => Reply::no_answer(),
    }));
    rig.record_each("a", numbered(3)).await;
    let failed = rig.engine.close_with(FOR_TEN).await;
    assert_eq!(unknown(failed).records_flushed, 1);
    assert!(rig.store.is_closed());
    assert_eq!(rig.cached(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_to_close_is_told_with_the_sums() {
    let unanswered = Service::replying(|_| Reply::no_answer());
    for service in [Service::accepting(), unanswered] {
        let rig = one_by_one(service);
        rig.record_each("a", numbered(3)).await;
        rig.store.now_fails_at(Op::Close);
        let done = storage(rig.engine.close_with(FOR_TEN).await);
        assert_eq!(done.records_flushed, rig.service.accepted_count());
        assert!(rig.engine.close().await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_the_end_hear_that_the_store_failed_to_close() {
    let (gate, service) = Service::gated();
    let rig = one_by_one(service);
    rig.record_each("a", numbered(3)).await;
    rig.store.now_fails_at(Op::Close);
    let calls = [(); 3].map(|()| close_with(&rig, FOR_TEN));
    rig.service.called(1).await;
    gate.open();
    for call in calls {
        let failed = call.await.unwrap();
        assert!(is_storage(&failed), "{failed:?}");
    }
    for late in [FOR_TEN, CloseOptions::default()] {
        let late = rig.engine.close_with(late).await;
        assert_eq!(late.unwrap(), FlushData::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_close_that_comes_in_between_hides_no_failure_of_the_store() {
    for _ in 0..200 {
        let (gate, service) = Service::gated();
        let rig = one_by_one(service);
        rig.record_each("a", numbered(2)).await;
        rig.store.now_fails_at(Op::Close);
        let draining = close_with(&rig, FOR_TEN);
        rig.service.called(1).await;
        let mut joining = Box::pin(rig.engine.close_with(FOR_TEN));
        let mut closing = Box::pin(rig.engine.close());
        tokio::select! {
            biased;
            ended = &mut joining => panic!("a request is under way: {ended:?}"),
            ended = &mut closing => panic!("a request is under way: {ended:?}"),
            () = std::future::ready(()) => gate.open(),
        }
        let (drained, joined, closed) = (draining.await.unwrap(), joining.await, closing.await);
        assert!(is_storage(&drained), "{drained:?}");
        assert!(is_storage(&joined), "{joined:?}");
        assert!(is_storage(&closed), "{closed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_drain() {
    let (gate, service) = Service::gated();
    let rig = one_by_one(service);
    rig.record_each("a", numbered(5)).await;
    let draining = close_with(&rig, FOR_TEN);
    rig.service.called(1).await;
    let closing = rig.closing();
    tokio::time::sleep(SECOND).await;
    assert!(!closing.is_finished() && !rig.store.is_closed());
    gate.open();
    closing.await.unwrap().unwrap();
    assert!(rig.store.is_closed());
    assert_eq!(draining.await.unwrap().unwrap().records_flushed, 1);
    assert_eq!(rig.service.call_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_a_drain_that_waits_for_a_stream_which_failed() {
    let service = Service::answering("a", |_| Reply::throttled().after(SECOND));
    let rig = Rig::tuned(service.limited(1, 1000), |options| {
        options.max_concurrent_streams = count(2)
    });
    rig.record_each("a", numbered(2)).await;
    rig.record_each("b", numbered(2)).await;
    let draining = close_with(&rig, FOR_TEN);
    tokio::time::sleep(SECOND).await;
    // The clock does not advance here, so the backoff has just begun.
    while rig.service.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    rig.engine.close().await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(draining.await.unwrap().unwrap().records_flushed, 2);
    assert_eq!(rig.service.call_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_ends_the_drain() {
    let (gate, service) = Service::gated();
    let rig = one_by_one(service);
    rig.record_each("a", numbered(5)).await;
    let cancelled = cancel_after(3, rig.engine.close_with(FOR_TEN)).await;
    assert!(cancelled.is_none());
    rig.service.called(1).await;
    let (engine, service, store) = rig.into_parts();
    drop(engine);
    tokio::time::sleep(SECOND).await;
    gate.open();
    until(|| store.is_closed()).await;
    assert_eq!((service.call_count(), store.stats().records()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_second_call_waits_for_the_first_but_no_longer_than_it_would_drain() {
    // The first call ends on its own. The second has a shorter limit.
    let short = CloseOptions::default().drain(Duration::from_millis(2500));
    for (records, second) in [(3, FOR_TEN), (9, short)] {
        let rig = one_by_one(Service::replying(|_| Reply::Accept.after(SECOND)));
        rig.record_each("a", numbered(records)).await;
        let first = close_with(&rig, FOR_TEN);
        rig.service.called(1).await;
        let begin = Instant::now();
        let second = rig.engine.close_with(second).await.unwrap();
        assert_eq!(second, FlushData::default());
        assert_eq!(begin.elapsed(), SECOND * 3);
        assert_eq!(first.await.unwrap().unwrap().records_flushed, 3);
        // Later calls do nothing.
        let late = rig.engine.close_with(FOR_TEN).await.unwrap();
        assert_eq!(late, FlushData::default());
        rig.engine.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_when_its_future_is_dropped() {
    for polls in 1..12 {
        let rig = one_by_one(Service::accepting());
        rig.record_each("a", numbered(4)).await;
        let _ = cancel_after(polls, rig.engine.close_with(FOR_TEN)).await;
        until(|| rig.store.is_closed()).await;
        assert_eq!(rig.service.accepted("a"), numbered(4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_under_way_is_waited_for_and_the_timer_stops() {
    let service = Service::replying(|_| Reply::Accept.after(SECOND));
    let rig = Rig::with(service.limited(1, 1000), every(SECOND));
    rig.record_each("a", numbered(4)).await;
    rig.service.called(1).await;
    let done = rig.engine.close_with(FOR_TEN).await.unwrap();
    assert_eq!(done.records_flushed, 3);
    assert_eq!(rig.service.accepted("a"), numbered(4));
    assert_eq!(rig.service.most_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_under_way_ends_and_hands_over() {
    let service = Service::replying(|_| Reply::Accept.after(SECOND));
    let rig = one_by_one(service);
    rig.record_each("a", numbered(6)).await;
    let drain = rig.draining(SECOND * 100);
    rig.service.called(2).await;
    let closed = rig.engine.close_with(FOR_TEN).await.unwrap();
    let drained = drain.await.unwrap().unwrap();
    assert_eq!((drained.records_flushed, closed.records_flushed), (2, 4));
}

fn runtimes() -> [Runtime; 2] {
    [(); 2].map(|()| Runtime::new().unwrap())
}

#[test]
fn a_runtime_that_ends_meanwhile_leaves_a_client_that_can_be_closed() {
    let (_gate, service) = Service::gated();
    let [first, second] = runtimes();
    let rig = first.block_on(async { one_by_one(service) });
    first.block_on(rig.record_each("a", numbered(3)));
    let closing = {
        let _within = first.enter();
        close_with(&rig, FOR_TEN)
    };
    first.block_on(rig.service.called(1));
    drop(first);
    second.block_on(async {
        assert!(closing.await.unwrap_err().is_cancelled());
        assert!(is_closed(&rig.engine.flush().await));
        rig.engine.close().await.unwrap();
    });
    assert!(rig.store.is_closed());
    assert_eq!(rig.cached(), 3);
}

#[test]
fn a_call_that_outlives_its_runtime_closes_all_the_same() {
    for store_fails in [false, true] {
        let (_gate, service) = Service::gated();
        let [first, second] = runtimes();
        let rig = first.block_on(async { one_by_one(service) });
        first.block_on(rig.record_each("a", numbered(3)));
        let mut closing = Box::pin(rig.engine.close_with(FOR_TEN));
        first.block_on(async {
            tokio::select! {
                biased;
                ended = &mut closing => panic!("nothing was answered: {ended:?}"),
                () = rig.service.called(1) => {}
            }
        });
        drop(first);
        if store_fails {
            rig.store.now_fails_at(Op::Close);
            // Another call gets there first.
            assert!(second.block_on(rig.engine.close()).is_err());
        }
        match second.block_on(closing) {
            Err(EngineError::Unknown { .. }) if !store_fails => {}
            Err(EngineError::Storage { .. }) if store_fails => {}
            other => panic!("the drain was cut short: {other:?}"),
        }
        assert_eq!(rig.store.is_closed(), !store_fails);
        assert_eq!(rig.cached(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn expired_and_failing_records_are_seen_to_as_in_any_drain() {
    let mut options = options();
    options.max_concurrent_streams = count(4);
    options.max_retries = 1;
    let service = Service::replying(|call| call.send_back("InternalFailure", |data| data == "bad"));
    options.max_record_age = Some(MINUTE);
    let rig = Rig::with(service.limited(2, 1000), options);
    for data in numbered(6) {
        rig.record_all(vec![ancient("a", &data)]).await;
    }
    rig.record_each("a", ["good", "bad"]).await;
    let done = rig.engine.close_with(FOR_TEN).await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (1, 1));
    // The bad record was charged a moment ago and is not charged again so soon.
    assert_eq!(done.records_discarded, 6);
    assert_eq!(rig.cached(), 1);
}
