//! Replays the segments of a log into an index.

use super::layout::{Candidate, Layout};
use crate::index::{Broken, Found as FoundIndex};
use crate::log::Failure;
use crate::log::catalog::Catalog;
use crate::log::outline::Outline;
use crate::log::replay::{Replay, Tail};

/// Begins a replay of the whole log, or of what an index does not cover yet.
///
/// Whether the index refers to segments that are missing or damaged is known only after reading the
/// rest; see [`Replay::is_at_hand`].
pub(super) fn begin_replay(
    found: FoundIndex,
    layout: &Layout,
    salt: u64,
) -> Result<Replay, Failure> {
    let mut catalog = Catalog::new(found.index);
    let first = layout.first_number();
    let Some((at, streams)) = found.kept else {
        return Ok(Replay::new(first, catalog));
    };
    let unfit = |why: &str| Failure::Index(Broken(why.to_owned()));
    if at.salt != salt {
        return Err(unfit("it belongs to another store"));
    }
    if at.segment < layout.last_group.map_or(0, |last| last.oldest) {
        // All records it knows are settled, or were moved to where the log begins now.
        catalog.clear()?;
        return Ok(Replay::new(first, catalog));
    }
    let mut sound = layout.candidates.iter().filter(|one| one.header.is_some());
    if !sound.any(|one| one.number == at.segment && one.end >= at.offset) {
        return Err(unfit("it covers more than the log has"));
    }
    let mut replay = Replay::new(Some(at.next_sequence), catalog);
    (replay.counters.streams, replay.known) = (streams, Some(at));
    Ok(replay)
}

/// Replays all segments. Only the last one can have an incomplete tail.
pub(crate) fn read_all(
    replay: &mut Replay,
    layout: &Layout,
    salt: u64,
    alive: &dyn Fn(),
) -> Result<(Tail, Vec<(u32, Outline)>), Failure> {
    let mut tail = Tail::default();
    let mut sealed = Vec::new();
    let candidates = &layout.candidates;
    let mut before: Option<&Candidate> = None;
    for (n, candidate) in candidates.iter().enumerate() {
        alive();
        let (number, file, header) = (candidate.number, &*candidate.file, candidate.header);
        let knows_all = replay.knows_all_of(number);
        if !knows_all && !follows(before, candidate, layout) {
            replay.hole = true;
        }
        before = Some(candidate);
        let base = header.map_or_else(|| replay.next_sequence(), |header| header.base);
        let mut segment = candidate.segment(salt, base)?;
        let has_exact_length = segment.length == candidate.end;
        if header.is_some() {
            replay.recall(number, &mut segment, candidate.end);
        }
        if knows_all {
            replay.catalog.segments.insert(number, segment);
            continue;
        }
        let is_last = n + 1 == candidates.len();
        if let Some(outline) = candidate.outline(salt) {
            segment.end = outline.end();
            if is_last {
                // Its tail is cut off before more is written.
                segment.length = segment.end;
            }
            replay.catalog.segments.insert(number, segment);
            tail = replay.outlined(number, outline, file)?;
            continue;
        }
        segment.length = segment.end;
        let mut scanner = candidate.scanner(salt)?;
        replay.catalog.segments.insert(number, segment);
        let stable = if is_last {
            layout.stable_in(number)
        } else {
            candidate.end
        };
        tail = replay.segment(number, &mut scanner, stable)?;
        if !is_last && header.is_some() && has_exact_length {
            sealed.extend(tail.outline.take().map(|outline| (number, outline)));
        }
    }
    let closed = layout.mark.filter(|_| !candidates.is_empty());
    replay.finish(closed.map(|mark| mark.next));
    Ok((tail, sealed))
}

/// Whether nothing is missing between a segment and its predecessor.
fn follows(before: Option<&Candidate>, candidate: &Candidate, layout: &Layout) -> bool {
    let Some(before) = before else {
        return candidate.number <= layout.last_group.map_or(0, |last| last.oldest);
    };
    let previous = candidate.header.and_then(|header| header.previous);
    previous.is_some_and(|previous| previous.number == before.number)
}
