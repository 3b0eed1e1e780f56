//! The thread that owns the disk.

mod housekeeping;
mod mending;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::housekeeping::{Pace, PutOff};
use self::mending::State;
use super::fault::{Fault, Outcome, contained};
use super::home::Home;
use super::queue::{Command, Next, Reply};
use super::salvage::Loss;
use super::{Options, Shared, recover};
use crate::{
    Amount, NewRecord, ReadBatch, ReadLimits, RecordId, Settlement, StoreError, StreamName, clock,
};

/// Callers that were answered together come back together, within about this time.
const PATIENCE: Duration = Duration::from_micros(400);
/// When nobody has wanted anything for so long, nobody is kept waiting.
const REST: Duration = Duration::from_millis(20);

/// Carries out what the queue brings, one commit at a time.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    home: Home,
    options: Options,
    state: State,
    /// Damage that no read has reported yet.
    damage: BTreeMap<StreamName, Amount>,
    put_off: Option<PutOff>,
}

#[derive(Debug, Default)]
struct Writes {
    settlements: Vec<(Settlement, Reply<Amount>)>,
    appends: Vec<(Vec<NewRecord>, Reply<()>)>,
}

impl Worker {
    pub(super) fn open(
        shared: Arc<Shared>,
        home: Home,
        options: Options,
    ) -> Result<Self, StoreError> {
        shared.watch.beat();
        let opened = contained(|| recover::open(&home, &options, &|| shared.watch.beat()));
        shared.watch.rest();
        let (disk, loss) = opened.map_err(|fault| fault.into_error(home.path()))?;
        let state = State::Open(Box::new(disk));
        let damage = BTreeMap::new();
        let mut worker = Self {
            shared,
            home,
            options,
            state,
            damage,
            put_off: None,
        };
        worker.note_loss(&loss);
        // The counters that the owner begins with do not have these records in them.
        worker.damage.clear();
        worker.publish_all();
        Ok(worker)
    }

    /// Works until the queue is closed, then lets go of everything.
    pub(super) fn run(mut self) {
        let mut expected = 0;
        let mut patience = Duration::ZERO;
        let shared = Arc::clone(&self.shared);
        loop {
            let rest = self.is_replaceable(Pace::AtRest).then_some(REST);
            let group = match shared.queue.next(expected, patience, rest) {
                Next::Calls(group) => group,
                Next::Nothing => {
                    shared.watch.beat();
                    self.keep_house(Pace::AtRest);
                    shared.watch.rest();
                    continue;
                }
                Next::End => break,
            };
            let began = clock::monotonic();
            shared.watch.beat();
            let grows = group
                .iter()
                .any(|call| matches!(call, Command::Append { .. }));
            let writes = self.serve(group);
            if writes > 0 {
                self.keep_house(Pace::AtWork);
            }
            // What is only drained takes no more disk, and goes with its generation.
            if grows {
                self.make_room();
            }
            shared.watch.rest();
            // One caller alone never waits for others.
            expected = if writes > 1 { writes } else { 0 };
            patience = PATIENCE.min(clock::monotonic() - began);
        }
        shared.watch.beat();
        let outcome = self.shut_down();
        drop(self);
        shared.watch.rest();
        shared.queue.closed(&outcome);
    }

    /// Answers all calls; returns how many of them changed something.
    fn serve(&mut self, group: Vec<Command>) -> usize {
        let mut writes = Writes::default();
        let mut reads = Vec::new();
        let mut served = 0;
        for command in group {
            match command {
                Command::Append { records, reply } => writes.appends.push((records, reply)),
                Command::Settle { settlement, reply } => {
                    writes.settlements.push((settlement, reply));
                }
                Command::Oldest {
                    stream,
                    after,
                    limits,
                    reply,
                } => {
                    reads.push((stream, after, limits, reply));
                }
                Command::Clear { reply } => {
                    let Writes {
                        settlements,
                        appends,
                    } = std::mem::take(&mut writes);
                    served += self.settle(settlements) + self.append(appends);
                    served += 1;
                    let _ = reply.send(self.clear());
                }
            }
        }
        // Appends wait for the device; the others need not wait for that.
        served += self.settle(writes.settlements);
        for (stream, after, limits, reply) in reads {
            let _ = reply.send(self.read(&stream, after, limits));
        }
        served + self.append(writes.appends)
    }

    fn settle(&mut self, settlements: Vec<(Settlement, Reply<Amount>)>) -> usize {
        let served = settlements.len();
        if served == 0 {
            return 0;
        }
        let steps: Vec<&Settlement> = settlements.iter().map(|call| &call.0).collect();
        match self.with_disk(|home, disk| disk.settle(home, &steps)) {
            Ok(removed) => {
                self.publish(steps.iter().map(|step| &step.stream));
                for ((_, reply), removed) in settlements.into_iter().zip(removed) {
                    let _ = reply.send(Ok(removed));
                }
            }
            Err(error) => settlements
                .into_iter()
                .for_each(|call| drop(call.1.send(Err(error.clone())))),
        }
        served
    }

    fn append(&mut self, appends: Vec<(Vec<NewRecord>, Reply<()>)>) -> usize {
        let served = appends.len();
        if served == 0 {
            return 0;
        }
        let records: Vec<&[NewRecord]> = appends.iter().map(|call| call.0.as_slice()).collect();
        match self.with_disk(|home, disk| disk.append(home, &records)) {
            Ok(()) => {
                self.shared.count_commit();
                let appended = records.iter().copied().flatten();
                self.publish(appended.map(|record| &record.stream));
                self.answer(appends);
            }
            Err(error) => appends
                .into_iter()
                .for_each(|call| drop(call.1.send(Err(error.clone())))),
        }
        served
    }

    fn answer(&mut self, appends: Vec<(Vec<NewRecord>, Reply<()>)>) {
        let mut accepted = Vec::with_capacity(appends.len());
        for (records, reply) in appends {
            let heard = reply.send(Ok(())).is_ok();
            accepted.push((records, heard));
        }
        if self.shared.watch.is_stalled() {
            self.take_back(&accepted);
        }
    }

    fn read(
        &mut self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let read = self.with_disk(|home, disk| disk.oldest(home, stream, after, limits))?;
        if read.damaged.records > 0 {
            self.note_damage(stream, read.damaged);
            self.publish([stream]);
        }
        let damaged = self.damage.remove(stream).unwrap_or_default();
        Ok(ReadBatch::new(read.records, damaged))
    }

    fn clear(&mut self) -> Result<Amount, StoreError> {
        self.ensure_open()?;
        let State::Open(disk) = &self.state else {
            return Err(StoreError::Closed);
        };
        let cleared = disk.index.held();
        self.start_afresh()
            .map_err(|fault| fault.into_error(self.home.path()))?;
        self.damage.clear();
        self.shared.counters.replace([]);
        let copies = self.home.remove_copies().and_then(|()| self.home.sync());
        copies.map_err(|error| {
            super::fault::unavailable(
                "cannot delete copies of damaged data",
                self.home.path(),
                error,
            )
        })?;
        Ok(cleared)
    }

    /// What was made durable for callers who had been told that it failed is undone.
    fn take_back(&mut self, accepted: &[(Vec<NewRecord>, bool)]) {
        let undone = self.with_disk(|home, disk| {
            let mut next: BTreeMap<&StreamName, u64> = BTreeMap::new();
            for record in accepted.iter().flat_map(|call| &call.0).rev() {
                let end = disk
                    .index
                    .find(&record.stream)
                    .map_or(0, |stream| stream.next);
                *next.entry(&record.stream).or_insert(end) -= 1;
            }
            let mut steps: BTreeMap<&StreamName, Settlement> = BTreeMap::new();
            for (records, heard) in accepted {
                for record in records {
                    let Some(sequence) = next.get_mut(&record.stream) else {
                        continue;
                    };
                    if !heard {
                        let fresh = || Settlement::new(record.stream.clone());
                        let step = steps.entry(&record.stream).or_insert_with(fresh);
                        step.delete.push(RecordId::new(*sequence));
                    }
                    *sequence += 1;
                }
            }
            let steps: Vec<&Settlement> = steps.values().collect();
            disk.settle(home, &steps)
        });
        if let Err(error) = undone {
            tracing::warn!(target: "record_cache", %error, "cannot undo a commit that came too late");
        }
        self.publish(
            accepted
                .iter()
                .flat_map(|call| &call.0)
                .map(|record| &record.stream),
        );
    }

    fn note_loss(&mut self, loss: &Loss) {
        for (stream, records) in &loss.of_streams {
            self.note_damage(stream, Amount::new(super::index::to_usize(*records), 0));
        }
        self.shared.counters.add_damaged(loss.of_others);
    }

    fn note_damage(&mut self, stream: &StreamName, removed: Amount) {
        *self.damage.entry(stream.clone()).or_default() += removed;
        self.shared.counters.add_damaged(removed.records as u64);
        tracing::warn!(
            target: "record_cache", stream = %stream, records = removed.records,
            "damaged records were dropped"
        );
    }

    /// Shows the counters of some streams to everyone.
    fn publish<'a>(&mut self, names: impl IntoIterator<Item = &'a StreamName>) {
        let State::Open(disk) = &mut self.state else {
            return;
        };
        let mut changed: BTreeMap<&StreamName, _> = BTreeMap::new();
        for name in names {
            if !changed.contains_key(name)
                && let Some(stream) = disk.index.find_mut(name)
            {
                stream.promised = stream.next;
                changed.insert(name, stream.stats());
            }
        }
        self.shared.counters.set(
            changed
                .into_iter()
                .map(|(name, stats)| (name.clone(), stats)),
        );
    }

    fn publish_all(&mut self) {
        let State::Open(disk) = &mut self.state else {
            return;
        };
        for stream in disk.index.streams.values_mut() {
            stream.promised = stream.next;
        }
        let streams = disk.index.streams.values();
        self.shared
            .counters
            .replace(streams.map(|stream| (stream.name.clone(), stream.stats())));
    }

    /// Makes everything durable and lets go of the database.
    fn shut_down(&mut self) -> Result<(), StoreError> {
        let State::Open(mut disk) = std::mem::replace(&mut self.state, State::Closed) else {
            return Ok(());
        };
        let synced = contained(|| -> Outcome<()> {
            match disk.save_all(&self.home) {
                // The notes say it as well.
                Ok(()) | Err(Fault::Untouched(_)) => {}
                Err(fault) => return Err(fault),
            }
            disk.generation.flush()?;
            disk.generation.sync_data()
        });
        disk.generation.release();
        synced.map_err(|fault| fault.into_error(self.home.path()))
    }
}
