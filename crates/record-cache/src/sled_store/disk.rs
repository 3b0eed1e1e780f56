//! The records of a store as they are on disk, and all that is done to them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;

use super::append::Appends;
use super::copy::{Copy, Taker};
use super::fault::{Fault, Outcome, unavailable};
use super::generation::{Changes, Generation};
use super::home::{GenerationId, Home};
use super::index::{Index, Stream};
use super::manifest::Manifest;
use super::mark::{Mark, Noted};
use super::pieces::{Lost, Piece, Step, Walk};
use super::read::{self, stored};
use super::segment::SegmentSize;
use super::{Options, settle, space};
use crate::{NewRecord, ReadLimits, Record, RecordId, Removed, Settlement, StoreError, StreamName};

/// What has to be free on the disk for records to be taken in, beside their own size.
pub(super) const APPEND_SEGMENTS: u64 = 4;
/// The same for records to be deleted, which frees some, but not at once.
const SETTLE_SEGMENTS: u64 = 1;

/// The open database of a store.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) generation: Generation,
    pub(super) index: Index,
    pub(super) mark: Mark,
    /// What the generation took on the disk when it began.
    pub(super) base_bytes: u64,
    /// Keys of payloads whose records are gone, which are removed when nobody waits.
    discarded: Vec<sled::IVec>,
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
    /// Begins the empty generation that the manifest names.
    pub(super) fn begin(home: &Home, options: &Options, manifest: Manifest) -> Outcome<Self> {
        let id = manifest.generation;
        // A part of it may be there from an attempt that was cut short.
        home.remove_generation(id)
            .map_err(|error| Fault::io("cannot delete files", home.path(), error))?;
        let created = Generation::create(home, id, manifest.segment, options.durability);
        let filled = created.and_then(|empty| Copy::into_new(empty).finish(manifest.floor));
        let generation = filled.inspect_err(|_| {
            let _ = home.remove_generation(id);
        })?;
        home.sync()
            .map_err(|error| Fault::io("cannot sync", home.path(), error))?;
        Self::new(home, generation, Index::new(manifest.floor))
    }

    /// Makes a complete generation the one that counts.
    ///
    /// After [`Fault::Refused`] it may be that or not.
    pub(super) fn adopt(home: &Home, generation: Generation, index: Index) -> Outcome<Self> {
        home.sync()
            .map_err(|error| Fault::Untouched(unavailable("cannot sync", home.path(), error)))?;
        let manifest = Manifest {
            generation: generation.id(),
            segment: generation.segment(),
            floor: index.ceiling(),
        };
        manifest.write(home)?;
        Self::new(home, generation, index)
    }

    /// What the manifest has to say for the generation to be empty, and the next one.
    pub(super) fn emptied(&self, options: &Options) -> Manifest {
        empty_manifest(
            options,
            self.generation.id().number + 1,
            self.index.ceiling(),
        )
    }

    pub(super) fn new(home: &Home, generation: Generation, index: Index) -> Outcome<Self> {
        let mark = Mark::open(home.path())
            .map_err(|error| Fault::io("cannot write to the directory", home.path(), error))?;
        let base_bytes = generation.allocated();
        let mut disk = Self {
            generation,
            index,
            mark,
            base_bytes,
            discarded: Vec::new(),
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
        appends: &[&[NewRecord]],
        settlements: &[&Settlement],
    ) -> Outcome<Vec<Removed>> {
        let mut came = Removed::default();
        for record in appends.iter().copied().flatten() {
            came += Removed::new(1, record.size());
        }
        let segments = if appends.is_empty() {
            SETTLE_SEGMENTS
        } else {
            APPEND_SEGMENTS
        };
        self.check_room(home, came.bytes, segments)?;

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
        let went = removed
            .iter()
            .copied()
            .fold(Removed::default(), |mut sum, one| {
                sum += one;
                sum
            });
        self.discarded.append(&mut changes.take_discarded());
        self.generation.apply(changes)?;
        self.generation.commit()?;
        self.index.note(came, went);
        self.note_mark();
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

    /// Frees what earlier calls have let go of; a crash before that is made good at opening.
    pub(super) fn discard(&mut self, home: &Home) -> Outcome<()> {
        if self.discarded.is_empty() || self.check_room(home, 0, SETTLE_SEGMENTS).is_err() {
            return Ok(());
        }
        self.generation.discard(mem::take(&mut self.discarded))
    }

    /// Hands all records that are left to someone else; returns those that are lost.
    pub(super) fn hand_to(&self, taker: &mut impl Taker, beat: &dyn Fn()) -> Outcome<Losses> {
        let mut losses = Losses::default();
        for stream in self
            .index
            .streams
            .values()
            .filter(|stream| stream.records > 0)
        {
            let lost = losses.entry(stream.name.clone()).or_default();
            taker.begin(&stream.name, stream.head)?;
            let mut walk = Walk::from_head(&self.generation, stream);
            loop {
                beat();
                match walk.step()? {
                    Step::Piece(piece) => {
                        if !self.hand_piece(stream, &piece, taker)? {
                            *lost += walk.give_up(&piece)?.removed;
                        }
                    }
                    Step::Lost(gap) => *lost += gap.removed,
                    Step::End => break,
                }
            }
            taker.end(stream.next)?;
        }
        losses.retain(|_, lost| lost.records > 0);
        Ok(losses)
    }

    /// Above every sequence of the streams that have no records any more.
    pub(super) fn floor_without_records(&self) -> u64 {
        let empty = self
            .index
            .streams
            .values()
            .filter(|stream| stream.records == 0);
        empty
            .map(|stream| stream.next)
            .fold(self.index.floor, u64::max)
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

    /// Whether the piece could be read.
    fn hand_piece(&self, stream: &Stream, piece: &Piece, taker: &mut impl Taker) -> Outcome<bool> {
        let partial = stream.partial(piece.first());
        for (index, sequence) in (piece.first()..piece.end()).enumerate() {
            if partial.is_some_and(|partial| partial.is_gone(index)) {
                continue;
            }
            let Some(stored) = stored(&self.generation, piece, index)? else {
                return Ok(false);
            };
            let attempts = partial.map_or(0, |partial| partial.attempts(index));
            taker.push(sequence, &stored, attempts)?;
        }
        Ok(true)
    }

    fn drop_lost(&mut self, home: &Home, name: &StreamName, lost: &[Lost]) -> Outcome<Removed> {
        self.check_room(home, 0, SETTLE_SEGMENTS)?;
        let mut changes = Changes::default();
        if let Some(stream) = self.index.find_mut(name) {
            settle::drop_lost(&self.generation, stream, lost, &mut changes)?;
        }
        self.generation.apply(changes)?;
        self.generation.commit()?;
        let mut damaged = Removed::default();
        lost.iter().for_each(|lost| damaged += lost.removed);
        self.index.note(Removed::default(), damaged);
        self.note_mark();
        Ok(damaged)
    }

    fn note_mark(&mut self) {
        let salt = self.generation.id().salt;
        let noted = Noted {
            appended: self.index.appended(),
            held: self.index.records(),
        };
        if let Err(error) = self.mark.write(salt, noted) {
            // It only serves to notice damage; the records themselves are safe.
            tracing::debug!(target: "record_cache", %error, "cannot note the count of records");
        }
    }
}

/// Names a generation that is empty, and that nobody has begun yet.
pub(super) fn empty_manifest(options: &Options, number: u64, floor: u64) -> Manifest {
    Manifest {
        generation: new_id(number),
        segment: SegmentSize::for_cap(options.expected_bytes),
        floor,
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

#[cfg(test)]
mod tests {
    use super::super::home::Home;
    use super::super::{Options, keys, recover};
    use super::Disk;
    use crate::{Durability, NewRecord, RecordId, Settlement, StreamName};

    const OPTIONS: Options = Options {
        durability: Durability::ProcessCrash,
        expected_bytes: 1_000_000,
    };

    fn open(home: &Home) -> Disk {
        let (disk, loss) = recover::open(home, &OPTIONS, &|| ()).unwrap();
        assert_eq!(loss.records(), 0);
        disk
    }

    fn payloads(disk: &Disk) -> usize {
        disk.generation.tree().range(keys::streams_from(0)).count()
    }

    #[test]
    fn what_a_crash_kept_from_being_freed_is_freed_at_the_next_opening() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let stream = StreamName::new("a").unwrap();
        let mut disk = open(&home);
        for _ in 0..9 {
            // Each a payload of its own.
            let record = NewRecord::new(stream.clone(), None, vec![7; 4_000]);
            disk.write(&home, &[&[record]], &[]).unwrap();
        }
        // At the head, and in the midst.
        let gone = [0, 1, 2, 5, 6].map(RecordId::new);
        let settlement = Settlement::new(stream).delete(gone);
        disk.write(&home, &[], &[&settlement]).unwrap();
        assert_eq!(payloads(&disk), 9, "nobody has freed them yet");
        disk.generation.release();

        let mut disk = open(&home);
        assert_eq!((payloads(&disk), disk.index.records()), (4, 4));
        disk.discard(&home).unwrap();
        disk.generation.release();
        let disk = open(&home);
        assert_eq!((payloads(&disk), disk.index.records()), (4, 4));
        disk.generation.release();
    }
}
