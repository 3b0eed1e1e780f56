//! Requests that hold fewer records than were read, and verdicts shared by several records.

mod common;

use common::*;
use flush_engine::Verdict;

/// The records `from..to`, as numbers.
fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("{n:03}")).collect()
}

async fn record_numbers(rig: &Rig, count: usize) {
    rig.record_each("a", numbers(0, count)).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_left_for_the_next_request_and_nothing_is_sent_out_of_order() {
    for in_flight in [1, 4] {
        let rig = Rig::tuned(Service::accepting().fitting(30), |options| {
            options.max_in_flight_per_stream = count(in_flight);
        });
        record_numbers(&rig, 100).await;
        assert_eq!(rig.flush().await.records_flushed, 30);
        assert_eq!(rig.service.accepted("a"), numbers(0, 30));
        rig.drain(MINUTE).await;
        assert_eq!(rig.service.batch_sizes(), [30, 30, 30, 10]);
        assert_eq!(rig.service.accepted("a"), numbers(0, 100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_catches_up_with_as_much_as_a_request_takes() {
    let rig = Rig::with(Service::accepting().fitting(30), every(MINUTE));
    record_numbers(&rig, 100).await;
    tokio::time::sleep(MINUTE + SECOND).await;
    assert_eq!(rig.service.batch_sizes(), [30, 30, 30]);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_sent_again_and_not_charged() {
    let rig = Rig::new(Service::replying(|call| {
        let verdict = |data: &String| match data == "001" && call.number == 0 {
            true => Verdict::Kept,
            false => Verdict::Accepted(None),
        };
        Reply::Verdicts(call.data.iter().map(verdict).collect())
    }));
    record_numbers(&rig, 3).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (2, 0));
    assert_eq!(rig.attempts("a").await, [0]);
    assert_eq!(rig.flush().await.records_flushed, 1);
    assert_eq!(rig.service.accepted("a"), ["000", "002", "001"]);
}

/// Refuses each group of ten records as a whole if it holds a bad one.
fn by_tens(call: &Call) -> Reply {
    let tens = call.data.chunks(10).flat_map(|ten| {
        let code = "ValidationException".to_owned();
        let verdict = match (ten.iter().any(|data| data == "042"), ten.len()) {
            (false, _) => Verdict::Accepted(None),
            (true, 1) => Verdict::Failed { code },
            (true, _) => Verdict::FailedTogether { code },
        };
        vec![verdict; ten.len()]
    });
    Reply::Verdicts(tens.collect())
}

#[tokio::test(start_paused = true)]
async fn records_that_were_refused_together_are_split_before_any_of_them_pays() {
    let rig = Rig::new(Service::replying(by_tens));
    record_numbers(&rig, 100).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (99, 1));
    assert_eq!(rig.attempts("a").await, [1]);
    let accepted = rig.service.accepted("a");
    let others = [numbers(0, 40), numbers(50, 100)].concat();
    assert_eq!(accepted[..90], others, "none of them is sent again");
    let of_the_ten = [numbers(40, 42), numbers(43, 50)].concat();
    assert_eq!(accepted[90..], of_the_ten);
    assert!(rig.service.call_count() <= 8);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_refused_together_with_nobody_pays() {
    let code = "ValidationException";
    let rig = Rig::new(Service::replying(move |_| {
        let code = code.to_owned();
        Reply::Verdicts(vec![
            Verdict::FailedTogether { code },
            Verdict::Accepted(None),
        ])
    }));
    rig.record_each("a", ["1", "2"]).await;
    let done = rig.flush().await;
    assert_eq!((done.records_flushed, done.records_retried), (1, 1));
    assert_eq!(rig.service.call_count(), 1);
}
