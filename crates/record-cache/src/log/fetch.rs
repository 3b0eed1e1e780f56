//! Reads records back from their segments.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::buffers::Buffers;
use super::catalog::Catalog;
use super::files::DiskFile;
use super::frame::{Header, Kind, Seal, offset, record_length};
use crate::index::Entry;
use crate::{Record, RecordId, StreamName, clock};

/// Records closer together than this are read together.
const GAP: u64 = 8 * 1024;
/// The longest read, except for a single record.
const RUN_BYTES: u64 = 4 << 20;

/// The segments of some records. Their files stay open because they may be deleted meanwhile.
pub(crate) type Sources = BTreeMap<u32, (Arc<dyn DiskFile>, Seal)>;

/// A record's frame, with its checksums verified.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) header: Header,
    /// Key and payload.
    pub(crate) body: Bytes,
}

impl Fetched {
    /// The record as appended, with the attempts counted since.
    pub(crate) fn into_record(self, attempts: u32) -> Option<Record> {
        let Self { header, mut body } = self;
        let mut key = None;
        if let Some(length) = header.key_length {
            let length = usize::try_from(length).ok()?;
            key = Some(str::from_utf8(body.get(..length)?).ok()?.to_owned());
            body.advance(length);
        }
        let recorded_at = clock::from_unix_millis(header.millis);
        let id = RecordId::new(header.sequence);
        let record = Record::new(id, key, body, attempts, recorded_at);
        Some(record.with_explicit_hash_key(header.hash_key))
    }

    /// The same record as it is written to a newer segment: as a call of its own, with the attempts
    /// counted since.
    pub(crate) fn carried(self, attempts: u32) -> Self {
        let header = Header {
            kind: Kind::Carried,
            starts: true,
            ends: true,
            attempts,
            ..self.header
        };
        Self { header, ..self }
    }
}

pub(crate) fn sources<'a>(
    index: &Catalog,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Sources {
    let mut sources = Sources::new();
    for entry in entries {
        if !sources.contains_key(&entry.segment)
            && let Some(segment) = index.segments.get(&entry.segment)
        {
            sources.insert(entry.segment, (Arc::clone(&segment.file), segment.seal));
        }
    }
    sources
}

/// Reads records and passes them on one by one, with `None` for a damaged one.
pub(crate) fn fetch<N: Borrow<StreamName>>(
    mut wanted: &[(N, Entry)],
    sources: &Sources,
    buffers: &Buffers,
    mut take: impl FnMut(&(N, Entry), Option<Fetched>),
) -> io::Result<()> {
    while !wanted.is_empty() {
        let (run, start, length) = run(wanted);
        wanted = wanted.get(run.len()..).unwrap_or_default();
        let segment = run.first().map(|(_, entry)| entry.segment);
        let source = segment.and_then(|segment| sources.get(&segment));
        let Some((file, seal)) = source else {
            run.iter().for_each(|wanted| take(wanted, None));
            continue;
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut buffer = buffers.lend(length);
        file.read(&mut buffer.bytes, length, start)?;
        let buffer = Bytes::from_owner(buffer);
        for wanted in run {
            let (name, entry) = wanted;
            take(wanted, check(&buffer, start, name.borrow(), entry, seal));
        }
    }
    Ok(())
}

/// The first records that can be read together, and the range of bytes to read.
fn run<N: Borrow<StreamName>>(wanted: &[(N, Entry)]) -> (&[(N, Entry)], u64, u64) {
    let Some((_, first)) = wanted.first() else {
        return (wanted, 0, 0);
    };
    let start = offset(first);
    let mut end = start;
    let mut count = 0;
    for (name, entry) in wanted {
        let begin = offset(entry);
        let reach = begin + record_length(name.borrow(), entry);
        let near = entry.segment == first.segment
            && begin >= end
            && begin - end <= GAP
            && reach - start <= RUN_BYTES;
        if count > 0 && !near {
            break;
        }
        (end, count) = (reach, count + 1);
    }
    (wanted.get(..count).unwrap_or(wanted), start, end - start)
}

fn check(
    buffer: &Bytes,
    start: u64,
    name: &StreamName,
    entry: &Entry,
    seal: &Seal,
) -> Option<Fetched> {
    let offset = offset(entry);
    let from = usize::try_from(offset - start).ok()?;
    let (header, found) = Header::decode(buffer.get(from..)?, seal, offset)?;
    let is_record = matches!(header.kind, Kind::Record | Kind::Carried);
    let same = found == name.as_str().as_bytes()
        && header.sequence == entry.sequence
        && header.body_length == entry.size;
    let body_from = from + usize::try_from(header.head_length()).ok()?;
    let body_to = body_from + usize::try_from(header.body_length).ok()?;
    let body = buffer.get(body_from..body_to)?;
    let whole = is_record && same && crc32c::crc32c(body) == header.body_checksum;
    whole.then(|| Fetched {
        header,
        body: buffer.slice(body_from..body_to),
    })
}
