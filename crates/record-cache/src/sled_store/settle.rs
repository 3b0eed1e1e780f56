//! Forgetting records, and counting attempts on them.

use std::collections::BTreeSet;

use super::codec::Partial;
use super::fault::Outcome;
use super::generation::{Changes, Generation};
use super::index::{ProgressStep, Stream};
use super::pieces::{Lost, Piece, Step, Walk};
use crate::{Removed, Settlement};

/// Stages one settlement.
pub(super) fn settle(
    generation: &Generation,
    stream: &mut Stream,
    settlement: &Settlement,
    changes: &mut Changes,
) -> Outcome<Removed> {
    let delete: BTreeSet<u64> = settlement.delete.iter().map(|id| id.get()).collect();
    let count: BTreeSet<u64> = settlement.count_attempt.iter().map(|id| id.get()).collect();
    let named = delete
        .union(&count)
        .copied()
        .filter(|id| (stream.head..stream.next).contains(id));
    let pieces = pieces_of(generation, stream, named.collect())?;

    let mut step = ProgressStep::default();
    let mut removed = Removed::default();
    for piece in pieces {
        let first = piece.first();
        let mut partial = match stream.partial(first) {
            Some(known) if known.records() == piece.records() => known.clone(),
            _ => Partial::new(piece.records()),
        };
        let before = partial.clone();
        for (index, id) in (first..piece.end()).enumerate() {
            let size = piece.record_size(index);
            if delete.contains(&id) {
                if partial.remove(index, size) {
                    removed += Removed::new(1, size);
                }
            } else if count.contains(&id) && !partial.is_gone(index) {
                partial.set_attempts(index, partial.attempts(index).saturating_add(1));
            }
        }
        if partial.all_gone() {
            for place in piece.places() {
                changes.discard(&place.key());
            }
            step.done(stream, first, piece.end(), piece.size());
        } else if partial != before {
            step.partial(stream, first, partial);
        }
    }
    step.write(stream, generation.codec(), changes);
    stream.removed(removed);
    Ok(removed)
}

/// Stages the removal of records that cannot be read.
pub(super) fn drop_lost(
    generation: &Generation,
    stream: &mut Stream,
    lost: &[Lost],
    changes: &mut Changes,
) -> Outcome<()> {
    let mut step = ProgressStep::default();
    for lost in lost {
        remove_payloads(generation, stream, lost.first, lost.end, changes)?;
        step.done(stream, lost.first, lost.end, lost.span_bytes);
        stream.removed(lost.removed);
    }
    step.write(stream, generation.codec(), changes);
    Ok(())
}

/// Stages the removal of all that stands under some sequences.
pub(super) fn remove_payloads(
    generation: &Generation,
    stream: &Stream,
    first: u64,
    end: u64,
    changes: &mut Changes,
) -> Outcome<()> {
    if first < end {
        let range = super::keys::payloads_between(stream.id, first, end - 1);
        for entry in generation.tree().range(range) {
            changes.discard(&entry?.0);
        }
    }
    Ok(())
}

/// The pieces that hold the sequences, each once, in order.
fn pieces_of(generation: &Generation, stream: &Stream, sequences: Vec<u64>) -> Outcome<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut walk = Walk::from_head(generation, stream);
    for sequence in sequences {
        if pieces.last().is_some_and(|piece| sequence < piece.end()) {
            continue;
        }
        // Mostly the very next piece; otherwise look it up.
        let mut looked_up = false;
        loop {
            match walk.step()? {
                Step::Piece(piece) if piece.end() <= sequence && !looked_up => {
                    walk = Walk::from_sequence(generation, stream, sequence)?;
                    looked_up = true;
                }
                Step::Piece(piece) if piece.end() <= sequence => {}
                Step::Piece(piece) if piece.first() <= sequence => {
                    pieces.push(piece);
                    break;
                }
                Step::Lost(lost) if lost.end <= sequence => {}
                // Gone already, or lost: a read will say so.
                _ => {
                    walk = Walk::from_sequence(generation, stream, sequence)?;
                    break;
                }
            }
        }
    }
    Ok(pieces)
}
