//! Closing an engine, explicitly or by dropping it, and the runtimes it runs in.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use common::*;
use flush_engine::{EngineError, FlushEngine, Intake};
use record_cache::MemoryStore;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_closed_engine_refuses_everything_and_remembers_its_last_values() {
    let rig = Rig::with(Service::accepting(), every(SECOND));
    rig.record_each("a", numbered(3)).await;
    rig.engine.disable();
    assert!(!rig.engine.is_closed());
    rig.engine.close().await.unwrap();
    assert!(rig.engine.is_closed());
    assert_eq!(rig.engine.intake(), Intake::Closed);
    assert!(is_closed(&rig.engine.record(vec![new("a", "x")]).await));
    assert!(is_closed(&rig.engine.record(Vec::new()).await));
    assert!(is_closed(&rig.engine.flush().await));
    assert!(is_closed(&rig.engine.drain(SECOND).await));
    assert!(is_closed(&rig.engine.clear().await));
    rig.engine.enable();
    assert!(!rig.engine.is_enabled());
    let stats = rig.engine.cache_stats();
    assert_eq!((stats.records, stats.bytes), (3, 12));
    assert_eq!(stats.streams[0].stream_name, "a");
    rig.engine.close().await.unwrap();
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(rig.service.call_count(), 0);
    assert!(rig.store.is_closed());
}

#[tokio::test(start_paused = true)]
async fn an_enabled_engine_stays_so_when_it_is_closed() {
    let rig = Rig::new(Service::accepting());
    rig.engine.close().await.unwrap();
    rig.engine.disable();
    assert!(rig.engine.is_enabled());
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_requests_under_way_and_starts_no_further_ones() {
    for origin in ["flush", "timer", "drain", "cancelled"] {
        let (gate, service) = Service::gated();
        let mut options = if origin == "timer" {
            every(SECOND)
        } else {
            options()
        };
        options.max_concurrent_streams = count(2);
        let rig = Rig::with(service.limited(1, 100), options);
        for name in ["a", "b", "c", "d"] {
            rig.record_each(name, numbered(2)).await;
        }
        let engine = rig.engine.clone();
        let pass = tokio::spawn(async move {
            match origin {
                "flush" => engine.flush().await.unwrap().records_flushed,
                "drain" => engine.drain(MINUTE).await.unwrap().records_flushed,
                "cancelled" => {
                    cancel_after(5, engine.flush()).await;
                    2
                }
                _ => 2,
            }
        });
        rig.service.called(2).await;
        let closing = rig.closing();
        tokio::time::sleep(10 * SECOND).await;
        assert!(rig.engine.is_closed() && !closing.is_finished(), "{origin}");
        assert!(!rig.store.is_closed());
        gate.open();
        closing.await.unwrap().unwrap();
        assert!(rig.store.is_closed());
        assert_eq!(pass.await.unwrap(), 2, "{origin}");
        assert_eq!(rig.service.accepted_count(), 2);
        assert_eq!(rig.service.call_count(), 2);
        assert_eq!(rig.cached(), 6, "accepted records are deleted: {origin}");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_waits_no_longer_than_a_request_may_take() {
    let rig = Rig::new(Service::replying(|_| Reply::Hang));
    rig.record("a", "x").await;
    let pass = rig.flushing();
    rig.service.called(1).await;
    let begin = Instant::now();
    rig.engine.close().await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert!(is_unknown(&pass.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn all_who_close_at_once_wait_for_the_end_and_those_after_it_do_not() {
    for fails in [false, true] {
        let gate = Gate::closed();
        let rig = Rig::new(Service::accepting());
        match fails {
            true => rig.store.now_fails_at(Op::Close),
            false => rig.store.now_waits_at(Op::Close, &gate),
        }
        let closing = [(); 5].map(|()| rig.closing());
        if !fails {
            tokio::time::sleep(SECOND).await;
            assert!(closing.iter().all(|task| !task.is_finished()));
        }
        gate.open();
        let mut failed = 0;
        for task in closing {
            failed += usize::from(task.await.unwrap().is_err());
        }
        // A call that starts after the end gets `Ok`, so the number of failures varies.
        assert_eq!(failed > 0, fails);
        assert_eq!(rig.store.call_count(), 1);
        rig.engine.close().await.unwrap();
        assert!(rig.engine.is_closed());
        assert_eq!(rig.store.call_count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_are_told_of_a_failure() {
    let (gate, service) = Service::gated();
    let rig = Rig::new(service);
    rig.store.now_fails_at(Op::Close);
    rig.record("a", "x").await;
    let pass = rig.flushing();
    rig.service.called(1).await;
    let closing = [(); 5].map(|()| rig.closing());
    tokio::time::sleep(SECOND).await;
    gate.open();
    for task in closing {
        let result = task.await.unwrap();
        assert!(is_storage(&result), "{result:?}");
    }
    pass.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_goes_on_when_its_future_is_dropped() {
    for polls in 0..8 {
        let store = ScriptedStore::dawdling();
        let rig = Rig::on(store, Service::accepting(), every(SECOND));
        let _ = cancel_after(polls, rig.engine.close()).await;
        if polls > 0 {
            until(|| rig.store.is_closed()).await;
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        }
        rig.engine.close().await.unwrap();
        assert!(rig.store.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_was_begun_and_cancelled() {
    for op in [Op::Append, Op::Clear] {
        let gate = Gate::closed();
        let rig = Rig::new(Service::accepting());
        rig.record("a", "x").await;
        rig.store.now_waits_at(op, &gate);
        match op {
            Op::Append => drop(cancel_after(3, rig.engine.record(vec![new("a", "y")])).await),
            _ => drop(cancel_after(3, rig.engine.clear()).await),
        }
        let closing = rig.closing();
        tokio::time::sleep(SECOND).await;
        assert!(!closing.is_finished());
        gate.open();
        closing.await.unwrap().unwrap();
        assert_eq!(rig.cached(), if op == Op::Append { 2 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_stops_the_timer_and_closes_the_store() {
    let (engine, service, store) = Rig::with(Service::accepting(), every(SECOND)).into_parts();
    let clone = engine.clone();
    drop(engine);
    clone.record(vec![new("a", "x")]).await.unwrap();
    service.answered(1).await;
    assert!(!store.is_closed());
    clone.record(vec![new("a", "y")]).await.unwrap();
    drop(clone);
    until(|| store.is_closed()).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(service.call_count(), 1);
    // Nothing keeps the engine alive.
    assert_eq!(Arc::strong_count(&store), 1);
    assert_eq!(Arc::strong_count(&service), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_lets_a_request_under_way_finish() {
    let (gate, service) = Service::gated();
    let rig = Rig::new(service);
    rig.record_each("a", numbered(2)).await;
    assert!(cancel_after(3, rig.engine.flush()).await.is_none());
    rig.service.called(1).await;
    let (engine, service, store) = rig.into_parts();
    drop(engine);
    tokio::time::sleep(SECOND).await;
    assert!(!store.is_closed());
    gate.open();
    until(|| store.is_closed()).await;
    assert_eq!(service.accepted_count(), 2);
    assert_eq!(record_cache::RecordStore::stats(&*store).records(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_may_race_everything() {
    for round in 0..150 {
        let service =
            Service::replying(|call| call.send_back("InternalFailure", |_| call.number % 5 == 4));
        let store = ScriptedStore::dawdling_if(round % 2 == 0);
        let service = service.limited(3, 1000);
        let rig = Rig::on(store, service, every(Duration::from_millis(1)));
        let stored = Arc::new(AtomicUsize::new(0));
        let gone = Arc::new(AtomicUsize::new(0));
        let busy = (0..8).map(|n| {
            let (engine, stored, gone) = (rig.engine.clone(), stored.clone(), gone.clone());
            tokio::spawn(async move {
                loop {
                    let done = match n {
                        0 => engine.flush().await.map(|_| 0),
                        1 => engine.drain(SECOND).await.map(|_| 0),
                        2 => engine.clear().await.map(|data| data.records_cleared),
                        _ => {
                            let both = engine.record(vec![new("a", "x"), new("b", "y")]).await;
                            stored.fetch_add(if both.is_ok() { 2 } else { 0 }, Ordering::SeqCst);
                            both.map(|_| 0)
                        }
                    };
                    match done {
                        Ok(cleared) => gone.fetch_add(cleared, Ordering::SeqCst),
                        Err(EngineError::Closed) => return,
                        Err(error) => panic!("{error:?}"),
                    };
                    tokio::task::yield_now().await;
                }
            })
        });
        let busy: Vec<_> = busy.collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let (first, second) = tokio::join!(rig.engine.close(), rig.engine.close());
        first.unwrap();
        second.unwrap();
        let (at_close, calls) = (rig.engine.cache_stats(), rig.service.call_count());
        for task in busy {
            task.await.unwrap();
        }
        assert_eq!(rig.engine.cache_stats(), at_close);
        assert_eq!(rig.service.call_count(), calls);
        assert_eq!(rig.service.in_flight(), 0);
        // Some records may count as both delivered and cleared. None is missing.
        let gone = gone.load(Ordering::SeqCst);
        let accounted = at_close.records + gone + rig.service.accepted_count();
        assert!(accounted >= stored.load(Ordering::SeqCst));
    }
}

// Runtimes.

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn single_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// An executor unrelated to tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = Box::pin(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn an_engine_is_not_started_without_a_runtime_with_timers() {
    let start = || {
        let (store, service) = (Arc::new(MemoryStore::new()), Arc::new(Service::accepting()));
        FlushEngine::start(store, service, options())
    };
    assert!(matches!(start(), Err(EngineError::Validation(_))));
    let timeless = Builder::new_current_thread().build().unwrap();
    let started = timeless.block_on(async { start() });
    assert!(matches!(started, Err(EngineError::Validation(_))));
    assert!(single_thread().block_on(async { start() }).is_ok());
}

#[test]
fn everything_may_be_called_from_another_executor() {
    let home = multi_thread();
    let (store, service) = (ScriptedStore::dawdling(), Service::accepting());
    let rig = home.block_on(async { Rig::on(store, service, every(3600 * SECOND)) });
    block_on(async {
        rig.record_all(vec![new("a", "x")]).await;
        assert_eq!(rig.flush().await.records_flushed, 1);
        rig.record_all(vec![new("a", "y")]).await;
        assert_eq!(rig.drain(SECOND).await.records_flushed, 1);
        rig.record_all(vec![new("a", "z")]).await;
        assert_eq!(rig.clear().await, 1);
        rig.engine.disable();
        rig.engine.enable();
        rig.engine.close().await.unwrap();
    });
    assert!(rig.store.is_closed());
}

#[test]
fn futures_may_be_dropped_outside_any_runtime() {
    let home = multi_thread();
    let (gate, service) = Service::gated();
    let rig = home.block_on(async { Rig::on(ScriptedStore::dawdling(), service, options()) });
    let mut context = Context::from_waker(Waker::noop());
    let mut record = Box::pin(rig.engine.record(vec![new("a", "x")]));
    assert!(record.as_mut().poll(&mut context).is_pending());
    drop(record);
    home.block_on(until(|| rig.cached() == 1));
    let mut flush = Box::pin(rig.engine.flush());
    assert!(flush.as_mut().poll(&mut context).is_pending());
    drop(flush);
    gate.open();
    home.block_on(until(|| rig.cached() == 0));
    let Rig { engine, store, .. } = rig;
    drop(engine);
    home.block_on(until(|| store.is_closed()));
}

#[test]
fn an_engine_outlives_the_runtime_that_it_was_started_in() {
    for under_way in ["nothing", "flush", "drain", "timer", "clear", "record"] {
        let first = multi_thread();
        let (gate, service) = Service::gated();
        let options = match under_way {
            "timer" => every(Duration::from_millis(1)),
            _ => options(),
        };
        let rig = first.block_on(async { Rig::with(service, options) });
        first.block_on(rig.record("a", "x"));
        if matches!(under_way, "clear" | "record") {
            let behind = gate.clone();
            rig.store.now_does(move |op, _| match op {
                Op::Append | Op::Clear => Step::Behind(behind.clone()),
                _ => Step::Obey,
            });
        }
        let engine = rig.engine.clone();
        first.spawn(async move {
            match under_way {
                "flush" => drop(engine.flush().await),
                "drain" => drop(engine.drain(3600 * SECOND).await),
                "clear" => drop(engine.clear().await),
                "record" => drop(engine.record(vec![new("a", "y")]).await),
                _ => {}
            }
        });
        match under_way {
            "nothing" => {}
            "clear" | "record" => first.block_on(until(|| rig.store.call_count() == 2)),
            _ => first.block_on(rig.service.called(1)),
        }
        drop(first);
        gate.open();
        rig.store.now_obeys();

        let second = single_thread();
        second.block_on(async {
            let done = rig.flush().await;
            assert!(!done.flush_in_progress, "{under_way}");
            assert_eq!(done.records_flushed, 1, "{under_way}");
            rig.record("a", "z").await;
            assert_eq!(rig.drain(SECOND).await.records_flushed, 1);
            rig.record("a", "z").await;
            assert_eq!(rig.clear().await, 1);
            rig.engine.close().await.unwrap();
        });
        assert!(rig.store.is_closed(), "{under_way}");
    }
}

#[test]
fn without_any_runtime_left_there_is_an_error_and_no_panic() {
    let first = multi_thread();
    let rig = first.block_on(async { Rig::with(Service::accepting(), every(SECOND)) });
    drop(first);
    block_on(async {
        rig.record_all(vec![new("a", "x")]).await;
        assert!(is_unknown(&rig.engine.flush().await));
        assert!(is_unknown(&rig.engine.drain(SECOND).await));
        assert!(is_unknown(&rig.engine.clear().await));
        assert!(is_storage(&rig.engine.close().await));
        assert!(is_storage(&rig.engine.close().await));
    });
    // It can still be closed inside a runtime.
    single_thread().block_on(rig.engine.close()).unwrap();
    assert!(rig.store.is_closed());
}

#[test]
fn a_pass_that_is_cut_short_gives_way_to_the_next_one() {
    let home = multi_thread();
    let (gate, service) = Service::gated();
    let rig = home.block_on(async { Rig::with(service, every(Duration::from_millis(300))) });
    home.block_on(rig.record("a", "x"));
    let visitor = multi_thread();
    let engine = rig.engine.clone();
    visitor.spawn(async move { engine.flush().await });
    home.block_on(rig.service.called(1));
    // The timer finds a pass running, and learns of its end only if that is announced.
    home.block_on(async { tokio::time::sleep(Duration::from_millis(350)).await });
    drop(visitor);
    gate.open();
    home.block_on(until(|| rig.cached() == 0));
}

#[test]
fn closing_that_is_cut_short_is_taken_up_again() {
    let home = multi_thread();
    let (gate, service) = Service::gated();
    let rig = home.block_on(async { Rig::with(service, options()) });
    home.block_on(rig.record("a", "x"));
    let engine = rig.engine.clone();
    let pass = home.spawn(async move { engine.flush().await });
    home.block_on(rig.service.called(1));

    let visitor = single_thread();
    let cancelled = visitor.block_on(cancel_after(5, rig.engine.close()));
    assert!(cancelled.is_none());
    let engine = rig.engine.clone();
    let waiting = home.spawn(async move { engine.close().await });
    drop(visitor);
    gate.open();
    home.block_on(waiting).unwrap().unwrap();
    assert!(rig.store.is_closed());
    assert_eq!(home.block_on(pass).unwrap().unwrap().records_flushed, 1);
}

#[test]
fn the_last_clone_may_be_dropped_in_another_runtime_after_the_first_has_ended() {
    let first = multi_thread();
    let Rig { engine, store, .. } =
        first.block_on(async { Rig::with(Service::accepting(), every(SECOND)) });
    drop(first);
    let second = single_thread();
    second.block_on(async {
        drop(engine);
        until(|| store.is_closed()).await;
    });
}

#[test]
fn the_last_clone_may_be_dropped_without_any_runtime() {
    let first = multi_thread();
    let Rig { engine, store, .. } =
        first.block_on(async { Rig::with(Service::accepting(), every(SECOND)) });
    drop(first);
    drop(engine);
    assert_eq!(Arc::strong_count(&store), 1);
}
