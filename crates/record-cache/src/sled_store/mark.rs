//! A count kept beside the database, so that a loss inside it does not go unseen.
//!
//! sled ends its log at the first damaged message and says nothing of what followed.
//! The mark says how many records a generation had taken in at least.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::home::private_file;

const FILE: &str = "mark";
const SLOT_BYTES: usize = 20;

/// The file with the count.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// Written in turn, so that one whole slot is always there.
    odd: bool,
}

impl Mark {
    pub(super) fn open(home: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        Ok(Self {
            file: private_file(&home.join(FILE), options)?,
            odd: false,
        })
    }

    /// The highest count that was noted for the generation with this salt.
    pub(super) fn read(&self, salt: u64) -> u64 {
        let slots = [0, SLOT_BYTES as u64].map(|offset| {
            let mut slot = [0; SLOT_BYTES];
            read_at(&self.file, &mut slot, offset).ok()?;
            decode(&slot)
        });
        let of_salt = slots
            .into_iter()
            .flatten()
            .filter(|(found, _)| *found == salt);
        of_salt.map(|(_, appended)| appended).max().unwrap_or(0)
    }

    /// Notes the count; to be called when the records are as durable as they get.
    pub(super) fn write(&mut self, salt: u64, appended: u64) -> io::Result<()> {
        self.odd = !self.odd;
        let offset = if self.odd { SLOT_BYTES as u64 } else { 0 };
        write_at(&self.file, &encode(salt, appended), offset)
    }
}

fn encode(salt: u64, appended: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&salt.to_le_bytes());
    slot[8..16].copy_from_slice(&appended.to_le_bytes());
    let checksum = crc32c::crc32c(&slot[..16]);
    slot[16..].copy_from_slice(&checksum.to_le_bytes());
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, u64)> {
    let (salt, rest) = slot.split_first_chunk()?;
    let (appended, checksum) = rest.split_first_chunk()?;
    let whole = crc32c::crc32c(&slot[..16]).to_le_bytes() == checksum;
    whole.then_some((u64::from_le_bytes(*salt), u64::from_le_bytes(*appended)))
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Read::read_exact(&mut file, buffer)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Write::write_all(&mut file, bytes)
}
