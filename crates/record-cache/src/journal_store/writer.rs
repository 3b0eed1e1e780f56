//! The thread that writes.

use std::fs::File;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::disk::Disk;
use super::group::{Call, record_length};
use super::home;
use super::index::Index;
use super::log::{Barrier, Log, Written, lock};
use super::reserve::Reserve;
use super::shared::{Reply, Request, Shared};
use crate::index::queue::Entry;
use crate::{Amount, Durability, NewRecord, StoreError, StreamName, clock};

/// A group is written when it has grown to this size.
const GROUP_BYTES: u64 = 8 << 20;
/// So much of a group is written while others of it are still to come, or this part of a
/// segment where that is less.
const STAGED_BYTES: u64 = 64 << 10;
const STAGED_PART: u64 = 64;
/// And so many callers are waited for at a time.
const PORTION: usize = 128;
/// How often a group goes on although fewer came than were waited for.
const MOST_SHORT: usize = 6;
/// A group waits for callers who come within this part of the time that a group takes.
const GAPS: u32 = 8;
const SHORTEST_GAP: Duration = Duration::from_micros(50);
const LONGEST_GAP: Duration = Duration::from_micros(500);
/// What one call may take, so that places within a segment fit their 32 bits.
const CALL_BYTES: u64 = 1 << 31;

/// Owns the end of the log.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) durability: Durability,
    pub(super) log: Log,
    /// Turns in which tidying is not tried again, since it has just failed.
    pub(super) rest: u32,
    pub(super) reserve: Reserve,
    /// Requests that were waiting when the last group was answered.
    pub(super) came_meanwhile: usize,
    /// Held as long as the store is open.
    pub(super) lock: File,
}

/// Calls that are written together, and who waits for them.
#[derive(Default)]
struct Group {
    calls: Vec<Call>,
    answers: Vec<Answer>,
    /// Bytes of all calls, and of those that are not written yet.
    bytes: u64,
    unwritten: u64,
}

/// The end of the store.
struct Close {
    reply: Reply<()>,
    /// What was asked for too late.
    behind: Vec<Request>,
}

enum Answer {
    Append(Reply<()>),
    Settle(Reply<Amount>),
    Lose(mpsc::Sender<()>),
}

impl Writer {
    /// Writes what an opening found to be missing or out of place.
    pub(super) fn recover(&mut self, stranded: Vec<(StreamName, Entry)>) -> Result<(), StoreError> {
        let stranded = lock(&self.shared.index).current(stranded);
        if !stranded.is_empty() || self.log.must_rewrite() {
            // In one group: where the last segment ends changes with it.
            self.carry(&stranded)?;
        } else if lock(&self.shared.index).damaged_records > 0 {
            // So that a loss is counted once; without room it is counted again.
            let _ = self.log.commit(&self.shared.index, &[], self.strongest());
        }
        self.tidy();
        self.write_outlines();
        Ok(())
    }

    /// Works until the store is closed.
    pub(super) fn run(mut self) {
        // However this thread ends, nobody waits for it in vain.
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
                // Nobody had to wait, and the others are expected as before.
                self.tidy();
                self.write_outlines();
                continue;
            }
            // Whoever was answered may come back at once, and joins those who came
            // meanwhile; a lone caller waits for nobody.
            loop {
                came += requests.len();
                if let Some(ending) = self.accept(&mut group, requests) {
                    self.write(group);
                    self.close(ending.reply, ending.behind);
                    return;
                }
                if came >= expected || short == MOST_SHORT {
                    break;
                }
                // The disk can have what is there while the others come.
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
            self.tidy();
            self.write_outlines();
        }
    }

    /// Serves those who settle before those for whom the disk is waited for.
    fn settle_first(&mut self, requests: Vec<Request>) -> Vec<Request> {
        let (settles, rest): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .partition(|request| matches!(request, Request::Settle { .. }));
        let mut group = Group::default();
        for request in settles {
            if let Some((call, answer)) = self.plan(request) {
                group.push(call, answer);
            }
        }
        self.write(group);
        rest
    }

    /// Has the requests join the group, or serves them; says when the last one has come.
    fn accept(&mut self, group: &mut Group, requests: Vec<Request>) -> Option<Close> {
        let mut requests = requests.into_iter();
        while let Some(request) = requests.next() {
            match request {
                Request::Clear { reply } => {
                    self.write(std::mem::take(group));
                    let _ = reply.send(self.clear());
                }
                Request::Close { reply } => {
                    let behind = requests.collect();
                    return Some(Close { reply, behind });
                }
                Request::Origin {
                    source,
                    stream,
                    reply,
                } => {
                    self.write(std::mem::take(group));
                    let _ = reply.send(Ok(self.log.origin(&source, &stream).cloned()));
                }
                request => {
                    if let Some((call, answer)) = self.plan(request) {
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

    /// What has to be written for a request, if anything.
    fn plan(&self, request: Request) -> Option<(Call, Answer)> {
        match request {
            Request::Append {
                records,
                origin,
                reply,
            } => {
                if records.iter().map(record_length).sum::<u64>() > CALL_BYTES {
                    let error = "the records of one call are too many bytes for a segment";
                    let _ = reply.send(Err(StoreError::unavailable_because(error)));
                    return None;
                }
                let call = Call::Append { records, origin };
                Some((call, Answer::Append(reply)))
            }
            Request::Settle { settlement, reply } => {
                let Some(settled) = lock(&self.shared.index).plan(&settlement) else {
                    let _ = reply.send(Ok(Amount::default()));
                    return None;
                };
                Some((Call::Settle(settled), Answer::Settle(reply)))
            }
            Request::Lose { lost, reply } => Some((Call::Settle(lost), Answer::Lose(reply))),
            Request::Clear { .. } | Request::Close { .. } | Request::Origin { .. } => None,
        }
    }

    /// Writes what a group has so far, if that is worth a write of its own.
    fn stage(&mut self, group: &mut Group) {
        let enough = STAGED_BYTES.min(self.log.segment_bytes() / STAGED_PART);
        if group.unwritten < enough {
            return;
        }
        if self.log.is_full_for(&group.calls) {
            let rest = group.split_off(self.log.staged_calls());
            self.write(std::mem::replace(group, rest));
        }
        match self.log.stage(&self.shared.index, &group.calls) {
            Ok(()) => group.unwritten = 0,
            Err(error) => {
                let Group { calls, answers, .. } = std::mem::take(group);
                self.refuse(calls, answers, &error);
            }
        }
    }

    /// Writes a group, applies it and answers all who wait for it.
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
        let barrier = self.barrier(&calls);
        match self.log.commit(&self.shared.index, &calls, barrier) {
            Ok(written) => self.apply(calls, answers, &written),
            Err(error) => self.refuse(calls, answers, &error),
        }
    }

    fn barrier(&self, calls: &[Call]) -> Barrier {
        let weight = |call: &Call| match call {
            // The other store deletes them next.
            Call::Append {
                origin: Some(_), ..
            } => Barrier::Synced,
            Call::Append { .. } => self.strongest(),
            _ => Barrier::None,
        };
        calls.iter().map(weight).max().unwrap_or(Barrier::None)
    }

    /// What makes records as durable as they get.
    pub(super) fn strongest(&self) -> Barrier {
        match self.durability {
            Durability::PowerLoss => Barrier::Synced,
            Durability::ProcessCrash => Barrier::None,
        }
    }

    fn apply(&mut self, calls: Vec<Call>, answers: Vec<Answer>, written: &Written) {
        let mut index = lock(&self.shared.index);
        let mut sequence = written.first;
        let mut places = written.places.iter().copied();
        let mut removed = Vec::with_capacity(answers.len());
        for (call, answer) in calls.iter().zip(&answers) {
            removed.push(match (call, answer) {
                (Call::Append { records, .. }, _) => {
                    for (record, offset) in records.iter().zip(&mut places) {
                        let at = (written.segment, offset);
                        index.put(&record.stream, entry(record, sequence, at));
                        sequence += 1;
                    }
                    Amount::default()
                }
                (Call::Settle(lost), Answer::Lose(_)) => index.lose(lost),
                (Call::Settle(settled), _) => index.settle(settled),
                (Call::Carry(_) | Call::Clear, _) => Amount::default(),
            });
        }
        drop(index);
        self.came_meanwhile = self.shared.requests.len();
        for (answer, removed) in answers.into_iter().zip(removed) {
            answer.send(Ok(removed));
        }
    }

    fn refuse(&mut self, calls: Vec<Call>, answers: Vec<Answer>, error: &StoreError) {
        let mut rest = Group::default();
        let mut appends = false;
        for (call, answer) in calls.into_iter().zip(answers) {
            match (call, answer) {
                (_, Answer::Append(reply)) => {
                    appends = true;
                    let _ = reply.send(Err(error.clone()));
                }
                (call, answer) => rest.push(call, answer),
            }
        }
        // Settling makes room, so it is tried without the appends that had none.
        if !rest.calls.is_empty() && (appends || self.reserve.spend(&*self.disk)) {
            return self.write(rest);
        }
        for (call, answer) in rest.calls.into_iter().zip(rest.answers) {
            if let (Call::Settle(lost), Answer::Lose(_)) = (&call, &answer) {
                // Damaged all the same, and reported.
                lock(&self.shared.index).lose(lost);
            }
            answer.send(Err(error.clone()));
        }
    }

    /// Commits what makes room, if need be with the room that is kept for it.
    pub(super) fn commit_in_need(
        &mut self,
        calls: &[Call],
        barrier: Barrier,
    ) -> Result<(), StoreError> {
        match self.log.commit(&self.shared.index, calls, barrier) {
            Err(_) if self.reserve.spend(&*self.disk) => self
                .log
                .commit(&self.shared.index, calls, barrier)
                .map(drop),
            outcome => outcome.map(drop),
        }
    }

    fn clear(&mut self) -> Result<Amount, StoreError> {
        let untouched = lock(&self.shared.index).segments.is_empty();
        let removed = if untouched {
            Amount::default()
        } else {
            self.log.roll();
            self.commit_in_need(&[Call::Clear], Barrier::Synced)?;
            lock(&self.shared.index).clear()
        };
        self.rest = 0;
        self.tidy();
        home::remove_copies(&*self.disk)
            .map_err(|error| self.log.refused("cannot delete copies", "", error))?;
        Ok(removed)
    }

    /// Notes where the log ends, all of it sound; without that, the next opening checks it.
    ///
    /// Says whether there is a mark.
    fn write_mark(&mut self) -> bool {
        let written = self
            .log
            .write_leftovers(&self.shared.index)
            .and_then(|()| self.log.write_mark())
            .or_else(|error| {
                if !self.reserve.spend(&*self.disk) {
                    return Err(error);
                }
                self.log.write_leftovers(&self.shared.index)?;
                self.log.write_mark()
            });
        if let Err(error) = &written {
            tracing::debug!(%error, "the journal is closed without a mark");
        }
        written.is_ok()
    }

    /// Helps the next opening, where nothing else needs the room.
    fn write_outlines(&mut self) {
        let room = self.reserve.is_there();
        self.log.write_outlines(&self.shared.index, room);
    }

    fn make_durable(&mut self) -> Result<(), StoreError> {
        match (self.log.sync(), self.durability) {
            // What a failed sync may have lost are settlements, and they are written again.
            (Err(_), Durability::PowerLoss) => {
                let written = self.log.commit(&self.shared.index, &[], Barrier::Synced);
                written.map(drop)
            }
            (Ok(()), Durability::ProcessCrash) => {
                // No segment was synced when the next one was begun.
                let segments = lock(&self.shared.index).segments.clone();
                let synced = segments
                    .values()
                    .try_for_each(|segment| segment.file.sync());
                synced
                    .and_then(|()| self.disk.sync())
                    .map_err(|error| self.log.refused("cannot sync", "", error))
            }
            (outcome, _) => outcome,
        }
    }

    fn close(mut self, reply: Reply<()>, behind: Vec<Request>) {
        let closed = self.make_durable().map(|()| {
            if self.write_mark() {
                self.log.seal_last();
            }
            self.write_outlines();
        });
        let files = {
            let mut index = lock(&self.shared.index);
            index.closed = true;
            std::mem::take(&mut index.segments)
        };
        drop((files, self.log));
        // A child that is just being started has the file too, until it runs its program.
        let _ = self.lock.unlock();
        drop(self.lock);
        drop(self.shared.reads.close());
        let late = self.shared.requests.close();
        let _ = reply.send(closed.clone());
        for request in behind.into_iter().chain(late) {
            request.refuse_closed(&closed);
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

impl Answer {
    fn send(self, outcome: Result<Amount, StoreError>) {
        match self {
            Self::Append(reply) => drop(reply.send(outcome.map(drop))),
            Self::Settle(reply) => drop(reply.send(outcome)),
            Self::Lose(reply) => drop(reply.send(())),
        }
    }
}

impl Request {
    /// Answers a request that came behind the one to close.
    fn refuse_closed(self, closed: &Result<(), StoreError>) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(StoreError::Closed))),
            Self::Settle { reply, .. } | Self::Clear { reply } => {
                drop(reply.send(Err(StoreError::Closed)));
            }
            Self::Lose { reply, .. } => drop(reply.send(())),
            Self::Origin { reply, .. } => drop(reply.send(Err(StoreError::Closed))),
            Self::Close { reply } => drop(reply.send(closed.clone())),
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
        drop(self.0.requests.close());
        drop(self.0.reads.close());
    }
}

/// What the log takes on the disk, and what of it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occupancy {
    pub(super) total: u64,
    pub(super) live: u64,
}

impl Occupancy {
    pub(super) fn of(index: &Index) -> Self {
        let segments = index.segments.values();
        let sum = |of: fn(&super::index::Segment) -> u64| segments.clone().map(of).sum();
        Self {
            total: sum(|segment| segment.length),
            live: sum(|segment| segment.live_bytes),
        }
    }
}
