//! A timer runs again immediately while a stream being delivered has full batches waiting.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{MINUTE, Reply, Rig, SECOND, Service, count, every, numbered, until};
use flush_engine::EngineOptions;
use tokio::time::{Instant, sleep};

const INTERVAL: Duration = SECOND.saturating_mul(30);

async fn rig_with(service: Service, records: &[(&str, usize)]) -> Rig {
    let rig = Rig::with(service.limited(10, 1000), every(INTERVAL));
    for &(stream, records) in records {
        rig.record_each(stream, numbered(records)).await;
    }
    rig
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_delivered_at_once_once_a_pass_went_through() {
    let rig = rig_with(Service::accepting(), &[("a", 1005)]).await;
    let start = Instant::now();
    rig.service.called(1).await;
    assert_eq!(start.elapsed(), INTERVAL);
    rig.service.answered(100).await;
    assert_eq!(start.elapsed(), INTERVAL);
    assert_eq!(rig.service.accepted("a").len(), 1000);
    // A partial batch waits for the next interval.
    sleep(SECOND).await;
    assert_eq!(rig.cached(), 5);
    sleep(INTERVAL).await;
    assert_eq!(rig.cached(), 0);
    assert_eq!(rig.service.accepted("a"), numbered(1005));
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_large_backlog_is_gone_within_seconds() {
    const RECORDS: usize = 100_000;
    const LATENCY: Duration = Duration::from_millis(20);
    let back = Instant::now() + MINUTE;
    let service = Service::replying(move |_| match Instant::now() < back {
        true => Reply::no_answer(),
        false => Reply::Accept.after(LATENCY),
    });
    // The default strategy.
    let rig = Rig::with(service.limited(500, 1 << 20), EngineOptions::DEFAULT);
    rig.record_each("a", numbered(RECORDS)).await;
    until(|| !rig.service.accepted("a").is_empty()).await;
    assert!(back.elapsed() <= INTERVAL, "{:?}", back.elapsed());
    let start = Instant::now();
    until(|| rig.cached() == 0).await;
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
    assert_eq!(rig.service.accepted("a").len(), RECORDS);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_full_in_bytes_is_caught_up_with_too() {
    let rig = Rig::with(Service::accepting().limited(100, 10), every(INTERVAL));
    rig.record_each("a", numbered(10)).await;
    sleep(INTERVAL + SECOND).await;
    // Two records of four bytes fill a batch. The remaining two do not.
    assert_eq!(rig.cached(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_is_not_caught_up_with() {
    for failure in [
        || Reply::throttled(),
        || Reply::no_answer(),
        || Reply::Refuse(Some("ResourceNotFoundException"), 400),
    ] {
        let service = Service::answering("worse", move |_| failure());
        let rig = rig_with(service, &[("worse", 50), ("good", 100)]).await;
        sleep(INTERVAL + SECOND).await;
        let streams = rig.service.streams();
        assert_eq!(streams.iter().filter(|s| *s == "worse").count(), 1);
        assert_eq!(rig.service.accepted("good").len(), 100);
        rig.engine.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_while_it_is_caught_up_with_waits_for_the_next_interval() {
    let service = Service::replying(|call| match call.number {
        0..3 => Reply::Accept,
        3 => call.send_all_back(),
        _ => Reply::Accept,
    });
    let rig = rig_with(service, &[("a", 100)]).await;
    sleep(INTERVAL + SECOND).await;
    assert_eq!(rig.service.call_count(), 4);
    sleep(INTERVAL).await;
    assert_eq!(rig.cached(), 0);
}

#[tokio::test(start_paused = true)]
async fn other_streams_keep_their_pace_meanwhile() {
    let service = Service::answering("busy", |_| Reply::Accept.after(SECOND));
    // Two minutes of work.
    let rig = rig_with(service, &[("busy", 1200), ("slow", 1)]).await;
    sleep(INTERVAL + SECOND / 2).await;
    rig.record("slow", "second").await;
    sleep(20 * SECOND).await;
    // The stream is not sent with each batch, but is not starved either.
    assert_eq!(rig.service.accepted("slow").len(), 1);
    sleep(15 * SECOND).await;
    assert_eq!(rig.service.accepted("slow").len(), 2);
    assert!(rig.service.accepted("busy").len() > 250);
    rig.engine.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_followed_by_catching_up_where_there_is_a_timer() {
    let rig = rig_with(Service::accepting(), &[("a", 100)]).await;
    rig.engine.flush().await.unwrap();
    sleep(SECOND).await;
    assert_eq!(rig.cached(), 0);
    let mut options = common::options();
    options.max_concurrent_streams = count(1);
    let rig = Rig::with(Service::accepting().limited(10, 1000), options);
    rig.record_each("a", numbered(100)).await;
    rig.engine.flush().await.unwrap();
    sleep(100 * SECOND).await;
    assert_eq!(rig.cached(), 90);
}

#[tokio::test(start_paused = true)]
async fn disabling_pauses_it_and_enabling_resumes_it() {
    let (gate, service) = Service::gated();
    let rig = rig_with(service, &[("a", 100)]).await;
    rig.service.called(1).await;
    rig.engine.disable();
    gate.open();
    rig.service.answered(1).await;
    sleep(10 * INTERVAL).await;
    assert_eq!(rig.service.call_count(), 1);
    rig.engine.enable();
    sleep(SECOND).await;
    assert_eq!(rig.cached(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_streams_than_slots_are_caught_up_with() {
    let mut options = every(INTERVAL);
    options.max_concurrent_streams = count(2);
    let rig = Rig::with(Service::accepting().limited(10, 1000), options);
    for stream in ["a", "b", "c", "d", "e"] {
        rig.record_each(stream, numbered(50)).await;
    }
    sleep(INTERVAL + SECOND).await;
    assert_eq!(rig.cached(), 0);
}

#[tokio::test]
async fn closing_ends_it() {
    let mut options = every(SECOND / 100);
    options.max_concurrent_streams = count(1);
    let rig = Arc::new(Rig::with(Service::accepting().limited(1, 1000), options));
    rig.record_each("a", numbered(2000)).await;
    until(|| rig.service.call_count() > 3).await;
    rig.engine.close().await.unwrap();
    let calls = rig.service.call_count();
    tokio::task::yield_now().await;
    assert_eq!(rig.service.call_count(), calls);
}
