//! Enters written records into the index and the counters, and answers the callers.

use std::collections::BTreeMap;
use std::ops::Range;

use super::group::{Answer, Group};
use super::mailbox::{Reply, Ticket};
use super::writer::Writer;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::log::catalog::{Settled, lock};
use crate::log::group::Call;
use crate::{Amount, RecordId, Settlement, StoreError, StreamName};

impl Writer {
    /// Applies a written group and answers its callers.
    pub(super) fn apply(&mut self, calls: Vec<Call>, mut answers: Vec<Answer>, written: &[Entry]) {
        let removed = self.enter(&calls, &answers, written);
        // The group is in the log, so a rebuilt index will include it.
        let _ = self.mend();
        let tickets = answers.iter_mut().filter_map(|it| it.ticket.take());
        let tickets: Vec<_> = tickets.collect();
        if tickets.is_empty() {
            return;
        }
        let (replies, waiting) = self.shared.requests.replies(tickets.into_iter());
        self.pace.came_meanwhile = waiting;
        let late = late(&calls, &replies, written);
        self.owe_late(&calls, &answers, &replies, &removed);
        // Freed before the callers run again: they allocated it, and would compete with this thread
        // for the allocator's locks.
        drop(calls);
        for (reply, removed) in replies.into_iter().zip(removed) {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(removed));
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
            let _ = catalog.append(stream, entries);
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

    /// Keeps what settlements deleted whose callers were already told that nothing has changed.
    fn owe_late(
        &self,
        calls: &[Call],
        answers: &[Answer],
        replies: &[Option<Reply<Amount>>],
        removed: &[Amount],
    ) {
        for (((call, answer), reply), removed) in
            calls.iter().zip(answers).zip(replies).zip(removed)
        {
            if let (Call::Settle(settled), None, false) = (call, reply, answer.is_loss) {
                lock(&self.shared.counters).owe(&settled.stream, *removed);
            }
        }
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
    pub(super) fn refuse(&mut self, calls: Vec<Call>, answers: Vec<Answer>, error: &StoreError) {
        let mut rest = Group::default();
        for (call, answer) in calls.into_iter().zip(answers) {
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
        if self.reserve.spend(&mut self.log) {
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
            self.shared.requests.answer(ticket, outcome);
        }
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

/// The appended records whose callers already have an answer.
fn late(
    calls: &[Call],
    replies: &[Option<Reply<Amount>>],
    written: &[Entry],
) -> BTreeMap<StreamName, Ranges> {
    let mut late: BTreeMap<_, Ranges> = BTreeMap::new();
    if replies.iter().all(Option::is_some) {
        return late;
    }
    let mut entries = written.iter();
    for (call, reply) in calls.iter().zip(replies) {
        for (record, entry) in call.appended().iter().zip(&mut entries) {
            if reply.is_none() {
                let numbers = late.entry(record.stream.clone()).or_default();
                numbers.insert(entry.sequence, entry.sequence + 1);
            }
        }
    }
    late
}
