//! What a second thread does while the writer goes on: it syncs large groups and closes deleted files.
//!
//! Only one sync is under way at a time, because the system may report a failure to only one of
//! several. Everything except settlements and the next group waits for it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Instant;

use super::group::Group;
use super::mailbox::Ticket;
use super::shared::{Request, Shared};
use super::spawn;
use super::writer::Writer;
use crate::Durability;
use crate::log::files::DiskFile;

/// The size, or the fraction of a segment if smaller, at which a group is worth waking the sync
/// thread.
const WORTH_BYTES: u64 = 1 << 20;
const WORTH_PART: u64 = 8;
/// After this many bytes, or a segment if smaller, housekeeping is due. No sync may be under way
/// then.
const BYTES_IN_A_ROW: u64 = 4 << 20;

/// The second thread, started when first needed.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    thread: Option<Thread>,
    /// The group being synced, and when it began.
    group: Option<(Group, Instant)>,
    /// Whether the thread may not have closed the last deleted file yet.
    closing: bool,
    /// Bytes handed to the thread for a sync since the last housekeeping.
    pub(super) in_a_row: u64,
}

/// The second thread, which ends when its sender is dropped.
#[derive(Debug)]
struct Thread {
    work: Sender<Work>,
    outcomes: Receiver<io::Result<()>>,
    closed: Receiver<()>,
}

enum Work {
    Sync(Arc<dyn DiskFile>),
    Close(Arc<dyn DiskFile>),
}

fn start(shared: Arc<Shared>) -> Option<Thread> {
    let (work, next) = channel();
    let (ended, outcomes) = channel();
    let (closes, closed) = channel();
    let run = move || {
        while let Ok(work) = next.recv() {
            match work {
                Work::Sync(file) => {
                    let outcome = file.sync();
                    drop(file);
                    // Nobody waits for it any more once the store is closed.
                    let _ = ended.send(outcome);
                    shared.requests.nudge();
                }
                Work::Close(file) => {
                    drop(file);
                    let _ = closes.send(());
                }
            }
        }
    };
    spawn("record-cache-aside", run).ok()?;
    Some(Thread {
        work,
        outcomes,
        closed,
    })
}

impl Syncer {
    fn thread(&mut self, shared: &Arc<Shared>) -> Option<&Thread> {
        if self.thread.is_none() {
            self.thread = start(Arc::clone(shared));
        }
        self.thread.as_ref()
    }

    /// Closes a deleted file. The system frees its space only then, which takes it milliseconds.
    ///
    /// If the previous one is still being closed, the caller closes this one, so no more than one
    /// takes up space.
    pub(super) fn close(&mut self, shared: &Arc<Shared>, file: Arc<dyn DiskFile>) {
        if !self.is_closing()
            && let Some(thread) = self.thread(shared)
        {
            self.closing = thread.work.send(Work::Close(file)).is_ok();
        }
    }

    /// Waits until the last deleted file is closed. Returns whether it was not.
    pub(super) fn wait_until_closed(&mut self) -> bool {
        let is_closing = self.is_closing();
        if is_closing && let Some(thread) = &self.thread {
            let _ = thread.closed.recv();
        }
        self.closing = false;
        is_closing
    }

    fn is_closing(&mut self) -> bool {
        if let Some(thread) = &self.thread
            && thread.closed.try_recv().is_ok()
        {
            self.closing = false;
        }
        self.closing
    }
}

impl Writer {
    pub(super) fn is_syncing(&self) -> bool {
        self.syncer.group.is_some()
    }

    /// Whether the group should be synced while the next one is written.
    pub(super) fn may_overlap(&mut self) -> bool {
        let segment = self.log.segment_bytes;
        self.log.durability == Durability::PowerLoss
            && self.group.bytes >= WORTH_BYTES.min(segment / WORTH_PART)
            && self.syncer.in_a_row < BYTES_IN_A_ROW.min(segment)
            && !self.syncer.is_closing()
    }

    /// Writes the group and has the other thread sync it, if that is worthwhile and possible.
    pub(super) fn sync_aside(&mut self, began: Instant) -> bool {
        if !self.may_overlap() {
            return false;
        }
        self.write();
        let Some(thread) = self.syncer.thread(&self.shared) else {
            return false;
        };
        let Some(file) = self.log.begin_sync() else {
            return false;
        };
        self.shared.requests.help(true);
        // If the thread has ended, there is no outcome, which counts as a failure.
        let _ = thread.work.send(Work::Sync(file));
        let group = self.group.take_written();
        self.syncer.in_a_row += group.bytes;
        self.syncer.group = Some((group, began));
        true
    }

    /// Waits for requests or the end of the sync. Returns the requests, and how many callers to
    /// expect if `came` have arrived so far.
    pub(super) fn meanwhile(
        &mut self,
        expected: usize,
        came: usize,
    ) -> (Vec<(Request, Ticket)>, usize) {
        if !self.is_syncing() {
            return (Vec::new(), came + self.pace.expected);
        }
        let requests = self.shared.requests.meanwhile();
        let outcomes = self.syncer.thread.as_ref().map(|it| it.outcomes.try_recv());
        let expected = match outcomes {
            Some(Err(TryRecvError::Empty)) => expected,
            outcome => {
                self.end_sync(outcome.and_then(Result::ok));
                came + self.pace.expected
            }
        };
        (requests, expected)
    }

    /// Waits for a sync that is under way, if any.
    pub(super) fn wait_for_sync(&mut self) {
        if self.is_syncing() {
            let thread = self.syncer.thread.as_ref();
            self.end_sync(thread.and_then(|thread| thread.outcomes.recv().ok()));
        }
    }

    fn end_sync(&mut self, outcome: Option<io::Result<()>>) {
        let Some((group, began)) = self.syncer.group.take() else {
            return;
        };
        self.shared.requests.help(false);
        let outcome = outcome.unwrap_or_else(|| {
            self.syncer = Syncer::default();
            Err(io::Error::other("the sync thread has ended"))
        });
        let calls = group.calls.len();
        let concluded = self.log.end_sync(outcome);
        self.end(group, concluded);
        self.pace.expected = calls + self.pace.came_meanwhile;
        self.pace.took = began.elapsed();
    }
}
