//! The writer thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::close::{Close, Ending};
use super::mailbox::Ticket;
use super::shared::{Request, Shared};
use crate::index::Indexes;
use crate::log::catalog::lock;
use crate::log::end::{Barrier, Log};
use crate::log::files::Disk;
use crate::log::group::{Call, record_length};
use crate::log::reserve::Reserve;
use crate::{Amount, Durability, Settlement, StoreError, clock};

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
pub(super) struct Group {
    pub(super) calls: Vec<Call>,
    pub(super) answers: Vec<Answer>,
    /// Bytes of all calls, and of the unwritten ones.
    bytes: u64,
    unwritten: u64,
}

/// The answer to one call, and its recipient, if there is one.
pub(super) struct Answer {
    pub(super) ticket: Option<Ticket>,
    /// What a settlement will remove.
    pub(super) planned: Amount,
    /// Whether it settles records because they are damaged.
    pub(super) is_loss: bool,
}

impl Writer {
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
    pub(super) fn keep_house(&mut self) {
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
                    self.answer(Some(ticket), cleared);
                }
                Request::Close => {
                    let behind = requests.collect();
                    return Some(Close { ticket, behind });
                }
                Request::Mend => {
                    let mended = self.mend();
                    self.answer(Some(ticket), mended.map(|()| Amount::default()));
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
        let is_loss = matches!(request, Request::Lose(_));
        let planned = match request {
            Request::Append(records) if records.is_empty() => Ok(None),
            Request::Append(records) => {
                if records.iter().map(record_length).sum::<u64>() > CALL_BYTES {
                    let error = "the records of one call are too many bytes for a segment";
                    Err(StoreError::unavailable_because(error))
                } else {
                    Ok(Some((Call::Append(records), Amount::default())))
                }
            }
            Request::Settle(wish) | Request::Lose(wish) => self.plan_settlement(&wish),
            Request::Clear | Request::Close | Request::Mend => Ok(None),
        };
        match planned {
            Ok(Some((call, planned))) => {
                let ticket = Some(ticket);
                Some((
                    call,
                    Answer {
                        ticket,
                        planned,
                        is_loss,
                    },
                ))
            }
            nothing => {
                self.answer(Some(ticket), nothing.map(|_| Amount::default()));
                None
            }
        }
    }

    /// What must be written to settle records, if anything, and what that will remove.
    pub(super) fn plan_settlement(
        &mut self,
        wish: &Settlement,
    ) -> Result<Option<(Call, Amount)>, StoreError> {
        loop {
            if let Ok(plan) = lock(&self.shared.catalog).plan(wish) {
                return Ok(plan.map(|(settled, planned)| (Call::Settle(settled), planned)));
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
    pub(super) fn write(&mut self, mut group: Group) {
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

    /// Commits what frees space, if necessary in the reserved space.
    pub(super) fn commit_in_need(
        &mut self,
        calls: &[Call],
        barrier: Barrier,
    ) -> Result<(), StoreError> {
        self.in_need(|writer| writer.log.commit(&writer.shared.catalog, calls, barrier))?;
        Ok(())
    }

    /// Does what frees space, if necessary in the reserved space.
    pub(super) fn in_need<T>(
        &mut self,
        work: impl Fn(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match work(self) {
            Err(_) if self.reserve.spend(&mut self.log) => work(self),
            outcome => outcome,
        }
    }
}

impl Group {
    pub(super) fn push(&mut self, call: Call, answer: Answer) {
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
