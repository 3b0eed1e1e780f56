//! Reads a log without opening it for writing. Nothing is written, created, moved, truncated or
//! locked, so this is safe while a store is using the log.

use crate::counters::Counters;
use crate::index::paged::PagedIndex;
use crate::log::Failure;
use crate::log::catalog::Catalog;
use crate::log::files::Disk;
use crate::log::open::{Layout, read_all};
use crate::log::replay::Replay;

/// The contents of a log at one moment.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) catalog: Catalog,
    pub(super) counters: Counters,
    pub(super) segments: usize,
    /// Records that should be there but are missing.
    pub(super) missing: u64,
    /// Places where something other than a frame was found.
    pub(super) damaged_places: u64,
    /// Segments that are wholly unreadable.
    pub(super) unreadable: usize,
    /// Whether the log ends in a write that is incomplete or still under way.
    pub(super) is_torn: bool,
    /// Whether nothing was written since the log was closed or created.
    pub(super) is_closed: bool,
}

/// Reads what opening the store would find.
pub(super) fn survey(disk: &dyn Disk) -> Result<Survey, Failure> {
    let layout = Layout::find(disk)?.arrange()?;
    let catalog = Catalog::new(Box::new(PagedIndex::in_memory()));
    let is_damaged = |one: &&_| !crate::log::open::Candidate::is_blank(one).unwrap_or(false);
    let unreadable = layout.unusable.iter().filter(is_damaged).count();
    let Some(salt) = layout.salt else {
        // Nothing has been appended yet, or no segment can be read.
        return Ok(Survey {
            catalog,
            counters: Counters::default(),
            segments: 0,
            missing: 0,
            damaged_places: 0,
            unreadable,
            is_torn: false,
            is_closed: false,
        });
    };
    let mut replay = Replay::new(layout.first_number(), catalog);
    let (tail, _) = read_all(&mut replay, &layout, salt, &|| {})?;
    let missing = replay.missing.count();
    let at_mark = |number: u32| {
        let last = layout.mark.and_then(|mark| mark.last);
        last.is_some_and(|last| (last.number, last.end) == (number, tail.end))
    };
    Ok(Survey {
        segments: layout.candidates.len(),
        missing: layout.mark_alone().map_or(missing, |mark| mark.held),
        damaged_places: replay.damaged_places,
        unreadable,
        is_torn: tail.cut.is_some(),
        is_closed: (layout.candidates.last()).is_none_or(|last| at_mark(last.number)),
        catalog: replay.catalog,
        counters: replay.counters,
    })
}
