//! When an attempt is charged. Every `flush` charges; automatic passes and drains charge at most
//! once in 30 s.

mod common;

use std::sync::{Arc, Mutex};

use common::{Reply, Rig, SECOND, Service, every, options};
use flush_engine::{DiscardHandler, EngineOptions, FlushStrategy};
use tokio::time::{Instant, sleep};

/// A service that sends back every record, like a hot shard.
fn hot() -> Service {
    Service::replying(|call| call.send_back("ProvisionedThroughputExceededException", |_| true))
}

/// A service that does not have the stream.
fn without_stream() -> Service {
    Service::replying(|_| Reply::Refuse(Some("ResourceNotFoundException"), 400))
}

fn adaptive() -> EngineOptions {
    let mut options = options();
    options.flush_strategy = FlushStrategy::Adaptive {
        max_delay: SECOND / 10,
        max_records: 10,
        max_bytes: 1000,
    };
    options
}

#[tokio::test(start_paused = true)]
async fn automatic_passes_charge_a_record_at_most_once_in_30_seconds() {
    for service in [hot, without_stream] {
        for options in [every(SECOND), adaptive()] {
            let rig = Rig::with(service(), options);
            rig.record("a", "x").await;
            sleep(29 * SECOND).await;
            assert!(rig.service.call_count() > 5, "it is hardly tried");
            assert_eq!(rig.attempts("a").await, [1]);
            sleep(10 * SECOND).await;
            assert_eq!(rig.attempts("a").await, [2]);
            rig.engine.close().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn six_attempts_last_two_and_a_half_minutes_by_any_strategy() {
    for mut options in [every(SECOND), every(30 * SECOND), adaptive()] {
        let given_up: Arc<Mutex<Option<(Instant, u32)>>> = Arc::default();
        let heard = Arc::clone(&given_up);
        options.on_discard = Some(DiscardHandler::new(move |record| {
            *heard.lock().unwrap() = Some((Instant::now(), record.attempts));
        }));
        let rig = Rig::with(hot(), options);
        rig.record("a", "x").await;
        rig.service.called(1).await;
        let first = Instant::now();
        common::until(|| given_up.lock().unwrap().is_some()).await;
        let (at, attempts) = given_up.lock().unwrap().take().unwrap();
        assert_eq!(attempts, 6);
        assert!(at - first >= 150 * SECOND, "{:?}", at - first);
        assert!(at - first <= 250 * SECOND, "{:?}", at - first);
        rig.engine.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn drains_charge_a_record_at_most_once_in_30_seconds() {
    let rig = Rig::new(hot());
    rig.record("a", "x").await;
    let start = Instant::now();
    while start.elapsed() < 28 * SECOND {
        let done = rig.engine.drain(SECOND).await.unwrap();
        assert_eq!(done.records_discarded, 0);
        sleep(SECOND).await;
    }
    assert!(rig.service.call_count() >= 5, "it is hardly tried");
    assert_eq!(rig.attempts("a").await, [1]);
    sleep(SECOND * 10).await;
    let done = rig.engine.drain(SECOND * 10).await.unwrap();
    assert_eq!(done.records_retried, 1);
    assert_eq!(rig.attempts("a").await, [2]);
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_for_free_is_neither_counted_nor_given_up() {
    let rig = Rig::tuned(hot(), |options| options.max_retries = 1);
    rig.record("a", "x").await;
    assert_eq!(rig.engine.drain(SECOND).await.unwrap().records_retried, 1);
    sleep(10 * SECOND).await;
    let free = rig.engine.drain(SECOND).await.unwrap();
    assert_eq!((free.records_retried, free.records_discarded), (0, 0));
    assert_eq!(rig.service.call_count(), 2);
    sleep(20 * SECOND).await;
    assert_eq!(rig.engine.drain(SECOND).await.unwrap().records_discarded, 1);
}

#[tokio::test(start_paused = true)]
async fn every_flush_charges() {
    let rig = Rig::new(hot());
    rig.record("a", "x").await;
    rig.engine.drain(SECOND).await.unwrap();
    for attempts in 2..=5 {
        assert_eq!(rig.engine.flush().await.unwrap().records_retried, 1);
        assert_eq!(rig.attempts("a").await, [attempts]);
    }
    assert_eq!(rig.engine.flush().await.unwrap().records_discarded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flush_puts_off_the_next_charge_of_a_drain() {
    let rig = Rig::new(hot());
    rig.record("a", "x").await;
    rig.engine.flush().await.unwrap();
    sleep(29 * SECOND).await;
    rig.engine.drain(SECOND).await.unwrap();
    assert_eq!(rig.attempts("a").await, [1]);
    sleep(SECOND).await;
    rig.engine.drain(10 * SECOND).await.unwrap();
    assert_eq!(rig.attempts("a").await, [2]);
}
