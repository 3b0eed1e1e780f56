//! Rebuilds the index of an open log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Failure;
use super::catalog::{Catalog, Segment, Settled};
use super::outline::Outline;
use super::replay::Replay;
use super::scan::Scanner;
use crate::index::Index;
use crate::index::ranges::Ranges;

/// Reads all segments up to their known ends, and adds what still has to be written: void numbers
/// and settlements.
///
/// Any records still missing existed, but their frames can no longer be found.
pub(crate) fn rebuild(
    segments: &BTreeMap<u32, Segment>,
    salt: u64,
    (voids, settled): (&Ranges, &[Settled]),
    index: Box<dyn Index>,
    alive: &dyn Fn(),
) -> Result<Replay, Failure> {
    let first = segments.values().next().map(|segment| segment.base);
    let mut replay = Replay::new(first, Catalog::new(index));
    for (number, segment) in segments {
        alive();
        let Segment {
            file,
            seal,
            base,
            end,
            ..
        } = segment;
        let again = Segment::new(Arc::clone(file), *seal, *base, *end);
        replay.catalog.segments.insert(*number, again);
        let outline = Outline::read(&**file, *number, salt)?;
        if let Some(outline) = outline.filter(|outline| outline.end() == *end) {
            replay.outlined(*number, outline, &**file)?;
        } else {
            let mut scanner = Scanner::new(&**file, *seal, *end)?;
            replay.segment(*number, &mut scanner, *end)?;
        }
    }
    replay.finish(None);
    for settled in settled {
        replay.settle(settled)?;
    }
    replay.missing.remove_all(voids);
    Ok(replay)
}
