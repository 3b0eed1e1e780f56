//! The end of the log, where groups are written.

mod segment;
mod write;

use std::io;
use std::sync::{Arc, Mutex};

use self::write::{Syncing, Unsynced};
use super::catalog::{Catalog, Settled};
use super::files::{Disk, DiskFile, remove_if_there};
use super::format::{MARK, Mark, Previous, SEGMENT_HEADER_BYTES, TEMPORARY_MARK};
use super::frame::{ALIGNMENT, Seal};
use super::group::{Call, Encoder};
use super::outline::Outline;
use crate::index::ranges::Ranges;
use crate::index::{Checkpoint, Entry};
use crate::{Durability, StoreError};

/// The active segment, and what has to be written next.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    /// Locked by whatever writes, so no caller may hold it.
    catalog: Arc<Mutex<Catalog>>,
    /// What appends survive.
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) at: Continuation,
    /// The next segment, if its file was made in advance.
    spare: Option<Active>,
    unsynced: Unsynced,
    syncing: Option<Syncing>,
    /// Numbers below this one survive a failed sync.
    counted_below: u64,
    /// The oldest segment that the last group still needs.
    needed: u32,
    /// Segments below this one are no longer needed and may be deleted; this is durable.
    pub(crate) needless_below: u32,
    encoder: Encoder,
}

#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seal: Seal,
    pub(crate) written: u64,
    pub(crate) synced: u64,
    /// The first sequence number in it.
    pub(crate) base: u64,
    /// Whether nothing in it has taken effect yet.
    pub(crate) fresh: bool,
    /// Whether it accepts no more data.
    pub(crate) full: bool,
    /// Whether a power loss may bring back data after its end.
    pub(crate) torn: bool,
    /// The checksum of the last frame, if known.
    pub(crate) last_frame: Option<u32>,
    /// Whether its directory entry has been synced.
    pub(crate) entered: bool,
    /// Whether it still has a temporary name, until it is on stable storage.
    pub(crate) aside: bool,
    /// Its outline so far, if known.
    pub(crate) outline: Option<Outline>,
}

/// How a log continues.
#[derive(Debug, Default)]
pub(crate) struct Continuation {
    /// Chosen at random for this store, so that no bytes of another pass for its own.
    pub(crate) salt: u64,
    /// The active segment, if any.
    pub(crate) active: Option<Active>,
    /// Where the log ends if no segment is active.
    pub(crate) end: Option<Previous>,
    /// Whether a power loss may leave data after that, or a segment that was discarded. Both count
    /// unless the next segment says where the log ended.
    pub(crate) torn: bool,
    pub(crate) next_number: u32,
    pub(crate) next_sequence: u64,
    /// Numbers that have no record. Written as void with the next group.
    pub(crate) voids: Ranges,
    /// Settlements possibly lost by a failed sync, to be written again at the end of the turn, or
    /// else with the next group.
    pub(crate) rewrite: Vec<Settled>,
    /// The outlines, not yet written, of complete segments.
    pub(crate) sealed: Vec<(u32, Outline)>,
}

impl Active {
    /// An empty segment in this file.
    pub(crate) fn new(number: u32, file: Arc<dyn DiskFile>, salt: u64) -> Self {
        Self {
            number,
            file,
            seal: Seal::new(salt, number),
            written: 0,
            synced: 0,
            base: 0,
            fresh: true,
            full: false,
            torn: false,
            last_frame: None,
            entered: false,
            aside: false,
            outline: Some(Outline::new()),
        }
    }

    fn end(&self) -> Previous {
        let (number, end) = (self.number, self.written);
        Previous { number, end }
    }
}

impl Log {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        catalog: Arc<Mutex<Catalog>>,
        durability: Durability,
        segment_bytes: u64,
        at: Continuation,
    ) -> Self {
        Self {
            disk,
            catalog,
            durability,
            segment_bytes,
            counted_below: at.next_sequence,
            at,
            spare: None,
            unsynced: Unsynced::default(),
            syncing: None,
            needed: 0,
            needless_below: 0,
            encoder: Encoder::default(),
        }
    }

    /// The number of the active segment.
    pub(crate) fn active_segment(&self) -> Option<u32> {
        self.at.active.as_ref().map(|active| active.number)
    }

    /// Whether the active segment's file was deleted.
    pub(crate) fn is_gone(&self) -> bool {
        let active = self.at.active.as_ref();
        active.is_some_and(|active| active.file.is_gone())
    }

    pub(crate) fn must_rewrite(&self) -> bool {
        !self.at.rewrite.is_empty()
    }

    /// Continues in another directory.
    pub(crate) fn set_disk(&mut self, disk: Arc<dyn Disk>) {
        // Its file is in the old one.
        self.spare = None;
        self.disk = disk;
    }

    /// The checkpoint for an index that covers all groups, if one is possible.
    ///
    /// There is none while settlements wait to be rewritten: they have taken effect, but will lie
    /// after this offset.
    pub(crate) fn checkpoint(&self, catalog: &Catalog) -> Option<Checkpoint> {
        let active = self.at.active.as_ref()?;
        let counted = catalog.segments.get(&active.number)?.end == active.written;
        let sound = counted && self.at.rewrite.is_empty();
        let holding = catalog.segments.iter();
        let holding = holding.filter(|(_, segment)| segment.live_records > 0);
        sound.then_some(Checkpoint {
            salt: self.at.salt,
            segment: active.number,
            offset: active.written,
            last_frame: active.last_frame?,
            next_sequence: self.at.next_sequence,
            segments: holding
                .map(|(number, segment)| (*number, segment.live_records, segment.live_bytes))
                .collect(),
        })
    }

    /// Writes a group and makes it take effect. Returns its records in the order of the calls. If
    /// this fails, nothing in the group takes effect.
    pub(crate) fn commit(
        &mut self,
        calls: &[Call],
        mut durability: Durability,
    ) -> Result<Vec<Entry>, StoreError> {
        if self.is_full_for(calls) {
            self.roll();
        }
        let entries = self.write(calls)?;
        if self.owes_sync() {
            durability = Durability::PowerLoss;
        }
        self.conclude(durability)?;
        if durability == Durability::ProcessCrash && self.durability == Durability::PowerLoss {
            for call in calls {
                if let Call::Settle(settled) = call {
                    self.unsynced.push(settled.clone());
                }
            }
        }
        Ok(entries)
    }

    /// Writes again the settlements that a failed sync took from the log, and void numbers, if there
    /// are any. Until then, only memory has them.
    pub(crate) fn write_leftovers(&mut self) -> Result<(), StoreError> {
        if self.at.voids.is_empty() && self.at.rewrite.is_empty() {
            return Ok(());
        }
        self.commit(&[], Durability::PowerLoss).map(drop)
    }

    /// Records the end of the log for the next open.
    pub(crate) fn write_mark(&self, held: u64) -> Result<(), StoreError> {
        let active = self.at.active.as_ref();
        let mark = Mark {
            salt: self.at.salt,
            next: self.at.next_sequence,
            last: active.map(Active::end).or(self.at.end),
            held,
        };
        write_mark(&*self.disk, &mark).map_err(|error| self.refused("cannot write", MARK, error))
    }

    pub(crate) fn refused(&self, doing: &str, name: &str, error: io::Error) -> StoreError {
        refused(&*self.disk, doing, name, error)
    }
}

/// The oldest segment with live records, or else the last one.
fn oldest_needed(index: &Catalog) -> Option<(u32, u64)> {
    let mut segments = index.segments.iter();
    let holding = segments.find(|(_, segment)| segment.live_records > 0);
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
