//! Groups of calls, which are written in parts, synced as one, entered into the index and the
//! counters, and answered.

use std::collections::BTreeMap;
use std::ops::Range;

use super::mailbox::{Reply, Ticket};
use super::shared::Done;
use super::writer::Writer;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::log::catalog::{Settled, lock};
use crate::log::group::Call;
use crate::{Amount, Durability, RecordId, Settlement, StoreError, StreamName};

/// A group is written in parts of this size, or this fraction of a segment if smaller, while more
/// of its calls are expected.
const STAGED_BYTES: u64 = 64 << 10;
const STAGED_PART: u64 = 64;

/// Calls synced together, and their waiting callers.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(super) calls: Vec<Call>,
    pub(super) answers: Vec<Answer>,
    /// The number of calls already written.
    written: usize,
    /// The records of the written calls.
    entries: Vec<Entry>,
    /// The size of all calls.
    pub(super) bytes: u64,
    /// The size of the calls not yet written.
    unwritten: u64,
}

/// The answer to one call, and who waits for it, if anyone.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) ticket: Option<Ticket>,
    /// What a settlement will remove.
    pub(super) planned: Amount,
    /// Whether the settlement drops damaged records.
    pub(super) is_loss: bool,
}

impl Writer {
    /// Writes the group so far, if that is worth a separate write.
    pub(super) fn stage(&mut self) {
        let enough = STAGED_BYTES.min(self.log.segment_bytes / STAGED_PART);
        if self.group.unwritten >= enough {
            self.write();
        }
    }

    /// Writes the unwritten part of the group.
    pub(super) fn write(&mut self) {
        if self.group.unwritten == 0 {
            return;
        }
        if self.group.written == 0
            && let Err(error) = self.look_after_files(self.log.durability)
        {
            let group = self.group.take_unwritten();
            return self.refuse(group, &error);
        }
        let mut written = self.write_rest();
        if written.is_err() && self.syncer.wait_until_closed() {
            // The disk may have been full only until deleted files were closed.
            written = self.write_rest();
        }
        match written {
            Ok(entries) => {
                self.group.entries.extend(entries);
                (self.group.written, self.group.unwritten) = (self.group.calls.len(), 0);
            }
            Err(error) => {
                let failed = self.group.take_unwritten();
                self.fail(failed, &error);
            }
        }
    }

    fn write_rest(&mut self) -> Result<Vec<Entry>, StoreError> {
        if self.log.is_full_for(self.group.rest()) {
            self.conclude();
            // Concluding may itself have begun another segment.
            if self.log.is_full_for(self.group.rest()) {
                self.log.roll();
            }
        }
        self.log.write(self.group.rest())
    }

    /// Writes the group and answers its callers. Leaves no sync under way.
    pub(super) fn write_all(&mut self) {
        self.write();
        self.conclude();
    }

    /// Waits until everything written is durable, and answers.
    pub(super) fn conclude(&mut self) {
        self.wait_for_sync();
        let group = self.group.take_written();
        if !group.calls.is_empty() {
            let concluded = self.log.conclude(self.log.durability);
            self.end(group, concluded);
        }
    }

    /// Applies a group whose sync has ended, and answers its callers.
    pub(super) fn end(&mut self, group: Group, concluded: Result<(), StoreError>) {
        match concluded {
            Ok(()) => self.apply(group),
            Err(error) => {
                // Calls written behind the group are lost with it.
                let behind = self.group.take_written();
                self.fail(group, &error);
                self.fail(behind, &error);
            }
        }
    }

    /// Writes settlements, which rarely need a sync, and answers their callers.
    pub(super) fn settle(&mut self, mut group: Group) {
        if group.calls.is_empty() {
            return;
        }
        // Settlements take effect in any case: what is gone needs none.
        let _ = self.look_after_files(Durability::ProcessCrash);
        if self.log.owes_sync() || self.log.is_full_for(&group.calls) {
            self.conclude();
        }
        match self.commit(&mut group, Durability::ProcessCrash) {
            Ok(()) => self.apply(group),
            Err(error) => self.fail(group, &error),
        }
    }

    fn commit(&mut self, group: &mut Group, durability: Durability) -> Result<(), StoreError> {
        group.entries = self.log.commit(&group.calls, durability)?;
        Ok(())
    }

    /// Answers calls that could not be written or synced, after one more attempt if files were
    /// deleted.
    fn fail(&mut self, mut group: Group, error: &StoreError) {
        if group.calls.is_empty() {
            return;
        }
        let mut error = error.clone();
        if self.is_any_gone() {
            self.heal();
            // Settlements take effect in any case: what is gone needs none.
            let (durability, has_place) = match group.appends() {
                true => (self.log.durability, self.require_directory()),
                false => (Durability::ProcessCrash, Ok(())),
            };
            match has_place.and_then(|()| self.commit(&mut group, durability)) {
                Ok(()) => return self.apply(group),
                Err(again) => error = again,
            }
        }
        self.refuse(group, &error);
    }

    /// Applies a written group and answers its callers.
    fn apply(&mut self, group: Group) {
        #[cfg(test)]
        if group.appends() {
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            self.shared.commits.fetch_add(1, relaxed);
        }
        let (calls, mut answers, written) = (group.calls, group.answers, group.entries);
        let removed = self.enter(&calls, &answers, &written);
        // The group is in the log, so a rebuilt index will include it.
        let _ = self.mend();
        let tickets = answers.iter_mut().filter_map(|it| it.ticket.take());
        let tickets: Vec<_> = tickets.collect();
        if tickets.is_empty() {
            return;
        }
        let (replies, waiting) = self.shared.requests.replies(tickets.into_iter());
        self.pace.came_meanwhile = waiting;
        let late = match replies.iter().all(Option::is_some) {
            true => BTreeMap::new(),
            false => self.late(&calls, &answers, &replies, &removed, &written),
        };
        for ((reply, removed), call) in replies.into_iter().zip(removed).zip(calls) {
            if let Some(reply) = reply {
                let appended = match call {
                    Call::Append(prepared) => prepared.records,
                    _ => Vec::new(),
                };
                let _ = reply.send(Ok(Done { removed, appended }));
            }
        }
        self.take_back(late);
    }

    /// Updates the index and the counters. Returns what each call removed.
    fn enter(&self, calls: &[Call], answers: &[Answer], written: &[Entry]) -> Vec<Amount> {
        let runs = runs(calls, written);
        let mut catalog = lock(&self.shared.catalog);
        for (stream, entries) in &runs {
            // If the index is broken, it is rebuilt from the log.
            let new = catalog.put(stream, entries);
            debug_assert!(new.is_err() || new == Ok(entries.len()), "{stream}");
        }
        let settle = |(call, answer): (&Call, &Answer)| {
            let Call::Settle(settled) = call else {
                return Amount::default();
            };
            catalog.settle(settled).unwrap_or(answer.planned)
        };
        let removed: Vec<_> = calls.iter().zip(answers).map(settle).collect();
        drop(catalog);
        let mut counters = lock(&self.shared.counters);
        for (stream, entries) in runs {
            let bytes = entries.iter().map(|entry| u64::from(entry.size)).sum();
            counters.add(stream, Amount::new(entries.len(), bytes));
        }
        for ((call, answer), removed) in calls.iter().zip(answers).zip(&removed) {
            match call {
                Call::Settle(lost) if answer.is_loss => counters.lose(&lost.stream, *removed),
                Call::Settle(settled) => counters.remove(&settled.stream, *removed),
                _ => {}
            }
        }
        removed
    }

    /// Looks for calls whose callers were already told that nothing has changed. Keeps what their
    /// settlements deleted, and returns the records that they appended.
    fn late(
        &self,
        calls: &[Call],
        answers: &[Answer],
        replies: &[Option<Reply<Done>>],
        removed: &[Amount],
        written: &[Entry],
    ) -> BTreeMap<StreamName, Ranges> {
        let mut late: BTreeMap<_, Ranges> = BTreeMap::new();
        let mut entries = written.iter();
        let outcomes = answers.iter().zip(removed).zip(replies);
        for (call, ((answer, removed), reply)) in calls.iter().zip(outcomes) {
            if let (Call::Settle(settled), None, false) = (call, reply, answer.is_loss) {
                lock(&self.shared.counters).owe(&settled.stream, *removed);
            }
            for (record, entry) in call.appended().iter().zip(&mut entries) {
                if reply.is_none() {
                    let numbers = late.entry(record.stream.clone()).or_default();
                    numbers.insert(entry.sequence, entry.sequence + 1);
                }
            }
        }
        late
    }

    /// Undoes appends whose callers were already told that the disk does not respond.
    fn take_back(&mut self, appended: BTreeMap<StreamName, Ranges>) {
        let mut group = Group::default();
        for (stream, numbers) in appended {
            let ids = numbers.numbers().map(RecordId::new);
            let wish = Settlement::new(stream).delete(ids);
            self.plan(&mut group, &wish, None, false);
        }
        self.settle(group);
    }

    /// Answers calls that could not be written.
    fn refuse(&mut self, group: Group, error: &StoreError) {
        let mut rest = Group::default();
        for (call, answer) in group.calls.into_iter().zip(group.answers) {
            if matches!(call, Call::Append(_)) {
                self.answer(answer.ticket, Err(error.clone()));
            } else {
                rest.push(call, answer);
            }
        }
        if rest.calls.is_empty() {
            return;
        }
        // Settling frees space.
        self.conclude();
        if self.syncer.wait_until_closed() || self.reserve.spend(&mut self.log) {
            return self.settle(rest);
        }
        for (call, answer) in rest.calls.iter().zip(rest.answers) {
            if answer.is_loss
                && let Call::Settle(lost) = call
            {
                // The records are damaged anyway, and have been reported.
                let removed = self.enter_loss(lost, Amount::default());
                tracing::debug!(target: "record_cache", ?removed, %error, "damage could not be recorded");
            }
            self.answer(answer.ticket, Err(error.clone()));
        }
    }

    /// Drops unreadable records and counts them: those that the index knew, or `planned` if it is
    /// broken.
    pub(super) fn enter_loss(&self, lost: &Settled, planned: Amount) -> Amount {
        let removed = lock(&self.shared.catalog).settle(lost).unwrap_or(planned);
        lock(&self.shared.counters).lose(&lost.stream, removed);
        removed
    }

    pub(super) fn answer(&self, ticket: Option<Ticket>, outcome: Result<Amount, StoreError>) {
        if let Some(ticket) = ticket {
            self.shared.requests.answer(ticket, outcome.map(Done::from));
        }
    }
}

impl Group {
    pub(super) fn reserve(&mut self, calls: usize) {
        self.calls.reserve(calls);
        self.answers.reserve(calls);
    }

    pub(super) fn push(&mut self, call: Call, answer: Answer) {
        let bytes = call.encoded_length();
        self.bytes += bytes;
        self.unwritten += bytes;
        self.calls.push(call);
        self.answers.push(answer);
    }

    fn appends(&self) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|call| matches!(call, Call::Append(_)))
    }

    /// The calls not yet written.
    fn rest(&self) -> &[Call] {
        self.calls.get(self.written..).unwrap_or_default()
    }

    /// Takes the written calls and leaves the others.
    pub(super) fn take_written(&mut self) -> Self {
        let rest = Self {
            calls: self.calls.split_off(self.written),
            answers: self.answers.split_off(self.written),
            bytes: self.unwritten,
            unwritten: self.unwritten,
            ..Self::default()
        };
        std::mem::replace(self, rest)
    }

    fn take_unwritten(&mut self) -> Self {
        let mut written = self.take_written();
        written.bytes -= self.unwritten;
        written.unwritten = 0;
        std::mem::replace(self, written)
    }
}

/// The appended records, split wherever the next one belongs to another stream.
fn runs<'a>(calls: &'a [Call], written: &'a [Entry]) -> Vec<(&'a StreamName, &'a [Entry])> {
    let mut runs: Vec<(&StreamName, Range<usize>)> = Vec::new();
    let records = calls.iter().flat_map(Call::appended).zip(0..written.len());
    for (record, at) in records {
        match runs.last_mut() {
            Some((stream, run)) if *stream == &record.stream => run.end = at + 1,
            _ => runs.push((&record.stream, at..at + 1)),
        }
    }
    let slice = |run| written.get::<Range<usize>>(run).unwrap_or_default();
    runs.into_iter()
        .map(|(stream, run)| (stream, slice(run)))
        .collect()
}
