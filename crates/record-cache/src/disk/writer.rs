//! The writer thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::group::{Answer, Group};
use super::heal;
use super::mailbox::Ticket;
use super::overlap::Syncer;
use super::shared::{Done, Request, Shared};
use crate::index::Indexes;
use crate::log::catalog::lock;
use crate::log::end::Log;
use crate::log::group::{Call, Prepared};
use crate::log::reserve::Reserve;
use crate::{Amount, Durability, Settlement, StoreError, clock};

/// A group that reaches this size is written.
const GROUP_BYTES: u64 = 8 << 20;
/// The most callers to wait for at a time.
const PORTION: usize = 128;
/// How often a group may continue although fewer callers arrived than expected.
const MOST_SHORT: usize = 6;
/// A group waits for callers that arrive within this fraction of the time the last group took.
const GAPS: u32 = 8;
const SHORTEST_GAP: Duration = Duration::from_micros(50);
const LONGEST_GAP: Duration = Duration::from_micros(500);
/// The limit on one call, so that offsets within a segment fit into 32 bits.
const CALL_BYTES: u64 = 1 << 31;

/// Owns the end of the log.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) indexes: Box<dyn Indexes>,
    pub(crate) log: Log,
    /// Turns remaining before a failed compaction is retried.
    pub(crate) rest: u32,
    pub(crate) reserve: Reserve,
    /// Calls collected, and perhaps written, but neither synced nor answered.
    pub(super) group: Group,
    pub(super) syncer: Syncer,
    pub(crate) pace: Pace,
    /// When the files were last checked.
    pub(crate) looked: Instant,
    /// Whether the directory was deleted and could not be recreated.
    pub(crate) directory_lost: bool,
}

/// The observed arrival pattern of calls.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How many callers to expect: those just answered, and those that arrived meanwhile.
    pub(super) expected: usize,
    /// How long the last group took.
    pub(super) took: Duration,
    /// Requests queued when the last group was answered.
    pub(super) came_meanwhile: usize,
}

impl Writer {
    /// Runs until the store is closed.
    pub(crate) fn run(mut self) {
        loop {
            let mut requests = Vec::new();
            if !self.is_syncing() {
                requests = self.next();
                if requests.is_empty() {
                    return;
                }
            }
            if let Some(ending) = self.turn(requests) {
                return self.close(ending);
            }
            if !self.is_syncing() {
                self.keep_house();
            }
        }
    }

    /// Waits for requests. Checks the files now and then while they hold records, since what was
    /// deleted can be rewritten only as long as this process runs.
    fn next(&mut self) -> Vec<(Request, Ticket)> {
        loop {
            if let Some(requests) = self.shared.requests.next_within(heal::RARELY) {
                return requests;
            }
            if self.held() == 0 {
                return self.shared.requests.next();
            }
            let _ = self.look_after_files(Durability::ProcessCrash);
        }
    }

    /// Collects a group and writes it. If a close request arrives, returns it and what came after
    /// it.
    fn turn(&mut self, mut requests: Vec<(Request, Ticket)>) -> Option<Vec<(Request, Ticket)>> {
        let mut expected = self.pace.expected;
        let (mut came, mut short) = (0, 0);
        // Callers just answered may come back immediately and join those that arrived meanwhile. A
        // lone caller waits for no one.
        loop {
            requests = self.settle_first(requests);
            came += requests.len();
            let ending = self.accept(requests);
            if ending.is_some() {
                self.write_all();
                return ending;
            }
            if self.is_syncing() {
                // The disk can write what is there until the sync ends.
                self.stage();
                (requests, expected) = self.meanwhile(expected, came);
                continue;
            }
            if self.group.calls.is_empty() {
                // No call needs a write. The other callers are still expected.
                return None;
            }
            if came >= expected || short == MOST_SHORT || self.may_overlap() {
                break;
            }
            // Writes while others arrive.
            self.stage();
            let wanted = PORTION.min(expected - came);
            let gap = (self.pace.took / GAPS).clamp(SHORTEST_GAP, LONGEST_GAP);
            requests = self.shared.requests.more(wanted, gap);
            if requests.is_empty() {
                break;
            }
            short += usize::from(requests.len() < wanted);
        }
        let began = clock::monotonic();
        if !self.sync_aside(began) {
            self.write_all();
            self.pace.expected = came + self.pace.came_meanwhile;
            self.pace.took = began.elapsed();
        }
        None
    }

    /// Does housekeeping, once all waiting callers are answered.
    pub(super) fn keep_house(&mut self) {
        self.syncer.in_a_row = 0;
        if self.log.must_rewrite()
            && let Err(error) = self.in_need(|writer| writer.log.write_leftovers())
        {
            tracing::debug!(target: "record_cache", %error, "settlements still have to be written again");
        }
        self.compact();
        self.log.write_outlines(self.reserve.is_there);
        self.checkpoint();
    }

    fn checkpoint(&mut self) {
        let mut catalog = lock(&self.shared.catalog);
        if catalog.wants_checkpoint()
            && let Some(at) = self.log.checkpoint(&catalog)
            && catalog.ask(|index| index.checkpoint(&at)).is_err()
        {
            drop(catalog);
            let _ = self.mend();
        }
    }

    /// Serves settlements ahead of calls that must wait for the disk.
    fn settle_first(&mut self, requests: Vec<(Request, Ticket)>) -> Vec<(Request, Ticket)> {
        let settles = |request: &Request| matches!(request, Request::Settle(_) | Request::Lose(_));
        if !requests.iter().any(|(request, _)| settles(request)) {
            return requests;
        }
        let mut rest = Vec::with_capacity(requests.len());
        let mut group = Group::default();
        for (request, ticket) in requests {
            match request {
                Request::Settle(wish) => self.plan(&mut group, &wish, Some(ticket), false),
                Request::Lose(wish) => self.plan(&mut group, &wish, Some(ticket), true),
                request => rest.push((request, ticket)),
            }
        }
        self.settle(group);
        rest
    }

    /// Adds appends to the group and serves the other requests. If a close request arrives, returns
    /// it and what came after it.
    fn accept(&mut self, requests: Vec<(Request, Ticket)>) -> Option<Vec<(Request, Ticket)>> {
        self.group.reserve(requests.len());
        let mut requests = requests.into_iter();
        while let Some((request, ticket)) = requests.next() {
            match request {
                Request::Clear => {
                    self.write_all();
                    self.clear(ticket);
                }
                Request::Close => {
                    let ending = std::iter::once((Request::Close, ticket));
                    return Some(ending.chain(requests).collect());
                }
                Request::Mend => {
                    let mended = self.mend().map(|()| Done::default());
                    self.shared.requests.answer(ticket, mended);
                }
                Request::Append(prepared) => self.append(prepared, ticket),
                // Settlements have been served before; this one would be in the same way.
                settlement @ (Request::Settle(_) | Request::Lose(_)) => {
                    drop(self.settle_first(vec![(settlement, ticket)]));
                }
            }
            if self.group.bytes > GROUP_BYTES {
                self.write_all();
            }
        }
        None
    }

    /// Adds an append to the group, if it needs a write.
    fn append(&mut self, prepared: Prepared, ticket: Ticket) {
        if prepared.records.is_empty() {
            self.shared.requests.answer(ticket, Ok(Done::default()));
        } else if prepared.length > CALL_BYTES {
            let error = "the records of one call are too many bytes for a segment";
            let error = StoreError::unavailable_because(error);
            self.shared.requests.answer(ticket, Err(error));
        } else {
            let answer = Answer {
                ticket: Some(ticket),
                ..Answer::default()
            };
            self.group.push(Call::Append(prepared), answer);
        }
    }

    /// Adds a settlement to a group, if it needs a write, and computes what it will remove.
    pub(super) fn plan(
        &mut self,
        group: &mut Group,
        wish: &Settlement,
        ticket: Option<Ticket>,
        is_loss: bool,
    ) {
        let plan = loop {
            if let Ok(plan) = lock(&self.shared.catalog).plan(wish) {
                break Ok(plan);
            }
            if let Err(error) = self.mend() {
                break Err(error);
            }
        };
        match plan {
            Ok(Some((settled, planned))) => {
                let answer = Answer {
                    ticket,
                    planned,
                    is_loss,
                };
                group.push(Call::Settle(settled), answer);
            }
            nothing => self.answer(ticket, nothing.map(|_| Amount::default())),
        }
    }

    /// Runs work that frees space, using that of deleted files or the reserved space if necessary.
    pub(super) fn in_need<T>(
        &mut self,
        work: impl Fn(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            match work(self) {
                Err(_) if self.syncer.wait_until_closed() || self.reserve.spend(&mut self.log) => {}
                outcome => return outcome,
            }
        }
    }
}
