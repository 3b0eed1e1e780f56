//! When passes run automatically.

mod common;

use std::time::Duration;

use common::*;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// A service that sends back every record after a delay, so each pass leaves a trace.
fn keeping(takes: Duration) -> Service {
    Service::replying(move |call| call.send_all_back().after(takes))
}

/// When requests arrived, in seconds since `begin`.
fn seconds(rig: &Rig, begin: Instant) -> Vec<f64> {
    let calls = rig.service.calls().into_iter();
    let times = calls.map(|call| (call.at - begin).as_secs_f64().round());
    times.collect()
}

#[tokio::test(start_paused = true)]
async fn a_pass_runs_one_interval_after_the_last_one_ended() {
    let begin = Instant::now();
    let rig = Rig::with(keeping(3 * SECOND), every(10 * SECOND));
    rig.record("a", "x").await;
    rig.service.called(4).await;
    assert_eq!(seconds(&rig, begin), [10.0, 23.0, 36.0, 49.0]);
}

#[tokio::test(start_paused = true)]
async fn a_pass_by_hand_moves_the_next_one() {
    let begin = Instant::now();
    let rig = Rig::with(keeping(3 * SECOND), every(10 * SECOND));
    rig.record("a", "x").await;
    sleep(4 * SECOND).await;
    rig.flush().await;
    rig.service.called(3).await;
    assert_eq!(seconds(&rig, begin), [4.0, 17.0, 30.0]);
}

#[tokio::test(start_paused = true)]
async fn the_passes_of_a_drain_move_the_next_one() {
    let begin = Instant::now();
    let rig = Rig::with(keeping(3 * SECOND), every(10 * SECOND));
    rig.record("a", "x").await;
    sleep(4 * SECOND).await;
    rig.drain(MINUTE).await;
    rig.service.called(2).await;
    assert_eq!(seconds(&rig, begin), [4.0, 17.0]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_ends_during_a_pass_counts_from_the_end_of_that() {
    let begin = Instant::now();
    let (gate, service) = Service::replying_behind(Call::send_all_back);
    let rig = Rig::with(service, every(10 * SECOND));
    rig.record("a", "x").await;
    sleep(9 * SECOND).await;
    let by_hand = rig.flushing();
    sleep(16 * SECOND).await;
    assert_eq!(rig.service.most_in_flight(), 1);
    gate.open();
    assert_eq!(by_hand.await.unwrap().unwrap().records_retried, 1);
    rig.service.called(3).await;
    assert_eq!(seconds(&rig, begin), [9.0, 35.0, 45.0]);
    assert_eq!(rig.service.most_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_strategy_means_no_task_and_no_pass() {
    let rig = Rig::with(Service::accepting(), options());
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    rig.record("a", "x").await;
    sleep(30 * 24 * 3600 * SECOND).await;
    assert_eq!(rig.service.call_count(), 0);
    assert_eq!(rig.cached(), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_interval_is_one_task() {
    let _rig = Rig::with(Service::accepting(), every(SECOND));
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    sleep(10 * SECOND).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
}

#[tokio::test(start_paused = true)]
async fn errors_do_not_stop_the_timer() {
    let begin = Instant::now();
    let rig = Rig::with(
        Service::replying(|call| match call.number {
            0 => Reply::no_answer(),
            1 => Reply::Panic,
            2 => Reply::Hang,
            _ => Reply::Accept,
        }),
        every(10 * SECOND),
    );
    let mut reads = 0;
    rig.store.now_does(move |op, _| {
        reads += usize::from(op == Op::Oldest);
        match (op, reads) {
            (Op::Oldest, 4) => Step::Fail,
            (Op::Oldest, 5) => Step::Panic,
            _ => Step::Obey,
        }
    });
    rig.record("a", "x").await;
    until(|| rig.cached() == 0).await;
    // The hanging request took 30 seconds, and two passes could not read.
    assert_eq!(seconds(&rig, begin), [10.0, 20.0, 30.0, 90.0]);
}

#[tokio::test(start_paused = true)]
async fn an_endless_interval_never_ends() {
    let far = Duration::from_secs(u64::MAX / 2);
    for interval in [Duration::MAX, Duration::MAX / 2, far] {
        let rig = Rig::with(Service::accepting(), every(interval));
        rig.record("a", "x").await;
        sleep(365 * 24 * 3600 * SECOND).await;
        assert_eq!(rig.service.call_count(), 0);
        rig.engine.disable();
        sleep(SECOND).await;
        rig.engine.enable();
        sleep(SECOND).await;
        assert_eq!(rig.flush().await.records_flushed, 1);
        sleep(SECOND).await;
        rig.engine.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_delivered_by_the_timer_alone() {
    let rig = Rig::with(Service::accepting(), every(30 * SECOND));
    let begin = Instant::now();
    rig.record("a", "x").await;
    until(|| rig.cached() == 0).await;
    assert_eq!(begin.elapsed().as_secs(), 30);
    rig.record("a", "y").await;
    until(|| rig.cached() == 0).await;
    assert_eq!(begin.elapsed().as_secs(), 60);
}

/// The number of requests within `intervals` intervals of 10 s.
async fn tries(rig: &Rig, intervals: u32) -> usize {
    let before = rig.service.call_count();
    sleep(intervals * 10 * SECOND + SECOND / 10).await;
    rig.service.call_count() - before
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_turned_away_is_tried_less_and_less_often() {
    let refusals: [fn() -> Reply; 3] = [
        Reply::throttled,
        || Reply::Refuse(None, 503),
        || Reply::Refuse(Some("ExpiredTokenException"), 400),
    ];
    for refusal in refusals {
        let rig = Rig::with(Service::replying(move |_| refusal()), every(10 * SECOND));
        rig.record("a", "x").await;
        let early = tries(&rig, 4).await;
        assert!(early >= 1, "{early}");
        tries(&rig, 200).await;
        // Each wait is a random share of at most 300 s: 15 intervals on average.
        let late = tries(&rig, 900).await;
        assert!((30..=120).contains(&late), "{late}");
        let times: Vec<_> = rig.service.calls().iter().map(|call| call.at).collect();
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest.unwrap() <= 310 * SECOND, "{longest:?}");
        assert_eq!(rig.attempts("a").await, [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_makes_the_timer_try_every_interval_again() {
    let service = Service::replying(|_| Reply::throttled());
    let rig = Rig::with(service, every(10 * SECOND));
    rig.record("a", "x").await;
    tries(&rig, 500).await;
    rig.service.now_replies(|_| Reply::Accept);
    assert_eq!(rig.flush().await.records_flushed, 1);
    rig.record("a", "y").await;
    assert_eq!(tries(&rig, 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_an_answer_is_tried_every_interval() {
    for reply in [Reply::no_answer, Reply::timed_out] {
        let rig = Rig::with(Service::replying(move |_| reply()), every(10 * SECOND));
        rig.record("a", "x").await;
        assert_eq!(tries(&rig, 50).await, 50);
        rig.service.now_replies(|_| Reply::Accept);
        tries(&rig, 1).await;
        assert_eq!(rig.cached(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_back_is_tried_every_interval() {
    let mut options = every(10 * SECOND);
    options.max_retries = 1000;
    let rig = Rig::with(keeping(Duration::ZERO), options);
    rig.record("a", "x").await;
    assert_eq!(tries(&rig, 50).await, 50);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_turned_away_holds_no_other_up() {
    let service = Service::answering("a", |_| Reply::throttled());
    let rig = Rig::with(service, every(10 * SECOND));
    rig.record("a", "x").await;
    for _ in 0..100 {
        rig.record("b", "x").await;
        tries(&rig, 1).await;
        assert_eq!(rig.cached(), 1);
    }
    let streams = rig.service.streams();
    assert!(streams.iter().filter(|name| *name == "a").count() < 50);
}

#[tokio::test(start_paused = true)]
async fn a_flush_or_a_drain_tries_what_the_timer_leaves_alone() {
    let service = Service::replying(|_| Reply::throttled());
    let rig = Rig::with(service, every(10 * SECOND));
    rig.record("a", "x").await;
    tries(&rig, 500).await;
    for _ in 0..20 {
        assert_eq!(rig.flush().await.skipped_streams.len(), 1);
    }
    let before = rig.service.call_count();
    rig.drain(MINUTE).await;
    assert_eq!(rig.service.call_count(), before + 1);
}
