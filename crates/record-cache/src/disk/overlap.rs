//! Syncs large groups in a thread of their own, while the next one is written.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use super::mailbox::Ticket;
use super::shared::{Request, Shared};
use super::spawn;
use super::writer::{Group, What, Writer};
use crate::Durability;
use crate::log::catalog::lock;
use crate::log::files::DiskFile;
use crate::log::group::Call;

/// From this size on, or this fraction of a segment, a group is worth waking another thread for.
const WORTH_BYTES: u64 = 512 << 10;
const WORTH_PART: u64 = 8;
/// After this many bytes comes housekeeping, for which nothing may be staged.
const BYTES_IN_A_ROW: u64 = 4 << 20;
/// What is staged behind a group is no larger than this.
const MOST_BEHIND: u64 = 4 << 20;

/// The thread that syncs; it is started when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    thread: Option<Thread>,
    /// Written since the last housekeeping.
    pub(super) in_a_row: u64,
}

#[derive(Debug)]
struct Thread {
    files: Sender<Arc<dyn DiskFile>>,
    outcomes: Receiver<io::Result<()>>,
}

impl Syncer {
    /// Begins to sync a file. Fails if there is no thread for it.
    fn begin(&mut self, file: &Arc<dyn DiskFile>, shared: &Arc<Shared>) -> Option<()> {
        if self.thread.is_none() {
            self.thread = start(Arc::clone(shared));
        }
        let thread = self.thread.as_ref()?;
        thread.files.send(Arc::clone(file)).ok()
    }

    /// The outcome, once there is one.
    fn outcome(&self) -> Option<io::Result<()>> {
        match self
            .thread
            .as_ref()
            .map(|thread| thread.outcomes.try_recv())
        {
            Some(Ok(outcome)) => Some(outcome),
            Some(Err(TryRecvError::Empty)) => None,
            Some(Err(TryRecvError::Disconnected)) | None => {
                Some(Err(io::Error::other("the thread that syncs has ended")))
            }
        }
    }
}

/// Ends when its sender is dropped.
fn start(shared: Arc<Shared>) -> Option<Thread> {
    let (files, next) = channel::<Arc<dyn DiskFile>>();
    let (ended, outcomes) = channel();
    let work = move || {
        while let Ok(file) = next.recv() {
            let outcome = file.sync();
            drop(file);
            if ended.send(outcome).is_err() {
                return;
            }
            shared.requests.nudge();
        }
    };
    spawn("record-cache-sync", work).ok()?;
    Some(Thread { files, outcomes })
}

impl Writer {
    /// Whether a group should be synced while others are written.
    pub(super) fn may_overlap(&self, group: &Group) -> bool {
        let worth = WORTH_BYTES.min(self.log.segment_bytes() / WORTH_PART);
        self.durability == Durability::PowerLoss
            && group.bytes >= worth
            && self.syncer.in_a_row < BYTES_IN_A_ROW.min(self.log.segment_bytes())
    }

    /// Writes a group and answers its callers. Returns what came meanwhile: calls that are
    /// staged, and requests that must wait until nothing is.
    pub(super) fn write_overlapped(&mut self, mut group: Group) -> (Group, Vec<(Request, Ticket)>) {
        if group.unwritten > 0 && !self.log.is_full_for(&group.calls) {
            self.stage_now(&mut group);
        }
        let whole = self.log.staged_calls() == group.calls.len();
        let prefix = self.log.prefix().filter(|_| whole);
        let Some(prefix) = prefix.filter(|prefix| self.sync_aside(&prefix.file).is_some()) else {
            self.write(group);
            return Default::default();
        };
        self.syncer.in_a_row += group.bytes;
        let mut left = Vec::new();
        let (mut is_lost, mut behind) = (false, 0);
        let synced = loop {
            if let Some(outcome) = self.syncer.outcome() {
                break outcome;
            }
            for (request, ticket) in self.shared.requests.meanwhile() {
                let joins = matches!(request, Request::Append(_) | Request::Settle(_));
                if !joins || !left.is_empty() || is_lost || behind > MOST_BEHIND {
                    left.push((request, ticket));
                } else if let Some((call, answer)) = self.plan(request, ticket) {
                    behind += call.encoded_length();
                    group.push(call, answer);
                }
            }
            if group.unwritten > 0 && !self.log.is_full_for(&group.calls) {
                self.stage(&mut group);
                is_lost = group.calls.is_empty();
            }
        };
        if is_lost {
            self.log.note_sync(&synced);
            return (group, left);
        }
        let mut rest = group.split_off(prefix.calls);
        let catalog = &self.shared.catalog;
        match self
            .log
            .commit_prefix(catalog, &prefix, synced, &group.calls)
        {
            Ok(written) => {
                #[cfg(test)]
                self.commits
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                rest.written_up_to(self.log.staged_calls());
                let undone = self.apply(&group.calls, group.answers, &written);
                rest.append(undone);
            }
            Err(error) => {
                rest.forget_early();
                if self.is_any_gone() {
                    self.heal();
                    group.forget_early();
                    self.write(group);
                } else {
                    self.refuse(group.calls, group.answers, &error);
                }
            }
        }
        (rest, left)
    }

    fn sync_aside(&mut self, file: &Arc<dyn DiskFile>) -> Option<()> {
        self.syncer.begin(file, &self.shared)
    }

    /// Settlements among the calls that were just staged take effect at once, since they wait for
    /// no sync.
    pub(super) fn settle_early(&mut self, group: &mut Group, from: usize) {
        if self.durability == Durability::ProcessCrash {
            return;
        }
        for (call, answer) in group.calls.iter().zip(&mut group.answers).skip(from) {
            let (Call::Settle(settled), What::Settle) = (call, answer.what) else {
                continue;
            };
            self.log.note_early(settled.clone());
            let removed = lock(&self.shared.catalog).settle(settled);
            let removed = removed.unwrap_or(answer.planned);
            lock(&self.shared.counters).remove(&settled.stream, removed);
            answer.what = What::Early;
            if let Some(ticket) = answer.ticket.take() {
                self.answer(ticket, Ok(removed));
            }
        }
        let _ = self.mend();
    }
}
