//! Enabling and disabling.

mod common;

use std::time::Duration;

use common::*;
use flush_engine::Intake;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// A service that never answers, so each pass leaves a trace.
fn keeping() -> Service {
    Service::replying(|_| Reply::no_answer())
}

async fn passes_within(rig: &Rig, time: Duration) -> usize {
    let before = rig.service.call_count();
    sleep(time).await;
    rig.service.call_count() - before
}

#[tokio::test(start_paused = true)]
async fn a_disabled_engine_drops_records_without_a_word() {
    let rig = Rig::new(Service::accepting());
    assert!(rig.engine.is_enabled());
    assert_eq!(rig.engine.intake(), Intake::Open);
    rig.record("a", "kept").await;
    rig.engine.disable();
    assert!(!rig.engine.is_enabled());
    assert_eq!(rig.engine.intake(), Intake::Disabled);
    rig.record("a", "dropped").await;
    // Even a record that could never fit is dropped silently.
    let huge = "x".repeat(6 * 1024 * 1024);
    rig.record("a", &huge).await;
    assert_eq!(rig.cached(), 1);
    rig.engine.enable();
    rig.record("a", "kept too").await;
    rig.flush().await;
    assert_eq!(rig.service.accepted("a"), ["kept", "kept too"]);
}

#[tokio::test(start_paused = true)]
async fn clones_are_enabled_and_disabled_together() {
    let rig = Rig::new(Service::accepting());
    let clone = rig.engine.clone();
    clone.disable();
    assert!(!rig.engine.is_enabled());
    rig.engine.enable();
    assert!(clone.is_enabled());
}

#[tokio::test(start_paused = true)]
async fn no_pass_runs_by_itself_while_disabled() {
    let rig = Rig::with(keeping(), every(10 * SECOND));
    rig.record("a", "x").await;
    rig.engine.disable();
    assert_eq!(passes_within(&rig, 3600 * SECOND).await, 0);
    rig.engine.enable();
    assert_eq!(passes_within(&rig, 101 * SECOND).await, 10);
}

#[tokio::test(start_paused = true)]
async fn the_interval_goes_on_where_it_was_paused() {
    let rig = Rig::with(keeping(), every(10 * SECOND));
    rig.record("a", "x").await;
    sleep(7 * SECOND).await;
    rig.engine.disable();
    sleep(100 * SECOND).await;
    rig.engine.enable();
    let enabled = Instant::now();
    rig.service.called(1).await;
    assert_eq!(enabled.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_switches_often_sees_passes_all_the_same() {
    let rig = Rig::with(keeping(), every(10 * SECOND));
    rig.record("a", "x").await;
    let before = rig.service.call_count();
    for _ in 0..100 {
        sleep(4 * SECOND).await;
        rig.engine.disable();
        sleep(SECOND).await;
        rig.engine.enable();
    }
    let passes = rig.service.call_count() - before;
    assert!((38..=40).contains(&passes), "{passes}");
}

#[tokio::test(start_paused = true)]
async fn enabling_when_enabled_changes_nothing() {
    let begin = Instant::now();
    let rig = Rig::with(keeping(), every(10 * SECOND));
    rig.record("a", "x").await;
    for _ in 0..9 {
        sleep(SECOND).await;
        rig.engine.enable();
    }
    rig.service.called(1).await;
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_pass_by_hand_while_disabled_begins_the_interval_anew() {
    let rig = Rig::with(keeping(), every(10 * SECOND));
    rig.record("a", "x").await;
    sleep(7 * SECOND).await;
    rig.engine.disable();
    rig.engine.flush().await.unwrap_err();
    sleep(100 * SECOND).await;
    rig.engine.enable();
    let enabled = Instant::now();
    rig.service.called(2).await;
    assert_eq!(enabled.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn any_calls_in_any_order_leave_exactly_one_timer() {
    let mut dice = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let rig = Rig::with(keeping(), every(10 * SECOND));
        rig.record("a", "x").await;
        let mut calls = Vec::new();
        for _ in 0..dice.usize(0..12) {
            let call = dice.u8(0..3);
            calls.push(call);
            match call {
                0 => rig.engine.enable(),
                1 => rig.engine.disable(),
                _ => sleep(Duration::from_millis(dice.u64(0..15_000))).await,
            }
        }
        if !rig.engine.is_enabled() {
            assert_eq!(passes_within(&rig, 100 * SECOND).await, 0, "{calls:?}");
        }
        rig.engine.enable();
        let passes = passes_within(&rig, 100 * SECOND).await;
        assert!((9..=10).contains(&passes), "{passes} after {calls:?}");
        let times: Vec<_> = rig.service.calls().iter().map(|call| call.at).collect();
        let times = &times[times.len() - passes..];
        let mut waits = times.windows(2).map(|pair| pair[1] - pair[0]);
        let even = waits.all(|wait| wait.as_secs() == 10);
        assert!(even, "{times:?} after {calls:?}");
        // Only the timer is running.
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
        rig.engine.close().await.unwrap();
        until(|| Handle::current().metrics().num_alive_tasks() == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_under_way_is_finished_when_the_engine_is_disabled() {
    let (gate, service) = Service::gated();
    let rig = Rig::with(service, every(SECOND));
    rig.record("a", "x").await;
    rig.service.called(1).await;
    rig.engine.disable();
    gate.open();
    until(|| rig.cached() == 0).await;
    assert_eq!(rig.service.accepted_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_timer_enabling_starts_none() {
    let rig = Rig::with(keeping(), options());
    rig.record("a", "x").await;
    rig.engine.disable();
    rig.engine.enable();
    assert_eq!(passes_within(&rig, 3600 * SECOND).await, 0);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn switching_from_many_threads_leaves_one_working_timer() {
    let rig = Rig::with(Service::accepting(), every(Duration::from_millis(20)));
    let switching = (0..8).map(|n| {
        let engine = rig.engine.clone();
        tokio::spawn(async move {
            for round in 0..500 {
                if (round + n) % 2 == 0 {
                    engine.enable()
                } else {
                    engine.disable()
                }
                tokio::task::yield_now().await;
            }
        })
    });
    for task in switching.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    rig.engine.enable();
    rig.record_all(vec![new("a", "x")]).await;
    until(|| rig.cached() == 0).await;
    assert_eq!(rig.service.accepted_count(), 1);
    assert_eq!(rig.service.most_in_flight(), 1);
}
