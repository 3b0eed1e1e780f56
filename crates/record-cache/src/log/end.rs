//! The end of the log, where groups are written.

mod outlines;
mod segment;

use std::io;
use std::sync::{Arc, Mutex};

pub(crate) use self::outlines::Sealed;
use super::catalog::{Catalog, Segment, Settled, lock};
use super::files::{Disk, DiskFile, remove_if_there};
use super::format::segment_name;
use super::format::{MARK, Mark, Previous, SEGMENT_HEADER_BYTES, SegmentHeader, TEMPORARY_MARK};
use super::frame::{ALIGNMENT, GroupBody, Seal, frame_length, void_length};
use super::group::{Call, Encoder};
use super::outline::Outline;
use super::rebuild::Pending;
use crate::index::Checkpoint;
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

/// Where a group went.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) segment: u32,
    /// The number of the first of its records.
    pub(crate) first: u64,
    /// Where each record's frame begins.
    pub(crate) places: Vec<u32>,
}

/// The current segment, and what must be written next.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    durability: Durability,
    segment_bytes: u64,
    salt: u64,
    active: Option<Active>,
    /// Where the log ends, while there is no current segment.
    end: Option<Previous>,
    /// A file for the next segment, with reserved space.
    spare: Option<(u32, Arc<dyn DiskFile>)>,
    /// The segment that gets its name when all of it is on stable storage.
    aside: Option<u32>,
    next_number: u32,
    next_sequence: u64,
    /// Void numbers, not yet written.
    voids: Ranges,
    /// Written and not yet synced: lost if the next sync fails.
    unsynced: Vec<Settled>,
    unsynced_bytes: u64,
    /// Possibly lost by a failed sync; written again with the next group.
    rewrite: Vec<Settled>,
    /// Segments below this one are not needed; this is durable.
    needless_below: u32,
    encoder: Encoder,
    staged: Option<Staged>,
    /// Complete segments that have no outline yet.
    sealed: Vec<Sealed>,
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

/// A group that is partly or completely written, but does not count yet.
#[derive(Debug)]
struct Staged {
    active: Active,
    /// Whether the segment begins with it.
    fresh: bool,
    /// The number of its first record.
    first: u64,
    /// The number of written calls, and where they end.
    calls: usize,
    end: u64,
    last_frame: Option<u32>,
    places: Vec<u32>,
}

/// How a log continues after it was read.
#[derive(Debug, Default)]
pub(crate) struct Continuation {
    pub(crate) active: Option<Active>,
    pub(crate) end: Option<Previous>,
    pub(crate) next_number: u32,
    pub(crate) next_sequence: u64,
    pub(crate) voids: Ranges,
    pub(crate) rewrite: Vec<Settled>,
    /// Complete segments found without an outline.
    pub(crate) sealed: Vec<Sealed>,
}

impl Log {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        durability: Durability,
        segment_bytes: u64,
        salt: u64,
        from: Continuation,
    ) -> Self {
        Self {
            disk,
            durability,
            segment_bytes,
            salt,
            active: from.active,
            end: from.end,
            spare: None,
            aside: None,
            next_number: from.next_number,
            next_sequence: from.next_sequence,
            voids: from.voids,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            rewrite: from.rewrite,
            needless_below: 0,
            encoder: Encoder::default(),
            staged: None,
            sealed: from.sealed,
        }
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The segment that is written to.
    pub(crate) fn active_segment(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.number)
    }

    /// Segments below this one may be deleted.
    pub(crate) fn needless_below(&self) -> u32 {
        self.needless_below
    }

    /// Whether the current file has been deleted.
    pub(crate) fn is_gone(&self) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|active| active.file.is_gone())
    }

    pub(crate) fn must_rewrite(&self) -> bool {
        !self.rewrite.is_empty()
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// What is true and not written yet.
    pub(crate) fn pending(&self) -> Pending<'_> {
        Pending {
            voids: &self.voids,
            settled: &self.rewrite,
        }
    }

    /// Numbers that no longer have a record; written with the next group.
    pub(crate) fn note_voids(&mut self, voids: &Ranges) {
        self.voids.insert_all(voids);
    }

    /// The checkpoint of an index that knows all groups, if there can be one.
    ///
    /// Not while settlements wait to be written again: they count, but lie after this offset.
    pub(crate) fn checkpoint(&self, catalog: &Catalog) -> Option<Checkpoint> {
        let active = self.active.as_ref()?;
        let sound = self.staged.is_none() && self.rewrite.is_empty();
        let holding = catalog.segments.iter();
        let holding = holding.filter(|(_, segment)| segment.live_records > 0);
        sound.then_some(Checkpoint {
            salt: self.salt,
            segment: active.number,
            offset: active.written,
            last_frame: active.last_frame?,
            next_sequence: self.next_sequence,
            segments: holding
                .map(|(number, segment)| (*number, segment.live_records, segment.live_bytes))
                .collect(),
        })
    }

    /// Writes calls of a group that is still growing; `calls` is all of it so far.
    ///
    /// If that fails, nothing of the group counts.
    pub(crate) fn stage(
        &mut self,
        index: &Mutex<Catalog>,
        calls: &[Call],
    ) -> Result<(), StoreError> {
        let staged = self.staged.take();
        self.staged = Some(self.write_part(index, staged, calls)?);
        Ok(())
    }

    /// The number of written calls of the current group.
    pub(crate) fn staged_calls(&self) -> usize {
        self.staged.as_ref().map_or(0, |staged| staged.calls)
    }

    /// Whether the rest of the current group must go to another segment.
    pub(crate) fn is_full_for(&self, calls: &[Call]) -> bool {
        self.staged.as_ref().is_some_and(|staged| {
            let rest = calls.get(staged.calls..).unwrap_or_default();
            !rest.is_empty() && !self.fits(&staged.active, staged.end, rest)
        })
    }

    /// Writes a group, or the rest of it. If that fails, nothing of it counts.
    pub(crate) fn commit(
        &mut self,
        index: &Mutex<Catalog>,
        calls: &[Call],
        barrier: Barrier,
    ) -> Result<Written, StoreError> {
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
            self.voids.insert(staged.first, self.next_sequence);
            return Err(error);
        }
        self.settle_accounts(index, &staged, must_sync, calls);
        let Staged {
            mut active,
            first,
            end,
            last_frame,
            places,
            ..
        } = staged;
        (active.written, active.last_frame) = (end, last_frame);
        if must_sync {
            active.synced = end;
        }
        let segment = active.number;
        self.active = Some(active);
        Ok(Written {
            segment,
            first,
            places,
        })
    }

    /// Writes what would go with the next group, if anything.
    pub(crate) fn write_leftovers(&mut self, index: &Mutex<Catalog>) -> Result<(), StoreError> {
        if self.voids.is_empty() && self.rewrite.is_empty() {
            return Ok(());
        }
        self.commit(index, &[], Barrier::Synced).map(drop)
    }

    /// Records how far the log reaches, for the next opening.
    pub(crate) fn write_mark(&self, held: u64) -> Result<(), StoreError> {
        let active = self.active.as_ref();
        let written = active.map(|active| Previous {
            number: active.number,
            end: active.written,
        });
        let last = written.or(self.end);
        let mark = Mark {
            salt: self.salt,
            next: self.next_sequence,
            last,
            held,
        };
        write_mark(&*self.disk, &mark).map_err(|error| self.refused("cannot write", MARK, error))
    }

    pub(crate) fn refused(&self, doing: &str, name: &str, error: io::Error) -> StoreError {
        refused(&*self.disk, doing, name, error)
    }

    /// Writes the remaining calls of a group.
    fn write_part(
        &mut self,
        index: &Mutex<Catalog>,
        staged: Option<Staged>,
        calls: &[Call],
    ) -> Result<Staged, StoreError> {
        let begins = staged.is_none();
        let mut staged = match staged {
            Some(staged) => staged,
            None => self.begin_group(calls)?,
        };
        let rest = calls.get(staged.calls..).unwrap_or_default();
        self.encode(index, &mut staged, begins, rest);
        self.next_sequence += rest.iter().map(Call::records).sum::<usize>() as u64;
        if let Err(error) = self.encoder.finish(&*staged.active.file) {
            let active = staged.active;
            let error = self.refused("cannot write", &segment_name(active.number), error);
            if staged.fresh {
                self.discard(&active);
            } else if active.file.truncate(active.written).is_ok() {
                self.active = Some(active);
            } else {
                self.abandon(&active);
            }
            self.voids.insert(staged.first, self.next_sequence);
            return Err(error);
        }
        staged.calls = calls.len();
        staged.end = self.encoder.end();
        staged.last_frame = self.encoder.last_frame();
        staged.places.append(&mut self.encoder.take_places());
        staged.active.outline = self.encoder.take_outline();
        Ok(staged)
    }

    /// Finds the segment that a group goes to.
    fn begin_group(&mut self, calls: &[Call]) -> Result<Staged, StoreError> {
        let full = |active: &Active| {
            active.written > SEGMENT_HEADER_BYTES && !self.fits(active, active.written, calls)
        };
        if self.active.as_ref().is_some_and(full) {
            self.roll();
        }
        let (active, fresh) = match self.active.take() {
            Some(active) => (active, false),
            None => (self.create_segment()?, true),
        };
        Ok(Staged {
            fresh,
            first: self.next_sequence,
            calls: 0,
            end: active.written,
            last_frame: None,
            places: Vec::new(),
            active,
        })
    }

    /// Whether a segment has room for these calls and its outline, after this offset.
    fn fits(&self, active: &Active, end: u64, calls: &[Call]) -> bool {
        let outline = active.outline.as_ref();
        let behind = outline.map_or(0, |outline| outline.length_with(calls));
        end + self.group_length(calls) + behind <= self.segment_bytes
    }

    fn group_length(&self, calls: &[Call]) -> u64 {
        let calls: u64 = calls.iter().map(Call::encoded_length).sum();
        let again: u64 = self.rewrite.iter().map(Settled::encoded_length).sum();
        let group = frame_length(0, GroupBody::BYTES);
        group + again + void_length(&self.voids) + calls
    }

    /// Encodes calls, and writes all but the end of them.
    fn encode(
        &mut self,
        index: &Mutex<Catalog>,
        staged: &mut Staged,
        begins: bool,
        calls: &[Call],
    ) {
        let first = self.next_sequence;
        let count: usize = calls.iter().map(Call::records).sum();
        // If the write fails, there is none any more.
        let outline = staged.active.outline.take();
        let active = &staged.active;
        let encoder = &mut self.encoder;
        encoder.begin(staged.end, first, outline);
        if begins && staged.fresh {
            let (number, salt) = (active.number, self.salt);
            let header = SegmentHeader {
                number,
                salt,
                base: first,
                previous: self.end,
            };
            encoder.raw(&header.encode());
        }
        let (oldest, oldest_base) = oldest_needed(&lock(index)).unwrap_or((active.number, first));
        encoder.group(
            &GroupBody {
                salt: self.salt,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                stable: u32::try_from(active.synced).unwrap_or(u32::MAX),
                oldest,
                oldest_base,
            },
            &active.seal,
        );
        if begins {
            for settled in &self.rewrite {
                encoder.settled(settled, &active.seal);
            }
            if !self.voids.is_empty() {
                encoder.voids(&self.voids, &active.seal);
            }
        }
        calls
            .iter()
            .for_each(|call| encoder.call(call, &active.seal, &*active.file));
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
        self.voids = Ranges::default();
        let rewritten = std::mem::take(&mut self.rewrite);
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
