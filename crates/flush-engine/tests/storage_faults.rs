//! A store that fails once, on any call, or for a while.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use flush_engine::{EngineError, EngineOptions, FlushEngine, OverflowPolicy};
use record_cache::{FailAfter, MemoryStore, ReadLimits, RecordStore};

const STREAMS: [&str; 3] = ["a", "b", "c"];
const RECORDS: usize = 30;
/// Sent back by the service each time.
const HOPELESS: &str = "07";
/// Sent back by the service the first time.
const LATE: &str = "11";

/// An engine on a store that fails at some calls, and the fate of each record.
struct Trial {
    engine: FlushEngine,
    service: Arc<Service>,
    store: Arc<FailAfter<MemoryStore>>,
    discarded: Discards,
    recorded: Vec<String>,
}

impl Trial {
    fn new(passing: u64, failing: u64, mut options: EngineOptions) -> Self {
        let discarded = Discards::default();
        options.on_discard = discarded.handler();
        options.max_retries = 1;
        let service = Arc::new(
            Service::replying(|call| {
                let is_first = call.attempts.iter().all(|&attempts| attempts == 0);
                call.send_back("InternalFailure", |data| {
                    data.ends_with(HOPELESS) || is_first && data.ends_with(LATE)
                })
            })
            .limited(7, 1000),
        );
        let store = Arc::new(FailAfter::new(MemoryStore::new(), passing).failures(failing));
        let engine = FlushEngine::start(store.clone(), service.clone(), options);
        Self {
            engine: engine.unwrap(),
            service,
            store,
            discarded,
            recorded: Vec::new(),
        }
    }

    async fn record(&mut self) {
        for n in 0..RECORDS {
            let data = format!("{}-{n:02}", STREAMS[n % STREAMS.len()]);
            match self.engine.record(vec![new(&data[..1], &data)]).await {
                Ok(_) => self.recorded.push(data),
                Err(error) => assert!(matches!(error, EngineError::Storage { .. }), "{error}"),
            }
        }
    }

    async fn cached(&self) -> Vec<String> {
        let all = ReadLimits::new(count(usize::MAX), bytes(u64::MAX));
        let mut cached = Vec::new();
        for name in STREAMS {
            let name = stream(name);
            let read = self.store.store().oldest(&name, None, all).await.unwrap();
            cached.extend(read.records.iter().map(text));
        }
        cached
    }

    /// Checks that every accepted record was delivered, given up or is still cached, and that the
    /// engine's counters match the store.
    async fn assert_nothing_is_lost(&self, what: &str) {
        let mut fates: BTreeMap<&str, usize> = BTreeMap::new();
        let cached = self.cached().await;
        let delivered = self.service.distinct_accepted();
        let discarded = self.discarded.texts();
        let ends = delivered.iter().map(|(_, data)| data).chain(&discarded);
        for data in ends.chain(&cached) {
            *fates.entry(data).or_default() += 1;
        }
        for data in &self.recorded {
            assert!(fates.contains_key(data.as_str()), "{what}: {data} is lost");
        }
        let invented = fates
            .keys()
            .find(|data| !self.recorded.iter().any(|known| known == *data));
        assert_eq!(invented, None, "{what}: never recorded");
        let stats = self.engine.cache_stats();
        assert_eq!(stats.records, cached.len(), "{what}");
        let size: usize = cached.iter().map(String::len).sum();
        assert_eq!(stats.bytes, size as u64, "{what}");
    }

    /// Checks that every record is delivered or given up once the store works again.
    async fn assert_it_goes_on(&self, what: &str) {
        for _ in 0..10 {
            self.engine.drain(MINUTE).await.unwrap();
            // A drain charges a record at most once in 30 s.
            tokio::time::sleep(30 * SECOND).await;
        }
        self.assert_nothing_is_lost(what).await;
        assert_eq!(self.engine.cache_stats().records, 0, "{what}");
        let hopeless = |data: &&String| data.ends_with(HOPELESS);
        let given_up = self.discarded.texts();
        let expected = self.recorded.iter().filter(hopeless).count();
        let are_hopeless = given_up.iter().all(|data| hopeless(&data));
        assert!(are_hopeless, "{what}: {given_up:?}");
        assert!(given_up.len() >= expected, "{what}: {given_up:?}");
    }
}

/// A cache of this size that drops its oldest records.
fn dropping(max_bytes: u64) -> EngineOptions {
    let mut options = bounded(max_bytes);
    options.overflow_policy = OverflowPolicy::DropOldest;
    options
}

#[tokio::test(start_paused = true)]
async fn whichever_call_of_the_store_fails_nothing_is_lost_and_the_next_flush_goes_on() {
    for failing in [1, 3] {
        for passing in 0.. {
            let what = format!("{failing} failures after {passing} calls");
            let mut trial = Trial::new(passing, failing, options());
            trial.record().await;
            let mut aborted = 0;
            for _ in 0..4 {
                match trial.engine.flush().await {
                    Ok(_) => {}
                    Err(EngineError::Storage { .. }) => aborted += 1,
                    Err(error) => unreachable!("{what}: {error}"),
                }
            }
            trial.assert_nothing_is_lost(&what).await;
            if trial.store.calls() <= passing {
                assert_eq!(aborted, 0, "{what}");
                assert!(passing > RECORDS as u64 + 6, "the store was hardly asked");
                break;
            }
            let refused = RECORDS - trial.recorded.len();
            assert!(refused + aborted > 0, "{what}: nobody was told");
            trial.assert_it_goes_on(&what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_outlives_every_failure_of_the_store() {
    for passing in 0..60 {
        let what = format!("10 failures after {passing} calls");
        let mut trial = Trial::new(passing, 10, every(SECOND));
        trial.record().await;
        tokio::time::sleep(2 * MINUTE).await;
        trial.assert_nothing_is_lost(&what).await;
        assert_eq!(trial.engine.cache_stats().records, 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_make_room_are_told_of_though_the_store_fails_at_it() {
    for passing in 0..80 {
        let what = format!("2 failures after {passing} calls");
        // Room for 160 / 16 = 10 records.
        let mut trial = Trial::new(passing, 2, dropping(160));
        trial.record().await;
        trial.assert_nothing_is_lost(&what).await;
        let cached = trial.engine.cache_stats().records;
        assert!((8..=10).contains(&cached), "{what}: {cached}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_store_is_an_error_of_the_call_and_no_more() {
    for panics in [Op::Append, Op::Oldest, Op::Settle, Op::Clear] {
        let rig = Rig::with(Service::accepting(), dropping(160));
        rig.record("a", &"x".repeat(160)).await;
        rig.store.now_does_at(panics, || Step::Panic);
        let failed = match panics {
            Op::Clear => rig.engine.clear().await.map(drop),
            // Makes room first, which takes a read and a settlement.
            _ => rig.engine.record(vec![new("a", "y")]).await.map(drop),
        };
        assert!(is_storage(&failed), "{panics:?}: {failed:?}");
        rig.store.now_obeys();
        rig.record("a", "z").await;
        rig.engine.drain(SECOND).await.unwrap();
        assert!(rig.service.accepted("a").contains(&"z".to_owned()));
        rig.engine.close().await.unwrap();
    }
}
