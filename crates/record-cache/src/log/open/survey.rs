//! Reading a log without opening it: nothing is written, made, moved or cut, and nothing is
//! locked, so it can be done while a store is at work on the log.

use super::{
    Candidate, candidates, find_last_group, find_salt, last_in, link, read_all, read_mark,
    take_unusable,
};
use crate::index::memory::MemoryIndex;
use crate::log::Failure;
use crate::log::catalog::Catalog;
use crate::log::counters::Counters;
use crate::log::files::Disk;
use crate::log::replay::Replay;

/// What a log holds at one moment.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) catalog: Catalog,
    pub(crate) counters: Counters,
    pub(crate) segments: usize,
    /// Records that should be there, and are not.
    pub(crate) missing: u64,
    /// Places where something else was found than a frame.
    pub(crate) damaged_places: u64,
    /// Segments of which nothing can be read.
    pub(crate) unreadable: usize,
    /// Whether it ends in a write that is incomplete, or under way.
    pub(crate) is_torn: bool,
    /// Whether nothing was written since it was closed.
    pub(crate) is_closed: bool,
}

/// Reads what an opening would find; nothing, if there is no log.
pub(crate) fn survey(disk: &dyn Disk) -> Result<Option<Survey>, Failure> {
    let mark = read_mark(disk)?;
    let mut candidates = candidates(disk)?;
    let Some(salt) = find_salt(mark, &candidates)? else {
        return Ok(None);
    };
    for candidate in &mut candidates {
        candidate.header = candidate.header.filter(|header| header.salt == salt);
    }
    link(&mut candidates);
    let unusable = take_unusable(&mut candidates, salt)?;
    let unreadable = unusable.iter().filter(|one| one.is_damaged()).count();

    let mut outline = candidates.last().and_then(|last| last.outline(salt));
    let last = match outline.as_ref().and_then(|outline| last_in(outline, salt)) {
        Some(last) => Some(last),
        None => find_last_group(&candidates, salt)?,
    };
    let oldest = last.map_or(0, |last| last.body.oldest);
    candidates.retain(|candidate| candidate.number >= oldest);
    let first = candidates.first().and_then(|first| first.header);
    let expected = last.map(|last| last.body.oldest_base);
    let expected = expected.or(first.map(|header| header.base));
    let mut replay = Replay::new(expected, Catalog::new(Box::new(MemoryIndex::default())));
    let (tail, _) = read_all(
        &mut replay,
        &candidates,
        salt,
        mark,
        last,
        outline.take(),
        &|| {},
    )?;
    let closed = mark.filter(|_| !candidates.is_empty());
    replay.finish(closed.map(|mark| mark.next));

    let all_gone = mark.filter(|_| candidates.is_empty());
    let at_mark = |candidate: &Candidate| {
        let last = mark.and_then(|mark| mark.last);
        last.is_some_and(|last| (last.number, last.end) == (candidate.number, tail.end))
    };
    Ok(Some(Survey {
        segments: candidates.len(),
        missing: all_gone.map_or(replay.missing.count(), |mark| mark.held),
        damaged_places: replay.damaged_places,
        unreadable,
        is_torn: tail.cut.is_some(),
        is_closed: candidates.last().is_none_or(at_mark),
        catalog: replay.catalog,
        counters: replay.counters,
    }))
}

impl Candidate {
    /// Whether something was written to it; one that was just made is empty.
    fn is_damaged(&self) -> bool {
        let mut bytes = Vec::new();
        let read = self.file.read(&mut bytes, 4096, 0);
        read.is_err() || bytes.len() == 4096 || bytes.iter().any(|&byte| byte != 0)
    }
}
