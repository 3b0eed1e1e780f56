//! Rebuilds the index of an open log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Failure;
use super::catalog::{Catalog, Segment, Settled};
use super::counters::Counters;
use super::outline::Outline;
use super::replay::Replay;
use super::scan::Scanner;
use crate::index::Index;
use crate::index::ranges::Ranges;

/// The contents of the log, read again.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    pub(crate) catalog: Catalog,
    pub(crate) counters: Counters,
    /// Records that existed, but whose frames can no longer be found.
    pub(crate) missing: Ranges,
}

/// What still has to be written to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending<'a> {
    /// Numbers that no record has.
    pub(crate) voids: &'a Ranges,
    pub(crate) settled: &'a [Settled],
}

/// Reads all segments up to where they are known to end.
pub(crate) fn rebuild(
    segments: &BTreeMap<u32, Segment>,
    salt: u64,
    pending: Pending<'_>,
    index: Box<dyn Index>,
    alive: &dyn Fn(),
) -> Result<Rebuilt, Failure> {
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
    for settled in pending.settled {
        replay.settle(settled)?;
    }
    replay.missing.remove_all(pending.voids);
    Ok(Rebuilt {
        catalog: replay.catalog,
        counters: replay.counters,
        missing: replay.missing,
    })
}
