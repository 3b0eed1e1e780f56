//! Clears and closes a store.

use std::sync::Arc;

use super::mailbox::Ticket;
use super::shared::{Done, Request, Shared};
use super::writer::Writer;
use crate::log::catalog::lock;
use crate::log::directory;
use crate::log::group::Call;
use crate::{Amount, Durability, StoreError, StoreStats};

impl Writer {
    pub(super) fn clear(&mut self, ticket: Ticket) {
        let cleared = self.delete_all();
        let (mut replies, _) = self.shared.requests.replies(std::iter::once(ticket));
        match (replies.pop().flatten(), cleared) {
            (Some(reply), cleared) => {
                let removed = cleared.map(|held| Amount::new(held.records(), held.bytes()).into());
                let _ = reply.send(removed);
            }
            // The watch has said that nothing was deleted.
            (None, Ok(held)) => {
                let mut counters = lock(&self.shared.counters);
                for (stream, removed) in held.streams {
                    counters.owe(&stream, removed);
                }
            }
            (None, Err(_)) => {}
        }
    }

    /// Deletes everything. Returns what the caller believed to be there.
    fn delete_all(&mut self) -> Result<StoreStats, StoreError> {
        let _ = self.look_after_files(Durability::PowerLoss);
        // First, since a failure from here on would say that nothing was cleared.
        directory::remove_copies(&*self.log.disk)
            .map_err(|error| self.log.refused("cannot delete copies", "", error))?;
        let untouched = lock(&self.shared.catalog).segments.is_empty();
        if !untouched {
            self.log.roll();
            self.in_need(|writer| writer.log.commit(&[Call::Clear], Durability::PowerLoss))?;
            let _ = lock(&self.shared.catalog).clear();
        }
        let mut counters = lock(&self.shared.counters);
        let held = counters.stats();
        counters.clear();
        drop(counters);
        // The store is cleared, whether or not an index can be built now.
        let _ = self.mend();
        self.rest = 0;
        self.compact();
        // The caller may count on the space.
        self.syncer.wait_until_closed();
        Ok(held)
    }

    /// Records the verified end of the log. Without this mark, the next open has to verify it.
    ///
    /// Returns whether the mark was written.
    fn write_mark(&mut self) -> bool {
        let held = self.held();
        let written = self.in_need(|writer| writer.log.write_leftovers());
        // The mark is not worth space that settlements may need.
        let written = written.and_then(|()| self.log.write_mark(held));
        if let Err(error) = &written {
            tracing::debug!(target: "record_cache", %error, "the log is closed without a mark");
        }
        written.is_ok()
    }

    /// The number of records held.
    pub(crate) fn held(&self) -> u64 {
        lock(&self.shared.counters).stored()
    }

    fn make_durable(&mut self) -> Result<(), StoreError> {
        match (self.log.sync(), self.log.durability) {
            // A failed sync, this one or an earlier one, can only lose settlements, which are
            // written again.
            (synced, Durability::PowerLoss) if synced.is_err() || self.log.must_rewrite() => {
                let written = self.in_need(|writer| writer.log.commit(&[], Durability::PowerLoss));
                written.map(drop)
            }
            (Ok(()), Durability::ProcessCrash) => {
                // Segments were not synced when the next one was begun.
                let segments = lock(&self.shared.catalog).segments.clone();
                let synced = segments.values().try_for_each(|segment| {
                    self.shared.requests.sign();
                    segment.file.sync()
                });
                synced
                    .and_then(|()| self.log.disk.sync())
                    .map_err(|error| self.log.refused("cannot sync", "", error))
            }
            (outcome, _) => outcome,
        }
    }

    /// Closes the store, and answers the close request and all that came after it.
    pub(super) fn close(mut self, requests: Vec<(Request, Ticket)>) {
        let mut kept = self.look_after_files(Durability::PowerLoss);
        if self.held() == 0 {
            kept = Ok(());
        }
        let closed = self.make_durable().and(kept);
        let marked = closed.is_ok() && self.write_mark();
        let at = self.log.checkpoint(&lock(&self.shared.catalog));
        if marked {
            self.log.seal_last();
        }
        if closed.is_ok() {
            self.log.write_outlines(self.reserve.is_there);
        }
        self.shared.requests.sign();
        let kept = lock(&self.shared.catalog).close(at.as_ref());
        if let Err(broken) = kept {
            tracing::debug!(target: "record_cache", reason = broken.0, "the index could not be saved");
        }
        // A network file system keeps a name for a deleted file until it is closed.
        self.syncer.wait_until_closed();
        let Self { shared, log, .. } = self;
        drop(log);
        drop(shared.reads.close());
        let late = shared.requests.close();
        for (request, ticket) in requests.into_iter().chain(late) {
            let outcome = match request {
                Request::Close => closed.clone().map(|()| Done::default()),
                _ => Err(StoreError::Closed),
            };
            shared.requests.answer(ticket, outcome);
        }
    }
}

/// When dropped, fails all calls still waiting.
pub(super) struct Ending(pub(super) Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let gone = StoreError::unavailable_because("the store's thread has ended");
        self.0.requests.abandon(&gone);
        self.0.reads.abandon(&StoreError::Closed);
    }
}
