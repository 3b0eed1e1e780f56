//! Groups of calls, which are written in parts, synced as one, and answered.

use super::mailbox::Ticket;
use super::writer::Writer;
use crate::index::Entry;
use crate::log::end::Barrier;
use crate::log::group::Call;
use crate::{Amount, StoreError};

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
        let enough = STAGED_BYTES.min(self.log.segment_bytes() / STAGED_PART);
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
            && let Err(error) = self.look_after_files(self.strongest())
        {
            let Group { calls, answers, .. } = self.group.take_unwritten();
            return self.refuse(calls, answers, &error);
        }
        if self.log.is_full_for(self.group.rest()) {
            self.conclude();
        }
        let written = self.log.write(&self.shared.catalog, self.group.rest());
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
            let barrier = self.strongest();
            let concluded = self.log.conclude(&self.shared.catalog, barrier);
            self.end(group, concluded);
        }
    }

    /// Applies a group whose sync has ended, and answers its callers.
    pub(super) fn end(&mut self, group: Group, concluded: Result<(), StoreError>) {
        match concluded {
            Ok(()) => self.count(group),
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
        let _ = self.look_after_files(Barrier::None);
        if self.log.owes_sync() || self.log.is_full_for(&group.calls) {
            self.conclude();
        }
        match self.commit(&mut group, Barrier::None) {
            Ok(()) => self.count(group),
            Err(error) => self.fail(group, &error),
        }
    }

    fn commit(&mut self, group: &mut Group, barrier: Barrier) -> Result<(), StoreError> {
        group.entries = self
            .log
            .commit(&self.shared.catalog, &group.calls, barrier)?;
        Ok(())
    }

    fn count(&mut self, group: Group) {
        #[cfg(test)]
        if group.appends() {
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            self.shared.commits.fetch_add(1, relaxed);
        }
        self.apply(group.calls, group.answers, &group.entries);
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
            let barrier = if group.appends() {
                self.strongest()
            } else {
                Barrier::None
            };
            match self.commit(&mut group, barrier) {
                Ok(()) => return self.count(group),
                Err(again) => error = again,
            }
        }
        self.refuse(group.calls, group.answers, &error);
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
