//! The end of the log, where groups are written.

mod outlines;
mod segment;
mod staged;

use std::io;
use std::sync::{Arc, Mutex};

pub(crate) use self::outlines::Sealed;
use self::staged::Staged;
use super::catalog::{Catalog, Segment, Settled, lock};
use super::files::{Disk, DiskFile, remove_if_there};
use super::format::segment_name;
use super::format::{MARK, Mark, Previous, SEGMENT_HEADER_BYTES, TEMPORARY_MARK};
use super::frame::{ALIGNMENT, Seal};
use super::group::{Call, Encoder};
use super::outline::Outline;
use crate::index::Checkpoint;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::{Durability, StoreError};

/// Settlements are remembered until a sync; at this many bytes, a sync is forced.
const UNSYNCED_BYTES: u64 = 1 << 20;

/// Whether a group must be on stable storage before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Barrier {
    None,
    Synced,
}

/// The current segment, and what must be written next.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    durability: Durability,
    segment_bytes: u64,
    salt: u64,
    at: Continuation,
    /// A file for the next segment, with reserved space.
    spare: Option<(u32, Arc<dyn DiskFile>)>,
    /// The segment that gets its name when all of it is on stable storage.
    aside: Option<u32>,
    /// Written and not yet synced: lost if the next sync fails.
    unsynced: Vec<Settled>,
    unsynced_bytes: u64,
    /// Segments below this one are not needed; this is durable.
    needless_below: u32,
    encoder: Encoder,
    staged: Option<Staged>,
}

#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seal: Seal,
    pub(crate) written: u64,
    pub(crate) synced: u64,
    /// The checksum of the last frame, if known.
    pub(crate) last_frame: Option<u32>,
    /// Whether its directory entry has been synced.
    pub(crate) entered: bool,
    /// Its outline so far, if known.
    pub(crate) outline: Option<Outline>,
}

/// How a log continues.
#[derive(Debug, Default)]
pub(crate) struct Continuation {
    /// The segment that is written to.
    pub(crate) active: Option<Active>,
    /// Where the log ends, while there is no such segment.
    pub(crate) end: Option<Previous>,
    pub(crate) next_number: u32,
    pub(crate) next_sequence: u64,
    /// Void numbers, not yet written.
    pub(crate) voids: Ranges,
    /// Possibly lost by a failed sync; written again with the next group.
    pub(crate) rewrite: Vec<Settled>,
    /// Complete segments that have no outline yet.
    pub(crate) sealed: Vec<Sealed>,
}

impl Log {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        durability: Durability,
        segment_bytes: u64,
        salt: u64,
        at: Continuation,
    ) -> Self {
        Self {
            disk,
            durability,
            segment_bytes,
            salt,
            at,
            spare: None,
            aside: None,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            needless_below: 0,
            encoder: Encoder::default(),
            staged: None,
        }
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The segment that is written to.
    pub(crate) fn active_segment(&self) -> Option<u32> {
        self.at.active.as_ref().map(|active| active.number)
    }

    /// Segments below this one may be deleted.
    pub(crate) fn needless_below(&self) -> u32 {
        self.needless_below
    }

    /// Whether the current file has been deleted.
    pub(crate) fn is_gone(&self) -> bool {
        let active = self.at.active.as_ref();
        active.is_some_and(|active| active.file.is_gone())
    }

    pub(crate) fn must_rewrite(&self) -> bool {
        !self.at.rewrite.is_empty()
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// What is true and not written yet.
    pub(crate) fn pending(&self) -> (&Ranges, &[Settled]) {
        (&self.at.voids, &self.at.rewrite)
    }

    /// Numbers that no longer have a record; written with the next group.
    pub(crate) fn note_voids(&mut self, voids: &Ranges) {
        self.at.voids.insert_all(voids);
    }

    /// The checkpoint of an index that knows all groups, if there can be one.
    ///
    /// Not while settlements wait to be written again: they count, but lie after this offset.
    pub(crate) fn checkpoint(&self, catalog: &Catalog) -> Option<Checkpoint> {
        let active = self.at.active.as_ref()?;
        let sound = self.staged.is_none() && self.at.rewrite.is_empty();
        let holding = catalog.segments.iter();
        let holding = holding.filter(|(_, segment)| segment.live_records > 0);
        sound.then_some(Checkpoint {
            salt: self.salt,
            segment: active.number,
            offset: active.written,
            last_frame: active.last_frame?,
            next_sequence: self.at.next_sequence,
            segments: holding
                .map(|(number, segment)| (*number, segment.live_records, segment.live_bytes))
                .collect(),
        })
    }

    /// Writes a group, or the rest of it, and returns its records in the order of the calls. If that
    /// fails, nothing of it counts.
    pub(crate) fn commit(
        &mut self,
        index: &Mutex<Catalog>,
        calls: &[Call],
        barrier: Barrier,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut staged = match self.staged.take() {
            Some(staged) if staged.calls == calls.len() => staged,
            staged => self.write_part(index, staged, calls)?,
        };
        let must_sync = barrier == Barrier::Synced || self.unsynced_bytes > UNSYNCED_BYTES;
        if must_sync && let Err(error) = self.sync_all(&mut staged.active) {
            let active = &staged.active;
            let error = self.refused("cannot sync", &segment_name(active.number), error);
            if staged.fresh {
                self.discard(active);
            } else {
                self.abandon(active);
            }
            self.at.voids.insert(staged.first, self.at.next_sequence);
            return Err(error);
        }
        self.settle_accounts(index, &staged, must_sync, calls);
        let Staged {
            mut active,
            end,
            last_frame,
            entries,
            ..
        } = staged;
        (active.written, active.last_frame) = (end, last_frame);
        if must_sync {
            active.synced = end;
        }
        self.at.active = Some(active);
        Ok(entries)
    }

    /// Writes what would go with the next group, if anything.
    pub(crate) fn write_leftovers(&mut self, index: &Mutex<Catalog>) -> Result<(), StoreError> {
        if self.at.voids.is_empty() && self.at.rewrite.is_empty() {
            return Ok(());
        }
        self.commit(index, &[], Barrier::Synced).map(drop)
    }

    /// Records how far the log reaches, for the next opening.
    pub(crate) fn write_mark(&self, held: u64) -> Result<(), StoreError> {
        let active = self.at.active.as_ref();
        let written = active.map(|active| Previous {
            number: active.number,
            end: active.written,
        });
        let last = written.or(self.at.end);
        let mark = Mark {
            salt: self.salt,
            next: self.at.next_sequence,
            last,
            held,
        };
        write_mark(&*self.disk, &mark).map_err(|error| self.refused("cannot write", MARK, error))
    }

    pub(crate) fn refused(&self, doing: &str, name: &str, error: io::Error) -> StoreError {
        refused(&*self.disk, doing, name, error)
    }

    /// Updates the state after a group was written.
    fn settle_accounts(
        &mut self,
        index: &Mutex<Catalog>,
        staged: &Staged,
        synced: bool,
        calls: &[Call],
    ) {
        let active = &staged.active;
        let mut index = lock(index);
        let needless_below = oldest_needed(&index).map_or(active.number, |(number, _)| number);
        if synced || self.durability == Durability::ProcessCrash {
            self.needless_below = needless_below;
        }
        let length = staged.end;
        if staged.fresh {
            let (file, base) = (Arc::clone(&active.file), staged.first);
            index
                .segments
                .insert(active.number, Segment::new(file, active.seal, base, length));
        } else if let Some(segment) = index.segments.get_mut(&active.number) {
            (segment.end, segment.length) = (length, length);
        }
        drop(index);
        self.at.voids = Ranges::default();
        let rewritten = std::mem::take(&mut self.at.rewrite);
        if synced {
            self.forget_unsynced();
        } else if self.durability == Durability::PowerLoss {
            let settled = calls.iter().filter_map(|call| match call {
                Call::Settle(settled) => Some(settled.clone()),
                _ => None,
            });
            for settled in rewritten.into_iter().chain(settled) {
                self.unsynced_bytes += settled.encoded_length();
                self.unsynced.push(settled);
            }
        }
    }

    fn forget_unsynced(&mut self) {
        self.unsynced = Vec::new();
        self.unsynced_bytes = 0;
    }
}

/// The first segment that holds something, or else the last one.
fn oldest_needed(index: &Catalog) -> Option<(u32, u64)> {
    let holding = index
        .segments
        .iter()
        .find(|(_, segment)| segment.live_records > 0);
    let (number, segment) = holding.or_else(|| index.segments.last_key_value())?;
    Some((*number, segment.base))
}

pub(crate) fn write_mark(disk: &dyn Disk, mark: &Mark) -> io::Result<()> {
    remove_if_there(disk, TEMPORARY_MARK)?;
    let file = disk.create(TEMPORARY_MARK)?;
    file.write(&mut [io::IoSlice::new(&mark.encode())], 0)?;
    file.sync()?;
    disk.rename(TEMPORARY_MARK, MARK)?;
    disk.sync()
}

pub(crate) fn refused(disk: &dyn Disk, doing: &str, name: &str, error: io::Error) -> StoreError {
    let path = disk.path().join(name);
    StoreError::unavailable(format!("{doing}: path={}", path.display()), error)
}

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(ALIGNMENT));
