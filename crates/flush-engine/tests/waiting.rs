//! `OverflowPolicy::Wait`: records wait in line for room.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::{
    Op, Rig, SECOND, ScriptedStore, Service, Step, bounded, cancel_after, is_closed, is_full,
    never_fits, new, poll_once, until,
};
use flush_engine::{EngineError, EngineOptions, OverflowPolicy};
use tokio::time::{Instant, sleep};

/// Room for 160 bytes in 10 records.
fn options(at_most: Duration) -> EngineOptions {
    let mut options = bounded(160);
    options.overflow_policy = OverflowPolicy::Wait { at_most };
    options
}

fn full_rig(at_most: Duration) -> Arc<Rig> {
    Arc::new(Rig::with(Service::accepting(), options(at_most)))
}

fn record(
    rig: &Arc<Rig>,
    stream: &'static str,
    size: usize,
) -> impl Future<Output = Result<(), EngineError>> + Send + 'static {
    let rig = Arc::clone(rig);
    async move {
        let data = "x".repeat(size);
        rig.engine.record(vec![new(stream, &data)]).await.map(drop)
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_room_and_is_stored() {
    let rig = full_rig(60 * SECOND);
    record(&rig, "a", 160).await.unwrap();
    let waiting = tokio::spawn(record(&rig, "a", 100));
    sleep(10 * SECOND).await;
    assert!(!waiting.is_finished());
    rig.engine.flush().await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(rig.engine.cache_stats().bytes, 100);
}

#[tokio::test(start_paused = true)]
async fn it_is_refused_when_its_time_is_up() {
    let rig = full_rig(7 * SECOND);
    record(&rig, "a", 150).await.unwrap();
    let start = Instant::now();
    let refused = record(&rig, "a", 100).await;
    assert!(is_full(&refused), "{refused:?}");
    assert_eq!(start.elapsed(), 7 * SECOND);
    record(&rig, "a", 10).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_does_not_wait() {
    let rig = full_rig(60 * SECOND);
    let start = Instant::now();
    let refused = record(&rig, "a", 161).await;
    assert!(never_fits(&refused));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn room_goes_to_the_one_that_waited_longest() {
    let rig = full_rig(60 * SECOND);
    record(&rig, "a", 160).await.unwrap();
    // The large record comes first, and the small ones behind it must not starve it.
    let mut waiting = vec![tokio::spawn(record(&rig, "large", 160))];
    sleep(SECOND).await;
    for _ in 0..5 {
        waiting.push(tokio::spawn(record(&rig, "small", 1)));
        sleep(SECOND).await;
    }
    rig.engine.flush().await.unwrap();
    waiting.remove(0).await.unwrap().unwrap();
    sleep(SECOND).await;
    assert!(waiting.iter().all(|small| !small.is_finished()));
    rig.engine.flush().await.unwrap();
    for small in waiting {
        small.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_leaves_the_line() {
    for polls in 1..5 {
        let rig = full_rig(60 * SECOND);
        record(&rig, "a", 160).await.unwrap();
        assert!(cancel_after(polls, record(&rig, "b", 160)).await.is_none());
        let behind = tokio::spawn(record(&rig, "c", 160));
        sleep(SECOND).await;
        rig.engine.flush().await.unwrap();
        behind.await.unwrap().unwrap();
        rig.engine.drain(SECOND).await.unwrap();
        assert!(rig.service.accepted("b").is_empty());
        rig.engine.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_moment_it_has_stored_the_record_or_taken_no_room() {
    for polls in 1..12 {
        let store = ScriptedStore::dawdling();
        let rig = Arc::new(Rig::on(store, Service::accepting(), options(60 * SECOND)));
        record(&rig, "a", 160).await.unwrap();
        let waiting = record(&rig, "b", 100);
        tokio::join!(cancel_after(polls, waiting), rig.flush());
        sleep(SECOND).await;
        let stored = rig.engine.cache_stats().bytes;
        assert!(stored == 0 || stored == 100, "{stored}");
        rig.engine.drain(SECOND).await.unwrap();
        // No one is left in line.
        let whole = tokio::time::timeout(SECOND, record(&rig, "room", 160)).await;
        assert!(matches!(whole, Ok(Ok(()))), "{polls}: {whole:?}");
        rig.engine.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_kept_without_being_polled_holds_nobody_up() {
    let rig = full_rig(60 * SECOND);
    record(&rig, "a", 160).await.unwrap();
    let mut kept = pin!(record(&rig, "kept", 100));
    assert!(poll_once(kept.as_mut()).await.is_pending());
    let behind = tokio::spawn(record(&rig, "b", 60));
    sleep(SECOND).await;
    rig.engine.flush().await.unwrap();
    behind.await.unwrap().unwrap();
    // By then, the kept call had stored its record.
    assert_eq!(rig.engine.cache_stats().bytes, 160);
    assert!(matches!(poll_once(kept).await, Poll::Ready(Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn closing_refuses_all_that_wait() {
    let rig = full_rig(Duration::MAX);
    record(&rig, "a", 160).await.unwrap();
    let waiting = [(); 3].map(|()| tokio::spawn(record(&rig, "a", 10)));
    sleep(SECOND).await;
    rig.engine.close().await.unwrap();
    for waiting in waiting {
        assert!(is_closed(&waiting.await.unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn clearing_makes_room_for_those_that_wait() {
    let rig = full_rig(60 * SECOND);
    record(&rig, "a", 160).await.unwrap();
    let waiting = tokio::spawn(record(&rig, "b", 160));
    sleep(SECOND).await;
    assert_eq!(rig.engine.clear().await.unwrap().records_cleared, 1);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn room_that_a_failing_store_gives_back_goes_to_the_next_in_line() {
    let store = ScriptedStore::scripted(|op, call| match (op, call) {
        (Op::Append, 0) => Step::Dawdle(20),
        (Op::Append, 1) => Step::Fail,
        _ => Step::Obey,
    });
    let rig = Arc::new(Rig::on(store, Service::accepting(), options(60 * SECOND)));
    record(&rig, "a", 60).await.unwrap();
    let failing = tokio::spawn(record(&rig, "b", 100));
    let waiting = tokio::spawn(record(&rig, "c", 100));
    assert!(failing.await.unwrap().is_err());
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bound_holds_while_many_wait() {
    let store = ScriptedStore::dawdling();
    let rig = Arc::new(Rig::on(store, Service::accepting(), options(60 * SECOND)));
    let recording = (0..200).map(|n| tokio::spawn(record(&rig, "a", 1 + n % 100)));
    let recording: Vec<_> = recording.collect();
    let all = async {
        for recorded in recording {
            recorded.await.unwrap().unwrap();
        }
    };
    let mut all = pin!(all);
    loop {
        let stats = rig.engine.cache_stats();
        assert!(stats.bytes <= 160 && stats.records <= 10, "{stats:?}");
        if poll_once(all.as_mut()).await.is_ready() {
            break;
        }
        rig.engine.flush().await.unwrap();
    }
    until(|| rig.engine.cache_stats().bytes <= 160).await;
    rig.engine.drain(60 * SECOND).await.unwrap();
    assert_eq!(rig.service.accepted_count(), 200);
}
