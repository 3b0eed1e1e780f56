//! Giving disk back.

use super::Worker;
use super::mending::State;
use crate::StoreError;
use crate::sled_store::copy::{Carried, Copy};
use crate::sled_store::disk::{Disk, Losses};
use crate::sled_store::fault::{Fault, contained};
use crate::sled_store::generation::Generation;
use crate::sled_store::home::GenerationId;
use crate::sled_store::load::load;
use crate::sled_store::manifest::Manifest;
use crate::sled_store::segment::SegmentSize;

/// An empty generation is replaced once it takes more than so many segments.
const EMPTY_SEGMENTS: u64 = 4;
/// A generation with records in it is left alone up to so many segments.
const SMALL_SEGMENTS: u64 = 8;
const SMALL_BYTES: u64 = 64 * 1024 * 1024;
/// Up to here records are held in memory while they are rewritten.
const CARRIED_BYTES: u64 = 8 * 1024 * 1024;
/// How often the records fit into what they take, at most.
const SPARSE: u64 = 4;

/// An empty generation that takes no more is replaced when there is nothing else to do.
const LARGEST_EMPTY_BYTES: u64 = 32 * 1024 * 1024;

/// Whether someone may be kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    AtWork,
    AtRest,
}

/// A replacement that failed, and is not tried again for nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct PutOff {
    is_empty: bool,
    /// How large the generation must be for another try.
    until: u64,
}

impl PutOff {
    /// An empty generation is easier to replace, so that is tried even so.
    const fn holds(self, is_empty: bool, allocated: u64) -> bool {
        self.is_empty == is_empty && allocated <= self.until
    }
}

impl Worker {
    /// Whether the generation takes so much more disk than its records need that another is
    /// to take its place.
    pub(super) fn is_replaceable(&self, pace: Pace) -> bool {
        let State::Open(disk) = &self.state else {
            return false;
        };
        let segment = disk.generation.segment().bytes() as u64;
        let allocated = disk.generation.allocated();
        let expected = self.options.expected_bytes;
        let is_empty = disk.index.records() == 0;
        let least = match (is_empty, pace) {
            (true, Pace::AtRest) => EMPTY_SEGMENTS * segment,
            (true, Pace::AtWork) => {
                let busy = (2 * expected).min(LARGEST_EMPTY_BYTES);
                busy.max(EMPTY_SEGMENTS * segment)
            }
            (false, _) => {
                let small = match disk.generation.segment() {
                    SegmentSize::Small => (3 * expected).min(SMALL_BYTES),
                    // A rewrite reads everything, and sled keeps in memory most of what was read.
                    SegmentSize::Large => 3 * expected,
                };
                let outgrown = disk.base_bytes + disk.base_bytes / 2;
                let wanted = SPARSE * disk.index.bytes() + EMPTY_SEGMENTS * segment;
                small
                    .max(SMALL_SEGMENTS * segment)
                    .max(wanted)
                    .max(outgrown)
            }
        };
        let put_off = self.put_off;
        allocated > least && !put_off.is_some_and(|put_off| put_off.holds(is_empty, allocated))
    }

    /// Gives disk back.
    ///
    /// sled never gives disk back by itself, and a stream that stands still keeps whole
    /// segments from being used again.
    pub(super) fn keep_house(&mut self, pace: Pace) {
        if !self.is_replaceable(pace) {
            return;
        }
        let State::Open(disk) = &self.state else {
            return;
        };
        let (is_empty, allocated) = (disk.index.records() == 0, disk.generation.allocated());
        let outcome = if is_empty {
            self.start_afresh()
        } else {
            self.rewrite()
        };
        self.put_off = outcome.err().map(|fault| {
            tracing::warn!(target: "record_cache", %fault, "cannot give disk back yet");
            PutOff {
                is_empty,
                until: allocated + allocated / 4,
            }
        });
    }

    /// Frees what was settled, once the generation has come to take much disk.
    pub(super) fn make_room(&mut self) {
        let State::Open(disk) = &self.state else {
            return;
        };
        let segment = disk.generation.segment().bytes() as u64;
        let expected = self.options.expected_bytes;
        let roomy = expected + expected / 2 + EMPTY_SEGMENTS * segment;
        if disk.index.records() == 0 || !disk.has_dead() || disk.generation.allocated() <= roomy {
            return;
        }
        if let Err(error) = self.with_disk(|home, disk| disk.remove_dead(home)) {
            tracing::warn!(target: "record_cache", %error, "cannot remove what was settled");
        }
    }

    /// Empties the store, at the price of a new generation.
    pub(super) fn start_afresh(&mut self) -> Result<(), Fault> {
        let State::Open(disk) = &self.state else {
            return Ok(());
        };
        let manifest = disk.emptied(&self.options);
        if let Err(fault) = manifest.write(&self.home) {
            return Err(self.after_switching(fault));
        }
        // One database at a time: two of them take much more memory.
        if let State::Open(disk) = std::mem::replace(&mut self.state, State::Closed) {
            disk.remove(&self.home);
        }
        match contained(|| Disk::begin(&self.home, &self.options, manifest)) {
            Ok(empty) => self.state = State::Open(Box::new(empty)),
            // Whoever comes next begins it; nothing is lost.
            Err(fault) => self.go_down(fault.into_error(self.home.path()), None),
        }
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), Fault> {
        let State::Open(disk) = &self.state else {
            return Ok(());
        };
        disk.check_room(&self.home, disk.index.bytes(), SMALL_SEGMENTS)?;
        let rewritten = if disk.index.bytes() <= CARRIED_BYTES {
            self.rewrite_in_memory()
        } else {
            self.rewrite_side_by_side()
        };
        let lost = rewritten.map_err(|fault| self.after_switching(fault))?;
        for (stream, removed) in lost {
            self.note_damage(&stream, removed);
        }
        self.publish_all();
        Ok(())
    }

    /// For a few records: the old database is closed before the new one is made.
    fn rewrite_in_memory(&mut self) -> Result<Losses, Fault> {
        let State::Open(disk) = &self.state else {
            return Ok(Losses::default());
        };
        let watch = &self.shared.watch;
        let mut carried = Carried::default();
        let lost = contained(|| disk.hand_to(&mut carried, &|| watch.beat()))?;
        let (manifest, floor) = (disk.emptied(&self.options), disk.floor_without_records());
        let old = disk.generation.id();
        let promised = self.let_go();
        let rewritten = contained(|| {
            let Manifest {
                generation,
                segment,
                ..
            } = manifest;
            let new = Generation::create(&self.home, generation, segment, self.options.durability);
            let mut copy = Copy::into_new(new?);
            carried.hand_to(&mut copy)?;
            let new = copy.finish(floor)?;
            let index = load(&new)?;
            Disk::adopt(&self.home, new, index)
        });
        match rewritten {
            Ok(new) => {
                self.state = State::Open(Box::new(new));
                self.forget(old);
                Ok(lost)
            }
            Err(fault) => {
                let error = StoreError::unavailable_because(fault.to_string());
                self.go_down(error, promised);
                self.retry_now();
                Err(fault)
            }
        }
    }

    /// For many records: they go straight from one database to the other.
    fn rewrite_side_by_side(&mut self) -> Result<Losses, Fault> {
        let State::Open(disk) = &mut self.state else {
            return Ok(Losses::default());
        };
        let watch = &self.shared.watch;
        let (home, options) = (&self.home, &self.options);
        let Manifest {
            generation,
            segment,
            ..
        } = disk.emptied(options);
        let filled = contained(|| {
            let new = Generation::create(home, generation, segment, options.durability)?;
            let mut copy = Copy::into_new(new);
            let lost = disk.hand_to(&mut copy, &|| watch.beat())?;
            let new = copy.finish(disk.floor_without_records())?;
            let index = load(&new)?;
            Ok((new, index, lost))
        });
        let (new, index, lost) = match filled {
            Ok(filled) => filled,
            Err(fault) => {
                let _ = home.remove_generation(generation);
                return Err(Fault::Untouched(fault.into_error(home.path())));
            }
        };
        let new = contained(|| Disk::adopt(home, new, index))?;
        std::mem::replace(&mut **disk, new).remove(home);
        Ok(lost)
    }

    /// Where it is not known which generation counts now, the directory has to say.
    fn after_switching(&mut self, fault: Fault) -> Fault {
        if !matches!(fault, Fault::Untouched(_)) {
            self.give_up(&StoreError::unavailable_because(fault.to_string()));
            self.retry_now();
        }
        fault
    }

    fn forget(&self, old: GenerationId) {
        let removed = self.home.remove_generation(old);
        if let Err(error) = removed.and_then(|()| self.home.sync()) {
            // The next opening tries again.
            tracing::warn!(target: "record_cache", %error, "cannot delete an old generation");
        }
    }
}
