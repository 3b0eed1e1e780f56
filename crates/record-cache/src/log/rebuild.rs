//! Rebuilds the index of an open log.

use std::collections::BTreeMap;

use super::Failure;
use super::catalog::{Catalog, Segment, Settled};
use super::replay::Replay;
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
    for (&number, segment) in segments {
        alive();
        let mut empty = segment.clone();
        (empty.live_records, empty.live_bytes) = (0, 0);
        replay.catalog.segments.insert(number, empty);
        if let Some(outline) = segment.outline(number, salt)? {
            replay.outlined(number, outline, &*segment.file)?;
        } else {
            replay.segment(number, &mut segment.scanner()?, segment.end)?;
        }
    }
    replay.finish(None);
    for settled in settled {
        replay.settle(settled)?;
    }
    replay.missing.remove_all(voids);
    Ok(replay)
}
