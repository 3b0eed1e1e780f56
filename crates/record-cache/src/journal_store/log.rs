//! The end of the log, where groups are written.

mod outlines;
mod segment_end;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use self::outlines::Sealed;
use super::disk::{Disk, DiskFile};
use super::format::segment_name;
use super::format::{MARK, Mark, Previous, SEGMENT_HEADER_BYTES, SegmentHeader, TEMPORARY_MARK};
use super::frame::{ALIGNMENT, GroupBody, Seal, frame_length};
use super::group::{Call, Encoder, Origin, origin_length, settled_length, void_length};
use super::index::{Index, Segment, Settled};
use super::outline::Outline;
use crate::index::ranges::Ranges;
use crate::{Durability, StoreError, StreamName};

/// Settled records are remembered until a sync; a sync is made when they are this many bytes.
const UNSYNCED_BYTES: u64 = 1 << 20;

/// Whether a group has to be on stable storage before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Barrier {
    None,
    Synced,
}

/// Where a group went.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) segment: u32,
    /// The number of the first of its records.
    pub(super) first: u64,
    /// Where each record's frame begins.
    pub(super) places: Vec<u32>,
}

/// The segment that is written to, and what must be written next.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    durability: Durability,
    segment_bytes: u64,
    salt: u64,
    active: Option<Active>,
    /// Where the log ends, as long as no segment is written to.
    end: Option<Previous>,
    next_number: u32,
    next_sequence: u64,
    /// Numbers that no record got, not yet written down.
    voids: Ranges,
    /// Written and not yet synced: lost if the next sync fails.
    unsynced: Vec<Settled>,
    unsynced_bytes: u64,
    /// Lost by a sync that failed; written again with the next group.
    rewrite: Vec<Settled>,
    origins: BTreeMap<(String, StreamName), Origin>,
    /// Segments below are not needed, which is as durable as it has to be.
    needless_below: u32,
    encoder: Encoder,
    staged: Option<Staged>,
    /// Segments that are complete, but for their outlines.
    sealed: Vec<Sealed>,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) seal: Seal,
    pub(super) written: u64,
    pub(super) synced: u64,
    /// Whether the directory is known to hold it after a loss of power.
    pub(super) entered: bool,
    /// What it says so far; nothing when that is not known.
    pub(super) outline: Option<Outline>,
}

/// A group that is written in part or whole, and does not count yet.
#[derive(Debug)]
struct Staged {
    active: Active,
    /// Whether the segment begins with it.
    fresh: bool,
    /// The number of its first record.
    first: u64,
    /// How many of its calls are written, and where they end.
    calls: usize,
    end: u64,
    places: Vec<u32>,
}

/// How a log goes on after it was read.
#[derive(Debug, Default)]
pub(super) struct Continuation {
    pub(super) active: Option<Active>,
    pub(super) end: Option<Previous>,
    pub(super) next_number: u32,
    pub(super) next_sequence: u64,
    pub(super) voids: Ranges,
    pub(super) rewrite: Vec<Settled>,
    pub(super) origins: BTreeMap<(String, StreamName), Origin>,
    /// Complete segments that were found without an outline.
    pub(super) sealed: Vec<Sealed>,
}

impl Log {
    pub(super) fn new(
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
            next_number: from.next_number,
            next_sequence: from.next_sequence,
            voids: from.voids,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            rewrite: from.rewrite,
            origins: from.origins,
            needless_below: 0,
            encoder: Encoder::default(),
            staged: None,
            sealed: from.sealed,
        }
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The segment that is written to.
    pub(super) fn active_segment(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.number)
    }

    /// Segments below this one may be deleted.
    pub(super) fn needless_below(&self) -> u32 {
        self.needless_below
    }

    pub(super) fn must_rewrite(&self) -> bool {
        !self.rewrite.is_empty()
    }

    pub(super) fn origin(&self, source: &str, stream: &StreamName) -> Option<&Origin> {
        self.origins.get(&(source.to_owned(), stream.clone()))
    }

    /// Writes calls of a group that more are going to join; `calls` are all of it so far.
    ///
    /// When that fails, nothing of the group counts.
    pub(super) fn stage(&mut self, index: &Mutex<Index>, calls: &[Call]) -> Result<(), StoreError> {
        let staged = self.staged.take();
        self.staged = Some(self.write_part(index, staged, calls)?);
        Ok(())
    }

    /// How many calls of the present group are written.
    pub(super) fn staged_calls(&self) -> usize {
        self.staged.as_ref().map_or(0, |staged| staged.calls)
    }

    /// Whether the rest of the present group has to go to another segment.
    pub(super) fn is_full_for(&self, calls: &[Call]) -> bool {
        self.staged.as_ref().is_some_and(|staged| {
            let rest = calls.get(staged.calls..).unwrap_or_default();
            !rest.is_empty() && !self.fits(&staged.active, staged.end, rest)
        })
    }

    /// Writes a group, or the rest of it; when that fails, nothing of it counts.
    pub(super) fn commit(
        &mut self,
        index: &Mutex<Index>,
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
            places,
            ..
        } = staged;
        active.written = end;
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
    pub(super) fn write_leftovers(&mut self, index: &Mutex<Index>) -> Result<(), StoreError> {
        if self.voids.is_empty() && self.rewrite.is_empty() {
            return Ok(());
        }
        self.commit(index, &[], Barrier::Synced).map(drop)
    }

    /// Notes how far the log has come, for the next time that it is opened.
    pub(super) fn write_mark(&self) -> Result<(), StoreError> {
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
        };
        write_mark(&*self.disk, &mark).map_err(|error| self.refused("cannot write", MARK, error))
    }

    pub(super) fn refused(&self, doing: &str, name: &str, error: io::Error) -> StoreError {
        refused(&*self.disk, doing, name, error)
    }

    /// Writes those calls of a group that are not written yet.
    fn write_part(
        &mut self,
        index: &Mutex<Index>,
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
        let file = &staged.active.file;
        if let Err(error) = file.write(&mut self.encoder.parts(), staged.end) {
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
            places: Vec::new(),
            active,
        })
    }

    /// Whether a segment that is written up to some place has room for these, and for its
    /// outline.
    fn fits(&self, active: &Active, end: u64, calls: &[Call]) -> bool {
        let outline = active.outline.as_ref();
        let behind = outline.map_or(0, |outline| outline.length_with(calls));
        end + self.group_length(calls) + behind <= self.segment_bytes
    }

    fn group_length(&self, calls: &[Call]) -> u64 {
        let calls: u64 = calls.iter().map(Call::encoded_length).sum();
        let again: u64 = self.rewrite.iter().map(settled_length).sum();
        let group = frame_length(0, GroupBody::BYTES);
        let origins: u64 = self.origins.values().map(origin_length).sum();
        group + again + void_length(&self.voids) + origins + calls
    }

    fn encode(&mut self, index: &Mutex<Index>, staged: &mut Staged, begins: bool, calls: &[Call]) {
        let first = self.next_sequence;
        let count: usize = calls.iter().map(Call::records).sum();
        // Where the write fails there is none any more.
        let outline = staged.active.outline.take();
        let active = &staged.active;
        let encoder = &mut self.encoder;
        encoder.begin(staged.end, first, outline);
        let writes_header = begins && staged.fresh;
        if writes_header {
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
        if writes_header {
            // The segment that says so may go, so each says it again.
            self.origins
                .values()
                .for_each(|origin| encoder.origin(origin, true, &active.seal));
        }
        calls
            .iter()
            .for_each(|call| encoder.call(call, &active.seal));
    }

    /// What holds once a group is written.
    fn settle_accounts(
        &mut self,
        index: &Mutex<Index>,
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
            segment.length = length;
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
                self.unsynced_bytes += settled_length(&settled);
                self.unsynced.push(settled);
            }
        }
        for call in calls {
            if let Call::Append {
                origin: Some(origin),
                ..
            } = call
            {
                let key = (origin.source.clone(), origin.stream.clone());
                self.origins.insert(key, origin.clone());
            }
        }
    }

    fn forget_unsynced(&mut self) {
        self.unsynced = Vec::new();
        self.unsynced_bytes = 0;
    }
}

/// The first segment that holds something, or else the last one.
fn oldest_needed(index: &Index) -> Option<(u32, u64)> {
    let holding = index
        .segments
        .iter()
        .find(|(_, segment)| segment.live_records > 0);
    let (number, segment) = holding.or_else(|| index.segments.last_key_value())?;
    Some((*number, segment.base))
}

pub(super) fn write_mark(disk: &dyn Disk, mark: &Mark) -> io::Result<()> {
    match disk.remove(TEMPORARY_MARK) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(TEMPORARY_MARK)?;
    file.write(&mut [io::IoSlice::new(&mark.encode())], 0)?;
    file.sync()?;
    disk.rename(TEMPORARY_MARK, MARK)?;
    disk.sync()
}

pub(super) fn refused(disk: &dyn Disk, doing: &str, name: &str, error: io::Error) -> StoreError {
    let path = disk.path().join(name);
    StoreError::unavailable(format!("{doing}: path={}", path.display()), error)
}

// No code that can panic runs under the lock, so a poisoned one is still whole.
pub(super) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(ALIGNMENT));
