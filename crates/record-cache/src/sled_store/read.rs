//! Giving the oldest records back.

use super::codec::Stored;
use super::fault::Outcome;
use super::generation::Generation;
use super::index::Stream;
use super::layout::Layout;
use super::pieces::{Lost, Piece, Step, Walk, read_large};
use crate::{ReadLimits, Record, RecordId, clock};

/// What a read found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    /// Where they are.
    pub(super) layouts: Vec<Layout>,
    /// What has to be dropped because it cannot be read.
    pub(super) lost: Vec<Lost>,
}

pub(super) fn oldest(
    generation: &Generation,
    stream: &Stream,
    after: Option<RecordId>,
    limits: ReadLimits,
) -> Outcome<Found> {
    let mut found = Found::default();
    let from = match after.map(|id| id.get().checked_add(1)) {
        None => stream.head,
        Some(Some(from)) if from < stream.next => from.max(stream.head),
        Some(_) => return Ok(found),
    };
    let mut walk = Walk::from_sequence(generation, stream, from)?;
    let mut bytes = 0;
    while found.records.len() < limits.max_records.get() {
        let piece = match walk.step()? {
            Step::Piece(piece) => piece,
            Step::Lost(lost) => {
                found.lost.push(lost);
                continue;
            }
            Step::End => break,
        };
        let partial = stream.partial(piece.first());
        found.layouts.push(Layout::of(&piece));
        for (index, sequence) in (piece.first()..piece.end()).enumerate() {
            if sequence < from || partial.is_some_and(|partial| partial.is_gone(index)) {
                continue;
            }
            bytes += piece.record_size(index);
            let full = found.records.len() >= limits.max_records.get();
            if full || (bytes > limits.max_bytes.get() && !found.records.is_empty()) {
                return Ok(found);
            }
            let Some(stored) = stored(generation, &piece, index)? else {
                bytes -= piece.record_size(index);
                found.lost.push(walk.give_up(&piece)?);
                break;
            };
            found.records.push(Record::new(
                RecordId::new(sequence),
                stored.key,
                stored.data,
                partial.map_or(0, |partial| partial.attempts(index)),
                clock::from_unix_millis(stored.recorded_millis),
            ));
        }
    }
    Ok(found)
}

/// One record of a piece; `None` if it is damaged.
pub(super) fn stored(
    generation: &Generation,
    piece: &Piece,
    index: usize,
) -> Outcome<Option<Stored>> {
    match piece {
        Piece::Chunk(chunk) => Ok(chunk.records.get(index).cloned()),
        Piece::Large(large) => read_large(generation, large),
    }
}
