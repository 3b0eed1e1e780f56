//! Adaptive flushing: passes run when enough records wait, or wait long enough.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use flush_engine::{EngineOptions, FlushStrategy};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

const MILLI: Duration = Duration::from_millis(1);

/// Ten records, a hundred bytes, or a minute.
fn adaptive() -> EngineOptions {
    adaptive_with(MINUTE, 10, 100)
}

fn adaptive_with(max_delay: Duration, max_records: usize, max_bytes: u64) -> EngineOptions {
    let mut options = EngineOptions::DEFAULT;
    options.flush_strategy = FlushStrategy::Adaptive {
        max_delay,
        max_records,
        max_bytes,
    };
    options
}

/// Runs everything that needs no time to pass.
async fn settle_down() {
    sleep(MILLI).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_happens_before_a_batch_is_full_or_a_record_is_old() {
    let rig = Rig::with(Service::accepting(), adaptive());
    rig.record_each("a", numbered(9)).await;
    rig.record_each("b", numbered(9)).await;
    sleep(59 * SECOND).await;
    assert_eq!(rig.service.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_record_that_fills_a_batch_sends_it_at_once() {
    let rig = Rig::with(Service::accepting(), adaptive());
    rig.record_each("b", numbered(3)).await;
    rig.record_each("a", numbered(9)).await;
    settle_down().await;
    assert_eq!(rig.service.call_count(), 0);
    let begin = Instant::now();
    rig.record("a", "0009").await;
    settle_down().await;
    assert!(begin.elapsed() <= 2 * MILLI);
    assert_eq!(rig.service.accepted("a"), numbered(10));
    // The other stream waits for its own trigger.
    assert_eq!(rig.service.streams(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_fill_a_batch_too() {
    let rig = Rig::with(Service::accepting(), adaptive());
    rig.record("a", &"x".repeat(99)).await;
    settle_down().await;
    assert_eq!(rig.service.call_count(), 0);
    rig.record("a", "x").await;
    settle_down().await;
    assert_eq!(rig.service.batch_sizes(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_comes_at_once_is_sent_at_once() {
    let rig = Rig::with(Service::accepting(), adaptive());
    rig.record_at_once("a", 30).await;
    settle_down().await;
    assert_eq!(rig.service.accepted("a"), numbered(30));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_record_of_each_stream_is_sent_when_it_is_max_delay_old() {
    let rig = Rig::with(Service::accepting(), adaptive());
    let begin = Instant::now();
    rig.record("a", "1").await;
    sleep(20 * SECOND).await;
    rig.record("b", "1").await;
    sleep(20 * SECOND).await;
    rig.record("a", "2").await;
    rig.service.called(2).await;
    settle_down().await;
    let calls = rig.service.calls();
    let times = calls.iter().map(|call| (call.at - begin).as_secs());
    assert_eq!(times.collect::<Vec<_>>(), [60, 80]);
    // The records behind it are sent along.
    assert_eq!(rig.service.accepted("a"), ["1", "2"]);
    rig.record("a", "3").await;
    rig.service.called(3).await;
    assert_eq!((rig.service.calls()[2].at - begin).as_secs(), 140);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_behind_waits_until_it_is_old_itself() {
    // A request holds fewer records than are waiting.
    let rig = Rig::with(Service::accepting().limited(3, 1000), adaptive());
    let begin = Instant::now();
    rig.record_each("a", numbered(2)).await;
    sleep(30 * SECOND).await;
    rig.record("a", "later").await;
    rig.service.called(1).await;
    assert_eq!(begin.elapsed().as_secs(), 30, "three fill a request");
    rig.record_each("a", ["4", "5"]).await;
    rig.service.called(2).await;
    assert_eq!(begin.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn full_batches_are_sent_one_after_the_other_and_the_rest_waits() {
    let (gate, service) = Service::gated();
    let service = service.limited(10, 1000);
    let rig = Rig::with(service, adaptive());
    rig.record_each("a", numbered(47)).await;
    settle_down().await;
    assert_eq!((rig.service.call_count(), rig.service.in_flight()), (1, 1));
    gate.open();
    let begin = Instant::now();
    rig.service.answered(4).await;
    settle_down().await;
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    assert_eq!(rig.service.batch_sizes(), [10, 10, 10, 10]);
    assert_eq!(rig.service.accepted("a"), numbered(40));
    assert_eq!(rig.service.most_in_flight(), 1);
    assert_eq!(rig.cached(), 7);
    sleep(61 * SECOND).await;
    assert_eq!(rig.service.accepted("a"), numbered(47));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_full_at_the_latest_when_a_request_is() {
    let service = Service::accepting().limited(5, 50);
    let rig = Rig::with(service, adaptive_with(MINUTE, 1_000_000, u64::MAX));
    rig.record_each("records", numbered(5)).await;
    rig.record("bytes", &"x".repeat(50)).await;
    settle_down().await;
    assert_eq!(rig.service.call_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_cached_before_is_old() {
    let store = ScriptedStore::obedient().surviving_close();
    let first = Rig::on(store, Service::accepting(), options());
    first.record_each("a", ["1", "2"]).await;
    first.engine.close().await.unwrap();
    let begin = Instant::now();
    let rig = Rig::sharing(&first.store, &Arc::new(Service::accepting()), adaptive());
    until(|| rig.cached() == 0).await;
    assert!(begin.elapsed() < SECOND);
    assert_eq!(rig.service.accepted("a"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_while_nothing_waits() {
    let rig = Rig::with(Service::accepting(), adaptive());
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    rig.record_each("a", numbered(10)).await;
    until(|| rig.cached() == 0).await;
    settle_down().await;
    let before = rig.store.call_count();
    // This is the only sleep, so paused time jumps to its end in one step.
    sleep(365 * 24 * 3600 * SECOND).await;
    assert_eq!(rig.store.call_count(), before);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_stream_waits_like_in_a_drain_while_others_go_on() {
    let replies: [fn(&Call) -> Reply; 2] = [
        |call| call.send_back("ProvisionedThroughputExceededException", |_| true),
        |_| Reply::throttled(),
    ];
    for reply in replies {
        let mut options = adaptive();
        options.max_retries = 1_000_000;
        let service = Service::replying(move |call| match call.stream.as_str() {
            "a" => reply(call),
            _ => Reply::Accept,
        });
        let rig = Rig::with(service, options);
        let begin = Instant::now();
        rig.record_each("a", numbered(30)).await;
        for _ in 0..1500 {
            rig.record_each("b", ["1", "2"]).await;
            sleep(40 * MILLI).await;
        }
        let calls = rig.service.calls().into_iter();
        let times: Vec<_> = calls
            .filter(|call| call.stream == "a")
            .map(|call| (call.at - begin).as_secs_f64())
            .collect();
        // One minute in total. Each wait is a random share of a limit that doubles, up to 5 s.
        assert!((10..60).contains(&times.len()), "{times:?}");
        let mut longest = 0.1;
        for pair in times.windows(2) {
            assert!(pair[1] - pair[0] < longest + 0.01, "{longest}: {times:?}");
            longest = f64::min(longest * 2.0, 5.0);
        }
        assert!(rig.service.accepted("b").len() > 2900);
        // More full batches of a stream in backoff do not cause another try.
        rig.record_each("a", numbered(100)).await;
        settle_down().await;
        let tries = rig.service.streams().iter().filter(|s| *s == "a").count();
        assert!(tries <= times.len() + 1, "{tries} of {}", times.len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_though_no_batch_is_full() {
    let service = Service::replying(|call| match call.number {
        0..3 => call.send_back("InternalFailure", |data| data == "0004"),
        _ => Reply::Accept,
    });
    let rig = Rig::with(service, adaptive());
    let begin = Instant::now();
    rig.record_each("a", numbered(10)).await;
    until(|| rig.cached() == 0).await;
    assert!(begin.elapsed() < 2 * SECOND, "{:?}", begin.elapsed());
    assert_eq!(rig.service.batch_sizes(), [10, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_tried_at_times_and_its_end_is_noticed_soon() {
    let rig = Rig::with(Service::replying(|_| Reply::no_answer()), adaptive());
    for n in 0..100 {
        let name = format!("stream-{n:02}");
        rig.record_each(&name, numbered(10)).await;
    }
    sleep(300 * SECOND).await;
    // Eight streams per pass, with a pass every 2.5 seconds on average.
    let tries = rig.service.call_count();
    assert!((100..3000).contains(&tries), "{tries}");
    assert_eq!(rig.attempts("stream-00").await, [0; 10]);
    rig.service.now_replies(|_| Reply::Accept);
    let begin = Instant::now();
    until(|| rig.cached() == 0).await;
    assert!(begin.elapsed() < 11 * SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_tried_again() {
    let rig = Rig::with(Service::accepting(), adaptive());
    let mut reads = 0;
    rig.store.now_does(move |op, _| {
        reads += usize::from(op == Op::Oldest);
        match (op, reads) {
            (Op::Oldest, 1) => Step::Fail,
            (Op::Oldest, 2) => Step::Panic,
            _ => Step::Obey,
        }
    });
    rig.record_each("a", numbered(10)).await;
    let begin = Instant::now();
    until(|| rig.cached() == 0).await;
    assert!(begin.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_hangs_delays_no_other() {
    let service = Service::answering("dead", |_| Reply::Hang);
    let rig = Rig::with(service, adaptive());
    rig.record_each("dead", numbered(10)).await;
    settle_down().await;
    assert_eq!(rig.service.in_flight(), 1);
    for round in 1..=20 {
        rig.record_each("a", numbered(10)).await;
        settle_down().await;
        assert_eq!(rig.service.accepted("a").len(), 10 * round);
        rig.record("old", "x").await;
        sleep(SECOND).await;
    }
    assert_eq!(rig.service.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_had_nothing_to_send_is_asked_again_while_another_is_under_way() {
    let service = Service::answering("dead", |_| Reply::Hang);
    let rig = Rig::with(service, adaptive());
    rig.record_each("dead", numbered(10)).await;
    rig.service.called(1).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    rig.store.now_does_at(Op::Oldest, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Step::Hide
    });
    rig.record_each("a", numbered(10)).await;
    sleep(SECOND).await;
    let times = asked.load(Ordering::Relaxed);
    assert!((2..=11).contains(&times), "asked {times} times in a second");
    rig.store.now_obeys();
    rig.record("a", "0010").await;
    sleep(SECOND).await;
    assert_eq!(rig.service.in_flight(), 1);
    assert_eq!(rig.service.accepted("a"), numbered(11));
}

#[tokio::test(start_paused = true)]
async fn more_streams_than_slots_take_turns() {
    let mut options = adaptive();
    options.max_concurrent_streams = count(2);
    let service = Service::replying(|_| Reply::Accept.after(SECOND)).limited(10, 1000);
    let rig = Rig::with(service, options);
    for name in ["a", "b", "c", "d", "e"] {
        rig.record_at_once(name, 40).await;
    }
    rig.service.answered(20).await;
    assert_eq!(rig.service.most_in_flight(), 2);
    // No stream gets further ahead of another than the number of slots.
    let mut sent = std::collections::BTreeMap::new();
    for name in rig.service.streams() {
        *sent.entry(name).or_insert(0) += 1;
        let of = |name| sent.get(name).copied().unwrap_or(0);
        let mut sent_by = ["a", "b", "c", "d", "e"].map(of);
        sent_by.sort();
        assert!(sent_by[4] - sent_by[0] <= 2, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_engine_sends_nothing_by_itself_and_goes_on_when_enabled() {
    let (gate, service) = Service::gated();
    let service = service.limited(10, 1000);
    let rig = Rig::with(service, adaptive());
    rig.record_each("a", numbered(50)).await;
    rig.record("b", "x").await;
    rig.service.called(1).await;
    rig.engine.disable();
    gate.open();
    // The batch in flight finishes, and no other starts.
    sleep(3600 * SECOND).await;
    assert_eq!((rig.service.call_count(), rig.cached()), (1, 41));
    rig.engine.enable();
    settle_down().await;
    // Records that grew old meanwhile are due.
    assert_eq!(rig.cached(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_by_hand_and_a_drain_work_beside_it() {
    let rig = Rig::with(Service::accepting(), adaptive());
    rig.record("a", "1").await;
    assert_eq!(rig.flush().await.records_flushed, 1);
    rig.record("a", "2").await;
    let begin = Instant::now();
    let drained = rig.drain(SECOND).await;
    assert_eq!(drained.records_flushed, 1);
    rig.record("a", "3").await;
    rig.service.called(3).await;
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_drain_gets_its_turn_while_full_batches_wait() {
    let service = Service::replying(|_| Reply::Accept.after(SECOND)).limited(10, 1000);
    let rig = Rig::with(service, adaptive());
    rig.record_each("a", numbered(200)).await;
    rig.service.called(2).await;
    let drained = rig.drain(3600 * SECOND).await;
    let flushed = drained.records_flushed;
    assert!((170..=190).contains(&flushed), "{flushed}");
    assert_eq!(rig.service.most_in_flight(), 1);
    assert_eq!(rig.service.accepted("a"), numbered(200));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_it_after_the_batch_under_way() {
    let service = Service::replying(|_| Reply::Accept.after(SECOND)).limited(10, 1000);
    let rig = Rig::with(service, adaptive());
    rig.record_each("a", numbered(50)).await;
    rig.service.called(2).await;
    rig.engine.close().await.unwrap();
    assert_eq!(rig.service.accepted("a"), numbered(20));
    until(|| Handle::current().metrics().num_alive_tasks() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_engine_ends_it() {
    let rig = Rig::with(Service::accepting(), adaptive());
    rig.record("a", "x").await;
    drop(rig);
    until(|| Handle::current().metrics().num_alive_tasks() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn clearing_leaves_nothing_to_wait_for() {
    let rig = Rig::with(Service::accepting(), adaptive());
    rig.record_each("a", numbered(9)).await;
    rig.clear().await;
    sleep(59 * SECOND).await;
    rig.record("a", "later").await;
    let begin = Instant::now();
    rig.service.called(1).await;
    assert_eq!(begin.elapsed().as_secs(), 60);
    assert_eq!(rig.service.accepted("a"), ["later"]);
}

#[tokio::test(start_paused = true)]
async fn an_endless_delay_never_ends() {
    let options = adaptive_with(Duration::MAX, usize::MAX, u64::MAX);
    let rig = Rig::with(Service::accepting(), options);
    rig.record("a", "x").await;
    sleep(365 * 24 * 3600 * SECOND).await;
    assert_eq!(rig.service.call_count(), 0);
    assert_eq!(rig.flush().await.records_flushed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_record_is_delivered_once_while_many_record() {
    let mut options = adaptive_with(20 * MILLI, 50, 100_000);
    options.cache_max_bytes = bytes(1 << 30);
    let service = Service::replying(|_| Reply::Accept.after(MILLI)).limited(50, 100_000);
    let rig = Rig::with(service, options);
    let recording = (0..8).map(|n| {
        let engine = rig.engine.clone();
        tokio::spawn(async move {
            for data in numbered(500) {
                let stream = format!("stream-{}", n % 4);
                let record = new(&stream, &format!("{n}-{data}"));
                engine.record(vec![record]).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    });
    for task in recording.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    until(|| rig.cached() == 0).await;
    assert_eq!(rig.service.distinct_accepted().len(), 4000);
    assert_eq!(rig.service.accepted_count(), 4000);
}
