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
use super::ranges::Ranges;
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

    /// Writes a group; when that fails, nothing of it counts.
    pub(super) fn commit(
        &mut self,
        index: &Mutex<Index>,
        calls: &[Call],
        barrier: Barrier,
    ) -> Result<Written, StoreError> {
        let count: usize = calls.iter().map(Call::records).sum();
        let first = self.next_sequence;
        let written = self.write_group(index, calls, count, barrier);
        self.next_sequence = first + count as u64;
        match written {
            Ok((segment, places)) => Ok(Written {
                segment,
                first,
                places,
            }),
            Err(error) => {
                self.voids.insert(first, self.next_sequence);
                Err(error)
            }
        }
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

    fn write_group(
        &mut self,
        index: &Mutex<Index>,
        calls: &[Call],
        count: usize,
        barrier: Barrier,
    ) -> Result<(u32, Vec<u32>), StoreError> {
        let length = self.group_length(calls);
        let room = self.segment_bytes;
        if self.active.as_ref().is_some_and(|active| {
            let outline = active.outline.as_ref();
            let behind = outline.map_or(0, |outline| outline.length_with(calls));
            active.written + length + behind > room && active.written > SEGMENT_HEADER_BYTES
        }) {
            self.roll();
        }
        let (mut active, fresh) = match self.active.take() {
            Some(active) => (active, false),
            None => (self.create_segment()?, true),
        };
        // Where the write fails there is none any more.
        let outline = active.outline.take();
        self.encode(index, &active, outline, fresh, calls, count);
        if let Err(error) = active.file.write(&mut self.encoder.parts(), active.written) {
            let error = self.refused("cannot write", &segment_name(active.number), error);
            if fresh {
                self.discard(&active);
            } else if active.file.truncate(active.written).is_ok() {
                self.active = Some(active);
            } else {
                self.abandon(&active);
            }
            return Err(error);
        }
        let end = self.encoder.end();
        let must_sync = barrier == Barrier::Synced || self.unsynced_bytes > UNSYNCED_BYTES;
        if must_sync && let Err(error) = self.sync_all(&mut active) {
            let error = self.refused("cannot sync", &segment_name(active.number), error);
            if fresh {
                self.discard(&active);
            } else {
                self.abandon(&active);
            }
            return Err(error);
        }
        self.settle_accounts(index, &active, fresh, must_sync, calls);
        active.written = end;
        active.outline = self.encoder.take_outline();
        if must_sync {
            active.synced = end;
        }
        let number = active.number;
        self.active = Some(active);
        Ok((number, self.encoder.take_places()))
    }

    fn group_length(&self, calls: &[Call]) -> u64 {
        let calls: u64 = calls.iter().map(Call::encoded_length).sum();
        let again: u64 = self.rewrite.iter().map(settled_length).sum();
        let group = frame_length(0, GroupBody::BYTES);
        let origins: u64 = self.origins.values().map(origin_length).sum();
        group + again + void_length(&self.voids) + origins + calls
    }

    fn encode(
        &mut self,
        index: &Mutex<Index>,
        active: &Active,
        outline: Option<Outline>,
        fresh: bool,
        calls: &[Call],
        count: usize,
    ) {
        let first = self.next_sequence;
        let encoder = &mut self.encoder;
        encoder.begin(active.written, first, outline);
        if fresh {
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
        for settled in &self.rewrite {
            encoder.settled(settled, &active.seal);
        }
        if !self.voids.is_empty() {
            encoder.voids(&self.voids, &active.seal);
        }
        if fresh {
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
        active: &Active,
        fresh: bool,
        synced: bool,
        calls: &[Call],
    ) {
        let mut index = lock(index);
        let needless_below = oldest_needed(&index).map_or(active.number, |(number, _)| number);
        if synced || self.durability == Durability::ProcessCrash {
            self.needless_below = needless_below;
        }
        let length = self.encoder.end();
        if fresh {
            let (file, base) = (Arc::clone(&active.file), self.next_sequence);
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
