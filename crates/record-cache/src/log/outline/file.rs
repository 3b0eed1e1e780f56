//! Stores outlines in segment files, after the frames they summarize.

use std::io::{self, IoSlice};

use bytes::Buf;

use super::Outline;
use crate::log::files::DiskFile;
use crate::log::frame::{Header, LONGEST_HEAD, Seal};

const MAGIC: [u8; 8] = *b"\x89rc-idx\n";
const VERSION: u32 = 1;
const TRAILER_BYTES: usize = 48;
const CHECKED: usize = TRAILER_BYTES - 4;

/// The last bytes of a file that ends with an outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trailer {
    segment: u32,
    salt: u64,
    /// Where the frames end and the outline begins.
    end: u64,
    length: u32,
    /// The offset of the last frame, and its checksum, which identifies it.
    last_frame: u32,
    last_checksum: u32,
}

impl Outline {
    /// The bytes it takes after the frames.
    pub(crate) fn file_length(&self) -> u64 {
        (self.bytes.len() + TRAILER_BYTES) as u64
    }

    /// Writes the outline after the frames. Returns the new length of the file.
    ///
    /// If this fails, the file is unchanged. No sync is needed: an incomplete outline is ignored.
    pub(crate) fn write(&self, file: &dyn DiskFile, seal: &Seal) -> io::Result<u64> {
        let small = |number: u64| u32::try_from(number).map_err(io::Error::other);
        let checksum = Header::checksum_at(file, self.so_far.last_frame)?;
        let trailer = Trailer {
            segment: seal.segment,
            salt: seal.salt,
            end: self.end(),
            length: small(self.bytes.len() as u64)?,
            last_frame: small(self.so_far.last_frame)?,
            last_checksum: checksum.ok_or(io::ErrorKind::UnexpectedEof)?,
        };
        let trailer = trailer.encode(&self.bytes);
        let mut parts = [IoSlice::new(&self.bytes), IoSlice::new(&trailer)];
        if let Err(error) = file.write(&mut parts, self.end()) {
            let _ = file.truncate(self.end());
            return Err(error);
        }
        Ok(self.end() + self.file_length())
    }

    /// Reads the outline at the end of a file, if it matches the frames.
    pub(crate) fn read(file: &dyn DiskFile, seal: &Seal) -> io::Result<Option<Self>> {
        let Some(at) = file.length()?.checked_sub(TRAILER_BYTES as u64) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read(&mut bytes, TRAILER_BYTES, at)?;
        let fits = |trailer: &Trailer| {
            let end = trailer.end.checked_add(trailer.length.into());
            (trailer.segment, trailer.salt, end) == (seal.segment, seal.salt, Some(at))
        };
        let Some(trailer) = Trailer::decode(&bytes).filter(fits) else {
            return Ok(None);
        };
        let mut outline = Vec::new();
        let length = usize::try_from(trailer.length).unwrap_or(usize::MAX);
        file.read(&mut outline, length, trailer.end)?;
        if outline.len() != length || trailer.encode(&outline) != bytes[..] {
            return Ok(None);
        }
        let mut head = Vec::new();
        let last_frame = u64::from(trailer.last_frame);
        file.read(&mut head, LONGEST_HEAD, last_frame)?;
        let last = Header::decode(&head, seal, last_frame);
        let ends = last.is_some_and(|(last, _)| last_frame + last.frame_length() == trailer.end);
        let same = head.starts_with(&trailer.last_checksum.to_le_bytes());
        let fits = |outline: &Self| {
            let found = &outline.so_far;
            ends && same && (found.end, found.last_frame) == (trailer.end, last_frame)
        };
        Ok(Self::decode(outline).filter(fits))
    }
}

impl Trailer {
    fn encode(&self, outline: &[u8]) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.end.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.length.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.last_frame.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.last_checksum.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(outline), &bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes a trailer whose checksum is still to be verified.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<TRAILER_BYTES>()?;
        let mut fields = bytes.strip_prefix(&MAGIC)?;
        (fields.get_u32_le() == VERSION).then(|| Self {
            segment: fields.get_u32_le(),
            salt: fields.get_u64_le(),
            end: fields.get_u64_le(),
            length: fields.get_u32_le(),
            last_frame: fields.get_u32_le(),
            last_checksum: fields.get_u32_le(),
        })
    }
}
