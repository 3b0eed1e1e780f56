//! Putting what was found back in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use super::carve::{CarvedStream, Location, carve, read};
use crate::StreamName;
use crate::sled_store::Options;
use crate::sled_store::codec::{
    Chunk, Codec, Fragment, Kind, LargeRecord, Partial, Progress, Stored, joined,
};
use crate::sled_store::copy::{Copy, Taker};
use crate::sled_store::fault::{Fault, Outcome};
use crate::sled_store::generation::{Generation, database_file};
use crate::sled_store::home::{GenerationId, Home};
use crate::sled_store::manifest::Manifest;
use crate::sled_store::mark::Noted;
use crate::sled_store::notes;

/// New sequences begin at the next multiple, above all that a lost end may have used.
pub(in crate::sled_store) const LEAP: u64 = 1 << 32;

/// A generation of what could be read.
#[derive(Debug)]
pub(in crate::sled_store) struct Salvaged {
    pub(in crate::sled_store) generation: Generation,
    pub(in crate::sled_store) kept: u64,
    pub(in crate::sled_store) loss: Loss,
}

/// Records that are missing, as far as that can be known.
#[derive(Debug, Default)]
pub(in crate::sled_store) struct Loss {
    pub(in crate::sled_store) of_streams: BTreeMap<StreamName, u64>,
    /// Of streams that nothing tells the names of.
    pub(in crate::sled_store) of_others: u64,
}

impl Loss {
    pub(in crate::sled_store) fn of_everything(records: u64) -> Self {
        Self {
            of_others: records,
            ..Self::default()
        }
    }

    pub(in crate::sled_store) fn records(&self) -> u64 {
        self.of_streams.values().sum::<u64>() + self.of_others
    }
}

/// Fills a new generation with what the file of an old one still holds.
///
/// `noted` is what the old one is known to have held.
pub(in crate::sled_store) fn salvage(
    home: &Home,
    options: &Options,
    old: Manifest,
    new: GenerationId,
    noted: Noted,
    beat: &dyn Fn(),
) -> Outcome<Salvaged> {
    let path = database_file(home, old.generation);
    let refused = |error: io::Error| Fault::io("cannot read what was damaged", &path, error);
    let codec = Codec::new(old.generation.salt);
    let notes = notes::file(&home.generation_path(old.generation));
    let carved = carve(&path, &notes, &codec, beat).map_err(refused)?;
    let mut source = Source {
        file: File::open(&path).ok(),
        codec,
    };

    let mut copy = Copy::into_new(Generation::create(
        home,
        new,
        old.segment,
        options.durability,
    )?);
    let mut tally = Tally::default();
    let mut nameless = 0;
    let ends = carved.streams.values().map(CarvedStream::end);
    let leap = (ends.max().unwrap_or(0).max(carved.floor) / LEAP + 1) * LEAP;
    for stream in carved.streams.values() {
        beat();
        tally.appended += stream.end() - stream.start.min(stream.end());
        match &stream.name {
            Some(name) => {
                rebuild(&mut copy, &mut source, stream, name, leap, &mut tally).map_err(
                    |fault| match fault {
                        Failure::Reading(error) => refused(error),
                        Failure::Writing(fault) => fault,
                    },
                )?;
            }
            None => nameless += stream.end() - stream.head,
        }
    }
    let generation = copy.finish(leap)?;
    let of_others = nameless
        + noted
            .appended
            .saturating_sub(tally.appended)
            .min(noted.held);
    Ok(Salvaged {
        generation,
        kept: tally.kept,
        loss: Loss {
            of_streams: tally.lost,
            of_others,
        },
    })
}

#[derive(Debug, Default)]
struct Tally {
    appended: u64,
    kept: u64,
    lost: BTreeMap<StreamName, u64>,
}

enum Failure {
    Reading(io::Error),
    Writing(Fault),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Reading(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Writing(fault)
    }
}

/// Writes one stream; records that no longer have a place of their own go to the end.
fn rebuild(
    copy: &mut Copy,
    source: &mut Source,
    stream: &CarvedStream,
    name: &StreamName,
    leap: u64,
    tally: &mut Tally,
) -> Result<(), Failure> {
    copy.begin(name, stream.head)?;
    let done = stream.done();
    let mut lost = 0;
    let mut at = stream.head;
    let mut displaced: Vec<Stored> = Vec::new();
    for (first, parts) in stream.parts() {
        let Some(records) = source.records(&parts)? else {
            continue;
        };
        let end = first + records.len() as u64;
        if end <= stream.head || done.covers(first, end) {
            continue;
        }
        if first < at && first >= stream.head {
            // Two claim the place: both are kept, because either may be the one that
            // was promised to be.
            displaced.extend(records);
            continue;
        }
        lost += done.missing(at, first);
        let partial = stream.partial(first, records.len());
        for (index, (sequence, record)) in (first..end).zip(records).enumerate() {
            if sequence >= at && !partial.is_some_and(|partial| partial.is_gone(index)) {
                let attempts = partial.map_or(0, |partial| partial.attempts(index));
                copy.push(sequence, &record, attempts)?;
                tally.kept += 1;
            }
        }
        at = end;
    }
    lost += done.missing(at, stream.end());
    if lost > 0 {
        tally.lost.insert(name.clone(), lost);
    }
    let mut next = leap;
    for record in displaced {
        copy.push(next, &record, 0)?;
        tally.kept += 1;
        next += 1;
    }
    copy.end(next)?;
    Ok(())
}

/// What makes up one piece.
enum Parts {
    Chunk(Location),
    Large(LargeRecord, Vec<Location>),
}

impl CarvedStream {
    /// Above every sequence that is known of.
    fn end(&self) -> u64 {
        let chunks = self
            .chunks
            .keys()
            .map(|(first, records, _)| first + *records as u64);
        let large = self.large.keys().map(|(sequence, _)| sequence + 1);
        let done = self
            .progress
            .iter()
            .map(|(first, progress)| match progress {
                Progress::Done { count, .. } => first.saturating_add(*count),
                Progress::Partial(partial) => first + partial.records() as u64,
            });
        chunks
            .chain(large)
            .chain(done)
            .max()
            .unwrap_or(0)
            .max(self.head)
    }

    /// All pieces that may be whole, by their first sequence, the longest first.
    fn parts(&self) -> Vec<(u64, Parts)> {
        let mut parts: Vec<(u64, usize, Parts)> = Vec::new();
        for ((first, records, _), location) in &self.chunks {
            parts.push((*first, *records, Parts::Chunk(*location)));
        }
        for ((sequence, of), fragments) in &self.large {
            if fragments.len() as u64 == u64::from(of.fragments) {
                let locations = fragments.values().copied().collect();
                parts.push((*sequence, 1, Parts::Large(*of, locations)));
            }
        }
        parts.sort_by_key(|(first, records, _)| (*first, std::cmp::Reverse(*records)));
        parts
            .into_iter()
            .map(|(first, _, parts)| (first, parts))
            .collect()
    }

    fn partial(&self, first: u64, records: usize) -> Option<&Partial> {
        match self.progress.get(&first) {
            Some(Progress::Partial(partial)) if partial.records() == records => Some(partial),
            _ => None,
        }
    }

    fn done(&self) -> Done {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (first, progress) in &self.progress {
            let Progress::Done { count, .. } = progress else {
                continue;
            };
            let end = first.saturating_add(*count);
            match ranges.last_mut() {
                Some(last) if *first <= last.1 => last.1 = last.1.max(end),
                _ => ranges.push((*first, end)),
            }
        }
        Done { ranges }
    }
}

/// Sequences that are known to be gone.
struct Done {
    /// In order, apart from each other.
    ranges: Vec<(u64, u64)>,
}

impl Done {
    fn covers(&self, first: u64, end: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.0 <= first);
        at.checked_sub(1)
            .and_then(|at| self.ranges.get(at))
            .is_some_and(|range| range.1 >= end)
    }

    /// How many records should be there and are not.
    fn missing(&self, from: u64, to: u64) -> u64 {
        let at = self.ranges.partition_point(|range| range.1 <= from);
        let within = self.ranges.iter().skip(at).take_while(|range| range.0 < to);
        let gone: u64 = within
            .map(|range| range.1.min(to) - range.0.max(from))
            .sum();
        to.saturating_sub(from).saturating_sub(gone)
    }
}

/// The file that was searched.
struct Source {
    file: Option<File>,
    codec: Codec,
}

impl Source {
    /// The records of a piece; `None` if not all of it is there.
    fn records(&mut self, parts: &Parts) -> io::Result<Option<Vec<Stored>>> {
        match parts {
            Parts::Chunk(location) => {
                let value = self.value(*location)?;
                let chunk = match self.codec.unwrap(&value) {
                    Some((Kind::Chunk, body)) => Chunk::decode(body),
                    _ => None,
                };
                Ok(chunk.map(|chunk| chunk.records))
            }
            Parts::Large(of, locations) => {
                let mut bytes = Vec::new();
                for location in locations {
                    let value = self.value(*location)?;
                    let fragment = match self.codec.unwrap(&value) {
                        Some((Kind::Fragment, body)) => Fragment::decode(body),
                        _ => None,
                    };
                    let Some(fragment) = fragment else {
                        return Ok(None);
                    };
                    bytes.extend_from_slice(fragment.bytes);
                }
                Ok(joined(of, bytes).map(|record| vec![record]))
            }
        }
    }

    fn value(&mut self, location: Location) -> io::Result<Vec<u8>> {
        match &mut self.file {
            Some(file) => read(file, location),
            None => Ok(Vec::new()),
        }
    }
}
