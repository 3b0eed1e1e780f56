//! Finding our values in a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::StreamName;
use crate::sled_store::codec::{
    Chunk, Codec, Fragment, Head, Kind, LargeRecord, Name, Progress, Seal,
};
use crate::sled_store::keys::StreamId;
use crate::sled_store::segment::VALUE_BYTES;

const WINDOW_BYTES: usize = 1024 * 1024;

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// Everything that a file still tells.
#[derive(Debug, Default)]
pub(super) struct Carved {
    pub(super) streams: BTreeMap<StreamId, CarvedStream>,
    pub(super) floor: u64,
}

#[derive(Debug, Default)]
pub(super) struct CarvedStream {
    pub(super) name: Option<StreamName>,
    pub(super) start: u64,
    pub(super) head: u64,
    /// By first sequence and number of records; the checksum tells two apart that
    /// claim the same place, as after a commit that a crash cut short.
    pub(super) chunks: BTreeMap<(u64, usize, u32), Location>,
    pub(super) large: BTreeMap<(u64, LargeRecord), BTreeMap<u32, Location>>,
    pub(super) progress: BTreeMap<u64, Progress>,
}

/// Searches the whole of a database's file, and the notes beside it.
pub(super) fn carve(
    path: &Path,
    notes: &Path,
    codec: &Codec,
    beat: &dyn Fn(),
) -> io::Result<Carved> {
    let mut carved = Carved::default();
    // Notes hold no records, so only what the database has is ever read again.
    carved.search(notes, codec, beat)?;
    carved.search(path, codec, beat)?;
    Ok(carved)
}

/// Reads a value that was found before.
pub(super) fn read(file: &mut File, location: Location) -> io::Result<Vec<u8>> {
    let mut value = vec![0; location.length];
    file.seek(SeekFrom::Start(location.offset))?;
    file.read_exact(&mut value)?;
    Ok(value)
}

impl Carved {
    fn search(&mut self, path: &Path, codec: &Codec, beat: &dyn Fn()) -> io::Result<()> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let overlap = VALUE_BYTES;
        let mut window = Vec::with_capacity(WINDOW_BYTES + overlap);
        let mut window_offset = 0;
        loop {
            beat();
            let read = file
                .by_ref()
                .take(WINDOW_BYTES as u64)
                .read_to_end(&mut window)?;
            let last = read == 0;
            let mut at = 0;
            // A value that begins in the overlap is looked at with the next window.
            let end = if last {
                window.len()
            } else {
                window.len().saturating_sub(overlap)
            };
            while at < end {
                let Some(found) = find(&window[at..], codec.tag()) else {
                    at = end;
                    break;
                };
                at += found;
                if at >= end {
                    break;
                }
                at += match codec.unwrap_prefix(&window[at..]) {
                    Some((kind, body, rest)) => {
                        let length = window.len() - at - rest.len();
                        let location = Location {
                            offset: window_offset + at as u64,
                            length,
                        };
                        self.learn(kind, body, location);
                        length
                    }
                    None => 1,
                };
            }
            if last {
                return Ok(());
            }
            // A value may have been longer than what was to be looked at.
            let done = at.max(end).min(window.len());
            window.drain(..done);
            window_offset += done as u64;
        }
    }

    fn learn(&mut self, kind: Kind, body: &[u8], location: Location) {
        // A body that proves itself and yet cannot be read is of a later version.
        let _ = match kind {
            Kind::Chunk => self.learn_chunk(body, location),
            Kind::Fragment => self.learn_fragment(body, location),
            Kind::Head => self.learn_head(body),
            Kind::Progress => self.learn_progress(body),
            Kind::Name => self.learn_name(body),
            Kind::Seal => self.learn_seal(body),
            Kind::Reached => Some(()),
        };
    }

    fn learn_chunk(&mut self, body: &[u8], location: Location) -> Option<()> {
        let chunk = Chunk::decode(body)?;
        let place = (chunk.first, chunk.records.len(), crc32c::crc32c(body));
        self.streams
            .entry(chunk.stream)
            .or_default()
            .chunks
            .insert(place, location);
        Some(())
    }

    fn learn_fragment(&mut self, body: &[u8], location: Location) -> Option<()> {
        let Fragment { of, index, .. } = Fragment::decode(body)?;
        let stream = self.streams.entry(of.stream).or_default();
        stream
            .large
            .entry((of.sequence, of))
            .or_default()
            .insert(index, location);
        Some(())
    }

    fn learn_head(&mut self, body: &[u8]) -> Option<()> {
        let head = Head::decode(body)?;
        let stream = self.streams.entry(head.stream).or_default();
        stream.head = stream.head.max(head.sequence);
        Some(())
    }

    /// Of two states of one place the one that knows more is the later.
    fn learn_progress(&mut self, body: &[u8]) -> Option<()> {
        let (stream, first, found) = Progress::decode(body)?;
        let progress = &mut self.streams.entry(stream).or_default().progress;
        match (progress.get_mut(&first), found) {
            (None, found) => drop(progress.insert(first, found)),
            (Some(Progress::Partial(known)), Progress::Partial(found)) => known.merge(&found),
            (Some(Progress::Done { count: known, .. }), Progress::Done { count: found, .. }) => {
                *known = (*known).max(found)
            }
            (Some(known @ Progress::Partial(_)), found) => *known = found,
            (Some(Progress::Done { .. }), Progress::Partial(_)) => {}
        }
        Some(())
    }

    fn learn_name(&mut self, body: &[u8]) -> Option<()> {
        let name = Name::decode(body)?;
        let stream = self.streams.entry(name.stream).or_default();
        stream.name = Some(StreamName::new(name.name).ok()?);
        stream.start = name.start;
        stream.head = stream.head.max(name.start);
        Some(())
    }

    fn learn_seal(&mut self, body: &[u8]) -> Option<()> {
        self.floor = self.floor.max(Seal::decode(body)?.floor);
        Some(())
    }
}

fn find(bytes: &[u8], tag: [u8; 4]) -> Option<usize> {
    bytes.windows(tag.len()).position(|window| window == tag)
}
