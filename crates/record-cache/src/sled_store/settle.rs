//! Forgetting records, and counting attempts on them.

use super::codec::Partial;
use super::fault::Outcome;
use super::generation::Generation;
use super::index::{ProgressStep, Stream};
use super::layout::Layout;
use super::pieces::{Lost, Step, Walk};
use crate::{Amount, RecordId, Settlement};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    // Of a record that is named twice, what comes first counts.
    Deleted,
    Counted,
}

/// Makes one settlement, in memory.
pub(super) fn settle(
    generation: &Generation,
    stream: &mut Stream,
    settlement: &Settlement,
) -> Outcome<(Amount, ProgressStep)> {
    let mut step = ProgressStep::default();
    let mut removed = Amount::default();
    let named = named(stream, settlement);
    let mut rest = named.as_slice();
    while let Some(&(sequence, _)) = rest.first() {
        let Some(layout) = layout_of(generation, stream, sequence)? else {
            // Gone already, or lost: a read will say so.
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let within = rest.partition_point(|(sequence, _)| *sequence < layout.end());
        let (here, later) = rest.split_at(within);
        removed += settle_piece(stream, &layout, here, &mut step);
        rest = later;
    }
    stream.removed(removed);
    Ok((removed, step))
}

/// Makes records that cannot be read count as gone; returns what that does.
pub(super) fn drop_lost(stream: &mut Stream, lost: &[Lost]) {
    let mut step = ProgressStep::default();
    for lost in lost {
        step.done(stream, lost.first, lost.end, lost.span_bytes);
        stream.layouts.forget(lost.first, lost.end);
        stream.removed(lost.removed);
    }
    step.postpone(stream);
}

/// What becomes of each record that may be there, in order.
fn named(stream: &Stream, settlement: &Settlement) -> Vec<(u64, Fate)> {
    let all = |ids: &[RecordId], fate| {
        let known = stream.head..stream.next;
        let sequences = ids.iter().map(|id| id.get());
        let sequences = sequences.filter(move |sequence| known.contains(sequence));
        sequences
            .map(move |sequence| (sequence, fate))
            .collect::<Vec<_>>()
    };
    let mut named = all(&settlement.delete, Fate::Deleted);
    named.extend(all(&settlement.count_attempt, Fate::Counted));
    named.sort_unstable();
    named.dedup_by_key(|(sequence, _)| *sequence);
    named
}

fn settle_piece(
    stream: &mut Stream,
    layout: &Layout,
    named: &[(u64, Fate)],
    step: &mut ProgressStep,
) -> Amount {
    let first = layout.first;
    let known = stream
        .partial(first)
        .filter(|known| known.records() == layout.records());
    let all_deleted = named.iter().all(|(_, fate)| *fate == Fate::Deleted);
    let (removed, all_gone) = if known.is_none() && all_deleted && named.len() == layout.records() {
        (Amount::new(layout.records(), layout.size()), true)
    } else {
        let fresh = || Partial::new(layout.records());
        let mut partial = known.cloned().unwrap_or_else(fresh);
        let before = partial.clone();
        let mut removed = Amount::default();
        for (sequence, fate) in named {
            let Some((index, size)) = layout.find(*sequence) else {
                continue;
            };
            match fate {
                Fate::Deleted => {
                    if partial.remove(index, size) {
                        removed += Amount::new(1, size);
                    }
                }
                Fate::Counted if partial.is_gone(index) => {}
                Fate::Counted => {
                    partial.set_attempts(index, partial.attempts(index).saturating_add(1));
                }
            }
        }
        let all_gone = partial.all_gone();
        if !all_gone && partial != before {
            step.partial(stream, first, partial);
        }
        (removed, all_gone)
    };
    if all_gone {
        step.done(stream, first, layout.end(), layout.size());
        stream.layouts.forget(first, layout.end());
    }
    removed
}

/// The payload that a record is in; `None` where there is none that is whole.
fn layout_of(generation: &Generation, stream: &Stream, sequence: u64) -> Outcome<Option<Layout>> {
    if stream.done_around(sequence).is_some() {
        return Ok(None);
    }
    if let Some(layout) = stream.layouts.find(sequence) {
        return Ok(Some(layout.clone()));
    }
    let mut walk = Walk::from_sequence(generation, stream, sequence)?;
    loop {
        match walk.step()? {
            Step::Piece(piece) if piece.end() <= sequence => {}
            Step::Piece(piece) if piece.first() <= sequence => return Ok(Some(Layout::of(&piece))),
            Step::Lost(lost) if lost.end <= sequence => {}
            _ => return Ok(None),
        }
    }
}
