//! Writes groups, and makes them durable.

use std::io;
use std::sync::Arc;

use super::{Active, Log, oldest_needed};
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::log::catalog::{Catalog, Segment, Settled, lock};
use crate::log::files::DiskFile;
use crate::log::format::{
    Previous, SEGMENT_HEADER_BYTES, SegmentHeader, TEMPORARY_SEGMENT, segment_name,
};
use crate::log::frame::{GroupBody, void_length};
use crate::log::group::Call;
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
    /// Writes a group for which the segment [is not full](Self::is_full_for), and returns its records
    /// in the order of the calls. It has no effect yet.
    ///
    /// If this fails, earlier writes are kept.
    pub(crate) fn write(&mut self, calls: &[Call]) -> Result<Vec<Entry>, StoreError> {
        let mut active = match self.at.active.take() {
            Some(active) => active,
            None => self.create_segment()?,
        };
        let first = self.at.next_sequence;
        let count = calls.iter().map(|call| call.appended().len()).sum();
        let written = self.encode(&mut active, calls, count);
        self.at.next_sequence += count as u64;
        let needed = match written {
            Ok(needed) => needed,
            Err(error) => {
                self.at.voids.insert(first, self.at.next_sequence);
                return Err(self.cut_off(active, error));
            }
        };
        active.written = self.encoder.offset;
        active.last_frame = self.encoder.last_frame;
        active.outline = self.encoder.outline.take();
        self.at.active = Some(active);
        self.needed = needed;
        let voids = std::mem::take(&mut self.at.voids);
        self.unsynced.voids.insert_all(&voids);
        for settled in std::mem::take(&mut self.at.rewrite) {
            self.unsynced.push(settled);
        }
        Ok(std::mem::take(&mut self.encoder.entries))
    }

    /// Undoes a failed write.
    fn cut_off(&mut self, mut active: Active, error: io::Error) -> StoreError {
        let error = self.refused("cannot write", &segment_name(active.number), error);
        if active.written == 0 {
            self.discard(&active);
        } else {
            // If truncating fails, or a power loss undoes it, the rest lies after the end that the
            // next segment will state.
            active.torn = true;
            active.full = active.file.truncate(active.written).is_err();
            self.at.active = Some(active);
        }
        error
    }

    /// Whether these calls must go to another segment. Earlier writes are synced first.
    pub(crate) fn is_full_for(&self, calls: &[Call]) -> bool {
        let Some(active) = &self.at.active else {
            return false;
        };
        let outline = active.outline.as_ref();
        let behind = outline.map_or(0, |outline| outline.length_with(calls));
        let calls: u64 = calls.iter().map(Call::encoded_length).sum();
        let again: u64 = self.at.rewrite.iter().map(Settled::encoded_length).sum();
        let group = GroupBody::FRAME_BYTES + again + void_length(&self.at.voids) + calls;
        let length = active.written + group + behind;
        active.full || (active.written > SEGMENT_HEADER_BYTES && length > self.segment_bytes)
    }

    /// Encodes and writes calls with this many new records. Returns the oldest segment that the
    /// group needs.
    fn encode(&mut self, active: &mut Active, calls: &[Call], count: usize) -> io::Result<u32> {
        let first = self.at.next_sequence;
        // If the write fails, the outline is lost.
        let outline = active.outline.take();
        let encoder = &mut self.encoder;
        encoder.begin(active.seal, active.written, first, outline);
        if active.written == 0 {
            active.base = first;
            let header = SegmentHeader {
                number: active.number,
                salt: self.at.salt,
                base: first,
                previous: self.at.end,
            };
            encoder.raw(&header.encode());
        }
        let needed = oldest_needed(&lock(&self.catalog));
        let (oldest, oldest_base) = needed.unwrap_or((active.number, active.base));
        encoder.group(&GroupBody {
            salt: self.at.salt,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            stable: u32::try_from(active.synced).unwrap_or(u32::MAX),
            oldest,
            oldest_base,
        });
        for settled in &self.at.rewrite {
            encoder.settled(settled);
        }
        if !self.at.voids.is_empty() {
            encoder.voids(&self.at.voids);
        }
        for call in calls {
            encoder.call(call, &*active.file)?;
        }
        encoder.write(&*active.file)?;
        Ok(oldest)
    }

    /// Whether a sync is required: enough settlements have accumulated, or the segment still has to
    /// get its name.
    pub(crate) fn owes_sync(&self) -> bool {
        let active = self.at.active.as_ref();
        let nameless = active.is_some_and(|active| active.aside);
        nameless || self.unsynced.bytes > UNSYNCED_BYTES
    }

    /// Makes everything written take effect, after syncing it if it must survive a power loss.
    pub(crate) fn conclude(&mut self, durability: Durability) -> Result<(), StoreError> {
        if durability == Durability::PowerLoss {
            let synced = self.sync();
            return self.enter(synced);
        }
        if self.durability == Durability::ProcessCrash {
            self.needless_below = self.needed;
            self.unsynced = Unsynced::default();
            self.counted_below = self.at.next_sequence;
        }
        self.enter(Ok(()))
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        let active = self.at.active.as_ref();
        let Some(active) = active.filter(|active| active.synced != active.written) else {
            return Ok(());
        };
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
    pub(crate) fn end_sync(&mut self, outcome: io::Result<()>) -> Result<(), StoreError> {
        let ended = self.end(outcome);
        self.enter(ended)
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
    fn enter(&mut self, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        let mut catalog = lock(&self.catalog);
        self.cut(&mut catalog);
        outcome?;
        if let Some(active) = &mut self.at.active {
            active.fresh = false;
            let (base, length) = (active.base, active.written);
            let segment = catalog.segments.entry(active.number).or_insert_with(|| {
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
