//! The records of a store as they are on disk, and all that is done to them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use super::append::Appends;
use super::copy::Copy;
use super::fault::{Fault, Outcome};
use super::generation::{Changes, Generation};
use super::home::{GenerationId, Home};
use super::index::Index;
use super::manifest::Manifest;
use super::mark::Mark;
use super::pieces::{Lost, Step, Walk};
use super::read::{self, stored};
use super::segment::SegmentSize;
use super::{Options, settle, space};
use crate::{
    Durability, NewRecord, ReadLimits, Record, RecordId, Removed, Settlement, StoreError,
    StreamName,
};

/// The open database of a store.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) generation: Generation,
    pub(super) index: Index,
    pub(super) mark: Mark,
    /// What the generation took on the disk when it began.
    pub(super) base_bytes: u64,
}

/// Records that could not be read, by stream.
pub(super) type Losses = BTreeMap<StreamName, Removed>;

/// What may be read, and what had to be dropped for it.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    pub(super) damaged: Removed,
}

impl Disk {
    /// Makes an empty generation the one that counts.
    pub(super) fn create(home: &Home, options: &Options, number: u64, floor: u64) -> Outcome<Self> {
        let id = new_id(number);
        let segment = SegmentSize::for_cap(options.expected_bytes);
        let filled = Generation::create(home, id, segment)
            .and_then(|generation| Copy::into_new(generation).finish(floor));
        let generation = filled.map_err(|fault| {
            let _ = home.remove_generation(id);
            Fault::Untouched(fault.into_error(home.path()))
        })?;
        Self::adopt(home, generation, Index::new(floor))
    }

    /// Makes a complete generation the one that counts.
    pub(super) fn adopt(home: &Home, generation: Generation, index: Index) -> Outcome<Self> {
        let refused = |error| Fault::io("cannot write to the directory", home.path(), error);
        home.sync().map_err(refused)?;
        Manifest {
            generation: generation.id(),
            segment: generation.segment(),
        }
        .write(home)
        .map_err(refused)?;
        let mark = Mark::open(home.path()).map_err(refused)?;
        let base_bytes = generation.allocated();
        let mut disk = Self {
            generation,
            index,
            mark,
            base_bytes,
        };
        disk.note_mark();
        Ok(disk)
    }

    /// Makes all appends and settlements, in one step, as durable as asked.
    ///
    /// Returns what each settlement deleted. After an error other than
    /// [`Fault::Untouched`] this value must not be used any more.
    pub(super) fn write(
        &mut self,
        home: &Home,
        options: &Options,
        appends: &[&[NewRecord]],
        settlements: &[&Settlement],
    ) -> Outcome<Vec<Removed>> {
        let appended = appends
            .iter()
            .copied()
            .flatten()
            .map(NewRecord::size)
            .sum::<u64>();
        self.check_room(home, appended, if appends.is_empty() { 1 } else { 4 })?;

        let mut changes = Changes::default();
        let mut removed = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            // Before the appends, whose ids nobody can know yet.
            removed.push(match self.index.find_mut(&settlement.stream) {
                Some(stream) => settle::settle(&self.generation, stream, settlement, &mut changes)?,
                None => Removed::default(),
            });
        }
        let codec = *self.generation.codec();
        let mut chunks = Appends::default();
        for record in appends.iter().copied().flatten() {
            chunks
                .push(&mut self.index, &codec, record, &mut changes)
                .map_err(Fault::Refused)?;
        }
        chunks.finish(&mut self.index, &codec, &mut changes);
        if changes.is_empty() {
            return Ok(removed);
        }
        self.generation.apply(changes)?;
        self.generation.flush()?;
        if !appends.is_empty() {
            if options.durability == Durability::PowerLoss {
                self.generation.sync_data()?;
            }
            self.note_mark();
        }
        Ok(removed)
    }

    /// Reads, and drops what turns out to be damaged.
    pub(super) fn oldest(
        &mut self,
        home: &Home,
        name: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Outcome<Read> {
        let Some(stream) = self.index.find(name) else {
            return Ok(Read::default());
        };
        let found = read::oldest(&self.generation, stream, after, limits)?;
        if found.lost.is_empty() {
            return Ok(Read {
                records: found.records,
                damaged: Removed::default(),
            });
        }
        match self.drop_lost(home, name, &found.lost) {
            Ok(damaged) => Ok(Read {
                records: found.records,
                damaged,
            }),
            // It stays where it is, and a later read comes upon it again.
            Err(Fault::Untouched(_)) => Ok(Read {
                records: found.records,
                damaged: Removed::default(),
            }),
            Err(fault) => Err(fault),
        }
    }

    /// Writes all records that are left to a new generation.
    pub(super) fn rewrite(&self, home: &Home, beat: &dyn Fn()) -> Outcome<(Generation, Losses)> {
        let id = new_id(self.generation.id().number + 1);
        let filled = Generation::create(home, id, self.generation.segment())
            .and_then(|generation| self.copy_into(generation, beat));
        filled.inspect_err(|_| {
            let _ = home.remove_generation(id);
        })
    }

    /// Lets go of the database and deletes it.
    pub(super) fn remove(self, home: &Home) {
        let id = self.generation.id();
        self.generation.release();
        let removed = home.remove_generation(id).and_then(|()| home.sync());
        if let Err(error) = removed {
            // The next opening tries again.
            tracing::warn!(target: "record_cache", %error, "cannot delete an old generation");
        }
    }

    /// Refuses what would fill the disk, so that sled never finds it full.
    pub(super) fn check_room(&self, home: &Home, bytes: u64, segments: u64) -> Outcome<()> {
        let segment = self.generation.segment().bytes() as u64;
        check_room(home, segments * segment + bytes.saturating_mul(4))
    }

    fn copy_into(&self, generation: Generation, beat: &dyn Fn()) -> Outcome<(Generation, Losses)> {
        let mut copy = Copy::into_new(generation);
        let mut floor = self.index.floor;
        let mut losses = Losses::default();
        for stream in self.index.streams.values() {
            if stream.records == 0 {
                floor = floor.max(stream.next);
                continue;
            }
            copy.begin(&stream.name, stream.head)?;
            let mut walk = Walk::from_head(&self.generation, stream);
            loop {
                let piece = match walk.step()? {
                    Step::Piece(piece) => piece,
                    Step::Lost(lost) => {
                        *losses.entry(stream.name.clone()).or_default() += lost.removed;
                        continue;
                    }
                    Step::End => break,
                };
                beat();
                let partial = stream.partial(piece.first());
                for (index, sequence) in (piece.first()..piece.end()).enumerate() {
                    if partial.is_some_and(|partial| partial.is_gone(index)) {
                        continue;
                    }
                    let Some(stored) = stored(&self.generation, &piece, index)? else {
                        let lost = walk.give_up(&piece)?;
                        *losses.entry(stream.name.clone()).or_default() += lost.removed;
                        break;
                    };
                    let attempts = partial.map_or(0, |partial| partial.attempts(index));
                    copy.push(sequence, &stored, attempts)?;
                }
            }
            copy.end(stream.next)?;
        }
        Ok((copy.finish(floor)?, losses))
    }

    fn drop_lost(&mut self, home: &Home, name: &StreamName, lost: &[Lost]) -> Outcome<Removed> {
        self.check_room(home, 0, 1)?;
        let mut changes = Changes::default();
        if let Some(stream) = self.index.find_mut(name) {
            settle::drop_lost(&self.generation, stream, lost, &mut changes)?;
        }
        self.generation.apply(changes)?;
        self.generation.flush()?;
        let mut damaged = Removed::default();
        lost.iter().for_each(|lost| damaged += lost.removed);
        Ok(damaged)
    }

    fn note_mark(&mut self) {
        let salt = self.generation.id().salt;
        if let Err(error) = self.mark.write(salt, self.index.appended()) {
            // It only serves to notice damage; the records themselves are safe.
            tracing::debug!(target: "record_cache", %error, "cannot note the count of records");
        }
    }
}

/// A generation that never was.
pub(super) fn new_id(number: u64) -> GenerationId {
    GenerationId {
        number,
        salt: RandomState::new().hash_one(number),
    }
}

/// Refuses unless so many bytes are free.
pub(super) fn check_room(home: &Home, bytes: u64) -> Outcome<()> {
    let free = space::free(home.path());
    if free >= bytes {
        return Ok(());
    }
    let path = home.path().display();
    Err(Fault::Untouched(StoreError::unavailable_because(format!(
        "disk full: path={path}, free={free}, needed={bytes}"
    ))))
}
