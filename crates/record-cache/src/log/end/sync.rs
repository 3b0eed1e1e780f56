//! Makes written data durable.

use std::io;
use std::sync::{Arc, Mutex};

use super::{Active, Barrier, Log};
use crate::index::ranges::Ranges;
use crate::log::catalog::{Catalog, Segment, Settled, lock};
use crate::log::files::DiskFile;
use crate::log::format::{Previous, TEMPORARY_SEGMENT, segment_name};
use crate::{Durability, StoreError};

/// Settlements are kept in memory until a sync. This many bytes force one.
const UNSYNCED_BYTES: u64 = 1 << 20;

/// What was written but not synced, and must be rewritten if the sync fails.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    settled: Vec<Settled>,
    bytes: u64,
    pub(super) voids: Ranges,
}

/// A sync under way and what it covers.
#[derive(Debug)]
pub(super) struct Syncing {
    end: u64,
    next_sequence: u64,
    needed: u32,
    covered: Unsynced,
}

impl Unsynced {
    pub(super) fn push(&mut self, settled: Settled) {
        self.bytes += settled.encoded_length();
        self.settled.push(settled);
    }
}

impl Log {
    /// Whether a sync is required: enough settlements have accumulated, or the segment still has to
    /// get its name.
    pub(crate) fn owes_sync(&self) -> bool {
        let active = self.at.active.as_ref();
        let nameless = active.is_some_and(|active| active.aside);
        nameless || self.unsynced.bytes > UNSYNCED_BYTES
    }

    /// Makes everything written take effect, after syncing it if required.
    pub(crate) fn conclude(
        &mut self,
        index: &Mutex<Catalog>,
        barrier: Barrier,
    ) -> Result<(), StoreError> {
        if barrier == Barrier::Synced {
            let synced = self.sync();
            return self.enter(index, synced);
        }
        if self.durability == Durability::ProcessCrash {
            self.needless_below = self.needed;
            self.unsynced = Unsynced::default();
            self.counted_below = self.at.next_sequence;
        }
        self.enter(index, Ok(()))
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        let Some(active) = self.at.active.as_ref() else {
            return Ok(());
        };
        if active.synced == active.written {
            return Ok(());
        }
        let (written, outcome) = (active.written, self.sync_all(active));
        self.begin(written);
        self.end(outcome)
    }

    /// Returns the file that the caller must sync before calling [`end_sync`](Self::end_sync).
    /// Until then, only writing further groups is allowed.
    ///
    /// Returns `None` if syncing this file alone is not enough.
    pub(crate) fn begin_sync(&mut self) -> Option<Arc<dyn DiskFile>> {
        let active = self.at.active.as_ref();
        let active = active.filter(|active| active.entered && active.synced < active.written)?;
        let (written, file) = (active.written, Arc::clone(&active.file));
        self.begin(written);
        Some(file)
    }

    /// Makes what a sync covers take effect. If the sync failed, neither this nor what was written
    /// meanwhile takes effect.
    pub(crate) fn end_sync(
        &mut self,
        index: &Mutex<Catalog>,
        outcome: io::Result<()>,
    ) -> Result<(), StoreError> {
        let ended = self.end(outcome);
        self.enter(index, ended)
    }

    fn begin(&mut self, end: u64) {
        debug_assert!(
            self.syncing.is_none(),
            "an error is reported to one sync only"
        );
        self.syncing = Some(Syncing {
            end,
            next_sequence: self.at.next_sequence,
            needed: self.needed,
            covered: std::mem::take(&mut self.unsynced),
        });
    }

    fn end(&mut self, outcome: io::Result<()>) -> Result<(), StoreError> {
        let (Some(syncing), Some(mut active)) = (self.syncing.take(), self.at.active.take()) else {
            return Err(StoreError::unavailable_because("nothing is being synced"));
        };
        let Err(error) = outcome else {
            (active.entered, active.aside) = (true, false);
            active.synced = syncing.end;
            self.at.active = Some(active);
            self.needless_below = syncing.needed;
            self.counted_below = syncing.next_sequence;
            return Ok(());
        };
        let behind = std::mem::take(&mut self.unsynced);
        for Unsynced { settled, voids, .. } in [syncing.covered, behind] {
            self.at.rewrite.extend(settled);
            self.at.voids.insert_all(&voids);
        }
        let lost = (self.counted_below, self.at.next_sequence);
        self.at.voids.insert(lost.0, lost.1);
        self.counted_below = lost.1;
        if active.fresh {
            self.discard(&active);
        } else {
            // Its unsynced data is written again elsewhere.
            let (number, end) = match self.durability {
                Durability::PowerLoss => (active.number, active.synced),
                Durability::ProcessCrash => (active.number, active.written),
            };
            // The next segment states where this one ends, so truncating only frees space.
            let _ = active.file.truncate(end);
            (self.at.end, self.at.torn) = (Some(Previous { number, end }), true);
        }
        Err(self.refused("cannot sync", &segment_name(active.number), error))
    }

    /// Takes an abandoned tail, which may not have been truncated, out of the catalog: what counts
    /// of it is written again.
    pub(crate) fn cut(&self, catalog: &mut Catalog) {
        if let Some(Previous { number, end }) = self.at.end
            && let Some(segment) = catalog.segments.get_mut(&number)
            && segment.end > end
        {
            (segment.end, segment.length) = (end, end);
        }
    }

    /// Records the current lengths of the segments.
    fn enter(
        &mut self,
        index: &Mutex<Catalog>,
        outcome: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut index = lock(index);
        self.cut(&mut index);
        outcome?;
        if let Some(active) = &mut self.at.active {
            active.fresh = false;
            let (base, length) = (active.base, active.written);
            let segment = index.segments.entry(active.number).or_insert_with(|| {
                let file = Arc::clone(&active.file);
                Segment::new(file, active.seal, base, length)
            });
            (segment.end, segment.length) = (length, length);
        }
        Ok(())
    }

    fn sync_all(&self, active: &Active) -> io::Result<()> {
        active.file.sync()?;
        if !active.entered {
            if active.aside {
                let name = segment_name(active.number);
                self.disk.rename(TEMPORARY_SEGMENT, &name)?;
                // On systems that cannot sync a directory, this makes the name durable.
                active.file.sync()?;
            }
            self.disk.sync()?;
        }
        Ok(())
    }
}
