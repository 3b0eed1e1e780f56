//! Disk space reserved for emergencies.

use std::io::{self, IoSlice};

use super::end::Log;
use super::files::Disk;
use super::format::{RESERVE, RESERVE_BYTES};

/// How many turns pass before another attempt to keep room.
const PATIENCE: u32 = 200;

/// A file that becomes a segment when the disk is full, so that settling, which makes room, can
/// be written down.
#[derive(Debug)]
pub(crate) struct Reserve {
    there: bool,
    patience: u32,
}

impl Reserve {
    pub(crate) fn find(disk: &dyn Disk) -> Self {
        let length = disk.open(RESERVE).and_then(|file| file.length());
        let there = length.is_ok_and(|length| length == RESERVE_BYTES as u64);
        if !there {
            let _ = disk.remove(RESERVE);
        }
        Self { there, patience: 0 }
    }

    /// Whether nothing was in need of it since there was room for it.
    pub(crate) fn is_there(&self) -> bool {
        self.there
    }

    /// Has the log go on in the room; says whether there was any.
    ///
    /// The file becomes a segment, so that nobody else gets what it takes.
    pub(crate) fn spend(&mut self, log: &mut Log) -> bool {
        let there = std::mem::take(&mut self.there);
        self.patience = PATIENCE;
        // One that a loss of power took back has frames in it, which must never be found again.
        there && is_blank(log.disk()) && log.go_on_in(RESERVE).is_ok()
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

fn is_blank(disk: &dyn Disk) -> bool {
    let mut bytes = Vec::new();
    let read = disk
        .open(RESERVE)
        .and_then(|file| file.read(&mut bytes, RESERVE_BYTES, 0));
    read.is_ok() && bytes.iter().all(|&byte| byte == 0)
}

fn fill(disk: &dyn Disk) -> io::Result<()> {
    // What is left of an earlier attempt may be too short.
    let _ = disk.remove(RESERVE);
    disk.create(RESERVE)?
        .write(&mut [IoSlice::new(&[0; RESERVE_BYTES])], 0)
}
