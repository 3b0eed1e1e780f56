//! Opens a log: finds its files, decides what counts, and prepares to continue.

#[cfg(feature = "inspect")]
mod survey;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;

use super::Failure;
use super::catalog::{Catalog, Segment};
use super::counters::Counters;
use super::directory;
use super::end::{Active, Continuation, Sealed, refused, write_mark};
use super::files::{Disk, DiskFile, remove_if_there};
use super::format::{
    Found, MARK, Mark, Previous, RESERVE_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
    TEMPORARY_SEGMENT, segment_name, segment_number,
};
use super::frame::{GroupBody, Seal};
use super::outline::Outline;
use super::replay::{Known, LastGroup, Replay, Tail, last_group};
use super::scan::{Found as Frame, Scanner};
use crate::index::queue::Entry;
use crate::index::{Broken, Found as FoundIndex};
use crate::{Durability, StoreError, StreamName, clock};

#[cfg(feature = "inspect")]
pub(crate) use self::survey::{Survey, survey};

/// The result of opening, ready to continue.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) catalog: Catalog,
    pub(crate) counters: Counters,
    pub(crate) salt: u64,
    pub(crate) continuation: Continuation,
    /// Complete records after the end of the log, to be written again.
    pub(crate) stranded: Vec<(StreamName, Entry)>,
    /// Segments that are there and not needed.
    pub(crate) needless: Vec<u32>,
    /// Whether the group that says which segments are needed lies behind the end of the log:
    /// another one has to say it before they may go.
    pub(crate) must_restate: bool,
}

/// A segment as it is found.
#[derive(Debug)]
struct Candidate {
    number: u32,
    file: Arc<dyn DiskFile>,
    header: Option<SegmentHeader>,
    /// Its end, according to its successor.
    end: u64,
}

/// Reads the log in a directory, or begins a new one.
///
/// Changes nothing that a second attempt with another index would need.
pub(crate) fn open(
    disk: &dyn Disk,
    durability: Durability,
    found: FoundIndex,
    alive: &dyn Fn(),
) -> Result<Opened, Failure> {
    let failed = |error: io::Error| refused(disk, "cannot read the log", "", error);
    directory::clear_the_way(disk).map_err(failed)?;
    remove_if_there(disk, TEMPORARY_SEGMENT).map_err(failed)?;
    if durability == Durability::PowerLoss {
        // An earlier process may have ended between creating a name and syncing it.
        disk.sync().map_err(failed)?;
    }
    let mark = read_mark(disk)?;
    let mut candidates = candidates(disk)?;
    let next_number = candidates
        .last()
        .map_or(0, |last| last.number.saturating_add(1));
    let next_number = next_number.max(
        mark.and_then(|mark| mark.last)
            .map_or(0, |last| last.number),
    );
    let Some(salt) = find_salt(mark, &candidates).map_err(failed)? else {
        return begin(disk, next_number, &candidates, found);
    };
    for candidate in &mut candidates {
        // A segment of another store does not count.
        candidate.header = candidate.header.filter(|header| header.salt == salt);
    }
    for number in link(&mut candidates) {
        disk.remove(&segment_name(number)).map_err(failed)?;
    }
    let unusable = take_unusable(&mut candidates, salt).map_err(failed)?;
    put_away(disk, &unusable).map_err(failed)?;

    let mut outline = candidates.last().and_then(|last| last.outline(salt));
    let last = match outline.as_ref().and_then(|outline| last_in(outline, salt)) {
        Some(last) => Some(last),
        None => find_last_group(&candidates, salt).map_err(failed)?,
    };
    let oldest = last.map_or(0, |last| last.body.oldest);
    let needless = candidates.extract_if(.., |candidate| candidate.number < oldest);
    let needless = needless.map(|candidate| candidate.number).collect();
    let base = candidates
        .first()
        .and_then(|first| first.header)
        .map(|header| header.base);
    let expected = last.map(|last| last.body.oldest_base).or(base);
    let mut replay = begin_replay(found, oldest, expected, salt, &candidates)?;
    replay.in_order = durability == Durability::ProcessCrash;
    let (mut tail, sealed) = read_all(
        &mut replay,
        &candidates,
        salt,
        mark,
        last,
        outline.take(),
        alive,
    )?;
    let closed = mark.filter(|_| !candidates.is_empty());
    replay.finish(closed.map(|mark| mark.next));
    if !replay.is_at_hand() {
        let why = "a segment in which it knows records is gone or damaged";
        return Err(Broken(why.to_owned()).into());
    }
    let next_sequence = replay.next_sequence().max(mark.map_or(0, |mark| mark.next));
    report(
        disk,
        &replay,
        &tail,
        mark.filter(|mark| candidates.is_empty() && mark.last.is_some()),
    );

    let must_restate = match (tail.cut, last) {
        (Some(cut), Some(last)) => last.offset >= cut,
        _ => false,
    };
    let (active, end) = continue_last(candidates.last(), salt, &mut tail, must_restate, durability)
        .map_err(failed)?;
    let mut voids = replay.torn;
    voids.insert_all(&replay.missing);
    let (mut catalog, mut counters) = (replay.catalog, replay.counters);
    // If nothing is left of the log, the mark tells how much is lost.
    let all_gone = mark.filter(|_| candidates.is_empty());
    let missing = all_gone.map_or(replay.missing.count(), |mark| mark.held);
    counters.damaged_records = missing;
    if let Some(segment) = catalog.segments.last_entry().map(|last| last.into_mut()) {
        // Data after a cut does not count until it is written again.
        segment.end = tail.cut.unwrap_or(segment.end);
    }
    let continuation = Continuation {
        active,
        end,
        next_number,
        next_sequence,
        voids,
        rewrite: tail.settled,
        sealed,
    };
    Ok(Opened {
        catalog,
        counters,
        salt,
        continuation,
        stranded: tail.records,
        needless,
        must_restate,
    })
}

/// Refuses a log of another version; changes nothing.
pub(crate) fn check_version(disk: &dyn Disk) -> Result<(), StoreError> {
    let failed = |error: io::Error| refused(disk, "cannot read the directory", "", error);
    for name in disk.names().map_err(failed)? {
        let is_segment = segment_number(&name).is_some();
        if !(is_segment || name == MARK) || !disk.is_file(&name).map_err(failed)? {
            continue;
        }
        let mut bytes = Vec::new();
        let read = disk.open(&name);
        read.and_then(|file| file.read(&mut bytes, 64, 0))
            .map_err(|error| refused(disk, "cannot read", &name, error))?;
        let version = if is_segment {
            SegmentHeader::decode(&bytes).other_version()
        } else {
            Mark::decode(&bytes).other_version()
        };
        if let Some(version) = version {
            let found = format!("a journal of version {version}");
            return Err(StoreError::incompatible(disk.path(), found));
        }
    }
    Ok(())
}

fn read_mark(disk: &dyn Disk) -> Result<Option<Mark>, StoreError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        disk.open(MARK)?.read(&mut bytes, 64, 0)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => match Mark::decode(&bytes) {
            Found::Sound(mark) => Ok(Some(mark)),
            Found::OtherVersion(version) => Err(other_version(disk, version)),
            Found::Damaged => {
                tracing::warn!(target: "record_cache", path = %disk.path().display(), "the log's mark is damaged");
                Ok(None)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(disk, "cannot read", MARK, error)),
    }
}

fn candidates(disk: &dyn Disk) -> Result<Vec<Candidate>, StoreError> {
    let failed = |error: io::Error| refused(disk, "cannot read the directory", "", error);
    let mut candidates = Vec::new();
    for number in directory::segments(disk).map_err(failed)? {
        let name = segment_name(number);
        let file = disk
            .open(&name)
            .map_err(|error| refused(disk, "cannot open", &name, error))?;
        let mut bytes = Vec::new();
        file.read(&mut bytes, 64, 0)
            .map_err(|error| refused(disk, "cannot read", &name, error))?;
        let header = match SegmentHeader::decode(&bytes) {
            Found::Sound(header) => Some(header).filter(|header| header.number == number),
            Found::OtherVersion(version) => return Err(other_version(disk, version)),
            Found::Damaged => None,
        };
        candidates.push(Candidate {
            number,
            file,
            header,
            end: u64::MAX,
        });
    }
    Ok(candidates)
}

fn other_version(disk: &dyn Disk, version: u32) -> StoreError {
    StoreError::incompatible(disk.path(), format!("a journal of version {version}"))
}

/// The salt is in the mark, in each segment's header and in each group.
fn find_salt(mark: Option<Mark>, candidates: &[Candidate]) -> io::Result<Option<u64>> {
    let in_headers = candidates
        .iter()
        .rev()
        .find_map(|candidate| candidate.header);
    let known = mark
        .map(|mark| mark.salt)
        .or(in_headers.map(|header| header.salt));
    if known.is_some() {
        return Ok(known);
    }
    for candidate in candidates.iter().rev() {
        let seal = Seal::new(0, candidate.number);
        let mut scanner = Scanner::new(&*candidate.file, seal, u64::MAX)?;
        if let Some(group) = last_group(&mut scanner)? {
            return Ok(Some(group.body.salt));
        }
    }
    Ok(None)
}

/// Begins a new log, and sets unreadable files aside.
fn begin(
    disk: &dyn Disk,
    next_number: u32,
    unreadable: &[Candidate],
    found: FoundIndex,
) -> Result<Opened, Failure> {
    if found.kept.is_some() {
        return Err(Broken("the log that it belongs to is gone".to_owned()).into());
    }
    let failed = |error: io::Error| refused(disk, "cannot write", MARK, error);
    put_away(disk, &unreadable.iter().collect::<Vec<_>>()).map_err(failed)?;
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(clock::to_unix_millis(clock::now()));
    let salt = hasher.finish();
    write_mark(
        disk,
        &Mark {
            salt,
            next: 0,
            last: None,
            held: 0,
        },
    )
    .map_err(failed)?;
    let continuation = Continuation {
        next_number,
        ..Continuation::default()
    };
    Ok(Opened {
        catalog: Catalog::new(found.index),
        counters: Counters::default(),
        salt,
        continuation,
        stranded: Vec::new(),
        needless: Vec::new(),
        must_restate: false,
    })
}

/// Ends each segment where its successor says, and drops segments that none continues.
fn link(candidates: &mut Vec<Candidate>) -> Vec<u32> {
    let mut follower: Option<Previous> = None;
    for candidate in candidates.iter_mut().rev() {
        if let Some(previous) = follower {
            if candidate.number > previous.number {
                candidate.end = 0;
                continue;
            }
            if candidate.number == previous.number {
                candidate.end = previous.end;
            }
        }
        follower = candidate.header.and_then(|header| header.previous);
    }
    candidates
        .extract_if(.., |candidate| candidate.end == 0)
        .map(|c| c.number)
        .collect()
}

/// Removes segments that have neither a header nor a frame.
fn take_unusable(candidates: &mut Vec<Candidate>, salt: u64) -> io::Result<Vec<Candidate>> {
    let mut unusable = Vec::new();
    for candidate in std::mem::take(candidates) {
        let seal = Seal::new(salt, candidate.number);
        let mut scanner = Scanner::new(&*candidate.file, seal, candidate.end)?;
        let usable = candidate.header.is_some()
            || scanner.next_frame(SEGMENT_HEADER_BYTES - 8, &mut Frame::default())?;
        if usable {
            candidates.push(candidate)
        } else {
            unusable.push(candidate)
        }
    }
    Ok(unusable)
}

/// Deletes files that were never written, and keeps copies of the others.
fn put_away(disk: &dyn Disk, unusable: &[impl std::borrow::Borrow<Candidate>]) -> io::Result<()> {
    let mut damaged = Vec::new();
    for candidate in unusable {
        let candidate: &Candidate = candidate.borrow();
        let mut bytes = Vec::new();
        candidate.file.read(&mut bytes, 4096, 0)?;
        if bytes.iter().all(|&byte| byte == 0) && candidate.file.length()? <= 4096 {
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

impl Candidate {
    /// Marks the segment as not to be read.
    fn segment(&self, salt: u64) -> io::Result<Segment> {
        let length = self.file.length()?;
        let (file, seal) = (Arc::clone(&self.file), Seal::new(salt, self.number));
        let base = self.header.map_or(0, |header| header.base);
        let end = self.end.min(length);
        Ok(Segment {
            length,
            ..Segment::new(file, seal, base, end)
        })
    }

    /// Its outline, if there is one after its frames.
    fn outline(&self, salt: u64) -> Option<Outline> {
        self.header?;
        // An unreadable outline is not needed.
        let outline = Outline::read(&*self.file, self.number, salt).ok()??;
        (self.end == u64::MAX || self.end == outline.end()).then_some(outline)
    }
}

fn last_in(outline: &Outline, salt: u64) -> Option<LastGroup> {
    let (oldest, oldest_base) = outline.oldest_needed()?;
    let body = GroupBody {
        salt,
        count: 0,
        stable: 0,
        oldest,
        oldest_base,
    };
    Some(LastGroup {
        body,
        stable: outline.end(),
        offset: 0,
    })
}

fn find_last_group(candidates: &[Candidate], salt: u64) -> io::Result<Option<LastGroup>> {
    for candidate in candidates.iter().rev() {
        let seal = Seal::new(salt, candidate.number);
        let mut scanner = Scanner::new(&*candidate.file, seal, candidate.end)?;
        if let Some(group) = last_group(&mut scanner)? {
            let is_last = candidates
                .last()
                .is_some_and(|last| last.number == candidate.number);
            // Of another segment, all that counts lies before its end.
            let (stable, offset) = if is_last {
                (group.stable, group.offset)
            } else {
                (0, 0)
            };
            return Ok(Some(LastGroup {
                stable,
                offset,
                ..group
            }));
        }
    }
    Ok(None)
}

/// A replay of the whole log, or of what an index does not know yet.
///
/// Whether what the index knows is in a segment that is gone or damaged shows when the rest
/// is read: see [`Replay::is_at_hand`].
fn begin_replay(
    found: FoundIndex,
    oldest: u32,
    expected: Option<u64>,
    salt: u64,
    candidates: &[Candidate],
) -> Result<Replay, Failure> {
    let mut catalog = Catalog::new(found.index);
    let Some((at, streams)) = found.kept else {
        return Ok(Replay::new(expected, catalog));
    };
    let unfit = |why: &str| Failure::Index(Broken(why.to_owned()));
    if at.salt != salt {
        return Err(unfit("it belongs to another store"));
    }
    if at.segment < oldest {
        // All that it knows is settled, or was moved to where the log begins now.
        catalog.clear()?;
        return Ok(Replay::new(expected, catalog));
    }
    let here = |number: u32| {
        let found = candidates.binary_search_by_key(&number, |candidate| candidate.number);
        let found = found.ok().and_then(|n| candidates.get(n))?;
        Some((found, found.header?))
    };
    if here(at.segment).is_none_or(|(last, _)| last.end < at.offset) {
        return Err(unfit("it covers more than the log has"));
    }
    for &(number, live_records, live_bytes) in &at.segments {
        let Some((candidate, header)) = here(number) else {
            continue;
        };
        let length = candidate.file.length()?;
        let end = if number == at.segment {
            at.offset
        } else {
            candidate.end
        };
        if length < end || number > at.segment {
            continue;
        }
        let (file, seal) = (Arc::clone(&candidate.file), Seal::new(salt, number));
        let mut segment = Segment::new(file, seal, header.base, end);
        (segment.live_records, segment.live_bytes) = (live_records, live_bytes);
        catalog.segments.insert(number, segment);
    }
    let counters = Counters::new(streams);
    let known = Known {
        segment: at.segment,
        offset: at.offset,
        last_frame: at.last_frame,
    };
    Ok(Replay::behind(known, at.next_sequence, catalog, counters))
}

/// Replays all segments; only the last one has a tail that may be incomplete.
fn read_all(
    replay: &mut Replay,
    candidates: &[Candidate],
    salt: u64,
    mark: Option<Mark>,
    last_group: Option<LastGroup>,
    mut of_last: Option<Outline>,
    alive: &dyn Fn(),
) -> Result<(Tail, Vec<Sealed>), Failure> {
    let mut tail = Tail::default();
    let mut sealed = Vec::new();
    let oldest = last_group.map_or(0, |group| group.body.oldest);
    let mut before: Option<&Candidate> = None;
    for (n, candidate) in candidates.iter().enumerate() {
        alive();
        if replay.knows_all_of(candidate.number) {
            replay.add_segment(candidate.number, candidate.segment(salt)?);
            before = Some(candidate);
            continue;
        }
        let follows = match (before, candidate.header) {
            (None, _) => candidate.number <= oldest,
            (Some(before), Some(SegmentHeader { previous, .. })) => {
                previous.is_some_and(|previous| previous.number == before.number)
            }
            (Some(_), None) => false,
        };
        if !follows {
            replay.note_hole();
        }
        before = Some(candidate);
        let Candidate {
            number,
            file,
            header,
            end,
        } = candidate;
        let seal = Seal::new(salt, *number);
        let base = header.map_or_else(|| replay.next_sequence(), |header| header.base);
        let is_last = n + 1 == candidates.len();
        let outline = if is_last {
            of_last.take()
        } else {
            candidate.outline(salt)
        };
        if let Some(outline) = outline {
            let length = if is_last {
                outline.end()
            } else {
                file.length()?
            };
            let segment = Segment::new(Arc::clone(file), seal, base, length);
            replay.add_segment(
                *number,
                Segment {
                    end: outline.end(),
                    ..segment
                },
            );
            tail = replay.outlined(*number, outline, &**file)?;
            continue;
        }
        // The next segment is read from disk while this one is processed.
        let near = candidates.iter().skip(n).take(2);
        near.filter(|near| near.number == *number || !Outline::seems_to_be_in(&*near.file))
            .for_each(|near| near.file.will_be_read());
        let mut scanner = Scanner::new(&**file, seal, *end)?;
        let segment = Segment::new(Arc::clone(file), seal, base, scanner.end());
        replay.add_segment(*number, segment);
        let stable = if is_last {
            let closed = mark
                .and_then(|mark| mark.last)
                .filter(|last| last.number == *number);
            let known = last_group.map_or(0, |group| group.stable);
            known.max(closed.map_or(0, |closed| closed.end))
        } else {
            *end
        };
        tail = replay.segment(*number, &mut scanner, stable)?;
        if !is_last
            && header.is_some()
            && file.length()? == *end
            && let Some(outline) = tail.outline.take()
        {
            sealed.extend(Sealed::new(*number, Arc::clone(file), outline, *end));
        }
    }
    Ok((tail, sealed))
}

/// Prepares the last segment for writing, or says where the next one continues.
fn continue_last(
    last: Option<&Candidate>,
    salt: u64,
    tail: &mut Tail,
    must_restate: bool,
    durability: Durability,
) -> io::Result<(Option<Active>, Option<Previous>)> {
    let Some(Candidate {
        number,
        file,
        header,
        ..
    }) = last
    else {
        return Ok((None, None));
    };
    let length = file.length()?;
    // A frame that extends past the end would swallow new data.
    let end = tail.cut.unwrap_or(tail.end);
    let stranded = !tail.records.is_empty() || !tail.settled.is_empty();
    // What lies behind the end stays readable until another segment says it.
    if stranded || must_restate || header.is_none() {
        return Ok((
            None,
            Some(Previous {
                number: *number,
                end,
            }),
        ));
    }
    if end < length && !is_room(&**file, end, length)? {
        file.truncate(end)?;
    }
    let synced = match durability {
        Durability::PowerLoss => {
            file.sync()?;
            end
        }
        Durability::ProcessCrash => SEGMENT_HEADER_BYTES,
    };
    let seal = Seal::new(salt, *number);
    let file = Arc::clone(file);
    let active = Active {
        number: *number,
        file,
        seal,
        written: end,
        synced,
        entered: false,
        last_frame: tail.last_frame,
        outline: tail.outline.take(),
    };
    Ok((Some(active), None))
}

/// Whether there are only zeros after this offset: space that a full disk may need.
fn is_room(file: &dyn DiskFile, from: u64, length: u64) -> io::Result<bool> {
    let bytes = usize::try_from(length - from).unwrap_or(usize::MAX);
    if bytes > RESERVE_BYTES {
        return Ok(false);
    }
    let mut behind = Vec::new();
    file.read(&mut behind, bytes, from)?;
    Ok(behind.iter().all(|&byte| byte == 0))
}

fn report(disk: &dyn Disk, replay: &Replay, tail: &Tail, all_gone: Option<Mark>) {
    let path = disk.path().display();
    if let Some(mark) = all_gone {
        let records = mark.held;
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
