//! Commits the first part of what is staged while more is staged behind it.

use std::io;
use std::sync::{Arc, Mutex};

use super::{Log, Written};
use crate::StoreError;
use crate::log::catalog::{Catalog, Settled};
use crate::log::files::DiskFile;
use crate::log::group::Call;

/// All that was staged when its sync began.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// Syncing this makes it durable.
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) calls: usize,
    places: usize,
    end: u64,
    last_frame: Option<u32>,
    next_sequence: u64,
    /// How many of the staged settlements are in it.
    settled: usize,
}

impl Log {
    /// What is staged, if syncing its file is all that it lacks.
    pub(crate) fn prefix(&self) -> Option<Prefix> {
        let staged = self.staged.as_ref()?;
        (staged.active.entered && !staged.fresh).then(|| Prefix {
            file: Arc::clone(&staged.active.file),
            calls: staged.calls,
            places: staged.places.len(),
            end: staged.end,
            last_frame: staged.last_frame,
            next_sequence: self.next_sequence,
            settled: self.early.len(),
        })
    }

    /// Commits the prefix whose sync has ended; `calls` is all of it. What is staged behind it
    /// stays so. If the sync failed, nothing that is staged counts.
    pub(crate) fn commit_prefix(
        &mut self,
        index: &Mutex<Catalog>,
        prefix: &Prefix,
        synced: io::Result<()>,
        calls: &[Call],
    ) -> Result<Written, StoreError> {
        let Some(mut staged) = self.staged.take() else {
            let error = "nothing of the group counts, since a part of it could not be written";
            return Err(StoreError::unavailable_because(error));
        };
        if let Err(error) = synced {
            return Err(self.sync_failed(&staged, error));
        }
        self.settle_accounts(index, &staged, prefix.end, true, calls);
        self.early.drain(..prefix.settled);
        let places = staged.places.drain(..prefix.places).collect();
        let written = Written {
            segment: staged.active.number,
            first: staged.first,
            places,
        };
        staged.active.written = prefix.end;
        staged.active.synced = prefix.end;
        staged.active.last_frame = prefix.last_frame;
        if staged.end == prefix.end {
            self.active = Some(staged.active);
        } else {
            staged.first = prefix.next_sequence;
            staged.calls -= prefix.calls;
            self.staged = Some(staged);
        }
        Ok(written)
    }

    /// Remembers a staged settlement that took effect: it counts even if its group does not.
    pub(crate) fn note_early(&mut self, settled: Settled) {
        self.early.push(settled);
    }
}
