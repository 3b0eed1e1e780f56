//! The writer thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailbox::Ticket;
use super::shared::{Request, Shared, gone};
use crate::index::Indexes;
use crate::index::queue::Entry;
use crate::index::ranges::Ranges;
use crate::log::catalog::{Catalog, Settled, lock};
use crate::log::directory;
use crate::log::end::{Barrier, Log, Written};
use crate::log::files::Disk;
use crate::log::format::segment_name;
use crate::log::group::{Call, record_length};
use crate::log::reserve::Reserve;
use crate::{Amount, Durability, NewRecord, RecordId, Settlement, StoreError, StreamName, clock};

/// A group is written when it has grown to this size.
const GROUP_BYTES: u64 = 8 << 20;
/// This much of a group is written while more of its calls are expected; a fraction of a segment,
/// if that is less.
const STAGED_BYTES: u64 = 64 << 10;
const STAGED_PART: u64 = 64;
/// And this many callers are waited for at a time.
const PORTION: usize = 128;
/// How often a group continues although fewer callers came than expected.
const MOST_SHORT: usize = 6;
/// A group waits for callers that arrive within this fraction of the time that a group takes.
const GAPS: u32 = 8;
const SHORTEST_GAP: Duration = Duration::from_micros(50);
const LONGEST_GAP: Duration = Duration::from_micros(500);
/// The limit on one call, so that offsets within a segment fit into 32 bits.
const CALL_BYTES: u64 = 1 << 31;

/// Owns the end of the log.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) indexes: Box<dyn Indexes>,
    pub(crate) durability: Durability,
    pub(crate) log: Log,
    /// Turns left before a failed compaction is retried.
    pub(crate) rest: u32,
    pub(crate) reserve: Reserve,
    /// Requests that were waiting when the last group was answered.
    pub(crate) came_meanwhile: usize,
    /// When the files were last checked.
    pub(crate) looked: Instant,
    /// Commits of groups that append.
    #[cfg(test)]
    pub(crate) commits: Arc<std::sync::atomic::AtomicU64>,
}

/// Calls that are written together, and their waiting callers.
#[derive(Default)]
struct Group {
    calls: Vec<Call>,
    answers: Vec<Answer>,
    /// Bytes of all calls, and of the unwritten ones.
    bytes: u64,
    unwritten: u64,
}

/// The end of the store.
struct Close {
    ticket: Ticket,
    /// What was asked for too late.
    behind: Vec<(Request, Ticket)>,
}

/// The answer to one call, and its recipient.
struct Answer {
    ticket: Option<Ticket>,
    what: What,
    /// What a settlement will remove.
    planned: Amount,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Append,
    Settle,
    Lose,
}

impl Writer {
    /// Writes what opening found to be missing or misplaced, and deletes what is not needed.
    pub(crate) fn recover(
        &mut self,
        stranded: &[(StreamName, Entry)],
        must_restate: bool,
        needless: &[u32],
    ) -> Result<(), StoreError> {
        if !must_restate {
            self.remove_needless(needless);
        }
        if !stranded.is_empty() || self.log.must_rewrite() {
            // In one group: where the last segment ends changes with it.
            let written = self.log.begin_aside().and_then(|()| self.carry(stranded));
            if let Err(error) = written {
                if !self.reserve.spend(&mut self.log) {
                    return Err(error);
                }
                self.carry(stranded)?;
            }
            self.mend()?;
        } else if must_restate {
            // It says where the last segment ends.
            let begun = self.log.begin_aside();
            let restated =
                begun.and_then(|()| self.log.commit(&self.shared.catalog, &[], self.strongest()));
            if restated.is_err() {
                return Ok(());
            }
        } else if lock(&self.shared.counters).damaged_records > 0 {
            // So that a loss is counted only once; if there is no space, it is counted again.
            let _ = self.log.commit(&self.shared.catalog, &[], self.strongest());
        }
        if must_restate {
            self.remove_needless(needless);
        }
        self.keep_house();
        Ok(())
    }

    /// Deletes segments that an opening found; the next one deletes those that stay.
    fn remove_needless(&self, needless: &[u32]) {
        for number in needless {
            let _ = self.disk.remove(&segment_name(*number));
        }
    }

    /// Works until the store is closed.
    pub(crate) fn run(mut self) {
        // However this thread ends, no caller waits forever.
        let _ending = Ending(Arc::clone(&self.shared));
        let mut expected = 1;
        let mut took = Duration::ZERO;
        loop {
            let mut requests = self.shared.requests.next();
            if requests.is_empty() {
                return;
            }
            let gap = (took / GAPS).clamp(SHORTEST_GAP, LONGEST_GAP);
            let mut group = Group::default();
            let (mut came, mut short) = (0, 0);
            requests = self.settle_first(requests);
            if requests.is_empty() {
                // No one had to wait, and the others are expected as before.
                self.keep_house();
                continue;
            }
            // Callers that were answered may come back at once and join those who arrived since; a
            // lone caller waits for no one.
            loop {
                came += requests.len();
                if let Some(ending) = self.accept(&mut group, requests) {
                    self.write(group);
                    self.close(ending);
                    return;
                }
                if came >= expected || short == MOST_SHORT {
                    break;
                }
                // The disk can work on what is there while others arrive.
                self.stage(&mut group);
                let wanted = PORTION.min(expected - came);
                requests = self.shared.requests.more(wanted, gap);
                if requests.is_empty() {
                    break;
                }
                short += usize::from(requests.len() < wanted);
                if self.log.staged_calls() == 0 {
                    requests = self.settle_first(requests);
                }
            }
            let began = clock::monotonic();
            self.write(group);
            expected = came + self.came_meanwhile;
            took = began.elapsed();
            self.keep_house();
        }
    }

    /// Housekeeping, once all waiting callers are answered.
    fn keep_house(&mut self) {
        self.compact();
        let room = self.reserve.is_there();
        self.log.write_outlines(&self.shared.catalog, room);
        self.checkpoint();
    }

    fn checkpoint(&mut self) {
        let mut catalog = lock(&self.shared.catalog);
        if catalog.wants_checkpoint()
            && let Some(at) = self.log.checkpoint(&catalog)
            && catalog.checkpoint(&at).is_err()
        {
            drop(catalog);
            let _ = self.mend();
        }
    }

    /// Serves settlements before calls that must wait for the disk.
    fn settle_first(&mut self, requests: Vec<(Request, Ticket)>) -> Vec<(Request, Ticket)> {
        let (settles, rest): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .partition(|(request, _)| matches!(request, Request::Settle(_)));
        let mut group = Group::default();
        for (request, ticket) in settles {
            if let Some((call, answer)) = self.plan(request, ticket) {
                group.push(call, answer);
            }
        }
        self.write(group);
        rest
    }

    /// Adds the requests to the group, or serves them; reports when the last one has arrived.
    fn accept(&mut self, group: &mut Group, requests: Vec<(Request, Ticket)>) -> Option<Close> {
        let mut requests = requests.into_iter();
        while let Some((request, ticket)) = requests.next() {
            match request {
                Request::Clear => {
                    self.write(std::mem::take(group));
                    let cleared = self.clear();
                    self.answer(ticket, cleared);
                }
                Request::Close => {
                    let behind = requests.collect();
                    return Some(Close { ticket, behind });
                }
                Request::Mend => {
                    let mended = self.mend();
                    self.answer(ticket, mended.map(|()| Amount::default()));
                }
                request => {
                    if let Some((call, answer)) = self.plan(request, ticket) {
                        group.push(call, answer);
                    }
                }
            }
            if group.bytes > GROUP_BYTES {
                self.write(std::mem::take(group));
            }
        }
        None
    }

    /// What must be written for a request, if anything.
    fn plan(&mut self, request: Request, ticket: Ticket) -> Option<(Call, Answer)> {
        let (wish, what) = match request {
            Request::Append(records) => {
                if records.iter().map(record_length).sum::<u64>() > CALL_BYTES {
                    let error = "the records of one call are too many bytes for a segment";
                    self.answer(ticket, Err(StoreError::unavailable_because(error)));
                    return None;
                }
                let answer = Answer {
                    ticket: Some(ticket),
                    what: What::Append,
                    planned: Amount::default(),
                };
                return Some((Call::Append(records), answer));
            }
            Request::Settle(wish) => (wish, What::Settle),
            Request::Lose(lost) => {
                let ids = lost.deleted.numbers().map(RecordId::new);
                (Settlement::new(lost.stream.clone()).delete(ids), What::Lose)
            }
            Request::Clear | Request::Close | Request::Mend => return None,
        };
        match self.plan_settlement(&wish) {
            Ok(Some((settled, planned))) => {
                let answer = Answer {
                    ticket: Some(ticket),
                    what,
                    planned,
                };
                Some((Call::Settle(settled), answer))
            }
            Ok(None) => {
                self.answer(ticket, Ok(Amount::default()));
                None
            }
            Err(error) => {
                self.answer(ticket, Err(error));
                None
            }
        }
    }

    fn plan_settlement(
        &mut self,
        wish: &Settlement,
    ) -> Result<Option<(Settled, Amount)>, StoreError> {
        loop {
            if let Ok(plan) = lock(&self.shared.catalog).plan(wish) {
                return Ok(plan);
            }
            self.mend()?;
        }
    }

    /// Writes the group so far, if that is worth a separate write.
    fn stage(&mut self, group: &mut Group) {
        let enough = STAGED_BYTES.min(self.log.segment_bytes() / STAGED_PART);
        if group.unwritten < enough {
            return;
        }
        if self.log.is_full_for(&group.calls) {
            let rest = group.split_off(self.log.staged_calls());
            self.write(std::mem::replace(group, rest));
        }
        if self.log.staged_calls() == 0 {
            self.look_after_files(Barrier::None);
        }
        match self.log.stage(&self.shared.catalog, &group.calls) {
            Ok(()) => group.unwritten = 0,
            Err(error) => {
                let Group { calls, answers, .. } = std::mem::take(group);
                self.refuse(calls, answers, &error);
            }
        }
    }

    /// Writes a group, applies it, and answers its callers.
    fn write(&mut self, mut group: Group) {
        if self.log.is_full_for(&group.calls) {
            let rest = group.split_off(self.log.staged_calls());
            self.write(group);
            group = rest;
        }
        let Group { calls, answers, .. } = group;
        if calls.is_empty() {
            return;
        }
        let appends = calls.iter().any(|call| matches!(call, Call::Append(_)));
        let barrier = if appends {
            self.strongest()
        } else {
            Barrier::None
        };
        if self.log.staged_calls() == 0 {
            self.look_after_files(barrier);
        }
        let mut written = self.log.commit(&self.shared.catalog, &calls, barrier);
        if written.is_err() && self.is_any_gone() {
            self.heal();
            written = self.log.commit(&self.shared.catalog, &calls, barrier);
        }
        match written {
            Ok(written) => {
                #[cfg(test)]
                self.commits
                    .fetch_add(appends.into(), std::sync::atomic::Ordering::Relaxed);
                self.apply(&calls, answers, &written);
            }
            Err(error) => self.refuse(calls, answers, &error),
        }
    }

    /// Makes records as durable as configured.
    pub(crate) fn strongest(&self) -> Barrier {
        match self.durability {
            Durability::PowerLoss => Barrier::Synced,
            Durability::ProcessCrash => Barrier::None,
        }
    }

    fn apply(&mut self, calls: &[Call], answers: Vec<Answer>, written: &Written) {
        let removed = self.enter(calls, &answers, written);
        self.count(calls, &answers, &removed);
        // The group is in the log, so a rebuilt index has it too.
        let _ = self.mend();
        let mut tickets = Vec::with_capacity(answers.len());
        let mut appends = Vec::with_capacity(answers.len());
        for answer in answers {
            appends.push(answer.what == What::Append);
            tickets.extend(answer.ticket);
        }
        if tickets.is_empty() {
            return;
        }
        let (replies, waiting) = self.shared.requests.replies(tickets.into_iter());
        self.came_meanwhile = waiting;
        let mut too_late = false;
        for ((reply, removed), append) in replies.into_iter().zip(removed).zip(&mut appends) {
            match reply {
                Some(reply) => {
                    *append = false;
                    reply.send(Ok(removed));
                }
                None => too_late |= *append,
            }
        }
        if too_late {
            self.take_back(calls, &appends, written.first);
        }
    }

    /// Updates the index; returns what each call removed.
    fn enter(&self, calls: &[Call], answers: &[Answer], written: &Written) -> Vec<Amount> {
        let mut catalog = lock(&self.shared.catalog);
        let mut sequence = written.first;
        let mut places = written.places.iter().copied();
        let mut removed = Vec::with_capacity(answers.len());
        for (call, answer) in calls.iter().zip(answers) {
            removed.push(match call {
                Call::Append(records) => {
                    for (record, offset) in records.iter().zip(&mut places) {
                        let at = (written.segment, offset);
                        if catalog
                            .put(&record.stream, entry(record, sequence, at))
                            .is_err()
                        {
                            break;
                        }
                        sequence += 1;
                    }
                    Amount::default()
                }
                Call::Settle(settled) => {
                    let removed = catalog.settle(settled).unwrap_or(answer.planned);
                    if answer.what == What::Lose {
                        catalog.note_damage(&settled.stream, removed);
                    }
                    removed
                }
                Call::Carry(_) | Call::Clear => Amount::default(),
            });
        }
        removed
    }

    fn count(&self, calls: &[Call], answers: &[Answer], removed: &[Amount]) {
        let mut counters = lock(&self.shared.counters);
        for ((call, answer), removed) in calls.iter().zip(answers).zip(removed) {
            match call {
                Call::Append(records) => counters.add_all(records),
                Call::Settle(settled) => {
                    counters.remove(&settled.stream, *removed);
                    if answer.what == What::Lose {
                        counters.damaged_records += removed.records as u64;
                    }
                }
                Call::Carry(_) | Call::Clear => {}
            }
        }
    }

    /// Undoes appends whose callers were told that the disk does not respond.
    fn take_back(&mut self, calls: &[Call], told: &[bool], first: u64) {
        let mut sequence = first;
        let mut undone: BTreeMap<&StreamName, Ranges> = BTreeMap::new();
        for (call, told) in calls.iter().zip(told) {
            let Call::Append(records) = call else {
                continue;
            };
            for record in records {
                if *told {
                    let numbers = undone.entry(&record.stream).or_default();
                    numbers.insert(sequence, sequence + 1);
                }
                sequence += 1;
            }
        }
        let mut group = Group::default();
        for (stream, numbers) in undone {
            let ids = numbers.numbers().map(RecordId::new);
            let wish = Settlement::new(stream.clone()).delete(ids);
            if let Ok(Some((settled, planned))) = self.plan_settlement(&wish) {
                let answer = Answer {
                    ticket: None,
                    what: What::Settle,
                    planned,
                };
                group.push(Call::Settle(settled), answer);
            }
        }
        self.write(group);
    }

    fn refuse(&mut self, calls: Vec<Call>, answers: Vec<Answer>, error: &StoreError) {
        let mut rest = Group::default();
        let mut appends = false;
        for (call, answer) in calls.into_iter().zip(answers) {
            if answer.what == What::Append {
                appends = true;
                self.answer_one(answer, Err(error.clone()));
            } else {
                rest.push(call, answer);
            }
        }
        // Settling frees space, so it is retried without the appends that did not fit.
        if !rest.calls.is_empty() && (appends || self.reserve.spend(&mut self.log)) {
            return self.write(rest);
        }
        for (call, answer) in rest.calls.iter().zip(rest.answers) {
            if answer.what == What::Lose
                && let Call::Settle(lost) = call
            {
                // They are damaged in any case, and reported.
                let removed = self.enter_loss(lost);
                tracing::debug!(target: "record_cache", ?removed, %error, "damage could not be recorded");
            }
            self.answer_one(answer, Err(error.clone()));
        }
    }

    /// Drops unreadable records, and counts them.
    pub(crate) fn enter_loss(&self, lost: &Settled) -> Amount {
        let mut catalog = lock(&self.shared.catalog);
        let removed = catalog.settle(lost).unwrap_or_default();
        catalog.note_damage(&lost.stream, removed);
        drop(catalog);
        let mut counters = lock(&self.shared.counters);
        counters.remove(&lost.stream, removed);
        counters.damaged_records += removed.records as u64;
        removed
    }

    fn answer(&self, ticket: Ticket, outcome: Result<Amount, StoreError>) {
        if let Some(reply) = self.shared.requests.reply(ticket) {
            reply.send(outcome);
        }
    }

    fn answer_one(&self, answer: Answer, outcome: Result<Amount, StoreError>) {
        if let Some(ticket) = answer.ticket {
            self.answer(ticket, outcome);
        }
    }

    /// Commits what frees space, if necessary with the reserved space.
    pub(crate) fn commit_in_need(
        &mut self,
        calls: &[Call],
        barrier: Barrier,
    ) -> Result<(), StoreError> {
        match self.log.commit(&self.shared.catalog, calls, barrier) {
            Err(_) if self.reserve.spend(&mut self.log) => self
                .log
                .commit(&self.shared.catalog, calls, barrier)
                .map(drop),
            outcome => outcome.map(drop),
        }
    }

    fn clear(&mut self) -> Result<Amount, StoreError> {
        self.look_after_files(Barrier::Synced);
        let untouched = lock(&self.shared.catalog).segments.is_empty();
        let mut removed = Amount::default();
        if !untouched {
            self.log.roll();
            self.commit_in_need(&[Call::Clear], Barrier::Synced)?;
            let _ = lock(&self.shared.catalog).clear();
            removed = lock(&self.shared.counters).clear();
            self.mend()?;
        }
        self.rest = 0;
        self.compact();
        directory::remove_copies(&*self.disk)
            .map_err(|error| self.log.refused("cannot delete copies", "", error))?;
        Ok(removed)
    }

    /// Records where the log ends, all of it verified; otherwise the next opening verifies it.
    ///
    /// Says whether there is a mark.
    fn write_mark(&mut self) -> bool {
        let held = self.held();
        let mut written = self.log.write_leftovers(&self.shared.catalog);
        if written.is_err() && self.reserve.spend(&mut self.log) {
            written = self.log.write_leftovers(&self.shared.catalog);
        }
        // A mark is not worth the space that settling may need.
        let written = written.and_then(|()| self.log.write_mark(held));
        if let Err(error) = &written {
            tracing::debug!(target: "record_cache", %error, "the log is closed without a mark");
        }
        written.is_ok()
    }

    /// How many records there are.
    pub(crate) fn held(&self) -> u64 {
        lock(&self.shared.counters).stats().records() as u64
    }

    fn make_durable(&mut self) -> Result<(), StoreError> {
        match (self.log.sync(), self.durability) {
            // A failed sync can only lose settlements, which are written again.
            (Err(_), Durability::PowerLoss) => {
                let written = self.log.commit(&self.shared.catalog, &[], Barrier::Synced);
                written.map(drop)
            }
            (Ok(()), Durability::ProcessCrash) => {
                // No segment was synced when the next one was begun.
                let segments = lock(&self.shared.catalog).segments.clone();
                let synced = segments.values().try_for_each(|segment| {
                    self.shared.requests.sign();
                    segment.file.sync()
                });
                synced
                    .and_then(|()| self.disk.sync())
                    .map_err(|error| self.log.refused("cannot sync", "", error))
            }
            (outcome, _) => outcome,
        }
    }

    fn close(mut self, Close { ticket, behind }: Close) {
        self.look_after_files(Barrier::Synced);
        let closed = self.make_durable();
        let marked = closed.is_ok() && self.write_mark();
        let at = self.log.checkpoint(&lock(&self.shared.catalog));
        if marked {
            self.log.seal_last();
        }
        if closed.is_ok() {
            let room = self.reserve.is_there();
            self.log.write_outlines(&self.shared.catalog, room);
        }
        self.shared.requests.sign();
        let kept = lock(&self.shared.catalog).close(at.as_ref());
        if let Err(broken) = kept {
            tracing::debug!(target: "record_cache", reason = broken.0, "the index could not be saved");
        }
        let Self {
            shared, log, disk, ..
        } = self;
        drop((log, disk));
        drop(shared.reads.close());
        let late = shared.requests.close();
        let answer = |ticket, outcome| {
            if let Some(reply) = shared.requests.reply(ticket) {
                reply.send(outcome);
            }
        };
        let amount = |closed: &Result<(), StoreError>| closed.clone().map(|()| Amount::default());
        answer(ticket, amount(&closed));
        for (request, ticket) in behind.into_iter().chain(late) {
            let outcome = match request {
                Request::Close => amount(&closed),
                _ => Err(StoreError::Closed),
            };
            answer(ticket, outcome);
        }
    }
}

impl Group {
    fn push(&mut self, call: Call, answer: Answer) {
        let bytes = call.encoded_length();
        self.bytes += bytes;
        self.unwritten += bytes;
        self.calls.push(call);
        self.answers.push(answer);
    }

    /// Takes the calls from this one on.
    fn split_off(&mut self, at: usize) -> Self {
        let (calls, answers) = (self.calls.split_off(at), self.answers.split_off(at));
        let bytes = calls.iter().map(Call::encoded_length).sum();
        self.bytes -= bytes;
        Self {
            calls,
            answers,
            bytes,
            unwritten: bytes,
        }
    }
}

fn entry(record: &NewRecord, sequence: u64, (segment, offset): (u32, u32)) -> Entry {
    // A call's records are no more bytes than a segment's places can say.
    let size = u32::try_from(record.size()).unwrap_or(u32::MAX);
    Entry {
        sequence,
        segment,
        offset,
        size,
        attempts: record.attempts,
    }
}

struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        for reply in self.0.requests.abandon() {
            reply.refuse(&gone());
        }
        for reply in self.0.reads.abandon() {
            let _ = reply.send(Err(StoreError::Closed));
        }
    }
}

/// The size of the log on disk, and of its live data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occupancy {
    pub(crate) total: u64,
    pub(crate) live: u64,
}

impl Occupancy {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let segments = catalog.segments.values();
        let sum = |of: fn(&crate::log::catalog::Segment) -> u64| segments.clone().map(of).sum();
        Self {
            total: sum(|segment| segment.length),
            live: sum(|segment| segment.live_bytes),
        }
    }
}
