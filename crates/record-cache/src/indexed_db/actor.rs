//! The owner of the connection. JavaScript values stay on one thread, so calls arrive as messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::contents::{self, Counts, Ids};
use super::counters::{self, Counters, Held};
use super::database::Database;
use super::js::{self, BrowserError};
use super::lock::Lock;
use super::schema::{self, Slot};
use crate::{
    Amount, Durability, NewRecord, ReadBatch, ReadLimits, RecordId, Settlement, StoreError,
    StreamName,
};

/// The most bytes committed together, unless one call is larger.
const GROUP_BYTES: u64 = 4 << 20;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call of the store.
#[derive(Debug)]
pub(super) enum Call {
    Append(Vec<NewRecord>, Reply<()>),
    Oldest {
        stream: StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
        reply: Reply<ReadBatch>,
    },
    Settle(Settlement, Reply<Amount>),
    Clear(Reply<Amount>),
    Close(Reply<()>),
}

/// The actor's state while the store is open.
#[derive(Debug)]
pub(super) struct Actor {
    name: String,
    slot: Slot,
    durability: Durability,
    counters: Arc<Counters>,
    lock: Lock,
    /// `None` after a failure; the next call reopens it.
    database: Option<Rc<Database>>,
    ids: Ids,
    /// Whether others may have used the slot since it was counted.
    was_shared: bool,
    /// Records that vanished from the database, to be reported by reads.
    missing: Held,
    /// Records that others sent or took over, to be reported by reads, but not as damaged.
    taken: Held,
    /// Attempts that could not be stored for lack of space.
    unsaved: BTreeMap<StreamName, Counts>,
    /// Whether anything was written that a power loss may undo.
    is_volatile: bool,
}

impl Actor {
    /// Counts the records that are already there.
    pub(super) async fn start(
        name: String,
        slot: Slot,
        durability: Durability,
        lock: Lock,
        database: Database,
    ) -> Result<Self, StoreError> {
        let found = contents::count(&database, slot).await;
        let found = found.map_err(|error| error.during("counting the records"))?;
        let counters = Counters::default();
        for (stream, amount) in &found.held {
            counters.add(stream, *amount);
        }
        Ok(Self {
            name,
            slot,
            durability,
            counters: Arc::new(counters),
            lock,
            database: Some(Rc::new(database)),
            ids: found.ids,
            was_shared: false,
            missing: Held::new(),
            taken: Held::new(),
            unsaved: BTreeMap::new(),
            is_volatile: false,
        })
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Runs until the store is closed or dropped.
    pub(super) async fn run(mut self, mut calls: mpsc::UnboundedReceiver<Call>) {
        let mut waiting = VecDeque::new();
        while let Some(call) = calls.recv().await {
            waiting.push_back(call);
            while let Some(call) = waiting.pop_front() {
                while let Ok(further) = calls.try_recv() {
                    waiting.push_back(further);
                }
                match call {
                    Call::Append(records, reply) => {
                        self.append(records, reply, &mut waiting).await;
                    }
                    Call::Oldest {
                        stream,
                        after,
                        limits,
                        reply,
                    } => {
                        let _ = reply.send(self.oldest(&stream, after, limits).await);
                    }
                    Call::Settle(settlement, reply) => {
                        let _ = reply.send(self.settle(settlement).await);
                    }
                    Call::Clear(reply) => {
                        let _ = reply.send(self.clear().await);
                    }
                    Call::Close(reply) => {
                        calls.close();
                        let outcome = self.end().await;
                        let _ = reply.send(outcome);
                        while let Some(late) = calls.recv().await {
                            waiting.push_back(late);
                        }
                        waiting.into_iter().for_each(refuse);
                        return;
                    }
                }
            }
        }
        // No caller remains to receive the outcome.
        let _ = self.end().await;
    }

    /// Commits an append together with those queued behind it.
    async fn append(
        &mut self,
        records: Vec<NewRecord>,
        reply: Reply<()>,
        waiting: &mut VecDeque<Call>,
    ) {
        let bytes = |records: &[NewRecord]| records.iter().map(NewRecord::size).sum::<u64>();
        let mut total = bytes(&records);
        let mut group = vec![(records, reply)];
        while let Some(Call::Append(further, _)) = waiting.front() {
            total += bytes(further);
            if total > GROUP_BYTES {
                break;
            }
            if let Some(Call::Append(records, reply)) = waiting.pop_front() {
                group.push((records, reply));
            }
        }
        let lengths: Vec<usize> = group.iter().map(|(records, _)| records.len()).collect();
        let (records, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let records = records.concat();
        match self.commit(&records).await {
            Err(error) if js::is_for_space(&error) && replies.len() > 1 => {
                // A smaller one may still fit. After any other error, each would wait as long.
                let mut rest = &*records;
                for (length, reply) in lengths.into_iter().zip(replies) {
                    let (call, later) = rest.split_at(length);
                    let _ = reply.send(self.commit(call).await);
                    rest = later;
                }
            }
            outcome => {
                for reply in replies {
                    let _ = reply.send(outcome.clone());
                }
            }
        }
    }

    async fn commit(&mut self, records: &[NewRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let (slot, durability) = (self.slot, self.durability);
        let database = self.connected().await?;
        let appended = contents::append(&database, slot, self.ids, records, durability).await;
        if matches!(&appended, Err(error) if contents::is_shared(error)) {
            self.was_shared = true;
        }
        self.ids = self.done(appended, "appending records")?;
        for record in records {
            self.counters
                .add(&record.stream, Amount::new(1, record.size()));
        }
        Ok(())
    }

    async fn oldest(
        &mut self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let after = match after.map(schema::known) {
            // No record can have an id after this one.
            Some(None) => return Ok(ReadBatch::default()),
            Some(known) => known,
            None => None,
        };
        let slot = self.slot;
        let database = self.connected().await?;
        let read = contents::oldest(&database, slot, stream, after, limits).await;
        let mut read = self.done(read, "reading records")?;
        if let Some(unsaved) = self.unsaved.get(stream) {
            for record in &mut read.records {
                let more = unsaved.get(&record.id.get()).copied().unwrap_or(0);
                record.attempts = record.attempts.saturating_add(more);
            }
        }
        let mut damaged = Amount::default();
        if !read.damaged.is_empty() {
            let ids = read.damaged.iter().map(|(id, _)| RecordId::new(*id));
            damaged = self
                .delete(&Settlement::new(stream.clone()).delete(ids))
                .await?;
        }
        damaged += self.missing.remove(stream).unwrap_or_default();
        self.counters.damaged(stream, damaged);
        let taken = self.taken.remove(stream).unwrap_or_default();
        self.counters.subtract(stream, taken);
        damaged += taken;
        Ok(ReadBatch::new(read.records, damaged))
    }

    async fn settle(&mut self, settlement: Settlement) -> Result<Amount, StoreError> {
        let deleted = self.delete(&settlement).await?;
        self.counters.subtract(&settlement.stream, deleted);
        Ok(deleted)
    }

    async fn delete(&mut self, settlement: &Settlement) -> Result<Amount, StoreError> {
        let known = |ids: &[RecordId]| ids.iter().filter_map(|id| schema::known(*id)).collect();
        let stream = &settlement.stream;
        let delete: BTreeSet<u64> = known(&settlement.delete);
        let count: BTreeSet<u64> = known(&settlement.count_attempt);
        let mut counts = self.unsaved.get(stream).cloned().unwrap_or_default();
        for id in count {
            *counts.entry(id).or_default() += 1;
        }
        counts.retain(|id, _| !delete.contains(id));
        if delete.is_empty() && counts.is_empty() {
            return Ok(Amount::default());
        }
        let slot = self.slot;
        let database = self.connected().await?;
        let mut settled = contents::settle(&database, slot, stream, &delete, &counts).await;
        if matches!(&settled, Err(error) if error.is_quota()) && !counts.is_empty() {
            // Deleting needs no space, and frees some.
            settled = contents::settle(&database, slot, stream, &delete, &Counts::new()).await;
        } else {
            counts.clear();
        }
        let deleted = self.done(settled, "settling records")?;
        self.is_volatile = true;
        match counts.is_empty() {
            true => self.unsaved.remove(stream),
            false => self.unsaved.insert(stream.clone(), counts),
        };
        Ok(deleted)
    }

    async fn clear(&mut self) -> Result<Amount, StoreError> {
        let (slot, durability) = (self.slot, self.durability);
        let database = self.connected().await?;
        let cleared = contents::clear(&database, slot, durability).await;
        self.done(cleared, "clearing the store")?;
        self.missing.clear();
        self.taken.clear();
        self.unsaved.clear();
        Ok(self.counters.clear())
    }

    /// Releases everything.
    async fn end(mut self) -> Result<(), StoreError> {
        for stream in self.unsaved.keys().cloned().collect::<Vec<_>>() {
            // If there is still no space, the counts are lost.
            let _ = self.delete(&Settlement::new(stream)).await;
        }
        let is_ours = !self.lock.is_lost();
        let database = self.database.filter(|base| is_ours && !base.is_lost());
        let is_to_sync = self.is_volatile && self.durability == Durability::PowerLoss;
        let mut outcome = Ok(());
        if let Some(database) = database.filter(|_| is_to_sync) {
            let synced = contents::append(&database, self.slot, self.ids, &[], self.durability);
            if let Err(error) = synced.await {
                // Without space for the number, nothing syncs what was settled.
                outcome = Err(error.during("closing the store"));
            }
        }
        // The connection is already closed.
        self.lock.release().await;
        outcome
    }

    /// The connection, reopened if it was lost.
    async fn connected(&mut self) -> Result<Rc<Database>, StoreError> {
        if self.lock.is_lost() {
            self.retake().await?;
        }
        let usable = self.database.take().filter(|database| !database.is_lost());
        let database = match usable {
            Some(database) => database,
            None => Rc::new(self.connect().await?),
        };
        self.database = Some(Rc::clone(&database));
        Ok(database)
    }

    /// Takes the lock again after the browser took it away.
    async fn retake(&mut self) -> Result<(), StoreError> {
        // Others may have written meanwhile. Connecting counts again.
        self.database = None;
        self.was_shared = true;
        let retaken = self.lock.retake().await;
        match retaken.map_err(|error| error.during("taking the lock of the database again"))? {
            true => Ok(()),
            false => Err(StoreError::in_use(&self.name)),
        }
    }

    /// Reopens the database, whose contents may have changed meanwhile.
    async fn connect(&mut self) -> Result<Database, StoreError> {
        let database = Database::open(&self.name).await?;
        let found = contents::count(&database, self.slot).await;
        let found = found.map_err(|error| error.during("counting the records"))?;
        self.ids = found.ids.not_before(self.ids);
        let gone = self.counters.reconcile(found.held);
        if std::mem::take(&mut self.was_shared) {
            // What is gone was sent or taken over by the others.
            (self.missing, self.taken) = (Held::new(), gone);
        } else {
            self.missing = counters::less(gone, &self.taken);
        }
        if !self.missing.is_empty() {
            tracing::warn!(
                target: "record_cache",
                database = self.name,
                streams = self.missing.len(),
                "records have vanished from the browser's storage"
            );
        }
        Ok(database)
    }

    /// Converts an error, and drops the connection if it may be the cause.
    fn done<T>(&mut self, outcome: Result<T, BrowserError>, doing: &str) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            if !error.is_quota() {
                self.database = None;
            }
            error.during(doing)
        })
    }
}

fn refuse(call: Call) {
    match call {
        Call::Append(_, reply) => drop(reply.send(Err(StoreError::Closed))),
        Call::Oldest { reply, .. } => drop(reply.send(Err(StoreError::Closed))),
        Call::Settle(_, reply) => drop(reply.send(Err(StoreError::Closed))),
        Call::Clear(reply) => drop(reply.send(Err(StoreError::Closed))),
        // The store is closed by now.
        Call::Close(reply) => drop(reply.send(Ok(()))),
    }
}
