//! Disk space reserved for emergencies.

use std::io::{self, IoSlice};

use super::end::Log;
use super::files::Disk;
use super::format::{RESERVE, RESERVE_BYTES};

/// Turns to wait before reserving space again.
const PATIENCE: u32 = 200;

/// A file that becomes a segment when the disk is full, so that settlements, which free space, can
/// still be written.
#[derive(Debug)]
pub(crate) struct Reserve {
    /// Whether it is still unused.
    pub(crate) is_there: bool,
    patience: u32,
}

impl Reserve {
    pub(crate) fn find(disk: &dyn Disk) -> Self {
        let length = disk.open(RESERVE).and_then(|file| file.length());
        let is_there = length.is_ok_and(|length| length == RESERVE_BYTES as u64);
        if !is_there {
            let _ = disk.remove(RESERVE);
        }
        let patience = 0;
        Self { is_there, patience }
    }

    /// Continues the log in the reserved space. Returns whether there was any.
    ///
    /// The file itself becomes a segment, so nothing else can take its space.
    pub(crate) fn spend(&mut self, log: &mut Log) -> bool {
        let was_there = std::mem::take(&mut self.is_there);
        self.patience = PATIENCE;
        was_there && log.go_on_in_reserve().is_ok()
    }

    /// Reserves space again, if the disk has room.
    pub(crate) fn restore(&mut self, disk: &dyn Disk) {
        if self.is_there {
            return;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return;
        }
        self.is_there = fill(disk).is_ok();
        if !self.is_there {
            self.patience = PATIENCE;
            let _ = disk.remove(RESERVE);
        }
    }
}

fn fill(disk: &dyn Disk) -> io::Result<()> {
    // A file from an earlier attempt may be too short.
    let _ = disk.remove(RESERVE);
    disk.create(RESERVE)?
        .write(&mut [IoSlice::new(&[0; RESERVE_BYTES])], 0)
}
