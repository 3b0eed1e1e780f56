//! The records of a store as they are on disk, and all that is done to them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use super::append::Appends;
use super::copy::{Copy, Taker};
use super::dead::Dead;
use super::fault::{Fault, Outcome, unavailable};
use super::generation::{Changes, Generation};
use super::home::{GenerationId, Home};
use super::index::{Index, Stream};
use super::manifest::Manifest;
use super::mark::{Mark, Noted};
use super::notes::{Note, Notes};
use super::pieces::{Lost, Piece, Step, Walk};
use super::read::{self, stored};
use super::segment::SegmentSize;
use super::{Options, settle, space};
use crate::{Amount, NewRecord, ReadLimits, Record, RecordId, Settlement, StoreError, StreamName};

/// What has to be free on the disk for records to be taken in, beside their own size.
pub(super) const APPEND_SEGMENTS: u64 = 4;
/// The same for records to be deleted, which frees some, but not at once.
const SETTLE_SEGMENTS: u64 = 1;
/// What has to be left of the notes for the next one, mostly.
const NOTE_ROOM: usize = 16 * 1024;
/// So many payloads are removed between two calls.
const REMOVED_AT_ONCE: usize = 256;

/// The open database of a store.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) generation: Generation,
    pub(super) index: Index,
    pub(super) mark: Mark,
    /// What the generation took on the disk when it began.
    pub(super) base_bytes: u64,
    pub(super) dead: Dead,
    notes: Notes,
}

/// Records that could not be read, by stream.
pub(super) type Losses = BTreeMap<StreamName, Amount>;

/// What may be read, and what had to be dropped for it.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    pub(super) damaged: Amount,
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

    pub(super) fn new(home: &Home, generation: Generation, mut index: Index) -> Outcome<Self> {
        if index.is_behind {
            // Before the notes that say so are void.
            let mut changes = Changes::default();
            index.save(generation.codec(), index.last_note, &mut changes);
            generation.apply(changes)?;
            generation.commit()?;
        }

        let mark = Mark::open(home.path())
            .map_err(|error| Fault::io("cannot write to the directory", home.path(), error))?;
        let salt = generation.id().salt;
        let notes = Notes::begin(generation.path(), salt, index.last_note)
            .map_err(|error| Fault::io("cannot write to the directory", home.path(), error))?;
        let base_bytes = generation.allocated();
        let mut disk = Self {
            dead: Dead::of(&index),
            generation,
            index,
            mark,
            base_bytes,
            notes,
        };
        disk.note_mark();
        Ok(disk)
    }

    /// Makes all appends, in one step, as durable as asked.
    ///
    /// After an error other than [`Fault::Untouched`] this value must not be used any more.
    pub(super) fn append(&mut self, home: &Home, appends: &[&[NewRecord]]) -> Outcome<()> {
        let mut came = Amount::default();
        for record in appends.iter().copied().flatten() {
            came += Amount::new(1, record.size());
        }
        self.check_room(home, came.bytes, APPEND_SEGMENTS)?;
        let mut changes = Changes::default();
        let codec = *self.generation.codec();
        let mut chunks = Appends::default();
        for record in appends.iter().copied().flatten() {
            chunks
                .push(&mut self.index, &codec, record, &mut changes)
                .map_err(Fault::Refused)?;
        }
        chunks.finish(&mut self.index, &codec, &mut changes);
        self.generation.make_places(&changes)?;
        self.generation.apply(changes)?;
        self.generation.commit()?;
        self.index.note(came, Amount::default());
        self.note_mark();
        Ok(())
    }

    /// Makes all settlements; returns what each of them deleted.
    ///
    /// They survive the end of the process from here on. The tree takes them in later.
    /// After an error other than [`Fault::Untouched`] this value must not be used any more.
    pub(super) fn settle(
        &mut self,
        home: &Home,
        settlements: &[&Settlement],
    ) -> Outcome<Vec<Amount>> {
        if self.notes.room() < NOTE_ROOM {
            self.check_room(home, 0, SETTLE_SEGMENTS)?;
            self.save_all(home)?;
        }
        let codec = *self.generation.codec();
        let mut note = Note::default();
        let mut removed = Vec::with_capacity(settlements.len());
        let mut went = Amount::default();
        for settlement in settlements {
            let Some(stream) = self.index.find_mut(&settlement.stream) else {
                removed.push(Amount::default());
                continue;
            };
            let (gone, step) = settle::settle(&self.generation, stream, settlement)?;
            for (first, end) in step.finished() {
                self.dead.push(stream.id, *first, *end);
            }
            step.note(stream, &codec, &mut note);
            removed.push(gone);
            went += gone;
        }
        if note.is_empty() {
            return Ok(removed);
        }
        if let Err(error) = self.notes.write(self.index.appended(), &note) {
            tracing::debug!(target: "record_cache", %error, "cannot note a settlement");
            // It is not known what of the note is there, so it is as if it had been written.
            self.save(home).map_err(Fault::too_late)?;
        }
        self.index.note(Amount::default(), went);
        self.note_mark();
        Ok(removed)
    }

    /// Has the tree take in what became of records.
    pub(super) fn save(&mut self, home: &Home) -> Outcome<()> {
        self.check_room(home, 0, SETTLE_SEGMENTS)?;
        let mut changes = Changes::default();
        let last = self.notes.last();
        let codec = *self.generation.codec();
        self.index.save(&codec, last, &mut changes);
        self.generation.apply(changes)?;
        self.generation.commit()?;
        if let Err(error) = self.notes.begin_again() {
            // Settlements go straight to the tree until it can be.
            tracing::debug!(target: "record_cache", %error, "cannot begin the notes again");
        }
        Ok(())
    }

    /// Leaves nothing to the notes, which are no more than the system's to keep.
    pub(super) fn save_all(&mut self, home: &Home) -> Outcome<()> {
        if self.index.has_unsaved() {
            self.save(home)?;
        }
        Ok(())
    }

    /// Reads, and drops what turns out to be damaged.
    pub(super) fn oldest(
        &mut self,
        home: &Home,
        name: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Outcome<Read> {
        let Some(stream) = self.index.find_mut(name) else {
            return Ok(Read::default());
        };
        let found = read::oldest(&self.generation, stream, after, limits)?;
        for layout in found.layouts {
            stream.layouts.remember(layout);
        }
        if found.lost.is_empty() {
            return Ok(Read {
                records: found.records,
                damaged: Amount::default(),
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
                damaged: Amount::default(),
            }),
            Err(fault) => Err(fault),
        }
    }

    /// Whether there are payloads in the tree that nobody needs.
    pub(super) fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Removes some of them, so that sled uses their room again.
    pub(super) fn remove_dead(&mut self, home: &Home) -> Outcome<()> {
        if self.check_room(home, 0, SETTLE_SEGMENTS).is_err() {
            return Ok(());
        }
        // They must not be missed, should the notes be lost.
        self.save_all(home)?;
        self.dead.remove(&self.generation, REMOVED_AT_ONCE)
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

    fn drop_lost(&mut self, home: &Home, name: &StreamName, lost: &[Lost]) -> Outcome<Amount> {
        self.check_room(home, 0, SETTLE_SEGMENTS)?;
        if let Some(stream) = self.index.find_mut(name) {
            settle::drop_lost(stream, lost);
            for lost in lost {
                self.dead.push(stream.id, lost.first, lost.end);
            }
        }
        self.save(home).map_err(Fault::too_late)?;
        let mut damaged = Amount::default();
        lost.iter().for_each(|lost| damaged += lost.removed);
        self.index.note(Amount::default(), damaged);
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
    use std::fs;
    use std::num::{NonZeroU64, NonZeroUsize};

    use super::super::generation::Changes;
    use super::super::home::Home;
    use super::super::{Options, keys, notes, recover};
    use super::Disk;
    use crate::{Amount, Durability, NewRecord, ReadLimits, RecordId, Settlement, StreamName};

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

    fn a() -> StreamName {
        StreamName::new("a").unwrap()
    }

    /// Appends records, each a payload of its own.
    fn append(home: &Home, disk: &mut Disk, records: u8) {
        for n in 0..records {
            let record = NewRecord::new(a(), None, vec![n; 4_000]);
            disk.append(home, &[&[record]]).unwrap();
        }
    }

    fn settle(home: &Home, disk: &mut Disk, ids: impl IntoIterator<Item = u64>) -> usize {
        let ids = ids.into_iter().map(RecordId::new);
        let settlement = Settlement::new(a()).delete(ids);
        disk.settle(home, &[&settlement]).unwrap()[0].records
    }

    fn read_after(home: &Home, disk: &mut Disk, after: Option<u64>) -> Vec<u64> {
        let limits = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
        let after = after.map(RecordId::new);
        let read = disk.oldest(home, &a(), after, limits).unwrap();
        assert_eq!(read.damaged.records, 0);
        read.records.iter().map(|record| record.id.get()).collect()
    }

    #[test]
    fn what_was_settled_is_removed_when_its_room_is_needed() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        append(&home, &mut disk, 9);
        // At the head, and in the midst.
        settle(&home, &mut disk, [0, 1, 2, 5, 6]);
        assert_eq!(payloads(&disk), 9, "nobody needs their room yet");
        disk.generation.release();

        let mut disk = open(&home);
        assert_eq!((payloads(&disk), disk.index.records()), (9, 4));
        disk.remove_dead(&home).unwrap();
        assert_eq!((payloads(&disk), disk.index.records()), (4, 4));
        disk.generation.release();
        let mut disk = open(&home);
        assert_eq!((payloads(&disk), disk.index.records()), (4, 4));
        assert_eq!(read_after(&home, &mut disk, None), [3, 4, 7, 8]);
        disk.generation.release();
    }

    #[test]
    fn ids_are_not_used_again_when_the_last_payloads_were_removed_first() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        append(&home, &mut disk, 9);
        settle(&home, &mut disk, 5..9);
        disk.remove_dead(&home).unwrap();
        settle(&home, &mut disk, 2..5);
        disk.save(&home).unwrap();
        assert_eq!(payloads(&disk), 5);
        disk.generation.release();

        let mut disk = open(&home);
        assert_eq!((disk.index.records(), disk.index.bytes()), (2, 8_000));
        append(&home, &mut disk, 2);
        assert_eq!(read_after(&home, &mut disk, None), [0, 1, 9, 10]);
        assert_eq!((disk.index.records(), disk.index.bytes()), (4, 16_000));
        disk.generation.release();
    }

    #[test]
    fn settlements_are_kept_however_many_there_are_and_wherever_they_stand() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        let mut expected: Vec<u64> = Vec::new();
        for round in 0..60_u64 {
            append(&home, &mut disk, 20);
            expected.extend(round * 20..round * 20 + 20);
            // Every third, one by one, so that the notes are full again and again.
            let gone: Vec<u64> = expected.iter().copied().skip(1).step_by(3).collect();
            for id in gone.iter().take(30) {
                assert_eq!(settle(&home, &mut disk, [*id]), 1);
                expected.retain(|left| left != id);
            }
            assert_eq!(settle(&home, &mut disk, gone.into_iter().take(30)), 0);
            if round % 7 == 0 {
                disk.remove_dead(&home).unwrap();
            }
            if round % 5 == 0 {
                // As a process ends that is killed.
                disk.generation.release();
                disk = open(&home);
            }
            assert_eq!(read_after(&home, &mut disk, None), expected);
            for after in (0..round * 20).step_by(7) {
                let behind = expected.iter().copied().filter(|id| *id > after);
                let behind: Vec<u64> = behind.collect();
                assert_eq!(read_after(&home, &mut disk, Some(after)), behind);
            }
            let held = 4_000 * expected.len() as u64;
            assert_eq!(disk.index.bytes(), held);
        }
        disk.generation.release();
    }

    #[test]
    fn a_settlement_with_more_to_say_than_a_note_takes_is_kept() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        let records: Vec<NewRecord> = (0..60_000)
            .map(|_| NewRecord::new(a(), None, vec![1; 10]))
            .collect();
        disk.append(&home, &[&records]).unwrap();
        let ids = (0..60_000).filter(|id| id % 2 == 0);
        assert_eq!(settle(&home, &mut disk, ids), 30_000);
        assert_eq!(settle(&home, &mut disk, [1, 3]), 2);
        disk.generation.release();
        let mut disk = open(&home);
        assert_eq!(disk.index.records(), 29_998);
        assert_eq!(
            read_after(&home, &mut disk, Some(59_990)),
            [59_991, 59_993, 59_995, 59_997, 59_999]
        );
        disk.generation.release();
    }

    #[test]
    fn settlements_that_were_noted_in_vain_are_undone_without_harm() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        append(&home, &mut disk, 12);
        settle(&home, &mut disk, 0..2);
        let notes = notes::file(disk.generation.path());
        let early = fs::read(&notes).unwrap();
        settle(&home, &mut disk, 4..8);
        let late = fs::read(&notes).unwrap();
        disk.remove_dead(&home).unwrap();
        settle(&home, &mut disk, 2..4);
        disk.generation.release();

        // The loss of power left older ones, which the tree has taken in, or none.
        let torn: Vec<u8> = late[..60].iter().chain(&[0; 900]).copied().collect();
        for left in [early, late, torn, Vec::new()] {
            fs::write(&notes, left).unwrap();
            let mut disk = open(&home);
            assert_eq!(read_after(&home, &mut disk, None), [2, 3, 8, 9, 10, 11]);
            disk.generation.release();
        }
        let mut disk = open(&home);
        append(&home, &mut disk, 1);
        assert_eq!(settle(&home, &mut disk, [2, 3, 8, 12]), 4);
        disk.generation.release();
        let mut disk = open(&home);
        assert_eq!(read_after(&home, &mut disk, None), [9, 10, 11]);
        disk.generation.release();
    }

    #[test]
    fn notes_about_records_that_the_database_lost_are_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        append(&home, &mut disk, 3);
        disk.generation.release();
        let disk = open(&home);
        let database = disk.generation.path().join("db");
        let rolled_back = fs::read(&database).unwrap();
        disk.generation.release();
        let mut disk = open(&home);
        append(&home, &mut disk, 3);
        settle(&home, &mut disk, [0, 4]);
        disk.generation.release();
        fs::write(&database, rolled_back).unwrap();
        fs::remove_file(place.path().join("mark")).unwrap();

        let mut disk = open(&home);
        assert_eq!(read_after(&home, &mut disk, None), [0, 1, 2]);
        append(&home, &mut disk, 2);
        assert_eq!(settle(&home, &mut disk, [0]), 1);
        disk.generation.release();
        let mut disk = open(&home);
        assert_eq!(read_after(&home, &mut disk, None), [1, 2, 3, 4]);
        disk.generation.release();
    }

    #[test]
    fn a_read_behind_a_record_that_is_done_passes_over_its_neighbours() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        append(&home, &mut disk, 12);
        settle(&home, &mut disk, 2..5);
        settle(&home, &mut disk, 6..9);
        for after in 0..12 {
            let left = [0, 1, 5, 9, 10, 11];
            let behind: Vec<u64> = left.into_iter().filter(|id| *id > after).collect();
            assert_eq!(read_after(&home, &mut disk, Some(after)), behind, "{after}");
        }
        disk.generation.release();
    }

    #[test]
    fn places_that_nothing_came_to_do_no_harm() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        append(&home, &mut disk, 3);
        // As a process that ends between making them and filling them.
        let mut changes = Changes::default();
        for (stream, sequence) in [(0, 3), (0, 4), (1, 0)] {
            for fragment in 0..40 {
                let key = keys::payload(stream, sequence, fragment);
                changes.insert(&key, vec![1; 6_000]);
            }
        }
        disk.generation.make_places(&changes).unwrap();
        disk.generation.flush().unwrap();
        assert_eq!(payloads(&disk), 3 + 120);
        disk.generation.release();

        let mut disk = open(&home);
        assert_eq!(payloads(&disk), 3);
        append(&home, &mut disk, 2);
        assert_eq!(read_after(&home, &mut disk, None), [0, 1, 2, 3, 4]);
        disk.generation.release();
    }

    #[test]
    fn what_is_done_does_not_come_back_when_its_neighbour_is_damaged() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let mut disk = open(&home);
        append(&home, &mut disk, 12);
        settle(&home, &mut disk, 4..8);
        // One that is there, and the first of those that are done.
        for gone in [3, 4] {
            let key = keys::payload(0, gone, 0);
            disk.generation.tree().insert(key, b"damage").unwrap();
        }
        let limits = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
        let read = disk.oldest(&home, &a(), None, limits).unwrap();
        let ids: Vec<u64> = read.records.iter().map(|record| record.id.get()).collect();
        assert_eq!(ids, [0, 1, 2, 8, 9, 10, 11]);
        assert_eq!(read.damaged, Amount::new(1, 4_000));
        assert_eq!((disk.index.records(), disk.index.bytes()), (7, 28_000));
        disk.generation.release();
    }
}
