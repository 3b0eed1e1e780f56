//! An in-memory store that follows a script.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use record_cache::{
    Amount, MemoryStore, NewRecord, ReadBatch, ReadLimits, Record, RecordId, RecordStore,
    Settlement, StoreError, StoreStats, StreamName,
};
use tokio::sync::watch;
use tokio::task::yield_now;

/// A call of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `append`
    Append,
    /// `oldest`
    Oldest,
    /// `settle`
    Settle,
    /// `clear`
    Clear,
    /// `close`
    Close,
}

/// What the store does with a call.
pub enum Step {
    /// Carries out the call.
    Obey,
    /// Fails without doing anything.
    Fail,
    /// Panics.
    Panic,
    /// Obeys, but yields this many times before and after.
    Dawdle(usize),
    /// Obeys once the gate is open.
    Behind(Gate),
    /// Obeys, but first drops the oldest record as damaged.
    Damage,
    /// Returns more than it was asked for.
    IgnoreLimits,
    /// Returns nothing, despite its counters.
    Hide,
}

type Script = Box<dyn FnMut(Op, usize) -> Step + Send>;

/// An in-memory store that follows a script.
pub struct ScriptedStore {
    store: MemoryStore,
    script: Mutex<Script>,
    calls: AtomicUsize,
    survives_close: bool,
    closed: AtomicBool,
}

impl ScriptedStore {
    /// Obeys every call.
    pub fn obedient() -> Self {
        Self::scripted(|_, _| Step::Obey)
    }

    /// Asks `script` at each call, with the number of earlier calls.
    pub fn scripted(script: impl FnMut(Op, usize) -> Step + Send + 'static) -> Self {
        Self {
            store: MemoryStore::new(),
            script: Mutex::new(Box::new(script)),
            calls: AtomicUsize::new(0),
            survives_close: false,
            closed: AtomicBool::new(false),
        }
    }

    /// Yields at each call, before and after it.
    pub fn dawdling() -> Self {
        Self::scripted(|_, _| Step::Dawdle(2))
    }

    /// Yields at each call, or at none.
    pub fn dawdling_if(dawdles: bool) -> Self {
        Self::scripted(move |_, _| Step::Dawdle(if dawdles { 2 } else { 0 }))
    }

    /// Can be used by another engine after being closed.
    pub fn surviving_close(mut self) -> Self {
        self.survives_close = true;
        self
    }

    /// Obeys every call from now on.
    pub fn now_obeys(&self) {
        self.now_does(|_, _| Step::Obey);
    }

    /// Fails at the calls of this kind with these numbers, counted from 0.
    pub fn now_fails_at_calls(&self, op: Op, calls: impl RangeBounds<usize> + Send + 'static) {
        let mut count = 0..;
        self.now_does(move |called, _| {
            match called == op && calls.contains(&count.next().unwrap_or_default()) {
                true => Step::Fail,
                false => Step::Obey,
            }
        });
    }

    /// Follows another script from now on.
    pub fn now_does(&self, script: impl FnMut(Op, usize) -> Step + Send + 'static) {
        *self.script() = Box::new(script);
    }

    /// From now on, does this at each call of this kind, and obeys all others.
    pub fn now_does_at(&self, op: Op, step: impl Fn() -> Step + Send + 'static) {
        self.now_does(move |called, _| if called == op { step() } else { Step::Obey });
    }

    /// Fails at each call of this kind from now on.
    pub fn now_fails_at(&self, op: Op) {
        self.now_does_at(op, || Step::Fail);
    }

    /// From now on, holds each call of this kind until the gate is open.
    pub fn now_waits_at(&self, op: Op, gate: &Gate) {
        let gate = gate.clone();
        self.now_does_at(op, move || Step::Behind(gate.clone()));
    }

    /// The number of calls so far.
    pub fn call_count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Whether `close` has succeeded.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// All records of a stream, oldest first.
    ///
    /// # Panics
    /// If no stream can have that name, or the store was closed.
    #[expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
    pub async fn read_all(&self, name: &str) -> Vec<Record> {
        let stream = StreamName::new(name).unwrap();
        let read = self.store.oldest(&stream, None, at_most(usize::MAX)).await;
        read.unwrap().records
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::panic, reason = "a script may ask for it")]
    async fn before(&self, op: Op) -> Result<Step, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let step = self.script()(op, call);
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

/// Limits a read to this many records, of any size.
fn at_most(records: usize) -> ReadLimits {
    let records = NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN);
    ReadLimits::new(records, NonZeroU64::MAX)
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
            let head = self.store.oldest(stream, None, at_most(1)).await?.records;
            let ids = head.iter().map(|record| record.id);
            let head = Settlement::new(stream.clone()).delete(ids);
            damaged = self.store.settle(head).await?;
        }
        let limits = match step {
            Step::IgnoreLimits => at_most(1000),
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

/// Holds calls until it is opened.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets all calls pass, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Returns once the gate is open.
    pub async fn passed(&self) {
        // The sender lives as long as this gate.
        let _ = self.0.subscribe().wait_for(|&open| open).await;
    }
}
