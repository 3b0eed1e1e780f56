//! Learning from the tree what it holds, and whether that can be right.

use std::collections::BTreeMap;

use super::codec::{Chunk, Fragment, Head, Kind, Name, Progress, Reached, Seal};
use super::fault::{Fault, Outcome};
use super::generation::Generation;
use super::index::{Index, Stream};
use super::keys::{self, Place, StreamId};
use super::notes::Notes;
use super::pieces::{Step, Walk};
use super::replay::replay;
use crate::StreamName;

/// Up to here every record is looked at; beyond, the first and the last of a stream.
const WHOLE_CHECK_BYTES: u64 = 16 * 1024 * 1024;

/// Builds the index of a generation that was just opened.
///
/// [`Fault::Damaged`] says that records are missing or that the counters cannot be
/// trusted.
pub(super) fn load(generation: &Generation) -> Outcome<Index> {
    let seal = generation.tree().get(keys::SEAL)?;
    let seal = seal
        .as_deref()
        .and_then(|value| body(generation, Kind::Seal, value));
    let Some(seal) = seal.and_then(Seal::decode) else {
        return damaged("there is no seal");
    };

    remove_empty_places(generation)?;
    let mut streams = names(generation)?;
    heads(generation, &mut streams)?;
    progress(generation, &mut streams)?;
    no_orphans(generation, &streams)?;
    for stream in streams.values_mut() {
        find_end(generation, stream)?;
    }
    let reached = reached(generation)?;
    let notes = Notes::read(generation.path(), generation.id().salt);
    let last_note = replay(generation.codec(), &mut streams, reached, notes);
    let mut index = Index::new(seal.floor);
    index.last_note = last_note;
    index.is_behind = last_note > reached;
    for mut stream in streams.into_values() {
        stream.recount();
        if index.find(&stream.name).is_some() {
            return damaged("two streams have one name");
        }
        index.insert(stream);
    }
    let whole = index.bytes() <= WHOLE_CHECK_BYTES;
    for stream in index.streams.values() {
        check(generation, stream, whole)?;
    }
    Ok(index)
}

/// Removes the places that were made for payloads which never came.
fn remove_empty_places(generation: &Generation) -> Outcome<()> {
    let mut from = Some(0);
    while let Some(next) = from {
        let Some(entry) = generation.tree().range(keys::streams_from(next)).next() else {
            break;
        };
        let Some(place) = Place::of_key(&entry?.0) else {
            break;
        };
        let mut empty = Vec::new();
        for entry in generation
            .tree()
            .range(keys::payloads_from(place.stream, 0))
            .rev()
        {
            let (key, value) = entry?;
            if !value.is_empty() {
                break;
            }
            empty.push(key);
        }
        for key in empty {
            generation.tree().remove(key)?;
        }
        from = place.stream.checked_add(1);
    }
    Ok(())
}

/// The number of the last note that the tree has taken in.
fn reached(generation: &Generation) -> Outcome<u64> {
    let Some(value) = generation.tree().get(keys::REACHED)? else {
        return Ok(0);
    };
    match body(generation, Kind::Reached, &value).and_then(Reached::decode) {
        Some(reached) => Ok(reached.note),
        None => damaged("what the notes have come to is unreadable"),
    }
}

fn names(generation: &Generation) -> Outcome<BTreeMap<StreamId, Stream>> {
    let mut streams = BTreeMap::new();
    for entry in generation.tree().scan_prefix([keys::NAMES]) {
        let (key, value) = entry?;
        let name = body(generation, Kind::Name, &value).and_then(Name::decode);
        let Some(name) = name.filter(|name| *key == keys::name(name.stream)) else {
            return damaged("a name is unreadable");
        };
        let Ok(stream_name) = StreamName::new(name.name) else {
            return damaged("a name is impossible");
        };
        let mut stream = Stream::new(name.stream, stream_name, name.start);
        stream.named = true;
        streams.insert(name.stream, stream);
    }
    Ok(streams)
}

fn heads(generation: &Generation, streams: &mut BTreeMap<StreamId, Stream>) -> Outcome<()> {
    for entry in generation.tree().scan_prefix([keys::HEADS]) {
        let (key, value) = entry?;
        let head = body(generation, Kind::Head, &value).and_then(Head::decode);
        let head = head.filter(|head| *key == keys::head(head.stream));
        let known = head.and_then(|head| Some((head, streams.get_mut(&head.stream)?)));
        let Some((head, stream)) = known else {
            return damaged("a head is unreadable");
        };
        if head.sequence < stream.start {
            return damaged("a head lies before the start");
        }
        (stream.head, stream.head_bytes) = (head.sequence, head.bytes_before);
        (stream.next, stream.next_bytes) = (head.sequence, head.bytes_before);
    }
    Ok(())
}

fn progress(generation: &Generation, streams: &mut BTreeMap<StreamId, Stream>) -> Outcome<()> {
    for entry in generation.tree().scan_prefix([keys::PROGRESS]) {
        let (key, value) = entry?;
        let progress = body(generation, Kind::Progress, &value).and_then(Progress::decode);
        let progress =
            progress.filter(|(stream, first, _)| *key == keys::progress(*stream, *first));
        let known = progress.and_then(|(stream, first, progress)| {
            Some((streams.get_mut(&stream)?, first, progress))
        });
        let Some((stream, first, progress)) = known else {
            return damaged("a progress is unreadable");
        };
        if first < stream.head {
            return damaged("a progress lies before the head");
        }
        stream.saved.insert(first);
        stream.progress.insert(first, progress);
    }
    Ok(())
}

fn find_end(generation: &Generation, stream: &mut Stream) -> Outcome<()> {
    let last = generation
        .tree()
        .range(keys::payloads_from(stream.id, stream.head))
        .next_back();
    if let Some(entry) = last {
        let (key, value) = entry?;
        let end = Place::of_key(&key).and_then(|place| end_of(generation, place, &value));
        let Some((next, next_bytes)) = end else {
            return damaged("a last record is unreadable");
        };
        (stream.next, stream.next_bytes) = (next, next_bytes);
    }
    for (first, progress) in &stream.progress {
        let Progress::Done { count, bytes } = progress else {
            continue;
        };
        let end = first.saturating_add(*count);
        if end > stream.next {
            // Of its payloads the last may be gone, and others still be there.
            let before = if *first < stream.next {
                bytes_before(generation, stream, *first)?
            } else {
                stream.next_bytes
            };
            stream.next = end;
            stream.next_bytes = before.saturating_add(*bytes);
        }
    }
    Ok(())
}

/// The sizes of all records before the first payload of a run.
fn bytes_before(generation: &Generation, stream: &Stream, first: u64) -> Outcome<u64> {
    let range = keys::payloads_between(stream.id, stream.head, first);
    for entry in generation.tree().range(range).rev() {
        let (key, value) = entry?;
        let Some(place) = Place::of_key(&key) else {
            break;
        };
        let found = if place.sequence == first {
            // Any of its fragments knows.
            begin_of(generation, &value)
        } else {
            end_of(generation, place, &value).map(|(_, bytes)| bytes)
        };
        if let Some(bytes) = found {
            return Ok(bytes);
        }
    }
    Ok(stream.head_bytes)
}

/// The sizes of all records before a payload.
fn begin_of(generation: &Generation, value: &[u8]) -> Option<u64> {
    match generation.codec().unwrap(value)? {
        (Kind::Chunk, body) => Some(Chunk::decode(body)?.bytes_before),
        (Kind::Fragment, body) => Some(Fragment::decode(body)?.of.bytes_before),
        _ => None,
    }
}

/// The sequence and the sizes that follow a payload.
fn end_of(generation: &Generation, place: Place, value: &[u8]) -> Option<(u64, u64)> {
    match generation.codec().unwrap(value)? {
        (Kind::Chunk, body) => {
            let chunk = Chunk::decode(body)?;
            let end = chunk.first.checked_add(chunk.records.len() as u64)?;
            let here = chunk.stream == place.stream && chunk.first == place.sequence;
            here.then(|| (end, chunk.bytes_before + chunk.size()))
        }
        (Kind::Fragment, body) => {
            let fragment = Fragment::decode(body)?;
            let large = fragment.of;
            let here = large.stream == place.stream
                && large.sequence == place.sequence
                && fragment.index == place.fragment
                && fragment.index + 1 == large.fragments;
            here.then_some((
                large.sequence.checked_add(1)?,
                large.bytes_before + large.size,
            ))
        }
        _ => None,
    }
}

/// Looks for payloads of streams that have no name, a stream at a time.
fn no_orphans(generation: &Generation, streams: &BTreeMap<StreamId, Stream>) -> Outcome<()> {
    let mut from = Some(0);
    while let Some(next) = from {
        let Some(entry) = generation.tree().range(keys::streams_from(next)).next() else {
            break;
        };
        match Place::of_key(&entry?.0) {
            Some(place) if streams.contains_key(&place.stream) => {
                from = place.stream.checked_add(1);
            }
            _ => return damaged("records have no stream"),
        }
    }
    Ok(())
}

fn check(generation: &Generation, stream: &Stream, whole: bool) -> Outcome<()> {
    let mut walk = Walk::from_head(generation, stream);
    loop {
        match walk.step()? {
            Step::Piece(_) if whole => {}
            Step::Piece(_) | Step::End => return Ok(()),
            Step::Lost(_) => return damaged("records are missing"),
        }
    }
}

fn body<'a>(generation: &Generation, kind: Kind, value: &'a [u8]) -> Option<&'a [u8]> {
    generation
        .codec()
        .unwrap(value)
        .filter(|found| found.0 == kind)
        .map(|found| found.1)
}

fn damaged<T>(what: &str) -> Outcome<T> {
    Err(Fault::Damaged(what.to_owned()))
}
