//! Giving disk back.

use super::Worker;
use super::mending::State;
use crate::sled_store::disk::Disk;
use crate::sled_store::fault::{Fault, contained};
use crate::sled_store::load::load;

/// An empty generation is replaced once it takes more than so many segments.
const EMPTY_SEGMENTS: u64 = 4;
/// A generation with records in it is left alone up to so many segments.
const SMALL_SEGMENTS: u64 = 8;
const SMALL_BYTES: u64 = 64 * 1024 * 1024;
/// How often the records fit into what they take, at most.
const SPARSE: u64 = 4;

impl Worker {
    /// Replaces a generation that takes much more disk than its records need.
    ///
    /// sled never gives disk back by itself, and a stream that stands still keeps whole
    /// segments from being used again.
    pub(super) fn keep_house(&mut self) {
        let State::Open(disk) = &self.state else {
            return;
        };
        let segment = disk.generation.segment().bytes() as u64;
        let allocated = disk.generation.allocated();
        if allocated <= EMPTY_SEGMENTS * segment || allocated <= self.rewrite_above {
            return;
        }
        let small = (2 * self.options.expected_bytes).min(SMALL_BYTES);
        let small = small.max(SMALL_SEGMENTS * segment);
        let outgrown = disk.base_bytes + disk.base_bytes / 2;
        let wanted = SPARSE * disk.index.bytes();
        let outcome = if disk.index.records() == 0 {
            self.start_afresh()
        } else if allocated > wanted.max(small).max(outgrown) {
            self.rewrite()
        } else {
            return;
        };
        match outcome {
            Ok(()) => self.rewrite_above = 0,
            Err(fault) => {
                self.rewrite_above = allocated + allocated / 4;
                tracing::warn!(target: "record_cache", %fault, "cannot give disk back yet");
            }
        }
    }

    fn start_afresh(&mut self) -> Result<(), Fault> {
        let State::Open(disk) = &mut self.state else {
            return Ok(());
        };
        let (number, floor) = (disk.generation.id().number, disk.index.ceiling());
        let empty = contained(|| Disk::create(&self.home, &self.options, number + 1, floor))?;
        std::mem::replace(&mut **disk, empty).remove(&self.home);
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), Fault> {
        let State::Open(disk) = &mut self.state else {
            return Ok(());
        };
        disk.check_room(&self.home, disk.index.bytes(), SMALL_SEGMENTS)?;
        let watch = &self.shared.watch;
        let (new, lost) = contained(|| {
            let (generation, lost) = disk.rewrite(&self.home, &|| watch.beat())?;
            let index = load(&generation)?;
            Ok((Disk::adopt(&self.home, generation, index)?, lost))
        })?;
        std::mem::replace(&mut **disk, new).remove(&self.home);
        for (stream, removed) in lost {
            self.note_damage(&stream, removed);
        }
        self.publish_all();
        Ok(())
    }
}
