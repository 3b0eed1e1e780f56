//! Room on the disk that is kept for an emergency.

use std::io::{self, IoSlice};

use super::files::Disk;
use super::format::{RESERVE, RESERVE_BYTES};

/// How many turns pass before another attempt to keep room.
const PATIENCE: u32 = 200;

/// A file that is given up when the disk is full, so that settling, which makes room, can
/// be written down.
#[derive(Debug)]
pub(crate) struct Reserve {
    there: bool,
    patience: u32,
}

impl Reserve {
    pub(crate) fn find(disk: &dyn Disk) -> Self {
        let length = disk.open(RESERVE).and_then(|file| file.length());
        Self {
            there: length.is_ok_and(|length| length >= RESERVE_BYTES as u64),
            patience: 0,
        }
    }

    /// Whether nothing was in need of it since there was room for it.
    pub(crate) fn is_there(&self) -> bool {
        self.there
    }

    /// Gives the room up; says whether there was any.
    pub(crate) fn spend(&mut self, disk: &dyn Disk) -> bool {
        let there = std::mem::take(&mut self.there);
        self.patience = PATIENCE;
        there && disk.remove(RESERVE).is_ok()
    }

    /// Takes room again, where there is some.
    pub(crate) fn restore(&mut self, disk: &dyn Disk) {
        if self.there {
            return;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return;
        }
        self.there = fill(disk).is_ok();
        if !self.there {
            self.patience = PATIENCE;
            let _ = disk.remove(RESERVE);
        }
    }
}

fn fill(disk: &dyn Disk) -> io::Result<()> {
    // What is left of an earlier attempt may be too short.
    let _ = disk.remove(RESERVE);
    disk.create(RESERVE)?
        .write(&mut [IoSlice::new(&[0; RESERVE_BYTES])], 0)
}
