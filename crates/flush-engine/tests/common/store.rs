use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use record_cache::{
    Amount, MemoryStore, NewRecord, ReadBatch, ReadLimits, Record, RecordId, RecordStore,
    Settlement, StoreError, StoreStats, StreamName,
};
use tokio::task::yield_now;

use super::{Gate, bytes, count, stream};

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Append,
    Oldest,
    Settle,
    Clear,
    Close,
}

/// What the store makes of it.
pub(crate) enum Step {
    Obey,
    /// Does nothing, says so.
    Fail,
    Panic,
    /// Obeys, but with this many rests before and after.
    Dawdle(usize),
    /// Obeys once the gate is open.
    Behind(Gate),
    /// Reads back everything, but drops the oldest record as damaged before.
    Damage,
    /// Reads back more than it was asked for.
    IgnoreLimits,
    /// Reads back nothing, whatever it counts.
    Hide,
}

type Script = Box<dyn FnMut(Op, usize) -> Step + Send>;

/// A store in memory that fails where it is told to.
pub(crate) struct ScriptedStore {
    store: MemoryStore,
    script: Mutex<Script>,
    calls: AtomicUsize,
    survives_close: bool,
    closed: AtomicBool,
}

impl ScriptedStore {
    pub(crate) fn obedient() -> Self {
        Self::scripted(|_, _| Step::Obey)
    }

    /// `script` is asked at each call, with the number of calls before.
    pub(crate) fn scripted(script: impl FnMut(Op, usize) -> Step + Send + 'static) -> Self {
        Self {
            store: MemoryStore::new(),
            script: Mutex::new(Box::new(script)),
            calls: AtomicUsize::new(0),
            survives_close: false,
            closed: AtomicBool::new(false),
        }
    }

    /// Rests at each call, before and after it is done.
    pub(crate) fn dawdling() -> Self {
        Self::scripted(|_, _| Step::Dawdle(2))
    }

    /// Can be used by another engine after it was closed.
    pub(crate) fn surviving_close(mut self) -> Self {
        self.survives_close = true;
        self
    }

    pub(crate) fn now_obeys(&self) {
        self.now_does(|_, _| Step::Obey);
    }

    pub(crate) fn now_does(&self, script: impl FnMut(Op, usize) -> Step + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// How often anything was asked of it.
    pub(crate) fn call_count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) async fn read_all(&self, name: &str) -> Vec<Record> {
        let all = ReadLimits::new(count(usize::MAX), bytes(u64::MAX));
        let read = self.store.oldest(&stream(name), None, all).await;
        read.unwrap().records
    }

    async fn before(&self, op: Op) -> Result<Step, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let step = (self.script.lock().unwrap())(op, call);
        match &step {
            Step::Fail => {
                return Err(StoreError::unavailable_because("told to fail"));
            }
            Step::Panic => panic!("the store was told to panic"),
            Step::Behind(gate) => gate.passed().await,
            _ => {}
        }
        rest(&step).await;
        Ok(step)
    }
}

async fn rest(step: &Step) {
    if let Step::Dawdle(rests) = step {
        for _ in 0..*rests {
            yield_now().await;
        }
    }
}

#[async_trait]
impl RecordStore for ScriptedStore {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        let step = self.before(Op::Append).await?;
        let done = self.store.append(records).await;
        rest(&step).await;
        done
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let step = self.before(Op::Oldest).await?;
        if let Step::Hide = step {
            return Ok(ReadBatch::default());
        }
        let mut damaged = Amount::default();
        if let Step::Damage = step {
            let one = ReadLimits::new(count(1), bytes(1));
            let head = self.store.oldest(stream, None, one).await?.records;
            let ids = head.iter().map(|record| record.id);
            damaged = self
                .store
                .settle(Settlement::new(stream.clone()).delete(ids))
                .await?;
        }
        let limits = match step {
            Step::IgnoreLimits => ReadLimits::new(count(1000), bytes(u64::MAX)),
            _ => limits,
        };
        let done = self.store.oldest(stream, after, limits).await;
        rest(&step).await;
        Ok(ReadBatch::new(done?.records, damaged))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        let step = self.before(Op::Settle).await?;
        let done = self.store.settle(settlement).await;
        rest(&step).await;
        done
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        let step = self.before(Op::Clear).await?;
        let done = self.store.clear().await;
        rest(&step).await;
        done
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let step = self.before(Op::Close).await?;
        if !self.survives_close {
            self.store.close().await?;
        }
        rest(&step).await;
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl fmt::Debug for ScriptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScriptedStore").field(&self.store).finish()
    }
}
