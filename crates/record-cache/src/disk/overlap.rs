//! Syncs large groups on a separate thread while the next group is written.
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

/// The sync thread, started when first needed.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    thread: Option<Thread>,
    /// The group being synced, and when it began.
    group: Option<(Group, Instant)>,
    /// Bytes handed to the sync thread since the last housekeeping.
    pub(super) in_a_row: u64,
}

/// The sync thread, which ends when its sender is dropped.
#[derive(Debug)]
struct Thread {
    files: Sender<Arc<dyn DiskFile>>,
    outcomes: Receiver<io::Result<()>>,
}

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
    pub(super) fn is_syncing(&self) -> bool {
        self.syncer.group.is_some()
    }

    /// Whether the group should be synced while the next one is written.
    pub(super) fn may_overlap(&self) -> bool {
        let segment = self.log.segment_bytes;
        self.log.durability == Durability::PowerLoss
            && self.group.bytes >= WORTH_BYTES.min(segment / WORTH_PART)
            && self.syncer.in_a_row < BYTES_IN_A_ROW.min(segment)
    }

    /// Writes the group and has the sync thread sync it, if that is worthwhile and possible.
    pub(super) fn sync_aside(&mut self, began: Instant) -> bool {
        if !self.may_overlap() {
            return false;
        }
        self.write();
        if self.syncer.thread.is_none() {
            self.syncer.thread = start(Arc::clone(&self.shared));
        }
        let Some(thread) = &self.syncer.thread else {
            return false;
        };
        let Some(file) = self.log.begin_sync() else {
            return false;
        };
        self.shared.requests.help(true);
        // If the thread has ended, there is no outcome, which counts as a failure.
        let _ = thread.files.send(file);
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
            self.syncer.thread = None;
            Err(io::Error::other("the thread that syncs has ended"))
        });
        let calls = group.calls.len();
        let concluded = self.log.end_sync(outcome);
        self.end(group, concluded);
        self.pace.expected = calls + self.pace.came_meanwhile;
        self.pace.took = began.elapsed();
    }
}
