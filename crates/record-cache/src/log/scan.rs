//! Finds the frames of a segment.

use std::io;

use super::files::DiskFile;
use super::format::SEGMENT_HEADER_BYTES;
use super::frame::{ALIGNMENT, Fields, HEADER_BYTES, Header, LONGEST_HEAD, MAGIC, MAGIC_AT, Seal};
use crate::index::queue::Entry;

const WINDOW_BYTES: usize = 256 * 1024;
const STRIDE: u64 = ALIGNMENT;

/// Reads a segment from front to back.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    seal: Seal,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// A frame whose header is sound.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    pub(crate) name: Vec<u8>,
    /// The checksum of header and name.
    pub(crate) checksum: u32,
}

impl Found {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.header.frame_length()
    }

    /// The position of a record, in the segment with this number.
    pub(crate) fn entry(&self, segment: u32) -> Entry {
        Entry {
            sequence: self.header.sequence,
            segment,
            offset: u32::try_from(self.offset).unwrap_or(u32::MAX),
            size: self.header.body_length,
            attempts: self.header.attempts,
        }
    }
}

impl<'a> Scanner<'a> {
    /// Scans up to `end`, or to the end of the file.
    pub(crate) fn new(file: &'a dyn DiskFile, seal: Seal, end: u64) -> io::Result<Self> {
        let end = end.min(file.length()?);
        Ok(Self {
            file,
            seal,
            end,
            window: Vec::new(),
            window_start: 0,
        })
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The frame at this offset, if there is one; replaces `found`.
    pub(crate) fn frame(&mut self, offset: u64, found: &mut Found) -> io::Result<bool> {
        let seal = self.seal;
        let end = self.end;
        let bytes = self.bytes(offset, LONGEST_HEAD)?;
        let Some((header, name)) = Header::decode(bytes, &seal, offset) else {
            return Ok(false);
        };
        if offset + header.frame_length() > end {
            return Ok(false);
        }
        found.name.clear();
        found.name.extend(name);
        found.checksum = Fields(bytes).u32().unwrap_or_default();
        (found.offset, found.header) = (offset, header);
        Ok(true)
    }

    /// The first frame after an offset that has none.
    pub(crate) fn next_frame(&mut self, behind: u64, found: &mut Found) -> io::Result<bool> {
        let mut offset = behind.next_multiple_of(STRIDE).max(SEGMENT_HEADER_BYTES);
        if offset == behind {
            offset += STRIDE;
        }
        while offset + HEADER_BYTES as u64 <= self.end {
            let bytes = self.bytes(offset, WINDOW_BYTES / 2)?;
            let chances = bytes
                .chunks_exact(8)
                .position(|chunk| chunk.get(MAGIC_AT) == Some(&MAGIC));
            let Some(chance) = chances else {
                offset += (bytes.len() as u64 / STRIDE).max(1) * STRIDE;
                continue;
            };
            offset += chance as u64 * STRIDE;
            if self.frame(offset, found)? {
                return Ok(true);
            }
            offset += STRIDE;
        }
        Ok(false)
    }

    /// Whether the body is intact.
    pub(crate) fn body_is_whole(&mut self, found: &Found) -> io::Result<bool> {
        let mut checksum = 0;
        let mut at = found.offset + found.header.head_length();
        let end = at + u64::from(found.header.body_length);
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let bytes = self.bytes(at, left.min(WINDOW_BYTES))?;
            let bytes = bytes.get(..left.min(bytes.len())).unwrap_or(bytes);
            if bytes.is_empty() {
                return Ok(false);
            }
            checksum = crc32c::crc32c_append(checksum, bytes);
            at += bytes.len() as u64;
        }
        Ok(checksum == found.header.body_checksum)
    }

    /// Reads the body, if it is intact.
    pub(crate) fn body(&mut self, found: &Found, into: &mut Vec<u8>) -> io::Result<bool> {
        let length = usize::try_from(found.header.body_length).unwrap_or(usize::MAX);
        let at = found.offset + found.header.head_length();
        if length <= WINDOW_BYTES / 2 {
            into.clear();
            let bytes = self.bytes(at, length)?;
            into.extend(bytes.get(..length).unwrap_or_default());
        } else {
            self.file.read(into, length, at)?;
        }
        Ok(into.len() == length && crc32c::crc32c(into) == found.header.body_checksum)
    }

    /// The bytes at an offset: at least as many as asked for, or fewer at the end of the file.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let length =
            length.min(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX));
        let covered = offset
            .checked_sub(self.window_start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip + length <= self.window.len());
        let skip = match covered {
            Some(skip) => skip,
            None => {
                let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
                self.file
                    .read(&mut self.window, left.min(WINDOW_BYTES), offset)?;
                self.window_start = offset;
                0
            }
        };
        Ok(self.window.get(skip..).unwrap_or_default())
    }
}

impl Default for Found {
    fn default() -> Self {
        let header = Header::new(super::frame::Kind::Void, 0, 0);
        Self {
            offset: 0,
            header,
            name: Vec::new(),
            checksum: 0,
        }
    }
}
