//! One pass: what it sends, in which order, and how much at a time.

mod common;

use std::time::Duration;

use common::*;
use flush_engine::{EngineError, FlushData};
use tokio::time::Instant;

fn flushed(records: usize) -> FlushData {
    let mut data = FlushData::default();
    data.records_flushed = records;
    data
}

#[tokio::test(start_paused = true)]
async fn a_pass_over_an_empty_cache_does_nothing() {
    let rig = Rig::new(Service::accepting());
    assert_eq!(rig.flush().await, FlushData::default());
    assert_eq!(rig.service.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pass_sends_one_batch_of_each_stream_oldest_first() {
    let rig = Rig::new(Service::accepting().limited(3, 1000));
    rig.record_each("a", numbered(7)).await;
    rig.record_each("b", ["x", "y"]).await;

    assert_eq!(rig.flush().await, flushed(5));
    assert_eq!(rig.service.accepted("a"), ["0000", "0001", "0002"]);
    assert_eq!(rig.service.accepted("b"), ["x", "y"]);
    assert_eq!(rig.service.call_count(), 2);
    assert_eq!(rig.cached(), 4);

    assert_eq!(rig.flush().await, flushed(3));
    assert_eq!(rig.flush().await, flushed(1));
    assert_eq!(rig.service.accepted("a"), numbered(7));
    assert_eq!(rig.cached(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_in_bytes_with_keys_counted() {
    let rig = Rig::new(Service::accepting().limited(500, 10));
    let keyed = |data: &str| {
        let mut record = new("a", data);
        record.key = Some("ké".to_owned());
        record
    };
    // Two records of 3 key bytes and 2 data bytes fill a request; one more byte does not fit.
    let records = vec![keyed("ab"), keyed("cd"), keyed("ef"), keyed("ghi")];
    rig.record_all(records).await;
    while rig.cached() > 0 {
        rig.flush().await;
    }
    assert_eq!(rig.service.batch_sizes(), [2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn records_of_one_call_stay_in_order_and_join_their_streams() {
    let rig = Rig::new(Service::accepting());
    let records = vec![new("a", "1"), new("b", "2"), new("a", "3"), new("b", "4")];
    rig.record_all(records).await;
    rig.flush().await;
    assert_eq!(rig.service.accepted("a"), ["1", "3"]);
    assert_eq!(rig.service.accepted("b"), ["2", "4"]);
}

#[tokio::test(start_paused = true)]
async fn streams_are_sent_side_by_side_up_to_the_limit() {
    for (limit, passes_take) in [(1, 10), (3, 4), (8, 2), (100, 1)] {
        let rig = Rig::tuned(
            Service::replying(|_| Reply::Accept.after(SECOND)),
            |options| options.max_concurrent_streams = count(limit),
        );
        for n in 0..10 {
            rig.record(&format!("stream-{n}"), "x").await;
        }
        let begin = Instant::now();
        assert_eq!(rig.flush().await, flushed(10));
        assert_eq!(rig.service.most_in_flight(), limit.min(10));
        assert_eq!(begin.elapsed().as_secs(), passes_take);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_hangs_does_not_delay_the_others() {
    let rig = Rig::tuned(
        Service::replying(|call| match call.stream.as_str() {
            "a" => Reply::Hang,
            _ => Reply::Accept.after(Duration::from_millis(10)),
        }),
        |options| options.max_concurrent_streams = count(2),
    );
    rig.record("a", "x").await;
    for n in 0..50 {
        rig.record(&format!("b{n}"), "x").await;
    }
    let begin = Instant::now();
    let pass = rig.flushing();
    until(|| rig.service.accepted_count() == 50).await;
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    assert_eq!(rig.service.in_flight(), 1);
    let done = unknown(pass.await.unwrap());
    assert_eq!(done.records_flushed, 50);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_ends_at_the_time_out_and_charges_nobody() {
    let rig = Rig::new(Service::replying(|_| Reply::Hang));
    rig.record("a", "x").await;
    let begin = Instant::now();
    let Err(EngineError::Unknown { message, .. }) = rig.engine.flush().await else {
        panic!("no answer is an error");
    };
    assert!(message.contains("30s"), "{message}");
    assert_eq!(begin.elapsed(), 30 * SECOND);
    assert_eq!(rig.attempts("a").await, [0]);
    assert_eq!(rig.service.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endless_request_timeout_is_one() {
    let week = 7 * 24 * 3600 * SECOND;
    let service = Service::replying(move |_| Reply::Accept.after(week));
    let rig = Rig::tuned(service, |options| options.request_timeout = Duration::MAX);
    rig.record("a", "x").await;
    assert_eq!(rig.flush().await, flushed(1));
}

#[tokio::test(start_paused = true)]
async fn a_second_flush_returns_at_once_whoever_runs_the_first_pass() {
    for origin in ["flush", "timer", "drain"] {
        let (gate, service) = Service::gated();
        let options = match origin {
            "timer" => every(SECOND),
            _ => options(),
        };
        let rig = Rig::with(service, options);
        rig.record("a", "x").await;
        let engine = rig.engine.clone();
        let first = tokio::spawn(async move {
            match origin {
                "flush" => engine.flush().await.map(|data| data.records_flushed),
                "drain" => engine.drain(MINUTE).await.map(|data| data.records_flushed),
                _ => Ok(1),
            }
        });
        rig.service.called(1).await;
        let begin = Instant::now();
        let second = rig.flush().await;
        assert!(second.flush_in_progress, "{origin}");
        assert_eq!(second.records_flushed, 0);
        assert_eq!(begin.elapsed(), Duration::ZERO, "{origin}");
        gate.open();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        rig.service.answered(1).await;
        until(|| rig.cached() == 0).await;
        assert!(!rig.flush().await.flush_in_progress, "{origin}");
    }
}

#[tokio::test(start_paused = true)]
async fn flush_works_while_disabled() {
    let rig = Rig::new(Service::accepting());
    rig.record("a", "x").await;
    rig.engine.disable();
    assert_eq!(rig.flush().await, flushed(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_during_a_pass_waits_for_the_next_one() {
    let (gate, service) = Service::gated();
    let rig = Rig::new(service);
    rig.record("a", "1").await;
    let pass = rig.flushing();
    rig.service.called(1).await;
    rig.record("a", "2").await;
    rig.record("b", "3").await;
    gate.open();
    assert_eq!(pass.await.unwrap().unwrap(), flushed(1));
    assert_eq!(rig.cached(), 2);
    assert_eq!(rig.flush().await, flushed(2));
}

#[tokio::test(start_paused = true)]
async fn a_pass_begins_with_the_streams_that_the_last_one_did_not_reach() {
    let rig = Rig::tuned(Service::replying(|_| Reply::no_answer()), |options| {
        options.max_concurrent_streams = count(1)
    });
    for name in ["a", "b", "c", "d"] {
        rig.record(name, "x").await;
    }
    for _ in 0..6 {
        rig.engine.flush().await.unwrap_err();
    }
    assert_eq!(rig.service.streams(), ["a", "b", "c", "d", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn streams_left_by_a_drain_at_its_deadline_come_first_too() {
    let rig = Rig::tuned(
        Service::replying(|_| Reply::Accept.after(SECOND)).limited(1, 1000),
        |options| options.max_concurrent_streams = count(1),
    );
    for name in ["a", "b", "c"] {
        rig.record_each(name, ["1", "2"]).await;
    }
    rig.drain(3 * SECOND / 2).await;
    rig.flush().await;
    assert_eq!(rig.service.streams(), ["a", "b", "c", "a", "b"]);
}

/// Records of 100 bytes each.
async fn heavy(rig: &Rig, stream: &str, records: usize) {
    for _ in 0..records {
        rig.record(stream, &"x".repeat(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_halved_by_time_outs_and_doubled_by_answers() {
    let rig = Rig::new(Service::replying(|_| Reply::timed_out()).limited(500, 1000));
    heavy(&rig, "a", 40).await;
    for _ in 0..6 {
        rig.engine.flush().await.unwrap_err();
    }
    rig.service.now_replies(|_| Reply::Accept);
    for _ in 0..6 {
        rig.flush().await;
    }
    // 1000 bytes, 500, 250, 125, 50 (one record is always sent), 50; 50, 100, 200, 400, 800, 1000.
    assert_eq!(
        rig.service.batch_sizes(),
        [10, 5, 2, 1, 1, 1, 1, 1, 2, 4, 8, 10]
    );
    assert_eq!(rig.attempts("a").await, vec![0; 40 - 26]);
}

#[tokio::test(start_paused = true)]
async fn the_engines_own_time_out_halves_too() {
    let rig = Rig::new(Service::replying(|_| Reply::Hang).limited(500, 1000));
    heavy(&rig, "a", 10).await;
    for _ in 0..3 {
        rig.engine.flush().await.unwrap_err();
    }
    assert_eq!(rig.service.batch_sizes(), [10, 5, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_of_one_stream_is_not_one_of_others() {
    let service = Service::answering("slow", |_| Reply::timed_out());
    let rig = Rig::tuned(service.limited(500, 1000), |options| {
        options.max_concurrent_streams = count(1)
    });
    heavy(&rig, "slow", 10).await;
    rig.engine.flush().await.unwrap_err();
    heavy(&rig, "other", 10).await;
    rig.engine.flush().await.unwrap_err();
    assert_eq!(rig.service.streams(), ["slow", "other", "slow"]);
    assert_eq!(rig.service.batch_sizes(), [10, 10, 5]);
}

#[tokio::test(start_paused = true)]
async fn only_a_success_doubles_and_only_a_time_out_halves() {
    let rig = Rig::new(Service::replying(|_| Reply::no_answer()).limited(500, 1000));
    heavy(&rig, "a", 20).await;
    let pass = async |reply: fn() -> Reply| {
        rig.service.now_replies(move |_| reply());
        let _ = rig.engine.flush().await;
    };
    pass(Reply::no_answer).await;
    pass(|| Reply::Panic).await;
    pass(Reply::timed_out).await;
    pass(Reply::throttled).await;
    pass(Reply::no_answer).await;
    pass(|| Reply::Verdicts(Vec::new())).await;
    pass(|| Reply::Accept).await;
    pass(|| Reply::Accept).await;
    assert_eq!(rig.service.batch_sizes(), [10, 10, 10, 5, 5, 5, 5, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_pass_goes_on_when_its_future_is_dropped() {
    let (gate, service) = Service::gated();
    let rig = Rig::new(service);
    rig.record("a", "x").await;
    assert!(cancel_after(3, rig.engine.flush()).await.is_none());
    rig.service.called(1).await;
    assert!(rig.flush().await.flush_in_progress);
    gate.open();
    until(|| rig.cached() == 0).await;
    assert_eq!(rig.service.accepted_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_is_not_polled_holds_nobody_up() {
    let rig = Rig::new(Service::replying(|_| Reply::Accept.after(SECOND)));
    rig.record("a", "x").await;
    let mut forgotten = Box::pin(rig.engine.flush());
    assert!(poll_once(forgotten.as_mut()).await.is_pending());
    until(|| rig.cached() == 0).await;
    rig.record("a", "y").await;
    assert_eq!(rig.flush().await, flushed(1));
    rig.engine.close().await.unwrap();
    assert_eq!(forgotten.await.unwrap(), flushed(1));
}

#[tokio::test(start_paused = true)]
async fn a_flush_dropped_at_any_point_leaves_the_accounting_exact() {
    for polls in 0..40 {
        let service = Service::replying(|call| {
            call.send_back("Throttled", |data| data == "0001")
                .after(Duration::from_millis(1))
        });
        let rig = Rig::on(ScriptedStore::dawdling(), service, bounded(640));
        rig.record_each("a", numbered(3)).await;
        rig.record_each("b", numbered(2)).await;
        let done = cancel_after(polls, rig.engine.flush()).await;
        // Whatever the dropped flush did, the next pass delivers the rest.
        while rig.flush().await.flush_in_progress {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(rig.service.distinct_accepted().len(), 3, "{polls} {done:?}");
        assert_eq!(rig.service.accepted_count(), 3, "sent twice: {polls}");
        rig.service.now_replies(|_| Reply::Accept);
        rig.drain(MINUTE).await;
        assert_eq!(rig.service.accepted_count(), 5);
        rig.assert_all_room_is_free(640).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_gives_more_than_it_was_asked_for_makes_no_larger_request() {
    let store = ScriptedStore::scripted(|_, _| Step::IgnoreLimits);
    let rig = Rig::on(store, Service::accepting().limited(2, 1000), options());
    rig.record_each("a", numbered(5)).await;
    rig.drain(MINUTE).await;
    assert_eq!(rig.service.batch_sizes(), [2, 2, 1]);
    assert_eq!(rig.service.accepted("a"), numbered(5));
}
