//! Counts kept beside the database, so that a loss inside it does not go unseen.
//!
//! sled ends its log at the first damaged message and says nothing of what followed.
//! The mark says how many records a generation had taken in at least.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::codec::{Reader, Writer};
use super::home::private_file;

const FILE: &str = "mark";
const SLOT_BYTES: usize = 36;

/// What a generation was known to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// Records that were ever appended to it.
    pub(super) appended: u64,
    /// Records that were in it.
    pub(super) held: u64,
}

/// The file with the counts.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// Two slots are written in turn, so that one of them is always whole.
    turn: u64,
}

impl Mark {
    pub(super) fn open(home: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = private_file(&home.join(FILE), options)?;
        let mut mark = Self { file, turn: 0 };
        mark.turn = mark.slots().map(|slot| slot.turn).max().unwrap_or(0);
        Ok(mark)
    }

    /// What was noted last of the generation with this salt.
    pub(super) fn read(&self, salt: u64) -> Noted {
        let of_salt = self.slots().filter(|slot| slot.salt == salt);
        let last = of_salt.max_by_key(|slot| slot.turn);
        last.map_or_else(Noted::default, |slot| slot.noted)
    }

    /// Notes the counts; to be called when the records are as durable as they get.
    pub(super) fn write(&mut self, salt: u64, noted: Noted) -> io::Result<()> {
        self.turn = self.turn.wrapping_add(1);
        let slot = Slot {
            salt,
            turn: self.turn,
            noted,
        };
        write_at(
            &self.file,
            &slot.encode(),
            self.turn % 2 * SLOT_BYTES as u64,
        )
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let offsets = [0, SLOT_BYTES as u64];
        offsets.into_iter().filter_map(|offset| {
            let mut slot = [0; SLOT_BYTES];
            read_at(&self.file, &mut slot, offset).ok()?;
            Slot::decode(&slot)
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    salt: u64,
    turn: u64,
    noted: Noted,
}

impl Slot {
    fn encode(self) -> Vec<u8> {
        let mut slot = Writer::default();
        slot.u64(self.salt)
            .u64(self.turn)
            .u64(self.noted.appended)
            .u64(self.noted.held);
        let checksum = crc32c::crc32c(slot.as_slice());
        slot.u32(checksum);
        slot.into_bytes()
    }

    fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        let (salt, turn) = (from.u64()?, from.u64()?);
        let noted = Noted {
            appended: from.u64()?,
            held: from.u64()?,
        };
        let whole = from.u32()? == crc32c::crc32c(&bytes[..SLOT_BYTES - 4]);
        whole.then_some(Self { salt, turn, noted })
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Read::read_exact(&mut file, buffer)
}

#[cfg(not(unix))]
pub(super) fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Write::write_all(&mut file, bytes)
}
