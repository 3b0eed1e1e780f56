//! How many batches of one stream are in flight at a time.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::*;
use flush_engine::{EngineError, EngineOptions, FlushEngine, FlushStrategy};
use record_cache::{
    Amount, MemoryStore, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement,
    StoreError, StoreStats, StreamName,
};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep, timeout};

fn in_flight(batches: usize) -> EngineOptions {
    let mut options = options();
    options.max_in_flight_per_stream = count(batches);
    options
}

/// Sends two records per request.
fn in_twos(script: impl FnMut(&Call) -> Reply + Send + 'static) -> Service {
    Service::replying(script).limited(2, 100)
}

/// How many requests were in flight when each one began.
fn beside(rig: &Rig, takes: Duration) -> Vec<usize> {
    let calls = rig.service.calls();
    let begun = |call: &Call| {
        let earlier = calls.iter().take(call.number);
        earlier.filter(|other| other.at + takes > call.at).count()
    };
    calls.iter().map(begun).collect()
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_one_batch_of_a_stream_at_a_time_and_in_order() {
    let rig = Rig::new(in_twos(|_| Reply::Accept.after(SECOND)));
    rig.record_each("a", numbered(9)).await;
    let begin = Instant::now();
    assert_eq!(rig.drain(MINUTE).await.records_flushed, 9);
    assert_eq!(begin.elapsed().as_secs(), 5);
    assert_eq!(rig.service.most_in_flight(), 1);
    assert_eq!(rig.service.accepted("a"), numbered(9));
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_as_many_batches_of_each_stream_as_it_may() {
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), in_flight(4));
    rig.record_each("a", numbered(24)).await;
    rig.record_each("b", numbered(24)).await;
    let begin = Instant::now();
    assert_eq!(rig.drain(MINUTE).await.records_flushed, 48);
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert_eq!(rig.service.most_in_flight(), 8);
    assert_eq!(rig.service.call_count(), 24);
}

#[tokio::test(start_paused = true)]
async fn a_flush_sends_one_batch_of_each_stream_all_the_same() {
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), in_flight(4));
    rig.record_each("a", numbered(8)).await;
    assert_eq!(rig.flush().await.records_flushed, 2);
    assert_eq!(rig.service.call_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn adaptive_flushing_sends_full_batches_side_by_side_too() {
    let mut options = in_flight(3);
    options.flush_strategy = FlushStrategy::Adaptive {
        max_delay: MINUTE,
        max_records: 2,
        max_bytes: 100,
    };
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), options);
    rig.record_at_once("a", 13).await;
    rig.service.answered(6).await;
    sleep(SECOND).await;
    assert_eq!((rig.service.most_in_flight(), rig.cached()), (3, 1));
    assert_eq!(rig.service.batch_sizes(), [2; 6]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_until_the_others_are_answered() {
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), in_flight(4));
    rig.record_each("a", numbered(3)).await;
    let drain = rig.draining(MINUTE);
    rig.service.called(1).await;
    sleep(SECOND / 2).await;
    assert_eq!(rig.service.call_count(), 1);
    rig.record("a", "0003").await;
    assert_eq!(drain.await.unwrap().unwrap().records_flushed, 4);
    assert_eq!(rig.service.batch_sizes(), [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_next_batch_is_read_while_one_is_under_way() {
    let (gate, service) = Service::gated();
    let rig = Rig::new(service.limited(2, 100));
    rig.record_each("a", numbered(6)).await;
    let reads = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&reads);
    rig.store.now_does(move |op, _| {
        *counted.lock().unwrap() += usize::from(op == Op::Oldest);
        Step::Obey
    });
    let drain = rig.draining(MINUTE);
    rig.service.called(1).await;
    sleep(SECOND).await;
    assert_eq!(*reads.lock().unwrap(), 2);
    gate.open();
    drain.await.unwrap().unwrap();
    assert_eq!(rig.service.accepted("a"), numbered(6));
}

/// How many batches were sent while none could be settled.
#[expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
async fn sent_without_settling(batches: usize) -> usize {
    let gate = Gate::closed();
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), in_flight(batches));
    rig.record_each("a", numbered(40)).await;
    rig.store.now_waits_at(Op::Settle, &gate);
    let drain = rig.draining(MINUTE);
    sleep(10 * SECOND).await;
    let sent = rig.service.call_count();
    gate.open();
    assert_eq!(drain.await.unwrap().unwrap().records_flushed, 40);
    assert_eq!(rig.service.accepted_count(), 40);
    sent
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_under_way_until_the_store_knows_what_became_of_it() {
    assert_eq!(sent_without_settling(1).await, 1);
    assert_eq!(sent_without_settling(3).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_handed_to_the_store_before_the_next_request_is_made() {
    let log: Arc<Mutex<Vec<&str>>> = Arc::default();
    let sends = Arc::clone(&log);
    let settles = Arc::clone(&log);
    let rig = Rig::new(in_twos(move |_| {
        sends.lock().unwrap().push("send");
        Reply::Accept.after(SECOND)
    }));
    rig.record_each("a", numbered(6)).await;
    rig.store.now_does(move |op, _| {
        if op == Op::Settle {
            settles.lock().unwrap().push("settle");
            return Step::Dawdle(10);
        }
        Step::Obey
    });
    rig.drain(MINUTE).await;
    let expected = ["send", "settle", "send", "settle", "send", "settle"];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_clear_that_waits_for_a_settlement_holds_up_neither_it_nor_the_next_read() {
    let gates = [Gate::closed(), Gate::closed()];
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), in_flight(2));
    rig.record_each("a", numbered(20)).await;
    let settled: Arc<Mutex<usize>> = Arc::default();
    let settles = Arc::clone(&settled);
    let mut behind = gates.clone().into_iter();
    rig.store.now_does(move |op, _| match op {
        Op::Settle => {
            *settles.lock().unwrap() += 1;
            behind.next().map_or(Step::Obey, Step::Behind)
        }
        _ => Step::Obey,
    });
    let drain = rig.draining(MINUTE);
    until(|| *settled.lock().unwrap() == 2).await;
    // Waits for both settlements, and makes the next read wait.
    let clear = rig.clearing();
    sleep(SECOND).await;
    let [first, second] = gates;
    first.open();
    sleep(SECOND).await;
    second.open();
    let ended = async { (drain.await.unwrap(), clear.await.unwrap()) };
    let (drained, cleared) = timeout(MINUTE, ended).await.expect("they wait forever");
    assert_eq!(drained.unwrap().records_flushed, 4);
    assert_eq!((cleared.unwrap().records_cleared, rig.cached()), (16, 0));
}

/// A store that makes one call at a time, like one with a single connection to a database.
#[derive(Debug, Default)]
struct OneAtATime {
    store: MemoryStore,
    connection: tokio::sync::Mutex<()>,
}

impl OneAtATime {
    async fn connection(&self) -> MutexGuard<'_, ()> {
        let connection = self.connection.lock().await;
        tokio::task::yield_now().await;
        connection
    }
}

#[async_trait]
impl RecordStore for OneAtATime {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        let _connection = self.connection().await;
        self.store.append(records).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let _connection = self.connection().await;
        self.store.oldest(stream, after, limits).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        let _connection = self.connection().await;
        self.store.settle(settlement).await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        let _connection = self.connection().await;
        self.store.clear().await
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_makes_one_call_at_a_time_is_drained_too() {
    for batches in 1..5 {
        let service = Arc::new(in_twos(|_| Reply::Accept.after(SECOND)));
        let store = Arc::new(OneAtATime::default());
        let engine = FlushEngine::start(store, service.clone(), in_flight(batches)).unwrap();
        let records = numbered(40).into_iter().map(|data| new("a", &data));
        engine.record(records.collect()).await.unwrap();
        let drained = timeout(MINUTE, engine.drain(MINUTE)).await;
        let drained = drained.expect("it waits forever").unwrap();
        assert_eq!(drained.records_flushed, 40);
        assert_eq!(service.accepted_count(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_what_is_side_by_side_until_something_goes_through() {
    let replies: [fn(&Call) -> Reply; 3] = [
        |call| call.send_back("InternalFailure", |data| data == call.data[0]),
        |_| Reply::throttled(),
        |_| Reply::Refuse(Some("ResourceNotFoundException"), 400),
    ];
    for reply in replies {
        let rig = Rig::with(
            in_twos(move |call| match call.number {
                1 | 4 => reply(call).after(SECOND),
                _ => Reply::Accept.after(SECOND),
            }),
            in_flight(4),
        );
        rig.record_each("a", numbered(40)).await;
        let done = rig.drain(MINUTE).await;
        if rig.cached() > 0 {
            // The batch sent alone made no progress, which ended the drain.
            assert_eq!(rig.service.call_count(), 5);
            rig.drain(MINUTE).await;
        }
        assert!(done.records_flushed >= 6);
        assert_eq!(rig.cached(), 0);
        assert_eq!(rig.service.distinct_accepted().len(), 40);
        assert_eq!(rig.service.accepted_count(), 40);
        // Four at once, one of which failed; then one at a time, the first of which failed; then
        // four again.
        let beside = beside(&rig, SECOND);
        assert_eq!(beside[..10], [0, 1, 2, 3, 0, 0, 0, 1, 2, 3], "{beside:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_succeeds_beside_a_failure_does_not_hide_it() {
    let rig = Rig::with(
        in_twos(|call| match call.number {
            1 => Reply::throttled().after(SECOND),
            _ => Reply::Accept.after(2 * SECOND),
        }),
        in_flight(4),
    );
    rig.record_each("a", numbered(20)).await;
    rig.drain(MINUTE).await;
    assert_eq!(rig.service.accepted_count(), 20);
    let beside = beside(&rig, 2 * SECOND);
    assert_eq!(beside[..8], [0, 1, 2, 3, 0, 0, 1, 2], "{beside:?}");
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_others_are_finished_and_counted() {
    let rig = Rig::with(
        in_twos(|call| match call.number {
            1 => Reply::no_answer().after(SECOND),
            _ => Reply::Accept.after(2 * SECOND),
        }),
        in_flight(4),
    );
    rig.record_each("a", numbered(40)).await;
    let done = unknown(rig.engine.drain(MINUTE).await);
    assert_eq!(done.records_flushed, 6);
    assert_eq!((rig.service.call_count(), rig.cached()), (4, 34));
    assert_eq!(rig.drain(MINUTE).await.records_flushed, 34);
    assert_eq!(rig.service.accepted_count(), 40);
}

#[tokio::test(start_paused = true)]
async fn one_bad_record_is_found_while_others_are_under_way() {
    let mut options = in_flight(3);
    options.max_retries = 0;
    let service = Service::replying(|call| {
        let reply = call.refuse_if("ValidationException", |data| data == "0011");
        reply.after(SECOND)
    });
    let rig = Rig::with(service.limited(8, 1000), options);
    rig.record_each("a", numbered(40)).await;
    let done = rig.drain(MINUTE).await;
    assert_eq!((done.records_flushed, done.records_discarded), (39, 1));
    assert_eq!(rig.service.accepted_count(), 39);
    assert!(rig.service.most_in_flight() <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_halved_once_by_time_outs_side_by_side() {
    let rig = Rig::with(
        Service::replying(|_| Reply::timed_out().after(SECOND)).limited(8, 1000),
        in_flight(4),
    );
    rig.record_each("a", vec!["x".repeat(100); 40]).await;
    rig.engine.drain(MINUTE).await.unwrap_err();
    rig.service.now_replies(|_| Reply::Accept.after(SECOND));
    rig.drain(MINUTE).await;
    let sizes = rig.service.batch_sizes();
    assert_eq!(sizes[..6], [8, 8, 8, 8, 4, 8], "{sizes:?}");
    assert_eq!(rig.service.accepted_count(), 40);
}

#[tokio::test(start_paused = true)]
async fn clearing_while_batches_are_under_way_leaves_the_accounting_exact() {
    let mut options = in_flight(3);
    options.cache_max_bytes = bytes(640);
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), options);
    rig.record_each("a", numbered(20)).await;
    let drain = rig.draining(MINUTE);
    rig.service.called(5).await;
    let cleared = rig.clear().await;
    rig.record_each("a", ["new"]).await;
    let flushed = drain.await.unwrap().unwrap().records_flushed;
    assert_eq!((cleared + flushed, rig.cached()), (21, 0));
    rig.assert_all_room_is_free(640).await;
}

/// Random answers to several batches in flight at once.
#[tokio::test(start_paused = true)]
async fn whatever_happens_the_accounting_is_exact() {
    for seed in 0..60 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let batches = dice.usize(1..5);
        let mut options = in_flight(batches);
        options.cache_max_bytes = bytes(16 * 1024);
        options.max_retries = dice.u32(0..3);
        options.max_concurrent_streams = count(dice.usize(1..4));
        let given_up = Discards::default();
        options.on_discard = given_up.handler();
        let mut replies = dice.fork();
        let service = in_twos(move |call| {
            let reply = match replies.u32(0..12) {
                0 => Reply::throttled(),
                1 => Reply::no_answer(),
                2 => call.send_all_back(),
                3 => call.send_back("InternalFailure", |data| data.ends_with('3')),
                4 => Reply::Refuse(Some("ValidationException"), 400),
                _ => Reply::Accept,
            };
            reply.after(Duration::from_millis(replies.u64(1..30)))
        });
        let rig = Rig::with(service, options);
        let mut recorded = HashSet::new();
        let mut done = (0, 0);
        for round in 0..8 {
            for name in ["a", "b", "c"] {
                for data in numbered(dice.usize(0..9)) {
                    let data = format!("{round}-{data}");
                    rig.record(name, &data).await;
                    recorded.insert(name.to_owned() + &data);
                }
            }
            let data = match rig.engine.drain(SECOND).await {
                Ok(data) => data,
                Err(EngineError::Unknown { flushed, .. }) => *flushed.unwrap(),
                Err(error) => panic!("{error}"),
            };
            done.0 += data.records_flushed;
            done.1 += data.records_discarded;
        }
        rig.service.now_replies(|_| Reply::Accept);
        while rig.cached() > 0 {
            let data = rig.drain(MINUTE).await;
            done.0 += data.records_flushed;
        }
        let given_up = given_up.streams().into_iter().zip(given_up.texts());
        let given_up: Vec<_> = given_up.map(|(name, data)| name + &data).collect();
        let accepted = rig.service.distinct_accepted().into_iter();
        let accepted: HashSet<_> = accepted.map(|(name, data)| name + &data).collect();
        assert_eq!(done, (accepted.len(), given_up.len()), "seed {seed}");
        assert_eq!(rig.service.accepted_count(), accepted.len(), "seed {seed}");
        assert_eq!(accepted.len() + given_up.len(), recorded.len());
        let ends: HashSet<_> = accepted.into_iter().chain(given_up).collect();
        assert_eq!(ends, recorded, "seed {seed}");
        rig.assert_all_room_is_free(16 * 1024).await;
    }
}

#[tokio::test(start_paused = true)]
async fn streams_take_turns_and_each_sends_as_many_batches_as_it_may() {
    let mut options = in_flight(2);
    options.max_concurrent_streams = count(2);
    let rig = Rig::with(in_twos(|_| Reply::Accept.after(SECOND)), options);
    for name in ["a", "b", "c"] {
        rig.record_each(name, numbered(12)).await;
    }
    assert_eq!(rig.drain(MINUTE).await.records_flushed, 36);
    assert!(rig.service.most_in_flight() <= 4);
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for name in rig.service.streams() {
        *sent.entry(name).or_default() += 1;
        let of = |name| sent.get(name).copied().unwrap_or(0);
        let mut sent_by = ["a", "b", "c"].map(of);
        sent_by.sort();
        assert!(sent_by[2] - sent_by[0] <= 4, "{sent:?}");
    }
}
