//! Finds the frames of a segment.

use std::collections::HashSet;
use std::io;

use super::catalog::Settled;
use super::files::DiskFile;
use super::frame::{
    ALIGNMENT, GroupBody, HEADER_BYTES, Header, Kind, LONGEST_HEAD, MAGIC, MAGIC_AT, Seal,
};
use super::step::Step;
use crate::StreamName;
use crate::index::ranges::Ranges;

const WINDOW_BYTES: usize = 256 * 1024;

/// Reads a segment from front to back.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    seal: Seal,
    pub(crate) end: u64,
    window: Vec<u8>,
    window_start: u64,
    body: Vec<u8>,
    names: Names,
}

/// A frame with an intact header.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    stream: Option<StreamName>,
    /// The checksum of header and name.
    pub(crate) checksum: u32,
}

/// Interned stream names, shared by all records of a stream.
#[derive(Debug, Default)]
struct Names {
    all: HashSet<StreamName>,
    last: Option<StreamName>,
}

impl Found {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.header.frame_length()
    }

    /// The meaning of a frame with this body, unless it is a record.
    fn decode(&self, mut body: &[u8]) -> Option<Step> {
        Some(match self.header.kind {
            Kind::Group => {
                let group = GroupBody::decode(body)?;
                Step::Group {
                    first: self.header.sequence,
                    count: group.count,
                    oldest: (group.oldest, group.oldest_base),
                }
            }
            Kind::Settled => Step::Settled(Settled {
                stream: self.stream.clone()?,
                deleted: Ranges::decode(&mut body)?,
                counted: Ranges::decode(&mut body)?,
            }),
            Kind::Void => Step::Void(Ranges::decode(&mut body)?),
            Kind::Cleared => Step::Cleared,
            Kind::Record | Kind::Carried => return None,
        })
    }
}

impl Names {
    fn find(&mut self, bytes: &[u8]) -> Option<StreamName> {
        let is_same = |name: &&StreamName| name.as_str().as_bytes() == bytes;
        if let Some(last) = self.last.as_ref().filter(is_same) {
            return Some(last.clone());
        }
        let text = str::from_utf8(bytes).ok()?;
        if !self.all.contains(text) {
            self.all.insert(StreamName::new(text).ok()?);
        }
        self.last = self.all.get(text).cloned();
        self.last.clone()
    }
}

impl<'a> Scanner<'a> {
    /// Scans up to `end` or the end of the file.
    pub(crate) fn new(file: &'a dyn DiskFile, seal: Seal, end: u64) -> io::Result<Self> {
        let end = end.min(file.length()?);
        Ok(Self {
            file,
            seal,
            end,
            window: Vec::new(),
            window_start: 0,
            body: Vec::new(),
            names: Names::default(),
        })
    }

    /// The frame at this offset, if there is one.
    pub(crate) fn frame(&mut self, offset: u64) -> io::Result<Option<Found>> {
        let skip = self.fill(offset, LONGEST_HEAD)?;
        let bytes = self.window.get(skip..).unwrap_or_default();
        let Some((header, name)) = Header::decode(bytes, &self.seal, offset) else {
            return Ok(None);
        };
        let found = Found {
            offset,
            header,
            stream: self.names.find(name),
            checksum: (bytes.first_chunk()).map_or(0, |head| u32::from_le_bytes(*head)),
        };
        Ok(Some(found).filter(|found| found.end() <= self.end))
    }

    /// The first frame at or after an offset.
    pub(crate) fn at_or_after(&mut self, mut offset: u64) -> io::Result<Option<Found>> {
        while offset + HEADER_BYTES as u64 <= self.end {
            if let Some(found) = self.frame(offset)? {
                return Ok(Some(found));
            }
            offset += ALIGNMENT;
            let skip = self.fill(offset, WINDOW_BYTES / 2)?;
            let bytes = self.window.get(skip..).unwrap_or_default();
            let mut chunks = bytes.chunks_exact(8);
            let chance = chunks.position(|chunk| chunk.get(MAGIC_AT) == Some(&MAGIC));
            offset += chance.unwrap_or(bytes.len() / 8) as u64 * ALIGNMENT;
        }
        Ok(None)
    }

    /// The meaning of a frame, if it is intact. Does not read the body of a record.
    pub(crate) fn step(&mut self, found: &Found) -> io::Result<Option<Step>> {
        let header = &found.header;
        let carried = header.kind == Kind::Carried;
        if carried || header.kind == Kind::Record {
            let entry = header.entry(self.seal.segment, found.offset);
            return Ok(found.stream.clone().map(|stream| Step::Record {
                carried,
                stream,
                entry,
            }));
        }
        let body = self.body(found)?;
        Ok(body.and_then(|body| found.decode(body)))
    }

    /// Reads the body, if it is intact.
    pub(crate) fn body(&mut self, found: &Found) -> io::Result<Option<&[u8]>> {
        let length = usize::try_from(found.header.body_length).unwrap_or(usize::MAX);
        let at = found.offset + found.header.head_length();
        let body = if length <= WINDOW_BYTES / 2 {
            let skip = self.fill(at, length)?;
            self.window.get(skip..skip + length).unwrap_or_default()
        } else {
            self.file.read(&mut self.body, length, at)?;
            &self.body
        };
        let whole = body.len() == length && crc32c::crc32c(body) == found.header.body_checksum;
        Ok(whole.then_some(body))
    }

    /// Reads bytes into the window: at least as many as requested, or fewer at the end of the
    /// file. Returns where they begin in it.
    fn fill(&mut self, offset: u64, length: usize) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let skip = offset.checked_sub(self.window_start);
        let skip = skip.and_then(|skip| usize::try_from(skip).ok());
        let covered = skip.filter(|skip| skip + length.min(left) <= self.window.len());
        if let Some(skip) = covered {
            return Ok(skip);
        }
        let length = left.min(WINDOW_BYTES);
        self.file.read(&mut self.window, length, offset)?;
        self.window_start = offset;
        Ok(0)
    }
}
