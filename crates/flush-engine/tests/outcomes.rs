//! What each outcome of a request does to its records: which are charged, which are sent on.

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::*;
use flush_engine::{EngineError, FlushData, Verdict};

/// One stream at a time, ordered by name.
fn one_by_one() -> flush_engine::EngineOptions {
    let mut options = options();
    options.max_concurrent_streams = count(1);
    options
}

fn skipped(data: &FlushData) -> Vec<(&str, Option<&str>)> {
    let skipped = data.skipped_streams.iter();
    let skipped = skipped.map(|stream| (stream.stream_name.as_str(), stream.code.as_deref()));
    skipped.collect()
}

#[tokio::test(start_paused = true)]
async fn accepted_records_are_deleted_and_failed_ones_pay_and_stay() {
    let rig = Rig::with(
        Service::replying(|call| call.send_back("InternalFailure", |data| data == "2")),
        one_by_one(),
    );
    rig.record_each("a", ["1", "2", "3"]).await;
    rig.record_each("b", ["4"]).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (3, 1));
    assert_eq!(done.records_discarded, 0);
    assert!(done.skipped_streams.is_empty());
    assert_eq!(rig.attempts("a").await, [1]);

    rig.service.now_replies(|_| Reply::Accept);
    assert_eq!(rig.flush().await.records_flushed, 1);
    assert_eq!(rig.service.calls()[2].attempts, [1]);
    assert_eq!(rig.service.accepted("a"), ["1", "3", "2"]);
}

#[tokio::test(start_paused = true)]
async fn any_code_of_a_record_counts_as_a_failure() {
    let codes = [
        "ProvisionedThroughputExceededException",
        "InternalFailure",
        "ServiceUnavailableException",
        "",
        "Unheard-of",
    ];
    for code in codes {
        let rig = Rig::new(Service::replying(move |call| {
            call.send_back(code, |_| true)
        }));
        rig.record("a", "x").await;
        let done = rig.flush().await;
        assert_eq!((done.records_flushed, done.records_retried), (0, 1));
        assert_eq!(rig.attempts("a").await, [1], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_charged_undivided_and_skipped_while_others_go_on() {
    for code in ["ResourceNotFoundException", "InvalidSourceException"] {
        let rig = Rig::with(
            Service::answering("a", move |_| Reply::Refuse(Some(code), 400)),
            one_by_one(),
        );
        rig.record_each("a", numbered(3)).await;
        rig.record("b", "x").await;
        let done = rig.flush().await;
        assert_eq!((done.records_flushed, done.records_retried), (1, 3));
        assert_eq!(skipped(&done), [("a", Some(code))]);
        assert_eq!(done.skipped_streams[0].message, "the service said no");
        assert_eq!(rig.service.streams(), ["a", "b"], "{code}");
        assert_eq!(rig.attempts("a").await, [1, 1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_or_will_not_charges_nobody() {
    let refusals = [
        (Some("ProvisionedThroughputExceededException"), 400),
        (Some("LimitExceededException"), 400),
        (Some("ServiceUnavailableException"), 503),
        (Some("InternalFailure"), 500),
        (Some("AccessDeniedException"), 400),
        (Some("ExpiredTokenException"), 400),
        (Some("UnrecognizedClientException"), 400),
        (Some("InvalidSignatureException"), 403),
        (Some("RequestExpired"), 400),
        (Some("KMSAccessDeniedException"), 400),
        (Some("InvalidKMSResourceException"), 400),
        (Some("Unheard-of"), 400),
        (None, 500),
        (None, 503),
        (None, 599),
        (None, 429),
    ];
    for (code, status) in refusals {
        let rig = Rig::with(
            Service::answering("a", move |_| Reply::Refuse(code, status)),
            one_by_one(),
        );
        rig.record_each("a", numbered(3)).await;
        rig.record("b", "x").await;
        let done = rig.flush().await;
        assert_eq!((done.records_flushed, done.records_retried), (1, 0));
        assert_eq!(skipped(&done), [("a", code)], "{code:?} {status}");
        assert_eq!(rig.service.streams(), ["a", "b"]);
        assert_eq!(rig.attempts("a").await, [0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_aborts_the_pass_and_charges_nobody() {
    let scripts: [fn() -> Reply; 10] = [
        Reply::no_answer,
        Reply::timed_out,
        || Reply::Hang,
        || Reply::Panic,
        || Reply::Refuse(None, 200),
        || Reply::Refuse(None, 403),
        || Reply::Refuse(None, 404),
        || Reply::Verdicts(Vec::new()),
        || Reply::Verdicts(vec![Verdict::Accepted(None); 2]),
        || Reply::Verdicts(vec![Verdict::Accepted(None); 4]),
    ];
    for (at, script) in scripts.into_iter().enumerate() {
        let rig = Rig::with(Service::answering("b", move |_| script()), one_by_one());
        rig.record("a", "x").await;
        rig.record_each("b", numbered(3)).await;
        rig.record("c", "x").await;
        let done = unknown(rig.engine.flush().await);
        assert_eq!((done.records_flushed, done.records_retried), (1, 0));
        assert!(done.skipped_streams.is_empty());
        assert_eq!(rig.service.streams(), ["a", "b"], "script {at}");
        assert_eq!(rig.attempts("b").await, [0, 0, 0], "script {at}");

        rig.service.now_replies(|_| Reply::Accept);
        let done = rig.drain(MINUTE).await;
        assert_eq!(done.records_flushed, 4);
        assert_eq!(rig.cached(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_are_finished_and_counted_when_a_pass_is_aborted() {
    let rig = Rig::tuned(
        Service::replying(|call| match call.stream.as_str() {
            "a" => Reply::no_answer().after(SECOND),
            "b" => Reply::Accept.after(5 * SECOND),
            "c" => call.send_all_back().after(9 * SECOND),
            _ => Reply::Accept,
        }),
        |options| options.max_concurrent_streams = count(3),
    );
    for name in ["a", "b", "c", "d"] {
        rig.record(name, "x").await;
    }
    let done = unknown(rig.engine.flush().await);
    assert_eq!((done.records_flushed, done.records_retried), (1, 1));
    assert_eq!(rig.service.streams(), ["a", "b", "c"]);
    assert_eq!(rig.cached(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_batch_being_halved_stops_when_another_stream_aborts_the_pass() {
    let rig = Rig::new(Service::replying(|call| match call.stream.as_str() {
        "a" => Reply::no_answer().after(3 * SECOND / 2),
        _ => call
            .refuse_if("InvalidArgumentException", |data| data == "0000")
            .after(SECOND),
    }));
    rig.record("a", "x").await;
    rig.record_each("b", numbered(8)).await;
    let done = unknown(rig.engine.flush().await);
    // Stream a's request, stream b's whole batch, and the half in flight when the pass was aborted.
    assert_eq!(rig.service.call_count(), 3);
    assert_eq!((done.records_flushed, done.records_retried), (0, 0));
    assert_eq!(rig.attempts("b").await, [0; 8]);
}

#[tokio::test(start_paused = true)]
async fn no_part_is_sent_in_the_moment_in_which_another_stream_aborts_the_pass() {
    let rig = Rig::new(Service::replying(|call| match call.stream.as_str() {
        "a" => Reply::no_answer().after(SECOND),
        _ => Reply::Refuse(Some(BAD), 400).after(SECOND),
    }));
    rig.record("a", "x").await;
    rig.record_each("b", numbered(8)).await;
    unknown(rig.engine.flush().await);
    assert_eq!(rig.service.streams(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_is_the_one_that_is_told() {
    let rig = Rig::new(Service::replying(|call| match call.stream.as_str() {
        "a" => Reply::timed_out().after(2 * SECOND),
        _ => Reply::no_answer().after(SECOND),
    }));
    rig.record("a", "x").await;
    rig.record("b", "x").await;
    let error = rig.engine.flush().await.unwrap_err();
    assert_eq!(error.to_string(), "the connection was reset");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_aborts_the_pass() {
    let rig = Rig::with(Service::accepting(), one_by_one());
    for name in ["a", "b", "c"] {
        rig.record(name, "x").await;
    }
    rig.store.now_fails_at_calls(Op::Oldest, 1..2);
    let done = storage(rig.engine.flush().await);
    assert_eq!(done.records_flushed, 1);
    assert_eq!(rig.service.streams(), ["a"]);
    // Streams that were not reached come first.
    assert_eq!(rig.flush().await.records_flushed, 2);
    assert_eq!(rig.service.streams(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_settle_keeps_the_records_unpaid() {
    let rig = Rig::with(
        Service::replying(|call| call.send_back("InternalFailure", |data| data == "0001")),
        one_by_one(),
    );
    rig.record_each("a", numbered(3)).await;
    rig.record("b", "x").await;
    rig.store.now_fails_at(Op::Settle);
    let done = storage(rig.engine.flush().await);
    assert_eq!(done, FlushData::default());
    assert_eq!(rig.service.streams(), ["a"]);
    assert_eq!(rig.attempts("a").await, [0, 0, 0]);
    rig.store.now_obeys();
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_is_an_error_and_no_more() {
    for failing in [Op::Append, Op::Oldest, Op::Settle, Op::Clear, Op::Close] {
        let rig = Rig::new(Service::accepting());
        rig.record("a", "x").await;
        rig.store.now_does_at(failing, || Step::Panic);
        let recorded = rig.engine.record(vec![new("a", "y")]).await;
        assert_eq!(recorded.is_err(), failing == Op::Append);
        let flushed = rig.engine.flush().await;
        assert_eq!(flushed.is_err(), matches!(failing, Op::Oldest | Op::Settle));
        assert_eq!(rig.engine.clear().await.is_err(), failing == Op::Clear);
        assert_eq!(rig.engine.close().await.is_err(), failing == Op::Close);
        assert!(rig.engine.close().await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_no_room_whichever_call_of_the_store_fails() {
    for failing in 0..24 {
        let store = ScriptedStore::scripted(move |_, call| match call == failing {
            true => Step::Fail,
            false => Step::Obey,
        });
        let service = Service::replying(|call| {
            call.send_back("InternalFailure", |data| data == "0001" && call.number < 2)
        });
        let rig = Rig::on(store, service.limited(2, 100), bounded(400));
        let mut stored = HashSet::new();
        for data in numbered(6) {
            if rig.engine.record(vec![new("a", &data)]).await.is_ok() {
                stored.insert(("a".to_owned(), data));
            }
        }
        for _ in 0..8 {
            let _ = rig.engine.flush().await;
        }
        assert_eq!(rig.service.distinct_accepted(), stored, "{failing}");
        rig.store.now_obeys();
        rig.assert_all_room_is_free(400).await;
    }
}

// Bisecting.

const BAD: &str = "InvalidArgumentException";

#[tokio::test(start_paused = true)]
async fn one_bad_record_of_500_takes_no_other_along() {
    for bad in ["0000", "0249", "0250", "0499"] {
        let rig = Rig::new(Service::refusing(BAD, move |data| data == bad));
        rig.record_each("a", numbered(500)).await;
        let done = rig.flush().await;
        assert_eq!((done.records_flushed, done.records_retried), (499, 1));
        assert_eq!(skipped(&done), [("a", Some(BAD))]);
        let calls = rig.service.call_count();
        assert!(calls <= 32, "{calls}");
        let mut others = numbered(500);
        others.retain(|data| data != bad);
        let mut accepted = rig.service.accepted("a");
        if bad == "0000" {
            // One record was sent ahead of its turn, as a witness for the stream.
            accepted.sort();
        }
        assert_eq!(accepted, others);
        let left = rig.store.read_all("a").await;
        assert_eq!(left.len(), 1);
        assert_eq!((&left[0].data[..], left[0].attempts), (bad.as_bytes(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_the_service_cannot_read_is_halved() {
    let refusals = [
        (Some("InvalidArgumentException"), 400),
        (Some("ValidationException"), 400),
        (Some("SerializationException"), 400),
        (None, 413),
    ];
    for (code, status) in refusals {
        let poison = "0003".to_owned();
        let service = Service::replying(move |call| match call.data.contains(&poison) {
            true => Reply::Refuse(code, status),
            false => Reply::Accept,
        });
        let rig = Rig::new(service);
        rig.record_each("a", numbered(8)).await;
        let done = rig.flush().await;
        let counts = (done.records_flushed, done.records_retried);
        assert_eq!(counts, (7, 1), "{code:?}");
        assert_eq!(rig.service.batch_sizes(), [8, 4, 2, 2, 1, 1, 4]);
        assert_eq!(skipped(&done), [("a", code)]);
    }
}

#[tokio::test(start_paused = true)]
async fn several_bad_records_pay_alone() {
    let bad = ["0100", "0101", "0103"];
    let rig = Rig::new(Service::refusing(BAD, move |data| bad.contains(&data)));
    rig.record_each("a", numbered(500)).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (497, 3));
    assert!(rig.service.call_count() <= 32);
    assert_eq!(rig.attempts("a").await, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn scattered_bad_records_are_found_within_a_few_passes_and_nobody_else_pays() {
    let bad = |data: &str| data.parse::<u32>().unwrap() % 100 == 42;
    let rig = Rig::new(Service::refusing(BAD, bad));
    rig.record_each("a", numbered(500)).await;
    for _ in 0..6 {
        rig.flush().await;
    }
    assert_eq!(rig.service.accepted_count(), 495);
    for call in rig.service.calls() {
        for (data, attempts) in call.data.iter().zip(call.attempts) {
            assert!(attempts == 0 || bad(data), "{data} paid {attempts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_one_batch_are_bounded_and_the_untested_remainder_is_unpaid() {
    let bad = |data: &str| data.parse::<u32>().unwrap() % 3 == 1;
    let rig = Rig::new(Service::refusing(BAD, bad));
    rig.record_each("a", numbered(500)).await;
    let done = rig.flush().await;
    assert_eq!(rig.service.call_count(), 32);
    assert!(done.records_flushed > 0 && done.records_retried > 0);
    let left = rig.store.read_all("a").await;
    assert_eq!(left.len(), 500 - done.records_flushed);
    let paid = left.iter().filter(|record| record.attempts == 1);
    let paid: Vec<_> = paid.map(text).collect();
    let calls = rig.service.calls().into_iter().map(|call| call.data);
    let alone = calls.filter(|data| data.len() == 1).flatten();
    let refused_alone: Vec<_> = alone.filter(|data| bad(data)).collect();
    assert_eq!(paid, refused_alone);
    assert_eq!(done.records_retried, paid.len());
}

#[tokio::test(start_paused = true)]
async fn two_refused_alone_before_anything_was_accepted_accuse_the_stream_and_all_pay() {
    let rig = Rig::new(Service::refusing(BAD, |_| true));
    rig.record_each("a", numbered(500)).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (0, 500));
    assert_eq!(rig.attempts("a").await, [1; 500]);
    assert!(rig.service.call_count() < 32);
    let sizes = rig.service.batch_sizes().into_iter();
    assert_eq!(sizes.filter(|&size| size == 1).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_bad_records_in_front_does_not_take_the_others_along() {
    let bad = |data: &str| data < "0004";
    let mut options = options();
    options.max_retries = 0;
    for _ in 0..20 {
        // Occasionally the witness is bad too.
        let rig = Rig::with(Service::refusing(BAD, bad), options.clone());
        rig.record_each("a", numbered(500)).await;
        let done = rig.flush().await;
        if rig.service.accepted_count() > 0 {
            assert_eq!((done.records_flushed, done.records_discarded), (496, 4));
            return;
        }
    }
    panic!("the stream was accused each time");
}

#[tokio::test(start_paused = true)]
async fn records_refused_before_are_tried_after_the_others() {
    let bad = ["0001", "0002", "0003"];
    let rig = Rig::new(Service::refusing(BAD, move |data| bad.contains(&data)));
    rig.record_each("a", numbered(4)).await;
    rig.flush().await;
    assert_eq!(rig.attempts("a").await, [1; 3]);
    let fresh = numbered(9).split_off(4);
    rig.record_each("a", &fresh).await;
    let before = rig.service.call_count();
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (5, 3));
    let second = rig.service.calls().split_off(before);
    // First in cache order, then only the records that were not refused before.
    assert_eq!(second[0].data, numbered(9)[1..]);
    assert_eq!(second[1].data, fresh);
}

#[tokio::test(start_paused = true)]
async fn two_refused_alone_after_something_was_accepted_pay_alone() {
    let rig = Rig::new(Service::refusing(BAD, |data| data > "0001"));
    rig.record_each("a", numbered(4)).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn accepted_halves_are_done_at_once() {
    let gate = Gate::closed();
    let behind = gate.clone();
    let rig = Rig::new(Service::replying(move |call| match call.number {
        0 => Reply::Refuse(Some(BAD), 400),
        1 => Reply::Accept,
        _ => Reply::Accept.behind(&behind),
    }));
    rig.record_each("a", numbered(10)).await;
    let pass = rig.flushing();
    rig.service.called(3).await;
    assert_eq!(rig.cached(), 5);
    gate.open();
    assert_eq!(pass.await.unwrap().unwrap().records_flushed, 10);
}

/// The whole batch is refused, the first half is accepted, and `reply` answers the rest.
async fn after_an_accepted_half(reply: fn() -> Reply) -> (Rig, Result<FlushData, EngineError>) {
    let rig = Rig::new(Service::replying(move |call| match call.number {
        0 => Reply::Refuse(Some(BAD), 400),
        1 => Reply::Accept,
        _ => reply(),
    }));
    rig.record_each("a", numbered(8)).await;
    let result = rig.engine.flush().await;
    assert_eq!(rig.service.batch_sizes(), [8, 4, 4]);
    (rig, result)
}

#[tokio::test(start_paused = true)]
async fn throttled_in_the_middle_the_remainder_is_unpaid() {
    let (rig, result) = after_an_accepted_half(Reply::throttled).await;
    let done = result.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (4, 0));
    let throttled = "ProvisionedThroughputExceededException";
    assert_eq!(skipped(&done), [("a", Some(throttled))]);
    assert_eq!(rig.attempts("a").await, [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_vanishes_in_the_middle_charges_what_was_sent() {
    let (rig, result) =
        after_an_accepted_half(|| Reply::Refuse(Some("ResourceNotFoundException"), 400)).await;
    let done = result.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (4, 4));
    assert_eq!(rig.attempts("a").await, [1; 4]);
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_sent_to_a_stream_that_is_gone() {
    let rig = Rig::new(Service::replying(|call| match call.number {
        0 => Reply::Refuse(Some(BAD), 400),
        1 => Reply::Refuse(Some("ResourceNotFoundException"), 400),
        _ => Reply::Accept,
    }));
    rig.record_each("a", numbered(8)).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (0, 4));
    assert_eq!(rig.service.batch_sizes(), [8, 4]);
    assert_eq!(rig.attempts("a").await, [1, 1, 1, 1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_in_the_middle_the_accepted_half_is_counted() {
    let scripts: [fn() -> Reply; 3] = [Reply::no_answer, || Reply::Hang, || Reply::Panic];
    for script in scripts {
        let (rig, result) = after_an_accepted_half(script).await;
        assert_eq!(unknown(result).records_flushed, 4);
        assert_eq!(rig.attempts("a").await, [0; 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn records_sent_back_in_the_middle_pay_once() {
    let rig = Rig::new(Service::replying(|call| {
        if call.data.len() > 2 || call.data.contains(&"0003".to_owned()) {
            Reply::Refuse(Some(BAD), 400)
        } else {
            call.send_all_back()
        }
    }));
    rig.record_each("a", numbered(4)).await;
    let done = rig.flush().await;
    // Records 0, 1 and 2 were sent back; 3 was refused alone.
    assert_eq!((done.records_flushed, done.records_retried), (0, 4));
    assert_eq!(rig.attempts("a").await, [1; 4]);
}

#[tokio::test(start_paused = true)]
async fn those_who_paid_before_the_stream_was_accused_pay_once() {
    let rig = Rig::new(Service::replying(|call| {
        if call.data == ["0000", "0001"] {
            call.send_all_back()
        } else {
            Reply::Refuse(Some(BAD), 400)
        }
    }));
    rig.record_each("a", numbered(8)).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (0, 8));
    assert_eq!(rig.attempts("a").await, [1; 8]);
}

#[tokio::test(start_paused = true)]
async fn closing_in_the_middle_sends_no_further_part() {
    let rig = Rig::new(Service::replying(|call| match call.number {
        0 => Reply::Refuse(Some(BAD), 400),
        _ => Reply::Accept.after(SECOND),
    }));
    rig.record_each("a", numbered(8)).await;
    let pass = rig.flushing();
    rig.service.called(2).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    rig.engine.close().await.unwrap();
    assert_eq!(pass.await.unwrap().unwrap().records_flushed, 4);
    assert_eq!(rig.service.batch_sizes(), [8, 4]);
    assert_eq!(rig.cached(), 4);
}
