//! Opens a log: finds its files, decides what counts, and prepares to append.

mod ending;
mod layout;
mod reading;

use std::hash::{BuildHasher, RandomState};
use std::io;

use self::ending::continue_last;
pub(crate) use self::layout::{Candidate, Layout};
use self::reading::begin_replay;
pub(crate) use self::reading::read_all;
use super::Failure;
use super::catalog::Catalog;
use super::directory;
use super::end::{Continuation, write_mark};
use super::files::{Disk, remove_if_there};
use super::format::{Mark, TEMPORARY_SEGMENT, segment_name};
use super::replay::{Replay, Tail};
use crate::counters::Counters;
use crate::index::{Broken, Entry, Found as FoundIndex};
use crate::{Durability, StreamName, clock};

/// The result of opening, ready to continue.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) catalog: Catalog,
    pub(crate) counters: Counters,
    pub(crate) continuation: Continuation,
    /// Complete records after the end of the log, to be written again.
    pub(crate) stranded: Vec<(StreamName, Entry)>,
    /// Whether the group that says which segments are needed lies after the end of the log. Another
    /// group must say so before any are deleted.
    pub(crate) must_restate: bool,
}

/// Moves obstacles aside, decides which segments count, and begins a log if there is none.
pub(crate) fn prepare(
    disk: &dyn Disk,
    durability: Durability,
    found: Layout,
) -> io::Result<Layout> {
    directory::clear_the_way(disk)?;
    remove_if_there(disk, TEMPORARY_SEGMENT)?;
    if durability == Durability::PowerLoss {
        // An earlier process may have ended between creating a name and syncing it.
        disk.sync()?;
    }
    let mut layout = found.arrange()?;
    for number in &layout.loose {
        disk.remove(&segment_name(*number))?;
    }
    put_away(disk, &layout.unusable)?;
    if layout.salt.is_none() {
        let mark = begin(disk)?;
        (layout.mark, layout.salt) = (Some(mark), Some(mark.salt));
    }
    Ok(layout)
}

/// Reads the log.
///
/// Keeps everything that a second attempt with another index would need.
pub(crate) fn open(
    disk: &dyn Disk,
    durability: Durability,
    layout: &Layout,
    found: FoundIndex,
    alive: &dyn Fn(),
) -> Result<Opened, Failure> {
    // `prepare` ensures that there is a salt.
    let salt = layout.salt.unwrap_or_default();
    let mut replay = begin_replay(found, layout, salt)?;
    replay.in_order = durability == Durability::ProcessCrash;
    let (mut tail, sealed) = read_all(&mut replay, layout, salt, alive)?;
    if !replay.is_at_hand() {
        let why = "a segment in which it knows records is gone or damaged";
        return Err(Broken(why.to_owned()).into());
    }
    report(disk, &replay, &tail, layout.mark_alone());

    let last_group = layout.last_group.map_or(0, |last| last.offset);
    let must_restate = tail.cut.is_some_and(|cut| last_group >= cut);
    let last = layout.candidates.last();
    let (active, end) = continue_last(last, salt, &mut tail, must_restate, durability)?;
    let next = layout.mark.map_or(0, |mark| mark.next);
    let next_sequence = replay.next_sequence().max(next);
    let mut voids = replay.incomplete;
    voids.insert_all(&replay.missing);
    let (mut catalog, mut counters) = (replay.catalog, replay.counters);
    // If nothing remains of the log, the mark tells how much is lost.
    let missing = replay.missing.count();
    counters.damaged_records = layout.mark_alone().map_or(missing, |mark| mark.held);
    if let Some(segment) = catalog.segments.last_entry().map(|last| last.into_mut()) {
        // Data after the cut does not count until it is rewritten.
        segment.end = tail.cut.unwrap_or(segment.end);
    }
    let continuation = Continuation {
        salt,
        active,
        torn: end.is_some(),
        end,
        next_number: layout.next_number,
        next_sequence,
        voids,
        rewrite: tail.settled,
        sealed,
    };
    Ok(Opened {
        catalog,
        counters,
        continuation,
        stranded: tail.records,
        must_restate,
    })
}

/// Begins a new log.
fn begin(disk: &dyn Disk) -> io::Result<Mark> {
    let mark = Mark {
        salt: RandomState::new().hash_one(clock::to_unix_millis(clock::now())),
        next: 0,
        last: None,
        held: 0,
    };
    write_mark(disk, &mark)?;
    Ok(mark)
}

/// Deletes files that were never written, and keeps copies of the others.
fn put_away(disk: &dyn Disk, unusable: &[Candidate]) -> io::Result<()> {
    let mut damaged = Vec::new();
    for candidate in unusable {
        if candidate.is_blank()? {
            disk.remove(&segment_name(candidate.number))?;
        } else {
            damaged.push(segment_name(candidate.number));
        }
    }
    if !damaged.is_empty() {
        let copy = directory::set_aside(disk, &damaged)?;
        let path = disk.path().display();
        tracing::warn!(target: "record_cache", %path, copy, segments = damaged.len(), "unreadable segments were set aside");
    }
    Ok(())
}

fn report(disk: &dyn Disk, replay: &Replay, tail: &Tail, all_gone: Option<Mark>) {
    let path = disk.path().display();
    if let Some(Mark { held: records, .. }) = all_gone.filter(|mark| mark.last.is_some()) {
        tracing::warn!(target: "record_cache", %path, records, "all segments of the log are gone");
    }
    if replay.damaged_places > 0 || !replay.missing.is_empty() {
        let (places, records) = (replay.damaged_places, replay.missing.count());
        tracing::warn!(target: "record_cache", %path, places, records, "the log is damaged; the records are lost");
    }
    if let Some(cut) = tail.cut
        && replay.missing.is_empty()
    {
        tracing::info!(target: "record_cache", %path, cut, "dropped an incomplete write at the end of the log");
    }
}
