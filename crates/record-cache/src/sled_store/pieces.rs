//! Payloads as they lie in the tree, one after the other.

use super::codec::{BODY_BYTES, Chunk, Fragment, Kind, LargeRecord, Progress, Stored, joined};
use super::fault::Outcome;
use super::generation::Generation;
use super::index::{Stream, to_usize};
use super::keys::{self, Place};
use crate::Amount;

/// The records under one sequence.
#[derive(Debug)]
pub(super) enum Piece {
    Chunk(Chunk),
    Large(LargeRecord),
}

impl Piece {
    pub(super) const fn first(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.first,
            Self::Large(large) => large.sequence,
        }
    }

    pub(super) const fn records(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.records.len(),
            Self::Large(_) => 1,
        }
    }

    pub(super) const fn end(&self) -> u64 {
        self.first() + self.records() as u64
    }

    pub(super) const fn bytes_before(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.bytes_before,
            Self::Large(large) => large.bytes_before,
        }
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.size(),
            Self::Large(large) => large.size,
        }
    }

    pub(super) fn record_size(&self, index: usize) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.records.get(index).map_or(0, Stored::size),
            Self::Large(large) => large.size,
        }
    }
}

/// Records that cannot be read any more.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) first: u64,
    pub(super) end: u64,
    /// The sizes of all records in between, those included that were gone before.
    pub(super) span_bytes: u64,
    /// What was still there.
    pub(super) removed: Amount,
}

/// What comes next in a stream.
#[derive(Debug)]
pub(super) enum Step {
    Piece(Piece),
    Lost(Lost),
    End,
}

/// Goes through the payloads of one stream.
pub(super) struct Walk<'a> {
    generation: &'a Generation,
    stream: &'a Stream,
    at: u64,
    bytes_before: u64,
    entries: Option<sled::Iter>,
}

impl<'a> Walk<'a> {
    pub(super) const fn from_head(generation: &'a Generation, stream: &'a Stream) -> Self {
        let (at, bytes_before) = (stream.head, stream.head_bytes);
        Self {
            generation,
            stream,
            at,
            bytes_before,
            entries: None,
        }
    }

    /// Begins with the payload that holds a sequence, or the next one after it.
    pub(super) fn from_sequence(
        generation: &'a Generation,
        stream: &'a Stream,
        sequence: u64,
    ) -> Outcome<Self> {
        let mut sequence = sequence;
        loop {
            let walk = Self::near(generation, stream, sequence)?;
            // Of payloads that are done some may be there; a walk passes over all of them.
            match stream.done_around(walk.at) {
                Some(first) if first < walk.at => sequence = first,
                _ => return Ok(walk),
            }
        }
    }

    /// Begins with the payload in the tree that holds a sequence, or behind the one before.
    fn near(generation: &'a Generation, stream: &'a Stream, sequence: u64) -> Outcome<Self> {
        let mut walk = Self::from_head(generation, stream);
        if sequence <= stream.head {
            return Ok(walk);
        }
        let mut before =
            generation
                .tree()
                .range(keys::payloads_between(stream.id, stream.head, sequence));
        let mut beyond = sequence.saturating_add(1);
        while let Some(entry) = before.next_back() {
            let (key, _) = entry?;
            let Some(place) = Place::of_key(&key) else {
                break;
            };
            if place.sequence >= beyond {
                continue;
            }
            if place.fragment > 0 {
                // Straight to the first fragment instead of one by one.
                beyond = place.sequence + 1;
                before = generation.tree().range(
                    keys::payload(stream.id, stream.head, 0)
                        ..=keys::payload(stream.id, place.sequence, 0),
                );
                continue;
            }
            if let Some(piece) = piece_at(generation, stream, place.sequence)? {
                let passed = piece.end() <= sequence;
                walk.at = if passed { piece.end() } else { piece.first() };
                walk.bytes_before = piece.bytes_before() + if passed { piece.size() } else { 0 };
                break;
            }
        }
        Ok(walk)
    }

    /// The next piece that is whole, or the gap before it.
    pub(super) fn step(&mut self) -> Outcome<Step> {
        while let Some((end, bytes)) = self.stream.done_from(self.at) {
            self.go_to(end, self.bytes_before + bytes);
        }
        if self.at >= self.stream.next {
            return Ok(Step::End);
        }
        let expected = Place {
            stream: self.stream.id,
            sequence: self.at,
            fragment: 0,
        };
        let tree = self.generation.tree();
        let entries = self
            .entries
            .get_or_insert_with(|| tree.range(keys::payloads_from(expected.stream, self.at)));
        if let Some(entry) = entries.next() {
            let (key, value) = entry?;
            self.generation.age(&key)?;
            if *key == expected.key()
                && let Some(piece) = decode(self.generation, self.stream, expected, &value)
            {
                let (end, bytes) = (piece.end(), piece.bytes_before() + piece.size());
                match piece {
                    Piece::Chunk(_) => (self.at, self.bytes_before) = (end, bytes),
                    Piece::Large(_) => self.go_to(end, bytes),
                }
                return Ok(Step::Piece(piece));
            }
        }
        let lost = self.lost(self.at, self.at, self.bytes_before)?;
        self.go_to(lost.end, self.bytes_before + lost.span_bytes);
        Ok(Step::Lost(lost))
    }

    /// Gives up a piece that turned out to be damaged inside.
    pub(super) fn give_up(&mut self, piece: &Piece) -> Outcome<Lost> {
        let lost = self.lost(piece.first(), piece.end(), piece.bytes_before())?;
        self.go_to(lost.end, piece.bytes_before() + lost.span_bytes);
        Ok(lost)
    }

    fn go_to(&mut self, at: u64, bytes_before: u64) {
        (self.at, self.bytes_before) = (at, bytes_before);
        self.entries = None;
    }

    /// The gap that begins with `first` and ends before the next whole piece.
    fn lost(&self, first: u64, search_from: u64, bytes_before: u64) -> Outcome<Lost> {
        let stream = self.stream;
        let (mut end, mut end_bytes) = (stream.next, stream.next_bytes);
        let mut search_from = search_from;
        'search: loop {
            let range = keys::payloads_from(stream.id, search_from);
            for entry in self.generation.tree().range(range) {
                let (key, value) = entry?;
                let Some(place) = Place::of_key(&key) else {
                    continue;
                };
                if place.fragment > 0 {
                    search_from = place.sequence + 1;
                    continue 'search;
                }
                // What is done already is no end to what is missing.
                if let Some(done) = stream.done_around(place.sequence)
                    && let Some((end, _)) = stream.done_from(done)
                {
                    search_from = end;
                    continue 'search;
                }
                if let Some(piece) = decode(self.generation, stream, place, &value) {
                    (end, end_bytes) = (piece.first(), piece.bytes_before());
                    break;
                }
            }
            break;
        }
        let span_bytes = end_bytes.saturating_sub(bytes_before);
        let (mut records, mut bytes) = (end - first, span_bytes);
        for (_, progress) in stream.progress.range(first..end) {
            let (gone, gone_bytes) = match progress {
                Progress::Done { count, bytes } => (*count, *bytes),
                Progress::Partial(partial) => (partial.gone_records(), partial.gone_bytes()),
            };
            records = records.saturating_sub(gone);
            bytes = bytes.saturating_sub(gone_bytes);
        }
        Ok(Lost {
            first,
            end,
            span_bytes,
            removed: Amount::new(to_usize(records), bytes),
        })
    }
}

/// The piece that begins with a sequence, if it is there and whole.
pub(super) fn piece_at(
    generation: &Generation,
    stream: &Stream,
    sequence: u64,
) -> Outcome<Option<Piece>> {
    let place = Place {
        stream: stream.id,
        sequence,
        fragment: 0,
    };
    let value = generation.tree().get(place.key())?;
    Ok(value.and_then(|value| decode(generation, stream, place, &value)))
}

/// The record whose first fragment is known; `None` if not all of it can be read.
pub(super) fn read_large(generation: &Generation, large: &LargeRecord) -> Outcome<Option<Stored>> {
    // What was written says its size; more is not set aside than there are fragments for.
    let most = to_usize(u64::from(large.fragments)).saturating_mul(BODY_BYTES);
    let mut bytes = Vec::with_capacity(to_usize(large.size).saturating_add(64).min(most));
    let mut found = 0;
    let range = keys::payloads_between(large.stream, large.sequence, large.sequence);
    for entry in generation.tree().range(range) {
        let (_, value) = entry?;
        let Some((Kind::Fragment, body)) = generation.codec().unwrap(&value) else {
            return Ok(None);
        };
        match Fragment::decode(body) {
            Some(fragment) if fragment.of == *large && fragment.index == found => {
                bytes.extend_from_slice(fragment.bytes);
                found += 1;
            }
            _ => return Ok(None),
        }
    }
    Ok(if found == large.fragments {
        joined(large, bytes)
    } else {
        None
    })
}

/// Takes a value for what stands under its key, and nothing else.
fn decode(generation: &Generation, stream: &Stream, place: Place, value: &[u8]) -> Option<Piece> {
    let piece = match generation.codec().unwrap(value)? {
        (Kind::Chunk, body) => {
            let chunk = Chunk::decode(body)?;
            (chunk.stream == place.stream).then_some(Piece::Chunk(chunk))?
        }
        (Kind::Fragment, body) => {
            let fragment = Fragment::decode(body)?;
            let here = fragment.of.stream == place.stream && fragment.index == place.fragment;
            here.then_some(Piece::Large(fragment.of))?
        }
        _ => return None,
    };
    (piece.first() == place.sequence && piece.end() <= stream.next).then_some(piece)
}
